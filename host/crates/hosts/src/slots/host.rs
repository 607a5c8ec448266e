//! What the coordinator knows of a host.

use super::{MOST_BREACHES, PER_WORKER, Time};
use crate::ahead::most_ahead;
use crate::notes::{Refusal, RunBeat};

/// Maximum number of workers that a host is believed to have.
const MOST_WORKERS: u32 = 4096;
/// Number of workers that a host is believed to have before it has taken a chunk. It is believed more as it takes them.
const FIRST_WORKERS: usize = 16;
/// A host that has lost so many chunks since it answered one counts as one with a single worker.
const MOST_LOST: u32 = 3;

/// A host that has told of itself.
#[derive(Debug, Default)]
pub(super) struct ServingHost {
    pub life: u64,
    pub heard: Time,
    /// Number of workers that it says it has for the run.
    pub workers: usize,
    /// Number of chunks that it wants at hand beside those that its workers run.
    ahead: usize,
    /// Number of chunks that it says it holds, of those that it was given since, and of those that it was given at all.
    held: usize,
    pub given: usize,
    pub holds: usize,
    pub refused: Option<Refusal>,
    pub breaches: u32,
    /// Number of chunks that it has answered, and of those that it has lost since the last of them, while it lived.
    pub answered: usize,
    pub lost: u32,
    pub last_answer: Option<Time>,
    /// The life under this name before this one.
    pub before: Option<u64>,
    /// The later one of two processes that live under this name at the same time, and whether that was told.
    pub rival: Option<u64>,
    pub told_rival: bool,
    /// True once the user was told that it serves the run, and that it leaves it.
    pub told_serving: bool,
    pub told_leaving: bool,
}

impl ServingHost {
    pub fn of_beat(beat: &RunBeat, now: Time) -> ServingHost {
        let serves = !beat.leaving && beat.refused.is_none();
        let workers = if serves { beat.workers.min(MOST_WORKERS) as usize } else { 0 };
        let refused = beat.refused.clone();
        let (held, ahead) = (beat.held.len(), beat.ahead as usize);
        ServingHost { life: beat.life, heard: now, workers, ahead, held, refused, ..ServingHost::default() }
    }

    /// Returns a host that has not told of itself yet.
    pub fn unknown(now: Time) -> ServingHost {
        ServingHost { heard: now, ..ServingHost::default() }
    }

    /// Keeps in mind what was known of this host before its last beat.
    pub fn goes_on(&mut self, known: &ServingHost) {
        self.begins_after(known);
        self.before = known.before;
        (self.told_serving, self.told_leaving) = (known.told_serving, known.told_leaving);
    }

    /// Keeps in mind what was known of another life under this name.
    pub fn begins_after(&mut self, known: &ServingHost) {
        let &ServingHost { life, breaches, answered, lost, last_answer, rival, told_rival, .. } = known;
        let before = Some(life);
        (self.breaches, self.answered, self.lost, self.before) = (breaches, answered, lost, before);
        self.last_answer = last_answer;
        (self.rival, self.told_rival) = (rival, told_rival);
    }

    /// Returns the number of chunks that it has, as far as is known.
    pub fn load(&self) -> usize {
        self.held.saturating_add(self.given)
    }

    /// Returns true if it loses what it is given.
    pub fn loses(&self) -> bool {
        self.lost >= MOST_LOST
    }

    /// Returns the number of workers that chunks are published for.
    pub fn reckoned(&self) -> usize {
        let taken = self.answered.saturating_add(self.holds);
        let most = if self.loses() { 1 } else { FIRST_WORKERS.saturating_add(taken.saturating_mul(2)) };
        self.workers.min(most)
    }

    /// Returns the number of chunks that are published for it, and of those beside them since it wants more at hand.
    pub fn slots(&self) -> (usize, usize) {
        let workers = self.reckoned();
        let ahead = self.ahead.min(most_ahead(workers));
        (workers.saturating_mul(PER_WORKER), ahead.saturating_sub(workers.saturating_mul(PER_WORKER - 1)))
    }

    /// Returns true if it is a loss for the run that the host is there no more, whatever it had.
    pub fn is_missed(&self) -> bool {
        self.told_serving && !self.told_leaving
    }

    /// Returns true if nothing of the host is heard any more.
    pub fn is_ignored(&self) -> bool {
        self.breaches >= MOST_BREACHES
    }
}
