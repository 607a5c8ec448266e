//! Shared objects as a state machine without I/O and without a clock.

#![forbid(unsafe_code)]

pub mod contents;
pub mod dict;
pub mod list;
pub mod operation;
pub mod usage;
pub mod wire;
