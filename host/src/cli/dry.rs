//! `--dry-run`: what a run would do. The task is compiled and loaded in a worker, which runs nothing of it, and the first item
//! is checked against its function. What the run would write is opened, so that whatever a run is refused for is found here too;
//! no file is changed, not even in the cache, and one that was made for that is removed again.

use std::fmt::Write;
use std::path::Path;

use super::apart::{self, InputLists};
use super::args::{OutputFormat, ShowProgress};
use super::checking::{self, Findings};
use super::exit::{Exit, Stop};
use super::granted::granted;
use super::progress::RunProgress;
use super::run::{SupervisorWork, fields, prepare};
use super::sharing::Sharing;
use super::signals;
use super::spec::{RunSpec, TaskSpecs, WorkSpec};
use super::stream::{WrittenFiles, columns, formed, inputs, items, kept, notice, read_files, workers};
use super::swapped;
use wasmpool_core::artifact::TaskDescription;
use wasmpool_core::guest_grants::GuestGrants;
use wasmpool_core::layer::LayerPart;
use wasmpool_core::policy::{SandboxMode, TaskCall};
use wasmpool_core::share::SharedGrants;
use wasmpool_core::text::{ForeignText, QuotedName, bytes_said};
use wasmpool_ipc::batch::Batch;
use wasmpool_ipc::lane::frame::ItemTag;
use wasmpool_run::cgroup::{HostPlacement, Room, Workers};
use wasmpool_run::compile::{ArtifactCache, Wasm};
use wasmpool_run::error::Error;
use wasmpool_run::grants::OpenedGrants;
use wasmpool_run::input::ItemSource;
use wasmpool_run::output::ResultColumns;
use wasmpool_run::spawn::{ChildProgram, ChildRole};
use wasmpool_run::supervisor::SpareWorkers;

/// Maximum number of characters of the first item that are shown.
const SHOWN: usize = 200;

/// Says what the run would do.
pub fn dry_run(spec: &RunSpec) -> Result<Exit, Stop> {
    signals::leave_at_once();
    let options = &spec.items;
    let named: Vec<(Option<&str>, &Path)> = match &options.tasks {
        TaskSpecs::One(task) => vec![(None, task.as_path())],
        TaskSpecs::Several(tasks) => tasks.iter().map(|task| (Some(task.name.as_str()), task.file.as_path())).collect(),
    };
    let inputs = inputs(spec)?;
    apart::check(&read_files(spec, named.iter().map(|(_, task)| *task), &inputs), spec)?;
    // A pipe may never end.
    let countable = inputs.size().is_some();
    let lists = InputLists::of(options, &inputs);
    let mut items = items(spec, inputs, &RunProgress::new(ShowProgress::Never, spec.verbosity, None, false));
    let call = TaskCall { columns: columns(&mut *items, options)?, only_checked: true, ..formed(spec.call(), options) };
    Sharing::check(
        spec.grants.shares.iter().map(|share| &share.spec),
        spec.share_in.as_deref(),
        spec.share_out.as_deref(),
    )?;
    let opened = WrittenFiles::open(spec, &call, lists)?;
    let done = opened.output.journal.as_ref().map_or(0, |journal| journal.counts().done);
    drop(opened);
    let input = looked_through(&mut *items, countable || options.first.is_some()).map_err(Error::Input)?;
    let mut out = String::new();
    let mut exit = Exit::Success;
    let mut lacking = Vec::new();
    let mut fields_of = Vec::new();
    for (name, task) in &named {
        let (description, findings) = checked(spec, task, &call, &input.first)?;
        // Writing to memory does not fail.
        let _ = match name {
            Some(name) => writeln!(out, "task {}: {}", ForeignText::of(*name), ForeignText::of(*task)),
            None => writeln!(out, "task: {}", ForeignText::of(*task)),
        };
        let _ = writeln!(out, "{}", work(spec, &description));
        if let Some(misfit) = &findings.misfit {
            let _ = writeln!(out, "the first item does not fit: {}", ForeignText::of_failure(&misfit.message));
            exit = Exit::Failures;
        }
        lacking = findings.lacking;
        fields_of.push(fields(&description, &call));
    }
    if *options.output_format == OutputFormat::Csv
        && options.results.is_none()
        && let Some(columns) = ResultColumns::of_tasks(&fields_of).first()
    {
        let several = matches!(options.tasks, TaskSpecs::Several(_));
        columns.header(several, kept(options, call.item_form).as_deref()).map_err(Error::from)?;
    }
    described(spec, &input, done, &mut out);
    let _ = writeln!(out, "{}", sandbox(spec, &lacking));
    let _ = writeln!(out, "nothing was run");
    super::print(&out)
        .map(|printed| if printed == Exit::Success { exit } else { printed })
        .map_err(|e| Error::output(e).into())
}

