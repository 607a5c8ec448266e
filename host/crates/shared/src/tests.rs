//! The way over a channel, with a manager that the test plays.

use std::os::fd::AsFd;
use std::sync::atomic::AtomicU32;
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::objects::{Lost, Objects};
use crate::remote::RemoteObjects;
use wasmpool_ipc::channel;
use wasmpool_ipc::channel::client::ChannelClient;
use wasmpool_ipc::channel::server::ChannelServer;
use wasmpool_ipc::channel::words::Credit;
use wasmpool_objects::operation::{Acquisition, Answer, ObjectError, Operation, Reply, Request};
use wasmpool_objects::wire::{self, ManagerFrame, ParticipantFrame};

fn pair() -> (RemoteObjects, ChannelServer) {
    let (client, server) = channel::create().unwrap();
    static ASKS: AtomicU32 = AtomicU32::new(0);
    (
        RemoteObjects::new(ChannelClient::open(client).unwrap(), false, &ASKS),
        ChannelServer::open(server, 8 << 20).unwrap(),
    )
}

/// Returns the next frame of the participant.
fn next(server: &mut ChannelServer) -> ParticipantFrame {
    loop {
        if let Some(frame) = server.read().unwrap() {
            return ParticipantFrame::decode(frame).unwrap();
        }
        server.wake().unwrap();
        if !server.announce() {
            poll(&mut [PollFd::new(server.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
            server.heard().unwrap();
        }
        server.retract();
    }
}

fn answer(server: &mut ChannelServer, reply: Reply) {
    send(server, ManagerFrame::Answer { ticket: 0, answer: Ok(reply) });
}

fn send(server: &mut ChannelServer, frame: ManagerFrame) {
    server.write(&frame.encode().parts()).unwrap();
    server.wake().unwrap();
}

fn ahead(server: &mut ChannelServer, object: u16, messages: &[&str]) {
    server.words(object).ahead.extend(messages.len() as u32);
    let messages: Vec<&[u8]> = messages.iter().map(|message| message.as_bytes()).collect();
    server.write(&wire::ahead(object, &messages).parts()).unwrap();
    server.wake().unwrap();
}

fn asked(object: u16, operation: Operation) -> ParticipantFrame {
    ParticipantFrame::Ask { ticket: 0, request: Request { object, operation, timeout: None } }
}

#[test]
fn puts_with_credit_are_not_asked_for() {
    let (mut objects, mut server) = pair();
    server.words(3).credit.grant(Credit::capped(2, 10));
    let played = thread::spawn(move || {
        let put = |message: &[u8]| ParticipantFrame::PutOnCredit { object: 3, message: message.to_vec() };
        assert_eq!(next(&mut server), put(b"one"));
        // Two entries are granted, but not the bytes.
        assert_eq!(next(&mut server), asked(3, Operation::Put(b"too long".to_vec())));
        answer(&mut server, Reply::Done);
        assert_eq!(next(&mut server), put(b"two"));
        assert_eq!(next(&mut server), asked(3, Operation::Put(b"three".to_vec())));
        answer(&mut server, Reply::Done);
    });
    for message in [&b"one"[..], b"too long", b"two", b"three"] {
        assert_eq!(objects.put(3, message, None), Ok(Ok(Reply::Done)));
    }
    played.join().unwrap();
}

#[test]
fn messages_ahead_are_got_without_asking_unless_they_are_recalled() {
    let (mut objects, mut server) = pair();
    let played = thread::spawn(move || {
        let get = || asked(0, Operation::Get { most: 1 });
        assert_eq!(next(&mut server), get());
        ahead(&mut server, 0, &["b", "c", "d"]);
        answer(&mut server, Reply::Many(vec![b"a".to_vec()]));
        // The next question comes once two of them are taken, and the third is recalled.
        assert_eq!(next(&mut server), asked(0, Operation::Size));
        assert_eq!(server.words(0).ahead.recall(3), 2);
        answer(&mut server, Reply::Number(1));
        assert_eq!(next(&mut server), get());
        ahead(&mut server, 0, &["e"]);
        answer(&mut server, Reply::Many(vec![b"d".to_vec()]));
    });
    let get = |objects: &mut RemoteObjects| String::from_utf8(objects.get(0, None).unwrap().unwrap()).unwrap();
    assert_eq!([get(&mut objects), get(&mut objects), get(&mut objects)], ["a", "b", "c"]);
    assert!(objects.ask(Request { object: 0, operation: Operation::Size, timeout: None }).is_ok());
    assert_eq!([get(&mut objects), get(&mut objects)], ["d", "e"]);
    played.join().unwrap();
}

#[test]
fn many_messages_are_got_from_those_ahead_without_asking() {
    let (mut objects, mut server) = pair();
    let played = thread::spawn(move || {
        assert_eq!(next(&mut server), asked(0, Operation::Get { most: 2 }));
        ahead(&mut server, 0, &["c", "d", "e"]);
        answer(&mut server, Reply::Many(vec![b"a".to_vec(), b"b".to_vec()]));
        // The next question comes once all are taken.
        assert_eq!(next(&mut server), asked(0, Operation::Get { most: 2 }));
        assert_eq!(server.words(0).ahead.recall(3), 3);
        answer(&mut server, Reply::Many(vec![b"f".to_vec()]));
    });
    let many = |objects: &mut RemoteObjects| match objects.get_many(0, 2, None) {
        Ok(Ok(Reply::Many(messages))) => String::from_utf8(messages.concat()).unwrap(),
        other => panic!("{other:?}"),
    };
    let got: Vec<String> = (0..4).map(|_| many(&mut objects)).collect();
    assert_eq!(got, ["ab", "cd", "e", "f"]);
    played.join().unwrap();
}

#[test]
fn messages_ahead_are_given_back_at_the_end_of_the_item() {
    let (mut objects, mut server) = pair();
    let played = thread::spawn(move || {
        let get = || asked(0, Operation::Get { most: 1 });
        assert_eq!(next(&mut server), get());
        ahead(&mut server, 0, &["b", "c", "d"]);
        answer(&mut server, Reply::Many(vec![b"a".to_vec()]));
        assert!(matches!(next(&mut server), ParticipantFrame::ItemEnded { failed: true, .. }));
        // Only `b` was taken.
        assert_eq!(server.words(0).ahead.recall(3), 1);
        assert_eq!(next(&mut server), get());
        ahead(&mut server, 0, &["d"]);
        answer(&mut server, Reply::Many(vec![b"c".to_vec()]));
    });
    let get = |objects: &mut RemoteObjects| String::from_utf8(objects.get(0, None).unwrap().unwrap()).unwrap();
    assert_eq!([get(&mut objects), get(&mut objects)], ["a", "b"]);
    objects.item_ended(true).unwrap();
    assert_eq!([get(&mut objects), get(&mut objects)], ["c", "d"]);
    played.join().unwrap();
}

/// Asks an object for something, without a timeout.
fn ask(objects: &mut RemoteObjects, object: u16, operation: Operation) -> Answer {
    objects.ask(Request { object, operation, timeout: None }).unwrap()
}

const ACQUIRED: Answer = Ok(Reply::Acquired(Acquisition::Acquired));
const DONE: Answer = Ok(Reply::Done);

/// Lends a lock to whoever asks for it.
fn lend(server: &mut ChannelServer, object: u16, nests: bool) {
    assert_eq!(next(server), asked(object, Operation::Acquire));
    server.words(object).lock.lend(nests);
    answer(server, Reply::Acquired(Acquisition::Acquired));
}

#[test]
fn a_lent_lock_is_acquired_and_released_without_asking_until_it_is_wanted() {
    let (mut objects, mut server) = pair();
    let played = thread::spawn(move || {
        lend(&mut server, 1, false);
        // Nothing came meanwhile, and it is held.
        assert_eq!(next(&mut server), asked(0, Operation::Size));
        assert!(!server.words(1).lock.want());
        answer(&mut server, Reply::Number(0));
        assert_eq!(next(&mut server), ParticipantFrame::Released { object: 1 });
        assert!(server.words(1).lock.want());
        assert_eq!(next(&mut server), asked(1, Operation::Acquire));
        answer(&mut server, Reply::Acquired(Acquisition::TimedOut));
        assert_eq!(next(&mut server), asked(1, Operation::Release));
        send(&mut server, ManagerFrame::Answer { ticket: 0, answer: Err(ObjectError::NotHeld) });
    });
    for _ in 0..100 {
        assert_eq!(ask(&mut objects, 1, Operation::Acquire), ACQUIRED);
        assert_eq!(ask(&mut objects, 1, Operation::Release), DONE);
    }
    assert_eq!(ask(&mut objects, 1, Operation::Acquire), ACQUIRED);
    ask(&mut objects, 0, Operation::Size).unwrap();
    assert_eq!(ask(&mut objects, 1, Operation::Release), DONE);
    assert_eq!(ask(&mut objects, 1, Operation::Acquire), Ok(Reply::Acquired(Acquisition::TimedOut)));
    assert_eq!(ask(&mut objects, 1, Operation::Release), Err(ObjectError::NotHeld));
    played.join().unwrap();
}

#[test]
fn the_next_item_neither_acquires_nor_releases_a_lock_in_the_name_of_the_last() {
    for holds in [false, true] {
        let (mut objects, mut server) = pair();
        let played = thread::spawn(move || {
            lend(&mut server, 1, false);
            assert!(matches!(next(&mut server), ParticipantFrame::ItemEnded { .. }));
            assert_eq!(server.words(1).lock.take_back(), holds);
            assert_eq!(next(&mut server), asked(1, Operation::Release));
            send(&mut server, ManagerFrame::Answer { ticket: 0, answer: Err(ObjectError::NotHeld) });
            lend(&mut server, 1, false);
        });
        assert_eq!(ask(&mut objects, 1, Operation::Acquire), ACQUIRED);
        if !holds {
            assert_eq!(ask(&mut objects, 1, Operation::Release), DONE);
        }
        objects.item_ended(false).unwrap();
        assert_eq!(ask(&mut objects, 1, Operation::Release), Err(ObjectError::NotHeld));
        assert_eq!(ask(&mut objects, 1, Operation::Acquire), ACQUIRED);
        played.join().unwrap();
    }
}

#[test]
fn a_lent_rlock_is_released_as_often_as_it_was_acquired() {
    let (mut objects, mut server) = pair();
    let played = thread::spawn(move || {
        lend(&mut server, 1, true);
        for free in [false, true] {
            assert_eq!(next(&mut server), asked(0, Operation::Size));
            assert_eq!(server.words(1).lock.is_held(), !free);
            answer(&mut server, Reply::Number(0));
        }
    });
    for _ in 0..3 {
        assert_eq!(ask(&mut objects, 1, Operation::Acquire), ACQUIRED);
    }
    for _ in 0..2 {
        assert_eq!(ask(&mut objects, 1, Operation::Release), DONE);
    }
    ask(&mut objects, 0, Operation::Size).unwrap();
    assert_eq!(ask(&mut objects, 1, Operation::Release), DONE);
    ask(&mut objects, 0, Operation::Size).unwrap();
    played.join().unwrap();
}

#[test]
fn a_lock_that_is_not_lent_is_asked_for_each_time() {
    let (mut objects, mut server) = pair();
    let played = thread::spawn(move || {
        for _ in 0..2 {
            assert_eq!(next(&mut server), asked(1, Operation::Acquire));
            answer(&mut server, Reply::Acquired(Acquisition::Acquired));
            assert_eq!(next(&mut server), asked(1, Operation::Release));
            answer(&mut server, Reply::Done);
        }
    });
    for _ in 0..2 {
        assert_eq!(ask(&mut objects, 1, Operation::Acquire), ACQUIRED);
        assert_eq!(ask(&mut objects, 1, Operation::Release), DONE);
    }
    played.join().unwrap();
}

#[test]
fn elements_are_appended_on_credit_one_by_one() {
    let (mut objects, mut server) = pair();
    server.words(2).credit.grant(Credit::capped(1, 10));
    let append =
        |values: &[&str]| Operation::ListExtend(values.iter().map(|value| value.as_bytes().to_vec()).collect());
    let played = thread::spawn(move || {
        assert_eq!(next(&mut server), asked(2, append(&["a", "b"])));
        answer(&mut server, Reply::Done);
        let put = ParticipantFrame::PutOnCredit { object: 2, message: b"c".to_vec() };
        assert_eq!(next(&mut server), put);
        assert_eq!(next(&mut server), asked(2, append(&["d"])));
        answer(&mut server, Reply::Done);
    });
    for values in [&["a", "b"][..], &["c"], &["d"]] {
        assert_eq!(ask(&mut objects, 2, append(values)), DONE);
    }
    played.join().unwrap();
}

fn set(key: &str, value: &str) -> Operation {
    Operation::DictSet(key.to_owned(), value.into())
}

fn entry(value: &str, version: u64) -> Answer {
    Ok(Reply::Entry(Some((value.into(), version))))
}

#[test]
fn entries_are_set_on_credit_and_remembered_until_another_changes_the_dict() {
    let (mut objects, mut server) = pair();
    let get = |key: &str| Operation::DictGet(key.to_owned());
    let played = thread::spawn(move || {
        assert_eq!(next(&mut server), asked(4, set("a", "1")));
        server.words(4).credit.grant(Credit::capped(2, 100));
        answer(&mut server, Reply::Number(7));
        for (key, value) in [("a", "2"), ("b", "3")] {
            let set = ParticipantFrame::SetOnCredit { object: 4, key: key.to_owned(), value: value.into() };
            assert_eq!(next(&mut server), set);
        }
        // There is no credit left.
        assert_eq!(next(&mut server), asked(4, set("a", "4")));
        answer(&mut server, Reply::Number(20));
        assert_eq!(next(&mut server), asked(4, get("none")));
        answer(&mut server, Reply::Entry(None));
        assert_eq!(next(&mut server), asked(0, Operation::Size));
        server.words(4).changes.tell();
        answer(&mut server, Reply::Number(0));
        // Another changes it before the answer is read, so the answer is not remembered.
        for version in [21, 22] {
            assert_eq!(next(&mut server), asked(4, get("a")));
            if version == 21 {
                server.words(4).changes.tell();
            }
            answer(&mut server, Reply::Entry(Some((b"x".to_vec(), version))));
        }
        assert_eq!(next(&mut server), asked(4, Operation::DictPop("a".to_owned())));
        answer(&mut server, Reply::MaybeBytes(Some(b"x".to_vec())));
        assert_eq!(next(&mut server), asked(4, get("a")));
        answer(&mut server, Reply::Entry(None));
    });
    assert_eq!(ask(&mut objects, 4, set("a", "1")), Ok(Reply::Number(7)));
    assert_eq!(ask(&mut objects, 4, get("a")), entry("1", 7));
    assert_eq!(ask(&mut objects, 4, set("a", "2")), Ok(Reply::Number(8)));
    assert_eq!(ask(&mut objects, 4, set("b", "3")), Ok(Reply::Number(9)));
    assert_eq!(ask(&mut objects, 4, get("a")), entry("2", 8));
    assert_eq!(ask(&mut objects, 4, set("a", "4")), Ok(Reply::Number(20)));
    for _ in 0..2 {
        assert_eq!(ask(&mut objects, 4, get("b")), entry("3", 9));
        assert_eq!(ask(&mut objects, 4, get("a")), entry("4", 20));
        assert_eq!(ask(&mut objects, 4, get("none")), Ok(Reply::Entry(None)));
    }
    ask(&mut objects, 0, Operation::Size).unwrap();
    assert_eq!(ask(&mut objects, 4, get("a")), entry("x", 21));
    assert_eq!(ask(&mut objects, 4, get("a")), entry("x", 22));
    assert_eq!(ask(&mut objects, 4, get("a")), entry("x", 22));
    ask(&mut objects, 4, Operation::DictPop("a".to_owned())).unwrap();
    assert_eq!(ask(&mut objects, 4, get("a")), Ok(Reply::Entry(None)));
    played.join().unwrap();
}

#[test]
fn a_manager_that_is_gone_is_lost() {
    let (mut objects, server) = pair();
    drop(server);
    assert_eq!(objects.ask(Request { object: 0, operation: Operation::Size, timeout: None }), Err(Lost));
    assert_eq!(objects.get(0, None).err(), Some(Lost));
}
