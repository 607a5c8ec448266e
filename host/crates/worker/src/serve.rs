//! The worker's loop: take a chunk, run its items one after the other, answer each.

use std::io;
use std::time::Duration;

use super::run::{BatchCall, Runner};
use super::told;
use wasmpool_core::outcome::Failure;
use wasmpool_core::policy::{Isolate, TaskCall};
use wasmpool_ipc::clock::now_ns;
use wasmpool_ipc::lane::LOOK_EVERY;
use wasmpool_ipc::lane::control::Control;
use wasmpool_ipc::lane::frame::{self, ChunkHeader, OutcomeHeader, OutcomeTag};
use wasmpool_ipc::lane::worker::WorkerLane;

/// Serves until the host is gone.
pub fn serve(mut lane: WorkerLane, control: &'static Control, mut runner: Runner, call: &TaskCall) -> io::Result<()> {
    let mut out = Vec::new();
    // The time at which the last item ended, and how often the lane had slept by then.
    let mut last = (0, u64::MAX);
    loop {
        let ChunkHeader { first, count } = ChunkHeader::from_bytes(lane.take(control)?);
        if !lane.begin_chunk() {
            for _ in 0..count {
                let (_, len) = frame::read_item_header(lane.take(control)?);
                lane.skip(len, control)?;
            }
            last = (0, u64::MAX);
            continue;
        }
        if call.isolate == Isolate::Chunk {
            runner.renew();
        }
        if call.batch {
            serve_batch(&mut lane, control, &mut runner, call, count)?;
            continue;
        }
        let mut began = None;
        for nth in 0..count {
            let (tag, len) = frame::read_item_header(lane.take(control)?);
            lane.stage(len, control)?;
            // If nothing was waited for, one reading of the clock ends an item and starts the next.
            let start = if last.1 == lane.sleeps() { last.0 } else { now_ns() };
            lane.start(start);
            began.get_or_insert(start);
            runner.begin()?;
            if runner.writes_to_lane() {
                runner.lane = Some(lane.lend_output());
            }
            let result = runner.run(tag, lane.staged(), first + u64::from(nth), &mut out);
            if let Some(output) = runner.lane.take() {
                lane.take_back(output);
            }
            let end = now_ns();
            #[cfg(feature = "probes")]
            if super::hostile::attack(&mut lane, control) {
                lane.unstage();
                continue;
            }
            lane.unstage();
            lane.tell_instances(runner.counts());
            answer(&mut lane, control, &result, &mut out, end - start)?;
            last = (end, lane.sleeps());
            lane.ring_if_due(control)?;
            if call.isolate == Isolate::Item {
                runner.renew();
            }
            if clear_away(&mut lane, control, &runner)? {
                last = (0, u64::MAX);
            }
        }
        end_chunk(&lane, control, began.unwrap_or_default(), last.0)?;
    }
}

/// Wakes the host at the end of a chunk if necessary. The host looks at intervals by itself, but after a short chunk it
/// has to send more before that.
fn end_chunk(lane: &WorkerLane, control: &Control, began: u64, ended: u64) -> io::Result<()> {
    if u128::from(ended.saturating_sub(began)) < LOOK_EVERY.as_nanos() { lane.ring_if_waiting(control) } else { Ok(()) }
}

/// Empties the scratch directory, and returns true if there was something to do. The item's outcome does not wait for
/// it.
fn clear_away(lane: &mut WorkerLane, control: &Control, runner: &Runner) -> io::Result<bool> {
    if runner.left_nothing()? {
        return Ok(false);
    }
    lane.ring_if_waiting(control)?;
    runner.clear_away()?;
    Ok(true)
}

/// Runs a chunk as one call. If the call fails, runs its items one at a time, so that only the guilty ones fail.
fn serve_batch(
    lane: &mut WorkerLane,
    control: &Control,
    runner: &mut Runner,
    call: &TaskCall,
    count: u32,
) -> io::Result<()> {
    let began = now_ns();
    let mut items = BatchCall::default();
    for _ in 0..count {
        let (tag, len) = frame::read_item_header(lane.take(control)?);
        lane.stage(len, control)?;
        items.push(tag, lane.staged());
        lane.unstage();
        lane.ring_if_due(control)?;
    }
    if !serve_call(lane, control, runner, call, &items)? {
        for (tag, item) in items.iter() {
            let mut one = BatchCall::default();
            one.push(tag, item);
            // A call of one item always has an outcome.
            serve_call(lane, control, runner, call, &one)?;
        }
    }
    end_chunk(lane, control, began, now_ns())
}

/// Makes one call. Returns `false`, without having answered anything, if it is unknown which of its items to blame.
fn serve_call(
    lane: &mut WorkerLane,
    control: &Control,
    runner: &mut Runner,
    call: &TaskCall,
    items: &BatchCall,
) -> io::Result<bool> {
    let start = now_ns();
    lane.start(start);
    runner.begin()?;
    let mut each = None;
    let answered = runner.run_batch(items, |result, out| {
        let each = each.get_or_insert_with(|| (now_ns() - start) / items.len().max(1) as u64);
        answer(lane, control, result, out, *each)
    })?;
    lane.tell_instances(runner.counts());
    if call.isolate == Isolate::Item {
        runner.renew();
    }
    clear_away(lane, control, runner)?;
    Ok(answered)
}

fn answer(
    lane: &mut WorkerLane,
    control: &Control,
    result: &Result<OutcomeTag, Failure>,
    out: &mut Vec<u8>,
    elapsed: u64,
) -> io::Result<()> {
    let (tag, placed) = match result {
        Ok(tag) => (*tag, lane.placed()),
        Err(failure) => {
            out.clear();
            serde_json::to_writer(&mut *out, &*told::bounded(failure))?;
            (OutcomeTag::Failure, 0)
        }
    };
    let len = if placed > 0 { placed } else { out.len() };
    let header = OutcomeHeader { tag, len: len as u32, elapsed: Duration::from_nanos(elapsed) }.to_bytes();
    if placed > 0 {
        lane.write_placed(&header, control)?;
    } else {
        lane.write(&header, control)?;
        lane.write(out, control)?;
    }
    lane.answered();
    Ok(())
}
