//! Starting our own binary, or another of the same version, as a worker or compiler.
//!
//! A child gets an empty environment, `/` as its directory, a process group of its own, and one end of a socket as its
//! standard input; nothing else. What it does about descriptors that somebody left open is its first act
//! ([`crate::worker_entry`]).

use std::fs::File;
use std::io;
use std::num::NonZero;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child as StdChild, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::Error;

/// What a child is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Worker,
    Compile,
    /// Enters a worker's sandbox and says what it got.
    Doctor,
    /// Says which version it is.
    Version,
}

/// What is executed.
#[derive(Clone, Debug)]
pub enum Program {
    /// This very binary.
    Own,
    /// Another, kept open: it is the one that was looked at, whatever becomes of its path.
    Other(Arc<File>),
}

impl Program {
    /// A link to the binary itself: not a path that somebody could have replaced.
    fn path(&self) -> PathBuf {
        match self {
            Program::Own => PathBuf::from("/proc/self/exe"),
            // The child looks this up among the descriptors that it has until it becomes the other program.
            Program::Other(file) => PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())),
        }
    }
}

/// The first word of a child's command line, by which [`crate::worker_entry`] knows it.
pub const MARK: &str = "wasmpool-child";

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::Worker => "worker",
            Role::Compile => "compile",
            Role::Doctor => "doctor",
            Role::Version => "version",
        }
    }

    pub fn from_name(name: &str) -> Option<Role> {
        [Role::Worker, Role::Compile, Role::Doctor, Role::Version].into_iter().find(|r| r.name() == name)
    }
}

/// Processors that this process may use.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// A child process. Dropping it kills it and waits for its end.
#[derive(Debug)]
pub struct Child {
    child: StdChild,
    pidfd: OwnedFd,
}

/// What waiting for a child came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    Ended(ExitStatus),
    /// It runs, though the time is over.
    Late,
    /// It runs, but nobody wants it any more.
    Stopped,
}

/// Starts `program` in `role`, with `socket` as its standard input. The process dies with the thread that calls this.
pub fn start(program: &Program, role: Role, socket: OwnedFd) -> Result<Child, Error> {
    let failed = |e: io::Error| Error::Spawn(e);
    let mut command = Command::new(program.path());
    let nowhere = nowhere(false).map_err(failed)?;
    command
        .arg0(MARK)
        .arg(role.name())
        // Whose end it has to notice.
        .arg(std::process::id().to_string())
        .env_clear()
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::from(socket))
        .stdout(Stdio::from(nowhere.try_clone().map_err(failed)?))
        .stderr(Stdio::from(nowhere));
    #[cfg(feature = "probes")]
    crate::sandbox::probes::weaken(&mut command);
    let mut child = command.spawn().map_err(without_proc).map_err(failed)?;
    match pidfd_open(child.id()) {
        Ok(pidfd) => Ok(Child { child, pidfd }),
        Err(e) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(failed(e))
        }
    }
}

/// The binary itself is found by `/proc`.
fn without_proc(error: io::Error) -> io::Error {
    match std::fs::metadata("/proc/self/exe") {
        Err(e) if error.kind() == io::ErrorKind::NotFound => io::Error::other(format!(
            "there is no /proc here, by which a program finds its own binary (/proc/self/exe: {e})"
        )),
        _ => error,
    }
}

/// A descriptor that says nothing, or takes everything and keeps it nowhere: `/dev/null`. Where there is none, it is a pipe
/// that nobody holds the other end of.
pub fn nowhere(reading: bool) -> io::Result<OwnedFd> {
    if let Ok(null) = File::options().read(reading).write(!reading).open("/dev/null") {
        return Ok(null.into());
    }
    let (from, to) = io::pipe()?;
    Ok(if reading { from.into() } else { to.into() })
}

fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: the system call takes two numbers and returns a descriptor or -1.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(crate::refused::refused("pidfd_open", io::Error::last_os_error()));
    }
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

impl Child {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills this very process, never another that got its number. One that has ended needs no killing.
    pub fn kill(&self) {
        let none: *const libc::siginfo_t = std::ptr::null();
        // SAFETY: the descriptor is open as long as `self`; a null siginfo is allowed.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.pidfd.as_raw_fd(), libc::SIGKILL, none, 0) };
    }

    /// Waits for the end of a process that is known to have ended or to be killed.
    pub fn reap(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }

    /// Waits for its end, for `timeout`, or until `stop` is readable.
    pub fn wait_at_most(&mut self, timeout: Duration, stop: Option<BorrowedFd<'_>>) -> io::Result<Waited> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut awaited = vec![PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
            awaited.extend(stop.map(|stop| PollFd::new(stop, PollFlags::POLLIN)));
            match poll(&mut awaited, wait) {
                Ok(0) if left.is_zero() => return Ok(Waited::Late),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) if awaited.first().and_then(PollFd::any) == Some(true) => {
                    return self.child.wait().map(Waited::Ended);
                }
                Ok(_) => return Ok(Waited::Stopped),
                Err(e) => return Err(e.into()),
            }
        }
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}
