//! Obstacles in the surroundings of a process: limits of the shell, a system call that is refused, memory that must not
//! be executed. Errors of the system name the limit that was reached; this module adds where it comes from.

use std::error::Error;
use std::fmt;
use std::io;
use std::num::NonZero;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, LazyLock};

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};
use wasmpool_core::chain::with_sources_said;
use wasmpool_core::text::bytes_said;

use crate::cgroups;
pub use crate::cgroups::{memberships, memory_of_all};

/// A limit that a shell sets: what it limits, and the command that shows it.
struct ShellLimit {
    resource: Resource,
    what: &'static str,
    command: &'static str,
    /// True if it counts bytes.
    bytes: bool,
}

const FILES: ShellLimit = ShellLimit {
    resource: Resource::RLIMIT_FSIZE,
    what: "a file, also one in memory that is handed to a worker, may have",
    command: "ulimit -f",
    bytes: true,
};
const DESCRIPTORS: ShellLimit = ShellLimit {
    resource: Resource::RLIMIT_NOFILE,
    what: "a process may have this many descriptors:",
    command: "ulimit -n",
    bytes: false,
};
const PROCESSES: ShellLimit = ShellLimit {
    resource: Resource::RLIMIT_NPROC,
    what: "a user may have this many processes and threads:",
    command: "ulimit -u",
    bytes: false,
};
const ADDRESSES: ShellLimit = ShellLimit {
    resource: Resource::RLIMIT_AS,
    what: "the address space of a process is limited to",
    command: "ulimit -v",
    bytes: true,
};
const DATA: ShellLimit = ShellLimit {
    resource: Resource::RLIMIT_DATA,
    what: "the memory of a process is limited to",
    command: "ulimit -d",
    bytes: true,
};
const STACK: ShellLimit = ShellLimit {
    resource: Resource::RLIMIT_STACK,
    what: "the stack of a process is limited to",
    command: "ulimit -s",
    bytes: true,
};

impl ShellLimit {
    /// Returns the limit's number, if there is one. A process can raise it up to the hard limit by itself: all of wasmpool's do
    /// so for the stack, and the command also for descriptors.
    fn value(&self) -> Option<u64> {
        let (soft, hard) = getrlimit(self.resource).ok()?;
        let limit = if self.resource == Resource::RLIMIT_STACK { hard } else { soft };
        (limit != RLIM_INFINITY).then_some(limit)
    }

    fn describe(&self) -> Option<String> {
        let value = self.value()?;
        let amount = if self.bytes { bytes_said(value) } else { value.to_string() };
        Some(format!("{} {amount} here ({})", self.what, self.command))
    }
}

/// Returns an error of the system as text, with the limit that may have caused it.
pub fn error_with_limit(error: &io::Error) -> String {
    match behind(error) {
        Some(limit) => format!("{error}; {limit}"),
        None => error.to_string(),
    }
}

