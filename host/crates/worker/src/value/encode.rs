//! Writes a value as JSON text: compact, on one line.

use super::shape::TypePlan;
use serde::Serialize;
use std::collections::HashMap;
use wasmpool_core::json::base64;
use wasmtime::component::Val;

/// A value that cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The text is longer than allowed.
    #[error("the text of the result is longer than {limit} bytes")]
    TooLarge {
        /// The maximum that was allowed.
        limit: usize,
    },
    /// The value does not have the shape by which it is written. This is a
    /// mistake in the host, because wasmtime creates values of a function's own
    /// result type.
    #[error("the result has no {wanted} where the function's type has one; this is a mistake in wasmpool")]
    NotOfShape {
        /// The kind of type that was expected.
        wanted: &'static str,
    },
}

impl TypePlan {
    /// Appends `val` as JSON without a line break.
    ///
    /// Costs about 10 ns for an integer and a copy for a string. Allocates
    /// nothing but room in `out`.
    ///
    /// # Errors
    ///
    /// [`EncodeError::NotOfShape`]; `out` then ends with an incomplete text.
    pub fn encode(&self, val: &Val, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.encode_within(val, usize::MAX, out)
    }

    /// Appends `val` as JSON of at most `limit` bytes. The limit may be
    /// exceeded by one string or name, so that what a guest returns cannot grow
    /// without bound by being written.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]; `out` then ends with an incomplete text.
    pub fn encode_within(&self, val: &Val, limit: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let end = out.len().saturating_add(limit);
        let mut writer = ValueWriter { out, end, limit };
        writer.value(self, val)?;
        writer.check()
    }

    /// Appends `val` for a program that does not read JSON: strings (also
    /// characters and names) and bytes as they are, the rest as JSON. Such a
    /// text may contain line breaks.
    ///
    /// # Errors
    ///
    /// The same as [`TypePlan::encode`].
    pub fn encode_raw(&self, val: &Val, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match (self, val) {
            (Self::String, Val::String(text)) => out.extend_from_slice(text.as_bytes()),
            (Self::Char, Val::Char(c)) => {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            (Self::Bytes, Val::List(list)) => {
                out.reserve(list.len());
                for val in list {
                    out.push(byte(val)?);
                }
            }
            (Self::Option(inner), Val::Option(Some(val))) if !matches!(**inner, Self::Option(_)) => {
                inner.encode_raw(val, out)?;
            }
            _ => {
                let start = out.len();
                self.encode(val, out)?;
                // Any other JSON string is a name, in which nothing is escaped.
                if out.get(start) == Some(&b'"') {
                    out.remove(start);
                    out.pop();
                }
            }
        }
        Ok(())
    }
}

/// Returns the name of a map's key in a JSON object, without quotes.
pub(super) fn key(val: &Val) -> Option<String> {
    Some(match val {
        Val::Bool(v) => v.to_string(),
        Val::S8(v) => v.to_string(),
        Val::U8(v) => v.to_string(),
        Val::S16(v) => v.to_string(),
        Val::U16(v) => v.to_string(),
        Val::S32(v) => v.to_string(),
        Val::U32(v) => v.to_string(),
        Val::S64(v) => v.to_string(),
        Val::U64(v) => v.to_string(),
        Val::Char(v) => v.to_string(),
        Val::String(v) => v.clone(),
        _ => return None,
    })
}

#[inline]
fn json<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    // Writing to a `Vec` does not fail, and writing a scalar or a string does
    // not either.
    let _written = serde_json::to_writer(out, value);
}

fn byte(val: &Val) -> Result<u8, EncodeError> {
    match val {
        Val::U8(byte) => Ok(*byte),
        _ => Err(EncodeError::NotOfShape { wanted: "u8" }),
    }
}

struct ValueWriter<'a> {
    out: &'a mut Vec<u8>,
    /// Maximum length of `out`.
    end: usize,
    limit: usize,
}

