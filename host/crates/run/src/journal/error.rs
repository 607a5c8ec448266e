//! Errors of a journal, because of which a run does not begin or continue.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::identity;
use crate::input::InputError;
use wasmpool_core::text::{ForeignText, ShellWord, bytes_given};

/// The reason why a run cannot continue with its journal.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    #[error("cannot open the journal {}", ForeignText::of(.path))]
    Open { path: PathBuf, source: Arc<io::Error> },
    #[error("the journal {} is no file on a disk; name one", ForeignText::of(.0))]
    NoFile(PathBuf),
    /// It is not empty, and was not opened to be resumed.
    #[error("the journal {} is of a run already; to start anew, remove it or name another", ForeignText::of(.0))]
    Begun(PathBuf),
    #[error("the file {} is no journal; name another", ForeignText::of(.0))]
    NoJournal(PathBuf),
    #[error(
        "the journal {} is of another version of wasmpool: finish its run with that one, or name another",
        ForeignText::of(.0)
    )]
    OtherVersion(PathBuf),
    /// A complete record follows damage at this byte; with `first`, nothing before it is of use.
    #[error(
        "the journal {} is damaged at byte {at}: put back a copy that is whole{}, or remove it to start anew; \
         nothing was touched",
        ForeignText::of(.path), cut(.path, *.at, *.first)
    )]
    Damaged { path: PathBuf, at: u64, first: bool },
    #[error("cannot lock the journal {}", ForeignText::of(.path))]
    Lock { path: PathBuf, source: Arc<io::Error> },
    #[error("another run uses the journal {}; wait for its end, or name another", ForeignText::of(.0))]
    InUse(PathBuf),
    /// Another run has replaced it while it was opened.
    #[error("another run uses the journal {}", ForeignText::of(.0))]
    Replaced(PathBuf),
    /// It is of a run that differs from this one in `name`.
    #[error(
        "the journal {} is of {}; run it as before, or name another journal",
        ForeignText::of(.path), of_run(.name, .ours, .theirs)
    )]
    OtherRun { path: PathBuf, name: String, ours: String, theirs: String },
    #[error(transparent)]
    Input(#[from] InputError),
    /// The input does not begin with the `began` items that were read before.
    #[error(
        "the input is not the one that the journal is of: that one began with {began} items, and this one {}; give the same \
         input, or name another journal",
        .ends.map_or_else(|| "has others there".to_owned(), |ends| format!("ends after {ends}"))
    )]
    OtherInput { began: u64, ends: Option<u64> },
    #[error("cannot go on with {}", ForeignText::of(.path))]
    GoOn { path: PathBuf, source: Arc<io::Error> },
    /// A file that was written before has changed.
    #[error(
        "{} is not what the journal says was written: {change}; put it back, or remove the journal to start anew",
        ForeignText::of(.path)
    )]
    OtherOutput { path: PathBuf, change: OutputChange },
    #[error("cannot write the journal")]
    Write(#[source] Arc<io::Error>),
}

impl JournalError {
    /// Makes the error for a journal that cannot be written.
    pub fn write(e: io::Error) -> JournalError {
        JournalError::Write(Arc::new(e))
    }
}

/// How a file differs from what was written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutputChange {
    #[error("it is not there")]
    Missing,
    #[error("it has {length} bytes, of {written}")]
    Shorter { length: u64, written: u64 },
    #[error("it has {} bytes more than it had at the end of the run (truncate -s {written} takes them off)", .length - .written)]
    Longer { length: u64, written: u64 },
    #[error("it is another file by now")]
    Replaced,
    #[error("its bytes up to {written} are others")]
    Content { written: u64 },
}

/// Returns how to cut off what is damaged, where something is left then.
fn cut(path: &Path, at: u64, first: bool) -> String {
    match first {
        true => String::new(),
        false => format!(
            ", cut it there (truncate -s {at} -- {}) to have done again what was done since",
            ShellWord::of(path)
        ),
    }
}

fn of_run(name: &str, ours: &str, theirs: &str) -> String {
    match name {
        identity::TASK => "another task (its content is not the same)".to_owned(),
        // Sizes are written as bytes.
        _ if name.ends_with("memory") || name.ends_with("max-output") => {
            let said = |size: &str| size.parse().map_or_else(|_| ForeignText::of(size).to_string(), bytes_given);
            format!("a run with {name} {}, and this one has {}", said(theirs), said(ours))
        }
        _ => format!("a run with {name} {}, and this one has {}", ForeignText::of(theirs), ForeignText::of(ours)),
    }
}
