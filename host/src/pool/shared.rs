//! The state that all handles of a pool share: its groups, their share of the worker processes, and whether it takes
//! calls.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use super::callbacks::{Callback, Callbacks};
use super::events::{ProcessInfo, ProcessRole, WorkerEvent, WorkerHook};
use super::group::{CallGroup, GroupKey};
use wasmpool_core::layer::LayerPart;
#[cfg(feature = "hosts")]
use wasmpool_nats::access::BrokerAccess;
use wasmpool_run::cgroup::{HostPlacement, Room, Workers};
use wasmpool_run::error::Error;
use wasmpool_run::scarce::patiently;
use wasmpool_run::spawn::{ChildProgram, ChildRole};
use wasmpool_run::supervisor::{Event, SpareWorkers};
use wasmpool_scheduler::shares::{WorkerDemand, share};

/// Number of groups up to which idle ones are kept. Each costs a thread, and its workers where there is room for them.
const MOST_IDLE: usize = 16;

pub(super) struct SharedWorkers {
    /// The process that built the pool, whose threads serve it.
    owner: u32,
    pub program: ChildProgram,
    pub spares: SpareWorkers,
    pub callbacks: Callbacks,
    hook: Option<WorkerHook>,
    #[cfg(feature = "hosts")]
    pub hosts: Option<HostsOfPool>,
    budget: AtomicUsize,
    /// True once no calls are taken; groups end when their jobs are over.
    closing: AtomicBool,
    central: Mutex<WorkerCentral>,
    /// Notified when a group has ended.
    ended: Condvar,
}

/// The machines that run a pool's items in place of its own processes.
#[cfg(feature = "hosts")]
#[derive(Clone, Debug)]
pub(super) struct HostsOfPool {
    pub access: BrokerAccess,
    /// Maximum number of chunks that they have at a time, for each distinct call.
    pub most: Option<usize>,
}

#[derive(Default)]
struct WorkerCentral {
    /// Groups, each with the number of workers that it needs and has.
    groups: HashMap<GroupKey, (Arc<CallGroup>, WorkerDemand)>,
    /// Number of group threads that have not ended; `threads` are those to be joined.
    running: usize,
    threads: Vec<JoinHandle<()>>,
    /// Counts calls, to find the group that was idle for longest.
    clock: u64,
    unprotected: BTreeSet<String>,
}

impl fmt::Debug for SharedWorkers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("workers", &self.workers()).field("closing", &self.is_closing()).finish()
    }
}

impl SharedWorkers {
    pub fn new(program: ChildProgram, workers: usize, hook: Option<WorkerHook>) -> SharedWorkers {
        // What a call grants its task may differ from that of another, so workers give nothing up before they have one.
        // How much each worker may take is known when the first call is made.
        let room = Room::new(HostPlacement::Stays, Workers { count: workers, each: 0 });
        SharedWorkers {
            owner: std::process::id(),
            spares: SpareWorkers::new(program.clone(), ChildRole::Worker, room),
            program,
            callbacks: Callbacks::default(),
            hook,
            #[cfg(feature = "hosts")]
            hosts: None,
            budget: AtomicUsize::new(workers),
            closing: AtomicBool::new(false),
            central: Mutex::default(),
            ended: Condvar::new(),
        }
    }

    /// Has items run on other machines.
    #[cfg(feature = "hosts")]
    pub fn over(self, hosts: HostsOfPool) -> SharedWorkers {
        SharedWorkers { hosts: Some(hosts), ..self }
    }

    fn lock(&self) -> MutexGuard<'_, WorkerCentral> {
        self.central.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn workers(&self) -> usize {
        self.budget.load(Ordering::SeqCst)
    }

    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Returns an error in a process that was forked off from the pool's: it has none of the pool's threads, whose
    /// locks may be held for ever.
    pub fn check_owner(&self) -> Result<(), Error> {
        if self.is_ours() { Ok(()) } else { Err(Error::Forked) }
    }

    pub fn is_ours(&self) -> bool {
        self.owner == std::process::id()
    }

    /// Returns the group for a call, and has it expect a job.
    pub fn group(self: &Arc<SharedWorkers>, key: GroupKey) -> Result<Arc<CallGroup>, Error> {
        self.check_owner()?;
        // Tried again without holding the lock, so that others get their groups meanwhile.
        patiently(None, || self.find_group(&key))
    }

    fn find_group(self: &Arc<SharedWorkers>, key: &GroupKey) -> Result<Arc<CallGroup>, Error> {
        let mut central = self.lock();
        if self.is_closing() {
            return Err(Error::Closed);
        }
        central.clock += 1;
        let used = central.clock;
        if let Some((group, claim)) = central.groups.get_mut(key) {
            claim.used = used;
            group.expect_job();
            return Ok(group.clone());
        }
        central.make_room();
        let (group, thread) = CallGroup::start(key.clone(), self)?;
        group.expect_job();
        central.threads.retain(|thread| !thread.is_finished());
        central.threads.push(thread);
        central.running += 1;
        central.groups.insert(key.clone(), (group.clone(), WorkerDemand { need: 0, held: 0, used }));
        Ok(group)
    }

    /// Shares out the workers anew if that may change: the number of items of a group rose from, or fell to, `items`.
    pub fn need_changed(&self, items: usize) {
        let budget = self.workers();
        if items < budget {
            self.lock().share(budget);
        }
    }

