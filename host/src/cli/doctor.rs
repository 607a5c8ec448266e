//! `wasmpool doctor`: a table of the sandbox's layers, as a worker has them on this machine.

use super::exit::{Exit, Stop};
use super::units::bytes_said;
use crate::sandbox::{self, Diagnosis, Layer, Part};
use crate::text::Foreign;

pub fn doctor() -> Result<Exit, Stop> {
    let diagnosis = sandbox::diagnose()?;
    match super::print(&describe(&diagnosis)).map_err(|e| format!("cannot write the table: {e}"))? {
        Exit::Success if diagnosis.strict.is_err() => Ok(Exit::Sandbox),
        Exit::Success if !diagnosis.surroundings.in_the_way.is_empty() => Ok(Exit::Usage),
        exit => Ok(exit),
    }
}

fn describe(diagnosis: &Diagnosis) -> String {
    let release =
        nix::sys::utsname::uname().map_or_else(|_| String::new(), |u| u.release().to_string_lossy().into_owned());
    let mut out = format!("kernel: {}\n\n{:<13}{:<42}here\n", Foreign::of(&release), "layer", "what");
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
        let remedy = Part::remedy(missing.part);
        if !told.contains(&remedy) {
            out += &format!("\nto get the {} layer: {remedy}\n", missing.part.layer().name());
            told.push(remedy);
        }
    }
    out += &match crate::surroundings::memory_of_all() {
        Some(bytes) => {
            format!("\nmemory of all workers together: at most {}, by a cgroup\n", bytes_said(bytes))
        }
        None => "\nmemory of all workers together: no limit that can be seen (docs/security.md says how to set one)\n"
            .to_owned(),
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
