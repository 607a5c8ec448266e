//! Limits and choices of a run as plain data: what the user said, once, in the form the rest of the program uses.
//!
//! Everything here crosses the process boundary to workers, so it is `serde` data and nothing else.

mod halt;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::guest_grants::GuestGrants;

pub use halt::{Failures, Halt, HaltWhen, RETRY_ON};

/// How often an instance of the task starts from pristine memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Isolate {
    /// A fresh instance for every item: nothing an item leaves behind is seen by another. Costs some 6–20 µs an item.
    #[default]
    Item,
    /// A fresh instance for every chunk of consecutive items.
    Chunk,
    /// One instance for the life of the worker process, replaced only after a trap.
    Worker,
}

/// What one item may use. Each limit that is met ends that item, with a failure of its own kind, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limits {
    /// Wall time of one item, from its start in the worker. Default 30 s.
    pub timeout: Duration,
    /// Linear memory of one instance in bytes, summed over its memories. Default 256 MiB.
    pub memory: u64,
    /// Instructions of one item, in wasmtime's fuel units; `None` (the default) costs nothing,
    /// a limit doubles the time of call-heavy code.
    pub fuel: Option<u64>,
    /// Bytes of one item's encoded result. Default 16 MiB.
    pub max_output: u64,
}

impl Limits {
    /// Instructions of one item of a deterministic run, where fuel stands in for time: a minute or more of computing.
    pub const DETERMINISTIC_FUEL: u64 = 100_000_000_000;

    /// Wall time of such an item, which only one that does not compute ever meets: fuel runs out before, even on a machine
    /// that does ten million instructions a second.
    pub fn distant_timeout(fuel: u64) -> Duration {
        Duration::from_secs((fuel / 10_000_000).max(3600))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits { timeout: Duration::from_secs(30), memory: 256 << 20, fuel: None, max_output: 16 << 20 }
    }
}

/// How the bytes of an item are to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Form {
    /// JSON text.
    #[default]
    Json,
    /// The bytes themselves, no JSON: they fit `list<u8>`, `string` where they
    /// are UTF-8, what JSON spells as a plain string (`char`, `enum`), and an
    /// option of these.
    Bytes,
    /// A JSON object of strings, made from a row of CSV. Each cell is turned
    /// into the type that its column is wanted as, and columns that nobody
    /// wants are passed over. An array, where columns have no names: they are
    /// those of the type then, in its order.
    Csv,
}

/// How a result is to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ResultForm {
    /// JSON, on one line.
    #[default]
    Json,
    /// Strings and bytes as they are, everything else as JSON.
    Raw,
}

/// What must hold of the layers that keep a worker in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SandboxMode {
    /// Refuse to run where a required layer is missing. Costs 1–2 ms for each worker process that starts.
    #[default]
    Strict,
    /// Use the layers there are, and say what is missing. Wrong for code of strangers.
    BestEffort,
    /// None but a process with nothing inherited. Only for tasks that are trusted.
    Off,
}

/// How a WASI command is run for an item.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Command {
    /// Its arguments, the first of which is its name. Where the others do not hold the item, it is its standard input.
    pub arguments: Vec<String>,
    /// What stands for the item in them, and what for its index. Neither is empty.
    pub item: String,
    pub index: String,
    /// Exit codes that are success.
    pub ok_codes: BTreeSet<i32>,
}

/// What is known of the columns of CSV before its first row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Columns {
    /// The header names them.
    Named(Vec<String>),
    /// There is no header, and rows have so many cells.
    Counted(usize),
}

/// What a worker does with each item: which function, how it is called, and what it may use.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Call {
    /// `name` or `interface/name`; `None` takes the only one a user would call.
    pub function: Option<String>,
    /// The task is a command to run, rather than a function to call.
    pub command: Option<Command>,
    /// Parameters bound by name to a JSON value.
    pub args: Vec<(String, String)>,
    /// JSON argument of the task's `init` export, run before the first item of an instance.
    pub init: Option<String>,
    /// The function takes a list of items and returns as many results.
    pub batch: bool,
    /// Each element of a returned list or option is a line of its own.
    pub flatten: bool,
    pub isolate: Isolate,
    /// The same item gives the same bytes on any machine: clocks and random numbers are fixed.
    pub deterministic: bool,
    pub limits: Limits,
    pub sandbox: SandboxMode,
    pub given: GuestGrants,
    pub item_form: Form,
    /// What a function is to be held against before it gets any row: each header there is, with the file that has it.
    pub columns: Vec<(String, Columns)>,
    /// Commands write more than is kept in memory: what they write leaves in parts.
    pub in_parts: bool,
    /// Items may be lines of `--failed`, whose item is meant then.
    pub takes_failed: bool,
    pub result_form: ResultForm,
}
