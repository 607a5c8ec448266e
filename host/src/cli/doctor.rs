//! `wasmpool doctor`: a table of the sandbox's layers, as a worker has them on this machine.

use std::os::fd::AsFd;
use std::time::Duration;

use super::documents;
use super::exit::{Exit, Stop};
use wasmpool_core::layer::{Layer, LayerPart};
use wasmpool_core::policy::TaskCall;
use wasmpool_core::text::{ForeignText, MessageLines, bytes_said};
use wasmpool_ipc::lane::control::{Control, Incoming};
use wasmpool_ipc::lane::host::HostLane;
use wasmpool_run::cgroup::{HostPlacement, NoCgroup, Room, Workers};
use wasmpool_run::error::Error;
use wasmpool_run::spawn::{self, ChildWait};
use wasmpool_sandbox::doctor::{DoctorMessage, plan};
use wasmpool_sandbox::surroundings::{self, ChildEnd, Surroundings, error_with_limit, with_sources};
use wasmpool_sandbox::{SandboxError, SandboxReport};

/// The findings of `doctor`.
#[derive(Debug)]
struct Diagnosis {
    /// The layers of a worker that takes what is available.
    report: SandboxReport,
    /// The layers that strict mode lacks.
    strict: Result<(), SandboxError>,
    surroundings: Surroundings,
    /// Bytes that the workers' own cgroup allows in a run with default limits, or why there is no such cgroup.
    bounded: Result<u64, NoCgroup>,
}

pub fn doctor() -> Result<Exit, Stop> {
    let diagnosis = diagnose()?;
    match super::print(&describe(&diagnosis)).map_err(|e| format!("cannot write the table: {e}"))? {
        Exit::Success if diagnosis.strict.is_err() => Ok(Exit::Sandbox),
        Exit::Success if !diagnosis.surroundings.in_the_way.is_empty() => Ok(Exit::Usage),
        exit => Ok(exit),
    }
}

/// Runs a worker to find out.
fn diagnose() -> Result<Diagnosis, Stop> {
    let (control, theirs) = Control::pair().map_err(Error::from)?;
    let child = spawn::start(&spawn::ChildProgram::Own, spawn::ChildRole::Doctor, theirs).map_err(Error::spawn)?;
    let waited = child.wait_at_most(DEADLINE, Some(control.as_fd())).map_err(Error::from)?;
    if waited == ChildWait::Late {
        let (seconds, pid) = (DEADLINE.as_secs(), child.pid());
        return Err(unknown(format!(
            "the process that enters it, as a worker does (process {pid}), has not said within {seconds} s what it got: \
             it was {}",
            doing(pid)
        )));
    }
    let DoctorMessage { report, mut surroundings } = match control.receive::<DoctorMessage>(true) {
        Ok(Incoming::Message(told)) => told,
        // The child's end breaks the socket, so an error there says no more than that.
        Ok(Incoming::Bell | Incoming::Closed | Incoming::Nothing) | Err(_) => {
            let ended = match waited {
                // The end of a child can be waited for only once.
                ChildWait::Ended(ended) => ended,
                ChildWait::Late | ChildWait::Stopped => child.reap(),
            };
            return Err(unknown(not_told(child.pid(), ended)));
        }
    };
    let lane = || HostLane::create(wasmpool_core::policy::ItemLimits::default().max_output).map(drop);
    surroundings.in_the_way.extend(surroundings::try_out(lane).err().map(|e| error_with_limit(&e)));
    let strict = report.meets_strict(&plan());
    let bounded =
        Room::new(HostPlacement::Moves, Workers::of(surroundings::processors(), &TaskCall::default())).found();
    Ok(Diagnosis { report, strict, surroundings, bounded: bounded.map(|(_, bytes)| bytes) })
}

/// Makes the stop for a `doctor` that found nothing out. It does not advise to run `doctor`, as other errors do.
fn unknown(why: String) -> Stop {
    Stop { exit: Exit::Sandbox, message: format!("whether the sandbox can be had here is not known: {why}") }
}

