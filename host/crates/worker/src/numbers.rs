//! Functions of a number, and of lists of numbers (a batch), called with static types: no value is built, and no type
//! is examined. An item that is not a plain number in the right range is handled like all other items, which produces
//! the message for what does not fit.

use wasmtime::component::{ComponentType, Func, Lift, Lower, TypedFunc};
use wasmtime::{Func as CoreFunc, Store, TypedFunc as CoreTypedFunc, WasmParams, WasmResults};

use super::texts::Texts;
use crate::value::TypePlan;
use wasmpool_imports::state::StoreState;

/// A function that takes and returns one number.
pub trait OfNumber {
    /// Calls it, and appends its result. Returns `None` if the number is out of its parameter's range.
    fn call(
        &self,
        store: &mut Store<StoreState>,
        number: JsonInteger,
        out: &mut Vec<u8>,
    ) -> Option<wasmtime::Result<()>>;
}

/// A function that takes and returns a list of numbers.
pub trait OfNumbers {
    /// Calls it. Returns `None` if one of the numbers is out of its parameter's range.
    fn call(&self, store: &mut Store<StoreState>, numbers: &[JsonInteger]) -> Option<wasmtime::Result<Texts>>;
}

/// An integer in JSON, of any range that a type of WIT has.
#[derive(Clone, Copy, Debug)]
pub struct JsonInteger {
    is_negative: bool,
    digits: u64,
}

impl JsonInteger {
    /// Returns the number that an item is, or `None` if it is not a plain number.
    pub fn read(item: &[u8]) -> Option<JsonInteger> {
        let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        let start = item.iter().position(is_text)?;
        let item = item.get(start..=item.iter().rposition(is_text)?)?;
        let (is_negative, text) = match item.strip_prefix(b"-") {
            Some(text) => (true, text),
            None => (false, item),
        };
        let digits = match text {
            [b'0'] if !is_negative => 0,
            // 19 digits always fit. A number that is longer, has a leading zero or is -0 is left to the general code,
            // which knows the rules.
            [b'1'..=b'9', ..] if text.len() <= 19 => text.iter().try_fold(0, |digits, digit| {
                let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
                Some(digits * 10 + u64::from(digit))
            })?,
            _ => return None,
        };
        Some(JsonInteger { is_negative, digits })
    }
}

/// An integer type of WIT.
trait WitInteger: ComponentType + Lift + Lower + TryFrom<u64> + TryFrom<i64> + serde::Serialize + 'static {
    fn of(number: JsonInteger) -> Option<Self> {
        match number.is_negative {
            false => Self::try_from(number.digits).ok(),
            true => Self::try_from(0_i64.checked_sub_unsigned(number.digits)?).ok(),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        // Writing to memory does not fail.
        let _ = serde_json::to_writer(out, self);
    }
}

impl WitInteger for i32 {}
impl WitInteger for u32 {}
impl WitInteger for i64 {}
impl WitInteger for u64 {}

impl<P: WitInteger, R: WitInteger> OfNumber for TypedFunc<(P,), (R,)> {
    fn call(
        &self,
        store: &mut Store<StoreState>,
        number: JsonInteger,
        out: &mut Vec<u8>,
    ) -> Option<wasmtime::Result<()>> {
        let number = P::of(number)?;
        Some(TypedFunc::call(self, store, (number,)).map(|(result,)| result.write(out)))
    }
}

impl<P: WitInteger + WasmParams, R: WitInteger + WasmResults> OfNumber for CoreTypedFunc<P, R> {
    fn call(
        &self,
        store: &mut Store<StoreState>,
        number: JsonInteger,
        out: &mut Vec<u8>,
    ) -> Option<wasmtime::Result<()>> {
        let number = P::of(number)?;
        Some(CoreTypedFunc::call(self, store, number).map(|result| result.write(out)))
    }
}

/// Approximate length of a number's text in bytes.
const TEXT: usize = 8;

impl<P: WitInteger, R: WitInteger> OfNumbers for TypedFunc<(Vec<P>,), (Vec<R>,)> {
    fn call(&self, store: &mut Store<StoreState>, numbers: &[JsonInteger]) -> Option<wasmtime::Result<Texts>> {
        let numbers: Vec<P> = numbers.iter().copied().map(P::of).collect::<Option<_>>()?;
        Some(TypedFunc::call(self, store, (numbers,)).map(|(results,)| {
            let mut texts = Texts::with_capacity(results.len(), TEXT);
            results.iter().for_each(|result| texts.push(|out| result.write(out)));
            texts
        }))
    }
}

