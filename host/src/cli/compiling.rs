//! Messages about compiling, which can take a while before anything else is to be seen.

use std::os::fd::{AsFd, BorrowedFd};
use wasmpool_run::tell;

use nix::sys::eventfd::EventFd;

use super::args::Verbosity;
use super::hints;
use super::terminal;
use wasmpool_core::artifact::InitOnce;
use wasmpool_core::text::{ForeignText, MessageLines, bytes_said};
use wasmpool_run::cgroup::Room;
use wasmpool_run::compile::{CompileWatcher, PreparedTask};
use wasmpool_run::error::{Error, with_sources};
use wasmpool_run::stdio::{Level, clear_status, show_status, writes_json};
use wasmpool_run::tell_as;

/// A watcher that prints these messages on standard error.
pub struct CompilingNotice<'a> {
    /// True if messages are erased again, as on a terminal.
    passing: bool,
    verbose: bool,
    quiet: bool,
    /// True while a message that is to be erased is on the terminal.
    shown: bool,
    stop: Option<&'a EventFd>,
}

impl<'a> CompilingNotice<'a> {
    pub fn new(verbosity: Verbosity) -> CompilingNotice<'a> {
        let passing = terminal::can_replace_lines() && !verbosity.quiet && !writes_json();
        let Verbosity { verbose, quiet, .. } = verbosity;
        CompilingNotice { passing, verbose: verbose > 0 && !quiet, quiet, shown: false, stop: None }
    }

    /// Turns off messages that are erased again, as for `--progress never`.
    pub fn without_passing_messages(self, without: bool) -> CompilingNotice<'a> {
        CompilingNotice { passing: self.passing && !without, ..self }
    }

    /// Returns a notice that gives up waiting once `stop` is readable.
    pub fn interruptible_by(self, stop: &EventFd) -> CompilingNotice<'_> {
        let CompilingNotice { passing, verbose, quiet, shown, stop: _ } = self;
        CompilingNotice { stop: Some(stop), passing, verbose, quiet, shown }
    }

    /// Reports the bound on the memory of all child processes together, or why there is none.
    pub fn bounded(&self, room: &Room) {
        if self.verbose {
            match room.found() {
                Ok((folder, bytes)) => {
                    tell!(
                        "wasmpool: the workers may have {} together: {}",
                        bytes_said(bytes),
                        ForeignText::of(&folder)
                    );
                }
                Err(why) => {
                    tell!("wasmpool: no cgroup bounds the memory of all workers: {}", MessageLines(&with_sources(&why)))
                }
            }
        }
    }

    /// Reports whether the task was compiled or came from the cache.
    pub fn report_prepared(&self, task: &str, prepared: &PreparedTask) {
        if self.verbose {
            let task = ForeignText::of(task);
            match prepared.compiled {
                Some(time) => tell!("wasmpool: compiled {task} in {time:.1?}"),
                None => tell!("wasmpool: {task} was compiled before; it comes from the cache"),
            }
            if let Some(why) = &prepared.unkept {
                tell!("wasmpool: it will be compiled again the next time: {}", ForeignText::of(&with_sources(why)));
            }
            if let Some(InitOnce::EachTime(why)) = &prepared.meta.init {
                tell!("wasmpool: there is no snapshot: init runs in each instance ({})", ForeignText::of(why));
            }
        }
    }
}

impl CompileWatcher for CompilingNotice<'_> {
    fn again(&mut self, why: &Error) {
        if !self.quiet {
            tell_as!(Level::Warning, &[], "wasmpool: {}; it is tried again", MessageLines(&hints::message(why)));
        }
    }

    fn compiling(&mut self) {
        if self.passing {
            self.shown = true;
            show_status("wasmpool: compiling the task …".to_owned());
        } else if self.verbose {
            tell!("wasmpool: compiling the task");
        }
    }

    fn compiled(&mut self) {
        if std::mem::take(&mut self.shown) {
            clear_status();
        }
    }

    fn stop(&self) -> Option<BorrowedFd<'_>> {
        self.stop.map(AsFd::as_fd)
    }
}
