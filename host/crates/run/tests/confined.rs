//! What a manager process could do that a participant has taken over: nothing but what it does all the time. Each probe is
//! tried in a real one, in its sandbox.
//!
//! The binary of the tests is the manager's as well: started as one, it never reaches the tests.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::exit;

use wasmpool_core::policy::SandboxMode;
use wasmpool_core::probe::{Probe, ProbeOutcome, ProbeTargets};
use wasmpool_run::shared::probe;
use wasmpool_run::spawn::{ChildRole, MARK};
use wasmpool_sandbox::probes::list::all;

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

#[test]
fn a_manager_that_was_taken_over_reaches_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let abstract_socket = format!("wasmpool-confined-{}", std::process::id());
    let _unix = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&abstract_socket).unwrap()).unwrap();
    let targets = ProbeTargets {
        host: std::process::id().cast_signed(),
        sibling: std::process::id().cast_signed(),
        port: listener.local_addr().unwrap().port(),
        abstract_socket,
        directory: directory.path().display().to_string(),
    };
    let mut failed = Vec::new();
    for attempt in all() {
        std::fs::write(directory.path().join("victim"), "").unwrap();
        let asked = Probe { name: attempt.name.to_owned(), targets: targets.clone(), ..Probe::default() };
        match probe(asked, SandboxMode::Strict).unwrap() {
            Ok(ProbeOutcome::Refused(_)) => {}
            Err(end) if end.to_string().contains("SIGSYS") => {}
            other => failed.push((attempt.name, other)),
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
    // Without its sandbox, the process reaches what the others are refused.
    let asked = Probe { name: "become traceable".to_owned(), targets, ..Probe::default() };
    assert!(matches!(probe(asked, SandboxMode::Off).unwrap(), Ok(ProbeOutcome::Succeeded)));
}
