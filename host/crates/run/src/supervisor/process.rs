//! A worker process, from the supervisor's side.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};

use super::chunks::BatchSlice;
use crate::cgroup::Room;
use crate::scarce;
use crate::shared::{Attached, Participant};
use crate::spawn::{self, ChildProcess, ChildProgram, ChildRole, ChildWait};
use wasmpool_ipc::clock::now_ns;
use wasmpool_ipc::lane::control::{Control, Incoming};
use wasmpool_ipc::lane::frame::{self, ChunkHeader};
use wasmpool_ipc::lane::host::{HostLane, ProtocolViolation};
use wasmpool_ipc::lane::life::{LifeEvent, OutOfTurn, WorkerLife, WorkerMessage};
use wasmpool_ipc::lane::region::LONG;
use wasmpool_ipc::messages::StartWorker;
use wasmpool_ipc::wake::SleepReason;
use wasmpool_sandbox::surroundings;
use wasmpool_scheduler::Time;

/// The settings that all workers of a run share.
#[derive(Debug)]
pub struct WorkerSettings<'a> {
    pub artifact: OwnedFd,
    pub setup: OwnedFd,
    /// The granted directories.
    pub directories: &'a [OwnedFd],
    /// The largest outcome that is accepted.
    pub max_payload: u64,
    /// True if workers run the task's `init` before they are ready.
    pub inits: bool,
}

/// Time after which large values are no longer left in a lane for the thread that waits for them. It is woken in the same turn,
/// so it takes them much sooner unless it gets no processor, or the supervisor has much else to do in that turn.
pub const LEFT_FOR: Duration = Duration::from_millis(1);

