//! The scheduler's promises, each with one schedule. `simulation/` plays random schedules.

mod long_runs;
mod on_demand;
mod terms;

use super::*;

fn config() -> SchedulerConfig {
    SchedulerConfig {
        chunk: ChunkSize::Fixed(4),
        start_timeout: Duration::from_secs(1),
        window: 1 << 20,
        ..SchedulerConfig::of_limits(Duration::from_millis(100), 1)
    }
}

fn actions(scheduler: &mut Scheduler) -> Vec<Action> {
    std::iter::from_fn(|| scheduler.next_action()).collect()
}

/// Returns a scheduler with one ready worker, which was given items 0 to 3.
fn with_four_items(config: SchedulerConfig) -> Scheduler {
    let mut scheduler = Scheduler::new(config);
    assert_eq!(actions(&mut scheduler), [Action::Spawn(0)]);
    scheduler.worker_ready(0, Time::ZERO);
    scheduler.input(&[1; 4]);
    scheduler.input_ended();
    assert_eq!(actions(&mut scheduler), [Action::Send { worker: 0, chunk: 0, count: 4 }]);
    scheduler
}

#[test]
fn a_lost_worker_costs_only_the_item_in_work() {
    let mut scheduler = with_four_items(config());
    scheduler.observed(0, 1, 1, Time::ZERO, Time::ZERO);
    scheduler.outcome(0, OutcomeEnd::Final, Duration::ZERO, Time::ZERO);
    scheduler.observed(0, 2, 2, Time::ZERO, Time::ZERO);
    scheduler.worker_lost(0, true, Time::ZERO);
    let actions = actions(&mut scheduler);
    let settled: Vec<u64> = actions
        .iter()
        .filter_map(|a| match a {
            Action::Settle { index, blame: Blame::WorkerLost, .. } => Some(*index),
            _ => None,
        })
        .collect();
    assert_eq!(settled, [1]);
    assert!(actions.contains(&Action::Spawn(1)));
    scheduler.worker_ready(1, Time::ZERO);
    assert_eq!(scheduler.next_action(), Some(Action::Send { worker: 1, chunk: 2, count: 2 }));
}

#[test]
fn a_worker_that_dies_between_items_costs_none() {
    let mut scheduler = with_four_items(config());
    scheduler.worker_lost(0, true, Time::ZERO);
    assert!(!actions(&mut scheduler).iter().any(|a| matches!(a, Action::Settle { .. })));
    scheduler.worker_ready(1, Time::ZERO);
    assert_eq!(actions(&mut scheduler), [Action::Send { worker: 1, chunk: 0, count: 4 }]);
}

#[test]
fn the_worker_of_an_item_that_is_late_is_killed() {
    let mut scheduler = with_four_items(config());
    let ms = Duration::from_millis;
    scheduler.observed(0, 1, 1, ms(50), ms(60));
    scheduler.tick(ms(149));
    assert_eq!(actions(&mut scheduler), []);
    scheduler.tick(ms(150));
    assert_eq!(actions(&mut scheduler), [Action::Kill(0)]);
    scheduler.worker_lost(0, true, Time::ZERO);
    let blamed = actions(&mut scheduler).into_iter().find_map(|a| match a {
        Action::Settle { index, blame, elapsed, .. } => Some((index, blame, elapsed)),
        _ => None,
    });
    assert_eq!(blamed, Some((0, Blame::Timeout(config().timeout), ms(100))));
}

#[test]
fn an_item_that_began_when_the_late_one_had_just_been_answered_is_not_blamed_for_it() {
    let mut scheduler = with_four_items(config());
    let ms = Duration::from_millis;
    scheduler.observed(0, 1, 1, ms(0), ms(0));
    scheduler.tick(ms(100));
    assert_eq!(actions(&mut scheduler), [Action::Kill(0)]);
    // The worker answered before the signal came, and began the next item.
    scheduler.outcome(0, OutcomeEnd::Final, ms(100), ms(100));
    scheduler.observed(0, 2, 2, ms(100), ms(100));
    scheduler.worker_lost(0, true, Time::ZERO);
    assert!(!actions(&mut scheduler).iter().any(|a| matches!(a, Action::Settle { .. })));
    scheduler.worker_ready(1, ms(101));
    assert_eq!(actions(&mut scheduler), [Action::Send { worker: 1, chunk: 1, count: 3 }]);
}

