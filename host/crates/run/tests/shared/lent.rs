//! Locks that are lent, and what is set and appended on credit, with a real manager process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use wasmpool_core::share::ObjectForm;
use wasmpool_ipc::channel::lock_word::Released;
use wasmpool_objects::operation::{Acquisition, Answer, Operation, Reply};
use wasmpool_objects::wire;

use crate::support::*;

const ACQUIRED: Answer = Ok(Reply::Acquired(Acquisition::Acquired));

impl Client {
    /// Acquires the lock as workers do. Returns true if it was not asked for.
    fn acquire(&mut self) -> bool {
        let is_lent = self.channel.words(0).lock.acquire();
        if !is_lent {
            assert_eq!(self.ask(0, Operation::Acquire, SOON), ACQUIRED);
        }
        is_lent
    }

    fn release(&mut self) {
        match self.channel.words(0).lock.release() {
            Released::Released => {}
            Released::ReleasedAndWanted => self.channel.send(&wire::released(0).parts(), true).unwrap(),
            Released::NotHeld => panic!("it is not lent"),
        }
    }
}

/// Row 5.1
#[test]
fn a_lock_that_is_lent_has_one_holder_at_a_time() {
    let objects = objects(&[spec("gate", ObjectForm::Lock)]);
    let held = AtomicBool::new(false);
    let turn = |client: &mut Client| {
        let is_lent = client.acquire();
        assert!(!held.swap(true, Ordering::Relaxed), "two hold it");
        held.store(false, Ordering::Relaxed);
        client.release();
        u32::from(is_lent)
    };
    let mut alone = Client::new(&objects, "alone");
    let lent: u32 = (0..1000).map(|_| turn(&mut alone)).sum();
    assert_eq!(lent, 999);
    thread::scope(|scope| {
        for nth in 0..4 {
            let (objects, turn) = (&objects, &turn);
            scope.spawn(move || {
                let mut client = Client::new(objects, &nth.to_string());
                (0..500).for_each(|_| _ = turn(&mut client));
            });
        }
    });
    // Who only held it once is no obstacle.
    turn(&mut alone);
}

/// Row 5.5
#[test]
fn a_lent_lock_of_a_participant_that_died_is_told_of_only_if_it_was_held() {
    let objects = objects(&[spec("gate", ObjectForm::Lock)]);
    for holds in [true, false] {
        let mut dying = Client::new(&objects, "dying");
        assert_eq!(dying.ask(0, Operation::Acquire, SOON), ACQUIRED);
        if !holds {
            dying.release();
        }
        let participant = dying.dies();
        let mut next = Client::new(&objects, "next");
        let expected = if holds { Acquisition::Abandoned("dying".to_owned()) } else { Acquisition::Acquired };
        assert_eq!(next.ask(0, Operation::Acquire, SOON), Ok(Reply::Acquired(expected)));
        next.release();
        drop((participant, next.dies()));
    }
}

#[test]
fn who_says_that_it_holds_a_lock_that_it_was_not_lent_keeps_nobody_from_it() {
    let objects = objects(&[spec("gate", ObjectForm::Lock)]);
    let (hostile, mut other) = (Client::new(&objects, "hostile"), Client::new(&objects, "other"));
    hostile.channel.words(0).lock.lend(true);
    assert_eq!(other.ask(0, Operation::Acquire, SOON), ACQUIRED);
    other.release();
    assert!(other.acquire());
}

#[test]
fn who_does_not_tell_of_a_release_keeps_others_waiting_until_their_timeout_at_most() {
    let objects = objects(&[spec("gate", ObjectForm::Lock)]);
    let (mut hostile, mut other) = (Client::new(&objects, "hostile"), Client::new(&objects, "other"));
    let short = Some(Duration::from_millis(50));
    assert_eq!(hostile.ask(0, Operation::Acquire, SOON), ACQUIRED);
    assert_eq!(other.ask(0, Operation::Acquire, short), Ok(Reply::Acquired(Acquisition::TimedOut)));
    assert_eq!(hostile.channel.words(0).lock.release(), Released::ReleasedAndWanted);
    assert_eq!(other.ask(0, Operation::Acquire, short), ACQUIRED);
}

#[test]
fn a_release_that_nobody_wants_to_know_of_changes_nothing() {
    let objects = objects(&[spec("gate", ObjectForm::Lock), spec("secret", ObjectForm::Lock)]);
    let mut grants = all(&objects);
    grants.objects.truncate(1);
    let (mut hostile, mut other) = (Client::with(&objects, "a", &grants), Client::new(&objects, "other"));
    for object in [0, 1] {
        assert_eq!(other.ask(object, Operation::Acquire, SOON), ACQUIRED);
    }
    for object in [0, 1, 2, u16::MAX] {
        hostile.channel.send(&wire::released(object).parts(), true).unwrap();
    }
    assert_eq!(hostile.ask(0, Operation::Acquire, NOW), Ok(Reply::Acquired(Acquisition::TimedOut)));
    assert_eq!(objects.host().ask(1, Operation::IsLocked, None).unwrap(), Ok(Reply::Bool(true)));
}

/// Row 2.6, for lists and dicts.
#[test]
fn what_was_set_or_appended_on_credit_is_seen_by_whoever_asks_later() {
    let objects = objects(&[spec("all", ObjectForm::List), spec("seen", ObjectForm::Dict)]);
    let mut client = Client::new(&objects, "a");
    let mut on_credit = 0;
    for number in 1..500_u64 {
        let value = number.to_le_bytes();
        if client.channel.send_on_credit(0, 8, &wire::put_on_credit(0, &value).parts()).unwrap() {
            on_credit += 1;
        } else {
            assert_eq!(client.ask(0, Operation::ListExtend(vec![value.to_vec()]), None), Ok(Reply::Done));
        }
        if client.channel.send_on_credit(1, 11, &wire::set_on_credit(1, "key", &value).parts()).unwrap() {
            on_credit += 1;
        } else {
            let set = Operation::DictSet("key".to_owned(), value.to_vec());
            assert_eq!(client.ask(1, set, None), Ok(Reply::Number(number)));
        }
        if number % 50 == 0 {
            assert_eq!(objects.host().ask(0, Operation::Length, None).unwrap(), Ok(Reply::Number(number)));
            let entry = objects.host().ask(1, Operation::DictGet("key".to_owned()), None).unwrap();
            assert_eq!(entry, Ok(Reply::Entry(Some((value.to_vec(), number)))));
        }
    }
    assert!(on_credit > 800, "{on_credit}");
    // What it wrote before its death counts.
    let value = 0_u64.to_le_bytes();
    assert!(client.channel.send_on_credit(0, 8, &wire::put_on_credit(0, &value).parts()).unwrap());
    drop(client.dies());
    assert_eq!(objects.host().ask(0, Operation::ListPop(-1), None).unwrap(), Ok(Reply::Bytes(value.to_vec())));
}
