//! Instances that are restored in place of new ones: no item finds a difference, and nothing that cannot be restored is.

use crate::support::guest::{Task, built, built_in, wat};
use crate::support::run::{Run, map, wasmpool};
use crate::support::wat::{COUNT_TO, SQUARE, component, echo_string, initialised, lift};

/// A run in which each restored instance is compared with a new one.
fn verified(task: &Task) -> Run {
    map(task).args(["-v", "-j", "1"]).env("WASMPOOL_VERIFY_RESTORE", "1")
}

/// Returns how many items got a restored instance, as `-v` says if there was any instance.
#[track_caller]
fn restored(stderr: &str) -> u64 {
    let Some(line) = stderr.lines().find(|line| line.contains("got a restored one")) else {
        return 0;
    };
    let number = line.split_whitespace().zip(line.split_whitespace().skip(1)).find(|(_, next)| *next == "items");
    number.and_then(|(number, _)| number.parse().ok()).unwrap_or_else(|| panic!("no number in: {line}"))
}

/// A function of one number that leaves traces in two memories and in global variables of each type, and returns the sum of
/// all traces that it finds.
const TRACES: &str = r#"
  (memory $a 20 20) (memory $b 3)
  (global $i32 (mut i32) (i32.const 3)) (global $i64 (mut i64) (i64.const -5))
  (global $f32 (mut f32) (f32.const 1.5)) (global $f64 (mut f64) (f64.const -2.25))
  (global $v128 (mut v128) (v128.const i64x2 7 9))
  (global $func (mut funcref) (ref.null func))
  (data (memory $a) (i32.const 65530) "across two pages") (data (memory $b) (i32.const 5000) "\ff\fe")
  (elem declare func $sum)
  (func $sum (param $from i32) (param $to i32) (result i64) (local $all i64)
    (loop $next
      (local.set $all (i64.add (i64.rotl (local.get $all) (i64.const 1)) (i64.load (local.get $from))))
      (br_if $next (i32.lt_u
        (local.tee $from (i32.add (local.get $from) (i32.const 512))) (local.get $to))))
    (local.get $all))
  (func (export "leave") (param $item i64) (result i64) (local $found i64) (local $at i32)
    (local.set $found (i64.add (call $sum (i32.const 0) (i32.const 1300000)) (i64.load $b (i32.const 5000))))
    (local.set $found (i64.add (local.get $found) (i64.extend_i32_u (global.get $i32))))
    (local.set $found (i64.add (local.get $found) (global.get $i64)))
    (local.set $found (i64.add (local.get $found) (i64.extend_i32_u (i32.reinterpret_f32 (global.get $f32)))))
    (local.set $found (i64.add (local.get $found) (i64.reinterpret_f64 (global.get $f64))))
    (local.set $found (i64.add (local.get $found) (i64x2.extract_lane 1 (global.get $v128))))
    (local.set $found (i64.add (local.get $found) (i64.extend_i32_u (ref.is_null (global.get $func)))))
    (local.set $at (i32.wrap_i64 (i64.rem_u (i64.mul (local.get $item) (i64.const 7919)) (i64.const 1300000))))
    (i64.store (local.get $at) (i64.const -1))
    (i64.store $b (i32.const 5000) (local.get $item))
    (memory.fill (i32.const 900000) (i32.wrap_i64 (local.get $item)) (i32.const 9000))
    (global.set $i32 (local.get $at)) (global.set $i64 (local.get $item))
    (global.set $f32 (f32.const 0)) (global.set $f64 (f64.const 0))
    (global.set $v128 (i64x2.splat (local.get $item))) (global.set $func (ref.func $sum))
    (local.get $found))"#;

/// Checks that all of many items return the same, and that most got a restored instance.
#[track_caller]
fn finds_no_trace(task: &Task) {
    let input: String = (1..=400).map(|item| format!("{item}\n")).collect();
    let output = verified(task).input(input).run().exits(0);
    let first = output.text().lines().next().map(str::to_owned);
    assert!(output.text().lines().all(|line| Some(line) == first.as_deref()), "{}", output.text());
    assert_eq!(output.text().lines().count(), 400);
    assert!(restored(&output.stderr) > 200, "{}", output.stderr);
}

