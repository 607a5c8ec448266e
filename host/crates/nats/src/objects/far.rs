//! The end of the tunnel at which the objects are: a thread that takes part in them for each participant on another machine.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::hello::Hello;
use super::inbox::{Inbox, Inputs, inbox};
use super::{LOOK, longest_frame};
use crate::client::{BROKER_SILENCE, Client, Waiting};
use wasmpool_core::share::{ObjectGrant, ObjectRights, SharedGrants};
use wasmpool_core::text::ForeignText;
use wasmpool_hosts::notes;
use wasmpool_hosts::subjects;
use wasmpool_hosts::tunnel::far::{Far, FarId, SiteLife, SiteName};
use wasmpool_hosts::tunnel::packet::Packet;
use wasmpool_hosts::tunnel::{Delivery, Time};
use wasmpool_ipc::channel::Heard;
use wasmpool_ipc::channel::client::ChannelClient;
use wasmpool_ipc::messages::ParticipantRole;
use wasmpool_objects::operation::{Operation, Reply, Request};
use wasmpool_objects::wire::{self, ParticipantFrame};
use wasmpool_run::error::{Error, caught};
use wasmpool_run::scarce::start_thread;
use wasmpool_run::shared::{Listening, Participant, SharedEvent, SharedObjects};

/// Pause before waiting again when the kernel has no memory to wait with.
const AGAIN: Duration = Duration::from_millis(10);

/// Something for the thread.
#[derive(Debug)]
pub enum FarInput {
    /// A packet of this near end.
    Packet(SiteName, Bytes, Waiting),
    /// There is a connection to the broker again, whose messages have no more than so many bytes.
    Connected(usize),
    /// The manager has closed the channel of this participant.
    Violation(u32, String),
    End,
    /// As `End`, after those who take part were told so.
    Leave,
}

/// Where packets for the far end go.
pub type FarInbox = Inbox<FarInput>;

/// The far end before it has a connection.
#[derive(Debug)]
pub struct FarParts(Inputs<FarInput>);

/// Returns where packets go, and what [`ServedObjects::start`] needs. Packets may come before that.
pub fn parts() -> io::Result<(FarInbox, FarParts)> {
    inbox().map(|(inbox, inputs)| (inbox, FarParts(inputs)))
}

/// Objects that others take part in. They have no part in them any more when this is dropped.
#[derive(Debug)]
pub struct ServedObjects {
    inbox: FarInbox,
    thread: Option<JoinHandle<Option<()>>>,
}

impl ServedObjects {
    /// Starts a thread that lets hosts take part in `objects`, as far as `grants` says. What is for a host goes to its inbox.
    /// `life` says which process this is; one that takes its place has a greater number.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if there is no room for a thread.
    pub fn start(
        (inbox, FarParts(inputs)): (FarInbox, FarParts),
        client: Arc<Client>,
        objects: Arc<SharedObjects>,
        grants: &SharedGrants,
        life: u64,
    ) -> Result<ServedObjects, Error> {
        let told = inbox.clone();
        let listening = objects.listen(Box::new(move |event| match event {
            SharedEvent::Violation { participant, why } | SharedEvent::Cut { participant, why } => {
                told.tell(FarInput::Violation(participant, why));
            }
            // Whoever has the objects sees to that.
            SharedEvent::Lost(_) => {}
        }));
        let granted: BTreeMap<u16, ObjectGrant> =
            grants.objects.iter().map(|grant| (grant.object, grant.clone())).collect();
        let far =
            Far::new(life, longest_frame(&grants.objects)).within(objects.most_participants().unwrap_or(u64::MAX));
        let thread = start_thread("shared-objects", move || {
            let serving = Serving {
                inputs,
                client,
                objects,
                granted,
                far,
                members: BTreeMap::new(),
                numbers: BTreeMap::new(),
                started: Instant::now(),
                longest_part: 1,
                reaches: false,
                _listening: listening,
            };
            // It ends with a panic or without; either way hosts hear nothing more, and say so.
            let _ = caught("the thread that serves shared objects", || serving.run());
        })?;
        Ok(ServedObjects { inbox, thread: Some(thread) })
    }
}

impl ServedObjects {
    /// Ends this, and tells those who take part that the objects are no more.
    pub fn leave(self) {
        self.inbox.tell(FarInput::Leave);
    }
}

