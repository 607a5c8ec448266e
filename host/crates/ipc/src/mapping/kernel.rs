//! Shared memory from the kernel.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr::NonNull;

use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl, open};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::Mode;

use super::{Access, Part};

/// Creates memory of this many bytes, filled with zeroes. Its size can never change, so that no access to it can fault.
pub fn create(name: &std::ffi::CStr, size: usize) -> io::Result<OwnedFd> {
    let fd = OwnedFd::from(crate::memfd::create(name)?);
    nix::unistd::ftruncate(&fd, size as i64)?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&fd, FcntlArg::F_ADD_SEALS(seals))?;
    // Whoever gets a descriptor for reading only cannot open the memory for writing through it.
    nix::sys::stat::fchmod(&fd, Mode::S_IRUSR)?;
    Ok(fd)
}

/// Returns the size of the largest file that this process may create (`ulimit -f`). Check it first: exceeding it sends
/// a signal that ends the process.
pub fn largest_file() -> io::Result<u64> {
    Ok(getrlimit(Resource::RLIMIT_FSIZE)?.0)
}

/// Returns what the descriptor allows.
pub fn access(fd: &impl AsFd) -> io::Result<Access> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    Ok(if flags & OFlag::O_ACCMODE == OFlag::O_RDWR { Access::ReadWrite } else { Access::Read })
}

/// Returns a descriptor of the same memory that allows reading only. A mapping of it can never be made writable.
pub fn read_only(fd: &impl AsFd) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    let error = |e| io::Error::other(format!("a descriptor for reading only cannot be opened by {path}: {e}"));
    open(path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).map_err(error)
}

/// Returns the number of bytes of the memory. Nobody reads it by its position, which this moves: some libcs ask for a
/// file's size by a call that takes a path, which the manager's sandbox does not allow.
pub fn file_size(fd: &impl AsFd) -> io::Result<u64> {
    Ok(nix::unistd::lseek(fd, 0, nix::unistd::Whence::SeekEnd)?.unsigned_abs())
}

/// Maps the parts of a file, one after the other, to their places in a mapping of `total` bytes.
pub(super) fn map(fd: &impl AsFd, access: Access, parts: &[Part], total: usize) -> io::Result<NonNull<u8>> {
    let len = NonZeroUsize::new(total).ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: a fresh reservation at an address of the kernel's choosing.
    let base = unsafe { mmap_anonymous(None, len, ProtFlags::PROT_NONE, MapFlags::MAP_PRIVATE)? };
    let base = base.cast();
    if let Err(e) = map_parts(fd, access, base, parts) {
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
fn map_parts(fd: &impl AsFd, access: Access, base: NonNull<u8>, parts: &[Part]) -> io::Result<()> {
    let protection = match access {
        Access::Read => ProtFlags::PROT_READ,
        Access::ReadWrite => ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
    };
    let flags = MapFlags::MAP_SHARED | MapFlags::MAP_FIXED;
    let mut offset = 0;
    for &Part { at, len, copies } in parts {
        for nth in 0..copies {
            let address = NonZeroUsize::new(base.as_ptr() as usize + at + nth * len);
            let len = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidInput)?;
            // SAFETY: MAP_FIXED replaces pages of the reservation made above and no others, which `Mapping::map`
            // checked; the file's size is sealed and covers offset + len.
            unsafe { mmap(address, len, protection, flags, fd, offset as i64)? };
        }
        offset += len;
    }
    Ok(())
}
