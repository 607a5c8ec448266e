//! What the thread that keeps the manager process and all others share: requests on their way, answers, participants
//! that come and go, and who wants to hear what happens.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::error::Error;
use crate::scarce::ring;
use wasmpool_core::share::{ObjectGrant, ObjectQuota};
use wasmpool_ipc::channel::client::ChannelClient;
use wasmpool_ipc::channel::{self, ChannelParts};
use wasmpool_ipc::lane::control::Control;
use wasmpool_ipc::messages::{ManagerOrder, ParticipantRole};
use wasmpool_objects::operation::{Answer, Request};

/// Time after which a process that does not answer is taken to be lost.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Something that concerns whoever runs participants.
#[derive(Clone, Debug)]
pub enum SharedEvent {
    /// This participant sent what no worker sends. Its channel is closed, and it has to end.
    Violation { participant: u32, why: String },
    /// This participant has no part any more in objects on another machine, and has to end.
    Cut { participant: u32, why: String },
    /// The manager process has ended, and all that it kept is lost.
    Lost(Error),
}

/// The manager has as many participants as it can have.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{0} participants share objects, which is as many as the limits of descriptors allow (`ulimit -Hn`)")]
struct TooManyParticipants(u64);

/// Is told what happens. It is called by the thread that keeps the manager, so it must not wait.
pub type Listener = Box<dyn Fn(SharedEvent) + Send>;

pub struct Link {
    control: Control,
    /// Wakes the thread.
    pub wake: EventFd,
    /// Number of participants that the manager can have at a time.
    most: u64,
    /// True if the objects are on another machine, and all of them are asked for.
    is_elsewhere: bool,
    state: Mutex<LinkState>,
    changed: Condvar,
    /// The process that started the manager. A process that was forked off has no part in it.
    owner: u32,
}

#[derive(Default)]
struct LinkState {
    outbox: VecDeque<HostRequest>,
    /// Channels of holders of the host that the thread has not taken over yet, and how many holders there are.
    joining: Vec<ChannelClient>,
    holders: usize,
    /// What was asked and is still wanted, with the answer as soon as there is one.
    asked: BTreeMap<u32, Option<Answer>>,
    next_ticket: u32,
    next_participant: u32,
    /// Number of participants that the manager has, and those of them whose end it has not confirmed.
    participants: u64,
    leaving: BTreeSet<u32>,
    listeners: BTreeMap<u64, Listener>,
    next_listener: u64,
    lost: Option<Error>,
    closing: bool,
}

/// A request of the host: the number of the holder that asks, and the ticket of the answer.
#[derive(Debug)]
pub struct HostRequest {
    pub holder: usize,
    pub ticket: u32,
    pub request: Request,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("control", &self.control).finish_non_exhaustive()
    }
}

impl Link {
    pub fn new(control: Control, most: u64, is_elsewhere: bool) -> io::Result<Link> {
        Ok(Link {
            control,
            most,
            is_elsewhere,
            wake: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
            state: Mutex::default(),
            changed: Condvar::new(),
            owner: std::process::id(),
        })
    }

    pub fn is_elsewhere(&self) -> bool {
        self.is_elsewhere
    }

    pub fn control(&self) -> &Control {
        &self.control
    }

    fn state(&self) -> MutexGuard<'_, LinkState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, LinkState>) -> MutexGuard<'a, LinkState> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_ours(&self) -> bool {
        self.owner == std::process::id()
    }

    // ---- requests ----------------------------------------------------------------------------------------------------

    /// Sends a request to an object with this quota, and returns the ticket by which its answer is known. What the manager
    /// would take for a violation is refused here: it would end the manager, and with it the run.
    pub fn ask(&self, holder: usize, request: Request, quota: &ObjectQuota) -> Result<u32, Error> {
        if !self.is_ours() {
            return Err(Error::Forked);
        }
        let mut state = self.state();
        if let Some(lost) = &state.lost {
            return Err(lost.clone());
        }
        // A ticket is free again when its answer was taken, so a long wait may meet its own number after 2³² others.
        let ticket = loop {
            let ticket = state.next_ticket;
            state.next_ticket = ticket.wrapping_add(1);
            if !state.asked.contains_key(&ticket) {
                break ticket;
            }
        };
        if let Err(error) = request.operation.check(quota) {
            state.asked.insert(ticket, Some(Err(error)));
            return Ok(ticket);
        }
        state.asked.insert(ticket, None);
        state.outbox.push_back(HostRequest { holder, ticket, request });
        drop(state);
        ring(&self.wake);
        Ok(ticket)
    }

    /// Waits for the answer to a request. `None` if there is none within `at_most`.
    pub fn answer(&self, ticket: u32, at_most: Option<Duration>) -> Option<Result<Answer, Error>> {
        let until = at_most.and_then(|time| Instant::now().checked_add(time));
        let mut state = self.state();
        loop {
            if let Some(answer) = state.asked.get_mut(&ticket).and_then(Option::take) {
                state.asked.remove(&ticket);
                return Some(Ok(answer));
            }
            if let Some(lost) = &state.lost {
                return Some(Err(lost.clone()));
            }
            match until.map(|until| until.saturating_duration_since(Instant::now())) {
                Some(left) if left.is_zero() => return None,
                Some(left) => {
                    state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                }
                None => state = self.wait(state),
            }
        }
    }

