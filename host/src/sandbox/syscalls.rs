//! The system calls a process may make, as data. Every line says which code path needs the call; what has no line ends the
//! process.

use libc::c_long;
use serde::{Deserialize, Serialize};

use super::Openings;

/// What a sandboxed process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    Worker,
    /// A worker whose task imports WASI: one more thread drives its timers.
    WorkerWithTimers,
    Compile,
    /// A compile process that runs a task's `init` once.
    CompileAndInit,
}

/// A stretch of a process's life that has a filter of its own. A later filter comes on top of the earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step(u8);

/// A worker from the arrival of its setup until its task is loaded.
const LOAD: Step = Step(1);
/// A worker that runs items.
const SERVE: Step = Step(2);
/// A compile process, all the time.
const COMPILE: Step = Step(4);
/// The thread that drives timers exists or is being made, so what threads need is needed.
const TIMERS: Step = Step(8);

/// Directories are granted, or a scratch one.
const FILES: Step = Step(16);
/// Some of them for writing.
const WRITES: Step = Step(32);
/// Peers are granted.
const PEERS: Step = Step(64);

/// WASI is linked and called in a compile process, where the thread that drives timers is made when it is needed.
const INIT: Step = Step(128);

impl Step {
    pub fn loading(role: Role, openings: &Openings) -> Step {
        Step::of(role, LOAD, openings)
    }

    pub fn serving(role: Role, openings: &Openings) -> Step {
        Step::of(role, SERVE, openings)
    }

    /// A filter can only take away from those before it, so what a grant opens stands in every one.
    fn of(role: Role, step: Step, openings: &Openings) -> Step {
        let when = |granted: bool, more: Step| if granted { more } else { Step(0) };
        let step = match role {
            Role::Worker => step,
            Role::WorkerWithTimers => step.and(TIMERS),
            Role::Compile => COMPILE,
            Role::CompileAndInit => COMPILE.and(TIMERS).and(INIT),
        };
        step.and(when(openings.files(), FILES))
            .and(when(openings.writing(), WRITES))
            .and(when(!openings.ports.is_empty(), PEERS))
    }

    const fn and(self, other: Step) -> Step {
        Step(self.0 | other.0)
    }

    fn overlaps(self, other: Step) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether threads are made in this step.
    fn makes_threads(self) -> bool {
        self.overlaps(COMPILE) || self.overlaps(LOAD) && self.overlaps(TIMERS)
    }

    fn opens_files(self) -> bool {
        self.overlaps(LOAD.and(FILES))
    }
}

/// What a call's arguments must be.
#[derive(Clone, Copy, Debug)]
pub enum Only {
    Any,
    /// This argument, masked, is this.
    Masked {
        argument: u8,
        mask: u64,
        value: u64,
    },
    /// This argument is one of these.
    OneOf {
        argument: u8,
        values: &'static [u64],
    },
    /// The arguments are those of a TCP socket.
    Tcp,
    /// The first argument is our own process id.
    OwnProcess,
}

/// A line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub number: c_long,
    steps: Step,
    pub only: Only,
    /// Who needs it. For readers: the program never looks at it.
    #[allow(dead_code)]
    needed_by: &'static str,
}

const fn call(number: c_long, steps: Step, only: Only, needed_by: &'static str) -> Call {
    Call { number, steps, only, needed_by }
}

const WORK: Step = LOAD.and(SERVE);
const ALL: Step = WORK.and(COMPILE);
const THREADS: Step = TIMERS.and(COMPILE);

/// No new executable memory: neither mapped so, nor made so later.
const NOT_EXECUTABLE: Only = Only::Masked { argument: 2, mask: libc::PROT_EXEC as u64, value: 0 };

/// What `sendmsg` and `sendto` may not do on the side: a TCP connection that Landlock never sees.
const NOT_CONNECTING: [Only; 2] = [
    Only::Masked { argument: 2, mask: libc::MSG_FASTOPEN as u64, value: 0 },
    Only::Masked { argument: 3, mask: libc::MSG_FASTOPEN as u64, value: 0 },
];

