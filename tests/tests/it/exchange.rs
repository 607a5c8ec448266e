//! Shared objects in guests of several languages, which bind `wit/shared.wit` by the tools of each: `guest/languages`.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::guest::built_in;
use crate::support::run::{Output, map};

pub const LANGUAGES: [&str; 4] = ["python", "javascript", "c", "go"];

/// Maximum time of a run: a guest that holds the whole of CPython takes long to compile beside other tests.
const PATIENCE: Duration = Duration::from_mins(10);

/// Runs the guest over these texts with these objects. Returns `None` if `make guests` left it out.
fn exchanged(language: &str, texts: &[&str], shared: &[&str], code: i32) -> Option<(Output, Value)> {
    let task = built_in(language, "exchange")?;
    let folder = TempDir::new().expect("a temporary directory");
    let file = folder.path().join("shared.json");
    let objects = shared.iter().flat_map(|object| ["--share", object]);
    let run = map(&task).args(["-j", "2", "-c", "1", "--input-format", "lines"]).args(objects).arg("--share-out");
    let output = run.arg(&file).limit(PATIENCE).input(texts.join("\n")).run().exits(code);
    let told = std::fs::read_to_string(&file).expect("a file of --share-out");
    Some((output, serde_json::from_str(&told).expect("an object of JSON")))
}

/// Checks that each text is returned once, to whichever item got it, and that every byte is counted.
#[track_caller]
fn exchanges(language: &str) {
    let mut texts: Vec<String> = (0..40).map(|n| format!("{n:02} {}", ["tea", "Käse", "書", "🦀"][n % 4])).collect();
    let input: Vec<&str> = texts.iter().map(String::as_str).collect();
    let Some((output, told)) = exchanged(language, &input, &["texts=queue", "bytes=value:s64"], 0) else { return };
    let mut got: Vec<String> = output.values().iter().map(|text| text.as_str().expect("a text").to_owned()).collect();
    got.sort_unstable();
    texts.sort_unstable();
    assert_eq!(got, texts, "in {language}");
    let bytes: usize = texts.iter().map(String::len).sum();
    assert_eq!(told, json!({"texts": [], "bytes": bytes}), "in {language}");
}

#[test]
fn items_in_python_share_a_queue_and_a_value() {
    exchanges("python");
}

#[test]
fn items_in_javascript_share_a_queue_and_a_value() {
    exchanges("javascript");
}

#[test]
fn items_in_c_share_a_queue_and_a_value() {
    exchanges("c");
}

#[test]
fn items_in_go_share_a_queue_and_a_value() {
    exchanges("go");
}

/// Covers an object that was not granted, a right that was not, and a number of another type.
#[test]
fn each_language_is_told_the_same_of_what_was_refused() {
    for (shared, said) in [
        (&["texts=queue"][..], "grant it with --share bytes=value:TYPE"),
        (&["texts=queue:put", "bytes=value:s64"], "`texts` was granted without the right to get"),
        (&["texts=queue", "bytes=value:u64"], "`bytes` holds u64, and the number is of type s64"),
    ] {
        for language in LANGUAGES {
            let Some((output, _)) = exchanged(language, &["tea"], shared, 1) else { continue };
            assert!(output.stderr.contains("item 0 failed: error: "), "in {language}: {}", output.stderr);
            assert!(output.stderr.contains(said), "in {language}: {}", output.stderr);
        }
    }
}
