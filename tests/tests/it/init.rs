//! `--init`: run before the first item of an instance.

use crate::support::guest::{built, wat};
use crate::support::run::{map, wasmpool};
use crate::support::wat::{SQUARE, component, importing, initialised, lift};

#[test]
fn every_item_of_pristine_instances_sees_what_init_did() {
    let input: String = (0..2000).map(|item| format!("{item}\n")).collect();
    let wanted: String = (0..2000).map(|item| format!("{}\n", item + 7)).collect();
    let output = map(&wat(initialised())).args(["--init", "7", "-j", "2"]).input(input).run().exits(0);
    assert_eq!(output.text(), wanted);
}

#[test]
fn the_argument_of_init_may_be_as_long_as_an_argument_can_be() {
    // Spaces belong to the JSON as it is written, and so to what is passed on.
    let long = format!("{}7", " ".repeat(120_000));
    for isolate in ["item", "worker"] {
        let run = map(&wat(initialised())).args(["--init", &long, "--isolate", isolate, "-j", "1"]);
        // No snapshot was made before.
        let run = run.env("WASMPOOL_CACHE_DIR", "");
        assert_eq!(run.input("1\n").run().exits(0).values(), [8], "{isolate}");
    }
    // The argument has this many bytes, and is wrong: the error does not repeat it.
    let wrong = map(&wat(initialised())).args(["--init", &format!("\"{}\"", "x".repeat(120_000))]);
    let said = wrong.input("1\n").run().exits(2).stderr;
    assert!(said.len() < 2000, "{} bytes: {}", said.len(), said.chars().take(300).collect::<String>());
}

#[test]
fn init_runs_once_for_an_instance_that_is_kept() {
    let task = wat(initialised());
    for (isolate, wanted) in [("item", [7, 7, 7, 7]), ("chunk", [7, 1007, 7, 1007]), ("worker", [7, 1007, 2007, 3007])]
    {
        let output = map(&task)
            .args(["--init", "7", "-j", "1", "-c", "2", "--isolate", isolate])
            .input("0\n0\n0\n0\n")
            .run()
            .exits(0);
        assert_eq!(output.values(), wanted, "isolated by {isolate}");
    }
}

