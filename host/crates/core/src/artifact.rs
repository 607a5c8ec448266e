//! Plain data about a compiled task that is known without loading it. The host, the compile process and the workers
//! exchange it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The version of wasmtime that artifacts belong to.
pub const WASMTIME: &str = "48.0.8";

/// Binary format of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskFormat {
    Component,
    Core,
}

/// Properties of an artifact that are known without loading it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ArtifactMeta {
    pub format: TaskFormat,
    pub profile: EngineProfile,
    pub needs: Option<InstanceNeeds>,
    /// True if the task imports something of WASI.
    pub wasi: bool,
    /// Manner in which `init` was run, if an initialised artifact was requested.
    #[serde(default)]
    pub init: Option<InitOnce>,
    pub renewal: Renewal,
    pub description: TaskDescription,
}

/// Manner in which an item gets pristine memory after another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Renewal {
    /// The instance is restored in place, unless an item did what cannot be undone. The compile process has added to the
    /// task what this takes.
    InPlace {
        /// Number of memories that are restored.
        memories: u32,
        /// Number of functions that restore global variables.
        globals: u32,
        /// Number of words by which the global variables and tables of each core instance that has some can be compared
        /// with those of another instance, for each function that returns them.
        words: Vec<Vec<u32>>,
        /// Number of components that may have handles of what the host has. Where several do, nothing tells whose a handle is,
        /// and the instance of an item that had any is dropped.
        handles: u32,
        /// Names of exported functions that change no global variable, so that these need not be restored after a call.
        keeping: BTreeSet<String>,
    },
    /// Each item gets an instance of its own, for the reason given here.
    Anew(String),
}

impl Renewal {
    /// Returns what an item may not have done if its instance is to be restored, where that is more than what is said of all
    /// tasks.
    pub fn unless(&self) -> Option<&'static str> {
        match self {
            Renewal::InPlace { handles: 2.., .. } => Some(
                "it had something of the host open (several components of the task call functions, so nothing tells whose it was)",
            ),
            _ => None,
        }
    }
}

impl ArtifactMeta {
    /// Returns true if a call may wait: for a timer of WASI, or within an async function.
    pub fn waits(&self) -> bool {
        self.wasi || self.profile.is_async()
    }
}

/// Manner in which a task is initialised whose instances all have to start from the same pristine memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InitOnce {
    /// `init` has run, and instances start from the snapshot that was taken afterwards.
    Snapshot,
    /// Like `Snapshot`, but what `init` saw of the outside world may differ in another run.
    SnapshotOfNow,
    /// `init` runs in every instance, for the reason given here.
    EachTime(String),
}

impl InitOnce {
    /// Returns true if instances start initialised.
    pub fn is_done(&self) -> bool {
        matches!(self, InitOnce::Snapshot | InitOnce::SnapshotOfNow)
    }
}

/// Exports and imports of a task as text, limited in number.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TaskDescription {
    pub exports: Vec<ExportLine>,
    /// The export that runs the task, if the task is a command.
    #[serde(default)]
    pub command: Option<String>,
    pub imports: Vec<String>,
    /// The reason why the task can never run, if it imports what nothing provides.
    #[serde(default)]
    pub unprovided: Option<String>,
    /// Whether one run of `init` is enough for all instances; `None` if there is no `init`.
    #[serde(default)]
    pub init: Option<InitOnce>,
    /// Number of exported functions and imports that were left out because the list is limited.
    pub left_out: usize,
}

impl TaskDescription {
    /// Returns the names of the fields of the records that a call yields, which are so many levels within what the function
    /// returns. Returns none if they are no records, or it is not known which function is meant.
    pub fn fields(&self, function: Option<&str>, level: usize) -> Vec<String> {
        self.meant(function).and_then(|export| export.fields.get(level)).cloned().unwrap_or_default()
    }

    /// Returns the function that a call means by this name, or by none. Returns `None` if there is no such function, or several.
    pub fn meant(&self, function: Option<&str>) -> Option<&ExportLine> {
        let found: Vec<&ExportLine> = match function {
            Some(wanted) => self.named(wanted),
            None => self.exports.iter().filter(|export| export.users && export.unsupported.is_none()).collect(),
        };
        match *found {
            [one] => Some(one),
            _ => None,
        }
    }

