//! The host as a participant.

use std::thread;
use std::time::{Duration, Instant};

use wasmpool_core::share::{ObjectForm, ObjectQuota, ObjectSpec};
use wasmpool_objects::operation::{Acquisition, MOST_PARTS, ObjectError, Operation, PipeEnd, Reply};

use crate::support::*;

#[test]
fn many_threads_of_the_host_ask_at_the_same_time_and_each_gets_its_answer() {
    let objects = objects(&[spec("seen", ObjectForm::Dict)]);
    thread::scope(|scope| {
        for thread in 0..8 {
            let objects = &objects;
            scope.spawn(move || {
                for n in 0..200 {
                    let key = format!("{thread}-{n}");
                    let set = Operation::DictSet(key.clone(), key.clone().into_bytes());
                    assert!(matches!(objects.host().ask(0, set, None).unwrap(), Ok(Reply::Number(_))));
                    match objects.host().ask(0, Operation::DictGet(key.clone()), None).unwrap() {
                        Ok(Reply::Entry(Some((value, _)))) => assert_eq!(value, key.into_bytes()),
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
    });
    assert_eq!(objects.host().ask(0, Operation::Length, None).unwrap(), Ok(Reply::Number(1600)));
}

#[test]
fn a_thread_of_the_host_that_waits_keeps_no_other_from_asking() {
    let objects = objects(&[spec("done", ObjectForm::Event)]);
    let waiting = objects.host().start(0, Operation::WaitEvent, None).unwrap();
    assert!(waiting.wait_at_most(Duration::ZERO).is_none());
    assert_eq!(objects.host().ask(0, Operation::Set, None).unwrap(), Ok(Reply::Done));
    assert_eq!(waiting.wait().unwrap(), Ok(Reply::Bool(true)));
}

#[test]
fn a_wait_ends_at_its_timeout_and_never_before() {
    let objects = objects(&[spec("done", ObjectForm::Event)]);
    let (start, timeout) = (Instant::now(), Duration::from_millis(50));
    assert_eq!(objects.host().ask(0, Operation::WaitEvent, Some(timeout)).unwrap(), Ok(Reply::Bool(false)));
    assert!(start.elapsed() >= timeout);
}

#[test]
fn what_one_participant_releases_another_gets() {
    let objects = objects(&[spec("gate", ObjectForm::Lock)]);
    let mut client = Client::new(&objects, "a");
    assert_eq!(client.ask(0, Operation::Acquire, None), Ok(Reply::Acquired(Acquisition::Acquired)));
    let waiting = objects.host().start(0, Operation::Acquire, None).unwrap();
    assert_eq!(client.ask(0, Operation::Release, None), Ok(Reply::Done));
    assert_eq!(waiting.wait().unwrap(), Ok(Reply::Acquired(Acquisition::Acquired)));
    assert_eq!(client.ask(0, Operation::Release, None), Err(ObjectError::NotHolder));
}

#[test]
fn values_larger_than_a_ring_come_across_whole() {
    let objects = objects(&[spec("large", ObjectForm::Dict)]);
    let value: Vec<u8> = (0..5_000_000u32).map(|n| (n * 7 % 251) as u8).collect();
    let mut client = Client::new(&objects, "a");
    let set = Operation::DictSet("key".to_owned(), value.clone());
    assert!(matches!(client.ask(0, set, None), Ok(Reply::Number(_))));
    for answer in [
        client.ask(0, Operation::DictGet("key".to_owned()), None),
        objects.host().ask(0, Operation::DictGet("key".to_owned()), None).unwrap(),
    ] {
        match answer {
            Ok(Reply::Entry(Some((got, _)))) => assert!(got == value),
            _ => panic!("no value"),
        }
    }
}

/// Such a request is longer than any frame that the manager accepts, which takes its sender for hostile: here the program.
#[test]
fn a_request_of_the_host_that_could_never_fit_is_refused_and_ends_nothing() {
    let none = ObjectQuota { entries: 0, bytes: 0 };
    let without_room = |name: &str, form| ObjectSpec { quota: none, ..spec(name, form) };
    let objects = objects(&[
        spec("jobs", ObjectForm::Queue { capacity: None }),
        spec("seen", ObjectForm::Dict),
        spec("found", ObjectForm::List),
        spec("line", ObjectForm::Pipe { duplex: true }),
        without_room("no jobs", ObjectForm::Queue { capacity: None }),
        without_room("nothing seen", ObjectForm::Dict),
        without_room("nothing found", ObjectForm::List),
    ]);
    assert_eq!(objects.host().ask(3, Operation::OpenEnd(PipeEnd::Second), None).unwrap(), Ok(Reply::Done));
    let (long, key) = (vec![0; 90 << 20], "k".repeat(90 << 20));
    let many = MOST_PARTS;
    for (object, operation) in [
        (0, Operation::Put(long.clone())),
        (1, Operation::DictGet(key.clone())),
        (1, Operation::DictContains(key.clone())),
        (1, Operation::DictPop(key.clone())),
        (1, Operation::DictIncrement(key.clone(), 1)),
        (1, Operation::DictSet("key".to_owned(), long.clone())),
        (1, Operation::DictSetMany(vec![("key".to_owned(), long.clone())])),
        (1, Operation::DictCompareAndSet { key: "key".to_owned(), version: None, value: long.clone() }),
        (1, Operation::DictPage { after: Some(key.clone()), most: 1 }),
        (1, Operation::DictKeys { after: Some(key.clone()), most: 1 }),
        (2, Operation::ListExtend(vec![long.clone()])),
        (2, Operation::ListExtend(vec![vec![0; 9 << 10]; many])),
        (2, Operation::ListInsert(0, long.clone())),
        (2, Operation::ListSet(0, long.clone())),
        (2, Operation::ListCompareAndSet { index: 0, expected: long.clone(), value: Vec::new() }),
        (3, Operation::Send(PipeEnd::Second, long.clone())),
        (4, Operation::Put(long.clone())),
        (5, Operation::DictGet(key.clone())),
        (5, Operation::DictSetMany(vec![(String::new(), Vec::new()); many])),
        (6, Operation::ListExtend(vec![Vec::new(); many])),
    ] {
        let answer = objects.host().ask(object, operation, NOW).unwrap();
        assert!(matches!(answer, Err(ObjectError::Quota(_))), "{object} {:?}", answer.map(drop));
    }
    // What the manager itself can refuse it still does.
    assert_eq!(objects.host().ask(5, Operation::DictGet("key".to_owned()), None).unwrap(), Ok(Reply::Entry(None)));
    assert_eq!(objects.host().ask(0, Operation::Size, None).unwrap(), Ok(Reply::Number(0)));
}
