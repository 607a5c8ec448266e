//! The progress bar appears on terminals only, and never on standard output.

use std::fs::File;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use nix::sys::signal::Signal;

use crate::support::bombs::nested;
use crate::support::guest::{Task, wat};
use crate::support::run::{Run, map, wasmpool};
use crate::support::terminal::terminal;
use crate::support::until;
use crate::support::wat::SQUARE;

/// Collects what appears on the terminal from now on.
fn watch(mut master: File) -> Arc<Mutex<String>> {
    let seen = Arc::new(Mutex::new(String::new()));
    let shared = Arc::clone(&seen);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = master.read(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..count]);
            shared.lock().expect("no panic").push_str(&text);
        }
    });
    seen
}

#[test]
fn a_terminal_shows_how_many_are_done_and_failed() {
    let (master, slave) = terminal();
    let seen = watch(master);
    let task = wat(SQUARE);
    let mut host = map(&task).stderr_to(slave).start();
    let mut input = host.stdin.take().expect("a pipe");
    let line = "3\n".repeat(4000) + "x\n3\n";
    input.write_all(line.as_bytes()).expect("the host reads");
    for _ in 0..4001 {
        assert_eq!(host.line().as_deref(), Some("9"), "standard output has values only");
    }
    until("a bar that has counted them", || {
        let seen = seen.lock().expect("no panic").replace(['_', ',', '.', '\u{202f}'], "");
        (seen.contains("4001") || seen.contains("4002")).then_some(())
    });
    drop(input);
    assert_eq!(host.line(), None);
    assert_eq!(host.code(), 1);
}

#[test]
fn never_is_never() {
    let (master, slave) = terminal();
    let seen = watch(master);
    let task = wat(SQUARE);
    let mut host = map(&task).args(["--progress", "never"]).input("3\n".repeat(5000)).stderr_to(slave).start();
    while host.line().is_some() {}
    assert_eq!(host.code(), 0);
    let seen = seen.lock().expect("no panic").clone();
    assert_eq!(seen, "");
}

#[test]
fn what_is_no_terminal_gets_no_bar() {
    let output = map(&wat(SQUARE)).input("3\n".repeat(5000)).run().exits(0);
    assert_eq!(output.stderr, "");
}

#[test]
fn always_leaves_standard_output_alone() {
    let output = map(&wat(SQUARE)).args(["--progress", "always"]).input("3\n".repeat(5000)).run().exits(0);
    assert_eq!(output.text(), "9\n".repeat(5000));
    assert!(!output.stderr.is_empty());
}

/// Returns a task that takes so long to compile that the user is told: nested loops, each of which adds one.
fn slow_to_compile(depth: usize) -> Task {
    // The code: loop; increment local 0; continue at its start if that is zero.
    nested(b"\x03\x40\x20\x00\x42\x01\x7c\x21\x00\x20\x00\x50\x0d\x00", b"\x0b", depth)
}

fn uncached(run: Run) -> Run {
    run.env("WASMPOOL_CACHE_DIR", "")
}

#[test]
fn a_terminal_is_told_that_a_task_compiles_for_as_long_as_it_does() {
    let task = slow_to_compile(25_000);
    for run in [map(&task), wasmpool().arg("inspect").task(&task)] {
        let (master, slave) = terminal();
        let seen = watch(master);
        let mut host = uncached(run).stderr_to(slave).start();
        // However slow this test is, compiling is not done before the signal comes.
        host.child("compile").send(Signal::SIGSTOP);
        until("a word about compiling", || seen.lock().expect("no panic").contains("compiling").then_some(()));
        host.signal(Signal::SIGINT);
        assert_eq!(host.line(), None, "standard output has values only");
        assert_eq!(host.code(), 130);
    }
    let (master, slave) = terminal();
    let seen = watch(master);
    let mut host =
        uncached(wasmpool().arg("call")).task(&slow_to_compile(12_000)).args(["f", "3"]).stderr_to(slave).start();
    assert_eq!(host.line().as_deref(), Some("12003"));
    assert_eq!(host.code(), 0);
    until("it is cleared away", || seen.lock().expect("no panic").ends_with("\r\u{1b}[K").then_some(()));
}

#[test]
fn nobody_is_told_who_wants_it_quiet() {
    let task = slow_to_compile(12_000);
    for args in [&["-q"][..], &["--progress", "never"]] {
        let (master, slave) = terminal();
        let seen = watch(master);
        let mut host = uncached(map(&task)).args(args).input("3\n").stderr_to(slave).start();
        while host.line().is_some() {}
        assert_eq!(host.code(), 0);
        let seen = seen.lock().expect("no panic").clone();
        assert_eq!(seen, "", "with {args:?}");
    }
}

#[test]
fn verbose_tells_whether_the_task_was_compiled_or_cached() {
    let cache = tempfile::TempDir::new().expect("a temporary directory");
    let task = slow_to_compile(12_000);
    let said = || {
        let run = map(&task).env("WASMPOOL_CACHE_DIR", cache.path().join("cache")).arg("-v");
        let output = run.input("3\n").run().exits(0);
        assert_eq!(output.text(), "12003\n");
        output.stderr
    };
    let first = said();
    assert!(first.contains("compiling the task") && first.contains("compiled "), "{first}");
    let second = said();
    assert!(second.contains("cache") && !second.contains("compiling"), "{second}");
}
