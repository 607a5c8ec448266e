//! Dicts.

use std::borrow::Borrow;
use std::marker::PhantomData;

use super::handle::{FIRST, Handle, cloned, object, reply};
use super::message::Message;
use super::share::Share;
use wasmpool_objects::operation::{Operation, Reply};
use wasmpool_run::error::Error;

/// Entries that are asked for at once.
const PAGE: u32 = 1024;

/// A dict that the program and its tasks share: that of Python's `Manager`. See [`Manager::dict`](crate::Manager::dict).
///
/// Keys are strings. Values are copied in and out; a change of a value that was got changes nothing in the dict. An entry
/// is changed in one step by [`increment`](Self::increment) and [`compare_and_set`](Self::compare_and_set).
///
/// ```
/// use wasmpool::Manager;
///
/// // Python: counts = manager.dict(); counts["a"] = counts.get("a", 0) + 1
/// let counts = Manager::new().dict::<i64>("counts")?;
/// assert_eq!((counts.increment("a", 1)?, counts.increment("a", 1)?), (1, 2));
/// assert_eq!(counts.items()?, [("a".to_owned(), 2)]);
/// # Ok::<(), wasmpool::Error>(())
/// ```
pub struct Dict<V> {
    handle: Handle,
    _of: PhantomData<fn(V) -> V>,
}

object!(Dict<V>);
cloned!(Dict<V>);

impl<V> Dict<V> {
    pub(super) fn new(handle: Handle) -> Dict<V> {
        Dict { handle, _of: PhantomData }
    }

    /// Returns a grant of the right to read only.
    ///
    /// ```
    /// # use wasmpool::{Manager, Pool};
    /// let prices = Manager::new().dict::<f64>("prices")?;
    /// let pool = Pool::builder("examples/squares.wat").share(prices.read_only()).build()?;
    /// # assert_eq!(pool.apply::<_, i64>(3)?, 9);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn read_only(&self) -> Share {
        self.handle.share(FIRST)
    }

    /// Returns true if there is an entry with this key: Python's `in`.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::size`](crate::Queue::size).
    pub fn contains(&self, key: &str) -> Result<bool, Error> {
        self.handle.is(Operation::DictContains(key.to_owned()), None)
    }

    /// Adds to a value that is a whole number, or to 0 if there is none, and returns the sum.
    ///
    /// # Errors
    ///
    /// Kind [`Invalid`](crate::ObjectErrorKind::Invalid) if it is no whole number, or the sum is none of 64 bits.
    /// Otherwise those of [`set`](Self::set).
    pub fn increment(&self, key: &str, by: i64) -> Result<i64, Error> {
        let reply = self.handle.ask(Operation::DictIncrement(key.to_owned(), by), None)?;
        reply!(reply, Reply::Signed(sum) => sum)
    }

    /// Returns the number of entries.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::size`](crate::Queue::size).
    pub fn len(&self) -> Result<u64, Error> {
        self.handle.number(Operation::Length)
    }

    /// Returns true if there are no entries.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::size`](crate::Queue::size).
    pub fn is_empty(&self) -> Result<bool, Error> {
        self.len().map(|length| length == 0)
    }

    /// Removes all entries.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::size`](crate::Queue::size).
    pub fn clear(&self) -> Result<(), Error> {
        self.handle.done(Operation::Empty, None)
    }

    /// Returns all keys, in their order. An entry that is there all the time is among them once.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::size`](crate::Queue::size).
    pub fn keys(&self) -> Result<Vec<String>, Error> {
        keys(&self.handle)
    }
}

