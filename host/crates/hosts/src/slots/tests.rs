//! The promises of the slots, each with one schedule. `simulation/` plays random ones.

use super::*;
use crate::digest::Digest;
use crate::notes::RefusalCause;

const CHUNK: ChunkName = ChunkName { first: 0, count: 4, digest: Digest([1; 16]) };

const TAKE: Verdict = Verdict::Take { slot: 0, noted: false };
const NOTE: Verdict = Verdict::Take { slot: 0, noted: true };

fn s(seconds: u64) -> Time {
    Time::from_secs(seconds)
}

fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

/// Returns the orders but those that tell the user what becomes of hosts.
fn orders(slots: &mut Slots) -> Vec<Order> {
    std::iter::from_fn(|| slots.next_order()).filter(|order| !matches!(order, Order::Host { .. })).collect()
}

/// Returns the slots of a run whose chunks two hosts are to confirm, with a chunk that `a` has. `b` serves, too.
fn checked_by_two() -> Slots {
    let mut slots = Slots::new(SlotsConfig { check: 100, ..SlotsConfig::default() });
    beat(&mut slots, "a", 1, &[], s(0));
    beat(&mut slots, "b", 1, &[], s(0));
    slots.open(0, CHUNK, s(0));
    slots.confirmed(0, 100, s(0));
    beat(&mut slots, "a", 1, &[0], s(0));
    slots
}

/// Returns what the user is told of hosts.
fn told(slots: &mut Slots) -> Vec<(String, HostChange)> {
    let change = |order| match order {
        Order::Host { host, change } => Some((host.to_string(), change)),
        _ => None,
    };
    std::iter::from_fn(|| slots.next_order()).filter_map(change).collect()
}

fn lost(name: &str, how: HostLoss, chunks: usize) -> (String, HostChange) {
    (name.to_owned(), HostChange::Lost { how, chunks })
}

fn serves(name: &str) -> (String, HostChange) {
    (name.to_owned(), HostChange::Serves { workers: 1 })
}

/// Returns the copy that is published by an order.
fn published(order: &Order) -> Option<CopyNumber> {
    if let Order::Publish { copy, .. } = order { Some(*copy) } else { None }
}

fn beat(slots: &mut Slots, name: &str, life: u64, held: &[CopyNumber], now: Time) {
    let beat = RunBeat { life, workers: 1, held: held.to_vec(), ..RunBeat::default() };
    slots.beat(&host(name), &beat, now);
}

fn head(life: u64, copy: CopyNumber, part: u32, last: bool) -> OutcomesHead {
    let receipt = Receipt { stream_sequence: 100 + copy, ..Receipt::default() };
    OutcomesHead { life, name: CHUNK, copy, receipt, part, last }
}

/// Returns slots of which the first has a chunk that the broker has, with one host.
fn with_chunk() -> Slots {
    let mut slots = Slots::new(SlotsConfig::default());
    beat(&mut slots, "a", 1, &[], s(0));
    slots.open(0, CHUNK, s(0));
    assert_eq!(orders(&mut slots), [Order::Slots { count: 2, ahead: 0 }, Order::Publish { slot: 0, copy: 0 }]);
    slots.confirmed(0, 100, s(0));
    slots
}

/// Reports that time passes, while this host beats with these copies.
fn pass(slots: &mut Slots, name: &str, held: &[CopyNumber], from: u64, to: u64) -> Vec<Order> {
    let mut all = Vec::new();
    for second in from..=to {
        beat(slots, name, 1, held, s(second));
        slots.tick(s(second));
        all.extend(orders(slots).into_iter().filter(|order| *order != Order::Ask));
    }
    all
}

#[test]
fn outcomes_are_taken_once() {
    let mut slots = with_chunk();
    beat(&mut slots, "b", 1, &[], s(0));
    orders(&mut slots);
    assert_eq!(slots.outcomes(&host("a"), &head(1, 0, 0, true), s(1)), TAKE);
    // Until they are taken, nobody is told anything.
    assert_eq!(slots.outcomes(&host("a"), &head(1, 0, 0, true), s(2)), Verdict::Later);
    assert_eq!(slots.outcomes(&host("b"), &head(1, 0, 0, true), s(2)), Verdict::Later);
    slots.answered(0, s(2));
    assert_eq!(orders(&mut slots), [Order::Acknowledge(head(1, 0, 0, true).receipt)]);
    assert_eq!(slots.outcomes(&host("a"), &head(1, 0, 0, true), s(3)), Verdict::Unwanted);
    assert_eq!(slots.dropped(), 1);
}

#[test]
fn a_chunk_that_waits_its_turn_is_not_published_again() {
    let mut slots = with_chunk();
    for minute in 0..60 {
        slots.delivered(99, false, s(minute * 10));
        assert_eq!(pass(&mut slots, "a", &[], minute * 10, minute * 10 + 9), []);
    }
}

#[test]
fn a_chunk_that_was_delivered_and_that_no_host_names_is_published_again() {
    let mut slots = with_chunk();
    slots.delivered(100, false, s(1));
    assert_eq!(pass(&mut slots, "a", &[], 1, 5), []);
    assert_eq!(pass(&mut slots, "a", &[], 6, 6), [Order::Publish { slot: 0, copy: 1 }]);
    // The outcomes of the first copy count all the same, and the second is deleted.
    slots.confirmed(1, 101, s(6));
    assert_eq!(slots.outcomes(&host("a"), &head(1, 0, 0, true), s(7)), TAKE);
    slots.answered(0, s(7));
    let taken = Order::Acknowledge(head(1, 0, 0, true).receipt);
    assert_eq!(orders(&mut slots), [taken, Order::Discard { sequence: 101 }]);
}

