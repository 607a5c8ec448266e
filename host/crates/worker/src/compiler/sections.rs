//! A module or component as the sections that it consists of.

use wasm_encoder::Encode;
use wasmparser::BinaryReader;

pub const CORE_MODULE: u8 = 1;
pub const COMPONENT: u8 = 4;
/// Number of bytes before the first section.
pub const HEADER: usize = 8;

/// Returns the sections of a module or component: the kind and contents of each. `None` if it cannot be read.
pub fn sections(wasm: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut reader = BinaryReader::new(wasm.get(HEADER..)?, 0);
    let mut sections = Vec::new();
    while !reader.eof() {
        let kind = reader.read_u8().ok()?;
        let length = reader.read_var_u32().ok()?;
        sections.push((kind, reader.read_bytes(length as usize).ok()?));
    }
    Some(sections)
}

/// Entries to be added at the end of a section that is a list.
#[derive(Default)]
pub struct AddedEntries {
    pub count: u32,
    pub bytes: Vec<u8>,
}

impl AddedEntries {
    /// Adds an entry.
    pub fn push(&mut self, entry: &impl Encode) {
        entry.encode(&mut self.bytes);
        self.count += 1;
    }

    /// Returns the contents of the section with these entries at the end, or of a new section if there was none. `None`
    /// if the section cannot be read.
    pub fn behind(&self, section: Option<&[u8]>) -> Option<Vec<u8>> {
        let mut reader = BinaryReader::new(section.unwrap_or(&[0]), 0);
        let count = reader.read_var_u32().ok()?;
        let rest = reader.read_bytes(reader.bytes_remaining()).ok()?;
        let mut out = Vec::new();
        count.checked_add(self.count)?.encode(&mut out);
        out.extend_from_slice(rest);
        out.extend_from_slice(&self.bytes);
        Some(out)
    }
}
