//! A terminal, for programs that check whether they have one.

use std::fs::File;
use std::os::fd::{FromRawFd, OwnedFd};

/// Opens a terminal: the side that a person sees, and the side that a program has.
pub fn terminal() -> (File, OwnedFd) {
    let (mut master, mut slave) = (-1, -1);
    // SAFETY: both numbers outlive the call, and the other arguments may be null.
    let done = unsafe {
        libc::openpty(&raw mut master, &raw mut slave, std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut())
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    for descriptor in [master, slave] {
        // SAFETY: the call changes a flag of a descriptor that is ours. Other tests start children, which must not
        // inherit it.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    // SAFETY: both are open, and owned by nobody else.
    unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) }
}
