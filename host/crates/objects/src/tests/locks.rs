//! Locks and rlocks.

use super::*;
use Operation::{Acquire, IsLocked, Release};

fn lock() -> Bench {
    Bench::new(ObjectForm::Lock)
}

fn rlock() -> Bench {
    Bench::new(ObjectForm::Rlock)
}

/// Row 5.1
#[test]
fn a_lock_is_acquired_and_released() {
    let mut bench = lock();
    assert_eq!(bench.ask(0, Acquire), ACQUIRED);
    assert_eq!(bench.ask(0, Release), DONE);
    assert_eq!(bench.ask(1, Acquire), ACQUIRED);
}

/// Row 5.1
#[test]
fn a_lock_that_is_held_is_not_acquired_by_looking() {
    let mut bench = lock();
    bench.ask(0, Acquire).unwrap();
    assert_eq!(bench.look(1, Acquire), TIMED_OUT);
    assert_eq!(bench.look(0, Acquire), TIMED_OUT);
}

/// Row 5.1
#[test]
fn a_free_lock_cannot_be_released() {
    let mut bench = lock();
    assert_eq!(bench.ask(0, Release), Err(ObjectError::NotHeld));
    bench.ask(0, Acquire).unwrap();
    bench.ask(0, Release).unwrap();
    assert_eq!(bench.ask(0, Release), Err(ObjectError::NotHeld));
}

/// Row 5.2
#[test]
fn only_its_holder_releases_a_lock() {
    for mut bench in [lock(), rlock()] {
        bench.ask(0, Acquire).unwrap();
        assert_eq!(bench.ask(1, Release), Err(ObjectError::NotHolder));
        assert_eq!(bench.look(1, Acquire), TIMED_OUT);
        assert_eq!(bench.ask(0, Release), DONE);
    }
}

/// Row 5.3
#[test]
fn everybody_sees_whether_a_lock_is_held() {
    let mut bench = lock();
    assert_eq!(bench.ask(1, IsLocked), NO);
    bench.ask(0, Acquire).unwrap();
    assert_eq!(bench.ask(1, IsLocked), YES);
    bench.ask(0, Release).unwrap();
    assert_eq!(bench.ask(1, IsLocked), NO);
}

/// Row 5.4
#[test]
fn an_rlock_is_released_as_often_as_it_was_acquired() {
    let mut bench = rlock();
    for _ in 0..3 {
        assert_eq!(bench.ask(0, Acquire), ACQUIRED);
    }
    bench.wait(1, Acquire);
    assert_eq!(bench.ask(0, Release), DONE);
    assert_eq!(bench.ask(0, Release), DONE);
    assert_eq!(bench.all_of(0, Release, None), [(1, ACQUIRED), (0, DONE)]);
    assert_eq!(bench.ask(0, Release), Err(ObjectError::NotHolder));
    assert_eq!(bench.ask(1, Release), DONE);
    assert_eq!(bench.ask(1, Release), Err(ObjectError::NotHeld));
}

/// Row 5.5
#[test]
fn a_lock_whose_holder_died_is_acquired_as_abandoned() {
    for mut bench in [lock(), rlock()] {
        bench.ask(0, Acquire).unwrap();
        bench.kill(0);
        assert_eq!(bench.ask(1, IsLocked), NO);
        assert_eq!(bench.ask(1, Acquire), abandoned("p0"));
        bench.ask(1, Release).unwrap();
        assert_eq!(bench.ask(2, Acquire), ACQUIRED, "it is told once");
    }
}

/// Row 5.5
#[test]
fn the_next_in_the_line_gets_the_lock_of_a_dead_holder() {
    let mut bench = lock();
    bench.ask(0, Acquire).unwrap();
    bench.wait(1, Acquire);
    bench.wait(2, Acquire);
    assert_eq!(bench.kill(0), [(1, abandoned("p0"))]);
    assert_eq!(bench.all_of(1, Release, None), [(2, ACQUIRED), (1, DONE)]);
}

/// Rows 0.11 and 5.6
#[test]
fn who_says_which_item_it_runs_is_told_of_with_it() {
    for dies in [false, true] {
        let mut bench = lock();
        bench.machine.item_began(0, 17);
        bench.ask(0, Acquire).unwrap();
        bench.wait(1, Acquire);
        let told = if dies { bench.kill(0) } else { bench.end(0) };
        assert_eq!(told, [(1, abandoned("p0, item 17"))]);
        bench.ask(1, Release).unwrap();
        if !dies {
            // The next item is another one.
            bench.ask(0, Acquire).unwrap();
            bench.end(0);
            assert_eq!(bench.ask(1, Acquire), abandoned("p0"));
        }
    }
}

#[test]
fn an_item_that_ends_with_a_lock_held_leaves_it_abandoned() {
    for ending in [ItemEnding::Returned, ItemEnding::Failed] {
        let mut bench = rlock();
        bench.ask(0, Acquire).unwrap();
        bench.ask(0, Acquire).unwrap();
        bench.wait(1, Acquire);
        assert_eq!(bench.end_as(0, ending), [(1, abandoned("p0"))]);
        // Its next item is a new holder.
        assert_eq!(bench.ask(0, Release), Err(ObjectError::NotHolder));
        bench.wait(0, Acquire);
    }
}

/// Row 0.11
#[test]
fn an_item_that_released_its_lock_leaves_nothing_behind() {
    let mut bench = lock();
    bench.ask(0, Acquire).unwrap();
    bench.ask(0, Release).unwrap();
    bench.ask(1, Acquire).unwrap();
    assert_eq!(bench.kill(0), []);
    assert_eq!(bench.ask(2, IsLocked), YES);
    bench.ask(1, Release).unwrap();
    assert_eq!(bench.ask(2, Acquire), ACQUIRED);
}

/// Row 0.9
#[test]
fn who_waits_for_a_lock_is_served_first_come_first_served() {
    let mut bench = lock();
    bench.ask(0, Acquire).unwrap();
    for participant in [5, 3, 8, 1] {
        bench.wait(participant, Acquire);
    }
    let mut holder = 0;
    for next in [5, 3, 8, 1] {
        assert_eq!(bench.all_of(holder, Release, None), [(next, ACQUIRED), (holder, DONE)]);
        holder = next;
    }
}

/// Row 0.9
#[test]
fn a_dead_waiter_is_skipped() {
    let mut bench = lock();
    bench.ask(0, Acquire).unwrap();
    for participant in [1, 2, 3] {
        bench.wait(participant, Acquire);
    }
    assert_eq!(bench.kill(1), []);
    assert_eq!(bench.end(2), [(2, Err(ObjectError::Closed))]);
    assert_eq!(bench.all_of(0, Release, None), [(3, ACQUIRED), (0, DONE)]);
}

/// Rows 0.10 and 0.2
#[test]
fn a_waiter_that_timed_out_leaves_the_line() {
    let mut bench = lock();
    bench.ask(0, Acquire).unwrap();
    bench.wait_for(1, Acquire, 200);
    bench.wait(2, Acquire);
    assert_eq!(bench.pass(199), []);
    assert_eq!(bench.pass(1), [(1, TIMED_OUT)]);
    assert_eq!(bench.all_of(0, Release, None), [(2, ACQUIRED), (0, DONE)]);
}
