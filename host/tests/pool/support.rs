//! Pools whose workers are the command under test, and their processes.

use std::fs;
use std::process::Command;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use wasmpool::{Pool, PoolBuilder, Task};

pub const SQUARES: &str = "examples/squares.wat";
/// A task that returns its item, except for negative ones, for which it runs without end.
pub const SPIN: &str = "examples/spin.wat";
pub const POWER: &str = "examples/power.wat";
pub const DIVIDE: &str = "examples/divide.wat";
pub const COUNTER: &str = "examples/counter.wat";
pub const OFFSET: &str = "examples/offset.wat";
pub const ECHO: &str = "examples/echo.wat";
pub const TWO: &str = "examples/two.wat";

/// `work(i64) -> i64`: counts up to its item, and returns it.
pub const COUNT_TO: &str = r#"
(module
  (func (export "work") (param i64) (result i64)
    (local $i i64)
    (loop $l
      (local.set $i (i64.add (local.get $i) (i64.const 1)))
      (br_if $l (i64.lt_u (local.get $i) (local.get 0))))
    (local.get $i)))"#;

pub fn builder(task: impl Into<Task>) -> PoolBuilder {
    // Longer than any test should wait.
    Pool::builder(task).worker_binary(env!("CARGO_BIN_EXE_wasmpool")).timeout(Duration::from_secs(600))
}

pub fn pool(task: impl Into<Task>) -> Pool {
    builder(task).workers(2).build().expect("the pool is built")
}

/// An environment variable that is set when a test runs as a process of its own.
pub const INNER: &str = "POOL_TEST_INNER";

/// Runs a test in a process of its own, with another environment.
pub fn again(test: &str, change: impl FnOnce(&mut Command)) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(INNER, "1");
    change(&mut command);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

static MACHINE: RwLock<()> = RwLock::new(());

/// Returns a lock for tests that count processes, where all tests share one process.
pub fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(|e| e.into_inner())
}

pub fn beside_others() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(|e| e.into_inner())
}

/// Waits until `look` returns something, and fails if it never does.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(120), "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A worker process: a child of this process without children of its own. A child that only makes a namespace has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Worker(pub i32);

fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok())
        .flat_map(|line| line.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>())
        .collect()
}

/// Returns all living workers below this process.
pub fn workers() -> Vec<Worker> {
    let own = i32::try_from(std::process::id()).expect("a number of a process");
    let mut found: Vec<Worker> = children(own).into_iter().map(Worker).filter(|w| w.lives()).collect();
    found.sort();
    found
}

impl Worker {
    fn stat(self) -> Option<Vec<String>> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.0)).ok()?;
        Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
    }

    pub fn lives(self) -> bool {
        self.stat().is_some_and(|fields| !matches!(fields.first().map(String::as_str), Some("Z" | "X")))
    }

    /// Returns the processor time used so far, in clock ticks.
    pub fn ticks(self) -> u64 {
        let number = |i: usize| self.stat().and_then(|f| f.get(i)?.parse::<u64>().ok()).unwrap_or(0);
        number(11) + number(12)
    }

    pub fn kill(self) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.0), nix::sys::signal::Signal::SIGKILL)
            .expect("it can be killed");
    }
}

/// Waits until `count` workers are computing.
pub fn busy(count: usize) -> Vec<Worker> {
    let mut seen: Vec<(Worker, u64)> = Vec::new();
    until("workers that compute", || {
        for worker in workers() {
            if !seen.iter().any(|(known, _)| *known == worker) {
                seen.push((worker, worker.ticks()));
            }
        }
        // More processor time than loading a task takes.
        let found: Vec<Worker> =
            seen.iter().filter(|(w, ticks)| w.lives() && w.ticks() > ticks + 5).map(|(w, _)| *w).collect();
        (found.len() >= count).then_some(found)
    })
}

/// Returns the resident memory of this process, without what is mapped from files.
pub fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("RssAnon");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("kB") << 10
}
