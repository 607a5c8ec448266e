//! What participants ask of the objects, and what they are answered.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Something that one participant asks of one object. It may wait for as long as `timeout`; `None` waits without a
/// limit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Request {
    /// Number of the object, as in `ObjectGrant`.
    pub object: u16,
    pub operation: Operation,
    pub timeout: Option<Duration>,
}

/// End of a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PipeEnd {
    First,
    Second,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Operation {
    // Queues
    Put(Vec<u8>),
    /// Up to this many messages, at least one.
    Get {
        most: u32,
    },
    Take,
    Finish(u64),
    /// Returns a delivery to the front, as the end of the item does.
    GiveBack(u64),
    TaskDone,
    JoinQueue,
    Size,
    IsEmpty,
    IsFull,
    Shutdown {
        immediately: bool,
    },
    // Pipes. An end belongs to the participant's item from its opening on.
    OpenEnd(PipeEnd),
    CloseEnd(PipeEnd),
    Send(PipeEnd, Vec<u8>),
    Recv {
        end: PipeEnd,
        at_most: Option<u64>,
    },
    Poll(PipeEnd),
    /// Waits until at least one of these ends can be received from, each with the number of its pipe. The object of the
    /// request is the pipe of any of them. The answer says which can: none at the timeout.
    PollAny(Vec<(u16, PipeEnd)>),
    // Locks, rlocks, semaphores, conditions
    Acquire,
    Release,
    IsLocked,
    Slots,
    /// A number that is greater than all that were told of earlier acquisitions. Answers `Number`. Only a holder is told.
    Token,
    WaitCondition,
    Notify {
        most: u32,
    },
    // Events
    IsSet,
    Set,
    Clear,
    WaitEvent,
    // Barriers
    Parties,
    Waiting,
    IsBroken,
    WaitBarrier,
    Abort,
    Reset,
    // Dicts and namespaces. Versions grow, and no two changes of a dict have the same.
    /// Answers `Entry`.
    DictGet(String),
    /// Answers `Number`, the new version.
    DictSet(String, Vec<u8>),
    /// Sets all or none. Answers `Done`.
    DictSetMany(Vec<(String, Vec<u8>)>),
    /// Answers `MaybeNumber`, the new version.
    DictCompareAndSet {
        key: String,
        version: Option<u64>,
        value: Vec<u8>,
    },
    /// Answers `MaybeBytes`.
    DictPop(String),
    /// Answers `Bool`.
    DictContains(String),
    /// Answers `Signed`.
    DictIncrement(String, i64),
    /// Answers `Page`: at least one entry, if there is one after `after`, and fewer than `most` if they are longer than
    /// 1 MiB, or more than [`MOST_PARTS`]. Only an empty page is the end.
    DictPage {
        after: Option<String>,
        most: u32,
    },
    /// As `DictPage`, without the values. Answers `Keys`.
    DictKeys {
        after: Option<String>,
        most: u32,
    },
    // Lists. A negative index counts from the end.
    /// Answers `Bytes`.
    ListGet(i64),
    /// Answers `Done`.
    ListSet(i64, Vec<u8>),
    /// Answers `Bool`, whether it was replaced.
    ListCompareAndSet {
        index: i64,
        expected: Vec<u8>,
        value: Vec<u8>,
    },
    /// Appends all or none. Answers `Done`.
    ListExtend(Vec<Vec<u8>>),
    /// Inserts before this index; one beyond an end means that end. Answers `Done`.
    ListInsert(i64, Vec<u8>),
    /// Answers `Bytes`, or `Empty`.
    ListPop(i64),
    /// Answers `Many`, bounded as `DictPage` is.
    ListRange {
        start: u64,
        most: u32,
    },
    // Dicts, lists and namespaces
    /// Answers `Number`.
    Length,
    /// Removes all entries. Answers `Done`.
    Empty,
    // Values and arrays
    /// What is done with numbers by whoever asks for them, in bytes that only those read who have the memory. Answers
    /// `Bytes`.
    Numbers(Vec<u8>),
    // The participant itself
    /// Answers `Done` once all is done that was sent before it, such as the release at the end of an item.
    Settle,
    // All objects
    /// The last token that was told to a holder of any of them. Answers `Number`.
    LastToken,
}

/// Maximum number of parts of one request or answer, such as entries that are set at once. The manager handles one request at
/// a time, so this bounds how long all others wait for it: to some milliseconds.
pub const MOST_PARTS: usize = 10_000;

impl Operation {
    /// Returns true for operations that change a dict or a list.
    pub(crate) fn changes_entries(&self) -> bool {
        matches!(
            self,
            Operation::DictSet(..)
                | Operation::DictSetMany(_)
                | Operation::DictCompareAndSet { .. }
                | Operation::DictPop(_)
                | Operation::DictIncrement(..)
                | Operation::ListSet(..)
                | Operation::ListCompareAndSet { .. }
                | Operation::ListExtend(_)
                | Operation::ListInsert(..)
                | Operation::ListPop(_)
                | Operation::Empty
        )
    }

