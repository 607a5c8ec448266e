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

/// Instance that is added to the exports of a component, and its functions: those for the global variables of all core
/// instances, and one for each memory, which returns the whole memory as a list.
pub const INSTANCE: &str = "wasmpool-restore";
pub const SAVE_ALL: &str = "save";
pub const RESTORE_ALL: &str = "restore";
/// The same for comparing, of the core instance at a place among those that have words.
pub const LOOK_AT: &str = "look";

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

/// Returns the name of a component's function that returns a memory as a list.
pub fn whole_of_component(at: u32) -> String {
    format!("memory{at}")
}

/// Returns true if the export of a core module was added.
pub fn is_added(name: &str) -> bool {
    name.starts_with(PREFIX)
}
