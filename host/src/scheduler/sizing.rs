//! How many items a chunk holds: enough that handing it over costs nothing, few enough that nobody waits for it.

use std::collections::VecDeque;
use std::time::Duration;

/// Work a chunk should hold, when its size is ours to choose.
const TARGET: Duration = Duration::from_millis(4);
/// Bytes and items a chunk of our choosing holds at most. A chunk, with its headers, should fit into a lane beside another;
/// beyond that, the more it holds the fewer threads and processes have to be woken for a byte.
const MAX_BYTES: usize = 112 << 10;
const MAX_ITEMS: usize = 4096;

/// Items per chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkSize {
    /// A few milliseconds of work, from measured times; one item until something was measured.
    Auto,
    /// Always so many, but for the last.
    Fixed(u32),
}

/// Measures items and cuts chunks.
#[derive(Debug)]
pub(super) struct Sizer {
    size: ChunkSize,
    /// Moving average of an item's time in nanoseconds; `None` until one was measured.
    item: Option<f64>,
}

impl Sizer {
    pub(super) fn new(size: ChunkSize) -> Self {
        Sizer { size, item: None }
    }

    pub(super) fn measured(&mut self, elapsed: Duration) {
        let ns = elapsed.as_nanos() as f64;
        self.item = Some(match self.item {
            None => ns,
            // Slow items count more than fast ones: a chunk that is too small costs microseconds, one too large costs order.
            Some(mean) if ns > mean => mean + (ns - mean) / 8.0,
            Some(mean) => mean + (ns - mean) / 32.0,
        });
    }

    /// Whether a chunk may wait behind another in a worker: not while items take so long that others could take it sooner.
    pub(super) fn may_queue(&self) -> bool {
        self.item.is_some_and(|ns| ns < TARGET.as_nanos() as f64)
    }

    /// Whether a chunk can be cut from `pending` items, or more should be waited for.
    pub(super) fn enough(&self, pending: usize) -> bool {
        match self.size {
            ChunkSize::Fixed(n) => pending >= n as usize,
            ChunkSize::Auto => pending > 0,
        }
    }

    /// Count and bytes of the next chunk, of at most `most` items of `pending` (at least one). Where the size is ours to
    /// choose it is no more than `share`, so that the last items are spread over all workers.
    pub(super) fn cut(&self, pending: &VecDeque<u32>, most: usize, share: usize) -> (usize, usize) {
        let (items, max_bytes) = match self.size {
            ChunkSize::Fixed(n) => (n as usize, usize::MAX),
            ChunkSize::Auto => (self.auto().min(share), MAX_BYTES),
        };
        let limit = items.min(most).max(1);
        let (mut count, mut bytes) = (0, 0);
        for &size in pending.iter().take(limit) {
            if count > 0 && bytes + size as usize > max_bytes {
                break;
            }
            count += 1;
            bytes += size as usize;
        }
        (count, bytes)
    }

    fn auto(&self) -> usize {
        match self.item {
            None => 1,
            Some(ns) => ((TARGET.as_nanos() as f64 / ns.max(1.0)) as usize).clamp(1, MAX_ITEMS),
        }
    }
}
