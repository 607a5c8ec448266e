//! What `map` and `exec` share: items in, through a task, outcomes out.

use std::path::{Path, PathBuf};
use wasmpool_run::tell;

use super::apart::{self, Lists, ReadFiles};
use super::args::{Common, Delimiter, InputFormat, Items as Options, OutputFormat, Progress as When};
use super::compiling::Notice;
use super::exit::{Exit, Stop};
use super::progress::Progress;
use super::run::{Run, run};
use wasmpool_core::outcome::Counts;
use wasmpool_core::policy::Form;
use wasmpool_core::policy::{Call, Columns, Halt, ResultForm};
use wasmpool_core::text::Foreign;
use wasmpool_run::compile::Wasm;
use wasmpool_run::error::Error;
use wasmpool_run::fresh::FreshDirectory;
use wasmpool_run::grants::{Directory, READABLE, WRITABLE};
use wasmpool_run::input::{CsvItems, Cut, Encoding, FileItems, Inputs, Items, LineItems};
use wasmpool_run::journal::{Identity, Journal};
use wasmpool_run::output::{Files, Format, Output, Target};
use wasmpool_sandbox::surroundings;
use wasmpool_scheduler::Config;

/// A command that runs one task over many items.
pub struct Stream<'a> {
    pub task: &'a Path,
    pub input: &'a [PathBuf],
    pub options: &'a Options,
    pub common: &'a Common,
    pub output_format: OutputFormat,
    pub delimiter: Delimiter,
    /// What is done with each item, but for how it is read and its result written.
    pub call: Call,
    /// What results depend on that is the command's own, for a journal to know the run by.
    pub identity: Vec<(&'static str, String)>,
}

/// Runs it.
pub fn stream(stream: Stream<'_>) -> Result<Exit, Stop> {
    let Stream { task, input, options, common, output_format, delimiter, call, identity } = stream;
    let inputs = Inputs::open(input)?;
    let read = ReadFiles::of_tasks([task], common).and_inputs(inputs.same_files());
    apart::check(&read, options, common)?;
    let (size, written, lists) = (inputs.size(), inputs.written(), Lists::of(options, &inputs));
    let mut progress = Progress::new(options.progress, common, size);
    let mut items = items(options, common, inputs, &progress)?;
    // This may wait for who writes the input, and be interrupted: nothing is touched or made before.
    let columns = columns(&mut *items)?;
    let made = FreshDirectory::of(options.results.as_deref());
    let files = files(options, &call)?;
    let output = output(options, lists)?;
    written.set(output.same_files(), options.results.as_deref());
    let formats = [
        ("--output-format", format!("{output_format:?}").to_lowercase()),
        ("--delimiter", format!("{delimiter:?}").to_lowercase()),
    ];
    let result = run(Run {
        task: &Wasm::of_argument(task)?,
        config: config(options, &call, workers(options)),
        call: Call { columns, ..formed(call, options, output_format) },
        grants: common.grants.grants(),
        format: format(output_format, delimiter),
        items,
        identity: identity_of(options, common, &output, identity.into_iter().chain(formats)),
        output,
        files,
        watcher: &mut progress,
        notice: notice(options, common),
        ends_at_once: false,
    });
    if result.is_ok() {
        made.keep();
    }
    let counts = result.as_ref().map_or_else(|_| Counts::default(), |(_, counts)| counts.clone());
    progress.finish(&counts);
    let (exit, counts) = result?;
    if exit != Exit::OutputClosed && !common.verbosity.quiet {
        if let (Exit::Finished(_), Some(path)) = (exit, &options.journal) {
            let done = counts.done;
            progress.say(&format!(
                "wasmpool: finished, nothing to do: all {done} items are done, says {}",
                Foreign::of(path)
            ));
        }
        progress.summary(&counts);
        if let (Exit::Halted, Some(halt)) = (exit, options.halt.0) {
            tell_halted(halt, &counts);
        }
    }
    Ok(exit)
}

pub fn notice(options: &Options, common: &Common) -> Notice<'static> {
    Notice::new(common.verbosity).still(options.progress == When::Never)
}

