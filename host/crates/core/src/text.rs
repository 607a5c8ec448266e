//! Shows text that somebody else chose to a person: names in a task, output of a guest, a plugin's manifest, names of
//! files, messages of a worker.
//!
//! Such text must neither control a terminal nor pass for a line of this program. [`ForeignText`] shows it on one line, and
//! [`MessageLines`] shows a message that holds some of it on several. [`QuotedName`] shows it within a sentence of ours, and
//! [`ShellWord`] within a command that is meant to be pasted. Every place that shows such text goes through one of them; the
//! test `voice` keeps a list of all these places.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fmt::{self, Display, Formatter, Write};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// Default number of characters shown on one line.
const MOST: usize = 300;
/// Numbers of characters shown of a failure's message, and of its end, where this program adds what it knows.
const OF_FAILURE: (usize, usize) = (700, 400);
/// Number of characters shown of a line of our own, which may hold several foreign parts.
const WIDEST: usize = 2000;
/// Number of lines shown of one message.
const MOST_LINES: usize = 40;
/// Number of combining marks allowed on one letter. No language needs more, and a pile of them covers the lines above
/// and below.
const MOST_MARKS: usize = 4;

/// Shows foreign text on one line, up to a limit. Characters that control a terminal or that a reader does not see are
/// escaped: `\n`, `\u{1b}`, `\xff` for a byte that is not UTF-8. Everything else, including backslashes, stays as it
/// is, so that showing it twice gives the same text.
#[derive(Clone, Copy, Debug)]
pub struct ForeignText<'a> {
    bytes: &'a [u8],
    most: usize,
    /// Number of characters shown of its end, if it is too long.
    end: usize,
}

impl<'a> ForeignText<'a> {
    /// Wraps a text, an `OsStr` or a path.
    pub fn of<T: AsRef<OsStr> + ?Sized>(text: &'a T) -> ForeignText<'a> {
        ForeignText { bytes: text.as_ref().as_bytes(), most: MOST, end: 0 }
    }

    /// Wraps the message of a failure. Of a long one, which is mostly the guest's, the end is shown too.
    pub fn of_failure(message: &'a str) -> ForeignText<'a> {
        let (most, end) = OF_FAILURE;
        ForeignText { bytes: message.as_bytes(), most, end }
    }

    /// Sets the number of characters shown.
    pub fn at_most(self, most: usize) -> ForeignText<'a> {
        ForeignText { most, ..self }
    }
}

impl Display for ForeignText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut cut = TextLimit { left: self.most, to: None };
        if escape(self.bytes, &mut cut).is_ok() {
            return escape(self.bytes, f);
        }
        let mut cut = TextLimit { left: self.most.saturating_sub(self.end + 1), to: Some(f) };
        // An error means that there is no more room.
        let _ = escape(self.bytes, &mut cut);
        f.write_char('…')?;
        if self.end == 0 {
            return Ok(());
        }
        let mut end = TextEnd { pieces: VecDeque::new(), count: 0, most: self.end };
        escape(self.bytes, &mut end)?;
        end.pieces.iter().try_for_each(|piece| f.write_str(piece))
    }
}

/// Keeps the last pieces.
struct TextEnd {
    pieces: VecDeque<String>,
    /// Their number of characters.
    count: usize,
    most: usize,
}

impl Write for TextEnd {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        self.count += piece.chars().count();
        self.pieces.push_back(piece.to_owned());
        while self.count > self.most {
            let first = self.pieces.pop_front().unwrap_or_default();
            self.count -= first.chars().count();
        }
        Ok(())
    }
}

/// Shows foreign text within a sentence of ours. It is escaped like [`ForeignText`] and put in backticks, so that a reader
/// sees where it ends. A backtick in it is escaped, too.
#[derive(Clone, Copy, Debug)]
pub struct QuotedName<'a>(ForeignText<'a>);