#[test]
fn a_worker_that_lies_about_its_starts_does_not_live_longer_for_it() {
    let mut scheduler = with_four_items(config());
    let ms = Duration::from_millis;
    let mut killed = None;
    for now in 0..10_000 {
        // The worker claims at every look that a new attempt has just begun.
        scheduler.observed(0, now + 1, 1, ms(now), ms(now));
        scheduler.tick(ms(now));
        if actions(&mut scheduler).contains(&Action::Kill(0)) {
            killed = Some(now);
            break;
        }
    }
    assert!(killed.is_some_and(|at| at <= 130), "killed at {killed:?} ms");
    // The same holds with several items left.
    let mut scheduler = with_four_items(config());
    (0..3).for_each(|n| assert!(scheduler.outcome(0, OutcomeEnd::Final, ms(0), ms(n)) != Verdict::Unexpected));
    let claim = |scheduler: &mut Scheduler, now: Time| scheduler.observed(0, now.as_micros() as u64, 4, now, now);
    let killed = killed_at(&mut scheduler, 3..10_000, claim);
    assert!(killed.is_some_and(|at| at <= 130), "killed at {killed:?} ms");
}

#[test]
fn a_worker_that_says_again_and_again_that_it_is_ready_does_not_live_longer_for_it() {
    let mut scheduler = with_four_items(config());
    let ms = Duration::from_millis;
    scheduler.observed(0, 1, 1, ms(0), ms(0));
    let killed = (0..1000).find(|&now| {
        scheduler.worker_ready(0, ms(now));
        scheduler.tick(ms(now));
        actions(&mut scheduler).contains(&Action::Kill(0))
    });
    assert_eq!(killed, Some(100));
}

#[test]
fn an_item_that_killed_its_worker_twice_gets_no_third() {
    let mut scheduler = with_four_items(SchedulerConfig { retries: 9, ..config() });
    for worker in 0..2 {
        scheduler.observed(worker, 1, 1, Time::ZERO, Time::ZERO);
        scheduler.worker_lost(worker, false, Time::ZERO);
        let actions = actions(&mut scheduler);
        let settled = actions.iter().any(|a| matches!(a, Action::Settle { index: 0, attempts: 2, .. }));
        assert_eq!(settled, worker == 1, "{actions:?}");
        scheduler.worker_ready(worker + 1, Time::ZERO);
        scheduler.next_action();
    }
}

/// Plays a scheduler with two workers for `seconds`, and lets `start` decide what becomes of each start. Returns the
/// time at which it gave up, if it did.
fn starts(seconds: u64, mut start: impl FnMut(&mut Scheduler, WorkerId, Time)) -> Option<Time> {
    let timeout = Duration::from_secs(3600);
    let mut scheduler = Scheduler::new(SchedulerConfig { workers: 2, timeout, ..config() });
    scheduler.input(&[1; 8]);
    let mut now = Time::ZERO;
    while now < Duration::from_secs(seconds) {
        scheduler.tick(now);
        while let Some(action) = scheduler.next_action() {
            match action {
                Action::Spawn(id) => start(&mut scheduler, id, now),
                Action::GiveUp => return Some(now),
                _ => {}
            }
        }
        now = scheduler.next_deadline().unwrap_or(Duration::MAX).max(now + Duration::from_millis(1));
    }
    None
}

fn dies(scheduler: &mut Scheduler, id: WorkerId, now: Time) {
    scheduler.worker_spawned(id, now);
    scheduler.worker_lost(id, false, now);
}

