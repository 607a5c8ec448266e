//! The world of a seed: the run's settings, its items, and what goes wrong.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use crate::Violation;
use crate::figures::Figures;
use crate::random::{Random, mix};
use crate::seeds::SeededWorld;
use crate::simulation::Simulation;
use crate::trace::Trace;
use wasmpool_core::outcome::FailureKind;
use wasmpool_core::policy::{Failures, Halt, HaltWhen, RETRY_ON};
use wasmpool_scheduler::{ChunkSize, SchedulerConfig};

/// Bytes that the scheduler counts for an item besides its own.
const ITEM_OVERHEAD: u64 = 16;

/// The effect of an item on the worker that runs it.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub enum Nature {
    /// It succeeds in time.
    Good,
    /// It fails at once with this kind, and a batch with it has to be run item by item.
    Failing(FailureKind),
    /// It kills its worker.
    Killer,
    /// It kills its worker sometimes.
    Flaky,
    /// It never ends.
    Endless,
    /// Its worker reports by itself that it ran out of time.
    Expiring,
    /// It ends differently each time.
    Moody,
    /// It ends at about its time limit.
    Slow,
}

/// Number of items of each nature, out of 1000.
#[derive(Clone, Debug, Default)]
pub struct Natures {
    pub failing: u32,
    pub killer: u32,
    pub flaky: u32,
    pub endless: u32,
    pub expiring: u32,
    pub moody: u32,
    pub slow: u32,
}

/// The faults of a world that no item causes.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Average time between two signals to workers: SIGKILL, SIGSTOP and SIGCONT, or SIGSTOP alone.
    pub signal_every: Option<Duration>,
    /// Number of workers out of 1000 that die when they start (`dead_starts`), never get ready (`hung_starts`), lie
    /// about what they do (`liars`), or answer what nobody asked (`talkers`).
    pub dead_starts: u32,
    pub hung_starts: u32,
    /// Number of starts out of 1000 that are refused; `no_room` is when all are, for lack of resources.
    pub refused_spawns: u32,
    pub no_room: Option<Range<Duration>>,
    pub liars: u32,
    pub talkers: u32,
    /// Average time between two stops of the host itself.
    pub host_stops_every: Option<Duration>,
    /// True if workers are reported to wait for processors.
    pub overloaded: bool,
}

/// The pace of the input.
#[derive(Clone, Debug)]
pub struct Input {
    /// Maximum number of items in one read, and longest pause before it.
    pub burst: u64,
    pub pause: Duration,
}

/// Callers that bring the items, which are served on demand.
#[derive(Clone, Debug)]
pub struct Callers {
    /// True if a caller comes only when all before it were answered; otherwise after a pause.
    pub one_by_one: bool,
    /// Average time between two callers that give up their items.
    pub leave_every: Option<Duration>,
}

/// The pace of the output.
#[derive(Clone, Debug)]
pub struct Output {
    pub per_byte: Duration,
    /// Number of bytes after which it is closed.
    pub closes_after: Option<u64>,
}

#[derive(Clone, Debug)]
pub struct World {
    pub seed: u64,
    pub items: u64,
    /// Bytes of an item; with `large_items`, some items have far more.
    pub item: u32,
    pub large_items: bool,
    /// Maximum bytes of an outcome's printed form.
    pub outcome: u64,
    /// Number of outcomes that fit into a worker's lane.
    pub ring: usize,
    pub config: SchedulerConfig,
    pub natures: Natures,
    pub faults: Faults,
    /// What an earlier run has left, in order: numbers of items that are known (`true`) or still to be run (`false`).
    pub left: Vec<(u64, bool)>,
    pub input: Input,
    pub callers: Option<Callers>,
    /// Average time between two changes of the number of workers.
    pub resized_every: Option<Duration>,
    pub output: Output,
    /// The time at which the user asks for the end.
    pub stop_at: Option<Duration>,
    /// True if the artifact turns out to be another machine's when the first workers load it.
    pub exchange: bool,
    /// Time that the host may take to notice something.
    pub latency: Duration,
}

