//! Exit codes.

use std::process::ExitCode;

/// How the command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Every item succeeded.
    Success,
    /// The run finished; some items failed.
    Failures,
    /// Wrong usage, unreadable input, or a task that can't be loaded.
    Usage,
    /// Interrupted by this signal.
    Signal(i32),
    /// Nobody reads the output any more, as if SIGPIPE had ended it.
    OutputClosed,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Success => 0,
            Exit::Failures => 1,
            Exit::Usage => 2,
            Exit::Signal(signal) => 128 + signal as u8,
            Exit::OutputClosed => 141,
        })
    }
}
