//! `wasmpool map --task a=one.wasm --task b=two.wasm`: every item through every task.
//!
//! Each task has a supervisor of its own, on a thread of its own, with workers that hold no other task. They share the
//! input ([`InputSplitter`]), the output ([`OutputMerger`]), and the number of worker processes.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::alike::FirstFailures;
use super::apart::{self, InputLists};
use super::exit::{Exit, Stop};
use super::fan::InputSplitter;
use super::hints;
use super::merge::{MergeEvent, OutputMerger, framed};
use super::progress::{RunProgress, kinds, one_or_many, summary_facts};
use super::report::{RunEnding, RunRecorder, RunReports};
#[cfg(feature = "hosts")]
use super::run::run_elsewhere;
use super::run::{READER, SUPERVISOR, SupervisorWork, WRITER, fields, prepare};
use super::sharing::Sharing;
use super::signals::{Signals, watch_signals};
use super::source::Sourced;
use super::spec::ManyItems;
use super::spec::RunSpec;
#[cfg(feature = "hosts")]
use super::stream::via;
use super::stream::{
    columns, config, format, formed, inputs, items, kept, notice, output, progress, read_files, tell_halted, workers,
};
use super::units::NamedTask;
use wasmpool_core::hosts::HostChange;
use wasmpool_core::layer::LayerPart;
use wasmpool_core::outcome::{Failure, FailureKind, OutcomeCounts};
use wasmpool_core::policy::{Failures, Halt, HaltWhen, TaskCall};
use wasmpool_core::text::ForeignText;
use wasmpool_ipc::lane::InstanceCounts;
#[cfg(feature = "hosts")]
use wasmpool_nats::coordinator::CoordinatedRun;
use wasmpool_run::cgroup::{HostPlacement, Room, Workers};
use wasmpool_run::compile::{ArtifactCache, PreparedTask, Wasm};
use wasmpool_run::error::{Error, caught};
use wasmpool_run::grants::OpenedGrants;
use wasmpool_run::output::{
    FailedItem, ItemOutcome, LineFormat, OutcomeLines, ResultColumns, RunWatcher, printed_beside,
};
use wasmpool_run::rendered::RenderedOutcomes;
use wasmpool_run::scarce::{patiently, start_thread};
use wasmpool_run::shared::SharedObjects;
use wasmpool_run::spawn::{ChildProgram, ChildRole};
use wasmpool_run::stdio::{HungUp, Level};
use wasmpool_run::supervisor::{
    Event, EventSender, Mailbox, OutcomeRecord, OutcomeSink, OutcomeValue, Recorded, RunEnd, SpareWorkers, WorkerNews,
};
use wasmpool_run::tell_as;
use wasmpool_scheduler::shares::{WorkerDemand, share};
use wasmpool_scheduler::{SchedulerConfig, WorkerId};

/// Interval at which workers are shared out anew: a task that waits for the others keeps one worker and leaves them the
/// rest.
const SHARE_EVERY: Duration = Duration::from_millis(200);

