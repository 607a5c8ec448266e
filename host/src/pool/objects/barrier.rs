//! Barriers.

use std::time::Duration;

use super::handle::{Handle, cloned, object, reply};
use wasmpool_objects::operation::{Operation, Reply};
use wasmpool_run::error::Error;

/// A point that a number of parties reach before any of them goes on: Python's `Barrier`. See
/// [`Manager::barrier`](crate::Manager::barrier).
///
/// Parties are items and threads of the program. An item that ends while it waits here, or that fails after it has,
/// breaks the barrier for all, as does a timeout. Since threads of the program count, a barrier for more parties than
/// ever come is not refused: items wait until their own timeout, which breaks it.
///
/// ```
/// use wasmpool::Manager;
///
/// let start = Manager::new().barrier("start", 2)?;
/// std::thread::scope(|scope| {
///     let other = scope.spawn(|| start.wait());
///     let numbers = [start.wait()?, other.join().unwrap()?];
///     assert_eq!(numbers.iter().sum::<u32>(), 1);
///     Ok::<(), wasmpool::Error>(())
/// })?;
/// # Ok::<(), wasmpool::Error>(())
/// ```
pub struct Barrier {
    handle: Handle,
}

object!(Barrier);
cloned!(Barrier);

impl Barrier {
    pub(super) fn new(handle: Handle) -> Barrier {
        Barrier { handle }
    }

    fn wait_within(&self, timeout: Option<Duration>) -> Result<u32, Error> {
        let number = reply!(self.handle.ask(Operation::WaitBarrier, timeout)?, Reply::Number(number) => number)?;
        Ok(u32::try_from(number).unwrap_or(u32::MAX))
    }

    fn count(&self, operation: Operation) -> Result<u32, Error> {
        Ok(u32::try_from(self.handle.number(operation)?).unwrap_or(u32::MAX))
    }

    /// Waits until all parties wait. Each gets a number of its own, from 0.
    ///
    /// # Errors
    ///
    /// An [`Error::Object`] of kind [`Broken`](crate::ObjectErrorKind::Broken), which says by what. Otherwise those of
    /// [`Queue::size`](crate::Queue::size).
    pub fn wait(&self) -> Result<u32, Error> {
        self.wait_within(None)
    }

    /// Waits as [`wait`](Self::wait) does, for at most `timeout`, which breaks the barrier for all.
    ///
    /// # Errors
    ///
    /// Kind [`Timeout`](crate::ObjectErrorKind::Timeout). Otherwise those of [`wait`](Self::wait).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use wasmpool::Manager;
    /// let start = Manager::new().barrier("start", 2)?;
    /// assert!(start.wait_timeout(Duration::from_millis(10)).is_err());
    /// assert!(start.is_broken()?);
    /// start.reset()?;
    /// assert!(!start.is_broken()?);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Result<u32, Error> {
        self.wait_within(Some(timeout))
    }

    /// Breaks the barrier for all who wait and come, until it is reset.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::size`](crate::Queue::size).
    pub fn abort(&self) -> Result<(), Error> {
        self.handle.done(Operation::Abort, None)
    }

    /// Makes the barrier whole again. Those who wait get [`Broken`](crate::ObjectErrorKind::Broken).
    ///
    /// # Errors
    ///
    /// Those of [`Queue::size`](crate::Queue::size).
    pub fn reset(&self) -> Result<(), Error> {
        self.handle.done(Operation::Reset, None)
    }

    /// Returns the number of parties.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::size`](crate::Queue::size).
    pub fn parties(&self) -> Result<u32, Error> {
        self.count(Operation::Parties)
    }

    /// Returns the number of those who wait: Python's `n_waiting`.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::size`](crate::Queue::size).
    pub fn waiting(&self) -> Result<u32, Error> {
        self.count(Operation::Waiting)
    }

    /// Returns true if the barrier is broken.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::size`](crate::Queue::size).
    pub fn is_broken(&self) -> Result<bool, Error> {
        self.handle.is(Operation::IsBroken, None)
    }
}
