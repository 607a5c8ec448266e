//! Files of the run that lie where its task may write.
//!
//! Such a task could change the results of other items while the run goes on, and its own journal. The user may want
//! just that, as with one directory for everything that the run makes: so it is reported, and not refused.

use std::fs;
use std::path::{Path, PathBuf};
use wasmpool_run::tell;

use super::source::Sourced;
use wasmpool_core::text::{ForeignText, MessageLines};
use wasmpool_run::grants::DirectoryGrant;
use wasmpool_run::links::lands_in;
use wasmpool_run::place::FileId;

/// The directories that the task may write to.
#[derive(Debug)]
pub struct WritableGrants<'a> {
    ids: Vec<FileId>,
    directories: Vec<&'a Sourced<DirectoryGrant>>,
}

impl<'a> WritableGrants<'a> {
    pub fn of(directories: &'a [Sourced<DirectoryGrant>]) -> WritableGrants<'a> {
        let there = |directory: &'a Sourced<DirectoryGrant>| {
            Some((FileId::of(&fs::metadata(&directory.host).ok()?), directory))
        };
        let (ids, directories) = directories.iter().filter(|directory| directory.writable).filter_map(there).unzip();
        WritableGrants { ids, directories }
    }

    /// Prints a note if an option's path lies in one of them, or is to be made there. `said` is the option with its
    /// path.
    pub fn note_if_inside(&self, said: &str, path: &Path) {
        if let Some(directory) = self.holding(path) {
            tell!("wasmpool: {} lies in {}", MessageLines(said), describe(directory));
        }
    }

    /// Prints the same note for a file that standard output was redirected to.
    pub fn tell_of_output(&self) {
        let path = PathBuf::from(format!("/proc/self/fd/{}", libc::STDOUT_FILENO));
        let is_file = fs::metadata(&path).is_ok_and(|metadata| metadata.is_file());
        if let Some(directory) = is_file.then(|| self.holding(&path)).flatten() {
            tell!("wasmpool: standard output goes to a file in {}", describe(directory));
        }
    }

    /// Returns the granted directory that a path leads into, if there is one.
    fn holding(&self, path: &Path) -> Option<&'a Sourced<DirectoryGrant>> {
        lands_in(path, &self.ids).and_then(|nth| self.directories.get(nth).copied())
    }
}

fn describe(directory: &Sourced<DirectoryGrant>) -> String {
    let bound = format!("{}::{}:rw", ForeignText::of(&directory.host), ForeignText::of(&directory.guest));
    let option = directory.option_name_with("--dir", &bound);
    format!("the directory of {option}, where the task can change it while the run goes on")
}
