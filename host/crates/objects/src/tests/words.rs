//! The fast path as plain numbers: what the manager keeps in shared memory.

use std::collections::{BTreeMap, VecDeque};

use super::{ParticipantId, PutOnCredit};
use crate::fast::{Credit, FastPath};

type Key = (ParticipantId, u16);

#[derive(Debug, Default)]
pub(super) struct Words {
    pub(super) credits: BTreeMap<Key, Credit>,
    pub(super) wanted: BTreeMap<Key, bool>,
    pub(super) rings: BTreeMap<ParticipantId, VecDeque<PutOnCredit>>,
    pub(super) ahead: BTreeMap<Key, Batch>,
    /// Participants that woke the manager.
    pub(super) bells: Vec<ParticipantId>,
    /// Participants that say that they took any number of messages.
    pub(super) liars: BTreeMap<ParticipantId, u32>,
    /// Locks that are lent.
    pub(super) locks: BTreeMap<Key, LentLock>,
    /// Participants that were told of a change, since a test last looked.
    pub(super) changed: Vec<ParticipantId>,
    /// A message that is written just before its participant could see that puts are wanted.
    pub(super) late: Option<Vec<u8>>,
}

#[derive(Debug, Default)]
pub(super) struct LentLock {
    pub(super) held: bool,
    pub(super) wanted: bool,
    pub(super) nests: bool,
}

#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) messages: Vec<Vec<u8>>,
    pub(super) taken: u32,
    pub(super) limit: u32,
    pub(super) threshold: Option<u32>,
}

impl Words {
    /// Subtracts credit. The message is on the way.
    pub(super) fn subtract(&mut self, participant: ParticipantId, object: u16, bytes: usize) -> bool {
        let credit = self.credits.entry((participant, object)).or_default();
        if credit.entries == 0 || credit.bytes < bytes as u64 {
            return false;
        }
        credit.entries -= 1;
        credit.bytes -= bytes as u64;
        true
    }

    /// Writes a message into the ring, whether or not credit was subtracted.
    pub(super) fn write(&mut self, participant: ParticipantId, object: u16, message: &[u8]) {
        self.write_entry(participant, object, None, message);
    }

    /// Writes a message into the ring, or an entry of a dict if there is a key.
    pub(super) fn write_entry(&mut self, participant: ParticipantId, object: u16, key: Option<&str>, message: &[u8]) {
        let put = PutOnCredit { object, key: key.map(str::to_owned), message: message.to_vec() };
        self.rings.entry(participant).or_default().push_back(put);
        if self.wanted.get(&(participant, object)) == Some(&true) {
            self.bells.push(participant);
        }
    }

    pub(super) fn put(&mut self, participant: ParticipantId, object: u16, message: &[u8]) -> bool {
        let has_credit = self.subtract(participant, object, message.len());
        if has_credit {
            self.write(participant, object, message);
        }
        has_credit
    }

    pub(super) fn take(&mut self, participant: ParticipantId, object: u16) -> Option<Vec<u8>> {
        let batch = self.ahead.get_mut(&(participant, object))?;
        if batch.taken >= batch.limit {
            return None;
        }
        batch.taken += 1;
        if batch.threshold == Some(batch.taken) {
            self.bells.push(participant);
        }
        batch.messages.get(batch.taken as usize - 1).cloned()
    }

    /// Gives back what is ahead, at the end of an item.
    pub(super) fn give_back(&mut self, participant: ParticipantId) {
        for (_, batch) in self.ahead.iter_mut().filter(|((who, _), _)| *who == participant) {
            batch.limit = batch.taken;
        }
        self.locks.retain(|(who, _), lock| *who != participant || lock.held);
    }

    /// Acquires a lock without asking, if it is lent.
    pub(super) fn acquire(&mut self, participant: ParticipantId) -> bool {
        let lock = self.locks.get_mut(&(participant, 0)).filter(|lock| !lock.held && !lock.wanted);
        lock.map(|lock| lock.held = true).is_some()
    }

    /// Releases a lock that is lent. Returns true if the manager has to be told.
    pub(super) fn release(&mut self, participant: ParticipantId) -> bool {
        let lock = self.locks.get_mut(&(participant, 0)).expect("it is lent");
        assert!(std::mem::take(&mut lock.held), "it is held");
        lock.wanted
    }

