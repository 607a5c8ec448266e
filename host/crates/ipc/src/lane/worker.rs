//! The worker's side of a lane. The host is trusted.

use std::cell::Cell;
use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::InstanceCounts;
use super::frame::OUTCOME_HEADER;
use super::region::{LONG, PRINTED, Region, RingPair};
use crate::wake::{Bell, SleepReason};

/// The worker's end of a lane, which reads items and writes outcomes.
#[derive(Debug)]
pub struct WorkerLane {
    region: &'static Region,
    input: Cell<RingPair>,
    /// Number of bytes of input that were taken, and the same number at the last attempt to wake the host for them.
    taken: u64,
    told: u64,
    /// Position up to which the host had written input at the last look.
    delivered: Cell<u64>,
    output: OutcomeWriter,
    /// Number of items answered, and of attempts made.
    answered: u64,
    attempt: u64,
    /// Number of chunks whose headers were taken.
    chunks: u64,
    /// Length of the item that is staged, and the item itself, gathered piece by piece, if it is too large for the
    /// ring.
    staged: usize,
    gathered: Option<Vec<u8>>,
    sleeps: Cell<u64>,
}

/// The writer of outcomes.
#[derive(Clone, Debug)]
pub struct OutcomeWriter {
    region: &'static Region,
    rings: RingPair,
    head: u64,
    /// Position up to which the host had taken output at the last look. As long as that leaves enough room, the host's
    /// cache line is not touched.
    tail: u64,
    /// Length of an outcome that was placed in the ring, after room for its header.
    placed: usize,
}

// SAFETY: a lane has one writer at a time, and its region stays mapped as long as the process lives.
unsafe impl Send for OutcomeWriter {}

impl OutcomeWriter {
    /// Writes bytes, sleeping while the ring is full. The host sees them after [`OutcomeWriter::publish`]. Returns how often
    /// the worker slept.
    #[inline]
    pub fn write(&mut self, mut bytes: &[u8], bell: &impl Bell) -> io::Result<u64> {
        let mut sleeps = 0;
        self.placed = 0;
        self.widen_for(bytes);
        loop {
            let room = self.room_for(bytes.len());
            let (now, later) = bytes.split_at(bytes.len().min(room));
            // SAFETY: this many bytes of the ring are free.
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
            sleeps += sleep_until(self.region, bell, SleepReason::Room, emptied)?;
        }
    }

    /// Places the bytes of an outcome in the ring after room for its header, if all of it fits now.
    /// [`WorkerLane::write_placed`] has to follow; anything else that is written overwrites the bytes.
    pub fn place(&mut self, bytes: &[u8]) -> bool {
        self.widen_for(bytes);
        let fits = self.room_for(OUTCOME_HEADER + bytes.len()) >= OUTCOME_HEADER + bytes.len();
        if fits {
            // SAFETY: this much of the ring is free.
            unsafe { self.rings.write(self.head + OUTCOME_HEADER as u64, bytes) };
            self.placed = bytes.len();
        }
        fits
    }

    /// Takes placed bytes out again.
    pub fn take_placed(&mut self) -> Vec<u8> {
        let from = self.rings.at(self.head + OUTCOME_HEADER as u64);
        // SAFETY: this many bytes were written there, and nobody writes while `self` is borrowed.
        unsafe { std::slice::from_raw_parts(from.as_ptr(), std::mem::take(&mut self.placed)) }.to_vec()
    }

    /// Switches to the wide ring if the bytes are long.
    fn widen_for(&mut self, bytes: &[u8]) {
        if bytes.len() > LONG {
            self.rings.widen(self.head, &self.region.status().worker.0.output_wide_from);
        }
    }

    /// Makes what was written visible to the host.
    pub fn publish(&self) {
        self.region.status().worker.0.output_head.store(self.head, Ordering::Release);
    }

    /// Returns the number of bytes that are known to fit.
    fn room(&self) -> usize {
        self.rings.size(self.head) - (self.head - self.tail) as usize
    }

    /// Returns the number of bytes that fit. Checks for more room if less than `bytes` is known.
    fn room_for(&mut self, bytes: usize) -> usize {
        if self.room() < bytes {
            self.tail = self.region.status().host.0.output_tail.load(Ordering::Acquire);
        }
        self.room()
    }