impl Drop for ServedObjects {
    fn drop(&mut self) {
        self.inbox.tell(FarInput::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A participant on another machine.
struct Member {
    /// Its place among the participants, and its channel; none if all that it was granted is numbers.
    part: Option<(Participant, ChannelClient)>,
    grants: BTreeMap<u16, ObjectRights>,
}

struct Serving {
    inputs: Inputs<FarInput>,
    client: Arc<Client>,
    objects: Arc<SharedObjects>,
    granted: BTreeMap<u16, ObjectGrant>,
    far: Far,
    members: BTreeMap<FarId, Member>,
    /// Participants by the numbers that the manager knows them by.
    numbers: BTreeMap<u32, FarId>,
    started: Instant,
    longest_part: usize,
    /// True if messages could pass at the last look.
    reaches: bool,
    _listening: Option<Listening>,
}

impl Serving {
    fn run(mut self) {
        loop {
            self.inputs.hear();
            while let Some(input) = self.inputs.next() {
                match input {
                    FarInput::Packet(site, bytes, _waiting) => {
                        if let Some(packet) = Packet::parse(&bytes) {
                            let now = self.now();
                            self.far.receive(&site, packet, now);
                        }
                    }
                    FarInput::Connected(longest_part) => {
                        self.longest_part = longest_part;
                        self.reaches = false;
                    }
                    FarInput::Violation(number, why) => {
                        if let Some(id) = self.numbers.get(&number).cloned() {
                            self.give_up(&id, &format!("it misused the shared objects: {why}"));
                        }
                    }
                    FarInput::End => return,
                    FarInput::Leave => {
                        self.far.end();
                        return self.send();
                    }
                }
            }
            let now = self.now();
            let reaches = self.client.heard_within(BROKER_SILENCE);
            match (reaches, std::mem::replace(&mut self.reaches, reaches)) {
                (true, false) => self.far.messages_pass_again(now),
                (true, true) => self.far.tick(now),
                (false, _) => {}
            }
            while let Some(id) = self.far.next_cut() {
                self.remove(&id);
            }
            self.deliver(now);
            self.pass_answers();
            self.send();
            self.sleep();
        }
    }

    fn now(&self) -> Time {
        self.started.elapsed()
    }

    // ---- what comes --------------------------------------------------------------------------------------------------

    fn deliver(&mut self, now: Time) {
        while let Some((id, delivery)) = self.far.take(now) {
            match delivery {
                Delivery::Frame(frame) if self.members.contains_key(&id) => {
                    if let Err(why) = self.handle(&id, frame) {
                        self.give_up(&id, &why);
                    }
                }
                Delivery::Frame(hello) => {
                    if let Err(why) = self.open(&id, &hello) {
                        self.far.close(&id, &why);
                    }
                }
                Delivery::Ending => {
                    if let Some(Member { part: Some((participant, _)), .. }) = self.members.get(&id) {
                        participant.ending();
                    }
                }
                Delivery::End => {
                    self.remove(&id);
                    self.far.close(&id, "");
                }
            }
        }
    }

    fn open(&mut self, id: &FarId, hello: &[u8]) -> Result<(), String> {
        let hello = notes::read::<Hello>(hello).ok_or("it said nothing of itself that could be read")?;
        let mut granted = Vec::new();
        for (number, rights) in hello.grants {
            let grant = self.granted.get(&number).ok_or("it asked for an object that was not granted to it")?;
            granted.push(ObjectGrant { rights: rights.and(grant.rights), ..grant.clone() });
        }
        // A host speaks for its workers alone.
        let is_program = hello.is_program && id.site.name.is_program;
        let role = if is_program { ParticipantRole::Host } else { ParticipantRole::Remote };
        let name = format!("{} on {}", ForeignText::of(&hello.name), id.site.name.host);
        let kept = granted.iter().any(|grant| !grant.spec.form.is_mapped());
        let part = match kept {
            true => self.objects.attach_remote(&name, role, &granted).map_err(|e| e.to_string())?,
            false => None,
        };
        if let Some((participant, _)) = &part {
            self.numbers.insert(participant.number(), id.clone());
        }
        let grants = granted.into_iter().map(|grant| (grant.object, grant.rights)).collect();
        self.members.insert(id.clone(), Member { part, grants });
        Ok(())
    }

    fn handle(&mut self, id: &FarId, frame: Vec<u8>) -> Result<(), String> {
        let Some(member) = self.members.get_mut(id) else { return Ok(()) };
        let frame = ParticipantFrame::decode(frame).map_err(|e| e.to_string())?;
        let answer = match &frame {
            ParticipantFrame::Ask {
                ticket,
                request: Request { object, operation: Operation::Numbers(request), .. },
            } => member.grants.get(object).map(|rights| (*ticket, self.objects.numbers(*object, *rights, request))),
            ParticipantFrame::Ask { ticket, request: Request { operation: Operation::Settle, .. } }
                if member.part.is_none() =>
            {
                Some((*ticket, Ok(Reply::Done)))
            }
            _ => None,
        };
        if let Some((ticket, answer)) = answer {
            self.far.send(id, wire::answer(ticket, &answer).to_vec());
            return Ok(());
        }
        match &mut member.part {
            Some((_, channel)) => channel.send(&frame.encode().parts(), true).map_err(|e| e.to_string()),
            None if matches!(frame, ParticipantFrame::Ask { .. }) => {
                Err("it asked for an object that was not granted to it".to_owned())
            }
            None => Ok(()),
        }
    }

    /// Ends the part that a participant has, and tells it so.
    fn give_up(&mut self, id: &FarId, why: &str) {
        self.remove(id);
        self.far.close(id, why);
    }

    fn remove(&mut self, id: &FarId) {
        if let Some(Member { part: Some((participant, _)), .. }) = self.members.remove(id) {
            self.numbers.remove(&participant.number());
        }
    }

    // ---- what goes ---------------------------------------------------------------------------------------------------

    fn pass_answers(&mut self) {
        for (id, member) in &mut self.members {
            let Some((_, channel)) = &mut member.part else { continue };
            // If the manager is gone, whoever has the objects is told so.
            while let Ok(Some(frame)) = channel.try_recv() {
                self.far.send(id, frame);
            }
        }
    }

    fn send(&mut self) {
        let now = self.now();
        let mut sent = false;
        while let Some((SiteLife { name, life }, packet)) = self.far.next_packet(now, self.longest_part) {
            let (head, bytes) = packet.to_parts();
            let subject = subjects::objects_answer(&name, life);
            self.client.publish(&subject, None, &[&head, &bytes]);
            sent = true;
        }
        if sent {
            self.client.flush();
        }
    }

    /// Waits until there is something to do.
    fn sleep(&mut self) {
        let mut wait = LOOK;
        if let Some(deadline) = self.far.deadline() {
            wait = wait.min(deadline.saturating_sub(self.now()));
        }
        let mut timeout = in_milliseconds(wait);
        let channels = self.members.values_mut().filter_map(|member| member.part.as_mut());
        for (_, channel) in channels {
            if channel.announce().unwrap_or(false) {
                timeout = PollTimeout::ZERO;
            }
        }
        let channels: Vec<&ChannelClient> =
            self.members.values().filter_map(|member| member.part.as_ref()).map(|(_, channel)| channel).collect();
        let all = std::iter::once(self.inputs.as_fd()).chain(channels.iter().map(|channel| channel.as_fd()));
        let mut awaited: Vec<PollFd<'_>> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut awaited, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            // There is nothing to be done about it but to look again.
            Err(_) => std::thread::sleep(AGAIN),
        }
        let rung = awaited.iter().skip(1).map(|fd| fd.any() == Some(true));
        let mut ended = false;
        for (channel, _) in channels.iter().zip(rung).filter(|(_, rung)| *rung) {
            loop {
                match channel.heard() {
                    Heard::Rung => {}
                    Heard::Silence => break,
                    Heard::End => {
                        ended = true;
                        break;
                    }
                }
            }
        }
        if ended {
            // The manager has closed it, and says why, or has ended, which is told elsewhere.
            std::thread::sleep(AGAIN);
        }
    }
}

/// Rounds up: after waking early, the thread would only sleep again.
pub(super) fn in_milliseconds(time: Duration) -> PollTimeout {
    PollTimeout::try_from(time.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX)
}