    /// Forgets a request whose answer nobody wants any more.
    pub fn forget(&self, ticket: u32) {
        self.state().asked.remove(&ticket);
    }

    // ---- participants ------------------------------------------------------------------------------------------------

    /// Returns how many participants there can be at a time.
    pub fn most_participants(&self) -> u64 {
        self.most
    }

    /// Creates the channel of a new participant, and hands one side to the manager. Returns the participant's number and
    /// its side.
    pub fn attach(&self, name: &str, role: ParticipantRole, grants: &[ObjectGrant]) -> io::Result<(u32, ChannelParts)> {
        let (ours, theirs) = channel::create()?;
        let mut state = self.state();
        if let Some(lost) = &state.lost {
            return Err(io::Error::other(lost.to_string()));
        }
        // One more would take the manager's last descriptor, and all that it keeps would be lost.
        if state.participants >= self.most {
            return Err(io::Error::other(TooManyParticipants(self.most)));
        }
        let participant = state.next_participant;
        state.next_participant += 1;
        state.participants += 1;
        drop(state);
        let grants = grants.iter().filter(|grant| self.is_elsewhere || !grant.spec.form.is_mapped());
        let grants = grants.map(|grant| (grant.object, grant.rights)).collect();
        let order = ManagerOrder::Attach { participant, role, name: name.to_owned(), grants };
        let sent = self.control.send(&order, &[theirs.memory.as_fd(), theirs.socket.as_fd()]);
        if sent.is_err() {
            self.state().participants -= 1;
        }
        sent.map(|()| (participant, ours))
    }

    /// Makes the host a participant once more, and returns the number of this holder. The first has number 0.
    pub fn add_holder(&self, grants: &[ObjectGrant]) -> Result<usize, Error> {
        if !self.is_ours() {
            return Err(Error::Forked);
        }
        let (_, parts) = self.attach("the host program", ParticipantRole::Host, grants)?;
        let channel = ChannelClient::open(parts)?;
        channel.set_patience(PATIENCE)?;
        let mut state = self.state();
        let holder = state.holders;
        state.holders += 1;
        state.joining.push(channel);
        Ok(holder)
    }

    /// Tells the manager that a participant has ended.
    pub fn detach(&self, participant: u32) {
        if !self.is_ours() {
            return;
        }
        let mut state = self.state();
        if state.lost.is_some() {
            return;
        }
        state.leaving.insert(participant);
        drop(state);
        // If the manager has ended, the thread says so.
        let _ = self.control.send(&ManagerOrder::Detach { participant }, &[]);
    }

    /// Tells the manager that a participant is being killed.
    pub fn ending(&self, participant: u32) {
        if self.is_ours() {
            let _ = self.control.send(&ManagerOrder::Ending { participant }, &[]);
        }
    }

    /// Tells the manager how many workers can run items at a time.
    pub fn set_parallelism(&self, workers: u32) {
        if self.is_ours() {
            let _ = self.control.send(&ManagerOrder::Parallelism(workers), &[]);
        }
    }

    /// Waits until everything that participants held who were detached is released.
    pub fn settle(&self) -> Result<(), Error> {
        let mut state = self.state();
        loop {
            match &state.lost {
                Some(lost) => return Err(lost.clone()),
                None if state.leaving.is_empty() => return Ok(()),
                None => state = self.wait(state),
            }
        }
    }

    // ---- listeners ---------------------------------------------------------------------------------------------------

    /// Has a listener told what happens from now on, and that the manager is lost if it is. Returns its number.
    pub fn listen(&self, listener: Listener) -> u64 {
        let mut state = self.state();
        if let Some(lost) = &state.lost {
            listener(SharedEvent::Lost(lost.clone()));
        }
        let number = state.next_listener;
        state.next_listener += 1;
        state.listeners.insert(number, listener);
        number
    }

    pub fn stop_listening(&self, number: u64) {
        let _ = self.state().listeners.remove(&number);
    }

    // ---- the thread --------------------------------------------------------------------------------------------------

    /// Returns the channels of new holders, in the order of their numbers, and the requests that are to be sent.
    pub fn to_send(&self) -> (Vec<ChannelClient>, VecDeque<HostRequest>) {
        // An empty counter is an error here, and means no news.
        let _ = self.wake.read();
        let mut state = self.state();
        (std::mem::take(&mut state.joining), std::mem::take(&mut state.outbox))
    }

    pub fn answered(&self, ticket: u32, answer: Answer) {
        let mut state = self.state();
        // Nobody may want it any more.
        if let Some(asked) = state.asked.get_mut(&ticket) {
            *asked = Some(answer);
            drop(state);
            self.changed.notify_all();
        }
    }

    pub fn detached(&self, participant: u32) {
        let mut state = self.state();
        if state.leaving.remove(&participant) {
            state.participants = state.participants.saturating_sub(1);
        }
        drop(state);
        self.changed.notify_all();
    }

    pub fn tell(&self, event: &SharedEvent) {
        for listener in self.state().listeners.values() {
            listener(event.clone());
        }
    }

    /// Says that the manager has ended.
    pub fn lose(&self, why: Error) {
        let event = SharedEvent::Lost(why.clone());
        self.state().lost = Some(why);
        self.changed.notify_all();
        self.tell(&event);
    }

    /// Has the thread end the manager.
    pub fn close(&self) {
        self.state().closing = true;
        ring(&self.wake);
    }

    pub fn is_closing(&self) -> bool {
        self.state().closing
    }
}
