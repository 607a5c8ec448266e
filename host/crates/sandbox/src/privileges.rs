//! Dropping all rights, and every way to get any.

use caps::CapSet;
use caps::errors::CapsError;
use nix::errno::Errno;
use nix::unistd::{Gid, Uid, geteuid, getpid, setgroups, setresgid, setresuid};

/// The first of a range of user ids that nobody uses, according to systemd's documentation. Each process gets one of
/// its own from it, so that two workers do not share a user either.
const UNUSED: u32 = 0x7000_0000;
/// The user `nobody`, for places where unused ids are not available (in a container with few ids).
const NOBODY: u32 = 65534;

/// The reason why a process stays root.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum PrivilegeError {
    #[error("cannot become the owner of a granted directory")]
    Owner(#[source] Errno),
    #[error("cannot become another user than root")]
    User(#[source] Errno),
}

/// Switches from root to another user; does nothing for other users. If a directory is granted, the new user is its
/// owner, who can use it. That may be root, but without any of root's rights except those of an owner.
pub fn drop_root(owner: Option<(u32, u32)>) -> Result<(), PrivilegeError> {
    if !geteuid().is_root() {
        return Ok(());
    }
    // Changing the bounding set requires a right that is lost with the user.
    gain_none_by_exec();
    if let Some((user, group)) = owner {
        return become_user(user, group).map_err(PrivilegeError::Owner);
    }
    let own = UNUSED + getpid().as_raw().unsigned_abs();
    become_user(own, own).or_else(|_| become_user(NOBODY, NOBODY)).map_err(PrivilegeError::User)
}

/// Empties the set of capabilities that root may gain by executing a program. The set has no effect without that, so a
/// failure does no harm.
pub fn gain_none_by_exec() {
    // Each is dropped without asking first whether it is there.
    for capability in caps::all() {
        let _ = caps::drop(None, CapSet::Bounding, capability);
    }
}

fn become_user(user: u32, group: u32) -> Result<(), Errno> {
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    setgroups(&[])?;
    setresgid(group, group, group)?;
    setresuid(user, user, user)
}

/// Drops every capability, including those over the process's own namespaces.
pub fn drop_capabilities() -> Result<(), CapsError> {
    let clear = |set| caps::clear(None, set);
    // Kernels without ambient capabilities have none to drop.
    let _ = clear(CapSet::Ambient);
    clear(CapSet::Inheritable)?;
    clear(CapSet::Effective)?;
    clear(CapSet::Permitted)
}

pub fn no_new_privileges() -> Result<(), Errno> {
    nix::sys::prctl::set_no_new_privs()
}

/// Prevents other processes of the same user from tracing this one or reading its memory, and prevents core dumps.
pub fn not_dumpable() -> Result<(), Errno> {
    nix::sys::prctl::set_dumpable(false)
}
