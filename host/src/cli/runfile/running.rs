//! Carries out a run: starts its processes when the order says so, and tells what became of each.

use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::attempt::{Attempt, AttemptOutcome, ReadyProcess, RunContext, RunTold, cancelled};
use super::order::{AttemptEnd, Never, NextAct, StartOrder};
use super::plan::{Plan, Work};
use crate::cli::args::{RunFileArgs, Verbosity};
use crate::cli::compiling::CompilingNotice;
use crate::cli::exit::{Exit, Stop};
use crate::cli::resolve::ProcessSpec;
use crate::cli::run::{SUPERVISOR, prepare};
use crate::cli::sharing::{RunObjects, Sharing};
use crate::cli::signals::{STOPPING, Signals, watch_signals};
use wasmpool_core::outcome::Failure;
use wasmpool_core::policy::{CommandCall, CommandPipes, SandboxMode, TaskCall};
use wasmpool_core::share::{ObjectForm, SharedGrants};
use wasmpool_core::text::{ForeignText, QuotedName};
use wasmpool_run::cgroup::{HostPlacement, Room, Workers};
use wasmpool_run::compile::{ArtifactCache, Wasm};
use wasmpool_run::error::{Error, caught};
use wasmpool_run::grants::OpenedGrants;
use wasmpool_run::output::{ProcessRecord, TargetError};
use wasmpool_run::scarce::patiently;
use wasmpool_run::shared::PipeEnd;
use wasmpool_run::spawn::{ChildProgram, ChildRole};
use wasmpool_run::stdio::{Level, Stdout};
use wasmpool_run::supervisor::{Event, EventSender, Mailbox, SpareWorkers};
use wasmpool_run::{tell, tell_as};

/// Something that the thread which carries out the order is told.
#[derive(Debug)]
pub enum News {
    /// The process at this place has loaded its task.
    Started(usize),
    Ended(usize, Result<Attempt, Error>),
    Signal(i32),
}

/// Checks that the objects can be filled and told, that each task can be loaded, and that each call fits its function. Nothing
/// of a task runs. Returns `None` if nothing is wrong, and how the program ends if that was interrupted.
pub fn check(plan: &Plan, specs: &[ProcessSpec], args: &RunFileArgs) -> Result<Option<Exit>, Stop> {
    let signals = watch_signals(|_| {})?;
    let objects = plan.objects.iter().map(|object| &object.spec);
    signals.leaving_at_once(|| Sharing::check(objects, args.share_in.as_deref(), args.share_out.as_deref()))?;
    let ready = ready(plan, specs, args.verbosity, args.sandbox.mode, &ArtifactCache::of_user(), &signals)?;
    Ok(if ready.is_none() { Some(Exit::Signal(signals.last())) } else { None })
}

/// Runs all processes, until all that are no daemons have ended.
pub fn run(plan: &Plan, specs: &[ProcessSpec], args: &RunFileArgs) -> Result<Exit, Stop> {
    let (news, heard) = mpsc::channel();
    let told = news.clone();
    let signals = watch_signals(move |signal| {
        let _ = told.send(News::Signal(signal));
    })?;
    // Before anything runs: a record that cannot be written would come too late.
    Stdout.check().map_err(|source| TargetError::Stdout { what: "the records of the processes", source })?;
    let sandbox = args.sandbox.mode;
    let objects = plan.objects.iter().map(|object| (object.spec.clone(), object.rights)).collect();
    // A pipe may have no other end yet.
    let sharing = signals.leaving_at_once(|| {
        Sharing::of_objects(objects, args.share_in.as_deref(), args.share_out.as_deref(), sandbox)
    })?;
    let cache = ArtifactCache::of_user();
    let Some(mut ready) = ready(plan, specs, args.verbosity, sandbox, &cache, &signals)? else {
        return Ok(Exit::Signal(signals.last()));
    };
    let instances = plan.instances();
    let shared = signals.leaving_at_once(|| sharing.start(instances.len()))?;
    for (process, ready) in ready.iter_mut().enumerate() {
        ready.call.given.shared = granted(plan, specs, process, shared.as_ref());
        ready.pipes = pipes(plan, process);
    }
    let Verbosity { verbose, quiet, .. } = args.verbosity;
    let context = RunContext {
        objects: shared.as_ref().map(|shared| shared.objects.clone()),
        cache: &cache,
        told: RunTold::default(),
        quiet,
        verbose: verbose > 0 && !quiet,
    };
    let mut run = ProcessRun {
        plan,
        ready: &ready,
        context: &context,
        signals: &signals,
        verbosity: args.verbosity,
        instances: instances.iter().map(|&(process, number)| Instance::of(plan, process, number)).collect(),
        order: StartOrder::of(plan),
        begin: Instant::now(),
        news,
        heard,
        interrupts: 0,
        failures: 0,
        stopped: None,
        closed_ends: Vec::new(),
    };
    run.conduct();
    let ProcessRun { stopped, failures, .. } = run;
    let told = match stopped {
        Some(Stopped::Error(stop)) => return Err(stop),
        _ => shared.map_or(Ok(()), RunObjects::tell),
    };
    told?;
    Ok(match stopped {
        Some(Stopped::OutputClosed) => Exit::OutputClosed,
        _ if signals.last() != 0 => Exit::Signal(signals.last()),
        _ if failures > 0 => Exit::Failures,
        _ => Exit::Success,
    })
}

