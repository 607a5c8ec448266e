//! The participant's end of a channel. The manager is trusted.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};
use nix::sys::time::{TimeVal, TimeValLike};

use super::ChannelParts;
use super::reader::Reader;
use super::region::{RING, Region, SharedPages};
use super::words::{ObjectWords, Taken};
use super::writer::Writer;
use crate::bell::{BellSocket, Heard};
use crate::spin::Spin;
use crate::wake::{Bell, Fenced, SleepReason};

/// An end that writes requests and reads answers.
#[derive(Debug)]
pub struct ChannelClient {
    region: Region,
    bell: BellSocket,
    requests: Writer,
    answers: Reader,
    /// Answers that were read while there was no room for a request.
    early: VecDeque<Vec<u8>>,
    /// True if something was sent for which a manager that sleeps was not woken.
    is_quiet: bool,
    /// Waits for room in a row that ended without any, because of [`ChannelClient::set_patience`].
    waits_in_vain: u32,
    spin: Spin,
}

/// Number of waits without any room after which an impatient side gives the manager up.
const WAITS: u32 = 6;

impl ChannelClient {
    pub fn open(parts: ChannelParts) -> io::Result<ChannelClient> {
        let region = Region::map(&parts.memory)?;
        Ok(ChannelClient {
            requests: Writer::new(region.requests()),
            answers: Reader::new(region.answers(), u32::MAX),
            region,
            bell: BellSocket::from_fd(parts.socket),
            early: VecDeque::new(),
            is_quiet: false,
            waits_in_vain: 0,
            spin: Spin::default(),
        })
    }

    /// Has this side give the manager up when it has made no room for a frame within this time. It is counted in several
    /// parts, so that a time for which both sides were stopped counts as one of them at most.
    pub fn set_patience(&self, time: Duration) -> io::Result<()> {
        let part = TimeVal::microseconds(i64::try_from((time / WAITS).as_micros()).unwrap_or(i64::MAX));
        Ok(setsockopt(&self.bell, ReceiveTimeout, &part)?)
    }

    /// Sends a frame, which is what the parts are together. Waits for room, and takes answers meanwhile, so that both
    /// rings may be full. Without `wake`, a manager that sleeps is only woken if the ring fills up, or when this side
    /// waits for something.
    ///
    /// # Errors
    ///
    /// Fails if the manager is gone, and for a frame of more than [`u32::MAX`] bytes.
    pub fn send(&mut self, frame: &[&[u8]], wake: bool) -> io::Result<()> {
        self.write(frame)?;
        let pages = self.region.pages();
        self.requests.publish(&pages.client.0.request_head);
        if wake || self.is_filling_up()? {
            self.is_quiet = false;
            return self.ring_if_waiting();
        }
        self.is_quiet = true;
        Ok(())
    }

    /// Sends a frame that costs `bytes` of the credit for an object, if there is that much credit, and wakes the manager
    /// only if it wants to know. Returns false if there is not enough credit; nothing was sent then.
    pub fn send_on_credit(&mut self, object: u16, bytes: u64, frame: &[&[u8]]) -> io::Result<bool> {
        if !self.words(object).credit.spend(bytes) {
            return Ok(false);
        }
        self.write(frame)?;
        let filling = self.is_filling_up()?;
        let pages = self.region.pages();
        self.requests.publish(&pages.client.0.request_head);
        let fenced = Fenced::here();
        let wanted = filling || self.words(object).credit.is_wanted(&fenced);
        if wanted && pages.server.0.waits.waker().must_ring_after(fenced, SleepReason::News) {
            self.bell.ring()?;
        }
        self.is_quiet |= !wanted;
        Ok(true)
    }

    /// Takes the message of this number that was sent ahead. Returns false if the manager has recalled it.
    pub fn take_ahead(&mut self, object: u16, number: u32) -> io::Result<bool> {
        match self.words(object).ahead.take(number) {
            Taken::Recalled => Ok(false),
            Taken::Taken => Ok(true),
            Taken::TakenAndDue => self.bell.ring().map(|()| true),
        }
    }

