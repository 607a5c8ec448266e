//! The worker processes of one call (a task, a function, its bound arguments, its limits), and the thread that
//! supervises them.
//!
//! Jobs of a group take turns: whenever the supervisor asks for items, it gets some of one job, then some of the next.
//! It is given few at a time, so that a job of one item waits for some milliseconds of other work and not for all of
//! it.

use std::collections::{HashMap, VecDeque};
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::events::WorkerEvent;
use super::job::{FailedItem, Job, JobEnd, JobListeners};
use super::outcomes::{JobRoute, OutcomeRouter};
use super::settings::ProcessSettings;
#[cfg(feature = "hosts")]
use super::shared::HostsOfPool;
use super::shared::SharedWorkers;
use super::task::LoadedTask;
#[cfg(feature = "hosts")]
use wasmpool_core::guest_grants::GuestGrants;
use wasmpool_core::layer::LayerPart;
use wasmpool_core::policy::{ItemEncoding, ResultForm};
use wasmpool_ipc::batch::Batch;
#[cfg(feature = "hosts")]
use wasmpool_nats::coordinator::{CoordinatedRun, Coordinator};
use wasmpool_run::cgroup::Workers;
use wasmpool_run::compile::{ArtifactCache, ArtifactKey};
use wasmpool_run::error::{Error, caught};
use wasmpool_run::grants::OpenedGrants;
use wasmpool_run::scarce::ring;
use wasmpool_run::supervisor::{Event, EventSender, Mailbox, RunEnd, Supervisor, WorkerReport};
use wasmpool_scheduler::ChunkSize;

/// Number of bytes of items that the supervisor is given at once; the last batch may exceed it a little.
const MOST_BYTES: usize = 512 << 10;
/// Limit on bytes of items that are taken in advance or being run, for the group and again for each worker; it holds
/// two large items. The caller bounds how far ahead items are read.
const WINDOW: usize = 2 << 20;
/// Time to wait for the supervisor's report. It takes microseconds, unless the machine is overloaded.
const REPORT_PATIENCE: Duration = Duration::from_secs(10);

/// The properties that two calls must share for one worker process to serve both.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct GroupKey {
    pub task: Arc<LoadedTask>,
    pub settings: Arc<ProcessSettings>,
    pub item_form: ItemEncoding,
    pub result_form: ResultForm,
}

#[derive(Debug)]
pub(super) struct CallGroup {
    pub key: GroupKey,
    shared: Arc<SharedWorkers>,
    state: Mutex<GroupState>,
    /// Number of items that were submitted and have no outcome yet.
    outstanding: AtomicUsize,
    /// Number of jobs that are not over.
    live: AtomicUsize,
    /// True while the supervisor reads its mailbox.
    supervised: AtomicBool,
    /// An event that becomes readable when the supervisor is to end at once.
    stop: EventFd,
}

/// Items that wait for the supervisor, and the channels to it.
#[derive(Debug, Default)]
struct GroupState {
    supervisor: Option<EventSender>,
    routes: Option<mpsc::Sender<JobRoute>>,
    /// Number of items that the supervisor waits for.
    wanted: usize,
    /// Jobs that have items waiting; the first is served next.
    row: VecDeque<Arc<Job>>,
    next_index: u64,
    /// All jobs that are not over, by their address.
    jobs: HashMap<usize, Arc<Job>>,
    ended: Option<JobEnd>,
}

