//! The ways past the machine: what a participant does without asking.
//!
//! A put on credit and a message taken ahead cost no round trip. The machine decides who may do it, and how much. The
//! manager keeps the words in the memory that it shares with each participant, and the simulation keeps plain numbers.
//!
//! **Credit.** A participant with credit subtracts a message from its word, writes the message into its ring, and is
//! done. Nobody answers. One participant at a time has credit for a queue, so messages have one order. If the word says
//! that puts are *wanted*, the participant wakes the manager. It has to look at that after its message is in the ring,
//! and the manager, after saying so, has to read the ring once more: one of the two sees the other.
//!
//! **Ahead.** Messages that follow the answer of a get. They still belong to the queue until the participant takes
//! them, which it does by counting up its word while that is below the limit. One participant at a time has messages
//! ahead of a queue. Before its item ends, a participant gives back what it has not taken, by lowering the limit to
//! what it took: the next item must not take in the name of this one.
//!
//! Elements of a list and entries of a dict are put on credit as messages are.
//!
//! **Lent locks.** Who is given a lock has it lent until somebody else wants it, or its item ends. It releases and acquires
//! it in its word meanwhile, and tells the manager of a release only if the word says that the lock is wanted.
//!
//! **What is remembered.** A participant may answer a read of a dict by itself, with what it was answered before or has set,
//! until it is told that somebody else changed the dict. It looks at that at each read.
//!
//! The words can be written by the participant, so nothing that is read from them is believed: the machine has a ledger
//! of its own, and takes from a word no more than it had put there.

use crate::events::ParticipantId;

/// What a participant may put into a queue without asking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credit {
    pub entries: u32,
    pub bytes: u64,
}

/// Something that a participant has put on credit: a message, an element that is appended to a list, or an entry of a dict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutOnCredit {
    pub object: u16,
    /// Key of an entry of a dict.
    pub key: Option<String>,
    pub message: Vec<u8>,
}

impl PutOnCredit {
    /// Returns the bytes that it costs.
    pub fn cost(&self) -> usize {
        self.key.as_ref().map_or(0, String::len) + self.message.len()
    }
}

pub trait FastPath {
    /// Adds credit to the word of this participant and object. It holds none then.
    fn grant_credit(&mut self, participant: ParticipantId, object: u16, credit: Credit);

    /// Empties the word, and returns what was in it.
    fn take_back_credit(&mut self, participant: ParticipantId, object: u16) -> Credit;

    /// Says in the word whether puts are wanted, which is whether the participant has to wake the manager after one.
    fn want_puts(&mut self, participant: ParticipantId, object: u16, wanted: bool);

    /// Removes from the participant's ring the puts on credit that are complete by now, to any object, in their order,
    /// and returns them. Requests before and between them stay, in their order, to be read as usual: whoever waits for
    /// the answer to one of them has not begun any of these puts.
    fn puts_on_credit(&mut self, participant: ParticipantId) -> Vec<PutOnCredit>;

    /// Sends a batch of messages ahead. The batch before it has been taken or recalled. This may reach the participant
    /// before the answer that the messages follow.
    fn send_ahead(&mut self, participant: ParticipantId, object: u16, messages: &[&[u8]]);

    /// Returns how many messages of the last batch the participant has taken.
    fn taken_ahead(&mut self, participant: ParticipantId, object: u16) -> u32;

    /// Stops the participant from taking more of its last batch, and returns how many it has taken.
    fn recall_ahead(&mut self, participant: ParticipantId, object: u16) -> u32;

    /// Asks the participant to wake the manager as soon as it has taken this many of its last batch.
    fn wake_when_taken(&mut self, participant: ParticipantId, object: u16, taken: u32);

    /// Lends a lock to the participant, which holds it from now on. It may be acquired again by its holder if it `nests`.
    fn lend_lock(&mut self, participant: ParticipantId, object: u16, nests: bool);

    /// Says that a lent lock is wanted. Returns true if it is free: then it is not lent any more.
    fn want_lock(&mut self, participant: ParticipantId, object: u16) -> bool;

    /// Returns true if the participant holds the lock that was lent to it.
    fn holds_lock(&mut self, participant: ParticipantId, object: u16) -> bool;

    /// Takes a lent lock back. Returns true if it was held.
    fn take_back_lock(&mut self, participant: ParticipantId, object: u16) -> bool;

    /// Tells the participant that somebody else changed the object: what it remembers of it is not true any more.
    fn tell_change(&mut self, participant: ParticipantId, object: u16);
}

/// No participant has a fast path: all is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFastPath;

impl FastPath for NoFastPath {
    fn grant_credit(&mut self, _: ParticipantId, _: u16, _: Credit) {}

    fn take_back_credit(&mut self, _: ParticipantId, _: u16) -> Credit {
        Credit::default()
    }

    fn want_puts(&mut self, _: ParticipantId, _: u16, _: bool) {}

    fn puts_on_credit(&mut self, _: ParticipantId) -> Vec<PutOnCredit> {
        Vec::new()
    }

    fn send_ahead(&mut self, _: ParticipantId, _: u16, _: &[&[u8]]) {}

    fn taken_ahead(&mut self, _: ParticipantId, _: u16) -> u32 {
        0
    }

    fn recall_ahead(&mut self, _: ParticipantId, _: u16) -> u32 {
        0
    }

    fn wake_when_taken(&mut self, _: ParticipantId, _: u16, _: u32) {}

    fn lend_lock(&mut self, _: ParticipantId, _: u16, _: bool) {}

    /// A lock that is not in the word stays with its holder.
    fn want_lock(&mut self, _: ParticipantId, _: u16) -> bool {
        false
    }

    fn holds_lock(&mut self, _: ParticipantId, _: u16) -> bool {
        true
    }

    fn take_back_lock(&mut self, _: ParticipantId, _: u16) -> bool {
        true
    }

    fn tell_change(&mut self, _: ParticipantId, _: u16) {}
}
