//! The worker processes of one call (a task, a function, what is bound, its limits), and the thread that looks after them.
//!
//! Jobs of a group take turns: whenever the supervisor asks for items, it gets some of one job, then of the next. It is
//! given few at a time, so that a job of one item waits for some milliseconds of other work and not for all of it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hint::black_box;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::function::{Settings, Spec};
use super::job::{Ended, Failed, Job, Told};
use super::shared::{Key, Shared};
use wasmpool_core::layer::Part;
use wasmpool_core::outcome::{Failure, Kind};
use wasmpool_core::policy::Call;
use wasmpool_ipc::batch::Batch;
use wasmpool_ipc::lane::host::LARGE;
use wasmpool_run::compile::Wanted;
use wasmpool_run::error::Error;
use wasmpool_run::grants::OpenedGrants;
use wasmpool_run::rendered::RenderedOutcomes;
use wasmpool_run::scarce::ring;
use wasmpool_run::supervisor::{Encoded, End, Event, Mailbox, Record, Sender, Sink, Supervisor, Value};
use wasmpool_scheduler::{Config, WorkerId};

/// Bytes that the supervisor is given at once, or a little more.
const MOST_BYTES: usize = 512 << 10;
/// Bytes of outcomes that share an allocation.
const BLOCK: usize = 64 << 10;
/// Bytes of items that were taken in advance or are in work, and as many for each worker: two large ones. How far ahead
/// items are read is bounded by whoever calls.
const WINDOW: usize = 2 << 20;

#[derive(Debug)]
pub(super) struct Group {
    pub key: Key,
    shared: Arc<Shared>,
    feed: Arc<Feed>,
    /// Items that were submitted and have no outcome yet.
    outstanding: AtomicUsize,
    /// Jobs that are not over.
    live: AtomicUsize,
    /// Readable once it is to end at once.
    stop: EventFd,
}

/// What a group's thread runs with.
pub(super) struct Start {
    mailbox: Mailbox,
    routes: Receiver<Route>,
    spec: Arc<Spec>,
}

/// Where the supervisor gets its items.
#[derive(Debug)]
struct Feed {
    state: Mutex<FeedState>,
}

#[derive(Debug, Default)]
struct FeedState {
    supervisor: Option<Sender>,
    routes: Option<mpsc::Sender<Route>>,
    /// Items that the supervisor waits for.
    wanted: usize,
    /// Jobs with items that wait, the next first.
    row: VecDeque<Arc<Job>>,
    next_index: u64,
    /// All jobs that are not over, by their address.
    jobs: HashMap<usize, Arc<Job>>,
    ended: Option<Ended>,
}

/// Whose the items from `start` on are.
struct Route {
    start: u64,
    count: u64,
    job: Arc<Job>,
    /// The index of the first within its job.
    first: u64,
}

impl Feed {
    fn lock(&self) -> MutexGuard<'_, FeedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The supervisor asks for items. Says whether there were any.
    fn ask(&self, items: usize) -> bool {
        let mut state = self.lock();
        state.wanted = items;
        state.give()
    }
}

impl FeedState {
    /// Answers the supervisor, if it asked and there is something to answer it with. It is not woken for that.
    fn give(&mut self) -> bool {
        let (Some(supervisor), Some(routes)) = (&self.supervisor, &self.routes) else {
            return false;
        };
        let mut bytes = 0;
        while self.wanted > 0 && bytes < MOST_BYTES {
            let Some(job) = self.row.pop_front() else {
                break;
            };
            let mut queue = job.queue();
            let (first, start) = (queue.given, self.next_index);
            let mut batches = Vec::new();
            while self.wanted > 0
                && bytes < MOST_BYTES
                && let Some(batch) = queue.take(self.wanted)
            {
                bytes += batch.size();
                self.wanted -= batch.sizes.len();
                batches.push(batch);
            }
            let count = queue.given - first;
            self.next_index += count;
            queue.listed = !queue.is_empty();
            let listed = queue.listed;
            drop(queue);
            // Before the items, so that no outcome comes that nobody knows the way of. Whose end is gone has no use for it.
            let _ = routes.send(Route { start, count, job: job.clone(), first });
            batches.into_iter().for_each(|batch| supervisor.leave(Event::Input(batch)));
            if listed {
                self.row.push_back(job);
            }
        }
        if bytes == 0 {
            return false;
        }
        self.wanted = 0;
        if self.row.is_empty() {
            supervisor.leave(Event::InputPause);
        }
        true
    }
}

