//! Who runs which items, and when: a pure state machine, without I/O and without a clock.
//!
//! Events go in as method calls ([`Scheduler::input`], [`Scheduler::outcome`], [`Scheduler::worker_lost`], …), orders come
//! out of [`Scheduler::next_action`]. Time is whatever the caller says it is, so a test can drive the machine through
//! millions of schedules. What it promises, in every schedule:
//!
//! * every item taken from the input gets exactly one outcome;
//! * a worker's loss costs the item it was running and no other: outcomes before it are kept, items after it are sent again;
//! * an item that killed its worker twice is not given to a third;
//! * in ordered runs outcomes are emitted by index;
//! * as long as a worker lives, no other that is lost or cannot be started ends the run;
//! * bytes read but not yet written stay within [`Config::window`], but for the item at the head;
//! * what an event costs does not grow with the number of workers.
//!
//! A chunk is known by the index of its first item. The caller keeps the bytes of items and outcomes; the scheduler only
//! their sizes.

#![forbid(unsafe_code)]

mod roster;
mod setback;
pub mod shares;
mod sizing;
#[cfg(test)]
mod tests;
mod unwanted;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use roster::{Worker, WorkerTable};
use setback::{Dud, Setback};
#[allow(unused_imports, reason = "the simulation has no use for `pause`")]
pub use setback::{PATIENCE, pause};
pub use sizing::ChunkSize;
use sizing::ChunkSizer;
use unwanted::{GRACE, Unwanted};

use wasmpool_core::outcome::Kind;
use wasmpool_core::policy::{Halt, HaltWhen, RETRY_ON};

/// Time since the start of the run, as the caller tells it.
pub type Time = Duration;
/// A worker process; numbers are never used again within a run.
pub type WorkerId = u32;

/// Time a worker has to become ready, which takes milliseconds. What `init` may take comes on top, where it runs then.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Times a chunk goes back without an item of it having started, before its first item is blamed after all.
const MAX_BOUNCES: u32 = 3;
/// Workers that one item may kill: the second might have died by chance, a third is not tried.
const MAX_KILLS: u32 = 2;
/// Chunks a worker holds: one in work, one waiting so that it never idles between two.
const DEPTH: usize = 2;
/// Times its timeout that an item may wait for a processor beyond it.
const MOST_EXCUSED: u32 = 9;
/// What a worker may take between items by its own word, such as to wake up and to clear away what one has left. All that
/// it claims beyond that goes off the time of its items.
const SLACK: Duration = Duration::from_secs(4);
/// Bytes of items that a worker has to take from its lane in a second, lest they come out of the time of an item.
const INPUT_RATE: u64 = 4 << 20;
/// An item that is in work for so long, or for this part of its time, is not waited for by a chunk behind it.
const LONG: Duration = Duration::from_millis(100);
const LONG_PART: u32 = 4;
/// Bytes read and not yet written: so many, and so many more for each worker.
const WINDOW: usize = 2 << 20;
const WINDOW_PER_WORKER: usize = 512 << 10;
/// What an item costs besides its bytes.
const ITEM_OVERHEAD: usize = 16;

/// What a run asks of the scheduler.
#[derive(Clone, Debug)]
pub struct Config {
    pub workers: usize,
    pub ordered: bool,
    pub chunk: ChunkSize,
    /// A chunk is one call: when its worker dies, it is halved until the guilty item is alone.
    pub batch: bool,
    /// How often an item is run again that failed in one of the ways of `retry_on`.
    pub retries: u32,
    pub retry_on: BTreeSet<Kind>,
    /// When failures end the run.
    pub halt: Option<Halt>,
    /// The run may be taken up again: items that [`HaltWhen::Now`] cuts off get no outcome, and nothing behind one is emitted.
    pub resumable: bool,
    /// Replace a worker after so many items.
    pub max_tasks_per_worker: Option<u64>,
    /// Wall time of one item.
    pub timeout: Duration,
    /// Time a worker has to become ready.
    pub start_timeout: Duration,
    /// Bytes read and not yet written, over all items.
    pub window: usize,
}

