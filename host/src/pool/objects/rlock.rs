//! Locks that their holder can acquire again.

use std::time::Duration;

use super::handle::{Handle, cloned, object, reply};
use super::manager::HolderPlace;
use wasmpool_objects::operation::{Operation, Reply};
use wasmpool_run::error::Error;

/// A lock that its holder can acquire again, and has to release as often: Python's `RLock`. See
/// [`Manager::rlock`](crate::Manager::rlock).
///
/// In the program each thread is a holder of its own; 32 threads can hold rlocks and conditions of one manager, or wait
/// for them, at a time. Otherwise it is as a [`Lock`](crate::Lock).
///
/// ```
/// use wasmpool::Manager;
///
/// let gate = Manager::new().rlock("gate")?;
/// let (outer, inner) = (gate.acquire()?, gate.acquire()?);
/// drop(inner);
/// assert!(gate.is_locked()?);
/// outer.release()?;
/// assert!(!gate.is_locked()?);
/// # Ok::<(), wasmpool::Error>(())
/// ```
pub struct RLock {
    handle: Handle,
}

object!(RLock);
cloned!(RLock);

impl RLock {
    pub(super) fn new(handle: Handle) -> RLock {
        RLock { handle }
    }

    fn acquire_within(&self, timeout: Option<Duration>) -> Result<Option<RLockGuard<'_>>, Error> {
        let place = self.handle.place()?;
        let acquired = self.handle.acquire(place.holder, timeout)?;
        Ok(acquired.map(|abandoned| RLockGuard { handle: &self.handle, place, abandoned, released: false }))
    }

    /// Acquires the lock, after waiting until it is free or held by this thread.
    ///
    /// # Errors
    ///
    /// [`Error::Shared`] if too many threads hold something. Otherwise those of [`Queue::size`](crate::Queue::size).
    pub fn acquire(&self) -> Result<RLockGuard<'_>, Error> {
        self.acquire_within(None)?.ok_or(Error::WaitTimeout)
    }

    /// Acquires the lock, after waiting for at most `timeout`. Returns `None` if that was not possible by then.
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Self::acquire).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Option<RLockGuard<'_>>, Error> {
        self.acquire_within(Some(timeout))
    }

    /// Acquires the lock if that is possible now: Python's `acquire(block=False)`.
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Self::acquire).
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// let gate = Manager::new().rlock("gate")?;
    /// let held = gate.acquire()?;
    /// std::thread::scope(|scope| {
    ///     let other = scope.spawn(|| gate.try_acquire().map(|guard| guard.is_none()));
    ///     assert!(other.join().unwrap().unwrap());
    /// });
    /// # drop(held);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn try_acquire(&self) -> Result<Option<RLockGuard<'_>>, Error> {
        self.acquire_within(Some(Duration::ZERO))
    }

    /// Returns true if somebody holds the lock.
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Self::acquire).
    pub fn is_locked(&self) -> Result<bool, Error> {
        self.handle.is(Operation::IsLocked, None)
    }
}

/// An rlock that is held by this thread, once. Dropping it releases it once: whoever asks later finds that done.
#[must_use = "the lock is released when this is dropped"]
pub struct RLockGuard<'a> {
    handle: &'a Handle,
    place: HolderPlace,
    abandoned: Option<String>,
    released: bool,
}

impl std::fmt::Debug for RLockGuard<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RLockGuard").field("name", &self.handle.name).finish_non_exhaustive()
    }
}

impl RLockGuard<'_> {
    /// Returns who ended while holding the lock, as [`LockGuard::abandoned`](crate::LockGuard::abandoned) does.
    pub fn abandoned(&self) -> Option<&str> {
        self.abandoned.as_deref()
    }

    /// Returns a number that is greater than every token of an earlier acquisition, by whomever: what this lock guards
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
    /// let gate = Manager::new().rlock("gate")?;
    /// let first = gate.acquire()?.token()?;
    /// assert!(gate.acquire()?.token()? > first);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn token(&self) -> Result<u64, Error> {
        self.handle.number_as(self.place.holder, Operation::Token)
    }

    /// Releases the lock once, as dropping the guard does, and returns the error if that fails.
    ///
    /// # Errors
    ///
    /// [`Error::Shared`] if the process that keeps the objects is lost.
    pub fn release(mut self) -> Result<(), Error> {
        self.released = true;
        reply!(self.handle.ask_as(self.place.holder, Operation::Release, None)?, Reply::Done => ())
    }
}

impl Drop for RLockGuard<'_> {
    fn drop(&mut self) {
        if !self.released {
            self.handle.release_now(self.place.holder);
        }
    }
}
