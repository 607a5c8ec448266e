//! Decides which worker runs which items, and when. A pure state machine, without I/O and without a clock.
//!
//! Events go in as method calls ([`Scheduler::input`], [`Scheduler::outcome`], [`Scheduler::worker_lost`], …), orders
//! come out of [`Scheduler::next_action`]. Time is whatever the caller says it is, so a test can drive the machine
//! through millions of schedules. It promises, in every schedule:
//!
//! * every item taken from the input gets exactly one outcome;
//! * a worker's loss costs the item it was running and no other: outcomes before it are kept, items after it are sent
//!   again;
//! * an item that killed two workers is not given to a third;
//! * in ordered runs outcomes are emitted by index;
//! * as long as one worker lives, losing others or failing to start them does not end the run;
//! * bytes read but not yet written stay within [`SchedulerConfig::window`], except for the item that is next in order;
//! * the cost of an event does not grow with the number of workers.
//!
//! A chunk is identified by the index of its first item. The caller keeps the bytes of items and outcomes; the
//! scheduler keeps only their sizes.

#![forbid(unsafe_code)]

mod roster;
mod setback;
pub mod shares;
mod sizing;
mod terms;
#[cfg(test)]
mod tests;
mod unwanted;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use roster::{RosterEntry, WorkerTable};
use setback::{FailedStart, StartFailures};
#[allow(unused_imports, reason = "the simulation does not use `pause`")]
pub use setback::{PATIENCE, pause};
pub use sizing::ChunkSize;
use sizing::ChunkSizer;
#[allow(unused_imports, reason = "the simulation does not use it")]
pub use terms::ItemTerms;
use terms::PendingItems;
use unwanted::{GRACE, UnwantedItems};

use wasmpool_core::outcome::FailureKind;
use wasmpool_core::policy::{Halt, HaltWhen, RETRY_ON};

/// Time since the start of the run, as reported by the caller.
pub type Time = Duration;
/// Number of a worker process; numbers are not reused within a run.
pub type WorkerId = u32;

/// Time in which a worker has to become ready, which normally takes milliseconds. If `init` runs during the start, its
/// time limit is added.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Number of times a chunk may come back without any of its items having started. After that, its first item is blamed.
const MAX_BOUNCES: u32 = 3;
/// Number of workers that one item may kill: the second might have died by chance, and a third is not tried.
const MAX_KILLS: u32 = 2;
/// Number of chunks a worker holds: one in work, and one waiting so that the worker is never idle between two.
const DEPTH: usize = 2;
/// Maximum time that an item may wait for a processor beyond its timeout, as a multiple of the timeout.
const MOST_EXCUSED: u32 = 9;
/// Time between items that a worker is believed to need, for example to wake up and to clean up after an item. Any
/// further time that it claims is taken from the time of its items.
const SLACK: Duration = Duration::from_secs(4);
/// Bytes of items that a worker has to read from its lane per second. Reading more slowly takes time from the item.
const INPUT_RATE: u64 = 4 << 20;
/// Once an item has been in work for this long, or for this fraction of its timeout, chunks that wait behind it are
/// taken back.
const LONG: Duration = Duration::from_millis(100);
const LONG_PART: u32 = 4;
/// Limit on bytes that are read and not yet written: `WINDOW + workers × WINDOW_PER_WORKER`.
const WINDOW: usize = 2 << 20;
const WINDOW_PER_WORKER: usize = 512 << 10;
/// The time limit of items that is kept elsewhere: none that is ever met here.
const ELSEWHERE: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// Bytes that an item costs in addition to its contents.
const ITEM_OVERHEAD: usize = 16;

/// Settings of a run as far as the scheduler needs them.
#[derive(Clone, Debug)]
pub struct SchedulerConfig {
    pub workers: usize,
    pub ordered: bool,
    pub chunk: ChunkSize,
    /// True if a chunk is one call. When its worker dies, the chunk is halved until the guilty item is alone.
    pub batch: bool,
    /// Number of times that an item is run again after a failure of a kind in `retry_on`.
    pub retries: u32,
    pub retry_on: BTreeSet<FailureKind>,
    /// Failures that end the run.
    pub halt: Option<Halt>,
    /// True if the run may be resumed: items that [`HaltWhen::Now`] cuts off get no outcome, and nothing after such an
    /// item is emitted.
    pub resumable: bool,
    /// Number of items after which a worker is replaced.
    pub max_items_per_worker: Option<u64>,
    /// Wall time of one item.
    pub timeout: Duration,
    /// Time in which a worker has to become ready.
    pub start_timeout: Duration,
    /// Limit on the bytes of all items that are read and not yet written.
    pub window: usize,
    /// True if a worker is a slot on other machines. It holds one chunk at a time, of more work. When it is lost, what was
    /// lost is not one process but perhaps a machine, under any of the items: the chunk is halved until the guilty one is
    /// alone. The time of items is measured elsewhere.
    pub slots: bool,
}

impl SchedulerConfig {
    /// Returns the terms of items that come without any of their own.
    pub fn terms(&self) -> ItemTerms {
        ItemTerms { chunk: self.chunk, retries: self.retries, timeout: self.timeout }
    }

    /// Returns the settings that follow from an item's timeout and the number of workers, and the simplest values for
    /// all others.
    pub fn of_limits(timeout: Duration, workers: usize) -> SchedulerConfig {
        SchedulerConfig {
            workers,
            ordered: true,
            chunk: ChunkSize::Auto,
            batch: false,
            retries: 0,
            retry_on: RETRY_ON.into(),
            halt: None,
            resumable: false,
            max_items_per_worker: None,
            timeout,
            start_timeout: START_TIMEOUT,
            window: window(workers),
            slots: false,
        }
    }

    /// Returns the settings for slots on other machines, of which there are none at first.
    pub fn over_hosts(self) -> SchedulerConfig {
        // Workers are replaced where they are.
        let max_items_per_worker = None;
        SchedulerConfig { workers: 0, max_items_per_worker, timeout: ELSEWHERE, window: window(0), slots: true, ..self }
    }
}

/// Returns the window for this many workers: see [`SchedulerConfig::window`].
pub fn window(workers: usize) -> usize {
    WINDOW + workers * WINDOW_PER_WORKER
}

