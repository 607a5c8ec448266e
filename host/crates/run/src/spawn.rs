//! Starts this binary, or another of the same version, as a worker, compile or manager process.
//!
//! A child gets an empty environment, `/` as its directory, a process group of its own, and one end of a socket as its
//! standard input; nothing else. Its first act is to close descriptors that somebody left open
//! (`wasmpool::worker_entry`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use rustix::process::{Pid, PidfdFlags};

use crate::cgroup;
use crate::clock::RunClock;
use crate::grants::Grants;
use wasmpool_core::policy::SandboxMode;
use wasmpool_sandbox::nowhere;
use wasmpool_sandbox::surroundings::ChildEnd;

/// The purpose of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildRole {
    Worker,
    /// A worker whose task is granted neither a peer nor a scratch directory, which is known before the task is: it
    /// enters its namespaces while it waits for it.
    SecludedWorker,
    Compile,
    /// Keeps the shared objects of a run.
    Manager,
    /// Enters a worker's sandbox and reports what it got.
    Doctor,
    /// Reports its version.
    Version,
}

/// The binary that is executed.
#[derive(Clone, Debug)]
pub enum ChildProgram {
    /// The binary of this process.
    Own,
    /// Another binary, kept open: it stays the one that was checked, whatever happens to its path.
    Other(Arc<File>),
}

impl ChildProgram {
    /// Returns a link to the binary itself, not a path at which somebody could have put another.
    fn path(&self) -> PathBuf {
        match self {
            ChildProgram::Own => PathBuf::from("/proc/self/exe"),
            // The child resolves this path among its own descriptors, just before it executes the program.
            ChildProgram::Other(file) => PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())),
        }
    }
}

/// The first argument of a child's command line, by which `wasmpool::worker_entry` recognises it.
pub const MARK: &str = "wasmpool-child";

/// The last argument of the command line of a [`ChildRole::SecludedWorker`].
pub const SECLUDED: &str = "secluded";

impl ChildRole {
    /// Returns the role of a worker for tasks with these grants.
    pub fn of_worker(sandbox: SandboxMode, grants: &Grants) -> ChildRole {
        match sandbox {
            SandboxMode::Strict | SandboxMode::BestEffort if grants.peers.is_empty() && grants.scratch.is_none() => {
                ChildRole::SecludedWorker
            }
            _ => ChildRole::Worker,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            ChildRole::Worker | ChildRole::SecludedWorker => "worker",
            ChildRole::Compile => "compile",
            ChildRole::Manager => "manager",
            ChildRole::Doctor => "doctor",
            ChildRole::Version => "version",
        }
    }

    pub fn from_name(name: &str) -> Option<ChildRole> {
        [ChildRole::Worker, ChildRole::Compile, ChildRole::Manager, ChildRole::Doctor, ChildRole::Version]
            .into_iter()
            .find(|r| r.name() == name)
    }
}

/// The handles of this process's living children, by descriptor number. They are weak: a process that was forked off
/// closes them with its copies of [`ChildProcess`], and leaves this list alone.
static CHILDREN: Mutex<BTreeMap<RawFd, Weak<OwnedFd>>> = Mutex::new(BTreeMap::new());

fn children() -> MutexGuard<'static, BTreeMap<RawFd, Weak<OwnedFd>>> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends a signal to all children. One that a terminal sends does not reach them, since they have process groups of
/// their own.
pub fn signal_children(signal: Signal) {
    for pidfd in children().values().filter_map(Weak::upgrade) {
        send(&pidfd, signal);
    }
}

/// A child process. Dropping it kills it and waits for its end.
#[derive(Debug)]
pub struct ChildProcess {
    pid: u32,
    started: Instant,
    pidfd: Arc<OwnedFd>,
    /// The process that started the child. A process that is forked off has a copy of this value, but no child.
    parent: u32,
}

/// The result of waiting for a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildWait {
    Ended(ChildEnd),
    /// The child still runs after the time is over.
    Late,
    /// The child still runs, but is no longer wanted.
    Stopped,
}

/// Starts `program` in `role`, with `socket` as its standard input. The process dies with the thread that calls this.
pub fn start(program: &ChildProgram, role: ChildRole, socket: OwnedFd) -> io::Result<ChildProcess> {
    let mut command = Command::new(program.path());
    let nowhere = nowhere(false)?;
    command
        .arg0(MARK)
        .arg(role.name())
        // The process whose end the child must notice.
        .arg(std::process::id().to_string())
        .env_clear()
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::from(socket))
        .stdout(Stdio::from(nowhere.try_clone()?))
        .stderr(Stdio::from(nowhere));
    #[cfg(feature = "probes")]
    wasmpool_sandbox::probes::weaken(&mut command);
    if role == ChildRole::SecludedWorker {
        command.arg(SECLUDED);
    }
    cgroup::start(|| command.spawn().map_err(without_proc), noted)
}

