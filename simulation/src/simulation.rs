//! One run in virtual time: events in a heap, and the supervisor's loop among them.

mod checks;
mod outside;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::ops::Range;
use std::time::Duration;

use crate::figures::Figures;
use crate::ledger::{Death, Ledger};
use crate::random::{Random, mix};
use crate::trace::Trace;
use crate::worker::{Doing, Lie, Worker};
use crate::world::World;
use crate::{Violation, promise};
use wasmpool_core::policy::HaltWhen;
use wasmpool_scheduler::{Action, Blame, OutcomeEnd, PATIENCE, Scheduler, Time, Verdict, WorkerId};

/// Interval at which the host looks for outcomes while a worker may have some without ringing.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Weight of failed starts in a row after which the run may give up: 4 each, or 1 for a worker that somebody killed.
/// `TRIES` is the minimum time that it must try.
const FAILED_STARTS: u32 = 5 * 4;
const TRIES: Duration = Duration::from_secs(2);

/// An event at some time.
#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A worker continues, if this is still its step.
    Step {
        worker: WorkerId,
        number: u32,
    },
    /// SIGCONT reaches the worker; with `Dies`, SIGKILL.
    Continue {
        worker: WorkerId,
    },
    Dies {
        worker: WorkerId,
    },
    /// Some worker gets a signal.
    Signal,
    /// A read of the input ends; with `Written`, the output has taken what it was given.
    Read,
    Written,
    /// A caller brings items.
    Call,
    /// A caller gives up all items without an outcome.
    CallerLeaves,
    /// The number of workers is changed to this.
    Resize(usize),
    /// The user asks for the end of the run.
    Stop,
    /// The host wakes, if this is still its wake-up; with `HostStops`, it is stopped.
    Wake {
        number: u32,
    },
    HostStops,
}

/// A message of another thread to the host.
#[derive(Debug)]
enum Mail {
    Input(u64),
    InputPause,
    SeveralCallers(bool),
    InputEnd,
    /// What an earlier run has left.
    TakenUp,
    Unwanted(Range<u64>),
    Workers(usize),
    Written(u64),
    OutputClosed,
    Stop,
}

/// What the host knows of a worker besides what the scheduler knows.
#[derive(Debug, Default)]
struct Known {
    /// True if it was told to end, or is being killed.
    ends: bool,
    ready: bool,
    /// True if it existed when the number of workers was last changed, and was given nothing since.
    old: bool,
    /// The item that was its next when it was ordered to be killed, if it was.
    ordered: Option<u64>,
    /// The time at which an outcome was last taken from it, or at which it was given items while it had none.
    quiet_since: Time,
    /// The time since which it was seen in items that nobody wants.
    unwanted_since: Option<Time>,
    /// The time at which it was given items while it had none, the number of items it was given since, and their bytes.
    busy_since: Time,
    given: u64,
    bytes: u64,
    /// The chunk that it was given last, while it had another.
    behind: Option<u64>,
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Complete,
    OutputClosed,
    GaveUp,
}

pub struct Simulation {
    world: World,
    random: Random,
    scheduler: Scheduler,
    ledger: Ledger,
    trace: Trace,
    figures: Figures,
    now: Time,
    events: BinaryHeap<Reverse<(Time, u64, Event)>>,
    scheduled: u64,
    workers: BTreeMap<WorkerId, (Worker, Known)>,
    /// Workers that rang, that ended, or that have outcomes which were left with them.
    attention: BTreeSet<WorkerId>,
    mail: Vec<Mail>,
    read: u64,
    asked_for_input: bool,
    /// Number of items that callers have brought, that the host was given of these, and that it asks for.
    called: u64,
    given: u64,
    wanted: u64,
    /// True if a caller is on the way, or if the last has left.
    caller_comes: bool,
    /// True if a caller came while others waited; `knows_of_several` is true once the host knows.
    several_callers: bool,
    /// Items before this index were given up, or never will be; `leaves_left` is how often callers still leave.
    left_to: u64,
    leaves_left: u32,
    knows_of_several: bool,
    /// Number of workers that are allowed, the maximum of that so far, and the number of workers beyond it that still
    /// finish.
    allowed: usize,
    most_allowed: usize,
    surplus: usize,
    /// Maximum number of items in the host at a time, and of bytes of items that one read brought.
    most_items: u64,
    largest_read: u64,
    stopped: bool,
    exchange: bool,
    to_write: VecDeque<u64>,
    written: u64,
    wake_at: Option<Time>,
    wake_number: u32,
    stopped_until: Time,
    /// Number of faults that are still to come.
    signals_left: u64,
    stops_left: u32,
    resizes_left: u32,
    /// Weight of the starts that failed since one was seen to succeed.
    failed_starts: u32,
    /// The times at which a worker was last seen to get ready, and to end.
    ready_at: Time,
    lived_at: Time,
    /// True if outcomes had to wait for the output at some time: then deadlines are delayed, too.
    was_full: bool,
}

