//! The process that keeps shared objects, and the host's side of it: a real manager process, and participants in the
//! process of the test, which can also do what no honest worker does.
//!
//! No test sleeps to synchronise: a test waits for what it needs.

//!
//! The binary of the tests is the manager's as well: started as one, it never reaches the tests.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contents;
mod ends;
mod fast;
mod host;
mod hostile;
mod lent;
mod many;
mod support;

use std::process::exit;

use wasmpool_run::spawn::{ChildRole, MARK};

/// Turns this process into a manager if it was started as one. The tests have no `main` of their own.
#[used]
// SAFETY: the section holds functions that take nothing, or what `main` takes, and return nothing. This function takes
// and returns nothing. The standard library needs no more than the arguments, which it notes in an earlier section.
#[unsafe(link_section = ".init_array")]
static ENTER: extern "C" fn() = enter;

extern "C" fn enter() {
    let mut arguments = std::env::args();
    if arguments.next().is_none_or(|mark| mark != MARK) {
        return;
    }
    assert_eq!(arguments.next().as_deref(), Some(ChildRole::Manager.name()));
    let socket = wasmpool_sandbox::own_socket(arguments.next().as_deref()).unwrap();
    wasmpool_manager::run(socket);
    exit(0);
}
