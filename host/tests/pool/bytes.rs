//! Arguments and results as bytes, and the reading of values.

use wasmpool::{Bytes, Error, FailureKind, Pool};

use crate::support::{ECHO, SQUARES, beside_others, builder, pool};

#[test]
fn bytes_go_in_and_come_out_as_they_are() {
    let _beside = beside_others();
    let pool = pool(ECHO);
    // Small sizes, and sizes around those from which on bytes are handed over without a copy.
    let sizes = (0..2000)
        .map(|i| i * 37 % 5000)
        .chain([4, 16, 64, 256].iter().flat_map(|kib| (kib << 10) - 2..(kib << 10) + 3));
    let items: Vec<Vec<u8>> =
        sizes.enumerate().map(|(i, size)| vec![i as u8; size]).chain([b"\n\0\xff\"".to_vec()]).collect();
    let echoed: Vec<Bytes> = pool.map(items.iter().map(Bytes)).unwrap();
    assert!(items.iter().eq(echoed.iter().map(|bytes| &bytes.0)));
    let kept: usize = echoed.iter().map(|bytes| bytes.0.capacity()).sum();
    let bytes: usize = items.iter().map(Vec::len).sum();
    assert!(kept < bytes + bytes / 4, "results of {bytes} bytes keep {kept}");
    let large: Vec<u8> = (0..5_000_000u32).map(|i| (i * 7) as u8).collect();
    assert_eq!(pool.apply::<_, Bytes>(Bytes(&large)).unwrap().0, large);
}

#[test]
fn bytes_are_the_same_whatever_holds_them() {
    let _beside = beside_others();
    let pool = pool(ECHO);
    let sizes = [0, 9, (64 << 10) - 1, 64 << 10, 3, 200_000, 200_000, 1, 3 << 20];
    let items: Vec<Vec<u8>> = sizes.iter().map(|&size| (0..size).map(|i| (i * 31 + size) as u8).collect()).collect();
    let expected: Vec<Bytes> = items.iter().cloned().map(Bytes).collect();
    let shared = || items.iter().map(|item| Bytes(bytes::Bytes::copy_from_slice(item)));
    assert_eq!(pool.map::<_, Bytes>(items.iter().cloned().map(Bytes)).unwrap(), expected);
    assert_eq!(pool.map::<_, Bytes>(items.iter().map(Bytes)).unwrap(), expected);
    assert_eq!(pool.map::<_, Bytes<bytes::Bytes>>(shared()).unwrap(), shared().collect::<Vec<_>>());
    let one_chunk = builder(ECHO).workers(1).chunk_size(9).build().unwrap();
    assert_eq!(one_chunk.map::<_, Bytes<bytes::Bytes>>(shared()).unwrap(), shared().collect::<Vec<_>>());
}

#[test]
fn without_that_they_are_base64_in_json() {
    let _beside = beside_others();
    let pool = pool(ECHO);
    assert_eq!(pool.apply::<_, String>("YWI=").unwrap(), "YWI=");
    assert_eq!(pool.apply::<_, String>(Bytes("ab")).unwrap(), "YWI=");
    assert_eq!(pool.apply::<_, Bytes>("YWI=").unwrap().0, b"ab");
}

#[test]
fn a_result_of_another_type_than_wanted_is_a_failure_of_its_item() {
    let _beside = beside_others();
    let outcomes = pool(SQUARES).map_each::<_, u8>([3, 300]).unwrap();
    assert!(
        matches!(&outcomes[..], [Ok(9), Err(e)] if e.kind == FailureKind::InvalidOutput && e.index == 1),
        "{outcomes:?}"
    );
}

#[test]
fn an_item_that_cannot_be_written_is_a_failure_of_its_own() {
    let _beside = beside_others();
    struct Unwritable(i64);
    impl serde::Serialize for Unwritable {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            match self.0 {
                1 => Err(serde::ser::Error::custom("not this one")),
                number => serializer.serialize_i64(number),
            }
        }
    }
    let outcomes = pool(SQUARES).map_each::<_, i64>([0, 1, 2].map(Unwritable)).unwrap();
    assert!(matches!(&outcomes[..], [Ok(0), Err(e), Ok(4)]
        if e.kind == FailureKind::InvalidInput && e.message.contains("not this one")));
    let bound = builder(SQUARES).bind("x", &Unwritable(1)).build();
    assert!(matches!(bound, Err(Error::Argument(what)) if what.contains("not this one")));
}

#[test]
fn integers_keep_all_their_bits() {
    let _beside = beside_others();
    let text = r#"(module (func (export "same") (param i64) (result i64) (local.get 0)))"#;
    let pool: Pool = pool(text.as_bytes());
    assert_eq!(pool.map::<_, i64>([i64::MIN, i64::MAX]).unwrap(), [i64::MIN, i64::MAX]);
}

