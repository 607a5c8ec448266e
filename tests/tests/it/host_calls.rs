//! Fuel limits calls of the host, too: their cost is counted, the same in every run and on any machine.

use crate::support::guest::{built, wat};
use crate::support::run::{Run, map, wasmpool};
use crate::support::tree::Tree;

/// Returns a task that calls a function of preview 1 as often as its item says, and returns the last result.
fn preview1(module: &str, import: &str, call: &str) -> String {
    format!(
        r#"
(module
  (import "{module}" {import})
  (memory (export "memory") 1024)
  (func (export "f") (param $n i64) (result i64) (local $r i32)
    (loop $l
      (local.set $r {call})
      (local.set $n (i64.sub (local.get $n) (i64.const 1)))
      (br_if $l (i64.gt_s (local.get $n) (i64.const 0))))
    (i64.extend_i32_u (local.get $r))))"#
    )
}

/// Returns a task that does the same with a function of WASI 0.2, which a component imports by these lines, and has as
/// `$it`.
fn preview2(imports: &str, import: &str, call: &str) -> String {
    format!(
        r#"
(component
  {imports}
  (core module $libc (memory (export "m") 1024) (global $at (mut i32) (i32.const 8388608))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (global.get $at)))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "m" (core memory $m))
  (alias core export $libc "realloc" (core func $realloc))
  {import}
  (core module $code
    (import "" "m" (memory 1024))
    (import "" "it" (func $it {ty}))
    (func (export "f") (param $n i64)
      (loop $l
        {call}
        (local.set $n (i64.sub (local.get $n) (i64.const 1)))
        (br_if $l (i64.gt_s (local.get $n) (i64.const 0))))))
  (core instance $i (instantiate $code
    (with "" (instance (export "m" (memory $m)) (export "it" (func $it))))))
  (func (export "f") (param "n" s64) (canon lift (core func $i "f"))))"#,
        ty = import.lines().next().unwrap_or_default().trim_start_matches(";; "),
    )
}

/// Returns how these items end.
#[track_caller]
fn ends(task: &str, args: &[&str], input: &str) -> Vec<String> {
    kinds(map(&wat(task)).args(["--output-format", "records", "-j", "1"]).args(args).input(input))
}

/// Returns the kinds of a run's records, which have fewer members in a deterministic run.
fn kinds(run: Run) -> Vec<String> {
    let output = run.run();
    let records = output.text().lines().map(|line| serde_json::from_str(line).expect("a record"));
    records
        .map(|record: serde_json::Value| {
            let said = record.get("kind").or_else(|| record.get("status"));
            said.and_then(|kind| kind.as_str()).expect("a kind or a status").to_owned()
        })
        .collect()
}

/// Checks that one call succeeds with little more than this amount of fuel, and does not with less, whether the run is
/// deterministic or not; and that many calls run out of it.
#[track_caller]
fn counts(task: &str, at_least: u64) {
    let (less, enough) = ((at_least - 1).to_string(), (at_least + 3000).to_string());
    for more in [&[][..], &["--deterministic"]] {
        assert_eq!(ends(task, &[&["--fuel", &less], more].concat(), "1\n"), ["fuel"], "{more:?}");
        assert_eq!(ends(task, &[&["--fuel", &enough], more].concat(), "1\n100\n1\n"), ["ok", "fuel", "ok"], "{more:?}");
    }
    // An instance that is kept gets new fuel for each item.
    assert_eq!(ends(task, &["--fuel", &enough, "--isolate", "worker"], "1\n1\n100\n"), ["ok", "ok", "fuel"]);
}

const RANDOM: &str = r#""random_get" (func $it (param i32 i32) (result i32))"#;
const POLL: &str = r#""poll_oneoff" (func $it (param i32 i32 i32 i32) (result i32))"#;
const WRITE: &str = r#""fd_write" (func $it (param i32 i32 i32 i32) (result i32))"#;
const NOW: &str = r#""clock_time_get" (func $it (param i32 i64 i32) (result i32))"#;

