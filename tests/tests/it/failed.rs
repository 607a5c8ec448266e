//! `--failed FILE`: failed items are kept with their input, and `map` can read them again.

use serde_json::{Value, json};

use crate::exec::cat;
use crate::support::folder::Folder;
use crate::support::guest::{Task, wat};
use crate::support::run::{Output, map, wasmpool};
use crate::support::wat::{SQUARE, component, echo_bytes, echo_string, lift, minus};

/// Returns a function with parameters of this type that traps.
fn traps(params: &str) -> Task {
    let body = r#"(func (export "go") (param i32 i32) (result i32) unreachable)"#;
    wat(component(body, &[lift("go", params)]))
}

/// Returns `go(i64) -> i64`: negative items trap, others are doubled.
fn traps_if_negative() -> Task {
    wat(r#"
(module
  (func (export "go") (param i64) (result i64)
    (if (i64.lt_s (local.get 0) (i64.const 0)) (then unreachable))
    (i64.mul (local.get 0) (i64.const 2))))"#)
}

/// Runs `input` with one task, and maps another over its failed items. Returns the lines of failed items, and the
/// second output.
#[track_caller]
fn again(failing: &Task, working: &Task, args: &[&str], input: &[u8]) -> (Vec<Value>, Output) {
    let folder = Folder::new();
    map(failing).args(args).arg("--failed").arg(folder.path("failed")).input(input).run().exits(1);
    let output = map(working).args(["--output-format", "raw", "--delimiter", "nul"]).arg(folder.path("failed")).run();
    (folder.lines("failed"), output)
}

#[test]
fn failed_items_stand_with_their_input_in_order_and_no_others() {
    let folder = Folder::new();
    map(&traps_if_negative())
        .args(["-j", "2", "-c", "3", "--failed"])
        .arg(folder.path("failed"))
        .input("1\n-2\n3\n-4\n5\n6\n \"x\" \n7\n-8\n")
        .run()
        .exits(1);
    let lines = folder.lines("failed");
    let told: Vec<Value> =
        lines.iter().map(|line| json!([line["index"], line["status"], line["kind"], line["input"]])).collect();
    let wanted = json!([
        [1, "failed", "trap", -2],
        [3, "failed", "trap", -4],
        [6, "failed", "invalid-input", "x"],
        [8, "failed", "trap", -8]
    ]);
    assert_eq!(Value::from(told), wanted);
}

#[test]
fn what_failed_is_mapped_over_again() {
    let folder = Folder::new();
    let input = "1\n-2\n3\n-4\n";
    map(&traps_if_negative()).arg("--failed").arg(folder.path("failed")).input(input).run().exits(1);
    let output = map(&wat(SQUARE)).arg(folder.path("failed")).run().exits(0);
    assert_eq!(output.lines(), ["4", "16"]);
}

#[test]
fn what_fails_again_is_written_as_it_was_the_first_time() {
    let folder = Folder::new();
    let task = traps_if_negative();
    map(&task).arg("--failed").arg(folder.path("first")).input("1\n[-2, 1.0]\n-3\n").run().exits(1);
    map(&task).arg("--failed").arg(folder.path("second")).arg(folder.path("first")).run().exits(1);
    map(&task).arg("--failed").arg(folder.path("third")).arg(folder.path("second")).run().exits(1);
    let third = std::fs::read_to_string(folder.path("third")).expect("it is there");
    assert!(third.starts_with(r#"{"wasmpool":"failed","form":"json","input":[-2, 1.0],"index":1,"#), "{third}");
    assert_eq!(
        folder.lines("third").iter().map(|line| line["input"].clone()).collect::<Vec<_>>(),
        [json!([-2, 1.0]), json!(-3)]
    );
}

#[test]
fn items_of_every_input_format_come_back_as_they_were() {
    let of_string = traps(r#"(param "item" string) (result string)"#);
    let of_bytes = traps(r#"(param "item" (list u8)) (result (list u8))"#);
    type Case<'a> = (&'a str, &'a Task, Task, &'a [u8], &'a [u8]);
    let cases: [Case<'_>; 5] = [
        (
            "lines",
            &of_string,
            wat(echo_string()),
            b"a \"b\"\n\n{\"x\":\r\n\xc3\xa4\n",
            b"a \"b\"\0\0{\"x\":\r\0\xc3\xa4\0",
        ),
        ("lines", &of_bytes, wat(echo_bytes()), b"\xff\xfe\nplain\n", b"\xff\xfe\0plain\0"),
        ("nul", &of_string, wat(echo_string()), b"a\nb\0c\0", b"a\nb\0c\0"),
        ("jsonl", &of_string, wat(echo_string()), b"\"a\\u0041\"\r\n", b"aA\0"),
        ("jsonl", &of_bytes, wat(echo_bytes()), b"\"YQ==\"\n[98]\n", b"a\0b\0"),
    ];
    for (format, failing, working, input, wanted) in cases {
        let (lines, output) = again(failing, &working, &["--input-format", format], input);
        assert!(lines.iter().all(|line| line["kind"] == "trap"), "{format}: {lines:?}");
        assert_eq!(output.exits(0).bytes, wanted, "{format}");
    }
}

#[test]
fn rows_of_csv_come_back_as_rows() {
    let body = r#"(func (export "minus") (param i64 i64) (result i64) unreachable)"#;
    let failing = wat(component(body, &[lift("minus", r#"(param "from" s64) (param "take" s64) (result s64)"#)]));
    let (lines, output) =
        again(&failing, &wat(minus()), &["--input-format", "csv"], b"from,take,note\n7,2,a\n9,1,\"b,c\"\n");
    assert_eq!(lines[1]["input"], json!({"from": "9", "take": "1", "note": "b,c"}));
    assert_eq!(output.exits(0).bytes, b"5\x008\0");
}

#[test]
fn files_come_back_as_what_was_in_them() {
    let folder = Folder::new();
    std::fs::write(folder.path("a"), b"\xff\x01\n").expect("a file");
    let paths = format!("{}\n{}\n", folder.path("a").display(), folder.path("none").display());
    let failing = traps(r#"(param "item" (list u8)) (result (list u8))"#);
    let (lines, output) = again(&failing, &wat(echo_bytes()), &["--input-format", "files"], paths.as_bytes());
    assert_eq!(lines[1]["kind"], "invalid-input");
    // A line of input opens no file by itself; the message repeats why it failed, and how it is read again.
    assert!(output.stderr.contains("none: No such file"), "{}", output.stderr);
    assert!(output.stderr.contains("--input-format files reads it again"), "{}", output.stderr);
    assert_eq!(output.exits(1).bytes, b"\xff\x01\n\0");
}

#[test]
fn a_file_that_could_not_be_read_is_kept_by_its_path_and_read_once_it_is_there() {
    let folder = Folder::new();
    std::fs::write(folder.path("a"), b"\xff\x01\n").expect("a file");
    let paths = format!("{}\n{}\n", folder.path("a").display(), folder.path("late").display());
    let failing = traps(r#"(param "item" (list u8)) (result (list u8))"#);
    let args = ["--input-format", "files", "--output-format", "raw", "--delimiter", "nul"];
    let files = |task: &Task| map(task).args(args);
    files(&failing).arg("--failed").arg(folder.path("failed")).input(paths).run().exits(1);
    let lines = folder.lines("failed");
    assert_eq!(lines[1]["form"], "path");
    assert_eq!(lines[1]["input"], folder.path("late").display().to_string());
    // While the file does not exist the item fails again, and is kept again.
    let run = files(&wat(echo_bytes())).arg("--failed").arg(folder.path("again")).arg(folder.path("failed"));
    assert_eq!(run.run().exits(1).bytes, b"\xff\x01\n\0");
    assert_eq!(folder.lines("again")[0]["input"], lines[1]["input"]);
    std::fs::write(folder.path("late"), "now").expect("a file");
    let output = files(&wat(echo_bytes())).arg(folder.path("again")).run().exits(0);
    assert_eq!(output.bytes, b"now\0");
    // Failed items of another format are not lost.
    map(&traps_if_negative()).arg("--failed").arg(folder.path("number")).input("-3\n").run().exits(1);
    let run = files(&wat(echo_bytes())).arg("--failed").arg(folder.path("still")).arg(folder.path("number"));
    run.run().exits(1);
    assert_eq!(map(&wat(SQUARE)).arg(folder.path("still")).run().exits(0).text(), "9\n");
}

#[test]
fn a_damaged_line_is_told_by_its_place_and_is_no_item() {
    let folder = Folder::new();
    map(&traps_if_negative()).arg("--failed").arg(folder.path("failed")).input("1\n-2\n-3\n-4\n").run().exits(1);
    let whole = std::fs::read_to_string(folder.path("failed")).expect("it is there");
    let lines: Vec<&str> = whole.lines().collect();
    // A disk was full in the middle of a line; somebody has edited another, and a program has put blanks into the third.
    let edited = lines[0].replace("\"form\":\"json\",", "");
    let spaced = lines[2].replacen("\":\"", "\": \"", 1);
    std::fs::write(folder.path("damaged"), format!("{}\n{edited}\n{spaced}\n", &lines[1][..50])).expect("written");
    let damaged = ["damaged:1: item 0 failed: invalid-input: ", "damaged:2: item 1 failed: invalid-input: "];
    let reasons = ["it breaks off after 50 bytes", "missing field `form`"];
    // A command would be given a damaged line as its text, and an input of files would take it for a path.
    let exec = wasmpool().arg("exec").task(&cat());
    let commands = [map(&wat(SQUARE)), exec, map(&wat(echo_bytes())).args(["--input-format", "files"])];
    for (nth, command) in commands.into_iter().enumerate() {
        let output = command.arg("--failed").arg(folder.path("again")).arg(folder.path("damaged")).run().exits(1);
        for (place, reason) in damaged.iter().zip(reasons) {
            let told = output.stderr.lines().find(|line| line.contains(place)).unwrap_or_default();
            assert!(
                told.contains("a damaged line of an item that failed: ") && told.contains(reason),
                "{}",
                output.stderr
            );
            assert!(told.contains("from the input of the run in which it failed, or remove the line"), "{told}");
        }
        assert_eq!(output.text().trim_end(), ["16", "-4", ""][nth]);
        // It is kept as it was, and told as that again.
        let again = map(&wat(SQUARE)).arg(folder.path("again")).run().exits(1);
        assert_eq!(again.stderr.matches("a damaged line").count(), 2, "{}", again.stderr);
    }
}

#[test]
fn failed_items_that_are_given_as_csv_are_told_with_the_format_that_reads_them() {
    let folder = Folder::new();
    let failing = wat(component(
        r#"(func (export "minus") (param i64 i64) (result i64) unreachable)"#,
        &[lift("minus", r#"(param "from" s64) (param "take" s64) (result s64)"#)],
    ));
    let csv = |task: &Task| map(task).args(["--input-format", "csv"]);
    let failed = folder.path("failed");
    csv(&failing).arg("--failed").arg(&failed).input("from,take\n7,2\n").run().exits(1);
    // The command of the first run again, with the file that it has written.
    let output = csv(&wat(minus())).arg(&failed).run().exits(2);
    let told = format!("{} holds items that failed in another run", failed.display());
    assert!(output.stderr.contains(&told) && output.stderr.contains("--input-format jsonl"), "{}", output.stderr);
    assert_eq!(map(&wat(minus())).arg(&failed).run().exits(0).text(), "5\n");
}

#[test]
fn what_is_not_json_makes_no_line_that_is_not() {
    let input = b"{\"open\n\xff\n1 2\n\"\x01\"\n";
    let (lines, output) = again(&wat(SQUARE), &wat(SQUARE), &[], input);
    assert_eq!(lines.len(), 4);
    assert!(lines.iter().all(|line| line["kind"] == "invalid-input"), "{lines:?}");
    assert_eq!(lines[0]["input"], "{\"open");
    // The items are still no JSON.
    let output = output.exits(1);
    assert!(output.stderr.contains("4 of 4 items failed: 4 invalid-input"), "{}", output.stderr);
}

#[test]
fn a_batch_takes_failed_items_again_too() {
    let folder = Folder::new();
    map(&wat(SQUARE)).arg("--failed").arg(folder.path("failed")).input("1\n\"x\"\n\"4\"\n").run().exits(1);
    let failed = std::fs::read_to_string(folder.path("failed")).expect("it is there");
    std::fs::write(folder.path("failed"), failed.replace("\"input\":\"4\"", "\"input\":4")).expect("edited");
    let output = map(&wat(crate::support::wat::batch())).args(["--batch", "-c", "2"]).arg(folder.path("failed")).run();
    assert!(output.stderr.contains("1 of 2 items failed: 1 invalid-input"), "{}", output.stderr);
}

#[test]
fn where_nothing_fails_the_file_is_empty_and_an_old_one_is_replaced() {
    let folder = Folder::new();
    std::fs::write(folder.path("failed"), "old\n").expect("a file");
    map(&wat(SQUARE)).arg("--failed").arg(folder.path("failed")).input("1\n").run().exits(0);
    assert_eq!(std::fs::read(folder.path("failed")).expect("it is there"), b"");
}

#[test]
fn a_task_that_cannot_be_loaded_leaves_the_old_file_alone() {
    let folder = Folder::new();
    std::fs::write(folder.path("failed"), "old\n").expect("a file");
    map(&wat("(module")).arg("--failed").arg(folder.path("failed")).input("1\n").run().exits(2);
    assert_eq!(std::fs::read(folder.path("failed")).expect("it is there"), b"old\n");
}

#[test]
fn a_file_that_is_read_is_not_written() {
    let folder = Folder::new();
    let file = folder.path("items");
    std::fs::write(&file, "1\n-1\n").expect("a file");
    std::os::unix::fs::symlink(&file, folder.path("link")).expect("a link");
    for option in ["--failed", "--output"] {
        let output = map(&wat(SQUARE)).arg(option).arg(folder.path("link")).arg(&file).run().exits(2);
        assert!(output.stderr.contains("is also an input"), "{}", output.stderr);
        assert_eq!(std::fs::read(&file).expect("it is there"), b"1\n-1\n");
    }
    let out = folder.path("out");
    let output = map(&wat(SQUARE)).arg("-o").arg(&out).arg("--failed").arg(&out).arg(&file).run().exits(2);
    assert!(output.stderr.contains("is also the output"), "{}", output.stderr);
}

#[test]
fn a_full_disk_is_an_error_that_names_the_file() {
    let output = map(&wat(SQUARE)).args(["--failed", "/dev/full"]).input("1\n\"x\"\n").run().exits(2);
    assert!(output.stderr.contains("/dev/full: No space left"), "{}", output.stderr);
}

#[test]
fn items_that_a_halt_cut_off_are_kept_too() {
    let folder = Folder::new();
    let task = wat(r#"
(module
  (func (export "go") (param i64) (result i64)
    (if (i64.eq (local.get 0) (i64.const -1)) (then unreachable))
    (if (i64.lt_s (local.get 0) (i64.const 0)) (then (loop $l (br $l))))
    (local.get 0)))"#);
    map(&task)
        .args(["--halt", "now", "-j", "2", "-c", "1", "--max-items-per-worker", "1", "--timeout", "10m", "--failed"])
        .arg(folder.path("failed"))
        .input("1\n-2\n2\n-1\n")
        .run()
        .exits(3);
    let told: Vec<Value> = folder.lines("failed").iter().map(|line| json!([line["kind"], line["input"]])).collect();
    assert_eq!(Value::from(told), json!([["cancelled", -2], ["trap", -1]]));
}

#[test]
fn many_failures_in_large_chunks_are_each_written_with_their_own_input() {
    let folder = Folder::new();
    let input: String = (0..30_000).map(|n| format!("\"{}\"\n", "x".repeat(n % 50))).collect();
    map(&wat(SQUARE)).args(["-j", "2", "-c", "500", "--failed"]).arg(folder.path("failed")).input(input).run().exits(1);
    let lines = folder.lines("failed");
    assert_eq!(lines.len(), 30_000);
    for (n, line) in lines.iter().enumerate() {
        assert_eq!(line["index"], n);
        assert_eq!(line["input"], "x".repeat(n % 50));
    }
}