/// The reason why an item has an outcome that no worker delivered.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub enum Blame {
    /// Its worker died while running it.
    WorkerLost,
    /// It did not end within this time, and its worker had to be killed.
    Timeout(Duration),
    /// The run was halted before it ended or began, or nobody wanted it any more.
    Cancelled,
}

/// Kind of outcome that a worker delivered, as far as the scheduler needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeEnd {
    /// A value.
    Final,
    /// A failure, which another try may avoid.
    Failed(FailureKind),
}

/// Instruction on what to do with an outcome that was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Keep it with this chunk: it is the item's outcome.
    Keep { chunk: u64, index: u64, attempts: u32 },
    /// Forget it; the item runs again. The items from `index` on are now chunks of their own: `index` alone, and the
    /// items after it.
    Retry { chunk: u64, index: u64 },
    /// The worker holds no item that could have an outcome: it violated the protocol.
    Unexpected,
}

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkInHand {
    /// True if it has loaded the task.
    pub ready: bool,
    /// The item that it is running.
    pub item: Option<u64>,
    /// Time at which it began that item, delivered the last one, got ready, or was started.
    pub since: Time,
}

/// Message of the panic if a count does not fit into 32 bits.
const FEW: &str = "what is handed over at once is fewer than 2^32 items";

/// An order to the caller.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub enum Action {
    /// Start a worker process.
    Spawn(WorkerId),
    /// Give the worker `count` items, beginning with `chunk`. Items that were never sent before come from the head of
    /// the input.
    Send { worker: WorkerId, chunk: u64, count: u32 },
    /// Take the next `count` items from the head of the input as `chunk`; no worker is given them.
    Skip { chunk: u64, count: u32 },
    /// Kill the worker. The loss is reported back like any other.
    Kill(WorkerId),
    /// Let the worker end: it has run as many items as it may.
    Retire(WorkerId),
    /// The worker's item takes long. If the worker has not begun `chunk`, which waits behind that item, make sure that
    /// it never will, and call [`Scheduler::taken_back`].
    TakeBack { worker: WorkerId, chunk: u64 },
    /// The items of `chunk` from index `at` on are now a chunk of their own, identified by `at`.
    Split { chunk: u64, at: u64 },
    /// Record this outcome for the next item of `chunk`.
    Settle { chunk: u64, index: u64, blame: Blame, worker: Option<WorkerId>, attempts: u32, elapsed: Duration },
    /// Print what `chunk` has gathered since the last time. If `done`, it is complete and will not be mentioned again.
    Emit { chunk: u64, done: bool },
    /// Give up: no worker lives, and repeated attempts to start one have failed.
    GiveUp,
}

#[derive(Debug)]
struct Chunk {
    count: u32,
    /// Number of outcomes that are known; they belong to the first items.
    done: u32,
    attempts: u32,
    /// Number of workers that died while running its first item without having been killed by an order.
    kills: u32,
    bounces: u32,
    /// Bytes of its items, and of its outcomes, that the caller holds.
    input: usize,
    held: usize,
    /// True if it has gathered something since it was last emitted.
    fresh: bool,
    worker: Option<WorkerId>,
    terms: ItemTerms,
}

impl Chunk {
    /// Returns a chunk of items that no worker has been given yet.
    fn new(count: u32, input: usize, terms: ItemTerms) -> Chunk {
        Chunk { count, done: 0, attempts: 1, kills: 0, bounces: 0, input, held: 0, fresh: false, worker: None, terms }
    }
}

/// The state machine. See the module's documentation.
#[derive(Debug)]
pub struct Scheduler {
    config: SchedulerConfig,
    sizer: ChunkSizer,
    actions: VecDeque<Action>,
    workers: WorkerTable,
    next_worker: WorkerId,
    setback: StartFailures,
    /// Items that were read and not yet given out.
    pending: PendingItems,
    pending_bytes: usize,
    next_index: u64,
    end_of_input: bool,
    /// Chunks whose outcomes have not all been emitted.
    window: BTreeMap<u64, Chunk>,
    /// Chunks that came back from a lost worker.
    returned: BTreeSet<u64>,
    /// Chunks with something to emit (unordered runs).
    fresh: Vec<u64>,
    unwanted: UnwantedItems,
    /// Bytes of the chunks in the window, and bytes of outcomes that are emitted and not yet written.
    held: usize,
    unwritten: usize,
    stopping: bool,
    given_up: bool,
    /// True if items come as they are asked for; see [`Scheduler::serve_on_demand`].
    on_demand: bool,
    /// True if, on demand, the items belong to several callers.
    several_callers: bool,
    /// True if there are no more items for now.
    lull: bool,
    /// Number of workers that are started before it is known whether there is work for them.
    ahead: usize,
    /// Number of workers that may be started until [`Scheduler::allow_starts`] is called again, and whether more are
    /// wanted now.
    starts_left: usize,
    wants_starts: bool,
    /// True if the run has to wait for a worker to become ready, even without any item.
    needs_proof: bool,
    /// On demand, the number of workers that are kept even if there is no work for them.
    standing: usize,
    /// Number of slots that may be used beside those which make room for items.
    slots_ahead: usize,
    /// Number of items that have their outcome, and of those that failed.
    done: u64,
    failed: u64,
    halted: Option<Halt>,
    /// The latest time that was reported.
    now: Time,
}

impl Scheduler {
    pub fn new(config: SchedulerConfig) -> Self {
        Scheduler {
            sizer: if config.slots { ChunkSizer::of_slots() } else { ChunkSizer::new() },
            config,
            actions: VecDeque::new(),
            workers: WorkerTable::default(),
            next_worker: 0,
            setback: StartFailures::default(),
            pending: PendingItems::default(),
            pending_bytes: 0,
            next_index: 0,
            end_of_input: false,
            window: BTreeMap::new(),
            returned: BTreeSet::new(),
            fresh: Vec::new(),
            unwanted: UnwantedItems::default(),
            held: 0,
            unwritten: 0,
            stopping: false,
            given_up: false,
            on_demand: false,
            several_callers: false,
            lull: false,
            ahead: usize::MAX,
            starts_left: usize::MAX,
            wants_starts: false,
            needs_proof: false,
            standing: 0,
            slots_ahead: 0,
            done: 0,
            failed: 0,
            halted: None,
            now: Time::ZERO,
        }
    }

