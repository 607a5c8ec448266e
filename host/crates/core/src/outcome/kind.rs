//! The kinds of failures.

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

/// The reason why an item failed. The names are those in the records that a user reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The task returned `err`.
    Error,
    /// The guest trapped: unreachable code, memory out of bounds, a stack overflow.
    Trap,
    /// The item did not end within the timeout.
    Timeout,
    /// The item used up its fuel.
    Fuel,
    /// The item needed more memory than it may have.
    Memory,
    /// The result is longer than allowed.
    OutputTooLarge,
    /// The item does not fit the function's parameters.
    InvalidInput,
    /// The result cannot be written in the chosen format.
    InvalidOutput,
    /// A command ended with an exit code that is not success.
    Exit,
    /// The worker process died while it ran the item.
    WorkerLost,
    /// The run was stopped before the item ran.
    Cancelled,
}

impl FailureKind {
    /// All kinds.
    pub const ALL: [FailureKind; 11] = [
        FailureKind::Error,
        FailureKind::Trap,
        FailureKind::Timeout,
        FailureKind::Fuel,
        FailureKind::Memory,
        FailureKind::OutputTooLarge,
        FailureKind::InvalidInput,
        FailureKind::InvalidOutput,
        FailureKind::Exit,
        FailureKind::WorkerLost,
        FailureKind::Cancelled,
    ];

    /// Returns the kind with this name.
    pub fn of_name(name: &str) -> Option<FailureKind> {
        FailureKind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Returns the name in records and messages.
    pub fn name(self) -> &'static str {
        match self {
            FailureKind::Error => "error",
            FailureKind::Trap => "trap",
            FailureKind::Timeout => "timeout",
            FailureKind::Fuel => "fuel",
            FailureKind::Memory => "memory",
            FailureKind::OutputTooLarge => "output-too-large",
            FailureKind::InvalidInput => "invalid-input",
            FailureKind::InvalidOutput => "invalid-output",
            FailureKind::Exit => "exit",
            FailureKind::WorkerLost => "worker-lost",
            FailureKind::Cancelled => "cancelled",
        }
    }
}

impl Serialize for FailureKind {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for FailureKind {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<FailureKind, D::Error> {
        let name = Cow::<str>::deserialize(from)?;
        FailureKind::of_name(&name).ok_or_else(|| D::Error::custom("no kind of failure has this name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_one_name_wherever_it_stands() {
        for (at, kind) in FailureKind::ALL.into_iter().enumerate() {
            // Every kind is in the list.
            assert_eq!(kind as usize, at);
            let json = serde_json::to_string(&kind).expect("JSON");
            assert_eq!(json, format!("\"{}\"", kind.name()));
            assert_eq!(serde_json::from_str::<FailureKind>(&json).expect("a kind"), kind);
        }
        assert_eq!(FailureKind::ALL.len(), FailureKind::Cancelled as usize + 1, "the last is the last");
        assert!(serde_json::from_str::<FailureKind>("\"none\"").is_err());
    }
}
