//! The thread that starts worker processes ahead of time.

use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;

use wasmpool_run::error::Error;
use wasmpool_run::scarce::start_thread;
use wasmpool_run::supervisor::SpareWorkers;

/// The thread that starts spare worker processes. They die with the thread that started them, so this one lives as long
/// as the pool. Dropping this ends the processes that were never used.
#[derive(Debug)]
pub(super) struct SpareKeeper {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<Option<()>>>,
    /// The process that started the thread.
    owner: u32,
}

impl SpareKeeper {
    pub fn start(spares: SpareWorkers, count: usize) -> Result<SpareKeeper, Error> {
        let (stop, stopped) = mpsc::channel::<()>();
        spares.announce(count);
        let keep = move || {
            spares.start();
            let _ = stopped.recv();
            spares.clear();
        };
        let thread = start_thread("wasmpool-start", keep).map_err(Error::spawn)?;
        Ok(SpareKeeper { stop: Some(stop), thread: Some(thread), owner: std::process::id() })
    }
}

impl Drop for SpareKeeper {
    fn drop(&mut self) {
        self.stop = None;
        // A process that was forked off has no copy of the thread to wait for.
        if let Some(thread) = self.thread.take().filter(|_| self.owner == std::process::id()) {
            let _ = thread.join();
        }
    }
}
