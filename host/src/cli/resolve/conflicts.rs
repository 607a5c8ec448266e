//! Options that cannot be used together, named in the words of their sources.

use std::collections::BTreeSet;

use super::{UsageError, without_effect};
#[cfg(feature = "hosts")]
use crate::cli::args::ViaStorage;
use crate::cli::args::{InputFormat, OutputFormat};
use crate::cli::share::ServedObject;
#[cfg(feature = "hosts")]
use crate::cli::source::SettingSource;
use crate::cli::source::{OptionName, Sourced};
use crate::cli::spec::{ManyItems, RunSpec, TaskSpecs, WorkSpec};
use crate::cli::task_file::is_task;
use crate::cli::units::NamedTask;
use wasmpool_core::policy::{CsvColumns, Isolate};
use wasmpool_core::share::MOST_OBJECTS;
use wasmpool_core::text::{QuotedName, ShellWord};
#[cfg(feature = "hosts")]
use wasmpool_run::grants::DirectoryGrant;
use wasmpool_run::output::{NameTemplate, VALUE};
use wasmpool_scheduler::ChunkSize;

/// Maximum number of columns that a message lists.
const LISTED: usize = 30;

/// Returns an error for options that a run of many items cannot have together.
pub fn of_many_items(spec: &RunSpec) -> Result<(), UsageError> {
    of_determinism(spec)?;
    of_deterministic_items(spec)?;
    of_shares(spec)?;
    of_shares_and_journal(spec)?;
    match &spec.items.tasks {
        TaskSpecs::Several(tasks) => of_several_tasks(spec, tasks)?,
        TaskSpecs::One(_) if spec.items.set_aside.is_some() => {
            let set_aside = spec.items.set_aside.option_name("--set-aside").to_string();
            return Err(UsageError::SetAsideAlone { set_aside });
        }
        TaskSpecs::One(_) => {}
    }
    of_items(spec)?;
    without_effect::of_many_items(spec)?;
    #[cfg(feature = "hosts")]
    of_hosts(spec)?;
    #[cfg(not(feature = "hosts"))]
    of_served_here(spec)?;
    match &spec.work {
        WorkSpec::Command(command) if *command.replace == *command.replace_index => Err(UsageError::SamePlaces {
            replace: command.replace.option_name("--replace").to_string(),
            replace_index: command.replace_index.option_name("--replace-index").to_string(),
        }),
        _ => Ok(()),
    }
}

/// Returns an error for options that contradict `--deterministic`, whatever the command. A time limit is refused where
/// limits are resolved.
pub fn of_determinism<I>(spec: &RunSpec<I>) -> Result<(), UsageError> {
    if !*spec.deterministic {
        return Ok(());
    }
    let refuse = |option, why| Err(undetermined(option, &spec.deterministic, why));
    if let Some(peer) = spec.grants.peers.first() {
        return refuse(peer.option_name("--allow-net"), "nobody knows what a peer will answer");
    }
    if let Some(share) = spec.grants.shares.first() {
        return refuse(share.option_name("--share"), "what an item finds in a shared object depends on timing");
    }
    if let Some(share) = spec.grants.served.first() {
        return refuse(share.option_name("--share"), "what an item finds in a shared object depends on timing");
    }
    if let WorkSpec::Function(function) = &spec.work {
        let value = match *function.isolate {
            Isolate::Item => return Ok(()),
            Isolate::Chunk => "chunk",
            Isolate::Worker => "worker",
        };
        return refuse(
            function.isolate.option_name_with("--isolate", value),
            "which items share an instance depends on timing",
        );
    }
    Ok(())
}

/// Returns an error for shared objects that cannot exist together, or for their files without objects.
pub fn of_shares<I>(spec: &RunSpec<I>) -> Result<(), UsageError> {
    let shares = &spec.grants.shares;
    let mut names = BTreeSet::new();
    if let Some(twice) = shares.iter().find(|share| !names.insert(&share.spec.name)) {
        return Err(UsageError::ShareTwice {
            name: twice.spec.name.clone(),
            share: twice.option_name("--share").to_string(),
        });
    }
    if let Some(beyond) = shares.get(MOST_OBJECTS) {
        return Err(UsageError::TooManyShares { share: beyond.option_name("--share").to_string() });
    }
    of_servers(spec)?;
    for (path, option) in [(&spec.share_in, "--share-in"), (&spec.share_out, "--share-out")] {
        if let (true, Some(served)) = (path.is_some(), spec.grants.served.first()) {
            return Err(UsageError::ContentsOfServer {
                option: path.option_name(option).to_string(),
                server: served.server.clone(),
            });
        }
        if path.is_some() && shares.is_empty() {
            return Err(UsageError::NothingShared { option: path.option_name(option).to_string() });
        }
    }
    Ok(())
}

