//! Grants: what a task may reach outside its own memory. Nothing, unless the user gives it.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::ToSocketAddrs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use crate::error::Error;
use crate::scarce::patiently;
use nix::unistd::{getegid, geteuid};
use wasmpool_core::guest_grants::{GuestDirectory, GuestGrants, GuestPeer};
use wasmpool_core::text::Foreign;
use wasmpool_sandbox::surroundings::told;

/// Directories that can be granted to a task. Each is a descriptor in every worker.
pub const MOST_DIRECTORIES: usize = 16;

/// What the user gives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Directory {
    pub host: PathBuf,
    /// Its name in the guest.
    pub guest: String,
    pub writable: bool,
}

/// What stands behind a directory that may be written to, and behind one that may only be read, where that is said.
pub const WRITABLE: &str = ":rw";
pub const READABLE: &str = ":ro";

/// Takes the mode off the end of a directory's name, and says whether it may be written to. Without one it may not.
pub fn split_mode(text: &str) -> (&str, bool) {
    match text.strip_suffix(WRITABLE) {
        Some(text) => (text, true),
        None => (text.strip_suffix(READABLE).unwrap_or(text), false),
    }
}

/// Returns what is put behind a directory's name: nothing, where it may only be read.
pub fn mode(writable: bool) -> &'static str {
    if writable { WRITABLE } else { "" }
}

/// A machine and a TCP port on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// A name, which the host looks up once, or an address.
    pub host: String,
    pub port: u16,
}

/// Grants that were looked up and opened, by the host and with its rights.
#[derive(Debug, Default)]
pub struct OpenedGrants {
    pub given: GuestGrants,
    pub directories: Vec<OwnedFd>,
}

impl Grants {
    /// Opens them.
    ///
    /// # Errors
    ///
    /// [`Error::Grant`] names what cannot be opened or looked up.
    pub fn open(&self) -> Result<OpenedGrants, Error> {
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
        let given = GuestGrants { env: self.env.clone(), scratch: self.scratch.clone(), ..GuestGrants::default() };
        let mut opened = OpenedGrants { given, ..OpenedGrants::default() };
        let mut owners = BTreeSet::new();
        for Directory { host, guest, writable } in &self.directories {
            let failed =
                |e| Error::Grant(format!("cannot open the directory {} of --dir: {}", Foreign::of(host), told(&e)));
            let open = || File::options().read(true).custom_flags(libc::O_DIRECTORY).open(host);
            let directory = patiently(None, open).map_err(failed)?;
            let metadata = directory.metadata().map_err(failed)?;
            owners.insert((metadata.uid(), metadata.gid()));
            opened.directories.push(directory.into());
            opened.given.directories.push(GuestDirectory { guest: guest.clone(), writable: *writable });
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
            opened.given.peers.push(GuestPeer { host: host.clone(), addresses });
        }
        Ok(opened)
    }
}
