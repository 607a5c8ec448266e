//! A single sandboxed process that makes one call, like Python's `multiprocessing.Process`.
//!
//! It has a supervisor on a thread of its own, which starts the process, gives it the one item and waits for its end
//! (`process_run.rs`). The process dies with that thread, and so with the program.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::eventfd::EventFd;
use nix::sys::signal::Signal;

use super::events::{ProcessInfo, ProcessRole};
use super::process_builder::ProcessBuilder;
use super::result::deadline;
use super::task::Task;
use super::value::ReturnValue;
use wasmpool_core::outcome::GuestOutput;
use wasmpool_run::error::Error;
use wasmpool_run::scarce::ring;
use wasmpool_run::supervisor::{Event, EventSender};

/// The processes that have not ended, as far as is known.
static ACTIVE: Mutex<Vec<Weak<ProcessState>>> = Mutex::new(Vec::new());

/// A sandboxed process that makes one call of a function of WebAssembly.
///
/// It begins when it is [started](ProcessBuilder::start), and ends with the call. It shares nothing with the program or
/// another process, and is as sandboxed as the workers of a [`Pool`](crate::Pool). Whatever happens in it, the program
/// goes on and is told by [`exit`](Self::exit).
///
/// Dropping a handle kills the process and waits for its end, unless it is not a [daemon](ProcessBuilder::daemon); then
/// it waits for the end of the call. No process outlives the program. A process that is forked off from the program
/// cannot use the handle: calls there return [`Error::Forked`].
///
/// ```
/// use wasmpool::Process;
///
/// // Python: p = Process(target=power, args=(2, 10)); p.start(); p.join()
/// let process = Process::builder("examples/power.wat").args((2, 10)).start()?;
/// assert_eq!(process.join()?.exitcode(), Some(0));
/// assert_eq!(process.result::<i64>()?, 1024);
/// # Ok::<(), wasmpool::Error>(())
/// ```
pub struct Process {
    state: Arc<ProcessState>,
    /// `None` once the thread was joined.
    thread: Option<JoinHandle<Option<()>>>,
}

/// What the handle of a process and its thread share.
#[derive(Debug)]
pub(super) struct ProcessState {
    pub name: String,
    pub daemon: bool,
    pub pid: AtomicU32,
    pub started: Instant,
    /// The signal that it was ended with by the program; 0 if none.
    pub asked: AtomicI32,
    /// The program's own process, whose thread serves this one.
    owner: u32,
    supervisor: EventSender,
    /// Readable once `end` is known.
    sentinel: EventFd,
    end: Mutex<Option<ProcessEnd>>,
    ended: Condvar,
}

/// How a process ended, and the value that its function returned, as JSON.
#[derive(Clone, Debug)]
pub(super) struct ProcessEnd {
    pub exit: ProcessExit,
    pub value: Option<bytes::Bytes>,
    /// True if the value is the base64 of bytes.
    pub is_base64: bool,
}

/// How a [`Process`] ended.
#[derive(Clone, Debug)]
pub struct ProcessExit {
    pub(super) exitcode: Option<i32>,
    pub(super) failure: Option<Error>,
    pub(super) printed: GuestOutput,
}

impl ProcessExit {
    /// Returns the exit code, as Python gives it: 0 for a function that returned, `n` for one that called `exit(n)`, 1
    /// for any other failure, and `-signal` for a process that was ended by a signal. `None` if how it ended is not
    /// known, because something else in the program collects the status of all child processes.
    ///
    /// ```
    /// # use wasmpool::Process;
    /// let process = Process::builder("examples/divide.wat").args((1, 0)).start()?;
    /// assert_eq!(process.join()?.exitcode(), Some(1));
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn exitcode(&self) -> Option<i32> {
        self.exitcode
    }

