//! The thread that runs callbacks, so that none of them can delay the supervisors or take the pool down.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// A function of the user's that is called once.
pub(super) struct Callback(pub Box<dyn FnOnce() + Send>);

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callback")
    }
}

/// The callback thread, which is started with the first callback.
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
                    // The panic hook has already printed the message.
                    let _ = catch_unwind(AssertUnwindSafe(callback));
                }
            };
            *thread = thread::Builder::new().name("wasmpool-call".to_owned()).spawn(run).ok().map(|t| (sender, t));
        }
        match &*thread {
            Some((sender, _)) => {
                let _ = sender.send(callback);
            }
            // No thread is available: running the callback here is better than never running it.
            None => {
                drop(thread);
                let _ = catch_unwind(AssertUnwindSafe(callback.0));
            }
        }
    }

    /// Waits until all callbacks have returned, unless it is called from one of them.
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