#[test]
fn a_chunk_that_the_broker_has_lost_by_itself_is_published_again() {
    let mut slots = with_chunk();
    // It is asked, and the answer tells that nothing waits, though the chunk was not delivered.
    assert_eq!(pass(&mut slots, "a", &[], 1, 2), []);
    slots.delivered(99, true, s(2));
    // What was confirmed since it was asked may have come after its answer.
    slots.open(1, ChunkName { first: 50, ..CHUNK }, s(2));
    slots.confirmed(1, 101, s(2));
    slots.delivered(99, true, s(3));
    let again = |order: &Order| matches!(order, Order::Publish { copy: 2.., .. });
    let orders: Vec<Order> = pass(&mut slots, "a", &[], 3, 8).into_iter().filter(again).collect();
    assert_eq!(orders, [Order::Publish { slot: 0, copy: 2 }]);
}

#[test]
fn a_silent_hosts_chunk_is_run_again_and_blamed_after_three_times_by_two_hosts() {
    let mut slots = with_chunk();
    let named = |slots: &mut Slots, name, now: u64, held: &[CopyNumber]| {
        beat(slots, name, now, held, s(now));
        slots.tick(s(now));
        orders(slots)
    };
    let after = |slots: &mut Slots, now| {
        slots.tick(s(now));
        orders(slots)
    };
    named(&mut slots, "a", 1, &[0]);
    assert_eq!(after(&mut slots, 5), []);
    assert!(after(&mut slots, 6).contains(&Order::Publish { slot: 0, copy: 1 }));
    named(&mut slots, "b", 7, &[1]);
    // Before it is blamed, it is given to a host of its own, as soon as there is one.
    assert_eq!(after(&mut slots, 12), [Order::Slots { count: 0, ahead: 0 }]);
    let given = Order::Give { slot: 0, copy: 2, host: HostLife { name: host("b"), life: 13 } };
    assert!(named(&mut slots, "b", 13, &[]).contains(&given));
    named(&mut slots, "b", 14, &[2]);
    let blamed = Order::Lose { slot: 0, blamed: true, hosts: vec![host("a"), host("b")] };
    assert!(after(&mut slots, 19).contains(&blamed));
}

#[test]
fn of_chunks_that_are_lost_together_only_that_is_blamed_which_ends_hosts() {
    let mut slots = Slots::new(SlotsConfig::default());
    let chunk = |slot: SlotId| ChunkName { first: u64::from(slot) * 10, ..CHUNK };
    for name in ["a", "b"] {
        beat(&mut slots, name, 1, &[], s(0));
    }
    (0..4).for_each(|slot| slots.open(slot, chunk(slot), s(0)));
    let mut held: Vec<CopyNumber> = orders(&mut slots).iter().filter_map(published).collect();
    let mut all = Vec::new();
    // All four are on one host, and then on the other, which begin again at once.
    for (life, name) in [(2, "a"), (2, "b")] {
        beat(&mut slots, name, life - 1, &held, s(1));
        beat(&mut slots, name, life, &[], s(1));
        all = orders(&mut slots);
        held = all.iter().filter_map(published).collect();
    }
    // Each host has one of them from now on. Chunk 2 ends its host each time, and the others have outcomes.
    let mut blamed = Vec::new();
    let mut lives = BTreeMap::from([("a", 2), ("b", 2)]);
    for second in 2..20 {
        all.extend(orders(&mut slots));
        let mut given = Vec::new();
        for order in all.drain(..) {
            match order {
                Order::Give { slot, copy, host } => given.push((slot, copy, host)),
                Order::Lose { slot, blamed: true, .. } => blamed.push(slot),
                _ => {}
            }
        }
        assert!(given.len() <= 2, "{given:?}");
        for (slot, copy, to) in given {
            let name = if to.name == host("a") { "a" } else { "b" };
            beat(&mut slots, name, lives[name], &[copy], s(second));
            if slot == 2 {
                *lives.entry(name).or_default() += 1;
                beat(&mut slots, name, lives[name], &[], s(second));
            } else {
                let head = OutcomesHead { name: chunk(slot), ..head(lives[name], copy, 0, true) };
                assert_eq!(slots.outcomes(&host(name), &head, s(second)), Verdict::Take { slot, noted: false });
                slots.answered(slot, s(second));
            }
        }
    }
    assert_eq!(blamed, [2]);
    assert!(slots.slots.is_empty());
}

#[test]
fn a_part_of_what_was_blamed_waits_for_no_other_whose_outcomes_come() {
    let mut slots = Slots::new(SlotsConfig::default());
    let part = |slot: u32| ChunkName { first: u64::from(slot), count: 1, ..CHUNK };
    beat(&mut slots, "a", 1, &[], s(0));
    slots.blamed.insert(0, 2);
    slots.open(0, part(0), s(0));
    slots.open(1, part(1), s(0));
    let given = |slots: &mut Slots| -> Vec<SlotId> {
        let of_give = |order| if let Order::Give { slot, .. } = order { Some(slot) } else { None };
        orders(slots).into_iter().filter_map(of_give).collect()
    };
    assert_eq!(given(&mut slots), [0]);
    beat(&mut slots, "a", 1, &[0], s(1));
    slots.tick(s(1));
    assert_eq!(given(&mut slots), [0; 0]);
    // Its outcomes may have to wait for those of the other.
    let head = OutcomesHead { name: part(0), ..head(1, 0, 0, true) };
    assert_eq!(slots.outcomes(&host("a"), &head, s(2)), TAKE);
    slots.tick(s(2));
    assert_eq!(given(&mut slots), [1]);
}

