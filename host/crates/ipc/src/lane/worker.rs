//! The worker's side of a lane. The host is trusted.

use std::cell::Cell;
use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use super::frame::OUTCOME_HEADER;
use super::region::{LONG, PRINTED, Region, Rings};
use crate::wake::{Bell, Want};

/// Reads items, writes outcomes.
#[derive(Debug)]
pub struct WorkerLane {
    region: &'static Region,
    input: Cell<Rings>,
    /// Bytes of input that were taken, and how many were when the host was last told.
    taken: u64,
    told: u64,
    /// How far the host had come with the input when that was last looked at, as for the output.
    delivered: Cell<u64>,
    output: Output,
    /// Items answered, and attempts made.
    answered: u64,
    attempt: u64,
    /// Chunks whose headers were taken.
    chunks: u64,
    /// Bytes of the item that is staged, and the item, gathered piece by piece, where it is too large for the ring.
    staged: usize,
    gathered: Option<Vec<u8>>,
    sleeps: Cell<u64>,
}

/// Where outcomes are written.
#[derive(Clone, Debug)]
pub struct Output {
    region: &'static Region,
    rings: Rings,
    head: u64,
    /// How far the host had come with the output when that was last looked at: where that is far enough, the host's cache
    /// line is left alone.
    tail: u64,
    /// Bytes of an outcome that stand where they go, behind room for its header.
    placed: usize,
}

// SAFETY: a lane has one writer at a time, and its region stays mapped as long as the process lives.
unsafe impl Send for Output {}

impl Output {
    /// Writes, sleeping while the ring is full. What is written is the host's after [`Output::publish`]. Says how often it
    /// has slept.
    pub fn write(&mut self, mut bytes: &[u8], bell: &impl Bell) -> io::Result<u64> {
        let mut sleeps = 0;
        self.placed = 0;
        self.widen_for(bytes);
        loop {
            let room = self.room_for(bytes.len());
            let (now, later) = bytes.split_at(bytes.len().min(room));
            // SAFETY: so many bytes of the ring are free.
            unsafe { self.rings.write(self.head, now) };
            self.head += now.len() as u64;
            if later.is_empty() {
                return Ok(sleeps);
            }
            bytes = later;
            self.publish();
            let status = self.region.status();
            let full = self.tail;
            let emptied = || status.host.0.output_tail.load(Ordering::Acquire) != full;
            sleeps += sleep_until(self.region, bell, Want::Room, emptied)?;
        }
    }

    /// Puts the bytes of an outcome where they go, behind room for its header, if there is room for all of it now. To be
    /// followed by [`WorkerLane::write_placed`]: whatever else is written is written over them.
    pub fn place(&mut self, bytes: &[u8]) -> bool {
        self.widen_for(bytes);
        let fits = self.room_for(OUTCOME_HEADER + bytes.len()) >= OUTCOME_HEADER + bytes.len();
        if fits {
            // SAFETY: that much of the ring is free.
            unsafe { self.rings.write(self.head + OUTCOME_HEADER as u64, bytes) };
            self.placed = bytes.len();
        }
        fits
    }

    /// Takes placed bytes away again.
    pub fn take_placed(&mut self) -> Vec<u8> {
        let from = self.rings.at(self.head + OUTCOME_HEADER as u64);
        // SAFETY: so many were written there, and nobody writes while `self` is borrowed.
        unsafe { std::slice::from_raw_parts(from.as_ptr(), std::mem::take(&mut self.placed)) }.to_vec()
    }

    /// Has what is long take the wide ring.
    fn widen_for(&mut self, bytes: &[u8]) {
        if bytes.len() > LONG {
            self.rings.widen(self.head, &self.region.status().worker.0.output_wide_from);
        }
    }

    /// Makes what was written visible to the host.
    pub fn publish(&self) {
        self.region.status().worker.0.output_head.store(self.head, Ordering::Release);
    }

    /// Bytes that are known to fit.
    fn room(&self) -> usize {
        self.rings.size(self.head) - (self.head - self.tail) as usize
    }

    /// The same, having looked whether there is more where this is not enough.
    fn room_for(&mut self, bytes: usize) -> usize {
        if self.room() < bytes {
            self.tail = self.region.status().host.0.output_tail.load(Ordering::Acquire);
        }
        self.room()
    }

    /// Whether the host should hear soon, lest the ring fills up.
    fn is_filling_up(&mut self) -> bool {
        let few = self.rings.size(self.head) / 2;
        self.room_for(few) < few
    }

