//! How other threads tell the supervisor something: a channel, and a descriptor that wakes it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::error::{Error, caught};
use crate::resume::ResumePoint;
use crate::scarce::ring;
use wasmpool_core::policy::Halt;
use wasmpool_ipc::batch::Batch;
use wasmpool_ipc::wake::Tally;

/// What happened outside.
#[derive(Debug)]
pub enum Event {
    /// Items were read; answers one request for input.
    Input(Batch),
    /// There is no more input for now; what comes later comes unasked, as the answer to the last request.
    InputPause,
    InputEnd,
    InputFailed(String),
    /// The input begins as that of the run that is gone on with, and this is left of it; answers one request for input.
    TakenUp(ResumePoint),
    /// It does not, or cannot be read as far.
    Refused(String),
    /// So many bytes of results have left.
    Written(usize),
    /// Somebody has given up a call: the sink knows which items that are.
    Unwanted,
    /// So many workers may run from now on.
    Workers(usize),
    /// Nobody reads the results any more.
    OutputClosed,
    OutputFailed(io::Error),
    JournalFailed(io::Error),
    /// A thread that the run cannot do without broke down.
    Broke(Error),
    /// The user or the system asks to stop.
    Signal(i32),
    /// Too much has failed, in this run and those beside it.
    Halt(Halt),
    /// Stop now, whatever is in work.
    Terminate,
}

impl Event {
    /// What tells that the input ended like this.
    pub fn of_end(end: Result<(), String>) -> Event {
        match end {
            Ok(()) => Event::InputEnd,
            Err(message) => Event::InputFailed(message),
        }
    }
}

/// Asks for one more batch of input, of so many items at most, and says whether it is in the mailbox already. Called by
/// the supervisor, which must not wait for it.
pub type Ask = Box<dyn Fn(usize) -> bool + Send>;

/// The supervisor's end.
pub struct Mailbox {
    events: Receiver<Event>,
    sender: Sender,
    ask: Ask,
}

/// The other threads' end.
#[derive(Clone, Debug)]
pub struct Sender {
    events: mpsc::Sender<Event>,
    wake: Arc<EventFd>,
    /// What has been written since the supervisor last looked. It happens often and is seldom waited for.
    written: Arc<Tally>,
}

impl Mailbox {
    /// A mailbox, and the requests for input that whoever reads it waits for.
    pub fn new() -> io::Result<(Mailbox, Receiver<()>)> {
        let (requests, wanted) = mpsc::channel();
        let ask = Box::new(move |_| {
            // A reader that is gone has said why.
            let _ = requests.send(());
            false
        });
        Ok((Mailbox::asking(ask)?, wanted))
    }

    /// A mailbox whose supervisor asks for input like this.
    pub fn asking(ask: Ask) -> io::Result<Mailbox> {
        let (sender, events) = mpsc::channel();
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        let sender = Sender { events: sender, wake, written: Arc::default() };
        Ok(Mailbox { events, sender, ask })
    }

    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// All that has arrived.
    pub fn take(&self) -> Vec<Event> {
        // Empty is an error here, and no news.
        let _ = self.sender.wake.read();
        let written = self.sender.written.take();
        let written = (written > 0).then_some(Event::Written(written));
        written.into_iter().chain(self.events.try_iter()).collect()
    }

    /// The supervisor is about to sleep. Says whether there is something for it after all: where it waits for bytes to
    /// leave, it is woken for them from now on.
    pub fn announce_sleep(&self, for_written: bool) -> bool {
        self.sender.written.announce(for_written)
    }

    /// Asks for one more batch of input, of so many items at most. Says whether it is there already.
    pub fn ask_for_input(&self, items: usize) -> bool {
        (self.ask)(items)
    }
}

impl AsFd for Mailbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sender.wake.as_fd()
    }
}

impl Sender {
    /// The same, for the supervisor to find when it looks next; it is not woken.
    pub fn leave(&self, event: Event) {
        let _ = self.events.send(event);
    }

    /// Has it look.
    pub fn wake(&self) {
        ring(&self.wake);
    }

    /// Tells the supervisor. If it is gone, nobody needs to know.
    pub fn send(&self, event: Event) {
        if self.events.send(event).is_ok() {
            self.wake();
        }
    }

    /// Does the work of a thread that the supervisor waits for: where it panics, the run ends with [`Error::Bug`] of `who`.
    pub fn watch<T>(&self, who: &str, work: impl FnOnce() -> T) -> Option<T> {
        caught(who, work).map_err(|e| self.send(Event::Broke(e))).ok()
    }

    /// Tells that so many bytes of results have left, which comes as [`Event::Written`].
    pub fn written(&self, bytes: usize) {
        if self.written.add(bytes) {
            self.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_panics_is_told_to_the_supervisor() {
        let (mailbox, _requests) = Mailbox::new().expect("a mailbox");
        let sender = mailbox.sender();
        assert_eq!(sender.watch("a thread", || 7), Some(7));
        assert!(mailbox.take().is_empty());
        let bytes: &[u8] = &[];
        assert_eq!(sender.watch("the thread that reads", || bytes[7]), None);
        match &mailbox.take()[..] {
            [Event::Broke(Error::Bug(message))] => {
                assert!(message.starts_with("the thread that reads broke down: index out of bounds"), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
}
