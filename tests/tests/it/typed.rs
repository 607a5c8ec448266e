//! What a person types for `--arg` and as arguments of `call`: JSON of the parameter's type, or a text as it is.

use crate::support::guest::{Task, built, wat};
use crate::support::run::{Run, map, wasmpool};
use crate::support::wat::{SQUARE, minus};

fn call(task: &Task, words: &[&str]) -> Run {
    wasmpool().arg("call").task(task).args(words)
}

#[track_caller]
fn refused(run: Run, names: &[&str]) {
    let output = run.input("1\n").run().exits(2);
    assert_eq!(output.text(), "", "nothing ran");
    assert!(names.iter().all(|name| output.stderr.contains(name)), "{names:?} is not in: {}", output.stderr);
}

#[test]
fn a_text_needs_no_quotes() {
    let task = built("identity");
    for (text, value) in [
        ("hello", "\"hello\""),
        ("two words", "\"two words\""),
        ("12", "\"12\""),
        ("true", "\"true\""),
        ("null", "\"null\""),
        ("{\"a\": 1}", "\"{\\\"a\\\": 1}\""),
        ("\"quoted\"", "\"quoted\""),
        ("\"open", "\"\\\"open\""),
        ("", "\"\""),
        ("grün", "\"grün\""),
    ] {
        let output = call(&task, &["echo-string", text]).run().exits(0);
        assert_eq!(output.text().trim_end(), value, "{text}");
    }
    assert_eq!(call(&task, &["echo-char", "x"]).run().exits(0).text(), "\"x\"\n");
    assert_eq!(call(&task, &["echo-char", "7"]).run().exits(0).text(), "\"7\"\n");
}

#[test]
fn what_is_json_of_the_type_is_that() {
    let task = built("identity");
    for (function, text, value) in [
        ("echo-option", "null", "null"),
        ("echo-option", "none", "\"none\""),
        ("echo-option", "\"null\"", "\"null\""),
        ("echo-s64", "-7", "-7"),
        ("echo-bytes", "[104,105]", "\"aGk=\""),
        ("echo-list-string", "[\"a\"]", "[\"a\"]"),
    ] {
        let output = call(&task, &[function, text]).run().exits(0);
        assert_eq!(output.text().trim_end(), value, "{function} {text}");
    }
}

#[test]
fn arguments_in_order_are_read_by_the_types_of_their_parameters() {
    assert_eq!(call(&wat(minus()), &["minus", "10", "3"]).run().exits(0).text(), "7\n");
    assert_eq!(call(&wat(minus()), &["minus", "[10, 3]"]).run().exits(0).text(), "7\n");
    assert_eq!(call(&wat(minus()), &["minus", "{\"take\": 3, \"from\": 10}"]).run().exits(0).text(), "7\n");
    assert_eq!(call(&wat(minus()), &["minus", "--arg", "take=3", "10"]).run().exits(0).text(), "7\n");
    let task = built("identity");
    assert_eq!(call(&task, &["echo-pair", "12", "3"]).run().exits(0).text(), "[\"12\",3]\n");
    assert_eq!(call(&task, &["echo-pair", "3", "--arg", "first-part=hi"]).run().exits(0).text(), "[\"hi\",3]\n");
}

#[test]
fn a_text_where_none_is_taken_is_refused_by_the_name_of_the_parameter() {
    for (run, names) in [
        (call(&wat(SQUARE), &["square", "three"]), &["s64", "three"][..]),
        (call(&wat(SQUARE), &["square", ""]), &["s64", "an empty text"]),
        (call(&wat(minus()), &["minus", "10", "three"]), &[".take", "s64", "three"]),
        (call(&wat(minus()), &["minus", "1", "2", "3"]), &["3 are given"]),
        (map(&wat(minus())).args(["--arg", "take=three"]), &["take", "s64", "three"]),
        (map(&wat(minus())).args(["--arg", "take="]), &["take", "s64"]),
        (map(&wat(minus())).args(["--arg", "take"]), &["--arg", "NAME=JSON"]),
        (map(&wat(minus())).args(["--arg", "=3"]), &["--arg", "NAME=JSON"]),
        (map(&wat(minus())).args(["--arg", "tak=3"]), &["tak", "take"]),
        (map(&wat(minus())).args(["--arg", "take=\"3\""]), &["take", "s64"]),
        (call(&built("identity"), &["echo-bytes", "hi"]), &["base64"]),
    ] {
        refused(run, names);
    }
}

/// The rule is for what a person types; items come from programs.
#[test]
fn items_are_read_strictly() {
    let output = map(&built("identity")).args(["-f", "echo-string"]).input("hello\n12\n").run().exits(1);
    assert_eq!(output.text(), "");
}
