//! Where an item came from: failures have the file and the line, and an item that runs again keeps the index that it had
//! first.

use std::fs;

use serde_json::Value;

use crate::support::folder::Folder;
use crate::support::guest::{Task, wat};
use crate::support::run::{Output, map, wasmpool};
use crate::support::wat::{SQUARE, component, echo_bytes, echo_string, lift, minus};

/// Returns the sources of the records of failures, in the order of the output.
fn sources(output: &Output) -> Vec<String> {
    let failed = output.records().into_iter().filter(|record| record.kind() != "ok");
    failed.map(|record| record.get("source").and_then(Value::as_str).expect("it has a source").to_owned()).collect()
}

const RECORDS: [&str; 2] = ["--output-format", "records"];

#[test]
fn a_failure_says_in_which_line_of_which_file_its_item_stands() {
    let folder = Folder::new();
    folder.write("a.jsonl", "\u{feff}1\n\n  \n\"x\"\n2\n\"y\"");
    folder.write("b.jsonl", "\"z\"\n\n");
    folder.write("c.jsonl", "\n\"w\"\n");
    let files = ["a.jsonl", "b.jsonl", "c.jsonl"].map(|name| folder.path(name));
    let run = || map(&wat(SQUARE)).args(["-j", "2", "-c", "1"]).args(&files);
    let output = run().args(RECORDS).arg("--failed").arg(folder.path("failed")).run().exits(1);
    let wanted = ["a.jsonl:4", "a.jsonl:6", "b.jsonl:1", "c.jsonl:2"].map(|place| folder.named(place));
    assert_eq!(sources(&output), wanted);
    for (place, line) in wanted.iter().zip(fs::read_to_string(folder.path("failed")).expect("it is there").lines()) {
        let line: Value = serde_json::from_str(line).expect("a line of JSON");
        assert_eq!(line["source"], **place);
        assert!(output.stderr.contains(&format!("wasmpool: {place}: item {} failed: ", line["index"])));
    }
    // Also where nothing but failures is told.
    assert!(run().run().exits(1).stderr.contains(&format!("{}: item 1 failed", wanted[0])));
}

#[test]
fn a_line_of_standard_input_is_told_by_its_number() {
    let output = map(&wat(SQUARE)).args(RECORDS).input("1\n\n\"x\"\n").run().exits(1);
    assert_eq!(sources(&output), ["-:3"]);
    assert!(output.stderr.contains("wasmpool: line 3: item 1 failed: invalid-input"), "{}", output.stderr);
}

#[test]
fn a_row_of_csv_is_told_by_the_line_in_which_it_begins() {
    let folder = Folder::new();
    for (name, end) in [("unix.csv", "\n"), ("dos.csv", "\r\n")] {
        let rows = [
            "from,take,note",
            "1,2,\"two\nlines\"",
            "x,2,here",
            "",
            "3,4,\"a\n\nb\"",
            "y,1,\"c\nd\"",
            "short",
            "5,6,e",
        ];
        folder.write(name, rows.join(end));
        let csv = ["--input-format", "csv", "--output-format", "records"];
        let output = map(&wat(minus())).args(csv).arg(folder.path(name)).run().exits(1);
        assert_eq!(sources(&output), ["4", "9", "11"].map(|line| folder.named(&format!("{name}:{line}"))));
    }
}

#[test]
fn lines_are_counted_across_blocks_and_behind_long_items() {
    let folder = Folder::new();
    let mut lines: Vec<String> = (0..2000).map(|line| format!("\"{}\"", "x".repeat(line % 700))).collect();
    lines[700] = format!("\"{}\"", "y".repeat(1 << 20));
    lines[701] = "7".to_owned();
    lines[1999] = "8".to_owned();
    folder.write("long.jsonl", lines.join("\n"));
    let output = map(&wat(echo_string())).args(RECORDS).arg(folder.path("long.jsonl")).run().exits(1);
    assert_eq!(sources(&output), ["long.jsonl:702", "long.jsonl:2000"].map(|place| folder.named(place)));
}

