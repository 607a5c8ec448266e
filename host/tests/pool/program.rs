//! The choice of the worker binary.

use std::env;
use std::os::unix::process::CommandExt;

use wasmpool::{Error, Pool};

use crate::support::{INNER, SQUARES, again, beside_others};

fn refused(built: Result<Pool, Error>) -> String {
    match built {
        Err(Error::WorkerBinary(why)) => why.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_binary_that_is_no_worker_is_refused() {
    let _beside = beside_others();
    let with = |path: &str| refused(Pool::builder(SQUARES).worker_binary(path).build());
    assert!(with("/bin/true").contains("/bin/true does not answer as a worker"));
    assert!(with("/nowhere/at/all").contains("/nowhere/at/all cannot be opened"));
    assert!(with("/etc/passwd").contains("/etc/passwd cannot be started"));
}

#[test]
fn a_program_without_a_worker_entry_is_refused_and_not_started_for_ever() {
    let _beside = beside_others();
    // This harness does not call `worker_entry`.
    let own = env::current_exe().unwrap();
    let message = refused(Pool::builder(SQUARES).worker_binary(own).build());
    assert!(message.contains("worker_entry()"), "{message}");
}

#[test]
fn a_process_that_was_started_as_a_worker_builds_no_pool() {
    if env::var_os(INNER).is_none() {
        let _beside = beside_others();
        let test = "program::a_process_that_was_started_as_a_worker_builds_no_pool";
        return again(test, |command| {
            command.arg0("wasmpool-child");
        });
    }
    let message = refused(Pool::builder(SQUARES).worker_binary(env!("CARGO_BIN_EXE_wasmpool")).build());
    assert!(message.contains("started as a worker"), "{message}");
}

#[test]
fn no_worker_binary_is_a_clear_error() {
    if env::var_os(INNER).is_none() {
        let _beside = beside_others();
        return again("program::no_worker_binary_is_a_clear_error", |command| {
            command.env_remove("WASMPOOL_WORKER_BINARY").env("PATH", "/nowhere");
        });
    }
    let message = refused(Pool::builder(SQUARES).build());
    for way_out in ["worker_entry()", "worker_binary", "WASMPOOL_WORKER_BINARY", "install"] {
        assert!(message.contains(way_out), "{message}");
    }
}

#[test]
fn an_installed_command_of_the_same_version_is_found() {
    if env::var_os(INNER).is_none() {
        let _beside = beside_others();
        let folder = std::path::Path::new(env!("CARGO_BIN_EXE_wasmpool")).parent().unwrap();
        return again("program::an_installed_command_of_the_same_version_is_found", |command| {
            command.env_remove("WASMPOOL_WORKER_BINARY").env("PATH", folder);
        });
    }
    assert_eq!(Pool::builder(SQUARES).build().unwrap().apply::<_, i64>(3).unwrap(), 9);
}