    /// Switches from reading one input to serving callers on demand, for as long as there are any. No more items are
    /// taken in advance than workers need for their next chunks ([`Scheduler::wanted`]), so that a caller who comes
    /// later does not wait for everything that came earlier. Workers are started as there is work for them, and are
    /// then kept.
    pub fn serve_on_demand(&mut self) {
        self.on_demand = true;
        self.sizer.serve_on_demand();
    }

    /// Sets how many workers are started before it is known whether there is work for them. All others are started as items
    /// come, and never more than there are chunks for.
    pub fn start_ahead(&mut self, workers: usize) {
        self.ahead = workers;
    }

    /// Allows this many starts of workers until the next call, so that what happens meanwhile is heard between them.
    pub fn allow_starts(&mut self, count: usize) {
        self.starts_left = count;
    }

    /// Returns true if more workers would have been started if that had been allowed.
    pub fn wants_starts(&self) -> bool {
        self.wants_starts
    }

    /// Has an input without any item end only once a worker was ready: whether the task can be used must not depend on
    /// the input. On demand nothing is known of an input.
    pub fn require_ready_worker(&mut self) {
        self.needs_proof = !self.on_demand;
    }

    fn waits_for_proof(&self) -> bool {
        self.needs_proof && !self.stopping && !self.given_up && self.config.workers > 0
    }

    /// On demand, has all workers started now that may run, rather than when there is work for them.
    pub fn stand_by(&mut self) {
        self.standing = self.config.workers;
    }

    /// On demand, tells whether the present items belong to several callers. If so, no chunk waits behind another: the
    /// only item of one caller could otherwise wait behind one that never ends.
    pub fn several_callers(&mut self, several: bool) {
        self.several_callers = several;
    }

    // ---- events ------------------------------------------------------------------------------------------------------

    /// Reports that items were read, with their sizes in bytes, in order.
    pub fn input(&mut self, sizes: &[u32]) {
        self.input_on(sizes, self.config.terms());
    }

    /// Reports that items were read, as [`Scheduler::input`] does; they have terms of their own.
    pub fn input_on(&mut self, sizes: &[u32], terms: ItemTerms) {
        if self.stopping {
            return;
        }
        self.lull = false;
        let timeout = if self.config.slots { ELSEWHERE } else { terms.timeout };
        self.pending.extend(sizes, ItemTerms { timeout, ..terms });
        self.pending_bytes += sizes.iter().map(|&s| s as usize + ITEM_OVERHEAD).sum::<usize>();
    }

    /// Reports that there are no more items for now. The items that are there are divided among the workers as at the
    /// end of the input, without waiting for more.
    pub fn input_pauses(&mut self) {
        self.lull = true;
    }

    /// Sets the number of workers that may run from now on. Surplus workers finish what they were given; with 0, none
    /// stays.
    pub fn set_workers(&mut self, workers: usize) {
        self.config.workers = workers;
        self.standing = self.standing.min(workers);
        self.retire_surplus();
    }

    /// Sets the number of slots that may be used from now on, and of those that may be beside them. These are for chunks that
    /// take so little time that more of them are on their way, and they make no room for more items.
    pub fn set_slots(&mut self, slots: usize, ahead: usize) {
        self.config.window = window(slots);
        self.slots_ahead = ahead;
        self.set_workers(slots);
    }

    fn retire_surplus(&mut self) {
        for id in self.workers.surplus(self.most_workers()) {
            self.workers.change(id, |worker| worker.retiring = true);
        }
    }

    /// Returns the number of workers, or of slots, that may be used at a time.
    fn most_workers(&self) -> usize {
        self.config.workers + self.slots_ahead
    }

    /// Returns true if no worker may run.
    pub fn allows_no_worker(&self) -> bool {
        self.config.workers == 0
    }

    /// Reports that there are no more items.
    pub fn input_ended(&mut self) {
        self.end_of_input = true;
    }

    /// Adds items whose outcomes are known from an earlier run, with the number of bytes that they print as. This,
    /// [`Scheduler::restore`] and [`Scheduler::go_on_at`] are called before any input, if the run resumes another.
    pub fn restore_done(&mut self, first: u64, end: u64, held: usize) {
        let count = u32::try_from(end - first).expect(FEW);
        self.held += held;
        self.window
            .insert(first, Chunk { done: count, held, fresh: true, ..Chunk::new(count, 0, self.config.terms()) });
        self.fresh.push(first);
    }

    /// Adds items of an earlier run that are still to be run although items after them have known outcomes. Takes their
    /// sizes, in order.
    pub fn restore(&mut self, first: u64, sizes: &[u32]) {
        let count = u32::try_from(sizes.len()).expect(FEW);
        self.unwanted.remove(first..first + u64::from(count));
        let input = sizes.iter().map(|&size| size as usize + ITEM_OVERHEAD).sum();
        self.held += input;
        self.window.insert(first, Chunk::new(count, input, self.config.terms()));
        self.returned.insert(first);
        // It is not known yet how long the items take, so none should wait behind another.
        let each = match self.config.chunk {
            ChunkSize::Auto => 1,
            ChunkSize::Fixed(count) => u64::from(count),
        };
        let (mut key, end) = (first, first + u64::from(count));
        while key + each < end {
            self.split(key, key + each);
            key += each;
            self.returned.insert(key);
        }
    }

    /// Sets the index of the first item of the input to come.
    pub fn go_on_at(&mut self, index: u64) {
        self.next_index = index;
    }

    /// Reports that a worker has loaded the task and waits for items.
    pub fn worker_ready(&mut self, id: WorkerId, now: Time) {
        self.setback.ready();
        self.needs_proof = false;
        self.now = self.now.max(now);
        // A worker that reports this again gains no time by it.
        if self.workers.get(id).is_none_or(|worker| worker.ready) {
            return;
        }
        self.workers.change(id, |worker| {
            worker.ready = true;
            worker.since = now;
            worker.excused = Duration::ZERO;
        });
        // The deadline of the start no longer applies; what comes now gets its own.
        self.workers.no_alarm(id);
    }

