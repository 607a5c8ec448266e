//! The thread that starts worker processes ahead of time.

use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;

use super::shared::SharedWorkers;
use wasmpool_run::error::Error;
use wasmpool_run::scarce::start_thread;
use wasmpool_run::supervisor::SpareWorkers;

/// The thread that starts spare worker processes. They die with the thread that started them, so this one lives as long
/// as the pool. Dropping this ends the processes that were never used.
#[derive(Debug)]
pub(super) struct SpareKeeper {
    stop: Option<Sender<Arc<SharedWorkers>>>,
    thread: Option<JoinHandle<Option<()>>>,
    /// The process that started the thread.
    owner: u32,
}

impl SpareKeeper {
    pub fn start(spares: SpareWorkers, count: usize) -> Result<SpareKeeper, Error> {
        let (stop, stopped) = mpsc::channel::<Arc<SharedWorkers>>();
        spares.announce(count);
        let keep = move || {
            spares.start();
            let left_alone = stopped.recv();
            spares.clear();
            if let Ok(pool) = left_alone {
                pool.wait(None);
                pool.callbacks.finish();
            }
        };
        let thread = start_thread("wasmpool-start", keep).map_err(Error::spawn)?;
        Ok(SpareKeeper { stop: Some(stop), thread: Some(thread), owner: std::process::id() })
    }

    /// Lets a pool that was closed go on until its calls are over, with nobody who waits for it.
    pub fn leave_alone(mut self, pool: Arc<SharedWorkers>) {
        if let Some(stop) = self.stop.take()
            && stop.send(pool).is_ok()
        {
            self.thread = None;
        }
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
