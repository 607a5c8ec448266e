//! Why an operation was refused.

use std::fmt;

use crate::bindings::shared::wasmpool::shared::types::Error as Refusal;

/// Why an operation on a shared object was refused. Nothing of it has happened then.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// No object of this name was granted. The text names the option that grants it.
    NotGranted(String),
    /// The object is of another kind or type of number. The text names both.
    WrongKind(String),
    /// The right to do this was not granted. The text names the right.
    Denied(String),
    /// The handle, the pipe end or the queue is closed.
    Closed,
    /// There is no room, or there was none before the timeout.
    Full,
    /// There is nothing to get, or there was nothing before the timeout.
    Empty,
    /// What was waited for did not happen before the timeout.
    Timeout,
    /// It would exceed a quota of the object or of the task. The text names the quota.
    Quota(String),
    /// Nobody holds this lock, slot or delivery, or it was given back already.
    NotHeld,
    /// Another holds the lock, or the end of the pipe.
    NotHolder,
    /// More was released or finished than there is.
    TooMany,
    /// The barrier is broken. The text says by what.
    Broken(String),
    /// The other end of the pipe is closed, and all its messages were received.
    Eof,
    /// The other end of the pipe is closed, so nobody would receive this.
    ClosedByPeer,
    /// This end of the pipe cannot receive.
    NotReadable,
    /// This end of the pipe cannot send.
    NotWritable,
    /// The message is longer than was allowed. It has this many bytes, and stays.
    TooLong(u64),
    /// The index or the range is outside. The text says what the length is.
    OutOfRange(String),
    /// The argument does not fit. The text says why.
    Invalid(String),
    /// The process that keeps the objects has ended. The run ends too.
    Lost,
    /// A message or an entry is not the JSON that was expected, or has no form in JSON. The text names the object, and says where.
    Json(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotGranted(text)
            | Self::WrongKind(text)
            | Self::Denied(text)
            | Self::Quota(text)
            | Self::OutOfRange(text)
            | Self::Invalid(text)
            | Self::Json(text) => text,
            // The words of the host, in whose messages the same refusals are.
            Self::Broken(by) => return write!(f, "the barrier is broken: {by}"),
            Self::Closed => "it is closed",
            Self::Full => "it is full",
            Self::Empty => "it is empty",
            Self::Timeout => "what was waited for did not happen in time",
            Self::NotHeld => "nobody holds it",
            Self::NotHolder => "another holds it",
            Self::TooMany => "more was released or called done than there is",
            Self::Eof => "the other end is closed, and all its messages were received",
            Self::ClosedByPeer => "the other end is closed, so nobody would receive this",
            Self::NotReadable => "this end of the pipe cannot receive",
            Self::NotWritable => "this end of the pipe cannot send",
            Self::TooLong(bytes) => {
                return write!(f, "the message has {bytes} bytes, which is more than was allowed");
            }
            Self::Lost => "the process that keeps the shared objects has ended",
        })
    }
}

impl std::error::Error for Error {}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotGranted(text) => Self::NotGranted(text),
            Refusal::WrongKind(text) => Self::WrongKind(text),
            Refusal::Denied(text) => Self::Denied(text),
            Refusal::Closed => Self::Closed,
            Refusal::Full => Self::Full,
            Refusal::Empty => Self::Empty,
            Refusal::Timeout => Self::Timeout,
            Refusal::Quota(text) => Self::Quota(text),
            Refusal::NotHeld => Self::NotHeld,
            Refusal::NotHolder => Self::NotHolder,
            Refusal::TooMany => Self::TooMany,
            Refusal::Broken(text) => Self::Broken(text),
            Refusal::Eof => Self::Eof,
            Refusal::ClosedByPeer => Self::ClosedByPeer,
            Refusal::NotReadable => Self::NotReadable,
            Refusal::NotWritable => Self::NotWritable,
            Refusal::TooLong(bytes) => Self::TooLong(bytes),
            Refusal::OutOfRange(text) => Self::OutOfRange(text),
            Refusal::Invalid(text) => Self::Invalid(text),
            Refusal::Lost => Self::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_host() {
        let error = Error::from(Refusal::NotGranted("grant it with --share jobs=queue".to_owned()));
        assert_eq!(error.to_string(), "grant it with --share jobs=queue");
    }

    #[test]
    fn each_error_without_a_text_has_one_of_its_own() {
        let errors = [
            Refusal::Closed,
            Refusal::Full,
            Refusal::Empty,
            Refusal::Timeout,
            Refusal::NotHeld,
            Refusal::NotHolder,
            Refusal::TooMany,
            Refusal::Eof,
            Refusal::ClosedByPeer,
            Refusal::NotReadable,
            Refusal::NotWritable,
            Refusal::TooLong(7),
            Refusal::Lost,
        ];
        let texts: std::collections::BTreeSet<String> =
            errors.iter().map(|error| Error::from(error.clone()).to_string()).collect();
        assert_eq!(texts.len(), errors.len());
        assert!(Error::TooLong(7).to_string().contains("7 bytes"));
    }
}