impl GroupState {
    /// Gives the supervisor the items it asked for, and returns true if there were any. Does not wake it.
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
            // The supervisor knows of no sizes of chunks but its own.
            let mut most = match job.terms.chunk {
                ChunkSize::Fixed(items) => self.wanted.max(items as usize),
                ChunkSize::Auto => self.wanted,
            };
            while most > 0
                && bytes < MOST_BYTES
                && let Some(batch) = queue.take(most)
            {
                bytes += batch.size();
                most -= batch.sizes.len();
                batches.push(batch);
            }
            let count = queue.given - first;
            self.wanted = self.wanted.saturating_sub(usize::try_from(count).unwrap_or(usize::MAX));
            self.next_index += count;
            queue.listed = !queue.is_empty();
            let listed = queue.listed;
            drop(queue);
            // Sent before the items, so that no outcome arrives whose route is unknown. A send fails only if the
            // supervisor has ended, which needs no route.
            let _ = routes.send(JobRoute { start, count, job: job.clone(), first, left: count });
            batches.into_iter().for_each(|batch| supervisor.leave(Event::InputOn(batch, job.terms)));
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

impl CallGroup {
    /// Starts a group for the calls of `key`, and its thread.
    pub fn start(key: GroupKey, shared: &Arc<SharedWorkers>) -> Result<(Arc<CallGroup>, JoinHandle<()>), Error> {
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).map_err(std::io::Error::from)?;
        let group = Arc::new(CallGroup {
            key,
            shared: shared.clone(),
            state: Mutex::default(),
            outstanding: AtomicUsize::new(0),
            live: AtomicUsize::new(0),
            supervised: AtomicBool::new(false),
            stop,
        });
        let asked = group.clone();
        let mailbox = Mailbox::asking(Box::new(move |items| asked.ask(items)))?;
        let (sender, routes) = mpsc::channel();
        let mut state = group.lock();
        state.supervisor = Some(mailbox.sender());
        state.routes = Some(sender);
        drop(state);
        let run = group.clone();
        let thread = thread::Builder::new().name("wasmpool".to_owned()).spawn(move || run.run(&mailbox, routes));
        Ok((group, thread.map_err(Error::spawn)?))
    }

    fn lock(&self) -> MutexGuard<'_, GroupState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the supervisor's request for items, and returns true if it could be answered at once.
    fn ask(&self, items: usize) -> bool {
        let mut state = self.lock();
        state.wanted = items;
        state.give()
    }