    pub(super) fn forget(&mut self, participant: ParticipantId) {
        self.locks.retain(|(who, _), _| *who != participant);
        self.credits.retain(|(who, _), _| *who != participant);
        self.ahead.retain(|(who, _), _| *who != participant);
        self.rings.remove(&participant);
    }

    pub(super) fn read(&mut self, participant: ParticipantId) -> Vec<PutOnCredit> {
        self.rings.remove(&participant).unwrap_or_default().into()
    }

    /// Returns the number of messages that are ahead and not taken.
    pub(super) fn left(&self, participant: ParticipantId) -> u32 {
        self.ahead.get(&(participant, 0)).map_or(0, |batch| batch.limit - batch.taken)
    }

    pub(super) fn credit(&self, participant: ParticipantId) -> u32 {
        self.credits.get(&(participant, 0)).map_or(0, |credit| credit.entries)
    }
}

impl FastPath for Words {
    fn grant_credit(&mut self, participant: ParticipantId, object: u16, credit: Credit) {
        let word = self.credits.entry((participant, object)).or_default();
        word.entries += credit.entries;
        word.bytes += credit.bytes;
    }

    fn take_back_credit(&mut self, participant: ParticipantId, object: u16) -> Credit {
        self.credits.insert((participant, object), Credit::default()).unwrap_or_default()
    }

    fn want_puts(&mut self, participant: ParticipantId, object: u16, wanted: bool) {
        if let Some(message) = self.late.take_if(|_| wanted) {
            assert!(self.put(participant, object, &message));
        }
        self.wanted.insert((participant, object), wanted);
    }

    fn puts_on_credit(&mut self, participant: ParticipantId) -> Vec<PutOnCredit> {
        self.read(participant)
    }

    fn send_ahead(&mut self, participant: ParticipantId, object: u16, messages: &[&[u8]]) {
        let last = self.ahead.get(&(participant, object));
        assert!(last.is_none_or(|last| last.taken == last.limit), "the last batch is still there");
        let messages: Vec<Vec<u8>> = messages.iter().map(|message| message.to_vec()).collect();
        let limit = messages.len() as u32;
        self.ahead.insert((participant, object), Batch { messages, taken: 0, limit, threshold: None });
    }

    fn taken_ahead(&mut self, participant: ParticipantId, object: u16) -> u32 {
        if let Some(lie) = self.liars.get(&participant) {
            return *lie;
        }
        self.ahead.get(&(participant, object)).map_or(0, |batch| batch.taken)
    }

    fn recall_ahead(&mut self, participant: ParticipantId, object: u16) -> u32 {
        if let Some(batch) = self.ahead.get_mut(&(participant, object)) {
            batch.limit = batch.taken;
        }
        self.taken_ahead(participant, object)
    }

    fn wake_when_taken(&mut self, participant: ParticipantId, object: u16, taken: u32) {
        if let Some(batch) = self.ahead.get_mut(&(participant, object)) {
            batch.threshold = Some(taken);
        }
    }

    fn lend_lock(&mut self, participant: ParticipantId, object: u16, nests: bool) {
        let before = self.locks.insert((participant, object), LentLock { held: true, wanted: false, nests });
        assert!(before.is_none(), "it is lent already");
    }

    fn want_lock(&mut self, participant: ParticipantId, object: u16) -> bool {
        let Some(lock) = self.locks.get_mut(&(participant, object)) else { return true };
        lock.wanted = true;
        if !lock.held {
            self.locks.remove(&(participant, object));
            return true;
        }
        false
    }

    fn holds_lock(&mut self, participant: ParticipantId, object: u16) -> bool {
        self.locks.get(&(participant, object)).is_some_and(|lock| lock.held)
    }

    fn take_back_lock(&mut self, participant: ParticipantId, object: u16) -> bool {
        self.locks.remove(&(participant, object)).is_some_and(|lock| lock.held)
    }

    fn tell_change(&mut self, participant: ParticipantId, _: u16) {
        self.changed.push(participant);
    }
}
