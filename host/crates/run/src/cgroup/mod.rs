//! Bounds the memory of all child processes of this process together, by a memory cgroup, where one can be created.
//!
//! The limits of a single worker do not count everything that the kernel keeps for it. The cgroup does. Its limit is
//! the sum of what all processes may honestly take, so it is only met when a process has got round its own limits; then
//! the kernel's memory killer ends one of them.
//!
//! A process has one such cgroup, also if several pools run in it. Whatever starts workers holds a [`Room`] for as long
//! as the workers may live; the cgroup is removed when the last [`Room`] is dropped. Where none can be created,
//! everything runs without.

mod group;
mod place;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use group::{Bounds, Group};
pub use place::NoCgroup;
use wasmpool_core::policy::TaskCall;
use wasmpool_ipc::lane::region::FILE as LANE;
use wasmpool_sandbox::ProcessLimits;
use wasmpool_sandbox::surroundings::most_processors;

/// Number of workers that may live at a time, and the memory that each may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Workers {
    pub count: usize,
    /// Bytes.
    pub each: u64,
}

impl Workers {
    /// Returns the memory that this many workers may take for this call.
    pub fn of(count: usize, call: &TaskCall) -> Workers {
        let limits = &call.limits;
        let scratch = if call.given.scratch.is_some() { limits.memory } else { 0 };
        let process = ProcessLimits::of_worker(limits.memory, limits.max_output).with_the_kernels();
        Workers { count, each: process.saturating_add(scratch).saturating_add(LANE as u64) }
    }

    fn bytes(self) -> u64 {
        self.each.saturating_mul(self.count as u64)
    }
}

/// The permission to move this process to a leaf of its own cgroup, if its children can have a cgroup only then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostPlacement {
    /// The process is the command, and wholly ours.
    Moves,
    /// The process is a program that uses the library.
    Stays,
}

/// State of the cgroup of this process's children.
#[derive(Debug)]
struct Registry {
    /// The cgroup, or why there is none. Tried when the first [`Room`] is made.
    group: Option<Result<Arc<Group>, NoCgroup>>,
    claims: BTreeMap<u64, Workers>,
    next: u64,
    /// Number of compile processes now, and the largest number at a time.
    compiling: u64,
    most_compiling: u64,
    /// Bytes of the artifacts that they wrote, whose memory stays counted in the cgroup.
    made: u64,
}

static CHILDREN: Mutex<Registry> =
    Mutex::new(Registry { group: None, claims: BTreeMap::new(), next: 0, compiling: 0, most_compiling: 1, made: 0 });

fn children() -> MutexGuard<'static, Registry> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    fn bounds(&self) -> Bounds {
        /// Threads of a process, at most, and as many again for those that are ending while others start.
        const THREADS: u64 = 16;
        // A bound that is not met may be too large; counting what is really usable delays each start of a run.
        let processors = most_processors();
        let compiler = ProcessLimits::of_compiler(processors).with_the_kernels();
        let compiling = compiler.saturating_mul(self.most_compiling).saturating_add(self.made);
        let workers: u64 = self.claims.values().map(|workers| workers.count as u64).fold(0, u64::saturating_add);
        let compile_threads = (processors as u64 + THREADS).saturating_mul(self.most_compiling);
        Bounds {
            memory: self.claims.values().fold(compiling, |sum, workers| sum.saturating_add(workers.bytes())).min(MOST),
            processes: workers.saturating_mul(THREADS).saturating_add(compile_threads),
        }
    }

    fn group(&self) -> Option<&Arc<Group>> {
        self.group.as_ref()?.as_ref().ok().filter(|group| group.is_ours())
    }

    /// Raises the limits to what is needed by now. They are never lowered while the cgroup is there: memory may still
    /// be in use.
    fn adapt(&self) {
        if let Some(group) = self.group() {
            group.raise(self.bounds());
        }
    }

    /// Forgets the state of the parent, if this process was forked off: the cgroup belongs to the parent.
    fn forget_parent(&mut self) {
        if self.group.as_ref().is_some_and(|made| made.as_ref().is_ok_and(|group| !group.is_ours())) {
            *self =
                Registry { group: None, claims: BTreeMap::new(), compiling: 0, most_compiling: 1, made: 0, ..*self };
        }
    }
}

/// Largest limit: both versions of the interface take a larger one for none.
const MOST: u64 = 1 << 60;

/// Keeps the cgroup of this process's children, with room in it for some of them.
#[derive(Debug)]
pub struct Room {
    id: u64,
    /// Id of the process that made it: a process that was forked off has a copy of this value, and no part in the
    /// cgroup.
    owner: u32,
}

impl Room {
    /// Makes room for these workers. Creates the cgroup, if there is none yet and one can be created.
    pub fn new(host: HostPlacement, wanted: Workers) -> Room {
        let mut children = children();
        children.forget_parent();
        let id = children.next;
        children.next += 1;
        children.claims.insert(id, wanted);
        match children.group {
            Some(_) => children.adapt(),
            None => children.group = Some(Group::make(host == HostPlacement::Moves, children.bounds()).map(Arc::new)),
        }
        Room { id, owner: std::process::id() }
    }

    /// Makes room for more workers, or for workers that may take more.
    pub fn widen(&self, wanted: Workers) {
        if self.owner != std::process::id() {
            return;
        }
        let mut children = children();
        if let Some(claimed) = children.claims.get_mut(&self.id) {
            let wider = Workers { count: claimed.count.max(wanted.count), each: claimed.each.max(wanted.each) };
            if *claimed != wider {
                *claimed = wider;
                children.adapt();
            }
        }
    }