pub fn several(spec: &RunSpec, tasks: &[NamedTask]) -> Result<Exit, Stop> {
    let options = &spec.items;
    let inputs = inputs(spec)?;
    apart::check(&read_files(spec, tasks.iter().map(|task| task.file.as_path()), &inputs), spec)?;
    let (size, written, lists) = (inputs.size(), inputs.written(), InputLists::of(options, &inputs));
    let progress = progress(spec, &inputs, size).of_results();
    let mut items = items(spec, inputs, &progress);
    let columns = columns(&mut *items, options)?;
    let sharing = Sharing::of(spec)?;
    #[cfg(feature = "hosts")]
    let via = via(spec, tasks.len())?;
    let output = output(spec, lists, None)?;
    let reports = RunReports::of(spec)?;
    written.set(output.same_files(), None);
    let target = output.results;
    let fan = Arc::new(InputSplitter::new());
    let mut mailboxes = Vec::new();
    for task in 0..tasks.len() {
        let asked = fan.clone();
        let asking = || {
            Mailbox::asking(Box::new({
                let asked = asked.clone();
                move |_| asked.ask(task)
            }))
        };
        let mailbox = patiently(None, asking).map_err(Error::from)?;
        fan.add(mailbox.sender());
        mailboxes.push(mailbox);
    }
    let senders: Vec<EventSender> = mailboxes.iter().map(Mailbox::sender).collect();
    let (told, reader) = (senders.clone(), fan.clone());
    let signals = watch_signals(move |signal| {
        reader.close();
        told.iter().for_each(|supervisor| supervisor.send(Event::Signal(signal)));
    })?;
    let budget = workers(options).max(tasks.len());
    let grants = spec.grants.grants();
    let room = Room::new(HostPlacement::Moves, Workers::of(budget, &spec.call()));
    notice(spec).bounded(&room);
    #[cfg(feature = "hosts")]
    let here = via.is_none();
    #[cfg(not(feature = "hosts"))]
    let here = true;
    let role = ChildRole::of_worker(*spec.sandbox, &grants);
    let spares = match here {
        true => SpareWorkers::started(ChildProgram::Own, role, budget, room),
        false => SpareWorkers::new(ChildProgram::Own, role, room),
    };
    let cache = ArtifactCache::of_user();
    // Hosts grant what is theirs.
    let opened = if here { grants.open(&cache).map_err(Error::from) } else { Ok(OpenedGrants::default()) };
    let OpenedGrants { given, directories } = opened.map_err(|e| Stop::of_run(&e, &spec.grants))?;
    let mut call = formed(spec.call(), options);
    call.given = given;
    let shared = signals.leaving_at_once(|| sharing.start(budget))?;
    if let Some(shared) = &shared {
        call.given.shared = shared.grants.clone();
    }
    spares.room().widen(Workers::of(budget, &call));
    call.columns = columns;
    let (mut ready, mut fields_of) = (Vec::new(), Vec::new());
    for NamedTask { name, file } in tasks {
        let wasm = signals.leaving_at_once(|| Wasm::of_argument(file)).map_err(|e| of_task(name, e))?;
        if !here && format(options) != LineFormat::Csv {
            ready.push((wasm, None));
            continue;
        }
        match prepare(&wasm, &call, &cache, false, &mut notice(spec).interruptible_by(&signals.came)) {
            Ok(prepared) => {
                fields_of.push(fields(&prepared.meta.description, &call));
                ready.push((wasm, here.then_some(prepared)));
            }
            Err(Error::Interrupted) => return Ok(Exit::Signal(signals.last())),
            Err(e) => return Err(of_task(name, e)),
        }
    }
    fields_of.resize(tasks.len(), Vec::new());
    let columns = ResultColumns::of_tasks(&fields_of);
    let (news, merged) = mpsc::channel();
    let board = TaskSet::new(options, tasks, progress, senders.clone());
    let keep = kept(options, call.item_form);
    let header = match (format(options), columns.first()) {
        (LineFormat::Csv, Some(columns)) => columns.header(true, keep.as_deref()).map_err(Error::from)?,
        _ => Vec::new(),
    };
    let lines: Vec<OutcomeLines> = (tasks.iter().zip(columns))
        .map(|(task, columns)| {
            OutcomeLines::of_task(format(options), &task.name)
                .deterministic(*spec.deterministic)
                .taking_failed(call.takes_failed)
                .within(call.limits.max_output)
                .keeping(keep.clone())
                .in_columns(columns)
        })
        .collect();
    let tracks = lines.iter().cloned().zip(senders.iter().cloned()).collect();
    let is_printed = target.is_stdout();
    let merger = OutputMerger::new(!*options.unordered, tracks, fan.clone(), target, header);
    let writing = {
        let (fan, senders) = (fan.clone(), senders.clone());
        let write = move || {
            let result = caught(WRITER, || merger.run(&merged)).unwrap_or_else(|e| Err(io::Error::other(e)));
            if result.is_err() {
                fan.close();
                senders.iter().for_each(|supervisor| supervisor.send(Event::Terminate));
            }
            result
        };
        start_thread("output", write).map_err(Error::from)?
    };
    {
        let (fan, news) = (fan.clone(), news.clone());
        // If the merger is gone, its thread reports the reason.
        let read = move || {
            let read = caught(READER, || {
                fan.read(items, |count| {
                    let _ = news.send(MergeEvent::Read(count));
                });
            });
            if let Err(e) = read {
                fan.fail(io::Error::other(e).into());
            }
        };
        start_thread("input", read).map_err(Error::from)?;
    }
    let crew = TaskRunner {
        spec,
        named: tasks,
        lines: &lines,
        call: &call,
        directories: &directories,
        shared: shared.as_ref().map(|shared| shared.objects.clone()),
        cache: &cache,
        #[cfg(feature = "hosts")]
        via,
        spares,
        fan: &fan,
        board: &board,
        reports: reports.as_ref(),
        is_printed,
        start: Instant::now(),
    };
    board.known().progress.begin();
    let result = crew.run(ready, mailboxes, &senders, &news, budget, &signals);
    // For tasks that were set aside, items that are still to be read are reported as failed, unless the run was cut
    // short.
    let whole = result.is_ok() && signals.last() == 0 && !board.is_halted();
    let input = if whole { fan.wait_for_end() } else { Ok(()) };
    fan.close();
    let _ = news.send(MergeEvent::End { failed: result.is_err() });
    let written = writing.join().ok().flatten();
    let written = written.unwrap_or_else(|| Err(io::Error::other("the thread that writes broke down")));
    let objects = shared.filter(|_| result.is_ok());
    let mut result = board.end(spec, written, signals.last(), result);
    if let Err(e) = input {
        result = result.and(Err(Error::Input(e).into()));
    }
    // What they hold is told last: not if the run ends with an error.
    if let (Ok(_), Some(objects)) = (&result, objects)
        && let Err(e) = objects.tell()
    {
        result = Err(e.into());
    }
    if let Some(reports) = reports {
        let (counts, recorders) = board.take_recorded();
        let end = RunEnding { result: result.as_ref().copied(), counts: &counts, done_before: 0 };
        let reported = reports.write(spec, budget, end, recorders);
        return match reported {
            Ok(()) => result,
            Err(unwritten) => Err(unwritten.after(result)),
        };
    }
    result
}