/// Error: a worker sent a message that no worker sends, or not at that moment.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    #[error(transparent)]
    OutOfTurn(#[from] OutOfTurn),
    #[error("the worker sent a message that cannot be read")]
    Unreadable(#[source] io::Error),
}

/// A worker process with its lane. Dropping it ends the process.
#[derive(Debug)]
pub struct WorkerProcess {
    pub child: ChildProcess,
    pub control: Control,
    pub lane: HostLane,
    /// True if an event of the socket, or the process's end, was reported.
    pub rung: bool,
    pub ended: bool,
    /// True if the worker was told to end.
    pub retired: bool,
    /// True if another has been started in its place.
    pub replaced: bool,
    /// True if it was told to end because it did not get ready in time.
    pub late_start: bool,
    /// True if the worker must still be woken: the system had no room for that.
    pub owes_bell: bool,
    /// The time since which there has been a value that is left in the lane.
    left_since: Option<Time>,
    /// How the worker broke the protocol, or why it will never be ready.
    pub broken: Option<String>,
    /// Its place among those who share objects, which it leaves after its end.
    participant: Option<Participant>,
    /// The messages that the worker may still send.
    life: WorkerLife,
    /// Time that it is known to have waited for a processor.
    waited: Duration,
    /// What must still go into the lane.
    outbox: VecDeque<FeedState>,
}

#[derive(Debug)]
enum FeedState {
    /// The header of a chunk, and whether one of its items is long.
    Header([u8; frame::CHUNK_HEADER], bool),
    Items(BatchSlice, usize),
}

/// A worker process that has been given nothing yet.
#[derive(Debug)]
pub struct SpareWorker {
    child: ChildProcess,
    control: Control,
}

impl SpareWorker {
    fn start(program: &ChildProgram, role: ChildRole) -> io::Result<SpareWorker> {
        let (control, theirs) = Control::pair()?;
        Ok(SpareWorker { child: spawn::start(program, role, theirs)?, control })
    }

    fn has_ended(&self) -> io::Result<bool> {
        Ok(matches!(self.child.wait_at_most(Duration::ZERO, None)?, ChildWait::Ended(_)))
    }
}

/// The source of worker processes: some that were started ahead of time, then new ones. Starting a process takes longer
/// than everything that follows, and needs no knowledge of the task: it can be done while the task is compiled or read.
///
/// A process dies with the *thread* that started it, so the thread that starts spares must outlive all users of them.
#[derive(Clone, Debug)]
pub struct SpareWorkers {
    program: ChildProgram,
    /// The role in which the workers are started, which says what they may give up before they know their task.
    role: ChildRole,
    stock: Arc<(Mutex<SpareStock>, Condvar)>,
    /// Declared after the processes, since they have to end before it is dropped.
    room: Arc<Room>,
}

#[derive(Debug, Default)]
struct SpareStock {
    ready: Vec<SpareWorker>,
    /// Number of workers that are being started, and number that are still to be started ahead of time.
    starting: usize,
    to_come: usize,
}

impl SpareWorkers {
    /// Makes a source that keeps the room for its processes until all of them have ended.
    pub fn new(program: ChildProgram, role: ChildRole, room: Room) -> SpareWorkers {
        SpareWorkers { program, role, stock: Arc::default(), room: Arc::new(room) }
    }

    /// Returns the role in which they are started.
    pub fn role(&self) -> ChildRole {
        self.role
    }

    /// Returns the room for all processes that come from here.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// Makes a source and starts some workers now, on the calling thread: as many of `workers` as there are processors
    /// for.
    pub fn started(program: ChildProgram, role: ChildRole, workers: usize, room: Room) -> SpareWorkers {
        let spares = SpareWorkers::new(program, role, room);
        spares.announce(surroundings::at_once(workers));
        spares.start();
        spares
    }

    /// Announces how many workers are to be started ahead of time. Workers that are taken from now on come out of
    /// these, not in addition.
    pub fn announce(&self, count: usize) {
        self.stock().to_come += count;
    }

    /// Starts the workers that were announced, as far as there is room: those that cannot be started now are tried
    /// again when they are needed.
    pub fn start(&self) {
        loop {
            let mut stock = self.stock();
            if stock.to_come == 0 {
                return;
            }
            stock.to_come -= 1;
            stock.starting += 1;
            drop(stock);
            let started = SpareWorker::start(&self.program, self.role);
            let mut stock = self.stock();
            stock.starting -= 1;
            match started {
                Ok(spare) => stock.ready.push(spare),
                Err(_) => stock.to_come = 0,
            }
            drop(stock);
            self.stock.1.notify_all();
        }
    }

    /// Ends the workers that nobody took.
    pub fn clear(&self) {
        let mut stock = self.stock();
        stock.to_come = 0;
        let spares = std::mem::take(&mut stock.ready);
        drop(stock);
        drop(spares);
    }

    /// Returns the workers that nobody has taken yet: the number of each process, and when it was started.
    pub fn waiting(&self) -> Vec<(u32, Instant)> {
        self.stock().ready.iter().map(|spare| (spare.child.pid(), spare.child.started())).collect()
    }

    fn stock(&self) -> MutexGuard<'_, SpareStock> {
        self.stock.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(&self) -> io::Result<SpareWorker> {
        let mut stock = self.stock();
        loop {
            if let Some(spare) = stock.ready.pop() {
                // The memory killer may have taken one that waited.
                if spare.has_ended()? {
                    continue;
                }
                return Ok(spare);
            }
            if stock.to_come > 0 || stock.starting == 0 {
                stock.to_come = stock.to_come.saturating_sub(1);
                drop(stock);
                return SpareWorker::start(&self.program, self.role);
            }
            stock = self.stock.1.wait(stock).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl WorkerProcess {
    /// Gives a process its task, and what it needs of the shared objects. `follows` says whether what its items print is
    /// taken while they run.
    pub fn start(
        setting: &WorkerSettings<'_>,
        spare: SpareWorker,
        shared: Attached,
        follows: bool,
    ) -> io::Result<WorkerProcess> {
        let SpareWorker { child, control } = spare;
        let (lane, fd) = HostLane::create(setting.max_payload)?;
        if follows {
            lane.follow_prints();
        }
        let mut fds = vec![fd.as_fd(), setting.artifact.as_fd(), setting.setup.as_fd()];
        fds.extend(shared.descriptors.iter().map(AsFd::as_fd));
        fds.extend(setting.directories.iter().map(AsFd::as_fd));
        match control.send(&StartWorker, &fds) {
            // The worker died already: that is reported like the end of any worker.
            Err(e) if matches!(e.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
            other => other?,
        }
        Ok(WorkerProcess {
            child,
            control,
            lane,
            rung: false,
            ended: false,
            retired: false,
            replaced: false,
            late_start: false,
            owes_bell: false,
            left_since: None,
            broken: None,
            participant: shared.participant,
            life: WorkerLife::new(setting.inits),
            waited: Duration::ZERO,
            outbox: VecDeque::new(),
        })
    }

    /// Kills the process, and sees to it that it is given nothing more of the shared objects.
    pub fn kill(&self) {
        self.child.kill();
        if let Some(participant) = &self.participant {
            participant.ending();
        }
    }

    /// Returns true if this is its number among those who share objects.
    pub fn is_participant(&self, number: u32) -> bool {
        self.participant.as_ref().is_some_and(|participant| participant.number() == number)
    }

    /// Reads all messages from the socket, and returns what follows from them.
    pub fn read_messages(&mut self) -> Result<Option<LifeEvent>, MessageError> {
        let mut news = None;
        // A worker has little to say: one that never stops is interrupted, so that the others have their turn.
        for _ in 0..64 {
            match self.control.receive::<WorkerMessage>(true) {
                Ok(Incoming::Message(said)) => {
                    let heard = self.life.hear(said)?;
                    news = heard.or(news);
                }
                Ok(Incoming::Bell) => self.life.rung()?,
                Ok(Incoming::Nothing) => break,
                Ok(Incoming::Closed) => {
                    // The end of the process is reported separately; a living worker that closes its socket is of no
                    // use.
                    self.child.kill();
                    break;
                }
                Err(e) => return Err(MessageError::Unreadable(e)),
            }
        }
        Ok(news)
    }

    /// Announces whether the host is about to sleep: see [`HostLane::announce_sleep`].
    pub fn announce_sleep(&mut self, sleeps: bool) {
        if sleeps {
            self.life.may_ring();
        }
        self.lane.announce_sleep(sleeps);
    }

    /// Records that the host found something of the worker's, or takes nothing for now, so that the worker's bells are
    /// justified.
    pub fn had_reason_to_ring(&mut self) {
        self.life.had_reason();
    }

    /// Copies out the values that were left in the lane, if the worker needs the room or there have been such values for
    /// [`LEFT_FOR`].
    pub fn reclaim(&mut self, now: impl FnOnce() -> Time) {
        if self.lane.has_left() {
            let now = now();
            let since = *self.left_since.get_or_insert(now);
            if self.lane.lacks_room() || now.saturating_sub(since) >= LEFT_FOR {
                self.lane.reclaim();
            }
        }
        if !self.lane.has_left() {
            self.left_since = None;
        }
    }

    /// Queues a chunk.
    pub fn queue(&mut self, chunk: ChunkHeader, items: Vec<BatchSlice>) {
        let long = items.iter().any(|piece| piece.longest() > LONG);
        self.outbox.push_back(FeedState::Header(chunk.to_bytes(), long));
        self.outbox.extend(items.into_iter().map(|piece| FeedState::Items(piece, 0)));
    }

    /// Ensures that the worker never begins this chunk, which was queued last. Returns false if it may have begun.
    pub fn take_back(&mut self, chunk: u64) -> bool {
        let header = |part: &FeedState| match part {
            FeedState::Header(bytes, _) => Some(ChunkHeader::from_bytes(*bytes).first),
            FeedState::Items(..) => None,
        };
        match self.outbox.iter().rposition(|part| header(part).is_some()) {
            // Nothing of the chunk was sent.
            Some(at) if self.outbox.get(at).and_then(header) == Some(chunk) => {
                self.outbox.truncate(at);
                true
            }
            Some(_) => false,
            // The items that are not sent yet must follow, since the worker skips all of them.
            None => self.lane.take_back(),
        }
    }

    /// Moves as much as fits into the lane, and wakes the worker if it sleeps.
    pub fn pump(&mut self) -> Result<(), ProtocolViolation> {
        let mut moved = false;
        while let Some(part) = self.outbox.front_mut() {
            let done = match part {
                FeedState::Header(bytes, long) => {
                    if *long {
                        self.lane.widen();
                    }
                    match self.lane.send_header(bytes)? {
                        true => true,
                        false => break,
                    }
                }
                FeedState::Items(piece, sent) => {
                    let rest = piece.rest(*sent);
                    let count = self.lane.send(rest)?;
                    *sent += count;
                    moved |= count > 0;
                    if count < rest.len() {
                        break;
                    }
                    *sent >= piece.size()
                }
            };
            if done {
                moved = true;
                self.outbox.pop_front();
            }
        }
        if self.owes_bell || (moved && self.lane.worker_sleeps_for(SleepReason::Input)) {
            self.ring();
        }
        Ok(())
    }

    /// Wakes the worker. If that is not possible now, the next [`WorkerProcess::pump`] does it.
    pub fn ring(&mut self) {
        // The end of a worker is detected elsewhere.
        self.owes_bell = self.control.ring().is_err_and(|e| scarce::passes(&e));
    }

    /// Returns an error if this process's descriptors leave no room for files other than those of workers.
    pub fn leaves_room(&self) -> io::Result<()> {
        /// Number of descriptors that the rest of a run may need at a time.
        const OTHERS: u64 = 8;
        // The kernel gives the lowest free number, so at least this many are in use.
        let used = self.child.as_fd().as_raw_fd().unsigned_abs();
        let (most, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
        match u64::from(used) + OTHERS < most {
            true => Ok(()),
            false => Err(Errno::EMFILE.into()),
        }
    }

    /// Returns true if [`WorkerProcess::pump`] would move something. A worker rings for room only if it sees the host asleep,
    /// so a host that goes to sleep with input still to hand over must check once more.
    pub fn can_pump(&self) -> bool {
        self.outbox.front().is_some_and(|part| match part {
            FeedState::Header(bytes, _) => self.lane.room() >= bytes.len(),
            FeedState::Items(..) => self.lane.room() > 0,
        })
    }

    /// Returns how long the process was ready to run and had no processor, since the last call. The kernel may not
    /// report it.
    pub fn waited_for_cpu(&mut self) -> Duration {
        // The second number is nanoseconds spent waiting on a run queue.
        let path = format!("/proc/{}/schedstat", self.child.pid());
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let total =
            text.split_ascii_whitespace().nth(1).and_then(|n| n.parse().ok()).map_or(self.waited, Duration::from_nanos);
        let since_last = total.saturating_sub(self.waited);
        self.waited = total;
        since_last
    }

    /// Converts a time of the shared clock to time since the start of the run, which is `now` at present.
    pub fn since_start(&self, ns: u64, now: Time) -> Time {
        now.saturating_sub(Time::from_nanos(now_ns().saturating_sub(ns)))
    }
}
