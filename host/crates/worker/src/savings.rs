//! Whether restoring instances costs less than making them, by what both were measured to cost.
//!
//! Times on a busy machine are wrong now and then, so nothing depends on them but which of two ways an item gets its instance.

use std::time::Duration;

/// Share of the mean that an instance's time has which was just measured.
const NEWEST: u32 = 8;
/// Maximum time that counts for an instance, as a multiple of the mean: the process may have waited for the processor.
const MOST_OF_MEAN: u32 = 4;
/// Maximum time of dropping that counts, as a multiple of that of making.
const MOST_OF_DROPPING: u32 = 3;
/// What an instance may lose, beside what preparing it took, as a multiple of what making one costs.
const MOST_LOST: i64 = 8;
/// Savings that count for an instance, as such a multiple. What was saved long ago does not outweigh what is lost now.
const MOST_SAVED: i64 = 64;

/// The time that making an instance and dropping it takes: means in which the last ones count most.
///
/// An instance is dropped without having been prepared so seldom that a few of them would count for thousands of others. So what
/// the process does when it makes the first one, and what an item makes dropping take that has written to many pages, counts for
/// little.
#[derive(Clone, Copy, Debug, Default)]
pub struct MakingTime {
    making: Option<Duration>,
    dropping: Option<Duration>,
}

impl MakingTime {
    /// Takes note of an instance that was made and dropped.
    pub fn add(&mut self, making: Duration, dropping: Duration) {
        // Every item has it alike, so that one that took less says more.
        self.making = Some(match self.making {
            Some(mean) if making < mean => (mean + making) / 2,
            mean => newer(mean, making),
        });
        self.dropping = Some(newer(self.dropping, dropping));
    }

    /// Returns the time of both; zero if none was measured.
    pub fn mean(&self) -> Duration {
        let making = self.making.unwrap_or_default();
        making.saturating_add(self.dropping.unwrap_or_default().min(making.saturating_mul(MOST_OF_DROPPING)))
    }
}

/// Returns a mean with a time that was measured just now.
fn newer(mean: Option<Duration>, took: Duration) -> Duration {
    mean.map_or(took, |mean| mean - mean / NEWEST + took.min(mean.saturating_mul(MOST_OF_MEAN)) / NEWEST)
}

/// What one instance has saved by being restored, in nanoseconds: less than zero if making others would have cost less.
#[derive(Clone, Copy, Debug)]
pub struct Savings {
    saved: i64,
    least: i64,
    most: i64,
    /// What was wasted on pages that another instance would not have as its own, and what replacing this one costs.
    wasted: i64,
    replacing: i64,
}

impl Savings {
    /// Returns those of an instance that has been prepared, where making one takes `making`.
    pub fn of_prepared(took: Duration, making: Duration) -> Savings {
        let (took, making) = (nanos(took), nanos(making));
        let least = making.saturating_mul(-MOST_LOST).saturating_sub(took);
        let (most, replacing) = (making.saturating_mul(MOST_SAVED), making.saturating_add(took));
        Savings { saved: -took, least, most, wasted: 0, replacing }
    }

    /// Adds a restored instance that took this long, or so little that it was not measured, instead of what a new one costs.
    pub fn add(&mut self, took: Duration, instead_of: Duration) {
        self.saved = self.saved.saturating_add(nanos(instead_of)).saturating_sub(nanos(took)).min(self.most);
    }

    /// Takes note of a part of what restoring took that another instance would not take.
    pub fn waste(&mut self, took: Duration) {
        self.wasted = self.wasted.saturating_add(nanos(took));
    }

    /// Returns true if so much was wasted that replacing the instance would have cost less.
    pub fn are_wasted(&self) -> bool {
        self.wasted > self.replacing
    }

    /// Returns true if restoring has cost more than it has saved.
    pub fn are_negative(&self) -> bool {
        self.saved < 0
    }

    /// Returns true if restoring has cost so much more that the instance should not be kept.
    pub fn are_used_up(&self) -> bool {
        self.saved < self.least
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAKING: Duration = Duration::from_micros(6);

    fn prepared() -> Savings {
        Savings::of_prepared(Duration::from_micros(20), MAKING)
    }

    #[test]
    fn an_instance_that_is_restored_cheaply_pays_for_its_preparation_and_is_kept() {
        let mut savings = prepared();
        assert!(savings.are_negative() && !savings.are_used_up());
        (0..4).for_each(|_| savings.add(Duration::ZERO, MAKING));
        assert!(!savings.are_negative());
    }

    #[test]
    fn an_instance_that_costs_more_to_restore_than_to_make_is_given_up_soon() {
        let mut savings = prepared();
        let restored = (1..).find(|_| {
            savings.add(3 * MAKING, MAKING);
            savings.are_used_up()
        });
        assert_eq!(restored, Some(5));
    }

    #[test]
    fn what_was_saved_by_a_million_items_does_not_pay_for_many_that_cost_more() {
        let mut savings = prepared();
        (0..1_000_000).for_each(|_| savings.add(Duration::ZERO, MAKING));
        (0..100).for_each(|_| savings.add(2 * MAKING, MAKING));
        assert!(savings.are_used_up());
    }

    #[test]
    fn an_instance_is_replaced_once_it_has_wasted_what_another_costs() {
        let mut savings = prepared();
        savings.waste(Duration::from_micros(26));
        assert!(!savings.are_wasted());
        savings.waste(Duration::from_nanos(1));
        assert!(savings.are_wasted());
    }

    #[test]
    fn the_time_of_making_follows_what_was_measured_last_and_not_a_single_wait() {
        let mut making = MakingTime::default();
        assert_eq!(making.mean(), Duration::ZERO);
        making.add(100 * MAKING, MAKING);
        (0..10).for_each(|_| making.add(MAKING, MAKING));
        assert!(making.mean() < 5 * MAKING / 2, "{:?}", making.mean());
        making.add(Duration::from_secs(1), Duration::from_secs(1));
        assert!(making.mean() < 3 * MAKING, "{:?}", making.mean());
        (0..100).for_each(|_| making.add(100 * MAKING, MAKING));
        assert!(making.mean() > 50 * MAKING, "{:?}", making.mean());
    }

    #[test]
    fn what_the_first_items_wrote_does_not_count_for_others() {
        let mut making = MakingTime::default();
        (0..1000).for_each(|_| making.add(MAKING, 10_000 * MAKING));
        assert!(making.mean() <= 4 * MAKING, "{:?}", making.mean());
    }

    #[test]
    fn times_that_no_clock_gives_do_not_overflow() {
        let mut savings = Savings::of_prepared(Duration::MAX, Duration::MAX);
        savings.add(Duration::MAX, Duration::MAX);
        savings.add(Duration::MAX, Duration::ZERO);
        assert!(savings.are_negative());
    }
}
