//! Copying that also hashes what is copied.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

use blake3::Hasher;

/// A reader of a file from its start, independent of its file position.
pub struct FromStart<'a> {
    file: &'a File,
    at: u64,
}

impl<'a> FromStart<'a> {
    pub fn of(file: &'a File) -> FromStart<'a> {
        FromStart { file, at: 0 }
    }
}

impl Read for FromStart<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(to, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Number of bytes that are copied at once.
const BLOCK: usize = 256 << 10;

/// Copies everything that `from` has, adds it to the hash, and returns the number of bytes.
pub fn copy(from: &mut dyn Read, to: &mut dyn Write, hasher: &mut Hasher) -> io::Result<u64> {
    // Not zeroed: most tasks and artifacts are much smaller, and each page of it that is touched delays a cold start.
    let mut block = Vec::with_capacity(BLOCK);
    let mut all = 0;
    loop {
        block.clear();
        let count = Read::take(&mut *from, BLOCK as u64).read_to_end(&mut block)?;
        if count == 0 {
            return Ok(all);
        }
        hasher.update(&block);
        to.write_all(&block)?;
        all += count as u64;
    }
}

/// Copies `bytes` bytes, and fails if there are fewer.
pub fn copy_exactly(bytes: u64, from: &mut dyn Read, to: &mut dyn Write, hasher: &mut Hasher) -> io::Result<()> {
    if copy(&mut from.take(bytes), to, hasher)? < bytes { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}
