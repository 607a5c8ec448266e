//! All settings of a run, each value with its source, merged from the command line, the environment, the policy and the
//! plugin's manifest. Nothing changes it afterwards.
//!
//! A journal knows its run by the serialised [`RunSpec`] (`stream.rs`). So every new field belongs to it, unless it is
//! marked `serde(skip)`: then it may differ between a run and its `--resume`. The tests of [`super::resolve`] list
//! those options.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::share::{ServedObject, SharedObject};
use super::source::Sourced;
use crate::cli::args::{Delimiter, InputFormat, OutputFormat, ShowProgress, Verbosity};
#[cfg(feature = "hosts")]
use crate::cli::args::{Speculate, ViaStorage};
use crate::cli::units::{NamedTask, ReportFile};
use wasmpool_core::outcome::FailureKind;
use wasmpool_core::policy::{CommandCall, CommandPipes, Failures, Halt, Isolate, ItemLimits, SandboxMode, TaskCall};
#[cfg(feature = "hosts")]
use wasmpool_nats::url::BrokerUrl;
use wasmpool_run::grants::{self, DirectoryGrant, PeerGrant, READABLE, WRITABLE};
use wasmpool_run::output::NameTemplate;
use wasmpool_scheduler::ChunkSize;

/// The settings of one run: `map` and `exec` have many items, `call` has one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunSpec<I = ManyItems> {
    #[serde(flatten)]
    pub work: WorkSpec,
    pub deterministic: Sourced<bool>,
    #[serde(flatten)]
    pub limits: LimitSpec,
    #[serde(flatten)]
    pub grants: GrantSpec,
    #[serde(flatten)]
    pub items: I,
    /// Not part of a journal's identity: such runs keep no journal.
    #[serde(skip)]
    pub share_in: Sourced<Option<PathBuf>>,
    #[serde(skip)]
    pub share_out: Sourced<Option<PathBuf>>,
    #[serde(skip)]
    pub sandbox: Sourced<SandboxMode>,
    #[serde(skip)]
    pub verbosity: Verbosity,
    /// The file of `--policy`. What it says is part of the other fields.
    #[serde(skip)]
    pub policy: Option<PathBuf>,
    /// The manifest of the task, if the task is a plugin.
    #[serde(skip)]
    pub plugin: Option<PathBuf>,
    /// Notes on how the settings came about, a line each.
    #[serde(skip)]
    pub notes: Vec<String>,
}

/// The tasks of a run.
#[derive(Debug)]
pub enum TaskSpecs {
    One(PathBuf),
    /// The tasks of `--task`.
    Several(Sourced<Vec<NamedTask>>),
}

/// The work that is done with each item.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum WorkSpec {
    Function(FunctionSpec),
    Command(CommandSpec),
}

/// The way in which a function is called.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct FunctionSpec {
    pub function: Sourced<Option<String>>,
    #[serde(serialize_with = "bindings")]
    pub arg: Sourced<Vec<(String, String)>>,
    pub init: Sourced<Option<String>>,
    pub batch: Sourced<bool>,
    pub flatten: Sourced<bool>,
    #[serde(serialize_with = "in_lower_case")]
    pub isolate: Sourced<Isolate>,
}

/// The way in which a command is run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CommandSpec {
    /// The command's arguments; the first is its name.
    pub arguments: Vec<String>,
    pub replace: Sourced<String>,
    pub replace_index: Sourced<String>,
    pub ok_codes: Sourced<BTreeSet<i32>>,
}

/// The limits of one item.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LimitSpec {
    #[serde(skip)]
    pub timeout: Sourced<Duration>,
    pub memory: Sourced<u64>,
    pub fuel: Sourced<Option<u64>>,
    pub max_output: Sourced<u64>,
}

