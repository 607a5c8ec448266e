//! Rules for which failures end a run, and which are tried again. In a file of its own because `simulation/` includes
//! it, too.

use std::fmt;

use crate::outcome::FailureKind;

/// Failures that another try may not meet, which are those that are tried again unless the user says otherwise.
pub const RETRY_ON: [FailureKind; 2] = [FailureKind::WorkerLost, FailureKind::Timeout];

/// A rule that ends a run when too many items have failed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Halt {
    pub manner: HaltWhen,
    pub after: Failures,
}

/// Manner in which a run ends before its input does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HaltWhen {
    /// No more input is taken; items that workers have are finished.
    Soon,
    /// Running items are killed.
    Now,
}

/// Number of failed items that ends the run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Failures {
    Count(u64),
    /// Percentage of the finished items. At least [`LEAST_FAILURES`] have to fail, because one failed item of one is
    /// already all of them.
    Percent(f64),
}

/// Number of failures below which a percentage means nothing. GNU parallel uses the same.
pub const LEAST_FAILURES: u64 = 3;

impl Halt {
    /// Returns true if `failed` items of `done` are too many.
    pub fn is_met(&self, done: u64, failed: u64) -> bool {
        match self.after {
            Failures::Count(count) => failed >= count,
            Failures::Percent(share) => failed >= LEAST_FAILURES && failed as f64 * 100.0 >= share * done as f64,
        }
    }
}

/// Formats it as on the command line.
impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failures::Count(count) => write!(f, "{count}"),
            Failures::Percent(share) => write!(f, "{share}%"),
        }
    }
}

/// Formats it as on the command line.
impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let manner = match self.manner {
            HaltWhen::Soon => "soon",
            HaltWhen::Now => "now",
        };
        write!(f, "{manner},fail={}", self.after)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn halt(after: Failures) -> Halt {
        Halt { manner: HaltWhen::Soon, after }
    }

    #[test]
    fn a_share_of_failures_needs_three_of_them() {
        let half = halt(Failures::Percent(50.0));
        assert!(!half.is_met(1, 1));
        assert!(!half.is_met(2, 2));
        assert!(half.is_met(3, 3));
        assert!(half.is_met(6, 3));
        assert!(!half.is_met(7, 3));
    }

    proptest! {
        #[test]
        fn one_more_failure_never_takes_a_halt_back(done in 0..1_000_000u64, failed in 0..1000u64, share in 0.1..100.0f64) {
            for halt in [halt(Failures::Percent(share)), halt(Failures::Count(failed.max(1)))] {
                if halt.is_met(done, failed) {
                    prop_assert!(halt.is_met(done + 1, failed + 1));
                }
            }
        }
    }
}