impl Group {
    pub fn new(key: Key, shared: Arc<Shared>, spec: Arc<Spec>) -> Result<(Group, Start), Error> {
        let feed = Arc::new(Feed { state: Mutex::default() });
        let asked = feed.clone();
        let mailbox = Mailbox::asking(Box::new(move |items| asked.ask(items)))?;
        let (sender, routes) = mpsc::channel();
        let mut state = feed.lock();
        state.supervisor = Some(mailbox.sender());
        state.routes = Some(sender);
        drop(state);
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).map_err(std::io::Error::from)?;
        let (outstanding, live) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Ok((Group { key, shared, feed, outstanding, live, stop }, Start { mailbox, routes, spec }))
    }

    pub fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::SeqCst)
    }

    /// Whether no job is in it, and none will be unless it is told to expect one.
    pub fn is_idle(&self) -> bool {
        self.live.load(Ordering::SeqCst) == 0
    }

    pub fn tell(&self, event: Event) {
        if let Some(supervisor) = &self.feed.lock().supervisor {
            supervisor.send(event);
        }
    }

    /// Refuses a process that was forked off from the pool's: see [`Shared::check_owner`].
    pub fn check_owner(&self) -> Result<(), Error> {
        self.shared.check_owner()
    }

    // ---- jobs --------------------------------------------------------------------------------------------------------

    /// A job is to come. Called with the lock that says whether the group may still take one.
    pub fn expect_job(&self) {
        self.live.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes the job that was expected.
    pub fn begin(&self, job: &Arc<Job>) {
        let mut state = self.feed.lock();
        if let Some(ended) = &state.ended {
            let ended = ended.again();
            drop(state);
            return self.settle(job, job.end(ended));
        }
        state.jobs.insert(Arc::as_ptr(job).addr(), job.clone());
    }

    /// Takes more items of a job.
    pub fn submit(&self, job: &Arc<Job>, batch: Batch) {
        let count = batch.sizes.len();
        if count == 0 {
            return;
        }
        job.submitting(count);
        let before = self.outstanding.fetch_add(count, Ordering::SeqCst);
        self.shared.need_changed(before);
        let mut state = self.feed.lock();
        if state.ended.is_some() || !state.jobs.contains_key(&Arc::as_ptr(job).addr()) {
            drop(state);
            // The job knows, and nobody will count these.
            return self.finished(count);
        }
        let mut queue = job.queue();
        queue.push(batch);
        let listed = std::mem::replace(&mut queue.listed, true);
        drop(queue);
        if !listed {
            state.row.push_back(job.clone());
        }
        let given = state.wanted > 0 && state.give();
        let supervisor = given.then(|| state.supervisor.clone()).flatten();
        // Woken any sooner, it might take this thread's processor, only to wait for the lock.
        drop(state);
        if let Some(supervisor) = supervisor {
            supervisor.wake();
        }
    }

    /// No more items of it come.
    pub fn seal(&self, job: &Arc<Job>) {
        self.settle(job, job.seal());
    }

    /// Ends a job: items that no worker was given are forgotten, outcomes of the others will be, and workers that stay in
    /// them are ended.
    pub fn cancel(&self, job: &Arc<Job>) {
        // Items may run code of whoever brought them when they are dropped: not under the locks.
        let (forgotten, _items) = {
            let mut state = self.feed.lock();
            let mut queue = job.queue();
            let forgotten = queue.clear();
            if std::mem::take(&mut queue.listed) {
                state.row.retain(|other| !Arc::ptr_eq(other, job));
            }
            forgotten
        };
        self.finished(forgotten);
        let told = job.end(Ended::Cancelled);
        let in_work = told.over;
        self.settle(job, told);
        if in_work {
            self.tell(Event::Unwanted);
        }
    }

    /// Has the jobs whose items are read by the thread that calls this take no more.
    pub fn shut_own_jobs(&self) {
        let jobs: Vec<Arc<Job>> = self.feed.lock().jobs.values().cloned().collect();
        for job in jobs {
            self.settle(&job, job.shut_own());
        }
    }

    /// Ends all jobs there are and will be.
    pub fn end(&self, ended: Ended) {
        let jobs = {
            let mut state = self.feed.lock();
            state.row.clear();
            let jobs = std::mem::take(&mut state.jobs);
            state.ended.get_or_insert_with(|| ended.again());
            jobs
        };
        for job in jobs.values() {
            let (forgotten, _items) = job.queue().clear();
            self.finished(forgotten);
            self.settle(job, job.end(ended.again()));
        }
    }

    /// Ends all jobs, kills the workers, and lets the thread go.
    pub fn terminate(&self) {
        self.end(Ended::Cancelled);
        ring(&self.stop);
        self.tell(Event::Terminate);
    }

    fn finished(&self, items: usize) {
        if items > 0 {
            let before = self.outstanding.fetch_sub(items, Ordering::SeqCst);
            self.shared.need_changed(before.saturating_sub(items));
        }
    }

    /// Tells whoever waits for a job that it is over, if it has just become so.
    fn settle(&self, job: &Arc<Job>, told: Told) {
        if !told.over {
            return;
        }
        self.feed.lock().jobs.remove(&Arc::as_ptr(job).addr());
        for waker in told.wakers {
            waker.wake();
        }
        for callback in told.callbacks {
            self.shared.callbacks.call(callback);
        }
        if self.live.fetch_sub(1, Ordering::SeqCst) == 1 && self.shared.is_closing() {
            self.tell(Event::InputEnd);
        }
    }

    /// Calls back whoever came too late for a job to do so.
    pub fn call_back(&self, callback: super::callbacks::Callback) {
        self.shared.callbacks.call(callback);
    }

    // ---- the thread --------------------------------------------------------------------------------------------------

    /// Runs the supervisor, until the group is told to end or cannot go on.
    pub fn run(self: &Arc<Group>, start: Start) {
        // Whatever happens here, nobody waits for ever.
        let mut ending =
            Ending { group: self, ended: Ended::Failed(Error::Workers("its supervisor broke down".into())) };
        ending.ended = match self.serve(start) {
            Ok(_) | Err(Error::Interrupted) => Ended::Cancelled,
            Err(e) => Ended::Failed(e),
        };
    }

    fn serve(self: &Arc<Group>, start: Start) -> Result<End, Error> {
        large_results_come_and_go();
        let Start { mailbox, routes, spec } = start;
        let OpenedGrants { given, directories } = spec.settings.grants.open()?;
        let call = Call { given, ..self.key.call(&spec.settings) };
        let wanted = Wanted::of(&call);
        let mut prepared = spec.task.prepare(&wanted, Some(&self.stop))?;
        let mut sink = Outcomes::new(self.clone(), routes);
        let config = self.config(&spec.settings);
        let spares = self.shared.spares.clone();
        let directories: &[OwnedFd] = &directories;
        let mut supervisor = Supervisor::new(&prepared, &call, directories, config, spares, &mut sink, &mailbox)?;
        supervisor.serve_on_demand();
        match supervisor.run() {
            Err(Error::Artifact(_)) if prepared.compiled.is_none() => {
                // From another machine: made anew. Nothing ran.
                prepared = spec.task.prepare_anew(&wanted, Some(&self.stop), &prepared)?;
                supervisor.exchange(&prepared, &call)?;
                supervisor.run()
            }
            other => other,
        }
    }

    fn config(&self, settings: &Settings) -> Config {
        Config {
            // Told as soon as there are items.
            workers: 0,
            ordered: false,
            chunk: settings.chunk,
            retries: settings.retries,
            max_tasks_per_worker: settings.max_tasks_per_worker,
            window: WINDOW * (1 + self.shared.workers()),
            ..Config::of_limits(settings.call.limits.timeout, self.shared.workers())
        }
    }
}

