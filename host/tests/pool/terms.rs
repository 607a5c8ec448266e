//! Chunk size, buffer, retries and timeout are those of a call, and cost no worker processes of their own.

use std::time::Duration;

use wasmpool::{Error, FailureKind, Isolate};

use crate::support::{COUNTER, SPIN, SQUARES, alone, beside_others, builder, busy, workers};

#[test]
fn calls_that_differ_in_chunk_size_buffer_retries_and_timeout_share_worker_processes() {
    let _alone = alone();
    let pool = builder(SQUARES).workers(1).build().unwrap();
    assert_eq!(pool.apply::<_, i64>(3).unwrap(), 9);
    let before = workers();
    for n in 1..30 {
        let settings = [
            pool.chunk_size(n),
            pool.buffer_size(n as usize),
            pool.buffer_bytes(1 << n.min(20)),
            pool.retries(n),
            pool.timeout(Duration::from_secs(600 + u64::from(n))),
        ];
        for function in settings {
            assert_eq!(function.map::<_, i64>(0..5).unwrap(), [0, 1, 4, 9, 16]);
            assert_eq!(workers(), before);
        }
    }
    // What a process is made for costs another process.
    assert_eq!(pool.memory(1 << 20).apply::<_, i64>(3).unwrap(), 9);
    assert_ne!(workers(), before);
}

#[test]
fn each_call_has_its_own_timeout_on_the_same_workers() {
    let _beside = beside_others();
    let pool = builder(SPIN).workers(2).build().unwrap();
    let endless = pool.apply_async::<_, i64>(-1).unwrap();
    let patient = busy(1);
    let hasty = pool.timeout(Duration::from_millis(200));
    for _ in 0..2 {
        assert!(matches!(hasty.apply::<_, i64>(-1), Err(Error::Item(e)) if e.kind == FailureKind::Timeout));
    }
    assert!(!endless.ready() && patient.iter().all(|worker| worker.lives()));
    assert_eq!(pool.apply::<_, i64>(3).unwrap(), 3);
}

#[test]
fn each_call_has_its_own_retries() {
    let _beside = beside_others();
    let pool = builder(SPIN).workers(1).timeout(Duration::from_millis(100)).build().unwrap();
    for retries in [2, 0, 1] {
        let Err(Error::Item(e)) = pool.retries(retries).apply::<_, i64>(-1) else {
            panic!("it never ends");
        };
        assert_eq!((e.kind, e.attempts), (FailureKind::Timeout, retries + 1));
    }
}

#[test]
fn chunksize_is_that_of_the_call() {
    let _beside = beside_others();
    // An instance lives as long as a chunk, and counts its items.
    let pool = builder(COUNTER).workers(1).isolate(Isolate::Chunk).build().unwrap();
    for _ in 0..2 {
        assert_eq!(pool.chunk_size(3).map::<_, i64>([(); 8]).unwrap(), [1, 2, 3, 1, 2, 3, 1, 2]);
        assert_eq!(pool.chunk_size(2).map::<_, i64>([(); 5]).unwrap(), [1, 2, 1, 2, 1]);
    }
}
