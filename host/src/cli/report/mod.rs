//! `--report` and `--trace`: what a run did, gathered while it goes on and written at its end, whatever the end is.
//!
//! [`RunRecorder`] gathers what the supervisor reports, in sums and in collections of a bounded size, which are pure and know
//! nothing of files. [`figures`] makes of it what a report says, [`page`] a page of that, [`trace`] a trace.

mod figures;
mod histogram;
mod page;
mod record;
mod spans;
mod timeline;
mod trace;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::exit::{Exit, Stop};
use super::progress::RunProgress;
use super::spec::RunSpec;
use super::units::ReportForm;
use super::whole::WholeFile;
use figures::{Report, RunEndFigures};
pub use record::RunRecorder;
use wasmpool_core::chain::with_sources;
use wasmpool_core::hosts::HostChange;
use wasmpool_core::layer::LayerPart;
use wasmpool_core::outcome::{GuestOutput, OutcomeCounts};
use wasmpool_core::text::ForeignText;
use wasmpool_ipc::lane::InstanceCounts;
use wasmpool_run::output::{FailedItem, ItemOutcome, RunWatcher};
use wasmpool_run::supervisor::WorkerNews;
use wasmpool_scheduler::WorkerId;

/// The beginning of the name that a report has for a moment, or while it is written where there are no files without a name.
const UNFINISHED: &str = ".wasmpool-report-";

/// The files that tell of a run.
#[derive(Debug)]
pub struct RunReports {
    files: Vec<ReportTarget>,
    began: SystemTime,
}

#[derive(Debug)]
struct ReportTarget {
    content: ReportContent,
    path: PathBuf,
    file: WholeFile,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReportContent {
    Page,
    Figures,
    Trace,
}

/// Error: a report or a trace cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the {what} {}", ForeignText::of(.path))]
pub struct ReportError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The files that could not be written after a run, of which there is at least one.
#[derive(Debug)]
pub struct ReportErrors(Vec<ReportError>);

impl ReportErrors {
    /// Returns what is said, a line for each file.
    fn message(&self) -> String {
        self.0.iter().map(|error| with_sources(error) + "\n").collect()
    }

    /// Adds them to how a run ended that wrote these files.
    pub fn after(&self, result: Result<Exit, Stop>) -> Stop {
        let Err(Stop { exit, message }) = result else {
            return Stop::from(self.message());
        };
        Stop { exit, message: format!("{message}\n{}", self.message()) }
    }
}

impl ReportContent {
    fn unwritten(self, path: &Path, source: io::Error) -> ReportError {
        let what = if self == ReportContent::Trace { "trace" } else { "report" };
        ReportError { what, path: path.to_owned(), source }
    }
}

impl RunReports {
    /// Makes the files that a run was asked for. Returns `None` if there are none.
    pub fn of(spec: &RunSpec) -> Result<Option<RunReports>, ReportError> {
        let reports = spec.items.report.iter().map(|report| {
            let content = match report.form {
                ReportForm::Html => ReportContent::Page,
                ReportForm::Json => ReportContent::Figures,
            };
            (content, report.path.as_path())
        });
        let trace = spec.items.trace.as_deref().map(|path| (ReportContent::Trace, path));
        let made = reports.chain(trace).map(|(content, path)| {
            let file = WholeFile::make(path, UNFINISHED).map_err(|e| content.unwritten(path, e))?;
            Ok(ReportTarget { content, path: path.to_owned(), file })
        });
        let files = made.collect::<Result<Vec<_>, ReportError>>()?;
        Ok((!files.is_empty()).then(|| RunReports { files, began: SystemTime::now() }))
    }

    /// Makes the recorder of a task that begins at this moment.
    pub fn recorder(&self, start: Instant) -> RunRecorder {
        RunRecorder::new(start, self.files.iter().any(|file| file.content == ReportContent::Trace))
    }

