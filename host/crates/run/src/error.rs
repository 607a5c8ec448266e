//! Errors of a run or a pool as a whole. The error of an item is its [`wasmpool_core::outcome::Failure`].

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use crate::column_error::ColumnTwice;
use crate::grants::GrantError;
use crate::input::InputError;
use crate::journal::JournalError;
use crate::object_error::ObjectError;
use wasmpool_core::item_error::ItemError;
use wasmpool_core::text::{ForeignText, MessageLines};
pub use wasmpool_sandbox::surroundings::with_sources;
use wasmpool_sandbox::surroundings::{ChildEnd, error_with_limit};

/// An error that keeps a run or a pool from starting or continuing, or that a call of a pool returns.
///
/// Displayed, it may have several lines, of which all but the first are indented. Text in it that a stranger chose,
/// such as a name in a task, is escaped. The source of an error is not part of its text.
///
/// Its `Debug` form is that text with all that is behind it, since that is what a `main` prints that returns it.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The task cannot be read, compiled or called in this way. Nothing ran.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// The artifact does not fit this build or this machine. Compiling the task again helps.
    #[error("the compiled task cannot be loaded: {}", MessageLines(.0))]
    Artifact(String),
    /// A grant cannot be opened. Nothing ran.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// The sandbox that was asked for is not available on this machine. Nothing ran.
    #[error("the sandbox cannot be had here: {}", MessageLines(.0))]
    Sandbox(String),
    /// The sandbox is not available on any machine that serves a run over many. Nothing ran.
    #[error("the sandbox cannot be had on the host {}: {}", ForeignText::of(.host), MessageLines(.why))]
    SandboxOfHost {
        /// The name of the first of them.
        host: String,
        /// What it lacks.
        why: String,
    },
    /// A worker or compile process cannot be started.
    #[error("cannot start a worker process")]
    Spawn(#[source] Arc<io::Error>),
    /// Workers end before they are ready, again and again.
    #[error(
        "workers end before they are ready to work ({}); is there enough memory, and may this user start processes?",
        ForeignText::of(.0)
    )]
    Workers(String),
    /// There is no binary to start worker processes from.
    #[error(transparent)]
    WorkerBinary(#[from] WorkerBinaryError),
    /// A bound argument, or that of `init`, cannot be written as JSON.
    #[error("{0} cannot be written as JSON")]
    Argument(String),
    /// An item failed. No other item is affected.
    #[error(transparent)]
    Item(#[from] ItemError),
    /// The pool was closed or terminated: it takes no new calls.
    #[error("the pool is closed and takes no new calls")]
    Closed,
    /// The result is not there yet. The call continues.
    #[error("the result is not there within the time it was waited for")]
    WaitTimeout,
    /// The call is not finished, so it is not known whether it succeeds.
    #[error("the result is not there yet: wait for it before asking whether it is successful")]
    Unfinished,
    /// The pool still takes calls, so its end cannot be waited for.
    #[error("the pool is still open: close or terminate it before joining it")]
    StillOpen,
    /// The pool belongs to the process from which this one was forked off; it has no workers here.
    #[error(
        "the pool was built before this process was forked off, and belongs to its parent: build one after the fork"
    )]
    Forked,
    /// The user or the system asked to stop before anything ran.
    #[error("interrupted")]
    Interrupted,
    /// The input cannot be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The iterator of items returned an error. Items before it have their outcomes.
    #[error("the items cannot be read any further")]
    Items(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The results cannot be written.
    #[error("cannot write the results")]
    Output(#[source] Arc<io::Error>),
    /// Columns of the output have the same name. Nothing ran.
    #[error(transparent)]
    Columns(#[from] ColumnTwice),
    /// The shared objects cannot be as they were asked for, or the process that keeps them has ended.
    #[error("{}", MessageLines(.0))]
    Shared(String),
    /// An operation on a shared object was refused. Nothing of it has happened.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The message system that connects a run's machines cannot be used, or no machine serves the run.
    #[error("{}", MessageLines(.0))]
    Broker(String),
    /// The message system does not let this program in, or not do what it has to.
    #[error("{}", MessageLines(.0))]
    BrokerLogin(String),
    /// No authority that is believed has signed the message system's certificate.
    #[error("{}", MessageLines(.0))]
    BrokerCertificate(String),
    /// The run cannot continue with its journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The system refused something that the run needs.
    #[error("{}", error_with_limit(.0))]
    System(Arc<io::Error>),
    /// A thread of the program panicked: an invariant is broken. What is known of the run is not reliable.
    #[error("this is a bug in wasmpool, please report it: {}", MessageLines(.0))]
    Bug(String),
}

/// The reason why a task cannot be read, compiled or called. `task` is its name.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    #[error("cannot read the task {}", ForeignText::of(.task))]
    Unreadable { task: String, source: Arc<io::Error> },
    /// The system refused something that compiling needs.
    #[error("{}: cannot compile it", ForeignText::of(.task))]
    Uncompiled { task: String, source: Arc<io::Error> },
    #[error("{}: compiling it took longer than {seconds} s and was ended", ForeignText::of(.task))]
    CompileTimeout { task: String, seconds: u64 },
    /// The compile process met a limit.
    #[error("{}: compiling it {limit}", ForeignText::of(.task))]
    CompileLimit { task: String, limit: String },
    #[error("{}: the compile process ended without an answer ({end})", ForeignText::of(.task))]
    CompilerEnded { task: String, end: ChildEnd },
    /// It is not valid, or is too large, in words of the compile process.
    #[error("{}", MessageLines(&format!("{task}: {why}")))]
    Refused { task: String, why: String },
    /// It cannot be called in this way, in words of a worker.
    #[error("{}", MessageLines(.0))]
    Unusable(String),
    /// Its `init` failed, in words of a worker.
    #[error("the task cannot be initialised: {}", MessageLines(.0))]
    Uninitialised(String),
}

/// The reason why there is no binary to start worker processes from.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerBinaryError {
    /// This process was started as a worker itself.
    #[error(
        "no worker binary: this process was started as a worker, but its program does not call wasmpool::worker_entry() \
         first thing in main"
    )]
    NoEntry,
    /// No binary was named or found.
    #[error(
        "no worker binary: there is none: call wasmpool::worker_entry() first thing in main, name one with \
         PoolBuilder::worker_binary or $WASMPOOL_WORKER_BINARY, or install the command `wasmpool` {}",
        env!("CARGO_PKG_VERSION")
    )]
    None,
    #[error("no worker binary: {} cannot be opened", ForeignText::of(.path))]
    Unopened { path: PathBuf, source: Arc<io::Error> },
    #[error("no worker binary: {} cannot be started", ForeignText::of(.path))]
    Unstarted { path: PathBuf, source: Box<Error> },
    #[error(
        "no worker binary: {} is of version {}, and this is {}: use one of the same",
        ForeignText::of(.path), ForeignText::of(.version), env!("CARGO_PKG_VERSION")
    )]
    OtherVersion { path: PathBuf, version: String },
    #[error(
        "no worker binary: {} was ended by somebody else before it said which version it is ({end}); try again",
        ForeignText::of(.path)
    )]
    Killed { path: PathBuf, end: ChildEnd },
    #[error(
        "no worker binary: {} does not answer as a worker: it has to be the `wasmpool` command, or a program that calls \
         wasmpool::worker_entry() first thing in main",
        ForeignText::of(.path)
    )]
    NoAnswer { path: PathBuf },
}

