//! Cuts JSON text that goes over any number of lines into items: the elements of one array, or values one after the other.

use std::sync::Arc;

use super::Batch;
use super::lines::too_long;
use wasmpool_core::failed::RawText;
use wasmpool_ipc::copy;

/// Memory that is kept for the next element.
const KEPT: usize = 256 << 10;

/// Cuts one text. Blanks and line ends between the parts of an item are left out, so that an item is one line, as items of
/// JSON lines are. Whether an item is JSON, workers find out.
#[derive(Debug)]
pub struct JsonCutter {
    place: Place,
    /// Length of the longest item that is kept.
    longest: usize,
    /// The item that was begun, without blanks, and how many bytes of it were dropped.
    item: Vec<u8>,
    dropped: usize,
    line: u64,
    /// Number of bytes of the text in front of those that are cut.
    before: u64,
    /// Where the array begins, and the item.
    array: Option<TextPlace>,
    begun: TextPlace,
}

/// A place in a text: a line, and a byte of the whole text, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TextPlace {
    line: u64,
    byte: u64,
}

/// A place in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In front of everything.
    Begin,
    /// In front of the first element of the array, or of the next.
    First,
    Next,
    /// Between values that are in no array.
    Between,
    /// In an item, within so many brackets.
    Nested(u64),
    /// In a string of an item, within so many brackets.
    Text(u64),
    /// In a string of an item, behind a backslash.
    Escaped(u64),
    /// In a number or a word that is an item.
    Word,
    /// Behind an element of the array.
    Behind,
    /// Behind the array.
    End,
}

/// Error: a text cannot be cut further. `line` says where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct JsonCutError {
    pub line: u64,
    problem: String,
}

/// The form of a text, as its first line shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonForm {
    /// Each line is an item.
    Lines,
    /// It goes over several lines, or is the only array of its file.
    Whole,
    /// More has to be read to know.
    Unsure,
}

impl JsonForm {
    /// Tells the form by the beginning of a text. A first line that no JSON can be, but the beginning of it, is not one of JSON
    /// lines. In a file that should be one JSON text, as its name says (`is_one`), a single line with an array is that array, and
    /// a first line that closes not all it opens begins a text over several.
    pub fn of(begin: &[u8], is_one: bool, at_end: bool) -> JsonForm {
        let text = begin.trim_ascii_start();
        let (line, rest) = match memchr::memchr(b'\n', text) {
            Some(end) => (&text[..end], Some(&text[end..])),
            None => (text, at_end.then_some(&b""[..])),
        };
        let line = line.trim_ascii_end();
        match (line, rest) {
            ([], _) => {
                if at_end {
                    JsonForm::Lines
                } else {
                    JsonForm::Unsure
                }
            }
            ([b'{'], None) | ([b'[', ..], None) => JsonForm::Unsure,
            ([b'{', ..], None) if is_one => JsonForm::Unsure,
            ([b'{'] | [b'['], _) => JsonForm::Whole,
            // Some programs write an element on each line, and the first beside the bracket.
            ([b'[', .., b','], _) => JsonForm::Whole,
            ([b'[' | b'{', ..], Some(_)) if is_one && is_open(line) => JsonForm::Whole,
            ([b'[', .., b']'], Some(rest)) if is_one => match rest.trim_ascii() {
                [] if at_end => JsonForm::Whole,
                [] => JsonForm::Unsure,
                _ => JsonForm::Lines,
            },
            _ => JsonForm::Lines,
        }
    }
}

/// Returns true if a text opens more brackets than it closes, or ends within a string.
fn is_open(text: &[u8]) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_i64, false, false);
    for byte in text {
        match (in_string, byte) {
            (true, _) if std::mem::take(&mut escaped) => {}
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'[' | b'{') => depth += 1,
            (false, b']' | b'}') => depth -= 1,
            _ => {}
        }
    }
    in_string || depth > 0
}

impl JsonCutter {
    pub fn new(longest: usize) -> JsonCutter {
        let begun = TextPlace { line: 1, byte: 1 };
        let (item, place) = (Vec::new(), Place::Begin);
        JsonCutter { place, longest, item, dropped: 0, line: 1, before: 0, array: None, begun }
    }

