//! SIGINT (Ctrl-C) once and twice, and SIGTERM.

use std::io::Write;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::guest::wat;
use crate::support::host::Host;
use crate::support::record::Record;
use crate::support::run::{map, wasmpool};
use crate::support::until;
use crate::support::wat::{COUNT_TO, SPIN_IF_NEGATIVE, SQUARE};

/// Starts a run that is in the middle of an item, with its input still open.
fn in_the_middle_of(task: &str, item: &str) -> Host {
    let mut host = map(&wat(task)).args(["-j", "1", "-c", "1", "--timeout", "10m"]).start();
    let input = host.stdin.as_mut().expect("a pipe");
    writeln!(input, "1\n{item}\n1").expect("the host reads");
    assert!(host.line().is_some(), "the item before it");
    host.busy_worker();
    host
}

/// Sends the signal and waits until the host has taken it: two pending signals would be one.
fn interrupt(host: &Host, signal: Signal) {
    // Read before the signal, which may end the host at once.
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
    assert_eq!(host.stderr().matches("finishing what runs").count(), 1);
}

#[test]
fn ctrl_c_at_a_terminal_reaches_the_whole_group_and_still_finishes_the_item() {
    let mut host = in_the_middle_of(COUNT_TO, "2000000000");
    // The host leads its process group; a terminal would signal every process in it.
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
    // Items that waited behind others are cancelled, and so left out; items that were running are there, in order.
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
    // After the first signal it continues to work.
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

#[test]
fn a_signal_that_was_ignored_before_stays_ignored() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let mut host = map(&wat(SQUARE)).ignoring(signal).start();
        let mut input = host.stdin.take().expect("a pipe");
        for item in 1..=3_u64 {
            host.signal(signal);
            writeln!(input, "{item}").expect("the host reads");
            assert_eq!(host.line(), Some((item * item).to_string()), "after {signal}");
        }
        drop(input);
        assert_eq!(host.line(), None);
        assert_eq!(host.code(), 0);
    }
}

#[test]
fn the_first_ctrl_c_ends_a_call() {
    let mut host =
        wasmpool().arg("call").task(&wat(SPIN_IF_NEGATIVE)).args(["--timeout", "10m", "go", "--", "-1"]).start();
    host.busy_worker();
    host.signal(Signal::SIGINT);
    assert_eq!(host.line(), None);
    assert_eq!(host.code(), 130);
    host.leaves_nothing_behind(&[]);
}

#[test]
fn the_first_ctrl_c_ends_a_run_that_still_reads_its_task() {
    let square = wat(SQUARE);
    let several = [format!("a={}", square.path().display()), "b=-".to_owned()];
    let input = "/dev/null";
    let runs = [
        wasmpool().args(["map", "-"]).arg(input),
        wasmpool().args(["map", "--task", &several[0], "--task", &several[1]]).arg(input),
        wasmpool().args(["call", "-", "square", "3"]),
    ];
    for run in runs {
        let mut host = run.start();
        let process = host.process();
        // It sleeps in the read, with nothing else to do.
        until("it waits for its task", || {
            let threads = std::fs::read_dir(format!("/proc/{}/task", process.pid)).ok()?;
            let mut calls =
                threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("syscall")).ok());
            (calls.any(|call| call.starts_with("0 0x0 ")) && process.state() == Some('S')).then_some(())
        });
        host.signal(Signal::SIGINT);
        assert_eq!(host.line(), None);
        assert_eq!(host.code(), 130);
        host.leaves_nothing_behind(&[]);
    }
}

/// Longer than an item may take, which is what is tested.
const BREAK: Duration = Duration::from_secs(3);

#[test]
fn a_terminal_s_stop_stops_the_workers_too_and_makes_no_item_late() {
    let mut host = map(&wat(COUNT_TO))
        .args(["--timeout", "2s", "-j", "2", "-c", "1"])
        .input("400000000\n".repeat(40))
        .job()
        .start();
    for round in 0..2 {
        let worker = host.busy_worker();
        kill(Pid::from_raw(-host.pid()), Signal::SIGTSTP).expect("the group is there");
        until("the host is stopped", || (host.process().state() == Some('T')).then_some(()));
        let workers = host.workers();
        assert!(workers.contains(&worker));
        until("its workers are", || workers.iter().all(|w| w.state() == Some('T')).then_some(()));
        let ticks = worker.ticks();
        sleep(BREAK);
        assert_eq!(worker.ticks(), ticks, "it does nothing meanwhile");
        kill(Pid::from_raw(-host.pid()), Signal::SIGCONT).expect("the group is there");
        for _ in 0..5 {
            assert_eq!(host.line().as_deref(), Some("400000000"), "in round {round}: {}", host.said());
        }
    }
    for _ in 10..40 {
        assert_eq!(host.line().as_deref(), Some("400000000"));
    }
    assert_eq!(host.line(), None);
    assert_eq!(host.code(), 0, "{}", host.said());
}
