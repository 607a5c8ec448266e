//! Items that are files: each line of the input is a path (or what ends with a NUL, as `find -print0` prints paths), and the
//! item is that file's content.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::{Batch, InputFiles, InputLinks, ItemSource, LineItems, LineKind, WrittenTo};
use crate::place::SameFile;
use wasmpool_core::failed::{self, NamedInput, RawText};
use wasmpool_core::item::ItemTag;
use wasmpool_core::setting::Setting;
use wasmpool_core::text::{ForeignText, bytes_said};

/// Bytes of files at which a batch is full.
const BATCH: usize = 256 << 10;

/// Returns the message for a failed item's line that names no file.
fn of_another_input() -> String {
    let files = Setting::InputOfFiles;
    format!("the line is a failed item of a run whose input named no files; without {files} it is run again")
}

/// Reads paths, then files. A failed item's line stands for the file that it names, or for the content that it holds.
#[derive(Debug)]
pub struct FileItems {
    paths: LineItems,
    /// Paths that were read but not yet opened.
    waiting: VecDeque<ListedFile>,
    longest: usize,
    written: WrittenTo,
    links: InputLinks,
    more: bool,
}

/// A line of a list.
#[derive(Debug)]
enum ListedFile {
    Path(Vec<u8>),
    /// The line of a failed item, and where it stands.
    Again {
        line: Vec<u8>,
        place: String,
    },
    /// The reason why a line could not be read, and where it stands.
    Unreadable {
        reason: String,
        place: String,
    },
}

impl FileItems {
    /// Makes a reader of paths that each end with `delimiter`.
    pub fn new(inputs: InputFiles, delimiter: u8, longest: usize) -> FileItems {
        let (written, links) = (inputs.written(), inputs.links());
        FileItems { paths: paths(inputs, delimiter), waiting: VecDeque::new(), longest, written, links, more: true }
    }

    /// Reads more paths.
    fn read_paths(&mut self) -> io::Result<()> {
        let mut batch = Batch::default();
        self.more = self.paths.next(&mut batch)?;
        self.waiting.extend(batch.iter().enumerate().map(|(nth, (tag, line))| {
            let place = || batch.places.of(nth).map(|place| place.to_string()).unwrap_or_default();
            match tag {
                ItemTag::Unreadable => {
                    let reason = String::from_utf8_lossy(failed::split_unreadable(line).0).into_owned();
                    ListedFile::Unreadable { reason, place: place() }
                }
                ItemTag::Item if failed::is_line(line) => ListedFile::Again { line: line.to_vec(), place: place() },
                ItemTag::Item => ListedFile::Path(line.to_vec()),
            }
        }));
        Ok(())
    }
}

impl ItemSource for FileItems {
    fn next(&mut self, batch: &mut Batch) -> io::Result<bool> {
        while batch.size() < BATCH {
            let Some(listed) = self.waiting.pop_front() else {
                // Files that were read are handed over before another read, which may block.
                if !batch.is_empty() || !self.more {
                    return Ok(self.more);
                }
                self.read_paths()?;
                return Ok(self.more || !self.waiting.is_empty());
            };
            match listed {
                ListedFile::Path(path) => {
                    batch.at(&String::from_utf8_lossy(&path), None);
                    self.push_file(&path, batch);
                }
                ListedFile::Again { line, place } => self.push_again(&line, &place, batch),
                ListedFile::Unreadable { reason, place } => {
                    batch.at(&place, None);
                    batch.push_unreadable(&reason, &RawText::Nothing);
                }
            }
        }
        Ok(true)
    }
}

impl FileItems {
    /// Appends the item of a failed item's line, under the index that it had first.
    fn push_again(&self, line: &[u8], place: &str, batch: &mut Batch) {
        let original = failed::original(line);
        let (index, source) = original.map_or((None, None), |original| (original.index, original.source));
        let named = failed::read_named(line);
        let path = match &named {
            Some(NamedInput::Path(path)) => Some(String::from_utf8_lossy(path)),
            _ => None,
        };
        batch.at(path.or(source).as_deref().unwrap_or(place), index);
        match named {
            Some(NamedInput::Path(path)) => self.push_file(&path, batch),
            Some(NamedInput::Item(item)) => batch.push(&item),
            Some(NamedInput::Damaged(reason)) => batch.push_unreadable(&reason, &RawText::Line(line)),
            Some(NamedInput::Other) | None => batch.push_unreadable(&of_another_input(), &RawText::Line(line)),
        }
    }

