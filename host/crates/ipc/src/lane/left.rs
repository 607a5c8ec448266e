//! Large values that the host leaves in a lane until somebody looks at them.
//!
//! The supervisor makes two of the four copies of an item that goes to a worker and comes back, for all workers. Where a
//! thread waits for a large value, the supervisor leaves the second of them to that thread. Nobody looks at the value before
//! it is copied out, so a worker that changes it until then only answers something else. Its room in the ring goes back to the
//! worker afterwards. The supervisor makes the copy after all where the worker needs the room, and where nobody has come for
//! a while.

use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;

use super::region::Region;
use crate::copy::copy;

/// A large value, most of which may still be in the lane.
#[derive(Debug)]
pub struct LeftValue {
    place: Arc<LeftPlace>,
    len: usize,
    /// The value, once it was looked at.
    taken: OnceLock<Bytes>,
}

impl LeftValue {
    /// Returns the length in bytes. Does not copy the value.
    pub fn size(&self) -> usize {
        self.len
    }

    /// Returns the value. The first call copies it out of the lane.
    pub fn bytes(&self) -> &Bytes {
        self.taken.get_or_init(|| self.place.take())
    }

    /// Returns the value, copied out of the lane.
    pub fn into_bytes(mut self) -> Bytes {
        self.taken.take().unwrap_or_else(|| self.place.take())
    }
}

impl Drop for LeftValue {
    fn drop(&mut self) {
        // Nobody wants it, so its room need not wait for a copy. If it is being copied at this moment, there is nothing to do;
        // and in a process that was forked at such a moment, the lock is never free.
        if let Ok(mut bytes) = self.place.0.try_lock() {
            *bytes = LeftBytes::Taken;
        }
    }
}

/// What the two owners of a value share: the lane, and whoever wants it.
#[derive(Debug)]
struct LeftPlace(Mutex<LeftBytes>);

#[derive(Debug)]
enum LeftBytes {
    InLane(LaneSpan),
    Copied(Bytes),
    Taken,
}

impl LeftPlace {
    fn lock(&self) -> MutexGuard<'_, LeftBytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Bytes {
        // Locked until the copy is made: the lane takes a value that nobody holds the lock of for taken, and its room back.
        let mut bytes = self.lock();
        match std::mem::replace(&mut *bytes, LeftBytes::Taken) {
            LeftBytes::InLane(span) => span.copied(),
            LeftBytes::Copied(bytes) => bytes,
            LeftBytes::Taken => Bytes::new(),
        }
    }
}

/// The lane's side of a value that was left in it.
#[derive(Debug)]
pub(super) struct LeftInLane {
    /// The position of its first byte in the ring.
    pub start: u64,
    place: Arc<LeftPlace>,
}

impl LeftInLane {
    /// Leaves a value in the ring, from this position on.
    pub fn new(start: u64, span: LaneSpan) -> (LeftInLane, LeftValue) {
        let len = span.begin.len() + span.len;
        let place = Arc::new(LeftPlace(Mutex::new(LeftBytes::InLane(span))));
        (LeftInLane { start, place: place.clone() }, LeftValue { place, len, taken: OnceLock::new() })
    }

    /// Returns true if the room may go back to the worker.
    pub fn is_over(&self) -> bool {
        // Who has the lock copies it at this moment, or has.
        self.place.0.try_lock().is_ok_and(|bytes| !matches!(*bytes, LeftBytes::InLane(_)))
    }

    /// Copies the value out of the ring, unless somebody has.
    pub fn copy_out(&self) {
        let mut bytes = self.place.lock();
        if let LeftBytes::InLane(span) = std::mem::replace(&mut *bytes, LeftBytes::Taken) {
            *bytes = LeftBytes::Copied(span.copied());
        }
    }
}

/// Bytes in the ring of a lane, with those before them that were copied out already.
#[derive(Debug)]
pub(super) struct LaneSpan {
    begin: Vec<u8>,
    /// Keeps the bytes mapped, even if the lane is gone.
    _region: Arc<Region>,
    from: NonNull<u8>,
    len: usize,
}

// SAFETY: the bytes are only copied, as raw memory, and stay mapped as long as the region.
unsafe impl Send for LaneSpan {}

impl LaneSpan {
    /// Returns the span of `len` bytes at this address, after `begin`.
    ///
    /// # Safety
    ///
    /// The `len` bytes have to be mapped as long as the region.
    pub unsafe fn new(begin: Vec<u8>, region: Arc<Region>, from: NonNull<u8>, len: usize) -> LaneSpan {
        LaneSpan { begin, _region: region, from, len }
    }

    fn copied(self) -> Bytes {
        let LaneSpan { begin: mut bytes, _region, from, len } = self;
        bytes.reserve_exact(len);
        let end = bytes.spare_capacity_mut().as_mut_ptr().cast();
        // SAFETY: the bytes are mapped, as `new` was promised, and there is room for them after `end`; afterwards they are
        // initialised. The worker may change them meanwhile; they are copied as raw memory and only looked at afterwards.
        unsafe {
            copy(from.as_ptr(), end, len);
            bytes.set_len(bytes.len() + len);
        }
        bytes.into()
    }
}