    /// Rings a host that sleeps, where the ring fills up.
    pub fn ring_if_filling_up(&mut self, bell: &impl Bell) -> io::Result<()> {
        if self.is_filling_up() { ring_if_waiting(self.region, bell) } else { Ok(()) }
    }
}

/// Rings the host if it sleeps.
fn ring_if_waiting(region: &Region, bell: &impl Bell) -> io::Result<()> {
    if region.status().host.0.waits.waker().must_ring(Want::News) { bell.ring() } else { Ok(()) }
}

/// Sleeps until there is what is waited for, and says how often. A host that sleeps is rung first.
fn sleep_until(region: &Region, bell: &impl Bell, want: Want, ready: impl Fn() -> bool) -> io::Result<u64> {
    let status = region.status();
    status.worker.0.waits.sleeper().sleep_until(want, status.host.0.waits.waker(), bell, ready)
}

impl WorkerLane {
    pub fn map(fd: &impl AsFd) -> io::Result<WorkerLane> {
        // A worker has one lane, for as long as it lives: leaked, its status page can be read from anywhere.
        let region = Box::leak(Box::new(Region::map(fd)?));
        Ok(WorkerLane {
            region,
            input: Cell::new(region.input()),
            taken: 0,
            told: 0,
            delivered: Cell::new(0),
            output: Output { region, rings: region.output(), head: 0, tail: 0, placed: 0 },
            answered: 0,
            attempt: 0,
            chunks: 0,
            staged: 0,
            gathered: None,
            sleeps: Cell::new(0),
        })
    }

