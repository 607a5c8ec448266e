//! A worker that writes anything into the memory that it shares with the host.
#![no_main]

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use wasmpool_core::outcome::{Failure, SuccessNotes};
use wasmpool_ipc::lane::host::{HostLane, Received};
use wasmpool_ipc::lane::region::{NEVER, Region};

const MAX: u64 = 1 << 20;

#[derive(Arbitrary, Debug)]
enum Attack {
    OutputHead(u64),
    Advance(u16),
    InputTail(u64),
    Scribble(u16, Vec<u8>),
    /// A plausible header, and the bytes after it.
    Outcome {
        tag: u8,
        len: u16,
        payload: Vec<u8>,
    },
    Status(u64, u64, u64),
    HostPage(u64, u64),
    Receive,
    Send(u16),
    /// The output continues in the wide ring, from this position on or at this distance from the present one.
    WideFrom(u64),
    WideFromHere(i8),
    Widen,
    /// The header of a chunk is sent and taken back; the worker answers with any turns.
    Chunk,
    TakeBack,
    Turns(u64),
    Turn(u8, u64),
}

fn poke(region: &Region, at: usize, bytes: &[u8]) {
    for (i, &byte) in bytes.iter().enumerate() {
        let mut rings = region.output();
        for wide_from in [NEVER, 0] {
            rings.wide_from = wide_from;
            // SAFETY: within the doubly mapped output rings.
            unsafe { rings.at(at.wrapping_add(i) as u64).as_ptr().write_volatile(byte) };
        }
    }
}

fuzz_target!(|attacks: Vec<Attack>| {
    let (mut host, fd): (HostLane, OwnedFd) = HostLane::create(MAX).expect("shared memory");
    let worker = Region::map(&fd).expect("shared memory");
    let status = worker.status();
    let mut head = 0u64;
    for attack in attacks {
        match attack {
            Attack::OutputHead(n) => {
                head = n;
                status.worker.0.output_head.store(n, Ordering::SeqCst);
            }
            Attack::Advance(by) => {
                head = head.wrapping_add(by.into());
                status.worker.0.output_head.store(head, Ordering::SeqCst);
            }
            Attack::InputTail(n) => status.worker.0.input_tail.store(n, Ordering::SeqCst),
            Attack::Scribble(at, bytes) => poke(&worker, at.into(), &bytes),
            Attack::Outcome { tag, len, payload } => {
                let word = u128::from(u64::from(len) | u64::from(tag % 8) << 32);
                let at = head as usize;
                poke(&worker, at, &word.to_ne_bytes());
                poke(&worker, at.wrapping_add(16), &payload);
                head = head.wrapping_add(16 + payload.len() as u64);
                status.worker.0.output_head.store(head, Ordering::SeqCst);
            }
            Attack::Status(a, b, c) => {
                status.worker.0.attempt.store(a, Ordering::SeqCst);
                status.worker.0.started.store(b, Ordering::SeqCst);
                status.worker.0.attempt_since.store(c, Ordering::SeqCst);
                let _ = host.claim();
            }
            Attack::HostPage(a, b) => {
                status.host.0.input_head.store(a, Ordering::SeqCst);
                status.host.0.output_tail.store(b, Ordering::SeqCst);
            }
            Attack::WideFrom(n) => status.worker.0.output_wide_from.store(n, Ordering::SeqCst),
            Attack::WideFromHere(by) => {
                let from = head.wrapping_add_signed(by.into());
                status.worker.0.output_wide_from.store(from, Ordering::SeqCst);
            }
            Attack::Widen => host.widen(),
            Attack::Receive => {
                for _ in 0..64 {
                    match host.receive() {
                        Ok(Received::Outcome(header, payload)) => {
                            assert!(payload.len() as u64 <= MAX);
                            assert_eq!(payload.len(), header.len as usize);
                            // The same as the supervisor does with it.
                            if let Ok(failure) = serde_json::from_slice::<Failure>(&payload) {
                                assert!(failure.trace.len() + failure.denied.len() <= 128);
                                let line = serde_json::to_string(&failure).expect("it was just read");
                                let guests = failure.error.as_ref().is_some_and(|e| e.get().contains('\n'));
                                assert!(guests || !line.contains('\n'));
                            }
                            let _ = serde_json::from_slice::<SuccessNotes>(&payload);
                        }
                        Ok(Received::Nothing) => break,
                        Err(_) => return,
                    }
                }
            }
            Attack::Chunk if host.send_header(&[1; 16]).is_err() => return,
            Attack::Chunk => {}
            Attack::TakeBack => {
                let _ = host.take_back();
            }
            Attack::Turns(turn) => status.turns.0.0.iter().for_each(|of| of.store(turn, Ordering::SeqCst)),
            Attack::Turn(nth, turn) => status.turns.0.0[usize::from(nth % 16)].store(turn, Ordering::SeqCst),
            Attack::Send(count) => match host.send(&vec![1; count.into()]) {
                Ok(sent) => assert!(sent <= usize::from(count)),
                Err(_) => return,
            },
        }
    }
});