    /// Cuts the next bytes of this input.
    pub fn cut(&mut self, bytes: &[u8], input: &Arc<str>, batch: &mut Batch) -> Result<(), JsonCutError> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match self.place {
                Place::Nested(depth) => at += self.nested(depth, &bytes[at..], input, batch),
                Place::Text(depth) => at += self.text(depth, &bytes[at..], input, batch),
                Place::Escaped(depth) => {
                    self.keep(&[byte]);
                    self.place = Place::Text(depth);
                    at += 1;
                }
                Place::Word => {
                    let end = bytes[at..].iter().position(|byte| ends_word(*byte));
                    let count = end.unwrap_or(bytes.len() - at);
                    self.keep(&bytes[at..at + count]);
                    at += count;
                    if end.is_some() {
                        self.end_item(input, batch);
                    }
                }
                _ if byte.is_ascii_whitespace() => {
                    self.line += u64::from(byte == b'\n');
                    at += 1;
                }
                _ => {
                    let place = TextPlace { line: self.line, byte: self.before + at as u64 + 1 };
                    at += usize::from(self.begin(byte, place)?);
                }
            }
        }
        self.before += bytes.len() as u64;
        Ok(())
    }

    /// Ends the text.
    pub fn end(&mut self, input: &Arc<str>, batch: &mut Batch) -> Result<(), JsonCutError> {
        let open = |TextPlace { line, byte }, what: &str| {
            let problem = format!(
                "the {what} that begins in this line, with byte {byte} of the text, is never closed; is the file truncated?"
            );
            Err(JsonCutError { line, problem })
        };
        match (self.place, self.array) {
            (Place::Word, None) => self.end_item(input, batch),
            (Place::Begin | Place::Between | Place::End, _) => {}
            (_, Some(begun)) => return open(begun, "JSON array"),
            (_, None) => return open(self.begun, "JSON value"),
        }
        *self = JsonCutter::new(self.longest);
        Ok(())
    }

    /// Takes a character that is no blank, between items. Returns false if it is to be looked at again.
    fn begin(&mut self, byte: u8, place: TextPlace) -> Result<bool, JsonCutError> {
        match (self.place, byte) {
            (Place::Begin, b'[') => {
                self.array = Some(place);
                self.place = Place::First;
            }
            (Place::First | Place::Behind, b']') => self.place = Place::End,
            (Place::Behind, b',') => self.place = Place::Next,
            (Place::Behind, _) => return self.wrong("a comma or the end of the JSON array is missing", byte),
            (Place::End, _) => {
                return self.wrong("something follows the JSON array, which has to be all there is in a file", byte);
            }
            (_, b',' | b']' | b'}' | b':') => return self.wrong("a JSON value is missing", byte),
            (_, byte) => {
                self.begun = place;
                self.place = match byte {
                    b'{' | b'[' => Place::Nested(0),
                    b'"' => Place::Text(0),
                    _ => Place::Word,
                };
                if byte == b'"' {
                    self.keep(b"\"");
                }
                return Ok(byte == b'"');
            }
        }
        Ok(true)
    }

    fn wrong(&self, problem: &str, byte: u8) -> Result<bool, JsonCutError> {
        let found =
            if byte.is_ascii_graphic() { format!(" in front of `{}`", char::from(byte)) } else { String::new() };
        let problem = match self.place {
            Place::End => problem.to_owned(),
            _ => format!("{problem}{found}"),
        };
        Err(JsonCutError { line: self.line, problem })
    }

    /// Takes a part of an item outside of strings, and returns its length.
    fn nested(&mut self, mut depth: u64, bytes: &[u8], input: &Arc<str>, batch: &mut Batch) -> usize {
        let mut start = 0;
        for (at, &byte) in bytes.iter().enumerate() {
            match byte {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        self.keep(&bytes[start..=at]);
                        self.end_item(input, batch);
                        return at + 1;
                    }
                }
                b'"' => {
                    self.keep(&bytes[start..=at]);
                    self.place = Place::Text(depth);
                    return at + 1;
                }
                b' ' | b'\t' | b'\n' | b'\r' => {
                    self.line += u64::from(byte == b'\n');
                    self.keep(&bytes[start..at]);
                    start = at + 1;
                }
                _ => {}
            }
        }
        self.keep(&bytes[start..]);
        self.place = Place::Nested(depth);
        bytes.len()
    }

    /// Takes a part of a string, and returns its length.
    fn text(&mut self, depth: u64, bytes: &[u8], input: &Arc<str>, batch: &mut Batch) -> usize {
        let Some(at) = memchr::memchr2(b'"', b'\\', bytes) else {
            self.keep(bytes);
            return bytes.len();
        };
        self.keep(&bytes[..=at]);
        match (bytes[at], depth) {
            (b'\\', _) => self.place = Place::Escaped(depth),
            (_, 0) => self.end_item(input, batch),
            _ => self.place = Place::Nested(depth),
        }
        at + 1
    }

    fn keep(&mut self, bytes: &[u8]) {
        match self.dropped > 0 || self.item.len() + bytes.len() > self.longest {
            true => self.dropped += bytes.len(),
            false => copy::append(bytes, &mut self.item),
        }
    }

    fn end_item(&mut self, input: &Arc<str>, batch: &mut Batch) {
        batch.at_line(input, self.begun.line);
        self.place = if self.array.is_some() { Place::Behind } else { Place::Between };
        match self.dropped {
            0 if self.item.len() > KEPT => batch.push_whole(std::mem::take(&mut self.item).into()),
            0 => batch.push(&self.item),
            dropped => batch.push_unreadable(&too_long(self.item.len() + dropped, self.longest), &RawText::Nothing),
        }
        self.item.clear();
        self.item.shrink_to(KEPT);
        self.dropped = 0;
    }
}