#[test]
fn random_numbers_are_counted_by_their_bytes() {
    for module in ["wasi_snapshot_preview1", "wasi_unstable"] {
        let call = "(call $it (i32.const 0) (i32.const 100000))";
        counts(&preview1(module, RANDOM, call), 200_000);
    }
    let random = r#"
  (import "wasi:random/random@0.2.0" (instance $random (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))"#;
    let import = r#";; (param i64 i32)
  (core func $it (canon lower (func $random "get-random-bytes") (memory $m) (realloc $realloc)))"#;
    counts(&preview2(random, import, "(call $it (i64.const 100000) (i32.const 0))"), 200_000);
}

#[test]
fn subscriptions_are_counted() {
    for module in ["wasi_snapshot_preview1", "wasi_unstable"] {
        // A subscription of zeros: the time of day, at once.
        let call = "(call $it (i32.const 0) (i32.const 1000000) (i32.const 1000) (i32.const 2000000))";
        counts(&preview1(module, POLL, call), 250_000);
    }
    // The same subscription, a thousand times.
    let poll = r#"
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "poll" (func (param "in" (list (borrow $pollable))) (result (list u32))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $p)) (export "pollable" (type $pollable (eq $p)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))"#;
    let task = format!(
        r#"
(component {poll}
  (core module $libc (memory (export "m") 100)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1000000)))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "m" (core memory $m))
  (alias core export $libc "realloc" (core func $realloc))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core func $poll (canon lower (func $poll "poll") (memory $m) (realloc $realloc)))
  (core module $code
    (import "" "m" (memory 100))
    (import "" "subscribe" (func $subscribe (param i64) (result i32)))
    (import "" "poll" (func $poll (param i32 i32 i32)))
    (func (export "f") (param $n i64) (local $i i32) (local $timer i32)
      (local.set $timer (call $subscribe (i64.const 0)))
      (loop $fill
        (i32.store (i32.add (i32.const 1024) (i32.mul (local.get $i) (i32.const 4))) (local.get $timer))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $fill (i32.lt_u (local.get $i) (i32.const 100))))
      (loop $l
        (call $poll (i32.const 1024) (i32.const 100) (i32.const 8))
        (local.set $n (i64.sub (local.get $n) (i64.const 1)))
        (br_if $l (i64.gt_s (local.get $n) (i64.const 0))))))
  (core instance $i (instantiate $code (with "" (instance
    (export "m" (memory $m)) (export "subscribe" (func $subscribe)) (export "poll" (func $poll))))))
  (func (export "f") (param "n" s64) (canon lift (core func $i "f"))))"#
    );
    counts(&task, 25_000);
}

#[test]
fn what_is_printed_is_counted_by_its_bytes() {
    // A buffer of 50,000 bytes at address 1,024.
    let call = "(block (result i32) (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 50000)) \
                (call $it (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))";
    for module in ["wasi_snapshot_preview1", "wasi_unstable"] {
        counts(&preview1(module, WRITE, call), 50_000);
        // Empty buffers in front of it.
        let many = "(block (result i32) (i32.store (i32.const 7992) (i32.const 1024)) (i32.store (i32.const 7996) (i32.const 1)) \
                    (call $it (i32.const 1) (i32.const 0) (i32.const 1000) (i32.const 16000)))";
        counts(&preview1(module, WRITE, many), 100_000);
    }
    // A command of WASI 0.3 prints the bytes of its item, which it has read.
    let item = format!("\"{}\"\n", "x".repeat(100_000));
    let run = |fuel: &str| {
        let run = wasmpool().arg("exec").task(&built("wasi3")).args(["--output-format", "records", "--fuel", fuel]);
        run.input(item.clone()).run().kinds()
    };
    assert_eq!((run("150000"), run("100000000")), (vec!["fuel".to_owned()], vec!["ok".to_owned()]));
}

#[test]
fn a_directory_is_counted_by_what_is_read_of_it() {
    let tree = Tree::new(&[], &[("in/large.txt", &*"x".repeat(300_000))]);
    let read = |fuel: &str, more: &[&str]| {
        let run = map(&built("reach")).args(["--output-format", "records", "--fuel", fuel]).args(more);
        kinds(run.args(tree.grants()).input("\"read:/in/large.txt\"\n"))
    };
    for more in [&[][..], &["--deterministic"]] {
        assert_eq!((read("300000", more), read("20000000", more)), (vec!["fuel".to_owned()], vec!["ok".to_owned()]));
    }
}

#[test]
fn every_call_is_counted() {
    for module in ["wasi_snapshot_preview1", "wasi_unstable"] {
        let task = preview1(module, NOW, "(call $it (i32.const 1) (i64.const 0) (i32.const 0))");
        for more in [&[][..], &["--deterministic"]] {
            // A thousand calls are some ten thousand instructions.
            assert_eq!(ends(&task, &[&["--fuel", "100000"], more].concat(), "10\n1000\n"), ["ok", "fuel"], "{more:?}");
        }
    }
    let clock = r#"
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock (export "now" (func (result u64)))))"#;
    let import = r#";; (result i64)
  (core func $it (canon lower (func $clock "now")))"#;
    let seed = r#"
  (import "wasi:random/random@0.2.0" (instance $random (export "get-random-u64" (func (result u64)))))"#;
    let import_seed = r#";; (result i64)
  (core func $it (canon lower (func $random "get-random-u64")))"#;
    let new = clock.replace("@0.2.0", "@0.3.0");
    for (imports, import) in [(clock, import), (seed, import_seed)] {
        let task = preview2(imports, import, "(drop (call $it))");
        for more in [&[][..], &["--deterministic"]] {
            assert_eq!(ends(&task, &[&["--fuel", "100000"], more].concat(), "10\n1000\n"), ["ok", "fuel"], "{more:?}");
        }
    }
    for (imports, import) in [(&*new, import), (&seed.replace("@0.2.0", "@0.3.0"), import_seed)] {
        let task = preview2(imports, import, "(drop (call $it))");
        assert_eq!(ends(&task, &["--fuel", "100000"], "10\n1000\n"), ["ok", "fuel"], "{imports}");
    }
}

