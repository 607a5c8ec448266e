//! The settings of one process of `wasmpool run`: what the file of the run says, and what a plugin asks for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{PluginTask, UsageError, limits, notes};
use crate::cli::manifest::{FileLimits, GrantWords, NarrowedGrants};
use crate::cli::source::{SettingSource, Sourced};
use crate::cli::spec::{GrantSpec, LimitSpec};
use wasmpool_core::policy::ItemLimits;

/// Time of a process without a limit of time. All that is computed with it has to fit 64 bits of nanoseconds.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What a process is started with.
#[derive(Debug)]
pub struct ProcessSpec {
    /// The path of the task: the one in the manifest, if there is one.
    pub task: PathBuf,
    /// The function that a plugin names.
    pub function: Option<String>,
    /// The manifest of the task, if the task is a plugin.
    pub manifest: Option<PathBuf>,
    pub limits: ItemLimits,
    pub grants: GrantSpec,
    /// Notes on how the settings came about, a line each.
    pub notes: Vec<String>,
}

/// Resolves the settings of a process. Without a limit of time it has none.
pub fn process(
    task: &Path,
    said: &FileLimits,
    grants: GrantSpec,
    source: &SettingSource,
) -> Result<ProcessSpec, UsageError> {
    let plugin = PluginTask::find(task)?;
    let manifest = plugin.as_ref().map(|plugin| &plugin.manifest);
    let usual = ItemLimits::default();
    let mut held = LimitSpec {
        timeout: Sourced::new(said.timeout.unwrap_or(FOR_EVER).min(FOR_EVER), source.clone()),
        memory: Sourced::new(said.memory.unwrap_or(usual.memory).min(limits::MOST_MEMORY), source.clone()),
        fuel: Sourced::new(said.fuel, source.clone()),
        max_output: Sourced::new(said.max_output.unwrap_or(usual.max_output).min(limits::MOST_OUTPUT), source.clone()),
    };
    let short = manifest.map_or_else(Vec::new, |manifest| limits::lower(&mut held, manifest, false));
    let narrowed = match manifest {
        Some(manifest) => manifest.narrow(grants),
        None => NarrowedGrants { grants, ..NarrowedGrants::default() },
    };
    Ok(ProcessSpec {
        notes: notes::of(plugin.as_ref(), &narrowed, &short, GrantWords::to_entry, false),
        function: manifest.and_then(|manifest| manifest.function.clone()),
        manifest: manifest.map(|manifest| manifest.path.clone()),
        task: plugin.as_ref().map_or_else(|| task.to_owned(), |plugin| plugin.wasm.clone()),
        limits: ItemLimits {
            timeout: *held.timeout,
            memory: *held.memory,
            fuel: *held.fuel,
            max_output: *held.max_output,
        },
        grants: narrowed.grants,
    })
}

impl ProcessSpec {
    /// Returns its limit of time, if it has one.
    pub fn timeout(&self) -> Option<Duration> {
        (self.limits.timeout < FOR_EVER).then_some(self.limits.timeout)
    }
}
