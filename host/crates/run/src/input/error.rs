//! Errors of the input as a whole. An item that cannot be read is a failure of that item.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::stdio::StreamError;
use wasmpool_core::text::ForeignText;

/// The reason why the input cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    #[error("the input {} is a directory; name its files", ForeignText::of(.0))]
    Directory(PathBuf),
    #[error("the input {} is a socket; name a file or a pipe", ForeignText::of(.0))]
    Socket(PathBuf),
    /// A file cannot be read, which was found out before anything ran.
    #[error("cannot read the input {}", ForeignText::of(.path))]
    File { path: PathBuf, source: Arc<io::Error> },
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// Reading failed. The error behind it names the file.
    #[error("cannot read the input")]
    Read(#[source] Arc<io::Error>),
}

impl From<io::Error> for InputError {
    fn from(e: io::Error) -> InputError {
        InputError::Read(Arc::new(e))
    }
}

/// Error: an input, which is named, cannot be read twice, as it is no file on a disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no file on a disk")]
pub struct ReadOnce(pub String);
