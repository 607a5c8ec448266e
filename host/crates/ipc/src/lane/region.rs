//! Shared memory of one worker.
//!
//! Each direction has two rings: one for small items, and a wide one that replaces it for good as soon as something
//! large has to pass. A large item thus passes as a whole, in one copy and without a message. A worker that never sees
//! one uses no memory for the wide ring, because pages of the file are allocated when they are touched.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

pub use super::rings::{LONG, NEVER, RING, RingPair, WIDE};
pub use crate::mapping::CacheLine;
use crate::mapping::{self, Access, Mapping, Part, Ring};
use crate::wake::SleepWord;

/// Number of bytes kept of what an item prints, on each of its two standard streams; the rest is dropped.
pub const PRINTED: usize = 64 << 10;
/// Size of the status page in bytes.
const STATUS: usize = 4096;
/// Size of the file in bytes: the status page, the two rings, the printed output and, unless a limit on the size of
/// files (`ulimit -f`) forbids it, the two wide rings.
const NARROW_FILE: usize = STATUS + 2 * RING + 2 * PRINTED;
pub const FILE: usize = NARROW_FILE + 2 * WIDE;

/// The part of the status page that the host writes and the worker reads.
#[repr(C)]
#[derive(Debug, Default)]
pub struct HostStatus {
    /// Number of bytes written to the input, and taken from the output, since the beginning.
    pub input_head: AtomicU64,
    pub output_tail: AtomicU64,
    /// Position from which the input is in its wide ring. Written before the head that lies beyond it.
    pub input_wide_from: AtomicU64,
    /// Word that says whether the host sleeps.
    pub waits: SleepWord,
    /// 1 if the host takes what items print while they run, and number of bytes that it has taken of each stream. The number
    /// begins anew at 2³².
    pub follows: AtomicU32,
    pub shown: [AtomicU32; 2],
}

/// The part of the status page that the worker writes. The host reads it and believes none of it.
#[repr(C)]
#[derive(Debug, Default)]
pub struct WorkerStatus {
    pub input_tail: AtomicU64,
    pub output_head: AtomicU64,
    /// Position from which the output is in its wide ring, as for the input.
    pub output_wide_from: AtomicU64,
    /// Number of items answered so far, plus one while an item is in work.
    pub started: AtomicU64,
    /// Number of the current attempt, and when it began (nanoseconds, `CLOCK_MONOTONIC`).
    pub attempt: AtomicU64,
    pub attempt_since: AtomicU64,
    /// Word that says whether the worker sleeps, and what for.
    pub waits: SleepWord,
    /// Number of bytes that the current item has printed, on each stream. They are kept in shared memory so that they
    /// survive if the process is killed. Where the host follows, it is all that was printed since the start, and begins anew
    /// at 2³².
    pub printed: [AtomicU32; 2],
    /// Number of instances that were made, and of items that got a restored one. Only told to the user.
    pub instances: [AtomicU64; 2],
    /// Number of the shared object for whose answer the item waits, plus one; 0 if it waits for none. Only told to the user.
    pub asks: AtomicU32,
}

/// The page that both sides see. All of it is atomics, and all bit patterns are valid, so no write of the other side is
/// undefined behaviour here.
#[repr(C)]
#[derive(Debug, Default)]
pub struct StatusPage {
    pub host: CacheLine<HostStatus>,
    pub worker: CacheLine<WorkerStatus>,
    /// Which chunks the worker has begun, and which the host took back before that; whichever comes first counts.
    pub turns: CacheLine<ChunkTurns>,
}

/// Number of chunks whose turns are kept: far more than a worker holds at a time.
const TURNS: usize = 16;

/// For each chunk, by its number from 1 on, whether it was begun (twice the number) or taken back (twice the number
/// plus one).
#[repr(C)]
#[derive(Debug, Default)]
pub struct ChunkTurns(pub [AtomicU64; TURNS]);

impl ChunkTurns {
    fn of(&self, chunk: u64) -> Option<&AtomicU64> {
        self.0.get((chunk % TURNS as u64) as usize)
    }

    /// Marks a chunk as begun. Returns `false` if it was taken back; the worker then skips it.
    pub fn begin(&self, chunk: u64) -> bool {
        self.of(chunk).is_none_or(|turn| turn.swap(chunk << 1, Ordering::AcqRel) != (chunk << 1 | 1))
    }

