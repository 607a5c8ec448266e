//! What a worker gets on this machine: a real child enters the sandbox and says so.

use std::os::fd::OwnedFd;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use super::{Limits, Openings, Plan, Report, Role};
use crate::engine::{self, Needs, Profile};
use crate::error::Error;
use crate::lane::control::{Control, Incoming};
use crate::lane::host::HostLane;
use crate::policy::SandboxMode;
use crate::spawn;
use crate::surroundings::{self, Surroundings};

/// What was found.
#[derive(Debug)]
pub struct Diagnosis {
    /// What a worker that takes what it can get got.
    pub report: Report,
    /// What strict lacks, in words.
    pub strict: Result<(), String>,
    pub surroundings: Surroundings,
}

/// What the child tells.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    report: Report,
    surroundings: Surroundings,
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
    let child = spawn::start(&spawn::Program::Own, spawn::Role::Doctor, theirs).map_err(Error::Spawn)?;
    let Told { report, mut surroundings } = match control.receive::<Told>(false)? {
        Incoming::Message(told) => told,
        Incoming::Bell | Incoming::Closed | Incoming::Nothing => {
            let status = child.reap();
            return Err(Error::Sandbox(format!("a process that entered it did not live to tell ({status})")));
        }
    };
    let lane = || HostLane::create(crate::policy::Limits::default().max_output).map(drop);
    surroundings.in_the_way.extend(surroundings::try_out(lane).err());
    let strict = report.meets_strict(&plan());
    Ok(Diagnosis { report, strict, surroundings })
}

/// The child.
pub fn run(socket: OwnedFd) -> ExitCode {
    let control = Control::from_fd(socket);
    let mut surroundings = surroundings::look();
    // The largest thing a worker asks for: address space for the memory of its task.
    if let Err(e) = engine::for_worker(Profile::default(), Some(Needs::default()), false) {
        let limit = surroundings::memory().unwrap_or_else(|| "the system gives no more".to_owned());
        surroundings
            .in_the_way
            .push(format!("a worker cannot reserve address space for the memory of its task: {limit} ({e:#})"));
    }
    let Ok(mut sandbox) = super::enter_loading(plan()) else {
        return ExitCode::FAILURE;
    };
    // Best effort refuses nothing.
    let _ = sandbox.enter_serving();
    match control.send(&Told { report: sandbox.report().clone(), surroundings }, &[]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
