//! Kernel limits on the resources that the process may use, whatever runs in it.
//!
//! Wasm reserves far more address space than it ever touches, so the limit on address space is counted from what a
//! process has reserved before it reads anything from a stranger. It bounds what the limit on memory does not count:
//! memory that is shared or grows downwards, and page tables, which take 1/512 of the address space that is touched.

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use serde::{Deserialize, Serialize};

use super::SandboxOpenings;
use crate::surroundings::ChildEnd;
use wasmpool_core::layer::LayerPart;
use wasmpool_core::share::ObjectSpec;
use wasmpool_core::text::bytes_said;

/// The limits that differ between processes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ProcessLimits {
    /// Bytes of memory that is writable and not shared.
    pub data: u64,
    /// Maximum size of a file in bytes. Only memory files can be reached, and a worker writes none.
    pub file: u64,
    /// Bytes of address space in addition to what the process has when it enters the sandbox.
    pub room: u64,
    /// Seconds of CPU time, over all threads.
    pub cpu: Option<u64>,
    /// Descriptors, where no grant needs more.
    pub descriptors: u64,
}

/// Size in bytes of the stack of a process's first thread, which no other limit counts. The user may have allowed any
/// size.
const STACK: rlim_t = 8 << 20;
/// Maximum number of descriptors of a process; some ten are in use.
const DESCRIPTORS: rlim_t = 64;
/// Bytes that a worker needs in addition to its guest's memory: the runtime, decoded items, stacks of threads.
const OVERHEAD: u64 = 1 << 30;
/// Bytes that the manager process needs for itself.
const MANAGER: u64 = 64 << 20;
/// Bytes of memory per entry of an object, and per byte in it: an allocator rounds up, a table grows by doubling, and a
/// message that is on its way is there twice.
const PER_ENTRY: u64 = 256;
const COPIES: u64 = 3;
/// Bytes for a participant besides its longest request and answer.
const PER_PARTICIPANT: u64 = 4 << 20;
/// Maximum number of participants of the process that keeps shared objects, where the system gives descriptors for them: one
/// for each. Which of them there are at a time is not known when it starts.
const MOST_PARTICIPANTS: u64 = 1 << 14;
/// Bytes that it needs for a participant that was not foreseen and keeps little waiting.
const PER_OTHER_PARTICIPANT: u64 = 64 << 10;
/// Seconds between the signal that tells which limit was reached and the one that does not.
const CPU_GRACE: rlim_t = 5;
/// Bytes of address space for an artifact, and for what allocators and threads reserve and do not use.
const UNUSED: u64 = 8 << 30;
/// Bytes of address space of a process that creates the memories of a guest when it needs them: 4 GiB and more for
/// each.
const ON_DEMAND: u64 = 1 << 40;
/// Bytes that an allocator reserves for a thread, plus the size of its stack.
const PER_THREAD: u64 = 132 << 20;
/// Bytes of memory per byte of page tables that is assumed for an honest process: an eighth of what it is where all
/// memory lies together.
const USED_BY_TABLES: u64 = 512 / 8;
/// Bytes that the kernel keeps for an honest process in addition to its memory; some hundred KiB were seen.
const KERNELS: u64 = 64 << 20;
/// Bytes of memory allowed per byte of output: decoded values take up to forty times the memory of their encoded bytes.
pub const PER_OUTPUT_BYTE: u64 = 64;

impl ProcessLimits {
    /// Returns the limits of a worker whose guest may use this much memory and return results of this size.
    pub fn of_worker(memory: u64, max_output: u64) -> ProcessLimits {
        let data = memory.saturating_add(max_output.saturating_mul(PER_OUTPUT_BYTE)).saturating_add(OVERHEAD);
        ProcessLimits { data, file: 0, room: data.saturating_add(UNUSED), cpu: None, descriptors: DESCRIPTORS }
    }

    /// Returns the limits of a compile process with this many threads: enough for the largest interpreters that were
    /// seen, and not enough to bring a machine down.
    pub fn of_compiler(threads: usize) -> ProcessLimits {
        let data = 4 << 30;
        let room = data + UNUSED + PER_THREAD.saturating_mul(threads as u64);
        ProcessLimits { data, file: 2 << 30, room, cpu: Some(600), descriptors: DESCRIPTORS }
    }

    /// Returns the limits of a process that keeps these objects for so many participants, each of which has this much
    /// shared memory with it.
    pub fn of_manager<'a>(
        objects: impl IntoIterator<Item = &'a ObjectSpec>,
        participants: u64,
        channel: u64,
    ) -> ProcessLimits {
        let (mut all, mut largest) = (MANAGER, 0);
        for ObjectSpec { quota, .. } in objects.into_iter().filter(|spec| !spec.form.is_mapped()) {
            let entries = quota.entries.saturating_mul(PER_ENTRY);
            all = all.saturating_add(quota.bytes.saturating_mul(COPIES)).saturating_add(entries);
            largest = quota.longest_request().max(largest);
        }
        // A request that comes in pieces is gathered, one may wait, and an answer for which there is no room yet is kept.
        let each = largest.saturating_mul(3).saturating_add(PER_PARTICIPANT);
        let most = participants.max(MOST_PARTICIPANTS);
        let data = all.saturating_add(participants.saturating_mul(each)).saturating_add(most * PER_OTHER_PARTICIPANT);
        let room = data.saturating_add(UNUSED).saturating_add(most.saturating_mul(channel));
        ProcessLimits { data, file: 0, room, cpu: None, descriptors: most.saturating_add(DESCRIPTORS) }
    }

    /// Returns how many participants the process can have that keeps shared objects and was started for this many, with the
    /// descriptors that the system gives it.
    pub fn most_participants(participants: u64) -> u64 {
        let given = getrlimit(Resource::RLIMIT_NOFILE).map_or(rlim_t::MAX, |(_, hard)| hard);
        given.saturating_sub(DESCRIPTORS).min(participants.max(MOST_PARTICIPANTS))
    }

    /// Returns the bytes that an honest process within these limits takes at most, including what the kernel keeps for it
    /// and no limit of a process counts: page tables, descriptors, sockets, and names that were looked up.
    pub fn with_the_kernels(&self) -> u64 {
        let counted = self.data.saturating_add(self.file).saturating_add(STACK);
        counted.saturating_add(counted / USED_BY_TABLES).saturating_add(KERNELS)
    }

    /// Returns the limits of a process that creates a guest's memories when it needs them, instead of reserving them
    /// beforehand.
    pub fn with_memories_on_demand(self) -> ProcessLimits {
        ProcessLimits { room: self.room.saturating_add(ON_DEMAND), ..self }
    }
}

