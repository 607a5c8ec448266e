//! The sandbox: everything that a child process gives up before it touches anything that a stranger wrote.
//!
//! Layers are stacked. A bug in the wasm runtime would let the guest run native code; even then, the layers leave it
//! nothing but computing and answering. `docs/security.md` says what each layer stops. The order in a worker is:
//!
//! 1. [`start`]: closes inherited descriptors and makes the process die with the host, before anything else.
//! 2. [`seclude`], where little is granted: enters namespaces, while the process waits for its task.
//! 3. [`enter_loading`]: sets limits, enters namespaces with an empty root, drops privileges, and enters Landlock and a
//!    first seccomp filter. The artifact is loaded afterwards, because what a compile process wrote is not trusted
//!    either.
//! 4. [`Sandbox::enter_serving`]: enters a second, narrower filter before the first guest code runs. From then on there
//!    is no new executable memory.
//!
//! A compile process takes the same steps but the second. It takes the last when it has all its threads, before it reads the task.

mod arguments;
mod cgroups;
pub mod doctor;
mod landlock;
mod limits;
mod namespaces;
mod privileges;
#[cfg(feature = "probes")]
pub mod probes;
mod report;
mod scratch;
mod seccomp;
mod start;
mod steps;
pub mod surroundings;
mod syscalls;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::unistd::{getegid, geteuid};

pub use arguments::PAGEMAP_SCAN;
pub use limits::{PER_OUTPUT_BYTE, ProcessLimits, fault_plainly, why_compiling_ended};
pub use report::{MissingPart, SandboxReport};
pub use scratch::ScratchError;
pub use start::{nowhere, own_socket};
pub use steps::ProcessRole;
use steps::ProcessStage;
use wasmpool_core::layer::{Layer, LayerPart};
use wasmpool_core::policy::SandboxMode;

/// Exceptions from the sandbox because of grants.
#[derive(Clone, Debug, Default)]
pub struct SandboxOpenings {
    /// Granted directories, including everything below them, and whether they may be written to.
    pub directories: Vec<(BorrowedFd<'static>, bool)>,
    /// TCP ports that may be connected to.
    pub ports: BTreeSet<u16>,
    /// Size in bytes of a directory in memory that the process makes for itself and may write to.
    pub scratch: Option<u64>,
    /// User and group that a process started by root switches to, instead of unused ones.
    pub owner: Option<(u32, u32)>,
}

impl SandboxOpenings {
    fn writing(&self) -> bool {
        self.scratch.is_some() || self.directories.iter().any(|(_, writable)| *writable)
    }

    /// Returns true if files can be opened.
    fn files(&self) -> bool {
        self.scratch.is_some() || !self.directories.is_empty()
    }
}

/// The sandbox to enter: how strict it is, and what the process is for.
#[derive(Clone, Debug)]
pub struct SandboxPlan {
    pub mode: SandboxMode,
    pub role: ProcessRole,
    pub limits: ProcessLimits,
    pub openings: SandboxOpenings,
    /// The namespaces that the process is in already.
    pub seclusion: Option<Seclusion>,
    /// Layers that are left out, to show that each of them is effective. Release builds do not have this.
    #[cfg(feature = "probes")]
    pub without: Vec<Layer>,
    /// System calls that are not filtered, to show that their lines in the table are effective.
    #[cfg(feature = "probes")]
    pub free: Vec<libc::c_long>,
}

impl SandboxPlan {
    pub fn new(mode: SandboxMode, role: ProcessRole, limits: ProcessLimits, openings: SandboxOpenings) -> SandboxPlan {
        SandboxPlan {
            mode,
            role,
            limits,
            openings,
            seclusion: None,
            #[cfg(feature = "probes")]
            without: Vec::new(),
            #[cfg(feature = "probes")]
            free: Vec::new(),
        }
    }

    /// Leaves out what a probe is to be tried without.
    #[cfg(feature = "probes")]
    pub fn weakened(self, probe: Option<&wasmpool_core::probe::Probe>) -> SandboxPlan {
        let Some(probe) = probe else {
            return self;
        };
        SandboxPlan { without: probe.without.clone(), free: probe.free.clone(), ..self }
    }

