//! `wasmpool inspect` and `wasmpool compile`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::args::TaskArgs;
use super::compiling::Notice;
use super::exit::{Exit, Stop};
use super::progress::printable_lines;
use crate::compile::{self, Cache, ExportLine, Format, InitOnce, Prepared, Wanted, Wasm};
use crate::engine::Profile;
use crate::error::Error;
use crate::manifest::Manifest;
use crate::spawn::Program;

pub fn inspect(args: &TaskArgs) -> Result<Exit, Stop> {
    let (wasm, manifest) = locate(args)?;
    let prepared = prepare(args, &wasm, &Cache::of_user())?;
    let meta = &prepared.meta;
    let mut out = String::new();
    out += &format!("task: {}\n", wasm.display());
    out += match meta.format {
        Format::Component => "kind: component\n",
        Format::Core => "kind: core module\n",
    };
    let (users, others): (Vec<&ExportLine>, Vec<&ExportLine>) = meta.description.exports.iter().partition(|e| e.users);
    if let Some(manifest) = &manifest {
        if let Some(function) = &manifest.function {
            out += &format!("function of the plugin: {function}\n");
        }
        section(&mut out, "what the plugin asks for", &manifest.sentences());
    }
    section(&mut out, "functions", &users.iter().map(|e| line(e)).collect::<Vec<_>>());
    if let Some(command) = &meta.description.command {
        out += &format!("command: {command}, which wasmpool exec runs\n");
    }
    section(&mut out, "other exports", &others.iter().map(|e| line(e)).collect::<Vec<_>>());
    section(&mut out, "imports", &meta.description.imports);
    if meta.description.left_out > 0 {
        out += &format!("and {} more exports and imports\n", meta.description.left_out);
    }
    match &meta.description.init {
        Some(InitOnce::EachTime(why)) => out += &format!("init: runs in each instance ({why})\n"),
        Some(_) => out += "init: runs once, then each instance starts from a snapshot\n",
        None => {}
    }
    if let Some(needs) = meta.needs {
        out += &format!("memory at start: {} KiB\n", needs.initial_memory >> 10);
    }
    // A stranger chose these names.
    match io::stdout().write_all(printable_lines(&out).as_bytes()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::OutputClosed),
        Err(e) => Err(format!("cannot write the description: {e}").into()),
        Ok(()) => Ok(Exit::Success),
    }
}

/// The task's file, and the manifest that names it.
fn locate(args: &TaskArgs) -> Result<(PathBuf, Option<Manifest>), String> {
    Ok(match Manifest::find(&args.task)? {
        Some((manifest, wasm)) => (wasm, Some(manifest)),
        None => (args.task.clone(), None),
    })
}

fn prepare(args: &TaskArgs, wasm: &Path, cache: &Cache) -> Result<Prepared, Error> {
    let wanted = Wanted { profile: Profile::default(), sandbox: args.sandbox.mode, init: None };
    compile::prepare(&Program::Own, &Wasm::of_argument(wasm)?, &wanted, cache, false, &mut Notice::new(args.verbosity))
}

fn section(out: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        *out += &format!("{title}: none\n");
    } else {
        *out += &format!("{title}:\n");
        for line in lines {
            *out += &format!("  {line}\n");
        }
    }
}

fn line(export: &ExportLine) -> String {
    match &export.unsupported {
        Some(why) => format!("{} (cannot be called with values: {why})", export.signature),
        None => export.signature.clone(),
    }
}

pub fn compile(args: &TaskArgs) -> Result<Exit, Stop> {
    let cache = Cache::of_user();
    let Some(directory) = cache.directory() else {
        return Err("there is no cache directory; set WASMPOOL_CACHE_DIR, XDG_CACHE_HOME or HOME".to_owned().into());
    };
    let (wasm, _) = locate(args)?;
    let prepared = prepare(args, &wasm, &cache)?;
    if !args.verbosity.quiet {
        let path = args.task.display();
        match prepared.compiled {
            Some(time) => eprintln!("compiled {path} in {time:.1?} into {}", directory.display()),
            None => eprintln!("{path} is already compiled in {}", directory.display()),
        }
    }
    Ok(Exit::Success)
}
