//! A number of one of the types that a value or an array can have, and its bits in shared memory.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use wasmpool_core::share::NumberType;

/// A number of some type.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Number {
    S8(i8),
    U8(u8),
    S16(i16),
    U16(u16),
    S32(i32),
    U32(u32),
    S64(i64),
    U64(u64),
    F32(f32),
    F64(f64),
    Bool(bool),
    Char(char),
}

/// Numbers of the same type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Numbers {
    S8(Vec<i8>),
    U8(Vec<u8>),
    S16(Vec<i16>),
    U16(Vec<u16>),
    S32(Vec<i32>),
    U32(Vec<u32>),
    S64(Vec<i64>),
    U64(Vec<u64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Bool(Vec<bool>),
    Char(Vec<char>),
}

/// Returns the number of bytes of an element, one, two, four or eight.
pub fn width(of: NumberType) -> usize {
    match of {
        NumberType::S8 | NumberType::U8 | NumberType::Bool => 1,
        NumberType::S16 | NumberType::U16 => 2,
        NumberType::S32 | NumberType::U32 | NumberType::F32 | NumberType::Char => 4,
        NumberType::S64 | NumberType::U64 | NumberType::F64 => 8,
    }
}

/// Does the same for each type of number, whatever `$numbers` holds.
macro_rules! for_each_type {
    ($numbers:expr, $kind:ident, $inner:ident => $then:expr) => {
        match $numbers {
            $kind::S8($inner) => $then,
            $kind::U8($inner) => $then,
            $kind::S16($inner) => $then,
            $kind::U16($inner) => $then,
            $kind::S32($inner) => $then,
            $kind::U32($inner) => $then,
            $kind::S64($inner) => $then,
            $kind::U64($inner) => $then,
            $kind::F32($inner) => $then,
            $kind::F64($inner) => $then,
            $kind::Bool($inner) => $then,
            $kind::Char($inner) => $then,
        }
    };
}

/// A type of number, by its bits.
pub trait Bits: Copy {
    fn bits(self) -> u64;
}

macro_rules! integers {
    ($($integer:ty as $unsigned:ty),*) => {
        $(impl Bits for $integer {
            fn bits(self) -> u64 {
                u64::from(self as $unsigned)
            }
        })*
    };
}

integers!(i8 as u8, u8 as u8, i16 as u16, u16 as u16, i32 as u32, u32 as u32, i64 as u64, u64 as u64);
integers!(bool as u8, char as u32);

impl Bits for f32 {
    fn bits(self) -> u64 {
        self.to_bits().into()
    }
}

impl Bits for f64 {
    fn bits(self) -> u64 {
        self.to_bits()
    }
}

/// Returns the `bool` that these bits are.
pub fn to_bool(bits: u8) -> Option<bool> {
    (bits < 2).then_some(bits == 1)
}

impl Number {
    pub fn number_type(self) -> NumberType {
        match self {
            Number::S8(_) => NumberType::S8,
            Number::U8(_) => NumberType::U8,
            Number::S16(_) => NumberType::S16,
            Number::U16(_) => NumberType::U16,
            Number::S32(_) => NumberType::S32,
            Number::U32(_) => NumberType::U32,
            Number::S64(_) => NumberType::S64,
            Number::U64(_) => NumberType::U64,
            Number::F32(_) => NumberType::F32,
            Number::F64(_) => NumberType::F64,
            Number::Bool(_) => NumberType::Bool,
            Number::Char(_) => NumberType::Char,
        }
    }

    /// Returns the bits of the number, which are those of an unsigned integer as wide as it.
    pub fn bits(self) -> u64 {
        for_each_type!(self, Number, number => number.bits())
    }

    /// Returns the integer, `bool` or `char` of this type that is this number, which has the bits of a `u64`. `None` if the
    /// type has no such number.
    pub fn from_integer(of: NumberType, number: i64) -> Option<Number> {
        Some(match of {
            NumberType::S8 => Number::S8(number.try_into().ok()?),
            NumberType::U8 => Number::U8(number.try_into().ok()?),
            NumberType::S16 => Number::S16(number.try_into().ok()?),
            NumberType::U16 => Number::U16(number.try_into().ok()?),
            NumberType::S32 => Number::S32(number.try_into().ok()?),
            NumberType::U32 => Number::U32(number.try_into().ok()?),
            NumberType::S64 => Number::S64(number),
            NumberType::U64 => Number::U64(number as u64),
            NumberType::Bool => Number::Bool(to_bool(number.try_into().ok()?)?),
            NumberType::Char => Number::Char(char::from_u32(number.try_into().ok()?)?),
            NumberType::F32 | NumberType::F64 => return None,
        })
    }

