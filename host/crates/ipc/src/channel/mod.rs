//! Communication between a participant (a worker or the host) and the process that manages shared objects.
//!
//! A channel is shared memory ([`region`]) and a socket. The memory has a ring of requests and a ring of answers, a page
//! of positions and sleep words, and words for each object ([`words`], [`lock_word`]), by which a participant puts, gets and
//! acquires without a question. The socket only wakes a side that sleeps, and its end tells that the other side is gone.
//!
//! What passes through a ring are frames: a length and that many bytes. A frame that is longer than the ring passes in
//! pieces. Whoever forms frames should write a message first and what is said of it behind it: the reader then has the
//! message without a further copy, by cutting off the end of the frame.
//!
//! The participant ([`client`]) trusts the manager, and waits for room and for answers. The manager ([`server`]) believes
//! nothing that a participant writes, and never waits for it.

#[cfg(not(loom))]
pub mod client;
pub mod lock_word;
#[cfg(not(loom))]
mod reader;
#[cfg(not(loom))]
pub mod region;
#[cfg(not(loom))]
pub mod server;
pub mod words;
#[cfg(not(loom))]
mod writer;

#[cfg(all(test, loom))]
mod model;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;

#[cfg(not(loom))]
mod parts {
    use std::io;
    use std::os::fd::OwnedFd;

    use crate::bell;

    /// What one side needs to open its end of a channel.
    #[derive(Debug)]
    pub struct ChannelParts {
        pub memory: OwnedFd,
        pub socket: OwnedFd,
    }

    /// Creates a channel. Returns the parts for the participant and those for the manager.
    pub fn create() -> io::Result<(ChannelParts, ChannelParts)> {
        let memory = super::region::create()?;
        let (client, server) = bell::pair()?;
        let client = ChannelParts { memory: memory.try_clone()?, socket: client };
        Ok((client, ChannelParts { memory, socket: server }))
    }

    /// Error: the other side wrote something that an honest one never writes.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
    #[error("the other side of a channel broke the protocol: {0}")]
    pub struct Violation(pub &'static str);

    impl From<Violation> for io::Error {
        fn from(violation: Violation) -> io::Error {
            io::Error::other(violation)
        }
    }
}
#[cfg(not(loom))]
pub use parts::{ChannelParts, Violation, create};
#[cfg(not(loom))]
pub use region::{MEMORY, RING};

#[cfg(not(loom))]
pub use crate::bell::Heard;
