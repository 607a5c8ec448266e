//! Messages between the host and its child processes: plain data, as JSON over a socket or in a memfd.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use wasmpool_core::artifact::{ArtifactMeta, EngineProfile};
use wasmpool_core::layer::LayerPart;
use wasmpool_core::policy::{SandboxMode, TaskCall};
#[cfg(feature = "probes")]
use wasmpool_core::probe::{Probe, ProbeOutcome};
use wasmpool_core::setting::SettingNames;
use wasmpool_core::share::{ObjectRights, ObjectSpec};

/// Everything a worker needs to know. Sent in a memfd, because bound arguments may be of any size.
#[derive(Debug, Serialize, Deserialize)]
pub struct WorkerSetup {
    pub meta: ArtifactMeta,
    pub call: TaskCall,
    /// True if the machine may move memory to disk.
    pub swap: bool,
    pub restoring: Restoring,
    /// What the settings are called in messages.
    pub names: SettingNames,
    #[cfg(feature = "probes")]
    #[serde(default)]
    pub probe: Option<Probe>,
}

/// Whether a worker restores instances in place of making new ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restoring {
    Off,
    #[default]
    On,
    /// It does, and compares each restored instance with a new one. An item after which they differ fails.
    Verified,
}

/// The only message of the host to a worker, with descriptors of the lane, the artifact, the [`WorkerSetup`], those of
/// the shared objects (the memory and the socket of the channel, if there is one, then the mapped objects, as
/// [`SharedGrants`] lists them), and the granted directories.
///
/// [`SharedGrants`]: wasmpool_core::share::SharedGrants
#[derive(Debug, Serialize, Deserialize)]
pub struct StartWorker;

/// The only message to the compile process, with descriptors of its [`CompileRequest`], the wasm, the file for the artifact
/// and the file for the reply.
#[derive(Debug, Serialize, Deserialize)]
pub struct BeginCompile;

/// A request to the compile process. Sent in a memfd, because the argument of an `init` may be of any length.
#[derive(Debug, Serialize, Deserialize)]
pub struct CompileRequest {
    pub profile: EngineProfile,
    pub sandbox: SandboxMode,
    pub init: Option<InitCall>,
    /// Name of the task's file, which says of many files that are no WebAssembly what they are.
    pub file: Option<String>,
    /// What the settings are called in messages.
    pub names: SettingNames,
    #[cfg(feature = "probes")]
    #[serde(default)]
    pub probe: Option<Probe>,
}

impl CompileRequest {
    pub fn new(profile: EngineProfile, sandbox: SandboxMode, init: Option<InitCall>) -> CompileRequest {
        CompileRequest {
            profile,
            sandbox,
            init,
            file: None,
            names: SettingNames::of_this_process(),
            #[cfg(feature = "probes")]
            probe: None,
        }
    }
}

/// The only message of the compile process over the socket, sent before it reads the task. So a task that takes the
/// process over cannot make it say that the sandbox is not available.
#[derive(Debug, Serialize, Deserialize)]
pub enum CompilerEntry {
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
pub enum CompileReply {
    Compiled(Box<ArtifactMeta>),
    /// The task is invalid.
    Refused(String),
    /// The compiled code cannot be stored; `errno` is the cause if it was an error of the system.
    Unable {
        why: String,
        errno: Option<i32>,
    },
    #[cfg(feature = "probes")]
    Probed(ProbeOutcome),
}

/// The first message to the manager process, with descriptors of its [`ManagerSetup`] and of what objects are filled
/// with.
#[derive(Debug, Serialize, Deserialize)]
pub struct StartManager;

/// Everything that the manager process needs to know at its start. Sent in a memfd, because it may be long.
#[derive(Debug, Serialize, Deserialize)]
pub struct ManagerSetup {
    /// All objects of the run, by their numbers. Those that are mapped are not kept here.
    pub objects: Vec<ObjectSpec>,
    pub sandbox: SandboxMode,
    /// Number of participants that there can be at a time, by which the memory of the process is bounded.
    pub participants: u64,
    /// Tokens of holders are greater than this.
    pub token: u64,
    #[cfg(feature = "probes")]
    #[serde(default)]
    pub probe: Option<Probe>,
}

impl ManagerSetup {
    pub fn new(objects: Vec<ObjectSpec>, sandbox: SandboxMode, participants: u64) -> ManagerSetup {
        ManagerSetup {
            objects,
            sandbox,
            participants,
            token: 0,
            #[cfg(feature = "probes")]
            probe: None,
        }
    }
}

/// What the host tells the manager process after [`StartManager`], in this order.
#[derive(Debug, Serialize, Deserialize)]
pub enum ManagerOrder {
    /// A participant comes, with descriptors of the memory and the socket of its channel. Its number is never used again.
    Attach {
        participant: u32,
        role: ParticipantRole,
        /// What others are told if it ends with something that it held.
        name: String,
        grants: Vec<(u16, ObjectRights)>,
    },
    /// A participant is being killed. Nothing is given to it any more, and what it holds stays with it until it has ended.
    Ending { participant: u32 },
    /// A participant has ended. The requests that it had written completely still count.
    Detach { participant: u32 },
    /// Number of workers that can run items at a time.
    Parallelism(u32),
    /// Asks whether the process still answers.
    Ping,
}

/// What a participant is, by which its requests are bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParticipantRole {
    /// A worker, which does one thing at a time.
    Worker,
    /// A worker on another machine. It reaches nothing by the words of its channel, and asks for everything.
    Remote,
    /// The host itself, or a program, which may have any number of requests under way.
    Host,
}

/// What the manager process tells the host.
#[derive(Debug, Serialize, Deserialize)]
pub enum ManagerReport {
    /// The process has entered its sandbox and serves from now on.
    Entered { lacking: Vec<LayerPart> },
    /// The sandbox lacks a layer that is required.
    Unprotected(String),
    /// All that a participant held is released. Answers each [`ManagerOrder::Detach`].
    Detached { participant: u32 },
    /// Answers [`ManagerOrder::Ping`].
    Alive,
    /// A participant sent what no worker sends. Its channel is closed, and it has to end.
    Violation { participant: u32, why: String },
    /// A participant has no part in the objects any more, since they are on another machine that has given it up. It has to
    /// end.
    Cut { participant: u32, why: String },
    /// The objects cannot be reached any more.
    Lost { why: String },
    #[cfg(feature = "probes")]
    Probed(ProbeOutcome),
}

/// The argument and the limits of `init`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitCall {
    /// The argument.
    pub json: String,
    pub memory: u64,
    pub timeout: Duration,
}

impl InitCall {
    /// Returns a hash for a task with this hash after it was initialised this way.
    pub fn hash(&self, task: &str) -> String {
        let mut hasher = blake3::Hasher::new();
        // With more memory or time, an `init` may succeed with a different result.
        hasher.update(format!("{task} {} {:?} ", self.memory, self.timeout).as_bytes());
        hasher.update(self.json.as_bytes());
        hasher.finalize().to_hex().to_string()
    }
}
