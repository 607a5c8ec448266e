//! `--task NAME=FILE`: every item through several tasks, in one run.

use std::collections::BTreeSet;
use std::io::Write;

use nix::sys::signal::Signal;

use crate::support::alone::alone;
use crate::support::guest::{Task, file, wat};
use crate::support::record::Record;
use crate::support::run::{Run, wasmpool};
use crate::support::wat::{SPIN_IF_NEGATIVE, SQUARE, component, lift};
use crate::support::{HANG, until};

/// `go(i64) -> i64`: negative items trap, others are doubled.
const TRAP_IF_NEGATIVE: &str = r#"
(module
  (func (export "go") (param i64) (result i64)
    (if (i64.lt_s (local.get 0) (i64.const 0)) (then unreachable))
    (i64.mul (local.get 0) (i64.const 2))))"#;

/// Returns `wasmpool map` with these tasks by name.
fn tasks(tasks: &[(&str, &Task)]) -> Run {
    tasks.iter().fold(wasmpool().arg("map"), |run, (name, task)| {
        run.arg("--task").arg(format!("{name}={}", task.path().display()))
    })
}

fn numbers(count: u64) -> String {
    (0..count).map(|item| format!("{item}\n")).collect()
}

fn name(record: &Record) -> &str {
    record.get("task").and_then(|name| name.as_str()).expect("a task has a name")
}

