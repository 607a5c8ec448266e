//! The content of an object as JSON. Bytes that are UTF-8 are a text, all others `{"base64": "…"}`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wasmpool_core::share::{ObjectForm, ObjectSpec};
use wasmpool_core::text::QuotedName;

use super::{Contents, ContentsError, unfit};

/// Returns the content as JSON.
pub fn write(contents: Contents) -> Value {
    match contents {
        Contents::Sequence(all) => Value::Array(all.into_iter().map(write_bytes).collect()),
        Contents::Entries(all) => {
            Value::Object(all.into_iter().map(|(key, value)| (key, write_bytes(value))).collect())
        }
        Contents::Slots(n) => n.into(),
        Contents::Flag(is) => is.into(),
    }
}

/// Reads the content of this object from JSON, and checks it. The error names the object, and the place in it.
pub fn read(spec: &ObjectSpec, value: Value) -> Result<Contents, ContentsError> {
    let contents = match (&spec.form, value) {
        (ObjectForm::Queue { .. } | ObjectForm::List, Value::Array(all)) => {
            let read = |(index, value)| read_bytes(value).map_err(|reason| format!("element {index} {reason}"));
            let all: Result<_, String> = all.into_iter().enumerate().map(read).collect();
            Contents::Sequence(all.map_err(|reason| ContentsError::new(spec, reason))?)
        }
        (ObjectForm::Dict | ObjectForm::Namespace, Value::Object(all)) => {
            let read = |(key, value)| match read_bytes(value) {
                Ok(value) => Ok((key, value)),
                Err(reason) => Err(format!("the value of {} {reason}", QuotedName::of(&key))),
            };
            let all: Result<_, String> = all.into_iter().map(read).collect();
            Contents::Entries(all.map_err(|reason| ContentsError::new(spec, reason))?)
        }
        (ObjectForm::Semaphore { .. }, Value::Number(n)) => match n.as_u64() {
            Some(n) => Contents::Slots(n),
            None => return Err(ContentsError::new(spec, format!("{n} is not a number of slots"))),
        },
        (ObjectForm::Event, Value::Bool(is)) => Contents::Flag(is),
        _ => return Err(unfit(spec)),
    };
    contents.check(spec)?;
    Ok(contents)
}

fn write_bytes(bytes: Vec<u8>) -> Value {
    match String::from_utf8(bytes) {
        Ok(text) => Value::String(text),
        Err(error) => json!({ "base64": STANDARD.encode(error.as_bytes()) }),
    }
}

/// Returns the bytes, or how a sentence goes on that says what is wrong with them.
fn read_bytes(value: Value) -> Result<Vec<u8>, String> {
    const NEITHER: &str = "is neither a text nor {\"base64\": \"…\"}; write numbers and other data as text";
    match value {
        Value::String(text) => Ok(text.into_bytes()),
        Value::Object(members) if members.len() == 1 => {
            let coded = members.get("base64").and_then(Value::as_str).ok_or(NEITHER)?;
            STANDARD.decode(coded).map_err(|error| format!("is not valid base64: {error}"))
        }
        _ => Err(NEITHER.into()),
    }
}