    /// Takes the next `N` bytes of input, sleeping until they are there.
    pub fn take<const N: usize>(&mut self, bell: &impl Bell) -> io::Result<[u8; N]> {
        self.wait_for(N, bell)?;
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.span(N));
        self.consume(N);
        Ok(bytes)
    }

    /// Waits until the next `len` bytes of input are there, to be looked at with [`WorkerLane::staged`].
    pub fn stage(&mut self, len: usize, bell: &impl Bell) -> io::Result<()> {
        self.staged = len;
        if len <= self.size() {
            return self.wait_for(len, bell);
        }
        let mut gathered = Vec::with_capacity(len);
        while gathered.len() < len {
            let next = (len - gathered.len()).min(self.size() / 2);
            self.wait_for(next, bell)?;
            gathered.extend_from_slice(self.span(next));
            self.consume(next);
        }
        self.gathered = Some(gathered);
        Ok(())
    }

    /// Begins the chunk whose header was taken; says `false` where the host has taken it back, to be passed over.
    pub fn begin_chunk(&mut self) -> bool {
        self.chunks += 1;
        self.region.status().turns.0.begin(self.chunks)
    }

    /// Passes over the next `len` bytes of input.
    pub fn skip(&mut self, mut len: usize, bell: &impl Bell) -> io::Result<()> {
        while len > 0 {
            let next = len.min(self.size() / 2);
            self.wait_for(next, bell)?;
            self.consume(next);
            len -= next;
            self.ring_if_due(bell)?;
        }
        Ok(())
    }

    /// The staged bytes, in place where they fit the ring.
    pub fn staged(&self) -> &[u8] {
        self.gathered.as_deref().unwrap_or_else(|| self.span(self.staged))
    }

    /// Done with the staged bytes.
    pub fn unstage(&mut self) {
        let len = std::mem::take(&mut self.staged);
        // A large item's space is not kept for the small ones behind it.
        if self.gathered.take().is_none() {
            self.consume(len);
        }
    }

    /// Writes bytes of an outcome, sleeping while the ring is full. They are the host's after [`WorkerLane::answered`].
    pub fn write(&mut self, bytes: &[u8], bell: &impl Bell) -> io::Result<()> {
        let sleeps = self.output.write(bytes, bell)?;
        self.sleeps.set(self.sleeps.get() + sleeps);
        Ok(())
    }

    /// Bytes that were placed ([`Output::place`]), and not written over.
    pub fn placed(&self) -> usize {
        self.output.placed
    }

    /// Writes the header of an outcome whose bytes were placed.
    pub fn write_placed(&mut self, header: &[u8; OUTCOME_HEADER], bell: &impl Bell) -> io::Result<()> {
        let placed = self.placed();
        // There is room for it: nothing is waited for.
        self.write(header, bell)?;
        self.output.head += placed as u64;
        Ok(())
    }

    /// For whoever writes of a value while its item is in work: to be given back when it ends.
    pub fn lend_output(&self) -> Output {
        self.output.clone()
    }

    pub fn take_back(&mut self, output: Output) {
        self.output = output;
    }

    /// Rings the host if it sleeps.
    pub fn ring_if_waiting(&self, bell: &impl Bell) -> io::Result<()> {
        ring_if_waiting(self.region, bell)
    }

    /// Rings the host if it sleeps, where it should hear soon: the output fills up, or half of the input ring has become free,
    /// and it may hold back the rest of a chunk for want of room. Once for both.
    pub fn ring_if_due(&mut self, bell: &impl Bell) -> io::Result<()> {
        let has_room = self.taken - self.told > self.size() as u64 / 2;
        if !has_room && !self.output.is_filling_up() {
            return Ok(());
        }
        self.told = self.taken;
        self.ring_if_waiting(bell)
    }

    /// How often the worker has slept.
    pub fn sleeps(&self) -> u64 {
        self.sleeps.get()
    }

    /// Says that the next item is being tried.
    pub fn start(&mut self, now_ns: u64) {
        self.attempt += 1;
        let worker = &self.region.status().worker.0;
        worker.started.store(self.answered + 1, Ordering::Relaxed);
        worker.attempt_since.store(now_ns, Ordering::Relaxed);
        worker.attempt.store(self.attempt, Ordering::Release);
    }

    /// Makes an outcome that was written visible to the host.
    pub fn answered(&mut self) {
        self.answered += 1;
        self.output.publish();
    }

    /// The page both sides see, for a worker that lies.
    #[cfg(feature = "probes")]
    pub fn status(&self) -> &'static super::region::Status {
        self.region.status()
    }

    /// Where what guests print is kept: standard output, standard error.
    pub fn printed(&self) -> [PrintedPage; 2] {
        self.region.printed().map(|(at, len)| PrintedPage { at, len })
    }

    /// Bytes of input that are known to be there.
    fn available(&self) -> usize {
        (self.delivered.get() - self.taken) as usize
    }

    fn look(&self) -> usize {
        let host = &self.region.status().host.0;
        self.delivered.set(host.input_head.load(Ordering::Acquire));
        let mut rings = self.input.get();
        if rings.can_widen() {
            rings.wide_from = host.input_wide_from.load(Ordering::Relaxed);
            self.input.set(rings);
        }
        self.available()
    }

    /// Bytes of input that can be there at once.
    fn size(&self) -> usize {
        self.input.get().size(self.taken)
    }

    fn span(&self, len: usize) -> &[u8] {
        debug_assert!(len <= self.available() && len <= self.size());
        // SAFETY: `len` is at most the ring's size, so the span lies within the doubly mapped ring; the host doesn't touch
        // bytes it has handed over until they are consumed.
        unsafe { std::slice::from_raw_parts(self.input.get().at(self.taken).as_ptr(), len) }
    }

    fn consume(&mut self, len: usize) {
        self.taken += len as u64;
        self.region.status().worker.0.input_tail.store(self.taken, Ordering::Release);
    }

    fn wait_for(&self, len: usize, bell: &impl Bell) -> io::Result<()> {
        if self.available() >= len || self.look() >= len {
            return Ok(());
        }
        // What was done so far is all the host will hear of for now.
        let sleeps = sleep_until(self.region, bell, Want::Input, || self.look() >= len)?;
        self.sleeps.set(self.sleeps.get() + sleeps);
        Ok(())
    }
}

/// What the item in work has printed on one stream: where the host finds it should this process be killed.
#[derive(Debug)]
pub struct PrintedPage {
    at: NonNull<u8>,
    len: &'static AtomicU32,
}

// SAFETY: it is the only one of its stream, and its memory stays mapped as long as the process lives.
unsafe impl Send for PrintedPage {}

impl PrintedPage {
    pub fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }

    /// Appends as much as there is room for.
    pub fn append(&mut self, bytes: &[u8]) {
        let len = self.len.load(Ordering::Relaxed) as usize;
        let count = bytes.len().min(PRINTED - len);
        // SAFETY: `len + count` is at most PRINTED, and so many bytes are mapped; only this value writes there.
        unsafe { self.at.add(len).as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), count) };
        self.len.store((len + count) as u32, Ordering::Release);
    }

    pub fn take(&mut self) -> Vec<u8> {
        let len = self.len.load(Ordering::Relaxed) as usize;
        // SAFETY: so many bytes were written there, and nobody writes while `self` is borrowed.
        let bytes = unsafe { std::slice::from_raw_parts(self.at.as_ptr(), len) }.to_vec();
        self.len.store(0, Ordering::Release);
        bytes
    }
}
