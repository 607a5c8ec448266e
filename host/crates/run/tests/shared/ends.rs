//! Ends of participants and of the manager.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use wasmpool_core::share::{ObjectForm, ObjectQuota, ObjectSpec};
use wasmpool_objects::operation::{Acquisition, Operation, PipeEnd, Reply};
use wasmpool_objects::wire;
use wasmpool_run::error::Error;
use wasmpool_run::shared::SharedEvent;

use crate::support::*;

#[test]
fn a_lock_of_a_participant_that_died_goes_to_the_next_who_is_told() {
    let objects = objects(&[spec("gate", ObjectForm::Lock)]);
    let (mut first, mut second) = (Client::new(&objects, "first"), Client::new(&objects, "second"));
    assert_eq!(first.ask(0, Operation::Acquire, None), Ok(Reply::Acquired(Acquisition::Acquired)));
    assert_eq!(second.ask(0, Operation::Acquire, NOW), Ok(Reply::Acquired(Acquisition::TimedOut)));
    second.send(0, Operation::Acquire, SOON);
    let _dead = first.dies();
    assert_eq!(second.answer(), Ok(Reply::Acquired(Acquisition::Abandoned("first".to_owned()))));
}

#[test]
fn what_a_participant_wrote_before_its_death_counts() {
    let objects = objects(&[spec("seen", ObjectForm::Dict)]);
    let mut client = Client::new(&objects, "a");
    for n in 0..1000 {
        client.send(0, Operation::DictSet(n.to_string(), vec![7; 100]), None);
    }
    drop(client.dies());
    objects.host().settle().unwrap();
    let length = objects.host().ask(0, Operation::Length, NOW).unwrap();
    assert_eq!(length, Ok(Reply::Number(1000)));
}

#[test]
fn the_end_of_an_item_releases_what_it_held_and_its_process_goes_on() {
    let objects = objects(&[spec("gate", ObjectForm::Lock)]);
    let mut client = Client::new(&objects, "a");
    assert_eq!(client.ask(0, Operation::Acquire, None), Ok(Reply::Acquired(Acquisition::Acquired)));
    client.channel.send(&wire::item_ended(1, false).parts(), false).unwrap();
    assert!(matches!(client.ask(0, Operation::Acquire, NOW), Ok(Reply::Acquired(Acquisition::Abandoned(_)))));
}

#[test]
fn the_next_holder_is_told_of_the_item_that_ended() {
    let objects = objects(&[spec("gate", ObjectForm::Lock)]);
    let (mut first, mut second) = (Client::new(&objects, "first"), Client::new(&objects, "second"));
    for item in [3, 4] {
        first.channel.send(&wire::item_began(item).parts(), false).unwrap();
        assert_eq!(first.ask(0, Operation::Acquire, None), Ok(Reply::Acquired(Acquisition::Acquired)));
        first.channel.send(&wire::item_ended(item, false).parts(), true).unwrap();
        let told = Acquisition::Abandoned(format!("first, item {item}"));
        assert_eq!(second.ask(0, Operation::Acquire, SOON), Ok(Reply::Acquired(told)));
        assert_eq!(second.ask(0, Operation::Release, None), Ok(Reply::Done));
    }
}

#[test]
fn a_detached_participant_holds_nothing_more_once_the_objects_are_settled() {
    let objects = objects(&[spec("gate", ObjectForm::Lock)]);
    let mut client = Client::new(&objects, "a");
    assert_eq!(client.ask(0, Operation::Acquire, None), Ok(Reply::Acquired(Acquisition::Acquired)));
    // Its descriptors stay open, as those of a stopped process do.
    let Client { channel: _open, participant } = client;
    drop(participant);
    objects.host().settle().unwrap();
    assert_eq!(objects.host().ask(0, Operation::IsLocked, NOW).unwrap(), Ok(Reply::Bool(false)));
}

#[test]
fn a_participant_that_is_being_killed_is_given_nothing_more_and_keeps_what_it_holds() {
    let objects = objects(&[spec("jobs", ObjectForm::Queue { capacity: None }), spec("gate", ObjectForm::Lock)]);
    let mut first = Client::new(&objects, "first");
    assert_eq!(first.ask(1, Operation::Acquire, None), Ok(Reply::Acquired(Acquisition::Acquired)));
    first.send(0, Operation::Get { most: 1 }, None);
    first.participant.ending();
    // The one that takes its place comes after it was said.
    let mut second = Client::new(&objects, "second");
    assert_eq!(second.ask(0, Operation::Put(b"a".to_vec()), None), Ok(Reply::Done));
    assert_eq!(second.ask(0, Operation::Get { most: 1 }, NOW), Ok(Reply::Many(vec![b"a".to_vec()])));
    assert_eq!(second.ask(1, Operation::Acquire, NOW), Ok(Reply::Acquired(Acquisition::TimedOut)));
    second.send(1, Operation::Acquire, SOON);
    let _dead = first.dies();
    assert_eq!(second.answer(), Ok(Reply::Acquired(Acquisition::Abandoned("first".to_owned()))));
}

