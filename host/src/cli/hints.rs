//! The command's additions to errors of the library, which does not know its options.

use std::path::Path;

use super::source::Sourced;
use super::spec::GrantSpec;
use wasmpool_core::text::ForeignText;
use wasmpool_run::error::{Error, with_sources};
use wasmpool_run::grants::{DirectoryGrant, GrantError};

/// Says what an error comes to: it, what is behind it, and which option helps.
pub fn message(error: &Error) -> String {
    let message = with_sources(error);
    match error {
        Error::Sandbox(_) => {
            format!("{message}; `wasmpool doctor` says more, and `--sandbox best-effort` runs with what there is")
        }
        _ => message,
    }
}

/// Returns the message for an error of a run with these grants. An error about a grant names the option that gives it.
pub fn message_of_run(error: &Error, grants: &GrantSpec) -> String {
    match error {
        Error::Grant(error) => refused(error, grants),
        error => message(error),
    }
}

fn refused(error: &GrantError, grants: &GrantSpec) -> String {
    match error {
        GrantError::TooMany => format!("{error} (--dir)"),
        GrantError::SameName(name) => {
            let shown = ForeignText::of(name).to_string();
            let scratch = grants.scratch.as_ref().map(|scratch| scratch.said_as("--scratch", &shown).to_string());
            format!("{} is also the name of a --dir: give it another name", scratch.unwrap_or(shown))
        }
        GrantError::Directory { host, guest, source } => {
            let option = directory(grants, host, guest).map(|one| one.said("--dir").to_string());
            let option = option.unwrap_or_else(|| "--dir".to_owned());
            format!("cannot open the directory {} of {option}: {}", ForeignText::of(host), with_sources(source))
        }
        GrantError::Peer { host, port, source } => {
            let (name, address) = (ForeignText::of(host), format!("{}:{port}", ForeignText::of(host)));
            let peer = grants.peers.iter().find(|peer| peer.host == *host && peer.port == *port);
            let option = peer.map(|peer| peer.said_as("--allow-net", &address).to_string()).unwrap_or(address.clone());
            format!("cannot look up {name} of {option}: {}", with_sources(source))
        }
        GrantError::Cache { place, host, guest } => {
            let bound = format!("{}::{}:rw", ForeignText::of(host), ForeignText::of(guest));
            let option = directory(grants, host, guest).map(|one| one.said_as("--dir", &bound).to_string());
            format!(
                "the cache of compiled tasks, {}, lies in {}, which the task may write to ({}): {}",
                ForeignText::of(place),
                ForeignText::of(host),
                option.unwrap_or(bound),
                GrantError::WAYS_OUT,
            )
        }
        error => with_sources(error),
    }
}

fn directory<'a>(grants: &'a GrantSpec, host: &Path, guest: &str) -> Option<&'a Sourced<DirectoryGrant>> {
    grants.directories.iter().find(|one| one.host == host && one.guest == guest)
}
