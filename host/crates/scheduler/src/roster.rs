//! The workers, and what is asked of all of them at once: kept up to date as each changes, so that no answer takes longer
//! the more workers there are.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Config, DEPTH, Time, WorkerId};

/// What is known of a worker.
#[derive(Debug, Default)]
pub(super) struct Worker {
    pub ready: bool,
    /// It gets no new chunks.
    pub retiring: bool,
    /// Chunks it holds, the one in work first.
    pub chunks: VecDeque<u64>,
    /// Items of these that it has not answered.
    pub unanswered: u64,
    /// Items it may still be given.
    pub left: u64,
    /// Outcomes it delivered, and items it says it started, since its birth.
    pub finished: u64,
    pub started: u64,
    /// Its last try at an item, and tries seen since its last answer.
    pub attempt: u64,
    pub tries: u32,
    /// When the item in work began, or the last progress was seen.
    pub since: Time,
    /// What `since` was put off by while the worker waited for a processor, for this item.
    pub excused: Time,
    /// Since when it has been in items that nobody wants.
    pub unwanted_since: Option<Time>,
    /// The latest time at which the item in work is believed to have begun, and how many were answered when that was
    /// reckoned; see [`Worker::reckon`].
    pub latest: Time,
    pub reckoned: u64,
    /// Its item in work takes long: no chunk waits behind it.
    pub long: bool,
    /// It is on its way out, by an order: what it had answered by then.
    pub killed: Option<u64>,
    /// When its deadline is looked at next: never later than the deadline, but earlier where that was put off since.
    alarm: Option<Time>,
}

/// What of a worker matters to the counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct WorkerState {
    free: Option<usize>,
    spent: bool,
    staying: bool,
    busy: bool,
}

impl Worker {
    /// One that was not started yet, and may be given so many items.
    pub fn new(left: u64) -> Self {
        Worker { left, ..Worker::default() }
    }

    /// How long it may take for what it does.
    pub fn limit(&self, config: &Config) -> Time {
        if self.ready { config.timeout } else { config.start_timeout }
    }

    /// Begins to reckon, with nothing in work before this: `slack` is what it may take besides the time of items.
    pub fn reckon_anew(&mut self, slack: Time) {
        self.latest = self.since.saturating_add(slack);
        self.reckoned = self.finished;
        self.excused = Time::ZERO;
    }

    /// Reckons how late the item in work may be said to have begun. What items before it left of their time is added to that,
    /// but never beyond `slack`: so however a worker lies, it has for what it holds the time of as many items, and `slack`
    /// once.
    pub fn reckon(&mut self, timeout: Time, slack: Time) {
        let answered = self.finished - self.reckoned;
        if answered > 0 {
            let theirs = timeout.saturating_mul(u32::try_from(answered).unwrap_or(u32::MAX));
            let latest = self.latest.saturating_add(theirs);
            self.reckon_anew(slack);
            self.latest = self.latest.min(latest);
        }
    }

    /// Puts its deadline off by what is no fault of its own.
    pub fn put_off(&mut self, by: Time) {
        self.since = self.since.saturating_add(by);
        self.latest = self.latest.saturating_add(by);
    }

    fn standing(&self) -> WorkerState {
        let (alive, busy) = (self.killed.is_none(), !self.chunks.is_empty());
        WorkerState {
            free: (alive && self.ready && !self.retiring && !self.long).then_some(self.chunks.len()),
            spent: alive && self.ready && self.retiring && !busy,
            staying: alive && !self.retiring,
            busy: alive && busy,
        }
    }
}

/// All workers. See the module's head.
#[derive(Debug, Default)]
pub(super) struct WorkerTable {
    workers: BTreeMap<WorkerId, Worker>,
    /// Those that can take a chunk, by how many they hold.
    free: [BTreeSet<WorkerId>; DEPTH],
    /// Those that have done their share.
    spent: BTreeSet<WorkerId>,
    alarms: BTreeSet<(Time, WorkerId)>,
    /// How many will get more chunks, hold some, do both.
    staying: usize,
    busy: usize,
    staying_busy: usize,
}

impl WorkerTable {
    pub fn insert(&mut self, id: WorkerId, worker: Worker) {
        self.count(id, WorkerState::default(), worker.standing());
        self.workers.insert(id, worker);
    }

