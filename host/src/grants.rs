//! Grants: what a task may reach outside its own memory. Nothing, unless the user gives it.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use nix::unistd::{getegid, geteuid};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::scarce::patiently;
use crate::surroundings::told;
use crate::text::Foreign;

/// Directories that can be granted to a task. Each is a descriptor in every worker.
pub const MOST_DIRECTORIES: usize = 16;

/// What the user gives.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// Variables of the environment, and their values. The host's own are never seen.
    pub env: Vec<(String, String)>,
    pub directories: Vec<Directory>,
    /// Peers that TCP connections may be made to.
    pub peers: Vec<Peer>,
    /// The guest's name of a directory that it may write to and that is empty at each item. It is no directory of the
    /// host: it lies in memory, is the worker's own, and holds as many bytes as the instance may have of memory.
    pub scratch: Option<String>,
}

/// A directory of the host, and all that is below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    pub host: PathBuf,
    /// Its name in the guest.
    pub guest: String,
    pub writable: bool,
}

/// A machine and a TCP port on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// A name, which the host looks up once, or an address.
    pub host: String,
    pub port: u16,
}

/// Grants as a worker is told of them. The directories' descriptors come with it, in the same order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Given {
    pub env: Vec<(String, String)>,
    pub directories: Vec<GivenDirectory>,
    pub peers: Vec<GivenPeer>,
    /// The guest's name of its scratch directory, which each worker makes itself.
    pub scratch: Option<String>,
    /// Whom the directories belong to: what a worker of root becomes, so that it can use them.
    pub owner: Option<(u32, u32)>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GivenDirectory {
    pub guest: String,
    pub writable: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GivenPeer {
    pub host: String,
    pub addresses: Vec<SocketAddr>,
}

/// Grants that were looked up and opened, by the host and with its rights.
#[derive(Debug, Default)]
pub struct Opened {
    pub given: Given,
    pub directories: Vec<OwnedFd>,
}

impl Grants {
    /// Opens them.
    ///
    /// # Errors
    ///
    /// [`Error::Grant`] names what cannot be opened or looked up.
    pub fn open(&self) -> Result<Opened, Error> {
        if self.directories.len() > MOST_DIRECTORIES {
            return Err(Error::Grant(format!("at most {MOST_DIRECTORIES} directories can be granted (--dir)")));
        }
        if let Some(name) = &self.scratch
            && self.directories.iter().any(|directory| directory.guest == *name)
        {
            return Err(Error::Grant(format!(
                "--scratch {} is also the name of a --dir: give it another name",
                Foreign::of(name)
            )));
        }
        let given = Given { env: self.env.clone(), scratch: self.scratch.clone(), ..Given::default() };
        let mut opened = Opened { given, ..Opened::default() };
        let mut owners = BTreeSet::new();
        for Directory { host, guest, writable } in &self.directories {
            let failed =
                |e| Error::Grant(format!("cannot open the directory {} of --dir: {}", Foreign::of(host), told(&e)));
            let open = || File::options().read(true).custom_flags(libc::O_DIRECTORY).open(host);
            let directory = patiently(None, open).map_err(failed)?;
            let metadata = directory.metadata().map_err(failed)?;
            owners.insert((metadata.uid(), metadata.gid()));
            opened.directories.push(directory.into());
            opened.given.directories.push(GivenDirectory { guest: guest.clone(), writable: *writable });
        }
        opened.given.owner = match owners.len() {
            0 => None,
            1 => owners.pop_first(),
            // No one user fits: the host's, who gives them.
            _ => Some((geteuid().as_raw(), getegid().as_raw())),
        };
        for Peer { host, port } in &self.peers {
            let addresses = (host.as_str(), *port)
                .to_socket_addrs()
                .map_err(|e| {
                    let host = Foreign::of(host);
                    Error::Grant(format!("cannot look up {host} of --allow-net {host}:{port}: {e}"))
                })?
                .collect();
            opened.given.peers.push(GivenPeer { host: host.clone(), addresses });
        }
        Ok(opened)
    }
}

impl Given {
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
