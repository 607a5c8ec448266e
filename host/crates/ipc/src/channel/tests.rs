//! Tests of both ends of a channel in one process, and of a participant that is hostile.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use proptest::prelude::*;

use super::client::ChannelClient;
use super::region::{RING, Region};
use super::server::ChannelServer;
use super::words::Credit;
use super::{Violation, create};
use crate::bell::Heard;

const LONGEST: u32 = 8 << 20;

fn pair() -> (ChannelClient, ChannelServer) {
    let (client, server) = create().unwrap();
    (ChannelClient::open(client).unwrap(), ChannelServer::open(server, LONGEST).unwrap())
}

/// Returns the memory of a participant beside the two ends, for what an honest end does not do.
fn pair_and_memory() -> (ChannelClient, ChannelServer, Region) {
    let (client, server) = create().unwrap();
    let region = Region::map(&client.memory).unwrap();
    (ChannelClient::open(client).unwrap(), ChannelServer::open(server, LONGEST).unwrap(), region)
}

fn filled(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + seed) as u8).collect()
}

/// Serves as the manager does until the participant is gone: whatever `answer` writes for each frame.
fn serve(
    server: &mut ChannelServer,
    mut answer: impl FnMut(&mut ChannelServer, Vec<u8>) -> Result<(), Violation>,
) -> Result<(), Violation> {
    loop {
        while let Some(frame) = server.read()? {
            answer(server, frame)?;
        }
        server.wake()?;
        if server.announce() {
            continue;
        }
        poll(&mut [PollFd::new(server.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
        server.retract();
        if server.heard()? == Heard::End {
            while let Some(frame) = server.read()? {
                answer(server, frame)?;
            }
            return Ok(());
        }
    }
}

fn echo(server: &mut ChannelServer, frame: Vec<u8>) -> Result<(), Violation> {
    // Half of the frames are written in each of the two ways.
    if frame.len().is_multiple_of(2) {
        let (first, second) = frame.split_at(frame.len() / 3);
        server.write(&[first, b"", second])
    } else {
        let (message, rest) = frame.split_at(frame.len() - 1);
        server.write_long(message.to_vec(), rest)
    }
}

#[test]
fn frames_of_any_size_pass_whole_in_both_directions() {
    let (mut client, mut server) = pair();
    let serving = thread::spawn(move || serve(&mut server, echo));
    let sizes = [0, 1, 4095, RING - 5, RING - 4, RING - 3, RING, RING + 1, 2, 3 * RING + 77, 1 << 20, (1 << 20) + 1, 5];
    for (nth, &size) in sizes.iter().chain(sizes.iter().rev()).enumerate() {
        let frame = filled(size, nth);
        let (first, second) = frame.split_at(size / 2);
        client.send(&[first, second], true).unwrap();
        assert!(client.recv().unwrap() == frame, "{size} bytes");
    }
    drop(client);
    serving.join().unwrap().unwrap();
}

#[test]
fn a_participant_that_asks_for_much_before_it_takes_an_answer_does_not_stop_the_channel() {
    let (mut client, mut server) = pair();
    let serving = thread::spawn(move || serve(&mut server, echo));
    let frames: Vec<_> = (0..300).map(|nth| filled(nth * 997 % 40_000, nth)).collect();
    let long = filled(3 << 20, 1);
    for frame in &frames {
        client.send(&[frame], false).unwrap();
    }
    client.send(&[&long], true).unwrap();
    for frame in &frames {
        assert!(client.recv().unwrap() == *frame);
    }
    assert!(client.recv().unwrap() == long);
    drop(client);
    serving.join().unwrap().unwrap();
}

#[test]
fn complete_frames_of_a_dead_participant_are_read() {
    let (mut client, mut server, region) = pair_and_memory();
    client.send(&[b"one"], true).unwrap();
    client.send(&[b"two"], false).unwrap();
    // The last frame breaks off.
    let head = &region.pages().client.0.request_head;
    // SAFETY: nobody else uses the ring.
    unsafe { region.requests().write(head.load(Ordering::SeqCst), &9u32.to_ne_bytes()) };
    head.fetch_add(4, Ordering::SeqCst);
    drop(client);
    assert_eq!(server.heard().unwrap(), Heard::End);
    let mut read = Vec::new();
    while let Some(frame) = server.read().unwrap() {
        // There is nobody to take answers, so none are kept.
        server.write(&[&[0; RING], &[0; RING]]).unwrap();
        server.wake().unwrap();
        read.push(frame);
    }
    assert_eq!(read, [b"one", b"two"]);
    assert_eq!(server.backlog(), 0);
}

#[test]
fn a_participant_whose_manager_is_gone_gets_what_was_sent_and_then_an_error() {
    let (mut client, mut server) = pair();
    server.write(&[b"last"]).unwrap();
    server.wake().unwrap();
    drop(server);
    assert_eq!(client.recv().unwrap(), b"last");
    assert_eq!(client.recv().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    let mut sent = 0;
    // The ring has room for some requests, which nobody will read.
    while client.send(&[&[0; 1000]], false).is_ok() {
        sent += 1;
        assert!(sent < 300);
    }
}

/// Things that a hostile participant may do to the memory that it shares with the manager.
#[derive(Clone, Debug)]
enum Attack {
    RequestHead(u64),
    /// Adds to a correct position.
    Advance(i64),
    AnswerTail(u64),
    Take(i64),
    Scribble(usize, Vec<u8>),
    Frame(u32, Vec<u8>),
    /// Overwrites what only the manager should write, and the words of objects.
    ServerPage(u64),
    Words(u64, u64),
    Ring,
    Read,
    Write(usize),
    WriteLong(usize),
    Wake,
    UseWords,
}

fn attacks() -> impl Strategy<Value = Attack> {
    prop_oneof![
        any::<u64>().prop_map(Attack::RequestHead),
        (0..2 * RING as u64).prop_map(Attack::RequestHead),
        (-40..40i64).prop_map(Attack::Advance),
        (0..RING as i64).prop_map(Attack::Advance),
        any::<u64>().prop_map(Attack::AnswerTail),
        (-40..40i64).prop_map(Attack::Take),
        (0..RING as i64).prop_map(Attack::Take),
        (0..RING, proptest::collection::vec(any::<u8>(), 0..64)).prop_map(|(at, bytes)| Attack::Scribble(at, bytes)),
        (any::<u32>(), proptest::collection::vec(any::<u8>(), 0..64))
            .prop_map(|(len, bytes)| Attack::Frame(len, bytes)),
        (0..200u32, proptest::collection::vec(any::<u8>(), 0..200)).prop_map(|(len, bytes)| Attack::Frame(len, bytes)),
        any::<u64>().prop_map(Attack::ServerPage),
        any::<(u64, u64)>().prop_map(|(a, b)| Attack::Words(a, b)),
        Just(Attack::Ring),
        Just(Attack::Read),
        Just(Attack::Read),
        (0..2 * RING).prop_map(Attack::Write),
        (0..4 * RING).prop_map(Attack::WriteLong),
        Just(Attack::Wake),
        Just(Attack::UseWords),
    ]
}

/// Plays one attack. Returns false once the manager has seen through the participant.
fn play(
    attack: Attack,
    server: &mut ChannelServer,
    region: &Region,
    bell: &impl AsFd,
    (wrote, took): (&mut u64, &mut u64),
) -> Result<bool, TestCaseError> {
    let client = &region.pages().client.0;
    let poke = |at: u64, bytes: &[u8]| {
        // SAFETY: nobody reads this part of the ring meanwhile, and it holds more than that.
        unsafe { region.requests().write(at, bytes) };
    };
    match attack {
        Attack::RequestHead(n) => client.request_head.store(n, Ordering::SeqCst),
        Attack::Advance(by) => {
            *wrote = wrote.wrapping_add_signed(by);
            client.request_head.store(*wrote, Ordering::SeqCst);
        }
        Attack::AnswerTail(n) => client.answer_tail.store(n, Ordering::SeqCst),
        Attack::Take(by) => {
            *took = took.wrapping_add_signed(by);
            client.answer_tail.store(*took, Ordering::SeqCst);
        }
        Attack::Scribble(at, bytes) => poke(at as u64, &bytes),
        Attack::Frame(len, bytes) => {
            poke(*wrote, &len.to_ne_bytes());
            poke(wrote.wrapping_add(4), &bytes);
            *wrote = wrote.wrapping_add(4 + bytes.len() as u64);
            client.request_head.store(*wrote, Ordering::SeqCst);
        }
        Attack::ServerPage(n) => {
            let server = &region.pages().server.0;
            server.request_tail.store(n, Ordering::SeqCst);
            server.answer_head.store(n, Ordering::SeqCst);
        }
        Attack::Words(credit, ahead) => {
            // SAFETY: both words are plain atomics, of which any bits are valid.
            let words = unsafe { &*(&raw const region.pages().words[3]).cast::<[std::sync::atomic::AtomicU64; 2]>() };
            words[0].store(credit, Ordering::SeqCst);
            words[1].store(ahead, Ordering::SeqCst);
        }
        Attack::UseWords => {
            let words = server.words(3);
            words.credit.want(true);
            words.credit.grant(Credit::capped(64, 1 << 18));
            words.credit.take_back();
            words.ahead.extend(64);
            words.ahead.await_next(32);
            words.ahead.recall(64);
        }
        Attack::Ring => crate::bell::ring(bell).unwrap(),
        Attack::Read => {
            // A participant that breaks the protocol is ended; until then the number of frames is bounded by the ring.
            for _ in 0..RING {
                match server.read() {
                    Ok(Some(frame)) => prop_assert!(frame.len() <= LONGEST as usize),
                    Ok(None) => break,
                    Err(_) => return Ok(false),
                }
            }
            if server.heard().is_err() {
                return Ok(false);
            }
        }
        Attack::Write(len) => {
            let before = server.backlog();
            if server.write(&[&vec![1; len]]).is_err() {
                return Ok(false);
            }
            prop_assert!(server.backlog() <= before + len + 4);
        }
        Attack::WriteLong(len) => {
            if server.write_long(vec![2; len], b"rest").is_err() {
                return Ok(false);
            }
        }
        Attack::Wake => {
            if server.wake().is_err() {
                return Ok(false);
            }
            server.announce();
            server.retract();
        }
    }
    Ok(true)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_write_of_a_participant_makes_the_manager_panic_or_allocate_without_bound(
        attacks in proptest::collection::vec(attacks(), 1..60)
    ) {
        let (client, server) = create().unwrap();
        let region = Region::map(&client.memory).unwrap();
        let mut server = ChannelServer::open(server, LONGEST).unwrap();
        let (mut wrote, mut took) = (0, 0);
        for attack in attacks {
            if !play(attack, &mut server, &region, &client.socket, (&mut wrote, &mut took))? {
                return Ok(());
            }
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_goes_in_comes_out(
        requests in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60_000), 0..60),
        at_once in 1..20usize,
    ) {
        let (mut client, mut server) = pair();
        let serving = thread::spawn(move || serve(&mut server, echo));
        for some in requests.chunks(at_once) {
            for request in some {
                client.send(&[request], false).unwrap();
            }
            for request in some {
                prop_assert!(client.recv().unwrap() == *request);
            }
        }
        drop(client);
        serving.join().unwrap().unwrap();
    }
}

/// Takes what a participant wrote, and says what the manager thinks of that.
fn verdict(attack: impl FnOnce(&Region, &mut ChannelServer)) -> Result<(), Violation> {
    let (client, server) = create().unwrap();
    let region = Region::map(&client.memory).unwrap();
    let mut server = ChannelServer::open(server, LONGEST).unwrap();
    attack(&region, &mut server);
    while server.read()?.is_some() {}
    server.write(&[&[0; RING]])?;
    server.wake()?;
    while server.heard()? == Heard::Rung {}
    Ok(())
}

#[test]
fn lies_about_positions_and_lengths_and_bells_without_a_reason_are_violations() {
    assert_eq!(verdict(|_, _| ()), Ok(()));
    let beyond = |head: u64| {
        move |region: &Region, _: &mut ChannelServer| {
            region.pages().client.0.request_head.store(head, Ordering::SeqCst);
        }
    };
    assert!(verdict(beyond(RING as u64 + 1)).is_err());
    assert!(verdict(beyond(u64::MAX)).is_err());
    let back = |region: &Region, server: &mut ChannelServer| {
        region.pages().client.0.request_head.store(8, Ordering::SeqCst);
        assert_eq!(server.read().unwrap(), Some(Vec::new()));
        region.pages().client.0.request_head.store(7, Ordering::SeqCst);
    };
    assert_eq!(verdict(back), Err(Violation("it took back what it had written")));
    let untrue =
        |region: &Region, _: &mut ChannelServer| region.pages().client.0.answer_tail.store(1, Ordering::SeqCst);
    assert!(verdict(untrue).is_err());
    let long = |region: &Region, _: &mut ChannelServer| {
        // SAFETY: nobody else uses the ring.
        unsafe { region.requests().write(0, &(LONGEST + 1).to_ne_bytes()) };
        region.pages().client.0.request_head.store(4, Ordering::SeqCst);
    };
    assert_eq!(verdict(long), Err(Violation("it sent a frame longer than any can be")));
    let (client, server) = create().unwrap();
    let mut server = ChannelServer::open(server, LONGEST).unwrap();
    assert!(!server.announce());
    crate::bell::ring(&client.socket).unwrap();
    assert_eq!(server.heard(), Ok(Heard::Rung));
    crate::bell::ring(&client.socket).unwrap();
    assert!(server.heard().is_err());
}

#[test]
fn a_frame_that_is_never_completed_does_not_keep_the_manager_awake() {
    let (_client, mut server, region) = pair_and_memory();
    let head = &region.pages().client.0.request_head;
    for written in [2, 4, 100] {
        // SAFETY: nobody else uses the ring.
        unsafe { region.requests().write(0, &1000u32.to_ne_bytes()) };
        head.store(written, Ordering::SeqCst);
        assert!(server.has_requests());
        assert_eq!(server.read().unwrap(), None);
        assert!(!server.announce());
    }
    head.store(1005, Ordering::SeqCst);
    assert_eq!(server.read().unwrap().map(|frame| frame.len()), Some(1000));
    assert!(server.announce(), "one byte is there of another");
}

#[test]
fn requests_are_left_while_answers_are_not_taken() {
    let (mut client, mut server) = pair();
    let answer = vec![7; 3 << 20];
    client.send(&[b"first"], false).unwrap();
    client.send(&[b"second"], false).unwrap();
    assert_eq!(server.read().unwrap().unwrap(), b"first");
    server.write(&[&answer]).unwrap();
    server.wake().unwrap();
    assert_eq!(server.read().unwrap(), None);
    assert!(!server.has_requests());
    while client.try_recv().unwrap().is_none_or(|frame| frame != answer) {
        server.wake().unwrap();
    }
    assert_eq!(server.read().unwrap().unwrap(), b"second");
}

#[test]
fn a_put_on_credit_wakes_the_manager_only_if_it_wants_to_know() {
    let (mut client, mut server) = pair();
    assert!(!client.send_on_credit(1, 5, &[b"12345"]).unwrap(), "there is no credit");
    server.words(1).credit.grant(Credit::capped(2, 100));
    assert!(!server.announce());
    assert!(client.send_on_credit(1, 5, &[b"12345"]).unwrap());
    assert_eq!(server.heard(), Ok(Heard::Silence));
    server.words(1).credit.want(true);
    assert!(client.send_on_credit(1, 5, &[b"67890"]).unwrap());
    assert_eq!(server.heard(), Ok(Heard::Rung));
    assert!(!client.send_on_credit(1, 5, &[b"12345"]).unwrap(), "two entries were granted");
    assert_eq!(server.words(1).credit.take_back(), Credit { entries: 0, bytes: 90 });
    assert_eq!(server.read().unwrap().unwrap(), b"12345");
    assert_eq!(server.read().unwrap().unwrap(), b"67890");
    assert_eq!(server.read().unwrap(), None);
}

#[test]
fn a_put_on_credit_wakes_the_manager_when_the_ring_is_half_full() {
    let (mut client, mut server) = pair();
    server.words(0).credit.grant(Credit::capped(1000, 1 << 30));
    assert!(!server.announce());
    let message = [0; 1000];
    let mut sent = 0;
    while server.heard().unwrap() == Heard::Silence {
        assert!(client.send_on_credit(0, 1000, &[&message]).unwrap());
        sent += 1004;
    }
    assert!((RING / 2..RING / 2 + 2008).contains(&sent), "{sent}");
}
