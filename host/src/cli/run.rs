//! One run, from a prepared task to an exit code: the threads that read and write, the signals, and the supervisor
//! between them.

use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};

use nix::sys::signal::Signal;

use super::compiling::CompilingNotice;
use super::exit::Exit;
use super::feed::feed;
use super::sharing::{RunObjects, Sharing};
use super::signals::watch_signals;
use wasmpool_core::artifact::TaskDescription;
use wasmpool_core::outcome::OutcomeCounts;
use wasmpool_core::policy::TaskCall;
#[cfg(feature = "hosts")]
use wasmpool_nats::coordinator::{self, CoordinatedRun, Coordinator, ObjectsPlace};
use wasmpool_run::cgroup::{HostPlacement, Room, Workers};
use wasmpool_run::compile::{self, ArtifactCache, ArtifactKey, PreparedTask, Wasm};
use wasmpool_run::error::{Error, caught};
use wasmpool_run::grants::{Grants, OpenedGrants};
use wasmpool_run::input::ItemSource;
use wasmpool_run::journal::{Journal, JournalStart, RunIdentity};
use wasmpool_run::output::{
    self, ExtraOutputs, KeptColumns, LineFormat, OutcomeLines, OutcomePrinter, ResultColumns, ResultFiles, RunOutput,
    RunWatcher,
};
use wasmpool_run::scarce::{patiently, start_thread};
use wasmpool_run::shared::SharedObjects;
use wasmpool_run::spawn::{ChildProgram, ChildRole};
use wasmpool_run::supervisor::{EndingWorkers, Event, Mailbox, OutcomeSink, RunEnd, SpareWorkers, Supervisor};
use wasmpool_scheduler::SchedulerConfig;

/// The names of a run's threads, for the message about a panic in one of them.
pub const READER: &str = "the thread that reads the input";
pub const WRITER: &str = "the thread that writes the results";
pub const SUPERVISOR: &str = "the supervisor";

/// The parts of a run.
pub struct RunParts<'a> {
    pub task: &'a Wasm,
    pub call: TaskCall,
    pub grants: Grants,
    pub sharing: Sharing,
    pub config: SchedulerConfig,
    /// Where the run goes, if it goes over many machines.
    #[cfg(feature = "hosts")]
    pub via: Option<CoordinatedRun>,
    pub format: LineFormat,
    /// Columns of the input that are printed with each outcome.
    pub keep: Option<Arc<KeptColumns>>,
    /// The identity by which a journal knows the run, besides its task.
    pub identity: RunIdentity,
    pub items: Box<dyn ItemSource>,
    pub output: RunOutput,
    /// The files that results go to instead of the output, which then holds their paths.
    pub files: Option<ResultFiles>,
    pub watcher: &'a mut dyn RunWatcher,
    /// The watcher that reports compiling.
    pub notice: CompilingNotice<'a>,
    /// True if the first Ctrl-C ends the run, as the second does elsewhere: a partial result would be of no use.
    pub ends_at_once: bool,
    /// Workers that were started before all this was known.
    pub ahead: Option<SpareWorkers>,
}