    #[cfg(feature = "probes")]
    fn free(&self) -> &[libc::c_long] {
        &self.free
    }

    #[cfg(not(feature = "probes"))]
    fn free(&self) -> &[libc::c_long] {
        &[]
    }

    #[cfg(feature = "probes")]
    fn has(&self, layer: Layer) -> bool {
        self.mode != SandboxMode::Off && !self.without.contains(&layer)
    }

    #[cfg(not(feature = "probes"))]
    fn has(&self, _layer: Layer) -> bool {
        self.mode != SandboxMode::Off
    }
}

/// The reason why a process must not read what a stranger wrote.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Parts that strict mode requires are not available on this machine.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Missing(Vec<MissingPart>),
    /// The process would outlive its host.
    #[error("the process cannot be made to end with its host")]
    OutlivesHost(#[source] io::Error),
}

/// The namespaces that a process has entered before it knew what it is for.
#[derive(Clone, Debug)]
pub struct Seclusion {
    report: SandboxReport,
    entry: NamespaceEntry,
}

/// The way in which a process has entered its namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NamespaceEntry {
    None,
    /// With the rights of root, which the process still has.
    ByRoot,
    /// With those of a user namespace. `mounts` is true if there is a mount namespace.
    ByOwnUser {
        mounts: bool,
    },
}

/// Enters the namespaces of a process that is granted neither a peer nor a scratch directory. It can do so before it
/// knows anything else; [`enter_loading`] does the rest.
///
/// # Errors
///
/// The process has to end, because its host has.
pub fn seclude() -> io::Result<Seclusion> {
    let kinds = namespaces::kinds(&SandboxOpenings::default());
    let mut report = SandboxReport::default();
    let entry = if !geteuid().is_root() {
        let mounts = namespaces::enter_with_own_user(&kinds, &mut report);
        // The new rights have taken from the process what is its own in /proc, until it drops them.
        nix::sys::prctl::set_dumpable(true)?;
        NamespaceEntry::ByOwnUser { mounts }
    } else if namespaces::enter_as_root(&kinds, &mut report) {
        privileges::gain_none_by_exec();
        NamespaceEntry::ByRoot
    } else {
        NamespaceEntry::None
    };
    // Getting rights has switched it off.
    start::die_with_host()?;
    Ok(Seclusion { report, entry })
}

/// A sandbox that was entered for loading.
#[derive(Debug)]
pub struct Sandbox {
    plan: SandboxPlan,
    report: SandboxReport,
    /// True if the root directory holds nothing but this process's own descriptors.
    empty_root: bool,
    /// The scratch directory, or the reason why there is none.
    scratch: Option<Result<OwnedFd, ScratchError>>,
}

