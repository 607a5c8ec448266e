//! The end of a ring that takes frames. The other side may be hostile: every position and length is checked, and bytes
//! are copied out before they are looked at.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Violation;
use super::region::RING;
use crate::mapping::Ring;

/// Number of bytes of a frame's length.
pub const LENGTH: usize = size_of::<u32>();
/// Maximum amount of memory that is reserved for a frame before it has arrived. A frame up to this size is thus not
/// moved as it grows. The reservation is untouched, so it costs address space only.
const FORESEEN: usize = 1 << 20;

/// The reading end of a ring.
#[derive(Debug)]
pub struct Reader {
    ring: Ring<RING>,
    /// Number of bytes taken, and the same number as the other side was last told.
    tail: u64,
    told: u64,
    /// Furthest position that the other side has reported.
    delivered: u64,
    /// True if what is available is known to be less than the next thing to be read.
    is_drained: bool,
    /// The frame that is arriving: its length, and what has arrived of it.
    arriving: Option<(usize, Vec<u8>)>,
    /// Maximum length of a frame that is accepted.
    longest: u32,
}

impl Reader {
    pub fn new(ring: Ring<RING>, longest: u32) -> Reader {
        Reader { ring, tail: 0, told: 0, delivered: 0, is_drained: true, arriving: None, longest }
    }

    /// Returns the number of bytes that have arrived of a frame which is not complete.
    pub fn arriving(&self) -> usize {
        self.arriving.as_ref().map_or(0, |(_, bytes)| bytes.len())
    }

    /// Returns the next frame if all of it has arrived. `head` is the position up to which the other side has written.
    pub fn read(&mut self, head: &AtomicU64) -> Result<Option<Vec<u8>>, Violation> {
        let (len, mut bytes) = match self.arriving.take() {
            Some(arriving) => arriving,
            None => {
                if self.available() < LENGTH && self.look(head)? < LENGTH {
                    self.is_drained = true;
                    return Ok(None);
                }
                let mut len = [0; LENGTH];
                // SAFETY: this many bytes are available.
                unsafe { self.copy_out(len.as_mut_ptr(), LENGTH) };
                let len = u32::from_ne_bytes(len);
                if len > self.longest {
                    return Err(Violation("it sent a frame longer than any can be"));
                }
                (len as usize, Vec::with_capacity((len as usize).min(FORESEEN)))
            }
        };
        let missing = len - bytes.len();
        if self.available() < missing {
            self.look(head)?;
        }
        let count = self.available().min(missing);
        // From here on memory grows with the bytes that have arrived, not with the length that was announced.
        bytes.reserve(count);
        let end = bytes.spare_capacity_mut().as_mut_ptr().cast();
        // SAFETY: this many bytes are available, and there is room for them after `end`; afterwards they are
        // initialised.
        unsafe {
            self.copy_out(end, count);
            bytes.set_len(bytes.len() + count);
        }
        self.is_drained = self.available() == 0;
        if count == missing {
            return Ok(Some(bytes));
        }
        self.arriving = Some((len, bytes));
        Ok(None)
    }

    /// Returns true if there may be something to read. The beginning of a frame that was looked at is nothing: otherwise
    /// a side that never completes its frame would keep the other one busy.
    pub fn has_more(&self, head: &AtomicU64) -> bool {
        !self.is_drained || head.load(Ordering::Acquire) != self.delivered
    }

    /// Returns true if so much was taken since the other side was told that it should be told now.
    pub fn is_due(&self) -> bool {
        self.tail - self.told >= RING as u64 / 2
    }

    /// Tells the other side how much was taken. Returns false if it knows.
    pub fn tell(&mut self, tail: &AtomicU64) -> bool {
        let news = self.told != self.tail;
        if news {
            self.told = self.tail;
            tail.store(self.tail, Ordering::Release);
        }
        news
    }

    fn available(&self) -> usize {
        (self.delivered - self.tail) as usize
    }

    /// Reads how far the other side has come. Returns the number of bytes that are available.
    fn look(&mut self, head: &AtomicU64) -> Result<usize, Violation> {
        let delivered = head.load(Ordering::Acquire);
        if delivered < self.delivered {
            return Err(Violation("it took back what it had written"));
        }
        if delivered - self.tail > RING as u64 {
            return Err(Violation("it wrote more than there is room for"));
        }
        self.delivered = delivered;
        Ok(self.available())
    }

    /// Copies `count` bytes out of the ring.
    ///
    /// # Safety
    ///
    /// The bytes have to be [`Reader::available`], and `to` has to have room for them.
    unsafe fn copy_out(&mut self, to: *mut u8, count: usize) {
        debug_assert!(count <= self.available());
        // SAFETY: the available bytes are no more than the ring holds (`look`), so the span lies within the doubly mapped
        // ring. The other side may change the bytes meanwhile; they are copied as raw memory and only looked at
        // afterwards.
        unsafe { self.ring.at(self.tail).as_ptr().copy_to_nonoverlapping(to, count) };
        self.tail += count as u64;
    }
}
