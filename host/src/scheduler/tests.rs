//! The scheduler's promises, one schedule for each. Random schedules are played by `simulation/`.

mod long_runs;
mod on_demand;

use super::*;

fn config() -> Config {
    Config {
        chunk: ChunkSize::Fixed(4),
        start_timeout: Duration::from_secs(1),
        window: 1 << 20,
        ..Config::of_limits(Duration::from_millis(100), 1)
    }
}

fn actions(scheduler: &mut Scheduler) -> Vec<Action> {
    std::iter::from_fn(|| scheduler.next_action()).collect()
}

/// A scheduler with one ready worker that was given items 0 to 3.
fn with_four_items(config: Config) -> Scheduler {
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
    scheduler.outcome(0, Ending::Final, Duration::ZERO, Time::ZERO);
    scheduler.observed(0, 2, 2, Time::ZERO, Time::ZERO);
    scheduler.worker_lost(0, true);
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
    scheduler.worker_lost(0, true);
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
    scheduler.worker_lost(0, true);
    let blamed = actions(&mut scheduler).into_iter().find_map(|a| match a {
        Action::Settle { index, blame, elapsed, .. } => Some((index, blame, elapsed)),
        _ => None,
    });
    assert_eq!(blamed, Some((0, Blame::Timeout, ms(100))));
}

#[test]
fn an_item_that_began_when_the_late_one_had_just_been_answered_is_not_blamed_for_it() {
    let mut scheduler = with_four_items(config());
    let ms = Duration::from_millis;
    scheduler.observed(0, 1, 1, ms(0), ms(0));
    scheduler.tick(ms(100));
    assert_eq!(actions(&mut scheduler), [Action::Kill(0)]);
    // It had answered before the signal came, and begun the next.
    scheduler.outcome(0, Ending::Final, ms(100), ms(100));
    scheduler.observed(0, 2, 2, ms(100), ms(100));
    scheduler.worker_lost(0, true);
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
        // It claims a fresh attempt, just now, at every look.
        scheduler.observed(0, now + 1, 1, ms(now), ms(now));
        scheduler.tick(ms(now));
        if actions(&mut scheduler).contains(&Action::Kill(0)) {
            killed = Some(now);
            break;
        }
    }
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
    let mut scheduler = with_four_items(Config { retries: 9, ..config() });
    for worker in 0..2 {
        scheduler.observed(worker, 1, 1, Time::ZERO, Time::ZERO);
        scheduler.worker_lost(worker, false);
        let actions = actions(&mut scheduler);
        let settled = actions.iter().any(|a| matches!(a, Action::Settle { index: 0, attempts: 2, .. }));
        assert_eq!(settled, worker == 1, "{actions:?}");
        scheduler.worker_ready(worker + 1, Time::ZERO);
        scheduler.next_action();
    }
}

#[test]
fn workers_that_never_get_ready_end_the_run() {
    let mut scheduler = Scheduler::new(config());
    scheduler.input(&[1]);
    for worker in 0..MAX_FAILED_STARTS {
        assert!(actions(&mut scheduler).contains(&Action::Spawn(worker)));
        scheduler.worker_lost(worker, false);
    }
    assert!(actions(&mut scheduler).contains(&Action::GiveUp));
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
        assert!(matches!(scheduler.outcome(0, Ending::Final, Duration::ZERO, Time::ZERO), Verdict::Keep { .. }));
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
    // A machine that stays overloaded does not keep an item for ever.
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
    // Nothing happens for far longer than an item may take.
    scheduler.input(&[1; 4]);
    scheduler.input_ended();
    scheduler.tick(ms(5_000));
    assert_eq!(actions(&mut scheduler), [Action::Send { worker: 0, chunk: 0, count: 4 }]);
    scheduler.tick(ms(5_001));
    assert_eq!(actions(&mut scheduler), []);
    assert_eq!(scheduler.next_deadline(), Some(ms(5_100)));
}

#[test]
fn a_bounced_item_leaves_nothing_to_those_behind_it() {
    let mut scheduler = with_four_items(config());
    let mut worker = 0;
    let mut lose = |scheduler: &mut Scheduler| {
        scheduler.worker_lost(worker, true);
        worker += 1;
        let settled = actions(scheduler).iter().any(|a| matches!(a, Action::Settle { .. }));
        scheduler.worker_ready(worker, Time::ZERO);
        actions(scheduler);
        settled
    };
    // Each item has as many deaths of workers that have not started it before it is blamed.
    for _ in 0..2 {
        let blamed: Vec<bool> = (0..=MAX_BOUNCES).map(|_| lose(&mut scheduler)).collect();
        assert_eq!(blamed, [false, false, false, true]);
    }
}
