//! `wasmpool inspect` and `wasmpool compile`.

use std::path::{Path, PathBuf};
use wasmpool_run::tell;

use super::apart::ReadFiles;
use super::args::TaskArgs;
use super::compiling::CompilingNotice;
use super::exit::{Exit, Stop};
use super::manifest::{Manifest, ManifestError};
use super::resolve::link_to_task;
use wasmpool_core::artifact::{EngineProfile, ExportLine, InitOnce, Renewal, TaskFormat};
use wasmpool_core::text::{ForeignText, MessageLines, QuotedName, bytes_said, few, shown};
use wasmpool_run::cgroup::{HostPlacement, Room, Workers};
use wasmpool_run::compile::{self, ArtifactCache, ArtifactKey, PreparedTask, Wasm};
use wasmpool_run::error::{Error, with_sources};
use wasmpool_run::spawn::ChildProgram;

/// Maximum number of lines in a list, and of characters in each.
const LISTED: usize = 1000;
const LONGEST: usize = 2500;

pub fn inspect(args: &TaskArgs) -> Result<Exit, Stop> {
    let (wasm, manifest) = locate(args)?;
    ReadFiles::of_plugin(manifest.as_ref().map(|manifest| manifest.path.as_path())).and_task(&wasm).check_streams()?;
    let prepared = prepare(args, &wasm, &ArtifactCache::of_user())?;
    let meta = &prepared.meta;
    let mut out = String::new();
    out += &format!("task: {}\n", ForeignText::of(&wasm));
    out += match meta.format {
        TaskFormat::Component => "kind: component\n",
        TaskFormat::Core => "kind: core module\n",
    };
    let (users, others): (Vec<&ExportLine>, Vec<&ExportLine>) = meta.description.exports.iter().partition(|e| e.users);
    section(&mut out, "functions", &users.iter().map(|e| line(e)).collect::<Vec<_>>());
    if let Some(command) = &meta.description.command {
        out += &format!("command: {}, which wasmpool exec runs\n", shown(command));
    }
    section(&mut out, "other exports", &others.iter().map(|e| line(e)).collect::<Vec<_>>());
    section(&mut out, "imports", &meta.description.imports);
    if meta.description.left_out > 0 {
        out += &format!("and {} more exports and imports\n", meta.description.left_out);
    }
    match &meta.description.init {
        Some(InitOnce::EachTime(why)) => out += &format!("init: runs in each instance ({})\n", ForeignText::of(why)),
        Some(_) => out += "init: runs once, then each instance starts from a snapshot\n",
        None => {}
    }
    match &meta.renewal {
        Renewal::InPlace { .. } => out += "pristine memory: an instance is restored after an item, where possible\n",
        Renewal::Anew(why) => {
            out += &format!("pristine memory: each item gets a new instance ({})\n", ForeignText::of(why))
        }
    }
    if let Some(needs) = meta.needs {
        out += &format!("memory at start: {}\n", bytes_said(needs.initial_memory));
    }
    // Printed last, so that no text of the task's author can push it off the screen.
    if let Some(manifest) = &manifest {
        if let Some(function) = &manifest.function {
            out += &format!("function of the plugin: {}\n", QuotedName::of(function));
        }
        section(&mut out, "what the plugin asks for", &manifest.sentences());
    }
    super::print(&out).map_err(|e| format!("cannot write the description: {e}").into())
}

/// Returns the task's file, and the manifest that names it. Reports where links lead.
fn locate(args: &TaskArgs) -> Result<(PathBuf, Option<Manifest>), ManifestError> {
    Ok(match Manifest::find(&args.task)? {
        Some((manifest, wasm)) => {
            if let Some(note) = link_to_task(&args.task, &wasm).filter(|_| !args.verbosity.quiet) {
                tell!("wasmpool: {}", MessageLines(&note));
            }
            (wasm, Some(manifest))
        }
        None => (args.task.clone(), None),
    })
}

fn prepare(args: &TaskArgs, wasm: &Path, cache: &ArtifactCache) -> Result<PreparedTask, Error> {
    let wanted = ArtifactKey { profile: EngineProfile::default(), sandbox: args.sandbox.mode, init: None };
    let notice = &mut CompilingNotice::new(args.verbosity);
    let room = Room::new(HostPlacement::Moves, Workers::default());
    notice.bounded(&room);
    compile::prepare(&ChildProgram::Own, &Wasm::of_argument(wasm)?, &wanted, cache, false, notice)
}

/// Prints a list whose lines contain text that the task's author chose.
fn section(out: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        *out += &format!("{title}: none\n");
        return;
    }
    *out += &format!("{title}:\n");
    let (shown, more) = few(lines, LISTED);
    for line in shown {
        *out += &format!("  {}\n", ForeignText::of(line).at_most(LONGEST));
    }
    if more > 0 {
        *out += &format!("  and {more} more\n");
    }
}

fn line(export: &ExportLine) -> String {
    match &export.unsupported {
        Some(why) => format!("{} (cannot be called with values: {why})", export.signature),
        None => export.signature.clone(),
    }
}

pub fn compile(args: &TaskArgs) -> Result<Exit, Stop> {
    let cache = ArtifactCache::of_user();
    let directory = cache.directory()?;
    let (wasm, _) = locate(args)?;
    let prepared = prepare(args, &wasm, &cache)?;
    if let Some(why) = prepared.unkept {
        let path = ForeignText::of(&args.task);
        return Err(format!("{path} can be compiled, but what was compiled is not kept: {}", with_sources(&why)).into());
    }
    if !args.verbosity.quiet {
        let path = ForeignText::of(&args.task);
        match prepared.compiled {
            Some(time) => tell!("compiled {path} in {time:.1?} into {}", ForeignText::of(&directory)),
            None => tell!("{path} is already compiled in {}", ForeignText::of(&directory)),
        }
    }
    Ok(Exit::Success)
}
