//! Failed items as lines that `map` can read again: each is the record of the failure, with the item in it.
//!
//! The first member of a line identifies it, so telling an ordinary item apart costs a look at its first bytes and no more. A
//! line that begins like this and cannot be read is no ordinary item either: it is damaged, and is told as that.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::item::ItemTag;
use crate::json;
use crate::outcome::{Failure, FailureKind};
use crate::policy::ItemEncoding;
use crate::row;
use crate::setting::Setting;

/// The beginning of a line, as this program writes it and `jq -c` leaves it.
pub const MARK: &[u8] = b"{\"wasmpool\":\"failed\",";
/// The parts of the first member of a line. Programs that write JSON may put blanks between them.
const NAME: &[u8] = b"\"wasmpool\"";
const FAILED: &[u8] = b"\"failed\"";

/// Form in which the member `input` holds an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum FailedInput {
    /// The item itself, which is JSON.
    Json,
    /// An item that was expected to be JSON and is not: its text, or the base64 of its bytes.
    JsonText,
    JsonBase64,
    /// An item of bytes: its text if it is UTF-8, else its base64.
    Text,
    Base64,
    /// A row of CSV, as an object or an array of its cells.
    Row,
    /// A row of CSV that could not be cut into the expected cells: its text, or the base64 of its bytes. `columns` and
    /// `delimiter` say how to cut it.
    CsvText,
    CsvBase64,
    /// The path of a file that could not be read.
    Path,
    PathBase64,
    /// Null: there is no item, and `message` says why.
    Unreadable,
}

#[derive(Deserialize)]
struct FailedLine<'a> {
    form: FailedInput,
    #[serde(borrow)]
    input: &'a RawValue,
    /// Null if there is no header.
    #[serde(borrow, default)]
    columns: Option<&'a RawValue>,
    #[serde(borrow, default)]
    delimiter: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(default)]
    index: Option<u64>,
    #[serde(borrow, default)]
    source: Option<Cow<'a, str>>,
}

/// How a line is damaged that was one of a failed item.
#[derive(Debug)]
enum Damage {
    /// It breaks off behind this many bytes.
    BreaksOff(usize),
    /// It is no JSON from this byte on, or has no or another member than is needed.
    Wrong(serde_json::Error),
    /// Its `input` is not of its `form`.
    OtherForm(FailedInput),
}

impl Damage {
    fn of(line: &[u8], error: serde_json::Error) -> Damage {
        match error.is_eof() {
            true => Damage::BreaksOff(line.len()),
            false => Damage::Wrong(error),
        }
    }

    fn message(&self) -> String {
        format!(
            "this is a damaged line of an item that failed: {self}. Put the item itself in its place, from the input of the run in \
             which it failed, or remove the line"
        )
    }

    fn failure(&self) -> Failure {
        Failure::new(FailureKind::InvalidInput, self.message())
    }
}

impl Display for Damage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Damage::BreaksOff(length) => write!(f, "it breaks off after {length} bytes"),
            // Each line is a text of its own to serde, whose line is always the first.
            Damage::Wrong(error) => {
                write!(f, "{} at byte {}", json::problem(error), error.column())
            }
            Damage::OtherForm(form) => {
                // Writing the name of a variant to memory does not fail.
                let form = serde_json::to_string(form).unwrap_or_default();
                write!(f, "its member `input` is not what its member `form` says, {form}")
            }
        }
    }
}

impl FailedLine<'_> {
    /// Returns the bytes that `input` stands for.
    fn bytes(&self) -> Result<Vec<u8>, Damage> {
        let bytes = match self.form {
            FailedInput::JsonBase64 | FailedInput::Base64 | FailedInput::CsvBase64 | FailedInput::PathBase64 => {
                json::decode_bytes(self.input.get())
            }
            _ => serde_json::from_str::<String>(self.input.get()).ok().map(String::into_bytes),
        };
        bytes.ok_or(Damage::OtherForm(self.form))
    }

    /// Returns the line if its input is what its form says.
    fn checked(self) -> Result<Self, Damage> {
        match self.form {
            FailedInput::Json | FailedInput::Row | FailedInput::Unreadable => Ok(self),
            _ => self.bytes().map(|_| self),
        }
    }

    /// Cuts a row of CSV and returns the object or the array of its cells.
    fn row(&self, text: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
        let columns: Option<Vec<String>> =
            self.columns.map(|columns| serde_json::from_str(columns.get())).transpose()?;
        let delimiter: Option<String> = self.delimiter.and_then(|it| serde_json::from_str(it.get()).ok());
        let delimiter = delimiter.and_then(|it| it.bytes().next()).unwrap_or(b',');
        Ok(row::of_text(text, delimiter, columns.as_deref())?)
    }
}

