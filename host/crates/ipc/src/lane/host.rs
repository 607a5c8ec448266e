//! The host's side of a lane. The worker may be hostile: every number that it writes is checked against what the host
//! knows, and bytes are copied out before they are looked at.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};

use super::InstanceCounts;
use super::frame::{OUTCOME_HEADER, OutcomeHeader, OutcomeTag};
use super::left::{LaneSpan, LeftInLane, LeftValue};
use super::outcome::OutcomeBytes;
use super::region::{LONG, PRINTED, RING, Region, RingPair};
use crate::copy::copy;
use crate::wake::SleepReason;

/// Maximum amount of memory that is reserved for an outcome before it has arrived. An outcome up to this size is thus
/// not moved as it grows.
const FORESEEN: usize = 1 << 20;
/// Size from which an outcome is put into memory of its own, so that it can be kept without copying it.
pub const LARGE: usize = 16 << 10;
/// Number of bytes of smaller outcomes that are copied out together. One long copy costs far less than many short ones,
/// each of which would wait for a cache line that the worker's processor has written.
pub const COPIED: usize = 64 << 10;
/// The same after a large outcome: the next is probably as large, and what is copied of it here is copied once more, to memory
/// of its own.
const COPIED_AFTER_LARGE: usize = 256;

/// Error: the worker wrote something that an honest worker never writes.
#[derive(Debug, thiserror::Error)]
#[error("the worker broke the protocol: {0}")]
pub struct ProtocolViolation(pub &'static str);

/// Result of [`HostLane::receive`].
#[derive(Debug)]
pub enum Received<'a> {
    /// A complete outcome, copied out of shared memory or [left](HostLane::leave_large) there.
    Outcome(OutcomeHeader, OutcomeBytes<'a>),
    /// No complete outcome has arrived yet.
    Nothing,
}

/// Claims of a worker's status page about the worker. They are hints, not facts: the scheduler grants nothing because
/// of them.
#[derive(Clone, Copy, Debug)]
pub struct WorkerProgress {
    /// Number of attempts made; the last one began at `since_ns` (`CLOCK_MONOTONIC`).
    pub attempt: u64,
    pub since_ns: u64,
    /// Number of items answered, plus one while an item is in work.
    pub started: u64,
}

/// The host's end of a lane, which writes items and reads outcomes.
#[derive(Debug)]
pub struct HostLane {
    region: Arc<Region>,
    input: RingPair,
    output: RingPair,
    /// Number of bytes that the host has written and taken. The copies in shared memory are for the worker only and are
    /// never read back.
    head: u64,
    tail: u64,
    /// Furthest positions that the worker has reported, and the tail that it was last told. Shared memory is read and
    /// written rarely, because each time a cache line travels between two processors.
    taken: u64,
    delivered: u64,
    told: u64,
    /// Bytes that were copied out, and how many of them have been received.
    copied: Bytes,
    used: usize,
    /// Header of the outcome that is being received, once it is known, and the bytes of it that have arrived if it is
    /// large.
    header: Option<OutcomeHeader>,
    payload: Vec<u8>,
    /// True if the last outcome was large.
    was_large: bool,
    /// True if large values may be left in the ring, and those that are, in their order.
    leaves: bool,
    left: VecDeque<LeftInLane>,
    /// True if the last look found nothing more.
    drained: bool,
    /// Maximum length of a payload that is accepted.
    max_payload: u64,
    /// Bytes taken from the input and from the output since the last call of [`HostLane::moved`].
    moved: BytesMoved,
    /// Number of chunks whose headers were sent.
    chunks: u64,
    /// Number of bytes that were taken of each stream that items print to, as in [`HostStatus::shown`].
    ///
    /// [`HostStatus::shown`]: super::region::HostStatus::shown
    shown: [u32; 2],
}

/// Numbers of bytes that moved through a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BytesMoved {
    pub input: u64,
    pub output: u64,
}

