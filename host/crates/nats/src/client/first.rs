//! The first connection of a program: when the user is told that there is none yet, and when none is tried any more.

use std::time::Duration;

/// Time within which the server has to be reached by a program that has not reached it before.
pub const FIRST_CONNECTION: Duration = Duration::from_secs(10);
/// Time without the first connection after which the user is told what is waited for.
const TOLD: Duration = Duration::from_secs(2);

/// What is known of the first connection. Times are those since it was tried first.
#[derive(Debug, Default)]
pub struct FirstConnection {
    made: bool,
    told: bool,
}

/// What follows from a try that made no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It is tried again, and the user need not know.
    Early,
    /// The user is told, once, that there is no connection yet.
    Told,
    /// None is tried any more.
    Late,
}

impl FirstConnection {
    pub fn is_made(&self) -> bool {
        self.made
    }

    /// Records that there is a connection.
    pub fn make(&mut self) {
        self.made = true;
    }

    /// Records that there is none yet.
    pub fn miss(&mut self, waited: Duration) -> Missing {
        if waited >= FIRST_CONNECTION {
            return Missing::Late;
        }
        match waited >= TOLD && !std::mem::replace(&mut self.told, true) {
            true => Missing::Told,
            false => Missing::Early,
        }
    }

    /// Returns how long may be waited until this is asked again, if it is no longer than `most`.
    pub fn wait(&self, waited: Duration, most: Duration) -> Duration {
        let next = if self.told { FIRST_CONNECTION } else { TOLD };
        // Whoever connects needs some time.
        let least = Duration::from_millis(100);
        if self.made { most } else { most.min(next.saturating_sub(waited).max(least)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns when the user is told, and when it is given up, if each try takes so long and so long a pause follows.
    fn told_and_given_up(try_takes: Duration, pause: Duration) -> (Duration, Duration) {
        let (mut first, mut now, mut told) = (FirstConnection::default(), Duration::ZERO, None);
        loop {
            now += first.wait(now, try_takes);
            match first.miss(now) {
                Missing::Early => {}
                Missing::Told => assert_eq!(told.replace(now), None, "it is told twice"),
                Missing::Late => return (told.expect("it is told before it is given up"), now),
            }
            now += first.wait(now, pause);
        }
    }

    #[test]
    fn the_user_is_told_once_after_two_seconds_and_it_is_given_up_after_ten() {
        let ms = Duration::from_millis;
        for try_takes in [0, 1, 700, 5000] {
            for pause in [1, 100, 1600, 2000] {
                let (told, given_up) = told_and_given_up(ms(try_takes), ms(pause));
                assert!(told >= ms(2000) && told <= ms(2200), "told after {told:?}");
                assert!(given_up >= ms(10_000) && given_up <= ms(10_200), "given up after {given_up:?}");
            }
        }
    }

    #[test]
    fn nothing_of_it_counts_once_there_was_a_connection() {
        let mut first = FirstConnection::default();
        first.make();
        assert!(first.is_made());
        assert_eq!(first.wait(Duration::from_secs(60), Duration::from_secs(5)), Duration::from_secs(5));
    }
}