/// Gives up everything that loading a task (or compiling one) does not need.
///
/// The process must have one thread, and must have opened what it needs of `/proc`.
pub fn enter_loading(mut plan: SandboxPlan) -> Result<Sandbox, SandboxError> {
    let (mut report, mut entry) = match plan.seclusion.take() {
        Some(Seclusion { report, entry }) => (report, entry),
        None => (SandboxReport::default(), NamespaceEntry::None),
    };
    let mut empty_root = false;
    if plan.has(Layer::Limits) {
        report.add_all(limits::enter(&plan.limits, &plan.openings));
    }
    // Root may mount the directory now; other users get the right to do so from a user namespace.
    let mut scratch = plan.openings.scratch.map(scratch::make);
    let namespaces = plan.has(Layer::Namespaces);
    let privileges = plan.has(Layer::Privileges);
    // Root enters namespaces with its own rights, and drops these afterwards. Other users get the rights for it from a
    // user namespace of their own.
    let kinds = namespaces::kinds(&plan.openings);
    if namespaces
        && entry == NamespaceEntry::None
        && geteuid().is_root()
        && namespaces::enter_as_root(&kinds, &mut report)
    {
        entry = NamespaceEntry::ByRoot;
    }
    if entry == NamespaceEntry::ByRoot {
        empty_root = make_empty_root(&plan, &mut report);
    }
    if privileges {
        report.add(LayerPart::Unprivileged, privileges::drop_root(plan.openings.owner));
    }
    let user = (geteuid(), getegid());
    let mounts = match entry {
        NamespaceEntry::None => namespaces && namespaces::enter_with_own_user(&kinds, &mut report),
        NamespaceEntry::ByRoot => false,
        NamespaceEntry::ByOwnUser { mounts } => mounts,
    };
    if let (Some(bytes), Some(Err(_))) = (plan.openings.scratch, &scratch) {
        scratch = Some(scratch::make_with_own_user(bytes, user, report.holds(LayerPart::UserNamespace)));
    }
    if mounts {
        empty_root = make_empty_root(&plan, &mut report);
    }
    if privileges {
        report.add(LayerPart::NoCapabilities, privileges::drop_capabilities());
        report.add(LayerPart::NoNewPrivileges, privileges::no_new_privileges());
        report.add(LayerPart::NotDumpable, privileges::not_dumpable());
    }
    // Changing the user has switched it off.
    start::die_with_host().map_err(SandboxError::OutlivesHost)?;
    if plan.has(Layer::Landlock) {
        let scratch = scratch.as_ref().and_then(|made| made.as_ref().ok()).map(AsFd::as_fd);
        report.add_all(landlock::enter(&plan.openings, scratch));
    }
    if plan.has(Layer::Seccomp) {
        let filtered = report.record(
            LayerPart::LoadingFilter,
            seccomp::enter(ProcessStage::loading(plan.role, &plan.openings), plan.free()),
        );
        if filtered && plan.openings.ports.is_empty() {
            report.held.push(LayerPart::NoSockets);
        }
    }
    if plan.mode == SandboxMode::Strict {
        report.meets_strict(&plan)?;
    }
    Ok(Sandbox { plan, report, empty_root, scratch })
}

fn make_empty_root(plan: &SandboxPlan, report: &mut SandboxReport) -> bool {
    let result = namespaces::empty_root();
    if plan.openings.directories.is_empty() {
        return report.record(LayerPart::EmptyRoot, result);
    }
    // From the descriptor of a granted directory, `..` leads out of this root. Only Landlock keeps files out of reach
    // then, so the empty root is not reported as holding.
    result.is_ok()
}

impl Sandbox {
    /// Returns a path by which this process, and no other, can open its own descriptor again.
    pub fn path_of(&self, fd: BorrowedFd<'_>) -> PathBuf {
        let number = fd.as_raw_fd();
        PathBuf::from(if self.empty_root { format!("/{number}") } else { format!("/proc/self/fd/{number}") })
    }

    /// Takes the scratch directory, if one was asked for.
    pub fn take_scratch(&mut self) -> Result<Option<OwnedFd>, ScratchError> {
        self.scratch.take().transpose()
    }

    /// Gives up what serving items does not need. All threads that there will ever be must run by now.
    pub fn enter_serving(&mut self) -> Result<(), SandboxError> {
        if self.plan.has(Layer::Limits) {
            self.report.add(LayerPart::NoProcesses, limits::no_more_threads());
        }
        if self.plan.has(Layer::Seccomp) {
            let step = ProcessStage::serving(self.plan.role, &self.plan.openings);
            self.report.add(LayerPart::ServingFilter, seccomp::enter(step, self.plan.free()));
        }
        match self.plan.mode {
            SandboxMode::Strict => self.report.meets_strict(&self.plan),
            SandboxMode::BestEffort | SandboxMode::Off => Ok(()),
        }
    }

    pub fn report(&self) -> &SandboxReport {
        &self.report
    }

    /// Returns the missing parts that strict mode would have required.
    pub fn lacking(&self) -> Vec<LayerPart> {
        self.report.lacking(&self.plan).map(|missing| missing.part).collect()
    }
}