/// Reads and compiles the task of each process, and opens what it was granted. Returns `None` if that was interrupted.
fn ready(
    plan: &Plan,
    specs: &[ProcessSpec],
    verbosity: Verbosity,
    sandbox: SandboxMode,
    cache: &ArtifactCache,
    signals: &Signals,
) -> Result<Option<Vec<ReadyProcess>>, Stop> {
    let mut all = Vec::new();
    for (process, spec) in plan.processes.iter().zip(specs) {
        let of = |error: Error| of_process(&process.name, &error, spec);
        let grants = spec.grants.grants();
        let opened = grants.open(cache).map_err(Error::from).map_err(of)?;
        let OpenedGrants { mut given, directories } = opened;
        // A name is something granted, so `init` runs in each process and not once for all.
        given.shared.name = Some(process.name.clone());
        let wasm = signals.leaving_at_once(|| Wasm::of_file(&spec.task)).map_err(of)?;
        let mut call = TaskCall { limits: spec.limits, sandbox, given, ..TaskCall::default() };
        let work = process.work.clone();
        match &work {
            // The artifact depends on what `init` is given.
            Work::Function { init, .. } => call.init = init.clone(),
            Work::Command { .. } => call.command = Some(CommandCall::default()),
        }
        let mut notice = CompilingNotice::new(verbosity).interruptible_by(&signals.came);
        let prepared = match prepare(&wasm, &call, cache, false, &mut notice) {
            Ok(prepared) => prepared,
            Err(Error::Interrupted) => return Ok(None),
            Err(e) => return Err(of(e)),
        };
        call.command = None;
        let room = Room::new(HostPlacement::Moves, Workers::of(process.count as usize, &call));
        let ready = ReadyProcess {
            wasm,
            prepared,
            call,
            directories,
            spares: SpareWorkers::new(ChildProgram::Own, ChildRole::of_worker(sandbox, &grants), room),
            function: spec.function.clone(),
            work,
            pipes: CommandPipes::default(),
        };
        // Before anything runs: what one process did cannot be undone when another turns out to be wrong.
        let misfit = signals.leaving_at_once(|| ready.check(process.count, cache, &mut notice)).map_err(of)?;
        if let Some(failure) = misfit {
            let name = &process.name;
            return Err(Stop::from(format!(
                "process {name}: its arguments do not fit: {}",
                ForeignText::of_failure(&failure.message)
            )));
        }
        all.push(ready);
    }
    Ok(Some(all))
}

fn of_process(name: &str, error: &Error, spec: &ProcessSpec) -> Stop {
    let Stop { exit, message } = Stop::of_run(error, &spec.grants);
    Stop { exit, message: format!("process {name}: {message}") }
}

