//! Checks that a resumed run has the same input as before, and finds which of its items are left.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rangemap::RangeSet;

use super::error::JournalError;
use super::state::ReadRecord;
use crate::input::{InputError, ItemSource};
use crate::rendered::RenderedOutcomes;
use crate::resume::ResumePoint;
use wasmpool_ipc::batch::{Batch, BatchPart};

/// Counts and hashes items as they are read. The journal holds a clone, which sees how far reading has got.
#[derive(Clone, Debug, Default)]
pub struct InputDigest {
    hasher: blake3::Hasher,
    items: u64,
    read: Arc<Mutex<ReadRecord>>,
    /// True while the input was not yet found to be the expected one.
    unsure: Arc<AtomicBool>,
    expected: Option<Box<ExpectedInput>>,
}

/// The beginning that the input must have.
#[derive(Clone, Debug)]
struct ExpectedInput {
    read: ReadRecord,
    /// The items whose outcomes are known.
    known: RangeSet<u64>,
    waiting: Vec<RenderedOutcomes>,
}

impl InputDigest {
    /// Sets what [`InputDigest::take_up`] will check the input against.
    pub fn expect(&mut self, read: ReadRecord, known: RangeSet<u64>, waiting: Vec<RenderedOutcomes>) {
        *lock(&self.read) = read.clone();
        self.unsure.store(true, Ordering::Release);
        self.expected = Some(Box::new(ExpectedInput { read, known, waiting }));
    }

    /// Returns true if the input must have a certain beginning.
    pub fn expects(&self) -> bool {
        self.expected.is_some()
    }

    /// Returns true while the input was not yet found to be the expected one: until then nothing may be written.
    pub fn is_unsure(&self) -> bool {
        self.unsure.load(Ordering::Acquire)
    }

    /// Drops the expectation.
    pub fn forget(&mut self) {
        self.expected = None;
    }

    /// Returns the input that was read so far, which is counted before anybody else gets it.
    pub fn read(&self) -> ReadRecord {
        lock(&self.read).clone()
    }

    /// Counts items that were read, before anybody else gets them.
    pub fn add(&mut self, batch: &Batch) {
        self.hash(&batch.part(0..batch.sizes.len()));
        *lock(&self.read) = ReadRecord { items: self.items, hash: self.hasher.finalize().into() };
    }

    fn hash(&mut self, part: &BatchPart<'_>) {
        self.hasher.update(part.bytes).update(&part.last);
        self.items += part.sizes.len() as u64;
    }

    /// Reads the expected beginning of the input, and returns what is left to do of it, or an error if the input begins
    /// differently.
    ///
    /// Items that have their outcome are dropped as they are read. The others were running when the earlier run ended,
    /// or waited for a worker; that run's window has limited their number.
    pub fn take_up(&mut self, items: &mut dyn ItemSource) -> Result<ResumePoint, JournalError> {
        let Some(expected) = self.expected.take() else {
            return Ok(ResumePoint::default());
        };
        let ExpectedInput { read, known, waiting } = *expected;
        let mut holes: Vec<(u64, Batch)> = Vec::new();
        loop {
            let mut batch = Batch::default();
            let more = match self.items < read.items {
                true => items.next(&mut batch).map_err(InputError::from)?,
                false => true,
            };
            let (first, count) = (self.items, batch.sizes.len());
            let within = usize::try_from(read.items - first).unwrap_or(usize::MAX).min(count);
            self.hash(&batch.part(0..within));
            let looked_at = first..first + within as u64;
            let gaps = (within > 0).then(|| known.gaps(&looked_at));
            for gap in gaps.into_iter().flatten() {
                let part = batch.part((gap.start - first) as usize..(gap.end - first) as usize);
                match holes.last_mut() {
                    Some((start, hole)) if *start + hole.sizes.len() as u64 == gap.start => hole.append_part(part),
                    _ => {
                        let mut hole = Batch::default();
                        hole.append_part(part);
                        holes.push((gap.start, hole));
                    }
                }
            }
            if self.items < read.items {
                if !more {
                    return Err(JournalError::OtherInput { began: read.items, ends: Some(self.items) });
                }
                continue;
            }
            if read.items > 0 && <[u8; 32]>::from(self.hasher.finalize()) != read.hash {
                return Err(JournalError::OtherInput { began: read.items, ends: None });
            }
            // Items after the beginning are new, and those directly before them without an outcome are treated the
            // same.
            let (next, mut rest) = match holes.pop_if(|(start, hole)| *start + hole.sizes.len() as u64 == read.items) {
                Some((start, hole)) => (start, hole),
                None => (read.items, Batch::default()),
            };
            let tail = batch.part(within..count);
            self.hash(&tail);
            rest.append_part(tail);
            *lock(&self.read) = ReadRecord { items: self.items, hash: self.hasher.finalize().into() };
            self.unsure.store(false, Ordering::Release);
            return Ok(ResumePoint { waiting, holes, next, rest });
        }
    }
}

