//! Resources that run out: memory for a process, room on a disk. Both need rights that not every machine gives.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::process::Process;

/// A control group in which there is next to no memory: what is moved there gets along without more, or dies.
pub struct NoMemory {
    group: PathBuf,
}

impl NoMemory {
    /// Makes the group, where this user may.
    pub fn new() -> Option<Self> {
        let name = format!("wasmpool-test-{}", std::process::id());
        // The first is where version 1 has it, the second version 2.
        let kinds = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        kinds.into_iter().find_map(|(root, limit)| {
            let group = Path::new(root).join(&name);
            fs::create_dir(&group).ok()?;
            let made = Self { group };
            fs::write(made.group.join(limit), "131072").ok()?;
            Some(made)
        })
    }

    /// Moves a process there. It may have died by then.
    pub fn press(&self, process: &Process) {
        if process.lives() {
            let _ = fs::write(self.group.join("cgroup.procs"), process.pid.to_string());
        }
    }
}

impl Drop for NoMemory {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.group);
    }
}

/// A file system of so many bytes.
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// Mounts it, where this user may.
    pub fn new(bytes: usize) -> Option<Self> {
        let folder = TempDir::new().expect("a temporary directory");
        let place = CString::new(folder.path().as_os_str().as_bytes()).expect("a path");
        let options = CString::new(format!("size={bytes}")).expect("text");
        // SAFETY: all pointers are to strings that live through the call.
        let done =
            unsafe { libc::mount(c"none".as_ptr(), place.as_ptr(), c"tmpfs".as_ptr(), 0, options.as_ptr().cast()) };
        (done == 0).then_some(Self { folder })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let place = CString::new(self.folder.path().as_os_str().as_bytes()).expect("a path");
        // SAFETY: the pointer is to a string that lives through the call.
        unsafe { libc::umount2(place.as_ptr(), libc::MNT_DETACH) };
    }
}
