//! An item that failed.

use std::fmt;
use std::ops::Deref;

use crate::outcome::{Details, Failure, Kind};
use crate::text::Foreign;

/// Why an item failed, and which. `kind`, `message`, `trace` and what else is known are those of [`Details`], to which
/// this dereferences. Shown, it is one line, in which what the task chose is escaped; `message` is what was really said.
#[derive(Clone, Debug)]
pub struct ItemError {
    /// Which item of its call it was, from 0.
    pub index: u64,
    /// How often it was tried.
    pub attempts: u32,
    failure: Failure,
}

impl ItemError {
    pub fn new(index: u64, attempts: u32, failure: Failure) -> ItemError {
        ItemError { index, attempts, failure }
    }

    pub fn cancelled(index: u64) -> ItemError {
        ItemError::new(index, 0, Failure::new(Kind::Cancelled, "it was cancelled before its outcome was known"))
    }
}

impl Deref for ItemError {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.failure
    }
}

impl fmt::Display for ItemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "item {} failed: {}: {}", self.index, self.kind.name(), Foreign::of(&self.message))
    }
}

impl std::error::Error for ItemError {}
