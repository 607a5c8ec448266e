//! The messages of a queue that were sent ahead.

use std::collections::VecDeque;

use super::store::{Message, Store};
use crate::context::Context;
use crate::events::ParticipantId;

/// Most messages of a batch, and most bytes of them together.
const MOST: u32 = 64;
const MOST_BYTES: usize = 256 << 10;

/// Messages that one participant may take without asking. Until it takes them, they are the first of the queue.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    holder: Option<ParticipantId>,
    /// Those that are not known to be taken.
    messages: VecDeque<Message>,
    /// Number of messages of the batch that are known to be taken.
    seen: u32,
    /// Number at which the holder was asked to wake the manager.
    threshold: u32,
    /// Who got the last message, and how many messages it would get ahead with the next. The number doubles as long as
    /// nobody else gets, so that who gets a single message is not sent many.
    getter: Option<ParticipantId>,
    size: u32,
}

impl Ahead {
    /// Returns the number of messages that are not known to be taken.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn holder(&self) -> Option<ParticipantId> {
        self.holder
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter()
    }

    /// Takes note of a get, for the number of messages that may go ahead.
    pub(super) fn got(&mut self, participant: ParticipantId) {
        self.size = match self.getter == Some(participant) {
            true => self.size.saturating_mul(2).clamp(2, MOST),
            false => 0,
        };
        self.getter = Some(participant);
    }

    /// Takes note of the end of an item, after which its participant may get no more.
    pub(super) fn ended(&mut self, participant: ParticipantId) {
        if self.getter == Some(participant) {
            self.getter = None;
        }
    }

    /// Sends messages ahead to the participant that got the last message. Nobody has any at this time.
    pub(super) fn send(&mut self, participant: ParticipantId, store: &mut Store, context: &mut Context) {
        let mut bytes = 0;
        while self.messages.len() < self.size as usize
            && let Some(first) = store.first()
        {
            bytes += first.body.len();
            if bytes > MOST_BYTES {
                break;
            }
            self.messages.extend(store.pop());
        }
        if self.messages.is_empty() {
            return;
        }
        self.holder = Some(participant);
        self.seen = 0;
        self.threshold = 0;
        let bodies: Vec<&[u8]> = self.messages.iter().map(|message| message.body.as_slice()).collect();
        context.fast.send_ahead(participant, context.object, &bodies);
    }

    /// Returns the messages that were taken since the last look, with who took them.
    pub(super) fn taken(&mut self, context: &mut Context) -> Option<(ParticipantId, Vec<Message>)> {
        let holder = self.holder?;
        let taken = context.fast.taken_ahead(holder, context.object);
        Some((holder, self.take(taken)))
    }

    /// Ends the batch. Returns the messages that were taken since the last look, with who took them. All others are the
    /// first in the store again.
    pub(super) fn recall(&mut self, store: &mut Store, context: &mut Context) -> Option<(ParticipantId, Vec<Message>)> {
        let holder = self.holder.take()?;
        let taken = context.fast.recall_ahead(holder, context.object);
        let taken = self.take(taken);
        while let Some(message) = self.messages.pop_back() {
            store.put_back(message);
        }
        Some((holder, taken))
    }

    /// Takes note of what the participant says it took, which may be any number.
    fn take(&mut self, taken: u32) -> Vec<Message> {
        let new = (taken.saturating_sub(self.seen) as usize).min(self.messages.len());
        self.seen += new as u32;
        self.messages.drain(..new).collect()
    }

    /// Asks the holder to wake the manager when it has taken half of what it has.
    pub(super) fn ask_to_wake(&mut self, context: &mut Context) {
        if let Some(holder) = self.holder
            && self.threshold <= self.seen
        {
            self.threshold = self.seen + (self.messages.len() as u32).div_ceil(2);
            context.fast.wake_when_taken(holder, context.object, self.threshold);
        }
    }
}
