//! What coordinators and hosts say beside chunks and outcomes: short, as JSON.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::chunk::CopyNumber;
use wasmpool_core::policy::TaskCall;
use wasmpool_core::share::ObjectGrant;
use wasmpool_core::text::ForeignText;

/// Maximum bytes of a note that is read.
const MOST: usize = 1 << 20;

/// Returns the bytes of a note.
pub fn write(note: &impl Serialize) -> Vec<u8> {
    // Notes are plain data, which can always be written.
    serde_json::to_vec(note).unwrap_or_default()
}

/// Reads a note; `None` for what is none.
pub fn read<'a, N: Deserialize<'a>>(bytes: &'a [u8]) -> Option<N> {
    (bytes.len() <= MOST).then(|| serde_json::from_slice(bytes).ok()).flatten()
}

/// What a run asks of its hosts. A host fetches it from the coordinator.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub protocol: u8,
    /// The coordinator's version of wasmpool.
    pub version: String,
    /// The name of the task in messages.
    pub task_name: String,
    /// The BLAKE3 hash of the task's wasm.
    pub task_hash: String,
    pub call: TaskCall,
    pub max_items_per_worker: Option<u64>,
    /// What the task is to reach outside its memory, if the host's policy gives it.
    #[serde(default)]
    pub grants: AskedGrants,
    /// The engine that a host has to have, if the run wants a certain one.
    #[serde(default)]
    pub engine: Option<EngineName>,
    /// The server that has the shared objects of the call, if that is not the coordinator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<ServerLife>,
}

/// The part of a [`Manifest`] that every protocol has.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ManifestHead {
    pub protocol: u8,
    pub version: String,
}

/// The grants that a run asks of its hosts. Paths are those of the hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AskedGrants {
    pub env: Vec<(String, String)>,
    pub directories: Vec<AskedDirectory>,
    /// Hosts and ports.
    pub peers: Vec<(String, u16)>,
    pub scratch: Option<String>,
}

/// A directory that a run asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedDirectory {
    pub host: String,
    pub guest: String,
    pub writable: bool,
}

impl AskedGrants {
    /// Returns true if what an item does with them counts, if it runs twice.
    pub fn have_effects(&self) -> bool {
        !self.peers.is_empty() || self.directories.iter().any(|directory| directory.writable)
    }
}

/// What the results of a deterministic run may depend on beside task and items. The features of a processor are not among
/// it: such a task is compiled so that they change no result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineName {
    pub wasmpool: String,
    pub wasmtime: String,
    pub target: String,
}

impl EngineName {
    /// Returns the engine of this program.
    pub fn own() -> EngineName {
        EngineName {
            wasmpool: env!("CARGO_PKG_VERSION").to_owned(),
            wasmtime: wasmpool_core::artifact::WASMTIME.to_owned(),
            target: own_target(),
        }
    }
}

impl fmt::Display for EngineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EngineName { wasmpool, wasmtime, target } = self;
        let shown = |text| ForeignText::of(text);
        write!(f, "wasmpool {} with wasmtime {} on {}", shown(wasmpool), shown(wasmtime), shown(target))
    }
}

/// Returns what this program runs on: architecture and system.
pub fn own_target() -> String {
    format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)
}

/// What a coordinator says to hosts from time to time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// Which process it is: another one that resumes the run has another number.
    pub coordinator: u64,
    /// Number of times that the run was resumed. The process of the highest coordinates it.
    #[serde(default)]
    pub epoch: u64,
    /// True if the run has ended.
    pub ended: bool,
}

/// What a coordinator answers whoever asks whether there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    pub process: u32,
    pub machine: String,
}

/// What a server of shared objects answers whoever asks which it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerNote {
    pub protocol: u8,
    pub version: String,
    /// Which process it is, and when it began to ask whether another has its name: the greater number began later.
    pub life: u64,
    pub presence: Presence,
    /// True once it knows that no other has its name, and until it ends.
    pub serves: bool,
    /// The objects, with all that anybody may do with them.
    pub objects: Vec<ObjectGrant>,
}

/// Which process has the shared objects of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerLife {
    pub server: String,
    pub life: u64,
}

/// The part of [`ServerNote`] that every protocol has.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServerNoteHead {
    pub protocol: u8,
    pub version: String,
}

/// The bytes that a host asks its coordinator for, from an offset on. The answer is their whole length in eight bytes,
/// and as many bytes as fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wanted {
    /// The [`Manifest`].
    Manifest { offset: u64 },
    /// The task's wasm.
    Task { offset: u64 },
    /// The items of this copy of a chunk.
    Chunk { copy: CopyNumber, offset: u64 },
}

