//! `wasmpool exec`: a WASI command runs once for an item, and what it writes to standard output is the value.

use serde_json::{Value, json};

use crate::support::guest::{Task, wat};
use crate::support::run::{Run, map, wasmpool};

/// A command of preview 1 that does one thing with memory from 1024 on, and calls what it likes.
fn preview1(imports: &str, body: &str) -> Task {
    wat(format!(
        r#"(module
          (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          {imports}
          (memory (export "memory") 2)
          (global $count (mut i32) (i32.const 0))
          ;; Reads what there is, up to 64 KiB, to 1024; says how much.
          (func $take (result i32)
            (i32.store (i32.const 0) (i32.const 1024))
            (i32.store (i32.const 4) (i32.const 65536))
            (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
            (i32.load (i32.const 8)))
          (func $put (param $fd i32) (param $at i32) (param $len i32)
            (i32.store (i32.const 0) (local.get $at))
            (i32.store (i32.const 4) (local.get $len))
            (drop (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
          (func (export "_start") {body}))"#
    ))
}

/// Standard input to standard output.
fn cat() -> Task {
    preview1(
        "",
        "(local $n i32) (loop $more (local.set $n (call $take)) (call $put (i32.const 1) (i32.const 1024) (local.get $n)) (br_if $more (local.get $n)))",
    )
}

/// The arguments, each with the NUL behind it.
fn echo() -> Task {
    preview1(
        r#"(import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
           (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))"#,
        "(drop (call $sizes (i32.const 16) (i32.const 20)))
         (drop (call $args (i32.const 1024) (i32.const 4096)))
         (call $put (i32.const 1) (i32.const 4096) (i32.load (i32.const 20)))",
    )
}

/// Writes its item to both streams, and exits with the code that its first byte is.
fn exits() -> Task {
    preview1(
        "",
        "(local $n i32) (local.set $n (call $take))
         (call $put (i32.const 1) (i32.const 1024) (local.get $n))
         (call $put (i32.const 2) (i32.const 1024) (local.get $n))
         (call $exit (i32.load8_u (i32.const 1024)))",
    )
}

fn exec(task: &Task) -> Run {
    wasmpool().arg("exec").task(task)
}

#[test]
fn an_item_is_standard_input_and_standard_output_is_printed_as_it_is() {
    let output = exec(&cat()).args(["--input-format", "lines"]).input("one\ntwo\n\nthree").run().exits(0);
    assert_eq!(output.text(), "onetwothree");
    let output = exec(&cat()).args(["--input-format", "nul"]).input(b"a\xff\n\0b").run().exits(0);
    assert_eq!(output.bytes, b"a\xff\nb");
}

#[test]
fn a_json_string_is_given_as_its_text_and_other_json_as_it_stands() {
    let output =
        exec(&cat()).args(["--delimiter", "newline"]).input("\"a b\\u00e9\"\n{\"x\": [1]}\n7\n").run().exits(0);
    assert_eq!(output.text(), "a bé\n{\"x\": [1]}\n7\n");
}

#[test]
fn text_that_is_not_json_is_invalid_input_and_the_way_out_is_named() {
    let output = exec(&cat()).input("plain\n").run().exits(1);
    assert!(output.stderr.contains("--input-format lines"), "{}", output.stderr);
}

#[test]
fn an_item_in_an_argument_is_not_standard_input_as_well() {
    let name = echo().path().file_name().expect("a name").to_string_lossy().into_owned();
    let output = exec(&echo())
        .args(["--input-format", "lines", "--delimiter", "newline", "--", "-x", "<{}>", "{#}"])
        .input("a b\nc\n")
        .run()
        .exits(0);
    assert_eq!(output.text(), format!("{name}\0-x\0<a b>\x000\0\n{name}\0-x\0<c>\x001\0\n"));
    let output = exec(&cat()).args(["--input-format", "lines", "--", "{}"]).input("a\n").run().exits(0);
    assert_eq!(output.text(), "");
}

#[test]
fn the_index_in_an_argument_is_that_of_the_item_in_the_input_whatever_the_chunks() {
    for chunk in ["1", "7", "auto"] {
        let input: String = (0..2000).map(|item| format!("{item}\n")).collect();
        let output = exec(&echo())
            .args(["-j", "3", "-c", chunk, "--delimiter", "newline", "--", "{}={#}"])
            .input(input)
            .run()
            .exits(0);
        for (index, line) in output.text().lines().enumerate() {
            assert!(line.ends_with(&format!("\0{index}={index}\0")), "{line:?} is not of item {index}");
        }
    }
}

#[test]
fn an_item_that_no_argument_can_hold_is_invalid_input() {
    for item in [&b"\"a\\u0000b\"\n"[..], b"\"\xff\"\n"] {
        let output = exec(&echo()).args(["--output-format", "records", "--", "{}"]).input(item).run().exits(1);
        assert_eq!(output.records()[0].kind(), "invalid-input");
    }
}

#[test]
fn output_keeps_the_order_of_the_input_and_no_other_item_cuts_into_it() {
    // Each item is larger than a pipe or a ring takes at once.
    let items: Vec<String> = (0..200).map(|item| format!("{item:05}").repeat(20_000)).collect();
    let output = exec(&cat())
        .args(["-j", "3", "--input-format", "lines", "--delimiter", "newline"])
        .input(items.join("\n"))
        .run()
        .exits(0);
    assert!(output.text().lines().eq(items.iter().map(String::as_str)));
}

#[test]
fn records_carry_output_as_a_string_and_as_base64_where_it_is_no_text() {
    let output = exec(&cat())
        .args(["--input-format", "nul", "--output-format", "records"])
        .input(b"text\n\0\xff\0\0\"\\\0")
        .run()
        .exits(0);
    let records = output.records();
    assert_eq!(*records[0].value(), "text\n");
    assert_eq!((records[1].value(), records[1].get("encoding")), (&json!("/w=="), Some(&json!("base64"))));
    assert_eq!((records[2].value(), records[2].get("encoding")), (&json!(""), None));
    assert_eq!(*records[3].value(), "\"\\");
}

#[test]
fn an_exit_code_is_a_failure_with_what_the_command_said() {
    let output = exec(&exits())
        .args(["--input-format", "nul", "--output-format", "records"])
        .input(b"\x01one\nwhy\n\0\x07\0\xc8")
        .run()
        .exits(1);
    for (record, code) in output.records().iter().zip([1, 7, 200]) {
        assert_eq!(record.kind(), "exit");
        assert_eq!(record.get("code"), Some(&json!(code)));
    }
    let first = &output.records()[0];
    let said = json!("\u{1}one\nwhy\n");
    assert_eq!((first.get("stdout"), first.get("stderr")), (Some(&said), Some(&said)));
    assert_eq!(first.message(), "the task ended with exit code 1: why");
}

#[test]
fn exit_codes_that_were_said_to_be_success_are() {
    let output = exec(&exits())
        .args(["--input-format", "nul", "--output-format", "records", "--ok-codes", "10,20"])
        .input(b"\x0asat\0\x14unsat\0\x01")
        .run()
        .exits(1);
    let records = output.records();
    assert_eq!((records[0].value(), records[0].get("code")), (&json!("\nsat"), Some(&json!(10))));
    assert_eq!((records[1].value(), records[1].get("code")), (&json!("\u{14}unsat"), Some(&json!(20))));
    assert_eq!(records[2].get("code"), Some(&json!(1)));
    // Nothing but what is named.
    exec(&cat()).args(["--ok-codes", "10"]).input("1\n").run().exits(1);
}

#[test]
fn each_item_starts_from_pristine_memory() {
    // Counts in its memory, which nobody clears.
    let task = preview1(
        "",
        "(i32.store8 (i32.const 100) (i32.add (i32.load8_u (i32.const 100)) (i32.const 49)))
         (call $put (i32.const 1) (i32.const 100) (i32.const 1))",
    );
    let output = exec(&task).args(["-j", "1"]).input("1\n".repeat(1000)).run().exits(0);
    assert_eq!(output.text(), "1".repeat(1000));
}

#[test]
fn more_output_than_allowed_ends_the_item() {
    let endless = preview1("", "(loop $more (call $put (i32.const 1) (i32.const 0) (i32.const 65536)) (br $more))");
    let output =
        exec(&endless).args(["--max-output", "100KiB", "--output-format", "records"]).input("1\n").run().exits(1);
    assert_eq!(output.records()[0].kind(), "output-too-large");
    let output =
        exec(&cat()).args(["--max-output", "4", "--input-format", "lines"]).input("four\nfive!\n").run().exits(1);
    assert_eq!(output.text(), "four");
}

#[test]
fn a_command_that_never_ends_is_ended() {
    let spin = preview1("", "(call $put (i32.const 1) (i32.const 0) (i32.const 3)) (loop $more (br $more))");
    let output = exec(&spin).args(["--timeout", "50ms", "--output-format", "records"]).input("1\n").run().exits(1);
    assert_eq!(output.records()[0].kind(), "timeout");
    assert_eq!(output.records()[0].get("stdout").and_then(Value::as_str).map(str::len), Some(3));
}

#[test]
fn a_task_that_is_no_command_is_wrong_use() {
    let function = wat("(module (func (export \"square\") (param i64) (result i64) (local.get 0)))");
    let output = exec(&function).input("1\n").run().exits(2);
    assert!(output.stderr.contains("_start") && output.stderr.contains("wasmpool map"), "{}", output.stderr);
    // And the other way round.
    let output = map(&cat()).input("1\n").run().exits(2);
    assert!(output.stderr.contains("wasmpool exec"), "{}", output.stderr);
}

#[test]
fn failed_items_can_be_run_again() {
    let folder = tempfile::TempDir::new().expect("a directory");
    let failed = folder.path().join("failed");
    let first = exec(&exits()).arg("--failed").arg(&failed).input("\"\\u0001a\"\n\"\\u0000b\"\n").run().exits(1);
    assert_eq!(first.text(), "\0b");
    let again = exec(&exits()).args(["--ok-codes", "1"]).arg(&failed).run().exits(0);
    assert_eq!(again.text(), "\u{1}a");
}

#[test]
fn the_preview_before_preview_1_runs() {
    let old = wat(r#"(module
          (import "wasi_unstable" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (import "wasi_unstable" "proc_exit" (func $exit (param i32)))
          (memory (export "memory") 1)
          (data (i32.const 16) "hello")
          (func (export "_start")
            (i32.store (i32.const 0) (i32.const 16))
            (i32.store (i32.const 4) (i32.const 5))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
            (call $exit (i32.const 3))))"#);
    let output = exec(&old).args(["--ok-codes", "3"]).input("1\n").run().exits(0);
    assert_eq!(output.text(), "hello");
}