fn gets_ready(scheduler: &mut Scheduler, id: WorkerId, now: Time) {
    scheduler.worker_spawned(id, now);
    scheduler.worker_ready(id, now);
}

#[test]
fn workers_that_never_get_ready_end_the_run() {
    let mut tries = 0;
    let gave_up = starts(60, |scheduler, id, now| {
        tries += 1;
        dies(scheduler, id, now);
    });
    assert!(gave_up.is_some_and(|at| at < Duration::from_secs(5)), "{gave_up:?}");
    assert!((5..20).contains(&tries), "{tries} tries");
}

#[test]
fn workers_that_cannot_be_started_end_the_run_after_its_patience() {
    let mut tries = 0;
    let gave_up = starts(600, |scheduler, id, now| {
        tries += 1;
        scheduler.spawn_failed(id, true, now);
    });
    let most = PATIENCE + Duration::from_secs(2);
    assert!(gave_up.is_some_and(|at| (PATIENCE..most).contains(&at)), "{gave_up:?}");
    assert!(tries < 60, "{tries} tries");
    // A cause that will not go away is not waited for.
    assert_eq!(starts(600, |scheduler, id, now| scheduler.spawn_failed(id, false, now)), Some(Time::ZERO));
}

#[test]
fn a_lack_that_passes_ends_no_run() {
    for outage in [1, 20] {
        let mut started = 0;
        let gave_up = starts(60, |scheduler, id, now| {
            if now < Duration::from_secs(outage) {
                return scheduler.spawn_failed(id, true, now);
            }
            started += 1;
            gets_ready(scheduler, id, now);
        });
        assert_eq!((gave_up, started), (None, 2), "after {outage} s without room");
    }
    // The same holds if there is room for the process, but not for what it needs afterwards.
    let gave_up = starts(60, |scheduler, id, now| match now < Duration::from_secs(1) {
        true => dies(scheduler, id, now),
        false => gets_ready(scheduler, id, now),
    });
    assert_eq!(gave_up, None);
}

#[test]
fn as_long_as_a_worker_lives_none_that_fails_ends_the_run() {
    for fails in [dies, |scheduler: &mut Scheduler, id, now| scheduler.spawn_failed(id, false, now)] {
        let gave_up = starts(600, |scheduler, id, now| match id {
            0 => gets_ready(scheduler, id, now),
            _ => fails(scheduler, id, now),
        });
        assert_eq!(gave_up, None);
    }
}

#[test]
fn the_end_of_the_last_worker_makes_room_for_another() {
    let timeout = Duration::from_secs(3600);
    let mut scheduler = Scheduler::new(SchedulerConfig { workers: 2, timeout, ..config() });
    scheduler.input(&[1; 8]);
    let minute = Duration::from_secs(60);
    assert_eq!(actions(&mut scheduler), [Action::Spawn(0), Action::Spawn(1)]);
    gets_ready(&mut scheduler, 0, Time::ZERO);
    for now in (0..60).map(Duration::from_secs) {
        scheduler.tick(now);
        for action in actions(&mut scheduler) {
            match action {
                Action::Spawn(id) => scheduler.spawn_failed(id, true, now),
                Action::GiveUp => panic!("given up after {now:?}, with a worker"),
                _ => {}
            }
        }
    }
    scheduler.worker_lost(0, false, minute);
    scheduler.tick(minute + Duration::from_secs(1));
    let actions = actions(&mut scheduler);
    assert!(actions.iter().any(|action| matches!(action, Action::Spawn(_))), "{actions:?}");
}