#[test]
fn a_chunk_that_may_end_hosts_does_not_wait_for_ever_for_one_of_its_own() {
    let mut slots = Slots::new(SlotsConfig::default());
    let beat = |slots: &mut Slots, now| {
        slots.beat(&host("a"), &RunBeat { life: 1, workers: 2, held: vec![0], ..RunBeat::default() }, s(now));
        slots.tick(s(now));
        orders(slots).into_iter().any(|order| matches!(order, Order::Give { slot: 1, .. }))
    };
    slots.blamed.insert(0, 2);
    beat(&mut slots, 0);
    slots.open(0, ChunkName { first: 0, count: 1, ..CHUNK }, s(0));
    slots.open(1, ChunkName { first: 1, count: 1, ..CHUNK }, s(0));
    let given = (1..90).find(|&second| beat(&mut slots, second));
    assert_eq!(given, Some(60));
}

#[test]
fn parts_of_what_was_blamed_are_kept_apart_until_they_have_outcomes() {
    let mut slots = Slots::new(SlotsConfig::default());
    let part = |first, count| ChunkName { first, count, ..CHUNK };
    for name in ["a", "b"] {
        beat(&mut slots, name, 1, &[], s(0));
    }
    slots.blamed.insert(0, 8);
    slots.open(0, part(0, 4), s(0));
    slots.open(1, part(4, 2), s(0));
    slots.open(2, part(6, 2), s(0));
    slots.open(3, part(8, 2), s(0));
    let orders: Vec<Order> =
        orders(&mut slots).into_iter().filter(|order| !matches!(order, Order::Slots { .. })).collect();
    assert!(matches!(
        orders[..],
        [
            Order::Give { slot: 0, copy: 0, .. },
            Order::Give { slot: 1, copy: 1, .. },
            // The third waits, and the fourth was no part of it.
            Order::Publish { slot: 3, copy: 2 }
        ]
    ));
    slots.acquit(part(2, 3));
    assert_eq!(slots.blamed, BTreeMap::from([(0, 2), (5, 8)]));
    slots.acquit(part(0, 8));
    assert!(slots.blamed.is_empty());
}

#[test]
fn a_host_with_short_chunks_is_sent_as_many_as_it_wants_at_hand_and_no_more_than_its_workers_may() {
    let mut slots = Slots::new(SlotsConfig::default());
    let beat = |slots: &mut Slots, workers, ahead| {
        slots.beat(&host("a"), &RunBeat { life: 1, workers, ahead, ..RunBeat::default() }, s(0));
        orders(slots)
    };
    assert_eq!(beat(&mut slots, 2, 1), [Order::Slots { count: 4, ahead: 0 }]);
    assert_eq!(beat(&mut slots, 2, 14), [Order::Slots { count: 4, ahead: 12 }]);
    assert_eq!(beat(&mut slots, 2, u32::MAX), []);
    assert_eq!(beat(&mut slots, 2, 0), [Order::Slots { count: 4, ahead: 0 }]);
    let mut slots = Slots::new(SlotsConfig { most: Some(6), ..SlotsConfig::default() });
    assert_eq!(beat(&mut slots, 2, 14), [Order::Slots { count: 4, ahead: 2 }]);
}

#[test]
fn no_host_is_lost_while_the_broker_is_away() {
    let mut slots = with_chunk();
    beat(&mut slots, "a", 1, &[0], s(1));
    slots.broker_back(s(100));
    slots.tick(s(104));
    assert_eq!(orders(&mut slots), []);
    slots.tick(s(105));
    assert_eq!(orders(&mut slots), [Order::Publish { slot: 0, copy: 1 }, Order::Slots { count: 0, ahead: 0 }]);
}

#[test]
fn what_the_broker_has_lost_is_published_again_but_not_what_hosts_hold() {
    let mut slots = with_chunk();
    slots.open(1, ChunkName { first: 4, ..CHUNK }, s(0));
    beat(&mut slots, "a", 1, &[0], s(1));
    orders(&mut slots);
    slots.stream_lost(s(1));
    assert_eq!(orders(&mut slots), [Order::Publish { slot: 1, copy: 2 }]);
}

#[test]
fn a_host_that_leaves_gives_back_at_once_what_it_does_not_name() {
    let mut slots = with_chunk();
    beat(&mut slots, "a", 1, &[0], s(1));
    let leaving = RunBeat { life: 1, leaving: true, ..RunBeat::default() };
    slots.beat(&host("a"), &leaving, s(1));
    assert_eq!(orders(&mut slots), [Order::Publish { slot: 0, copy: 1 }, Order::Slots { count: 0, ahead: 0 }]);
}

#[test]
fn a_host_that_is_started_again_has_lost_what_it_held() {
    let mut slots = with_chunk();
    beat(&mut slots, "a", 1, &[0], s(1));
    beat(&mut slots, "a", 2, &[], s(1));
    assert_eq!(orders(&mut slots), [Order::Publish { slot: 0, copy: 1 }]);
    // What it sent in its former life may still come, and does not count.
    assert_eq!(slots.outcomes(&host("a"), &head(1, 0, 0, true), s(1)), Verdict::Later);
}

#[test]
fn parts_are_taken_in_order_and_from_one_host() {
    let mut slots = with_chunk();
    beat(&mut slots, "b", 1, &[], s(0));
    let (a, b) = (host("a"), host("b"));
    assert_eq!(slots.outcomes(&a, &head(1, 0, 1, true), s(1)), Verdict::Unwanted);
    assert_eq!(slots.outcomes(&a, &head(1, 0, 0, false), s(1)), TAKE);
    slots.answered(0, s(1));
    // The answer was lost.
    assert_eq!(slots.outcomes(&a, &head(1, 0, 0, false), s(2)), Verdict::Taken);
    assert_eq!(slots.outcomes(&b, &head(1, 0, 0, true), s(2)), Verdict::Later);
    assert_eq!(slots.outcomes(&a, &head(1, 0, 1, true), s(2)), TAKE);
    slots.answered(0, s(2));
    assert_eq!(slots.outcomes(&b, &head(1, 0, 0, true), s(3)), Verdict::Unwanted);
}

