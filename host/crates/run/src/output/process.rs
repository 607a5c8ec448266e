//! Records of the named processes of a run: one JSON object for each.

use std::io::Write;
use std::time::Duration;

use super::{invalid, one_json_value, record};
use crate::supervisor::EncodedValue;
use wasmpool_core::outcome::Failure;

/// One process of several with the same name, and what its record tells however it ended.
#[derive(Clone, Copy, Debug)]
pub struct ProcessRecord<'a> {
    /// Plain characters, which JSON writes as they are.
    pub name: &'a str,
    pub number: u32,
    /// Time of the last attempt.
    pub elapsed: Duration,
    pub attempts: u32,
}

impl ProcessRecord<'_> {
    /// Appends the record of a process that succeeded, with the value that its function returned.
    pub fn ok(&self, value: Option<&[u8]>, to: &mut Vec<u8>) {
        self.begin("ok", to);
        if let Some(value) = value {
            to.extend_from_slice(b",\"value\":");
            to.extend_from_slice(value);
        }
        self.end(to);
    }

    /// Appends the record of a process that failed.
    pub fn failed(&self, failure: &Failure, to: &mut Vec<u8>) {
        self.begin("failed", to);
        record::merge(failure, to);
        self.end(to);
    }

    /// Appends the record of a process that was ended, and is not to blame.
    pub fn terminated(&self, to: &mut Vec<u8>) {
        self.begin("terminated", to);
        self.end(to);
    }

    fn begin(&self, status: &str, to: &mut Vec<u8>) {
        let ProcessRecord { name, number, .. } = self;
        // Writing to memory does not fail.
        let _ = write!(to, "{{\"name\":\"{name}\",\"number\":{number},\"status\":\"{status}\"");
    }

    fn end(&self, to: &mut Vec<u8>) {
        let elapsed = u64::try_from(self.elapsed.as_micros()).unwrap_or(u64::MAX);
        let _ = writeln!(to, ",\"elapsed_us\":{elapsed},\"attempts\":{}}}", self.attempts);
    }
}

/// Returns the one JSON value that a worker sent, on one line.
///
/// # Errors
///
/// Fails with the kind `invalid-output` if it is anything else.
pub fn json_value(value: EncodedValue<'_>) -> Result<Vec<u8>, Failure> {
    match value {
        EncodedValue::One(element) => one_json_value(&element).map(|()| element.into_owned()),
        EncodedValue::Many(_) => Err(invalid("the worker sent several values for one call")),
    }
}

/// Returns the bytes that a command wrote.
///
/// # Errors
///
/// As [`json_value`].
pub fn raw_value(value: EncodedValue<'_>) -> Result<Vec<u8>, Failure> {
    match value {
        EncodedValue::One(element) => Ok(element.into_owned()),
        EncodedValue::Many(_) => Err(invalid("the worker sent several values for one call")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmpool_core::outcome::FailureKind;

    const RECORD: ProcessRecord<'_> =
        ProcessRecord { name: "sum", number: 2, elapsed: Duration::from_micros(5), attempts: 3 };

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut bytes = Vec::new();
        write(&mut bytes);
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn each_end_of_a_process_has_one_line() {
        assert_eq!(
            written(|to| RECORD.ok(Some(b"[1]"), to)),
            "{\"name\":\"sum\",\"number\":2,\"status\":\"ok\",\"value\":[1],\"elapsed_us\":5,\"attempts\":3}\n"
        );
        let failure = Failure::new(FailureKind::Trap, "a\nb\u{9b}");
        assert_eq!(
            written(|to| RECORD.failed(&failure, to)),
            "{\"name\":\"sum\",\"number\":2,\"status\":\"failed\",\"kind\":\"trap\",\"message\":\"a\\nb\\u009b\",\
             \"elapsed_us\":5,\"attempts\":3}\n"
        );
        assert_eq!(
            written(|to| RECORD.terminated(to)),
            "{\"name\":\"sum\",\"number\":2,\"status\":\"terminated\",\"elapsed_us\":5,\"attempts\":3}\n"
        );
    }
}
