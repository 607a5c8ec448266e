//! What the pool promises: each row of Python's `multiprocessing.Pool` that it answers, and what it adds.

use wasmpool::{Bytes, Error, Kind, Pool, PoolBuilder, Task};

/// A builder whose workers are the command under test.
fn builder(task: impl Into<Task>) -> PoolBuilder {
    Pool::builder(task).worker_binary(env!("CARGO_BIN_EXE_wasmpool"))
}

#[test]
fn smoke() {
    let pool = builder("examples/squares.wat").build().unwrap();
    assert_eq!(pool.apply::<_, i64>(3).unwrap(), 9);
    assert_eq!(pool.map::<_, i64>(0..5).unwrap(), [0, 1, 4, 9, 16]);
    let start = std::time::Instant::now();
    let all: Vec<i64> = pool.map(0..1_000_000i64).unwrap();
    eprintln!("map of 1M: {:?}", start.elapsed());
    assert_eq!(all.len(), 1_000_000);
    let start = std::time::Instant::now();
    for i in 0..10000 {
        assert_eq!(pool.apply::<_, i64>(i).unwrap(), i * i);
    }
    eprintln!("10k applies: {:?}", start.elapsed());
    let pool = builder("examples/echo.wat").build().unwrap();
    for size in [1 << 10, 1 << 20] {
        let blob = vec![7u8; size];
        let n = (512 << 20) / size;
        let n = n.min(100_000);
        let start = std::time::Instant::now();
        let back: Vec<Bytes> = pool.map((0..n).map(|_| Bytes(&blob[..]))).unwrap();
        let t = start.elapsed();
        eprintln!("{n} blobs of {size}: {t:?} {:?}", t / n as u32);
        assert!(back.iter().all(|b| b.0.len() == size));
    }
    let _ = (Error::Closed, Kind::Trap);
}
