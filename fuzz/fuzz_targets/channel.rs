//! A participant that writes anything into the memory that it shares with the manager of shared objects.
#![no_main]

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use nix::sys::socket::{MsgFlags, send};
use wasmpool_ipc::channel::region::{RING, Region};
use wasmpool_ipc::channel::server::ChannelServer;
use wasmpool_ipc::channel::words::Credit;
use wasmpool_ipc::channel::{Heard, create};

const LONGEST: u32 = 1 << 20;

#[derive(Arbitrary, Debug)]
enum Attack {
    RequestHead(u64),
    Advance(u32),
    AnswerTail(u64),
    Take(u32),
    Scribble(u32, Vec<u8>),
    /// The length of a frame, and the bytes after it.
    Frame(u32, Vec<u8>),
    HonestFrame(Vec<u8>),
    ServerPage(u64, u64),
    SleepWords(u32),
    Words(u8, u64, u64),
    Bell(Vec<u8>),
    Read,
    Write(u16),
    WriteLong(u32),
    Wake,
    UseWords(u8, u32, u32),
}

fn poke(region: &Region, at: u64, bytes: &[u8]) {
    for (nth, &byte) in (0u64..).zip(bytes) {
        // SAFETY: within the doubly mapped ring.
        unsafe { region.requests().at(at.wrapping_add(nth)).as_ptr().write_volatile(byte) };
    }
}

/// Does one thing. Returns `None` once the manager has seen through the participant.
fn play(
    attack: Attack,
    server: &mut ChannelServer,
    region: &Region,
    socket: &impl AsRawFd,
    [wrote, took]: &mut [u64; 2],
) -> Option<()> {
    let client = &region.pages().client.0;
    match attack {
        Attack::RequestHead(n) => {
            *wrote = n;
            client.request_head.store(n, Ordering::SeqCst);
        }
        Attack::Advance(by) => {
            *wrote = wrote.wrapping_add(by.into());
            client.request_head.store(*wrote, Ordering::SeqCst);
        }
        Attack::AnswerTail(n) => client.answer_tail.store(n, Ordering::SeqCst),
        Attack::Take(by) => {
            *took = took.wrapping_add(by.into());
            client.answer_tail.store(*took, Ordering::SeqCst);
        }
        Attack::Scribble(at, bytes) => poke(region, at.into(), &bytes),
        Attack::Frame(len, bytes) => {
            poke(region, *wrote, &len.to_ne_bytes());
            poke(region, wrote.wrapping_add(4), &bytes);
            *wrote = wrote.wrapping_add(4 + bytes.len() as u64);
            client.request_head.store(*wrote, Ordering::SeqCst);
        }
        Attack::HonestFrame(bytes) => {
            let mut positions = [*wrote, *took];
            play(Attack::Frame(bytes.len() as u32, bytes), server, region, socket, &mut positions)?;
            [*wrote, *took] = positions;
        }
        Attack::ServerPage(tail, head) => {
            let server = &region.pages().server.0;
            server.request_tail.store(tail, Ordering::SeqCst);
            server.answer_head.store(head, Ordering::SeqCst);
        }
        Attack::SleepWords(what) => {
            let pages = region.pages();
            for word in [&pages.client.0.waits, &pages.server.0.waits, &pages.server.0.lacks_room] {
                // SAFETY: the word is an atomic of this size, and any bits of it are valid.
                let word = unsafe { &*(&raw const *word).cast::<std::sync::atomic::AtomicU32>() };
                word.store(what % 6, Ordering::SeqCst);
            }
        }
        Attack::Words(object, credit, ahead) => {
            // SAFETY: both words are atomics of this size, and any bits of them are valid.
            let words =
                unsafe { &*(&raw const region.pages().words[usize::from(object % 64)]).cast::<[AtomicU64; 2]>() };
            words[0].store(credit, Ordering::SeqCst);
            words[1].store(ahead, Ordering::SeqCst);
        }
        Attack::Bell(bytes) => {
            let _ = send(socket.as_raw_fd(), &bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
        }
        Attack::Read => {
            for _ in 0..RING {
                match server.read().ok()? {
                    Some(frame) => assert!(frame.len() <= LONGEST as usize && frame.capacity() <= 2 * LONGEST as usize),
                    None => break,
                }
            }
            assert!(!server.has_requests(), "nobody else writes");
            if server.heard().ok()? == Heard::End {
                server.write(&[&[1; RING], &[1; RING]]).ok()?;
                assert_eq!(server.backlog(), 0);
            }
        }
        Attack::Write(len) => server.write(&[&vec![1; len.into()]]).ok()?,
        Attack::WriteLong(len) => server.write_long(vec![2; (len % LONGEST) as usize], b"rest").ok()?,
        Attack::Wake => {
            server.wake().ok()?;
            server.announce();
            server.retract();
        }
        Attack::UseWords(object, first, second) => {
            let words = server.words(u16::from(object % 64));
            words.credit.want(first % 2 == 0);
            words.credit.grant(Credit::capped(first, second.into()));
            words.credit.take_back();
            words.ahead.extend(first % 1024);
            words.ahead.await_next(second);
            words.ahead.recall(first);
        }
    }
    Some(())
}

fuzz_target!(|attacks: Vec<Attack>| {
    let (client, server) = create().expect("a channel");
    let region = Region::map(&client.memory).expect("shared memory");
    let mut server = ChannelServer::open(server, LONGEST).expect("shared memory");
    let mut positions = [0; 2];
    for attack in attacks.into_iter().take(200) {
        if play(attack, &mut server, &region, &client.socket, &mut positions).is_none() {
            return;
        }
    }
});
