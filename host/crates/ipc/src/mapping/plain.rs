//! Shared memory for miri, which has none. It is a plain allocation, and each write to a ring goes to both of its
//! copies.

use std::alloc::{Layout, alloc_zeroed};
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use super::{Access, Part};

/// Size of a page.
const PAGE: usize = 4096;

struct Memory {
    size: usize,
    /// Where it is, once it was mapped.
    base: Option<NonNull<u8>>,
}

// SAFETY: it is accessed like shared memory, only through atomics and raw copies.
unsafe impl Send for Memory {}

/// Stands for memfds: maps the number of a descriptor, which has no other use, to the memory.
static MADE: Mutex<BTreeMap<RawFd, Memory>> = Mutex::new(BTreeMap::new());

pub fn create(_: &CStr, size: usize) -> io::Result<OwnedFd> {
    let fd = OwnedFd::from(io::pipe()?.0);
    let memory = Memory { size, base: None };
    MADE.lock().unwrap_or_else(PoisonError::into_inner).insert(fd.as_raw_fd(), memory);
    Ok(fd)
}

pub fn largest_file() -> io::Result<u64> {
    Ok(u64::MAX)
}

pub fn access(_: &impl AsFd) -> io::Result<Access> {
    Ok(Access::ReadWrite)
}

pub fn read_only(_: &impl AsFd) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

pub fn file_size(fd: &impl AsFd) -> io::Result<u64> {
    let made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let memory = made.get(&fd.as_fd().as_raw_fd()).ok_or(io::ErrorKind::NotFound)?;
    Ok(memory.size as u64)
}

/// Returns the same memory each time. It is never freed, because several may have mapped it.
pub(super) fn map(fd: &impl AsFd, _: Access, _: &[Part], total: usize) -> io::Result<NonNull<u8>> {
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let memory = made.get_mut(&fd.as_fd().as_raw_fd()).ok_or(io::ErrorKind::NotFound)?;
    if memory.base.is_none() {
        let layout = Layout::from_size_align(total, PAGE).map_err(io::Error::other)?;
        // SAFETY: the layout is not empty.
        memory.base = NonNull::new(unsafe { alloc_zeroed(layout) });
    }
    memory.base.ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

/// # Safety
///
/// None is required: the memory stays.
pub(super) unsafe fn unmap(_: NonNull<u8>, _: usize) {}

/// Copies what was written to a ring at this position to the other copy of the ring.
pub(super) fn mirror(ring: NonNull<u8>, size: usize, at: usize, len: usize) {
    let end = at + len;
    // SAFETY: the ring has two copies of `size` bytes, and these bytes belong to the writer.
    unsafe {
        let before_wrap = end.min(size) - at;
        ring.add(at + size).as_ptr().copy_from_nonoverlapping(ring.add(at).as_ptr(), before_wrap);
        if end > size {
            ring.as_ptr().copy_from_nonoverlapping(ring.add(size).as_ptr(), end - size);
        }
    }
}
