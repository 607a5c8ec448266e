//! Size of chunks: enough items that the cost of handing a chunk over does not matter, few enough that nobody waits for
//! it.

use std::collections::VecDeque;
use std::time::Duration;

/// Work in one chunk, if its size is chosen automatically. The host looks at least once while the next chunk is in
/// work.
const TARGET: Duration = Duration::from_millis(8);
/// Like `TARGET`, on demand, where the next caller may be waiting for the chunk to end.
const TARGET_ALONE: Duration = Duration::from_millis(4);
/// Maximum number of bytes and items in a chunk of automatic size. A chunk with its headers should fit into a lane
/// together with another one. Up to that, the more it holds, the fewer threads and processes have to be woken per byte.
const MAX_BYTES: usize = 112 << 10;
const MAX_ITEMS: usize = 4096;
/// Like `MAX_BYTES`, on demand, where often no other chunk may wait behind it: the rest arrives while the worker is at
/// its beginning.
const MAX_BYTES_ALONE: usize = 512 << 10;
/// Amount of work that is not divided: by the time another worker has woken up for half of it, all of it would be done.
const TRIFLE: Duration = Duration::from_micros(100);

/// Like `TARGET`, for a slot on other machines. All who carry a chunk there and back spend 0.3 to 0.5 ms of processor time on
/// it. Items are measured by the clock, and where four processes share a processor, a quarter of this is work: still about
/// 100 times as much. Hosts pull chunks ahead that take up to 250 ms, so this stays well below that.
const TARGET_AFAR: Duration = Duration::from_millis(150);
/// Like `MAX_BYTES` and `TRIFLE`, for a slot on other machines, to which a chunk takes far longer.
const MAX_BYTES_AFAR: usize = 256 << 10;
const TRIFLE_AFAR: Duration = Duration::from_millis(2);

/// Weight of an item in the quick average that is slower than the average, and of one that is not. Slow items count more:
/// a chunk that is too small costs microseconds, one that is too large delays the outcomes of others.
const SLOWER: f64 = 1.0 / 8.0;
const FASTER: f64 = 1.0 / 32.0;
/// Both, for a slot on other machines, where a chunk that is too small has a cost, too. On a busy host a third of all items
/// may wait for a processor; if they counted four times as much, chunks would be half as large as the time that items take.
const EVEN: f64 = 1.0 / 16.0;

/// Number of items per chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChunkSize {
    /// A few milliseconds of work, according to measured times; one item until something has been measured.
    Auto,
    /// Always this number, except in the last chunk.
    Fixed(u32),
}

/// Measures items and decides the size of chunks.
#[derive(Debug)]
pub(super) struct ChunkSizer {
    target: Duration,
    max_bytes: usize,
    /// Amount of work that is not divided.
    trifle: Duration,
    /// Weights of a slower and of a faster item in the quick average.
    weights: (f64, f64),
    /// Time per item, in nanoseconds; `None` until an item has been measured.
    item: Option<MovingAverages>,
}

/// Two moving averages. The quick one follows when items become slower, because items in a chunk that is too large
/// cannot be taken back. But one item may have been slow because its worker had no processor for a while, so in the
/// quick average an item counts for at most a few times the average. The slow one counts all items in full, so that a
/// few slow ones among many fast ones are noticed.
#[derive(Clone, Copy, Debug)]
struct MovingAverages {
    quick: f64,
    slow: f64,
    count: f64,
    /// Weight of an item in the slow average, kept so that adding an item needs one division less.
    weight: f64,
}

impl MovingAverages {
    /// Maximum that an item counts for in the quick average, as a multiple of the average.
    const MOST: f64 = 8.0;
    /// Number of items that the slow average covers.
    const LONG: f64 = 4096.0;

    fn of_first(ns: f64) -> MovingAverages {
        MovingAverages { quick: ns, slow: ns, count: 1.0, weight: 1.0 }
    }

    fn add(&mut self, ns: f64, (slower, faster): (f64, f64)) {
        let quick = ns.min(self.quick.max(100.0) * MovingAverages::MOST);
        self.quick += (quick - self.quick) * if quick > self.quick { slower } else { faster };
        if self.count < MovingAverages::LONG {
            self.count += 1.0;
            self.weight = 1.0 / self.count;
        }
        self.slow += (ns - self.slow) * self.weight;
    }

    fn ns(&self) -> f64 {
        self.quick.max(self.slow)
    }
}

impl ChunkSizer {
    pub(super) fn new() -> Self {
        ChunkSizer { target: TARGET, max_bytes: MAX_BYTES, trifle: TRIFLE, weights: (SLOWER, FASTER), item: None }
    }

    /// Returns a sizer for slots on other machines.
    pub(super) fn of_slots() -> Self {
        let (target, max_bytes, trifle) = (TARGET_AFAR, MAX_BYTES_AFAR, TRIFLE_AFAR);
        ChunkSizer { target, max_bytes, trifle, weights: (EVEN, EVEN), item: None }
    }

    /// Prepares for callers who may come at any time.
    pub(super) fn serve_on_demand(&mut self) {
        self.target = TARGET_ALONE;
        self.max_bytes = MAX_BYTES_ALONE;
    }

    pub(super) fn measured(&mut self, elapsed: Duration) {
        let ns = (elapsed.as_secs() * 1_000_000_000 + u64::from(elapsed.subsec_nanos())) as f64;
        match &mut self.item {
            None => self.item = Some(MovingAverages::of_first(ns)),
            Some(average) => average.add(ns, self.weights),
        }
    }