    /// Changes the number of workers in all.
    pub fn resize(&self, workers: usize) {
        if !self.is_ours() {
            return;
        }
        self.spares.room().widen(Workers { count: workers, each: 0 });
        let mut central = self.lock();
        if workers < self.budget.swap(workers, Ordering::SeqCst) {
            self.spares.clear();
        }
        central.share(workers);
    }

    pub fn group_ended(&self, group: &Arc<CallGroup>) {
        let mut central = self.lock();
        if central.groups.get(&group.key).is_some_and(|(known, _)| Arc::ptr_eq(known, group)) {
            central.groups.remove(&group.key);
        }
        central.running -= 1;
        self.ended.notify_all();
    }

    pub fn unprotected(&self, lacking: &[LayerPart]) {
        self.lock().unprotected.extend(lacking.iter().map(|part| format!("{part:?}")));
    }

    pub fn lacking(&self) -> Vec<String> {
        if !self.is_ours() {
            return Vec::new();
        }
        self.lock().unprotected.iter().cloned().collect()
    }

    /// Tells the hook of an event, if there is one.
    pub fn worker_event(&self, event: impl FnOnce() -> WorkerEvent) {
        if let Some(WorkerHook(hook)) = &self.hook {
            let (hook, event) = (hook.clone(), event());
            self.callbacks.call(Callback(Box::new(move || hook(&event))));
        }
    }

    /// Returns all processes of the pool, by number.
    pub fn processes(&self) -> Vec<ProcessInfo> {
        if !self.is_ours() {
            return Vec::new();
        }
        let spares = self.spares.waiting().into_iter();
        let spares = spares.map(|(pid, since)| (pid, ProcessRole::Spare, None, since));
        let groups: Vec<Arc<CallGroup>> = self.lock().groups.values().map(|(group, _)| group.clone()).collect();
        let workers = groups.iter().flat_map(|group| group.report()).map(|report| {
            let role = if report.ready { ProcessRole::Worker } else { ProcessRole::Starting };
            (report.pid, role, report.item, report.since)
        });
        let all = spares.chain(workers);
        let mut all: Vec<ProcessInfo> =
            all.map(|(pid, role, item, since)| ProcessInfo { pid, role, name: None, item, since }).collect();
        all.sort_by_key(|process| process.pid);
        all
    }

    // ---- the end -----------------------------------------------------------------------------------------------------

    pub fn close(&self) {
        if !self.is_ours() {
            return;
        }
        let central = self.lock();
        self.closing.store(true, Ordering::SeqCst);
        for (group, _) in central.groups.values().filter(|(group, _)| group.is_idle()) {
            group.send(Event::InputEnd);
        }
    }

    pub fn terminate(&self) {
        if !self.is_ours() {
            return;
        }
        let mut central = self.lock();
        self.closing.store(true, Ordering::SeqCst);
        let groups: Vec<Arc<CallGroup>> = central.groups.drain().map(|(_, (group, _))| group).collect();
        drop(central);
        for group in groups {
            group.terminate();
        }
    }

    /// Takes no more calls, and cancels the items that no worker has begun.
    pub fn cancel_pending(&self) {
        self.close();
        if !self.is_ours() {
            return;
        }
        let groups: Vec<Arc<CallGroup>> = self.lock().groups.values().map(|(group, _)| group.clone()).collect();
        for group in groups {
            group.cancel_pending();
        }
    }

    /// Waits for the threads of all groups, which have their workers reaped before they end. Returns false if the
    /// deadline came first.
    pub fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut central = self.lock();
        while central.running > 0 {
            central = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.ended.wait(central).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return false,
                Some(left) => self.ended.wait_timeout(central, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        let threads = std::mem::take(&mut central.threads);
        drop(central);
        for thread in threads {
            let _ = thread.join();
        }
        true
    }

    /// Stops the jobs of the calling thread from taking more items. To be called before that thread blocks: work that
    /// only it could drive cannot continue.
    pub fn shut_own_jobs(&self) {
        let groups: Vec<Arc<CallGroup>> = self.lock().groups.values().map(|(group, _)| group.clone()).collect();
        for group in groups {
            group.shut_own_jobs();
        }
    }
}

impl WorkerCentral {
    /// Shares out the workers anew, and tells groups whose share has changed.
    fn share(&mut self, budget: usize) {
        for (group, claim) in self.groups.values_mut() {
            claim.need = group.outstanding().min(budget);
        }
        let claims: Vec<WorkerDemand> = self.groups.values().map(|(_, claim)| *claim).collect();
        for ((group, claim), workers) in self.groups.values_mut().zip(share(budget, &claims)) {
            if claim.held != workers {
                claim.held = workers;
                group.send(Event::Workers(workers));
            }
        }
    }

    /// Ends the group that was idle for longest, if there are too many.
    fn make_room(&mut self) {
        if self.groups.len() < MOST_IDLE {
            return;
        }
        let is_idle = |group: &CallGroup| group.is_idle() && group.outstanding() == 0;
        let idle = self.groups.iter().filter(|(_, (group, _))| is_idle(group)).min_by_key(|(_, (_, claim))| claim.used);
        if let Some(key) = idle.map(|(key, _)| key.clone())
            && let Some((group, _)) = self.groups.remove(&key)
        {
            group.send(Event::InputEnd);
        }
    }
}