#[test]
fn the_rest_of_a_chunk_is_given_back_if_its_host_ends_between_two_parts() {
    let mut slots = with_chunk();
    assert_eq!(slots.outcomes(&host("a"), &head(1, 0, 0, false), s(1)), TAKE);
    slots.answered(0, s(1));
    orders(&mut slots);
    slots.tick(s(6));
    let lost = Order::Lose { slot: 0, blamed: false, hosts: Vec::new() };
    assert!(orders(&mut slots).contains(&lost));
}

#[test]
fn a_host_that_lies_three_times_is_not_heard_any_more() {
    let mut slots = with_chunk();
    beat(&mut slots, "a", 1, &[0], s(0));
    (0..2).for_each(|_| slots.breach(&host("a"), s(1)));
    assert_eq!(told(&mut slots), []);
    slots.breach(&host("a"), s(1));
    assert_eq!(told(&mut slots), [lost("a", HostLoss::Breaks, 1)]);
    assert_eq!(slots.serving(), (0, 0));
    assert!(slots.ignores(&host("a")) && !slots.ignores(&host("b")));
    // Not even under a new life.
    beat(&mut slots, "a", 2, &[0], s(2));
    assert_eq!(orders(&mut slots), []);
    assert_eq!(slots.outcomes(&host("a"), &head(1, 0, 0, true), s(2)), Verdict::Unwanted);
}

#[test]
fn a_host_that_never_told_of_itself_is_ignored_like_any_other() {
    let mut slots = with_chunk();
    (0..9).for_each(|_| slots.breach(&host("x"), s(1)));
    assert_eq!(told(&mut slots), [lost("x", HostLoss::Breaks, 0)]);
    beat(&mut slots, "x", 1, &[0], s(1));
    assert_eq!(orders(&mut slots), []);
}

#[test]
fn outcomes_count_only_for_a_copy_that_was_published() {
    let mut slots = Slots::new(SlotsConfig::default()).with_secret([3; 32]);
    beat(&mut slots, "a", 1, &[], s(0));
    slots.open(0, CHUNK, s(0));
    let orders = orders(&mut slots);
    let [_, Order::Publish { copy, .. }] = orders[..] else { panic!("{orders:?}") };
    for guessed in [0, 1, copy ^ 1] {
        assert_eq!(slots.outcomes(&host("a"), &head(1, guessed, 0, true), s(1)), Verdict::Unwanted);
        assert_eq!(slots.slot_of(guessed), None);
    }
    let real = OutcomesHead { receipt: Receipt::default(), ..OutcomesHead { copy, ..head(1, 0, 0, true) } };
    assert_eq!(slots.outcomes(&host("a"), &real, s(1)), TAKE);
}

#[test]
fn a_beat_that_claims_more_than_any_host_holds_is_a_breach() {
    let mut slots = with_chunk();
    let all: Vec<CopyNumber> = (0..20_000).collect();
    (0..3).for_each(|_| beat(&mut slots, "a", 1, &all, s(1)));
    assert!(slots.ignores(&host("a")));
}

#[test]
fn no_host_keeps_a_copy_from_being_given_back_that_another_holds() {
    let mut slots = with_chunk();
    beat(&mut slots, "a", 1, &[0], s(0));
    orders(&mut slots);
    // `b` claims it, too, until `a` has been silent for too long.
    assert_eq!(pass(&mut slots, "b", &[0], 1, 4), [Order::Slots { count: 4, ahead: 0 }]);
    slots.tick(s(5));
    assert_eq!(orders(&mut slots), [Order::Publish { slot: 0, copy: 1 }, Order::Slots { count: 2, ahead: 0 }]);
}

#[test]
fn a_run_that_every_host_refuses_ends_with_what_is_said_of_the_task() {
    let mut slots = Slots::new(SlotsConfig::default());
    let refuse = |slots: &mut Slots, name: &str, cause| {
        let refused = Some(Refusal { cause, message: name.to_owned() });
        slots.beat(&host(name), &RunBeat { life: 1, refused, ..RunBeat::default() }, s(1));
    };
    refuse(&mut slots, "a", RefusalCause::Host);
    refuse(&mut slots, "b", RefusalCause::Task);
    slots.tick(s(1));
    assert_eq!(orders(&mut slots), []);
    slots.tick(s(2));
    let refusal = |cause, name: &str| (host(name), Refusal { cause, message: name.to_owned() });
    let all = vec![refusal(RefusalCause::Task, "b"), refusal(RefusalCause::Host, "a")];
    assert_eq!(orders(&mut slots), [Order::Refused(all)]);
    // For one of the right version it is waited longer.
    let mut slots = Slots::new(SlotsConfig::default());
    for second in 0..30 {
        let refused = Some(Refusal { cause: RefusalCause::Version, message: "old".to_owned() });
        slots.beat(&host("a"), &RunBeat { life: 1, refused, ..RunBeat::default() }, s(second));
        slots.tick(s(second));
        assert_eq!(orders(&mut slots), []);
    }
    slots.tick(s(30));
    let refusal = Refusal { cause: RefusalCause::Version, message: "old".to_owned() };
    assert_eq!(orders(&mut slots), [Order::Refused(vec![(host("a"), refusal)])]);
    // For one in place of a host that served until it found a reason not to, too.
    let mut slots = Slots::new(SlotsConfig::default());
    beat(&mut slots, "a", 1, &[], s(0));
    assert_eq!(orders(&mut slots), [Order::Slots { count: 2, ahead: 0 }]);
    for second in 1..31 {
        let refused = Some(Refusal { cause: RefusalCause::Host, message: "full".to_owned() });
        slots.beat(&host("a"), &RunBeat { life: 1, refused, ..RunBeat::default() }, s(second));
        slots.tick(s(second));
        assert!(!orders(&mut slots).iter().any(|order| matches!(order, Order::Refused(_))), "after {second} s");
    }
    slots.tick(s(31));
    assert!(orders(&mut slots).iter().any(|order| matches!(order, Order::Refused(_))));
    // With one that serves, nothing ends.
    let mut slots = Slots::new(SlotsConfig::default());
    refuse(&mut slots, "a", RefusalCause::Task);
    beat(&mut slots, "c", 1, &[], s(1));
    slots.tick(s(3));
    assert_eq!(orders(&mut slots), [Order::Slots { count: 2, ahead: 0 }]);
}