    /// Returns the path of the cgroup, and the bytes that all processes in it may have together.
    pub fn found(&self) -> Result<(PathBuf, u64), NoCgroup> {
        let children = children();
        match &children.group {
            Some(Ok(group)) => Ok((group.folder().to_owned(), children.bounds().memory)),
            Some(Err(why)) => Err(why.clone()),
            None => Err(NoCgroup::NotTried),
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if self.owner != std::process::id() {
            return;
        }
        let mut children = children();
        children.claims.remove(&self.id);
        if children.claims.is_empty() {
            // Under the lock, since the next cgroup has the same name.
            children.group = None;
            children.most_compiling = children.compiling.max(1);
            children.made = 0;
        }
    }
}

/// Starts a process in the cgroup, if there is one, and returns what `note` makes of it. [`remove_now`] waits until `note` is
/// done: it can kill only children that are noted.
pub fn start<T>(start: impl FnOnce() -> io::Result<Child>, note: impl FnOnce(Child) -> io::Result<T>) -> io::Result<T> {
    // What is started now would only keep the cgroup from being removed.
    stay_if_exiting();
    let group = children().group().cloned();
    let child = match &group {
        Some(group) => group.start(start)?,
        None => start()?,
    };
    note(child)
}

/// True once the process is about to exit.
static ENDS: AtomicBool = AtomicBool::new(false);

/// Never returns once [`remove_now`] was called: the process exits at any moment. Whoever waits for a child calls this when
/// it has ended, since that is nothing to be told, or to be answered by another exit code.
pub fn stay_if_exiting() {
    while ENDS.load(Ordering::SeqCst) {
        thread::park();
    }
}

/// Removes the cgroup before the process exits without dropping anything. `kill` ends all children that are noted; others are
/// not started any more.
pub fn remove_now(kill: impl Fn()) {
    const TRIES: u32 = 200;
    const PAUSE: Duration = Duration::from_millis(1);
    ENDS.store(true, Ordering::SeqCst);
    for _ in 0..TRIES {
        kill();
        // A thread that holds the lock may be removing the cgroup itself, or may never release it.
        if let Ok(mut children) = CHILDREN.try_lock() {
            match children.group.take() {
                Some(Ok(group)) => match Arc::try_unwrap(group) {
                    Ok(group) => {
                        // Whatever was started there meanwhile is noted by now.
                        kill();
                        return drop(group);
                    }
                    // A thread is starting a child there.
                    Err(group) => children.group = Some(Ok(group)),
                },
                _ => return,
            }
        }
        thread::sleep(PAUSE);
    }
}

/// Marks that a compile process runs or is about to start, until dropped.
#[derive(Debug)]
pub struct Compiling(());

impl Compiling {
    pub fn begins() -> Compiling {
        let mut children = children();
        children.compiling += 1;
        if children.compiling > children.most_compiling {
            children.most_compiling = children.compiling;
            children.adapt();
        }
        Compiling(())
    }

    /// Counts the bytes of an artifact, which stay in memory after the compile process has ended.
    pub fn made(&self, bytes: u64) {
        let mut children = children();
        children.made = children.made.saturating_add(bytes);
        children.adapt();
    }
}

impl Drop for Compiling {
    fn drop(&mut self) {
        let mut children = children();
        children.compiling = children.compiling.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(claims: &[Workers]) -> Registry {
        let claims = claims.iter().copied().enumerate().map(|(id, workers)| (id as u64, workers)).collect();
        Registry { group: None, claims, next: 0, compiling: 0, most_compiling: 1, made: 0 }
    }

    #[test]
    fn the_bound_is_what_all_may_honestly_take_together() {
        let none = registry(&[]).bounds();
        let call = TaskCall::default();
        let one = Workers::of(1, &call);
        assert!(one.each > call.limits.memory + (1 << 30));
        assert_eq!(registry(&[Workers { count: 3, ..one }]).bounds().memory, none.memory + 3 * one.each);
        assert_eq!(registry(&[one, one]).bounds().memory, none.memory + 2 * one.each);
        assert!(registry(&[one, one]).bounds().processes > registry(&[one]).bounds().processes);
        // A limit that the kernel would not accept is never set.
        let all = Workers { count: usize::MAX, each: u64::MAX };
        assert_eq!(registry(&[all, all]).bounds().memory, MOST);
    }

    #[test]
    fn the_cgroup_is_in_use_until_a_child_that_was_started_is_noted() {
        let room = Room::new(HostPlacement::Stays, Workers { count: 1, each: 1 << 30 });
        if let Err(why) = room.found() {
            return eprintln!("left out: there is no cgroup here: {why}");
        }
        let users = || children().group().map_or(0, Arc::strong_count);
        let before = users();
        let seen = start(
            || std::process::Command::new("true").spawn(),
            |mut child| {
                child.wait()?;
                Ok(users())
            },
        );
        assert!(seen.expect("it starts") > before, "it could be removed while nobody knows of the child");
        assert_eq!(users(), before);
    }

    #[test]
    fn a_scratch_directory_and_large_results_are_room_of_their_own() {
        let mut call = TaskCall::default();
        let plain = Workers::of(1, &call);
        call.given.scratch = Some("/s".to_owned());
        assert_eq!(Workers::of(1, &call).each, plain.each + call.limits.memory);
        call.limits.max_output *= 2;
        assert!(Workers::of(1, &call).each > plain.each + call.limits.memory + call.limits.max_output);
    }
}