impl Config {
    /// What follows from the timeout of an item and the number of workers; the rest as simple as it gets.
    pub fn of_limits(timeout: Duration, workers: usize) -> Config {
        Config {
            workers,
            ordered: true,
            chunk: ChunkSize::Auto,
            batch: false,
            retries: 0,
            retry_on: RETRY_ON.into(),
            halt: None,
            resumable: false,
            max_tasks_per_worker: None,
            timeout,
            start_timeout: START_TIMEOUT,
            window: WINDOW + workers * WINDOW_PER_WORKER,
        }
    }
}

/// Why an item has no outcome of its own.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub enum Blame {
    /// Its worker died under it.
    WorkerLost,
    /// It did not end in time and its worker had to be killed.
    Timeout,
    /// The run was halted while it was in work, or before; or nobody wanted it any more.
    Cancelled,
}

/// How an outcome that a worker delivered ended, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A value.
    Final,
    /// A failure, which another try may not meet.
    Failed(Kind),
}

/// What to do with an outcome that was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the item's outcome: keep it with this chunk.
    Keep { chunk: u64, index: u64, attempts: u32 },
    /// Forget it, the item runs again: `index` is a chunk of its own from now on, and so are the items behind it.
    Retry { chunk: u64, index: u64 },
    /// The worker holds no item that could have one: it broke the protocol.
    Unexpected,
}

/// What is counted in 32 bits.
const FEW: &str = "what is handed over at once is fewer than 2^32 items";

/// An order to the caller.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub enum Action {
    /// Start a worker process.
    Spawn(WorkerId),
    /// Give it `count` items from `chunk` on. Those that were never sent come from the head of the input.
    Send { worker: WorkerId, chunk: u64, count: u32 },
    /// The next `count` items from the head of the input are `chunk`, which no worker is given.
    Skip { chunk: u64, count: u32 },
    /// Kill it. The loss is reported back as any other.
    Kill(WorkerId),
    /// It has done its share: let it end.
    Retire(WorkerId),
    /// Its item in work takes long: if it has not begun `chunk`, which waits behind, see to it that it never will, and tell
    /// [`Scheduler::taken_back`].
    TakeBack { worker: WorkerId, chunk: u64 },
    /// The items of `chunk` from index `at` on are a chunk of their own now, known by `at`.
    Split { chunk: u64, at: u64 },
    /// The next item of `chunk` has this outcome.
    Settle { chunk: u64, index: u64, blame: Blame, worker: Option<WorkerId>, attempts: u32, elapsed: Duration },
    /// Print what `chunk` has gathered since the last time; it is complete if `done`, and not heard of again.
    Emit { chunk: u64, done: bool },
    /// No worker lives, and none can be started or gets ready, again and again: give up.
    GiveUp,
}

#[derive(Debug)]
struct Chunk {
    count: u32,
    /// Outcomes that are known; they belong to the first items.
    done: u32,
    attempts: u32,
    /// Workers that died under its first item when nobody had killed them.
    kills: u32,
    bounces: u32,
    /// Bytes of its items, then of its outcomes, that the caller holds.
    input: usize,
    held: usize,
    /// It gathered something since it was last emitted.
    fresh: bool,
    worker: Option<WorkerId>,
}

impl Chunk {
    /// Items that no worker was given yet.
    fn new(count: u32, input: usize) -> Chunk {
        Chunk { count, done: 0, attempts: 1, kills: 0, bounces: 0, input, held: 0, fresh: false, worker: None }
    }
}

