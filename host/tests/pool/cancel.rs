//! A call that is given up keeps no other waiting.

use std::time::Duration;

use wasmpool::{Error, FailureKind, Pool};

use crate::support::{SPIN, beside_others, builder, busy, until, workers};

/// Returns a pool of one worker, which is running an item that never ends by itself.
fn one_worker() -> Pool {
    builder(SPIN).workers(1).build().expect("the pool is built")
}

#[test]
fn a_call_that_is_cancelled_frees_its_worker_for_the_next() {
    let _beside = beside_others();
    let pool = one_worker();
    for _ in 0..2 {
        let endless = pool.apply_async::<_, i64>(-1).unwrap();
        busy(1);
        assert!(endless.cancel());
        assert_eq!(pool.apply::<_, i64>(3).unwrap(), 3);
    }
}

#[test]
fn items_behind_the_one_in_work_do_not_run_once_their_call_is_cancelled() {
    let _beside = beside_others();
    let pool = one_worker();
    let endless = pool.map_async::<_, i64>(vec![-1; 1000]).unwrap();
    busy(1);
    let short = pool.map_async::<_, i64>(0..10).unwrap();
    assert!(endless.cancel());
    assert!(matches!(endless.get(), Err(Error::Item(e)) if e.kind == FailureKind::Cancelled));
    assert_eq!(short.get().unwrap(), Vec::from_iter(0..10));
}

#[test]
fn a_lazy_call_that_is_dropped_frees_its_workers() {
    let _beside = beside_others();
    let pool = one_worker();
    for _ in 0..2 {
        let mut results = pool.imap::<_, i64>(std::iter::once(1).chain(std::iter::repeat(-1)));
        assert_eq!(results.next().unwrap().unwrap(), 1);
        busy(1);
        drop(results);
        assert_eq!(pool.apply::<_, i64>(3).unwrap(), 3);
    }
}

#[test]
fn a_map_that_fails_frees_its_workers() {
    let _beside = beside_others();
    let pool = builder(SPIN).workers(2).chunk_size(1).build().expect("the pool is built");
    // Items that are no numbers fail at once; the others never end.
    let items =
        ["\"no number\"", "-1", "-1", "-1"].map(|json| serde_json::from_str::<serde_json::Value>(json).unwrap());
    assert!(matches!(pool.map::<_, i64>(items), Err(Error::Item(e)) if e.kind == FailureKind::InvalidInput));
    assert_eq!(pool.map::<_, i64>(0..10).unwrap(), Vec::from_iter(0..10));
}

#[test]
fn another_function_of_the_pool_has_the_workers_of_a_call_that_was_cancelled() {
    let _beside = beside_others();
    let pool = builder(SPIN).workers(2).build().expect("the pool is built");
    let endless = pool.map_async::<_, i64>([-1, -1]).unwrap();
    busy(2);
    assert!(endless.cancel());
    let other = pool.timeout(Duration::from_secs(300));
    assert_eq!(other.map::<_, i64>(0..10).unwrap(), Vec::from_iter(0..10));
    drop(pool);
    until("all processes have ended", || workers().is_empty().then_some(()));
}

#[test]
fn who_is_not_cancelled_is_not_touched() {
    let _beside = beside_others();
    let pool = builder(SPIN).workers(2).build().expect("the pool is built");
    let wanted = pool.apply_async::<_, i64>(-1).unwrap();
    let before = busy(1);
    let endless = pool.apply_async::<_, i64>(-1).unwrap();
    busy(2);
    assert!(endless.cancel());
    assert_eq!(pool.apply::<_, i64>(3).unwrap(), 3);
    assert!(before.iter().all(|worker| worker.lives()));
    assert!(!wanted.ready());
}
