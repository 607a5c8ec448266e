//! What happened when, in buckets of time that become wider as the run becomes longer, so that there are never more than a
//! few hundred.

/// Maximum number of buckets of a row.
pub const MOST_BUCKETS: usize = 512;
/// The width of buckets at first, in nanoseconds.
const NARROWEST: u64 = 1_000_000;

/// What happened in one bucket of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// Nanoseconds in which items ran.
    pub busy: u64,
    pub done: u64,
    pub failed: u64,
}

impl Cell {
    fn add(&mut self, other: Cell) {
        self.busy = self.busy.saturating_add(other.busy);
        self.done += other.done;
        self.failed += other.failed;
    }
}

/// Rows of buckets that are all equally wide. Times are nanoseconds since the start.
#[derive(Clone, Debug)]
pub struct Timeline {
    width: u64,
    rows: Vec<Vec<Cell>>,
}

impl Default for Timeline {
    fn default() -> Timeline {
        Timeline { width: NARROWEST, rows: Vec::new() }
    }
}

impl Timeline {
    /// Adds what was done by `at` in a row, and the time that it took until then.
    pub fn add(&mut self, row: usize, at: u64, what: Cell) {
        while at / self.width >= MOST_BUCKETS as u64 {
            self.widen();
        }
        if self.rows.len() <= row {
            self.rows.resize_with(row + 1, Vec::new);
        }
        let last = (at / self.width) as usize;
        let width = self.width;
        let Some(cells) = self.rows.get_mut(row) else {
            return;
        };
        if cells.len() <= last {
            cells.resize(last + 1, Cell::default());
        }
        // The time goes back from the end, bucket by bucket; what would be before the start is in the first.
        let mut left = what.busy;
        let mut room = at % width;
        for (nth, cell) in cells.iter_mut().enumerate().take(last + 1).rev() {
            if nth == last {
                cell.done += what.done;
                cell.failed += what.failed;
            }
            let part = if nth == 0 { left } else { left.min(room) };
            cell.busy = cell.busy.saturating_add(part);
            left -= part;
            room = width;
            if left == 0 {
                break;
            }
        }
    }

    /// Makes buckets twice as wide.
    fn widen(&mut self) {
        self.width *= 2;
        for row in &mut self.rows {
            *row = row
                .chunks(2)
                .map(|pair| {
                    let mut cell = Cell::default();
                    pair.iter().for_each(|&one| cell.add(one));
                    cell
                })
                .collect();
        }
    }

    /// Makes buckets at least as wide as this, so that several timelines can stand beside each other.
    pub fn widen_to(&mut self, width: u64) {
        while self.width < width {
            self.widen();
        }
    }

    pub fn width(&self) -> u64 {
        self.width
    }

    pub fn rows(&self) -> &[Vec<Cell>] {
        &self.rows
    }

    /// Returns the sum of all rows.
    pub fn total(&self) -> Vec<Cell> {
        let length = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let mut total = vec![Cell::default(); length];
        for row in &self.rows {
            total.iter_mut().zip(row).for_each(|(sum, &cell)| sum.add(cell));
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_is_added_stays_and_the_number_of_buckets_is_bounded(
            added in proptest::collection::vec((0..5_usize, 0..1_u64 << 50, 0..1_u64 << 40, 0..100_u64), 1..200),
            width in 0..1_u64 << 45,
        ) {
            let mut timeline = Timeline::default();
            let mut all = Cell::default();
            for (row, at, busy, done) in added {
                let what = Cell { busy, done, failed: done / 2 };
                timeline.add(row, at, what);
                all.add(what);
            }
            for _ in 0..2 {
                let mut sum = Cell::default();
                timeline.total().iter().for_each(|&cell| sum.add(cell));
                prop_assert_eq!(sum, all);
                prop_assert!(timeline.rows().iter().all(|row| row.len() <= MOST_BUCKETS));
                timeline.widen_to(width);
            }
            prop_assert!(timeline.width() >= width);
        }

        #[test]
        fn a_worker_is_never_busier_than_time_passes(steps in proptest::collection::vec((0..1_u64 << 36, 0..=100_u64), 1..200)) {
            let mut timeline = Timeline::default();
            let mut at = 0;
            for (step, percent) in steps {
                at += step;
                timeline.add(0, at, Cell { busy: step / 100 * percent, done: 1, failed: 0 });
            }
            let width = timeline.width();
            for (nth, cell) in timeline.rows()[0].iter().enumerate() {
                prop_assert!(cell.busy <= width * 2, "{} in bucket {} of {}", cell.busy, nth, width);
            }
        }
    }

    #[test]
    fn time_is_told_where_it_passed() {
        let mut timeline = Timeline::default();
        timeline.add(0, 3_500_000, Cell { busy: 2_000_000, done: 1, failed: 1 });
        let busy: Vec<u64> = timeline.rows()[0].iter().map(|cell| cell.busy).collect();
        assert_eq!(busy, [0, 500_000, 1_000_000, 500_000]);
        assert_eq!(timeline.rows()[0][3], Cell { busy: 500_000, done: 1, failed: 1 });
    }
}