    /// Forgets the workers that are not ready, and returns them. This does not count as failed starts; other workers
    /// take their place.
    pub fn forget_starting(&mut self) -> Vec<WorkerId> {
        let starting = self.workers.starting();
        for &id in &starting {
            self.workers.remove(id);
        }
        starting
    }

    /// Reports what a worker's status page says: that it has answered or is running its `started`th item, and that its
    /// `attempt`th try began at `since`.
    ///
    /// The worker may lie. A start is believed once for each answer, never later than now, never earlier than what was
    /// seen before, and never so late that the items that the worker holds would get more than their time: see
    /// [`RosterEntry::reckon`].
    pub fn observed(&mut self, id: WorkerId, attempt: u64, started: u64, since: Time, now: Time) {
        let batch = self.config.batch;
        let slack = self.slack_of(id);
        self.workers.change(id, |worker| {
            worker.started = started;
            // If the worker is being killed for being late, what it begins meanwhile changes nothing.
            if attempt <= worker.attempt || worker.killed.is_some() {
                return;
            }
            worker.attempt = attempt;
            worker.tries += 1;
            // Only a batch is tried twice without an answer: as a whole, and then its first item.
            if worker.tries <= if batch { 2 } else { 1 } {
                worker.reckon(slack);
                worker.since = since.clamp(worker.since, now.min(worker.latest).max(worker.since));
            }
        });
    }

    /// Returns the time that a worker may take in addition to the time of the items in its first chunk. A batch is
    /// tried as a whole first, which gets the time of one more item.
    fn slack_of(&self, id: WorkerId) -> Duration {
        let front = || self.workers.get(id).and_then(|worker| self.window.get(worker.chunks.front()?));
        match self.config.batch && front().is_some_and(|chunk| chunk.count - chunk.done > 1) {
            true => self.config.timeout.saturating_add(SLACK),
            false => SLACK,
        }
    }

    /// Returns workers whose deadline may have come. Before [`Scheduler::tick`], look at their status pages and call
    /// [`Scheduler::observed`].
    pub fn due(&self, now: Time) -> Vec<WorkerId> {
        self.workers.due(now)
    }

    /// Returns true if the worker's current item, or its start, is out of time as far as is known.
    pub fn is_late(&self, id: WorkerId, now: Time) -> bool {
        self.workers.get(id).is_some_and(|w| {
            let at_work = !w.ready || !w.chunks.is_empty();
            at_work && w.killed.is_none() && now.saturating_sub(w.since) >= w.limit(&self.config)
        })
    }

    /// Returns true if a worker has not reported yet that it is ready.
    pub fn is_starting(&self, id: WorkerId) -> bool {
        self.workers.get(id).is_some_and(|worker| !worker.ready)
    }

    /// Returns the item whose outcome a worker sends next.
    pub fn next_answer(&self, id: WorkerId) -> Option<u64> {
        let key = *self.workers.get(id)?.chunks.front()?;
        Some(key + u64::from(self.window.get(&key)?.done))
    }

    /// Returns what a worker is doing, as far as its status page was last looked at.
    pub fn work_of(&self, id: WorkerId) -> Option<WorkInHand> {
        let worker = self.workers.get(id)?;
        let item = self.next_answer(id).filter(|_| worker.ready && worker.started > worker.finished);
        Some(WorkInHand { ready: worker.ready, item, since: worker.since })
    }

    /// Returns true if a worker gets no more items, and is not ordered to end yet.
    pub fn is_retiring(&self, id: WorkerId) -> bool {
        self.workers.get(id).is_some_and(|worker| worker.retiring && worker.killed.is_none())
    }

    /// Returns true if a worker was ordered to end because it overran its time: not because nobody wants its items.
    pub fn overran(&self, id: WorkerId) -> bool {
        self.workers.get(id).is_some_and(|worker| worker.killed.is_some() && worker.overran)
    }

    /// Reports that a worker waited for a processor for `waited` since this was last called: an overloaded machine is
    /// not the item's fault. The time that is excused is limited, because a machine may stay overloaded.
    pub fn excuse(&mut self, id: WorkerId, waited: Duration, now: Time) {
        let slack = self.slack_of(id);
        self.workers.change(id, |worker| {
            worker.reckon(slack);
            let most = worker.timeout.saturating_mul(MOST_EXCUSED).saturating_sub(worker.excused);
            let excused = waited.min(now.saturating_sub(worker.since)).min(most);
            worker.put_off(excused);
            worker.excused += excused;
        });
    }

    /// Reports that a worker read this many bytes of items while none was in work. The time of a large item begins when
    /// all of it has arrived, so the bytes extend the deadline by as long as they may take. Bytes that a worker
    /// delivers extend nothing: an outcome is complete, or the item has not ended.
    pub fn progress(&mut self, id: WorkerId, bytes: u64, now: Time) {
        self.workers.change(id, |worker| {
            if worker.started <= worker.finished {
                let took = Duration::from_micros(bytes.saturating_mul(1_000_000) / INPUT_RATE);
                worker.put_off(took.min(now.saturating_sub(worker.since)));
            }
        });
    }

    /// Reports that a worker delivered the outcome of its next item, after `elapsed`.
    #[inline(always)]
    pub fn outcome(&mut self, id: WorkerId, ending: OutcomeEnd, elapsed: Duration, now: Time) -> Verdict {
        self.now = self.now.max(now);
        let Some(worker) = self.workers.progress(id) else {
            return Verdict::Unexpected;
        };
        let Some((key, chunk)) = worker.chunks.front().and_then(|&key| Some((key, self.window.get_mut(&key)?))) else {
            return Verdict::Unexpected;
        };
        worker.finished += 1;
        worker.granted = worker.granted.saturating_add(worker.timeout);
        worker.unanswered = worker.unanswered.saturating_sub(1);
        worker.tries = 0;
        worker.since = worker.since.max(now);
        let was_long = worker.long;
        // The worker may lie, and no item takes longer than its timeout.
        self.sizer.measured(elapsed.min(chunk.terms.timeout));
        let index = key + u64::from(chunk.done);
        let attempts = chunk.attempts;
        // That it killed its worker is an outcome only of a slot, whose workers are others'.
        let killed = self.config.slots && ending == OutcomeEnd::Failed(FailureKind::WorkerLost);
        let kills = u32::from(killed) + if index == key { chunk.kills } else { 0 };
        let again = matches!(ending, OutcomeEnd::Failed(kind)
            if attempts <= chunk.terms.retries && self.config.retry_on.contains(&kind))
            && !(killed && kills >= MAX_KILLS);
        if !again {
            chunk.done += 1;
            self.done += 1;
            if !chunk.fresh {
                chunk.fresh = true;
                self.fresh.push(key);
            }
        }
        if chunk.done == chunk.count {
            chunk.worker = None;
            self.workers.change(id, |worker| worker.chunks.pop_front());
            self.take_up_terms(id);
        }
        if was_long {
            self.workers.change(id, |worker| worker.long = false);
            self.set_alarm(id);
        }
        if again {
            self.take_out(id, key, index, kills);
        }
        if !self.unwanted.is_empty() {
            self.note_unwanted(id, now);
        }
        if again {
            return Verdict::Retry { chunk: key, index };
        }
        Verdict::Keep { chunk: key, index, attempts }
    }