#[test]
fn a_killed_manager_is_one_error_for_all_and_nobody_waits_for_ever() {
    let objects = objects(&[spec("gate", ObjectForm::Lock), spec("done", ObjectForm::Event)]);
    let (_listening, told) = told(&objects);
    let mut client = Client::new(&objects, "a");
    let waiting = objects.host().start(1, Operation::WaitEvent, None).unwrap();
    assert_eq!(client.ask(0, Operation::Acquire, None), Ok(Reply::Acquired(Acquisition::Acquired)));
    client.send(1, Operation::WaitEvent, None);
    kill(Pid::from_raw(objects.pid().unwrap().cast_signed()), Signal::SIGKILL).unwrap();
    // The participant sees the end of its channel.
    assert!(client.channel.recv().is_err());
    let Err(Error::Shared(message)) = waiting.wait() else { panic!("a wait ended well") };
    assert!(message.contains("SIGKILL") && message.contains("start the run again"), "{message}");
    assert!(matches!(told.recv().unwrap(), SharedEvent::Lost(Error::Shared(_))));
    assert!(matches!(objects.host().ask(0, Operation::Acquire, None), Err(Error::Shared(_))));
    assert!(matches!(objects.host().settle(), Err(Error::Shared(_))));
    // Whoever comes later is told as well.
    let (_listening, told) = crate::support::told(&objects);
    assert!(matches!(told.recv().unwrap(), SharedEvent::Lost(Error::Shared(_))));
    assert!(objects.attach("late", &all(&objects)).is_err());
}

#[test]
fn a_manager_that_stands_still_is_given_up_and_nobody_waits_for_ever() {
    let queue = ObjectSpec {
        quota: ObjectQuota { bytes: 64 << 20, ..ObjectQuota::default() },
        ..spec("jobs", ObjectForm::Queue { capacity: None })
    };
    let objects = objects(&[spec("gate", ObjectForm::Lock), queue]);
    let (_listening, told) = told(&objects);
    let client = Client::new(&objects, "a");
    kill(Pid::from_raw(objects.pid().unwrap().cast_signed()), Signal::SIGSTOP).unwrap();
    drop(client.participant);
    let ended = |result: Result<(), Error>| {
        let Err(Error::Shared(message)) = result else { panic!("a wait ended well") };
        assert!(message.contains("for 30 s") || message.contains("too long"), "{message}");
    };
    std::thread::scope(|scope| {
        scope.spawn(|| ended(objects.host().settle()));
        scope.spawn(|| ended(objects.host().ask(0, Operation::Acquire, None).map(drop)));
        // More than the ring holds.
        scope.spawn(|| ended(objects.host().ask(1, Operation::Put(vec![7; 16 << 20]), None).map(drop)));
        // More than the socket holds.
        scope.spawn(|| while objects.attach("late", &all(&objects)).is_ok() {});
    });
    assert!(matches!(told.recv().unwrap(), SharedEvent::Lost(Error::Shared(_))));
}

/// What takes something waits for the manager's answer: it would be lost otherwise.
#[test]
fn a_wait_for_an_event_ends_by_the_clock_of_the_host_if_the_manager_is_stopped() {
    let objects = objects(&[
        spec("done", ObjectForm::Event),
        spec("jobs", ObjectForm::Queue { capacity: None }),
        spec("line", ObjectForm::Pipe { duplex: false }),
    ]);
    assert_eq!(objects.host().ask(2, Operation::OpenEnd(PipeEnd::First), None).unwrap(), Ok(Reply::Done));
    assert_eq!(objects.host().ask(1, Operation::Put(b"kept".to_vec()), None).unwrap(), Ok(Reply::Done));
    let manager = Pid::from_raw(objects.pid().unwrap().cast_signed());
    kill(manager, Signal::SIGSTOP).unwrap();
    let ask = |object, operation| objects.host().ask(object, operation, NOW).unwrap();
    assert_eq!(ask(0, Operation::WaitEvent), Ok(Reply::Bool(false)));
    assert_eq!(ask(1, Operation::JoinQueue), Ok(Reply::Bool(false)));
    assert_eq!(ask(2, Operation::Poll(PipeEnd::First)), Ok(Reply::Bool(false)));
    assert_eq!(ask(2, Operation::PollAny(vec![(2, PipeEnd::First)])), Ok(Reply::Places(Vec::new())));
    let got = objects.host().start(1, Operation::Get { most: 1 }, NOW).unwrap();
    kill(manager, Signal::SIGCONT).unwrap();
    assert_eq!(got.wait().unwrap(), Ok(Reply::Many(vec![b"kept".to_vec()])));
}

#[test]
fn the_manager_ends_with_the_objects() {
    let objects = objects(&[spec("gate", ObjectForm::Lock)]);
    let pid = Pid::from_raw(objects.pid().unwrap().cast_signed());
    kill(pid, None).unwrap();
    drop(objects);
    assert_eq!(kill(pid, None), Err(nix::errno::Errno::ESRCH));
}

#[test]
fn objects_that_are_all_mapped_need_no_manager() {
    use wasmpool_core::share::NumberType;
    let objects = objects(&[spec("total", ObjectForm::Value(NumberType::S64))]);
    assert_eq!(objects.pid(), None);
    let attached = objects.attach("a", &all(&objects)).unwrap();
    assert!(attached.participant.is_none());
    assert_eq!(attached.descriptors.len(), 1);
}
