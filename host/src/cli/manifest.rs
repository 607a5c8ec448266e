//! The manifest of a plugin (`plugin.toml` beside the wasm) and the user's policy (the file of `--policy`).
//!
//! The author of the wasm also wrote the manifest, so a manifest grants nothing: it names the function, and *asks* for
//! limits and grants. The plugin gets what it asks for **and** the user grants, and of each limit the smaller.

pub(super) mod read;

use std::fmt::Display;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use read::ContentError;

use super::share::{self, ServedObject, SharedObject};
use super::source::{SettingSource, Sourced};
use super::spec::GrantSpec;
use wasmpool_core::text::{ForeignText, QuotedName, ShellWord, bytes_said, few};
use wasmpool_run::grants::{DirectoryGrant, PeerGrant, mode, same_place};
use wasmpool_run::links::leads_to;
use wasmpool_run::place::directory_of;

/// The file name of a manifest.
pub const NAME: &str = "plugin.toml";

/// Maximum number of requests of one kind that are listed one by one.
const LISTED: usize = 10;

/// Limits as they are written in a file; `None` for those that it does not name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileLimits {
    /// Wall time of one item.
    #[serde(deserialize_with = "read::duration")]
    pub timeout: Option<Duration>,
    /// Bytes of one instance's memory.
    #[serde(deserialize_with = "read::size")]
    pub memory: Option<u64>,
    pub fuel: Option<u64>,
    /// Bytes of one result.
    #[serde(deserialize_with = "read::size")]
    pub max_output: Option<u64>,
}

/// A plugin as it describes itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Manifest {
    /// The path of the manifest.
    #[serde(skip)]
    pub path: PathBuf,
    /// The task, in the manifest's directory.
    wasm: PathBuf,
    /// The function that is called if the user names none.
    pub function: Option<String>,
    #[serde(default)]
    pub limits: FileLimits,
    #[serde(default)]
    pub grants: PluginRequests,
}

/// The grants that a plugin asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct PluginRequests {
    /// Names of environment variables; the user provides their values.
    #[serde(deserialize_with = "read::variables")]
    pub env: Vec<String>,
    /// Directories under the plugin's own names, each with true if it asks to write there.
    #[serde(deserialize_with = "read::asked_directories")]
    pub dir: Vec<(String, bool)>,
    #[serde(deserialize_with = "read::asked_peers")]
    pub allow_net: Vec<PeerGrant>,
    #[serde(deserialize_with = "read::asked_scratch")]
    pub scratch: Option<String>,
    /// Shared objects, of which name, kind and rights count: their sizes are the user's to say.
    #[serde(deserialize_with = "read::shares")]
    pub share: Vec<SharedObject>,
}

/// The user's grants and limits, in a file instead of on the command line.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Policy {
    /// The path of the policy.
    #[serde(skip)]
    pub path: PathBuf,
    pub limits: FileLimits,
    pub grants: PolicyGrants,
}

/// Grants as they are written on the command line.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct PolicyGrants {
    #[serde(deserialize_with = "read::given_variables")]
    env: Vec<(String, String)>,
    #[serde(deserialize_with = "read::given_directories")]
    dir: Vec<DirectoryGrant>,
    #[serde(deserialize_with = "read::peers")]
    allow_net: Vec<PeerGrant>,
    #[serde(deserialize_with = "read::scratch")]
    scratch: Option<String>,
    #[serde(deserialize_with = "read::shares")]
    share: Vec<SharedObject>,
}

/// Grants of a process in the file of a run. It has no objects here: `share` of the process names them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ProcessGrants {
    #[serde(deserialize_with = "read::given_variables")]
    env: Vec<(String, String)>,
    #[serde(deserialize_with = "read::given_directories")]
    dir: Vec<DirectoryGrant>,
    #[serde(deserialize_with = "read::peers")]
    allow_net: Vec<PeerGrant>,
    #[serde(deserialize_with = "read::scratch")]
    scratch: Option<String>,
}

