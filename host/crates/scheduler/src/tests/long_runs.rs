//! Ending a run early, trying items again, and resuming an earlier run.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use wasmpool_core::policy::Failures;

/// Returns a configuration in which nothing is late.
fn config() -> SchedulerConfig {
    SchedulerConfig { timeout: Duration::from_secs(1), ..super::config() }
}

fn halt(manner: HaltWhen) -> Option<Halt> {
    Some(Halt { manner, after: Failures::Count(1) })
}

/// Returns a scheduler with twelve items in chunks of four, and two workers that have one chunk each.
fn two_busy(config: SchedulerConfig) -> Scheduler {
    let mut scheduler = Scheduler::new(SchedulerConfig { workers: 2, ..config });
    scheduler.input(&[1; 12]);
    actions(&mut scheduler);
    scheduler.worker_ready(0, Time::ZERO);
    scheduler.worker_ready(1, Time::ZERO);
    actions(&mut scheduler);
    scheduler
}

fn fail(scheduler: &mut Scheduler, worker: WorkerId, kind: FailureKind) -> Verdict {
    let verdict = scheduler.outcome(worker, OutcomeEnd::Failed(kind), Duration::ZERO, Time::ZERO);
    if matches!(verdict, Verdict::Keep { .. }) {
        scheduler.failed();
    }
    verdict
}

fn settled(actions: &[Action]) -> Vec<(u64, Blame)> {
    let settled = |action: &Action| match action {
        Action::Settle { index, blame, .. } => Some((*index, *blame)),
        _ => None,
    };
    actions.iter().filter_map(settled).collect()
}

#[test]
fn soon_finishes_what_was_given_out_and_takes_nothing_more() {
    let mut scheduler = two_busy(SchedulerConfig { halt: halt(HaltWhen::Soon), ..config() });
    fail(&mut scheduler, 1, FailureKind::Trap);
    assert!(!actions(&mut scheduler).iter().any(|action| matches!(action, Action::Kill(_) | Action::Send { .. })));
    assert!(!scheduler.wants_input() && !scheduler.finished());
    for (worker, left) in [(0, 4), (1, 3)] {
        for _ in 0..left {
            scheduler.outcome(worker, OutcomeEnd::Final, Duration::ZERO, Time::ZERO);
        }
    }
    actions(&mut scheduler);
    assert!(scheduler.finished() && scheduler.halted().is_some());
}

#[test]
fn now_kills_all_and_cancels_what_was_given_out() {
    let mut scheduler = two_busy(SchedulerConfig { halt: halt(HaltWhen::Now), ..config() });
    scheduler.outcome(0, OutcomeEnd::Final, Duration::ZERO, Time::ZERO);
    fail(&mut scheduler, 1, FailureKind::Trap);
    let orders = actions(&mut scheduler);
    let killed = orders.iter().filter(|action| matches!(action, Action::Kill(_))).count();
    assert_eq!(killed, 2);
    assert_eq!(settled(&orders), [1, 2, 3, 5, 6, 7].map(|index| (index, Blame::Cancelled)));
    assert!(scheduler.finished());
}

#[test]
fn now_leaves_what_was_given_out_to_the_run_that_goes_on() {
    let mut scheduler = two_busy(SchedulerConfig { halt: halt(HaltWhen::Now), resumable: true, ..config() });
    scheduler.outcome(0, OutcomeEnd::Final, Duration::ZERO, Time::ZERO);
    fail(&mut scheduler, 1, FailureKind::Trap);
    let orders = actions(&mut scheduler);
    assert_eq!(settled(&orders), []);
    assert!(orders.contains(&Action::Emit { chunk: 0, done: false }), "what is next in order leaves: {orders:?}");
    assert!(!orders.iter().any(|action| matches!(action, Action::Emit { chunk: 4, .. })));
    assert!(scheduler.finished());
}

#[test]
fn an_item_gets_no_third_worker_though_it_failed_otherwise_between() {
    let all = [FailureKind::WorkerLost, FailureKind::Trap].into();
    let mut scheduler = Scheduler::new(SchedulerConfig { retries: 9, retry_on: all, ..config() });
    scheduler.input(&[1]);
    scheduler.input_ended();
    let mut worker = 0;
    for end in ["dies", "traps", "dies"] {
        actions(&mut scheduler);
        scheduler.worker_ready(worker, Time::ZERO);
        actions(&mut scheduler);
        match end {
            "dies" => {
                scheduler.observed(worker, 1, scheduler_started(&scheduler, worker) + 1, Time::ZERO, Time::ZERO);
                scheduler.worker_lost(worker, true, Time::ZERO);
                worker += 1;
            }
            _ => assert!(matches!(fail(&mut scheduler, worker, FailureKind::Trap), Verdict::Retry { .. })),
        }
    }
    let blamed = settled(&actions(&mut scheduler));
    assert_eq!(blamed, [(0, Blame::WorkerLost)]);
}

/// Returns the number of items that a worker has answered.
fn scheduler_started(scheduler: &Scheduler, worker: WorkerId) -> u64 {
    scheduler.workers.get(worker).map_or(0, |worker| worker.finished)
}

#[test]
fn a_failure_that_is_not_named_is_not_tried_again() {
    let mut scheduler = two_busy(SchedulerConfig { retries: 9, ..config() });
    assert!(matches!(fail(&mut scheduler, 0, FailureKind::Trap), Verdict::Keep { .. }));
    assert!(matches!(fail(&mut scheduler, 0, FailureKind::Timeout), Verdict::Retry { .. }));
}

/// Generates consecutive ranges of items that are known (`true`) or still to be run.
fn stretches() -> impl Strategy<Value = Vec<(u64, bool)>> {
    proptest::collection::vec((1..9u64, any::<bool>()), 0..8)
}

proptest! {
    #[test]
    fn a_run_that_goes_on_runs_what_is_left_and_emits_all_in_order(
        stretches in stretches(),
        start in 0..50u64,
        new in 0..9u32,
        each in proptest::option::of(1..5u32),
    ) {
        let chunk = each.map_or(ChunkSize::Auto, ChunkSize::Fixed);
        let mut scheduler = Scheduler::new(SchedulerConfig { chunk, ..config() });
        let (mut next, mut left) = (start, BTreeSet::new());
        for (count, known) in stretches {
            let end = next + count;
            match known {
                true => scheduler.restore_done(next, end, 10),
                false => {
                    left.extend(next..end);
                    scheduler.restore(next, &vec![1; count as usize]);
                }
            }
            next = end;
        }
        scheduler.go_on_at(next);
        scheduler.input(&vec![1; new as usize]);
        left.extend(next..next + u64::from(new));
        scheduler.input_ended();
        let (mut run, mut emitted) = (BTreeSet::new(), Vec::new());
        for _ in 0..1000 {
            for action in actions(&mut scheduler) {
                match action {
                    Action::Spawn(id) => scheduler.worker_ready(id, Time::ZERO),
                    Action::Send { worker, chunk, count } => {
                        for index in chunk..chunk + u64::from(count) {
                            prop_assert!(run.insert(index), "{} runs twice", index);
                            scheduler.outcome(worker, OutcomeEnd::Final, Duration::from_millis(1), Time::ZERO);
                        }
                    }
                    Action::Emit { chunk, .. } => emitted.push(chunk),
                    _ => {}
                }
            }
            if scheduler.finished() {
                break;
            }
        }
        prop_assert!(scheduler.finished());
        prop_assert_eq!(run, left);
        prop_assert!(emitted.is_sorted());
        prop_assert_eq!(scheduler.held, 0);
    }
}