impl ValueWriter<'_> {
    fn value(&mut self, shape: &TypePlan, val: &Val) -> Result<(), EncodeError> {
        let out = &mut *self.out;
        match (shape, val) {
            (TypePlan::Bool, Val::Bool(v)) => json(v, out),
            (TypePlan::S8, Val::S8(v)) => json(v, out),
            (TypePlan::U8, Val::U8(v)) => json(v, out),
            (TypePlan::S16, Val::S16(v)) => json(v, out),
            (TypePlan::U16, Val::U16(v)) => json(v, out),
            (TypePlan::S32, Val::S32(v)) => json(v, out),
            (TypePlan::U32, Val::U32(v)) => json(v, out),
            (TypePlan::S64, Val::S64(v)) => json(v, out),
            (TypePlan::U64, Val::U64(v)) => json(v, out),
            (TypePlan::F32, Val::Float32(v)) if v.is_finite() => json(v, out),
            (TypePlan::F32, Val::Float32(v)) => out.extend_from_slice(not_finite((*v).into())),
            (TypePlan::F64, Val::Float64(v)) if v.is_finite() => json(v, out),
            (TypePlan::F64, Val::Float64(v)) => out.extend_from_slice(not_finite(*v)),
            (TypePlan::Char, Val::Char(v)) => json(v, out),
            (TypePlan::String, Val::String(v)) => {
                self.room(v.len())?;
                json(v.as_str(), self.out);
            }
            (TypePlan::Bytes, Val::List(list)) => self.bytes(list)?,
            (TypePlan::List(element), Val::List(list))
            | (TypePlan::FixedList(element, _), Val::FixedLengthList(list)) => {
                self.array(list.iter().map(|val| (&**element, val)))?;
            }
            (TypePlan::Tuple(shapes), Val::Tuple(list)) if shapes.len() == list.len() => {
                self.array(shapes.iter().zip(list))?;
            }
            (TypePlan::Record(fields), Val::Record(list)) if fields.shapes.len() == list.len() => {
                out.push(b'{');
                for (at, (shape, (name, val))) in fields.shapes.iter().zip(list).enumerate() {
                    self.member(at, name, shape, val)?;
                }
                self.out.push(b'}');
            }
            (TypePlan::Map(_, element), Val::Map(list)) => self.map(element, list)?,
            (TypePlan::Variant(cases), Val::Variant(name, payload)) => {
                let at = cases.names.find(name, 0);
                let shape = at.and_then(|at| cases.payloads[at].as_ref());
                match (at, shape, payload) {
                    (Some(_), None, None) => json(name.as_str(), out),
                    (Some(_), Some(shape), Some(val)) => self.single(name, shape, val)?,
                    _ => return Err(not("variant")),
                }
            }
            (TypePlan::Enum(_), Val::Enum(name)) => json(name.as_str(), out),
            (TypePlan::Flags(_), Val::Flags(names)) => {
                out.push(b'[');
                for (at, name) in names.iter().enumerate() {
                    self.next(at)?;
                    json(name.as_str(), self.out);
                }
                self.out.push(b']');
            }
            (TypePlan::Option(_), Val::Option(None)) => out.extend_from_slice(b"null"),
            (TypePlan::Option(inner), Val::Option(Some(val))) => match **inner {
                TypePlan::Option(_) => self.single("some", inner, val)?,
                _ => self.value(inner, val)?,
            },
            (TypePlan::Result { ok, .. }, Val::Result(Ok(val))) => self.side("ok", ok, val)?,
            (TypePlan::Result { err, .. }, Val::Result(Err(val))) => self.side("err", err, val)?,
            _ => return Err(not(kind(shape))),
        }
        Ok(())
    }

    fn bytes(&mut self, list: &[Val]) -> Result<(), EncodeError> {
        self.room(list.len())?;
        self.out.push(b'"');
        let mut part = [0; 3 * 256];
        for vals in list.chunks(part.len()) {
            for (byte_of, val) in part.iter_mut().zip(vals) {
                *byte_of = byte(val)?;
            }
            base64(&part[..vals.len()], self.out);
        }
        self.out.push(b'"');
        Ok(())
    }

    fn array<'v>(&mut self, elements: impl Iterator<Item = (&'v TypePlan, &'v Val)>) -> Result<(), EncodeError> {
        self.out.push(b'[');
        for (at, (shape, val)) in elements.enumerate() {
            self.next(at)?;
            self.value(shape, val)?;
        }
        self.out.push(b']');
        Ok(())
    }

    /// Writes a map. If several values have the same key, the last one counts,
    /// and the key is written once.
    fn map(&mut self, shape: &TypePlan, list: &[(Val, Val)]) -> Result<(), EncodeError> {
        let mut names = Vec::new();
        let mut last = HashMap::new();
        for (at, (name, _)) in list.iter().enumerate() {
            let name = key(name).ok_or(not("key of a map"))?;
            last.insert(name.clone(), at);
            names.push(name);
        }
        self.out.push(b'{');
        let mut written = 0;
        for (at, (name, (_, val))) in names.iter().zip(list).enumerate() {
            if last.get(name) == Some(&at) {
                self.member(written, name, shape, val)?;
                written += 1;
            }
        }
        self.out.push(b'}');
        Ok(())
    }

    /// Writes an object of one member, whose name is the case.
    fn single(&mut self, name: &str, shape: &TypePlan, val: &Val) -> Result<(), EncodeError> {
        self.out.push(b'{');
        self.member(0, name, shape, val)?;
        self.out.push(b'}');
        Ok(())
    }

    fn side(&mut self, name: &str, shape: &Option<Box<TypePlan>>, val: &Option<Box<Val>>) -> Result<(), EncodeError> {
        match (shape, val) {
            (Some(shape), Some(val)) => self.single(name, shape, val),
            (None, None) => {
                self.out.push(b'{');
                json(name, self.out);
                self.out.extend_from_slice(b":null}");
                Ok(())
            }
            _ => Err(not("result")),
        }
    }

    fn member(&mut self, at: usize, name: &str, shape: &TypePlan, val: &Val) -> Result<(), EncodeError> {
        self.next(at)?;
        json(name, self.out);
        self.out.push(b':');
        self.value(shape, val)
    }

    /// Writes what comes before the element at `at` of an array or object.
    #[inline]
    fn next(&mut self, at: usize) -> Result<(), EncodeError> {
        if at > 0 {
            self.out.push(b',');
        }
        self.check()
    }

    #[inline]
    fn check(&self) -> Result<(), EncodeError> {
        self.room(0)
    }

    #[inline]
    fn room(&self, more: usize) -> Result<(), EncodeError> {
        if self.out.len().saturating_add(more) > self.end {
            return Err(EncodeError::TooLarge { limit: self.limit });
        }
        Ok(())
    }
}

