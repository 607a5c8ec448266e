//! The frames of one participant at one end of a tunnel, in both directions.

use std::collections::VecDeque;

use bytes::Bytes;

use super::packet::{Content, Packet, PartKind};
use super::{AGAIN, Breach, CONFIRM, Time, WINDOW};

/// Something that arrived from the other end, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    Frame(Vec<u8>),
    /// The participant is being ended.
    Ending,
    /// The participant has ended.
    End,
}

/// Whether an end takes a part of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Enough,
    /// Not until others have been taken. It is as if the part were lost: it is sent again.
    Later,
    /// Not even if nothing else were there.
    Never,
}

/// Returns whether there is room for a packet's part beside what all streams of an end hold. The first stream that holds
/// something always goes on with a frame that it has begun, so that what it holds is taken some time.
pub(super) fn room_for<'a>(
    streams: impl Iterator<Item = (u32, &'a Stream)>,
    number: u32,
    packet: &Packet,
    room: usize,
) -> Room {
    let Content::Part { bytes, number: part, .. } = &packet.content else { return Room::Enough };
    let (mut all, mut own, mut first) = (bytes.len(), None, None);
    for (other, stream) in streams {
        let held = stream.held();
        all += held;
        if held > 0 {
            first.get_or_insert(other);
        }
        if other == number {
            own = Some(stream);
        }
    }
    // What came before, or comes too early, is not kept.
    let Some(own) = own.filter(|own| own.expected == *part) else { return Room::Enough };
    match all <= room {
        true => Room::Enough,
        // The frame by itself, without others that have arrived.
        false if own.arriving.len() + bytes.len() > room => Room::Never,
        false if own.untaken == 0 && first.is_none_or(|first| first == number) => Room::Enough,
        false => Room::Later,
    }
}

#[derive(Debug)]
pub(super) struct Stream {
    /// What is not wholly cut into parts yet.
    waiting: VecDeque<(PartKind, Bytes)>,
    /// Parts that were not confirmed, of which the first has the number `base`.
    unconfirmed: VecDeque<(PartKind, Bytes)>,
    base: u64,
    /// How many of them are sent before something is sent again.
    sent: usize,
    /// Number of the first part that may not be sent yet.
    limit: u64,
    again: Option<Time>,
    /// Bytes of all that is not confirmed.
    bytes: usize,

    /// Number of the next part to arrive, and of the first that may not come yet.
    expected: u64,
    allowed: u64,
    told: u64,
    arriving: Vec<u8>,
    arrived: VecDeque<Delivery>,
    /// Bytes of frames that have arrived and were not taken.
    untaken: usize,
    /// True if nothing that arrives is wanted any more.
    is_deaf: bool,
    has_ended: bool,
    /// When the other end has to be told at the latest how far this one is.
    confirm_at: Option<Time>,
    /// Maximum bytes of a frame.
    longest: usize,
}

impl Stream {
    pub(super) fn new(longest: usize) -> Stream {
        Stream {
            waiting: VecDeque::new(),
            unconfirmed: VecDeque::new(),
            base: 0,
            sent: 0,
            limit: WINDOW,
            again: None,
            bytes: 0,
            expected: 0,
            allowed: WINDOW,
            told: WINDOW,
            arriving: Vec::new(),
            arrived: VecDeque::new(),
            untaken: 0,
            is_deaf: false,
            has_ended: false,
            confirm_at: None,
            longest,
        }
    }

    /// Returns the number of bytes that were not confirmed.
    pub(super) fn backlog(&self) -> usize {
        self.bytes
    }

    /// Returns the number of bytes that have arrived and were not taken.
    pub(super) fn held(&self) -> usize {
        self.arriving.len() + self.untaken
    }

    /// Forgets what has arrived, and takes no more of it.
    pub(super) fn stop_listening(&mut self) {
        self.is_deaf = true;
        self.arriving = Vec::new();
        self.arrived.clear();
        self.untaken = 0;
    }

    /// Returns true if something has arrived that was not taken.
    pub(super) fn has_arrived(&self) -> bool {
        !self.arrived.is_empty()
    }

    // ---- what is sent ------------------------------------------------------------------------------------------------

    pub(super) fn send(&mut self, frame: Vec<u8>) {
        self.bytes += frame.len();
        self.waiting.push_back((PartKind::Last, frame.into()));
    }

    pub(super) fn mark(&mut self, kind: PartKind) {
        self.waiting.push_back((kind, Bytes::new()));
    }

    /// Has everything sent again that was not confirmed.
    pub(super) fn send_again(&mut self, now: Time) {
        self.sent = 0;
        self.again = self.is_waiting().then_some(now);
    }

    fn is_waiting(&self) -> bool {
        !self.unconfirmed.is_empty() || !self.waiting.is_empty()
    }

    /// Returns the next packet that is to be sent now, whose parts have no more than so many bytes.
    pub(super) fn next_packet(&mut self, now: Time, longest_part: usize) -> Option<Packet> {
        self.cut(longest_part);
        if self.again.is_some_and(|again| again <= now) {
            self.sent = 0;
            self.again = self.is_waiting().then(|| now + AGAIN);
            if self.unconfirmed.is_empty() && self.again.is_some() {
                return Some(self.packet(Content::Ask));
            }
        }
        if let Some((kind, bytes)) = self.unconfirmed.get(self.sent) {
            let content = Content::Part { number: self.base + self.sent as u64, kind: *kind, bytes: bytes.clone() };
            self.sent += 1;
            self.again.get_or_insert(now + AGAIN);
            return Some(self.packet(content));
        }
        if !self.waiting.is_empty() {
            self.again.get_or_insert(now + AGAIN);
        }
        let due = self.confirm_at.is_some_and(|at| at <= now);
        due.then(|| self.packet(Content::Nothing))
    }