#[test]
fn an_init_that_fails_is_never_taken_for_a_success() {
    let task = wat(component(
        r#"
    (func (export "init") (param i64) unreachable)
    (func (export "same") (param i64) (result i64) (local.get 0))"#,
        &[lift("init", r#"(param "base" s64)"#), lift("same", r#"(param "item" s64) (result s64)"#)],
    ));
    let output = map(&task).args(["--init", "7"]).input("1\n2\n").run();
    assert!(matches!(output.code, 1 | 2), "exit code {}", output.code);
    assert_eq!(output.text(), "");
}

#[test]
fn an_argument_for_an_init_that_is_not_there_is_wrong_use() {
    let output = map(&wat(SQUARE)).args(["--init", "7"]).input("1\n").run().exits(2);
    assert!(output.stderr.contains("init"), "{}", output.stderr);
}

#[test]
fn an_argument_that_init_cannot_take_is_wrong_use() {
    for argument in ["\"seven\"", "seven", "7.5"] {
        let output = map(&wat(initialised())).args(["--init", argument]).input("1\n").run();
        assert_eq!(output.text(), "", "with {argument}");
        assert_eq!(output.code, 2, "with {argument}: {}", output.stderr);
    }
}

/// Returns a task whose `init` takes a million steps, and each item a few.
fn slow_to_start() -> String {
    component(
        r#"
    (global $base (mut i64) (i64.const 0))
    (func (export "init") (param $add i64) (local $i i32)
      (loop $again
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $i) (i32.const 1000000))))
      (global.set $base (i64.add (global.get $base) (local.get $add))))
    (func (export "plus") (param i64) (result i64) (i64.add (global.get $base) (local.get 0)))"#,
        &[lift("init", r#"(param "base" s64)"#), lift("plus", r#"(param "item" s64) (result s64)"#)],
    )
}

#[test]
fn pristine_instances_start_from_a_snapshot_of_one_init() {
    let task = wat(slow_to_start());
    // An item may use less fuel than `init` takes: if `init` ran in each instance, no item would succeed.
    let run = || map(&task).args(["--init", "7", "--fuel", "10000", "-j", "2"]).input("1\n2\n3\n");
    assert_eq!(run().run().exits(0).values(), [8, 9, 10]);
    // This time from the cache.
    assert_eq!(run().run().exits(0).values(), [8, 9, 10]);
    let inspected = wasmpool().arg("inspect").task(&task).run().exits(0);
    assert!(inspected.text().contains("init: runs once"), "{}", inspected.text());
}

#[test]
fn an_init_that_never_ends_is_ended() {
    let task = wat(component(
        r#"
    (func (export "init") (param i64) (loop $again (br $again)))
    (func (export "same") (param i64) (result i64) (local.get 0))"#,
        &[lift("init", r#"(param "base" s64)"#), lift("same", r#"(param "item" s64) (result s64)"#)],
    ));
    let output = map(&task).args(["--init", "7", "--timeout", "100ms"]).input("1\n").run().exits(2);
    assert!(output.stderr.contains("cannot be initialised"), "{}", output.stderr);
}

/// Both if it runs once, where a snapshot is taken, and in each instance.
#[test]
fn the_reason_that_an_init_gives_for_its_end_is_told() {
    for isolate in ["item", "worker"] {
        // The argument is "trap", as base64.
        let run = map(&built("stateful")).args(["--isolate", isolate, "--init", "\"dHJhcA==\""]);
        let output = run.args(["--input-format", "lines"]).input("1\n").run().exits(2);
        let said = "cannot be initialised: init was asked to trap, at ";
        assert!(output.stderr.contains(said), "{isolate}: {}", output.stderr);
    }
}

#[test]
fn an_init_that_no_snapshot_can_be_taken_of_runs_in_each_instance() {
    // The code changes a table, which a snapshot cannot hold: it has only memory and numbers.
    let task = wat(component(
        r#"
    (table $table 1 funcref)
    (elem declare func $init)
    (global $base (mut i64) (i64.const 0))
    (func $init (export "init") (param i64)
      (table.set $table (i32.const 0) (ref.func $init))
      (global.set $base (i64.add (global.get $base) (local.get 0))))
    (func (export "plus") (param i64) (result i64) (i64.add (global.get $base) (local.get 0)))"#,
        &[lift("init", r#"(param "base" s64)"#), lift("plus", r#"(param "item" s64) (result s64)"#)],
    ));
    let output = map(&task).args(["--init", "7", "-j", "2"]).input("1\n2\n3\n").run().exits(0);
    assert_eq!(output.values(), [8, 9, 10]);
    let inspected = wasmpool().arg("inspect").task(&task).run().exits(0);
    assert!(inspected.text().contains("init: runs in each instance (unsupported `table.set`"), "{}", inspected.text());
}

#[test]
fn an_init_that_sleeps_in_the_host_has_no_more_time_than_an_item() {
    let task = wat(r#"
(component
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $outer))
    (export "pollable" (type $pollable (eq $outer)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core module $m
    (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
    (import "host" "block" (func $block (param i32)))
    (func (export "init") (param i64)
      (call $block (call $subscribe (i64.const 3600000000000))))
    (func (export "same") (param i64) (result i64) (local.get 0)))
  (core instance $i (instantiate $m (with "host" (instance
    (export "subscribe" (func $subscribe)) (export "block" (func $block))))))
  (func (export "init") (param "base" s64) (canon lift (core func $i "init")))
  (func (export "same") (param "item" s64) (result s64) (canon lift (core func $i "same"))))"#);
    let output = map(&task).args(["--init", "7", "--timeout", "500ms"]).input("1\n").run().exits(2);
    assert!(output.stderr.contains("cannot be initialised: it did not end within --timeout"), "{}", output.stderr);
}

/// Returns a component whose `init` or item draws a number by this import and keeps it; `drawn` returns it.
fn draws(interface: &str, name: &str, ty: &str, core: &str, draw: &str, in_init: bool) -> String {
    let (by_init, by_item) = if in_init { (draw, "") } else { ("", draw) };
    let import = importing(interface, name, ty);
    format!(
        r#"
(component {import}
  (core module $code
    (import "" "m" (memory 1))
    (import "" "it" (func $it {core}))
    (global $drawn (mut i64) (i64.const 0))
    (func (export "init") (param i32) {by_init})
    (func (export "drawn") (result i64) {by_item} (global.get $drawn)))
  (core instance $i (instantiate $code (with "" (instance (export "m" (memory $m)) (export "it" (func $it))))))
  (func (export "init") (param "n" u32) (canon lift (core func $i "init")))
  (func (export "drawn") (result u64) (canon lift (core func $i "drawn"))))"#
    )
}

#[test]
fn items_share_no_random_numbers_that_init_drew() {
    for (interface, name, ty, core, draw) in [
        ("random", "get-random-u64", "(result u64)", "(result i64)", "(global.set $drawn (call $it))"),
        ("insecure", "get-insecure-random-u64", "(result u64)", "(result i64)", "(global.set $drawn (call $it))"),
        (
            "random",
            "get-random-bytes",
            r#"(param "len" u64) (result (list u8))"#,
            "(param i64 i32)",
            "(call $it (i64.const 8) (i32.const 16)) (global.set $drawn (i64.load (i32.const 1024)))",
        ),
        // Rust's hash maps take their seed from this.
        (
            "insecure-seed",
            "insecure-seed",
            "(result (tuple u64 u64))",
            "(param i32)",
            "(call $it (i32.const 16)) (global.set $drawn (i64.load (i32.const 16)))",
        ),
    ] {
        let interface = format!("wasi:random/{interface}@0.2.0");
        let task = wat(draws(&interface, name, ty, core, draw, true));
        let run = |args: &[&str]| {
            let args = [&["--init", "1", "-j", "2", "-v"], args].concat();
            map(&task).args(args).input("null\n".repeat(20)).run().exits(0)
        };
        let output = run(&[]);
        let drawn: std::collections::BTreeSet<&str> = output.text().lines().collect();
        assert_eq!(drawn.len(), 20, "{name}");
        assert!(output.stderr.contains("`init` asks for random numbers"), "{}", output.stderr);
        // In a deterministic run they must be the same.
        let fixed = run(&["--deterministic"]);
        assert_eq!(fixed.text().lines().collect::<std::collections::BTreeSet<_>>().len(), 1, "{name}");
        // If only items draw, `init` runs once for all instances.
        let task = wat(draws(&interface, name, ty, core, draw, false));
        let output = map(&task).args(["--init", "1", "-j", "1", "-v"]).input("null\n".repeat(20)).run().exits(0);
        assert_eq!(output.text().lines().collect::<std::collections::BTreeSet<_>>().len(), 20, "{name}");
        assert!(!output.stderr.contains("random numbers"), "{}", output.stderr);
    }
}
