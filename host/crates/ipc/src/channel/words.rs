//! The words of an object in a channel, by which a participant puts and gets messages without a question.
//!
//! Either side changes a word by atomic operations only, and each pattern of bits is a valid word. The manager keeps its
//! own account and believes only what agrees with it.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering};

use crate::wake::Fenced;

/// The words of one object.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub struct ObjectWords {
    pub credit: CreditWord,
    pub ahead: AheadWord,
}

/// What a participant may put into an object without asking: a number of entries, and their bytes together.
///
/// | bits | |
/// | --- | --- |
/// | 63 | wanted: the manager wants to be woken when something is put |
/// | 40..63 | entries |
/// | 0..40 | bytes |
#[derive(Debug, Default)]
pub struct CreditWord(AtomicU64);

/// A number of entries and of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credit {
    pub entries: u32,
    pub bytes: u64,
}

const WANTED: u64 = 1 << 63;
const BYTE_BITS: u32 = 40;
const MOST_BYTES: u64 = (1 << BYTE_BITS) - 1;
const MOST_ENTRIES: u32 = (1 << (63 - BYTE_BITS)) - 1;

/// What became of an attempt to spend credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    Spent,
    /// There is less credit than that; nothing was spent.
    Refused,
}

impl Credit {
    /// Credit that fits the word: what is beyond is left out.
    pub fn capped(entries: u32, bytes: u64) -> Credit {
        Credit { entries: entries.min(MOST_ENTRIES), bytes: bytes.min(MOST_BYTES) }
    }

    fn of(word: u64) -> Credit {
        Credit { entries: ((word & !WANTED) >> BYTE_BITS) as u32, bytes: word & MOST_BYTES }
    }

    fn word(self) -> u64 {
        u64::from(self.entries.min(MOST_ENTRIES)) << BYTE_BITS | self.bytes.min(MOST_BYTES)
    }
}

impl CreditWord {
    /// Spends one entry of this many bytes, if there is that much credit. Called by the participant, which then puts the
    /// message into its ring, and afterwards asks [`CreditWord::is_wanted`].
    pub fn spend(&self, bytes: u64) -> Spent {
        let spend = |word| {
            let Credit { entries, bytes: left } = Credit::of(word);
            let left = Credit { entries: entries.checked_sub(1)?, bytes: left.checked_sub(bytes)? };
            Some(word & WANTED | left.word())
        };
        match self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, spend) {
            Ok(_) => Spent::Spent,
            Err(_) => Spent::Refused,
        }
    }

    /// Returns the credit that is left.
    pub fn left(&self) -> Credit {
        Credit::of(self.0.load(Ordering::Relaxed))
    }

    /// Returns true if the manager wants to be woken. The fence has to be behind the publication of what was put.
    pub fn is_wanted(&self, _: &Fenced) -> bool {
        self.0.load(Ordering::Relaxed) & WANTED != 0
    }

    /// Adds credit. Called by the manager, which grants no more than fits the word ([`Credit::capped`]) in all.
    pub fn grant(&self, credit: Credit) {
        // If a hostile participant wrote something else there, this may overflow, which harms nobody but itself.
        self.0.fetch_add(credit.word(), Ordering::AcqRel);
    }

    /// Takes back what is left, and returns how much that was, according to the participant. Messages on which it spent
    /// the rest are in its ring, or will be.
    pub fn take_back(&self) -> Credit {
        Credit::of(self.0.fetch_and(WANTED, Ordering::AcqRel))
    }

    /// Says whether the manager wants to be woken when something is put. Called before it announces its sleep.
    pub fn want(&self, wanted: bool) {
        match wanted {
            true => self.0.fetch_or(WANTED, Ordering::AcqRel),
            false => self.0.fetch_and(!WANTED, Ordering::AcqRel),
        };
    }
}

