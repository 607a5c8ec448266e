//! The end of a ring that writes bytes. The other side may be hostile: what it says it has taken is checked.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Violation;
use super::region::RING;
use crate::mapping::Ring;

/// The writing end of a ring.
#[derive(Debug)]
pub struct Writer {
    ring: Ring<RING>,
    /// Number of bytes written, and published to the other side.
    head: u64,
    published: u64,
    /// Number of bytes that the other side had taken at the last look. As long as that leaves enough room, its cache line
    /// is not touched.
    tail: u64,
}

impl Writer {
    pub fn new(ring: Ring<RING>) -> Writer {
        Writer { ring, head: 0, published: 0, tail: 0 }
    }

    /// Copies as many bytes into the ring as there is room for, and returns how many. `tail` is the position up to which
    /// the other side has read. It sees the bytes after [`Writer::publish`].
    pub fn write(&mut self, bytes: &[u8], tail: &AtomicU64) -> Result<usize, Violation> {
        let count = bytes.len().min(self.room_for(bytes.len(), tail)?);
        // SAFETY: this many bytes of the ring are free.
        unsafe { self.ring.write(self.head, bytes.get(..count).unwrap_or(bytes)) };
        self.head += count as u64;
        Ok(count)
    }

    /// Returns the number of bytes that fit. Looks for more room if less than `bytes` is known.
    pub fn room_for(&mut self, bytes: usize, tail: &AtomicU64) -> Result<usize, Violation> {
        if self.room() < bytes {
            let taken = tail.load(Ordering::Acquire);
            if taken < self.tail || taken > self.published {
                return Err(Violation("it took what was not there"));
            }
            self.tail = taken;
        }
        Ok(self.room())
    }

    /// Makes what was written visible to the other side. Returns false if there is nothing new.
    pub fn publish(&mut self, head: &AtomicU64) -> bool {
        let news = self.published != self.head;
        if news {
            self.published = self.head;
            head.store(self.head, Ordering::Release);
        }
        news
    }

    /// Returns true if there is room that was not known at the last look.
    pub fn has_more_room(&self, tail: &AtomicU64) -> bool {
        tail.load(Ordering::Acquire) != self.tail
    }

    fn room(&self) -> usize {
        RING - (self.head - self.tail) as usize
    }
}
