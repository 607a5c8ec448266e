//! The promises of the pool: each row of Python's `multiprocessing.Pool` that it answers (`python`), and what it adds.
//!
//! Workers are the `wasmpool` command. No test sleeps to synchronise: a test waits for what it needs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bytes;
mod cancel;
mod failures;
mod floats;
#[cfg(feature = "hosts")]
mod hosts;
mod names;
mod objects;
mod plugins;
mod process;
mod processes;
mod program;
mod programs;
mod python;
mod shutdown;
mod support;
mod terms;
mod threads;
mod waiting;
mod watching;
