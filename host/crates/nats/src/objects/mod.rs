//! Shared objects across machines: the ends of the tunnel of `wasmpool_hosts::tunnel`, with the channels that they join and
//! the broker between them.
//!
//! [`far`] is where the objects are, and takes part in them for each participant on another machine. [`near`] is where
//! participants are, and takes the place of the manager process there. [`server`] has objects that outlive runs, and
//! [`program`] is how a program finds them, and takes part by itself.

pub mod far;
mod hello;
mod inbox;
pub mod near;
pub mod program;
pub mod server;

use std::time::Duration;

use wasmpool_core::share::ObjectGrant;
use wasmpool_hosts::names::HostName;

/// Time between two looks at whether the broker is there.
const LOOK: Duration = Duration::from_millis(500);
/// Bytes of an answer beside the longest request that could have brought what it tells.
const OF_AN_ANSWER: usize = 2 << 20;

/// Returns the length of the longest frame that is about any of these objects.
fn longest_frame<'a>(grants: impl IntoIterator<Item = &'a ObjectGrant>) -> usize {
    let longest = grants.into_iter().map(|grant| grant.spec.quota.longest_request()).max().unwrap_or_default();
    usize::try_from(longest).unwrap_or(usize::MAX).saturating_add(OF_AN_ANSWER)
}

/// Returns what a server of shared objects is called in messages.
pub(crate) fn server_in_words(server: &HostName) -> String {
    format!("the server of shared objects {server}")
}
