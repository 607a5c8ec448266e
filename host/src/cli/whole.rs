//! Files that a run writes once, at its end: each is there whole under its name, or as it was before.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use wasmpool_run::aside::{OpenDirectory, UnnamedFile};
use wasmpool_run::links::target_of;
use wasmpool_run::place::directory_of;

/// A file that is to be written at the end of a run.
#[derive(Debug)]
pub enum WholeFile {
    /// A file that gets its name, or replaces the one that has it, once it is complete.
    Aside(UnnamedFile, String),
    /// A pipe or a device, which cannot be replaced.
    Stream(File),
}

impl WholeFile {
    /// Makes a file for this path, so that whatever is wrong with it is found before anything runs. `unfinished` is the
    /// beginning of the name that it has for a moment, or while it is written where there are no files without a name.
    pub fn make(path: &Path, unfinished: &str) -> io::Result<WholeFile> {
        match fs::metadata(path) {
            _ if path.as_os_str().as_encoded_bytes().ends_with(b"/") => {
                Err(io::Error::other("it is the name of a directory"))
            }
            Ok(found) if found.is_dir() => Err(io::Error::other("it is a directory")),
            Ok(found) if !found.is_file() => File::options().write(true).open(path).map(WholeFile::Stream),
            found => {
                // A link is followed, as a file that is written in place would be.
                let target = match &found {
                    Ok(_) => path.canonicalize(),
                    Err(_) => target_of(path),
                }?;
                let Some(name) = target.file_name().and_then(|name| name.to_str()) else {
                    return Err(io::Error::other("it is not the name of a file"));
                };
                let directory = OpenDirectory::open(directory_of(&target))?;
                let mode = if found.is_ok() { 0o600 } else { 0o666 };
                let file = directory.nameless(unfinished, mode)?;
                if found.is_ok() {
                    replaces(&file.file, &target)?;
                }
                // It is not this run's task to tell of files that others left.
                let _ = directory.remove_left(unfinished);
                Ok(WholeFile::Aside(file, name.to_owned()))
            }
        }
    }

    /// Writes the file, and gives it its name once it is complete and on disk.
    pub fn write<E: From<io::Error>>(self, contents: impl FnOnce(&mut dyn Write) -> Result<(), E>) -> Result<(), E> {
        let write = |file: &File| {
            let mut out = BufWriter::new(file);
            contents(&mut out)?;
            Ok(out.flush()?)
        };
        match self {
            WholeFile::Stream(file) => write(&file),
            WholeFile::Aside(file, name) => write(&file.file).and_then(|()| {
                file.file.sync_all()?;
                Ok(file.place(&name)?)
            }),
        }
    }
}

/// Checks that a file may be written to, and gives the one that is to replace it the same owner and permissions.
fn replaces(file: &File, target: &Path) -> io::Result<()> {
    let there = File::options().write(true).open(target)?.metadata()?;
    let ours = file.metadata()?;
    if (there.uid(), there.gid()) != (ours.uid(), ours.gid()) {
        // Whoever may not give files away keeps it.
        let _ = fchown(file, Some(there.uid()), Some(there.gid()));
    }
    file.set_permissions(Permissions::from_mode(there.mode() & 0o777))
}