/// Returns the objects that a process reaches: those that it was given by name, as a plugin asks for them, and the pipes
/// of its standard streams.
fn granted(plan: &Plan, specs: &[ProcessSpec], process: usize, shared: Option<&RunObjects>) -> SharedGrants {
    let (Some(shared), Some(spec)) = (shared, specs.get(process)) else {
        return SharedGrants::default();
    };
    let objects = plan.reached(process).into_iter().filter_map(|(place, rights)| {
        let name = &plan.objects.get(place)?.spec.name;
        let rights = match spec.grants.shares.iter().find(|share| share.spec.name == *name) {
            Some(share) => share.rights.and(rights),
            // The plugin does not ask for it.
            None if place < plan.named => return None,
            None => rights,
        };
        shared.objects.grant(name, rights)
    });
    SharedGrants { objects: objects.collect(), ..SharedGrants::default() }
}

fn pipes(plan: &Plan, process: usize) -> CommandPipes {
    let number = |place: usize| u16::try_from(place).ok();
    let stdin = plan.processes.get(process).and_then(|process| process.stdin).and_then(|writer| plan.pipe_of(writer));
    CommandPipes { stdin: stdin.and_then(number), stdout: plan.pipe_of(process).and_then(number) }
}

/// One process of the run.
struct Instance {
    process: usize,
    number: u32,
    /// What it is called.
    label: String,
    /// Its supervisor, while it runs, and when it was last started, since the beginning of the run.
    supervisor: Option<EventSender>,
    started: Duration,
    /// Its last attempt.
    last: Option<Attempt>,
}

impl Instance {
    fn of(plan: &Plan, process: usize, number: u32) -> Instance {
        let label = plan.processes.get(process).map_or_else(String::new, |entry| entry.label(number));
        Instance { process, number, label, supervisor: None, started: Duration::ZERO, last: None }
    }
}

/// Why a run ends before its processes do.
enum Stopped {
    Error(Stop),
    OutputClosed,
}

/// A run that goes on.
struct ProcessRun<'a> {
    plan: &'a Plan,
    ready: &'a [ReadyProcess],
    context: &'a RunContext<'a>,
    signals: &'a Signals,
    verbosity: Verbosity,
    instances: Vec<Instance>,
    order: StartOrder,
    begin: Instant,
    news: Sender<News>,
    heard: Receiver<News>,
    /// How often the user or the system has asked to stop; SIGTERM counts twice.
    interrupts: u32,
    failures: u32,
    stopped: Option<Stopped>,
    /// Ends of pipes that the host has closed, by their objects.
    closed_ends: Vec<(usize, PipeEnd)>,
}

impl<'a> ProcessRun<'a> {
    /// Runs until all processes have ended.
    fn conduct(&mut self) {
        thread::scope(|scope| {
            loop {
                while let Some(act) = self.order.next(self.begin.elapsed()) {
                    self.carry_out(act, scope);
                }
                if self.order.is_over() {
                    break;
                }
                let left = self.order.deadline().map(|due| due.saturating_sub(self.begin.elapsed()));
                match self.hear(left) {
                    Some(News::Started(place)) => self.order.started(place),
                    Some(News::Ended(place, result)) => self.ended(place, result),
                    Some(News::Signal(signal)) => self.interrupted(signal),
                    None => {}
                }
            }
        });
    }

    /// Waits for news, at most for this long.
    fn hear(&self, at_most: Option<Duration>) -> Option<News> {
        match at_most {
            Some(time) => self.heard.recv_timeout(time).ok(),
            None => self.heard.recv().ok(),
        }
    }

