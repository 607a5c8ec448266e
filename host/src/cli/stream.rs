//! The common part of `map` and `exec`: reads items, runs them through a task, writes outcomes.

use std::path::Path;
use std::sync::Arc;
use wasmpool_run::{tell, tell_as};

use super::again;
use super::apart::{self, ApartError, InputLists, ReadFiles};
#[cfg(feature = "hosts")]
use super::args::{BrokerArgs, Speculate, Verbosity, ViaStorage};
use super::args::{Delimiter, InputFormat, OutputFormat, ShowProgress as When};
use super::compiling::CompilingNotice;
use super::exit::{Exit, Stop};
#[cfg(feature = "hosts")]
use super::hosts::access;
use super::listed::ListOfFiles;
use super::progress::{RunProgress, one_or_many};
use super::report::{RecordedProgress, RunEnding, RunReports};
use super::resolve::of_columns;
use super::run::{RunParts, run};
#[cfg(feature = "hosts")]
use super::share::{self, ServedObject, SharedObject};
use super::sharing::Sharing;
use super::source::{SettingSource, Sourced};
use super::spec::ManyItems as Options;
use super::spec::{RunSpec, TaskSpecs, WorkSpec};
use super::swapped;
use wasmpool_core::outcome::OutcomeCounts;
use wasmpool_core::policy::ItemEncoding;
use wasmpool_core::policy::{CsvColumns, Halt, ResultForm, TaskCall};
#[cfg(feature = "hosts")]
use wasmpool_core::share::ObjectGrant;
#[cfg(feature = "hosts")]
use wasmpool_core::text::QuotedName;
use wasmpool_core::text::{ForeignText, MessageLines};
#[cfg(feature = "hosts")]
use wasmpool_hosts::names::HostName;
#[cfg(feature = "hosts")]
use wasmpool_nats::access::BrokerAccess;
#[cfg(feature = "hosts")]
use wasmpool_nats::coordinator::{ChunkStorage, CoordinatedRun, ObjectsPlace};
#[cfg(feature = "hosts")]
use wasmpool_nats::objects::program::{self, FoundObjects};
use wasmpool_run::compile::Wasm;
use wasmpool_run::error::Error;
use wasmpool_run::fresh::FreshDirectory;
use wasmpool_run::input::{
    CsvItems, CsvSettings, FileItems, FirstItems, InputFiles, InputLinks, ItemSource, LineItems, LineKind, TextEncoding,
};
use wasmpool_run::journal::{Journal, JournalError, RunIdentity};
use wasmpool_run::links::Writable;
use wasmpool_run::output::{
    KeptColumns, LineFormat, OutputTarget, ResultFiles, ResultFilesError, RunOutput, TargetError,
};
use wasmpool_run::stdio::Level;
use wasmpool_sandbox::surroundings;
use wasmpool_scheduler::SchedulerConfig;

/// The reason why a file that a run writes cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Results(#[from] ResultFilesError),
    #[error(transparent)]
    Apart(#[from] ApartError),
    /// Two paths that led nowhere before lead to the same file.
    #[error("--output, --failed and --journal have to lead to files of their own")]
    SameFile,
    #[error("{said} has the name of a result in the directory of {results}; name another file")]
    NameOfResult { said: String, results: String },
}

