//! Whether a file is a task, for whoever is given one in place of something else.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::exit::Stop;
use wasmpool_core::text::ForeignText;

/// The first bytes of a task, unless it is written as text.
const WASM: [u8; 4] = *b"\0asm";

/// Returns true for a name as tasks have it, whether or not there is such a file.
pub fn is_named_as_task(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "wasm" || ending == "wat")
}

/// Returns true for a file that is probably a task, by its name or its first bytes. Of a pipe nothing is read, since that would
/// be missing later.
pub fn is_task_file(path: &Path) -> bool {
    let mut start = [0; WASM.len()];
    path.is_file()
        && (is_named_as_task(path)
            || File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == WASM)
}

/// Returns true for the name of a task, whether or not there is such a file, and for a file that is probably one.
pub fn is_task(path: &Path) -> bool {
    is_named_as_task(path) || is_task_file(path)
}

/// Returns an error if a file is a task, where a command `takes` something else.
pub fn refuse_task(path: &Path, takes: &str) -> Result<(), Stop> {
    match is_task_file(path) {
        true => Err(Stop::from(format!("{} is a task, and {takes}", ForeignText::of(path)))),
        false => Ok(()),
    }
}