/// Runs it. Failed items are counted; an error means that nothing ran that could be counted.
pub fn run(run: RunParts<'_>) -> Result<(Exit, OutcomeCounts), Error> {
    let tells = if run.ends_at_once { 2 } else { 1 };
    let RunParts {
        task,
        mut call,
        grants,
        sharing,
        mut config,
        #[cfg(feature = "hosts")]
        via,
        format,
        keep,
        identity,
        items,
        mut output,
        mut files,
        watcher,
        notice,
        ahead,
        ..
    } = run;
    let cache = ArtifactCache::of_user();
    let role = ChildRole::of_worker(call.sandbox, &grants);
    #[cfg(feature = "hosts")]
    let elsewhere = via;
    #[cfg(not(feature = "hosts"))]
    let elsewhere: Option<Crew> = None;
    let OpenedGrants { given, directories } = match &elsewhere {
        None => grants.open(&cache)?,
        // Hosts grant what is theirs, and send results whole.
        Some(_) => {
            call.in_parts = false;
            OpenedGrants::default()
        }
    };
    call.given = given;
    let (mailbox, requests) = patiently(None, Mailbox::new)?;
    let supervisor = mailbox.sender();
    let signals = watch_signals(move |signal| (0..tells).for_each(|_| supervisor.send(Event::Signal(signal))))?;
    let mut notice = notice.interruptible_by(&signals.came);
    #[cfg(feature = "hosts")]
    let sharing = if elsewhere.is_some() { sharing.over_hosts() } else { sharing };
    let shared = signals.leaving_at_once(|| sharing.start(config.workers))?;
    if let Some(shared) = &shared {
        call.given.shared = shared.grants.clone();
    }
    #[cfg(feature = "hosts")]
    let elsewhere = elsewhere.map(|via| Crew::Elsewhere(Box::new(via)));
    #[cfg_attr(not(feature = "hosts"), expect(unused_mut, reason = "a run over many machines learns its name"))]
    let mut crew = match elsewhere {
        Some(crew) => crew,
        None => {
            let wanted = Workers::of(config.workers, &call);
            // The workers start while the task is prepared.
            let spares = match ahead.filter(|ahead| ahead.role() == role) {
                Some(ahead) => {
                    ahead.room().widen(wanted);
                    ahead
                }
                None => {
                    let room = Room::new(HostPlacement::Moves, wanted);
                    SpareWorkers::started(ChildProgram::Own, role, config.workers, room)
                }
            };
            notice.bounded(spares.room());
            match prepare(task, &call, &cache, false, &mut notice) {
                Err(Error::Interrupted) => return Ok((Exit::Signal(signals.last()), OutcomeCounts::default())),
                prepared => Crew::Here(spares, Box::new(prepared?)),
            }
        }
    };
    let columns = match format {
        // What a file of its own holds is printed as a path.
        LineFormat::Csv if files.is_none() => match &crew {
            Crew::Here(_, prepared) => fields(&prepared.meta.description, &call),
            #[cfg(feature = "hosts")]
            Crew::Elsewhere(_) => match prepare(task, &call, &cache, false, &mut notice) {
                Err(Error::Interrupted) => return Ok((Exit::Signal(signals.last()), OutcomeCounts::default())),
                prepared => fields(&prepared?.meta.description, &call),
            },
        },
        _ => Vec::new(),
    };
    let columns = ResultColumns::of_tasks(&[columns]).pop().unwrap_or_default();
    let header = match format {
        LineFormat::Csv => columns.header(false, keep.as_deref())?,
        LineFormat::Values | LineFormat::Records | LineFormat::Raw { .. } => Vec::new(),
    };
    let start = match output.start(identity.of_task(&task.hash_for(&call)), &|| signals.last() != 0) {
        Err(Error::Interrupted) => return Ok((Exit::Signal(signals.last()), OutcomeCounts::default())),
        start => start?,
    };
    output.beginning_with(header);
    if let (Some(files), Some(journal)) = (&mut files, &output.journal) {
        files.go_on(|item| journal.has(item)).map_err(Error::output)?;
    }
    let (counts, finished) = match start {
        JournalStart::Fresh => (OutcomeCounts::default(), false),
        JournalStart::Behind { counts, finished, .. } => (counts, finished),
    };
    #[cfg(feature = "hosts")]
    if let (Crew::Elsewhere(via), Some(journal)) = (&mut crew, &mut output.journal) {
        via.known = Some(journal.over_hosts(coordinator::new_run()?));
    }
    let before = counts.done;
    watcher.resumed(&counts);
    let journaled = output.journal.is_some();
    config.resumable = journaled;
    let tally = output.journal.as_mut().map(Journal::tally);
    let reader = mailbox.sender();
    start_thread("input", move || reader.watch(READER, || feed(items, tally, &requests, &reader)))?;
    let failed = output.failed.is_some().then_some(call.item_form);
    let printed = output.results.is_stdout();
    let (results, to_write) = mpsc::channel();
    let writer = mailbox.sender();
    let writing =
        start_thread("output", move || writer.watch(WRITER, || output::write_all(output, &to_write, &writer)))?;
    let lines = OutcomeLines::new(format)
        .deterministic(call.deterministic)
        .taking_failed(call.takes_failed)
        .within(call.limits.max_output)
        .keeping(keep)
        .in_columns(columns);
    let besides = ExtraOutputs { failed, journal: journaled, files, printed };
    let mut printer = OutcomePrinter::new(lines, counts, besides, results, mailbox.sender(), watcher);
    let objects = shared.as_ref().map(|shared| shared.objects.clone());
    let result = caught(SUPERVISOR, || match crew {
        Crew::Here(spares, prepared) => {
            let work = SupervisorWork {
                task,
                call: &call,
                directories: &directories,
                shared: objects,
                cache: &cache,
                prepared: *prepared,
            };
            work.run(config, spares, &mut printer, &mailbox, &mut notice)
        }
        #[cfg(feature = "hosts")]
        Crew::Elsewhere(via) => run_elsewhere(*via, task, &call, objects, config, &mut printer, &mailbox),
    })
    .flatten();
    let counts = printer.counts().clone();
    drop(printer);
    // Also after an interrupted run: what its items did is there. But not if the run ends with an error.
    let tell = || shared.map_or(Ok(()), RunObjects::tell);
    let (end, ending) = match result {
        Err(e) => {
            // What is known is written all the same. If there is nothing, files that were made for it are removed.
            let _ = writing.join();
            return match e {
                Error::Interrupted => Ok((Exit::Signal(signals.last()), OutcomeCounts::default())),
                e => Err(e),
            };
        }
        Ok(end) => end,
    };
    let mut ended = None;
    let closed = matches!(end, RunEnd::OutputClosed);
    if !closed {
        // What is left in the channel is written before the process ends; errors from now on are reported through the
        // mailbox.
        if let Ok(Some(Some(mut written))) = writing.join() {
            // If an input could not be read at all, nothing ran, and existing files stay as they were.
            if !matches!(end, RunEnd::InputFailed(_)) || counts.done > before {
                written.end().map_err(Error::output)?;
            }
            ended = Some(written);
        }
    }
    // Waited for only now: the workers were ended meanwhile. What they did to shared objects is told afterwards.
    drop(ending);
    if !closed {
        for event in mailbox.take() {
            match event {
                Event::OutputHungUp => return tell().map(|()| (Exit::Signal(Signal::SIGHUP as i32), counts)),
                Event::OutputClosed => return tell().map(|()| (Exit::OutputClosed, counts)),
                Event::OutputFailed(e) => return Err(Error::output(e)),
                Event::JournalFailed(e) => return Err(Error::cannot_journal(e)),
                Event::Broke(e) => return Err(e),
                _ => {}
            }
        }
    }
    if !matches!(end, RunEnd::InputFailed(_)) {
        tell()?;
    }
    let exit = match end {
        RunEnd::Interrupted(signal) => Exit::Signal(signal),
        // A run of one task is terminated only by a signal, and is never set aside.
        RunEnd::Terminated | RunEnd::GivenUp => Exit::Signal(Signal::SIGTERM as i32),
        RunEnd::OutputClosed => Exit::OutputClosed,
        RunEnd::Halted(_) => Exit::Halted,
        RunEnd::InputFailed(e) => return Err(Error::Input(e)),
        RunEnd::Complete => {
            let exit = if counts.failures() > 0 { Exit::Failures } else { Exit::Success };
            let told = ended.as_mut().map_or(Ok(()), |output| output.finish(exit.code()));
            told.map_err(Error::cannot_journal)?;
            if finished && counts.done == before { Exit::Finished(exit.code()) } else { exit }
        }
    };
    Ok((exit, counts))
}

