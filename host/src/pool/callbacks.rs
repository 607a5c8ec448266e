//! The thread that runs callbacks: none of them may keep the supervisors from their work, nor take the pool down.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// Something to be run once.
pub(super) struct Callback(pub Box<dyn FnOnce() + Send>);

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callback")
    }
}

/// Starts the thread with the first callback.
#[derive(Debug, Default)]
pub(super) struct Callbacks {
    thread: Mutex<Option<(Sender<Callback>, JoinHandle<()>)>>,
}

impl Callbacks {
    pub fn call(&self, callback: Callback) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_none() {
            let (sender, callbacks) = mpsc::channel::<Callback>();
            let run = move || {
                for Callback(callback) in callbacks {
                    // What it panicked with was printed by the panic hook.
                    let _ = catch_unwind(AssertUnwindSafe(callback));
                }
            };
            *thread = thread::Builder::new().name("wasmpool-call".to_owned()).spawn(run).ok().map(|t| (sender, t));
        }
        match &*thread {
            Some((sender, _)) => {
                let _ = sender.send(callback);
            }
            // No thread can be had: better here than never.
            None => {
                drop(thread);
                let _ = catch_unwind(AssertUnwindSafe(callback.0));
            }
        }
    }

    /// Waits until all that were called have returned, unless this is one of them.
    pub fn finish(&self) {
        let running = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((sender, thread)) = running
            && thread.thread().id() != thread::current().id()
        {
            drop(sender);
            let _ = thread.join();
        }
    }
}
