//! `--input-format`: where an item ends and what it is.

use serde_json::json;
use tempfile::TempDir;

use crate::support::guest::{Task, wat};
use crate::support::run::map;
use crate::support::wat::{SQUARE, component, echo_bytes, echo_string, lift, minus};

#[track_caller]
fn prints(task: &Task, args: &[&str], input: &str, wanted: &str) {
    let output = map(task).args(args).input(input).run().exits(0);
    assert_eq!(output.text(), wanted, "with {args:?}");
}

/// `second: func(first: string, second: string) -> string`.
fn second() -> Task {
    wat(component(
        r#"
    (func (export "second") (param i32 i32 i32 i32) (result i32)
      (i32.store (i32.const 16) (local.get 2))
      (i32.store (i32.const 20) (local.get 3))
      (i32.const 16))"#,
        &[lift("second", r#"(param "first" string) (param "second" string) (result string)"#)],
    ))
}

#[test]
fn jsonl_is_a_value_per_line_whatever_space_is_around_it() {
    prints(&wat(SQUARE), &[], " 2 \n\t3\r\n4\n", "4\n9\n16\n");
    prints(&wat(minus()), &[], "[ 3 , 1 ]\n{ \"take\" : 1, \"from\" : 3 }\n", "2\n2\n");
}

#[test]
fn each_of_the_lines_is_a_string() {
    let input = "7\n\"quoted\"\n\n{\"a\":1}\n grüße \\n 😀\n";
    let wanted = "\"7\"\n\"\\\"quoted\\\"\"\n\"\"\n\"{\\\"a\\\":1}\"\n\" grüße \\\\n 😀\"\n";
    prints(&wat(echo_string()), &["--input-format", "lines"], input, wanted);
}

#[test]
fn each_of_the_lines_is_its_bytes_where_bytes_are_wanted() {
    let output =
        map(&wat(echo_bytes())).args(["--input-format", "lines"]).input(*b"abc\n\xff\x00\xfe\n\n").run().exits(0);
    assert_eq!(output.values(), [json!("YWJj"), json!("/wD+"), json!("")]);
}

#[test]
fn a_line_that_is_no_text_is_invalid_input_where_a_string_is_wanted() {
    let output = map(&wat(echo_string()))
        .args(["--input-format", "lines", "--output-format", "records"])
        .input(*b"good\n\xff\xfe\nfine\n")
        .run()
        .exits(1);
    assert_eq!(output.kinds(), ["ok", "invalid-input", "ok"]);
}

#[test]
fn nul_ends_an_item_that_may_hold_lines() {
    let args = ["--input-format", "nul"];
    prints(&wat(echo_string()), &args, "a\nb\0\0c", "\"a\\nb\"\n\"\"\n\"c\"\n");
    prints(&wat(echo_bytes()), &args, "abc\0", "\"YWJj\"\n");
}

#[test]
fn csv_is_an_object_per_row_named_by_the_header() {
    let input = "second,first\r\nb,a\r\n\"x, \"\"y\"\"\nz\",\r\n";
    let wanted = "\"b\"\n\"x, \\\"y\\\"\\nz\"\n";
    prints(&second(), &["--input-format", "csv"], input, wanted);
}

#[test]
fn a_row_of_csv_counts_as_one_item_however_many_lines_it_has() {
    let rows = 3000;
    let mut input = String::from("first,second\n");
    let mut wanted = String::new();
    for row in 0..rows {
        let lines = "\n".repeat(row % 5);
        input.push_str(&format!("{row},\"row {row}{lines}\"\n"));
        wanted.push_str(&format!("\"row {row}{}\"\n", "\\n".repeat(row % 5)));
    }
    for chunk in ["1", "7", "auto"] {
        prints(&second(), &["--input-format", "csv", "-c", chunk], &input, &wanted);
    }
}

#[test]
fn a_row_of_csv_too_short_or_too_long_fails_alone() {
    let output = map(&second())
        .args(["--input-format", "csv", "--output-format", "records"])
        .input("first,second\na,b\nonly\na,b,c\nc,d\n")
        .run()
        .exits(1);
    assert_eq!(output.kinds(), ["ok", "invalid-input", "invalid-input", "ok"]);
}

#[test]
fn files_are_read_whole_and_one_that_is_missing_fails_alone() {
    let folder = TempDir::new().expect("a temporary directory");
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("one"), "abc").expect("written");
    std::fs::write(path("empty"), "").expect("written");
    std::fs::write(path("three"), [255, 0, 254]).expect("written");
    let input = ["one", "missing", "empty", "three"].map(|name| path(name) + "\n").concat();
    let output = map(&wat(echo_bytes()))
        .args(["--input-format", "files", "--output-format", "records"])
        .input(input)
        .run()
        .exits(1);
    assert_eq!(output.kinds(), ["ok", "invalid-input", "ok", "ok"]);
    let records = output.records();
    let values: Vec<_> = [0, 2, 3].map(|index: usize| records[index].value()).into();
    assert_eq!(values, [&json!("YWJj"), &json!(""), &json!("/wD+")]);
    assert!(records[1].message().contains("missing"), "{}", records[1].message());
}

#[test]
fn inputs_are_read_one_after_the_other_and_a_dash_is_standard_input() {
    let folder = TempDir::new().expect("a temporary directory");
    let first = folder.path().join("first");
    let last = folder.path().join("last");
    std::fs::write(&first, "1\n2").expect("written");
    std::fs::write(&last, "5\n").expect("written");
    let output = map(&wat(SQUARE)).arg(&first).arg("-").arg(&last).input("3\n4\n").run().exits(0);
    assert_eq!(output.text(), "1\n4\n9\n16\n25\n");
}

#[test]
fn indices_go_on_from_one_input_to_the_next() {
    let folder = TempDir::new().expect("a temporary directory");
    let paths = ["first", "second"].map(|name| folder.path().join(name));
    std::fs::write(&paths[0], "1\n2\n").expect("written");
    std::fs::write(&paths[1], "3\n").expect("written");
    let records = map(&wat(SQUARE)).args(["--output-format", "records"]).args(&paths).run().exits(0).records();
    assert!(records.iter().map(|record| record.index()).eq(0..3));
}
