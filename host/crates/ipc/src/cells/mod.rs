//! Values and arrays: numbers of one type in shared memory, which whoever was given them reads and writes without a
//! message.
//!
//! Each access to an element is atomic, and all accesses to single elements have one order on which everybody agrees.
//! Others may write anything at any moment: bits that are no `bool` or no `char` are an error when they are read.
//!
//! An element is at a multiple of its size, since the memory begins with a page.

pub mod asked;
mod atomic;
mod number;
#[cfg(test)]
mod tests;

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};

use serde::{Deserialize, Serialize};
use wasmpool_core::share::NumberType;

use crate::mapping::{self, Access, Mapping, Part};
use atomic::Atomic;
use number::to_bool;
pub use number::{Number, Numbers, width};

/// Size of a page. Memory is a multiple of it, so that an array without elements has memory as well.
const PAGE: usize = 4096;

/// Why an operation on numbers was refused. Nothing of it has happened then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum CellError {
    #[error("the index {index} is outside of the {len} elements")]
    Index { index: u32, len: u32 },
    #[error("the {count} elements from index {start} on are not all among the {len} elements")]
    Range { start: u32, count: u64, len: u32 },
    #[error("the numbers are {is:?}, not {given:?}")]
    WrongType { is: NumberType, given: NumberType },
    #[error("they were granted for reading only")]
    ReadOnly,
    #[error("{0:?} is no type to calculate with")]
    NoArithmetic(NumberType),
    #[error("{number} is no number of type {is:?}")]
    DoesNotFit { is: NumberType, number: i64 },
    #[error("somebody wrote {bits:#x} to the element {index}, which is no {is:?}")]
    Garbage { is: NumberType, index: u32, bits: u64 },
    #[error("the process that has them is gone")]
    Lost,
}

/// Creates the memory of `len` numbers, all of them zero. Its size can never change.
pub fn create(of: NumberType, len: u32) -> io::Result<OwnedFd> {
    let size = size(of, len);
    if size as u64 > mapping::largest_file()? {
        return Err(io::Error::other(format!("{size} bytes are more than a file may have here (ulimit -f)")));
    }
    mapping::create(c"wasmpool-numbers", size)
}

/// Returns a descriptor of the same numbers for reading only. Whoever has no other can never write them.
pub fn read_only(fd: &impl AsFd) -> io::Result<OwnedFd> {
    mapping::read_only(fd)
}

fn size(of: NumberType, len: u32) -> usize {
    (len as usize * width(of)).next_multiple_of(PAGE).max(PAGE)
}

/// Numbers of one type in shared memory.
#[derive(Debug)]
pub struct Cells {
    mapping: Mapping,
    of: NumberType,
    len: u32,
    access: Access,
}

/// Does the same for each width of an element, with the elements as a slice of atomics.
macro_rules! by_width {
    ($cells:expr, $elements:ident => $then:expr) => {
        match width($cells.of) {
            1 => {
                let $elements = $cells.elements::<AtomicU8>();
                $then
            }
            2 => {
                let $elements = $cells.elements::<AtomicU16>();
                $then
            }
            4 => {
                let $elements = $cells.elements::<AtomicU32>();
                $then
            }
            _ => {
                let $elements = $cells.elements::<AtomicU64>();
                $then
            }
        }
    };
}

impl Cells {
    /// Opens memory that [`create`] made for this type and length. The descriptor decides whether it can be written.
    pub fn open(fd: &impl AsFd, of: NumberType, len: u32) -> io::Result<Cells> {
        let access = mapping::access(fd)?;
        let size = size(of, len);
        let mapping = Mapping::map(fd, access, &[Part { at: 0, len: size, copies: 1 }], size)?;
        Ok(Cells { mapping, of, len, access })
    }

    pub fn number_type(&self) -> NumberType {
        self.of
    }

    /// Returns the number of elements, which never changes.
    pub fn len(&self) -> u32 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn load(&self, index: u32) -> Result<Number, CellError> {
        let bits = by_width!(self, elements => self.at(elements, index)?.load_bits());
        self.number(index, bits)
    }

    pub fn store(&self, index: u32, number: Number) -> Result<(), CellError> {
        self.check_write(number.number_type())?;
        by_width!(self, elements => self.at(elements, index)?.store_bits(number.bits()));
        Ok(())
    }

    /// Adds to an element, and returns the sum. Integers wrap around.
    pub fn add(&self, index: u32, number: Number) -> Result<Number, CellError> {
        self.check_write(number.number_type())?;
        if number.is_integer() {
            let before = by_width!(self, elements => self.at(elements, index)?.add_bits(number.bits()));
            return self.number(index, before.wrapping_add(number.bits()));
        }
        self.change(index, |before| before.plus(number))
    }

