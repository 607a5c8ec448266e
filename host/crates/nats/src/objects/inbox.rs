//! What a thread is told that also waits for descriptors.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use nix::sys::eventfd::{EfdFlags, EventFd};

use wasmpool_run::scarce::ring;

/// The side that tells.
#[derive(Debug)]
pub struct Inbox<T> {
    sender: Sender<T>,
    wake: Arc<EventFd>,
}

impl<T> Clone for Inbox<T> {
    fn clone(&self) -> Inbox<T> {
        Inbox { sender: self.sender.clone(), wake: self.wake.clone() }
    }
}

impl<T> Inbox<T> {
    pub fn tell(&self, input: T) {
        // If the thread is gone, nobody wants it.
        if self.sender.send(input).is_ok() {
            ring(&self.wake);
        }
    }
}

/// The side that is told.
#[derive(Debug)]
pub struct Inputs<T> {
    receiver: Receiver<T>,
    wake: Arc<EventFd>,
}

impl<T> Inputs<T> {
    /// Returns the next input, if there is one.
    pub fn next(&self) -> Option<T> {
        self.receiver.try_recv().ok()
    }

    /// Takes note that what was told is looked at.
    pub fn hear(&self) {
        // An empty counter is an error here, and means no news.
        let _ = self.wake.read();
    }
}

/// The descriptor that can be read when there may be something new.
impl<T> AsFd for Inputs<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

pub fn inbox<T>() -> io::Result<(Inbox<T>, Inputs<T>)> {
    let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
    let (sender, receiver) = mpsc::channel();
    Ok((Inbox { sender, wake: wake.clone() }, Inputs { receiver, wake }))
}
