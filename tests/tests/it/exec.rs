//! `wasmpool exec`: a WASI command runs once per item, and what it writes to standard output is the value.

use std::io::Write;

use serde_json::{Value, json};

use crate::support::guest::{Task, built, wat};
use crate::support::record::Record;
use crate::support::run::{Run, map, wasmpool};

/// Returns a command of preview 1 with these imports and this body, whose memory is free from 1024 on.
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

/// Returns a command that copies standard input to standard output.
pub fn cat() -> Task {
    preview1(
        "",
        "(local $n i32) (loop $more (local.set $n (call $take)) (call $put (i32.const 1) (i32.const 1024) (local.get $n)) (br_if $more (local.get $n)))",
    )
}

/// Returns a command that prints its arguments, each followed by a NUL.
fn echo() -> Task {
    preview1(
        r#"(import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
           (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))"#,
        "(drop (call $sizes (i32.const 16) (i32.const 20)))
         (drop (call $args (i32.const 1024) (i32.const 4096)))
         (call $put (i32.const 1) (i32.const 4096) (i32.load (i32.const 20)))",
    )
}

#[test]
fn braces_are_passed_as_they_are_where_something_else_stands_for_the_item() {
    let exec = |args: &[&str]| wasmpool().arg("exec").task(&echo()).args(["--input-format", "lines"]).args(args);
    let output = exec(&["-I", "@", "--", "-exec", "{}", "{#}", "a@b"]).input("x{}\n").run().exits(0);
    assert!(output.text().ends_with("\0-exec\0{}\x000\0ax{}b\0"), "{:?}", output.text());
    let args = ["-I", "@", "--replace-index", "%", "--", "{}", "{#}", "%@"];
    let output = exec(&args).input("x\ny\n").run().exits(0);
    assert!(
        output.text().contains("\0{}\0{#}\x000x\0") && output.text().ends_with("\0{}\0{#}\x001y\0"),
        "{:?}",
        output.text()
    );
    for wrong in [&["-I", ""][..], &["-I", "@", "--replace-index", "@"]] {
        exec(wrong).input("x\n").run().exits(2);
    }
}

/// Returns a command that writes its item to both streams, and exits with its first byte as the code.
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
fn an_item_that_failed_in_an_earlier_run_is_told_the_index_that_it_had_there() {
    let failed = r#"{"wasmpool":"failed","form":"json","input":"a","index":41,"status":"failed","message":"m"}"#;
    let run = exec(&echo()).args(["--delimiter", "newline", "--", "{}={#}"]);
    let output = run.input(format!("{failed}\n\"b\"\n")).run().exits(0);
    assert!(output.text().contains("\0a=41\0") && output.text().contains("\0b=1\0"), "{}", output.text());
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
    // Only the codes that are named.
    exec(&cat()).args(["--ok-codes", "10"]).input("1\n").run().exits(1);
}

#[test]
fn each_item_starts_from_pristine_memory() {
    // The command counts in its memory, which nobody clears.
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

/// Returns the files of `--results`, with their names.
fn files(folder: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("a directory of results")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, std::fs::read(&path).expect("a file"))
        })
        .collect();
    files.sort();
    files
}

#[test]
fn results_go_to_a_file_each_and_their_paths_are_printed() {
    let folder = tempfile::TempDir::new().expect("a directory");
    let results = folder.path().join("new/results");
    let output = exec(&exits())
        .arg("--results")
        .arg(&results)
        .args(["-j", "2", "--input-format", "lines", "--ok-codes", "0,65"])
        .input(b"Aone\nBfails\n\nA\xff")
        .run()
        .exits(1);
    let path = |index: u64| results.join(index.to_string()).display().to_string();
    assert_eq!(output.lines(), [path(0), path(2), path(3)]);
    // The first byte is the exit code.
    let wanted = [("0", &b"Aone"[..]), ("2", b""), ("3", b"A\xff")];
    assert_eq!(files(&results), wanted.map(|(name, bytes)| (name.to_owned(), bytes.to_vec())));
}