/// Locks plain data, which is intact even if a thread panicked while it held the lock.
fn lock(read: &Mutex<ReadRecord>) -> std::sync::MutexGuard<'_, ReadRecord> {
    read.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io;

    use proptest::prelude::*;

    use super::*;

    /// Yields items in batches of these sizes, repeated over and over.
    struct InBatches {
        items: Vec<Vec<u8>>,
        at: usize,
        sizes: Vec<usize>,
        turn: usize,
    }

    impl InBatches {
        fn new(items: &[Vec<u8>], sizes: &[usize]) -> InBatches {
            InBatches { items: items.to_vec(), at: 0, sizes: sizes.to_vec(), turn: 0 }
        }
    }

    impl ItemSource for InBatches {
        fn next(&mut self, batch: &mut Batch) -> io::Result<bool> {
            let size = self.sizes.get(self.turn % self.sizes.len()).copied().unwrap_or(1);
            self.turn += 1;
            let until = (self.at + size).min(self.items.len());
            self.items[self.at..until].iter().for_each(|item| batch.push(item));
            self.at = until;
            Ok(self.at < self.items.len())
        }
    }

    /// Returns the tally of a run that has read `count` items, and knows the outcomes of some.
    fn after(items: &[Vec<u8>], count: usize, known: &RangeSet<u64>) -> InputDigest {
        let mut before = InputDigest::default();
        let mut batch = Batch::default();
        items[..count].iter().for_each(|item| batch.push(item));
        before.add(&batch);
        let mut tally = InputDigest::default();
        tally.expect(before.read(), known.clone(), Vec::new());
        tally
    }

    fn unpacked(first: u64, batch: &Batch) -> Vec<(u64, Vec<u8>)> {
        (first..).zip(batch.iter().map(|(_, item)| item.to_vec())).collect()
    }

    /// Items, the number of them that were read, the sizes of batches, and ranges of items as first and length.
    type Input = (Vec<Vec<u8>>, usize, Vec<usize>, Vec<(u64, u64)>);

    fn inputs() -> impl Strategy<Value = Input> {
        let item = proptest::collection::vec(any::<u8>(), 0..6);
        let sizes = proptest::collection::vec(0..9usize, 1..5).prop_map(|mut sizes| {
            sizes.push(1);
            sizes
        });
        let known = proptest::collection::vec((0..60u64, 1..12u64), 0..6);
        (proptest::collection::vec(item, 0..60), any::<usize>(), sizes, known).prop_map(
            |(items, count, sizes, known)| {
                let count = count % (items.len() + 1);
                (items, count, sizes, known)
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_left_is_what_is_not_known_and_nothing_else((items, count, sizes, known) in inputs()) {
            let known: RangeSet<u64> = known
                .into_iter()
                .map(|(first, length)| first..(first + length).min(count as u64))
                .filter(|range| !range.is_empty())
                .collect();
            let mut source = InBatches::new(&items, &sizes);
            let mut tally = after(&items, count, &known);
            let left = tally.take_up(&mut source).expect("it is the same input");
            let mut found: Vec<(u64, Vec<u8>)> = Vec::new();
            for (first, hole) in &left.holes {
                // An item with a known outcome follows each hole.
                prop_assert!(known.contains(&(first + hole.sizes.len() as u64)));
                found.extend(unpacked(*first, hole));
            }
            found.extend(unpacked(left.next, &left.rest));
            let wanted: Vec<(u64, Vec<u8>)> = items[..source.at]
                .iter()
                .enumerate()
                .map(|(n, item)| (n as u64, item.clone()))
                .filter(|(n, _)| !known.contains(n))
                .collect();
            prop_assert_eq!(found, wanted);
            // The tally continues to count from there.
            prop_assert_eq!(tally.read(), after(&items, source.at, &RangeSet::new()).read());
        }

        #[test]
        fn an_input_that_begins_otherwise_is_refused((items, count, sizes, _) in inputs(), at in any::<usize>()) {
            prop_assume!(count > 0);
            let tally = after(&items, count, &RangeSet::new());
            let mut other = items.clone();
            other[at % count].push(1);
            prop_assert!(tally.clone().take_up(&mut InBatches::new(&other, &sizes)).is_err());
            let short = &items[..at % count];
            prop_assert!(tally.clone().take_up(&mut InBatches::new(short, &sizes)).is_err());
        }
    }
}
