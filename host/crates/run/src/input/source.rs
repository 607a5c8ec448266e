//! The files that input is read from.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Read, Seek};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::unistd::{AccessFlags, access};
use rustix::fs::OFlags;

use super::compressed::{Compression, DecompressedInput};
use super::mark::{self, TextEncoding};
use super::{InputError, InputLinks, ReadOnce, WrittenTo};
use crate::place::SameFile;
use crate::stdio::{Stdin, check_stream_of};
use wasmpool_core::text::ForeignText;

/// The input files of the command line, one after the other.
#[derive(Debug)]
pub struct InputFiles {
    left: VecDeque<(PathBuf, InputFile)>,
    written: WrittenTo,
    links: InputLinks,
    /// Number of bytes read so far, for the display of progress.
    read: Arc<AtomicU64>,
    encoding: TextEncoding,
    /// The input that was read last, and whether only its beginning was read.
    current: PathBuf,
    /// Its name in records.
    source: Arc<str>,
    at_start: bool,
}

#[derive(Debug)]
enum InputFile {
    Stdin,
    /// Not opened yet: there may be more inputs than a process may have files open, and opening a FIFO waits for its
    /// writer.
    Named {
        file: Option<SameFile>,
        size: Option<u64>,
    },
    Open(File),
    /// A file that shares its position with somebody else, to be read from this position on.
    From(File, u64),
    Compressed(DecompressedInput),
}

/// An input as it is on disk, for whoever decompresses it.
struct CompressedSource {
    file: InputFile,
    path: PathBuf,
    written: WrittenTo,
    links: InputLinks,
    read: Arc<AtomicU64>,
}

impl Read for CompressedSource {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(block, &self.path, &self.written, &self.links)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl InputFiles {
    /// Checks all inputs, so that one that cannot be read is known before anything runs. No path, or `-`, is standard
    /// input.
    pub fn open(paths: &[PathBuf]) -> Result<InputFiles, InputError> {
        let stdin = [PathBuf::from("-")];
        let paths = if paths.is_empty() { &stdin } else { paths };
        let mut left = VecDeque::new();
        for path in paths {
            let source = if path == Path::new("-") {
                Stdin.check()?;
                InputFile::Stdin
            } else {
                look_at(path)?
            };
            left.push_back((path.clone(), source));
        }
        let (current, encoding) = (PathBuf::new(), TextEncoding::Bytes);
        Ok(InputFiles {
            left,
            written: WrittenTo::default(),
            links: InputLinks::default(),
            read: Arc::default(),
            encoding,
            current,
            source: Arc::default(),
            at_start: true,
        })
    }

    /// Returns the number of bytes of all inputs, if it is known.
    pub fn size(&self) -> Option<u64> {
        self.left
            .iter()
            .map(|(_, source)| match source {
                InputFile::Named { size, .. } => *size,
                InputFile::Stdin => size_of_stdin(),
                InputFile::Open(_) | InputFile::From(..) | InputFile::Compressed(_) => None,
            })
            .sum()
    }

    /// Returns true if items are read from standard input, and it is a terminal.
    pub fn reads_terminal(&self) -> bool {
        self.left.iter().any(|(_, source)| matches!(source, InputFile::Stdin)) && io::stdin().is_terminal()
    }

    /// Returns the inputs that are files on a disk.
    pub fn same_files(&self) -> Vec<SameFile> {
        let of = |source: &InputFile| match source {
            InputFile::Stdin => Stdin.duplicate().ok().and_then(|file| SameFile::of(&file)),
            InputFile::Named { file, .. } => *file,
            InputFile::Open(file) | InputFile::From(file, _) => SameFile::of(file),
            InputFile::Compressed(_) => None,
        };
        self.left.iter().filter_map(|(_, source)| of(source)).collect()
    }

    /// Counts the bytes that are read in `read`.
    pub fn counted(self, read: Arc<AtomicU64>) -> InputFiles {
        InputFiles { read, ..self }
    }

    /// Returns the set of files that the run writes to. It is to be filled before the first item is read.
    pub fn written(&self) -> WrittenTo {
        self.written.clone()
    }