    /// Waits for the next frame.
    ///
    /// # Errors
    ///
    /// Fails if the manager is gone. What it had sent before was received then.
    pub fn recv(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(frame) = self.try_recv()? {
                return Ok(frame);
            }
            if self.looks_before_sleep()? {
                continue;
            }
            self.tell()?;
            let ChannelClient { region, answers, bell, .. } = self;
            let SharedPages { client, server, .. } = region.pages();
            let arrived = || answers.has_more(&server.0.answer_head);
            let sleeper = client.0.waits.sleeper();
            if let Err(e) = sleeper.sleep_until(SleepReason::Input, server.0.waits.waker(), bell, arrived) {
                return self.try_recv()?.ok_or(e);
            }
        }
    }

    /// Looks for an answer for a short while. Returns true if there is something.
    fn looks_before_sleep(&mut self) -> io::Result<bool> {
        // A manager that sleeps would let this side look in vain.
        if std::mem::take(&mut self.is_quiet) {
            self.ring_if_waiting()?;
        }
        let ChannelClient { region, answers, spin, .. } = self;
        Ok(spin.until(|| answers.has_more(&region.pages().server.0.answer_head)))
    }

    /// Announces that this side is about to wait for its socket, perhaps with others, instead of calling
    /// [`ChannelClient::recv`]. Returns true if bytes are there after all; it should not wait then. Any other call that
    /// waits takes the announcement back.
    pub fn announce(&mut self) -> io::Result<bool> {
        self.tell()?;
        let SharedPages { client, server, .. } = self.region.pages();
        let fenced = client.0.waits.sleeper().announce(SleepReason::Input);
        if server.0.waits.waker().must_ring_after(fenced, SleepReason::News) {
            self.bell.ring()?;
        }
        Ok(!self.early.is_empty() || self.answers.has_more(&server.0.answer_head))
    }

    /// Takes one bell off the socket, after waiting for it.
    pub fn heard(&self) -> Heard {
        self.bell.heard()
    }

    /// Returns the next frame if it has arrived.
    pub fn try_recv(&mut self) -> io::Result<Option<Vec<u8>>> {
        if let Some(frame) = self.early.pop_front() {
            return Ok(Some(frame));
        }
        self.read()
    }

    /// Returns the words of an object.
    ///
    /// # Panics
    ///
    /// If there can be no object of this number.
    pub fn words(&self, object: u16) -> &ObjectWords {
        &self.region.pages().words[usize::from(object)]
    }

    /// Writes a frame, which is not published as a whole yet.
    fn write(&mut self, frame: &[&[u8]]) -> io::Result<()> {
        let len: usize = frame.iter().map(|part| part.len()).sum();
        let len = u32::try_from(len).map_err(|_| io::Error::other("the message is longer than any can be"))?;
        self.write_part(&len.to_ne_bytes())?;
        frame.iter().try_for_each(|part| self.write_part(part))
    }

    fn write_part(&mut self, mut part: &[u8]) -> io::Result<()> {
        loop {
            let count = self.requests.write(part, &self.region.pages().server.0.request_tail)?;
            part = part.get(count..).unwrap_or_default();
            if part.is_empty() {
                return Ok(());
            }
            self.wait_for_room()?;
        }
    }

    /// Waits until there is more room for requests, and takes answers that come meanwhile.
    #[cold]
    fn wait_for_room(&mut self) -> io::Result<()> {
        self.requests.publish(&self.region.pages().client.0.request_head);
        while let Some(frame) = self.read()? {
            self.early.push_back(frame);
        }
        self.tell()?;
        let ChannelClient { region, requests, answers, bell, .. } = self;
        let SharedPages { client, server, .. } = region.pages();
        let ready = || requests.has_more_room(&server.0.request_tail) || answers.has_more(&server.0.answer_head);
        match client.0.waits.sleeper().sleep_until(SleepReason::Room, server.0.waits.waker(), bell, ready) {
            Ok(_) => self.waits_in_vain = 0,
            // There may be room, if only the bell was not heard.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && self.waits_in_vain + 1 < WAITS => {
                self.waits_in_vain += 1
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "it has made no room for a request for too long"));
            }
            Err(e) => return Err(e),
        }
        Ok(())
    }

    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let frame = self.answers.read(&self.region.pages().server.0.answer_head)?;
        if self.answers.is_due() {
            self.tell()?;
        }
        Ok(frame)
    }

    /// Tells the manager how many answers were taken, and wakes it if it waits for that.
    fn tell(&mut self) -> io::Result<()> {
        let SharedPages { client, server, .. } = self.region.pages();
        let told = self.answers.tell(&client.0.answer_tail);
        if told && server.0.lacks_room.waker().must_ring(SleepReason::Room) { self.bell.ring() } else { Ok(()) }
    }

    fn is_filling_up(&mut self) -> io::Result<bool> {
        let half = RING / 2;
        Ok(self.requests.room_for(half, &self.region.pages().server.0.request_tail)? < half)
    }

    fn ring_if_waiting(&self) -> io::Result<()> {
        let waker = self.region.pages().server.0.waits.waker();
        if waker.must_ring(SleepReason::News) { self.bell.ring() } else { Ok(()) }
    }
}

/// The socket, to wait for together with others.
impl AsFd for ChannelClient {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
