//! Artifacts on disk, so that a task is compiled once.
//!
//! Entries lie in a directory of the cache's own ([`ENTRIES`]), below the directory that the user names or the usual
//! one, so that no file of the user's is ever among them. Only files with the name of an entry are looked at, counted
//! or removed. An artifact is machine code, so a directory that somebody else owns or may write to is refused and left
//! unchanged. An entry holds the artifact, then its metadata and a checksum; one that is damaged or of another build is
//! ignored and replaced. Entries are written under a temporary name and renamed. No failure here ends a run: the task
//! is compiled instead.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::ArtifactMeta;
use crate::aside::{EntryStatus, OpenDirectory, is_aside};
use crate::hashed::{self, FromStart};
use crate::links::lands_in;
use crate::place::FileId;
use wasmpool_core::artifact::EngineProfile;
use wasmpool_core::text::ForeignText;

/// The directory of entries. Entries of older versions lie in the user's cache directory itself, and are left alone.
const ENTRIES: &str = "wasmpool-artifacts";
/// Maximum bytes of all entries together; those not used for the longest time are removed first.
const MOST: u64 = 2 << 30;
/// Prefix of the name of an entry that is being written.
const UNFINISHED: &str = ".new-";
/// The last bytes of every entry, after the length of the metadata and the checksum.
const MAGIC: &[u8; 8] = b"wasmpl05";
const TRAILER: u64 = 8 + 32 + 8;
/// Permission bits that let anybody but the owner change something.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The reason why an artifact is not kept.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    #[error("the cache is switched off: WASMPOOL_CACHE_DIR is empty")]
    Off,
    #[error("there is no cache directory; set WASMPOOL_CACHE_DIR, XDG_CACHE_HOME or HOME")]
    NoPlace,
    #[error("cannot open the cache {}", ForeignText::of(.place))]
    Open { place: PathBuf, source: Arc<io::Error> },
    #[error(
        "the cache {} is not used: it is a link, or no directory; remove it, or name another place with WASMPOOL_CACHE_DIR",
        ForeignText::of(.0)
    )]
    NoDirectory(PathBuf),
    #[error(
        "the cache {} is not used: it belongs to somebody else; make it your own; or name another with WASMPOOL_CACHE_DIR",
        ForeignText::of(.0)
    )]
    OfAnother(PathBuf),
    #[error(
        "the cache {} is not used: others may write to it; make it yours alone (chmod go-w); or name another with \
         WASMPOOL_CACHE_DIR",
        ForeignText::of(.0)
    )]
    WritableByOthers(PathBuf),
    #[error("cannot write to the cache {}", ForeignText::of(.place))]
    Write { place: PathBuf, source: Arc<io::Error> },
    /// The artifact is a snapshot that would not be the same in another run.
    #[error("its init saw what may be otherwise in another run")]
    OfThisRun,
}

/// A cache of artifacts.
#[derive(Clone, Debug)]
pub struct ArtifactCache {
    /// The directory of the cache, or why there is none.
    place: Result<PathBuf, CacheError>,
}

impl ArtifactCache {
    /// Returns the user's cache: in `$WASMPOOL_CACHE_DIR`, else `wasmpool` in `$XDG_CACHE_HOME` or `~/.cache`.
    pub fn of_user() -> ArtifactCache {
        let place = match std::env::var_os("WASMPOOL_CACHE_DIR") {
            Some(own) if own.is_empty() => Err(CacheError::Off),
            Some(own) => Ok(PathBuf::from(own)),
            None => dirs::cache_dir().map(|directory| directory.join("wasmpool")).ok_or(CacheError::NoPlace),
        };
        ArtifactCache { place }
    }

    /// Returns the directory of entries.
    pub fn directory(&self) -> Result<PathBuf, CacheError> {
        Ok(self.place.clone()?.join(ENTRIES))
    }