    pub fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        let worker = self.workers.remove(&id)?;
        self.count(id, worker.standing(), WorkerState::default());
        if let Some(at) = worker.alarm {
            self.alarms.remove(&(at, id));
        }
        Some(worker)
    }

    pub fn get(&self, id: WorkerId) -> Option<&Worker> {
        self.workers.get(&id)
    }

    /// A worker, to note how far it has come. Nothing may change that it is counted by, such as its chunks: that is what
    /// [`WorkerTable::change`] is for, which takes longer.
    pub fn progress(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.workers.get_mut(&id)
    }

    /// Changes a worker, and all that is known of all with it.
    pub fn change<R>(&mut self, id: WorkerId, change: impl FnOnce(&mut Worker) -> R) -> Option<R> {
        let worker = self.workers.get_mut(&id)?;
        let before = worker.standing();
        let result = change(worker);
        let after = worker.standing();
        if before != after {
            self.count(id, before, after);
        }
        Some(result)
    }

    fn count(&mut self, id: WorkerId, before: WorkerState, after: WorkerState) {
        let adjust = |number: &mut usize, was: bool, is: bool| *number = *number + usize::from(is) - usize::from(was);
        adjust(&mut self.staying, before.staying, after.staying);
        adjust(&mut self.busy, before.busy, after.busy);
        adjust(&mut self.staying_busy, before.staying && before.busy, after.staying && after.busy);
        if before.spent != after.spent && !self.spent.remove(&id) {
            self.spent.insert(id);
        }
        if before.free != after.free {
            if let Some(free) = before.free.and_then(|load| self.free.get_mut(load)) {
                free.remove(&id);
            }
            if let Some(free) = after.free.and_then(|load| self.free.get_mut(load)) {
                free.insert(id);
            }
        }
    }

    // ---- questions ---------------------------------------------------------------------------------------------------

    /// Workers that will get more chunks.
    pub fn staying(&self) -> usize {
        self.staying
    }

    /// Workers with items in work.
    pub fn busy(&self) -> usize {
        self.busy
    }

    /// Workers that have items in work and will get more.
    pub fn staying_busy(&self) -> usize {
        self.staying_busy
    }

    /// A worker that holds so many chunks and can take another.
    pub fn free(&self, load: usize) -> Option<WorkerId> {
        self.free.get(load)?.first().copied()
    }

    pub fn ids(&self) -> Vec<WorkerId> {
        self.workers.keys().copied().collect()
    }

    /// Those that stay beyond so many, the least loaded.
    pub fn surplus(&self, wanted: usize) -> Vec<WorkerId> {
        let staying = self.workers.iter().filter(|(_, worker)| worker.standing().staying);
        let mut staying: Vec<(usize, WorkerId)> = staying.map(|(&id, worker)| (worker.chunks.len(), id)).collect();
        staying.sort_unstable();
        staying.truncate(staying.len().saturating_sub(wanted));
        staying.into_iter().map(|(_, id)| id).collect()
    }

    /// A worker that has done its share and holds nothing.
    pub fn spent(&self) -> Option<WorkerId> {
        self.spent.first().copied()
    }

    /// Whether there is a worker. One that was ordered to end makes room by it.
    pub fn any_lives(&self) -> bool {
        !self.workers.is_empty()
    }

    /// Whether a worker is ready, and was not ordered to end.
    pub fn any_ready(&self) -> bool {
        self.busy > 0 || self.free.iter().any(|free| !free.is_empty())
    }

    /// Workers that are not ready.
    pub fn starting(&self) -> Vec<WorkerId> {
        self.workers.iter().filter(|(_, worker)| !worker.ready).map(|(&id, _)| id).collect()
    }

    // ---- alarms ------------------------------------------------------------------------------------------------------

    /// Has the worker's deadline looked at no later than `at`.
    pub fn alarm(&mut self, id: WorkerId, at: Time) {
        if let Some(worker) = self.workers.get_mut(&id)
            && worker.alarm.is_none_or(|set| at < set)
        {
            if let Some(set) = worker.alarm.replace(at) {
                self.alarms.remove(&(set, id));
            }
            self.alarms.insert((at, id));
        }
    }

    pub fn no_alarm(&mut self, id: WorkerId) {
        if let Some(set) = self.workers.get_mut(&id).and_then(|worker| worker.alarm.take()) {
            self.alarms.remove(&(set, id));
        }
    }

    pub fn next_alarm(&self) -> Option<Time> {
        self.alarms.first().map(|&(at, _)| at)
    }

    /// Workers whose alarm has come.
    pub fn due(&self, now: Time) -> Vec<WorkerId> {
        self.alarms.range(..=(now, WorkerId::MAX)).map(|&(_, id)| id).collect()
    }
}