/// The grants: what the task may reach outside its memory.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct GrantSpec {
    #[serde(serialize_with = "hashed_variables")]
    pub env: Vec<Sourced<(String, String)>>,
    #[serde(rename = "dir", serialize_with = "bound_directories")]
    pub directories: Vec<Sourced<DirectoryGrant>>,
    #[serde(rename = "allow-net", serialize_with = "addresses")]
    pub peers: Vec<Sourced<PeerGrant>>,
    pub scratch: Option<Sourced<String>>,
    #[serde(rename = "share")]
    pub shares: Vec<Sourced<SharedObject>>,
    /// Those of a server. Not part of a journal's identity: such runs keep no journal.
    #[serde(skip)]
    pub served: Vec<Sourced<ServedObject>>,
}

/// The options of reading, distributing and writing items.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ManyItems {
    /// Not part of a journal's identity, which has the hash of the task's content.
    #[serde(skip)]
    pub tasks: TaskSpecs,
    /// Not part of a journal's identity, which has the hash of the items.
    #[serde(skip)]
    pub input: Vec<PathBuf>,
    pub input_format: Sourced<InputFormat>,
    #[serde(serialize_with = "character")]
    pub csv_delimiter: Sourced<Option<u8>>,
    pub no_header: Sourced<bool>,
    /// Left out where it is not used, so that journals of earlier versions can be continued; so is the next.
    #[serde(skip_serializing_if = "is_off")]
    pub null: Sourced<bool>,
    #[serde(skip_serializing_if = "is_empty")]
    pub keep: Sourced<Vec<String>>,
    pub output_format: Sourced<OutputFormat>,
    pub delimiter: Sourced<Delimiter>,
    pub unordered: Sourced<bool>,
    pub first: Sourced<Option<u64>>,
    #[serde(skip)]
    pub dry_run: Sourced<bool>,
    #[serde(skip)]
    pub workers: Sourced<Option<u32>>,
    #[cfg(feature = "hosts")]
    #[serde(skip)]
    pub via: Sourced<Option<BrokerUrl>>,
    #[cfg(feature = "hosts")]
    #[serde(skip)]
    pub tls_ca: Sourced<Option<PathBuf>>,
    #[cfg(feature = "hosts")]
    #[serde(skip)]
    pub creds: Sourced<Option<PathBuf>>,
    #[cfg(feature = "hosts")]
    #[serde(skip)]
    pub nkey: Sourced<Option<PathBuf>>,
    #[cfg(feature = "hosts")]
    #[serde(skip)]
    pub speculate: Sourced<Speculate>,
    #[cfg(feature = "hosts")]
    #[serde(skip)]
    pub check: Sourced<Option<u8>>,
    #[cfg(feature = "hosts")]
    #[serde(skip)]
    pub via_storage: Sourced<ViaStorage>,
    #[serde(skip)]
    pub chunk_size: Sourced<ChunkSize>,
    #[serde(skip)]
    pub max_items_per_worker: Sourced<Option<u64>>,
    #[serde(skip)]
    pub retries: Sourced<u32>,
    #[serde(skip)]
    pub retry_on: Sourced<Vec<FailureKind>>,
    #[serde(skip)]
    pub halt: Sourced<Option<Halt>>,
    /// Not part of a journal's identity: runs of several tasks keep no journal.
    #[serde(skip)]
    pub set_aside: Sourced<Option<Failures>>,
    /// Paths may change as long as the files are the same: a journal knows their content, and whether they are files.
    #[serde(skip)]
    pub output: Sourced<Option<PathBuf>>,
    #[serde(skip)]
    pub failed: Sourced<Option<PathBuf>>,
    #[serde(skip)]
    pub journal: Sourced<Option<PathBuf>>,
    #[serde(skip)]
    pub resume: Sourced<bool>,
    #[serde(skip)]
    pub results: Sourced<Option<PathBuf>>,
    pub results_name: Sourced<Option<NameTemplate>>,
    #[serde(skip)]
    pub report: Vec<Sourced<ReportFile>>,
    #[serde(skip)]
    pub trace: Sourced<Option<PathBuf>>,
    #[serde(skip)]
    pub progress: Sourced<ShowProgress>,
}

