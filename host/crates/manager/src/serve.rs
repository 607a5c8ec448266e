//! What the process does all the time: it reads what the host and participants say, hands it to the machine, passes on
//! the answers, and sleeps.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::peers::{Peer, Peers, Sent};
use wasmpool_core::share::{ObjectRights, ObjectSpec};
use wasmpool_core::text::cut;
use wasmpool_ipc::channel::ChannelParts;
use wasmpool_ipc::channel::server::ChannelServer;
use wasmpool_ipc::clock::now_ns;
use wasmpool_ipc::lane::control::{Control, Incoming};
use wasmpool_ipc::messages::{ManagerOrder, ManagerReport, ManagerSetup, ParticipantRole};
use wasmpool_ipc::spin::Spin;
use wasmpool_objects::contents::Contents;
use wasmpool_objects::operation::{MOST_PARTS, Reply};
use wasmpool_objects::{Machine, Outputs, ParticipantId, ParticipantLimits};

/// The host's number among the things that are waited for; participants have their own.
const HOST: u64 = u64::MAX;
/// Turns without a look at sockets, which costs a system call, while there is something to do all the time.
const TURNS: u32 = 32;
/// Orders that are carried out before participants have their turn.
const ORDERS: usize = 64;
/// Requests of a participant that are read before one of them is handled. A worker waits for each answer.
const OF_A_WORKER: usize = 16;
const OF_THE_HOST: usize = 1024;
/// Bytes of answers that a participant has in a turn, and all of them together, before the others go on. An answer is made as
/// a whole, so one may be longer: then no other that may be long is made in that turn.
const TOLD_TO_ONE: usize = 256 << 10;
const TOLD_TO_ALL: usize = 1 << 20;
/// Requests of the host that may wait at a time: it has many threads.
const HOST_IN_FLIGHT: u32 = 1 << 16;
/// Maximum number of characters of a reason: it has to fit the socket.
const LONGEST: usize = 2000;

/// The process while it serves.
pub struct Serving<'a> {
    control: &'a Control,
    epoll: Epoll,
    objects: Vec<ObjectSpec>,
    machine: Machine,
    peers: Peers,
    outputs: Outputs,
    spin: Spin,
    /// Bytes of answers in this turn.
    told: usize,
    /// The first participant that has to wait for the next turn because of them. It begins there.
    put_off: Option<ParticipantId>,
}