#[test]
fn there_are_no_more_slots_than_were_asked_for() {
    let mut slots = Slots::new(SlotsConfig { most: Some(3), ..SlotsConfig::default() });
    beat(&mut slots, "a", 1, &[], s(0));
    beat(&mut slots, "b", 1, &[], s(0));
    assert_eq!(orders(&mut slots), [Order::Slots { count: 2, ahead: 0 }, Order::Slots { count: 3, ahead: 0 }]);
}

/// Returns slots with two hosts, of which `a` has had a chunk since the first second, and `b` has run one in a second.
fn with_late_chunk(config: SlotsConfig) -> Slots {
    let mut slots = Slots::new(config);
    beat(&mut slots, "a", 1, &[], s(0));
    beat(&mut slots, "b", 1, &[], s(0));
    let other = ChunkName { first: 4, ..CHUNK };
    slots.open(0, CHUNK, s(0));
    slots.open(1, other, s(0));
    beat(&mut slots, "a", 1, &[0], s(0));
    beat(&mut slots, "b", 1, &[1], s(0));
    let head = OutcomesHead { name: other, ..head(1, 1, 0, true) };
    assert_eq!(slots.outcomes(&host("b"), &head, s(1)), Verdict::Take { slot: 1, noted: false });
    slots.answered(1, s(1));
    orders(&mut slots);
    slots
}

fn life(name: &str) -> HostLife {
    HostLife { name: host(name), life: 1 }
}

#[test]
fn a_late_chunk_is_given_once_to_another_host_that_has_nothing_else_to_do() {
    let mut slots = with_late_chunk(SlotsConfig { speculate: true, ..SlotsConfig::default() });
    let look = |slots: &mut Slots, second, of_b: &[CopyNumber]| {
        beat(slots, "a", 1, &[0], s(second));
        beat(slots, "b", 1, of_b, s(second));
        slots.tick(s(second));
        orders(slots)
    };
    assert_eq!(look(&mut slots, 2, &[]), []);
    // The other host has something else to do, as far as is known.
    assert_eq!(look(&mut slots, 3, &[77]), []);
    assert_eq!(look(&mut slots, 4, &[]), [Order::Give { slot: 0, copy: 2, host: life("b") }]);
    assert_eq!(look(&mut slots, 60, &[2]), []);
    assert_eq!(slots.outcomes(&host("b"), &head(1, 2, 0, true), s(61)), TAKE);
    slots.answered(0, s(61));
    // Whoever is slower is told.
    assert_eq!(orders(&mut slots), [Order::Drop { copy: 0, host: life("a") }]);
    assert_eq!(slots.outcomes(&host("a"), &head(1, 0, 0, true), s(62)), Verdict::Unwanted);
    assert_eq!(slots.doubled(), 1);
}

#[test]
fn no_chunk_runs_twice_where_that_is_not_wanted_or_others_wait() {
    let mut slots = with_late_chunk(SlotsConfig::default());
    beat(&mut slots, "b", 1, &[], s(60));
    slots.tick(s(4));
    assert_eq!(orders(&mut slots), []);
    // Every slot has a chunk, so that there is other work.
    let mut slots = with_late_chunk(SlotsConfig { speculate: true, most: Some(1), ..SlotsConfig::default() });
    slots.tick(s(4));
    assert_eq!(orders(&mut slots), []);
}

#[test]
fn a_checked_chunk_is_taken_once_two_hosts_have_run_it() {
    let mut slots = Slots::new(SlotsConfig { check: 100, ..SlotsConfig::default() });
    beat(&mut slots, "a", 1, &[], s(0));
    slots.open(0, CHUNK, s(0));
    slots.confirmed(0, 100, s(0));
    beat(&mut slots, "a", 1, &[0], s(0));
    orders(&mut slots);
    assert!(slots.lacks_second_host());
    beat(&mut slots, "b", 1, &[], s(1));
    slots.tick(s(1));
    assert_eq!(
        orders(&mut slots),
        [Order::Slots { count: 4, ahead: 0 }, Order::Give { slot: 0, copy: 1, host: life("b") }]
    );
    assert_eq!(slots.outcomes(&host("a"), &head(1, 0, 0, true), s(1)), NOTE);
    slots.answered(0, s(1));
    assert_eq!(orders(&mut slots), [Order::Acknowledge(head(1, 0, 0, true).receipt)]);
    // The same host counts once, even under a new life, and what it has again is taken from it.
    assert_eq!(slots.outcomes(&host("a"), &head(1, 0, 0, true), s(2)), Verdict::Unwanted);
    beat(&mut slots, "a", 1, &[0], s(2));
    assert_eq!(orders(&mut slots), [Order::Drop { copy: 0, host: life("a") }]);
    // If the second host ends, a third is found.
    beat(&mut slots, "b", 1, &[1], s(3));
    beat(&mut slots, "c", 1, &[], s(7));
    orders(&mut slots);
    slots.tick(s(8));
    assert!(orders(&mut slots).contains(&Order::Give { slot: 0, copy: 2, host: life("c") }));
    assert_eq!(slots.outcomes(&host("c"), &head(1, 2, 0, true), s(9)), TAKE);
    slots.answered(0, s(9));
    assert_eq!(orders(&mut slots), []);
}

