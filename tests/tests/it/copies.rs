//! Fuel limits what the components of one task copy to each other: strings and lists are counted by their bytes.

use crate::support::guest::wat;
use crate::support::run::map;

/// Bytes of a copy, and the maximum of fuel that it takes besides them.
const BYTES: u64 = 1_024_000;
const BESIDE: u64 = 3000;

/// Returns components that pass `ty` from one to the other as often as the item says: `units` of `from`'s encoding,
/// which `to` takes in another. The memory that they are in is all zeros, and `realloc` returns at once, whatever it is
/// asked for.
fn passing(ty: &str, units: u64, from: &str, to: &str) -> String {
    let take = format!(
        r#"
    (func (export "it") (param "s" {ty})
      (canon lift (core func $i "it") (memory (core memory $i "m")) (realloc (core func $i "realloc")) {to}))"#
    );
    let lower = format!("(memory (core memory $libc \"m\")) {from}");
    let call = format!("(call $it (i32.const 0) (i32.const {units}))");
    task(
        &format!("(param \"s\" {ty})"),
        "(func (export \"it\") (param i32 i32))",
        &take,
        &lower,
        "(param i32 i32)",
        &call,
    )
}

/// Returns components of which one returns `ty` to the other, in the same way.
fn returning(ty: &str, units: u64, from: &str, to: &str) -> String {
    let give = format!(
        r#"
    (func (export "it") (result {ty}) (canon lift (core func $i "it") (memory (core memory $i "m")) {from}))"#
    );
    let body = format!(
        r#"(func (export "it") (result i32)
      (i32.store (i32.const 8) (i32.const 16)) (i32.store (i32.const 12) (i32.const {units})) (i32.const 8))"#
    );
    let lower = format!("(memory (core memory $libc \"m\")) (realloc (core func $libc \"realloc\")) {to}");
    task(&format!("(result {ty})"), &body, &give, &lower, "(param i32)", "(call $it (i32.const 4194296))")
}

fn task(ty: &str, body: &str, lift: &str, lower: &str, lowered: &str, call: &str) -> String {
    const LIBC: &str =
        r#"(memory (export "m") 64) (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))"#;
    format!(
        r#"
(component
  (component $inner
    (core module $m {LIBC} {body})
    (core instance $i (instantiate $m)){lift})
  (component $outer
    (import "it" (func $inner {ty}))
    (core module $libc {LIBC})
    (core instance $libc (instantiate $libc))
    (core func $it (canon lower (func $inner) {lower}))
    (core module $code
      (import "" "m" (memory 64))
      (import "" "it" (func $it {lowered}))
      (func (export "f") (param $n i64)
        (loop $l
          {call}
          (local.set $n (i64.sub (local.get $n) (i64.const 1)))
          (br_if $l (i64.gt_s (local.get $n) (i64.const 0))))))
    (core instance $code (instantiate $code
      (with "" (instance (export "m" (memory $libc "m")) (export "it" (func $it))))))
    (func (export "f") (param "n" s64) (canon lift (core func $code "f"))))
  (instance $inner (instantiate $inner))
  (instance $outer (instantiate $outer (with "it" (func $inner "it"))))
  (export "f" (func $outer "f")))"#
    )
}

#[track_caller]
fn ends(task: &str, fuel: u64, more: &[&str], input: &str) -> Vec<String> {
    let fuel = fuel.to_string();
    let args = ["--output-format", "records", "-j", "1", "--fuel", &fuel];
    map(&wat(task)).args(args).args(more).input(input).run().kinds()
}

#[test]
fn a_string_that_components_pass_counts_by_its_bytes() {
    for task in [passing("string", BYTES, "", ""), returning("string", BYTES, "", "")] {
        assert_eq!(ends(&task, BYTES - 1, &[], "1\n"), ["fuel"]);
        assert_eq!(ends(&task, BYTES + BESIDE, &[], "1\n2\n1\n"), ["ok", "fuel", "ok"]);
        assert_eq!(ends(&task, 10 * (BYTES + BESIDE), &["--isolate", "worker"], "10\n11\n10\n"), ["ok", "fuel", "ok"]);
    }
}