/// Returns an error for objects of a server that a run cannot have together with others.
fn of_servers<I>(spec: &RunSpec<I>) -> Result<(), UsageError> {
    let served = &spec.grants.served;
    let Some(first) = served.first() else { return Ok(()) };
    let said = |share: &Sourced<ServedObject>| share.option_name_with("--share", &share.to_string()).to_string();
    if let Some(own) = spec.grants.shares.first() {
        let own = own.option_name_with("--share", &own.to_string()).to_string();
        return Err(UsageError::OwnAndServed { own, served: said(first), server: first.server.clone() });
    }
    if let Some(other) = served.iter().find(|share| share.server != first.server) {
        return Err(UsageError::TwoServers { one: said(first), other: said(other) });
    }
    let mut names = BTreeSet::new();
    match served.iter().find(|share| !names.insert(&share.name)) {
        Some(twice) => Err(UsageError::ServedTwice { name: twice.name.clone(), server: twice.server.clone() }),
        None => Ok(()),
    }
}

/// Returns an error for objects of a server in a run on this machine.
pub fn of_served_here<I>(spec: &RunSpec<I>) -> Result<(), UsageError> {
    match spec.grants.served.first() {
        Some(share) => {
            let server = share.server.clone();
            let share = share.option_name_with("--share", &share.to_string()).to_string();
            Err(UsageError::ServedHere { share, server })
        }
        None => Ok(()),
    }
}

/// Returns an error for shared objects in a run with a journal. What items did to them before a kill is gone with the
/// run, while the journal would not have these items run again.
fn of_shares_and_journal(spec: &RunSpec) -> Result<(), UsageError> {
    let items = &spec.items;
    match spec.grants.shares.first() {
        Some(share) if items.journal.is_some() => Err(UsageError::JournalOfShares {
            share: share.option_name("--share").to_string(),
            journal: items.journal.option_name("--journal").to_string(),
        }),
        None if items.journal.is_some() => spec.grants.served.first().map_or(Ok(()), |share| {
            Err(UsageError::JournalOfServed {
                share: share.option_name("--share").to_string(),
                journal: items.journal.option_name("--journal").to_string(),
            })
        }),
        _ => Ok(()),
    }
}

fn of_deterministic_items(spec: &RunSpec) -> Result<(), UsageError> {
    if !*spec.deterministic {
        return Ok(());
    }
    let refuse = |option, why| Err(undetermined(option, &spec.deterministic, why));
    let items = &spec.items;
    if *items.unordered {
        return refuse(items.unordered.option_name("--unordered"), "which item is done first depends on timing");
    }
    if items.halt.is_some() {
        return refuse(items.halt.option_name("--halt"), "how far a run gets until it is ended depends on timing");
    }
    if items.set_aside.is_some() {
        return refuse(
            items.set_aside.option_name("--set-aside"),
            "how far a task gets until it is ended depends on timing",
        );
    }
    match &spec.work {
        WorkSpec::Function(function) if *function.batch => {
            of_deterministic_batch(items, &function.batch, &spec.deterministic)
        }
        _ => Ok(()),
    }
}

fn of_deterministic_batch(
    items: &ManyItems,
    batch: &Sourced<bool>,
    deterministic: &Sourced<bool>,
) -> Result<(), UsageError> {
    let batch = batch.option_name("--batch").to_string();
    let deterministic = deterministic.option_name("--deterministic").to_string();
    if !matches!(*items.chunk_size, ChunkSize::Fixed(_)) {
        return Err(UsageError::UndeterminedBatch { batch, deterministic });
    }
    let cut_short = (items.max_items_per_worker.is_some())
        .then(|| items.max_items_per_worker.option_name("--max-items-per-worker"))
        .or_else(|| items.journal.is_some().then(|| items.journal.option_name("--journal")));
    match cut_short {
        Some(by) => Err(UsageError::UndeterminedChunks { batch, by: by.to_string(), deterministic }),
        None => Ok(()),
    }
}

