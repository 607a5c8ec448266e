//! The host's memory does not grow with the input.

use std::io::{BufRead, BufWriter, Write};

use crate::support::alone::alone;
use crate::support::guest::{Task, wat};
use crate::support::run::map;
use crate::support::wat::{SQUARE, echo_string};
use crate::support::{HANG, full};

/// The peak of the host's resident memory over so many items, read when all outcomes are out and the input is still open.
fn peak(task: &Task, args: &[&str], items: u64) -> u64 {
    let mut host = map(task).args(args).limit(if full() { HANG * 10 } else { HANG }).start();
    let input = host.stdin.take().expect("a pipe");
    let feeder = std::thread::spawn(move || {
        let mut input = BufWriter::with_capacity(1 << 16, input);
        for item in 0..items {
            writeln!(input, "{item}").expect("the host reads");
        }
        input.flush().expect("the host reads");
        input
    });
    // As fast as can be: with a reader that lags, the bounded backlog would be measured too.
    let mut output = host.stdout.take().expect("standard output is a pipe");
    for _ in 0..items {
        let count = output.skip_until(b'\n').expect("a pipe can be read");
        assert!(count > 0, "an outcome for every item: {}", host.said());
    }
    let peak = host.process().status_bytes("VmHWM");
    drop(feeder.join().expect("no panic"));
    assert_eq!(output.skip_until(b'\n').expect("a pipe can be read"), 0);
    host.code();
    peak
}

/// Holds the peak over many items to that over few. Where the threads happen to be makes a peak a tenth higher or lower;
/// a peak that grows with the items is higher every time. So the highest of a few runs stands against the lowest.
#[track_caller]
fn compare(task: &Task, args: &[&str], few: u64, many: u64) {
    let low = (0..2).map(|_| peak(task, args, few)).max().unwrap_or_default();
    let high = (0..2).map(|_| peak(task, args, many)).min().unwrap_or_default();
    assert!(
        high * 10 <= low * 11,
        "{low} bytes for {few} items, and {high} for {many}"
    );
}

#[track_caller]
fn does_not_grow(args: &[&str]) {
    alone();
    let (few, many) = if full() { (1_000_000, 10_000_000) } else { (1_000_000, 3_000_000) };
    let task = wat(SQUARE);
    compare(&task, args, few, many);
}

#[test]
fn memory_does_not_grow_with_the_input() {
    does_not_grow(&[]);
}

#[test]
fn memory_does_not_grow_with_the_input_unordered() {
    does_not_grow(&["--unordered"]);
}

#[test]
fn memory_does_not_grow_with_the_number_of_failures() {
    alone();
    let task = wat(echo_string()); // to which a number is invalid input
    let records = ["--output-format", "records"];
    compare(&task, &records, 300_000, 1_000_000);
}
