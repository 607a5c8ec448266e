//! What a pool tells of its worker processes: its hook, as something becomes of one, and whoever asks for a list.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use wasmpool_run::supervisor::WorkerNews;

/// Something that became of a worker process; see [`PoolBuilder::on_worker_event`](crate::PoolBuilder::on_worker_event).
/// Workers that end with the pool are not told of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerEvent {
    /// It was started.
    #[non_exhaustive]
    Started {
        pid: u32,
        /// The process whose place it takes: one that was lost or late, or that has had as many items as it may.
        replaces: Option<u32>,
    },
    /// It ended though nobody had asked it to.
    #[non_exhaustive]
    Lost {
        pid: u32,
        /// The item that it was running, by its index in its call.
        item: Option<u64>,
        /// How it ended, in words.
        how: String,
    },
    /// It is ended because its item, or its start, takes longer than it may.
    #[non_exhaustive]
    Late {
        pid: u32,
        /// The item that it was running, by its index in its call; none if it did not get ready.
        item: Option<u64>,
    },
    /// It was ended for another reason: it has had as many items as it may, another function needs its place, or its
    /// item was cancelled.
    #[non_exhaustive]
    Ended { pid: u32 },
}

impl From<WorkerNews<'_>> for WorkerEvent {
    fn from(news: WorkerNews<'_>) -> WorkerEvent {
        match news {
            WorkerNews::Started { pid, replaces, .. } => WorkerEvent::Started { pid, replaces },
            WorkerNews::Lost { pid, item, how, .. } => WorkerEvent::Lost { pid, item, how: how.to_owned() },
            WorkerNews::Late { pid, item } => WorkerEvent::Late { pid, item },
            WorkerNews::Ended { pid } => WorkerEvent::Ended { pid },
        }
    }
}

/// A function of the user's that is told of events.
#[derive(Clone)]
pub(super) struct WorkerHook(pub Arc<dyn Fn(&WorkerEvent) + Send + Sync>);

impl fmt::Debug for WorkerHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorkerHook")
    }
}

/// The purpose of a child process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ProcessRole {
    /// It was started ahead of need, and has no task yet.
    Spare,
    /// It is loading its task.
    Starting,
    /// It runs items of a pool, or waits for some.
    Worker,
    /// It is a [`Process`](crate::Process).
    Process,
}

/// A child process as [`Pool::processes`](crate::Pool::processes) and [`active_children`](crate::active_children) list
/// it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessInfo {
    pub pid: u32,
    pub role: ProcessRole,
    /// The name of a [`Process`](crate::Process).
    pub name: Option<String>,
    /// The item that a worker is running, by its index in its call.
    pub item: Option<u64>,
    /// The time at which it began that item; without one, since when it has waited for one; else, when it was started.
    pub since: Instant,
}
