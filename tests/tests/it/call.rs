//! `wasmpool call`: one call, its result printed as JSON.

use std::path::Path;

use crate::support::guest::{built, wat};
use crate::support::run::{Output, wasmpool};
use crate::support::wat::{SPIN_IF_NEGATIVE, SQUARE, interfaces, minus, no_parameter};

fn call(task: &Path, args: &[&str]) -> Output {
    wasmpool().arg("call").arg(task).args(args).run()
}

#[track_caller]
fn prints(task: &Path, args: &[&str], wanted: &str) {
    assert_eq!(call(task, args).exits(0).text(), wanted, "with {args:?}");
}

#[test]
fn a_result_is_printed_as_json() {
    prints(wat(SQUARE).path(), &["square", "7"], "49\n");
    prints(wat(interfaces()).path(), &["two/apply", "7"], "-7\n");
    let identity = built("identity");
    prints(
        identity.path(),
        &["echo-string", "\"a\\nb\""],
        "\"a\\nb\"\n",
    );
    prints(
        identity.path(),
        &["echo-u64", "18446744073709551615"],
        "18446744073709551615\n",
    );
}

#[test]
fn each_argument_is_a_parameter() {
    prints(wat(minus()).path(), &["minus", "10", "3"], "7\n");
    prints(
        built("identity").path(),
        &["echo-pair", "\"a\"", "-1"],
        "[\"a\",-1]\n",
    );
    prints(wat(no_parameter()).path(), &["counted"], "1\n");
}

#[test]
fn a_negative_number_is_an_argument_not_an_option() {
    prints(wat(SQUARE).path(), &["square", "-7"], "49\n");
}

#[test]
fn a_call_does_not_touch_standard_input() {
    // Which stays open here for as long as the call runs.
    let task = wat(SQUARE);
    let mut host = wasmpool()
        .arg("call")
        .arg(task.path())
        .args(["square", "7"])
        .start();
    assert_eq!(host.line().as_deref(), Some("49"));
    assert_eq!(host.line(), None);
    assert_eq!(host.code(), 0);
}

#[test]
fn a_call_that_fails_says_why_and_exits_with_1() {
    let misbehave = built("misbehave");
    for (item, named) in [
        ("\"err:the dog ate it\"", "the dog ate it"),
        ("\"trap\"", "unreachable"),
        ("\"panic\"", "panic"),
    ] {
        let output = call(misbehave.path(), &["act", item]).exits(1);
        assert_eq!(output.text(), "");
        assert!(output.stderr.contains(named), "{}", output.stderr);
    }
}

#[test]
fn a_call_has_the_limits_of_an_item() {
    let task = wat(SPIN_IF_NEGATIVE);
    let output = wasmpool()
        .args(["call", "--timeout", "100ms"])
        .arg(task.path())
        .args(["go", "-1"])
        .run()
        .exits(1);
    assert!(output.stderr.contains("time"), "{}", output.stderr);
}

#[test]
fn a_call_that_makes_no_sense_is_refused() {
    let square = wat(SQUARE);
    for (args, named) in [
        (&["squre", "1"][..], "square"),
        (&["square", "nonsense"], "nonsense"),
        (&["square"], "square"),
    ] {
        let output = call(square.path(), args);
        assert!(matches!(output.code, 1 | 2), "{args:?}: {}", output.code);
        assert_eq!(output.text(), "");
        assert!(output.stderr.contains(named), "{}", output.stderr);
    }
    let output = call(Path::new("/nowhere/task.wasm"), &["f"]).exits(2);
    assert!(output.stderr.contains("/nowhere/task.wasm"));
}