impl From<ProcessGrants> for PolicyGrants {
    fn from(ProcessGrants { env, dir, allow_net, scratch }: ProcessGrants) -> PolicyGrants {
        PolicyGrants { env, dir, allow_net, scratch, share: Vec::new() }
    }
}

/// The result of comparing what a plugin asks for with what the user grants.
#[derive(Clone, Debug, Default)]
pub struct NarrowedGrants {
    pub grants: GrantSpec,
    /// Requests that were not granted, each with the option that would grant it.
    pub missing: Vec<(String, GrantWords)>,
    /// Grants that were not asked for and are therefore withheld, as the user wrote them.
    pub withheld: Vec<String>,
    /// What was granted in part, as notes: less than was asked for, with the words that grant it, or less than was given.
    pub partly: Vec<(String, Option<GrantWords>)>,
}

/// The reason why a manifest or a policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("cannot read {}", ForeignText::of(.path))]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is longer than {}", ForeignText::of(.path), bytes_said(*.most))]
    TooLong { path: PathBuf, most: u64 },
    #[error("{}: {what}", ForeignText::of(.path))]
    Content { path: PathBuf, what: ContentError },
    #[error("there is no {}: name a .wasm or .wat file, a {NAME}, or a directory that holds one", ForeignText::of(.0))]
    Missing(PathBuf),
    #[error(
        "{}: `wasm` has to be a file below the directory of the manifest, not {}",
        ForeignText::of(.path), QuotedName::of(.wasm)
    )]
    OutsideDirectory { path: PathBuf, wasm: PathBuf },
    #[error("{}: `wasm` has to be a file, and {} is none", ForeignText::of(.path), ForeignText::of(.wasm))]
    NoFile { path: PathBuf, wasm: PathBuf },
    #[error(
        "{}: `wasm` has to be a file, and {} is a link to what another program has opened, such as standard input",
        ForeignText::of(.path), ForeignText::of(.wasm)
    )]
    LinkToOpened { path: PathBuf, wasm: PathBuf },
}

/// Whether a path ends at a link of `/proc`, which leads to what a process has open and not to a path.
fn leads_to_what_is_open(path: &Path) -> bool {
    leads_to(path).is_ok_and(|end| end.starts_with("/proc"))
}

impl Manifest {
    /// Finds the manifest that a task's path leads to: for a directory the one in it; for a manifest itself; for wasm
    /// the one beside it, if that names this very file.
    pub fn find(task: &Path) -> Result<Option<(Manifest, PathBuf)>, ManifestError> {
        let named = task.file_name().is_some_and(|name| name == NAME);
        let path = if task.is_dir() {
            task.join(NAME)
        } else if named {
            task.to_owned()
        } else {
            task.with_file_name(NAME)
        };
        let asked = named || task.is_dir();
        if task.as_os_str() == "-" || !asked && !path.is_file() {
            return Ok(None);
        }
        if !path.is_file() {
            return Err(ManifestError::Missing(path));
        }
        let manifest: Manifest = read::file(&path)?;
        let manifest = Manifest { path: path.clone(), ..manifest };
        let in_directory = manifest.wasm.components().all(|part| matches!(part, Component::Normal(_)));
        if !in_directory || manifest.wasm.as_os_str().is_empty() {
            return Err(ManifestError::OutsideDirectory { path, wasm: manifest.wasm });
        }
        let wasm = path.with_file_name(&manifest.wasm);
        // A FIFO or a device would keep the user waiting for ever, or take a task from somewhere else.
        if asked && fs::metadata(&wasm).is_ok_and(|found| !found.is_file()) {
            return Err(ManifestError::NoFile { path, wasm });
        }
        // So would a link to what this process has open, where that is a file.
        if asked && leads_to_what_is_open(&wasm) && !leads_to_what_is_open(directory_of(&path)) {
            return Err(ManifestError::LinkToOpened { path, wasm });
        }
        let about_it = asked || same(&wasm, task);
        Ok(about_it.then_some((manifest, wasm)))
    }