#[test]
fn a_worker_that_does_not_get_ready_in_time_is_replaced() {
    let mut scheduler = Scheduler::new(config());
    assert_eq!(actions(&mut scheduler), [Action::Spawn(0)]);
    scheduler.worker_spawned(0, Time::ZERO);
    let limit = config().start_timeout;
    scheduler.tick(limit);
    assert_eq!(actions(&mut scheduler), [Action::Kill(0), Action::Spawn(1)]);
    scheduler.worker_spawned(1, limit);
    scheduler.worker_lost(0, true, limit);
    assert_eq!(actions(&mut scheduler), []);
    // The second start takes its full time, too, so a start that is late is tried no more often than necessary.
    let later = limit + limit + Duration::from_secs(2);
    scheduler.tick(later);
    assert_eq!(actions(&mut scheduler), [Action::Kill(1), Action::Spawn(2)]);
    scheduler.worker_spawned(2, later);
    scheduler.worker_lost(1, true, later);
    scheduler.tick(later);
    assert_eq!(actions(&mut scheduler), [Action::GiveUp]);
}

#[test]
fn after_a_stop_what_was_given_out_is_finished_and_nothing_behind_it() {
    let mut scheduler = Scheduler::new(config());
    actions(&mut scheduler);
    scheduler.worker_ready(0, Time::ZERO);
    scheduler.input(&[1; 20]);
    assert_eq!(actions(&mut scheduler), [Action::Send { worker: 0, chunk: 0, count: 4 }]);
    scheduler.stop();
    for _ in 0..4 {
        assert!(matches!(scheduler.outcome(0, OutcomeEnd::Final, Duration::ZERO, Time::ZERO), Verdict::Keep { .. }));
    }
    assert_eq!(actions(&mut scheduler), [Action::Emit { chunk: 0, done: true }]);
    assert!(scheduler.finished());
}

#[test]
fn waiting_for_a_processor_is_excused_to_a_bound() {
    let ms = Duration::from_millis;
    let mut scheduler = with_four_items(config());
    scheduler.observed(0, 1, 1, ms(0), ms(0));
    assert!(!scheduler.is_late(0, ms(99)));
    assert!(scheduler.is_late(0, ms(100)));
    scheduler.excuse(0, ms(40), ms(100));
    scheduler.tick(ms(100));
    assert_eq!(actions(&mut scheduler), [], "it ran for 60 ms of the 100");
    // On a machine that stays overloaded, an item does not run forever.
    let mut now = 100;
    while actions(&mut scheduler) != [Action::Kill(0)] {
        now += 50;
        scheduler.excuse(0, ms(50), ms(now));
        scheduler.tick(ms(now));
        assert!(now < 2000, "never killed");
    }
    assert!(now >= 900, "killed after {now} ms");
}

#[test]
fn an_item_that_comes_after_a_long_pause_has_its_full_time() {
    let mut scheduler = Scheduler::new(config());
    let ms = Duration::from_millis;
    actions(&mut scheduler);
    scheduler.worker_ready(0, ms(0));
    // Nothing happens for much longer than an item may take.
    scheduler.input(&[1; 4]);
    scheduler.input_ended();
    scheduler.tick(ms(5_000));
    assert_eq!(actions(&mut scheduler), [Action::Send { worker: 0, chunk: 0, count: 4 }]);
    assert_eq!(killed_at(&mut scheduler, 5_001..6_000, |_, _| ()), Some(5_100));
}

/// Returns the time at which the worker is killed, if `happens` is called every millisecond.
fn killed_at(
    scheduler: &mut Scheduler,
    mut during: std::ops::Range<u64>,
    mut happens: impl FnMut(&mut Scheduler, Time),
) -> Option<u64> {
    during.find(|&now| {
        let now = Duration::from_millis(now);
        happens(scheduler, now);
        scheduler.tick(now);
        actions(scheduler).contains(&Action::Kill(0))
    })
}

#[test]
fn bytes_that_come_one_by_one_do_not_count_as_life() {
    let mut scheduler = with_four_items(config());
    // The worker claims that nothing is in work, and has answered nothing.
    let drip = |scheduler: &mut Scheduler, now| {
        scheduler.observed(0, 0, 0, now, now);
        scheduler.progress(0, 1, now);
    };
    assert_eq!(killed_at(&mut scheduler, 0..10_000, drip), Some(100));
}