impl<'a> QuotedName<'a> {
    /// Takes what [`ForeignText::of`] takes.
    pub fn of<T: AsRef<OsStr> + ?Sized>(text: &'a T) -> QuotedName<'a> {
        QuotedName(ForeignText::of(text))
    }

    /// Sets the number of characters shown.
    pub fn at_most(self, most: usize) -> QuotedName<'a> {
        QuotedName(self.0.at_most(most))
    }
}

impl Display for QuotedName<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0.to_string().replace('`', "\\u{60}"))
    }
}

/// Passes on whole pieces as long as there is room for them.
struct TextLimit<'a, 'f> {
    left: usize,
    to: Option<&'a mut Formatter<'f>>,
}

impl Write for TextLimit<'_, '_> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        self.left = self.left.checked_sub(piece.chars().count()).ok_or(fmt::Error)?;
        self.to.as_mut().map_or(Ok(()), |to| to.write_str(piece))
    }
}

/// Writes each character, or its escape, as one piece.
fn escape(bytes: &[u8], to: &mut impl Write) -> fmt::Result {
    // At the beginning there is no character that a mark could stand on.
    let mut marks = MOST_MARKS;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let mark = is_mark(c);
            let plain = is_visible(c) && !(mark && marks >= MOST_MARKS);
            marks = match (plain, mark) {
                (true, true) => marks + 1,
                (true, false) => 0,
                (false, _) => MOST_MARKS,
            };
            match plain {
                true => to.write_str(c.encode_utf8(&mut [0; 4]))?,
                false => to.write_str(&c.escape_default().to_string())?,
            }
        }
        for byte in chunk.invalid() {
            to.write_str(&format!("\\x{byte:02x}"))?;
            marks = MOST_MARKS;
        }
    }
    Ok(())
}

/// Returns true if a reader sees a character. Rust's own tables exclude control, format, private-use and unassigned
/// characters, and all spaces but the usual one; they include letters and marks without a shape, which are excluded
/// here.
pub fn is_visible(c: char) -> bool {
    let shapeless = matches!(
        c,
        '\u{34f}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{17b4}'
            | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{ffa0}'
            | '\u{e0100}'..='\u{e01ef}'
    );
    matches!(c, ' '..='~')
        || !c.is_ascii() && !shapeless && ['a', c].iter().collect::<String>().escape_debug().nth(1) == Some(c)
}

/// Returns true if a visible character combines with the one before it. `{:?}` escapes it at the beginning of a text.
fn is_mark(c: char) -> bool {
    !c.is_ascii() && c.escape_debug().next() != Some(c)
}

/// Shows a message of ours that may hold foreign text, or one written by a process that is not trusted. Each line is
/// escaped like [`ForeignText`], all lines but the first are indented by at least two characters, and their number is
/// limited. Only the first line of the output can be taken for ours, and it begins with our own text.
#[derive(Clone, Copy, Debug)]
pub struct MessageLines<'a>(pub &'a str);

impl Display for MessageLines<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let lines = || self.0.lines().filter(|line| !line.trim().is_empty());
        let count = lines().count();
        let shown = if count > MOST_LINES { MOST_LINES - 1 } else { count };
        for (at, line) in lines().take(shown).enumerate() {
            match at {
                0 => {}
                _ if line.starts_with("  ") => f.write_str("\n")?,
                _ => f.write_str("\n  ")?,
            }
            write!(f, "{}", ForeignText::of(line).at_most(WIDEST))?;
        }
        match count - shown {
            0 => Ok(()),
            more => write!(f, "\n  … and {more} more lines"),
        }
    }
}

/// Shows text that a guest wrote, each line after a bar. Of very many lines it shows the last, because there a guest
/// says why it ended.
#[derive(Clone, Copy, Debug)]
pub struct QuotedOutput<'a>(pub &'a str);

