//! Surroundings like those of a container: everything that Docker's default seccomp profile and capabilities forbid is
//! forbidden.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::Command;

use caps::{CapSet, Capability, CapsHashSet};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

type Error = Box<dyn std::error::Error>;

/// System calls that the profile allows only with `CAP_SYS_ADMIN` or a similar capability.
const FORBIDDEN: [libc::c_long; 28] = [
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_fsconfig,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_kexec_load,
    libc::SYS_open_by_handle_at,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_syslog,
];

const LANDLOCK: [libc::c_long; 3] =
    [libc::SYS_landlock_create_ruleset, libc::SYS_landlock_add_rule, libc::SYS_landlock_restrict_self];

/// Capabilities that root keeps in a container.
const KEPT: [Capability; 14] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FSETID,
    Capability::CAP_FOWNER,
    Capability::CAP_MKNOD,
    Capability::CAP_NET_RAW,
    Capability::CAP_SETGID,
    Capability::CAP_SETUID,
    Capability::CAP_SETFCAP,
    Capability::CAP_SETPCAP,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_SYS_CHROOT,
    Capability::CAP_KILL,
    Capability::CAP_AUDIT_WRITE,
];

/// Runs a command as in a container; if `landlock` is false, as on a kernel without Landlock.
pub fn run(landlock: bool, command: &[String]) -> Result<(), Error> {
    let (program, arguments) = command.split_first().ok_or("name a command")?;
    if nix::unistd::geteuid().is_root() {
        let kept = CapsHashSet::from(KEPT);
        for capability in caps::runtime::thread_all_supported().difference(&kept) {
            caps::drop(None, CapSet::Bounding, *capability)?;
        }
        let have = caps::read(None, CapSet::Permitted)?;
        let kept: CapsHashSet = have.intersection(&kept).copied().collect();
        caps::set(None, CapSet::Effective, &kept)?;
        caps::set(None, CapSet::Permitted, &kept)?;
    }
    let mut forbidden: BTreeMap<i64, Vec<SeccompRule>> = FORBIDDEN.iter().map(|&n| (n, Vec::new())).collect();
    // Forbids `clone` with any of the flags that make a new namespace.
    let flags = [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
    ];
    let rule = |flag: i32| -> Result<SeccompRule, Error> {
        let flag = flag as u64;
        let condition = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(flag), flag)?;
        Ok(SeccompRule::new(vec![condition])?)
    };
    forbidden.insert(libc::SYS_clone, flags.into_iter().map(rule).collect::<Result<_, _>>()?);
    refuse(forbidden, libc::EPERM)?;
    let mut unknown = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    if !landlock {
        unknown.extend(LANDLOCK.map(|number| (number, Vec::new())));
    }
    refuse(unknown, libc::ENOSYS)?;
    Err(Command::new(program).args(arguments).exec().into())
}

pub fn refuse(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: i32) -> Result<(), Error> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let answer = SeccompAction::Errno(errno.unsigned_abs());
    let program: BpfProgram = SeccompFilter::new(rules, SeccompAction::Allow, answer, arch)?.try_into()?;
    Ok(seccompiler::apply_filter(&program)?)
}
