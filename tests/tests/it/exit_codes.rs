//! Exit codes as `docs/reference.md` has them; 130 and 143 are in `interrupt.rs`, 2 in `wrong_use.rs`.

use std::io::Write;

use crate::support::guest::wat;
use crate::support::run::map;
use crate::support::wat::SQUARE;

#[test]
fn all_items_succeeded_is_0() {
    map(&wat(SQUARE)).input("1\n2\n").run().exits(0);
}

#[test]
fn some_items_failed_is_1() {
    map(&wat(SQUARE)).input("1\nx\n").run().exits(1);
    map(&wat(SQUARE)).input("x\n").run().exits(1);
}

#[test]
fn a_closed_output_ends_the_run_quietly() {
    let task = wat(SQUARE);
    for format in ["values", "records"] {
        let mut host = map(&task)
            .args(["--output-format", format])
            .feed(|pipe| {
                loop {
                    pipe.write_all(&b"3\n".repeat(1000))?;
                }
            })
            .start();
        assert!(host.line().is_some());
        host.stdout = None;
        assert_eq!(host.code(), 141);
        assert_eq!(host.stderr(), "");
    }
}

#[test]
fn an_output_closed_from_the_start_ends_the_run_quietly() {
    let mut host = map(&wat(SQUARE)).start();
    host.stdout = None;
    let mut input = host.stdin.take().expect("a pipe");
    // The host may notice at any moment after the first item.
    while input.write_all(b"3\n").is_ok() {}
    assert_eq!(host.code(), 141);
    assert_eq!(host.stderr(), "");
}
