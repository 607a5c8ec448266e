//! Makes one [`RunSpec`] of everything that configures a run: the command line and the environment, the file of
//! `--policy`, and the manifest of a plugin. Nothing changes it afterwards, and every value knows its source.

mod conflicts;
mod error;
mod format;
mod limits;
mod notes;
mod process;
mod streams;
#[cfg(test)]
mod tests;
mod without_effect;

use std::path::{Path, PathBuf};

use super::args;
use super::manifest::{GrantWords, Manifest, NarrowedGrants, Policy};
use super::share::SharedOption;
use super::source::{ArgOrigins, SettingSource, Sourced};
use super::units::RepeatedOption;
pub use conflicts::of_columns;
pub use error::UsageError;
pub use notes::link_to_task;
pub use process::{ProcessSpec, process};
use streams::Readers;

use super::spec::{CommandSpec, FunctionSpec, GrantSpec, ManyItems, OneItem, RunSpec, TaskSpecs, WorkSpec};

/// Takes a member of parsed options, with its source; the parser knows the option by the name of the member.
macro_rules! sourced {
    ($from:expr, $args:ident.$member:ident) => {
        $from.of(stringify!($member), $args.$member.clone())
    };
}

/// The files that configure a run, besides the command line.
#[derive(Debug, Default)]
pub struct ConfigFiles {
    pub policy: Option<Policy>,
    pub plugin: Option<PluginTask>,
}

/// A task that has a manifest.
#[derive(Debug)]
pub struct PluginTask {
    /// The path that the user gave.
    pub named: PathBuf,
    /// The path of the task according to the manifest.
    pub wasm: PathBuf,
    pub manifest: Manifest,
}

impl ConfigFiles {
    /// Reads the policy and the manifest, once it is known that no two of the readers want standard input.
    fn read(
        common: &args::RunArgs,
        task: Option<&Path>,
        readers: Readers<'_>,
        from: ArgOrigins<'_>,
    ) -> Result<ConfigFiles, UsageError> {
        streams::of_file(&sourced!(from, common.policy), "--policy", "a policy is read from a file")?;
        readers.and_policy(common.policy.as_deref()).check()?;
        let policy = common.policy.as_deref().map(Policy::of_file).transpose()?;
        let plugin = task.map(PluginTask::find).transpose()?.flatten();
        Ok(ConfigFiles { policy, plugin })
    }

    /// Returns the path of the task: the one in the manifest, if there is one.
    fn task(&self, named: &Path) -> PathBuf {
        self.plugin.as_ref().map_or_else(|| named.to_owned(), |plugin| plugin.wasm.clone())
    }

    fn manifest(&self) -> Option<&Manifest> {
        self.plugin.as_ref().map(|plugin| &plugin.manifest)
    }
}

impl PluginTask {
    /// Returns the plugin that a task's path leads to, if there is one.
    fn find(named: &Path) -> Result<Option<PluginTask>, UsageError> {
        let found = Manifest::find(named)?;
        Ok(found.map(|(manifest, wasm)| PluginTask { named: named.to_owned(), wasm, manifest }))
    }
}

/// Resolves the options of `map`.
pub fn map(map: &args::MapArgs, from: ArgOrigins<'_>) -> Result<RunSpec, UsageError> {
    let task = map.task.as_deref().filter(|_| map.tasks.is_empty());
    let readers = match task {
        Some(task) => Readers::of(task).and_input(map.input.iter()),
        None => Readers::of_several(map.tasks.iter().flatten()).and_input(map.task.iter().chain(&map.input)),
    };
    let files = ConfigFiles::read(&map.common, task, readers, from)?;
    for task in map.tasks.iter().flatten() {
        if PluginTask::find(&task.file)?.is_some() {
            return Err(UsageError::PluginAmongSeveral { name: task.name.clone(), file: task.file.clone() });
        }
    }
    resolve_map(map, from, files)
}

fn resolve_map(map: &args::MapArgs, from: ArgOrigins<'_>, files: ConfigFiles) -> Result<RunSpec, UsageError> {
    let several = !map.tasks.is_empty();
    let tasks = match &map.task {
        Some(task) if !several => TaskSpecs::One(files.task(task)),
        _ => TaskSpecs::Several(all(from.of("tasks", &map.tasks))),
    };
    let input = map.task.iter().filter(|_| several).chain(&map.input).cloned().collect();
    let output_format = sourced!(from, map.output_format);
    let output_format = output_format.map(|format| match format {
        Some(format) => format,
        None if several => args::OutputFormat::Records,
        None => args::OutputFormat::Values,
    });
    let set_aside = sourced!(from, map.set_aside);
    let work = WorkSpec::Function(FunctionSpec {
        function: function(sourced!(from, map.function), &files),
        batch: sourced!(from, map.batch),
        flatten: sourced!(from, map.flatten),
        ..calling(&map.calling, from)
    });
    let items = ManyItems {
        set_aside,
        ..many_items(&map.items, tasks, input, output_format, sourced!(from, map.delimiter), from)?
    };
    let elsewhere = items.over_hosts();
    let spec = resolve(&map.common, from, &files, work, items, elsewhere)?;
    conflicts::of_many_items(&spec)?;
    streams::of_many_items(&spec.items)?;
    Ok(spec)
}

