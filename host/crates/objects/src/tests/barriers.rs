//! Barriers.

use super::*;
use Operation::{Abort, IsBroken, Parties, Reset, WaitBarrier, Waiting};

fn barrier(parties: u32) -> Bench {
    Bench::new(ObjectForm::Barrier { parties })
}

fn broken(why: &str) -> Answer {
    Err(ObjectError::Broken(why.to_owned()))
}

/// Row 5.19
#[test]
fn the_parties_of_a_barrier_pass_together_a_thousand_times() {
    let mut bench = barrier(5);
    assert_eq!(bench.ask(0, Parties), number(5));
    for round in 0..1000 {
        for party in 0..4 {
            bench.wait((party + round) % 5, WaitBarrier);
            assert_eq!(bench.ask(9, Waiting), number(u64::from(party) + 1));
        }
        let last = (4 + round) % 5;
        let mut passed = bench.all_of(last, WaitBarrier, None);
        assert_eq!(passed.len(), 5);
        passed.sort_by_key(|(who, _)| *who);
        let mut numbers: Vec<_> = passed.into_iter().map(|(_, answer)| answer).collect();
        numbers.sort_by_key(|answer| format!("{answer:?}"));
        assert_eq!(numbers, (0..5).map(number).collect::<Vec<_>>());
        assert_eq!(bench.ask(9, Waiting), number(0));
    }
}

/// Row 5.21
#[test]
fn an_aborted_barrier_is_broken_for_all_until_it_is_reset() {
    let mut bench = barrier(3);
    bench.wait(0, WaitBarrier);
    assert_eq!(bench.ask(1, IsBroken), NO);
    assert_eq!(bench.all_of(1, Abort, None), [(0, broken("aborted by p1")), (1, DONE)]);
    assert_eq!(bench.ask(2, IsBroken), YES);
    assert_eq!(bench.ask(2, WaitBarrier), broken("aborted by p1"));
}

/// Row 5.22
#[test]
fn a_reset_breaks_the_waits_and_makes_the_barrier_whole() {
    let mut bench = barrier(2);
    bench.wait(0, WaitBarrier);
    assert_eq!(bench.all_of(1, Reset, None), [(0, broken("reset by p1")), (1, DONE)]);
    assert_eq!(bench.ask(1, IsBroken), NO);
    bench.ask(1, Abort).unwrap();
    bench.ask(1, Reset).unwrap();
    bench.wait(0, WaitBarrier);
    assert_eq!(bench.all_of(1, WaitBarrier, None), [(0, number(0)), (1, number(1))]);
}

/// Row 5.23
#[test]
fn the_timeout_of_one_breaks_the_barrier_for_all() {
    let mut bench = barrier(3);
    bench.wait(0, WaitBarrier);
    bench.wait_for(1, WaitBarrier, 100);
    let why = "the wait of p1 timed out";
    assert_eq!(bench.pass(100), [(0, broken(why)), (1, Err(ObjectError::Timeout))]);
    assert_eq!(bench.ask(2, WaitBarrier), broken(why));
}

/// Row 5.23
#[test]
fn a_look_breaks_a_barrier_unless_it_is_the_last_party() {
    let mut bench = barrier(2);
    bench.wait(0, WaitBarrier);
    assert_eq!(bench.all_of(1, WaitBarrier, Some(Duration::ZERO)), [(0, number(0)), (1, number(1))]);
    assert_eq!(bench.look(0, WaitBarrier), Err(ObjectError::Timeout));
    assert_eq!(bench.ask(1, IsBroken), YES);
}

/// Row 5.24
#[test]
fn a_barrier_of_one_never_waits() {
    let mut bench = barrier(1);
    assert_eq!(bench.ask(0, WaitBarrier), number(0));
    assert_eq!(bench.ask(0, WaitBarrier), number(0));
}

/// Row 5.25
#[test]
fn the_death_of_a_party_that_waits_breaks_the_barrier_at_once() {
    let mut bench = barrier(3);
    bench.wait(0, WaitBarrier);
    bench.wait(1, WaitBarrier);
    let why = "p1 ended while it waited";
    assert_eq!(bench.kill(1), [(0, broken(why))]);
    assert_eq!(bench.ask(2, WaitBarrier), broken(why));
}

/// Row 5.25
#[test]
fn the_death_of_a_party_between_two_rounds_breaks_the_barrier() {
    let mut bench = barrier(2);
    bench.wait(0, WaitBarrier);
    bench.all_of(1, WaitBarrier, None);
    bench.wait(0, WaitBarrier);
    assert_eq!(bench.kill(1), [(0, broken("p1 ended without reaching it again"))]);
}

/// Row 5.25
#[test]
fn an_item_that_is_done_with_a_barrier_breaks_nothing_by_its_end() {
    let mut bench = barrier(2);
    bench.wait(0, WaitBarrier);
    bench.all_of(1, WaitBarrier, None);
    bench.wait(2, WaitBarrier);
    assert_eq!(bench.end(0), []);
    assert_eq!(bench.end(1), []);
    assert_eq!(bench.kill(1), []);
    assert_eq!(bench.all_of(3, WaitBarrier, None), [(2, number(0)), (3, number(1))]);
}

/// Row 5.26
#[test]
fn more_parties_than_can_run_at_once_are_refused_at_the_first_wait() {
    let mut bench = barrier(ALL + 1);
    let Err(ObjectError::Invalid(why)) = bench.ask(0, WaitBarrier) else { panic!("it waits") };
    assert!(why.contains("11 parties") && why.contains("at most 10"), "{why}");
    assert_eq!(bench.ask(0, Waiting), number(0));
    bench.machine.set_at_once(ALL + 1);
    bench.wait(0, WaitBarrier);
}
