//! Events.

use std::time::Duration;

use super::handle::{FIRST, Handle, cloned, object};
use super::share::Share;
use wasmpool_objects::operation::Operation;
use wasmpool_run::error::Error;

/// A flag that the program and its tasks wait for: Python's `Event`. See [`Manager::event`](crate::Manager::event).
///
/// ```
/// use std::time::Duration;
/// use wasmpool::Manager;
///
/// let go = Manager::new().event("go")?;
/// assert!(!go.wait_timeout(Duration::from_millis(10))?);
/// go.set()?;
/// go.wait()?;
/// # Ok::<(), wasmpool::Error>(())
/// ```
pub struct Event {
    handle: Handle,
}

object!(Event);
cloned!(Event);

impl Event {
    pub(super) fn new(handle: Handle) -> Event {
        Event { handle }
    }

    /// Returns a grant of the right to look and wait only.
    ///
    /// ```
    /// # use wasmpool::{Manager, Pool};
    /// let stop = Manager::new().event("stop")?;
    /// let pool = Pool::builder("examples/squares.wat").share(stop.read_only()).build()?;
    /// # assert_eq!(pool.apply::<_, i64>(3)?, 9);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn read_only(&self) -> Share {
        self.handle.share(FIRST)
    }

    /// Returns true if the flag is set.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::size`](crate::Queue::size).
    pub fn is_set(&self) -> Result<bool, Error> {
        self.handle.is(Operation::IsSet, None)
    }

    /// Sets the flag, and wakes all who wait, also if it is cleared at once.
    ///
    /// # Errors
    ///
    /// Those of [`is_set`](Self::is_set).
    pub fn set(&self) -> Result<(), Error> {
        self.handle.done(Operation::Set, None)
    }

    /// Clears the flag.
    ///
    /// # Errors
    ///
    /// Those of [`is_set`](Self::is_set).
    pub fn clear(&self) -> Result<(), Error> {
        self.handle.done(Operation::Clear, None)
    }

    /// Waits until the flag is set.
    ///
    /// # Errors
    ///
    /// Those of [`is_set`](Self::is_set).
    pub fn wait(&self) -> Result<(), Error> {
        self.handle.is(Operation::WaitEvent, None).map(drop)
    }

    /// Waits until the flag is set, for at most `timeout`, and returns whether it was.
    ///
    /// # Errors
    ///
    /// Those of [`is_set`](Self::is_set).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, Error> {
        self.handle.is(Operation::WaitEvent, Some(timeout))
    }
}