    /// Returns the grants that the plugin also asks for, and those that are missing or withheld.
    pub fn narrow(&self, given: GrantSpec) -> NarrowedGrants {
        let asks = &self.grants;
        let mut narrowed = NarrowedGrants::default();
        let NarrowedGrants { grants, missing, withheld, partly } = &mut narrowed;
        for variable in given.env {
            let (name, _) = &*variable;
            match asks.env.contains(name) {
                true => grants.env.push(variable),
                false => {
                    withheld.push(variable.option_name_with("--env", &format!("{}=…", ShellWord::of(name))).to_string())
                }
            }
        }
        for directory in given.directories {
            let option = directory.option_name_with("--dir", &as_argument(&directory)).to_string();
            match asks.dir.iter().find(|(name, _)| *name == directory.guest) {
                Some((_, writes)) => {
                    if directory.writable && !writes {
                        withheld.push(format!("writing to {option}"));
                    }
                    let narrow = |one: DirectoryGrant| DirectoryGrant { writable: one.writable && *writes, ..one };
                    grants.directories.push(directory.map(narrow));
                }
                None => withheld.push(option),
            }
        }
        let same_peer =
            |one: &PeerGrant, other: &PeerGrant| one.port == other.port && one.host.eq_ignore_ascii_case(&other.host);
        for peer in given.peers {
            match asks.allow_net.iter().any(|asked| same_peer(asked, &peer)) {
                true => grants.peers.push(peer),
                false => {
                    let address = ShellWord::of(&address(&peer)).to_string();
                    withheld.push(peer.option_name_with("--allow-net", &address).to_string());
                }
            }
        }
        match given.scratch {
            Some(name) if asks.scratch.as_deref() == Some(name.as_str()) => grants.scratch = Some(name),
            Some(name) => {
                let word = ShellWord::of(name.as_str()).to_string();
                withheld.push(name.option_name_with("--scratch", &word).to_string());
            }
            None => {}
        }
        for share in given.shares {
            let option = share.option_name_with("--share", &share.to_string()).to_string();
            match asks.share.iter().find(|asked| asked.is_same_object(&share)) {
                Some(asked) => {
                    let rights = asked.rights.and(share.rights);
                    if !rights.first && !rights.second {
                        withheld.push(option);
                        continue;
                    }
                    if rights != share.rights {
                        let right = share::word_of(&share.spec.form, rights);
                        let note = format!("the plugin asks only for :{right} of {option}, and gets no more of it");
                        partly.push((note, None));
                    }
                    grants.shares.push(share.map(|share| SharedObject { rights, ..share }));
                }
                None => withheld.push(option),
            }
        }
        for served in given.served {
            match asks.share.iter().find(|asked| asked.spec.name == served.name) {
                // Whether it is of that kind is known once the server was asked.
                Some(asked) => {
                    grants.served.push(served.map(|served| ServedObject { asked: Some(asked.clone()), ..served }));
                }
                None => {
                    let text = served.to_string();
                    withheld.push(served.option_name_with("--share", &text).to_string());
                }
            }
        }
        for (ask, words) in asks.each() {
            let had = match &ask {
                PluginRequest::Variable(name) => grants.env.iter().any(|given| given.0 == **name),
                PluginRequest::Directory(name, writes) => {
                    grants.directories.iter().any(|given| given.guest == **name && given.writable >= *writes)
                }
                PluginRequest::Peer(peer) => grants.peers.iter().any(|given| same_peer(given, peer)),
                PluginRequest::Scratch(_) => grants.scratch.is_some(),
                PluginRequest::Share(asked) => {
                    let of_run = |given: &Sourced<SharedObject>| {
                        asked.is_same_object(given) && given.rights.and(asked.rights) == asked.rights
                    };
                    grants.shares.iter().any(of_run) || grants.served.iter().any(|given| given.name == asked.spec.name)
                }
            };
            let part = match &ask {
                PluginRequest::Directory(name, _) => {
                    grants.directories.iter().any(|given| given.guest == **name).then_some("reading")
                }
                PluginRequest::Share(asked) => {
                    let given = grants.shares.iter().find(|given| asked.is_same_object(given));
                    given.map(|given| share::word_of(&given.spec.form, given.rights))
                }
                _ => None,
            };
            match part {
                _ if had => {}
                Some(part) => partly.push((format!("the plugin asks {ask}, and gets only {part} of it"), Some(words))),
                None => missing.push((ask.to_string(), words)),
            }
        }
        narrowed
    }