#[test]
fn whatever_components_pass_counts_by_its_bytes() {
    const UTF_16: &str = "string-encoding=utf16";
    const COMPACT: &str = "string-encoding=latin1+utf16";
    for make in [passing, returning] {
        for (ty, units, from, to) in [
            ("string", BYTES, "", UTF_16),
            ("string", BYTES, "", COMPACT),
            ("string", BYTES, UTF_16, ""),
            ("string", BYTES / 2, UTF_16, UTF_16),
            ("string", BYTES, UTF_16, COMPACT),
            ("string", BYTES, COMPACT, ""),
            ("string", BYTES, COMPACT, COMPACT),
            ("string", BYTES, COMPACT, UTF_16),
            ("(list u8)", BYTES, "", ""),
            ("(list f64)", BYTES / 8, "", ""),
            ("(list (tuple u8 s64))", BYTES / 16, "", ""),
            // Empty strings: only the list of them is copied.
            ("(list string)", BYTES / 8, "", ""),
        ] {
            let task = make(ty, units, from, to);
            assert_eq!(ends(&task, BYTES - 1, &[], "1\n"), ["fuel"], "{ty} {from} {to}");
            assert_eq!(ends(&task, 100 * BYTES, &[], "1\n1000\n"), ["ok", "fuel"], "{ty} {from} {to}");
        }
    }
}

#[test]
fn a_task_that_only_passes_on_ends_when_its_fuel_does() {
    let task = passing("string", BYTES, "", "");
    let run =
        map(&wat(task)).args(["--deterministic", "--fuel", "100000000"]).input("1\n1000000000000\n1\n").run().exits(1);
    assert!(run.stderr.contains("1 of 3 items failed: 1 fuel"), "{}", run.stderr);
}

#[test]
fn without_fuel_no_copy_is_counted() {
    let run = map(&wat(passing("string", BYTES, "", ""))).args(["--output-format", "records"]).input("10\n").run();
    assert_eq!(run.kinds(), ["ok"]);
}

/// Returns a component that writes to a new stream as often as its item says, and reads from the other end of it.
fn streaming(ty: &str, elements: u64) -> String {
    format!(
        r#"
(component
  (core module $libc (memory (export "m") 64))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "m" (core memory $m))
  (type $s (stream {ty}))
  (core func $new (canon stream.new $s))
  (core func $read (canon stream.read $s async (memory $m)))
  (core func $write (canon stream.write $s async (memory $m)))
  (core module $code
    (import "" "new" (func $new (result i64)))
    (import "" "read" (func $read (param i32 i32 i32) (result i32)))
    (import "" "write" (func $write (param i32 i32 i32) (result i32)))
    (func (export "f") (param $n i64) (result i32) (local $both i64) (local $moved i32)
      (loop $l
        (local.set $both (call $new))
        (drop (call $write (i32.wrap_i64 (i64.shr_u (local.get $both) (i64.const 32))) (i32.const 0) (i32.const {elements})))
        (local.set $moved (call $read (i32.wrap_i64 (local.get $both)) (i32.const 2048000) (i32.const {elements})))
        (local.set $n (i64.sub (local.get $n) (i64.const 1)))
        (br_if $l (i64.gt_s (local.get $n) (i64.const 0))))
      (i32.shr_u (local.get $moved) (i32.const 4))))
  (core instance $code (instantiate $code (with "" (instance (export "new" (func $new)) (export "read" (func $read))
    (export "write" (func $write))))))
  (func (export "f") (param "n" s64) (result u32) (canon lift (core func $code "f"))))"#
    )
}

#[test]
fn what_goes_through_a_stream_counts_by_what_was_moved() {
    let task = streaming("u8", BYTES);
    assert_eq!(ends(&task, BYTES - 1, &[], "1\n"), ["fuel"]);
    assert_eq!(ends(&task, BYTES + BESIDE, &[], "1\n2\n1\n"), ["ok", "fuel", "ok"]);
    let run = map(&wat(task)).args(["--fuel", "100000000"]).input("10\n").run().exits(0);
    assert_eq!(run.text(), format!("{BYTES}\n"));
    // A few elements each time: each transfer counts, too.
    let task = streaming("u64", 1);
    assert_eq!(ends(&task, 100_000, &[], "10\n100\n10\n"), ["ok", "fuel", "ok"]);
}
