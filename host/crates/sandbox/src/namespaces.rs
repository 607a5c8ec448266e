//! Empty views of the system: no network, no shared memory of other processes, no files.
//!
//! There is no PID namespace. Only a child of this process could enter one, and one more process per worker would gain
//! little: nothing that takes the id of another process passes the seccomp filter, and Landlock keeps signals inside.

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{chdir, pivot_root};

use super::{SandboxOpenings, SandboxReport};
use wasmpool_core::layer::LayerPart;

const KINDS: [(LayerPart, CloneFlags); 5] = [
    (LayerPart::MountNamespace, CloneFlags::CLONE_NEWNS),
    (LayerPart::NetworkNamespace, CloneFlags::CLONE_NEWNET),
    (LayerPart::IpcNamespace, CloneFlags::CLONE_NEWIPC),
    (LayerPart::UtsNamespace, CloneFlags::CLONE_NEWUTS),
    (LayerPart::CgroupNamespace, CloneFlags::CLONE_NEWCGROUP),
];

pub type Kinds = Vec<(LayerPart, CloneFlags)>;

/// Returns the namespaces to enter: all of them, except the network if peers in the host's network are granted.
pub fn kinds(openings: &SandboxOpenings) -> Kinds {
    KINDS.into_iter().filter(|(part, _)| *part != LayerPart::NetworkNamespace || openings.ports.is_empty()).collect()
}

/// Enters the namespaces with the rights of root. If these rights are not available, nothing has happened and nothing
/// is reported.
pub fn enter_as_root(kinds: &Kinds, report: &mut SandboxReport) -> bool {
    if unshare(all(kinds)).is_err() {
        return false;
    }
    report.held.extend(kinds.iter().map(|(part, _)| *part));
    true
}

/// Enters the namespaces by means of a user namespace, in which this process may do so. Returns true if there is a
/// mount namespace.
///
/// No user is mapped in it: inside, this process is nobody.
pub fn enter_with_own_user(kinds: &Kinds, report: &mut SandboxReport) -> bool {
    if unshare(all(kinds) | CloneFlags::CLONE_NEWUSER).is_ok() {
        report.held.push(LayerPart::UserNamespace);
        report.held.extend(kinds.iter().map(|(part, _)| *part));
        return true;
    }
    // One of them is not available: find out which, and enter the others.
    let user = unshare(CloneFlags::CLONE_NEWUSER);
    report.add(LayerPart::UserNamespace, user);
    report.add_all(kinds.iter().map(|&(part, flag)| (part, user.and_then(|()| unshare(flag)))));
    if !report.holds(LayerPart::MountNamespace) {
        report.add(LayerPart::EmptyRoot, Err("there is no mount namespace to make it in"));
    }
    report.holds(LayerPart::MountNamespace)
}

fn all(kinds: &Kinds) -> CloneFlags {
    kinds.iter().fold(CloneFlags::empty(), |flags, (_, flag)| flags | *flag)
}

/// Makes this process's own descriptors the root directory, read-only, and detaches all other files.
///
/// Runtimes load artifacts by path. In this root, a path leads to the descriptors of the process and to nothing else.
pub fn empty_root() -> Result<(), Errno> {
    const NOWHERE: Option<&str> = None;
    // Nothing that happens here may affect the namespace that the process came from.
    mount(NOWHERE, "/", NOWHERE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOWHERE)?;
    mount(Some("/proc/self/fd"), "/proc", NOWHERE, MsFlags::MS_BIND, NOWHERE)?;
    chdir("/proc")?;
    let sealed = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(NOWHERE, ".", NOWHERE, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | sealed, NOWHERE)?;
    // The old root is now on top of the new one, and is removed.
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")
}
