//! What the supervisor tells of its workers: when something becomes of one, and when it is asked.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use wasmpool_sandbox::surroundings::ChildEnd;

/// Something that became of a worker process. Items are named by their index in the call that they belong to.
#[derive(Debug)]
pub enum WorkerNews<'a> {
    /// It was started. `handle` is its pidfd; `replaces` is the number of the process whose place it takes.
    Started { pid: u32, handle: BorrowedFd<'a>, replaces: Option<u32> },
    /// It ended though nobody had asked it to, under this item.
    Lost { pid: u32, item: Option<u64>, ended: ChildEnd, how: &'a str },
    /// It is ended because this item, or its start, took longer than it may.
    Late { pid: u32, item: Option<u64> },
    /// It has ended as it was told to, for another reason than that it was late.
    Ended { pid: u32 },
}

/// A worker process at the moment it was asked for.
#[derive(Clone, Debug)]
pub struct WorkerReport {
    pub pid: u32,
    /// True if it has loaded the task.
    pub ready: bool,
    /// The item that it is running, by its index in the call that it belongs to.
    pub item: Option<u64>,
    /// Time at which it began that item, delivered the last one, got ready, or was started.
    pub since: Instant,
}
