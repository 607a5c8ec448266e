//! Shared objects as a state machine without I/O and without a clock.
//!
//! What participants ask goes into [`Machine::ask`], and answers come out. Time is whatever the caller says it is, so a
//! test can drive the machine through millions of schedules. It promises, in every schedule:
//!
//! * each request is answered once, at the latest at its deadline, unless its participant has ended;
//! * those who wait are served first come, first served;
//! * the end of an item or a participant, however it comes, releases what it held and blocks nobody;
//! * no participant can do more than its rights and quotas allow, or harm another by asking what makes no sense;
//! * the cost of an operation does not grow with the number of messages, and with the number of waits only as its
//!   logarithm.

#![forbid(unsafe_code)]

pub mod contents;
mod context;
mod credits;
pub mod dict;
mod events;
pub mod fast;
mod lent;
mod line;
pub mod list;
mod machine;
mod object;
pub mod operation;
mod passed;
mod pipe;
mod queue;
mod rights;
mod sync;
#[cfg(test)]
mod tests;
pub mod usage;
mod waits;
pub mod wire;

pub use events::{Answered, ItemEnding, JoinError, Outputs, ParticipantId, ParticipantLimits, Ticket, Time, Violation};
pub use machine::Machine;
