//! Queues, without credits and messages ahead.

use super::*;
use Operation::{Finish, GiveBack, IsEmpty, IsFull, JoinQueue, Size, Take, TaskDone};

fn queue() -> Bench {
    Bench::new(ObjectForm::Queue { capacity: None })
}

fn bounded(capacity: u32) -> Bench {
    Bench::new(ObjectForm::Queue { capacity: Some(capacity) })
}

const SHUTDOWN: Operation = Operation::Shutdown { immediately: false };
const SHUTDOWN_NOW: Operation = Operation::Shutdown { immediately: true };

impl Bench {
    fn take(&mut self, participant: ParticipantId) -> (u64, String, bool) {
        match self.ask(participant, Take) {
            Ok(Reply::Delivery { id, item, redelivered }) => (id, String::from_utf8(item).unwrap(), redelivered),
            other => panic!("{other:?}"),
        }
    }

    fn fill(&mut self, all: &[&str]) {
        for text in all {
            self.ask(0, put(text)).unwrap();
        }
    }

    /// Gets all that is there.
    fn drain(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.get(9)).collect()
    }
}

/// Row 2.1
#[test]
fn a_queue_without_a_capacity_is_bounded_by_its_quota_alone() {
    for mut bench in [queue(), bounded(0)] {
        for _ in 0..10_000 {
            assert_eq!(bench.ask(0, put("x")), DONE);
        }
        assert_eq!(bench.ask(0, IsFull), NO);
    }
}

/// Row 2.2
#[test]
fn messages_are_got_in_the_order_in_which_they_were_put() {
    let mut bench = queue();
    for (participant, text) in [(0, "a"), (1, "b"), (0, "c"), (2, "d")] {
        bench.ask(participant, put(text)).unwrap();
    }
    assert_eq!(bench.ask(3, GET), one("a"));
    assert_eq!(bench.ask(4, GET), one("b"));
    assert_eq!(bench.ask(3, Operation::Get { most: 9 }), Ok(Reply::Many(vec!["c".into(), "d".into()])));
}

/// Row 2.3
#[test]
fn a_put_waits_for_room_until_its_timeout() {
    let mut bench = bounded(1);
    assert_eq!(bench.ask(0, put("a")), DONE);
    assert_eq!(bench.look(1, put("b")), Err(ObjectError::Full));
    bench.wait_for(1, put("b"), 100);
    bench.wait(2, put("c"));
    assert_eq!(bench.pass(100), [(1, Err(ObjectError::Full))]);
    assert_eq!(bench.all_of(3, GET, None), [(2, DONE), (3, one("a"))]);
    assert_eq!(bench.ask(3, GET), one("c"));
}

/// Row 2.4
#[test]
fn a_get_waits_for_a_message_until_its_timeout() {
    let mut bench = queue();
    assert_eq!(bench.look(0, GET), Err(ObjectError::Empty));
    bench.wait_for(0, GET, 100);
    bench.wait(1, GET);
    assert_eq!(bench.pass(100), [(0, Err(ObjectError::Empty))]);
    assert_eq!(bench.all_of(2, put("a"), None), [(1, one("a")), (2, DONE)]);
}

/// Row 2.6
#[test]
fn a_put_that_returned_is_seen_by_every_get_that_starts_later() {
    let mut bench = queue();
    bench.ask(0, put("a")).unwrap();
    assert_eq!(bench.ask(1, IsEmpty), NO);
    assert_eq!(bench.look(1, GET), one("a"));
}

/// Row 2.7
#[test]
fn the_size_of_a_queue_is_exact() {
    let mut bench = bounded(2);
    assert_eq!((bench.ask(0, Size), bench.ask(0, IsEmpty), bench.ask(0, IsFull)), (number(0), YES, NO));
    bench.ask(0, put("a")).unwrap();
    assert_eq!((bench.ask(0, Size), bench.ask(0, IsEmpty), bench.ask(0, IsFull)), (number(1), NO, NO));
    bench.ask(0, put("b")).unwrap();
    assert_eq!((bench.ask(0, Size), bench.ask(0, IsEmpty), bench.ask(0, IsFull)), (number(2), NO, YES));
}

/// Row 2.10
#[test]
fn a_queue_that_was_shut_down_is_emptied_and_then_closed() {
    let mut bench = bounded(2);
    bench.fill(&["a", "b"]);
    bench.wait(1, put("c"));
    assert_eq!(bench.all_of(0, SHUTDOWN, None), [(1, Err(ObjectError::Closed)), (0, DONE)]);
    assert_eq!(bench.ask(0, put("d")), Err(ObjectError::Closed));
    assert_eq!(bench.ask(2, GET), one("a"));
    assert_eq!(bench.ask(2, GET), one("b"));
    assert_eq!(bench.ask(2, GET), Err(ObjectError::Closed));
    assert_eq!(bench.look(2, Take), Err(ObjectError::Closed));
    assert_eq!(bench.ask(2, Size), number(0));
}

