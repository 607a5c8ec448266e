//! An item that failed.

use std::fmt;
use std::ops::Deref;

use crate::outcome::{Failure, FailureDetails, FailureKind};
use crate::text::{ForeignText, QuotedName};

/// An item that failed, and why. This dereferences to [`FailureDetails`], which have `kind`, `message`, `trace` and what else
/// is known. Its `Display` is one line in which everything that the task chose is escaped; `message` is the original
/// text.
#[derive(Clone, Debug)]
pub struct ItemError {
    /// Index of the item in its call, from 0.
    pub index: u64,
    /// Number of times that it was tried.
    pub attempts: u32,
    failure: Failure,
    /// The name of the process, if the item is the call of one.
    process: Option<String>,
}

impl ItemError {
    pub fn new(index: u64, attempts: u32, failure: Failure) -> ItemError {
        ItemError { index, attempts, failure, process: None }
    }

    /// Returns the error for the one call of a process.
    pub fn of_process(name: &str, failure: Failure) -> ItemError {
        ItemError { process: Some(name.to_owned()), ..ItemError::new(0, 1, failure) }
    }

    pub fn cancelled(index: u64) -> ItemError {
        ItemError::new(index, 0, Failure::new(FailureKind::Cancelled, "it was cancelled before its outcome was known"))
    }
}

impl Deref for ItemError {
    type Target = FailureDetails;

    fn deref(&self) -> &FailureDetails {
        &self.failure
    }
}

impl fmt::Display for ItemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some(name) => write!(f, "the process {} failed", QuotedName::of(name))?,
            None => write!(f, "item {} failed", self.index)?,
        }
        write!(f, ": {}: {}", self.kind.name(), ForeignText::of_failure(&self.message))
    }
}

impl std::error::Error for ItemError {}
