//! What the surroundings of a process keep it from: limits of the shell, a system call that is refused, memory that may not
//! be executed. Errors of the system name the limit that was met; here are the words that name where it comes from.

use std::fmt;
use std::io;
use std::num::NonZero;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};
use wasmpool_core::text::bytes_said;

/// A limit that a shell sets, as what it bounds and how it is asked for.
struct Limit {
    resource: Resource,
    what: &'static str,
    command: &'static str,
    /// Whether it counts bytes.
    bytes: bool,
}

const FILES: Limit = Limit {
    resource: Resource::RLIMIT_FSIZE,
    what: "a file, also one in memory that is handed to a worker, may have",
    command: "ulimit -f",
    bytes: true,
};
const DESCRIPTORS: Limit = Limit {
    resource: Resource::RLIMIT_NOFILE,
    what: "a process may have this many descriptors:",
    command: "ulimit -n",
    bytes: false,
};
const PROCESSES: Limit = Limit {
    resource: Resource::RLIMIT_NPROC,
    what: "a user may have this many processes and threads:",
    command: "ulimit -u",
    bytes: false,
};
const ADDRESSES: Limit = Limit {
    resource: Resource::RLIMIT_AS,
    what: "the address space of a process is limited to",
    command: "ulimit -v",
    bytes: true,
};
const DATA: Limit = Limit {
    resource: Resource::RLIMIT_DATA,
    what: "the memory of a process is limited to",
    command: "ulimit -d",
    bytes: true,
};
const STACK: Limit = Limit {
    resource: Resource::RLIMIT_STACK,
    what: "the stack of a process is limited to",
    command: "ulimit -s",
    bytes: true,
};

impl Limit {
    /// Its number, where there is one. A process can raise it up to the hard limit by itself, and wasmpool's do so for the
    /// stack only.
    fn value(&self) -> Option<u64> {
        let (soft, hard) = getrlimit(self.resource).ok()?;
        let limit = if self.resource == Resource::RLIMIT_STACK { hard } else { soft };
        (limit != RLIM_INFINITY).then_some(limit)
    }

    fn said(&self) -> Option<String> {
        let value = self.value()?;
        let amount = if self.bytes { bytes_said(value) } else { value.to_string() };
        Some(format!("{} {amount} here ({})", self.what, self.command))
    }
}

/// An error of the system, with the limit that it may come from.
pub fn told(error: &io::Error) -> String {
    match behind(error) {
        Some(limit) => format!("{error}; {limit}"),
        None => error.to_string(),
    }
}

fn behind(error: &io::Error) -> Option<String> {
    match Errno::from_raw(error.raw_os_error()?) {
        Errno::EMFILE => DESCRIPTORS.said(),
        // A thread has no room for its stack, or is one too many.
        Errno::EAGAIN => memory().or_else(|| {
            let limit = PROCESSES.said().filter(|_| !geteuid().is_root());
            let also = "a container may allow fewer (pids.max)";
            Some(limit.map_or_else(|| also.to_owned(), |limit| format!("{limit}, and {also}")))
        }),
        Errno::ENOMEM => memory(),
        Errno::EFBIG => FILES.said(),
        _ => None,
    }
}

/// The limits of the shell that memory has.
pub fn memory() -> Option<String> {
    let both: Vec<String> = [ADDRESSES, DATA].iter().filter_map(Limit::said).collect();
    (!both.is_empty()).then(|| both.join(", and "))
}

/// The limit of the shell on files, where it is below this.
pub fn files_below(bytes: u64) -> Option<String> {
    FILES.value().filter(|limit| *limit < bytes).and_then(|_| FILES.said())
}

/// How a child ended. That is not known where somebody else has taken note of its end: a program that waits for all of its
/// children, or the kernel where SIGCHLD is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended(Option<ExitStatus>);

impl Ended {
    pub fn known(status: ExitStatus) -> Ended {
        Ended(Some(status))
    }

    pub fn unknown() -> Ended {
        Ended(None)
    }

    pub fn signal(self) -> Option<i32> {
        self.0?.signal()
    }

    pub fn code(self) -> Option<i32> {
        self.0?.code()
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(status) => f.write_str(&told_end(status)),
            None => {
                f.write_str("how is not known: SIGCHLD is ignored, or something else waits for all child processes")
            }
        }
    }
}

/// How a process ended, with what may have ended it.
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
            STACK.value().filter(|stack| *stack < USUAL_STACK).and_then(|_| STACK.said())
        }
        Signal::SIGXFSZ => FILES.said(),
        Signal::SIGSYS => Some("it made a system call that is not allowed".to_owned()),
        _ => None,
    }
}

/// Whether memory can become executable, which machine code has to be.
///
/// # Errors
///
/// What forbids it, and how to have it allowed.
pub fn executable_memory() -> Result<(), String> {
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
    made.map_err(|e| {
        format!(
            "memory cannot be made executable here ({}), and WebAssembly is run as machine code: a service of systemd needs \
             MemoryDenyWriteExecute=no, and nothing may have set PR_SET_MDWE",
            e.desc()
        )
    })
}

/// Stack that a process has, where nobody limits it further.
const USUAL_STACK: u64 = 8 << 20;
/// Stack that a process needs to run wasm, which itself may use half a megabyte.
const LEAST_STACK: u64 = 1 << 20;

