//! Turns outcomes into lines, and writes them on a thread of its own.

mod escaped;
mod files;
mod names;
mod process;
mod record;
mod table;
mod target;
mod writer;

use std::borrow::Cow;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, mpsc};
use std::time::Duration;

pub use files::{ResultFiles, ResultFilesError, unfinished_in};
pub use names::{NameTemplate, NamedItem, TemplateError};
pub use process::{ProcessRecord, json_value, raw_value};
pub use table::{KeptColumns, ResultColumns, VALUE};
pub use target::{OutputTarget, TargetError};
pub use writer::{RunOutput, WriterMessage, write_all};

use crate::rendered::RenderedOutcomes;
use crate::stdio::StatusBehind;
use crate::supervisor::{
    EncodedValue, Event, EventSender, OutcomeRecord, OutcomeSink, OutcomeValue, PlaceWanted, Recorded, WorkerNews,
    split_off,
};
use wasmpool_core::hosts::HostChange;
use wasmpool_core::json::encode_string;
use wasmpool_core::layer::LayerPart;
use wasmpool_core::outcome::{Failure, FailureKind, GuestOutput, OutcomeCounts, SuccessNotes};
use wasmpool_core::policy::ItemEncoding;
use wasmpool_core::setting::Setting;
use wasmpool_core::text::bytes_said;
use wasmpool_ipc::copy;
use wasmpool_ipc::lane::InstanceCounts;
use wasmpool_ipc::lane::outcome::OutcomeBytes;
use wasmpool_scheduler::WorkerId;

/// The form in which outcomes are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFormat {
    /// The bare result as JSON, one per line; failed items are left out.
    Values,
    /// One record per item.
    Records,
    /// One row of CSV per result, below a row with the names of the columns; failed items are left out.
    Csv,
    /// Strings and bytes as they are, each followed by the delimiter.
    Raw { delimiter: Option<u8> },
}

/// Prints outcomes in one of the formats, and counts them.
pub struct OutcomePrinter<'a> {
    lines: OutcomeLines,
    counts: OutcomeCounts,
    besides: ExtraOutputs,
    writer: mpsc::Sender<WriterMessage>,
    /// The supervisor, which is told if a file cannot be written.
    supervisor: EventSender,
    /// True once the journal has recorded, if there is one, that the directory of results is this run's.
    claimed: bool,
    /// True once a file could not be written, so that the run ends: items from then on have no outcome.
    broken: bool,
    /// Number of items that were read, when time passed last.
    items: u64,
    /// The watcher that is told each failure, and that time passes.
    watcher: &'a mut dyn RunWatcher,
    /// Whether the watcher is told of outcomes, and of what items print.
    follows: (bool, bool),
}

/// The files that are written besides the lines.
#[derive(Debug, Default)]
pub struct ExtraOutputs {
    /// The form of the items, if failed ones are to be written.
    pub failed: Option<ItemEncoding>,
    /// True if there is a journal, which is also told of outcomes that print nothing.
    pub journal: bool,
    /// The files to which values go; then only their paths are printed.
    pub files: Option<ResultFiles>,
    /// True if results go to standard output, which may be the terminal that a [`RunWatcher`] shows a line on.
    pub printed: bool,
}

/// An item that failed, as it is told.
#[derive(Clone, Copy, Debug)]
pub struct FailedItem<'a> {
    pub index: u64,
    /// Where it came from: `file:line`, or the path of a file.
    pub source: Option<&'a str>,
    pub failure: &'a Failure,
    /// The counts of the run, with this item.
    pub counts: &'a OutcomeCounts,
}

