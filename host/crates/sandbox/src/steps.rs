//! Phases in the life of a process that have a filter of their own.

use serde::{Deserialize, Serialize};

use super::Openings;

/// Purpose of a sandboxed process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    Worker,
    /// A worker whose task imports WASI; it has one more thread, which drives timers.
    WorkerWithTimers,
    Compile,
    /// A compile process that runs a task's `init` once.
    CompileAndInit,
}

/// A phase in the life of a process. Its filter is added to the earlier ones, so it can only take away: whatever a
/// later step needs has to be in every step before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step(u16);

/// A worker from the arrival of its setup until its task is loaded.
pub const LOAD: Step = Step(1);
/// A worker that runs items.
pub const SERVE: Step = Step(2);
/// A compile process, all the time.
pub const COMPILE: Step = Step(4);
/// Threads are started: those that compile, or the one that drives timers. Later steps start none.
pub const STARTS: Step = Step(8);
/// Another step follows.
pub const NEXT: Step = Step(16);
/// The thread that drives timers runs.
pub const TIMERS: Step = Step(32);
/// WASI is linked and called in a compile process.
pub const INIT: Step = Step(64);

/// Directories are granted, or a scratch directory.
pub const FILES: Step = Step(128);
/// Some of the directories may be written to.
pub const WRITES: Step = Step(256);
/// Peers are granted.
pub const PEERS: Step = Step(512);

/// A worker, all the time.
pub const WORK: Step = LOAD.and(SERVE);
/// Every process, all the time.
pub const ALL: Step = WORK.and(COMPILE);

impl Step {
    /// Returns the first filtered step of a process. In it, the process loads or compiles, and waits for nothing more
    /// from strangers.
    pub fn loading(role: Role, openings: &Openings) -> Step {
        let step = match role {
            Role::Worker => LOAD,
            Role::WorkerWithTimers => LOAD.and(TIMERS).and(STARTS),
            Role::Compile => COMPILE.and(STARTS),
            Role::CompileAndInit => COMPILE.and(STARTS).and(TIMERS).and(INIT),
        };
        step.and(NEXT).with(openings)
    }

    /// Returns the last step of a process: a worker's task is loaded, or a compile process has all its threads.
    pub fn serving(role: Role, openings: &Openings) -> Step {
        let step = match role {
            Role::Worker => SERVE,
            Role::WorkerWithTimers => SERVE.and(TIMERS),
            Role::Compile => COMPILE,
            Role::CompileAndInit => COMPILE.and(TIMERS).and(INIT),
        };
        step.with(openings)
    }

    fn with(self, openings: &Openings) -> Step {
        let when = |granted: bool, more: Step| if granted { more } else { Step(0) };
        self.and(when(openings.files(), FILES))
            .and(when(openings.writing(), WRITES))
            .and(when(!openings.ports.is_empty(), PEERS))
    }

    pub const fn and(self, other: Step) -> Step {
        Step(self.0 | other.0)
    }

    pub fn overlaps(self, other: Step) -> bool {
        self.0 & other.0 != 0
    }
}
