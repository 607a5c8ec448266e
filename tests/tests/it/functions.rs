//! The function that a name, or no name, refers to; and the kinds of task.

use crate::support::guest::{Task, file, wat};
use crate::support::run::map;
use crate::support::wat::{SQUARE, SQUARE_BINARY, component, interfaces, lift};

#[track_caller]
fn prints(task: &Task, args: &[&str], input: &str, wanted: &str) {
    let output = map(task).args(args).input(input).run().exits(0);
    assert_eq!(output.text(), wanted, "with {args:?}");
}

#[test]
fn a_core_module_maps_as_text_and_as_binary() {
    prints(&wat(SQUARE), &[], "7\n", "49\n");
    prints(&file("task.wasm", &SQUARE_BINARY), &[], "7\n", "49\n");
}

#[test]
fn what_a_task_is_is_seen_in_its_bytes_not_in_its_name() {
    prints(&file("task", &SQUARE_BINARY), &[], "7\n", "49\n");
}

#[test]
fn every_number_type_of_a_core_module_maps() {
    let task = wat(r#"(module
             (func (export "i32") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
             (func (export "i64") (param i64) (result i64) (i64.add (local.get 0) (i64.const 1)))
             (func (export "f32") (param f32) (result f32) (f32.div (local.get 0) (f32.const 2)))
             (func (export "f64") (param f64) (result f64) (f64.div (local.get 0) (f64.const 2))))"#);
    prints(&task, &["-f", "i32"], "-3\n", "-2\n");
    prints(&task, &["-f", "i64"], "9223372036854775806\n", "9223372036854775807\n");
    prints(&task, &["-f", "f32"], "1\n", "0.5\n");
    prints(&task, &["-f", "f64"], "0.2\n", "0.1\n");
}

#[test]
fn a_function_is_found_by_name() {
    let task = wat(component(
        r#"
    (func (export "double") (param i64) (result i64) (i64.mul (local.get 0) (i64.const 2)))
    (func (export "halve") (param i64) (result i64) (i64.div_s (local.get 0) (i64.const 2)))"#,
        &[lift("double", r#"(param "x" s64) (result s64)"#), lift("halve", r#"(param "x" s64) (result s64)"#)],
    ));
    prints(&task, &["-f", "double"], "8\n", "16\n");
    prints(&task, &["--function", "halve"], "8\n", "4\n");
}

#[test]
fn a_function_of_an_interface_is_found_with_and_without_package_and_version() {
    let task = wat(interfaces());
    prints(&task, &["-f", "one/apply"], "8\n", "64\n");
    prints(&task, &["-f", "two/apply"], "8\n", "-8\n");
    prints(&task, &["-f", "acme:sums/one/apply"], "8\n", "64\n");
    prints(&task, &["-f", "acme:sums/two@1.2.0/apply"], "8\n", "-8\n");
    prints(&task, &["-f", "acme:sums/one@1.2.0/apply"], "8\n", "64\n");
}

#[test]
fn a_name_that_two_interfaces_have_is_wrong_use_and_both_are_named() {
    let output = map(&wat(interfaces())).args(["-f", "apply"]).input("8\n").run().exits(2);
    assert!(output.stderr.contains("one"), "{}", output.stderr);
    assert!(output.stderr.contains("two"), "{}", output.stderr);
}

#[test]
fn what_a_user_would_not_call_does_not_make_the_choice_unclear() {
    // `init` is called separately, and `cabi_realloc` and `_initialize` are the toolchain's.
    let task = wat(crate::support::wat::initialised());
    prints(&task, &["--init", "1"], "5\n", "6\n");
    let task = wat(r#"(module
             (memory (export "memory") 1)
             (global (export "__heap_base") i32 (i32.const 1024))
             (func (export "_initialize"))
             (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
             (func (export "square") (param i64) (result i64)
               (i64.mul (local.get 0) (local.get 0))))"#);
    prints(&task, &[], "5\n", "25\n");
}

#[test]
fn an_option_can_be_set_by_the_environment_and_the_command_line_wins() {
    let task = wat(SQUARE);
    let records = map(&task).env("WASMPOOL_OUTPUT_FORMAT", "records").input("3\n").run().exits(0).records();
    assert_eq!(records.len(), 1);
    let output = map(&task)
        .env("WASMPOOL_OUTPUT_FORMAT", "records")
        .args(["--output-format", "values"])
        .input("3\n")
        .run()
        .exits(0);
    assert_eq!(output.text(), "9\n");
}

#[test]
fn exceptions_and_a_memory_go_together() {
    let task = wat(r#"(module
          (memory (export "memory") 1)
          (tag $e (param i32))
          (func (export "f") (param i32) (result i32)
            (block $caught (result i32)
              (try_table (catch $e $caught) (throw $e (i32.add (local.get 0) (i32.const 1))))
              unreachable)))"#);
    let output = map(&task).input("1\n2\n").run().exits(0);
    assert_eq!(output.text(), "2\n3\n");
}
