//! Time that stands still while the program is suspended, as by ^Z.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

static SUSPENSIONS: Mutex<Suspensions> = Mutex::new(Suspensions { since: None, before: Duration::ZERO });

struct Suspensions {
    /// Start of the current suspension, if there is one.
    since: Option<Instant>,
    /// Duration of all earlier suspensions.
    before: Duration,
}

impl Suspensions {
    fn suspended_by(&self, now: Instant) -> Duration {
        self.before + self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

fn suspensions() -> MutexGuard<'static, Suspensions> {
    SUSPENSIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stops all clocks while `stopped` runs.
pub fn suspend(stopped: impl FnOnce()) {
    suspensions().since = Some(Instant::now());
    stopped();
    let mut suspensions = suspensions();
    suspensions.before = suspensions.suspended_by(Instant::now());
    suspensions.since = None;
}

/// A clock that measures how long the program has run since a moment.
#[derive(Clone, Copy, Debug)]
pub struct RunClock {
    start: Instant,
    /// Duration of suspensions before that moment.
    suspended: Duration,
}

impl RunClock {
    pub fn start() -> RunClock {
        let suspensions = suspensions();
        let start = Instant::now();
        RunClock { start, suspended: suspensions.suspended_by(start) }
    }

    pub fn elapsed(&self) -> Duration {
        let suspensions = suspensions();
        let now = Instant::now();
        let suspended = suspensions.suspended_by(now).saturating_sub(self.suspended);
        now.saturating_duration_since(self.start).saturating_sub(suspended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_stands_still_while_the_program_is_suspended() {
        let (wall, clock) = (Instant::now(), RunClock::start());
        let during = Duration::from_millis(50);
        suspend(|| {
            let before = clock.elapsed();
            std::thread::sleep(during);
            assert_eq!(clock.elapsed(), before);
        });
        assert!(clock.elapsed() + during <= wall.elapsed());
        assert!(RunClock::start().elapsed() < wall.elapsed());
    }
}
