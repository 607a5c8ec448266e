//! A directory in memory that only this process can reach, and that disappears with it.
//!
//! It is a file system of its own that is mounted nowhere: no path leads to it, `..` of its root is the root itself,
//! and the kernel frees it when the last descriptor is closed, however the process ends.

use std::io;
use std::os::fd::OwnedFd;

use nix::fcntl::{OFlag, openat};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen};

/// Names take memory of the kernel that is not counted in the size, so the number of files is limited as well.
const BYTES_PER_FILE: u64 = 4096;
const FEWEST_FILES: u64 = 1024;

/// The reason why a scratch directory is not available: what is refused on the way to it.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    #[error("a user namespace to mount it in is refused")]
    Namespace(#[source] io::Error),
    #[error("being known as a user there is refused")]
    User(#[source] io::Error),
    #[error("mounting it is refused")]
    Mount(#[source] io::Error),
}

/// Makes a scratch directory of this many bytes with the rights of root.
pub fn make(bytes: u64) -> Result<OwnedFd, ScratchError> {
    mount(bytes).map_err(ScratchError::Mount)
}

/// Makes a scratch directory with the rights of a user namespace, which is entered here unless it already was. `user`
/// is the user of the process before that.
pub fn make_with_own_user(bytes: u64, user: (Uid, Gid), entered: bool) -> Result<OwnedFd, ScratchError> {
    if !entered {
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).map_err(|e| ScratchError::Namespace(e.into()))?;
    }
    // Files belong to users that their file system knows.
    map(user).map_err(ScratchError::User)?;
    make(bytes)
}

/// Maps this process's user and group into its user namespace.
fn map((user, group): (Uid, Gid)) -> io::Result<()> {
    // A process that has changed its user does not own its own files in /proc. That is undone when it drops its
    // privileges.
    nix::sys::prctl::set_dumpable(true)?;
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}

fn mount(bytes: u64) -> io::Result<OwnedFd> {
    // Files that the guest makes can be read and deleted, whatever mask the user has.
    let mask = umask(Mode::empty());
    umask(mask & !Mode::S_IRWXU);
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // A size of 0 would mean that there is no limit.
    fsconfig_set_string(&context, c"size", bytes.max(BYTES_PER_FILE).to_string())?;
    fsconfig_set_string(&context, c"nr_inodes", (bytes / BYTES_PER_FILE).max(FEWEST_FILES).to_string())?;
    // The process will change its user later, and nobody else ever reaches the directory.
    fsconfig_set_string(&context, c"mode", c"0777")?;
    fsconfig_create(&context)?;
    // No set-user-id, no devices, nothing to execute.
    let attributes =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mounted = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    // `mounted` is only a reference to the mount. Closing it unmounts the file system again, but a directory that is
    // open stays.
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(openat(&mounted, c".", flags, Mode::empty())?)
}