fn of_task(name: &str, error: Error) -> Stop {
    let Stop { exit, message } = Stop::from(error);
    Stop { exit, message: format!("task {}: {message}", ForeignText::of(name)) }
}

/// The settings that all supervisors start with.
struct TaskRunner<'a> {
    spec: &'a RunSpec,
    named: &'a [NamedTask],
    /// How outcomes of each task are printed.
    lines: &'a [OutcomeLines],
    call: &'a TaskCall,
    directories: &'a [OwnedFd],
    shared: Option<Arc<SharedObjects>>,
    cache: &'a ArtifactCache,
    /// Where each task runs, if it is over many machines.
    #[cfg(feature = "hosts")]
    via: Option<CoordinatedRun>,
    spares: SpareWorkers,
    fan: &'a InputSplitter,
    board: &'a TaskSet,
    reports: Option<&'a RunReports>,
    /// True if results go to standard output.
    is_printed: bool,
    /// The time at which all tasks begin.
    start: Instant,
}

impl TaskRunner<'_> {
    /// Runs all tasks, each on a thread of its own, until the last has ended.
    fn run(
        &self,
        tasks: Vec<(Wasm, Option<PreparedTask>)>,
        mailboxes: Vec<Mailbox>,
        senders: &[EventSender],
        news: &mpsc::Sender<MergeEvent>,
        budget: usize,
        signals: &Signals,
    ) -> Result<(), Stop> {
        let mut staff = WorkerShares::new(budget, senders);
        let mut failed = Ok(());
        let mut given_up = 0;
        thread::scope(|scope| {
            let (ended, ends) = mpsc::channel();
            for (task, ((wasm, prepared), mailbox)) in tasks.into_iter().zip(mailboxes).enumerate() {
                let config = config(&self.spec.items, self.call, budget);
                let workers = staff.allowed.get(task).copied().unwrap_or(1);
                let config = SchedulerConfig { workers, halt: self.board.own_halt(), ..config };
                let (news, ended) = (news.clone(), ended.clone());
                let run = move || {
                    let run = || self.run_task(task, (&wasm, prepared), config, &mailbox, &news, signals);
                    let result = caught(SUPERVISOR, run).unwrap_or_else(|e| {
                        // No more outcomes of this task will come.
                        let _ = news.send(MergeEvent::Ended { task, cut: true });
                        Err(e)
                    });
                    let _ = ended.send((task, result));
                };
                if let Err(e) = thread::Builder::new().name("task".to_owned()).spawn_scoped(scope, run) {
                    failed = Err(Stop::from(Error::spawn(e)));
                    senders.iter().for_each(|supervisor| supervisor.send(Event::Terminate));
                    break;
                }
            }
            drop(ended);
            loop {
                match ends.recv_timeout(SHARE_EVERY) {
                    Ok((task, Ok(None))) => staff.release_workers_of(task),
                    // The other tasks continue, as long as there is one.
                    Ok((task, Ok(Some(e)))) => {
                        staff.release_workers_of(task);
                        given_up += 1;
                        if given_up == self.named.len() && failed.is_ok() {
                            let name = self.named.get(task).map_or("", |task| &task.name);
                            failed = Err(of_task(name, e));
                        }
                    }
                    Ok((task, Err(e))) => {
                        staff.release_workers_of(task);
                        // The first task to fail gives the error; the others are ended because of it.
                        if failed.is_ok() {
                            let name = self.named.get(task).map_or("", |task| &task.name);
                            failed = Err(of_task(name, e));
                        }
                        senders.iter().for_each(|supervisor| supervisor.send(Event::Terminate));
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
                staff.share(|task| self.fan.handed(task).saturating_sub(self.board.done(task)));
            }
        });
        failed
    }

    /// Runs one task. Returns the error for which it was given up, if it was: its workers could not be started.
    fn run_task(
        &self,
        task: usize,
        (wasm, prepared): (&Wasm, Option<PreparedTask>),
        config: SchedulerConfig,
        mailbox: &Mailbox,
        news: &mpsc::Sender<MergeEvent>,
        signals: &Signals,
    ) -> Result<Option<Error>, Error> {
        let name = self.named.get(task).map_or("", |task| &task.name);
        let mut outcomes = TaskOutcomes {
            task,
            name,
            lines: self.lines[task].clone(),
            counts: OutcomeCounts::default(),
            first: FirstFailures::default(),
            shown: 0,
            items: 0,
            recorder: self.reports.map(|reports| reports.recorder(self.start)),
            shows_prints: self.board.known().progress.shows_prints(),
            is_printed: self.is_printed,
            set_aside: None,
            given_up: None,
            news,
            fan: self.fan,
            board: self.board,
        };
        let mut notice = notice(self.spec).interruptible_by(&signals.came);
        let end = match prepared {
            Some(prepared) => {
                let work = SupervisorWork {
                    task: wasm,
                    call: self.call,
                    directories: self.directories,
                    shared: self.shared.clone(),
                    cache: self.cache,
                    prepared,
                };
                work.run(config, self.spares.clone(), &mut outcomes, mailbox, &mut notice).map(|(end, _)| end)
            }
            None => self.run_task_elsewhere(wasm, config, &mut outcomes, mailbox),
        };
        outcomes.show();
        if let Some(recorder) = outcomes.recorder.take() {
            self.board.known().recorders.push((task, recorder));
        }
        let next = match &end {
            Ok(RunEnd::GivenUp | RunEnd::Halted(_)) if !self.board.is_halted() => {
                let failure = outcomes.set_aside();
                self.fan.leave(task);
                MergeEvent::SetAside { task, from: outcomes.counts.done, failure }
            }
            end => MergeEvent::Ended { task, cut: !matches!(end, Ok(RunEnd::Complete)) },
        };
        let _ = news.send(next);
        match end {
            Ok(_) | Err(Error::Interrupted) => Ok(outcomes.given_up.take()),
            Err(e) => Err(e),
        }
    }
}

impl TaskRunner<'_> {
    /// Runs one task over many machines.
    #[cfg(feature = "hosts")]
    fn run_task_elsewhere(
        &self,
        wasm: &Wasm,
        config: SchedulerConfig,
        sink: &mut TaskOutcomes<'_>,
        mailbox: &Mailbox,
    ) -> Result<RunEnd, Error> {
        match &self.via {
            Some(via) => {
                let objects = self.shared.clone();
                run_elsewhere(via.clone(), wasm, self.call, objects, config, sink, mailbox).map(|(end, _)| end)
            }
            None => Ok(RunEnd::Terminated),
        }
    }

    #[cfg(not(feature = "hosts"))]
    #[expect(clippy::unused_self, reason = "there are no other machines")]
    fn run_task_elsewhere(
        &self,
        _: &Wasm,
        _: SchedulerConfig,
        _: &mut TaskOutcomes<'_>,
        _: &Mailbox,
    ) -> Result<RunEnd, Error> {
        Ok(RunEnd::Terminated)
    }
}

