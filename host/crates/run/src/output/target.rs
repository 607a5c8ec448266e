//! Where bytes go: standard output or a file, and how much of it is whole.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::fresh::{self, Fresh};
use crate::hashed;
use crate::place::{Extent, SameFile, sync_directory};
use crate::stdio::Stdout;
use wasmpool_core::text::Foreign;

/// Where results go, or failed items.
#[derive(Debug)]
pub struct Target {
    to: To,
    written: u64,
    /// The hash of all that was written, where a journal has to know it.
    hasher: Option<blake3::Hasher>,
}

#[derive(Debug)]
enum To {
    Stdout,
    /// A file, and whether what it held before, behind what is to stay, is gone: it is kept until there is something to
    /// replace it with. One that was not there goes again if that never comes.
    File {
        path: PathBuf,
        file: File,
        begun: bool,
        fresh: Option<Fresh>,
    },
}

/// Bytes of a file that are looked at again at a time.
const STEP: u64 = 16 << 20;

impl Target {
    /// Standard output, or a file, which is made if it is not there. `what` it is for is named where that fails.
    pub fn open(path: Option<&Path>, what: &str) -> Result<Target, String> {
        let Some(path) = path.filter(|path| path.as_os_str() != "-") else {
            Stdout.check().map_err(|wrong| format!("cannot write {what}: {wrong}"))?;
            return Ok(Target::stdout());
        };
        let (file, fresh) = fresh::open_or_make(File::options().write(true), path)
            .map_err(|e| format!("cannot write {what} {}: {e}", Foreign::of(path)))?;
        Ok(Target { to: To::File { path: path.to_owned(), file, begun: false, fresh }, ..Target::stdout() })
    }

    pub fn stdout() -> Target {
        Target { to: To::Stdout, written: 0, hasher: None }
    }

    /// The same, for a run with a journal: where it is a file, all that is written to it is hashed.
    pub fn hashed(self) -> Target {
        let hasher = self.can_be_cut().then(blake3::Hasher::new);
        Target { hasher, ..self }
    }

    /// The file it is, where that is a file on a disk.
    pub fn same(&self) -> Option<SameFile> {
        match &self.to {
            To::Stdout => Stdout.duplicate().ok().and_then(|file| SameFile::of(&file)),
            To::File { file, .. } => SameFile::of(file),
        }
    }

    /// Whether a run that goes on can take away what was written and not promised. Standard output never is cut.
    pub fn can_be_cut(&self) -> bool {
        matches!(&self.to, To::File { file, .. } if SameFile::of(file).is_some())
    }

    /// How much of it is whole, if all that was written is.
    pub fn extent(&self) -> Extent {
        let hash = self.hasher.as_ref().map_or_else(|| blake3::hash(b""), blake3::Hasher::finalize);
        Extent { bytes: self.written, hash: hash.into() }
    }

    /// Makes sure that what was written stays, where that can be had; for the first time, that the file itself does.
    pub fn sync(&self, first: bool) -> io::Result<()> {
        match &self.to {
            To::File { path, file, .. } if self.same().is_some() => {
                let result = file.sync_data().and_then(|()| if first { sync_directory(path) } else { Ok(()) });
                result.map_err(|e| name(path, e))
            }
            To::Stdout if self.same().is_some() => {
                let result = Stdout.duplicate().and_then(|file| {
                    file.sync_data()?;
                    // Where its path cannot be found out, or is not ours to look at, the file is all there is to sync.
                    let path = fs::read_link("/proc/self/fd/1").ok().filter(|_| first);
                    path.map_or(Ok(()), |path| sync_directory(&path).or(Ok(())))
                });
                result.map_err(|e| io::Error::new(e.kind(), format!("standard output: {e}")))
            }
            _ => Ok(()),
        }
    }

    /// Is to go on behind what another run has written: a file keeps that, and loses what follows once there is something
    /// to write. Behind a run that has `finished` nothing can follow. The whole file is read and held against its hash, unless
    /// `interrupted` says that nobody wants that any more.
    pub fn go_on(&mut self, extent: &Extent, finished: bool, interrupted: &dyn Fn() -> bool) -> Result<(), Error> {
        self.written = extent.bytes;
        let Some(same) = self.same() else {
            return Ok(());
        };
        let To::File { path, file, fresh, .. } = &self.to else {
            return Ok(());
        };
        let name = Foreign::of(path);
        let cannot = |e: io::Error| Error::Journal(format!("cannot go on with {name}: {e}"));
        let other = |how: &str| {
            Error::Journal(format!(
                "{name} is not what the journal says was written: {how}; put it back, or remove the journal to start anew"
            ))
        };
        if fresh.is_some() && extent.bytes > 0 {
            return Err(other("it is not there"));
        }
        let length = file.metadata().map_err(cannot)?.len();
        if length < extent.bytes || (finished && length > extent.bytes) {
            return Err(other(&format!("it has {length} bytes, of {}", extent.bytes)));
        }
        if extent.bytes == 0 {
            return Ok(());
        }
        // It is open for writing alone, as a target may be a pipe.
        let there = File::open(path).map_err(cannot)?;
        if SameFile::of(&there) != Some(same) {
            return Err(other("it is another file by now"));
        }
        let hasher = hash_begin(&there, extent.bytes, interrupted).map_err(cannot)?.ok_or(Error::Interrupted)?;
        if hasher.finalize().as_bytes() != &extent.hash {
            return Err(other(&format!("its bytes up to {} are others", extent.bytes)));
        }
        self.hasher = Some(hasher);
        Ok(())
    }

    /// Makes the file ready for the results to come: it is empty then, or ends where it is gone on with. Called again it
    /// does nothing.
    pub fn begin(&mut self) -> io::Result<()> {
        if let To::File { path, file, begun: begun @ false, fresh } = &mut self.to {
            let metadata = file.metadata()?;
            if metadata.is_file() {
                let end = self.written;
                // A file that is as it should be keeps its times.
                let cut = if metadata.len() == end { Ok(()) } else { file.set_len(end) };
                cut.and_then(|()| file.seek(SeekFrom::Start(end))).map_err(|e| name(path, e))?;
            }
            *begun = true;
            if let Some(fresh) = fresh.take() {
                fresh.keep();
            }
        }
        Ok(())
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.begin()?;
        match &mut self.to {
            To::Stdout => {
                Stdout.write_all(bytes).map_err(|e| match e.kind() {
                    io::ErrorKind::BrokenPipe => e,
                    kind => io::Error::new(kind, format!("standard output: {e}")),
                })?;
            }
            To::File { path, file, .. } => file.write_all(bytes).map_err(|e| name(path, e))?,
        }
        self.written += bytes.len() as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        Ok(())
    }
}

/// Hashes so many bytes of a file, or returns `None` once that is interrupted.
fn hash_begin(mut file: &File, bytes: u64, interrupted: &dyn Fn() -> bool) -> io::Result<Option<blake3::Hasher>> {
    let mut hasher = blake3::Hasher::new();
    let mut left = bytes;
    while left > 0 {
        if interrupted() {
            return Ok(None);
        }
        let part = left.min(STEP);
        hashed::copy_exactly(part, &mut file, &mut io::sink(), &mut hasher)?;
        left -= part;
    }
    Ok(Some(hasher))
}

fn name(path: &Path, e: io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("{}: {e}", Foreign::of(path)))
}