impl Display for QuotedOutput<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let count = self.0.lines().count();
        let earlier = count.saturating_sub(MOST_LINES);
        if earlier > 0 {
            writeln!(f, "  | … {earlier} lines before")?;
        }
        for (at, line) in self.0.lines().enumerate().skip(earlier) {
            write!(f, "  | {}{}", ForeignText::of(line), if at + 1 < count { "\n" } else { "" })?;
        }
        Ok(())
    }
}

/// Shows a path, or any other text, as one word of a command that the user may paste into a shell: quoted where it has to be,
/// never cut, and with what a terminal obeys or a reader does not see spelled out.
///
/// Every POSIX shell reads it as the very text: what is spelled out is so for `printf`, as in `"$(printf 'a\012b')"`. That
/// drops line breaks at the end of what it prints. A text that ends with one is spelled out as in `'a'$'\012'''` in place of
/// that, which shells have by POSIX of 2024, and bash, ksh and zsh had long before; an older dash takes it for another text,
/// which names nothing, rather than for the text without its end, which may be the name of something else.
#[derive(Clone, Copy, Debug)]
pub struct ShellWord<'a>(&'a [u8]);

impl<'a> ShellWord<'a> {
    /// Takes what [`ForeignText::of`] takes.
    pub fn of<T: AsRef<OsStr> + ?Sized>(text: &'a T) -> ShellWord<'a> {
        ShellWord(text.as_ref().as_bytes())
    }

    /// Writes the text with some of its characters, and all bytes that are no UTF-8, in other ways than as they are.
    fn write(
        self,
        f: &mut Formatter<'_>,
        quote: impl Fn(char) -> Option<&'static str>,
        spell_out: impl Fn(&[u8], &mut Formatter<'_>) -> fmt::Result,
    ) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match quote(c) {
                    Some(quoted) => f.write_str(quoted)?,
                    None if is_plain(c) => f.write_char(c)?,
                    None => spell_out(c.encode_utf8(&mut [0; 4]).as_bytes(), f)?,
                }
            }
            if !chunk.invalid().is_empty() {
                spell_out(chunk.invalid(), f)?;
            }
        }
        Ok(())
    }
}

impl Display for ShellWord<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let is_bare = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./:@%+,-".contains(byte);
        if !self.0.is_empty() && self.0.iter().all(is_bare) {
            return self.0.iter().try_for_each(|&byte| f.write_char(byte.into()));
        }
        let is_seen = str::from_utf8(self.0).is_ok_and(|text| text.chars().all(is_plain));
        let octal = |bytes: &[u8], f: &mut Formatter<'_>| bytes.iter().try_for_each(|byte| write!(f, "\\{byte:03o}"));
        if is_seen || self.0.ends_with(b"\n") {
            f.write_str("'")?;
            self.write(
                f,
                |c| (c == '\'').then_some("'\\''"),
                |bytes, f| {
                    f.write_str("'$'")?;
                    octal(bytes, f)?;
                    f.write_str("''")
                },
            )?;
            return f.write_str("'");
        }
        f.write_str("\"$(printf '")?;
        // What `printf`, or a shell that looks into quotes for its history, would take for more than a character.
        let quote = |c| match c {
            '\'' => Some("\\047"),
            '!' => Some("\\041"),
            '-' => Some("\\055"),
            '%' => Some("%%"),
            '\\' => Some("\\\\"),
            _ => None,
        };
        self.write(f, quote, octal)?;
        f.write_str("')\"")
    }
}

/// Whether a shell's word shows a character as it is.
fn is_plain(c: char) -> bool {
    is_visible(c) && !is_mark(c)
}

/// Returns the beginning of a text, at most `most` bytes long, which ends between two characters.
pub fn head(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// Returns the first `most` characters of a text as they are, followed by an ellipsis if there are more.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => text[..end].to_owned() + "…",
        None => text.to_owned(),
    }
}