/// An observer of a run, which reports on standard error or elsewhere.
pub trait RunWatcher {
    /// Reports that the run continues an earlier one, which had these counts.
    fn resumed(&mut self, _counts: &OutcomeCounts) {}
    /// Reports an item that failed.
    fn failed(&mut self, item: &FailedItem<'_>);
    /// Returns true if it is told of each outcome. Asked once.
    fn follows_outcomes(&self) -> bool {
        false
    }
    /// Reports an outcome, after [`RunWatcher::failed`] if the item failed.
    fn outcome(&mut self, _outcome: ItemOutcome<'_>) {}
    /// Returns true if it is told what items have printed. Asked once.
    fn follows_prints(&self) -> bool {
        false
    }
    /// Reports what an item has printed, before its outcome.
    fn printed(&mut self, _index: u64, _printed: &GuestOutput) {}
    /// Reports a chunk that a worker is given: this many items from the first on.
    fn sent(&mut self, _worker: WorkerId, _first: u64, _count: u64) {}
    /// Reports that a worker has loaded the task.
    fn worker_ready(&mut self, _worker: WorkerId) {}
    fn worker_lost(&mut self, worker: WorkerId, how: &str);
    /// Reports what became of a worker.
    fn worker_news(&mut self, _worker: WorkerId, _news: WorkerNews<'_>) {}
    /// Reports at the end how many instances of the task were made and restored, as workers say.
    fn instances(&mut self, _counts: InstanceCounts) {}
    /// Reports that workers cannot be started, while `living` others exist.
    fn short_of_workers(&mut self, living: usize, why: &io::Error);
    fn unprotected(&mut self, lacking: &[LayerPart]);
    /// Reports that the user asked to stop: what runs is finished, and nothing more is started.
    fn stopping(&mut self) {}
    /// Reports something of other machines that the user may want to know.
    fn news(&mut self, _text: &str) {}
    /// Reports what has become of another machine.
    fn host(&mut self, _name: &str, _change: HostChange) {}
    /// Reports that time has passed. Returns when it should be called again.
    fn tick(&mut self, items: u64, counts: &OutcomeCounts) -> Option<Duration>;
    /// Returns the line that stands on the terminal below results which are printed there and make up these counts.
    fn line_behind(&self, _items: u64, _counts: &OutcomeCounts) -> Option<String> {
        None
    }
}

/// What is known of an outcome besides its value.
#[derive(Clone, Copy, Debug)]
pub struct ItemOutcome<'a> {
    pub index: u64,
    pub worker: Option<WorkerId>,
    /// The machine that ran it, if it is another.
    pub host: Option<&'a str>,
    pub attempts: u32,
    pub elapsed: Duration,
    pub failure: Option<&'a Failure>,
}

impl<'a> ItemOutcome<'a> {
    /// Returns what a record says, as of a success.
    pub fn of(record: &OutcomeRecord<'a>) -> ItemOutcome<'a> {
        let &OutcomeRecord { index, worker, host, attempts, elapsed, .. } = record;
        ItemOutcome { index, worker, host, attempts, elapsed, failure: None }
    }
}

/// Returns what a guest printed beside this result.
pub fn printed_beside<'r>(result: &'r Result<OutcomeValue<'_>, Failure>) -> Option<&'r GuestOutput> {
    let printed = match result {
        Ok(value) => &value.beside.as_ref()?.printed,
        Err(failure) => &failure.printed,
    };
    (!printed.is_empty()).then_some(printed)
}

impl<'a> OutcomePrinter<'a> {
    pub fn new(
        lines: OutcomeLines,
        counts: OutcomeCounts,
        besides: ExtraOutputs,
        writer: mpsc::Sender<WriterMessage>,
        supervisor: EventSender,
        watcher: &'a mut dyn RunWatcher,
    ) -> Self {
        let follows = (watcher.follows_outcomes(), watcher.follows_prints());
        let claimed = !besides.journal || besides.files.is_none();
        OutcomePrinter {
            lines,
            counts,
            besides,
            writer,
            supervisor,
            claimed,
            broken: false,
            items: 0,
            watcher,
            follows,
        }
    }

    /// Puts a value into its file, and returns the path to print. Returns `None` if it cannot be written.
    fn file<'v>(
        &mut self,
        record: &mut OutcomeRecord<'_>,
        result: Result<OutcomeValue<'v>, Failure>,
    ) -> Option<Result<OutcomeValue<'v>, Failure>> {
        let (Some(files), Some(worker)) = (&mut self.besides.files, record.worker) else {
            return Some(result);
        };
        let value = match result.inspect_err(|_| files.forget(worker)) {
            Ok(value) => value,
            failed => return Some(failed),
        };
        let EncodedValue::One(rest) = &value.encoded else {
            return Some(Err(invalid("the worker sent several values for one file")));
        };
        if !std::mem::replace(&mut self.claimed, true) {
            let (done, claimed) = mpsc::channel();
            if self.writer.send(WriterMessage::Claim(done)).is_ok() {
                // The writer drops the other end; if it fails it says so itself.
                let _ = claimed.recv();
            }
        }
        let nth = record.index;
        record.locate(self.lines.takes_failed, PlaceWanted::OfSuccess);
        let name = match files.choose(record, self.lines.takes_failed, nth) {
            Ok(name) => name,
            Err(why) => {
                files.forget(worker);
                return Some(Err(invalid(&why.to_string())));
            }
        };
        let path = files.finish(worker, (nth, &name), rest).map_err(|e| self.cannot_write(e)).ok()?;
        let shown = path.to_string_lossy();
        let mut printed = Vec::new();
        match self.lines.format {
            LineFormat::Raw { .. } => printed.extend_from_slice(path.as_os_str().as_bytes()),
            LineFormat::Values | LineFormat::Records | LineFormat::Csv => encode_string(&shown, &mut printed),
        }
        Some(Ok(OutcomeValue { encoded: EncodedValue::One(OutcomeBytes::Owned(printed)), ..value }))
    }

    /// Ends the run. A full disk is no fault of the item's: neither it nor any later item has an outcome.
    fn cannot_write(&mut self, e: io::Error) {
        self.broken = true;
        self.supervisor.send(Event::OutputFailed(e));
    }

    pub fn counts(&self) -> &OutcomeCounts {
        &self.counts
    }
}

/// The settings by which outcomes become lines.
#[derive(Clone, Debug)]
pub struct OutcomeLines {
    format: LineFormat,
    /// The name of the task, if there are several tasks, and the members of a record that tell it.
    task: Option<String>,
    label: String,
    /// Columns of the input that are printed, too.
    keep: Option<Arc<KeptColumns>>,
    /// The columns of results that are printed as CSV.
    columns: ResultColumns,
    /// True if records leave out what differs from run to run: the worker, and the time taken.
    deterministic: bool,
    /// True if an item may be the line of one that failed in an earlier run.
    takes_failed: bool,
    /// Maximum bytes of the records of one outcome with several values, and of the record of a failure.
    most: usize,
}

/// Limit of the records of one outcome with several values, as a multiple of the largest result. A record is a hundred
/// bytes longer than a short value, and three million numbers fit into 16 MiB.
const RECORDS: u64 = 4;
/// The factor by which escaping lengthens a text at most. A text may be written as JSON first, which lengthens it as much,
/// and then has nothing left to escape.
const MOST_ESCAPED: usize = 6;
/// Bytes that the records of one outcome may take in any case: they also hold what the guest printed.
const RECORDS_AT_LEAST: u64 = 1 << 20;

impl OutcomeLines {
    pub fn new(format: LineFormat) -> OutcomeLines {
        OutcomeLines {
            format,
            task: None,
            label: String::new(),
            keep: None,
            columns: ResultColumns::default(),
            deterministic: false,
            takes_failed: false,
            most: usize::MAX,
        }
    }