    fn push_file(&self, path: &[u8], batch: &mut Batch) {
        let name = Path::new(std::ffi::OsStr::from_bytes(path));
        match read(name, self.longest, &self.written, &self.links) {
            Ok(bytes) if bytes.len() < BATCH => batch.push(&bytes),
            Ok(bytes) => batch.push_whole(bytes.into()),
            Err(e) => {
                batch.push_unreadable(
                    &format!("cannot read the file {}: {e}", ForeignText::of(name)),
                    &RawText::Path(path),
                );
            }
        }
    }
}

/// Returns a reader of the paths in lists.
fn paths(lists: InputFiles, delimiter: u8) -> LineItems {
    LineItems::new(lists, delimiter, LineKind::NotBlank, 1 << 20)
}

/// Reads lists to their end, or to the first path that leads to one of these files, which is returned. Keeps only one
/// block of a list in memory, and opens no other file.
pub fn find_listed(lists: InputFiles, delimiter: u8, files: &[SameFile]) -> io::Result<Option<(SameFile, PathBuf)>> {
    let mut paths = paths(lists, delimiter);
    let mut more = true;
    while more {
        let mut batch = Batch::default();
        more = paths.next(&mut batch)?;
        let lines = batch.iter().filter(|(tag, _)| *tag == ItemTag::Item).map(|(_, line)| line);
        let mut found = lines.filter_map(|line| {
            let path = match failed::read_named(line) {
                None => line.to_vec(),
                Some(NamedInput::Path(path)) => path.to_vec(),
                Some(NamedInput::Item(_) | NamedInput::Other | NamedInput::Damaged(_)) => return None,
            };
            let path = PathBuf::from(OsString::from_vec(path));
            let file = fs::metadata(&path).ok().as_ref().and_then(SameFile::of_metadata)?;
            files.contains(&file).then_some((file, path))
        });
        if let Some(found) = found.next() {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Reads a whole file, if it is a regular one: anything else may have no end, or keep the run waiting for ever.
fn read(path: &Path, longest: usize, written: &WrittenTo, links: &InputLinks) -> io::Result<Vec<u8>> {
    if path.as_os_str().as_bytes().contains(&0) {
        let null = Setting::Null;
        return Err(io::Error::other(format!("there is a NUL in it; are these paths that end with NULs ({null})?")));
    }
    // Checked before it is opened, since opening a FIFO or a device has an effect on whoever is behind it; and again
    // when it is open, since it may be another file by then.
    check(&fs::metadata(path)?, longest, written)?;
    written.check_path(path)?;
    let file = links.open(path, OFlags::NONBLOCK | OFlags::NOCTTY)?;
    let metadata = file.metadata()?;
    check(&metadata, longest, written)?;
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).map_or(0, |len| len + 1));
    // The file may grow while it is read.
    file.take(longest as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > longest {
        return Err(too_long(longest));
    }
    Ok(bytes)
}

fn check(metadata: &Metadata, longest: usize, written: &WrittenTo) -> io::Result<()> {
    let kind = metadata.file_type();
    let what = match () {
        () if kind.is_file() => None,
        () if kind.is_dir() => Some("a directory"),
        () if kind.is_fifo() => Some("a FIFO"),
        () if kind.is_socket() => Some("a socket"),
        () => Some("a device"),
    };
    if let Some(what) = what {
        return Err(io::Error::other(format!("it is {what}; an item is what is in a file on a disk")));
    }
    if metadata.len() > longest as u64 {
        return Err(too_long(longest));
    }
    written.check(metadata)
}

fn too_long(longest: usize) -> io::Error {
    let memory = Setting::Memory;
    io::Error::other(format!("it is larger than the memory of an instance ({}, {memory})", bytes_said(longest as u64)))
}
