//! What one caller of a pool wants for his items, and another does not: the same workers serve both.

use std::collections::VecDeque;
use std::time::Duration;

use super::ChunkSize;

/// The terms of an item that do not concern the worker process: how many go into a chunk, how often it is tried, how
/// long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ItemTerms {
    pub chunk: ChunkSize,
    /// Number of times that the item is run again after a failure that another try may avoid.
    pub retries: u32,
    /// Wall time of the item.
    pub timeout: Duration,
}

/// Sizes of the items that were read and not yet given out, in order. Neighbours of equal terms may share a chunk.
#[derive(Debug, Default)]
pub(super) struct PendingItems {
    sizes: VecDeque<u32>,
    /// Number of neighbours of equal terms, and these terms.
    runs: VecDeque<(usize, ItemTerms)>,
}

impl PendingItems {
    pub fn extend(&mut self, sizes: &[u32], terms: ItemTerms) {
        if sizes.is_empty() {
            return;
        }
        self.sizes.extend(sizes);
        match self.runs.back_mut() {
            Some((count, last)) if *last == terms => *count += sizes.len(),
            _ => self.runs.push_back((sizes.len(), terms)),
        }
    }

    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    pub fn clear(&mut self) {
        self.sizes.clear();
        self.runs.clear();
    }

    /// Returns the sizes of all items.
    pub fn sizes(&self) -> &VecDeque<u32> {
        &self.sizes
    }

    /// Returns how many of the first items have equal terms, these terms, and whether items of other terms follow.
    pub fn first(&self) -> Option<(usize, ItemTerms, bool)> {
        self.runs.front().map(|&(count, terms)| (count, terms, self.runs.len() > 1))
    }

    /// Removes the first `count` items, and returns the sum of their sizes.
    pub fn remove(&mut self, count: usize) -> usize {
        let mut left = count;
        while left > 0
            && let Some((run, _)) = self.runs.front_mut()
        {
            let some = left.min(*run);
            *run -= some;
            left -= some;
            if *run == 0 {
                self.runs.pop_front();
            }
        }
        self.sizes.drain(..count).map(|size| size as usize).sum()
    }
}
