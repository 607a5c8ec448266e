//! The types of numbers that values and arrays have.

use std::fmt::Debug;

use wasmpool_core::share::NumberType;
use wasmpool_ipc::cells::{Number, Numbers};

/// A type of number that a [`Value`](crate::Value) or an [`Array`](crate::Array) can have: the integers from `i8` and
/// `u8` to `i64` and `u64`, `f32`, `f64`, `bool` and `char`.
pub trait SharedNumber: sealed::Sealed + Copy + PartialEq + Debug + Send + Sync + 'static {
    #[doc(hidden)]
    const TYPE: NumberType;
    #[doc(hidden)]
    fn into_number(self) -> Number;
    #[doc(hidden)]
    fn of_number(number: Number) -> Option<Self>;
    #[doc(hidden)]
    fn into_numbers(numbers: Vec<Self>) -> Numbers;
    #[doc(hidden)]
    fn of_numbers(numbers: Numbers) -> Option<Vec<Self>>;
}

/// A type of number that can be added: all but `bool` and `char`.
pub trait ArithmeticNumber: SharedNumber {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! number {
    ($($of:ty as $variant:ident),*) => {
        $(
            impl sealed::Sealed for $of {}

            impl SharedNumber for $of {
                const TYPE: NumberType = NumberType::$variant;

                fn into_number(self) -> Number {
                    Number::$variant(self)
                }

                fn of_number(number: Number) -> Option<$of> {
                    match number {
                        Number::$variant(number) => Some(number),
                        _ => None,
                    }
                }

                fn into_numbers(numbers: Vec<$of>) -> Numbers {
                    Numbers::$variant(numbers)
                }

                fn of_numbers(numbers: Numbers) -> Option<Vec<$of>> {
                    match numbers {
                        Numbers::$variant(numbers) => Some(numbers),
                        _ => None,
                    }
                }
            }
        )*
    };
}

number!(i8 as S8, u8 as U8, i16 as S16, u16 as U16, i32 as S32, u32 as U32, i64 as S64, u64 as U64);
number!(f32 as F32, f64 as F64, bool as Bool, char as Char);

macro_rules! arithmetic {
    ($($of:ty),*) => {
        $(impl ArithmeticNumber for $of {})*
    };
}

arithmetic!(i8, u8, i16, u16, i32, u32, i64, u64, f32, f64);
