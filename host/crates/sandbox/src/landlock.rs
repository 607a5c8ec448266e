//! Landlock: files can be opened by path and TCP connections made only as granted; signals and abstract sockets outside
//! are out of reach.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort, PathBeneath,
    RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, Scope,
};

use super::SandboxOpenings;
use wasmpool_core::layer::LayerPart;

/// The newest version of the interface that this was tested with.
const TESTED: ABI = ABI::V7;

/// The version that each part requires, and the reason given if it is missing.
const PARTS: [(LayerPart, ABI, &str); 3] = [
    (LayerPart::LandlockFiles, ABI::V1, "the kernel has no Landlock, or it is switched off"),
    (LayerPart::LandlockTcp, ABI::V4, "the kernel's Landlock is older than 6.7 and knows no network"),
    (LayerPart::LandlockScopes, ABI::V6, "the kernel's Landlock is older than 6.12 and knows no scopes"),
];

/// The reason why a part of Landlock does not hold.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LandlockError {
    /// The kernel does not have the version that the part requires.
    #[error("{0}")]
    TooOld(&'static str),
    /// The kernel refused the rules. The text includes what is behind it.
    #[error("{0}")]
    Refused(Arc<RulesetError>),
}

/// Enters Landlock, and returns which of its parts hold.
pub fn enter(
    openings: &SandboxOpenings,
    scratch: Option<BorrowedFd<'_>>,
) -> Vec<(LayerPart, Result<(), LandlockError>)> {
    let status = restrict(openings, scratch).map_err(Arc::new);
    let abi = match &status {
        Ok(RestrictionStatus { landlock: LandlockStatus::Available { effective_abi, .. }, .. }) => *effective_abi,
        Ok(_) | Err(_) => ABI::Unsupported,
    };
    PARTS
        .into_iter()
        .map(|(part, needed, why)| {
            let result = match &status {
                Err(e) => Err(LandlockError::Refused(Arc::clone(e))),
                Ok(_) if abi < needed => Err(LandlockError::TooOld(why)),
                Ok(_) => Ok(()),
            };
            (part, result)
        })
        .collect()
}

fn restrict(openings: &SandboxOpenings, scratch: Option<BorrowedFd<'_>>) -> Result<RestrictionStatus, RulesetError> {
    // Access that is handled and not granted is forbidden.
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(TESTED))?
        .handle_access(AccessNet::from_all(TESTED))?
        .scope(Scope::from_all(TESTED))?
        .create()?;
    let directories = openings.directories.iter().copied().chain(scratch.map(|directory| (directory, true)));
    for (directory, writable) in directories {
        let access = if writable { reading() | writing() } else { reading() };
        ruleset = ruleset.add_rule(PathBeneath::new(directory, access))?;
    }
    for &port in &openings.ports {
        ruleset = ruleset.add_rule(NetPort::new(port, AccessNet::ConnectTcp))?;
    }
    ruleset.restrict_self()
}

fn reading() -> BitFlags<AccessFs> {
    AccessFs::ReadFile | AccessFs::ReadDir
}

/// Returns the write access that WASI can make use of: no devices, sockets or pipes, and nothing to execute.
fn writing() -> BitFlags<AccessFs> {
    use AccessFs::*;
    WriteFile | Truncate | MakeReg | MakeDir | MakeSym | RemoveFile | RemoveDir | Refer
}
