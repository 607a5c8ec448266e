//! `wasmpool run --check`: what would start, and who may reach what, in words.

use std::fmt::Write;
use std::time::Duration;

use super::file::Restart;
use super::plan::{Plan, PlannedProcess, Until, Work};
use crate::cli::granted::granted;
use crate::cli::resolve::ProcessSpec;
use crate::cli::share;
use wasmpool_core::share::{ObjectForm, ObjectRights};
use wasmpool_core::text::{ForeignText, QuotedName, bytes_said};

/// Describes a run. Whatever the file and manifests say is escaped.
pub fn describe(plan: &Plan, specs: &[ProcessSpec]) -> String {
    let mut out = String::new();
    for place in 0..plan.named {
        object(plan, place, &mut out);
    }
    for place in plan.in_order() {
        if let (Some(process), Some(spec)) = (plan.processes.get(place), specs.get(place)) {
            self::process(plan, process, spec, &mut out);
        }
    }
    out
}

fn object(plan: &Plan, place: usize, out: &mut String) {
    let Some(object) = plan.objects.get(place) else {
        return;
    };
    // Writing to memory does not fail.
    let _ = writeln!(out, "object {}", ForeignText::of(&object.to_string()));
    let mut all = ObjectRights { first: false, second: false };
    for process in &plan.processes {
        if let Some((_, rights)) = process.rights.iter().find(|(other, _)| *other == place) {
            (all.first, all.second) = (all.first || rights.first, all.second || rights.second);
            let _ = writeln!(out, "  {} {}", process.name, may(&object.spec.form, *rights));
        }
    }
    let lacking = match (&object.spec.form, all) {
        (_, ObjectRights { first: false, second: false }) => "nobody reaches it",
        (ObjectForm::Queue { .. }, ObjectRights { second: false, .. }) => {
            "nobody puts into it, so only what --share-in has is got"
        }
        (ObjectForm::Queue { .. }, ObjectRights { first: false, .. }) => {
            "nobody gets from it, so whoever puts waits once it is full"
        }
        (ObjectForm::Event, ObjectRights { second: false, .. }) => "nobody sets it, so it is as --share-in has it",
        _ => return,
    };
    let _ = writeln!(out, "  {lacking}");
}

/// Returns what somebody with these rights may do, to follow a name.
fn may(form: &ObjectForm, rights: ObjectRights) -> String {
    let (first, second) = share::words(form);
    let word = share::word_of(form, rights);
    match word {
        _ if first.is_empty() => "may use it".to_owned(),
        "" => match second {
            "rw" => "may read and write".to_owned(),
            "second" => "may use it for first and second, so it has to say which end it opens".to_owned(),
            _ => format!("may use it for {first} and {second}"),
        },
        "ro" => "may read".to_owned(),
        word => format!("may use it for {word}"),
    }
}

fn process(plan: &Plan, process: &PlannedProcess, spec: &ProcessSpec, out: &mut String) {
    let count = if process.count > 1 { format!(" ({} of them)", process.count) } else { String::new() };
    let _ = writeln!(out, "process {}{count}", process.name);
    let task = ForeignText::of(&spec.task).to_string();
    let _ = match process.work.numbered(0) {
        Work::Function { name, arguments, bound, .. } => {
            let name = name.or_else(|| spec.function.clone());
            let name = name.map_or_else(|| "its only function".to_owned(), |name| QuotedName::of(&name).to_string());
            let named = bound.iter().map(|(key, value)| format!("{key}={value}"));
            let arguments = arguments.into_iter().chain(named).collect::<Vec<_>>().join(", ");
            writeln!(out, "  calls {name} of {task} with ({})", ForeignText::of(&arguments))
        }
        Work::Command { arguments, .. } => {
            let arguments = arguments.iter().map(|argument| format!(" {}", QuotedName::of(argument)));
            writeln!(out, "  runs {task}{}", arguments.collect::<String>())
        }
    };
    let name_of = |place: usize| plan.processes.get(place).map_or("", |process| &*process.name);
    let after = process.after.iter().map(|after| match after.until {
        Until::Started => format!("{} has started", name_of(after.process)),
        Until::Ended => format!("{} has ended well", name_of(after.process)),
    });
    let after = after.collect::<Vec<_>>().join(" and ");
    let _ = match after.is_empty() {
        true => writeln!(out, "  starts at once"),
        false => writeln!(out, "  starts once {after}"),
    };
    let _ = match (process.restart, process.restarts) {
        (Restart::Never, _) => Ok(()),
        (restart, Some(most)) => writeln!(out, "  is started again, {}, at most {most} times", when(restart)),
        (restart, None) => writeln!(out, "  is started again, {}, without end", when(restart)),
    };
    if process.daemon {
        let _ = writeln!(out, "  is ended once all that are no daemons have ended");
    }
    if let Some(writer) = process.stdin {
        let _ = writeln!(out, "  reads the standard output of {}", name_of(writer));
    }
    if let Some(reader) = process.stdout {
        let _ = writeln!(out, "  is read by {}", name_of(reader));
    }
    let time = |time: Duration| humantime::format_duration(time).to_string();
    let timeout = spec
        .timeout()
        .map_or_else(|| "no limit of time, and at most ".to_owned(), |t| format!("at most {} of time, ", time(t)));
    let fuel = spec.limits.fuel.map_or_else(String::new, |fuel| format!(", {fuel} instructions"));
    let memory = bytes_said(spec.limits.memory);
    let _ = writeln!(out, "  has {timeout}{memory} of memory{fuel}");
    for granted in granted(&spec.grants) {
        let _ = writeln!(out, "  reaches {granted}");
    }
}

fn when(restart: Restart) -> &'static str {
    match restart {
        Restart::Always => "whenever it ends",
        Restart::Never | Restart::OnFailure => "if it fails",
    }
}
