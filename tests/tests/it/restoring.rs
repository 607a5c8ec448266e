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
    (local.set $at (i32.wrap_i64 (i64.mul (i64.rem_u (local.get $item) (i64.const 8)) (i64.const 162501))))
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
    let isbns = "\"9780306406157\"\n\"0306406152\"\n\"no number\"\n".repeat(200);
    let rust = map(&built("isbn")).input(&*isbns).run();
    for language in ["rust", "python", "javascript"] {
        let guest = if language == "rust" { Some(built("isbn")) } else { built_in(language, "isbn") };
        let Some(guest) = guest else { continue };
        let output = verified(&guest).input(&*isbns).run();
        assert_eq!((output.code, output.text()), (rust.code, rust.text()), "{language}: {}", output.stderr);
        // Also where the first item writes to pages that no other does.
        assert!(restored(&output.stderr) > 400, "{language}: {}", output.stderr);
    }
    // In the other two languages, the guests are commands whose memory grows.
    for guest in ["c", "go"].into_iter().filter_map(|language| built_in(language, "isbn")) {
        let run = wasmpool().arg("exec").task(&guest).args(["-v", "-j", "1", "--input-format", "lines"]);
        let output = run.env("WASMPOOL_VERIFY_RESTORE", "1").input("0306406152\n".repeat(100)).run().exits(0);
        assert_eq!(output.text(), "9780306406157\n".repeat(100), "{}", output.stderr);
    }
}

/// Returns a component whose function `f: func(item: s64) -> s64` has this body, and functions of the host: `$in`, `$out`
/// and `$err` return handles of the standard streams, `$drop-in` and `$drop-out` drop them, and `$now` reads a clock.
fn with_handles(body: &str) -> Task {
    wat(format!(
        r#"(component
      (import "wasi:io/error@0.2.0" (instance $errors (export "error" (type (sub resource)))))
      (alias export $errors "error" (type $error))
      (import "wasi:io/streams@0.2.0" (instance $streams
        (export "output-stream" (type $out (sub resource)))
        (export "input-stream" (type (sub resource)))
        (alias outer 1 $error (type $outer))
        (export "error" (type $error (eq $outer)))
        (type $failed (variant (case "last-operation-failed" (own $error)) (case "closed")))
        (export "stream-error" (type $stream-error (eq $failed)))
        (export "[method]output-stream.blocking-write-and-flush"
          (func (param "self" (borrow $out)) (param "contents" (list u8)) (result (result (error $stream-error)))))))
      (alias export $streams "output-stream" (type $out))
      (alias export $streams "input-stream" (type $in))
      (import "wasi:cli/stdin@0.2.0" (instance $stdin (alias outer 1 $in (type $outer))
        (export "input-stream" (type $in (eq $outer))) (export "get-stdin" (func (result (own $in))))))
      (import "wasi:cli/stdout@0.2.0" (instance $stdout (alias outer 1 $out (type $outer))
        (export "output-stream" (type $out (eq $outer))) (export "get-stdout" (func (result (own $out))))))
      (import "wasi:cli/stderr@0.2.0" (instance $stderr (alias outer 1 $out (type $outer))
        (export "output-stream" (type $out (eq $outer))) (export "get-stderr" (func (result (own $out))))))
      (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock (export "now" (func (result u64)))))
      (core module $memory (memory (export "memory") 1) (data (i32.const 0) "hello\0a"))
      (core instance $m (instantiate $memory))
      (core func $in (canon lower (func $stdin "get-stdin")))
      (core func $out (canon lower (func $stdout "get-stdout")))
      (core func $err (canon lower (func $stderr "get-stderr")))
      (core func $now (canon lower (func $clock "now")))
      (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
        (memory (core memory $m "memory"))))
      (core func $drop-in (canon resource.drop $in))
      (core func $drop-out (canon resource.drop $out))
      (core module $main
        (import "w" "in" (func $in (result i32))) (import "w" "out" (func $out (result i32)))
        (import "w" "err" (func $err (result i32))) (import "w" "now" (func $now (result i64)))
        (import "w" "drop-in" (func $drop-in (param i32))) (import "w" "drop-out" (func $drop-out (param i32)))
        (import "w" "write" (func $write (param i32 i32 i32 i32)))
        (import "m" "memory" (memory 1))
        (func (export "f") (param $item i64) (result i64) (local $a i32) (local $b i32) (local $c i32)
          (i64.store (i32.const 64) (i64.add (i64.load (i32.const 64)) (i64.const 1)))
          {body}))
      (core instance $i (instantiate $main (with "m" (instance $m)) (with "w" (instance
        (export "in" (func $in)) (export "out" (func $out)) (export "err" (func $err)) (export "now" (func $now))
        (export "drop-in" (func $drop-in)) (export "drop-out" (func $drop-out)) (export "write" (func $write))))))
      (func (export "f") (param "item" s64) (result s64) (canon lift (core func $i "f"))))"#
    ))
}