    /// Makes the settings for one of several tasks.
    pub fn of_task(format: LineFormat, task: &str) -> OutcomeLines {
        OutcomeLines { task: Some(task.to_owned()), label: record::label(task), ..OutcomeLines::new(format) }
    }

    /// Sets the columns of the input that are printed with each outcome.
    pub fn keeping(self, keep: Option<Arc<KeptColumns>>) -> OutcomeLines {
        OutcomeLines { keep, ..self }
    }

    /// Sets the columns of results that are printed as CSV.
    pub fn in_columns(self, columns: ResultColumns) -> OutcomeLines {
        OutcomeLines { columns, ..self }
    }

    /// Sets the maximum bytes of an outcome.
    pub fn within(self, max_output: u64) -> OutcomeLines {
        let most = max_output.saturating_mul(RECORDS).saturating_add(RECORDS_AT_LEAST);
        OutcomeLines { most: usize::try_from(most).unwrap_or(usize::MAX), ..self }
    }

    /// Sets whether records must be the same in every run.
    pub fn deterministic(self, deterministic: bool) -> OutcomeLines {
        OutcomeLines { deterministic, ..self }
    }

    /// Sets whether an item may be the line of one that failed in an earlier run, under whose index it is then recorded.
    pub fn taking_failed(self, takes_failed: bool) -> OutcomeLines {
        OutcomeLines { takes_failed, ..self }
    }

