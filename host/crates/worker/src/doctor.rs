//! The child process with which `doctor` finds out what a worker gets on this machine: it enters the sandbox and
//! reports.

use std::os::fd::OwnedFd;
use std::process::ExitCode;

use nix::sys::signal::SigSet;

use crate::engine;
use wasmpool_core::artifact::{EngineProfile, InstanceNeeds};
use wasmpool_ipc::lane::control::Control;
use wasmpool_ipc::memfd;
use wasmpool_sandbox as sandbox;
use wasmpool_sandbox::doctor::{DoctorMessage, plan};
use wasmpool_sandbox::surroundings;

/// Runs the child on the socket it was given.
pub fn run(socket: OwnedFd) -> ExitCode {
    // Inherited from the command, which waits for these signals. Whoever ends this process by one of them is told so.
    if SigSet::all().thread_unblock().is_err() {
        return ExitCode::FAILURE;
    }
    let control = Control::from_fd(socket);
    let mut surroundings = surroundings::examine(|| memfd::create(c"wasmpool-doctor").map(drop));
    // Address space for the memory of its task is the largest thing that a worker requests.
    if let Err(e) = engine::for_worker(EngineProfile::default(), Some(InstanceNeeds::default()), false, 1) {
        let limit = surroundings::memory().unwrap_or_else(|| "the system gives no more".to_owned());
        surroundings
            .in_the_way
            .push(format!("a worker cannot reserve address space for the memory of its task: {limit} ({e:#})"));
    }
    let Ok(mut sandbox) = sandbox::enter_loading(plan()) else {
        return ExitCode::FAILURE;
    };
    // In best-effort mode nothing is refused.
    let _ = sandbox.enter_serving();
    match control.send(&DoctorMessage { report: sandbox.report().clone(), surroundings }, &[]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
