//! A guest that has used up the descriptors of its process is told so. WASI's implementation calls that an I/O error, as
//! which a guest would take it for a broken disk.

use std::io;

use rustix::io::{Errno, fcntl_dupfd_cloexec};
use wasmtime::component::Accessor;
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

use super::state::StoreState;

/// The error codes of WASI 0.3.
mod p3 {
    pub use wasmtime_wasi::p3::bindings::filesystem::types::ErrorCode;
}

/// Error codes of preview 1, and of what was there before it.
const IO: i32 = 29;
const TOO_MANY_FILES: i32 = 33;

/// Returns the code of an error of preview 1 as the guest is told of it.
pub fn preview1(state: &StoreState, code: i32) -> i32 {
    if code == IO && of_process(state) { TOO_MANY_FILES } else { code }
}

/// Returns an error of WASI 0.2 as the guest is told of it, which has no code for this in particular.
pub fn preview2(state: &StoreState, code: ErrorCode) -> ErrorCode {
    if matches!(code, ErrorCode::Io) && of_process(state) { ErrorCode::InsufficientMemory } else { code }
}

/// Returns an error of WASI 0.3 as the guest is told of it.
pub fn preview3(accessor: &Accessor<StoreState>, code: p3::ErrorCode) -> p3::ErrorCode {
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