    /// Writes all files, also if one of them cannot be written. Where a journal says that all was done before, the report of the
    /// run that did it stays.
    pub fn write(
        self,
        spec: &RunSpec,
        workers: usize,
        end: RunEnding<'_>,
        mut recorders: Vec<(String, RunRecorder)>,
    ) -> Result<(), ReportErrors> {
        let elapsed = recorders.iter_mut().map(|(_, recorder)| recorder.end()).max().unwrap_or_default();
        let did_nothing = matches!(end.result, Ok(Exit::Finished(_)));
        let files = self.files.into_iter().filter(|file| !(did_nothing && file.path.exists()));
        let (traces, others): (Vec<_>, Vec<_>) = files.partition(|file| file.content == ReportContent::Trace);
        let mut unwritten = Vec::new();
        for ReportTarget { content, path, file } in traces {
            let written = file.write(|out| trace::write(&recorders, out));
            unwritten.extend(written.err().map(|e| content.unwritten(&path, e)));
        }
        let began = humantime::format_rfc3339_millis(self.began).to_string();
        let RunEnding { result, counts, done_before } = end;
        let report = Report::new(spec, workers, began, elapsed, figures_of(result), (counts, done_before), recorders);
        for ReportTarget { content, path, file } in others {
            let written = file.write(|out| match content {
                ReportContent::Page => out.write_all(page::page(&report, &nonce()).as_bytes()),
                _ => {
                    serde_json::to_writer(&mut *out, &report)?;
                    out.write_all(b"\n")
                }
            });
            unwritten.extend(written.err().map(|e| content.unwritten(&path, e)));
        }
        if unwritten.is_empty() { Ok(()) } else { Err(ReportErrors(unwritten)) }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug)]
pub struct RunEnding<'a> {
    pub result: Result<Exit, &'a Stop>,
    pub counts: &'a OutcomeCounts,
    /// Number of items that an earlier run did.
    pub done_before: u64,
}

fn figures_of(result: Result<Exit, &Stop>) -> RunEndFigures {
    match result {
        Err(Stop { exit, message }) => {
            RunEndFigures { how: "error", exit_code: exit.code(), message: Some(message.clone()) }
        }
        Ok(exit) => RunEndFigures {
            how: match exit {
                Exit::Success | Exit::Failures | Exit::Finished(_) => "complete",
                Exit::Halted => "halted",
                Exit::Signal(_) => "interrupted",
                Exit::OutputClosed => "output-closed",
                Exit::Usage | Exit::Sandbox => "error",
            },
            exit_code: exit.code(),
            message: None,
        },
    }
}

/// Returns a word that nobody could know before.
fn nonce() -> String {
    let word = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", word(), word())
}

/// A watcher that shows a run's progress, and records it for reports if there are any.
pub struct RecordedProgress {
    pub progress: RunProgress,
    pub recorder: Option<RunRecorder>,
}

impl RecordedProgress {
    /// Makes the watcher of a run with these reports.
    pub fn new(progress: RunProgress, reports: Option<&RunReports>) -> RecordedProgress {
        RecordedProgress { progress, recorder: reports.map(|reports| reports.recorder(Instant::now())) }
    }

    fn record(&mut self, act: impl FnOnce(&mut RunRecorder)) {
        if let Some(recorder) = &mut self.recorder {
            act(recorder);
        }
    }
}

impl RunWatcher for RecordedProgress {
    fn resumed(&mut self, counts: &OutcomeCounts) {
        self.record(RunRecorder::begin);
        self.progress.resumed(counts);
    }

    fn failed(&mut self, item: &FailedItem<'_>) {
        self.progress.failed(item);
    }

    fn follows_outcomes(&self) -> bool {
        self.recorder.is_some()
    }

    fn outcome(&mut self, outcome: ItemOutcome<'_>) {
        self.record(|recorder| recorder.outcome(outcome));
    }

    fn follows_prints(&self) -> bool {
        self.progress.follows_prints()
    }

    fn printed(&mut self, index: u64, printed: &GuestOutput) {
        self.progress.printed(index, printed);
    }

    fn sent(&mut self, worker: WorkerId, first: u64, count: u64) {
        self.record(|recorder| recorder.sent(worker, first, count));
    }

    fn worker_ready(&mut self, worker: WorkerId) {
        self.record(|recorder| recorder.worker_ready(worker));
    }

    fn worker_lost(&mut self, worker: WorkerId, how: &str) {
        self.progress.worker_lost(worker, how);
    }

    fn worker_news(&mut self, worker: WorkerId, news: WorkerNews<'_>) {
        self.record(|recorder| recorder.worker_news(worker, news));
    }

    fn instances(&mut self, counts: InstanceCounts) {
        self.record(|recorder| recorder.instances.add(counts));
        self.progress.instances(counts);
    }

    fn short_of_workers(&mut self, living: usize, why: &io::Error) {
        self.progress.short_of_workers(living, why);
    }

    fn unprotected(&mut self, lacking: &[LayerPart]) {
        self.record(|recorder| recorder.lacking.extend(lacking));
        self.progress.unprotected(lacking);
    }

    fn stopping(&mut self) {
        self.progress.stopping();
    }

    fn news(&mut self, text: &str) {
        self.progress.news(text);
    }

    fn host(&mut self, name: &str, change: HostChange) {
        self.progress.host(name, change);
    }

    fn tick(&mut self, items: u64, counts: &OutcomeCounts) -> Option<Duration> {
        self.record(RunRecorder::tick);
        self.progress.tick(items, counts)
    }

    fn line_behind(&self, items: u64, counts: &OutcomeCounts) -> Option<String> {
        self.progress.line_behind(items, counts)
    }
}