/// Shows the allocator an allocation of 8 MiB that is freed. The C library's learns from such that they come and go, and
/// keeps the memory of what is no larger, up to twice that in each of its arenas; else it gives large results back to the
/// kernel one by one, and page faults cost more than all that is done with them. A program that has told it what to keep is
/// not overruled, as it would be by setting that here.
fn large_results_come_and_go() {
    drop(black_box(Vec::<u8>::with_capacity(8 << 20)));
}

/// Ends a group when its thread ends, however that came.
struct Ending<'a> {
    group: &'a Arc<Group>,
    ended: Ended,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.group.end(self.ended.again());
        // Its sender has a way back to this group.
        self.group.feed.lock().supervisor = None;
        self.group.shared.group_ended(self.group);
    }
}

/// Routes outcomes to their jobs.
struct Outcomes {
    group: Arc<Group>,
    news: Receiver<Route>,
    /// By the index of their first item.
    routes: BTreeMap<u64, Waiting>,
    /// The items whose outcomes came last, and these.
    current: Range<u64>,
    gathered: Vec<(u64, Result<Kept, Failed>)>,
    /// Bytes of outcomes that were gathered. Whoever takes outcomes frees them: were each allocated, that
    /// thread and this would wait for each other's allocator all the time.
    blocks: Vec<Vec<u8>>,
}

