//! How many chunks a host has at hand beside those that its workers run, so that no worker waits for the message system.

use std::time::Duration;

/// Maximum number of chunks at hand for each worker, and for all of them. More could not be named in one beat.
const MOST_EACH: usize = 7;
const MOST: usize = 1024;
/// Time for which the chunks at hand last, if they may be so many: the way to the message system and back, several times over.
const LAST: Duration = Duration::from_millis(4);
/// Chunks that take no longer than this are fetched before a worker is free for them: fetching one takes a part of it.
const FETCHED_AHEAD: Duration = Duration::from_millis(250);
/// Chunks that take no longer than this are also given to workers ahead. Those that are not can still be given back.
const GIVEN_AHEAD: Duration = Duration::from_millis(20);

/// Returns the maximum number of chunks at hand for so many workers.
pub fn most_ahead(workers: usize) -> usize {
    workers.saturating_mul(MOST_EACH).min(MOST)
}

/// The time that chunks have taken a worker of late.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChunkPace {
    took: Option<Duration>,
    /// Number of chunks at hand for each worker.
    each: usize,
}

impl ChunkPace {
    /// Records how long a chunk was with `workers`, which had `before` others of those when they were given it.
    pub fn add(&mut self, passed: Duration, before: usize, workers: usize) {
        let turns = u32::try_from(1 + before / workers.max(1)).unwrap_or(u32::MAX);
        let took = passed / turns;
        let took = self.took.map_or(took, |usual| (usual * 3 + took) / 4);
        let each = usize::try_from(LAST.as_nanos() / took.as_nanos().max(1)).unwrap_or(usize::MAX).min(MOST_EACH);
        // It does not change back and forth where the time is near a step.
        if each > self.each || each + 1 < self.each || each == 0 {
            self.each = each;
        }
        self.took = Some(took);
    }

    /// Returns the number of chunks to have at hand beside those that so many workers run.
    pub fn ahead(&self, workers: usize) -> usize {
        match self.took {
            Some(took) if took <= FETCHED_AHEAD => {
                workers.saturating_mul(self.each).clamp(1, most_ahead(workers.max(1)))
            }
            _ => 0,
        }
    }

    /// Returns the number of these that workers are given before they can begin them.
    pub fn given_ahead(&self, workers: usize) -> usize {
        if self.took.is_some_and(|took| took <= GIVEN_AHEAD) { self.ahead(workers) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(took: Duration) -> ChunkPace {
        let mut pace = ChunkPace::default();
        pace.add(took, 0, 1);
        pace
    }

    #[test]
    fn the_shorter_chunks_are_the_more_are_at_hand() {
        let ahead = |micros| {
            let pace = pace(Duration::from_micros(micros));
            (pace.ahead(2), pace.given_ahead(2))
        };
        assert_eq!(ChunkPace::default().ahead(2), 0, "how long one takes is not known");
        assert_eq!([0, 50, 570].map(ahead), [(14, 14); 3]);
        assert_eq!([1_000, 2_000, 4_000].map(ahead), [(8, 8), (4, 4), (2, 2)]);
        assert_eq!([5_000, 20_000].map(ahead), [(1, 1); 2]);
        assert_eq!([21_000, 250_000].map(ahead), [(1, 0); 2]);
        assert_eq!(ahead(251_000), (0, 0));
    }

    #[test]
    fn a_time_near_a_step_changes_nothing() {
        let mut pace = pace(Duration::from_millis(1));
        let mut seen = Vec::new();
        for micros in [1_400, 1_300, 1_400, 9_000, 9_000] {
            pace.took = None;
            pace.add(Duration::from_micros(micros), 0, 1);
            seen.push(pace.ahead(2));
        }
        assert_eq!(seen, [4, 6, 6, 1, 1]);
    }

    #[test]
    fn no_more_are_at_hand_than_one_beat_names() {
        let pace = pace(Duration::from_micros(10));
        assert_eq!([1, 100, 4096].map(|workers| pace.ahead(workers)), [7, 700, 1024]);
    }

    #[test]
    fn a_chunk_that_waited_for_others_counts_with_its_own_time() {
        let mut pace = ChunkPace::default();
        for before in 0..16 {
            let turns = 1 + before as u32 / 2;
            pace.add(Duration::from_millis(3) * turns, before, 2);
        }
        assert_eq!(pace.took, Some(Duration::from_millis(3)));
    }
}
