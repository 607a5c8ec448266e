//! JSON ↔ WIT where a round trip does not show it: the printed form, and what is refused and why.

use serde_json::{Value, json};

use crate::support::guest::built;
use crate::support::record::Record;
use crate::support::run::map;

fn records(function: &str, items: &[&str]) -> Vec<Record> {
    map(&built("identity"))
        .args(["-f", function, "--output-format", "records"])
        .input(items.join("\n") + "\n")
        .run()
        .records()
}

#[track_caller]
fn prints(function: &str, item: &str, wanted: &str) {
    let output = map(&built("identity")).args(["-f", function]).input(format!("{item}\n")).run().exits(0);
    assert_eq!(output.text(), format!("{wanted}\n"), "{function}({item})");
}

#[track_caller]
fn refuses(function: &str, items: &[&str]) {
    let records = records(function, items);
    assert_eq!(records.len(), items.len());
    for (record, item) in records.iter().zip(items) {
        assert_eq!(record.kind(), "invalid-input", "{function}({item})");
    }
}

/// Checks that the message of a refusal names each of these.
#[track_caller]
fn refuses_naming(function: &str, item: &str, names: &[&str]) {
    let records = records(function, &[item]);
    assert_eq!(records[0].kind(), "invalid-input", "{function}({item})");
    let message = records[0].message();
    for name in names {
        assert!(message.contains(name), "{name} is not in: {message}");
    }
}

#[test]
fn all_64_bits_of_integers_are_kept() {
    for number in ["-9223372036854775808", "9223372036854775807", "9007199254740993"] {
        prints("echo-s64", number, number);
    }
    prints("echo-u64", "18446744073709551615", "18446744073709551615");
}

#[test]
fn floats_that_json_has_no_number_for_are_strings() {
    for name in ["\"NaN\"", "\"Infinity\"", "\"-Infinity\""] {
        prints("echo-f64", name, name);
        prints("echo-f32", name, name);
    }
}

#[test]
fn an_f32_is_printed_in_its_own_precision() {
    prints("echo-f32", "0.1", "0.1");
    prints("echo-f64", "0.1", "0.1");
}

#[test]
fn whole_numbers_are_taken_for_floats() {
    let records = records("echo-f64", &["3", "-7", "1e300"]);
    let values: Vec<Option<f64>> = records.iter().map(|record| record.value().as_f64()).collect();
    assert_eq!(values, [Some(3.0), Some(-7.0), Some(1e300)]);
}

#[test]
fn integers_out_of_range_are_refused() {
    refuses("echo-u8", &["256", "-1"]);
    refuses("echo-s8", &["128", "-129"]);
    refuses("echo-u16", &["65536"]);
    refuses("echo-s32", &["2147483648"]);
    refuses("echo-u32", &["4294967296", "-1"]);
    refuses("echo-s64", &["9223372036854775808", "1e30"]);
    refuses("echo-u64", &["18446744073709551616", "-1"]);
}

#[test]
fn values_of_another_type_are_refused() {
    refuses("echo-bool", &["0", "\"true\"", "null"]);
    refuses("echo-s64", &["1.5", "\"1\"", "true", "null", "[]", "{}"]);
    refuses("echo-f64", &["\"1\"", "\"nan\"", "\"inf\"", "null"]);
    refuses("echo-char", &["\"\"", "\"ab\"", "7"]);
    refuses("echo-string", &["1", "null", "[\"a\"]"]);
    refuses("echo-list-s64", &["1", "{}", "[1,null]", "\"AAEC\""]);
    refuses("echo-tuple", &["[1,\"a\"]", "[1,\"a\",true,1]", "{}"]);
    refuses("echo-enum", &["\"blue\"", "0", "\"Red\""]);
    refuses("echo-flags", &["\"can-read\"", "[\"can-fly\"]", "[1]"]);
    refuses("echo-variant", &["\"circle\"", "\"square\"", "{\"point\":1,\"circle\":2}", "{}"]);
    refuses("echo-option-option", &["7", "{\"none\":1}"]);
    refuses("echo-result-in-tuple", &["[7,1]", "[{\"ok\":\"x\"},1]", "[{\"ok\":1,\"err\":\"x\"},1]"]);
}

