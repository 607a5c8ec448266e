//! `--output-format`: the printed form of an outcome.

use serde_json::json;

use crate::support::guest::{Task, wat};
use crate::support::run::{Output, map};
use crate::support::wat::{SPIN_IF_NEGATIVE, SQUARE, component, echo_bytes, echo_string, lift};

fn raw(task: &Task, args: &[&str], input: &str) -> Output {
    map(task).args(["--output-format", "raw"]).args(args).input(input).run()
}

#[test]
fn values_leave_failed_items_out() {
    let output = map(&wat(SQUARE)).input("2\nnonsense\n\"x\"\n3\n").run().exits(1);
    assert_eq!(output.text(), "4\n9\n");
}

#[test]
fn a_value_is_one_line_whatever_it_holds() {
    let output = map(&wat(echo_string())).input("\"a\\nb\\r\\u0000\\u2028\"\n").run().exits(0);
    assert_eq!(output.text().matches('\n').count(), 1);
    assert_eq!(output.values(), [json!("a\nb\r\0\u{2028}")]);
}

#[test]
fn a_function_without_a_result_has_the_value_null() {
    let task = wat(component(r#"(func (export "nothing") (param i64))"#, &[lift("nothing", r#"(param "item" s64)"#)]));
    let output = map(&task).input("1\n2\n").run().exits(0);
    assert_eq!(output.text(), "null\nnull\n");
}

#[test]
fn records_are_one_per_item_failed_or_not() {
    let records =
        map(&wat(SQUARE)).args(["--output-format", "records"]).input("2\nnonsense\n3\n").run().exits(1).records();
    assert!(records.iter().map(|record| record.index()).eq(0..3));
}

#[test]
fn raw_strings_are_as_they_are_each_with_a_newline() {
    let output = raw(&wat(echo_string()), &[], "\"a\\tb\"\n\"\"\n\"grüße\"\n").exits(0);
    assert_eq!(output.text(), "a\tb\n\ngrüße\n");
}

#[test]
fn raw_bytes_are_as_they_are() {
    let output = raw(&wat(echo_bytes()), &["--delimiter", "nul"], "\"/wr+\"\n\"\"\n").exits(0);
    assert_eq!(output.bytes, *b"\xff\x0a\xfe\0\0");
}

#[test]
fn raw_results_without_a_delimiter_run_together() {
    let input = "\"a\\n\"\n\"b\\u0000\"\n\"c\"\n";
    let output = raw(&wat(echo_string()), &["--delimiter", "none"], input).exits(0);
    assert_eq!(output.bytes, b"a\nb\0c");
}

#[test]
fn raw_numbers_are_printed_as_json() {
    assert_eq!(raw(&wat(SQUARE), &[], "3\n").exits(0).text(), "9\n");
}

#[test]
fn a_raw_result_cannot_forge_a_line() {
    let input = "\"a\"\n\"b\\nforged\"\n\"c\\u0000d\"\n";
    let output = raw(&wat(echo_string()), &[], input).exits(1);
    assert_eq!(output.bytes, b"a\nc\0d\n");
    let output = raw(&wat(echo_string()), &["--delimiter", "nul"], input).exits(1);
    assert_eq!(output.bytes, b"a\0b\nforged\0");
}

#[test]
fn raw_bytes_cannot_forge_a_line() {
    let output = raw(&wat(echo_bytes()), &[], "\"YQ==\"\n\"YQpi\"\n").exits(1);
    assert_eq!(output.bytes, b"a\n");
    assert!(!output.stderr.is_empty(), "what failed is said");
}

#[test]
fn failed_items_leave_no_trace_in_raw_output() {
    let output = raw(&wat(SPIN_IF_NEGATIVE), &["--timeout", "50ms"], "1\n-1\n3\n").exits(1);
    assert_eq!(output.text(), "2\n6\n");
}
