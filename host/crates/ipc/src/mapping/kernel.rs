//! Shared memory from the kernel.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use nix::sys::resource::{Resource, getrlimit};

use super::Part;

/// Creates memory of this many bytes, filled with zeroes. Its size can never change, so that no access to it can fault.
pub fn create(name: &std::ffi::CStr, size: usize) -> io::Result<OwnedFd> {
    let fd = OwnedFd::from(crate::memfd::create(name)?);
    nix::unistd::ftruncate(&fd, size as i64)?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&fd, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(fd)
}

/// Returns the size of the largest file that this process may create (`ulimit -f`). Check it first: exceeding it sends
/// a signal that ends the process.
pub fn largest_file() -> io::Result<u64> {
    Ok(getrlimit(Resource::RLIMIT_FSIZE)?.0)
}

/// Returns the number of bytes of the memory.
pub fn file_size(fd: &impl AsFd) -> io::Result<u64> {
    Ok(nix::sys::stat::fstat(fd.as_fd())?.st_size as u64)
}

/// Maps the parts of a file, one after the other, to their places in a mapping of `total` bytes.
pub(super) fn map(fd: &impl AsFd, parts: &[Part], total: usize) -> io::Result<NonNull<u8>> {
    let len = NonZeroUsize::new(total).ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: a fresh reservation at an address of the kernel's choosing.
    let base = unsafe { mmap_anonymous(None, len, ProtFlags::PROT_NONE, MapFlags::MAP_PRIVATE)? };
    let base = base.cast();
    if let Err(e) = map_parts(fd, base, parts) {
        // SAFETY: it was mapped just now, and nobody else knows of it.
        unsafe { unmap(base, total) };
        return Err(e);
    }
    Ok(base)
}

/// Unmaps the memory.
///
/// # Safety
///
/// The mapping has to be one that [`map`] made with the same total, and nothing may still point into it.
pub(super) unsafe fn unmap(base: NonNull<u8>, total: usize) {
    // SAFETY: guaranteed by the caller.
    let _ = unsafe { munmap(base.cast(), total) };
}

/// Replaces the parts of a reservation by those of the file.
fn map_parts(fd: &impl AsFd, base: NonNull<u8>, parts: &[Part]) -> io::Result<()> {
    let mut offset = 0;
    for &Part { at, len, copies } in parts {
        for nth in 0..copies {
            let address = NonZeroUsize::new(base.as_ptr() as usize + at + nth * len);
            let len = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidInput)?;
            let (protection, flags) =
                (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED | MapFlags::MAP_FIXED);
            // SAFETY: MAP_FIXED replaces pages of the reservation made above and no others, which `Mapping::map`
            // checked; the file's size is sealed and covers offset + len.
            unsafe { mmap(address, len, protection, flags, fd, offset as i64)? };
        }
        offset += len;
    }
    Ok(())
}
