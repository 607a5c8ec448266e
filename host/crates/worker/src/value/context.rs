//! Carries the description of a misfit past serde. Serde's errors are text, so
//! the description waits here while the error is passed up, and each level adds
//! its step.

use super::excerpt::excerpt;
use super::misfit::{DecodeError, MisfitProblem, ValueStep};
use super::shape::TypePlan;
use serde::de::{DeserializeSeed, Error, IgnoredAny};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use wasmpool_core::json;

/// Maximum number of `none`s that an item may get by leaving out fields. A few
/// bytes of text (`{}`) can be a record with any number of them, so without
/// this limit memory would not be in proportion to the text.
const MOST_MISSING: u32 = 1 << 20;

/// State that is shared while one item is read.
pub(super) struct DecodeContext {
    misfit: RefCell<Option<DecodeError>>,
    missing: Cell<u32>,
    /// Members that the outermost object may have beside those that are wanted, until it is read.
    passed: Cell<Option<Arc<[String]>>>,
}

impl DecodeContext {
    pub(super) fn new() -> Self {
        Self::passing(None)
    }

    /// Makes the state for an item whose object may have these members beside those that are wanted.
    pub(super) fn passing(passed: Option<Arc<[String]>>) -> Self {
        Self { misfit: RefCell::new(None), missing: Cell::new(0), passed: Cell::new(passed) }
    }

    /// Returns the members that an object may have beside those that are wanted: for the outermost one, which is read first.
    pub(super) fn take_passed(&self) -> Option<Arc<[String]>> {
        self.passed.take()
    }

    /// Fails with `misfit`.
    #[cold]
    pub(super) fn fail<E: Error>(&self, misfit: DecodeError) -> E {
        *self.misfit.borrow_mut() = Some(misfit);
        E::custom("misfit")
    }

    /// Fails because something of kind `found` is where `wanted` belongs.
    #[cold]
    pub(super) fn mismatch<E: Error>(&self, wanted: &TypePlan, found: &str, note: Option<&str>) -> E {
        self.fail(DecodeError::new(MisfitProblem::Type {
            wanted: wanted.wit_brief(),
            found: found.to_owned(),
            note: note.map(str::to_owned),
        }))
    }

    /// Fails because something is wrong with the parts of a value that should
    /// be a `wanted`.
    #[cold]
    pub(super) fn parts<E: Error>(&self, wanted: String, what: String) -> E {
        self.fail(DecodeError::new(MisfitProblem::Parts { wanted, what }))
    }

    /// Adds a step to the path of the error while it is passed up.
    #[cold]
    pub(super) fn under<E>(&self, step: ValueStep, error: E) -> E {
        if let Some(misfit) = self.misfit.borrow_mut().as_mut() {
            misfit.push(step);
        }
        error
    }

    /// Returns true if one more field may be left out.
    pub(super) fn one_more_missing(&self) -> bool {
        self.missing.set(self.missing.get() + 1);
        self.missing.get() <= MOST_MISSING
    }

    /// Reads the whole of `json` with `seed`.
    pub(super) fn read<'j, S: DeserializeSeed<'j>>(&self, json: &'j [u8], seed: S) -> Result<S::Value, DecodeError> {
        let mut text = serde_json::Deserializer::from_slice(json);
        let value = seed.deserialize(&mut text);
        value.and_then(|value| text.end().map(|()| value)).map_err(|error| self.misfit(&error, json))
    }

    #[cold]
    fn misfit(&self, error: &serde_json::Error, json: &[u8]) -> DecodeError {
        let Some(mut misfit) = self.misfit.take() else {
            return DecodeError::new(MisfitProblem::Syntax(syntax(error, json)));
        };
        // What is no JSON at all, such as an array that breaks off, is wrong whatever was expected.
        if let Err(error) = serde_json::from_slice::<IgnoredAny>(json) {
            return DecodeError::new(MisfitProblem::Syntax(syntax(&error, json)));
        }
        if misfit.has_found()
            && let Some(text) = excerpt(json, misfit.path())
        {
            misfit.show(text);
        }
        misfit
    }
}

/// Returns serde_json's message, with the position as a user counts it: an item
/// is mostly one line, so only the column is useful.
fn syntax(error: &serde_json::Error, json: &[u8]) -> String {
    if json.trim_ascii().is_empty() {
        return "not valid JSON: there is nothing in the item".to_owned();
    }
    let (line, column, what) = (error.line(), error.column(), json::problem(error));
    let not = match error.classify() {
        serde_json::error::Category::Data => "",
        _ => "not valid JSON: ",
    };
    if line <= 1 {
        format!("{not}{what} at column {column}")
    } else {
        format!("{not}{what} at line {line}, column {column}")
    }
}