/// The types of a parameter and of a result, or of the elements of their lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberSignature {
    param: NumberType,
    result: NumberType,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NumberType {
    S32,
    U32,
    S64,
    U64,
}

impl NumberType {
    fn of(shape: &TypePlan) -> Option<NumberType> {
        match shape {
            TypePlan::S32 => Some(NumberType::S32),
            TypePlan::U32 => Some(NumberType::U32),
            TypePlan::S64 => Some(NumberType::S64),
            TypePlan::U64 => Some(NumberType::U64),
            _ => None,
        }
    }
}

/// Calls a macro with the types that a signature stands for.
macro_rules! with_types {
    ($signature:expr, $make:ident) => {
        match $signature.param {
            NumberType::S32 => with_types!(@ i32, $signature.result, $make),
            NumberType::U32 => with_types!(@ u32, $signature.result, $make),
            NumberType::S64 => with_types!(@ i64, $signature.result, $make),
            NumberType::U64 => with_types!(@ u64, $signature.result, $make),
        }
    };
    (@ $param:ty, $result:expr, $make:ident) => {
        match $result {
            NumberType::S32 => $make!($param, i32),
            NumberType::U32 => $make!($param, u32),
            NumberType::S64 => $make!($param, i64),
            NumberType::U64 => $make!($param, u64),
        }
    };
}

impl NumberSignature {
    /// Returns the signature of a function that can be called like this.
    pub fn of(param: &TypePlan, result: &TypePlan) -> Option<NumberSignature> {
        Some(NumberSignature { param: NumberType::of(param)?, result: NumberType::of(result)? })
    }

    /// Returns the component function as a function of a number.
    pub fn of_number(self, function: Func, store: &Store<StoreState>) -> wasmtime::Result<Box<dyn OfNumber>> {
        macro_rules! make {
            ($param:ty, $result:ty) => {
                Box::new(function.typed::<($param,), ($result,)>(store)?)
            };
        }
        Ok(with_types!(self, make))
    }

    /// Returns a core module's function as a function of a number; its integers are signed.
    pub fn of_core_number(self, function: &CoreFunc, store: &Store<StoreState>) -> wasmtime::Result<Box<dyn OfNumber>> {
        Ok(match (self.param, self.result) {
            (NumberType::S32, NumberType::S32) => Box::new(function.typed::<i32, i32>(store)?),
            (NumberType::S32, _) => Box::new(function.typed::<i32, i64>(store)?),
            (_, NumberType::S32) => Box::new(function.typed::<i64, i32>(store)?),
            _ => Box::new(function.typed::<i64, i64>(store)?),
        })
    }

    /// Returns the component function as a function of lists of numbers.
    pub fn of_numbers(self, function: Func, store: &Store<StoreState>) -> wasmtime::Result<Box<dyn OfNumbers>> {
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
    use crate::value::{ItemEncoding, decode};
    use wasmtime::component::Val;

    /// Returns what the general code reads from the item.
    fn slowly(shape: &TypePlan, item: &str) -> Option<i128> {
        match decode(shape, item.as_bytes(), ItemEncoding::Json).ok()? {
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
            let number = JsonInteger::read(item.as_bytes());
            for (shape, quickly) in [
                (TypePlan::S32, number.and_then(i32::of).map(i128::from)),
                (TypePlan::U32, number.and_then(u32::of).map(i128::from)),
                (TypePlan::S64, number.and_then(i64::of).map(i128::from)),
                (TypePlan::U64, number.and_then(u64::of).map(i128::from)),
            ] {
                if let Some(number) = quickly {
                    prop_assert_eq!(Some(number), slowly(&shape, &item));
                }
            }
        }

        #[test]
        fn plain_numbers_do_not_need_the_slow_way(number in -999_999_999_999_999_999_i64..) {
            prop_assert_eq!(JsonInteger::read(number.to_string().as_bytes()).and_then(i64::of), Some(number));
        }
    }
}
