//! Timeouts, as the interface has them, and one deadline for several waits.

use std::time::{Duration, Instant};

/// Returns a timeout in nanoseconds. One that is too long for that, 584 years, has no limit.
pub fn nanoseconds(timeout: Option<Duration>) -> Option<u64> {
    timeout.and_then(|timeout| u64::try_from(timeout.as_nanos()).ok())
}

/// Waits in rounds until `holds` returns true, or until the time is over. Returns what `holds` returned last.
///
/// `round` waits once, for at most the time it is given. `holds` is asked once more after the last round.
pub fn in_rounds<E>(
    timeout: Option<Duration>,
    mut holds: impl FnMut() -> Result<bool, E>,
    mut round: impl FnMut(Option<Duration>) -> Result<(), E>,
    now: impl Fn() -> Instant,
) -> Result<bool, E> {
    // No clock is needed where nothing is waited for, and a deadline beyond what it can count is none.
    let deadline = match timeout {
        Some(timeout) if !timeout.is_zero() => now().checked_add(timeout),
        _ => None,
    };
    loop {
        if holds()? {
            return Ok(true);
        }
        if timeout == Some(Duration::ZERO) {
            return Ok(false);
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(now()));
        if left == Some(Duration::ZERO) {
            return Ok(false);
        }
        round(left)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const SECOND: Duration = Duration::from_secs(1);

    /// Waits in rounds of which each takes a quarter of a second. Returns the answer, the times asked, and what each
    /// round was given.
    fn rounds(timeout: Option<Duration>, holds_at: usize) -> (bool, usize, Vec<Option<Duration>>) {
        let (start, passed, asked) = (Instant::now(), Cell::new(Duration::ZERO), Cell::new(0));
        let mut given = Vec::new();
        let held = in_rounds::<()>(
            timeout,
            || {
                asked.set(asked.get() + 1);
                Ok(asked.get() >= holds_at)
            },
            |left| {
                given.push(left);
                passed.set(passed.get() + (SECOND / 4).min(left.unwrap_or(SECOND)));
                Ok(())
            },
            || start + passed.get(),
        );
        (held.unwrap(), asked.get(), given)
    }

    #[test]
    fn one_deadline_counts_for_all_rounds() {
        let quarters = |n: u32| Some(SECOND / 4 * n);
        let (held, asked, given) = rounds(Some(SECOND), usize::MAX);
        assert_eq!((held, asked), (false, 5));
        assert_eq!(given, [quarters(4), quarters(3), quarters(2), quarters(1)]);
    }

    #[test]
    fn a_timeout_of_zero_asks_once_and_never_waits() {
        assert_eq!(rounds(Some(Duration::ZERO), usize::MAX), (false, 1, vec![]));
        assert_eq!(rounds(Some(Duration::ZERO), 1), (true, 1, vec![]));
    }

    #[test]
    fn without_a_timeout_each_round_waits_without_one() {
        assert_eq!(rounds(None, 3), (true, 3, vec![None, None]));
    }

    #[test]
    fn what_holds_already_waits_for_nothing() {
        assert_eq!(rounds(Some(SECOND), 1), (true, 1, vec![]));
    }

    #[test]
    fn an_error_ends_the_wait() {
        let failed = in_rounds(None, || Ok(false), |_| Err("lost"), Instant::now);
        assert_eq!(failed, Err("lost"));
    }

    #[test]
    fn a_timeout_longer_than_can_be_said_is_none() {
        assert_eq!(nanoseconds(Some(Duration::MAX)), None);
        assert_eq!(nanoseconds(Some(Duration::ZERO)), Some(0));
        assert_eq!(nanoseconds(Some(SECOND)), Some(1_000_000_000));
        assert_eq!(nanoseconds(None), None);
    }
}