    /// Returns the number of parts that it passes, or that its answer has at most.
    pub fn parts(&self) -> usize {
        match self {
            Operation::DictSetMany(entries) => entries.len(),
            Operation::ListExtend(values) => values.len(),
            Operation::PollAny(ends) => ends.len(),
            Operation::Get { most }
            | Operation::DictPage { most, .. }
            | Operation::DictKeys { most, .. }
            | Operation::ListRange { most, .. } => (*most as usize).min(MOST_PARTS),
            _ => 1,
        }
    }

    /// Returns how errors of this operation are said.
    pub fn words(&self) -> OperationWords {
        let plain = OperationWords::PLAIN;
        match self {
            Operation::Recv { .. } => OperationWords { timeout: "no message came in time", not_holder: OTHER_END },
            Operation::OpenEnd(_)
            | Operation::Send(..)
            | Operation::Poll(_)
            | Operation::PollAny(_)
            | Operation::CloseEnd(_) => OperationWords { not_holder: OTHER_END, ..plain },
            Operation::WaitBarrier => OperationWords { timeout: "not all parties came in time", ..plain },
            Operation::Acquire => OperationWords { timeout: "it did not come free in time", ..plain },
            _ => plain,
        }
    }

    /// Refuses an operation that passes more parts than one request may have.
    pub(crate) fn check_parts(&self) -> Result<(), ObjectError> {
        match self.parts() {
            parts if parts > MOST_PARTS => Err(ObjectError::Quota(format!(
                "{parts} entries at a time are more than {MOST_PARTS}, for which others have to wait: use several calls"
            ))),
            _ => Ok(()),
        }
    }
}

/// The answer to an operation that succeeded. Each operation has one form of answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reply {
    Done,
    Bool(bool),
    Number(u64),
    Signed(i64),
    Bytes(Vec<u8>),
    Many(Vec<Vec<u8>>),
    Delivery {
        id: u64,
        item: Vec<u8>,
        redelivered: bool,
    },
    Acquired(Acquisition),
    /// A value and its version.
    Entry(Option<(Vec<u8>, u64)>),
    MaybeBytes(Option<Vec<u8>>),
    MaybeNumber(Option<u64>),
    Page(Vec<(String, Vec<u8>)>),
    Keys(Vec<String>),
    /// Places in the list of what was asked for.
    Places(Vec<u32>),
}

/// What became of an attempt to acquire something.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Acquisition {
    Acquired,
    /// Acquired, after its last holder ended without releasing it.
    Abandoned(String),
    TimedOut,
}

/// Why an operation was refused; nothing of it has happened then. The same cases as `error` of `wit/shared.wit`, without
/// those that the worker sees by itself (`not-granted`, `wrong-kind`, `lost`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ObjectError {
    Denied(String),
    Closed,
    Full,
    Empty,
    Timeout,
    Quota(String),
    NotHeld,
    NotHolder,
    TooMany,
    Broken(String),
    Eof,
    ClosedByPeer,
    NotReadable,
    NotWritable,
    TooLong(u64),
    OutOfRange(String),
    Invalid(String),
}

// How errors are said where it is not known of which operation they are.
const NOT_IN_TIME: &str = "what was waited for did not happen in time";
const OTHER_HOLDER: &str = "another holds it";

const OTHER_END: &str = "another has this end of the pipe, and each end has one owner: a queue is for several";

/// How errors of one operation are said, of which [`ObjectError`] alone does not know enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationWords {
    timeout: &'static str,
    not_holder: &'static str,
}

impl OperationWords {
    /// Those of an operation that has none of its own.
    pub const PLAIN: OperationWords = OperationWords { timeout: NOT_IN_TIME, not_holder: OTHER_HOLDER };

    /// Returns what a timeout is called.
    pub fn timeout(self) -> &'static str {
        self.timeout
    }

    /// Returns the words for an error, if this operation has its own.
    pub fn of(self, error: &ObjectError) -> Option<&'static str> {
        match error {
            ObjectError::Timeout => Some(self.timeout),
            ObjectError::NotHolder => Some(self.not_holder),
            _ => None,
        }
    }
}

impl fmt::Display for ObjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use ObjectError::*;
        match self {
            Denied(said) => write!(f, "the right to {said} was not granted"),
            Closed => f.write_str("it is closed"),
            Full => f.write_str("it is full"),
            Empty => f.write_str("it is empty"),
            Timeout => f.write_str(NOT_IN_TIME),
            Quota(said) | OutOfRange(said) | Invalid(said) => f.write_str(said),
            NotHeld => f.write_str("nobody holds it"),
            NotHolder => f.write_str(OTHER_HOLDER),
            TooMany => f.write_str("more was released or called done than there is"),
            Broken(said) => write!(f, "the barrier is broken: {said}"),
            Eof => f.write_str("the other end is closed, and all its messages were received"),
            ClosedByPeer => f.write_str("the other end is closed, so nobody would receive this"),
            NotReadable => f.write_str("this end of the pipe cannot receive"),
            NotWritable => f.write_str("this end of the pipe cannot send"),
            TooLong(said) => write!(f, "the message has {said} bytes, which is more than was allowed"),
        }
    }
}

pub type Answer = Result<Reply, ObjectError>;
