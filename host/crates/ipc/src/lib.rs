//! Exchange of items, outcomes and messages between the host and its child processes: shared memory, a socket, and
//! plain data.
//!
//! Under loom only [`wake`] and the words of [`channel`] exist: loom's atomics do not have the layout that shared memory
//! needs.

#[cfg(not(loom))]
pub mod batch;
#[cfg(not(loom))]
mod bell;
#[cfg(not(loom))]
pub mod cells;
pub mod channel;
#[cfg(not(loom))]
pub mod clock;
#[cfg(not(loom))]
pub mod copy;
#[cfg(not(loom))]
pub mod lane;
#[cfg(not(loom))]
pub mod mapping;
#[cfg(not(loom))]
pub mod memfd;
#[cfg(not(loom))]
pub mod messages;
#[cfg(not(loom))]
pub mod refused;
#[cfg(not(loom))]
pub mod spin;
pub mod wake;
