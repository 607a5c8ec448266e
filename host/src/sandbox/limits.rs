//! What the kernel lets the process use, whatever runs in it.
//!
//! Address space is not limited: wasm reserves far more of it than it ever touches.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use serde::{Deserialize, Serialize};

use super::{Openings, Part};

/// The limits that differ between processes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory that can be written to and is not shared.
    pub data: u64,
    /// Bytes a file may have. Nothing but memory files can be reached; a worker writes none.
    pub file: u64,
    /// Seconds of CPU time, over all threads.
    pub cpu: Option<u64>,
}

/// Bytes of the stack of a process's first thread, which no other limit counts. A user may have allowed any size.
const STACK: rlim_t = 8 << 20;
/// Descriptors a process may have: some ten are in use.
const DESCRIPTORS: rlim_t = 64;
/// What a worker needs beside its guest's memory: the runtime, decoded items, threads' stacks.
const OVERHEAD: u64 = 1 << 30;
/// Seconds between the signal that says which limit was met and the one that says nothing.
const CPU_GRACE: rlim_t = 5;
/// Decoded values take up to forty times the memory of their encoded bytes.
const PER_OUTPUT_BYTE: u64 = 64;

impl Limits {
    /// For a worker whose guest may have so much memory and give so large results.
    pub fn of_worker(memory: u64, max_output: u64) -> Limits {
        let data = memory.saturating_add(max_output.saturating_mul(PER_OUTPUT_BYTE)).saturating_add(OVERHEAD);
        Limits { data, file: 0, cpu: None }
    }

    /// For a compile process: enough for the largest interpreters that were seen, not enough to take a machine down.
    pub fn of_compiler() -> Limits {
        Limits { data: 4 << 30, file: 2 << 30, cpu: Some(600) }
    }
}

/// Descriptors of a process that opens files or sockets.
const MANY_DESCRIPTORS: rlim_t = 1024;

pub fn enter(limits: &Limits, openings: &Openings) -> Vec<(Part, Result<(), Errno>)> {
    // What may be written to may be filled; the disk's quota is not ours, and a scratch directory has its own.
    let file = if openings.writing() { rlim_t::MAX } else { limits.file };
    let opens = openings.files() || !openings.ports.is_empty();
    let descriptors = if opens { MANY_DESCRIPTORS } else { DESCRIPTORS };
    let mut results = vec![
        (Part::CoreLimit, lower(Resource::RLIMIT_CORE, 0)),
        (Part::FileLimit, lower(Resource::RLIMIT_FSIZE, file)),
        (Part::DescriptorLimit, lower(Resource::RLIMIT_NOFILE, descriptors)),
        (Part::LockLimit, lower(Resource::RLIMIT_MEMLOCK, 0).and_then(|()| lower(Resource::RLIMIT_MSGQUEUE, 0))),
        (
            Part::DataLimit,
            lower(Resource::RLIMIT_DATA, limits.data).and_then(|()| lower(Resource::RLIMIT_STACK, STACK)),
        ),
    ];
    if let Some(seconds) = limits.cpu {
        results.push((Part::CpuLimit, lower_to(Resource::RLIMIT_CPU, seconds, seconds + CPU_GRACE)));
    }
    results
}

/// Neither processes nor threads from here on.
pub fn no_more_threads() -> Result<(), Errno> {
    lower(Resource::RLIMIT_NPROC, 0)
}

/// What ended a compile process that did not answer, in words that follow "compiling it". `None` if no limit did.
pub fn why_compiling_ended(status: ExitStatus) -> Option<String> {
    let limits = Limits::of_compiler();
    match Signal::try_from(status.signal()?).ok()? {
        // An allocation that fails aborts. What else would, a stack that overflows, does not: see `fault_plainly`.
        Signal::SIGABRT => Some(format!("needs more than the {} GiB of memory it may have", limits.data >> 30)),
        Signal::SIGXFSZ => Some(format!("gives more than {} GiB", limits.file >> 30)),
        Signal::SIGXCPU => limits.cpu.map(|seconds| format!("took more than {seconds} s of CPU time and was ended")),
        // Not by the host, which would say so.
        Signal::SIGKILL => {
            Some("was ended by the system, most often because this machine has no more memory".to_owned())
        }
        Signal::SIGSEGV | Signal::SIGBUS => Some("overflowed the compiler's stack: it is nested too deeply".to_owned()),
        _ => None,
    }
}

/// Has a stack that overflows end the process by SIGSEGV, which says so. The standard library's handler would abort it, as
/// it does when memory is out.
pub fn fault_plainly() -> Result<(), Errno> {
    for fault in [Signal::SIGSEGV, Signal::SIGBUS] {
        // SAFETY: the default action runs none of our code.
        unsafe { signal(fault, SigHandler::SigDfl)? };
    }
    Ok(())
}

/// Lowers both limits, so that they cannot be raised again; one that is lower already stays.
fn lower(resource: Resource, to: rlim_t) -> Result<(), Errno> {
    lower_to(resource, to, to)
}

/// The same, with a soft limit below the hard one.
fn lower_to(resource: Resource, soft: rlim_t, hard: rlim_t) -> Result<(), Errno> {
    let (_, now) = getrlimit(resource)?;
    let hard = hard.min(now);
    setrlimit(resource, soft.min(hard), hard)
}
