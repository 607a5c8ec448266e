//! `--retries` and `--retry-on`: which failures are tried again, and how often.

use nix::sys::signal::Signal;

use crate::support::guest::wat;
use crate::support::record::Record;
use crate::support::run::map;
use crate::support::wat::{SPIN_IF_NEGATIVE, component, lift};

/// Returns `go: func(item: s64) -> result<s64, s64>`: an error, except at every third call of the instance.
fn every_third() -> String {
    component(
        r#"
    (global $calls (mut i32) (i32.const 0))
    (func (export "go") (param $x i64) (result i32)
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (i32.store8 (i32.const 16) (i32.ne (i32.rem_u (global.get $calls) (i32.const 3)) (i32.const 0)))
      (i64.store (i32.const 24) (local.get $x))
      (i32.const 16))"#,
        &[lift("go", r#"(param "item" s64) (result (result s64 (error s64)))"#)],
    )
}

#[test]
fn an_item_that_runs_out_of_time_is_tried_again_and_keeps_its_place() {
    let output = map(&wat(SPIN_IF_NEGATIVE))
        .args(["--retries", "2", "--timeout", "100ms", "-j", "1", "--output-format", "records"])
        .input("1\n-2\n3\n4\n")
        .run()
        .exits(1);
    let attempts: Vec<u64> = output.records().iter().map(Record::attempts).collect();
    assert_eq!(output.kinds(), ["ok", "timeout", "ok", "ok"]);
    assert_eq!(attempts, [1, 3, 1, 1]);
}

#[test]
fn an_item_that_killed_two_workers_is_not_given_to_a_third() {
    let mut host = map(&wat(SPIN_IF_NEGATIVE))
        .args(["--retries", "9", "--timeout", "10m", "-j", "1", "--output-format", "records"])
        .input("1\n-2\n3\n")
        .start();
    for _ in 0..2 {
        let worker = host.busy_worker();
        worker.send(Signal::SIGKILL);
        crate::support::until("it is gone", || (!worker.lives()).then_some(()));
    }
    let mut records = Vec::new();
    while let Some(line) = host.line() {
        records.push(Record::read(&line));
    }
    assert_eq!(records.iter().map(Record::kind).collect::<Vec<_>>(), ["ok", "worker-lost", "ok"]);
    assert_eq!(records[1].attempts(), 2);
    assert_eq!(host.code(), 1);
}

#[test]
fn other_failures_are_tried_once_unless_told_otherwise() {
    let task = wat(every_third());
    let args = ["--retries", "5", "--isolate", "worker", "-j", "1", "--output-format", "records"];
    let output = map(&task).args(args).input("1\n2\n3\n").run().exits(1);
    assert_eq!(output.kinds(), ["error", "error", "ok"]);
    assert!(output.records().iter().all(|record| record.attempts() == 1));
    let output = map(&task).args(args).args(["--retry-on", "error,timeout"]).input("1\n2\n3\n").run().exits(0);
    assert!(output.records().iter().all(|record| record.attempts() > 1 || record.kind() == "ok"));
    assert_eq!(
        output.records().iter().map(|record| record.value().as_i64()).collect::<Vec<_>>(),
        [Some(1), Some(2), Some(3)]
    );
}

#[test]
fn retry_on_takes_the_place_of_the_default() {
    let output = map(&wat(SPIN_IF_NEGATIVE))
        .args(["--retries", "2", "--retry-on", "worker-lost", "--timeout", "100ms", "--output-format", "records"])
        .input("-2\n")
        .run()
        .exits(1);
    assert_eq!(output.records()[0].attempts(), 1);
}

#[test]
fn a_failure_that_cannot_change_is_refused_as_one_to_retry() {
    for wrong in ["invalid-input", "cancelled", "everything"] {
        let output = map(&wat(SPIN_IF_NEGATIVE)).args(["--retry-on", wrong]).input("1\n").run().exits(2);
        assert!(output.stderr.contains("worker-lost, timeout, error"), "{}", output.stderr);
    }
}
