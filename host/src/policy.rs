//! Limits and choices of a run as plain data: what the user said, once, in the form the rest of the program uses.
//!
//! Everything here crosses the process boundary to workers, so it is `serde` data and nothing else.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::grants::Given;
use crate::outcome::Kind;
use crate::value::Form;

/// How often an instance of the task starts from pristine memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
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
#[derive(Clone, Debug, Serialize, Deserialize)]
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

impl Default for Limits {
    fn default() -> Self {
        Limits { timeout: Duration::from_secs(30), memory: 256 << 20, fuel: None, max_output: 16 << 20 }
    }
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

/// Failures that another try may not meet: those that `--retries` is for unless something else is said.
pub const RETRY_ON: [Kind; 2] = [Kind::WorkerLost, Kind::Timeout];

/// When failures end a run, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Halt {
    pub manner: Manner,
    pub after: Failures,
}

/// How a run ends before its input does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// No more input is taken; what workers were given is finished.
    Soon,
    /// What runs is killed.
    Now,
}

/// How many failed items are too many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Failures {
    Count(u64),
    /// Of a hundred items that are done. No fewer than [`LEAST_FAILURES`], as one item of one is all of them.
    Percent(f64),
}

/// Failures below which their share says nothing. GNU parallel has the same.
pub const LEAST_FAILURES: u64 = 3;

impl Halt {
    /// Whether `failed` items of `done` are too many.
    pub fn is_met(&self, done: u64, failed: u64) -> bool {
        match self.after {
            Failures::Count(count) => failed >= count,
            Failures::Percent(share) => failed >= LEAST_FAILURES && failed as f64 * 100.0 >= share * done as f64,
        }
    }
}

/// As it is written on the command line.
impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let manner = match self.manner {
            Manner::Soon => "soon",
            Manner::Now => "now",
        };
        match self.after {
            Failures::Count(count) => write!(f, "{manner},fail={count}"),
            Failures::Percent(share) => write!(f, "{manner},fail={share}%"),
        }
    }
}

/// What must hold of the layers that keep a worker in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum SandboxMode {
    /// Refuse to run where a required layer is missing. Costs 1–2 ms for each worker process that starts.
    #[default]
    Strict,
    /// Use the layers there are, and say what is missing. Wrong for code of strangers.
    BestEffort,
    /// None but a process with nothing inherited. Only for tasks that are trusted.
    Off,
}

/// What a worker does with each item: which function, how it is called, and what it may use.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Call {
    /// `name` or `interface/name`; `None` takes the only one a user would call.
    pub function: Option<String>,
    /// Parameters bound by name to a JSON value.
    pub args: Vec<(String, String)>,
    /// JSON argument of the task's `init` export, run before the first item of an instance.
    pub init: Option<String>,
    /// The function takes a list of items and returns as many results.
    pub batch: bool,
    /// Each element of a returned list or option is a line of its own.
    pub flatten: bool,
    pub isolate: Isolate,
    pub limits: Limits,
    pub sandbox: SandboxMode,
    pub given: Given,
    pub item_form: Form,
    /// Items may be lines of `--failed`, whose item is meant then.
    pub takes_failed: bool,
    pub result_form: ResultForm,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn halt(after: Failures) -> Halt {
        Halt { manner: Manner::Soon, after }
    }

    #[test]
    fn a_share_of_failures_needs_three_of_them() {
        let half = halt(Failures::Percent(50.0));
        assert!(!half.is_met(1, 1));
        assert!(!half.is_met(2, 2));
        assert!(half.is_met(3, 3));
        assert!(half.is_met(6, 3));
        assert!(!half.is_met(7, 3));
    }

    proptest! {
        #[test]
        fn one_more_failure_never_takes_a_halt_back(done in 0..1_000_000u64, failed in 0..1000u64, share in 0.1..100.0f64) {
            for halt in [halt(Failures::Percent(share)), halt(Failures::Count(failed.max(1)))] {
                if halt.is_met(done, failed) {
                    prop_assert!(halt.is_met(done + 1, failed + 1));
                }
            }
        }
    }
}