#[test]
fn a_large_item_has_its_time_once_it_is_there() {
    let mut scheduler = with_four_items(config());
    let takes = |scheduler: &mut Scheduler, now| {
        if now < Duration::from_millis(500) {
            scheduler.progress(0, 1 << 20, now);
        }
    };
    assert_eq!(killed_at(&mut scheduler, 0..10_000, takes), Some(599));
}

#[test]
fn a_batch_is_tried_as_a_whole_and_then_item_by_item() {
    let mut scheduler = with_four_items(SchedulerConfig { batch: true, ..config() });
    let ms = Duration::from_millis;
    scheduler.observed(0, 1, 1, ms(0), ms(0));
    assert_eq!(killed_at(&mut scheduler, 0..90, |_, _| ()), None);
    scheduler.observed(0, 2, 1, ms(90), ms(90));
    assert_eq!(killed_at(&mut scheduler, 90..180, |_, _| ()), None);
    // A third start without an answer does not count.
    scheduler.observed(0, 3, 1, ms(180), ms(180));
    assert_eq!(killed_at(&mut scheduler, 180..1_000, |_, _| ()), Some(190));
}

#[test]
fn what_a_worker_claims_to_need_between_items_is_no_more_than_some_seconds_in_all() {
    let timeout = Duration::from_secs(10);
    let mut scheduler = with_four_items(SchedulerConfig { timeout, ..config() });
    let (mut item, mut attempt) = (0, 0);
    // The worker claims that each item begins when its time is nearly up, and answers at the last moment.
    let late = |scheduler: &mut Scheduler, now: Time| {
        let since = scheduler.workers.get(0).expect("it is not lost").since;
        let is_late = now + Duration::from_millis(1) >= since + timeout;
        if attempt == item && is_late {
            attempt += 1;
            scheduler.observed(0, attempt, attempt, now, now);
        } else if attempt > item && item < 3 && is_late {
            item += 1;
            scheduler.outcome(0, OutcomeEnd::Final, timeout, now);
        }
    };
    let killed = killed_at(&mut scheduler, 0..100_000, late).expect("it is killed");
    assert!((40_000..=44_000).contains(&killed), "killed after {killed} ms");
}

/// Returns a scheduler whose only worker has had chunks of one item since 0 ms: 1 in work and 2 waiting behind it.
fn with_one_behind() -> Scheduler {
    let mut scheduler = Scheduler::new(SchedulerConfig { chunk: ChunkSize::Fixed(1), workers: 2, ..config() });
    assert_eq!(actions(&mut scheduler), [Action::Spawn(0), Action::Spawn(1)]);
    scheduler.worker_ready(0, Time::ZERO);
    scheduler.input(&[1]);
    actions(&mut scheduler);
    scheduler.outcome(0, OutcomeEnd::Final, Duration::ZERO, Time::ZERO);
    scheduler.input(&[1; 2]);
    let sent = |chunk| Action::Send { worker: 0, chunk, count: 1 };
    assert_eq!(actions(&mut scheduler), [Action::Emit { chunk: 0, done: true }, sent(1), sent(2)]);
    scheduler
}

#[test]
fn a_chunk_does_not_wait_behind_an_item_that_takes_long() {
    let mut scheduler = with_one_behind();
    let ms = Duration::from_millis;
    scheduler.tick(ms(24));
    assert_eq!(actions(&mut scheduler), []);
    scheduler.tick(ms(25));
    assert_eq!(actions(&mut scheduler), [Action::TakeBack { worker: 0, chunk: 2 }]);
    scheduler.taken_back(0, 2);
    // Another chunk that comes does not go there either, until the long item is answered.
    scheduler.input(&[1]);
    assert_eq!(actions(&mut scheduler), []);
    scheduler.worker_ready(1, ms(30));
    let sent = |worker, chunk| Action::Send { worker, chunk, count: 1 };
    assert_eq!(actions(&mut scheduler), [sent(1, 2), sent(1, 3)]);
    scheduler.outcome(0, OutcomeEnd::Final, ms(40), ms(40));
    scheduler.input(&[1]);
    assert_eq!(actions(&mut scheduler), [Action::Emit { chunk: 1, done: true }, sent(0, 4)]);
}

