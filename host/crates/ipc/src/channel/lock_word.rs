//! The word of a lock that is lent to a participant, which then acquires and releases it without a question.
//!
//! | the participant | the manager |
//! | --- | --- |
//! | acquires while the word says `lent` alone | lends the lock to whom it gives it, held |
//! | releases, and tells the manager if the word says `wanted` | says that it is wanted, and has it at once if it is free |
//!
//! A word that says `wanted` is not acquired any more. Each side changes the word by atomic operations only, so either the
//! participant's release sees that the lock is wanted, or the manager sees that it is free.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU32, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU32, Ordering};

/// The word. Every pattern of bits is valid, and one that a hostile participant wrote harms those alone who wait for this
/// lock: for them it is as if it did not release what it holds, or released it early.
#[derive(Debug, Default)]
pub struct LockWord(AtomicU32);

/// The participant may acquire the lock.
const LENT: u32 = 1;
const HELD: u32 = 2;
/// Somebody else waits for the lock.
const WANTED: u32 = 4;
/// Its holder may acquire it again. The participant counts how often it has.
const NESTS: u32 = 8;

/// Result of [`LockWord::release`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    NotHeld,
    Released,
    /// It was released, and the manager has to be told.
    ReleasedAndWanted,
}

impl LockWord {
    // ---- the participant ---------------------------------------------------------------------------------------------

    /// Acquires the lock if it is lent, free and not wanted.
    pub fn acquire(&self) -> bool {
        let acquire = |word: u32| (word & (LENT | HELD | WANTED) == LENT).then_some(word | HELD);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, acquire).is_ok()
    }

    /// Releases the lock.
    pub fn release(&self) -> Released {
        let before = self.0.fetch_and(!HELD, Ordering::AcqRel);
        match before & (LENT | HELD) == LENT | HELD {
            true if before & WANTED != 0 => Released::ReleasedAndWanted,
            true => Released::Released,
            false => Released::NotHeld,
        }
    }

    /// Returns true if the participant holds the lock by this word.
    pub fn is_held(&self) -> bool {
        self.0.load(Ordering::Acquire) & (LENT | HELD) == LENT | HELD
    }

    /// Returns true if its holder may acquire the lock again.
    pub fn nests(&self) -> bool {
        self.0.load(Ordering::Relaxed) & NESTS != 0
    }

    /// Gives back a lock that is free, because an item ends: the next one must not acquire it in the name of this one.
    pub fn give_back(&self) {
        let give_back = |word: u32| (word & HELD == 0).then_some(0);
        // A lock that is held is the manager's to release.
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, give_back);
    }

    // ---- the manager -------------------------------------------------------------------------------------------------

    /// Lends the lock to the participant, which holds it from now on.
    pub fn lend(&self, nests: bool) {
        self.0.store(LENT | HELD | if nests { NESTS } else { 0 }, Ordering::Release);
    }

    /// Says that the lock is wanted. Returns true if it is free: then it was taken back. Otherwise the participant tells
    /// when it has released it.
    pub fn want(&self) -> bool {
        let is_free = self.0.fetch_or(WANTED, Ordering::AcqRel) & HELD == 0;
        if is_free {
            // An honest participant does not touch it any more.
            self.0.store(0, Ordering::Release);
        }
        is_free
    }

    /// Takes the lock back. Returns true if it was held.
    pub fn take_back(&self) -> bool {
        self.0.swap(0, Ordering::AcqRel) & HELD != 0
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_lent_is_acquired_and_released_until_it_is_wanted() {
        let word = LockWord::default();
        assert!(!word.acquire(), "it is not lent");
        assert_eq!(word.release(), Released::NotHeld);
        word.lend(false);
        assert!(word.is_held() && !word.nests() && !word.acquire());
        assert_eq!(word.release(), Released::Released);
        assert!(word.acquire());
        assert!(!word.want());
        assert_eq!(word.release(), Released::ReleasedAndWanted);
        assert!(!word.acquire(), "another has its turn");
        assert!(word.want());
        assert!(!word.acquire() && !word.is_held());
    }

    #[test]
    fn at_the_end_of_an_item_a_free_lock_is_given_back_and_a_held_one_stays_held() {
        let word = LockWord::default();
        word.lend(true);
        assert!(word.nests());
        word.give_back();
        assert!(word.is_held());
        word.release();
        word.give_back();
        assert!(!word.acquire());
        assert!(!word.take_back());
        word.lend(false);
        assert!(word.take_back());
        assert!(!word.is_held());
    }

    #[test]
    fn any_bits_are_a_word() {
        for bits in 0..64 {
            let of = |bits| LockWord(AtomicU32::new(bits));
            assert_eq!(of(bits).want(), bits & HELD == 0);
            assert_eq!(of(bits).take_back(), bits & HELD != 0);
            let word = of(bits);
            assert!(!word.acquire() || word.is_held());
            word.lend(false);
            assert!(word.is_held());
        }
    }
}
