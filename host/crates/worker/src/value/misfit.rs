//! Describes why an item does not fit the expected type.

use std::fmt::{self, Display, Formatter};
use wasmpool_core::text::ForeignText;

/// Number of characters of the found text that a message shows.
const SHOWN: usize = 60;

/// Number of steps of the path that a message shows.
const STEPS: usize = 16;

/// An item that does not fit: where in the value, which WIT type was expected
/// and what was found there.
///
/// One pointer wide, so that reading items that do fit stays cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError(Box<MisfitReport>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct MisfitReport {
    /// The path to the place, innermost step first.
    path: Vec<ValueStep>,
    problem: MisfitProblem,
}

/// One step into a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ValueStep {
    Key(String),
    Index(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MisfitProblem {
    /// The text itself is wrong; no type was looked at yet.
    Syntax(String),
    /// The value found is not of the expected type.
    Type {
        wanted: String,
        /// The kind of thing that was found, or its text once that is known.
        found: String,
        /// The reason, if it is not clear from the two.
        note: Option<String>,
    },
    /// The value is of the right kind, but something about its parts is wrong.
    Parts { wanted: String, what: String },
}

impl DecodeError {
    pub(super) fn new(problem: MisfitProblem) -> Self {
        let path = Vec::new();
        Self(Box::new(MisfitReport { path, problem }))
    }

    /// Returns the error for a row of CSV where `wanted` has no columns.
    pub(super) fn row(wanted: String) -> Self {
        Self::new(MisfitProblem::Type {
            wanted,
            found: "a row of CSV".to_owned(),
            note: Some("its columns fit a record, or parameters by name".to_owned()),
        })
    }

    /// Returns the message about a text that is wrong in itself, or the error of another kind.
    pub(super) fn into_syntax(self) -> Result<String, DecodeError> {
        match self.0.problem {
            MisfitProblem::Syntax(message) => Ok(message),
            _ => Err(self),
        }
    }

    /// Adds the next outer step to the path.
    pub(super) fn push(&mut self, step: ValueStep) {
        self.0.path.push(step);
    }

    /// Returns the path to the place, outermost step first.
    pub(super) fn path(&self) -> impl Iterator<Item = &ValueStep> {
        self.0.path.iter().rev()
    }

    /// Shows the text that was found instead of what kind of thing it is.
    pub(super) fn show(&mut self, text: &str) {
        if let MisfitProblem::Type { found, .. } = &mut self.0.problem {
            *found = shorten(text);
        }
    }

    /// Returns true if a text that was found would be shown.
    pub(super) fn has_found(&self) -> bool {
        matches!(self.0.problem, MisfitProblem::Type { .. })
    }
}

impl std::error::Error for DecodeError {}

impl Display for DecodeError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.0.path.is_empty() {
            write!(f, "at ")?;
            for step in self.path().take(STEPS) {
                write!(f, "{step}")?;
            }
            let more = if self.0.path.len() > STEPS { "…" } else { "" };
            write!(f, "{more}: ")?;
        }
        match &self.0.problem {
            MisfitProblem::Syntax(message) => f.write_str(message),
            MisfitProblem::Type { wanted, found, note } => {
                write!(f, "expected {wanted}, got {found}")?;
                note.as_ref().map_or(Ok(()), |note| write!(f, " ({note})"))
            }
            MisfitProblem::Parts { wanted, what } => write!(f, "expected {wanted}: {what}"),
        }
    }
}

impl Display for ValueStep {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(at) => write!(f, "[{at}]"),
            Self::Key(key) if is_plain(key) => write!(f, ".{key}"),
            Self::Key(key) => write!(f, "[\"{}\"]", shorten(key)),
        }
    }
}

fn is_plain(key: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !key.is_empty() && key.len() <= SHOWN && key.chars().all(plain)
}

/// Returns the beginning of a text that somebody else wrote, made safe for a
/// terminal.
pub(super) fn shorten(text: &str) -> String {
    ForeignText::of(text).at_most(SHOWN).to_string()
}