/// Kinds of failure that items may have and that may be retried.
const KINDS: [FailureKind; 5] =
    [FailureKind::WorkerLost, FailureKind::Timeout, FailureKind::Error, FailureKind::Trap, FailureKind::Memory];

fn some_of(random: &mut Random, kinds: &[FailureKind]) -> BTreeSet<FailureKind> {
    kinds.iter().copied().filter(|_| random.per_mille(500)).collect()
}

impl World {
    pub fn nature(&self, index: u64) -> Nature {
        let n = &self.natures;
        let kinds = [
            (n.failing, Nature::Failing(self.kind(index))),
            (n.killer, Nature::Killer),
            (n.flaky, Nature::Flaky),
            (n.endless, Nature::Endless),
            (n.expiring, Nature::Expiring),
            (n.moody, Nature::Moody),
            (n.slow, Nature::Slow),
        ];
        let mut draw = (mix(self.seed ^ mix(index)) % 1000) as u32;
        for (share, nature) in kinds {
            if draw < share {
                return nature;
            }
            draw -= share;
        }
        Nature::Good
    }

    /// Returns the kind of its failure, if it fails.
    fn kind(&self, index: u64) -> FailureKind {
        let failures = KINDS.len() as u64;
        KINDS.get((mix(self.seed.rotate_left(16) ^ index) % failures) as usize).copied().unwrap_or(FailureKind::Error)
    }

    /// Returns the number of items that an earlier run has left.
    pub fn left_items(&self) -> u64 {
        self.left.iter().map(|(count, _)| count).sum()
    }

    pub fn size(&self, index: u64) -> u32 {
        let large = self.large_items && mix(self.seed.rotate_left(32) ^ index).is_multiple_of(20);
        if large { self.item * 20 + 1_000 } else { self.item }
    }

    /// Returns the bytes of the item as the scheduler counts them.
    pub fn cost(&self, index: u64) -> u64 {
        u64::from(self.size(index)) + ITEM_OVERHEAD
    }

    /// Returns true if nothing goes wrong except what items do: then the outcome of each item is known.
    pub fn is_undisturbed(&self) -> bool {
        let f = &self.faults;
        f.signal_every.is_none() && f.liars == 0 && f.talkers == 0
    }
}

impl SeededWorld for World {
    type Figures = Figures;
    const VARIABLE: &'static str = "SEED";