/// The state machine. See the module's head.
#[derive(Debug)]
pub struct Scheduler {
    config: Config,
    sizer: ChunkSizer,
    actions: VecDeque<Action>,
    workers: WorkerTable,
    next_worker: WorkerId,
    setback: Setback,
    /// Sizes of the items that were read and not yet given out.
    pending: VecDeque<u32>,
    pending_bytes: usize,
    next_index: u64,
    end_of_input: bool,
    /// Chunks whose outcomes are not all emitted.
    window: BTreeMap<u64, Chunk>,
    /// Chunks that came back from a lost worker.
    returned: BTreeSet<u64>,
    /// Chunks with something to emit (unordered runs).
    fresh: Vec<u64>,
    unwanted: Unwanted,
    /// Bytes of chunks in the window, and of outcomes emitted but not yet written.
    held: usize,
    unwritten: usize,
    stopping: bool,
    given_up: bool,
    /// Items come as they are asked for; see [`Scheduler::serve_on_demand`].
    on_demand: bool,
    /// Items are of several, on demand.
    several_callers: bool,
    /// No more items are there for now.
    lull: bool,
    /// Workers that are kept, on demand, whether there is work for them or not.
    standing: usize,
    /// Items with their outcome, and those of them that failed.
    done: u64,
    failed: u64,
    halted: Option<Halt>,
    /// The latest time that was told.
    now: Time,
}

impl Scheduler {
    pub fn new(config: Config) -> Self {
        Scheduler {
            sizer: ChunkSizer::new(config.chunk),
            config,
            actions: VecDeque::new(),
            workers: WorkerTable::default(),
            next_worker: 0,
            setback: Setback::default(),
            pending: VecDeque::new(),
            pending_bytes: 0,
            next_index: 0,
            end_of_input: false,
            window: BTreeMap::new(),
            returned: BTreeSet::new(),
            fresh: Vec::new(),
            unwanted: Unwanted::default(),
            held: 0,
            unwritten: 0,
            stopping: false,
            given_up: false,
            on_demand: false,
            several_callers: false,
            lull: false,
            standing: 0,
            done: 0,
            failed: 0,
            halted: None,
            now: Time::ZERO,
        }
    }

    /// Serves whoever asks, for as long as it is asked, rather than one input: no more items are taken in advance than
    /// workers need for their next chunks ([`Scheduler::wanted`]), so that who comes later does not wait behind all
    /// that came before; and workers are started as there is work for them, and then kept.
    pub fn serve_on_demand(&mut self) {
        self.on_demand = true;
        self.sizer.serve_on_demand();
    }

    /// Whether the items there are, on demand, are of several callers. Then no chunk waits behind another: somebody's only
    /// item could be behind one that never ends.
    pub fn several_callers(&mut self, several: bool) {
        self.several_callers = several;
    }

    // ---- events ------------------------------------------------------------------------------------------------------

    /// Items were read: their sizes in bytes, in order.
    pub fn input(&mut self, sizes: &[u32]) {
        if self.stopping {
            return;
        }
        self.lull = false;
        self.pending.extend(sizes);
        self.pending_bytes += sizes.iter().map(|&s| s as usize + ITEM_OVERHEAD).sum::<usize>();
    }

    /// There are no more items for now: what is there is shared out as at the end of the input, and not waited behind.
    pub fn input_pauses(&mut self) {
        self.lull = true;
    }

    /// So many workers may run from now on. Those that are too many finish what they were given; none stay with 0.
    pub fn set_workers(&mut self, workers: usize) {
        self.config.workers = workers;
        self.standing = self.standing.min(workers);
        for id in self.workers.surplus(workers) {
            self.workers.change(id, |worker| worker.retiring = true);
        }
    }

    /// There are no more items.
    pub fn input_ended(&mut self) {
        self.end_of_input = true;
    }

    /// The outcomes of these items are known, and print as so many bytes. With [`Scheduler::restore`] and
    /// [`Scheduler::go_on_at`] this comes before any input, where a run goes on with what another has left.
    pub fn restore_done(&mut self, first: u64, end: u64, held: usize) {
        let count = u32::try_from(end - first).expect(FEW);
        self.held += held;
        self.window.insert(first, Chunk { done: count, held, fresh: true, ..Chunk::new(count, 0) });
        self.fresh.push(first);
    }

