//! `wasmpool map`.

use std::path::{Path, PathBuf};

use super::args::{Common, Delimiter, InputFormat, Map, OutputFormat, Progress as When};
use super::compiling::Notice;
use super::exit::{Exit, Stop};
use super::progress::Progress;
use super::run::{Run, run};
use super::several::several;
use crate::compile::Wasm;
use crate::grants::Directory;
use crate::input::{CsvItems, FileItems, Inputs, Items, LineItems};
use crate::journal::{Identity, Journal};
use crate::outcome::Counts;
use crate::output::{Format, Output, Target};
use crate::policy::{Call, Halt, ResultForm};
use crate::scheduler::Config;
use crate::spawn;
use crate::value::Form;

pub fn map(map: &Map) -> Result<Exit, Stop> {
    let Some(task) = map.task.as_ref().filter(|_| map.tasks.is_empty()) else {
        return several(map);
    };
    let inputs = Inputs::open(&map.input)?;
    let size = inputs.size();
    let output = output(map, &inputs)?;
    let mut progress = Progress::new(map.progress, &map.common, size);
    let items = items(map, inputs, &progress);
    let result = run(Run {
        task: &Wasm::of_argument(task)?,
        call: item_call(map),
        grants: map.common.grants.grants(),
        config: config(map, workers(map)),
        format: format(map),
        items,
        identity: identity(map, &output),
        output,
        watcher: &mut progress,
        notice: notice(map),
    });
    let counts = result.as_ref().map_or_else(|_| Counts::default(), |(_, counts)| counts.clone());
    progress.finish(&counts);
    let (exit, counts) = result?;
    if exit != Exit::OutputClosed && !map.common.verbosity.quiet {
        progress.summary(&counts);
        if let (Exit::Halted, Some(halt)) = (exit, map.halt.0) {
            tell_halted(halt, &counts);
        }
    }
    Ok(exit)
}

pub fn notice(map: &Map) -> Notice<'static> {
    Notice::new(map.common.verbosity).still(map.progress == When::Never)
}

pub fn tell_halted(halt: Halt, counts: &Counts) {
    let (failed, done) = (counts.failures(), counts.done);
    eprintln!("wasmpool: halted by --halt {halt} after {failed} failures in {done} items");
}

/// What is done with each item.
pub fn item_call(map: &Map) -> Call {
    Call {
        function: map.function.clone(),
        batch: map.batch,
        flatten: map.flatten,
        item_form: item_form(map.input_format),
        takes_failed: map.input_format == InputFormat::Jsonl,
        result_form: match map.output_format() {
            OutputFormat::Raw => ResultForm::Raw,
            OutputFormat::Values | OutputFormat::Records => ResultForm::Json,
        },
        ..call(&map.common)
    }
}

pub fn workers(map: &Map) -> usize {
    match map.workers {
        Some(workers) => workers as usize,
        None => spawn::processors(),
    }
}

pub fn config(map: &Map, workers: usize) -> Config {
    Config {
        ordered: !map.unordered,
        chunk: map.chunk_size,
        batch: map.batch,
        retries: map.retries,
        retry_on: map.retry_on.iter().copied().collect(),
        halt: map.halt.0,
        max_tasks_per_worker: map.max_tasks_per_worker,
        ..Config::of_limits(map.common.timeout, workers)
    }
}

pub fn format(map: &Map) -> Format {
    match (map.output_format(), map.delimiter) {
        (OutputFormat::Values, _) => Format::Values,
        (OutputFormat::Records, _) => Format::Records,
        (OutputFormat::Raw, Delimiter::Newline) => Format::Raw { delimiter: Some(b'\n') },
        (OutputFormat::Raw, Delimiter::Nul) => Format::Raw { delimiter: Some(0) },
        (OutputFormat::Raw, Delimiter::None) => Format::Raw { delimiter: None },
    }
}

