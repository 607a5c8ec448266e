//! Tests for each row of the table of what Python's `multiprocessing` promises.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use wasmpool::{Error, FailureKind, Isolate};

use crate::support::{
    COUNT_TO, COUNTER, DIVIDE, OFFSET, POWER, SPIN, SQUARES, alone, beside_others, builder, busy, pool, resident,
    until, workers,
};

#[test]
fn pool_has_as_many_processes_as_asked_for_and_idle_workers_wait() {
    let _alone = alone();
    for count in [1, 3] {
        let pool = builder(SPIN).workers(count).build().unwrap();
        let results: Vec<_> = (0..count).map(|_| pool.apply_async::<_, i64>(-1).unwrap()).collect();
        let busy = busy(count);
        // More items do not get more workers.
        let _more = pool.map_async::<_, i64>(0..1000).unwrap();
        for result in results {
            result.cancel();
        }
        assert_eq!(workers(), busy.iter().copied().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>());
    }
    let pool = builder(SQUARES).workers(3).build().unwrap();
    pool.map::<_, i64>(0..10_000).unwrap();
    let idle = workers();
    assert!(!idle.is_empty() && idle.len() <= 3);
    pool.map::<_, i64>(0..10).unwrap();
    assert!(idle.iter().all(|worker| worker.lives()), "idle workers wait for more");
}

#[test]
fn initializer_and_initargs_take_effect_for_every_item() {
    let _beside = beside_others();
    for isolate in [Isolate::Item, Isolate::Worker] {
        let pool = builder(OFFSET).init(&1000).isolate(isolate).build().unwrap();
        let expected: Vec<i64> = (1000..3000).collect();
        assert_eq!(pool.map::<_, i64>(0..2000).unwrap(), expected);
    }
}

#[test]
fn maxtasksperchild_replaces_a_worker_process_after_so_many_items() {
    let _beside = beside_others();
    let builder = builder(COUNTER).workers(1).isolate(Isolate::Worker);
    let counts: Vec<i64> = builder.max_tasks_per_worker(3).build().unwrap().map([(); 8]).unwrap();
    assert_eq!(counts, [1, 2, 3, 1, 2, 3, 1, 2]);
}

#[test]
fn maxtasksperchild_has_the_next_worker_started_ahead_of_need() {
    let _alone = alone();
    let pool = builder(SQUARES).workers(1).max_tasks_per_worker(1).build().unwrap();
    assert_eq!(pool.apply::<_, i64>(2).unwrap(), 4);
    let first = until("a worker, though there is nothing to do", || workers().first().copied());
    assert_eq!(pool.apply::<_, i64>(3).unwrap(), 9);
    until("the next one", || workers().iter().any(|w| *w != first).then_some(()));
}

#[test]
fn map_blocks_and_returns_results_in_order() {
    let _beside = beside_others();
    let pool = pool(SQUARES);
    let expected: Vec<i64> = (0..20_000i64).map(|i| i * i).collect();
    assert_eq!(pool.map::<_, i64>(0..20_000i64).unwrap(), expected);
    assert_eq!(pool.map::<i64, i64>([]).unwrap(), [0i64; 0]);
}

#[test]
fn map_raises_the_first_failure_by_index_and_names_the_item() {
    let _beside = beside_others();
    let pool = pool(DIVIDE);
    let items = (0..1000i64).map(|i| (i, if i % 100 == 37 { 0 } else { 1 }));
    let Err(Error::Item(e)) = pool.map::<_, i64>(items) else {
        panic!("item 37 divides by zero");
    };
    assert_eq!((e.index, e.kind), (37, FailureKind::Trap));
    assert_eq!(e.to_string(), "item 37 failed: trap: wasm trap: integer divide by zero");
    // The rest is not run to its end, since it has none.
    let endless = (0i64..).map(|i| (i, i - 100));
    assert!(matches!(pool.map::<_, i64>(endless), Err(Error::Item(e)) if e.index == 100));
}

#[test]
fn map_each_gives_every_item_its_outcome() {
    let _beside = beside_others();
    let outcomes = pool(DIVIDE).map_each::<_, i64>((0..1000i64).map(|i| (i, i % 10))).unwrap();
    assert_eq!(outcomes.len(), 1000);
    for (i, outcome) in (0i64..).zip(outcomes) {
        match outcome {
            Ok(quotient) => assert_eq!(quotient, i / (i % 10)),
            Err(e) => assert_eq!((e.index as i64, e.kind, i % 10), (i, FailureKind::Trap, 0)),
        }
    }
}