/// Runs the work of a thread, and returns a panic as an [`Error::Bug`] that names the thread as `who`. The panic hook
/// has already printed its place.
pub fn caught<T>(who: &str, work: impl FnOnce() -> T) -> Result<T, Error> {
    // The thread's state is not used again after a panic, except to end it.
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Error::Bug(format!("{who} broke down: {}", said.unwrap_or("it does not say why")))
    })
}

impl Error {
    /// Makes the error for a worker or compile process that cannot be started.
    pub fn spawn(e: io::Error) -> Error {
        Error::Spawn(Arc::new(e))
    }

    /// Makes the error for results that cannot be written.
    pub fn output(e: io::Error) -> Error {
        Error::Output(Arc::new(e))
    }

    /// Makes the error for a journal that cannot be written.
    pub fn cannot_journal(e: io::Error) -> Error {
        Error::Journal(JournalError::write(e))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&with_sources(self))
    }
}

impl From<io::Error> for Error {
    fn from(e: io::Error) -> Error {
        Error::System(Arc::new(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_of_a_chain_is_told_once() {
        let refused = || io::Error::from(io::ErrorKind::PermissionDenied);
        for (error, whole) in [
            (Error::spawn(refused()), "cannot start a worker process: permission denied"),
            (Error::output(refused()), "cannot write the results: permission denied"),
            (Error::from(refused()), "permission denied"),
            (
                Error::from(GrantError::Peer { host: "a.b".to_owned(), port: 1, source: Arc::new(refused()) }),
                "cannot look up the granted peer a.b, port 1: permission denied",
            ),
        ] {
            assert_eq!(with_sources(&error), whole);
            assert_eq!(with_sources(&error.clone()), whole);
            // As `main` prints it.
            assert_eq!(format!("{error:?}"), whole);
        }
    }

    #[test]
    fn what_a_worker_or_a_task_says_is_no_line_of_ours() {
        let said = || "bad\nwasmpool: all is well\u{1b}[2J\n\n\n".to_owned();
        for error in [
            TaskError::Unusable(said()).into(),
            TaskError::Refused { task: said(), why: said() }.into(),
            Error::Artifact(said()),
            Error::Grant(GrantError::SameName(said())),
            Error::Sandbox(said()),
            Error::SandboxOfHost { host: said(), why: said() },
            Error::Workers(said()),
            WorkerBinaryError::OtherVersion { path: said().into(), version: said() }.into(),
            Error::Input(InputError::Directory(said().into())),
            Error::Journal(JournalError::NoJournal(said().into())),
        ] {
            let shown = error.to_string();
            assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown}");
            assert!(shown.lines().skip(1).all(|line| line.starts_with("  ")), "{shown}");
        }
    }
}
