//! How other threads tell the supervisor something: a channel, and a descriptor that wakes it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::input::Batch;

/// What happened outside.
#[derive(Debug)]
pub enum Event {
    /// Items were read; answers one request for input.
    Input(Batch),
    InputEnd,
    InputFailed(String),
    /// So many bytes of results have left.
    Written(usize),
    /// Nobody reads the results any more.
    OutputClosed,
    OutputFailed(io::Error),
    /// The user or the system asks to stop.
    Signal(i32),
}

/// The supervisor's end.
#[derive(Debug)]
pub struct Mailbox {
    events: Receiver<Event>,
    sender: mpsc::Sender<Event>,
    wake: Arc<EventFd>,
    /// Requests for input, for whoever reads it.
    requests: mpsc::Sender<()>,
}

/// The other threads' end.
#[derive(Clone, Debug)]
pub struct Sender {
    events: mpsc::Sender<Event>,
    wake: Arc<EventFd>,
}

impl Mailbox {
    /// A mailbox, and the requests for input that whoever reads it waits for.
    pub fn new() -> io::Result<(Mailbox, Receiver<()>)> {
        let (sender, events) = mpsc::channel();
        let (requests, wanted) = mpsc::channel();
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        Ok((Mailbox { events, sender, wake, requests }, wanted))
    }

    pub fn sender(&self) -> Sender {
        Sender { events: self.sender.clone(), wake: self.wake.clone() }
    }

    /// All that has arrived.
    pub fn take(&self) -> Vec<Event> {
        // Empty is an error here, and no news.
        let _ = self.wake.read();
        self.events.try_iter().collect()
    }

    /// Asks for one more batch of input.
    pub fn ask_for_input(&self) {
        // A reader that is gone has said why.
        let _ = self.requests.send(());
    }
}

impl AsFd for Mailbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

impl Sender {
    /// Tells the supervisor. If it is gone, nobody needs to know.
    pub fn send(&self, event: Event) {
        if self.events.send(event).is_ok() {
            let _ = self.wake.write(1);
        }
    }
}
