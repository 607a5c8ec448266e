//! Items that are files: each line of the input is a path, the item is what is in it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Batch, Inputs, Items, LineItems};
use crate::lane::frame::{ITEM_HEADER, ItemTag, read_item_header};

/// Bytes of files after which a batch is full.
const BATCH: usize = 256 << 10;

/// Reads paths, then files.
#[derive(Debug)]
pub struct FileItems {
    paths: LineItems,
    /// Paths that were read and not yet opened.
    waiting: Batch,
    at: usize,
    longest: usize,
    more: bool,
}

impl FileItems {
    pub fn new(inputs: Inputs, longest: usize) -> FileItems {
        let paths = LineItems::new(inputs, b'\n', true, 1 << 20);
        FileItems { paths, waiting: Batch::default(), at: 0, longest, more: true }
    }

    /// The next path, or why there is none in this line.
    fn next_path(&mut self) -> Option<Result<Vec<u8>, Vec<u8>>> {
        let header = self.waiting.bytes.get(self.at..)?.first_chunk::<ITEM_HEADER>()?;
        let (tag, len) = read_item_header(*header);
        let start = self.at + ITEM_HEADER;
        self.at = start + len;
        let bytes = self.waiting.bytes.get(start..self.at)?.to_vec();
        Some(if tag == ItemTag::Item { Ok(bytes) } else { Err(bytes) })
    }
}

impl Items for FileItems {
    fn next(&mut self, batch: &mut Batch) -> io::Result<bool> {
        while batch.bytes.len() < BATCH {
            let Some(path) = self.next_path() else {
                // What was opened goes out before another read that may block.
                if !batch.is_empty() || !self.more {
                    return Ok(self.more);
                }
                self.waiting = Batch::default();
                self.at = 0;
                self.more = self.paths.next(&mut self.waiting)?;
                return Ok(self.more || !self.waiting.is_empty());
            };
            let path = match path {
                Ok(path) => path,
                Err(reason) => {
                    batch.push_unreadable(&String::from_utf8_lossy(&reason));
                    continue;
                }
            };
            let path = Path::new(std::ffi::OsStr::from_bytes(&path));
            match read(path, self.longest) {
                Ok(bytes) => batch.push(&bytes),
                Err(e) => batch.push_unreadable(&format!("cannot read the file {}: {e}", path.display())),
            }
        }
        Ok(true)
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
