//! Imports from `env` that toolchains add to a plain module, and that reach nothing, are provided; all others are
//! refused with advice.

use std::time::SystemTime;

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

/// As AssemblyScript's `Date.now()` and `performance.now()`, and Emscripten's `time` and `clock`.
#[test]
fn clocks_say_the_time_and_stand_still_in_a_deterministic_run() {
    for (wall, monotonic) in [("Date.now", "performance.now"), ("emscripten_date_now", "emscripten_get_now")] {
        let imports = format!(
            r#"(import "env" "{wall}" (func $wall (result f64))) (import "env" "{monotonic}" (func $now (result f64)))"#
        );
        let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis() as f64;
        let before = now();
        let told = map(&module(&imports, "(call $wall)")).input("1\n").run().exits(0).values();
        let told = told[0].as_f64().expect("a number");
        assert!((before..=now()).contains(&told), "{told}");
        let fixed = map(&module(&imports, "(call $wall)")).arg("--deterministic").input("1\n").run().exits(0);
        assert_eq!(fixed.values(), [946_684_800_000.0_f64]);
        let passes = "(f64.sub (call $now) (call $now))";
        let told = map(&module(&imports, passes)).input("1\n").run().exits(0).values();
        assert!(told[0].as_f64().is_some_and(|passed| passed <= 0.0), "{told:?}");
        let runs =
            || map(&module(&imports, "(call $now)")).arg("--deterministic").input("1\n2\n").run().exits(0).values();
        assert_eq!(runs(), runs());
    }
}

/// A module that Emscripten has built for its own JavaScript, with growing memory.
#[test]
fn a_stock_module_of_emscripten_grows_copies_and_is_initialised() {
    let task = wat(r#"(module
      (import "env" "emscripten_resize_heap" (func $resize (param i32) (result i32)))
      (import "env" "_emscripten_memcpy_js" (func $copy (param i32 i32 i32)))
      (import "env" "emscripten_notify_memory_growth" (func $notify (param i32)))
      (memory (export "memory") 1 8)
      (global $ready (mut i32) (i32.const 0))
      (func (export "__wasm_call_ctors") (global.set $ready (i32.const 1)) (i32.store (i32.const 8) (i32.const 7)))
      (func (export "stackSave") (result i32) (i32.const 0))
      (func (export "emscripten_stack_get_current") (result i32) (i32.const 0))
      (func (export "fflush") (param i32) (result i32) (i32.const 0))
      (func (export "f") (param $pages i32) (result i32)
        (local $grew i32)
        (if (i32.eqz (global.get $ready)) (then unreachable))
        (local.set $grew (call $resize (i32.mul (local.get $pages) (i32.const 65536))))
        (call $notify (i32.const 0))
        (call $copy (i32.const 16) (i32.const 8) (i32.const 4))
        (i32.add (i32.mul (memory.size) (i32.const 100)) (i32.add (i32.mul (local.get $grew) (i32.const 10)) (i32.load (i32.const 16))))))"#);
    // Each item finds the memory as small as it was, and nine pages are more than there may be.
    let (items, told) = ("3\n1\n4\n9\n", [317, 117, 417, 107]);
    for args in [&[][..], &["--isolate", "chunk", "--chunk-size", "1"], &["--fuel", "10000000"]] {
        let run = map(&task).args(args).env("WASMPOOL_VERIFY_RESTORE", "1").input(items).run().exits(0);
        assert_eq!(run.values(), told, "{args:?}");
    }
    let run = map(&task).args(["--memory", "128KiB"]).input("2\n3\n").run().exits(0);
    assert_eq!(run.values(), [217, 107]);
}

#[test]
fn a_failed_assertion_and_an_abort_of_c_are_traps_with_what_they_say() {
    let task = wat(r#"(module
      (import "env" "__assert_fail" (func $assert (param i32 i32 i32 i32)))
      (import "env" "_abort_js" (func $abort))
      (memory (export "memory") 1)
      (data (i32.const 8) "x > 0\00f.c\00main\00")
      (func (export "f") (param i32)
        (if (i32.eqz (local.get 0)) (then (call $assert (i32.const 8) (i32.const 14) (i32.const 12) (i32.const 18))))
        (if (i32.eq (local.get 0) (i32.const 1)) (then (call $abort)))
        (call $assert (i32.const 0) (i32.const 70000) (i32.const 1) (i32.const 0))))"#);
    let output = map(&task).args(["--output-format", "records"]).input("0\n1\n2\n").run().exits(1);
    let says = ["assertion failed: x > 0, at f.c:12, in main (", "it aborted (", "assertion failed: ?, at ?:1, in ? ("];
    for (record, says) in output.records().iter().zip(says) {
        assert!(record.message().starts_with(says), "{}", record.message());
    }
}

#[test]
fn a_copy_beyond_the_memory_is_a_trap() {
    let copy = r#"(import "env" "emscripten_memcpy_big" (func $copy (param i32 i32 i32)))"#;
    let body = "(call $copy (local.get 0) (i32.const 0) (i32.const 8)) (f64.const 1)";
    let output =
        map(&module(copy, body)).args(["--output-format", "records"]).input("65528\n65529\n-1\n").run().exits(1);
    assert_eq!(output.kinds(), ["ok", "trap", "trap"]);
}

#[test]
fn other_imports_are_all_named_with_how_to_build_without_them() {
    for (imports, named) in [
        (r#"(import "env" "abort" (func (param i32)))"#, &["`abort` from `env`", "link what defines it"][..]),
        (r#"(import "env" "memory" (memory 1))"#, &["`memory` from `env`"]),
        (
            r#"(import "env" "emscripten_resize_heap" (func)) (import "env" "abort" (func (result i32)))"#,
            &["`emscripten_resize_heap`", "`abort`", "-sSTANDALONE_WASM"],
        ),
        (r#"(import "env" "__syscall_openat" (func))"#, &["`__syscall_openat`", "-sSTANDALONE_WASM"]),
        (r#"(import "env" "invoke_vi" (func (param i32 i32)))"#, &["`invoke_vi`", "-sSUPPORT_LONGJMP=wasm"]),
        (r#"(import "env" "setTempRet0" (func (param i32)))"#, &["`setTempRet0`", "-sWASM_BIGINT"]),
        (r#"(import "a" "b" (func))"#, &["`b` from `a`", "Emscripten", "-sSTANDALONE_WASM"]),
        (r#"(import "env" "__linear_memory" (memory 0))"#, &["`__linear_memory`", "object file", "wasm-ld"]),
        (r#"(import "env" "Math.sin" (func (param f64) (result f64)))"#, &["`Math.sin`", "AssemblyScript", "--use"]),
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
