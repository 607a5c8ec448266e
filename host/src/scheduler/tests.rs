//! The scheduler under random schedules: workers that are slow, die, hang, lie about their status, and come back.
//!
//! The driver below plays supervisor, workers, reader and writer at once; every random choice comes from a seed, so a
//! failing case replays.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::policy::RETRY_ON;

/// What the driver's world is like.
#[derive(Clone, Debug)]
struct World {
    seed: u64,
    items: u64,
    workers: usize,
    ordered: bool,
    chunk: ChunkSize,
    batch: bool,
    retries: u32,
    max_tasks: Option<u64>,
    /// Of 1000 steps of a worker, how many end in its death, in a hang, in a timed-out outcome.
    deaths: u32,
    hangs: u32,
    timeouts: u32,
    window: usize,
}

fn worlds() -> impl Strategy<Value = World> {
    let chunk = prop_oneof![Just(ChunkSize::Auto), (1..20u32).prop_map(ChunkSize::Fixed)];
    let limits = (0..4u32, proptest::option::of(1..50u64), 500..20_000usize);
    let faults = (0..100u32, 0..20u32, 0..50u32);
    (any::<u64>(), 0..600u64, 1..9usize, any::<bool>(), chunk, any::<bool>(), limits, faults).prop_map(
        |(seed, items, workers, ordered, chunk, batch, (retries, max_tasks, window), (deaths, hangs, timeouts))| {
            World { seed, items, workers, ordered, chunk, batch, retries, max_tasks, deaths, hangs, timeouts, window }
        },
    )
}

/// A small generator of our own: the schedule must be the same for a seed on every machine and version.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    fn per_mille(&mut self, n: u32) -> bool {
        self.below(1000) < u64::from(n)
    }
}

/// A worker as the driver plays it.
#[derive(Default)]
struct Mock {
    ready: bool,
    /// Chunks it was sent: first item and count.
    chunks: VecDeque<(u64, u32)>,
    /// Items of the first chunk it answered.
    at: u32,
    answered: u64,
    attempt: u64,
    hanging: bool,
    given: u64,
}

struct Driver {
    world: World,
    random: Random,
    scheduler: Scheduler,
    now: Time,
    read: u64,
    mocks: BTreeMap<WorkerId, Mock>,
    /// Outcomes each chunk has gathered since it was last emitted: indices.
    gathered: BTreeMap<u64, Vec<u64>>,
    emitted: Vec<u64>,
    settled: u64,
    unwritten: VecDeque<usize>,
    bytes: BTreeMap<u64, usize>,
    runs: BTreeMap<u64, u32>,
    deaths: u64,
    spawned: u64,
}

const ITEM: u32 = 10;
/// No outcome is as long as this.
const OUTCOME: u64 = 60;

impl Driver {
    fn new(world: World) -> Driver {
        let config = Config {
            workers: world.workers,
            ordered: world.ordered,
            chunk: world.chunk,
            batch: world.batch,
            retries: world.retries,
            retry_on: RETRY_ON.into(),
            halt: None,
            resumable: false,
            max_tasks_per_worker: world.max_tasks,
            timeout: Duration::from_millis(100),
            start_timeout: Duration::from_secs(1),
            window: world.window,
        };
        Driver {
            random: Random(world.seed),
            scheduler: Scheduler::new(config),
            world,
            now: Time::ZERO,
            read: 0,
            mocks: BTreeMap::new(),
            gathered: BTreeMap::new(),
            emitted: Vec::new(),
            settled: 0,
            unwritten: VecDeque::new(),
            bytes: BTreeMap::new(),
            runs: BTreeMap::new(),
            deaths: 0,
            spawned: 0,
        }
    }

    fn run(mut self) -> Driver {
        // Every step moves something; a schedule that needs more is stuck.
        let most = 200_000 + self.world.items * 2_000;
        for _ in 0..most {
            self.act();
            if self.scheduler.finished() {
                return self;
            }
            self.step();
        }
        panic!("stuck after {most} steps: {:?}\n{:#?}", self.world, self.scheduler);
    }

