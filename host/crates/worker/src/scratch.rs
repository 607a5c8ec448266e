//! The scratch directory, which is emptied after each item.
//!
//! Its contents are removed. The directory itself stays, because an instance that lives on has it open.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, SeekFrom, Timespec, Timestamps, UTIME_NOW, futimens, openat, seek,
    unlinkat,
};
use rustix::io::Errno;

/// Maximum time for emptying it. A worker that needs longer ends, and another takes its place: the directory disappears
/// with its worker.
const PATIENCE: Duration = Duration::from_millis(20);
/// Number of bytes of names that are read at a time.
const BLOCK: usize = 4096;

pub struct Scratch {
    root: OwnedFd,
}

/// Result of removing everything that can be removed from one directory.
enum SweepResult {
    Empty,
    /// This directory in it is not empty.
    Holds(CString),
}

impl Scratch {
    pub fn new(root: OwnedFd) -> Scratch {
        Scratch { root }
    }

    /// Returns true if it is empty. Costs some two microseconds.
    pub fn is_empty(&self) -> io::Result<bool> {
        let mut block = [MaybeUninit::uninit(); BLOCK];
        seek(&self.root, SeekFrom::Start(0))?;
        let mut names = RawDir::new(&self.root, &mut block);
        while let Some(entry) = names.next() {
            if !is_dots(entry?.file_name().to_bytes()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sets its times to the present when an item begins. They would otherwise reveal what the item before set, and
    /// when it wrote.
    ///
    /// Costs less than a microsecond.
    pub fn renew(&self) -> io::Result<()> {
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        Ok(futimens(&self.root, &Timestamps { last_access: now, last_modification: now })?)
    }

    /// Removes its contents.
    ///
    /// # Errors
    ///
    /// Returns an error if something is left: no other item may then run in this process.
    pub fn empty(&self) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let enter = |directory: &OwnedFd, name: &std::ffi::CStr| {
            openat(directory, name, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        };
        let mut directory = enter(&self.root, c".")?;
        // The path from the root. However deep it is, only one descriptor is open.
        let mut way = Vec::new();
        loop {
            match sweep(&directory, deadline)? {
                SweepResult::Holds(name) => {
                    directory = enter(&directory, &name)?;
                    way.push(name);
                }
                SweepResult::Empty => {
                    let Some(name) = way.pop() else {
                        return Ok(());
                    };
                    directory = enter(&directory, c"..")?;
                    unlinkat(&directory, &name, AtFlags::REMOVEDIR)?;
                }
            }
        }
    }
}

/// Removes the files of a directory and the empty directories in it, up to one that is not empty.
fn sweep(directory: &OwnedFd, deadline: Instant) -> io::Result<SweepResult> {
    let mut block = [MaybeUninit::uninit(); BLOCK];
    loop {
        let mut removed = false;
        seek(directory, SeekFrom::Start(0))?;
        let mut names = RawDir::new(directory, &mut block);
        while let Some(entry) = names.next() {
            let entry = entry?;
            let name = entry.file_name();
            if is_dots(name.to_bytes()) {
                continue;
            }
            if Instant::now() > deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let flags = match entry.file_type() {
                FileType::Directory => AtFlags::REMOVEDIR,
                _ => AtFlags::empty(),
            };
            match unlinkat(directory, name, flags) {
                Err(Errno::NOTEMPTY) => return Ok(SweepResult::Holds(name.to_owned())),
                other => other?,
            }
            removed = true;
        }
        // Names that moved while others were removed may have been skipped.
        if !removed {
            return Ok(SweepResult::Empty);
        }
    }
}

fn is_dots(name: &[u8]) -> bool {
    matches!(name, b"." | b"..")
}
