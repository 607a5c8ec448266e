//! The plan of a WIT value type.

use super::names::Names;
use wasmtime::component::Type;

/// Maximum number of parts of a type. A type is a graph in the component but a
/// tree here, and a hostile component can describe a huge tree with a small
/// graph.
const MOST_PARTS: usize = 1 << 16;

/// Maximum depth of nested types. JSON text is read to a depth of 128.
const DEEPEST: usize = 100;

/// The plan of a WIT value type, made once per function, so that items are read
/// without using wasmtime's type handles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypePlan {
    Bool,
    S8,
    U8,
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
    F32,
    F64,
    Char,
    String,
    /// `list<u8>`, which is base64 in JSON.
    Bytes,
    List(Box<TypePlan>),
    /// `list<T, N>`
    FixedList(Box<TypePlan>, u32),
    /// `map<K, V>`; the key is a `bool`, an integer, a `char` or a `string`.
    Map(Box<TypePlan>, Box<TypePlan>),
    Tuple(Vec<TypePlan>),
    Record(Fields),
    Variant(Cases),
    Enum(Names),
    Flags(Names),
    Option(Box<TypePlan>),
    Result {
        ok: Option<Box<TypePlan>>,
        err: Option<Box<TypePlan>>,
    },
}

/// The fields of a record, or the parameters of a function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// Names of the fields.
    pub names: Names,
    /// Types of the fields, as many as there are names.
    pub shapes: Vec<TypePlan>,
}

/// The cases of a variant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cases {
    /// Names of the cases.
    pub names: Names,
    /// Payloads of the cases, as many as there are names; a case may have none.
    pub payloads: Vec<Option<TypePlan>>,
}

/// A type whose values cannot be written as data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsupportedType {
    /// A resource, stream, future or error-context.
    #[error("{}a `{kind}` is a handle to something inside one instance and has no JSON form", at(.place))]
    Handle {
        /// `resource`, `stream`, `future` or `error-context`.
        kind: &'static str,
        /// Place in the type, such as `.parts[]`; empty for the type itself.
        place: String,
    },
    /// A map with keys that cannot be the name of a member in JSON.
    #[error("{}a map's key has to be a bool, an integer, a char or a string", at(.place))]
    Key {
        /// Place in the type.
        place: String,
    },
    /// A type that is larger than planned for.
    #[error("the type has more than {MOST_PARTS} parts, or is nested deeper than {DEEPEST}")]
    TooLarge,
}

fn at(place: &str) -> String {
    if place.is_empty() { String::new() } else { format!("at {place}: ") }
}

impl Fields {
    /// Creates fields with these names and types, in this order.
    pub fn new(fields: impl IntoIterator<Item = (String, TypePlan)>) -> Self {
        let (names, shapes): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
        Self { names: Names::new(names), shapes }
    }

    /// Returns each field with its name, in the order of declaration.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &TypePlan)> {
        let names = self.names.as_slice().iter().map(String::as_str);
        names.zip(&self.shapes)
    }
}

impl Cases {
    /// Creates cases with these names and payloads, in this order.
    pub fn new(cases: impl IntoIterator<Item = (String, Option<TypePlan>)>) -> Self {
        let (names, payloads): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
        Self { names: Names::new(names), payloads }
    }

    /// Returns each case with its name, in the order of declaration.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&TypePlan>)> {
        let names = self.names.as_slice().iter().map(String::as_str);
        names.zip(self.payloads.iter().map(Option::as_ref))
    }
}

impl TypePlan {
    /// Plans `ty`. Costs a traversal of the whole type; done once per function.
    ///
    /// # Errors
    ///
    /// [`UnsupportedType`] names the part of the type that has no JSON form.
    pub fn of(ty: &Type) -> Result<Self, UnsupportedType> {
        Planner { parts: MOST_PARTS, place: Vec::new() }.plan(ty)
    }

    /// Returns true if a row of CSV can be one value of this type.
    pub(super) fn is_row(&self) -> bool {
        match self {
            Self::Record(_) => true,
            Self::Map(key, _) => **key == Self::String,
            Self::Option(inner) => inner.is_row(),
            _ => false,
        }
    }

    /// Returns true if a text as it stands can be a value of this type.
    pub(super) fn is_text(&self) -> bool {
        match self {
            Self::String | Self::Char | Self::Enum(_) | Self::Bytes => true,
            Self::Option(inner) => inner.is_text(),
            _ => false,
        }
    }

    /// Returns the type of the elements of a list or an option.
    pub fn element(&self) -> Option<&TypePlan> {
        match self {
            Self::List(inner) | Self::Option(inner) => Some(inner),
            _ => None,
        }
    }

    /// Returns true if a missing field of this type is `none`.
    pub(super) fn may_be_missing(&self) -> bool {
        matches!(self, Self::Option(_))
    }