/// An item's bytes, and how to read them.
pub type ReadItem<'a> = (Cow<'a, [u8]>, ItemEncoding);

/// Returns the item that a line holds, or `None` if the bytes are not such a line but an ordinary item. A damaged line is an
/// item that failed.
pub fn read(item: &[u8]) -> Option<Result<ReadItem<'_>, Failure>> {
    parse(item).map(|line| line.map_err(|damage| damage.failure()).and_then(item_of))
}

fn item_of(line: FailedLine<'_>) -> Result<ReadItem<'_>, Failure> {
    let invalid = |message: Cow<'_, str>| Err(Failure::new(FailureKind::InvalidInput, message));
    let bytes = || line.bytes().map_err(|damage| damage.failure());
    match line.form {
        // A damaged line that failed as such is in a line itself.
        FailedInput::Json => {
            let item = line.input.get().as_bytes();
            read(item).unwrap_or(Ok((Cow::Borrowed(item), ItemEncoding::Json)))
        }
        FailedInput::JsonText | FailedInput::JsonBase64 => {
            let item = bytes()?;
            let inner = read(&item).map(|inner| inner.map(|(item, form)| (item.into_owned(), form))).transpose()?;
            let (item, form) = inner.unwrap_or((item, ItemEncoding::Json));
            Ok((Cow::Owned(item), form))
        }
        FailedInput::Row => Ok((Cow::Borrowed(line.input.get().as_bytes()), ItemEncoding::Csv)),
        FailedInput::Text | FailedInput::Base64 => Ok((Cow::Owned(bytes()?), ItemEncoding::Bytes)),
        FailedInput::CsvText | FailedInput::CsvBase64 => match line.row(&bytes()?) {
            Ok(row) => Ok((Cow::Owned(row), ItemEncoding::Csv)),
            Err(e) => invalid(e.to_string().into()),
        },
        // A line of input must not decide which files the host opens, unless the user has said that the input names
        // files.
        FailedInput::Path | FailedInput::PathBase64 => {
            let hint = format!("; {} reads it again", Setting::InputOfFiles);
            let known = line.message.ends_with(&hint);
            invalid(if known { line.message } else { format!("{}{hint}", line.message).into() })
        }
        FailedInput::Unreadable => invalid(line.message),
    }
}

/// Returns true if the bytes are the line of a failed item, damaged or not.
pub fn is_line(item: &[u8]) -> bool {
    parse(item).is_some()
}

/// Where a failed item was in the run in which it failed first.
#[derive(Debug, PartialEq, Eq)]
pub struct OriginalPlace<'a> {
    pub index: Option<u64>,
    pub source: Option<Cow<'a, str>>,
}

/// Returns where the item of a line was originally, or `None` if the bytes are not such a line, or one that is damaged.
pub fn original(item: &[u8]) -> Option<OriginalPlace<'_>> {
    let FailedLine { index, source, .. } = parse(item)?.ok()?;
    Some(OriginalPlace { index, source })
}

/// Meaning of a failed item's line in an input whose lines name files.
#[derive(Debug, PartialEq, Eq)]
pub enum NamedInput {
    /// The path of the file, which is to be read again.
    Path(Vec<u8>),
    /// The contents of the file.
    Item(Vec<u8>),
    /// The line is from a run whose input did not name files.
    Other,
    /// The line is damaged, for this reason.
    Damaged(String),
}

