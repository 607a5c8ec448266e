//! Pipes.

use std::borrow::Borrow;
use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::handle::{FIRST, Handle, SECOND, reply};
use super::message::Message;
use super::share::Share;
use wasmpool_objects::operation::{Operation, PipeEnd as End, Reply};
use wasmpool_run::error::Error;
use wasmpool_run::shared::{HostHolder, ObjectErrorKind};

/// An end of a pipe: Python's `Connection`. See [`Manager::pipe`](crate::Manager::pipe) and
/// [`Manager::duplex_pipe`](crate::Manager::duplex_pipe).
///
/// The program uses an end, or gives it to a task with `share(&end)`, and not both: an end belongs to whoever uses it
/// first. It is closed for good when the item that has it ends, or the program [closes](Self::close) or drops it after
/// having used it. Messages that were sent before are still received; then receiving is an error of kind
/// [`Eof`](ObjectErrorKind::Eof).
///
/// ```
/// use wasmpool::{Error, Manager, ObjectErrorKind};
///
/// // Python: receiver, sender = Pipe(duplex=False)
/// let (receiver, sender) = Manager::new().pipe::<String>("line")?;
/// sender.send("spam".to_owned())?;
/// drop(sender);
/// assert_eq!(receiver.recv()?, "spam");
/// assert!(matches!(receiver.recv(), Err(Error::Object(e)) if e.kind == ObjectErrorKind::Eof));
/// # Ok::<(), Error>(())
/// ```
pub struct PipeEnd<T> {
    handle: Handle,
    end: End,
    state: Mutex<EndState>,
    _of: PhantomData<fn(T) -> T>,
}

/// What the program has done with an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndState {
    Unused,
    Open,
    Closed,
}

impl<T> std::fmt::Debug for PipeEnd<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PipeEnd").field("name", &self.handle.name).field("end", &self.end).finish_non_exhaustive()
    }
}

/// Grants this end of the pipe.
impl<T> From<&PipeEnd<T>> for Share {
    fn from(end: &PipeEnd<T>) -> Share {
        end.handle.share(if end.end == End::First { FIRST } else { SECOND })
    }
}

impl<T> PipeEnd<T> {
    pub(super) fn new(handle: Handle, end: End) -> PipeEnd<T> {
        PipeEnd { handle, end, state: Mutex::new(EndState::Unused), _of: PhantomData }
    }

    /// Returns the name by which a task opens the pipe.
    pub fn name(&self) -> &str {
        &self.handle.name
    }

    /// Opens the end with its first use.
    fn open(&self) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match *state {
            EndState::Open => Ok(()),
            EndState::Closed => Err(self.handle.refused(ObjectErrorKind::Closed)),
            EndState::Unused => {
                self.handle.done(Operation::OpenEnd(self.end), None)?;
                *state = EndState::Open;
                Ok(())
            }
        }
    }

    /// Waits until receiving would not wait: a message is there, or the other end is closed. Returns false at the
    /// timeout; with [`Duration::ZERO`] it only looks.
    ///
    /// # Errors
    ///
    /// Those of [`recv`](Self::recv), but for [`Eof`](ObjectErrorKind::Eof).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use wasmpool::Manager;
    /// let (receiver, sender) = Manager::new().pipe::<i64>("line")?;
    /// assert!(!receiver.poll(Duration::ZERO)?);
    /// sender.send(1)?;
    /// assert!(receiver.poll(Duration::from_secs(1))?);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn poll(&self, timeout: Duration) -> Result<bool, Error> {
        self.open()?;
        self.handle.is(Operation::Poll(self.end), Some(timeout))
    }

    /// Closes the end for good. Does nothing if it is closed. Dropping it does the same, if it was used; an end that was
    /// not used stays for the task that it was given to.
    ///
    /// # Errors
    ///
    /// [`Error::Shared`] if the process that keeps the objects is lost.
    ///
    /// ```
    /// # use wasmpool::{Error, Manager, ObjectErrorKind};
    /// let (receiver, sender) = Manager::new().pipe::<i64>("line")?;
    /// receiver.close()?;
    /// assert!(matches!(sender.send(1), Err(Error::Object(e)) if e.kind == ObjectErrorKind::ClosedByPeer));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn close(&self) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if *state == EndState::Unused {
            self.handle.done(Operation::OpenEnd(self.end), None)?;
        }
        if *state != EndState::Closed {
            *state = EndState::Closed;
            self.handle.done(Operation::CloseEnd(self.end), None)?;
        }
        Ok(())
    }
}