#[test]
fn what_is_not_json_is_refused() {
    refuses("echo-string", &["\"", "nope", "\"a\" \"b\"", "'a'", "\"\\ud800\"", "\"a\",", "\"\\x41\""]);
    refuses("echo-s64", &["01", "+1", "0x10", "1 2", "--1", "NaN"]);
    refuses("echo-list-s64", &["[1,]", "[1", "1]", "[1 2]"]);
}

#[test]
fn deep_nesting_is_refused_not_fatal() {
    let deep = "[".repeat(200_000) + &"]".repeat(200_000);
    refuses("echo-list-s64", &[&deep, &"[".repeat(1_000_000)]);
}

#[test]
fn records_want_each_field_and_no_other() {
    let good = r#"{"full-name":"Ada","year-of-birth":1815,"is-a-member":true}"#;
    prints("echo-record", good, good);
    refuses_naming("echo-record", r#"{"full-name":"Ada","is-a-member":true}"#, &["year-of-birth"]);
    refuses_naming(
        "echo-record",
        r#"{"full-name":"Ada","year-of-birth":1815,"is-a-member":true,"wings":2}"#,
        &["wings"],
    );
}

#[test]
fn a_refusal_says_where_in_the_value_and_what_was_wanted() {
    refuses_naming("echo-u8", "256", &["u8"]);
    refuses_naming("echo-list-s64", "[1,2,\"x\"]", &["2", "s64"]);
    let item = r#"{"owner":{"full-name":"Ada","year-of-birth":-5,"is-a-member":true},"layers":[]}"#;
    refuses_naming("echo-nested", item, &["owner", "year-of-birth", "u16"]);
    refuses_naming("echo-enum", "\"blue\"", &["blue", "light-blue"]);
}

#[test]
fn variants_options_and_results_are_printed_as_the_interface_says() {
    prints("echo-variant", "\"point\"", "\"point\"");
    prints("echo-variant", "{\"circle\":1.5}", "{\"circle\":1.5}");
    prints("echo-option", "null", "null");
    prints("echo-option", "\"x\"", "\"x\"");
    prints("echo-option-option", "null", "null");
    prints("echo-option-option", "{\"some\":null}", "{\"some\":null}");
    prints("echo-option-option", "{\"some\":7}", "{\"some\":7}");
    prints("echo-result-in-tuple", "[{\"ok\":1},2]", "[{\"ok\":1},2]");
    prints("echo-result-in-tuple", "[{\"err\":\"x\"},2]", "[{\"err\":\"x\"},2]");
    prints("echo-flags", "[\"can-run\",\"can-read\"]", "[\"can-read\",\"can-run\"]");
}

#[test]
fn a_returned_result_is_a_value_or_a_failure() {
    let records = records("echo-result", &["{\"ok\":7}", "{\"err\":\"no\"}"]);
    assert_eq!(records[0].value(), 7);
    assert_eq!(records[1].kind(), "error");
    assert_eq!(records[1].get("error"), Some(&json!("no")));
    let person = r#"{"full-name":"Ada","year-of-birth":1815,"is-a-member":true}"#;
    let failed = format!("{{\"err\":{person}}}");
    let records = self::records("echo-result-record", &["{\"ok\":\"red\"}", &failed]);
    assert_eq!(records[0].value(), "red");
    let error: Value = serde_json::from_str(person).expect("JSON");
    assert_eq!(records[1].get("error"), Some(&error));
}

#[test]
fn parameters_named_in_kebab_case_fill_by_place_and_by_name() {
    prints("echo-pair", "[\"a\",1]", "[\"a\",1]");
    prints("echo-pair", r#"{"second-part":1,"first-part":"a"}"#, "[\"a\",1]");
}
