//! The end of a pool: without waiting for it, and without what has not begun.

use std::sync::OnceLock;
use std::time::Duration;
use std::{env, fs};

use tempfile::TempDir;
use wasmpool::{Error, FailureKind, Pool};

use crate::support::{COUNT_TO, SQUARES, Worker, again, alone, beside_others, builder, busy, pool, until, workers};

fn is_cancelled<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Item(e)) if e.kind == FailureKind::Cancelled)
}

#[test]
fn a_pool_that_is_detached_finishes_what_was_called_for_and_leaves_no_process() {
    let _alone = alone();
    let pool = pool(COUNT_TO.as_bytes());
    let function = pool.timeout(Duration::from_secs(600));
    let results = pool.map_async::<_, i64>([50_000_000; 8]).unwrap();
    let mut lazy = pool.imap::<_, i64>(0..5000);
    assert_eq!(lazy.next().unwrap().unwrap(), 1);
    pool.detach();
    assert!(matches!(function.apply::<_, i64>(1), Err(Error::Closed)));
    assert_eq!(results.get().unwrap(), [50_000_000; 8]);
    assert_eq!(lazy.map(Result::unwrap).count(), 4999, "what was begun is read to its end");
    until("all processes have ended", || workers().is_empty().then_some(()));
}

/// Row 7.7.
#[test]
fn a_pool_that_is_never_dropped_keeps_no_program_from_its_end_and_leaves_no_process() {
    static POOL: OnceLock<Pool> = OnceLock::new();
    const FOUND: &str = "POOL_TEST_FOUND";
    if let Some(file) = env::var_os(FOUND) {
        let pool = POOL.get_or_init(|| builder(SQUARES).workers(2).build().unwrap());
        assert_eq!(pool.map::<_, i64>(0..100).unwrap().len(), 100);
        let found: Vec<String> = workers().iter().map(|worker| worker.0.to_string()).collect();
        return fs::write(file, found.join("\n")).unwrap();
    }
    let _beside = beside_others();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("found");
    let test = "shutdown::a_pool_that_is_never_dropped_keeps_no_program_from_its_end_and_leaves_no_process";
    again(test, |command| {
        command.env(FOUND, &file);
    });
    let found = fs::read_to_string(file).unwrap();
    let left: Vec<Worker> = found.lines().map(|pid| Worker(pid.parse().unwrap())).collect();
    assert!(!left.is_empty());
    until("all processes have ended", || left.iter().all(|worker| !worker.lives()).then_some(()));
}

#[test]
fn a_pool_that_is_detached_unused_leaves_no_process() {
    let _alone = alone();
    builder(SQUARES).workers(4).build().unwrap().detach();
    until("all processes have ended", || workers().is_empty().then_some(()));
}

#[test]
fn pending_items_are_cancelled_and_running_ones_are_finished() {
    let _alone = alone();
    let pool = builder(COUNT_TO.as_bytes()).workers(1).build().unwrap();
    // Some seconds, unless the machine is much faster.
    let running = pool.apply_async::<_, i64>(3_000_000_000i64).unwrap();
    busy(1);
    let pending = pool.map_async::<_, i64>(0..1000).unwrap();
    let mut lazy = pool.imap::<_, i64>(0..);
    assert!(matches!(lazy.next_timeout(Duration::from_millis(20)), Some(Err(Error::WaitTimeout))));
    pool.cancel_pending();
    assert!(matches!(pool.apply::<_, i64>(1), Err(Error::Closed)));
    assert!(is_cancelled(pending.get()), "it does not wait for what runs");
    let rest: Vec<_> = lazy.collect();
    let (last, read) = rest.split_last().unwrap();
    assert!(matches!(last, Err(Error::Closed)), "{last:?}");
    assert!(!read.is_empty() && read.iter().all(|result| is_cancelled(result.clone())));
    assert_eq!(running.get().unwrap(), 3_000_000_000);
    pool.join().unwrap();
    assert_eq!(workers(), []);
}

#[test]
fn what_waits_behind_an_endless_item_in_the_same_chunk_is_cancelled_too() {
    let _beside = beside_others();
    let pool = builder(crate::support::SPIN).workers(1).chunk_size(10).build().unwrap();
    let results = pool.map_async::<_, i64>([-1; 10]).unwrap();
    let worker = busy(1)[0];
    pool.cancel_pending();
    assert!(matches!(pool.join_timeout(Duration::from_millis(300)), Err(Error::WaitTimeout)), "it runs");
    // The next item of the chunk would not end either, and nobody wants it.
    worker.kill();
    pool.join_timeout(Duration::from_secs(60)).unwrap();
    assert!(matches!(results.get(), Err(Error::Item(e)) if e.kind == FailureKind::WorkerLost && e.index == 0));
}
