//! Reads numbers: all 64 bits of an integer, and floats rounded once.

use super::json::ValueSeed;
use super::misfit::ValueStep;
use super::shape::TypePlan;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::marker::PhantomData;
use wasmtime::component::Val;

/// Returns the value of an integer shape if `n` is in its range.
macro_rules! integer {
    ($shape:expr, $n:expr) => {
        match $shape {
            TypePlan::S64 => i64::try_from($n).ok().map(Val::S64),
            TypePlan::U64 => u64::try_from($n).ok().map(Val::U64),
            TypePlan::S32 => i32::try_from($n).ok().map(Val::S32),
            TypePlan::U32 => u32::try_from($n).ok().map(Val::U32),
            TypePlan::S16 => i16::try_from($n).ok().map(Val::S16),
            TypePlan::U16 => u16::try_from($n).ok().map(Val::U16),
            TypePlan::S8 => i8::try_from($n).ok().map(Val::S8),
            TypePlan::U8 => u8::try_from($n).ok().map(Val::U8),
            _ => None,
        }
    };
}
pub(super) use integer;

/// Reads the most frequent kind of item, an integer and nothing else, without
/// setting up a parser. If it returns `None`, the parser has to read the item.
#[inline]
pub(super) fn bare_integer(shape: &TypePlan, json: &[u8]) -> Option<Val> {
    /// With this many digits, every number fits into 64 bits.
    const DIGITS: usize = 18;
    let digits = json.strip_prefix(b"-").unwrap_or(json);
    let plain = match digits {
        [b'0'] => true,
        [b'1'..=b'9', ..] => digits.len() <= DIGITS,
        _ => false,
    };
    if !plain {
        return None;
    }
    let mut value = 0_i64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(digit - b'0');
    }
    let value = if digits.len() < json.len() { -value } else { value };
    integer!(shape, value)
}

impl ValueSeed<'_> {
    /// Reads a float from its text. If it were read as a double first, an f32
    /// would be rounded twice.
    pub(super) fn float<'de, D: Deserializer<'de>>(self, from: D) -> Result<Val, D::Error> {
        let text = <&RawValue>::deserialize(from)?.get();
        let number = match text.as_bytes().first() {
            Some(b'-' | b'0'..=b'9') => text,
            _ => match text {
                "\"NaN\"" => "NaN",
                "\"Infinity\"" => "inf",
                "\"-Infinity\"" => "-inf",
                _ => return Err(self.mismatch(kind(text), None)),
            },
        };
        let value = match self.shape {
            TypePlan::F32 => number.parse().ok().map(Val::Float32),
            _ => number.parse().ok().map(Val::Float64),
        };
        match value {
            Some(Val::Float32(n)) if n.is_infinite() && number == text => {
                Err(self.mismatch("a number", Some("out of range")))
            }
            Some(Val::Float64(n)) if n.is_infinite() && number == text => {
                Err(self.mismatch("a number", Some("out of range")))
            }
            Some(value) => Ok(value),
            None => Err(self.mismatch("a number", None)),
        }
    }

    /// Reads a list of integers by the element's own type, which takes half the
    /// time of reading it by its shape.
    pub(super) fn integers<'de, T, A: SeqAccess<'de>>(self, mut seq: A, val: fn(T) -> Val) -> Result<Val, A::Error>
    where
        T: TryFrom<i64> + TryFrom<u64>,
    {
        let mut values = Vec::new();
        loop {
            let of = PhantomData::<T>;
            match seq.next_element_seed(IntegerSeed { want: self, of }) {
                Ok(Some(value)) => values.push(val(value)),
                Ok(None) => return Ok(Val::List(values)),
                Err(error) => return Err(self.context.under(ValueStep::Index(values.len()), error)),
            }
        }
    }

    #[cold]
    pub(super) fn no_integer<E: Error>(self, found: &str) -> E {
        match self.shape.range() {
            Some(range) => self.mismatch(found, Some(&format!("out of range {range}"))),
            None => self.mismatch(found, None),
        }
    }

    /// Returns an error for a number that is not an integer because it has a
    /// fraction or an exponent in JSON, or exceeds 64 bits. Only `-0` is
    /// accepted, which also arrives as a float.
    pub(super) fn no_float<E: Error>(self, found: f64) -> Result<(), E> {
        const ABOVE: f64 = 18_446_744_073_709_551_616.0;
        const BELOW: f64 = -9_223_372_036_854_775_808.0;
        if self.shape.range().is_none() {
            return Err(self.mismatch("a number", None));
        }
        if found.to_bits() == (-0.0_f64).to_bits() {
            return Ok(());
        }
        if found >= ABOVE || found <= BELOW {
            return Err(self.no_integer("a number"));
        }
        let note = "an integer is written without fraction or exponent";
        Err(self.mismatch("a number", Some(note)))
    }
}

/// Reads an integer of one type. For anything else, `want` reports the error.
struct IntegerSeed<'a, T> {
    want: ValueSeed<'a>,
    of: PhantomData<T>,
}

impl<'de, T: TryFrom<i64> + TryFrom<u64>> DeserializeSeed<'de> for IntegerSeed<'_, T> {
    type Value = T;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<T, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de, T: TryFrom<i64> + TryFrom<u64>> Visitor<'de> for IntegerSeed<'_, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.want.expecting(f)
    }

    #[inline]
    fn visit_u64<E: Error>(self, found: u64) -> Result<T, E> {
        T::try_from(found).map_err(|_| self.want.no_integer("a number"))
    }

    #[inline]
    fn visit_i64<E: Error>(self, found: i64) -> Result<T, E> {
        T::try_from(found).map_err(|_| self.want.no_integer("a number"))
    }

    fn visit_f64<E: Error>(self, found: f64) -> Result<T, E> {
        self.want.no_float(found)?;
        self.visit_u64(0)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<T, E> {
        Err(self.want.mismatch("a boolean", None))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<T, E> {
        Err(self.want.mismatch("a string", None))
    }

    fn visit_unit<E: Error>(self) -> Result<T, E> {
        Err(self.want.mismatch("null", None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<T, A::Error> {
        Err(self.want.mismatch("an array", None))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<T, A::Error> {
        Err(self.want.mismatch("an object", None))
    }
}

/// Returns what kind of thing a JSON text is, by its first byte.
fn kind(text: &str) -> &'static str {
    match text.as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'[') => "an array",
        Some(b'{') => "an object",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}
