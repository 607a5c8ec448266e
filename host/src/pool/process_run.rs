//! The thread of a single process: it starts the process, has it make its one call, and says how it ended.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Duration;

use super::ItemError;
use super::ahead::{ProcessAhead, StartedProcess};
use super::process::{ProcessEnd, ProcessExit, ProcessState};
use super::settings::CallSettings;
use super::task::LoadedTask;
use wasmpool_core::layer::LayerPart;
use wasmpool_core::outcome::{Failure, FailureKind, GuestOutput, JsonStringEncoding};
use wasmpool_core::policy::{ItemEncoding, ResultForm, TaskCall};
use wasmpool_ipc::batch::Batch;
use wasmpool_run::cgroup::Workers;
use wasmpool_run::compile::{ArtifactCache, ArtifactKey};
use wasmpool_run::error::{Error, caught};
use wasmpool_run::grants::OpenedGrants;
use wasmpool_run::rendered::RenderedOutcomes;
use wasmpool_run::spawn::{ChildProgram, ChildRole};
use wasmpool_run::supervisor::{
    EncodedValue, Event, Mailbox, OutcomeRecord, OutcomeSink, OutcomeValue, Recorded, Supervisor, WorkerNews,
};
use wasmpool_sandbox::surroundings::ChildEnd;
use wasmpool_scheduler::{ChunkSize, SchedulerConfig, WorkerId};

/// Signal by which a process ends that is late.
const KILLED: i32 = nix::sys::signal::Signal::SIGKILL as i32;

/// What a process is started for.
pub(super) struct ProcessCall {
    pub task: LoadedTask,
    pub program: ChildProgram,
    pub args: Batch,
    pub item_form: ItemEncoding,
    pub settings: CallSettings,
    /// The name that the guest sees, if it was given one.
    pub name: Option<String>,
    /// What its builder has started ahead of time.
    pub ahead: Arc<ProcessAhead>,
}

impl ProcessCall {
    /// Runs the process to its end. `begun` is told once there is a process, or why there is none.
    pub fn run(self, mailbox: &Mailbox, state: &ProcessState, begun: Sender<Result<(), Error>>) {
        let mut sink = CallSink { state, begun: Some(begun), outcome: None, lost: None };
        let served = caught("the thread of a process", || self.serve(mailbox, &mut sink)).flatten();
        let CallSink { begun, outcome, lost, .. } = sink;
        match (served, begun) {
            (Err(e), Some(begun)) => {
                // Whoever started it is told instead of being given a process.
                let _ = begun.send(Err(e));
            }
            (served, _) => {
                state.finish(end_of(&state.name, outcome, served.err(), state.asked.load(Ordering::SeqCst), lost));
            }
        }
    }

    fn serve(self, mailbox: &Mailbox, sink: &mut CallSink<'_>) -> Result<(), Error> {
        let ProcessCall { task, program, args, item_form, settings, name, ahead } = self;
        let process = settings.process();
        let cache = ArtifactCache::of_user();
        let OpenedGrants { mut given, directories } = process.grants.open(&cache)?;
        let (objects, granted) = process.sharing.start(name.as_deref())?;
        given.shared = granted;
        // Which type the value is wanted as is not known yet.
        let call = TaskCall { tells_encoding: true, ..process.call(given, item_form, ResultForm::Json) };
        // The process starts while the task is looked up.
        let role = ChildRole::of_worker(call.sandbox, &process.grants);
        // Dropped after the supervisor: the process dies with the thread that started it.
        let StartedProcess { spares, keeper: _keeper } = ahead.take(&program, role, Workers::of(1, &call));
        // For how long another process waits is up to those who still have the builder.
        drop(ahead);
        let wanted = ArtifactKey::of(&call);
        let mut prepared = task.prepare(&wanted, None)?;
        let config = SchedulerConfig {
            ordered: false,
            chunk: ChunkSize::Fixed(1),
            ..SchedulerConfig::of_limits(settings.terms.timeout, 1)
        };
        let sender = mailbox.sender();
        sender.leave(Event::Input(args));
        sender.leave(Event::InputEnd);
        let mut supervisor = Supervisor::new(&prepared, &call, &directories, config, spares, sink, mailbox)?;
        supervisor.one_process();
        if let Some(objects) = objects {
            supervisor.share(objects, call.given.shared.clone());
        }
        match supervisor.run() {
            Err(Error::Artifact(_)) if prepared.compiled.is_none() => {
                // The cached artifact was made on another machine: a new one is compiled. The call has not begun.
                prepared = task.prepare_anew(&wanted, None, &prepared)?;
                supervisor.exchange(&prepared, &call)?;
                supervisor.run()
            }
            other => other,
        }
        .map(drop)
    }
}

