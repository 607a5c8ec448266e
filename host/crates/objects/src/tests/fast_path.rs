//! Credits and messages ahead. They must not be seen but by their speed.

use super::*;
use Operation::{Size, Take, TaskDone};

fn queue(capacity: Option<u32>) -> Bench {
    Bench::fast(ObjectForm::Queue { capacity })
}

fn texts(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| number.to_string()).collect()
}

impl Bench {
    fn put_all(&mut self, participant: ParticipantId, from: usize, to: usize) {
        for text in texts(from, to) {
            assert_eq!(self.put(participant, &text), Some(DONE));
        }
    }

    fn get_many(&mut self, participant: ParticipantId, count: usize) -> Vec<String> {
        (0..count).map(|_| self.get(participant).unwrap()).collect()
    }

    fn count(&mut self, participant: ParticipantId) -> u64 {
        match self.ask(participant, Size) {
            Ok(Reply::Number(size)) => size,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_stream_of_puts_asks_once_in_many_messages() {
    let mut bench = queue(None);
    let mut asked = 0;
    for _ in 0..10_000 {
        if !bench.words.put(0, 0, b"x") {
            asked += 1;
            assert_eq!(bench.ask(0, put("x")), DONE);
        }
    }
    assert!(asked < 10_000 / 50, "{asked}");
    assert_eq!(bench.count(1), 10_000);
    assert_eq!(bench.violations(), []);
}

#[test]
fn a_stream_of_gets_asks_once_in_many_messages() {
    let mut bench = queue(None);
    bench.put_all(0, 0, 10_000);
    let mut asked = 0;
    for number in 0..10_000 {
        let got = bench.words.take(1, 0).unwrap_or_else(|| {
            asked += 1;
            let Ok(Reply::Many(got)) = bench.ask(1, GET) else { panic!("nothing") };
            got.concat()
        });
        assert_eq!(String::from_utf8(got).unwrap(), number.to_string());
    }
    assert!(asked < 10_000 / 50, "{asked}");
    assert_eq!(bench.count(2), 0);
}

/// Row 2.6
#[test]
fn a_put_on_credit_is_seen_by_every_get_that_starts_later() {
    let mut bench = queue(None);
    bench.put_all(0, 0, 1);
    assert!(bench.words.put(0, 0, b"1"), "it has credit");
    // Nobody has read the ring of participant 0.
    assert_eq!(bench.get_many(1, 2), ["0", "1"]);
}

/// Row 2.6
#[test]
fn a_put_on_credit_whose_credit_was_taken_back_is_seen_by_every_get_that_starts_later() {
    let mut bench = queue(None);
    bench.put_all(0, 0, 1);
    assert!(bench.words.subtract(0, 0, 1));
    // Credit is taken back while the message is on the way.
    bench.put_all(1, 1, 2);
    assert_eq!(bench.words.credit(0), 0);
    bench.words.write(0, 0, b"2");
    assert_eq!(bench.get_many(2, 3), ["0", "1", "2"]);
    assert_eq!(bench.violations(), []);
}

/// Row 2.2
#[test]
fn puts_of_two_producers_keep_the_order_in_which_they_returned() {
    let mut bench = queue(None);
    for number in 0..100 {
        bench.put_all(number % 2, number as usize, number as usize + 1);
    }
    assert!(bench.words.credit(0) == 0 || bench.words.credit(1) == 0, "one participant has credit at a time");
    for number in (100..400).step_by(3) {
        bench.put_all(0, number, number + 2);
        bench.put_all(1, number + 2, number + 3);
    }
    assert_eq!(bench.get_many(3, 400), texts(0, 400));
}

/// Row 2.2
#[test]
fn gets_of_two_consumers_take_messages_in_their_order() {
    let mut bench = queue(None);
    bench.put_all(0, 0, 300);
    assert_eq!(bench.get_many(1, 100), texts(0, 100));
    assert!(bench.words.left(1) > 0, "it has messages ahead");
    assert_eq!(bench.get_many(2, 1), texts(100, 101));
    assert_eq!(bench.words.left(1), 0, "they were recalled");
    assert_eq!(bench.get_many(1, 1), texts(101, 102));
    assert_eq!(bench.get_many(2, 100), texts(102, 202));
    assert_eq!(bench.get_many(1, 98), texts(202, 300));
}

/// Row 2.3
#[test]
fn credit_never_exceeds_the_capacity() {
    let mut bench = queue(Some(100));
    let mut count = 0;
    while bench.words.put(0, 0, b"x") || bench.look(0, put("x")) == DONE {
        count += 1;
    }
    assert_eq!(count, 100);
    assert_eq!(bench.count(1), 100);
    assert_eq!(bench.violations(), []);
}

/// Row 2.3
#[test]
fn credit_that_nobody_uses_is_no_room_that_others_lack() {
    let mut bench = queue(Some(10));
    bench.put_all(0, 0, 1);
    assert!(bench.words.credit(0) > 0);
    for _ in 0..9 {
        assert_eq!(bench.look(1, put("x")), DONE);
    }
    assert_eq!(bench.look(1, put("x")), Err(ObjectError::Full));
    assert_eq!(bench.ask(2, Operation::IsFull), YES);
}

/// Row 2.3
#[test]
fn a_message_on_the_way_keeps_its_room() {
    let mut bench = queue(Some(2));
    bench.put_all(0, 0, 1);
    assert_eq!(bench.words.credit(0), 0, "half of the room is none");
    let mut bench = queue(Some(4));
    bench.put_all(0, 0, 1);
    assert!(bench.words.subtract(0, 0, 1));
    bench.put_all(1, 1, 3);
    assert_eq!(bench.look(1, put("x")), Err(ObjectError::Full), "the fourth is on the way");
    bench.words.write(0, 0, b"3");
    assert_eq!(bench.get_many(2, 4), texts(0, 4));
    assert_eq!(bench.violations(), []);
}

/// Rows 0.8 and 2.3
#[test]
fn the_room_of_a_message_that_never_came_is_free_when_its_producer_has_died() {
    let mut bench = queue(Some(4));
    bench.put_all(0, 0, 1);
    assert!(bench.words.subtract(0, 0, 1));
    bench.put_all(1, 1, 3);
    bench.wait(1, put("3"));
    assert_eq!(bench.kill(0), [(1, DONE)]);
    assert_eq!(bench.get_many(2, 4), texts(0, 4));
}

/// Row 2.15
#[test]
fn what_a_dead_producer_had_put_on_credit_is_in_the_queue() {
    let mut bench = queue(None);
    bench.put_all(0, 0, 9);
    assert!(!bench.words.rings[&0].is_empty(), "they were not read");
    bench.kill(0);
    assert_eq!(bench.get_many(1, 9), texts(0, 9));
}

#[test]
fn who_waits_for_a_message_is_woken_by_a_put_on_credit() {
    let mut bench = queue(None);
    bench.put_all(0, 0, 1);
    bench.get_many(1, 1);
    assert!(bench.words.put(0, 0, b"1"));
    assert!(bench.words.bells.is_empty(), "nobody waits");
    bench.get_many(1, 1);
    bench.wait(1, GET);
    assert!(bench.words.put(0, 0, b"2"));
    assert_eq!(bench.words.bells, [0]);
    assert_eq!(bench.read(0), [(1, one("2"))]);
    assert!(bench.words.put(0, 0, b"3"));
    assert_eq!(bench.words.bells, [0], "nobody waits any more");
}

#[test]
fn who_waits_is_woken_by_a_message_that_was_on_the_way_when_credit_was_taken_back() {
    let mut bench = queue(None);
    bench.put_all(0, 0, 1);
    assert!(bench.words.subtract(0, 0, 1));
    bench.put_all(1, 1, 2);
    bench.get_many(2, 2);
    bench.wait(2, GET);
    bench.words.write(0, 0, b"2");
    assert_eq!(bench.words.bells, [0]);
    assert_eq!(bench.read(0), [(2, one("2"))]);
}

#[test]
fn a_put_that_could_not_see_that_it_is_wanted_is_found_all_the_same() {
    let mut bench = queue(None);
    bench.put_all(0, 0, 1);
    bench.get_many(1, 1);
    bench.words.late = Some(b"1".to_vec());
    assert_eq!(bench.all_of(1, GET, None), [(1, one("1"))]);
    assert!(bench.words.bells.is_empty());
}

/// Row 2.10
#[test]
fn a_message_on_the_way_is_got_before_a_queue_that_was_shut_down_is_closed() {
    let mut bench = queue(None);
    bench.put_all(0, 0, 1);
    assert!(bench.words.subtract(0, 0, 1));
    bench.ask(1, Operation::Shutdown { immediately: false }).unwrap();
    bench.get_many(2, 1);
    bench.wait(2, GET);
    bench.wait(3, GET);
    bench.words.write(0, 0, b"1");
    assert_eq!(bench.read(0), [(2, one("1")), (3, Err(ObjectError::Closed))]);
    assert_eq!(bench.ask(2, GET), Err(ObjectError::Closed));
    assert_eq!(bench.ask(0, put("2")), Err(ObjectError::Closed));
    assert_eq!(bench.violations(), []);
}

/// Row 2.11
#[test]
fn an_immediate_shutdown_throws_away_what_is_ahead_and_on_the_way() {
    let mut bench = queue(None);
    bench.put_all(0, 0, 20);
    bench.get_many(1, 3);
    assert!(bench.words.left(1) > 0);
    assert!(bench.words.subtract(0, 0, 1));
    bench.ask(2, Operation::Shutdown { immediately: true }).unwrap();
    assert_eq!(bench.count(2), 0);
    assert_eq!(bench.words.take(1, 0), None);
    bench.words.write(0, 0, b"x");
    assert_eq!(bench.ask(1, GET), Err(ObjectError::Closed));
    assert_eq!(bench.violations(), []);
    for _ in 0..3 {
        bench.ask(1, TaskDone).unwrap();
    }
    assert_eq!(bench.ask(2, Operation::JoinQueue), YES);
}

/// Row 2.7
#[test]
fn messages_ahead_count_until_they_are_taken() {
    let mut bench = queue(None);
    bench.put_all(0, 0, 20);
    bench.get_many(1, 2);
    let ahead = bench.words.left(1);
    assert!(ahead >= 2);
    assert_eq!(bench.count(2), 18);
    bench.words.take(1, 0).unwrap();
    assert_eq!(bench.count(2), 17);
    bench.get_many(1, 17);
    assert_eq!(bench.count(2), 0);
}

/// Row 2.12
#[test]
fn messages_taken_ahead_are_got() {
    let mut bench = queue(None);
    bench.put_all(0, 0, 20);
    bench.get_many(1, 20);
    for _ in 0..20 {
        assert_eq!(bench.ask(1, TaskDone), DONE);
    }
    assert_eq!(bench.ask(1, TaskDone), Err(ObjectError::TooMany));
    assert_eq!(bench.ask(2, Operation::JoinQueue), YES);
}

/// Rows 2.14 and 2.19
#[test]
fn messages_ahead_that_a_dead_consumer_did_not_take_are_the_first_again() {
    let mut bench = queue(None);
    bench.put_all(0, 0, 30);
    bench.get_many(1, 10);
    assert!(bench.words.left(1) > 0);
    bench.kill(1);
    let Ok(Reply::Delivery { item, redelivered, .. }) = bench.ask(2, Take) else { panic!("nothing") };
    assert_eq!((item.as_slice(), redelivered), (&b"10"[..], false), "nobody had taken it");
    assert_eq!(bench.get_many(3, 19), texts(11, 30));
}

/// Rows 0.11 and 2.14
#[test]
fn an_item_that_ends_gives_back_what_it_has_ahead() {
    let mut bench = queue(None);
    bench.put_all(0, 0, 30);
    bench.get_many(1, 10);
    bench.end(1);
    assert_eq!(bench.words.take(1, 0), None);
    assert_eq!(bench.get_many(1, 1), texts(10, 11));
    assert_eq!(bench.words.left(1), 0, "who gets a single message is sent no more");
    bench.end(1);
    assert_eq!(bench.get_many(2, 19), texts(11, 30));
    bench.end(2);
    assert_eq!(bench.ask(3, Operation::JoinQueue), YES);
}

/// Row 2.14
#[test]
fn a_delivery_that_returns_comes_before_what_others_have_ahead() {
    let mut bench = queue(None);
    bench.put_all(0, 0, 30);
    bench.ask(5, Take).unwrap();
    bench.get_many(1, 10);
    assert!(bench.words.left(1) > 0);
    bench.kill(5);
    assert_eq!(bench.get_many(1, 20), ["0"].into_iter().map(str::to_owned).chain(texts(11, 30)).collect::<Vec<_>>());
}

/// Row 2.14
#[test]
fn deliveries_that_return_while_returned_ones_are_ahead_keep_their_order() {
    let mut bench = queue(None);
    bench.put_all(0, 0, 12);
    for participant in [6, 5, 5, 5, 5, 5] {
        bench.ask(participant, Take).unwrap();
    }
    bench.kill(5);
    // Returned messages are ahead when an earlier one returns.
    assert_eq!(bench.get_many(1, 2), texts(1, 3));
    assert!(bench.words.left(1) > 0);
    bench.kill(6);
    assert_eq!(bench.get_many(1, 1), texts(0, 1));
    assert_eq!(bench.get_many(1, 9), texts(3, 12));
}

/// Row 2.3
#[test]
fn a_producer_that_waits_for_room_gets_it_when_messages_ahead_are_taken() {
    let mut bench = queue(Some(40));
    for number in 0..40 {
        assert_eq!(bench.put(0, &number.to_string()), Some(DONE));
    }
    bench.get_many(1, 20);
    let free = 20;
    for number in 40..40 + free {
        assert_eq!(bench.put(0, &number.to_string()), Some(DONE));
    }
    let ahead = bench.words.left(1);
    assert!(ahead >= 2, "{ahead}");
    bench.wait(0, put("60"));
    let due = bench.machine.next_deadline().unwrap();
    assert_eq!(due, bench.now + Duration::from_millis(1), "it looks again");
    for _ in 0..ahead.div_ceil(2) {
        assert!(bench.words.bells.is_empty());
        bench.words.take(1, 0).unwrap();
    }
    assert_eq!(bench.words.bells, [1], "it is woken when half is taken");
    assert_eq!(bench.tick(), [(0, DONE)]);
    assert_eq!(bench.machine.next_deadline(), None);
}

/// Row 2.3
#[test]
fn a_producer_that_waits_for_room_gets_it_after_a_millisecond_at_the_latest() {
    let mut bench = queue(Some(8));
    for number in 0..8 {
        bench.put(0, &number.to_string()).unwrap().unwrap();
    }
    bench.get_many(1, 2);
    for number in 8..10 {
        bench.put(0, &number.to_string()).unwrap().unwrap();
    }
    bench.wait(0, put("10"));
    assert_eq!(bench.pass(1), [], "nothing was taken");
    assert!(bench.machine.next_deadline().is_some());
    bench.words.take(1, 0).unwrap();
    assert_eq!(bench.pass(1), [(0, DONE)]);
}

#[test]
fn a_participant_without_a_fast_path_asks_for_everything() {
    let mut bench = Bench::new(ObjectForm::Queue { capacity: None });
    for _ in 0..100 {
        bench.ask(0, put("x")).unwrap();
        assert_eq!(bench.words.credit(0), 0);
    }
    for _ in 0..100 {
        bench.ask(1, GET).unwrap();
        assert_eq!(bench.words.left(1), 0);
    }
}

/// Row 6.19
#[test]
fn credit_and_messages_ahead_are_bounded_in_bytes() {
    let mut bench = queue(None);
    let long = "x".repeat(200 << 10);
    for _ in 0..20 {
        bench.put(0, &long).unwrap().unwrap();
        let bytes: u64 = bench.words.credits.values().map(|credit| credit.bytes).sum();
        assert!(bytes <= 256 << 10, "{bytes}");
    }
    for _ in 0..20 {
        assert!(bench.get(1).is_some());
        assert!(bench.words.left(1) <= 1);
    }
}

#[test]
fn the_memory_of_a_queue_is_flat_while_messages_pass() {
    let mut bench = queue(None);
    for number in 0..200_000 {
        bench.put(0, &number.to_string()).unwrap().unwrap();
        if number % 100 == 99 {
            assert_eq!(bench.get_many(1, 100).last(), Some(&number.to_string()));
            if number % 1000 == 999 {
                bench.end(1);
            }
        }
    }
    assert_eq!(bench.count(2), 0);
    assert_eq!(bench.machine.waiting(), 0);
}
