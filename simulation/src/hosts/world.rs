//! What a seed determines.

use std::time::Duration;

use super::figures::Figures;
use super::play::Simulation;
use crate::Violation;
use crate::random::Random;
use crate::seeds::SeededWorld;
use crate::trace::Trace;

/// A world. Rates are in thousandths.
#[derive(Clone, Debug)]
pub struct World {
    pub seed: u64,
    pub items: u64,
    pub chunk: u32,
    pub hosts: u32,
    pub workers: u32,
    /// Number of chunks that a host wants at hand beside those that its workers run.
    pub ahead: u32,
    pub ordered: bool,
    pub retries: u32,
    /// The longest that an item takes, and a message is on its way.
    pub item: Duration,
    pub delay: Duration,
    /// Items that fail in a way that may be tried again, and that end the host on which they run.
    pub failing: u32,
    pub killers: Vec<u64>,
    /// How often a message between broker and anybody is lost, or comes twice.
    pub lose: u32,
    pub double: u32,
    /// How often, each second, a host ends, stands still for a while, and the broker loses everything, or is away.
    pub kill: u32,
    pub freeze: u32,
    pub forget: u32,
    pub away: u32,
    /// How often a host that has a chunk lies about it.
    pub lie: u32,
    /// Maximum number of outcomes in a part.
    pub part: u32,
    /// How many times as long as others the first host takes.
    pub slow: u32,
    /// True if late chunks may run on a second host, and the percentage of chunks that run on two.
    pub speculate: bool,
    pub check: u8,
    /// What one more host does instead of work, all the time.
    pub rogue: Option<Rogue>,
    /// How often, each second, the broker's disk is full, and stays so.
    pub full: u32,
}

/// A host that keeps to the protocol and harms runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rogue {
    /// It pulls chunks, and never names or answers one.
    Silent,
    /// It names the chunks that it has for ever.
    Holds,
    /// It claims workers that it does not have, and pulls nothing.
    Claims,
    /// It is two processes of one name, of which one does the work of a host.
    Alternates,
}

/// Things go wrong no later than this.
pub const TROUBLE: Duration = Duration::from_secs(40);

impl World {
    /// Returns true if nothing goes wrong.
    pub fn is_quiet(&self) -> bool {
        self.lose + self.double + self.kill + self.freeze + self.forget + self.away + self.lie + self.full == 0
            && self.killers.is_empty()
            && self.rogue.is_none()
    }

    /// Returns true if nothing goes wrong but that one item ends each host on which it runs, and chunks run on one host at a time: of
    /// two, both may end at once.
    pub fn has_one_killer(&self) -> bool {
        self.check == 0
            && !self.speculate
            && self.killers.len() == 1
            && World { killers: Vec::new(), ..self.clone() }.is_quiet()
    }
}

fn drawn_rogue(random: &mut Random) -> Option<Rogue> {
    let all = [Rogue::Silent, Rogue::Holds, Rogue::Claims, Rogue::Alternates];
    all.get(random.below(8) as usize).copied()
}

impl SeededWorld for World {
    type Figures = Figures;
    const VARIABLE: &'static str = "HOSTS";

    fn drawn(seed: u64) -> World {
        let mut random = Random::new(seed);
        let random = &mut random;
        let quiet = random.per_mille(150);
        let rate = |random: &mut Random, most: u64| {
            if quiet || random.per_mille(400) { 0 } else { random.magnitude(most) as u32 }
        };
        let items = random.magnitude(300);
        let killers = rate(random, 3);
        let check = if random.per_mille(800) { 0 } else { random.between(1, 100) as u8 };
        // What is compared needs two hosts, even if one is not heard any more.
        let fewest = if check > 0 { 3 } else { 1 };
        let slow = if random.per_mille(500) { 1 } else { random.between(2, 60) as u32 };
        let mut world = World {
            seed,
            items,
            chunk: random.between(1, 12) as u32,
            hosts: random.between(fewest, 5) as u32,
            workers: random.between(1, 4) as u32,
            ordered: random.per_mille(700),
            retries: random.below(3) as u32,
            item: Duration::from_micros(random.magnitude(2_000_000)) / slow,
            delay: Duration::from_micros(random.magnitude(300_000)),
            failing: random.magnitude(300) as u32,
            killers: (0..killers).map(|_| random.below(items)).collect(),
            lose: rate(random, 100),
            double: rate(random, 100),
            kill: rate(random, 300),
            freeze: rate(random, 300),
            forget: rate(random, 200),
            away: rate(random, 200),
            lie: rate(random, 200),
            part: random.between(1, 20) as u32,
            slow,
            speculate: random.per_mille(700),
            check,
            // Drawn last, so that the rest of a world is as it was.
            rogue: if quiet { None } else { drawn_rogue(random) },
            full: rate(random, 200),
            ahead: 0,
        };
        world.ahead = if random.per_mille(500) { random.below(7 * u64::from(world.workers) + 1) as u32 } else { 0 };
        if !quiet && random.per_mille(100) {
            world.killers.truncate(1);
            world = World {
                lose: 0,
                double: 0,
                kill: 0,
                freeze: 0,
                forget: 0,
                away: 0,
                lie: 0,
                full: 0,
                rogue: None,
                ..world
            };
        }
        world
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
            with(&|w| w.items /= 2),
            with(&|w| w.items = w.items.saturating_sub(1)),
            with(&|w| w.hosts = (w.hosts - 1).max(if w.check > 0 { 3 } else { 1 })),
            with(&|w| w.workers = 1),
            with(&|w| w.ahead = 0),
            with(&|w| w.retries = 0),
            with(&|w| w.failing = 0),
            with(&|w| w.killers.clear()),
            with(&|w| w.lose = 0),
            with(&|w| w.double = 0),
            with(&|w| w.kill = 0),
            with(&|w| w.freeze = 0),
            with(&|w| w.forget = 0),
            with(&|w| w.away = 0),
            with(&|w| w.lie = 0),
            with(&|w| w.part = 100),
            with(&|w| w.slow = 1),
            with(&|w| w.speculate = false),
            with(&|w| w.check = 0),
            with(&|w| w.rogue = None),
            with(&|w| w.full = 0),
            with(&|w| w.item /= 2),
            with(&|w| w.delay /= 2),
        ]
    }

    fn play(&self, trace: Trace) -> Result<Figures, Violation> {
        Simulation::new(self, trace).run()
    }
}
