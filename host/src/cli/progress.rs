//! The progress of a run on standard error: the bar, the first failures, the summary.

use std::io::{self, IsTerminal, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use wasmpool_run::tell;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::alike::{FirstFailures, MANY};
use super::args::{ShowProgress as When, Verbosity};
use super::signals::STOPPING;
use wasmpool_core::layer::LayerPart;
use wasmpool_core::outcome::OutcomeCounts;
use wasmpool_core::text::{ForeignText, MessageLines};
use wasmpool_ipc::lane::InstanceCounts;
use wasmpool_run::output::{FailedItem, RunWatcher};
use wasmpool_sandbox::surroundings::error_with_limit;
use wasmpool_scheduler::WorkerId;

/// Number of failures that are printed as they happen.
const TOLD: u32 = 5;
/// Interval at which the bar is redrawn.
const EVERY: Duration = Duration::from_millis(100);

/// Interval at which a line is printed where no bar can be drawn.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// The display of a run's progress.
pub struct RunProgress {
    shown: Option<ProgressDisplay>,
    quiet: bool,
    verbose: bool,
    told: u32,
    first: FirstFailures,
    start: Instant,
    /// Number of items that were done when this run started.
    before: u64,
    last: Instant,
    read: Arc<AtomicU64>,
    size: Option<u64>,
}

enum ProgressDisplay {
    Bar(ProgressBar),
    /// A line from time to time: progress was asked for, but standard error is no terminal.
    Lines,
}

impl RunProgress {
    /// Makes the display; `size` is the size of the whole input in bytes, if it is known.
    pub fn new(when: When, verbosity: Verbosity, size: Option<u64>) -> RunProgress {
        let (quiet, verbose) = (verbosity.quiet, verbosity.verbose > 0);
        let shown = match (when, stderr().is_terminal()) {
            (When::Auto, true) if !quiet => Some(ProgressDisplay::Bar(bar())),
            (When::Always, true) => Some(ProgressDisplay::Bar(bar())),
            (When::Always, false) => Some(ProgressDisplay::Lines),
            _ => None,
        };
        RunProgress {
            shown,
            quiet,
            verbose,
            told: 0,
            first: FirstFailures::default(),
            start: Instant::now(),
            before: 0,
            last: Instant::now(),
            read: Arc::default(),
            size,
        }
    }

    /// Returns the counter of bytes that the reader of the input increases.
    pub fn bytes_read(&self) -> Arc<AtomicU64> {
        self.read.clone()
    }

    /// Returns true if there is a bar, or lines in its place.
    pub fn is_shown(&self) -> bool {
        self.shown.is_some()
    }

    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Ends the display when the run is over.
    pub fn finish(&self, counts: &OutcomeCounts) {
        match &self.shown {
            Some(ProgressDisplay::Bar(bar)) => bar.finish_and_clear(),
            Some(ProgressDisplay::Lines) => tell!("wasmpool: {}", self.line(counts)),
            None => {}
        }
    }

    fn line(&self, counts: &OutcomeCounts) -> String {
        let rate = counts.done.saturating_sub(self.before) as f64 / self.start.elapsed().as_secs_f64().max(1e-3);
        format!("{} done, {} failed, {rate:.0}/s", counts.done, counts.failures())
    }

    /// Estimates the total number of items from the share of the input's bytes from which `items` were read.
    fn expected(&self, items: u64) -> Option<u64> {
        let read = self.read.load(Ordering::Relaxed);
        let size = self.size?;
        (read > 0 && items > 0).then(|| (items as f64 * size as f64 / read as f64) as u64)
    }

    /// Prints the summary, if anything failed.
    pub fn summary(&self, counts: &OutcomeCounts) {
        if counts.failures() == 0 {
            return;
        }
        tell!("wasmpool: {} of {} items failed: {}", counts.failures(), counts.done, kinds(counts));
    }

    /// Reports that the first items all failed alike, of the task that `of_task` names, if there are several.
    pub fn tell_alike(&self, of_task: &str) {
        if !self.quiet {
            let (count, task) = (MANY, of_task);
            self.say(&format!(
                "wasmpool: the first {count} items{task} all failed alike; with --halt soon,fail={count} the run would \
                 end here"
            ));
        }
    }

    /// Prints a failure, unless there were many already. `of_task` names its task, if there are several.
    pub fn tell_failure(&mut self, of_task: &str, item: &FailedItem<'_>) {
        if self.quiet || self.told > TOLD {
            return;
        }
        self.told += 1;
        if self.told > TOLD {
            self.say("wasmpool: more items failed; --output-format records tells of each");
            return;
        }
        let FailedItem { index, source, failure, .. } = item;
        let what = format!("{}item {index}{of_task}", source.map(place).unwrap_or_default());
        self.say(&format!(
            "wasmpool: {what} failed: {}: {}",
            failure.kind.name(),
            ForeignText::of_failure(&failure.message)
        ));
    }

    pub fn say(&self, message: &str) {
        match &self.shown {
            Some(ProgressDisplay::Bar(bar)) => bar.println(message),
            _ => tell!("{message}"),
        }
    }
}

/// Returns where an item came from, in front of what is said of it.
fn place(source: &str) -> String {
    match source.strip_prefix("-:") {
        Some(line) => format!("line {line}: "),
        None => format!("{}: ", ForeignText::of(source)),
    }
}

/// Returns the number of failures of each kind, as text.
pub fn kinds(counts: &OutcomeCounts) -> String {
    let kinds: Vec<String> = counts.failed.iter().map(|(kind, n)| format!("{n} {}", kind.name())).collect();
    kinds.join(", ")
}

/// Returns the message for workers that cannot be started.
pub fn short_of_workers(living: usize, why: &io::Error) -> String {
    let why = error_with_limit(why);
    match living {
        0 => format!("wasmpool: cannot start a worker process: {why}; it is tried again"),
        _ => format!("wasmpool: cannot start more than {living} worker processes: {why}; the run goes on with these"),
    }
}

/// Returns the message for a sandbox that lacks something.
pub fn without(lacking: &[LayerPart]) -> String {
    let names: Vec<&str> = lacking.iter().map(|part| part.name()).collect();
    format!("wasmpool: workers run without: {} (`wasmpool doctor` says why)", names.join("; "))
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
    bar.set_style(style("{spinner} {msg} {elapsed}"));
    bar
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl RunWatcher for RunProgress {
    fn resumed(&mut self, counts: &OutcomeCounts) {
        self.before = counts.done;
        if self.verbose && counts.done > 0 {
            self.say(&format!("wasmpool: {} items are done already; the run goes on behind them", counts.done));
        }
    }

    fn failed(&mut self, item: &FailedItem<'_>) {
        self.tell_failure("", item);
        if self.first.note(item.failure, item.counts) {
            self.tell_alike("");
        }
    }

    fn worker_lost(&mut self, worker: WorkerId, how: &str) {
        if self.verbose {
            self.say(&format!("wasmpool: worker {} ended ({})", worker + 1, ForeignText::of(how)));
        }
    }

    fn instances(&mut self, InstanceCounts { made, restored }: InstanceCounts) {
        if self.verbose && made > 0 {
            self.say(&format!("wasmpool: {made} instances were made, and {restored} items got a restored one"));
        }
    }

    fn short_of_workers(&mut self, living: usize, why: &io::Error) {
        if !self.quiet {
            self.say(&short_of_workers(living, why));
        }
    }

    fn unprotected(&mut self, lacking: &[LayerPart]) {
        if !self.quiet {
            self.say(&without(lacking));
        }
    }

    fn stopping(&mut self) {
        if !self.quiet {
            self.say(&format!("wasmpool: {STOPPING}"));
        }
    }

    fn news(&mut self, text: &str) {
        if !self.quiet {
            self.say(&format!("wasmpool: {}", MessageLines(text)));
        }
    }

    fn tick(&mut self, items: u64, counts: &OutcomeCounts) -> Option<Duration> {
        let every = match self.shown.as_ref()? {
            ProgressDisplay::Bar(_) => EVERY,
            ProgressDisplay::Lines => LINE_EVERY,
        };
        let since = self.last.elapsed();
        if since < every {
            return Some(every - since);
        }
        self.last = Instant::now();
        let line = self.line(counts);
        let expected = self.expected(items);
        match &self.shown {
            Some(ProgressDisplay::Bar(bar)) => {
                if let Some(expected) = expected {
                    if bar.length().is_none() {
                        bar.set_style(style("{bar:30} {percent}% {msg} {elapsed} left {eta}"));
                    }
                    bar.set_length(expected);
                }
                bar.set_position(counts.done);
                bar.set_message(line);
                bar.tick();
            }
            _ => match expected {
                Some(expected) => tell!("wasmpool: {line}, some {expected} in all"),
                None => tell!("wasmpool: {line}"),
            },
        }
        Some(every)
    }
}