/// The number of worker processes that each task may have.
struct WorkerShares<'a> {
    budget: usize,
    supervisors: &'a [EventSender],
    /// By task; 0 for one that has ended.
    allowed: Vec<usize>,
    ended: BTreeSet<usize>,
}

impl<'a> WorkerShares<'a> {
    fn new(budget: usize, supervisors: &'a [EventSender]) -> WorkerShares<'a> {
        let claim = WorkerDemand { need: budget, held: 0, used: 0 };
        let allowed = share(budget, &vec![claim; supervisors.len()]);
        WorkerShares { budget, supervisors, allowed, ended: BTreeSet::new() }
    }

    fn release_workers_of(&mut self, task: usize) {
        self.ended.insert(task);
        if let Some(allowed) = self.allowed.get_mut(task) {
            *allowed = 0;
        }
    }

    /// Shares out the workers by the number of items that each task has. Tasks that run have at least one worker.
    /// Workers that are taken from one task go to another the next time, when they are likely to have ended.
    fn share(&mut self, items: impl Fn(usize) -> u64) {
        let claims: Vec<WorkerDemand> = (0..self.allowed.len())
            .zip(&self.allowed)
            .map(|(task, &held)| {
                let need = usize::try_from(items(task)).unwrap_or(usize::MAX).clamp(1, self.budget);
                WorkerDemand { need: if self.ended.contains(&task) { 0 } else { need }, held, used: 0 }
            })
            .collect();
        let shares = share(self.budget, &claims);
        let fewer = shares.iter().zip(&self.allowed).any(|(share, allowed)| share < allowed);
        for ((allowed, share), supervisor) in self.allowed.iter_mut().zip(shares).zip(self.supervisors) {
            if share < *allowed || (share > *allowed && !fewer) {
                *allowed = share;
                supervisor.send(Event::Workers(share));
            }
        }
    }
}

/// The state of all tasks together.
struct TaskSet {
    halt: Sourced<Option<Halt>>,
    after: Sourced<Option<Failures>>,
    names: Vec<String>,
    supervisors: Vec<EventSender>,
    state: Mutex<TaskFacts>,
}

struct TaskFacts {
    progress: RunProgress,
    /// By task.
    counts: Vec<OutcomeCounts>,
    /// The number of items that each task was given.
    items: Vec<u64>,
    halted: bool,
    told_lacking: bool,
    told_short: bool,
    told_stopping: bool,
    /// What was told last of other machines, which each task hears.
    news: String,
    /// What was recorded of tasks that have ended.
    recorders: Vec<(usize, RunRecorder)>,
}

impl TaskSet {
    fn new(options: &ManyItems, tasks: &[NamedTask], progress: RunProgress, supervisors: Vec<EventSender>) -> TaskSet {
        let names: Vec<String> = tasks.iter().map(|task| task.name.clone()).collect();
        let counts = vec![OutcomeCounts::default(); names.len()];
        let items = vec![0; names.len()];
        let state = Mutex::new(TaskFacts {
            progress,
            counts,
            items,
            halted: false,
            told_lacking: false,
            told_short: false,
            told_stopping: false,
            news: String::new(),
            recorders: Vec::new(),
        });
        TaskSet { halt: options.halt.clone(), after: options.set_aside.clone(), names, supervisors, state }
    }

