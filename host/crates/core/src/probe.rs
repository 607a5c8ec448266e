//! What a worker of the tests tries in place of serving.

use serde::{Deserialize, Serialize};

use crate::layer::Layer;

/// What a worker is to try in place of serving.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Probe {
    pub name: String,
    /// Layers its sandbox goes without.
    pub without: Vec<Layer>,
    /// System calls that its sandbox does not filter.
    pub free: Vec<libc::c_long>,
    /// It is tried while the task is loaded.
    pub loading: bool,
    pub targets: Targets,
}

/// What there is to attack.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Targets {
    pub host: i32,
    /// Another worker of the same host.
    pub sibling: i32,
    /// Where the host listens.
    pub port: u16,
    pub abstract_socket: String,
    /// A directory that anybody may write to.
    pub directory: String,
}

/// What came of it, where the worker lived to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Succeeded,
    Refused(String),
}
