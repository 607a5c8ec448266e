//! What a task needs so that its instances can be restored in place: exports of its memories, and functions that save
//! and restore its global variables.
//!
//! An instance consists of memories, global variables, tables and segments. The worker restores memories itself. Tables and
//! segments cannot be restored, so a task whose code may change them is left as it is, and each of its items gets a new
//! instance. The same is true for whatever else may keep something from one call to the next: resources that a
//! component defines, and calls that wait. Handles of what the host has are cleared, where no others can be among them.

mod additions;
mod component;
mod handles;
mod keeping;
mod module;

use std::collections::BTreeSet;

use super::is_component;
use wasmpool_core::artifact::Renewal;

/// A task with what restoring it takes.
pub struct RestorableTask {
    pub wasm: Vec<u8>,
    /// Number of memories.
    pub memories: u32,
    /// Number of functions that restore global variables.
    pub globals: u32,
    /// Number of words by which the global variables and tables of each core instance that has some are compared, for each
    /// function that returns them.
    pub words: Vec<Vec<u32>>,
    /// Number of functions that clear handles: one for each component that may have any.
    pub handles: u32,
    /// Names of exported functions that change no global variable.
    pub keeping: BTreeSet<String>,
}

/// Maximum number of mutable global variables in all modules of a task. A module of CPython has 500, and compiling the functions
/// that save, restore and compare them takes time by the square of their number: a second where there are 5000.
const MOST_GLOBALS: u32 = 2000;
/// Maximum number of core instances in an instance of the task with what is added. A worker's pool has room for as many.
const MOST_INSTANCES: u32 = crate::engine::CORE_INSTANCES;
/// Maximum number of components in it that have functions of their own. Each gets functions that all those around it pass on.
const MOST_CALLERS: u32 = 200;

/// Maximum bytes of the names of functions that change no global variable. The host reads them with the artifact.
const MOST_NAMES: usize = 16 << 10;

impl RestorableTask {
    /// Returns what the host and its workers have to know of it. Names beyond [`MOST_NAMES`] are left out: after calls of
    /// those functions, global variables are restored in vain.
    pub fn renewal(&self) -> Renewal {
        let mut left = MOST_NAMES;
        let fits = |name: &&String| left.checked_sub(name.len()).map(|rest| left = rest).is_some();
        Renewal::InPlace {
            memories: self.memories,
            globals: self.globals,
            words: self.words.clone(),
            handles: self.handles,
            keeping: self.keeping.iter().take_while(fits).cloned().collect(),
        }
    }
}

/// Returns the task with what restoring its instances takes.
///
/// # Errors
///
/// Returns the reason why they cannot be restored.
pub fn restorable(wasm: &[u8]) -> Result<RestorableTask, NotRestorable> {
    match is_component(wasm) {
        true => component::restorable(wasm),
        false => {
            let module = module::restorable(wasm, module::Lists::No)?;
            Ok(RestorableTask {
                memories: module.memories.len() as u32,
                globals: u32::from(module.globals > 0),
                words: Some(vec![module.words]).filter(|_| module.words > 0).into_iter().collect(),
                handles: 0,
                wasm: module.wasm,
                keeping: module.keeping,
            })
        }
    }
}

/// The reason why the instances of a task cannot be restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRestorable {
    #[error("its code may change a table (`{0}`)")]
    ChangesTable(&'static str),
    #[error("its code may drop a segment (`{0}`)")]
    DropsSegment(&'static str),
    #[error("it has a memory {0}")]
    Memory(MemoryMisfit),
    #[error("it has a global variable that refers to something")]
    Reference,
    #[error("it has a table of another kind than of functions")]
    Table,
    #[error("it exports `{0}`, a name that is used for restoring")]
    NameTaken(&'static str),
    #[error("it defines resources")]
    Resources,
    #[error("components in it may pass handles to each other")]
    PassesHandles,
    #[error("it imports or exports core modules, components or values")]
    Modules,
    #[error("it waits, or has functions that do")]
    Waits,
    #[error("it has a start function of its own as a component")]
    Start,
    #[error("it needs more than the plain engine, which is the only one that restores")]
    Features,
    #[error("it has too many global variables, or too many instances within")]
    TooLarge,
    #[error("it cannot be read")]
    Unread,
    /// The task as it is can be compiled.
    #[error("it cannot be compiled with what restoring takes")]
    Invalid,
}

/// The property of a memory because of which it cannot be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryMisfit {
    #[error("that is shared")]
    Shared,
    #[error("of 64 bits")]
    Wide,
    #[error("with pages of another size")]
    PageSize,
    #[error("without a page at the start, which may grow")]
    Empty,
}

impl From<wasmparser::BinaryReaderError> for NotRestorable {
    fn from(_: wasmparser::BinaryReaderError) -> NotRestorable {
        NotRestorable::Unread
    }
}

#[cfg(test)]
mod tests;