    /// Cuts what waits into parts, as far as these may be sent.
    fn cut(&mut self, longest_part: usize) {
        while (self.unconfirmed.len() as u64) < WINDOW
            && self.base + (self.unconfirmed.len() as u64) < self.limit
            && let Some((kind, mut bytes)) = self.waiting.pop_front()
        {
            if bytes.len() <= longest_part.max(1) {
                self.unconfirmed.push_back((kind, bytes));
                continue;
            }
            self.unconfirmed.push_back((PartKind::More, bytes.split_to(longest_part.max(1))));
            self.waiting.push_front((kind, bytes));
        }
    }

    fn packet(&mut self, content: Content) -> Packet {
        self.confirm_at = None;
        self.told = self.allowed;
        // The caller fills in who sends it.
        Packet { life: 0, participant: 0, base: self.base, confirmed: self.expected, limit: self.allowed, content }
    }

    /// Returns the time at which there is something to send without anything happening before.
    pub(super) fn deadline(&self) -> Option<Time> {
        [self.again, self.confirm_at].into_iter().flatten().min()
    }

    // ---- what arrives ------------------------------------------------------------------------------------------------

    /// Handles a packet of the other end's stream.
    pub(super) fn receive(&mut self, packet: Packet, now: Time) -> Result<(), Breach> {
        self.confirmed(packet.confirmed, packet.limit, now)?;
        match packet.content {
            Content::Part { number, kind, bytes } => self.part(number, kind, &bytes, now),
            Content::Ask => {
                self.confirm_at = Some(now);
                Ok(())
            }
            Content::Nothing | Content::Beat(_) | Content::Gone(_) | Content::Over => Ok(()),
        }
    }

    fn confirmed(&mut self, confirmed: u64, limit: u64, now: Time) -> Result<(), Breach> {
        let Some(count) = confirmed.checked_sub(self.base) else {
            // It is older than one that came before.
            return Ok(());
        };
        if count > self.unconfirmed.len() as u64 {
            return Err(Breach("it confirmed what was not sent"));
        }
        for _ in 0..count {
            if let Some((_, bytes)) = self.unconfirmed.pop_front() {
                self.bytes = self.bytes.saturating_sub(bytes.len());
            }
        }
        self.base = confirmed;
        self.sent = self.sent.saturating_sub(count as usize);
        let more = limit.min(confirmed + WINDOW) > self.limit;
        self.limit = self.limit.max(limit.min(confirmed + WINDOW));
        if count > 0 || more {
            self.again = self.is_waiting().then(|| now + AGAIN);
        }
        Ok(())
    }

    fn part(&mut self, number: u64, kind: PartKind, bytes: &[u8], now: Time) -> Result<(), Breach> {
        if number >= self.allowed {
            return Err(Breach("it sent more than there was room for"));
        }
        if number != self.expected {
            // It came before, or one before it was lost. Either way the other end wants to know.
            self.confirm_at = Some(now);
            return Ok(());
        }
        if self.has_ended {
            return Err(Breach("it sent something behind its end"));
        }
        if self.is_deaf {
            self.expected += 1;
            self.allow(now);
            self.confirm_at = Some(now);
            return Ok(());
        }
        if self.arriving.len() + bytes.len() > self.longest {
            return Err(Breach("it sent a frame longer than any can be"));
        }
        let is_odd = match kind {
            PartKind::More => bytes.is_empty(),
            PartKind::Last => false,
            PartKind::Ending | PartKind::End => !bytes.is_empty() || !self.arriving.is_empty(),
        };
        if is_odd {
            return Err(Breach("it sent a part that is none"));
        }
        self.arriving.extend_from_slice(bytes);
        self.expected += 1;
        match kind {
            PartKind::More => {}
            PartKind::Last => {
                self.untaken += self.arriving.len();
                self.arrived.push_back(Delivery::Frame(std::mem::take(&mut self.arriving)));
            }
            PartKind::Ending => self.arrived.push_back(Delivery::Ending),
            PartKind::End => {
                self.has_ended = true;
                self.arrived.push_back(Delivery::End);
            }
        }
        self.allow(now);
        let at = self.confirm_at.unwrap_or(now + CONFIRM);
        self.confirm_at = Some(at.min(now + CONFIRM));
        Ok(())
    }

    /// Takes what has arrived next.
    pub(super) fn take(&mut self, now: Time) -> Option<Delivery> {
        let next = self.arrived.pop_front();
        if let Some(Delivery::Frame(frame)) = &next {
            self.untaken = self.untaken.saturating_sub(frame.len());
        }
        if next.is_some() {
            self.allow(now);
        }
        next
    }

    /// Opens the window further if nothing waits to be taken. Otherwise frames would gather here.
    fn allow(&mut self, now: Time) {
        if self.arrived.is_empty() {
            self.allowed = self.expected + WINDOW;
        }
        if self.allowed - self.told >= WINDOW / 2 {
            self.confirm_at = Some(now);
        }
    }
}