/// Enters a child that was just started into the list of all.
fn noted(mut child: Child) -> io::Result<ChildProcess> {
    match own_pidfd(child.id()) {
        Ok(pidfd) => {
            let pidfd = Arc::new(pidfd);
            children().insert(pidfd.as_raw_fd(), Arc::downgrade(&pidfd));
            Ok(ChildProcess { pid: child.id(), started: Instant::now(), pidfd, parent: std::process::id() })
        }
        // The child's number may belong to another process by now.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ECHILD | libc::ESRCH)) => Err(e),
        Err(e) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(e)
        }
    }
}

/// Explains a failure by the lack of `/proc`, where the binary itself is found.
fn without_proc(error: io::Error) -> io::Error {
    match std::fs::metadata("/proc/self/exe") {
        Err(e) if error.kind() == io::ErrorKind::NotFound => io::Error::other(format!(
            "there is no /proc here, by which a program finds its own binary (/proc/self/exe: {e})"
        )),
        _ => error,
    }
}

/// Returns a handle on a child that was just started. If somebody else has collected its status already, its number may
/// belong to another process.
fn own_pidfd(pid: u32) -> io::Result<OwnedFd> {
    let pidfd = pidfd_open(pid)?;
    waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT)?;
    Ok(pidfd)
}

fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    rustix::process::pidfd_open(pid, PidfdFlags::empty())
        .map_err(|e| wasmpool_ipc::refused::refused("pidfd_open", e.into()))
}

/// Signals the process of an open handle, never another that got its number. A process that has ended needs no signal.
fn send(pidfd: &OwnedFd, signal: Signal) {
    if let Some(signal) = rustix::process::Signal::from_named_raw(signal as i32) {
        let _ = rustix::process::pidfd_send_signal(pidfd, signal);
    }
}

impl ChildProcess {
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns the time at which it was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    pub fn kill(&self) {
        if self.is_ours() {
            send(&self.pidfd, Signal::SIGKILL);
        }
    }

    /// Returns true in the process that started the child. One that was forked off must leave it alone.
    fn is_ours(&self) -> bool {
        self.parent == std::process::id()
    }

    /// Waits for the end of a process that is known to have ended or to have been killed.
    pub fn reap(&self) -> ChildEnd {
        let end = loop {
            match waitid(Id::PIDFd(self.pidfd.as_fd()), WaitPidFlag::WEXITED) {
                Ok(WaitStatus::Exited(_, code)) => break ChildEnd::known(ExitStatus::from_raw((code & 0xff) << 8)),
                Ok(WaitStatus::Signaled(_, signal, core)) => {
                    break ChildEnd::known(ExitStatus::from_raw(signal as i32 | i32::from(core) << 7));
                }
                Err(Errno::EINTR) => {}
                _ => break ChildEnd::unknown(),
            }
        };
        cgroup::stay_if_exiting();
        end
    }

    /// Waits until the child ends, `timeout` is over, or `stop` is readable.
    pub fn wait_at_most(&self, timeout: Duration, stop: Option<BorrowedFd<'_>>) -> io::Result<ChildWait> {
        /// Pause before waiting again when the kernel has no memory to wait with.
        const AGAIN: Duration = Duration::from_millis(10);
        let clock = RunClock::start();
        loop {
            let left = timeout.saturating_sub(clock.elapsed());
            let wait = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut awaited = vec![PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
            awaited.extend(stop.map(|stop| PollFd::new(stop, PollFlags::POLLIN)));
            match poll(&mut awaited, wait) {
                Ok(0) if left.is_zero() => return Ok(ChildWait::Late),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) if awaited.first().and_then(PollFd::any) == Some(true) => {
                    return Ok(ChildWait::Ended(self.reap()));
                }
                Ok(_) => return Ok(ChildWait::Stopped),
                Err(Errno::ENOMEM | Errno::EAGAIN) => thread::sleep(AGAIN),
                Err(e) => return Err(e.into()),
            }
        }
    }
}

impl AsFd for ChildProcess {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        if self.is_ours() {
            children().remove(&self.pidfd.as_raw_fd());
            self.kill();
            self.reap();
        }
    }
}
