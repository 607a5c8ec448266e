//! The thread that starts worker processes ahead of time.

use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

use crate::error::Error;
use crate::supervisor::Spares;

/// Processes die with the thread that started them, so this one lives as long as the pool. Dropping it ends what nobody
/// has taken.
#[derive(Debug)]
pub(super) struct Keeper {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub fn start(spares: Spares, count: usize) -> Result<Keeper, Error> {
        let (stop, stopped) = mpsc::channel::<()>();
        spares.announce(count);
        let keep = move || {
            // What cannot be started now is told by whoever needs it.
            let _ = spares.start();
            let _ = stopped.recv();
            spares.clear();
        };
        let thread = thread::Builder::new().name("wasmpool-start".to_owned()).spawn(keep).map_err(Error::Spawn)?;
        Ok(Keeper { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