impl HostLane {
    /// Creates a lane; the descriptor is for the worker.
    pub fn create(max_payload: u64) -> io::Result<(HostLane, OwnedFd)> {
        let (region, fd) = Region::create()?;
        let lane = HostLane {
            input: region.input(),
            output: region.output(),
            region: Arc::new(region),
            head: 0,
            tail: 0,
            taken: 0,
            delivered: 0,
            told: 0,
            copied: Bytes::new(),
            used: 0,
            header: None,
            payload: Vec::new(),
            was_large: false,
            leaves: false,
            left: VecDeque::new(),
            drained: true,
            max_payload,
            moved: BytesMoved::default(),
            chunks: 0,
            shown: [0; 2],
        };
        Ok((lane, fd))
    }

    /// Makes everything that is sent from now on use the wide ring. The next bytes sent have to be the beginning of a
    /// chunk.
    pub fn widen(&mut self) {
        self.input.widen(self.head, &self.region.status().host.0.input_wide_from);
    }

    /// Copies as much of `bytes` into the input ring as fits, and returns how much that was.
    pub fn send(&mut self, bytes: &[u8]) -> Result<usize, ProtocolViolation> {
        self.note_taken()?;
        let count = bytes.len().min(self.room_beyond(self.taken));
        // SAFETY: this many bytes of the ring are free.
        unsafe { self.input.write(self.head, bytes.get(..count).unwrap_or(bytes)) };
        self.head += count as u64;
        self.region.status().host.0.input_head.store(self.head, Ordering::Release);
        Ok(count)
    }

    /// Reads how much of its input the worker has taken.
    fn note_taken(&mut self) -> Result<(), ProtocolViolation> {
        let taken = self.region.status().worker.0.input_tail.load(Ordering::Acquire);
        if taken < self.taken || taken > self.head {
            return Err(ProtocolViolation("it took input that was not there"));
        }
        self.moved.input += taken - self.taken;
        self.taken = taken;
        Ok(())
    }

    /// Sends the header of a chunk, or nothing if there is no room for all of it.
    pub fn send_header(&mut self, bytes: &[u8]) -> Result<bool, ProtocolViolation> {
        self.note_taken()?;
        if self.room_beyond(self.taken) < bytes.len() {
            return Ok(false);
        }
        self.chunks += 1;
        Ok(self.send(bytes)? == bytes.len())
    }

    /// Takes back the chunk whose header was sent last. Returns `false` if the worker has begun it. A worker still
    /// reads a chunk that was taken back, but skips its items.
    pub fn take_back(&self) -> bool {
        self.region.status().turns.0.take_back(self.chunks)
    }

    /// Returns true if it is worth taking outcomes now. If the worker continues without being sent anything
    /// (`goes_on`), letting outcomes gather is cheaper: the worker rings before there are too many, and before it
    /// sleeps. It is also worth it if the worker sleeps for room that a value [left](HostLane::leave_large) there takes.
    pub fn has_outcomes(&self, goes_on: bool) -> bool {
        let worker = &self.region.status().worker.0;
        let ready = worker.output_head.load(Ordering::Acquire).saturating_sub(self.delivered.max(self.tail));
        let gathers = goes_on && self.header.is_none() && worker.waits.waker().seems_awake();
        !self.drained
            || self.lacks_room()
            || ready > if gathers { self.output.size(self.delivered) as u64 / 2 } else { 0 }
    }

    /// Returns the number of bytes of input that fit now, according to the worker; [`HostLane::send`] checks it.
    pub fn room(&self) -> usize {
        self.room_beyond(self.region.status().worker.0.input_tail.load(Ordering::Acquire))
    }

    fn room_beyond(&self, taken: u64) -> usize {
        self.input.size(self.head).saturating_sub(self.head.saturating_sub(taken) as usize)
    }

    /// Returns true if the worker sleeps until it gets `want`, which is there now, so that it has to be woken.
    pub fn worker_sleeps_for(&self, want: SleepReason) -> bool {
        self.region.status().worker.0.waits.waker().must_ring(want)
    }

    /// Announces that the host is about to sleep, so that the worker rings, or takes that back. Look for outcomes once
    /// more after announcing.
    pub fn announce_sleep(&self, sleeps: bool) {
        let sleeper = self.region.status().host.0.waits.sleeper();
        if sleeps {
            sleeper.announce(SleepReason::News);
        } else {
            sleeper.retract();
        }
    }