#[test]
fn an_item_finds_no_trace_of_another_in_a_restored_module() {
    finds_no_trace(&wat(format!("(module {TRACES})")));
}

#[test]
fn an_item_finds_no_trace_of_another_in_a_restored_component() {
    let ty = r#"(param "item" s64) (result s64)"#;
    finds_no_trace(&wat(format!(
        r#"(component
             (core module $m {TRACES})
             (core module $counts (global $n (export "n") (mut i32) (i32.const 0)))
             (core module $user (import "c" "n" (global $n (mut i32))) (import "m" "leave" (func $leave (param i64) (result i64)))
               (func (export "leave") (param i64) (result i64)
                 (global.set $n (i32.add (global.get $n) (i32.const 1)))
                 (i64.add (call $leave (local.get 0)) (i64.extend_i32_u (global.get $n)))))
             (core instance $m (instantiate $m))
             (core instance $counts (instantiate $counts))
             (core instance $user (instantiate $user (with "c" (instance $counts)) (with "m" (instance $m))))
             (func (export "leave") {ty} (canon lift (core func $user "leave"))))"#
    )));
}

#[test]
fn guests_of_several_languages_are_restored_to_what_a_new_instance_is() {
    let numbers: String = (0..600).map(|item| format!("{item}\n")).collect();
    let square = verified(&built("square")).input(numbers).run().exits(0);
    assert!(restored(&square.stderr) > 500, "{}", square.stderr);
    let isbns = "\"9780306406157\"\n\"0306406152\"\n\"no number\"\n".repeat(50);
    let rust = map(&built("isbn")).input(&*isbns).run();
    // In the other two languages, the guests are commands, which are not restored.
    for language in ["rust", "python", "javascript"] {
        let guest = if language == "rust" { Some(built("isbn")) } else { built_in(language, "isbn") };
        let Some(guest) = guest else { continue };
        let output = verified(&guest).input(&*isbns).run();
        assert_eq!((output.code, output.text()), (rust.code, rust.text()), "{language}: {}", output.stderr);
    }
}

#[test]
fn what_cannot_be_restored_gets_a_new_instance() {
    let grows = r#"(module (memory (export "m") 1)
      (func (export "go") (param i64) (result i64) (drop (memory.grow (i32.const 1))) (i64.extend_i32_u (memory.size))))"#;
    let output = verified(&wat(grows)).input("1\n".repeat(300)).run().exits(0);
    assert_eq!((output.text(), restored(&output.stderr)), ("2\n".repeat(300).as_str(), 0));
    let traps = "(module (global $g (mut i64) (i64.const 0)) (func (export \"go\") (param i64) (result i64)
      (global.set $g (i64.add (global.get $g) (i64.const 1)))
      (if (i64.eqz (i64.rem_u (local.get 0) (i64.const 3))) (then unreachable)) (global.get $g)))";
    let input: String = (0..300).map(|item| format!("{item}\n")).collect();
    let output = verified(&wat(traps)).input(input).run().exits(1);
    assert_eq!(output.text(), "1\n".repeat(200));
}

#[test]
fn a_text_that_a_restored_instance_returns_is_complete() {
    let input: String = (0..500).map(|item| format!("\"{}{item}\"\n", "x".repeat(item % 97))).collect();
    let output = verified(&wat(echo_string())).input(&*input).run().exits(0);
    assert_eq!(output.text(), input);
    assert!(restored(&output.stderr) > 400, "{}", output.stderr);
}

#[test]
fn a_restored_instance_is_as_init_left_it() {
    let input: String = (0..500).map(|item| format!("{item}\n")).collect();
    let wanted: String = (0..500).map(|item| format!("{}\n", item + 7)).collect();
    let output = verified(&wat(initialised())).args(["--init", "7"]).input(input).run().exits(0);
    assert_eq!(output.text(), wanted);
    assert!(restored(&output.stderr) > 300, "{}", output.stderr);
}

