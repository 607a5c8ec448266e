//! Files that are written under a temporary name, and renamed once they are whole.
//!
//! All functions here use a descriptor of the directory and follow no link: whatever happens to the directory's path,
//! or is put into the directory, no other file is written to or removed.

use std::fs::{File, Metadata, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::path::Arg;

use crate::place::FileId;
use crate::scarce::patiently;

/// An open directory.
#[derive(Clone, Debug)]
pub struct OpenDirectory(Arc<File>);

/// A file under a temporary name. It is removed when this is dropped, unless it was given its final name.
#[derive(Debug)]
pub struct UnnamedFile {
    pub file: File,
    directory: OpenDirectory,
    name: Option<String>,
}

/// The metadata of something in a directory, known without opening it.
#[derive(Clone, Copy, Debug)]
pub struct EntryStatus {
    pub is_file: bool,
    pub owner: u32,
    pub len: u64,
    pub modified: SystemTime,
}

/// Number of digits in a temporary name.
const DIGITS: usize = 16;

impl OpenDirectory {
    /// Opens the directory of this path; links in it are followed.
    pub fn open(path: &Path) -> io::Result<OpenDirectory> {
        open(rustix::fs::CWD, path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
            .map(|file| OpenDirectory(file.into()))
    }

    /// Opens a directory in this one, unless it is a link. If it does not exist and `mode` is given, it is made with
    /// that mode.
    pub fn below(&self, name: &str, mode: Option<u32>) -> io::Result<OpenDirectory> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        match open(&*self.0, name, flags, Mode::empty()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && mode.is_some() => {
                match rustix::fs::mkdirat(&*self.0, name, Mode::from_raw_mode(mode.unwrap_or_default())) {
                    // Another process made it at the same time.
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(e) => return Err(e.into()),
                }
                open(&*self.0, name, flags, Mode::empty())
            }
            opened => opened,
        }
        .map(|file| OpenDirectory(file.into()))
    }

    /// Returns true if a path leads to this directory.
    pub fn is(&self, path: &Path) -> bool {
        let id = |metadata: Metadata| FileId::of(&metadata);
        self.metadata().map(id).ok().is_some_and(|this| std::fs::metadata(path).map(id).ok() == Some(this))
    }

    pub fn metadata(&self) -> io::Result<Metadata> {
        self.0.metadata()
    }

    /// Locks the directory against others that call this, for as long as it is open. Returns false if another holds the
    /// lock. Where the file system has no locks, everybody gets it.
    pub fn lock(&self) -> bool {
        let locked = || match self.0.try_lock() {
            Err(TryLockError::Error(e)) => Err(e),
            Err(TryLockError::WouldBlock) => Ok(false),
            Ok(()) => Ok(true),
        };
        patiently(None, locked).unwrap_or(true)
    }

    /// Opens a file in it for reading, unless it is a link. Does not wait for the other end of a FIFO.
    pub fn open_file(&self, name: impl Arg) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = open(&*self.0, name, flags, Mode::empty())?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        Ok(file)
    }

    /// Makes a new file with a unique name that begins with `prefix`.
    pub fn aside(&self, prefix: &str, mode: u32) -> io::Result<UnnamedFile> {
        loop {
            let number = RandomState::new().build_hasher().finish();
            let name = format!("{prefix}{number:0width$x}", width = DIGITS);
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
            match open(&*self.0, &name, flags, Mode::from_raw_mode(mode)) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                made => return Ok(UnnamedFile { file: made?, directory: self.clone(), name: Some(name) }),
            }
        }
    }

    /// Makes a new file of this name, which must not exist.
    pub fn make(&self, name: impl Arg) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        open(&*self.0, name, flags, Mode::from_raw_mode(0o666))
    }

    /// Renames a file. A file that had the new name is replaced.
    pub fn rename(&self, name: impl Arg, to: impl Arg) -> io::Result<()> {
        Ok(rustix::fs::renameat(&*self.0, name, &*self.0, to)?)
    }

    /// Syncs the directory, so that files that were made or renamed in it are found again.
    pub fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    pub fn remove(&self, name: impl Arg) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&*self.0, name, AtFlags::empty())?)
    }

    /// Calls `each` with the name of every entry. Names that are not valid text are converted lossily; none of ours is
    /// such a name.
    pub fn each(&self, mut each: impl FnMut(&str)) -> io::Result<()> {
        for entry in Dir::read_from(&*self.0)? {
            let entry = entry?;
            let name = String::from_utf8_lossy(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                each(&name);
            }
        }
        Ok(())
    }

    /// Returns the metadata of the entry of this name, which may be a link.
    pub fn look_at(&self, name: impl Arg) -> io::Result<EntryStatus> {
        let stat: Stat = rustix::fs::statat(&*self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let seconds = Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or_default());
        Ok(EntryStatus {
            is_file: FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile,
            owner: stat.st_uid,
            len: u64::try_from(stat.st_size).unwrap_or_default(),
            modified: SystemTime::UNIX_EPOCH + seconds + Duration::from_nanos(stat.st_mtime_nsec),
        })
    }
}

