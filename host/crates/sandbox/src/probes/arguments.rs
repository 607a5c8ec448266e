//! Attempts that misuse arguments of otherwise harmless calls: the id of another process, and flags, operations and
//! commands that nothing here needs. Each attempt names the calls whose lines in the table refuse it.

use std::mem::zeroed;

use libc::{c_int, c_long};
use nix::errno::Errno;

use super::list::{Attempt, ProbeRefusal, RW, Tried, any, ignore, page, socket, sys};
use wasmpool_core::probe::ProbeTargets;

const fn refused(name: &'static str, calls: &'static [c_long], run: fn(&ProbeTargets) -> Tried) -> Attempt {
    Attempt { name, refusal: ProbeRefusal::Killed, calls, run }
}

/// Returns an attempt that fails without ending the process. A worker with timers sees such a failure while it starts
/// its threads.
const fn fails(name: &'static str, calls: &'static [c_long], run: fn(&ProbeTargets) -> Tried) -> Attempt {
    Attempt { name, refusal: ProbeRefusal::Fails, calls, run }
}

/// Returns the clock of the CPU time of a process.
fn clock_of(pid: i32) -> c_int {
    const OF_SCHEDULER: c_int = 2;
    (!pid << 3) | OF_SCHEDULER
}

/// Returns the result of a call that must not wait. If nothing refuses the call, it times out at once.
fn would_wait<T>(result: Result<T, Errno>) -> Tried {
    match result {
        Err(Errno::ETIMEDOUT | Errno::EAGAIN) => Ok(()),
        other => ignore(other),
    }
}

const SHARED: c_int = libc::MAP_SHARED | libc::MAP_ANONYMOUS;

fn map(flags: c_int) -> Result<c_long, Errno> {
    sys!(libc::SYS_mmap, 0, 4096, RW, flags, -1, 0)
}

fn advise(advice: c_int) -> Tried {
    ignore(sys!(libc::SYS_madvise, page(RW)?, 4096, advice))
}

/// Four words that a lock may be in.
static WORDS: [std::sync::atomic::AtomicI32; 4] = [const { std::sync::atomic::AtomicI32::new(0) }; 4];

/// Locks a lock that another process holds, whose id is in the word. The call times out at once.
fn lock_of(pid: i32) -> Tried {
    let [word, ..] = &WORDS;
    word.store(pid, std::sync::atomic::Ordering::Relaxed);
    // SAFETY: all zeroes is a valid time, long ago.
    let over: libc::timespec = unsafe { zeroed() };
    would_wait(sys!(libc::SYS_futex, word.as_ptr(), libc::FUTEX_LOCK_PI, 0, &raw const over, 0, 0))
}