/// Resolves the options of `exec`.
pub fn exec(exec: &args::ExecArgs, from: ArgOrigins<'_>) -> Result<RunSpec, UsageError> {
    let readers = Readers::of(&exec.task).and_input(exec.input.iter());
    let files = ConfigFiles::read(&exec.common, Some(&exec.task), readers, from)?;
    resolve_exec(exec, from, files)
}

fn resolve_exec(exec: &args::ExecArgs, from: ArgOrigins<'_>, files: ConfigFiles) -> Result<RunSpec, UsageError> {
    let task = files.task(&exec.task);
    let name = task.file_name().map_or_else(|| "-".into(), |name| name.to_string_lossy()).into_owned();
    let work = WorkSpec::Command(CommandSpec {
        arguments: std::iter::once(name).chain(exec.arguments.iter().cloned()).collect(),
        replace: sourced!(from, exec.replace),
        replace_index: sourced!(from, exec.replace_index),
        ok_codes: sourced!(from, exec.ok_codes).map(|codes| codes.into_iter().collect()),
    });
    let delimiter = sourced!(from, exec.delimiter).map(|delimiter| match delimiter {
        Some(delimiter) => delimiter,
        // The output holds paths, which are separated by newlines.
        None if exec.items.results.is_some() => args::Delimiter::Newline,
        None => args::Delimiter::None,
    });
    let items = many_items(
        &exec.items,
        TaskSpecs::One(task),
        exec.input.clone(),
        sourced!(from, exec.output_format),
        delimiter,
        from,
    )?;
    let elsewhere = items.over_hosts();
    let spec = resolve(&exec.common, from, &files, work, items, elsewhere)?;
    conflicts::of_many_items(&spec)?;
    streams::of_many_items(&spec.items)?;
    Ok(spec)
}

/// Resolves the options of `call`.
pub fn call(call: &args::CallArgs, from: ArgOrigins<'_>) -> Result<RunSpec<OneItem>, UsageError> {
    let files = ConfigFiles::read(&call.common, Some(&call.task), Readers::of(&call.task), from)?;
    let work = WorkSpec::Function(FunctionSpec {
        function: sourced!(from, call.function).map(Some),
        ..calling(&call.calling, from)
    });
    // A worker knows which of them are texts.
    let item = serde_json::Value::from(call.arguments.clone()).to_string();
    let task = files.task(&call.task);
    let items = OneItem { task, item, arguments: call.arguments.len() };
    let spec = resolve(&call.common, from, &files, work, items, false)?;
    conflicts::of_determinism(&spec)?;
    conflicts::of_shares(&spec)?;
    conflicts::of_served_here(&spec)?;
    Ok(spec)
}

/// Resolves the options that all commands share, and adds what was resolved for one of them. `elsewhere` says that tasks run on
/// other machines, whose directories are granted.
fn resolve<I>(
    common: &args::RunArgs,
    from: ArgOrigins<'_>,
    files: &ConfigFiles,
    work: WorkSpec,
    items: I,
    elsewhere: bool,
) -> Result<RunSpec<I>, UsageError> {
    let (policy, manifest) = (files.policy.as_ref(), files.manifest());
    let deterministic = sourced!(from, common.deterministic);
    let (limits, short) = limits::limits(&common.limits, from, &deterministic, policy, manifest)?;
    let said = said_grants(&common.grants, from);
    let grants = &common.grants;
    let share_in = sourced!(from, grants.share_in);
    let share_out = sourced!(from, grants.share_out);
    streams::of_file(&share_in, "--share-in", "the shared objects are filled from a file")?;
    streams::of_file(&share_out, "--share-out", "what the shared objects hold is written to a file")?;
    let given = match policy {
        Some(policy) => policy.grants(said),
        None => said,
    };
    let narrowed = match manifest {
        Some(manifest) => manifest.narrow(given),
        None => NarrowedGrants { grants: given, ..NarrowedGrants::default() },
    };
    let notes = match common.verbosity.quiet {
        true => Vec::new(),
        false => notes::of(files.plugin.as_ref(), &narrowed, &short, GrantWords::to_option, elsewhere),
    };
    Ok(RunSpec {
        work,
        deterministic,
        limits,
        grants: narrowed.grants,
        items,
        share_in,
        share_out,
        sandbox: from.of("mode", common.sandbox.mode),
        verbosity: common.verbosity,
        policy: common.policy.clone(),
        plugin: manifest.map(|manifest| manifest.path.clone()),
        notes,
    })
}