/// Whether wasm can run in a process like this one.
///
/// # Errors
///
/// What is in the way.
pub fn enough_to_run() -> Result<(), String> {
    match STACK.value() {
        Some(stack) if stack < LEAST_STACK => {
            Err(format!("{}: running WebAssembly takes {}", STACK.said().unwrap_or_default(), bytes_said(LEAST_STACK)))
        }
        _ => Ok(()),
    }
}

/// What `doctor` says of the surroundings.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Surroundings {
    /// Nothing runs like this.
    pub in_the_way: Vec<String>,
    /// Some tasks do not run like this, or not as many workers.
    pub narrow: Vec<String>,
}

/// Descriptors that a run with one worker has open, besides its input and output.
const FEWEST_DESCRIPTORS: usize = 12;

/// Has the host, as `doctor`, make what a run takes: what it hands to a worker, descriptors and a thread.
///
/// # Errors
///
/// What cannot be had.
pub fn try_out(handed_over: impl FnOnce() -> io::Result<()>) -> Result<(), String> {
    let descriptors = || -> io::Result<Vec<OwnedFd>> {
        (0..FEWEST_DESCRIPTORS).map(|_| io::stderr().as_fd().try_clone_to_owned()).collect()
    };
    handed_over()
        .and_then(|()| descriptors().map(drop))
        .and_then(|()| std::thread::Builder::new().spawn(|| ()).map(|thread| drop(thread.join())))
        .map_err(|e| told(&e))
}

/// Below these, something that is usual does not work: a task of some tens of megabytes, the workers of a large machine, or
/// the memory that `--memory` allows.
const ENOUGH: [(&Limit, u64); 5] =
    [(&FILES, 2 << 30), (&DESCRIPTORS, 256), (&PROCESSES, 256), (&ADDRESSES, 16 << 30), (&DATA, 2 << 30)];

/// Processors that this process may use.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// Whether this machine may move memory to disk.
///
/// Wasmtime resets an instance's memory in place where the kernel can tell which pages were written (`PAGEMAP_SCAN`). It
/// overlooks written pages that were swapped out (wasmtime pull request 14357), which the next item would then see: with
/// swap, memory is given back and faulted in again instead, at some 10 µs an item.
pub fn has_swap() -> bool {
    // The first line is a heading. A file that cannot be read is taken for a yes.
    std::fs::read_to_string("/proc/swaps").map_or(true, |swaps| swaps.lines().count() > 1)
}

/// Looks at this process, which has entered no sandbox.
pub fn look(hand_over: impl FnOnce() -> io::Result<()>) -> Surroundings {
    let handed_over = hand_over().map_err(|e| told(&e));
    let needed = [executable_memory(), enough_to_run(), handed_over];
    let in_the_way = needed.into_iter().filter_map(Result::err).collect();
    let narrow = ENOUGH.iter().filter(|(limit, enough)| {
        // Root may have any number of processes.
        let binds = limit.resource != Resource::RLIMIT_NPROC || !geteuid().is_root();
        binds && limit.value().is_some_and(|value| value < *enough)
    });
    Surroundings { in_the_way, narrow: narrow.filter_map(|(limit, _)| limit.said()).collect() }
}

/// Bytes of memory that this process and all it starts may have together: the least that the cgroups say it is in.
pub fn memory_of_all() -> Option<u64> {
    let memberships = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    files_of_limits(&memberships)
        .filter_map(|file| std::fs::read_to_string(file).ok()?.trim().parse().ok())
        // The first version of cgroups has a number for none.
        .filter(|bytes| *bytes < 1 << 60)
        .min()
}

/// The files that may hold such a limit, of the cgroups that a process is in and of those above them.
fn files_of_limits<'a>(memberships: &'a str) -> impl Iterator<Item = PathBuf> {
    let fields = |line: &'a str| {
        let mut fields = line.splitn(3, ':').skip(1);
        Some((fields.next()?, fields.next()?))
    };
    memberships.lines().filter_map(fields).flat_map(|(controllers, own)| {
        let (roots, file): (&[&str], _) = match controllers {
            "" => (&["/sys/fs/cgroup", "/sys/fs/cgroup/unified"], "memory.max"),
            some if some.split(',').any(|one| one == "memory") => (&["/sys/fs/cgroup/memory"], "memory.limit_in_bytes"),
            _ => (&[], ""),
        };
        let own = Path::new(own.trim_start_matches('/'));
        roots.iter().flat_map(move |root| own.ancestors().map(move |group| Path::new(root).join(group).join(file)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(memberships: &str) -> Vec<String> {
        files_of_limits(memberships).map(|file| file.display().to_string()).collect()
    }

    #[test]
    fn limits_of_memory_are_looked_for_in_all_cgroups_above() {
        assert_eq!(
            files("5:cpu:/x\n4:hugetlb,memory:/a/b\n"),
            [
                "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ]
        );
        assert_eq!(
            files("0::/user.slice"),
            [
                "/sys/fs/cgroup/user.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
                "/sys/fs/cgroup/unified/user.slice/memory.max",
                "/sys/fs/cgroup/unified/memory.max",
            ]
        );
        assert!(files("1:name=systemd:/\n\nnonsense").is_empty());
    }
}
