//! Shared objects as a state machine without I/O and without a clock.

#![forbid(unsafe_code)]

pub mod operation;
pub mod wire;
