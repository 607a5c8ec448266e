//! What a process prints, as it is shown: line by line, with the name of the process in front.

use wasmpool_core::text::ForeignText;
use wasmpool_run::stdio::Level;
use wasmpool_run::tell_as;

/// Maximum number of bytes of a line that are shown as one. A longer one goes on in the next.
const LONGEST_LINE: usize = 4096;

/// What was shown of one stream of a process.
#[derive(Debug)]
pub struct ShownStream {
    /// Which one it is, for programs.
    stream: &'static str,
    /// The beginning of a line whose end is still to come.
    begun: Vec<u8>,
}

impl ShownStream {
    /// Returns standard output and standard error of a process that has printed nothing yet.
    pub fn both() -> [ShownStream; 2] {
        ["standard output", "standard error"].map(|stream| ShownStream { stream, begun: Vec::new() })
    }

    /// Shows the lines that end in what the process has printed next.
    pub fn show(&mut self, name: &str, printed: &[u8]) {
        self.next(printed).into_iter().for_each(|text| self.tell_line(name, &text));
    }

    /// Shows the last line, if it has no end.
    pub fn end(&mut self, name: &str) {
        let rest = std::mem::take(&mut self.begun);
        if !rest.is_empty() {
            self.tell_line(name, &line_of(&rest));
        }
    }

    fn tell_line(&self, name: &str, text: &str) {
        let facts = [("name", name.into()), ("stream", self.stream.into()), ("printed", text.into())];
        tell_as!(Level::Info, &facts, "{name} | {}", ForeignText::of(text).at_most(usize::MAX));
    }

    fn next(&mut self, printed: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for piece in printed.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(piece);
            while self.begun.len() > LONGEST_LINE + 1 {
                let rest = self.begun.split_off(whole_characters(&self.begun, LONGEST_LINE));
                lines.push(line_of(&std::mem::replace(&mut self.begun, rest)));
            }
            if self.begun.ends_with(b"\n") {
                lines.push(line_of(&std::mem::take(&mut self.begun)));
            }
        }
        lines
    }
}

/// Returns the text of a line without its end. Bytes that are not UTF-8 are replaced.
fn line_of(bytes: &[u8]) -> String {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    String::from_utf8_lossy(bytes.strip_suffix(b"\r").unwrap_or(bytes)).into_owned()
}

/// Returns a length of at most `most` at which no character of UTF-8 is cut.
fn whole_characters(bytes: &[u8], most: usize) -> usize {
    let begins = |at: &usize| bytes.get(*at).is_some_and(|byte| byte & 0xC0 != 0x80);
    (most.saturating_sub(3)..=most).rev().find(begins).unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_shown_once_it_is_complete() {
        let [mut stream, _] = ShownStream::both();
        assert_eq!(stream.next(b"a\nb"), ["a"]);
        assert_eq!(stream.next(b""), [""; 0]);
        assert_eq!(stream.next(b"c\r\n\nd"), ["bc", ""]);
        assert_eq!(stream.begun, b"d");
    }

    #[test]
    fn a_line_without_an_end_is_shown_in_pieces_and_no_character_is_cut() {
        let [mut stream, _] = ShownStream::both();
        let mut shown = Vec::new();
        let text = "x".to_owned() + &"€".repeat(5000);
        for bytes in text.as_bytes().chunks(1000) {
            shown.extend(stream.next(bytes));
            assert!(stream.begun.len() <= LONGEST_LINE + 1);
        }
        shown.push(line_of(&stream.begun));
        assert!(shown.len() > 3 && shown.iter().all(|piece| piece.len() <= LONGEST_LINE + 1), "{}", shown.len());
        assert_eq!(shown.concat(), text);
    }
}
