//! The outcome of an item: a value, or one of the kinds of failure.

// `#[path]` is explicit because the fuzzers include this file by its path, too.
#[path = "outcome/kind.rs"]
mod kind;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

pub use kind::FailureKind;

/// Text that a guest wrote to its standard streams, up to a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestOutput {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stdout: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stderr: String,
}

impl GuestOutput {
    pub fn is_empty(&self) -> bool {
        self.stdout.is_empty() && self.stderr.is_empty()
    }
}

/// Facts about a success beside its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "ToldBeside")]
pub struct SuccessNotes {
    /// A command's exit code, unless it is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// Encoding of a command's output, if it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<JsonStringEncoding>,
    #[serde(flatten)]
    pub printed: GuestOutput,
}

/// Encoding of bytes as a JSON string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JsonStringEncoding {
    Base64,
}

impl SuccessNotes {
    pub fn is_empty(&self) -> bool {
        self.code.is_none() && self.encoding.is_none() && self.printed.is_empty()
    }
}

/// A failed item. Boxed because most items succeed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure(Box<FailureDetails>);

/// The kind of a failure, and what is known about it. Serialized, it is the part of a record that describes the
/// failure.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "ToldDetails")]
pub struct FailureDetails {
    pub kind: FailureKind,
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
    /// Things that the guest asked for and was not granted, each with the option that grants it. They are listed
    /// whether or not they are why it failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<String>,
    #[serde(flatten)]
    pub printed: GuestOutput,
}

/// [`SuccessNotes`] as it is deserialized. A worker wrote it, so unknown members are refused before they are read, and no
/// member may come twice: what is read takes no more memory than its text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToldBeside {
    #[serde(default)]
    code: Option<i32>,
    #[serde(default)]
    encoding: Option<JsonStringEncoding>,
    #[serde(default)]
    stdout: String,
    #[serde(default)]
    stderr: String,
}

impl From<ToldBeside> for SuccessNotes {
    fn from(told: ToldBeside) -> SuccessNotes {
        let ToldBeside { code, encoding, stdout, stderr } = told;
        SuccessNotes { code, encoding, printed: GuestOutput { stdout, stderr } }
    }
}

/// [`FailureDetails`] as they are deserialized, with the same precautions as [`ToldBeside`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToldDetails {
    kind: FailureKind,
    message: String,
    #[serde(default)]
    error: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "few")]
    trace: Vec<String>,
    #[serde(default)]
    code: Option<i32>,
    #[serde(default)]
    signal: Option<i32>,
    #[serde(default, deserialize_with = "few")]
    denied: Vec<String>,
    #[serde(default)]
    stdout: String,
    #[serde(default)]
    stderr: String,
}

impl From<ToldDetails> for FailureDetails {
    fn from(told: ToldDetails) -> FailureDetails {
        let ToldDetails { kind, message, error, trace, code, signal, denied, stdout, stderr } = told;
        FailureDetails { kind, message, error, trace, code, signal, denied, printed: GuestOutput { stdout, stderr } }
    }
}

/// Maximum number of texts in a list of a failure: an empty text takes three bytes on its way and eight times as many
/// in memory.
const MOST_TEXTS: usize = 64;

/// Reads a list of at most [`MOST_TEXTS`] texts.
fn few<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    struct Few;

    impl<'de> Visitor<'de> for Few {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MOST_TEXTS} texts")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
            let mut texts = Vec::new();
            while let Some(text) = list.next_element()? {
                if texts.len() == MOST_TEXTS {
                    return Err(A::Error::invalid_length(MOST_TEXTS + 1, &self));
                }
                texts.push(text);
            }
            Ok(texts)
        }
    }

    from.deserialize_seq(Few)
}

impl Failure {
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Failure {
        Failure(Box::new(FailureDetails {
            kind,
            message: message.into(),
            error: None,
            trace: Vec::new(),
            code: None,
            signal: None,
            denied: Vec::new(),
            printed: GuestOutput::default(),
        }))
    }
}

impl Deref for Failure {
    type Target = FailureDetails;

    fn deref(&self) -> &FailureDetails {
        &self.0
    }
}

impl DerefMut for Failure {
    fn deref_mut(&mut self) -> &mut FailureDetails {
        &mut self.0
    }
}

/// Number of items with an outcome, and how many of them failed, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeCounts {
    pub done: u64,
    pub failed: BTreeMap<FailureKind, u64>,
}

impl OutcomeCounts {
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Counts one more outcome: a success, or a failure of this kind.
    pub fn count(&mut self, failed: Option<FailureKind>) {
        self.done += 1;
        if let Some(kind) = failed {
            *self.failed.entry(kind).or_default() += 1;
        }
    }

    pub fn add(&mut self, other: &OutcomeCounts) {
        self.done += other.done;
        for (&kind, count) in &other.failed {
            *self.failed.entry(kind).or_default() += count;
        }
    }

    /// Returns the counts that were added since they were `before`.
    pub fn since(&self, before: &OutcomeCounts) -> OutcomeCounts {
        let of = |kind| before.failed.get(kind).copied().unwrap_or_default();
        let failed =
            self.failed.iter().map(|(kind, count)| (*kind, count - of(kind))).filter(|(_, n)| *n > 0).collect();
        OutcomeCounts { done: self.done - before.done, failed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_of_a_failure_is_read_as_it_was() {
        let mut failure = Failure::new(FailureKind::Error, "m");
        failure.error = RawValue::from_string(r#"{"a":[1]}"#.to_owned()).ok();
        failure.trace = vec!["f".to_owned(); 20];
        failure.denied = vec!["d".to_owned()];
        failure.code = Some(3);
        failure.printed = GuestOutput { stdout: "o".to_owned(), stderr: "e".to_owned() };
        let json = serde_json::to_string(&failure).unwrap();
        let read: Failure = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), json);
        let beside = SuccessNotes {
            code: Some(1),
            encoding: Some(JsonStringEncoding::Base64),
            printed: failure.printed.clone(),
        };
        let json = serde_json::to_string(&beside).unwrap();
        assert_eq!(serde_json::from_str::<SuccessNotes>(&json).unwrap(), beside);
    }

    #[test]
    fn members_that_no_failure_has_are_refused_rather_than_kept() {
        let beside = [r#""x":0"#, r#""x":[[],[],[]]"#, r#""stdout":"","stdout":"""#, r#""code":1e99"#];
        for member in beside {
            serde_json::from_str::<SuccessNotes>(&format!("{{{member}}}")).unwrap_err();
            let failure = format!(r#"{{"kind":"trap","message":"",{member}}}"#);
            serde_json::from_str::<Failure>(&failure).unwrap_err();
        }
        for list in ["trace", "denied"] {
            let of = |texts: usize| {
                let texts = vec![r#""""#; texts].join(",");
                serde_json::from_str::<Failure>(&format!(r#"{{"kind":"trap","message":"","{list}":[{texts}]}}"#))
            };
            of(MOST_TEXTS).unwrap();
            of(MOST_TEXTS + 1).unwrap_err();
        }
    }
}
