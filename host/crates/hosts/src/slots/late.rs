//! Which chunks are late: those that take far longer than chunks take on other hosts.

use std::collections::VecDeque;
use std::time::Duration;

use super::Time;
use crate::names::HostName;

/// Number of chunks whose times are known.
const KNOWN: usize = 256;
/// A chunk is late after this many times the time within which 95 of 100 chunks are done, and no sooner than this.
const TIMES: u32 = 3;
const SOONEST: Duration = Duration::from_secs(2);
/// The same for one that is so late that its host seems to answer nothing.
const VERY_LATE_TIMES: u32 = 10;
const VERY_LATE_SOONEST: Duration = Duration::from_secs(30);
/// One chunk in so many may be given to a second host because it is late.
const ONE_IN: u64 = 20;

/// Returns how many of these chunks may be given to a second host.
pub(super) fn most_doubled(chunks: u64) -> u64 {
    (chunks / ONE_IN).max(1)
}

/// The times that the last chunks took, from when a host named them until their outcomes were taken.
#[derive(Debug, Default)]
pub(super) struct ChunkTimes {
    last: VecDeque<(HostName, Time)>,
}

impl ChunkTimes {
    pub fn add(&mut self, host: &HostName, time: Time) {
        if self.last.len() == KNOWN {
            self.last.pop_front();
        }
        self.last.push_back((host.clone(), time));
    }

    /// Returns true if a chunk of this host is late that it has had for so long. How long that host takes otherwise does
    /// not count: a slow one would excuse itself.
    pub fn are_late(&self, host: &HostName, time: Time) -> bool {
        self.exceed(host, time, TIMES, SOONEST)
    }

    /// Returns true if a chunk is so late that its host has to be expected never to answer, if it answered no other meanwhile.
    pub fn are_very_late(&self, host: &HostName, time: Time) -> bool {
        self.exceed(host, time, VERY_LATE_TIMES, VERY_LATE_SOONEST)
    }

    fn exceed(&self, host: &HostName, time: Time, times: u32, soonest: Duration) -> bool {
        if time < soonest {
            return false;
        }
        let mut others: Vec<Time> = self.last.iter().filter(|(by, _)| by != host).map(|(_, time)| *time).collect();
        others.sort_unstable();
        let usual = others.get((others.len() * 95 / 100).min(others.len().saturating_sub(1)));
        usual.is_some_and(|&usual| time >= usual * times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_late_by_the_times_of_other_hosts() {
        let (slow, fast) = (HostName::of_text("slow"), HostName::of_text("fast"));
        let s = Time::from_secs;
        let mut times = ChunkTimes::default();
        // Nothing is known of others.
        (0..KNOWN).for_each(|_| times.add(&slow, s(60)));
        assert!(!times.are_late(&slow, s(1000)));
        (0..KNOWN - 9).for_each(|_| times.add(&fast, s(1)));
        assert!(!times.are_late(&slow, s(2)) && times.are_late(&slow, s(3)));
        assert!(!times.are_late(&fast, s(179)) && times.are_late(&fast, s(180)));
        (0..KNOWN).for_each(|_| times.add(&fast, Time::from_millis(1)));
        assert!(!times.are_late(&slow, Time::from_millis(1999)) && times.are_late(&slow, s(2)));
    }

    #[test]
    fn one_chunk_in_twenty_and_at_least_one_may_run_twice() {
        assert_eq!([0, 1, 39, 40, 1000].map(most_doubled), [1, 1, 1, 2, 50]);
    }
}
