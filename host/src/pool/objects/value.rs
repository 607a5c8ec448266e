//! Values: single numbers in shared memory.

use std::marker::PhantomData;

use super::array::read;
use super::handle::{FIRST, Handle, cloned, object};
use super::number::{ArithmeticNumber, SharedNumber};
use super::share::Share;
use wasmpool_run::error::Error;

/// A number in memory that the program and its tasks share: Python's `Value`, whose operations are atomic by
/// themselves. See [`Manager::value`](crate::Manager::value).
///
/// An operation costs some nanoseconds, waits for nobody, and is in one order for all.
///
/// ```
/// use wasmpool::Manager;
///
/// // Python: with total.get_lock(): total.value += 1
/// let total = Manager::new().value("total", 0i64)?;
/// assert_eq!(total.add(1)?, 1);
/// # Ok::<(), wasmpool::Error>(())
/// ```
pub struct Value<T> {
    handle: Handle,
    _of: PhantomData<fn(T) -> T>,
}

object!(Value<T>);
cloned!(Value<T>);

impl<T> Value<T> {
    pub(super) fn new(handle: Handle) -> Value<T> {
        Value { handle, _of: PhantomData }
    }

    /// Returns a grant of the right to read only. The task's memory cannot be written.
    ///
    /// ```
    /// # use wasmpool::{Manager, Pool};
    /// let total = Manager::new().value("total", 0i64)?;
    /// let pool = Pool::builder("examples/squares.wat").share(total.read_only()).build()?;
    /// # assert_eq!(pool.apply::<_, i64>(3)?, 9);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn read_only(&self) -> Share {
        self.handle.share(FIRST)
    }
}

impl<T: SharedNumber> Value<T> {
    /// Returns the number.
    ///
    /// # Errors
    ///
    /// For a `bool` or a `char`, an [`Error::Object`] of kind [`Invalid`](crate::ObjectErrorKind::Invalid) if a task has
    /// written something else. With the first use of an object, those of starting the process that keeps the others, if
    /// there are any.
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// assert_eq!(Manager::new().value("total", 0.5)?.load()?, 0.5);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn load(&self) -> Result<T, Error> {
        read(&self.handle, |cells| cells.load(0))
    }

    /// Replaces the number.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// let letter = Manager::new().value("letter", 'a')?;
    /// letter.store('ß')?;
    /// assert_eq!(letter.load()?, 'ß');
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn store(&self, number: T) -> Result<(), Error> {
        self.handle.cells(|cells| cells.store(0, number.into_number()))
    }

    /// Stores `replacement` if the number is `expected`. Returns the number before, whether or not it was replaced.
    /// Floats are compared as numbers: -0.0 is 0.0, and any NaN is any other.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// let state = Manager::new().value("state", 1u8)?;
    /// assert_eq!((state.compare_exchange(0, 5)?, state.load()?), (1, 1));
    /// assert_eq!((state.compare_exchange(1, 5)?, state.load()?), (1, 5));
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn compare_exchange(&self, expected: T, replacement: T) -> Result<T, Error> {
        read(&self.handle, |cells| cells.compare_exchange(0, expected.into_number(), replacement.into_number()))
    }
}

impl<T: ArithmeticNumber> Value<T> {
    /// Adds to the number, and returns the sum. Integers wrap around.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// let total = Manager::new().value("total", 250u8)?;
    /// assert_eq!((total.add(5)?, total.add(1)?), (255, 0));
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn add(&self, number: T) -> Result<T, Error> {
        read(&self.handle, |cells| cells.add(0, number.into_number()))
    }

    /// Replaces the number by `number` if that is less, and returns what is there then. A NaN is more than any other.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// let (least, most) = (Manager::new().value("least", 5)?, Manager::new().value("most", 5)?);
    /// assert_eq!((least.min(3)?, least.min(4)?, most.max(7)?, most.max(6)?), (3, 3, 7, 7));
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn min(&self, number: T) -> Result<T, Error> {
        read(&self.handle, |cells| cells.min(0, number.into_number()))
    }

    /// Replaces the number by `number` if that is greater, and returns what is there then. A NaN is less than any other.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    pub fn max(&self, number: T) -> Result<T, Error> {
        read(&self.handle, |cells| cells.max(0, number.into_number()))
    }
}
