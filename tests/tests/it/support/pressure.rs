//! Resources that run out: memory, room on a disk, processes, descriptors. Most need permissions that not every machine
//! gives.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use super::host::Host;
use super::process::Process;
use super::until;

/// A control group with next to no memory: a process that is moved there runs without more, or dies.
pub struct NoMemory {
    group: PathBuf,
}

impl NoMemory {
    /// Makes the group, if this user may.
    pub fn new() -> Option<Self> {
        let name = format!("wasmpool-test-{}", std::process::id());
        // The first is the place in version 1, the second in version 2.
        let kinds = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        kinds.into_iter().find_map(|(root, limit)| {
            let group = Path::new(root).join(&name);
            fs::create_dir(&group).ok()?;
            let made = Self { group };
            fs::write(made.group.join(limit), "131072").ok()?;
            Some(made)
        })
    }

    /// Moves a process into the group. It may have died by then.
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

/// A file system of limited size.
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// Mounts it, if this user may.
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

/// A control group of one kind, into which a run can be put.
struct Group {
    folder: PathBuf,
}

impl Group {
    /// Makes the group, if this user may: `kind` is its name in version 1, and `files` the files of which one must
    /// exist.
    fn new(kind: &str, files: &[&str]) -> Option<(Self, PathBuf)> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("wasmpool-test-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        [format!("/sys/fs/cgroup/{kind}"), "/sys/fs/cgroup".to_owned()].into_iter().find_map(|root| {
            let folder = Path::new(&root).join(&name);
            fs::create_dir(&folder).ok()?;
            let made = Self { folder };
            let file = files.iter().map(|file| made.folder.join(file)).find(|file| file.exists())?;
            Some((made, file))
        })
    }

    /// Moves a program and all processes below it there.
    fn take(&self, host: &Host) {
        let mut family = host.descendants();
        family.insert(0, host.process());
        for process in family.into_iter().filter(Process::lives) {
            let _ = fs::write(self.folder.join("cgroup.procs"), process.pid.to_string());
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Processes that ended there may not have left the group yet.
        for _ in 0..100 {
            if fs::remove_dir(&self.folder).is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

/// A control group in which the number of processes and threads can be limited.
pub struct Processes {
    group: Group,
    limit: PathBuf,
}

impl Processes {
    pub fn new() -> Option<Self> {
        let (group, limit) = Group::new("pids", &["pids.max"])?;
        Some(Self { group, limit })
    }

    pub fn take(&self, host: &Host) {
        self.group.take(host);
    }

    /// Returns the file that sets the limit.
    pub fn file(&self) -> &Path {
        &self.limit
    }

    /// Limits the number from now on, or lifts the limit.
    pub fn allow(&self, most: Option<u64>) {
        let most = most.map_or_else(|| "max".to_owned(), |most| most.to_string());
        fs::write(&self.limit, most).expect("the limit can be set");
    }
}

/// A control group in which memory can be limited.
pub struct Memory {
    group: Group,
    limit: PathBuf,
}

impl Memory {
    pub fn new() -> Option<Self> {
        let (group, limit) = Group::new("memory", &["memory.limit_in_bytes", "memory.max"])?;
        Some(Self { group, limit })
    }

    pub fn take(&self, host: &Host) {
        self.group.take(host);
    }

    /// Limits the bytes from now on, or lifts the limit. The kernel tries to reclaim what is used beyond the limit, and
    /// may refuse if it cannot.
    pub fn allow(&self, most: Option<u64>) {
        let unlimited = if self.limit.ends_with("memory.max") { "max" } else { "-1" };
        let most = most.map_or_else(|| unlimited.to_owned(), |most| most.to_string());
        until("the limit can be set", || fs::write(&self.limit, &most).ok());
    }

    /// Returns the number of processes that were killed for lack of memory.
    pub fn kills(&self) -> u64 {
        let text = |file| fs::read_to_string(self.group.folder.join(file)).unwrap_or_default();
        let events = text("memory.oom_control") + &text("memory.events");
        let count = events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
        count.unwrap_or(0)
    }
}

/// The limit of a program's descriptors, which is changed while it runs.
pub struct Descriptors {
    pid: i32,
    before: libc::rlimit,
}

impl Descriptors {
    pub fn of(process: &Process) -> Self {
        let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the call only writes the old limit, to a place that outlives it.
        let done = unsafe { libc::prlimit(process.pid, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut before) };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
        Self { pid: process.pid, before }
    }

    fn set(&self, limit: libc::rlimit) {
        // SAFETY: the call only reads the new limit, from a place that outlives it.
        let done = unsafe { libc::prlimit(self.pid, libc::RLIMIT_NOFILE, &raw const limit, std::ptr::null_mut()) };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }

    pub fn allow(&self, most: u64) {
        self.set(libc::rlimit { rlim_cur: most, ..self.before });
    }

    pub fn allow_all(&self) {
        self.set(self.before);
    }
}
