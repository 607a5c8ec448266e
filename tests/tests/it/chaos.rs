//! Every item fails or succeeds as it would alone, whatever the other items do and whichever worker is killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::alone::alone;
use crate::support::chaos::{feed, kind, task};
use crate::support::host::Host;
use crate::support::process::workers;
use crate::support::record::Record;
use crate::support::run::map;
use crate::support::{HANG, full};

fn count() -> u64 {
    if full() { 100_000 } else { 5_000 }
}

fn start(timeout: &str, args: &[&str]) -> Host {
    map(&task())
        .args(["--output-format", "records", "--timeout", timeout])
        .args(["--memory", "16MiB"])
        .args(args)
        .feed(feed(count()))
        .limit(if full() { HANG * 10 } else { HANG })
        .start()
}

#[track_caller]
fn check(record: &Record) {
    let index = record.index();
    assert_eq!(record.kind(), kind(index), "of item {index}: {record:?}");
    match record.kind() {
        "ok" => assert_eq!(record.value().as_u64(), Some(index * index)),
        "error" => assert_eq!(record.get("error").and_then(|error| error.as_u64()), Some(index * index)),
        _ => {}
    }
}

#[test]
fn every_item_has_one_record_of_the_right_kind_in_order() {
    alone();
    let mut host = start("150ms", &[]);
    for index in 0..count() {
        let record = Record::read(&host.line().expect("a record for every item"));
        assert_eq!(record.index(), index);
        check(&record);
    }
    assert_eq!(host.line(), None);
    assert_eq!(host.code(), 1);
}

#[test]
fn every_item_has_one_record_of_the_right_kind_unordered() {
    alone();
    let mut host = start("150ms", &["--unordered"]);
    let mut seen = vec![false; usize::try_from(count()).expect("fits")];
    while let Some(line) = host.line() {
        let record = Record::read(&line);
        let seen = &mut seen[usize::try_from(record.index()).expect("fits")];
        assert!(!*seen, "twice: {line}");
        *seen = true;
        check(&record);
    }
    assert!(seen.iter().all(|seen| *seen), "an item without a record");
    assert_eq!(host.code(), 1);
}

#[test]
fn every_item_has_one_record_while_workers_are_killed() {
    alone();
    let mut host = start("50ms", &[]);
    let over = Arc::new(AtomicBool::new(false));
    let mut killer = None;
    let mut lost = 0;
    for index in 0..count() {
        let line = host.line().expect("a record for every item");
        if index == 0 {
            // Not before: that a task cannot be loaded is tested elsewhere.
            killer = Some(kill_workers(host.pid(), Arc::clone(&over)));
        }
        let record = Record::read(&line);
        assert_eq!(record.index(), index);
        if record.kind() == "worker-lost" {
            lost += 1;
        } else {
            check(&record);
        }
    }
    over.store(true, Ordering::SeqCst);
    let killed = killer.expect("started").join().expect("no panic");
    assert_eq!(host.line(), None);
    assert_eq!(host.code(), 1);
    assert!(lost <= killed, "{lost} items lost to {killed} killings");
}

/// Kills a worker of the host every 50 ms, and returns in the end how many died of it.
fn kill_workers(host: i32, over: Arc<AtomicBool>) -> std::thread::JoinHandle<u64> {
    std::thread::spawn(move || {
        let mut killed = 0;
        let mut random = fastrand::Rng::with_seed(7);
        while !over.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(50)); // the pace of the fault, not a wait for anything
            let workers = workers(host);
            if let Some(worker) = random.choice(&workers) {
                worker.send(Signal::SIGKILL);
                killed += 1;
            }
        }
        killed
    })
}
