//! The place at which a run continues an earlier one.

use std::time::Duration;

use crate::rendered::RenderedOutcomes;
use wasmpool_ipc::batch::Batch;

/// Time that finished work may wait until it is recorded.
pub const COMMIT_EVERY: Duration = Duration::from_millis(500);

/// What is left to do of the beginning of an input.
#[derive(Debug, Default)]
pub struct ResumePoint {
    /// Outcomes that are known and were not yet printed.
    pub waiting: Vec<RenderedOutcomes>,
    /// Items without an outcome in front of items with one, by the index of their first.
    pub holes: Vec<(u64, Batch)>,
    /// The index of the first item after all of these, and the items from there on that were already read.
    pub next: u64,
    pub rest: Batch,
}