/// Returns all keys of a dict or a namespace.
pub(super) fn keys(handle: &Handle) -> Result<Vec<String>, Error> {
    let mut all: Vec<String> = Vec::new();
    loop {
        let operation = Operation::DictKeys { after: all.last().cloned(), most: PAGE };
        let page = reply!(handle.ask(operation, None)?, Reply::Keys(page) => page)?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

impl<V: Message> Dict<V> {
    /// Returns the value of a key.
    ///
    /// # Errors
    ///
    /// An [`Error::Object`] of kind [`Unreadable`](crate::ObjectErrorKind::Unreadable) if the value is of another type.
    /// Otherwise those of [`Queue::size`](crate::Queue::size).
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// assert_eq!(Manager::new().dict::<i64>("seen")?.get("a")?, None);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn get(&self, key: &str) -> Result<Option<V>, Error> {
        Ok(self.get_versioned(key)?.map(|(value, _)| value))
    }

    /// Returns the value of a key with its version, a number that each change of the entry makes another.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get).
    pub fn get_versioned(&self, key: &str) -> Result<Option<(V, u64)>, Error> {
        let reply = self.handle.ask(Operation::DictGet(key.to_owned()), None)?;
        let entry = reply!(reply, Reply::Entry(entry) => entry)?;
        entry.map(|(value, version)| Ok((self.handle.read(value)?, version))).transpose()
    }

    /// Sets the value of a key, and returns the version of the entry.
    ///
    /// # Errors
    ///
    /// An [`Error::Object`] of kind [`Quota`](crate::ObjectErrorKind::Quota) if there is no room, of kind
    /// [`Unwritable`](crate::ObjectErrorKind::Unwritable) if the value cannot be written as JSON. Otherwise those of
    /// [`Queue::size`](crate::Queue::size).
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// let seen = Manager::new().dict::<i64>("seen")?;
    /// seen.set("a", 1)?;
    /// # assert_eq!(seen.get("a")?, Some(1));
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn set(&self, key: &str, value: impl Borrow<V>) -> Result<u64, Error> {
        let value = self.handle.write(value.borrow())?;
        let reply = self.handle.ask(Operation::DictSet(key.to_owned(), value), None)?;
        reply!(reply, Reply::Number(version) => version)
    }

    /// Sets the value of a key if the entry has this version; `None` stands for no entry. Returns the new version, or
    /// `None` if another change came first.
    ///
    /// # Errors
    ///
    /// Those of [`set`](Self::set).
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// // Python: seen.setdefault("a", 1)
    /// let seen = Manager::new().dict::<i64>("seen")?;
    /// assert!(seen.compare_and_set("a", None, 1)?.is_some());
    /// assert!(seen.compare_and_set("a", None, 2)?.is_none());
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn compare_and_set(
        &self,
        key: &str,
        version: Option<u64>,
        value: impl Borrow<V>,
    ) -> Result<Option<u64>, Error> {
        let value = self.handle.write(value.borrow())?;
        let operation = Operation::DictCompareAndSet { key: key.to_owned(), version, value };
        reply!(self.handle.ask(operation, None)?, Reply::MaybeNumber(version) => version)
    }

    /// Sets many entries in one step: all, or none if that is an error.
    ///
    /// # Errors
    ///
    /// Those of [`set`](Self::set), of kind [`Quota`](crate::ObjectErrorKind::Quota) also for more than 10,000 entries, since
    /// others wait meanwhile.
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// let seen = Manager::new().dict::<i64>("seen")?;
    /// // Python: seen.update(a=1, b=2)
    /// seen.update([("a", 1), ("b", 2)])?;
    /// assert_eq!(seen.keys()?, ["a", "b"]);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn update<K: Into<String>>(&self, entries: impl IntoIterator<Item = (K, V)>) -> Result<(), Error> {
        let entries = entries.into_iter().map(|(key, value)| Ok((key.into(), self.handle.write(&value)?)));
        self.handle.done(Operation::DictSetMany(entries.collect::<Result<_, Error>>()?), None)
    }

    /// Removes and returns the value of a key.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get).
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// let seen = Manager::new().dict::<i64>("seen")?;
    /// seen.set("a", 1)?;
    /// assert_eq!((seen.pop("a")?, seen.pop("a")?), (Some(1), None));
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn pop(&self, key: &str) -> Result<Option<V>, Error> {
        let reply = self.handle.ask(Operation::DictPop(key.to_owned()), None)?;
        let value = reply!(reply, Reply::MaybeBytes(value) => value)?;
        value.map(|value| self.handle.read(value)).transpose()
    }

    /// Returns all entries, in the order of their keys. An entry that is there all the time is among them once; they are
    /// not of one instant.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get).
    pub fn items(&self) -> Result<Vec<(String, V)>, Error> {
        let mut all: Vec<(String, V)> = Vec::new();
        loop {
            let operation = Operation::DictPage { after: all.last().map(|(key, _)| key.clone()), most: PAGE };
            let page = reply!(self.handle.ask(operation, None)?, Reply::Page(page) => page)?;
            if page.is_empty() {
                return Ok(all);
            }
            for (key, value) in page {
                all.push((key, self.handle.read(value)?));
            }
        }
    }
}
