//! Serving callers on demand: what is read in advance, what waits behind what, and how many workers there are.

use super::*;

const MS: Duration = Duration::from_millis(1);

fn scheduler(workers: usize, chunk: ChunkSize) -> Scheduler {
    let config =
        SchedulerConfig { ordered: false, chunk, ..SchedulerConfig::of_limits(Duration::from_secs(10), workers) };
    let mut scheduler = Scheduler::new(config);
    scheduler.serve_on_demand();
    scheduler
}

/// Returns a scheduler with chunks of one item, after a worker has answered one that took a millisecond.
fn after_a_quick_item(workers: usize) -> Scheduler {
    let mut scheduler = scheduler(workers, ChunkSize::Fixed(1));
    take(&mut scheduler, 1);
    answer(&mut scheduler, 0, MS, MS);
    scheduler
}

/// Adds items, and makes the workers ready that are started for them.
fn take(scheduler: &mut Scheduler, items: usize) -> Vec<Action> {
    scheduler.input(&vec![10; items]);
    scheduler.input_pauses();
    let mut all = actions(scheduler);
    for id in spawned(&all) {
        scheduler.worker_ready(id, Time::ZERO);
    }
    all.extend(actions(scheduler));
    all
}

fn spawned(actions: &[Action]) -> Vec<WorkerId> {
    let spawned = |action: &Action| match action {
        Action::Spawn(id) => Some(*id),
        _ => None,
    };
    actions.iter().filter_map(spawned).collect()
}

fn sent(actions: &[Action]) -> Vec<(WorkerId, u32)> {
    let sent = |action: &Action| match action {
        Action::Send { worker, count, .. } => Some((*worker, *count)),
        _ => None,
    };
    actions.iter().filter_map(sent).collect()
}

fn retired(actions: &[Action]) -> Vec<WorkerId> {
    let retired = |action: &Action| match action {
        Action::Retire(id) => Some(*id),
        _ => None,
    };
    actions.iter().filter_map(retired).collect()
}

fn answer(scheduler: &mut Scheduler, id: WorkerId, elapsed: Duration, now: Time) {
    assert!(matches!(scheduler.outcome(id, OutcomeEnd::Final, elapsed, now), Verdict::Keep { .. }));
}

#[test]
fn an_item_that_comes_alone_is_not_waited_behind_for_a_chunk_to_fill() {
    let mut scheduler = scheduler(2, ChunkSize::Fixed(1000));
    assert_eq!(sent(&take(&mut scheduler, 1)), [(0, 1)]);
    answer(&mut scheduler, 0, MS, MS);
    assert!(!scheduler.finished(), "it serves whoever comes next");
    assert_eq!(sent(&take(&mut scheduler, 3)), [(0, 3)]);
}

#[test]
fn workers_are_started_as_there_is_work_and_then_kept() {
    let mut scheduler = scheduler(3, ChunkSize::Fixed(1));
    assert_eq!(spawned(&actions(&mut scheduler)), [0; 0]);
    assert_eq!(spawned(&take(&mut scheduler, 1)), [0]);
    assert_eq!(spawned(&take(&mut scheduler, 9)), [1, 2]);
    for id in [0, 1, 2] {
        scheduler.worker_lost(id, true, Time::ZERO);
    }
    assert_eq!(spawned(&actions(&mut scheduler)).len(), 3, "lost ones are replaced");
}

#[test]
fn a_worker_that_has_done_its_share_is_replaced_though_nothing_waits() {
    let config =
        SchedulerConfig { max_items_per_worker: Some(1), ..SchedulerConfig::of_limits(Duration::from_secs(10), 1) };
    let mut scheduler = Scheduler::new(config);
    scheduler.serve_on_demand();
    assert_eq!(spawned(&take(&mut scheduler, 1)), [0, 1]);
}

#[test]
fn no_more_is_wanted_than_a_chunk_for_each_worker() {
    let mut scheduler = scheduler(2, ChunkSize::Fixed(5));
    assert_eq!(scheduler.wanted(), 10);
    scheduler.input(&[10; 10]);
    assert!(!scheduler.wants_input());
    let mut scheduler = self::scheduler(2, ChunkSize::Auto);
    assert_eq!(scheduler.wanted(), 2, "as long as nothing is known of items");
    take(&mut scheduler, 2);
    answer(&mut scheduler, 0, Duration::from_micros(1), MS);
    answer(&mut scheduler, 1, Duration::from_micros(1), MS);
    assert_eq!(scheduler.wanted(), 4, "it grows with what is known of them");
}

