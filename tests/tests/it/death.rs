//! A worker that is killed or stopped costs one item, and the run continues.

use nix::sys::signal::Signal;

use crate::support::guest::wat;
use crate::support::host::Host;
use crate::support::record::{Record, records};
use crate::support::run::map;
use crate::support::until;
use crate::support::wat::SPIN_IF_NEGATIVE;

/// Starts a run of one chunk of five items, the third of which loops for longer than the test may take.
fn looping(args: &[&str]) -> Host {
    map(&wat(SPIN_IF_NEGATIVE))
        .args(["--output-format", "records", "-j", "1", "-c", "5"])
        .args(args)
        .input("1\n2\n-3\n4\n5\n6\n7\n")
        .start()
}

fn all(host: &mut Host) -> Vec<Record> {
    let mut text = String::new();
    while let Some(line) = host.line() {
        text += &line;
        text += "\n";
    }
    records(&text)
}

fn kinds(records: &[Record]) -> Vec<&str> {
    records.iter().map(Record::kind).collect()
}

#[test]
fn a_killed_worker_costs_only_the_item_it_was_running() {
    let mut host = looping(&["--timeout", "10m"]);
    host.busy_worker().send(Signal::SIGKILL);
    let records = all(&mut host);
    let wanted = ["ok", "ok", "worker-lost", "ok", "ok", "ok", "ok"];
    assert_eq!(kinds(&records), wanted);
    assert_eq!(records[2].get("signal").and_then(|s| s.as_i64()), Some(9));
    for index in [0, 1, 3, 4, 5, 6] {
        let value = 2 * (index as i64 + 1);
        assert_eq!(records[index].value().as_i64(), Some(value));
    }
    assert_eq!(host.code(), 1);
}

#[test]
fn a_killed_worker_costs_one_item_whatever_else_was_queued_for_it() {
    // Quick items make the host send chunks ahead.
    let input = "1\n".repeat(2000) + "-1\n" + &"1\n".repeat(2000);
    for chunk in ["auto", "7"] {
        let mut host = map(&wat(SPIN_IF_NEGATIVE))
            .args(["--output-format", "records", "-j", "1", "-c", chunk])
            .args(["--timeout", "10m"])
            .input(input.as_str())
            .start();
        host.busy_worker().send(Signal::SIGKILL);
        let records = all(&mut host);
        let failed: Vec<_> = records.iter().filter(|record| record.kind() != "ok").map(Record::index).collect();
        assert_eq!(failed, [2000], "with chunks of {chunk}");
        assert_eq!(records.len(), 4001);
    }
}

#[test]
fn a_stopped_worker_costs_only_the_item_it_was_running() {
    let mut host = looping(&["--timeout", "3s"]);
    let worker = host.busy_worker();
    worker.send(Signal::SIGSTOP);
    let records = all(&mut host);
    let kinds = kinds(&records);
    assert!(matches!(kinds[2], "timeout" | "worker-lost"), "{kinds:?}");
    let others: Vec<&str> = [0, 1, 3, 4, 5, 6].map(|index: usize| kinds[index]).into();
    assert_eq!(others, ["ok"; 6]);
    assert_eq!(host.code(), 1);
    until("the stopped worker is gone", || (!worker.lives()).then_some(()));
}

#[test]
fn a_worker_killed_while_idle_costs_nothing() {
    let task = wat(SPIN_IF_NEGATIVE);
    let mut host = map(&task).args(["-j", "2", "-c", "1"]).start();
    let mut input = host.stdin.take().expect("a pipe");
    for round in 1..=20 {
        use std::io::Write;
        writeln!(input, "{round}").expect("the host reads");
        assert_eq!(host.line(), Some((round * 2).to_string()));
        let victims = until("workers", || {
            let workers = host.workers();
            (!workers.is_empty()).then_some(workers)
        });
        for victim in &victims {
            victim.send(Signal::SIGKILL);
        }
        until("the killed are gone", || victims.iter().all(|victim| !victim.lives()).then_some(()));
    }
    drop(input);
    assert_eq!(host.line(), None);
    assert_eq!(host.code(), 0, "{}", host.said());
}

#[test]
fn stopping_every_worker_does_not_stop_the_run() {
    let task = wat(crate::support::wat::COUNT_TO);
    // The run is not over before the workers are stopped, even if this test waits for a processor.
    let input = "1000000000\n".repeat(12);
    let mut host = map(&task)
        .args(["--output-format", "records", "-j", "2", "-c", "3"])
        .args(["--timeout", "5s"])
        .input(input)
        .start();
    host.busy_worker();
    for worker in host.workers() {
        worker.send(Signal::SIGSTOP);
    }
    let records = all(&mut host);
    assert!(records.iter().map(Record::index).eq(0..12));
    let lost = records.iter().filter(|record| record.kind() != "ok");
    for record in lost.clone() {
        let kind = record.kind();
        assert!(matches!(kind, "timeout" | "worker-lost"), "{record:?}");
    }
    assert!(lost.count() <= 2, "no more than one item of each worker");
    host.code();
}
