//! Checks at every order and whenever the host goes to sleep, besides those of the ledger.

use std::time::Duration;

use super::{Known, Simulation};
use crate::worker::{Doing, Worker};
use crate::{Violation, promise};
use wasmpool_scheduler::{ChunkSize, Time, WorkerId};

impl Simulation {
    /// Checks what must hold whenever the host goes to sleep.
    pub(super) fn check(&mut self) -> Result<(), Violation> {
        let (world, config) = (&self.world, &self.world.config);
        let window = config.window as u64;
        let all = self.ledger.in_memory();
        self.was_full |= all >= window;
        // If items differ in size, the scheduler knows only the sum over a chunk, and estimates the size of a part.
        if !world.large_items {
            promise!(all < window || !self.scheduler.wants_input(), "input is wanted with {all} bytes of {window}");
            let items = self.ledger.items_in_memory();
            promise!(items <= window + self.largest_read, "{items} bytes of items are held, of {window}");
        }
        // Asking each worker would make large worlds slow.
        if self.most_allowed <= 32 && !self.is_cut_short() {
            self.check_staff()?;
            for &id in self.workers.keys() {
                let several = self.ledger.holds_several(id);
                promise!(
                    self.scheduler.has_several_in_work(id) == several,
                    "that worker {id} has several is {several}"
                );
            }
        }
        self.check_unwanted()?;
        self.check_service()
    }

    /// Checks that no worker stays for long in items that nobody wants.
    fn check_unwanted(&mut self) -> Result<(), Violation> {
        /// The permitted time, including what the host needs to notice.
        const GRACE: Duration = Duration::from_millis(105);
        if self.world.callers.as_ref().is_none_or(|callers| callers.leave_every.is_none()) {
            return Ok(());
        }
        for (&id, (worker, known)) in &mut self.workers {
            let next = self.ledger.next_of(id).filter(|_| !worker.dead && !known.ends);
            let unwanted = next.is_some_and(|index| self.ledger.is_given_up(index));
            known.unwanted_since = unwanted.then(|| known.unwanted_since.unwrap_or(self.now));
            // Between two looks the worker may have been in other items.
            let long = known.unwanted_since.map_or(Duration::ZERO, |since| self.now - since.max(known.quiet_since));
            promise!(long <= GRACE + self.world.latency, "worker {id} is in items that nobody wants for {long:?}");
        }
        Ok(())
    }

    /// Checks the number of workers.
    fn check_staff(&mut self) -> Result<(), Violation> {
        let (allowed, config) = (self.allowed, &self.world.config);
        let staying = self.staying();
        // Surplus workers finish their items, or their start, and are given nothing more.
        let finishing = |(id, (worker, known)): (&WorkerId, &(Worker, Known))| {
            known.old && !worker.dead && !known.ends && (!known.ready || !self.ledger.holds_nothing(*id))
        };
        let finishing = self.workers.iter().filter(|&entry| finishing(entry)).count();
        self.surplus = self.surplus.min(finishing);
        // A worker that will be replaced soon and its replacement may both exist.
        let replaced = if config.max_items_per_worker.is_some() { 2 } else { 1 };
        let most = allowed * replaced + self.surplus;
        promise!(staying <= most, "{staying} workers, with {allowed} allowed and {} that finish", self.surplus);
        let busy = self.busy();
        let most = allowed + self.surplus;
        promise!(busy <= most, "{busy} workers have items, with {allowed} allowed and {} that finish", self.surplus);
        if self.world.callers.is_some() {
            let most = self.most_items as usize * replaced + self.surplus;
            promise!(staying <= most, "{staying} workers, though never more than {} items were there", self.most_items);
        }
        Ok(())
    }

    /// Checks that items served on demand do not wait for items that may come later.
    fn check_service(&mut self) -> Result<(), Violation> {
        if self.world.callers.is_none() || self.stopped || self.ledger.has_halted() {
            return Ok(());
        }
        let waiting = self.read - self.ledger.given_out();
        if let ChunkSize::Fixed(chunk) = self.world.config.chunk {
            let most = u64::from(chunk) * self.most_allowed.max(1) as u64;
            promise!(waiting <= most, "{waiting} items were taken in advance, a chunk for each worker are {most}");
        }
        // No other item is running, and no more come for now.
        let alone = waiting > 0 && self.given == self.called && self.read == self.given;
        if alone && self.ledger.given_out() == self.ledger.emitted() && self.allowed > 0 {
            let staying = |(worker, known): &&(Worker, Known)| !worker.dead && !known.ends;
            // A start that failed is tried again.
            let started =
                self.scheduler.next_deadline().is_some() || self.workers.values().any(|worker| staying(&worker));
            promise!(started, "no worker is started for {waiting} items");
            let idle = self.workers.values().filter(staying).any(|(_, known)| known.ready && !known.old);
            promise!(!idle, "{waiting} items wait, alone, while a worker has nothing to do");
        }
        Ok(())
    }

