//! `wasmpool call`: one call, its result printed as JSON.

use crate::support::guest::{Task, built, wat};
use crate::support::run::{Output, wasmpool};
use crate::support::wat::{SPIN_IF_NEGATIVE, SQUARE, interfaces, minus, no_parameter};

fn call(task: &Task, args: &[&str]) -> Output {
    wasmpool().arg("call").task(task).args(args).run()
}

#[track_caller]
fn prints(task: &Task, args: &[&str], wanted: &str) {
    assert_eq!(call(task, args).exits(0).text(), wanted, "with {args:?}");
}

#[test]
fn a_result_is_printed_as_json() {
    prints(&wat(SQUARE), &["square", "7"], "49\n");
    prints(&wat(interfaces()), &["two/apply", "7"], "-7\n");
    let identity = built("identity");
    prints(&identity, &["echo-string", "\"a\\nb\""], "\"a\\nb\"\n");
    prints(&identity, &["echo-u64", "18446744073709551615"], "18446744073709551615\n");
}

#[test]
fn each_argument_is_a_parameter() {
    prints(&wat(minus()), &["minus", "10", "3"], "7\n");
    prints(&built("identity"), &["echo-pair", "\"a\"", "-1"], "[\"a\",-1]\n");
    prints(&wat(no_parameter()), &["counted"], "1\n");
}

#[test]
fn a_negative_number_is_an_argument_not_an_option() {
    prints(&wat(SQUARE), &["square", "-7"], "49\n");
}

#[test]
fn a_call_does_not_touch_standard_input() {
    // Standard input stays open for as long as the call runs.
    let task = wat(SQUARE);
    let mut host = wasmpool().arg("call").task(&task).args(["square", "7"]).start();
    assert_eq!(host.line().as_deref(), Some("49"));
    assert_eq!(host.line(), None);
    assert_eq!(host.code(), 0);
}

#[test]
fn a_call_that_fails_says_why_and_exits_with_1() {
    let misbehave = built("misbehave");
    for (item, named) in
        [("\"err:the dog ate it\"", "the dog ate it"), ("\"trap\"", "unreachable"), ("\"panic\"", "panic")]
    {
        let output = call(&misbehave, &["act", item]).exits(1);
        assert_eq!(output.text(), "");
        assert!(output.stderr.contains(named), "{}", output.stderr);
    }
}

#[test]
fn a_call_has_the_limits_of_an_item() {
    let task = wat(SPIN_IF_NEGATIVE);
    let output = wasmpool().args(["call", "--timeout", "100ms"]).task(&task).args(["go", "-1"]).run().exits(1);
    assert!(output.stderr.contains("time"), "{}", output.stderr);
}

#[test]
fn a_call_that_makes_no_sense_is_refused() {
    let square = wat(SQUARE);
    for (args, named) in [
        (&["squre", "1"][..], "square"),
        (&["square", "nonsense"], "nonsense"),
        (&["square"], "takes 1 argument, and none is given"),
    ] {
        let output = call(&square, args);
        assert!(matches!(output.code, 1 | 2), "{args:?}: {}", output.code);
        assert_eq!(output.text(), "");
        assert!(output.stderr.contains(named), "{}", output.stderr);
    }
    let output = wasmpool().args(["call", "/nowhere/task.wasm", "f"]).run().exits(2);
    assert!(output.stderr.contains("/nowhere/task.wasm"));
}
