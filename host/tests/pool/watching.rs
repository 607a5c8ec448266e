//! What a pool tells of its processes: a list of them, and a hook for what becomes of them.

use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use wasmpool::{FailureKind, Pool, PoolBuilder, ProcessRole, WorkerEvent};

use crate::support::{SPIN, SQUARES, Worker, alone, beside_others, builder, busy, until, workers};

#[test]
fn the_processes_of_a_pool_are_listed_with_what_they_do() {
    let _alone = alone();
    let pool = builder(SPIN).workers(2).build().unwrap();
    // The others of a pool without a call are spare.
    let spare = until("a spare process", || pool.processes().first().cloned());
    assert_eq!((spare.role, spare.item), (ProcessRole::Spare, None));
    let begin = Instant::now();
    let endless = pool.map_async::<_, i64>([5, -1, -1]).unwrap();
    let running = |pool: &Pool| -> Vec<(Worker, Option<u64>)> {
        let all = pool.processes().into_iter().filter(|process| process.role == ProcessRole::Worker);
        all.map(|process| (Worker(process.pid as i32), process.item)).collect()
    };
    let both = until("both endless items", || {
        let mut items = running(&pool);
        items.sort_by_key(|(_, item)| *item);
        (items.iter().map(|(_, item)| *item).eq([Some(1), Some(2)])).then_some(items)
    });
    let mut pids: Vec<Worker> = both.into_iter().map(|(worker, _)| worker).collect();
    pids.sort();
    assert_eq!(pids, workers());
    assert!(pool.processes().iter().all(|process| process.since >= begin && process.since <= Instant::now()));
    endless.cancel();
    assert_eq!(pool.apply::<_, i64>(3).unwrap(), 3);
    until("an idle worker", || running(&pool).iter().any(|(_, item)| item.is_none()).then_some(()));
    pool.terminate();
    pool.join().unwrap();
    assert!(pool.processes().is_empty());
}

fn watched(builder: PoolBuilder) -> (Pool, Receiver<WorkerEvent>) {
    let (sender, events) = mpsc::channel();
    let builder = builder.on_worker_event(move |event| drop(sender.send(event.clone())));
    (builder.build().unwrap(), events)
}

fn next(events: &Receiver<WorkerEvent>) -> WorkerEvent {
    events.recv_timeout(Duration::from_secs(60)).expect("an event")
}

#[test]
fn the_hook_is_told_of_a_worker_that_is_lost_and_of_the_one_in_its_place() {
    let _beside = beside_others();
    let (pool, events) = watched(builder(SPIN).workers(1));
    let endless = pool.map_async::<_, i64>([1, -1]).unwrap();
    let worker = busy(1)[0];
    let started = next(&events);
    assert!(matches!(started, WorkerEvent::Started { pid, replaces: None, .. } if pid as i32 == worker.0));
    worker.kill();
    assert!(endless.get().is_err());
    match next(&events) {
        WorkerEvent::Lost { pid, item, how, .. } => {
            assert_eq!((pid as i32, item), (worker.0, Some(1)));
            assert!(how.contains("SIGKILL"), "{how}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(pool.apply::<_, i64>(3).unwrap(), 3);
    assert!(matches!(next(&events), WorkerEvent::Started { replaces: Some(pid), .. } if pid as i32 == worker.0));
}

#[test]
fn the_hook_is_told_of_a_worker_that_is_late() {
    let _beside = beside_others();
    let (pool, events) = watched(builder(SPIN).workers(1).timeout(Duration::from_millis(200)));
    let outcomes = pool.map_each::<_, i64>([1, 2, -1]).unwrap();
    assert!(matches!(&outcomes[2], Err(e) if e.kind == FailureKind::Timeout));
    let WorkerEvent::Started { pid: first, .. } = next(&events) else { panic!("it starts") };
    assert!(matches!(next(&events), WorkerEvent::Late { pid, item: Some(2), .. } if pid == first));
    assert_eq!(pool.apply::<_, i64>(3).unwrap(), 3);
    assert!(matches!(next(&events), WorkerEvent::Started { replaces: Some(pid), .. } if pid == first));
}

#[test]
fn the_hook_is_told_of_a_worker_that_has_had_as_many_items_as_it_may() {
    let _beside = beside_others();
    let (pool, events) = watched(builder(SQUARES).workers(1).max_tasks_per_worker(1));
    assert_eq!(pool.apply::<_, i64>(3).unwrap(), 9);
    let WorkerEvent::Started { pid: first, .. } = next(&events) else { panic!("it starts") };
    let both = [next(&events), next(&events)];
    assert!(
        both.iter().any(|event| matches!(event, WorkerEvent::Started { replaces: Some(pid), .. } if *pid == first))
    );
    assert!(both.iter().any(|event| matches!(event, WorkerEvent::Ended { pid, .. } if *pid == first)), "{both:?}");
}

#[test]
fn a_hook_that_panics_affects_nothing_else() {
    let _beside = beside_others();
    let pool = builder(SQUARES).workers(2).on_worker_event(|_| panic!("a hook that panics")).build().unwrap();
    assert_eq!(pool.map::<_, i64>(0..1000).unwrap().len(), 1000);
    pool.close();
    pool.join().unwrap();
}
