//! Grants in the form in which a worker receives them.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::share::SharedGrants;

/// Grants in the form in which a worker receives them. The descriptors of the directories are sent along, in the same
/// order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct GuestGrants {
    pub env: Vec<(String, String)>,
    pub directories: Vec<GuestDirectory>,
    pub peers: Vec<GuestPeer>,
    /// The guest's name for its scratch directory, which each worker creates itself.
    pub scratch: Option<String>,
    /// User and group that own the directories. A worker started by root switches to them, so that it can use the
    /// directories.
    pub owner: Option<(u32, u32)>,
    #[serde(default)]
    pub shared: SharedGrants,
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
    /// Returns true if nothing was granted.
    pub fn is_empty(&self) -> bool {
        self.env.is_empty()
            && self.directories.is_empty()
            && self.peers.is_empty()
            && self.scratch.is_none()
            && self.shared.is_empty()
    }

    /// Returns true if there is a directory that the task can see.
    pub fn has_directories(&self) -> bool {
        !self.directories.is_empty() || self.scratch.is_some()
    }

    /// Returns true if there is a directory that may be written to.
    pub fn writing(&self) -> bool {
        self.scratch.is_some() || self.directories.iter().any(|directory| directory.writable)
    }

    /// Returns the ports of all peers.
    pub fn ports(&self) -> BTreeSet<u16> {
        self.peers.iter().flat_map(|peer| &peer.addresses).map(SocketAddr::port).collect()
    }
}
