//! The fields of records, beyond the form that reading any record checks.

use serde_json::json;

use crate::support::guest::{built, wat};
use crate::support::record::Record;
use crate::support::run::{Run, map};
use crate::support::wat::{SPIN_IF_NEGATIVE, SQUARE};

fn records(run: Run, input: &str) -> Vec<Record> {
    run.args(["--output-format", "records"]).input(input).run().records()
}

#[test]
fn a_success_has_exactly_the_fields_of_a_success() {
    let output = map(&wat(SQUARE)).args(["--output-format", "records"]).input("7\n").run().exits(0);
    let value = &output.values()[0];
    let mut fields: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["attempts", "elapsed_us", "index", "status", "value", "worker"]);
    assert_eq!(value["status"], "ok");
    assert_eq!(value["value"], 49);
    assert_eq!(value["attempts"], 1);
    assert!(output.text().starts_with("{\"index\":0,\"status\":\"ok\""));
}

#[test]
fn a_trap_says_what_and_where() {
    let task = wat(r#"(module
             (func $inner (param i64) (result i64) (i64.div_s (i64.const 1) (local.get 0)))
             (func $outer (export "outer") (param i64) (result i64) (call $inner (local.get 0))))"#);
    let records = records(map(&task), "0\n1\n");
    let failed = &records[0];
    assert_eq!(failed.kind(), "trap");
    assert!(failed.message().contains("zero"), "{}", failed.message());
    let trace = failed.get("trace").expect("a trap has one").to_string();
    assert!(trace.contains("inner") && trace.contains("outer"), "{trace}");
    assert_eq!(records[1].kind(), "ok");
}

#[test]
fn an_error_carries_its_payload() {
    let records = records(map(&built("misbehave")), "\"ok:fine\"\n\"err:a \\\"bad\\\" day\"\n");
    assert_eq!(records[0].value(), "fine");
    assert_eq!(records[1].kind(), "error");
    assert_eq!(records[1].get("error"), Some(&json!("a \"bad\" day")));
}

#[test]
fn what_a_guest_prints_is_kept_in_its_record_and_nowhere_else() {
    let output = map(&built("misbehave"))
        .args(["--output-format", "records"])
        .input("\"print:hello there\"\n\"ok:1\"\n")
        .run()
        .exits(0);
    let records = output.records();
    let written = records[0].get("stdout").and_then(|text| text.as_str());
    assert!(written.is_some_and(|text| text.contains("hello there")), "{:?}", records[0]);
    assert_eq!(records[1].get("stdout"), None, "of another item");
    let output = map(&built("misbehave")).input("\"print:hello there\"\n").run().exits(0);
    assert_eq!(output.values().len(), 1, "only its result is printed");
}

#[test]
fn a_panic_says_why_in_what_the_guest_wrote() {
    let records = records(map(&built("misbehave")), "\"panic\"\n");
    assert_eq!(records[0].kind(), "trap");
    let written = records[0].get("stderr").and_then(|text| text.as_str());
    assert!(written.is_some_and(|text| text.contains("panicked")), "{:?}", records[0]);
}

#[test]
fn the_time_of_an_item_is_its_own() {
    // Behind an item that takes a tenth of a second, one that takes none does not count the wait.
    let run = map(&wat(SPIN_IF_NEGATIVE)).args(["--timeout", "100ms", "-j", "1", "-c", "2"]);
    let records = records(run, "-1\n1\n");
    let elapsed = |record: &Record| record.get("elapsed_us").and_then(|us| us.as_u64());
    assert!(elapsed(&records[0]) >= Some(50_000), "{:?}", records[0]);
    assert!(elapsed(&records[1]) < elapsed(&records[0]), "{:?}", records[1]);
}

#[test]
fn workers_are_told_apart_by_small_numbers() {
    let input: String = (0..2000).map(|item| format!("{item}\n")).collect();
    let records = records(map(&wat(SQUARE)).args(["-j", "2", "-c", "10"]), &input);
    let workers: std::collections::BTreeSet<u64> = records.iter().map(Record::worker).collect();
    assert!(workers.iter().all(|worker| *worker <= 2), "{workers:?}");
}