#[test]
fn every_item_goes_through_every_task_in_the_order_of_items_and_options() {
    let (square, twice) = (wat(SQUARE), wat(TRAP_IF_NEGATIVE));
    let output = tasks(&[("z", &square), ("a \"b\"", &twice)]).args(["-c", "7"]).input(numbers(5000)).run().exits(0);
    let records = output.records();
    assert_eq!(records.len(), 10_000);
    for (at, record) in records.iter().enumerate() {
        let item = at as u64 / 2;
        assert_eq!(record.index(), item);
        let (wanted, value) = if at % 2 == 0 { ("z", item * item) } else { ("a \"b\"", item * 2) };
        assert_eq!(name(record), wanted);
        assert_eq!(record.value().as_u64(), Some(value));
    }
    assert!(output.lines()[0].starts_with(r#"{"index":0,"task":"z","#), "{}", output.lines()[0]);
    assert!(output.stderr.contains("task z: 5000 items done, 0 failed"), "{}", output.stderr);
}

#[test]
fn unordered_outcomes_are_the_same_in_another_order() {
    let (square, twice) = (wat(SQUARE), wat(TRAP_IF_NEGATIVE));
    let output = tasks(&[("a", &square), ("b", &twice)]).args(["--unordered", "-j", "3"]).input(numbers(5000));
    let output = output.run().exits(0);
    let seen: BTreeSet<(String, u64)> = output.records().iter().map(|r| (name(r).to_owned(), r.index())).collect();
    assert_eq!((seen.len(), output.lines().len()), (10_000, 10_000));
}

#[test]
fn values_and_raw_results_can_be_had_of_several_tasks() {
    let (square, twice) = (wat(SQUARE), wat(TRAP_IF_NEGATIVE));
    for format in ["values", "raw"] {
        let run = tasks(&[("a", &square), ("b", &twice)]).args(["--output-format", format]);
        let output = run.input("3\n-1\n5\n").run().exits(1);
        assert_eq!(output.lines(), ["9", "6", "1", "25", "10"], "{format}");
    }
}

#[test]
fn a_task_that_keeps_failing_is_set_aside_and_leaves_the_others_alone() {
    let (square, twice) = (wat(SQUARE), wat(TRAP_IF_NEGATIVE));
    let input: String = (0..3000).map(|item| format!("{}\n", if item < 100 { item } else { -item })).collect();
    for order in [[].as_slice(), &["--unordered"]] {
        let run = tasks(&[("bad", &twice), ("good", &square)]).args(["--set-aside", "10%", "-c", "1"]).args(order);
        let output = run.input(input.clone()).run().exits(1);
        let records = output.records();
        let of = |task| records.iter().filter(move |record| name(record) == task);
        assert_eq!(of("good").filter(|record| record.kind() == "ok").count(), 3000);
        let bad: Vec<&Record> = of("bad").collect();
        assert_eq!(bad.len(), 3000, "each item has its record");
        let indices: BTreeSet<u64> = bad.iter().map(|record| record.index()).collect();
        assert_eq!(indices.len(), 3000);
        let traps = bad.iter().filter(|record| record.kind() == "trap").count();
        assert!((10..200).contains(&traps), "{traps}");
        let last = bad.iter().find(|record| record.index() == 2999).expect("the last");
        assert_eq!(last.kind(), "cancelled");
        assert!(last.message().contains("set aside") && last.message().contains("(--set-aside 10%)"));
        assert_eq!(output.stderr.matches("task bad is set aside:").count(), 1, "{}", output.stderr);
        assert!(output.stderr.contains("task good: 3000 items done, 0 failed"), "{}", output.stderr);
    }
}

#[test]
fn too_few_failures_or_none_asked_for_set_no_task_aside() {
    let twice = wat(TRAP_IF_NEGATIVE);
    let output = tasks(&[("a", &twice)]).args(["--set-aside", "1%"]).input("-1\n-1\n1\n").run().exits(1);
    assert_eq!(output.kinds(), ["trap", "trap", "ok"]);
    let output = tasks(&[("a", &twice)]).input("-1\n-1\n-1\n-1\n1\n").run().exits(1);
    assert_eq!(output.kinds(), ["trap", "trap", "trap", "trap", "ok"]);
}

/// A program reads the messages as JSON, and a person as text: both find the figures of each task.
#[test]
fn the_figures_of_each_task_are_members_of_its_message_and_of_the_summary() {
    let (good, bad) = (wat(SQUARE), wat(SPIN_IF_NEGATIVE));
    let input = "3\n-1\n4\n";
    let args = ["--log-format", "json", "--progress", "always", "--timeout", "200ms"];
    let output = tasks(&[("good", &good), ("bad", &bad)]).args(args).input(input).run().exits(1);
    let messages: Vec<serde_json::Value> =
        output.stderr.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |name: &str| {
        let found = messages.iter().find(|one| one["task"] == name && one["done"].is_u64());
        found.unwrap_or_else(|| panic!("no figures of {name}: {}", output.stderr)).clone()
    };
    let (of_good, of_bad) = (of("good"), of("bad"));
    assert_eq!((&of_good["done"], &of_good["failed"], &of_good["level"]), (&3.into(), &0.into(), &"info".into()));
    assert_eq!((&of_bad["done"], &of_bad["failed"], &of_bad["level"]), (&3.into(), &1.into(), &"warning".into()));
    assert_eq!(of_bad["kinds"], serde_json::json!({"timeout": 1}));
    let summary = messages.iter().find(|one| one["tasks"].is_object()).expect("a summary");
    assert_eq!(summary["done"], 6);
    assert_eq!(summary["tasks"]["good"], serde_json::json!({"done": 3, "failed": 0, "kinds": {}}));
    assert_eq!(summary["tasks"]["bad"], serde_json::json!({"done": 3, "failed": 1, "kinds": {"timeout": 1}}));
    // Without a terminal there is no summary, but what became of each task.
    let output = tasks(&[("good", &good), ("bad", &bad)]).args(&args[..2]).args(&args[4..]).input(input).run().exits(1);
    let figures = |line: &&str| line.contains("\"task\":\"bad\"") && line.contains("\"kinds\":{\"timeout\":1}");
    assert_eq!(output.stderr.lines().filter(figures).count(), 1, "{}", output.stderr);
}

#[test]
fn the_processes_of_a_task_that_is_set_aside_end() {
    let (square, twice) = (wat(SQUARE), wat(TRAP_IF_NEGATIVE));
    let run = tasks(&[("good", &square), ("bad", &twice)]).args(["-j", "2", "--set-aside", "3", "-c", "1"]);
    let mut host = run.start();
    until("both have a worker", || (host.workers().len() == 2).then_some(()));
    let first = host.workers();
    let mut input = host.stdin.take().expect("a pipe");
    writeln!(input, "-1\n-1\n-1").expect("the host reads");
    for _ in 0..6 {
        assert!(host.line().is_some());
    }
    until("one of the two has gone", || first.iter().any(|worker| !worker.lives()).then_some(()));
    // The other task still answers, and the output also reports the item for the task that was set aside.
    writeln!(input, "7").expect("the host reads");
    assert_eq!(Record::read(&host.line().expect("a record")).value().as_u64(), Some(49));
    assert_eq!(Record::read(&host.line().expect("a record")).kind(), "cancelled");
    drop(input);
    assert_eq!(host.code(), 1);
}

#[test]
fn a_task_that_hangs_costs_only_its_own_records() {
    let (square, spin) = (wat(SQUARE), wat(SPIN_IF_NEGATIVE));
    let run = tasks(&[("spin", &spin), ("square", &square)]).args(["--timeout", "200ms"]);
    let output = run.input("1\n-2\n3\n").run().exits(1);
    let kinds: Vec<String> = output.records().iter().map(|r| format!("{} {}", name(r), r.kind())).collect();
    assert_eq!(kinds, ["spin ok", "square ok", "spin timeout", "square ok", "spin ok", "square ok"]);
}

#[test]
fn a_worker_that_is_killed_costs_only_the_record_of_its_task() {
    let (square, spin) = (wat(SQUARE), wat(SPIN_IF_NEGATIVE));
    let run = tasks(&[("spin", &spin), ("square", &square)]).args(["--timeout", "10m", "-j", "2"]);
    let mut host = run.input("1\n-2\n3\n").start();
    host.busy_worker().send(Signal::SIGKILL);
    let mut kinds = Vec::new();
    while let Some(line) = host.line() {
        let record = Record::read(&line);
        kinds.push(format!("{} {}", name(&record), record.kind()));
    }
    assert_eq!(kinds, ["spin ok", "square ok", "spin worker-lost", "square ok", "spin ok", "square ok"]);
    assert_eq!(host.code(), 1);
}

#[test]
fn no_process_holds_two_tasks_and_all_share_the_workers() {
    let (square, twice) = (wat(SQUARE), wat(TRAP_IF_NEGATIVE));
    let output = tasks(&[("a", &square), ("b", &twice)]).args(["-j", "4", "-c", "5"]).input(numbers(20_000));
    let records = output.run().exits(0).records();
    let of = |task| -> BTreeSet<u64> { records.iter().filter(|r| name(r) == task).map(Record::worker).collect() };
    assert!(of("a").is_disjoint(&of("b")), "{:?} {:?}", of("a"), of("b"));
    let mut host = tasks(&[("a", &square), ("b", &twice)]).args(["-j", "4"]).start();
    until("the workers are there", || (host.workers().len() == 4).then_some(()));
    host.end_input();
    assert_eq!(host.code(), 0);
}

#[test]
fn the_run_is_halted_by_the_failures_of_all_tasks() {
    let (square, twice) = (wat(SQUARE), wat(TRAP_IF_NEGATIVE));
    for halt in ["soon,fail=4", "now,fail=4"] {
        let run = tasks(&[("a", &twice), ("b", &twice), ("c", &square)]).args(["--halt", halt]);
        let output = run.feed(|pipe| (0_u64..).try_for_each(|_| writeln!(pipe, "-1"))).run().exits(3);
        assert!(output.stderr.contains(&format!("halted by --halt {halt}")), "{}", output.stderr);
    }
}

#[test]
fn ctrl_c_finishes_what_runs_in_each_task() {
    let (square, twice) = (wat(SQUARE), wat(TRAP_IF_NEGATIVE));
    let run = tasks(&[("a", &square), ("b", &twice)]);
    let mut host = run.feed(|pipe| (0_u64..).try_for_each(|item| writeln!(pipe, "{item}"))).start();
    let mut last = (0, "");
    for line in 0.. {
        let Some(text) = host.line() else { break };
        let record = Record::read(&text);
        let at = (record.index(), if name(&record) == "a" { "a" } else { "b" });
        assert!(line == 0 || at > last, "in order to the last");
        last = at;
        if line == 500 {
            host.signal(Signal::SIGINT);
        }
    }
    assert_eq!(host.code(), 130);
}

#[test]
fn a_closed_output_ends_the_run_quietly() {
    let (square, twice) = (wat(SQUARE), wat(TRAP_IF_NEGATIVE));
    let run = tasks(&[("a", &square), ("b", &twice)]);
    let mut host = run.feed(|pipe| (0_u64..).try_for_each(|item| writeln!(pipe, "{item}"))).start();
    assert!(host.line().is_some());
    host.stdout = None;
    assert_eq!(host.code(), 141);
    assert_eq!(host.stderr(), "");
}

#[test]
fn a_task_that_cannot_be_used_is_named_and_nothing_runs() {
    let (square, twice, broken) = (wat(SQUARE), wat(TRAP_IF_NEGATIVE), file("broken.wasm", b"#!/bin/sh"));
    let cases = [
        (tasks(&[("a", &square), ("b", &broken)]), "task b: "),
        (tasks(&[("a", &square), ("b", &twice)]).args(["-f", "square"]), "task b: "),
        (tasks(&[("a", &square)]).args(["--task", "b=/nowhere/b.wasm"]), "/nowhere/b.wasm"),
    ];
    for (run, message) in cases {
        let output = run.input("1\n2\n").run().exits(2);
        assert_eq!(output.text(), "", "nothing ran");
        assert!(output.stderr.contains(message), "{}", output.stderr);
    }
}

#[test]
fn what_cannot_be_meant_is_refused_with_a_way_out() {
    let square = wat(SQUARE);
    let one = || tasks(&[("a", &square)]);
    let cases = [
        (tasks(&[("a", &square), ("a", &square)]), "two tasks are called a"),
        (one().args(["--task", "b"]), "NAME=FILE"),
        (one().args(["--task", "=b.wasm"]), "NAME=FILE"),
        (one().task(&square), "write --task NAME="),
        (one().args(["--journal", "run.journal"]), "--journal is for a run of one task"),
        (one().args(["--failed", "failed.jsonl"]), "--failed is for a run of one task"),
        (one().args(["--set-aside", "0%"]), "a share of the task's items"),
        (wasmpool().arg("map").task(&square).args(["--set-aside", "5%"]), "--task"),
    ];
    for (run, message) in cases {
        let output = run.input("1\n").run().exits(2);
        assert_eq!(output.text(), "", "nothing ran");
        assert!(output.stderr.contains(message), "{message} is not in: {}", output.stderr);
    }
}

#[test]
fn memory_does_not_grow_with_the_input_of_several_tasks() {
    alone();
    let (square, twice) = (wat(SQUARE), wat(TRAP_IF_NEGATIVE));
    // One of them is set aside from the start: what is printed for it must not pile up either.
    let input = |pipe: &mut std::process::ChildStdin| {
        let mut pipe = std::io::BufWriter::new(pipe);
        (0..1_000_000_i64).try_for_each(|item| writeln!(pipe, "{}", if item < 3 { -1 } else { item }))
    };
    let run = tasks(&[("a", &square), ("b", &twice), ("c", &square)]).args(["--set-aside", "100%", "-q"]);
    let mut host = run.feed(input).start();
    let mut peak = |lines: u64| {
        for _ in 0..lines {
            assert!(host.line().is_some(), "three records for each item");
        }
        host.process().status_bytes("VmHWM")
    };
    let (low, high) = (peak(600_000), peak(2_000_000));
    // Room for the windows, which may not have been full at first, but not for all items or outcomes, which take many
    // times that.
    assert!(high <= low + (16 << 20), "{low} bytes, then {high}");
}

#[test]
fn a_task_whose_workers_never_get_ready_is_set_aside_and_the_others_go_on() {
    let init = lift("init", r#"(param "base" s64)"#);
    let add = |body: &str| {
        let add = r#"(func (export "add") (param i64) (result i64) (local.get 0))"#;
        wat(component(&format!("{body}{add}"), &[init.clone(), lift("add", r#"(param "item" s64) (result s64)"#)]))
    };
    let good = add(r#"(func (export "init") (param i64))"#);
    let stuck = add(r#"(func (export "init") (param i64) (loop $l (br $l)))"#);
    let args = ["--init", "7", "--isolate", "worker", "--timeout", "1s", "-j", "2"];
    // With no task left the run cannot continue.
    let mut alone = tasks(&[("stuck", &stuck)]).args(args).input(numbers(100)).limit(HANG * 3).start();
    let output =
        tasks(&[("good", &good), ("stuck", &stuck)]).args(args).input(numbers(100)).limit(HANG * 3).run().exits(1);
    let records = output.records();
    assert_eq!(records.len(), 200);
    for record in &records {
        let wanted = if name(record) == "good" { "ok" } else { "cancelled" };
        assert_eq!(record.kind(), wanted, "{record:?}");
    }
    assert!(output.stderr.contains("task stuck is set aside: workers end before they are ready"), "{}", output.stderr);
    while alone.line().is_some() {}
    assert_eq!(alone.code(), 2);
    assert!(alone.stderr().contains("`init` has 1 s"), "{}", alone.said());
}