    /// Returns the integer of this type that has the same effect as `number` when it is added, which wraps around. `None`
    /// if nothing can be added to this type, or only floats.
    pub fn to_be_added(of: NumberType, number: i64) -> Option<Number> {
        match of {
            NumberType::F32 | NumberType::F64 | NumberType::Bool | NumberType::Char => None,
            of => Number::from_bits(of, number as u64),
        }
    }

    /// Returns the number as an integer, with the bits of a `u64`. `None` of a float.
    pub fn to_integer(self) -> Option<i64> {
        Some(match self {
            Number::S8(number) => number.into(),
            Number::U8(number) => number.into(),
            Number::S16(number) => number.into(),
            Number::U16(number) => number.into(),
            Number::S32(number) => number.into(),
            Number::U32(number) => number.into(),
            Number::S64(number) => number,
            Number::U64(number) => number as i64,
            Number::Bool(number) => number.into(),
            Number::Char(number) => u32::from(number).into(),
            Number::F32(_) | Number::F64(_) => return None,
        })
    }

    /// Returns the float of this type that is nearest to this one. `None` of any other type.
    pub fn from_float(of: NumberType, number: f64) -> Option<Number> {
        match of {
            NumberType::F32 => Some(Number::F32(number as f32)),
            NumberType::F64 => Some(Number::F64(number)),
            _ => None,
        }
    }

    /// Returns the number if it is a float.
    pub fn to_float(self) -> Option<f64> {
        match self {
            Number::F32(number) => Some(number.into()),
            Number::F64(number) => Some(number),
            _ => None,
        }
    }

    /// Returns the number of this type that has these bits. `None` if there is none, which happens only to bools and
    /// chars. Bits beyond the width of the type are left out.
    pub fn from_bits(of: NumberType, bits: u64) -> Option<Number> {
        Some(match of {
            NumberType::S8 => Number::S8(bits as i8),
            NumberType::U8 => Number::U8(bits as u8),
            NumberType::S16 => Number::S16(bits as i16),
            NumberType::U16 => Number::U16(bits as u16),
            NumberType::S32 => Number::S32(bits as i32),
            NumberType::U32 => Number::U32(bits as u32),
            NumberType::S64 => Number::S64(bits as i64),
            NumberType::U64 => Number::U64(bits),
            NumberType::F32 => Number::F32(f32::from_bits(bits as u32)),
            NumberType::F64 => Number::F64(f64::from_bits(bits)),
            NumberType::Bool => Number::Bool(to_bool(bits as u8)?),
            NumberType::Char => Number::Char(char::from_u32(bits as u32)?),
        })
    }

    /// Returns the sum of two floats. `None` if these are no floats.
    pub(super) fn plus(self, other: Number) -> Option<Number> {
        match (self, other) {
            (Number::F32(a), Number::F32(b)) => Some(Number::F32(a + b)),
            (Number::F64(a), Number::F64(b)) => Some(Number::F64(a + b)),
            _ => None,
        }
    }

    /// Returns the lesser one. `None` if these are no numbers of one type.
    pub(super) fn min(self, other: Number) -> Option<Number> {
        self.either(other, Ordering::Less)
    }

    /// Returns the greater one. `None` if these are no numbers of one type.
    pub(super) fn max(self, other: Number) -> Option<Number> {
        self.either(other, Ordering::Greater)
    }

