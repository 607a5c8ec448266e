//! Outcomes in their printed form, until they are written.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use wasmpool_core::outcome::OutcomeCounts;

/// Number of bytes that are reserved in vain and worth giving back.
const SPARE: usize = 4 << 10;

/// The printed form of the outcomes of consecutive items.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenderedOutcomes {
    /// The items, by index.
    pub items: Range<u64>,
    pub counts: OutcomeCounts,
    /// Bytes for the results.
    pub results: Vec<u8>,
    /// Bytes for the failed items, with their input.
    pub failed: Vec<u8>,
}

impl RenderedOutcomes {
    pub fn bytes(&self) -> usize {
        self.results.len() + self.failed.len()
    }

    /// Gives memory back that was reserved for more, if that is worth it.
    pub fn shrink(&mut self) {
        for bytes in [&mut self.results, &mut self.failed] {
            if bytes.capacity() - bytes.len() >= SPARE {
                bytes.shrink_to_fit();
            }
        }
    }

    /// Adds the next item, whose outcome has been appended.
    pub fn take_in(&mut self, index: u64) {
        if self.items.is_empty() {
            self.items.start = index;
        }
        self.items.end = index + 1;
    }

    pub fn mark(&self) -> RenderMark {
        let (results, failed) = (self.results.len(), self.failed.len());
        RenderMark {
            items: self.items.end.saturating_sub(self.items.start),
            counts: self.counts.clone(),
            results,
            failed,
        }
    }

    /// Returns what was added between two marks.
    pub fn between(&self, from: &RenderMark, to: &RenderMark) -> RenderedOutcomes {
        RenderedOutcomes {
            items: self.items.start + from.items..self.items.start + to.items,
            counts: to.counts.since(&from.counts),
            results: self.results[from.results..to.results].to_vec(),
            failed: self.failed[from.failed..to.failed].to_vec(),
        }
    }
}

/// The length of a group at some moment.
#[derive(Clone, Debug, Default)]
pub struct RenderMark {
    pub items: u64,
    pub counts: OutcomeCounts,
    pub results: usize,
    pub failed: usize,
}