    /// Returns true if the host should be woken soon, because the ring may fill up.
    fn is_filling_up(&mut self) -> bool {
        let few = self.rings.size(self.head) / 2;
        self.room_for(few) < few
    }

    /// Wakes a host that sleeps if the ring fills up.
    pub fn ring_if_filling_up(&mut self, bell: &impl Bell) -> io::Result<()> {
        if self.is_filling_up() { ring_if_waiting(self.region, bell) } else { Ok(()) }
    }
}

/// Wakes the host if it sleeps.
fn ring_if_waiting(region: &Region, bell: &impl Bell) -> io::Result<()> {
    if region.status().host.0.waits.waker().must_ring(SleepReason::News) { bell.ring() } else { Ok(()) }
}

/// Sleeps until `ready`, and returns how often. A host that sleeps is woken first.
fn sleep_until(region: &Region, bell: &impl Bell, want: SleepReason, ready: impl Fn() -> bool) -> io::Result<u64> {
    let status = region.status();
    status.worker.0.waits.sleeper().sleep_until(want, status.host.0.waits.waker(), bell, ready)
}

impl WorkerLane {
    pub fn map(fd: &impl AsFd) -> io::Result<WorkerLane> {
        // A worker has one lane for its whole life. Because it is leaked, its status page can be read from anywhere.
        let region = Box::leak(Box::new(Region::map(fd)?));
        Ok(WorkerLane {
            region,
            input: Cell::new(region.input()),
            taken: 0,
            told: 0,
            delivered: Cell::new(0),
            output: OutcomeWriter { region, rings: region.output(), head: 0, tail: 0, placed: 0 },
            answered: 0,
            attempt: 0,
            chunks: 0,
            staged: 0,
            gathered: None,
            sleeps: Cell::new(0),
        })
    }

