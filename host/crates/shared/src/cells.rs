//! Values and arrays by plain functions: what calls of them cost is mostly what the runtime does to check a handle, so
//! these have none. They know an object by its place among the grants, which is all that a handle stands for, too.

use super::bindings::cells::{Host, NumberType as WitType};
use super::refusal::{ObjectKind, Refusal, wrong_type};
use super::{InstanceObjects, bindings::types::Error};
use wasmpool_core::share::NumberType;
use wasmpool_core::text::QuotedName;
use wasmpool_ipc::cells::asked::CellAccess;
use wasmpool_ipc::cells::{CellError, Number};

impl Host for InstanceObjects {
    fn open_value(&mut self, name: String, of: WitType) -> Result<u32, Refusal> {
        self.open_cells(&name, ObjectKind::Value, of)
    }

    fn open_array(&mut self, name: String, of: WitType) -> Result<u32, Refusal> {
        self.open_cells(&name, ObjectKind::Array, of)
    }

    fn length(&mut self, cell: u32) -> Result<u32, Refusal> {
        self.known_cells(cell, |cells| Ok(cells.len()))
    }

    fn load_integer(&mut self, cell: u32, index: u32) -> Result<i64, Refusal> {
        self.known_cells(cell, |cells| to_integer(cells, cells.load(index)?))
    }

    fn store_integer(&mut self, cell: u32, index: u32, number: i64) -> Result<(), Refusal> {
        self.known_cells(cell, |cells| cells.store(index, integer(cells, number)?))
    }

    fn add_integer(&mut self, cell: u32, index: u32, number: i64) -> Result<i64, Refusal> {
        self.known_cells(cell, |cells| cells.add_integer(index, number))
    }

    fn min_integer(&mut self, cell: u32, index: u32, number: i64) -> Result<i64, Refusal> {
        self.known_cells(cell, |cells| to_integer(cells, cells.min(index, integer(cells, number)?)?))
    }

    fn max_integer(&mut self, cell: u32, index: u32, number: i64) -> Result<i64, Refusal> {
        self.known_cells(cell, |cells| to_integer(cells, cells.max(index, integer(cells, number)?)?))
    }

    fn compare_exchange_integer(
        &mut self,
        cell: u32,
        index: u32,
        expected: i64,
        replacement: i64,
    ) -> Result<i64, Refusal> {
        self.known_cells(cell, |cells| {
            let (expected, replacement) = (integer(cells, expected)?, integer(cells, replacement)?);
            to_integer(cells, cells.compare_exchange(index, expected, replacement)?)
        })
    }

    fn load_float(&mut self, cell: u32, index: u32) -> Result<f64, Refusal> {
        self.known_cells(cell, |cells| to_float(cells, cells.load(index)?))
    }

    fn store_float(&mut self, cell: u32, index: u32, number: f64) -> Result<(), Refusal> {
        self.known_cells(cell, |cells| cells.store(index, float(cells, number)?))
    }

    fn add_float(&mut self, cell: u32, index: u32, number: f64) -> Result<f64, Refusal> {
        self.known_cells(cell, |cells| to_float(cells, cells.add(index, float(cells, number)?)?))
    }

    fn min_float(&mut self, cell: u32, index: u32, number: f64) -> Result<f64, Refusal> {
        self.known_cells(cell, |cells| to_float(cells, cells.min(index, float(cells, number)?)?))
    }

    fn max_float(&mut self, cell: u32, index: u32, number: f64) -> Result<f64, Refusal> {
        self.known_cells(cell, |cells| to_float(cells, cells.max(index, float(cells, number)?)?))
    }

    fn compare_exchange_float(
        &mut self,
        cell: u32,
        index: u32,
        expected: f64,
        replacement: f64,
    ) -> Result<f64, Refusal> {
        self.known_cells(cell, |cells| {
            let (expected, replacement) = (float(cells, expected)?, float(cells, replacement)?);
            to_float(cells, cells.compare_exchange(index, expected, replacement)?)
        })
    }
}

impl InstanceObjects {
    fn open_cells(&mut self, name: &str, kind: ObjectKind, of: WitType) -> Result<u32, Refusal> {
        self.call(name.len())?;
        let place = self.find(name, kind)?;
        let is = self.shared.with_cells(place, |cells| cells.number_type());
        let is = is.ok_or_else(|| wasmtime::Error::msg("a value or an array has no numbers"))?;
        let wanted = number_type(of);
        match is == wanted {
            true => Ok(place),
            false => Err(self.refuse_kind(name, wrong_type(QuotedName::of(name), is, wanted))),
        }
    }

    /// Does something with numbers that the task knows by their place. It may have made the place up: it reaches nothing
    /// by it that was not granted.
    fn known_cells<R>(
        &mut self,
        place: u32,
        access: impl FnOnce(CellAccess<'_>) -> Result<R, CellError>,
    ) -> Result<R, Refusal> {
        self.call(0)?;
        let Some(done) = self.shared.with_cells(place, access) else {
            return Err(Error::Invalid(format!("no value or array was opened as {place}")).into());
        };
        done.map_err(|error| self.refused(place, error))
    }
}

fn number_type(of: WitType) -> NumberType {
    match of {
        WitType::S8 => NumberType::S8,
        WitType::U8 => NumberType::U8,
        WitType::S16 => NumberType::S16,
        WitType::U16 => NumberType::U16,
        WitType::S32 => NumberType::S32,
        WitType::U32 => NumberType::U32,
        WitType::S64 => NumberType::S64,
        WitType::U64 => NumberType::U64,
        WitType::F32 => NumberType::F32,
        WitType::F64 => NumberType::F64,
        WitType::Boolean => NumberType::Bool,
        WitType::Character => NumberType::Char,
    }
}

fn integer(cells: CellAccess<'_>, number: i64) -> Result<Number, CellError> {
    let of = cells.number_type();
    Number::from_integer(of, number).ok_or_else(|| match of {
        NumberType::F32 | NumberType::F64 => is_no_integer(cells),
        _ => CellError::DoesNotFit { is: of, number },
    })
}

fn to_integer(cells: CellAccess<'_>, number: Number) -> Result<i64, CellError> {
    number.to_integer().ok_or_else(|| is_no_integer(cells))
}

fn is_no_integer(cells: CellAccess<'_>) -> CellError {
    CellError::WrongType { is: cells.number_type(), given: NumberType::S64 }
}

fn float(cells: CellAccess<'_>, number: f64) -> Result<Number, CellError> {
    Number::from_float(cells.number_type(), number).ok_or_else(|| is_no_float(cells))
}

fn to_float(cells: CellAccess<'_>, number: Number) -> Result<f64, CellError> {
    number.to_float().ok_or_else(|| is_no_float(cells))
}

fn is_no_float(cells: CellAccess<'_>) -> CellError {
    CellError::WrongType { is: cells.number_type(), given: NumberType::F64 }
}
