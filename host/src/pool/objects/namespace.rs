//! Namespaces.

use super::dict::keys;
use super::handle::{FIRST, Handle, cloned, object, reply};
use super::message::Message;
use super::share::Share;
use wasmpool_objects::operation::{Operation, Reply};
use wasmpool_run::error::Error;

/// Names with values, each of its own type, that the program and its tasks share: the `Namespace` of Python's `Manager`.
/// See [`Manager::namespace`](crate::Manager::namespace).
///
/// ```
/// use wasmpool::Manager;
///
/// // Python: settings.x = 10; settings.word = "spam"
/// let settings = Manager::new().namespace("settings")?;
/// settings.set("x", 10)?;
/// settings.set("word", "spam".to_owned())?;
/// assert_eq!((settings.get("x")?, settings.get("word")?), (Some(10), Some("spam".to_owned())));
/// assert_eq!(settings.names()?, ["word", "x"]);
/// # Ok::<(), wasmpool::Error>(())
/// ```
pub struct Namespace {
    handle: Handle,
}

object!(Namespace);
cloned!(Namespace);

impl Namespace {
    pub(super) fn new(handle: Handle) -> Namespace {
        Namespace { handle }
    }

    /// Returns a grant of the right to read only.
    ///
    /// ```
    /// # use wasmpool::{Manager, Pool};
    /// let settings = Manager::new().namespace("settings")?;
    /// let pool = Pool::builder("examples/squares.wat").share(settings.read_only()).build()?;
    /// # assert_eq!(pool.apply::<_, i64>(3)?, 9);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn read_only(&self) -> Share {
        self.handle.share(FIRST)
    }

    /// Returns the value of a name.
    ///
    /// # Errors
    ///
    /// Those of [`Dict::get`](crate::Dict::get).
    pub fn get<V: Message>(&self, name: &str) -> Result<Option<V>, Error> {
        let reply = self.handle.ask(Operation::DictGet(name.to_owned()), None)?;
        let entry = reply!(reply, Reply::Entry(entry) => entry)?;
        entry.map(|(value, _)| self.handle.read(value)).transpose()
    }

    /// Sets the value of a name.
    ///
    /// # Errors
    ///
    /// Those of [`Dict::set`](crate::Dict::set).
    pub fn set<V: Message>(&self, name: &str, value: V) -> Result<(), Error> {
        let value = self.handle.write(&value)?;
        let reply = self.handle.ask(Operation::DictSet(name.to_owned(), value), None)?;
        reply!(reply, Reply::Number(_) => ())
    }

    /// Removes a name, and returns whether it was there: Python's `del`.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::size`](crate::Queue::size).
    pub fn delete(&self, name: &str) -> Result<bool, Error> {
        let reply = self.handle.ask(Operation::DictPop(name.to_owned()), None)?;
        reply!(reply, Reply::MaybeBytes(value) => value.is_some())
    }

    /// Returns all names, in their order.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::size`](crate::Queue::size).
    pub fn names(&self) -> Result<Vec<String>, Error> {
        keys(&self.handle)
    }
}
