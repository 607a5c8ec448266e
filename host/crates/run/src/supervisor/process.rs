//! One worker process, as the supervisor has it.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};

use super::chunks::Piece;
use crate::scarce;
use crate::spawn::{self, Child, Program, Role};
use wasmpool_ipc::clock::now_ns;
use wasmpool_ipc::lane::control::{Control, Incoming};
use wasmpool_ipc::lane::frame::{self, ChunkHeader};
use wasmpool_ipc::lane::host::{Broken, HostLane};
use wasmpool_ipc::lane::life::{Life, News, Started};
use wasmpool_ipc::lane::region::LONG;
use wasmpool_ipc::messages::Start;
use wasmpool_ipc::wake::Want;
use wasmpool_sandbox::surroundings;
use wasmpool_scheduler::Time;

/// What all workers of a run are given.
#[derive(Debug)]
pub struct Setting<'a> {
    pub artifact: OwnedFd,
    pub setup: OwnedFd,
    /// Granted directories.
    pub directories: &'a [OwnedFd],
    /// Longest outcome that is believed.
    pub max_payload: u64,
    /// Values leave in parts.
    pub in_parts: bool,
    /// Workers run the task's `init` before they are ready.
    pub inits: bool,
}

/// A worker process with its lane. Dropping it ends the process.
#[derive(Debug)]
pub struct Process {
    pub child: Child,
    pub control: Control,
    pub lane: HostLane,
    /// The socket, or the process's end, was reported.
    pub rung: bool,
    pub ended: bool,
    /// It was told to end.
    pub retired: bool,
    /// It was, since it did not get ready in time.
    pub late_start: bool,
    /// It has still to be woken: the system had no room for that.
    pub owes_bell: bool,
    /// It broke the protocol, like this, or said why it will never be ready.
    pub broken: Option<String>,
    /// What it may still say.
    life: Life,
    /// Time it was known to have waited for a processor.
    waited: Duration,
    /// What has still to go into the lane.
    outbox: VecDeque<Part>,
}

#[derive(Debug)]
enum Part {
    /// Of a chunk, and whether something in it is long.
    Header([u8; frame::CHUNK_HEADER], bool),
    Items(Piece, usize),
}

/// A worker process that has been given nothing yet.
#[derive(Debug)]
pub struct Spare {
    child: Child,
    control: Control,
}

impl Spare {
    fn start(program: &Program) -> io::Result<Spare> {
        let (control, theirs) = Control::pair()?;
        Ok(Spare { child: spawn::start(program, Role::Worker, theirs)?, control })
    }
}

/// Where worker processes come from: some that were started ahead of time, then new ones. Starting a process takes longer
/// than all that follows, and needs to know nothing: it can be done while the task is compiled or read.
///
/// A process dies with the *thread* that started it, so whoever fills this has to outlive all who take from it.
#[derive(Clone, Debug)]
pub struct Spares {
    program: Program,
    stock: Arc<(Mutex<Stock>, Condvar)>,
}

#[derive(Debug, Default)]
struct Stock {
    ready: Vec<Spare>,
    /// How many are being started, and how many are still to be, ahead of time.
    starting: usize,
    to_come: usize,
}

impl Spares {
    pub fn new(program: Program) -> Spares {
        Spares { program, stock: Arc::default() }
    }

    /// With some that are started now, by the thread that calls this: no more of `workers` than can get on beside each
    /// other.
    pub fn started(program: Program, workers: usize) -> Spares {
        let spares = Spares::new(program);
        spares.announce(workers.min(surroundings::processors()));
        spares.start();
        spares
    }

    /// Says how many are to be started ahead of time. Who takes one from now on has it from these, not on top.
    pub fn announce(&self, count: usize) {
        self.stock().to_come += count;
    }