    /// Marks a chunk as taken back. Returns `false` if it was begun. A worker that lies about that remains answerable
    /// for what it holds.
    pub fn take_back(&self, chunk: u64) -> bool {
        self.of(chunk).is_some_and(|turn| {
            let before = turn.load(Ordering::Acquire);
            // The place still belongs to a chunk that was taken back and that the worker has not reached yet.
            let is_free = before >> 1 < chunk && before & 1 == 0;
            let taken = chunk << 1 | 1;
            is_free && turn.compare_exchange(before, taken, Ordering::AcqRel, Ordering::Acquire).is_ok()
        })
    }
}

/// A mapping of the shared memory. It is only accessed through the status page's atomics, and by raw copies of ring
/// bytes that the lane's two ends use in turn.
#[derive(Debug)]
pub struct Region {
    mapping: Mapping,
    /// True if it has wide rings.
    wide: bool,
}

/// Offsets of the parts in the mapping.
const INPUT: usize = STATUS;
const OUTPUT: usize = INPUT + 2 * RING;
const PRINTS: usize = OUTPUT + 2 * RING;
const WIDE_INPUT: usize = PRINTS + 2 * PRINTED;
const WIDE_OUTPUT: usize = WIDE_INPUT + 2 * WIDE;
const TOTAL: usize = WIDE_OUTPUT + 2 * WIDE;

/// The parts of the file; the last two are the wide rings.
const PARTS: [Part; 6] = [
    Part { at: 0, len: STATUS, copies: 1 },
    Part { at: INPUT, len: RING, copies: 2 },
    Part { at: OUTPUT, len: RING, copies: 2 },
    Part { at: PRINTS, len: 2 * PRINTED, copies: 1 },
    Part { at: WIDE_INPUT, len: WIDE, copies: 2 },
    Part { at: WIDE_OUTPUT, len: WIDE, copies: 2 },
];
const NARROW_PARTS: usize = 4;

impl Region {
    /// Creates shared memory whose size can never change, so that no access to it can fault.
    pub fn create() -> io::Result<(Region, OwnedFd)> {
        let size = if mapping::largest_file()? < FILE as u64 { NARROW_FILE } else { FILE };
        let fd = mapping::create(c"wasmpool-lane", size)?;
        let region = Region::map(&fd)?;
        region.status().host.0.input_wide_from.store(NEVER, Ordering::Relaxed);
        region.status().worker.0.output_wide_from.store(NEVER, Ordering::Relaxed);
        Ok((region, fd))
    }

    /// Maps shared memory that the other side created.
    pub fn map(fd: &impl AsFd) -> io::Result<Region> {
        let size = mapping::file_size(fd)?;
        let wide = size == FILE as u64;
        if !wide && size != NARROW_FILE as u64 {
            return Err(io::Error::other("the shared memory has not the size of a lane"));
        }
        let parts = if wide { &PARTS[..] } else { &PARTS[..NARROW_PARTS] };
        Ok(Region { mapping: Mapping::map(fd, Access::ReadWrite, parts, TOTAL)?, wide })
    }

    pub fn status(&self) -> &StatusPage {
        // SAFETY: the page is mapped as long as `self`, aligned, and every bit pattern of it is a valid `Status`.
        unsafe { self.mapping.base().cast::<StatusPage>().as_ref() }
    }

    /// Returns the rings from host to worker. None is wide yet.
    pub fn input(&self) -> RingPair {
        self.rings(INPUT, WIDE_INPUT)
    }

    /// Returns the rings from worker to host. None is wide yet.
    pub fn output(&self) -> RingPair {
        self.rings(OUTPUT, WIDE_OUTPUT)
    }

    fn rings(&self, narrow: usize, wide: usize) -> RingPair {
        // SAFETY: each is mapped twice in a row there (`PARTS`), the wide one if there is one; the lane's ends use the
        // rings while they keep the region.
        let (narrow, wide) =
            unsafe { (Ring::at_address(self.mapping.at(narrow)), Ring::at_address(self.mapping.at(wide))) };
        RingPair { narrow, wide: self.wide.then_some(wide), wide_from: NEVER }
    }

    /// Returns where the output that the current item prints is kept, [`PRINTED`] bytes for each stream, and its
    /// current length. Where the host follows, they are a ring.
    pub fn printed(&self) -> [(NonNull<u8>, &AtomicU32); 2] {
        let [out, err] = &self.status().worker.0.printed;
        [(self.mapping.at(PRINTS), out), (self.mapping.at(PRINTS + PRINTED), err)]
    }
}

const _: () = assert!(size_of::<StatusPage>() <= STATUS);