#[test]
fn a_chunk_that_was_begun_stays_where_it_is() {
    let mut scheduler = with_one_behind();
    let ms = Duration::from_millis;
    scheduler.tick(ms(25));
    assert_eq!(actions(&mut scheduler), [Action::TakeBack { worker: 0, chunk: 2 }]);
    // The caller found that the chunk was begun; reporting it as taken back too late changes nothing.
    scheduler.outcome(0, OutcomeEnd::Final, ms(25), ms(26));
    scheduler.taken_back(0, 2);
    scheduler.worker_ready(1, ms(30));
    assert_eq!(actions(&mut scheduler), [Action::Emit { chunk: 1, done: true }]);
    let verdict = scheduler.outcome(0, OutcomeEnd::Final, ms(1), ms(31));
    assert_eq!(verdict, Verdict::Keep { chunk: 2, index: 2, attempts: 1 });
}

#[test]
fn a_bounced_item_leaves_nothing_to_those_behind_it() {
    let mut scheduler = with_four_items(config());
    let mut worker = 0;
    let mut lose = |scheduler: &mut Scheduler| {
        scheduler.worker_lost(worker, true, Time::ZERO);
        worker += 1;
        let settled = actions(scheduler).iter().any(|a| matches!(a, Action::Settle { .. }));
        scheduler.worker_ready(worker, Time::ZERO);
        actions(scheduler);
        settled
    };
    // An item is blamed only after several workers died without having started it. Each item has the full number of
    // these.
    for _ in 0..2 {
        let blamed: Vec<bool> = (0..=MAX_BOUNCES).map(|_| lose(&mut scheduler)).collect();
        assert_eq!(blamed, [false, false, false, true]);
    }
}

#[test]
fn workers_are_started_as_there_is_work_and_no_more_at_once_than_is_allowed() {
    let config = SchedulerConfig { workers: 100, chunk: ChunkSize::Fixed(4), ..config() };
    let mut scheduler = Scheduler::new(config);
    scheduler.start_ahead(2);
    assert_eq!(actions(&mut scheduler), [Action::Spawn(0), Action::Spawn(1)]);
    assert!(!scheduler.wants_starts());
    scheduler.input(&[1; 18]);
    scheduler.allow_starts(2);
    assert_eq!(actions(&mut scheduler), [Action::Spawn(2), Action::Spawn(3)]);
    assert!(scheduler.wants_starts());
    assert_eq!(actions(&mut scheduler), []);
    scheduler.allow_starts(2);
    // There are five chunks.
    assert_eq!(actions(&mut scheduler), [Action::Spawn(4)]);
    assert!(!scheduler.wants_starts());
}

#[test]
fn an_input_without_items_ends_once_a_worker_was_ready() {
    let mut scheduler = Scheduler::new(SchedulerConfig { workers: 3, ..config() });
    scheduler.require_ready_worker();
    scheduler.input_ended();
    assert_eq!(actions(&mut scheduler), [Action::Spawn(0)]);
    assert!(!scheduler.finished());
    scheduler.worker_lost(0, false, Time::ZERO);
    scheduler.tick(Duration::from_millis(100));
    assert_eq!(actions(&mut scheduler), [Action::Spawn(1)]);
    scheduler.worker_ready(1, Time::ZERO);
    assert!(scheduler.finished());
    // Whoever asks to stop does not wait.
    let mut scheduler = Scheduler::new(config());
    scheduler.require_ready_worker();
    scheduler.input_ended();
    scheduler.stop();
    assert!(scheduler.finished());
}
