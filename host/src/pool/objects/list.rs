//! Lists.

use std::borrow::Borrow;
use std::marker::PhantomData;

use super::handle::{FIRST, Handle, cloned, object, reply};
use super::message::Message;
use super::share::Share;
use wasmpool_objects::operation::{Operation, Reply};
use wasmpool_run::error::Error;

/// Elements that are asked for at once.
const RANGE: u32 = 1024;

/// A list that the program and its tasks share: that of Python's `Manager`. See [`Manager::list`](crate::Manager::list).
///
/// Values are copied in and out; a change of a value that was got changes nothing in the list. A negative index counts
/// from the end.
///
/// ```
/// use wasmpool::Manager;
///
/// let found = Manager::new().list::<i64>("found")?;
/// found.extend([1, 2, 3])?;
/// found.insert(0, 0)?;
/// assert_eq!((found.get(-1)?, found.pop()?, found.to_vec()?), (3, 3, vec![0, 1, 2]));
/// # Ok::<(), wasmpool::Error>(())
/// ```
pub struct List<V> {
    handle: Handle,
    _of: PhantomData<fn(V) -> V>,
}

object!(List<V>);
cloned!(List<V>);

impl<V> List<V> {
    pub(super) fn new(handle: Handle) -> List<V> {
        List { handle, _of: PhantomData }
    }

    /// Returns a grant of the right to read only.
    ///
    /// ```
    /// # use wasmpool::{Manager, Pool};
    /// let words = Manager::new().list::<String>("words")?;
    /// let pool = Pool::builder("examples/squares.wat").share(words.read_only()).build()?;
    /// # assert_eq!(pool.apply::<_, i64>(3)?, 9);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn read_only(&self) -> Share {
        self.handle.share(FIRST)
    }

    /// Returns the number of elements.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::size`](crate::Queue::size).
    pub fn len(&self) -> Result<u64, Error> {
        self.handle.number(Operation::Length)
    }

    /// Returns true if there are no elements.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::size`](crate::Queue::size).
    pub fn is_empty(&self) -> Result<bool, Error> {
        self.len().map(|length| length == 0)
    }

    /// Removes all elements.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::size`](crate::Queue::size).
    pub fn clear(&self) -> Result<(), Error> {
        self.handle.done(Operation::Empty, None)
    }
}

impl<V: Message> List<V> {
    fn element(&self, operation: Operation) -> Result<V, Error> {
        let value = reply!(self.handle.ask(operation, None)?, Reply::Bytes(value) => value)?;
        self.handle.read(value)
    }

    /// Returns an element.
    ///
    /// # Errors
    ///
    /// An [`Error::Object`] of kind [`OutOfRange`](crate::ObjectErrorKind::OutOfRange), which says what the length is, or
    /// of kind [`Unreadable`](crate::ObjectErrorKind::Unreadable) if the element is of another type. Otherwise those of
    /// [`Queue::size`](crate::Queue::size).
    pub fn get(&self, index: i64) -> Result<V, Error> {
        self.element(Operation::ListGet(index))
    }

    /// Replaces an element.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get), and of [`append`](Self::append).
    pub fn set(&self, index: i64, value: impl Borrow<V>) -> Result<(), Error> {
        self.handle.done(Operation::ListSet(index, self.handle.write(value.borrow())?), None)
    }

    /// Replaces an element if it is `expected`, by what it is written as. Returns whether it was.
    ///
    /// # Errors
    ///
    /// Those of [`set`](Self::set).
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// let found = Manager::new().list::<i64>("found")?;
    /// found.append(1)?;
    /// assert!(found.compare_and_set(0, 1, 2)? && !found.compare_and_set(0, 1, 3)?);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn compare_and_set(&self, index: i64, expected: impl Borrow<V>, value: impl Borrow<V>) -> Result<bool, Error> {
        let (expected, value) = (self.handle.write(expected.borrow())?, self.handle.write(value.borrow())?);
        self.handle.is(Operation::ListCompareAndSet { index, expected, value }, None)
    }

    /// Appends an element.
    ///
    /// # Errors
    ///
    /// An [`Error::Object`] of kind [`Quota`](crate::ObjectErrorKind::Quota) if there is no room, of kind
    /// [`Unwritable`](crate::ObjectErrorKind::Unwritable) if the value cannot be written as JSON. Otherwise those of
    /// [`Queue::size`](crate::Queue::size).
    pub fn append(&self, value: impl Borrow<V>) -> Result<(), Error> {
        self.handle.done(Operation::ListExtend(vec![self.handle.write(value.borrow())?]), None)
    }

    /// Appends many elements in one step: all, or none if that is an error.
    ///
    /// # Errors
    ///
    /// Those of [`append`](Self::append), of kind [`Quota`](crate::ObjectErrorKind::Quota) also for more than 10,000 elements,
    /// since others wait meanwhile.
    pub fn extend(&self, values: impl IntoIterator<Item = V>) -> Result<(), Error> {
        let values = values.into_iter().map(|value| self.handle.write(&value)).collect::<Result<_, Error>>()?;
        self.handle.done(Operation::ListExtend(values), None)
    }

    /// Inserts an element before this index. One beyond an end means that end.
    ///
    /// # Errors
    ///
    /// Those of [`append`](Self::append).
    pub fn insert(&self, index: i64, value: impl Borrow<V>) -> Result<(), Error> {
        self.handle.done(Operation::ListInsert(index, self.handle.write(value.borrow())?), None)
    }

    /// Removes and returns the last element.
    ///
    /// # Errors
    ///
    /// An [`Error::Object`] of kind [`Empty`](crate::ObjectErrorKind::Empty) if there is none. Otherwise those of
    /// [`get`](Self::get).
    pub fn pop(&self) -> Result<V, Error> {
        self.element(Operation::ListPop(-1))
    }

    /// Removes and returns an element: Python's `pop(index)`.
    ///
    /// # Errors
    ///
    /// Those of [`pop`](Self::pop).
    pub fn pop_at(&self, index: i64) -> Result<V, Error> {
        self.element(Operation::ListPop(index))
    }

    /// Returns all elements. They are of one instant if there are no more than 1024, and no more than 1 MiB of them.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get).
    pub fn to_vec(&self) -> Result<Vec<V>, Error> {
        let mut all: Vec<V> = Vec::new();
        loop {
            let operation = Operation::ListRange { start: all.len() as u64, most: RANGE };
            let range = reply!(self.handle.ask(operation, None)?, Reply::Many(values) => values)?;
            if range.is_empty() {
                return Ok(all);
            }
            for value in range {
                all.push(self.handle.read(value)?);
            }
        }
    }
}