pub fn tell_halted(halt: Halt, counts: &Counts) {
    let (failed, done) = (counts.failures(), counts.done);
    tell!("wasmpool: halted by --halt {halt} after {failed} failures in {done} items");
}

pub fn workers(options: &Options) -> usize {
    match options.workers {
        Some(workers) => workers as usize,
        None => surroundings::processors(),
    }
}

pub fn config(options: &Options, call: &Call, workers: usize) -> Config {
    Config {
        ordered: !options.unordered,
        chunk: options.chunk_size,
        batch: call.batch,
        retries: options.retries,
        retry_on: options.retry_on.iter().copied().collect(),
        halt: options.halt.0,
        max_tasks_per_worker: options.max_tasks_per_worker,
        ..Config::of_limits(call.limits.timeout, workers)
    }
}

pub fn format(output: OutputFormat, delimiter: Delimiter) -> Format {
    match (output, delimiter) {
        (OutputFormat::Values, _) => Format::Values,
        (OutputFormat::Records, _) => Format::Records,
        (OutputFormat::Raw, Delimiter::Newline) => Format::Raw { delimiter: Some(b'\n') },
        (OutputFormat::Raw, Delimiter::Nul) => Format::Raw { delimiter: Some(0) },
        (OutputFormat::Raw, Delimiter::None) => Format::Raw { delimiter: None },
    }
}

/// The same, with items as they are read and results as they are to be written.
pub fn formed(call: Call, options: &Options, output: OutputFormat) -> Call {
    Call {
        item_form: match options.input_format {
            InputFormat::Jsonl => Form::Json,
            InputFormat::Lines | InputFormat::Nul | InputFormat::Files => Form::Bytes,
            InputFormat::Csv => Form::Csv,
        },
        takes_failed: options.input_format == InputFormat::Jsonl,
        in_parts: options.results.is_some(),
        result_form: match output {
            _ if options.results.is_some() => ResultForm::Raw,
            OutputFormat::Raw => ResultForm::Raw,
            OutputFormat::Values | OutputFormat::Records => ResultForm::Json,
        },
        ..call
    }
}

/// Opens what is written. What is also read, or written as something else, was refused ([`apart::check`]).
pub fn output(options: &Options, lists: Lists) -> Result<Output, String> {
    if options.resume && options.journal.is_none() {
        return Err("--resume goes on with the run of a journal: name it with --journal FILE".to_owned());
    }
    let journal = options.journal.as_deref().map(|path| Journal::open(path, options.resume)).transpose()?;
    let claims = lists.are_there();
    if !journal.as_ref().is_some_and(Journal::is_begun) {
        lists.check(options)?;
    }
    let results = Target::open(options.output.as_deref(), "the output")?;
    let failed = options.failed.as_deref().map(|path| Target::open(Some(path), "the failed items to")).transpose()?;
    let output = Output::new(results, failed, journal).claiming(claims);
    let files = output.same_files();
    // Links to one file that was not there are seen only now.
    let twice = files.iter().enumerate().any(|(n, file)| files.iter().skip(n + 1).any(|other| other == file));
    match twice {
        true => Err("--output, --failed and --journal have to lead to files of their own".to_owned()),
        false => Ok(output),
    }
}

/// Opens the directory of results that go to files of their own.
fn files(options: &Options, call: &Call) -> Result<Option<Files>, String> {
    let Some(directory) = &options.results else {
        return Ok(None);
    };
    if call.flatten {
        return Err("--results is one file for each item, and --flatten makes several of one: leave one out".to_owned());
    }
    if options.journal.is_some() {
        return Err("--results keeps no journal; use -o FILE with --journal, or --results without".to_owned());
    }
    let files = Files::create(directory, call.limits.max_output)?;
    let written = [("--output", &options.output), ("--failed", &options.failed), ("--journal", &options.journal)];
    for (option, path) in written.iter().filter_map(|(option, path)| Some((option, path.as_deref()?))) {
        if files.may_replace(path) {
            let path = Foreign::of(path);
            return Err(format!(
                "{option} {path} has the name of a result in the directory of --results; name another file"
            ));
        }
    }
    Ok(Some(files))
}

