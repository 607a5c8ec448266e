//! The report of a child process that entered a worker's sandbox, for `wasmpool doctor`.

use serde::{Deserialize, Serialize};

use super::{Limits, Openings, Plan, Report, Role};
use crate::surroundings::Surroundings;
use wasmpool_core::policy::SandboxMode;

/// The child's report.
#[derive(Debug, Serialize, Deserialize)]
pub struct Told {
    pub report: Report,
    pub surroundings: Surroundings,
}

/// Returns the plan of the sandbox that the child enters.
pub fn plan() -> Plan {
    let limits = wasmpool_core::policy::Limits::default();
    Plan::new(
        SandboxMode::BestEffort,
        Role::Worker,
        Limits::of_worker(limits.memory, limits.max_output),
        Openings::default(),
    )
}