#[test]
fn a_call_that_concerns_a_file_counts_more() {
    let path = r#""path_unlink_file" (func $it (param i32 i32 i32) (result i32))"#;
    let stat = r#""fd_filestat_get" (func $it (param i32 i32) (result i32))"#;
    let size = r#""fd_filestat_set_size" (func $it (param i32 i64) (result i32))"#;
    for module in ["wasi_snapshot_preview1", "wasi_unstable"] {
        for (import, call, each) in [
            (path, "(call $it (i32.const 3) (i32.const 0) (i32.const 1))", 2500),
            (stat, "(call $it (i32.const 3) (i32.const 0))", 1500),
            (size, "(call $it (i32.const 3) (i64.const 0))", 2500),
        ] {
            let task = preview1(module, import, call);
            let fuel = (each * 1000).to_string();
            let args = ["--scratch", "/s", "--fuel", &fuel];
            assert_eq!(ends(&task, &args, "100\n1000\n100\n"), ["ok", "fuel", "ok"], "{import}");
        }
    }
}

#[test]
fn fuel_for_the_host_and_for_instructions_is_one_fuel() {
    // Neither takes all of it by itself.
    let task = preview1(
        "wasi_snapshot_preview1",
        RANDOM,
        "(block (result i32) (memory.fill (i32.const 0) (i32.const 1) (i32.wrap_i64 (local.get $n))) \
         (call $it (i32.const 0) (i32.wrap_i64 (local.get $n))) (local.set $n (i64.const 0)))",
    );
    assert_eq!(ends(&task, &["--fuel", "100000"], "30000\n45000\n"), ["ok", "fuel"]);
}

#[test]
fn the_same_fuel_is_used_in_every_run() {
    let task = preview1("wasi_snapshot_preview1", RANDOM, "(call $it (i32.const 0) (i32.const 100))");
    let input: String = (1..200).map(|n| format!("{n}\n")).collect();
    let first = ends(&task, &["--deterministic", "--fuel", "60000"], &input);
    let spent = first.iter().position(|kind| kind == "fuel").expect("200 calls take more");
    assert!(spent > 10 && first[spent..].iter().all(|kind| kind == "fuel"), "{spent}");
    for args in [["-c", "1"], ["-c", "50"]] {
        assert_eq!(ends(&task, &[&["--deterministic", "--fuel", "60000"], &args[..]].concat(), &input), first);
    }
}

#[test]
fn without_fuel_nothing_is_counted() {
    let task = preview1("wasi_snapshot_preview1", RANDOM, "(call $it (i32.const 0) (i32.const 1000000))");
    assert_eq!(ends(&task, &[], "20\n"), ["ok"]);
}

#[test]
fn a_path_counts_the_links_that_it_may_lead_along() {
    // A chain of links whose targets have the maximum length, and a look at its end.
    let links: String = (0..30)
        .map(|n| {
            let from = 60_000 + n * 16;
            format!(
                r#"(drop (call $symlink (i32.const 0) (i32.add (i32.const 3900) (i32.const 0)) (i32.const 3) (i32.const {from}) (i32.const 2)))"#
            )
        })
        .collect();
    let data: String = (0..30_u32)
        .map(|n| format!(r#"(data (i32.const {}) "{}{}")"#, 60_000 + n * 16, char::from(b'a' + (n / 10) as u8), n % 10))
        .collect();
    let task = format!(
        r#"
(module
  (import "wasi_snapshot_preview1" "path_symlink" (func $symlink (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_filestat_get" (func $stat (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  {data}
  (func (export "f") (param $n i64) (result i64) (local $i i32)
    (loop $fill
      (i32.store16 (local.get $i) (i32.const 0x2f2e))
      (local.set $i (i32.add (local.get $i) (i32.const 2)))
      (br_if $fill (i32.lt_u (local.get $i) (i32.const 3900))))
    {links}
    (loop $l
      (drop (call $stat (i32.const 3) (i32.const 1) (i32.const 60000) (i32.const 2) (i32.const 61000)))
      (local.set $n (i64.sub (local.get $n) (i64.const 1)))
      (br_if $l (i64.gt_s (local.get $n) (i64.const 0))))
    (i64.const 0)))"#
    );
    let task = task.replace("(i32.add (i32.const 3900) (i32.const 0))", "(i32.const 3900)");
    let args = ["--scratch", "/s", "--fuel", "100000000"];
    assert_eq!(ends(&task, &args, "1\n3\n100\n"), ["ok", "ok", "fuel"]);
}

#[test]
fn a_directory_that_is_read_counts_each_of_its_entries() {
    let files: Vec<String> = (0..2000).map(|n| format!("in/{n}")).collect();
    let tree = Tree::new(&[], &files.iter().map(|name| (name.as_str(), "")).collect::<Vec<_>>());
    let run = |fuel: &str| {
        let run = map(&built("reach")).args(tree.grants()).args(["--output-format", "records", "--fuel", fuel]);
        kinds(run.input("\"list:/in\"\n"))
    };
    assert_eq!(run("5000000"), ["fuel"]);
    assert_eq!(run("100000000"), ["ok"]);
}
