//! What the coordinator knows of a host.

use super::{MOST_BREACHES, Time};
use crate::notes::{Refusal, RunBeat};

/// Maximum number of workers that a host is believed to have.
const MOST_WORKERS: u32 = 4096;

/// A host that has told of itself.
#[derive(Debug)]
pub(super) struct ServingHost {
    pub life: u64,
    pub heard: Time,
    /// Number of workers that chunks are published for.
    pub workers: usize,
    /// Number of chunks that it holds, and of those that it was given since it told of that.
    held: usize,
    pub given: usize,
    pub refused: Option<Refusal>,
    pub breaches: u32,
}

impl ServingHost {
    pub fn of_beat(beat: &RunBeat, breaches: u32, now: Time) -> ServingHost {
        let serves = !beat.leaving && beat.refused.is_none();
        let workers = if serves { beat.workers.min(MOST_WORKERS) as usize } else { 0 };
        let refused = beat.refused.clone();
        ServingHost { life: beat.life, heard: now, workers, held: beat.held.len(), given: 0, refused, breaches }
    }

    /// Returns the number of chunks that it has, as far as is known.
    pub fn load(&self) -> usize {
        self.held.saturating_add(self.given)
    }

    /// Returns a host that has not told of itself yet.
    pub fn unknown(now: Time) -> ServingHost {
        ServingHost { life: 0, heard: now, workers: 0, held: 0, given: 0, refused: None, breaches: 0 }
    }

    /// Returns true if nothing of the host is heard any more.
    pub fn is_ignored(&self) -> bool {
        self.breaches >= MOST_BREACHES
    }
}
