//! Views of the system that are empty: no network, no processes' shared memory, no files.
//!
//! There is no PID namespace: only a child of ours could enter one, and one more process per worker would buy little, as
//! nothing that takes the id of another process passes the seccomp filter and Landlock keeps signals inside.

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{chdir, pivot_root};

use super::{Openings, Report};
use wasmpool_core::layer::Part;

const KINDS: [(Part, CloneFlags); 5] = [
    (Part::MountNamespace, CloneFlags::CLONE_NEWNS),
    (Part::NetworkNamespace, CloneFlags::CLONE_NEWNET),
    (Part::IpcNamespace, CloneFlags::CLONE_NEWIPC),
    (Part::UtsNamespace, CloneFlags::CLONE_NEWUTS),
    (Part::CgroupNamespace, CloneFlags::CLONE_NEWCGROUP),
];

pub type Kinds = Vec<(Part, CloneFlags)>;

/// Those to enter: all, but the network where peers in ours are granted.
pub fn kinds(openings: &Openings) -> Kinds {
    KINDS.into_iter().filter(|(part, _)| *part != Part::NetworkNamespace || openings.ports.is_empty()).collect()
}

/// Enters them by right of being root. Where that right is not to be had, nothing has happened, and nothing is reported.
pub fn enter_as_root(kinds: &Kinds, report: &mut Report) -> bool {
    if unshare(all(kinds)).is_err() {
        return false;
    }
    report.held.extend(kinds.iter().map(|(part, _)| *part));
    true
}

/// Enters them by way of a user namespace, in which this process may do so. Says whether there is a mount namespace.
///
/// No user is mapped in it: inside, this process is nobody.
pub fn enter_with_own_user(kinds: &Kinds, report: &mut Report) -> bool {
    if unshare(all(kinds) | CloneFlags::CLONE_NEWUSER).is_ok() {
        report.held.push(Part::UserNamespace);
        report.held.extend(kinds.iter().map(|(part, _)| *part));
        return true;
    }
    // One of them is not to be had: find out which, and enter the others.
    let user = unshare(CloneFlags::CLONE_NEWUSER);
    report.add(Part::UserNamespace, user);
    report.add_all(kinds.iter().map(|&(part, flag)| (part, user.and_then(|()| unshare(flag)))));
    if !report.holds(Part::MountNamespace) {
        report.add(Part::EmptyRoot, Err("there is no mount namespace to make it in"));
    }
    report.holds(Part::MountNamespace)
}

fn all(kinds: &Kinds) -> CloneFlags {
    kinds.iter().fold(CloneFlags::empty(), |flags, (_, flag)| flags | *flag)
}

/// Makes this process's own descriptors the root directory, read-only, and lets go of all other files.
///
/// Runtimes load artifacts by path: in this root, a path leads to the descriptors the process has, and to nothing else.
pub fn empty_root() -> Result<(), Errno> {
    const NOWHERE: Option<&str> = None;
    // Nothing that happens here may reach the namespace we came from.
    mount(NOWHERE, "/", NOWHERE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOWHERE)?;
    mount(Some("/proc/self/fd"), "/proc", NOWHERE, MsFlags::MS_BIND, NOWHERE)?;
    chdir("/proc")?;
    let sealed = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(NOWHERE, ".", NOWHERE, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | sealed, NOWHERE)?;
    // The old root comes to lie on top of the new one, and is taken off.
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")
}