    /// Reports that a worker process ended, for whatever reason. All outcomes that it had delivered must have been
    /// reported before. `killed` says that it was ended by SIGKILL.
    pub fn worker_lost(&mut self, id: WorkerId, killed: bool, now: Time) {
        self.now = self.now.max(now);
        let Some(worker) = self.workers.remove(id) else {
            return;
        };
        if !worker.ready {
            let dud = match (worker.killed, killed) {
                (Some(_), _) => FailedStart::Late,
                (None, true) => FailedStart::Killed,
                (None, false) => FailedStart::Ended,
            };
            self.setback.dud(dud, self.workers.any_ready(), now);
        }
        // If the worker was killed for being late with an item, that item is to blame, whatever the status page says.
        // If the worker answered it meanwhile, the next item is not to blame.
        let timed_out = worker.killed == Some(worker.finished);
        let in_work = timed_out || (worker.killed.is_none() && worker.started > worker.finished);
        let excused = if worker.reckoned == worker.finished { worker.excused } else { Duration::ZERO };
        let elapsed = self.now.saturating_sub(worker.since) + excused;
        for (position, &key) in worker.chunks.iter().enumerate() {
            self.give_back(id, key, position == 0, in_work, timed_out, elapsed);
        }
    }

    /// Reports that a slot was lost, and whether its chunk is to blame. All outcomes that came must have been reported
    /// before.
    pub fn slot_lost(&mut self, id: WorkerId, blamed: bool, now: Time) {
        if blamed {
            // As if it had begun the next item.
            self.workers.change(id, |worker| worker.started = worker.finished + 1);
        }
        self.worker_lost(id, false, now);
    }

    /// Reports that the outcome that was kept last is a failure.
    pub fn failed(&mut self) {
        self.failed += 1;
    }

    /// Reports that emitted bytes have left the program.
    pub fn written(&mut self, bytes: usize) {
        self.unwritten = self.unwritten.saturating_sub(bytes);
    }

    /// Takes no more input, and forgets items that no worker has been given: every item before a certain one gets its
    /// outcome, and none after it.
    pub fn stop(&mut self) {
        self.stopping = true;
        self.end_of_input = true;
        self.pending.clear();
        self.pending_bytes = 0;
    }

    /// Reports that time has passed, and checks deadlines. Call [`Scheduler::observed`] for the workers that are
    /// [`Scheduler::due`] first. Also report the time before each round of orders: the time of what is given out in
    /// that round counts from then on.
    pub fn tick(&mut self, now: Time) {
        self.now = self.now.max(now);
        self.setback.tick(now);
        for id in self.workers.due(now) {
            self.workers.no_alarm(id);
            let waits_for_output = self.throttled(id);
            let config = &self.config;
            let action = self.workers.change(id, |worker| {
                if worker.ready && (worker.chunks.is_empty() || waits_for_output) {
                    worker.put_off(now.saturating_sub(worker.since));
                }
                let passed = now.saturating_sub(worker.since);
                if worker.killed.is_some() {
                    return None;
                }
                let unwanted = worker.unwanted_since.is_some_and(|since| now.saturating_sub(since) >= GRACE);
                if unwanted || passed >= worker.limit(config) {
                    worker.killed = Some(worker.finished);
                    worker.overran = !unwanted;
                    return Some(Action::Kill(id));
                }
                let long = worker.ready && passed >= worker.patience();
                let was_long = std::mem::replace(&mut worker.long, long);
                let behind = worker.chunks.get(1).copied().filter(|_| worker.long && !was_long);
                behind.map(|chunk| Action::TakeBack { worker: id, chunk })
            });
            self.actions.extend(action.flatten());
            self.set_alarm(id);
        }
    }

    /// Schedules a check of the worker's deadline, if it has one.
    fn set_alarm(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get(id)
            && worker.killed.is_none()
            && (!worker.ready || !worker.chunks.is_empty())
        {
            let limit = worker.limit(&self.config);
            let next = if worker.ready && !worker.long { worker.patience().min(limit) } else { limit };
            let next = worker.since.saturating_add(next);
            let unwanted = worker.unwanted_since.map(|since| since.saturating_add(GRACE));
            self.workers.alarm(id, unwanted.map_or(next, |at| at.min(next)));
        }
    }

    /// Records the terms of the chunk that a worker has in work, which are another's where it has begun the next.
    fn take_up_terms(&mut self, id: WorkerId) {
        let front = self.workers.get(id).and_then(|worker| self.window.get(worker.chunks.front()?));
        if let Some(timeout) = front.map(|chunk| chunk.terms.timeout) {
            self.workers.change(id, |worker| worker.timeout = timeout);
        }
    }

    /// Reports that a worker will not begin this chunk, which waited behind another. The chunk goes to another worker.
    pub fn taken_back(&mut self, id: WorkerId, key: u64) {
        let Some(chunk) = self.window.get_mut(&key) else {
            return;
        };
        let count = u64::from(chunk.count);
        let taken = self.workers.change(id, |worker| {
            let waits = worker.chunks.len() > 1 && worker.chunks.back() == Some(&key);
            if waits {
                worker.chunks.pop_back();
                worker.unanswered -= count;
                worker.left += count;
            }
            waits
        });
        if taken == Some(true) {
            chunk.worker = None;
            self.returned.insert(key);
        }
    }

