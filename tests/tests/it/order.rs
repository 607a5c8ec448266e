//! Every item has one outcome, in the order of the input or, on request, in the order in which they finish.

use std::io::{BufWriter, Write};

use crate::support::guest::{Task, wat};
use crate::support::host::Host;
use crate::support::run::map;
use crate::support::wat::{COUNT_TO, SQUARE};

const MILLION: u64 = 1_000_000;

fn squares(task: &Task, count: u64, args: &[&str]) -> Host {
    map(task)
        .args(args)
        .feed(move |pipe| {
            let mut pipe = BufWriter::new(pipe);
            (1..=count).try_for_each(|item| writeln!(pipe, "{item}"))?;
            pipe.flush()
        })
        .start()
}

#[test]
fn a_million_squares_come_out_in_order() {
    let task = wat(SQUARE);
    let mut host = squares(&task, MILLION, &[]);
    for item in 1..=MILLION {
        let line = host.line().expect("a line for every item");
        assert_eq!(line.parse(), Ok(item * item), "the square of {item}");
    }
    assert_eq!(host.line(), None, "nothing after the last");
    assert_eq!(host.code(), 0);
}

#[test]
fn a_million_squares_unordered_are_the_same_set() {
    let task = wat(SQUARE);
    let mut host = squares(&task, MILLION, &["--unordered"]);
    let mut seen = vec![false; usize::try_from(MILLION).expect("fits") + 1];
    while let Some(line) = host.line() {
        let square: u64 = line.parse().expect("a number");
        let root = square.isqrt();
        assert_eq!(root * root, square, "not a square");
        let seen = &mut seen[usize::try_from(root).expect("fits")];
        assert!(!*seen, "{square} came twice");
        *seen = true;
    }
    assert_eq!(seen.iter().filter(|seen| **seen).count() as u64, MILLION);
    assert_eq!(host.code(), 0);
}

#[test]
fn order_holds_whatever_the_chunks_and_the_number_of_workers() {
    let task = wat(SQUARE);
    let input: String = (0..5000).map(|item| format!("{item}\n")).collect();
    let wanted: String = (0..5000_i64).map(|item| format!("{}\n", item * item)).collect();
    for workers in ["1", "2", "5"] {
        for chunk in ["auto", "1", "7", "1000", "100000"] {
            let output = map(&task).args(["-j", workers, "-c", chunk]).input(input.as_str()).run().exits(0);
            assert!(output.text() == wanted, "with {workers} workers and chunks of {chunk}");
        }
    }
}

#[test]
fn order_holds_when_early_items_take_longest() {
    let task = wat(COUNT_TO);
    let items: Vec<u64> = (0..40).map(|index| (40 - index) * 1_000_000).collect();
    let input: String = items.iter().map(|item| format!("{item}\n")).collect();
    let output = map(&task).args(["-j", "4", "-c", "1"]).input(input.as_str()).run().exits(0);
    assert_eq!(output.text(), input);
}

#[test]
fn unordered_outcomes_overtake_one_that_takes_long() {
    let task = wat(crate::support::wat::SPIN_IF_NEGATIVE);
    let mut host =
        map(&task).args(["--unordered", "-j", "2", "-c", "1", "--timeout", "10m"]).input("-1\n2\n3\n").start();
    let mut seen = [host.line(), host.line()].map(|line| line.expect("the quick ones come out"));
    seen.sort();
    assert_eq!(seen, ["4", "6"]);
    // The first item would loop for ten minutes; dropping the host ends it.
}

#[test]
fn unordered_records_carry_the_index_of_their_item() {
    let task = wat(SQUARE);
    let input: String = (0..3000).map(|item| format!("{item}\n")).collect();
    let mut records =
        map(&task).args(["--unordered", "--output-format", "records", "-j", "3"]).input(input).run().exits(0).records();
    for record in &records {
        assert_eq!(record.value().as_u64(), Some(record.index().pow(2)));
    }
    records.sort_by_key(|record| record.index());
    assert!(records.iter().map(|record| record.index()).eq(0..3000));
}

#[test]
fn no_items_are_no_outcomes_and_a_success() {
    let output = map(&wat(SQUARE)).run().exits(0);
    assert_eq!(output.text(), "");
}

#[test]
fn a_last_line_without_an_end_is_an_item() {
    let output = map(&wat(SQUARE)).input("3\n4").run().exits(0);
    assert_eq!(output.text(), "9\n16\n");
}
