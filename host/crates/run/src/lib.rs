//! The host's side of a run: starts and supervises child processes, reads input, writes results, and keeps a journal.

#[macro_use]
pub mod stdio;

pub mod allocator;
pub mod aside;
pub mod cgroup;
pub mod clock;
pub mod column_error;
pub mod compile;
pub mod descriptors;
pub mod error;
pub mod fresh;
pub mod grants;
pub mod hashed;
pub mod input;
pub mod journal;
pub mod links;
pub mod locked;
pub mod object_error;
pub mod output;
pub mod place;
pub mod rendered;
pub mod resume;
pub mod scarce;
pub mod shared;
pub mod spawn;
pub mod supervisor;