    fn drawn(seed: u64) -> World {
        let random = &mut Random::new(mix(seed));
        let us = Duration::from_micros;
        let ms = Duration::from_millis;
        // Mostly few; sometimes as many as a large machine might start.
        let workers = match random.below(10_000) {
            0 => random.between(1_000, 10_000),
            1..20 => random.between(100, 1_000),
            20..1_000 => random.between(9, 64),
            _ => random.between(1, 8),
        };
        let items = match random.below(100) {
            0 => random.magnitude(5_000),
            1..10 => random.magnitude(1_000),
            _ => random.below(150),
        };
        let items = if workers > 64 { random.below(3 * workers) } else { items };
        let item = random.magnitude(2_000) as u32;
        let outcome = random.magnitude(4_000);
        let timeout = ms(random.between(10, 200));
        let may = |random: &mut Random, per_mille| random.per_mille(per_mille);
        let config = SchedulerConfig {
            workers: workers as usize,
            ordered: may(random, 600),
            chunk: match random.below(3) {
                0 => ChunkSize::Auto,
                _ => ChunkSize::Fixed(random.magnitude(64).max(1) as u32),
            },
            batch: may(random, 250),
            retries: if may(random, 500) { random.below(4) as u32 } else { 0 },
            retry_on: if may(random, 600) { RETRY_ON.into() } else { some_of(random, &KINDS) },
            halt: may(random, 200).then(|| Halt {
                manner: if may(random, 500) { HaltWhen::Now } else { HaltWhen::Soon },
                after: match random.below(2) {
                    0 => Failures::Count(random.magnitude(20).max(1)),
                    _ => Failures::Percent(random.between(1, 60) as f64),
                },
            }),
            resumable: may(random, 400),
            max_items_per_worker: may(random, 250).then(|| random.magnitude(100).max(1)),
            timeout,
            start_timeout: timeout + ms(500),
            window: 200 + random.magnitude(200_000) as usize,
            slots: false,
        };
        let rate = |random: &mut Random, most| if random.below(3) == 0 { random.below(most) as u32 } else { 0 };
        let natures = Natures {
            failing: rate(random, 100),
            killer: rate(random, 60),
            flaky: rate(random, 60),
            endless: rate(random, 30),
            expiring: rate(random, 60),
            moody: rate(random, 60),
            slow: rate(random, 60),
        };
        let faults = if may(random, 300) {
            Faults::default()
        } else {
            Faults {
                signal_every: may(random, 600).then(|| us(200 + random.magnitude(100_000))),
                // A few of all, or nearly all: then the run is given up.
                dead_starts: if may(random, 20) { random.between(500, 1_000) as u32 } else { rate(random, 150) },
                hung_starts: rate(random, 60),
                refused_spawns: rate(random, 300),
                no_room: may(random, 150).then(|| {
                    let start = ms(random.magnitude(500));
                    start..start + ms(random.magnitude(40_000))
                }),
                liars: rate(random, 500),
                talkers: rate(random, 100),
                host_stops_every: may(random, 150).then(|| ms(random.between(20, 500))),
                overloaded: may(random, 150),
            }
        };
        let callers = may(random, 250).then(|| Callers {
            one_by_one: may(random, 500),
            leave_every: may(random, 400).then(|| us(200 + random.magnitude(100_000))),
        });
        let left = match callers.is_none() && may(random, 100) {
            true => (0..random.below(6)).map(|_| (random.magnitude(30).max(1), may(random, 500))).collect(),
            false => Vec::new(),
        };
        // Callers wait for their own outcomes, so their service has no order.
        let config = SchedulerConfig { ordered: config.ordered && callers.is_none(), ..config };
        World {
            seed,
            items: items + left.iter().map(|(count, _)| count).sum::<u64>(),
            item,
            large_items: may(random, 200),
            outcome,
            ring: random.magnitude(200).max(1) as usize,
            config,
            natures,
            faults,
            left,
            resized_every: may(random, if callers.is_some() { 500 } else { 50 })
                .then(|| us(500 + random.magnitude(100_000))),
            callers,
            input: Input {
                burst: random.magnitude(300).max(1),
                pause: match random.below(10) {
                    0 => timeout * 3,
                    1..4 => ms(5),
                    _ => us(100),
                },
            },
            output: Output {
                per_byte: Duration::from_nanos(if may(random, 200) { random.magnitude(50_000) } else { 1 }),
                closes_after: may(random, 30).then(|| random.below(50_000)),
            },
            stop_at: may(random, 80).then(|| us(random.magnitude(500_000))),
            exchange: may(random, 20),
            latency: us(random.magnitude(2_000)),
        }
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn smaller(&self) -> Vec<World> {
        let with = |change: &dyn Fn(&mut World)| {
            let mut world = self.clone();
            change(&mut world);
            world
        };
        vec![
            with(&|w| w.items = (w.items / 2).max(w.left_items())),
            with(&|w| w.items = w.items.saturating_sub(1).max(w.left_items())),
            with(&|w| w.config.workers = (w.config.workers / 2).max(1)),
            with(&|w| w.config.workers = (w.config.workers - 1).max(1)),
            with(&|w| w.faults.signal_every = None),
            with(&|w| w.faults = Faults::default()),
            with(&|w| w.natures = Natures::default()),
            with(&|w| w.stop_at = None),
            with(&|w| w.config.max_items_per_worker = None),
            with(&|w| w.config.halt = None),
            with(&|w| w.callers = None),
            with(&|w| w.resized_every = None),
            with(&|w| {
                w.items -= w.left_items();
                w.left.clear();
            }),
            with(&|w| w.config.retries = 0),
            with(&|w| w.config.batch = false),
            with(&|w| w.large_items = false),
        ]
    }

    fn play(&self, trace: Trace) -> Result<Figures, Violation> {
        Simulation::new(self.clone(), trace).run()
    }
}