    /// Items that are to be run, and have others with known outcomes behind them: their sizes, in order.
    pub fn restore(&mut self, first: u64, sizes: &[u32]) {
        let count = u32::try_from(sizes.len()).expect(FEW);
        let input = sizes.iter().map(|&size| size as usize + ITEM_OVERHEAD).sum();
        self.held += input;
        self.window.insert(first, Chunk::new(count, input));
        self.returned.insert(first);
        // How long they take is not known yet: none should wait behind another.
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

    /// The index of the first item of the input to come.
    pub fn go_on_at(&mut self, index: u64) {
        self.next_index = index;
    }

    /// A worker has loaded the task and waits for items.
    pub fn worker_ready(&mut self, id: WorkerId, now: Time) {
        self.setback.ready();
        self.now = self.now.max(now);
        // One that says so again gains no time by it.
        if self.workers.get(id).is_none_or(|worker| worker.ready) {
            return;
        }
        self.workers.change(id, |worker| {
            worker.ready = true;
            worker.since = now;
            worker.excused = Duration::ZERO;
        });
        // The start had a deadline; what comes now gets its own.
        self.workers.no_alarm(id);
    }

    /// Forgets workers that are not ready, which it returns, without a word about failed starts: others take their place.
    pub fn forget_starting(&mut self) -> Vec<WorkerId> {
        let starting = self.workers.starting();
        for &id in &starting {
            self.workers.remove(id);
        }
        starting
    }

    /// What a worker's status page says: that it has answered or is running its `started`th item, and that its
    /// `attempt`th try began at `since`.
    ///
    /// The worker may lie. A start is believed once for each answer, never later than now, never earlier than what was seen
    /// before, and never later than what the worker holds would have left of its time: see [`Worker::reckon`].
    pub fn observed(&mut self, id: WorkerId, attempt: u64, started: u64, since: Time, now: Time) {
        let (batch, timeout) = (self.config.batch, self.config.timeout);
        let slack = self.slack_of(id);
        self.workers.change(id, |worker| {
            worker.started = started;
            // What a late one begins while it is being killed changes nothing.
            if attempt <= worker.attempt || worker.killed.is_some() {
                return;
            }
            worker.attempt = attempt;
            worker.tries += 1;
            // Only a batch is tried twice without an answer: as a whole, and then its first item.
            if worker.tries <= if batch { 2 } else { 1 } {
                worker.reckon(timeout, slack);
                worker.since = since.clamp(worker.since, now.min(worker.latest).max(worker.since));
            }
        });
    }

    /// What a worker may take besides the time of the items in the chunk at its front: where these are a batch, they are
    /// tried as a whole first.
    fn slack_of(&self, id: WorkerId) -> Duration {
        let front = || self.workers.get(id).and_then(|worker| self.window.get(worker.chunks.front()?));
        match self.config.batch && front().is_some_and(|chunk| chunk.count - chunk.done > 1) {
            true => self.config.timeout.saturating_add(SLACK),
            false => SLACK,
        }
    }

    /// Workers whose deadline may have come: look at their status pages, and tell [`Scheduler::observed`], before
    /// [`Scheduler::tick`].
    pub fn due(&self, now: Time) -> Vec<WorkerId> {
        self.workers.due(now)
    }

    /// Whether the worker's item in work is out of time, or its start, as far as is known.
    pub fn is_late(&self, id: WorkerId, now: Time) -> bool {
        self.workers.get(id).is_some_and(|w| {
            let at_work = !w.ready || !w.chunks.is_empty();
            at_work && w.killed.is_none() && now.saturating_sub(w.since) >= w.limit(&self.config)
        })
    }

    /// Whether a worker has not said yet that it is ready.
    pub fn is_starting(&self, id: WorkerId) -> bool {
        self.workers.get(id).is_some_and(|worker| !worker.ready)
    }

    /// A worker waited for a processor for `waited`, since it was last asked: an overloaded machine is not the item's
    /// fault. How much of that is excused has a bound, for a machine may stay overloaded.
    pub fn excuse(&mut self, id: WorkerId, waited: Duration, now: Time) {
        let (timeout, slack) = (self.config.timeout, self.slack_of(id));
        self.workers.change(id, |worker| {
            worker.reckon(timeout, slack);
            let most = timeout.saturating_mul(MOST_EXCUSED).saturating_sub(worker.excused);
            let excused = waited.min(now.saturating_sub(worker.since)).min(most);
            worker.put_off(excused);
            worker.excused += excused;
        });
    }

    /// A worker took so many bytes of items without one in work. A large item has its time once it is there, so they put that
    /// off, by as long as they may take. What a worker delivers puts off nothing: an outcome is the end of an item or none.
    pub fn progress(&mut self, id: WorkerId, bytes: u64, now: Time) {
        self.workers.change(id, |worker| {
            if worker.started <= worker.finished {
                let took = Duration::from_micros(bytes.saturating_mul(1_000_000) / INPUT_RATE);
                worker.put_off(took.min(now.saturating_sub(worker.since)));
            }
        });
    }

    /// A worker delivered the outcome of its next item, after `elapsed`.
    pub fn outcome(&mut self, id: WorkerId, ending: Ending, elapsed: Duration, now: Time) -> Verdict {
        self.now = self.now.max(now);
        let Some(worker) = self.workers.progress(id) else {
            return Verdict::Unexpected;
        };
        let Some((key, chunk)) = worker.chunks.front().and_then(|&key| Some((key, self.window.get_mut(&key)?))) else {
            return Verdict::Unexpected;
        };
        worker.finished += 1;
        worker.unanswered = worker.unanswered.saturating_sub(1);
        worker.tries = 0;
        worker.since = worker.since.max(now);
        let was_long = worker.long;
        // It may lie, and no item takes longer.
        self.sizer.measured(elapsed.min(self.config.timeout));
        let index = key + u64::from(chunk.done);
        let attempts = chunk.attempts;
        let again = matches!(ending, Ending::Failed(kind)
            if attempts <= self.config.retries && self.config.retry_on.contains(&kind));
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
        }
        if was_long {
            self.workers.change(id, |worker| worker.long = false);
            self.set_alarm(id);
        }
        if again {
            self.take_out(id, key, index);
        }
        if !self.unwanted.is_empty() {
            self.note_unwanted(id, now);
        }
        if again {
            return Verdict::Retry { chunk: key, index };
        }
        Verdict::Keep { chunk: key, index, attempts }
    }

