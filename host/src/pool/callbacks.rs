//! The thread that runs callbacks, so that none of them can delay the supervisors or take the pool down.

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

thread_local! {
    /// True while this thread runs a callback.
    static RUNS: Cell<bool> = const { Cell::new(false) };
}

/// Returns true if the calling thread is running a callback, of whichever pool.
pub(super) fn runs_here() -> bool {
    RUNS.get()
}

/// A function of the user's that is called once.
pub(super) struct Callback(pub Box<dyn FnOnce() + Send>);

impl Callback {
    fn run(self) {
        let before = RUNS.replace(true);
        // The panic hook has already printed the message.
        let _ = catch_unwind(AssertUnwindSafe(self.0));
        RUNS.set(before);
    }
}

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
            let run = move || callbacks.into_iter().for_each(Callback::run);
            *thread = thread::Builder::new().name("wasmpool-call".to_owned()).spawn(run).ok().map(|t| (sender, t));
        }
        match &*thread {
            Some((sender, _)) => {
                let _ = sender.send(callback);
            }
            // No thread is available: running the callback here is better than never running it.
            None => {
                drop(thread);
                callback.run();
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