#[test]
fn starmap_takes_tuples_of_arguments() {
    let _beside = beside_others();
    assert_eq!(pool(POWER).starmap::<_, i64>([(2, 3), (3, 2)]).unwrap(), [8, 9]);
    assert_eq!(pool(SQUARES).starmap::<_, i64>([(2,), (3,)]).unwrap(), [4, 9]);
    assert_eq!(pool(COUNTER).starmap::<_, i64>([[0u8; 0]; 2]).unwrap(), [1, 1]);
    let wrong = pool(SQUARES).starmap::<_, i64>([2]);
    assert!(
        matches!(wrong, Err(Error::Item(e)) if e.kind == FailureKind::InvalidInput && e.message.contains("tuples"))
    );
}

#[test]
fn map_async_and_starmap_async_return_at_once_and_call_back() {
    let _beside = beside_others();
    let pool = pool(SPIN);
    let blocked = [pool.apply_async::<_, i64>(-1).unwrap(), pool.apply_async::<_, i64>(-1).unwrap()];
    let (sender, told) = mpsc::channel();
    let result = pool.map_async::<_, i64>(0..3).unwrap().callback(move |values| sender.send(values).unwrap());
    assert!(!result.ready(), "it has no worker yet, and returned");
    for result in blocked {
        result.cancel();
    }
    pool.resize(4);
    assert_eq!(result.get().unwrap(), [0, 1, 2]);
    assert_eq!(told.recv().unwrap(), [0, 1, 2]);

    let divide = pool.task(DIVIDE).unwrap();
    let (sender, told) = mpsc::channel();
    let result = divide.starmap_async::<_, i64>([(4, 2), (1, 0), (2, 0)]).unwrap();
    let result = result.error_callback(move |e| sender.send(e).unwrap()).callback(|_| panic!("it failed"));
    assert!(matches!(result.get(), Err(Error::Item(e)) if e.index == 1));
    assert!(matches!(told.recv().unwrap(), Error::Item(e) if e.index == 1));
}

#[test]
fn a_callback_that_panics_takes_nothing_down() {
    let _beside = beside_others();
    let pool = pool(SQUARES);
    drop(pool.apply_async::<_, i64>(1).unwrap().callback(|_| panic!("on purpose, for the test")));
    let (sender, told) = mpsc::channel();
    let result = pool.apply_async::<_, i64>(2).unwrap();
    result.wait();
    // A callback that is registered after the end is called all the same.
    drop(result.callback(move |value| sender.send(value).unwrap()));
    assert_eq!(told.recv().unwrap(), 4);
    assert_eq!(pool.apply::<_, i64>(3).unwrap(), 9);
    pool.close();
    pool.join().unwrap();
}

#[test]
fn imap_yields_in_order_and_goes_on_behind_a_failed_item() {
    let _beside = beside_others();
    let pool = pool(DIVIDE);
    let mut results = pool.imap::<_, i64>((0..5000i64).map(|i| (i, i % 1000)));
    for i in 0..5000 {
        match results.next().unwrap() {
            Ok(quotient) => assert_eq!(quotient, i / (i % 1000)),
            Err(Error::Item(e)) => assert_eq!((e.index as i64, i % 1000), (i, 0)),
            Err(e) => panic!("{e}"),
        }
    }
    assert!(results.next().is_none() && results.next().is_none());
}

#[test]
fn imap_over_an_endless_iterator_reads_no_further_ahead_than_the_bound_and_its_memory_is_flat() {
    let _alone = alone();
    for (bound, unordered) in [(1, false), (100, false), (4096, false), (100, true)] {
        let pool = builder(SQUARES).workers(2).buffer_size(bound).build().unwrap();
        let read = Rc::new(Cell::new(0u64));
        let counted = read.clone();
        // This iterator is not `Send`, and does not end.
        let items = (0i64..).inspect(move |_| counted.set(counted.get() + 1)).map(|i| i % 1000);
        let mut results = match unordered {
            true => pool.imap_unordered::<_, i64>(items),
            false => pool.imap::<_, i64>(items),
        };
        let mut early = 0;
        let most = if bound == 1 { 2_000u64 } else { 200_000 };
        for taken in 0..most {
            let result = results.next().unwrap().unwrap();
            assert!(unordered || result == ((taken % 1000) as i64).pow(2));
            assert!(read.get() - taken <= bound as u64, "{} items were read for {taken} results", read.get());
            if taken == most / 10 {
                early = resident();
            }
        }
        let grown = resident().saturating_sub(early);
        assert!(grown < 8 << 20, "memory grew by {grown} bytes over {most} items");
    }
}