/// Checks that each of many items returns this, and that most got a restored instance.
#[track_caller]
fn always_returns(wanted: &str, body: &str) {
    let input: String = (0..400).map(|item| format!("{item}\n")).collect();
    let output = verified(&with_handles(body)).input(input).run().exits(0);
    assert_eq!(output.text(), format!("{wanted}\n").repeat(400), "{body}");
    assert!(restored(&output.stderr) > 300, "{body}: {}", output.stderr);
}

#[test]
fn the_numbers_of_handles_tell_nothing_of_the_items_before() {
    // All three are left.
    let all = "(i64.add (i64.load (i32.const 64)) (i64.extend_i32_u (i32.add
      (i32.mul (call $in) (i32.const 100)) (i32.add (i32.mul (call $out) (i32.const 10)) (call $err)))))";
    always_returns("124", all);
    // The first of two is dropped, and one of two more.
    always_returns(
        "2",
        "(local.set $a (call $out)) (local.set $b (call $err)) (call $drop-out (local.get $a)) (i64.extend_i32_u (local.get $b))",
    );
    // All are dropped, the first one first, so that the last one's place would be the next one's.
    always_returns(
        "1",
        "(local.set $a (call $in)) (local.set $b (call $out)) (local.set $c (call $err))
         (call $drop-in (local.get $a)) (call $drop-out (local.get $c)) (call $drop-out (local.get $b))
         (i64.extend_i32_u (local.get $a))",
    );
    // A stream of input takes the place of one of output.
    always_returns(
        "1",
        "(local.set $a (call $out)) (local.set $b (call $out)) (call $drop-out (local.get $a)) (local.set $a (call $in))
         (i64.extend_i32_u (local.get $a))",
    );
    // More or fewer than the item before.
    always_returns(
        "1",
        "(local.set $a (call $in)) (local.set $c (i32.wrap_i64 (i64.rem_u (local.get $item) (i64.const 9))))
         (loop $l (local.set $b (call $out)) (local.set $c (i32.sub (local.get $c) (i32.const 1)))
           (br_if $l (i32.gt_s (local.get $c) (i32.const 0))))
         (i64.extend_i32_u (local.get $a))",
    );
}

#[test]
fn more_handles_than_can_be_cleared_get_a_new_instance() {
    let body = "(loop $l (local.set $a (call $out)) (br_if $l (i32.lt_u (local.get $a) (i32.const 40)))) (i64.extend_i32_u (local.get $a))";
    let output = verified(&with_handles(body)).input("1\n".repeat(200)).run().exits(0);
    assert_eq!((output.text(), restored(&output.stderr)), ("40\n".repeat(200).as_str(), 0));
}

#[test]
fn an_item_that_asks_the_host_for_what_leaves_nothing_is_restored() {
    always_returns("1", "(drop (call $now)) (i64.load (i32.const 64))");
}

