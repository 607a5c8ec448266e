//! Pipes.

use super::*;
use crate::operation::PipeEnd;
use Operation::{CloseEnd, OpenEnd, Poll, PollAny};
use PipeEnd::{First, Second};

/// A pipe whose first end is of participant 0, and whose second is of participant 1.
fn open(duplex: bool) -> Bench {
    opened(Bench::new(ObjectForm::Pipe { duplex }))
}

fn opened(mut bench: Bench) -> Bench {
    bench.ask(0, OpenEnd(First)).unwrap();
    bench.ask(1, OpenEnd(Second)).unwrap();
    bench
}

fn send(end: PipeEnd, text: &str) -> Operation {
    Operation::Send(end, text.into())
}

fn recv(end: PipeEnd) -> Operation {
    Operation::Recv { end, at_most: None }
}

fn text(text: &str) -> Answer {
    Ok(Reply::Bytes(text.into()))
}

/// Row 3.1
#[test]
fn a_duplex_pipe_goes_both_ways() {
    let mut bench = open(true);
    bench.ask(0, send(First, "a")).unwrap();
    bench.ask(1, send(Second, "b")).unwrap();
    assert_eq!(bench.ask(1, recv(Second)), text("a"));
    assert_eq!(bench.ask(0, recv(First)), text("b"));
}

/// Rows 3.1 and 3.2
#[test]
fn a_pipe_of_one_direction_refuses_the_other() {
    let mut bench = open(false);
    assert_eq!(bench.ask(0, send(First, "a")), Err(ObjectError::NotWritable));
    assert_eq!(bench.ask(1, recv(Second)), Err(ObjectError::NotReadable));
    assert_eq!(bench.ask(1, Poll(Second)), Err(ObjectError::NotReadable));
    assert_eq!(bench.ask(1, send(Second, "b")), DONE);
    assert_eq!(bench.ask(0, recv(First)), text("b"));
}

/// Row 3.3
#[test]
fn messages_keep_their_borders() {
    let mut bench = open(false);
    for message in ["a", "", "bc"] {
        bench.ask(1, send(Second, message)).unwrap();
    }
    for message in ["a", "", "bc"] {
        assert_eq!(bench.ask(0, Poll(First)), YES);
        assert_eq!(bench.ask(0, recv(First)), text(message));
    }
    assert_eq!(bench.look(0, Poll(First)), NO);
    assert_eq!(bench.look(0, recv(First)), Err(ObjectError::Timeout));
}

/// Row 3.4
#[test]
fn a_poll_waits_until_a_message_is_there_and_takes_nothing() {
    let mut bench = open(false);
    assert_eq!(bench.look(0, Poll(First)), NO);
    bench.wait_for(0, Poll(First), 100);
    assert_eq!(bench.pass(100), [(0, NO)]);
    bench.wait_for(0, Poll(First), 100);
    assert_eq!(bench.all_of(1, send(Second, "a"), None), [(0, YES), (1, DONE)]);
    assert_eq!(bench.ask(0, Poll(First)), YES);
    assert_eq!(bench.ask(0, recv(First)), text("a"));
    assert_eq!(bench.look(0, Poll(First)), NO);
}

/// Row 3.5
#[test]
fn a_poll_is_not_woken_by_a_message_that_another_receives() {
    let mut bench = open(false);
    bench.ask_of(0, 100, 0, Poll(First), None);
    bench.ask_of(0, 101, 0, recv(First), None);
    let answers = bench.ask_of(1, 1, 0, send(Second, "a"), None);
    assert_eq!(answers.iter().map(|answered| answered.ticket).collect::<Vec<_>>(), [101, 1]);
    let answers = bench.ask_of(1, 1, 0, send(Second, "b"), None);
    assert_eq!(answers.iter().map(|answered| answered.ticket).collect::<Vec<_>>(), [100, 1]);
}