impl Simulation {
    pub fn new(world: World, trace: Trace) -> Self {
        let mut simulation = Simulation {
            random: Random::new(mix(world.seed ^ 0x5eed)),
            scheduler: Scheduler::new(world.config.clone()),
            ledger: Ledger::new(world.clone()),
            trace,
            figures: Figures::default(),
            now: Time::ZERO,
            events: BinaryHeap::new(),
            scheduled: 0,
            workers: BTreeMap::new(),
            attention: BTreeSet::new(),
            mail: Vec::new(),
            read: 0,
            asked_for_input: false,
            called: 0,
            given: 0,
            wanted: 0,
            caller_comes: false,
            several_callers: false,
            left_to: 0,
            leaves_left: 20,
            knows_of_several: false,
            allowed: world.config.workers,
            most_allowed: world.config.workers,
            surplus: 0,
            most_items: 0,
            largest_read: 0,
            stopped: false,
            exchange: world.exchange,
            to_write: VecDeque::new(),
            written: 0,
            wake_at: None,
            wake_number: 0,
            stopped_until: Time::ZERO,
            signals_left: 20 + world.items / 2,
            stops_left: 20,
            resizes_left: 20,
            failed_starts: 0,
            ready_at: Time::ZERO,
            lived_at: Time::ZERO,
            was_full: false,
            world,
        };
        if let Some(at) = simulation.world.stop_at {
            simulation.schedule(at, Event::Stop);
        }
        if simulation.world.callers.is_some() {
            simulation.scheduler.serve_on_demand();
            simulation.next_caller();
        }
        simulation.schedule_leave();
        simulation.schedule_resize();
        simulation.schedule_signal();
        simulation.schedule_host_stop();
        simulation.ring();
        simulation
    }

    /// Plays the run to its end.
    pub fn run(mut self) -> Result<Figures, Violation> {
        let most = 100_000 + 3_000 * (self.world.items + self.world.config.workers as u64);
        let end = loop {
            let Some(Reverse((at, _, event))) = self.events.pop() else {
                return Err(format!("nothing will ever happen again, and the run is not over:\n{:#?}", self.scheduler));
            };
            promise!(self.scheduled < most, "no end after {most} events");
            self.now = at;
            if let Some(end) = self.happen(event)? {
                break end;
            }
        };
        match end {
            End::Complete => self.ledger.complete(self.scheduler.items())?,
            End::GaveUp => {
                let ready = |(worker, known): &&(Worker, Known)| known.ready && !worker.dead && !known.ends;
                let ready = self.workers.values().filter(ready).count();
                promise!(ready == 0, "it gives up, though {ready} workers are ready");
                let (tried, alone) = (self.now - self.ready_at, self.now - self.lived_at);
                let hopeless = self.failed_starts >= FAILED_STARTS && tried >= TRIES;
                // The last attempt while a worker lived may have been a pause ago.
                let patient = alone + Duration::from_secs(1) >= PATIENCE;
                promise!(hopeless || patient && self.staying() == 0, "it gives up after {alone:?} without a worker");
                self.figures.gave_up = 1;
            }
            End::OutputClosed => {}
        }
        self.figures.halted = self.ledger.has_halted().into();
        if end == End::Complete && !self.stopped && !self.ledger.has_halted() {
            promise!(self.read == self.world.items, "it ended after {} of {} items", self.read, self.world.items);
        }
        self.figures.items = self.scheduler.items();
        self.figures.events = self.trace.events();
        self.figures.hash = self.trace.hash();
        Ok(self.figures)
    }