/// Takes the outcome of the call.
struct CallSink<'a> {
    state: &'a ProcessState,
    begun: Option<Sender<Result<(), Error>>>,
    outcome: Option<Result<CallValue, Failure>>,
    /// How the process ended though nobody had asked it to.
    lost: Option<(ChildEnd, String)>,
}

/// What a function returned, its exit code if it has one, and what it printed.
struct CallValue {
    json: bytes::Bytes,
    /// True if it is the base64 of bytes.
    is_base64: bool,
    code: i32,
    printed: GuestOutput,
}

impl OutcomeSink for CallSink<'_> {
    fn record(
        &mut self,
        _: OutcomeRecord<'_>,
        result: Result<OutcomeValue<'_>, Failure>,
        _: &mut RenderedOutcomes,
    ) -> Recorded {
        let outcome = result.and_then(|OutcomeValue { encoded, beside }| match encoded {
            EncodedValue::One(json) => {
                let notes = beside.map(|notes| *notes).unwrap_or_default();
                Ok(CallValue {
                    json: json.into_owned().into(),
                    is_base64: notes.encoding == Some(JsonStringEncoding::Base64),
                    code: notes.code.unwrap_or(0),
                    printed: notes.printed,
                })
            }
            EncodedValue::Many(_) => {
                Err(Failure::new(FailureKind::InvalidOutput, "the worker sent several values for one"))
            }
        });
        let recorded = if outcome.is_ok() { Recorded::Success } else { Recorded::Failure };
        self.outcome = Some(outcome);
        recorded
    }

    fn emit(&mut self, _: Vec<RenderedOutcomes>) {}

    fn worker_lost(&mut self, _: WorkerId, _: &str) {}

    fn worker_news(&mut self, _: WorkerId, news: WorkerNews<'_>) {
        match news {
            WorkerNews::Started { pid, .. } => {
                self.state.pid.store(pid, Ordering::SeqCst);
                if let Some(begun) = self.begun.take() {
                    // It waits for this.
                    let _ = begun.send(Ok(()));
                }
            }
            WorkerNews::Lost { ended, how, .. } => self.lost = Some((ended, how.to_owned())),
            WorkerNews::Late { .. } | WorkerNews::Ended { .. } => {}
        }
    }

    fn unprotected(&mut self, _: &[LayerPart]) {}

    fn tick(&mut self, _: u64) -> Option<Duration> {
        None
    }
}

/// Returns how a process ended, from the outcome of its call if there is one.
fn end_of(
    name: &str,
    outcome: Option<Result<CallValue, Failure>>,
    error: Option<Error>,
    asked: i32,
    lost: Option<(ChildEnd, String)>,
) -> ProcessEnd {
    let failed = |exitcode, failure, printed| {
        let exit = ProcessExit { exitcode, failure: Some(failure), printed };
        ProcessEnd { exit, value: None, is_base64: false }
    };
    match (outcome, error, lost) {
        (Some(Ok(CallValue { json, is_base64, code, printed })), ..) => {
            let exit = ProcessExit { exitcode: Some(code), failure: None, printed };
            ProcessEnd { exit, value: Some(json), is_base64 }
        }
        (Some(Err(failure)), ..) => {
            let exitcode = match failure.kind {
                FailureKind::Timeout => Some(-KILLED),
                FailureKind::WorkerLost => failure.signal.map(|signal| -signal).or(failure.code),
                _ => Some(failure.code.unwrap_or(1)),
            };
            let printed = failure.printed.clone();
            failed(exitcode, Error::Item(ItemError::of_process(name, failure)), printed)
        }
        (None, Some(e), _) => failed(Some(1), e, GuestOutput::default()),
        (None, None, _) if asked != 0 => {
            let mut failure = Failure::new(FailureKind::Cancelled, "it was ended before its call had");
            failure.signal = Some(asked);
            failed(Some(-asked), Error::Item(ItemError::of_process(name, failure)), GuestOutput::default())
        }
        (None, None, Some((ended, how))) => {
            let mut failure = Failure::new(FailureKind::WorkerLost, format!("it ended before its call had ({how})"));
            (failure.signal, failure.code) = (ended.signal(), ended.code());
            let exitcode = ended.signal().map(|signal| -signal).or(ended.code());
            failed(exitcode, Error::Item(ItemError::of_process(name, failure)), GuestOutput::default())
        }
        (None, None, None) => {
            failed(Some(-KILLED), Error::Workers("it was not ready in time".to_owned()), GuestOutput::default())
        }
    }
}
