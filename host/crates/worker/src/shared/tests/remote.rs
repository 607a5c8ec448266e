//! The way over a channel, with a manager that the test plays.

use std::os::fd::AsFd;
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::shared::objects::{Lost, Objects};
use crate::shared::remote::RemoteObjects;
use wasmpool_ipc::channel;
use wasmpool_ipc::channel::client::ChannelClient;
use wasmpool_ipc::channel::server::ChannelServer;
use wasmpool_ipc::channel::words::Credit;
use wasmpool_objects::operation::{Operation, Reply, Request};
use wasmpool_objects::wire::{self, ManagerFrame, ParticipantFrame};

fn pair() -> (RemoteObjects, ChannelServer) {
    let (client, server) = channel::create().unwrap();
    (RemoteObjects::new(ChannelClient::open(client).unwrap()), ChannelServer::open(server, 8 << 20).unwrap())
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

#[test]
fn a_manager_that_is_gone_is_lost() {
    let (mut objects, server) = pair();
    drop(server);
    assert_eq!(objects.ask(Request { object: 0, operation: Operation::Size, timeout: None }), Err(Lost));
    assert_eq!(objects.get(0, None).err(), Some(Lost));
}