    /// A worker process ended, for whatever reason; all outcomes that it had delivered were told before.
    /// `killed` says that it was ended by SIGKILL.
    pub fn worker_lost(&mut self, id: WorkerId, killed: bool, now: Time) {
        self.now = self.now.max(now);
        let Some(worker) = self.workers.remove(id) else {
            return;
        };
        if !worker.ready {
            let dud = match (worker.killed, killed) {
                (Some(_), _) => Dud::Late,
                (None, true) => Dud::Killed,
                (None, false) => Dud::Ended,
            };
            self.setback.dud(dud, self.workers.any_ready(), now);
        }
        // It was killed for being late with an item, whatever its status page says; should it have answered that one
        // meanwhile, the next is not to blame.
        let timed_out = worker.killed == Some(worker.finished);
        let in_work = timed_out || (worker.killed.is_none() && worker.started > worker.finished);
        let excused = if worker.reckoned == worker.finished { worker.excused } else { Duration::ZERO };
        let elapsed = self.now.saturating_sub(worker.since) + excused;
        for (position, &key) in worker.chunks.iter().enumerate() {
            self.give_back(id, key, position == 0, in_work, timed_out, elapsed);
        }
    }

    /// The outcome that was kept last is a failure.
    pub fn failed(&mut self) {
        self.failed += 1;
    }

    /// Emitted bytes have left the program.
    pub fn written(&mut self, bytes: usize) {
        self.unwritten = self.unwritten.saturating_sub(bytes);
    }

    /// Take no more input and forget what no worker was given: every item before a certain one gets its outcome, and
    /// none behind it.
    pub fn stop(&mut self) {
        self.stopping = true;
        self.end_of_input = true;
        self.pending.clear();
        self.pending_bytes = 0;
    }