/// Which messages that were sent ahead the participant has taken, and which it may take. Messages are numbered in the
/// order in which they are sent ahead; a number that was recalled is never used again for another message. Numbers begin
/// again after [`NUMBERS`].
///
/// | bits | |
/// | --- | --- |
/// | 43..64 | limit: number of the first message that may not be taken |
/// | 22..43 | the manager wants to be woken when the next number is this one |
/// | 21 | whether it wants that |
/// | 0..21 | next: number of the next message to be taken |
#[derive(Debug, Default)]
pub struct AheadWord(AtomicU64);

/// Number of messages after which their numbers begin again. No more than half as many may be ahead at a time.
pub const NUMBERS: u32 = 1 << 21;
const LIMIT_SHIFT: u32 = 43;
const DUE_SHIFT: u32 = 22;
const IS_AWAITED: u64 = 1 << 21;
const NUMBER: u64 = NUMBERS as u64 - 1;

/// What became of an attempt to take a message that was sent ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was recalled. The participant drops it: it is somebody else's now, or comes again under another number.
    Recalled,
    Taken,
    /// It was taken, and the manager has to be woken, whether or not it sleeps.
    TakenAndDue,
}

fn next(word: u64) -> u32 {
    (word & NUMBER) as u32
}

fn limit(word: u64) -> u32 {
    (word >> LIMIT_SHIFT) as u32
}

impl AheadWord {
    /// Takes the message of this number. Called by the participant, in the order of the messages.
    pub fn take(&self, number: u32) -> Taken {
        let mut is_due = false;
        let take = |word| {
            let taken = u64::from(number.wrapping_add(1)) & NUMBER;
            is_due = word & IS_AWAITED != 0 && word >> DUE_SHIFT & NUMBER == taken;
            let kept = if is_due { word & !(IS_AWAITED | NUMBER) } else { word & !NUMBER };
            (next(word) == number && limit(word) != number).then_some(kept | taken)
        };
        match self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, take) {
            Ok(_) if is_due => Taken::TakenAndDue,
            Ok(_) => Taken::Taken,
            Err(_) => Taken::Recalled,
        }
    }

    /// Allows this many more messages to be taken. Called by the manager, before or after it sent them.
    pub fn extend(&self, count: u32) {
        // The limit has the highest bits, so that what overflows is lost.
        self.0.fetch_add(u64::from(count) << LIMIT_SHIFT, Ordering::AcqRel);
    }

    /// Recalls all messages that were not taken. `limit` is the number of the first message that was never sent ahead.
    /// Returns the number of the first message that was recalled, or `limit` if there is none, according to the
    /// participant.
    pub fn recall(&self, limit: u32) -> u32 {
        let limit = u64::from(limit) & NUMBER;
        next(self.0.swap(limit << LIMIT_SHIFT | limit, Ordering::AcqRel))
    }

    /// Returns the number of the next message that the participant will take, according to itself.
    pub fn next(&self) -> u32 {
        next(self.0.load(Ordering::Acquire))
    }

    /// Asks to be woken when the next message to be taken is `number`, once. Returns the number of the next message: if
    /// that is `number` or later, no bell comes.
    pub fn await_next(&self, number: u32) -> u32 {
        let due = (u64::from(number) & NUMBER) << DUE_SHIFT | IS_AWAITED;
        let kept = NUMBER | NUMBER << LIMIT_SHIFT;
        // An honest participant interferes no more often than there are messages ahead. A hostile one that makes this
        // fail gets no more than that it wakes nobody.
        for _ in 0..TRIES {
            let word = self.0.load(Ordering::Relaxed);
            let new = word & kept | due;
            if self.0.compare_exchange(word, new, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return next(word);
            }
        }
        number
    }
}

/// Maximum number of tries to change a word that a participant changes as well.
const TRIES: u32 = 10_000;

/// Returns how many messages there are from one number to another.
pub fn distance(from: u32, to: u32) -> u32 {
    to.wrapping_sub(from) & NUMBER as u32
}
