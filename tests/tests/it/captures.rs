//! What a person sees on terminals of several widths, kept in `captures/` as it stands on the screen. With `WASMPOOL_BLESS=1` the
//! test writes it there.
//!
//! Rates and times differ from run to run, and are left out. The items are so many that no rate or time, whatever it is, makes a
//! difference to what else the bar has room for.

use std::fmt::Write as _;
use std::fs;
use std::num::NonZero;
use std::sync::{Arc, Mutex};

use nix::sys::signal::Signal;

use crate::support::folder::Folder;
use crate::support::host::Host;
use crate::support::run::{Run, wasmpool};
use crate::support::terminal::{set_width, terminal, watch};
use crate::support::wat::COUNT_TO;
use crate::support::{until, workspace};

const WIDTHS: [u16; 4] = [40, 60, 80, 200];
const ROWS: u16 = 60;

/// A program at a terminal.
struct Session {
    columns: u16,
    host: Host,
    seen: Arc<Mutex<String>>,
}

impl Session {
    /// Runs it in a folder, with both streams at the terminal.
    fn start(folder: &Folder, columns: u16, words: &[&str]) -> Session {
        let (master, slave) = terminal();
        set_width(&master, columns);
        let seen = watch(master);
        let run: Run = wasmpool().named("wasmpool").directory(&folder.path(".")).args(words).args(["--color", "never"]);
        let run = run.env("TERM", "xterm-256color").env("COLUMNS", "");
        let host = run.stdout_to(slave.try_clone().expect("a copy")).stderr_to(slave).start();
        Session { columns, host, seen }
    }

    /// Waits until this is on the screen, and returns all lines that are.
    fn screen_with(&self, words: &[&str]) -> Vec<String> {
        until("the screen has what is waited for", || {
            let lines = screen(&without_figures(&self.seen.lock().expect("no panic")), self.columns);
            // Words may stand on two lines.
            let all = lines.concat().replace(' ', "");
            words.iter().all(|words| all.contains(&words.replace(' ', ""))).then_some(lines)
        })
    }
}

/// Returns the lines of a terminal of this width, up to the last that is not empty.
fn screen(written: &str, columns: u16) -> Vec<String> {
    let some = |size| NonZero::new(size).expect("a terminal has a size");
    let mut parser = vt100::Parser::new(some(ROWS), some(columns), 0);
    parser.process(written.as_bytes());
    let lines: Vec<String> = parser.screen().rows(0, columns).map(|line| line.trim_end().to_owned()).collect();
    let count = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
    lines.into_iter().take(count).collect()
}

/// Replaces each text between two others, if it is made of these characters.
fn between(text: &str, start: &str, end: &str, is_in: impl Fn(char) -> bool, with: &str) -> String {
    let mut parts = text.split(start);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |whole, part| match part.split_once(end) {
        Some((inner, rest)) if inner.chars().all(&is_in) => whole + start + with + end + rest,
        _ => whole + start + part,
    })
}

/// Leaves rates and times out, and how far a bar is.
fn without_figures(text: &str) -> String {
    let is_number = |c: char| c.is_ascii_digit() || c == ',' || c == '.';
    let is_time = |c: char| is_number(c) || c == ' ' || c.is_ascii_lowercase();
    let text = ["items/min", "items/h"].iter().fold(text.to_owned(), |text, unit| text.replace(unit, "items/s"));
    let text = between(&text, ", ", " items/s", is_number, "N");
    let text = between(&text, ", ", " left", |c| is_time(c) && c != ',', "T");
    let text = between(&text, ", ", " so far", |c| is_time(c) && c != ',', "T");
    let text = between(&text, "; ", ", N items/s", |c| is_time(c) && c != ',', "T");
    let text = between(&text, "instances: ", " fresh", is_number, "N");
    let text = between(&text, " fresh, ", " restored", is_number, "N");
    between(&text, "[", "]", |c| "=> ".contains(c), "=>")
}

