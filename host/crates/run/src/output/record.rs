//! Records: one JSON object per outcome.

use std::io::Write;
use std::time::Duration;

use serde::Serialize;

use super::escaped;
use crate::supervisor::OutcomeRecord;
use wasmpool_core::failed;
use wasmpool_core::outcome::{Failure, SuccessNotes};
use wasmpool_core::policy::ItemEncoding;

/// Appends the record of a success. `value` is JSON, and `label` the members that follow the index.
pub fn ok(record: &OutcomeRecord<'_>, label: &str, value: &[u8], beside: Option<&SuccessNotes>, to: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = write!(to, "{{\"index\":{}{label},\"status\":\"ok\",\"value\":", record.index);
    to.extend_from_slice(value);
    tail(record, to);
    if let Some(beside) = beside.filter(|beside| !beside.is_empty()) {
        merge(beside, to);
    }
    to.extend_from_slice(b"}\n");
}

/// Appends the record of a failure.
pub fn failed(record: &OutcomeRecord<'_>, label: &str, failure: &Failure, to: &mut Vec<u8>) {
    to.push(b'{');
    end_failed(record, label, failure, to);
}

/// Appends the record of an item that nobody tried to run.
pub fn untried(index: u64, label: &str, failure: &Failure, to: &mut Vec<u8>) {
    let _ = write!(to, "{{\"index\":{index}{label},\"status\":\"failed\"");
    merge(failure, to);
    to.extend_from_slice(b",\"elapsed_us\":0,\"attempts\":0}\n");
}

/// Returns the members that name a task, to follow other members.
pub fn label(task: &str) -> String {
    // A string can always be written.
    serde_json::to_string(task).map_or_else(|_| String::new(), |name| format!(",\"task\":{name}"))
}

/// Appends the record of a failure with its item in its original form: a line that can be mapped over again.
pub fn failed_item(record: &mut OutcomeRecord<'_>, failure: &Failure, form: ItemEncoding, to: &mut Vec<u8>) {
    let (tag, bytes) = record.item.bytes();
    failed::begin(tag, bytes, form, to);
    to.push(b',');
    end_failed(record, "", failure, to);
}

/// Appends the members of a failure's record and its end, after the other members.
fn end_failed(record: &OutcomeRecord<'_>, label: &str, failure: &Failure, to: &mut Vec<u8>) {
    let _ = write!(to, "\"index\":{}{label},\"status\":\"failed\"", record.index);
    merge(failure, to);
    tail(record, to);
    to.extend_from_slice(b"}\n");
}

/// Where an item came from.
#[derive(Serialize)]
struct RecordedSource<'a> {
    source: &'a str,
}

fn tail(record: &OutcomeRecord<'_>, to: &mut Vec<u8>) {
    if let Some(source) = &record.source {
        merge(&RecordedSource { source }, to);
    }
    let _ = write!(to, ",\"elapsed_us\":{}", micros(record.elapsed));
    if let Some(worker) = record.worker {
        // People count from one.
        let _ = write!(to, ",\"worker\":{}", worker + 1);
    }
    if let Some(host) = record.host {
        // A host's name has no characters that would have to be escaped.
        let _ = write!(to, ",\"host\":\"{host}\"");
    }
    let _ = write!(to, ",\"attempts\":{}", record.attempts);
}

fn micros(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
}

/// Adds the members of `part` to an object that already has some. A task chose much of their content.
pub(super) fn merge(part: &impl Serialize, to: &mut Vec<u8>) {
    let at = to.len();
    if escaped::append(part, to).is_err() {
        to.truncate(at);
        return;
    }
    to.pop();
    to[at] = b',';
}
