//! Communication between the host and a worker: a shared-memory region per worker for items and outcomes, and a socket
//! for everything else.
//!
//! The region has a status page, an input ring and an output ring, and a wide ring in each direction for large items
//! ([`region`]). [`frame`] describes the contents of the rings. The socket ([`control`]) carries descriptors and the
//! few messages about a worker's progress ([`life`]), wakes a side that sleeps, and tells when the peer is gone. The
//! host believes nothing that a worker writes ([`host`]).

pub mod control;
pub mod frame;
pub mod host;
pub mod left;
pub mod life;
pub mod outcome;
pub mod region;
pub mod rings;
pub mod worker;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use region::PRINTED;

/// Number of instances of its task that a worker has made, and of items that got a restored one in place of a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InstanceCounts {
    pub made: u64,
    pub restored: u64,
}

impl InstanceCounts {
    /// Adds the counts of another worker. They are what a worker says, so they may be any numbers.
    pub fn add(&mut self, other: InstanceCounts) {
        self.made = self.made.saturating_add(other.made);
        self.restored = self.restored.saturating_add(other.restored);
    }
}

/// Interval at which the host looks for outcomes while a worker has several items to answer. The worker thus need not
/// ring for each chunk: if all processors are busy, every bell takes time from an item.
pub const LOOK_EVERY: Duration = Duration::from_millis(5);
