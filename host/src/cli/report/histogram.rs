//! How many items took how long, in buckets whose width grows with the time: a run of any length has a thousand of them.

/// Bits of a time that its bucket knows after the first: a bucket is a sixteenth as wide as its beginning.
const BITS: u32 = 4;
const PER_OCTAVE: usize = 1 << BITS;
/// Number of buckets for all times of 64 bits.
const BUCKETS: usize = (64 - BITS as usize + 1) << BITS;

/// Counts of times in nanoseconds.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    sum: u128,
    least: u64,
    most: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: vec![0; BUCKETS], count: 0, sum: 0, least: u64::MAX, most: 0 }
    }
}

impl Histogram {
    #[inline]
    pub fn add(&mut self, time: u64) {
        if let Some(count) = self.counts.get_mut(bucket(time)) {
            *count += 1;
        }
        self.count += 1;
        self.sum += u128::from(time);
        self.least = self.least.min(time);
        self.most = self.most.max(time);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn sum(&self) -> u128 {
        self.sum
    }

    /// Returns the shortest time, and 0 if there is none.
    pub fn least(&self) -> u64 {
        if self.count == 0 { 0 } else { self.least }
    }

    pub fn most(&self) -> u64 {
        self.most
    }

    pub fn mean(&self) -> u64 {
        u64::try_from(self.sum.checked_div(self.count.into()).unwrap_or_default()).unwrap_or(u64::MAX)
    }

    /// Returns a time that this share of all times does not exceed, and is too long by a sixteenth at most.
    pub fn quantile(&self, share: f64) -> u64 {
        let wanted = ((self.count as f64 * share).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (_, to, count) in self.buckets() {
            seen += count;
            if seen >= wanted {
                return (to - 1).clamp(self.least(), self.most);
            }
        }
        self.most
    }

    /// Returns the buckets that are not empty: where each begins, where it ends, and its count.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64, u64)> + '_ {
        let counted = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        counted.map(|(at, &count)| (begin(at), begin(at + 1), count))
    }

    /// Returns all buckets from the first that is not empty to the last, with `steps` to an octave.
    pub fn coarse(&self, steps: usize) -> Vec<(u64, u64, u64)> {
        let width = (PER_OCTAVE / steps.clamp(1, PER_OCTAVE)).max(1);
        let (Some(first), Some(last)) =
            (self.counts.iter().position(|&count| count > 0), self.counts.iter().rposition(|&count| count > 0))
        else {
            return Vec::new();
        };
        (first / width..=last / width)
            .map(|step| {
                let (from, to) = (step * width, ((step + 1) * width).min(BUCKETS));
                let count = self.counts.get(from..to).unwrap_or_default().iter().sum();
                (begin(from), begin(to), count)
            })
            .collect()
    }
}

/// Returns the bucket of a time.
#[inline]
fn bucket(time: u64) -> usize {
    if time < PER_OCTAVE as u64 {
        return time as usize;
    }
    let shift = 63 - time.leading_zeros() - BITS;
    ((shift as usize + 1) << BITS) + ((time >> shift) as usize & (PER_OCTAVE - 1))
}

/// Returns the first time of a bucket, and of the one behind the last the longest time there is.
fn begin(bucket: usize) -> u64 {
    let (octave, within) = (bucket >> BITS, (bucket & (PER_OCTAVE - 1)) as u64);
    match octave {
        0 => within,
        octave => {
            let begin = u128::from(PER_OCTAVE as u64 + within) << (octave - 1);
            u64::try_from(begin).unwrap_or(u64::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn times() -> impl Strategy<Value = Vec<u64>> {
        proptest::collection::vec((any::<u64>(), 0..64_u32).prop_map(|(time, shift)| time >> shift), 1..300)
    }

    proptest! {
        #[test]
        fn a_time_is_within_its_bucket_and_buckets_are_narrow(time: u64) {
            let at = bucket(time);
            prop_assert!(at < BUCKETS && begin(at) <= time && (time < begin(at + 1) || at + 1 == BUCKETS));
            prop_assert!(begin(at + 1) - begin(at) <= begin(at) / 16 + 1);
        }

        #[test]
        fn nothing_is_lost_and_quantiles_are_right_to_a_sixteenth(mut times in times(), share in 0.0..=1.0_f64) {
            let mut histogram = Histogram::default();
            times.iter().for_each(|&time| histogram.add(time));
            times.sort_unstable();
            let all: u64 = histogram.buckets().map(|(.., count)| count).sum();
            let coarse: u64 = histogram.coarse(4).iter().map(|(.., count)| count).sum();
            prop_assert_eq!((all, coarse), (times.len() as u64, times.len() as u64));
            prop_assert_eq!((histogram.least(), histogram.most()), (times[0], times[times.len() - 1]));
            let at = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len()) - 1;
            let (exact, found) = (times[at], histogram.quantile(share));
            prop_assert!(found >= exact && found - exact <= exact / 16 + 1, "{} {}", exact, found);
        }
    }

    #[test]
    fn without_times_there_is_nothing() {
        let histogram = Histogram::default();
        assert_eq!((histogram.least(), histogram.most(), histogram.mean(), histogram.quantile(0.5)), (0, 0, 0, 0));
        assert!(histogram.coarse(4).is_empty());
    }
}
