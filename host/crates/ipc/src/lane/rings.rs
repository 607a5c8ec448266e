//! Positions of bytes within the rings of a lane: their wrap, and the switch to the wide ring.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::mapping::Ring;

/// Size of a ring in bytes. It is small enough for the second-level cache and large enough for a chunk of automatic
/// size. The larger it is, the fewer threads and processes have to be woken per byte. Two rings have to be possible
/// where no file may be larger than 1 MiB (`ulimit -f`).
pub const RING: usize = 384 << 10;
/// Size of a wide ring in bytes: two items of a mebibyte and their headers, so that the second can arrive while the
/// first is in work.
pub const WIDE: usize = (2 << 20) + 4096;
/// Length beyond which bytes use the wide ring.
pub const LONG: usize = 128 << 10;
/// Not a position: the wide ring is not in use.
pub const NEVER: u64 = u64::MAX;

/// The rings of one direction. They tell where each byte is, by its position among all bytes that ever pass.
#[derive(Clone, Copy, Debug)]
pub struct RingPair {
    pub(super) narrow: Ring<RING>,
    pub(super) wide: Option<Ring<WIDE>>,
    /// The first position that is in the wide ring.
    pub wide_from: u64,
}

impl RingPair {
    /// Returns the address of the byte at this position. All bytes of the ring follow from there without a wrap.
    pub fn at(&self, position: u64) -> NonNull<u8> {
        match self.wide_at(position) {
            Some(wide) => wide.at(position),
            None => self.narrow.at(position),
        }
    }

    /// Copies bytes into the ring, beginning at this position.
    ///
    /// # Safety
    ///
    /// The bytes must not be more than the ring holds, and nobody else may read or write that part of the ring.
    pub unsafe fn write(&self, position: u64, bytes: &[u8]) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            match self.wide_at(position) {
                Some(wide) => wide.write(position, bytes),
                None => self.narrow.write(position, bytes),
            }
        }
    }

    /// Returns the number of bytes that may be on their way if `position` is the next to be written.
    pub fn size(&self, position: u64) -> usize {
        if self.wide_at(position).is_some() { WIDE } else { RING }
    }

    /// Makes everything from this position on use the wide ring, if there is one. The position is stored in `said`. The
    /// other side reads it before it looks at bytes there, because the head that is published after them is stored
    /// later.
    pub fn widen(&mut self, from: u64, said: &AtomicU64) {
        if self.can_widen() {
            self.wide_from = from;
            said.store(from, Ordering::Relaxed);
        }
    }

    /// Returns true if there is a wide ring that is not used yet.
    pub fn can_widen(&self) -> bool {
        self.wide.is_some() && self.wide_from == NEVER
    }

    /// Returns the wide ring if this position is in it.
    fn wide_at(&self, position: u64) -> Option<Ring<WIDE>> {
        self.wide.filter(|_| position >= self.wide_from)
    }
}
