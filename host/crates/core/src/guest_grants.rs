//! Grants as a worker is told of them.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Grants as a worker is told of them. The directories' descriptors come with it, in the same order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct GuestGrants {
    pub env: Vec<(String, String)>,
    pub directories: Vec<GuestDirectory>,
    pub peers: Vec<GuestPeer>,
    /// The guest's name of its scratch directory, which each worker makes itself.
    pub scratch: Option<String>,
    /// Whom the directories belong to: what a worker of root becomes, so that it can use them.
    pub owner: Option<(u32, u32)>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GuestDirectory {
    pub guest: String,
    pub writable: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GuestPeer {
    pub host: String,
    pub addresses: Vec<SocketAddr>,
}

impl GuestGrants {
    /// Whether nothing was granted.
    pub fn is_empty(&self) -> bool {
        self.env.is_empty() && self.directories.is_empty() && self.peers.is_empty() && self.scratch.is_none()
    }

    /// Whether there is a directory that the task can see.
    pub fn has_directories(&self) -> bool {
        !self.directories.is_empty() || self.scratch.is_some()
    }

    /// Whether a directory may be written to.
    pub fn writing(&self) -> bool {
        self.scratch.is_some() || self.directories.iter().any(|directory| directory.writable)
    }

    /// The ports of all peers.
    pub fn ports(&self) -> BTreeSet<u16> {
        self.peers.iter().flat_map(|peer| &peer.addresses).map(SocketAddr::port).collect()
    }
}
