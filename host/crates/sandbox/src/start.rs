//! The first acts of a child process: keeping one socket and nothing else, and making sure that it never outlives the
//! host.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

use libc::c_int;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::unistd::{Pid, getppid};

/// Process id of the host, from the command line.
static HOST: OnceLock<Pid> = OnceLock::new();

/// Asks the kernel to kill this process when its host ends.
pub(super) fn die_with_host() -> io::Result<()> {
    let Some(&host) = HOST.get() else {
        return Ok(());
    };
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    // If the host ended before that call, this process already has another parent.
    if getppid() != host {
        return Err(io::Error::other("the host has ended"));
    }
    Ok(())
}

/// Asks the kernel's memory killer to choose this process rather than its host, whose loss would be the loss of all its
/// work. Without /proc there is no way to ask.
fn die_before_host() {
    const FIRST: &[u8] = b"1000";
    let _ = std::fs::write("/proc/self/oom_score_adj", FIRST);
}

/// Takes the socket that is this process's standard input, and closes all other descriptors that somebody left open.
/// `host` is the host's process id from the command line.
pub fn own_socket(host: Option<&str>) -> io::Result<OwnedFd> {
    let host = host.and_then(|pid| pid.parse().ok()).map(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    if holds(super::Layer::Death) {
        let _ = HOST.set(host);
    }
    die_with_host()?;
    die_before_host();
    // SIGXFSZ tells which limit ended a process. The host has blocked it, or whoever started the host ignores it.
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

/// Returns a descriptor that delivers nothing, or discards everything: `/dev/null` or, without that, a pipe whose other
/// end is closed.
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
        // The descriptor that reads the directory is among them, and is closed by then.
        Ok(open) => open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect::<Vec<c_int>>(),
        Err(_) => {
            let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
            (FIRST..c_int::try_from(most).map_err(io::Error::other)?).collect()
        }
    };
    for number in numbers.into_iter().filter(|number| *number >= FIRST) {
        // SAFETY: closes numbers that nothing in this process owns yet. Closing one that is not open does nothing.
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
