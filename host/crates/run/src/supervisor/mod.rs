//! The I/O round the scheduler: one thread that waits for workers, input, output and time, tells the scheduler what
//! happened, and carries out its orders.

mod chunks;
mod mailbox;
mod process;
mod remote;
mod report;

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::Signal;

pub use mailbox::{Event, EventSender, Mailbox};

use crate::clock::RunClock;
use crate::compile::PreparedTask;
use crate::error::{Error, TaskError, with_sources};
use crate::input::InputError;
use crate::rendered::RenderedOutcomes;
use crate::resume::{COMMIT_EVERY, ResumePoint};
use crate::scarce::{self, patiently};
use crate::shared::{Attached, Listening, SharedEvent, SharedObjects};
use chunks::StoredChunks;
pub use chunks::{AnsweredItem, ChunkItems};
pub use process::SpareWorkers;
use process::{LEFT_FOR, WorkerProcess, WorkerSettings};
use remote::RemoteCrew;
pub use remote::{BadOutcome, RemoteEvent, RemoteOutcome, RemoteOutcomes, RemoteSlots};
pub use report::{WorkerNews, WorkerReport};
use wasmpool_core::failed::{self, OriginalPlace};
use wasmpool_core::hosts::HostChange;
use wasmpool_core::item::ItemTag;
use wasmpool_core::layer::LayerPart;
use wasmpool_core::outcome::{Failure, FailureKind, GuestOutput, SuccessNotes};
use wasmpool_core::policy::{Halt, TaskCall};
use wasmpool_core::setting::{Setting, SettingNames};
use wasmpool_core::share::SharedGrants;
use wasmpool_core::text::{ForeignText, QuotedName, duration_given};
use wasmpool_ipc::batch::{Batch, ItemPlace};
use wasmpool_ipc::lane::frame::{ChunkHeader, OutcomeTag, PART};
use wasmpool_ipc::lane::host::ProtocolViolation;
use wasmpool_ipc::lane::host::{BytesMoved, Received};
use wasmpool_ipc::lane::life::{LifeEvent, WorkerRefusal};
use wasmpool_ipc::lane::outcome::OutcomeBytes;
use wasmpool_ipc::lane::{InstanceCounts, LOOK_EVERY};
use wasmpool_ipc::messages::{Restoring, WorkerSetup};
use wasmpool_ipc::wake::SleepReason;
use wasmpool_sandbox::surroundings::{self, ChildEnd};
use wasmpool_scheduler::{Action, Blame, OutcomeEnd, Scheduler, SchedulerConfig, Time, Verdict, WorkerId};

/// Maximum number of parts read from one worker before the others are polled.
const PARTS: u32 = 16;
/// Maximum number of workers that are started before outcomes, signals and deadlines are looked after again.
const STARTS: usize = 4;
/// Maximum bytes of an outcome besides its value: what a guest printed, its stack, its message.
const OUTCOME_EXTRAS: u64 = 1 << 20;
/// The longest sleep while a deadline is pending.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A sleep that overran by this much means that the host itself was suspended; deadlines are extended.
const STOOD_STILL: Duration = Duration::from_millis(100);
/// What is said of an item whose worker was lost, if nothing more is known.
const LOST: &str = "the worker process ended under this item";
/// The mailbox's number among the things that are waited for; workers have their own.
const MAILBOX: u64 = u64::MAX;

/// The description of an outcome: its item, and the worker that ran it.
#[derive(Debug)]
pub struct OutcomeRecord<'a> {
    pub item: AnsweredItem<'a>,
    pub index: u64,
    /// Where the item came from, once that was looked up.
    pub source: Option<String>,
    pub worker: Option<WorkerId>,
    /// The machine that ran it, if it is another.
    pub host: Option<&'a str>,
    pub attempts: u32,
    pub elapsed: Duration,
}

/// How much of the place of an item is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceWanted {
    /// The index, and the source of an item that is a file.
    OfSuccess,
    /// The source of every item, too.
    OfFailure,
}

impl OutcomeRecord<'_> {
    /// Looks up where the item came from. An item that failed in an earlier run has the index and the source that it had
    /// there; among items that are JSON (`is_json`), its line says so.
    pub fn locate(&mut self, is_json: bool, wanted: PlaceWanted) {
        if is_json
            && let (ItemTag::Item, bytes) = self.item.bytes()
            && let Some(OriginalPlace { index, source }) = failed::original(bytes)
        {
            self.index = index.unwrap_or(self.index);
            self.source = source.map(Cow::into_owned);
            if self.source.is_some() || wanted == PlaceWanted::OfSuccess {
                return;
            }
        }
        match self.item.place() {
            Some(ItemPlace::Named { source, index }) => {
                self.index = index.unwrap_or(self.index);
                self.source = Some(source.to_owned());
            }
            Some(place @ ItemPlace::Line { .. }) if wanted == PlaceWanted::OfFailure => {
                self.source = Some(place.to_string());
            }
            _ => {}
        }
    }
}

/// Who ran an item, and how often it was tried.
#[derive(Clone, Copy)]
struct OutcomeOrigin<'a> {
    worker: Option<WorkerId>,
    host: Option<&'a str>,
    attempts: u32,
}

/// A success: encoded values (one, unless they are flattened), and what the guest printed.
#[derive(Debug)]
pub struct OutcomeValue<'a> {
    pub encoded: EncodedValue<'a>,
    /// Boxed, since most values have none.
    pub beside: Option<Box<SuccessNotes>>,
}

