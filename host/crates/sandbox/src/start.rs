//! The first acts of a child: keep one socket and nothing else, and never outlive the host.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

use libc::c_int;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::unistd::{Pid, getppid};

/// The host, as it says on our command line.
static HOST: OnceLock<Pid> = OnceLock::new();

/// Has the kernel kill this process when its host ends.
pub(super) fn die_with_host() -> io::Result<()> {
    let Some(&host) = HOST.get() else {
        return Ok(());
    };
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    // It may have ended before that call: then somebody else is our parent by now.
    if getppid() != host {
        return Err(io::Error::other("the host has ended"));
    }
    Ok(())
}

/// Has the kernel's memory killer choose this process rather than its host, whose loss would be the loss of all its work.
/// Where there is no /proc, nothing can be said to it.
fn die_before_host() {
    const FIRST: &[u8] = b"1000";
    let _ = std::fs::write("/proc/self/oom_score_adj", FIRST);
}

/// Takes the socket that is this process's standard input, and closes every other descriptor that somebody left open.
/// `host` is its process id, as it stands on the command line.
pub fn own_socket(host: Option<&str>) -> io::Result<OwnedFd> {
    let host = host.and_then(|pid| pid.parse().ok()).map(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    if holds(super::Layer::Death) {
        let _ = HOST.set(host);
    }
    die_with_host()?;
    die_before_host();
    // It says which limit ended a process. The host has blocked it, or whoever started the host ignores it.
    let mut size = SigSet::empty();
    size.add(Signal::SIGXFSZ);
    size.thread_unblock()?;
    // SAFETY: the default action runs none of our code.
    unsafe { signal(Signal::SIGXFSZ, SigHandler::SigDfl)? };
    if holds(super::Layer::Inheritance) {
        close_others()?;
    }
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    nix::unistd::dup2_stdin(nowhere(true)?)?;
    Ok(socket)
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

/// Closes all descriptors but the standard streams.
fn close_others() -> io::Result<()> {
    const FIRST: c_int = 3;
    // SAFETY: closes numbers that nothing in this process owns yet.
    if unsafe { libc::syscall(libc::SYS_close_range, FIRST, u32::MAX, 0) } == 0 {
        return Ok(());
    }
    // Old containers forbid that call.
    let numbers = match std::fs::read_dir("/proc/self/fd") {
        // The descriptor that reads the directory is among them, and closed by then.
        Ok(open) => open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect::<Vec<c_int>>(),
        Err(_) => {
            let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
            (FIRST..c_int::try_from(most).map_err(io::Error::other)?).collect()
        }
    };
    for number in numbers.into_iter().filter(|number| *number >= FIRST) {
        // SAFETY: as above. One that is not open is none to close.
        unsafe { libc::close(number) };
    }
    Ok(())
}

#[cfg(feature = "probes")]
fn holds(layer: super::Layer) -> bool {
    !super::probes::left_out_at_start().contains(&layer)
}

#[cfg(not(feature = "probes"))]
fn holds(_layer: super::Layer) -> bool {
    true
}
