//! What the pool promises: each row of Python's `multiprocessing.Pool` that it answers (`python`), and what it adds.
//!
//! Workers are the `wasmpool` command. Nothing here sleeps to be in time: a test waits for what it needs.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod bytes;
mod cancel;
mod failures;
mod floats;
mod plugins;
mod processes;
mod program;
mod python;
mod support;
mod threads;