/// Rows 3.6 and 3.7
#[test]
fn a_send_waits_for_room_until_its_timeout() {
    let mut bench = opened(Bench::with_quota(ObjectForm::Pipe { duplex: false }, 100, 10));
    bench.ask(1, send(Second, "12345678")).unwrap();
    assert_eq!(bench.look(1, send(Second, "123")), Err(ObjectError::Full));
    bench.wait_for(1, send(Second, "123"), 100);
    assert_eq!(bench.pass(100), [(1, Err(ObjectError::Full))]);
    bench.wait(1, send(Second, "123"));
    assert_eq!(bench.all_of(0, recv(First), None), [(1, DONE), (0, text("12345678"))]);
    let Err(ObjectError::Quota(which)) = bench.ask(1, send(Second, "12345678901")) else { panic!("it was taken") };
    assert!(which.contains(":bytes=10"), "{which}");
}

/// Row 3.7
#[test]
fn what_is_sent_in_one_direction_takes_no_room_from_the_other() {
    let mut bench = opened(Bench::with_quota(ObjectForm::Pipe { duplex: true }, 2, 20));
    bench.ask(0, send(First, "1234567890")).unwrap();
    assert_eq!(bench.look(0, send(First, "")), Err(ObjectError::Full));
    assert_eq!(bench.ask(1, send(Second, "1234567890")), DONE);
}

/// Row 3.8
#[test]
fn the_end_comes_after_the_messages_of_a_closed_peer() {
    let mut bench = open(false);
    bench.ask(1, send(Second, "a")).unwrap();
    bench.ask(1, CloseEnd(Second)).unwrap();
    assert_eq!(bench.ask(0, recv(First)), text("a"));
    assert_eq!(bench.ask(0, Poll(First)), YES);
    assert_eq!(bench.ask(0, recv(First)), Err(ObjectError::Eof));
}

/// Row 3.9
#[test]
fn nothing_is_sent_to_a_closed_peer() {
    let mut bench = opened(Bench::with_quota(ObjectForm::Pipe { duplex: false }, 1, 10));
    bench.ask(1, send(Second, "a")).unwrap();
    bench.wait(1, send(Second, "b"));
    assert_eq!(bench.all_of(0, CloseEnd(First), None), [(1, Err(ObjectError::ClosedByPeer)), (0, DONE)]);
    assert_eq!(bench.ask(1, send(Second, "c")), Err(ObjectError::ClosedByPeer));
}

/// Rows 0.11 and 3.10
#[test]
fn the_end_of_an_item_closes_its_end_of_a_pipe_for_good() {
    let mut bench = open(true);
    bench.ask(1, send(Second, "a")).unwrap();
    bench.ask(0, recv(First)).unwrap();
    bench.wait(0, recv(First));
    assert_eq!(bench.end(1), [(0, Err(ObjectError::Eof))]);
    assert_eq!(bench.ask(1, OpenEnd(Second)), Err(ObjectError::Closed));
    assert_eq!(bench.ask(2, OpenEnd(Second)), Err(ObjectError::Closed));
    assert_eq!(bench.ask(0, send(First, "b")), Err(ObjectError::ClosedByPeer));
}

/// Row 3.10
#[test]
fn the_death_of_a_peer_ends_the_waits_of_the_other() {
    let mut bench = open(false);
    bench.wait(0, Poll(First));
    assert_eq!(bench.kill(1), [(0, YES)]);
    assert_eq!(bench.ask(0, recv(First)), Err(ObjectError::Eof));
}

/// Rows 0.5 and 3.11
#[test]
fn a_closed_end_is_closed_for_everything() {
    let mut bench = open(true);
    bench.ask(0, CloseEnd(First)).unwrap();
    for operation in [recv(First), send(First, "a"), Poll(First), OpenEnd(First)] {
        assert_eq!(bench.ask(0, operation), Err(ObjectError::Closed));
    }
}

/// Row 0.6
#[test]
fn to_close_an_end_twice_is_nothing() {
    let mut bench = open(true);
    assert_eq!(bench.ask(0, CloseEnd(First)), DONE);
    assert_eq!(bench.ask(0, CloseEnd(First)), DONE);
}

/// Row 3.11
#[test]
fn a_wait_at_an_end_that_its_owner_closes_is_ended_as_closed() {
    let mut bench = open(true);
    bench.ask_of(0, 100, 0, recv(First), None);
    let answers = bench.ask_of(0, 0, 0, CloseEnd(First), None);
    assert_eq!((answers[0].ticket, &answers[0].answer), (100, &Err(ObjectError::Closed)));
}

