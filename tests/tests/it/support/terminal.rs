//! A terminal, for programs that look whether they have one.

use std::fs::File;
use std::os::fd::{FromRawFd, OwnedFd};

/// A terminal: the side a person sees, and the side a program has.
pub fn terminal() -> (File, OwnedFd) {
    let (mut master, mut slave) = (-1, -1);
    // SAFETY: both numbers outlive the call, and the other arguments may be null.
    let done = unsafe {
        libc::openpty(&raw mut master, &raw mut slave, std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut())
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    for descriptor in [master, slave] {
        // SAFETY: changes a flag of a descriptor that is ours; other tests start children.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    // SAFETY: both are open, and nobody else's.
    unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) }
}
