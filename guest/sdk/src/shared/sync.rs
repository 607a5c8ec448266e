//! Locks, semaphores, events and barriers.

use std::time::Duration;

use crate::bindings::shared::wasmpool::shared::sync;

use super::Error;
use super::guard::{Guard, Held};
use super::timeout::nanoseconds;

/// A lock (`--share NAME=lock`). An item that acquires it twice waits for itself; see [`RLock`].
pub struct Lock(sync::Lock);

impl Lock {
    /// Opens the lock of this name.
    ///
    /// # Errors
    ///
    /// [`Error::NotGranted`], [`Error::WrongKind`].
    pub fn open(name: &str) -> Result<Self, Error> {
        Ok(Self(sync::Lock::open(name)?))
    }

    /// Acquires the lock until the guard is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`], [`Error::Lost`].
    pub fn acquire(&self, timeout: impl Into<Option<Duration>>) -> Result<Guard<'_>, Error> {
        Guard::new(self, self.0.acquire(nanoseconds(timeout.into()))?)
    }

    /// Returns whether anybody holds it. It may be out of date at once.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn is_locked(&self) -> Result<bool, Error> {
        Ok(self.0.locked()?)
    }
}

impl Held for Lock {
    fn release(&self) -> Result<(), Error> {
        Ok(self.0.release()?)
    }

    fn token(&self) -> Result<u64, Error> {
        Ok(self.0.token()?)
    }
}

/// A lock that its holder can acquire again, and has to release as often (`--share NAME=rlock`).
pub struct RLock(sync::Rlock);

impl RLock {
    /// Opens the lock of this name.
    ///
    /// # Errors
    ///
    /// [`Error::NotGranted`], [`Error::WrongKind`].
    pub fn open(name: &str) -> Result<Self, Error> {
        Ok(Self(sync::Rlock::open(name)?))
    }

    /// Acquires the lock, once more where the item holds it already, until the guard is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`], [`Error::Lost`].
    pub fn acquire(&self, timeout: impl Into<Option<Duration>>) -> Result<Guard<'_>, Error> {
        Guard::new(self, self.0.acquire(nanoseconds(timeout.into()))?)
    }

    /// Returns whether anybody holds it. It may be out of date at once.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn is_locked(&self) -> Result<bool, Error> {
        Ok(self.0.locked()?)
    }
}

impl Held for RLock {
    fn release(&self) -> Result<(), Error> {
        Ok(self.0.release()?)
    }

    fn token(&self) -> Result<u64, Error> {
        Ok(self.0.token()?)
    }
}

/// A number of slots (`--share NAME=semaphore:SLOTS[:bounded]`).
pub struct Semaphore(sync::Semaphore);

impl Semaphore {
    /// Opens the semaphore of this name.
    ///
    /// # Errors
    ///
    /// [`Error::NotGranted`], [`Error::WrongKind`].
    pub fn open(name: &str) -> Result<Self, Error> {
        Ok(Self(sync::Semaphore::open(name)?))
    }

    /// Acquires a slot until the guard is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`], [`Error::Lost`].
    pub fn acquire(&self, timeout: impl Into<Option<Duration>>) -> Result<SemaphoreGuard<'_>, Error> {
        Ok(SemaphoreGuard(Guard::new(self, self.0.acquire(nanoseconds(timeout.into()))?)?))
    }

    /// Gives a slot back: one whose guard was [kept](SemaphoreGuard::keep), or else one that another item holds, or else a new one. A new
    /// one is a signal, which is gone when the item that acquires it has ended well.
    ///
    /// # Errors
    ///
    /// [`Error::TooMany`] if the semaphore is bounded and has as many as at the start.
    pub fn release(&self) -> Result<(), Error> {
        Ok(self.0.release()?)
    }

    /// Returns the number of slots that are free. It may be out of date at once.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn value(&self) -> Result<u64, Error> {
        Ok(self.0.slots()?)
    }
}

impl Held for Semaphore {
    fn release(&self) -> Result<(), Error> {
        Semaphore::release(self)
    }