    /// Returns the number of workers that were not told to end.
    pub(super) fn staying(&self) -> usize {
        self.workers.values().filter(|(w, known)| !w.dead && !known.ends).count()
    }

    /// Checks that a worker, idle or not, may be given a chunk.
    pub(super) fn may_have(&self, id: WorkerId, idle: bool) -> Result<(), Violation> {
        // Asking each worker would make large worlds slow.
        if idle && self.most_allowed <= 32 {
            let busy = self.busy();
            promise!(busy < self.allowed, "worker {id} gets to work beside {busy}, with {} allowed", self.allowed);
        }
        // One caller's only item could be behind another caller's that never ends.
        promise!(
            idle || !self.knows_of_several,
            "items wait in worker {id} behind others, though several callers are served"
        );
        Ok(())
    }

    /// Returns the number of workers that have items and were not told to end.
    fn busy(&self) -> usize {
        let busy = |id: &WorkerId| self.workers.get(id).is_some_and(|(_, known)| !known.ends);
        self.ledger.holders().filter(busy).count()
    }

    /// Returns how long a worker has been running its item, as far as can be seen from outside.
    pub(super) fn late_by(&self, worker: &Worker, known: &Known) -> Duration {
        let began = if matches!(worker.doing, Doing::Running { .. }) { worker.since } else { Time::ZERO };
        self.now.saturating_sub(known.quiet_since.max(began))
    }

    /// Checks that a worker, whatever it reports, is dealt with 5 s after its items have had their time by the host's
    /// clock, and after each single item within 5 s of that item's time.
    pub(super) fn in_time_whatever_it_says(
        &self,
        id: WorkerId,
        worker: &Worker,
        known: &Known,
    ) -> Result<(), Violation> {
        let (faults, timeout) = (&self.world.faults, self.world.config.timeout);
        // Deadlines are delayed by whatever keeps the host, or the output, from taking outcomes; a start has a deadline
        // of its own.
        if self.was_full || faults.host_stops_every.is_some() || worker.doing == Doing::Loading {
            return Ok(());
        }
        // For slow delivery of bytes and busy machines, whatever the worker reports.
        let aside = Duration::from_secs(5) + self.world.latency;
        let excused = if faults.overloaded { timeout * 9 } else { Duration::ZERO };
        // A batch is tried as a whole before its items are.
        let whole = if self.world.config.batch { timeout } else { Duration::ZERO };
        let item = self.now.saturating_sub(known.quiet_since);
        let most = timeout + whole + excused + aside;
        promise!(item <= most, "worker {id} is left alone with an item for {item:?}, its time is {timeout:?}");
        let all = self.now.saturating_sub(known.busy_since);
        let items = u32::try_from(known.given).unwrap_or(u32::MAX);
        let most = (timeout + excused) * items + whole + aside;
        promise!(all <= most, "worker {id} is left alone for {all:?} with {items} items of {timeout:?} each");
        Ok(())
    }

    /// Checks that no chunk waited behind an item until that was out of time, unless the chunk had begun.
    pub(super) fn nothing_waited_behind(&self, id: WorkerId, worker: &Worker, known: &Known) -> Result<(), Violation> {
        let Some(behind) = known.behind.filter(|&chunk| self.ledger.holds(id, chunk)) else {
            return Ok(());
        };
        let begun = worker.has_begun(behind);
        // When the worker was looked at, too little was left of the item's time.
        let delayed = self.was_full || self.world.faults.host_stops_every.is_some() || worker.liar;
        let quick = self.world.config.timeout < 4 * self.world.latency.max(Duration::from_millis(1));
        promise!(begun || delayed || quick, "chunk {behind} waits in worker {id} behind an item until that is late");
        Ok(())
    }

    /// Checks that a worker that is dealt with for being late was dealt with in time.
    pub(super) fn in_time(
        &self,
        id: WorkerId,
        worker: &Worker,
        late: Duration,
        limit: Duration,
    ) -> Result<(), Violation> {
        // Outcomes are left with a worker only if there is no room for them; meanwhile its time stands still.
        promise!(worker.ring.is_empty() || worker.dead, "worker {id} is late, but it is the host that does not listen");
        let (faults, timeout) = (&self.world.faults, self.world.config.timeout);
        // Deadlines are delayed by whatever keeps the host, or the output, from taking outcomes.
        let delayed = self.was_full || faults.host_stops_every.is_some() || worker.liar;
        let excused = if faults.overloaded { timeout * 9 } else { Duration::ZERO };
        let most = limit + excused + self.world.latency + Duration::from_millis(1);
        promise!(late <= most || delayed, "worker {id} is late with {late:?} of {limit:?} before anybody minds");
        Ok(())
    }
}
