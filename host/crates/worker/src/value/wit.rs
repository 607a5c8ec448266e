//! Shows a shape as WIT text, for messages and for `inspect`.

use super::shape::TypePlan;
use std::fmt::{self, Display, Formatter, Write};
use wasmpool_core::text::head;
use wasmtime::component::Type;

/// Maximum length of a type inside a message.
const BRIEF: usize = 120;

impl TypePlan {
    /// Returns the type as WIT text, such as `list<tuple<u8, string>>`. Types
    /// that WIT declares by name are written out: `record { a: u8 }`.
    pub fn wit(&self) -> String {
        self.to_string()
    }

    /// Returns the text of [`TypePlan::wit`], cut if it is too long for a
    /// message.
    pub(super) fn wit_brief(&self) -> String {
        brief(self)
    }
}

/// Returns the text of `what`, cut at a length that fits a message.
pub(super) fn brief(what: impl Display) -> String {
    let mut brief = Brief { text: String::new(), most: BRIEF };
    if write!(brief, "{what}").is_err() {
        brief.text.push('…');
    }
    brief.text
}

/// Maximum length of the text of a type that has no shape.
const LONGEST: usize = 2000;

/// Returns the type as WIT text even if it has no shape. Resources have no name
/// in it.
pub fn spell(ty: &Type) -> String {
    let mut brief = Brief { text: String::new(), most: LONGEST };
    if spell_to(ty, &mut brief).is_err() {
        brief.text.push('…');
    }
    brief.text
}

/// Writes a type that consists of parts, such as `tuple<u8, string>`.
fn spell_parts(name: &str, parts: impl IntoIterator<Item = Option<Type>>, out: &mut Brief) -> fmt::Result {
    write!(out, "{name}<")?;
    for (at, part) in parts.into_iter().enumerate() {
        out.write_str(if at == 0 { "" } else { ", " })?;
        match part {
            Some(part) => spell_to(&part, out)?,
            None => out.write_str("_")?,
        }
    }
    out.write_str(">")
}

/// Writes a type with named parts, such as `record { a: u8 }`.
fn spell_named<'a>(name: &str, parts: impl Iterator<Item = (&'a str, Option<Type>)>, out: &mut Brief) -> fmt::Result {
    write!(out, "{name} {{ ")?;
    for (at, (part, ty)) in parts.enumerate() {
        write!(out, "{}{part}", if at == 0 { "" } else { ", " })?;
        if let Some(ty) = ty {
            out.write_str(": ")?;
            spell_to(&ty, out)?;
        }
    }
    out.write_str(" }")
}

fn spell_to(ty: &Type, out: &mut Brief) -> fmt::Result {
    match ty {
        Type::Own(_) => out.write_str("resource"),
        Type::Borrow(_) => out.write_str("borrow<resource>"),
        Type::ErrorContext => out.write_str("error-context"),
        Type::Future(future) => spell_parts("future", [future.ty()], out),
        Type::Stream(stream) => spell_parts("stream", [stream.ty()], out),
        Type::List(list) => spell_parts("list", [Some(list.ty())], out),
        Type::FixedLengthList(list) => {
            out.write_str("list<")?;
            spell_to(&list.ty(), out)?;
            write!(out, ", {}>", list.len())
        }
        Type::Map(map) => spell_parts("map", [Some(map.key()), Some(map.value())], out),
        Type::Option(option) => spell_parts("option", [Some(option.ty())], out),
        Type::Result(result) => spell_parts("result", [result.ok(), result.err()], out),
        Type::Tuple(tuple) => spell_parts("tuple", tuple.types().map(Some), out),
        Type::Record(record) => spell_named("record", record.fields().map(|field| (field.name, Some(field.ty))), out),
        Type::Variant(variant) => spell_named("variant", variant.cases().map(|case| (case.name, case.ty)), out),
        plain => match TypePlan::of(plain) {
            Ok(shape) => write!(out, "{shape}"),
            Err(_) => out.write_str("…"),
        },
    }
}

/// Stops writing after `most` bytes, so that a huge type is not written out
/// only to be cut.
struct Brief {
    text: String,
    most: usize,
}

impl Write for Brief {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.most.saturating_sub(self.text.len());
        let part = head(text, room);
        self.text.push_str(part);
        if part.len() == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

impl Display for TypePlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::S8 => f.write_str("s8"),
            Self::U8 => f.write_str("u8"),
            Self::S16 => f.write_str("s16"),
            Self::U16 => f.write_str("u16"),
            Self::S32 => f.write_str("s32"),
            Self::U32 => f.write_str("u32"),
            Self::S64 => f.write_str("s64"),
            Self::U64 => f.write_str("u64"),
            Self::F32 => f.write_str("f32"),
            Self::F64 => f.write_str("f64"),
            Self::Char => f.write_str("char"),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("list<u8>"),
            Self::List(element) => write!(f, "list<{element}>"),
            Self::FixedList(element, length) => write!(f, "list<{element}, {length}>"),
            Self::Map(key, value) => write!(f, "map<{key}, {value}>"),
            Self::Tuple(shapes) => {
                f.write_str("tuple<")?;
                separated(f, shapes.iter())?;
                f.write_str(">")
            }
            Self::Record(fields) => {
                f.write_str("record { ")?;
                separated(f, fields.iter().map(|(name, shape)| Field(name, shape)))?;
                f.write_str(" }")
            }
            Self::Variant(cases) => {
                f.write_str("variant { ")?;
                separated(f, cases.iter().map(|(name, payload)| Case(name, payload)))?;
                f.write_str(" }")
            }
            Self::Enum(names) => {
                f.write_str("enum { ")?;
                separated(f, names.as_slice().iter())?;
                f.write_str(" }")
            }
            Self::Flags(names) => {
                f.write_str("flags { ")?;
                separated(f, names.as_slice().iter())?;
                f.write_str(" }")
            }
            Self::Option(inner) => write!(f, "option<{inner}>"),
            Self::Result { ok, err } => match (ok, err) {
                (None, None) => f.write_str("result"),
                (Some(ok), None) => write!(f, "result<{ok}>"),
                (None, Some(err)) => write!(f, "result<_, {err}>"),
                (Some(ok), Some(err)) => write!(f, "result<{ok}, {err}>"),
            },
        }
    }
}

/// `name: type`, in the form in which a field or a parameter is declared.
pub(super) struct Field<'a>(pub &'a str, pub &'a TypePlan);

impl Display for Field<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0, self.1)
    }
}

struct Case<'a>(&'a str, Option<&'a TypePlan>);

impl Display for Case<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(payload) => write!(f, "{}({payload})", self.0),
            None => f.write_str(self.0),
        }
    }
}

/// Writes the parts with `, ` between them.
pub(super) fn separated<T: Display>(f: &mut Formatter<'_>, parts: impl Iterator<Item = T>) -> fmt::Result {
    for (at, part) in parts.enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        write!(f, "{comma}{part}")?;
    }
    Ok(())
}