/// Returns what a line stands for in an input whose lines name files, or `None` if the bytes are not such a line.
pub fn read_named(item: &[u8]) -> Option<NamedInput> {
    let damaged = |damage: Damage| NamedInput::Damaged(damage.message());
    Some(match parse(item)? {
        Err(damage) => damaged(damage),
        Ok(line) => match line.form {
            FailedInput::Path | FailedInput::PathBase64 => line.bytes().map_or_else(damaged, NamedInput::Path),
            FailedInput::Text | FailedInput::Base64 => line.bytes().map_or_else(damaged, NamedInput::Item),
            FailedInput::Json => read_named(line.input.get().as_bytes()).unwrap_or(NamedInput::Other),
            FailedInput::JsonText | FailedInput::JsonBase64 => match line.bytes() {
                Ok(inner) => read_named(&inner).unwrap_or(NamedInput::Other),
                Err(damage) => damaged(damage),
            },
            _ => NamedInput::Other,
        },
    })
}

/// Returns the line of a failed item, or `None` if the bytes are an ordinary item.
fn parse(item: &[u8]) -> Option<Result<FailedLine<'_>, Damage>> {
    let item = item.trim_ascii();
    begins_like_line(item).then(|| {
        let line = serde_json::from_slice::<FailedLine<'_>>(item).map_err(|error| Damage::of(item, error));
        line.and_then(FailedLine::checked)
    })
}

/// Returns true if an item begins with the first member of a line, or is nothing but the beginning of one.
#[inline]
fn begins_like_line(item: &[u8]) -> bool {
    let Some(rest) = item.strip_prefix(b"{") else { return false };
    let Some(rest) = rest.trim_ascii_start().strip_prefix(NAME) else { return false };
    let Some((b':', rest)) = rest.trim_ascii_start().split_first() else { return rest.trim_ascii_start().is_empty() };
    let value = rest.trim_ascii_start();
    FAILED.starts_with(&value[..value.len().min(FAILED.len())])
}

/// The original text of an item that could not be read, as it stood in the input.
#[derive(Clone, Copy, Debug)]
pub enum RawText<'a> {
    /// The text is missing, or too long to be kept.
    Nothing,
    /// The path of a file.
    Path(&'a [u8]),
    /// A failed item's line of an earlier run; the item in it is meant.
    Line(&'a [u8]),
    /// A row of CSV, the names of the expected columns (if they have names), and the delimiter.
    Row { text: &'a [u8], columns: Option<&'a [String]>, delimiter: u8 },
}

impl RawText<'_> {
    /// Appends the members of a line that hold this text.
    fn append(&self, to: &mut Vec<u8>) {
        match *self {
            RawText::Nothing => member(FailedInput::Unreadable, b"null", to),
            RawText::Line(line) => match parse(line) {
                Some(Ok(line)) => again(&line, to),
                Some(Err(_)) => text_or_base64(line, FailedInput::JsonText, FailedInput::JsonBase64, to),
                None => RawText::Nothing.append(to),
            },
            RawText::Path(path) => text_or_base64(path, FailedInput::Path, FailedInput::PathBase64, to),
            RawText::Row { text, columns, delimiter } => {
                text_or_base64(text, FailedInput::CsvText, FailedInput::CsvBase64, to);
                if let Some(columns) = columns {
                    to.extend_from_slice(b",\"columns\":");
                    // Writing strings to memory does not fail.
                    let _ = serde_json::to_writer(&mut *to, columns);
                }
                if delimiter != b',' {
                    to.extend_from_slice(b",\"delimiter\":");
                    json::encode_string(char::from(delimiter).encode_utf8(&mut [0; 4]), to);
                }
            }
        }
    }
}

/// Appends the bytes that take the place of an item that could not be read: the reason and the original text. The
/// reason goes to a worker, because every outcome comes from one; the text is kept for the failed item's line.
pub fn unreadable(reason: &str, raw: &RawText<'_>, to: &mut Vec<u8>) {
    to.extend_from_slice(&(reason.len() as u32).to_ne_bytes());
    to.extend_from_slice(reason.as_bytes());
    raw.append(to);
}