/// Returns in words how the child ended that should have reported what it got.
fn not_told(pid: u32, ended: ChildEnd) -> String {
    let child = format!("the process that enters it, as a worker does (process {pid}),");
    match ended.sent_by_others() {
        true => format!(
            "{child} was ended by somebody else before it said what it got ({ended}): by a person, a program that \
             watches over others, or the kernel's memory killer; ask again once that is over"
        ),
        false => format!("{child} did not live to say what it got ({ended})"),
    }
}

/// Time limit of the child, which usually takes some milliseconds.
const DEADLINE: Duration = Duration::from_secs(20);

/// Returns what a process is waiting for, as far as the kernel tells any user.
fn doing(pid: u32) -> &'static str {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The process name, in parentheses, may contain any character.
    match stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()) {
        Some('T' | 't') => "stopped by a signal or a debugger",
        Some('D') => "kept in a system call, as by a disk or a file system that does not answer",
        Some('S') => "waiting in a system call",
        Some('R') => "running, or waiting for a processor",
        _ => "in a state that is not known",
    }
}

fn describe(diagnosis: &Diagnosis) -> String {
    let release =
        nix::sys::utsname::uname().map_or_else(|_| String::new(), |u| u.release().to_string_lossy().into_owned());
    let mut out = format!("kernel: {}\n\n{:<13}{:<42}here\n", ForeignText::of(&release), "layer", "what");
    let row = |layer: Layer, what: &str, here: &str| format!("{:<13}{what:<42}{here}\n", layer.name());
    out += &row(Layer::Inheritance, "no descriptors, no environment", "yes");
    out += &row(Layer::Death, "ends with its host", "yes");
    let report = &diagnosis.report;
    for layer in Layer::ALL {
        for part in report.held.iter().filter(|part| part.layer() == layer) {
            out += &row(layer, part.name(), "yes");
        }
        for missing in report.missing.iter().filter(|missing| missing.part.layer() == layer) {
            let needed = if report.excused(missing.part) { "no, not required" } else { "NO, REQUIRED" };
            out += &row(layer, missing.part.name(), &format!("{needed}: {}", missing.why));
        }
    }
    let mut told: Vec<&str> = Vec::new();
    for missing in &report.missing {
        let remedy = LayerPart::remedy(missing.part);
        if !told.contains(&remedy) {
            out += &format!("\nto get the {} layer: {remedy}\n", missing.part.layer().name());
            told.push(remedy);
        }
    }
    out += &match &diagnosis.bounded {
        Ok(bytes) => format!(
            "\na cgroup that wasmpool makes for the workers: yes; {} for those of a run with default limits\n",
            bytes_said(*bytes)
        ),
        Err(why) => {
            format!("\na cgroup that wasmpool makes for the workers: none: {}\n", MessageLines(&with_sources(why)))
        }
    };
    out += &match surroundings::memory_of_all() {
        Some(bytes) => {
            format!("\nmemory of all workers together: at most {}, by a cgroup\n", bytes_said(bytes))
        }
        None if diagnosis.bounded.is_ok() => String::new(),
        None => format!(
            "\nmemory of all workers together: no limit that can be seen ({} says how to set one)\n",
            documents::page("security.md")
        ),
    };
    for what in &diagnosis.surroundings.narrow {
        out += &format!("\nnarrow: {what}\n");
    }
    for what in &diagnosis.surroundings.in_the_way {
        out += &format!("\nNOTHING RUNS HERE: {what}\n");
    }
    out += match &diagnosis.strict {
        Ok(()) if !diagnosis.surroundings.in_the_way.is_empty() => "\n--sandbox strict: would run here but for that\n",
        Ok(()) => "\n--sandbox strict: runs here\n",
        Err(_) => "\n--sandbox strict: refuses to run here; --sandbox best-effort runs with what there is\n",
    };
    out
}
