//! What goes into the machine and comes out of it, and who asks.

use std::time::Duration;

use crate::operation::Answer;

/// Time since any fixed moment, as reported by the caller. It never goes back.
pub type Time = Duration;
/// Number of a participant; numbers are not reused within a run.
pub type ParticipantId = u32;
/// Number of a request, chosen by the participant among those that it does not wait for.
pub type Ticket = u32;

/// Limits of one participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParticipantLimits {
    /// Number of requests that may wait at a time.
    pub in_flight: u32,
    /// Bytes that its waiting puts and sends may hold together. A single one may always wait; the quota of its object
    /// bounds it.
    pub waiting_bytes: u64,
    /// Whether it can put on credit and take messages ahead. It must have one request in flight at most.
    pub fast: bool,
}

impl ParticipantLimits {
    /// Limits of a worker, which does one thing at a time.
    pub const WORKER: ParticipantLimits = ParticipantLimits { in_flight: 1, waiting_bytes: 0, fast: true };
    /// Limits of a worker on another machine, which shares no memory with the manager.
    pub const REMOTE: ParticipantLimits = ParticipantLimits { fast: false, ..ParticipantLimits::WORKER };
}

/// How an item ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemEnding {
    /// It came to its end.
    Returned,
    /// It was ended, for example by a trap or its timeout, or its process was.
    Failed,
}

/// An answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    pub participant: ParticipantId,
    pub ticket: Ticket,
    pub answer: Answer,
}

/// Something that no honest participant does. The caller is expected to end it, and to say so with
/// [`Machine::leave`](crate::Machine::leave).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub participant: ParticipantId,
    pub what: &'static str,
}

/// What came of an event, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outputs {
    pub answers: Vec<Answered>,
    pub violations: Vec<Violation>,
}

/// Why a participant cannot join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinError {
    /// The number of the participant is taken.
    Taken,
    /// A grant names an object that does not exist.
    NoSuchObject(u16),
}
