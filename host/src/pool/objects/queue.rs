//! Queues.

use std::borrow::Borrow;
use std::marker::PhantomData;
use std::time::Duration;

use super::handle::{FIRST, Handle, SECOND, cloned, object, reply};
use super::message::Message;
use super::share::Share;
use wasmpool_objects::operation::{Operation, Reply};
use wasmpool_run::error::Error;
use wasmpool_run::shared::ObjectErrorKind;

/// A queue of messages, first in, first out, among the program and its tasks: Python's `Queue` and `JoinableQueue`. See
/// [`Manager::queue`](crate::Manager::queue).
///
/// A put that returned is seen by every get that starts later, in any process. Waiting gets and puts are served first
/// come, first served. A message that an item has got and not called done counts as done for [`join`](Self::join) when
/// the item ends, however it ends; one that it took with the guest's `take` and did not finish comes back to the front.
///
/// ```
/// use wasmpool::{Error, Manager, ObjectErrorKind};
///
/// let manager = Manager::new();
/// let jobs = manager.queue::<i64>("jobs", 1)?;
/// jobs.put(1)?;
/// assert!(matches!(jobs.try_put(2), Err(Error::Object(e)) if e.kind == ObjectErrorKind::Full));
/// assert_eq!(jobs.get()?, 1);
/// assert!(matches!(jobs.try_get(), Err(Error::Object(e)) if e.kind == ObjectErrorKind::Empty));
/// # Ok::<(), Error>(())
/// ```
pub struct Queue<T> {
    handle: Handle,
    _of: PhantomData<fn(T) -> T>,
}

object!(Queue<T>);
cloned!(Queue<T>);

impl<T> Queue<T> {
    pub(super) fn new(handle: Handle) -> Queue<T> {
        Queue { handle, _of: PhantomData }
    }

    /// Returns a grant of the right to put only.
    ///
    /// ```
    /// # use wasmpool::{Manager, Pool};
    /// let jobs = Manager::new().queue::<i64>("jobs", 0)?;
    /// let pool = Pool::builder("examples/squares.wat").share(jobs.put_only()).build()?;
    /// # assert_eq!(pool.apply::<_, i64>(3)?, 9);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn put_only(&self) -> Share {
        self.handle.share(SECOND)
    }

    /// Returns a grant of the right to get only.
    ///
    /// ```
    /// # use wasmpool::{Manager, Pool};
    /// let jobs = Manager::new().queue::<i64>("jobs", 0)?;
    /// let pool = Pool::builder("examples/squares.wat").share(jobs.get_only()).build()?;
    /// # assert_eq!(pool.apply::<_, i64>(3)?, 9);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn get_only(&self) -> Share {
        self.handle.share(FIRST)
    }

    /// Says that a message that was got is done, for [`join`](Self::join).
    ///
    /// # Errors
    ///
    /// Kind [`TooMany`](ObjectErrorKind::TooMany) if all are. Otherwise those of [`size`](Self::size).
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// let jobs = Manager::new().queue::<i64>("jobs", 0)?;
    /// jobs.put(1)?;
    /// jobs.get()?;
    /// assert!(!jobs.join_timeout(std::time::Duration::ZERO)?);
    /// jobs.task_done()?;
    /// jobs.join()?;
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn task_done(&self) -> Result<(), Error> {
        self.handle.done(Operation::TaskDone, None)
    }

    /// Waits until every message that was put is done.
    ///
    /// # Errors
    ///
    /// Those of [`size`](Self::size).
    pub fn join(&self) -> Result<(), Error> {
        self.handle.is(Operation::JoinQueue, None).map(drop)
    }

    /// Waits as [`join`](Self::join) does, for at most `timeout`, and returns whether all messages are done.
    ///
    /// # Errors
    ///
    /// Those of [`size`](Self::size).
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool, Error> {
        self.handle.is(Operation::JoinQueue, Some(timeout))
    }

    /// Returns the number of messages that wait, exact at one instant: Python's `qsize`.
    ///
    /// # Errors
    ///
    /// [`Error::Shared`] if the process that keeps the objects is lost, [`Error::Forked`] in a process that was forked
    /// off; when it is started by this, those of starting a process.
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// let jobs = Manager::new().queue::<i64>("jobs", 1)?;
    /// assert_eq!((jobs.size()?, jobs.is_empty()?, jobs.is_full()?), (0, true, false));
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn size(&self) -> Result<u64, Error> {
        self.handle.number(Operation::Size)
    }

    /// Returns true if no message waits.
    ///
    /// # Errors
    ///
    /// Those of [`size`](Self::size).
    pub fn is_empty(&self) -> Result<bool, Error> {
        self.handle.is(Operation::IsEmpty, None)
    }

    /// Returns true if there is no room for another message.
    ///
    /// # Errors
    ///
    /// Those of [`size`](Self::size).
    pub fn is_full(&self) -> Result<bool, Error> {
        self.handle.is(Operation::IsFull, None)
    }

    /// Ends the queue: every put is refused from now on, and every get once the queue is empty. Immediately: what waits
    /// is thrown away, and counts as done.
    ///
    /// # Errors
    ///
    /// Those of [`size`](Self::size).
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// let jobs = Manager::new().queue::<i64>("jobs", 0)?;
    /// jobs.put(1)?;
    /// // Python: jobs.shutdown()
    /// jobs.shutdown(false)?;
    /// assert!(jobs.put(2).is_err());
    /// assert_eq!(jobs.iter().collect::<Result<Vec<_>, _>>()?, [1]);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn shutdown(&self, immediately: bool) -> Result<(), Error> {
        self.handle.done(Operation::Shutdown { immediately }, None)
    }
}

