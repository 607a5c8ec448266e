//! Semaphores, bounded and not.

use super::*;
use Operation::{Acquire, Release, Slots};

fn semaphore(slots: u32, bounded: bool) -> Bench {
    Bench::new(ObjectForm::Semaphore { slots, bounded })
}

/// Row 5.7
#[test]
fn a_semaphore_is_acquired_as_often_as_it_has_slots() {
    let mut bench = semaphore(2, false);
    assert_eq!(bench.ask(0, Acquire), ACQUIRED);
    assert_eq!(bench.ask(1, Acquire), ACQUIRED);
    assert_eq!(bench.look(2, Acquire), TIMED_OUT);
    bench.wait(2, Acquire);
    assert_eq!(bench.all_of(0, Release, None), [(2, ACQUIRED), (0, DONE)]);
}

/// Row 5.7
#[test]
fn a_semaphore_that_is_not_bounded_gets_more_slots_by_being_released() {
    let mut bench = semaphore(0, false);
    assert_eq!(bench.ask(0, Release), DONE);
    assert_eq!(bench.ask(0, Release), DONE);
    assert_eq!(bench.ask(0, Slots), number(2));
    assert_eq!(bench.ask(1, Acquire), ACQUIRED);
}

/// Row 5.8
#[test]
fn a_bounded_semaphore_is_not_released_beyond_its_slots() {
    let mut bench = semaphore(1, true);
    assert_eq!(bench.ask(0, Release), Err(ObjectError::TooMany));
    bench.ask(0, Acquire).unwrap();
    assert_eq!(bench.ask(0, Release), DONE);
    assert_eq!(bench.ask(0, Release), Err(ObjectError::TooMany));
    assert_eq!(bench.ask(0, Slots), number(1));
}

/// Row 5.9
#[test]
fn the_slots_of_a_dead_holder_are_given_back_as_abandoned() {
    let mut bench = semaphore(2, true);
    bench.ask(0, Acquire).unwrap();
    bench.ask(0, Acquire).unwrap();
    bench.wait(1, Acquire);
    assert_eq!(bench.kill(0), [(1, abandoned("p0"))]);
    assert_eq!(bench.ask(1, Slots), number(1));
    assert_eq!(bench.ask(2, Acquire), ACQUIRED, "it is told once");
    bench.ask(1, Release).unwrap();
    bench.ask(2, Release).unwrap();
    assert_eq!(bench.ask(1, Slots), number(2));
}

/// Rows 0.11 and 5.9
#[test]
fn the_slots_of_an_item_are_given_back_at_its_end() {
    let mut bench = semaphore(1, false);
    bench.ask(0, Acquire).unwrap();
    bench.wait(1, Acquire);
    assert_eq!(bench.end(0), [(1, abandoned("p0"))]);
}

/// Rows 5.7 and 5.9
#[test]
fn a_slot_that_another_gave_back_is_not_given_back_again() {
    for bounded in [true, false] {
        let mut bench = semaphore(1, bounded);
        bench.ask(0, Acquire).unwrap();
        assert_eq!(bench.ask(1, Release), DONE);
        bench.kill(0);
        assert_eq!(bench.ask(1, Slots), number(1));
        assert_eq!(bench.ask(1, Acquire), ACQUIRED);
    }
}

/// Rows 0.11, 5.7 and 5.9
#[test]
fn a_slot_that_a_release_added_is_a_signal_that_one_item_receives() {
    let mut bench = semaphore(0, false);
    bench.ask(0, Release).unwrap();
    bench.end(0);
    assert_eq!(bench.ask(1, Acquire), ACQUIRED);
    bench.end(1);
    assert_eq!(bench.look(2, Acquire), TIMED_OUT);
    assert_eq!(bench.ask(0, Slots), number(0));
}

/// Rows 0.11, 5.7 and 5.9
#[test]
fn a_signal_that_a_failed_item_received_is_there_for_another() {
    let mut bench = semaphore(0, false);
    bench.ask(0, Release).unwrap();
    bench.ask(1, Acquire).unwrap();
    bench.wait(2, Acquire);
    assert_eq!(bench.kill(1), [(2, abandoned("p1"))]);
}

/// Rows 0.11 and 5.9
#[test]
fn a_release_too_many_adds_no_slot_for_good_to_those_that_return_at_the_end_of_items() {
    let mut bench = semaphore(1, false);
    bench.ask(0, Release).unwrap();
    bench.ask(1, Acquire).unwrap();
    bench.ask(2, Acquire).unwrap();
    bench.end(1);
    assert_eq!(bench.ask(0, Slots), number(0));
    bench.end(2);
    assert_eq!(bench.ask(0, Slots), number(1));
}

/// Row 5.10
#[test]
fn the_slots_of_a_semaphore_are_counted() {
    let mut bench = semaphore(3, false);
    assert_eq!(bench.ask(0, Slots), number(3));
    bench.ask(0, Acquire).unwrap();
    assert_eq!(bench.ask(1, Slots), number(2));
}

/// Row 0.9
#[test]
fn who_waits_for_a_slot_is_served_first_come_first_served() {
    let mut bench = semaphore(0, false);
    for participant in [4, 2, 7] {
        bench.wait(participant, Acquire);
    }
    bench.kill(2);
    assert_eq!(bench.all_of(0, Release, None), [(4, ACQUIRED), (0, DONE)]);
}