    // ---- questions ---------------------------------------------------------------------------------------------------

    /// Returns the time at which to call [`Scheduler::tick`] at the latest. The call may find nothing to do: a deadline
    /// that was extended is noticed only when the old one comes.
    pub fn next_deadline(&self) -> Option<Time> {
        self.workers.next_alarm().into_iter().chain(self.setback.next_try()).min()
    }

    /// Returns true if items that are read will have outcomes, that is, unless the scheduler was told to stop.
    pub fn takes_input(&self) -> bool {
        !self.stopping
    }

    /// Returns true if more items should be read now.
    pub fn wants_input(&self) -> bool {
        !self.end_of_input
            && self.wanted() > 0
            && self.pending_bytes < self.read_ahead()
            && self.held + self.unwritten + self.pending_bytes < self.config.window
    }

    /// Returns the number of items that should be read now, regardless of their size. On demand it is a chunk for each
    /// worker, because more items are available at any time.
    pub fn wanted(&self) -> usize {
        match self.on_demand {
            true => {
                let usual = self.sizer.usual(self.config.chunk) * self.config.workers.max(1);
                usual.saturating_sub(self.pending.len()).max(self.missing())
            }
            false => usize::MAX,
        }
    }

    /// Returns how many items the next chunk lacks, where its size is fixed and items of its terms may follow.
    fn missing(&self) -> usize {
        match self.pending.first() {
            Some((count, terms, false)) => self.sizer.missing(terms.chunk, count),
            _ => 0,
        }
    }

    /// Returns true if the outcomes of a worker should be left with it for now, because the window is full and the
    /// worker does not have the next outcome.
    #[inline]
    pub fn throttled(&self, id: WorkerId) -> bool {
        if self.unwritten >= self.config.window {
            return true;
        }
        if !self.config.ordered || self.held + self.unwritten < self.config.window {
            return false;
        }
        // As long as another worker has the first chunk, that chunk will come. If no worker has it, one must become
        // free for it.
        matches!(self.window.first_key_value(), Some((_, Chunk { worker: Some(head), .. })) if *head != id)
    }

    /// Returns true if every item has its outcome and everything was emitted.
    pub fn finished(&self) -> bool {
        self.end_of_input && self.pending.is_empty() && self.window.is_empty() && !self.waits_for_proof()
    }

    /// Returns true if this worker has more than one item to answer, so that it may finish one and begin the next
    /// without being sent anything.
    pub fn has_several_in_work(&self, id: WorkerId) -> bool {
        self.workers.get(id).is_some_and(|worker| worker.unanswered > 1)
    }

    /// Returns true if the run may soon have to wait for output, so that it should be told immediately what has been
    /// written.
    pub fn short_of_room(&self) -> bool {
        self.held + self.unwritten + self.pending_bytes > self.config.window / 2
    }

    /// Returns the number of items read so far.
    pub fn items(&self) -> u64 {
        self.next_index + self.pending.len() as u64
    }

    /// Returns the policy that has ended the run.
    pub fn halted(&self) -> Option<Halt> {
        self.halted
    }

    /// Returns the next order that follows from the events so far.
    pub fn next_action(&mut self) -> Option<Action> {
        // Items that this cancels are accounted for before they are emitted.
        if self.actions.is_empty() {
            self.drop_unwanted();
        }
        if self.actions.is_empty() {
            self.halt();
            self.emit();
            self.dispatch();
            self.staff();
        }
        self.actions.pop_front()
    }

    // ---- the work ----------------------------------------------------------------------------------------------------

    /// Ends the run if too many items have failed.
    fn halt(&mut self) {
        let met = |halt: &Halt| halt.is_met(self.done, self.failed);
        if let Some(halt) = self.config.halt.filter(met) {
            self.halt_by(halt);
        }
    }

    /// Ends the run because of failures in this run or in another one. Only the first call counts.
    pub fn halt_by(&mut self, halt: Halt) {
        if self.halted.is_some() {
            return;
        }
        self.halted = Some(halt);
        self.stop();
        if halt.manner == HaltWhen::Now {
            self.cut_short();
        }
    }

    /// Ends the run immediately, because nothing can run any more.
    pub fn give_up(&mut self) {
        self.stop();
        self.cut_short();
    }

    /// Kills running workers. Items that were given out and have no outcome are cancelled or, in a resumable run, left
    /// to the run that resumes it.
    fn cut_short(&mut self) {
        self.returned.clear();
        for id in self.workers.ids() {
            let killed = self.workers.change(id, |worker| {
                worker.chunks.clear();
                worker.unanswered = 0;
                worker.killed.replace(worker.finished).is_none()
            });
            if killed == Some(true) {
                self.actions.push_back(Action::Kill(id));
            }
        }
        if self.config.resumable {
            self.emit();
            self.window.clear();
            return;
        }
        let keys: Vec<u64> = self.window.keys().copied().collect();
        for key in keys {
            let left = self.window.get(&key).map_or(0, |chunk| chunk.count - chunk.done);
            let attempts = self.window.get(&key).map_or(0, |chunk| chunk.attempts);
            for _ in 0..left {
                self.settle(key, Blame::Cancelled, None, attempts, Duration::ZERO);
            }
        }
    }

    fn read_ahead(&self) -> usize {
        (256 << 10) + self.config.workers * (64 << 10)
    }