/// Returns an error in words with all that is behind it, each of which says its own part alone. Errors of the system
/// are told with the limit that may have caused them.
pub fn with_sources(error: &(dyn Error + 'static)) -> String {
    with_sources_said(error, |error| {
        let shared = error.downcast_ref::<Arc<io::Error>>().map(Arc::as_ref);
        shared.or(error.downcast_ref::<io::Error>()).map_or_else(|| error.to_string(), error_with_limit)
    })
}

fn behind(error: &io::Error) -> Option<String> {
    match Errno::from_raw(error.raw_os_error()?) {
        Errno::EMFILE => DESCRIPTORS.describe(),
        Errno::EAGAIN => Some(no_process()),
        Errno::ENOMEM => memory(),
        Errno::EFBIG => FILES.describe(),
        _ => None,
    }
}

/// Returns in words what may have refused a process or a thread.
fn no_process() -> String {
    let of_group = cgroups::processes();
    if let Some(full) = of_group.as_ref().filter(|group| group.is_full()) {
        return full.describe();
    }
    // There may be no room for the stack of a thread.
    if let Some(memory) = memory() {
        return memory;
    }
    // A cgroup that is not full any more may have been full for a moment. The limit of a container's own cgroup may not be
    // visible inside.
    let of_group =
        of_group.map_or_else(|| "a container may allow fewer (pids.max)".to_owned(), |group| group.describe());
    // The shell's limit does not hold for root.
    match PROCESSES.describe().filter(|_| !geteuid().is_root()) {
        Some(limit) => format!("{limit}, and {of_group}"),
        None => of_group,
    }
}

/// Returns the shell's limits on memory.
pub fn memory() -> Option<String> {
    let both: Vec<String> = [ADDRESSES, DATA].iter().filter_map(ShellLimit::describe).collect();
    (!both.is_empty()).then(|| both.join(", and "))
}

/// Returns the shell's limit on the size of files, if it is below this many bytes.
pub fn files_below(bytes: u64) -> Option<String> {
    FILES.value().filter(|limit| *limit < bytes).and_then(|_| FILES.describe())
}

/// Manner in which a child ended. It is not known if somebody else has collected the exit status: a program that waits
/// for all of its children, or the kernel if SIGCHLD is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildEnd(Option<ExitStatus>);

impl ChildEnd {
    pub fn known(status: ExitStatus) -> ChildEnd {
        ChildEnd(Some(status))
    }

    pub fn unknown() -> ChildEnd {
        ChildEnd(None)
    }

    pub fn signal(self) -> Option<i32> {
        self.0?.signal()
    }

    pub fn code(self) -> Option<i32> {
        self.0?.code()
    }

    /// Returns true if it ended by a signal that a process does not get for anything it does itself.
    pub fn sent_by_others(self) -> bool {
        let signal = self.signal().and_then(|signal| Signal::try_from(signal).ok());
        matches!(signal, Some(Signal::SIGKILL | Signal::SIGTERM | Signal::SIGINT | Signal::SIGHUP | Signal::SIGQUIT))
    }
}

impl fmt::Display for ChildEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(status) => f.write_str(&told_end(status)),
            None => {
                f.write_str("how is not known: SIGCHLD is ignored, or something else waits for all child processes")
            }
        }
    }
}

/// Returns a text about how a process ended, with what may have ended it.
fn told_end(status: ExitStatus) -> String {
    match behind_end(status) {
        Some(why) => format!("{status}; {why}"),
        None => status.to_string(),
    }
}

fn behind_end(status: ExitStatus) -> Option<String> {
    match Signal::try_from(status.signal()?).ok()? {
        Signal::SIGABRT => memory(),
        Signal::SIGSEGV | Signal::SIGBUS => {
            STACK.value().filter(|stack| *stack < USUAL_STACK).and_then(|_| STACK.describe())
        }
        Signal::SIGXFSZ => FILES.describe(),
        Signal::SIGSYS => Some("it made a system call that is not allowed".to_owned()),
        _ => None,
    }
}

/// The reason why no wasm runs in a process like this one.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RunObstacle {
    /// Memory cannot become executable.
    #[error(
        "memory cannot be made executable here ({}), and WebAssembly is run as machine code: a service of systemd needs \
         MemoryDenyWriteExecute=no, and nothing may have set PR_SET_MDWE",
        .0.desc()
    )]
    NoExecutableMemory(Errno),
    /// The stack is limited to less than wasm needs.
    #[error("{limit}: running WebAssembly takes {}", bytes_said(LEAST_STACK))]
    SmallStack {
        /// The limit in words.
        limit: String,
    },
}

/// Checks that memory can become executable, which machine code has to be.
///
/// # Errors
///
/// [`RunObstacle::NoExecutableMemory`] says how to have it allowed.
pub fn executable_memory() -> Result<(), RunObstacle> {
    const LENGTH: usize = 4096;
    let Some(length) = NonZero::new(LENGTH) else {
        return Ok(());
    };
    let (data, private) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE);
    let code = ProtFlags::PROT_READ | ProtFlags::PROT_EXEC;
    // SAFETY: a page of our own, which nobody else knows.
    let made = unsafe {
        mmap_anonymous(None, length, data, private).and_then(|page| {
            let made = mprotect(page, LENGTH, code);
            munmap(page, LENGTH)?;
            made
        })
    };
    made.map_err(RunObstacle::NoExecutableMemory)
}

/// Usual size in bytes of a process's stack if nobody limits it further.
const USUAL_STACK: u64 = 8 << 20;
/// Size in bytes of the stack that a process needs to run wasm, which itself may use half a megabyte.
const LEAST_STACK: u64 = 1 << 20;

