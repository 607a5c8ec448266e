//! Permitted arguments of system calls.
//!
//! A call whose number is harmless can use its arguments to name another process, or to ask for something other than it
//! is known for. The permitted arguments of such calls are listed here. A filter cannot follow pointers, so calls that
//! keep flags behind one are not allowed at all.

use libc::c_int;

/// A condition on one argument. Numbers are compared in 32 bits: flags and ids are no wider in the kernel, whatever is
/// in the rest of the register.
#[derive(Clone, Copy, Debug)]
pub enum Is {
    /// One of these values.
    In(&'static [c_int]),
    /// This value, plus any of these bits.
    With { bits: c_int, value: c_int },
    /// A null pointer.
    Null,
    /// The id of this process.
    OwnProcess,
    /// Neither the id of this process nor 0, which stands for it.
    OtherProcess,
}

/// Conditions on arguments, each with the argument's position. All of them must hold.
pub type Rule = &'static [(u8, Is)];

/// Permitted ways to make a call. An empty list permits any arguments.
pub type Only = &'static [Rule];

pub const ANY: Only = &[];

/// Not executable, and without a flag that moves the end of a stack.
const DATA: Is = Is::In(&[libc::PROT_NONE, libc::PROT_READ, libc::PROT_READ | libc::PROT_WRITE]);
/// The protection flag with which programs on arm64 mark the targets of jumps.
#[cfg(target_arch = "aarch64")]
const BRANCHES: c_int = 0x10;
#[cfg(not(target_arch = "aarch64"))]
const BRANCHES: c_int = 0;
/// Code is never writable, and writable memory is never code.
const CODE: Is = Is::With { bits: BRANCHES, value: libc::PROT_READ | libc::PROT_EXEC };

/// Private memory of this process, which counts towards its limit. Shared memory and memory that grows downwards are
/// not counted.
const OWN_MEMORY: Is = Is::With {
    bits: libc::MAP_FIXED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK,
    value: libc::MAP_PRIVATE,
};
/// Memory in which newer libcs keep the state of random numbers. It is counted.
const DROPPABLE: Is = Is::In(&[0x08 | libc::MAP_ANONYMOUS]);

pub const MAPPING: Only = &[&[(2, DATA), (3, OWN_MEMORY)], &[(2, DATA), (3, DROPPABLE)]];
/// Memory that two processes share. It is not counted, so only the manager may map it: for files that the host sends.
const CHANNEL: Is = Is::With { bits: libc::MAP_FIXED, value: libc::MAP_SHARED };
pub const MAPPING_A_CHANNEL: Only = &[&[(2, Is::In(&[libc::PROT_READ | libc::PROT_WRITE])), (3, CHANNEL)]];
pub const PROTECTING_DATA: Only = &[&[(2, DATA)]];
pub const PROTECTING_DATA_AND_CODE: Only = &[&[(2, DATA)], &[(2, CODE)]];
pub const MOVING: Only = &[&[(3, Is::In(&[libc::MREMAP_MAYMOVE]))]];
pub const GIVING_BACK: Only = &[&[(2, Is::In(&[libc::MADV_DONTNEED]))]];
/// Only forbids what the kernel may do by itself.
pub const KEEPING_APART: Only = &[&[(2, Is::In(&[libc::MADV_NOHUGEPAGE]))]];
/// Newer libcs guard a thread's stack with `madvise` (`MADV_GUARD_INSTALL`, `MADV_GUARD_REMOVE`).
pub const GUARDING: Only = &[&[(2, Is::In(&[102, 103]))]];

/// `PAGEMAP_SCAN`: _IOWR('f', 16, struct pm_scan_arg).
pub const PAGEMAP_SCAN: u32 = 0xc060_6610;
pub const SCANNING: Only = &[&[(1, Is::In(&[PAGEMAP_SCAN.cast_signed()]))]];

/// Excludes `MSG_FASTOPEN`, which would make a TCP connection that Landlock never sees, and any address but that of the
/// connected peer.
pub const SENDING: Only = &[&[(3, Is::With { bits: libc::MSG_DONTWAIT, value: libc::MSG_NOSIGNAL }), (4, Is::Null)]];
pub const RECEIVING: Only = &[&[(3, Is::With { bits: libc::MSG_DONTWAIT, value: 0 }), (4, Is::Null)]];

/// Descriptors that come with a message are closed when another program is executed.
pub const RECEIVING_DESCRIPTORS: Only =
    &[&[(2, Is::With { bits: libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC, value: 0 })]];

pub const ABORTING: Only = &[&[(0, Is::OwnProcess), (2, Is::In(&[libc::SIGABRT]))]];

/// The machine's clocks, and those of this process and thread. A clock with a negative number belongs to the process
/// whose id it contains: it would reveal whether that process exists, and how much it computes.
const CLOCK: Is = Is::In(&[
    libc::CLOCK_REALTIME,
    libc::CLOCK_MONOTONIC,
    libc::CLOCK_PROCESS_CPUTIME_ID,
    libc::CLOCK_THREAD_CPUTIME_ID,
    libc::CLOCK_MONOTONIC_RAW,
    libc::CLOCK_REALTIME_COARSE,
    libc::CLOCK_MONOTONIC_COARSE,
    libc::CLOCK_BOOTTIME,
]);
pub const CLOCKS: Only = &[&[(0, CLOCK)]];
pub const SLEEPING: Only = &[&[(0, Is::In(&[libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC]))]];

/// Operations that use nothing but the word. Operations with priority inheritance read the id of a thread from it, of
/// any process, and pass a priority on to that thread.
const WORD: Is = Is::With { bits: libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME, value: libc::FUTEX_WAIT };
const WORDS: [Is; 4] = {
    let bits = libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME;
    [
        WORD,
        Is::With { bits, value: libc::FUTEX_WAKE },
        Is::With { bits, value: libc::FUTEX_WAIT_BITSET },
        Is::With { bits, value: libc::FUTEX_WAKE_BITSET },
    ]
};
pub const LOCKING: Only = &[&[(1, WORDS[0])], &[(1, WORDS[1])], &[(1, WORDS[2])], &[(1, WORDS[3])]];

/// A thread of this process, in no new namespace: exactly the flags that libcs pass.
pub const A_THREAD: Only = &[&[(
    0,
    Is::With {
        // This flag has no meaning any more, but musl passes it.
        bits: libc::CLONE_DETACHED,
        value: libc::CLONE_VM
            | libc::CLONE_FS
            | libc::CLONE_FILES
            | libc::CLONE_SIGHAND
            | libc::CLONE_THREAD
            | libc::CLONE_SYSVSEM
            | libc::CLONE_SETTLS
            | libc::CLONE_PARENT_SETTID
            | libc::CLONE_CHILD_CLEARTID,
    },
)]];
pub const NAMING: Only = &[&[(0, Is::In(&[libc::PR_SET_NAME]))]];
/// Limits scheduling calls to this process. For other processes they fail without ending the caller.
pub const ANOTHERS: Rule = &[(0, Is::OtherProcess)];

pub const READING_A_FILE: Only =
    &[&[(2, Is::With { bits: libc::O_CLOEXEC | libc::O_LARGEFILE, value: libc::O_RDONLY })]];
const DUPLICATE: Rule = &[(1, Is::In(&[libc::F_DUPFD_CLOEXEC, libc::F_GETFD, libc::F_GETFL]))];
pub const DUPLICATING: Only = &[DUPLICATE];
pub const ASKING_WHETHER_OPEN: Only = &[&[(1, Is::In(&[libc::F_GETFD]))]];
/// Excludes `O_ASYNC`, which sends signals, and `O_DIRECT`.
const SETTING_FLAGS: Rule = &[
    (1, Is::In(&[libc::F_SETFL])),
    (
        2,
        Is::With {
            bits: libc::O_ACCMODE
                | libc::O_APPEND
                | libc::O_NONBLOCK
                | libc::O_SYNC
                | libc::O_DIRECTORY
                | libc::O_NOFOLLOW
                | libc::O_LARGEFILE
                | KERNELS_LARGEFILE,
            value: 0,
        },
    ),
];
/// The kernel's value of `O_LARGEFILE`, which libcs define as 0.
#[cfg(target_arch = "aarch64")]
const KERNELS_LARGEFILE: c_int = 0o400_000;
#[cfg(not(target_arch = "aarch64"))]
const KERNELS_LARGEFILE: c_int = 0o100_000;
pub const FLAGS_OF_FILES: Only = &[DUPLICATE, SETTING_FLAGS];
pub const FLAGS_OF_SOCKETS: Only = &[&[(1, Is::In(&[libc::F_GETFL]))], SETTING_FLAGS];
pub const RENAMING: Only = &[&[(4, Is::In(&[0, libc::RENAME_NOREPLACE.cast_signed()]))]];
pub const LINKING: Only = &[&[(4, Is::In(&[0, libc::AT_SYMLINK_FOLLOW]))]];

pub const TCP: Only = &[&[
    (0, Is::In(&[libc::AF_INET, libc::AF_INET6])),
    (1, Is::With { bits: libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, value: libc::SOCK_STREAM }),
    (2, Is::In(&[0, libc::IPPROTO_TCP])),
]];
const OPTIONS_OF_SOCKETS: [c_int; 4] = [libc::SO_KEEPALIVE, libc::SO_SNDBUF, libc::SO_RCVBUF, libc::SO_REUSEADDR];
const OPTIONS_BY_LEVEL: [Rule; 3] = [
    &[
        (1, Is::In(&[libc::IPPROTO_TCP])),
        (2, Is::In(&[libc::TCP_NODELAY, libc::TCP_KEEPIDLE, libc::TCP_KEEPINTVL, libc::TCP_KEEPCNT])),
    ],
    &[(1, Is::In(&[libc::IPPROTO_IP])), (2, Is::In(&[libc::IP_TTL]))],
    &[(1, Is::In(&[libc::IPPROTO_IPV6])), (2, Is::In(&[libc::IPV6_UNICAST_HOPS, libc::IPV6_V6ONLY]))],
];
/// Excludes filters (`SO_ATTACH_FILTER`), other protocols (`TCP_ULP`), and credentials.
pub const SETTING_OPTIONS: Only = &[
    &[(1, Is::In(&[libc::SOL_SOCKET])), (2, Is::In(&OPTIONS_OF_SOCKETS))],
    OPTIONS_BY_LEVEL[0],
    OPTIONS_BY_LEVEL[1],
    OPTIONS_BY_LEVEL[2],
];
/// Includes whether a connection came about. Excludes `SO_PEERCRED` and `SO_PEERPIDFD`, which would reveal the host's
/// process id, and give a handle of it, through the socket to the host.
pub const READING_OPTIONS: Only = &[
    &[(1, Is::In(&[libc::SOL_SOCKET])), (2, Is::In(&[libc::SO_ERROR]))],
    &[(1, Is::In(&[libc::SOL_SOCKET])), (2, Is::In(&OPTIONS_OF_SOCKETS))],
    OPTIONS_BY_LEVEL[0],
    OPTIONS_BY_LEVEL[1],
    OPTIONS_BY_LEVEL[2],
];
pub const NOT_BLOCKING: Only = &[&[(1, Is::In(&[libc::FIONBIO as c_int]))]];

/// The call that has to precede the next filter.
pub const LOCKING_PRIVILEGES: Only = &[&[(0, Is::In(&[libc::PR_SET_NO_NEW_PRIVS]))]];
/// For all threads, and without a listener that would answer calls in place of the kernel.
pub const FILTERING: Only = &[&[
    (0, Is::In(&[libc::SECCOMP_SET_MODE_FILTER as c_int])),
    (1, Is::In(&[0, libc::SECCOMP_FILTER_FLAG_TSYNC as c_int])),
]];
/// Only limits of this process. A process of the same user could otherwise lower the host's.
pub const LIMITING: Only = &[&[(0, Is::In(&[0])), (1, Is::In(&[libc::RLIMIT_NPROC as c_int]))]];