    /// Removes from a record what is not printed.
    pub fn reduce(&self, record: &mut OutcomeRecord<'_>) {
        if self.deterministic {
            record.elapsed = Duration::ZERO;
            record.worker = None;
            record.host = None;
        }
    }

    /// Appends the printed form of an outcome, and returns its failure if it is one.
    pub fn outcome(
        &self,
        record: &mut OutcomeRecord<'_>,
        result: Result<OutcomeValue<'_>, Failure>,
        to: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        if self.format == LineFormat::Records && result.is_ok() {
            record.locate(self.takes_failed, PlaceWanted::OfSuccess);
        }
        let beside = self.beside(record);
        let result =
            result.and_then(|value| self.value(record, &beside, value, to)).map_err(|failure| self.bounded(failure));
        if result.is_err() {
            record.locate(self.takes_failed, PlaceWanted::OfFailure);
        }
        if let (LineFormat::Records, Err(failure)) = (self.format, &result) {
            record::failed(record, &beside.label, failure, to);
        }
        result
    }

    /// Returns what is printed of the item of an outcome.
    fn beside(&self, record: &mut OutcomeRecord<'_>) -> PrintedItem<'_> {
        let Some(keep) = &self.keep else {
            return PrintedItem { label: Cow::Borrowed(&self.label), kept: Vec::new() };
        };
        let kept = keep.values(record);
        let label = match self.format {
            LineFormat::Records => Cow::Owned(format!("{}{}", self.label, keep.member(&kept))),
            LineFormat::Values | LineFormat::Csv | LineFormat::Raw { .. } => Cow::Borrowed(&*self.label),
        };
        PrintedItem { label, kept }
    }

    /// Returns the failure, or another in its place if its record would be too long: characters that are not shown as they
    /// are take up to six times their bytes.
    fn bounded(&self, failure: Failure) -> Failure {
        let payload = failure.error.as_ref().map_or(0, |error| error.get().len());
        let texts = [&failure.message, &failure.printed.stdout, &failure.printed.stderr].map(String::len);
        let raw = payload + texts.iter().sum::<usize>();
        if raw <= self.most / MOST_ESCAPED || escaped::length(&failure) <= self.most as u64 {
            return failure;
        }
        let max_output = Setting::MaxOutput;
        Failure::new(
            FailureKind::OutputTooLarge,
            format!(
                "the record of its failure ({}) is longer than {}, {RECORDS} times {max_output}, since characters that \
                 are not shown are escaped; allow more with {max_output}",
                failure.kind.name(),
                bytes_said(self.most as u64),
            ),
        )
    }

    /// Appends the printed form of an item that nobody tried to run.
    pub fn untried(&self, index: u64, failure: &Failure, to: &mut Vec<u8>) {
        if self.format == LineFormat::Records {
            record::untried(index, &self.label, failure, to);
        }
    }

    /// Appends a success. A value that would break the framing is removed again, and reported as invalid.
    fn value(
        &self,
        record: &OutcomeRecord<'_>,
        item: &PrintedItem<'_>,
        value: OutcomeValue<'_>,
        to: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let start = to.len();
        let mut beside = value.beside.as_deref();
        let result = match value.encoded {
            EncodedValue::One(element) => self.element(record, item, beside, element, to),
            EncodedValue::Many(many) => elements(many).try_for_each(|element| {
                let element = element.ok_or_else(|| invalid("the worker sent values that cannot be told apart"))?;
                // What the guest printed belongs to the call, and is reported once.
                self.element(record, item, beside.take(), OutcomeBytes::Borrowed(element), to)?;
                if to.len() - start > self.most { Err(self.too_many_records()) } else { Ok(()) }
            }),
        };
        if result.is_err() {
            // The room that was reserved may be far more than what remains needs.
            to.truncate(start);
            to.shrink_to(2 * start);
        }
        result
    }

    fn too_many_records(&self) -> Failure {
        let max_output = Setting::MaxOutput;
        Failure::new(
            FailureKind::OutputTooLarge,
            format!(
                "the records of its elements are longer than {}, {RECORDS} times {max_output}; allow more with \
                 {max_output}, or take {}",
                bytes_said(self.most as u64),
                Setting::OutputOfValues
            ),
        )
    }

    fn element(
        &self,
        record: &OutcomeRecord<'_>,
        item: &PrintedItem<'_>,
        beside: Option<&SuccessNotes>,
        element: OutcomeBytes<'_>,
        to: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        match self.format {
            LineFormat::Raw { delimiter: Some(delimiter) } => {
                if memchr::memchr(delimiter, &element).is_some() {
                    let (name, other) = match delimiter {
                        0 => ("a NUL", "none"),
                        _ if element.contains(&0) => ("a newline", "none"),
                        _ => ("a newline", "nul"),
                    };
                    return Err(invalid(&format!(
                        "the result holds {name}, the delimiter of the output; {} takes it as it is, and {} puts each into a \
                         file of its own",
                        Setting::Delimiter.with(other),
                        Setting::Results
                    )));
                }
                append(element, to);
                to.push(delimiter);
            }
            LineFormat::Raw { delimiter: None } => append(element, to),
            LineFormat::Values => {
                one_json_value(&element)?;
                match &self.keep {
                    None => append(element, to),
                    Some(keep) => {
                        to.push(b'{');
                        keep.append(&item.kept, to);
                        encode_string(VALUE, to);
                        to.push(b':');
                        copy::append(&element, to);
                        to.push(b'}');
                    }
                }
                to.push(b'\n');
            }
            LineFormat::Records => {
                one_json_value(&element)?;
                record::ok(record, &item.label, &element, beside, to);
            }
            LineFormat::Csv => {
                one_json_value(&element)?;
                to.extend_from_slice(&self.columns.row(self.task.as_deref(), &item.kept, &element)?);
            }
        }
        Ok(())
    }
}

/// What is printed of an item with its outcome.
struct PrintedItem<'a> {
    /// The members that follow the index in a record.
    label: Cow<'a, str>,
    /// The JSON of each column of the input that is kept.
    kept: Vec<String>,
}

impl OutcomeSink for OutcomePrinter<'_> {
    fn record(
        &mut self,
        mut record: OutcomeRecord<'_>,
        result: Result<OutcomeValue<'_>, Failure>,
        to: &mut RenderedOutcomes,
    ) -> Recorded {
        if self.broken {
            return Recorded::Unkept;
        }
        let Some(result) = self.file(&mut record, result) else {
            return Recorded::Unkept;
        };
        let (outcomes, prints) = self.follows;
        if prints && let Some(printed) = printed_beside(&result) {
            self.watcher.printed(record.index, printed);
        }
        let outcome = outcomes.then(|| ItemOutcome::of(&record));
        self.lines.reduce(&mut record);
        let Err(failure) = self.lines.outcome(&mut record, result, &mut to.results) else {
            self.counts.count(None);
            to.counts.count(None);
            if let Some(outcome) = outcome {
                self.watcher.outcome(outcome);
            }
            return Recorded::Success;
        };
        self.counts.count(Some(failure.kind));
        to.counts.count(Some(failure.kind));
        let (index, source) = (record.index, record.source.as_deref());
        self.watcher.failed(&FailedItem { index, source, failure: &failure, counts: &self.counts });
        if let Some(outcome) = outcome {
            self.watcher.outcome(ItemOutcome { failure: Some(&failure), ..outcome });
        }
        if let Some(form) = self.besides.failed {
            record::failed_item(&mut record, &failure, form, &mut to.failed);
        }
        Recorded::Failure
    }