/// Checks that wasm can run in a process like this one.
///
/// # Errors
///
/// [`RunObstacle::SmallStack`].
pub fn enough_to_run() -> Result<(), RunObstacle> {
    match STACK.value() {
        Some(stack) if stack < LEAST_STACK => {
            Err(RunObstacle::SmallStack { limit: STACK.describe().unwrap_or_default() })
        }
        _ => Ok(()),
    }
}

/// The report of `doctor` on the surroundings.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Surroundings {
    /// Obstacles because of which nothing runs.
    pub in_the_way: Vec<String>,
    /// Obstacles because of which some tasks do not run, or not as many workers.
    pub narrow: Vec<String>,
}

/// Number of descriptors that a run with one worker has open, besides its input and output.
const FEWEST_DESCRIPTORS: usize = 12;

/// Tries, in the host of `doctor`, to create what a run needs: the files handed to a worker, descriptors and a thread.
pub fn try_out(handed_over: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let descriptors = || -> io::Result<Vec<OwnedFd>> {
        (0..FEWEST_DESCRIPTORS).map(|_| io::stderr().as_fd().try_clone_to_owned()).collect()
    };
    handed_over()
        .and_then(|()| descriptors().map(drop))
        .and_then(|()| std::thread::Builder::new().spawn(|| ()).map(|thread| drop(thread.join())))
}

/// Number of processes and threads that the workers of a large machine take.
const ENOUGH_PROCESSES: u64 = 256;
/// Values below which something usual does not work: a task of some tens of megabytes, the workers of a large machine,
/// or the memory that an instance may have.
const ENOUGH: [(&ShellLimit, u64); 5] =
    [(&FILES, 2 << 30), (&DESCRIPTORS, 256), (&PROCESSES, ENOUGH_PROCESSES), (&ADDRESSES, 16 << 30), (&DATA, 2 << 30)];

/// Returns the number of processors that this process may use, as it was when it was first asked for: to ask takes a
/// dozen system calls where a cgroup bounds the processors.
pub fn processors() -> usize {
    static PROCESSORS: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(1, NonZero::get));
    *PROCESSORS
}

/// Returns how many of these workers there are processors for. The processors are not asked for where there is one worker
/// at most, whose start that would delay.
pub fn at_once(workers: usize) -> usize {
    if workers > 1 { workers.min(processors()) } else { workers }
}

/// Returns a number of processors that this process can have at most, whatever a cgroup leaves it of them. Takes one
/// system call.
pub fn most_processors() -> usize {
    let own = nix::unistd::Pid::from_raw(0);
    let usable = sched_getaffinity(own).map(|set| (0..CpuSet::count()).filter(|&n| set.is_set(n) == Ok(true)).count());
    // Machines with more processors than fit a set have no number here.
    usable.unwrap_or_else(|_| processors())
}

/// Returns true if this machine may move memory to disk.
///
/// Wasmtime resets an instance's memory in place if the kernel can tell which pages were written (`PAGEMAP_SCAN`). It
/// overlooks written pages that were swapped out (wasmtime pull request 14357), and the next item would see them. So
/// with swap, memory is given back and faulted in again instead, which takes some 10 µs per item.
pub fn has_swap() -> bool {
    // The first line is a heading. If the file cannot be read, swap is assumed.
    std::fs::read_to_string("/proc/swaps").map_or(true, |swaps| swaps.lines().count() > 1)
}

/// Examines this process, which has entered no sandbox.
pub fn examine(hand_over: impl FnOnce() -> io::Result<()>) -> Surroundings {
    let needed =
        [executable_memory(), enough_to_run()].into_iter().filter_map(|needed| Some(needed.err()?.to_string()));
    let in_the_way = needed.chain(hand_over().err().map(|e| error_with_limit(&e))).collect();
    let narrow = ENOUGH.iter().filter(|(limit, enough)| {
        // Root may have any number of processes.
        let binds = limit.resource != Resource::RLIMIT_NPROC || !geteuid().is_root();
        binds && limit.value().is_some_and(|value| value < *enough)
    });
    let of_group = cgroups::processes().filter(|group| group.most < ENOUGH_PROCESSES).map(|group| group.describe());
    Surroundings { in_the_way, narrow: narrow.filter_map(|(limit, _)| limit.describe()).chain(of_group).collect() }
}
