//! What a worker gets on this machine: a real child enters the sandbox and says so.

use std::os::fd::OwnedFd;
use std::process::ExitCode;

use super::{Limits, Openings, Plan, Report, Role};
use crate::error::Error;
use crate::lane::control::{Control, Incoming};
use crate::policy::SandboxMode;
use crate::spawn;

/// What was found.
#[derive(Debug)]
pub struct Diagnosis {
    /// What a worker that takes what it can get got.
    pub report: Report,
    /// What strict lacks, in words.
    pub strict: Result<(), String>,
}

fn plan() -> Plan {
    let limits = crate::policy::Limits::default();
    Plan::new(
        SandboxMode::BestEffort,
        Role::Worker,
        Limits::of_worker(limits.memory, limits.max_output),
        Openings::default(),
    )
}

/// Asks a child.
pub fn diagnose() -> Result<Diagnosis, Error> {
    let (control, theirs) = Control::pair()?;
    let mut child = spawn::start(&spawn::Program::Own, spawn::Role::Doctor, theirs)?;
    let report = match control.receive::<Report>(false)? {
        Incoming::Message(report) => report,
        Incoming::Bell | Incoming::Closed | Incoming::Nothing => {
            let status = child.reap()?;
            return Err(Error::Sandbox(format!("a process that entered it did not live to tell ({status})")));
        }
    };
    let strict = report.meets_strict(&plan());
    Ok(Diagnosis { report, strict })
}

/// The child.
pub fn run(socket: OwnedFd) -> ExitCode {
    let control = Control::from_fd(socket);
    let Ok(mut sandbox) = super::enter_loading(plan()) else {
        return ExitCode::FAILURE;
    };
    // Best effort refuses nothing.
    let _ = sandbox.enter_serving();
    match control.send(sandbox.report(), &[]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
