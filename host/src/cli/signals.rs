//! Signals of a run: SIGINT (Ctrl-C), SIGTERM and SIGHUP (the terminal is gone) become events, SIGTSTP (^Z) stops the workers
//! too.

use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, raise, signal, sigprocmask};

use wasmpool_core::text::MessageLines;
use wasmpool_run::cgroup;
use wasmpool_run::clock;
use wasmpool_run::error::Error;
use wasmpool_run::scarce::{patiently, ring, start_thread};
use wasmpool_run::spawn::signal_children;
use wasmpool_run::stdio::clear_status;
use wasmpool_run::tell;

/// Time that the end of a run may take after it was requested twice: the writing thread may be stuck on a reader that
/// is gone.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What is said at the first Ctrl-C of a run.
pub const STOPPING: &str = "finishing what runs, and starting nothing more; Ctrl-C again ends it at once";

/// Signals for code that runs before there is a mailbox.
pub struct Signals {
    /// An event that is readable once there was a signal.
    pub came: EventFd,
    last: AtomicI32,
    /// True while the first signal ends the program at once: there is nothing to finish.
    at_once: AtomicBool,
}

impl Signals {
    /// Returns the last signal, or 0.
    pub fn last(&self) -> i32 {
        self.last.load(Ordering::Relaxed)
    }

    /// Runs `act`, during which a signal ends the program at once: for instance a read before anything runs. So does one that
    /// came just before.
    pub fn leaving_at_once<T>(&self, act: impl FnOnce() -> T) -> T {
        // The thread that waits for signals notes one first, and looks at this afterwards: one of the two sees the other.
        self.at_once.store(true, Ordering::SeqCst);
        if let Ok(signal) = Signal::try_from(self.last.load(Ordering::SeqCst)) {
            exit(signal);
        }
        let done = act();
        self.at_once.store(false, Ordering::SeqCst);
        done
    }
}

/// Restores the default action of SIGCHLD, so that children can be waited for. It is inherited from a parent that
/// ignores SIGCHLD, and the kernel would then discard how children ended.
pub fn hear_of_children() {
    // SAFETY: the default action runs no code of this program.
    let _ = unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) };
}

/// Calls `tell` for SIGINT, SIGTERM and SIGHUP from now on, unless they were ignored when this program was started, as by
/// `nohup` or for a background job of a script: then they stay ignored. The second SIGINT, or the first of the others, ends
/// the program soon, whatever it does.
pub fn watch_signals(tell: impl Fn(i32) + Send + 'static) -> Result<Arc<Signals>, Error> {
    watch(|signal| if signal == Signal::SIGINT { 1 } else { 2 }, tell)
}

/// Does what [`watch_signals`] does, for a program that finishes what it has at the first signal, whichever it is. `leave` is called
/// with true for the first.
#[cfg(feature = "hosts")]
pub fn watch_signals_of_service(leave: impl Fn(bool) + Send + 'static) -> Result<Arc<Signals>, Error> {
    let is_first = AtomicBool::new(true);
    watch(|_| 1, move |_| leave(is_first.swap(false, Ordering::SeqCst)))
}

/// Calls `tell` for signals. Those whose weights add up to 2 end the program soon.
fn watch(weight: fn(Signal) -> u32, tell: impl Fn(i32) + Send + 'static) -> Result<Arc<Signals>, Error> {
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    let came = patiently(None, || EventFd::from_flags(flags).map_err(io::Error::from))?;
    let signals = Arc::new(Signals { came, last: AtomicI32::new(0), at_once: AtomicBool::new(false) });
    let told = signals.clone();
    let heard = heard();
    // Blocked in every thread that is started from here on, and in children: a service manager that sends SIGTERM to all
    // processes at once does not cost the items that run.
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&heard), None).map_err(io::Error::from)?;
    start_thread("signals", move || {
        let mut times = 0;
        while let Ok(signal) = heard.wait() {
            if signal == Signal::SIGTSTP {
                suspend();
                continue;
            }
            times += weight(signal);
            told.last.store(signal as i32, Ordering::SeqCst);
            if told.at_once.load(Ordering::SeqCst) {
                exit(signal);
            }
            ring(&told.came);
            tell(signal as i32);
            if times >= 2 {
                std::thread::sleep(LAST_WORDS);
                exit(signal);
            }
        }
    })?;
    Ok(signals)
}

/// Runs `start`, during which the signals that [`watch_signals`] waits for are blocked, so that children which it starts
/// never get them.
pub fn kept_from_children<T>(start: impl FnOnce() -> T) -> T {
    let before = heard().thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let started = start();
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
    started
}

/// Ends the program at the first SIGINT, SIGTERM or SIGHUP from now on, for a command that has nothing to finish. The default action
/// would leave the cgroup of its children behind. It is kept only where no thread can be started.
pub fn leave_at_once() {
    let heard = heard();
    // Blocked in every thread, as above.
    if sigprocmask(SigmaskHow::SIG_BLOCK, Some(&heard), None).is_err() {
        return;
    }
    let waiting = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        while let Ok(signal) = heard.wait() {
            match signal {
                Signal::SIGTSTP => suspend(),
                signal => exit(signal),
            }
        }
    });
    if waiting.is_err() {
        let _ = sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&heard), None);
    }
}

/// Returns the signals that were not ignored when this program was started.
fn heard() -> SigSet {
    let all = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGTSTP];
    all.into_iter().filter(|&signal| !is_ignored(signal)).collect()
}

/// Ends the program at once. Its children would end with it, but their cgroup would stay.
fn exit(signal: Signal) -> ! {
    clear_status();
    cgroup::remove_now(|| signal_children(Signal::SIGKILL));
    if let Some(word) = LastWord::kept().take() {
        tell!("wasmpool: {}", MessageLines(&word));
    }
    std::process::exit(128 + signal as i32)
}

/// What is said if a signal ends the program at once while this is kept: what it then leaves undone.
#[derive(Debug)]
pub struct LastWord(());

impl LastWord {
    /// Keeps a line. There is one at a time.
    pub fn keep(line: String) -> LastWord {
        *LastWord::kept() = Some(line);
        LastWord(())
    }

    fn kept() -> MutexGuard<'static, Option<String>> {
        static KEPT: Mutex<Option<String>> = Mutex::new(None);
        KEPT.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LastWord {
    fn drop(&mut self) {
        *LastWord::kept() = None;
    }
}

fn is_ignored(signal: Signal) -> bool {
    let mut now = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action, the call only writes the present one, completely if it succeeds.
    unsafe {
        libc::sigaction(signal as i32, std::ptr::null(), now.as_mut_ptr()) == 0
            && now.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// Stops this process and its children, which a terminal's ^Z does not reach. Returns when the process is continued;
/// the time in between is not counted.
fn suspend() {
    clock::suspend(|| {
        // The shell writes its prompt there.
        clear_status();
        signal_children(Signal::SIGSTOP);
        // The signal is blocked here as everywhere, so it takes effect when the mask is lifted. Where nobody could
        // continue this process, it does nothing.
        let _ = raise(Signal::SIGTSTP);
        let stop = SigSet::from(Signal::SIGTSTP);
        let _ = stop.thread_unblock();
        let _ = stop.thread_block();
        signal_children(Signal::SIGCONT);
    });
}
