//! `wasmpool run FILE.toml`: named processes, each a worker of its own, with shared objects and pipes between them.
//!
//! `file.rs` is the file as it is written, `plan.rs` what it asks for, `order.rs` which process starts when, and
//! `running.rs` carries that out, with `attempt.rs` for one process.

mod attempt;
mod check;
mod circles;
mod error;
mod file;
mod order;
mod plan;
mod prints;
mod running;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::Path;

use super::apart::{self, ReadFiles};
use super::args::RunFileArgs;
use super::exit::{Exit, Stop};
use super::manifest::read;
use super::print;
use super::resolve::{self, ProcessSpec};
use super::share::SharedObject;
use super::source::{ArgOrigins, SettingSource, Sourced};
use super::task_file::refuse_task;
use error::PlanError;
use file::RunFile;
use plan::Plan;
#[cfg(feature = "hosts")]
pub use plan::objects;
use wasmpool_core::text::{ForeignText, MessageLines};
use wasmpool_run::descriptors;
use wasmpool_run::error::{Error, with_sources};
use wasmpool_run::grants::Grants;
use wasmpool_run::place::directory_of;
use wasmpool_run::stdio::Level;
use wasmpool_run::tell_as;

/// Runs the processes of a file, or says what would run.
pub fn run_file(args: &RunFileArgs, from: ArgOrigins<'_>) -> Result<Exit, Stop> {
    refuse_task(
        &args.file,
        "wasmpool run takes a file that names processes; wasmpool map and wasmpool call take a task",
    )?;
    let file: RunFile = read::argument(&args.file)?;
    let of_file = |why: &PlanError| Stop::from(format!("{}: {why}", ForeignText::of(&read::shown(&args.file))));
    let mut plan = Plan::of(file, directory_of(&args.file)).map_err(|why| of_file(&why))?;
    check_objects(&plan, args).map_err(|why| of_file(&why))?;
    let specs = specs(&plan, args).map_err(|problem| match problem {
        ProcessError::Usage { name, source } => Stop::from(format!("process {name}: {}", with_sources(&source))),
        ProcessError::NoTask { name, task } => Stop::from(format!("process {name}: there is no task {task}")),
    })?;
    let granted = |process: usize, object: &str| {
        let mut shares = specs.get(process)?.grants.shares.iter();
        shares.find(|share| share.spec.name == object).map(|share| share.rights)
    };
    plan.narrow(granted).and_then(|()| check_descriptors(&plan)).map_err(|why| of_file(&why))?;
    let share_out = from.of("share_out", args.share_out.clone());
    check_files(args, &specs, &share_out)?;
    if args.check {
        if let Some(interrupted) = running::check(&plan, &specs, args)? {
            return Ok(interrupted);
        }
        return print(&check::describe(&plan, &specs)).map_err(|e| Stop::from(Error::output(e)));
    }
    if !args.verbosity.quiet {
        let directories: Vec<_> = specs.iter().flat_map(|spec| spec.grants.directories.iter().cloned()).collect();
        apart::tell_where_contents_go(&share_out, &directories);
        for (process, spec) in plan.processes.iter().zip(&specs) {
            let name = &process.name;
            let facts = [("name", name.as_str().into())];
            let tell_note =
                |note: &String| tell_as!(Level::Info, &facts, "wasmpool: process {name}: {}", MessageLines(note));
            spec.notes.iter().for_each(tell_note);
        }
    }
    running::run(&plan, &specs, args)
}

/// Number of descriptors of this program that a process takes: its handle, its sockets, its memory, and what wakes its thread.
const OF_A_PROCESS: u64 = 8;
/// Number of those that a run needs besides.
const OF_A_RUN: u64 = 32;

/// Checks that there are objects, if they are to be filled or told.
fn check_objects(plan: &Plan, args: &RunFileArgs) -> Result<(), PlanError> {
    for (path, option) in [(&args.share_in, "--share-in"), (&args.share_out, "--share-out")] {
        if path.is_some() && plan.named == 0 {
            return Err(PlanError::NothingShared { option });
        }
    }
    Ok(())
}

/// Checks that all processes can run at the same time as far as descriptors are concerned: they may need each other, so
/// none can wait until another has ended.
fn check_descriptors(plan: &Plan) -> Result<(), PlanError> {
    let count = plan.count();
    let needed = u64::from(count) * OF_A_PROCESS + OF_A_RUN;
    match descriptors::left() {
        Some(left) if left < needed => Err(PlanError::Descriptors { count, needed, left }),
        _ => Ok(()),
    }
}

/// What is wrong with one process.
enum ProcessError {
    Usage { name: String, source: resolve::UsageError },
    NoTask { name: String, task: String },
}

/// Returns what each process is started with.
fn specs(plan: &Plan, args: &RunFileArgs) -> Result<Vec<ProcessSpec>, ProcessError> {
    let source = SettingSource::RunFile(read::shown(&args.file).into());
    let folder = directory_of(&args.file);
    let mut specs = Vec::new();
    for process in &plan.processes {
        let name = || process.name.clone();
        let mut grants = process.grants.of_source(&source, folder);
        let shared = process.rights.iter().filter_map(|(place, rights)| {
            let object = plan.objects.get(*place)?;
            Some(Sourced::new(SharedObject { spec: object.spec.clone(), rights: *rights }, source.clone()))
        });
        grants.shares = shared.collect();
        let spec = resolve::process(&process.task, &process.limits, grants, &source);
        let spec = spec.map_err(|source| ProcessError::Usage { name: name(), source })?;
        if !fs::metadata(&spec.task).is_ok_and(|found| found.is_file()) {
            let task = ForeignText::of(&spec.task).to_string();
            return Err(ProcessError::NoTask { name: name(), task });
        }
        specs.push(spec);
    }
    Ok(specs)
}

/// Checks that the run writes no file that it reads.
fn check_files(
    args: &RunFileArgs,
    specs: &[ProcessSpec],
    share_out: &Sourced<Option<std::path::PathBuf>>,
) -> Result<(), Stop> {
    let mut read = ReadFiles::default().and_file(&args.file, "the file of the run");
    for spec in specs {
        read = read.and_task(&spec.task);
        if let Some(manifest) = &spec.manifest {
            read = read.and_file(manifest, "a plugin's manifest");
        }
    }
    if let Some(path) = args.share_in.as_deref() {
        read = read.and_file(path, "the file of --share-in");
    }
    read.check_streams()?;
    for (path, option) in [(args.share_in.as_deref(), "--share-in"), (share_out.as_deref(), "--share-out")] {
        if path == Some(Path::new("-")) {
            return Err(Stop::from(format!("{option} is a file, and `-` is none; a file whose name is - is ./-")));
        }
    }
    let directories = specs.iter().flat_map(|spec| spec.grants.directories.iter().map(|one| (**one).clone()));
    let grants = Grants { directories: directories.collect(), ..Grants::default() };
    apart::check_contents(&read, args.share_in.as_deref(), share_out, &grants)?;
    Ok(())
}
