//! Values and arrays: numbers in shared memory, which no operation waits for.

use wasmtime::component::Resource;

use super::bindings::numbers::{self as wit, Array, Host, HostArray, HostValue, Value};
use super::bindings::types::Error;
use super::refusal::{ObjectKind, Refusal, RefusedCall, type_name, wrong_type};
use super::{InstanceObjects, plain_drop, without_writing};
use wasmpool_core::text::QuotedName;
use wasmpool_ipc::cells::asked::CellAccess;
use wasmpool_ipc::cells::{CellError, Number, Numbers};

/// Converts numbers, and lists of them, between the types of the interface and those of shared memory.
macro_rules! conversions {
    ($($to:ident = $of:ident)*) => {
        fn from_guest(number: wit::Number) -> Number {
            match number {
                $(wit::Number::$of(number) => Number::$to(number),)*
            }
        }

        fn to_guest(number: Number) -> wit::Number {
            match number {
                $(Number::$to(number) => wit::Number::$of(number),)*
            }
        }

        fn all_from_guest(numbers: wit::Numbers) -> Numbers {
            match numbers {
                $(wit::Numbers::$of(numbers) => Numbers::$to(numbers),)*
            }
        }

        fn all_to_guest(numbers: Numbers) -> wit::Numbers {
            match numbers {
                $(Numbers::$to(numbers) => wit::Numbers::$of(numbers),)*
            }
        }
    };
}

conversions! {
    S8 = S8 U8 = U8 S16 = S16 U16 = U16 S32 = S32 U32 = U32 S64 = S64 U64 = U64 F32 = F32 F64 = F64
    Bool = Boolean Char = Character
}

impl Host for InstanceObjects {}

impl HostValue for InstanceObjects {
    fn open(&mut self, name: String) -> Result<Resource<Value>, Refusal> {
        InstanceObjects::open(self, &name, ObjectKind::Value).map(Resource::new_own)
    }

    fn load(&mut self, value: Resource<Value>) -> Result<wit::Number, Refusal> {
        self.number(value.rep(), |cells| cells.load(0))
    }

    fn store(&mut self, value: Resource<Value>, number: wit::Number) -> Result<(), Refusal> {
        self.cells(value.rep(), |cells| cells.store(0, from_guest(number)))
    }

    fn add(&mut self, value: Resource<Value>, number: wit::Number) -> Result<wit::Number, Refusal> {
        self.number(value.rep(), |cells| cells.add(0, from_guest(number)))
    }

    fn min(&mut self, value: Resource<Value>, number: wit::Number) -> Result<wit::Number, Refusal> {
        self.number(value.rep(), |cells| cells.min(0, from_guest(number)))
    }

    fn max(&mut self, value: Resource<Value>, number: wit::Number) -> Result<wit::Number, Refusal> {
        self.number(value.rep(), |cells| cells.max(0, from_guest(number)))
    }

    fn compare_exchange(
        &mut self,
        value: Resource<Value>,
        expected: wit::Number,
        replacement: wit::Number,
    ) -> Result<wit::Number, Refusal> {
        self.number(value.rep(), |cells| cells.compare_exchange(0, from_guest(expected), from_guest(replacement)))
    }

    plain_drop!(Value);
}

impl HostArray for InstanceObjects {
    fn open(&mut self, name: String) -> Result<Resource<Array>, Refusal> {
        InstanceObjects::open(self, &name, ObjectKind::Array).map(Resource::new_own)
    }

    fn length(&mut self, array: Resource<Array>) -> wasmtime::Result<u32> {
        self.call(0)?;
        self.length_of(array.rep())
    }

    fn load(&mut self, array: Resource<Array>, index: u32) -> Result<wit::Number, Refusal> {
        self.number(array.rep(), |cells| cells.load(index))
    }

    fn store(&mut self, array: Resource<Array>, index: u32, number: wit::Number) -> Result<(), Refusal> {
        self.cells(array.rep(), |cells| cells.store(index, from_guest(number)))
    }

