//! Looks at the errors of calls that take paths. A guest is told that it has used up the descriptors of its process, which
//! WASI's implementation calls an I/O error, so that a guest would take it for a broken disk. And it is noted that the guest
//! looked for something in a directory that it was granted.

use std::io;

use rustix::io::{Errno, fcntl_dupfd_cloexec};
use wasmtime::component::Accessor;
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

use super::state::StoreState;

/// The error codes of WASI 0.3.
mod p3 {
    pub use wasmtime_wasi::p3::bindings::filesystem::types::ErrorCode;
}

/// Error codes of preview 1 and its predecessor.
const IO: i32 = 29;
const TOO_MANY_FILES: i32 = 33;

/// Returns the code that the guest receives for an error of preview 1.
pub fn preview1(state: &StoreState, code: i32) -> i32 {
    state.note_missing();
    if code == IO && of_process(state) { TOO_MANY_FILES } else { code }
}

/// Returns the error that the guest receives for one of WASI 0.2, which has no code for this case alone.
pub fn preview2(state: &StoreState, code: ErrorCode) -> ErrorCode {
    state.note_missing();
    if matches!(code, ErrorCode::Io) && of_process(state) { ErrorCode::InsufficientMemory } else { code }
}

/// Returns the error that the guest receives for one of WASI 0.3.
pub fn preview3(accessor: &Accessor<StoreState>, code: p3::ErrorCode) -> p3::ErrorCode {
    accessor.with(|mut access| access.data_mut().note_missing());
    let is_used_up = || accessor.with(|mut access| of_process(access.data_mut()));
    if matches!(code, p3::ErrorCode::Io) && is_used_up() { p3::ErrorCode::InsufficientMemory } else { code }
}

/// Returns true if this process, whose guest may open files, can open no more.
fn of_process(state: &StoreState) -> bool {
    // The sandbox lets no other ask for a second descriptor.
    if !state.grants().opens_files() {
        return false;
    }
    matches!(fcntl_dupfd_cloexec(io::stdin(), 0), Err(Errno::MFILE))
}
