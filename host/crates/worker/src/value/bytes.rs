//! `list<u8>`, which is base64 in JSON, and items that are bytes themselves.

use super::ItemEncoding;
use super::context::DecodeContext;
use super::json::{self, ObjectLayout, single};
use super::misfit::{DecodeError, MisfitProblem, shorten};
use super::shape::TypePlan;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use wasmpool_core::chain::with_sources;
use wasmpool_core::json::from_base64;
use wasmpool_core::setting::Setting;
use wasmtime::component::Val;

/// Reads an item for a `list<u8>` without building a [`Val`] per byte. For
/// functions whose type is known to be from bytes to bytes.
///
/// Costs one copy of the bytes if the item is JSON, and none if it is the bytes
/// themselves.
///
/// # Errors
///
/// The same as [`super::decode`] with [`TypePlan::Bytes`].
pub fn decode_bytes(item: &[u8], form: ItemEncoding) -> Result<Cow<'_, [u8]>, DecodeError> {
    match form {
        ItemEncoding::Bytes => Ok(Cow::Borrowed(item)),
        ItemEncoding::Json | ItemEncoding::Typed => {
            let context = DecodeContext::new();
            context.read(item, BytesSeed(&context)).map(Cow::Owned)
        }
        ItemEncoding::Csv => Err(DecodeError::row(TypePlan::Bytes.wit_brief())),
    }
}

/// Returns bytes in the form that wasmtime expects: one value for each.
pub(super) fn list(bytes: &[u8]) -> Val {
    Val::List(bytes.iter().copied().map(Val::U8).collect())
}

/// Reads an item that is the bytes themselves.
pub(super) fn value(shape: &TypePlan, item: &[u8]) -> Result<Val, DecodeError> {
    let misfit = |note: &str| {
        DecodeError::new(MisfitProblem::Type {
            wanted: shape.wit_brief(),
            found: format!("the text {}", shorten(&String::from_utf8_lossy(item))),
            note: (!note.is_empty()).then(|| note.to_owned()),
        })
    };
    if let TypePlan::Bytes = shape {
        return Ok(list(item));
    }
    if let TypePlan::Option(inner) = shape {
        let value = value(inner, item)?;
        return Ok(Val::Option(Some(Box::new(value))));
    }
    let Ok(text) = std::str::from_utf8(item) else {
        return Err(match shape {
            TypePlan::String => misfit("it is not UTF-8; a list<u8> takes any bytes"),
            _ => misfit(""),
        });
    };
    match shape {
        TypePlan::String => Ok(Val::String(text.to_owned())),
        TypePlan::Char => single(text).map(Val::Char).ok_or_else(|| misfit("it has to be exactly one character")),
        TypePlan::Enum(names) => match names.find(text, 0) {
            Some(at) => Ok(Val::Enum(names.as_slice()[at].clone())),
            None => Err(misfit("")),
        },
        _ => Err(match json::value(shape, item, ObjectLayout::Json) {
            Ok(_) => {
                misfit(&format!("the item is text as it stands; it is read as JSON with {}", Setting::InputOfJson))
            }
            Err(_) => misfit("the item is text as it stands"),
        }),
    }
}

/// Reads base64 or an array of numbers.
struct BytesSeed<'a>(&'a DecodeContext);

impl BytesSeed<'_> {
    fn mismatch<E: Error>(&self, found: &str, note: Option<&str>) -> E {
        self.0.mismatch(&TypePlan::Bytes, found, note)
    }
}

impl<'de> DeserializeSeed<'de> for BytesSeed<'_> {
    type Value = Vec<u8>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Vec<u8>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for BytesSeed<'_> {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("base64 or an array of numbers")
    }

    fn visit_str<E: Error>(self, found: &str) -> Result<Vec<u8>, E> {
        from_base64(found).map_err(|why| self.mismatch("a string", Some(&with_sources(&why))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u8>, A::Error> {
        let mut bytes = Vec::new();
        loop {
            let byte = json::ValueSeed::new(&TypePlan::U8, self.0);
            let step = super::misfit::ValueStep::Index(bytes.len());
            match seq.next_element_seed(byte) {
                Ok(Some(Val::U8(byte))) => bytes.push(byte),
                Ok(_) => return Ok(bytes),
                Err(error) => return Err(self.0.under(step, error)),
            }
        }
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Vec<u8>, E> {
        Err(self.mismatch("a boolean", None))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Vec<u8>, E> {
        Err(self.mismatch("a number", None))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Vec<u8>, E> {
        Err(self.mismatch("a number", None))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Vec<u8>, E> {
        Err(self.mismatch("a number", None))
    }

    fn visit_unit<E: Error>(self) -> Result<Vec<u8>, E> {
        Err(self.mismatch("null", None))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, _: A) -> Result<Vec<u8>, A::Error> {
        Err(self.mismatch("an object", None))
    }
}
