//! The report of a child process that entered a worker's sandbox, for `wasmpool doctor`.

use serde::{Deserialize, Serialize};

use super::{ProcessLimits, ProcessRole, SandboxOpenings, SandboxPlan, SandboxReport};
use crate::surroundings::Surroundings;
use wasmpool_core::policy::SandboxMode;

/// The child's report.
#[derive(Debug, Serialize, Deserialize)]
pub struct DoctorMessage {
    pub report: SandboxReport,
    pub surroundings: Surroundings,
}

/// Returns the plan of the sandbox that the child enters.
pub fn plan() -> SandboxPlan {
    let limits = wasmpool_core::policy::ItemLimits::default();
    SandboxPlan::new(
        SandboxMode::BestEffort,
        ProcessRole::Worker,
        ProcessLimits::of_worker(limits.memory, limits.max_output),
        SandboxOpenings::default(),
    )
}