/// Row 3.1
#[test]
fn an_end_has_one_owner() {
    let mut bench = open(true);
    assert_eq!(bench.ask(0, OpenEnd(First)), DONE, "to open one's own again is nothing");
    assert_eq!(bench.ask(2, OpenEnd(First)), Err(ObjectError::NotHolder));
    assert_eq!(bench.ask(2, recv(First)), Err(ObjectError::NotHolder));
    assert_eq!(bench.ask(2, CloseEnd(First)), Err(ObjectError::NotHolder));
    bench.kill(2);
    assert_eq!(bench.ask(0, send(First, "a")), DONE);
}

/// Row 3.12
#[test]
fn a_message_that_is_too_long_stays() {
    let mut bench = open(false);
    bench.ask(1, send(Second, "12345")).unwrap();
    let short = Operation::Recv { end: First, at_most: Some(4) };
    assert_eq!(bench.ask(0, short.clone()), Err(ObjectError::TooLong(5)));
    assert_eq!(bench.ask(0, recv(First)), text("12345"));
    bench.wait(0, short);
    assert_eq!(bench.all_of(1, send(Second, "67890"), None), [(0, Err(ObjectError::TooLong(5))), (1, DONE)]);
    assert_eq!(bench.ask(0, Operation::Recv { end: First, at_most: Some(5) }), text("67890"));
}

/// Two pipes; participant 0 has the first end of each, and participants 1 and 2 the second.
fn two() -> Bench {
    let mut bench = Bench::of(vec![spec(ObjectForm::Pipe { duplex: false }); 2], PLAIN);
    for (participant, object, end) in [(0, 0, First), (0, 1, First), (1, 0, Second), (2, 1, Second)] {
        bench.ask_of(participant, 0, object, OpenEnd(end), None);
    }
    bench
}

fn places(places: &[u32]) -> Answer {
    Ok(Reply::Places(places.to_vec()))
}

fn both() -> Operation {
    PollAny(vec![(0, First), (1, First)])
}

/// Row 3.15
#[test]
fn a_wait_for_several_ends_tells_which_of_them_can_be_received_from() {
    let mut bench = two();
    assert_eq!(bench.look(0, both()), places(&[]));
    bench.wait(0, both());
    let answers = bench.ask_of(2, 2, 1, send(Second, "a"), None);
    assert_eq!((answers[0].participant, &answers[0].answer), (0, &places(&[1])));
    bench.ask_of(1, 1, 0, send(Second, "b"), None);
    assert_eq!(bench.ask(0, both()), places(&[0, 1]));
    assert_eq!(bench.ask(0, PollAny(vec![(1, First), (1, First), (0, First)])), places(&[0, 1, 2]));
}

/// Row 3.15
#[test]
fn a_wait_for_several_ends_ends_at_its_timeout_and_leaves_all_lines() {
    let mut bench = two();
    bench.wait_for(0, both(), 100);
    assert_eq!(bench.pass(100), [(0, places(&[]))]);
    let answers = bench.ask_of(1, 1, 0, send(Second, "a"), None);
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(bench.machine.waiting(), 0);
    assert!(!format!("{:?}", bench.machine).contains("Any("), "nothing is left of it");
}

/// Row 3.15
#[test]
fn a_wait_for_several_ends_sees_the_death_of_a_peer() {
    let mut bench = two();
    bench.wait(0, both());
    assert_eq!(bench.kill(2), [(0, places(&[1]))]);
    assert_eq!(bench.ask(0, both()), places(&[1]));
}

/// Row 3.15
#[test]
fn a_wait_for_several_ends_is_refused_if_one_of_them_is_not_ones_own() {
    let mut bench = two();
    assert_eq!(bench.ask(1, both()), Err(ObjectError::NotHolder));
    assert!(matches!(bench.ask(0, PollAny(vec![])), Err(ObjectError::Invalid(_))));
    assert!(matches!(bench.ask(0, PollAny(vec![(7, First)])), Err(ObjectError::Denied(_))));
}
