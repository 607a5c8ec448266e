use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn outcome(index: u64, worker: WorkerId, elapsed: u64) -> ItemOutcome<'static> {
    let elapsed = Duration::from_nanos(elapsed);
    ItemOutcome { index, worker: Some(worker), host: None, attempts: 1, elapsed, failure: None }
}

fn started(recorder: &mut RunRecorder, worker: WorkerId, replaces: Option<u32>) {
    let stream = std::os::unix::net::UnixStream::pair().expect("a pair").0;
    let handle = std::os::fd::AsFd::as_fd(&stream);
    recorder.worker_news(worker, WorkerNews::Started { pid: worker, handle, replaces });
}

#[derive(Clone, Debug)]
enum Step {
    Start(WorkerId),
    Send(WorkerId, u64, u64),
    Answer(u64, WorkerId, u64),
    Late(WorkerId),
    Tick,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let worker = 0..200_u32;
    let step = prop_oneof![
        worker.clone().prop_map(Step::Start),
        (worker.clone(), 0..100_u64, 1..20_u64).prop_map(|(worker, first, count)| Step::Send(worker, first, count)),
        (0..100_u64, worker.clone(), any::<u64>())
            .prop_map(|(index, worker, elapsed)| Step::Answer(index, worker, elapsed)),
        worker.prop_map(Step::Late),
        Just(Step::Tick),
    ];
    proptest::collection::vec(step, 0..400)
}

proptest! {
    /// Workers say how long items took, so anything may be said.
    #[test]
    fn every_outcome_is_counted_once_whatever_workers_do(steps in steps()) {
        let mut recorder = RunRecorder::new(Instant::now(), false);
        let mut answered = 0;
        for step in steps {
            match step {
                Step::Start(worker) => {
                    if !recorder.workers.contains_key(&worker) {
                        started(&mut recorder, worker, None);
                    }
                }
                Step::Send(worker, first, count) => recorder.sent(worker, first, count),
                Step::Answer(index, worker, elapsed) => {
                    answered += 1;
                    recorder.outcome(outcome(index, worker, elapsed));
                }
                Step::Late(worker) => recorder.worker_news(worker, WorkerNews::Late { pid: worker, item: None }),
                Step::Tick => recorder.tick(),
            }
        }
        let end = recorder.end();
        prop_assert_eq!(recorder.done, answered);
        prop_assert_eq!(recorder.times.count(), answered);
        prop_assert!(recorder.rows().len() <= MOST_ROWS + 1);
        prop_assert!(recorder.timeline.rows().len() <= recorder.rows().len());
        prop_assert!(recorder.chunks.all().iter().all(|span| span.from <= span.to && span.to <= end));
        prop_assert!(recorder.items.all().iter().all(|span| span.from <= span.to && span.to <= end));
    }
}

#[test]
fn the_longest_items_took_what_their_workers_say_as_all_times_do() {
    let mut recorder = RunRecorder::new(Instant::now(), false);
    started(&mut recorder, 0, None);
    // More than has passed since the run began, as where the host heard of the item late.
    for (index, elapsed) in [(0, 5), (1, 3_600_000_000_000), (2, 7)] {
        recorder.outcome(outcome(index, 0, elapsed));
    }
    let end = recorder.end();
    let longest = recorder.items.longest(3);
    let took: Vec<(u64, u64)> = longest.iter().map(|span| (span.what.index, span.took)).collect();
    assert_eq!(took, [(1, 3_600_000_000_000), (2, 7), (0, 5)]);
    assert_eq!(recorder.times.most(), 3_600_000_000_000);
    assert!(longest.iter().all(|span| span.to <= end), "it stands where the host heard of it");
}

#[test]
fn a_chunk_lasts_from_when_the_worker_had_it_to_its_last_item() {
    let mut recorder = RunRecorder::new(Instant::now(), false);
    started(&mut recorder, 7, None);
    recorder.worker_ready(7);
    recorder.sent(7, 0, 2);
    recorder.sent(7, 2, 2);
    for index in 0..3 {
        recorder.outcome(outcome(index, 7, 10));
        recorder.tick();
    }
    let chunks = recorder.chunks.all();
    assert_eq!(chunks.len(), 1, "the second is not complete");
    assert_eq!(chunks[0].what, RanChunk { first: 0, count: 2, worker: 7 });
    recorder.outcome(outcome(3, 7, 10));
    recorder.end();
    let chunks = recorder.chunks.all();
    assert!(chunks[1].from >= chunks[0].to, "a worker has one at a time");
}

#[test]
fn a_worker_takes_the_row_of_one_that_has_ended() {
    let mut recorder = RunRecorder::new(Instant::now(), false);
    started(&mut recorder, 0, None);
    started(&mut recorder, 1, None);
    recorder.worker_news(0, WorkerNews::Late { pid: 0, item: Some(3) });
    started(&mut recorder, 2, Some(0));
    recorder.end();
    assert_eq!(recorder.rows().iter().map(|row| row.workers).collect::<Vec<_>>(), [2, 1]);
    let events: Vec<_> = recorder.events.all().map(|event| (event.what, event.row)).collect();
    assert_eq!(events, [(EventKind::Late, 0), (EventKind::Restarted, 0)]);
}

#[test]
fn failures_are_told_by_message_with_the_first_item_of_each() {
    let mut recorder = RunRecorder::new(Instant::now(), false);
    for index in 0..100_u64 {
        let failure = Failure::new(FailureKind::Trap, format!("message {}", index % 10));
        recorder.outcome(ItemOutcome { failure: Some(&failure), ..outcome(index, 0, 1) });
    }
    let traps = &recorder.failures[&FailureKind::Trap];
    assert_eq!((traps.count, traps.examples.len()), (100, MESSAGES));
    assert!(traps.examples.iter().enumerate().all(|(nth, example)| example.index == nth as u64 && example.count == 10));
}

#[test]
fn an_item_that_ends_its_worker_begins_after_the_one_before_it() {
    let mut recorder = RunRecorder::new(Instant::now(), false);
    started(&mut recorder, 0, None);
    recorder.outcome(outcome(0, 0, 10));
    recorder.tick();
    recorder.worker_news(0, WorkerNews::Late { pid: 0, item: Some(1) });
    let failure = Failure::new(FailureKind::Timeout, "it was late");
    recorder.outcome(ItemOutcome { failure: Some(&failure), ..outcome(1, 0, u64::MAX) });
    let items = recorder.items.all();
    assert!(items[0].to <= items[1].from && items[1].from <= items[1].to, "{items:?}");
}
