//! Waiting for no longer than one wants: for a result of a lazy call, for a whole map, for the first of several results.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use wasmpool::{AsyncResult, Error, FailureKind, ReturnWhen};

use crate::support::{DIVIDE, SPIN, SQUARES, beside_others, builder, busy, pool};

const SHORT: Duration = Duration::from_millis(20);

fn is_late<T>(result: Option<Result<T, Error>>) -> bool {
    matches!(result, Some(Err(Error::WaitTimeout)))
}

#[test]
fn imap_next_with_a_timeout_is_late_and_goes_on() {
    let _beside = beside_others();
    let pool = builder(SPIN).workers(2).timeout(Duration::from_secs(2)).build().unwrap();
    let mut results = pool.imap::<_, i64>([1, -1, 3]);
    assert_eq!(results.next_timeout(Duration::MAX).unwrap().unwrap(), 1);
    assert!(is_late(results.next_timeout(SHORT)) && is_late(results.next_timeout(Duration::ZERO)));
    let late = results.next_timeout(Duration::MAX).unwrap();
    assert!(matches!(late, Err(Error::Item(e)) if e.kind == FailureKind::Timeout && e.index == 1));
    assert_eq!(results.next().unwrap().unwrap(), 3);
    assert!(results.next_timeout(SHORT).is_none() && results.next().is_none());
}

#[test]
fn imap_unordered_next_with_a_timeout_has_what_is_there() {
    let _beside = beside_others();
    let pool = builder(SPIN).workers(2).build().unwrap();
    let mut results = pool.imap_unordered::<_, i64>([-1, 2]);
    assert_eq!(results.next_timeout(Duration::MAX).unwrap().unwrap(), 2);
    assert!(is_late(results.next_timeout(SHORT)));
}

#[test]
fn map_with_a_timeout_over_all_items_returns_what_is_known_and_frees_its_workers() {
    let _beside = beside_others();
    let pool = builder(SPIN).workers(2).build().unwrap();
    // How long the other items take depends on the machine.
    let mut timeout = Duration::from_millis(50);
    loop {
        let outcomes = pool.map_each_timeout::<_, i64>([1, -1, 3], timeout).unwrap();
        let cancelled = |at: usize| matches!(&outcomes[at], Err(e) if e.kind == FailureKind::Cancelled);
        assert!(outcomes.len() == 3 && cancelled(1));
        assert_eq!(outcomes[1].as_ref().unwrap_err().index, 1);
        if matches!(&outcomes[..], [Ok(1), Err(_), Ok(3)]) {
            break;
        }
        assert!(cancelled(0) || cancelled(2));
        timeout *= 2;
    }
    assert!(matches!(pool.map_timeout::<_, i64>([1, -1, 3], SHORT), Err(Error::WaitTimeout)));
    assert_eq!(pool.map_timeout::<_, i64>(0..10, Duration::MAX).unwrap(), Vec::from_iter(0..10));
    let whole = pool.map_each_timeout::<_, i64>(0..10, Duration::MAX).unwrap();
    assert_eq!(whole.into_iter().map(Result::unwrap).collect::<Vec<_>>(), Vec::from_iter(0..10));
}

#[test]
fn map_with_a_timeout_ends_though_its_items_do_not() {
    let _beside = beside_others();
    let pool = pool(SQUARES);
    let outcomes = pool.map_each_timeout::<_, i64>(0.., Duration::from_millis(300)).unwrap();
    let known = outcomes.iter().take_while(|outcome| outcome.is_ok()).count();
    for (i, outcome) in (0i64..).zip(outcomes) {
        match outcome {
            Ok(square) => assert_eq!(square, i * i),
            Err(e) => assert!(i as usize >= known && e.index == i as u64 && e.kind == FailureKind::Cancelled),
        }
    }
    assert!(matches!(pool.map_timeout::<_, i64>(0.., SHORT), Err(Error::WaitTimeout)));
}

#[test]
fn an_input_that_fails_ends_the_call_with_its_error_behind_the_results_before_it() {
    let _beside = beside_others();
    let pool = pool(SQUARES);
    let read = Cell::new(0);
    let items = |count: i64| {
        read.set(0);
        let read = &read;
        (0..).map(move |i| {
            read.set(read.get() + 1);
            if i < count { Ok(i) } else { Err(std::fmt::Error) }
        })
    };
    let is_its_own = |e: &Error| matches!(e, Error::Items(e) if e.is::<std::fmt::Error>());
    for count in [0, 1, 5000] {
        assert!(is_its_own(&pool.try_map::<_, _, i64>(items(count)).unwrap_err()));
        assert_eq!(read.get(), count + 1, "it is not read any further");
        let mut results = pool.try_imap::<_, _, _, i64>(items(count));
        for i in 0..count {
            assert_eq!(results.next().unwrap().unwrap(), i * i);
        }
        assert!(is_its_own(&results.next().unwrap().unwrap_err()));
        assert!(results.next().is_none());
        let mut results: Vec<_> = pool.try_imap_unordered::<_, _, _, i64>(items(count)).collect();
        assert!(is_its_own(&results.pop().unwrap().unwrap_err()));
        assert_eq!(results.into_iter().map(Result::unwrap).count() as i64, count);
    }
    let fine = (0..10).map(Ok::<i64, String>);
    assert_eq!(pool.try_map::<_, _, i64>(fine).unwrap().len(), 10);
    let item_first = [Ok("no number"), Err("no item")];
    assert!(matches!(pool.try_map::<_, _, i64>(item_first), Err(Error::Item(e)) if e.index == 0));
}