#[test]
fn imap_with_a_buffer_of_one_can_be_fed_with_its_own_results() {
    let _beside = beside_others();
    let pool = builder(SQUARES).buffer_size(1).build().unwrap();
    let (sender, items) = mpsc::channel();
    sender.send(2i64).unwrap();
    // The iterator blocks until the previous result was taken.
    let results: Vec<i64> = pool
        .imap::<_, i64>(items.into_iter().take(4))
        .map(Result::unwrap)
        .inspect(|&square| sender.send(square).unwrap())
        .collect();
    assert_eq!(results, [4, 16, 256, 65536]);
}

#[test]
fn imap_that_is_dropped_cancels_what_was_read() {
    let _alone = alone();
    let pool = pool(COUNT_TO.as_bytes());
    // The items after the first take much longer.
    let mut results = pool.imap::<_, i64>((0..10_000).map(|i| if i == 0 { 1 } else { 200_000_000 }));
    assert_eq!(results.next().unwrap().unwrap(), 1);
    drop(results);
    assert_eq!(pool.apply::<_, i64>(2).unwrap(), 2);
}

#[test]
fn imap_unordered_yields_results_as_they_finish() {
    let _beside = beside_others();
    let pool = pool(COUNT_TO.as_bytes());
    // The first item takes a while.
    let results = pool.imap_unordered::<_, i64>((0..100).map(|i| if i == 0 { 500_000_000 } else { i }));
    let mut finished: Vec<i64> = results.collect::<Result<_, _>>().unwrap();
    assert_ne!(finished[0], 500_000_000);
    finished.sort_unstable();
    assert!(finished.into_iter().eq((1..100).chain([500_000_000])));
}

#[test]
fn apply_makes_one_call_and_apply_async_does_not_wait_for_it() {
    let _beside = beside_others();
    let pool = pool(POWER);
    assert_eq!(pool.apply::<_, i64>((2, 10)).unwrap(), 1024);
    #[derive(serde::Serialize)]
    struct Named {
        exponent: i64,
        base: i64,
    }
    assert_eq!(pool.apply::<_, i64>(Named { exponent: 2, base: 10 }).unwrap(), 100);
    let results: Vec<_> = (0..50).map(|i| pool.apply_async::<_, i64>((i, 2)).unwrap()).collect();
    for (i, result) in (0i64..).zip(results) {
        assert_eq!(result.get().unwrap(), i * i);
        assert_eq!(result.get().unwrap(), i * i, "it can be had again");
    }
}

#[test]
fn apply_starts_at_once_whatever_the_chunk_size() {
    let _beside = beside_others();
    let pool = builder(SQUARES).chunk_size(1000).build().unwrap();
    assert_eq!(pool.apply::<_, i64>(5).unwrap(), 25);
    assert_eq!(pool.map::<_, i64>(0..3).unwrap(), [0, 1, 4]);
}

#[test]
fn async_result_get_waits_as_long_as_the_timeout_and_the_task_goes_on() {
    let _beside = beside_others();
    let pool = pool(SPIN);
    let result = pool.apply_async::<_, i64>(-1).unwrap();
    assert!(matches!(result.get_timeout(Duration::from_millis(20)), Err(Error::WaitTimeout)));
    assert!(matches!(result.get_timeout(Duration::ZERO), Err(Error::WaitTimeout)));
    let short = pool.timeout(Duration::from_millis(200)).apply_async::<_, i64>(-1).unwrap();
    assert!(matches!(short.get_timeout(Duration::MAX), Err(Error::Item(e)) if e.kind == FailureKind::Timeout));
    assert!(!result.ready());
}