    /// Starts workers: as many as are asked for, but no more than there is work for.
    fn staff(&mut self) {
        if self.given_up {
            return;
        }
        let busy = self.workers.staying_busy();
        // On demand, each caller may have chosen another size.
        let chunk = match self.config.chunk {
            ChunkSize::Fixed(count) if !self.on_demand => usize::try_from(count).unwrap_or(usize::MAX).max(1),
            ChunkSize::Auto | ChunkSize::Fixed(_) => 1,
        };
        let work = busy + self.pending.len().div_ceil(chunk) + self.returned.len();
        let wanted = match (self.end_of_input, self.on_demand) {
            (true, _) => work.max(usize::from(self.waits_for_proof())),
            (false, true) => self.standing.max(work),
            // Before it is known how long the input is, workers are started while it is being read.
            (false, false) => self.ahead.max(work),
        }
        .min(self.most_workers());
        self.standing = self.standing.max(wanted);
        let missing = wanted.saturating_sub(self.workers.staying());
        let (lives, ready) = (self.workers.any_lives(), self.workers.any_ready());
        if wanted > 0 && self.setback.is_hopeless(lives, ready, self.now) {
            self.given_up = true;
            self.actions.push_back(Action::GiveUp);
            return;
        }
        let may = self.setback.allowed(missing);
        self.wants_starts = may > self.starts_left;
        for _ in 0..may.min(self.starts_left) {
            self.starts_left -= 1;
            let id = self.next_worker;
            self.next_worker += 1;
            let left = self.config.max_items_per_worker.unwrap_or(u64::MAX).max(1);
            self.workers.insert(id, RosterEntry::new(left, self.config.timeout));
            self.actions.push_back(Action::Spawn(id));
        }
    }

    /// Reports that a worker that was ordered could not be started. Starts are tried again, one at a time, and the run
    /// continues with the workers there are. `passes` says whether the cause may go away soon.
    pub fn spawn_failed(&mut self, id: WorkerId, passes: bool, now: Time) {
        self.now = self.now.max(now);
        self.workers.remove(id);
        let workers = &mut self.workers;
        // If there is no room for one worker, there is none for the ones ordered after it.
        self.actions.retain(|action| match action {
            Action::Spawn(other) => workers.remove(*other).is_none(),
            _ => true,
        });
        self.setback.refused(passes, self.workers.any_lives(), now);
    }

    /// Reports that a worker that was ordered has been started, so that its time to become ready begins.
    pub fn worker_spawned(&mut self, id: WorkerId, now: Time) {
        self.setback.started(now);
        self.workers.change(id, |worker| worker.since = now);
        self.set_alarm(id);
    }

    /// Gives chunks to workers that can take one, the least loaded first.
    fn dispatch(&mut self) {
        for load in 0..DEPTH {
            // A second chunk waits behind the first only if that is a matter of milliseconds. On demand, items vary
            // more. So there, all items have to belong to one caller, all workers that may run have to be busy, and
            // more items have to be coming, so that no worker could have taken the chunk instead.
            let may_queue = self.sizer.may_queue() && (!self.on_demand || self.one_caller_has_enough());
            if load > 0 && (self.config.slots || !may_queue) {
                break;
            }
            while let Some(id) = self.workers.free(load) {
                // A replacement that is ready early waits until the worker it replaces has finished.
                if load == 0 && self.workers.busy() >= self.most_workers() {
                    break;
                }
                let left = self.workers.get(id).map_or(0, |w| w.left);
                let Some((chunk, count)) = self.next_chunk(left) else {
                    break;
                };
                self.hand_over(id, chunk, count);
            }
        }
        while let Some(id) = self.workers.spent() {
            self.workers.change(id, |worker| worker.killed = Some(worker.finished));
            self.actions.push_back(Action::Retire(id));
        }
    }

    fn one_caller_has_enough(&self) -> bool {
        !self.several_callers && !self.lull && self.workers.busy() >= self.config.workers
    }

    fn hand_over(&mut self, id: WorkerId, key: u64, count: u32) {
        if let Some(chunk) = self.window.get_mut(&key) {
            chunk.worker = Some(id);
        }
        let now = self.now;
        let timeout = self.window.get(&key).map_or(self.config.timeout, |chunk| chunk.terms.timeout);
        let slack = if self.config.batch && count > 1 { timeout.saturating_add(SLACK) } else { SLACK };
        self.workers.change(id, |worker| {
            if worker.chunks.is_empty() {
                worker.timeout = timeout;
                worker.since = worker.since.max(now);
                worker.reckon_anew(slack);
            }
            worker.chunks.push_back(key);
            worker.unanswered += u64::from(count);
            worker.left -= u64::from(count);
            worker.retiring = worker.left == 0;
        });
        self.set_alarm(id);
        self.actions.push_back(Action::Send { worker: id, chunk: key, count });
    }

    /// Returns the next chunk to run, of at most `most` items. A chunk that came back goes before a new one.
    fn next_chunk(&mut self, most: u64) -> Option<(u64, u32)> {
        // The items after the previous chunk may be unwanted.
        self.drop_unwanted();
        if let Some(key) = self.returned.pop_first() {
            let count = self.window.get(&key)?.count;
            if u64::from(count) > most {
                self.split(key, key + most);
                self.returned.insert(key + most);
            }
            return Some((key, self.window.get(&key)?.count));
        }
        let full = self.held + self.unwritten >= self.config.window;
        if self.pending.is_empty() || (full && !self.window.is_empty()) {
            return None;
        }
        // If the size of chunks is fixed, a full chunk is waited for as long as there is room to read more.
        if !self.lull && self.missing() > 0 && self.wants_input() {
            return None;
        }
        let share = match self.end_of_input || self.lull {
            true => self.pending.len().div_ceil(2 * self.config.workers.max(1)),
            false => usize::MAX,
        };
        let (alike, terms, _) = self.pending.first()?;
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(alike);
        let count = self.sizer.cut(terms.chunk, self.pending.sizes(), most, share);
        let bytes = self.pending.remove(count);
        let input = bytes + count * ITEM_OVERHEAD;
        self.pending_bytes -= input;
        let key = self.next_index;
        let count = u32::try_from(count).expect(FEW);
        self.next_index += u64::from(count);
        self.held += input;
        self.window.insert(key, Chunk::new(count, input, terms));
        Some((key, count))
    }

    /// Splits the items of `key` from index `at` on into a chunk of their own, and tells the caller.
    fn split(&mut self, key: u64, at: u64) {
        if self.cut_off(key, at) {
            self.actions.push_back(Action::Split { chunk: key, at });
        }
    }

