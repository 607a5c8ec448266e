//! One attempt of one process: a worker that gets its one item, and what becomes of that.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use super::plan::Work;
use super::prints::ShownStream;
use super::running::News;
use crate::cli::checking;
use crate::cli::compiling::CompilingNotice;
use crate::cli::progress::{short_of_workers, without};
use crate::cli::run::SupervisorWork;
use wasmpool_core::guest_grants::GuestGrants;
use wasmpool_core::layer::LayerPart;
use wasmpool_core::outcome::{Failure, FailureKind};
use wasmpool_core::policy::{CommandCall, CommandPipes, ResultForm, TaskCall, UNREAD_CODE};
use wasmpool_core::share::SharedGrants;
use wasmpool_core::text::ForeignText;
use wasmpool_ipc::batch::Batch;
use wasmpool_run::compile::{ArtifactCache, PreparedTask, Wasm};
use wasmpool_run::error::Error;
use wasmpool_run::output::{json_value, raw_value};
use wasmpool_run::rendered::RenderedOutcomes;
use wasmpool_run::shared::SharedObjects;
use wasmpool_run::stdio::Level;
use wasmpool_run::supervisor::{
    Event, Mailbox, OutcomeRecord, OutcomeSink, OutcomeValue, Recorded, RunEnd, SpareWorkers,
};
use wasmpool_run::tell_as;
use wasmpool_scheduler::{SchedulerConfig, WorkerId};

/// Interval at which what a process prints is shown.
const SHOW_EVERY: Duration = Duration::from_millis(100);
/// The same for a process that has printed much since the last look: it waits once 64 KiB of a stream were not shown.
const SHOW_SOON: Duration = Duration::from_millis(1);
const MUCH: usize = 16 << 10;

/// What a process is started from. Processes of one name share it.
pub struct ReadyProcess {
    pub wasm: Wasm,
    pub prepared: PreparedTask,
    /// Without the work, which has the number of the process in it.
    pub call: TaskCall,
    pub directories: Vec<OwnedFd>,
    pub spares: SpareWorkers,
    /// The function that a plugin names.
    pub function: Option<String>,
    pub work: Work,
    pub pipes: CommandPipes,
}

/// What all processes of a run share.
pub struct RunContext<'a> {
    pub objects: Option<Arc<SharedObjects>>,
    pub cache: &'a ArtifactCache,
    pub told: RunTold,
    pub quiet: bool,
    pub verbose: bool,
}

/// What is said once for all processes.
#[derive(Debug, Default)]
pub struct RunTold {
    lacking: AtomicBool,
    short: AtomicBool,
}

/// What became of an attempt.
#[derive(Debug)]
pub struct Attempt {
    pub elapsed: Duration,
    pub end: AttemptOutcome,
}

#[derive(Debug)]
pub enum AttemptOutcome {
    /// With the value of a function.
    Success(Option<Vec<u8>>),
    Failure(Failure),
    Terminated,
    /// A command ended because nobody reads its standard output any more.
    Unread,
}

impl ReadyProcess {
    /// Runs the process once. `place` is its place among all processes.
    pub fn run(
        &self,
        context: &RunContext<'_>,
        (place, number, label): (usize, u32, &str),
        mailbox: &Mailbox,
        news: &Sender<News>,
        notice: &mut CompilingNotice<'_>,
    ) -> Result<Attempt, Error> {
        let (call, item) = self.call(number, label);
        let mut batch = Batch::default();
        batch.push(item.as_bytes());
        let sender = mailbox.sender();
        sender.send(Event::Input(batch));
        sender.send(Event::InputEnd);
        let config = SchedulerConfig::of_limits(call.limits.timeout, 1);
        let mut sink = ProcessSink {
            context,
            label,
            is_command: matches!(self.work, Work::Command { .. }),
            news: (news, place),
            since: Instant::now(),
            outcome: None,
            streams: ShownStream::both(),
            printed_much: false,
        };
        let work = SupervisorWork {
            task: &self.wasm,
            call: &call,
            directories: &self.directories,
            shared: context.objects.clone(),
            cache: context.cache,
            prepared: self.prepared()?,
        };
        let (end, _) = work.run(config, self.spares.clone(), &mut sink, mailbox, notice)?;
        sink.show_ends();
        let elapsed = sink.since.elapsed();
        Ok(match (sink.outcome, end) {
            (Some((elapsed, Ok(value))), _) => Attempt { elapsed, end: AttemptOutcome::Success(value) },
            (Some((elapsed, Err(failure))), _) if self.is_unread(&failure) => {
                Attempt { elapsed, end: AttemptOutcome::Unread }
            }
            (Some((elapsed, Err(failure))), _) => Attempt { elapsed, end: AttemptOutcome::Failure(failure) },
            (None, RunEnd::Complete) => return Err(Error::Bug("a process ended without an outcome".to_owned())),
            (None, _) => Attempt { elapsed, end: AttemptOutcome::Terminated },
        })
    }

    /// Checks that the task can be loaded, and that the arguments of all `count` processes fit its function, in a worker
    /// that runs nothing of the task. Returns why they do not fit.
    pub fn check(
        &self,
        count: u32,
        cache: &ArtifactCache,
        notice: &mut CompilingNotice<'_>,
    ) -> Result<Option<Failure>, Error> {
        let (call, _) = self.call(0, "");
        let call = TaskCall {
            only_checked: true,
            given: GuestGrants { shared: SharedGrants::default(), ..call.given },
            ..call
        };
        let mut batch = Batch::default();
        for number in 0..count {
            batch.push(self.call(number, "").1.as_bytes());
        }
        let work = SupervisorWork {
            task: &self.wasm,
            call: &call,
            directories: &self.directories,
            shared: None,
            cache,
            prepared: self.prepared()?,
        };
        Ok(checking::check(work, self.spares.clone(), batch, notice)?.misfit)
    }

