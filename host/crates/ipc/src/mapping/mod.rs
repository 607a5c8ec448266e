//! Memory that two processes share: a sealed memfd, mapped so that each ring in it appears twice in a row.
//!
//! Because a ring is mapped twice, every span of it is contiguous, and code that reads or writes it need not handle a
//! wrap.

#[cfg(not(miri))]
mod kernel;
#[cfg(miri)]
mod plain;
mod ring;

use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;

#[cfg(not(miri))]
pub use kernel::{access, create, file_size, largest_file, read_only};
#[cfg(miri)]
pub use plain::{access, create, file_size, largest_file, read_only};
pub use ring::Ring;

#[cfg(not(miri))]
use kernel as memory;
#[cfg(miri)]
use plain as memory;

/// A value in a cache line of its own, so that the two sides don't slow each other down.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub struct CacheLine<T>(pub T);

/// Part of a file that is mapped. Parts follow each other in the file without gaps.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Offset in the mapping, a multiple of the size of a page.
    pub at: usize,
    pub len: usize,
    /// Number of times that the part appears in a row: twice if it is a ring.
    pub copies: usize,
}

/// What may be done with a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    ReadWrite,
}

/// A mapping, which ends when this value is dropped.
#[derive(Debug)]
pub struct Mapping {
    base: NonNull<u8>,
    total: usize,
}

// SAFETY: the mapping belongs to this value alone, and whoever uses its address says why that is sound.
unsafe impl Send for Mapping {}
// SAFETY: as above; a shared reference only yields the address.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the parts of a file that [`create`] made. The file has to be as long as the parts are together; `total` is
    /// the length of the mapping.
    pub fn map(fd: &impl AsFd, access: Access, parts: &[Part], total: usize) -> io::Result<Mapping> {
        let size: usize = parts.iter().map(|part| part.len).sum();
        let fits = parts.iter().all(|part| part.at + part.len * part.copies <= total);
        if !fits || (size as u64) > file_size(fd)? {
            return Err(io::Error::other("the shared memory has another size than was expected"));
        }
        Ok(Mapping { base: memory::map(fd, access, parts, total)?, total })
    }

    /// Returns the address of the first byte.
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Returns the address at an offset.
    ///
    /// # Panics
    ///
    /// If the offset is outside of the mapping.
    pub fn at(&self, offset: usize) -> NonNull<u8> {
        assert!(offset < self.total);
        // SAFETY: the offset is within the mapping.
        unsafe { self.base.add(offset) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map`, and nothing borrowed from it outlives `self`.
        unsafe { memory::unmap(self.base, self.total) };
    }
}