#[test]
fn a_chunk_that_nobody_pulls_is_published_again_before_the_broker_drops_it() {
    let mut slots = with_chunk();
    slots.tick(s(12 * 3600) - Time::from_millis(1));
    orders(&mut slots);
    slots.tick(s(12 * 3600));
    let all = orders(&mut slots);
    assert!(all.contains(&Order::Discard { sequence: 100 }) && all.contains(&Order::Publish { slot: 0, copy: 1 }));
    assert!(STALE < KEPT);
}

#[test]
fn a_chunk_that_was_pulled_in_vain_is_given_to_a_host_that_serves() {
    let mut slots = with_chunk();
    slots.delivered(100, false, s(0));
    assert_eq!(pass(&mut slots, "a", &[], 1, 5), [Order::Publish { slot: 0, copy: 1 }]);
    slots.confirmed(1, 101, s(5));
    slots.delivered(101, false, s(5));
    assert_eq!(pass(&mut slots, "a", &[], 6, 10), [Order::Give { slot: 0, copy: 2, host: life("a") }]);
    assert_eq!(pass(&mut slots, "a", &[2], 11, 60), []);
}

/// Reports that time passes, while these hosts beat, each with so many workers and these copies. Returns the orders but for
/// those that concern the broker and slots.
fn pass_with(slots: &mut Slots, hosts: &[(&str, u32, &[CopyNumber])], from: u64, to: u64) -> Vec<Order> {
    let mut all = Vec::new();
    for second in from..=to {
        for &(name, workers, held) in hosts {
            let beat = RunBeat { life: 1, workers, held: held.to_vec(), ..RunBeat::default() };
            slots.beat(&host(name), &beat, s(second));
        }
        slots.tick(s(second));
        all.extend(orders(slots).into_iter().filter(|order| !matches!(order, Order::Ask | Order::Slots { .. })));
    }
    all
}

#[test]
fn a_host_that_pulls_and_never_names_chunks_keeps_none_from_the_others() {
    let mut slots = with_chunk();
    let hosts: &[(&str, u32, &[CopyNumber])] = &[("silent", 64, &[]), ("a", 1, &[900])];
    slots.delivered(100, false, s(0));
    assert_eq!(pass_with(&mut slots, hosts, 1, 5), [Order::Publish { slot: 0, copy: 1 }]);
    slots.confirmed(1, 101, s(5));
    slots.delivered(101, false, s(5));
    // It looks idle, and gets the chunk once more, but not again.
    assert_eq!(pass_with(&mut slots, hosts, 6, 10), [Order::Give { slot: 0, copy: 2, host: life("silent") }]);
    assert_eq!(pass_with(&mut slots, hosts, 11, 15), [Order::Give { slot: 0, copy: 3, host: life("a") }]);
    // Other chunks that go the same way soon pass it by, and the stream.
    for slot in 1..9 {
        slots.open(slot, ChunkName { first: u64::from(slot) * 10, ..CHUNK }, s(15));
        slots.confirmed(slots.next_copy - 1, 200 + u64::from(slot), s(15));
    }
    slots.delivered(300, false, s(15));
    let again = pass_with(&mut slots, hosts, 16, 25);
    let last: Vec<&Order> = again.iter().rev().take(8).collect();
    assert!(last.iter().all(|order| matches!(order, Order::Give { host, .. } if *host == life("a"))), "{again:?}");
    slots.open(20, ChunkName { first: 500, ..CHUNK }, s(26));
    let open = orders(&mut slots);
    assert!(matches!(&open[..], [Order::Give { slot: 20, host, .. }] if *host == life("a")), "{open:?}");
    // It counts as one with a single worker: hosts have as many chunks as those that answer take.
    assert_eq!(slots.ordered, (4, 0));
}

#[test]
fn the_only_host_gets_a_chunk_again_that_it_has_lost() {
    let mut slots = with_chunk();
    slots.delivered(100, false, s(0));
    pass(&mut slots, "a", &[], 1, 5);
    slots.confirmed(1, 101, s(5));
    slots.delivered(101, false, s(5));
    let given = pass(&mut slots, "a", &[], 6, 60);
    assert_eq!(given.len(), 11, "{given:?}");
    assert!(given.iter().all(|order| matches!(order, Order::Give { slot: 0, .. })), "{given:?}");
}

#[test]
fn a_host_that_names_a_chunk_for_ever_keeps_it_no_longer_than_its_items_may_take() {
    let item = Some(Duration::from_secs(1));
    let mut slots = Slots::new(SlotsConfig { item, ..SlotsConfig::default() });
    beat(&mut slots, "holds", 1, &[], s(0));
    slots.open(0, CHUNK, s(0));
    slots.confirmed(0, 100, s(0));
    orders(&mut slots);
    // Four items, twenty times the time that each may take, and a minute.
    let hosts: &[(&str, u32, &[CopyNumber])] = &[("holds", 1, &[0]), ("a", 1, &[])];
    assert_eq!(pass_with(&mut slots, hosts, 0, 139), []);
    let expected = [
        Order::Overdue { host: host("holds"), chunk: CHUNK },
        Order::Drop { copy: 0, host: life("holds") },
        Order::Give { slot: 0, copy: 1, host: life("a") },
    ];
    assert_eq!(pass_with(&mut slots, hosts, 140, 140), expected);
    // It still names it, which does not count, and is heard if it answers after all.
    let hosts: &[(&str, u32, &[CopyNumber])] = &[("holds", 1, &[0]), ("a", 1, &[1])];
    assert_eq!(pass_with(&mut slots, hosts, 141, 270), []);
    assert_eq!(slots.outcomes(&host("holds"), &head(1, 0, 0, true), s(270)), TAKE);
}

