//! Conditions.

use std::time::{Duration, Instant};

use crate::bindings::shared::wasmpool::shared::sync;

use super::Error;
use super::guard::{Guard, Held};
use super::timeout::{in_rounds, nanoseconds};

/// A condition with a lock of its own, which its holder can acquire again (`--share NAME=condition`).
pub struct Condition(sync::Condition);

impl Condition {
    /// Opens the condition of this name.
    ///
    /// # Errors
    ///
    /// [`Error::NotGranted`], [`Error::WrongKind`].
    pub fn open(name: &str) -> Result<Self, Error> {
        Ok(Self(sync::Condition::open(name)?))
    }

    /// Acquires the lock until the guard is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`], [`Error::Lost`].
    pub fn acquire(&self, timeout: impl Into<Option<Duration>>) -> Result<ConditionGuard<'_>, Error> {
        let guard = Guard::new(self, self.0.acquire(nanoseconds(timeout.into()))?)?;
        Ok(ConditionGuard { condition: self, guard })
    }
}

impl Held for Condition {
    fn release(&self) -> Result<(), Error> {
        Ok(self.0.release()?)
    }

    fn token(&self) -> Result<u64, Error> {
        Ok(self.0.token()?)
    }
}

/// The lock of a condition, which is released when this is dropped.
#[must_use = "dropping this releases the lock"]
pub struct ConditionGuard<'a> {
    condition: &'a Condition,
    guard: Guard<'a>,
}

impl ConditionGuard<'_> {
    /// Releases the lock, waits to be notified, and acquires it again, at the timeout too. Returns whether it was notified.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn wait(&self, timeout: impl Into<Option<Duration>>) -> Result<bool, Error> {
        Ok(self.condition.0.wait(nanoseconds(timeout.into()))?)
    }

    /// Waits until `predicate` returns true, which is asked at once and after each time that this was notified, with the lock held.
    /// Returns what it returned last: false only at the timeout, which is one for all rounds. With a timeout of 0 it is asked
    /// once.
    ///
    /// # Errors
    ///
    /// Those of the predicate, and [`Error::Lost`].
    pub fn wait_for(
        &self,
        predicate: impl FnMut() -> Result<bool, Error>,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<bool, Error> {
        in_rounds(timeout.into(), predicate, |left| self.wait(left).map(|_| ()), Instant::now)
    }

    /// Wakes the one who waits longest, if anybody waits.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn notify(&self) -> Result<(), Error> {
        self.notify_many(1)
    }

    /// Wakes up to this many of those who wait, those first who wait longest.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn notify_many(&self, most: u32) -> Result<(), Error> {
        Ok(self.condition.0.notify(most)?)
    }

    /// Wakes all who wait.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn notify_all(&self) -> Result<(), Error> {
        Ok(self.condition.0.notify_all()?)
    }

    /// Returns the name of the last holder, if it ended without releasing the lock. This is told once.
    #[must_use]
    pub fn abandoned(&self) -> Option<&str> {
        self.guard.abandoned()
    }

    /// Returns a number that is greater than every token of an earlier acquisition. After a [`wait`](Self::wait), in which others may
    /// have held the lock, it is another.
    ///
    /// # Errors
    ///
    /// [`Error::NotHeld`], [`Error::Lost`].
    pub fn token(&self) -> Result<u64, Error> {
        Ok(self.condition.0.token()?)
    }

    /// Releases the lock now, and returns what stood in the way.
    ///
    /// # Errors
    ///
    /// [`Error::NotHeld`], [`Error::Lost`].
    pub fn release(self) -> Result<(), Error> {
        self.guard.release()
    }
}
