//! Values and arrays: memory that participants map.

use std::io;
use std::os::fd::OwnedFd;

use wasmpool_core::share::{NumberType, ObjectForm, ObjectRights, ObjectSpec};
use wasmpool_ipc::cells::{self, Cells};

/// The memory of one value or array.
pub struct MappedObject {
    memory: OwnedFd,
    readable: OwnedFd,
    cells: Cells,
}

impl MappedObject {
    pub fn create(spec: &ObjectSpec) -> io::Result<MappedObject> {
        let (of, len) = shape(&spec.form);
        let memory = cells::create(of, len)?;
        let readable = cells::read_only(&memory)?;
        let cells = Cells::open(&memory, of, len)?;
        Ok(MappedObject { memory, readable, cells })
    }

    pub fn cells(&self) -> &Cells {
        &self.cells
    }

    /// Returns the size in bytes.
    pub fn bytes(&self) -> u64 {
        u64::from(self.cells.len()) * cells::width(self.cells.number_type()) as u64
    }

    /// Returns a descriptor for a participant with these rights. Who may not write gets one that cannot be mapped for
    /// writing.
    pub fn descriptor(&self, rights: ObjectRights) -> io::Result<OwnedFd> {
        if rights.second { self.memory.try_clone() } else { self.readable.try_clone() }
    }
}

/// Returns the type and the number of the elements.
pub fn shape(form: &ObjectForm) -> (NumberType, u32) {
    match form {
        ObjectForm::Array(of, len) => (*of, *len),
        ObjectForm::Value(of) => (*of, 1),
        // No other object is mapped.
        _ => (NumberType::U8, 0),
    }
}