/// A thread of this process, and in no new namespace.
const A_THREAD: Only = Only::Masked {
    argument: 0,
    mask: THREAD
        | (libc::CLONE_NEWNS
            | libc::CLONE_NEWCGROUP
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUSER
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWNET
            | libc::CLONE_PTRACE
            | libc::CLONE_VFORK
            | libc::CLONE_PARENT) as u32 as u64,
    value: THREAD,
};
const THREAD: u64 = (libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND) as u64;

/// `PAGEMAP_SCAN`: _IOWR('f', 16, struct pm_scan_arg).
pub const PAGEMAP_SCAN: u64 = 0xc060_6610;

const CALLS: &[Call] = &[
    // Memory.
    call(libc::SYS_mmap, ALL, NOT_EXECUTABLE, "malloc; wasmtime: pool slots, images of memories, instances on demand"),
    call(libc::SYS_mprotect, SERVE, NOT_EXECUTABLE, "wasmtime: the end of a heap moves; malloc: arenas of threads"),
    call(libc::SYS_mprotect, LOAD.and(COMPILE), Only::Any, "wasmtime: the code of an artifact becomes executable"),
    call(libc::SYS_munmap, ALL, Only::Any, "free; wasmtime: a slot without an image"),
    call(libc::SYS_mremap, ALL, Only::Any, "realloc of large blocks"),
    call(libc::SYS_madvise, ALL, Only::Any, "wasmtime: a slot's pages go back; free; the end of a thread"),
    call(libc::SYS_brk, ALL, Only::Any, "malloc"),
    call(
        libc::SYS_ioctl,
        WORK,
        Only::OneOf { argument: 1, values: &[PAGEMAP_SCAN] },
        "wasmtime: which pages of a slot an instance wrote to",
    ),
    // The host.
    call(libc::SYS_recvfrom, WORK, Only::Any, "the socket: the host's bell"),
    call(libc::SYS_sendmsg, WORK, NOT_CONNECTING[0], "the socket: ready, or why not"),
    call(libc::SYS_sendto, WORK, NOT_CONNECTING[1], "the socket: the bell for the host"),
    call(libc::SYS_write, ALL, Only::Any, "the artifact; a panic's words; eventfd of the timers"),
    call(libc::SYS_read, ALL, Only::Any, "the task's bytes, a core module's artifact; eventfd of the timers"),
    call(libc::SYS_pread64, LOAD.and(COMPILE), Only::Any, "reading a file at a place"),
    call(libc::SYS_lseek, LOAD.and(COMPILE), Only::Any, "the task's bytes are read from their start"),
    call(libc::SYS_fstat, LOAD.and(COMPILE), Only::Any, "wasmtime: the size of an artifact; read_to_end"),
    call(libc::SYS_statx, LOAD.and(COMPILE), Only::Any, "the same, through std"),
    call(
        libc::SYS_fcntl,
        LOAD.and(COMPILE),
        Only::OneOf {
            argument: 1,
            values: &[libc::F_DUPFD_CLOEXEC as u64, libc::F_GETFD as u64, libc::F_GETFL as u64],
        },
        "a second descriptor of an artifact",
    ),
    call(libc::SYS_close, ALL, Only::Any, "descriptors that are done with"),
    call(libc::SYS_openat, LOAD, Only::Any, "wasmtime opens a component's artifact by path"),
    // Signals and ends.
    call(libc::SYS_rt_sigreturn, ALL, Only::Any, "traps"),
    call(libc::SYS_rt_sigaction, LOAD.and(COMPILE), Only::Any, "wasmtime: traps"),
    call(libc::SYS_rt_sigprocmask, ALL, Only::Any, "traps; abort; starting threads"),
    call(libc::SYS_sigaltstack, ALL, Only::Any, "wasmtime and std: stacks for signal handlers"),
    call(libc::SYS_tgkill, ALL, Only::OwnProcess, "abort: an end by SIGABRT says more than one by SIGSYS"),
    call(libc::SYS_getpid, ALL, Only::Any, "abort"),
    call(libc::SYS_gettid, ALL, Only::Any, "abort; starting threads"),
    call(libc::SYS_exit_group, ALL, Only::Any, "the end of the process"),
    call(libc::SYS_restart_syscall, ALL, Only::Any, "a wait goes on after a signal"),
    // Time and chance.
    call(libc::SYS_clock_gettime, ALL, Only::Any, "clocks, on machines where the vDSO has none"),
    call(libc::SYS_clock_getres, ALL, Only::Any, "WASI: the resolution of a clock"),
    call(libc::SYS_clock_nanosleep, WORK.and(INIT), Only::Any, "WASI: a wait without the timers"),
    call(libc::SYS_getrandom, ALL, Only::Any, "seeds of hash maps; WASI: random numbers"),
    call(libc::SYS_sched_yield, ALL, Only::Any, "spinning locks"),
    call(libc::SYS_futex, ALL, Only::Any, "locks and condition variables"),
    // Threads: one that drives timers, and those that compile.
    call(libc::SYS_clone, LOAD.and(COMPILE), A_THREAD, "starting a thread"),
    call(libc::SYS_clone3, LOAD.and(COMPILE), Only::Any, "never made: see SOFT"),
    call(libc::SYS_set_robust_list, THREADS, Only::Any, "starting a thread"),
    call(libc::SYS_rseq, THREADS, Only::Any, "starting a thread"),
    call(libc::SYS_prctl, THREADS, Only::OneOf { argument: 0, values: &[libc::PR_SET_NAME as u64] }, "a thread's name"),
    call(libc::SYS_sched_getaffinity, THREADS, Only::Any, "how many threads to start; a thread's stack"),
    call(libc::SYS_exit, THREADS, Only::Any, "the end of a thread"),
    call(libc::SYS_epoll_create1, LOAD.and(INIT), Only::Any, "tokio: the timers' thread sleeps on it"),
    call(libc::SYS_eventfd2, LOAD.and(INIT), Only::Any, "tokio: wakes the timers' thread"),
    call(libc::SYS_epoll_ctl, TIMERS, Only::Any, "tokio"),
    call(libc::SYS_epoll_wait, TIMERS, Only::Any, "tokio: waits for the next timer"),
    call(libc::SYS_epoll_pwait, TIMERS, Only::Any, "the same, on other machines"),
    // Granted directories. Which files these reach is up to Landlock.
    call(libc::SYS_openat, FILES, Only::Any, "WASI: the directory itself; files where there is no openat2"),
    call(libc::SYS_openat2, FILES, Only::Any, "WASI: files beneath a directory"),
    call(libc::SYS_fstat, FILES, Only::Any, "WASI: what a descriptor is"),
    call(libc::SYS_newfstatat, FILES, Only::Any, "WASI: what a path is"),
    call(libc::SYS_statx, FILES, Only::Any, "the same, with all times"),
    call(libc::SYS_getdents64, FILES, Only::Any, "WASI: the names in a directory; emptying the scratch one"),
    call(libc::SYS_readlinkat, FILES, Only::Any, "WASI: where a link leads; resolving paths"),
    call(libc::SYS_pread64, FILES, Only::Any, "WASI: reading"),
    call(libc::SYS_preadv, FILES, Only::Any, "WASI: reading"),
    call(libc::SYS_preadv2, FILES, Only::Any, "WASI: reading"),
    call(libc::SYS_readv, FILES, Only::Any, "WASI: reading"),
    call(libc::SYS_lseek, FILES, Only::Any, "WASI: reading a directory from its start"),
    call(libc::SYS_fadvise64, FILES, Only::Any, "WASI: advice"),
    call(
        libc::SYS_fcntl,
        FILES,
        Only::OneOf {
            argument: 1,
            values: &[libc::F_DUPFD_CLOEXEC as u64, libc::F_GETFD as u64, libc::F_GETFL as u64, libc::F_SETFL as u64],
        },
        "WASI: the flags of a descriptor, and a second one of a directory",
    ),
    call(libc::SYS_pwrite64, WRITES, Only::Any, "WASI: writing"),
    call(libc::SYS_pwritev, WRITES, Only::Any, "WASI: writing"),
    call(libc::SYS_pwritev2, WRITES, Only::Any, "WASI: appending"),
    call(libc::SYS_writev, WRITES, Only::Any, "WASI: writing"),
    call(libc::SYS_ftruncate, WRITES, Only::Any, "WASI: the size of a file"),
    call(libc::SYS_fallocate, WRITES, Only::Any, "WASI: space for a file"),
    call(libc::SYS_fsync, WRITES, Only::Any, "WASI: to the disk"),
    call(libc::SYS_fdatasync, WRITES, Only::Any, "WASI: to the disk"),
    call(libc::SYS_utimensat, WRITES, Only::Any, "WASI: the times of a file"),
    call(libc::SYS_mkdirat, WRITES, Only::Any, "WASI: a new directory"),
    call(libc::SYS_unlinkat, WRITES, Only::Any, "WASI: removing; emptying the scratch directory"),
    call(libc::SYS_renameat, WRITES, Only::Any, "WASI: renaming"),
    call(libc::SYS_renameat2, WRITES, Only::Any, "WASI: renaming"),
    call(libc::SYS_linkat, WRITES, Only::Any, "WASI: a hard link"),
    call(libc::SYS_symlinkat, WRITES, Only::Any, "WASI: a symbolic link"),
    // Granted peers. Which ports can be connected to is up to Landlock.
    call(libc::SYS_socket, PEERS, Only::Tcp, "WASI: a TCP socket"),
    call(libc::SYS_connect, PEERS, Only::Any, "WASI: connecting"),
    call(libc::SYS_bind, PEERS, Only::Any, "WASI: a guest that binds first; Landlock refuses it"),
    call(libc::SYS_getsockopt, PEERS, Only::Any, "WASI: whether a connection came about; options"),
    call(libc::SYS_setsockopt, PEERS, Only::Any, "WASI: options"),
    call(libc::SYS_getsockname, PEERS, Only::Any, "WASI: one's own address"),
    call(libc::SYS_getpeername, PEERS, Only::Any, "WASI: the peer's address"),
    call(libc::SYS_shutdown, PEERS, Only::Any, "WASI: closing one direction"),
    call(libc::SYS_readv, PEERS, Only::Any, "tokio: receiving"),
    call(libc::SYS_writev, PEERS, Only::Any, "tokio: sending"),
    call(
        libc::SYS_fcntl,
        PEERS,
        Only::OneOf { argument: 1, values: &[libc::F_GETFL as u64, libc::F_SETFL as u64] },
        "a socket that doesn't block",
    ),
    call(libc::SYS_ioctl, PEERS, Only::OneOf { argument: 1, values: &[libc::FIONBIO] }, "the same"),
    // The way to the next step.
    call(
        libc::SYS_prctl,
        LOAD,
        Only::OneOf { argument: 0, values: &[libc::PR_SET_NO_NEW_PRIVS as u64] },
        "before the second filter",
    ),
    call(libc::SYS_seccomp, LOAD, Only::Any, "the second filter"),
    call(libc::SYS_prlimit64, LOAD, Only::Any, "no threads after loading"),
];

/// A call that fails instead of ending the process, since a library makes it and goes on without.
pub struct Soft {
    pub number: c_long,
    pub errno: i32,
    #[allow(dead_code)]
    why: &'static str,
}

const NO_CLONE3: Soft = Soft {
    number: libc::SYS_clone3,
    errno: libc::ENOSYS,
    why: "its flags lie in memory, where a filter cannot see them; libc falls back to clone",
};
const NO_OPEN: Soft = Soft {
    number: libc::SYS_openat,
    errno: libc::EACCES,
    why: "malloc looks at the overcommit setting when it shrinks a thread's arena; std looks for cgroups",
};

impl Step {
    /// The lines that hold in this step.
    pub fn calls(self) -> impl Iterator<Item = &'static Call> {
        CALLS.iter().filter(move |call| self.overlaps(call.steps))
    }

    /// The calls that fail softly in this step.
    pub fn soft(self) -> Vec<Soft> {
        let mut soft = Vec::new();
        if self.makes_threads() {
            soft.push(NO_CLONE3);
        }
        if self.overlaps(THREADS) && !self.opens_files() {
            soft.push(NO_OPEN);
        }
        soft
    }
}
