//! What a run writes lies where the task cannot reach it.
//!
//! A task that may write there could change the results of other items while the run goes on, and its own journal. One that
//! may only read there sees what became of other items, so that no item is by itself any more.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::grants::Directory;
use crate::links::leads_to;
use crate::place::FileId;
use crate::text::Foreign;

/// Directories that the task is given.
#[derive(Debug)]
pub struct Granted<'a>(Vec<(FileId, u64, &'a Directory)>);

impl<'a> Granted<'a> {
    pub fn of(directories: &'a [Directory]) -> Granted<'a> {
        let there = |directory: &'a Directory| {
            let metadata = fs::metadata(&directory.host).ok()?;
            Some((FileId::of(&metadata), metadata.dev(), directory))
        };
        Granted(directories.iter().filter_map(there).collect())
    }

    /// Refuses what an option names where it lies in one of them, or is to be made there.
    pub fn check(&self, option: &str, path: &Path) -> Result<(), String> {
        let shown = Foreign::of(path);
        if let Some(directory) = self.holding(path) {
            return Err(format!("{option} {shown} lies in {}; name one that does not", told(directory)));
        }
        match self.may_link(path) {
            Some(directory) => Err(format!(
                "{option} {shown} has several names (hard links), and one of them may lie in {}; name another file",
                told(directory)
            )),
            None => Ok(()),
        }
    }

    /// Refuses a standard stream that was redirected to a file in one of them: output where `results` go there, and error.
    pub fn check_streams(&self, results: bool) -> Result<(), String> {
        let of_stream = |number: i32| {
            let path = PathBuf::from(format!("/proc/self/fd/{number}"));
            fs::metadata(&path).is_ok_and(|metadata| metadata.is_file()).then(|| self.holding(&path)).flatten()
        };
        if let Some(directory) = of_stream(libc::STDOUT_FILENO).filter(|_| results) {
            return Err(format!("standard output goes to a file in {}; redirect it elsewhere", told(directory)));
        }
        // Messages are no results: to read them is of no use to a task, to change them is.
        match of_stream(libc::STDERR_FILENO).filter(|directory| directory.writable) {
            Some(directory) => {
                Err(format!("standard error goes to a file in {}; redirect it elsewhere", told(directory)))
            }
            None => Ok(()),
        }
    }

    /// The one that a path leads into, if one does; of several the one that may be written to.
    fn holding(&self, path: &Path) -> Option<&'a Directory> {
        if self.0.is_empty() {
            return None;
        }
        // What is there and has no path, such as a pipe of `/dev/stdout`, lies nowhere.
        let place = if path.exists() { path.canonicalize() } else { leads_to(path) }.ok()?;
        let above: Vec<FileId> =
            place.ancestors().filter_map(|above| fs::metadata(above).ok()).map(|found| FileId::of(&found)).collect();
        let holding = self.0.iter().filter(|(id, ..)| above.contains(id)).map(|(.., directory)| *directory);
        holding.max_by_key(|directory| directory.writable)
    }

    /// One in which a file may have another name.
    fn may_link(&self, path: &Path) -> Option<&'a Directory> {
        let metadata = fs::metadata(path).ok().filter(|metadata| metadata.is_file() && metadata.nlink() > 1)?;
        self.0.iter().find(|(_, device, _)| *device == metadata.dev()).map(|(.., directory)| *directory)
    }
}

fn told(directory: &Directory) -> String {
    let (mode, reach) = match directory.writable {
        true => (":rw", "which the task may write to while the run goes on"),
        false => ("", "where the task could read what became of other items"),
    };
    let (host, guest) = (Foreign::of(&directory.host), Foreign::of(&directory.guest));
    format!("the directory of --dir {host}::{guest}{mode}, {reach}")
}
