//! What the host and its child processes send each other: plain data, as JSON over a socket or in a memfd.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use wasmpool_core::artifact::{Meta, Profile};
use wasmpool_core::policy::{Call, SandboxMode};
#[cfg(feature = "probes")]
use wasmpool_core::probe::{Outcome, Probe};

/// What a worker needs to know; travels in a memfd, since bound arguments may be of any size.
#[derive(Debug, Serialize, Deserialize)]
pub struct Setup {
    pub meta: Meta,
    pub call: Call,
    /// The machine may move memory to disk.
    pub swap: bool,
    #[cfg(feature = "probes")]
    #[serde(default)]
    pub probe: Option<Probe>,
}

/// The host's only message, with descriptors of the lane, the artifact and the [`Setup`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Start;

/// The only message to the compile process, with descriptors of its [`Request`], the wasm, the artifact to be and the reply.
#[derive(Debug, Serialize, Deserialize)]
pub struct Begin;

/// What the compile process is asked for. The argument of an `init` may be of any length.
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

/// What it says over the socket before it reads the task, and nothing afterwards: a task that takes it over cannot have it
/// say that the sandbox is not to be had.
#[derive(Debug, Serialize, Deserialize)]
pub enum Entry {
    Entered,
    /// The sandbox lacks a layer that has to hold.
    Unprotected(String),
    /// Nothing can be compiled here, by this error of the system where it was one.
    Unable {
        why: String,
        errno: Option<i32>,
    },
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    Compiled(Meta),
    /// The task is wrong.
    Refused(String),
    /// What was compiled cannot be kept, by this error of the system where it was one.
    Unable {
        why: String,
        errno: Option<i32>,
    },
    #[cfg(feature = "probes")]
    Probed(Outcome),
}

/// What `init` is called with, and may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Init {
    /// Its argument.
    pub json: String,
    pub memory: u64,
    pub timeout: Duration,
}

impl Init {
    /// The hash of a task of this hash that it has initialised.
    pub fn hash(&self, task: &str) -> String {
        let mut hasher = blake3::Hasher::new();
        // More memory, or time, may let an `init` succeed otherwise.
        hasher.update(format!("{task} {} {:?} ", self.memory, self.timeout).as_bytes());
        hasher.update(self.json.as_bytes());
        hasher.finalize().to_hex().to_string()
    }
}