impl<T: Message> PipeEnd<T> {
    fn send_within(&self, message: &T, timeout: Option<Duration>) -> Result<(), Error> {
        self.open()?;
        self.handle.done(Operation::Send(self.end, self.handle.write(message)?), timeout)
    }

    fn recv_within(&self, timeout: Option<Duration>) -> Result<T, Error> {
        self.open()?;
        let operation = Operation::Recv { end: self.end, at_most: None };
        let message = reply!(self.handle.ask(operation, timeout)?, Reply::Bytes(message) => message)?;
        self.handle.read(message)
    }

    /// Sends a message, after waiting for room within the pipe's quota if there is none.
    ///
    /// # Errors
    ///
    /// An [`Error::Object`] of kind [`ClosedByPeer`](ObjectErrorKind::ClosedByPeer) if the other end is closed,
    /// [`Closed`](ObjectErrorKind::Closed) if this one is, [`NotHolder`](ObjectErrorKind::NotHolder) if a task has it,
    /// [`NotWritable`](ObjectErrorKind::NotWritable) at the first end of a pipe in one direction. Otherwise those of
    /// [`Queue::put`](crate::Queue::put).
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// let (one, other) = Manager::new().duplex_pipe::<(String, i64)>("line")?;
    /// one.send(("spam".to_owned(), 42))?;
    /// assert_eq!(other.recv()?, ("spam".to_owned(), 42));
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn send(&self, message: impl Borrow<T>) -> Result<(), Error> {
        self.send_within(message.borrow(), None)
    }

    /// Sends a message, after waiting for room for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Kind [`Full`](ObjectErrorKind::Full) if there was no room by then. Otherwise those of [`send`](Self::send).
    pub fn send_timeout(&self, message: impl Borrow<T>, timeout: Duration) -> Result<(), Error> {
        self.send_within(message.borrow(), Some(timeout))
    }

    /// Receives a message, after waiting for one if there is none.
    ///
    /// # Errors
    ///
    /// An [`Error::Object`] of kind [`Eof`](ObjectErrorKind::Eof) if the other end is closed and nothing is left,
    /// [`Closed`](ObjectErrorKind::Closed) if this one is, [`NotHolder`](ObjectErrorKind::NotHolder) if a task has it,
    /// [`NotReadable`](ObjectErrorKind::NotReadable) at the second end of a pipe in one direction. Otherwise those of
    /// [`Queue::get`](crate::Queue::get).
    pub fn recv(&self) -> Result<T, Error> {
        self.recv_within(None)
    }

    /// Receives a message, after waiting for one for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Kind [`Timeout`](ObjectErrorKind::Timeout) if there was none by then. Otherwise those of [`recv`](Self::recv).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use wasmpool::{Error, Manager, ObjectErrorKind};
    /// let (receiver, _sender) = Manager::new().pipe::<i64>("line")?;
    /// let received = receiver.recv_timeout(Duration::from_millis(10));
    /// assert!(matches!(received, Err(Error::Object(e)) if e.kind == ObjectErrorKind::Timeout));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, Error> {
        self.recv_within(Some(timeout))
    }
}

impl<T> Drop for PipeEnd<T> {
    fn drop(&mut self) {
        if *self.state.get_mut().unwrap_or_else(PoisonError::into_inner) == EndState::Open {
            self.handle.leave(HostHolder::COMMON, Operation::CloseEnd(self.end));
        }
    }
}
