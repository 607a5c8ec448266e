//! Grants: what a task may reach outside its own memory. That is nothing, unless the user grants it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::net::ToSocketAddrs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::compile::ArtifactCache;
use crate::place::FileId;
use crate::scarce::patiently;
use nix::unistd::{getegid, geteuid};
use wasmpool_core::guest_grants::{GuestDirectory, GuestGrants, GuestPeer};
use wasmpool_core::text::ForeignText;

/// Maximum number of directories that can be granted to a task. Each is a descriptor in every worker.
pub const MOST_DIRECTORIES: usize = 16;

/// The grants that the user gives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Grants {
    /// Environment variables and their values. The host's own variables are never visible.
    pub env: Vec<(String, String)>,
    pub directories: Vec<DirectoryGrant>,
    /// Peers to which TCP connections may be made.
    pub peers: Vec<PeerGrant>,
    /// The guest's name of a directory that it may write to and that is empty at the start of each item. It is no
    /// directory of the host: it lies in the worker's memory, and holds as many bytes as the instance may have of
    /// memory.
    pub scratch: Option<String>,
}

/// A directory of the host, with everything below it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DirectoryGrant {
    pub host: PathBuf,
    /// The directory's name in the guest.
    pub guest: String,
    pub writable: bool,
}

/// The suffix of a directory that may be written to; `READABLE` is that of one that may only be read, where that is
/// said.
pub const WRITABLE: &str = ":rw";
pub const READABLE: &str = ":ro";

/// Splits the mode off the end of a directory's name, and returns true if it may be written to. Without a mode it may
/// not.
pub fn split_mode(text: &str) -> (&str, bool) {
    match text.strip_suffix(WRITABLE) {
        Some(text) => (text, true),
        None => (text.strip_suffix(READABLE).unwrap_or(text), false),
    }
}

/// Returns what a directory's name ends with if somebody probably took it for a mode: `:rx`, `:RW`. A name that really ends so
/// can be followed by a mode.
pub fn unknown_mode(text: &str) -> Option<&str> {
    if split_mode(text).0.len() < text.len() {
        return None;
    }
    let (_, end) = text.rsplit_once(':')?;
    let letters = end.to_ascii_lowercase();
    let is_short = (1..=3).contains(&letters.len()) && letters.bytes().all(|letter| b"rwox".contains(&letter));
    let words = ["read", "write", "readonly", "read-only", "readwrite", "read-write"];
    (is_short || words.contains(&&*letters)).then_some(end)
}

/// Returns the suffix of a directory's name: empty if it may only be read.
pub fn mode(writable: bool) -> &'static str {
    if writable { WRITABLE } else { "" }
}

/// A machine and a TCP port on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerGrant {
    /// A name, which the host looks up once, or an address.
    pub host: String,
    pub port: u16,
}

/// Grants that the host has looked up and opened, with its own rights.
#[derive(Debug, Default)]
pub struct OpenedGrants {
    pub given: GuestGrants,
    pub directories: Vec<OwnedFd>,
}

/// The reason why something that the user grants cannot be given to a task.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// There are more directories than a worker can have.
    #[error("at most {MOST_DIRECTORIES} directories can be granted")]
    TooMany,
    /// The scratch directory has the same name as a granted directory.
    #[error("the scratch directory {} has the name of a directory that is granted: give it another name", ForeignText::of(.0))]
    SameName(String),
    /// Two directories have the same name for the task.
    #[error("two directories are granted as {}: give each a name of its own", ForeignText::of(.0))]
    DirectoryTwice(String),
    /// A variable is given twice.
    #[error("the variable {} is granted twice: give it once", ForeignText::of(.0))]
    VariableTwice(String),
    /// A directory cannot be opened.
    #[error("cannot open the granted directory {}", ForeignText::of(.host))]
    Directory { host: PathBuf, guest: String, source: Arc<io::Error> },
    /// The name of a peer cannot be looked up.
    #[error("cannot look up the granted peer {}, port {port}", ForeignText::of(.host))]
    Peer { host: String, port: u16, source: Arc<io::Error> },
    /// The task could write to the cache of compiled tasks.
    #[error(
        "the cache of compiled tasks, {}, lies in {}, which the task may write to: {}",
        ForeignText::of(.place), ForeignText::of(.host), GrantError::WAYS_OUT
    )]
    Cache { place: PathBuf, host: PathBuf, guest: String },
}

