//! The end of a tunnel at which participants are.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::packet::{Content, MOST_KNOWN, Packet, PartKind};
use super::stream::{Delivery, Room, Stream, room_for};
use super::{BEAT, PATIENCE, Time};

/// Something that happened to participants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NearEvent {
    /// All that the participant had sent before its end was delivered, and it is forgotten there.
    Ended(u32),
    /// The far end has cut the participant off, for this reason.
    Cut(u32, String),
    /// The objects cannot be reached any more: no participant has a part in them.
    Lost(Loss),
}

/// The reason why objects cannot be reached any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing was heard of the far end for [`PATIENCE`].
    Silent,
    /// Another process has taken its place, which knows nothing of what was before.
    Restarted,
    /// It was told to end.
    Ended,
}

#[derive(Debug)]
struct Member {
    stream: Stream,
    /// True if its end was sent.
    ends: bool,
    /// True if it was told that it has no part in the objects any more.
    is_given_up: bool,
}

/// The state machine. See [`super`].
#[derive(Debug)]
pub struct Near {
    life: u64,
    /// Maximum bytes of a frame of the far end.
    longest: usize,
    /// Maximum bytes that all participants together hold of frames which arrive. Twice as many may be held while the first of
    /// them gets a frame.
    room: usize,
    /// Which process the far end is, once that is known. One that takes its place has a greater number.
    far: Option<u64>,
    heard: Time,
    next_beat: Time,
    next: u32,
    members: BTreeMap<u32, Member>,
    /// Those that may have something to send, or have something that was not taken.
    sending: BTreeSet<u32>,
    arrived: BTreeSet<u32>,
    events: VecDeque<NearEvent>,
    lost: bool,
}

impl Near {
    /// Returns an end without participants. `life` distinguishes this process from all others.
    pub fn new(life: u64, longest: usize) -> Near {
        Near::to(None, life, longest)
    }

    /// Returns an end without participants. `far` says which process the far end is, if that is known before anything is heard
    /// of it.
    pub fn to(far: Option<u64>, life: u64, longest: usize) -> Near {
        Near {
            life,
            longest,
            room: usize::MAX,
            far,
            heard: Time::ZERO,
            next_beat: Time::ZERO,
            next: 0,
            members: BTreeMap::new(),
            sending: BTreeSet::new(),
            arrived: BTreeSet::new(),
            events: VecDeque::new(),
            lost: false,
        }
    }

    /// Bounds the bytes that participants hold of frames which arrive. Who gets a frame that is longer is cut off.
    pub fn set_room(&mut self, bytes: usize) {
        self.room = bytes;
    }

    /// Returns the number of bytes that a participant holds: of frames that arrive, and of those that were not confirmed.
    pub fn held(&self, number: u32) -> usize {
        self.members.get(&number).map_or(0, |member| member.stream.held() + member.stream.backlog())
    }

    /// Returns what happened next.
    pub fn next_event(&mut self) -> Option<NearEvent> {
        self.events.pop_front()
    }

    /// Adds a participant. The far end gets `hello` as its first frame. Returns its number, which is never used again.
    pub fn open(&mut self, hello: Vec<u8>, now: Time) -> u32 {
        if self.members.is_empty() {
            // Nothing was to be heard before.
            self.heard = now;
            self.next_beat = now;
        }
        let number = self.next;
        self.next += 1;
        let mut stream = Stream::new(self.longest);
        stream.send(hello);
        self.members.insert(number, Member { stream, ends: false, is_given_up: false });
        self.sending.insert(number);
        number
    }

    fn with(&mut self, number: u32, act: impl FnOnce(&mut Stream)) {
        if let Some(member) = self.members.get_mut(&number).filter(|member| !member.ends) {
            act(&mut member.stream);
            self.sending.insert(number);
        }
    }

    /// Sends a frame of a participant.
    pub fn send(&mut self, number: u32, frame: Vec<u8>) {
        self.with(number, |stream| stream.send(frame));
    }

    /// Says that a participant is being ended.
    pub fn ending(&mut self, number: u32) {
        self.with(number, |stream| stream.mark(PartKind::Ending));
    }

    /// Says that a participant has ended, after all that it has sent.
    pub fn end(&mut self, number: u32) {
        self.with(number, |stream| stream.mark(PartKind::End));
        if let Some(member) = self.members.get_mut(&number) {
            member.ends = true;
        }
    }

    /// Returns the number of bytes of a participant that were not confirmed.
    pub fn backlog(&self, number: u32) -> usize {
        self.members.get(&number).map_or(0, |member| member.stream.backlog())
    }