/// The bytes that the worker encoded; not yet checked.
#[derive(Debug)]
pub enum EncodedValue<'a> {
    /// One value.
    One(OutcomeBytes<'a>),
    /// Several values, each preceded by its length in four bytes.
    Many(&'a [u8]),
}

/// The destination of results.
pub trait OutcomeSink {
    /// Appends the printed form of this outcome, and returns what became of it: a value that cannot be printed is a
    /// failure.
    fn record(
        &mut self,
        record: OutcomeRecord<'_>,
        result: Result<OutcomeValue<'_>, Failure>,
        to: &mut RenderedOutcomes,
    ) -> Recorded;
    /// Takes the next outcomes in order, all that may be emitted at this time. How many of their bytes were written is
    /// reported by [`Event::Written`].
    fn emit(&mut self, groups: Vec<RenderedOutcomes>);
    /// Reports outcomes that wait for others before them. Called only in runs that may be resumed.
    fn wait(&mut self, _group: RenderedOutcomes) {}
    /// Takes a further part of the value of the item that this worker is running; its outcome ends the value. Returns
    /// false if that is not allowed, or too much.
    fn part(&mut self, _worker: WorkerId, _bytes: &[u8]) -> bool {
        false
    }
    /// Drops the parts of a value that this worker has written.
    fn forget_parts(&mut self, _worker: WorkerId) {}
    /// Returns true if it is told what items print while they run, instead of with their outcomes.
    fn follows_prints(&self) -> bool {
        false
    }
    /// Takes what a worker's items have printed since the last call to their standard output and their standard error. Called
    /// before [`OutcomeSink::tick`], before an outcome, and at the end of the worker.
    fn prints(&mut self, _worker: WorkerId, _printed: [Vec<u8>; 2]) {}
    /// Returns true if a thread waits for the outcome of this item, which can copy a large value out of the lane in place of
    /// the supervisor.
    fn takes_from_lane(&mut self, _index: u64) -> bool {
        false
    }
    /// Hands over what was recorded so far. Called where values were left in lanes, before workers are given more.
    fn hand_over(&mut self) {}
    /// Returns true if the items that were given and have no outcome yet belong to several callers: see
    /// [`Scheduler::several_callers`].
    fn several_callers(&mut self) -> bool {
        false
    }
    /// Returns items that were given and that nobody wants any more: see [`Scheduler::unwanted`]. Called after
    /// [`Event::Unwanted`].
    fn unwanted(&mut self) -> Vec<Range<u64>> {
        Vec::new()
    }
    /// Reports a chunk that a worker is given: this many items from the first on.
    fn sent(&mut self, _worker: WorkerId, _first: u64, _count: u64) {}
    /// Reports that a worker has loaded the task, or that there are slots on other machines, whatever the
    /// number. Called for each.
    fn worker_ready(&mut self, _worker: WorkerId) {}
    /// Reports that a worker process ended though nobody had asked it to.
    fn worker_lost(&mut self, worker: WorkerId, how: &str);
    /// Reports at the end of a run how many instances of the task all workers say that they made and restored.
    fn instances(&mut self, _counts: InstanceCounts) {}
    /// Reports what became of a worker.
    fn worker_news(&mut self, _worker: WorkerId, _news: WorkerNews<'_>) {}
    /// Returns the index of an item in the call that it belongs to.
    fn index_in_call(&mut self, index: u64) -> u64 {
        index
    }
    /// Reports that workers could not be started, twice in a row, while `living` others exist. The start is tried
    /// again. Called once.
    fn short_of_workers(&mut self, _living: usize, _why: &io::Error) {}
    /// Asks what to do if no worker can be started any more, for this reason. If it returns true, all items that were
    /// given out get an outcome now, as cancelled, so that the run ends like any other.
    fn sets_aside(&mut self, _why: &Error) -> bool {
        false
    }
    /// Reports something of other machines that the user may want to know.
    fn news(&mut self, _text: &str) {}
    /// Reports what has become of another machine.
    fn host(&mut self, _name: &str, _change: HostChange) {}
    /// Reports that the user asked to stop: what runs is finished, and nothing more is started. Called once.
    fn stopping(&mut self) {}
    /// Reports that workers run without these parts of the sandbox. Called once.
    fn unprotected(&mut self, lacking: &[LayerPart]);
    /// Reports that time has passed and `items` were read so far. Returns when it should be called again, whatever
    /// happens until then.
    fn tick(&mut self, items: u64) -> Option<Duration>;
    /// Reports that the supervisor has nothing to do, and is about to sleep.
    fn rests(&mut self) {}
}

/// What became of an outcome that an [`OutcomeSink`] was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    Success,
    Failure,
    /// It could not be kept, through no fault of the item, and counts as none. Nothing behind it is reported.
    Unkept,
}

/// The way in which a run ended that was not cut short by an [`Error`].
#[derive(Clone, Debug)]
pub enum RunEnd {
    /// Every item has its outcome.
    Complete,
    /// Interrupted by this signal; items that were running were finished.
    Interrupted(i32),
    /// The run was told to stop at once.
    Terminated,
    /// Too many items failed.
    Halted(Halt),
    /// No worker can be started, and [`OutcomeSink::sets_aside`] chose to end the run.
    GivenUp,
    /// The input could not be read to its end; the items that were read have their outcomes.
    InputFailed(InputError),
    /// Nobody reads the results any more.
    OutputClosed,
}

/// The way in which a worker ended.
#[derive(Debug)]
struct WorkerLoss {
    ended: ChildEnd,
    /// What the worker did wrong, if it was killed for that.
    broken: Option<String>,
    /// What the running item had printed.
    printed: GuestOutput,
    /// Number of the shared object for which it waited, as the worker said.
    asked: Option<u32>,
}

/// The shared objects of a run, and what is to be given of them to each worker.
struct SharedParty {
    objects: Arc<SharedObjects>,
    grants: SharedGrants,
    /// Keeps the mailbox told.
    _listening: Option<Listening>,
}

/// Where items run.
enum Workplace<'a> {
    /// In worker processes of this machine.
    Here { setting: WorkerSettings<'a>, spares: SpareWorkers },
    /// In slots on other machines.
    Elsewhere(RemoteCrew<'a>),
}

impl<'a> Workplace<'a> {
    fn crew(&mut self) -> Option<&mut RemoteCrew<'a>> {
        match self {
            Workplace::Here { .. } => None,
            Workplace::Elsewhere(crew) => Some(crew),
        }
    }
}

/// The reason why a worker is not heard any further.
enum WorkerGone {
    /// Its process has ended, or must end.
    Ended,
    /// Its message ends the run.
    Run(Error),
}

/// A run of one task over one input.
pub struct Supervisor<'a> {
    scheduler: Scheduler,
    /// Time that a worker has to become ready, and the part of it that is for `init`.
    start_timeout: [Duration; 2],
    /// True if values come in parts.
    in_parts: bool,
    sink: &'a mut dyn OutcomeSink,
    mailbox: &'a Mailbox,
    epoll: Epoll,
    workers: BTreeMap<WorkerId, WorkerProcess>,
    /// Declared after the workers: it keeps the room for their processes, which have to end before it is dropped.
    place: Workplace<'a>,
    shared: Option<SharedParty>,
    chunks: StoredChunks,
    clock: RunClock,
    /// How workers ended whose items do not have an outcome yet.
    losses: BTreeMap<WorkerId, WorkerLoss>,
    last_loss: String,
    /// Number of instances that workers made and restored which have ended.
    instances_of_lost: InstanceCounts,
    /// The reason why no worker could be started, and how often in a row.
    refusal: Option<io::Error>,
    refusals: u32,
    told_short: bool,
    /// True if there are items that nobody wants any more.
    unwanted: bool,
    given_up: bool,
    /// Time that the host was suspended, and perhaps its workers with it. No item is late because of it.
    stood_still: Cell<Duration>,
    /// The time of the last look at the clock.
    looked: Cell<Duration>,
    interrupted: Option<i32>,
    input_error: Option<InputError>,
    asked_for_input: bool,
    told_lacking: bool,
    /// True once some worker has become ready with this artifact.
    proven: bool,
    /// The time at which waiting outcomes are next reported, if they are.
    tell_waiting: Option<Time>,
    /// Outcomes are told by index, not as they come.
    ordered: bool,
    /// The first item whose outcome could not be kept.
    unkept: Option<u64>,
    /// True if no process may take the place of one that has ended.
    one_process: bool,
    /// Numbers of processes that were lost or killed, and whose place nobody has taken yet.
    unreplaced: VecDeque<u32>,
}

