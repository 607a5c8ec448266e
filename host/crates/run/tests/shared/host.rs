//! The host as a participant.

use std::thread;
use std::time::{Duration, Instant};

use wasmpool_core::share::ObjectForm;
use wasmpool_objects::operation::{Acquisition, ObjectError, Operation, Reply};

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
