//! A cell of CSV, which is text whatever its column means.

use super::bytes;
use super::context::DecodeContext;
use super::json::{self, ObjectLayout, single};
use super::misfit::{DecodeError, MisfitProblem, shorten};
use super::shape::TypePlan;
use serde::de::{DeserializeSeed, Deserializer, Error, Visitor};
use std::fmt;
use wasmtime::component::Val;

use wasmpool_core::chain::with_sources;
use wasmpool_core::json::from_base64;

/// Reads a cell as a value of one shape.
pub(super) struct CellSeed<'a> {
    shape: &'a TypePlan,
    context: &'a DecodeContext,
}

impl<'a> CellSeed<'a> {
    pub(super) fn new(shape: &'a TypePlan, context: &'a DecodeContext) -> Self {
        Self { shape, context }
    }
}

impl<'de> DeserializeSeed<'de> for CellSeed<'_> {
    type Value = Val;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Val, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for CellSeed<'_> {
    type Value = Val;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, as the cells of CSV are")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Val, E> {
        value(self.shape, text).map_err(|misfit| self.context.fail(misfit))
    }
}

/// Reads a cell: numbers, booleans and names from their text, an empty cell as
/// `none`, and types that consist of parts as JSON.
fn value(shape: &TypePlan, text: &str) -> Result<Val, DecodeError> {
    let trimmed = text.trim();
    let found = match shape {
        TypePlan::String => Some(Val::String(text.to_owned())),
        TypePlan::Char => single(text).map(Val::Char),
        TypePlan::Bool if trimmed.eq_ignore_ascii_case("true") => Some(Val::Bool(true)),
        TypePlan::Bool if trimmed.eq_ignore_ascii_case("false") => Some(Val::Bool(false)),
        TypePlan::Bool => None,
        TypePlan::S8 => trimmed.parse().ok().map(Val::S8),
        TypePlan::U8 => trimmed.parse().ok().map(Val::U8),
        TypePlan::S16 => trimmed.parse().ok().map(Val::S16),
        TypePlan::U16 => trimmed.parse().ok().map(Val::U16),
        TypePlan::S32 => trimmed.parse().ok().map(Val::S32),
        TypePlan::U32 => trimmed.parse().ok().map(Val::U32),
        TypePlan::S64 => trimmed.parse().ok().map(Val::S64),
        TypePlan::U64 => trimmed.parse().ok().map(Val::U64),
        TypePlan::F32 => {
            let number = trimmed.parse().ok();
            let number = number.filter(|n: &f32| !n.is_infinite() || is_word(trimmed));
            number.map(Val::Float32)
        }
        TypePlan::F64 => {
            let number = trimmed.parse().ok();
            let number = number.filter(|n: &f64| !n.is_infinite() || is_word(trimmed));
            number.map(Val::Float64)
        }
        TypePlan::Enum(names) => {
            let at = names.find(trimmed, 0);
            at.map(|at| Val::Enum(names.as_slice()[at].clone()))
        }
        TypePlan::Option(_) if text.is_empty() => Some(Val::Option(None)),
        TypePlan::Option(inner) => Some(Val::Option(Some(Box::new(value(inner, text)?)))),
        TypePlan::Bytes if !trimmed.starts_with('[') => match from_base64(trimmed) {
            Ok(found) => Some(bytes::list(&found)),
            Err(why) => return Err(misfit(shape, text, Some(with_sources(&why)))),
        },
        TypePlan::Variant(cases) => match cases.names.find(trimmed, 0) {
            Some(at) if cases.payloads[at].is_none() => Some(Val::Variant(cases.names.as_slice()[at].clone(), None)),
            _ => return json::value(shape, text.as_bytes(), ObjectLayout::Json),
        },
        _ => return json::value(shape, text.as_bytes(), ObjectLayout::Json),
    };
    found.ok_or_else(|| {
        let range = shape.range().filter(|_| trimmed.parse::<i128>().is_ok());
        misfit(shape, text, range.map(|range| format!("out of range {range}")))
    })
}

/// Returns true if a number is written as a word, such as `inf`.
fn is_word(number: &str) -> bool {
    number.contains(['i', 'I'])
}

#[cold]
fn misfit(shape: &TypePlan, text: &str, note: Option<String>) -> DecodeError {
    DecodeError::new(MisfitProblem::Type {
        wanted: shape.wit_brief(),
        found: format!("the cell \"{}\"", shorten(text)),
        note,
    })
}

/// Reads the key of a map, which is the name of a member in JSON.
pub(super) fn key(shape: &TypePlan, name: &str) -> Option<Val> {
    match shape {
        TypePlan::String
        | TypePlan::Char
        | TypePlan::S8
        | TypePlan::U8
        | TypePlan::S16
        | TypePlan::U16
        | TypePlan::S32
        | TypePlan::U32
        | TypePlan::S64
        | TypePlan::U64
        | TypePlan::Bool => value(shape, name).ok(),
        _ => None,
    }
}
