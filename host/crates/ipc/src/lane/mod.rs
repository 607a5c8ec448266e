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
pub mod life;
pub mod region;
pub mod rings;
pub mod worker;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use region::PRINTED;

/// Interval at which the host looks for outcomes while a worker has several items to answer. The worker thus need not
/// ring for each chunk: if all processors are busy, every bell takes time from an item.
pub const LOOK_EVERY: Duration = Duration::from_millis(5);