/// Row 2.10
#[test]
fn a_shutdown_wakes_all_who_wait_for_a_message() {
    let mut bench = queue();
    bench.wait(1, GET);
    bench.wait(2, Take);
    let closed = Err(ObjectError::Closed);
    assert_eq!(bench.all_of(0, SHUTDOWN, None), [(1, closed.clone()), (2, closed), (0, DONE)]);
}

/// Row 2.10
#[test]
fn a_delivery_that_comes_back_after_a_shutdown_can_be_got() {
    let mut bench = queue();
    bench.fill(&["a"]);
    bench.take(1);
    bench.ask(0, SHUTDOWN).unwrap();
    bench.kill(1);
    assert_eq!(bench.take(2).1, "a");
}

/// Row 2.11
#[test]
fn an_immediate_shutdown_throws_away_what_waits_and_counts_it_as_done() {
    let mut bench = queue();
    bench.fill(&["a", "b", "c"]);
    bench.ask(1, GET).unwrap();
    bench.wait(2, JoinQueue);
    assert_eq!(bench.ask(0, SHUTDOWN_NOW), DONE, "one is not done");
    assert_eq!(bench.ask(0, Size), number(0));
    assert_eq!(bench.ask(1, GET), Err(ObjectError::Closed));
    assert_eq!(bench.all_of(1, TaskDone, None), [(2, YES), (1, DONE)]);
    assert_eq!(bench.ask(1, TaskDone), Err(ObjectError::TooMany));
}

/// Row 2.11
#[test]
fn a_delivery_that_comes_back_after_an_immediate_shutdown_is_thrown_away() {
    let mut bench = queue();
    bench.fill(&["a"]);
    bench.take(1);
    bench.ask(0, SHUTDOWN_NOW).unwrap();
    bench.wait(0, JoinQueue);
    assert_eq!(bench.kill(1), [(0, YES)]);
    assert_eq!(bench.ask(2, Size), number(0));
}

/// Row 2.12
#[test]
fn a_join_waits_until_every_message_is_done() {
    let mut bench = queue();
    assert_eq!(bench.ask(9, JoinQueue), YES);
    bench.fill(&["a", "b", "c"]);
    bench.wait(9, JoinQueue);
    for _ in 0..2 {
        bench.ask(1, GET).unwrap();
        assert_eq!(bench.ask(1, TaskDone), DONE);
    }
    let (id, ..) = bench.take(1);
    assert_eq!(bench.all_of(1, Finish(id), None), [(9, YES), (1, DONE)]);
}

/// Row 2.12
#[test]
fn a_join_ends_at_its_timeout() {
    let mut bench = queue();
    bench.fill(&["a"]);
    bench.wait_for(9, JoinQueue, 100);
    assert_eq!(bench.pass(100), [(9, NO)]);
}

/// Row 2.13
#[test]
fn no_more_messages_are_done_than_were_got() {
    let mut bench = queue();
    assert_eq!(bench.ask(0, TaskDone), Err(ObjectError::TooMany));
    bench.fill(&["a", "b"]);
    bench.ask(1, GET).unwrap();
    assert_eq!(bench.ask(2, TaskDone), DONE, "another may say it");
    assert_eq!(bench.ask(1, TaskDone), Err(ObjectError::TooMany), "the other message still waits");
    assert_eq!(bench.look(9, JoinQueue), NO);
}

/// Row 2.14
#[test]
fn a_message_that_a_dead_consumer_took_returns_to_the_front_as_redelivered() {
    let mut bench = queue();
    bench.fill(&["a", "b"]);
    let (_, text, redelivered) = bench.take(1);
    assert_eq!((text.as_str(), redelivered), ("a", false));
    bench.kill(1);
    assert_eq!(bench.ask(2, Size), number(2));
    let (id, text, redelivered) = bench.take(2);
    assert_eq!((text.as_str(), redelivered), ("a", true));
    bench.ask(2, Finish(id)).unwrap();
    let (_, text, redelivered) = bench.take(2);
    assert_eq!((text.as_str(), redelivered), ("b", false));
}

/// Rows 0.11 and 2.14
#[test]
fn what_an_item_took_returns_at_its_end_to_those_who_wait() {
    let mut bench = queue();
    bench.fill(&["a"]);
    let (id, ..) = bench.take(1);
    bench.wait(2, Take);
    let returned = bench.end(1);
    assert!(
        matches!(&returned[..], [(2, Ok(Reply::Delivery { item, redelivered: true, .. }))] if item == b"a"),
        "{returned:?}"
    );
    assert_eq!(bench.ask(1, Finish(id)), Err(ObjectError::NotHeld));
}

