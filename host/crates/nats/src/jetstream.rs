//! The part of JetStream's interface that a run needs: a stream of chunks, from which each is delivered once.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use wasmpool_core::text::ForeignText;
use wasmpool_hosts::names::RunId;
use wasmpool_hosts::slots::KEPT;
use wasmpool_hosts::subjects::{self, CONSUMER};

/// Time after which the broker delivers a chunk again of its own accord: never, for a run. The coordinator knows sooner
/// and better that it is needed.
const ACK_WAIT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Number of pulls that wait at a time, of all hosts.
const MOST_PULLS: u32 = 100_000;

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Says of a server why no run passes it.
pub const NO_JETSTREAM: &str = "it has no JetStream, which has to be switched on (nats-server -js)";

/// Where the broker keeps the chunks that wait for a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChunkStorage {
    /// In memory. What is lost with it is published again.
    #[default]
    Memory,
    /// In files, so that a broker that is started again still has them.
    File,
}

/// Returns the subject and the content of the request that makes the stream, which changes nothing if it is there.
pub fn create_stream(run: RunId, most_bytes: usize, storage: ChunkStorage) -> (String, Vec<u8>) {
    (format!("$JS.API.STREAM.CREATE.{}", subjects::stream(run)), stream(run, most_bytes, storage))
}

/// Returns the request that makes the stream larger.
pub fn update_stream(run: RunId, most_bytes: usize, storage: ChunkStorage) -> (String, Vec<u8>) {
    (format!("$JS.API.STREAM.UPDATE.{}", subjects::stream(run)), stream(run, most_bytes, storage))
}

fn stream(run: RunId, most_bytes: usize, storage: ChunkStorage) -> Vec<u8> {
    let config = json!({
        "name": subjects::stream(run),
        "subjects": [subjects::chunks(run)],
        "retention": "workqueue",
        "storage": match storage {
            ChunkStorage::Memory => "memory",
            ChunkStorage::File => "file",
        },
        "discard": "new",
        "max_bytes": most_bytes,
        "max_age": nanoseconds(KEPT),
        "num_replicas": 1,
    });
    config.to_string().into_bytes()
}

/// Returns the request that makes the consumer through which hosts pull.
pub fn create_consumer(run: RunId) -> (String, Vec<u8>) {
    let stream = subjects::stream(run);
    let config = json!({
        "stream_name": stream,
        "config": {
            "name": CONSUMER,
            "durable_name": CONSUMER,
            "ack_policy": "explicit",
            "ack_wait": nanoseconds(ACK_WAIT),
            "deliver_policy": "all",
            "max_deliver": -1,
            "max_ack_pending": -1,
            "max_waiting": MOST_PULLS,
        },
    });
    (format!("$JS.API.CONSUMER.CREATE.{stream}.{CONSUMER}"), config.to_string().into_bytes())
}

/// Returns the subject of the request that says how far was delivered.
pub fn consumer_info(run: RunId) -> String {
    format!("$JS.API.CONSUMER.INFO.{}.{CONSUMER}", subjects::stream(run))
}

/// Returns the subject of the request that deletes the stream.
pub fn delete_stream(run: RunId) -> String {
    format!("$JS.API.STREAM.DELETE.{}", subjects::stream(run))
}

/// Returns the request for the streams of all runs.
pub fn list_streams() -> (&'static str, Vec<u8>) {
    ("$JS.API.STREAM.LIST", json!({ "subject": "wp.*.c" }).to_string().into_bytes())
}

/// Returns the request that deletes one message.
pub fn delete_message(run: RunId, sequence: u64) -> (String, Vec<u8>) {
    let asked = json!({ "seq": sequence, "no_erase": true });
    (format!("$JS.API.STREAM.MSG.DELETE.{}", subjects::stream(run)), asked.to_string().into_bytes())
}

/// Returns the request for up to `count` chunks, which the broker keeps for a while.
pub fn pull(run: RunId, count: usize, expires: Duration) -> (String, Vec<u8>) {
    let asked = json!({ "batch": count, "expires": nanoseconds(expires) });
    (format!("$JS.API.CONSUMER.MSG.NEXT.{}.{CONSUMER}", subjects::stream(run)), asked.to_string().into_bytes())
}

/// An answer of JetStream, as far as it is read.
#[derive(Debug, Default, Deserialize)]
pub struct Answer {
    #[serde(default)]
    pub error: Option<AnswerError>,
    /// When the stream or consumer was made.
    #[serde(default)]
    pub created: Option<String>,
    #[serde(default)]
    pub delivered: Option<Delivered>,
    /// Number of messages that were not delivered yet.
    #[serde(default)]
    pub num_pending: Option<u64>,
    /// The number of a message that was stored.
    #[serde(default)]
    pub seq: Option<u64>,
    #[serde(default)]
    pub streams: Vec<StreamInfo>,
}

#[derive(Debug, Deserialize)]
pub struct StreamInfo {
    config: StreamName,
}

#[derive(Debug, Deserialize)]
struct StreamName {
    name: String,
}

impl StreamInfo {
    /// Returns the run whose chunks it has.
    pub fn run(&self) -> Option<RunId> {
        subjects::streamed(&self.config.name)
    }
}

#[derive(Debug, Deserialize)]
pub struct AnswerError {
    #[serde(default)]
    pub code: u16,
    /// The number of the error in JetStream's own list.
    #[serde(default)]
    pub err_code: u32,
    #[serde(default)]
    pub description: String,
}

/// Errors of JetStream by which an account has no room for one more run: its streams, its consumers, its memory.
const NO_ROOM: [u32; 6] = [10002, 10023, 10026, 10027, 10028, 10047];

impl AnswerError {
    /// Returns why a run cannot have what it asked for.
    pub fn why(&self, storage: ChunkStorage) -> String {
        let said = ForeignText::of(&self.description);
        let (place, full) = match storage {
            ChunkStorage::Memory => ("memory", ""),
            ChunkStorage::File => ("files", ", or the disk of the server is full"),
        };
        match NO_ROOM.contains(&self.err_code) {
            true => format!(
                "{said}; each run takes a stream in {place}: other runs have to end, or the JetStream limits of the server or the \
                 account to be raised{full}"
            ),
            false => said.to_string(),
        }
    }
}

#[derive(Debug, Deserialize)]
pub struct Delivered {
    #[serde(default)]
    pub stream_seq: u64,
}

impl Answer {
    pub fn read(bytes: &[u8]) -> Answer {
        serde_json::from_slice(bytes).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_runs_are_found_among_others() {
        let run = RunId([7; 16]);
        let stream = |name: &str| json!({ "config": { "name": name }, "state": {} });
        let answer = json!({ "streams": [stream("ORDERS"), stream(&subjects::stream(run))] }).to_string();
        let runs: Vec<_> = Answer::read(answer.as_bytes()).streams.iter().map(StreamInfo::run).collect();
        assert_eq!(runs, [None, Some(run)]);
    }
}
