//! Items that are files: each line of the input is a path, the item is what is in it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Batch, Inputs, Items, LineItems};
use crate::failed::{self, Named, Raw};
use crate::lane::frame::ItemTag;
use crate::text::Foreign;

/// Bytes of files after which a batch is full.
const BATCH: usize = 256 << 10;

/// Said of a line of `--failed` that names no file.
const OTHER: &str =
    "the line is a failed item of a run whose input named no files; without --input-format files it is run again";

/// Reads paths, then files. A line of `--failed` is the file that it names, or what was in that.
#[derive(Debug)]
pub struct FileItems {
    paths: LineItems,
    /// Paths that were read and not yet opened, or why one could not be read.
    waiting: VecDeque<Result<Vec<u8>, String>>,
    longest: usize,
    more: bool,
}

impl FileItems {
    pub fn new(inputs: Inputs, longest: usize) -> FileItems {
        let paths = LineItems::new(inputs, b'\n', true, 1 << 20);
        FileItems { paths, waiting: VecDeque::new(), longest, more: true }
    }

    /// Reads more paths.
    fn read_paths(&mut self) -> io::Result<()> {
        let mut batch = Batch::default();
        self.more = self.paths.next(&mut batch)?;
        self.waiting.extend(batch.iter().map(|(tag, path)| match tag {
            ItemTag::Item => Ok(path.to_vec()),
            ItemTag::Unreadable => Err(String::from_utf8_lossy(failed::split_unreadable(path).0).into_owned()),
        }));
        Ok(())
    }
}

impl Items for FileItems {
    fn next(&mut self, batch: &mut Batch) -> io::Result<bool> {
        while batch.size() < BATCH {
            let Some(path) = self.waiting.pop_front() else {
                // What was opened goes out before another read that may block.
                if !batch.is_empty() || !self.more {
                    return Ok(self.more);
                }
                self.read_paths()?;
                return Ok(self.more || !self.waiting.is_empty());
            };
            let path = match path {
                Ok(path) => path,
                Err(reason) => {
                    batch.push_unreadable(&reason, &Raw::Nothing);
                    continue;
                }
            };
            match failed::read_named(&path) {
                None => self.push_file(&path, batch),
                Some(Named::Path(path)) => self.push_file(&path, batch),
                Some(Named::Item(item)) => batch.push(&item),
                Some(Named::Other) => batch.push_unreadable(OTHER, &Raw::Line(&path)),
            }
        }
        Ok(true)
    }
}

impl FileItems {
    fn push_file(&self, path: &[u8], batch: &mut Batch) {
        let name = Path::new(std::ffi::OsStr::from_bytes(path));
        match read(name, self.longest) {
            Ok(bytes) if bytes.len() < BATCH => batch.push(&bytes),
            Ok(bytes) => batch.push_whole(bytes.into()),
            Err(e) => {
                batch.push_unreadable(&format!("cannot read the file {}: {e}", Foreign::of(name)), &Raw::Path(path));
            }
        }
    }
}

fn read(path: &Path, longest: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(longest as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > longest {
        return Err(io::Error::other(format!(
            "it is larger than the memory of an instance ({longest} bytes, --memory)"
        )));
    }
    Ok(bytes)
}