/// Splits bytes that [`unreadable`] put together into the reason and the members with the original text.
pub fn split_unreadable(item: &[u8]) -> (&[u8], &[u8]) {
    let parts = item
        .split_first_chunk()
        .and_then(|(length, rest)| rest.split_at_checked(usize::try_from(u32::from_ne_bytes(*length)).ok()?));
    parts.expect("it was put together by `unreadable`")
}

/// Begins a line with the mark and the item, which was read in the given form. If the item is itself the line of a
/// failed item, the item in it is taken out, so that lines do not grow from run to run.
pub fn begin(tag: ItemTag, item: &[u8], form: ItemEncoding, to: &mut Vec<u8>) {
    to.extend_from_slice(MARK);
    match (tag, form) {
        (ItemTag::Unreadable, _) => match split_unreadable(item).1 {
            [] => RawText::Nothing.append(to),
            members => to.extend_from_slice(members),
        },
        (ItemTag::Item, ItemEncoding::Csv) => member(FailedInput::Row, item.trim_ascii(), to),
        (ItemTag::Item, ItemEncoding::Bytes) => text_or_base64(item, FailedInput::Text, FailedInput::Base64, to),
        (ItemTag::Item, ItemEncoding::Json | ItemEncoding::Typed) => match (parse(item), std::str::from_utf8(item)) {
            (Some(Ok(line)), _) => again(&line, to),
            (_, Ok(text)) if is_one_line_of_json(text.trim_ascii()) => member(FailedInput::Json, item.trim_ascii(), to),
            (_, _) => text_or_base64(item, FailedInput::JsonText, FailedInput::JsonBase64, to),
        },
    }
}

/// Appends the members of a line that hold its item.
fn again(line: &FailedLine<'_>, to: &mut Vec<u8>) {
    member(line.form, line.input.get().as_bytes(), to);
    for (name, value) in [("columns", line.columns), ("delimiter", line.delimiter)] {
        if let Some(value) = value {
            to.extend_from_slice(format!(",\"{name}\":{}", value.get()).as_bytes());
        }
    }
}

fn text_or_base64(bytes: &[u8], as_text: FailedInput, as_base64: FailedInput, to: &mut Vec<u8>) {
    let mut quoted = Vec::new();
    let form = match std::str::from_utf8(bytes) {
        Ok(text) => {
            json::encode_string(text, &mut quoted);
            as_text
        }
        Err(_) => {
            json::encode_bytes(bytes, &mut quoted);
            as_base64
        }
    };
    member(form, &quoted, to);
}