    /// Starts those that were announced, as far as there is room: what cannot be started now, whoever needs it tries again.
    pub fn start(&self) {
        loop {
            let mut stock = self.stock();
            if stock.to_come == 0 {
                return;
            }
            stock.to_come -= 1;
            stock.starting += 1;
            drop(stock);
            let started = Spare::start(&self.program);
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

    /// Ends those that nobody took.
    pub fn clear(&self) {
        let mut stock = self.stock();
        stock.to_come = 0;
        let spares = std::mem::take(&mut stock.ready);
        drop(stock);
        drop(spares);
    }

    fn stock(&self) -> MutexGuard<'_, Stock> {
        self.stock.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(&self) -> io::Result<Spare> {
        let mut stock = self.stock();
        loop {
            if let Some(spare) = stock.ready.pop() {
                return Ok(spare);
            }
            if stock.to_come > 0 || stock.starting == 0 {
                stock.to_come = stock.to_come.saturating_sub(1);
                drop(stock);
                return Spare::start(&self.program);
            }
            stock = self.stock.1.wait(stock).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Process {
    pub fn start(setting: &Setting<'_>, spare: Spare) -> io::Result<Process> {
        let Spare { child, control } = spare;
        let (lane, fd) = HostLane::create(setting.max_payload)?;
        let mut fds = vec![fd.as_fd(), setting.artifact.as_fd(), setting.setup.as_fd()];
        fds.extend(setting.directories.iter().map(AsFd::as_fd));
        match control.send(&Start, &fds) {
            // It died already: that is told as the end of any worker.
            Err(e) if matches!(e.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
            other => other?,
        }
        Ok(Process {
            child,
            control,
            lane,
            rung: false,
            ended: false,
            retired: false,
            late_start: false,
            owes_bell: false,
            broken: None,
            life: Life::new(setting.inits),
            waited: Duration::ZERO,
            outbox: VecDeque::new(),
        })
    }

    /// Reads the socket empty, and returns what follows from that.
    ///
    /// # Errors
    ///
    /// The worker said what no worker says, or not at that moment.
    pub fn read_messages(&mut self) -> Result<Option<News>, String> {
        let mut news = None;
        // A worker has little to say: one that never stops is not heard out, and the others have their turn.
        for _ in 0..64 {
            match self.control.receive::<Started>(true) {
                Ok(Incoming::Message(said)) => {
                    let heard = self.life.hear(said).map_err(|e| e.to_string())?;
                    news = heard.or(news);
                }
                Ok(Incoming::Bell) => self.life.rung().map_err(|e| e.to_string())?,
                Ok(Incoming::Nothing) => break,
                Ok(Incoming::Closed) => {
                    // Its end is told by the process itself; a live one that hangs up is of no use.
                    self.child.kill();
                    break;
                }
                Err(e) => return Err(format!("the worker sent a message that cannot be read: {e}")),
            }
        }
        Ok(news)
    }

    /// Says whether the host is about to sleep: see [`HostLane::announce_sleep`].
    pub fn announce_sleep(&mut self, sleeps: bool) {
        if sleeps {
            self.life.may_ring();
        }
        self.lane.announce_sleep(sleeps);
    }

    /// The host found something of the worker, or takes nothing for now: its bells are not in vain.
    pub fn had_reason_to_ring(&mut self) {
        self.life.had_reason();
    }

    /// Queues a chunk.
    pub fn queue(&mut self, chunk: ChunkHeader, items: Vec<Piece>) {
        let long = items.iter().any(|piece| piece.longest() > LONG);
        self.outbox.push_back(Part::Header(chunk.to_bytes(), long));
        self.outbox.extend(items.into_iter().map(|piece| Part::Items(piece, 0)));
    }

    /// Sees to it that the worker never begins this chunk, which was queued last. Says `false` where it may have.
    pub fn take_back(&mut self, chunk: u64) -> bool {
        let header = |part: &Part| match part {
            Part::Header(bytes, _) => Some(ChunkHeader::from_bytes(*bytes).first),
            Part::Items(..) => None,
        };
        match self.outbox.iter().rposition(|part| header(part).is_some()) {
            // Nothing of it was sent.
            Some(at) if self.outbox.get(at).and_then(header) == Some(chunk) => {
                self.outbox.truncate(at);
                true
            }
            Some(_) => false,
            // What is not sent of its items has to follow: the worker passes over all of them.
            None => self.lane.take_back(),
        }
    }

    /// Moves as much as fits into the lane, and wakes the worker if it sleeps.
    pub fn pump(&mut self) -> Result<(), Broken> {
        let mut moved = false;
        while let Some(part) = self.outbox.front_mut() {
            let done = match part {
                Part::Header(bytes, long) => {
                    if *long {
                        self.lane.widen();
                    }
                    match self.lane.send_header(bytes)? {
                        true => true,
                        false => break,
                    }
                }
                Part::Items(piece, sent) => {
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
        if self.owes_bell || (moved && self.lane.worker_sleeps_for(Want::Input)) {
            self.ring();
        }
        Ok(())
    }

    /// Wakes the worker. Where that cannot be done now, the next [`Process::pump`] does it.
    pub fn ring(&mut self) {
        // A worker that is gone is noticed elsewhere.
        self.owes_bell = self.control.ring().is_err_and(|e| scarce::passes(&e));
    }

    /// Fails where this process's descriptors leave no room for other files than those of workers.
    pub fn leaves_room(&self) -> io::Result<()> {
        /// What the rest of a run may need at a time.
        const OTHERS: u64 = 8;
        // The kernel gives the lowest that is free: so many at least are in use.
        let used = self.child.as_fd().as_raw_fd().unsigned_abs();
        let (most, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
        match u64::from(used) + OTHERS < most {
            true => Ok(()),
            false => Err(Errno::EMFILE.into()),
        }
    }

    /// Whether [`Process::pump`] would get on. A worker rings for room only where it sees the host asleep, so whoever
    /// goes to sleep with input still to hand over has to look once more.
    pub fn can_pump(&self) -> bool {
        self.outbox.front().is_some_and(|part| match part {
            Part::Header(bytes, _) => self.lane.room() >= bytes.len(),
            Part::Items(..) => self.lane.room() > 0,
        })
    }

    /// How long the process was ready to run and had no processor, since this was last asked. The kernel may not tell.
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

    /// A time of the shared clock as time since the start of the run, where that is `now`.
    pub fn since_start(&self, ns: u64, now: Time) -> Time {
        now.saturating_sub(Time::from_nanos(now_ns().saturating_sub(ns)))
    }
}