/// Returns the function that the user named, or else the one that the plugin names.
fn function(said: Sourced<Option<String>>, files: &ConfigFiles) -> Sourced<Option<String>> {
    let of_plugin = files.manifest().filter(|_| said.is_none());
    match of_plugin.and_then(|manifest| Some((manifest.function.clone()?, manifest))) {
        Some((name, manifest)) => Sourced::new(Some(name), SettingSource::Manifest(manifest.path.as_path().into())),
        None => said,
    }
}

/// Returns how the function is called; its name is filled in later.
fn calling(calling: &args::FunctionArgs, from: ArgOrigins<'_>) -> FunctionSpec {
    FunctionSpec {
        function: Sourced::default_of(None),
        arg: all(from.of("arg", &calling.arg)),
        init: sourced!(from, calling.init),
        batch: Sourced::default_of(false),
        flatten: Sourced::default_of(false),
        isolate: sourced!(from, calling.isolate),
    }
}

fn said_grants(grants: &args::GrantArgs, from: ArgOrigins<'_>) -> GrantSpec {
    let shares = each(from.of("shares", &grants.shares));
    let own = |share: &Sourced<SharedOption>| match &**share {
        SharedOption::Own(object) => Some(Sourced::new(object.clone(), share.source.clone())),
        SharedOption::Served(_) => None,
    };
    let served = |share: &Sourced<SharedOption>| match &**share {
        SharedOption::Served(object) => Some(Sourced::new(object.clone(), share.source.clone())),
        SharedOption::Own(_) => None,
    };
    GrantSpec {
        env: each(from.of("env", &grants.env)),
        directories: each(from.of("directories", &grants.directories)),
        peers: each(from.of("peers", &grants.peers)),
        scratch: sourced!(from, grants.scratch).given(),
        shares: shares.iter().filter_map(own).collect(),
        served: shares.iter().filter_map(served).collect(),
    }
}

fn many_items(
    items: &args::ItemArgs,
    tasks: TaskSpecs,
    input: Vec<PathBuf>,
    output_format: Sourced<args::OutputFormat>,
    delimiter: Sourced<args::Delimiter>,
    from: ArgOrigins<'_>,
) -> Result<ManyItems, UsageError> {
    #[cfg(feature = "hosts")]
    let broker = &items.broker;
    Ok(ManyItems {
        input_format: format::of_input(sourced!(from, items.input_format), &input)?,
        tasks,
        input,
        csv_delimiter: sourced!(from, items.csv_delimiter),
        no_header: sourced!(from, items.no_header),
        null: sourced!(from, items.null),
        keep: sourced!(from, items.keep),
        output_format,
        delimiter,
        unordered: sourced!(from, items.unordered),
        first: sourced!(from, items.first),
        dry_run: sourced!(from, items.dry_run),
        workers: sourced!(from, items.workers),
        #[cfg(feature = "hosts")]
        via: sourced!(from, items.via),
        #[cfg(feature = "hosts")]
        tls_ca: sourced!(from, broker.tls_ca),
        #[cfg(feature = "hosts")]
        creds: sourced!(from, broker.creds),
        #[cfg(feature = "hosts")]
        nkey: sourced!(from, broker.nkey),
        #[cfg(feature = "hosts")]
        speculate: sourced!(from, items.speculate),
        #[cfg(feature = "hosts")]
        check: sourced!(from, items.check),
        #[cfg(feature = "hosts")]
        via_storage: sourced!(from, items.via_storage),
        chunk_size: sourced!(from, items.chunk_size),
        max_items_per_worker: sourced!(from, items.max_items_per_worker),
        retries: sourced!(from, items.retries),
        retry_on: sourced!(from, items.retry_on),
        halt: sourced!(from, items.halt).map(|halt| halt.0),
        set_aside: Sourced::default_of(None),
        output: sourced!(from, items.output),
        failed: sourced!(from, items.failed),
        journal: sourced!(from, items.journal),
        resume: sourced!(from, items.resume),
        results: sourced!(from, items.results),
        report: each(from.of("report", &items.report)),
        trace: sourced!(from, items.trace),
        results_name: sourced!(from, items.results_name),
        progress: sourced!(from, items.progress),
    })
}

/// Returns the values of all uses of an option.
fn all<T: Clone>(uses: Sourced<&Vec<RepeatedOption<T>>>) -> Sourced<Vec<T>> {
    uses.map(|uses| uses.iter().flatten().cloned().collect())
}

/// Returns the values of all uses of an option, each with its source.
fn each<T: Clone>(uses: Sourced<&Vec<RepeatedOption<T>>>) -> Vec<Sourced<T>> {
    let values = uses.iter().flatten();
    values.map(|value| Sourced::new(value.clone(), uses.source.clone())).collect()
}