#[test]
fn isolated_by_chunk_a_restored_instance_keeps_what_the_chunk_did() {
    let counts = "(module (global $g (mut i64) (i64.const 0)) (memory 1) (func (export \"go\") (param i64) (result i64)
      (global.set $g (i64.add (global.get $g) (i64.const 1)))
      (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
      (i64.add (global.get $g) (i64.mul (i64.load (i32.const 0)) (i64.const 100)))))";
    let output = map(&wat(counts)).args(["-v", "-j", "1", "-c", "2", "--isolate", "chunk"]);
    let output = output.input("0\n".repeat(400)).run().exits(0);
    assert_eq!(output.text(), "101\n202\n".repeat(200));
    assert!(restored(&output.stderr) > 100, "{}", output.stderr);
}

#[test]
fn an_item_has_as_much_fuel_in_a_restored_instance_as_in_a_new_one() {
    // Making an instance costs fuel, too.
    let task = wat(COUNT_TO.replace(
        "(module",
        "(module (memory 1) (global $g (mut i32) (i32.const 0)) (start $begin)
      (func $begin (local $i i32) (loop $l (global.set $g (local.tee $i (i32.add (local.get $i) (i32.const 1))))
        (br_if $l (i32.lt_u (local.get $i) (i32.const 100)))))",
    ));
    let ends = |fuel: u64| {
        let run = verified(&task).args(["--fuel", &fuel.to_string(), "--output-format", "records"]);
        let output = run.input("50\n".repeat(200)).run();
        let ok = output.text().lines().filter(|line| line.contains("\"status\":\"ok\"")).count();
        (ok, restored(&output.stderr))
    };
    let (mut enough, mut short) = (100_000, 0);
    while enough - short > 1 {
        let fuel = u64::midpoint(enough, short);
        match ends(fuel) {
            (200, _) => enough = fuel,
            (0, _) => short = fuel,
            (some, _) => panic!("{some} of 200 equal items end well with {fuel} of fuel"),
        }
    }
    assert!(ends(enough).1 > 100, "instances are restored with {enough} of fuel");
}

#[test]
fn it_can_be_switched_off() {
    let output = map(&wat(SQUARE)).args(["-v", "-j", "1"]).env("WASMPOOL_RESTORE", "0");
    let output = output.input("3\n".repeat(200)).run().exits(0);
    assert_eq!((output.text(), restored(&output.stderr)), ("9\n".repeat(200).as_str(), 0));
}

#[test]
fn inspect_says_whether_instances_are_restored() {
    let said = |text: &str| wasmpool().arg("inspect").task(&wat(text)).run().exits(0).text().to_owned();
    assert!(said(SQUARE).contains("an instance is restored after an item"), "{}", said(SQUARE));
    let changes = "(module (table 1 funcref) (func (export \"f\") (table.set (i32.const 0) (ref.null func))))";
    assert!(said(changes).contains("each item gets a new instance") && said(changes).contains("table.set"));
    let task = component("(func (export \"f\"))", &[lift("f", "")]);
    let shown = said(&task);
    assert!(shown.contains("is restored") && !shown.contains("wasmpool-restore"), "{shown}");
}

#[test]
fn a_task_can_name_nothing_that_is_added_to_it() {
    let keeping = |code: &str| {
        format!(
            r#"(module (memory 1) (global (mut i64) (i64.const 0))
                 (func (export "f") (param i64) (result i64) {code} (local.get 0)))"#
        )
    };
    for code in
        ["(global.set 1 (local.get 0))", "(call 1)", "(call 2)", "(drop (call_indirect (type 1) (i32.const 0)))"]
    {
        for args in [&["-q"][..], &["-q", "--fuel", "10000"], &["-q", "--deterministic"]] {
            let output = map(&wat(keeping(code))).args(args).input("1\n2\n").run().exits(2);
            assert!(output.stderr.contains("unknown"), "{code}: {}", output.stderr);
        }
    }
}
