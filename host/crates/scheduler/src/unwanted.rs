//! Items that nobody waits for any more. Those that no worker has begun do not run, and a worker that stays in one is
//! ended, so that the next caller need not wait for it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use super::{Action, Blame, Chunk, ITEM_OVERHEAD, Scheduler, Time, WorkerId};

/// Time for which a worker may continue with items that nobody wants. Starting another worker takes part of that time,
/// too.
pub(super) const GRACE: Duration = Duration::from_millis(100);

/// Ranges of items that do not overlap.
#[derive(Debug, Default)]
pub(super) struct UnwantedItems {
    ends: BTreeMap<u64, u64>,
}

impl UnwantedItems {
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Adds what is not yet in a range.
    fn add(&mut self, items: Range<u64>) {
        let mut at = self.end_of(items.start).unwrap_or(items.start);
        let mut gaps = Vec::new();
        for (&start, &end) in self.ends.range(items.start..items.end.max(items.start)) {
            if at < start {
                gaps.push((at, start));
            }
            at = at.max(end);
        }
        if at < items.end {
            gaps.push((at, items.end));
        }
        self.ends.extend(gaps);
    }

    /// Removes these items from all ranges: they are wanted again.
    pub fn remove(&mut self, items: Range<u64>) {
        let parts: Vec<(u64, u64)> = self.ends.iter().map(|(&start, &end)| (start, end)).collect();
        for (start, end) in parts.into_iter().filter(|&(start, end)| start < items.end && items.start < end) {
            self.ends.remove(&start);
            let rest = [(start, items.start.min(end)), (items.end.max(start), end)];
            self.ends.extend(rest.into_iter().filter(|(start, end)| start < end));
        }
    }

    /// Returns the end of the range that contains an item.
    fn end_of(&self, index: u64) -> Option<u64> {
        self.ends.range(..=index).next_back().map(|(_, &end)| end).filter(|&end| index < end)
    }

    /// Forgets all ranges that end before an item.
    fn forget_before(&mut self, index: u64) {
        self.ends.retain(|_, end| *end > index);
    }
}

impl Scheduler {
    /// Reports that nobody wants the outcomes of these items any more. They still get one: those that have none yet are
    /// cancelled.
    pub fn unwanted(&mut self, items: Range<u64>, now: Time) {
        self.now = self.now.max(now);
        self.unwanted.add(items);
        self.note_all_unwanted(now);
    }

    /// Cancels all items that no worker has begun; those in work are finished.
    pub fn cancel_pending(&mut self, now: Time) {
        self.now = self.now.max(now);
        let mut start = self.window.first_key_value().map_or(self.next_index, |(&key, _)| key);
        let end = self.next_index + self.pending.len() as u64;
        let in_work: BTreeSet<u64> = self.workers.ids().into_iter().filter_map(|id| self.front_item(id)).collect();
        for index in in_work.into_iter().chain([end]) {
            self.unwanted.add(start..index);
            start = index + 1;
        }
        self.note_all_unwanted(now);
    }

    /// Returns the item that a worker has in work, or begins next.
    fn front_item(&self, id: WorkerId) -> Option<u64> {
        let key = *self.workers.get(id)?.chunks.front()?;
        Some(key + u64::from(self.window.get(&key)?.done))
    }

    fn note_all_unwanted(&mut self, now: Time) {
        self.forget_answered();
        for id in self.workers.ids() {
            self.note_unwanted(id, now);
        }
    }

    /// Forgets the ranges before the first item that has no outcome yet.
    fn forget_answered(&mut self) {
        let first = self.window.first_key_value().map_or(self.next_index, |(&key, _)| key);
        self.unwanted.forget_before(first);
    }

    /// Checks whether the item that a worker has in work is wanted, and records since when it is not.
    pub(super) fn note_unwanted(&mut self, id: WorkerId, now: Time) {
        let unwanted = self.front_item(id).is_some_and(|index| self.unwanted.end_of(index).is_some());
        self.workers.change(id, |worker| {
            worker.unwanted_since = unwanted.then(|| worker.unwanted_since.unwrap_or(now));
        });
        if unwanted {
            self.set_alarm(id);
        }
    }

    pub(super) fn is_unwanted(&self, index: u64) -> bool {
        self.unwanted.end_of(index).is_some()
    }

    /// Cancels unwanted items that no worker has, at the head of the input or in chunks that came back.
    pub(super) fn drop_unwanted(&mut self) {
        if self.unwanted.is_empty() {
            return;
        }
        self.forget_answered();
        let returned: Vec<u64> = self.returned.iter().copied().filter(|&key| self.is_unwanted(key)).collect();
        for key in returned {
            self.drop_returned(key);
        }
        while !self.pending.is_empty()
            && let Some(end) = self.unwanted.end_of(self.next_index)
        {
            self.skip(usize::try_from(end - self.next_index).unwrap_or(usize::MAX));
        }
    }

    fn drop_returned(&mut self, key: u64) {
        let (Some(end), Some(chunk)) = (self.unwanted.end_of(key), self.window.get(&key)) else {
            return;
        };
        let whole = key + u64::from(chunk.count);
        if end < whole {
            self.split(key, end);
            self.returned.insert(end);
        }
        self.returned.remove(&key);
        self.cancel(key, end.min(whole));
    }

    /// Takes up to `most` items off the input, as far as they were read.
    fn skip(&mut self, most: usize) {
        let some = most.min(self.pending.len());
        let input = self.pending.remove(some) + some * ITEM_OVERHEAD;
        self.pending_bytes -= input;
        let (key, count) = (self.next_index, u32::try_from(some).expect(crate::FEW));
        self.next_index += u64::from(count);
        self.held += input;
        // They do not run, so their terms do not matter.
        self.window.insert(key, Chunk::new(count, input, self.config.terms()));
        self.actions.push_back(Action::Skip { chunk: key, count });
        self.cancel(key, self.next_index);
    }

    fn cancel(&mut self, key: u64, end: u64) {
        let attempts = self.window.get(&key).map_or(1, |chunk| chunk.attempts);
        for _ in key..end {
            self.settle(key, Blame::Cancelled, None, attempts, Duration::ZERO);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_that_are_given_again_are_wanted() {
        // Every pair of ranges up to here, the second of which is wanted again.
        const MOST: u64 = 6;
        let ranges = || (0..MOST).flat_map(|start| (start..=MOST).map(move |end| start..end));
        for gone in ranges() {
            for again in ranges() {
                let mut unwanted = UnwantedItems::default();
                unwanted.add(gone.clone());
                unwanted.remove(again.clone());
                for index in 0..MOST {
                    let expected = gone.contains(&index) && !again.contains(&index);
                    assert_eq!(unwanted.end_of(index).is_some(), expected, "{index} of {gone:?} without {again:?}");
                }
            }
        }
    }
}
