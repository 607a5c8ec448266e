//! The attempts. Each of them does no harm if it succeeds.

use std::ffi::CString;
use std::mem::zeroed;
use std::ptr::{null, null_mut};

use libc::{c_int, c_long, c_void};
use nix::errno::Errno;

use super::{LEAKED, SECRET};
use wasmpool_core::probe::ProbeTargets;

pub type Tried = Result<(), Errno>;

pub struct Attempt {
    pub name: &'static str,
    /// Manner in which strict mode refuses it.
    pub refusal: ProbeRefusal,
    /// The calls whose lines in the table refuse it, if nothing else does.
    pub calls: &'static [c_long],
    pub run: fn(&ProbeTargets) -> Tried,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeRefusal {
    /// The process is killed.
    Killed,
    /// The call fails. A worker with timers may see a call fail for which another worker is killed.
    Fails,
}

const fn killed(name: &'static str, run: fn(&ProbeTargets) -> Tried) -> Attempt {
    Attempt { name, refusal: ProbeRefusal::Killed, calls: &[], run }
}

const fn fails(name: &'static str, run: fn(&ProbeTargets) -> Tried) -> Attempt {
    Attempt { name, refusal: ProbeRefusal::Fails, calls: &[], run }
}

/// Makes a system call. Every argument is widened to the width of a register, because the rest of the register would
/// otherwise be undefined.
macro_rules! sys {
    ($number:expr $(, $argument:expr)*) => {{
        // SAFETY: arguments are numbers, or pointers to values that live until the end of the statement. Calls that
        // change this process are made by probes, after which it ends.
        let result = unsafe { libc::syscall($number $(, $argument as c_long)*) };
        if result < 0 { Err(Errno::last()) } else { Ok(result) }
    }};
}

fn path(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

fn open(text: &str, flags: c_int) -> Tried {
    let file = path(text);
    sys!(libc::SYS_openat, libc::AT_FDCWD, file.as_ptr(), flags, 0o600).map(drop)
}

/// Opens this path relative to each descriptor of the process in turn.
fn from_any_descriptor(text: &str, flags: c_int) -> Tried {
    let file = path(text);
    (0..64)
        .map(|fd| sys!(libc::SYS_openat, fd, file.as_ptr(), flags, 0o600))
        .find(Result::is_ok)
        .map_or(Err(Errno::EACCES), ignore)
}

pub(super) use sys;

/// Returns all attempts.
pub fn all() -> impl Iterator<Item = &'static Attempt> {
    ATTEMPTS.iter().chain(super::arguments::ATTEMPTS)
}

pub fn socket(family: c_int, kind: c_int) -> Result<c_long, Errno> {
    sys!(libc::SYS_socket, family, kind, 0)
}

pub fn ignore<T>(result: Result<T, Errno>) -> Tried {
    result.map(drop)
}

pub fn page(protection: c_int) -> Result<c_long, Errno> {
    sys!(libc::SYS_mmap, 0, 4096, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
}

pub const RW: c_int = libc::PROT_READ | libc::PROT_WRITE;

const ATTEMPTS: &[Attempt] = &[
    // Files.
    fails("open /etc/passwd", |_| open("/etc/passwd", libc::O_RDONLY)),
    fails("open a file by a way up", |_| open("../../../../etc/passwd", libc::O_RDONLY)),
    fails("open the root", |_| open("/", libc::O_RDONLY | libc::O_DIRECTORY)),
    fails("open its own environment", |_| open("/proc/self/environ", libc::O_RDONLY)),
    fails("open its own memory", |_| open("/proc/self/mem", libc::O_RDWR)),
    fails("open a file of process 1", |_| open("/proc/1/status", libc::O_RDONLY)),
    fails("open the memory of the host", |t| open(&format!("/proc/{}/mem", t.host), libc::O_RDWR)),
    fails("open the memory of another worker", |t| open(&format!("/proc/{}/mem", t.sibling), libc::O_RDWR)),
    fails("open a directory of the host", |t| open(&t.directory, libc::O_RDONLY | libc::O_DIRECTORY)),
    fails("open above any descriptor", |_| from_any_descriptor("../../../../../../../../etc/passwd", libc::O_RDONLY)),
    fails("write beside any descriptor", |_| from_any_descriptor("../victim", libc::O_WRONLY)),
    fails("create a file", |t| open(&format!("{}/created", t.directory), libc::O_CREAT | libc::O_WRONLY)),
    #[cfg(target_arch = "x86_64")]
    killed("open by the old call", |_| ignore(sys!(libc::SYS_open, c"/etc/passwd".as_ptr(), libc::O_RDONLY))),
    killed("open by the new call", |_| {
        // SAFETY: all zeroes is a valid `open_how`.
        let how: libc::open_how = unsafe { zeroed() };
        ignore(sys!(libc::SYS_openat2, libc::AT_FDCWD, c"/etc/passwd".as_ptr(), &raw const how, size_of_val(&how)))
    }),
    killed("make a directory", |t| {
        ignore(sys!(libc::SYS_mkdirat, libc::AT_FDCWD, path(&format!("{}/made", t.directory)).as_ptr(), 0o700))
    }),
    killed("unlink", |t| {
        ignore(sys!(libc::SYS_unlinkat, libc::AT_FDCWD, path(&format!("{}/victim", t.directory)).as_ptr(), 0))
    }),
    killed("make a symbolic link", |t| {
        let name = path(&format!("{}/link", t.directory));
        ignore(sys!(libc::SYS_symlinkat, c"/etc/passwd".as_ptr(), libc::AT_FDCWD, name.as_ptr()))
    }),
    killed("rename", |t| {
        let from = path(&format!("{}/victim", t.directory));
        let to = path(&format!("{}/renamed", t.directory));
        ignore(sys!(libc::SYS_renameat2, libc::AT_FDCWD, from.as_ptr(), libc::AT_FDCWD, to.as_ptr(), 0))
    }),
    killed("look at a file", |_| {
        // SAFETY: all zeroes is a valid `stat`.
        let mut stat: libc::stat = unsafe { zeroed() };
        ignore(sys!(libc::SYS_newfstatat, libc::AT_FDCWD, c"/etc/passwd".as_ptr(), &raw mut stat, 0))
    }),
    killed("read a link", |_| {
        let mut buffer = [0u8; 64];
        ignore(sys!(libc::SYS_readlinkat, libc::AT_FDCWD, c"/proc/self/exe".as_ptr(), buffer.as_mut_ptr(), 64))
    }),
    killed("change directory", |_| ignore(sys!(libc::SYS_chdir, c"/".as_ptr()))),
    killed("watch files", |_| ignore(sys!(libc::SYS_inotify_init1, 0))),
    // Sockets.
    killed("socket inet", |_| ignore(socket(libc::AF_INET, libc::SOCK_STREAM))),
    killed("socket inet6", |_| ignore(socket(libc::AF_INET6, libc::SOCK_DGRAM))),
    killed("socket unix", |_| ignore(socket(libc::AF_UNIX, libc::SOCK_STREAM))),
    killed("socket netlink", |_| ignore(socket(libc::AF_NETLINK, libc::SOCK_RAW))),
    killed("socket packet", |_| ignore(socket(libc::AF_PACKET, libc::SOCK_RAW))),
    killed("socket vsock", |_| ignore(socket(libc::AF_VSOCK, libc::SOCK_STREAM))),
    killed("socketpair", |_| {
        let mut pair = [0; 2];
        ignore(sys!(libc::SYS_socketpair, libc::AF_UNIX, libc::SOCK_STREAM, 0, pair.as_mut_ptr()))
    }),
    killed("connect to a loopback port", |t| {
        let fd = socket(libc::AF_INET, libc::SOCK_STREAM)?;
        // SAFETY: all zeroes is a valid `sockaddr_in`.
        let mut address: libc::sockaddr_in = unsafe { zeroed() };
        address.sin_family = libc::AF_INET as u16;
        address.sin_port = t.port.to_be();
        address.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
        ignore(sys!(libc::SYS_connect, fd, &raw const address, size_of_val(&address)))
    }),
    killed("connect to an abstract socket", |t| {
        let fd = socket(libc::AF_UNIX, libc::SOCK_STREAM)?;
        // SAFETY: all zeroes is a valid `sockaddr_un`.
        let mut address: libc::sockaddr_un = unsafe { zeroed() };
        address.sun_family = libc::AF_UNIX as u16;
        for (slot, byte) in address.sun_path.iter_mut().skip(1).zip(t.abstract_socket.bytes()) {
            *slot = byte as libc::c_char;
        }
        ignore(sys!(libc::SYS_connect, fd, &raw const address, 2 + 1 + t.abstract_socket.len()))
    }),
    // Other processes.
    killed("signal the host", |t| ignore(sys!(libc::SYS_kill, t.host, 0))),
    killed("signal another worker", |t| ignore(sys!(libc::SYS_kill, t.sibling, 0))),
    killed("signal everybody", |_| ignore(sys!(libc::SYS_kill, -1, 0))),
    killed("signal a thread of the host", |t| ignore(sys!(libc::SYS_tgkill, t.host, t.host, 0))),
    killed("pidfd of the host", |t| ignore(sys!(libc::SYS_pidfd_open, t.host, 0))),
    killed("pidfd of another worker", |t| ignore(sys!(libc::SYS_pidfd_open, t.sibling, 0))),
    killed("signal by pidfd", |_| ignore(sys!(libc::SYS_pidfd_send_signal, 0, 0, 0, 0))),
    killed("trace the host", |t| ignore(sys!(libc::SYS_ptrace, libc::PTRACE_SEIZE, t.host, 0, 0))),
    killed("trace another worker", |t| ignore(sys!(libc::SYS_ptrace, libc::PTRACE_SEIZE, t.sibling, 0, 0))),
    killed("read the host's memory", |t| vm(libc::SYS_process_vm_readv, t.host)),
    killed("write the host's memory", |t| vm(libc::SYS_process_vm_writev, t.host)),
    killed("read another worker's memory", |t| vm(libc::SYS_process_vm_readv, t.sibling)),
    killed("write another worker's memory", |t| vm(libc::SYS_process_vm_writev, t.sibling)),
    killed("limits of the host", |t| ignore(sys!(libc::SYS_prlimit64, t.host, libc::RLIMIT_NOFILE, 0, 0))),
    killed("processors of the host", |t| ignore(sys!(libc::SYS_sched_setaffinity, t.host, 8, [1u64].as_ptr()))),
    killed("priority of the host", |t| ignore(sys!(libc::SYS_setpriority, libc::PRIO_PROCESS, t.host, 0))),
    // New processes and programs.
    #[cfg(target_arch = "x86_64")]
    killed("fork", |_| forked(sys!(libc::SYS_fork))),
    killed("fork by clone", |_| forked(sys!(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0))),
    killed("fork by clone3", |_| {
        let mut arguments = [0u64; 11];
        arguments[4] = libc::SIGCHLD as u64;
        forked(sys!(libc::SYS_clone3, arguments.as_mut_ptr(), size_of_val(&arguments)))
    }),
    killed("a thread", |_| match std::thread::Builder::new().spawn(|| ()) {
        Ok(_) => Ok(()),
        Err(e) => Err(Errno::from_raw(e.raw_os_error().unwrap_or_default())),
    }),
    killed("execute a program", |_| {
        let arguments = [c"true".as_ptr(), null()];
        ignore(sys!(libc::SYS_execve, c"/bin/true".as_ptr(), arguments.as_ptr(), 0))
    }),
    killed("execute a descriptor", |_| {
        let arguments = [c"x".as_ptr(), null()];
        ignore(sys!(libc::SYS_execveat, 0, c"".as_ptr(), arguments.as_ptr(), 0, libc::AT_EMPTY_PATH))
    }),
    killed("a memory file", |_| ignore(sys!(libc::SYS_memfd_create, c"x".as_ptr(), 0))),
    // Executable memory.
    killed("map executable memory", |_| ignore(page(RW | libc::PROT_EXEC))),
    killed("make memory executable", |_| {
        ignore(sys!(libc::SYS_mprotect, page(RW)?, 4096, libc::PROT_READ | libc::PROT_EXEC))
    }),
    killed("make memory executable by key", |_| {
        ignore(sys!(libc::SYS_pkey_mprotect, page(RW)?, 4096, libc::PROT_READ | libc::PROT_EXEC, -1))
    }),
    killed("readable means executable", |_| ignore(sys!(libc::SYS_personality, 0x0040_0000))),
    killed("executable shared memory", |_| {
        let id = sys!(libc::SYS_shmget, libc::IPC_PRIVATE, 4096, libc::IPC_CREAT | 0o600)?;
        let attached = sys!(libc::SYS_shmat, id, 0, libc::SHM_EXEC);
        let _ = sys!(libc::SYS_shmctl, id, libc::IPC_RMID, 0);
        ignore(attached)
    }),
    // Views of the system.
    killed("a user namespace", |_| ignore(sys!(libc::SYS_unshare, libc::CLONE_NEWUSER))),
    killed("a mount namespace", |_| ignore(sys!(libc::SYS_unshare, libc::CLONE_NEWNS))),
    killed("another's namespace", |_| ignore(sys!(libc::SYS_setns, 0, 0))),
    killed("mount", |t| {
        let there = path(&t.directory);
        ignore(sys!(libc::SYS_mount, 0, there.as_ptr(), c"nothing".as_ptr(), libc::MS_REMOUNT, 0))
    }),
    killed("unmount", |_| ignore(sys!(libc::SYS_umount2, c"/nothing".as_ptr(), 0))),
    killed("mount by the new calls", |_| ignore(sys!(libc::SYS_fsopen, c"tmpfs".as_ptr(), 0))),
    killed("clone a mount", |_| ignore(sys!(libc::SYS_open_tree, libc::AT_FDCWD, c"/".as_ptr(), 0))),
    killed("change the root by pivot", |_| ignore(sys!(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()))),
    killed("change the root", |_| ignore(sys!(libc::SYS_chroot, c"/".as_ptr()))),
    // Privileges.
    killed("become root", |_| ignore(sys!(libc::SYS_setuid, 0))),
    killed("become root for all purposes", |_| ignore(sys!(libc::SYS_setresuid, 0, 0, 0))),
    killed("join a group", |_| ignore(sys!(libc::SYS_setgroups, 1, [0u32].as_ptr()))),
    killed("take capabilities", |_| {
        // A capability that root has wherever it has any: CAP_NET_BIND_SERVICE, effective and permitted.
        let header = [0x2008_0522u32, 0];
        let data = [1u32 << 10, 1 << 10, 0, 0, 0, 0];
        ignore(sys!(libc::SYS_capset, header.as_ptr(), data.as_ptr()))
    }),
    killed("become traceable", |_| ignore(sys!(libc::SYS_prctl, libc::PR_SET_DUMPABLE, 1, 0, 0, 0))),
    killed("be traceable", |_| match sys!(libc::SYS_prctl, libc::PR_GET_DUMPABLE, 0, 0, 0, 0)? {
        1 => Ok(()),
        _ => Err(Errno::EPERM),
    }),
    killed("gain privileges by exec", |_| match sys!(libc::SYS_prctl, libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)? {
        0 => Ok(()),
        _ => Err(Errno::EPERM),
    }),
    killed("outlive the host", |_| ignore(sys!(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, 0, 0, 0, 0))),
    // The kernel.
    killed("bpf", |_| ignore(sys!(libc::SYS_bpf, 0, 0, 0))),
    killed("perf events", |_| ignore(sys!(libc::SYS_perf_event_open, 0, 0, -1, -1, 0))),
    killed("userfaultfd", |_| ignore(sys!(libc::SYS_userfaultfd, 1))),
    killed("io_uring", |_| {
        let mut parameters = [0u8; 120];
        ignore(sys!(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()))
    }),
    killed("keyctl", |_| ignore(sys!(libc::SYS_keyctl, 0, -3, 0, 0, 0))),
    killed("add a key", |_| ignore(sys!(libc::SYS_add_key, c"user".as_ptr(), c"x".as_ptr(), c"x".as_ptr(), 1, -3))),
    killed("request a key", |_| ignore(sys!(libc::SYS_request_key, c"user".as_ptr(), c"x".as_ptr(), 0, 0))),
    killed("load a module", |_| ignore(sys!(libc::SYS_init_module, 0, 0, c"".as_ptr()))),
    killed("load a module's file", |_| ignore(sys!(libc::SYS_finit_module, -1, c"".as_ptr(), 0))),
    killed("load a kernel", |_| ignore(sys!(libc::SYS_kexec_load, 0, 1, 0, -1))),
    killed("type into a terminal", |_| ignore(sys!(libc::SYS_ioctl, 0, libc::TIOCSTI, c"x".as_ptr()))),
    killed("ask about a terminal", |_| {
        let mut bytes = [0u8; 64];
        ignore(sys!(libc::SYS_ioctl, 1, libc::TCGETS, bytes.as_mut_ptr()))
    }),
    killed("restart the machine", |_| ignore(sys!(libc::SYS_reboot, 0, 0, 0, 0))),
    killed("set the clock", |_| ignore(sys!(libc::SYS_clock_settime, libc::CLOCK_REALTIME, 0))),
    killed("the kernel's log", |_| ignore(sys!(libc::SYS_syslog, 10, 0, 0))),
    killed("a weaker filter", |_| ignore(sys!(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, null::<c_void>()))),
    // Things that the worker was given.
    killed("grow its limits", |_| {
        let limit = [libc::RLIM64_INFINITY; 2];
        ignore(sys!(libc::SYS_prlimit64, 0, libc::RLIMIT_NOFILE, limit.as_ptr(), 0))
    }),
    killed("cut the lane off", |_| any(|fd| sys!(libc::SYS_ftruncate, fd, 0))),
    killed("unseal the lane", |_| any(|fd| sys!(libc::SYS_fcntl, fd, libc::F_ADD_SEALS, libc::F_SEAL_WRITE))),
    killed("duplicate a descriptor", |_| ignore(sys!(libc::SYS_dup, 1))),
    fails("read what the host left open", |_| {
        let mut bytes = [0u8; 64];
        ignore(sys!(libc::SYS_read, LEAKED, bytes.as_mut_ptr(), 64))
    }),
    fails("read the host's environment", |_| match std::env::var_os(SECRET) {
        Some(_) => Ok(()),
        None => Err(Errno::ENOENT),
    }),
    fails("touch 16 TiB of address space", |_| {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        ignore(sys!(libc::SYS_mmap, 0, 16u64 << 40, libc::PROT_READ, flags, -1, 0))
    }),
    killed("share 64 GiB of memory with itself", |_| {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        ignore(sys!(libc::SYS_mmap, 0, 64u64 << 30, RW, flags, -1, 0))
    }),
    fails("take 64 GiB of memory", |_| {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        ignore(sys!(libc::SYS_mmap, 0, 64u64 << 30, RW, flags, -1, 0))
    }),
];

/// Tries each of the descriptors that a worker may have.
pub fn any(attempt: impl FnMut(c_int) -> Result<c_long, Errno>) -> Tried {
    (3..16).map(attempt).find(Result::is_ok).unwrap_or(Err(Errno::EBADF)).map(drop)
}

/// Returns the result of a fork that should have been refused. The child ends at once.
fn forked(result: Result<c_long, Errno>) -> Tried {
    if result? == 0 {
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) };
    }
    Ok(())
}

/// Reads or writes an address where nothing is mapped. The kernel reports that only to callers who would be allowed to.
fn vm(number: c_long, pid: i32) -> Tried {
    let mut byte = 0u64;
    let local = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 8 };
    let remote = libc::iovec { iov_base: null_mut(), iov_len: 8 };
    match sys!(number, pid, &raw const local, 1, &raw const remote, 1, 0) {
        Err(Errno::EFAULT) => Ok(()),
        other => ignore(other),
    }
}