    /// Returns the next outcome if all of it has arrived.
    #[inline]
    pub fn receive(&mut self) -> Result<Received<'_>, ProtocolViolation> {
        self.drained = true;
        let header = match self.header {
            Some(header) => header,
            None => {
                if !self.gather(OUTCOME_HEADER)? {
                    return Ok(Received::Nothing);
                }
                let header = OutcomeHeader::from_bytes(self.take_header())
                    .ok_or(ProtocolViolation("it sent an outcome of no known kind"))?;
                if u64::from(header.len) > self.max_payload {
                    return Err(ProtocolViolation("it sent an outcome longer than any can be"));
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
            OutcomeBytes::Shared(&self.copied, self.used - len..self.used)
        } else if let Some(value) = self.leave(&header)? {
            OutcomeBytes::Left(value)
        } else {
            if !self.gather_large(len)? {
                return Ok(Received::Nothing);
            }
            OutcomeBytes::Owned(std::mem::take(&mut self.payload))
        };
        self.was_large = len >= LARGE;
        self.header = None;
        self.drained = false;
        Ok(Received::Outcome(header, payload))
    }

    /// Copies out bytes until at least `count` (less than [`LARGE`]) are there that were not used yet. Returns false if
    /// that many have not arrived.
    fn gather(&mut self, count: usize) -> Result<bool, ProtocolViolation> {
        let left = self.copied.len() - self.used;
        if left >= count {
            return Ok(true);
        }
        if left + self.available() < count && left + self.exchange_positions()? < count {
            return Ok(false);
        }
        let used = std::mem::take(&mut self.used);
        let mut block = match std::mem::take(&mut self.copied).try_into_mut() {
            Ok(mut block) => {
                block.copy_within(used.., 0);
                block.truncate(left);
                block
            }
            // Somebody keeps outcomes that are in it.
            Err(kept) => {
                let mut block = BytesMut::with_capacity(COPIED);
                block.extend_from_slice(&kept[used..]);
                block
            }
        };
        let most = if self.was_large { COPIED_AFTER_LARGE.max(count) } else { COPIED };
        block.reserve(COPIED - left);
        let more = self.available().min(most.saturating_sub(left));
        let end = block.spare_capacity_mut().as_mut_ptr().cast();
        // SAFETY: this many bytes are available, and there is room for them after `end`; afterwards they are
        // initialised.
        unsafe {
            self.copy_out(end, more);
            block.set_len(left + more);
        }
        self.copied = block.freeze();
        Ok(true)
    }

    fn take_header(&mut self) -> [u8; OUTCOME_HEADER] {
        let header = self.copied[self.used..].first_chunk().expect("it was gathered");
        self.used += OUTCOME_HEADER;
        *header
    }

    /// Sets whether values beyond [`LONG`] may be left in the ring until somebody wants them. Those that are left take room
    /// there until [`HostLane::received`] or [`HostLane::reclaim`] finds them taken.
    pub fn leave_large(&mut self, leaves: bool) {
        self.leaves = leaves;
    }

    /// Returns true if the last outcome was large, so that the next probably is.
    pub fn was_large(&self) -> bool {
        self.was_large
    }

    /// Returns true if values were left in the ring that were not taken by the last look.
    pub fn has_left(&self) -> bool {
        !self.left.is_empty()
    }

    /// Returns true if a value was left in the ring, and the worker sleeps until it has room.
    pub fn lacks_room(&self) -> bool {
        !self.left.is_empty() && self.region.status().worker.0.waits.waker().seems_to_sleep_for(SleepReason::Room)
    }

    /// Copies out the values that were left in the ring, and gives their room back to the worker.
    pub fn reclaim(&mut self) {
        self.left.drain(..).for_each(|value| value.copy_out());
        self.publish_tail();
    }

    /// Leaves a large value in the ring, if that may be done, and all of it has arrived and follows in one piece.
    fn leave(&mut self, header: &OutcomeHeader) -> Result<Option<LeftValue>, ProtocolViolation> {
        let len = header.len as usize;
        if !self.leaves || len <= LONG || header.tag != OutcomeTag::Value || !self.payload.is_empty() {
            return Ok(None);
        }
        // Its first bytes were copied out with its header.
        let missing = len.saturating_sub(self.copied.len() - self.used);
        if missing == 0 || (self.available() < missing && self.exchange_positions()? < missing) {
            return Ok(None);
        }
        let (start, end) = (self.tail, self.tail + missing as u64);
        if start < self.output.wide_from && end > self.output.wide_from {
            return Ok(None);
        }
        let begin = self.copied[self.used..].to_vec();
        self.used = self.copied.len();
        // SAFETY: the bytes from what the worker was told to be free up to what is available are no more than their ring holds
        // (`exchange_positions`), so the span lies within the doubly mapped ring.
        let span = unsafe { LaneSpan::new(begin, self.region.clone(), self.output.at(start), missing) };
        let (in_lane, value) = LeftInLane::new(start, span);
        self.left.push_back(in_lane);
        self.tail = end;
        self.moved.output += missing as u64;
        Ok(Some(value))
    }

    /// Copies what has arrived of a large outcome to memory of its own. Returns true if that is all of it.
    fn gather_large(&mut self, len: usize) -> Result<bool, ProtocolViolation> {
        if self.payload.is_empty() {
            // Includes room for one more byte: whoever takes the outcome appends a line end.
            self.payload.reserve_exact(len.min(FORESEEN) + 1);
            let copied = &self.copied[self.used..];
            let copied = copied.get(..len).unwrap_or(copied);
            self.payload.extend_from_slice(copied);
            self.used += copied.len();
        }
        let have = self.payload.len();
        let missing = len - have;
        if self.available() < missing {
            self.exchange_positions()?;
        }
        let count = self.available().min(missing);
        // From here on memory grows with the bytes that have arrived, not with the length that was announced.
        self.payload.reserve(count);
        let end = self.payload.spare_capacity_mut().as_mut_ptr().cast();
        // SAFETY: this many bytes are available, and there is room for them after `end`; afterwards they are
        // initialised.
        unsafe {
            self.copy_out(end, count);
            self.payload.set_len(have + count);
        }
        Ok(count == missing)
    }

    /// Ends a series of calls of [`HostLane::receive`]: the room in the ring goes back to the worker, and the memory to
    /// the host.
    pub fn received(&mut self) {
        self.publish_tail();
        if self.used == self.copied.len() {
            self.copied = Bytes::new();
            self.used = 0;
        }
    }

    /// Returns the number of bytes that moved through the lane in each direction since the last call.
    pub fn moved(&mut self) -> BytesMoved {
        std::mem::take(&mut self.moved)
    }

    /// Returns what the current item has printed so far.
    pub fn printed(&self) -> [Vec<u8>; 2] {
        self.region.printed().map(|(from, len)| {
            let len = (len.load(Ordering::Acquire) as usize).min(PRINTED);
            let mut bytes = Vec::with_capacity(len);
            // SAFETY: PRINTED bytes are mapped from there on, and there is room for `len` of them. The worker may
            // change them meanwhile; they are copied as raw memory and only looked at afterwards.
            unsafe {
                from.as_ptr().copy_to_nonoverlapping(bytes.as_mut_ptr(), len);
                bytes.set_len(len);
            }
            bytes
        })
    }

    /// Has the worker let the host take what items print while they run. Called before the worker starts.
    pub fn follow_prints(&self) {
        self.region.status().host.0.follows.store(1, Ordering::Relaxed);
    }

    /// Takes what items have printed on each stream since the last call.
    pub fn take_prints(&mut self) -> [Vec<u8>; 2] {
        let HostLane { region, shown, .. } = self;
        let told = &region.status().host.0.shown;
        let mut taken = [Vec::new(), Vec::new()];
        for (stream, (at, len)) in region.printed().into_iter().enumerate() {
            let (own, taken) = (&mut shown[stream], &mut taken[stream]);
            let end = len.load(Ordering::Acquire);
            let new = end.wrapping_sub(*own) as usize;
            // A worker that says that it has printed more than there is room for has nothing that could be shown.
            if new <= PRINTED {
                let start = *own as usize % PRINTED;
                let first = new.min(PRINTED - start);
                taken.reserve_exact(new);
                // SAFETY: PRINTED bytes are mapped from there on, both pieces lie within them, and there is room for both.
                // The worker may change them meanwhile; they are copied as raw memory and only looked at afterwards.
                unsafe {
                    at.as_ptr().add(start).copy_to_nonoverlapping(taken.as_mut_ptr(), first);
                    at.as_ptr().copy_to_nonoverlapping(taken.as_mut_ptr().add(first), new - first);
                    taken.set_len(new);
                }
            }
            *own = end;
            told[stream].store(end, Ordering::Release);
        }
        taken
    }

    /// Returns how many instances the worker says that it made, and how many items got a restored one.
    pub fn instances(&self) -> InstanceCounts {
        let [made, restored] = &self.region.status().worker.0.instances;
        InstanceCounts { made: made.load(Ordering::Relaxed), restored: restored.load(Ordering::Relaxed) }
    }

    /// Returns the number of the shared object for whose answer the worker says that its item waits.
    pub fn asks(&self) -> Option<u32> {
        self.region.status().worker.0.asks.load(Ordering::Relaxed).checked_sub(1)
    }

    /// Returns what the worker says it is doing.
    pub fn claim(&self) -> WorkerProgress {
        let worker = &self.region.status().worker.0;
        WorkerProgress {
            attempt: worker.attempt.load(Ordering::Acquire),
            started: worker.started.load(Ordering::Acquire),
            since_ns: worker.attempt_since.load(Ordering::Acquire),
        }
    }

    fn available(&self) -> usize {
        (self.delivered - self.tail) as usize
    }

    /// Reads how far the worker has come and tells it how far the host has. Returns the number of bytes that are
    /// available.
    fn exchange_positions(&mut self) -> Result<usize, ProtocolViolation> {
        self.publish_tail();
        self.note_taken()?;
        let worker = &self.region.status().worker.0;
        let delivered = worker.output_head.load(Ordering::Acquire);
        if self.output.can_widen() {
            // Once the wide ring is in use, later claims about its beginning are ignored. Until bytes of it have been
            // received, the beginning may change.
            let from = worker.output_wide_from.load(Ordering::Relaxed);
            if from < self.delivered {
                return Err(ProtocolViolation("it wrote in another place than it said"));
            }
            if from < delivered {
                self.output.wide_from = from;
            }
        }
        let narrow = delivered.min(self.output.wide_from).saturating_sub(self.told);
        let all = delivered.wrapping_sub(self.told);
        if delivered < self.delivered || narrow > RING as u64 || all > self.output.size(delivered) as u64 {
            return Err(ProtocolViolation("it wrote more than there is room for"));
        }
        self.delivered = delivered;
        Ok(self.available())
    }

    /// Tells the worker about the room that has become free: up to the first value that is still in the ring.
    fn publish_tail(&mut self) {
        while self.left.pop_front_if(|value| value.is_over()).is_some() {}
        let free = self.left.front().map_or(self.tail, |value| value.start);
        if free != self.told {
            self.told = free;
            self.region.status().host.0.output_tail.store(free, Ordering::Release);
        }
    }

    /// Copies `count` bytes out of the output ring.
    ///
    /// # Safety
    ///
    /// The bytes have to be [`HostLane::available`], and `to` has to have room for them.
    unsafe fn copy_out(&mut self, to: *mut u8, count: usize) {
        debug_assert!(count <= self.available());
        let narrow = usize::try_from(self.output.wide_from.saturating_sub(self.tail)).map_or(count, |n| n.min(count));
        // SAFETY: the available bytes are no more than each of their rings holds (`exchange_positions`), so the spans lie within the
        // doubly mapped rings. The worker may change the bytes meanwhile; they are copied as raw memory and only looked
        // at afterwards.
        unsafe {
            copy(self.output.at(self.tail).as_ptr(), to, narrow);
            let wide = self.output.at(self.tail + narrow as u64);
            copy(wide.as_ptr(), to.add(narrow), count - narrow);
        }
        self.tail += count as u64;
        self.moved.output += count as u64;
        if self.tail - self.told > RING as u64 / 8 {
            self.publish_tail();
        }
    }
}

impl Drop for HostLane {
    fn drop(&mut self) {
        // Nobody copies them after some time any more, and each keeps the whole region mapped until then.
        self.left.drain(..).for_each(|value| value.copy_out());
    }
}