    /// Adds to an element that is an integer, and returns the sum, with the bits of a `u64`. It wraps around.
    ///
    /// The same as [`Cells::add`], for a number whose type is known to fit: this is all that a shared counter does.
    #[inline]
    pub fn add_integer(&self, index: u32, number: i64) -> Result<i64, CellError> {
        if self.access == Access::Read {
            return Err(CellError::ReadOnly);
        }
        /// Adds as an atomic of this width, and returns the sum as this type.
        macro_rules! add {
            ($atomic:ty, $unsigned:ty, $integer:ty) => {{
                let number = number as $unsigned;
                let before = self.at(self.elements::<$atomic>(), index)?.fetch_add(number, Ordering::SeqCst);
                before.wrapping_add(number) as $integer as i64
            }};
        }
        Ok(match self.of {
            NumberType::S64 | NumberType::U64 => add!(AtomicU64, u64, i64),
            NumberType::S32 => add!(AtomicU32, u32, i32),
            NumberType::U32 => add!(AtomicU32, u32, u32),
            NumberType::S16 => add!(AtomicU16, u16, i16),
            NumberType::U16 => add!(AtomicU16, u16, u16),
            NumberType::S8 => add!(AtomicU8, u8, i8),
            NumberType::U8 => add!(AtomicU8, u8, u8),
            NumberType::Bool | NumberType::Char => return Err(CellError::NoArithmetic(self.of)),
            NumberType::F32 | NumberType::F64 => {
                return Err(CellError::WrongType { is: self.of, given: NumberType::S64 });
            }
        })
    }

    /// Replaces an element by a number if that is less, and returns what is there then. As with [`f64::min`], a NaN is
    /// more than any other.
    pub fn min(&self, index: u32, number: Number) -> Result<Number, CellError> {
        self.check_write(number.number_type())?;
        self.change(index, |before| before.min(number))
    }

    /// Replaces an element by a number if that is greater, and returns what is there then. As with [`f64::max`], a NaN
    /// is less than any other.
    pub fn max(&self, index: u32, number: Number) -> Result<Number, CellError> {
        self.check_write(number.number_type())?;
        self.change(index, |before| before.max(number))
    }

    /// Changes an element to what `to` makes of it, and returns that.
    fn change(&self, index: u32, to: impl Fn(Number) -> Option<Number>) -> Result<Number, CellError> {
        by_width!(self, elements => {
            let element = self.at(elements, index)?;
            let mut bits = element.load_bits();
            loop {
                let after = to(self.number(index, bits)?).ok_or(CellError::NoArithmetic(self.of))?;
                match element.exchange_bits(bits, after.bits()) {
                    Ok(()) => return Ok(after),
                    Err(now) => bits = now,
                }
            }
        })
    }

    /// Stores `replacement` if the element is `expected`. Returns the element before, whether or not it was replaced.
    ///
    /// Floats are compared as numbers, and any NaN is taken for any other: a NaN that passes through a guest may come
    /// back with other bits.
    pub fn compare_exchange(&self, index: u32, expected: Number, replacement: Number) -> Result<Number, CellError> {
        self.check_write(expected.number_type())?;
        self.check_write(replacement.number_type())?;
        by_width!(self, elements => {
            let element = self.at(elements, index)?;
            let mut bits = element.load_bits();
            loop {
                let before = self.number(index, bits)?;
                if !before.is(expected) {
                    return Ok(before);
                }
                match element.exchange_bits(bits, replacement.bits()) {
                    Ok(()) => return Ok(before),
                    Err(now) => bits = now,
                }
            }
        })
    }

    /// Reads `count` elements from `start` on. Each is of one instant; the range is not.
    pub fn read(&self, start: u32, count: u32) -> Result<Numbers, CellError> {
        let range = self.range(start, count as usize)?;
        fence(Ordering::SeqCst);
        let numbers = self.read_range(start, range)?;
        fence(Ordering::SeqCst);
        Ok(numbers)
    }