/// Returns a function of bytes that traps.
fn traps() -> Task {
    let body = r#"(func (export "go") (param i32 i32) (result i32) unreachable)"#;
    wat(component(body, &[lift("go", r#"(param "item" (list u8)) (result (list u8))"#)]))
}

#[test]
fn an_item_that_is_a_file_is_told_by_its_path_whatever_became_of_it() {
    let folder = Folder::new();
    folder.write("here", "content");
    folder.write("list", format!("{}\n{}\n", folder.named("here"), folder.named("missing")));
    let args = ["--input-format", "files", "--output-format", "records"];
    let run = |task: &Task| map(task).args(args).arg(folder.path("list")).run().exits(1);
    let told = |output: Output| output.records().iter().map(|record| record.get("source").cloned()).collect::<Vec<_>>();
    let wanted = ["here", "missing"].map(|name| Some(Value::from(folder.named(name))));
    assert_eq!(told(run(&wat(echo_bytes()))), wanted);
    assert_eq!(told(run(&traps())), wanted);
}

#[test]
fn an_item_that_runs_again_keeps_its_index_and_its_place() {
    let folder = Folder::new();
    folder.write("items", "1\n\n\"two\"\n3\n\"four\"\n5\n");
    let run = |failed: &str| map(&wat(SQUARE)).args(RECORDS).arg("--failed").arg(folder.path(failed));
    let before = run("failed").arg(folder.path("items")).run().exits(1);
    // It fails again, and again with the original index and place.
    let again = run("again").arg(folder.path("failed")).run().exits(1);
    let places = ["items:3", "items:5"].map(|place| folder.named(place));
    assert_eq!((sources(&before), sources(&again)), (places.to_vec(), places.to_vec()));
    assert!(again.stderr.contains(&format!("{}: item 3 failed", places[1])), "{}", again.stderr);
    let mended = fs::read_to_string(folder.path("again")).expect("it is there");
    folder.write("mended", mended.replace("\"two\"", "2").replace("\"four\"", "4"));
    let after = map(&wat(SQUARE)).args(RECORDS).arg(folder.path("mended")).run().exits(0);
    // The records of both runs together are those of a run in which nothing failed.
    let mut merged: Vec<(u64, Value)> = [before, after]
        .iter()
        .flat_map(|output| output.records())
        .filter(|record| record.kind() == "ok")
        .map(|record| (record.index(), record.value().clone()))
        .collect();
    merged.sort_by_key(|(index, _)| *index);
    assert_eq!(
        merged,
        [1, 4, 9, 16, 25].map(Value::from).into_iter().enumerate().map(|(n, v)| (n as u64, v)).collect::<Vec<_>>()
    );
    // Lines of other formats are not taken for failed items.
    let lines = ["--input-format", "lines", "--output-format", "records"];
    let output = map(&wat(echo_string())).args(lines).arg(folder.path("mended")).run().exits(0);
    assert_eq!(output.records().iter().map(|record| record.index()).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_file_that_is_read_again_keeps_its_index() {
    let folder = Folder::new();
    folder.write("list", format!("{}\n{}\n", folder.named("missing"), folder.named("late")));
    let args = ["--input-format", "files", "--output-format", "records"];
    let run = map(&wat(echo_bytes())).args(args).arg("--failed").arg(folder.path("failed"));
    run.arg(folder.path("list")).run().exits(1);
    folder.write("late", "now");
    let output = map(&wat(echo_bytes())).args(args).arg(folder.path("failed")).run().exits(1);
    let told: Vec<(u64, String)> = output.records().iter().map(|r| (r.index(), r.kind().to_owned())).collect();
    assert_eq!(told, [(0, "invalid-input".to_owned()), (1, "ok".to_owned())]);
}

#[test]
fn a_run_that_is_resumed_counts_the_lines_that_it_does_not_run_again() {
    let folder = Folder::new();
    let run = || {
        let run = map(&wat(SQUARE)).args(RECORDS).arg("-o").arg(folder.path("out")).arg("--resume");
        run.arg("--journal").arg(folder.path("journal")).arg(folder.path("items")).run()
    };
    folder.write("items", "1\n\n2\n");
    run().exits(0);
    folder.write("items", "1\n\n2\n3\n\n\"x\"\n");
    let output = run().exits(1);
    let place = folder.named("items:6");
    assert!(output.stderr.contains(&format!("{place}: item 3 failed")), "{}", output.stderr);
    assert!(fs::read_to_string(folder.path("out")).expect("it is there").contains(&format!("\"source\":\"{place}\"")));
}

#[test]
fn each_of_several_tasks_tells_where_the_item_stands() {
    let folder = Folder::new();
    folder.write("items", "1\n\n\"x\"\n");
    folder.write("square.wat", SQUARE);
    let tasks = ["a", "b"].map(|name| format!("{name}={}", folder.named("square.wat")));
    let run = wasmpool().args(["map", "--task", &tasks[0], "--task", &tasks[1]]).arg(folder.path("items"));
    let output = run.run().exits(1);
    assert_eq!(sources(&output), [folder.named("items:3"), folder.named("items:3")]);
    assert!(output.stderr.contains("items:3: item 1 of task a failed"), "{}", output.stderr);
}
