//! What holds at every order and whenever the host goes to sleep, beside what the ledger knows of items.

use std::time::Duration;

use super::{Known, Simulation};
use crate::worker::{Doing, Worker};
use crate::{Violation, promise};
use wasmpool_scheduler::{ChunkSize, Time, WorkerId};

impl Simulation {
    /// What holds whenever the host goes to sleep.
    pub(super) fn check(&mut self) -> Result<(), Violation> {
        let (world, config) = (&self.world, &self.world.config);
        let window = config.window as u64;
        let all = self.ledger.in_memory();
        self.was_full |= all >= window;
        // Of items that differ the scheduler knows only the sum over a chunk; what it says of a part is an estimate.
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

    /// No worker stays for long in items that nobody wants.
    fn check_unwanted(&mut self) -> Result<(), Violation> {
        /// With what the host needs to notice.
        const GRACE: Duration = Duration::from_millis(105);
        if self.world.callers.as_ref().is_none_or(|callers| callers.leave_every.is_none()) {
            return Ok(());
        }
        for (&id, (worker, known)) in &mut self.workers {
            let next = self.ledger.next_of(id).filter(|_| !worker.dead && !known.ends);
            let unwanted = next.is_some_and(|index| self.ledger.is_given_up(index));
            known.unwanted_since = unwanted.then(|| known.unwanted_since.unwrap_or(self.now));
            // Between two looks it may have been in others.
            let long = known.unwanted_since.map_or(Duration::ZERO, |since| self.now - since.max(known.quiet_since));
            promise!(long <= GRACE + self.world.latency, "worker {id} is in items that nobody wants for {long:?}");
        }
        Ok(())
    }

    /// How many workers there are.
    fn check_staff(&mut self) -> Result<(), Violation> {
        let (allowed, config) = (self.allowed, &self.world.config);
        let staying = self.staying();
        // Those that are too many finish what they have, or how they start, and are given nothing more.
        let finishing = |(id, (worker, known)): (&WorkerId, &(Worker, Known))| {
            known.old && !worker.dead && !known.ends && (!known.ready || !self.ledger.holds_nothing(*id))
        };
        let finishing = self.workers.iter().filter(|&entry| finishing(entry)).count();
        self.surplus = self.surplus.min(finishing);
        // One that will be replaced soon and its replacement may both be there.
        let replaced = if config.max_tasks_per_worker.is_some() { 2 } else { 1 };
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

    /// Who is served on demand waits for nobody who may come later.
    fn check_service(&mut self) -> Result<(), Violation> {
        if self.world.callers.is_none() || self.stopped || self.ledger.has_halted() {
            return Ok(());
        }
        let waiting = self.read - self.ledger.given_out();
        if let ChunkSize::Fixed(chunk) = self.world.config.chunk {
            let most = u64::from(chunk) * self.most_allowed.max(1) as u64;
            promise!(waiting <= most, "{waiting} items were taken in advance, a chunk for each worker are {most}");
        }
        // Nobody else is in work, and no more come for now.
        let alone = waiting > 0 && self.given == self.called && self.read == self.given;
        if alone && self.ledger.given_out() == self.ledger.emitted() && self.allowed > 0 {
            let staying = |(worker, known): &&(Worker, Known)| !worker.dead && !known.ends;
            // One that failed to start is tried again.
            let started =
                self.scheduler.next_deadline().is_some() || self.workers.values().any(|worker| staying(&worker));
            promise!(started, "no worker is started for {waiting} items");
            let idle = self.workers.values().filter(staying).any(|(_, known)| known.ready && !known.old);
            promise!(!idle, "{waiting} items wait, alone, while a worker has nothing to do");
        }
        Ok(())
    }

    /// Workers that were not told to end.
    pub(super) fn staying(&self) -> usize {
        self.workers.values().filter(|(w, known)| !w.dead && !known.ends).count()
    }

    /// Whether a worker, which has nothing to do or something, may be given a chunk.
    pub(super) fn may_have(&self, id: WorkerId, idle: bool) -> Result<(), Violation> {
        // Asking each worker would make large worlds slow.
        if idle && self.most_allowed <= 32 {
            let busy = self.busy();
            promise!(busy < self.allowed, "worker {id} gets to work beside {busy}, with {} allowed", self.allowed);
        }
        // Somebody's only item could be behind another's that never ends.
        promise!(
            idle || !self.knows_of_several,
            "items wait in worker {id} behind others, though several callers are served"
        );
        Ok(())
    }

    /// Workers that have items, and were not told to end.
    fn busy(&self) -> usize {
        let busy = |id: &WorkerId| self.workers.get(id).is_some_and(|(_, known)| !known.ends);
        self.ledger.holders().filter(busy).count()
    }

    /// How long a worker has been at its item, for all that can be seen from outside.
    pub(super) fn late_by(&self, worker: &Worker, known: &Known) -> Duration {
        let began = if matches!(worker.doing, Doing::Running { .. }) { worker.since } else { Time::ZERO };
        self.now.saturating_sub(known.quiet_since.max(began))
    }

    /// Whatever a worker says, it is dealt with when what it holds has had its time, by the host's clock, and 5 s; and each
    /// single item within 5 s of its own.
    pub(super) fn in_time_whatever_it_says(
        &self,
        id: WorkerId,
        worker: &Worker,
        known: &Known,
    ) -> Result<(), Violation> {
        let (faults, timeout) = (&self.world.faults, self.world.config.timeout);
        // What keeps the host, or the output, from taking outcomes puts deadlines off; a start has another.
        if self.was_full || faults.host_stops_every.is_some() || worker.doing == Doing::Loading {
            return Ok(());
        }
        // Few bytes, and machines that are busy: not its word.
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

    /// No chunk waited behind an item until that was out of time, unless it was begun.
    pub(super) fn nothing_waited_behind(&self, id: WorkerId, worker: &Worker, known: &Known) -> Result<(), Violation> {
        let Some(behind) = known.behind.filter(|&chunk| self.ledger.holds(id, chunk)) else {
            return Ok(());
        };
        let begun = worker.has_begun(behind);
        // By the time it was looked at, too little was left of the item's.
        let delayed = self.was_full || self.world.faults.host_stops_every.is_some() || worker.liar;
        let quick = self.world.config.timeout < 4 * self.world.latency.max(Duration::from_millis(1));
        promise!(begun || delayed || quick, "chunk {behind} waits in worker {id} behind an item until that is late");
        Ok(())
    }

    /// A worker that is dealt with for being late is so no later than it had to be.
    pub(super) fn in_time(
        &self,
        id: WorkerId,
        worker: &Worker,
        late: Duration,
        limit: Duration,
    ) -> Result<(), Violation> {
        // Outcomes are left with a worker only where there is no room for them; meanwhile its time stands still.
        promise!(worker.ring.is_empty() || worker.dead, "worker {id} is late, but it is the host that does not listen");
        let (faults, timeout) = (&self.world.faults, self.world.config.timeout);
        // What keeps the host, or the output, from taking outcomes puts deadlines off.
        let delayed = self.was_full || faults.host_stops_every.is_some() || worker.liar;
        let excused = if faults.overloaded { timeout * 9 } else { Duration::ZERO };
        let most = limit + excused + self.world.latency + Duration::from_millis(1);
        promise!(late <= most || delayed, "worker {id} is late with {late:?} of {limit:?} before anybody minds");
        Ok(())
    }
}
