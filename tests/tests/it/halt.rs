//! `--halt`: when failures end the run, and how.

use std::io::Write;

use crate::support::guest::{Task, wat};
use crate::support::run::{Output, Run, map};

/// `go(i64) -> i64`: -1 traps, other negative items loop for ever, the rest is doubled.
const TRAP_OR_SPIN: &str = r#"
(module
  (func (export "go") (param i64) (result i64)
    (if (i64.eq (local.get 0) (i64.const -1)) (then unreachable))
    (if (i64.lt_s (local.get 0) (i64.const 0)) (then (loop $l (br $l))))
    (i64.mul (local.get 0) (i64.const 2))))"#;

/// Options for two workers, of which one is kept busy by an item that loops: each takes one item, so that none waits
/// behind it.
const ONE_EACH: [&str; 8] = ["-j", "2", "-c", "1", "--max-items-per-worker", "1", "--timeout", "10m"];

fn task() -> Task {
    wat(TRAP_OR_SPIN)
}

/// Runs over numbers from 0 on, without end, with wrong items where `fails` is true.
fn endless(run: Run, fails: impl Fn(u64) -> bool + Send + 'static) -> Output {
    run.feed(move |pipe| (0_u64..).try_for_each(|n| writeln!(pipe, "{}", if fails(n) { -1 } else { n as i64 }))).run()
}

#[test]
fn soon_takes_no_more_input_after_the_first_failure_and_finishes_what_runs() {
    let run = map(&task()).args(["--halt", "soon", "-j", "2", "--output-format", "records"]);
    let output = endless(run, |n| n == 50).exits(3);
    let records = output.records();
    assert!(records.len() > 50);
    for (index, record) in records.iter().enumerate() {
        assert_eq!(record.index(), index as u64);
        assert_eq!(record.kind(), if index == 50 { "trap" } else { "ok" });
    }
    assert!(output.stderr.contains("halted by --halt soon,fail=1 after 1 failure"), "{}", output.stderr);
}

#[test]
fn now_kills_what_runs_and_every_item_that_was_taken_has_its_record() {
    let args = ["--halt", "now", "--output-format", "records"];
    let output = map(&task()).args(ONE_EACH).args(args).input("1\n-2\n2\n-1\n3\n").run().exits(3);
    let records = output.records();
    let kinds = output.kinds();
    assert_eq!(kinds[..4], ["ok", "cancelled", "ok", "trap"]);
    assert!(records.iter().enumerate().all(|(index, record)| record.index() == index as u64));
    assert!(kinds[4..].iter().all(|kind| kind == "cancelled" || kind == "ok"), "{kinds:?}");
}

#[test]
fn now_leaves_what_was_done_behind_an_item_that_it_cuts_off() {
    let output = map(&task()).args(ONE_EACH).args(["--halt", "now"]).input("-2\n1\n2\n-1\n").run().exits(3);
    assert_eq!(output.lines(), ["2", "4"]);
}

#[test]
fn a_number_of_failures_halts_and_one_less_does_not() {
    let input = "1\n-1\n2\n-1\n3\n-1\n4\n";
    for halt in ["now,fail=3", "soon,fail=3", "soon,fail=40%"] {
        map(&task()).args(["--halt", halt, "-j", "1"]).input(input).run().exits(3);
    }
    for halt in ["now,fail=4", "soon,fail=4", "now,fail=60%", "never"] {
        let output = map(&task()).args(["--halt", halt, "-j", "1"]).input(input).run().exits(1);
        assert_eq!(output.lines(), ["2", "4", "6", "8"], "{halt}");
    }
}

#[test]
fn a_share_of_failures_is_of_the_items_done_so_far() {
    // One in ten fails: a tenth is reached, a fifth never is.
    let failing = |n: u64| n % 10 == 9;
    let run = map(&task()).args(["--halt", "soon,fail=10%", "-j", "1", "-c", "1"]);
    endless(run, failing).exits(3);
    let input: String = (0..1000).map(|n| if failing(n) { "-1\n".to_owned() } else { format!("{n}\n") }).collect();
    map(&task()).args(["--halt", "soon,fail=20%", "-j", "1"]).input(input).run().exits(1);
}

#[test]
fn the_very_first_failure_is_not_a_hundred_per_cent() {
    map(&task()).args(["--halt", "now,fail=50%"]).input("-1\n").run().exits(1);
    map(&task()).args(["--halt", "now,fail=50%", "-j", "1"]).input("-1\n1\n2\n3\n4\n").run().exits(1);
}

#[test]
fn a_run_whose_last_item_halts_it_is_halted() {
    for halt in ["now", "soon"] {
        map(&task()).args(["--halt", halt]).input("1\n2\n-1\n").run().exits(3);
    }
}

#[test]
fn a_result_that_cannot_be_printed_counts_as_a_failure() {
    let echo = wat(crate::support::wat::echo_string());
    let args = ["--halt", "now", "--output-format", "raw", "-j", "1", "-c", "1"];
    map(&echo).args(args).input("\"a\"\n\"b\\nc\"\n\"d\"\n").run().exits(3);
}

#[test]
fn a_halt_that_cannot_be_meant_is_refused() {
    for wrong in ["sometimes", "now,fail=0", "soon,fail=200%", "never,fail=1", "now,success=1"] {
        let output = map(&task()).args(["--halt", wrong]).input("1\n").run().exits(2);
        assert!(output.stderr.contains("soon,fail=10"), "{}", output.stderr);
    }
}
