//! What a child process gives up before it touches anything a stranger wrote.
//!
//! Layers are stacked so that a bug in the wasm runtime, which would hand the guest native code, still leaves it nothing
//! but computing and answering. `docs/security.md` says what each layer stops. The order, in a worker:
//!
//! 1. [`start`]: inherited descriptors closed, death with the host (before anything else).
//! 2. [`enter_loading`]: limits, namespaces with an empty root, privileges, Landlock, and a first seccomp filter. After
//!    it the artifact is loaded: what a compile process wrote is not trusted either.
//! 3. [`Sandbox::enter_serving`]: a second, narrower filter before the first guest code runs. No new executable memory from
//!    here.
//!
//! A compile process takes the same steps; the third comes when it has all its threads, before it reads the task.

mod arguments;
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
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::unistd::{getegid, geteuid};

pub use limits::{Limits, PER_OUTPUT_BYTE, fault_plainly, why_compiling_ended};
pub use report::Report;
pub use start::{nowhere, own_socket};
pub use steps::Role;
use steps::Step;
use wasmpool_core::layer::{Layer, Part};
use wasmpool_core::policy::SandboxMode;

/// What grants leave open.
#[derive(Clone, Debug, Default)]
pub struct Openings {
    /// Directories with all below them, and whether they may be written to.
    pub directories: Vec<(BorrowedFd<'static>, bool)>,
    /// TCP ports that may be connected to.
    pub ports: BTreeSet<u16>,
    /// Bytes of a directory in memory that the process may write to, and makes for itself.
    pub scratch: Option<u64>,
    /// Whom a process of root becomes, in place of nobody in particular.
    pub owner: Option<(u32, u32)>,
}

impl Openings {
    fn writing(&self) -> bool {
        self.scratch.is_some() || self.directories.iter().any(|(_, writable)| *writable)
    }

    /// Whether files can be opened.
    fn files(&self) -> bool {
        self.scratch.is_some() || !self.directories.is_empty()
    }
}

/// What to enter: how much of the sandbox must hold, and what the process is for.
#[derive(Clone, Debug)]
pub struct Plan {
    pub mode: SandboxMode,
    pub role: Role,
    pub limits: Limits,
    pub openings: Openings,
    /// Layers left out, to show that each of them holds something. Release builds lack it.
    #[cfg(feature = "probes")]
    pub without: Vec<Layer>,
    /// System calls that are not filtered, to show that their lines hold something.
    #[cfg(feature = "probes")]
    pub free: Vec<libc::c_long>,
}

impl Plan {
    pub fn new(mode: SandboxMode, role: Role, limits: Limits, openings: Openings) -> Plan {
        Plan {
            mode,
            role,
            limits,
            openings,
            #[cfg(feature = "probes")]
            without: Vec::new(),
            #[cfg(feature = "probes")]
            free: Vec::new(),
        }
    }

