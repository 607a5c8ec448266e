//! Artifacts on disk, so that a task is compiled once.
//!
//! The directory is the user's own: made with mode 0700, refused where it belongs to somebody else or others may write to
//! it, since an artifact is machine code. An entry holds the artifact, then what is known about it and a checksum; one that
//! is damaged or of another build is passed over and made again. Entries are written aside and renamed into place. What
//! fails here is never the user's problem: the task is compiled instead.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Meta;
use crate::engine::Profile;

/// Bytes of all entries together; the ones not used for the longest time go first.
const MOST: u64 = 2 << 30;
/// Beginning of the name of an entry that is being written.
const UNFINISHED: &str = ".new-";
/// What every entry ends with: length of the meta data, checksum, this.
const MAGIC: &[u8; 8] = b"wasmpl03";
const TRAILER: u64 = 8 + 32 + 8;

/// A cache of artifacts.
#[derive(Clone, Debug)]
pub struct Cache {
    directory: Option<PathBuf>,
}

impl Cache {
    /// The user's cache: `$WASMPOOL_CACHE_DIR`, else `wasmpool` in `$XDG_CACHE_HOME` or `~/.cache`.
    pub fn of_user() -> Cache {
        let directory = match std::env::var_os("WASMPOOL_CACHE_DIR") {
            Some(own) if own.is_empty() => None,
            Some(own) => Some(PathBuf::from(own)),
            None => dirs::cache_dir().map(|d| d.join("wasmpool")),
        };
        Cache { directory }
    }

    /// Where entries are, if anywhere.
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// The entry's file. The name tells all that an artifact depends on besides the machine's processor, which the
    /// engine checks when it loads it.
    fn file(&self, hash: &str, profile: Profile) -> Option<PathBuf> {
        let directory = self.directory.as_ref()?;
        Some(directory.join(format!("{hash}-{}-{}-{}", env!("CARGO_PKG_VERSION"), crate::WASMTIME, profile.name())))
    }

    /// The artifact in sealed memory, if there is a sound one.
    pub fn get(&self, hash: &str, profile: Profile) -> Option<(OwnedFd, Meta)> {
        let path = self.file(hash, profile)?;
        is_ours(self.directory.as_ref()?).ok()?;
        let file = File::open(&path).ok()?;
        match read(&file) {
            Ok(found) => {
                // Used now: it goes last when room is needed.
                let _ = file.set_modified(std::time::SystemTime::now());
                Some(found)
            }
            Err(_) => {
                let _ = fs::remove_file(&path);
                None
            }
        }
    }

    /// Keeps an artifact.
    pub fn put(&self, hash: &str, artifact: &File, meta: &Meta) {
        let Some(path) = self.file(hash, meta.profile) else {
            return;
        };
        let Some(directory) = &self.directory else {
            return;
        };
        if make(directory).is_ok() && write(directory, &path, artifact, meta).is_ok() {
            let _ = trim(directory, &path);
        }
    }

    /// Forgets an artifact that could not be loaded.
    pub fn remove(&self, hash: &str, profile: Profile) {
        if let Some(path) = self.file(hash, profile) {
            let _ = fs::remove_file(path);
        }
    }
}

fn make(directory: &Path) -> io::Result<()> {
    if !directory.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    is_ours(directory)
}

/// Whether nobody but this user could have put something into the directory.
fn is_ours(directory: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(directory)?;
    if !meta.is_dir() || meta.uid() != nix::unistd::geteuid().as_raw() {
        return Err(io::Error::other("the cache directory belongs to somebody else"));
    }
    if meta.mode() & 0o077 != 0 {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

fn read(file: &File) -> io::Result<(OwnedFd, Meta)> {
    let damaged = || io::Error::other("the entry is damaged");
    let about = file.metadata()?;
    if about.uid() != nix::unistd::geteuid().as_raw() {
        return Err(io::Error::other("the entry belongs to somebody else"));
    }
    let end = about.len().checked_sub(TRAILER).ok_or_else(damaged)?;
    let mut trailer = [0; TRAILER as usize];
    file.read_exact_at(&mut trailer, end)?;
    let (meta_len, rest) = trailer.split_at(8);
    let (checksum, magic) = rest.split_at(32);
    let meta_len = u64::from_ne_bytes(meta_len.try_into().map_err(|_| damaged())?);
    let code = end.checked_sub(meta_len).ok_or_else(damaged)?;
    if magic != MAGIC {
        return Err(damaged());
    }
    let mut artifact = crate::memfd::create(c"wasmpool-artifact")?;
    let mut hasher = blake3::Hasher::new();
    let mut block = vec![0; 256 << 10];
    let mut source = file;
    let mut left = code;
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        let part = block.get_mut(..want).ok_or_else(damaged)?;
        source.read_exact(part)?;
        hasher.update(part);
        artifact.write_all(part)?;
        left -= want as u64;
    }
    let mut meta = vec![0; usize::try_from(meta_len).map_err(|_| damaged())?];
    source.read_exact(&mut meta)?;
    hasher.update(&meta);
    if hasher.finalize().as_bytes() != checksum {
        return Err(damaged());
    }
    crate::memfd::seal(&artifact)?;
    Ok((artifact.into(), serde_json::from_slice(&meta)?))
}

fn write(directory: &Path, path: &Path, artifact: &File, meta: &Meta) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(directory)?;
    let mut hasher = blake3::Hasher::new();
    let mut block = vec![0; 256 << 10];
    let mut at = 0;
    loop {
        let count = artifact.read_at(&mut block, at)?;
        let Some(part @ [_, ..]) = block.get(..count) else {
            break;
        };
        hasher.update(part);
        file.write_all(part)?;
        at += count as u64;
    }
    let meta = serde_json::to_vec(meta)?;
    hasher.update(&meta);
    file.write_all(&meta)?;
    file.write_all(&(meta.len() as u64).to_ne_bytes())?;
    file.write_all(hasher.finalize().as_bytes())?;
    file.write_all(MAGIC)?;
    file.persist(path)?;
    Ok(())
}

/// What a process that was killed while it wrote has left behind is removed after so long.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Removes the entries that were not used for the longest time, until the rest fits; never the one just written.
fn trim(directory: &Path, newest: &Path) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(directory)?
        .flatten()
        .filter_map(|e| e.metadata().ok().map(|m| (m.modified().ok(), m.len(), e.path())))
        .collect();
    entries.sort();
    let mut total: u64 = entries.iter().map(|e| e.1).sum();
    for (modified, len, path) in entries {
        let unfinished =
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes()));
        let abandoned = unfinished && modified.is_some_and(|m| m.elapsed().is_ok_and(|age| age > ABANDONED));
        if path == newest || !(abandoned || (total > MOST && !unfinished)) {
            continue;
        }
        fs::remove_file(path)?;
        total -= len;
    }
    Ok(())
}
