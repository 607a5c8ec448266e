//! Arrays: numbers in shared memory.

use std::marker::PhantomData;

use super::handle::{FIRST, Handle, object};
use super::number::{ArithmeticNumber, SharedNumber};
use super::share::Share;
use wasmpool_ipc::cells::asked::CellAccess;
use wasmpool_ipc::cells::{CellError, Number};
use wasmpool_run::error::Error;

/// Numbers in memory that the program and its tasks share: Python's `Array`, each of whose elements is atomic by itself.
/// See [`Manager::array`](crate::Manager::array).
///
/// An operation on an element costs some nanoseconds, and waits for nobody. A range is copied element by element: each is
/// of one instant, the range is not.
///
/// ```
/// use wasmpool::Manager;
///
/// // Python: counts = Array("L", 256)
/// let counts = Manager::new().array("counts", [0u64; 256])?;
/// counts.add(7, 1)?;
/// assert_eq!((counts.len(), counts.load(7)?), (256, 1));
/// # Ok::<(), wasmpool::Error>(())
/// ```
pub struct Array<T> {
    handle: Handle,
    length: u32,
    _of: PhantomData<fn(T) -> T>,
}

object!(Array<T>);

impl<T> Clone for Array<T> {
    fn clone(&self) -> Array<T> {
        Array::new(self.handle.clone(), self.length)
    }
}

/// Does something that returns a number.
pub(super) fn read<T: SharedNumber>(
    handle: &Handle,
    act: impl FnOnce(CellAccess<'_>) -> Result<Number, CellError>,
) -> Result<T, Error> {
    T::of_number(handle.cells(act)?).ok_or_else(mistyped)
}

/// An object has the type that it was created with, as has its handle.
#[cold]
fn mistyped() -> Error {
    Error::Bug("the numbers of a shared object are of another type".to_owned())
}

impl<T> Array<T> {
    pub(super) fn new(handle: Handle, length: u32) -> Array<T> {
        Array { handle, length, _of: PhantomData }
    }

    /// Returns a grant of the right to read only. The task's memory cannot be written.
    ///
    /// ```
    /// # use wasmpool::{Manager, Pool};
    /// let counts = Manager::new().array("counts", [0u64; 256])?;
    /// let pool = Pool::builder("examples/squares.wat").share(counts.read_only()).build()?;
    /// # assert_eq!(pool.apply::<_, i64>(3)?, 9);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn read_only(&self) -> Share {
        self.handle.share(FIRST)
    }
}

impl<T: SharedNumber> Array<T> {
    /// Returns the number of elements, which never changes.
    pub fn len(&self) -> usize {
        self.length as usize
    }

    /// Returns true if there are no elements.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Returns an element.
    ///
    /// # Errors
    ///
    /// An [`Error::Object`] of kind [`OutOfRange`](crate::ObjectErrorKind::OutOfRange), which says what the length is.
    /// Otherwise those of [`Value::load`](crate::Value::load).
    ///
    /// ```
    /// # use wasmpool::{Error, Manager, ObjectErrorKind};
    /// let numbers = Manager::new().array("numbers", 0..10)?;
    /// assert_eq!(numbers.load(9)?, 9);
    /// assert!(matches!(numbers.load(10), Err(Error::Object(e)) if matches!(e.kind, ObjectErrorKind::OutOfRange(_))));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn load(&self, index: u32) -> Result<T, Error> {
        read(&self.handle, |cells| cells.load(index))
    }

    /// Replaces an element.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    pub fn store(&self, index: u32, number: T) -> Result<(), Error> {
        self.handle.cells(|cells| cells.store(index, number.into_number()))
    }

    /// Stores `replacement` if the element is `expected`. Returns the element before, whether or not it was replaced.
    /// Floats are compared as numbers: -0.0 is 0.0, and any NaN is any other.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    pub fn compare_exchange(&self, index: u32, expected: T, replacement: T) -> Result<T, Error> {
        let (expected, replacement) = (expected.into_number(), replacement.into_number());
        read(&self.handle, |cells| cells.compare_exchange(index, expected, replacement))
    }

    /// Returns `count` elements from `start` on.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// // Python: numbers[2:4] = [7, 8]; numbers[1:4]
    /// let numbers = Manager::new().array("numbers", 0..10)?;
    /// numbers.write(2, &[7, 8])?;
    /// assert_eq!(numbers.read(1, 3)?, [1, 7, 8]);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn read(&self, start: u32, count: u32) -> Result<Vec<T>, Error> {
        T::of_numbers(self.handle.cells(|cells| cells.read(start, count))?).ok_or_else(mistyped)
    }

    /// Replaces elements from `start` on.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    pub fn write(&self, start: u32, numbers: &[T]) -> Result<(), Error> {
        let numbers = T::into_numbers(numbers.to_vec());
        self.handle.cells(|cells| cells.write(start, &numbers))
    }

    /// Returns all elements.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// assert_eq!(Manager::new().array("numbers", 0..3)?.to_vec()?, [0, 1, 2]);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn to_vec(&self) -> Result<Vec<T>, Error> {
        T::of_numbers(self.handle.cells(|cells| cells.read(0, cells.len()))?).ok_or_else(mistyped)
    }
}

impl<T: ArithmeticNumber> Array<T> {
    /// Adds to an element, and returns the sum. Integers wrap around.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// assert_eq!(Manager::new().array("numbers", 0..10)?.add(9, 1)?, 10);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn add(&self, index: u32, number: T) -> Result<T, Error> {
        read(&self.handle, |cells| cells.add(index, number.into_number()))
    }

    /// Replaces an element by `number` if that is less, and returns what is there then. A NaN is more than any other.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// let numbers = Manager::new().array("numbers", 0..10)?;
    /// assert_eq!((numbers.min(9, 3)?, numbers.min(9, 4)?, numbers.max(9, 7)?, numbers.load(9)?), (3, 3, 7, 7));
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn min(&self, index: u32, number: T) -> Result<T, Error> {
        read(&self.handle, |cells| cells.min(index, number.into_number()))
    }

    /// Replaces an element by `number` if that is greater, and returns what is there then. A NaN is less than any other.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    pub fn max(&self, index: u32, number: T) -> Result<T, Error> {
        read(&self.handle, |cells| cells.max(index, number.into_number()))
    }
}