    /// Returns the same inputs, to be read once more from their beginning, independently of these.
    pub fn again(&self) -> Result<InputFiles, ReadOnce> {
        let again = |(path, source): &(PathBuf, InputFile)| {
            let source = match source {
                InputFile::Named { file: Some(file), size } => {
                    Some(InputFile::Named { file: Some(*file), size: *size })
                }
                InputFile::Stdin => InputFile::stdin_from_here(),
                InputFile::Named { file: None, .. }
                | InputFile::Open(_)
                | InputFile::From(..)
                | InputFile::Compressed(_) => None,
            };
            source.map(|source| (path.clone(), source)).ok_or_else(|| ReadOnce(name(path)))
        };
        let left = self.left.iter().map(again).collect::<Result<_, _>>()?;
        let (read, written, current) = (Arc::default(), WrittenTo::default(), PathBuf::new());
        let links = self.links.clone();
        let source = Arc::default();
        Ok(InputFiles { left, written, links, read, encoding: self.encoding, current, source, at_start: true })
    }

    /// Sets what is known of the links that tasks may make.
    pub fn guarded(self, links: InputLinks) -> InputFiles {
        InputFiles { links, ..self }
    }

    /// Returns what is known of the links that tasks may make.
    pub fn links(&self) -> InputLinks {
        self.links.clone()
    }

    /// Sets the encoding that all inputs must have.
    pub fn written_in(self, encoding: TextEncoding) -> InputFiles {
        InputFiles { encoding, ..self }
    }

    /// Returns the files after the one that is read, as far as they can be looked at beforehand.
    pub fn behind(&self) -> Vec<PathBuf> {
        let paths = self.left.iter().skip(1).map(|(path, _)| path);
        paths.filter(|path| path.as_os_str() != "-" && path.is_file()).cloned().collect()
    }

    /// Returns the name, in messages, of the input that was read last.
    pub fn name(&self) -> String {
        name(&self.current)
    }

    /// Returns true if the name of the input that was read last ends with one of these extensions, or with one of them and
    /// that of a compressed file.
    pub fn is_named_as(&self, extensions: &[&str]) -> bool {
        extension(&self.current).is_some_and(|found| extensions.iter().any(|one| found.eq_ignore_ascii_case(one)))
    }

    /// Returns the name, in records, of the input that was read last: its path, or `-` for standard input.
    pub fn source(&self) -> &Arc<str> {
        &self.source
    }