    /// Takes the next `N` bytes of input, sleeping until they have arrived.
    #[inline]
    pub fn take<const N: usize>(&mut self, bell: &impl Bell) -> io::Result<[u8; N]> {
        self.wait_for(N, bell)?;
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.span(N));
        self.consume(N);
        Ok(bytes)
    }

    /// Waits until the next `len` bytes of input have arrived; [`WorkerLane::staged`] returns them.
    #[inline]
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

    /// Begins the chunk whose header was taken. Returns `false` if the host has taken it back; the chunk must then be
    /// skipped.
    pub fn begin_chunk(&mut self) -> bool {
        self.chunks += 1;
        self.region.status().turns.0.begin(self.chunks)
    }

    /// Skips the next `len` bytes of input.
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

    /// Returns the staged bytes, without a copy if they fit the ring.
    #[inline]
    pub fn staged(&self) -> &[u8] {
        self.gathered.as_deref().unwrap_or_else(|| self.span(self.staged))
    }

    /// Removes the staged bytes from the input.
    #[inline]
    pub fn unstage(&mut self) {
        let len = std::mem::take(&mut self.staged);
        // Memory of a large item is not kept for the small ones after it.
        if self.gathered.take().is_none() {
            self.consume(len);
        }
    }

    /// Writes bytes of an outcome, sleeping while the ring is full. The host sees them after [`WorkerLane::answered`].
    #[inline]
    pub fn write(&mut self, bytes: &[u8], bell: &impl Bell) -> io::Result<()> {
        let sleeps = self.output.write(bytes, bell)?;
        self.sleeps.set(self.sleeps.get() + sleeps);
        Ok(())
    }

    /// Returns the number of bytes that were placed ([`OutcomeWriter::place`]) and not overwritten.
    #[inline]
    pub fn placed(&self) -> usize {
        self.output.placed
    }

    /// Writes the header of an outcome whose bytes were placed.
    pub fn write_placed(&mut self, header: &[u8; OUTCOME_HEADER], bell: &impl Bell) -> io::Result<()> {
        let placed = self.placed();
        // There is room for it, so this does not wait.
        self.write(header, bell)?;
        self.output.head += placed as u64;
        Ok(())
    }

    /// Lends the writer to code that writes a value while its item is in work. [`WorkerLane::take_back`] has to follow
    /// when it ends.
    pub fn lend_output(&self) -> OutcomeWriter {
        self.output.clone()
    }

    pub fn take_back(&mut self, output: OutcomeWriter) {
        self.output = output;
    }

    /// Wakes the host if it sleeps.
    pub fn ring_if_waiting(&self, bell: &impl Bell) -> io::Result<()> {
        ring_if_waiting(self.region, bell)
    }

    /// Wakes the host if it sleeps and there is a reason: the output fills up, or half of the input ring has become
    /// free and the host may be holding back the rest of a chunk for lack of room. One bell covers both.
    #[inline]
    pub fn ring_if_due(&mut self, bell: &impl Bell) -> io::Result<()> {
        let has_room = self.taken - self.told > self.size() as u64 / 2;
        if !has_room && !self.output.is_filling_up() {
            return Ok(());
        }
        self.told = self.taken;
        self.ring_if_waiting(bell)
    }

    /// Returns how often the worker has slept.
    #[inline]
    pub fn sleeps(&self) -> u64 {
        self.sleeps.get()
    }

    /// Reports that the next item is being tried.
    #[inline]
    pub fn start(&mut self, now_ns: u64) {
        self.attempt += 1;
        let worker = &self.region.status().worker.0;
        worker.started.store(self.answered + 1, Ordering::Relaxed);
        worker.attempt_since.store(now_ns, Ordering::Relaxed);
        worker.attempt.store(self.attempt, Ordering::Release);
    }

    /// Makes an outcome that was written visible to the host.
    #[inline]
    pub fn answered(&mut self) {
        self.answered += 1;
        self.output.publish();
    }

    /// Tells how many instances were made so far, and how many items got a restored one.
    pub fn tell_instances(&self, counts: InstanceCounts) {
        let [made, restored] = &self.region.status().worker.0.instances;
        made.store(counts.made, Ordering::Relaxed);
        restored.store(counts.restored, Ordering::Relaxed);
    }

    /// Returns where the host finds for which shared object the item waits, as in [`WorkerStatus::asks`].
    ///
    /// [`WorkerStatus::asks`]: super::region::WorkerStatus::asks
    pub fn asks(&self) -> &'static AtomicU32 {
        &self.region.status().worker.0.asks
    }

    /// Returns the page that both sides see, for tests with a worker that lies.
    #[cfg(feature = "probes")]
    pub fn status(&self) -> &'static super::region::StatusPage {
        self.region.status()
    }

    /// Returns where the guest's output is kept: standard output and standard error.
    pub fn printed(&self) -> [PrintedPage; 2] {
        let host = &self.region.status().host.0;
        let [out, err] = self.region.printed();
        [(out, &host.shown[0]), (err, &host.shown[1])].map(|((at, len), shown)| PrintedPage {
            at,
            len,
            follows: &host.follows,
            shown,
            left_out: 0,
        })
    }

    /// Returns the number of bytes of input that are known to have arrived.
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

    /// Returns the number of bytes of input that can be in the ring at once.
    fn size(&self) -> usize {
        self.input.get().size(self.taken)
    }

    fn span(&self, len: usize) -> &[u8] {
        debug_assert!(len <= self.available() && len <= self.size());
        // SAFETY: `len` is at most the ring's size, so the span lies within the doubly mapped ring; the host doesn't
        // touch bytes it has handed over until they are consumed.
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
        // The host learns of everything that was done so far, and of nothing more until this returns.
        let sleeps = sleep_until(self.region, bell, SleepReason::Input, || self.look() >= len)?;
        self.sleeps.set(self.sleeps.get() + sleeps);
        Ok(())
    }
}

/// Output of the current item on one stream, kept where the host finds it if this process is killed.
#[derive(Debug)]
pub struct PrintedPage {
    at: NonNull<u8>,
    len: &'static AtomicU32,
    /// 1 if the host takes what is printed, and how much it has taken.
    follows: &'static AtomicU32,
    shown: &'static AtomicU32,
    /// Number of bytes that were left out since something was last written.
    left_out: u64,
}