impl<'a> Supervisor<'a> {
    pub fn new(
        prepared: &PreparedTask,
        call: &TaskCall,
        directories: &'a [OwnedFd],
        config: SchedulerConfig,
        spares: SpareWorkers,
        sink: &'a mut dyn OutcomeSink,
        mailbox: &'a Mailbox,
    ) -> Result<Self, Error> {
        let setting = patiently(None, || setting(prepared, call, directories))?;
        Supervisor::at(Workplace::Here { setting, spares }, call, config, sink, mailbox)
    }

    /// Makes the supervisor of a run whose items run on other machines.
    pub fn elsewhere(
        slots: Box<dyn RemoteSlots + 'a>,
        call: &TaskCall,
        config: SchedulerConfig,
        sink: &'a mut dyn OutcomeSink,
        mailbox: &'a Mailbox,
    ) -> Result<Self, Error> {
        Supervisor::at(Workplace::Elsewhere(RemoteCrew::new(slots)), call, config.over_hosts(), sink, mailbox)
    }

    fn at(
        place: Workplace<'a>,
        call: &TaskCall,
        config: SchedulerConfig,
        sink: &'a mut dyn OutcomeSink,
        mailbox: &'a Mailbox,
    ) -> Result<Self, Error> {
        let epoll = patiently(None, || Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(io::Error::from))?;
        epoll.add(mailbox.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, MAILBOX)).map_err(io::Error::from)?;
        let ordered = config.ordered;
        let tell_waiting = (config.resumable && ordered).then_some(COMMIT_EVERY);
        // `init` runs when a worker starts, unless the artifact is a snapshot taken after it.
        let init = if call.init.is_some() { call.limits.timeout } else { Duration::ZERO };
        let start_timeout = config.start_timeout.saturating_add(init);
        let mut scheduler = Scheduler::new(SchedulerConfig { start_timeout, ..config });
        if let Workplace::Here { .. } = &place {
            scheduler.start_ahead(surroundings::at_once(config.workers));
        }
        Ok(Supervisor {
            start_timeout: [start_timeout, init],
            scheduler,
            place,
            in_parts: call.in_parts,
            sink,
            mailbox,
            epoll,
            workers: BTreeMap::new(),
            shared: None,
            chunks: StoredChunks::default(),
            clock: RunClock::start(),
            losses: BTreeMap::new(),
            last_loss: String::new(),
            instances_of_lost: InstanceCounts::default(),
            refusal: None,
            refusals: 0,
            told_short: false,
            unwanted: false,
            given_up: false,
            stood_still: Cell::default(),
            looked: Cell::default(),
            interrupted: None,
            input_error: None,
            asked_for_input: false,
            told_lacking: false,
            proven: false,
            tell_waiting,
            ordered,
            unkept: None,
            one_process: false,
            unreplaced: VecDeque::new(),
        })
    }

    /// Serves items on demand, rather than one input to its end: see [`Scheduler::serve_on_demand`].
    pub fn serve_on_demand(&mut self) {
        self.scheduler.serve_on_demand();
    }

    /// Has all workers started before there are items: see [`Scheduler::stand_by`].
    pub fn stand_by(&mut self) {
        self.scheduler.stand_by();
    }

    /// Gives workers the shared objects that they are granted, as the call says. If the process that keeps them is lost,
    /// the run ends with [`Error::Shared`].
    pub fn share(&mut self, objects: Arc<SharedObjects>, grants: SharedGrants) {
        let sender = self.mailbox.sender();
        let listening = objects.listen(Box::new(move |event| sender.send(Event::Shared(event))));
        self.shared = Some(SharedParty { objects, grants, _listening: listening });
    }

    /// Runs everything in one process: where it ends early, so does the run, as [`RunEnd::Terminated`].
    pub fn one_process(&mut self) {
        self.one_process = true;
    }

    /// Replaces the artifact after an [`Error::Artifact`]. Items that were read are kept, since nothing ran.
    pub fn exchange(&mut self, prepared: &PreparedTask, call: &TaskCall) -> Result<(), Error> {
        if let Workplace::Here { setting: before, .. } = &mut self.place {
            *before = setting(prepared, call, before.directories)?;
        }
        self.proven = false;
        for id in self.scheduler.forget_starting() {
            self.workers.remove(&id);
        }
        Ok(())
    }

    /// Runs until every item has its outcome and all of it is written, or the run is cut short.
    pub fn run(&mut self) -> Result<RunEnd, Error> {
        let end = self.run_to_end();
        let mut instances = self.instances_of_lost;
        self.workers.values().for_each(|process| instances.add(process.lane.instances()));
        self.sink.instances(instances);
        self.tell_prints();
        if self.tell_waiting.is_some() {
            self.chunks.waiting(true).into_iter().for_each(|group| self.sink.wait(group));
        }
        end
    }

    /// Ends all workers without waiting for that.
    pub fn into_ending(mut self) -> EndingWorkers {
        self.kill_all();
        let spares = match &self.place {
            Workplace::Here { spares, .. } => Some(spares.clone()),
            Workplace::Elsewhere(_) => None,
        };
        EndingWorkers { _workers: std::mem::take(&mut self.workers), _spares: spares }
    }

    fn kill_all(&self) {
        // All are killed first; afterwards each is only waited for.
        for process in self.workers.values() {
            process.child.kill();
        }
    }

    fn run_to_end(&mut self) -> Result<RunEnd, Error> {
        loop {
            if let Some(end) = self.read_mail()? {
                return Ok(end);
            }
            self.hear_workers()?;
            self.take_remote();
            if std::mem::take(&mut self.unwanted) {
                let now = self.now();
                self.sink.unwanted().into_iter().for_each(|items| self.scheduler.unwanted(items, now));
            }
            // Only now: an outcome that has arrived already is not late, however late it is received.
            self.watch_the_clock();
            self.scheduler.several_callers(self.sink.several_callers());
            self.scheduler.allow_starts(STARTS);
            self.act()?;
            if self.scheduler.finished() {
                break;
            }
            if self.is_spent() {
                return Ok(RunEnd::Terminated);
            }
            if !self.asked_for_input && self.scheduler.wants_input() {
                self.asked_for_input = true;
                if self.mailbox.ask_for_input(self.scheduler.wanted()) {
                    continue;
                }
            }
            let tell = self.tell_waiting();
            self.tell_prints();
            let at_most = self.sink.tick(self.scheduler.items());
            self.sleep(at_most.into_iter().chain(tell).min())?;
        }
        if self.given_up {
            return Ok(RunEnd::GivenUp);
        }
        Ok(match (self.interrupted, self.scheduler.halted(), self.input_error.take()) {
            (Some(signal), ..) => RunEnd::Interrupted(signal),
            (None, Some(halt), _) => RunEnd::Halted(halt),
            (None, None, Some(e)) => RunEnd::InputFailed(e),
            (None, None, None) => RunEnd::Complete,
        })
    }

    /// Returns true if the only process there may be has ended.
    fn is_spent(&self) -> bool {
        self.one_process && self.scheduler.allows_no_worker() && self.workers.is_empty()
    }

    /// Reports waiting outcomes from time to time, so that they are not lost with this process. Returns the time until
    /// the next report.
    fn tell_waiting(&mut self) -> Option<Duration> {
        let (due, now) = (self.tell_waiting?, self.now());
        if now < due {
            return Some(due - now);
        }
        self.tell_waiting = Some(now + COMMIT_EVERY);
        self.chunks.waiting(false).into_iter().for_each(|group| self.sink.wait(group));
        Some(COMMIT_EVERY)
    }

    fn tell_prints(&mut self) {
        if self.sink.follows_prints() {
            for (&id, process) in &mut self.workers {
                self.sink.prints(id, process.lane.take_prints());
            }
        }
    }

    /// Returns the time since the start, without the time that the host was suspended.
    fn now(&self) -> Time {
        self.time_after(Duration::ZERO)
    }

    /// Returns the time, if the host meant to sleep for `asked` since the last call. A busy host calls this far more
    /// often than every [`STOOD_STILL`], so a suspension is detected then, too.
    fn time_after(&self, asked: Duration) -> Time {
        let now = self.clock.elapsed();
        let over = now.saturating_sub(self.looked.replace(now)).saturating_sub(asked);
        if over > STOOD_STILL {
            self.stood_still.set(self.stood_still.get() + over);
        }
        now.saturating_sub(self.stood_still.get())
    }

    // ---- events ------------------------------------------------------------------------------------------------------

    fn read_mail(&mut self) -> Result<Option<RunEnd>, Error> {
        for event in self.mailbox.take() {
            match event {
                Event::Input(batch) => {
                    self.asked_for_input = false;
                    self.take_input(batch);
                }
                Event::InputOn(batch, terms) => {
                    self.asked_for_input = false;
                    if self.scheduler.takes_input() {
                        self.scheduler.input_on(&batch.sizes, terms);
                        self.chunks.add(batch);
                    }
                }
                Event::Chunk(first, batch) => {
                    self.scheduler.restore(first, &batch.sizes);
                    self.chunks.restore(first, batch);
                }
                Event::Remote(event) => self.hear_remote(event)?,
                Event::CancelPending => self.scheduler.cancel_pending(self.now()),
                Event::Report(to) => {
                    // Whoever asked may have gone.
                    let _ = to.send(self.report());
                }
                Event::InputPause => self.scheduler.input_pauses(),
                Event::Halt(halt) => self.scheduler.halt_by(halt),
                Event::Unwanted => self.unwanted = true,
                // How many slots there are is said by whoever has them.
                Event::Workers(_) if self.place.crew().is_some() => {}
                Event::Workers(workers) => self.scheduler.set_workers(workers),
                Event::Terminate => return Ok(Some(RunEnd::Terminated)),
                Event::InputEnd => {
                    // What is wrong with the task, its arguments or the columns is found by the first worker.
                    if self.scheduler.items() == 0 && !self.proven {
                        self.scheduler.require_ready_worker();
                    }
                    self.scheduler.input_ended();
                }
                // Items that were read before are finished first.
                Event::InputFailed(e) => {
                    self.input_error = Some(e);
                    self.scheduler.input_ended();
                }
                Event::TakenUp(left) => {
                    self.asked_for_input = false;
                    self.take_up(left);
                }
                Event::Refused(e) => return Err(Error::Journal(e)),
                Event::JournalFailed(e) => return Err(Error::cannot_journal(e)),
                Event::Broke(e) => return Err(e),
                Event::Shared(SharedEvent::Lost(e)) => return Err(e),
                Event::Shared(SharedEvent::Violation { participant, why }) => {
                    if let Some(process) = self.workers.values_mut().find(|process| process.is_participant(participant))
                    {
                        process.broken = Some(format!("it misused the shared objects: {why}"));
                    }
                }
                Event::Shared(SharedEvent::Cut { participant, why }) => {
                    if let Some(process) = self.workers.values_mut().find(|process| process.is_participant(participant))
                    {
                        process.broken = Some(why);
                    }
                }
                Event::Written(bytes) => self.scheduler.written(bytes),
                Event::OutputClosed => return Ok(Some(RunEnd::OutputClosed)),
                // The shell says so by a signal, a moment later or never.
                Event::OutputHungUp => return Ok(Some(RunEnd::Interrupted(libc::SIGHUP))),
                Event::OutputFailed(e) => return Err(Error::output(e)),
                Event::Signal(signal) => {
                    // The first Ctrl-C ends the run in order; a second one, SIGTERM or SIGHUP ends it at once.
                    if self.interrupted.is_some() || signal != Signal::SIGINT as i32 {
                        return Ok(Some(RunEnd::Interrupted(signal)));
                    }
                    self.interrupted = Some(signal);
                    self.sink.stopping();
                    self.scheduler.stop();
                    self.chunks.drop_pending();
                }
            }
        }
        Ok(None)
    }

    fn take_input(&mut self, batch: Batch) {
        if self.scheduler.takes_input() {
            self.scheduler.input(&batch.sizes);
            self.chunks.add(batch);
        }
    }

    /// Returns what each worker is doing.
    fn report(&mut self) -> Vec<WorkerReport> {
        let now = self.now();
        let instant = Instant::now();
        let mut reports = Vec::new();
        for (&id, process) in &self.workers {
            let claim = process.lane.claim();
            let since = process.since_start(claim.since_ns, now);
            self.scheduler.observed(id, claim.attempt, claim.started, since, now);
            let Some(work) = self.scheduler.work_of(id) else {
                continue;
            };
            let item = work.item.map(|index| self.sink.index_in_call(index));
            let since = instant.checked_sub(now.saturating_sub(work.since)).unwrap_or(instant);
            reports.push(WorkerReport { pid: process.child.pid(), ready: work.ready, item, since });
        }
        reports
    }

    /// Continues where another run ended.
    fn take_up(&mut self, left: ResumePoint) {
        if !self.scheduler.takes_input() {
            return;
        }
        for group in left.waiting {
            self.scheduler.restore_done(group.items.start, group.items.end, group.bytes());
            self.chunks.restore_output(group);
        }
        for (first, batch) in left.holes {
            self.scheduler.restore(first, &batch.sizes);
            self.chunks.restore(first, batch);
        }
        self.scheduler.go_on_at(left.next);
        self.take_input(left.rest);
    }

    /// Takes what workers have delivered, and detects which have ended.
    fn hear_workers(&mut self) -> Result<(), Error> {
        let ids: Vec<WorkerId> = self.workers.keys().copied().collect();
        for id in ids {
            let Some(mut process) = self.workers.remove(&id) else {
                continue;
            };
            match self.read_messages_of(id, &mut process) {
                Ok(()) => {
                    self.workers.insert(id, process);
                }
                Err(WorkerGone::Ended) => self.reap_worker(id, process),
                Err(WorkerGone::Run(e)) => return Err(e),
            }
        }
        // Copying what workers are given next takes as long as a value may be left.
        if self.workers.values().any(|process| process.lane.has_left()) {
            self.sink.hand_over();
        }
        Ok(())
    }

    fn read_messages_of(&mut self, id: WorkerId, process: &mut WorkerProcess) -> Result<(), WorkerGone> {
        let ended = process.ended;
        // Of a worker that is told to end, only its outcomes matter.
        if (std::mem::take(&mut process.rung) || ended) && !process.retired {
            match process.read_messages() {
                Ok(Some(LifeEvent::Ready { lacking })) => self.begin(id, &lacking),
                Ok(Some(LifeEvent::Refused(refusal))) => self.refused(process, &refusal)?,
                Ok(None) => {}
                Err(e) => process.broken = Some(with_sources(&e)),
            }
        }
        if process.broken.is_none()
            && let Err(e) = self.receive(id, process)
        {
            process.broken = Some(e.to_string());
        }
        if process.broken.is_some() && !ended {
            process.child.kill();
        }
        if ended || process.broken.is_some() { Err(WorkerGone::Ended) } else { Ok(()) }
    }

    /// Handles a worker that has loaded the task.
    fn begin(&mut self, id: WorkerId, lacking: &[LayerPart]) {
        if !lacking.is_empty() && !std::mem::replace(&mut self.told_lacking, true) {
            self.sink.unprotected(lacking);
        }
        self.proven = true;
        self.scheduler.worker_ready(id, self.now());
        self.sink.worker_ready(id);
    }

    /// Handles a worker that reports why it will never serve items. The first to load a task decides for all. If
    /// another has already loaded the same artifact, and perhaps run items of it, this is only a failed start: the next
    /// may succeed.
    fn refused(&self, process: &mut WorkerProcess, refusal: &WorkerRefusal) -> Result<(), WorkerGone> {
        let message = refusal.message();
        let failed_start = match refusal {
            WorkerRefusal::NotNarrowed(_) => "its sandbox could not be narrowed",
            _ if self.proven => "it could not start as others did",
            _ => "",
        };
        if !failed_start.is_empty() {
            process.broken = Some(format!("{failed_start}: {}", ForeignText::of(message)));
            return Ok(());
        }
        Err(WorkerGone::Run(match refusal {
            WorkerRefusal::Unprotected(_) | WorkerRefusal::NotNarrowed(_) => Error::Sandbox(message.to_owned()),
            WorkerRefusal::Unusable(_) => TaskError::Unusable(message.to_owned()).into(),
            WorkerRefusal::BadArtifact(_) => Error::Artifact(message.to_owned()),
            WorkerRefusal::Uninitialised(_) => TaskError::Uninitialised(message.to_owned()).into(),
        }))
    }

    /// Takes the outcomes that have arrived.
    fn receive(&mut self, id: WorkerId, process: &mut WorkerProcess) -> Result<(), ProtocolViolation> {
        self.observe(id, process);
        let mut now = self.now();
        let follows = self.sink.follows_prints();
        let mut parts = 0;
        let may_leave = process.lane.was_large() && !process.ended && !follows;
        let item = if may_leave { self.scheduler.next_answer(id) } else { None };
        let leaves = item.is_some_and(|item| self.sink.takes_from_lane(item));
        process.lane.leave_large(leaves);
        for count in 1u32.. {
            // Outcomes of a dead worker are taken even then: they are no more than a lane holds, and would be lost.
            if self.throttled(id) && !process.ended {
                break;
            }
            // Looking at the clock costs as much as taking an outcome.
            if count % 64 == 0 {
                now = self.now();
            }
            match process.lane.receive()? {
                Received::Nothing => break,
                Received::Outcome(header, payload) if header.tag == OutcomeTag::Part => {
                    if payload.len() != PART || !self.sink.part(id, &payload) {
                        return Err(ProtocolViolation("it sent parts of a value that cannot be"));
                    }
                    // Lets the other workers have their turn.
                    parts += 1;
                    if parts == PARTS && !process.ended {
                        break;
                    }
                }
                Received::Outcome(header, mut payload) => {
                    if follows {
                        // What was printed came before it.
                        payload = OutcomeBytes::Owned(payload.into_owned());
                        self.sink.prints(id, process.lane.take_prints());
                    }
                    let outcome = parse(header.tag, &mut payload)?;
                    self.take_outcome(id, id, None, header.elapsed, outcome, now)?;
                }
            }
        }
        process.lane.received();
        process.reclaim(|| self.now());
        if process.lane.worker_sleeps_for(SleepReason::Room) {
            process.ring();
        }
        let moved = process.lane.moved();
        if moved != BytesMoved::default() || self.throttled(id) {
            process.had_reason_to_ring();
        }
        if moved.input > 0 {
            self.scheduler.progress(id, moved.input, self.now());
        }
        Ok(())
    }

    fn throttled(&self, id: WorkerId) -> bool {
        leaves_outcomes(self.in_parts, &self.scheduler, id)
    }

    /// Takes an outcome of a worker, or of a slot whose chunk `worker` runs on `host`. The time of small items is spent here,
    /// and in what this calls: each call that passes an outcome on as a value takes some hundredths of it.
    #[inline(always)]
    fn take_outcome(
        &mut self,
        id: WorkerId,
        worker: WorkerId,
        host: Option<&str>,
        elapsed: Duration,
        outcome: Result<OutcomeValue<'_>, Failure>,
        now: Time,
    ) -> Result<(), ProtocolViolation> {
        match self.scheduler.outcome(id, outcome_end(&outcome), elapsed, now) {
            Verdict::Unexpected => return Err(ProtocolViolation("it answered more items than it was given")),
            Verdict::Retry { chunk, index } => {
                self.sink.forget_parts(id);
                self.chunks.split(chunk, index);
                self.chunks.split(index, index + 1);
            }
            Verdict::Keep { chunk, index, attempts } => {
                let origin = OutcomeOrigin { worker: Some(worker), host, attempts };
                self.keep(chunk, index, origin, elapsed, outcome);
            }
        }
        Ok(())
    }

    /// Prints an outcome after those of its chunk, to be emitted when the scheduler orders it.
    #[inline(always)]
    fn keep(
        &mut self,
        chunk: u64,
        index: u64,
        origin: OutcomeOrigin<'_>,
        elapsed: Duration,
        result: Result<OutcomeValue<'_>, Failure>,
    ) {
        let OutcomeOrigin { worker, host, attempts } = origin;
        let (item, group) = self.chunks.settle(chunk, index);
        let before = group.bytes();
        let record = OutcomeRecord { item, index, source: None, worker, host, attempts, elapsed };
        let recorded = self.sink.record(record, result, group);
        if recorded != Recorded::Unkept {
            group.take_in(index);
        }
        let bytes = group.bytes() - before;
        self.scheduler.account_kept(chunk, bytes);
        match recorded {
            Recorded::Success => {}
            Recorded::Failure => self.scheduler.failed(),
            Recorded::Unkept => self.unkept = Some(self.unkept.map_or(index, |first| first.min(index))),
        }
    }

    /// Returns true if outcomes may be reported. Where they are reported in order, those behind the first that could not
    /// be kept may not.
    fn may_tell(&self, items: &Range<u64>) -> bool {
        !(items.is_empty() || (self.ordered && self.unkept.is_some_and(|unkept| items.start > unkept)))
    }

    /// Tells the scheduler what the worker's status page says.
    fn observe(&mut self, id: WorkerId, process: &mut WorkerProcess) {
        let claim = process.lane.claim();
        let since = process.since_start(claim.since_ns, self.now());
        self.scheduler.observed(id, claim.attempt, claim.started, since, self.now());
    }

    /// Handles the end of a worker: takes the outcomes that it delivered, and gives the rest of its items back.
    fn reap_worker(&mut self, id: WorkerId, mut process: WorkerProcess) {
        let ended = process.child.reap();
        // Nothing new can come; what came before its end still counts.
        if process.broken.is_none()
            && let Err(e) = self.receive(id, &mut process)
        {
            process.broken = Some(e.to_string());
        }
        self.instances_of_lost.add(process.lane.instances());
        self.last_loss = match &process.broken {
            Some(broken) => broken.clone(),
            None if process.late_start => {
                let [all, init] = self.start_timeout.map(|time| time.as_secs_f64());
                let init = if init > 0.0 { format!(", of which `init` has {init} s") } else { String::new() };
                format!("one was not ready within {all} s{init}")
            }
            None => ended.to_string(),
        };
        let pid = process.child.pid();
        if !process.retired {
            self.sink.worker_lost(id, &self.last_loss);
            let item = self.item_of(id);
            self.sink.worker_news(id, WorkerNews::Lost { pid, item, ended, how: &self.last_loss });
        } else if !self.scheduler.overran(id) {
            self.sink.worker_news(id, WorkerNews::Ended { pid });
        }
        if !process.replaced && !process.retired {
            self.unreplaced.push_back(pid);
        }
        if self.one_process {
            self.scheduler.set_workers(0);
        }
        self.sink.forget_parts(id);
        let (broken, asked) = (process.broken.take(), process.lane.asks());
        let printed = match self.sink.follows_prints() {
            true => {
                self.sink.prints(id, process.lane.take_prints());
                Default::default()
            }
            false => process.lane.printed(),
        };
        let [stdout, stderr] = printed.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let killed = ended.signal() == Some(Signal::SIGKILL as i32) && broken.is_none();
        self.scheduler.worker_lost(id, killed, self.now());
        self.losses.insert(id, WorkerLoss { ended, broken, printed: GuestOutput { stdout, stderr }, asked });
    }

    fn watch_the_clock(&mut self) {
        let now = self.now();
        for id in self.scheduler.due(now) {
            let Some(mut process) = self.workers.remove(&id) else {
                continue;
            };
            // The worker may have been throttled when it was last read, and no longer be: what it has answered is not
            // late.
            if let Err(e) = self.receive(id, &mut process) {
                process.broken = Some(e.to_string());
                process.child.kill();
            }
            if self.scheduler.is_late(id, now) {
                self.scheduler.excuse(id, process.waited_for_cpu(), now);
            }
            self.workers.insert(id, process);
        }
        self.scheduler.tick(now);
    }

    // ---- orders ------------------------------------------------------------------------------------------------------

    fn act(&mut self) -> Result<(), Error> {
        let mut emitted = Vec::new();
        while let Some(action) = self.scheduler.next_action() {
            if !matches!(action, Action::Emit { .. }) {
                self.emit(&mut emitted);
            }
            match action {
                Action::Spawn(id) if self.place.crew().is_some() => {
                    // A slot is there as soon as it is counted.
                    let now = self.now();
                    self.scheduler.worker_spawned(id, now);
                    self.scheduler.worker_ready(id, now);
                }
                Action::Spawn(id) => self.spawn(id),
                Action::Kill(id) | Action::Retire(id) if self.place.crew().is_some() => self.close_slot(id),
                Action::Send { worker, chunk, count } => {
                    let data = self.chunks.send(chunk, count);
                    self.sink.sent(worker, chunk, count.into());
                    if let Some(crew) = self.place.crew() {
                        crew.send(worker, ChunkHeader { first: chunk, count }, data);
                    } else if let Some(process) = self.workers.get_mut(&worker) {
                        process.queue(ChunkHeader { first: chunk, count }, data);
                    }
                }
                // The worker is late with an item, or has answered all it was given: its end need not be waited for.
                Action::Kill(id) => {
                    self.kill(id);
                    self.vacant(id);
                }
                Action::Retire(id) => self.kill(id),
                Action::Skip { chunk, count } => drop(self.chunks.send(chunk, count)),
                Action::TakeBack { worker, chunk } => {
                    if self.workers.get_mut(&worker).is_some_and(|process| process.take_back(chunk)) {
                        self.scheduler.taken_back(worker, chunk);
                    }
                }
                Action::Split { chunk, at } => self.chunks.split(chunk, at),
                Action::Settle { chunk, index, blame, worker, attempts, elapsed } => {
                    let failure = self.failure(blame, worker);
                    let worker = worker.filter(|_| self.place.crew().is_none());
                    self.keep(chunk, index, OutcomeOrigin { worker, host: None, attempts }, elapsed, Err(failure));
                }
                Action::Emit { chunk, done } => {
                    let mut group = self.chunks.take_output(chunk, done);
                    // It may wait for the writer, and much else with it.
                    group.shrink();
                    if self.may_tell(&group.items) {
                        emitted.push(group);
                    }
                }
                Action::GiveUp => {
                    let why = match self.refusal.take() {
                        Some(e) => Error::spawn(e),
                        None => Error::Workers(std::mem::take(&mut self.last_loss)),
                    };
                    if !self.sink.sets_aside(&why) {
                        return Err(why);
                    }
                    self.given_up = true;
                    self.scheduler.give_up();
                }
            }
        }
        self.emit(&mut emitted);
        self.losses.clear();
        for (id, process) in &mut self.workers {
            if let Err(e) = process.pump() {
                process.broken = Some(format!("worker {id}: {e}"));
                process.child.kill();
            }
        }
        Ok(())
    }

    fn emit(&mut self, groups: &mut Vec<RenderedOutcomes>) {
        if !groups.is_empty() {
            self.sink.emit(std::mem::take(groups));
        }
    }

    /// Kills a worker that is to end, and tells if it is late.
    fn kill(&mut self, id: WorkerId) {
        let (starting, late, item) = (self.scheduler.is_starting(id), self.scheduler.overran(id), self.item_of(id));
        let Some(process) = self.workers.get_mut(&id) else {
            return;
        };
        process.retired = true;
        process.late_start = starting;
        process.kill();
        if late {
            self.sink.worker_news(id, WorkerNews::Late { pid: process.child.pid(), item });
        }
    }

    /// Records that the place of a worker is vacant, unless another has taken it already.
    fn vacant(&mut self, id: WorkerId) {
        if let Some(process) = self.workers.get_mut(&id).filter(|process| !process.replaced) {
            process.replaced = true;
            self.unreplaced.push_back(process.child.pid());
        }
    }

    fn spawn(&mut self, id: WorkerId) {
        match self.start_worker(id) {
            Ok(process) => {
                let replaces = self.replaced();
                let (pid, handle) = (process.child.pid(), process.child.as_fd());
                self.sink.worker_news(id, WorkerNews::Started { pid, handle, replaces });
                self.workers.insert(id, process);
                (self.refusal, self.refusals) = (None, 0);
                self.scheduler.worker_spawned(id, self.now());
            }
            Err(e) => {
                self.refusals += 1;
                // A single failure may be chance.
                if self.refusals > 1 && !std::mem::replace(&mut self.told_short, true) {
                    self.sink.short_of_workers(self.workers.len(), &e);
                }
                self.scheduler.spawn_failed(id, scarce::passes(&e), self.now());
                self.refusal = Some(e);
            }
        }
    }

    /// Returns the number of the process whose place the next one takes: one that was lost or late, or one that gets no
    /// more items.
    fn replaced(&mut self) -> Option<u32> {
        self.unreplaced.pop_front().or_else(|| {
            let mut retiring =
                self.workers.iter_mut().filter(|(id, process)| !process.replaced && self.scheduler.is_retiring(**id));
            let (_, process) = retiring.next()?;
            process.replaced = true;
            Some(process.child.pid())
        })
    }

    /// Returns the item that a worker is running, by its index in its call.
    fn item_of(&mut self, id: WorkerId) -> Option<u64> {
        let item = self.scheduler.work_of(id).and_then(|work| work.item);
        item.map(|index| self.sink.index_in_call(index))
    }

    fn start_worker(&self, id: WorkerId) -> io::Result<WorkerProcess> {
        let attached = match &self.shared {
            Some(SharedParty { objects, grants, .. }) => objects.attach(&participant_name(grants, id), grants)?,
            None => Attached::default(),
        };
        let Workplace::Here { setting, spares } = &self.place else {
            return Err(io::Error::other("items run on other machines"));
        };
        let process = WorkerProcess::start(setting, spares.take()?, attached, self.sink.follows_prints())?;
        if !self.workers.is_empty() {
            process.leaves_room()?;
        }
        let interest = |flags| EpollEvent::new(flags, u64::from(id) << 1);
        self.epoll.add(process.control.as_fd(), interest(EpollFlags::EPOLLIN))?;
        let ended = EpollEvent::new(EpollFlags::EPOLLIN, u64::from(id) << 1 | 1);
        self.epoll.add(process.child.as_fd(), ended)?;
        Ok(process)
    }

    /// Returns the failure of an item that no worker answered.
    fn failure(&self, blame: Blame, worker: Option<WorkerId>) -> Failure {
        let loss = worker.and_then(|id| self.losses.get(&id));
        let mut failure = match blame {
            Blame::Cancelled => {
                Failure::new(FailureKind::Cancelled, format!("the run was halted ({}) before it ended", Setting::Halt))
            }
            Blame::Timeout(limit) => {
                let awaited = loss.and_then(|loss| self.awaited(loss)).unwrap_or_default();
                let limit = Setting::Timeout.with(duration_given(limit));
                Failure::new(FailureKind::Timeout, format!("it did not end within {limit}{awaited}"))
            }
            Blame::WorkerLost => {
                let Some(loss) = loss else {
                    let how = if self.last_loss.is_empty() { LOST } else { &self.last_loss };
                    return Failure::new(FailureKind::WorkerLost, how);
                };
                let message = match &loss.broken {
                    Some(broken) => broken.clone(),
                    None => format!("the worker process ended under this item ({})", loss.ended),
                };
                let mut failure = Failure::new(FailureKind::WorkerLost, message);
                failure.signal = loss.ended.signal();
                failure.code = loss.ended.code();
                failure
            }
        };
        if let Some(loss) = loss {
            failure.printed = loss.printed.clone();
        }
        failure
    }

    /// Tells for which shared object an item waited when its worker was lost.
    fn awaited(&self, loss: &WorkerLoss) -> Option<String> {
        let grants = &self.shared.as_ref()?.grants.objects;
        let grant = grants.iter().find(|grant| Some(u32::from(grant.object)) == loss.asked)?;
        Some(format!("; it waited for the shared object {}", QuotedName::of(&grant.spec.name)))
    }

    // ---- waiting -----------------------------------------------------------------------------------------------------

    fn sleep(&mut self, at_most: Option<Duration>) -> Result<(), Error> {
        let now = self.now();
        let deadline = self.scheduler.next_deadline().map(|deadline| deadline.saturating_sub(now).min(HEARTBEAT));
        let mut wait = deadline.into_iter().chain(at_most).min();
        let mut awake = self.mailbox.announce_sleep(self.scheduler.short_of_room());
        awake |= self.scheduler.wants_starts();
        let mut goes_on = false;
        for (&id, process) in &mut self.workers {
            let several = self.scheduler.has_several_in_work(id);
            goes_on |= several;
            process.announce_sleep(true);
            let throttled = leaves_outcomes(self.in_parts, &self.scheduler, id);
            awake |= process.lane.has_outcomes(several) && !throttled;
            awake |= process.can_pump();
        }
        if goes_on || self.workers.values().any(|process| process.owes_bell) {
            wait = Some(wait.map_or(LOOK_EVERY, |w| w.min(LOOK_EVERY)));
        }
        if self.workers.values().any(|process| process.lane.has_left()) {
            wait = Some(wait.map_or(LEFT_FOR, |w| w.min(LEFT_FOR)));
        }
        if !awake {
            self.sink.rests();
        }
        let timeout = match wait {
            _ if awake => EpollTimeout::ZERO,
            // Rounded up: after waking early the host would only sleep again.
            Some(wait) => {
                EpollTimeout::try_from(wait.as_micros().div_ceil(1000).min(60_000) as i32).unwrap_or(EpollTimeout::NONE)
            }
            None => EpollTimeout::NONE,
        };
        let mut events = [EpollEvent::empty(); 64];
        let count = match self.epoll.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(e) => return Err(io::Error::from(e).into()),
        };
        // With nothing to wait for, no deadline is running.
        self.time_after(wait.unwrap_or(Duration::MAX));
        for event in events.iter().take(count) {
            if event.data() == MAILBOX {
                continue;
            }
            if let Some(process) = self.workers.get_mut(&((event.data() >> 1) as WorkerId)) {
                process.rung |= event.data() & 1 == 0;
                process.ended |= event.data() & 1 == 1;
            }
        }
        for process in self.workers.values_mut() {
            process.announce_sleep(false);
        }
        Ok(())
    }
}

