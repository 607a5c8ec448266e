//! What a host allows the runs of others: the limits that it bounds, and what it grants.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use wasmpool_core::outcome::FailureKind;
use wasmpool_core::policy::{ItemLimits, TaskCall};
use wasmpool_core::text::{QuotedName, bytes_said};
use wasmpool_hosts::notes::{AskedDirectory, AskedGrants};
use wasmpool_run::grants::{DirectoryGrant, Grants, PeerGrant, mode, same_place};

/// A host's policy. By default it bounds nothing, and gives no directory and no peer.
#[derive(Clone, Debug, Default)]
pub struct HostPolicy {
    pub limits: LimitBounds,
    /// Directories that runs may ask for, each by its path on this host. What tasks call them is the run's to say.
    pub directories: Vec<DirectoryGrant>,
    pub peers: Vec<PeerGrant>,
}

/// The largest limits that a run gets; `None` for those that are not bounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitBounds {
    pub timeout: Option<Duration>,
    pub memory: Option<u64>,
    pub fuel: Option<u64>,
    pub max_output: Option<u64>,
}

/// Says where what a host gives is written.
const NAMED_IN: &str = "it has to stand in the file that `wasmpool serve` is given as its policy on that host";

/// The reason why a policy does not allow a run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    #[error(
        "its policy does not give the directory {}{}; {NAMED_IN}",
        QuotedName::of(.host), mode(*.writable)
    )]
    Directory { host: String, writable: bool },
    #[error("a directory on hosts is named by its whole path, unlike {}", QuotedName::of(.0))]
    RelativeDirectory(String),
    #[error("its policy does not give connections to {}, port {port}; {NAMED_IN}", QuotedName::of(.host))]
    Peer { host: String, port: u16 },
    #[error(
        "its policy allows {allowed} and the run wants {wanted}, on which the results of a deterministic run depend"
    )]
    Deterministic { allowed: String, wanted: String },
}

impl LimitBounds {
    /// Returns true if an item with these limits failed by one that is as large as this allows.
    pub fn hold(&self, limits: &ItemLimits, failed: FailureKind) -> bool {
        match failed {
            FailureKind::Timeout => self.timeout == Some(limits.timeout),
            FailureKind::Memory => self.memory == Some(limits.memory),
            FailureKind::Fuel => self.fuel.is_some() && self.fuel == limits.fuel,
            FailureKind::OutputTooLarge => self.max_output == Some(limits.max_output),
            _ => false,
        }
    }
}

impl HostPolicy {
    /// Returns the directories that there are not at this moment, each with the reason.
    pub fn missing_directories(&self) -> Vec<(&Path, io::Error)> {
        let missing = |given: &DirectoryGrant| match fs::metadata(&given.host) {
            Ok(found) if found.is_dir() => None,
            Ok(_) => Some(ErrorKind::NotADirectory.into()),
            Err(e) => Some(e),
        };
        self.directories.iter().filter_map(|given| Some((given.host.as_path(), missing(given)?))).collect()
    }

    /// Returns the call with limits that this policy allows.
    ///
    /// # Errors
    ///
    /// [`NotAllowed`] if the limits of a deterministic run are larger: with others its results would be others. Its timeout is no
    /// such limit: the run has one that is far away, for what costs time and no fuel, and an item that this ends early fails by it.
    pub fn bound(&self, call: TaskCall) -> Result<TaskCall, NotAllowed> {
        let LimitBounds { timeout, memory, fuel, max_output } = self.limits;
        let asked = call.limits;
        let held = ItemLimits {
            timeout: smaller(asked.timeout, timeout),
            memory: smaller(asked.memory, memory),
            fuel: asked.fuel.map_or(fuel, |asked| Some(smaller(asked, fuel))),
            max_output: smaller(asked.max_output, max_output),
        };
        let instructions = |fuel: Option<u64>| format!("{} instructions", fuel.unwrap_or(u64::MAX));
        let differs = [
            (held.memory < asked.memory, bytes_said(held.memory), bytes_said(asked.memory)),
            (held.max_output < asked.max_output, bytes_said(held.max_output), bytes_said(asked.max_output)),
            (held.fuel != asked.fuel, instructions(held.fuel), instructions(asked.fuel)),
        ];
        match differs.into_iter().find(|(differs, ..)| *differs && call.deterministic) {
            Some((_, allowed, wanted)) => Err(NotAllowed::Deterministic { allowed, wanted }),
            None => Ok(TaskCall { limits: held, ..call }),
        }
    }

    /// Returns what a run asks for as grants of this host. Variables and a scratch directory reach nothing of the host, and
    /// are given to all.
    ///
    /// # Errors
    ///
    /// [`NotAllowed`] names what this policy does not give.
    pub fn grant(&self, asked: &AskedGrants) -> Result<Grants, NotAllowed> {
        let AskedGrants { env, directories, peers, scratch } = asked;
        let directories = directories.iter().map(|asked| self.directory(asked));
        let peers = peers.iter().map(|(host, port)| {
            let given = |peer: &&PeerGrant| peer.port == *port && peer.host.eq_ignore_ascii_case(host);
            let found = self.peers.iter().find(given).cloned();
            found.ok_or_else(|| NotAllowed::Peer { host: host.clone(), port: *port })
        });
        Ok(Grants {
            env: env.clone(),
            directories: directories.collect::<Result<_, _>>()?,
            peers: peers.collect::<Result<_, _>>()?,
            scratch: scratch.clone(),
        })
    }