#[test]
fn a_host_that_sends_part_after_part_slowly_keeps_no_chunk_for_ever() {
    let mut slots = Slots::new(SlotsConfig::default());
    beat(&mut slots, "a", 1, &[], s(0));
    slots.open(0, CHUNK, s(0));
    orders(&mut slots);
    let lost = Order::Lose { slot: 0, blamed: false, hosts: Vec::new() };
    let mut lost_at = None;
    for part in 0..30 {
        let now = 10 * u64::from(part);
        assert_eq!(slots.outcomes(&host("a"), &head(1, 0, part, false), s(now)), TAKE);
        // The first part is a large one, for which two seconds are granted. However long the coordinator takes, that is not the
        // host's.
        if part == 0 {
            slots.large_part(0);
        }
        slots.answered(0, s(now + 1));
        if pass(&mut slots, "a", &[0], now + 1, now + 9).contains(&lost) {
            lost_at = Some(part);
            break;
        }
    }
    // Nine of ten seconds are the host's.
    assert_eq!(lost_at, Some(6));
}

#[test]
fn two_processes_of_one_name_are_named_and_blame_no_chunk() {
    let mut slots = with_chunk();
    let mut said = Vec::new();
    for second in 1..60 {
        beat(&mut slots, "a", 7, &[], s(second));
        beat(&mut slots, "a", 3, &[0], s(second));
        slots.tick(s(second));
        said.extend(orders(&mut slots));
    }
    assert_eq!(said.iter().filter(|order| **order == Order::Shared(host("a"))).count(), 1, "{said:?}");
    assert!(!said.iter().any(|order| matches!(order, Order::Lose { .. })), "{said:?}");
    // The one that began first is heard, and the other once that is gone.
    assert_eq!(slots.outcomes(&host("a"), &head(3, 0, 0, true), s(60)), TAKE);
    (61..70).for_each(|second| {
        beat(&mut slots, "a", 7, &[], s(second));
        slots.tick(s(second));
    });
    assert_eq!(slots.hosts[&host("a")].life, 7);
}

#[test]
fn ends_of_one_host_count_as_those_of_one() {
    let mut slots = with_chunk();
    let mut blamed = None;
    for end in 1..=7 {
        beat(&mut slots, "a", end, &[], s(end));
        let all = orders(&mut slots);
        let copy = slots.next_copy - 1;
        beat(&mut slots, "a", end, &[copy], s(end));
        if all.contains(&Order::Lose { slot: 0, blamed: true, hosts: vec![host("a")] }) {
            blamed = Some(end - 1);
            break;
        }
    }
    // Three ends of two hosts, or six of one where there is no other.
    assert_eq!(blamed, Some(6));
}

#[test]
fn workers_that_a_host_only_claims_ask_for_no_more_chunks() {
    let mut slots = Slots::new(SlotsConfig::default());
    let beat = |slots: &mut Slots, held: &[CopyNumber], now| {
        let beat = RunBeat { life: 1, workers: 4096, held: held.to_vec(), ..RunBeat::default() };
        slots.beat(&host("a"), &beat, s(now));
        orders(slots)
    };
    // It claims to hold what there is not.
    assert_eq!(beat(&mut slots, &[700, 701, 702], 0), [Order::Slots { count: 32, ahead: 0 }]);
    assert_eq!(beat(&mut slots, &[700, 701, 702], 1), []);
    // One that takes them gets more.
    for slot in 0..32 {
        slots.open(slot, ChunkName { first: u64::from(slot) * 10, ..CHUNK }, s(1));
    }
    orders(&mut slots);
    let held: Vec<CopyNumber> = (0..32).collect();
    assert_eq!(beat(&mut slots, &held, 2), [Order::Slots { count: 160, ahead: 0 }]);
}

#[test]
fn chunks_of_a_host_that_answers_nothing_run_elsewhere_however_many_they_are() {
    let mut slots = Slots::new(SlotsConfig { speculate: true, ..SlotsConfig::default() });
    beat(&mut slots, "holds", 1, &[], s(0));
    beat(&mut slots, "b", 1, &[], s(0));
    for slot in 0..4 {
        slots.open(slot, ChunkName { first: u64::from(slot) * 10, ..CHUNK }, s(0));
    }
    let hosts: &[(&str, u32, &[CopyNumber])] = &[("holds", 3, &[0, 1, 2]), ("b", 4, &[3])];
    pass_with(&mut slots, hosts, 0, 1);
    let head = OutcomesHead { name: ChunkName { first: 30, ..CHUNK }, ..head(1, 3, 0, true) };
    assert_eq!(slots.outcomes(&host("b"), &head, s(1)), Verdict::Take { slot: 3, noted: false });
    slots.answered(3, s(1));
    orders(&mut slots);
    let hosts: &[(&str, u32, &[CopyNumber])] = &[("holds", 3, &[0, 1, 2]), ("b", 4, &[4])];
    // One of the four for being late, and all once there is no hope.
    let given = pass_with(&mut slots, hosts, 2, 29);
    assert_eq!(given, [Order::Give { slot: 0, copy: 4, host: life("b") }]);
    for (name, workers, held) in [("holds", 3, &[0, 1, 2][..]), ("b", 4, &[4])] {
        let beat = RunBeat { life: 1, workers, held: held.to_vec(), ..RunBeat::default() };
        slots.beat(&host(name), &beat, s(30));
    }
    slots.tick(s(30));
    let all: Vec<Order> = std::iter::from_fn(|| slots.next_order()).filter(|order| *order != Order::Ask).collect();
    let give = |slot, copy| Order::Give { slot, copy, host: life("b") };
    let change = HostChange::Lost { how: HostLoss::AnswersNothing, chunks: 1 };
    let tell = || Order::Host { host: host("holds"), change };
    assert_eq!(all, [give(1, 5), tell(), give(2, 6), tell()]);
    assert_eq!((slots.doubled(), slots.rescued()), (1, 2));
}