/// All that the results of a run depend on, besides its task and input; and that they are kept in files or are not.
fn identity_of(
    options: &Options,
    common: &Common,
    output: &Output,
    of_command: impl Iterator<Item = (&'static str, String)>,
) -> Identity {
    let kind = |target: Option<&Target>| match target.map(Target::can_be_cut) {
        None => "",
        Some(false) => "a pipe or device",
        Some(true) => "a file",
    };
    let lines = |values: Vec<String>| values.join(" ");
    let (grants, limits) = (&common.grants, common.limits());
    let of_all = [
        ("--input-format", format!("{:?}", options.input_format).to_lowercase()),
        ("--csv-delimiter", char::from(options.csv_delimiter).escape_default().to_string()),
        ("--no-header", options.no_header.to_string()),
        ("--unordered", options.unordered.to_string()),
        ("--deterministic", common.deterministic.to_string()),
        ("--memory", limits.memory.to_string()),
        ("--fuel", limits.fuel.map(|fuel| fuel.to_string()).unwrap_or_default()),
        ("--max-output", limits.max_output.to_string()),
        ("--env", lines(grants.env.iter().flatten().map(|(name, value)| secret(name, value)).collect())),
        ("--dir", lines(grants.directories.iter().flatten().map(directory).collect())),
        ("--scratch", grants.scratch.clone().unwrap_or_default()),
        (
            "--allow-net",
            lines(grants.peers.iter().flatten().map(|peer| format!("{}:{}", peer.host, peer.port)).collect()),
        ),
        ("--output", kind(Some(&output.results)).to_owned()),
        ("--failed", kind(output.failed.as_ref()).to_owned()),
    ];
    Identity::new(of_command.chain(of_all))
}

/// A variable, whose value may be nobody else's business: a journal and a message hold its hash.
fn secret(name: &str, value: &str) -> String {
    let hash = blake3::hash(value.as_bytes()).to_hex();
    format!("{name}=(hash {})", &hash[..16])
}

fn directory(directory: &Directory) -> String {
    let mode = if directory.writable { WRITABLE } else { READABLE };
    format!("{}::{}{mode}", directory.host.to_string_lossy(), directory.guest)
}

/// Longest item: what does not fit the memory of an instance can't be given to it.
fn longest(common: &Common) -> usize {
    usize::try_from(common.limits().memory).unwrap_or(usize::MAX).min(u32::MAX as usize - 4096)
}

pub fn items(
    options: &Options,
    common: &Common,
    inputs: Inputs,
    progress: &Progress,
) -> Result<Box<dyn Items>, String> {
    let cut = Cut { delimiter: options.csv_delimiter, header: !options.no_header };
    if options.input_format != InputFormat::Csv && (cut.delimiter != b',' || !cut.header) {
        return Err("--csv-delimiter and --no-header say how CSV is cut: they want --input-format csv".to_owned());
    }
    let inputs = inputs.counted(progress.bytes_read()).written_in(encoding_of(options.input_format));
    let longest = longest(common);
    Ok(match options.input_format {
        InputFormat::Jsonl => Box::new(LineItems::new(inputs, b'\n', true, longest)),
        InputFormat::Lines => Box::new(LineItems::new(inputs, b'\n', false, longest)),
        InputFormat::Nul => Box::new(LineItems::new(inputs, 0, false, longest)),
        InputFormat::Csv => Box::new(CsvItems::new(inputs, longest, cut)),
        InputFormat::Files => Box::new(FileItems::new(inputs, longest)),
    })
}

/// How the text of inputs in this format is written.
pub fn encoding_of(format: InputFormat) -> Encoding {
    match format {
        InputFormat::Jsonl | InputFormat::Csv => Encoding::Utf8,
        InputFormat::Lines | InputFormat::Files => Encoding::Lines,
        InputFormat::Nul => Encoding::Bytes,
    }
}

/// The columns of all files, so that a function that they cannot fit is known before it gets any row.
pub fn columns(items: &mut dyn Items) -> Result<Vec<(String, Columns)>, Error> {
    items.columns().map_err(|e| Error::Input(e.to_string()))
}