    /// Returns the position of the first of these directories that the entries lie in. Whoever may write to it could leave
    /// machine code there for a later run.
    pub fn lies_in(&self, directories: &[FileId]) -> Option<usize> {
        lands_in(&self.directory().ok()?, directories)
    }

    /// Returns the artifact in sealed memory, if there is an intact entry.
    pub fn get(&self, hash: &str, profile: EngineProfile) -> Option<(OwnedFd, ArtifactMeta)> {
        let place = self.place.as_ref().ok()?;
        let entries = entries(place, false).ok()?;
        let name = name(hash, profile);
        let file = entries.open_file(&name).ok()?;
        match read(&file) {
            Ok(found) => {
                // Marks the entry as just used, so that it is removed last when room is needed.
                let _ = file.set_modified(SystemTime::now());
                Some(found)
            }
            Err(_) => {
                let _ = entries.remove(&name);
                None
            }
        }
    }

    /// Stores an artifact.
    pub fn put(&self, hash: &str, artifact: &File, meta: &ArtifactMeta) -> Result<(), CacheError> {
        let place = self.place.as_ref().map_err(CacheError::clone)?;
        let entries = entries(place, true)?;
        let name = name(hash, meta.profile);
        write(&entries, &name, artifact, meta)
            .map_err(|e| CacheError::Write { place: place.join(ENTRIES), source: Arc::new(e) })?;
        let _ = trim(&entries, &name);
        Ok(())
    }

    /// Returns a cache that holds nothing and keeps nothing.
    pub fn none() -> ArtifactCache {
        ArtifactCache { place: Err(CacheError::Off) }
    }

    /// Returns all entries, the one that was not used for the longest time first.
    pub fn list(&self) -> Result<Vec<CacheEntry>, CacheError> {
        Ok(self.opened()?.map_or_else(Vec::new, |(_, found)| found))
    }

    /// Removes the entries that were not used for longer than `older`, or all, and returns them. An entry that another
    /// run is writing stays, and so does every file that is no entry. Runs that go on are not affected: they have a copy of
    /// their artifact.
    pub fn clean(&self, older: Option<Duration>) -> Result<Vec<CacheEntry>, CacheError> {
        let Some((entries, found)) = self.opened()? else {
            return Ok(Vec::new());
        };
        let old = |entry: &CacheEntry| match older {
            _ if entry.unfinished => entry.is_older(older.unwrap_or(ABANDONED).max(ABANDONED)),
            Some(age) => entry.is_older(age),
            None => true,
        };
        let mut removed = Vec::new();
        for entry in found.into_iter().filter(old) {
            match entries.remove(&entry.name) {
                Ok(()) => removed.push(entry),
                // Another run has removed it.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(self.failed(e)),
            }
        }
        Ok(removed)
    }

