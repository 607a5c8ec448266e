//! Events.

use super::*;
use Operation::{Clear, IsSet, Set, WaitEvent};

fn event() -> Bench {
    Bench::new(ObjectForm::Event)
}

/// Row 5.11
#[test]
fn an_event_is_set_and_cleared() {
    let mut bench = event();
    assert_eq!(bench.ask(0, IsSet), NO);
    assert_eq!(bench.ask(0, Set), DONE);
    assert_eq!(bench.ask(1, IsSet), YES);
    assert_eq!(bench.ask(1, WaitEvent), YES);
    assert_eq!(bench.ask(1, Clear), DONE);
    assert_eq!(bench.look(1, WaitEvent), NO);
}

/// Row 5.11
#[test]
fn a_wait_for_an_event_ends_when_it_is_set_or_at_its_timeout() {
    let mut bench = event();
    bench.wait_for(0, WaitEvent, 100);
    bench.wait_for(1, WaitEvent, 300);
    assert_eq!(bench.pass(100), [(0, NO)]);
    assert_eq!(bench.all_of(2, Set, None), [(1, YES), (2, DONE)]);
    assert_eq!(bench.pass(1000), []);
}

/// Row 5.12
#[test]
fn an_event_that_is_cleared_at_once_wakes_all_who_waited() {
    let mut bench = event();
    for participant in 0..4 {
        bench.wait(participant, WaitEvent);
    }
    let mut woken = bench.all_of(5, Set, None);
    woken.extend(bench.all_of(5, Clear, None));
    assert_eq!(woken, [(0, YES), (1, YES), (2, YES), (3, YES), (5, DONE), (5, DONE)]);
    bench.wait(0, WaitEvent);
}

/// Row 5.13
#[test]
fn a_dead_waiter_does_not_keep_an_event_from_being_set() {
    let mut bench = event();
    bench.wait(0, WaitEvent);
    bench.wait(1, WaitEvent);
    bench.kill(0);
    assert_eq!(bench.all_of(2, Set, None), [(1, YES), (2, DONE)]);
}
