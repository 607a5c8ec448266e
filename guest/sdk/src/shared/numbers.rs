//! Values and arrays: numbers in shared memory.

use std::marker::PhantomData;

use crate::bindings::shared::wasmpool::shared::cells::{self, NumberType};
use crate::bindings::shared::wasmpool::shared::numbers::{self, Numbers as AnyMany};
use crate::bindings::shared::wasmpool::shared::types;

use super::Error;

mod sealed {
    pub trait Sealed {}
}

/// A type that a shared value or the elements of a shared array can have: `i8` to `u64`, `f32`, `f64`, `bool` or `char`.
pub trait Number: Copy + sealed::Sealed {
    #[doc(hidden)]
    const TYPE: NumberType;
    #[doc(hidden)]
    fn load(cell: u32, index: u32) -> Result<Self, types::Error>;
    #[doc(hidden)]
    fn store(self, cell: u32, index: u32) -> Result<(), types::Error>;
    #[doc(hidden)]
    fn add(self, cell: u32, index: u32) -> Result<Self, types::Error>;
    #[doc(hidden)]
    fn minimum(self, cell: u32, index: u32) -> Result<Self, types::Error>;
    #[doc(hidden)]
    fn maximum(self, cell: u32, index: u32) -> Result<Self, types::Error>;
    #[doc(hidden)]
    fn compare_exchange(self, cell: u32, index: u32, expected: Self) -> Result<Self, types::Error>;
    #[doc(hidden)]
    fn into_many(numbers: &[Self]) -> AnyMany;
    #[doc(hidden)]
    fn from_many(many: AnyMany) -> Option<Vec<Self>>;
    /// Returns whether both are the same, as `compare-exchange` takes them: a NaN is any other NaN, and 0.0 is -0.0.
    #[doc(hidden)]
    fn is_same(self, other: Self) -> bool;
}

macro_rules! numbers {
    ($($rust:ty, $variant:ident, $plain:ty, $from_plain:expr, $same:expr,
        $load:ident, $store:ident, $add:ident, $min:ident, $max:ident, $exchange:ident;)*) => {$(
        impl sealed::Sealed for $rust {}
        impl Number for $rust {
            const TYPE: NumberType = NumberType::$variant;

            fn load(cell: u32, index: u32) -> Result<Self, types::Error> {
                cells::$load(cell, index).map($from_plain)
            }

            fn store(self, cell: u32, index: u32) -> Result<(), types::Error> {
                cells::$store(cell, index, self as $plain)
            }

            fn add(self, cell: u32, index: u32) -> Result<Self, types::Error> {
                cells::$add(cell, index, self as $plain).map($from_plain)
            }

            fn minimum(self, cell: u32, index: u32) -> Result<Self, types::Error> {
                cells::$min(cell, index, self as $plain).map($from_plain)
            }

            fn maximum(self, cell: u32, index: u32) -> Result<Self, types::Error> {
                cells::$max(cell, index, self as $plain).map($from_plain)
            }

            fn compare_exchange(self, cell: u32, index: u32, expected: Self) -> Result<Self, types::Error> {
                cells::$exchange(cell, index, expected as $plain, self as $plain).map($from_plain)
            }

            fn into_many(numbers: &[Self]) -> AnyMany {
                AnyMany::$variant(numbers.to_vec())
            }

            fn from_many(many: AnyMany) -> Option<Vec<Self>> {
                if let AnyMany::$variant(numbers) = many { Some(numbers) } else { None }
            }

            fn is_same(self, other: Self) -> bool {
                let same: fn(Self, Self) -> bool = $same;
                same(self, other)
            }
        }
    )*};
}

/// Implements the types that are passed as an integer, with how one comes back from it.
macro_rules! integers {
    ($($rust:ty, $variant:ident, $from:expr;)*) => {
        numbers! {$(
            $rust, $variant, i64, $from, |a, b| a == b,
            load_integer, store_integer, add_integer, min_integer, max_integer, compare_exchange_integer;
        )*}
    };
}

