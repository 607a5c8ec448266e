//! `--flatten`: each element of a result is a line of its own.

use crate::support::guest::wat;
use crate::support::run::map;
use crate::support::wat::{SQUARE, below, even};

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
