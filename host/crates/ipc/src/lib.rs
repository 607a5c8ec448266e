//! How the host and its child processes exchange items, outcomes and messages: shared memory, a socket, and plain data.

pub mod batch;
pub mod lane;
pub mod memfd;
pub mod messages;
pub mod refused;