    fn emit(&mut self, mut groups: Vec<RenderedOutcomes>) {
        groups.retain(|group| group.bytes() > 0 || self.besides.journal);
        if !groups.is_empty() {
            let is_printed = self.besides.printed && groups.iter().any(|group| !group.results.is_empty());
            let line = if is_printed { self.watcher.line_behind(self.items, &self.counts) } else { None };
            // If the writer is gone, its thread reports the reason.
            let _ = self.writer.send(WriterMessage::Next(groups, line.map(StatusBehind::new)));
        }
    }

    fn wait(&mut self, group: RenderedOutcomes) {
        let _ = self.writer.send(WriterMessage::Waiting(group));
    }

    fn part(&mut self, worker: WorkerId, bytes: &[u8]) -> bool {
        let Some(files) = self.besides.files.as_mut().filter(|_| !self.broken) else {
            return self.broken;
        };
        // A file that cannot be written ends the run, not the worker.
        files.part(worker, bytes).unwrap_or_else(|e| {
            self.cannot_write(e);
            true
        })
    }

    fn forget_parts(&mut self, worker: WorkerId) {
        if let Some(files) = &mut self.besides.files {
            files.forget(worker);
        }
    }

    fn instances(&mut self, counts: InstanceCounts) {
        self.watcher.instances(counts);
    }