    /// Goes without what a probe is to be tried without.
    #[cfg(feature = "probes")]
    pub fn weakened(self, probe: Option<&wasmpool_core::probe::Probe>) -> Plan {
        let Some(probe) = probe else {
            return self;
        };
        Plan { without: probe.without.clone(), free: probe.free.clone(), ..self }
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

/// A layer that `--sandbox strict` needs is missing here.
#[derive(Debug)]
pub struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A sandbox that was entered for loading.
#[derive(Debug)]
pub struct Sandbox {
    plan: Plan,
    report: Report,
    /// The root directory holds nothing but this process's own descriptors.
    empty_root: bool,
    /// The scratch directory, or why there is none.
    scratch: Option<Result<OwnedFd, String>>,
}

/// Gives up everything that loading a task (or compiling one) does not need.
///
/// The process must have one thread, and must have opened what it needs of `/proc`.
pub fn enter_loading(plan: Plan) -> Result<Sandbox, Refused> {
    let mut report = Report::default();
    let mut empty_root = false;
    if plan.has(Layer::Limits) {
        report.add_all(limits::enter(&plan.limits, &plan.openings));
    }
    // Root may, now; others get the right to from a user namespace.
    let mut scratch = plan.openings.scratch.map(scratch::make);
    let namespaces = plan.has(Layer::Namespaces);
    let privileges = plan.has(Layer::Privileges);
    let mut entered = false;
    // Root enters namespaces with its own rights, and drops them afterwards; everybody else gets rights for it from a
    // user namespace of its own.
    let kinds = namespaces::kinds(&plan.openings);
    if namespaces && geteuid().is_root() && namespaces::enter_as_root(&kinds, &mut report) {
        entered = true;
        empty_root = make_empty_root(&plan, &mut report);
    }
    if privileges {
        report.add(Part::Unprivileged, privileges::drop_root(plan.openings.owner));
    }
    let user = (geteuid(), getegid());
    let mounts = namespaces && !entered && namespaces::enter_with_own_user(&kinds, &mut report);
    if let (Some(bytes), Some(Err(_))) = (plan.openings.scratch, &scratch) {
        scratch = Some(scratch::make_with_own_user(bytes, user, report.holds(Part::UserNamespace)));
    }
    if mounts {
        empty_root = make_empty_root(&plan, &mut report);
    }
    if privileges {
        report.add(Part::NoCapabilities, privileges::drop_capabilities());
        report.add(Part::NoNewPrivileges, privileges::no_new_privileges());
        report.add(Part::NotDumpable, privileges::not_dumpable());
    }
    // Changing the user has switched it off.
    start::die_with_host().map_err(|e| Refused(e.to_string()))?;
    if plan.has(Layer::Landlock) {
        let scratch = scratch.as_ref().and_then(|made| made.as_ref().ok()).map(AsFd::as_fd);
        report.add_all(landlock::enter(&plan.openings, scratch));
    }
    if plan.has(Layer::Seccomp) {
        let filtered =
            report.note(Part::LoadingFilter, seccomp::enter(Step::loading(plan.role, &plan.openings), plan.free()));
        if filtered && plan.openings.ports.is_empty() {
            report.held.push(Part::NoSockets);
        }
    }
    if plan.mode == SandboxMode::Strict {
        report.meets_strict(&plan).map_err(Refused)?;
    }
    Ok(Sandbox { plan, report, empty_root, scratch })
}

fn make_empty_root(plan: &Plan, report: &mut Report) -> bool {
    let result = namespaces::empty_root();
    if plan.openings.directories.is_empty() {
        return report.note(Part::EmptyRoot, result);
    }
    // From the descriptor of a granted directory, `..` leads out of this root: only Landlock keeps files away, so it is
    // not reported as something that does.
    result.is_ok()
}

impl Sandbox {
    /// A path by which this process, and no other, can open its own descriptor once more.
    pub fn path_of(&self, fd: BorrowedFd<'_>) -> PathBuf {
        let number = fd.as_raw_fd();
        PathBuf::from(if self.empty_root { format!("/{number}") } else { format!("/proc/self/fd/{number}") })
    }

    /// The scratch directory that was asked for.
    ///
    /// # Errors
    ///
    /// Why it is not to be had.
    pub fn take_scratch(&mut self) -> Result<Option<OwnedFd>, String> {
        self.scratch.take().transpose()
    }

    /// Gives up what serving items does not need. All threads there will ever be must run by now.
    pub fn enter_serving(&mut self) -> Result<(), Refused> {
        if self.plan.has(Layer::Limits) {
            self.report.add(Part::NoProcesses, limits::no_more_threads());
        }
        if self.plan.has(Layer::Seccomp) {
            let step = Step::serving(self.plan.role, &self.plan.openings);
            self.report.add(Part::ServingFilter, seccomp::enter(step, self.plan.free()));
        }
        match self.plan.mode {
            SandboxMode::Strict => self.report.meets_strict(&self.plan).map_err(Refused),
            SandboxMode::BestEffort | SandboxMode::Off => Ok(()),
        }
    }

    pub fn report(&self) -> &Report {
        &self.report
    }

    /// What strict would have refused to go without.
    pub fn lacking(&self) -> Vec<Part> {
        self.report.lacking(&self.plan).map(|missing| missing.part).collect()
    }
}