    fn known(&self) -> MutexGuard<'_, TaskFacts> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of failures at which a task ends by itself; it is then set aside.
    fn own_halt(&self) -> Option<Halt> {
        self.after.as_ref().map(|&after| Halt { manner: HaltWhen::Now, after })
    }

    fn is_halted(&self) -> bool {
        self.known().halted
    }

    fn done(&self, task: usize) -> u64 {
        self.known().counts.get(task).map_or(0, |counts| counts.done)
    }

    /// Updates the counts of a task, and the display.
    fn show(&self, task: usize, items: u64, counts: &OutcomeCounts) -> Option<Duration> {
        let mut known = self.known();
        if let Some(of) = known.items.get_mut(task) {
            *of = items;
        }
        if let Some(of) = known.counts.get_mut(task) {
            of.clone_from(counts);
        }
        let all = known.all();
        // Each item counts once for each task.
        let items = known.items.iter().sum();
        known.progress.tick(items, &all)
    }

    /// Returns what messages call an item of a task.
    fn item(&self, task: usize, index: u64) -> String {
        let name = self.names.get(task).map_or("", |name| name);
        format!("item {index} of task {}", ForeignText::of(name))
    }

    /// Reports an item of a task that failed by its own fault.
    fn failed(&self, task: usize, item: &FailedItem<'_>, is_alike: bool) {
        let mut known = self.known();
        if let Some(of) = known.counts.get_mut(task) {
            of.clone_from(item.counts);
        }
        let name = self.names.get(task).map_or("", |name| name);
        let all = known.all();
        known.progress.tell_failure(Some(name), item, &all, is_alike);
        // Items that a task was not given after it was set aside are not counted as failures.
        let spared = all.failed.get(&FailureKind::Cancelled).copied().unwrap_or_default();
        let (done, failures) = (all.done.saturating_sub(spared), all.failures().saturating_sub(spared));
        if let Some(halt) = self.halt.filter(|halt| !known.halted && halt.is_met(done, failures)) {
            known.halted = true;
            self.supervisors.iter().for_each(|supervisor| supervisor.send(Event::Halt(halt)));
        }
    }