/// Returns what the scheduler is told of an outcome.
fn outcome_end(outcome: &Result<OutcomeValue<'_>, Failure>) -> OutcomeEnd {
    match outcome {
        Err(failure) => OutcomeEnd::Failed(failure.kind),
        Ok(_) => OutcomeEnd::Final,
    }
}

/// Returns what other participants are told of a worker: the name of its process, or the number that records have.
fn participant_name(grants: &SharedGrants, id: WorkerId) -> String {
    grants.name.clone().unwrap_or_else(|| format!("worker {}", id + 1))
}

/// Returns true if a worker's outcomes are left with it for now. That is never so when values come in parts: a running
/// item would wait for the reader of the results, and that would count as its own time.
fn leaves_outcomes(in_parts: bool, scheduler: &Scheduler, id: WorkerId) -> bool {
    !in_parts && scheduler.throttled(id)
}

/// Returns whether instances are restored, from the variables by which the way is compared with that of new instances.
fn restoring() -> Restoring {
    let is = |name: &str, value: &str| std::env::var_os(name).is_some_and(|set| set == value);
    match (is("WASMPOOL_RESTORE", "0"), is("WASMPOOL_VERIFY_RESTORE", "1")) {
        (true, _) => Restoring::Off,
        (false, true) => Restoring::Verified,
        (false, false) => Restoring::On,
    }
}