    /// Returns true if a chunk may wait behind another in a worker. It may not if items take so long that another
    /// worker could take it sooner.
    pub(super) fn may_queue(&self) -> bool {
        self.item.is_some_and(|average| average.ns() < self.target.as_nanos() as f64)
    }

    /// Returns how many items should be waited for before a chunk is cut from `pending` ones.
    pub(super) fn missing(&self, size: ChunkSize, pending: usize) -> usize {
        match size {
            ChunkSize::Fixed(n) => (n as usize).saturating_sub(pending),
            ChunkSize::Auto => usize::from(pending == 0),
        }
    }

    /// Returns the number of items of the next chunk, which takes at most `most` of the `pending` items (at least one).
    /// A chunk of automatic size has no more than `share`, so that the last items are divided among all workers if that
    /// is worth it.
    pub(super) fn cut(&self, size: ChunkSize, pending: &VecDeque<u32>, most: usize, share: usize) -> usize {
        let (items, max_bytes) = match size {
            ChunkSize::Fixed(n) => (n as usize, usize::MAX),
            ChunkSize::Auto => (self.auto().min(share.max(self.worth(self.trifle))), self.max_bytes),
        };
        let limit = items.min(most).max(1);
        let (mut count, mut bytes) = (0, 0);
        for &size in pending.iter().take(limit) {
            if count > 0 && bytes + size as usize > max_bytes {
                break;
            }
            count += 1;
            bytes += size as usize;
        }
        count
    }

    /// Returns the number of items in a chunk if there are enough.
    pub(super) fn usual(&self, size: ChunkSize) -> usize {
        match size {
            ChunkSize::Fixed(n) => n as usize,
            ChunkSize::Auto => self.auto(),
        }
    }

    fn auto(&self) -> usize {
        match self.item {
            None => 1,
            // Chunks grow no faster than the number of items that were measured.
            Some(average) => self.worth(self.target).clamp(1, MAX_ITEMS.min(average.count as usize)),
        }
    }

    /// Returns how many items take this time.
    fn worth(&self, time: Duration) -> usize {
        self.item.map_or(0, |average| (time.as_nanos() as f64 / average.ns().max(1.0)) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_nanos(500);

    fn after(items: impl IntoIterator<Item = Duration>) -> usize {
        measured(ChunkSizer::new(), items).auto()
    }

    fn afar(items: impl IntoIterator<Item = Duration>) -> usize {
        measured(ChunkSizer::of_slots(), items).auto()
    }

    fn measured(mut sizer: ChunkSizer, items: impl IntoIterator<Item = Duration>) -> ChunkSizer {
        items.into_iter().for_each(|elapsed| sizer.measured(elapsed));
        sizer
    }

    fn fast(count: usize) -> impl Iterator<Item = Duration> {
        std::iter::repeat_n(FAST, count)
    }

    #[test]
    fn one_item_that_had_to_wait_for_a_processor_does_not_make_chunks_small() {
        assert_eq!(after(fast(10_000)), MAX_ITEMS);
        let waited = Duration::from_millis(5);
        assert!(after(fast(10_000).chain([waited])) > MAX_ITEMS / 2);
    }

    #[test]
    fn chunks_become_small_within_a_few_items_that_are_slow() {
        let slow = Duration::from_millis(10);
        assert_eq!(after(fast(10_000).chain(std::iter::repeat_n(slow, 20))), 1);
    }

    #[test]
    fn a_slow_item_now_and_then_counts_in_the_long_run() {
        let slow_now_and_then = (0..10_000).map(|i| if i % 50 == 0 { Duration::from_millis(50) } else { FAST });
        // They take a millisecond each, on average.
        assert!(after(slow_now_and_then) <= 8);
    }

    #[test]
    fn a_slow_first_item_is_soon_outweighed() {
        assert!(after([Duration::from_millis(3)].into_iter().chain(fast(1_000))) > 1_000);
    }

    /// Items of 1 ms, of which each third waits 9 ms for its processor: they take 4 ms on average.
    fn interrupted(count: usize) -> impl Iterator<Item = Duration> {
        (0..count).map(|at| Duration::from_millis(if at % 3 == 0 { 10 } else { 1 }))
    }

    #[test]
    fn a_chunk_afar_has_as_many_items_as_its_time_has_room_for_also_where_processors_are_scarce() {
        assert!((30..=38).contains(&afar(interrupted(1000))), "{}", afar(interrupted(1000)));
        // On this machine, where a chunk costs next to nothing, few are better than too many.
        assert!(after(interrupted(1000)) <= 2);
    }

    #[test]
    fn items_that_take_a_second_travel_alone() {
        assert_eq!(afar(std::iter::repeat_n(Duration::from_secs(1), 100)), 1);
        let first_quick = std::iter::repeat_n(Duration::from_millis(1), 100);
        assert_eq!(afar(first_quick.chain(std::iter::repeat_n(Duration::from_secs(1), 20))), 1);
    }

    #[test]
    fn the_last_items_are_divided_afar_only_as_far_as_that_is_worth_the_way() {
        let (hundred, one) = (Duration::from_micros(100), Duration::from_millis(1));
        let pending: VecDeque<u32> = std::iter::repeat_n(10, 100).collect();
        let last = |item: Duration| {
            let sizer = measured(ChunkSizer::of_slots(), std::iter::repeat_n(item, 5000));
            sizer.cut(ChunkSize::Auto, &pending, usize::MAX, 1)
        };
        assert_eq!((last(hundred), last(one), last(one * 10)), (20, 2, 1));
    }
}