    /// Returns why it failed: an [`Error::Item`] with the kind of the failure and the guest's stack, or an error of the
    /// task or the machine. `None` for a function that returned.
    ///
    /// ```
    /// # use wasmpool::{Error, Kind, Process};
    /// let process = Process::builder("examples/divide.wat").args((1, 0)).start()?;
    /// match process.join()?.failure() {
    ///     Some(Error::Item(e)) => assert_eq!(e.kind, Kind::Trap),
    ///     other => panic!("{other:?}"),
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    pub fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }

    /// Returns what the guest wrote to its standard output and error, up to a limit.
    ///
    /// ```
    /// # use wasmpool::Process;
    /// let process = Process::builder("examples/squares.wat").args(3).start()?;
    /// assert!(process.join()?.printed().is_empty());
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn printed(&self) -> &GuestOutput {
        &self.printed
    }
}

impl ProcessState {
    pub fn new(name: String, daemon: bool, supervisor: EventSender, sentinel: EventFd) -> ProcessState {
        ProcessState {
            name,
            daemon,
            pid: AtomicU32::new(0),
            started: Instant::now(),
            asked: AtomicI32::new(0),
            owner: std::process::id(),
            supervisor,
            sentinel,
            end: Mutex::default(),
            ended: Condvar::new(),
        }
    }

    fn end(&self) -> MutexGuard<'_, Option<ProcessEnd>> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records how the process ended, and tells who waits.
    pub fn finish(&self, end: ProcessEnd) {
        *self.end() = Some(end);
        ring(&self.sentinel);
        self.ended.notify_all();
    }