    /// Returns the plugin's requests as sentences: the first ones of each kind, and the number of the others.
    pub fn sentences(&self) -> Vec<String> {
        let asks: Vec<PluginRequest<'_>> = self.grants.each().map(|(ask, _)| ask).collect();
        let mut sentences = Vec::new();
        for of_kind in asks.chunk_by(|one, next| one.all_of() == next.all_of()) {
            let (shown, more) = few(of_kind, LISTED);
            sentences.extend(shown.iter().map(|ask| format!("It asks {ask}.")));
            if let (1.., Some(ask)) = (more, of_kind.first()) {
                sentences.push(format!("It asks {} {more} more; {NAME} has them all.", ask.all_of()));
            }
        }
        if sentences.is_empty() {
            sentences.push("It computes only: it asks for no files, no network and no variables.".to_owned());
        }
        let FileLimits { timeout, memory, fuel, max_output } = &self.limits;
        let limits = [
            timeout.map(|time| format!("{} for each item", humantime::format_duration(time))),
            memory.map(|bytes| format!("{} of memory", bytes_said(bytes))),
            fuel.map(|fuel| format!("{fuel} instructions for each item")),
            max_output.map(|bytes| format!("results of {}", bytes_said(bytes))),
        ];
        let limits: Vec<String> = limits.into_iter().flatten().collect();
        if !limits.is_empty() {
            sentences.push(format!("It says that it needs no more than {}.", limits.join(", ")));
        }
        sentences
    }
}

/// One request of a plugin. It is displayed as what the plugin asks to do, to follow "It asks".
enum PluginRequest<'a> {
    Variable(&'a str),
    Directory(&'a str, bool),
    Peer(&'a PeerGrant),
    Scratch(&'a str),
    Share(&'a SharedObject),
}

impl PluginRequest<'_> {
    /// Returns the text for all requests of this kind.
    fn all_of(&self) -> &'static str {
        match self {
            PluginRequest::Directory(_, true) => "to read, change and delete files below directories:",
            PluginRequest::Directory(_, false) => "to read files below directories:",
            PluginRequest::Scratch(_) => "for directories to write to:",
            PluginRequest::Peer(_) => "to connect to peers:",
            PluginRequest::Variable(_) => "to be told variables:",
            PluginRequest::Share(_) => "to share objects with others:",
        }
    }
}

impl Display for PluginRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PluginRequest::Variable(name) => write!(f, "to be told the variable {}", QuotedName::of(name)),
            PluginRequest::Directory(name, false) => {
                write!(f, "to read files below a directory it calls {}", QuotedName::of(name))
            }
            PluginRequest::Directory(name, true) => {
                write!(f, "to read, change and delete files below a directory it calls {}", QuotedName::of(name))
            }
            PluginRequest::Peer(peer) => write!(f, "to connect to {}", QuotedName::of(&address(peer))),
            PluginRequest::Scratch(name) => {
                write!(f, "for a directory to write to, empty at each item, which it calls {}", QuotedName::of(name))
            }
            PluginRequest::Share(object) => {
                write!(f, "to share an object with others: {}", QuotedName::of(&object.to_string()))
            }
        }
    }
}

