//! Files that are written under a temporary name, and renamed once they are whole.
//!
//! All functions here use a descriptor of the directory and follow no link: whatever happens to the directory's path,
//! or is put into the directory, no other file is written to or removed.

use std::fs::{File, Metadata, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
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

/// A file without a name, or under a temporary one. It is removed when this is dropped, unless it was given its final name.
#[derive(Debug)]
pub struct UnnamedFile {
    pub file: File,
    directory: OpenDirectory,
    /// `None` while it has no name, and once it has its final one.
    name: Option<String>,
    /// The beginning of its temporary name.
    prefix: String,
}

/// The metadata of something in a directory, known without opening it.
#[derive(Clone, Copy, Debug)]
pub struct EntryStatus {
    pub is_file: bool,
    pub owner: u32,
    pub len: u64,
    pub inode: u64,
    /// Number of its names.
    pub links: u64,
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
            let name = temporary(prefix);
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
            match open(&*self.0, &name, flags, Mode::from_raw_mode(mode)) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                made => return Ok(UnnamedFile::new(made?, self, prefix, Some(name))),
            }
        }
    }

    /// Makes a new file that has no name until it is placed, so that nothing of it stays if this process is killed. Where the
    /// file system has no such files, it has a temporary name and is locked, and [`OpenDirectory::remove_left`] removes what
    /// stays.
    pub fn nameless(&self, prefix: &str, mode: u32) -> io::Result<UnnamedFile> {
        match open(&*self.0, ".", OFlags::RDWR | OFlags::TMPFILE, Mode::from_raw_mode(mode)) {
            Ok(file) => return Ok(UnnamedFile::new(file, self, prefix, None)),
            Err(e) if has_no_nameless_files(&e) => {}
            Err(e) => return Err(e),
        }
        loop {
            let made = self.aside(prefix, mode)?;
            // Another process may have found it before it was locked, and removed it.
            patiently(None, || made.file.lock())?;
            if made.file.metadata()?.nlink() > 0 {
                return Ok(made);
            }
        }
    }

    /// Removes files of this process's user that [`OpenDirectory::nameless`] had to name, and whose processes were killed.
    pub fn remove_left(&self, prefix: &str) -> io::Result<()> {
        let user = nix::unistd::geteuid().as_raw();
        let mut left = Vec::new();
        self.each(|name| {
            if is_aside(name, prefix) && self.look_at(name).is_ok_and(|found| found.is_file && found.owner == user) {
                left.push(name.to_owned());
            }
        })?;
        for name in left {
            // While the lock is held here, whoever just made it waits and then makes another.
            if let Ok(file) = self.open_file(name.as_str())
                && file.try_lock().is_ok()
            {
                self.remove(name.as_str())?;
            }
        }
        Ok(())
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

    /// Gives a file another name. Nothing is replaced that has it.
    pub fn link(&self, name: impl Arg, other: impl Arg) -> io::Result<()> {
        Ok(rustix::fs::linkat(&*self.0, name, &*self.0, other, AtFlags::empty())?)
    }

    /// Syncs the directory, so that files that were made or renamed in it are found again.
    pub fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    /// Syncs the whole file system on which the directory is: all files in it at once.
    pub fn sync_file_system(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&*self.0)?)
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
            inode: stat.st_ino,
            links: stat.st_nlink as u64,
            modified: SystemTime::UNIX_EPOCH + seconds + Duration::from_nanos(stat.st_mtime_nsec),
        })
    }
}

impl UnnamedFile {
    fn new(file: File, directory: &OpenDirectory, prefix: &str, name: Option<String>) -> UnnamedFile {
        UnnamedFile { file, directory: directory.clone(), name, prefix: prefix.to_owned() }
    }

    /// Gives the file its final name. A file that had that name is replaced.
    pub fn place(mut self, name: &str) -> io::Result<()> {
        let aside = match self.name.take() {
            Some(aside) => aside,
            None => self.link()?,
        };
        // From here on it is removed if it cannot be renamed.
        let aside = self.name.insert(aside);
        self.directory.rename(aside.as_str(), name)?;
        self.name = None;
        Ok(())
    }

    /// Gives the file its final name, which no other file may have, and another name beside it.
    pub fn place_beside(mut self, beside: &str, name: &str) -> io::Result<()> {
        let aside = match self.name.take() {
            Some(aside) => aside,
            None => self.link()?,
        };
        let aside = self.name.insert(aside);
        self.directory.rename(aside.as_str(), beside)?;
        beside.clone_into(aside);
        self.directory.link(beside, name)?;
        self.name = None;
        Ok(())
    }

    /// Gives a file without a name a temporary one, since only a rename replaces a file.
    fn link(&self) -> io::Result<String> {
        let file = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        loop {
            let name = temporary(&self.prefix);
            match rustix::fs::linkat(rustix::fs::CWD, &*file, &*self.directory.0, &*name, AtFlags::SYMLINK_FOLLOW) {
                Err(Errno::EXIST | Errno::INTR) => {}
                linked => return linked.map(|()| name).map_err(io::Error::from),
            }
        }
    }
}

/// Returns true for the errors by which old kernels, and file systems without such files, refuse to make one.
fn has_no_nameless_files(e: &io::Error) -> bool {
    let code = Errno::from_io_error(e);
    code.is_some_and(|code| [Errno::OPNOTSUPP, Errno::ISDIR, Errno::NOENT].contains(&code))
}

/// Returns a new name that begins with `prefix`.
fn temporary(prefix: &str) -> String {
    let number = RandomState::new().build_hasher().finish();
    format!("{prefix}{number:0width$x}", width = DIGITS)
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
    fn a_file_without_a_name_leaves_nothing_until_it_is_placed_and_replaces_what_is_there_then() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let directory = OpenDirectory::open(folder.path()).expect("a directory");
        fs::write(folder.path().join("out"), "before").expect("written");
        let mut made = directory.nameless(".part-", 0o600).expect("made");
        made.file.write_all(b"whole").expect("written");
        assert_eq!(fs::read(folder.path().join("out")).expect("it is there"), b"before");
        made.place("out").expect("named");
        assert_eq!(fs::read(folder.path().join("out")).expect("it is there"), b"whole");
        drop(directory.nameless(".part-", 0o600).expect("made"));
        assert_eq!(fs::read_dir(folder.path()).expect("a directory").count(), 1);
    }

    #[test]
    fn only_temporary_files_of_processes_that_are_gone_are_removed() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let directory = OpenDirectory::open(folder.path()).expect("a directory");
        let kept = directory.aside(".part-", 0o600).expect("made");
        kept.file.lock().expect("a lock");
        for name in [".part-00ff00ff00ff00ff", ".part-mine", "other"] {
            fs::write(folder.path().join(name), "").expect("written");
        }
        directory.remove_left(".part-").expect("removed");
        assert!(!folder.path().join(".part-00ff00ff00ff00ff").exists());
        assert_eq!(fs::read_dir(folder.path()).expect("a directory").count(), 3);
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
