//! Creates, fills, changes and removes the cgroup of this process's children, as files and directories.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::unistd::{AccessFlags, Pid, access, gettid};

use super::place::{self, Choice, NoCgroup, Own, Seen, Version};

/// Limits of all processes in a cgroup together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of memory, including all that the kernel keeps for the processes.
    pub memory: u64,
    /// Processes and threads. Used with version 2 only: version 1 counts them in another tree.
    pub processes: u64,
}

/// A cgroup that this process has created. Dropping it removes the cgroup, and undoes everything that was done for it.
#[derive(Debug)]
pub struct Group {
    version: Version,
    folder: PathBuf,
    /// The directory, locked for as long as the cgroup is in use: one that a killed host left is not locked.
    _held: File,
    /// File that takes the id of a process to move into the cgroup.
    processes: File,
    /// Version 1 only, where a single thread can enter a cgroup, and the processes that it starts there stay in it.
    threads: Option<ThreadPlacement>,
    /// Version 2 only: what has to be undone.
    moved: Option<Moved>,
    /// Cgroup of this process after the set-up.
    home: Option<PathBuf>,
    /// Id of the process that created it: a process that was forked off has a copy of this value.
    owner: u32,
}

/// Files by which a thread enters the cgroup, and returns to that of its process.
#[derive(Debug)]
struct ThreadPlacement {
    enter: File,
    leave: File,
}

/// Changes to the cgroups of version 2 that are undone when this is dropped.
#[derive(Debug)]
struct Moved {
    place: PathBuf,
    /// Controllers that the children of `place` did not have before.
    switched: Vec<&'static str>,
    /// Leaf that this process has moved to.
    leaf: Option<PathBuf>,
}

/// Extended attributes by which systemd marks a delegated cgroup. An ordinary user's program can set neither on a
/// cgroup that it does not own.
const MARKS: [&str; 2] = ["trusted.delegate", "user.delegate"];

/// File that tells in which cgroups the thread is that reads it.
const MEMBERSHIP: &str = "/proc/thread-self/cgroup";

impl Group {
    /// Creates a cgroup for the children of this process. With `may_move`, this process moves to a leaf if that is
    /// needed.
    ///
    /// # Errors
    ///
    /// Nothing has changed where none could be created.
    pub fn make(may_move: bool, bounds: Bounds) -> Result<Group, NoCgroup> {
        let read = |file: &'static str| text(file).map_err(|e| NoCgroup::Unreadable { file, source: Arc::new(e) });
        let own = place::own_cgroup(&read(MEMBERSHIP)?, &read("/proc/self/mountinfo")?)?;
        Group::make_in(&own, may_move, bounds, &is_marked)
    }

    fn make_in(
        own: &Own,
        may_move: bool,
        bounds: Bounds,
        is_marked: &dyn Fn(&Path) -> bool,
    ) -> Result<Group, NoCgroup> {
        match own.version {
            Version::One => Group::of_version_one(&own.folder, bounds),
            Version::Two => Group::of_version_two(own, may_move, bounds, is_marked),
        }
    }

    /// Creates a child of the process's own cgroup. Only children of this process are ever moved there, and the limits
    /// above still hold for them, so this is done wherever it is possible, also for root.
    fn of_version_one(own: &Path, bounds: Bounds) -> Result<Group, NoCgroup> {
        // Otherwise the memory of a child does not count above it: workers would escape a limit that somebody has set.
        if fs::read_to_string(own.join("memory.use_hierarchy")).is_ok_and(|flag| flag.trim() == "0") {
            return Err(NoCgroup::NotCounted);
        }
        sweep(own);
        let failed = |e: io::Error| NoCgroup::Refused { place: own.to_owned(), source: Arc::new(e) };
        let (folder, held) = make_folder(own).map_err(failed)?;
        let set_up = || -> io::Result<(File, ThreadPlacement)> {
            let threads = ThreadPlacement { enter: writer(&folder, "tasks")?, leave: writer(own, "tasks")? };
            write(&folder, "memory.limit_in_bytes", &bounds.memory.to_string())?;
            // The limit of memory and swap together, where swap is counted.
            let _ = write(&folder, "memory.memsw.limit_in_bytes", &bounds.memory.to_string());
            // Inherited from the parent, where the memory killer may be off: processes that meet the limit would then
            // wait for ever.
            write(&folder, "memory.oom_control", "0")?;
            Ok((writer(&folder, "cgroup.procs")?, threads))
        };
        match set_up() {
            Ok((processes, threads)) => Ok(Group {
                version: Version::One,
                folder,
                _held: held,
                processes,
                threads: Some(threads),
                moved: None,
                home: home(),
                owner: std::process::id(),
            }),
            Err(e) => {
                remove(&folder);
                Err(failed(e))
            }
        }
    }

