//! The ledger of the credits of a queue, a list or a dict.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::context::Context;
use crate::events::ParticipantId;
use crate::fast::Credit;
use crate::usage::Usage;

/// Most credit of one participant. A participant with this much asks once in so many messages.
const MOST: Credit = Credit { entries: 64, bytes: 256 << 10 };
/// Credit with which a participant begins. It doubles each time it was used up.
const BEGIN: u32 = 8;

/// Credit that was granted and not used. One participant has credit at a time. Others may still have puts on the way,
/// for which they subtracted credit before it was taken back.
#[derive(Debug, Default)]
pub(crate) struct Credits {
    creditors: BTreeMap<ParticipantId, Creditor>,
    holder: Option<ParticipantId>,
    /// What the holder was granted last, in entries.
    granted: u32,
    /// All credit together. Room is reserved for it.
    lent: Usage,
}

#[derive(Debug, Default)]
struct Creditor {
    entries: u64,
    bytes: u64,
    /// True if it was told to wake the manager after a put.
    wanted: bool,
}

impl Credits {
    pub(crate) fn lent(&self) -> Usage {
        self.lent
    }

    pub(crate) fn creditors(&self) -> SmallVec<[ParticipantId; 2]> {
        self.creditors.keys().copied().collect()
    }

    /// Returns true if this participant has credit, or a put on the way.
    pub(crate) fn has(&self, participant: ParticipantId) -> bool {
        self.creditors.contains_key(&participant)
    }

    /// Grants credit within half of the room that there is. Nobody has credit at this time. While a put of another
    /// participant is on the way, there is none: this one could put a message after that put returned, and have it read
    /// before it.
    pub(crate) fn grant(&mut self, participant: ParticipantId, same: bool, room: Usage, context: &mut Context) {
        let most = if same { self.granted.saturating_mul(2).clamp(BEGIN, MOST.entries) } else { BEGIN };
        let entries = u32::try_from(room.entries / 2).unwrap_or(u32::MAX).min(most);
        let bytes = (room.bytes / 2).min(MOST.bytes);
        let on_the_way = self.creditors.keys().any(|&other| other != participant);
        if entries == 0 || bytes == 0 || on_the_way {
            return;
        }
        self.granted = most;
        self.holder = Some(participant);
        let creditor = self.creditors.entry(participant).or_default();
        creditor.entries += u64::from(entries);
        creditor.bytes += bytes;
        self.lent.entries += u64::from(entries);
        self.lent.bytes += bytes;
        context.fast.grant_credit(participant, context.object, Credit { entries, bytes });
    }

    /// Takes the credit back that was not used. What is on the way is still to come.
    pub(crate) fn take_back(&mut self, context: &mut Context) {
        let Some(holder) = self.holder.take() else { return };
        let Credit { entries, bytes } = context.fast.take_back_credit(holder, context.object);
        let Some(creditor) = self.creditors.get(&holder) else { return };
        // The participant could have written anything there.
        let (entries, bytes) = (creditor.entries.min(entries.into()), creditor.bytes.min(bytes));
        self.subtract(holder, entries, bytes, context);
    }

    /// Returns the number of entries for which this participant has subtracted credit, if it has no other credit: they
    /// are on the way.
    pub(crate) fn on_the_way(&self, participant: ParticipantId) -> u64 {
        self.creditors.get(&participant).map_or(0, |creditor| creditor.entries)
    }

    pub(crate) fn holder(&self) -> Option<ParticipantId> {
        self.holder
    }

    /// Uses credit for a message. Returns false if there is not enough.
    pub(crate) fn spend(&mut self, participant: ParticipantId, bytes: usize, context: &mut Context) -> bool {
        let bytes = bytes as u64;
        match self.creditors.get(&participant) {
            Some(creditor) if creditor.entries > 0 && creditor.bytes >= bytes => {}
            _ => return false,
        }
        self.subtract(participant, 1, bytes, context);
        true
    }

    fn subtract(&mut self, participant: ParticipantId, entries: u64, mut bytes: u64, context: &mut Context) {
        let Some(creditor) = self.creditors.get_mut(&participant) else { return };
        creditor.entries -= entries;
        if creditor.entries == 0 {
            // Bytes without an entry are of no use.
            bytes = creditor.bytes;
        }
        creditor.bytes -= bytes;
        self.lent.entries -= entries;
        self.lent.bytes -= bytes;
        if creditor.entries == 0 && self.holder != Some(participant) {
            self.forget(participant, context);
        }
    }

    /// Forgets a participant that has ended, with all of its credit.
    pub(crate) fn left(&mut self, participant: ParticipantId, context: &mut Context) {
        if self.holder == Some(participant) {
            self.take_back(context);
        }
        self.forget(participant, context);
    }

    fn forget(&mut self, participant: ParticipantId, context: &mut Context) {
        if let Some(Creditor { entries, bytes, wanted }) = self.creditors.remove(&participant) {
            self.lent.entries -= entries;
            self.lent.bytes -= bytes;
            if wanted {
                context.fast.want_puts(participant, context.object, false);
            }
        }
    }

    /// Tells all creditors whether their puts are wanted. Returns those that were just told that they are.
    pub(crate) fn want(&mut self, wanted: bool, context: &mut Context) -> SmallVec<[ParticipantId; 2]> {
        let mut told = SmallVec::new();
        for (&participant, creditor) in &mut self.creditors {
            if creditor.wanted != wanted {
                creditor.wanted = wanted;
                context.fast.want_puts(participant, context.object, wanted);
                if wanted {
                    told.push(participant);
                }
            }
        }
        told
    }
}
