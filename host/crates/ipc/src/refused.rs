//! System calls that nothing works without, where a container or a service's settings refuse them.

use std::io;

use nix::errno::Errno;

/// An error of a system call that nothing works without. Where the call itself is refused, it is named.
pub fn refused(call: &str, error: io::Error) -> io::Error {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOSYS | Errno::EPERM | Errno::EACCES) => io::Error::new(
            error.kind(),
            format!(
                "the system call {call} is refused here ({error}); it may be forbidden by a container or a service's settings"
            ),
        ),
        _ => error,
    }
}
