//! Lets one side sleep until the other has something for it. No wake-up is lost, and no side makes a system call to
//! wake one that is awake.
//!
//! | the side that sleeps ([`Sleeper`]) | the side that has something ([`Waker`]) |
//! | --- | --- |
//! | 1. writes down what it sleeps for | 1. publishes what it has |
//! | 2. fence | 2. fence |
//! | 3. looks once more whether that is there | 3. looks whether the other one sleeps for that |
//! | 4. sleeps until the bell rings | 4. if so, rings the bell |
//!
//! Each side writes, passes a fence, and then reads what the other wrote. All sequentially consistent fences have one
//! order that both sides agree on, and the side whose fence is the later of the two reads what the other wrote before
//! its own. So either the sleeper sees what was published, or the waker sees that it sleeps. If both are true, the bell
//! rings in vain, and the sleeper looks again. It cannot happen that neither is true, which would leave both asleep. A
//! ring that comes before the wait is not lost: the bell keeps it.
//!
//! The word and what is published can be in any memory that both sides can access. Accesses to the word need no
//! ordering of their own. What is published has to bring its own (release and acquire) for the bytes that it covers.
//!
//! If what is published is only a number, a [`AnnouncedCount`] keeps it in the same word as the announcement. Then no fence is
//! needed: each change of a word starts from the value that the previous change left.
//!
//! `make model` has loom run this very code through every order that the memory model allows (`wake/model.rs`).

use std::io;

#[cfg(loom)]
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

#[cfg(all(test, loom))]
mod model;

/// Something to sleep on until the other side rings. A ring that comes before the wait ends it at once. Errors mean
/// that the other side is gone.
pub trait Bell {
    fn wait(&self) -> io::Result<()>;
    fn ring(&self) -> io::Result<()>;
}

/// The event that a side sleeps for. It is woken for nothing else, because waking it in vain costs as much as what it
/// does in between.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SleepReason {
    /// The worker waits for more input.
    Input = 1,
    /// The worker waits for room in its output ring.
    Room = 2,
    /// The host waits for anything that its worker has done.
    News = 3,
}

/// The word of a side that is awake.
const AWAKE: u32 = 0;

/// The word in which one side writes what it sleeps for.
#[repr(transparent)]
#[derive(Debug, Default)]
pub struct SleepWord(AtomicU32);

/// The side that the word belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Sleeper<'a>(&'a SleepWord);

/// The side that wakes the other one.
#[derive(Clone, Copy, Debug)]
pub struct Waker<'a>(&'a SleepWord);

/// Proof that there is a fence between what this side wrote and what it reads next. A side that both announces its
/// sleep and has something for the other needs only one fence.
#[derive(Clone, Copy, Debug)]
pub struct Fenced(());

impl Fenced {
    pub(crate) fn here() -> Fenced {
        fence(Ordering::SeqCst);
        Fenced(())
    }
}

impl SleepWord {
    pub fn sleeper(&self) -> Sleeper<'_> {
        Sleeper(self)
    }

    pub fn waker(&self) -> Waker<'_> {
        Waker(self)
    }
}

impl Sleeper<'_> {
    /// Announces that this side is about to sleep. It then has to look once more, and may sleep only if there is still
    /// nothing.
    pub fn announce(self, want: SleepReason) -> Fenced {
        self.0.0.store(want as u32, Ordering::Relaxed);
        Fenced::here()
    }

    /// Takes the announcement back. A ring that is already on its way comes in vain.
    pub fn retract(self) {
        self.0.0.store(AWAKE, Ordering::Relaxed);
    }

    /// Sleeps until `ready`, and returns how often. The other side may itself sleep until it gets [`SleepReason::News`] from
    /// this one; it is woken first, by the same bell.
    ///
    /// A function of its own, because it has room for a message and thus needs pages of stack that callers who find
    /// `ready` at once do not.
    #[cold]
    #[inline(never)]
    pub fn sleep_until(
        self,
        want: SleepReason,
        other: Waker<'_>,
        bell: &impl Bell,
        ready: impl Fn() -> bool,
    ) -> io::Result<u64> {
        let mut sleeps = 0;
        while !ready() {
            sleeps += 1;
            let fenced = self.announce(want);
            if other.must_ring_after(fenced, SleepReason::News) {
                bell.ring()?;
            }
            if ready() {
                break;
            }
            bell.wait()?;
        }
        self.retract();
        Ok(sleeps)
    }
}

impl Waker<'_> {
    /// Returns true if the other side sleeps for what was just published, and thus has to be woken. This returns true
    /// only once for each announcement.
    #[must_use]
    pub fn must_ring(self, want: SleepReason) -> bool {
        self.must_ring_after(Fenced::here(), want)
    }

    /// Returns the same as [`Waker::must_ring`], if there is already a fence after what was published.
    #[must_use]
    pub fn must_ring_after(self, _: Fenced, want: SleepReason) -> bool {
        let SleepWord(word) = self.0;
        // The word is read before it is written, because writing takes the cache line from the other side. If it
        // changes between the two, the sleeper has looked since, or will.
        word.load(Ordering::Relaxed) == want as u32
            && word.compare_exchange(want as u32, AWAKE, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Returns true if the other side says that it is awake. Nothing may depend on the answer.
    pub fn seems_awake(self) -> bool {
        self.0.0.load(Ordering::Relaxed) == AWAKE
    }

    /// Returns true if the other side says that it sleeps for `want`, and leaves it asleep. After a fence behind this side's
    /// own announcement, the answer is `true` wherever the other side sleeps without having rung.
    pub fn seems_to_sleep_for(self, want: SleepReason) -> bool {
        self.0.0.load(Ordering::Relaxed) == want as u32
    }
}

/// The bit of a [`AnnouncedCount`] that says that its taker wants to be woken.
const WANTED: u64 = 1 << 63;

/// A number that several sides add to and one side takes. The taker is woken only on request.
#[derive(Debug, Default)]
pub struct AnnouncedCount(AtomicU64);

impl AnnouncedCount {
    /// Adds to the number. Returns true if the taker has to be woken.
    #[must_use]
    pub fn add(&self, count: usize) -> bool {
        self.0.fetch_add(count as u64, Ordering::Relaxed) & WANTED != 0
    }

    /// Takes the whole number. The taker is awake then, so this also removes the announcement.
    pub fn take(&self) -> usize {
        (self.0.swap(0, Ordering::Relaxed) & !WANTED) as usize
    }

    /// Announces that the taker is about to sleep, and whether it wants to be woken. Returns true if there is something
    /// to take after all.
    #[must_use]
    pub fn announce(&self, wanted: bool) -> bool {
        if wanted {
            self.0.fetch_or(WANTED, Ordering::Relaxed) & !WANTED != 0
        } else {
            self.0.fetch_and(!WANTED, Ordering::Relaxed);
            false
        }
    }
}
