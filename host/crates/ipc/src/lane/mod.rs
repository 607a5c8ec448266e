//! How host and worker talk: a shared-memory region per worker for items and outcomes, and a socket for everything else.
//!
//! The region has a status page, an input ring and an output ring, and for large items a wide one of each ([`region`]);
//! what is in the rings is described in [`frame`]. The socket ([`control`]) carries descriptors and the few messages of a
//! worker's life ([`life`]), wakes a side that sleeps, and says when the peer is gone. Nothing that a worker writes is believed by the
//! host ([`host`]).

pub mod control;
pub mod frame;
pub mod host;
pub mod life;
#[cfg(not(miri))]
mod memory;
#[cfg(miri)]
mod plain;
pub mod region;
pub mod rings;
pub mod worker;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use region::PRINTED;

/// How often the host looks for outcomes while a worker has several items to answer. So the worker need not ring for each
/// chunk: where all processors are busy, every bell takes one from an item.
pub const LOOK_EVERY: Duration = Duration::from_millis(5);