impl<T: Message> Queue<T> {
    fn put_within(&self, message: &T, timeout: Option<Duration>) -> Result<(), Error> {
        self.handle.done(Operation::Put(self.handle.write(message)?), timeout)
    }

    fn get_within(&self, most: u32, timeout: Option<Duration>) -> Result<Vec<T>, Error> {
        let messages = reply!(self.handle.ask(Operation::Get { most }, timeout)?, Reply::Many(all) => all)?;
        messages.into_iter().map(|message| self.handle.read(message)).collect()
    }

    fn get_one(&self, timeout: Option<Duration>) -> Result<T, Error> {
        let message = self.get_within(1, timeout)?.pop();
        message.ok_or_else(|| self.handle.refused(ObjectErrorKind::Empty))
    }

    /// Appends a message, after waiting for room if there is none.
    ///
    /// # Errors
    ///
    /// An [`Error::Object`] of kind [`Closed`](ObjectErrorKind::Closed) if the queue is shut down, of kind
    /// [`Quota`](ObjectErrorKind::Quota) if the message alone is larger than the quota, or would wait beside others of this
    /// program that are together larger than a request can be, of kind
    /// [`Unwritable`](ObjectErrorKind::Unwritable) if it cannot be written as JSON. Otherwise those of
    /// [`size`](Self::size).
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// let jobs = Manager::new().queue::<i64>("jobs", 100)?;
    /// jobs.put(3)?;
    /// # assert_eq!(jobs.get()?, 3);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn put(&self, message: impl Borrow<T>) -> Result<(), Error> {
        self.put_within(message.borrow(), None)
    }

    /// Appends a message, after waiting for room for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Kind [`Full`](ObjectErrorKind::Full) if there was no room by then. Otherwise those of [`put`](Self::put).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use wasmpool::{Error, Manager, ObjectErrorKind};
    /// let jobs = Manager::new().queue::<i64>("jobs", 1)?;
    /// jobs.put(1)?;
    /// // Python: jobs.put(2, timeout=0.01)
    /// let put = jobs.put_timeout(2, Duration::from_millis(10));
    /// assert!(matches!(put, Err(Error::Object(e)) if e.kind == ObjectErrorKind::Full));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn put_timeout(&self, message: impl Borrow<T>, timeout: Duration) -> Result<(), Error> {
        self.put_within(message.borrow(), Some(timeout))
    }

    /// Appends a message if there is room now: Python's `put_nowait`.
    ///
    /// # Errors
    ///
    /// Those of [`put_timeout`](Self::put_timeout).
    pub fn try_put(&self, message: impl Borrow<T>) -> Result<(), Error> {
        self.put_within(message.borrow(), Some(Duration::ZERO))
    }

    /// Removes and returns the first message, after waiting for one if there is none.
    ///
    /// # Errors
    ///
    /// An [`Error::Object`] of kind [`Closed`](ObjectErrorKind::Closed) if the queue is shut down and empty, of kind
    /// [`Unreadable`](ObjectErrorKind::Unreadable) if the message is of another type; it is gone then. Otherwise those of
    /// [`size`](Self::size).
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// let jobs = Manager::new().queue::<i64>("jobs", 100)?;
    /// jobs.put(3)?;
    /// assert_eq!(jobs.get()?, 3);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn get(&self) -> Result<T, Error> {
        self.get_one(None)
    }

    /// Removes and returns the first message, after waiting for one for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Kind [`Empty`](ObjectErrorKind::Empty) if there was none by then. Otherwise those of [`get`](Self::get).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use wasmpool::{Error, Manager, ObjectErrorKind};
    /// let jobs = Manager::new().queue::<i64>("jobs", 1)?;
    /// // Python: jobs.get(timeout=0.01)
    /// let got = jobs.get_timeout(Duration::from_millis(10));
    /// assert!(matches!(got, Err(Error::Object(e)) if e.kind == ObjectErrorKind::Empty));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, Error> {
        self.get_one(Some(timeout))
    }

    /// Removes and returns the first message if there is one now: Python's `get_nowait`.
    ///
    /// # Errors
    ///
    /// Those of [`get_timeout`](Self::get_timeout).
    pub fn try_get(&self) -> Result<T, Error> {
        self.get_one(Some(Duration::ZERO))
    }

    /// Removes and returns up to `most` messages, at least one, after waiting for the first. That costs one request and
    /// answer for all of them.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get).
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// let jobs = Manager::new().queue::<i64>("jobs", 0)?;
    /// (0..3).try_for_each(|n| jobs.put(n))?;
    /// assert_eq!(jobs.get_many(100)?, [0, 1, 2]);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn get_many(&self, most: u32) -> Result<Vec<T>, Error> {
        self.get_within(most.max(1), None)
    }

    /// Returns an iterator that gets messages, and waits for each. It ends when the queue is shut down and empty, and
    /// after an error other than a message of another type.
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// let jobs = Manager::new().queue::<i64>("jobs", 0)?;
    /// (0..3).try_for_each(|n| jobs.put(n))?;
    /// jobs.shutdown(false)?;
    /// let sum: i64 = jobs.iter().sum::<Result<_, _>>()?;
    /// assert_eq!(sum, 3);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn iter(&self) -> QueueIter<'_, T> {
        QueueIter { queue: self, ended: false }
    }
}

impl<'a, T: Message> IntoIterator for &'a Queue<T> {
    type Item = Result<T, Error>;
    type IntoIter = QueueIter<'a, T>;

    fn into_iter(self) -> QueueIter<'a, T> {
        self.iter()
    }
}

/// An iterator that gets the messages of a queue. See [`Queue::iter`].
#[derive(Debug)]
pub struct QueueIter<'a, T> {
    queue: &'a Queue<T>,
    ended: bool,
}

impl<T: Message> Iterator for QueueIter<'_, T> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Result<T, Error>> {
        if self.ended {
            return None;
        }
        match self.queue.get() {
            Err(Error::Object(e)) if e.kind == ObjectErrorKind::Closed => {
                self.ended = true;
                None
            }
            // What is unreadable is gone, so that the next one can be got.
            Err(e) if !matches!(&e, Error::Object(e) if matches!(e.kind, ObjectErrorKind::Unreadable(_))) => {
                self.ended = true;
                Some(Err(e))
            }
            got => Some(got),
        }
    }
}
