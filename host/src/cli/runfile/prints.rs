//! What a process prints, as it is shown: line by line, with the name of the process in front.

use wasmpool_core::text::ForeignText;
use wasmpool_run::tell;

/// Maximum characters of a line that are shown.
const LONGEST_LINE: usize = 4096;

/// What was shown of one stream of a process.
#[derive(Debug, Default)]
pub struct ShownStream {
    /// Number of bytes of whole lines that were shown.
    shown: usize,
}

impl ShownStream {
    /// Shows the lines that are new in all that the item has printed so far. Bytes that are not UTF-8 are replaced, as in
    /// what a worker reports at the end.
    pub fn show(&mut self, name: &str, all: &[u8]) {
        self.next(&String::from_utf8_lossy(all), false).into_iter().for_each(|text| tell_line(name, &text));
    }

    /// Shows the rest, whether or not its last line is complete, and begins anew.
    pub fn end(&mut self, name: &str, all: &str) {
        self.next(all, true).into_iter().for_each(|text| tell_line(name, &text));
        self.shown = 0;
    }

    fn next(&mut self, all: &str, is_end: bool) -> Vec<String> {
        // The worker may have begun anew, or lie.
        let Some(new) = all.get(self.shown..) else {
            return Vec::new();
        };
        let whole = if is_end { new.len() } else { new.rfind('\n').map_or(0, |at| at + 1) };
        self.shown += whole;
        new.get(..whole).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

fn tell_line(name: &str, text: &str) {
    tell!("{name} | {}", ForeignText::of(text).at_most(LONGEST_LINE));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_shown_once_and_the_last_one_at_the_end() {
        let mut stream = ShownStream::default();
        assert_eq!(stream.next("a\nb", false), ["a"]);
        assert_eq!(stream.next("a\nb", false), [""; 0]);
        assert_eq!(stream.next("a\nbc\nd", false), ["bc"]);
        assert_eq!(stream.next("a", false), [""; 0]);
        assert_eq!(stream.next("a\nbc\nde", true), ["de"]);
    }
}
