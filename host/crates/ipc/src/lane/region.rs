//! Shared memory of one worker: a sealed memfd, mapped so that each ring stands twice in a row.
//!
//! Mapping a ring twice makes every span of it contiguous, so nothing that reads or writes it handles a wrap.
//!
//! Each direction has two: a ring of a size for small items, and a wide one that takes its place for good as soon as there
//! is something large. So that passes whole, in one copy and without a word, and a worker that never sees such a thing has
//! no memory for it: pages of the file come into being as they are touched.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

#[cfg(not(miri))]
use super::memory;
#[cfg(miri)]
use super::plain as memory;
pub use super::rings::{LONG, NEVER, RING, Rings, WIDE};
use crate::wake::Waits;

/// Bytes kept of what an item prints, on each of its two standard streams; the rest is dropped.
pub const PRINTED: usize = 64 << 10;
/// Bytes of the status page.
pub(super) const STATUS: usize = 4096;
/// Bytes of the file: the status page, the two rings, what was printed; and, but where a limit on the size of files
/// (`ulimit -f`) forbids it, the two wide rings.
pub(super) const NARROW_FILE: usize = STATUS + 2 * RING + 2 * PRINTED;
pub(super) const FILE: usize = NARROW_FILE + 2 * WIDE;

/// A cache line of its own, so that the two sides don't slow each other.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub struct Line<T>(pub T);

/// What the host writes and the worker reads.
#[repr(C)]
#[derive(Debug, Default)]
pub struct HostStatus {
    /// Bytes ever written to the input, and ever taken from the output.
    pub input_head: AtomicU64,
    pub output_tail: AtomicU64,
    /// Where the input goes on in its wide ring. Written before the head that is beyond it.
    pub input_wide_from: AtomicU64,
    /// Whether the host sleeps.
    pub waits: Waits,
}

/// What the worker writes and the host reads, believing none of it.
#[repr(C)]
#[derive(Debug, Default)]
pub struct WorkerStatus {
    pub input_tail: AtomicU64,
    pub output_head: AtomicU64,
    /// As for the input.
    pub output_wide_from: AtomicU64,
    /// Items answered so far, and one more while one is in work.
    pub started: AtomicU64,
    /// Number of the attempt in work, and when it began (nanoseconds, `CLOCK_MONOTONIC`).
    pub attempt: AtomicU64,
    pub attempt_since: AtomicU64,
    /// Whether the worker sleeps, and what for.
    pub waits: Waits,
    /// Bytes that the item in work has printed, on each stream. They stand in shared memory so that they are there even
    /// if the process is killed.
    pub printed: [AtomicU32; 2],
}

/// The page both sides see. All of it is atomics, and all bit patterns are valid, so no write of the other side is
/// undefined behaviour here.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Status {
    pub host: Line<HostStatus>,
    pub worker: Line<WorkerStatus>,
    /// Which chunks the worker has begun, and which the host has taken back before that: whoever is first.
    pub turns: Line<Turns>,
}

/// Chunks whose turns are kept, by their number: far more than a worker holds at a time.
const TURNS: usize = 16;

/// For each chunk, by its number from 1 on, whether it was begun (twice the number) or taken back (one more).
#[repr(C)]
#[derive(Debug, Default)]
pub struct Turns(pub [AtomicU64; TURNS]);

impl Turns {
    fn of(&self, chunk: u64) -> Option<&AtomicU64> {
        self.0.get((chunk % TURNS as u64) as usize)
    }

    /// Begins a chunk; says `false` where it was taken back, which the worker has then passed.
    pub fn begin(&self, chunk: u64) -> bool {
        self.of(chunk).is_none_or(|turn| turn.swap(chunk << 1, Ordering::AcqRel) != (chunk << 1 | 1))
    }

    /// Takes a chunk back; says `false` where it was begun. A worker that lies about that answers for what it holds.
    pub fn take_back(&self, chunk: u64) -> bool {
        self.of(chunk).is_some_and(|turn| {
            let before = turn.load(Ordering::Acquire);
            // One that was taken back and is not passed keeps its place.
            let is_free = before >> 1 < chunk && before & 1 == 0;
            let taken = chunk << 1 | 1;
            is_free && turn.compare_exchange(before, taken, Ordering::AcqRel, Ordering::Acquire).is_ok()
        })
    }
}

/// A mapping of the shared memory.
#[derive(Debug)]
pub struct Region {
    base: NonNull<u8>,
    /// It has wide rings.
    wide: bool,
}

// SAFETY: the mapping belongs to this value alone until it is dropped, and is only reached through atomics and raw copies.
unsafe impl Send for Region {}
// SAFETY: shared access is to the status page's atomics, and to ring bytes that the lane's two ends take turns on.
unsafe impl Sync for Region {}

/// Where the parts are in the mapping.
pub(super) const INPUT: usize = STATUS;
pub(super) const OUTPUT: usize = INPUT + 2 * RING;
pub(super) const PRINTS: usize = OUTPUT + 2 * RING;
pub(super) const WIDE_INPUT: usize = PRINTS + 2 * PRINTED;
pub(super) const WIDE_OUTPUT: usize = WIDE_INPUT + 2 * WIDE;
pub(super) const TOTAL: usize = WIDE_OUTPUT + 2 * WIDE;

impl Region {
    /// Makes shared memory whose size can never change, so that no access to it can fault.
    pub fn create() -> io::Result<(Region, OwnedFd)> {
        let fd = memory::create()?;
        let region = Region::map(&fd)?;
        region.status().host.0.input_wide_from.store(NEVER, Ordering::Relaxed);
        region.status().worker.0.output_wide_from.store(NEVER, Ordering::Relaxed);
        Ok((region, fd))
    }

    /// Maps shared memory that the other side made.
    pub fn map(fd: &impl AsFd) -> io::Result<Region> {
        let (base, wide) = memory::map(fd)?;
        Ok(Region { base, wide })
    }

    pub fn status(&self) -> &Status {
        // SAFETY: the page is mapped as long as `self`, aligned, and every bit pattern of it is a valid `Status`.
        unsafe { self.base.cast::<Status>().as_ref() }
    }

    /// Host to worker. Nothing is wide yet.
    pub fn input(&self) -> Rings {
        self.rings(INPUT, WIDE_INPUT)
    }

    /// Worker to host.
    pub fn output(&self) -> Rings {
        self.rings(OUTPUT, WIDE_OUTPUT)
    }

    fn rings(&self, narrow: usize, wide: usize) -> Rings {
        // SAFETY: both within the mapping.
        let [narrow, wide] = [narrow, wide].map(|at| unsafe { self.base.add(at) });
        Rings { narrow, wide: self.wide.then_some(wide), wide_from: NEVER }
    }

    /// Where what the item in work prints is kept, [`PRINTED`] bytes for each stream, with how much of it there is.
    pub fn printed(&self) -> [(NonNull<u8>, &AtomicU32); 2] {
        let [out, err] = &self.status().worker.0.printed;
        // SAFETY: within the mapping.
        let base = unsafe { self.base.add(PRINTS) };
        // SAFETY: within the mapping.
        [(base, out), (unsafe { base.add(PRINTED) }, err)]
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map`, and nothing borrowed from it outlives `self`.
        unsafe { memory::unmap(self.base) };
    }
}

const _: () = assert!(size_of::<Status>() <= STATUS);