/// A host's beat to one coordinator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunBeat {
    pub life: u64,
    /// Number of worker processes that it has for this run; 0 until it has the task.
    pub workers: u32,
    /// The copies that it holds: whose outcomes the coordinator has not confirmed.
    pub held: Vec<CopyNumber>,
    /// Number of chunks that it wants at hand beside those that its workers run.
    #[serde(default)]
    pub ahead: u32,
    /// True if it pulls no more, and gives back what it does not name as held.
    pub leaving: bool,
    /// Why it does not serve this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
}

/// The reason why a host does not serve a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub cause: RefusalCause,
    pub message: String,
}

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalCause {
    /// The task: no host can run it.
    Task,
    /// The sandbox is not available on the host.
    Sandbox,
    /// The host: another may be able to.
    Host,
    /// The version of the host's program: it does not speak of such runs, or has another engine than the run wants.
    Version,
}

/// A host's beat to everybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostBeat {
    pub life: u64,
    pub protocol: u8,
    pub version: String,
    /// What it runs on: architecture and system.
    pub target: String,
    pub workers: u32,
    /// Number of chunks that it holds.
    pub chunks: u32,
    /// Number of runs that it serves.
    pub runs: u32,
    /// Why it leaves runs alone, a text for each reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaves_alone: Vec<String>,
    /// True until it knows that no other process has its name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub starting: bool,
}

impl HostBeat {
    /// Returns true if a host of this life leaves the name to the one that has sent this: to one that serves while it does not
    /// yet, and else to the one that began first.
    pub fn has_name_before(&self, life: u64, starting: bool) -> bool {
        match (self.starting, starting) {
            (false, true) => true,
            (true, false) => false,
            _ => self.life < life,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn of_two_hosts_of_one_name_exactly_one_keeps_it() {
        let beat = |life, starting| HostBeat {
            life,
            protocol: crate::PROTOCOL,
            version: String::new(),
            target: String::new(),
            workers: 1,
            chunks: 0,
            runs: 0,
            leaves_alone: Vec::new(),
            starting,
        };
        for (one, other) in [(false, false), (false, true), (true, false), (true, true)] {
            for (first, second) in [(1, 2), (2, 1)] {
                let yields = beat(first, one).has_name_before(second, other);
                assert_ne!(yields, beat(second, other).has_name_before(first, one));
                if one != other {
                    assert_eq!(yields, other, "one that serves leaves its name to one that starts");
                }
            }
        }
    }

    #[test]
    fn what_is_longer_than_a_note_is_not_read() {
        let long = format!("{{\"coordinator\":1,\"epoch\":0,\"ended\":false{}}}", " ".repeat(MOST));
        assert_eq!(read::<Control>(long.as_bytes()), None);
        assert_eq!(
            read(&write(&Control { coordinator: 1, epoch: 2, ended: true })),
            Some(Control { coordinator: 1, epoch: 2, ended: true })
        );
    }

    #[test]
    fn a_manifest_with_other_members_is_one_of_another_protocol() {
        let manifest = Manifest {
            protocol: crate::PROTOCOL,
            version: String::new(),
            task_name: String::new(),
            task_hash: String::new(),
            call: TaskCall::default(),
            max_items_per_worker: None,
            grants: AskedGrants::default(),
            engine: Some(EngineName::own()),
            objects: None,
        };
        fn members(value: &serde_json::Value, to: &mut Vec<String>) {
            for (name, value) in value.as_object().into_iter().flatten() {
                to.push(name.clone());
                members(value, to);
            }
        }
        let mut found = Vec::new();
        members(&serde_json::to_value(&manifest).unwrap(), &mut found);
        found.sort_unstable();
        // A host that does not know a member would run items otherwise than was asked. So whoever changes these members
        // also changes `PROTOCOL`, once hosts of the former one are about.
        assert_eq!(found.len(), MEMBERS, "{found:?}");
    }

    /// Number of members of a manifest of this protocol, and of what is in them.
    const MEMBERS: usize = 52;

    proptest! {
        #[test]
        fn a_beat_arrives_as_it_was_sent(
            life in any::<u64>(),
            workers in any::<u32>(),
            held in proptest::collection::vec(any::<u64>(), 0..9),
            ahead in any::<u32>(),
            leaving in any::<bool>(),
            refused in proptest::option::of(any::<String>()),
        ) {
            let refused = refused.map(|message| Refusal { cause: RefusalCause::Host, message });
            let beat = RunBeat { life, workers, held, ahead, leaving, refused };
            prop_assert_eq!(read(&write(&beat)), Some(beat));
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..99)) {
            let _ = (read::<RunBeat>(&bytes), read::<HostBeat>(&bytes), read::<Control>(&bytes), read::<Wanted>(&bytes));
        }
    }
}
