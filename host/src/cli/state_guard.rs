//! A file beside that of `share serve --state`, which says who uses that file, and up to which number tokens may have been given.
//!
//! It is locked for as long as a server lives, and stays when it ends, also if it is killed: that of `--state` then knows nothing
//! of the tokens that were given since.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::exit::Stop;
use wasmpool_core::text::ForeignText;
use wasmpool_run::fresh::{NewFile, open_or_make};
use wasmpool_run::links::target_of;
use wasmpool_run::locked::lock;
use wasmpool_run::place::FileId;

/// Bytes of the file. It is written at once, so that it is as it was or as it is to be.
const LENGTH: usize = 128;

/// The file beside that of `--state`, which this process has locked.
#[derive(Debug)]
pub struct StateGuard {
    path: PathBuf,
    /// Removes the file again if nothing was written to it.
    _fresh: Option<NewFile>,
    file: File,
    tokens: u64,
}

/// What the file says.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Record {
    /// The process that uses the file of `--state`, or has used it last.
    process: u32,
    /// No token was given that is greater.
    tokens: u64,
}

impl StateGuard {
    /// Locks the file beside this one. There is none for a pipe or a device, which nothing begins with.
    pub fn take(state: &Path) -> Result<Option<StateGuard>, Stop> {
        let failed = |e: &dyn std::fmt::Display| {
            Stop::from(format!("cannot lock the file {} of --state: {e}", ForeignText::of(state)))
        };
        let Some(path) = beside(state).map_err(|e| failed(&e))? else { return Ok(None) };
        let named = |e: &dyn std::fmt::Display| failed(&format_args!("{}: {e}", ForeignText::of(&path)));
        let mut options = OpenOptions::new();
        // A link is somebody else's.
        options.read(true).write(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        loop {
            let (file, fresh) = open_or_make(&options, &path).map_err(|e| named(&e))?;
            let is_alone = lock(&file).map_err(|e| named(&e))?;
            let record = read(&file);
            if !is_alone {
                let process = record.ok().filter(|record| record.process > 0);
                let process = process.map_or_else(String::new, |record| format!(", process {},", record.process));
                return Err(Stop::from(format!(
                    "another server of shared objects{process} uses the file {} of --state: end it, or name another file",
                    ForeignText::of(state)
                )));
            }
            // Whoever had it may have removed it before it was locked here.
            let there = fs::metadata(&path).map(|found| FileId::of(&found));
            if there.ok() == Some(FileId::of(&file.metadata().map_err(|e| named(&e))?)) {
                let tokens = record.map_err(|e| named(&e))?.tokens;
                return Ok(Some(StateGuard { path, _fresh: fresh, file, tokens }));
            }
        }
    }

    /// Returns the greatest number that a token may have had.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Records that no token is greater than this one, before or after it is given; without one, that none was given.
    pub fn keep(&self, tokens: Option<u64>) -> Result<(), Stop> {
        let tokens = tokens.unwrap_or(self.tokens);
        let written = serde_json::to_string(&Record { process: std::process::id(), tokens }).map_err(io::Error::from);
        let written = written.and_then(|record| {
            self.file.write_all_at(format!("{record:<width$}\n", width = LENGTH - 1).as_bytes(), 0)?;
            self.file.sync_all()
        });
        written.map_err(|e| Stop::from(format!("cannot write {}: {e}", ForeignText::of(&self.path))))
    }
}

/// Returns the path of the file beside one.
fn beside(state: &Path) -> io::Result<Option<PathBuf>> {
    let target = match fs::metadata(state) {
        Ok(found) if !found.is_file() => return Ok(None),
        Ok(_) => state.canonicalize()?,
        Err(_) => target_of(state)?,
    };
    let mut name = target.into_os_string();
    name.push(".lock");
    Ok(Some(name.into()))
}

fn read(file: &File) -> io::Result<Record> {
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(Record::default());
    }
    let mut bytes = [0; LENGTH];
    let whole = length == LENGTH as u64 && file.read_exact_at(&mut bytes, 0).is_ok();
    let record = whole.then(|| serde_json::from_slice(&bytes).ok()).flatten();
    record
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "no server of shared objects has written it; remove it"))
}