/// Returns what is known of the sandbox that the items would run in, where this machine lacks these parts.
fn sandbox(spec: &RunSpec, lacking: &[LayerPart]) -> String {
    if spec.items.over_hosts() {
        return "sandbox: each host has its own, which it chose when it began to serve".to_owned();
    }
    let mode = match *spec.sandbox {
        SandboxMode::Strict => "strict",
        SandboxMode::BestEffort => "best-effort",
        SandboxMode::Off => return "sandbox: off".to_owned(),
    };
    match lacking {
        [] => format!("sandbox: {mode}; all that it needs is here"),
        lacking => {
            let names = lacking.iter().map(|part| part.name()).collect::<Vec<_>>().join("; ");
            format!("sandbox: {mode}, without: {names}")
        }
    }
}

/// What is known of the input.
struct LookedThrough {
    /// The first item, if there is one.
    first: Batch,
    /// Number of items, and whether these are all.
    count: u64,
    whole: bool,
}

/// Reads the input: all of it, or as far as there is an item.
fn looked_through(items: &mut dyn ItemSource, to_end: bool) -> Result<LookedThrough, wasmpool_run::input::InputError> {
    let mut found = LookedThrough { first: Batch::default(), count: 0, whole: false };
    while !found.whole && (to_end || found.first.is_empty()) {
        let (mut batch, end) = items.next_batch();
        found.count += batch.sizes.len() as u64;
        if found.first.is_empty() {
            batch.truncate(1);
            found.first = batch;
        }
        if let Some(end) = end {
            end?;
            found.whole = true;
        }
    }
    Ok(found)
}

/// Loads the task in a worker that checks the first item, and returns what is known of both.
fn checked(spec: &RunSpec, task: &Path, call: &TaskCall, first: &Batch) -> Result<(TaskDescription, Findings), Stop> {
    let command = if call.command.is_some() { "exec" } else { "map" };
    let of_run = |e: Error| swapped::with_task_among(Stop::of_spec(&e, spec), &e, command, task, &spec.items.input);
    let wasm = Wasm::of_argument(task).map_err(of_run)?;
    let mut grants = spec.grants.grants();
    if spec.items.over_hosts() {
        // These are what hosts have.
        (grants.directories, grants.peers) = (Vec::new(), Vec::new());
    }
    let OpenedGrants { given, directories } =
        grants.open(&ArtifactCache::of_user()).map_err(|e| of_run(Error::from(e)))?;
    let call = TaskCall { given: GuestGrants { shared: SharedGrants::default(), ..given }, ..call.clone() };
    let cache = ArtifactCache::none();
    let room = Room::new(HostPlacement::Moves, Workers::of(1, &call));
    let mut notice = notice(spec);
    notice.bounded(&room);
    let role = ChildRole::of_worker(call.sandbox, &grants);
    let spares = SpareWorkers::started(ChildProgram::Own, role, 1, room);
    let prepared = prepare(&wasm, &call, &cache, false, &mut notice).map_err(of_run)?;
    let description = prepared.meta.description.clone();
    let work =
        SupervisorWork { task: &wasm, call: &call, directories: &directories, shared: None, cache: &cache, prepared };
    let findings = checking::check(work, spares, first.clone(), &mut notice).map_err(of_run)?;
    Ok((description, findings))
}

/// Returns what would be done with each item.
fn work(spec: &RunSpec, description: &TaskDescription) -> String {
    match &spec.work {
        WorkSpec::Function(function) => {
            let named = function.function.as_deref();
            match (description.meant(named), named) {
                (Some(export), _) => format!("function: {}", ForeignText::of(&export.signature)),
                (None, Some(name)) => format!("function: {}", QuotedName::of(name)),
                (None, None) => "function: its only one".to_owned(),
            }
        }
        WorkSpec::Command(command) => {
            let arguments = command.arguments.iter().map(|argument| QuotedName::of(argument).to_string());
            format!("command: {}", arguments.collect::<Vec<_>>().join(" "))
        }
    }
}

