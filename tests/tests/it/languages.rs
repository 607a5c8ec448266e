//! The same guest from five languages: each must give the one expected result for every item, so all give the same.
//!
//! The results are known from how the items are made, not from a sixth implementation.

use std::fmt::Write as _;
use std::io::{Write as _, stderr};
use std::time::Duration;

use serde_json::json;

use crate::exchange;
use crate::support::guest::{Task, built, built_in};
use crate::support::record::Record;
use crate::support::run::{map, wasmpool};

type Expected = Result<String, String>;

const LANGUAGES: [&str; 5] = ["rust", "python", "javascript", "c", "go"];
const ITEMS: u64 = 1000;

/// Maximum time of a run: a guest that holds the whole of CPython takes long to compile beside other tests.
const PATIENCE: Duration = Duration::from_mins(10);

/// Returns the guest in this language, or `None` if its tools were missing, so that `make guests` left it out.
fn guest(language: &str) -> Option<Task> {
    if language == "rust" { Some(built("isbn")) } else { built_in(language, "isbn") }
}

/// Prevents that missing guests are taken for tests that passed.
#[test]
fn guests_that_make_guests_left_out_are_named() {
    let isbn = LANGUAGES.into_iter().filter(|language| guest(language).is_none()).map(|language| ("isbn", language));
    let exchange = exchange::LANGUAGES.into_iter().filter(|language| built_in(language, "exchange").is_none());
    let missing: Vec<_> = isbn.chain(exchange.map(|language| ("exchange", language))).collect();
    for (guest, language) in &missing {
        // Written past the test harness, which would swallow it.
        let _ = writeln!(stderr(), "left out: {guest} in {language}, which `make guests` did not build");
    }
    let required = std::env::var("GUESTS_REQUIRED").is_ok_and(|value| !matches!(&*value, "" | "0"));
    assert!(!required || missing.is_empty(), "left out, and none may be: {missing:?}; `make guests` says why");
}

// ---- items and their expected results
// --------------------------------------------------------------------------------

/// A source of random content for items, the same on every machine.
struct Random(fastrand::Rng);

impl Random {
    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        *self.0.choice(all).expect("one of several")
    }

    fn digits(&mut self, count: usize) -> String {
        (0..count).map(|_| self.one_of(&DIGITS[..10])).collect()
    }

    /// Inserts separators at random places of the text.
    fn separated(&mut self, text: &str) -> String {
        let mut separated = String::new();
        for symbol in text.chars() {
            separated.push_str(self.one_of(&["", "", "", "-", " ", " - ", "\t"]));
            separated.push(symbol);
        }
        separated + self.one_of(&["", "", " ", "--"])
    }

    fn body_of_13(&mut self) -> String {
        self.one_of(&["978", "979"]).to_owned() + &self.digits(9)
    }
}

const DIGITS: [char; 11] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'X'];

/// Returns the digit that makes the weighted sum of the digits a multiple of `modulus`.
fn check(body: &str, modulus: usize, weight: impl Fn(usize) -> usize) -> char {
    let value = |symbol| DIGITS.iter().position(|digit| *digit == symbol).expect("a digit");
    let sum = |text: String| text.chars().enumerate().map(|(i, symbol)| weight(i) * value(symbol)).sum::<usize>();
    let fits = |digit: &char| sum(format!("{body}{digit}")).is_multiple_of(modulus);
    DIGITS.into_iter().take(modulus).find(fits).expect("one of the digits fits")
}

fn check_of_10(body: &str) -> char {
    check(body, 11, |i| 10 - i)
}

fn check_of_13(body: &str) -> char {
    check(body, 10, |i| if i % 2 == 0 { 1 } else { 3 })
}

/// Characters that no ISBN holds; some are digits in Unicode, or look like a hyphen or a space.
const FOREIGN: [char; 24] = [
    'a', 'O', 'l', 'x', 'X', '.', '_', '+', '"', '\\', '\'', '/', '\0', '\u{1b}', '\u{7f}', '\u{a0}', 'é', 'ß', '٣',
    '７', '\u{2010}', '–', '書', '🦀',
];