    /// Returns the range of an integer type as a message shows it.
    pub(super) fn range(&self) -> Option<&'static str> {
        Some(match self {
            Self::S8 => "-128..=127",
            Self::U8 => "0..=255",
            Self::S16 => "-32768..=32767",
            Self::U16 => "0..=65535",
            Self::S32 => "-2147483648..=2147483647",
            Self::U32 => "0..=4294967295",
            Self::S64 => "-9223372036854775808..=9223372036854775807",
            Self::U64 => "0..=18446744073709551615",
            _ => return None,
        })
    }
}

struct Planner {
    /// Number of further parts that the type may have.
    parts: usize,
    /// Path to the current part.
    place: Vec<String>,
}

impl Planner {
    fn plan(&mut self, ty: &Type) -> Result<TypePlan, UnsupportedType> {
        self.spend()?;
        Ok(match ty {
            Type::Bool => TypePlan::Bool,
            Type::S8 => TypePlan::S8,
            Type::U8 => TypePlan::U8,
            Type::S16 => TypePlan::S16,
            Type::U16 => TypePlan::U16,
            Type::S32 => TypePlan::S32,
            Type::U32 => TypePlan::U32,
            Type::S64 => TypePlan::S64,
            Type::U64 => TypePlan::U64,
            Type::Float32 => TypePlan::F32,
            Type::Float64 => TypePlan::F64,
            Type::Char => TypePlan::Char,
            Type::String => TypePlan::String,
            Type::List(list) => match self.within("[]", &list.ty())? {
                TypePlan::U8 => TypePlan::Bytes,
                element => TypePlan::List(Box::new(element)),
            },
            Type::FixedLengthList(list) => TypePlan::FixedList(Box::new(self.within("[]", &list.ty())?), list.len()),
            Type::Map(map) => {
                let key = self.within("[key]", &map.key())?;
                let spells_a_name =
                    key.range().is_some() || matches!(key, TypePlan::Bool | TypePlan::Char | TypePlan::String);
                if !spells_a_name {
                    let place = self.place.concat();
                    return Err(UnsupportedType::Key { place });
                }
                let value = self.within("[]", &map.value())?;
                TypePlan::Map(Box::new(key), Box::new(value))
            }
            Type::Tuple(tuple) => TypePlan::Tuple(
                tuple
                    .types()
                    .enumerate()
                    .map(|(at, ty)| self.within(&format!("[{at}]"), &ty))
                    .collect::<Result<_, _>>()?,
            ),
            Type::Record(record) => TypePlan::Record(Fields::new(
                record.fields().map(|field| self.named(field.name, &field.ty)).collect::<Result<Vec<_>, _>>()?,
            )),
            Type::Variant(variant) => TypePlan::Variant(Cases::new(
                variant
                    .cases()
                    .map(|case| match case.ty {
                        Some(ty) => self.named(case.name, &ty).map(|(n, s)| (n, Some(s))),
                        None => self.spend().map(|()| (case.name.to_owned(), None)),
                    })
                    .collect::<Result<Vec<_>, _>>()?,
            )),
            Type::Enum(names) => TypePlan::Enum(self.names(names.names())?),
            Type::Flags(names) => TypePlan::Flags(self.names(names.names())?),
            Type::Option(option) => TypePlan::Option(Box::new(self.within("", &option.ty())?)),
            Type::Result(result) => {
                let mut side = |place, ty: Option<Type>| -> Result<_, UnsupportedType> {
                    ty.map(|ty| self.within(place, &ty).map(Box::new)).transpose()
                };
                TypePlan::Result { ok: side(".ok", result.ok())?, err: side(".err", result.err())? }
            }
            Type::Own(_) | Type::Borrow(_) => return Err(self.handle("resource")),
            Type::Future(_) => return Err(self.handle("future")),
            Type::Stream(_) => return Err(self.handle("stream")),
            Type::ErrorContext => return Err(self.handle("error-context")),
        })
    }

    fn within(&mut self, step: &str, ty: &Type) -> Result<TypePlan, UnsupportedType> {
        if self.place.len() >= DEEPEST {
            return Err(UnsupportedType::TooLarge);
        }
        self.place.push(step.to_owned());
        let shape = self.plan(ty);
        if shape.is_ok() {
            self.place.pop();
        }
        shape
    }

    fn named(&mut self, name: &str, ty: &Type) -> Result<(String, TypePlan), UnsupportedType> {
        let shape = self.within(&format!(".{name}"), ty)?;
        Ok((name.to_owned(), shape))
    }

    fn names<'a>(&mut self, names: impl Iterator<Item = &'a str>) -> Result<Names, UnsupportedType> {
        let list = names.map(|name| self.spend().map(|()| name.to_owned()));
        Ok(Names::new(list.collect::<Result<_, _>>()?))
    }

    fn spend(&mut self) -> Result<(), UnsupportedType> {
        self.parts = self.parts.checked_sub(1).ok_or(UnsupportedType::TooLarge)?;
        Ok(())
    }

    fn handle(&self, kind: &'static str) -> UnsupportedType {
        let place = self.place.concat();
        UnsupportedType::Handle { kind, place }
    }
}
