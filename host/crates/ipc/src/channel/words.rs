//! The words of an object in a channel, by which a participant puts, gets and acquires without a question.
//!
//! Either side changes a word by atomic operations only, and each pattern of bits is a valid word. The manager keeps its
//! own account and believes only what agrees with it.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering};

use super::lock_word::LockWord;
use crate::wake::Fenced;

/// The words of one object. Which of them are used depends on its kind.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub struct ObjectWords {
    pub credit: CreditWord,
    pub ahead: AheadWord,
    pub lock: LockWord,
    pub changes: ChangeWord,
}

/// How often the manager has told the participant that an object was changed by somebody else. What the participant
/// remembers of the object is true as long as that number stays the same.
#[derive(Debug, Default)]
pub struct ChangeWord(AtomicU64);

impl ChangeWord {
    /// Returns the number. What is remembered has to be asked for after this, and the number has to be the same when the
    /// answer has come, and when it is used.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Tells of a change. Called by the manager before it answers anybody who could know of the change.
    pub fn tell(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
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
    /// Spends one entry of this many bytes. Returns false if there is less credit than that; nothing is spent then. Called
    /// by the participant, which then puts the message into its ring, and afterwards asks [`CreditWord::is_wanted`].
    pub fn spend(&self, bytes: u64) -> bool {
        let spend = |word| {
            let Credit { entries, bytes: left } = Credit::of(word);
            let left = Credit { entries: entries.checked_sub(1)?, bytes: left.checked_sub(bytes)? };
            Some(word & WANTED | left.word())
        };
        self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, spend).is_ok()
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

    /// Gives back the messages that were not taken. Called by the participant when an item of it ends, because the next
    /// item must not take messages in the name of this one.
    pub fn give_back(&self) {
        let give_back = |word| Some(word & !(NUMBER << LIMIT_SHIFT) | u64::from(next(word)) << LIMIT_SHIFT);
        // It always succeeds, since the closure always returns a word.
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, give_back);
    }

    /// Allows this many more messages to be taken. Called by the manager, before or after it sent them, when all before
    /// them were taken or recalled.
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

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn credit_is_spent_until_entries_or_bytes_are_used_up() {
        let word = CreditWord::default();
        assert!(!word.spend(0));
        word.grant(Credit::capped(3, 100));
        word.want(true);
        assert_eq!([60, 41, 40, 0, 0].map(|bytes| word.spend(bytes)), [true, false, true, true, false]);
        word.grant(Credit::capped(u32::MAX, u64::MAX));
        assert_eq!(word.take_back(), Credit::capped(u32::MAX, u64::MAX));
        assert_eq!(word.left(), Credit::default());
    }

    #[test]
    fn a_message_is_taken_once_and_in_turn_and_not_after_it_was_recalled() {
        let word = AheadWord::default();
        // Numbers begin again after the last.
        let mut number = 0;
        for round in 0..NUMBERS / 8 + 3 {
            word.extend(10);
            assert_eq!(word.take(number + 1), Taken::Recalled, "it is not its turn");
            for _ in 0..4 {
                assert_eq!(word.take(number), Taken::Taken, "{round}");
                assert_eq!(word.take(number), Taken::Recalled);
                number = (number + 1) % NUMBERS;
            }
            let limit = (number + 6) % NUMBERS;
            if round % 2 == 0 {
                word.give_back();
                assert_eq!(word.take(number), Taken::Recalled);
            }
            assert_eq!(word.recall(limit), number);
            assert_eq!(distance(number, limit), 6);
            assert_eq!(word.take(number), Taken::Recalled);
            assert_eq!(word.take(limit), Taken::Recalled, "it was not sent yet");
            number = limit;
        }
    }

    #[test]
    fn the_manager_is_woken_once_when_what_it_awaits_is_taken() {
        let word = AheadWord::default();
        word.extend(8);
        assert_eq!(word.await_next(2), 0);
        assert_eq!([0, 1, 2].map(|number| word.take(number)), [Taken::Taken, Taken::TakenAndDue, Taken::Taken]);
        assert_eq!(word.await_next(3), 3, "too late: no bell comes");
        assert_eq!(word.await_next(5), 3);
        assert_eq!([3, 4].map(|number| word.take(number)), [Taken::Taken, Taken::TakenAndDue]);
    }

    proptest! {
        #[test]
        fn any_bits_are_a_word(bits in any::<u64>(), number in any::<u32>(), bytes in any::<u64>()) {
            let word = CreditWord(AtomicU64::new(bits));
            let before = word.left();
            let spent = word.spend(bytes);
            prop_assert_eq!(spent, before.entries > 0 && before.bytes >= bytes);
            let left = word.left();
            prop_assert_eq!(before.entries - left.entries, u32::from(spent));
            prop_assert_eq!(before.bytes - left.bytes, if spent { bytes } else { 0 });
            prop_assert_eq!(word.0.load(Ordering::SeqCst) & WANTED, bits & WANTED);
            word.want(true);
            word.grant(Credit::capped(1, bytes));
            word.take_back();
            let word = AheadWord(AtomicU64::new(bits));
            let next = word.next();
            let taken = word.take(number) != Taken::Recalled;
            prop_assert!(!taken || number == next);
            prop_assert_eq!(distance(next, word.next()), u32::from(taken));
            word.await_next(number);
            word.give_back();
            prop_assert_eq!(word.take(word.next()), Taken::Recalled);
            word.extend(number % NUMBERS);
            prop_assert!(word.recall(number) < NUMBERS);
        }
    }
}
