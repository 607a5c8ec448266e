//! What became of an item: a value, or one of the failure kinds.

// By its path, since the fuzzers take this file by its path, too.
#[path = "outcome/kind.rs"]
mod kind;

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use kind::Kind;

/// What a guest wrote to its standard streams, to a bound.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Printed {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stdout: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stderr: String,
}

impl Printed {
    pub fn is_empty(&self) -> bool {
        self.stdout.is_empty() && self.stderr.is_empty()
    }
}

/// What is told of a success beside its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beside {
    /// A command's exit code, where it is not 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// How a command's output is written that is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    #[serde(flatten)]
    pub printed: Printed,
}

/// How bytes are written as a JSON string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    Base64,
}

impl Beside {
    pub fn is_empty(&self) -> bool {
        self.code.is_none() && self.encoding.is_none() && self.printed.is_empty()
    }
}

/// A failed item. Boxed, since most items succeed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure(Box<Details>);

/// The kind of a failure, and what is known about it. Serialized it is the part of a record that says so.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Details {
    pub kind: Kind,
    pub message: String,
    /// The payload of an `err`, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Box<RawValue>>,
    /// Frames of the guest's stack, innermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trace: Vec<String>,
    /// Exit code of a command or a worker process, or the signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// What the guest looked for and was not granted, whether or not that is why it failed, with the option that grants it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<String>,
    #[serde(flatten)]
    pub printed: Printed,
}

impl Failure {
    pub fn new(kind: Kind, message: impl Into<String>) -> Failure {
        Failure(Box::new(Details {
            kind,
            message: message.into(),
            error: None,
            trace: Vec::new(),
            code: None,
            signal: None,
            denied: Vec::new(),
            printed: Printed::default(),
        }))
    }
}

impl Deref for Failure {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.0
    }
}

impl DerefMut for Failure {
    fn deref_mut(&mut self) -> &mut Details {
        &mut self.0
    }
}

/// How many items have their outcome, and how many of them failed in which way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub done: u64,
    pub failed: BTreeMap<Kind, u64>,
}

impl Counts {
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// One more outcome: a success, or a failure of this kind.
    pub fn count(&mut self, failed: Option<Kind>) {
        self.done += 1;
        if let Some(kind) = failed {
            *self.failed.entry(kind).or_default() += 1;
        }
    }

    pub fn add(&mut self, other: &Counts) {
        self.done += other.done;
        for (&kind, count) in &other.failed {
            *self.failed.entry(kind).or_default() += count;
        }
    }

    /// What came to these since they were `before`.
    pub fn since(&self, before: &Counts) -> Counts {
        let of = |kind| before.failed.get(kind).copied().unwrap_or_default();
        let failed =
            self.failed.iter().map(|(kind, count)| (*kind, count - of(kind))).filter(|(_, n)| *n > 0).collect();
        Counts { done: self.done - before.done, failed }
    }
}