    fn wait(&self, deadline: Option<Instant>) -> Option<ProcessEnd> {
        let mut end = self.end();
        loop {
            if end.is_some() {
                return end.clone();
            }
            end = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.ended.wait(end).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return None,
                Some(left) => self.ended.wait_timeout(end, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    fn is_ours(&self) -> bool {
        self.owner == std::process::id()
    }

    fn check_owner(&self) -> Result<(), Error> {
        if self.is_ours() { Ok(()) } else { Err(Error::Forked) }
    }

    fn end_by(&self, signal: Signal) {
        if self.is_ours() {
            // The first who asks counts.
            let _ = self.asked.compare_exchange(0, signal as i32, Ordering::SeqCst, Ordering::SeqCst);
            self.supervisor.send(Event::Terminate);
        }
    }
}

impl Process {
    pub(super) fn new(state: Arc<ProcessState>, thread: JoinHandle<Option<()>>) -> Process {
        let mut active = ACTIVE.lock().unwrap_or_else(PoisonError::into_inner);
        active.retain(|known| known.upgrade().is_some_and(|known| known.end().is_none()));
        active.push(Arc::downgrade(&state));
        drop(active);
        Process { state, thread: Some(thread) }
    }

    /// Returns a builder of a process that calls a function of `task`: a path, or wasm in memory.
    ///
    /// ```
    /// # use wasmpool::Process;
    /// // Python: Process(target=power, args=(2,), kwargs={"exponent": 3}, name="cube")
    /// let builder = Process::builder("examples/power.wat").args(2).bind("exponent", &3).name("cube");
    /// assert_eq!(builder.start()?.result::<i64>()?, 8);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn builder(task: impl Into<Task>) -> ProcessBuilder {
        ProcessBuilder::new(task.into())
    }

    /// Returns the name that it was given, or `Process-N` for the program's Nth process.
    ///
    /// ```
    /// # use wasmpool::Process;
    /// let process = Process::builder("examples/squares.wat").args(3).name("nine").start()?;
    /// assert_eq!(process.name(), "nine");
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// Returns the number of the process. Once it has ended, another may have that number.
    ///
    /// ```
    /// # use wasmpool::Process;
    /// let process = Process::builder("examples/squares.wat").args(3).start()?;
    /// assert_ne!(process.pid(), std::process::id());
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn pid(&self) -> u32 {
        self.state.pid.load(Ordering::SeqCst)
    }

    /// Returns true if dropping the handle kills the process; see [`ProcessBuilder::daemon`].
    ///
    /// ```
    /// # use wasmpool::Process;
    /// let process = Process::builder("examples/squares.wat").args(3).daemon(false).start()?;
    /// assert!(!process.is_daemon());
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn is_daemon(&self) -> bool {
        self.state.daemon
    }

    /// Returns true while the process runs. In a process that was forked off from the program it returns false.
    ///
    /// ```
    /// # use wasmpool::Process;
    /// let process = Process::builder("examples/spin.wat").args(-1).start()?;
    /// assert!(process.is_alive());
    /// process.kill();
    /// process.join()?;
    /// assert!(!process.is_alive());
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn is_alive(&self) -> bool {
        self.state.is_ours() && self.state.end().is_none()
    }

    /// Waits until the process has ended, and returns how. May be called repeatedly.
    ///
    /// That takes as long as the call does: a process has no [`timeout`](ProcessBuilder::timeout) unless it is given one.
    ///
    /// # Errors
    ///
    /// [`Error::Forked`] in a process that was forked off from the program. How the call failed is no error here.
    ///
    /// ```
    /// # use wasmpool::Process;
    /// let process = Process::builder("examples/squares.wat").args(3).start()?;
    /// // Python: p.join(); p.exitcode
    /// assert_eq!(process.join()?.exitcode(), Some(0));
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn join(&self) -> Result<ProcessExit, Error> {
        self.wait_for_end().map(|end| end.exit)
    }

    fn wait_for_end(&self) -> Result<ProcessEnd, Error> {
        self.state.check_owner()?;
        self.state.wait(None).ok_or(Error::WaitTimeout)
    }

    /// Waits as [`join`](Self::join) does, for at most `timeout`. Returns `None` if the process still runs then. With
    /// [`Duration::ZERO`] it only looks.
    ///
    /// # Errors
    ///
    /// Those of [`join`](Self::join).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use wasmpool::Process;
    /// let process = Process::builder("examples/spin.wat").args(-1).start()?;
    /// // Python: p.join(0.01); p.exitcode is None
    /// assert!(process.join_timeout(Duration::from_millis(10))?.is_none());
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn join_timeout(&self, timeout: Duration) -> Result<Option<ProcessExit>, Error> {
        self.state.check_owner()?;
        Ok(self.state.wait(deadline(timeout)).map(|end| end.exit))
    }

    /// Returns how the process ended, or `None` while it runs.
    ///
    /// ```
    /// # use wasmpool::Process;
    /// let process = Process::builder("examples/spin.wat").args(-1).start()?;
    /// assert!(process.exit().is_none());
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn exit(&self) -> Option<ProcessExit> {
        if !self.state.is_ours() {
            return None;
        }
        self.state.end().as_ref().map(|end| end.exit.clone())
    }

    /// Returns the exit code: see [`ProcessExit::exitcode`]. `None` while the process runs.
    ///
    /// ```
    /// # use wasmpool::Process;
    /// let process = Process::builder("examples/spin.wat").args(-1).start()?;
    /// assert_eq!(process.exitcode(), None);
    /// process.kill();
    /// process.join()?;
    /// assert_eq!(process.exitcode(), Some(-9));
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn exitcode(&self) -> Option<i32> {
        self.exit()?.exitcode
    }

    /// Waits until the process has ended, and returns what its function returned. May be called repeatedly. As
    /// [`Bytes`](crate::Bytes) it returns bytes and texts as they are.
    ///
    /// # Errors
    ///
    /// [`ProcessExit::failure`] of a call that failed. [`Error::Item`] of kind `invalid-output` if the value is not of
    /// this type. Otherwise those of [`join`](Self::join).
    ///
    /// ```
    /// # use wasmpool::Process;
    /// let process = Process::builder("examples/squares.wat").args(3).start()?;
    /// assert_eq!(process.result::<i64>()?, 9);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn result<R: ReturnValue>(&self) -> Result<R, Error> {
        let ProcessEnd { exit, value, is_base64 } = self.wait_for_end()?;
        match (value, exit.failure) {
            (_, Some(e)) => Err(e),
            (Some(value), None) => Ok(R::read_json(value, is_base64).map_err(|e| super::function::unreadable(0, &e))?),
            (None, None) => Err(Error::Unfinished),
        }
    }

    /// Ends the process at once, as [`kill`](Self::kill) does, since a guest has no handlers of signals; the exit code is
    /// -15. Does nothing if the process has ended.
    ///
    /// ```
    /// # use wasmpool::Process;
    /// let process = Process::builder("examples/spin.wat").args(-1).start()?;
    /// process.terminate();
    /// assert_eq!(process.join()?.exitcode(), Some(-15));
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn terminate(&self) {
        self.state.end_by(Signal::SIGTERM);
    }

    /// Kills the process, at whatever it is, and returns at once; the exit code is -9. Does nothing if the process has
    /// ended. The end costs nothing but this process: what it shares with others stays usable.
    ///
    /// ```
    /// # use wasmpool::Process;
    /// let process = Process::builder("examples/spin.wat").args(-1).start()?;
    /// process.kill();
    /// assert_eq!(process.join()?.exitcode(), Some(-9));
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn kill(&self) {
        self.state.end_by(Signal::SIGKILL);
    }

    /// Frees what the handle holds, which dropping it does, too.
    ///
    /// # Errors
    ///
    /// Gives the handle back if the process still runs.
    ///
    /// ```
    /// # use wasmpool::Process;
    /// let process = Process::builder("examples/spin.wat").args(-1).start()?;
    /// let process = process.close().unwrap_err();
    /// process.kill();
    /// process.join()?;
    /// assert!(process.close().is_ok());
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn close(self) -> Result<(), Process> {
        if self.is_alive() { Err(self) } else { Ok(()) }
    }

    /// Returns a descriptor that becomes readable once the process has ended and its exit is known, for `poll` and the
    /// like. It does not become readable in a process that was forked off from the program. Do not read from it.
    ///
    /// ```
    /// # use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    /// # use wasmpool::Process;
    /// let process = Process::builder("examples/squares.wat").args(3).start()?;
    /// // Python: multiprocessing.connection.wait([p.sentinel])
    /// let mut awaited = [PollFd::new(process.sentinel(), PollFlags::POLLIN)];
    /// assert_eq!(poll(&mut awaited, PollTimeout::NONE), Ok(1));
    /// assert_eq!(process.exitcode(), Some(0));
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn sentinel(&self) -> BorrowedFd<'_> {
        self.state.sentinel.as_fd()
    }
}

