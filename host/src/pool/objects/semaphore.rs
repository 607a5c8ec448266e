//! Semaphores.

use std::time::Duration;

use super::handle::{Handle, cloned, object};
use wasmpool_objects::operation::Operation;
use wasmpool_run::error::Error;
use wasmpool_run::shared::HostHolder;

/// A number of slots that the program and its tasks share: Python's `Semaphore` and `BoundedSemaphore`. See
/// [`Manager::semaphore`](crate::Manager::semaphore) and [`Manager::bounded_semaphore`](crate::Manager::bounded_semaphore).
///
/// The slots of an item that ends are given back, and the next holder is told by [`SemaphoreGuard::abandoned`]. A slot that
/// [`release`](Self::release) added is a signal: it is gone when an item that acquired it has ended well.
///
/// ```
/// use wasmpool::Manager;
///
/// let slots = Manager::new().semaphore("slots", 1)?;
/// // Python: with slots:
/// {
///     let _held = slots.acquire()?;
///     assert!(slots.try_acquire()?.is_none());
/// }
/// assert_eq!(slots.value()?, 1);
/// # Ok::<(), wasmpool::Error>(())
/// ```
pub struct Semaphore {
    handle: Handle,
}

object!(Semaphore);
cloned!(Semaphore);

impl Semaphore {
    pub(super) fn new(handle: Handle) -> Semaphore {
        Semaphore { handle }
    }

    fn acquire_within(&self, timeout: Option<Duration>) -> Result<Option<SemaphoreGuard<'_>>, Error> {
        let acquired = self.handle.acquire(HostHolder::COMMON, timeout)?;
        Ok(acquired.map(|abandoned| SemaphoreGuard { semaphore: self, abandoned, kept: false }))
    }

    /// Acquires a slot, after waiting until one is free.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::size`](crate::Queue::size).
    pub fn acquire(&self) -> Result<SemaphoreGuard<'_>, Error> {
        self.acquire_within(None)?.ok_or(Error::WaitTimeout)
    }

    /// Acquires a slot, after waiting for at most `timeout`. Returns `None` if none was free by then.
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Self::acquire).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Option<SemaphoreGuard<'_>>, Error> {
        self.acquire_within(Some(timeout))
    }

    /// Acquires a slot if one is free now: Python's `acquire(block=False)`.
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Self::acquire).
    pub fn try_acquire(&self) -> Result<Option<SemaphoreGuard<'_>>, Error> {
        self.acquire_within(Some(Duration::ZERO))
    }

    /// Gives a slot back that was [kept](SemaphoreGuard::keep) or that a task holds; if nobody holds any, adds one.
    ///
    /// # Errors
    ///
    /// Kind [`TooMany`](crate::ObjectErrorKind::TooMany) if a bounded semaphore had more slots then than at the start.
    /// Otherwise those of [`acquire`](Self::acquire).
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// let slots = Manager::new().semaphore("slots", 0)?;
    /// slots.release()?;
    /// assert_eq!(slots.value()?, 1);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn release(&self) -> Result<(), Error> {
        self.handle.done(Operation::Release, None)
    }

    /// Returns the number of free slots: Python's `get_value`.
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Self::acquire).
    pub fn value(&self) -> Result<u64, Error> {
        self.handle.number(Operation::Slots)
    }
}

/// A slot that is held. Dropping it gives it back.
#[derive(Debug)]
#[must_use = "the slot is given back when this is dropped"]
pub struct SemaphoreGuard<'a> {
    semaphore: &'a Semaphore,
    abandoned: Option<String>,
    kept: bool,
}

impl SemaphoreGuard<'_> {
    /// Returns who ended while holding a slot, if somebody did since a slot was last acquired.
    pub fn abandoned(&self) -> Option<&str> {
        self.abandoned.as_deref()
    }

    /// Returns a number that is greater than every token of an earlier acquisition, by whomever: what these slots guard
    /// elsewhere can refuse a holder with a lesser one, which was given up and does not know it yet. Asked for again, it may
    /// have grown.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::size`](crate::Queue::size); kinds [`NotHeld`](crate::ObjectErrorKind::NotHeld) and
    /// [`NotHolder`](crate::ObjectErrorKind::NotHolder) if it was released meanwhile.
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// let gate = Manager::new().semaphore("gate", 1)?;
    /// let first = gate.acquire()?.token()?;
    /// assert!(gate.acquire()?.token()? > first);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn token(&self) -> Result<u64, Error> {
        self.semaphore.handle.number(Operation::Token)
    }

    /// Keeps the slot until somebody calls [`Semaphore::release`], in any process.
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// let slots = Manager::new().semaphore("slots", 1)?;
    /// // Python: slots.acquire()
    /// slots.acquire()?.keep();
    /// assert_eq!(slots.value()?, 0);
    /// slots.release()?;
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for SemaphoreGuard<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.semaphore.handle.leave(HostHolder::COMMON, Operation::Release);
        }
    }
}
