//! `wasmpool inspect` and `wasmpool compile`.

mod grants;
mod json;
mod text;

use std::path::{Path, PathBuf};
use wasmpool_run::tell;

use super::apart::ReadFiles;
use super::args::{InspectArgs, TaskArgs};
use super::compiling::CompilingNotice;
use super::exit::{Exit, Stop};
use super::manifest::{Manifest, ManifestError};
use super::resolve::link_to_task;
use wasmpool_core::artifact::{ArtifactMeta, EngineProfile, ExportLine};
use wasmpool_core::text::{ForeignText, MessageLines};
use wasmpool_run::cgroup::{HostPlacement, Room, Workers};
use wasmpool_run::compile::{self, ArtifactCache, ArtifactKey, PreparedTask, Wasm};
use wasmpool_run::error::with_sources;
use wasmpool_run::spawn::ChildProgram;

/// What `inspect` tells of.
struct Inspected<'a> {
    wasm: &'a Path,
    meta: &'a ArtifactMeta,
    manifest: Option<&'a Manifest>,
}

impl Inspected<'_> {
    /// Returns the functions that a user would call, and those that a toolchain added.
    fn functions(&self) -> (Vec<&ExportLine>, Vec<&ExportLine>) {
        self.meta.description.exports.iter().partition(|export| export.users)
    }
}

pub fn inspect(args: &InspectArgs) -> Result<Exit, Stop> {
    let InspectArgs { task: args, json } = args;
    let (wasm, manifest) = locate(args)?;
    ReadFiles::of_plugin(manifest.as_ref().map(|manifest| manifest.path.as_path())).and_task(&wasm).check_streams()?;
    let prepared = prepare(args, &wasm, manifest.as_ref(), &ArtifactCache::of_user())?;
    let inspected = Inspected { wasm: &wasm, meta: &prepared.meta, manifest: manifest.as_ref() };
    let out = match json {
        true => json::described(&inspected).map_err(|e| format!("cannot write the description: {e}"))?,
        false => text::described(&inspected, args.verbosity.verbose > 0),
    };
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

fn prepare(
    args: &TaskArgs,
    wasm: &Path,
    manifest: Option<&Manifest>,
    cache: &ArtifactCache,
) -> Result<PreparedTask, Stop> {
    let wanted = ArtifactKey { profile: EngineProfile::default(), sandbox: args.sandbox.mode, init: None };
    let notice = &mut CompilingNotice::new(args.verbosity);
    let room = Room::new(HostPlacement::Moves, Workers::default());
    notice.bounded(&room);
    let wasm =
        Wasm::of_argument(wasm).map_err(|e| Stop::of_task(&e, manifest.map(|manifest| manifest.path.as_path())))?;
    Ok(compile::prepare(&ChildProgram::Own, &wasm, &wanted, cache, false, notice)?)
}

pub fn compile(args: &TaskArgs) -> Result<Exit, Stop> {
    let cache = ArtifactCache::of_user();
    let directory = cache.directory()?;
    let (wasm, manifest) = locate(args)?;
    let prepared = prepare(args, &wasm, manifest.as_ref(), &cache)?;
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
