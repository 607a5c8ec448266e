//! A pool of sandboxed worker processes for untrusted WebAssembly: Python's `multiprocessing.Pool`, for functions that you
//! did not write or do not trust.
//!
//! Start with [`Pool`]. A single process is a [`Process`]; what tasks and the program have in common, a [`Manager`]
//! creates. An item that crashes, hangs or uses up its memory costs that item and no other. Every error is
//! a variant of [`Error`]; a failed item is an [`ItemError`], whose [`FailureKind`] says why it failed.
//!
//! The `wasmpool` command is built on this library; the README describes the command, ARCHITECTURE.md how both work.

mod pool;

#[doc(hidden)]
pub use pool::ReturnValue as Returned;
pub use pool::{
    Argument, ArithmeticNumber, Array, AsCompleted, AsyncResult, Barrier, Bytes, Condition, ConditionGuard, Dict,
    Event, Function, Imap, ItemError, List, Lock, LockGuard, Manager, ManagerBuilder, Message, Namespace, PipeEnd,
    Pool, PoolBuilder, Process, ProcessBuilder, ProcessExit, ProcessInfo, ProcessRole, Queue, QueueIter, RLock,
    RLockGuard, ReturnValue, ReturnWhen, Semaphore, SemaphoreGuard, Share, SharedNumber, SharedObjectType, Task,
    TryItems, Value, WorkerEvent, active_children, as_completed, wait,
};
pub use wasmpool_core::outcome::{FailureDetails, FailureKind, GuestOutput};
pub use wasmpool_core::policy::{Isolate, SandboxMode};
pub use wasmpool_run::error::{Error, TaskError, WorkerBinaryError};
pub use wasmpool_run::grants::GrantError;
pub use wasmpool_run::input::InputError;
pub use wasmpool_run::journal::JournalError;
pub use wasmpool_run::shared::{ObjectError, ObjectErrorKind};

#[deprecated(note = "renamed to `FailureKind`")]
pub type Kind = FailureKind;
#[deprecated(note = "renamed to `FailureDetails`")]
pub type Details = FailureDetails;
#[deprecated(note = "renamed to `GuestOutput`")]
pub type Printed = GuestOutput;

/// Turns this process into a worker or compile process and never returns, if it was started as one.
///
/// A program whose own binary starts workers calls this first thing in `main`, as Python programs call
/// `freeze_support`. In any other process it only records that it was called.
///
/// ```
/// wasmpool::worker_entry();
/// // What the program does.
/// ```
pub fn worker_entry() {
    let mut args = std::env::args_os();
    if args.next().is_none_or(|mark| mark != wasmpool_run::spawn::MARK) {
        pool::may_start_own_binary();
        return;
    }
    let mut word = || args.next().and_then(|a| a.into_string().ok());
    let role = word().as_deref().and_then(wasmpool_run::spawn::ChildRole::from_name);
    let socket = wasmpool_sandbox::own_socket(word().as_deref());
    let secluded = args.any(|word| word == wasmpool_run::spawn::SECLUDED);
    wasmpool_run::allocator::keep_freed_memory();
    let code = match (role, socket) {
        (Some(wasmpool_run::spawn::ChildRole::Worker), Ok(socket)) if secluded => wasmpool_worker::run_secluded(socket),
        (Some(wasmpool_run::spawn::ChildRole::Worker), Ok(socket)) => wasmpool_worker::run(socket),
        (Some(wasmpool_run::spawn::ChildRole::Compile), Ok(socket)) => wasmpool_worker::compiler::run(socket),
        (Some(wasmpool_run::spawn::ChildRole::Manager), Ok(socket)) => wasmpool_manager::run(socket),
        (Some(wasmpool_run::spawn::ChildRole::Doctor), Ok(socket)) => wasmpool_worker::doctor::run(socket),
        (Some(wasmpool_run::spawn::ChildRole::Version), Ok(socket)) => pool::tell_version(socket),
        _ => std::process::ExitCode::FAILURE,
    };
    std::process::exit(if code == std::process::ExitCode::SUCCESS { 0 } else { 1 });
}
