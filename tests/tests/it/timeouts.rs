//! `--timeout` ends an item whatever it does, and affects no other item.

use std::io::{BufRead, Write};
use std::time::Duration;

use crate::support::guest::{Task, built, wat};
use crate::support::run::map;
use crate::support::wat::SPIN_IF_NEGATIVE;

#[track_caller]
fn kinds(task: &Task, args: &[&str], input: &str) -> Vec<String> {
    map(task).args(["--output-format", "records"]).args(args).input(input).run().exits(1).kinds()
}

#[test]
fn an_endless_loop_costs_only_its_own_item() {
    let args = ["--timeout", "200ms", "-j", "1", "-c", "5"];
    let kinds = kinds(&wat(SPIN_IF_NEGATIVE), &args, "1\n2\n-3\n4\n5\n6\n-7\n");
    assert_eq!(kinds, ["ok", "ok", "timeout", "ok", "ok", "ok", "timeout"]);
}

#[test]
fn an_endless_loop_of_a_guest_with_imports_costs_only_its_own_item() {
    let args = ["--timeout", "200ms", "-j", "1", "-c", "5"];
    let kinds = kinds(&built("misbehave"), &args, "\"ok:1\"\n\"spin\"\n\"ok:2\"\n");
    assert_eq!(kinds, ["ok", "timeout", "ok"]);
}

#[test]
fn what_a_guest_printed_before_its_time_was_up_is_kept() {
    let task = built("misbehave");
    let run = map(&task).args(["--output-format", "records", "--timeout", "200ms", "-j", "1"]);
    let input = "\"print-and-spin:so far\"\n\"ok:1\"\n\"print-and-spin:again\"\n\"spin\"\n";
    let records = run.input(input).run().exits(1).records();
    let printed =
        |index: usize| ["stdout", "stderr"].map(|name| records[index].get(name).and_then(|text| text.as_str()));
    assert_eq!(printed(0), [Some("so far\n"); 2]);
    assert_eq!(printed(2), [Some("again\n"); 2]);
    // The text is not attached to an item that ran afterwards, or to one that printed nothing.
    assert_eq!([printed(1), printed(3)], [[None; 2]; 2]);
}

#[test]
fn a_guest_asleep_in_a_host_call_is_ended_too() {
    let args = ["--timeout", "200ms", "-j", "1", "-c", "5"];
    let kinds = kinds(&built("misbehave"), &args, "\"ok:1\"\n\"sleep\"\n\"ok:2\"\n");
    assert_eq!(kinds, ["ok", "timeout", "ok"]);
}

#[test]
fn instructions_that_take_for_ever_are_ended_too() {
    // Straight-line code: between these instructions there is no place where a guest could check a clock.
    let fill = "(memory.fill (i32.const 0) (i32.wrap_i64 (local.get 0)) (i32.const 0xfff0000))\n";
    let task = wat(format!(
        r#"
(module
  (memory 4096)
  (func $fill (param i64) {})
  (func (export "go") (param i64) (result i64)
    (if (i64.lt_s (local.get 0) (i64.const 0)) (then (call $fill (local.get 0))))
    (local.get 0)))"#,
        fill.repeat(5000)
    ));
    let args = ["--timeout", "200ms", "-j", "1", "-c", "5"];
    assert_eq!(kinds(&task, &args, "1\n-1\n2\n"), ["ok", "timeout", "ok"]);
}

#[test]
fn the_clock_of_an_item_starts_when_the_item_does() {
    // Twelve items of one chunk, each near its own limit: the last is not charged for the wait behind the others.
    let input = "-1\n".repeat(12) + "1\n";
    let args = ["--timeout", "100ms", "-j", "1", "-c", "100"];
    let mut wanted = vec!["timeout"; 12];
    wanted.push("ok");
    assert_eq!(kinds(&wat(SPIN_IF_NEGATIVE), &args, &input), wanted);
}

#[test]
fn every_worker_busy_with_an_endless_item_is_freed() {
    let input = "-1\n".repeat(8) + "1\n2\n3\n";
    let args = ["--timeout", "100ms", "-j", "4", "-c", "1"];
    let mut wanted = vec!["timeout"; 8];
    wanted.extend(["ok"; 3]);
    assert_eq!(kinds(&wat(SPIN_IF_NEGATIVE), &args, &input), wanted);
}

#[test]
fn a_batch_out_of_time_costs_only_the_item_to_blame() {
    let task = wat(crate::support::wat::component(
        r#"
    (func (export "same") (param i32 i32) (result i32)
      (if (i64.lt_s (i64.load (local.get 0)) (i64.const 0)) (then (loop $l (br $l))))
      (i32.store (i32.const 16) (local.get 0))
      (i32.store (i32.const 20) (local.get 1))
      (i32.const 16))"#,
        &[crate::support::wat::lift("same", r#"(param "items" (list s64)) (result (list s64))"#)],
    ));
    let args = ["--batch", "--timeout", "200ms", "-j", "1", "-c", "2"];
    let kinds = kinds(&task, &args, "1\n2\n-3\n4\n5\n6\n");
    assert_eq!(kinds, ["ok", "ok", "timeout", "ok", "ok", "ok"]);
}

#[test]
fn items_queued_behind_one_that_hangs_do_not_wait_for_its_timeout() {
    let mut host = map(&wat(SPIN_IF_NEGATIVE))
        .args(["-j", "2", "-c", "1", "--unordered", "--timeout", "10m"])
        .limit(Duration::from_secs(90))
        .start();
    let mut input = host.stdin.take().expect("a pipe");
    // Enough quick items that each worker has a further chunk waiting when the endless item comes.
    let items: String = (1..=2_000).chain([-1]).chain(2_001..=4_000).map(|item| format!("{item}\n")).collect();
    input.write_all(items.as_bytes()).expect("the host reads");
    drop(input);
    let mut output = host.stdout.take().expect("a pipe");
    for nth in 0..4_000 {
        assert!(output.skip_until(b'\n').expect("a pipe can be read") > 0, "only {nth} outcomes came");
    }
}