    /// Reads a block: 0 bytes at the end of each file, `None` after the last. A byte order mark at the beginning of a
    /// text is skipped, and what is compressed is decompressed.
    pub fn read(&mut self, block: &mut [u8]) -> io::Result<Option<usize>> {
        let Some((path, _)) = self.left.front() else {
            return Ok(None);
        };
        let begin = match std::mem::take(&mut self.at_start) {
            true => {
                self.current.clone_from(path);
                self.source = path.to_string_lossy().into();
                self.read_begin(block)?
            }
            false => Some(0),
        };
        let count = match begin {
            // A terminal that has reported its end once is not read again.
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

    /// Reads the beginning of a file without a byte order mark: 0 bytes if nothing else was read, and `None` if the
    /// file is empty.
    fn read_begin(&mut self, block: &mut [u8]) -> io::Result<Option<usize>> {
        let mut count = self.read_while(block, 0, Compression::is_unsure)?;
        if let Some(compression) = Compression::of(&block[..count]) {
            self.decompress(compression, block[..count].to_vec());
            count = self.read_some(block)?;
        }
        if count == 0 {
            return Ok(None);
        }
        let encoding = self.encoding;
        count = self.read_while(block, count, |begin| encoding.is_unsure(begin))?;
        let begin = &block[..count];
        if let Some(mark::OtherFormat { what, advice }) = encoding.other_format(begin) {
            return Err(io::Error::other(format!("{} is {what}; {advice}", self.name())));
        }
        let mark = encoding.mark(begin).map_err(|encoding| {
            let name = self.name();
            io::Error::other(format!(
                "{name} is {encoding}, and UTF-8 is wanted; iconv -f {encoding} -t UTF-8 makes it that"
            ))
        })?;
        block.copy_within(mark..count, 0);
        Ok(Some(count - mark))
    }

    /// Reads behind the first `count` bytes of a block, while these bytes do not suffice and there are more.
    fn read_while(
        &mut self,
        block: &mut [u8],
        mut count: usize,
        is_unsure: impl Fn(&[u8]) -> bool,
    ) -> io::Result<usize> {
        while is_unsure(&block[..count]) {
            match self.read_some(&mut block[count..])? {
                0 => break,
                more => count += more,
            }
        }
        Ok(count)
    }

    /// Has the first input that is left, of which these bytes were read, decompressed from now on.
    fn decompress(&mut self, compression: Compression, begin: Vec<u8>) {
        if let Some((path, source)) = self.left.front_mut() {
            let file = std::mem::replace(source, InputFile::Stdin);
            let (path, written, links) = (path.clone(), self.written.clone(), self.links.clone());
            let compressed = CompressedSource { file, path, written, links, read: self.read.clone() };
            *source = InputFile::Compressed(DecompressedInput::new(compression, begin, Box::new(compressed)));
        }
    }

    /// Reads from the first input that is left; returns 0 at its end.
    fn read_some(&mut self, block: &mut [u8]) -> io::Result<usize> {
        let Some((path, source)) = self.left.front_mut() else {
            return Ok(0);
        };
        match source.read(block, path, &self.written, &self.links) {
            Ok(count) => {
                // Of a compressed file, the bytes on disk are counted, as they are in its size.
                if !matches!(source, InputFile::Compressed(_)) {
                    self.read.fetch_add(count as u64, Ordering::Relaxed);
                }
                Ok(count)
            }
            Err(e) => {
                let name = name(path);
                Err(io::Error::new(e.kind(), format!("{name}: {e}")))
            }
        }
    }
}

/// Extensions of files that are decompressed.
const COMPRESSED: [&str; 3] = ["gz", "zst", "zstd"];

/// Returns the extension of a file's name, without that which says that it is compressed.
pub fn extension(path: &Path) -> Option<&str> {
    let found = path.extension()?.to_str()?;
    match COMPRESSED.iter().any(|one| found.eq_ignore_ascii_case(one)) {
        true => Path::new(path.file_stem()?).extension()?.to_str(),
        false => Some(found),
    }
}

/// Returns the name of an input in messages.
fn name(path: &Path) -> String {
    match path.to_str() {
        Some("-") => "standard input".to_owned(),
        _ => ForeignText::of(path).to_string(),
    }
}

impl InputFile {
    /// Returns standard input from its present position on, if it is a file on a disk.
    fn stdin_from_here() -> Option<InputFile> {
        let mut file = Stdin.duplicate().ok()?;
        SameFile::of(&file)?;
        let from = file.stream_position().ok()?;
        Some(InputFile::From(file, from))
    }

    fn read(&mut self, block: &mut [u8], path: &Path, written: &WrittenTo, links: &InputLinks) -> io::Result<usize> {
        if let InputFile::Named { .. } = self {
            let file = links.open(path, OFlags::empty())?;
            written.check(&file.metadata()?)?;
            *self = InputFile::Open(file);
        }
        loop {
            let result = match self {
                InputFile::Open(file) => file.read(block),
                InputFile::From(file, at) => file.read_at(block, *at).inspect(|count| *at += *count as u64),
                InputFile::Compressed(input) => input.read(block),
                _ => Stdin.read(block),
            };
            match result {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

/// Finds out whether an input exists and can be read, without keeping it open. Of anything but a file on a disk only
/// the permissions are checked: opening a FIFO and closing it again would end its writer.
fn look_at(path: &Path) -> Result<InputFile, InputError> {
    check_stream_of(path)?;
    let cannot = |e: io::Error| InputError::File { path: path.to_owned(), source: Arc::new(e) };
    let metadata = fs::metadata(path).map_err(cannot)?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        return Err(InputError::Directory(path.to_owned()));
    }
    if kind.is_socket() {
        return Err(InputError::Socket(path.to_owned()));
    }
    if kind.is_file() {
        File::open(path).map_err(cannot)?;
    } else {
        access(path, AccessFlags::R_OK).map_err(|e| cannot(e.into()))?;
    }
    let file = SameFile::of_metadata(&metadata);
    Ok(InputFile::Named { file, size: file.map(|_| metadata.len()) })
}

/// Returns the number of bytes that are left of standard input, if it is a file.
fn size_of_stdin() -> Option<u64> {
    let mut file = Stdin.duplicate().ok()?;
    let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    metadata.len().checked_sub(file.stream_position().ok()?)
}
