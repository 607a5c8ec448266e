//! Messages between the host and its child processes: plain data, as JSON over a socket or in a memfd.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use wasmpool_core::artifact::{Meta, Profile};
use wasmpool_core::policy::{Call, SandboxMode};
#[cfg(feature = "probes")]
use wasmpool_core::probe::{Outcome, Probe};

/// Everything a worker needs to know. Sent in a memfd, because bound arguments may be of any size.
#[derive(Debug, Serialize, Deserialize)]
pub struct Setup {
    pub meta: Meta,
    pub call: Call,
    /// True if the machine may move memory to disk.
    pub swap: bool,
    #[cfg(feature = "probes")]
    #[serde(default)]
    pub probe: Option<Probe>,
}

/// The only message of the host to a worker, with descriptors of the lane, the artifact and the [`Setup`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Start;

/// The only message to the compile process, with descriptors of its [`Request`], the wasm, the file for the artifact
/// and the file for the reply.
#[derive(Debug, Serialize, Deserialize)]
pub struct Begin;

/// A request to the compile process. Sent in a memfd, because the argument of an `init` may be of any length.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    pub profile: Profile,
    pub sandbox: SandboxMode,
    pub init: Option<Init>,
    #[cfg(feature = "probes")]
    #[serde(default)]
    pub probe: Option<Probe>,
}

impl Request {
    pub fn new(profile: Profile, sandbox: SandboxMode, init: Option<Init>) -> Request {
        Request {
            profile,
            sandbox,
            init,
            #[cfg(feature = "probes")]
            probe: None,
        }
    }
}

/// The only message of the compile process over the socket, sent before it reads the task. So a task that takes the
/// process over cannot make it say that the sandbox is not available.
#[derive(Debug, Serialize, Deserialize)]
pub enum Entry {
    Entered,
    /// The sandbox lacks a layer that is required.
    Unprotected(String),
    /// Nothing can be compiled on this machine; `errno` is the cause if it was an error of the system.
    Unable {
        why: String,
        errno: Option<i32>,
    },
}

/// The answer of the compile process.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    Compiled(Meta),
    /// The task is invalid.
    Refused(String),
    /// The compiled code cannot be stored; `errno` is the cause if it was an error of the system.
    Unable {
        why: String,
        errno: Option<i32>,
    },
    #[cfg(feature = "probes")]
    Probed(Outcome),
}

/// The argument and the limits of `init`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Init {
    /// The argument.
    pub json: String,
    pub memory: u64,
    pub timeout: Duration,
}

impl Init {
    /// Returns a hash for a task with this hash after it was initialised this way.
    pub fn hash(&self, task: &str) -> String {
        let mut hasher = blake3::Hasher::new();
        // With more memory or time, an `init` may succeed with a different result.
        hasher.update(format!("{task} {} {:?} ", self.memory, self.timeout).as_bytes());
        hasher.update(self.json.as_bytes());
        hasher.finalize().to_hex().to_string()
    }
}
