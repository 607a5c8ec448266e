//! Where in its rings a byte is that passes through a lane: positions, their wrap, and the switch to the wide ring.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of one ring. A ring is small enough for the second-level cache and large enough for a chunk of our choosing. The
/// larger it is, the fewer threads and processes have to be woken for a byte; two should be possible where no file may be
/// larger than 1 MiB (`ulimit -f`).
pub const RING: usize = 384 << 10;
/// Bytes of a wide one: two items of a mebibyte and their headers, of which the second comes while the first is in work.
pub const WIDE: usize = (2 << 20) + 4096;
/// What is longer takes the wide ring.
pub const LONG: usize = 128 << 10;
/// No position: nothing was ever long.
pub const NEVER: u64 = u64::MAX;

/// The rings of one direction: where which byte of all that ever passes is.
#[derive(Clone, Copy, Debug)]
pub struct Rings {
    pub(super) narrow: NonNull<u8>,
    pub(super) wide: Option<NonNull<u8>>,
    /// The first position that is in the wide one.
    pub wide_from: u64,
}

impl Rings {
    /// Where the byte at this position is; behind it are as many, in a row, as the ring holds.
    pub fn at(&self, position: u64) -> NonNull<u8> {
        let (ring, size) = self.ring(position);
        // SAFETY: `2 * size` bytes are mapped there.
        unsafe { ring.add((position % size as u64) as usize) }
    }

    /// Copies bytes to where they go from this position on.
    ///
    /// # Safety
    ///
    /// They have to be no more than the ring holds, and nobody else may read or write what is there.
    pub unsafe fn write(&self, position: u64, bytes: &[u8]) {
        let to = self.at(position);
        // SAFETY: as many bytes as the ring holds are mapped from there on, and they are the caller's.
        unsafe { to.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        #[cfg(miri)]
        {
            let (ring, size) = self.ring(position);
            super::plain::mirror(ring, size, (position % size as u64) as usize, bytes.len());
        }
    }

    /// Bytes that may be on their way where `position` is the next to be written.
    pub fn size(&self, position: u64) -> usize {
        self.ring(position).1
    }

    /// Has all from this position on take the wide ring, if there is one, and says so where the other side finds it as soon
    /// as it knows of the bytes there: the head that is published after them comes later.
    pub fn widen(&mut self, from: u64, said: &AtomicU64) {
        if self.can_widen() {
            self.wide_from = from;
            said.store(from, Ordering::Relaxed);
        }
    }

    /// Whether there is a wide ring, which is not used yet.
    pub fn can_widen(&self) -> bool {
        self.wide.is_some() && self.wide_from == NEVER
    }

    fn ring(&self, position: u64) -> (NonNull<u8>, usize) {
        match self.wide {
            Some(wide) if position >= self.wide_from => (wide, WIDE),
            _ => (self.narrow, RING),
        }
    }
}
