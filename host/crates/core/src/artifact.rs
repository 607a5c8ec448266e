//! What is known of a compiled task without loading it, as plain data: host, compile process and worker tell each other.

use serde::{Deserialize, Serialize};

/// The version of wasmtime that artifacts belong to.
pub const WASMTIME: &str = "48.0.8";

/// What a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    Component,
    Core,
}

/// What is known of an artifact without loading it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Meta {
    pub format: Format,
    pub profile: Profile,
    pub needs: Option<Needs>,
    /// It imports something of WASI.
    pub wasi: bool,
    /// Whether `init` ran, where it was asked for.
    #[serde(default)]
    pub init: Option<InitOnce>,
    pub description: Description,
}

impl Meta {
    /// Whether a call may wait for something: for a timer of WASI, or within an async function.
    pub fn waits(&self) -> bool {
        self.wasi || self.profile.is_async()
    }
}

/// How a task is initialised whose instances are to be pristine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InitOnce {
    /// `init` has run: instances start from the snapshot that was taken then.
    Snapshot,
    /// The same, but what `init` saw of the world outside may be otherwise in another run.
    SnapshotOfNow,
    /// `init` runs in every instance, for this reason.
    EachTime(String),
}

impl InitOnce {
    /// Whether instances start initialised.
    pub fn is_done(&self) -> bool {
        matches!(self, InitOnce::Snapshot | InitOnce::SnapshotOfNow)
    }
}

/// What a task exports and imports, in words, to a bound.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Description {
    pub exports: Vec<ExportLine>,
    /// The export that runs it, if it is a command.
    #[serde(default)]
    pub command: Option<String>,
    pub imports: Vec<String>,
    /// Whether one run of `init`, where there is one, can do for all instances.
    #[serde(default)]
    pub init: Option<InitOnce>,
    /// Exported functions and imports that found no room.
    pub left_out: usize,
}

/// An exported function.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExportLine {
    pub name: String,
    pub signature: String,
    /// A user would call it, as opposed to what a toolchain added.
    pub users: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsupported: Option<String>,
}

/// What an engine supports beyond what plain tasks need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Features {
    /// Nothing. There is no heap for garbage-collected values, so not even a table of `externref`.
    #[default]
    Lean,
    /// References that keep something alive, garbage collection and exceptions.
    Collected,
    /// These, and functions that wait for each other: everything wasmtime supports.
    Full,
}

/// Settings that change the compiled code. A task gets the first of [`Profile::all`] that can compile it, so that what
/// few tasks need is switched off for the others: less code that a hostile guest could reach, and faster calls
/// (concurrency support alone costs some 300 ns a call).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    pub features: Features,
    /// Count instructions. Doubles the time of call-heavy code.
    pub fuel: bool,
    /// Give the same bits on any machine, also where WebAssembly leaves a choice: which NaN, and what relaxed SIMD rounds to.
    #[serde(default)]
    pub deterministic: bool,
}

impl Profile {
    /// The profiles to try, the leanest first.
    pub fn all(self) -> [Profile; 3] {
        [Features::Lean, Features::Collected, Features::Full].map(|features| Profile { features, ..self })
    }

    /// Whether garbage-collected values, and exceptions, have a heap to live in.
    pub fn collects(self) -> bool {
        self.features != Features::Lean
    }

    /// Whether what an instance calls may wait for something else in it: it has to be called asynchronously.
    pub fn is_async(self) -> bool {
        self.features == Features::Full
    }

    /// A short name, part of the cache's key.
    pub fn name(self) -> String {
        let mut name = match self.features {
            Features::Lean => "lean",
            Features::Collected => "collected",
            Features::Full => "full",
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

/// What one instance of a task needs of a pool. `None` where it can't be known before it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    pub memories: u32,
    /// Bytes a memory starts with, at the most.
    pub initial_memory: u64,
    pub tables: u32,
    pub initial_table: u64,
}

impl Needs {
    /// Bytes of the largest memory and the largest table an instance starts with.
    pub fn initial_bytes(&self) -> u64 {
        self.initial_memory.saturating_add(self.initial_table.saturating_mul(TABLE_ELEMENT))
    }

    /// Bytes that a pool keeps for tables.
    pub fn pooled_tables(&self) -> u64 {
        let elements = self.initial_table.max(TABLE_ELEMENTS as u64);
        elements.saturating_mul(TABLE_ELEMENT).saturating_mul(self.tables.into())
    }
}

/// Bytes of an element of a table.
pub const TABLE_ELEMENT: u64 = 8;
/// Elements a table may grow to in a pool.
pub const TABLE_ELEMENTS: usize = 20_000;