impl<'a> Serving<'a> {
    /// Prepares everything that needs more than the sandbox allows. `contents` is what objects are filled with.
    pub fn new(
        control: &'a Control,
        setup: &ManagerSetup,
        contents: BTreeMap<u16, Contents>,
    ) -> io::Result<Serving<'a>> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(control.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, HOST))?;
        // Until the host says how many can run at once, nothing is refused for lack of them.
        let mut machine = Machine::new(setup.objects.clone(), u32::MAX);
        machine.tokens_after(setup.token);
        for (object, contents) in contents {
            machine.fill(object, contents).map_err(io::Error::other)?;
        }
        Ok(Serving {
            control,
            epoll,
            objects: setup.objects.clone(),
            machine,
            peers: Peers::default(),
            outputs: Outputs::default(),
            spin: Spin::default(),
            told: 0,
            put_off: None,
        })
    }

    /// Serves until the host is gone.
    pub fn run(mut self) -> io::Result<()> {
        let mut turns = 0;
        loop {
            self.serve_participants()?;
            turns += 1;
            if turns < TURNS && self.has_more() {
                continue;
            }
            turns = 0;
            if self.sleep()? && !self.take_orders()? {
                return Ok(());
            }
        }
    }

    /// Returns true if participants have something, perhaps after a look of some microseconds.
    fn has_more(&mut self) -> bool {
        let Serving { peers, spin, .. } = self;
        peers.any_more() || spin.until(|| peers.any_more())
    }

    // ---- the host ----------------------------------------------------------------------------------------------------

    /// Carries out what the host said. Returns false if it is gone.
    fn take_orders(&mut self) -> io::Result<bool> {
        for _ in 0..ORDERS {
            match self.control.receive_with_descriptors(true)? {
                Incoming::Message((ManagerOrder::Attach { participant, role, name, grants }, descriptors)) => {
                    if let Err(why) = self.attach(participant, role, name, &grants, descriptors) {
                        self.report_violation(participant, &why)?;
                    }
                }
                Incoming::Message((ManagerOrder::Detach { participant }, _)) => {
                    if let Some(peer) = self.peers.get_mut(participant) {
                        peer.end();
                        self.see_off(participant)?;
                        self.deliver()?;
                    }
                    self.control.send(&ManagerReport::Detached { participant }, &[])?;
                }
                Incoming::Message((ManagerOrder::Ending { participant }, _)) => {
                    if let Some(peer) = self.peers.get_mut(participant) {
                        peer.ending = true;
                        self.machine.stop_waiting(now(), participant, &mut self.peers, &mut self.outputs);
                        self.deliver()?;
                    }
                }
                Incoming::Message((ManagerOrder::Parallelism(workers), _)) => self.machine.set_at_once(workers),
                Incoming::Message((ManagerOrder::Ping, _)) => self.control.send(&ManagerReport::Alive, &[])?,
                Incoming::Bell | Incoming::Nothing => break,
                Incoming::Closed => return Ok(false),
            }
        }
        Ok(true)
    }

    fn attach(
        &mut self,
        participant: ParticipantId,
        role: ParticipantRole,
        name: String,
        grants: &[(u16, ObjectRights)],
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), String> {
        let Ok([memory, socket]) = <[OwnedFd; 2]>::try_from(descriptors) else {
            return Err("it came with other descriptors than those of a channel".to_owned());
        };
        let granted = grants.iter().filter_map(|(object, _)| self.objects.get(usize::from(*object)));
        let longest = granted.map(|spec| spec.quota.longest_request()).max().unwrap_or_default();
        let longest = u32::try_from(longest).unwrap_or(u32::MAX);
        let opened = |e: io::Error| format!("its channel cannot be opened: {e}");
        let channel = ChannelServer::open(ChannelParts { memory, socket }, longest).map_err(opened)?;
        let (limits, most) = match role {
            ParticipantRole::Worker => (ParticipantLimits::WORKER, OF_A_WORKER),
            ParticipantRole::Remote => (ParticipantLimits::REMOTE, OF_A_WORKER),
            ParticipantRole::Host => {
                let waiting_bytes = u64::from(longest);
                (ParticipantLimits { in_flight: HOST_IN_FLIGHT, waiting_bytes, fast: false }, OF_THE_HOST)
            }
        };
        self.machine.join(participant, name, grants, limits).map_err(|e| format!("it cannot join: {e:?}"))?;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, u64::from(participant));
        let added = self.epoll.add(channel.as_fd(), event);
        self.peers.insert(participant, Peer::new(channel, most, longest));
        if let Err(e) = added {
            self.peers.break_off(participant, &opened(e.into()));
        }
        // What it sent before it was known here has rung for nobody.
        self.peers.again = true;
        Ok(())
    }

    fn report_violation(&self, participant: ParticipantId, why: &str) -> io::Result<()> {
        self.control.send(&ManagerReport::Violation { participant, why: cut(why, LONGEST) }, &[])
    }

    // ---- participants ------------------------------------------------------------------------------------------------

    /// Reads all rings and handles what is in them, then what became of those that have ended, and what is due.
    fn serve_participants(&mut self) -> io::Result<()> {
        self.peers.hear();
        // Those who have ended come last: first the requests that the others sent before are handled.
        let (ended, mut living): (Vec<_>, Vec<_>) = {
            let leaving = self.peers.leaving();
            self.peers.ids().into_iter().partition(|id| leaving.contains(id))
        };
        self.told = 0;
        if let Some(first) = self.put_off.take() {
            let before = living.partition_point(|id| *id < first);
            living.rotate_left(before);
        }
        for id in living {
            self.serve(id, true);
        }
        for id in ended {
            self.see_off(id)?;
        }
        self.machine.tick(now(), &mut self.peers, &mut self.outputs);
        self.deliver()?;
        self.peers.wake();
        Ok(())
    }

    /// Handles what is in a participant's ring. While it lives, the others have their turn once requests of [`MOST_PARTS`] parts
    /// together were handled, or [`TOLD_TO_ONE`] bytes answered, and the rest waits. Once it has ended nobody is there to be
    /// told anything: only what has effects counts, and there are no answers.
    fn serve(&mut self, id: ParticipantId, is_alive: bool) {
        let (mut parts_left, mut told) = (MOST_PARTS, 0);
        let is_given = is_alive && self.peers.get_mut(id).is_some_and(|peer| !peer.ending);
        for put in self.peers.read(id) {
            self.machine.put_on_credit(now(), id, put, &mut self.peers, &mut self.outputs);
        }
        while !is_alive || parts_left > 0 && told < TOLD_TO_ONE {
            if is_alive && self.told >= TOLD_TO_ALL && self.peers.asks_to_be_told(id) {
                self.put_off.get_or_insert(id);
                break;
            }
            let Some(sent) = self.peers.take(id) else { break };
            match sent {
                // What it takes away would be lost, and what it reads nobody would have.
                Sent::Ask { request, .. } if !is_given && request.operation.tells() => {}
                Sent::Ask { ticket, request } => {
                    parts_left = parts_left.saturating_sub(request.operation.parts());
                    let before = self.outputs.answers.len();
                    self.machine.ask(now(), id, ticket, request, &mut self.peers, &mut self.outputs);
                    if !is_alive && self.outputs.answers.last().is_some_and(|last| last.participant == id) {
                        self.outputs.answers.pop();
                    }
                    let new = self.outputs.answers.get(before..).unwrap_or_default();
                    told += new.iter().filter_map(|new| new.answer.as_ref().ok()).map(Reply::bytes).sum::<usize>();
                }
                Sent::ItemBegan(item) => self.machine.item_began(id, item),
                Sent::Released { object } => {
                    self.machine.released(now(), id, object, &mut self.peers, &mut self.outputs);
                }
                Sent::ItemEnded(ending) => {
                    self.machine.item_ended(now(), id, ending, &mut self.peers, &mut self.outputs);
                }
            }
        }
        self.told += told;
    }

    /// Handles what a participant has left in its ring, and its end.
    fn see_off(&mut self, id: ParticipantId) -> io::Result<()> {
        for _ in 0..self.peers.last_reads(id) {
            self.serve(id, false);
            if !self.peers.has_more(id) {
                break;
            }
        }
        self.machine.leave(now(), id, &mut self.peers, &mut self.outputs);
        // Its channel is closed with it, so it is not waited for any more.
        match self.peers.remove(id).and_then(|peer| peer.broken) {
            Some(why) => self.report_violation(id, &why),
            None => Ok(()),
        }
    }

    /// Passes on answers, and ends those who did what no participant does.
    fn deliver(&mut self) -> io::Result<()> {
        loop {
            let Outputs { answers, violations } = std::mem::take(&mut self.outputs);
            for answered in answers {
                self.peers.answer(answered.participant, answered.ticket, answered.answer);
            }
            for violation in violations {
                self.peers.break_off(violation.participant, violation.what);
            }
            match self.peers.first_broken() {
                Some(id) => self.see_off(id)?,
                None => return Ok(()),
            }
        }
    }

    // ---- sleep -------------------------------------------------------------------------------------------------------

    /// Sleeps until there is something to do. Returns true if the host has said something.
    fn sleep(&mut self) -> io::Result<bool> {
        let timeout = if self.peers.announce() {
            EpollTimeout::ZERO
        } else {
            match self.machine.next_deadline() {
                Some(deadline) => in_milliseconds(deadline.saturating_sub(now())),
                None => EpollTimeout::NONE,
            }
        };
        let mut events = [EpollEvent::empty(); 64];
        let count = match self.epoll.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(e) => return Err(e.into()),
        };
        self.peers.retract();
        let mut told = false;
        for event in events.iter().take(count) {
            match ParticipantId::try_from(event.data()) {
                Ok(id) => {
                    if let Some(peer) = self.peers.get_mut(id) {
                        peer.rung = true;
                    }
                }
                Err(_) => told = true,
            }
        }
        Ok(told)
    }
}

fn now() -> Duration {
    Duration::from_nanos(now_ns())
}

/// Rounds up: after waking early, the process would only sleep again.
fn in_milliseconds(time: Duration) -> EpollTimeout {
    i32::try_from(time.as_micros().div_ceil(1000)).ok().and_then(|ms| EpollTimeout::try_from(ms).ok()).unwrap_or_else(
        || {
            // So long a wait is made of several.
            EpollTimeout::from(u16::MAX)
        },
    )
}