integers! {
    i8, S8, |plain| plain as i8;
    u8, U8, |plain| plain as u8;
    i16, S16, |plain| plain as i16;
    u16, U16, |plain| plain as u16;
    i32, S32, |plain| plain as i32;
    u32, U32, |plain| plain as u32;
    i64, S64, |plain| plain;
    u64, U64, |plain| plain as u64;
    bool, Boolean, |plain| plain != 0;
    char, Character, |plain| char::from_u32(plain as u32).unwrap_or(char::REPLACEMENT_CHARACTER);
}

numbers! {
    f32, F32, f64, |plain| plain as f32, |a, b| a == b || a.is_nan() && b.is_nan(),
    load_float, store_float, add_float, min_float, max_float, compare_exchange_float;
    f64, F64, f64, |plain| plain, |a, b| a == b || a.is_nan() && b.is_nan(),
    load_float, store_float, add_float, min_float, max_float, compare_exchange_float;
}

/// A number that tasks share (`--share NAME=value:TYPE`). No operation waits, and each is atomic.
///
/// `T` has to be the type that was granted: `i64` for `s64`, `f64` for `f64`, and so on.
pub struct Value<T: Number> {
    cell: u32,
    of: PhantomData<T>,
}

impl<T: Number> Value<T> {
    /// Opens the value of this name.
    ///
    /// # Errors
    ///
    /// [`Error::NotGranted`], [`Error::WrongKind`] if it is of another type too.
    pub fn open(name: &str) -> Result<Self, Error> {
        Ok(Self { cell: cells::open_value(name, T::TYPE)?, of: PhantomData })
    }

    /// Returns the value.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn load(&self) -> Result<T, Error> {
        Ok(T::load(self.cell, 0)?)
    }

    /// Sets the value.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] where it was granted `:ro`.
    pub fn store(&self, number: T) -> Result<(), Error> {
        Ok(number.store(self.cell, 0)?)
    }

    /// Adds in one step, and returns the sum. Integers wrap around.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] where it was granted `:ro`, [`Error::Invalid`] of a `bool` or a `char`.
    pub fn add(&self, number: T) -> Result<T, Error> {
        Ok(number.add(self.cell, 0)?)
    }

    /// Sets the value to `number` if that is less, in one step, and returns what it is then. A NaN is never stored.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] where it was granted `:ro`, [`Error::Invalid`] of a `bool` or a `char`.
    pub fn min(&self, number: T) -> Result<T, Error> {
        Ok(number.minimum(self.cell, 0)?)
    }

    /// Sets the value to `number` if that is greater, as [`Value::min`] does if it is less.
    ///
    /// # Errors
    ///
    /// Those of [`Value::min`].
    pub fn max(&self, number: T) -> Result<T, Error> {
        Ok(number.maximum(self.cell, 0)?)
    }

    /// Stores `replacement` if the value is `expected`, in one step. Returns the value before: it was replaced if that is
    /// `expected`. Floats are compared as numbers: -0.0 is 0.0, and any NaN is any other.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] where it was granted `:ro`.
    pub fn compare_exchange(&self, expected: T, replacement: T) -> Result<T, Error> {
        Ok(replacement.compare_exchange(self.cell, 0, expected)?)
    }

    /// Replaces the value by what `change` makes of it, in one step, and returns the new value. Where others change it
    /// meanwhile, `change` is called again.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] where it was granted `:ro`.
    pub fn change(&self, mut change: impl FnMut(T) -> T) -> Result<T, Error> {
        let mut expected = self.load()?;
        loop {
            let after = change(expected);
            let before = self.compare_exchange(expected, after)?;
            if before.is_same(expected) {
                return Ok(after);
            }
            expected = before;
        }
    }
}

/// Numbers that tasks share (`--share NAME=array:TYPE:LENGTH`). No operation waits, and each is atomic for each element.
///
/// `T` has to be the type that was granted.
pub struct Array<T: Number> {
    array: numbers::Array,
    cell: u32,
    of: PhantomData<T>,
}