impl UnnamedFile {
    /// Renames the file to its final name. A file that had that name is replaced.
    pub fn place(mut self, name: &str) -> io::Result<()> {
        if let Some(aside) = &self.name {
            self.directory.rename(aside.as_str(), name)?;
            self.name = None;
        }
        Ok(())
    }
}

impl Drop for UnnamedFile {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            let _ = self.directory.remove(name.as_str());
        }
    }
}

/// Returns true if the name is a temporary one, as [`OpenDirectory::aside`] makes them.
pub fn is_aside(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|number| {
        number.len() == DIGITS && number.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

fn open(directory: impl AsFd, path: impl Arg, flags: OFlags, mode: Mode) -> io::Result<File> {
    loop {
        match rustix::fs::openat(&directory, &*path.as_cow_c_str()?, flags | OFlags::CLOEXEC, mode) {
            Err(Errno::INTR) => {}
            opened => return Ok(opened?.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_there_whole_under_its_name_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let directory = OpenDirectory::open(folder.path()).expect("a directory");
        let names = || {
            let mut names = Vec::new();
            directory.each(|name| names.push(name.to_owned())).expect("it can be read");
            names
        };
        let mut aside = directory.aside(".part-", 0o600).expect("made");
        aside.file.write_all(b"whole").expect("written");
        assert!(names().iter().all(|name| is_aside(name, ".part-")) && names().len() == 1);
        drop(aside);
        assert_eq!(names(), Vec::<String>::new());
        let mut aside = directory.aside(".part-", 0o600).expect("made");
        aside.file.write_all(b"whole").expect("written");
        aside.place("7").expect("named");
        assert_eq!(names(), ["7"]);
        assert_eq!(fs::read(folder.path().join("7")).expect("it is there"), b"whole");
    }

    #[test]
    fn no_link_is_followed_and_what_it_leads_to_is_left_alone() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let victim = folder.path().join("victim");
        fs::write(&victim, "precious").expect("written");
        fs::create_dir(folder.path().join("elsewhere")).expect("made");
        fs::create_dir(folder.path().join("ours")).expect("made");
        symlink(&victim, folder.path().join("ours/7")).expect("a link");
        symlink("../elsewhere", folder.path().join("ours/below")).expect("a link");
        let directory = OpenDirectory::open(&folder.path().join("ours")).expect("a directory");
        assert!(directory.open_file("7").is_err());
        assert!(directory.below("below", Some(0o700)).is_err());
        directory.aside(".part-", 0o600).expect("made").place("7").expect("named");
        assert_eq!(fs::read(&victim).expect("it is there"), b"precious");
        assert!(fs::symlink_metadata(folder.path().join("ours/7")).expect("it is there").is_file());
    }

    #[test]
    fn only_names_of_our_own_are_taken_for_one() {
        assert!(is_aside(".new-00ff00ff00ff00ff", ".new-"));
        for other in [".new-", ".new-abc", ".new-00ff00ff00ff00ff0", ".new-00ff00ff00ff00fg", "new-00ff00ff00ff00ff"] {
            assert!(!is_aside(other, ".new-"), "{other}");
        }
    }
}
