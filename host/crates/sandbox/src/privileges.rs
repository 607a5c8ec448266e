//! No rights, and no way to get any.

use caps::CapSet;
use nix::errno::Errno;
use nix::unistd::{Gid, Uid, geteuid, getpid, setgroups, setresgid, setresuid};

/// The first of a range of user ids that systemd's documentation lists as unused by anybody. Each process gets one of its
/// own from it, so that two workers share no user either.
const UNUSED: u32 = 0x7000_0000;
/// Where such ids are not to be had (in a container with few ids): `nobody`.
const NOBODY: u32 = 65534;

/// Stops being root; everybody else stays who they are. Where a directory is granted, its owner is who can use it: that
/// may be root, without any of root's rights but those of an owner.
pub fn drop_root(owner: Option<(u32, u32)>) -> Result<(), String> {
    if !geteuid().is_root() {
        return Ok(());
    }
    // The bounding set needs a right that is lost with the user. Without exec it has no use; failure is no harm.
    let _ = caps::clear(None, CapSet::Bounding);
    if let Some((user, group)) = owner {
        return become_user(user, group).map_err(|e| format!("cannot become the owner of a granted directory: {e}"));
    }
    let own = UNUSED + getpid().as_raw().unsigned_abs();
    become_user(own, own)
        .or_else(|_| become_user(NOBODY, NOBODY))
        .map_err(|e| format!("cannot become another user than root: {e}"))
}

fn become_user(user: u32, group: u32) -> Result<(), Errno> {
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    setgroups(&[])?;
    setresgid(group, group, group)?;
    setresuid(user, user, user)
}

/// Lets go of every capability, also of those over our own namespaces.
pub fn drop_capabilities() -> Result<(), String> {
    let clear = |set| caps::clear(None, set).map_err(|e| e.to_string());
    // Kernels without ambient capabilities have none to drop.
    let _ = clear(CapSet::Ambient);
    clear(CapSet::Inheritable)?;
    clear(CapSet::Effective)?;
    clear(CapSet::Permitted)
}

pub fn no_new_privileges() -> Result<(), Errno> {
    nix::sys::prctl::set_no_new_privs()
}

/// Other processes of the same user can neither trace this one nor read its memory, and it never dumps core.
pub fn not_dumpable() -> Result<(), Errno> {
    nix::sys::prctl::set_dumpable(false)
}
