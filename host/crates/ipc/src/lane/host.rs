//! The host's side of a lane. The worker may be hostile: every number it writes is checked against what the host knows,
//! and bytes are copied out before anything looks at them.

use std::borrow::Cow;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use super::frame::{OUTCOME_HEADER, OutcomeHeader};
use super::region::{PRINTED, RING, Region, Rings};
use crate::wake::Want;

/// Most memory that is made ready for an outcome before it has come. So one that is no larger is not moved as it grows.
const FORESEEN: usize = 1 << 20;
/// An outcome this large comes in memory of its own: whoever wants it longer need not copy it.
pub const LARGE: usize = 16 << 10;
/// Bytes of smaller ones that are copied out together. One long copy costs far less than many short ones: each of those
/// would wait for a cache line that the worker's processor has written.
const COPIED: usize = 64 << 10;

/// The worker wrote something that no worker of ours writes.
#[derive(Debug, thiserror::Error)]
#[error("the worker broke the protocol: {0}")]
pub struct Broken(pub &'static str);

/// What came out of [`HostLane::receive`].
#[derive(Debug)]
pub enum Received<'a> {
    /// A whole outcome, copied out of shared memory.
    Outcome(OutcomeHeader, Cow<'a, [u8]>),
    /// Nothing whole yet.
    Nothing,
}

/// What a worker's status page says of it. Hints, not facts: the scheduler gives away nothing on their word.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// Attempts made, the last of which began at `since_ns` (`CLOCK_MONOTONIC`).
    pub attempt: u64,
    pub since_ns: u64,
    /// Items answered, and one more while one is in work.
    pub started: u64,
}

/// Writes items, reads outcomes.
#[derive(Debug)]
pub struct HostLane {
    region: Region,
    input: Rings,
    output: Rings,
    /// What the host wrote and took; the shared copies are for the worker only and never read back.
    head: u64,
    tail: u64,
    /// Furthest positions the worker admitted to, and the tail it was last told. Shared memory is looked at and written
    /// to seldom: each time a cache line travels between two processors.
    taken: u64,
    delivered: u64,
    told: u64,
    /// What was copied out, and how much of that was received.
    copied: Vec<u8>,
    used: usize,
    /// The outcome being received, once its header is known; and what has come of it, where it is large.
    header: Option<OutcomeHeader>,
    payload: Vec<u8>,
    /// There was nothing more when that was last looked at.
    drained: bool,
    /// Longest payload that is believed.
    max_payload: u64,
    /// Bytes that were taken from the input, and from the output, since that was last asked.
    moved: Moved,
    /// Chunks whose headers were sent.
    chunks: u64,
}

/// Bytes that moved through a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    pub input: u64,
    pub output: u64,
}

impl HostLane {
    /// Makes a lane; the descriptor is for the worker.
    pub fn create(max_payload: u64) -> io::Result<(HostLane, OwnedFd)> {
        let (region, fd) = Region::create()?;
        let lane = HostLane {
            input: region.input(),
            output: region.output(),
            region,
            head: 0,
            tail: 0,
            taken: 0,
            delivered: 0,
            told: 0,
            copied: Vec::new(),
            used: 0,
            header: None,
            payload: Vec::new(),
            drained: true,
            max_payload,
            moved: Moved::default(),
            chunks: 0,
        };
        Ok((lane, fd))
    }

    /// Has all that is sent from now on, which begins with a chunk, take the wide ring.
    pub fn widen(&mut self) {
        self.input.widen(self.head, &self.region.status().host.0.input_wide_from);
    }

    /// Copies as much of `bytes` into the input ring as fits, and returns how much that was.
    pub fn send(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        self.note_taken()?;
        let count = bytes.len().min(self.room_beyond(self.taken));
        // SAFETY: so many bytes of the ring are free.
        unsafe { self.input.write(self.head, bytes.get(..count).unwrap_or(bytes)) };
        self.head += count as u64;
        self.region.status().host.0.input_head.store(self.head, Ordering::Release);
        Ok(count)
    }

    /// Reads how far the worker has come with its input.
    fn note_taken(&mut self) -> Result<(), Broken> {
        let taken = self.region.status().worker.0.input_tail.load(Ordering::Acquire);
        if taken < self.taken || taken > self.head {
            return Err(Broken("it took input that was not there"));
        }
        self.moved.input += taken - self.taken;
        self.taken = taken;
        Ok(())
    }