    /// Opens the directory of entries and looks at all of them. There is none before something was kept.
    fn opened(&self) -> Result<Option<(OpenDirectory, Vec<CacheEntry>)>, CacheError> {
        let place = self.place.as_ref().map_err(CacheError::clone)?;
        let entries = match entries(place, false) {
            Ok(entries) => entries,
            Err(CacheError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let found = all(&entries).map_err(|e| self.failed(e))?;
        Ok(Some((entries, found)))
    }

    fn failed(&self, e: io::Error) -> CacheError {
        let place = self.place.as_ref().map(|place| place.join(ENTRIES)).unwrap_or_default();
        CacheError::Open { place, source: Arc::new(e) }
    }

    /// Removes an artifact that could not be loaded.
    pub fn remove(&self, hash: &str, profile: EngineProfile) {
        if let Ok(place) = &self.place
            && let Ok(entries) = entries(place, false)
        {
            let _ = entries.remove(name(hash, profile));
        }
    }
}

/// An entry of the cache, as its name and its file tell of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CacheEntry {
    /// Time when it was used last.
    pub used: SystemTime,
    /// Its size in bytes.
    pub bytes: u64,
    /// The hash of the task, in hexadecimal digits.
    pub hash: String,
    /// The version of wasmpool that made it.
    pub version: String,
    /// True for a part of an entry whose process was killed while it wrote it.
    pub unfinished: bool,
    name: String,
}

impl CacheEntry {
    fn of(name: String, found: &EntryStatus) -> CacheEntry {
        let mut parts = name.split('-').map(str::to_owned);
        let unfinished = is_aside(&name, UNFINISHED);
        let (hash, version) = match unfinished {
            true => (String::new(), String::new()),
            false => (parts.next().unwrap_or_default(), parts.next().unwrap_or_default()),
        };
        CacheEntry { used: found.modified, bytes: found.len, hash, version, unfinished, name }
    }
}

/// Returns the name of an entry. It contains everything that an artifact depends on except the machine's processor,
/// which the engine checks when it loads the artifact.
fn name(hash: &str, profile: EngineProfile) -> String {
    format!("{hash}-{}-{}-{}", env!("CARGO_PKG_VERSION"), wasmpool_core::artifact::WASMTIME, profile.name())
}

/// Returns true if the name is that of an entry, of this version or another.
fn is_entry(name: &str) -> bool {
    let Some((hash, rest)) = name.split_once('-') else {
        return false;
    };
    let versions = rest.splitn(3, '-').collect::<Vec<_>>();
    let is_version = |text: &str| {
        text.split('.').count() == 3 && text.split('.').all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    hash.len() == 64
        && hash.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
        && matches!(versions[..], [ours, engines, profile] if is_version(ours) && is_version(engines) && is_profile(profile))
}

/// Returns true if the text may be the name of a profile in some version: words of lower-case letters.
fn is_profile(name: &str) -> bool {
    name.split('-').all(|word| !word.is_empty() && word.bytes().all(|letter| letter.is_ascii_lowercase()))
}

/// Opens the directory of entries below this place, and makes it first if `made` is true. Checks that only this user
/// could have put something into it.
fn entries(place: &Path, made: bool) -> Result<OpenDirectory, CacheError> {
    let cannot = |e: io::Error| CacheError::Open { place: place.to_owned(), source: Arc::new(e) };
    if made && fs::metadata(place).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
        DirBuilder::new().recursive(true).mode(0o700).create(place).map_err(cannot)?;
    }
    let outer = OpenDirectory::open(place).map_err(cannot)?;
    // Anybody who may write to the outer directory could replace the inner one by another directory of this user's.
    is_ours(&outer, place)?;
    let path = place.join(ENTRIES);
    let inner = outer.below(ENTRIES, made.then_some(0o700)).map_err(|e| {
        let place = path.clone();
        match fs::symlink_metadata(&path).is_ok_and(|found| !found.is_dir()) {
            // The directory is opened with a flag that follows no link, so the system's error would be misleading here.
            true => CacheError::NoDirectory(place),
            false => CacheError::Open { place, source: Arc::new(e) },
        }
    })?;
    is_ours(&inner, &path)?;
    Ok(inner)
}

fn is_ours(directory: &OpenDirectory, path: &Path) -> Result<(), CacheError> {
    let metadata =
        directory.metadata().map_err(|e| CacheError::Open { place: path.to_owned(), source: Arc::new(e) })?;
    if metadata.uid() != nix::unistd::geteuid().as_raw() {
        return Err(CacheError::OfAnother(path.to_owned()));
    }
    if metadata.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(CacheError::WritableByOthers(path.to_owned()));
    }
    Ok(())
}

fn read(file: &File) -> io::Result<(OwnedFd, ArtifactMeta)> {
    let damaged = || io::Error::other("the entry is damaged");
    let about = file.metadata()?;
    if about.uid() != nix::unistd::geteuid().as_raw() || about.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(io::Error::other("the entry may be somebody else's"));
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
    let mut artifact = wasmpool_ipc::memfd::create(c"wasmpool-artifact")?;
    let mut hasher = blake3::Hasher::new();
    let mut source = file;
    hashed::copy_exactly(code, &mut source, &mut artifact, &mut hasher)?;
    let mut meta = vec![0; usize::try_from(meta_len).map_err(|_| damaged())?];
    source.read_exact(&mut meta)?;
    hasher.update(&meta);
    if hasher.finalize().as_bytes() != checksum {
        return Err(damaged());
    }
    wasmpool_ipc::memfd::seal(&artifact)?;
    Ok((artifact.into(), serde_json::from_slice(&meta)?))
}

