//! The end of the tunnel at which participants are: a thread that takes the place of the manager process for the workers of
//! this machine, and passes on what they ask.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::far::in_milliseconds;
use super::hello::Hello;
use super::inbox::{Inbox, Inputs, inbox};
use super::{LOOK, longest_frame};
use crate::client::{BROKER_SILENCE, Client, Waiting};
use wasmpool_core::share::{ObjectGrant, ObjectRights, SharedGrants};
use wasmpool_core::text::cut;
use wasmpool_hosts::notes;
use wasmpool_hosts::tunnel::near::{Loss, Near, NearEvent};
use wasmpool_hosts::tunnel::packet::Packet;
use wasmpool_hosts::tunnel::{PATIENCE, Time};
use wasmpool_ipc::channel::server::ChannelServer;
use wasmpool_ipc::channel::{ChannelParts, Heard};
use wasmpool_ipc::lane::control::{Control, Incoming};
use wasmpool_ipc::messages::{ManagerOrder, ManagerReport, ParticipantRole};
use wasmpool_run::error::{Error, caught};
use wasmpool_run::scarce::start_thread;
use wasmpool_run::shared::SharedObjects;

/// Bytes of a participant that may be on their way until no more of its requests is read.
const BACKLOG: usize = 1 << 20;
/// Time that the ends of participants have to be confirmed when the thread ends.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Pause before waiting again when the kernel has no memory to wait with.
const AGAIN: Duration = Duration::from_millis(10);
/// Maximum number of characters of a reason: it has to fit the socket.
const LONGEST: usize = 1000;

/// Something for the thread.
#[derive(Debug)]
pub enum NearInput {
    Packet(Bytes, Waiting),
    /// There is a connection to the broker again, whose messages have no more than so many bytes.
    Connected(usize),
}

/// Where packets for a near end go.
pub type NearInbox = Inbox<NearInput>;

/// The way to objects on another machine.
#[derive(Clone, Debug)]
pub struct Route {
    pub client: Arc<Client>,
    /// Where packets for the far end go.
    pub subject: String,
    /// Which process this is.
    pub life: u64,
    /// Which process the far end is, if that is known.
    pub far: Option<u64>,
    /// Maximum bytes of a part.
    pub longest_part: usize,
    /// What the far end is called in messages.
    pub whose: String,
    /// Bytes that participants may hold of what is not complete, with those of other ways.
    pub room: SharedRoom,
}

/// Memory that the near ends of a host share evenly.
#[derive(Clone, Debug)]
pub struct SharedRoom {
    bytes: usize,
    ends: Arc<AtomicUsize>,
}

impl SharedRoom {
    pub fn new(bytes: usize) -> SharedRoom {
        SharedRoom { bytes, ends: Arc::default() }
    }

    fn enter(&self) -> RoomShare {
        self.ends.fetch_add(1, Ordering::Relaxed);
        RoomShare(self.clone())
    }
}

/// The share of one near end.
#[derive(Debug)]
struct RoomShare(SharedRoom);

impl RoomShare {
    /// Returns the bytes that it may have at this moment.
    fn bytes(&self) -> usize {
        self.0.bytes / self.0.ends.load(Ordering::Relaxed).max(1)
    }
}

