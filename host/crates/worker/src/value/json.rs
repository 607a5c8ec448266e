//! Reads JSON text as a value, in one pass.

use super::bytes;
use super::context::DecodeContext;
use super::fields::unknown;
use super::misfit::DecodeError;
use super::numbers::{self, integer};
use super::shape::{Cases, TypePlan};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::sync::Arc;
use wasmtime::component::Val;

use wasmpool_core::chain::with_sources;
use wasmpool_core::json::from_base64;

/// Meaning of an object's members.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ObjectLayout {
    /// Values in JSON; each member has to be known.
    Json,
    /// Cells of a row of CSV, some of which may not be needed.
    Row,
}

/// Reads one value from the whole of `json`.
pub(super) fn value(shape: &TypePlan, json: &[u8], layout: ObjectLayout) -> Result<Val, DecodeError> {
    if let Some(integer) = numbers::bare_integer(shape, json) {
        return Ok(integer);
    }
    value_passing(shape, json, layout, None)
}

/// Reads one value from the whole of `json`. If that is an object, it may have these members beside those of the shape.
pub(super) fn value_passing(
    shape: &TypePlan,
    json: &[u8],
    layout: ObjectLayout,
    passed: Option<Arc<[String]>>,
) -> Result<Val, DecodeError> {
    let context = DecodeContext::passing(passed);
    context.read(json, ValueSeed::new(shape, &context).laid_out(layout))
}

/// Reads a value of one shape at serde's current position. It is both the seed
/// that asks for the value and the visitor that takes it.
#[derive(Clone, Copy)]
pub(super) struct ValueSeed<'a> {
    pub shape: &'a TypePlan,
    pub context: &'a DecodeContext,
    pub layout: ObjectLayout,
}

impl<'a> ValueSeed<'a> {
    pub(super) fn new(shape: &'a TypePlan, context: &'a DecodeContext) -> Self {
        Self { shape, context, layout: ObjectLayout::Json }
    }

    fn laid_out(self, layout: ObjectLayout) -> Self {
        Self { layout, ..self }
    }

    pub(super) fn of(self, shape: &'a TypePlan) -> Self {
        Self { shape, ..self }
    }

    #[cold]
    pub(super) fn mismatch<E: Error>(self, found: &str, note: Option<&str>) -> E {
        self.context.mismatch(self.shape, found, note)
    }

    #[cold]
    pub(super) fn parts<E: Error>(self, what: String) -> E {
        self.context.parts(self.shape.wit_brief(), what)
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Val;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Val, D::Error> {
        match self.shape {
            TypePlan::Option(_) => from.deserialize_option(self),
            TypePlan::F32 | TypePlan::F64 => self.float(from),
            _ => from.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Val;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shape.wit_brief())
    }

    fn visit_bool<E: Error>(self, found: bool) -> Result<Val, E> {
        match self.shape {
            TypePlan::Bool => Ok(Val::Bool(found)),
            _ => Err(self.mismatch("a boolean", None)),
        }
    }

    #[inline]
    fn visit_u64<E: Error>(self, found: u64) -> Result<Val, E> {
        integer!(self.shape, found).ok_or_else(|| self.no_integer("a number"))
    }

    #[inline]
    fn visit_i64<E: Error>(self, found: i64) -> Result<Val, E> {
        integer!(self.shape, found).ok_or_else(|| self.no_integer("a number"))
    }

    fn visit_f64<E: Error>(self, found: f64) -> Result<Val, E> {
        self.no_float(found)?;
        self.visit_u64(0)
    }

    #[inline]
    fn visit_str<E: Error>(self, found: &str) -> Result<Val, E> {
        match self.shape {
            TypePlan::String => Ok(Val::String(found.to_owned())),
            TypePlan::Char => match single(found) {
                Some(found) => Ok(Val::Char(found)),
                None => Err(self.mismatch("a string", Some("it has to be exactly one character"))),
            },
            TypePlan::Bytes => match from_base64(found) {
                Ok(found) => Ok(bytes::list(&found)),
                Err(why) => Err(self.mismatch("a string", Some(&with_sources(&why)))),
            },
            TypePlan::Enum(names) => match names.find(found, 0) {
                Some(at) => Ok(Val::Enum(names.as_slice()[at].clone())),
                None => Err(self.parts(unknown("case", found, names))),
            },
            TypePlan::Variant(Cases { names, payloads }) => match names.find(found, 0) {
                Some(at) => match &payloads[at] {
                    None => Ok(Val::Variant(names.as_slice()[at].clone(), None)),
                    Some(payload) => {
                        let wanted = payload.wit_brief();
                        let what = format!("`{found}` carries a {wanted}: {{\"{found}\": …}}");
                        Err(self.parts(what))
                    }
                },
                None => Err(self.parts(unknown("case", found, names))),
            },
            shape if shape.range().is_some() => {
                let note = found.parse::<i128>().is_ok();
                Err(self.mismatch("a string", note.then_some("a number has no quotes")))
            }
            _ => Err(self.mismatch("a string", None)),
        }
    }

    fn visit_unit<E: Error>(self) -> Result<Val, E> {
        Err(self.mismatch("null", None))
    }

    fn visit_none<E: Error>(self) -> Result<Val, E> {
        Ok(Val::Option(None))
    }

    /// Reads the value of an option; serde calls this for nothing else.
    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Val, D::Error> {
        let TypePlan::Option(inner) = self.shape else {
            return Err(self.mismatch("a value", None));
        };
        if matches!(**inner, TypePlan::Option(_)) && self.layout == ObjectLayout::Json {
            // The value is an object with one member, which `visit_map` reads.
            return from.deserialize_any(self);
        }
        let value = self.of(inner).deserialize(from)?;
        Ok(Val::Option(Some(Box::new(value))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Val, A::Error> {
        match self.shape {
            TypePlan::List(element) => self.list(seq, element),
            TypePlan::Bytes => self.list(seq, &TypePlan::U8),
            TypePlan::Tuple(shapes) => {
                let values = self.exactly(seq, shapes.len(), |at| &shapes[at])?;
                Ok(Val::Tuple(values))
            }
            TypePlan::FixedList(element, length) => {
                let length = usize::try_from(*length).unwrap_or(usize::MAX);
                let values = self.exactly(seq, length, |_| element)?;
                Ok(Val::FixedLengthList(values))
            }
            TypePlan::Flags(names) => self.flags(seq, names),
            TypePlan::Record(fields) if self.layout == ObjectLayout::Row => self.cells(seq, fields),
            _ => Err(self.mismatch("an array", None)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Val, A::Error> {
        match self.shape {
            TypePlan::Record(fields) => self.record(map, fields),
            TypePlan::Variant(cases) => self.variant(map, cases),
            TypePlan::Result { ok, err } => self.result(map, ok.as_deref(), err.as_deref()),
            TypePlan::Map(key, value) => self.map(map, key, value),
            TypePlan::Option(inner) if matches!(**inner, TypePlan::Option(_)) => self.some(map, inner),
            _ => Err(self.mismatch("an object", None)),
        }
    }
}

/// Returns the only character of a text that has exactly one.
pub(super) fn single(text: &str) -> Option<char> {
    let mut chars = text.chars();
    chars.next().filter(|_| chars.next().is_none())
}
