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

/// Returns the number of bytes that [`append`] appends for this part.
pub fn length(part: &impl Serialize) -> u64 {
    let mut counted = CountedBytes(0);
    // Counting does not fail.
    let _ = part.serialize(&mut Serializer::with_formatter(&mut counted, Escaped));
    counted.0
}

struct CountedBytes(u64);

impl Write for CountedBytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Escapes U+007F, and characters beyond ASCII, which in JSON occur only in strings. A task may send millions of them, so
/// nothing is formatted, and what needs no escape is written in one piece.
fn escape(fragment: &str, to: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let (mut plain, mut at) = (0, 0);
    while let Some(found) = fragment.as_bytes()[at..].iter().position(|&byte| byte >= 0x7f) {
        at += found;
        let Some(c) = fragment[at..].chars().next() else {
            break;
        };
        if c == '\x7f' || !is_visible(c) {
            to.write_all(&fragment.as_bytes()[plain..at])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                to.write_all(&escape_of(*unit))?;
            }
            plain = at + c.len_utf8();
        }
        at += c.len_utf8();
    }
    to.write_all(&fragment.as_bytes()[plain..])
}

/// Returns the JSON escape of a UTF-16 code unit.
fn escape_of(unit: u16) -> [u8; 6] {
    let digit = |shift: u16| b"0123456789abcdef"[usize::from(unit >> shift & 0xf)];
    [b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]
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
            prop_assert_eq!(length(&(&text, &raw)), json.len() as u64);
            let json = String::from_utf8(json)?;
            prop_assert!(json.chars().all(|c| c.is_ascii() && !c.is_control() || is_visible(c)), "{json}");
            let (read, of_raw): (String, String) = serde_json::from_str(&json)?;
            prop_assert_eq!((&read, &of_raw), (&text, &text));
        }
    }
}