/// Returns the error for an option that contradicts `--deterministic`.
pub fn undetermined(option: OptionName<'_>, deterministic: &Sourced<bool>, why: &'static str) -> UsageError {
    let deterministic = deterministic.option_name("--deterministic").to_string();
    UsageError::Undetermined { option: option.to_string(), deterministic, why }
}

/// Returns an error for options that make no sense with several tasks, or that such a run does not support.
fn of_several_tasks(spec: &RunSpec, tasks: &Sourced<Vec<NamedTask>>) -> Result<(), UsageError> {
    let mut names = BTreeSet::new();
    if let Some(twice) = tasks.iter().find(|task| !names.insert(&task.name)) {
        let (name, task) = (twice.name.clone(), tasks.option_name("--task").to_string());
        return Err(UsageError::NameTwice { name, task });
    }
    let items = &spec.items;
    if let Some(file) = items.input.iter().find(|input| is_task(input)) {
        let (task, advice) = (tasks.option_name("--task").to_string(), ShellWord::of(file).to_string());
        return Err(UsageError::NamelessTask { file: file.clone(), task, advice });
    }
    let alone = |said: OptionName<'_>, option, why| Err(UsageError::ForOneTask { said: said.to_string(), option, why });
    let with_journal = "run each task by itself, with a journal and an output of its own";
    if items.journal.is_some() {
        return alone(items.journal.option_name("--journal"), "--journal", with_journal);
    }
    if *items.resume {
        return alone(items.resume.option_name("--resume"), "--journal", with_journal);
    }
    if items.results.is_some() {
        let why = "run each task by itself, with a directory of its own";
        return alone(items.results.option_name("--results"), "--results", why);
    }
    if items.failed.is_some() {
        let why = "run the task whose failed items are wanted by itself";
        return alone(items.failed.option_name("--failed"), "--failed", why);
    }
    Ok(())
}

/// Returns an error for options of input and output that make no sense together.
fn of_items(spec: &RunSpec) -> Result<(), UsageError> {
    let items = &spec.items;
    if *items.resume && items.journal.is_none() {
        return Err(UsageError::ResumeOfNothing { resume: items.resume.option_name("--resume").to_string() });
    }
    if items.results.is_some() {
        let results = items.results.option_name("--results").to_string();
        if let WorkSpec::Function(function) = &spec.work
            && *function.flatten
        {
            let flatten = function.flatten.option_name("--flatten").to_string();
            return Err(UsageError::FlattenedResults { results, flatten });
        }
        let has_members = matches!(*items.input_format, InputFormat::Csv | InputFormat::Jsonl | InputFormat::Json);
        let mut members = items.results_name.iter().flat_map(NameTemplate::members);
        if let (false, Some(member)) = (has_members, members.next()) {
            let name = items.results_name.option_name("--results-name").to_string();
            return Err(UsageError::NameOfNoMember { name, member: member.clone() });
        }
    } else if items.results_name.is_some() {
        return Err(UsageError::NameOfNoResults { name: items.results_name.option_name("--results-name").to_string() });
    }
    if *items.input_format != InputFormat::Csv {
        let other = items.csv_delimiter.is_some_and(|delimiter| delimiter != b',');
        let delimiter = other.then(|| items.csv_delimiter.option_name("--csv-delimiter"));
        if let Some(option) = delimiter.or_else(|| items.no_header.then(|| items.no_header.option_name("--no-header")))
        {
            return Err(UsageError::OnlyOfCsv { option: option.to_string() });
        }
    }
    if *items.null && *items.input_format != InputFormat::Files {
        return Err(UsageError::OnlyOfFiles { option: items.null.option_name("--null").to_string() });
    }
    of_kept_columns(items)
}

/// Returns an error for columns that are kept and cannot be.
fn of_kept_columns(items: &ManyItems) -> Result<(), UsageError> {
    let names = &items.keep;
    let keep = names.option_name("--keep").to_string();
    if names.is_empty() {
        return Ok(());
    }
    if !matches!(*items.input_format, InputFormat::Csv | InputFormat::Jsonl | InputFormat::Json) {
        return Err(UsageError::KeepOfNoColumns { keep });
    }
    if *items.output_format == OutputFormat::Raw {
        return Err(UsageError::KeepInRaw { keep });
    }
    if let Some((_, name)) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
        return Err(UsageError::KeepTwice { keep, name: name.clone() });
    }
    if let Some(name) = names.iter().find(|name| *name == VALUE && *items.output_format == OutputFormat::Values) {
        return Err(UsageError::KeepLikeResult { keep, name: name.clone() });
    }
    match names.iter().find(|name| *items.no_header && !name.parse::<usize>().is_ok_and(|number| number > 0)) {
        Some(name) => {
            let no_header = items.no_header.option_name("--no-header").to_string();
            Err(UsageError::KeepByName { keep, name: name.clone(), no_header })
        }
        None => Ok(()),
    }
}