    fn schedule(&mut self, at: Time, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse((at, self.scheduled, event)));
    }

    fn soon(&mut self) -> Time {
        self.now + self.random.time(Duration::from_micros(50))
    }

    fn happen(&mut self, event: Event) -> Result<Option<End>, Violation> {
        match event {
            Event::Step { worker, number } => {
                if self.workers.get(&worker).is_some_and(|(w, _)| !w.dead && w.step_number == number) {
                    self.trace.note(self.now, &event);
                    self.step(worker);
                }
            }
            Event::Wake { number } => {
                if number == self.wake_number {
                    self.wake_at = None;
                    return self.wake();
                }
            }
            _ => {
                self.trace.note(self.now, &event);
                self.disturb(event);
            }
        }
        Ok(None)
    }

    // ---- workers -----------------------------------------------------------------------------------------------------

    fn step(&mut self, id: WorkerId) {
        let now = self.now;
        let Some((worker, _)) = self.workers.get_mut(&id) else {
            return;
        };
        worker.step_at = None;
        let stepped = worker.step(now, &self.world, &mut self.random);
        // Whenever the host wakes it looks at every lane, whether its worker rang or not.
        self.attention.insert(id);
        if stepped.died {
            worker.exited = true;
            return self.die(id);
        }
        if let Some(at) = stepped.next {
            self.step_at(id, at);
        }
        if stepped.rang {
            self.ring();
        }
    }

    fn step_at(&mut self, id: WorkerId, at: Time) {
        if let Some((worker, _)) = self.workers.get_mut(&id) {
            worker.step_number += 1;
            worker.step_at = Some(at);
            let number = worker.step_number;
            self.schedule(at, Event::Step { worker: id, number });
        }
    }

    fn go_on(&mut self, id: WorkerId) {
        let soon = self.soon();
        let Some((worker, _)) = self.workers.get_mut(&id).filter(|(w, _)| w.stopped && !w.dead) else {
            return;
        };
        let waits = matches!(worker.doing, Doing::Idle | Doing::Writing);
        if let Some(at) = worker.go_on(self.now).or(waits.then_some(soon)) {
            self.step_at(id, at);
        }
    }

    /// Wakes a sleeping worker, for which there is something now.
    fn wake_worker(&mut self, id: WorkerId) {
        let soon = self.soon();
        let sleeps = self.workers.get(&id).is_some_and(|(w, _)| {
            matches!(w.doing, Doing::Idle | Doing::Writing) && !w.stopped && !w.dead && w.step_at.is_none()
        });
        if sleeps {
            self.step_at(id, soon);
        }
    }

    fn die(&mut self, id: WorkerId) {
        if let Some((worker, _)) = self.workers.get_mut(&id)
            && !worker.dead
        {
            worker.dead = true;
            worker.step_number += 1;
            self.attention.insert(id);
            self.ring();
        }
    }

    fn dies_soon(&mut self, id: WorkerId) {
        // Sometimes it takes the kernel a while; until then the worker continues.
        let most = if self.random.per_mille(100) { Duration::from_millis(30) } else { Duration::from_micros(500) };
        let at = self.now + self.random.time(most);
        self.schedule(at, Event::Dies { worker: id });
    }

    // ---- the host ----------------------------------------------------------------------------------------------------

    fn post(&mut self, mail: Mail) {
        self.mail.push(mail);
        self.ring();
    }

    /// Wakes the host, which has something to read.
    fn ring(&mut self) {
        let at = self.now + self.random.time(self.world.latency);
        self.wake_by(at);
    }

    fn wake_by(&mut self, at: Time) {
        let at = at.max(self.stopped_until).max(self.now);
        if self.wake_at.is_none_or(|set| at < set || set < self.stopped_until) {
            self.wake_number += 1;
            self.wake_at = Some(at);
            self.schedule(at, Event::Wake { number: self.wake_number });
        }
    }

    /// Makes one turn of the supervisor's loop.
    fn wake(&mut self) -> Result<Option<End>, Violation> {
        if let Some(end) = self.read_mail()? {
            return Ok(Some(end));
        }
        self.most_items = self.most_items.max(self.read - self.ledger.emitted());
        for id in std::mem::take(&mut self.attention) {
            self.hear(id)?;
        }
        self.watch_the_clock()?;
        if self.act()? {
            return Ok(Some(End::GaveUp));
        }
        self.check()?;
        if self.scheduler.finished() {
            return Ok(Some(End::Complete));
        }
        self.hear_answers();
        if !self.asked_for_input && self.scheduler.wants_input() {
            self.asked_for_input = true;
            if self.world.callers.is_some() {
                self.wanted = self.scheduler.wanted() as u64;
                self.give();
            } else {
                self.read_on();
            }
        }
        self.sleep();
        Ok(None)
    }

    fn read_on(&mut self) {
        let at = self.now + self.random.time(self.world.input.pause);
        self.schedule(at, Event::Read);
    }

    fn sleep(&mut self) {
        let left = self.attention.iter().any(|&id| !self.scheduler.throttled(id));
        if left {
            let soon = self.soon();
            self.wake_by(soon);
        }
        if let Some(at) = self.scheduler.next_deadline() {
            self.wake_by(at);
        }
        if self.ledger.somebody_holds_several() {
            self.wake_by(self.now + LOOK_EVERY);
        }
    }

    fn read_mail(&mut self) -> Result<Option<End>, Violation> {
        for mail in std::mem::take(&mut self.mail) {
            match mail {
                // This read was under way when the end was requested.
                Mail::Input(count) if !self.scheduler.takes_input() => self.scheduler.input(&vec![1; count as usize]),
                Mail::Input(count) => {
                    self.asked_for_input = false;
                    let sizes: Vec<u32> = (self.read..self.read + count).map(|index| self.world.size(index)).collect();
                    (self.read..self.read + count).for_each(|index| self.ledger.read(index));
                    self.note_read(self.read..self.read + count);
                    self.read += count;
                    self.scheduler.input(&sizes);
                }
                Mail::InputPause => self.scheduler.input_pauses(),
                Mail::SeveralCallers(several) => {
                    self.knows_of_several = several;
                    self.scheduler.several_callers(several);
                }
                Mail::InputEnd => self.scheduler.input_ended(),
                Mail::TakenUp => {
                    self.asked_for_input = false;
                    if self.scheduler.takes_input() {
                        self.take_up();
                    }
                }
                Mail::Unwanted(items) => {
                    self.figures.given_up += items.end - items.start;
                    self.ledger.give_up(items.clone());
                    self.scheduler.unwanted(items, self.now);
                }
                Mail::Workers(workers) => self.resize(workers),
                Mail::Written(bytes) => {
                    self.ledger.written(bytes);
                    self.scheduler.written(bytes as usize);
                }
                Mail::OutputClosed => return Ok(Some(End::OutputClosed)),
                Mail::Stop => {
                    self.stopped = true;
                    self.ledger.stop();
                    self.scheduler.stop();
                }
            }
        }
        Ok(None)
    }

    fn take_up(&mut self) {
        self.figures.taken_up += 1;
        self.note_read(0..self.world.left_items());
        for (count, known) in self.world.left.clone() {
            let (first, end) = (self.read, self.read + count);
            if known {
                let bytes = self.random.below(self.world.outcome * count);
                self.ledger.known(first, end, bytes);
                self.scheduler.restore_done(first, end, bytes as usize);
            } else {
                self.ledger.hole(first, end);
                let sizes: Vec<u32> = (first..end).map(|index| self.world.size(index)).collect();
                self.scheduler.restore(first, &sizes);
            }
            self.read = end;
        }
        self.scheduler.go_on_at(self.read);
    }

    fn note_read(&mut self, items: std::ops::Range<u64>) {
        self.largest_read = self.largest_read.max(items.map(|index| self.world.cost(index)).sum());
    }

    fn resize(&mut self, workers: usize) {
        self.figures.resized += 1;
        // The scheduler does not know yet which workers are dead, and may keep just these.
        let known = self.workers.values().filter(|(_, known)| !known.ends).count();
        self.surplus = self.surplus.max(known.saturating_sub(workers));
        (self.allowed, self.most_allowed) = (workers, self.most_allowed.max(workers));
        self.workers.values_mut().for_each(|(_, known)| known.old = true);
        self.scheduler.set_workers(workers);
    }

    fn hear(&mut self, id: WorkerId) -> Result<(), Violation> {
        let Some((mut worker, mut known)) = self.workers.remove(&id) else {
            return Ok(());
        };
        if std::mem::take(&mut worker.said_ready) {
            if std::mem::take(&mut self.exchange) {
                // The worker cannot load the artifact: all that have not yet loaded it start again with another.
                for id in self.scheduler.forget_starting() {
                    self.workers.remove(&id);
                    self.attention.remove(&id);
                }
                return Ok(());
            }
            self.failed_starts = 0;
            self.ready_at = self.now;
            self.scheduler.worker_ready(id, self.now);
            known.ready = true;
        }
        let broken = self.receive(id, &mut worker, &mut known)?;
        if worker.dead || broken {
            return self.bury(id, &worker, &known);
        }
        if !worker.ring.is_empty() {
            self.was_full = true;
            self.attention.insert(id);
        }
        let blocked = worker.doing == Doing::Writing && worker.ring.len() < self.world.ring;
        self.workers.insert(id, (worker, known));
        if blocked {
            self.wake_worker(id);
        }
        Ok(())
    }

    /// Takes the outcomes that have arrived; returns true if the worker broke the protocol.
    fn receive(&mut self, id: WorkerId, worker: &mut Worker, known: &mut Known) -> Result<bool, Violation> {
        self.observe(id, worker);
        let mut moved = false;
        // No more outcomes of a dead worker can come, so those that are there are taken.
        while (worker.dead || !self.scheduler.throttled(id))
            && let Some(outcome) = worker.ring.pop_front()
        {
            moved = true;
            known.quiet_since = self.now;
            let elapsed = match worker.liar && self.random.per_mille(200) {
                true => Duration::from_nanos(self.random.below(u64::MAX)),
                false => outcome.elapsed,
            };
            match self.scheduler.outcome(id, outcome.ending, elapsed, self.now) {
                Verdict::Keep { chunk, index, attempts } => {
                    let honest = worker.liar || index == outcome.index;
                    promise!(honest, "worker {id} answered item {}, which is taken for {index}", outcome.index);
                    let bytes = self.random.below(self.world.outcome);
                    self.ledger.keep(id, chunk, index, outcome.ending, attempts, bytes)?;
                    self.scheduler.account_kept(chunk, bytes as usize);
                    if outcome.ending != OutcomeEnd::Final {
                        self.scheduler.failed();
                    }
                }
                Verdict::Retry { chunk, index } => {
                    self.figures.retries += 1;
                    self.ledger.retry(id, index, outcome.ending)?;
                    promise!(chunk <= index, "item {index} is taken out of chunk {chunk}");
                }
                Verdict::Unexpected => {
                    promise!(worker.liar, "an outcome of worker {id} is unexpected");
                    promise!(self.ledger.holds_nothing(id), "an outcome of worker {id} is refused, but it has items");
                    return Ok(true);
                }
            }
        }
        if worker.liar {
            // The worker takes its input bit by bit, and reports each time that nothing is running.
            let bytes = self.random.below(1 + known.bytes.min(64));
            known.bytes -= bytes;
            self.scheduler.progress(id, bytes, self.now);
        } else if moved {
            self.scheduler.progress(id, 1, self.now);
        }
        Ok(false)
    }

    fn observe(&mut self, id: WorkerId, worker: &mut Worker) {
        let (mut attempt, mut started, mut since) = worker.status();
        if worker.liar {
            worker.attempt += match worker.lie {
                Lie::Anything => self.random.below(3),
                Lie::Starts => 1,
                Lie::Drip => 0,
            };
            attempt = worker.attempt;
            started = match worker.lie {
                Lie::Anything => worker.answered + self.random.below(3),
                Lie::Starts => worker.answered + 1,
                Lie::Drip => 0,
            };
            since = if worker.lie == Lie::Anything { self.random.time(self.now * 2) } else { self.now };
        }
        self.scheduler.observed(id, attempt, started, since, self.now);
    }

    fn bury(&mut self, id: WorkerId, worker: &Worker, known: &Known) -> Result<(), Violation> {
        self.figures.deaths += 1;
        let killed = !worker.exited;
        if worker.doing == Doing::Loading {
            self.failed_starts += match known.ends {
                true => FAILED_STARTS / 2,
                false if killed => 1,
                false => FAILED_STARTS / 5,
            };
        }
        self.lived_at = self.now;
        let death = Death { in_work: worker.in_work(), honest: !worker.liar, ordered: known.ordered };
        self.ledger.lost(id, death)?;
        self.scheduler.worker_lost(id, killed, self.now);
        Ok(())
    }

    fn watch_the_clock(&mut self) -> Result<(), Violation> {
        let due = self.scheduler.due(self.now);
        for &id in &due {
            let Some((mut worker, mut known)) = self.workers.remove(&id) else {
                return Err(format!("worker {id} has a deadline, but is gone"));
            };
            let broken = self.receive(id, &mut worker, &mut known)?;
            let blocked = worker.doing == Doing::Writing && worker.ring.len() < self.world.ring;
            self.workers.insert(id, (worker, known));
            if broken {
                self.die(id);
            } else if blocked {
                self.wake_worker(id);
            }
            if self.world.faults.overloaded && self.scheduler.is_late(id, self.now) {
                let waited = self.random.time(self.world.config.timeout);
                self.scheduler.excuse(id, waited, self.now);
            }
        }
        self.was_full |= due.iter().any(|&id| self.scheduler.throttled(id));
        self.scheduler.tick(self.now);
        Ok(())
    }

    /// Carries out the scheduler's orders; returns true if one is to give up.
    fn act(&mut self) -> Result<bool, Violation> {
        while let Some(action) = self.scheduler.next_action() {
            self.trace.note(self.now, &action);
            self.hear_of_halt()?;
            match action {
                Action::Spawn(id) => self.spawn(id)?,
                Action::Send { worker: id, chunk, count } => {
                    let now = self.now;
                    let idle = self.ledger.holds_nothing(id);
                    self.may_have(id, idle)?;
                    self.ledger.send(id, chunk, count)?;
                    let items = chunk..chunk + u64::from(count);
                    let bytes = items.map(|index| u64::from(self.world.size(index))).sum::<u64>();
                    let Some((worker, known)) = self.workers.get_mut(&id) else {
                        return Err(format!("items go to worker {id}, which is gone"));
                    };
                    promise!(worker.doing != Doing::Loading, "items go to worker {id}, which is not ready");
                    promise!(!known.ends, "items go to worker {id}, which has to end");
                    known.old = false;
                    known.behind = (!idle).then_some(chunk);
                    if idle {
                        *known = Known { quiet_since: now, busy_since: now, given: 0, bytes: 0, ..*known };
                    }
                    known.given += u64::from(count);
                    known.bytes += bytes;
                    if worker.queue(chunk, count) {
                        self.wake_worker(id);
                    }
                }
                Action::Kill(id) => self.kill(id)?,
                Action::Retire(id) => {
                    promise!(self.ledger.holds_nothing(id), "worker {id} retires with items to answer");
                    if let Some((_, known)) = self.workers.get_mut(&id) {
                        known.ends = true;
                    }
                    self.dies_soon(id);
                }
                Action::Skip { chunk, count } => self.ledger.skip(chunk, count)?,
                Action::TakeBack { worker: id, chunk } => {
                    let Some((worker, known)) = self.workers.get_mut(&id) else {
                        return Err(format!("chunk {chunk} is taken back from worker {id}, which is gone"));
                    };
                    promise!(!known.ends, "chunk {chunk} is taken back from worker {id}, which has to end");
                    if worker.take_back(chunk, &mut self.random) {
                        self.figures.taken_back += 1;
                        known.given = known.given.saturating_sub(1);
                        known.behind = None;
                        self.ledger.taken_back(id, chunk)?;
                        self.scheduler.taken_back(id, chunk);
                    }
                }
                Action::Split { chunk, at } => self.ledger.split(chunk, at)?,
                Action::Settle { chunk, index, blame, worker, attempts, elapsed } => {
                    match blame {
                        Blame::Cancelled => self.figures.cancelled += 1,
                        Blame::WorkerLost | Blame::Timeout(_) => self.figures.settled += 1,
                    }
                    let out_of_time = !matches!(blame, Blame::Timeout(_)) || elapsed >= self.world.config.timeout;
                    let unknown = self.world.faults.liars > 0 || self.world.config.batch;
                    promise!(out_of_time || unknown, "item {index} is out of time after {elapsed:?}");
                    let bytes = self.random.below(self.world.outcome);
                    self.ledger.settle(worker, chunk, index, blame, attempts, bytes)?;
                    self.scheduler.account_kept(chunk, bytes as usize);
                    self.scheduler.failed();
                }
                Action::Emit { chunk, done } => {
                    let bytes = self.ledger.emit(chunk, done)?;
                    if bytes > 0 {
                        self.to_write.push_back(bytes);
                        if self.to_write.len() == 1 {
                            self.write_next();
                        }
                    }
                }
                Action::GiveUp => return Ok(true),
            }
        }
        self.ledger.losses_are_settled();
        self.hear_of_halt()?;
        self.ledger.would_halt()?;
        if self.is_cut_short() {
            promise!(self.scheduler.finished(), "it was cut short, and goes on");
            promise!(self.staying() == 0, "it was cut short, and {} workers are left", self.staying());
        }
        Ok(false)
    }

    fn hear_of_halt(&mut self) -> Result<(), Violation> {
        if let Some(halt) = self.scheduler.halted()
            && self.ledger.halt(halt)?
        {
            promise!(!self.scheduler.takes_input() && !self.scheduler.wants_input(), "it halts, and takes input");
        }
        Ok(())
    }

    fn is_cut_short(&self) -> bool {
        self.scheduler.halted().is_some_and(|halt| halt.manner == HaltWhen::Now)
    }

    fn write_next(&mut self) {
        if let Some(&bytes) = self.to_write.front() {
            let at = self.soon() + self.world.output.per_byte * bytes as u32;
            self.schedule(at, Event::Written);
        }
    }

    fn spawn(&mut self, id: WorkerId) -> Result<(), Violation> {
        let faults = &self.world.faults;
        let outage = faults.no_room.as_ref().is_some_and(|outage| outage.contains(&self.now));
        if outage || self.random.per_mille(faults.refused_spawns) {
            promise!(!self.workers.contains_key(&id), "worker {id} is started twice");
            self.figures.refused += 1;
            self.scheduler.spawn_failed(id, true, self.now);
            return Ok(());
        }
        let mut worker = Worker::new(self.random.per_mille(faults.liars));
        worker.bad_start = self.random.per_mille(faults.dead_starts);
        worker.talks = worker.liar && self.random.per_mille(faults.talkers);
        worker.lie = match self.random.below(3) {
            0 => Lie::Starts,
            1 => Lie::Drip,
            _ => Lie::Anything,
        };
        let hangs = self.random.per_mille(faults.hung_starts);
        let known = Known { quiet_since: self.now, ..Known::default() };
        promise!(!self.is_cut_short(), "worker {id} is started after all was cut short");
        promise!(self.workers.insert(id, (worker, known)).is_none(), "worker {id} is started twice");
        self.figures.spawned += 1;
        self.scheduler.worker_spawned(id, self.now);
        if !hangs {
            let at = self.now + self.random.time(Duration::from_millis(4));
            self.step_at(id, at);
        }
        Ok(())
    }

    fn kill(&mut self, id: WorkerId) -> Result<(), Violation> {
        if self.is_cut_short() {
            if let Some((_, known)) = self.workers.get_mut(&id) {
                promise!(!known.ends, "worker {id} is killed, though it has to end already");
                known.ends = true;
            }
            return Ok(());
        }
        self.figures.kills += 1;
        let next = self.ledger.next_of(id);
        let Some((worker, mut known)) = self.workers.remove(&id) else {
            return Err(format!("worker {id} is to be killed, but is gone"));
        };
        let late = self.late_by(&worker, &known);
        let config = &self.world.config;
        let limit = if worker.doing == Doing::Loading { config.start_timeout } else { config.timeout };
        let unwanted = next.is_some_and(|index| self.ledger.is_given_up(index));
        promise!(
            late >= limit || worker.liar || unwanted,
            "worker {id} is killed after {late:?}, {limit:?} are allowed"
        );
        promise!(next.is_some() || worker.doing == Doing::Loading, "worker {id} is killed with nothing to do");
        if !unwanted {
            self.in_time(id, &worker, late, limit)?;
            self.in_time_whatever_it_says(id, &worker, &known)?;
            self.nothing_waited_behind(id, &worker, &known)?;
        }
        promise!(!known.ends, "worker {id} is killed, though it has to end already");
        known.ends = true;
        known.ordered = next;
        self.workers.insert(id, (worker, known));
        self.dies_soon(id);
        Ok(())
    }
}
