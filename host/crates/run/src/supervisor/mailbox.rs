//! The way in which other threads notify the supervisor: a channel, and a descriptor that wakes it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::remote::RemoteEvent;
use super::report::WorkerReport;
use crate::error::{Error, caught};
use crate::input::InputError;
use crate::journal::JournalError;
use crate::resume::ResumePoint;
use crate::scarce::ring;
use crate::shared::SharedEvent;
use wasmpool_core::policy::Halt;
use wasmpool_ipc::batch::Batch;
use wasmpool_ipc::wake::AnnouncedCount;
use wasmpool_scheduler::ItemTerms;

/// Something that the supervisor is told.
#[derive(Debug)]
pub enum Event {
    /// Items were read; answers one request for input.
    Input(Batch),
    /// Like `Input`, for items with terms of their own.
    InputOn(Batch, ItemTerms),
    /// Items with these indices, from the first on, which another process has read: they are one chunk, for as long as
    /// nothing goes wrong.
    Chunk(u64, Batch),
    /// Something that slots on other machines did.
    Remote(RemoteEvent),
    /// There is no more input for now. Later items come unasked, as the answer to the last request.
    InputPause,
    InputEnd,
    InputFailed(InputError),
    /// The input begins like that of the run that is continued, and this is left of it; answers one request for input.
    TakenUp(ResumePoint),
    /// The input does not begin like that, or cannot be read that far.
    Refused(JournalError),
    /// Number of bytes of results that were written.
    Written(usize),
    /// A call was given up; the sink knows which items that concerns.
    Unwanted,
    /// Items that no worker has begun are cancelled.
    CancelPending,
    /// Somebody asks for the workers there are.
    Report(mpsc::Sender<Vec<WorkerReport>>),
    /// Number of workers that may run from now on.
    Workers(usize),
    /// Nobody reads the results any more.
    OutputClosed,
    /// The terminal that results go to is gone.
    OutputHungUp,
    OutputFailed(io::Error),
    JournalFailed(io::Error),
    /// A thread that the run cannot do without has panicked.
    Broke(Error),
    /// The user or the system asks to stop.
    Signal(i32),
    /// Something happened to the shared objects.
    Shared(SharedEvent),
    /// Too many items have failed, in this run and those beside it.
    Halt(Halt),
    /// The run must stop now, whatever is running.
    Terminate,
}

impl Event {
    /// Returns the event for an input that ended in this way.
    pub fn of_end(end: Result<(), InputError>) -> Event {
        match end {
            Ok(()) => Event::InputEnd,
            Err(e) => Event::InputFailed(e),
        }
    }
}

/// Asks for one more batch of input, of at most this many items, and returns true if it is in the mailbox already. The
/// supervisor calls this, so it must not block.
pub type InputRequest = Box<dyn Fn(usize) -> bool + Send>;

/// The supervisor's end of the channel.
pub struct Mailbox {
    events: Receiver<Event>,
    sender: EventSender,
    ask: InputRequest,
}

/// The other threads' end of the channel.
#[derive(Clone, Debug)]
pub struct EventSender {
    events: mpsc::Sender<Event>,
    wake: Arc<EventFd>,
    /// Number of bytes written since the supervisor last looked. It changes often and is seldom waited for.
    written: Arc<AnnouncedCount>,
}

impl Mailbox {
    /// Returns a mailbox, and the requests for input that the reading thread waits for.
    pub fn new() -> io::Result<(Mailbox, Receiver<()>)> {
        let (requests, wanted) = mpsc::channel();
        let ask = Box::new(move |_| {
            // If the reading thread is gone, it has reported the reason.
            let _ = requests.send(());
            false
        });
        Ok((Mailbox::asking(ask)?, wanted))
    }

    /// Returns a mailbox whose supervisor asks for input by calling `ask`.
    pub fn asking(ask: InputRequest) -> io::Result<Mailbox> {
        let (sender, events) = mpsc::channel();
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        let sender = EventSender { events: sender, wake, written: Arc::default() };
        Ok(Mailbox { events, sender, ask })
    }

    pub fn sender(&self) -> EventSender {
        self.sender.clone()
    }

    /// Takes all events that have arrived.
    pub fn take(&self) -> Vec<Event> {
        // An empty counter is an error here, and means no news.
        let _ = self.sender.wake.read();
        let written = self.sender.written.take();
        let written = (written > 0).then_some(Event::Written(written));
        written.into_iter().chain(self.events.try_iter()).collect()
    }

    /// Announces that the supervisor is about to sleep. Returns true if there is something for it after all. With
    /// `for_written`, it is woken for written bytes from now on.
    pub fn announce_sleep(&self, for_written: bool) -> bool {
        self.sender.written.announce(for_written)
    }

    /// Asks for one more batch of input, of at most this many items. Returns true if it is there already.
    pub fn ask_for_input(&self, items: usize) -> bool {
        (self.ask)(items)
    }
}

impl AsFd for Mailbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sender.wake.as_fd()
    }
}

impl EventSender {
    /// Enqueues `event` without waking the supervisor.
    pub fn leave(&self, event: Event) {
        let _ = self.events.send(event);
    }

    /// Wakes the supervisor.
    pub fn wake(&self) {
        ring(&self.wake);
    }

    /// Enqueues `event` and wakes the supervisor. If it is gone, nobody needs to know.
    pub fn send(&self, event: Event) {
        if self.events.send(event).is_ok() {
            self.wake();
        }
    }

    /// Runs the work of a thread that the supervisor waits for: if it panics, the run ends with [`Error::Bug`] that
    /// names `who`.
    pub fn watch<T>(&self, who: &str, work: impl FnOnce() -> T) -> Option<T> {
        caught(who, work).map_err(|e| self.send(Event::Broke(e))).ok()
    }

    /// Reports that this many bytes of results were written, which arrives as [`Event::Written`].
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
