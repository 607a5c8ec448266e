//! What can go wrong with a run or a pool as a whole. What goes wrong with an item is its [`wasmpool_core::outcome::Failure`].

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use wasmpool_core::item_error::ItemError;
use wasmpool_core::text::{Foreign, Lines};
use wasmpool_sandbox::surroundings::told;

/// Why a run could not start or go on, or what a call of a pool came to.
///
/// Shown, it may have several lines, of which all but the first are indented; what a stranger chose in it, such as a name in a
/// task, is escaped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The task cannot be read, compiled or called like this. Nothing ran.
    #[error("{}", Lines(.0))]
    Task(String),
    /// The artifact does not fit this build or this machine. Compiling the task again helps.
    #[error("the compiled task cannot be loaded: {}", Lines(.0))]
    Artifact(String),
    /// Something that the user grants cannot be opened. Nothing ran.
    #[error("{}", Lines(.0))]
    Grant(String),
    /// This machine cannot give a process the sandbox that was asked for. Nothing ran.
    #[error(
        "the sandbox cannot be had here: {}; `wasmpool doctor` says more, and `--sandbox best-effort` runs with what there is",
        Lines(.0)
    )]
    Sandbox(String),
    /// A worker or compile process cannot be started.
    #[error("cannot start a worker process: {}", told(.0))]
    Spawn(#[source] io::Error),
    /// Workers end before they are ready, again and again.
    #[error(
        "workers end before they are ready to work ({}); is there enough memory, and may this user start processes?",
        Foreign::of(.0)
    )]
    Workers(String),
    /// There is no binary to start worker processes from.
    #[error("no worker binary: {}", Lines(.0))]
    WorkerBinary(String),
    /// A bound argument, or that of `init`, cannot be written as JSON.
    #[error("{0} cannot be written as JSON")]
    Argument(String),
    /// An item failed. All others are not touched by that.
    #[error(transparent)]
    Item(#[from] ItemError),
    /// The pool was closed or terminated: it takes no new calls.
    #[error("the pool is closed and takes no new calls")]
    Closed,
    /// The result is not there yet. Work on it goes on.
    #[error("the result is not there within the time it was waited for")]
    WaitTimeout,
    /// Nobody knows yet whether it succeeds.
    #[error("the result is not there yet: wait for it before asking whether it is successful")]
    Unfinished,
    /// A pool that still takes calls cannot be waited for.
    #[error("the pool is still open: close or terminate it before joining it")]
    StillOpen,
    /// The pool belongs to another process, from which this one was forked off: it has no workers here.
    #[error(
        "the pool was built before this process was forked off, and belongs to its parent: build one after the fork"
    )]
    Forked,
    /// The user or the system asked to stop before anything ran.
    #[error("interrupted")]
    Interrupted,
    /// The input cannot be read.
    #[error("cannot read the input: {}", Lines(.0))]
    Input(String),
    /// The results cannot be written.
    #[error("cannot write the results: {0}")]
    Output(#[source] io::Error),
    /// The run cannot go on with its journal.
    #[error("{}", Lines(.0))]
    Journal(String),
    /// The system refused something that the run needs.
    #[error("{}", told(.0))]
    System(#[from] io::Error),
    /// A thread of ours panicked: something that must hold does not. What is known of the run is not to be relied on.
    #[error("this is a bug in wasmpool, please report it: {}", Lines(.0))]
    Bug(String),
}

/// Does the work of a thread, and returns what it panicked with as an [`Error::Bug`] of whoever is `who`. The panic hook has
/// printed where that was.
pub fn caught<T>(who: &str, work: impl FnOnce() -> T) -> Result<T, Error> {
    // What it was at is not looked at again, but to be ended.
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Error::Bug(format!("{who} broke down: {}", said.unwrap_or("it does not say why")))
    })
}

impl Error {
    /// The same once more, for another that waits for the same thing.
    pub fn again(&self) -> Error {
        let io = |e: &io::Error| match e.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(e.kind(), e.to_string()),
        };
        match self {
            Error::Task(message) => Error::Task(message.clone()),
            Error::Artifact(message) => Error::Artifact(message.clone()),
            Error::Grant(message) => Error::Grant(message.clone()),
            Error::Sandbox(message) => Error::Sandbox(message.clone()),
            Error::Spawn(e) => Error::Spawn(io(e)),
            Error::Workers(message) => Error::Workers(message.clone()),
            Error::WorkerBinary(message) => Error::WorkerBinary(message.clone()),
            Error::Argument(message) => Error::Argument(message.clone()),
            Error::Item(e) => Error::Item(e.clone()),
            Error::Closed => Error::Closed,
            Error::WaitTimeout => Error::WaitTimeout,
            Error::Unfinished => Error::Unfinished,
            Error::StillOpen => Error::StillOpen,
            Error::Forked => Error::Forked,
            Error::Interrupted => Error::Interrupted,
            Error::Journal(message) => Error::Journal(message.clone()),
            Error::Input(message) => Error::Input(message.clone()),
            Error::Output(e) => Error::Output(io(e)),
            Error::System(e) => Error::System(io(e)),
            Error::Bug(message) => Error::Bug(message.clone()),
        }
    }

    pub fn cannot_journal(e: &io::Error) -> Error {
        Error::Journal(format!("cannot write the journal: {e}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_or_a_task_says_is_no_line_of_ours() {
        let said = || "bad\nwasmpool: all is well\u{1b}[2J\n\n\n".to_owned();
        for error in [
            Error::Task(said()),
            Error::Artifact(said()),
            Error::Grant(said()),
            Error::Sandbox(said()),
            Error::Workers(said()),
            Error::WorkerBinary(said()),
            Error::Input(said()),
            Error::Journal(said()),
        ] {
            let shown = error.to_string();
            assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown}");
            assert!(shown.lines().skip(1).all(|line| line.starts_with("  ")), "{shown}");
        }
    }
}
