//! The worker of `wasmpool call`, started before the command line is read: reading it, finding the task and preparing
//! the run take as long as the worker takes to be there, and happen meanwhile.

use std::env;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use wasmpool_core::policy::SandboxMode;
use wasmpool_run::cgroup::{HostPlacement, Room, Workers};
use wasmpool_run::grants::Grants;
use wasmpool_run::spawn::{ChildProgram, ChildRole};
use wasmpool_run::supervisor::SpareWorkers;

use super::signals;

/// Beginnings of options with which the worker is another one, or none is needed. Nothing rests on this list: a worker that
/// does not fit is replaced.
const OTHERWISE: [&str; 6] = ["-h", "--help", "--sandbox", "--policy", "--allow-net", "--scratch"];

/// Starts the worker, if the command line begins as that of a call. Whether the rest of it is right shows later; then
/// the worker ends with the command.
pub fn start() -> Option<SpareWorkers> {
    let mut words = env::args_os().skip(1);
    let is_call = words.next().is_some_and(|word| word == "call");
    // A call names its task at least.
    let mut rest = words.peekable();
    rest.peek()?;
    if !is_call || rest.any(|word| is_otherwise(&word)) {
        return None;
    }
    let role = ChildRole::of_worker(SandboxMode::default(), &Grants::default());
    // How much memory it may take is known when the command line is.
    let room = Room::new(HostPlacement::Moves, Workers { count: 1, each: 0 });
    Some(signals::kept_from_children(|| SpareWorkers::started(ChildProgram::Own, role, 1, room)))
}

fn is_otherwise(word: &OsStr) -> bool {
    // A task on standard input may be long in coming, and Ctrl-C ends the command before it is there.
    word == "-" || OTHERWISE.iter().any(|option| word.as_bytes().starts_with(option.as_bytes()))
}
