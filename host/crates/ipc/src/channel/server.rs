//! The manager's end of a channel. The participant may be hostile: nothing that it writes is believed, and it is never
//! waited for.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::reader::Reader;
use super::region::{Region, SharedPages};
use super::words::ObjectWords;
use super::writer::Writer;
use super::{ChannelParts, Violation};
use crate::bell::{BellSocket, Heard};
use crate::wake::{Bell, Fenced, SleepReason};

/// Number of bytes of answers beyond the ring from which on requests are not read: the participant asks for more than it
/// takes.
const BACKLOG: usize = 1 << 20;

/// An end that reads requests and writes answers.
#[derive(Debug)]
pub struct ChannelServer {
    region: Region,
    bell: BellSocket,
    requests: Reader,
    answers: Writer,
    /// Answers for which there was no room, in pieces, how many bytes of the first are in the ring, and how many bytes
    /// are missing there in all.
    backlog: VecDeque<Vec<u8>>,
    begun: usize,
    missing: usize,
    /// True if the participant was told of room for requests since it was last woken.
    has_told: bool,
    /// Number of bells that may still come: one for each time that this side asked for one.
    bells: u64,
    /// True if the participant is gone: answers are dropped then.
    ended: bool,
}

impl ChannelServer {
    /// Opens an end that accepts frames of up to `longest` bytes.
    pub fn open(parts: ChannelParts, longest: u32) -> io::Result<ChannelServer> {
        let region = Region::map(&parts.memory)?;
        Ok(ChannelServer {
            requests: Reader::new(region.requests(), longest),
            answers: Writer::new(region.answers()),
            region,
            bell: BellSocket::from_fd(parts.socket),
            backlog: VecDeque::new(),
            begun: 0,
            missing: 0,
            has_told: false,
            bells: 0,
            ended: false,
        })
    }

    /// Returns the next request if all of it has arrived. Returns none while the participant leaves too many answers
    /// untaken.
    pub fn read(&mut self) -> Result<Option<Vec<u8>>, Violation> {
        if self.is_behind() {
            self.move_backlog()?;
            if self.is_behind() {
                return Ok(None);
            }
        }
        let frame = self.requests.read(&self.region.pages().client.0.request_head)?;
        if self.requests.is_due() {
            self.has_told |= self.requests.tell(&self.region.pages().server.0.request_tail);
        }
        Ok(frame)
    }

    /// Returns true if there may be something to read.
    pub fn has_requests(&self) -> bool {
        !self.is_behind() && self.requests.has_more(&self.region.pages().client.0.request_head)
    }

    /// Writes a frame, which is what the parts are together. What there is no room for is kept. The participant sees the
    /// frame after [`ChannelServer::wake`].
    pub fn write(&mut self, frame: &[&[u8]]) -> Result<(), Violation> {
        self.begin(frame.iter().map(|part| part.len()).sum())?;
        frame.iter().try_for_each(|part| self.write_part(part))
    }

    /// Writes a frame like [`ChannelServer::write`], whose first part is long and, if there is no room for it, is kept
    /// without a copy.
    pub fn write_long(&mut self, message: Vec<u8>, rest: &[u8]) -> Result<(), Violation> {
        self.begin(message.len() + rest.len())?;
        let missing = self.write_now(&message)?.len();
        if missing > 0 {
            let written = message.len() - missing;
            self.keep(|| message, missing);
            // Nothing else is kept before it: otherwise nothing of it would have been written.
            if self.backlog.len() == 1 {
                self.begun = written;
            }
        }
        self.write_part(rest)
    }

    /// Returns true while the participant leaves too many answers untaken. What it asks has to wait.
    pub fn is_behind(&self) -> bool {
        self.missing > BACKLOG
    }

    /// Returns the number of bytes that have come of a request which is not complete.
    pub fn arriving(&self) -> usize {
        self.requests.arriving()
    }

    /// Returns the number of bytes of answers for which there was no room yet.
    pub fn backlog(&self) -> usize {
        self.missing
    }

    /// Publishes what was read and written, and wakes the participant if it sleeps for that. Call this after a series of
    /// reads and writes.
    ///
    /// # Errors
    ///
    /// Fails if the participant broke the protocol. One that is gone is no error here.
    pub fn wake(&mut self) -> Result<(), Violation> {
        if self.ended {
            return Ok(());
        }
        let filled = self.flush()?;
        let SharedPages { client, server, .. } = self.region.pages();
        let taken = self.requests.tell(&server.0.request_tail) || self.has_told;
        self.has_told = false;
        if filled || taken {
            let (waker, fenced) = (client.0.waits.waker(), Fenced::here());
            // Whoever waits for room also takes answers meanwhile.
            let must_ring = filled && waker.must_ring_after(fenced, SleepReason::Input)
                || waker.must_ring_after(fenced, SleepReason::Room);
            if must_ring {
                // If the participant is gone, its socket tells so.
                let _ = self.bell.ring();
            }
        }
        Ok(())
    }