/// A grant in the words that give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantWords {
    /// The key of a file, and the name of the option.
    key: &'static str,
    value: String,
    /// What stands behind the value for the user to fill in.
    behind: &'static str,
}

impl GrantWords {
    /// Returns the option, ready to be pasted.
    pub fn to_option(&self) -> String {
        format!("--{} {}{}", self.key, ShellWord::of(&self.value), self.behind)
    }

    /// Returns the key of a run's file, with the value.
    pub fn to_entry(&self) -> String {
        let GrantWords { key, value, behind } = self;
        match *key {
            // The object itself is defined in [share], with kind and sizes: a process has its name, and rights.
            "share" => format!("`share` of the process with {}", QuotedName::of(&share::in_a_process(value))),
            key => format!("`{key}` of [grants] with {}", QuotedName::of(&format!("{value}{behind}"))),
        }
    }
}

impl PluginRequests {
    /// Returns each request with the words that grant it. Those that permit most come first.
    fn each(&self) -> impl Iterator<Item = (PluginRequest<'_>, GrantWords)> {
        let words = |key, value: String| GrantWords { key, value, behind: "" };
        let variables = self.env.iter().map(|name| {
            (PluginRequest::Variable(name), GrantWords { key: "env", value: name.clone(), behind: "=VALUE" })
        });
        let directory = move |(name, writes): &'_ (String, bool)| {
            let mode = mode(*writes);
            words("dir", ["HOST::", name, mode].concat())
        };
        let directories = |writes| {
            let of_kind = self.dir.iter().filter(move |(_, asked)| *asked == writes);
            of_kind.map(move |one| (PluginRequest::Directory(&one.0, one.1), directory(one)))
        };
        let peers = self.allow_net.iter();
        let peers = peers.map(move |peer| (PluginRequest::Peer(peer), words("allow-net", address(peer))));
        let scratch =
            self.scratch.iter().map(move |name| (PluginRequest::Scratch(name), words("scratch", name.clone())));
        let shares = self.share.iter();
        let shares = shares.map(move |object| (PluginRequest::Share(object), words("share", object.to_string())));
        directories(true).chain(directories(false)).chain(scratch).chain(peers).chain(shares).chain(variables)
    }
}

impl PolicyGrants {
    /// Returns the grants with their source, and with host directories relative to this folder.
    pub fn of_source(&self, source: &SettingSource, folder: &Path) -> GrantSpec {
        let PolicyGrants { env, dir, allow_net, scratch, share } = self;
        let placed = |one: &DirectoryGrant| DirectoryGrant { host: folder.join(&one.host), ..one.clone() };
        GrantSpec {
            env: from(source, env.iter()).collect(),
            directories: dir.iter().map(|one| Sourced::new(placed(one), source.clone())).collect(),
            peers: from(source, allow_net.iter()).collect(),
            scratch: scratch.clone().map(|name| Sourced::new(name, source.clone())),
            shares: from(source, share.iter()).collect(),
            served: Vec::new(),
        }
    }
}

impl Policy {
    /// Reads a policy. Relative directories in it are relative to the directory of the file.
    pub fn of_file(path: &Path) -> Result<Policy, ManifestError> {
        let mut policy: Policy = read::file(path)?;
        policy.path = path.to_owned();
        for directory in &mut policy.grants.dir {
            directory.host = path.parent().unwrap_or(Path::new("")).join(&directory.host);
        }
        Ok(policy)
    }

