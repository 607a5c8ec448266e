//! Messages on standard error: as JSON for programs, and with what items print for those who want to know more.

use serde_json::Value;

use crate::records::prints_and;
use crate::support::guest::wat;
use crate::support::run::{Output, map, wasmpool};
use crate::support::wat::SQUARE;

const TRAPS: &str = "(module (func (export \"go\") (param i64) (result i64) unreachable))";

/// A command that prints a word.
const SAYS: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\20\00\00\00\05\00\00\00")
    (data (i32.const 32) "word\n")
    (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

/// Returns each message of a run that was asked for JSON.
fn messages(output: &Output) -> Vec<Value> {
    let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let messages: Vec<Value> = output.stderr.lines().map(read).collect();
    for message in &messages {
        let level = message["level"].as_str().expect("a level");
        assert!(["error", "warning", "info"].contains(&level), "{message}");
        let text = message["message"].as_str().expect("a message");
        assert!(!text.is_empty() && !text.starts_with("wasmpool:"), "{message}");
    }
    messages
}

#[test]
fn every_message_is_an_object_where_json_is_asked_for() {
    let json = ["--log-format", "json"];
    let output = map(&wat(SQUARE)).args(json).arg("-v").input("3\n\"x\"\n").run().exits(1);
    assert_eq!(output.text(), "9\n", "results are what they are");
    let all = messages(&output);
    let failure = all.iter().find(|message| message["index"] == 1).expect("the failure");
    assert_eq!((&failure["level"], &failure["kind"]), (&"warning".into(), &"invalid-input".into()));
    let coloured = map(&wat(SQUARE)).args(json).args(["--color", "always", "--progress", "always"]);
    let coloured = coloured.input("3\n\"x\"\n").run().exits(1);
    assert!(messages(&coloured).iter().all(|message| !message.to_string().contains("\\u001b")), "{}", coloured.stderr);
    let summary = all.iter().find(|message| message["done"] == 2).expect("the summary");
    assert_eq!((&summary["failed"], &summary["kinds"]["invalid-input"]), (&1.into(), &1.into()));
    // Errors of all sorts, also those of the command line itself.
    for (run, code) in [
        (map(&wat("(module)")).args(json), 2),
        (map(&wat(SQUARE)).args(json).arg("--nonsense"), 2),
        (map(&wat(SQUARE)).arg("--nonsense").env("WASMPOOL_LOG_FORMAT", "json"), 2),
        (wasmpool().args(["call", "missing.wasm", "f"]).args(json), 2),
        (wasmpool().arg("call").task(&wat(SQUARE)).args(["square", "[]"]).args(json), 2),
        (wasmpool().arg("call").task(&wat(TRAPS)).args(["go", "1"]).args(json), 1),
        (map(&wat(TRAPS)).args(["--halt", "now,fail=1"]).args(json), 3),
    ] {
        let all = messages(&run.input("1\n").run().exits(code));
        let last = all.last().expect("a message");
        assert_eq!((&last["level"], &last["exit_code"]), (&"error".into(), &code.into()));
    }
    let progress = map(&wat(SQUARE)).args(json).args(["--progress", "always"]).input("3\n".repeat(1000)).run().exits(0);
    assert!(messages(&progress).iter().any(|message| message["done"] == 1000));
}

#[test]
fn what_items_print_is_shown_to_those_who_want_more() {
    let task = prints_and("a word\n", 1, "local.get 0");
    let said = |args: &[&str], items: usize| map(&task).args(args).input("1\n".repeat(items)).run().exits(0).stderr;
    let shown = "wasmpool: item 1 printed to its standard error:\n  | a word\n";
    assert!(said(&["-v"], 3).contains(shown));
    assert!(!said(&[], 3).contains("a word"));
    let count = |args: &[&str]| said(args, 100).matches("  | a word").count();
    assert_eq!((count(&["-v"]), count(&["-vv"])), (20, 100));
}

#[test]
fn what_processes_of_a_run_print_and_how_they_fail_has_their_name_as_a_member() {
    let folder = tempfile::TempDir::new().expect("a temporary directory");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    write("traps.wat", TRAPS);
    write("says.wat", SAYS);
    let falls = "[process.falls]\ntask = \"traps.wat\"\nfunction = \"go\"\nargs = [1]\n";
    write("run.toml", &format!("{falls}[process.speaks]\ntask = \"says.wat\"\ncommand = []\n"));
    let run = wasmpool().directory(folder.path()).args(["run", "run.toml", "--log-format", "json"]);
    let all = messages(&run.run().exits(1));
    let of =
        |name: &str| all.iter().find(|message| message["name"] == name).unwrap_or_else(|| panic!("{name}: {all:?}"));
    assert_eq!((&of("falls")["level"], &of("falls")["kind"]), (&"warning".into(), &"trap".into()));
    let printed = of("speaks");
    assert_eq!((&printed["stream"], &printed["printed"]), (&"standard output".into(), &"word".into()));
}