fn write(entries: &OpenDirectory, name: &str, artifact: &File, meta: &ArtifactMeta) -> io::Result<()> {
    let mut aside = entries.aside(UNFINISHED, 0o600)?;
    let file = &mut aside.file;
    let mut hasher = blake3::Hasher::new();
    hashed::copy(&mut FromStart::of(artifact), file, &mut hasher)?;
    let meta = serde_json::to_vec(meta)?;
    hasher.update(&meta);
    file.write_all(&meta)?;
    file.write_all(&(meta.len() as u64).to_ne_bytes())?;
    file.write_all(hasher.finalize().as_bytes())?;
    file.write_all(MAGIC)?;
    aside.place(name)
}

/// Age at which an unfinished entry is removed: the process that wrote it was killed.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Returns all entries of this user, the one that was not used for the longest time first. No other file is looked at.
fn all(entries: &OpenDirectory) -> io::Result<Vec<CacheEntry>> {
    let user = nix::unistd::geteuid().as_raw();
    let mut names = Vec::new();
    entries.each(|name| {
        if is_entry(name) || is_aside(name, UNFINISHED) {
            names.push(name.to_owned());
        }
    })?;
    let mut found: Vec<CacheEntry> = names
        .into_iter()
        .filter_map(|name| Some((entries.look_at(&name).ok()?, name)))
        .filter(|(found, _)| found.is_file && found.owner == user)
        .map(|(found, name)| CacheEntry::of(name, &found))
        .collect();
    found.sort();
    Ok(found)
}

impl CacheEntry {
    /// Returns true if it was last used, or written to, longer ago than this.
    fn is_older(&self, age: Duration) -> bool {
        self.used.elapsed().is_ok_and(|unused| unused > age)
    }
}

/// Removes the entries that were not used for the longest time, until the rest fits; never the one just written. Other
/// runs may do the same at the same time.
fn trim(entries: &OpenDirectory, newest: &str) -> io::Result<()> {
    let found = all(entries)?;
    let mut total: u64 = found.iter().map(|entry| entry.bytes).sum();
    for entry in found {
        let abandoned = entry.unfinished && entry.is_older(ABANDONED);
        if entry.name == newest || !(abandoned || (total > MOST && !entry.unfinished)) {
            continue;
        }
        // If the entry is gone, another run has removed it.
        let _ = entries.remove(&entry.name);
        total -= entry.bytes;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_this_program_wrote_is_taken_for_an_entry() {
        let hash = blake3::hash(b"task").to_hex();
        for fuel in [false, true] {
            for deterministic in [false, true] {
                for profile in (EngineProfile { fuel, deterministic, ..EngineProfile::default() }).all() {
                    assert!(is_entry(&name(&hash, profile)));
                }
            }
        }
        assert!(is_entry(&format!("{hash}-0.1.0-48.0.8-lean")));
        for other in [
            "backup.tar".to_owned(),
            hash.to_string(),
            format!("{hash}.tar"),
            format!("{hash}-backup"),
            format!("{hash}-2020-01-01"),
            format!("{hash}-0.1.0-48.0.8-"),
            format!("{hash}-0.1.0-48.0.8-lean.tar"),
            format!("{hash}-0.1.0-48.0.8-lean-1"),
            format!("{hash}-0.1.0-48.0-lean"),
            format!("{}-0.1.0-48.0.8-lean", hash.to_uppercase()),
            format!("x{hash}-0.1.0-48.0.8-lean"),
        ] {
            assert!(!is_entry(&other), "{other}");
        }
    }
}
