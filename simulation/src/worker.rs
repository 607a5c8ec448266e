//! A simulated worker process: it runs what is in its lane, item by item or as batches, and puts outcomes into a ring
//! that can be full.

use std::collections::VecDeque;
use std::time::Duration;

use crate::random::Random;
use crate::world::{Nature, World};
use wasmpool_core::outcome::FailureKind;
use wasmpool_scheduler::{OutcomeEnd, Time};

/// An outcome on its way to the host.
#[derive(Debug)]
pub struct Outcome {
    pub index: u64,
    pub ending: OutcomeEnd,
    pub elapsed: Duration,
}

/// The present activity of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    Loading,
    Idle,
    /// Running a call for `count` items from `first` on.
    Running {
        first: u64,
        count: u32,
        fate: Fate,
    },
    /// Waiting, with outcomes for which the ring has no room.
    Writing,
}

/// The way in which the running call will end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Answer(OutcomeEnd),
    /// A batch that fails as a whole.
    Unbatch,
    Die,
    /// The call does not end by itself.
    Never,
}

/// The result of a worker's step.
#[derive(Debug, Default)]
pub struct Stepped {
    /// The time of its next step, if it takes one by itself.
    pub next: Option<Time>,
    pub died: bool,
    /// True if it rang the host.
    pub rang: bool,
}

/// The false claim of a worker that lies about what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Anything.
    Anything,
    /// At each look, that it has just begun something new.
    Starts,
    /// That nothing is running, while bytes come and go.
    Drip,
}

#[derive(Debug)]
pub struct Worker {
    pub doing: Doing,
    /// Items in its lane: first index and count of each chunk.
    queue: VecDeque<(u64, u32)>,
    /// Number of items of the first chunk that are run one by one, after their batch failed.
    singles: u32,
    /// Outcomes not yet in the ring; `ring` holds those that are.
    out: VecDeque<Outcome>,
    pub ring: VecDeque<Outcome>,
    pub said_ready: bool,
    pub dead: bool,
    /// True if it takes no steps until it is continued.
    pub stopped: bool,
    /// Time until its next step was due when it was stopped.
    rest: Option<Duration>,
    pub answered: u64,
    pub attempt: u64,
    pub since: Time,
    pub liar: bool,
    pub lie: Lie,
    /// The time of its next step; steps with other numbers are outdated.
    pub step_at: Option<Time>,
    pub step_number: u32,
    /// True if it dies during its start; `exited` is true if it ended by itself.
    pub bad_start: bool,
    pub exited: bool,
    /// True if it will once send an answer that nobody asked for.
    pub talks: bool,
}

impl Worker {
    pub fn new(liar: bool) -> Self {
        Worker {
            doing: Doing::Loading,
            queue: VecDeque::new(),
            singles: 0,
            out: VecDeque::new(),
            ring: VecDeque::new(),
            said_ready: false,
            dead: false,
            stopped: false,
            rest: None,
            answered: 0,
            attempt: 0,
            since: Time::ZERO,
            liar,
            lie: Lie::Anything,
            step_at: None,
            step_number: 0,
            bad_start: false,
            exited: false,
            talks: false,
        }
    }

    /// Puts items into its lane. Returns true if it must be woken.
    pub fn queue(&mut self, first: u64, count: u32) -> bool {
        self.queue.push_back((first, count));
        self.doing == Doing::Idle
    }

    /// Takes back a chunk that waits behind another; returns false if it had begun. A lying worker returns anything,
    /// and runs the chunk or not.
    pub fn take_back(&mut self, chunk: u64, random: &mut Random) -> bool {
        if self.liar && random.per_mille(500) {
            return random.per_mille(500);
        }
        if self.has_begun(chunk) {
            return false;
        }
        let at = self.queue.iter().position(|&(first, _)| first == chunk);
        at.is_some_and(|at| self.queue.remove(at).is_some())
    }

    /// Returns true if it has begun this chunk.
    pub fn has_begun(&self, chunk: u64) -> bool {
        let at = self.queue.iter().position(|&(first, _)| first == chunk);
        at.is_none_or(|at| at == 0 && (self.singles > 0 || matches!(self.doing, Doing::Running { .. })))
    }

    /// Returns the item that it is running, and whether that is alone in its call.
    pub fn in_work(&self) -> Option<(u64, bool)> {
        match self.doing {
            Doing::Running { first, count, .. } => Some((first, count == 1)),
            Doing::Writing => self.out.front().map(|o| (o.index, true)),
            Doing::Loading | Doing::Idle => None,
        }
    }

    /// Returns what an honest status page contains: attempts, items started, since when.
    pub fn status(&self) -> (u64, u64, Time) {
        (self.attempt, self.answered + u64::from(self.in_work().is_some()), self.since)
    }