    /// Merges the policy's grants with those of the command line, which takes precedence where both concern the same
    /// name.
    pub fn grants(&self, said: GrantSpec) -> GrantSpec {
        let source = SettingSource::Policy(self.path.as_path().into());
        let PolicyGrants { env, dir, allow_net, scratch, share } = &self.grants;
        let env = env.iter().filter(|(name, _)| !said.env.iter().any(|other| other.0 == *name));
        let directories =
            dir.iter().filter(|one| !said.directories.iter().any(|other| same_place(&other.guest, &one.guest)));
        let peers = allow_net.iter().filter(|peer| !said.peers.iter().any(|other| **other == **peer));
        let is_said = |name: &str| {
            said.shares.iter().any(|other| other.spec.name == name)
                || said.served.iter().any(|other| other.name == name)
        };
        let shares = share.iter().filter(|object| !is_said(&object.spec.name));
        GrantSpec {
            shares: from(&source, shares).chain(said.shares.iter().cloned()).collect(),
            served: said.served.clone(),
            env: from(&source, env).chain(said.env.iter().cloned()).collect(),
            directories: from(&source, directories).chain(said.directories.iter().cloned()).collect(),
            peers: from(&source, peers).chain(said.peers.iter().cloned()).collect(),
            scratch: said.scratch.or_else(|| scratch.clone().map(|name| Sourced::new(name, source))),
        }
    }
}

/// Returns copies of the values with their source.
fn from<'a, T: Clone + 'a>(
    source: &SettingSource,
    values: impl Iterator<Item = &'a T>,
) -> impl Iterator<Item = Sourced<T>> {
    values.map(|value| Sourced::new(value.clone(), source.clone()))
}

/// Returns true if both paths lead to the same file.
fn same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// Returns a directory as it is written on the command line.
fn as_argument(directory: &DirectoryGrant) -> String {
    let DirectoryGrant { host, guest, writable } = directory;
    let mode = mode(*writable);
    let mut granted = host.clone().into_os_string();
    granted.push(format!("::{guest}{mode}"));
    ShellWord::of(&granted).to_string()
}