/// The one item of `call`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct OneItem {
    #[serde(skip)]
    pub task: PathBuf,
    /// Its arguments, as [`ItemEncoding::Typed`](wasmpool_core::policy::ItemEncoding::Typed).
    #[serde(skip)]
    pub item: String,
    /// Number of arguments that it was made of.
    #[serde(skip)]
    pub arguments: usize,
}

impl ManyItems {
    /// Returns true if the items run on the hosts of a message system, and not on this machine.
    pub fn over_hosts(&self) -> bool {
        #[cfg(feature = "hosts")]
        return self.via.is_some();
        #[cfg(not(feature = "hosts"))]
        return false;
    }
}

impl<I> RunSpec<I> {
    /// Returns the work for each item, without the forms in which it is read and its result written.
    pub fn call(&self) -> TaskCall {
        let call = TaskCall {
            deterministic: *self.deterministic,
            limits: self.limits(),
            sandbox: *self.sandbox,
            ..TaskCall::default()
        };
        match &self.work {
            WorkSpec::Function(it) => TaskCall {
                function: (*it.function).clone(),
                args: (*it.arg).clone(),
                args_typed: true,
                init: (*it.init).clone(),
                batch: *it.batch,
                flatten: *it.flatten,
                isolate: *it.isolate,
                ..call
            },
            WorkSpec::Command(it) => TaskCall { command: Some(it.command()), ..call },
        }
    }

    /// Returns the limits of one item.
    pub fn limits(&self) -> ItemLimits {
        let LimitSpec { timeout, memory, fuel, max_output } = &self.limits;
        ItemLimits { timeout: **timeout, memory: **memory, fuel: **fuel, max_output: **max_output }
    }
}

impl CommandSpec {
    fn command(&self) -> CommandCall {
        CommandCall {
            arguments: self.arguments.clone(),
            item: (*self.replace).clone(),
            index: (*self.replace_index).clone(),
            ok_codes: (*self.ok_codes).clone(),
            pipes: CommandPipes::default(),
            without_value: false,
        }
    }
}

impl GrantSpec {
    /// Returns the grants without their sources.
    pub fn grants(&self) -> grants::Grants {
        grants::Grants {
            env: self.env.iter().map(|one| (**one).clone()).collect(),
            directories: self.directories.iter().map(|one| (**one).clone()).collect(),
            peers: self.peers.iter().map(|one| (**one).clone()).collect(),
            scratch: self.scratch.as_deref().cloned(),
        }
    }
}

fn bindings<S: Serializer>(bound: &Sourced<Vec<(String, String)>>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(bound.iter().map(|(name, value)| format!("{name}={value}")))
}

fn in_lower_case<S: Serializer>(isolate: &Sourced<Isolate>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&format!("{:?}", **isolate).to_lowercase())
}

/// Serialises a delimiter. Where the input shows it, the hash of the items tells one from another.
fn character<S: Serializer>(byte: &Sourced<Option<u8>>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&char::from(byte.unwrap_or(b',')).escape_default())
}

fn is_off(switch: &Sourced<bool>) -> bool {
    !**switch
}

fn is_empty(values: &Sourced<Vec<String>>) -> bool {
    values.is_empty()
}

/// Serialises the hash of each value, which may be secret, since journals and messages hold it.
fn hashed_variables<S: Serializer>(env: &[Sourced<(String, String)>], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(env.iter().map(|variable| {
        let (name, value) = &**variable;
        let hash = blake3::hash(value.as_bytes()).to_hex();
        format!("{name}=(hash:{})", &hash[..16])
    }))
}

fn bound_directories<S: Serializer>(directories: &[Sourced<DirectoryGrant>], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(directories.iter().map(|directory| {
        let mode = if directory.writable { WRITABLE } else { READABLE };
        format!("{}::{}{mode}", directory.host.to_string_lossy(), directory.guest)
    }))
}

fn addresses<S: Serializer>(peers: &[Sourced<PeerGrant>], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(peers.iter().map(|peer| format!("{}:{}", peer.host, peer.port)))
}