/// Writes a task and its items: 1,009 that are done soon, one of which fails, one that runs for ever, if it is to, and two more.
fn items(folder: &Folder, for_ever: bool) {
    folder.write("count.wat", COUNT_TO);
    let long = if for_ever { "9000000000000000000" } else { "7" };
    let text = format!("{}\"x\"\n{}{long}\n7\n7\n", "7\n".repeat(1005), "7\n".repeat(3));
    folder.write("items.jsonl", text);
}

const MAP: [&str; 11] =
    ["map", "count.wat", "items.jsonl", "-j", "1", "-c", "1", "--timeout", "10h", "-o", "results.jsonl"];

/// Returns what a person sees in some sessions on a terminal of this width.
fn captured(columns: u16) -> String {
    let mut text = String::new();
    let mut add = |what: &str, lines: Vec<String>| {
        let _ = write!(text, "== {what}\n{}\n\n", lines.join("\n"));
    };
    let folder = Folder::new();
    items(&folder, true);
    let mut session = Session::start(&folder, columns, &MAP);
    add("while it runs", session.screen_with(&["1,009", "left", "failed: invalid-input"]));
    session.host.signal(Signal::SIGINT);
    add("after Ctrl-C", session.screen_with(&["Ctrl-C again ends it at once", "1,009"]));
    session.host.signal(Signal::SIGTERM);
    assert_eq!(session.host.code(), 143);
    items(&folder, false);
    let mut session = Session::start(&folder, columns, &MAP);
    assert_eq!(session.host.code(), 1);
    add("at the end", session.screen_with(&[" restored"]));
    let mut session = Session::start(&folder, columns, &["map", "count.wat", "--delimiter", "nul"]);
    assert_eq!(session.host.code(), 2);
    add("an option without effect", session.screen_with(&["leave it out"]));
    let mut session = Session::start(&folder, columns, &["map", "count.wat", "none.jsonl"]);
    assert_eq!(session.host.code(), 2);
    add("an input that is not there", session.screen_with(&["none.jsonl"]));
    let mut session = Session::start(&folder, columns, &["new", "-h"]);
    assert_eq!(session.host.code(), 0);
    add("a help", session.screen_with(&["and so on."]));
    text.trim_end().to_owned() + "\n"
}

#[test]
fn what_a_person_sees_is_what_is_kept_of_terminals_of_each_width() {
    let captures = WIDTHS.map(|columns| std::thread::spawn(move || (columns, captured(columns))));
    let mut wrong = Vec::new();
    for capture in captures {
        let (columns, text) = capture.join().expect("no panic");
        let path = workspace().join(format!("tests/tests/it/captures/{columns}.txt"));
        if std::env::var_os("WASMPOOL_BLESS").is_some_and(|value| value == "1") {
            fs::write(&path, &text).expect("written");
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        let widest = text.lines().filter(|line| !line.starts_with("== ")).map(|line| line.chars().count()).max();
        assert!(widest <= Some(columns.into()), "{text}");
        if kept != text {
            wrong.push(format!("{columns} columns:\n{text}\n-- and not --\n{kept}"));
        }
    }
    assert!(wrong.is_empty(), "WASMPOOL_BLESS=1 keeps these:\n{}", wrong.join("\n\n"));
}

#[test]
fn figures_are_left_out_and_nothing_else() {
    assert_eq!(
        without_figures("[==>   ] 99%  1,009 of 1,012 items, 1 failed, 12,345 items/s, 2 min 1 s left, 3 s so far"),
        "[=>] 99%  1,009 of 1,012 items, 1 failed, N items/s, T left, T so far"
    );
    assert_eq!(
        without_figures("1 of 3 items failed: 1 trap; 0.3 s, 3.2 items/min; instances: 1,234 fresh, 0 restored"),
        "1 of 3 items failed: 1 trap; T, N items/s; instances: N fresh, N restored"
    );
    assert_eq!(without_figures("what is left, [a=b]"), "what is left, [a=b]");
}