#[test]
fn async_result_cancel_ends_what_is_not_known() {
    let _beside = beside_others();
    let pool = builder(SPIN).workers(1).build().unwrap();
    let running = pool.apply_async::<_, i64>(-1).unwrap();
    let waiting = pool.map_async::<_, i64>(0..1000).unwrap();
    assert!(waiting.cancel() && !waiting.cancel());
    assert!(matches!(waiting.get(), Err(Error::Item(e)) if e.kind == FailureKind::Cancelled && e.index == 0));
    assert!(running.cancel());
    // The worker is still running the cancelled item; another one serves.
    pool.resize(2);
    let known = pool.apply_async::<_, i64>(5).unwrap();
    assert_eq!(known.get().unwrap(), 5);
    assert!(!known.cancel(), "what is known stays known");
    assert_eq!(known.get().unwrap(), 5);
}

#[test]
fn nothing_waits_behind_a_cancelled_item_that_never_ends() {
    let _beside = beside_others();
    let pool = builder(SPIN).workers(2).timeout(Duration::from_secs(3600)).build().unwrap();
    assert_eq!(pool.map::<_, i64>(0..1000).unwrap().len(), 1000);
    let running = pool.apply_async::<_, i64>(-1).unwrap();
    busy(1);
    assert!(running.cancel());
    assert_eq!(pool.map::<_, i64>(0..200_000).unwrap().len(), 200_000);
}

#[test]
fn async_result_wait_ready_and_successful() {
    let _beside = beside_others();
    let pool = pool(SPIN);
    let result = pool.apply_async::<_, i64>(-1).unwrap();
    assert!(!result.wait_timeout(Duration::from_millis(1)));
    assert!(!result.ready());
    assert!(matches!(result.successful(), Err(Error::Unfinished)));
    let result = pool.apply_async::<_, i64>(1).unwrap();
    assert!(result.wait_timeout(Duration::MAX) && result.ready() && result.successful().unwrap());
    let failed = pool.apply_async::<_, i64>("no number").unwrap();
    failed.wait();
    assert!(failed.ready() && !failed.successful().unwrap());
}

#[test]
fn close_takes_no_new_tasks_and_finishes_those_there_are() {
    let _beside = beside_others();
    let pool = pool(SQUARES);
    let result = pool.map_async::<_, i64>(0..10_000i64).unwrap();
    let mut lazy = pool.imap::<_, i64>(0..10_000i64);
    assert_eq!(lazy.next().unwrap().unwrap(), 0);
    pool.close();
    assert!(matches!(pool.apply::<_, i64>(1), Err(Error::Closed)));
    assert!(matches!(pool.map::<_, i64>(0..3), Err(Error::Closed)));
    assert!(matches!(pool.map_async::<_, i64>(0..3), Err(Error::Closed)));
    assert!(matches!(pool.task(POWER), Err(Error::Closed)));
    let mut late = pool.imap::<_, i64>(0..3);
    assert!(matches!(late.next(), Some(Err(Error::Closed))));
    assert!(late.next().is_none());
    assert_eq!(result.get().unwrap().len(), 10_000);
    assert_eq!(lazy.map(Result::unwrap).count(), 9_999, "what was begun is read to its end");
    pool.join().unwrap();
}

#[test]
fn terminate_stops_at_once_and_what_is_not_known_is_cancelled() {
    let _alone = alone();
    let pool = pool(SPIN);
    let known = pool.apply_async::<_, i64>(7).unwrap();
    known.wait();
    let results = [pool.map_async::<_, i64>([-1, -2, 3]).unwrap(), pool.map_async::<_, i64>([-1]).unwrap()];
    let mut lazy = pool.imap::<_, i64>([-1, -2, -3]);
    busy(2);
    pool.terminate();
    for result in results {
        assert!(result.ready());
        assert!(matches!(result.get(), Err(Error::Item(e)) if e.kind == FailureKind::Cancelled && e.index == 0));
    }
    assert!(matches!(lazy.next(), Some(Err(Error::Item(e))) if e.kind == FailureKind::Cancelled));
    assert!(lazy.next().is_none());
    assert_eq!(known.get().unwrap(), 7);
    pool.join().unwrap();
    assert_eq!(workers(), [], "it leaves no process");
}

#[test]
fn join_waits_for_the_workers_and_is_an_error_before_close() {
    let _alone = alone();
    let pool = pool(COUNT_TO.as_bytes());
    assert!(matches!(pool.join(), Err(Error::StillOpen)));
    let result = pool.map_async::<_, i64>([50_000_000; 8]).unwrap();
    let (sender, told) = mpsc::channel();
    let result = result.callback(move |values| sender.send(values.len()).unwrap());
    pool.close();
    assert!(matches!(pool.join_timeout(Duration::ZERO), Err(Error::WaitTimeout)));
    pool.join().unwrap();
    assert!(result.ready() && workers().is_empty());
    assert_eq!(told.try_recv(), Ok(8), "callbacks have returned");
    pool.join().unwrap();
}

