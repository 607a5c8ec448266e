//! `wasmpool inspect` and `wasmpool compile`.

use std::io::{self, Write};
use std::time::Instant;

use super::args::TaskArgs;
use super::exit::{Exit, Stop};
use crate::compile::{self, Cache, ExportLine, Format};

pub fn inspect(args: &TaskArgs) -> Result<Exit, Stop> {
    let prepared = compile::prepare(&args.task, false, args.sandbox.mode, &Cache::of_user(), false)?;
    let meta = &prepared.meta;
    let mut out = String::new();
    out += &format!("task: {}\n", args.task.display());
    out += match meta.format {
        Format::Component => "kind: component\n",
        Format::Core => "kind: core module\n",
    };
    let (users, others): (Vec<&ExportLine>, Vec<&ExportLine>) = meta.description.exports.iter().partition(|e| e.users);
    section(&mut out, "functions", &users.iter().map(|e| line(e)).collect::<Vec<_>>());
    section(&mut out, "other exports", &others.iter().map(|e| line(e)).collect::<Vec<_>>());
    section(&mut out, "imports", &meta.description.imports);
    if let Some(needs) = meta.needs {
        out += &format!("memory at start: {} KiB\n", needs.initial_memory >> 10);
    }
    match io::stdout().write_all(out.as_bytes()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::OutputClosed),
        Err(e) => Err(format!("cannot write the description: {e}").into()),
        Ok(()) => Ok(Exit::Success),
    }
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
    let start = Instant::now();
    let prepared = compile::prepare(&args.task, false, args.sandbox.mode, &cache, false)?;
    if !args.verbosity.quiet {
        let path = args.task.display();
        match prepared.compiled {
            true => eprintln!("compiled {path} in {:.1?} into {}", start.elapsed(), directory.display()),
            false => eprintln!("{path} is already compiled in {}", directory.display()),
        }
    }
    Ok(Exit::Success)
}
