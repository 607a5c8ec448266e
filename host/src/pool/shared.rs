//! What all handles of a pool share: its groups, their share of the worker processes, and whether it takes calls.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use super::callbacks::Callbacks;
use super::group::{Group, Key};
use wasmpool_core::layer::Part;
use wasmpool_run::error::Error;
use wasmpool_run::scarce::patiently;
use wasmpool_run::spawn::Program;
use wasmpool_run::supervisor::{Event, Spares};
use wasmpool_scheduler::shares::{Claim, share};

/// Groups that are kept, with nothing to do. Each costs a thread, and its workers where there is room for them.
const MOST_IDLE: usize = 16;

pub(super) struct Shared {
    /// The process that built the pool, whose threads serve it.
    owner: u32,
    pub program: Program,
    pub spares: Spares,
    pub callbacks: Callbacks,
    budget: AtomicUsize,
    /// No calls are taken; groups end when their jobs are over.
    closing: AtomicBool,
    central: Mutex<Central>,
    /// A group has ended.
    ended: Condvar,
}

#[derive(Default)]
struct Central {
    /// With what each needs and has of the workers.
    groups: HashMap<Key, (Arc<Group>, Claim)>,
    /// Threads that have not ended, and those to be waited for.
    running: usize,
    threads: Vec<JoinHandle<()>>,
    /// Counts calls.
    clock: u64,
    unprotected: BTreeSet<String>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("workers", &self.workers()).field("closing", &self.is_closing()).finish()
    }
}

impl Shared {
    pub fn new(program: Program, workers: usize) -> Shared {
        Shared {
            owner: std::process::id(),
            spares: Spares::new(program.clone()),
            program,
            callbacks: Callbacks::default(),
            budget: AtomicUsize::new(workers),
            closing: AtomicBool::new(false),
            central: Mutex::default(),
            ended: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Central> {
        self.central.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn workers(&self) -> usize {
        self.budget.load(Ordering::SeqCst)
    }

    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Refuses a process that was forked off from the pool's: it has none of its threads, whose locks may be held for ever.
    pub fn check_owner(&self) -> Result<(), Error> {
        if self.is_ours() { Ok(()) } else { Err(Error::Forked) }
    }

    pub fn is_ours(&self) -> bool {
        self.owner == std::process::id()
    }

    /// The group for a call, which is told that a job is to come.
    pub fn group(self: &Arc<Shared>, key: Key) -> Result<Arc<Group>, Error> {
        self.check_owner()?;
        // Tried again without the lock: others may have groups.
        patiently(None, || self.find_group(&key))
    }

    fn find_group(self: &Arc<Shared>, key: &Key) -> Result<Arc<Group>, Error> {
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
        let (group, thread) = Group::start(key.clone(), self)?;
        group.expect_job();
        central.threads.retain(|thread| !thread.is_finished());
        central.threads.push(thread);
        central.running += 1;
        central.groups.insert(key.clone(), (group.clone(), Claim { need: 0, held: 0, used }));
        Ok(group)
    }

    /// The number of items of a group rose or fell from (or to) `items`: whether its share changes depends on that.
    pub fn need_changed(&self, items: usize) {
        let budget = self.workers();
        if items < budget {
            self.lock().share(budget);
        }
    }

    /// Changes how many workers there are in all.
    pub fn resize(&self, workers: usize) {
        if !self.is_ours() {
            return;
        }
        let mut central = self.lock();
        if workers < self.budget.swap(workers, Ordering::SeqCst) {
            self.spares.clear();
        }
        central.share(workers);
    }

    pub fn group_ended(&self, group: &Arc<Group>) {
        let mut central = self.lock();
        if central.groups.get(&group.key).is_some_and(|(known, _)| Arc::ptr_eq(known, group)) {
            central.groups.remove(&group.key);
        }
        central.running -= 1;
        self.ended.notify_all();
    }

    pub fn unprotected(&self, lacking: &[Part]) {
        self.lock().unprotected.extend(lacking.iter().map(|part| format!("{part:?}")));
    }

    pub fn lacking(&self) -> Vec<String> {
        if !self.is_ours() {
            return Vec::new();
        }
        self.lock().unprotected.iter().cloned().collect()
    }

    // ---- the end -----------------------------------------------------------------------------------------------------

    pub fn close(&self) {
        if !self.is_ours() {
            return;
        }
        let central = self.lock();
        self.closing.store(true, Ordering::SeqCst);
        for (group, _) in central.groups.values().filter(|(group, _)| group.is_idle()) {
            group.tell(Event::InputEnd);
        }
    }

    pub fn terminate(&self) {
        if !self.is_ours() {
            return;
        }
        let mut central = self.lock();
        self.closing.store(true, Ordering::SeqCst);
        let groups: Vec<Arc<Group>> = central.groups.drain().map(|(_, (group, _))| group).collect();
        drop(central);
        for group in groups {
            group.terminate();
        }
    }

    /// Waits for the threads of all groups, which have their workers reaped before they end. `false` if the deadline came
    /// first.
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

    /// The thread that calls this is about to wait: what it alone could go on with cannot.
    pub fn shut_own_jobs(&self) {
        let groups: Vec<Arc<Group>> = self.lock().groups.values().map(|(group, _)| group.clone()).collect();
        for group in groups {
            group.shut_own_jobs();
        }
    }
}

impl Central {
    /// Shares out the workers anew, and tells groups whose share has changed.
    fn share(&mut self, budget: usize) {
        for (group, claim) in self.groups.values_mut() {
            claim.need = group.outstanding().min(budget);
        }
        let claims: Vec<Claim> = self.groups.values().map(|(_, claim)| *claim).collect();
        for ((group, claim), workers) in self.groups.values_mut().zip(share(budget, &claims)) {
            if claim.held != workers {
                claim.held = workers;
                group.tell(Event::Workers(workers));
            }
        }
    }

    /// Ends the group that was idle for longest, where there are too many.
    fn make_room(&mut self) {
        if self.groups.len() < MOST_IDLE {
            return;
        }
        let is_idle = |group: &Group| group.is_idle() && group.outstanding() == 0;
        let idle = self.groups.iter().filter(|(_, (group, _))| is_idle(group)).min_by_key(|(_, (_, claim))| claim.used);
        if let Some(key) = idle.map(|(key, _)| key.clone())
            && let Some((group, _)) = self.groups.remove(&key)
        {
            group.tell(Event::InputEnd);
        }
    }
}
