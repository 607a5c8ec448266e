//! The items, which are read before the clock starts.

use std::path::Path;

use wasmtime::{Error, Result};

#[derive(Clone, Copy, Debug)]
pub enum Item {
    Integer(i64),
    Bytes(&'static [u8]),
}

/// Reads the items of a file: integers on a line each, or bytes that end with a NUL.
pub fn read(path: &Path, bytes: bool) -> Result<Vec<Item>> {
    if bytes {
        // Items live as long as the program, so a call can borrow them, as a worker's call borrows from shared memory.
        let all: &'static [u8] = std::fs::read(path)?.leak();
        let ended = all.strip_suffix(&[0]).ok_or_else(|| Error::msg("the last item does not end with a NUL"))?;
        return Ok(ended.split(|byte| *byte == 0).map(Item::Bytes).collect());
    }
    let integer = |line: &str| match line.parse() {
        Ok(integer) => Ok(Item::Integer(integer)),
        Err(e) => Err(Error::msg(format!("{line:?} is no item: {e}"))),
    };
    std::fs::read_to_string(path)?.lines().map(integer).collect()
}