    pub fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::SeqCst)
    }

    /// Returns true if the group has no job, and is not expecting one.
    pub fn is_idle(&self) -> bool {
        self.live.load(Ordering::SeqCst) == 0
    }

    pub fn send(&self, event: Event) {
        if let Some(supervisor) = &self.lock().supervisor {
            supervisor.send(event);
        }
    }

    /// Returns an error in a process that was forked off from the pool's: see [`SharedWorkers::check_owner`].
    pub fn check_owner(&self) -> Result<(), Error> {
        self.shared.check_owner()
    }

    // ---- jobs --------------------------------------------------------------------------------------------------------

    /// Announces a job. Must be called under the lock that decides whether the group may still take one.
    pub fn expect_job(&self) {
        self.live.fetch_add(1, Ordering::SeqCst);
    }

    /// Registers the job that was announced.
    pub fn begin(&self, job: &Arc<Job>) {
        let mut state = self.lock();
        if let Some(ended) = &state.ended {
            let ended = ended.clone();
            drop(state);
            return self.settle(job, job.end(ended));
        }
        state.jobs.insert(Arc::as_ptr(job).addr(), job.clone());
    }

    /// Adds items to a job.
    pub fn submit(&self, job: &Arc<Job>, batch: Batch) {
        let count = batch.sizes.len();
        if count == 0 {
            return;
        }
        job.submitting(count);
        let before = self.outstanding.fetch_add(count, Ordering::SeqCst);
        self.shared.need_changed(before);
        let mut state = self.lock();
        if state.ended.is_some() || !state.jobs.contains_key(&Arc::as_ptr(job).addr()) {
            drop(state);
            // The job is already over and knows it; nothing else would count these items as finished.
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
        // If it were woken sooner, it might take this thread's processor only to wait for the lock.
        drop(state);
        if let Some(supervisor) = supervisor {
            supervisor.wake();
        }
    }

    /// Marks a job as complete: no more items of it will come.
    pub fn seal(&self, job: &Arc<Job>) {
        self.settle(job, job.seal());
    }

    /// Ends a job: drops items that no worker was given, ignores the outcomes of the others, and ends workers that stay
    /// in them.
    pub fn cancel(&self, job: &Arc<Job>) {
        // Dropping items may run the caller's code, which must not happen under the locks.
        let (forgotten, _items) = {
            let mut state = self.lock();
            let mut queue = job.queue();
            let forgotten = queue.clear();
            if std::mem::take(&mut queue.listed) {
                state.row.retain(|other| !Arc::ptr_eq(other, job));
            }
            forgotten
        };
        self.finished(forgotten);
        let told = job.end(JobEnd::Cancelled);
        let in_work = told.is_some();
        self.settle(job, told);
        if in_work {
            self.send(Event::Unwanted);
        }
    }

    /// Cancels the items that no worker has begun, and has no job take more.
    pub fn cancel_pending(&self) {
        let mut cancelled = Vec::new();
        {
            let mut state = self.lock();
            state.row.clear();
            for job in state.jobs.values() {
                let mut queue = job.queue();
                queue.listed = false;
                let first = queue.given;
                // Dropping items may run the caller's code, which must not happen under the locks.
                let (count, items) = queue.clear();
                queue.given += count as u64;
                cancelled.push((job.clone(), first..first + count as u64, items));
            }
        }
        for (job, items, _dropped) in cancelled {
            self.finished((items.end - items.start) as usize);
            let delivery = job.deliver(items.map(|index| (index, Err(FailedItem::cancelled()))));
            job.wake_for_few();
            self.settle(&job, delivery.told);
            self.settle(&job, job.shut());
        }
        self.send(Event::CancelPending);
    }

    /// Returns what the workers of the group are doing. None is known while the task is being compiled.
    pub fn report(&self) -> Vec<WorkerReport> {
        if !self.supervised.load(Ordering::SeqCst) {
            return Vec::new();
        }
        let (sender, reports) = mpsc::channel();
        self.send(Event::Report(sender));
        // The sender goes with the supervisor, if that ends first.
        reports.recv_timeout(REPORT_PATIENCE).unwrap_or_default()
    }

    /// Tells the pool's hook what became of a worker.
    pub fn worker_event(&self, event: impl FnOnce() -> WorkerEvent) {
        self.shared.worker_event(event);
    }

    /// Stops the jobs whose items are read by the calling thread from taking more items.
    pub fn shut_own_jobs(&self) {
        let jobs: Vec<Arc<Job>> = self.lock().jobs.values().cloned().collect();
        for job in jobs {
            self.settle(&job, job.shut_own());
        }
    }

    /// Ends all jobs, and every job that is begun later.
    pub fn end(&self, ended: &JobEnd) {
        let jobs = {
            let mut state = self.lock();
            state.row.clear();
            let jobs = std::mem::take(&mut state.jobs);
            state.ended.get_or_insert_with(|| ended.clone());
            jobs
        };
        for job in jobs.values() {
            let (forgotten, _items) = job.queue().clear();
            self.finished(forgotten);
            self.settle(job, job.end(ended.clone()));
        }
    }

    /// Ends all jobs, kills the workers, and lets the thread end.
    pub fn terminate(&self) {
        self.end(&JobEnd::Cancelled);
        ring(&self.stop);
        self.send(Event::Terminate);
    }

    /// Counts items that have an outcome, or no longer need one.
    pub fn finished(&self, items: usize) {
        if items > 0 {
            let before = self.outstanding.fetch_sub(items, Ordering::SeqCst);
            let left = before.checked_sub(items).expect("no item is finished twice");
            self.shared.need_changed(left);
        }
    }

    /// Tells the listeners of a job that it is over, if it has just ended.
    pub fn settle(&self, job: &Arc<Job>, told: Option<JobListeners>) {
        let Some(JobListeners { wakers, callbacks }) = told else {
            return;
        };
        self.lock().jobs.remove(&Arc::as_ptr(job).addr());
        for waker in wakers {
            // Wakers and callbacks are the user's code. The panic hook has already printed the message.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
        for callback in callbacks {
            self.shared.callbacks.call(callback);
        }
        if self.live.fetch_sub(1, Ordering::SeqCst) == 1 && self.shared.is_closing() {
            self.send(Event::InputEnd);
        }
    }

    pub fn unprotected(&self, lacking: &[LayerPart]) {
        self.shared.unprotected(lacking);
    }

    /// Runs a callback that was registered after its job had ended.
    pub fn call_back(&self, callback: super::callbacks::Callback) {
        self.shared.callbacks.call(callback);
    }

    // ---- the thread --------------------------------------------------------------------------------------------------

    /// Runs the supervisor until the group is told to end or cannot continue.
    fn run(self: &Arc<CallGroup>, mailbox: &Mailbox, routes: Receiver<JobRoute>) {
        // Whatever happens here, no caller may wait for ever.
        let ended = match caught("the thread that serves this call", || self.serve(mailbox, routes)).flatten() {
            Ok(_) | Err(Error::Interrupted) => JobEnd::Cancelled,
            Err(e) => JobEnd::Failed(e),
        };
        // Callers that still wait are told even if this panics.
        let _ = caught("the thread that serves this call", || self.end(&ended));
        self.supervised.store(false, Ordering::SeqCst);
        // The mailbox's sender refers back to this group: the cycle is broken here.
        self.lock().supervisor = None;
        self.shared.group_ended(self);
    }

    fn serve(self: &Arc<CallGroup>, mailbox: &Mailbox, routes: Receiver<JobRoute>) -> Result<RunEnd, Error> {
        large_results_come_and_go();
        #[cfg(feature = "hosts")]
        if let Some(hosts) = &self.shared.hosts {
            return self.serve_elsewhere(hosts, mailbox, routes);
        }
        let GroupKey { task, settings, item_form, result_form } = &self.key;
        let OpenedGrants { mut given, directories } = settings.grants.open(&ArtifactCache::of_user())?;
        let (objects, granted) = settings.sharing.start(None)?;
        given.shared = granted;
        let call = settings.call(given, *item_form, *result_form);
        let wanted = ArtifactKey::of(&call);
        let mut prepared = task.prepare(&wanted, Some(&self.stop))?;
        let mut sink = OutcomeRouter::new(self.clone(), routes);
        let workers = self.shared.workers();
        let config = settings.config(workers, WINDOW * (1 + workers));
        let spares = self.shared.spares.clone();
        spares.room().widen(Workers::of(workers, &call));
        let mut supervisor = Supervisor::new(&prepared, &call, &directories, config, spares, &mut sink, mailbox)?;
        supervisor.serve_on_demand();
        if let Some(objects) = objects {
            self.unprotected(objects.lacking());
            supervisor.share(objects, call.given.shared.clone());
        }
        self.supervised.store(true, Ordering::SeqCst);
        match supervisor.run() {
            Err(Error::Artifact(_)) if prepared.compiled.is_none() => {
                // The cached artifact was made on another machine: a new one is compiled. No item has run yet.
                prepared = task.prepare_anew(&wanted, Some(&self.stop), &prepared)?;
                supervisor.exchange(&prepared, &call)?;
                supervisor.run()
            }
            other => other,
        }
    }
}

#[cfg(feature = "hosts")]
impl CallGroup {
    /// Has other machines run the items.
    fn serve_elsewhere(
        self: &Arc<CallGroup>,
        hosts: &HostsOfPool,
        mailbox: &Mailbox,
        routes: Receiver<JobRoute>,
    ) -> Result<RunEnd, Error> {
        let GroupKey { task, settings, item_form, result_form } = &self.key;
        let call = settings.call(GuestGrants::default(), *item_form, *result_form);
        let run = CoordinatedRun {
            most: hosts.most,
            max_items_per_worker: settings.max_tasks_per_worker,
            grants: settings.grants.clone(),
            objects: settings.sharing.place(&hosts.access)?,
            ..CoordinatedRun::new(hosts.access.clone())
        };
        let mut sink = OutcomeRouter::new(self.clone(), routes);
        let slots = Coordinator::start(run, task.wasm(), &call, mailbox.sender())?;
        let config = settings.config(0, WINDOW);
        let mut supervisor = Supervisor::elsewhere(Box::new(slots), &call, config, &mut sink, mailbox)?;
        supervisor.serve_on_demand();
        self.supervised.store(true, Ordering::SeqCst);
        supervisor.run()
    }
}

/// Allocates 8 MiB and frees them, so that the allocator keeps memory of large results instead of returning it to the
/// kernel. The C library's allocator learns from this that such allocations recur, and keeps freed memory up to twice
/// that size in each of its arenas. Otherwise it returns large results to the kernel one by one, and the page faults
/// cost more than all other work on them. A program that has set its own threshold is not overruled, as it would be if
/// the threshold were set here.
fn large_results_come_and_go() {
    drop(black_box(Vec::<u8>::with_capacity(8 << 20)));
}