    /// Returns the grant of a directory. It has to be one that the policy names, and not one below: what lies below may be
    /// a link that the task of another run has made.
    fn directory(&self, asked: &AskedDirectory) -> Result<DirectoryGrant, NotAllowed> {
        let AskedDirectory { host, guest, writable } = asked;
        if !Path::new(host).is_absolute() {
            return Err(NotAllowed::RelativeDirectory(host.clone()));
        }
        let of_place = |given: &&DirectoryGrant| {
            let path = given.host.to_str();
            path.is_some_and(|path| same_place(path, host)) && given.writable >= *writable
        };
        match self.directories.iter().find(of_place) {
            Some(given) => Ok(DirectoryGrant { host: given.host.clone(), guest: guest.clone(), writable: *writable }),
            None => Err(NotAllowed::Directory { host: host.clone(), writable: *writable }),
        }
    }
}

fn smaller<T: Ord>(asked: T, bound: Option<T>) -> T {
    match bound {
        Some(bound) => asked.min(bound),
        None => asked,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn directory(at: u8, writable: bool) -> DirectoryGrant {
        DirectoryGrant { host: format!("/srv/{at}").into(), guest: "/policy".to_owned(), writable }
    }

    proptest! {
        #[test]
        fn a_run_gets_no_more_than_the_policy_gives(
            given in prop::collection::vec((0..4u8, any::<bool>()), 0..4),
            asked in prop::collection::vec((0..4u8, any::<bool>()), 0..4),
            (given_peers, asked_peers) in (prop::collection::vec(0..4u16, 0..4), prop::collection::vec(0..4u16, 0..4)),
            bounds in (prop::option::of(0..9u64), prop::option::of(0..9u64), prop::option::of(0..9u64)),
            (memory, fuel, output) in (0..9u64, prop::option::of(0..9u64), 0..9u64),
            deterministic in any::<bool>(),
            timeout in prop::option::of(0..9u64),
        ) {
            let peer = |port: &u16| PeerGrant { host: "h".to_owned(), port: *port };
            let policy = HostPolicy {
                limits: LimitBounds { timeout: timeout.map(Duration::from_secs), memory: bounds.0, fuel: bounds.1, max_output: bounds.2 },
                directories: given.iter().map(|&(at, writable)| directory(at, writable)).collect(),
                peers: given_peers.iter().map(peer).collect(),
            };
            let asked_directory = |&(at, writable): &(u8, bool)| {
                AskedDirectory { host: format!("/srv/{at}/"), guest: format!("/{at}"), writable }
            };
            let grants = AskedGrants {
                directories: asked.iter().map(asked_directory).collect(),
                peers: asked_peers.iter().map(|&port| ("H".to_owned(), port)).collect(),
                ..AskedGrants::default()
            };
            let has = |(at, writable): &(u8, bool)| given.iter().any(|(of, can)| of == at && can >= writable);
            let all = asked.iter().all(has) && asked_peers.iter().all(|port| given_peers.contains(port));
            let granted = policy.grant(&grants);
            prop_assert_eq!(granted.is_ok(), all);
            if let Ok(granted) = granted {
                prop_assert_eq!(granted.directories.len(), asked.len());
                prop_assert!(granted.directories.iter().all(|got| got.guest != "/policy"));
            }
            let limits = ItemLimits { memory, fuel, max_output: output, ..ItemLimits::default() };
            let call = TaskCall { limits, deterministic, ..TaskCall::default() };
            match policy.bound(call) {
                Ok(bound) => {
                    prop_assert!(bounds.0.is_none_or(|most| bound.limits.memory <= most) && bound.limits.memory <= memory);
                    prop_assert!(bounds.1.is_none_or(|most| bound.limits.fuel.is_some_and(|fuel| fuel <= most)));
                    prop_assert!(bounds.2.is_none_or(|most| bound.limits.max_output <= most));
                    prop_assert!(policy.limits.timeout.is_none_or(|most| bound.limits.timeout <= most));
                    let untimed = ItemLimits { timeout: limits.timeout, ..bound.limits };
                    prop_assert!(!deterministic || untimed == limits);
                }
                Err(e) => prop_assert!(deterministic, "{e}"),
            }
        }
    }

    #[test]
    fn a_directory_below_or_beside_one_that_is_given_is_not_given() {
        let policy = HostPolicy { directories: vec![directory(1, true)], ..HostPolicy::default() };
        for host in ["/srv/1/below", "/srv", "srv/1", "/srv/1/..", "/srv/0/../1", "/"] {
            let asked = AskedDirectory { host: host.to_owned(), guest: "/d".to_owned(), writable: false };
            let refused = policy.grant(&AskedGrants { directories: vec![asked], ..AskedGrants::default() });
            assert!(refused.unwrap_err().to_string().contains(host), "{host}");
        }
    }
}