/// Runs a task over many machines, to its end.
#[cfg(feature = "hosts")]
pub fn run_elsewhere(
    via: CoordinatedRun,
    task: &Wasm,
    call: &TaskCall,
    objects: Option<Arc<SharedObjects>>,
    config: SchedulerConfig,
    sink: &mut dyn OutcomeSink,
    mailbox: &Mailbox,
) -> Result<(RunEnd, EndingWorkers), Error> {
    let place = objects.clone().map_or(via.objects, ObjectsPlace::Here);
    let slots = Coordinator::start(CoordinatedRun { objects: place, ..via }, task, call, mailbox.sender())?;
    let mut supervisor = Supervisor::elsewhere(Box::new(slots), call, config, sink, mailbox)?;
    if let Some(objects) = objects {
        supervisor.share(objects, call.given.shared.clone());
    }
    Ok((supervisor.run()?, supervisor.into_ending()))
}

/// Who runs the items.
enum Crew {
    /// Workers of this machine.
    Here(SpareWorkers, Box<PreparedTask>),
    /// The hosts of a message system.
    #[cfg(feature = "hosts")]
    Elsewhere(Box<CoordinatedRun>),
}

/// The task that a supervisor has its workers run.
pub struct SupervisorWork<'a> {
    pub task: &'a Wasm,
    pub call: &'a TaskCall,
    pub directories: &'a [OwnedFd],
    pub shared: Option<Arc<SharedObjects>>,
    pub cache: &'a ArtifactCache,
    pub prepared: PreparedTask,
}

impl SupervisorWork<'_> {
    /// Runs the task to its end. Its processes have ended once the second value is dropped.
    pub fn run(
        self,
        config: SchedulerConfig,
        spares: SpareWorkers,
        sink: &mut dyn OutcomeSink,
        mailbox: &Mailbox,
        notice: &mut CompilingNotice<'_>,
    ) -> Result<(RunEnd, EndingWorkers), Error> {
        let SupervisorWork { task, call, directories, shared, cache, prepared } = self;
        let mut supervisor = Supervisor::new(&prepared, call, directories, config, spares, sink, mailbox)?;
        if let Some(shared) = shared {
            supervisor.share(shared, call.given.shared.clone());
        }
        let mut result = supervisor.run();
        if let Err(Error::Artifact(_)) = &result
            && prepared.compiled.is_none()
        {
            // The cached artifact was made on another machine: a new one is compiled. Workers load it before anything
            // is sent to them, so nothing ran; but items were read already, and the supervisor has them.
            cache.remove(&prepared.hash, prepared.meta.profile);
            let prepared = prepare(task, call, cache, true, notice)?;
            supervisor.exchange(&prepared, call)?;
            result = supervisor.run();
        }
        Ok((result?, supervisor.into_ending()))
    }
}

/// Returns the names of the fields of the records that a call yields, if it yields records.
pub fn fields(description: &TaskDescription, call: &TaskCall) -> Vec<String> {
    let level = usize::from(call.batch) + usize::from(call.flatten);
    match call.command {
        Some(_) => Vec::new(),
        None => description.fields(call.function.as_deref(), level),
    }
}

pub fn prepare(
    task: &Wasm,
    call: &TaskCall,
    cache: &ArtifactCache,
    fresh: bool,
    notice: &mut CompilingNotice<'_>,
) -> Result<PreparedTask, Error> {
    let prepared = compile::prepare(&ChildProgram::Own, task, &ArtifactKey::of(call), cache, fresh, notice)?;
    notice.report_prepared(task.name(), &prepared);
    Ok(prepared)
}