    /// Takes a frame that has arrived for a participant which takes one now.
    pub fn take(&mut self, now: Time, takes: impl Fn(u32) -> bool) -> Option<(u32, Vec<u8>)> {
        let candidates: Vec<u32> = self.arrived.iter().copied().collect();
        for number in candidates {
            let Some(member) = self.members.get_mut(&number).filter(|member| member.stream.has_arrived()) else {
                self.arrived.remove(&number);
                continue;
            };
            if !takes(number) {
                continue;
            }
            let taken = member.stream.take(now);
            self.sending.insert(number);
            if let Some(Delivery::Frame(frame)) = taken {
                return Some((number, frame));
            }
        }
        None
    }

    /// Handles a packet of the far end.
    pub fn receive(&mut self, mut packet: Packet, now: Time) {
        if self.lost {
            return;
        }
        match packet.life.cmp(self.far.get_or_insert(packet.life)) {
            // A process that had stood still while another took its place, and does not know that yet.
            Ordering::Less => return,
            Ordering::Equal => {}
            Ordering::Greater => return self.lose(Loss::Restarted),
        }
        self.heard = now;
        let number = packet.participant;
        match &packet.content {
            Content::Beat(_) => return,
            Content::Over => return self.lose(Loss::Ended),
            Content::Gone(why) => {
                if let Some(member) = self.members.remove(&number).filter(|member| !member.is_given_up) {
                    self.events.push_back(match member.ends {
                        true => NearEvent::Ended(number),
                        false => NearEvent::Cut(number, why.clone()),
                    });
                }
                return;
            }
            Content::Nothing | Content::Ask | Content::Part { .. } => {}
        }
        let streams = self.members.iter().map(|(number, member)| (*number, &member.stream));
        let room = room_for(streams, number, &packet, self.room);
        let Some(member) = self.members.get_mut(&number) else { return };
        match room {
            Room::Enough => {}
            // What it says of the other direction counts all the same.
            Room::Later => packet.content = Content::Nothing,
            Room::Never => return self.give_up(number, "it is answered more than its host has room for"),
        }
        // What the far end does wrong harms this participant alone, which is of no use any more.
        if let Err(breach) = member.stream.receive(packet, now) {
            self.members.remove(&number);
            self.events.push_back(NearEvent::Cut(number, breach.to_string()));
            return;
        }
        self.sending.insert(number);
        if member.stream.has_arrived() {
            self.arrived.insert(number);
        }
    }

    /// Ends a participant that goes on as if it could be answered.
    pub fn give_up(&mut self, number: u32, why: &str) {
        if let Some(member) = self.members.get_mut(&number).filter(|member| !member.is_given_up) {
            member.is_given_up = true;
            member.stream.stop_listening();
            if !std::mem::replace(&mut member.ends, true) {
                member.stream.mark(PartKind::End);
            }
            self.sending.insert(number);
            self.events.push_back(NearEvent::Cut(number, why.to_owned()));
        }
    }

    fn lose(&mut self, loss: Loss) {
        self.lost = true;
        self.members.clear();
        self.events.push_back(NearEvent::Lost(loss));
    }

    /// Handles that time has passed while messages could pass.
    pub fn tick(&mut self, now: Time) {
        if !self.members.is_empty() && now.saturating_sub(self.heard) >= PATIENCE {
            self.lose(Loss::Silent);
        }
        let due = self.members.iter().filter(|(_, member)| member.stream.deadline().is_some_and(|at| at <= now));
        self.sending.extend(due.map(|(number, _)| *number));
    }

    /// Handles that messages pass again after they could not: the silence was nobody's, and all may be lost that was sent
    /// meanwhile.
    pub fn messages_pass_again(&mut self, now: Time) {
        self.heard = now;
        self.next_beat = now;
        for (number, member) in &mut self.members {
            member.stream.send_again(now);
            self.sending.insert(*number);
        }
    }

    /// Returns the next packet to be sent, whose parts have no more than so many bytes.
    pub fn next_packet(&mut self, now: Time, longest_part: usize) -> Option<Packet> {
        let life = self.life;
        if !self.members.is_empty() && self.next_beat <= now {
            self.next_beat = now + BEAT;
            let content = Content::Beat(self.members.keys().copied().take(MOST_KNOWN).collect());
            return Some(Packet { life, participant: 0, base: 0, confirmed: 0, limit: 0, content });
        }
        while let Some(&number) = self.sending.first() {
            if let Some(member) = self.members.get_mut(&number)
                && let Some(packet) = member.stream.next_packet(now, longest_part)
            {
                return Some(Packet { life, participant: number, ..packet });
            }
            self.sending.remove(&number);
        }
        None
    }

    /// Returns the time at which [`Near::tick`] and [`Near::next_packet`] have something to do.
    pub fn deadline(&self) -> Option<Time> {
        if self.members.is_empty() {
            return None;
        }
        let of_streams = self.members.values().filter_map(|member| member.stream.deadline());
        of_streams.chain([self.next_beat, self.heard + PATIENCE]).min()
    }
}
