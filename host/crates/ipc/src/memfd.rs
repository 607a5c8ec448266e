//! Anonymous memory that is handed to another process by descriptor.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Creates anonymous memory that can be sealed. It can never be executed by name.
pub fn create(name: &std::ffi::CStr) -> io::Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let no_exec = MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL);
    // Kernels before 6.3 don't have the no-exec seal.
    let fd = memfd_create(name, flags | no_exec)
        .or_else(|_| memfd_create(name, flags))
        .map_err(|e| crate::refused::refused("memfd_create", e.into()))?;
    Ok(File::from(fd))
}

/// Makes the memory unchangeable for everybody, for good.
pub fn seal(file: &impl AsFd) -> io::Result<()> {
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(())
}

/// Returns sealed memory that holds these bytes.
pub fn of_bytes(name: &std::ffi::CStr, bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = create(name)?;
    file.write_all(bytes)?;
    seal(&file)?;
    Ok(file.into())
}

/// Reads the bytes that [`of_bytes`] wrote.
pub fn read(fd: OwnedFd) -> io::Result<Vec<u8>> {
    let mut file = File::from(fd);
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns sealed memory that holds a value as JSON.
pub fn of_json(name: &std::ffi::CStr, value: &impl Serialize) -> io::Result<OwnedFd> {
    of_bytes(name, &serde_json::to_vec(value)?)
}

/// Reads a value that [`of_json`] wrote.
pub fn read_json<T: DeserializeOwned>(fd: OwnedFd) -> io::Result<T> {
    Ok(serde_json::from_slice(&read(fd)?)?)
}
