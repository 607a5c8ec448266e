//! Where a run goes on that an earlier one left.

use std::time::Duration;

use crate::rendered::RenderedOutcomes;
use wasmpool_ipc::batch::Batch;

/// How long what was done may wait to be kept.
pub const COMMIT_EVERY: Duration = Duration::from_millis(500);

/// What is left to do of the beginning of an input.
#[derive(Debug, Default)]
pub struct ResumePoint {
    /// Outcomes that are known and were not yet printed.
    pub waiting: Vec<RenderedOutcomes>,
    /// Items without an outcome that have some with one behind them, by the index of their first.
    pub holes: Vec<(u64, Batch)>,
    /// The index of the first item behind all of these, and what was read of them.
    pub next: u64,
    pub rest: Batch,
}