#[test]
fn a_delivery_that_is_given_back_is_first_again_and_redelivered() {
    let mut bench = queue();
    bench.fill(&["a", "b"]);
    let (id, ..) = bench.take(1);
    assert_eq!(bench.ask(2, GiveBack(id)), Err(ObjectError::NotHolder));
    assert_eq!(bench.ask(1, GiveBack(id)), DONE);
    assert_eq!(bench.ask(1, GiveBack(id)), Err(ObjectError::NotHeld));
    assert_eq!(bench.ask(2, Size), number(2));
    let (id, text, redelivered) = bench.take(2);
    assert_eq!((text.as_str(), redelivered), ("a", true));
    // Whoever waits gets it at once.
    bench.ask(3, GET).unwrap();
    bench.wait(3, GET);
    let served = bench.all_of(2, GiveBack(id), None);
    assert_eq!(served, [(3, Ok(Reply::Many(vec![b"a".to_vec()]))), (2, DONE)]);
}

#[test]
fn a_delivery_that_is_given_back_comes_before_what_others_have_ahead() {
    let mut bench = queue();
    bench.fill(&["a", "b", "c", "d"]);
    let (id, ..) = bench.take(1);
    assert_eq!((bench.get(2), bench.get(2)), (Some("b".to_owned()), Some("c".to_owned())));
    assert_eq!(bench.ask(1, GiveBack(id)), DONE);
    assert_eq!((bench.get(2), bench.get(2)), (Some("a".to_owned()), Some("d".to_owned())));
}

/// Row 2.11
#[test]
fn a_delivery_that_is_given_back_after_an_immediate_shutdown_is_thrown_away() {
    let mut bench = queue();
    bench.fill(&["a"]);
    let (id, ..) = bench.take(1);
    assert_eq!(bench.ask(2, SHUTDOWN_NOW), DONE);
    bench.wait(9, JoinQueue);
    let answers = bench.all_of(1, GiveBack(id), None);
    assert_eq!(answers, [(9, YES), (1, DONE)]);
    assert_eq!(bench.look(2, GET), Err(ObjectError::Closed));
}

/// Row 2.14
#[test]
fn messages_return_in_the_order_in_which_they_were_put() {
    let mut bench = queue();
    bench.fill(&["a", "b", "c", "d", "e"]);
    for participant in [1, 2, 1, 3] {
        bench.take(participant);
    }
    bench.kill(3);
    bench.kill(1);
    bench.end(2);
    assert_eq!(bench.drain(), ["a", "b", "c", "d", "e"]);
}

/// Row 2.14
#[test]
fn a_message_that_was_got_counts_as_done_at_the_end_of_the_item() {
    let mut bench = queue();
    bench.fill(&["a", "b"]);
    bench.ask(1, Operation::Get { most: 2 }).unwrap();
    bench.wait(9, JoinQueue);
    assert_eq!(bench.kill(1), [(9, YES)]);
    assert_eq!(bench.ask(2, TaskDone), Err(ObjectError::TooMany));
}

/// Row 2.14
#[test]
fn only_its_taker_finishes_a_delivery_and_only_once() {
    let mut bench = queue();
    bench.fill(&["a"]);
    let (id, ..) = bench.take(1);
    assert_eq!(bench.ask(2, Finish(id)), Err(ObjectError::NotHolder));
    assert_eq!(bench.ask(1, Finish(id + 1)), Err(ObjectError::NotHeld));
    assert_eq!(bench.ask(1, Finish(id)), DONE);
    assert_eq!(bench.ask(1, Finish(id)), Err(ObjectError::NotHeld));
    bench.kill(1);
    assert_eq!(bench.ask(2, Size), number(0));
}

/// Row 2.15
#[test]
fn what_was_put_stays_when_its_producer_dies() {
    let mut bench = queue();
    bench.fill(&["a", "b"]);
    bench.kill(0);
    assert_eq!(bench.drain(), ["a", "b"]);
}

/// Row 2.16
#[test]
fn a_consumer_that_dies_while_it_waits_takes_no_message_with_it() {
    let mut bench = queue();
    bench.wait(1, GET);
    bench.wait(2, GET);
    bench.kill(1);
    assert_eq!(bench.all_of(0, put("a"), None), [(2, one("a")), (0, DONE)]);
}

/// Rows 0.8 and 2.15
#[test]
fn a_producer_that_dies_while_it_waits_puts_nothing() {
    let mut bench = bounded(1);
    bench.fill(&["a"]);
    bench.wait(1, put("b"));
    bench.wait(2, put("c"));
    bench.kill(1);
    assert_eq!(bench.all_of(3, GET, None), [(2, DONE), (3, one("a"))]);
    assert_eq!(bench.drain(), ["c"]);
}

