//! Locks.

use std::time::Duration;

use super::handle::{Handle, cloned, object};
use wasmpool_objects::operation::Operation;
use wasmpool_run::error::Error;
use wasmpool_run::shared::HostHolder;

/// A lock that the program and its tasks share: Python's `Lock`. See [`Manager::lock`](crate::Manager::lock).
///
/// An item that ends with the lock held releases it, however it ends, and the next holder is told by
/// [`LockGuard::abandoned`]. Who waits is served first come, first served. Acquiring and releasing is a message to the
/// process that keeps the objects and an answer, some microseconds.
///
/// ```
/// use wasmpool::Manager;
///
/// let gate = Manager::new().lock("gate")?;
/// // Python: with gate:
/// {
///     let held = gate.acquire()?;
///     assert_eq!(held.abandoned(), None);
///     assert!(gate.is_locked()?);
/// }
/// assert!(!gate.is_locked()?);
/// # Ok::<(), wasmpool::Error>(())
/// ```
pub struct Lock {
    handle: Handle,
}

object!(Lock);
cloned!(Lock);

impl Lock {
    pub(super) fn new(handle: Handle) -> Lock {
        Lock { handle }
    }

    fn acquire_within(&self, timeout: Option<Duration>) -> Result<Option<LockGuard<'_>>, Error> {
        let acquired = self.handle.acquire(HostHolder::COMMON, timeout)?;
        Ok(acquired.map(|abandoned| LockGuard { lock: self, abandoned, released: false }))
    }

    /// Acquires the lock, after waiting until it is free. A thread that holds it already waits for ever.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::size`](crate::Queue::size).
    pub fn acquire(&self) -> Result<LockGuard<'_>, Error> {
        self.acquire_within(None)?.ok_or(Error::WaitTimeout)
    }

    /// Acquires the lock, after waiting for at most `timeout`. Returns `None` if it was not free by then.
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Self::acquire).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use wasmpool::Manager;
    /// let gate = Manager::new().lock("gate")?;
    /// let _held = gate.acquire()?;
    /// // Python: gate.acquire(timeout=0.01)
    /// assert!(gate.acquire_timeout(Duration::from_millis(10))?.is_none());
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Option<LockGuard<'_>>, Error> {
        self.acquire_within(Some(timeout))
    }

    /// Acquires the lock if it is free now: Python's `acquire(block=False)`.
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Self::acquire).
    pub fn try_acquire(&self) -> Result<Option<LockGuard<'_>>, Error> {
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

/// A lock that is held. Dropping it releases the lock.
#[derive(Debug)]
#[must_use = "the lock is released when this is dropped"]
pub struct LockGuard<'a> {
    lock: &'a Lock,
    abandoned: Option<String>,
    released: bool,
}

impl LockGuard<'_> {
    /// Returns who ended while holding the lock, if its last holder did: what it guards may need repair. The next holder
    /// is not told again.
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
    /// let gate = Manager::new().lock("gate")?;
    /// let first = gate.acquire()?.token()?;
    /// assert!(gate.acquire()?.token()? > first);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn token(&self) -> Result<u64, Error> {
        self.lock.handle.number(Operation::Token)
    }

    /// Releases the lock, and waits until that is done; dropping the guard does not wait.
    ///
    /// # Errors
    ///
    /// [`Error::Shared`] if the process that keeps the objects is lost.
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// let gate = Manager::new().lock("gate")?;
    /// gate.acquire()?.release()?;
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn release(mut self) -> Result<(), Error> {
        self.released = true;
        self.lock.handle.done(Operation::Release, None)
    }
}

impl Drop for LockGuard<'_> {
    fn drop(&mut self) {
        if !self.released {
            self.lock.handle.leave(HostHolder::COMMON, Operation::Release);
        }
    }
}
