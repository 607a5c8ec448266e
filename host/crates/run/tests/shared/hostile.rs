//! Participants that do what no honest worker does: each costs itself, and harms nobody else.

use std::sync::mpsc::Receiver;

use wasmpool_core::share::ObjectForm;
use wasmpool_ipc::channel::words::Credit;
use wasmpool_objects::operation::{Acquisition, MOST_PARTS, ObjectError, Operation, Reply, Request};
use wasmpool_objects::wire;
use wasmpool_run::shared::SharedEvent;

use crate::support::*;

/// Checks that this participant was told of, and that the others go on.
fn is_reported(told: &Receiver<SharedEvent>, hostile: &mut Client, other: &mut Client, why: &str) {
    match told.recv().unwrap() {
        SharedEvent::Violation { participant, why: told } => {
            assert_eq!(participant, hostile.participant.number());
            assert!(told.contains(why), "{told}");
        }
        SharedEvent::Cut { why, .. } => panic!("{why}"),
        SharedEvent::Lost(e) => panic!("{e}"),
    }
    // Its channel is closed.
    while hostile.channel.recv().is_ok() {}
    assert!(matches!(other.ask(0, Operation::Acquire, SOON), Ok(Reply::Acquired(_))));
    assert_eq!(other.ask(0, Operation::Release, None), Ok(Reply::Done));
}

#[test]
fn a_frame_that_means_nothing_ends_its_sender_alone() {
    let objects = objects(&[spec("gate", ObjectForm::Lock)]);
    let (_listening, told) = told(&objects);
    let (mut hostile, mut other) = (Client::new(&objects, "hostile"), Client::new(&objects, "other"));
    // What it holds is released.
    assert_eq!(hostile.ask(0, Operation::Acquire, None), Ok(Reply::Acquired(Acquisition::Acquired)));
    hostile.channel.send(&[b"nonsense"], true).unwrap();
    is_reported(&told, &mut hostile, &mut other, "malformed");
}

#[test]
fn a_put_without_credit_ends_its_sender_alone() {
    let objects = objects(&[spec("gate", ObjectForm::Lock), spec("jobs", ObjectForm::Queue { capacity: None })]);
    let (_listening, told) = told(&objects);
    let (mut hostile, mut other) = (Client::new(&objects, "hostile"), Client::new(&objects, "other"));
    hostile.channel.send(&wire::put_on_credit(1, b"message").parts(), true).unwrap();
    is_reported(&told, &mut hostile, &mut other, "credit");
}

#[test]
fn an_entry_or_an_element_without_credit_ends_its_sender_alone() {
    let frames = [wire::set_on_credit(1, "key", b"value").to_vec(), wire::put_on_credit(1, b"value").to_vec()];
    for form in [ObjectForm::Dict, ObjectForm::List, ObjectForm::Lock] {
        for frame in &frames {
            let objects = objects(&[spec("gate", ObjectForm::Lock), spec("other", form.clone())]);
            let (_listening, told) = told(&objects);
            let (mut hostile, mut other) = (Client::new(&objects, "hostile"), Client::new(&objects, "other"));
            hostile.channel.send(&[frame], true).unwrap();
            is_reported(&told, &mut hostile, &mut other, "credit");
        }
    }
}

/// It has written into its own word that it has credit.
#[test]
fn credit_that_a_participant_gave_itself_ends_it_alone() {
    let objects = objects(&[spec("gate", ObjectForm::Lock), spec("seen", ObjectForm::Dict)]);
    let (_listening, told) = told(&objects);
    let (mut hostile, mut other) = (Client::new(&objects, "hostile"), Client::new(&objects, "other"));
    hostile.channel.words(1).credit.grant(Credit::capped(10, 1000));
    let frame = wire::set_on_credit(1, "key", b"value");
    assert!(hostile.channel.send_on_credit(1, 8, &frame.parts()).unwrap());
    // Whoever asks has it read.
    assert_eq!(other.ask(1, Operation::Length, SOON), Ok(Reply::Number(0)));
    is_reported(&told, &mut hostile, &mut other, "credit");
}

#[test]
fn a_frame_longer_than_any_request_can_be_ends_its_sender_alone() {
    let objects = objects(&[spec("gate", ObjectForm::Lock)]);
    let (_listening, told) = told(&objects);
    let (mut hostile, mut other) = (Client::new(&objects, "hostile"), Client::new(&objects, "other"));
    let long = vec![0; 200 << 20];
    // The manager does not wait for the rest.
    let _ = hostile.channel.send(&[&long], true);
    is_reported(&told, &mut hostile, &mut other, "longer");
}

#[test]
fn an_object_that_was_not_granted_cannot_be_reached() {
    let objects = objects(&[spec("gate", ObjectForm::Lock), spec("secret", ObjectForm::Lock)]);
    let mut grants = all(&objects);
    grants.objects.truncate(1);
    let mut client = Client::with(&objects, "a", &grants);
    for object in [1, 2, 63, u16::MAX] {
        assert!(client.ask(object, Operation::Acquire, NOW).is_err());
    }
    assert_eq!(objects.host().ask(1, Operation::IsLocked, None).unwrap(), Ok(Reply::Bool(false)));
}

#[test]
fn a_participant_that_takes_no_answers_keeps_no_other_waiting() {
    let objects = objects(&[spec("gate", ObjectForm::Lock), spec("large", ObjectForm::Dict)]);
    let (mut greedy, mut other) = (Client::new(&objects, "greedy"), Client::new(&objects, "other"));
    let set = Operation::DictSet("key".to_owned(), vec![1; 1 << 20]);
    assert!(matches!(other.ask(1, set, None), Ok(Reply::Number(_))));
    for _ in 0..500 {
        greedy.send(1, Operation::DictGet("key".to_owned()), None);
    }
    for _ in 0..100 {
        assert!(matches!(other.ask(0, Operation::Acquire, SOON), Ok(Reply::Acquired(_))));
        assert_eq!(other.ask(0, Operation::Release, None), Ok(Reply::Done));
    }
}