/// Opens what is written, which is nothing that is also read or written as something else.
pub fn output(map: &Map, inputs: &Inputs) -> Result<Output, String> {
    let results = Target::open(map.output.as_deref(), "the output")?;
    let failed = map.failed.as_deref().map(|path| Target::open(Some(path), "the failed items to")).transpose()?;
    let read = inputs.same_files();
    let also_read = |target: &Target| target.same().is_some_and(|file| read.contains(&file));
    let refuse = |option, path: &Option<PathBuf>, what| {
        let path = path.as_deref().unwrap_or(Path::new("-")).display();
        Err(format!("{option} {path} is also {what}, which would be lost; name another file"))
    };
    if also_read(&results) {
        return refuse("--output", &map.output, "an input");
    }
    if failed.as_ref().is_some_and(also_read) {
        return refuse("--failed", &map.failed, "an input");
    }
    if failed.as_ref().and_then(Target::same).is_some_and(|file| results.same() == Some(file)) {
        return refuse("--failed", &map.failed, "the output");
    }
    if map.resume && map.journal.is_none() {
        return Err("--resume goes on with the run of a journal: name it with --journal FILE".to_owned());
    }
    let journal = map.journal.as_deref().map(|path| Journal::open(path, map.resume)).transpose()?;
    if let Some(file) = journal.as_ref().and_then(Journal::same) {
        let written = [Some(&results), failed.as_ref()].into_iter().flatten().filter_map(Target::same);
        if read.iter().copied().chain(written).any(|other| other == file) {
            return refuse("--journal", &map.journal, "an input or an output");
        }
    }
    Ok(Output::new(results, failed, journal))
}

/// All that the results of a run depend on, besides its task and input; and that they are kept in files or are not.
fn identity(map: &Map, output: &Output) -> Identity {
    let common = &map.common;
    let kind = |target: Option<&Target>| match target.map(Target::same) {
        None => "",
        Some(None) => "a pipe or device",
        Some(Some(_)) => "a file",
    };
    let lines = |values: Vec<String>| values.join(" ");
    let grants = &common.grants;
    Identity::new([
        ("--function", map.function.clone().unwrap_or_default()),
        ("--arg", lines(common.arg.iter().flat_map(|given| &given.0).map(|(n, v)| format!("{n}={v}")).collect())),
        ("--init", common.init.clone().unwrap_or_default()),
        ("--batch", map.batch.to_string()),
        ("--flatten", map.flatten.to_string()),
        ("--input-format", format!("{:?}", map.input_format).to_lowercase()),
        ("--output-format", format!("{:?}", map.output_format()).to_lowercase()),
        ("--delimiter", format!("{:?}", map.delimiter).to_lowercase()),
        ("--unordered", map.unordered.to_string()),
        ("--isolate", format!("{:?}", common.isolate).to_lowercase()),
        ("--memory", common.memory.to_string()),
        ("--fuel", common.fuel.map(|fuel| fuel.to_string()).unwrap_or_default()),
        ("--max-output", common.max_output.to_string()),
        ("--env", lines(grants.env.iter().map(|(name, value)| secret(name, value)).collect())),
        ("--dir", lines(grants.directories.iter().map(directory).collect())),
        ("--allow-net", lines(grants.peers.iter().map(|peer| format!("{}:{}", peer.host, peer.port)).collect())),
        ("--output", kind(Some(&output.results)).to_owned()),
        ("--failed", kind(output.failed.as_ref()).to_owned()),
    ])
}

/// A variable, whose value may be nobody else's business: a journal and a message hold its hash.
fn secret(name: &str, value: &str) -> String {
    format!("{name}=(hash {})", blake3::hash(value.as_bytes()).to_hex().get(..16).unwrap_or_default())
}

fn directory(directory: &Directory) -> String {
    let mode = if directory.writable { "rw" } else { "ro" };
    format!("{}::{}:{mode}", directory.host.display(), directory.guest)
}

/// What `map` and `call` have in common.
pub fn call(common: &Common) -> Call {
    Call {
        args: common.arg.iter().flat_map(|given| given.0.clone()).collect(),
        init: common.init.clone(),
        isolate: common.isolate,
        limits: common.limits(),
        sandbox: common.sandbox.mode,
        ..Call::default()
    }
}

/// Longest item: what does not fit the memory of an instance can't be given to it.
fn longest(common: &Common) -> usize {
    usize::try_from(common.memory).unwrap_or(usize::MAX).min(u32::MAX as usize - 4096)
}

fn item_form(format: InputFormat) -> Form {
    match format {
        InputFormat::Jsonl => Form::Json,
        InputFormat::Lines | InputFormat::Nul | InputFormat::Files => Form::Bytes,
        InputFormat::Csv => Form::Csv,
    }
}

pub fn items(map: &Map, inputs: Inputs, progress: &Progress) -> Box<dyn Items> {
    let inputs = inputs.counted(progress.bytes_read());
    let longest = longest(&map.common);
    match map.input_format {
        InputFormat::Jsonl => Box::new(LineItems::new(inputs, b'\n', true, longest)),
        InputFormat::Lines => Box::new(LineItems::new(inputs, b'\n', false, longest)),
        InputFormat::Nul => Box::new(LineItems::new(inputs, 0, false, longest)),
        InputFormat::Csv => Box::new(CsvItems::new(inputs, longest)),
        InputFormat::Files => Box::new(FileItems::new(inputs, longest)),
    }
}