    /// Sends the header of a chunk or, where there is no room for all of that, nothing.
    pub fn send_header(&mut self, bytes: &[u8]) -> Result<bool, Broken> {
        self.note_taken()?;
        if self.room_beyond(self.taken) < bytes.len() {
            return Ok(false);
        }
        self.chunks += 1;
        Ok(self.send(bytes)? == bytes.len())
    }

    /// Takes back the chunk whose header was sent last; says `false` where the worker has begun it. It reads it, and passes
    /// over it.
    pub fn take_back(&self) -> bool {
        self.region.status().turns.0.take_back(self.chunks)
    }

    /// Whether there is something to be taken now. Where the worker goes on without a word, it pays to let outcomes gather:
    /// it rings before there are too many, and before it sleeps.
    pub fn has_outcomes(&self, goes_on: bool) -> bool {
        let worker = &self.region.status().worker.0;
        let ready = worker.output_head.load(Ordering::Acquire).saturating_sub(self.delivered.max(self.tail));
        let gathers = goes_on && self.header.is_none() && worker.waits.waker().seems_awake();
        !self.drained || ready > if gathers { self.output.size(self.delivered) as u64 / 2 } else { 0 }
    }

    /// Bytes of input that fit now, going by the worker's word, which [`HostLane::send`] checks.
    pub fn room(&self) -> usize {
        self.room_beyond(self.region.status().worker.0.input_tail.load(Ordering::Acquire))
    }

    fn room_beyond(&self, taken: u64) -> usize {
        self.input.size(self.head).saturating_sub(self.head.saturating_sub(taken) as usize)
    }

    /// Whether the worker sleeps and has to be rung, now that there is this for it.
    pub fn worker_sleeps_for(&self, want: Want) -> bool {
        self.region.status().worker.0.waits.waker().must_ring(want)
    }

    /// Says whether the host is about to sleep, so that the worker rings. Look once more after saying so.
    pub fn announce_sleep(&self, sleeps: bool) {
        let sleeper = self.region.status().host.0.waits.sleeper();
        if sleeps {
            sleeper.announce(Want::News);
        } else {
            sleeper.retract();
        }
    }

