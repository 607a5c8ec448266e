//! Why an operation of the host on a shared object was refused.

use wasmpool_core::text::{ForeignText, QuotedName};
use wasmpool_objects::operation::{ObjectError as Refusal, OperationWords};

/// An operation on a shared object that was refused. Nothing of it has happened then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the shared object {}: {}", QuotedName::of(.object), self.why())]
#[non_exhaustive]
pub struct ObjectError {
    /// Name of the object.
    pub object: String,
    pub kind: ObjectErrorKind,
    /// The words of the operation for this, if it has its own.
    words: Option<&'static str>,
}

/// The reason why an operation on a shared object was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectErrorKind {
    /// The queue is shut down, or this end of the pipe is closed.
    #[error("it is closed")]
    Closed,
    /// There is no room, or there was none before the timeout.
    #[error("it is full")]
    Full,
    /// There is nothing to get, or there was nothing before the timeout.
    #[error("it is empty")]
    Empty,
    /// What was waited for did not happen before the timeout.
    #[error("what was waited for did not happen in time")]
    Timeout,
    /// It would exceed a quota of the object, or of what may wait at a time.
    #[error("it would exceed a quota ({})", ForeignText::of(.0))]
    Quota(String),
    /// Nobody holds it, so that it cannot be released.
    #[error("nobody holds it")]
    NotHeld,
    /// Another holds the lock, or the end of the pipe.
    #[error("another holds it")]
    NotHolder,
    /// More was released, or called done, than there is.
    #[error("more was released or called done than there is")]
    TooMany,
    /// The barrier is broken, by what the text says.
    #[error("the barrier is broken: {}", ForeignText::of(.0))]
    Broken(String),
    /// The other end of the pipe is closed, and all its messages were received.
    #[error("the other end is closed, and all its messages were received")]
    Eof,
    /// The other end of the pipe is closed, so that nobody would receive this.
    #[error("the other end is closed, so nobody would receive this")]
    ClosedByPeer,
    /// This end of the pipe cannot receive.
    #[error("this end of the pipe cannot receive")]
    NotReadable,
    /// This end of the pipe cannot send.
    #[error("this end of the pipe cannot send")]
    NotWritable,
    /// The message has this many bytes, which is more than was allowed. It stays.
    #[error("the message has {0} bytes, which is more than was allowed")]
    TooLong(u64),
    /// The index or the range is outside.
    #[error("{}", ForeignText::of(.0))]
    OutOfRange(String),
    /// The object has no such operation, or the argument does not fit.
    #[error("{}", ForeignText::of(.0))]
    Invalid(String),
    /// The right to do this was not granted.
    #[error("not granted: {}", ForeignText::of(.0))]
    Denied(String),
    /// A message or an entry is not of the type that it is wanted as. It is gone from where it was got.
    #[error("what was read is not JSON of the type that it is wanted as: {}", ForeignText::of(.0))]
    Unreadable(String),
    /// A message or an entry cannot be written as JSON.
    #[error("it cannot be written as JSON ({})", ForeignText::of(.0))]
    Unwritable(String),
    /// It was created after objects of its manager were used, or granted to a process that was started.
    #[error("objects of its manager are in use already: create all of them first, or this one in another Manager")]
    TooLate,
    /// The object cannot be as it was asked for.
    #[error("it cannot be created: {0}")]
    Uncreated(&'static str),
    /// It is of another manager than others that were granted: a process has objects of one manager.
    #[error("it is of another Manager than what was granted before: create all objects of a process in one")]
    OtherManager,
}

impl ObjectError {
    /// Makes the error for the object of this name.
    pub fn new(object: &str, kind: ObjectErrorKind) -> ObjectError {
        ObjectError { object: object.to_owned(), kind, words: None }
    }

    /// Makes the error for what the object of this name answered to an operation with these words.
    pub fn of_operation(object: &str, refusal: Refusal, words: OperationWords) -> ObjectError {
        let words = words.of(&refusal);
        ObjectError { words, ..ObjectError::new(object, refusal.into()) }
    }

    fn why(&self) -> String {
        self.words.map_or_else(|| self.kind.to_string(), str::to_owned)
    }
}

impl From<Refusal> for ObjectErrorKind {
    fn from(refusal: Refusal) -> ObjectErrorKind {
        match refusal {
            Refusal::Denied(what) => ObjectErrorKind::Denied(what),
            Refusal::Closed => ObjectErrorKind::Closed,
            Refusal::Full => ObjectErrorKind::Full,
            Refusal::Empty => ObjectErrorKind::Empty,
            Refusal::Timeout => ObjectErrorKind::Timeout,
            Refusal::Quota(which) => ObjectErrorKind::Quota(which),
            Refusal::NotHeld => ObjectErrorKind::NotHeld,
            Refusal::NotHolder => ObjectErrorKind::NotHolder,
            Refusal::TooMany => ObjectErrorKind::TooMany,
            Refusal::Broken(why) => ObjectErrorKind::Broken(why),
            Refusal::Eof => ObjectErrorKind::Eof,
            Refusal::ClosedByPeer => ObjectErrorKind::ClosedByPeer,
            Refusal::NotReadable => ObjectErrorKind::NotReadable,
            Refusal::NotWritable => ObjectErrorKind::NotWritable,
            Refusal::TooLong(length) => ObjectErrorKind::TooLong(length),
            Refusal::OutOfRange(why) => ObjectErrorKind::OutOfRange(why),
            Refusal::Invalid(why) => ObjectErrorKind::Invalid(why),
        }
    }
}
