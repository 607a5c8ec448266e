//! A worker that violates the protocol when an item asks for it, as a guest with native code could do. Only with the
//! feature `probes`, which releases do not have.

use std::sync::atomic::Ordering;
use std::time::Duration;

use wasmpool_ipc::lane::control::Control;
use wasmpool_ipc::lane::frame::{OutcomeHeader, OutcomeTag, PART};
use wasmpool_ipc::lane::life::WorkerMessage;
use wasmpool_ipc::lane::worker::WorkerLane;

/// Performs the attack that the current item, `"attack:NAME"`, names. Returns whether that answered the item. Does not
/// return if the worker is to do nothing else from then on.
pub fn attack(lane: &mut WorkerLane, control: &Control) -> bool {
    let item = String::from_utf8_lossy(lane.staged()).into_owned();
    let Some(name) = item.strip_prefix("\"attack:") else {
        return false;
    };
    // If anything fails here, it is because the host has ended this process.
    let answer = |lane: &mut WorkerLane, tag, text: &[u8], len: usize| {
        let header = OutcomeHeader { tag, len: len as u32, elapsed: Duration::ZERO };
        let _ = lane.write(&header.to_bytes(), control);
        let _ = lane.write(text, control);
        lane.answered();
    };
    let status = lane.status();
    match name.trim_end_matches('"') {
        "a kind that is none" => {
            let _ = lane.write(&[0xff; 16], control);
            lane.answered();
        }
        "a length beyond all" => answer(lane, OutcomeTag::Value, b"1", u32::MAX as usize),
        "several lines" => {
            answer(lane, OutcomeTag::Value, b"1\n{\"index\":0}", 13);
            return true;
        }
        "two values" => {
            answer(lane, OutcomeTag::Value, b"1 2", 3);
            return true;
        }
        "half a value" => {
            answer(lane, OutcomeTag::Value, b"[1,", 3);
            return true;
        }
        "bytes that are no text" => {
            answer(lane, OutcomeTag::Value, b"\"\xff\"", 3);
            return true;
        }
        "members that no failure has" => {
            let members = format!("{{\"kind\":\"trap\",\"message\":\"\",\"x\":[{}0]}}", "[],".repeat(5 << 20));
            answer(lane, OutcomeTag::Failure, members.as_bytes(), members.len());
        }
        "a trace without end" => {
            let trace = format!("{{\"kind\":\"trap\",\"message\":\"\",\"trace\":[{}\"\"]}}", "\"\",".repeat(5 << 20));
            answer(lane, OutcomeTag::Failure, trace.as_bytes(), trace.len());
        }
        "a byte now and then" => {
            // Sends less than an outcome, each time before anybody would object.
            let _ = lane.write(
                &OutcomeHeader { tag: OutcomeTag::Value, len: 1 << 20, elapsed: Duration::ZERO }.to_bytes(),
                control,
            );
            loop {
                let _ = lane.write(b"1", control);
                lane.answered();
                status.worker.0.started.store(0, Ordering::SeqCst);
                let _ = lane.ring_if_waiting(control);
                std::thread::park_timeout(Duration::from_millis(40));
            }
        }
        "starts without end" => loop {
            let worker = &status.worker.0;
            worker.attempt_since.store(wasmpool_ipc::clock::now_ns(), Ordering::SeqCst);
            worker.attempt.fetch_add(1, Ordering::SeqCst);
            let _ = lane.ring_if_waiting(control);
            std::thread::park_timeout(Duration::from_millis(40));
        },
        "lengths that lie" => {
            answer(lane, OutcomeTag::Values, &[0xff; 8], 8);
            return true;
        }
        "a failure that is none" => answer(lane, OutcomeTag::Failure, b"{}", 2),
        "a failure of several lines" => {
            let text = b"{\"kind\":\"error\",\"message\":\"m\",\"error\":[1,\n2]}";
            answer(lane, OutcomeTag::Failure, text, text.len());
        }
        "two answers" => (0..2).for_each(|_| answer(lane, OutcomeTag::Value, b"1", 1)),
        "endless answers" => (0..u32::MAX).for_each(|_| answer(lane, OutcomeTag::Value, b"1", 1)),
        "an answer without end" => {
            answer(lane, OutcomeTag::Value, b"[", 1 << 20);
            rest();
        }
        "a part of no value" => answer(lane, OutcomeTag::Part, &[b'1'; PART], PART),
        "crumbs without end" => (0..u32::MAX).for_each(|_| answer(lane, OutcomeTag::Part, b"", 0)),
        "output from nowhere" => status.worker.0.output_head.store(u64::MAX, Ordering::SeqCst),
        // One byte before what the host has read: a worker that has answered nothing yet has nothing else to take back.
        "output taken back" => {
            let read = status.host.0.output_tail.load(Ordering::SeqCst);
            status.worker.0.output_head.store(read.wrapping_sub(1), Ordering::SeqCst);
        }
        "input from nowhere" => status.worker.0.input_tail.store(u64::MAX, Ordering::SeqCst),
        "a claim to more" => {
            let worker = &status.worker.0;
            worker.started.store(u64::MAX, Ordering::SeqCst);
            worker.attempt.store(u64::MAX, Ordering::SeqCst);
            worker.attempt_since.store(u64::MAX, Ordering::SeqCst);
        }
        "bytes that change" => {
            // The host copies bytes before it looks at them: it sees one state or the other, or a mixture that is not
            // JSON.
            answer(lane, OutcomeTag::Value, b"1", 1);
            let _ = lane.ring_if_waiting(control);
            loop {
                let _ = lane.write(&[0xff; 4096], control);
            }
        }
        "no bell" => rest(),
        "memory that is not counted" => {
            let had: &[u8] = if fill_what_is_not_counted() { b"\"had it\"" } else { b"\"refused\"" };
            answer(lane, OutcomeTag::Value, had, had.len());
            return true;
        }
        "words that are none" => {
            for _ in 0..1000 {
                let _ = control.send(&["what", "is", "this"], &[]);
            }
        }
        "ready again" => {
            for _ in 0..1000 {
                let _ = control.send(&WorkerMessage::Ready { lacking: Vec::new() }, &[]);
            }
        }
        "unusable" => say(control, &WorkerMessage::Unusable("\nwasmpool: forged".to_owned())),
        "unprotected" => say(control, &WorkerMessage::Unprotected("use --sandbox off\n".to_owned())),
        "bad artifact" => say(control, &WorkerMessage::BadArtifact("\u{1b}[2J".to_owned())),
        "uninitialised" => say(control, &WorkerMessage::Uninitialised("forged".to_owned())),
        "entered again" => {
            say(control, &WorkerMessage::Entered { lacking: vec![wasmpool_core::layer::LayerPart::NetworkNamespace] })
        }
        "loaded again" => say(control, &WorkerMessage::Loaded { lacking: Vec::new() }),
        "a message beyond all" => say(control, &WorkerMessage::Unusable("x".repeat(100 << 10))),
        "messages without end" => {
            for _ in 0..u32::MAX {
                say(control, &WorkerMessage::Unusable(String::new()));
            }
        }
        "descriptors" => {
            use std::os::fd::AsFd;
            for _ in 0..100 {
                let _ = control.send(&0, &[control.as_fd(), control.as_fd()]);
            }
        }
        "bells without end" => loop {
            let _ = control.ring();
        },
        "hanging up" => {
            // The end of the process closes the socket; the sandbox allows no other way.
            std::process::abort();
        }
        _ => return false,
    }
    let _ = lane.ring_if_waiting(control);
    rest()
}

/// Sends a message. If that fails, it is because the host has ended this process.
fn say(control: &Control, said: &WorkerMessage) {
    let _ = control.send(said, &[]);
}

/// Writes to far more than a process may by default, and says whether it could: memory that is made read-only
/// afterwards does not count any more.
fn fill_what_is_not_counted() -> bool {
    const PIECE: usize = 64 << 20;
    const PIECES: usize = 64;
    let (data, private) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    for _ in 0..PIECES {
        // SAFETY: memory of its own, which nobody else knows.
        unsafe {
            let piece = libc::mmap(std::ptr::null_mut(), PIECE, data, private, -1, 0);
            if piece == libc::MAP_FAILED {
                return false;
            }
            piece.cast::<u8>().write_bytes(1, PIECE);
            libc::mprotect(piece, PIECE, libc::PROT_READ);
        }
    }
    true
}

fn rest() -> ! {
    loop {
        std::thread::park();
    }
}
