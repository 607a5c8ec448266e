//! Items of several callers, each with terms of its own, for the same workers.

use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn terms(chunk: ChunkSize, retries: u32, timeout: Duration) -> ItemTerms {
    ItemTerms { chunk, retries, timeout }
}

/// Returns a scheduler that serves on demand, with this many workers that are ready.
fn with_workers(workers: usize) -> Scheduler {
    let config = SchedulerConfig {
        ordered: false,
        start_timeout: Duration::from_secs(1),
        window: 1 << 20,
        ..SchedulerConfig::of_limits(100 * MS, workers)
    };
    let mut scheduler = Scheduler::new(config);
    scheduler.serve_on_demand();
    scheduler.set_workers(workers);
    for id in 0..workers as WorkerId {
        scheduler.input(&[1]);
        scheduler.input_pauses();
        assert!(actions(&mut scheduler).contains(&Action::Spawn(id)));
        scheduler.worker_ready(id, Time::ZERO);
        let given = actions(&mut scheduler);
        assert!(given.iter().any(|action| matches!(action, Action::Send { .. })), "{given:?}");
    }
    for id in 0..workers as WorkerId {
        let Verdict::Keep { chunk, .. } = scheduler.outcome(id, OutcomeEnd::Final, MS, Time::ZERO) else {
            panic!("it was given one");
        };
        scheduler.account_kept(chunk, 0);
    }
    actions(&mut scheduler);
    scheduler
}

fn sent(actions: &[Action]) -> Vec<(WorkerId, u64, u32)> {
    let send = |action: &Action| match *action {
        Action::Send { worker, chunk, count } => Some((worker, chunk, count)),
        _ => None,
    };
    actions.iter().filter_map(send).collect()
}

#[test]
fn each_item_has_the_timeout_of_its_caller() {
    let mut scheduler = with_workers(2);
    scheduler.input_on(&[1], terms(ChunkSize::Auto, 0, 500 * MS));
    scheduler.input_on(&[1], terms(ChunkSize::Auto, 0, 50 * MS));
    let given = sent(&actions(&mut scheduler));
    assert_eq!(given.len(), 2, "items of different terms share no chunk");
    let (patient, hasty) = (given[0].0, given[1].0);
    for id in [patient, hasty] {
        scheduler.observed(id, 2, 2, Time::ZERO, Time::ZERO);
    }
    scheduler.tick(50 * MS);
    let late = actions(&mut scheduler);
    assert!(late.contains(&Action::Kill(hasty)) && !late.contains(&Action::Kill(patient)), "{late:?}");
    assert!(scheduler.overran(hasty) && !scheduler.overran(patient));
    scheduler.tick(499 * MS);
    assert!(!actions(&mut scheduler).contains(&Action::Kill(patient)));
    scheduler.tick(500 * MS);
    assert!(actions(&mut scheduler).contains(&Action::Kill(patient)));
}

#[test]
fn a_chunk_behind_another_gets_the_timeout_of_its_own_caller() {
    let config = SchedulerConfig { start_timeout: Duration::from_secs(1), ..SchedulerConfig::of_limits(MS, 1) };
    let mut scheduler = Scheduler::new(config);
    actions(&mut scheduler);
    scheduler.worker_ready(0, Time::ZERO);
    scheduler.input_on(&[1; 4], terms(ChunkSize::Fixed(4), 0, 80 * MS));
    assert_eq!(sent(&actions(&mut scheduler)), [(0, 0, 4)]);
    // Once an item was measured, a chunk may wait behind the one in work.
    scheduler.observed(0, 1, 1, Time::ZERO, Time::ZERO);
    scheduler.outcome(0, OutcomeEnd::Final, Duration::from_micros(1), Time::ZERO);
    scheduler.input_on(&[1; 2], terms(ChunkSize::Fixed(2), 0, 20 * MS));
    assert_eq!(sent(&actions(&mut scheduler)), [(0, 4, 2)]);
    for n in 2..=4 {
        scheduler.observed(0, n, n, Time::ZERO, Time::ZERO);
        scheduler.outcome(0, OutcomeEnd::Final, Duration::from_micros(1), Time::ZERO);
    }
    scheduler.observed(0, 5, 5, Time::ZERO, Time::ZERO);
    scheduler.tick(20 * MS);
    assert!(actions(&mut scheduler).contains(&Action::Kill(0)), "the second caller's time counts now");
}

#[test]
fn each_item_is_tried_as_often_as_its_caller_says() {
    let mut scheduler = with_workers(1);
    scheduler.input_on(&[1], terms(ChunkSize::Auto, 1, 100 * MS));
    let (id, chunk, _) = sent(&actions(&mut scheduler))[0];
    let late = OutcomeEnd::Failed(FailureKind::Timeout);
    assert_eq!(scheduler.outcome(id, late, MS, Time::ZERO), Verdict::Retry { chunk, index: chunk });
    let (id, chunk, _) = sent(&actions(&mut scheduler))[0];
    assert_eq!(scheduler.outcome(id, late, MS, Time::ZERO), Verdict::Keep { chunk, index: chunk, attempts: 2 });
    scheduler.account_kept(chunk, 0);
    scheduler.input_on(&[1], terms(ChunkSize::Auto, 0, 100 * MS));
    let (id, chunk, _) = sent(&actions(&mut scheduler))[0];
    assert_eq!(scheduler.outcome(id, late, MS, Time::ZERO), Verdict::Keep { chunk, index: chunk, attempts: 1 });
}