fn setting<'a>(
    prepared: &PreparedTask,
    call: &TaskCall,
    directories: &'a [OwnedFd],
) -> Result<WorkerSettings<'a>, Error> {
    let setup = WorkerSetup {
        meta: prepared.meta.clone(),
        call: call.clone(),
        swap: surroundings::has_swap(),
        restoring: restoring(),
        names: SettingNames::of_this_process(),
        #[cfg(feature = "probes")]
        probe: None,
    };
    Ok(WorkerSettings {
        artifact: prepared.artifact.try_clone()?,
        setup: wasmpool_ipc::memfd::of_json(c"wasmpool-setup", &setup)?,
        directories,
        max_payload: most_of_outcome(call),
        inits: call.init.is_some(),
    })
}

/// Returns the maximum bytes of an outcome. A program that embeds the pool may set any limit.
pub fn most_of_outcome(call: &TaskCall) -> u64 {
    call.limits.max_output.saturating_mul(if call.flatten { 2 } else { 1 }).saturating_add(OUTCOME_EXTRAS)
}

impl Drop for Supervisor<'_> {
    fn drop(&mut self) {
        self.kill_all();
    }
}

/// Workers that were killed. Dropping this waits for their ends, which take some time, and gives up the room for them.
#[derive(Debug, Default)]
pub struct EndingWorkers {
    _workers: BTreeMap<WorkerId, WorkerProcess>,
    /// Declared after the workers, as in a [`Supervisor`].
    _spares: Option<SpareWorkers>,
}

