//! Fuel bounds what the components of one task do with each other by the asynchronous ABI.

use crate::support::guest::wat;
use crate::support::run::map;

#[track_caller]
fn ends(task: &str, fuel: u64, more: &[&str], input: &str) -> Vec<String> {
    let fuel = fuel.to_string();
    let args = ["--output-format", "records", "-j", "1", "--fuel", &fuel];
    let run = map(&wat(task)).args(args).args(more).input(input).run();
    // Records of a deterministic run do not tell the worker, so they are no whole records.
    let records = run.text().lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    records.map(|record| record["kind"].as_str().unwrap_or("ok").to_owned()).collect()
}

/// A component that calls an async function of another as often as the item says. That one is lifted by `lift`, from what
/// `body` has as `it`, which has `$return` for its result; it is lowered by `lower`.
fn calling(lift: &str, body: &str, lower: &str, lowered: &str, call: &str) -> String {
    format!(
        r#"
(component
  (component $inner
    (core func $return (canon task.return (result u32)))
    (core module $m
      (import "" "return" (func $return (param i32)))
      {body})
    (core instance $i (instantiate $m (with "" (instance (export "return" (func $return))))))
    (func (export "it") async (result u32) (canon lift (core func $i "it") {lift})))
  (component $outer
    (import "it" (func $it async (result u32)))
    (core module $libc (memory (export "m") 1))
    (core instance $libc (instantiate $libc))
    (core func $it' (canon lower (func $it) {lower}))
    (core module $m
      (import "" "it" (func $it {lowered}))
      (func (export "f") (param $n i64)
        (loop $l
          (drop {call})
          (local.set $n (i64.sub (local.get $n) (i64.const 1)))
          (br_if $l (i64.gt_s (local.get $n) (i64.const 0))))))
    (core instance $i (instantiate $m (with "" (instance (export "it" (func $it'))))))
    (func (export "f") async (param "n" s64) (canon lift (core func $i "f"))))
  (instance $inner (instantiate $inner))
  (instance $outer (instantiate $outer (with "it" (func $inner "it"))))
  (export "f" (func $outer "f")))"#
    )
}

const CALLBACK: &str = r#"async (callback (core func $i "callback"))"#;
const RETURNS: &str = r#"
      (func (export "it") (result i32) (call $return (i32.const 7)) (i32.const 0))
      (func (export "callback") (param i32 i32 i32) (result i32) unreachable)"#;
/// It gives way a thousand times before it returns.
const YIELDS: &str = r#"
      (global $left (mut i32) (i32.const 0))
      (func (export "it") (result i32) (global.set $left (i32.const 1000)) (i32.const 1))
      (func (export "callback") (param i32 i32 i32) (result i32)
        (global.set $left (i32.sub (global.get $left) (i32.const 1)))
        (if (result i32) (global.get $left) (then (i32.const 1)) (else (call $return (i32.const 7)) (i32.const 0))))"#;
const SYNC: &str = r#"(func (export "it") (result i32) (i32.const 7))"#;
const ASYNC_LOWER: (&str, &str, &str) =
    (r#"async (memory (core memory $libc "m"))"#, "(param i32) (result i32)", "(call $it (i32.const 64))");
const SYNC_LOWER: (&str, &str, &str) = ("", "(result i32)", "(call $it)");

#[test]
fn a_call_of_an_async_function_counts_however_it_is_made() {
    for (lift, body) in [(CALLBACK, RETURNS), ("", SYNC)] {
        for (lower, lowered, call) in [ASYNC_LOWER, SYNC_LOWER] {
            let task = calling(lift, body, lower, lowered, call);
            for more in [&[][..], &["--deterministic"]] {
                assert_eq!(ends(&task, 50_000, more, "10\n100\n10\n"), ["ok", "fuel", "ok"], "{lift} {lower}");
            }
        }
    }
}

#[test]
fn each_time_that_a_task_gives_way_counts() {
    let (lower, lowered, call) = SYNC_LOWER;
    let task = calling(CALLBACK, YIELDS, lower, lowered, call);
    assert_eq!(ends(&task, 1_000_000, &[], "1\n"), ["fuel"]);
    assert_eq!(ends(&task, 1_500_000, &[], "1\n2\n1\n"), ["ok", "fuel", "ok"]);
}

#[test]
fn an_instruction_for_back_pressure_counts() {
    let task = r#"
(component
  (core func $more (canon backpressure.inc))
  (core func $less (canon backpressure.dec))
  (core module $code
    (import "" "more" (func $more))
    (import "" "less" (func $less))
    (func (export "f") (param $n i64)
      (loop $l
        (call $more) (call $less)
        (local.set $n (i64.sub (local.get $n) (i64.const 1)))
        (br_if $l (i64.gt_s (local.get $n) (i64.const 0))))))
  (core instance $code (instantiate $code
    (with "" (instance (export "more" (func $more)) (export "less" (func $less))))))
  (func (export "f") async (param "n" s64) (canon lift (core func $code "f"))))"#;
    assert_eq!(ends(task, 400_000, &[], "100\n1000\n100\n"), ["ok", "fuel", "ok"]);
}

/// Two components, of which one writes to a stream or a future and the other reads from it: `elements` of `ty`, which may use
/// `$t`. A list among them has `length` elements, which are all zero.
fn passing(kind: &str, types: &str, ty: &str, elements: u32, length: u32) -> String {
    let (sig, count) = match kind {
        "stream" => ("(param i32 i32 i32) (result i32)", format!("(i32.const {elements})")),
        _ => ("(param i32 i32) (result i32)", String::new()),
    };
    format!(
        r#"
(component
  (component $inner
    {types} (type $s ({kind} {ty}))
    (core module $libc (memory (export "m") 100)
      (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0)))
    (core instance $libc (instantiate $libc))
    (core func $read (canon {kind}.read $s async
      (memory (core memory $libc "m")) (realloc (core func $libc "realloc"))))
    (core module $code
      (import "" "read" (func $read {sig}))
      (func (export "it") (param i32) (result i32) (call $read (local.get 0) (i32.const 0) {count})))
    (core instance $i (instantiate $code (with "" (instance (export "read" (func $read))))))
    (func (export "it") (param "s" $s) (result u32) (canon lift (core func $i "it"))))
  (component $outer
    {types} (type $s ({kind} {ty}))
    (import "it" (func $it (param "s" $s) (result u32)))
    (core module $libc (memory (export "m") 100))
    (core instance $libc (instantiate $libc))
    (core func $new (canon {kind}.new $s))
    (core func $write (canon {kind}.write $s async (memory (core memory $libc "m"))))
    (core func $it' (canon lower (func $it)))
    (core module $code
      (import "" "m" (memory 100))
      (import "" "new" (func $new (result i64)))
      (import "" "write" (func $write {sig}))
      (import "" "it" (func $it (param i32) (result i32)))
      (func (export "f") (param $n i64) (result i32) (local $both i64) (local $read i32)
        (i32.store (i32.const 0) (i32.const 1024))
        (i32.store (i32.const 4) (i32.const {length}))
        (loop $l
          (local.set $both (call $new))
          (drop (call $write (i32.wrap_i64 (i64.shr_u (local.get $both) (i64.const 32))) (i32.const 0) {count}))
          (local.set $read (call $it (i32.wrap_i64 (local.get $both))))
          (local.set $n (i64.sub (local.get $n) (i64.const 1)))
          (br_if $l (i64.gt_s (local.get $n) (i64.const 0))))
        (local.get $read)))
    (core instance $code (instantiate $code (with "" (instance
      (export "m" (memory $libc "m")) (export "new" (func $new)) (export "write" (func $write)) (export "it" (func $it'))))))
    (func (export "f") async (param "n" s64) (result u32) (canon lift (core func $code "f"))))
  (instance $inner (instantiate $inner))
  (instance $outer (instantiate $outer (with "it" (func $inner "it"))))
  (export "f" (func $outer "f")))"#
    )
}

#[test]
fn a_value_counts_by_its_parts_where_it_goes_through_a_stream_or_a_future() {
    let tuple = format!("(type $t (tuple {}))", "u64 ".repeat(1000));
    let deep: String = (1..40).map(|n| format!("(type $t{n} (tuple $t{}))", n - 1)).collect();
    let deep = format!("(type $t0 (tuple u8)) {deep} (type $t (list $t39))");
    for (kind, types, ty, elements, length, at_least) in [
        ("stream", "", "bool", 10_000, 0, 500_000),
        ("stream", "", "string", 1000, 0, 100_000),
        ("stream", &*tuple, "$t", 100, 0, 5_000_000),
        ("future", &*tuple, "$t", 1, 0, 50_000),
        ("future", "(type $t (list u8))", "$t", 1, 10_000, 500_000),
        ("future", "(type $t (list (option u8)))", "$t", 1, 10_000, 1_000_000),
        ("future", &*deep, "$t", 1, 1000, 4_000_000),
    ] {
        let task = passing(kind, types, ty, elements, length);
        assert_eq!(ends(&task, at_least, &[], "1\n"), ["fuel"], "{kind} {ty}");
        assert_eq!(ends(&task, 4 * at_least, &[], "1\n20\n1\n"), ["ok", "fuel", "ok"], "{kind} {ty}");
    }
    // Numbers go as their bytes.
    let task = passing("stream", "", "u64", 10_000, 0);
    assert_eq!(ends(&task, 15_000, &[], "1\n10\n1\n"), ["ok", "fuel", "ok"]);
    let run = map(&wat(task)).args(["--fuel", "100000000"]).input("10\n").run().exits(0);
    assert_eq!(run.text(), "160000\n");
}

#[test]
fn a_component_with_thousands_of_functions_that_count_runs() {
    const MANY: usize = 5000;
    let each = |line: &dyn Fn(usize) -> String| (0..MANY).map(line).collect::<String>();
    let made = each(&|n| {
        format!("(core func $new{n} (canon resource.new $r)) (core func $drop{n} (canon resource.drop $r))\n")
    });
    let given = each(&|n| format!(r#"(export "new{n}" (func $new{n})) (export "drop{n}" (func $drop{n}))"#));
    let taken = each(&|n| {
        format!(
            r#"(import "" "new{n}" (func $new{n} (param i32) (result i32))) (import "" "drop{n}" (func $drop{n} (param i32)))"#
        )
    });
    let last = MANY - 1;
    let task = format!(
        r#"
(component
  (type $r (resource (rep i32)))
  {made}
  (core module $code
    {taken}
    (func (export "f") (param $n i64)
      (loop $l
        (call $drop0 (call $new{last} (i32.const 3)))
        (local.set $n (i64.sub (local.get $n) (i64.const 1)))
        (br_if $l (i64.gt_s (local.get $n) (i64.const 0))))))
  (core instance $code (instantiate $code (with "" (instance {given}))))
  (func (export "f") (param "n" s64) (canon lift (core func $code "f"))))"#
    );
    assert_eq!(ends(&task, 10_000, &[], "10\n100\n10\n"), ["ok", "fuel", "ok"]);
}
