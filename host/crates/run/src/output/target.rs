//! A target of bytes, standard output or a file, and how much of it is complete.

use std::fs::File;
use std::io::{self, IoSlice, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::Error;
use crate::fresh::{self, NewFile};
use crate::hashed;
use crate::journal::{JournalError, OutputChange};
use crate::place::{FileExtent, SameFile, sync_directory};
use crate::stdio::{HungUp, Stdout, StreamError, check_stream_of};
use wasmpool_core::text::ForeignText;

/// The reason why a target cannot be opened. `what` names it, in words that follow "cannot write".
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error("cannot write {what}")]
    Stdout { what: &'static str, source: StreamError },
    #[error("cannot write {what} {}", ForeignText::of(.path))]
    File { what: &'static str, path: PathBuf, source: io::Error },
}

/// The target of results, or of failed items.
#[derive(Debug)]
pub struct OutputTarget {
    to: OutputPlace,
    written: u64,
    /// The hash of everything that was written, if a journal needs it.
    hasher: Option<blake3::Hasher>,
}

#[derive(Debug)]
enum OutputPlace {
    Stdout,
    /// A file. `begun` is true once the content after what is kept was removed, which waits until there is something to
    /// replace it. A file that was newly made is removed if that never happens.
    File {
        path: PathBuf,
        file: File,
        begun: bool,
        fresh: Option<NewFile>,
    },
}

/// Number of bytes of a file that are hashed at a time.
const STEP: u64 = 16 << 20;

impl OutputTarget {
    /// Opens standard output, or a file, which is made if it does not exist. `what` is its name in an error.
    pub fn open(path: Option<&Path>, what: &'static str) -> Result<OutputTarget, TargetError> {
        let Some(path) = path.filter(|path| path.as_os_str() != "-") else {
            Stdout.check().map_err(|source| TargetError::Stdout { what, source })?;
            return Ok(OutputTarget::stdout());
        };
        check_stream_of(path).map_err(|source| TargetError::Stdout { what, source })?;
        let (file, fresh) = fresh::open_or_make(File::options().write(true), path)
            .map_err(|source| TargetError::File { what, path: path.to_owned(), source })?;
        Ok(OutputTarget {
            to: OutputPlace::File { path: path.to_owned(), file, begun: false, fresh },
            ..OutputTarget::stdout()
        })
    }

    pub fn stdout() -> OutputTarget {
        OutputTarget { to: OutputPlace::Stdout, written: 0, hasher: None }
    }

    /// Turns hashing on, for a run with a journal, if the target is a file.
    pub fn hashed(self) -> OutputTarget {
        let hasher = self.can_be_cut().then(blake3::Hasher::new);
        OutputTarget { hasher, ..self }
    }

    /// Returns the identity of the file, if it is one on a disk.
    pub fn same(&self) -> Option<SameFile> {
        match &self.to {
            OutputPlace::Stdout => Stdout.duplicate().ok().and_then(|file| SameFile::of(&file)),
            OutputPlace::File { file, .. } => SameFile::of(file),
        }
    }

    /// Returns true if this is standard output.
    pub fn is_stdout(&self) -> bool {
        matches!(self.to, OutputPlace::Stdout)
    }

    /// Returns true if a resumed run can remove what was written and not promised. Standard output never can be cut.
    pub fn can_be_cut(&self) -> bool {
        matches!(&self.to, OutputPlace::File { file, .. } if SameFile::of(file).is_some())
    }

    /// Returns how much of the target is complete, if everything that was written is.
    pub fn extent(&self) -> FileExtent {
        let hash = self.hasher.as_ref().map_or_else(|| blake3::hash(b""), blake3::Hasher::finalize);
        FileExtent { bytes: self.written, hash: hash.into() }
    }

    /// Syncs what was written, where that is possible; the first time also the directory entry of the file.
    pub fn sync(&self, first: bool) -> io::Result<()> {
        match &self.to {
            OutputPlace::File { path, file, .. } if self.same().is_some() => {
                let result = file.sync_data().and_then(|()| if first { sync_directory(path) } else { Ok(()) });
                result.map_err(|e| name(path, e))
            }
            OutputPlace::Stdout if self.same().is_some() => {
                let result = Stdout.duplicate().and_then(|file| {
                    file.sync_data()?;
                    // If its path is unknown, or not accessible to this user, only the file itself is synced.
                    if first { sync_directory(Path::new("/proc/self/fd/1")).or(Ok(())) } else { Ok(()) }
                });
                result.map_err(|e| io::Error::new(e.kind(), format!("standard output: {e}")))
            }
            _ => Ok(()),
        }
    }

    /// Continues after what an earlier run has written: a file keeps that, and loses what follows once there is
    /// something to write. After a run that has `finished` nothing can follow. The whole file is read and compared with
    /// its hash, unless `interrupted` returns true.
    pub fn go_on(&mut self, extent: &FileExtent, finished: bool, interrupted: &dyn Fn() -> bool) -> Result<(), Error> {
        self.written = extent.bytes;
        let Some(same) = self.same() else {
            return Ok(());
        };
        let OutputPlace::File { path, file, fresh, .. } = &self.to else {
            return Ok(());
        };
        let cannot = |e: io::Error| JournalError::GoOn { path: path.clone(), source: Arc::new(e) };
        let other = |change| Err(JournalError::OtherOutput { path: path.clone(), change }.into());
        if fresh.is_some() && extent.bytes > 0 {
            return other(OutputChange::Missing);
        }
        let length = file.metadata().map_err(cannot)?.len();
        let written = extent.bytes;
        if length < written {
            return other(OutputChange::Shorter { length, written });
        }
        if finished && length > written {
            return other(OutputChange::Longer { length, written });
        }
        if extent.bytes == 0 {
            return Ok(());
        }
        // The target is open for writing only, since it may be a pipe.
        let there = File::open(path).map_err(cannot)?;
        if SameFile::of(&there) != Some(same) {
            return other(OutputChange::Replaced);
        }
        let hasher = hash_begin(&there, extent.bytes, interrupted).map_err(cannot)?.ok_or(Error::Interrupted)?;
        if hasher.finalize().as_bytes() != &extent.hash {
            return other(OutputChange::Content { written: extent.bytes });
        }
        self.hasher = Some(hasher);
        Ok(())
    }

    /// Prepares the file for results: it is emptied, or cut where it is continued. Later calls do nothing.
    pub fn begin(&mut self) -> io::Result<()> {
        if let OutputPlace::File { path, file, begun: begun @ false, fresh } = &mut self.to {
            let metadata = file.metadata()?;
            if metadata.is_file() {
                let end = self.written;
                // A file that already has the right length keeps its times.
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
        self.write_parts(&[bytes])
    }

    /// Writes these bytes one after the other, without copying them together.
    pub fn write_parts(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        self.begin()?;
        match &mut self.to {
            OutputPlace::Stdout => {
                write_all_parts(&mut Stdout, parts).map_err(|e| match e.kind() {
                    io::ErrorKind::BrokenPipe => e,
                    _ if HungUp::is(&e) => e,
                    kind => io::Error::new(kind, format!("standard output: {e}")),
                })?;
            }
            OutputPlace::File { path, file, .. } => write_all_parts(file, parts).map_err(|e| name(path, e))?,
        }
        for part in parts {
            self.written += part.len() as u64;
            if let Some(hasher) = &mut self.hasher {
                hasher.update(part);
            }
        }
        Ok(())
    }
}

fn write_all_parts(to: &mut impl Write, parts: &[&[u8]]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut left = &mut slices[..];
    // Removes empty ones, for which `write` would say that it wrote nothing.
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        match to.write_vectored(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => IoSlice::advance_slices(&mut left, count),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Hashes the first `bytes` bytes of a file. Returns `None` if that is interrupted.
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
    io::Error::new(e.kind(), format!("{}: {e}", ForeignText::of(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a few bytes at a time, and is interrupted in between.
    struct Reluctant {
        taken: Vec<u8>,
        most: usize,
        interrupted: bool,
    }

    impl Write for Reluctant {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.write_vectored(&[IoSlice::new(bytes)])
        }

        fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
            self.interrupted = !self.interrupted;
            if self.interrupted {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let all = parts.iter().flat_map(|part| part.iter().copied());
            let before = self.taken.len();
            self.taken.extend(all.take(self.most));
            Ok(self.taken.len() - before)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn parts_are_written_whole_and_in_order_however_few_bytes_are_taken_at_a_time() {
        let parts: [&[u8]; 6] = [b"", b"one\n", b"", b"two\n", b"three\n", b""];
        for most in 1..20 {
            let mut to = Reluctant { taken: Vec::new(), most, interrupted: false };
            write_all_parts(&mut to, &parts).unwrap();
            assert_eq!(to.taken, b"one\ntwo\nthree\n");
        }
        let mut full = Reluctant { taken: Vec::new(), most: 0, interrupted: false };
        assert_eq!(write_all_parts(&mut full, &parts).unwrap_err().kind(), io::ErrorKind::WriteZero);
        assert!(write_all_parts(&mut full, &[b"", b""]).is_ok());
    }
}
