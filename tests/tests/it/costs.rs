//! Fuel limits work that takes longer than an instruction does, though the engine counts it as one instruction or not at
//! all.

use crate::support::guest::wat;
use crate::support::run::map;

#[track_caller]
fn ends(task: &str, fuel: u64, more: &[&str], input: &str) -> Vec<String> {
    let fuel = fuel.to_string();
    let args = ["--output-format", "records", "-j", "1", "--timeout", "10m", "--fuel", &fuel];
    map(&wat(task)).args(args).args(more).input(input).run().kinds()
}

/// A module that does this as often as its item says, with these declarations and functions.
fn repeating(declared: &str, operation: &str) -> String {
    format!(
        r#"
(module {declared}
  (func (export "f") (param $n i32) (result i32)
    (loop $l {operation} (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i32.const 1)))"#
    )
}

#[test]
fn an_exception_counts_the_clauses_that_it_may_be_compared_with() {
    let clauses = "(catch $other $out) ".repeat(1000);
    let nested = format!("{} (throw $e) {}", "(try_table (catch $other $out) ".repeat(300), ")".repeat(300));
    for (of, thrower, each) in [
        ("a throw", format!("(block $out (try_table {clauses} (throw $e)))"), 3000),
        ("throws in each other", format!("(block $out {nested})"), 900),
        ("a call", format!("(block $out (try_table {clauses} (call $thrower)))"), 3000),
        (
            "a call in a block",
            format!("(block $out (try_table {clauses} (if (i32.const 1) (then (call $thrower)))))"),
            3000,
        ),
    ] {
        let declared = format!("(tag $e) (tag $other) (func $thrower (throw $e)) (func $between {thrower})");
        let task = repeating(&declared, "(block $b (try_table (catch_all $b) (call $between)))");
        assert_eq!(ends(&task, each * 1000, &[], "100\n1000\n100\n"), ["ok", "fuel", "ok"], "{of}");
    }
    // No compiler makes many of them, and few count nothing.
    let few = repeating(
        "(tag $e) (func $between (block $out (try_table (catch $e $out) (call $nothing)))) (func $nothing)",
        "(call $between)",
    );
    assert_eq!(ends(&few, 20_000, &[], "1000\n"), ["ok"]);
}

#[test]
fn an_array_counts_the_references_that_it_is_made_of() {
    let task = repeating(
        "(type $r (array anyref)) (global $g anyref (ref.i31 (i32.const 1)))",
        &format!("(drop (array.new_fixed $r 1000 {}))", "(global.get $g) ".repeat(1000)),
    );
    assert_eq!(ends(&task, 3_000_000, &[], "100\n1000\n100\n"), ["ok", "fuel", "ok"]);
}

#[test]
fn a_collection_counts_if_it_may_find_little() {
    // All but 300 bytes of the memory for values are in use, so it is searched after every few of them.
    let task = repeating(
        r#"
  (type $bytes (array (mut i8))) (type $pair (struct (field i64 i64)))
  (global $all (mut (ref null $bytes)) (ref.null $bytes))
  (func $fill (global.set $all (array.new_default $bytes (i32.const 8388300))))
  (start $fill)"#,
        "(drop (struct.new $pair (i64.const 1) (i64.const 2)))",
    );
    let memory = ["--memory", "8MiB"];
    assert_eq!(ends(&task, 20_000_000, &memory, "10\n100000\n10\n"), ["ok", "fuel", "ok"]);
    // With room it is not: the same number of values takes less.
    assert_eq!(ends(&task, 20_000_000, &["--memory", "64MiB"], "100000\n"), ["ok"]);
    // What one instance after the other has left is no matter.
    assert_eq!(ends(&task, 20_000_000, &[&memory[..], &["--deterministic"]].concat()[..2], "10\n10\n"), ["ok", "ok"]);
}

/// Components of which one has a resource, and the other makes a call that has it as an argument.
fn lending(calls: &str, inside: &str) -> String {
    format!(
        r#"
(component
  (component $owner
    (type $r' (resource (rep i32))) (export $r "r" (type $r'))
    (core func $new (canon resource.new $r)) (core func $rep (canon resource.rep $r))
    (core module $m
      (import "" "new" (func $new (param i32) (result i32)))
      (import "" "rep" (func $rep (param i32) (result i32)))
      (func (export "make") (result i32) (call $new (i32.const 7)))
      (func (export "look") (param i32))
      (func (export "inside") (param $n i64) (local $r i32)
        (local.set $r (call $new (i32.const 7)))
        (loop $l
          {inside}
          (local.set $n (i64.sub (local.get $n) (i64.const 1)))
          (br_if $l (i64.gt_s (local.get $n) (i64.const 0))))))
    (core instance $i (instantiate $m (with "" (instance (export "new" (func $new)) (export "rep" (func $rep))))))
    (func (export "make") (result (own $r)) (canon lift (core func $i "make")))
    (func (export "look") (param "r" (borrow $r)) (canon lift (core func $i "look")))
    (func (export "inside") (param "n" s64) (canon lift (core func $i "inside"))))
  (instance $owner (instantiate $owner))
  (component $user
    (import "owner" (instance $owner (export "r" (type $r (sub resource)))
      (export "make" (func (result (own $r)))) (export "look" (func (param "r" (borrow $r))))
      (export "inside" (func (param "n" s64)))))
    (core func $make (canon lower (func $owner "make")))
    (core func $look (canon lower (func $owner "look")))
    (core func $inside (canon lower (func $owner "inside")))
    (core module $m
      (import "" "make" (func $make (result i32))) (import "" "look" (func $look (param i32)))
      (import "" "inside" (func $inside (param i64)))
      (func (export "f") (param $n i64) (local $r i32)
        (local.set $r (call $make))
        {calls}))
    (core instance $i (instantiate $m (with "" (instance
      (export "make" (func $make)) (export "look" (func $look)) (export "inside" (func $inside))))))
    (func (export "f") (param "n" s64) (canon lift (core func $i "f"))))
  (instance $user (instantiate $user (with "owner" (instance $owner))))
  (export "f" (func $user "f")))"#
    )
}

#[test]
fn each_handle_that_components_pass_counts() {
    let loops = r#"(loop $l
          (call $look (local.get $r))
          (local.set $n (i64.sub (local.get $n) (i64.const 1)))
          (br_if $l (i64.gt_s (local.get $n) (i64.const 0))))"#;
    let task = lending(loops, "");
    assert_eq!(ends(&task, 60_000, &[], "100\n1000\n100\n"), ["ok", "fuel", "ok"]);
}

#[test]
fn looking_into_a_resource_counts() {
    let task = lending("(call $inside (local.get $n))", "(drop (call $rep (local.get $r)))");
    assert_eq!(ends(&task, 20_000, &[], "100\n1000\n100\n"), ["ok", "fuel", "ok"]);
}

#[test]
fn a_function_with_no_room_for_what_fuel_adds_is_no_worse_for_it() {
    // A function may have 50,000 local variables. The check before the operation would be done with some more.
    let locals = "i32 ".repeat(49_999);
    let text = format!(
        r#"(module (memory 1) (func (export "f") (param i32) (result i32) (local {locals})
          (memory.fill (i32.const 0) (i32.const 1) (i32.const 9)) (i32.load8_u (local.get 0))))"#
    );
    assert_eq!(ends(&text, 100_000, &[], "3\n"), ["ok"]);
}