#[test]
fn a_result_of_any_size_streams_to_its_file_and_not_through_memory() {
    // Prints 64 KiB as many times as the item says.
    let task = preview1(
        "",
        "(local $n i32) (drop (call $take))
         (local.set $n (i32.mul (i32.const 512) (i32.sub (i32.load8_u (i32.const 1024)) (i32.const 48))))
         (memory.fill (i32.const 2048) (i32.load8_u (i32.const 1024)) (i32.const 65536))
         (block $done (loop $more
           (br_if $done (i32.eqz (local.get $n)))
           (call $put (i32.const 1) (i32.const 2048) (i32.const 65536))
           (local.set $n (i32.sub (local.get $n) (i32.const 1)))
           (br $more)))",
    );
    let folder = tempfile::TempDir::new().expect("a directory");
    let results = folder.path().join("results");
    let mut host = exec(&task)
        .arg("--results")
        .arg(&results)
        .args(["-j", "2", "--max-output", "300MiB", "--output-format", "records"])
        .start();
    let mut input = host.stdin.take().expect("a pipe");
    input.write_all(b"4\n0\n3\n").expect("the host reads");
    let records: Vec<Record> = (0..3).filter_map(|_| host.line()).map(|line| Record::read(&line)).collect();
    let peak = host.process().status_bytes("VmHWM");
    drop(input);
    assert_eq!(host.code(), 0);
    let sizes: Vec<u64> = ["0", "1", "2"].map(|name| results.join(name).metadata().expect("a file").len()).to_vec();
    assert_eq!(sizes, [4 << 25, 0, 3 << 25]);
    assert_eq!(records.iter().map(|record| record.kind()).collect::<Vec<_>>(), ["ok"; 3]);
    assert!(std::fs::read(results.join("2")).expect("a file").iter().all(|&byte| byte == b'3'));
    assert!(peak < 40 << 20, "the host had {peak} bytes");
}

#[test]
fn a_result_that_ends_in_a_failure_leaves_no_file() {
    // Writes 1 MiB; then it traps, exits, writes too much, or never ends.
    let task = preview1(
        "",
        "(local $n i32) (drop (call $take))
         (local.set $n (i32.const 16))
         (loop $more
           (call $put (i32.const 1) (i32.const 2048) (i32.const 65536))
           (local.set $n (i32.sub (local.get $n) (i32.const 1)))
           (br_if $more (local.get $n)))
         (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 0x31)) (then unreachable))
         (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 0x32)) (then (call $exit (i32.const 2))))
         (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 0x33))
           (then (loop $ever (call $put (i32.const 1) (i32.const 2048) (i32.const 65536)) (br $ever))))
         (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 0x34)) (then (loop $ever (br $ever))))",
    );
    let folder = tempfile::TempDir::new().expect("a directory");
    let results = folder.path().join("results");
    let output = exec(&task)
        .arg("--results")
        .arg(&results)
        .args(["-j", "1", "--max-output", "2MiB", "--timeout", "200ms", "--output-format", "records"])
        .args(["--retries", "1", "--retry-on", "trap,timeout"])
        .input("0\n1\n2\n3\n4\n5\n")
        .run()
        .exits(1);
    assert_eq!(output.kinds(), ["ok", "trap", "exit", "output-too-large", "timeout", "ok"]);
    let left: Vec<(String, usize)> = files(&results).into_iter().map(|(name, bytes)| (name, bytes.len())).collect();
    assert_eq!(left, [("0".to_owned(), 1 << 20), ("5".to_owned(), 1 << 20)]);
}

#[test]
fn a_directory_of_results_is_not_mixed_with_what_is_there() {
    let folder = tempfile::TempDir::new().expect("a directory");
    std::fs::write(folder.path().join("mine"), "").expect("a file");
    let output = exec(&cat()).arg("--results").arg(folder.path()).input("1\n").run().exits(2);
    assert!(output.stderr.contains("is not empty"), "{}", output.stderr);
    let new = folder.path().join("new");
    let several = wasmpool().args(["map", "--task", "a=b.wasm", "--results"]).arg(&new).input("1\n").run().exits(2);
    assert!(several.stderr.contains("--results"), "{}", several.stderr);
}

#[test]
fn results_of_functions_go_to_files_as_raw_output_has_them() {
    let folder = tempfile::TempDir::new().expect("a directory");
    let results = folder.path().join("results");
    map(&wat(crate::support::wat::SQUARE)).arg("--results").arg(&results).input("3\n12\n").run().exits(0);
    assert_eq!(files(&results), [("0".to_owned(), b"9".to_vec()), ("1".to_owned(), b"144".to_vec())]);
}