#[test]
fn what_a_restored_instance_prints_is_that_of_its_item() {
    let body = "(call $write (call $out) (i32.const 0) (i32.const 6) (i32.const 32)) (i64.load (i32.const 64))";
    let run = verified(&with_handles(body)).args(["--output-format", "records"]).input("1\n".repeat(300));
    let output = run.run().exits(0);
    assert!(output.text().lines().all(|line| line.contains(r#""stdout":"hello\n""#)), "{}", output.text());
    assert!(restored(&output.stderr) > 200, "{}", output.stderr);
}

/// Runs a command on many items, which have to end with this standard output.
#[track_caller]
fn command_returns(task: &Task, wanted: &str) -> String {
    let items: String = (0..300).map(|item| format!("{item}\n")).collect();
    let run = wasmpool().arg("exec").task(task).args(["-v", "-j", "1", "--input-format", "lines", "--", "{}"]);
    let output = run.env("WASMPOOL_VERIFY_RESTORE", "1").input(items).run().exits(0);
    let said: String = (0..300).map(|item| wanted.replace("{}", &format!("{item}"))).collect();
    assert_eq!(output.text(), said);
    output.stderr
}

/// A command of preview 1 that prints its argument and a count that it keeps in its memory, a table's length and a global.
fn counting(end: &str) -> String {
    format!(
        r#"(module
          (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (memory (export "memory") 2) (global $count (mut i32) (i32.const 48)) (data (i32.const 64) "0")
          (func (export "_start") (local $at i32)
            (global.set $count (i32.add (global.get $count) (i32.const 1)))
            (i32.store8 (i32.const 64) (i32.add (i32.load8_u (i32.const 64)) (i32.const 1)))
            (drop (call $sizes (i32.const 16) (i32.const 20)))
            (drop (call $args (i32.const 1024) (i32.const 4096)))
            (local.set $at (i32.load (i32.const 1028)))
            (loop $l (local.set $at (i32.add (local.get $at) (i32.const 1))) (br_if $l (i32.load8_u (local.get $at))))
            (i32.store8 (local.get $at) (global.get $count))
            (i32.store8 offset=1 (local.get $at) (i32.load8_u (i32.const 64)))
            (i32.store (i32.const 0) (i32.load (i32.const 1028)))
            (i32.store (i32.const 4) (i32.sub (i32.add (local.get $at) (i32.const 2)) (i32.load (i32.const 1028))))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
            {end}))"#
    )
}

#[test]
fn a_command_is_restored_wherever_a_core_module_ended() {
    const EXIT: &str = "(call $exit (i32.const 0))";
    // The end of a program in a function that does not return, behind which only a trap can come.
    let within = counting(EXIT)
        .replace("(func (export \"_start\")", "(func (export \"_start\") (call $body) unreachable) (func $body");
    for text in [counting(""), counting(EXIT), within] {
        let stderr = command_returns(&wat(&text), "{}11");
        assert!(restored(&stderr) > 200, "{text}: {stderr}");
    }
}

#[test]
fn what_a_component_was_told_while_it_was_made_is_told_to_no_other_item() {
    // Its start function keeps the length of the last argument, and an item checks that it is its own.
    let task = wat(r#"(component
          (import "wasi:cli/environment@0.2.0" (instance $env (export "get-arguments" (func (result (list string))))))
          (core module $memory (memory (export "memory") 1) (global $next (mut i32) (i32.const 1024))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
              (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
              (global.set $next (i32.add (local.get $at) (local.get 3)))
              (local.get $at)))
          (core instance $memory (instantiate $memory))
          (alias core export $memory "memory" (core memory $m))
          (core func $told (canon lower (func $env "get-arguments") (memory $m) (realloc (core func $memory "realloc"))))
          (core module $main (import "m" "memory" (memory 1)) (import "e" "told" (func $told (param i32)))
            (func $length (param $list i32) (result i32)
              (i32.load (i32.add (i32.load (local.get $list)) (i32.const 12))))
            (func $start (call $told (i32.const 16)))
            (start $start)
            (func (export "run") (result i32)
              (call $told (i32.const 32))
              (i32.ne (call $length (i32.const 16)) (call $length (i32.const 32)))))
          (core instance $main (instantiate $main
            (with "m" (instance $memory)) (with "e" (instance (export "told" (func $told))))))
          (func $run (result (result)) (canon lift (core func $main "run")))
          (instance $exported (export "run" (func $run)))
          (export "wasi:cli/run@0.2.0" (instance $exported)))"#);
    command_returns(&task, "");
}

#[test]
fn a_component_that_exits_gets_a_new_instance_and_one_that_returns_is_restored() {
    let command = |end: &str| {
        wat(format!(
            r#"(component
          (import "wasi:cli/exit@0.2.0" (instance $exit (export "exit" (func (param "status" (result))))))
          (core func $exit (canon lower (func $exit "exit")))
          (core module $m (import "w" "exit" (func $exit (param i32))) (memory 1) (global $count (mut i32) (i32.const 0))
            (func (export "run") (result i32)
              (if (global.get $count) (then unreachable)) (if (i32.load (i32.const 0)) (then unreachable))
              (global.set $count (i32.const 1)) (i32.store (i32.const 0) (i32.const 1))
              {end}
              (i32.const 0)))
          (core instance $m (instantiate $m (with "w" (instance (export "exit" (func $exit))))))
          (func $run (result (result)) (canon lift (core func $m "run")))
          (component $names (import "run" (func $run (result (result)))) (export "run" (func $run)))
          (instance $names (instantiate $names (with "run" (func $run))))
          (export "wasi:cli/run@0.2.0" (instance $names)))"#
        ))
    };
    let stderr = command_returns(&command(""), "");
    assert!(restored(&stderr) > 200, "{stderr}");
    let stderr = command_returns(&command("(call $exit (i32.const 0))"), "");
    assert_eq!(restored(&stderr), 0, "{stderr}");
}

#[test]
fn components_within_a_task_are_restored_as_well() {
    let output = verified(&wat(r#"(component
          (component $a
            (core module $m (memory 1) (memory 0) (global $n (mut i64) (i64.const 0))
              (func (export "add") (param i64) (result i64)
                (global.set $n (i64.add (global.get $n) (local.get 0)))
                (i64.store (i32.const 8) (i64.add (i64.load (i32.const 8)) (i64.const 1)))
                (i64.add (global.get $n) (i64.load (i32.const 8)))))
            (core instance $m (instantiate $m))
            (func (export "add") (param "n" s64) (result s64) (canon lift (core func $m "add"))))
          (component $b
            (import "one" (func $one (param "n" s64) (result s64)))
            (import "other" (func $other (param "n" s64) (result s64)))
            (core func $one (canon lower (func $one))) (core func $other (canon lower (func $other)))
            (core module $m (import "a" "one" (func $one (param i64) (result i64)))
              (import "a" "other" (func $other (param i64) (result i64)))
              (memory 1)
              (func (export "f") (param i64) (result i64)
                (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1000)))
                (drop (call $one (local.get 0)))
                (i64.add (i64.load (i32.const 0)) (i64.add (call $one (i64.const 1)) (call $other (i64.const 10))))))
            (core instance $m (instantiate $m (with "a" (instance (export "one" (func $one)) (export "other" (func $other))))))
            (func (export "f") (param "n" s64) (result s64) (canon lift (core func $m "f"))))
          (instance $one (instantiate $a)) (instance $other (instantiate $a))
          (instance $b (instantiate $b (with "one" (func $one "add")) (with "other" (func $other "add"))))
          (alias export $b "f" (func $f)) (export "f" (func $f)))"#));
    let input: String = (0..400).map(|item| format!("{item}\n")).collect();
    let output = output.input(input).run().exits(0);
    let wanted: String = (0..400).map(|item| format!("{}\n", 1000 + item + 1 + 2 + 10 + 1)).collect();
    assert_eq!(output.text(), wanted);
    assert!(restored(&output.stderr) > 300, "{}", output.stderr);
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

/// A start function that asks for more memory than there may be is refused it before any item, and each time an instance is
/// made: no item has failed for lack of memory.
#[test]
fn what_an_instance_was_refused_while_it_was_made_is_blamed_on_no_item() {
    let task = wat(r#"(module (memory (export "memory") 1)
      (func $start (drop (memory.grow (i32.const 65535)))) (start $start)
      (func (export "f") (param i32) (result i32)
        (if (i32.eqz (local.get 0)) (then unreachable)) (local.get 0)))"#);
    let items = format!("0\n{}0\n", "1\n".repeat(20)).repeat(60);
    let ends = |restore: &str| {
        let run =
            map(&task).args(["-v", "-j", "1", "--memory", "1MiB", "--output-format", "records", "--deterministic"]);
        run.env("WASMPOOL_RESTORE", restore).input(items.as_str()).run().exits(1)
    };
    let (made, mixed) = (ends("0"), ends("1"));
    assert!(restored(&mixed.stderr) > 20, "{}", mixed.stderr);
    assert!(made.text() == mixed.text() && made.text().matches(r#""kind":"trap""#).count() == 120, "{}", made.text());
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
fn inspect_says_where_whose_a_handle_is_cannot_be_told() {
    let caller = r#"(component
      (import "now" (func $now (result u64)))
      (core func $now (canon lower (func $now)))
      (core module $m (import "a" "now" (func $now (result i64))) (func (export "f") (result i64) (call $now)))
      (core instance $m (instantiate $m (with "a" (instance (export "now" (func $now))))))
      (func (export "f") (result u64) (canon lift (core func $m "f"))))"#;
    let of = |callers: usize| {
        let within: String = (0..callers)
            .map(|nth| format!("(component $c{nth} {}", &caller["(component".len()..]))
            .chain((0..callers).map(|nth| {
                format!("(instance $i{nth} (instantiate $c{nth} (with \"now\" (func $now)))) (alias export $i{nth} \"f\" (func $f{nth}))")
            }))
            .collect();
        wat(format!(
            r#"(component
              (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock (export "now" (func (result u64)))))
              (alias export $clock "now" (func $now))
              {within} (export "f" (func $f0)))"#
        ))
    };
    let said = |callers| wasmpool().arg("inspect").task(&of(callers)).run().exits(0).text().to_owned();
    assert!(said(1).contains("is restored after an item, where possible"), "{}", said(1));
    assert!(said(2).contains("is restored after an item, unless it had something of the host open"), "{}", said(2));
}

#[test]
fn instances_go_on_being_restored_after_an_item_that_wrote_to_far_more_than_others() {
    let writes = r#"(module (memory (export "m") 64)
      (func (export "go") (param i64) (result i64) (local $at i32)
        (if (i64.eqz (i64.rem_u (local.get 0) (i64.const 500)))
          (then (loop $next
            (i64.store (local.get $at) (i64.add (i64.load (local.get $at)) (i64.const 1)))
            (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 4096))) (i32.const 4190000))))))
        (i64.store (i32.const 8) (i64.add (i64.load (i32.const 8)) (i64.const 1)))
        (i64.add (i64.load (i32.const 8)) (i64.load (i32.const 4096)))))"#;
    let input: String = (0..4000).map(|item| format!("{item}\n")).collect();
    let output = verified(&wat(writes)).input(input).run().exits(0);
    let wanted: String = (0..4000).map(|item| if item % 500 == 0 { "2\n" } else { "1\n" }).collect();
    assert_eq!(output.text(), wanted);
    assert!(restored(&output.stderr) > 2000, "{}", output.stderr);
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
