//! Results in files of their own, for those that memory should not hold.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::names::{NameError, NameTemplate, NamedItem};
use crate::aside::{OpenDirectory, UnnamedFile, is_aside};
use crate::links::target_of;
use crate::place::directory_of;
use crate::supervisor::OutcomeRecord;
use wasmpool_core::failed;
use wasmpool_core::policy::ItemEncoding;
use wasmpool_core::text::ForeignText;
use wasmpool_ipc::batch::ItemPlace;
use wasmpool_scheduler::WorkerId;

/// Prefix of the name of an incomplete result.
const UNFINISHED: &str = ".part-";

/// A directory with a file for each item that succeeded, named by its index or by a template. A file exists only when it is
/// complete.
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
    names: Option<NameTemplate>,
    /// The form of the items, of which names are made.
    form: ItemEncoding,
    /// True once an item had another index than its place in this run.
    mixed: bool,
    /// Number of items that were read by the run which this one continues. What has the name of such an item may be its
    /// own result, which the earlier run wrote and did not record.
    before: u64,
    /// The names of results of these items.
    taken: HashSet<String>,
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
    #[error(
        "the directory {} with the results so far is gone; put it back, or begin anew with another journal",
        ForeignText::of(.0)
    )]
    Missing(PathBuf),
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

/// Returns the name that a template makes of an item.
fn of_item(
    names: &NameTemplate,
    record: &mut OutcomeRecord<'_>,
    takes_failed: bool,
    form: ItemEncoding,
) -> Result<String, NameError> {
    let index = record.index;
    if let Some(ItemPlace::Named { source, .. }) = record.item.place() {
        return names.of(NamedItem { index, text: Some(source), json: None });
    }
    let (_, bytes) = record.item.bytes();
    let (bytes, form) = match takes_failed.then(|| failed::read(bytes)).flatten() {
        Some(Ok(item)) => item,
        Some(Err(_)) | None => (Cow::Borrowed(bytes), form),
    };
    let (text, json) = match form {
        ItemEncoding::Bytes => (str::from_utf8(&bytes).ok().map(Cow::Borrowed), None),
        ItemEncoding::Csv | ItemEncoding::Typed => (None, Some(&*bytes)),
        ItemEncoding::Json => (text_of(&bytes), Some(&*bytes)),
    };
    names.of(NamedItem { index, text: text.as_deref(), json })
}

/// Returns the text of an item that is a string or a number in JSON.
fn text_of(json: &[u8]) -> Option<Cow<'_, str>> {
    match serde_json::from_slice(json).ok()? {
        serde_json::Value::String(text) => Some(text.into()),
        number @ serde_json::Value::Number(_) => Some(number.to_string().into()),
        _ => None,
    }
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
    /// Makes the directory, or accepts one that holds nothing but unfinished files of a killed run. A run that is
    /// `resumed` has its directory already.
    pub fn create(
        path: &Path,
        most: u64,
        names: Option<NameTemplate>,
        form: ItemEncoding,
        resumed: bool,
    ) -> Result<ResultFiles, ResultFilesError> {
        let failed = |source: io::Error| ResultFilesError::Io { path: path.to_owned(), source };
        match resumed {
            true if !path.exists() => return Err(ResultFilesError::Missing(path.to_owned())),
            true => {}
            false => fs::create_dir_all(path).map_err(failed)?,
        }
        let directory = OpenDirectory::open(path).map_err(failed)?;
        if !directory.lock() {
            return Err(ResultFilesError::InUse(path.to_owned()));
        }
        let mut is_empty = true;
        directory.each(|name| is_empty &= is_left(&directory, name)).map_err(failed)?;
        if !is_empty && !resumed {
            return Err(ResultFilesError::NotEmpty(path.to_owned()));
        }
        Ok(ResultFiles {
            path: path.to_owned(),
            directory,
            most,
            begun: BTreeMap::new(),
            names,
            form,
            mixed: false,
            before: 0,
            taken: HashSet::new(),
        })
    }

    /// Returns the directory.
    pub fn directory(&self) -> OpenDirectory {
        self.directory.clone()
    }

    /// Sets the number of items that were read by the run which this one continues.
    pub fn continues_behind(&mut self, items: u64) {
        self.before = items;
    }

    /// Chooses the name for the result of the item that this run has read as its `nth`. Its index is another where it
    /// failed in an earlier run.
    ///
    /// # Errors
    ///
    /// Fails if the item gives no name, or the name of a result that is there.
    pub fn choose(
        &mut self,
        record: &mut OutcomeRecord<'_>,
        takes_failed: bool,
        nth: u64,
    ) -> Result<String, NameError> {
        let index = record.index;
        let name = match &self.names {
            Some(names) => of_item(names, record, takes_failed, self.form)?,
            None => {
                self.mixed |= nth != index;
                if !self.mixed {
                    return Ok(index.to_string());
                }
                index.to_string()
            }
        };
        // The directory was empty when the first run began, so whatever has the name is the result of another item.
        let is_taken = match nth < self.before {
            true => !self.taken.insert(name.clone()),
            false => self.directory.look_at(name.as_str()).is_ok(),
        };
        match is_taken {
            false => Ok(name),
            true => Err(NameError::Taken(name)),
        }
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
        let is_ours = self.names.is_some()
            || is_aside(name, UNFINISHED)
            || (!name.is_empty() && name.bytes().all(|b| b.is_ascii_digit()));
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
    pub fn finish(&mut self, worker: WorkerId, name: &str, rest: &[u8]) -> io::Result<PathBuf> {
        self.end(worker, name, rest).map_err(|e| self.name(e))
    }

    fn end(&mut self, worker: WorkerId, name: &str, rest: &[u8]) -> io::Result<PathBuf> {
        let mut begun = match self.begun.remove(&worker) {
            Some(begun) => begun,
            None => self.begin()?,
        };
        begun.aside.file.write_all(rest)?;
        begun.aside.place(name)?;
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
