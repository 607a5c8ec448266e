//! Functions of a number, and of lists of numbers (`--batch`), called with static types: no value is built, and no type is
//! looked at. An item that is anything but a plain number of the right range takes the way of all others, which has the
//! words for what does not fit.

use wasmtime::component::{ComponentType, Func, Lift, Lower, TypedFunc};
use wasmtime::{Func as CoreFunc, Store, TypedFunc as CoreTypedFunc, WasmParams, WasmResults};

use super::state::State;
use crate::value::Shape;

/// A function that takes and returns one number.
pub trait OfNumber {
    /// Calls it with the number that an item is, and appends its result; `None` if the item is no such number.
    fn call(&self, store: &mut Store<State>, item: &[u8], out: &mut Vec<u8>) -> Option<wasmtime::Result<()>>;
}

/// A function that takes and returns a list of numbers.
pub trait OfNumbers {
    /// Calls it with the numbers that items are; `None` if one of them is no such number.
    fn call(&self, store: &mut Store<State>, items: &mut dyn Iterator<Item = &[u8]>)
    -> Option<wasmtime::Result<Texts>>;
}

/// Texts, one behind the other.
#[derive(Debug, Default)]
pub struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let text = self.bytes.get(start..end).unwrap_or_default();
            start = end;
            text
        })
    }
}

/// Whether an item is an integer such as is read here, of any range.
pub fn is_one(item: &[u8]) -> bool {
    parse(item).is_some()
}

/// The sign and the digits' value of an integer as JSON has it.
fn parse(item: &[u8]) -> Option<(bool, u64)> {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let start = item.iter().position(is_text)?;
    let item = item.get(start..=item.iter().rposition(is_text)?)?;
    let (is_negative, digits) = match item.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, item),
    };
    match digits {
        [b'0'] if !is_negative => Some((false, 0)),
        // 19 digits always fit. What is longer, has a leading zero or is -0 is left to those who know the rules.
        [b'1'..=b'9', ..] if digits.len() <= 19 => {
            let value = digits.iter().try_fold(0, |value, digit| {
                let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
                Some(value * 10 + u64::from(digit))
            });
            Some((is_negative, value?))
        }
        _ => None,
    }
}

/// A type of WIT that is an integer.
trait Integer: ComponentType + Lift + Lower + TryFrom<u64> + TryFrom<i64> + serde::Serialize + 'static {
    fn read(item: &[u8]) -> Option<Self> {
        match parse(item)? {
            (false, value) => Self::try_from(value).ok(),
            (true, value) => Self::try_from(0_i64.checked_sub_unsigned(value)?).ok(),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        // Memory can always be written to.
        let _ = serde_json::to_writer(out, self);
    }
}

impl Integer for i32 {}
impl Integer for u32 {}
impl Integer for i64 {}
impl Integer for u64 {}

impl<P: Integer, R: Integer> OfNumber for TypedFunc<(P,), (R,)> {
    fn call(&self, store: &mut Store<State>, item: &[u8], out: &mut Vec<u8>) -> Option<wasmtime::Result<()>> {
        let number = P::read(item)?;
        Some(TypedFunc::call(self, store, (number,)).map(|(result,)| result.write(out)))
    }
}

impl<P: Integer + WasmParams, R: Integer + WasmResults> OfNumber for CoreTypedFunc<P, R> {
    fn call(&self, store: &mut Store<State>, item: &[u8], out: &mut Vec<u8>) -> Option<wasmtime::Result<()>> {
        let number = P::read(item)?;
        Some(CoreTypedFunc::call(self, store, number).map(|result| result.write(out)))
    }
}

impl<P: Integer, R: Integer> OfNumbers for TypedFunc<(Vec<P>,), (Vec<R>,)> {
    fn call(
        &self,
        store: &mut Store<State>,
        items: &mut dyn Iterator<Item = &[u8]>,
    ) -> Option<wasmtime::Result<Texts>> {
        let numbers: Vec<P> = items.map(P::read).collect::<Option<_>>()?;
        Some(TypedFunc::call(self, store, (numbers,)).map(|(results,)| {
            let mut texts =
                Texts { bytes: Vec::with_capacity(results.len() * 8), ends: Vec::with_capacity(results.len()) };
            for result in results {
                result.write(&mut texts.bytes);
                texts.ends.push(texts.bytes.len());
            }
            texts
        }))
    }
}