/// Where the bytes of an outcome that was gathered are.
enum Kept {
    Alone(Vec<u8>),
    /// In the block of this number.
    Shared(usize, Range<usize>),
}

/// A route, and how many of its items have no outcome yet.
struct Waiting {
    route: Route,
    left: u64,
}

impl Outcomes {
    fn new(group: Arc<Group>, news: Receiver<Route>) -> Outcomes {
        Outcomes { group, news, routes: BTreeMap::new(), current: 0..0, gathered: Vec::new(), blocks: Vec::new() }
    }

    /// Makes the route of this item the current one.
    fn turn_to(&mut self, index: u64) {
        self.deliver();
        self.learn_routes();
        if let Some((&start, waiting)) = self.routes.range(..=index).next_back() {
            self.current = start..start + waiting.route.count;
        }
    }

    /// Takes the outcome of this item, with a copy of its bytes in the last block, or in a new one where that is full.
    fn copy(&mut self, index: u64, value: &[u8]) {
        let count = self.blocks.len();
        let (number, block) = match self.blocks.last_mut() {
            Some(block) if block.len() + value.len() <= BLOCK => (count - 1, block),
            _ => (count, self.blocks.push_mut(Vec::with_capacity(BLOCK))),
        };
        let start = block.len();
        // First: behind the copy it would wait until all of that is written.
        self.gathered.push((index, Ok(Kept::Shared(number, start..start + value.len()))));
        block.extend_from_slice(value);
    }

    fn learn_routes(&mut self) {
        for route in self.news.try_iter() {
            self.routes.insert(route.start, Waiting { left: route.count, route });
        }
    }

    /// Hands over what was gathered.
    fn deliver(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let count = self.gathered.len();
        // First: who is told may call again at once, and would seem to need one worker more.
        self.group.finished(count);
        let outcomes = self.gathered.drain(..);
        if let Some(Waiting { route, left }) = self.routes.get_mut(&self.current.start) {
            let (start, first) = (route.start, route.first);
            // Someone may keep a small one for long.
            let blocks: Vec<Bytes> = self.blocks.drain(..).map(|block| block.into_boxed_slice().into()).collect();
            let outcome = |kept| match kept {
                Kept::Alone(bytes) => bytes.into(),
                Kept::Shared(number, range) => blocks.get(number).map(|block| block.slice(range)).unwrap_or_default(),
            };
            let told = route.job.deliver(outcomes.map(|(index, kept)| (index - start + first, kept.map(outcome))));
            self.group.settle(&route.job, told);
            *left = left.saturating_sub(count as u64);
            if *left == 0 {
                self.routes.remove(&self.current.start);
                self.current = 0..0;
            }
        }
    }
}

impl Sink for Outcomes {
    fn record(&mut self, record: Record<'_>, result: Result<Value<'_>, Failure>, _: &mut RenderedOutcomes) -> bool {
        if !self.current.contains(&record.index) {
            self.turn_to(record.index);
        }
        let outcome = match result.map(|value| value.encoded) {
            Ok(Encoded::One(value)) if value.len() < LARGE => {
                self.copy(record.index, &value);
                return true;
            }
            Ok(Encoded::One(value)) => Ok(Kept::Alone(value.into_owned())),
            Ok(Encoded::Many(_)) => Err(Failure::new(Kind::InvalidOutput, "the worker sent several values for one")),
            Err(failure) => Err(failure),
        }
        .map_err(|failure| Failed { attempts: record.attempts, failure });
        let succeeded = outcome.is_ok();
        self.gathered.push((record.index, outcome));
        succeeded
    }

    fn emit(&mut self, _: RenderedOutcomes) {}

    fn several_callers(&mut self) -> bool {
        self.learn_routes();
        // A job may be over, and its items still in work.
        let mut jobs = self.routes.values().map(|waiting| &waiting.route.job);
        let first = jobs.next();
        first.is_some_and(|first| jobs.any(|job| !Arc::ptr_eq(first, job)))
    }

    fn unwanted(&mut self) -> Vec<Range<u64>> {
        self.learn_routes();
        let ended =
            self.routes.values().map(|waiting| &waiting.route).filter(|route| route.job.state().ended().is_some());
        ended.map(|route| route.start..route.start + route.count).collect()
    }

    fn worker_lost(&mut self, _: WorkerId, _: &str) {}

    fn unprotected(&mut self, lacking: &[Part]) {
        self.group.shared.unprotected(lacking);
    }

    fn tick(&mut self, _: u64) -> Option<Duration> {
        self.deliver();
        None
    }
}
