//! The worker process: loads one task, runs items one at a time, and answers.
//!
//! It is the host's own binary, started with an empty environment and nothing but one end of a socket. It lives as long as
//! the socket does.

mod load;
mod run;
mod serve;
mod state;

use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::OnceLock;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use serde::{Deserialize, Serialize};

use crate::compile::Meta;
use crate::lane::control::Control;
use crate::lane::worker::WorkerLane;
use crate::policy::Call;
use load::LoadError;

/// What a worker needs to know; travels in a memfd, since bound arguments may be of any size.
#[derive(Debug, Serialize, Deserialize)]
pub struct Setup {
    pub meta: Meta,
    pub call: Call,
    /// The machine may move memory to disk.
    pub swap: bool,
}

/// The host's only message, with descriptors of the lane, the artifact and the [`Setup`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Start;

/// The worker's only message: it is ready, or why it will never be.
#[derive(Debug, Serialize, Deserialize)]
pub enum Started {
    Ready,
    /// The task is not one that can be run like this; the user has to change something.
    Unusable(String),
    /// The artifact does not fit this build.
    BadArtifact(String),
}

/// The engine, for the signal handler.
static ENGINE: OnceLock<wasmtime::Engine> = OnceLock::new();

/// The signal that makes a worker look whether its item is out of time.
pub const ABORT: Signal = Signal::SIGUSR1;

extern "C" fn on_abort(_: i32) {
    // Raising the epoch is an atomic addition: safe in a signal handler.
    if let Some(engine) = ENGINE.get() {
        engine.increment_epoch();
    }
}

/// Runs the worker on the socket it was given.
pub fn run(socket: OwnedFd) -> ExitCode {
    match serve(Control::from_fd(socket)) {
        // The host going away is how a worker ends.
        Ok(()) | Err(_) => ExitCode::SUCCESS,
    }
}

fn serve(control: Control) -> io::Result<()> {
    let Some((Start, fds)) = control.receive_descriptors()? else {
        return Ok(());
    };
    let Ok([lane, artifact, setup]) = <[OwnedFd; 3]>::try_from(fds) else {
        return Err(io::Error::other("the host sent other descriptors than a worker needs"));
    };
    let lane = WorkerLane::map(&lane)?;
    let setup: Setup = crate::memfd::read_json(setup)?;
    let task = match load::load(&artifact, &setup) {
        Ok(task) => task,
        Err(LoadError::Task(message)) => return control.send(&Started::Unusable(shorten(message)), &[]),
        Err(LoadError::Artifact(message)) => return control.send(&Started::BadArtifact(shorten(message)), &[]),
    };
    drop(artifact);
    let _ = ENGINE.set(task.engine.clone());
    let action = SigAction::new(SigHandler::Handler(on_abort), SaFlags::SA_RESTART | SaFlags::SA_ONSTACK, SigSet::empty());
    // SAFETY: the handler does one atomic addition.
    unsafe { sigaction(ABORT, &action)? };
    let mut runner = run::Runner::new(task, setup.call.clone(), lane.status());
    // An init that fails fails for every item: better said once, before anything runs.
    if setup.call.init.is_some()
        && let Err(failure) = runner.prepare()
    {
        let message = format!("the task cannot be initialised: {}", failure.message);
        return control.send(&Started::Unusable(shorten(message)), &[]);
    }
    control.send(&Started::Ready, &[])?;
    serve::serve(lane, &control, runner, &setup.call)
}

/// A message that fits the socket.
fn shorten(mut message: String) -> String {
    const MOST: usize = 8 << 10;
    if message.len() > MOST {
        let end = (0..=MOST).rev().find(|&i| message.is_char_boundary(i)).unwrap_or(0);
        message.truncate(end);
        message.push('…');
    }
    message
}