fn item(random: &mut Random, kind: u64) -> (String, Expected) {
    match kind {
        0 | 1 => {
            let body = random.body_of_13();
            let isbn = format!("{body}{}", check_of_13(&body));
            let text = if kind == 0 { isbn.clone() } else { random.separated(&isbn) };
            (text, Ok(isbn))
        }
        2 | 3 => {
            let body = random.digits(9);
            let check = check_of_10(&body);
            let check = if random.0.usize(..2) == 0 { check } else { check.to_ascii_lowercase() };
            let long = format!("978{body}");
            (random.separated(&format!("{body}{check}")), Ok(format!("{long}{}", check_of_13(&long))))
        }
        4 => {
            let body = random.body_of_13();
            wrong_check(random, &body, check_of_13(&body), &DIGITS[..10])
        }
        5 => {
            let body = random.digits(9);
            wrong_check(random, &body, check_of_10(&body), &DIGITS)
        }
        6 => {
            let prefix = random.one_of(&["077", "970", "977", "988", "078", "779", "999"]);
            let text = prefix.to_owned() + &random.digits(10);
            (random.separated(&text), Err("13 digits have to start with 978 or 979".to_owned()))
        }
        7 => {
            let count = random.one_of(&[1, 2, 3, 8, 9, 11, 12, 14, 15, 20, 23, 70, 1000]);
            let text = random.digits(count);
            (random.separated(&text), Err(format!("10 or 13 digits are needed, not {count}")))
        }
        8 => {
            // After nine digits, it could be a final X.
            let foreign = random.one_of(&FOREIGN);
            let before = random.one_of(&[0, 1, 3, 5, 8, 10, 12, 13]);
            let after = random.one_of(&[0, 1, 4, 9]);
            let text = format!("{}{foreign}{}", random.digits(before), random.one_of(&["", "z", "é"]));
            let text = text + &random.digits(after);
            (random.separated(&text), Err(format!("\"{foreign}\" is not a digit")))
        }
        _ => {
            let count = random.0.usize(..40);
            let text: String = (0..count).map(|_| random.one_of(&[' ', '-', '\t'])).collect();
            (text, Err("there are no digits".to_owned()))
        }
    }
}

fn wrong_check(random: &mut Random, body: &str, wanted: char, from: &[char]) -> (String, Expected) {
    let others: Vec<char> = from.iter().copied().filter(|digit| *digit != wanted).collect();
    let other = random.one_of(&others);
    (random.separated(&format!("{body}{other}")), Err(format!("the check digit should be {wanted}, not {other}")))
}

fn items() -> Vec<(String, Expected)> {
    let mut random = Random(fastrand::Rng::with_seed(13));
    (0..ITEMS).map(|index| item(&mut random, index % 10)).collect()
}

// ---- results of each language
// ----------------------------------------------------------------------------------------

/// Runs all items and compares their outcomes, which `outcome` reads from the records.
#[track_caller]
fn agrees(command: &str, task: &Task, outcome: impl Fn(&Record) -> Expected) {
    let items = items();
    let input: String = items.iter().fold(String::new(), |mut input, (text, _)| {
        let _ = writeln!(input, "{text}");
        input
    });
    let run = wasmpool().arg(command).task(task).args(["--input-format", "lines", "--output-format", "records"]);
    let records = run.limit(PATIENCE).input(input).run().exits(1).records();
    assert_eq!(records.len(), items.len());
    for ((text, expected), (index, record)) in items.iter().zip((0..).zip(&records)) {
        assert_eq!(record.index(), index);
        assert_eq!(&outcome(record), expected, "of {text:?}: {record:?}");
    }
}

/// Checks a component that exports the function: `ok` is the value, `err` a failure of kind `error`.
#[track_caller]
fn agrees_as_component(language: &str) {
    let Some(task) = guest(language) else { return };
    agrees("map", &task, |record| {
        let text = |field| record.get(field).and_then(|value| value.as_str()).expect("a text").to_owned();
        match record.kind() {
            "ok" => Ok(text("value")),
            "error" => Err(text("error")),
            kind => panic!("{kind}: {}", record.message()),
        }
    });
}

/// Checks a command that prints a line: the value if it exits with 0, otherwise what is wrong, on standard error.
#[track_caller]
fn agrees_as_command(language: &str) {
    let Some(task) = guest(language) else { return };
    agrees("exec", &task, |record| {
        let line = |field| {
            let text = record.get(field).and_then(|value| value.as_str()).expect("a text");
            text.strip_suffix('\n').unwrap_or_else(|| panic!("not a line: {record:?}")).to_owned()
        };
        match record.kind() {
            "ok" => Ok(line("value")),
            "exit" => {
                assert_eq!(record.get("code"), Some(&json!(1)), "{record:?}");
                Err(line("stderr"))
            }
            kind => panic!("{kind}: {}", record.message()),
        }
    });
}

