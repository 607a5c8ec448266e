//! One pool used by several threads, in a program that continues afterwards.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use wasmpool::{Bytes, Error, FailureKind};

use crate::support::{COUNT_TO, ECHO, SPIN, SQUARES, alone, beside_others, builder, busy, pool, until, workers};

#[test]
fn several_threads_use_one_pool_at_once() {
    let _beside = beside_others();
    let pool = Arc::new(pool(SQUARES));
    let threads: Vec<_> = (0..8i64)
        .map(|n| {
            let pool = pool.clone();
            thread::spawn(move || {
                for i in 0..50 {
                    assert_eq!(pool.apply::<_, i64>(n * i).unwrap(), (n * i) * (n * i));
                }
                let items: Vec<i64> = (0..3000).map(|i| i + n).collect();
                let squares: Vec<i64> = items.iter().map(|i| i * i).collect();
                assert_eq!(pool.map::<_, i64>(&items).unwrap(), squares);
                let lazy: Vec<i64> = pool.imap(&items).collect::<Result<_, _>>().unwrap();
                assert_eq!(lazy, squares);
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn a_slow_consumer_can_call_the_pool_in_its_loop() {
    let _beside = beside_others();
    let pool = builder(SQUARES).workers(1).buffer_size(1000).build().unwrap();
    for result in pool.imap::<_, i64>(0i64..).take(3000) {
        let square = result.unwrap();
        assert_eq!(pool.apply::<_, i64>(square % 1000).unwrap(), (square % 1000).pow(2));
    }
}

#[test]
fn an_apply_takes_its_turn_beside_a_map_of_a_million_items() {
    let _beside = beside_others();
    let pool = pool(COUNT_TO.as_bytes());
    // About a millisecond each: all of them take many minutes.
    let long = pool.map_async::<_, i64>(std::iter::repeat_n(1_000_000, 1_000_000)).unwrap();
    for i in 1..20 {
        assert_eq!(pool.apply::<_, i64>(i).unwrap(), i);
    }
    assert!(!long.ready());
    assert!(long.cancel());
    assert_eq!(pool.apply::<_, i64>(3).unwrap(), 3, "what was cancelled does not run");
}

#[test]
fn a_pool_outlives_the_thread_that_built_it() {
    let _alone = alone();
    let pool = thread::spawn(|| pool(SQUARES)).join().unwrap();
    let pool = thread::spawn(move || {
        assert_eq!(pool.apply::<_, i64>(3).unwrap(), 9);
        pool
    })
    .join()
    .unwrap();
    let before = workers();
    assert_eq!(pool.apply::<_, i64>(4).unwrap(), 16);
    assert!(before.iter().all(|worker| worker.lives()), "no worker died with a thread");
}

#[test]
fn dropping_a_pool_leaves_no_process() {
    let _alone = alone();
    let pool = pool(SPIN);
    let results = [(); 3].map(|()| pool.apply_async::<_, i64>(-1).unwrap());
    let function = pool.function("spin");
    busy(2);
    drop(pool);
    assert_eq!(workers(), []);
    for result in results {
        assert!(matches!(result.get(), Err(wasmpool::Error::Item(e)) if e.kind == FailureKind::Cancelled));
    }
    // A remaining handle cannot be used, and reports that.
    assert!(matches!(function.apply::<_, i64>(1), Err(wasmpool::Error::Closed)));
    let unused = builder(SQUARES).workers(4).build().unwrap();
    drop(unused);
    assert_eq!(workers(), []);
}

#[test]
fn callbacks_may_call_the_pool_and_drop_it() {
    let _beside = beside_others();
    let shared = Arc::new(pool(SQUARES));
    let (sender, told) = mpsc::channel();
    let inner = shared.clone();
    let result = shared.apply_async::<_, i64>(3).unwrap();
    let result = result.callback(move |nine| {
        sender.send(inner.apply::<_, i64>(nine).unwrap()).unwrap();
        drop(inner);
    });
    drop(shared);
    assert_eq!(told.recv().unwrap(), 81);
    assert_eq!(result.get().unwrap(), 9);
}

#[test]
fn the_program_keeps_its_signals_and_its_directory() {
    let _alone = alone();
    let of_process = || {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let masks: Vec<String> = status
            .lines()
            .filter(|line| ["SigBlk", "SigIgn", "SigCgt"].iter().any(|name| line.starts_with(name)))
            .map(str::to_owned)
            .collect();
        (masks, std::env::current_dir().unwrap(), std::fs::read_link("/proc/self/fd/0").unwrap())
    };
    let before = of_process();
    let pool = pool(SQUARES);
    assert_eq!(pool.apply::<_, i64>(3).unwrap(), 9);
    assert_eq!(of_process(), before);
    drop(pool);
    assert_eq!(of_process(), before);
}

#[test]
fn a_result_can_be_awaited() {
    let _beside = beside_others();
    struct Thread(thread::Thread);
    impl std::task::Wake for Thread {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let pool = pool(SPIN);
    let waker = Arc::new(Thread(thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut result = std::pin::pin!(pool.timeout(Duration::from_millis(200)).apply_async::<_, i64>(-1).unwrap());
    assert!(result.as_mut().poll(&mut context).is_pending());
    let error = until("the waker to be called", || match result.as_mut().poll(&mut context) {
        std::task::Poll::Ready(result) => Some(result.unwrap_err()),
        std::task::Poll::Pending => {
            thread::park();
            None
        }
    });
    assert!(matches!(error, wasmpool::Error::Item(e) if e.kind == FailureKind::Timeout));
}

/// A caller's value that panics when it is used on a thread of the pool.
struct Panics;

impl std::task::Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker that panics");
    }
}

impl AsRef<[u8]> for Panics {
    fn as_ref(&self) -> &[u8] {
        // Large enough not to be copied.
        &[7; 64 << 10]
    }
}

impl Drop for Panics {
    fn drop(&mut self) {
        if thread::current().name() == Some("wasmpool") {
            panic!("an item that panics when it is dropped");
        }
    }
}

#[test]
fn a_waker_that_panics_costs_nobody_a_result() {
    let _beside = beside_others();
    let pool = pool(SQUARES);
    let waker = Arc::new(Panics).into();
    let (sender, told) = mpsc::channel();
    let mut result = pool.apply_async::<_, i64>(3).unwrap();
    if std::pin::Pin::new(&mut result).poll(&mut std::task::Context::from_waker(&waker)).is_pending() {
        let result = result.callback(move |nine| sender.send(nine).unwrap());
        assert_eq!(told.recv_timeout(Duration::from_secs(60)), Ok(9), "what comes behind the waker is called");
        assert_eq!(result.get().unwrap(), 9);
    }
    assert_eq!(pool.apply::<_, i64>(4).unwrap(), 16);
    pool.close();
    pool.join_timeout(Duration::from_secs(60)).unwrap();
}

#[test]
fn a_panic_in_a_thread_of_the_pool_ends_its_calls_and_no_others() {
    let _beside = beside_others();
    let pool = pool(ECHO);
    let other = pool.task(SPIN).unwrap();
    let endless = other.apply_async::<_, i64>(-1).unwrap();
    for _ in 0..3 {
        let item = Bytes(bytes::Bytes::from_owner(Panics));
        let waiting = pool.apply_async::<_, Bytes>(item).unwrap();
        let second = pool.map_async::<_, Bytes>([(); 1000].map(|()| Bytes("x"))).unwrap();
        // The result is known before the item is dropped, or not at all; but nobody waits for ever.
        match waiting.get_timeout(Duration::from_secs(60)) {
            Ok(echoed) => assert_eq!(echoed.len(), 64 << 10),
            Err(Error::Bug(message)) => assert!(message.contains("panics when it is dropped"), "{message}"),
            Err(e) => panic!("{e:?}"),
        }
        match second.get_timeout(Duration::from_secs(60)) {
            Ok(echoed) => assert_eq!(echoed.len(), 1000),
            Err(Error::Bug(_)) => {}
            Err(e) => panic!("{e:?}"),
        }
    }
    assert!(!endless.ready(), "another call goes on");
    // The thread that panicked may have been given this call, too; the next call has another thread.
    let served = until("a thread that serves", || pool.apply::<_, Bytes>(Bytes("y")).ok());
    assert_eq!(*served, b"y");
    pool.terminate();
    pool.join_timeout(Duration::from_secs(60)).unwrap();
}