    fn token(&self) -> Result<u64, Error> {
        Ok(self.0.token()?)
    }
}

/// A slot of a semaphore, which is given back when this is dropped.
#[must_use = "dropping this gives the slot back"]
pub struct SemaphoreGuard<'a>(Guard<'a>);

impl SemaphoreGuard<'_> {
    /// Returns the name of a holder that ended without giving its slot back, if that slot is this one. This is told once.
    #[must_use]
    pub fn abandoned(&self) -> Option<&str> {
        self.0.abandoned()
    }

    /// Returns a number that is greater than every token of an earlier acquisition; see [`Guard::token`].
    ///
    /// # Errors
    ///
    /// [`Error::NotHeld`] if it was given back otherwise; [`Error::Lost`].
    pub fn token(&self) -> Result<u64, Error> {
        self.0.token()
    }

    /// Gives the slot back now, and returns what stood in the way.
    ///
    /// # Errors
    ///
    /// [`Error::TooMany`] if it was given back otherwise, of a bounded semaphore; [`Error::Lost`].
    pub fn release(self) -> Result<(), Error> {
        self.0.release()
    }

    /// Keeps the slot until a [`release`](Semaphore::release) gives it back, or until the item ends.
    pub fn keep(self) {
        self.0.keep();
    }
}

/// A flag that items can wait for (`--share NAME=event`).
pub struct Event(sync::Event);

impl Event {
    /// Opens the event of this name.
    ///
    /// # Errors
    ///
    /// [`Error::NotGranted`], [`Error::WrongKind`].
    pub fn open(name: &str) -> Result<Self, Error> {
        Ok(Self(sync::Event::open(name)?))
    }

    /// Returns whether the flag is set.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn is_set(&self) -> Result<bool, Error> {
        Ok(self.0.is_set()?)
    }

    /// Sets the flag, and wakes all who began to wait before.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] where it was granted `:ro`.
    pub fn set(&self) -> Result<(), Error> {
        Ok(self.0.set()?)
    }

    /// Clears the flag.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] where it was granted `:ro`.
    pub fn clear(&self) -> Result<(), Error> {
        Ok(self.0.clear()?)
    }

    /// Waits until the flag is set. Returns false at the timeout.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn wait(&self, timeout: impl Into<Option<Duration>>) -> Result<bool, Error> {
        Ok(self.0.wait(nanoseconds(timeout.into()))?)
    }
}

/// A place where a number of items wait for each other (`--share NAME=barrier:PARTIES`).
pub struct Barrier(sync::Barrier);

impl Barrier {
    /// Opens the barrier of this name.
    ///
    /// # Errors
    ///
    /// [`Error::NotGranted`], [`Error::WrongKind`].
    pub fn open(name: &str) -> Result<Self, Error> {
        Ok(Self(sync::Barrier::open(name)?))
    }

    /// Waits until all parties wait, and returns a number that no other party got, from 0. A timeout breaks the barrier for all,
    /// and so does an item that ends while it waits here.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] for the party whose time is over, [`Error::Broken`] for the others, and [`Error::Invalid`] if there are
    /// more parties than can run at once.
    pub fn wait(&self, timeout: impl Into<Option<Duration>>) -> Result<u32, Error> {
        Ok(self.0.wait(nanoseconds(timeout.into()))?)
    }

    /// Returns the number of parties that have to wait.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn parties(&self) -> Result<u32, Error> {
        Ok(self.0.parties()?)
    }

    /// Returns the number of parties that wait now.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn waiting(&self) -> Result<u32, Error> {
        Ok(self.0.waiting()?)
    }

    /// Returns whether the barrier is broken.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn is_broken(&self) -> Result<bool, Error> {
        Ok(self.0.is_broken()?)
    }

    /// Breaks the barrier for all who wait and will wait, until [`reset`](Self::reset).
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn abort(&self) -> Result<(), Error> {
        Ok(self.0.abort()?)
    }

    /// Mends the barrier. Who waits now gets [`Error::Broken`].
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn reset(&self) -> Result<(), Error> {
        Ok(self.0.reset()?)
    }
}
