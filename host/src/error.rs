//! What can go wrong with a run as a whole. What goes wrong with an item is its [`crate::outcome::Failure`].

use std::io;

/// Why a run could not start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The task cannot be read, compiled or called like this. Nothing ran.
    #[error("{0}")]
    Task(String),
    /// The artifact does not fit this build or this machine. Compiling the task again helps.
    #[error("the compiled task cannot be loaded: {0}")]
    Artifact(String),
    /// Something that the user grants cannot be opened. Nothing ran.
    #[error("{0}")]
    Grant(String),
    /// This machine cannot give a process the sandbox that was asked for. Nothing ran.
    #[error(
        "the sandbox cannot be had here: {0}; `wasmpool doctor` says more, and `--sandbox best-effort` runs with what there is"
    )]
    Sandbox(String),
    /// A worker or compile process cannot be started.
    #[error("cannot start a worker process: {0}")]
    Spawn(#[source] io::Error),
    /// Workers end before they are ready, again and again.
    #[error(
        "workers end before they are ready to work ({0}); is there enough memory, and may this user start processes?"
    )]
    Workers(String),
    /// The user or the system asked to stop before anything ran.
    #[error("interrupted")]
    Interrupted,
    /// The input cannot be read.
    #[error("cannot read the input: {0}")]
    Input(String),
    /// The results cannot be written.
    #[error("cannot write the results: {0}")]
    Output(#[source] io::Error),
    /// The system refused something that the run needs.
    #[error("{0}")]
    System(#[from] io::Error),
}
