//! Names of what the compile process adds to a task so that its instances can be restored. A task that exports one of
//! these names itself is left as it is.

/// Prefix of everything that is added to a core module.
pub const PREFIX: &str = "wasmpool:restore#";
/// Functions of a core module that save its global variables, and that give them their saved values.
pub const SAVE: &str = "wasmpool:restore#save";
pub const RESTORE: &str = "wasmpool:restore#restore";

/// Function of a core module that returns one word of its global variables and tables, by which a restored instance is
/// compared with a new one. Of an element of a table, it says whether it is null.
pub const LOOK: &str = "wasmpool:restore#look";

/// Instance that is added to the exports of a component, and its functions. There may be several of each kind, with a
/// number behind its name: those for the global variables of all core instances of a component, and one for each memory,
/// which returns the whole memory as a list.
pub const INSTANCE: &str = "wasmpool-restore";
pub const SAVE_ALL: &str = "save";
pub const RESTORE_ALL: &str = "restore";
pub const MEMORY: &str = "memory";
/// The same for comparing, of the core instance at a place among those that have words.
pub const LOOK_AT: &str = "look";

/// Functions of a component that calls others: the one that clears the handles which an item has left, and the one that
/// says which number the next handle gets, or one of those after it.
pub const CLEAR_HANDLES: &str = "clear-handles";
pub const HANDLE_AT: &str = "handle-at";

/// Names of the resources whose handles can be cleared, in the order of their kinds.
const HANDLES: [&str; 9] = [
    "input-stream",
    "output-stream",
    "pollable",
    "error",
    "descriptor",
    "directory-entry-stream",
    "network",
    "tcp-socket",
    "resolve-address-stream",
];
/// Number of bits in which a kind is said.
pub const KIND_BITS: i64 = 4;
pub const KIND_MASK: i64 = (1 << KIND_BITS) - 1;

/// Returns the kind of handles of a resource with this name, which is not 0. `None` if they cannot be cleared.
pub fn kind_of_handle(name: &str) -> Option<u32> {
    HANDLES.iter().position(|handle| *handle == name).map(|at| at as u32 + 1)
}

/// Returns the name under which a core module exports a memory.
pub fn memory(at: u32) -> String {
    format!("{PREFIX}memory{at}")
}

/// Returns the name of a core module's function that returns a memory as a list. It writes the list's place and length
/// into that memory.
pub fn whole(at: u32) -> String {
    format!("{PREFIX}whole{at}")
}

/// Returns the name of a core module's function that puts back what the list's place and length were written over.
pub fn put_back(at: u32) -> String {
    format!("{PREFIX}put-back{at}")
}

/// Returns the name of one of several functions of a component.
pub fn nth(name: &str, nth: u32) -> String {
    format!("{name}{nth}")
}

/// Returns true if the export of a core module was added.
pub fn is_added(name: &str) -> bool {
    name.starts_with(PREFIX)
}
