//! Results in files of their own, for those that memory should not hold.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    /// True if the directory is that of an earlier run which this one continues.
    resumed: bool,
    /// True if a journal records which items have their results. Until it has, a result that was named has a second name by
    /// its item, so that a run that continues this one knows whose it is.
    marks: bool,
    /// What whoever keeps the journal knows of the directory.
    second_names: ResultMarks,
}

/// The reason why results cannot be written to a directory.
#[derive(Debug, thiserror::Error)]
pub enum ResultFilesError {
    #[error("cannot write results to the directory {}", ForeignText::of(.path))]
    Io { path: PathBuf, source: io::Error },
    #[error("results go to a directory, and {} is a file: name a new directory", ForeignText::of(.0))]
    NoDirectory(PathBuf),
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

/// Returns the second name of an item's result.
fn mark(item: u64) -> String {
    format!("{UNFINISHED}{item:016x}")
}

/// Returns the item whose result has this second name.
fn marked(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_prefix(UNFINISHED)?, 16).ok()
}

/// The directory of results as whoever keeps the journal knows it: the items whose results have a second name.
#[derive(Clone, Debug)]
pub struct ResultMarks {
    directory: OpenDirectory,
    marked: Arc<Mutex<BTreeSet<u64>>>,
}

impl ResultMarks {
    /// Has all results on disk.
    pub fn sync(&self) -> io::Result<()> {
        self.directory.sync_file_system()
    }

    fn marked(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.marked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the second names of the results of items that the journal has. Those that have none cost nothing.
    pub fn remove(&self, recorded: impl IntoIterator<Item = Range<u64>>) {
        let mut gone = Vec::new();
        for items in recorded {
            let mut marked = self.marked();
            let mut within = marked.split_off(&items.start);
            marked.append(&mut within.split_off(&items.end));
            gone.extend(within);
        }
        for item in gone {
            let _ = self.directory.remove(mark(item).as_str());
        }
    }
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
            false if path.is_file() => return Err(ResultFilesError::NoDirectory(path.to_owned())),
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
            second_names: ResultMarks { directory: directory.clone(), marked: Arc::default() },
            directory,
            most,
            begun: BTreeMap::new(),
            names,
            form,
            mixed: false,
            resumed,
            marks: false,
        })
    }

    /// Returns the directory for whoever keeps the journal.
    pub fn directory(&self) -> ResultMarks {
        self.second_names.clone()
    }

    /// Goes on where an earlier run with a journal stopped, if this one continues it: results of items that the journal does
    /// not have are removed, since these items run again. From here on results are marked until the journal has them.
    pub fn go_on(&mut self, is_done: impl Fn(u64) -> bool) -> io::Result<()> {
        self.marks = true;
        match self.resumed {
            true => self.remove_unrecorded(is_done).map_err(|e| self.name(e)),
            false => Ok(()),
        }
    }

    fn remove_unrecorded(&self, is_done: impl Fn(u64) -> bool) -> io::Result<()> {
        let left = left_in(&self.directory)?;
        let mut unrecorded = BTreeSet::new();
        for name in &left {
            let found = self.directory.look_at(name.as_str())?;
            if found.links > 1 && !marked(name).is_some_and(&is_done) {
                unrecorded.insert(found.inode);
            }
        }
        if !unrecorded.is_empty() {
            let mut results = Vec::new();
            self.directory.each(|name| {
                let is_one =
                    |name: &str| self.directory.look_at(name).is_ok_and(|found| unrecorded.contains(&found.inode));
                if !is_aside(name, UNFINISHED) && is_one(name) {
                    results.push(name.to_owned());
                }
            })?;
            results.iter().try_for_each(|name| self.directory.remove(name.as_str()))?;
        }
        left.iter().try_for_each(|name| self.directory.remove(name.as_str()))
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
        match self.directory.look_at(name.as_str()) {
            Err(_) => Ok(name),
            Ok(_) => Err(NameError::Taken(name)),
        }
    }

    /// Removes the unfinished files of a killed run that this one does not continue. To be called before any result is written.
    pub fn remove_left(&self) -> Result<(), ResultFilesError> {
        if self.resumed {
            return Ok(());
        }
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

    /// Ends a result with the bytes that are still missing, and returns its path. Its item is the `nth` of the run.
    pub fn finish(&mut self, worker: WorkerId, (nth, name): (u64, &str), rest: &[u8]) -> io::Result<PathBuf> {
        self.end(worker, nth, name, rest).map_err(|e| self.name(e))
    }

    fn end(&mut self, worker: WorkerId, nth: u64, name: &str, rest: &[u8]) -> io::Result<PathBuf> {
        let mut begun = match self.begun.remove(&worker) {
            Some(begun) => begun,
            None => self.begin()?,
        };
        begun.aside.file.write_all(rest)?;
        // Where the name is the item's index, a result that nobody has recorded is replaced by that of the same item.
        match self.marks && (self.names.is_some() || self.mixed) {
            true => {
                // Noted first: a name that is not there costs less than one that stays.
                self.second_names.marked().insert(nth);
                begun.aside.place_beside(&mark(nth), name)?;
            }
            false => begun.aside.place(name)?,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn named(path: &Path, resumed: bool) -> ResultFiles {
        let names = "{}".parse().expect("a template");
        ResultFiles::create(path, 100, Some(names), ItemEncoding::Bytes, resumed).expect("a directory")
    }

    fn names(path: &Path) -> Vec<String> {
        let entries = fs::read_dir(path).expect("a directory").map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<String> = entries.map(|name| name.into_string().expect("text")).collect();
        names.sort();
        names
    }

    #[test]
    fn a_result_that_is_named_by_its_index_has_no_second_name_to_be_removed() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let files = ResultFiles::create(folder.path(), 100, None, ItemEncoding::Bytes, false);
        let mut files = files.expect("a directory");
        files.go_on(|_| false).expect("nothing is there");
        files.end(0, 0, "0", b"a").expect("written");
        assert!(files.directory().marked().is_empty());
        assert_eq!(names(folder.path()), ["0"]);
    }

    #[test]
    fn a_run_that_continues_another_keeps_the_results_that_were_recorded_and_no_others() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let mut files = named(folder.path(), false);
        files.go_on(|_| false).expect("nothing is there");
        for (item, name) in ["a", "b", "c"].into_iter().enumerate() {
            files.end(0, item as u64, name, name.as_bytes()).expect("written");
        }
        files.directory().remove([Range { start: 0, end: 1 }]);
        let left: Vec<u64> = files.directory().marked().iter().copied().collect();
        assert_eq!(left, [1, 2], "these have a second name, and are looked for");
        drop(files);
        // The journal has two items more than were unmarked when the run was killed, of which one has no result.
        fs::write(folder.path().join("foreign"), "precious").expect("written");
        fs::write(folder.path().join(mark(7)), "unfinished").expect("written");
        let mut files = named(folder.path(), true);
        files.remove_left().expect("nothing is removed");
        files.go_on(|item| item < 2).expect("the rest is removed");
        assert_eq!(names(folder.path()), ["a", "b", "foreign"]);
        assert!(files.end(0, 2, "b", b"other").is_err(), "no result is replaced");
        assert_eq!(fs::read(folder.path().join("b")).expect("it is there"), b"b");
        assert_eq!(names(folder.path()), ["a", "b", "foreign"]);
    }
}