    /// Time has passed: deadlines are looked at. Tell [`Scheduler::observed`] of those that are [`Scheduler::due`] first, and
    /// tell the time before each round of orders: what is given out in it has its time from then on.
    pub fn tick(&mut self, now: Time) {
        self.now = self.now.max(now);
        self.setback.tick(now);
        for id in self.workers.due(now) {
            self.workers.no_alarm(id);
            let waits_for_output = self.throttled(id);
            let (config, patience) = (&self.config, self.patience());
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
                    return Some(Action::Kill(id));
                }
                let was_long = std::mem::replace(&mut worker.long, worker.ready && passed >= patience);
                let behind = worker.chunks.get(1).copied().filter(|_| worker.long && !was_long);
                behind.map(|chunk| Action::TakeBack { worker: id, chunk })
            });
            self.actions.extend(action.flatten());
            self.set_alarm(id);
        }
    }

    /// Has the worker's deadline looked at when it comes, should it have one.
    fn set_alarm(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get(id)
            && worker.killed.is_none()
            && (!worker.ready || !worker.chunks.is_empty())
        {
            let limit = worker.limit(&self.config);
            let next = if worker.ready && !worker.long { self.patience().min(limit) } else { limit };
            let next = worker.since.saturating_add(next);
            let unwanted = worker.unwanted_since.map(|since| since.saturating_add(GRACE));
            self.workers.alarm(id, unwanted.map_or(next, |at| at.min(next)));
        }
    }

    /// How long an item may be in work before nothing waits behind it any more.
    fn patience(&self) -> Duration {
        LONG.min(self.config.timeout / LONG_PART)
    }

    /// A worker will not begin this chunk, which waited behind another: it goes elsewhere.
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

    /// When to call [`Scheduler::tick`] next, at the latest. It may find nothing to do: a deadline that was put off is
    /// seen to be so only when it comes.
    pub fn next_deadline(&self) -> Option<Time> {
        self.workers.next_alarm().into_iter().chain(self.setback.next_try()).min()
    }

    /// Whether items that are read will have outcomes: it was not told to stop.
    pub fn takes_input(&self) -> bool {
        !self.stopping
    }

    /// Whether more items should be read now.
    pub fn wants_input(&self) -> bool {
        !self.end_of_input
            && self.wanted() > 0
            && self.pending_bytes < self.read_ahead()
            && self.held + self.unwritten + self.pending_bytes < self.config.window
    }

    /// How many items should be read now, going by their number: on demand a chunk for each worker, as more can be had
    /// at any time.
    pub fn wanted(&self) -> usize {
        match self.on_demand {
            true => (self.sizer.usual() * self.config.workers.max(1)).saturating_sub(self.pending.len()),
            false => usize::MAX,
        }
    }

    /// Whether the outcomes of a worker should be left with it for now: the window is full, and what it has is not next.
    pub fn throttled(&self, id: WorkerId) -> bool {
        if self.unwritten >= self.config.window {
            return true;
        }
        if !self.config.ordered || self.held + self.unwritten < self.config.window {
            return false;
        }
        // As long as the head is with another worker it will come; if it is with none, somebody must get free for it.
        matches!(self.window.first_key_value(), Some((_, Chunk { worker: Some(head), .. })) if *head != id)
    }

    /// Whether every item has its outcome and everything was emitted.
    pub fn finished(&self) -> bool {
        self.end_of_input && self.pending.is_empty() && self.window.is_empty()
    }

    /// Whether this worker has more than one item to answer, so that it may finish one and go on without a word.
    pub fn has_several_in_work(&self, id: WorkerId) -> bool {
        self.workers.get(id).is_some_and(|worker| worker.unanswered > 1)
    }

    /// Whether the run may soon have to wait for output, so that it wants to be told what has left at once.
    pub fn short_of_room(&self) -> bool {
        self.held + self.unwritten + self.pending_bytes > self.config.window / 2
    }

    /// Items that were read so far.
    pub fn items(&self) -> u64 {
        self.next_index + self.pending.len() as u64
    }

    /// The policy that has ended the run.
    pub fn halted(&self) -> Option<Halt> {
        self.halted
    }

    /// The next order, after the events so far.
    pub fn next_action(&mut self) -> Option<Action> {
        // What it cancels is accounted for before it is emitted.
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

    /// Ends the run if too much has failed.
    fn halt(&mut self) {
        let met = |halt: &Halt| halt.is_met(self.done, self.failed);
        if let Some(halt) = self.config.halt.filter(met) {
            self.halt_by(halt);
        }
    }

    /// Ends the run for failures, here or elsewhere. The first to do so counts.
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

    /// Ends the run where it is, since nothing can run any more.
    pub fn give_up(&mut self) {
        self.stop();
        self.cut_short();
    }

    /// Kills what runs. Items that were given out and have no outcome are cancelled, or left to the run that goes on.
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
        let waiting = self.pending.len() + self.returned.len();
        let wanted = match (self.end_of_input, self.on_demand) {
            (true, _) => busy + waiting,
            (false, true) => self.standing.max(busy + waiting),
            // Before the input has shown itself the workers start beside it.
            (false, false) => usize::MAX,
        }
        .min(self.config.workers);
        self.standing = self.standing.max(wanted);
        let missing = wanted.saturating_sub(self.workers.staying());
        let (lives, ready) = (self.workers.any_lives(), self.workers.any_ready());
        if wanted > 0 && self.setback.is_hopeless(lives, ready, self.now) {
            self.given_up = true;
            self.actions.push_back(Action::GiveUp);
            return;
        }
        for _ in 0..self.setback.allowed(missing) {
            let id = self.next_worker;
            self.next_worker += 1;
            let left = self.config.max_tasks_per_worker.unwrap_or(u64::MAX).max(1);
            self.workers.insert(id, Worker::new(left));
            self.actions.push_back(Action::Spawn(id));
        }
    }

    /// A worker that was ordered could not be started: it is tried again, with one at a time, and the run goes on with the
    /// workers there are. `passes` says whether that may be otherwise soon.
    pub fn spawn_failed(&mut self, id: WorkerId, passes: bool, now: Time) {
        self.now = self.now.max(now);
        self.workers.remove(id);
        let workers = &mut self.workers;
        // Where there is no room for one, there is none for those behind it.
        self.actions.retain(|action| match action {
            Action::Spawn(other) => workers.remove(*other).is_none(),
            _ => true,
        });
        self.setback.refused(passes, self.workers.any_lives(), now);
    }

    /// Tells when a worker that was ordered has been started, for its start to be timed.
    pub fn worker_spawned(&mut self, id: WorkerId, now: Time) {
        self.setback.started(now);
        self.workers.change(id, |worker| worker.since = now);
        self.set_alarm(id);
    }

    /// Gives chunks to workers that can take one, the least loaded first.
    fn dispatch(&mut self) {
        for load in 0..DEPTH {
            // A second chunk waits behind the first only where that is a matter of milliseconds. On demand items are less alike:
            // there it has to be of the same caller, while all workers that may run are busy and more is to come, so that
            // no worker could have taken it instead.
            let may_queue = self.sizer.may_queue() && (!self.on_demand || self.one_caller_has_enough());
            if load > 0 && !may_queue {
                break;
            }
            while let Some(id) = self.workers.free(load) {
                // A replacement that is ready early waits until the worker it replaces has finished.
                if load == 0 && self.workers.busy() >= self.config.workers {
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
        let (now, timeout) = (self.now, self.config.timeout);
        let slack = if self.config.batch && count > 1 { timeout.saturating_add(SLACK) } else { SLACK };
        self.workers.change(id, |worker| {
            if worker.chunks.is_empty() {
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

    /// The next chunk to run, of at most `most` items: one that came back before a new one.
    fn next_chunk(&mut self, most: u64) -> Option<(u64, u32)> {
        // What was behind the one before may be unwanted.
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
        // A chunk of a size that was asked for is waited for, while there is room to read more.
        if !self.lull && !self.sizer.enough(self.pending.len()) && self.wants_input() {
            return None;
        }
        let share = match self.end_of_input || self.lull {
            true => self.pending.len().div_ceil(2 * self.config.workers.max(1)),
            false => usize::MAX,
        };
        let (count, bytes) = self.sizer.cut(&self.pending, usize::try_from(most).unwrap_or(usize::MAX), share);
        self.pending.drain(..count);
        let input = bytes + count * ITEM_OVERHEAD;
        self.pending_bytes -= input;
        let key = self.next_index;
        let count = u32::try_from(count).expect(FEW);
        self.next_index += u64::from(count);
        self.held += input;
        self.window.insert(key, Chunk::new(count, input));
        Some((key, count))
    }

    /// Makes the items of `key` from index `at` on a chunk of their own, and tells the caller.
    fn split(&mut self, key: u64, at: u64) {
        if self.cut_off(key, at) {
            self.actions.push_back(Action::Split { chunk: key, at });
        }
    }

    /// Makes the items of `key` from index `at` on a chunk of their own, with no worker.
    fn cut_off(&mut self, key: u64, at: u64) -> bool {
        if let Some(chunk) = self.window.get_mut(&key) {
            let rest = chunk.count - u32::try_from(at - key).unwrap_or(chunk.count);
            if rest == 0 || at == key {
                return false;
            }
            // Sizes of single items are not kept: the share by count is close enough for a bound.
            let input = (chunk.input as u64 * u64::from(rest) / u64::from(chunk.count)) as usize;
            chunk.count -= rest;
            chunk.input -= input;
            if chunk.done == chunk.count && !chunk.fresh {
                // Its last outcome may have been emitted already, before it was known to be the last.
                chunk.fresh = true;
                self.fresh.push(key);
            }
            // Bounces are the first item's; the rest has its own first.
            let attempts = chunk.attempts;
            let rest = Chunk { attempts, ..Chunk::new(rest, input) };
            self.window.insert(at, rest);
            return true;
        }
        false
    }

    /// Takes the item `index` out of the chunk that `id` is running, to be run again; the worker goes on behind it.
    fn take_out(&mut self, id: WorkerId, key: u64, index: u64) {
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
            again.worker = None;
        }
        self.returned.insert(index);
    }

    /// A chunk of a lost worker: what it had done stays, the item in work is blamed, the rest goes to others.
    fn give_back(&mut self, id: WorkerId, key: u64, first: bool, in_work: bool, timed_out: bool, elapsed: Duration) {
        let Some(chunk) = self.window.get_mut(&key) else {
            return;
        };
        chunk.worker = None;
        let (count, done, attempts) = (chunk.count, chunk.done, chunk.attempts);
        let next = key + u64::from(done);
        // Chunks that waited behind the one in work are never to blame.
        if first && !in_work && done == 0 {
            chunk.bounces += 1;
        }
        let bounces = chunk.bounces;
        let unwanted = !self.unwanted.is_empty() && self.is_unwanted(next);
        let blamed = first && (in_work || bounces > MAX_BOUNCES) && !unwanted;
        // The part without outcomes is a chunk of its own from here on.
        self.split(key, next);
        if !blamed {
            self.returned.insert(next);
            return;
        }
        let left = count - done;
        if self.config.batch && left > 1 {
            // One call ran them all: halve until the guilty one is alone. Where each half may take up to its timeout, one at
            // a time is sooner.
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
            true => (Blame::Timeout, Kind::Timeout),
            false => (Blame::WorkerLost, Kind::WorkerLost),
        };
        let mut again = attempts <= self.config.retries && self.config.retry_on.contains(&kind);
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

    /// Accounts for an outcome that the caller keeps, for [`Verdict::Keep`] or [`Action::Settle`]: the bytes that it will
    /// emit and then say to be [`Scheduler::written`], which may be none, and not those that came from the worker.
    pub fn kept(&mut self, key: u64, bytes: usize) {
        if let Some(chunk) = self.window.get_mut(&key) {
            chunk.held += bytes;
            self.held += bytes;
        }
    }

    /// Orders out what may leave: in ordered runs what the head has gathered, else what any chunk has.
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