fn not_finite(v: f64) -> &'static [u8] {
    if v.is_nan() {
        b"\"NaN\""
    } else if v > 0.0 {
        b"\"Infinity\""
    } else {
        b"\"-Infinity\""
    }
}

#[cold]
fn not(wanted: &'static str) -> EncodeError {
    EncodeError::NotOfShape { wanted }
}

/// Returns the word that a type begins with.
fn kind(shape: &TypePlan) -> &'static str {
    match shape {
        TypePlan::Bool => "bool",
        TypePlan::S8 => "s8",
        TypePlan::U8 => "u8",
        TypePlan::S16 => "s16",
        TypePlan::U16 => "u16",
        TypePlan::S32 => "s32",
        TypePlan::U32 => "u32",
        TypePlan::S64 => "s64",
        TypePlan::U64 => "u64",
        TypePlan::F32 => "f32",
        TypePlan::F64 => "f64",
        TypePlan::Char => "char",
        TypePlan::String => "string",
        TypePlan::Bytes | TypePlan::List(_) | TypePlan::FixedList(..) => "list",
        TypePlan::Map(..) => "map",
        TypePlan::Tuple(_) => "tuple",
        TypePlan::Record(_) => "record",
        TypePlan::Variant(_) => "variant",
        TypePlan::Enum(_) => "enum",
        TypePlan::Flags(_) => "flags",
        TypePlan::Option(_) => "option",
        TypePlan::Result { .. } => "result",
    }
}