/// Runs one task over many items.
pub fn stream(spec: &RunSpec, task: &Path) -> Result<Exit, Stop> {
    let options = &spec.items;
    let call = spec.call();
    let inputs = inputs(spec)?;
    apart::check(&read_files(spec, [task], &inputs), spec)?;
    swapped::check_second_task(spec, task)?;
    let (size, written, lists) = (inputs.size(), inputs.written(), InputLists::of(options, &inputs));
    let progress = progress(spec, &inputs, size);
    let mut items = items(spec, inputs, &progress);
    // This may wait for whoever writes the input, and be interrupted, so nothing is touched or made before.
    let columns = columns(&mut *items, options)?;
    let sharing = Sharing::of(spec)?;
    #[cfg(feature = "hosts")]
    let via = via(spec, 1)?;
    let WrittenFiles { files, output, reports, made } = WrittenFiles::open(spec, &call, lists)?;
    if let Some(files) = &files {
        files.remove_left().map_err(FilesError::from)?;
    }
    written.set(output.same_files(), options.results.as_deref());
    let mut watched = RecordedProgress::new(progress, reports.as_ref());
    let call = TaskCall { columns, ..formed(call, options) };
    let item_form = call.item_form;
    let command = if call.command.is_some() { "exec" } else { "map" };
    let of_run = |e: Error| {
        let stop = Stop::of_spec(&e, spec);
        swapped::with_task_among(stop, &e, command, task, &options.input)
    };
    let result = run(RunParts {
        task: &Wasm::of_argument(task).map_err(of_run)?,
        config: config(options, &call, workers(options)),
        #[cfg(feature = "hosts")]
        via,
        call,
        grants: spec.grants.grants(),
        sharing,
        format: format(options),
        keep: kept(options, item_form),
        items,
        identity: identity(spec, &output),
        output,
        files,
        watcher: &mut watched,
        notice: notice(spec),
        ends_at_once: false,
        ahead: None,
    });
    if result.is_ok() {
        made.keep();
    }
    let counts = result.as_ref().map_or_else(|_| OutcomeCounts::default(), |(_, counts)| counts.clone());
    let RecordedProgress { mut progress, recorder } = watched;
    progress.finish();
    // What was done before the output could not be written is in the journal.
    let is_cut = matches!(result, Err(Error::Output(_) | Error::Journal(JournalError::Write(_))));
    let goes_on = is_cut && options.journal.is_some();
    let how = goes_on.then(|| again::says_how(options, 0, std::env::args_os())).flatten();
    let result = result.map(|(exit, _)| exit).map_err(|e| of_run(e).with(how));
    let reported = reports.map_or(Ok(()), |reports| {
        let end = RunEnding { result: result.as_ref().copied(), counts: &counts, done_before: progress.done_before() };
        let recorders = recorder.map(|recorder| (task.to_string_lossy().into_owned(), recorder));
        reports.write(spec, workers(options), end, recorders.into_iter().collect())
    });
    if let (Err(_), Err(unwritten)) = (&result, &reported) {
        return Err(unwritten.after(result));
    }
    let exit = result?;
    if exit != Exit::OutputClosed && !spec.verbosity.quiet {
        let done = counts.done;
        if let (Exit::Finished(_), Some(path)) = (exit, &*options.journal) {
            let path = ForeignText::of(path);
            let failed = match counts.failures() {
                0 => String::new(),
                failures => format!(", and {failures} of them failed"),
            };
            let text = format!("wasmpool: finished, nothing to do: all {done} items are done{failed}, says {path}");
            progress.say(Level::Info, &[("done", done.into())], &text);
        } else {
            progress.summary(&counts);
        }
        let is_cut = match exit {
            Exit::Signal(_) => true,
            Exit::Halted => options.journal.is_some(),
            _ => false,
        };
        if let Some(how) = is_cut.then(|| again::says_how(options, done, std::env::args_os())).flatten() {
            tell!("wasmpool: {}", MessageLines(&how));
        }
        if exit == Exit::Halted {
            tell_halted(&options.halt, &counts);
        }
    }
    reported.map(|()| exit).map_err(|unwritten| unwritten.after(Ok(exit)))
}

/// Makes the display of a run's progress, and says that items are typed if they are.
pub fn progress(spec: &RunSpec, inputs: &InputFiles, size: Option<u64>) -> RunProgress {
    let typed = inputs.reads_terminal();
    if typed && !spec.verbosity.quiet {
        tell!("wasmpool: reading items from the terminal; end with Ctrl-D");
    }
    // How much of the input the first items are is not known.
    let size = size.filter(|_| spec.items.first.is_none());
    let progress = RunProgress::new(*spec.items.progress, spec.verbosity, size, typed);
    let progress = progress.with_halt(spec.items.halt.is_some());
    match *spec.items.input_format {
        InputFormat::Files => {
            progress.with_list(ListOfFiles { inputs: spec.items.input.clone(), null: *spec.items.null })
        }
        _ => progress,
    }
}