/// The [sentinel](Process::sentinel).
impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sentinel()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.state.is_ours() {
            return;
        }
        if self.state.daemon {
            self.kill();
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ProcessState { name, daemon, .. } = &*self.state;
        f.debug_struct("Process")
            .field("name", name)
            .field("pid", &self.pid())
            .field("daemon", daemon)
            .field("exit", &self.exit())
            .finish()
    }
}

/// Returns the [processes](Process) of this program that have not ended, in the order in which they were started. Those
/// of a pool are listed by [`Pool::processes`](crate::Pool::processes).
///
/// ```
/// # use wasmpool::Process;
/// let process = Process::builder("examples/spin.wat").args(-1).name("endless").start()?;
/// // Python: multiprocessing.active_children()
/// let active = wasmpool::active_children();
/// assert!(active.iter().any(|p| p.pid == process.pid() && p.name.as_deref() == Some("endless")));
/// # Ok::<(), wasmpool::Error>(())
/// ```
pub fn active_children() -> Vec<ProcessInfo> {
    let mut active = ACTIVE.lock().unwrap_or_else(PoisonError::into_inner);
    active.retain(|known| known.upgrade().is_some_and(|known| known.is_ours() && known.end().is_none()));
    let info = |state: Arc<ProcessState>| ProcessInfo {
        pid: state.pid.load(Ordering::SeqCst),
        role: ProcessRole::Process,
        name: Some(state.name.clone()),
        item: None,
        since: state.started,
    };
    active.iter().filter_map(Weak::upgrade).map(info).collect()
}
