//! JSON that can safely be shown on a terminal: control characters and invisible characters are written as `\u…`.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use wasmpool_core::text::is_visible;

/// Appends `part` as JSON. A parser of it gets every character unchanged.
pub fn append(part: &impl Serialize, to: &mut Vec<u8>) -> serde_json::Result<()> {
    part.serialize(&mut Serializer::with_formatter(to, Escaped))
}

/// A formatter of compact JSON. Characters below U+0020 are escaped by serde_json already.
struct Escaped;

impl Formatter for Escaped {
    fn write_string_fragment<W: Write + ?Sized>(&mut self, to: &mut W, fragment: &str) -> io::Result<()> {
        escape(fragment, to)
    }

    fn write_raw_fragment<W: Write + ?Sized>(&mut self, to: &mut W, fragment: &str) -> io::Result<()> {
        escape(fragment, to)
    }
}

/// Escapes characters beyond ASCII, which in JSON occur only in strings.
fn escape(fragment: &str, to: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let mut rest = fragment;
    let is_hidden = |c: char| c == '\x7f' || !c.is_ascii() && !is_visible(c);
    while let Some((at, c)) = rest.char_indices().find(|&(_, c)| is_hidden(c)) {
        let (plain, behind) = rest.split_at(at);
        to.write_all(plain.as_bytes())?;
        for unit in c.encode_utf16(&mut [0; 2]) {
            write!(to, "\\u{unit:04x}")?;
        }
        rest = &behind[c.len_utf8()..];
    }
    to.write_all(rest.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    proptest! {
        #[test]
        fn what_is_escaped_is_read_as_it_was(text in any::<String>()) {
            let text = text + "\u{9b}\u{202e}\u{e0041}\x7f\n書";
            let raw = RawValue::from_string(serde_json::to_string(&text)?)?;
            let mut json = Vec::new();
            append(&(&text, &raw), &mut json)?;
            let json = String::from_utf8(json)?;
            prop_assert!(json.chars().all(|c| c.is_ascii() && !c.is_control() || is_visible(c)), "{json}");
            let (read, of_raw): (String, String) = serde_json::from_str(&json)?;
            prop_assert_eq!((&read, &of_raw), (&text, &text));
        }
    }
}
