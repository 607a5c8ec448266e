//! Retries for what the system may lack for a moment: processes, threads, descriptors and memory.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;

use crate::error::Error;
use wasmpool_scheduler::{PATIENCE, pause};

/// Returns true if the error means a lack that may soon be over.
pub fn passes(e: &io::Error) -> bool {
    let passing = [
        Errno::EAGAIN,
        Errno::EINTR,
        Errno::EMFILE,
        Errno::ENFILE,
        Errno::ENOBUFS,
        Errno::ENOLCK,
        Errno::ENOMEM,
        // More descriptors are on their way through sockets than the limit allows.
        Errno::ETOOMANYREFS,
        // The binary is being replaced.
        Errno::ETXTBSY,
        // A child has ended already, and somebody else has collected its status.
        Errno::ECHILD,
        Errno::ESRCH,
    ];
    e.raw_os_error().is_some_and(|code| passing.contains(&Errno::from_raw(code)))
}

/// An error that may mean such a lack.
pub trait ResourceShortage {
    fn passes(&self) -> bool;
}

impl ResourceShortage for io::Error {
    fn passes(&self) -> bool {
        passes(self)
    }
}

impl ResourceShortage for Error {
    fn passes(&self) -> bool {
        matches!(self, Error::Spawn(e) | Error::System(e) if passes(e))
    }
}

/// Tries something until it succeeds, fails for good, or [`PATIENCE`] is over, or until `stop` is readable.
pub fn patiently<T, E: ResourceShortage>(
    stop: Option<BorrowedFd<'_>>,
    mut attempt: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let start = Instant::now();
    for failures in 1.. {
        match attempt() {
            Err(e) if e.passes() && start.elapsed() < PATIENCE => {
                if wait(pause(failures), stop) {
                    return Err(e);
                }
            }
            result => return result,
        }
    }
    attempt()
}

/// Signals an event, and tries again where that is not possible for a moment: without the signal both sides would
/// sleep.
pub fn ring(event: &EventFd) {
    while matches!(event.write(1), Err(Errno::EINTR | Errno::ENOBUFS | Errno::ENOMEM)) {
        thread::yield_now();
    }
}

/// Waits for `time`, or until `stop` is readable, and returns true if it is.
pub fn wait(time: Duration, stop: Option<BorrowedFd<'_>>) -> bool {
    let Some(stop) = stop else {
        thread::sleep(time);
        return false;
    };
    let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(stop, PollFlags::POLLIN)], timeout) {
        Ok(ready) => ready > 0,
        Err(_) => {
            thread::sleep(time);
            false
        }
    }
}

/// Starts a thread as soon as there is room for one. The thread returns `None` only if it could not be given its work.
pub fn start_thread<T, W>(name: &str, work: W) -> io::Result<JoinHandle<Option<T>>>
where
    T: Send + 'static,
    W: FnOnce() -> T + Send + 'static,
{
    // A thread that cannot be started would drop its work, so the work is sent afterwards.
    let (thread, give) = patiently(None, || {
        // A channel without a bound has memory for 31 of them, each as large as all that the work has.
        let (give, given) = mpsc::sync_channel::<W>(1);
        let run = move || given.recv().ok().map(|work| work());
        thread::Builder::new().name(name.to_owned()).spawn(run).map(|thread| (thread, give))
    })?;
    let _ = give.send(work);
    Ok(thread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_tried_again_and_what_does_not_is_told_at_once() {
        let mut left = [Errno::EMFILE, Errno::EAGAIN].into_iter();
        let done = patiently(None, || left.next().map_or(Ok(7), |e| Err(io::Error::from(e))));
        assert!(matches!(done, Ok(7)));
        let mut tries = 0;
        let refused = patiently(None, || -> io::Result<()> {
            tries += 1;
            Err(Errno::EACCES.into())
        });
        assert_eq!((refused.map_err(|e| e.raw_os_error()), tries), (Err(Some(Errno::EACCES as i32)), 1));
    }

    #[test]
    fn a_thread_gets_its_work_and_gives_what_came_of_it() {
        let thread = start_thread("test", || 7).expect("a thread");
        assert_eq!(thread.join().expect("no panic"), Some(7));
    }
}
