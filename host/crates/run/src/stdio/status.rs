//! A line at the end of a terminal that is replaced again and again, such as a progress bar, and that shares no line with
//! messages or results.

/// Goes to the beginning of the line, and clears it with all that is below. A line that was drawn while the terminal was
/// wider may have been wrapped since; the cursor waits at its beginning, so all of it is cleared.
const CLEAR: &str = "\r\x1b[J";

/// The state of a terminal: what stands at its end. It writes nothing; it says what has to be written.
#[derive(Debug)]
pub struct StatusLine {
    /// Empty if there is none.
    text: String,
    /// Its number among all lines there were.
    number: u64,
    is_drawn: bool,
    /// True if the last line of the results has no end yet. Nothing is drawn behind it.
    is_torn: bool,
}

impl StatusLine {
    pub const fn new() -> StatusLine {
        StatusLine { text: String::new(), number: 0, is_drawn: false, is_torn: false }
    }

    /// Returns true if something has to be written before or after a message.
    pub fn is_there(&self) -> bool {
        self.is_torn || !self.text.is_empty()
    }

    /// Replaces the line. It has to be shorter than the terminal is wide.
    pub fn show(&mut self, number: u64, text: String) -> String {
        self.number = number;
        self.text = text;
        match self.text.is_empty() {
            true => self.clear().to_owned(),
            false => self.draw(),
        }
    }

    /// Replaces the line when it is drawn the next time, unless it is a later one, or none is shown any more.
    pub fn be_next(&mut self, number: u64, text: &str) {
        if number > self.number && !self.text.is_empty() {
            self.number = number;
            text.clone_into(&mut self.text);
        }
    }

    fn draw(&mut self) -> String {
        if self.is_torn || self.text.is_empty() {
            return String::new();
        }
        self.is_drawn = true;
        format!("\r{}\x1b[J\r", self.text)
    }

    fn clear(&mut self) -> &'static str {
        if std::mem::take(&mut self.is_drawn) { CLEAR } else { "" }
    }

    /// Returns a message with what puts it on lines of its own, in front of the line.
    pub fn around(&mut self, message: &str) -> String {
        let before = if std::mem::take(&mut self.is_torn) { "\n" } else { self.clear() };
        format!("{before}{message}{}", self.draw())
    }

    /// Returns what is to be written before results.
    pub fn before_results(&mut self) -> &'static str {
        self.clear()
    }

    /// Returns what is to be written after results that end with this byte.
    pub fn after_results(&mut self, last: u8) -> String {
        self.is_torn = last != b'\n';
        self.draw()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A terminal that knows carriage return, line feed, and the sequence that clears what follows.
    #[derive(Debug)]
    struct Screen {
        lines: Vec<Vec<char>>,
        column: usize,
    }

    impl Screen {
        fn write(&mut self, text: &str) {
            for (at, part) in text.split("\x1b[J").enumerate() {
                let line = self.lines.last_mut().expect("a line");
                if at > 0 {
                    line.truncate(self.column);
                }
                part.chars().for_each(|c| self.put(c));
            }
        }

        fn put(&mut self, c: char) {
            let line = self.lines.last_mut().expect("a line");
            match c {
                '\r' => self.column = 0,
                '\n' => {
                    self.lines.push(Vec::new());
                    self.column = 0;
                }
                c => {
                    match line.get_mut(self.column) {
                        Some(there) => *there = c,
                        None => line.push(c),
                    }
                    self.column += 1;
                }
            }
        }

        fn lines(&self) -> Vec<String> {
            self.lines.iter().map(|line| line.iter().collect()).collect()
        }
    }

    #[derive(Clone, Debug)]
    enum Act {
        Show(bool),
        Message,
        Results(String),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            any::<bool>().prop_map(Act::Show),
            Just(Act::Message),
            "[a-c]{0,3}\n?".prop_filter("something", |text| !text.is_empty()).prop_map(Act::Results),
        ];
        proptest::collection::vec(act, 0..30)
    }

    proptest! {
        #[test]
        fn no_line_is_shared_with_messages_or_results(acts in acts()) {
            let (mut line, mut screen) = (StatusLine::new(), Screen { lines: vec![Vec::new()], column: 0 });
            let mut results = String::new();
            for act in acts {
                match act {
                    Act::Show(shown) => screen.write(&line.show(0, if shown { "BAR".to_owned() } else { String::new() })),
                    Act::Message => screen.write(&line.around("MESSAGE\n")),
                    Act::Results(text) => {
                        screen.write(line.before_results());
                        screen.write(&text);
                        screen.write(&line.after_results(*text.as_bytes().last().expect("something")));
                        results += &text;
                    }
                }
            }
            screen.write(&line.show(0, String::new()));
            let lines = screen.lines();
            let shown: Vec<&String> = lines.iter().filter(|line| !line.contains("MESSAGE")).collect();
            for line in &lines {
                prop_assert!(!line.contains("BAR") && (line == "MESSAGE" || !line.contains("MESSAGE")), "{:?}", lines);
            }
            let shown: String = shown.into_iter().map(String::as_str).collect();
            prop_assert_eq!(shown, results.replace('\n', ""));
        }
    }

    #[test]
    fn a_line_that_the_terminal_has_wrapped_is_cleared_as_a_whole() {
        let mut line = StatusLine::new();
        assert_eq!(line.show(0, "50% of it".to_owned()), "\r50% of it\x1b[J\r", "the cursor waits at its beginning");
        assert_eq!(line.show(0, String::new()), CLEAR);
        assert_eq!(line.show(0, String::new()), "", "there is nothing to clear");
    }

    #[test]
    fn what_is_drawn_behind_results_is_the_latest_line_there_was() {
        let mut line = StatusLine::new();
        line.be_next(1, "1 item");
        assert_eq!(line.around("MESSAGE\n"), "MESSAGE\n", "no line is shown yet");
        line.show(2, "2 items".to_owned());
        line.be_next(4, "4 items");
        line.be_next(3, "3 items");
        assert_eq!(line.after_results(b'\n'), "\r4 items\x1b[J\r");
        line.show(5, String::new());
        line.be_next(6, "6 items");
        assert_eq!(line.after_results(b'\n'), "", "the run is over");
    }
}