    /// The next outcome, if it is there whole.
    pub fn receive(&mut self) -> Result<Received<'_>, Broken> {
        self.drained = true;
        let header = match self.header {
            Some(header) => header,
            None => {
                if !self.gather(OUTCOME_HEADER)? {
                    return Ok(Received::Nothing);
                }
                let header = OutcomeHeader::from_bytes(self.take_header())
                    .ok_or(Broken("it sent an outcome of no known kind"))?;
                if u64::from(header.len) > self.max_payload {
                    return Err(Broken("it sent an outcome longer than any can be"));
                }
                self.header = Some(header);
                header
            }
        };
        let len = header.len as usize;
        let payload = if len < LARGE {
            if !self.gather(len)? {
                return Ok(Received::Nothing);
            }
            self.used += len;
            Cow::Borrowed(&self.copied[self.used - len..self.used])
        } else {
            if !self.gather_large(len)? {
                return Ok(Received::Nothing);
            }
            Cow::Owned(std::mem::take(&mut self.payload))
        };
        self.header = None;
        self.drained = false;
        Ok(Received::Outcome(header, payload))
    }

    /// Has so many bytes copied out, less than [`LARGE`], and not used yet, if they are there.
    fn gather(&mut self, count: usize) -> Result<bool, Broken> {
        let left = self.copied.len() - self.used;
        if left >= count {
            return Ok(true);
        }
        if left + self.available() < count && left + self.look()? < count {
            return Ok(false);
        }
        self.copied.drain(..self.used);
        self.used = 0;
        self.copied.reserve_exact(COPIED - left);
        let more = self.available().min(COPIED - left);
        let end = self.copied.spare_capacity_mut().as_mut_ptr().cast();
        // SAFETY: so many bytes are there, and there is room for them behind `end`; then they are initialised.
        unsafe {
            self.copy_out(end, more);
            self.copied.set_len(left + more);
        }
        Ok(true)
    }

    fn take_header(&mut self) -> [u8; OUTCOME_HEADER] {
        let header = self.copied[self.used..].first_chunk().expect("it was gathered");
        self.used += OUTCOME_HEADER;
        *header
    }

    /// Copies what there is of a large outcome to memory of its own, and says whether that is all.
    fn gather_large(&mut self, len: usize) -> Result<bool, Broken> {
        if self.payload.is_empty() {
            // Room for what may follow it, too: whoever takes it adds a line end.
            self.payload.reserve_exact(len.min(FORESEEN) + 1);
            let copied = &self.copied[self.used..];
            let copied = copied.get(..len).unwrap_or(copied);
            self.payload.extend_from_slice(copied);
            self.used += copied.len();
        }
        let have = self.payload.len();
        let missing = len - have;
        if self.available() < missing {
            self.look()?;
        }
        let count = self.available().min(missing);
        // From here on memory grows with what has arrived, not with what was announced.
        self.payload.reserve(count);
        let end = self.payload.spare_capacity_mut().as_mut_ptr().cast();
        // SAFETY: as above.
        unsafe {
            self.copy_out(end, count);
            self.payload.set_len(have + count);
        }
        Ok(count == missing)
    }

    /// Ends a row of [`HostLane::receive`]: the worker gets its room back, and the host its memory.
    pub fn received(&mut self) {
        self.tell();
        if self.used == self.copied.len() {
            self.copied = Vec::new();
            self.used = 0;
        }
    }

    /// Bytes that moved through the lane in either direction since it was last asked.
    pub fn moved(&mut self) -> Moved {
        std::mem::take(&mut self.moved)
    }

    /// What the item in work has printed so far.
    pub fn printed(&self) -> [Vec<u8>; 2] {
        self.region.printed().map(|(from, len)| {
            let len = (len.load(Ordering::Acquire) as usize).min(PRINTED);
            let mut bytes = Vec::with_capacity(len);
            // SAFETY: PRINTED bytes are mapped from there on, and there is room for `len` of them. The worker may change them
            // meanwhile; they are copied as raw memory and only looked at afterwards.
            unsafe {
                from.as_ptr().copy_to_nonoverlapping(bytes.as_mut_ptr(), len);
                bytes.set_len(len);
            }
            bytes
        })
    }

    /// What the worker says it is doing.
    pub fn claim(&self) -> Claim {
        let worker = &self.region.status().worker.0;
        Claim {
            attempt: worker.attempt.load(Ordering::Acquire),
            started: worker.started.load(Ordering::Acquire),
            since_ns: worker.attempt_since.load(Ordering::Acquire),
        }
    }

    fn available(&self) -> usize {
        (self.delivered - self.tail) as usize
    }

    /// Looks how far the worker has come, says how far the host has, and returns how many bytes are there.
    fn look(&mut self) -> Result<usize, Broken> {
        self.tell();
        self.note_taken()?;
        let worker = &self.region.status().worker.0;
        let delivered = worker.output_head.load(Ordering::Acquire);
        if self.output.can_widen() {
            // What it says later is not asked for. Where nothing has come from there yet, that may change.
            let from = worker.output_wide_from.load(Ordering::Relaxed);
            if from < self.delivered {
                return Err(Broken("it wrote in another place than it said"));
            }
            if from < delivered {
                self.output.wide_from = from;
            }
        }
        let narrow = delivered.min(self.output.wide_from).saturating_sub(self.tail);
        let all = delivered.wrapping_sub(self.tail);
        if delivered < self.delivered || narrow > RING as u64 || all > self.output.size(delivered) as u64 {
            return Err(Broken("it wrote more than there is room for"));
        }
        self.delivered = delivered;
        Ok(self.available())
    }

    /// Gives the worker the room that was taken.
    fn tell(&mut self) {
        self.told = self.tail;
        self.region.status().host.0.output_tail.store(self.tail, Ordering::Release);
    }

    /// Takes `count` bytes off the output ring.
    ///
    /// # Safety
    ///
    /// They have to be [`HostLane::available`], and `to` has to have room for them.
    unsafe fn copy_out(&mut self, to: *mut u8, count: usize) {
        debug_assert!(count <= self.available());
        let narrow = usize::try_from(self.output.wide_from.saturating_sub(self.tail)).map_or(count, |n| n.min(count));
        // SAFETY: what is available is no more than its rings hold, each (`look`), so the spans lie within the doubly
        // mapped rings. The worker may change the bytes meanwhile; they are copied as raw memory and only looked at
        // afterwards.
        unsafe {
            self.output.at(self.tail).as_ptr().copy_to_nonoverlapping(to, narrow);
            let wide = self.output.at(self.tail + narrow as u64);
            wide.as_ptr().copy_to_nonoverlapping(to.add(narrow), count - narrow);
        }
        self.tail += count as u64;
        self.moved.output += count as u64;
        if self.tail - self.told > RING as u64 / 8 {
            self.tell();
        }
    }
}
