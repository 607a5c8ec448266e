//! Time: how long a wait lasts, and what it answers.

use super::*;
use Operation::{Acquire, WaitEvent};

/// Rows 0.1 and 0.3
#[test]
fn a_timeout_of_zero_looks_once() {
    let mut bench = Bench::new(ObjectForm::Queue { capacity: Some(1) });
    assert_eq!(bench.look(0, GET), Err(ObjectError::Empty));
    bench.ask(0, put("a")).unwrap();
    assert_eq!(bench.look(0, put("b")), Err(ObjectError::Full));
    assert_eq!(bench.look(0, Operation::JoinQueue), NO);
    assert_eq!(bench.machine.waiting(), 0);
    assert_eq!(bench.machine.next_deadline(), None);
}

/// Row 0.1
#[test]
fn without_a_timeout_a_wait_has_no_deadline() {
    let mut bench = Bench::new(ObjectForm::Event);
    bench.wait(0, WaitEvent);
    assert_eq!(bench.machine.next_deadline(), None);
    assert_eq!(bench.pass(1 << 40), []);
}

/// Row 0.1
#[test]
fn a_timeout_beyond_all_time_is_none() {
    let mut bench = Bench::new(ObjectForm::Event);
    assert_eq!(bench.all_of(0, WaitEvent, Some(Duration::MAX)), []);
    assert_eq!(bench.machine.next_deadline(), None);
}

/// Row 0.2
#[test]
fn a_wait_ends_at_its_deadline_and_not_before() {
    let mut bench = Bench::new(ObjectForm::Event);
    let start = bench.now;
    bench.wait_for(0, WaitEvent, 200);
    bench.wait_for(1, WaitEvent, 100);
    assert_eq!(bench.machine.next_deadline(), Some(start + Duration::from_millis(100)));
    bench.now = start + Duration::from_nanos(99_999_999);
    assert_eq!(bench.tick(), []);
    bench.now = start + Duration::from_millis(100);
    assert_eq!(bench.tick(), [(1, NO)]);
    assert_eq!(bench.machine.next_deadline(), Some(start + Duration::from_millis(200)));
}

/// Row 0.2
#[test]
fn waits_end_in_the_order_of_their_deadlines() {
    let mut bench = Bench::new(ObjectForm::Event);
    bench.wait_for(0, WaitEvent, 300);
    bench.wait_for(1, WaitEvent, 100);
    bench.wait_for(2, WaitEvent, 200);
    assert_eq!(bench.pass(1000), [(1, NO), (2, NO), (0, NO)]);
}

/// Row 0.2
#[test]
fn what_comes_after_a_deadline_finds_the_wait_ended() {
    let mut bench = Bench::new(ObjectForm::Event);
    bench.wait_for(0, WaitEvent, 100);
    bench.now += Duration::from_millis(100);
    assert_eq!(bench.all_of(1, Operation::Set, None), [(0, NO), (1, DONE)]);
}

/// Row 0.10
#[test]
fn an_item_that_ends_while_it_waits_leaves_the_line() {
    let mut bench = Bench::new(ObjectForm::Lock);
    bench.ask(0, Acquire).unwrap();
    bench.wait_for(1, Acquire, 100);
    assert_eq!(bench.end(1), [(1, Err(ObjectError::Closed))]);
    assert_eq!(bench.machine.waiting(), 0);
    assert_eq!(bench.machine.next_deadline(), None);
    assert_eq!(bench.all_of(0, Operation::Release, None), [(0, DONE)]);
    assert_eq!(bench.ask(2, Acquire), ACQUIRED);
}

/// Row 0.10
#[test]
fn nothing_is_given_to_a_participant_that_is_being_killed() {
    let mut bench = Bench::new(ObjectForm::Queue { capacity: Some(1) });
    bench.wait(0, GET);
    assert_eq!(bench.stop_waiting(0), []);
    assert_eq!(bench.machine.waiting(), 0);
    assert_eq!(bench.ask(1, put("a")), DONE);
    // Its put is not made either.
    bench.wait(0, put("b"));
    bench.stop_waiting(0);
    assert_eq!(bench.get(2).as_deref(), Some("a"));
    assert_eq!(bench.get(2), None);
}

/// Rows 0.8 and 5.25
#[test]
fn a_participant_that_is_being_killed_holds_what_it_has_until_it_has_ended() {
    let mut bench = Bench::new(ObjectForm::Lock);
    bench.ask(0, Acquire).unwrap();
    bench.wait(1, Acquire);
    bench.wait(2, Acquire);
    assert_eq!(bench.stop_waiting(0), []);
    assert_eq!(bench.stop_waiting(1), []);
    assert_eq!(bench.end(0), [(2, Ok(Reply::Acquired(Acquisition::Abandoned("p0".to_owned()))))]);
    let mut bench = Bench::new(ObjectForm::Barrier { parties: 3 });
    bench.wait(0, Operation::WaitBarrier);
    bench.wait(1, Operation::WaitBarrier);
    let told = bench.stop_waiting(0);
    assert!(matches!(&told[..], [(1, Err(ObjectError::Broken(_)))]), "{told:?}");
}
