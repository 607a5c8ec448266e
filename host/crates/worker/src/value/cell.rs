//! A cell of CSV, which is text whatever its column means.

use super::bytes;
use super::context::Context;
use super::json::{self, Layout, single};
use super::misfit::{Misfit, Problem, shorten};
use super::shape::Shape;
use serde::de::{DeserializeSeed, Deserializer, Error, Visitor};
use std::fmt;
use wasmtime::component::Val;

use wasmpool_core::json::from_base64;

/// A cell wanted as a value of one shape.
pub(super) struct Cell<'a> {
    shape: &'a Shape,
    context: &'a Context,
}

impl<'a> Cell<'a> {
    pub(super) fn new(shape: &'a Shape, context: &'a Context) -> Self {
        Self { shape, context }
    }
}

impl<'de> DeserializeSeed<'de> for Cell<'_> {
    type Value = Val;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Val, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Cell<'_> {
    type Value = Val;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, as the cells of CSV are")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Val, E> {
        value(self.shape, text).map_err(|misfit| self.context.fail(misfit))
    }
}

/// Reads a cell: numbers, booleans and names by their text, an empty cell as
/// `none`, and what is made of parts as JSON.
fn value(shape: &Shape, text: &str) -> Result<Val, Misfit> {
    let trimmed = text.trim();
    let found = match shape {
        Shape::String => Some(Val::String(text.to_owned())),
        Shape::Char => single(text).map(Val::Char),
        Shape::Bool if trimmed.eq_ignore_ascii_case("true") => Some(Val::Bool(true)),
        Shape::Bool if trimmed.eq_ignore_ascii_case("false") => Some(Val::Bool(false)),
        Shape::Bool => None,
        Shape::S8 => trimmed.parse().ok().map(Val::S8),
        Shape::U8 => trimmed.parse().ok().map(Val::U8),
        Shape::S16 => trimmed.parse().ok().map(Val::S16),
        Shape::U16 => trimmed.parse().ok().map(Val::U16),
        Shape::S32 => trimmed.parse().ok().map(Val::S32),
        Shape::U32 => trimmed.parse().ok().map(Val::U32),
        Shape::S64 => trimmed.parse().ok().map(Val::S64),
        Shape::U64 => trimmed.parse().ok().map(Val::U64),
        Shape::F32 => {
            let number = trimmed.parse().ok();
            let number = number.filter(|n: &f32| !n.is_infinite() || is_word(trimmed));
            number.map(Val::Float32)
        }
        Shape::F64 => {
            let number = trimmed.parse().ok();
            let number = number.filter(|n: &f64| !n.is_infinite() || is_word(trimmed));
            number.map(Val::Float64)
        }
        Shape::Enum(names) => {
            let at = names.find(trimmed, 0);
            at.map(|at| Val::Enum(names.as_slice()[at].clone()))
        }
        Shape::Option(_) if text.is_empty() => Some(Val::Option(None)),
        Shape::Option(inner) => Some(Val::Option(Some(Box::new(value(inner, text)?)))),
        Shape::Bytes if !trimmed.starts_with('[') => match from_base64(trimmed) {
            Ok(found) => Some(bytes::list(&found)),
            Err(why) => return Err(misfit(shape, text, Some(why))),
        },
        Shape::Variant(cases) => match cases.names.find(trimmed, 0) {
            Some(at) if cases.payloads[at].is_none() => Some(Val::Variant(cases.names.as_slice()[at].clone(), None)),
            _ => return json::value(shape, text.as_bytes(), Layout::Json),
        },
        _ => return json::value(shape, text.as_bytes(), Layout::Json),
    };
    found.ok_or_else(|| {
        let range = shape.range().filter(|_| trimmed.parse::<i128>().is_ok());
        misfit(shape, text, range.map(|range| format!("out of range {range}")))
    })
}

/// Whether a number is spelled as a word, such as `inf`.
fn is_word(number: &str) -> bool {
    number.contains(['i', 'I'])
}

#[cold]
fn misfit(shape: &Shape, text: &str, note: Option<String>) -> Misfit {
    Misfit::new(Problem::Type { wanted: shape.wit_brief(), found: format!("the cell \"{}\"", shorten(text)), note })
}

/// The key of a map, which JSON has as the name of a member.
pub(super) fn key(shape: &Shape, name: &str) -> Option<Val> {
    match shape {
        Shape::String
        | Shape::Char
        | Shape::S8
        | Shape::U8
        | Shape::S16
        | Shape::U16
        | Shape::S32
        | Shape::U32
        | Shape::S64
        | Shape::U64
        | Shape::Bool => value(shape, name).ok(),
        _ => None,
    }
}
