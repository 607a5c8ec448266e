//! What a worker gets on this machine: a real child enters the sandbox and says so.

use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Limits, Openings, Plan, Report, Role};
use crate::engine::{self, Needs, Profile};
use crate::error::Error;
use crate::lane::control::{Control, Incoming};
use crate::lane::host::HostLane;
use crate::policy::SandboxMode;
use crate::spawn::{self, Waited};
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
    if child.wait_at_most(DEADLINE, Some(control.as_fd()))? == Waited::Late {
        let (seconds, pid) = (DEADLINE.as_secs(), child.pid());
        return Err(Error::Sandbox(format!(
            "the process that enters it, as a worker does (process {pid}), has not said within {seconds} s what it got: \
             it was {}",
            doing(pid)
        )));
    }
    let Told { report, mut surroundings } = match control.receive::<Told>(true)? {
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

/// How long the child may take, which is done in milliseconds.
const DEADLINE: Duration = Duration::from_secs(20);

/// Says what keeps a process, as far as the kernel tells everybody.
fn doing(pid: u32) -> &'static str {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Its name, in parentheses, may hold anything.
    match stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()) {
        Some('T' | 't') => "stopped by a signal or a debugger",
        Some('D') => "kept in a system call, as by a disk or a file system that does not answer",
        Some('S') => "waiting in a system call",
        Some('R') => "running, or waiting for a processor",
        _ => "in a state that is not known",
    }
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
