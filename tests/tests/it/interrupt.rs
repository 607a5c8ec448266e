//! Ctrl-C once and twice, and the polite kill.

use std::io::Write;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::guest::wat;
use crate::support::host::Host;
use crate::support::record::Record;
use crate::support::run::map;
use crate::support::until;
use crate::support::wat::{COUNT_TO, SPIN_IF_NEGATIVE, SQUARE};

/// A run in the middle of an item, its input still open.
fn in_the_middle_of(task: &str, item: &str) -> Host {
    let mut host = map(&wat(task)).args(["-j", "1", "-c", "1", "--timeout", "10m"]).start();
    let input = host.stdin.as_mut().expect("a pipe");
    writeln!(input, "1\n{item}\n1").expect("the host reads");
    assert!(host.line().is_some(), "the item before it");
    host.busy_worker();
    host
}

/// Sends the signal and waits until the host has taken it: two that wait together are one.
fn interrupt(host: &Host, signal: Signal) {
    // Looked at first: the signal may end it at once.
    let process = host.process();
    host.signal(signal);
    until("the host takes the signal", || {
        if !process.lives() {
            return Some(());
        }
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid)).ok()?;
        let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"))?;
        let pending = u64::from_str_radix(pending.trim(), 16).expect("a mask");
        (pending >> (signal as i32 - 1) & 1 == 0).then_some(())
    });
}

#[test]
fn ctrl_c_once_finishes_the_item_that_runs() {
    let mut host = in_the_middle_of(COUNT_TO, "2000000000");
    interrupt(&host, Signal::SIGINT);
    assert_eq!(host.line().as_deref(), Some("2000000000"));
    while host.line().is_some() {}
    assert_eq!(host.code(), 130);
}

#[test]
fn ctrl_c_at_a_terminal_reaches_the_whole_group_and_still_finishes_the_item() {
    let mut host = in_the_middle_of(COUNT_TO, "2000000000");
    // The host leads its group; a terminal would signal everyone in it.
    kill(Pid::from_raw(-host.pid()), Signal::SIGINT).expect("the group is there");
    assert_eq!(host.line().as_deref(), Some("2000000000"));
    while host.line().is_some() {}
    assert_eq!(host.code(), 130);
}

#[test]
fn ctrl_c_once_takes_no_more_input() {
    let task = wat(SQUARE);
    let mut host = map(&task).feed(|pipe| (0_u64..).try_for_each(|item| writeln!(pipe, "{item}"))).start();
    for item in 0..100_u64 {
        let line = host.line().expect("the input has no end");
        assert_eq!(line, (item * item).to_string());
    }
    host.signal(Signal::SIGINT);
    // Items that waited behind others are cancelled, and so left out; what was running is there, in order.
    let mut last = 99;
    while let Some(line) = host.line() {
        let square: u64 = line.parse().expect("a number");
        let item = square.isqrt();
        assert_eq!(item * item, square, "a value is whole to the last");
        assert!(item > last, "in order to the last");
        last = item;
    }
    assert_eq!(host.code(), 130);
}

#[test]
fn ctrl_c_twice_ends_an_item_that_would_not() {
    let mut host = in_the_middle_of(SPIN_IF_NEGATIVE, "-1");
    interrupt(&host, Signal::SIGINT);
    // The first lets it work on.
    host.busy_worker();
    interrupt(&host, Signal::SIGINT);
    assert_eq!(host.line(), None);
    assert_eq!(host.code(), 130);
}

#[test]
fn ctrl_c_while_it_waits_for_input_ends_it() {
    let task = wat(SQUARE);
    let mut host = map(&task).start();
    let input = host.stdin.as_mut().expect("a pipe");
    writeln!(input, "3").expect("the host reads");
    assert_eq!(host.line().as_deref(), Some("9"));
    host.signal(Signal::SIGINT);
    assert_eq!(host.line(), None);
    assert_eq!(host.code(), 130);
}

#[test]
fn a_polite_kill_ends_it_at_once() {
    let mut host = in_the_middle_of(SPIN_IF_NEGATIVE, "-1");
    host.signal(Signal::SIGTERM);
    assert_eq!(host.line(), None);
    assert_eq!(host.code(), 143);
}

#[test]
fn every_item_that_was_taken_has_its_record_when_ctrl_c_ends_the_run() {
    let task = wat(SQUARE);
    let mut host = map(&task)
        .args(["--output-format", "records"])
        .feed(|pipe| (0_u64..).try_for_each(|item| writeln!(pipe, "{item}")))
        .start();
    let mut wanted = 0;
    while let Some(line) = host.line() {
        let record = Record::read(&line);
        assert_eq!(record.index(), wanted);
        assert!(matches!(record.kind(), "ok" | "cancelled"), "{line}");
        wanted += 1;
        if wanted == 500 {
            host.signal(Signal::SIGINT);
        }
    }
    assert!(wanted >= 500);
    assert_eq!(host.code(), 130);
}

#[test]
fn what_a_polite_kill_cuts_short_is_whole_lines() {
    let task = wat(SQUARE);
    let mut host = map(&task)
        .args(["--output-format", "records"])
        .feed(|pipe| (0_u64..).try_for_each(|item| writeln!(pipe, "{item}")))
        .start();
    let mut wanted = 0;
    while let Some(line) = host.line() {
        assert_eq!(Record::read(&line).index(), wanted);
        wanted += 1;
        if wanted == 500 {
            host.signal(Signal::SIGTERM);
        }
    }
    assert_eq!(host.code(), 143);
}
