//! Starts of workers that come to nothing: when to try again, and when no more.
//!
//! A start can be refused (there is no room for a process), or the worker ends before it is ready. Either may be over in a
//! moment, so it is tried again, one worker at a time, after pauses that grow. The run goes on with the workers that it has.

use std::time::Duration;

use super::Time;

/// How long no worker can be started, while none lives, until the run gives up.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How long workers end before they are ready, in a row, and how many at least, until the run gives up: something is wrong
/// with the task or the machine. One that somebody killed counts for less, since that may be bad luck, and one that took
/// too long for more, since each takes its time.
const DUDS_PATIENCE: Duration = Duration::from_secs(2);
const MOST_DUDS: u32 = 20;
/// The pause before the first try; each is followed by one twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Returns the pause after so many failures in a row.
pub fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_PAUSE)
}

/// How a worker ended that never was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dud {
    /// By itself.
    Ended,
    /// Somebody killed it.
    Killed,
    /// It was killed here, since it took too long.
    Late,
}

impl Dud {
    fn weight(self) -> u32 {
        match self {
            Dud::Ended => MOST_DUDS / 5,
            Dud::Killed => 1,
            Dud::Late => MOST_DUDS / 2,
        }
    }
}

/// Failures of one kind, in a row.
#[derive(Debug, Default)]
struct Streak {
    failures: u32,
    since: Time,
}

impl Streak {
    /// Patience begins anew as long as there is a reason to `hope`.
    fn add(&mut self, hope: bool, now: Time) {
        if self.failures == 0 || hope {
            self.since = now;
        }
        self.failures = self.failures.saturating_add(1);
    }
}

/// All that went wrong since a worker was last started, or got ready. See the module's head.
#[derive(Debug, Default)]
pub(super) struct Setback {
    refused: Streak,
    /// The last refusal is not one that passes.
    for_good: bool,
    duds: Streak,
    weight: u32,
    /// No worker is started before.
    wait_until: Option<Time>,
}

impl Setback {
    /// A worker could not be started, while another `lives` or not: one that ends makes room. `passes` says whether it may be
    /// otherwise soon.
    pub fn refused(&mut self, passes: bool, lives: bool, now: Time) {
        self.refused.add(lives, now);
        self.for_good = !passes && !lives;
        self.wait(now);
    }

    /// A worker was started.
    pub fn started(&mut self, now: Time) {
        self.refused = Streak::default();
        self.for_good = false;
        self.wait_until = None;
        if self.duds.failures > 0 {
            self.wait(now);
        }
    }

    /// A worker ended before it was ready, while another is `ready` or not.
    pub fn dud(&mut self, dud: Dud, ready: bool, now: Time) {
        self.duds.add(ready, now);
        self.weight = self.weight.saturating_add(dud.weight());
        self.wait(now);
    }

    /// A worker got ready.
    pub fn ready(&mut self) {
        self.duds = Streak::default();
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

    /// Returns how many workers may be started now, of those that are wanted.
    pub fn allowed(&self, wanted: usize) -> usize {
        match (self.wait_until, self.refused.failures + self.duds.failures) {
            (Some(_), _) => 0,
            (None, 0) => wanted,
            (None, _) => wanted.min(1),
        }
    }

    /// Says whether to give up, going by whether a worker lives, and whether one is ready.
    pub fn is_hopeless(&self, lives: bool, ready: bool, now: Time) -> bool {
        let lasts = |streak: &Streak, patience| streak.failures > 0 && now.saturating_sub(streak.since) >= patience;
        let no_room = self.for_good || lasts(&self.refused, PATIENCE);
        let no_use = self.weight >= MOST_DUDS && lasts(&self.duds, DUDS_PATIENCE);
        (no_room && !lives) || (no_use && !ready)
    }
}
