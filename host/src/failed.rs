//! Failed items as lines that `map` reads again: the record of the failure, with the item in it.
//!
//! A line begins with [`MARK`], so that an ordinary item costs a look at its first bytes and no more.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::lane::frame::ItemTag;
use crate::outcome::{Failure, Kind};
use crate::value::{self, Form};

/// The member that says what a line is; the first, in compact JSON, as we write it and `jq -c` leaves it.
const MARK: &[u8] = b"{\"wasmpool\":\"failed\",";

/// What `input` holds, and how the item is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Input {
    /// The item itself, JSON.
    Json,
    /// An item that was to be JSON and is not: its text, or the base64 of its bytes.
    JsonText,
    JsonBase64,
    /// An item of bytes: its text where it is UTF-8, else the base64.
    Text,
    Base64,
    /// A row of CSV, as an object of its cells.
    Row,
    /// Null: the item could not be read, and `message` says why.
    Unreadable,
}

#[derive(Deserialize)]
struct Line<'a> {
    form: Input,
    #[serde(borrow)]
    input: &'a RawValue,
    #[serde(borrow)]
    message: Cow<'a, str>,
}

/// An item's bytes, and how they are to be read.
pub type Given<'a> = (Cow<'a, [u8]>, Form);

/// The item of a line; `None` if the bytes are no such line, but an item themselves.
pub fn read(item: &[u8]) -> Option<Result<Given<'_>, Failure>> {
    let line = parse(item)?;
    let text = || serde_json::from_str::<Cow<'_, str>>(line.input.get()).ok();
    let base64 = || value::decode_bytes(line.input.get().as_bytes(), Form::Json).ok();
    let bytes = |text: Cow<'_, str>| Cow::Owned(text.into_owned().into_bytes());
    Some(Ok(match line.form {
        Input::Json => (Cow::Borrowed(line.input.get().as_bytes()), Form::Json),
        Input::Row => (Cow::Borrowed(line.input.get().as_bytes()), Form::Csv),
        Input::JsonText => (bytes(text()?), Form::Json),
        Input::Text => (bytes(text()?), Form::Bytes),
        Input::JsonBase64 => (Cow::Owned(base64()?.into_owned()), Form::Json),
        Input::Base64 => (Cow::Owned(base64()?.into_owned()), Form::Bytes),
        Input::Unreadable => return Some(Err(Failure::new(Kind::InvalidInput, line.message))),
    }))
}

fn parse(item: &[u8]) -> Option<Line<'_>> {
    let item = item.trim_ascii_start();
    if !item.starts_with(MARK) {
        return None;
    }
    serde_json::from_slice(item).ok()
}

/// Begins a line: the mark, and the item, which came in this form. An item that is such a line itself is taken out of it,
/// so that lines do not grow from run to run.
pub fn begin(tag: ItemTag, item: &[u8], form: Form, to: &mut Vec<u8>) {
    to.extend_from_slice(MARK);
    to.extend_from_slice(b"\"form\":");
    if (tag, form) == (ItemTag::Item, Form::Json)
        && let Some(line) = parse(item)
    {
        member(line.form, line.input.get().as_bytes(), to);
        return;
    }
    let text = || std::str::from_utf8(item).ok();
    let form = match (tag, form) {
        (ItemTag::Unreadable, _) => Input::Unreadable,
        (ItemTag::Item, Form::Csv) => Input::Row,
        (ItemTag::Item, Form::Bytes) => text().map_or(Input::Base64, |_| Input::Text),
        (ItemTag::Item, Form::Json) => match text() {
            None => Input::JsonBase64,
            Some(text) if is_one_line_of_json(text.trim_ascii()) => Input::Json,
            Some(_) => Input::JsonText,
        },
    };
    let mut quoted = Vec::new();
    let input = match (form, text()) {
        (Input::Unreadable, _) => b"null",
        (Input::Json | Input::Row, _) => item.trim_ascii(),
        (Input::JsonText | Input::Text, Some(text)) => {
            value::encode_string(text, &mut quoted);
            &quoted
        }
        _ => {
            value::encode_bytes(item, &mut quoted);
            &quoted
        }
    };
    member(form, input, to);
}

fn member(form: Input, input: &[u8], to: &mut Vec<u8>) {
    // Names of cases do not fail to be written to memory.
    let _ = serde_json::to_writer(&mut *to, &form);
    to.extend_from_slice(b",\"input\":");
    to.extend_from_slice(input);
}

fn is_one_line_of_json(text: &str) -> bool {
    !text.contains(['\n', '\r']) && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A whole line, of a trap.
    fn line(tag: ItemTag, item: &[u8], form: Form) -> Vec<u8> {
        let mut line = Vec::new();
        begin(tag, item, form, &mut line);
        line.extend_from_slice(
            b",\"index\":7,\"status\":\"failed\",\"kind\":\"trap\",\"message\":\"why\",\"more\":[]}",
        );
        line
    }

    fn forms() -> impl Strategy<Value = Form> {
        prop_oneof![Just(Form::Json), Just(Form::Bytes)]
    }

    proptest! {
        #[test]
        fn what_is_written_is_one_line_of_json_and_is_read_as_the_item_it_was(item in any::<Vec<u8>>(), form in forms()) {
            let line = line(ItemTag::Item, &item, form);
            prop_assert!(!line.contains(&b'\n'));
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&line).is_ok());
            let (read, as_form) = read(&line).expect("a line of ours").expect("it can be read");
            prop_assert_eq!(as_form, form);
            if form == Form::Bytes {
                prop_assert_eq!(&*read, &item[..]);
            } else {
                prop_assert_eq!(read.trim_ascii(), item.trim_ascii());
            }
        }

        #[test]
        fn json_stands_in_the_line_as_it_stood_in_the_input(text in "[ -~]{0,40}", number in any::<f64>()) {
            for item in [serde_json::to_string(&text).unwrap_or_default(), format!("[ {number} ,1.0]")] {
                let line = String::from_utf8(line(ItemTag::Item, item.as_bytes(), Form::Json)).unwrap_or_default();
                let stands = format!(r#"{{"wasmpool":"failed","form":"json","input":{item},"index""#);
                prop_assert!(line.starts_with(&stands), "{}", line);
            }
        }

        #[test]
        fn a_line_that_fails_again_is_not_wrapped_again(item in any::<Vec<u8>>(), form in forms()) {
            let once = line(ItemTag::Item, &item, form);
            prop_assert_eq!(&line(ItemTag::Item, &once, Form::Json), &once);
        }

        #[test]
        fn other_items_are_left_alone(item in any::<Vec<u8>>(), rest in "[ -~]{0,30}") {
            prop_assert!(read(&item).is_none());
            prop_assert!(read(MARK).is_none());
            let record = format!(r#"{{"index":1,"status":"failed",{}"#, rest);
            prop_assert!(read(record.as_bytes()).is_none());
        }
    }

    #[test]
    fn an_item_that_could_not_be_read_fails_again_for_the_same_reason() {
        let line = line(ItemTag::Unreadable, b"no such file", Form::Bytes);
        let failure = read(&line).expect("a line of ours").expect_err("it has no item");
        assert_eq!((failure.kind, &*failure.message), (Kind::InvalidInput, "why"));
    }
}