    fn read_range(&self, start: u32, range: Range<usize>) -> Result<Numbers, CellError> {
        macro_rules! read {
            ($variant:ident, $atomic:ty, $bits:ident => $number:expr) => {{
                let elements = self.elements::<$atomic>().get(range).unwrap_or_default();
                Numbers::$variant(
                    elements.iter().map(|element| element.load(Ordering::Relaxed)).map(|$bits| $number).collect(),
                )
            }};
            ($variant:ident, $atomic:ty, $bits:ident =>? $number:expr) => {{
                let elements = self.elements::<$atomic>().get(range).unwrap_or_default();
                let number = |(element, index): (&$atomic, u32)| {
                    let $bits = element.load(Ordering::Relaxed);
                    $number.ok_or(CellError::Garbage { is: self.of, index, bits: $bits.into() })
                };
                Numbers::$variant(elements.iter().zip(start..).map(number).collect::<Result<_, _>>()?)
            }};
        }
        Ok(match self.of {
            NumberType::S8 => read!(S8, AtomicU8, bits => bits as i8),
            NumberType::U8 => read!(U8, AtomicU8, bits => bits),
            NumberType::S16 => read!(S16, AtomicU16, bits => bits as i16),
            NumberType::U16 => read!(U16, AtomicU16, bits => bits),
            NumberType::S32 => read!(S32, AtomicU32, bits => bits as i32),
            NumberType::U32 => read!(U32, AtomicU32, bits => bits),
            NumberType::S64 => read!(S64, AtomicU64, bits => bits as i64),
            NumberType::U64 => read!(U64, AtomicU64, bits => bits),
            NumberType::F32 => read!(F32, AtomicU32, bits => f32::from_bits(bits)),
            NumberType::F64 => read!(F64, AtomicU64, bits => f64::from_bits(bits)),
            NumberType::Bool => read!(Bool, AtomicU8, bits =>? to_bool(bits)),
            NumberType::Char => read!(Char, AtomicU32, bits =>? char::from_u32(bits)),
        })
    }

    /// Writes elements from `start` on. Each is of one instant; the range is not.
    pub fn write(&self, start: u32, numbers: &Numbers) -> Result<(), CellError> {
        self.check_write(numbers.number_type())?;
        let range = self.range(start, numbers.len())?;
        fence(Ordering::SeqCst);
        macro_rules! write {
            ($numbers:expr, $atomic:ty, $number:ident => $bits:expr) => {{
                let elements = self.elements::<$atomic>().get(range).unwrap_or_default();
                for (element, &$number) in elements.iter().zip($numbers) {
                    element.store($bits, Ordering::Relaxed);
                }
            }};
        }
        match numbers {
            Numbers::S8(numbers) => write!(numbers, AtomicU8, number => number as u8),
            Numbers::U8(numbers) => write!(numbers, AtomicU8, number => number),
            Numbers::S16(numbers) => write!(numbers, AtomicU16, number => number as u16),
            Numbers::U16(numbers) => write!(numbers, AtomicU16, number => number),
            Numbers::S32(numbers) => write!(numbers, AtomicU32, number => number as u32),
            Numbers::U32(numbers) => write!(numbers, AtomicU32, number => number),
            Numbers::S64(numbers) => write!(numbers, AtomicU64, number => number as u64),
            Numbers::U64(numbers) => write!(numbers, AtomicU64, number => number),
            Numbers::F32(numbers) => write!(numbers, AtomicU32, number => number.to_bits()),
            Numbers::F64(numbers) => write!(numbers, AtomicU64, number => number.to_bits()),
            Numbers::Bool(numbers) => write!(numbers, AtomicU8, number => number.into()),
            Numbers::Char(numbers) => write!(numbers, AtomicU32, number => number.into()),
        }
        fence(Ordering::SeqCst);
        Ok(())
    }

    /// Refuses to write where only reading was granted, and numbers of another type.
    fn check_write(&self, given: NumberType) -> Result<(), CellError> {
        match self.access {
            Access::Read => Err(CellError::ReadOnly),
            Access::ReadWrite if given != self.of => Err(CellError::WrongType { is: self.of, given }),
            Access::ReadWrite => Ok(()),
        }
    }

    fn number(&self, index: u32, bits: u64) -> Result<Number, CellError> {
        Number::from_bits(self.of, bits).ok_or(CellError::Garbage { is: self.of, index, bits })
    }

    fn at<'a, A>(&self, elements: &'a [A], index: u32) -> Result<&'a A, CellError> {
        elements.get(index as usize).ok_or(CellError::Index { index, len: self.len })
    }

    fn range(&self, start: u32, count: usize) -> Result<Range<usize>, CellError> {
        let (from, len) = (start as usize, self.len as usize);
        let error = CellError::Range { start, count: count as u64, len: self.len };
        if from <= len && count <= len - from { Ok(from..from + count) } else { Err(error) }
    }

    /// Returns the elements as atomics of their width. They may be written only where that was granted.
    fn elements<A: Atomic>(&self) -> &[A] {
        assert_eq!(size_of::<A>(), width(self.of));
        // SAFETY: `len` elements of this size are mapped there for as long as `self`. They are aligned, because the
        // mapping begins with a page. Everybody accesses them by atomics of this size only, of which any bits are valid.
        unsafe { std::slice::from_raw_parts(self.mapping.base().cast().as_ptr(), self.len as usize) }
    }
}