    pub fn stop(&mut self, now: Time) {
        self.stopped = true;
        self.rest = self.step_at.map(|at| at.saturating_sub(now));
        self.step_at = None;
        self.step_number += 1;
    }

    /// Continues after a stop; returns the time of its next step.
    pub fn go_on(&mut self, now: Time) -> Option<Time> {
        self.stopped = false;
        self.rest.take().map(|rest| now + rest)
    }

    /// Makes the next step: the current activity has come to its end.
    pub fn step(&mut self, now: Time, world: &World, random: &mut Random) -> Stepped {
        let mut stepped = Stepped::default();
        match self.doing {
            Doing::Loading => {
                if self.bad_start {
                    return Stepped { died: true, ..stepped };
                }
                self.said_ready = true;
                self.doing = Doing::Idle;
                stepped.rang = true;
                return stepped;
            }
            Doing::Running { first, count, fate } => match fate {
                Fate::Answer(ending) => {
                    self.take_off(count);
                    let elapsed = now.saturating_sub(self.since) / count;
                    let outcomes = (first..first + u64::from(count)).map(|index| Outcome { index, ending, elapsed });
                    self.out.extend(outcomes);
                }
                Fate::Unbatch => self.singles = count,
                Fate::Die => return Stepped { died: true, ..stepped },
                Fate::Never => return stepped,
            },
            Doing::Idle | Doing::Writing => {}
        }
        while self.ring.len() < world.ring
            && let Some(outcome) = self.out.pop_front()
        {
            self.ring.push_back(outcome);
            self.answered += 1;
        }
        if !self.out.is_empty() {
            // The host is asked to make room; it wakes the worker when it takes outcomes.
            self.doing = Doing::Writing;
            return Stepped { rang: true, ..stepped };
        }
        // Within a chunk it rings only sometimes, at its end always.
        stepped.rang = self.singles == 0 && (self.queue.is_empty() || random.per_mille(300));
        match self.begin(now, world, random) {
            Some(time) => stepped.next = time.map(|time| now + time),
            None => {
                self.doing = Doing::Idle;
                if std::mem::take(&mut self.talks) {
                    self.ring.push_back(Outcome { index: 0, ending: OutcomeEnd::Final, elapsed: Duration::ZERO });
                }
            }
        }
        stepped
    }

    /// Removes items that were run from the lane.
    fn take_off(&mut self, count: u32) {
        if let Some((first, left)) = self.queue.front_mut() {
            *first += u64::from(count);
            *left -= count;
            if *left == 0 {
                self.queue.pop_front();
            }
        }
        self.singles = self.singles.saturating_sub(count);
    }

    /// Starts the next call, if there is one; returns its duration, if that is known.
    fn begin(&mut self, now: Time, world: &World, random: &mut Random) -> Option<Option<Duration>> {
        let &(first, left) = self.queue.front()?;
        let count = if world.config.batch && self.singles == 0 { left } else { 1 };
        self.attempt += 1;
        self.since = now;
        let mut fate = Fate::Answer(OutcomeEnd::Final);
        let mut time = Duration::ZERO;
        let timeout = world.config.timeout;
        for index in first..first + u64::from(count) {
            let usual = random.time(Duration::from_micros(200));
            let (item, takes) = match world.nature(index) {
                Nature::Good => (fate, usual),
                Nature::Failing(_) | Nature::Expiring if count > 1 => (Fate::Unbatch, usual),
                Nature::Failing(kind) => (Fate::Answer(OutcomeEnd::Failed(kind)), usual),
                Nature::Expiring => (Fate::Answer(OutcomeEnd::Failed(FailureKind::Timeout)), usual),
                Nature::Moody => match random.below(4) {
                    0 => (Fate::Die, usual),
                    1 => (fate, usual),
                    _ if count > 1 => (Fate::Unbatch, usual),
                    2 => (Fate::Answer(OutcomeEnd::Failed(FailureKind::Trap)), usual),
                    _ => (Fate::Answer(OutcomeEnd::Failed(FailureKind::Timeout)), usual),
                },
                Nature::Killer => (Fate::Die, usual),
                Nature::Flaky if random.per_mille(500) => (Fate::Die, usual),
                Nature::Flaky => (fate, usual),
                Nature::Endless => (Fate::Never, usual),
                Nature::Slow => (fate, timeout / 2 + random.time(timeout)),
            };
            (fate, time) = (item, time + takes);
            if !matches!(fate, Fate::Answer(_)) {
                break; // nothing behind it is reached
            }
        }
        self.doing = Doing::Running { first, count, fate };
        Some((fate != Fate::Never).then_some(time))
    }
}
