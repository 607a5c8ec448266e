//! The memory of a lane from the kernel: a sealed memfd, mapped so that each ring appears twice in a row.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use nix::sys::resource::{Resource, getrlimit};

use super::region::{FILE, INPUT, NARROW_FILE, OUTPUT, PRINTED, PRINTS, STATUS, TOTAL, WIDE_INPUT, WIDE_OUTPUT};
use super::rings::{RING, WIDE};

/// Creates the memory, filled with zeroes. Its size can never change.
pub fn create() -> io::Result<OwnedFd> {
    let fd = OwnedFd::from(crate::memfd::create(c"wasmpool-lane")?);
    // The limit is checked first, because exceeding it sends a signal that ends the process.
    let (most, _) = getrlimit(Resource::RLIMIT_FSIZE)?;
    let size = if most < FILE as u64 { NARROW_FILE } else { FILE };
    nix::unistd::ftruncate(&fd, size as i64)?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&fd, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(fd)
}

/// Maps the memory. Returns its address, and whether it has wide rings.
pub fn map(fd: &impl AsFd) -> io::Result<(NonNull<u8>, bool)> {
    let size = nix::sys::stat::fstat(fd.as_fd())?.st_size;
    let wide = size == FILE as i64;
    if !wide && size != NARROW_FILE as i64 {
        return Err(io::Error::other("the shared memory has not the size of a lane"));
    }
    let total = NonZeroUsize::new(TOTAL).ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: a fresh reservation at an address of the kernel's choosing.
    let base = unsafe { mmap_anonymous(None, total, ProtFlags::PROT_NONE, MapFlags::MAP_PRIVATE)? };
    let base = base.cast();
    if let Err(e) = map_parts(fd, base, wide) {
        // SAFETY: it was mapped just now, and nobody else knows of it.
        unsafe { unmap(base) };
        return Err(e);
    }
    Ok((base, wide))
}

/// Unmaps the memory.
///
/// # Safety
///
/// The mapping has to be one that [`map`] made, and nothing may still point into it.
pub unsafe fn unmap(base: NonNull<u8>) {
    // SAFETY: guaranteed by the caller; a mapping has this length.
    let _ = unsafe { munmap(base.cast(), TOTAL) };
}

/// Replaces the parts of a reservation by those of the file.
fn map_parts(fd: &impl AsFd, base: NonNull<u8>, wide: bool) -> io::Result<()> {
    // Parts follow each other in the file; in the mapping each ring appears twice in a row.
    let parts = [
        (0, STATUS, 1),
        (INPUT, RING, 2),
        (OUTPUT, RING, 2),
        (PRINTS, 2 * PRINTED, 1),
        (WIDE_INPUT, WIDE, 2),
        (WIDE_OUTPUT, WIDE, 2),
    ];
    let mut offset = 0;
    for (at, len, times) in parts.into_iter().filter(|(at, ..)| wide || *at < WIDE_INPUT) {
        for nth in 0..times {
            let address = NonZeroUsize::new(base.as_ptr() as usize + at + nth * len);
            let len = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidInput)?;
            let (protection, flags) =
                (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED | MapFlags::MAP_FIXED);
            // SAFETY: MAP_FIXED replaces pages of the reservation made above and no others; the file's size is sealed
            // and covers offset + len.
            unsafe { mmap(address, len, protection, flags, fd, offset as i64)? };
        }
        offset += len;
    }
    Ok(())
}
