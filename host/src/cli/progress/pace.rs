//! How fast a run goes, and how long it still takes.

use std::time::Duration;

/// Time in which older items lose their weight in the rate.
const MEMORY: Duration = Duration::from_secs(20);
/// The longest time that is told: further off, nobody knows.
const FURTHEST: f64 = 100.0 * 24.0 * 3600.0;

/// The pace of a run. What was done before it began, and the time before its first items were there, do not count.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    began: Option<Observation>,
    last: Option<Observation>,
    rate: Option<f64>,
}

#[derive(Clone, Copy, Debug)]
struct Observation {
    at: Duration,
    done: u64,
}

impl Pace {
    /// Begins to count, unless it has begun: from here on there are items.
    pub fn begin(&mut self, at: Duration, done: u64) {
        let begun = Observation { at, done };
        self.began.get_or_insert(begun);
        self.last.get_or_insert(begun);
    }

    /// Takes the number of items that are done by now.
    pub fn observe(&mut self, at: Duration, done: u64) {
        let (Some(began), Some(last)) = (self.began, self.last) else {
            return;
        };
        let (whole, step) = (at.saturating_sub(began.at), at.saturating_sub(last.at));
        if step.is_zero() || done == began.done {
            return;
        }
        let mean = rate(whole, done.saturating_sub(began.done));
        self.rate = Some(match self.rate {
            Some(before) if whole > MEMORY => {
                let weight = 1.0 - (-step.as_secs_f64() / MEMORY.as_secs_f64()).exp();
                before + weight * (rate(step, done.saturating_sub(last.done)) - before)
            }
            _ => mean,
        });
        self.last = Some(Observation { at, done });
    }

    /// Returns the items of a second, of late.
    pub fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// Returns the time that so many more items take.
    pub fn left(&self, items: u64) -> Option<Duration> {
        let seconds = items as f64 / self.rate.filter(|&rate| rate > 0.0)?;
        (seconds < FURTHEST).then(|| Duration::from_secs_f64(seconds))
    }
}

fn rate(time: Duration, count: u64) -> f64 {
    count as f64 / time.as_secs_f64().max(1e-6)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn only_what_the_run_did_counts(before in 0..1_000_000_u64, began in 0..100_000_u64, steps in 1..400_u64, each in 1..1000_u64) {
            let mut pace = Pace::default();
            pace.observe(Duration::ZERO, before);
            pace.begin(Duration::from_millis(began), before);
            for step in 1..=steps {
                pace.observe(Duration::from_millis(began + 100 * step), before + each * step);
            }
            let rate = pace.rate().expect("some are done");
            prop_assert!((rate / (each as f64 * 10.0) - 1.0).abs() < 1e-6, "{}", rate);
            let left = pace.left(each * 100).expect("a time").as_secs_f64();
            prop_assert!((left - 10.0).abs() < 1e-3, "{}", left);
        }

        #[test]
        fn nothing_is_told_that_cannot_be_known(steps in proptest::collection::vec((0..u64::MAX / 2, any::<u64>()), 0..20)) {
            let mut pace = Pace::default();
            pace.begin(Duration::ZERO, 0);
            let mut at = Duration::ZERO;
            for (step, done) in steps {
                at = at.saturating_add(Duration::from_nanos(step));
                pace.observe(at, done);
                prop_assert!(pace.rate().is_none_or(|rate| rate.is_finite() && rate >= 0.0));
                let _ = pace.left(done);
            }
        }
    }

    #[test]
    fn a_run_that_has_slowed_down_says_so() {
        let mut pace = Pace::default();
        pace.begin(Duration::ZERO, 0);
        for second in 1..=60 {
            pace.observe(Duration::from_secs(second), second * 100);
        }
        for second in 1..=120 {
            pace.observe(Duration::from_secs(60 + second), 6000 + second);
        }
        let rate = pace.rate().expect("some are done");
        assert!(rate < 2.0, "{rate}");
    }
}
