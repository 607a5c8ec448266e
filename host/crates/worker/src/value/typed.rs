//! Reads a value that a person typed, who need not quote a plain text.

use super::json::{self, ObjectLayout};
use super::misfit::{DecodeError, MisfitProblem, shorten};
use super::shape::TypePlan;
use wasmtime::component::Val;

/// Reads one value of `shape`: text that is JSON of this type is that. Other text is meant as it is where JSON has a plain
/// string for the type: a `string`, a `char`, an `enum`, or an option of one.
///
/// # Errors
///
/// A [`DecodeError`] if the text is neither.
pub(super) fn value(shape: &TypePlan, text: &str) -> Result<Val, DecodeError> {
    let misfit = match json::value(shape, text.as_bytes(), ObjectLayout::Json) {
        Ok(value) => return Ok(value),
        Err(misfit) => misfit,
    };
    if takes_text(shape) {
        let quoted = serde_json::to_vec(text).unwrap_or_default();
        return json::value(shape, &quoted, ObjectLayout::Json);
    }
    if matches!(shape, TypePlan::Bytes) {
        return Err(DecodeError::new(MisfitProblem::Type {
            wanted: shape.wit_brief(),
            found: shorten(text),
            note: Some("bytes are base64 in JSON: the text hi is \"aGk=\"".to_owned()),
        }));
    }
    Err(match misfit.into_syntax() {
        Ok(syntax) => DecodeError::new(MisfitProblem::Type {
            wanted: shape.wit_brief(),
            found: if text.is_empty() { "an empty text".to_owned() } else { shorten(text) },
            note: Some(syntax),
        }),
        Err(misfit) => misfit,
    })
}

/// Returns true if values of the type are plain strings in JSON that mean themselves.
fn takes_text(shape: &TypePlan) -> bool {
    match shape {
        TypePlan::String | TypePlan::Char | TypePlan::Enum(_) => true,
        TypePlan::Option(inner) => matches!(**inner, TypePlan::String | TypePlan::Char | TypePlan::Enum(_)),
        _ => false,
    }
}
