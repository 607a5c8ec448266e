//! The memory of a lane for miri, which has no shared memory. It is a plain allocation, and each write to a ring goes
//! to both of its copies.

use std::alloc::{Layout, alloc_zeroed};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use super::region::{FILE, NARROW_FILE, STATUS, TOTAL};

struct Memory(NonNull<u8>);

// SAFETY: it is accessed like shared memory, only through atomics and raw copies.
unsafe impl Send for Memory {}

/// Stands for memfds: maps the number of a descriptor, which has no other use, to the memory.
static MADE: Mutex<BTreeMap<RawFd, Memory>> = Mutex::new(BTreeMap::new());

pub fn create() -> io::Result<OwnedFd> {
    let layout = Layout::from_size_align(TOTAL, STATUS).map_err(io::Error::other)?;
    // SAFETY: the layout is not empty. The memory is never freed, because several may have mapped it.
    let memory = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(io::ErrorKind::OutOfMemory)?;
    let fd = OwnedFd::from(io::pipe()?.0);
    MADE.lock().unwrap_or_else(PoisonError::into_inner).insert(fd.as_raw_fd(), Memory(memory));
    Ok(fd)
}

pub fn map(fd: &impl AsFd) -> io::Result<(NonNull<u8>, bool)> {
    let made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let memory = made.get(&fd.as_fd().as_raw_fd()).ok_or(io::ErrorKind::NotFound)?;
    Ok((memory.0, FILE > NARROW_FILE))
}

/// # Safety
///
/// None is required: the memory stays.
pub unsafe fn unmap(_: NonNull<u8>) {}

/// Copies what was written to a ring at this position to the other copy of the ring.
pub fn mirror(ring: NonNull<u8>, size: usize, at: usize, len: usize) {
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