#[test]
fn what_is_there_is_shared_out_where_no_more_comes_for_now() {
    let mut scheduler = scheduler(2, ChunkSize::Auto);
    take(&mut scheduler, 2);
    for i in 0..200u32 {
        // Enough rounds that all items could go in one chunk.
        for (id, count) in match i {
            0 => vec![(0, 1), (1, 1)],
            _ => sent(&take(&mut scheduler, 2)),
        } {
            for _ in 0..count {
                answer(&mut scheduler, id, Duration::from_micros(10), MS);
            }
        }
    }
    let workers: BTreeSet<WorkerId> = sent(&take(&mut scheduler, 100)).into_iter().map(|(id, _)| id).collect();
    assert_eq!(workers.len(), 2);
}

#[test]
fn what_would_be_done_before_another_worker_has_woken_up_is_not_shared_out() {
    let mut scheduler = scheduler(2, ChunkSize::Auto);
    let mut sends = sent(&take(&mut scheduler, 2));
    for round in 1..100 {
        for (id, count) in sends {
            (0..count).for_each(|_| answer(&mut scheduler, id, Duration::from_micros(1), round * MS));
        }
        sends = sent(&take(&mut scheduler, 50));
    }
    assert_eq!(sends.iter().map(|(_, count)| count).collect::<Vec<_>>(), [&50]);
}

#[test]
fn nothing_is_queued_behind_an_item_of_another_caller() {
    let mut scheduler = scheduler(1, ChunkSize::Fixed(1));
    scheduler.several_callers(true);
    assert_eq!(sent(&take(&mut scheduler, 1)), [(0, 1)]);
    answer(&mut scheduler, 0, MS, MS);
    assert_eq!(sent(&take(&mut scheduler, 2)), [(0, 1)]);
    answer(&mut scheduler, 0, MS, 2 * MS);
    assert_eq!(sent(&actions(&mut scheduler)), [(0, 1)]);
}

#[test]
fn a_caller_alone_has_the_next_chunk_wait_in_the_worker_where_that_is_not_for_long() {
    let mut scheduler = after_a_quick_item(1);
    scheduler.input(&[10; 9]);
    assert_eq!(sent(&actions(&mut scheduler)), [(0, 1), (0, 1)]);
    scheduler.several_callers(true);
    answer(&mut scheduler, 0, MS, 2 * MS);
    assert_eq!(sent(&actions(&mut scheduler)), []);
    scheduler.several_callers(false);
    assert_eq!(sent(&actions(&mut scheduler)), [(0, 1)]);
    answer(&mut scheduler, 0, Duration::from_secs(1), Duration::from_secs(2));
    assert_eq!(sent(&actions(&mut scheduler)), [], "they have become slow");
}

#[test]
fn nothing_is_queued_where_another_worker_might_take_it() {
    let mut scheduler = after_a_quick_item(2);
    // There may be one more worker, which is started for them.
    scheduler.input(&[10; 9]);
    let started = actions(&mut scheduler);
    assert_eq!((sent(&started), spawned(&started)), (vec![(0, 1)], vec![1]));
    assert_eq!(sent(&actions(&mut scheduler)), []);
    scheduler.worker_ready(1, MS);
    assert_eq!(sent(&actions(&mut scheduler)), [(1, 1), (0, 1), (1, 1)]);
    // The last items go to whichever worker is free first.
    for id in [0, 1] {
        answer(&mut scheduler, id, MS, 2 * MS);
    }
    scheduler.input_pauses();
    assert_eq!(sent(&actions(&mut scheduler)), []);
}

#[test]
fn fewer_workers_means_that_idle_ones_end_and_others_finish() {
    let mut scheduler = scheduler(3, ChunkSize::Fixed(1));
    take(&mut scheduler, 3);
    answer(&mut scheduler, 1, MS, MS);
    scheduler.set_workers(2);
    assert_eq!(retired(&actions(&mut scheduler)), [1]);
    scheduler.worker_lost(1, true, Time::ZERO);
    scheduler.set_workers(0);
    assert_eq!(actions(&mut scheduler).iter().filter(|a| matches!(a, Action::Retire(_) | Action::Spawn(_))).count(), 0);
    answer(&mut scheduler, 0, MS, MS);
    answer(&mut scheduler, 2, MS, MS);
    assert_eq!(retired(&actions(&mut scheduler)), [0, 2]);
    scheduler.worker_lost(0, true, Time::ZERO);
    scheduler.worker_lost(2, true, Time::ZERO);
    assert_eq!(spawned(&actions(&mut scheduler)), [0; 0]);
    scheduler.set_workers(2);
    assert_eq!(spawned(&actions(&mut scheduler)), [0; 0], "there is no work for them");
    assert_eq!(spawned(&take(&mut scheduler, 5)).len(), 2);
}