    fn of_version_two(
        own: &Own,
        may_move: bool,
        bounds: Bounds,
        is_marked: &dyn Fn(&Path) -> bool,
    ) -> Result<Group, NoCgroup> {
        let above = place::above(own);
        let seen = above.map(|above| inspect(above, is_marked));
        let this = std::process::id();
        // The topmost cgroup of a container may be marked too: it was delegated to whatever runs the containers.
        let is_marked_here = |folder: &Path| !own.topmost && is_marked(folder);
        let choice = place::choose(&inspect(&own.folder, &is_marked_here), seen.as_ref(), this, may_move)?;
        let place = match (choice, above) {
            (Choice::Beside, Some(above)) => above,
            _ => &own.folder,
        };
        sweep(place);
        let failed = |e: io::Error| NoCgroup::Refused { place: place.to_owned(), source: Arc::new(e) };
        // Undone when dropped, also where one of the next steps fails.
        let mut moved = Moved { place: place.to_owned(), switched: Vec::new(), leaf: None };
        if choice == Choice::BelowAfterMoving {
            moved.leave(this).map_err(failed)?;
        }
        moved.hand_on("memory").map_err(failed)?;
        // Without this controller, only the limits of each process bound the number of processes.
        let _ = moved.hand_on("pids");
        let (folder, held) = make_folder(place).map_err(failed)?;
        let set_up = || -> io::Result<File> {
            write(&folder, "memory.max", &bounds.memory.to_string())?;
            let _ = write(&folder, "memory.swap.max", &bounds.memory.to_string());
            // The memory killer ends one worker, not all of them.
            let _ = write(&folder, "memory.oom.group", "0");
            let _ = write(&folder, "pids.max", &bounds.processes.to_string());
            writer(&folder, "cgroup.procs")
        };
        match set_up() {
            Ok(processes) => Ok(Group {
                version: Version::Two,
                folder,
                _held: held,
                processes,
                threads: None,
                moved: Some(moved),
                home: home(),
                owner: this,
            }),
            Err(e) => {
                remove(&folder);
                Err(failed(e))
            }
        }
    }

    /// Starts a process in the cgroup. If it cannot be brought there, it runs outside.
    pub fn start(&self, start: impl FnOnce() -> io::Result<Child>) -> io::Result<Child> {
        // Somebody has moved this process to another cgroup, whose limits are to hold for its children too.
        if home() != self.home {
            return start();
        }
        // To move another process takes the kernel a grace period (11 ms were measured); a thread moves itself at once.
        // The first thread does not do so, since all memory of its process is counted where that thread is.
        let threads = self.threads.as_ref().filter(|_| gettid() != Pid::this());
        if let Some(ThreadPlacement { enter, leave }) = threads
            && write_text(enter, "0").is_ok()
        {
            let started = start();
            let _ = write_text(leave, "0");
            return started;
        }
        let child = start()?;
        let _ = write_text(&self.processes, &child.id().to_string());
        Ok(child)
    }

    /// Raises the limits.
    pub fn raise(&self, bounds: Bounds) {
        let (memory, processes) = (bounds.memory.to_string(), bounds.processes.to_string());
        // Memory and swap together comes first: it may not be less than memory.
        let files: &[(&str, &str)] = match self.version {
            Version::One => &[("memory.memsw.limit_in_bytes", &memory), ("memory.limit_in_bytes", &memory)],
            Version::Two => &[("memory.swap.max", &memory), ("pids.max", &processes), ("memory.max", &memory)],
        };
        for (file, text) in files {
            // If this fails, the old limit stays.
            let _ = write(&self.folder, file, text);
        }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn is_ours(&self) -> bool {
        self.owner == std::process::id()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.is_ours() {
            remove(&self.folder);
        } else if let Some(moved) = &mut self.moved {
            moved.forget();
        }
    }
}

impl Moved {
    /// Moves this process to a leaf.
    fn leave(&mut self, this: u32) -> io::Result<()> {
        let leaf = self.place.join(place::name_of_leaf(this));
        match fs::create_dir(&leaf) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        let entered = write(&leaf, "cgroup.procs", &this.to_string());
        self.leaf = Some(leaf);
        entered
    }

    /// Gives the children of `place` a controller, if they do not have it yet.
    fn hand_on(&mut self, controller: &'static str) -> io::Result<()> {
        const FILE: &str = "cgroup.subtree_control";
        let there = fs::read_to_string(self.place.join(FILE))?;
        if !there.split_ascii_whitespace().any(|name| name == controller) {
            write(&self.place, FILE, &format!("+{controller}"))?;
            self.switched.push(controller);
        }
        Ok(())
    }

