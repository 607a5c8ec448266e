//! Phases in the life of a process that have a filter of their own.

use serde::{Deserialize, Serialize};

use super::SandboxOpenings;

/// Purpose of a sandboxed process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProcessRole {
    Worker,
    /// A worker whose task imports WASI; it has one more thread, which drives timers.
    WorkerWithTimers,
    Compile,
    /// A compile process that runs a task's `init` once.
    CompileAndInit,
    /// The process that keeps the shared objects. It runs no task.
    Manager,
}

/// A phase in the life of a process. Its filter is added to the earlier ones, so it can only take away: whatever a
/// later step needs has to be in every step before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessStage(u16);

/// A worker from the arrival of its setup until its task is loaded.
pub const LOAD: ProcessStage = ProcessStage(1);
/// A worker that runs items.
pub const SERVE: ProcessStage = ProcessStage(2);
/// A compile process, all the time.
pub const COMPILE: ProcessStage = ProcessStage(4);
/// Threads are started: those that compile, or the one that drives timers. Later steps start none.
pub const STARTS: ProcessStage = ProcessStage(8);
/// Another step follows.
pub const NEXT: ProcessStage = ProcessStage(16);
/// The thread that drives timers runs.
pub const TIMERS: ProcessStage = ProcessStage(32);
/// WASI is linked and called in a compile process.
pub const INIT: ProcessStage = ProcessStage(64);

/// Directories are granted, or a scratch directory.
pub const FILES: ProcessStage = ProcessStage(128);
/// Some of the directories may be written to.
pub const WRITES: ProcessStage = ProcessStage(256);
/// Peers are granted.
pub const PEERS: ProcessStage = ProcessStage(512);

/// The process that keeps the shared objects, all the time.
pub const MANAGE: ProcessStage = ProcessStage(1024);

/// A worker, all the time.
pub const WORK: ProcessStage = LOAD.and(SERVE);
/// Every process that reads a task, all the time.
pub const TASKS: ProcessStage = WORK.and(COMPILE);
/// Every process, all the time.
pub const ALL: ProcessStage = TASKS.and(MANAGE);

impl ProcessStage {
    /// Returns the first filtered step of a process. In it, the process loads or compiles, and waits for nothing more
    /// from strangers.
    pub fn loading(role: ProcessRole, openings: &SandboxOpenings) -> ProcessStage {
        let step = match role {
            ProcessRole::Worker => LOAD,
            ProcessRole::WorkerWithTimers => LOAD.and(TIMERS).and(STARTS),
            ProcessRole::Compile => COMPILE.and(STARTS),
            ProcessRole::CompileAndInit => COMPILE.and(STARTS).and(TIMERS).and(INIT),
            ProcessRole::Manager => MANAGE,
        };
        step.and(NEXT).with(openings)
    }

    /// Returns the last step of a process: a worker's task is loaded, a compile process has all its threads, or the
    /// manager has nothing left to open.
    pub fn serving(role: ProcessRole, openings: &SandboxOpenings) -> ProcessStage {
        let step = match role {
            ProcessRole::Worker => SERVE,
            ProcessRole::WorkerWithTimers => SERVE.and(TIMERS),
            ProcessRole::Compile => COMPILE,
            ProcessRole::CompileAndInit => COMPILE.and(TIMERS).and(INIT),
            ProcessRole::Manager => MANAGE,
        };
        step.with(openings)
    }

    fn with(self, openings: &SandboxOpenings) -> ProcessStage {
        let when = |granted: bool, more: ProcessStage| if granted { more } else { ProcessStage(0) };
        self.and(when(openings.files(), FILES))
            .and(when(openings.writing(), WRITES))
            .and(when(!openings.ports.is_empty(), PEERS))
    }

    pub const fn and(self, other: ProcessStage) -> ProcessStage {
        ProcessStage(self.0 | other.0)
    }

    pub fn overlaps(self, other: ProcessStage) -> bool {
        self.0 & other.0 != 0
    }
}