    /// Splits the items of `key` from index `at` on into a chunk of their own, which no worker has.
    fn cut_off(&mut self, key: u64, at: u64) -> bool {
        if let Some(chunk) = self.window.get_mut(&key) {
            let rest = chunk.count - u32::try_from(at - key).unwrap_or(chunk.count);
            if rest == 0 || at == key {
                return false;
            }
            // Sizes of single items are not kept; the share by number is close enough for a limit.
            let input = (chunk.input as u64 * u64::from(rest) / u64::from(chunk.count)) as usize;
            chunk.count -= rest;
            chunk.input -= input;
            if chunk.done == chunk.count && !chunk.fresh {
                // Its last outcome may have been emitted before it was known to be the last.
                chunk.fresh = true;
                self.fresh.push(key);
            }
            // Bounces count for the first item, and the rest has a first item of its own.
            let (attempts, terms) = (chunk.attempts, chunk.terms);
            let rest = Chunk { attempts, ..Chunk::new(rest, input, terms) };
            self.window.insert(at, rest);
            return true;
        }
        false
    }

    /// Removes the item `index` from the chunk that `id` is running, so that it can be run again. The worker continues
    /// with the items after it. `kills` is the number of workers that the item has killed.
    fn take_out(&mut self, id: WorkerId, key: u64, index: u64, kills: u32) {
        let Some(end) = self.window.get(&key).map(|c| key + u64::from(c.count)) else {
            return;
        };
        self.cut_off(key, index);
        if index + 1 < end {
            self.cut_off(index, index + 1);
        }
        self.workers.change(id, |worker| {
            worker.chunks.pop_front();
            if index + 1 < end {
                worker.chunks.push_front(index + 1);
            }
        });
        self.take_up_terms(id);
        if let Some(rest) = self.window.get_mut(&(index + 1)) {
            rest.worker = rest.worker.or((index + 1 < end).then_some(id));
        }
        if index != key
            && let Some(before) = self.window.get_mut(&key)
        {
            before.worker = None;
        }
        if let Some(again) = self.window.get_mut(&index) {
            again.attempts += 1;
            again.kills = kills;
            again.worker = None;
        }
        self.returned.insert(index);
    }

    /// Takes back a chunk of a lost worker: its outcomes are kept, the item in work is blamed, and the rest goes to
    /// other workers.
    fn give_back(&mut self, id: WorkerId, key: u64, first: bool, in_work: bool, timed_out: bool, elapsed: Duration) {
        let Some(chunk) = self.window.get_mut(&key) else {
            return;
        };
        chunk.worker = None;
        let (count, done, attempts, terms) = (chunk.count, chunk.done, chunk.attempts, chunk.terms);
        let next = key + u64::from(done);
        // Chunks that waited behind the one in work are never to blame.
        if first && !in_work && done == 0 && !self.config.slots {
            chunk.bounces += 1;
        }
        let bounces = chunk.bounces;
        let unwanted = !self.unwanted.is_empty() && self.is_unwanted(next);
        let blamed = first && (in_work || bounces > MAX_BOUNCES) && !unwanted;
        // The items without outcomes become a chunk of their own.
        self.split(key, next);
        if !blamed {
            self.returned.insert(next);
            return;
        }
        let left = count - done;
        if (self.config.batch || self.config.slots) && left > 1 {
            // One call ran all of the items, so they are halved until the guilty one is alone. After a timeout, each
            // half may take up to the timeout again, so running the items one at a time is quicker.
            let step = if timed_out { 1 } else { u64::from(left.div_ceil(2)) };
            let mut rest = next;
            while rest + step < next + u64::from(left) {
                self.split(rest, rest + step);
                self.returned.insert(rest);
                rest += step;
            }
            self.returned.insert(rest);
            return;
        }
        if left > 1 {
            self.split(next, next + 1);
            self.returned.insert(next + 1);
        }
        let (blame, kind) = match timed_out {
            true => (Blame::Timeout(terms.timeout), FailureKind::Timeout),
            false => (Blame::WorkerLost, FailureKind::WorkerLost),
        };
        let mut again = attempts <= terms.retries && self.config.retry_on.contains(&kind);
        if let Some(chunk) = self.window.get_mut(&next) {
            chunk.kills += u32::from(!timed_out);
            again &= chunk.kills < MAX_KILLS;
            chunk.attempts += u32::from(again);
        }
        if again {
            self.returned.insert(next);
        } else {
            self.settle(next, blame, Some(id), attempts, elapsed);
        }
    }

    /// Gives the next item of the chunk that starts at `key` an outcome that no worker delivered.
    fn settle(&mut self, key: u64, blame: Blame, worker: Option<WorkerId>, attempts: u32, elapsed: Duration) {
        if let Some(chunk) = self.window.get_mut(&key) {
            let index = key + u64::from(chunk.done);
            chunk.done += 1;
            self.done += 1;
            if !chunk.fresh {
                chunk.fresh = true;
                self.fresh.push(key);
            }
            self.actions.push_back(Action::Settle { chunk: key, index, blame, worker, attempts, elapsed });
        }
    }

    /// Accounts for an outcome that the caller keeps for [`Verdict::Keep`] or [`Action::Settle`]. `bytes` is the number
    /// of bytes that it will emit and later report as [`Scheduler::written`]. That number may be 0, and it is not the
    /// number that came from the worker.
    #[inline]
    pub fn account_kept(&mut self, key: u64, bytes: usize) {
        if let Some(chunk) = self.window.get_mut(&key) {
            chunk.held += bytes;
            self.held += bytes;
        }
    }

    /// Orders the output of what may be emitted: in ordered runs what the first chunk has gathered, otherwise what any
    /// chunk has.
    fn emit(&mut self) {
        if !self.config.ordered {
            for key in std::mem::take(&mut self.fresh) {
                self.emit_chunk(key);
            }
            return;
        }
        self.fresh.clear();
        while let Some((&key, chunk)) = self.window.first_key_value() {
            let done = chunk.done == chunk.count;
            if chunk.fresh || done {
                self.emit_chunk(key);
            }
            if !done {
                break;
            }
        }
    }

    fn emit_chunk(&mut self, key: u64) {
        let Some(chunk) = self.window.get_mut(&key) else {
            return;
        };
        let bytes = std::mem::take(&mut chunk.held);
        chunk.fresh = false;
        let done = chunk.done == chunk.count;
        self.held -= bytes;
        self.unwritten += bytes;
        if done && let Some(chunk) = self.window.remove(&key) {
            self.held -= chunk.input;
        }
        self.actions.push_back(Action::Emit { chunk: key, done });
    }
}
