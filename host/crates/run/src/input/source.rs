//! Where input comes from, and the thread that reads it.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::unistd::{AccessFlags, access};

use super::WrittenTo;
use super::mark::Encoding;
use crate::place::SameFile;
use crate::stdio::Stdin;
use wasmpool_core::text::Foreign;

/// The files of the command line, one behind the other.
#[derive(Debug)]
pub struct Inputs {
    left: VecDeque<(PathBuf, Source)>,
    written: WrittenTo,
    /// Bytes read so far, for whoever shows progress.
    read: Arc<AtomicU64>,
    encoding: Encoding,
    /// The one that was read last, and whether it has only been begun.
    current: PathBuf,
    at_start: bool,
}

#[derive(Debug)]
enum Source {
    Stdin,
    /// Not opened yet: there may be more of them than a process may have open, and a FIFO waits for its writer.
    Named {
        file: Option<SameFile>,
        size: Option<u64>,
    },
    Open(File),
    /// A file whose own place is somebody else's, to be read from here.
    From(File, u64),
}

impl Inputs {
    /// Looks at all of them, so that one that cannot be read is known before anything runs. None, or `-`, is standard input.
    pub fn open(paths: &[PathBuf]) -> Result<Inputs, String> {
        let stdin = [PathBuf::from("-")];
        let paths = if paths.is_empty() { &stdin } else { paths };
        let mut left = VecDeque::new();
        for path in paths {
            let source = if path == Path::new("-") {
                Stdin.check()?;
                Source::Stdin
            } else {
                look_at(path)?
            };
            left.push_back((path.clone(), source));
        }
        let (current, encoding) = (PathBuf::new(), Encoding::Bytes);
        Ok(Inputs { left, written: WrittenTo::default(), read: Arc::default(), encoding, current, at_start: true })
    }

    /// Bytes of all inputs, where that is known.
    pub fn size(&self) -> Option<u64> {
        self.left
            .iter()
            .map(|(_, source)| match source {
                Source::Named { size, .. } => *size,
                Source::Stdin | Source::Open(_) | Source::From(..) => None,
            })
            .sum()
    }

    /// The files on a disk among them.
    pub fn same_files(&self) -> Vec<SameFile> {
        let of = |source: &Source| match source {
            Source::Stdin => Stdin.duplicate().ok().and_then(|file| SameFile::of(&file)),
            Source::Named { file, .. } => *file,
            Source::Open(file) | Source::From(file, _) => SameFile::of(file),
        };
        self.left.iter().filter_map(|(_, source)| of(source)).collect()
    }

    /// Counts what is read in `read`.
    pub fn counted(self, read: Arc<AtomicU64>) -> Inputs {
        Inputs { read, ..self }
    }

    /// What the run writes to, to be said before the first item is read.
    pub fn written(&self) -> WrittenTo {
        self.written.clone()
    }

    /// The same, to be read once more from where they begin, by somebody who does not disturb whoever reads these. An error is
    /// the name of one that is gone once it is read: it is no file on a disk.
    pub fn again(&self) -> Result<Inputs, String> {
        let again = |(path, source): &(PathBuf, Source)| {
            let source = match source {
                Source::Named { file: Some(file), size } => Some(Source::Named { file: Some(*file), size: *size }),
                Source::Stdin => Source::stdin_from_here(),
                Source::Named { file: None, .. } | Source::Open(_) | Source::From(..) => None,
            };
            source.map(|source| (path.clone(), source)).ok_or_else(|| name(path))
        };
        let left = self.left.iter().map(again).collect::<Result<_, _>>()?;
        let (read, written, current) = (Arc::default(), WrittenTo::default(), PathBuf::new());
        Ok(Inputs { left, written, read, encoding: self.encoding, current, at_start: true })
    }

    /// Takes each of them for a text that is written like this.
    pub fn written_in(self, encoding: Encoding) -> Inputs {
        Inputs { encoding, ..self }
    }

    /// The files behind the one that is read, as far as they can be looked at beforehand.
    pub fn behind(&self) -> Vec<PathBuf> {
        let paths = self.left.iter().skip(1).map(|(path, _)| path);
        paths.filter(|path| path.as_os_str() != "-" && path.is_file()).cloned().collect()
    }