/// Returns a message shortened to what a person can read. An error of a text format quotes a line, which may be the
/// whole text.
pub fn brief(message: &str) -> String {
    const LINES: usize = 20;
    const COLUMNS: usize = 400;
    message.lines().take(LINES).map(|line| cut(line, COLUMNS)).collect::<Vec<_>>().join("\n")
}

/// Returns the first elements of a list of any length, and the number of those left out.
pub fn few<T>(all: &[T], most: usize) -> (&[T], usize) {
    let shown = all.get(..most).unwrap_or(all);
    (shown, all.len() - shown.len())
}

/// Returns a duration as options accept it: `300ms`, `1.5s`, `2m`.
pub fn duration_given(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match duration.subsec_nanos() {
        0 if seconds > 0 && seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        0 if seconds > 0 && seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{duration:?}"),
    }
}

/// Returns a number of bytes as options accept it: `64KiB`, or plain bytes if it is not a round number.
pub fn bytes_given(bytes: u64) -> String {
    let said = bytes_said(bytes);
    match said.split_once(' ') {
        Some((number, unit)) if unit.ends_with("iB") => format!("{number}{unit}"),
        _ => bytes.to_string(),
    }
}

/// Returns a number of bytes as messages write it. A round number is written as options accept it: `64 KiB`. Any other
/// is followed by the exact number: `7.9 GiB (8589930496 bytes)`.
pub fn bytes_said(bytes: u64) -> String {
    const UNITS: [(u32, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    // A number up to this is easy to read as it stands.
    const SHORT: u64 = 10_000;
    let exact = UNITS.iter().find(|(shift, _)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    match (exact, UNITS.iter().find(|(shift, _)| bytes >> shift > 0)) {
        (Some((shift, unit)), _) if bytes >> shift < SHORT => format!("{} {unit}", bytes >> shift),
        (_, Some((shift, unit))) if bytes >= SHORT => {
            // Rounds down: a limit must not look wider than it is.
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{}.{} {unit} ({bytes} bytes)", tenths / 10, tenths % 10)
        }
        _ if bytes == 1 => "1 byte".to_owned(),
        _ => format!("{bytes} bytes"),
    }
}

/// Returns a name as a list shows it. It is in backticks if it could be read as more, or less, than a name.
pub fn shown(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-:/@.#[]$+".contains(c);
    match !name.is_empty() && name.chars().all(is_plain) {
        true => ForeignText::of(name).to_string(),
        false => QuotedName::of(name).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        ForeignText::of(text).to_string()
    }

    #[test]
    fn of_a_long_failure_the_beginning_and_the_end_are_shown() {
        let said = format!("{}; `jobs` refused it\n", "long ".repeat(2000));
        let shown = ForeignText::of_failure(&said).to_string();
        assert!(shown.starts_with("long long ") && shown.ends_with("; `jobs` refused it\\n"), "{shown}");
        assert!(shown.contains('…') && shown.chars().count() == OF_FAILURE.0, "{shown}");
        assert_eq!(ForeignText::of_failure("short\n").to_string(), "short\\n");
    }

    /// Returns true for characters that could control a terminal, reverse the text beside them, or be invisible.
    fn is_hostile(c: char) -> bool {
        c.is_control()
            || matches!(
                c,
                '\u{200b}'..='\u{200f}'
                    | '\u{2028}'..='\u{202e}'
                    | '\u{2060}'..='\u{206f}'
                    | '\u{61c}'
                    | '\u{feff}'
                    | '\u{ad}'
                    | '\u{e0000}'..='\u{e0fff}'
            )
    }

    /// Generates texts with many hostile characters.
    fn texts() -> impl Strategy<Value = String> {
        let hostile = prop::sample::select(vec![
            '\n',
            '\r',
            '\t',
            '\0',
            '\u{1b}',
            '\u{7f}',
            '\u{85}',
            '\u{9b}',
            '\u{202e}',
            '\u{2028}',
            '\u{200b}',
            '\u{e0041}',
            '\u{301}',
            '\u{61c}',
            ' ',
        ]);
        let any = prop_oneof![hostile, any::<char>(), prop::char::range(' ', '~')];
        prop::collection::vec(any, 0..400).prop_map(|chars| chars.into_iter().collect())
    }

    proptest! {
        #[test]
        fn foreign_text_is_one_bounded_line_of_what_can_be_seen(bytes in any::<Vec<u8>>(), text in texts(), most in 1..400_usize) {
            for bytes in [&bytes, text.as_bytes()] {
                let shown = ForeignText::of(OsStr::from_bytes(bytes)).at_most(most).to_string();
                prop_assert!(!shown.contains(is_hostile), "{shown:?}");
                prop_assert!(shown.chars().count() <= most, "{shown:?}");
                prop_assert_eq!(ForeignText::of(&shown).at_most(most).to_string(), shown.clone());
            }
        }

        #[test]
        fn of_a_message_only_the_first_line_is_not_indented(text in texts()) {
            let shown = MessageLines(&text).to_string();
            prop_assert!(!shown.contains(|c| is_hostile(c) && c != '\n'), "{shown:?}");
            prop_assert!(shown.lines().skip(1).all(|line| line.starts_with("  ")), "{shown:?}");
            prop_assert!(shown.lines().count() <= MOST_LINES);
            let again = MessageLines(&shown).to_string();
            prop_assert_eq!(again, shown);
        }

        #[test]
        fn what_is_quoted_stands_behind_a_bar(text in texts()) {
            let shown = QuotedOutput(&text).to_string();
            prop_assert!(shown.lines().all(|line| line.starts_with("  | ")), "{shown:?}");
            prop_assert!(!shown.contains(|c| is_hostile(c) && c != '\n'), "{shown:?}");
        }

        #[test]
        fn a_word_of_a_shell_is_one_line_that_messages_leave_as_it_is(bytes in any::<Vec<u8>>(), text in texts()) {
            for bytes in [&bytes, text.as_bytes()] {
                let word = ShellWord::of(OsStr::from_bytes(bytes)).to_string();
                prop_assert!(!word.contains(is_hostile), "{word:?}");
                prop_assert_eq!(ForeignText::of(&word).at_most(usize::MAX).to_string(), word);
            }
        }

        #[test]
        fn a_name_ends_where_its_second_backtick_is(bytes in any::<Vec<u8>>(), text in texts()) {
            for bytes in [&bytes, text.as_bytes()] {
                let name = QuotedName::of(OsStr::from_bytes(bytes)).to_string();
                prop_assert!(!name.contains(is_hostile), "{name:?}");
                prop_assert!(name.starts_with('`') && name.ends_with('`') && name.matches('`').count() == 2, "{name:?}");
                prop_assert_eq!(ForeignText::of(&name).at_most(WIDEST).to_string(), name);
            }
        }

        #[test]
        fn plain_text_stays_as_it_is(text in "[ -~äñ書🦀]{0,200}") {
            prop_assert_eq!(shown(&text), text);
        }
    }

    #[test]
    fn what_is_not_seen_is_spelled_out() {
        assert_eq!(shown("a\nb\t\u{1b}[2J"), "a\\nb\\t\\u{1b}[2J");
        assert_eq!(shown("\u{202e}x\u{e0041}\u{3164}"), "\\u{202e}x\\u{e0041}\\u{3164}");
        assert_eq!(ForeignText::of(OsStr::from_bytes(b"a\xff\xed\xa0\x80")).to_string(), "a\\xff\\xed\\xa0\\x80");
        assert_eq!(shown("C:\\x \"é\" e\u{301} हिन्दी"), "C:\\x \"é\" e\u{301} हिन्दी");
    }

    /// Returns the bytes that a shell reads the words as.
    fn read_by(shell: &str, words: &[String]) -> Option<Vec<u8>> {
        let command = format!("printf '%s\\0' {}", words.join(" "));
        let output = std::process::Command::new(shell).arg("-c").arg(command).env("LC_ALL", "C").output().ok()?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(output.stdout)
    }

    #[test]
    fn a_word_of_a_shell_is_the_text_to_the_letter_and_starts_nothing() {
        let texts = [
            "a b",
            "it's",
            "''",
            "",
            "$(touch x)",
            "`id`",
            "a;b&c|d>e",
            "~",
            "#",
            "*?[a]",
            "\\n",
            "!1",
            "-x=ä🦀",
            "=ls",
            "a\nb",
            "\n/x",
            "-e \u{1b}[2J%s\\c\\\\!1'`id`$(id)\"",
            "e\u{301}\u{202e}7",
            "\u{1}7",
            "--dir=a\tb::/in:rw",
        ];
        let words: Vec<_> = texts.iter().map(|text| ShellWord::of(text).to_string()).collect();
        let wanted: Vec<u8> = texts.iter().flat_map(|text| [text.as_bytes(), &[0]].concat()).collect();
        let words = [words, vec![ShellWord::of(OsStr::from_bytes(b"\xff'\x1b\xfe")).to_string()]].concat();
        let wanted = [wanted, b"\xff'\x1b\xfe\0".to_vec()].concat();
        assert_eq!(read_by("sh", &words), Some(wanted.clone()), "{words:?}");
        for shell in OTHER_SHELLS {
            assert!(read_by(shell, &words).is_none_or(|read| read == wanted), "{shell}: {words:?}");
        }
        assert_eq!(ShellWord::of("./runs/a-1.journal").to_string(), "./runs/a-1.journal");
    }

    /// Those that are tried where they are there.
    const OTHER_SHELLS: [&str; 6] = ["dash", "bash", "zsh", "ksh", "mksh", "yash"];

    #[test]
    fn a_word_that_ends_with_a_line_break_is_never_read_without_it() {
        let texts = ["\n", "a\n", "it's\n\n"];
        let words: Vec<_> = texts.iter().map(|text| ShellWord::of(text).to_string()).collect();
        let wanted = "\n\0a\n\0it's\n\n\0".as_bytes().to_vec();
        assert!(read_by("bash", &words).is_none_or(|read| read == wanted), "{words:?}");
        for shell in OTHER_SHELLS.into_iter().chain(["sh"]) {
            let read = read_by(shell, &words).unwrap_or_default();
            let is_cut = |read: &[u8]| [&b""[..], b"a", b"it's"].contains(&read);
            assert!(
                !read.strip_suffix(&[0]).unwrap_or(b"x").split(|byte| *byte == 0).any(is_cut),
                "{shell}: {words:?}"
            );
        }
    }

    #[test]
    fn marks_do_not_pile_up() {
        let pile = format!("e{}", "\u{301}".repeat(100));
        assert_eq!(shown(&pile).matches('\u{301}').count(), MOST_MARKS);
        assert!(shown("\u{301}").is_ascii());
    }

    #[test]
    fn what_is_too_long_ends_in_an_ellipsis() {
        assert_eq!(ForeignText::of("abcdef").at_most(4).to_string(), "abc…");
        assert_eq!(ForeignText::of("abcd").at_most(4).to_string(), "abcd");
        assert_eq!(ForeignText::of("a\u{1b}").at_most(4).to_string(), "a…");
    }

    #[test]
    fn very_many_lines_are_counted() {
        let text = "x\n".repeat(1000);
        assert!(MessageLines(&text).to_string().ends_with("… and 961 more lines"), "{}", MessageLines(&text));
        assert!(QuotedOutput(&text).to_string().starts_with("  | … 960 lines before\n"));
        assert_eq!(few(&[1, 2, 3], 2), (&[1, 2][..], 1));
    }
}
