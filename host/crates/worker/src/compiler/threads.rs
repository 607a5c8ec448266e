//! The threads of a compile process. All of them run before it reads the task; from then on it can start none.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use tokio::runtime::{EnterGuard, Runtime};
use wasmtime::Engine;

/// The threads of the process, except those that compile, which belong to rayon.
pub struct Threads {
    init: Option<ForInit>,
}

/// The threads that a task's `init` requires.
struct ForInit {
    timers: Runtime,
    alarm: Sender<GuestDeadline>,
}

/// An order to end the guests of an engine when this time is over, unless the other end of `over` is dropped before.
struct GuestDeadline {
    engine: Engine,
    time: Duration,
    over: Receiver<()>,
    late: Late,
}

/// The last resort if a guest does not end then, because it waits in a call of the host.
pub type Late = Box<dyn FnOnce() + Send>;

/// Time that a computing guest has to notice that its time is over.
const UNWINDING: Duration = Duration::from_secs(1);

impl Threads {
    /// Starts the given number of threads that compile, and those for `init` if it is run.
    pub fn start(compiling: usize, init: bool) -> io::Result<Threads> {
        rayon::ThreadPoolBuilder::new().num_threads(compiling).build_global().map_err(failed)?;
        let init = if init { Some(ForInit { timers: crate::timers(false)?, alarm: alarm()? }) } else { None };
        Ok(Threads { init })
    }

    /// Lets the thread for timers drive timers of WASI.
    pub fn enter(&self) -> Option<EnterGuard<'_>> {
        self.init.as_ref().map(|init| init.timers.enter())
    }

    /// Runs something for a limited time, because a guest may take forever.
    pub fn within<T>(&self, time: Duration, engine: &Engine, late: Late, run: impl FnOnce() -> T) -> T {
        let (done, over) = mpsc::channel();
        if let Some(init) = &self.init {
            // The thread ends only with the process.
            let _ = init.alarm.send(GuestDeadline { engine: engine.clone(), time, over, late });
        }
        let result = run();
        drop(done);
        result
    }
}

/// Returns the error of the system that caused this one, if there is one.
fn failed(error: rayon::ThreadPoolBuildError) -> io::Error {
    let source = std::error::Error::source(&error).and_then(|e| e.downcast_ref::<io::Error>());
    match source.and_then(io::Error::raw_os_error) {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::other(error),
    }
}

fn alarm() -> io::Result<Sender<GuestDeadline>> {
    let (orders, taken) = mpsc::channel::<GuestDeadline>();
    let (started, runs) = mpsc::channel();
    std::thread::Builder::new().spawn(move || {
        drop(started);
        for GuestDeadline { engine, time, over, late } in taken {
            // Dropping the other end ends the wait.
            let is_over = |time| over.recv_timeout(time) != Err(RecvTimeoutError::Timeout);
            if is_over(time) {
                continue;
            }
            engine.increment_epoch();
            if !is_over(UNWINDING) {
                late();
            }
        }
    })?;
    // Nothing is ever sent: the wait is over when the thread has begun.
    let _: Result<(), _> = runs.recv();
    Ok(orders)
}