    /// Returns the functions that `wanted` names: the one of exactly this name, or all of which it is a part that is enough.
    pub fn named(&self, wanted: &str) -> Vec<&ExportLine> {
        if let Some(exactly) = self.exports.iter().find(|export| export.name == wanted) {
            return vec![exactly];
        }
        let is_meant = |export: &&ExportLine| {
            let (interface, name) = match export.name.rsplit_once('/') {
                Some((interface, name)) => (Some(interface), name),
                None => (None, &*export.name),
            };
            is_named(interface, name, wanted)
        };
        self.exports.iter().filter(is_meant).collect()
    }
}

/// Returns true if `wanted` names this function: `name`, or `interface/name` with or without package and version, or WIT's
/// `#` form.
pub fn is_named(interface: Option<&str>, name: &str, wanted: &str) -> bool {
    if wanted == name {
        return true;
    }
    let (Some(interface), Some((wanted_interface, wanted_name))) = (interface, wanted.rsplit_once(['/', '#'])) else {
        return false;
    };
    let unversioned = interface.split('@').next().unwrap_or(interface);
    let bare = unversioned.rsplit('/').next().unwrap_or(unversioned);
    wanted_name == name && [interface, unversioned, bare].contains(&wanted_interface)
}

/// An exported function.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExportLine {
    pub name: String,
    pub signature: String,
    /// True if a user would call it; false for functions that a toolchain added.
    pub users: bool,
    /// Names of the fields of the record that it returns; those of the records in a list or an option that it returns; and
    /// those of records that are one level further down. None where there is no such record.
    pub fields: [Vec<String>; 3],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsupported: Option<String>,
    /// An item that it would take, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<String>,
}

/// Features that an engine supports beyond what plain tasks need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EngineFeatures {
    /// No additional features. There is no heap for garbage-collected values, so not even a table of `externref`.
    #[default]
    Lean,
    /// References that keep something alive, garbage collection, and exceptions.
    Collected,
    /// Everything wasmtime supports: the features of `Collected`, and functions that wait for each other.
    Full,
}

/// Settings that change the compiled code. A task gets the first of [`EngineProfile::all`] that can compile it. Features that
/// few tasks need are thus switched off for the others, which leaves less code that a hostile guest could reach, and
/// makes calls faster (support for concurrency alone costs some 300 ns a call).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineProfile {
    pub features: EngineFeatures,
    /// Counts instructions. Doubles the time of call-heavy code.
    pub fuel: bool,
    /// Gives the same bits on any machine, even where WebAssembly leaves a choice: which NaN a result is, and how
    /// relaxed SIMD rounds.
    #[serde(default)]
    pub deterministic: bool,
}

impl EngineProfile {
    /// Returns the profiles to try, the one with the fewest features first.
    pub fn all(self) -> [EngineProfile; 3] {
        [EngineFeatures::Lean, EngineFeatures::Collected, EngineFeatures::Full]
            .map(|features| EngineProfile { features, ..self })
    }

    /// Returns true if there is a heap for garbage-collected values and exceptions.
    pub fn collects(self) -> bool {
        self.features != EngineFeatures::Lean
    }

    /// Returns true if functions have to be called asynchronously, because a call may wait for another one in the same
    /// instance.
    pub fn is_async(self) -> bool {
        self.features == EngineFeatures::Full
    }

    /// Returns a short name, which is part of the cache's key.
    pub fn name(self) -> String {
        let mut name = match self.features {
            EngineFeatures::Lean => "lean",
            EngineFeatures::Collected => "collected",
            EngineFeatures::Full => "full",
        }
        .to_owned();
        if self.fuel {
            name.push_str("-fuel");
        }
        if self.deterministic {
            name.push_str("-deterministic");
        }
        name
    }
}

/// Resources that one instance of a task takes from a pool. `None` if they can't be known before the task runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceNeeds {
    pub memories: u32,
    /// Initial size in bytes of the largest memory.
    pub initial_memory: u64,
    pub tables: u32,
    pub initial_table: u64,
}

impl InstanceNeeds {
    /// Returns the initial size in bytes of the largest memory and the largest table together.
    pub fn initial_bytes(&self) -> u64 {
        self.initial_memory.saturating_add(self.initial_table.saturating_mul(TABLE_ELEMENT))
    }

    /// Returns the number of bytes that a pool keeps for tables.
    pub fn pooled_tables(&self) -> u64 {
        let elements = self.initial_table.max(TABLE_ELEMENTS as u64);
        elements.saturating_mul(TABLE_ELEMENT).saturating_mul(self.tables.into())
    }
}

/// Size in bytes of an element of a table.
pub const TABLE_ELEMENT: u64 = 8;
/// Number of elements that a table may grow to in a pool.
pub const TABLE_ELEMENTS: usize = 20_000;
