//! What a task can import, but for shared objects, and the state of an instance beside its memory: WASI with what was
//! granted, what calls of the host cost, and what was asked for and not granted.
//!
//! A call that an item makes of the host passes through here; the call of the item itself does not. So an installed program
//! has this crate optimised for size: each of the hundreds of functions that can be imported is a copy of the runtime's code
//! for the types of its parameters and results.

pub mod charges;
pub mod command;
mod concurrent;
pub mod denied;
pub mod deterministic;
mod directory;
mod file_numbers;
mod keyvalue;
pub mod link;
pub mod meter;
pub mod piped;
mod random_bytes;
mod relay;
mod said;
mod settings;
pub mod state;
pub mod toolchain;
mod used_up;
pub mod wasi;

/// Blocks on a future, in the runtime that a worker has if its task may wait.
pub fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Handle::current().block_on(future)
}