    /// What messages call the one that was read last.
    pub fn name(&self) -> String {
        name(&self.current)
    }

    /// Reads a block: 0 bytes at the end of each file, `None` after the last. A byte order mark at the beginning of a text
    /// is passed over.
    pub fn read(&mut self, block: &mut [u8]) -> io::Result<Option<usize>> {
        let Some((path, _)) = self.left.front() else {
            return Ok(None);
        };
        let begin = match std::mem::take(&mut self.at_start) {
            true => {
                self.current.clone_from(path);
                self.read_begin(block)?
            }
            false => Some(0),
        };
        let count = match begin {
            // A terminal that has said once that it has ended is not asked again.
            None => 0,
            Some(0) => self.read_some(block)?,
            Some(count) => count,
        };
        if count == 0 {
            self.left.pop_front();
            self.at_start = true;
        }
        Ok(Some(count))
    }

    /// Reads the beginning of a file, but for a byte order mark: nothing, where that was all that came, and `None` where the
    /// file is empty.
    fn read_begin(&mut self, block: &mut [u8]) -> io::Result<Option<usize>> {
        let mut count = 0;
        while self.encoding.is_unsure(&block[..count]) {
            match self.read_some(&mut block[count..])? {
                0 if count == 0 => return Ok(None),
                0 => break,
                more => count += more,
            }
        }
        let begin = &block[..count];
        let mark = self.encoding.mark(begin).map_err(|encoding| {
            let name = self.name();
            io::Error::other(format!(
                "{name} is {encoding}, and UTF-8 is wanted; iconv -f {encoding} -t UTF-8 makes it that"
            ))
        })?;
        block.copy_within(mark..count, 0);
        Ok(Some(count - mark))
    }

    /// Reads from the first that is left; nothing at its end.
    fn read_some(&mut self, block: &mut [u8]) -> io::Result<usize> {
        let Some((path, source)) = self.left.front_mut() else {
            return Ok(0);
        };
        match source.read(block, path, &self.written) {
            Ok(count) => {
                self.read.fetch_add(count as u64, Ordering::Relaxed);
                Ok(count)
            }
            Err(e) => {
                let name = name(path);
                Err(io::Error::new(e.kind(), format!("{name}: {e}")))
            }
        }
    }
}

/// What messages call an input.
fn name(path: &Path) -> String {
    match path.to_str() {
        Some("-") => "standard input".to_owned(),
        _ => Foreign::of(path).to_string(),
    }
}

impl Source {
    /// Standard input from where it is, where that is a file on a disk.
    fn stdin_from_here() -> Option<Source> {
        let mut file = Stdin.duplicate().ok()?;
        SameFile::of(&file)?;
        let from = file.stream_position().ok()?;
        Some(Source::From(file, from))
    }

    fn read(&mut self, block: &mut [u8], path: &Path, written: &WrittenTo) -> io::Result<usize> {
        if let Source::Named { .. } = self {
            let file = File::open(path)?;
            written.check(&file.metadata()?)?;
            *self = Source::Open(file);
        }
        loop {
            let result = match self {
                Source::Open(file) => file.read(block),
                Source::From(file, at) => file.read_at(block, *at).inspect(|count| *at += *count as u64),
                _ => Stdin.read(block),
            };
            match result {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

/// Finds out whether an input is there and can be read, without keeping it open. Of what is no file on a disk only the
/// rights are looked at: opening a FIFO and closing it again would end its writer.
fn look_at(path: &Path) -> Result<Source, String> {
    let cannot = |e: io::Error| format!("cannot read the input {}: {e}", Foreign::of(path));
    let metadata = fs::metadata(path).map_err(cannot)?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        return Err(format!("the input {} is a directory; name its files", Foreign::of(path)));
    }
    if kind.is_socket() {
        return Err(format!("the input {} is a socket; name a file or a pipe", Foreign::of(path)));
    }
    if kind.is_file() {
        File::open(path).map_err(cannot)?;
    } else {
        access(path, AccessFlags::R_OK).map_err(|e| cannot(e.into()))?;
    }
    let file = SameFile::of_metadata(&metadata);
    Ok(Source::Named { file, size: file.map(|_| metadata.len()) })
}
