//! The first acts of a child: keep one socket and nothing else, and never outlive the host.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

use nix::sys::signal::Signal;
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

/// Takes the socket that is this process's standard input, and closes every other descriptor that somebody left open.
/// `host` is its process id, as it stands on the command line.
pub fn own_socket(host: Option<&str>) -> io::Result<OwnedFd> {
    let host = host.and_then(|pid| pid.parse().ok()).map(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    if holds(super::Layer::Death) {
        let _ = HOST.set(host);
    }
    die_with_host()?;
    if holds(super::Layer::Inheritance) {
        // SAFETY: closes numbers that nothing in this process owns yet.
        if unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let null = std::fs::File::open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    Ok(socket)
}

#[cfg(feature = "probes")]
fn holds(layer: super::Layer) -> bool {
    !super::probes::left_out_at_start().contains(&layer)
}

#[cfg(not(feature = "probes"))]
fn holds(_layer: super::Layer) -> bool {
    true
}
