//! Files that the run writes to: none of them is read as input, whatever its path is.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::place::SameFile;

/// The files that a run writes to. They are known once they are open; inputs are checked before that.
#[derive(Clone, Debug, Default)]
pub struct WrittenTo(Arc<OnceLock<KnownFiles>>);

#[derive(Debug)]
struct KnownFiles {
    files: Vec<SameFile>,
    /// The directory of results in files of their own, without links.
    results: Option<PathBuf>,
}

impl WrittenTo {
    /// Sets the files, once.
    pub fn set(&self, files: Vec<SameFile>, results: Option<&Path>) {
        let results = results.and_then(|path| path.canonicalize().ok());
        let _ = self.0.set(KnownFiles { files, results });
    }

    /// Returns an error if a file is one of them.
    pub fn check(&self, metadata: &Metadata) -> io::Result<()> {
        let same = SameFile::of_metadata(metadata);
        match self.0.get().zip(same).is_some_and(|(known, file)| known.files.contains(&file)) {
            true => Err(refused()),
            false => Ok(()),
        }
    }

    /// Returns an error if a path leads to a result in a file of its own.
    pub fn check_path(&self, path: &Path) -> io::Result<()> {
        let Some(results) = self.0.get().and_then(|known| known.results.as_deref()) else {
            return Ok(());
        };
        match path.canonicalize()?.parent() == Some(results) {
            true => Err(refused()),
            false => Ok(()),
        }
    }
}

fn refused() -> io::Error {
    io::Error::other("it is written to by this run")
}
