//! Several tasks and calls in one pool.

use crate::support::{
    DIVIDE, POWER, SPIN, SQUARES, TWO, Worker, alone, beside_others, builder, busy, pool, until, workers,
};

#[test]
fn no_process_ever_holds_two_tasks() {
    let _alone = alone();
    let pool = builder(SPIN).workers(1).build().unwrap();
    let other = pool.task(SQUARES).unwrap();
    assert_eq!(pool.apply::<_, i64>(1).unwrap(), 1);
    let first = workers();
    assert_eq!(first.len(), 1);
    assert_eq!(other.apply::<_, i64>(3).unwrap(), 9);
    // The first call's worker had to make room: another process ran the second call.
    until("one worker, and a new one", || {
        let now = workers();
        (now.len() == 1 && now != first).then_some(())
    });
    assert_eq!(pool.apply::<_, i64>(2).unwrap(), 2);
}

#[test]
fn a_task_that_fills_the_pool_keeps_no_other_waiting() {
    let _alone = alone();
    let pool = pool(SPIN);
    let results = [(); 4].map(|()| pool.apply_async::<_, i64>(-1).unwrap());
    busy(2);
    let other = pool.task(SQUARES).unwrap();
    assert_eq!(other.map::<_, i64>(0..3).unwrap(), [0, 1, 4]);
    assert!(results.iter().all(|result| !result.ready()));
}

#[test]
fn idle_workers_make_room_and_those_called_last_are_kept() {
    let _alone = alone();
    let pool = builder(TWO).function("twice").workers(2).build().unwrap();
    let negate = pool.function("negate");
    let mut seen: Vec<Worker> = Vec::new();
    for i in 0..200 {
        assert_eq!(pool.apply::<_, i64>(i).unwrap(), 2 * i);
        assert_eq!(negate.apply::<_, i64>(i).unwrap(), -i);
        seen.extend(workers());
    }
    seen.sort();
    seen.dedup();
    assert!(seen.len() <= 4, "calls that come back find their workers: {seen:?}");
}

#[test]
fn more_calls_than_are_kept_all_get_their_turn() {
    let _alone = alone();
    let pool = builder(POWER).workers(2).build().unwrap();
    for exponent in 0..40u32 {
        let power = pool.bind("exponent", &exponent);
        assert_eq!(power.apply::<_, i64>(2).unwrap(), 1 << exponent);
    }
    until("no more workers than there may be", || (workers().len() <= 2).then_some(()));
}

#[test]
fn a_pool_can_be_resized_while_it_runs() {
    let _alone = alone();
    let pool = builder(SPIN).workers(1).build().unwrap();
    let results = [(); 3].map(|()| pool.apply_async::<_, i64>(-1).unwrap());
    assert_eq!(busy(1).len(), 1);
    pool.resize(3);
    assert_eq!(pool.workers(), 3);
    let three = busy(3);
    pool.resize(1);
    assert!(three.iter().all(|worker| worker.lives()), "what runs is finished");
    three[0].kill();
    three[1].kill();
    until("failures of two", || (results.iter().filter(|result| result.ready()).count() == 2).then_some(()));
    assert_eq!(workers().len(), 1, "they are not replaced");
}

#[test]
fn resizing_in_the_middle_loses_nothing() {
    let _beside = beside_others();
    let pool = pool(SQUARES);
    let mut results = pool.imap::<_, i64>(0..30_000i64);
    for i in 0..30_000i64 {
        if i % 1000 == 0 {
            pool.resize(1 + (i / 1000 % 5) as usize);
        }
        assert_eq!(results.next().unwrap().unwrap(), i * i);
    }
}

#[test]
fn grants_of_one_task_are_not_those_of_another() {
    let _beside = beside_others();
    let pool = builder(SQUARES).grant_env("SECRET", "hunter2").build().unwrap();
    // With the pool's `init` it would not compile, and it does not see the variable.
    let other = pool.task(DIVIDE).unwrap();
    assert!(!format!("{other:?}").contains("hunter2"));
    assert_eq!(other.apply::<_, i64>((4, 2)).unwrap(), 2);
}