    fn prepared(&self) -> io::Result<PreparedTask> {
        let PreparedTask { artifact, meta, hash, compiled, .. } = &self.prepared;
        Ok(PreparedTask {
            artifact: artifact.try_clone()?,
            meta: meta.clone(),
            hash: hash.clone(),
            compiled: *compiled,
            unkept: None,
        })
    }

    /// Returns the call of the process with this number, and its item.
    fn call(&self, number: u32, label: &str) -> (TaskCall, String) {
        let mut call = self.call.clone();
        call.given.shared = SharedGrants { name: Some(label.to_owned()), ..call.given.shared };
        match self.work.numbered(number) {
            Work::Function { name, arguments, bound, init } => {
                call.function = name.or_else(|| self.function.clone());
                (call.args, call.init, call.arguments) = (bound, init, Some(arguments.len()));
                (call, item_of(&arguments))
            }
            Work::Command { arguments, ok_codes } => {
                call.command = Some(CommandCall {
                    arguments: std::iter::once(self.command_name()).chain(arguments).collect(),
                    // Nothing stands for the item, which is empty: no argument contains a NUL.
                    item: "\0".to_owned(),
                    index: "\0\0".to_owned(),
                    ok_codes,
                    pipes: self.pipes,
                    without_value: true,
                });
                call.result_form = ResultForm::Raw;
                (call, "\"\"".to_owned())
            }
        }
    }

    /// Returns true if this is how a command ends whose reader has ended before it.
    fn is_unread(&self, failure: &Failure) -> bool {
        self.pipes.stdout.is_some() && failure.kind == FailureKind::Exit && failure.code == Some(UNREAD_CODE)
    }

    fn command_name(&self) -> String {
        self.wasm.name().rsplit('/').next().unwrap_or_default().to_owned()
    }
}

/// Returns the item that stands for these arguments of a function.
fn item_of(arguments: &[String]) -> String {
    match arguments {
        [] => "null".to_owned(),
        [one] => one.clone(),
        several => format!("[{}]", several.join(",")),
    }
}

/// The value of the one call, if it has one that is kept, or its failure.
type CallOutcome = Result<Option<Vec<u8>>, Failure>;

/// The destination of the one outcome, and of what the process prints.
struct ProcessSink<'a> {
    context: &'a RunContext<'a>,
    label: &'a str,
    is_command: bool,
    news: (&'a Sender<News>, usize),
    since: Instant,
    outcome: Option<(Duration, CallOutcome)>,
    /// Standard output and standard error.
    streams: [ShownStream; 2],
    /// True if the process printed so much at last that it may wait for the next look.
    printed_much: bool,
}

impl ProcessSink<'_> {
    /// Shows the lines that the process has not ended.
    fn show_ends(&mut self) {
        self.streams.iter_mut().for_each(|stream| stream.end(self.label));
    }
}

impl OutcomeSink for ProcessSink<'_> {
    fn record(
        &mut self,
        record: OutcomeRecord<'_>,
        result: Result<OutcomeValue<'_>, Failure>,
        _: &mut RenderedOutcomes,
    ) -> Recorded {
        self.show_ends();
        let result = result.and_then(|OutcomeValue { encoded, .. }| match self.is_command {
            // Its value is what it printed, which was shown.
            true => raw_value(encoded).map(|_| None),
            false => json_value(encoded).map(Some),
        });
        let recorded = if result.is_ok() { Recorded::Success } else { Recorded::Failure };
        self.outcome = Some((record.elapsed, result));
        recorded
    }

    fn emit(&mut self, _: Vec<RenderedOutcomes>) {}

    fn follows_prints(&self) -> bool {
        true
    }

    fn prints(&mut self, _: WorkerId, printed: [Vec<u8>; 2]) {
        self.printed_much = printed.iter().any(|bytes| bytes.len() > MUCH);
        for (stream, printed) in self.streams.iter_mut().zip(printed) {
            stream.show(self.label, &printed);
        }
    }

    fn worker_ready(&mut self, _: WorkerId) {
        self.since = Instant::now();
        let (news, place) = self.news;
        // Whoever hears it may be gone, and ends this process.
        let _ = news.send(News::Started(place));
    }

    fn worker_lost(&mut self, _: WorkerId, how: &str) {
        if self.context.verbose {
            let name = self.label;
            tell_as!(
                Level::Warning,
                &[("name", name.into())],
                "wasmpool: the worker of {name} ended ({})",
                ForeignText::of(how)
            );
        }
    }

    fn short_of_workers(&mut self, living: usize, why: &io::Error) {
        if !self.context.quiet && !self.context.told.short.swap(true, Ordering::Relaxed) {
            tell_as!(Level::Warning, &[], "{}", short_of_workers(living, why));
        }
    }

    fn unprotected(&mut self, lacking: &[LayerPart]) {
        if !self.context.quiet && !self.context.told.lacking.swap(true, Ordering::Relaxed) {
            tell_as!(Level::Warning, &[], "{}", without(lacking));
        }
    }

    fn tick(&mut self, _: u64) -> Option<Duration> {
        let next = if self.printed_much { SHOW_SOON } else { SHOW_EVERY };
        self.outcome.is_none().then_some(next)
    }
}

/// Returns the failure of a process that was never started, or whose run was cut short.
pub fn cancelled(why: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Cancelled, why)
}
