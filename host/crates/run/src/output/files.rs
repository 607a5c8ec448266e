//! Results in files of their own, for those that memory should not hold.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::aside::{OpenDirectory, UnnamedFile, is_aside};
use crate::links::target_of;
use crate::place::directory_of;
use wasmpool_core::text::ForeignText;
use wasmpool_scheduler::WorkerId;

/// Prefix of the name of an incomplete result.
const UNFINISHED: &str = ".part-";

/// A directory with a file for each item that succeeded, named by its index. A file exists only when it is complete.
///
/// The directory is opened once, and no link in it is followed: a task that may write to it cannot lead results elsewhere.
#[derive(Debug)]
pub struct ResultFiles {
    path: PathBuf,
    directory: OpenDirectory,
    /// Maximum bytes of a result.
    most: u64,
    /// Results of which parts have arrived.
    begun: BTreeMap<WorkerId, UnfinishedFile>,
}

/// The reason why results cannot be written to a directory.
#[derive(Debug, thiserror::Error)]
pub enum ResultFilesError {
    #[error("cannot write results to the directory {}", ForeignText::of(.path))]
    Io { path: PathBuf, source: io::Error },
    #[error("another run writes its results to the directory {}; name a new one", ForeignText::of(.0))]
    InUse(PathBuf),
    #[error("the directory {} for results is not empty; name a new one, or empty it", ForeignText::of(.0))]
    NotEmpty(PathBuf),
}

#[derive(Debug)]
struct UnfinishedFile {
    aside: UnnamedFile,
    bytes: u64,
}

/// Returns the paths of the unfinished files that a killed run has left in a directory of results, if it is there.
pub fn unfinished_in(path: &Path) -> Vec<PathBuf> {
    // A directory that cannot be read is refused when results are to be written there.
    let left = OpenDirectory::open(path).and_then(|directory| left_in(&directory)).unwrap_or_default();
    left.into_iter().map(|name| path.join(name)).collect()
}

fn left_in(directory: &OpenDirectory) -> io::Result<Vec<String>> {
    let mut left = Vec::new();
    directory.each(|name| {
        if is_left(directory, name) {
            left.push(name.to_owned());
        }
    })?;
    Ok(left)
}

fn is_left(directory: &OpenDirectory, name: &str) -> bool {
    is_aside(name, UNFINISHED) && directory.look_at(name).is_ok_and(|found| found.is_file)
}

impl ResultFiles {
    /// Makes the directory, or accepts one that holds nothing but unfinished files of a killed run.
    pub fn create(path: &Path, most: u64) -> Result<ResultFiles, ResultFilesError> {
        let failed = |source: io::Error| ResultFilesError::Io { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(failed)?;
        let directory = OpenDirectory::open(path).map_err(failed)?;
        if !directory.lock() {
            return Err(ResultFilesError::InUse(path.to_owned()));
        }
        let mut is_empty = true;
        directory.each(|name| is_empty &= is_left(&directory, name)).map_err(failed)?;
        if !is_empty {
            return Err(ResultFilesError::NotEmpty(path.to_owned()));
        }
        Ok(ResultFiles { path: path.to_owned(), directory, most, begun: BTreeMap::new() })
    }

    /// Removes the unfinished files of a killed run. To be called before any result is written.
    pub fn remove_left(&self) -> Result<(), ResultFilesError> {
        let removed = left_in(&self.directory)
            .and_then(|left| left.iter().try_for_each(|name| self.directory.remove(name.as_str())));
        removed.map_err(|source| ResultFilesError::Io { path: self.path.clone(), source })
    }

    /// Returns true if a file of this path lies in the directory, where a result could take its name.
    pub fn may_replace(&self, path: &Path) -> bool {
        let path = &target_of(path).unwrap_or_else(|_| path.to_owned());
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_ours = is_aside(name, UNFINISHED) || (!name.is_empty() && name.bytes().all(|b| b.is_ascii_digit()));
        is_ours && self.directory.is(directory_of(path))
    }

    /// Adds bytes to the result of the item that a worker is running. Returns false if that is too much.
    pub fn part(&mut self, worker: WorkerId, bytes: &[u8]) -> io::Result<bool> {
        self.append(worker, bytes).map_err(|e| self.name(e))
    }

    fn append(&mut self, worker: WorkerId, bytes: &[u8]) -> io::Result<bool> {
        if !self.begun.contains_key(&worker) {
            let begun = self.begin()?;
            self.begun.insert(worker, begun);
        }
        let Some(begun) = self.begun.get_mut(&worker) else {
            return Ok(false);
        };
        begun.bytes += bytes.len() as u64;
        if begun.bytes > self.most {
            return Ok(false);
        }
        begun.aside.file.write_all(bytes)?;
        Ok(true)
    }

    fn begin(&self) -> io::Result<UnfinishedFile> {
        Ok(UnfinishedFile { aside: self.directory.aside(UNFINISHED, 0o666)?, bytes: 0 })
    }

    /// Ends a result with the bytes that are still missing, and returns its path.
    pub fn finish(&mut self, worker: WorkerId, index: u64, rest: &[u8]) -> io::Result<PathBuf> {
        self.end(worker, index, rest).map_err(|e| self.name(e))
    }

    fn end(&mut self, worker: WorkerId, index: u64, rest: &[u8]) -> io::Result<PathBuf> {
        let mut begun = match self.begun.remove(&worker) {
            Some(begun) => begun,
            None => self.begin()?,
        };
        begun.aside.file.write_all(rest)?;
        let name = index.to_string();
        begun.aside.place(&name)?;
        Ok(self.path.join(name))
    }

    fn name(&self, e: io::Error) -> io::Error {
        io::Error::new(e.kind(), format!("{}: {e}", ForeignText::of(&self.path)))
    }

    /// Drops the parts of a result that was not completed.
    pub fn forget(&mut self, worker: WorkerId) {
        self.begun.remove(&worker);
    }
}