/// Returns true if a number or a word ends in front of this byte.
fn ends_word(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b',' | b']' | b'}' | b'[' | b'{' | b'"' | b':')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// Cuts a text that comes in pieces of this size.
    fn cut(text: &str, piece: usize) -> Result<Vec<String>, (u64, String)> {
        let (mut cutter, mut batch, input) = (JsonCutter::new(1 << 20), Batch::default(), Arc::from("-"));
        let pieces = text.as_bytes().chunks(piece);
        let cut = pieces.into_iter().try_for_each(|piece| cutter.cut(piece, &input, &mut batch));
        cut.and_then(|()| cutter.end(&input, &mut batch)).map_err(|e| (e.line, e.to_string()))?;
        Ok(batch.iter().map(|(_, item)| String::from_utf8_lossy(item).into_owned()).collect())
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z\"\\\\\n\\]\\[{},: ä]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-c\" ]{0,3}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_elements_of_an_array_are_items_however_it_is_written(
            elements in proptest::collection::vec(values(), 0..6), pretty in any::<bool>(), piece in 1..40usize,
        ) {
            let array = Value::from(elements.clone());
            let text = if pretty { format!("{array:#}\n") } else { array.to_string() };
            let wanted: Vec<String> = elements.iter().map(Value::to_string).collect();
            prop_assert_eq!(cut(&text, piece), Ok(wanted));
        }

        #[test]
        fn values_one_after_the_other_are_items(
            values in proptest::collection::vec(values(), 1..6), pretty in any::<bool>(), piece in 1..40usize,
        ) {
            prop_assume!(!values[0].is_array());
            let text: Vec<String> =
                values.iter().map(|value| if pretty { format!("{value:#}") } else { value.to_string() }).collect();
            let wanted: Vec<String> = values.iter().map(Value::to_string).collect();
            prop_assert_eq!(cut(&text.join("\n"), piece), Ok(wanted));
        }

        #[test]
        fn a_text_that_breaks_off_is_never_taken_for_all_there_is(
            elements in proptest::collection::vec(values(), 1..6), at in any::<prop::sample::Index>(),
        ) {
            let text = format!("{:#}", Value::from(elements));
            let end = (1..text.len()).filter(|end| text.is_char_boundary(*end)).collect::<Vec<_>>();
            let text = &text[..end[at.index(end.len())]];
            prop_assert!(cut(text, 7).is_err_and(|(line, e)| line == 1 && e.contains("never closed")));
        }
    }

    #[test]
    fn what_is_no_array_says_in_which_line() {
        for (text, line, says) in [
            ("[\n1\n2]", 3, "a comma or the end of the JSON array is missing in front of `2`"),
            ("[1,\n]", 2, "a JSON value is missing in front of `]`"),
            ("[1]\n[2]", 2, "something follows the JSON array"),
            ("{\"a\": 1},\n{}", 1, "a JSON value is missing in front of `,`"),
            ("{}\n{\n\"a\"", 2, "the JSON value that begins in this line, with byte 4 of the text, is never closed"),
            (" [1,2", 1, "the JSON array that begins in this line, with byte 2 of the text, is never closed"),
        ] {
            let (at, error) = cut(text, 3).expect_err(text);
            assert!(at == line && error.contains(says), "{text:?}: {at}: {error}");
        }
        assert_eq!(cut("", 1), Ok(Vec::new()));
        assert_eq!(cut(" [ ] \n", 1), Ok(Vec::new()));
    }

    #[test]
    fn lines_are_told_from_a_text_over_many_lines() {
        use JsonForm::{Lines, Unsure, Whole};
        for (begin, is_one, at_end, wanted) in [
            ("[\n", false, false, Whole),
            ("  [ \r\n", false, false, Whole),
            ("{\n", false, false, Whole),
            ("[", false, false, Unsure),
            ("{", false, false, Unsure),
            ("{\"a\"", false, false, Lines),
            ("[1,2", false, false, Unsure),
            ("[1,2]\n[3,4]\n", false, true, Lines),
            ("[1,2]", false, true, Lines),
            ("[{\"a\":1}, \n", false, false, Whole),
            ("[1,2]\n", true, false, Unsure),
            ("[1,2]\n", true, true, Whole),
            ("[1,2]\n[3,4]\n", true, false, Lines),
            ("[1,2", true, true, Whole),
            ("[1\n,2]", true, false, Whole),
            ("{\"a\":[\"}]\\\"", true, true, Whole),
            ("{\"a\": 1,\n", true, false, Whole),
            ("{\"a\": 1,\n", false, false, Lines),
            ("{\"a\"", true, false, Unsure),
            ("{\"a\": \"[{\"}\n", true, false, Lines),
            ("[1,2\n", false, false, Lines),
            ("1\n", true, true, Lines),
            ("", false, true, Lines),
            ("\n\n", false, false, Unsure),
        ] {
            assert_eq!(JsonForm::of(begin.as_bytes(), is_one, at_end), wanted, "{begin:?}");
        }
    }
}