    /// Returns what was recorded of each task, with the counts of all.
    fn take_recorded(&self) -> (OutcomeCounts, Vec<(String, RunRecorder)>) {
        let mut known = self.known();
        let mut recorders = std::mem::take(&mut known.recorders);
        recorders.sort_by_key(|(task, _)| *task);
        let named =
            recorders.into_iter().map(|(task, recorder)| (self.names.get(task).cloned().unwrap_or_default(), recorder));
        (known.all(), named.collect())
    }

    /// Reports the end of the run, and returns how the command ends.
    fn end(
        &self,
        spec: &RunSpec,
        written: io::Result<Vec<u64>>,
        signal: i32,
        result: Result<(), Stop>,
    ) -> Result<Exit, Stop> {
        let mut known = self.known();
        let untried = match written {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
                known.progress.finish();
                return Ok(Exit::OutputClosed);
            }
            Err(e) if HungUp::is(&e) => {
                known.progress.finish();
                return Ok(Exit::Signal(Signal::SIGHUP as i32));
            }
            Err(e) => Err(Stop::from(Error::output(e))),
            Ok(untried) => Ok(untried),
        };
        known.progress.finish();
        result?;
        for (counts, untried) in known.counts.iter_mut().zip(untried?) {
            counts.done += untried;
            if untried > 0 {
                *counts.failed.entry(FailureKind::Cancelled).or_default() += untried;
            }
        }
        let all = known.all();
        let told = !spec.verbosity.quiet;
        if told {
            known.progress.summary_of_tasks(&all, self.names.iter().map(String::as_str).zip(&known.counts));
        }
        for (name, counts) in self.names.iter().zip(&known.counts).filter(|_| told) {
            let (done, failed) = (counts.done, counts.failures());
            let mut facts = vec![("task", name.as_str().into())];
            facts.extend(summary_facts(counts));
            let name = ForeignText::of(name);
            match failed {
                0 => tell_as!(Level::Info, &facts, "wasmpool: task {name}: {done} items done, 0 failed"),
                _ => tell_as!(
                    Level::Warning,
                    &facts,
                    "wasmpool: task {name}: {done} items done, {failed} failed: {}",
                    kinds(counts)
                ),
            }
        }
        Ok(match self.halt.filter(|_| known.halted) {
            _ if signal != 0 => Exit::Signal(signal),
            Some(_) => {
                if told {
                    tell_halted(&self.halt, &all);
                }
                Exit::Halted
            }
            None if all.failures() > 0 => Exit::Failures,
            None => Exit::Success,
        })
    }
}

