//! Conditions.

use std::time::{Duration, Instant};

use super::handle::{Handle, cloned, object, reply};
use super::manager::HolderPlace;
use wasmpool_objects::operation::{Operation, Reply};
use wasmpool_run::error::Error;

/// A condition that the program and its tasks wait for, with an rlock of its own: Python's `Condition`. See
/// [`Manager::condition`](crate::Manager::condition).
///
/// Its lock has to be held for everything else, so all else is a method of the [`ConditionGuard`]. In the program each
/// thread is a holder of its own, as with an [`RLock`](crate::RLock).
///
/// ```
/// use wasmpool::Manager;
///
/// let manager = Manager::new();
/// let (changed, ready) = (manager.condition("changed")?, manager.value("ready", false)?);
/// std::thread::scope(|scope| {
///     scope.spawn(|| -> Result<(), wasmpool::Error> {
///         // Python: with changed: changed.notify_all()
///         let held = changed.acquire()?;
///         ready.store(true)?;
///         held.notify_all()
///     });
///     let mut held = changed.acquire()?;
///     held.wait_for(|| ready.load())
/// })?;
/// # Ok::<(), wasmpool::Error>(())
/// ```
pub struct Condition {
    handle: Handle,
}

object!(Condition);
cloned!(Condition);

impl Condition {
    pub(super) fn new(handle: Handle) -> Condition {
        Condition { handle }
    }

    fn acquire_within(&self, timeout: Option<Duration>) -> Result<Option<ConditionGuard<'_>>, Error> {
        let place = self.handle.place()?;
        let acquired = self.handle.acquire(place.holder, timeout)?;
        Ok(acquired.map(|abandoned| ConditionGuard { handle: &self.handle, place, abandoned }))
    }

    /// Acquires the condition's lock, after waiting until it is free or held by this thread.
    ///
    /// # Errors
    ///
    /// Those of [`RLock::acquire`](crate::RLock::acquire).
    pub fn acquire(&self) -> Result<ConditionGuard<'_>, Error> {
        self.acquire_within(None)?.ok_or(Error::WaitTimeout)
    }

    /// Acquires the condition's lock, after waiting for at most `timeout`. Returns `None` if that was not possible by
    /// then.
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Self::acquire).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Option<ConditionGuard<'_>>, Error> {
        self.acquire_within(Some(timeout))
    }
}

/// A condition whose lock is held by this thread. Dropping it releases the lock once: whoever asks later finds that done.
#[must_use = "the lock is released when this is dropped"]
pub struct ConditionGuard<'a> {
    handle: &'a Handle,
    place: HolderPlace,
    abandoned: Option<String>,
}

impl std::fmt::Debug for ConditionGuard<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConditionGuard").field("name", &self.handle.name).finish_non_exhaustive()
    }
}

impl ConditionGuard<'_> {
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
    /// let gate = Manager::new().condition("gate")?;
    /// let first = gate.acquire()?.token()?;
    /// assert!(gate.acquire()?.token()? > first);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn token(&self) -> Result<u64, Error> {
        self.handle.number_as(self.place.holder, Operation::Token)
    }

    fn wait_within(&mut self, timeout: Option<Duration>) -> Result<bool, Error> {
        let reply = self.handle.ask_as(self.place.holder, Operation::WaitCondition, timeout)?;
        reply!(reply, Reply::Bool(notified) => notified)
    }

    /// Releases the lock, as often as this thread holds it, waits to be notified, and acquires it again.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::size`](crate::Queue::size).
    pub fn wait(&mut self) -> Result<(), Error> {
        self.wait_within(None).map(drop)
    }

    /// Waits as [`wait`](Self::wait) does, for at most `timeout`, and returns whether it was notified. It acquires the
    /// lock again in any case, which may take longer.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use wasmpool::Manager;
    /// let changed = Manager::new().condition("changed")?;
    /// assert!(!changed.acquire()?.wait_timeout(Duration::from_millis(10))?);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<bool, Error> {
        self.wait_within(Some(timeout))
    }

    /// Waits until `holds` returns true. It is called with the lock held, at first and whenever this was notified.
    ///
    /// # Errors
    ///
    /// What `holds` returns, and those of [`wait`](Self::wait).
    pub fn wait_for(&mut self, mut holds: impl FnMut() -> Result<bool, Error>) -> Result<(), Error> {
        while !holds()? {
            self.wait()?;
        }
        Ok(())
    }

    /// Waits as [`wait_for`](Self::wait_for) does, for at most `timeout` in all, and returns what `holds` returned last.
    ///
    /// # Errors
    ///
    /// Those of [`wait_for`](Self::wait_for).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use wasmpool::Manager;
    /// let changed = Manager::new().condition("changed")?;
    /// // Python: changed.wait_for(lambda: False, timeout=0.01)
    /// assert!(!changed.acquire()?.wait_for_timeout(Duration::from_millis(10), || Ok(false))?);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn wait_for_timeout(
        &mut self,
        timeout: Duration,
        mut holds: impl FnMut() -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        // A time that never comes is none.
        let deadline = Instant::now().checked_add(timeout);
        loop {
            if holds()? {
                return Ok(true);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(false);
            }
            self.wait_within(left)?;
        }
    }

    /// Wakes one of those who wait. They go on once the lock is free.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
    pub fn notify(&self) -> Result<(), Error> {
        self.notify_many(1)
    }

    /// Wakes up to `most` of those who wait, first come, first served: Python's `notify(n)`.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
    pub fn notify_many(&self, most: u32) -> Result<(), Error> {
        reply!(self.handle.ask_as(self.place.holder, Operation::Notify { most }, None)?, Reply::Done => ())
    }

    /// Wakes all who wait.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
    pub fn notify_all(&self) -> Result<(), Error> {
        self.notify_many(u32::MAX)
    }
}

impl Drop for ConditionGuard<'_> {
    fn drop(&mut self) {
        self.handle.release_now(self.place.holder);
    }
}
