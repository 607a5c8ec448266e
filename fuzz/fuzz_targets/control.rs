//! A worker that sends anything over its socket, descriptors included, at any moment of its life.
#![no_main]

use std::io::IoSlice;
use std::os::fd::AsRawFd;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use wasmpool_core::layer::LayerPart;
use wasmpool_ipc::lane::control::{Control, Incoming};
use wasmpool_ipc::lane::life::{LifeEvent, WorkerLife, WorkerMessage};

#[derive(Arbitrary, Debug)]
enum Step {
    /// Any bytes.
    Bytes(Vec<u8>),
    /// One of the messages that exist, with any text.
    Message(u8, String),
    Bell,
    /// The host goes to sleep; with `Found` it finds something of the worker's.
    Sleep,
    Found,
}

#[derive(Arbitrary, Debug)]
struct Move {
    step: Step,
    descriptors: u8,
    /// True if the host reads the socket afterwards.
    read: bool,
}

fn message(which: u8, text: String) -> WorkerMessage {
    let lacking = vec![LayerPart::NetworkNamespace; text.len() % 3];
    match which % 7 {
        0 => WorkerMessage::Entered { lacking },
        1 => WorkerMessage::Loaded { lacking },
        2 => WorkerMessage::Ready { lacking },
        3 => WorkerMessage::Unprotected(text),
        4 => WorkerMessage::Unusable(text),
        5 => WorkerMessage::BadArtifact(text),
        _ => WorkerMessage::Uninitialised(text),
    }
}

/// What the host has concluded about a worker.
#[derive(Default)]
struct Heard {
    ready: u32,
    refused: u32,
    broken: bool,
}

/// Reads messages as the supervisor does. A worker that sent a message out of turn is not believed any more.
fn read(host: &Control, life: &mut WorkerLife, heard: &mut Heard) {
    for _ in 0..64 {
        let news = match host.receive::<WorkerMessage>(true) {
            Ok(Incoming::Message(said)) => life.hear(said),
            Ok(Incoming::Bell) => life.rung().map(|()| None),
            Ok(Incoming::Nothing) => return,
            // An empty message looks like the end of the socket: either ends the worker.
            Ok(Incoming::Closed) | Err(_) => {
                heard.broken = true;
                return;
            }
        };
        match news {
            Ok(Some(LifeEvent::Ready { .. })) => heard.ready += 1,
            Ok(Some(LifeEvent::Refused(refusal))) => {
                assert!(refusal.message().len() <= 16 << 10);
                heard.refused += 1;
            }
            Ok(None) => {}
            Err(_) => heard.broken = true,
        }
        if heard.broken {
            return;
        }
    }
}

fuzz_target!(|input: (bool, Vec<Move>)| {
    let (inits, moves) = input;
    let (host, worker) = Control::pair().expect("a socket pair");
    let mut life = WorkerLife::new(inits);
    let mut heard = Heard::default();
    let before = std::fs::read_dir("/proc/self/fd").expect("a list").count();
    for Move { step, descriptors, read: reads } in moves.into_iter().take(64) {
        let bytes = match step {
            Step::Bytes(bytes) => bytes,
            Step::Message(which, text) => serde_json::to_vec(&message(which, text)).expect("it can be written"),
            Step::Bell => b"b".to_vec(),
            Step::Sleep => {
                life.may_ring();
                continue;
            }
            Step::Found => {
                life.had_reason();
                continue;
            }
        };
        // Few messages have descriptors, since those end the worker.
        let fds = vec![worker.as_raw_fd(); usize::from(descriptors.saturating_sub(243))];
        let rights = [ControlMessage::ScmRights(&fds)];
        let control: &[ControlMessage<'_>] = if fds.is_empty() { &[] } else { &rights };
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let sent = sendmsg::<()>(worker.as_raw_fd(), &[IoSlice::new(&bytes)], control, flags, None).is_ok();
        if reads {
            read(&host, &mut life, &mut heard);
            assert!(heard.broken || !sent || fds.is_empty(), "descriptors cost the worker");
        }
        if heard.broken {
            break;
        }
    }
    read(&host, &mut life, &mut heard);
    assert!(heard.ready + heard.refused <= 1, "it was ready, or refused, once");
    // No descriptor that a worker sent stays open in the host.
    drop(worker);
    while !matches!(host.receive::<WorkerMessage>(true), Ok(Incoming::Closed | Incoming::Nothing)) {}
    let after = std::fs::read_dir("/proc/self/fd").expect("a list").count();
    assert_eq!(before, after + 1);
});