    /// Returns the one that compares so with the other. If one is no number (NaN), returns the other one.
    fn either(self, other: Number, wanted: Ordering) -> Option<Number> {
        let (order, is_nan) = match (self, other) {
            (Number::S8(a), Number::S8(b)) => (a.partial_cmp(&b), false),
            (Number::U8(a), Number::U8(b)) => (a.partial_cmp(&b), false),
            (Number::S16(a), Number::S16(b)) => (a.partial_cmp(&b), false),
            (Number::U16(a), Number::U16(b)) => (a.partial_cmp(&b), false),
            (Number::S32(a), Number::S32(b)) => (a.partial_cmp(&b), false),
            (Number::U32(a), Number::U32(b)) => (a.partial_cmp(&b), false),
            (Number::S64(a), Number::S64(b)) => (a.partial_cmp(&b), false),
            (Number::U64(a), Number::U64(b)) => (a.partial_cmp(&b), false),
            (Number::F32(a), Number::F32(b)) => (a.partial_cmp(&b), a.is_nan()),
            (Number::F64(a), Number::F64(b)) => (a.partial_cmp(&b), a.is_nan()),
            _ => return None,
        };
        let other_is_it = order.map_or(is_nan, |order| order != Ordering::Equal && order != wanted);
        Some(if other_is_it { other } else { self })
    }

    pub(super) fn is_integer(self) -> bool {
        !matches!(self, Number::F32(_) | Number::F64(_) | Number::Bool(_) | Number::Char(_))
    }

    /// Returns true if the numbers are equal, or both are no number (NaN).
    pub(super) fn is(self, other: Number) -> bool {
        match (self, other) {
            (Number::F32(a), Number::F32(b)) => a == b || a.is_nan() && b.is_nan(),
            (Number::F64(a), Number::F64(b)) => a == b || a.is_nan() && b.is_nan(),
            (a, b) => a == b,
        }
    }
}

impl Numbers {
    pub fn number_type(&self) -> NumberType {
        match self {
            Numbers::S8(_) => NumberType::S8,
            Numbers::U8(_) => NumberType::U8,
            Numbers::S16(_) => NumberType::S16,
            Numbers::U16(_) => NumberType::U16,
            Numbers::S32(_) => NumberType::S32,
            Numbers::U32(_) => NumberType::U32,
            Numbers::S64(_) => NumberType::S64,
            Numbers::U64(_) => NumberType::U64,
            Numbers::F32(_) => NumberType::F32,
            Numbers::F64(_) => NumberType::F64,
            Numbers::Bool(_) => NumberType::Bool,
            Numbers::Char(_) => NumberType::Char,
        }
    }

    pub fn len(&self) -> usize {
        for_each_type!(self, Numbers, numbers => numbers.len())
    }

    /// Returns no numbers of this type.
    pub fn none(of: NumberType) -> Numbers {
        match of {
            NumberType::S8 => Numbers::S8(Vec::new()),
            NumberType::U8 => Numbers::U8(Vec::new()),
            NumberType::S16 => Numbers::S16(Vec::new()),
            NumberType::U16 => Numbers::U16(Vec::new()),
            NumberType::S32 => Numbers::S32(Vec::new()),
            NumberType::U32 => Numbers::U32(Vec::new()),
            NumberType::S64 => Numbers::S64(Vec::new()),
            NumberType::U64 => Numbers::U64(Vec::new()),
            NumberType::F32 => Numbers::F32(Vec::new()),
            NumberType::F64 => Numbers::F64(Vec::new()),
            NumberType::Bool => Numbers::Bool(Vec::new()),
            NumberType::Char => Numbers::Char(Vec::new()),
        }
    }

    /// Appends numbers of the same type. Returns false for others, of which nothing is appended.
    pub fn append(&mut self, more: Numbers) -> bool {
        macro_rules! append {
            ($($kind:ident)*) => {
                match (self, more) {
                    $((Numbers::$kind(all), Numbers::$kind(more)) => all.extend(more),)*
                    _ => return false,
                }
            };
        }
        append!(S8 U8 S16 U16 S32 U32 S64 U64 F32 F64 Bool Char);
        true
    }

    /// Returns up to `most` of the numbers from this one on.
    pub fn piece(&self, from: usize, most: usize) -> Numbers {
        macro_rules! piece {
            ($($kind:ident)*) => {
                match self {
                    $(Numbers::$kind(all) => {
                        let end = from.saturating_add(most).min(all.len());
                        Numbers::$kind(all.get(from..end).unwrap_or_default().to_vec())
                    })*
                }
            };
        }
        piece!(S8 U8 S16 U16 S32 U32 S64 U64 F32 F64 Bool Char)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
