//! The shared objects of the guest SDK, in a task that checks them itself: `guest/fixtures/sdk-shared`.

use crate::support::guest::built;
use crate::support::run::{Output, map, wasmpool};

const SHARED: [&str; 14] = [
    "queue=queue:3",
    "jobs=queue",
    "pipe=pipe:duplex",
    "byte=value:u8",
    "floats=array:f64:4",
    "lock=lock",
    "rlock=rlock",
    "slots=semaphore:2:bounded",
    "event=event",
    "condition=condition",
    "barrier=barrier:1",
    "dict=dict",
    "list=list",
    "names=namespace",
];

/// Runs these checks, one after the other.
#[track_caller]
fn check(checks: &[&str], code: i32) -> Output {
    let shared = SHARED.iter().flat_map(|object| ["--share", object]);
    let run = map(&built("sdk_shared")).args(["-j", "1", "--input-format", "lines", "--output-format", "records"]);
    run.args(shared).input(checks.join("\n")).run().exits(code)
}

#[track_caller]
fn hold(checks: &[&str]) {
    let output = check(checks, 0);
    assert_eq!(output.records().len(), checks.len());
}

#[test]
fn a_queue_of_the_sdk_is_that_of_the_run() {
    hold(&["queue"]);
}

#[test]
fn a_delivery_that_a_panic_drops_is_taken_again() {
    assert_eq!(check(&["take and panic", "take again"], 1).kinds(), ["trap", "ok"]);
}

#[test]
fn a_pipe_of_the_sdk_has_two_ends() {
    hold(&["pipe"]);
}

#[test]
fn numbers_of_the_sdk_have_types() {
    hold(&["numbers"]);
}

#[test]
fn a_guard_releases_when_it_is_dropped() {
    hold(&["locks"]);
}

#[test]
fn a_guard_tells_that_its_last_holder_panicked() {
    assert_eq!(check(&["lock and panic", "lock again"], 1).kinds(), ["trap", "ok"]);
}

#[test]
fn events_and_barriers_of_the_sdk_wait() {
    hold(&["event and barrier"]);
}

#[test]
fn wait_for_asks_at_once_and_has_one_deadline() {
    hold(&["wait for"]);
}

#[test]
fn dicts_lists_and_namespaces_of_the_sdk_hold_bytes_and_json() {
    hold(&["dict", "list", "namespace"]);
}

#[test]
fn an_object_that_was_not_granted_is_an_error_that_names_the_option() {
    hold(&["not granted"]);
}

#[test]
fn a_task_of_the_sdk_that_uses_no_shared_objects_imports_none() {
    let shown = wasmpool().arg("inspect").task(&built("markdown")).run().exits(0);
    assert!(!shown.text().contains("wasmpool:shared"), "{}", shown.text());
    let shown = wasmpool().arg("inspect").task(&built("sdk_shared")).run().exits(0);
    assert!(shown.text().contains("wasmpool:shared"), "{}", shown.text());
}
