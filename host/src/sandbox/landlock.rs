//! Landlock with nothing granted: no file can be opened by path, no TCP, no signal and no abstract socket outside.

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, RestrictionStatus, Ruleset, RulesetAttr,
    RulesetError, Scope,
};

use super::Part;

/// The newest version of the interface this was tested with.
const TESTED: ABI = ABI::V7;

/// What each part needs.
const PARTS: [(Part, ABI, &str); 3] = [
    (Part::LandlockFiles, ABI::V1, "the kernel has no Landlock, or it is switched off"),
    (Part::LandlockTcp, ABI::V4, "the kernel's Landlock is older than 6.7 and knows no network"),
    (Part::LandlockScopes, ABI::V6, "the kernel's Landlock is older than 6.12 and knows no scopes"),
];

pub fn enter() -> Vec<(Part, Result<(), String>)> {
    let status = restrict();
    let abi = match &status {
        Ok(RestrictionStatus { landlock: LandlockStatus::Available { effective_abi, .. }, .. }) => *effective_abi,
        Ok(_) | Err(_) => ABI::Unsupported,
    };
    PARTS
        .into_iter()
        .map(|(part, needed, why)| {
            let result = match &status {
                Err(e) => Err(e.to_string()),
                Ok(_) if abi < needed => Err(why.to_owned()),
                Ok(_) => Ok(()),
            };
            (part, result)
        })
        .collect()
}

fn restrict() -> Result<RestrictionStatus, RulesetError> {
    // Whatever is handled and not granted is forbidden; nothing is granted.
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(TESTED))?
        .handle_access(AccessNet::from_all(TESTED))?
        .scope(Scope::from_all(TESTED))?
        .create()?
        .restrict_self()
}
