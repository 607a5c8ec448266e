//! The kinds of failures. By itself, as `simulation/` takes this file too.

use serde::{Deserialize, Serialize};

/// Why an item failed. The names are those of the records a user reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Kind {
    /// The task returned `err`.
    Error,
    /// The guest trapped: unreachable code, memory out of bounds, a stack overflow.
    Trap,
    /// It did not end within the timeout.
    Timeout,
    /// It used up its fuel.
    Fuel,
    /// It needed more memory than it may have.
    Memory,
    /// Its result is longer than allowed.
    OutputTooLarge,
    /// The item does not fit the function's parameters.
    InvalidInput,
    /// The result cannot be written in the chosen format.
    InvalidOutput,
    /// A command ended with an exit code that is not success.
    Exit,
    /// The worker process died under it.
    WorkerLost,
    /// The run was stopped before it ran.
    Cancelled,
}

impl Kind {
    /// The name in records and messages.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Error => "error",
            Kind::Trap => "trap",
            Kind::Timeout => "timeout",
            Kind::Fuel => "fuel",
            Kind::Memory => "memory",
            Kind::OutputTooLarge => "output-too-large",
            Kind::InvalidInput => "invalid-input",
            Kind::InvalidOutput => "invalid-output",
            Kind::Exit => "exit",
            Kind::WorkerLost => "worker-lost",
            Kind::Cancelled => "cancelled",
        }
    }
}
