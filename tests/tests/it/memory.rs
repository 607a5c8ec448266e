//! The host's memory does not grow with the input.

use std::io::{BufRead, BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::alone::alone;
use crate::support::guest::{Task, wat};
use crate::support::run::map;
use crate::support::wat::{SQUARE, echo_string};
use crate::support::{HANG, full, until};

/// Time without any progress after which a host counts as full. If it were only slow, the first peak would be too low,
/// and the test stricter than necessary.
const FULL_AFTER: Duration = Duration::from_millis(500);

/// Returns the peaks of the host's resident memory after `few` outcomes, and after `many`.
///
/// Nothing is read until the host takes no more input, so that both peaks include all that it may hold back.
fn peaks(task: &Task, args: &[&str], few: u64, many: u64) -> (u64, u64) {
    let mut host = map(task).args(args).limit(if full() { HANG * 10 } else { HANG }).start();
    let input = host.stdin.take().expect("a pipe");
    let fed = Arc::new(AtomicU64::new(0));
    let feeder = {
        let fed = Arc::clone(&fed);
        std::thread::spawn(move || {
            let mut input = BufWriter::with_capacity(1 << 16, input);
            for item in 0..many {
                writeln!(input, "{item}").expect("the host reads");
                fed.store(item, Ordering::Relaxed);
            }
            input.flush().expect("the host reads");
            input
        })
    };
    let mut before = (0, Instant::now());
    until("the host has as much as it takes", || {
        let now = fed.load(Ordering::Relaxed);
        if now != before.0 {
            before = (now, Instant::now());
        }
        (now > 0 && before.1.elapsed() > FULL_AFTER).then_some(())
    });
    let mut output = host.stdout.take().expect("standard output is a pipe");
    let mut read = |count: u64| {
        for _ in 0..count {
            assert!(output.skip_until(b'\n').expect("a pipe can be read") > 0, "an outcome for every item");
        }
        host.process().status_bytes("VmHWM")
    };
    let low = read(few);
    let high = read(many - few);
    drop(feeder.join().expect("no panic"));
    assert_eq!(output.skip_until(b'\n').expect("a pipe can be read"), 0);
    host.code();
    (low, high)
}

/// Checks that no byte is kept per item. Waiting data has a limit, but a run that lacks processors reaches it late:
/// that growth does not depend on the number of items, so the number is large enough to leave room for it.
#[track_caller]
fn does_not_grow(task: &Task, args: &[&str]) {
    alone();
    let (few, many) = if full() { (1_000_000, 10_000_000) } else { (300_000, 6_300_000) };
    let (low, high) = peaks(task, args, few, many);
    assert!(high < low + (many - few), "{low} bytes after {few} items, and {high} after {many}");
}

#[test]
fn memory_does_not_grow_with_the_input() {
    does_not_grow(&wat(SQUARE), &[]);
}

#[test]
fn memory_does_not_grow_with_the_input_unordered() {
    does_not_grow(&wat(SQUARE), &["--unordered"]);
}

#[test]
fn memory_does_not_grow_with_the_number_of_failures() {
    does_not_grow(&wat(echo_string()), &["--output-format", "records"]); // to which a number is invalid input
}

/// Failures print nothing here, and must still free their room.
#[test]
fn a_long_run_in_which_nothing_succeeds_ends() {
    let input: String = (0..200_000).map(|item| format!("{item}\n")).collect();
    let output = map(&wat(echo_string())).arg("-q").input(input).run().exits(1);
    assert!(output.bytes.is_empty());
}