pub fn notice(spec: &RunSpec) -> CompilingNotice<'static> {
    CompilingNotice::new(spec.verbosity).without_passing_messages(*spec.items.progress == When::Never)
}

/// Reports that failures ended the run, as `--halt` demanded.
pub fn tell_halted(halt: &Sourced<Option<Halt>>, counts: &OutcomeCounts) {
    let (failed, done) = (counts.failures(), counts.done);
    let said = halt.as_ref().map(Halt::to_string).unwrap_or_default();
    let said = halt.option_name_with("--halt", &said).to_string();
    let (failures, items) = (one_or_many(failed, "failures"), one_or_many(done, "items"));
    let facts = [("failed", failed.into()), ("done", done.into()), ("exit_code", Exit::Halted.code().into())];
    let said = MessageLines(&said);
    tell_as!(Level::Error, &facts, "wasmpool: halted by {said} after {failed} {failures} in {done} {items}");
}

pub fn workers(options: &Options) -> usize {
    match *options.workers {
        Some(workers) => workers as usize,
        None => surroundings::processors(),
    }
}

/// Returns where the run of each of so many tasks goes, if it goes over many machines.
#[cfg(feature = "hosts")]
pub fn via(spec: &RunSpec, tasks: usize) -> Result<Option<CoordinatedRun>, Error> {
    let options = &spec.items;
    let Some(url) = (*options.via).clone() else {
        return Ok(None);
    };
    let files = BrokerArgs {
        tls_ca: (*options.tls_ca).clone(),
        creds: (*options.creds).clone(),
        nkey: (*options.nkey).clone(),
    };
    let access = access(url, &files)?;
    let objects = served(&spec.grants.served, &access, spec.verbosity)?;
    Ok(Some(CoordinatedRun {
        objects,
        most: (*options.workers).map(|workers| (workers as usize / tasks).max(1)),
        storage: match *options.via_storage {
            ViaStorage::Memory => ChunkStorage::Memory,
            ViaStorage::File => ChunkStorage::File,
        },
        max_items_per_worker: *options.max_items_per_worker,
        grants: spec.grants.grants(),
        speculate: *options.speculate == Speculate::Auto,
        check: (*options.check).unwrap_or(0),
        ..CoordinatedRun::new(access)
    }))
}

/// Finds the objects of a server that the run is granted.
#[cfg(feature = "hosts")]
fn served(asked: &[Sourced<ServedObject>], access: &BrokerAccess, verbosity: Verbosity) -> Result<ObjectsPlace, Error> {
    let Some(first) = asked.first() else {
        return Ok(ObjectsPlace::Nowhere);
    };
    let server = HostName::new(&first.server).map_err(|e| Error::Shared(e.to_string()))?;
    let FoundObjects { life, objects } = program::ask(access, &server, &mut |news| {
        if !verbosity.quiet {
            tell!("wasmpool: {}", MessageLines(news));
        }
    })?;
    let objects = asked.iter().map(|one| grant_of(one, &objects)).collect::<Result<_, _>>()?;
    Ok(ObjectsPlace::Server(server, FoundObjects { life, objects }))
}

