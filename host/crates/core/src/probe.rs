//! Attacks that a worker of the tests tries instead of serving.

use serde::{Deserialize, Serialize};

use crate::layer::Layer;

/// An attack that a worker tries instead of serving.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Probe {
    pub name: String,
    /// Layers that are left out of its sandbox.
    pub without: Vec<Layer>,
    /// System calls that its sandbox does not filter.
    pub free: Vec<libc::c_long>,
    /// True if it is tried while the task is being loaded.
    pub loading: bool,
    pub targets: ProbeTargets,
}

/// Targets of the attack.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ProbeTargets {
    pub host: i32,
    /// Another worker of the same host.
    pub sibling: i32,
    /// Port on which the host listens.
    pub port: u16,
    pub abstract_socket: String,
    /// A directory that anybody may write to.
    pub directory: String,
}

/// Result of the attack, if the worker lived to report it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeOutcome {
    Succeeded,
    Refused(String),
}