impl TaskFacts {
    fn all(&self) -> OutcomeCounts {
        let mut all = OutcomeCounts::default();
        self.counts.iter().for_each(|counts| all.add(counts));
        all
    }

    /// Updates the counts of a task, and returns the line that stands on the terminal below the results so far.
    fn line_behind(&mut self, task: usize, counts: &OutcomeCounts) -> Option<String> {
        self.counts.get_mut(task)?.clone_from(counts);
        self.progress.line_behind(self.items.iter().sum(), &self.all())
    }
}

/// The destination of one task's outcomes.
struct TaskOutcomes<'a> {
    task: usize,
    name: &'a str,
    lines: OutcomeLines,
    counts: OutcomeCounts,
    first: FirstFailures,
    /// Number of items that the board knows to be done.
    shown: u64,
    /// Number of items that the task was given.
    items: u64,
    shows_prints: bool,
    /// True if results go to standard output.
    is_printed: bool,
    recorder: Option<RunRecorder>,
    /// The failure for which the task was set aside.
    set_aside: Option<Failure>,
    /// The error for which the task was given up.
    given_up: Option<Error>,
    news: &'a mpsc::Sender<MergeEvent>,
    fan: &'a InputSplitter,
    board: &'a TaskSet,
}

impl TaskOutcomes<'_> {
    fn show(&mut self) -> Option<Duration> {
        self.shown = self.counts.done;
        self.board.show(self.task, self.items, &self.counts)
    }

    /// Returns the number of a worker among those of all tasks.
    fn worker(&self, id: WorkerId) -> WorkerId {
        let (task, tasks) = (self.task as WorkerId, self.board.names.len() as WorkerId);
        id.saturating_mul(tasks).saturating_add(task)
    }

    /// Records something for the reports, if there are any.
    fn record(&mut self, act: impl FnOnce(&mut RunRecorder)) {
        if let Some(recorder) = &mut self.recorder {
            act(recorder);
        }
    }

    /// Returns the failure of items that the task is not given. The first call prints a message.
    fn set_aside(&mut self) -> Failure {
        let TaskOutcomes { counts, board, name, given_up, .. } = self;
        let new = || {
            let (failed, done) = (counts.failures(), counts.done);
            let after = board.after.as_ref().map(Failures::to_string);
            let option = after.map_or_else(String::new, |after| {
                format!(" ({})", board.after.option_name_with("--set-aside", &after))
            });
            let why = match given_up {
                Some(e) => hints::message(e),
                None => format!("{failed} of its {done} {} failed{option}", one_or_many(done, "items")),
            };
            if !board.known().progress.is_quiet() {
                let mut facts = vec![("task", (*name).into())];
                facts.extend(summary_facts(counts));
                let text = format!("wasmpool: task {} is set aside: {why}", ForeignText::of(name));
                board.known().progress.say(Level::Warning, &facts, &text);
            }
            Failure::new(FailureKind::Cancelled, format!("the task was set aside: {why}"))
        };
        self.set_aside.get_or_insert_with(new).clone()
    }
}

