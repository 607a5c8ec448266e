//! Wrong use: one clear message on standard error, exit code 2, and nothing runs.

use tempfile::TempDir;

use crate::support::guest::{built, file, wat};
use crate::support::run::{Run, map, wasmpool};
use crate::support::wat::{
    FOREIGN_COMPONENT, FOREIGN_MODULE, RESOURCE, SQUARE, SQUARE_BINARY, component, initialised, interfaces, lift, minus,
};

/// Checks that a run is refused with a message that contains each of these.
#[track_caller]
fn refused(run: Run, names: &[&str]) {
    let output = run.input("1\n2\n").run().exits(2);
    assert_eq!(output.text(), "", "nothing ran");
    let message = &output.stderr;
    assert!(!message.trim().is_empty(), "a silent refusal");
    for clutter in ["panicked", "RUST_BACKTRACE", "stack backtrace"] {
        assert!(!message.contains(clutter), "{message}");
    }
    for name in names {
        assert!(message.contains(name), "{name} is not in: {message}");
    }
    let errors = message.matches("error:").count();
    assert!(errors <= 1, "more than one message: {message}");
}

#[test]
fn a_task_that_is_missing() {
    refused(wasmpool().args(["map", "/nowhere/task.wasm"]), &["/nowhere/task.wasm"]);
}

#[test]
fn a_task_that_is_a_folder() {
    let folder = TempDir::new().expect("a temporary directory");
    refused(wasmpool().arg("map").arg(folder.path()), &[&folder.path().display().to_string()]);
}

#[test]
fn a_task_that_is_truncated() {
    for end in [0, 3, 8, 20, 42] {
        let task = file("short.wasm", &SQUARE_BINARY[..end]);
        refused(map(&task), &[]);
    }
    let whole = std::fs::read(built("square").path()).expect("the guest is built");
    let task = file("half.wasm", &whole[..whole.len() / 2]);
    refused(map(&task), &["half.wasm"]);
}

#[test]
fn a_task_that_is_not_wasm() {
    refused(map(&file("task.wasm", b"#!/bin/sh\nexit\n")), &["task.wasm"]);
    refused(map(&file("task.wat", b"(module (func $f)")), &[]);
    refused(map(&file("task.wasm", &[0xff; 4096])), &[]);
}

#[test]
fn a_task_that_is_wasm_and_invalid() {
    let text = r#"(module (func (export "f") (param i64) (result i64) (i32.const 1)))"#;
    refused(map(&wat(text)), &[]);
}

#[test]
fn a_task_that_exports_no_function() {
    refused(map(&wat("(module (memory (export \"memory\") 1))")), &[]);
    refused(map(&wat("(module)")), &[]);
}

#[test]
fn a_function_that_does_not_exist_near_one_that_does() {
    refused(map(&wat(SQUARE)).args(["-f", "squre"]), &["squre", "square"]);
    refused(map(&built("identity")).args(["-f", "echo-strng"]), &["echo-string"]);
    refused(map(&wat(interfaces())).args(["-f", "one/aply"]), &["apply"]);
}

#[test]
fn a_function_that_does_not_exist_near_none() {
    refused(map(&wat(SQUARE)).args(["-f", "completely-else"]), &["completely-else"]);
}

#[test]
fn a_function_with_a_resource_parameter() {
    refused(map(&wat(RESOURCE)), &["take", "resource"]);
    refused(map(&wat(RESOURCE)).args(["-f", "take"]), &["take", "resource"]);
}

#[test]
fn two_functions_and_none_named() {
    let task = wat(component(
        r#"
    (func (export "double") (param i64) (result i64) (local.get 0))
    (func (export "halve") (param i64) (result i64) (local.get 0))"#,
        &[lift("double", r#"(param "x" s64) (result s64)"#), lift("halve", r#"(param "x" s64) (result s64)"#)],
    ));
    refused(map(&task), &["double", "halve"]);
    let task = wat(r#"(module
             (func (export "double") (param i64) (result i64) (local.get 0))
             (func (export "halve") (param i64) (result i64) (local.get 0)))"#);
    refused(map(&task), &["double", "halve"]);
}

#[test]
fn an_import_that_nothing_provides() {
    refused(map(&wat(FOREIGN_COMPONENT)), &["acme:store/keys"]);
    refused(map(&wat(FOREIGN_MODULE)), &["environs", "magic"]);
}

#[test]
fn an_argument_that_is_not_json() {
    refused(map(&wat(minus())).args(["--arg", "take=three"]), &["take"]);
    refused(map(&wat(minus())).args(["--arg", "take"]), &["take"]);
    refused(map(&wat(minus())).args(["--arg", "take="]), &["take"]);
}

#[test]
fn an_argument_of_another_type() {
    refused(map(&wat(minus())).args(["--arg", "take=\"3\""]), &["take", "s64"]);
}

#[test]
fn an_argument_for_a_parameter_that_is_not_there() {
    refused(map(&wat(minus())).args(["--arg", "tkae=3"]), &["tkae", "take"]);
}

#[test]
fn an_argument_given_twice() {
    let twice = ["--arg", "take=3", "--arg", "take=4"];
    refused(map(&wat(minus())).args(twice), &["take"]);
}

#[test]
fn an_init_argument_that_is_not_json() {
    refused(map(&wat(initialised())).args(["--init", "{"]), &["init"]);
}

#[test]
fn a_batch_of_a_function_that_takes_no_list() {
    refused(map(&wat(SQUARE)).arg("--batch"), &["batch"]);
}

#[test]
fn values_that_options_do_not_take() {
    for [option, value] in [
        ["--isolate", "sometimes"],
        ["--output-format", "xml"],
        ["--input-format", "xml"],
        ["--delimiter", "comma"],
        ["--timeout", "soon"],
        ["--timeout", "-1s"],
        ["--memory", "plenty"],
        ["--memory", "12XiB"],
        ["--max-output", "-1"],
        ["--fuel", "full"],
        ["--workers", "0"],
        ["--workers", "many"],
        ["--chunk-size", "0"],
        ["--chunk-size", "few"],
    ] {
        refused(map(&wat(SQUARE)).arg(format!("{option}={value}")), &[value]);
    }
}

#[test]
fn options_and_commands_that_are_not_there() {
    refused(map(&wat(SQUARE)).arg("--parallel"), &["--parallel"]);
    refused(wasmpool().arg("mapp"), &["mapp", "map"]);
    refused(wasmpool().arg("map"), &["TASK"]);
}

#[test]
fn an_input_that_cannot_be_read() {
    let task = wat(SQUARE);
    refused(map(&task).arg("/nowhere/items"), &["/nowhere/items"]);
    let folder = TempDir::new().expect("a temporary directory");
    refused(map(&task).arg(folder.path()), &[&folder.path().display().to_string()]);
    // Not even the first of the files is mapped.
    let good = folder.path().join("good");
    std::fs::write(&good, "1\n").expect("written");
    refused(map(&task).arg(&good).arg("/nowhere/items"), &["/nowhere/items"]);
}

#[test]
fn a_wrong_option_set_by_the_environment() {
    let run = map(&wat(SQUARE)).env("WASMPOOL_TIMEOUT", "soon");
    refused(run, &["soon"]);
}