/// Adds how the run would be done. `done` items are in its journal already.
fn described(spec: &RunSpec, input: &LookedThrough, done: u64, out: &mut String) {
    let options = &spec.items;
    let format = format!("{:?}", *options.input_format).to_lowercase();
    let count = match (input.count, input.whole, &*options.first) {
        (0, ..) => "none".to_owned(),
        (count, _, Some(_)) => format!("the first {count}"),
        (count, true, None) => count.to_string(),
        (_, false, None) => "as many as come, which are not counted".to_owned(),
    };
    let _ = writeln!(out, "items: {count}, read as {format}");
    if let Some((ItemTag::Item, first)) = input.first.first() {
        let shown = match std::str::from_utf8(first) {
            Ok(text) => ForeignText::of(text).at_most(SHOWN).to_string(),
            Err(_) => format!("{} bytes that are no text", first.len()),
        };
        let _ = writeln!(out, "first item: {shown}");
    }
    let to = match (&*options.results, &*options.output) {
        (Some(directory), _) => format!("a file for each in {}", ForeignText::of(directory)),
        (None, Some(file)) => format!("to {}", ForeignText::of(file)),
        (None, None) => "to standard output".to_owned(),
    };
    let form = match *options.output_format {
        _ if options.results.is_some() => "raw",
        OutputFormat::Values => "values",
        OutputFormat::Records => "records",
        OutputFormat::Raw => "raw",
        OutputFormat::Csv => "csv",
    };
    let order = if *options.unordered { "as they finish" } else { "in the order of the input" };
    let _ = writeln!(out, "results: {to}, as {form}, {order}");
    if !options.keep.is_empty() {
        let names: Vec<String> = options.keep.iter().map(|name| QuotedName::of(name).to_string()).collect();
        let _ = writeln!(out, "kept of the input: {}", names.join(", "));
    }
    if let Some(path) = &*options.failed {
        let _ = writeln!(out, "failed items: to {}", ForeignText::of(path));
    }
    if let Some(path) = &*options.journal {
        let held = match done {
            0 => String::new(),
            done => format!(", with {done} done before, which are not run again"),
        };
        let _ = writeln!(out, "journal: {}{held}", ForeignText::of(path));
    }
    for report in &options.report {
        let _ = writeln!(out, "report: to {}", ForeignText::of(&report.path));
    }
    if let Some(path) = &*options.trace {
        let _ = writeln!(out, "trace: to {}", ForeignText::of(path));
    }
    if *options.retries > 0 {
        let kinds: Vec<String> = options.retry_on.iter().map(|kind| kind.name().to_owned()).collect();
        let _ = writeln!(out, "retries: {} of an item that fails by {}", *options.retries, kinds.join(", "));
    }
    if let Some(halt) = &*options.halt {
        let _ = writeln!(out, "halt: {halt}");
    }
    #[cfg(feature = "hosts")]
    if let Some(url) = &*options.via {
        let _ = writeln!(out, "machines: those that serve at {url}");
    }
    let _ = match (options.over_hosts(), &*options.workers) {
        (false, _) => writeln!(out, "workers: {} at most", workers(options)),
        (true, Some(chunks)) => writeln!(out, "chunks that hosts have at a time: {chunks} at most"),
        (true, None) => writeln!(out, "chunks that hosts have at a time: twice as many as their workers, at most"),
    };
    let limits = spec.limits();
    let mut held = Vec::new();
    match *spec.deterministic {
        true => held.push("no limit of time, as the run is deterministic".to_owned()),
        false => held.push(format!("{} of time", humantime::format_duration(limits.timeout))),
    }
    held.push(format!("{} of memory", bytes_said(limits.memory)));
    held.extend(limits.fuel.map(|fuel| format!("{fuel} instructions")));
    held.push(format!("a result of {}", bytes_said(limits.max_output)));
    let _ = writeln!(out, "limits of an item: {}", held.join(", "));
    let granted = granted(&spec.grants);
    match granted.is_empty() {
        true => {
            let _ = writeln!(out, "grants: none");
        }
        false => granted.iter().for_each(|grant| {
            let _ = writeln!(out, "grant: {grant}");
        }),
    }
}
