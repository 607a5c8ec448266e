//! The cost of a value that goes from one component to another through a stream or a future.
//!
//! The engine moves numbers as their bytes, and other elements of a stream one by one: each is read into values of its own,
//! a value in it for each part of it, and written from them. So is whatever goes through a future.

use std::collections::HashMap;

use wasmparser::PrimitiveValType;
use wasmparser::component_types::{ComponentDefinedType, ComponentDefinedTypeId, ComponentValType};
use wasmparser::types::TypesRef;

/// Instructions that a value counts which is read and written by itself, and those of one that contains others.
const VALUE: u64 = 80;
const COMPOUND: u64 = 160;

/// Instructions that a handle counts which a call passes on.
const HANDLE: u64 = 50;

/// The cost of the values of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Bytes in memory, and what they are a multiple of.
    size: u64,
    align: u64,
    /// Instructions that a value counts, without the contents of its lists and strings.
    value: u64,
    /// Maximum number of instructions that a byte of its lists counts.
    byte: u64,
    /// True if it is a number, for which all bytes are valid.
    is_number: bool,
    /// Maximum number of handles in it, without those in its lists.
    handles: u64,
    /// Maximum number of instructions that a byte of its lists counts for the handles in it.
    handle_byte: u64,
}

impl Weight {
    const fn scalar(size: u64) -> Weight {
        Weight { size, align: size, value: VALUE, byte: 1, is_number: false, handles: 0, handle_byte: 1 }
    }

    const fn number(size: u64) -> Weight {
        Weight { is_number: true, ..Weight::scalar(size) }
    }

    const NOTHING: Weight = Weight { value: 0, align: 1, ..Weight::scalar(0) };
    const HANDLE: Weight = Weight { value: COMPOUND, handles: 1, ..Weight::scalar(4) };
    const STRING: Weight = Weight { size: 8, handles: 0, ..Weight::HANDLE };

    /// Returns the instructions that an element counts which a stream moves; 1 at least.
    pub fn in_stream(self) -> u64 {
        if self.is_number { 1 } else { self.in_future().max(1) }
    }

    /// Returns the instructions that a value counts which goes through a future.
    pub fn in_future(self) -> u64 {
        self.value
    }

    /// Returns the instructions that each byte of the lists and strings in either counts.
    pub fn byte(self) -> u64 {
        self.byte
    }

    /// Returns the instructions that a call counts which passes it on, for its handles. Those in its lists count by their bytes.
    pub fn in_call(self) -> u64 {
        self.handles.saturating_mul(HANDLE)
    }

    /// Returns the instructions that each byte of its lists and strings counts in a call.
    pub fn byte_in_call(self) -> u64 {
        self.handle_byte
    }

    /// Returns the weight of a list of such elements, whose bytes lie elsewhere.
    fn list(self) -> Weight {
        let size = self.size.max(1);
        let byte = self.byte.max(self.value.div_ceil(size));
        let handle_byte = self.handle_byte.max(self.handles.saturating_mul(HANDLE).div_ceil(size));
        Weight { byte, handle_byte, ..Weight::STRING }
    }

    /// Returns the weight of these fields, one after the other.
    fn record(fields: impl Iterator<Item = Weight>) -> Weight {
        let nothing = Weight { value: COMPOUND, ..Weight::NOTHING };
        fields.fold(nothing, |all, field| all.followed_by(field)).rounded()
    }

    fn followed_by(self, next: Weight) -> Weight {
        Weight {
            size: self.size.next_multiple_of(next.align).saturating_add(next.size),
            align: self.align.max(next.align),
            value: self.value.saturating_add(next.value),
            byte: self.byte.max(next.byte),
            is_number: false,
            handles: self.handles.saturating_add(next.handles),
            handle_byte: self.handle_byte.max(next.handle_byte),
        }
    }

    fn rounded(self) -> Weight {
        Weight { size: self.size.next_multiple_of(self.align), ..self }
    }

