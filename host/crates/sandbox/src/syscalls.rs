//! The system calls that a process may make, as data. Every line says which code path needs the call; a call without a
//! line ends the process. [`super::arguments`] says which arguments are permitted, and [`super::steps`] in which
//! process and when.

use libc::c_long;

use super::arguments::*;
use super::steps::*;

/// A line of the table.
#[derive(Clone, Copy, Debug)]
pub struct SystemCall {
    pub number: c_long,
    steps: ProcessStage,
    pub only: Only,
    /// The code that needs it. For readers only; the program never looks at it.
    #[allow(dead_code)]
    needed_by: &'static str,
}

const fn call(number: c_long, steps: ProcessStage, only: Only, needed_by: &'static str) -> SystemCall {
    SystemCall { number, steps, only, needed_by }
}

const CALLS: &[SystemCall] = &[
    // Memory.
    call(libc::SYS_mmap, ALL, MAPPING, "malloc; wasmtime: pool slots, images of memories, instances on demand"),
    call(libc::SYS_mprotect, SERVE, PROTECTING_DATA, "wasmtime: the end of a heap moves; malloc: arenas of threads"),
    call(
        libc::SYS_mprotect,
        LOAD.and(COMPILE),
        PROTECTING_DATA_AND_CODE,
        "wasmtime: the code of an artifact becomes executable",
    ),
    call(libc::SYS_mmap, MANAGE, MAPPING_A_CHANNEL, "the memory of a channel, which the host sends"),
    call(libc::SYS_munmap, ALL, ANY, "free; wasmtime: a slot without an image; a channel that has ended"),
    call(libc::SYS_mremap, ALL, MOVING, "realloc of large blocks"),
    call(libc::SYS_madvise, ALL, GIVING_BACK, "wasmtime: a slot's pages go back; free; the end of a thread"),
    call(libc::SYS_madvise, STARTS.and(TIMERS).and(COMPILE), GUARDING, "the stack of a thread"),
    call(libc::SYS_madvise, WORK, KEEPING_APART, "restoring an instance: its pages stay small"),
    // Nothing but this process can be asked about. Looking at the arguments would take three times as long as the call.
    call(libc::SYS_getrusage, WORK, ANY, "restoring an instance: whether there were page faults, after each item"),
    call(libc::SYS_brk, ALL, ANY, "malloc"),
    call(libc::SYS_ioctl, WORK, SCANNING, "which pages an instance wrote to: restoring it, and wasmtime for a slot"),
    // The host.
    call(libc::SYS_recvfrom, WORK, RECEIVING, "the socket: the host's bell"),
    call(libc::SYS_sendto, WORK, SENDING, "the socket: ready, or why not; the bell for the host"),
    call(libc::SYS_recvfrom, MANAGE, RECEIVING, "sockets of channels: bells"),
    call(libc::SYS_sendto, MANAGE, SENDING, "sockets of channels: bells; the socket: what the host is told"),
    call(libc::SYS_recvmsg, MANAGE, RECEIVING_DESCRIPTORS, "the socket: a participant, with its channel"),
    call(libc::SYS_epoll_ctl, MANAGE, ANY, "sockets of channels come and go"),
    #[cfg(target_arch = "x86_64")]
    call(libc::SYS_epoll_wait, MANAGE, ANY, "waiting for bells, for the host and for timeouts"),
    call(libc::SYS_epoll_pwait, MANAGE, ANY, "the same, on other machines"),
    call(libc::SYS_lseek, MANAGE, ANY, "how long the memory of a channel is"),
    call(libc::SYS_write, ALL, ANY, "the artifact; a panic's words; eventfd of the timers"),
    call(libc::SYS_read, TASKS, ANY, "the task's bytes, a core module's artifact; eventfd of the timers"),
    call(libc::SYS_pread64, LOAD.and(COMPILE), ANY, "reading a file at a place"),
    call(libc::SYS_lseek, LOAD.and(COMPILE), ANY, "the task's bytes are read from their start"),
    call(libc::SYS_fstat, LOAD.and(COMPILE), ANY, "wasmtime: the size of an artifact; read_to_end"),
    call(libc::SYS_statx, LOAD.and(COMPILE), ANY, "the same, through std"),
    call(libc::SYS_fcntl, LOAD.and(COMPILE), DUPLICATING, "a second descriptor of an artifact"),
    call(
        libc::SYS_fcntl,
        ALL,
        ASKING_WHETHER_OPEN,
        "std: a descriptor about to be closed, in programs with debug assertions",
    ),
    call(libc::SYS_close, ALL, ANY, "descriptors that are done with"),
    call(libc::SYS_openat, LOAD, READING_A_FILE, "wasmtime opens a component's artifact by path"),
    // Signals and ends.
    call(libc::SYS_rt_sigreturn, ALL, ANY, "traps"),
    call(libc::SYS_rt_sigaction, LOAD.and(COMPILE), ANY, "wasmtime: traps"),
    call(libc::SYS_rt_sigprocmask, ALL, ANY, "traps; abort; starting threads"),
    call(libc::SYS_sigaltstack, ALL, ANY, "wasmtime and std: stacks for signal handlers"),
    call(libc::SYS_tgkill, ALL, ABORTING, "abort: an end by SIGABRT says more than one by SIGSYS"),
    call(libc::SYS_getpid, ALL, ANY, "abort"),
    call(libc::SYS_gettid, ALL, ANY, "abort; starting threads"),
    call(libc::SYS_exit_group, ALL, ANY, "the end of the process"),
    call(libc::SYS_restart_syscall, ALL, ANY, "a wait goes on after a signal"),
    // Time and random numbers.
    call(libc::SYS_clock_gettime, ALL, CLOCKS, "clocks, on machines where the vDSO has none"),
    call(libc::SYS_clock_getres, TASKS, CLOCKS, "WASI: the resolution of a clock"),
    call(libc::SYS_clock_nanosleep, WORK.and(INIT), SLEEPING, "WASI: a wait without the timers"),
    call(libc::SYS_getrandom, ALL, ANY, "seeds of hash maps; WASI: random numbers"),
    call(libc::SYS_sched_yield, ALL, ANY, "spinning locks"),
    call(libc::SYS_futex, ALL, LOCKING, "locks and condition variables"),
    // Threads: one that drives timers, and those that compile.
    call(libc::SYS_clone, STARTS, A_THREAD, "starting a thread"),
    call(libc::SYS_clone3, STARTS, ANY, "never made: see SOFT"),
    call(libc::SYS_set_robust_list, STARTS, ANY, "starting a thread: its own list"),
    call(libc::SYS_rseq, STARTS, ANY, "starting a thread: its own area"),
    call(libc::SYS_prctl, STARTS, NAMING, "a thread's name"),
    call(libc::SYS_sched_getaffinity, STARTS, ANY, "how many threads to start; a thread's stack: see SOFT"),
    call(libc::SYS_exit, TIMERS.and(COMPILE), ANY, "the end of a thread"),
    call(libc::SYS_epoll_create1, TIMERS.and(STARTS), ANY, "tokio: the timers' thread sleeps on it"),
    call(libc::SYS_eventfd2, TIMERS.and(STARTS), ANY, "tokio: wakes the timers' thread"),
    call(libc::SYS_epoll_ctl, TIMERS, ANY, "tokio"),
    // Newer architectures only have the next one.
    #[cfg(target_arch = "x86_64")]
    call(libc::SYS_epoll_wait, TIMERS, ANY, "tokio: waits for the next timer"),
    call(libc::SYS_epoll_pwait, TIMERS, ANY, "the same, on other machines"),
    // Granted directories. Landlock decides which files these calls reach.
    call(libc::SYS_openat, FILES, ANY, "WASI: the directory itself; files where there is no openat2"),
    call(libc::SYS_openat2, FILES, ANY, "WASI: files beneath a directory"),
    call(libc::SYS_fstat, FILES, ANY, "WASI: what a descriptor is"),
    call(libc::SYS_newfstatat, FILES, ANY, "WASI: what a path is"),
    call(libc::SYS_statx, FILES, ANY, "the same, with all times"),
    call(libc::SYS_getdents64, FILES, ANY, "WASI: the names in a directory; emptying the scratch one"),
    call(libc::SYS_readlinkat, FILES, ANY, "WASI: where a link leads; resolving paths"),
    call(libc::SYS_pread64, FILES, ANY, "WASI: reading"),
    call(libc::SYS_preadv, FILES, ANY, "WASI: reading"),
    call(libc::SYS_preadv2, FILES, ANY, "WASI: reading"),
    call(libc::SYS_readv, FILES, ANY, "WASI: reading"),
    call(libc::SYS_lseek, FILES, ANY, "WASI: reading a directory from its start"),
    call(libc::SYS_fadvise64, FILES, ANY, "WASI: advice"),
    call(libc::SYS_fcntl, FILES, FLAGS_OF_FILES, "WASI: the flags of a descriptor, and a second one of a directory"),
    call(libc::SYS_pwrite64, WRITES, ANY, "WASI: writing"),
    call(libc::SYS_pwritev, WRITES, ANY, "WASI: writing"),
    call(libc::SYS_pwritev2, WRITES, ANY, "WASI: appending"),
    call(libc::SYS_writev, WRITES, ANY, "WASI: writing"),
    call(libc::SYS_ftruncate, WRITES, ANY, "WASI: the size of a file"),
    call(libc::SYS_fallocate, WRITES, ANY, "WASI: space for a file"),
    call(libc::SYS_fsync, WRITES, ANY, "WASI: to the disk"),
    call(libc::SYS_fdatasync, WRITES, ANY, "WASI: to the disk"),
    call(libc::SYS_utimensat, WRITES, ANY, "WASI: the times of a file; those of the scratch directory"),
    call(libc::SYS_mkdirat, WRITES, ANY, "WASI: a new directory"),
    call(libc::SYS_unlinkat, WRITES, ANY, "WASI: removing; emptying the scratch directory"),
    call(libc::SYS_renameat, WRITES, ANY, "WASI: renaming"),
    call(libc::SYS_renameat2, WRITES, RENAMING, "WASI: renaming"),
    call(libc::SYS_linkat, WRITES, LINKING, "WASI: a hard link"),
    call(libc::SYS_symlinkat, WRITES, ANY, "WASI: a symbolic link"),
    // Granted peers. Landlock decides which ports can be connected to.
    call(libc::SYS_socket, PEERS, TCP, "WASI: a TCP socket"),
    call(libc::SYS_connect, PEERS, ANY, "WASI: connecting"),
    call(libc::SYS_bind, PEERS, ANY, "WASI: a guest that binds first; Landlock refuses it"),
    call(libc::SYS_getsockopt, PEERS, READING_OPTIONS, "WASI: whether a connection came about; options"),
    call(libc::SYS_setsockopt, PEERS, SETTING_OPTIONS, "WASI: options"),
    call(libc::SYS_getsockname, PEERS, ANY, "WASI: one's own address"),
    call(libc::SYS_getpeername, PEERS, ANY, "WASI: the peer's address"),
    call(libc::SYS_shutdown, PEERS, ANY, "WASI: closing one direction"),
    call(libc::SYS_readv, PEERS, ANY, "tokio: receiving"),
    call(libc::SYS_writev, PEERS, ANY, "tokio: sending"),
    call(libc::SYS_fcntl, PEERS, FLAGS_OF_SOCKETS, "a socket that doesn't block"),
    call(libc::SYS_ioctl, PEERS, NOT_BLOCKING, "the same"),
    // The calls that lead to the next step.
    call(libc::SYS_prctl, NEXT, LOCKING_PRIVILEGES, "before the second filter"),
    call(libc::SYS_seccomp, NEXT, FILTERING, "the second filter"),
    call(libc::SYS_prlimit64, NEXT, LIMITING, "no more threads"),
];