#[test]
fn a_request_of_more_parts_than_one_may_have_ends_its_sender_and_is_refused_to_the_host() {
    let objects = objects(&[spec("gate", ObjectForm::Lock), spec("all", ObjectForm::List)]);
    let (_listening, told) = told(&objects);
    let (mut hostile, mut other) = (Client::new(&objects, "hostile"), Client::new(&objects, "other"));
    let many = Operation::ListExtend(vec![Vec::new(); MOST_PARTS + 1]);
    assert!(matches!(objects.host().ask(1, many.clone(), None).unwrap(), Err(ObjectError::Quota(_))));
    hostile.send(1, many, None);
    is_reported(&told, &mut hostile, &mut other, "more parts");
    assert_eq!(objects.host().ask(1, Operation::Length, None).unwrap(), Ok(Reply::Number(0)));
}

/// A participant that asks for one long answer after the other, without waiting for them.
#[test]
fn long_answers_of_one_leave_others_their_turn_and_come_whole() {
    let objects = objects(&[spec("gate", ObjectForm::Lock), spec("all", ObjectForm::List)]);
    let (mut greedy, mut other) = (Client::new(&objects, "greedy"), Client::new(&objects, "other"));
    assert_eq!(other.ask(1, Operation::ListExtend(vec![Vec::new(); MOST_PARTS]), None), Ok(Reply::Done));
    for _ in 0..40 {
        greedy.send(1, Operation::ListRange { start: 0, most: u32::MAX }, None);
    }
    assert!(matches!(other.ask(0, Operation::Acquire, SOON), Ok(Reply::Acquired(_))));
    for _ in 0..40 {
        assert!(matches!(greedy.answer(), Ok(Reply::Many(all)) if all.len() == MOST_PARTS));
    }
}

/// The length of a value that is long, and how many answers of it are asked for: more than fits any machine.
const LONG: usize = 48 << 20;
const GREEDY: usize = 1500;

/// Returns the most memory that a process has had, in bytes.
fn most_memory(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

/// Has participants ask for a long value very often and take no answer, and checks that the manager goes on and has made
/// few of them.
fn ask_greedily(count: usize, ends: bool) {
    let objects = objects(&[
        spec("gate", ObjectForm::Lock),
        spec("large", ObjectForm::Dict),
        spec("list", ObjectForm::List),
        spec("jobs", ObjectForm::Queue { capacity: None }),
    ]);
    let mut other = Client::new(&objects, "other");
    let long = vec![1; LONG];
    assert!(matches!(other.ask(1, Operation::DictSet("key".to_owned(), long.clone()), None), Ok(Reply::Number(_))));
    assert_eq!(other.ask(2, Operation::ListExtend(vec![long.clone()]), None), Ok(Reply::Done));
    assert_eq!(other.ask(3, Operation::Put(long), None), Ok(Reply::Done));
    let before = most_memory(objects.pid().unwrap());
    let mut greedy: Vec<Client> = (0..count).map(|_| Client::new(&objects, "greedy")).collect();
    for client in &mut greedy {
        for n in 0..GREEDY {
            let (object, operation) = match n % 3 {
                0 => (1, Operation::DictGet("key".to_owned())),
                1 => (2, Operation::ListGet(0)),
                _ => (3, Operation::Take),
            };
            // The manager need not be woken for each.
            let request = Request { object, operation, timeout: NOW };
            client.channel.send(&wire::ask(0, &request).parts(), false).unwrap();
        }
        let _ = client.channel.announce().unwrap();
    }
    // The participants are not detached yet.
    let mut ended = Vec::new();
    if ends {
        ended.extend(greedy.drain(..).map(Client::dies));
    }
    for _ in 0..100 {
        assert!(matches!(other.ask(0, Operation::Acquire, SOON), Ok(Reply::Acquired(_))));
        assert_eq!(other.ask(0, Operation::Release, None), Ok(Reply::Done));
    }
    // A message that was taken by a participant that has ended is there again.
    if ends {
        assert!(matches!(other.ask(3, Operation::Get { most: 1 }, SOON), Ok(Reply::Many(_))));
    }
    let more = most_memory(objects.pid().unwrap()) - before;
    // Each has one answer that is kept for it, one that is being made, and a request.
    assert!(more < (3 * count + 2) * LONG, "{} MiB", more >> 20);
    drop((greedy, ended));
}

#[test]
fn the_unread_requests_of_a_participant_that_has_ended_are_not_answered() {
    ask_greedily(1, true);
}

#[test]
fn participants_that_ask_for_more_than_they_take_cost_one_answer_each() {
    ask_greedily(1, false);
    ask_greedily(6, false);
}

#[test]
fn a_participant_that_takes_its_answers_late_gets_all_of_them() {
    let objects = objects(&[spec("large", ObjectForm::Dict)]);
    let mut late = Client::new(&objects, "late");
    let set = Operation::DictSet("key".to_owned(), vec![1; 1 << 20]);
    assert!(matches!(late.ask(0, set, None), Ok(Reply::Number(_))));
    for n in 0..200 {
        let operation = if n % 2 == 0 { Operation::DictGet("key".to_owned()) } else { Operation::Length };
        late.send(0, operation, None);
    }
    for n in 0..200 {
        match late.answer() {
            Ok(Reply::Entry(Some((value, _)))) if n % 2 == 0 => assert_eq!(value.len(), 1 << 20),
            Ok(Reply::Number(1)) if n % 2 == 1 => {}
            _ => panic!("another answer than the next"),
        }
    }
}
