//! Results in files of their own (`--results`): what is more than memory should hold.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::scheduler::WorkerId;
use crate::text::Foreign;

/// A directory with a file for each item that succeeded, named by its index. A file is there whole or not at all.
#[derive(Debug)]
pub struct Files {
    directory: PathBuf,
    /// Bytes of a result, at most.
    most: u64,
    /// Results of which parts have come.
    begun: BTreeMap<WorkerId, Begun>,
}

#[derive(Debug)]
struct Begun {
    file: NamedTempFile,
    bytes: u64,
}

impl Files {
    /// Makes the directory, or takes one that is empty.
    pub fn create(directory: &Path, most: u64) -> Result<Files, String> {
        let shown = Foreign::of(directory);
        let failed = |e: io::Error| format!("cannot write results to the directory {shown}: {e}");
        fs::create_dir_all(directory).map_err(failed)?;
        if fs::read_dir(directory).map_err(failed)?.next().is_some() {
            return Err(format!("the directory {shown} of --results is not empty; name a new one, or empty it"));
        }
        Ok(Files { directory: directory.to_owned(), most, begun: BTreeMap::new() })
    }

    /// Takes bytes of the result that a worker has in work. Says `false` where that is too much.
    pub fn part(&mut self, worker: WorkerId, bytes: &[u8]) -> io::Result<bool> {
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
        begun.file.write_all(bytes)?;
        Ok(true)
    }

    /// A file without a name that counts, which goes if nobody gives it one.
    fn begin(&self) -> io::Result<Begun> {
        let mut like_any = tempfile::Builder::new();
        like_any.prefix(".part-").permissions(Permissions::from_mode(0o666));
        Ok(Begun { file: like_any.tempfile_in(&self.directory)?, bytes: 0 })
    }

    /// Ends a result with the bytes that are still missing, and says where it is.
    pub fn finish(&mut self, worker: WorkerId, index: u64, rest: &[u8]) -> io::Result<PathBuf> {
        let mut begun = match self.begun.remove(&worker) {
            Some(begun) => begun,
            None => self.begin()?,
        };
        begun.file.write_all(rest)?;
        let path = self.directory.join(index.to_string());
        begun.file.persist(&path)?;
        Ok(path)
    }

    /// Drops what has come of a result that is none.
    pub fn forget(&mut self, worker: WorkerId) {
        self.begun.remove(&worker);
    }
}
