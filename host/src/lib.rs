//! A pool of sandboxed worker processes for untrusted WebAssembly.
//!
//! This is the library behind the `wasmpool` command; see the README for what it does and ARCHITECTURE.md for how.

pub mod cli;
mod compile;
mod engine;
mod error;
mod exports;
mod input;
mod lane;
mod memfd;
mod outcome;
mod output;
mod policy;
mod scheduler;
mod spawn;
mod supervisor;
mod value;
mod worker;

use std::os::fd::{AsFd, OwnedFd};

/// The version of wasmtime that artifacts belong to.
const WASMTIME: &str = "48.0.8";

/// Serves as a worker or compile process, if this process was started as one, and never returns then.
///
/// A program whose own binary starts workers calls this first thing in `main`, as Python programs call
/// `freeze_support`; in any other process it does nothing.
pub fn worker_entry() {
    let mut args = std::env::args_os();
    if args.next().is_none_or(|mark| mark != spawn::MARK) {
        return;
    }
    let code = match (args.next().and_then(|a| a.into_string().ok()).as_deref().and_then(spawn::Role::from_name), own_socket()) {
        (Some(spawn::Role::Worker), Ok(socket)) => worker::run(socket),
        (Some(spawn::Role::Compile), Ok(socket)) => compile::run(socket),
        _ => std::process::ExitCode::FAILURE,
    };
    std::process::exit(if code == std::process::ExitCode::SUCCESS { 0 } else { 1 });
}

/// Takes the socket that is this process's standard input, and closes every other descriptor that somebody left open.
fn own_socket() -> std::io::Result<OwnedFd> {
    // If the host dies, so does this process. Should it have died before this call, the socket says so.
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    // SAFETY: closes numbers that nothing in this process owns yet.
    if unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
    let null = std::fs::File::open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    Ok(socket)
}