#[test]
fn commands_of_wasi_0_3_run_and_stream() {
    let item = "abc".repeat(100_000);
    let command = built("wasi3");
    let run = |arguments: &[&str], input: &str| {
        exec(&command)
            .args(["--input-format", "lines", "--output-format", "records", "--"])
            .args(arguments)
            .input(input)
            .run()
    };
    let output = run(&[], &format!("{item}\nx\n")).exits(0);
    assert_eq!(output.records()[0].value(), &json!(item.to_uppercase()));
    assert_eq!(output.records()[1].value(), "X");
    assert_eq!(run(&["sleep", "{}"], "x\n").exits(0).records()[0].value(), "SLEEP X");
    for (order, kind) in [("exit", "exit"), ("fail", "exit"), ("trap", "trap")] {
        assert_eq!(run(&[order], "x\n").exits(1).kinds(), [kind], "{order}");
    }
}

#[test]
fn functions_that_are_lifted_async_are_called() {
    let output =
        map(&built("later")).args(["--output-format", "records"]).input("21\n13\n4294967295\n4\n").run().exits(1);
    assert_eq!(output.kinds(), ["ok", "trap", "error", "ok"]);
    assert_eq!(output.records()[0].value(), 42);
    let output = map(&built("later")).args(["--isolate", "worker", "-j", "1"]).input("1\n2\n3\n").run().exits(0);
    assert_eq!(output.text(), "2\n4\n6\n");
}

#[test]
fn what_was_not_granted_is_named_with_the_option_that_grants_it() {
    for (verb, option) in [
        ("read:/etc/passwd", "--dir HOST::GUEST"),
        ("list:/", "--dir HOST::GUEST"),
        ("udp:127.0.0.1:53", "--allow-net HOST:PORT"),
        ("connect:127.0.0.1:80", "--allow-net HOST:PORT"),
        ("resolve:example.org:80", "--allow-net HOST:PORT"),
    ] {
        let order = serde_json::to_string(verb).expect("a string");
        let output = map(&built("reach")).args(["--output-format", "records"]).input(order + "\n").run().exits(1);
        assert!(output.records()[0].message().contains(option), "{verb}: {}", output.records()[0].message());
    }
    let p1 = preview1(
        r#"(import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))"#,
        "(call $exit (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 16)))",
    );
    let output = exec(&p1).args(["--output-format", "records"]).input("1\n").run().exits(1);
    assert_eq!(output.records()[0].get("code"), Some(&json!(8)));
    assert!(output.records()[0].message().contains("--dir HOST::GUEST"), "{}", output.records()[0].message());
    let p1 = preview1(
        r#"(import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))"#,
        "(call $exit (i32.add (i32.const 5) (call $sizes (i32.const 16) (i32.const 20))))",
    );
    let output = exec(&p1).args(["--output-format", "records"]).input("1\n").run().exits(1);
    assert_eq!(output.records()[0].get("code"), Some(&json!(5)));
    assert!(output.records()[0].message().contains("--env NAME=VALUE"), "{}", output.records()[0].message());
    let output =
        exec(&built("wasi3")).args(["--output-format", "records", "--", "connect"]).input("1\n").run().exits(1);
    assert!(output.records()[0].message().contains("--allow-net HOST:PORT"), "{}", output.records()[0].message());
    // Grants that were given, or that the task did not look for, are not mentioned.
    let output = map(&built("reach"))
        .args(["--output-format", "records", "--dir", "/tmp::/tmp"])
        .input("\"read:/tmp/no/such\"\n")
        .run()
        .exits(1);
    assert!(!output.records()[0].message().contains("--dir"), "{}", output.records()[0].message());
    let output = exec(&exits()).args(["--output-format", "records"]).input("\"\\u0001\"\n").run().exits(1);
    assert!(!output.records()[0].message().contains("--"), "{}", output.records()[0].message());
}

#[test]
fn inspect_says_what_runs_a_command() {
    for (task, export) in [(cat(), "_start"), (built("wasi3"), "wasi:cli/run@0.3")] {
        let output = wasmpool().arg("inspect").task(&task).run().exits(0);
        let line = output.text().lines().find(|line| line.starts_with("command: ")).expect("a line for it");
        assert!(line.contains(export) && line.contains("exec"), "{line}");
    }
}