pub const ATTEMPTS: &[Attempt] = &[
    // Ids of other processes.
    refused("the CPU time of the host", &[libc::SYS_clock_gettime], |t| {
        // SAFETY: all zeroes is a valid time.
        let mut time: libc::timespec = unsafe { zeroed() };
        ignore(sys!(libc::SYS_clock_gettime, clock_of(t.host), &raw mut time))
    }),
    refused("the CPU time of process 1", &[libc::SYS_clock_gettime], |_| {
        // SAFETY: all zeroes is a valid time.
        let mut time: libc::timespec = unsafe { zeroed() };
        ignore(sys!(libc::SYS_clock_gettime, clock_of(1), &raw mut time))
    }),
    refused("whether there is a process", &[libc::SYS_clock_getres], |t| {
        ignore(sys!(libc::SYS_clock_getres, clock_of(t.sibling), 0))
    }),
    refused("sleep by another's clock", &[libc::SYS_clock_nanosleep], |t| {
        let soon = libc::timespec { tv_sec: 0, tv_nsec: 1 };
        ignore(sys!(libc::SYS_clock_nanosleep, clock_of(t.host), libc::TIMER_ABSTIME, &raw const soon, 0))
    }),
    refused("a lock that the host holds", &[libc::SYS_futex], |t| lock_of(t.host)),
    refused("a lock that another worker holds", &[libc::SYS_futex], |t| lock_of(t.sibling)),
    refused("waiters that inherit priority", &[libc::SYS_futex], |_| {
        let [first, second, ..] = &WORDS;
        let operation = libc::FUTEX_CMP_REQUEUE_PI;
        ignore(sys!(libc::SYS_futex, first.as_ptr(), operation, 1, 0, second.as_ptr(), 0))
    }),
    fails("where the host may run", &[libc::SYS_sched_getaffinity], |t| {
        let mut set = [0u64; 128];
        ignore(sys!(libc::SYS_sched_getaffinity, t.host, size_of_val(&set), set.as_mut_ptr()))
    }),
    refused("where the host shall run", &[libc::SYS_sched_setaffinity], |t| {
        // Names every processor, so it changes nothing.
        let set = [u64::MAX; 128];
        ignore(sys!(libc::SYS_sched_setaffinity, t.host, size_of_val(&set), set.as_ptr()))
    }),
    refused("the priority that the host has", &[libc::SYS_getpriority], |t| {
        ignore(sys!(libc::SYS_getpriority, libc::PRIO_PROCESS, t.host))
    }),
    refused("how the host is scheduled", &[libc::SYS_sched_getscheduler], |t| {
        ignore(sys!(libc::SYS_sched_getscheduler, t.host))
    }),
    refused("the attributes of the host's scheduling", &[libc::SYS_sched_getattr], |t| {
        let mut attributes = [0u8; 64];
        ignore(sys!(libc::SYS_sched_getattr, t.host, attributes.as_mut_ptr(), size_of_val(&attributes), 0))
    }),
    refused("the priority of the host's disk", &[libc::SYS_ioprio_get], |t| {
        ignore(sys!(libc::SYS_ioprio_get, 1, t.host))
    }),
    refused("the group of the host", &[libc::SYS_getpgid], |t| ignore(sys!(libc::SYS_getpgid, t.host))),
    refused("the session of the host", &[libc::SYS_getsid], |t| ignore(sys!(libc::SYS_getsid, t.host))),
    refused("the capabilities of process 1", &[libc::SYS_capget], |_| {
        let header = [0x2008_0522u32, 1];
        let mut data = [0u32; 6];
        ignore(sys!(libc::SYS_capget, header.as_ptr(), data.as_mut_ptr()))
    }),
    refused("limits that the host has", &[libc::SYS_prlimit64], |t| {
        let mut limit = [0u64; 2];
        ignore(sys!(libc::SYS_prlimit64, t.host, libc::RLIMIT_NOFILE, 0, limit.as_mut_ptr()))
    }),
    refused("its own limits", &[libc::SYS_prlimit64], |_| {
        let mut limit = [0u64; 2];
        ignore(sys!(libc::SYS_prlimit64, 0, libc::RLIMIT_NOFILE, 0, limit.as_mut_ptr()))
    }),
    refused("a signal with words for the host", &[libc::SYS_rt_sigqueueinfo], |t| {
        // SAFETY: all zeroes is a valid `siginfo_t`.
        let mut info: libc::siginfo_t = unsafe { zeroed() };
        info.si_code = -1;
        // Sends no signal; only checks whether it would be allowed.
        match sys!(libc::SYS_rt_sigqueueinfo, t.host, 0, &raw const info) {
            // The call was examined: Landlock, or another user id, refuses it.
            Err(Errno::EPERM) => Ok(()),
            other => ignore(other),
        }
    }),
    refused("signal itself otherwise than to abort", &[libc::SYS_tgkill], |_| {
        let own = std::process::id();
        ignore(sys!(libc::SYS_tgkill, own, own, libc::SIGWINCH))
    }),
    refused("who holds locks of the host", &[libc::SYS_get_robust_list], |_| {
        let (mut list, mut length) = (0usize, 0usize);
        ignore(sys!(libc::SYS_get_robust_list, 0, &raw mut list, &raw mut length))
    }),
    refused("memory barriers for others", &[libc::SYS_membarrier], |_| ignore(sys!(libc::SYS_membarrier, 0, 0, 0))),
    refused("send the host a descriptor", &[libc::SYS_sendmsg], |_| {
        any(|fd| {
            // SAFETY: all zeroes is a valid `msghdr`, of an empty message.
            let message: libc::msghdr = unsafe { zeroed() };
            sys!(libc::SYS_sendmsg, fd, &raw const message, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT)
        })
    }),
    refused("signals of a descriptor", &[libc::SYS_fcntl], |t| {
        any(|fd| {
            sys!(libc::SYS_fcntl, fd, libc::F_SETOWN, t.host).or_else(|e| match e {
                // The call was examined.
                Errno::EPERM => Ok(0),
                other => Err(other),
            })
        })
    }),
    refused("flags that send signals", &[libc::SYS_fcntl], |_| {
        any(|fd| sys!(libc::SYS_fcntl, fd, libc::F_SETFL, libc::O_ASYNC))
    }),
    refused("leases", &[libc::SYS_fcntl], |_| any(|fd| sys!(libc::SYS_fcntl, fd, libc::F_GETLEASE))),
    refused("who is at the socket's other end", &[libc::SYS_getsockopt], |_| {
        let mut credentials = [0u32; 3];
        let mut length = size_of_val(&credentials) as u32;
        any(|fd| {
            let bytes = credentials.as_mut_ptr();
            sys!(libc::SYS_getsockopt, fd, libc::SOL_SOCKET, libc::SO_PEERCRED, bytes, &raw mut length)
        })
    }),
    refused("a filter for a socket", &[libc::SYS_setsockopt], |_| {
        let on: c_int = 1;
        any(|fd| sys!(libc::SYS_setsockopt, fd, libc::SOL_SOCKET, libc::SO_PASSCRED, &raw const on, size_of_val(&on)))
    }),
    // Memory that no limit counts, and mappings other than of memory.
    refused("shared memory", &[libc::SYS_mmap], |_| ignore(map(SHARED))),
    refused("memory that grows downwards", &[libc::SYS_mmap], |_| {
        ignore(map(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_GROWSDOWN))
    }),
    refused("memory that is there at once", &[libc::SYS_mmap], |_| {
        ignore(map(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE))
    }),
    refused("a larger stack", &[libc::SYS_mprotect], |_| {
        let here = 0u8;
        let page = (&raw const here).addr() & !4095;
        ignore(sys!(libc::SYS_mprotect, page, 4096, RW | libc::PROT_GROWSDOWN))
    }),
    refused("memory in two places", &[libc::SYS_mremap], |_| {
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_DONTUNMAP;
        ignore(sys!(libc::SYS_mremap, page(RW)?, 4096, 4096, flags, 0))
    }),
    refused("pages that are compared with others'", &[libc::SYS_madvise], |_| match advise(libc::MADV_MERGEABLE) {
        // The kernel does not have this feature.
        Err(Errno::EINVAL) => advise(libc::MADV_HUGEPAGE),
        other => other,
    }),
    refused("pages that are there at once", &[libc::SYS_madvise], |_| advise(23)),
    fails("advice for another's memory", &[libc::SYS_process_madvise], |_| {
        let stretch = [page(RW)? as usize, 4096];
        ignore(sys!(libc::SYS_process_madvise, -10000, stretch.as_ptr(), 1, libc::MADV_DONTNEED, 0))
    }),
    // Filters.
    refused("somebody who answers calls", &[libc::SYS_seccomp], |_| {
        // A program of one instruction: allow.
        let filter = libc::sock_filter { code: 6, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
        let program = libc::sock_fprog { len: 1, filter: (&raw const filter).cast_mut() };
        let listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        ignore(sys!(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, listener, &raw const program))
    }),
    refused("a protocol of its own", &[libc::SYS_socket], |_| ignore(socket(libc::AF_INET, libc::SOCK_DGRAM))),
];
