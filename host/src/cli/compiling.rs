//! Messages about compiling, which can take a while before anything else is to be seen.

use std::io::{IsTerminal, stderr};
use std::os::fd::{AsFd, BorrowedFd};
use wasmpool_run::tell;

use nix::sys::eventfd::EventFd;

use super::args::Verbosity;
use super::hints;
use wasmpool_core::artifact::InitOnce;
use wasmpool_core::text::{Foreign, Lines, bytes_said};
use wasmpool_run::cgroup::Room;
use wasmpool_run::compile::{Prepared, Watch};
use wasmpool_run::error::Error;
use wasmpool_run::stdio::tell_text;

/// A watcher that prints these messages on standard error.
pub struct Notice<'a> {
    /// True if messages are erased again, as on a terminal.
    passing: bool,
    verbose: bool,
    quiet: bool,
    /// True while a message that is to be erased is on the terminal.
    shown: bool,
    stop: Option<&'a EventFd>,
}

impl<'a> Notice<'a> {
    pub fn new(verbosity: Verbosity) -> Notice<'a> {
        let passing = stderr().is_terminal() && !verbosity.quiet;
        let Verbosity { verbose, quiet } = verbosity;
        Notice { passing, verbose: verbose > 0 && !quiet, quiet, shown: false, stop: None }
    }

    /// Turns off messages that are erased again, as for `--progress never`.
    pub fn still(self, still: bool) -> Notice<'a> {
        Notice { passing: self.passing && !still, ..self }
    }

    /// Returns a notice that gives up waiting once `stop` is readable.
    pub fn until(self, stop: &EventFd) -> Notice<'_> {
        let Notice { passing, verbose, quiet, shown, stop: _ } = self;
        Notice { stop: Some(stop), passing, verbose, quiet, shown }
    }

    /// Reports the bound on the memory of all child processes together, or why there is none.
    pub fn bounded(&self, room: &Room) {
        if self.verbose {
            match room.found() {
                Ok((folder, bytes)) => {
                    tell!("wasmpool: the workers may have {} together: {}", bytes_said(bytes), Foreign::of(&folder));
                }
                Err(why) => tell!("wasmpool: no cgroup bounds the memory of all workers: {}", Lines(&why)),
            }
        }
    }

    /// Reports whether the task was compiled or came from the cache.
    pub fn had(&self, task: &str, prepared: &Prepared) {
        if self.verbose {
            let task = Foreign::of(task);
            match prepared.compiled {
                Some(time) => tell!("wasmpool: compiled {task} in {time:.1?}"),
                None => tell!("wasmpool: {task} was compiled before; it comes from the cache"),
            }
            if let Some(why) = &prepared.unkept {
                tell!("wasmpool: it will be compiled again the next time: {}", Foreign::of(why));
            }
            if let Some(InitOnce::EachTime(why)) = &prepared.meta.init {
                tell!("wasmpool: there is no snapshot: init runs in each instance ({})", Foreign::of(why));
            }
        }
    }
}

impl Watch for Notice<'_> {
    fn again(&mut self, why: &Error) {
        if !self.quiet {
            tell!("wasmpool: {}; it is tried again", Lines(&hints::message(why)));
        }
    }

    fn compiling(&mut self) {
        if self.passing {
            self.shown = true;
            tell_text("wasmpool: compiling the task …");
        } else if self.verbose {
            tell!("wasmpool: compiling the task");
        }
    }

    fn compiled(&mut self) {
        if std::mem::take(&mut self.shown) {
            // Returns to the start of the line, and clears it.
            tell_text("\r\x1b[K");
        }
    }

    fn stop(&self) -> Option<BorrowedFd<'_>> {
        self.stop.map(AsFd::as_fd)
    }
}
