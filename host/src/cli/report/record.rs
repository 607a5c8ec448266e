//! What a run's supervisor reports, gathered in bounded memory while the run goes on.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::histogram::Histogram;
use super::spans::{FirstAndLast, Span, Spans};
use super::timeline::{Cell, Timeline};
use wasmpool_core::layer::LayerPart;
use wasmpool_core::outcome::{Failure, FailureKind};
use wasmpool_core::text::cut;
use wasmpool_ipc::lane::InstanceCounts;
use wasmpool_run::output::ItemOutcome;
use wasmpool_run::supervisor::WorkerNews;
use wasmpool_scheduler::WorkerId;

/// Maximum number of rows; workers beyond that share the last.
pub const MOST_ROWS: usize = 128;
/// Maximum number of chunks and of items that are kept one by one: those that took longest. A trace has more of them.
const SPANS: usize = 4_000;
const SPANS_OF_TRACE: usize = 50_000;
/// Maximum number of the first, and of the last, events and lives of workers.
const EVENTS: usize = 1_000;
/// Maximum number of different messages of a kind of failure that are kept, and of their characters and frames.
const MESSAGES: usize = 5;
const LONGEST_MESSAGE: usize = 600;
const FRAMES: usize = 8;
const LONGEST_FRAME: usize = 200;
/// Maximum number of chunks that a worker is known to have at a time.
const PENDING_CHUNKS: usize = 64;

/// An item that ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RanItem {
    pub index: u64,
    pub worker: WorkerId,
    pub failed: Option<FailureKind>,
}

/// A chunk that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RanChunk {
    pub first: u64,
    pub count: u64,
    pub worker: WorkerId,
}

/// The life of a worker process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    pub row: usize,
    pub worker: WorkerId,
    pub pid: u32,
    pub from: u64,
    /// The time at which it had loaded the task.
    pub ready: Option<u64>,
    /// The end of the last item that it answered and that was kept.
    pub answered: u64,
    /// `None` while it lives.
    pub to: Option<u64>,
}

/// Something that became of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunEvent {
    pub at: u64,
    pub row: usize,
    pub worker: WorkerId,
    pub what: EventKind,
    /// The item that it was running.
    pub item: Option<u64>,
    pub how: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A worker took the place of another.
    Restarted,
    /// A worker ended though nobody had asked it to.
    Died,
    /// A worker was ended because its item, or its start, took too long.
    Late,
}

/// Failures with the same message.
#[derive(Clone, Debug)]
pub struct FailureExample {
    pub message: String,
    /// The first item that failed so.
    pub index: u64,
    pub count: u64,
    pub trace: Vec<String>,
}

/// Failures of one kind.
#[derive(Clone, Debug, Default)]
pub struct FailuresOfKind {
    pub count: u64,
    /// The first messages that differ.
    pub examples: Vec<FailureExample>,
}

/// The record of one task's run.
#[derive(Debug)]
pub struct RunRecorder {
    start: Instant,
    workers: BTreeMap<WorkerId, Live>,
    /// The rows of workers on other machines.
    remote: BTreeMap<(String, WorkerId), usize>,
    rows: Vec<Row>,
    pending: Vec<WorkerId>,
    pub timeline: Timeline,
    pub times: Histogram,
    pub chunks: Spans<RanChunk>,
    pub items: Spans<RanItem>,
    pub events: FirstAndLast<RunEvent>,
    pub lives: FirstAndLast<Life>,
    pub failures: BTreeMap<FailureKind, FailuresOfKind>,
    pub done: u64,
    pub retried: u64,
    pub started: u64,
    pub died: u64,
    pub late: u64,
    pub instances: InstanceCounts,
    pub lacking: Vec<LayerPart>,
}

/// A row of the timeline: the place of one worker at a time.
#[derive(Clone, Debug, Default)]
pub struct Row {
    taken: bool,
    /// Number of workers that were there.
    pub workers: u64,
    /// What it is called, if not by its number.
    pub name: Option<String>,
}

/// A worker that lives.
#[derive(Debug)]
struct Live {
    life: Option<Life>,
    row: usize,
    is_remote: bool,
    chunks: VecDeque<SentChunk>,
    /// The end of the last chunk, and of the last item that was kept.
    idle_since: u64,
    items_until: u64,
    pending: Pending,
}

#[derive(Clone, Copy, Debug)]
struct SentChunk {
    first: u64,
    count: u64,
    at: u64,
}

/// What a worker has answered since the clock was looked at.
#[derive(Debug, Default)]
struct Pending {
    cell: Cell,
    /// Items, each with the time at which it had ended, counted from the first.
    items: Vec<(RanItem, u64, u64)>,
    chunks: Vec<(SentChunk, u64)>,
}