/// Maximum number of descriptors of a process that opens files or sockets.
const MANY_DESCRIPTORS: rlim_t = 1024;

pub fn enter(limits: &ProcessLimits, openings: &SandboxOpenings) -> Vec<(LayerPart, Result<(), Errno>)> {
    // Where files may be written, they may fill the disk: quotas of the disk are not our concern, and a scratch
    // directory has its own.
    let file = if openings.writing() { rlim_t::MAX } else { limits.file };
    let opens = openings.files() || !openings.ports.is_empty();
    let descriptors = if opens { MANY_DESCRIPTORS } else { limits.descriptors };
    let mut results = vec![
        (LayerPart::CoreLimit, lower(Resource::RLIMIT_CORE, 0)),
        (LayerPart::FileLimit, lower(Resource::RLIMIT_FSIZE, file)),
        (LayerPart::DescriptorLimit, lower(Resource::RLIMIT_NOFILE, descriptors)),
        (LayerPart::LockLimit, lower(Resource::RLIMIT_MEMLOCK, 0).and_then(|()| lower(Resource::RLIMIT_MSGQUEUE, 0))),
        (
            LayerPart::DataLimit,
            lower(Resource::RLIMIT_DATA, limits.data).and_then(|()| lower(Resource::RLIMIT_STACK, STACK)),
        ),
        (
            LayerPart::AddressLimit,
            reserved().and_then(|now| lower(Resource::RLIMIT_AS, now.saturating_add(limits.room))),
        ),
    ];
    if let Some(seconds) = limits.cpu {
        results.push((LayerPart::CpuLimit, lower_to(Resource::RLIMIT_CPU, seconds, seconds + CPU_GRACE)));
    }
    results
}

/// Returns the number of bytes of address space that this process has.
fn reserved() -> Result<u64, Errno> {
    let text = std::fs::read_to_string("/proc/self/statm").map_err(|_| Errno::ENOENT)?;
    let pages: u64 = text.split(' ').next().and_then(|word| word.parse().ok()).ok_or(Errno::EINVAL)?;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)?.unwrap_or(4096);
    Ok(pages.saturating_mul(page.unsigned_abs()))
}

/// Forbids new processes and threads.
pub fn no_more_threads() -> Result<(), Errno> {
    lower(Resource::RLIMIT_NPROC, 0)
}

/// Returns why a compile process ended without an answer, in words that follow "compiling it". `None` if no limit was
/// the cause.
pub fn why_compiling_ended(ended: ChildEnd) -> Option<String> {
    let limits = ProcessLimits::of_compiler(0);
    match Signal::try_from(ended.signal()?).ok()? {
        // An allocation that fails aborts the process. A stack overflow would do so as well, but does not: see
        // `fault_plainly`.
        Signal::SIGABRT => Some(match crate::surroundings::memory() {
            Some(limit) => format!("needs more memory than it may have: {limit}"),
            None => format!("needs more than the {} of memory it may have", bytes_said(limits.data)),
        }),
        Signal::SIGXFSZ => Some(match crate::surroundings::files_below(limits.file) {
            Some(limit) => format!("gives more than fits: {limit}"),
            None => format!("gives more than {}", bytes_said(limits.file)),
        }),
        Signal::SIGXCPU => limits.cpu.map(|seconds| format!("took more than {seconds} s of CPU time and was ended")),
        // The signal did not come from the host, which would say so.
        Signal::SIGKILL => {
            Some("was ended by the system, most often because this machine has no more memory".to_owned())
        }
        Signal::SIGSEGV | Signal::SIGBUS => Some("overflowed the compiler's stack: it is nested too deeply".to_owned()),
        _ => None,
    }
}

/// Makes a stack overflow end the process by SIGSEGV, so that the cause is visible. The standard library's handler
/// would abort it, as it does when memory is exhausted.
pub fn fault_plainly() -> Result<(), Errno> {
    for fault in [Signal::SIGSEGV, Signal::SIGBUS] {
        // SAFETY: the default action runs none of our code.
        unsafe { signal(fault, SigHandler::SigDfl)? };
    }
    Ok(())
}

/// Lowers the soft and the hard limit, so that they cannot be raised again. A limit that is already lower stays.
fn lower(resource: Resource, to: rlim_t) -> Result<(), Errno> {
    lower_to(resource, to, to)
}

/// Lowers both limits, with a soft limit that may be below the hard one.
fn lower_to(resource: Resource, soft: rlim_t, hard: rlim_t) -> Result<(), Errno> {
    let (_, now) = getrlimit(resource)?;
    let hard = hard.min(now);
    setrlimit(resource, soft.min(hard), hard)
}