/// Row 0.9
#[test]
fn who_waits_to_put_or_to_get_is_served_first_come_first_served() {
    let mut bench = bounded(1);
    for participant in [3, 1, 2] {
        bench.wait(participant, GET);
    }
    for (next, text) in [(3, "a"), (1, "b"), (2, "c")] {
        assert_eq!(bench.all_of(0, put(text), None), [(next, one(text)), (0, DONE)]);
    }
    bench.fill(&["d"]);
    bench.wait(5, put("e"));
    bench.wait(4, put("f"));
    assert_eq!(bench.all_of(1, GET, None), [(5, DONE), (1, one("d"))]);
    assert_eq!(bench.all_of(1, GET, None), [(4, DONE), (1, one("e"))]);
    assert_eq!(bench.ask(1, GET), one("f"));
}

/// Row 0.9
#[test]
fn a_short_message_does_not_overtake_a_long_one_that_waits() {
    let mut bench = Bench::with_quota(ObjectForm::Queue { capacity: None }, 100, 10);
    bench.fill(&["12345678"]);
    bench.wait(1, put("12345"));
    bench.wait(2, put("1"));
    assert_eq!(bench.look(3, put("2")), Err(ObjectError::Full));
    // When the long one has gone, there is room for the short one.
    assert_eq!(bench.kill(1), [(2, DONE)]);
}

/// Rows 0.12 and 6.19
#[test]
fn a_message_beyond_the_quota_is_refused_at_once_by_the_name_of_the_quota() {
    let mut bench = Bench::with_quota(ObjectForm::Queue { capacity: None }, 100, 10);
    let Err(ObjectError::Quota(which)) = bench.ask(0, put("12345678901")) else { panic!("it was taken") };
    assert!(which.contains(":bytes=10"), "{which}");
    assert_eq!(bench.ask(0, put("1234567890")), DONE);
    assert_eq!(bench.look(0, put("1")), Err(ObjectError::Full));
    assert_eq!(bench.look(0, put("")), DONE, "it has no bytes");
}

/// Row 6.19
#[test]
fn entries_beyond_the_quota_find_no_room() {
    let mut bench = Bench::with_quota(ObjectForm::Queue { capacity: None }, 2, 100);
    bench.fill(&["a", "b"]);
    assert_eq!(bench.look(0, put("c")), Err(ObjectError::Full));
    // What was taken can come back, so it keeps its place.
    let (id, ..) = bench.take(1);
    assert_eq!(bench.look(0, put("c")), Err(ObjectError::Full));
    bench.ask(1, Finish(id)).unwrap();
    assert_eq!(bench.look(0, put("c")), DONE);
}

/// Row 2.14
#[test]
fn a_message_that_was_taken_makes_room_within_the_capacity() {
    let mut bench = bounded(1);
    bench.fill(&["a"]);
    bench.wait(2, put("b"));
    let answers = bench.all_of(1, Take, None);
    assert!(answers.contains(&(2, DONE)), "{answers:?}");
    bench.kill(1);
    assert_eq!(bench.ask(0, Size), number(2), "nothing is lost for lack of room");
    assert_eq!(bench.look(0, put("c")), Err(ObjectError::Full));
    assert_eq!(bench.drain(), ["a", "b"]);
}

/// Row 2.17
#[test]
fn an_empty_message_is_a_message() {
    let mut bench = queue();
    bench.ask(0, put("")).unwrap();
    assert_eq!(bench.ask(1, Size), number(1));
    assert_eq!(bench.ask(1, GET), one(""));
}

#[test]
fn to_get_no_message_is_refused() {
    let mut bench = queue();
    assert!(matches!(bench.ask(0, Operation::Get { most: 0 }), Err(ObjectError::Invalid(_))));
}

#[test]
fn a_get_of_many_is_bounded_in_bytes_and_returns_one_at_least() {
    let mut bench = queue();
    let long = "x".repeat(700 << 10);
    bench.fill(&[&long, &long, "a"]);
    let Ok(Reply::Many(got)) = bench.ask(1, Operation::Get { most: u32::MAX }) else { panic!("nothing") };
    assert_eq!(got.len(), 1);
    let Ok(Reply::Many(got)) = bench.ask(1, Operation::Get { most: u32::MAX }) else { panic!("nothing") };
    assert_eq!(got.len(), 2);
}

#[test]
fn a_queue_shows_and_is_filled_with_its_messages_in_order() {
    use crate::contents::Contents;
    let mut bench = queue();
    let messages = Contents::Sequence(vec!["a".into(), "b".into()]);
    bench.machine.fill(0, messages.clone()).unwrap();
    assert_eq!(bench.machine.contents(0), Some(messages.clone()));
    bench.take(1);
    bench.kill(1);
    assert_eq!(bench.machine.contents(0), Some(messages));
    assert_eq!(bench.look(2, JoinQueue), NO);
}