fn address(peer: &PeerGrant) -> String {
    let PeerGrant { host, port } = peer;
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn manifest(text: &str) -> Result<Manifest, String> {
        read::text(text).map_err(|e| e.to_string())
    }

    fn directories() -> impl Strategy<Value = Vec<(u8, bool)>> {
        prop::collection::vec((0..4u8, any::<bool>()), 0..4)
    }

    fn grant_spec(given: &wasmpool_run::grants::Grants) -> GrantSpec {
        GrantSpec {
            env: from(&SettingSource::CommandLine, given.env.iter()).collect(),
            directories: from(&SettingSource::CommandLine, given.directories.iter()).collect(),
            peers: from(&SettingSource::CommandLine, given.peers.iter()).collect(),
            scratch: from(&SettingSource::CommandLine, given.scratch.iter()).next(),
            shares: Vec::new(),
            served: Vec::new(),
        }
    }

    fn names() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(0..4u8, 0..4)
    }

    proptest! {
        #[test]
        fn a_plugin_gets_only_what_it_asks_for_and_is_given(
            (asked_env, given_env) in (names(), names()),
            (asked_dir, given_dir) in (directories(), directories()),
            (asked_net, given_net) in (names(), names()),
            (asked_scratch, given_scratch) in (prop::option::of(0..2u8), prop::option::of(0..2u8)),
        ) {
            let peer = |n: &u8| PeerGrant { host: format!("host{n}"), port: 80 };
            let asks = PluginRequests {
                env: asked_env.iter().map(|n| format!("V{n}")).collect(),
                dir: asked_dir.iter().map(|(n, writes)| (format!("/{n}"), *writes)).collect(),
                allow_net: asked_net.iter().map(peer).collect(),
                scratch: asked_scratch.map(|n| format!("/s{n}")),
                share: Vec::new(),
            };
            let directory = |(n, writable): &(u8, bool)| {
                DirectoryGrant { host: format!("/host/{n}").into(), guest: format!("/{n}"), writable: *writable }
            };
            let given = wasmpool_run::grants::Grants {
                env: given_env.iter().map(|n| (format!("V{n}"), "value".to_owned())).collect(),
                directories: given_dir.iter().map(directory).collect(),
                peers: given_net.iter().map(peer).collect(),
                scratch: given_scratch.map(|n| format!("/s{n}")),
            };
            let manifest = Manifest { path: PathBuf::new(), wasm: "x.wasm".into(), function: None, limits: FileLimits::default(), grants: asks.clone() };
            let NarrowedGrants { grants, missing, withheld, partly } = manifest.narrow(grant_spec(&given));
            let grants = grants.grants();
            for (name, value) in &grants.env {
                prop_assert!(asks.env.contains(name) && given.env.contains(&(name.clone(), value.clone())));
            }
            for got in &grants.directories {
                let as_given = |one: &DirectoryGrant| one.host == got.host && one.guest == got.guest && one.writable >= got.writable;
                prop_assert!(given.directories.iter().any(as_given));
                prop_assert!(asks.dir.iter().any(|(name, writes)| *name == got.guest && *writes >= got.writable));
            }
            for peer in &grants.peers {
                prop_assert!(asks.allow_net.contains(peer) && given.peers.contains(peer));
            }
            prop_assert!(grants.scratch.is_none() || grants.scratch == asks.scratch && grants.scratch == given.scratch);
            // Whatever is withheld or missing is reported.
            let all = |g: &wasmpool_run::grants::Grants| (g.env.len(), g.directories.len(), g.peers.len(), g.scratch.is_some());
            prop_assert!(all(&grants) == all(&given) || !withheld.is_empty());
            let reads_only = |(name, writes): &(String, bool)| {
                let mut got = grants.directories.iter().filter(|got| got.guest == *name).peekable();
                *writes && got.peek().is_some() && got.all(|got| !got.writable)
            };
            prop_assert!(!asks.dir.iter().any(reads_only) || !partly.is_empty());
            let asked_scratch_only = asks.scratch.is_some() && grants.scratch.is_none();
            prop_assert!(!asked_scratch_only || missing.iter().any(|(_, option)| option.to_option().starts_with("--scratch")));
        }
    }

    #[test]
    fn a_manifest_is_read_in_the_words_of_the_command_line() {
        let manifest = manifest(
            "wasm = 'x.wasm'\nfunction = 'check'\n[limits]\ntimeout = '5s'\nmemory = '64MiB'\nfuel = 1000\n\
             [grants]\nenv = ['LANG']\ndir = ['/data', '/out:rw']\nallow-net = ['api.example.org:443']\nscratch = '/tmp'\n",
        )
        .unwrap();
        assert_eq!(manifest.limits.memory, Some(64 << 20));
        let sentences = manifest.sentences().join("\n");
        for part in [
            "It asks to read files below a directory it calls `/data`.",
            "It asks to read, change and delete files below a directory it calls `/out`.",
            "It asks to connect to `api.example.org:443`.",
            "It asks to be told the variable `LANG`.",
            "empty at each item, which it calls `/tmp`.",
            "5s for each item, 64 MiB of memory, 1000 instructions",
        ] {
            assert!(sentences.contains(part), "{part} is not in:\n{sentences}");
        }
    }

    #[test]
    fn what_is_not_known_is_named_with_what_is() {
        for (text, named) in [
            ("wasm = 'x'\nfunktion = 'f'", &["funktion", "function"][..]),
            ("wasm = 'x'\n[limits]\ntime = '1s'", &["time", "timeout"]),
            ("wasm = 'x'\n[grants]\ndirs = []", &["dirs", "dir"]),
            ("wasm = 'x'\n[grants]\nenv = ['A=1']", &["A=1", "by its name"]),
            ("wasm = 'x'\n[grants]\ndir = ['/etc::/data']", &["/etc::/data", "the user's to say"]),
            ("wasm = 'x'\n[limits]\nmemory = 'lots'", &["memory", "256MiB"]),
            ("function = 'f'", &["wasm"]),
        ] {
            let error = manifest(text).unwrap_err();
            assert!(named.iter().all(|name| error.contains(name)), "{error}");
        }
    }
}