    fn act(&mut self) {
        while let Some(action) = self.scheduler.next_action() {
            match action {
                Action::Spawn(id) => {
                    assert!(self.mocks.insert(id, Mock::default()).is_none(), "worker {id} is spawned twice");
                    assert!(self.mocks.len() <= 2 * self.world.workers, "more workers than asked for");
                    self.scheduler.worker_spawned(id, self.now);
                    self.spawned += 1;
                }
                Action::Send { worker, chunk, count } => {
                    let mock = self.mocks.get_mut(&worker).expect("items go to a worker that lives");
                    assert!(mock.ready, "items go to a worker that is ready");
                    assert!(count > 0);
                    mock.chunks.push_back((chunk, count));
                    mock.given += u64::from(count);
                    assert!(mock.given <= self.world.max_tasks.unwrap_or(u64::MAX), "it is given more than its share");
                }
                Action::Kill(id) => self.lose(id),
                Action::Retire(id) => {
                    let mock = self.mocks.get(&id).expect("it lives");
                    assert!(mock.chunks.is_empty(), "a worker retires with items in work");
                    self.lose(id);
                }
                Action::Split { .. } => {}
                Action::Settle { chunk, index, .. } => {
                    self.keep(chunk, index);
                    self.settled += 1;
                }
                Action::Emit { chunk, .. } => {
                    self.emitted.extend(self.gathered.remove(&chunk).unwrap_or_default());
                    let bytes = self.bytes.remove(&chunk).unwrap_or_default();
                    if bytes > 0 {
                        self.unwritten.push_back(bytes);
                    }
                }
                Action::GiveUp => panic!("it gives up, though workers do get ready"),
            }
        }
    }

    /// Some outcomes print nothing, others much.
    fn keep(&mut self, chunk: u64, index: u64) {
        let bytes = self.random.below(OUTCOME) as usize;
        self.gathered.entry(chunk).or_default().push(index);
        *self.bytes.entry(chunk).or_default() += bytes;
        self.scheduler.kept(chunk, bytes);
    }

    fn lose(&mut self, id: WorkerId) {
        if self.mocks.remove(&id).is_some() {
            self.deaths += 1;
            self.scheduler.worker_lost(id, true);
        }
    }

    /// Something happens.
    fn step(&mut self) {
        self.now += Duration::from_micros(self.random.below(3000));
        match self.random.below(6) {
            0 => self.read_input(),
            1 => {
                if let Some(bytes) = self.unwritten.pop_front() {
                    self.scheduler.written(bytes);
                }
            }
            2 => self.scheduler.tick(self.now),
            _ => self.step_worker(),
        }
    }

    fn read_input(&mut self) {
        if self.read == self.world.items {
            self.scheduler.input_ended();
        } else if self.scheduler.wants_input() {
            let count = (1 + self.random.below(100)).min(self.world.items - self.read);
            self.scheduler.input(&vec![ITEM; count as usize]);
            self.read += count;
        }
    }