#[test]
fn rust_gives_every_item_its_one_result() {
    agrees_as_component("rust");
}

/// What componentize-py adds has a function of that name, which no user calls.
#[test]
fn a_function_that_a_toolchain_adds_does_not_initialise_an_instance() {
    let Some(task) = guest("python") else { return };
    let inspected = wasmpool().arg("inspect").task(&task).run().exits(0);
    assert!(!inspected.text().contains("init: "), "{}", inspected.text());
    let said = map(&task).args(["--init", "3"]).input("\"x\"\n").run().exits(2).stderr;
    assert!(said.contains("exports no function `init`"), "{said}");
}

#[test]
fn python_gives_every_item_its_one_result() {
    agrees_as_component("python");
}

#[test]
fn javascript_gives_every_item_its_one_result() {
    agrees_as_component("javascript");
}

#[test]
fn c_gives_every_item_its_one_result() {
    agrees_as_command("c");
}

#[test]
fn go_gives_every_item_its_one_result() {
    agrees_as_command("go");
}

/// Covers how each language fails: a panic, an exception, a failed assertion.
#[test]
fn the_reason_a_language_gives_is_the_message_of_the_failure() {
    for (language, kind, message) in [
        ("rust", "trap", "asked to panic, at "),
        ("python", "trap", "ValueError: asked to panic ("),
        ("javascript", "error", "asked to panic"),
        ("c", "trap", "Assertion failed: !\"asked to panic\" ("),
        ("go", "exit", "the task ended with exit code 2: panic: asked to panic"),
    ] {
        let Some(task) = guest(language) else { continue };
        let command = if matches!(language, "c" | "go") { "exec" } else { "map" };
        let run = wasmpool().arg(command).task(&task).args(["--input-format", "lines", "--output-format", "records"]);
        let output = run.limit(PATIENCE).input("panic").run().exits(1);
        let record = &output.records()[0];
        assert_eq!(record.kind(), kind, "{language}: {record:?}");
        assert!(record.message().starts_with(message), "{language}: {}", record.message());
        assert_eq!(record.message().contains("`unreachable`"), kind == "trap", "{language}: {}", record.message());
        if kind == "trap" && language != "c" {
            let first = record.get("trace").map(|trace| trace[0].to_string()).unwrap_or_default();
            assert!(!first.contains("abort") && !first.contains("std::"), "{language}: {record:?}");
        }
        // Runtimes look for directories and variables when they start; granting them would not have helped here.
        assert!(!record.message().contains("--"), "{language}: {}", record.message());
    }
}

/// Compares the results above with those of real books.
#[test]
fn isbns_of_books_are_known() {
    let books = "0-306-40615-2\n0-8044-2957-X\n080442957x\n978-3-16-148410-0\n979-10-90636-07-1\n1 86197 271 7\n";
    let output = map(&built("isbn")).args(["--input-format", "lines"]).input(books).run().exits(0);
    let isbns = ["9780306406157", "9780804429573", "9780804429573", "9783161484100", "9791090636071", "9781861972712"];
    assert_eq!(output.values(), isbns);
    let printed = [&check_of_13("978030640615"), &check_of_10("080442957"), &check_of_10("030640615")];
    assert_eq!(printed, [&'7', &'X', &'2']);
}

/// Runtimes export functions of their own; `isbn` is the one that a user would call.
#[test]
fn a_component_of_any_language_is_compiled_ahead_and_shows_its_function() {
    for language in ["rust", "python", "javascript"] {
        let Some(task) = guest(language) else { continue };
        wasmpool().arg("compile").task(&task).limit(PATIENCE).run().exits(0);
        let shown = wasmpool().arg("inspect").task(&task).limit(PATIENCE).run().exits(0);
        let function = "isbn: func(text: string) -> result<string, string>";
        assert!(shown.text().contains(function), "in {language}:\n{}", shown.text());
        let mapped = map(&task).args(["-v", "--input-format", "lines"]).input("0306406152\n").run().exits(0);
        assert_eq!(mapped.values(), ["9780306406157"], "in {language}");
        assert!(mapped.stderr.contains("from the cache"), "in {language}: {}", mapped.stderr);
    }
}