/// The types of a parameter and of a result, or of what is in their lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    param: Type,
    result: Type,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    S32,
    U32,
    S64,
    U64,
}

impl Type {
    fn of(shape: &Shape) -> Option<Type> {
        match shape {
            Shape::S32 => Some(Type::S32),
            Shape::U32 => Some(Type::U32),
            Shape::S64 => Some(Type::S64),
            Shape::U64 => Some(Type::U64),
            _ => None,
        }
    }
}

/// Calls a macro with the types that a signature stands for.
macro_rules! with_types {
    ($signature:expr, $make:ident) => {
        match $signature.param {
            Type::S32 => with_types!(@ i32, $signature.result, $make),
            Type::U32 => with_types!(@ u32, $signature.result, $make),
            Type::S64 => with_types!(@ i64, $signature.result, $make),
            Type::U64 => with_types!(@ u64, $signature.result, $make),
        }
    };
    (@ $param:ty, $result:expr, $make:ident) => {
        match $result {
            Type::S32 => $make!($param, i32),
            Type::U32 => $make!($param, u32),
            Type::S64 => $make!($param, i64),
            Type::U64 => $make!($param, u64),
        }
    };
}

impl Signature {
    /// That of a function that can be called like this.
    pub fn of(param: &Shape, result: &Shape) -> Option<Signature> {
        Some(Signature { param: Type::of(param)?, result: Type::of(result)? })
    }

    /// The function as one of a number.
    pub fn of_number(self, function: Func, store: &Store<State>) -> wasmtime::Result<Box<dyn OfNumber>> {
        macro_rules! make {
            ($param:ty, $result:ty) => {
                Box::new(function.typed::<($param,), ($result,)>(store)?)
            };
        }
        Ok(with_types!(self, make))
    }

    /// The same of a core module's function, whose integers are signed.
    pub fn of_core_number(self, function: &CoreFunc, store: &Store<State>) -> wasmtime::Result<Box<dyn OfNumber>> {
        Ok(match (self.param, self.result) {
            (Type::S32, Type::S32) => Box::new(function.typed::<i32, i32>(store)?),
            (Type::S32, _) => Box::new(function.typed::<i32, i64>(store)?),
            (_, Type::S32) => Box::new(function.typed::<i64, i32>(store)?),
            _ => Box::new(function.typed::<i64, i64>(store)?),
        })
    }

    /// The function as one of lists of numbers.
    pub fn of_numbers(self, function: Func, store: &Store<State>) -> wasmtime::Result<Box<dyn OfNumbers>> {
        macro_rules! make {
            ($param:ty, $result:ty) => {
                Box::new(function.typed::<(Vec<$param>,), (Vec<$result>,)>(store)?)
            };
        }
        Ok(with_types!(self, make))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::{Form, decode};
    use wasmtime::component::Val;

    /// What the way of all items makes of it.
    fn slowly(shape: &Shape, item: &str) -> Option<i128> {
        match decode(shape, item.as_bytes(), Form::Json).ok()? {
            Val::S32(number) => Some(number.into()),
            Val::U32(number) => Some(number.into()),
            Val::S64(number) => Some(number.into()),
            Val::U64(number) => Some(number.into()),
            _ => None,
        }
    }

    proptest! {
        #[test]
        fn a_number_is_read_as_on_the_slow_way_or_left_to_it(
            item in prop_oneof![
                any::<i64>().prop_map(|n| n.to_string()),
                any::<i32>().prop_map(|n| format!(" {n}\t")),
                "[ \t\r\n\x0b\x0c]{0,2}[0-9]{1,3}[ \t\r\n\x0b\x0c]{0,2}",
                any::<u64>().prop_map(|n| n.to_string()),
                "[-+0-9.eE \"]{0,22}",
            ],
        ) {
            let bytes = item.as_bytes();
            for (shape, quickly) in [
                (Shape::S32, i32::read(bytes).map(i128::from)),
                (Shape::U32, u32::read(bytes).map(i128::from)),
                (Shape::S64, i64::read(bytes).map(i128::from)),
                (Shape::U64, u64::read(bytes).map(i128::from)),
            ] {
                if let Some(number) = quickly {
                    prop_assert_eq!(Some(number), slowly(&shape, &item));
                }
            }
        }

        #[test]
        fn plain_numbers_do_not_need_the_slow_way(number in -999_999_999_999_999_999_i64..) {
            prop_assert_eq!(i64::read(number.to_string().as_bytes()), Some(number));
        }
    }
}
