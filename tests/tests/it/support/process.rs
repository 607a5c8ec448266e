//! The program's processes, as `/proc` shows them.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::until;

/// A process, distinguished by its start time from a later one of the same number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    pub pid: i32,
    started: u64,
}

/// The fields of `/proc/PID/stat` that the tests use.
struct Stat {
    state: char,
    parent: i32,
    session: i32,
    ticks: u64,
    started: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may contain spaces and parentheses; the rest of the line contains no parenthesis.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        ticks: number(11)? + number(12)?,
        started: number(19)?,
    })
}

fn all() -> Vec<(i32, Stat)> {
    fs::read_dir("/proc")
        .expect("/proc is there")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?)))
        .collect()
}

/// Returns the children of a process from the kernel's own list, which is read in a fraction of the time that looking at
/// all processes takes. Where the kernel has no such list, all processes are looked at.
pub fn direct_children(pid: i32) -> Vec<Process> {
    if !PathBuf::from("/proc/thread-self/children").exists() {
        return descendants(pid);
    }
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().filter_map(Result::ok);
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let numbers: Vec<i32> =
        lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect();
    numbers.into_iter().filter_map(Process::living).collect()
}

impl Process {
    /// Returns the process of this number, if it lives. A zombie does not: it only waits for its parent to collect it.
    pub fn living(pid: i32) -> Option<Self> {
        let stat = stat(pid)?;
        (!matches!(stat.state, 'Z' | 'X')).then_some(Self { pid, started: stat.started })
    }

    pub fn lives(&self) -> bool {
        Self::living(self.pid).as_ref() == Some(self)
    }

    pub fn state(&self) -> Option<char> {
        Some(stat(self.pid)?.state)
    }

    /// Returns the processor time used so far, in clock ticks.
    pub fn ticks(&self) -> u64 {
        stat(self.pid).map_or(0, |stat| stat.ticks)
    }

    pub fn send(&self, signal: Signal) {
        if self.lives() {
            // It may end between the look and the signal; a test that depends on it looks again.
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }

    /// Reads a file of its `/proc` directory, as bytes.
    pub fn read(&self, file: &str) -> Vec<u8> {
        fs::read(format!("/proc/{}/{file}", self.pid)).expect("the process is there to be looked at")
    }

    pub fn link(&self, file: &str) -> PathBuf {
        fs::read_link(format!("/proc/{}/{file}", self.pid)).expect("the process is there to be looked at")
    }

    /// Returns its descriptors and what they lead to.
    pub fn descriptors(&self) -> Vec<(u32, PathBuf)> {
        let folder = format!("/proc/{}/fd", self.pid);
        let mut found: Vec<(u32, PathBuf)> = fs::read_dir(folder)
            .expect("the process is there to be looked at")
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let number = path.file_name()?.to_str()?.parse().ok()?;
                Some((number, fs::read_link(path).ok()?))
            })
            .collect();
        found.sort();
        found
    }

    /// Returns a line of `/proc/PID/status` that counts kB, converted to bytes.
    pub fn status_bytes(&self, key: &str) -> u64 {
        let status = String::from_utf8(self.read("status")).expect("status is text");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
            .unwrap_or_else(|| panic!("no {key} in {status}"));
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("kB");
        kilobytes * 1024
    }
}

/// Returns every living process below `pid`.
pub fn descendants(pid: i32) -> Vec<Process> {
    let all = all();
    let mut family = BTreeSet::from([pid]);
    loop {
        let before = family.len();
        family.extend(
            all.iter().filter(|(_, stat)| family.contains(&stat.parent)).map(|(pid, _)| *pid).collect::<Vec<_>>(),
        );
        if family.len() == before {
            break;
        }
    }
    family.remove(&pid);
    family.into_iter().filter_map(Process::living).collect()
}

/// Returns the workers of the host `pid`: those of its descendants that have no children of their own.
pub fn workers(pid: i32) -> Vec<Process> {
    let parents: BTreeSet<i32> = all().iter().map(|(_, stat)| stat.parent).collect();
    let mut found = descendants(pid);
    found.retain(|process| !parents.contains(&process.pid));
    found
}

/// Makes this process the parent of orphans instead of init, so that they are seen wherever they were started.
pub fn adopt_orphans() {
    // SAFETY: the call takes no pointers; it only sets where orphans of this process go.
    let done = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// Returns every living process of a session.
pub fn session(leader: i32) -> Vec<Process> {
    all().into_iter().filter(|(_, stat)| stat.session == leader).filter_map(|(pid, _)| Process::living(pid)).collect()
}

/// Waits for a worker of the host that computes: one that has used `ticks` more of processor time than when it was
/// first seen.
pub fn busy_worker(host: i32, ticks: u64) -> Process {
    let mut seen: Vec<(Process, u64)> = Vec::new();
    until("a worker that computes", || {
        for worker in workers(host) {
            match seen.iter().find(|(known, _)| *known == worker) {
                Some((_, at)) if worker.ticks() >= at + ticks => return Some(worker),
                Some(_) => {}
                None => {
                    let at = worker.ticks();
                    seen.push((worker, at));
                }
            }
        }
        None
    })
}