#[test]
fn each_chunk_has_the_size_that_its_caller_says() {
    let mut scheduler = with_workers(1);
    scheduler.input_on(&[1; 3], terms(ChunkSize::Fixed(7), 0, MS));
    assert!(sent(&actions(&mut scheduler)).is_empty(), "the rest of the chunk is waited for");
    assert_eq!(scheduler.wanted(), 4);
    scheduler.input_on(&[1; 5], terms(ChunkSize::Fixed(7), 0, MS));
    assert_eq!(sent(&actions(&mut scheduler)), [(0, 1, 7)]);
    scheduler.input_on(&[1; 2], terms(ChunkSize::Fixed(2), 0, MS));
    for _ in 0..7 {
        scheduler.outcome(0, OutcomeEnd::Final, MS, Time::ZERO);
    }
    assert_eq!(sent(&actions(&mut scheduler)), [(0, 8, 1), (0, 9, 2)], "nothing waits for what another caller fills");
}

#[test]
fn what_no_worker_has_begun_is_cancelled_and_what_is_in_work_is_finished() {
    let mut scheduler = with_workers(2);
    scheduler.several_callers(true);
    scheduler.input_on(&[1; 20], terms(ChunkSize::Fixed(4), 0, Duration::from_secs(10)));
    let given = sent(&actions(&mut scheduler));
    let begun: Vec<u64> = given.iter().map(|(_, chunk, _)| *chunk).collect();
    assert_eq!(begun, [2, 6]);
    scheduler.observed(0, 2, 2, Time::ZERO, Time::ZERO);
    scheduler.observed(1, 2, 2, Time::ZERO, Time::ZERO);
    scheduler.cancel_pending(Time::ZERO);
    let cancelled = |actions: &[Action]| -> Vec<u64> {
        let index = |action: &Action| match *action {
            Action::Settle { index, blame: Blame::Cancelled, .. } => Some(index),
            _ => None,
        };
        actions.iter().filter_map(index).collect()
    };
    assert_eq!(cancelled(&actions(&mut scheduler)), Vec::from_iter(10..22));
    scheduler.tick(Duration::from_secs(5));
    assert!(!actions(&mut scheduler).iter().any(|a| matches!(a, Action::Kill(_))), "the items in work go on");
    // The next item of the chunk is not wanted, so its worker ends if it stays in it.
    let now = Duration::from_secs(6);
    scheduler.outcome(0, OutcomeEnd::Final, Duration::from_secs(6), now);
    scheduler.observed(0, 3, 3, now, now);
    scheduler.tick(now + GRACE);
    assert_eq!(actions(&mut scheduler).iter().filter(|a| matches!(a, Action::Kill(0))).count(), 1);
    assert!(!scheduler.overran(0));
    scheduler.worker_lost(0, true, now + GRACE);
    assert_eq!(cancelled(&actions(&mut scheduler)), [3, 4, 5]);
}

proptest! {
    #[test]
    fn whatever_the_terms_each_item_is_given_once_in_chunks_of_one_caller(
        callers in prop::collection::vec((1..40usize, 0..4u32, 1..4u64), 1..12),
    ) {
        let mut scheduler = with_workers(2);
        let first = scheduler.items();
        let mut owners = Vec::new();
        for (caller, (count, chunk, timeout)) in callers.into_iter().enumerate() {
            let chunk = if chunk == 0 { ChunkSize::Auto } else { ChunkSize::Fixed(chunk * 3) };
            // A caller is known by a number of retries of its own.
            let terms = terms(chunk, caller as u32, MS * timeout as u32);
            scheduler.input_on(&vec![1; count], terms);
            owners.extend(std::iter::repeat_n((caller, chunk), count));
        }
        scheduler.input_pauses();
        let mut next = first;
        loop {
            let given = sent(&actions(&mut scheduler));
            if given.is_empty() {
                break;
            }
            for &(worker, chunk, count) in &given {
                prop_assert_eq!(chunk, next);
                next += u64::from(count);
                let items = &owners[(chunk - first) as usize..(next - first) as usize];
                prop_assert!(items.iter().all(|owner| owner == &items[0]));
                if let ChunkSize::Fixed(most) = items[0].1 {
                    prop_assert!(count <= most);
                }
                for _ in 0..count {
                    let verdict = scheduler.outcome(worker, OutcomeEnd::Final, MS, Time::ZERO);
                    let Verdict::Keep { chunk, .. } = verdict else { panic!("{verdict:?}") };
                    scheduler.account_kept(chunk, 0);
                }
            }
        }
        prop_assert_eq!(next - first, owners.len() as u64);
    }
}