    /// Announces that this side is about to sleep until its socket can be read. Returns true if there is something to do
    /// after all; it must not sleep then. Call this after [`ChannelServer::wake`].
    pub fn announce(&mut self) -> bool {
        let _fenced = self.region.pages().server.0.waits.sleeper().announce(SleepReason::News);
        self.bells += 1;
        self.has_requests()
    }

    /// Takes the announcement back.
    pub fn retract(&self) {
        self.region.pages().server.0.waits.sleeper().retract();
    }

    /// Allows the participant one bell more, because it was asked for one by a word of an object.
    pub fn expect_bell(&mut self) {
        self.bells += 1;
    }

    /// Takes a bell off the socket. Once the end is heard, all that the participant has sent is still there to be read,
    /// and answers are dropped.
    ///
    /// # Errors
    ///
    /// Fails if there were more bells than were asked for.
    pub fn heard(&mut self) -> Result<Heard, Violation> {
        let heard = self.bell.heard();
        match heard {
            Heard::Rung => self.bells = self.bells.checked_sub(1).ok_or(Violation("it rang without a reason"))?,
            Heard::Silence => {}
            Heard::End => self.end(),
        }
        Ok(heard)
    }

    /// Takes note that the participant is gone. All that it has sent is still there to be read, and answers are dropped.
    pub fn end(&mut self) {
        self.ended = true;
        self.drop_backlog();
    }

    /// Returns the words of an object.
    ///
    /// # Panics
    ///
    /// If there can be no object of this number.
    pub fn words(&self, object: u16) -> &ObjectWords {
        &self.region.pages().words[usize::from(object)]
    }

    /// Moves kept answers to the ring and publishes all that is there. Returns true if that is news. If answers are left,
    /// the participant will ring when it has taken some.
    fn flush(&mut self) -> Result<bool, Violation> {
        self.move_backlog()?;
        if self.missing > 0 {
            // What is in the ring has to be visible before the participant is relied on to take it.
            let news = self.publish();
            let _fenced = self.region.pages().server.0.lacks_room.sleeper().announce(SleepReason::Room);
            self.bells += 1;
            self.move_backlog()?;
            return Ok(self.publish() || news);
        }
        Ok(self.publish())
    }

    fn publish(&mut self) -> bool {
        self.answers.publish(&self.region.pages().server.0.answer_head)
    }

    fn move_backlog(&mut self) -> Result<(), Violation> {
        while let Some(first) = self.backlog.front() {
            let rest = first.get(self.begun..).unwrap_or_default();
            let count = self.answers.write(rest, &self.region.pages().client.0.answer_tail)?;
            self.missing -= count;
            if count < rest.len() {
                self.begun += count;
                return Ok(());
            }
            self.backlog.pop_front();
            self.begun = 0;
        }
        Ok(())
    }

    fn drop_backlog(&mut self) {
        self.backlog.clear();
        (self.begun, self.missing) = (0, 0);
    }

    fn begin(&mut self, len: usize) -> Result<(), Violation> {
        // Quotas are far below that; so long an answer is a bug of this side.
        let len = u32::try_from(len).expect("an answer is shorter than 4 GiB");
        self.write_part(&len.to_ne_bytes())
    }

    fn write_part(&mut self, part: &[u8]) -> Result<(), Violation> {
        let rest = self.write_now(part)?;
        self.keep(|| rest.to_vec(), rest.len());
        Ok(())
    }

    /// Writes as much as there is room for, and returns the rest.
    fn write_now<'a>(&mut self, part: &'a [u8]) -> Result<&'a [u8], Violation> {
        if self.ended {
            return Ok(&[]);
        }
        if self.missing > 0 {
            return Ok(part);
        }
        let count = self.answers.write(part, &self.region.pages().client.0.answer_tail)?;
        Ok(part.get(count..).unwrap_or_default())
    }

    /// Keeps a piece of an answer, of which `missing` bytes are not in the ring.
    fn keep(&mut self, piece: impl FnOnce() -> Vec<u8>, missing: usize) {
        if missing > 0 {
            self.backlog.push_back(piece());
            self.missing += missing;
        }
    }
}

/// The socket, which can be read when there is a bell or the participant is gone.
impl AsFd for ChannelServer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