impl GrantError {
    /// The part of a message that says why a task must not write to the cache, and what can be done about it.
    pub const WAYS_OUT: &str = "it could leave machine code there that the next run takes for its own; set \
        WASMPOOL_CACHE_DIR to a directory elsewhere, or to nothing for no cache, or grant a directory beside it";
}

/// Returns true if two names of directories are the same to a guest: `/d`, `d/` and `/./d` are.
pub fn same_place(one: &str, other: &str) -> bool {
    let parts =
        |name| Path::new(name).components().filter(|part| !matches!(part, Component::RootDir | Component::CurDir));
    parts(one).eq(parts(other))
}

impl Grants {
    /// Returns the directories of the host that the task may write to.
    pub fn writable(&self) -> impl Iterator<Item = &Path> {
        self.directories.iter().filter(|directory| directory.writable).map(|directory| directory.host.as_path())
    }

    /// Opens the directories and looks up the peers, for a run with this cache: a task that may write to the cache could
    /// leave machine code there for a later run.
    ///
    /// # Errors
    ///
    /// The error names what cannot be opened or looked up, or a directory in which the cache lies, with the ways out.
    pub fn open(&self, cache: &ArtifactCache) -> Result<OpenedGrants, GrantError> {
        if self.directories.len() > MOST_DIRECTORIES {
            return Err(GrantError::TooMany);
        }
        if let Some(name) = &self.scratch
            && self.directories.iter().any(|directory| same_place(&directory.guest, name))
        {
            return Err(GrantError::SameName(name.clone()));
        }
        let twice = self.directories.iter().enumerate().find(|(at, directory)| {
            self.directories.iter().take(*at).any(|before| same_place(&before.guest, &directory.guest))
        });
        if let Some((_, twice)) = twice {
            return Err(GrantError::DirectoryTwice(twice.guest.clone()));
        }
        let mut names = BTreeSet::new();
        if let Some((twice, _)) = self.env.iter().find(|(name, _)| !names.insert(name)) {
            return Err(GrantError::VariableTwice(twice.clone()));
        }
        let given = GuestGrants { env: self.env.clone(), scratch: self.scratch.clone(), ..GuestGrants::default() };
        let mut opened = OpenedGrants { given, ..OpenedGrants::default() };
        let mut owners = BTreeSet::new();
        let (mut ids, mut of_ids) = (Vec::new(), Vec::new());
        for granted @ DirectoryGrant { host, guest, writable } in &self.directories {
            let failed = |e| {
                let (host, guest) = (host.clone(), guest.clone());
                GrantError::Directory { host, guest, source: Arc::new(e) }
            };
            let open = || File::options().read(true).custom_flags(libc::O_DIRECTORY).open(host);
            let directory = patiently(None, open).map_err(failed)?;
            let metadata = directory.metadata().map_err(failed)?;
            if *writable {
                ids.push(FileId::of(&metadata));
                of_ids.push(granted);
            }
            owners.insert((metadata.uid(), metadata.gid()));
            opened.directories.push(directory.into());
            opened.given.directories.push(GuestDirectory { guest: guest.clone(), writable: *writable });
        }
        if let Some(directory) = cache.lies_in(&ids).and_then(|nth| of_ids.get(nth)) {
            let (host, guest) = (directory.host.clone(), directory.guest.clone());
            return Err(GrantError::Cache { place: cache.directory().unwrap_or_default(), host, guest });
        }
        opened.given.owner = match owners.len() {
            0 => None,
            1 => owners.pop_first(),
            // No single user fits, so the host's own is taken, since it grants the directories.
            _ => Some((geteuid().as_raw(), getegid().as_raw())),
        };
        for PeerGrant { host, port } in &self.peers {
            let addresses = (host.as_str(), *port)
                .to_socket_addrs()
                .map_err(|e| GrantError::Peer { host: host.clone(), port: *port, source: Arc::new(e) })?
                .collect();
            opened.given.peers.push(GuestPeer { host: host.clone(), addresses });
        }
        Ok(opened)
    }
}
