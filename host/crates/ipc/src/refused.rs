//! System calls that are indispensable, and that a container or a service's settings may refuse.

use std::io;

use nix::errno::Errno;

/// Returns the error of an indispensable system call. If the call itself was refused, the error names it.
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
