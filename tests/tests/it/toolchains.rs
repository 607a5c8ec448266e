//! Imports from `env` that toolchains add to a plain module, and that reach nothing, are provided; all others are
//! refused with advice.

use crate::support::guest::{Task, wat};
use crate::support::run::{map, wasmpool};

/// Strings in AssemblyScript's format: UTF-16 after their length in bytes, at 20 and at 100.
const STRINGS: &str = r#"
  (memory (export "memory") 1)
  (data (i32.const 16) "\06\00\00\00o\00d\00d\00")
  (data (i32.const 96) "\08\00\00\00f\00.\00t\00s\00")"#;

fn module(imports: &str, body: &str) -> Task {
    wat(format!(r#"(module {imports} {STRINGS} (func (export "f") (param i32) (result f64) {body}))"#))
}

#[test]
fn an_abort_of_assemblyscript_is_a_trap_with_its_message_and_place() {
    let abort = r#"(import "env" "abort" (func $abort (param i32 i32 i32 i32)))"#;
    let task = |message: u32, file: u32| {
        module(
            abort,
            &format!(
                "(if (i32.and (local.get 0) (i32.const 1))
                   (then (call $abort (i32.const {message}) (i32.const {file}) (i32.const 3) (i32.const 7)) unreachable))
                 (f64.convert_i32_s (local.get 0))"
            ),
        )
    };
    for (message, file, told) in [
        (20, 100, "odd, at f.ts:3:7 ("),
        (0, 0, "it aborted, at 3:7 ("),
        // An address without a string gives none.
        (-1_i32 as u32, 2, "it aborted, at 3:7 ("),
        (65_535, 65_536, "it aborted, at 3:7 ("),
    ] {
        let output = map(&task(message, file)).args(["--output-format", "records"]).input("1\n2\n").run().exits(1);
        assert_eq!(output.kinds(), ["trap", "ok"]);
        assert!(output.records()[0].message().starts_with(told), "{}", output.records()[0].message());
        assert!(output.records()[0].message().contains("`abort`"), "{}", output.records()[0].message());
    }
    // A module without a memory to read from.
    let bare = wat(format!(
        "(module {abort} (func (export \"f\") (call $abort (i32.const 9) (i32.const 9) (i32.const 1) (i32.const 2))))"
    ));
    let output = map(&bare).args(["--output-format", "records"]).input("null\n").run().exits(1);
    assert!(output.records()[0].message().starts_with("it aborted, at 1:2"), "{}", output.records()[0].message());
}

#[test]
fn what_is_traced_and_logged_is_kept_with_the_item() {
    let task = module(
        r#"(import "env" "trace" (func $trace (param i32 i32 f64 f64 f64 f64 f64)))
           (import "env" "console.log" (func $log (param i32)))
           (import "env" "emscripten_notify_memory_growth" (func $grown (param i32)))"#,
        "(call $trace (i32.const 20) (i32.const 2) (f64.const 1) (f64.const 2.5) (f64.const 3) (f64.const 4) (f64.const 5))
         (call $log (i32.const 100))
         (call $grown (i32.const 0))
         (f64.const 1)",
    );
    let output = map(&task).args(["--output-format", "records"]).input("1\n2\n").run().exits(0);
    for record in output.records() {
        assert_eq!(record.get("stderr"), Some(&"trace: odd 1, 2.5\n".into()), "{record:?}");
        assert_eq!(record.get("stdout"), Some(&"f.ts\n".into()), "{record:?}");
    }
}

#[test]
fn a_seed_is_another_for_each_instance_and_the_same_in_a_deterministic_run() {
    let task = module(r#"(import "env" "seed" (func $seed (result f64)))"#, "(call $seed)");
    let seeds = |args: &[&str]| {
        let output = map(&task).args(args).input("1\n2\n3\n4\n").run().exits(0);
        output.lines().into_iter().map(str::to_owned).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(seeds(&[]).len(), 4);
    assert_eq!(seeds(&["--deterministic"]), seeds(&["--deterministic", "-j", "1"]));
    assert_eq!(seeds(&["--deterministic"]).len(), 1);
}

#[test]
fn other_imports_are_all_named_with_how_to_build_without_them() {
    for (imports, named) in [
        (r#"(import "env" "abort" (func (param i32)))"#, &["`abort` from `env`", "link what defines it"][..]),
        (r#"(import "env" "memory" (memory 1))"#, &["`memory` from `env`"]),
        (
            r#"(import "env" "emscripten_resize_heap" (func)) (import "env" "abort" (func))"#,
            &["`emscripten_resize_heap`", "`abort`", "-sSTANDALONE_WASM"],
        ),
        (r#"(import "wbg" "__wbindgen_throw" (func))"#, &["`__wbindgen_throw` from `wbg`", "wasm32-wasip2"]),
        (r#"(import "gojs" "runtime.wasmExit" (func))"#, &["`runtime.wasmExit` from `gojs`", "GOOS=wasip1"]),
        (r#"(import "a" "b" (func)) (import "c" "d" (func))"#, &["`b` from `a`", "`d` from `c`"]),
    ] {
        let task = wat(format!("(module {imports} (func (export \"f\")))"));
        let output = map(&task).input("null\n").run().exits(2);
        assert!(named.iter().all(|name| output.stderr.contains(name)), "{}", output.stderr);
        // It can be inspected all the same.
        wasmpool().arg("inspect").task(&task).run().exits(0);
    }
}

/// Components of JavaScript import `wasi:http` by default, whose interfaces use streams.
#[test]
fn an_interface_that_is_not_provided_may_speak_of_resources_of_one_that_is() {
    let task = wat(r#"(component
      (import "wasi:io/streams@0.2.0" (instance $streams
        (export "input-stream" (type (sub resource)))
        (export "output-stream" (type (sub resource)))))
      (alias export $streams "input-stream" (type $in))
      (alias export $streams "output-stream" (type $out))
      (import "wasi:http/types@0.2.0" (instance
        (export "in" (type $i (eq $in)))
        (export "out" (type (eq $out)))
        (export "body" (type $body (sub resource)))
        (export "[method]body.stream" (func (param "self" (borrow $body)) (result (own $i))))))
      (core module $m (func (export "same") (param i32) (result i32) (local.get 0)))
      (core instance $i (instantiate $m))
      (func (export "same") (param "x" u32) (result u32) (canon lift (core func $i "same"))))"#);
    assert_eq!(map(&task).input("7\n").run().exits(0).values(), [7]);
}