/// Parses what a worker sent. A failure is parsed and written anew, so that none of its bytes reach the output
/// unchecked.
#[inline(always)]
fn parse<'a>(
    tag: OutcomeTag,
    payload: &'a mut OutcomeBytes<'_>,
) -> Result<Result<OutcomeValue<'a>, Failure>, ProtocolViolation> {
    let broken = ProtocolViolation("it sent an outcome that cannot be read");
    let value = |encoded, beside| Ok(Ok(OutcomeValue { encoded, beside }));
    match tag {
        OutcomeTag::Value => value(EncodedValue::One(std::mem::take(payload)), None),
        OutcomeTag::Values => value(EncodedValue::Many(payload), None),
        OutcomeTag::ValueAndBeside | OutcomeTag::ValuesAndBeside => {
            let Some((beside, rest)) = split_off(payload) else {
                return Err(broken);
            };
            let Ok(beside) = serde_json::from_slice(beside) else {
                return Err(broken);
            };
            let one = tag == OutcomeTag::ValueAndBeside;
            value(
                if one { EncodedValue::One(OutcomeBytes::Borrowed(rest)) } else { EncodedValue::Many(rest) },
                Some(beside),
            )
        }
        OutcomeTag::Part => Err(broken),
        OutcomeTag::Failure => match serde_json::from_slice::<Failure>(payload) {
            Ok(failure) if failure.error.as_ref().is_none_or(|e| !e.get().contains(['\n', '\r'])) => Ok(Err(failure)),
            _ => Err(broken),
        },
    }
}

/// Splits off a text of four bytes of length and that many bytes, and returns it and the rest.
pub fn split_off(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_ne_bytes(*len) as usize)
}