#[test]
fn join_is_bounded_where_its_own_thread_holds_an_iterator() {
    let _beside = beside_others();
    let pool = builder(SQUARES).buffer_size(10).build().unwrap();
    let mut results = pool.imap::<_, i64>(0i64..);
    assert_eq!(results.next().unwrap().unwrap(), 0);
    pool.close();
    pool.join().unwrap();
    let rest: Vec<_> = results.collect();
    let (last, read) = rest.split_last().unwrap();
    assert!(read.len() <= 10 && read.iter().all(Result::is_ok), "what was read is finished");
    assert!(matches!(last, Err(Error::Closed)));
}

#[test]
fn join_waits_for_an_iterator_of_another_thread() {
    let _beside = beside_others();
    let pool = pool(SQUARES);
    let (begun, wait) = mpsc::channel();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut results = pool.imap::<_, i64>(0..20_000i64);
            results.next();
            begun.send(()).unwrap();
            results.filter(|result| result.is_ok()).count()
        });
        wait.recv().unwrap();
        pool.close();
        pool.join().unwrap();
        assert_eq!(reader.join().unwrap(), 19_999);
    });
}

#[test]
fn chunksize_a_failure_costs_one_item_only() {
    let _beside = beside_others();
    let pool = builder(DIVIDE).chunk_size(50).build().unwrap();
    let outcomes = pool.map_each::<_, i64>((0..100i64).map(|i| (i, i64::from(i != 25)))).unwrap();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 99);
}

#[test]
fn functools_partial_binds_parameters_by_name() {
    let _beside = beside_others();
    let pool = builder(POWER).bind("exponent", &3).build().unwrap();
    assert_eq!(pool.map::<_, i64>([1, 2, 3]).unwrap(), [1, 8, 27]);
    let powers = pool.function("power");
    assert_eq!(powers.bind("base", &2).map::<_, i64>([1, 2, 3]).unwrap(), [2, 4, 8]);
    assert_eq!(powers.apply::<_, i64>((5, 2)).unwrap(), 25);
    let wrong = pool.bind("colour", &1).apply::<_, i64>(1);
    assert!(matches!(wrong, Err(Error::Task(why)) if why.to_string().contains("colour")));
}

#[test]
fn a_worker_that_dies_costs_the_item_it_was_running() {
    let _alone = alone();
    let pool = pool(SPIN);
    let result = pool.imap::<_, i64>([-1].into_iter().chain(0..5000));
    let mut rest = std::thread::scope(|scope| {
        let killer = scope.spawn(|| busy(1).iter().for_each(|worker| worker.kill()));
        let outcomes: Vec<_> = result.collect();
        killer.join().unwrap();
        outcomes.into_iter()
    });
    assert!(matches!(rest.next(), Some(Err(Error::Item(e)))
        if e.kind == FailureKind::WorkerLost && e.index == 0 && e.signal == Some(9)));
    assert_eq!(rest.map(Result::unwrap).collect::<Vec<_>>(), (0..5000).collect::<Vec<_>>());
    assert_eq!(pool.apply::<_, i64>(1).unwrap(), 1, "the pool goes on");
}

#[test]
fn a_worker_that_dies_while_idle_is_replaced() {
    let _alone = alone();
    let pool = builder(SPIN).workers(1).build().unwrap();
    assert_eq!(pool.apply::<_, i64>(1).unwrap(), 1);
    for worker in workers() {
        worker.kill();
        until("its end", || (!worker.lives()).then_some(()));
    }
    assert_eq!(pool.apply::<_, i64>(2).unwrap(), 2);
}

#[test]
fn spawn_inherits_nothing() {
    let _alone = alone();
    let pool = pool(SPIN);
    let result = pool.apply_async::<_, i64>(-1).unwrap();
    let worker = busy(1)[0];
    let environment = fs::read(format!("/proc/{}/environ", worker.0)).unwrap_or_default();
    assert_eq!(String::from_utf8_lossy(&environment), "");
    if let Ok(directory) = fs::read_link(format!("/proc/{}/cwd", worker.0)) {
        assert_eq!(directory.to_str(), Some("/"));
    }
    result.cancel();
}
