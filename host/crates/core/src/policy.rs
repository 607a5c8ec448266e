//! Limits and choices of a run as plain data: what the user said, in the form that the rest of the program uses.
//!
//! All of it is sent to worker processes, so it is `serde` data and nothing else.

mod halt;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::guest_grants::GuestGrants;

pub use halt::{Failures, Halt, HaltWhen, RETRY_ON};

/// Frequency with which an instance of the task starts from pristine memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Isolate {
    /// A fresh instance for every item: no item sees what another left behind. Costs some 6–20 µs per item.
    #[default]
    Item,
    /// A fresh instance for every chunk of consecutive items.
    Chunk,
    /// One instance for the life of the worker process, replaced only after a trap.
    Worker,
}

/// Limits of one item. Reaching one ends that item with a failure of its own kind, and affects nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ItemLimits {
    /// Wall time of one item, from its start in the worker. Default 30 s.
    pub timeout: Duration,
    /// Linear memory of one instance in bytes, summed over its memories. Default 256 MiB.
    pub memory: u64,
    /// Instructions of one item, in wasmtime's fuel units. `None` (the default) costs nothing; a limit doubles the time
    /// of call-heavy code.
    pub fuel: Option<u64>,
    /// Size in bytes of one item's encoded result. Default 16 MiB.
    pub max_output: u64,
}

impl ItemLimits {
    /// Instructions of one item of a deterministic run, in which fuel stands in for time: a minute or more of
    /// computing.
    pub const DETERMINISTIC_FUEL: u64 = 100_000_000_000;

    /// Returns the wall time of an item of a deterministic run. Only an item that does not compute ever reaches it:
    /// fuel runs out sooner, even on a machine that does ten million instructions a second.
    pub fn distant_timeout(fuel: u64) -> Duration {
        Duration::from_secs((fuel / 10_000_000).max(3600))
    }
}

impl Default for ItemLimits {
    fn default() -> Self {
        ItemLimits { timeout: Duration::from_secs(30), memory: 256 << 20, fuel: None, max_output: 16 << 20 }
    }
}

/// Form in which the bytes of an item are to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ItemEncoding {
    /// JSON text.
    #[default]
    Json,
    /// The bytes themselves, not JSON. They fit `list<u8>`, `string` if they are UTF-8, types that JSON writes as a
    /// plain string (`char`, `enum`), and an option of these.
    Bytes,
    /// A JSON object of strings, made from a row of CSV. Each cell is converted to the type that the function expects
    /// for its column; columns that it doesn't use are ignored. An array if the columns have no names: they are then
    /// those of the type, in its order.
    Csv,
    /// A JSON array of strings: the arguments of a call as a person typed them. One that is JSON of its parameter's type
    /// is that; else, where the type is written as a plain string, the text itself is meant.
    Typed,
}

/// Form in which a result is to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ResultForm {
    /// JSON, on one line.
    #[default]
    Json,
    /// Strings and bytes as they are, everything else as JSON.
    Raw,
}

/// Strictness with which the sandbox's layers are required.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SandboxMode {
    /// Refuses to run if a required layer is missing. Costs 1–2 ms for each worker process that starts.
    #[default]
    Strict,
    /// Uses the layers that are available, and reports what is missing. Not suitable for code of strangers.
    BestEffort,
    /// Uses no layer, but a process that inherits nothing. Only for trusted tasks.
    Off,
}

/// Settings for running a WASI command on an item.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CommandCall {
    /// Arguments of the command; the first is its name. If the others do not contain the item, it becomes standard
    /// input.
    pub arguments: Vec<String>,
    /// Placeholders in the arguments for the item and for its index. Neither is empty.
    pub item: String,
    pub index: String,
    /// Exit codes that count as success.
    pub ok_codes: BTreeSet<i32>,
    #[serde(default)]
    pub pipes: CommandPipes,
    /// True if standard output is no value: it is only shown while it is printed, so there can be any amount of it.
    #[serde(default)]
    pub without_value: bool,
}

/// Standard streams of a command that are pipes among the shared objects, by the numbers of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandPipes {
    /// The pipe of which standard input is the first end.
    pub stdin: Option<u16>,
    /// The pipe of which standard output is the second end. Then nothing of it is the value.
    pub stdout: Option<u16>,
}

/// Columns of CSV as far as they are known before the first row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CsvColumns {
    /// The header names them.
    Named(Vec<String>),
    /// There is no header; rows have this many cells.
    Counted(usize),
}

/// Exit code of a command that ended because nobody reads its standard output any more: that of SIGPIPE in a shell.
pub const UNREAD_CODE: i32 = 128 + 13;

/// Description of what a worker does with each item: which function it calls, how, and within which limits.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TaskCall {
    /// `name` or `interface/name`; `None` selects the only function that a user would call.
    pub function: Option<String>,
    /// Set if the task is a command to run rather than a function to call.
    pub command: Option<CommandCall>,
    /// Parameters that are bound by name to a JSON value.
    pub args: Vec<(String, String)>,
    /// True if a person typed the values of `args`: those that are no JSON of the parameter's type may be plain texts.
    #[serde(default)]
    pub args_typed: bool,
    /// JSON argument of the task's `init` export, which runs before the first item of an instance.
    pub init: Option<String>,
    /// True if the function takes a list of items and returns as many results.
    pub batch: bool,
    /// True if each element of a returned list or option becomes a line of its own.
    pub flatten: bool,
    pub isolate: Isolate,
    /// True if the same item has to give the same bytes on any machine: clocks and random numbers are fixed.
    pub deterministic: bool,
    pub limits: ItemLimits,
    pub sandbox: SandboxMode,
    pub given: GuestGrants,
    pub item_form: ItemEncoding,
    /// Headers to check the function against before it gets any row, each with the name of its file.
    pub columns: Vec<(String, CsvColumns)>,
    /// Members that an item which is an object may have beside those that the function takes: they are kept for the output.
    pub kept: Vec<String>,
    /// True if commands may write more than is kept in memory, so that their output is sent in parts.
    pub in_parts: bool,
    /// True if items may be lines of failed items; the item within such a line is then meant.
    pub takes_failed: bool,
    /// Number of arguments that each item was made of, where it was made of some: the function has to take as many. A
    /// single one may have them all in it.
    pub arguments: Option<usize>,
    /// True if it is only checked that the task can be loaded and that items fit the function. Nothing of the task runs.
    pub only_checked: bool,
    /// True if the outcome of a function that returns bytes says that its JSON is base64.
    pub tells_encoding: bool,
    pub result_form: ResultForm,
}
