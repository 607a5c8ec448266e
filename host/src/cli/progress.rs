//! The progress of a run on standard error: the bar, the first failures, the summary.

mod hosts;
mod line;
mod pace;

use std::io::{self, IsTerminal, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::alike::{FirstFailures, MANY};
use super::args::{ShowProgress as When, Verbosity};
use super::listed::ListOfFiles;
use super::signals::STOPPING;
use super::terminal;
use hosts::{HostsLine, HostsNews};
use line::ProgressFigures;
pub use line::{elapsed_said, grouped, rate_said};
use pace::Pace;
use wasmpool_core::hosts::HostChange;
use wasmpool_core::layer::LayerPart;
use wasmpool_core::outcome::{FailureKind, GuestOutput, OutcomeCounts};
use wasmpool_core::text::{ForeignText, MessageLines, QuotedOutput};
use wasmpool_ipc::lane::InstanceCounts;
use wasmpool_run::clock::RunClock;
use wasmpool_run::output::{FailedItem, RunWatcher};
use wasmpool_run::stdio::{Facts, Level, clear_status, renew_status, shares_terminal, show_status, writes_json};
use wasmpool_run::tell_as;
use wasmpool_sandbox::surroundings::error_with_limit;
use wasmpool_scheduler::WorkerId;

/// Number of failures that are printed as they happen.
const TOLD: u32 = 5;
/// Number of items whose prints are shown with `-v`; with `-vv` all are.
const PRINTS: u32 = 20;
/// Interval at which the bar is redrawn.
const EVERY: Duration = Duration::from_millis(100);
/// Interval at which a line is printed where no bar can be drawn, if lines were asked for, and at a terminal.
const LINE_EVERY: Duration = Duration::from_secs(1);
const LINE_AT_TERMINAL_EVERY: Duration = Duration::from_secs(10);

/// The display of a run's progress.
pub struct RunProgress {
    shown: Option<ProgressDisplay>,
    /// True if the run ends with its figures: a person watches.
    summarises: bool,
    quiet: bool,
    verbose: u8,
    told: u32,
    printed: u32,
    first: FirstFailures,
    /// True if it is said that the first items all fail alike.
    warns: bool,
    /// The list of files that the input is to be.
    list: Option<ListOfFiles>,
    clock: RunClock,
    pace: Pace,
    /// Number of items that were done when this run started.
    before: u64,
    last: Option<Duration>,
    /// Number of items that were read, when time passed last.
    items: u64,
    read: Arc<AtomicU64>,
    size: Option<u64>,
    noun: &'static str,
    instances: InstanceCounts,
    hosts: HostsNews,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProgressDisplay {
    /// A line that is replaced.
    Bar,
    /// A line from time to time: standard error is no terminal, or one that cannot replace a line.
    Lines(Duration),
}

impl RunProgress {
    /// Makes the display; `size` is the size of the whole input in bytes, if it is known. No bar is shown where a person
    /// types the items.
    pub fn new(when: When, verbosity: Verbosity, size: Option<u64>, typed: bool) -> RunProgress {
        let (quiet, verbose) = (verbosity.quiet, verbosity.verbose);
        let is_watched = stderr().is_terminal() && !quiet && when != When::Never;
        let can_replace = terminal::can_replace_lines() && !writes_json();
        let shown = match when {
            When::Always if can_replace => Some(ProgressDisplay::Bar),
            When::Always => Some(ProgressDisplay::Lines(LINE_EVERY)),
            When::Auto if typed || !is_watched => None,
            When::Auto if can_replace => Some(ProgressDisplay::Bar),
            When::Auto => Some(ProgressDisplay::Lines(LINE_AT_TERMINAL_EVERY)),
            When::Never => None,
        };
        RunProgress {
            shown,
            summarises: is_watched || (when == When::Always && !quiet),
            quiet,
            verbose,
            told: 0,
            printed: 0,
            first: FirstFailures::default(),
            warns: !quiet,
            list: None,
            clock: RunClock::start(),
            pace: Pace::default(),
            before: 0,
            last: None,
            items: 0,
            read: Arc::default(),
            size,
            noun: "items",
            instances: InstanceCounts::default(),
            hosts: HostsNews::new(verbose > 0),
        }
    }

    /// Counts the time from now on: compiling is over.
    pub fn begin(&mut self) {
        self.clock = RunClock::start();
    }

    /// Counts results, of which each item has several.
    pub fn of_results(self) -> RunProgress {
        RunProgress { noun: "results", ..self }
    }

    /// Says nothing of items that all fail alike: failures end the run in any case.
    pub fn with_halt(self, halts: bool) -> RunProgress {
        RunProgress { warns: self.warns && !halts, ..self }
    }

    /// Tells how a list of files is probably meant if the first item is none.
    pub fn with_list(self, list: ListOfFiles) -> RunProgress {
        RunProgress { list: Some(list), ..self }
    }

    /// Returns the counter of bytes that the reader of the input increases.
    pub fn bytes_read(&self) -> Arc<AtomicU64> {
        self.read.clone()
    }

    /// Returns true if it has to be told that time passes, though nothing else happens: there is a bar, or lines in its place,
    /// or something is to be told of hosts.
    pub fn wants_ticks(&self) -> bool {
        self.shown.is_some() || self.hosts.next().is_some()
    }

    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Returns the number of items that were done before this run.
    pub fn done_before(&self) -> u64 {
        self.before
    }

    /// Ends the display when the run is over.
    pub fn finish(&mut self) {
        self.tell_of_hosts(true);
        if self.shown == Some(ProgressDisplay::Bar) {
            clear_status();
        }
    }

    fn figures(&self, items: u64, counts: &OutcomeCounts) -> ProgressFigures {
        let all = self.expected(items);
        ProgressFigures {
            done: counts.done,
            failed: counts.failures(),
            all,
            rate: self.pace.rate(),
            left: all.and_then(|(all, _)| self.pace.left(all.saturating_sub(counts.done))),
            elapsed: self.clock.elapsed(),
            noun: self.noun,
        }
    }

    /// Returns the bar.
    fn bar(&self, items: u64, counts: &OutcomeCounts) -> String {
        let width = terminal::width();
        match items {
            0 if self.before > 0 => within("comparing the input with what is done", width),
            0 => within("no items yet", width),
            _ => self.figures(items, counts).line(width, terminal::takes_colours(true)),
        }
    }

    /// Returns true if a bar stands below results that are printed on the same terminal.
    pub fn stands_behind_results(&self) -> bool {
        self.shown == Some(ProgressDisplay::Bar) && shares_terminal()
    }

    /// Has the bar show these counts when it is drawn again.
    fn renew(&self, counts: &OutcomeCounts) {
        if self.shown == Some(ProgressDisplay::Bar) && self.items > 0 {
            renew_status(self.bar(self.items, counts));
        }
    }

    /// Estimates the total number of items from the share of the input's bytes from which `items` were read. Returns it, and
    /// whether it is certain.
    fn expected(&self, items: u64) -> Option<(u64, bool)> {
        let read = self.read.load(Ordering::Relaxed);
        let size = self.size?;
        (read > 0 && items > 0).then(|| match read >= size {
            true => (items, true),
            false => ((items as f64 * size as f64 / read as f64) as u64, false),
        })
    }

    /// Prints what became of the run: to a person in any case, else if anything failed.
    pub fn summary(&self, counts: &OutcomeCounts) {
        self.summary_with(counts, Vec::new());
    }

    fn summary_with(&self, counts: &OutcomeCounts, more: Vec<(&'static str, Value)>) {
        let (done, failures) = (counts.done, counts.failures());
        if self.quiet || !(self.summarises || failures > 0) {
            return;
        }
        let noun = self.noun;
        let failed = match failures {
            0 => String::new(),
            _ => format!("{failures} of {done} {} failed: {}", one_or_many(done, noun), kinds(counts)),
        };
        if !self.summarises {
            let facts = summary_facts(counts);
            return self.say(Level::Warning, &facts, &format!("wasmpool: {failed}"));
        }
        let elapsed = self.clock.elapsed();
        let mut text = match failures {
            0 => format!("{} {}, none failed", grouped(done), one_or_many(done, noun)),
            _ if terminal::messages_take_colours() => format!("\x1b[31m{failed}\x1b[0m"),
            _ => failed,
        };
        if self.before > 0 {
            text += &format!("; {} of the {} were done before", grouped(self.before), grouped(done));
        }
        text += &format!("; {}", elapsed_said(elapsed));
        // Of the time that stands beside it.
        let count = done.saturating_sub(self.before);
        let rate = (count > 0).then(|| count as f64 / elapsed.as_secs_f64().max(1e-6));
        if let Some(rate) = rate {
            text += &format!(", {}", rate_said(rate, noun));
        }
        let InstanceCounts { made, restored } = self.instances;
        if made > 0 {
            text += &format!("; instances: {} fresh, {} restored", grouped(made), grouped(restored));
        }
        let mut facts = summary_facts(counts);
        if let Some((lost, of_hosts)) = self.hosts.summary() {
            text += &format!("; {lost}");
            facts.extend(of_hosts);
        }
        facts.push(("seconds", elapsed.as_secs_f64().into()));
        facts.extend(rate.map(|rate| ("items_per_second", rate.into())));
        facts.extend([("instances_made", made.into()), ("instances_restored", restored.into())]);
        facts.extend(more);
        let level = if failures > 0 { Level::Warning } else { Level::Info };
        self.say(level, &facts, &format!("wasmpool: {text}"));
    }

    /// Prints the summary to a person, in a run whose tasks have one each in any case.
    pub fn summary_of_tasks<'a>(
        &self,
        counts: &OutcomeCounts,
        tasks: impl Iterator<Item = (&'a str, &'a OutcomeCounts)>,
    ) {
        if self.summarises {
            let of_task = |(name, counts): (&str, &OutcomeCounts)| {
                let facts = summary_facts(counts).into_iter().map(|(name, value)| (name.to_owned(), value));
                (name.to_owned(), Value::Object(facts.collect()))
            };
            self.summary_with(counts, vec![("tasks", Value::Object(tasks.map(of_task).collect()))]);
        }
    }

    /// Prints what is to be told of a failure of an item; `task` names its task if there are several, `counts` are those of the
    /// whole run, and `is_alike` says that the first items all failed like this one.
    pub fn tell_failure(&mut self, task: Option<&str>, item: &FailedItem<'_>, counts: &OutcomeCounts, is_alike: bool) {
        // The bar is drawn again behind a message.
        if is_alike || self.tells_failures() {
            self.renew(counts);
        }
        self.tell_one_failure(task, item);
        if is_alike {
            self.tell_alike(task, item.failure.kind);
        }
    }

    /// Returns true if failures are printed, of which there were not many yet.
    fn tells_failures(&self) -> bool {
        !self.quiet && self.told <= TOLD
    }

    fn tell_one_failure(&mut self, task: Option<&str>, item: &FailedItem<'_>) {
        if !self.tells_failures() {
            return;
        }
        self.told += 1;
        if self.told > TOLD {
            let more = "wasmpool: more items failed; --output-format records tells of each";
            return self.say(Level::Info, &[], more);
        }
        let FailedItem { index, source, failure, .. } = item;
        let name = failure.kind.name();
        let mut facts = vec![("index", (*index).into())];
        facts.extend(task.map(|task| ("task", task.into())));
        facts.extend(source.map(|source| ("source", source.into())));
        facts.push(("kind", name.into()));
        let (place, of_task) = (source.map(place).unwrap_or_default(), of_task(task));
        let message = ForeignText::of_failure(&failure.message);
        let text = format!("wasmpool: {place}item {index}{of_task} failed: {name}: {message}");
        self.say(Level::Warning, &facts, &text);
        // Of a list of files, one that is not the first may be gone.
        let list = if *index == 0 { self.list.take() } else { None };
        let list = list.filter(|_| item.counts.failures() == item.counts.done);
        if let Some(advice) = list.zip(*source).and_then(|(list, source)| list.advice(source)) {
            self.say(Level::Warning, &[], &format!("wasmpool: {}", MessageLines(&advice)));
        }
    }

    /// Says that the first items of a run, or of a task, all failed alike, which is then hardly their fault.
    fn tell_alike(&self, task: Option<&str>, kind: FailureKind) {
        if !self.warns {
            return;
        }
        let (of_task, name) = (of_task(task), kind.name());
        let mut facts = vec![("kind", name.into()), ("failed", MANY.into())];
        facts.extend(task.map(|task| ("task", task.into())));
        let text = format!(
            "wasmpool: the first {MANY} items{of_task} all failed alike ({name}); with --halt soon,fail={MANY} the run would end \
             here"
        );
        self.say(Level::Warning, &facts, &text);
    }

    /// Shows what an item has printed, if that was asked for.
    pub fn tell_prints(&mut self, what: &str, index: u64, printed: &GuestOutput) {
        if !self.shows_prints() || (self.verbose < 2 && self.printed > PRINTS) {
            return;
        }
        self.printed += 1;
        if self.verbose < 2 && self.printed > PRINTS {
            let more =
                "wasmpool: more items have printed something; -vv shows all of it, --output-format records keeps it";
            return self.say(Level::Info, &[], more);
        }
        for (stream, text) in [("standard output", &printed.stdout), ("standard error", &printed.stderr)] {
            if !text.trim().is_empty() {
                let facts = [("index", index.into()), ("stream", stream.into()), ("printed", text.as_str().into())];
                let text = format!("wasmpool: {what} printed to its {stream}:\n{}", QuotedOutput(text));
                self.say(Level::Info, &facts, &text);
            }
        }
    }

    pub fn shows_prints(&self) -> bool {
        self.verbose > 0 && !self.quiet
    }

    /// Prints what is to be told of hosts; at the `end` of the run all of it.
    fn tell_of_hosts(&mut self, end: bool) {
        for HostsLine { level, facts, text } in self.hosts.due(self.clock.elapsed(), end) {
            if !self.quiet {
                self.say(level, &facts, &format!("wasmpool: {}", MessageLines(&text)));
            }
        }
    }

    /// Prints a message, above the bar if there is one.
    pub fn say(&self, level: Level, facts: Facts<'_>, message: &str) {
        tell_as!(level, facts, "{message}");
    }
}

/// Returns the facts of a summary.
pub fn summary_facts(counts: &OutcomeCounts) -> Vec<(&'static str, Value)> {
    let kinds = counts.failed.iter().map(|(kind, count)| (kind.name().to_owned(), (*count).into()));
    vec![("done", counts.done.into()), ("failed", counts.failures().into()), ("kinds", Value::Object(kinds.collect()))]
}

/// Returns as much of a text as a terminal of this width has room for in a line.
fn within(text: &str, width: usize) -> String {
    text.chars().take(width.saturating_sub(1)).collect()
}

pub fn one_or_many(count: u64, noun: &'static str) -> &'static str {
    if count == 1 { noun.trim_end_matches('s') } else { noun }
}

/// Returns the words that name the task of an item, if there are several.
fn of_task(task: Option<&str>) -> String {
    task.map(|name| format!(" of task {}", ForeignText::of(name))).unwrap_or_default()
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

impl RunWatcher for RunProgress {
    fn resumed(&mut self, counts: &OutcomeCounts) {
        self.begin();
        self.before = counts.done;
        if self.verbose > 0 && counts.done > 0 {
            let done = counts.done;
            let text = format!("wasmpool: {done} items are done already; the run goes on behind them");
            self.say(Level::Info, &[("done", done.into())], &text);
        }
    }

    fn failed(&mut self, item: &FailedItem<'_>) {
        let is_alike = self.first.note(item.failure, item.counts);
        self.tell_failure(None, item, item.counts, is_alike);
    }

    fn follows_prints(&self) -> bool {
        self.shows_prints()
    }

    fn printed(&mut self, index: u64, printed: &GuestOutput) {
        self.tell_prints(&format!("item {index}"), index, printed);
    }

    fn worker_lost(&mut self, worker: WorkerId, how: &str) {
        if self.verbose > 0 {
            let text = format!("wasmpool: worker {} ended ({})", worker + 1, ForeignText::of(how));
            self.say(Level::Warning, &[("worker", (worker + 1).into())], &text);
        }
    }

    fn instances(&mut self, counts: InstanceCounts) {
        self.instances.add(counts);
        let InstanceCounts { made, restored } = counts;
        if self.verbose > 0 && made > 0 && !self.summarises {
            let facts = [("instances_made", made.into()), ("instances_restored", restored.into())];
            let (of_made, of_items) = (one_or_many(made, "instances"), one_or_many(restored, "items"));
            let were = if made == 1 { "was" } else { "were" };
            let text = format!("wasmpool: {made} {of_made} {were} made, and {restored} {of_items} got a restored one");
            self.say(Level::Info, &facts, &text);
        }
    }

    fn short_of_workers(&mut self, living: usize, why: &io::Error) {
        if !self.quiet {
            self.say(Level::Warning, &[], &short_of_workers(living, why));
        }
    }

    fn unprotected(&mut self, lacking: &[LayerPart]) {
        if !self.quiet {
            self.say(Level::Warning, &[], &without(lacking));
        }
    }

    fn stopping(&mut self) {
        if !self.quiet {
            self.say(Level::Info, &[], &format!("wasmpool: {STOPPING}"));
        }
    }

    fn news(&mut self, text: &str) {
        if !self.quiet {
            self.say(Level::Info, &[], &format!("wasmpool: {}", MessageLines(text)));
        }
    }

    fn host(&mut self, name: &str, change: HostChange) {
        self.hosts.add(name, change, self.clock.elapsed());
    }

    fn tick(&mut self, items: u64, counts: &OutcomeCounts) -> Option<Duration> {
        self.tell_of_hosts(false);
        let of_hosts = self.hosts.next().map(|next| next.saturating_sub(self.clock.elapsed()));
        self.show(items, counts).into_iter().chain(of_hosts).min()
    }

    fn line_behind(&self, items: u64, counts: &OutcomeCounts) -> Option<String> {
        (items > 0 && self.stands_behind_results()).then(|| self.bar(items, counts))
    }
}

impl RunProgress {
    /// Draws the bar, or prints a line in its place. Returns when to do so again.
    fn show(&mut self, items: u64, counts: &OutcomeCounts) -> Option<Duration> {
        let now = self.clock.elapsed();
        self.items = items;
        if items > self.before {
            // Until there are more items than were done, the input is waited for, or compared with what was read before.
            self.pace.begin(now, self.before);
        }
        let shown = self.shown?;
        let every = match shown {
            ProgressDisplay::Bar => EVERY,
            ProgressDisplay::Lines(every) => every,
        };
        if let Some(next) = self.last.and_then(|last| (last + every).checked_sub(now)).filter(|next| !next.is_zero()) {
            return Some(next);
        }
        let is_first = self.last.replace(now).is_none();
        self.pace.observe(now, counts.done);
        match shown {
            ProgressDisplay::Bar => {
                show_status(self.bar(items, counts));
            }
            // At its beginning there is nothing to tell.
            ProgressDisplay::Lines(_) if is_first => {}
            ProgressDisplay::Lines(_) => {
                let figures = self.figures(items, counts);
                let mut facts = vec![("done", figures.done.into()), ("failed", figures.failed.into())];
                facts.extend(figures.all.map(|(all, _)| ("expected", all.into())));
                facts.extend(figures.rate.map(|rate| ("items_per_second", rate.into())));
                facts.extend(figures.left.map(|left| ("seconds_left", left.as_secs().into())));
                self.say(Level::Info, &facts, &format!("wasmpool: {}", figures.sentence()));
            }
        }
        Some(every)
    }
}
