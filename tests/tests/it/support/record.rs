//! Records as `docs/reference.md` describes them. Reading one checks its form, so every test that reads records checks
//! it.

use serde_json::{Map, Value};

const KINDS: [&str; 12] = [
    "error",
    "trap",
    "timeout",
    "fuel",
    "memory",
    "output-too-large",
    "invalid-input",
    "invalid-output",
    "exit",
    "worker-lost",
    "cancelled",
    "ok",
];

/// One line of `--output-format records`.
#[derive(Debug)]
pub struct Record(Map<String, Value>);

/// Returns the records of an output, in its order.
#[track_caller]
pub fn records(text: &str) -> Vec<Record> {
    text.lines().map(Record::read).collect()
}

impl Record {
    #[track_caller]
    pub fn read(line: &str) -> Self {
        let Ok(Value::Object(fields)) = serde_json::from_str(line) else {
            panic!("not a record: {line}");
        };
        let record = Self(fields);
        record.check(line);
        record
    }

    pub fn index(&self) -> u64 {
        self.number("index")
    }

    pub fn attempts(&self) -> u64 {
        self.number("attempts")
    }

    pub fn worker(&self) -> u64 {
        self.number("worker")
    }

    /// Returns the kind of its failure, or `ok`.
    pub fn kind(&self) -> &str {
        match self.0["status"].as_str() {
            Some("ok") => "ok",
            _ => self.0["kind"].as_str().expect("a kind is a string"),
        }
    }

    pub fn message(&self) -> &str {
        self.0["message"].as_str().expect("a message is a string")
    }

    pub fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field)
    }

    #[track_caller]
    pub fn value(&self) -> &Value {
        self.get("value").unwrap_or_else(|| panic!("no value: {self:?}"))
    }

    #[track_caller]
    fn number(&self, field: &str) -> u64 {
        self.get(field).and_then(Value::as_u64).unwrap_or_else(|| panic!("{field} is not a number: {self:?}"))
    }

    #[track_caller]
    fn check(&self, line: &str) {
        let status = self.0.get("status").and_then(Value::as_str);
        let mut needed = vec!["index", "status", "elapsed_us", "attempts"];
        let mut allowed = vec!["task", "kept", "host", "worker", "source", "stdout", "stderr"];
        match status {
            Some("ok") => {
                needed.extend(["value", "worker"]);
                // Members of a command's failure.
                allowed.extend(["code", "encoding"]);
            }
            Some("failed") => {
                needed.extend(["kind", "message"]);
                self.check_failure(line, &mut needed, &mut allowed);
            }
            _ => panic!("status is neither ok nor failed: {line}"),
        }
        for field in &needed {
            assert!(self.0.contains_key(*field), "no {field}: {line}");
        }
        for field in self.0.keys() {
            let known = needed.iter().chain(&allowed).any(|name| name == field);
            assert!(known, "{field} is not a field of this record: {line}");
        }
        for field in ["index", "elapsed_us", "attempts"] {
            self.number(field);
        }
        for field in ["stdout", "stderr"] {
            if let Some(written) = self.0.get(field) {
                assert!(written.is_string(), "{field} is not text: {line}");
            }
        }
    }

    fn check_failure(&self, line: &str, needed: &mut Vec<&str>, allowed: &mut Vec<&str>) {
        let kind = self.0.get("kind").and_then(Value::as_str).unwrap_or("");
        assert!(KINDS.contains(&kind) && kind != "ok", "not a kind of failure: {line}");
        assert!(!self.message().is_empty(), "an empty message: {line}");
        match kind {
            "error" => needed.push("error"),
            "trap" => needed.push("trace"),
            "exit" => needed.push("code"),
            "worker-lost" => {
                let either = self.0.contains_key("signal") || self.0.contains_key("code");
                assert!(either, "neither signal nor code: {line}");
                allowed.extend(["signal", "code"]);
            }
            _ => {}
        }
        // An item that no worker saw (never sent, or its file unreadable) names no worker.
        if !matches!(kind, "cancelled" | "invalid-input") {
            needed.push("worker");
        }
        allowed.extend(["trace", "denied"]);
        if let Some(denied) = self.0.get("denied") {
            let denied = denied.as_array().expect("what was denied is an array");
            assert!(!denied.is_empty() && denied.iter().all(Value::is_string), "denied: {line}");
        }
        if let Some(trace) = self.0.get("trace") {
            let frames = trace.as_array().expect("a trace is an array");
            assert!(frames.iter().all(Value::is_string), "frames: {line}");
        }
    }
}