    fn sent(&mut self, worker: WorkerId, first: u64, count: u64) {
        self.watcher.sent(worker, first, count);
    }

    fn worker_ready(&mut self, worker: WorkerId) {
        self.watcher.worker_ready(worker);
    }

    fn worker_lost(&mut self, worker: WorkerId, how: &str) {
        self.watcher.worker_lost(worker, how);
    }

    fn worker_news(&mut self, worker: WorkerId, news: WorkerNews<'_>) {
        self.watcher.worker_news(worker, news);
    }

    fn short_of_workers(&mut self, living: usize, why: &io::Error) {
        self.watcher.short_of_workers(living, why);
    }

    fn unprotected(&mut self, lacking: &[LayerPart]) {
        self.watcher.unprotected(lacking);
    }

    fn stopping(&mut self) {
        self.watcher.stopping();
    }

    fn news(&mut self, text: &str) {
        self.watcher.news(text);
    }

    fn host(&mut self, name: &str, change: HostChange) {
        self.watcher.host(name, change);
    }

    fn tick(&mut self, items: u64) -> Option<Duration> {
        self.items = items;
        self.watcher.tick(items, &self.counts)
    }
}

/// Checks that one line is one outcome and one JSON value: no guest can forge a second, or the rest of a record.
fn one_json_value(element: &[u8]) -> Result<(), Failure> {
    if is_integer(element) {
        return Ok(());
    }
    if memchr::memchr2(b'\n', b'\r', element).is_some() {
        return Err(invalid("the worker sent a value of several lines"));
    }
    // A parser that skips a string does not check that it is valid UTF-8.
    let text = str::from_utf8(element).map_err(|_| invalid("the worker sent a value that is not UTF-8"))?;
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => Ok(()),
        Err(_) => Err(invalid("the worker sent a value that is not JSON")),
    }
}

/// Returns true for integers, the most common values, which are recognised without a parser.
fn is_integer(element: &[u8]) -> bool {
    match element.strip_prefix(b"-").unwrap_or(element) {
        [b'0'] => true,
        [b'1'..=b'9', digits @ ..] => digits.len() < 20 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

fn invalid(message: &str) -> Failure {
    Failure::new(FailureKind::InvalidOutput, message)
}

/// Returns the values of an outcome; `None` for bytes that are not length-prefixed values.
fn elements(many: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let mut many = Some(many);
    std::iter::from_fn(move || {
        let bytes = many.take().filter(|bytes| !bytes.is_empty())?;
        let Some((element, rest)) = split_off(bytes) else {
            return Some(None);
        };
        many = Some(rest);
        Some(Some(element))
    })
}

/// Appends by moving where possible.
fn append(element: OutcomeBytes<'_>, to: &mut Vec<u8>) {
    match element {
        OutcomeBytes::Owned(element) if to.is_empty() => *to = element,
        element => copy::append(&element, to),
    }
}