/// Returns an error for columns that are kept, or that name results, and that a file of CSV with these columns does not have.
pub fn of_columns(items: &ManyItems, columns: &[(String, CsvColumns)]) -> Result<(), UsageError> {
    for (file, columns) in columns {
        let keep = items.keep.option_name("--keep").to_string();
        let times = |name: &String| match columns {
            CsvColumns::Named(names) => names.iter().filter(|there| *there == name).count(),
            CsvColumns::Counted(count) => usize::from(name.parse::<usize>().is_ok_and(|number| number <= *count)),
        };
        let lacking = |mut missing: Vec<&String>, said: String| {
            missing.retain(|name| times(name) == 0);
            if missing.is_empty() {
                return Ok(());
            }
            let found = match columns {
                CsvColumns::Named(names) => listed(names.iter()),
                CsvColumns::Counted(count) => format!("{count} in each row"),
            };
            let columns = format!("{}; it has {found}", listed(missing.into_iter()));
            Err(UsageError::ColumnsMissing { file: file.clone(), said, columns })
        };
        lacking(items.keep.iter().collect(), keep.clone())?;
        if let Some(names) = &*items.results_name {
            let shown = names.to_string();
            let said = items.results_name.option_name_with("--results-name", &shown).to_string();
            lacking(names.members().collect(), said)?;
        }
        if let Some(name) = items.keep.iter().find(|name| times(name) > 1) {
            return Err(UsageError::KeptAmbiguous { file: file.clone(), keep, name: name.clone() });
        }
    }
    Ok(())
}

/// Lists names, or the first of them.
fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let mut names: Vec<String> = names.take(LISTED + 1).map(|name| QuotedName::of(name).to_string()).collect();
    if names.len() > LISTED {
        names.truncate(LISTED);
        names.push("…".to_owned());
    }
    names.join(", ")
}

/// Returns an error for options that a run over many machines does not support.
#[cfg(feature = "hosts")]
fn of_hosts(spec: &RunSpec) -> Result<(), UsageError> {
    let items = &spec.items;
    let via = items.via.option_name("--via").to_string();
    if items.via.is_none() {
        of_served_here(spec)?;
        let said = [("--tls-ca", &items.tls_ca), ("--creds", &items.creds), ("--nkey", &items.nkey)]
            .into_iter()
            // The environment may have them for other runs.
            .find(|(_, file)| file.is_some() && file.source == SettingSource::CommandLine)
            .map(|(option, file)| file.option_name(option).to_string());
        let said = said.or_else(|| items.check.is_some().then(|| items.check.option_name("--check").to_string()));
        let storage = &items.via_storage;
        let said = said.or_else(|| {
            let stored = **storage == ViaStorage::File && storage.source == SettingSource::CommandLine;
            stored.then(|| storage.option_name("--via-storage").to_string())
        });
        return said.map_or(Ok(()), |option| Err(UsageError::WithoutVia { option }));
    }
    if items.check.is_some() && !*spec.deterministic {
        return Err(UsageError::CheckedByChance { check: items.check.option_name("--check").to_string() });
    }
    let absolute = |directory: &DirectoryGrant| directory.host.is_absolute() && directory.host.to_str().is_some();
    if let Some(directory) = spec.grants.directories.iter().find(|directory| !absolute(directory)) {
        return Err(UsageError::RelativeOnHosts { directory: directory.option_name("--dir").to_string(), via });
    }
    let refused = [(spec.sandbox.source != SettingSource::Default)
        .then(|| (spec.sandbox.option_name("--sandbox"), "each host has a sandbox of its own choice"))];
    match refused.into_iter().flatten().next() {
        Some((option, why)) => Err(UsageError::NotOverHosts { option: option.to_string(), via, why }),
        None => Ok(()),
    }
}
