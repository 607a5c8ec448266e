//! Failed starts of workers: when to try again, and when to give up.
//!
//! A start can be refused (there is no room for a process), or the worker ends before it is ready. Either cause may be
//! gone in a moment, so the start is tried again, one worker at a time, after growing pauses. The run continues with
//! the workers that it has.

use std::time::Duration;

use super::Time;

/// Time for which starts may be refused while no worker lives, until the run gives up.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Time for which workers may end before they are ready, and weight that these must have in all, until the run gives
/// up: something is wrong with the task or the machine then. A worker that somebody killed has less weight, because
/// that may be bad luck. One that took too long has more, because each of them takes its time.
const DUDS_PATIENCE: Duration = Duration::from_secs(2);
const MOST_DUDS: u32 = 20;
/// The pause before the first new try. Each further pause is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Returns the pause after this many failures in a row.
pub fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_PAUSE)
}

/// Manner in which a worker ended that was never ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailedStart {
    /// It ended by itself.
    Ended,
    /// Somebody else killed it.
    Killed,
    /// The host killed it because it took too long.
    Late,
}

impl FailedStart {
    fn weight(self) -> u32 {
        match self {
            FailedStart::Ended => MOST_DUDS / 5,
            FailedStart::Killed => 1,
            FailedStart::Late => MOST_DUDS / 2,
        }
    }
}

/// Consecutive failures of one kind.
#[derive(Debug, Default)]
struct FailureStreak {
    failures: u32,
    since: Time,
}

impl FailureStreak {
    /// Counts a failure. While there is a reason to `hope`, the time until giving up begins anew.
    fn add(&mut self, hope: bool, now: Time) {
        if self.failures == 0 || hope {
            self.since = now;
        }
        self.failures = self.failures.saturating_add(1);
    }
}

/// Everything that went wrong since a worker was last started, or became ready. See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct StartFailures {
    refused: FailureStreak,
    /// True if the cause of the last refusal is not one that may go away.
    for_good: bool,
    duds: FailureStreak,
    weight: u32,
    /// Time before which no worker is started.
    wait_until: Option<Time>,
}

impl StartFailures {
    /// Reports that a worker could not be started. `lives` says whether another worker lives: one that ends makes room.
    /// `passes` says whether the cause may go away soon.
    pub fn refused(&mut self, passes: bool, lives: bool, now: Time) {
        self.refused.add(lives, now);
        self.for_good = !passes && !lives;
        self.wait(now);
    }

    /// Reports that a worker was started.
    pub fn started(&mut self, now: Time) {
        self.refused = FailureStreak::default();
        self.for_good = false;
        self.wait_until = None;
        if self.duds.failures > 0 {
            self.wait(now);
        }
    }

    /// Reports that a worker ended before it was ready. `ready` says whether another worker is ready.
    pub fn dud(&mut self, dud: FailedStart, ready: bool, now: Time) {
        self.duds.add(ready, now);
        self.weight = self.weight.saturating_add(dud.weight());
        self.wait(now);
    }

    /// Reports that a worker became ready.
    pub fn ready(&mut self) {
        self.duds = FailureStreak::default();
        self.weight = 0;
        if self.refused.failures == 0 {
            self.wait_until = None;
        }
    }

    fn wait(&mut self, now: Time) {
        self.wait_until = Some(now.saturating_add(pause(self.refused.failures.max(self.duds.failures))));
    }

    pub fn tick(&mut self, now: Time) {
        self.wait_until = self.wait_until.filter(|&until| until > now);
    }

    pub fn next_try(&self) -> Option<Time> {
        self.wait_until
    }

    /// Returns how many of the wanted workers may be started now.
    pub fn allowed(&self, wanted: usize) -> usize {
        match (self.wait_until, self.refused.failures + self.duds.failures) {
            (Some(_), _) => 0,
            (None, 0) => wanted,
            (None, _) => wanted.min(1),
        }
    }

    /// Returns true if the run should give up, depending on whether any worker lives and whether any is ready.
    pub fn is_hopeless(&self, lives: bool, ready: bool, now: Time) -> bool {
        let lasts =
            |streak: &FailureStreak, patience| streak.failures > 0 && now.saturating_sub(streak.since) >= patience;
        let no_room = self.for_good || lasts(&self.refused, PATIENCE);
        let no_use = self.weight >= MOST_DUDS && lasts(&self.duds, DUDS_PATIENCE);
        (no_room && !lives) || (no_use && !ready)
    }
}