    fn add(&mut self, array: Resource<Array>, index: u32, number: wit::Number) -> Result<wit::Number, Refusal> {
        self.number(array.rep(), |cells| cells.add(index, from_guest(number)))
    }

    fn min(&mut self, array: Resource<Array>, index: u32, number: wit::Number) -> Result<wit::Number, Refusal> {
        self.number(array.rep(), |cells| cells.min(index, from_guest(number)))
    }

    fn max(&mut self, array: Resource<Array>, index: u32, number: wit::Number) -> Result<wit::Number, Refusal> {
        self.number(array.rep(), |cells| cells.max(index, from_guest(number)))
    }

    fn compare_exchange(
        &mut self,
        array: Resource<Array>,
        index: u32,
        expected: wit::Number,
        replacement: wit::Number,
    ) -> Result<wit::Number, Refusal> {
        let (expected, replacement) = (from_guest(expected), from_guest(replacement));
        self.number(array.rep(), |cells| cells.compare_exchange(index, expected, replacement))
    }

    fn read(&mut self, array: Resource<Array>, start: u32, count: u32) -> Result<wit::Numbers, Refusal> {
        // What there is to read is known before it is copied.
        self.returns(count.min(self.length_of(array.rep())?) as usize * WIDEST)?;
        self.cells(array.rep(), |cells| cells.read(start, count)).map(all_to_guest)
    }

    fn write(&mut self, array: Resource<Array>, start: u32, numbers: wit::Numbers) -> Result<(), Refusal> {
        let numbers = all_from_guest(numbers);
        self.returns(numbers.len() * WIDEST)?;
        self.cells(array.rep(), |cells| cells.write(start, &numbers))
    }

    plain_drop!(Array);
}

/// Number of bytes that an element of an array counts.
const WIDEST: usize = 8;

impl InstanceObjects {
    fn length_of(&self, place: u32) -> wasmtime::Result<u32> {
        self.shared.with_cells(place, |cells| cells.len()).ok_or_else(never_granted)
    }

    fn number(
        &mut self,
        place: u32,
        access: impl FnOnce(CellAccess<'_>) -> Result<Number, CellError>,
    ) -> Result<wit::Number, Refusal> {
        self.cells(place, access).map(to_guest)
    }

    fn cells<R>(
        &mut self,
        place: u32,
        access: impl FnOnce(CellAccess<'_>) -> Result<R, CellError>,
    ) -> Result<R, Refusal> {
        self.call(0)?;
        self.shared.with_cells(place, access).ok_or_else(never_granted)?.map_err(|error| self.refused(place, error))
    }

    #[cold]
    pub(super) fn refused(&self, place: u32, error: CellError) -> Refusal {
        let grant = match self.shared.grant(place) {
            Ok(grant) => grant,
            Err(error) => return error.into(),
        };
        let name = QuotedName::of(&grant.spec.name);
        let error = match error {
            CellError::Index { .. } | CellError::Range { .. } => Error::OutOfRange(format!("{name}: {error}")),
            CellError::WrongType { is, given } => wrong_type(name, is, given),
            CellError::DoesNotFit { is, number } => {
                Error::Invalid(format!("{name} holds {}, and {number} is none", type_name(is)))
            }
            CellError::ReadOnly => Error::Denied(without_writing(&grant.spec.name)),
            CellError::NoArithmetic(of) => {
                Error::Invalid(format!("{name} holds {}, which is no number to compute with", type_name(of)))
            }
            CellError::Garbage { .. } => Error::Invalid(format!("{name}: {error}")),
            CellError::Lost => Error::Lost,
        };
        if let Error::OutOfRange(why) | Error::WrongKind(why) | Error::Invalid(why) | Error::Denied(why) = &error {
            self.refused.set(Some(Box::new(RefusedCall::new(&grant.spec.name, why).of_numbers())));
        }
        error.into()
    }
}

#[cold]
fn never_granted() -> wasmtime::Error {
    wasmtime::Error::msg("the task has a handle of numbers that it was never granted")
}
