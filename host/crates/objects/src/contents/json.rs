//! The content of an object as JSON. Bytes that are UTF-8 are a text, all others `{"base64": "…"}`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wasmpool_core::share::{ObjectForm, ObjectSpec};
use wasmpool_core::text::QuotedName;

use super::{Contents, ContentsError, unfit};

/// Returns a message, an element or the value of an entry as JSON.
pub fn write_bytes(bytes: Vec<u8>) -> Value {
    match String::from_utf8(bytes) {
        Ok(text) => Value::String(text),
        Err(error) => json!({ "base64": STANDARD.encode(error.as_bytes()) }),
    }
}

/// Reads the message or element with this index from JSON.
pub fn read_element(spec: &ObjectSpec, index: usize, value: Value) -> Result<Vec<u8>, ContentsError> {
    read_bytes(value).map_err(|reason| ContentsError::new(spec, format!("element {index} {reason}")))
}

/// Reads the value of this key from JSON.
pub fn read_entry(spec: &ObjectSpec, key: &str, value: Value) -> Result<Vec<u8>, ContentsError> {
    read_bytes(value)
        .map_err(|reason| ContentsError::new(spec, format!("the value of {} {reason}", QuotedName::of(key))))
}

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
            let all = all.into_iter().enumerate().map(|(index, value)| read_element(spec, index, value));
            Contents::Sequence(all.collect::<Result<_, _>>()?)
        }
        (ObjectForm::Dict | ObjectForm::Namespace, Value::Object(all)) => {
            let read = |(key, value): (String, Value)| Ok((key.clone(), read_entry(spec, &key, value)?));
            Contents::Entries(all.into_iter().map(read).collect::<Result<_, _>>()?)
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