impl RunRecorder {
    /// Makes a recorder whose times count from this moment.
    pub fn new(start: Instant, traced: bool) -> RunRecorder {
        let spans = if traced { SPANS_OF_TRACE } else { SPANS };
        RunRecorder {
            start,
            workers: BTreeMap::new(),
            remote: BTreeMap::new(),
            rows: Vec::new(),
            pending: Vec::new(),
            timeline: Timeline::default(),
            times: Histogram::default(),
            chunks: Spans::at_most(spans),
            items: Spans::at_most(spans),
            events: FirstAndLast::at_most(EVENTS),
            lives: FirstAndLast::at_most(if traced { 4 * EVENTS } else { EVENTS }),
            failures: BTreeMap::new(),
            done: 0,
            retried: 0,
            started: 0,
            died: 0,
            late: 0,
            instances: InstanceCounts::default(),
            lacking: Vec::new(),
        }
    }

    /// Counts time from now on. Nothing has happened yet.
    pub fn begin(&mut self) {
        self.start = Instant::now();
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Takes a row that is free, or a new one; beyond the last, all share that.
    fn take_row(&mut self, name: Option<String>) -> usize {
        let free = self.rows.iter().position(|row| !row.taken && row.name == name);
        let row = free.unwrap_or(self.rows.len()).min(MOST_ROWS);
        if row == self.rows.len() {
            let name = if row == MOST_ROWS { Some("others".to_owned()) } else { name };
            self.rows.push(Row { name, ..Row::default() });
        }
        if let Some(row) = self.rows.get_mut(row) {
            row.taken = true;
            row.workers += 1;
        }
        row
    }

    /// Notes a chunk that a worker is given.
    pub fn sent(&mut self, worker: WorkerId, first: u64, count: u64) {
        let at = self.now();
        if let Some(live) = self.workers.get_mut(&worker)
            && live.chunks.len() < PENDING_CHUNKS
        {
            live.chunks.push_back(SentChunk { first, count, at });
        }
    }

    pub fn worker_ready(&mut self, worker: WorkerId) {
        let now = self.now();
        if let Some(live) = self.workers.get_mut(&worker) {
            live.idle_since = now;
            live.life.iter_mut().for_each(|life| life.ready = Some(now));
        }
    }

    pub fn worker_news(&mut self, worker: WorkerId, news: WorkerNews<'_>) {
        let now = self.now();
        let event =
            |row, what, item, how: &str| RunEvent { at: now, row, worker, what, item, how: cut(how, LONGEST_MESSAGE) };
        match news {
            WorkerNews::Started { pid, replaces, .. } => {
                self.started += 1;
                let row = self.take_row(None);
                if replaces.is_some() {
                    self.events.push(event(row, EventKind::Restarted, None, ""));
                }
                let life = Life { row, worker, pid, from: now, ready: None, answered: now, to: None };
                let live = Live {
                    life: Some(life),
                    row,
                    is_remote: false,
                    chunks: VecDeque::new(),
                    idle_since: now,
                    items_until: now,
                    pending: Pending::default(),
                };
                self.workers.insert(worker, live);
            }
            WorkerNews::Lost { item, how, .. } => {
                self.died += 1;
                if let Some(row) = self.ended(worker, now) {
                    self.events.push(event(row, EventKind::Died, item, how));
                }
            }
            WorkerNews::Late { item, .. } => {
                self.late += 1;
                if let Some(row) = self.ended(worker, now) {
                    self.events.push(event(row, EventKind::Late, item, ""));
                }
            }
            WorkerNews::Ended { .. } => {
                self.ended(worker, now);
            }
        }
    }

    /// Notes the end of a worker, whose row is free from now on. Returns the row.
    fn ended(&mut self, worker: WorkerId, now: u64) -> Option<usize> {
        self.settle(worker, now);
        let live = self.workers.remove(&worker)?;
        if let Some(row) = self.rows.get_mut(live.row).filter(|_| live.row < MOST_ROWS) {
            row.taken = false;
        }
        if let Some(life) = live.life {
            self.lives.push(Life { answered: live.items_until, to: Some(now), ..life });
        }
        Some(live.row)
    }

    /// Notes an outcome. This is called for each item, so it looks at no clock and stores what it can in sums.
    #[inline]
    pub fn outcome(&mut self, outcome: ItemOutcome<'_>) {
        let ItemOutcome { index, worker, host, attempts, elapsed, failure } = outcome;
        self.done += 1;
        self.retried += u64::from(attempts > 1);
        if let Some(failure) = failure {
            self.failed(index, failure);
        }
        let Some(worker) = worker else {
            return;
        };
        let elapsed = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.times.add(elapsed);
        let key = match host {
            None => worker,
            Some(host) => self.remote_key(host, worker),
        };
        let Some(live) = self.workers.get_mut(&key) else {
            return self.of_the_dead(index, worker, elapsed, failure);
        };
        if live.pending.cell == Cell::default() {
            self.pending.push(key);
        }
        let cell = &mut live.pending.cell;
        cell.busy = cell.busy.saturating_add(elapsed);
        cell.done += 1;
        cell.failed += u64::from(failure.is_some());
        if elapsed >= self.items.least() {
            let item = RanItem { index, worker, failed: failure.map(|failure| failure.kind) };
            live.pending.items.push((item, cell.busy, elapsed));
        } else {
            self.items.leave_out();
        }
        if live.is_remote {
            return;
        }
        while let Some(&chunk) = live.chunks.front() {
            match index.checked_sub(chunk.first) {
                Some(nth) if nth + 1 < chunk.count => break,
                Some(nth) if nth + 1 == chunk.count => {
                    live.pending.chunks.push((chunk, cell.busy));
                    live.chunks.pop_front();
                    break;
                }
                // It was given to another, or its rest was.
                _ => drop(live.chunks.pop_front()),
            }
        }
    }

    /// Returns the key of a worker of another machine.
    fn remote_key(&mut self, host: &str, worker: WorkerId) -> WorkerId {
        let known = self.remote.get(&(host.to_owned(), worker)).copied();
        let row = known.unwrap_or_else(|| {
            let row = self.take_row(Some(format!("{host} {}", worker.saturating_add(1))));
            self.remote.insert((host.to_owned(), worker), row);
            row
        });
        let key = WorkerId::try_from(row).unwrap_or(WorkerId::MAX);
        self.workers.entry(key).or_insert_with(|| Live {
            life: None,
            row,
            is_remote: true,
            chunks: VecDeque::new(),
            idle_since: 0,
            items_until: 0,
            pending: Pending::default(),
        });
        key
    }

    /// Notes an item whose worker was ended with it, or because of it.
    fn of_the_dead(&mut self, index: u64, worker: WorkerId, elapsed: u64, failure: Option<&Failure>) {
        let now = self.now();
        let life = self.lives.all().filter(|life| life.worker == worker).last().copied();
        let Some(Life { row, answered, to: Some(end), .. }) = life else {
            return;
        };
        let at = end.min(now);
        self.timeline.add(row, at, Cell { busy: elapsed, done: 1, failed: u64::from(failure.is_some()) });
        let what = RanItem { index, worker, failed: failure.map(|failure| failure.kind) };
        // It began after the items before it, whose ends are known only as late as they were heard of.
        let from = at.saturating_sub(elapsed).max(answered).min(at);
        self.items.push(Span { row, from, to: at, took: elapsed, what });
    }

    fn failed(&mut self, index: u64, failure: &Failure) {
        let of_kind = self.failures.entry(failure.kind).or_default();
        of_kind.count += 1;
        let message = cut(&failure.message, LONGEST_MESSAGE);
        let has_room = of_kind.examples.len() < MESSAGES;
        match of_kind.examples.iter_mut().find(|example| example.message == message) {
            Some(example) => example.count += 1,
            None if has_room => {
                let trace = failure.trace.iter().take(FRAMES).map(|frame| cut(frame, LONGEST_FRAME)).collect();
                of_kind.examples.push(FailureExample { message, index, count: 1, trace });
            }
            None => {}
        }
    }

    /// Looks at the clock, if anything was answered since.
    #[inline]
    pub fn tick(&mut self) {
        if !self.pending.is_empty() {
            let now = self.now();
            while let Some(worker) = self.pending.pop() {
                self.settle(worker, now);
            }
        }
    }

    /// Says of what a worker has answered that it has just done so.
    fn settle(&mut self, worker: WorkerId, now: u64) {
        let Some(live) = self.workers.get_mut(&worker) else {
            return;
        };
        let Pending { cell, items, chunks } = &mut live.pending;
        if *cell == Cell::default() {
            return;
        }
        let (cell, row) = (std::mem::take(cell), live.row);
        // What a worker says of its time may be anything.
        self.timeline.add(row, now, Cell { busy: cell.busy.min(now), ..cell });
        let at = |ended: u64| now.saturating_sub(cell.busy - ended);
        for (what, ended, elapsed) in items.drain(..) {
            // A worker runs one item at a time, whatever it says.
            let to = at(ended).max(live.items_until);
            let from = to.saturating_sub(elapsed).max(live.items_until);
            live.items_until = to;
            self.items.push(Span { row, from, to, took: elapsed, what });
        }
        for (chunk, ended) in chunks.drain(..) {
            let to = at(ended).max(chunk.at);
            let from = chunk.at.max(live.idle_since).min(to);
            live.idle_since = to;
            let SentChunk { first, count, .. } = chunk;
            self.chunks.push(Span::between(row, from, to, RanChunk { first, count, worker }));
        }
    }

    /// Ends the record: all workers have ended. Returns the time.
    pub fn end(&mut self) -> u64 {
        self.tick();
        let now = self.now();
        let left: Vec<WorkerId> = self.workers.keys().copied().collect();
        for worker in left {
            self.ended(worker, now);
        }
        now
    }
}