    /// Makes sure that nothing is undone when this is dropped.
    fn forget(&mut self) {
        self.switched.clear();
        self.leaf = None;
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        for controller in self.switched.drain(..) {
            // Other cgroups there would lose their limits.
            if !has_others(&self.place, self.leaf.as_deref()) {
                let _ = write(&self.place, "cgroup.subtree_control", &format!("-{controller}"));
            }
        }
        if let Some(leaf) = self.leaf.take() {
            let _ = write(&self.place, "cgroup.procs", &std::process::id().to_string());
            remove(&leaf);
        }
    }
}

/// Returns true if a cgroup has children other than this one.
fn has_others(place: &Path, but: Option<&Path>) -> bool {
    below(place).iter().any(|folder| Some(folder.as_path()) != but)
}

fn below(place: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(place).into_iter().flatten().filter_map(Result::ok);
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

/// Reads a file of `/proc`, with room for all of it: such a file does not tell its length, and would be read in many
/// small pieces.
fn text(file: &str) -> io::Result<String> {
    const USUAL: usize = 16 << 10;
    let mut text = String::with_capacity(USUAL);
    File::open(file)?.read_to_string(&mut text)?;
    Ok(text)
}

fn home() -> Option<PathBuf> {
    place::membership(&text(MEMBERSHIP).ok()?).map(|(_, path)| path)
}

fn is_marked(folder: &Path) -> bool {
    MARKS.iter().any(|mark| {
        let mut value = [0; 2];
        rustix::fs::getxattr(folder, *mark, &mut value[..]).is_ok_and(|length| value.get(..length) == Some(b"1"))
    })
}

fn inspect(folder: &Path, is_marked: &dyn Fn(&Path) -> bool) -> Seen {
    let may_write = |path: &Path| access(path, AccessFlags::W_OK).is_ok();
    let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    let files = ["cgroup.procs", "cgroup.subtree_control"];
    Seen {
        delegated: is_marked(folder),
        writable: may_write(folder) && files.iter().all(|file| may_write(&folder.join(file))),
        memory: text("cgroup.controllers").split_ascii_whitespace().any(|name| name == "memory"),
        processes: text("cgroup.procs").lines().filter_map(|line| line.parse().ok()).collect(),
    }
}

/// Creates a cgroup for the workers of this process in `place`, and locks it. A cgroup of its name that is not locked was
/// left by an earlier process with the same id, and is used.
///
/// A name may be in use: by a process with the same id in another PID namespace, or for a moment by a host that is about to
/// remove the cgroup, because it is not locked yet. Then the next name is tried.
fn make_folder(place: &Path) -> io::Result<(PathBuf, File)> {
    let mut last = io::ErrorKind::AlreadyExists.into();
    for name in place::names_of_workers(std::process::id()) {
        let folder = place.join(name);
        match fs::create_dir(&folder) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        match lock(&folder) {
            Ok(held) => return Ok((folder, held)),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotFound) => last = e,
            Err(e) => return Err(e),
        }
    }
    Err(last)
}

/// Locks a cgroup that is still there.
fn lock(folder: &Path) -> io::Result<File> {
    let held = File::open(folder)?;
    match held.try_lock() {
        Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
        // If it cannot be locked, another host may remove it while it is empty.
        Ok(()) | Err(TryLockError::Error(_)) => {}
    }
    if is_at(folder, &held)? { Ok(held) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// Returns true if a path still leads to this directory. It may have been removed, and made anew, since it was opened.
fn is_at(folder: &Path, held: &File) -> io::Result<bool> {
    Ok(fs::metadata(folder)?.ino() == held.metadata()?.ino())
}

/// Removes the cgroups that killed hosts have left: those that are not locked. A cgroup that is not empty stays.
fn sweep(place: &Path) {
    for folder in below(place).into_iter().filter(|folder| place::is_ours(folder)) {
        let Ok(held) = File::open(&folder) else {
            continue;
        };
        // It stays locked until it is removed, so that no other host begins to use it meanwhile.
        if held.try_lock().is_ok() && is_at(&folder, &held).unwrap_or(false) {
            let _ = fs::remove_dir(&folder);
        }
    }
}

/// Removes a cgroup, for which its processes may have to leave first: a parent may hear of a child's end before that.
fn remove(folder: &Path) {
    const PATIENCE: Duration = Duration::from_millis(500);
    const LONGEST_PAUSE: Duration = Duration::from_millis(1);
    let mut pause = Duration::from_micros(50);
    let mut waited = Duration::ZERO;
    while fs::remove_dir(folder).is_err_and(|e| e.kind() == io::ErrorKind::ResourceBusy) && waited < PATIENCE {
        thread::sleep(pause);
        waited += pause;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// Opens a file of a cgroup for writing. The kernel has created it.
fn writer(folder: &Path, file: &str) -> io::Result<File> {
    File::options().write(true).open(folder.join(file))
}

fn write(folder: &Path, file: &str, text: &str) -> io::Result<()> {
    write_text(&writer(folder, file)?, text)
}

/// Writes a text in one call, as files of cgroups require.
fn write_text(mut file: &File, text: &str) -> io::Result<()> {
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests;
