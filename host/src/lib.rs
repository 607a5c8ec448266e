//! A pool of sandboxed worker processes for untrusted WebAssembly: Python's `multiprocessing.Pool`, for functions that you
//! did not write or do not trust.
//!
//! [`Pool`] is where to start. An item that crashes, hangs or eats memory costs that item and no other. Every [`Error`] is
//! one of an enum; what became of an item is an [`ItemError`] with its [`Kind`].
//!
//! This is the library behind the `wasmpool` command, too; see the README for what that does and ARCHITECTURE.md for how.

#![deny(clippy::print_stdout, clippy::print_stderr)]

#[macro_use]
mod stdio;

mod aside;
#[doc(hidden)]
pub mod cli;
mod clock;
mod compile;
mod engine;
mod error;
mod exports;
mod failed;
mod fresh;
mod grants;
mod input;
mod journal;
mod lane;
mod links;
mod manifest;
mod memfd;
mod outcome;
mod output;
mod place;
mod policy;
mod pool;
mod refused;
mod sandbox;
mod scarce;
mod scheduler;
mod spawn;
mod supervisor;
mod surroundings;
mod text;
mod value;
mod worker;

pub use error::Error;
pub use outcome::{Details, Kind, Printed};
pub use policy::{Isolate, SandboxMode};
pub use pool::{Argument, AsyncResult, Bytes, Function, Imap, ItemError, Pool, PoolBuilder, Returned, Task};

/// The version of wasmtime that artifacts belong to.
const WASMTIME: &str = "48.0.8";

/// Serves as a worker or compile process, if this process was started as one, and never returns then.
///
/// A program whose own binary starts workers calls this first thing in `main`, as Python programs call
/// `freeze_support`; in any other process it does nothing but to remember that it was called.
///
/// ```
/// wasmpool::worker_entry();
/// // What the program does.
/// ```
pub fn worker_entry() {
    let mut args = std::env::args_os();
    if args.next().is_none_or(|mark| mark != spawn::MARK) {
        pool::may_start_own_binary();
        return;
    }
    let mut word = || args.next().and_then(|a| a.into_string().ok());
    let role = word().as_deref().and_then(spawn::Role::from_name);
    let socket = sandbox::own_socket(word().as_deref());
    keep_freed_memory();
    let code = match (role, socket) {
        (Some(spawn::Role::Worker), Ok(socket)) => worker::run(socket),
        (Some(spawn::Role::Compile), Ok(socket)) => compile::run(socket),
        (Some(spawn::Role::Doctor), Ok(socket)) => sandbox::run_doctor(socket),
        (Some(spawn::Role::Version), Ok(socket)) => pool::tell_version(socket),
        _ => std::process::ExitCode::FAILURE,
    };
    std::process::exit(if code == std::process::ExitCode::SUCCESS { 0 } else { 1 });
}

/// Large items and chunks pass through buffers of their size. An allocator that gives each back to the kernel gets the next
/// one a page at a time, and a page costs more than what is done with it. This is for processes that are wholly ours: a
/// program that uses the library decides for itself.
fn keep_freed_memory() {
    #[cfg(target_env = "gnu")]
    {
        const KEPT: i32 = 4 << 20;
        // SAFETY: these set two numbers, and no other thread was started yet.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT);
            libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
        }
    }
}

#[cfg(feature = "probes")]
pub use sandbox::probes;