impl<T: Number> Array<T> {
    /// Opens the array of this name.
    ///
    /// # Errors
    ///
    /// [`Error::NotGranted`], [`Error::WrongKind`] if its elements are of another type too.
    pub fn open(name: &str) -> Result<Self, Error> {
        let cell = cells::open_array(name, T::TYPE)?;
        Ok(Self { array: numbers::Array::open(name)?, cell, of: PhantomData })
    }

    /// Returns the number of elements, which never changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.array.length() as usize
    }

    /// Returns whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns an element.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`].
    pub fn load(&self, index: u32) -> Result<T, Error> {
        Ok(T::load(self.cell, index)?)
    }

    /// Sets an element.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`], [`Error::Denied`] where it was granted `:ro`.
    pub fn store(&self, index: u32, number: T) -> Result<(), Error> {
        Ok(number.store(self.cell, index)?)
    }

    /// Adds to an element in one step, and returns the sum. Integers wrap around.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`], [`Error::Denied`] where it was granted `:ro`, [`Error::Invalid`] of a `bool` or a `char`.
    pub fn add(&self, index: u32, number: T) -> Result<T, Error> {
        Ok(number.add(self.cell, index)?)
    }

    /// Sets an element to `number` if that is less, in one step, and returns what it is then. A NaN is never stored.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`], [`Error::Denied`] where it was granted `:ro`, [`Error::Invalid`] of a `bool` or a `char`.
    pub fn min(&self, index: u32, number: T) -> Result<T, Error> {
        Ok(number.minimum(self.cell, index)?)
    }

    /// Sets an element to `number` if that is greater, as [`Array::min`] does if it is less.
    ///
    /// # Errors
    ///
    /// Those of [`Array::min`].
    pub fn max(&self, index: u32, number: T) -> Result<T, Error> {
        Ok(number.maximum(self.cell, index)?)
    }

    /// Stores `replacement` if the element is `expected`, in one step. Returns the element before: it was replaced if that is
    /// `expected`. Floats are compared as numbers: -0.0 is 0.0, and any NaN is any other.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`], [`Error::Denied`] where it was granted `:ro`.
    pub fn compare_exchange(&self, index: u32, expected: T, replacement: T) -> Result<T, Error> {
        Ok(replacement.compare_exchange(self.cell, index, expected)?)
    }

    /// Returns `count` elements from `start` on. Each is of one instant; the range is not.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`].
    pub fn read(&self, start: u32, count: u32) -> Result<Vec<T>, Error> {
        T::from_many(self.array.read(start, count)?).ok_or_else(another_type::<T>)
    }

    /// Returns all elements, as [`read`](Self::read) does.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn to_vec(&self) -> Result<Vec<T>, Error> {
        self.read(0, self.array.length())
    }

    /// Sets the elements from `start` on.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`], [`Error::Denied`] where it was granted `:ro`.
    pub fn write(&self, start: u32, numbers: &[T]) -> Result<(), Error> {
        Ok(self.array.write(start, &T::into_many(numbers))?)
    }
}

fn another_type<T>() -> Error {
    Error::WrongKind(format!("its numbers are not of the type `{}`", std::any::type_name::<T>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_compared_as_the_objects_do_it() {
        assert!(f64::NAN.is_same(-f64::NAN) && f32::NAN.is_same(-f32::NAN));
        assert!(0.0.is_same(-0.0) && !0.0.is_same(f64::NAN) && !1.is_same(2));
    }

    #[test]
    fn numbers_of_each_type_come_back_as_they_were() {
        fn back<T: Number + PartialEq + std::fmt::Debug>(numbers: &[T]) {
            assert_eq!(T::from_many(T::into_many(numbers)).as_deref(), Some(numbers));
        }
        back(&[i8::MIN, i8::MAX]);
        back(&[u8::MAX]);
        back(&[i16::MIN]);
        back(&[u16::MAX]);
        back(&[i32::MIN]);
        back(&[u32::MAX]);
        back(&[i64::MIN, i64::MAX]);
        back(&[u64::MAX]);
        back(&[f32::MIN_POSITIVE]);
        back(&[f64::MAX]);
        back(&[true, false]);
        back(&['🦀']);
    }
}
