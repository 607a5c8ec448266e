//! Every type of WIT value: what goes in as JSON comes out the same through an identity guest.
//!
//! A case of a property is a run over many values, so that few processes test many values.

mod shape;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

use crate::support::full;
use crate::support::guest::built;
use crate::support::run::map;
use shape::Shape::{
    Bool, Bytes, Char, Enum, F32, F64, Flags, List, Maybe, MaybeMaybe, Outcome, Record, Text, Tuple, Variant,
};
use shape::{Int, Shape};

/// Sends values of the shape through the function, and compares.
#[track_caller]
fn holds(function: &str, shape: &Shape) {
    let cases = if full() { 64 } else { 6 };
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let task = built("identity");
    let many = vec(shape.values(), 0..300).no_shrink();
    let outcome = TestRunner::new(config).run(&many, |values| {
        let input: String = values.iter().map(|value| format!("{value}\n")).collect();
        let output = map(&task).args(["-f", function, "-j", "1"]).input(input).run();
        let back: Vec<Value> = output.values();
        prop_assert_eq!(output.code, 0, "{}", output.stderr);
        prop_assert_eq!(back.len(), values.len());
        for (sent, got) in values.iter().zip(&back) {
            prop_assert!(shape.same(sent, got), "sent {sent}, got {got}");
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{function}: {error}");
    }
}

fn list(of: Shape) -> Shape {
    List(Box::new(of))
}

fn option(of: Shape) -> Shape {
    Maybe(Box::new(of))
}

fn outcome(ok: Option<Shape>, err: Option<Shape>) -> Shape {
    Outcome(ok.map(Box::new), err.map(Box::new))
}

fn either() -> Shape {
    outcome(Some(Int::unsigned(32)), Some(Text))
}

fn person() -> Shape {
    Record(vec![("full-name", Text), ("year-of-birth", Int::unsigned(16)), ("is-a-member", Bool)])
}

fn figure() -> Shape {
    let labelled = Record(vec![("label", option(Text)), ("sides", Tuple(vec![Int::unsigned(32), Int::unsigned(32)]))]);
    Variant(vec![("point", None), ("circle", Some(F64)), ("labelled-box", Some(labelled)), ("either", Some(either()))])
}

fn drawing() -> Shape {
    let layer = Record(vec![("layer-name", Text), ("shapes", list(option(figure())))]);
    Record(vec![("owner", person()), ("layers", list(layer))])
}

const THIRTY_TWO: [&str; 32] = [
    "f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11", "f12", "f13", "f14", "f15", "f16", "f17",
    "f18", "f19", "f20", "f21", "f22", "f23", "f24", "f25", "f26", "f27", "f28", "f29", "f30", "f31",
];

/// Generates a test for each function of the identity guest.
macro_rules! round_trips {
    ($($test:ident: $function:literal, $shape:expr;)*) => {
        $(
            #[test]
            fn $test() {
                holds($function, &$shape);
            }
        )*
    };
}

round_trips! {
    bools_round_trip: "echo-bool", Bool;
    s8_round_trips: "echo-s8", Int::signed(8);
    s16_round_trips: "echo-s16", Int::signed(16);
    s32_round_trips: "echo-s32", Int::signed(32);
    s64_round_trips: "echo-s64", Int::signed(64);
    u8_round_trips: "echo-u8", Int::unsigned(8);
    u16_round_trips: "echo-u16", Int::unsigned(16);
    u32_round_trips: "echo-u32", Int::unsigned(32);
    u64_round_trips: "echo-u64", Int::unsigned(64);
    f32_round_trips: "echo-f32", F32;
    f64_round_trips: "echo-f64", F64;
    chars_round_trip: "echo-char", Char;
    strings_round_trip: "echo-string", Text;
    bytes_round_trip: "echo-bytes", Bytes;
    lists_of_numbers_round_trip: "echo-list-s64", list(Int::signed(64));
    lists_of_strings_round_trip: "echo-list-string", list(Text);
    lists_of_bytes_round_trip: "echo-list-bytes", list(Bytes);
    tuples_round_trip: "echo-tuple", Tuple(vec![Int::signed(32), Text, Bool]);
    records_round_trip: "echo-record", person();
    nested_values_round_trip: "echo-nested", drawing();
    enums_round_trip: "echo-enum", Enum(&["red", "green", "light-blue"]);
    flags_round_trip: "echo-flags", Flags(&["can-read", "can-write", "can-run"]);
    thirty_two_flags_round_trip: "echo-all-flags", Flags(&THIRTY_TWO);
    variants_round_trip: "echo-variant", figure();
    options_round_trip: "echo-option", option(Text);
    nested_options_round_trip: "echo-option-option", MaybeMaybe(Box::new(Int::unsigned(32)));
    results_in_tuples_round_trip: "echo-result-in-tuple", Tuple(vec![either(), Int::unsigned(8)]);
    results_in_records_round_trip: "echo-result-in-record",
        Record(vec![("outcome", either()), ("tried", Int::unsigned(8))]);
    results_in_lists_round_trip: "echo-result-in-list", list(outcome(None, Some(Text)));
    pairs_of_parameters_round_trip: "echo-pair", Tuple(vec![Text, Int::signed(64)]);
}

#[test]
fn large_lists_round_trip() {
    let numbers: Vec<i64> = (0..200_000).map(|n| n * 46_116_860_184_273).collect();
    let strings: Vec<String> = (0..50_000).map(|n| "ü".repeat(n % 20)).collect();
    let lists = [("echo-list-s64", serde_json::json!(numbers)), ("echo-list-string", serde_json::json!(strings))];
    for (function, value) in lists {
        let output =
            map(&built("identity")).args(["-f", function]).input(format!("{value}\n[]\n{value}\n")).run().exits(0);
        let wanted = [value.clone(), serde_json::json!([]), value];
        assert!(output.values() == wanted, "{function}");
    }
}