/// Time that a worker waits for a host that takes nothing of what items print. A host that does not come any more must not
/// keep an item from going on.
const PATIENCE: Duration = Duration::from_secs(5);
/// Number of bytes that are kept for telling what was left out. That takes at most 73.
pub(super) const NOTICE: usize = 128;
/// Pause between two looks whether the host has taken something.
const PAUSE: Duration = Duration::from_millis(1);

// SAFETY: there is only one for each stream, and its memory stays mapped as long as the process lives.
unsafe impl Send for PrintedPage {}

impl PrintedPage {
    fn is_followed(&self) -> bool {
        self.follows.load(Ordering::Relaxed) != 0
    }

    /// Returns true if there is nothing to take. The host takes it where it follows.
    pub fn is_empty(&self) -> bool {
        self.is_followed() || self.len.load(Ordering::Relaxed) == 0
    }

    /// Appends as many of the bytes as there is room for: all of them where the host follows, as soon as it has taken those
    /// before.
    pub fn append(&mut self, bytes: &[u8]) {
        if self.is_followed() {
            return self.stream(bytes);
        }
        let len = self.len.load(Ordering::Relaxed) as usize;
        let count = bytes.len().min(PRINTED - len);
        // SAFETY: `len + count` is at most PRINTED, and this many bytes are mapped; only this value writes there.
        unsafe { self.at.add(len).as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), count) };
        self.len.store((len + count) as u32, Ordering::Release);
    }

    fn stream(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            // Once something was left out, nothing is waited for until there is room again.
            if self.room() == 0 && (self.left_out > 0 || !self.gets_room()) {
                self.left_out += bytes.len() as u64;
                return;
            }
            self.tell_left_out();
            let count = self.write(bytes, self.room());
            bytes = bytes.get(count..).unwrap_or_default();
        }
    }

    /// Ends the output of an item: tells what was left out of it, if anything was. Nothing more may come that would tell it.
    pub fn end(&mut self) {
        if self.is_followed() {
            self.tell_left_out();
        }
    }

    /// Tells what was left out, in the room that is kept for it. If even that was not taken, it is told later.
    fn tell_left_out(&mut self) {
        if self.left_out == 0 {
            return;
        }
        let told = format!("\n[{} bytes were left out here, since nobody took them]\n", self.left_out);
        if self.all_room() >= told.len() {
            self.left_out = 0;
            self.write(told.as_bytes(), told.len());
        }
    }

    /// Returns the room for what items print.
    fn room(&self) -> usize {
        self.all_room().saturating_sub(NOTICE)
    }

    fn all_room(&self) -> usize {
        let kept = self.len.load(Ordering::Relaxed).wrapping_sub(self.shown.load(Ordering::Acquire));
        PRINTED.saturating_sub(kept as usize)
    }

    /// Waits until there is room. Returns false if there is none for too long.
    fn gets_room(&self) -> bool {
        let begin = Instant::now();
        while self.room() == 0 {
            if begin.elapsed() > PATIENCE {
                return false;
            }
            // The sandbox allows this way of waiting.
            thread::park_timeout(PAUSE);
        }
        true
    }

    /// Writes at most this many of the bytes into the ring, which has room for them, and returns how many.
    fn write(&mut self, bytes: &[u8], most: usize) -> usize {
        let len = self.len.load(Ordering::Relaxed);
        let count = bytes.len().min(most);
        let start = len as usize % PRINTED;
        let first = count.min(PRINTED - start);
        // SAFETY: both pieces lie within the PRINTED bytes that are mapped there, and `bytes` has this many. Only this value
        // writes there, and the host has taken what was there.
        unsafe {
            self.at.add(start).as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), first);
            self.at.as_ptr().copy_from_nonoverlapping(bytes.as_ptr().add(first), count - first);
        }
        self.len.store(len.wrapping_add(count as u32), Ordering::Release);
        count
    }

    pub fn take(&mut self) -> Vec<u8> {
        let len = self.len.load(Ordering::Relaxed) as usize;
        // SAFETY: this many bytes were written there, and nobody writes while `self` is borrowed.
        let bytes = unsafe { std::slice::from_raw_parts(self.at.as_ptr(), len) }.to_vec();
        self.len.store(0, Ordering::Release);
        bytes
    }
}