    fn carry_out<'scope, 'env: 'scope>(&mut self, act: NextAct, scope: &'scope Scope<'scope, 'env>)
    where
        'a: 'env,
    {
        match act {
            NextAct::Start(place) => self.start(place, scope),
            NextAct::Terminate(place) => self.terminate(place),
            NextAct::Settle(place) => self.settle(place),
            NextAct::Cancel(place, never) => self.cancel(place, never),
        }
    }

    /// Starts a process, which is supervised by a thread of its own.
    fn start<'scope, 'env: 'scope>(&mut self, place: usize, scope: &'scope Scope<'scope, 'env>)
    where
        'a: 'env,
    {
        let restarts = self.order.attempts(place).saturating_sub(1);
        let Some(instance) = self.instances.get_mut(place) else {
            return;
        };
        let Some(ready) = self.ready.get(instance.process) else {
            return;
        };
        let (name, quiet) = (instance.label.clone(), self.context.quiet);
        if restarts > 0 && !quiet {
            let count = restarts;
            let facts = [("name", name.as_str().into()), ("restarts", count.into())];
            tell_as!(Level::Warning, &facts, "wasmpool: process {name} is started again (restart {count})");
        }
        let mailbox = match patiently(None, || Mailbox::asking(Box::new(|_| false))) {
            Ok(mailbox) => mailbox,
            Err(e) => return self.ended(place, Err(Error::from(e))),
        };
        instance.supervisor = Some(mailbox.sender());
        instance.started = self.begin.elapsed();
        let (number, news, context) = (instance.number, self.news.clone(), self.context);
        let (signals, verbosity) = (self.signals, self.verbosity);
        let run = move || {
            let mut notice = CompilingNotice::new(verbosity).interruptible_by(&signals.came);
            let attempt = || ready.run(context, (place, number, &name), &mailbox, &news, &mut notice);
            let result = caught(SUPERVISOR, attempt).flatten();
            let _ = news.send(News::Ended(place, result));
        };
        if let Err(e) = thread::Builder::new().name("process".to_owned()).spawn_scoped(scope, run) {
            self.ended(place, Err(Error::spawn(e)));
        }
    }

    fn terminate(&self, place: usize) {
        if let Some(supervisor) = self.instances.get(place).and_then(|instance| instance.supervisor.as_ref()) {
            supervisor.send(Event::Terminate);
        }
    }

    /// Starts nothing more, and ends all that runs.
    fn end_all(&mut self) {
        self.order.stop();
        (0..self.instances.len()).for_each(|place| self.terminate(place));
    }

    fn interrupted(&mut self, signal: i32) {
        self.interrupts += if signal == Signal::SIGINT as i32 { 1 } else { 2 };
        self.order.stop();
        if self.interrupts == 1 && !self.context.quiet {
            tell!("wasmpool: {STOPPING}");
        }
        if self.interrupts > 1 {
            self.end_all();
        }
    }

    /// Handles the end of an attempt.
    fn ended(&mut self, place: usize, result: Result<Attempt, Error>) {
        let now = self.begin.elapsed();
        let Some(instance) = self.instances.get_mut(place) else {
            return;
        };
        instance.supervisor = None;
        let elapsed = now.saturating_sub(instance.started);
        let attempt = match result {
            Ok(attempt) => attempt,
            // The objects belong to all processes, so no process is to blame for their loss.
            Err(error @ Error::Shared(_)) => {
                instance.last = Some(Attempt { elapsed, end: AttemptOutcome::Terminated });
                self.stop_for(Stopped::Error(Stop::of_run(&error, &Default::default())));
                self.order.ended(place, AttemptEnd::Terminated, now);
                return self.settle(place);
            }
            Err(error) => {
                let stop = of_error(&instance.label, &error);
                instance.last =
                    Some(Attempt { elapsed, end: AttemptOutcome::Failure(cancelled(stop.message.clone())) });
                self.stop_for(Stopped::Error(stop));
                self.order.ended(place, AttemptEnd::Failure, now);
                return self.settle(place);
            }
        };
        let end = match &attempt.end {
            AttemptOutcome::Success(_) | AttemptOutcome::Unread => AttemptEnd::Success,
            AttemptOutcome::Failure(failure) => {
                if !self.context.quiet {
                    tell_failure(&instance.label, failure);
                }
                AttemptEnd::Failure
            }
            AttemptOutcome::Terminated => AttemptEnd::Terminated,
        };
        instance.last = Some(attempt);
        if !self.order.ended(place, end, now) {
            self.settle(place);
        }
    }

    /// Ends the run because of this. The first reason counts.
    fn stop_for(&mut self, why: Stopped) {
        self.stopped.get_or_insert(why);
        self.end_all();
    }

    /// Tells what became of a process that will not be started again.
    fn settle(&mut self, place: usize) {
        let Some(attempt) = self.instances.get_mut(place).and_then(|instance| instance.last.take()) else {
            return;
        };
        self.tell(place, &attempt);
        self.close_ends();
    }

    fn cancel(&mut self, place: usize, never: Never) {
        let other = |place: usize| self.instances.get(place).map_or_else(String::new, |other| other.label.clone());
        let end = match never {
            Never::NotNeeded => AttemptOutcome::Terminated,
            Never::Stopping => AttemptOutcome::Failure(cancelled("the run was ended before it could start")),
            Never::After(place) => {
                let why = format!("it was to start after {}, which failed", QuotedName::of(&other(place)));
                AttemptOutcome::Failure(cancelled(why))
            }
        };
        if let (AttemptOutcome::Failure(failure), Some(instance), false) =
            (&end, self.instances.get(place), self.context.quiet)
        {
            tell_failure(&instance.label, failure);
        }
        self.tell(place, &Attempt { elapsed: Duration::ZERO, end });
        self.close_ends();
    }

    /// Writes the record of a process.
    fn tell(&mut self, place: usize, attempt: &Attempt) {
        let Some(instance) = self.instances.get(place) else {
            return;
        };
        let name = self.plan.processes.get(instance.process).map_or("", |process| &process.name);
        let (number, attempts) = (instance.number, self.order.attempts(place));
        let record = ProcessRecord { name, number, elapsed: attempt.elapsed, attempts };
        let mut line = Vec::new();
        match &attempt.end {
            AttemptOutcome::Success(value) => record.ok(value.as_deref(), &mut line),
            AttemptOutcome::Failure(failure) => {
                self.failures += 1;
                record.failed(failure, &mut line);
            }
            AttemptOutcome::Terminated | AttemptOutcome::Unread => record.terminated(&mut line),
        }
        match Stdout.write_all(&line) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => self.stop_for(Stopped::OutputClosed),
            Err(e) => self.stop_for(Stopped::Error(Stop::from(Error::output(e)))),
        }
    }

    /// Closes ends of pipes whose processes have all ended, so that whoever is at the other end sees that. An end that was
    /// opened is closed with its process.
    fn close_ends(&mut self) {
        let Some(objects) = self.context.objects.as_deref() else {
            return;
        };
        for (place, object) in self.plan.objects.iter().enumerate() {
            if !matches!(object.spec.form, ObjectForm::Pipe { .. }) {
                continue;
            }
            for end in [PipeEnd::First, PipeEnd::Second] {
                if let Ok(pipe) = u16::try_from(place)
                    && !self.closed_ends.contains(&(place, end))
                    && self.is_left(place, end)
                {
                    self.closed_ends.push((place, end));
                    // If the process that keeps the objects is lost, each supervisor says so.
                    let _ = objects.close_unopened(pipe, end);
                }
            }
        }
    }

    /// Returns true if somebody was given this end of a pipe, and nobody who was is still there.
    fn is_left(&self, pipe: usize, end: PipeEnd) -> bool {
        let holds = |process: usize| {
            let mut reached = self.plan.reached(process).into_iter();
            reached.any(|(object, rights)| {
                object == pipe
                    && match end {
                        PipeEnd::First => rights.first,
                        PipeEnd::Second => rights.second,
                    }
            })
        };
        let mut holders = self.instances.iter().enumerate().filter(|(_, one)| holds(one.process)).peekable();
        holders.peek().is_some() && holders.all(|(place, _)| self.order.has_ended(place))
    }
}

fn of_error(name: &str, error: &Error) -> Stop {
    let Stop { exit, message } = Stop::of_run(error, &Default::default());
    Stop { exit, message: format!("process {name}: {message}") }
}

fn tell_failure(name: &str, failure: &Failure) {
    let kind = failure.kind.name();
    let mut facts = vec![("name", name.into()), ("kind", kind.into())];
    if !failure.trace.is_empty() {
        facts.push(("trace", failure.trace.clone().into()));
    }
    // The last one may only say how many more there are.
    let word = |frame: &str| if frame.starts_with('(') { "" } else { "in " };
    let frames = failure.trace.iter().map(|frame| format!("\n    {}{}", word(frame), ForeignText::of(frame)));
    let frames: String = frames.collect();
    let message = ForeignText::of_failure(&failure.message);
    let text = format!("process {name} failed: {kind}: {message}{frames}");
    tell_as!(Level::Warning, &facts, "wasmpool: {text}");
}