/// Returns what is granted of an object of a server that has these.
#[cfg(feature = "hosts")]
fn grant_of(asked: &ServedObject, there: &[ObjectGrant]) -> Result<ObjectGrant, Error> {
    let refuse = |why: String| Err(Error::Shared(why));
    let ServedObject { name, server, right, asked: of_plugin } = asked;
    let Some(found) = there.iter().find(|grant| grant.spec.name == *name) else {
        let names: Vec<&str> = there.iter().map(|grant| grant.spec.name.as_str()).collect();
        let names = names.join(", ");
        return refuse(format!("the server {server} has no object {}; it has {names}", QuotedName::of(name)));
    };
    let form = &found.spec.form;
    let mut rights = found.rights;
    if let Some(word) = right {
        let Some(of_word) = share::rights_of(form, word) else {
            let (first, second) = share::words(form);
            let there_are = match first {
                "" => "it has none".to_owned(),
                _ => format!("there are :{first} and :{second}"),
            };
            return refuse(format!("{asked}: `:{word}` is no right of this kind of object; {there_are}"));
        };
        rights = rights.and(of_word);
    }
    let object = SharedObject { spec: found.spec.clone(), rights: found.rights };
    if let Some(wanted) = of_plugin {
        if !wanted.is_same_object(&object) {
            return refuse(format!("{asked} is {object} at its server, and the plugin asks for {wanted}"));
        }
        rights = rights.and(wanted.rights);
    }
    if !rights.first && !rights.second {
        return refuse(format!("{asked}: nothing is left to be granted of it; at its server it is {object}"));
    }
    Ok(ObjectGrant { rights, ..found.clone() })
}

/// Returns all files that a run of these tasks reads.
pub fn read_files<'a>(spec: &RunSpec, tasks: impl IntoIterator<Item = &'a Path>, inputs: &InputFiles) -> ReadFiles {
    let read = ReadFiles::of(spec, tasks).and_inputs(inputs.same_files());
    #[cfg(feature = "hosts")]
    let read = broker_files(&spec.items).into_iter().fold(read, |read, (file, what)| read.and_file(file, what));
    read
}

/// Returns the files that are read to reach the message system.
#[cfg(feature = "hosts")]
fn broker_files(options: &Options) -> impl IntoIterator<Item = (&Path, &'static str)> {
    let files = [
        (&*options.tls_ca, "the file of --tls-ca"),
        (&*options.creds, "the file of --creds"),
        (&*options.nkey, "the file of --nkey"),
    ];
    files.into_iter().filter_map(|(file, what)| Some((file.as_deref()?, what)))
}

pub fn config(options: &Options, call: &TaskCall, workers: usize) -> SchedulerConfig {
    SchedulerConfig {
        ordered: !*options.unordered,
        chunk: *options.chunk_size,
        batch: call.batch,
        retries: *options.retries,
        retry_on: options.retry_on.iter().copied().collect(),
        halt: *options.halt,
        max_items_per_worker: *options.max_items_per_worker,
        ..SchedulerConfig::of_limits(call.limits.timeout, workers)
    }
}

pub fn format(options: &Options) -> LineFormat {
    match (*options.output_format, *options.delimiter) {
        (OutputFormat::Values, _) => LineFormat::Values,
        (OutputFormat::Records, _) => LineFormat::Records,
        (OutputFormat::Csv, _) => LineFormat::Csv,
        (OutputFormat::Raw, Delimiter::Newline) => LineFormat::Raw { delimiter: Some(b'\n') },
        (OutputFormat::Raw, Delimiter::Nul) => LineFormat::Raw { delimiter: Some(0) },
        (OutputFormat::Raw, Delimiter::None) => LineFormat::Raw { delimiter: None },
    }
}

/// Returns the call with the forms in which items are read and results are written.
pub fn formed(call: TaskCall, options: &Options) -> TaskCall {
    TaskCall {
        item_form: match *options.input_format {
            InputFormat::Jsonl | InputFormat::Json => ItemEncoding::Json,
            InputFormat::Lines | InputFormat::Nul | InputFormat::Files => ItemEncoding::Bytes,
            InputFormat::Csv => ItemEncoding::Csv,
        },
        kept: options.keep.to_vec(),
        takes_failed: matches!(*options.input_format, InputFormat::Jsonl | InputFormat::Json),
        in_parts: options.results.is_some(),
        result_form: match *options.output_format {
            _ if options.results.is_some() => ResultForm::Raw,
            OutputFormat::Raw => ResultForm::Raw,
            OutputFormat::Values | OutputFormat::Records | OutputFormat::Csv => ResultForm::Json,
        },
        ..call
    }
}

