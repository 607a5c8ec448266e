//! `--flatten`: each element of a result is a line of its own.

use std::io::{BufRead, Write};

use crate::support::guest::wat;
use crate::support::record::Record;
use crate::support::run::map;
use crate::support::wat::{SQUARE, below, even, printing_many};

#[test]
fn the_elements_of_a_list_are_lines_in_order() {
    let output = map(&wat(below())).arg("--flatten").input("3\n0\n1\n2\n").run().exits(0);
    assert_eq!(output.text(), "0\n1\n2\n0\n0\n1\n");
}

#[test]
fn an_option_is_a_line_or_none() {
    let input: String = (0..1000).map(|item| format!("{item}\n")).collect();
    let wanted: String = (0..1000).step_by(2).map(|item| format!("{item}\n")).collect();
    let output = map(&wat(even())).arg("--flatten").input(input).run().exits(0);
    assert_eq!(output.text(), wanted);
}

#[test]
fn without_it_a_list_is_one_line() {
    let output = map(&wat(below())).input("3\n0\n").run().exits(0);
    assert_eq!(output.text(), "[0,1,2]\n[]\n");
}

#[test]
fn a_function_that_returns_neither_list_nor_option_cannot_be_flattened() {
    let output = map(&wat(SQUARE)).arg("--flatten").input("3\n").run().exits(2);
    assert_eq!(output.text(), "");
    assert!(!output.stderr.is_empty());
}

#[test]
fn what_a_guest_printed_is_told_once_however_many_elements_it_returns() {
    let run = map(&wat(printing_many())).args(["-f", "many", "--flatten", "--output-format", "records", "-j", "1"]);
    let records = run.input("3000\n2\n").run().exits(0).records();
    let told: Vec<usize> = (0..records.len()).filter(|&at| records[at].get("stdout").is_some()).collect();
    assert_eq!((records.len(), &*told), (3002, &[0, 3000][..]));
    let printed = records[0].get("stdout").and_then(|text| text.as_str()).map_or(0, str::len);
    assert_eq!(printed, 64 << 10);
}

/// Returns the host's peak of memory after it has reported the outcome of one item.
fn peak(args: &[&str], item: &str) -> (u64, Record) {
    let mut host = map(&wat(printing_many())).args(["-f", "many", "--flatten", "-j", "1"]).args(args).start();
    let mut input = host.stdin.take().expect("a pipe");
    writeln!(input, "{item}").expect("the host reads");
    let mut line = String::new();
    host.stdout.take().expect("a pipe").read_line(&mut line).expect("the host writes");
    let peak = host.process().status_bytes("VmHWM");
    drop(input);
    host.code();
    (peak, Record::read(&line))
}

#[test]
fn one_outcome_costs_the_host_no_more_than_some_times_max_output() {
    let args = ["--output-format", "records"];
    let (few, record) = peak(&args, "3");
    assert_eq!(record.kind(), "ok");
    let (many, record) = peak(&args, "3000000");
    assert_eq!(record.kind(), "output-too-large");
    // 16 MiB of values and four times as much of records, each of which may exist twice while it grows.
    let most = few + 2 * 5 * (16 << 20);
    assert!(many < most, "{many} bytes for 3000000 elements, {few} for 3");
    let (allowed, record) = peak(&[&args[..], &["--max-output", "100MiB"]].concat(), "1000000");
    assert_eq!(record.kind(), "ok", "with {allowed} bytes");
}
