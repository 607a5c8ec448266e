//! The trace of `--trace`: JSON in the format of Chrome's trace events, which Perfetto opens.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::figures::numbered;
use super::record::RunRecorder;

/// The threads of a row in the trace: its items, the chunks that they belong to, and its processes. Spans of one thread have to
/// lie within each other, which those of different kinds need not.
const THREADS_OF_ROW: [&str; 3] = ["items", "chunks", "processes"];

/// Writes what was recorded of each task, each as a process of the trace with a thread for each row.
pub fn write(tasks: &[(String, RunRecorder)], to: &mut dyn Write) -> io::Result<()> {
    to.write_all(b"{\"displayTimeUnit\":\"ms\",\"traceEvents\":[")?;
    let mut is_first = true;
    let mut event = |event: Value| {
        let separator: &[u8] = if std::mem::take(&mut is_first) { b"\n" } else { b",\n" };
        to.write_all(separator)?;
        serde_json::to_writer(&mut *to, &event).map_err(io::Error::from)
    };
    for (nth, (name, recorder)) in tasks.iter().enumerate() {
        let pid = nth + 1;
        event(json!({"ph": "M", "name": "process_name", "pid": pid, "args": {"name": name}}))?;
        for (row, facts) in recorder.rows().iter().enumerate() {
            let name = facts.name.clone().unwrap_or_else(|| format!("worker {}", row + 1));
            for (nth, what) in THREADS_OF_ROW.iter().enumerate() {
                let (tid, name) = (thread(row, nth), json!({"name": format!("{name}: {what}")}));
                event(json!({"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": name}))?;
                let index = json!({"sort_index": tid});
                event(json!({"ph": "M", "name": "thread_sort_index", "pid": pid, "tid": tid, "args": index}))?;
            }
        }
        for life in recorder.lives.all() {
            let tid = thread(life.row, 2);
            let (from, to) = (life.from, life.to.unwrap_or(life.from));
            let args = json!({"worker": numbered(life.worker), "pid": life.pid});
            let ready = life.ready.unwrap_or(to);
            event(span("starting", "start", (pid, tid), (from, ready), &args))?;
            if life.ready.is_some() {
                event(span("ready", "life", (pid, tid), (ready, to), &args))?;
            }
        }
        for chunk in recorder.chunks.all() {
            let args =
                json!({"first": chunk.what.first, "items": chunk.what.count, "worker": numbered(chunk.what.worker)});
            let name = format!("chunk of {}", chunk.what.count);
            event(span(&name, "chunk", (pid, thread(chunk.row, 1)), (chunk.from, chunk.to), &args))?;
        }
        for item in recorder.items.all() {
            let mut args = json!({
                "index": item.what.index, "worker": numbered(item.what.worker), "elapsed_us": item.took / 1000
            });
            let failed = item.what.failed.map(|kind| kind.name());
            if let (Some(args), Some(kind)) = (args.as_object_mut(), failed) {
                args.insert("failed".to_owned(), kind.into());
            }
            let name = match failed {
                None => format!("item {}", item.what.index),
                Some(kind) => format!("item {}: {kind}", item.what.index),
            };
            event(span(&name, "item", (pid, thread(item.row, 0)), (item.from, item.to), &args))?;
        }
        for one in recorder.events.all() {
            let args = json!({"worker": numbered(one.worker), "item": one.item, "how": one.how});
            let (name, tid) = (one.what.name(), thread(one.row, 2));
            event(json!({
                "ph": "i", "s": "t", "name": name, "cat": "worker", "pid": pid, "tid": tid, "ts": micros(one.at), "args": args
            }))?;
        }
        let width = recorder.timeline.width();
        for (nth, cell) in recorder.timeline.total().iter().enumerate() {
            let second = width as f64 / 1e9;
            let rates = json!({
                "succeeded": (cell.done - cell.failed) as f64 / second, "failed": cell.failed as f64 / second
            });
            let at = micros(width * nth as u64);
            event(json!({"ph": "C", "name": "items per second", "pid": pid, "ts": at, "args": rates}))?;
        }
    }
    to.write_all(b"\n]}\n")
}

/// Returns the number of a row's thread.
fn thread(row: usize, nth: usize) -> usize {
    row * THREADS_OF_ROW.len() + nth + 1
}

fn span(name: &str, kind: &str, (pid, tid): (usize, usize), (from, to): (u64, u64), args: &Value) -> Value {
    let length = to.saturating_sub(from);
    json!({
        "ph": "X", "name": name, "cat": kind, "pid": pid, "tid": tid, "ts": micros(from), "dur": micros(length), "args": args
    })
}

/// Returns nanoseconds as the microseconds of a trace.
fn micros(ns: u64) -> f64 {
    ns as f64 / 1000.0
}
