//! The memory of a lane for miri, which has no shared memory: a plain allocation, in which whoever writes to a ring writes to
//! both of its copies.

use std::alloc::{Layout, alloc_zeroed};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use super::region::{FILE, NARROW_FILE, STATUS, TOTAL};

struct Memory(NonNull<u8>);

// SAFETY: it is reached as shared memory is, through atomics and raw copies.
unsafe impl Send for Memory {}

/// What stands for a memfd: the memory by the number of a descriptor that is good for nothing else.
static MADE: Mutex<BTreeMap<RawFd, Memory>> = Mutex::new(BTreeMap::new());

pub fn create() -> io::Result<OwnedFd> {
    let layout = Layout::from_size_align(TOTAL, STATUS).map_err(io::Error::other)?;
    // SAFETY: the layout is not empty. It is never freed: several may have mapped it.
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
/// None is needed: it stays.
pub unsafe fn unmap(_: NonNull<u8>) {}

/// Has both copies of a ring hold what was written to it at this place.
pub fn mirror(ring: NonNull<u8>, size: usize, at: usize, len: usize) {
    let end = at + len;
    // SAFETY: the ring has two copies of so many bytes, and these are the writer's.
    unsafe {
        let before_wrap = end.min(size) - at;
        ring.add(at + size).as_ptr().copy_from_nonoverlapping(ring.add(at).as_ptr(), before_wrap);
        if end > size {
            ring.as_ptr().copy_from_nonoverlapping(ring.add(size).as_ptr(), end - size);
        }
    }
}
