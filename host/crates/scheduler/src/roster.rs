//! The table of workers. Questions about all of them are answered from sums that are updated whenever one of them
//! changes, so that no answer takes longer if there are more workers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{DEPTH, LONG, LONG_PART, SchedulerConfig, Time, WorkerId};

/// State of a worker.
#[derive(Debug, Default)]
pub(super) struct RosterEntry {
    pub ready: bool,
    /// True if it gets no new chunks.
    pub retiring: bool,
    /// Chunks it holds; the one in work is first.
    pub chunks: VecDeque<u64>,
    /// Number of items in these chunks that it has not answered.
    pub unanswered: u64,
    /// Number of items that it may still be given.
    pub left: u64,
    /// Number of outcomes that it delivered, and number of items that it claims to have started, since its start.
    pub finished: u64,
    pub started: u64,
    /// Number of its latest try at an item, and number of tries seen since its last answer.
    pub attempt: u64,
    pub tries: u32,
    /// Time at which the item in work began, or the last progress was seen.
    pub since: Time,
    /// Time that an item of the chunk in work may take.
    pub timeout: Time,
    /// Time that the items may have taken that were answered since `latest` was computed.
    pub granted: Time,
    /// Time that was added to `since` for this item because the worker waited for a processor.
    pub excused: Time,
    /// Time since which all its items in work have been ones that nobody wants.
    pub unwanted_since: Option<Time>,
    /// The latest time at which the item in work is believed to have begun, and the number of answered items when that
    /// was computed; see [`RosterEntry::reckon`].
    pub latest: Time,
    pub reckoned: u64,
    /// True if its item in work takes long; no chunk waits behind it.
    pub long: bool,
    /// Number of items that it had answered when it was ordered to end, if it was.
    pub killed: Option<u64>,
    /// True if it was ordered to end because it took too long.
    pub overran: bool,
    /// Time of the next check of its deadline: never later than the deadline, and earlier if the deadline has been
    /// extended since.
    alarm: Option<Time>,
}

/// The part of a worker's state that the table's sums depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct WorkerState {
    free: Option<usize>,
    spent: bool,
    staying: bool,
    busy: bool,
}

impl RosterEntry {
    /// Returns a worker that has not been started yet and may be given `left` items.
    pub fn new(left: u64, timeout: Time) -> Self {
        RosterEntry { left, timeout, ..RosterEntry::default() }
    }

    /// Returns how long it may take for what it is doing.
    pub fn limit(&self, config: &SchedulerConfig) -> Time {
        if self.ready { self.timeout } else { config.start_timeout }
    }

    /// Returns how long an item may be in work before chunks no longer wait behind it.
    pub fn patience(&self) -> Time {
        LONG.min(self.timeout / LONG_PART)
    }

    /// Starts a new computation of `latest` with no earlier item taken into account. `slack` is the time that the
    /// worker may take in addition to the time of items.
    pub fn reckon_anew(&mut self, slack: Time) {
        self.latest = self.since.saturating_add(slack);
        self.reckoned = self.finished;
        self.granted = Time::ZERO;
        self.excused = Time::ZERO;
    }

    /// Computes the latest time at which the item in work may be said to have begun. Time that earlier items did not
    /// use is added, but never more than `slack`. However a worker lies, it thus gets the time of the items that it
    /// holds, and `slack` once.
    pub fn reckon(&mut self, slack: Time) {
        if self.finished > self.reckoned {
            let latest = self.latest.saturating_add(self.granted);
            self.reckon_anew(slack);
            self.latest = self.latest.min(latest);
        }
    }

    /// Extends its deadline for a reason that is not its own fault.
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

/// All workers. See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct WorkerTable {
    workers: BTreeMap<WorkerId, RosterEntry>,
    /// Workers that can take a chunk, by the number of chunks they hold.
    free: [BTreeSet<WorkerId>; DEPTH],
    /// Workers that have run as many items as they may.
    spent: BTreeSet<WorkerId>,
    alarms: BTreeSet<(Time, WorkerId)>,
    /// Number of workers that will get more chunks, that hold some, and that do both.
    staying: usize,
    busy: usize,
    staying_busy: usize,
}

impl WorkerTable {
    pub fn insert(&mut self, id: WorkerId, worker: RosterEntry) {
        self.count(id, WorkerState::default(), worker.standing());
        self.workers.insert(id, worker);
    }

    pub fn remove(&mut self, id: WorkerId) -> Option<RosterEntry> {
        let worker = self.workers.remove(&id)?;
        self.count(id, worker.standing(), WorkerState::default());
        if let Some(at) = worker.alarm {
            self.alarms.remove(&(at, id));
        }
        Some(worker)
    }

    pub fn get(&self, id: WorkerId) -> Option<&RosterEntry> {
        self.workers.get(&id)
    }

    /// Returns a worker so that its progress can be recorded. Fields that the sums depend on, such as its chunks, must
    /// not be changed this way: use [`WorkerTable::change`] for them, which takes longer.
    pub fn progress(&mut self, id: WorkerId) -> Option<&mut RosterEntry> {
        self.workers.get_mut(&id)
    }

    /// Changes a worker, and updates the sums.
    pub fn change<R>(&mut self, id: WorkerId, change: impl FnOnce(&mut RosterEntry) -> R) -> Option<R> {
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

    /// Returns the number of workers that will get more chunks.
    pub fn staying(&self) -> usize {
        self.staying
    }

    /// Returns the number of workers with items in work.
    pub fn busy(&self) -> usize {
        self.busy
    }

    /// Returns the number of workers that have items in work and will get more.
    pub fn staying_busy(&self) -> usize {
        self.staying_busy
    }

    /// Returns a worker that holds `load` chunks and can take another.
    pub fn free(&self, load: usize) -> Option<WorkerId> {
        self.free.get(load)?.first().copied()
    }

    pub fn ids(&self) -> Vec<WorkerId> {
        self.workers.keys().copied().collect()
    }

    /// Returns the workers that stay beyond the wanted number, the least loaded first.
    pub fn surplus(&self, wanted: usize) -> Vec<WorkerId> {
        if self.staying <= wanted {
            return Vec::new();
        }
        let staying = self.workers.iter().filter(|(_, worker)| worker.standing().staying);
        let mut staying: Vec<(usize, WorkerId)> = staying.map(|(&id, worker)| (worker.chunks.len(), id)).collect();
        staying.sort_unstable();
        staying.truncate(staying.len().saturating_sub(wanted));
        staying.into_iter().map(|(_, id)| id).collect()
    }

    /// Returns a worker that has run as many items as it may, and holds nothing.
    pub fn spent(&self) -> Option<WorkerId> {
        self.spent.first().copied()
    }

    /// Returns true if there is a worker, even one that was ordered to end: it makes room by ending.
    pub fn any_lives(&self) -> bool {
        !self.workers.is_empty()
    }

    /// Returns true if a worker is ready and was not ordered to end.
    pub fn any_ready(&self) -> bool {
        self.busy > 0 || self.free.iter().any(|free| !free.is_empty())
    }

    /// Returns the workers that are not ready.
    pub fn starting(&self) -> Vec<WorkerId> {
        self.workers.iter().filter(|(_, worker)| !worker.ready).map(|(&id, _)| id).collect()
    }

    // ---- alarms ------------------------------------------------------------------------------------------------------

    /// Schedules a check of the worker's deadline no later than `at`.
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

    /// Returns workers whose check is due.
    pub fn due(&self, now: Time) -> Vec<WorkerId> {
        self.alarms.range(..=(now, WorkerId::MAX)).map(|&(_, id)| id).collect()
    }
}