fn member(form: FailedInput, input: &[u8], to: &mut Vec<u8>) {
    to.extend_from_slice(b"\"form\":");
    // Writing the name of a variant to memory does not fail.
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

    /// Returns the complete line of an item that trapped.
    fn line(tag: ItemTag, item: &[u8], form: ItemEncoding) -> Vec<u8> {
        let mut line = Vec::new();
        begin(tag, item, form, &mut line);
        line.extend_from_slice(
            b",\"index\":7,\"status\":\"failed\",\"kind\":\"trap\",\"message\":\"why\",\"more\":[]}",
        );
        line
    }

    fn forms() -> impl Strategy<Value = ItemEncoding> {
        prop_oneof![Just(ItemEncoding::Json), Just(ItemEncoding::Bytes)]
    }

    proptest! {
        #[test]
        fn what_is_written_is_one_line_of_json_and_is_read_as_the_item_it_was(item in any::<Vec<u8>>(), form in forms()) {
            let line = line(ItemTag::Item, &item, form);
            prop_assert!(!line.contains(&b'\n'));
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&line).is_ok());
            let (read, as_form) = read(&line).expect("a line of ours").expect("it can be read");
            prop_assert_eq!(as_form, form);
            if form == ItemEncoding::Bytes {
                prop_assert_eq!(&*read, &item[..]);
            } else {
                prop_assert_eq!(read.trim_ascii(), item.trim_ascii());
            }
        }

        #[test]
        fn json_stands_in_the_line_as_it_stood_in_the_input(text in "[ -~]{0,40}", number in any::<f64>()) {
            for item in [serde_json::to_string(&text).unwrap_or_default(), format!("[ {number} ,1.0]")] {
                let line = String::from_utf8(line(ItemTag::Item, item.as_bytes(), ItemEncoding::Json)).unwrap_or_default();
                let stands = format!(r#"{{"wasmpool":"failed","form":"json","input":{item},"index""#);
                prop_assert!(line.starts_with(&stands), "{}", line);
            }
        }

        #[test]
        fn a_line_that_fails_again_is_not_wrapped_again(item in any::<Vec<u8>>(), form in forms()) {
            let once = line(ItemTag::Item, &item, form);
            prop_assert_eq!(&line(ItemTag::Item, &once, ItemEncoding::Json), &once);
        }

        #[test]
        fn other_items_are_left_alone(item in any::<Vec<u8>>(), rest in "[ -~]{0,30}") {
            prop_assert!(read(&item).is_none());
            let record = format!(r#"{{"index":1,"status":"failed",{}"#, rest);
            prop_assert!(read(record.as_bytes()).is_none());
        }
    }

    proptest! {
        #[test]
        fn a_line_that_breaks_off_is_told_as_that_and_kept_as_it_was(item in "[ -~]{0,30}", cut in 13_usize..150, blank in any::<bool>()) {
            let text = serde_json::to_string(&item).unwrap_or_default();
            let mut whole = String::from_utf8(line(ItemTag::Item, text.as_bytes(), ItemEncoding::Json)).unwrap_or_default();
            if blank {
                whole = whole.replacen(':', " : ", 1).replacen('{', "{ ", 1);
            }
            let broken = &whole.as_bytes()[..cut.min(whole.len() - 1)];
            let is_damaged = |line: &[u8]| {
                read(line).is_some_and(|read| read.is_err_and(|failure| failure.message.contains("damaged")))
            };
            prop_assert!(is_damaged(broken) && is_line(broken) && original(broken).is_none());
            // It is written as a failed item of its own, which says the same again.
            let again = line(ItemTag::Item, broken, ItemEncoding::Json);
            prop_assert!(is_damaged(&again));
            prop_assert!(matches!(read_named(&again), Some(NamedInput::Damaged(_))));
            prop_assert_eq!(&line(ItemTag::Item, &again, ItemEncoding::Json), &again);
        }
    }

    #[test]
    fn a_line_that_was_edited_is_read_or_said_to_be_damaged_and_how() {
        let read = |line: &str| match read(line.as_bytes()) {
            None => "an item".to_owned(),
            Some(Ok((item, _))) => String::from_utf8_lossy(&item).into_owned(),
            Some(Err(failure)) => failure.message.split(". Put").next().unwrap_or_default().to_owned(),
        };
        let damaged = "this is a damaged line of an item that failed: ";
        for (line, wanted) in [
            (r#"{ "wasmpool" : "failed", "form": "json", "input": [1], "message": ""}"#, "[1]"),
            (r#"{"wasmpool":"failed","input":7,"form":"json","message":""}"#, "7"),
            (r#"{"wasmpool":"other","form":"json","input":7,"message":""}"#, "an item"),
            (r#"{"wasmpool":7}"#, "an item"),
            (r#"{"wasm"#, "an item"),
            (r#"{"wasmpool":"fai"#, "it breaks off after 16 bytes"),
            (r#"{"wasmpool":"failed"}"#, "missing field `form` at byte 21"),
            (r#"{"wasmpool":"failed","form":"json","message":""}"#, "missing field `input` at byte 48"),
            (r#"{"wasmpool":"failed","form":"jsn","input":7,"message":""}"#, "unknown variant `jsn`, expected one of"),
            (r#"{"wasmpool":"failed","form":"json","input":7,"me{"wasmpool":"failed"}"#, "expected `:` at byte 51"),
            (r#"{"wasmpool":"failed","form":"json","input":7,"message":""}}"#, "more follows the value at byte 59"),
            (
                r#"{"wasmpool":"failed","form":"base64","input":"?","message":""}"#,
                "its member `input` is not what its member `form` says, \"base64\"",
            ),
        ] {
            let read = read(line);
            let told = read.strip_prefix(damaged).unwrap_or(&read);
            assert!(told.starts_with(wanted), "{line}: {read}");
            assert_eq!(read.starts_with(damaged), wanted.contains(' ') && wanted != "an item", "{line}: {read}");
        }
    }

    #[test]
    fn a_line_says_where_its_item_was_originally() {
        let place =
            |line: &str| original(line.as_bytes()).map(|place| (place.index, place.source.map(Cow::into_owned)));
        let line = r#"{"wasmpool":"failed","form":"json","input":7,"index":41,"status":"failed","message":"m""#;
        let source = Some("a \"b\".csv:42".to_owned());
        assert_eq!(place(&format!("{line},\"source\":\"a \\\"b\\\".csv:42\"}}")), Some((Some(41), source)));
        assert_eq!(place(&format!("{line}}}")), Some((Some(41), None)));
        assert_eq!(place("7"), None);
    }

    fn unread(raw: &RawText<'_>) -> Vec<u8> {
        let mut item = Vec::new();
        unreadable("why not", raw, &mut item);
        assert_eq!(split_unreadable(&item).0, b"why not");
        line(ItemTag::Unreadable, &item, ItemEncoding::Bytes)
    }

    #[test]
    fn an_item_that_is_nowhere_fails_again_for_the_same_reason() {
        let line = unread(&RawText::Nothing);
        let failure = read(&line).expect("a line of ours").expect_err("it has no item");
        assert_eq!((failure.kind, &*failure.message), (FailureKind::InvalidInput, "why"));
        assert!(line.starts_with(br#"{"wasmpool":"failed","form":"unreadable","input":null,"#));
    }

    #[test]
    fn a_row_that_could_not_be_cut_is_kept_as_it_stood_and_is_read_once_it_is_mended() {
        let columns = ["first".to_owned(), "second".to_owned()];
        let line = unread(&RawText::Row { text: b"a;\"b\";c", columns: Some(&columns), delimiter: b';' });
        let text = String::from_utf8(line.clone()).expect("text");
        let begins = r#"{"wasmpool":"failed","form":"csv-text","input":"a;\"b\";c","columns":["first","second"],"delimiter":";","#;
        assert!(text.starts_with(begins), "{text}");
        let failure = read(&line).expect("a line of ours").expect_err("it is not mended");
        assert!(failure.message.contains("3 cells"), "{}", failure.message);
        // An item that fails again is written as it was.
        assert_eq!(super::tests::line(ItemTag::Item, &line, ItemEncoding::Json), line);
        let mended = text.replace(";c\"", "\"");
        let (row, form) = read(mended.as_bytes()).expect("a line of ours").expect("it is mended");
        assert_eq!((&*row, form), (&br#"{"first":"a","second":"b"}"#[..], ItemEncoding::Csv));
    }

    #[test]
    fn a_row_that_is_not_text_or_has_no_header_is_kept_too() {
        let line = unread(&RawText::Row { text: b"a,\xff", columns: None, delimiter: b',' });
        let failure = read(&line).expect("a line of ours").expect_err("it is not text");
        assert!(failure.message.contains("not UTF-8"), "{}", failure.message);
        let line = unread(&RawText::Row { text: b"a,b", columns: None, delimiter: b',' });
        let (row, form) = read(&line).expect("a line of ours").expect("it can be read");
        assert_eq!((&*row, form), (&br#"["a","b"]"#[..], ItemEncoding::Csv));
    }

    #[test]
    fn a_path_is_kept_and_opened_only_where_lines_name_files() {
        for path in [&b"no/such"[..], b"\xff"] {
            let line = unread(&RawText::Path(path));
            assert_eq!(read_named(&line), Some(NamedInput::Path(path.to_vec())));
            let failure = read(&line).expect("a line of ours").expect_err("it is not opened");
            assert!(failure.message.contains("an input of files reads it again"), "{}", failure.message);
        }
        let line = super::tests::line(ItemTag::Item, b"\xff\x01", ItemEncoding::Bytes);
        assert_eq!(read_named(&line), Some(NamedInput::Item(b"\xff\x01".to_vec())));
        assert_eq!(read_named(&super::tests::line(ItemTag::Item, b"1", ItemEncoding::Json)), Some(NamedInput::Other));
        assert_eq!(read_named(b"a/path"), None);
    }
}