impl Drop for RoomShare {
    fn drop(&mut self) {
        self.0.ends.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Makes use of objects on another machine. `holds` says whether this program itself takes part. Returns the objects, and where
/// packets go that are for them.
///
/// # Errors
///
/// [`Error::System`] if there is no room for a thread.
pub fn connect(route: Route, grants: &SharedGrants, holds: bool) -> Result<(SharedObjects, NearInbox), Error> {
    let (inbox, inputs) = inbox()?;
    let (ours, theirs) = Control::pair()?;
    let control = Control::from_fd(theirs);
    let longest = longest_frame(&grants.objects);
    let passing = Passing {
        near: Near::to(route.far, route.life, longest),
        longest: u32::try_from(longest).unwrap_or(u32::MAX),
        longest_part: route.longest_part,
        room: route.room.enter(),
        route,
        inputs,
        control,
        members: BTreeMap::new(),
        numbers: BTreeMap::new(),
        started: Instant::now(),
        reaches: true,
        closing: None,
    };
    start_thread("shared-objects", move || {
        // If it panics, the socket is closed, and whoever uses the objects is told.
        let _ = caught("the thread that reaches shared objects", || passing.run());
    })?;
    let specs = specs_by_number(&grants.objects);
    Ok((SharedObjects::elsewhere(specs, ours, holds)?, inbox))
}

/// Returns the properties of objects by their numbers, which are those of the far end: what lies between those that were granted
/// has no name by which it can be reached.
fn specs_by_number(grants: &[ObjectGrant]) -> Vec<wasmpool_core::share::ObjectSpec> {
    let count = grants.iter().map(|grant| usize::from(grant.object) + 1).max().unwrap_or_default();
    let unnamed = |number: usize| wasmpool_core::share::ObjectSpec {
        name: format!("#{number}"),
        form: wasmpool_core::share::ObjectForm::Event,
        quota: wasmpool_core::share::ObjectQuota::default(),
    };
    let mut specs: Vec<_> = (0..count).map(unnamed).collect();
    for grant in grants {
        if let Some(spec) = specs.get_mut(usize::from(grant.object)) {
            *spec = grant.spec.clone();
        }
    }
    specs
}

/// A participant of this machine.
struct Member {
    channel: ChannelServer,
    /// Its number in the tunnel.
    number: u32,
    /// True if its end was passed on.
    ended: bool,
}

struct Passing {
    near: Near,
    longest: u32,
    longest_part: usize,
    room: RoomShare,
    route: Route,
    inputs: Inputs<NearInput>,
    control: Control,
    /// Participants by the numbers that the host knows them by, and those by their numbers in the tunnel.
    members: BTreeMap<u32, Member>,
    numbers: BTreeMap<u32, u32>,
    started: Instant,
    /// True if messages could pass at the last look.
    reaches: bool,
    /// When the host was gone.
    closing: Option<Instant>,
}

impl Passing {
    fn run(mut self) {
        // An error means that the host is gone.
        while !self.turn().unwrap_or(true) {}
    }

    fn now(&self) -> Time {
        self.started.elapsed()
    }

    /// Passes on what there is, and waits for more. Returns true if it was the last turn.
    fn turn(&mut self) -> io::Result<bool> {
        self.inputs.hear();
        while let Some(input) = self.inputs.next() {
            let now = self.now();
            match input {
                NearInput::Packet(bytes, _waiting) => {
                    if let Some(packet) = Packet::parse(&bytes) {
                        self.near.receive(packet, now);
                    }
                }
                NearInput::Connected(longest_part) => {
                    self.longest_part = longest_part;
                    self.reaches = false;
                }
            }
        }
        let now = self.now();
        self.near.set_room(self.room.bytes());
        let reaches = self.route.client.heard_within(BROKER_SILENCE);
        match (reaches, std::mem::replace(&mut self.reaches, reaches)) {
            (true, false) => self.near.messages_pass_again(now),
            (true, true) => self.near.tick(now),
            (false, _) => {}
        }
        if self.closing.is_none() && !self.take_orders()? {
            self.close();
        }
        self.read_requests()?;
        self.write_answers(now);
        while let Some(event) = self.near.next_event() {
            if let NearEvent::Lost(loss) = event {
                self.control.send(&ManagerReport::Lost { why: lost(loss, &self.route.whose) }, &[])?;
                return Ok(true);
            }
            self.heard(event)?;
        }
        self.wake()?;
        self.send();
        if self.closing.is_some_and(|since| self.numbers.is_empty() || since.elapsed() >= LAST_WORDS) {
            return Ok(true);
        }
        self.sleep();
        Ok(false)
    }

    // ---- the host ----------------------------------------------------------------------------------------------------

    /// Carries out what the host said. Returns false if it is gone.
    fn take_orders(&mut self) -> io::Result<bool> {
        loop {
            match self.control.receive_with_descriptors(true)? {
                Incoming::Message((ManagerOrder::Attach { participant, role, name, grants }, descriptors)) => {
                    if let Err(e) = self.attach(participant, role, name, grants, descriptors) {
                        self.cut(participant, &format!("its channel cannot be opened: {e}"))?;
                    }
                }
                Incoming::Message((ManagerOrder::Detach { participant }, _)) => {
                    self.end(participant);
                    // That it has ended is passed on behind all that it did. Nobody on this machine waits for it.
                    self.members.remove(&participant);
                    self.control.send(&ManagerReport::Detached { participant }, &[])?;
                }
                Incoming::Message((ManagerOrder::Ending { participant }, _)) => {
                    if let Some(member) = self.members.get(&participant) {
                        self.near.ending(member.number);
                    }
                }
                Incoming::Message((ManagerOrder::Parallelism(_), _)) => {}
                Incoming::Message((ManagerOrder::Ping, _)) => self.control.send(&ManagerReport::Alive, &[])?,
                Incoming::Bell | Incoming::Nothing => return Ok(true),
                Incoming::Closed => return Ok(false),
            }
        }
    }

    fn attach(
        &mut self,
        participant: u32,
        role: ParticipantRole,
        name: String,
        grants: Vec<(u16, ObjectRights)>,
        descriptors: Vec<OwnedFd>,
    ) -> io::Result<()> {
        let Ok([memory, socket]) = <[OwnedFd; 2]>::try_from(descriptors) else {
            return Err(io::Error::other("it came with other descriptors than those of a channel"));
        };
        let channel = ChannelServer::open(ChannelParts { memory, socket }, self.longest)?;
        let hello = Hello { name, is_program: role == ParticipantRole::Host, grants };
        let now = self.now();
        let number = self.near.open(notes::write(&hello), now);
        self.numbers.insert(number, participant);
        self.members.insert(participant, Member { channel, number, ended: false });
        Ok(())
    }

    /// Passes on the end of a participant, behind what it had written.
    fn end(&mut self, participant: u32) {
        let Some(member) = self.members.get_mut(&participant).filter(|member| !member.ended) else {
            return;
        };
        member.ended = true;
        member.channel.end();
        while let Ok(Some(frame)) = member.channel.read() {
            self.near.send(member.number, frame);
        }
        self.near.end(member.number);
    }

    fn close(&mut self) {
        self.closing = Some(Instant::now());
        let all: Vec<u32> = self.members.keys().copied().collect();
        for participant in all {
            self.end(participant);
            self.members.remove(&participant);
        }
    }

    /// Ends the part that a participant has, and has the host end it.
    fn cut(&mut self, participant: u32, why: &str) -> io::Result<()> {
        if self.closing.is_none() {
            self.control.send(&ManagerReport::Cut { participant, why: cut(why, LONGEST) }, &[])?;
        }
        // The host knows when the worker finds its channel closed.
        self.members.remove(&participant);
        Ok(())
    }

    fn heard(&mut self, event: NearEvent) -> io::Result<()> {
        let (NearEvent::Ended(number) | NearEvent::Cut(number, _)) = &event else {
            return Ok(());
        };
        let Some(participant) = self.numbers.remove(number) else { return Ok(()) };
        match event {
            NearEvent::Cut(_, why) => {
                self.cut(participant, &format!("it has no part in the shared objects any more: {why}"))
            }
            _ => Ok(()),
        }
    }

    // ---- participants ------------------------------------------------------------------------------------------------

    /// Returns the participants whose requests are read: all while there is room for more, and else the first that has begun one.
    fn may_be_read(&self, room: usize) -> BTreeSet<u32> {
        let arriving = |(participant, member): (&u32, &Member)| (*participant, member.channel.arriving());
        let all: Vec<(u32, usize)> = self.members.iter().map(arriving).collect();
        let first = all.iter().find(|(_, arriving)| *arriving > 0).map(|(participant, _)| *participant);
        let is_full = all.iter().map(|(_, arriving)| arriving).sum::<usize>() > room;
        let reads = |participant: &u32| !is_full || first == Some(*participant);
        all.into_iter().map(|(participant, _)| participant).filter(reads).collect()
    }

    fn read_requests(&mut self) -> io::Result<()> {
        let mut broken = Vec::new();
        let room = self.room.bytes();
        for member in self.members.values().filter(|member| member.channel.arriving() > room) {
            self.near.give_up(member.number, "it asks for more at a time than its host has room for");
        }
        let reading = self.may_be_read(room);
        for (participant, member) in &mut self.members {
            while !member.ended && reading.contains(participant) && self.near.backlog(member.number) <= BACKLOG {
                match member.channel.read() {
                    Ok(Some(frame)) => self.near.send(member.number, frame),
                    Ok(None) => break,
                    Err(violation) => {
                        broken.push((*participant, violation.0));
                        break;
                    }
                }
            }
        }
        broken.into_iter().try_for_each(|(participant, why)| self.broke(participant, why))
    }

    /// Handles that a participant did what none does.
    fn broke(&mut self, participant: u32, why: &str) -> io::Result<()> {
        if let Some(member) = self.members.remove(&participant) {
            self.near.end(member.number);
            self.control.send(&ManagerReport::Violation { participant, why: why.to_owned() }, &[])?;
        }
        Ok(())
    }

    fn write_answers(&mut self, now: Time) {
        loop {
            let (members, numbers) = (&self.members, &self.numbers);
            let takes = |number| {
                let member = numbers.get(&number).and_then(|participant| members.get(participant));
                member.is_none_or(|member| !member.channel.is_behind())
            };
            let Some((number, frame)) = self.near.take(now, takes) else { return };
            let member = self.numbers.get(&number).and_then(|participant| self.members.get_mut(participant));
            if let Some(member) = member {
                // What a participant does wrong is found when it is read from, or woken.
                let _ = member.channel.write(&[&frame]);
            }
        }
    }

    fn wake(&mut self) -> io::Result<()> {
        let mut broken = Vec::new();
        for (participant, member) in &mut self.members {
            if let Err(violation) = member.channel.wake() {
                broken.push((*participant, violation.0));
            }
        }
        broken.into_iter().try_for_each(|(participant, why)| self.broke(participant, why))
    }

    fn send(&mut self) {
        let now = self.now();
        let mut sent = false;
        while let Some(packet) = self.near.next_packet(now, self.longest_part) {
            let (head, bytes) = packet.to_parts();
            self.route.client.publish(&self.route.subject, None, &[&head, &bytes]);
            sent = true;
        }
        if sent {
            self.route.client.flush();
        }
    }

    /// Waits until there is something to do.
    fn sleep(&mut self) {
        let mut wait = LOOK;
        if let Some(deadline) = self.near.deadline() {
            wait = wait.min(deadline.saturating_sub(self.now()));
        }
        let mut timeout = in_milliseconds(wait);
        let reading = self.may_be_read(self.room.bytes());
        for (participant, member) in self.members.iter_mut().filter(|(_, member)| !member.ended) {
            // Who may not send more is read when what it has sent is confirmed, and when others have sent theirs.
            let reads = reading.contains(participant) && self.near.backlog(member.number) <= BACKLOG;
            if member.channel.announce() && reads {
                timeout = PollTimeout::ZERO;
            }
        }
        let waiting: Vec<u32> =
            self.members.iter().filter(|(_, member)| !member.ended).map(|(participant, _)| *participant).collect();
        let channels = self.members.values().filter(|member| !member.ended).map(|member| member.channel.as_fd());
        let own = [self.inputs.as_fd(), self.control.as_fd()];
        let mut awaited: Vec<PollFd<'_>> =
            own.into_iter().chain(channels).map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        if self.closing.is_some() {
            // The socket of the host that is gone can be read for ever.
            awaited.truncate(1);
        }
        match poll(&mut awaited, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            // There is nothing to be done about it but to look again.
            Err(_) => std::thread::sleep(AGAIN),
        }
        let rung: Vec<bool> = awaited.iter().skip(own.len()).map(|fd| fd.any() == Some(true)).collect();
        self.members.values().for_each(|member| member.channel.retract());
        for (participant, _) in waiting.into_iter().zip(rung).filter(|(_, rung)| *rung) {
            let heard = self.members.get_mut(&participant).map(|member| member.channel.heard());
            match heard {
                Some(Ok(Heard::End)) => self.end(participant),
                // A bell too many is found out by whoever reads; the worker ends then.
                Some(Err(violation)) => drop(self.broke(participant, violation.0)),
                _ => {}
            }
        }
    }
}

/// Returns why objects are lost, in words.
pub(crate) fn lost(loss: Loss, whose: &str) -> String {
    match loss {
        Loss::Silent => {
            format!(
                "the shared objects are lost: {whose} was not heard for {} s; start the run again",
                PATIENCE.as_secs()
            )
        }
        Loss::Restarted => format!("the shared objects are lost: {whose} was started again; start the run again"),
        Loss::Ended => format!("the shared objects are lost: {whose} has ended; start it, and the run, again"),
    }
}
