//! Outcomes as they are printed, until they are.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use wasmpool_core::outcome::Counts;

/// What the outcomes of consecutive items are printed as.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenderedOutcomes {
    /// The items, by index.
    pub items: Range<u64>,
    pub counts: Counts,
    /// What goes where results go.
    pub results: Vec<u8>,
    /// The failed ones, with their input.
    pub failed: Vec<u8>,
}

impl RenderedOutcomes {
    pub fn bytes(&self) -> usize {
        self.results.len() + self.failed.len()
    }

    pub fn take_in(&mut self, index: u64) {
        if self.items.is_empty() {
            self.items.start = index;
        }
        self.items.end = index + 1;
    }

    pub fn mark(&self) -> Mark {
        let (results, failed) = (self.results.len(), self.failed.len());
        Mark { items: self.items.end.saturating_sub(self.items.start), counts: self.counts.clone(), results, failed }
    }

    /// What was added from one mark to another.
    pub fn between(&self, from: &Mark, to: &Mark) -> RenderedOutcomes {
        RenderedOutcomes {
            items: self.items.start + from.items..self.items.start + to.items,
            counts: to.counts.since(&from.counts),
            results: self.results[from.results..to.results].to_vec(),
            failed: self.failed[from.failed..to.failed].to_vec(),
        }
    }
}

/// How far a group was at some time.
#[derive(Clone, Debug, Default)]
pub struct Mark {
    pub items: u64,
    pub counts: Counts,
    pub results: usize,
    pub failed: usize,
}