/// Returns the columns of the input that are printed with each outcome.
pub fn kept(options: &Options, form: ItemEncoding) -> Option<Arc<KeptColumns>> {
    if options.keep.is_empty() {
        return None;
    }
    let kept = KeptColumns::new((*options.keep).clone(), form);
    Some(Arc::new(if *options.no_header { kept.by_place() } else { kept }))
}

/// All that a run writes. What was made when it was opened is removed when this is dropped before anything was written.
pub struct WrittenFiles {
    pub files: Option<ResultFiles>,
    pub output: RunOutput,
    pub reports: Option<RunReports>,
    /// The directory of the results, which is removed last.
    pub made: FreshDirectory,
}

impl WrittenFiles {
    /// Opens everything, and makes what is not there yet.
    pub fn open(spec: &RunSpec, call: &TaskCall, lists: InputLists) -> Result<WrittenFiles, Stop> {
        let options = &spec.items;
        let made = FreshDirectory::of(options.results.as_deref());
        let journal = options.journal.as_deref().map(|path| Journal::open(path, *options.resume)).transpose();
        let journal = journal.map_err(FilesError::from)?;
        let files = files(spec, call, journal.as_ref().is_some_and(Journal::is_begun))?;
        let output = output(spec, lists, journal)?.beside(files.as_ref().map(ResultFiles::directory));
        let reports = RunReports::of(spec)?;
        Ok(WrittenFiles { files, output, reports, made })
    }
}

/// Opens the files that are written. Files that are also read, or written for another purpose, were refused before
/// ([`apart::check`]).
pub fn output(spec: &RunSpec, lists: InputLists, journal: Option<Journal>) -> Result<RunOutput, FilesError> {
    let options = &spec.items;
    let claims = lists.are_there();
    if !journal.as_ref().is_some_and(Journal::is_begun) {
        lists.check(options, &spec.share_out)?;
    }
    let results = OutputTarget::open(options.output.as_deref(), "the output")?;
    let failed =
        options.failed.as_deref().map(|path| OutputTarget::open(Some(path), "the failed items to")).transpose()?;
    let output = RunOutput::new(results, failed, journal).claiming(claims);
    let files = output.same_files();
    // Two links to one file that did not exist before are detected only now.
    let twice = files.iter().enumerate().any(|(n, file)| files.iter().skip(n + 1).any(|other| other == file));
    match twice {
        true => Err(FilesError::SameFile),
        false => Ok(output),
    }
}

/// Opens the directory for results that go to files of their own.
fn files(spec: &RunSpec, call: &TaskCall, resumed: bool) -> Result<Option<ResultFiles>, FilesError> {
    let options = &spec.items;
    let Some(directory) = &*options.results else {
        return Ok(None);
    };
    let form = formed(call.clone(), options).item_form;
    let files = ResultFiles::create(directory, call.limits.max_output, (*options.results_name).clone(), form, resumed)?;
    let written = [
        ("--output", &options.output),
        ("--failed", &options.failed),
        ("--journal", &options.journal),
        ("--share-out", &spec.share_out),
    ];
    for (option, path) in written {
        if let Some(named) = path.as_deref().filter(|path| files.may_replace(path)) {
            let shown = ForeignText::of(named).to_string();
            let (said, results) = (path.option_name_with(option, &shown), options.results.option_name("--results"));
            return Err(FilesError::NameOfResult { said: said.to_string(), results: results.to_string() });
        }
    }
    Ok(Some(files))
}

/// Returns the identity by which a journal knows the run, besides its task and input: every field that is not skipped
/// in [`RunSpec`], and whether results and failed items are kept in files, and each result in one of its own.
fn identity(spec: &RunSpec, output: &RunOutput) -> RunIdentity {
    let kind = |target: Option<&OutputTarget>| match target.map(OutputTarget::can_be_cut) {
        None => "",
        Some(false) => "a pipe or device",
        Some(true) => "a file",
    };
    RunIdentity::of_options(spec, option_of)
        .and("--output", kind(Some(&output.results)))
        .and("--failed", kind(output.failed.as_ref()))
        .and("--results", if spec.items.results.is_some() { "a directory" } else { "" })
}

