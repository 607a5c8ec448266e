//! Anonymous memory that is handed to another process by descriptor.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A new one, which can be sealed. Never executable by name.
pub fn create(name: &std::ffi::CStr) -> io::Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let no_exec = MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL);
    // Kernels before 6.3 don't know the no-exec seal.
    let fd = memfd_create(name, flags | no_exec)
        .or_else(|_| memfd_create(name, flags))
        .map_err(|e| crate::refused::refused("memfd_create", e.into()))?;
    Ok(File::from(fd))
}

/// Makes it unchangeable for ever, for everybody.
pub fn seal(file: &impl AsFd) -> io::Result<()> {
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(())
}

/// A value as JSON in sealed memory.
pub fn of_json(name: &std::ffi::CStr, value: &impl Serialize) -> io::Result<OwnedFd> {
    let mut file = create(name)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    seal(&file)?;
    Ok(file.into())
}

/// Reads such a value.
pub fn read_json<T: DeserializeOwned>(fd: OwnedFd) -> io::Result<T> {
    let mut file = File::from(fd);
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}
