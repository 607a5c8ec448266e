//! What an object holds, as plain data: to fill it before a run, and to show it after one.

pub mod json;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};
use wasmpool_core::share::{ObjectForm, ObjectSpec};
use wasmpool_core::text::QuotedName;

use crate::usage::Usage;

/// The content of one object. Numbers and arrays are not among them, since they are not kept by the manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Contents {
    /// The messages of a queue that wait, or the elements of a list, in order.
    Sequence(Vec<Vec<u8>>),
    /// The entries of a dict or a namespace.
    Entries(BTreeMap<String, Vec<u8>>),
    /// The free slots of a semaphore.
    Slots(u64),
    /// Whether an event is set, or whether a lock, an rlock or the lock of a condition is held.
    Flag(bool),
}

/// Why an object cannot have this content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentsError {
    object: String,
    reason: String,
}

impl Display for ContentsError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "the object {}: {}", QuotedName::of(&self.object), self.reason)
    }
}

impl std::error::Error for ContentsError {}

impl ContentsError {
    fn new(spec: &ObjectSpec, reason: impl Into<String>) -> ContentsError {
        ContentsError { object: spec.name.clone(), reason: reason.into() }
    }
}

/// Returns what an object is called in a message.
fn kind(form: &ObjectForm) -> &'static str {
    match form {
        ObjectForm::Queue { .. } => "a queue",
        ObjectForm::Pipe { .. } => "a pipe",
        ObjectForm::Value(_) => "a value",
        ObjectForm::Array(..) => "an array",
        ObjectForm::Lock => "a lock",
        ObjectForm::Rlock => "an rlock",
        ObjectForm::Semaphore { .. } => "a semaphore",
        ObjectForm::Event => "an event",
        ObjectForm::Condition => "a condition",
        ObjectForm::Barrier { .. } => "a barrier",
        ObjectForm::Dict => "a dict",
        ObjectForm::List => "a list",
        ObjectForm::Namespace => "a namespace",
    }
}

/// Returns what an object of this form is filled with, or `None` if it begins empty and cannot be filled.
fn filled_with(form: &ObjectForm) -> Option<&'static str> {
    match form {
        ObjectForm::Queue { .. } | ObjectForm::List => Some("an array"),
        ObjectForm::Dict | ObjectForm::Namespace => Some("an object"),
        ObjectForm::Semaphore { .. } => Some("the number of its free slots"),
        ObjectForm::Event => Some("true or false"),
        _ => None,
    }
}

/// Returns the error for a content of another kind than the object has.
fn unfit(spec: &ObjectSpec) -> ContentsError {
    let kind = kind(&spec.form);
    match (filled_with(&spec.form), spec.form.is_mapped()) {
        (Some(with), _) => ContentsError::new(spec, format!("{kind} is filled with {with}")),
        (None, true) => ContentsError::new(spec, format!("{kind} is not filled as other objects are")),
        (None, false) => ContentsError::new(spec, format!("{kind} cannot be filled; leave it out")),
    }
}

/// Checks that an object may have so many entries.
pub fn check_entries(spec: &ObjectSpec, entries: u64) -> Result<(), ContentsError> {
    let most = spec.quota.entries;
    match entries > most {
        true => Err(ContentsError::new(
            spec,
            format!("{entries} entries are more than its quota of {most}; raise it with `:entries={entries}`"),
        )),
        false => Ok(()),
    }
}

impl Contents {
    /// Checks that an object of this kind can have this content, and that it is within the object's capacity and quotas.
    pub fn check(&self, spec: &ObjectSpec) -> Result<(), ContentsError> {
        let refuse = |reason: String| Err(ContentsError::new(spec, reason));
        match (self, &spec.form) {
            (Contents::Sequence(all), ObjectForm::Queue { capacity: Some(capacity) })
                if all.len() as u64 > u64::from(*capacity) =>
            {
                let count = all.len();
                refuse(format!("{count} messages are more than its capacity of {capacity}"))
            }
            (Contents::Sequence(_), ObjectForm::Queue { .. } | ObjectForm::List)
            | (Contents::Entries(_), ObjectForm::Dict | ObjectForm::Namespace) => {
                let Usage { entries, bytes } = self.usage();
                check_entries(spec, entries)?;
                if bytes > spec.quota.bytes {
                    let most = spec.quota.bytes;
                    refuse(format!("{bytes} bytes are more than its quota of {most}; raise it with `:bytes={bytes}`"))
                } else {
                    Ok(())
                }
            }
            (Contents::Slots(free), ObjectForm::Semaphore { slots, bounded: true }) if *free > u64::from(*slots) => {
                refuse(format!("{free} free slots are more than the {slots} that it has"))
            }
            (Contents::Slots(_), ObjectForm::Semaphore { .. }) | (Contents::Flag(_), ObjectForm::Event) => Ok(()),
            _ => Err(unfit(spec)),
        }
    }

    /// Returns the entries and bytes that count against the quotas.
    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        match self {
            Contents::Sequence(all) => all.iter().for_each(|one| usage.add(one.len())),
            Contents::Entries(all) => all.iter().for_each(|(key, value)| usage.add(key.len() + value.len())),
            Contents::Slots(_) | Contents::Flag(_) => {}
        }
        usage
    }
}
