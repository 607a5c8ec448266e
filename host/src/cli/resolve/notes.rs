//! Notes on a run's settings: requests of a plugin that were not granted, and links that were followed.

use std::path::{Path, PathBuf};

use super::PluginTask;
use crate::cli::manifest::{GrantWords, Manifest, NarrowedGrants};
use crate::cli::spec::GrantSpec;
use wasmpool_core::text::{ForeignText, few};
use wasmpool_run::links::{Writable, links_to};
use wasmpool_run::place::{canonical_name, directory_of};

/// Maximum number of requests, or of missing grants, that are listed one by one.
const TOLD: usize = 10;

/// Returns all notes, one line each. `grants` says how the user grants what is missing; with `elsewhere`, directories are those of
/// other machines.
pub fn of(
    plugin: Option<&PluginTask>,
    narrowed: &NarrowedGrants,
    short: &[String],
    grants: fn(&GrantWords) -> String,
    elsewhere: bool,
) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(plugin) = plugin {
        notes.extend(link_to_task(&plugin.named, &plugin.wasm));
        notes.extend(of_plugin(narrowed, short, grants));
    }
    if !elsewhere {
        notes.extend(links_to_grants(&narrowed.grants, plugin.map(|plugin| &plugin.manifest)));
    }
    notes
}

fn of_plugin(narrowed: &NarrowedGrants, short: &[String], grants: fn(&GrantWords) -> String) -> Vec<String> {
    let NarrowedGrants { missing, withheld, partly, .. } = narrowed;
    let mut notes = Vec::new();
    let (shown, more) = few(missing, TOLD);
    // Both texts are escaped already; an option is to be pasted, so it is not cut.
    let goes_without = |(what, words): &(String, GrantWords)| {
        format!("the plugin asks {what}, and goes without; {} grants it", grants(words))
    };
    notes.extend(shown.iter().map(goes_without));
    if more > 0 {
        notes.push(format!("the plugin asks for {more} more things, and goes without; wasmpool inspect tells of them"));
    }
    let (shown, more) = few(partly, TOLD);
    notes.extend(shown.iter().map(|(note, words)| match words {
        Some(words) => format!("{note}; {} grants it", grants(words)),
        None => note.clone(),
    }));
    if more > 0 {
        notes.push(format!("the plugin gets a part of {more} more things that it asks for"));
    }
    let (shown, more) = few(withheld, TOLD);
    let not_given =
        |what: &String| format!("the plugin does not ask for {}, and is not given it", ForeignText::of(what));
    notes.extend(shown.iter().map(not_given));
    if more > 0 {
        notes.push(format!("the plugin does not ask for {more} more things that are given, and does not get them"));
    }
    notes.extend(short.iter().map(|what| format!("the plugin asks for {what}")));
    notes
}

/// Returns a note with the real path of a plugin's task, if links lead there: its author may have made them.
pub fn link_to_task(named: &Path, wasm: &Path) -> Option<String> {
    let directory = if named.is_dir() { named } else { directory_of(named) };
    let leads_on = |link: &PathBuf| Some(link) == canonical_name(directory).as_ref() || is_below(link, directory);
    let (links, real) = (links_to(wasm).ok()?, wasm.canonicalize().ok()?);
    let goes_by_link = links.iter().any(leads_on);
    goes_by_link.then(|| {
        format!("the plugin {} goes by a link: its task is {}", ForeignText::of(named), ForeignText::of(&real))
    })
}

/// Returns notes with the real paths of directories that are granted by a link. A link in a plugin's own directory, or
/// in a directory that is granted for writing, may have been made by a stranger.
fn links_to_grants(grants: &GrantSpec, manifest: Option<&Manifest>) -> Vec<String> {
    let writable = Writable::of(grants.grants().writable());
    let told = grants.directories.iter().filter_map(|directory| {
        let host = &directory.host;
        let in_plugin = |link: &PathBuf| manifest.is_some_and(|manifest| is_below(link, directory_of(&manifest.path)));
        let links = links_to(host).unwrap_or_default();
        let is_link = canonical_name(host).is_some_and(|name| links.contains(&name));
        let to_be_told = is_link || writable.link_to(host).is_some() || links.iter().any(in_plugin);
        let real = to_be_told.then(|| host.canonicalize().ok()).flatten()?;
        let bound = format!("{}::{}", ForeignText::of(host), ForeignText::of(&directory.guest));
        let option = directory.option_name_with("--dir", &bound);
        Some(format!("{option} goes by a link: the task is given {}", ForeignText::of(&real)))
    });
    told.collect()
}

/// Returns true if the link lies in the directory. The link's own path must contain no links.
fn is_below(link: &Path, directory: &Path) -> bool {
    directory.canonicalize().is_ok_and(|directory| link.starts_with(directory))
}
