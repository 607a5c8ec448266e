//! Processes that a builder starts before they are asked for.
//!
//! Most of a start is the same whatever the process is for: the kernel executes the binary, and the process enters its
//! namespaces. A builder whose clones are started one after the other has the next process do that while the last one
//! runs. One that is started once costs no second process.

use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};

use super::program;
use wasmpool_run::cgroup::{HostPlacement, Room, Workers};
use wasmpool_run::scarce::start_thread;
use wasmpool_run::spawn::{ChildProgram, ChildRole};
use wasmpool_run::supervisor::SpareWorkers;

/// The process that waits for the next start of a builder or of one of its clones. Dropping this ends the process.
#[derive(Debug, Default)]
pub(super) struct ProcessAhead(Mutex<Ahead>);

#[derive(Debug, Default)]
struct Ahead {
    /// The process that this belongs to: one that is forked off has a copy without the thread and its children.
    owner: Option<u32>,
    /// Orders processes from the thread that starts them.
    keeper: Option<Keeper>,
    waiting: Option<(ChildProgram, SpareWorkers)>,
}

/// The thread that starts processes ahead of time. They die with it, so it lives as long as somebody has this.
pub(super) type Keeper = Sender<SpareWorkers>;

/// A process that is starting or was started, and the thread that must outlive it.
pub(super) struct StartedProcess {
    pub spares: SpareWorkers,
    pub keeper: Option<Keeper>,
}

impl ProcessAhead {
    /// Takes the process that waits, if it was started for the same, or starts one on the calling thread. From the
    /// second time on it has another started.
    pub fn take(&self, program: &ChildProgram, role: ChildRole, wanted: Workers) -> StartedProcess {
        // Whoever finds another at this, or a copy that was locked when it was forked off, does without.
        let Ok(mut ahead) = self.0.try_lock() else {
            return StartedProcess { spares: started(program, role, wanted), keeper: None };
        };
        let first = ahead.owner.replace(std::process::id()) != Some(std::process::id());
        if first {
            (ahead.keeper, ahead.waiting) = (None, None);
        }
        let usable = |(of, spares): &(ChildProgram, SpareWorkers)| spares.role() == role && program::same(of, program);
        let spares = match ahead.waiting.take().filter(usable) {
            Some((_, spares)) => {
                spares.room().widen(wanted);
                spares
            }
            None => started(program, role, wanted),
        };
        if !first {
            ahead.order(program, role, wanted);
        }
        StartedProcess { spares, keeper: ahead.keeper.clone() }
    }
}

impl Ahead {
    /// Has a process started. Does nothing if there is no room for the thread that would start it.
    fn order(&mut self, program: &ChildProgram, role: ChildRole, wanted: Workers) {
        let Some(keeper) = self.keeper.take().or_else(keeper) else {
            return;
        };
        let spares = SpareWorkers::new(program.clone(), role, Room::new(HostPlacement::Stays, wanted));
        spares.announce(1);
        if keeper.send(spares.clone()).is_ok() {
            self.waiting = Some((program.clone(), spares));
            self.keeper = Some(keeper);
        }
    }
}

fn started(program: &ChildProgram, role: ChildRole, wanted: Workers) -> SpareWorkers {
    SpareWorkers::started(program.clone(), role, 1, Room::new(HostPlacement::Stays, wanted))
}

/// Starts the thread, which ends once nobody can order from it and all that it started was given up.
fn keeper() -> Option<Keeper> {
    let (keeper, orders) = mpsc::channel::<SpareWorkers>();
    let keep = move || {
        for spares in orders {
            spares.start();
        }
    };
    start_thread("wasmpool-ahead", keep).ok().map(|_| keeper)
}
