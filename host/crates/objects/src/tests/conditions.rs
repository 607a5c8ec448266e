//! Conditions.

use super::*;
use Operation::{Acquire, IsLocked, Notify, Release, WaitCondition};

fn condition() -> Bench {
    Bench::new(ObjectForm::Condition)
}

const NOTIFY_ALL: Operation = Notify { most: u32::MAX };

/// Lets these participants wait, one after the other.
fn let_wait(bench: &mut Bench, participants: impl IntoIterator<Item = u32>) {
    for participant in participants {
        bench.ask(participant, Acquire).unwrap();
        bench.wait(participant, WaitCondition);
    }
}

/// Row 5.14
#[test]
fn who_does_not_hold_the_lock_can_neither_wait_nor_notify() {
    let mut bench = condition();
    assert_eq!(bench.ask(0, WaitCondition), Err(ObjectError::NotHeld));
    assert_eq!(bench.ask(0, NOTIFY_ALL), Err(ObjectError::NotHeld));
    bench.ask(1, Acquire).unwrap();
    assert_eq!(bench.ask(0, WaitCondition), Err(ObjectError::NotHolder));
    assert_eq!(bench.ask(0, NOTIFY_ALL), Err(ObjectError::NotHolder));
}

/// Row 5.15
#[test]
fn a_wait_releases_all_levels_of_the_lock_and_acquires_them_again() {
    let mut bench = condition();
    bench.ask(0, Acquire).unwrap();
    bench.ask(0, Acquire).unwrap();
    bench.wait(0, WaitCondition);
    assert_eq!(bench.ask(1, Acquire), ACQUIRED);
    assert_eq!(bench.ask(1, NOTIFY_ALL), DONE, "the lock is still held");
    assert_eq!(bench.all_of(1, Release, None), [(0, YES), (1, DONE)]);
    assert_eq!(bench.look(1, Acquire), TIMED_OUT);
    bench.ask(0, Release).unwrap();
    assert_eq!(bench.look(1, Acquire), TIMED_OUT);
    bench.ask(0, Release).unwrap();
    assert_eq!(bench.look(1, Acquire), ACQUIRED);
}

/// Row 5.15
#[test]
fn a_wait_that_timed_out_acquires_the_lock_before_it_ends() {
    let mut bench = condition();
    bench.ask(0, Acquire).unwrap();
    bench.wait_for(0, WaitCondition, 100);
    bench.ask(1, Acquire).unwrap();
    assert_eq!(bench.pass(100), []);
    assert_eq!(bench.machine.next_deadline(), None);
    assert_eq!(bench.all_of(1, Release, None), [(0, NO), (1, DONE)]);
    assert_eq!(bench.ask(0, Release), DONE);
}

/// Row 5.15
#[test]
fn a_look_at_a_condition_is_false_and_keeps_the_lock() {
    let mut bench = condition();
    bench.ask(0, Acquire).unwrap();
    assert_eq!(bench.look(0, WaitCondition), NO);
    assert_eq!(bench.look(1, Acquire), TIMED_OUT);
    assert_eq!(bench.ask(0, Release), DONE);
}

/// Row 5.15
#[test]
fn a_look_at_a_condition_lets_those_go_first_who_wait_for_the_lock() {
    let mut bench = condition();
    bench.ask(0, Acquire).unwrap();
    bench.wait(1, Acquire);
    assert_eq!(bench.all_of(0, WaitCondition, Some(Duration::ZERO)), [(1, ACQUIRED)]);
    assert_eq!(bench.all_of(1, Release, None), [(0, NO), (1, DONE)]);
}

/// Row 5.16
#[test]
fn notify_wakes_as_many_as_it_says_in_their_order() {
    let mut bench = condition();
    let_wait(&mut bench, [3, 1, 2, 0]);
    bench.ask(9, Acquire).unwrap();
    bench.ask(9, Notify { most: 2 }).unwrap();
    assert_eq!(bench.all_of(9, Release, None), [(3, YES), (9, DONE)]);
    assert_eq!(bench.all_of(3, Release, None), [(1, YES), (3, DONE)]);
    assert_eq!(bench.all_of(1, Release, None), [(1, DONE)], "only two were woken");
    bench.ask(9, Acquire).unwrap();
    bench.ask(9, NOTIFY_ALL).unwrap();
    assert_eq!(bench.all_of(9, Release, None), [(2, YES), (9, DONE)]);
    assert_eq!(bench.all_of(2, Release, None), [(0, YES), (2, DONE)]);
}

/// Row 5.16
#[test]
fn a_notification_without_a_waiter_is_not_kept() {
    let mut bench = condition();
    bench.ask(9, Acquire).unwrap();
    assert_eq!(bench.ask(9, NOTIFY_ALL), DONE);
    bench.ask(9, Release).unwrap();
    bench.ask(0, Acquire).unwrap();
    bench.wait(0, WaitCondition);
}

/// Row 5.16
#[test]
fn a_notified_waiter_no_longer_times_out() {
    let mut bench = condition();
    bench.ask(0, Acquire).unwrap();
    bench.wait_for(0, WaitCondition, 100);
    bench.ask(1, Acquire).unwrap();
    bench.ask(1, Notify { most: 1 }).unwrap();
    assert_eq!(bench.pass(200), []);
    assert_eq!(bench.all_of(1, Release, None), [(0, YES), (1, DONE)]);
}

/// Row 5.18
#[test]
fn a_dead_waiter_takes_no_notification_with_it() {
    let mut bench = condition();
    let_wait(&mut bench, [0, 1, 2]);
    bench.kill(0);
    bench.ask(9, Acquire).unwrap();
    bench.ask(9, Notify { most: 1 }).unwrap();
    // Notified, and dead before it had the lock.
    assert_eq!(bench.kill(1), []);
    assert_eq!(bench.all_of(9, Release, None), [(2, YES), (9, DONE)]);
}

/// Row 5.18
#[test]
fn the_lock_of_a_condition_whose_holder_died_is_acquired_as_abandoned() {
    let mut bench = condition();
    let_wait(&mut bench, [0]);
    bench.ask(1, Acquire).unwrap();
    bench.ask(1, NOTIFY_ALL).unwrap();
    assert_eq!(bench.kill(1), [(0, YES)]);
    assert_eq!(bench.ask(0, Release), DONE);
    assert_eq!(bench.ask(2, Acquire), abandoned("p1"));
    assert_eq!(bench.ask(2, IsLocked), YES);
}