    fn step_worker(&mut self) {
        let ids: Vec<WorkerId> = self.mocks.keys().copied().collect();
        let Some(&id) = ids.get(self.random.below(ids.len() as u64) as usize) else {
            return;
        };
        let Some(mock) = self.mocks.get_mut(&id) else {
            return;
        };
        if !mock.ready {
            mock.ready = true;
            return self.scheduler.worker_ready(id, self.now);
        }
        if mock.hanging || self.scheduler.throttled(id) {
            return;
        }
        let Some(&(first, count)) = mock.chunks.front() else {
            // Even an idle worker may die.
            if self.random.per_mille(self.world.deaths / 10) {
                self.lose(id);
            }
            return;
        };
        let index = first + u64::from(mock.at);
        mock.attempt += 1;
        *self.runs.entry(index).or_default() += 1;
        // A tenth of the workers lie about what they have started.
        let lie = if id % 10 == 9 { self.random.below(5) } else { 1 };
        self.scheduler.observed(id, mock.attempt, mock.answered + lie, self.now, self.now);
        if self.random.per_mille(self.world.deaths) {
            return self.lose(id);
        }
        if self.random.per_mille(self.world.hangs) {
            mock.hanging = true;
            return;
        }
        let ending = match self.random.per_mille(self.world.timeouts) {
            true => Ending::Failed(Kind::Timeout),
            false => Ending::Final,
        };
        let elapsed = Duration::from_micros(self.random.below(2000));
        mock.answered += 1;
        mock.at += 1;
        if mock.at == count {
            mock.at = 0;
            mock.chunks.pop_front();
        }
        match self.scheduler.outcome(id, ending, elapsed, self.now) {
            Verdict::Keep { chunk, index: kept, .. } => {
                assert_eq!(kept, index, "an outcome is kept for another item than the worker ran");
                self.keep(chunk, kept);
            }
            Verdict::Retry { index: again, .. } => assert_eq!(again, index),
            Verdict::Unexpected => panic!("an outcome that was asked for is unexpected"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_item_gets_exactly_one_outcome_in_every_schedule(world in worlds()) {
        let done = Driver::new(world.clone()).run();
        let mut indices = done.emitted.clone();
        if world.ordered {
            prop_assert!(indices.is_sorted(), "emitted out of order");
        }
        indices.sort_unstable();
        prop_assert_eq!(indices, (0..world.items).collect::<Vec<_>>());
    }

    #[test]
    fn an_item_is_never_run_more_often_than_its_retries_allow(world in worlds()) {
        // One death without blame (nothing had started, as far as its status page said) may add a run, and halving a
        // batch adds one for each half that dies.
        let slack = 4 + if world.batch { 12 } else { 0 };
        let world = World { timeouts: 0, ..world };
        let done = Driver::new(world.clone()).run();
        for (index, runs) in &done.runs {
            prop_assert!(*runs <= world.retries + 1 + slack, "item {} ran {} times", index, runs);
        }
    }

    #[test]
    fn input_is_read_no_further_than_the_window(world in worlds()) {
        let mut driver = Driver::new(world.clone());
        // Nobody ever works: what is read before that is noticed is bounded.
        for _ in 0..2000 {
            driver.act();
            driver.read_input();
        }
        let unit = (ITEM as usize + ITEM_OVERHEAD) as u64;
        prop_assert!(driver.read * unit <= world.window as u64 + 100 * unit);
    }
}

fn config() -> Config {
    Config {
        workers: 1,
        ordered: true,
        chunk: ChunkSize::Fixed(4),
        batch: false,
        retries: 0,
        retry_on: RETRY_ON.into(),
        halt: None,
        resumable: false,
        max_tasks_per_worker: None,
        timeout: Duration::from_millis(100),
        start_timeout: Duration::from_secs(1),
        window: 1 << 20,
    }
}

fn actions(scheduler: &mut Scheduler) -> Vec<Action> {
    std::iter::from_fn(|| scheduler.next_action()).collect()
}

/// A scheduler with one ready worker that was given items 0 to 3.
fn with_four_items(config: Config) -> Scheduler {
    let mut scheduler = Scheduler::new(config);
    assert_eq!(actions(&mut scheduler), [Action::Spawn(0)]);
    scheduler.worker_ready(0, Time::ZERO);
    scheduler.input(&[1; 4]);
    scheduler.input_ended();
    assert_eq!(actions(&mut scheduler), [Action::Send { worker: 0, chunk: 0, count: 4 }]);
    scheduler
}

#[test]
fn a_lost_worker_costs_only_the_item_in_work() {
    let mut scheduler = with_four_items(config());
    scheduler.observed(0, 1, 1, Time::ZERO, Time::ZERO);
    scheduler.outcome(0, Ending::Final, Duration::ZERO, Time::ZERO);
    scheduler.observed(0, 2, 2, Time::ZERO, Time::ZERO);
    scheduler.worker_lost(0, true);
    let actions = actions(&mut scheduler);
    let settled: Vec<u64> = actions
        .iter()
        .filter_map(|a| match a {
            Action::Settle { index, blame: Blame::WorkerLost, .. } => Some(*index),
            _ => None,
        })
        .collect();
    assert_eq!(settled, [1]);
    assert!(actions.contains(&Action::Spawn(1)));
    scheduler.worker_ready(1, Time::ZERO);
    assert_eq!(scheduler.next_action(), Some(Action::Send { worker: 1, chunk: 2, count: 2 }));
}

#[test]
fn a_worker_that_dies_between_items_costs_none() {
    let mut scheduler = with_four_items(config());
    scheduler.worker_lost(0, true);
    assert!(!actions(&mut scheduler).iter().any(|a| matches!(a, Action::Settle { .. })));
    scheduler.worker_ready(1, Time::ZERO);
    assert_eq!(actions(&mut scheduler), [Action::Send { worker: 1, chunk: 0, count: 4 }]);
}

#[test]
fn the_worker_of_an_item_that_is_late_is_killed() {
    let mut scheduler = with_four_items(config());
    let ms = Duration::from_millis;
    scheduler.observed(0, 1, 1, ms(50), ms(60));
    scheduler.tick(ms(149));
    assert_eq!(actions(&mut scheduler), []);
    scheduler.tick(ms(150));
    assert_eq!(actions(&mut scheduler), [Action::Kill(0)]);
    scheduler.worker_lost(0, true);
    let blamed = actions(&mut scheduler).into_iter().find_map(|a| match a {
        Action::Settle { index, blame, elapsed, .. } => Some((index, blame, elapsed)),
        _ => None,
    });
    assert_eq!(blamed, Some((0, Blame::Timeout, ms(100))));
}

#[test]
fn an_item_that_began_when_the_late_one_had_just_been_answered_is_not_blamed_for_it() {
    let mut scheduler = with_four_items(config());
    let ms = Duration::from_millis;
    scheduler.observed(0, 1, 1, ms(0), ms(0));
    scheduler.tick(ms(100));
    assert_eq!(actions(&mut scheduler), [Action::Kill(0)]);
    // It had answered before the signal came, and begun the next.
    scheduler.outcome(0, Ending::Final, ms(100), ms(100));
    scheduler.observed(0, 2, 2, ms(100), ms(100));
    scheduler.worker_lost(0, true);
    assert!(!actions(&mut scheduler).iter().any(|a| matches!(a, Action::Settle { .. })));
    scheduler.worker_ready(1, ms(101));
    assert_eq!(actions(&mut scheduler), [Action::Send { worker: 1, chunk: 1, count: 3 }]);
}

#[test]
fn a_worker_that_lies_about_its_starts_does_not_live_longer_for_it() {
    let mut scheduler = with_four_items(config());
    let ms = Duration::from_millis;
    let mut killed = None;
    for now in 0..10_000 {
        // It claims a fresh attempt, just now, at every look.
        scheduler.observed(0, now + 1, 1, ms(now), ms(now));
        scheduler.tick(ms(now));
        if actions(&mut scheduler).contains(&Action::Kill(0)) {
            killed = Some(now);
            break;
        }
    }
    assert!(killed.is_some_and(|at| at <= 130), "killed at {killed:?} ms");
}

#[test]
fn an_item_that_killed_its_worker_twice_gets_no_third() {
    let mut scheduler = with_four_items(Config { retries: 9, ..config() });
    for worker in 0..2 {
        scheduler.observed(worker, 1, 1, Time::ZERO, Time::ZERO);
        scheduler.worker_lost(worker, false);
        let actions = actions(&mut scheduler);
        let settled = actions.iter().any(|a| matches!(a, Action::Settle { index: 0, attempts: 2, .. }));
        assert_eq!(settled, worker == 1, "{actions:?}");
        scheduler.worker_ready(worker + 1, Time::ZERO);
        scheduler.next_action();
    }
}

#[test]
fn workers_that_never_get_ready_end_the_run() {
    let mut scheduler = Scheduler::new(config());
    scheduler.input(&[1]);
    for worker in 0..MAX_FAILED_STARTS {
        assert!(actions(&mut scheduler).contains(&Action::Spawn(worker)));
        scheduler.worker_lost(worker, false);
    }
    assert!(actions(&mut scheduler).contains(&Action::GiveUp));
}

#[test]
fn after_a_stop_what_was_given_out_is_finished_and_nothing_behind_it() {
    let mut scheduler = Scheduler::new(config());
    actions(&mut scheduler);
    scheduler.worker_ready(0, Time::ZERO);
    scheduler.input(&[1; 20]);
    assert_eq!(actions(&mut scheduler), [Action::Send { worker: 0, chunk: 0, count: 4 }]);
    scheduler.stop();
    for _ in 0..4 {
        assert!(matches!(scheduler.outcome(0, Ending::Final, Duration::ZERO, Time::ZERO), Verdict::Keep { .. }));
    }
    assert_eq!(actions(&mut scheduler), [Action::Emit { chunk: 0, done: true }]);
    assert!(scheduler.finished());
}

#[test]
fn waiting_for_a_processor_is_excused_to_a_bound() {
    let ms = Duration::from_millis;
    let mut scheduler = with_four_items(config());
    scheduler.observed(0, 1, 1, ms(0), ms(0));
    assert!(scheduler.late(ms(99)).is_empty());
    assert_eq!(scheduler.late(ms(100)), [0]);
    scheduler.excuse(0, ms(40), ms(100));
    scheduler.tick(ms(100));
    assert_eq!(actions(&mut scheduler), [], "it ran for 60 ms of the 100");
    // A machine that stays overloaded does not keep an item for ever.
    let mut now = 100;
    while actions(&mut scheduler) != [Action::Kill(0)] {
        now += 50;
        scheduler.excuse(0, ms(50), ms(now));
        scheduler.tick(ms(now));
        assert!(now < 2000, "never killed");
    }
    assert!(now >= 900, "killed after {now} ms");
}