    /// Returns the weight of a variant with these payloads, whose first bytes tell which one it is.
    fn variant(cases: usize, payloads: impl Iterator<Item = Weight>) -> Weight {
        let which = Weight::scalar(discriminant(cases));
        let largest = payloads.fold(Weight::NOTHING, |all, payload| Weight {
            size: all.size.max(payload.size),
            align: all.align.max(payload.align),
            value: all.value.max(payload.value),
            byte: all.byte.max(payload.byte),
            is_number: false,
            handles: all.handles.max(payload.handles),
            handle_byte: all.handle_byte.max(payload.handle_byte),
        });
        Weight { value: COMPOUND.saturating_add(largest.value), ..which.followed_by(largest).rounded() }
    }
}

/// Returns the number of bytes that tell so many cases apart.
fn discriminant(cases: usize) -> u64 {
    match cases {
        0..=0x100 => 1,
        0x101..=0x1_0000 => 2,
        _ => 4,
    }
}

/// The weights of types, each found once.
#[derive(Default)]
pub struct Weights(HashMap<ComponentDefinedTypeId, Weight>);

impl Weights {
    /// Returns that of what goes through a stream or a future, of nothing where nothing does.
    pub fn of(&mut self, payload: Option<&ComponentValType>, types: TypesRef<'_>) -> Weight {
        match payload {
            None => Weight::NOTHING,
            Some(ComponentValType::Primitive(primitive)) => of_primitive(*primitive),
            Some(ComponentValType::Type(id)) => {
                if let Some(known) = self.0.get(id) {
                    return *known;
                }
                let weight = self.of_defined(&types[*id], types);
                self.0.insert(*id, weight);
                weight
            }
        }
    }

    fn of_defined(&mut self, ty: &ComponentDefinedType, types: TypesRef<'_>) -> Weight {
        use ComponentDefinedType as T;
        match ty {
            T::Primitive(primitive) => of_primitive(*primitive),
            T::Record(record) => Weight::record(record.fields.values().map(|field| self.of(Some(field), types))),
            T::Tuple(tuple) => Weight::record(tuple.types.iter().map(|field| self.of(Some(field), types))),
            T::Variant(variant) => {
                let payloads = variant.cases.values().map(|case| self.of(case.ty.as_ref(), types));
                Weight::variant(variant.cases.len(), payloads)
            }
            T::Option { ty, .. } => Weight::variant(2, [self.of(Some(ty), types)].into_iter()),
            T::Result { ok, err, .. } => {
                Weight::variant(2, [ok, err].into_iter().map(|payload| self.of(payload.as_ref(), types)))
            }
            T::Enum(cases) => Weight { value: COMPOUND, ..Weight::scalar(discriminant(cases.len())) },
            T::Flags(names) => {
                let size = if names.len() <= 8 {
                    1
                } else if names.len() <= 16 {
                    2
                } else {
                    4
                };
                let value = COMPOUND.saturating_add((names.len() as u64).saturating_mul(VALUE));
                Weight { value, ..Weight::scalar(size) }
            }
            T::List { element, .. } => self.of(Some(element), types).list(),
            T::Map { key, value, .. } => {
                Weight::record([self.of(Some(key), types), self.of(Some(value), types)].into_iter()).list()
            }
            T::FixedLengthList { element, length, .. } => {
                let (element, length) = (self.of(Some(element), types), u64::from(*length));
                let value = COMPOUND.saturating_add(element.value.saturating_mul(length));
                let (size, handles) = (element.size.saturating_mul(length), element.handles.saturating_mul(length));
                Weight { size, value, is_number: false, handles, ..element }
            }
            T::Own(_) | T::Borrow(_) | T::Future { .. } | T::Stream { .. } => Weight::HANDLE,
        }
    }
}

fn of_primitive(primitive: PrimitiveValType) -> Weight {
    use PrimitiveValType as P;
    match primitive {
        P::S8 | P::U8 => Weight::number(1),
        P::S16 | P::U16 => Weight::number(2),
        P::S32 | P::U32 | P::F32 => Weight::number(4),
        P::S64 | P::U64 | P::F64 => Weight::number(8),
        P::Bool => Weight::scalar(1),
        P::Char => Weight::scalar(4),
        P::String => Weight::STRING,
        P::ErrorContext => Weight::HANDLE,
    }
}