fn results(pool: &wasmpool::Pool, items: &[i64]) -> Vec<AsyncResult<i64>> {
    items.iter().map(|item| pool.apply_async(*item).unwrap()).collect()
}

#[test]
fn wait_returns_with_the_first_result_or_the_first_failure_or_all() {
    let _beside = beside_others();
    let pool = builder(SPIN).workers(3).build().unwrap();
    let mut all = results(&pool, &[-1, 7, -2]);
    assert_eq!(wasmpool::wait(&all, None, ReturnWhen::FirstCompleted), [1]);
    assert_eq!(wasmpool::wait(&all, Some(SHORT), ReturnWhen::FirstException), [1], "a success is none");
    assert_eq!(wasmpool::wait(&all, Some(SHORT), ReturnWhen::AllCompleted), [1]);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| wasmpool::wait(&all, None, ReturnWhen::FirstException));
        busy(2);
        assert!(!waiting.is_finished());
        all[2].cancel();
        assert_eq!(waiting.join().unwrap(), [1, 2]);
        let waiting = scope.spawn(|| wasmpool::wait(&all, None, ReturnWhen::AllCompleted));
        all[0].cancel();
        assert_eq!(waiting.join().unwrap(), [0, 1, 2]);
    });
    all.clear();
    assert_eq!(wasmpool::wait(&all, None, ReturnWhen::FirstCompleted), [0; 0], "nothing is waited for");
}

#[test]
fn as_completed_yields_each_result_as_it_comes() {
    let _beside = beside_others();
    let pool = builder(SPIN).workers(2).build().unwrap();
    let mut coming = wasmpool::as_completed(results(&pool, &[-1, 7]));
    let (index, result) = coming.next().unwrap();
    assert_eq!((index, result.get().unwrap()), (1, 7));
    assert!(is_late(coming.next_timeout(SHORT)) && is_late(coming.next_timeout(Duration::ZERO)));
    assert_eq!(coming.size_hint(), (1, Some(1)));
    pool.terminate();
    let (index, result) = coming.next().unwrap();
    assert!(index == 0 && result.get().is_err());
    assert!(coming.next().is_none());
    let pool = self::pool(SQUARES);
    let mut squares: Vec<(usize, i64)> = wasmpool::as_completed(results(&pool, &Vec::from_iter(0..300)))
        .map(|(index, result)| (index, result.get().unwrap()))
        .collect();
    squares.sort_unstable();
    assert_eq!(squares, (0..300).map(|i| (i as usize, i * i)).collect::<Vec<_>>());
}

#[test]
fn callbacks_have_run_when_wait_get_and_ready_say_that_the_result_is_there() {
    let _beside = beside_others();
    let pool = pool(DIVIDE);
    let called = Arc::new(AtomicUsize::new(0));
    for i in 0..300 {
        let (on_value, on_error) = (called.clone(), called.clone());
        let result = pool.apply_async::<_, i64>((6, i % 2)).unwrap();
        let result = result
            .callback(move |_| {
                on_value.fetch_add(1, Ordering::SeqCst);
            })
            .error_callback(move |_| {
                on_error.fetch_add(1, Ordering::SeqCst);
            });
        match i % 3 {
            0 => result.wait(),
            1 => drop(result.get()),
            _ => while !result.ready() {},
        }
        assert_eq!(called.load(Ordering::SeqCst), i as usize + 1);
    }
}

#[test]
fn a_callback_may_wait_for_its_own_result() {
    let _beside = beside_others();
    let pool = pool(SQUARES);
    let (sender, own) = mpsc::channel::<AsyncResult<i64>>();
    let (tell, told) = mpsc::channel();
    let result = pool.apply_async::<_, i64>(3).unwrap();
    let result = result.callback(move |_| tell.send(own.recv().unwrap().get().unwrap()).unwrap());
    sender.send(result).unwrap();
    assert_eq!(told.recv_timeout(Duration::from_secs(60)), Ok(9));
}

#[test]
fn a_callback_that_panics_keeps_nobody_waiting() {
    let _beside = beside_others();
    let result = pool(SQUARES).apply_async::<_, i64>(3).unwrap().callback(|_| panic!("a callback that panics"));
    assert!(result.wait_timeout(Duration::from_secs(60)));
}