#[test]
fn large_items_are_read_ahead_by_their_bytes() {
    let _beside = beside_others();
    const MIB: usize = 1 << 20;
    let pool = builder(ECHO).workers(2).buffer_bytes(8 * MIB).build().unwrap();
    let read = std::cell::Cell::new(0);
    let items = std::iter::repeat_with(|| {
        read.set(read.get() + 1);
        Bytes(vec![1; MIB])
    });
    let mut taken = 0;
    for echoed in pool.imap::<_, Bytes>(items).take(100) {
        taken += 1;
        assert_eq!(echoed.unwrap().len(), MIB);
        assert!(read.get() - taken <= 8, "{} of {taken}", read.get());
    }
}

/// Returns large items of different lengths and contents, of which some fit the rings of a lane and others do not.
fn large_items(count: usize) -> Vec<Vec<u8>> {
    let sizes = [300_000, 1 << 20, 9, (1 << 20) + 7, 3 << 20, 150_000];
    (0..count).map(|i| (0..sizes[i % sizes.len()]).map(|at| (at * 31 + i * 7) as u8).collect()).collect()
}

#[test]
fn large_results_are_whole_while_workers_come_and_go_however_slowly_they_are_taken() {
    let _beside = beside_others();
    let items = large_items(60);
    for (workers, per_worker) in [(1, 1000), (2, 3)] {
        let pool = builder(ECHO).workers(workers).max_tasks_per_worker(per_worker).chunk_size(1).build().unwrap();
        for (nth, echoed) in pool.imap::<_, Bytes>(items.iter().map(Bytes)).enumerate() {
            assert!(echoed.unwrap().0 == items[nth], "item {nth} with {workers} workers");
            // From time to time, results come while nobody waits.
            if nth % 7 == 0 {
                assert!(pool.apply::<_, Bytes>(Bytes(&items[nth + 1])).unwrap().0 == items[nth + 1]);
            }
        }
        let mut echoed: Vec<Vec<u8>> =
            pool.imap_unordered::<_, Bytes>(items.iter().map(Bytes)).map(|echoed| echoed.unwrap().0).collect();
        let mut sent = items.clone();
        echoed.sort();
        sent.sort();
        assert!(echoed == sent, "unordered, with {workers} workers");
    }
}

#[test]
fn large_results_that_nobody_takes_any_more_keep_no_worker_waiting() {
    let _beside = beside_others();
    let items = large_items(40);
    let pool = builder(ECHO).workers(2).chunk_size(1).build().unwrap();
    for taken in 0..8 {
        let mut results = pool.imap::<_, Bytes>(items.iter().map(Bytes));
        assert!(results.by_ref().take(taken).enumerate().all(|(nth, echoed)| echoed.unwrap().0 == items[nth]));
        // Those that have come are dropped with it.
        drop(results);
        assert!(pool.apply::<_, Bytes>(Bytes(&items[taken])).unwrap().0 == items[taken]);
    }
}

#[test]
#[ignore = "prints figures, and is not for judging"]
fn figures() {
    let figure = |what: &str, items: usize, start: std::time::Instant| {
        println!("{what}: {:?} an item", start.elapsed() / items as u32);
    };
    let squares = pool(SQUARES);
    squares.apply::<_, i64>(1).unwrap();
    let start = std::time::Instant::now();
    assert_eq!(squares.map::<_, i64>(0..1_000_000i64).unwrap().len(), 1_000_000);
    figure("map of numbers", 1_000_000, start);
    let start = std::time::Instant::now();
    (0..10_000).for_each(|i| assert_eq!(squares.apply::<_, i64>(i).unwrap(), i * i));
    figure("apply of numbers", 10_000, start);
    for (size, count) in [(1 << 10, 200_000), (1 << 20, 1_000)] {
        let blob = vec![7; size];
        let echo = pool(ECHO);
        let start = std::time::Instant::now();
        for echoed in echo.imap::<_, Bytes>(std::iter::repeat_n(Bytes(&blob), count)) {
            assert_eq!(echoed.unwrap().len(), size);
        }
        figure(&format!("blobs of {size}"), count, start);
    }
}

#[test]
fn the_largest_limit_of_results_allows_large_ones() {
    let _beside = beside_others();
    let large = vec![7; 3 << 20];
    for limit in [u64::MAX, u64::MAX - (1 << 20)] {
        let pool = builder(ECHO).max_output(limit).build().unwrap();
        assert_eq!(pool.apply::<_, Bytes>(Bytes(&large)).unwrap().0, large);
    }
}