#[test]
fn a_check_is_not_passed_by_telling_that_a_worker_was_lost() {
    let mut slots = checked_by_two();
    assert_eq!(slots.outcomes(&host("a"), &head(1, 0, 0, true), s(1)), NOTE);
    slots.answered(0, s(1));
    orders(&mut slots);
    assert_eq!(slots.outcomes(&host("b"), &head(1, 1, 0, true), s(2)), TAKE);
    // `b` tells nothing of an item. There is no other host but it.
    slots.disputed(0, false, s(2));
    assert_eq!(orders(&mut slots), [Order::Give { slot: 0, copy: 2, host: life("b") }]);
    // Once there is, that is asked before `b` is asked again.
    beat(&mut slots, "c", 1, &[], s(3));
    assert_eq!(slots.outcomes(&host("b"), &head(1, 2, 0, true), s(3)), TAKE);
    orders(&mut slots);
    slots.disputed(0, false, s(3));
    assert_eq!(orders(&mut slots), [Order::Give { slot: 0, copy: 3, host: life("c") }]);
    assert_eq!(slots.outcomes(&host("c"), &head(1, 3, 0, true), s(4)), TAKE);
    slots.answered(0, s(4));
    assert_eq!(slots.outcomes(&host("a"), &head(1, 0, 0, true), s(5)), Verdict::Unwanted);
}

#[test]
fn a_host_that_tells_nothing_is_no_first_of_two() {
    let mut slots = Slots::new(SlotsConfig { check: 100, ..SlotsConfig::default() });
    for name in ["a", "b", "c"] {
        beat(&mut slots, name, 1, &[], s(0));
    }
    slots.open(0, CHUNK, s(0));
    slots.confirmed(0, 100, s(0));
    beat(&mut slots, "a", 1, &[0], s(0));
    assert_eq!(slots.outcomes(&host("a"), &head(1, 0, 0, true), s(1)), NOTE);
    slots.answered(0, s(1));
    orders(&mut slots);
    assert_eq!(slots.outcomes(&host("b"), &head(1, 1, 0, true), s(2)), TAKE);
    // What `b` delivers takes the place of what `a` has told, and is compared with what `c` delivers.
    slots.disputed(0, true, s(2));
    assert_eq!(orders(&mut slots), [Order::Give { slot: 0, copy: 2, host: life("c") }]);
    assert_eq!(slots.outcomes(&host("b"), &head(1, 1, 0, true), s(2)), Verdict::Unwanted);
    assert_eq!(slots.outcomes(&host("c"), &head(1, 2, 0, true), s(3)), TAKE);
}

#[test]
fn the_user_is_told_of_a_silent_host_once_and_how_many_of_its_chunks_run_again() {
    let mut slots = with_chunk();
    beat(&mut slots, "b", 1, &[], s(0));
    slots.open(1, ChunkName { first: 10, ..CHUNK }, s(0));
    slots.open(2, ChunkName { first: 20, ..CHUNK }, s(0));
    beat(&mut slots, "a", 1, &[0, 1], s(0));
    assert_eq!(told(&mut slots), [serves("b")]);
    for second in 1..20 {
        beat(&mut slots, "b", 1, &[2], s(second));
        slots.tick(s(second));
        let expected = if second == 5 { vec![lost("a", HostLoss::Silent, 2)] } else { vec![] };
        assert_eq!(told(&mut slots), expected, "after {second} s");
    }
    beat(&mut slots, "a", 1, &[], s(20));
    beat(&mut slots, "a", 1, &[], s(21));
    assert_eq!(told(&mut slots), [("a".to_owned(), HostChange::Returns)]);
}

#[test]
fn the_user_is_told_of_a_host_that_was_started_again() {
    let mut slots = with_chunk();
    beat(&mut slots, "a", 1, &[0], s(1));
    told(&mut slots);
    beat(&mut slots, "a", 2, &[], s(2));
    assert_eq!(told(&mut slots), [lost("a", HostLoss::Restarted, 1), serves("a")]);
}

#[test]
fn a_chunk_that_another_host_has_too_is_not_told_as_run_again() {
    let mut slots = checked_by_two();
    orders(&mut slots);
    for second in 1..=5 {
        beat(&mut slots, "b", 1, &[1], s(second));
        slots.tick(s(second));
    }
    assert_eq!(told(&mut slots), [lost("a", HostLoss::Silent, 0)]);
}

#[test]
fn a_host_that_leaves_is_told_as_leaving_and_its_silence_is_no_loss() {
    let mut slots = with_chunk();
    let leaving = |slots: &mut Slots, held: &[CopyNumber], now| {
        let beat = RunBeat { life: 1, workers: 1, held: held.to_vec(), leaving: true, ..RunBeat::default() };
        slots.beat(&host("a"), &beat, now);
    };
    leaving(&mut slots, &[0], s(1));
    leaving(&mut slots, &[0], s(2));
    assert_eq!(told(&mut slots), [("a".to_owned(), HostChange::Leaves)]);
    // If it ends before it has answered what it held, that is.
    slots.tick(s(7));
    assert_eq!(told(&mut slots), [lost("a", HostLoss::Silent, 1)]);
    let mut slots = with_chunk();
    leaving(&mut slots, &[], s(1));
    told(&mut slots);
    slots.tick(s(7));
    assert_eq!(told(&mut slots), []);
}

#[test]
fn a_host_that_never_served_the_run_is_not_missed() {
    let mut slots = Slots::new(SlotsConfig::default());
    let refused = Refusal { cause: RefusalCause::Host, message: "no".to_owned() };
    slots.beat(&host("a"), &RunBeat { life: 1, workers: 1, refused: Some(refused), ..RunBeat::default() }, s(0));
    slots.beat(&host("b"), &RunBeat { life: 1, ..RunBeat::default() }, s(0));
    slots.tick(s(9));
    assert_eq!(told(&mut slots), []);
}
