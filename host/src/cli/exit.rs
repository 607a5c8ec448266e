//! Exit codes.

use std::path::Path;

use super::apart::ApartError;
use super::hints;
use super::manifest::ManifestError;
use super::new::NewError;
use super::report::ReportError;
use super::resolve::UsageError;
use super::spec::{GrantSpec, RunSpec};
use super::stream::FilesError;
use wasmpool_run::compile::CacheError;
use wasmpool_run::error::{Error, with_sources};
use wasmpool_run::input::InputError;
use wasmpool_run::output::TargetError;

/// The way in which a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Every item succeeded.
    Success,
    /// The run finished; some items failed.
    Failures,
    /// Wrong usage, unreadable input, or a task that can't be loaded.
    Usage,
    /// Ended by `--halt`.
    Halted,
    /// An earlier run had finished, with this code, and nothing was left to do.
    Finished(u8),
    /// The sandbox that was asked for is not available on this machine.
    Sandbox,
    /// Interrupted by this signal.
    Signal(i32),
    /// Nobody reads the output any more; the command ends as if by SIGPIPE.
    OutputClosed,
}

impl Exit {
    /// Returns the exit of a command that did nothing because of this error.
    fn of(error: &Error) -> Exit {
        match error {
            Error::Sandbox(_) | Error::SandboxOfHost { .. } => Exit::Sandbox,
            _ => Exit::Usage,
        }
    }

    pub fn code(self) -> u8 {
        match self {
            Exit::Success => 0,
            Exit::Failures => 1,
            Exit::Usage => 2,
            Exit::Halted => 3,
            Exit::Finished(code) => code,
            Exit::Sandbox => 4,
            Exit::Signal(signal) => 128 + signal as u8,
            Exit::OutputClosed => 141,
        }
    }
}

/// The reason why a command did nothing, and the way it ends.
#[derive(Debug)]
pub struct Stop {
    pub exit: Exit,
    pub message: String,
}

impl From<String> for Stop {
    fn from(message: String) -> Stop {
        Stop { exit: Exit::Usage, message }
    }
}

/// Makes stops for wrong usage of errors of these types, with all that is behind them.
macro_rules! wrong_usage {
    ($($error:ty),* $(,)?) => { $(
        impl From<$error> for Stop {
            fn from(error: $error) -> Stop {
                Stop { exit: Exit::Usage, message: with_sources(&error) }
            }
        }
    )* };
}

wrong_usage!(ApartError, CacheError, InputError, ManifestError, NewError, ReportError, TargetError, UsageError);

impl From<FilesError> for Stop {
    fn from(error: FilesError) -> Stop {
        Stop { exit: Exit::Usage, message: hints::message_of_files(&error) }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::of_task(&error, None)
    }
}

impl Stop {
    /// Makes the stop for a run that failed with this error, with what its plugin has to do with it.
    pub fn of_spec<I>(error: &Error, spec: &RunSpec<I>) -> Stop {
        let stop = Stop::of_run(error, &spec.grants);
        let of_plugin = spec.plugin.as_deref().and_then(|plugin| hints::of_plugin(error, plugin, Some(&spec.work)));
        stop.with(of_plugin)
    }

    /// Makes the stop for a task that cannot be read or compiled, which the file of this plugin may name.
    pub fn of_task(error: &Error, plugin: Option<&Path>) -> Stop {
        let stop = Stop { exit: Exit::of(error), message: hints::message(error) };
        stop.with(plugin.and_then(|plugin| hints::of_plugin(error, plugin, None)))
    }

    /// Adds a line that helps, if there is one.
    pub fn with(self, hint: Option<String>) -> Stop {
        match hint {
            Some(hint) => Stop { message: format!("{}\n  {hint}", self.message), ..self },
            None => self,
        }
    }

    /// Makes the stop for a run with these grants that failed with this error.
    pub fn of_run(error: &Error, grants: &GrantSpec) -> Stop {
        Stop { exit: Exit::of(error), message: hints::message_of_run(error, grants) }
    }
}