/// Returns the option that has the name of this member of a [`RunSpec`].
pub fn option_of(member: &str) -> String {
    match member {
        // These arguments stand after `--` on the command line.
        "arguments" => "the arguments".to_owned(),
        member => format!("--{member}"),
    }
}

/// Returns the size of the longest item: one that does not fit an instance's memory cannot be given to it.
fn longest(spec: &RunSpec) -> usize {
    usize::try_from(*spec.limits.memory).unwrap_or(usize::MAX).min(u32::MAX as usize - 4096)
}

/// Looks at the inputs, which are opened without following links of this run's tasks.
pub fn inputs(spec: &RunSpec) -> Result<InputFiles, Stop> {
    let granted = Writable::of(spec.grants.grants().writable());
    let opened = InputFiles::open(&spec.items.input).map_err(|e| match (&spec.work, &spec.items.tasks) {
        (WorkSpec::Command(command), TaskSpecs::One(task)) if command.arguments.len() == 1 => {
            swapped::with_arguments_among(e, task, &spec.items.input)
        }
        _ => Stop::from(e),
    })?;
    Ok(opened.guarded(InputLinks::new(granted, !spec.verbosity.quiet)))
}

/// Returns the reader that cuts the input into items.
pub fn items(spec: &RunSpec, inputs: InputFiles, progress: &RunProgress) -> Box<dyn ItemSource> {
    let (options, longest) = (&spec.items, longest(spec));
    let inputs = inputs.counted(progress.bytes_read()).written_in(encoding_of(options));
    let lines = |inputs, delimiter, kind| {
        let lines = LineItems::new(inputs, delimiter, kind, longest);
        Box::new(if options.over_hosts() { lines.afar() } else { lines })
    };
    let cut = CsvSettings { delimiter: *options.csv_delimiter, header: !*options.no_header };
    let items: Box<dyn ItemSource> = match *options.input_format {
        InputFormat::Jsonl => {
            // A format that was said counts for more than a name.
            let named = options.input_format.source == SettingSource::Default;
            lines(inputs, b'\n', LineKind::Json { named })
        }
        InputFormat::Json => lines(inputs, b'\n', LineKind::JsonText),
        InputFormat::Lines => lines(inputs, b'\n', LineKind::All),
        InputFormat::Nul => lines(inputs, 0, LineKind::All),
        InputFormat::Csv => Box::new(CsvItems::new(inputs, longest, cut)),
        InputFormat::Files => Box::new(FileItems::new(inputs, path_end(options), longest)),
    };
    match *options.first {
        Some(most) => Box::new(FirstItems::new(items, most)),
        None => items,
    }
}

/// Returns the byte with which each path of a list of files ends.
pub fn path_end(options: &Options) -> u8 {
    if *options.null { 0 } else { b'\n' }
}

/// Returns the text encoding that inputs have.
pub fn encoding_of(options: &Options) -> TextEncoding {
    match *options.input_format {
        InputFormat::Jsonl | InputFormat::Json | InputFormat::Csv => TextEncoding::Utf8,
        InputFormat::Files if *options.null => TextEncoding::Bytes,
        InputFormat::Lines | InputFormat::Files => TextEncoding::Lines,
        InputFormat::Nul => TextEncoding::Bytes,
    }
}

/// Returns the columns of all files, so that a function that they cannot fit is refused before it gets any row. Columns that
/// are kept have to be among them.
pub fn columns(items: &mut dyn ItemSource, options: &Options) -> Result<Vec<(String, CsvColumns)>, Stop> {
    let columns = items.columns().map_err(|e| Error::Input(e.into()))?;
    of_columns(options, &columns)?;
    Ok(columns)
}
