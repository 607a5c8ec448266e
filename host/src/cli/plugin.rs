//! What a task gets in the end: the command line and the file of `--policy`, narrowed by the plugin's manifest.

use std::path::{Path, PathBuf};
use wasmpool_run::tell;

use super::args::{CallArgs, Common, Exec, Map};
use super::manifest::{Limits, Manifest, Narrowed, Policy};
use wasmpool_core::text::{Foreign, Word, bytes_said, few};
use wasmpool_run::links::{Writable, links_to};
use wasmpool_run::place::{canonical_name, directory_of};

/// Things that a plugin asks for, or is not given, that are told one by one.
const TOLD: usize = 10;

/// Settles it for `map`: what is said on the command line becomes what holds.
pub fn settle_map(map: &mut Map) -> Result<(), String> {
    take_policy(&mut map.common)?;
    for task in map.tasks() {
        if Manifest::find(&task.file)?.is_some() {
            let (name, file) = (Foreign::of(&task.name), Foreign::of(&task.file));
            return Err(format!(
                "task {name}: {file} is a plugin with a manifest of its own, and several tasks of one run have the same \
                 limits and grants; run it by itself (wasmpool map {})",
                Word::of(&task.file)
            ));
        }
    }
    match &mut map.task {
        Some(task) if map.tasks.is_empty() => take_manifest(&mut map.common, task, Some(&mut map.function))?,
        _ => {}
    }
    tell_links_to_grants(&map.common);
    Ok(())
}

/// The same for `exec`.
pub fn settle_exec(exec: &mut Exec) -> Result<(), String> {
    take_policy(&mut exec.common)?;
    take_manifest(&mut exec.common, &mut exec.task, None)?;
    tell_links_to_grants(&exec.common);
    Ok(())
}

/// The same for `call`.
pub fn settle_call(call: &mut CallArgs) -> Result<(), String> {
    take_policy(&mut call.common)?;
    take_manifest(&mut call.common, &mut call.task, None)?;
    tell_links_to_grants(&call.common);
    Ok(())
}

fn take_policy(common: &mut Common) -> Result<(), String> {
    let Some(path) = &common.policy else {
        return Ok(());
    };
    let policy = Policy::of_file(path)?;
    let Limits { timeout, memory, fuel, max_output } = &policy.limits;
    common.timeout = common.timeout.or(*timeout);
    common.memory = common.memory.or(*memory);
    common.fuel = common.fuel.or(*fuel);
    common.max_output = common.max_output.or(*max_output);
    let grants = policy.grants(common.grants.grants());
    common.grants.set(grants);
    Ok(())
}

fn take_manifest(common: &mut Common, task: &mut PathBuf, function: Option<&mut Option<String>>) -> Result<(), String> {
    let Some((manifest, wasm)) = Manifest::find(task)? else {
        return Ok(());
    };
    common.plugin = Some(manifest.path.clone());
    if !common.verbosity.quiet {
        tell_links_to_task(task, &wasm);
    }
    *task = wasm;
    if let Some(function) = function
        && function.is_none()
    {
        function.clone_from(&manifest.function);
    }
    let short = lower(common, &manifest.limits);
    let Narrowed { grants, missing, withheld } = manifest.narrow(common.grants.grants());
    common.grants.set(grants);
    if common.verbosity.quiet {
        return Ok(());
    }
    let (shown, more) = few(&missing, TOLD);
    for (what, option) in shown {
        // Both were made to be shown, and the option to be pasted, so it is not cut.
        tell!("wasmpool: the plugin asks {what}, and goes without; {option} grants it");
    }
    if more > 0 {
        tell!("wasmpool: the plugin asks for {more} more things, and goes without; wasmpool inspect tells of them");
    }
    let (shown, more) = few(&withheld, TOLD);
    for what in shown {
        tell!("wasmpool: the plugin does not ask for {}, and is not given it", Foreign::of(what));
    }
    if more > 0 {
        tell!("wasmpool: the plugin does not ask for {more} more things that are given, and does not get them");
    }
    for what in short {
        tell!("wasmpool: the plugin asks for {what}");
    }
    Ok(())
}

/// Tells where a plugin's task is in truth, if links lead there: its author may have made them.
fn tell_links_to_task(named: &Path, wasm: &Path) {
    let directory = if named.is_dir() { named } else { directory_of(named) };
    let leads_on = |link: &PathBuf| Some(link) == canonical_name(directory).as_ref() || is_below(link, directory);
    if let (Ok(links), Ok(real)) = (links_to(wasm), wasm.canonicalize())
        && links.iter().any(leads_on)
    {
        tell!("wasmpool: the plugin {} goes by a link: its task is {}", Foreign::of(named), Foreign::of(&real));
    }
}

/// Tells what a task is given in truth, where a directory is granted by a link: that of a plugin's own directory, and one in
/// a directory that is granted for writing, may be a stranger's.
fn tell_links_to_grants(common: &Common) {
    if common.verbosity.quiet {
        return;
    }
    let directories = common.grants.grants().directories;
    let writable = Writable::of(&directories);
    for directory in &directories {
        let host = &directory.host;
        let in_plugin =
            |link: &PathBuf| common.plugin.as_deref().is_some_and(|path| is_below(link, directory_of(path)));
        let links = links_to(host).unwrap_or_default();
        let is_link = canonical_name(host).is_some_and(|name| links.contains(&name));
        if (is_link || writable.link_to(host).is_some() || links.iter().any(in_plugin))
            && let Ok(real) = host.canonicalize()
        {
            tell!(
                "wasmpool: --dir {}::{} goes by a link: the task is given {}",
                Foreign::of(host),
                Foreign::of(&directory.guest),
                Foreign::of(&real)
            );
        }
    }
}

/// Whether a link, whose own path has none, lies in a directory.
fn is_below(link: &Path, directory: &Path) -> bool {
    directory.canonicalize().is_ok_and(|directory| link.starts_with(directory))
}

/// Takes the smaller of each limit, and says which the plugin wants larger.
fn lower(common: &mut Common, asked: &Limits) -> Vec<String> {
    let held = common.limits();
    let mut short = Vec::new();
    let mut more = |what: String, had: String, option: &str| {
        short.push(format!("{what}, and has {had}; {option} gives it more"));
    };
    // Fuel stands in for time there.
    if let Some(timeout) = asked.timeout.filter(|_| !common.deterministic) {
        if timeout > held.timeout {
            let said = |time| humantime::format_duration(time).to_string();
            more(format!("{} for each item", said(timeout)), said(held.timeout), "--timeout");
        }
        common.timeout = Some(timeout.min(held.timeout));
    }
    if let Some(memory) = asked.memory {
        if memory > held.memory {
            more(format!("{} of memory", bytes_said(memory)), bytes_said(held.memory), "--memory");
        }
        common.memory = Some(memory.min(held.memory));
    }
    if let Some(fuel) = asked.fuel {
        if let Some(had) = held.fuel.filter(|had| fuel > *had) {
            more(format!("{fuel} instructions for each item"), had.to_string(), "--fuel");
        }
        common.fuel = Some(held.fuel.map_or(fuel, |had| had.min(fuel)));
    }
    if let Some(bytes) = asked.max_output {
        if bytes > held.max_output {
            more(format!("results of {}", bytes_said(bytes)), bytes_said(held.max_output), "--max-output");
        }
        common.max_output = Some(bytes.min(held.max_output));
    }
    short
}