impl OutcomeSink for TaskOutcomes<'_> {
    fn record(
        &mut self,
        mut record: OutcomeRecord<'_>,
        result: Result<OutcomeValue<'_>, Failure>,
        to: &mut RenderedOutcomes,
    ) -> Recorded {
        let cut_off =
            record.worker.is_none() && matches!(&result, Err(failure) if failure.kind == FailureKind::Cancelled);
        let result = if cut_off && !self.board.is_halted() { Err(self.set_aside()) } else { result };
        if self.shows_prints
            && let Some(printed) = printed_beside(&result)
        {
            let what = self.board.item(self.task, record.index);
            self.board.known().progress.tell_prints(&what, record.index, printed);
        }
        record.worker = record.worker.map(|id| self.worker(id));
        let outcome = ItemOutcome::of(&record);
        self.lines.reduce(&mut record);
        let Err(failure) = framed(&self.lines, &mut record, result, &mut to.results) else {
            self.counts.count(None);
            self.record(|recorder| recorder.outcome(outcome));
            return Recorded::Success;
        };
        self.counts.count(Some(failure.kind));
        self.record(|recorder| recorder.outcome(ItemOutcome { failure: Some(&failure), ..outcome }));
        if !cut_off {
            self.shown = self.counts.done;
            let is_alike = self.first.note(&failure, &self.counts);
            let (index, source) = (record.index, record.source.as_deref());
            let item = FailedItem { index, source, failure: &failure, counts: &self.counts };
            self.board.failed(self.task, &item, is_alike);
        }
        Recorded::Failure
    }

    fn emit(&mut self, groups: Vec<RenderedOutcomes>) {
        let mut known =
            self.is_printed.then(|| self.board.known()).filter(|known| known.progress.stands_behind_results());
        let line = known.as_mut().and_then(|known| known.line_behind(self.task, &self.counts));
        // What the board knows goes with the line: otherwise another task's line, which counts these outcomes, could come
        // before this one, which does not count that task's. If the merger is gone, its thread reports the reason.
        let _ = self.news.send(MergeEvent::Outcomes { task: self.task, groups, line });
    }

    fn instances(&mut self, counts: InstanceCounts) {
        self.record(|recorder| recorder.instances.add(counts));
        self.board.known().progress.instances(counts);
    }

    fn sent(&mut self, worker: WorkerId, first: u64, count: u64) {
        let worker = self.worker(worker);
        self.record(|recorder| recorder.sent(worker, first, count));
    }

    fn worker_news(&mut self, worker: WorkerId, news: WorkerNews<'_>) {
        let worker = self.worker(worker);
        self.record(|recorder| recorder.worker_news(worker, news));
    }

    fn worker_ready(&mut self, worker: WorkerId) {
        let worker = self.worker(worker);
        self.record(|recorder| recorder.worker_ready(worker));
        self.fan.ready(self.task);
    }

    fn short_of_workers(&mut self, living: usize, why: &io::Error) {
        let mut known = self.board.known();
        if !std::mem::replace(&mut known.told_short, true) {
            known.progress.short_of_workers(living, why);
        }
    }

    fn news(&mut self, text: &str) {
        let mut known = self.board.known();
        if std::mem::replace(&mut known.news, text.to_owned()) != text {
            known.progress.news(text);
        }
    }

    fn host(&mut self, name: &str, change: HostChange) {
        self.board.known().progress.host(name, change);
    }

    /// Returns true, since the other tasks continue without this one.
    fn sets_aside(&mut self, why: &Error) -> bool {
        self.given_up = Some(why.clone());
        true
    }

    fn worker_lost(&mut self, worker: WorkerId, how: &str) {
        self.board.known().progress.worker_lost(self.worker(worker), how);
    }

    fn unprotected(&mut self, lacking: &[LayerPart]) {
        self.record(|recorder| recorder.lacking.extend(lacking));
        let mut known = self.board.known();
        if !std::mem::replace(&mut known.told_lacking, true) {
            known.progress.unprotected(lacking);
        }
    }

    fn stopping(&mut self) {
        let mut known = self.board.known();
        if !std::mem::replace(&mut known.told_stopping, true) {
            known.progress.stopping();
        }
    }

    fn tick(&mut self, items: u64) -> Option<Duration> {
        self.items = items;
        self.record(|recorder| recorder.tick());
        if self.shown == self.counts.done && !self.board.known().progress.wants_ticks() {
            return None;
        }
        self.show()
    }
}
