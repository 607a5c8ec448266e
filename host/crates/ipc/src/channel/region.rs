//! Shared memory of a channel.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::AtomicU64;

use wasmpool_core::share::MOST_OBJECTS;

use super::words::ObjectWords;
use crate::mapping::{self, Access, CacheLine, Mapping, Part, Ring};
use crate::wake::SleepWord;

/// Size of a ring in bytes.
pub const RING: usize = 256 << 10;

/// What the participant writes. The manager believes none of it.
#[repr(C)]
#[derive(Debug, Default)]
pub struct ClientStatus {
    /// Number of bytes written to the requests, and taken from the answers, since the beginning.
    pub request_head: AtomicU64,
    pub answer_tail: AtomicU64,
    /// Whether the participant sleeps, and what for.
    pub waits: SleepWord,
}

/// What the manager writes.
#[repr(C)]
#[derive(Debug, Default)]
pub struct ServerStatus {
    pub request_tail: AtomicU64,
    pub answer_head: AtomicU64,
    /// Whether the manager sleeps, and wants to be woken for requests.
    pub waits: SleepWord,
    /// Whether the manager has answers for which there is no room, and wants to be woken when there is. It is a word of
    /// its own because the manager waits for both at the same time.
    pub lacks_room: SleepWord,
}

/// The pages that both sides see. All of it is atomics, and all bit patterns are valid, so no write of the other side is
/// undefined behaviour here.
#[repr(C)]
#[derive(Debug)]
pub struct SharedPages {
    pub client: CacheLine<ClientStatus>,
    pub server: CacheLine<ServerStatus>,
    pub words: [ObjectWords; MOST_OBJECTS],
}

const PAGES: usize = 8192;
const REQUESTS: usize = PAGES;
const ANSWERS: usize = REQUESTS + 2 * RING;
const TOTAL: usize = ANSWERS + 2 * RING;
const PARTS: [Part; 3] = [
    Part { at: 0, len: PAGES, copies: 1 },
    Part { at: REQUESTS, len: RING, copies: 2 },
    Part { at: ANSWERS, len: RING, copies: 2 },
];

/// Number of bytes of address space that each side of a channel maps. The memory itself is no more than that.
pub const MEMORY: usize = TOTAL;

const _: () = assert!(size_of::<SharedPages>() <= PAGES);

/// Creates the memory of a channel. Pages of it are allocated when they are touched.
pub fn create() -> io::Result<OwnedFd> {
    mapping::create(c"wasmpool-channel", PAGES + 2 * RING)
}

/// A mapping of the shared memory. It is only accessed through the pages' atomics, and by raw copies of ring bytes that
/// the two ends use in turn.
#[derive(Debug)]
pub struct Region(Mapping);

impl Region {
    pub fn map(fd: &impl AsFd) -> io::Result<Region> {
        Ok(Region(Mapping::map(fd, Access::ReadWrite, &PARTS, TOTAL)?))
    }

    pub fn pages(&self) -> &SharedPages {
        // SAFETY: the pages are mapped as long as `self`, aligned, and every bit pattern of them is valid.
        unsafe { self.0.base().cast::<SharedPages>().as_ref() }
    }

    pub fn requests(&self) -> Ring<RING> {
        self.ring(REQUESTS)
    }

    pub fn answers(&self) -> Ring<RING> {
        self.ring(ANSWERS)
    }

    fn ring(&self, at: usize) -> Ring<RING> {
        // SAFETY: it is mapped twice in a row there (`PARTS`); the channel's ends use the rings while they keep the
        // region.
        unsafe { Ring::at_address(self.0.at(at)) }
    }
}