/// A call that fails instead of ending the process, because a library makes it and continues without it.
pub struct SoftRefusal {
    pub number: c_long,
    /// Condition on the arguments for this answer; any arguments if it is empty.
    pub only: Rule,
    pub errno: i32,
    #[allow(dead_code)]
    why: &'static str,
}

const NO_CLONE3: SoftRefusal = SoftRefusal {
    number: libc::SYS_clone3,
    only: &[],
    errno: libc::ENOSYS,
    why: "its flags lie in memory, where a filter cannot see them; libc falls back to clone",
};
const NO_OPEN: SoftRefusal = SoftRefusal {
    number: libc::SYS_openat,
    only: &[],
    errno: libc::EACCES,
    why: "malloc looks at the overcommit setting when it shrinks a thread's arena; std looks for cgroups",
};
const NOT_OF_ANOTHER: SoftRefusal = SoftRefusal {
    number: libc::SYS_sched_getaffinity,
    only: ANOTHERS,
    errno: libc::ENOSYS,
    why: "a thread that looks for its stack asks by its own id, which is not known before; it goes on without",
};
const NOT_AT_ONCE: SoftRefusal = SoftRefusal {
    number: libc::SYS_process_madvise,
    only: &[],
    errno: libc::EPERM,
    why: "it takes a handle of any process; wasmtime gives back one stretch of memory after the other instead",
};

impl ProcessStage {
    /// Returns the lines that apply in this step.
    pub fn calls(self) -> impl Iterator<Item = &'static SystemCall> {
        CALLS.iter().filter(move |call| self.overlaps(call.steps))
    }

    /// Returns the calls that fail softly in this step.
    pub fn soft(self) -> Vec<SoftRefusal> {
        let mut soft = Vec::new();
        if self.overlaps(STARTS) {
            soft.extend([NO_CLONE3, NOT_OF_ANOTHER]);
        }
        if self.overlaps(TIMERS.and(COMPILE)) && !self.overlaps(LOAD.and(FILES)) {
            soft.push(NO_OPEN);
        }
        if self.overlaps(WORK) {
            soft.push(NOT_AT_ONCE);
        }
        soft
    }
}
