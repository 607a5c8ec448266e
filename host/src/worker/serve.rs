//! The worker's loop: take a chunk, run its items one after the other, answer each.

use std::io;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::run::{Encoded, Runner};
use crate::lane::control::Control;
use crate::lane::frame::{self, OutcomeHeader, OutcomeTag};
use crate::lane::worker::WorkerLane;
use crate::outcome::Failure;
use crate::policy::{Call, Isolate};

/// The host hears of outcomes at least this often while a chunk runs.
const RING_EVERY: u64 = 1_000_000;

/// Serves until the host is gone.
pub fn serve(mut lane: WorkerLane, control: &Control, mut runner: Runner, call: &Call) -> io::Result<()> {
    let mut out = Vec::new();
    let mut rung = 0;
    loop {
        let count = frame::chunk_count(lane.take(control)?);
        if call.isolate == Isolate::Chunk {
            runner.discard();
        }
        if call.batch {
            serve_batch(&mut lane, control, &mut runner, call, count)?;
            continue;
        }
        for _ in 0..count {
            let (tag, len) = frame::read_item_header(lane.take(control)?);
            lane.stage(len, control)?;
            let start = now();
            lane.start(start);
            let result = runner.run(tag, lane.staged(), &mut out);
            let end = now();
            #[cfg(feature = "probes")]
            if super::hostile::attack(&mut lane, control) {
                lane.unstage(control)?;
                continue;
            }
            lane.unstage(control)?;
            answer(&mut lane, control, result, &mut out, end - start)?;
            if end - rung > RING_EVERY || lane.filling_up() {
                lane.ring_if_waiting(control)?;
                rung = end;
            }
            if call.isolate == Isolate::Item {
                runner.discard();
            }
        }
        lane.ring_if_waiting(control)?;
    }
}

/// A chunk as one call; where that fails, its items one at a time, so that only the guilty ones do.
fn serve_batch(
    lane: &mut WorkerLane,
    control: &Control,
    runner: &mut Runner,
    call: &Call,
    count: u64,
) -> io::Result<()> {
    let mut items = Vec::new();
    for _ in 0..count {
        let (tag, len) = frame::read_item_header(lane.take(control)?);
        lane.stage(len, control)?;
        items.push((tag, lane.staged().to_vec()));
        lane.unstage(control)?;
    }
    let start = now();
    lane.start(start);
    let results = runner.run_batch(&items);
    if call.isolate == Isolate::Item {
        runner.discard();
    }
    if let Some(results) = results {
        let each = (now() - start) / count.max(1);
        for result in results {
            let (result, mut out) = apart(result);
            answer(lane, control, result, &mut out, each)?;
        }
        return lane.ring_if_waiting(control);
    }
    for item in items {
        let start = now();
        lane.start(start);
        let (result, mut out) = apart(runner.run_single(&item));
        answer(lane, control, result, &mut out, now() - start)?;
        if call.isolate == Isolate::Item {
            runner.discard();
        }
    }
    lane.ring_if_waiting(control)
}

fn apart(result: Result<Encoded, Failure>) -> (Result<OutcomeTag, Failure>, Vec<u8>) {
    match result {
        Ok((tag, out)) => (Ok(tag), out),
        Err(failure) => (Err(failure), Vec::new()),
    }
}

fn answer(
    lane: &mut WorkerLane,
    control: &Control,
    result: Result<OutcomeTag, Failure>,
    out: &mut Vec<u8>,
    elapsed: u64,
) -> io::Result<()> {
    let tag = match result {
        Ok(tag) => tag,
        Err(failure) => {
            out.clear();
            serde_json::to_writer(&mut *out, &failure)?;
            OutcomeTag::Failure
        }
    };
    let header = OutcomeHeader { tag, len: out.len() as u32, elapsed: Duration::from_nanos(elapsed) };
    lane.write(&header.to_bytes(), control)?;
    lane.write(out, control)?;
    lane.answered();
    Ok(())
}

/// The clock that host and worker share.
fn now() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |t| t.tv_sec() as u64 * 1_000_000_000 + t.tv_nsec() as u64)
}
