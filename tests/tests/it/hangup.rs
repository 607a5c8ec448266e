//! The terminal of a run is closed, or the connection to it is lost: SIGHUP ends the run as SIGTERM does, unless `nohup` has it
//! ignored.

use std::fs;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::folder::Folder;
use crate::support::guest::wat;
use crate::support::run::{Run, cache, map, wasmpool};
use crate::support::terminal::terminal;
use crate::support::wat::{COUNT_TO, SPIN_IF_NEGATIVE, SQUARE};
use crate::support::{binary, until};

/// Fifty items that are done soon, one that takes seconds, and more.
fn items() -> String {
    "3\n".repeat(50) + "5000000000\n" + &"4\n".repeat(1000)
}

/// Runs the command that a run has told to go on with it.
fn go_on(said: &str) {
    let (_, command) = said.split_once("this command goes on: ").unwrap_or_else(|| panic!("no command in {said}"));
    let command = command.lines().next().expect("a line");
    let output = Command::new("sh").args(["-c", command]).output().expect("a shell");
    assert_eq!(output.status.code(), Some(0), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_run_whose_terminal_is_closed_keeps_its_journal_and_says_how_it_goes_on() {
    let folder = Folder::new();
    let input = folder.write("items.jsonl", items());
    let (master, slave) = terminal();
    let run = map(&wat(COUNT_TO)).args(["-j", "1", "-c", "1"]).arg(&input).arg("-o").arg(folder.path("out"));
    let mut host = run.arg("--journal").arg(folder.path("journal")).at_its_terminal(slave).start();
    host.busy_worker();
    drop(master);
    assert_eq!(host.code(), 129);
    host.leaves_nothing_behind(&[]);
    go_on(&host.said());
    let results = fs::read_to_string(folder.path("out")).expect("results");
    assert_eq!(results, items(), "each result once, in order");
}

/// Writing to a terminal that is gone fails, before or after the signal comes.
#[test]
fn a_run_that_prints_to_the_terminal_that_is_closed_ends_in_the_same_way() {
    let folder = Folder::new();
    let input = folder.write("items.jsonl", "3\n".repeat(1_000_000));
    for with_journal in [false, true] {
        let (master, slave) = terminal();
        let run = map(&wat(SQUARE)).args(["-j", "1"]).arg(&input).stdout_to(slave.try_clone().expect("a copy"));
        let run = match with_journal {
            true => run.arg("--journal").arg(folder.path("journal")),
            false => run,
        };
        let mut host = run.at_its_terminal(slave).start();
        // It has printed something, and is blocked by a terminal that nobody reads.
        host.child("worker");
        until("something is printed", || is_readable(&master).then_some(()));
        drop(master);
        assert_eq!(host.code(), 129, "{}", host.said());
        let advice = if with_journal { "this command goes on: " } else { "with --journal FILE, it could go on" };
        assert!(host.said().contains(advice), "{}", host.said());
        assert!(!host.said().contains("cannot write"), "{}", host.said());
    }
}

fn is_readable(file: &fs::File) -> bool {
    use nix::libc::{POLLIN, poll, pollfd};
    use std::os::fd::AsRawFd;
    let mut descriptor = pollfd { fd: file.as_raw_fd(), events: POLLIN, revents: 0 };
    // SAFETY: there is one descriptor, which outlives the call.
    unsafe { poll(&raw mut descriptor, 1, 0) == 1 }
}

#[test]
fn a_hangup_ends_an_item_that_would_not_end_and_a_call_too() {
    let mut host = map(&wat(SPIN_IF_NEGATIVE)).args(["-j", "1", "--timeout", "10m"]).input("-1\n").start();
    host.busy_worker();
    host.signal(Signal::SIGHUP);
    assert_eq!(host.line(), None);
    assert_eq!(host.code(), 129);
    let task = wat(SPIN_IF_NEGATIVE);
    let mut host = wasmpool().arg("call").task(&task).args(["--timeout", "10m", "go", "--", "-1"]).start();
    host.busy_worker();
    host.signal(Signal::SIGHUP);
    assert_eq!(host.line(), None);
    assert_eq!(host.code(), 129);
    host.leaves_nothing_behind(&[]);
}

#[test]
fn a_run_under_nohup_goes_on_when_its_terminal_is_closed() {
    let folder = Folder::new();
    folder.write("task.wat", SQUARE);
    let fifo = folder.path("items");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    let (master, slave) = terminal();
    // As a person types it; the shell leads the session and ends with the terminal.
    let line = "nohup \"$WASMPOOL\" map task.wat items -o out < /dev/null 2> said & wait";
    let mut shell = Run::of("sh").args(["-c", line]).directory(&folder.path(".")).env("WASMPOOL", binary());
    shell = shell.env("XDG_CACHE_HOME", cache());
    let mut host = shell.at_its_terminal(slave).start();
    let mut pipe = fs::File::options().write(true).open(&fifo).expect("it is read");
    std::io::Write::write_all(&mut pipe, b"3\n").expect("it is read");
    until("the first result", || (fs::read_to_string(folder.path("out")).ok()? == "9\n").then_some(()));
    drop(master);
    assert_eq!(host.code(), 129, "the shell has got the signal");
    std::io::Write::write_all(&mut pipe, b"4\n").expect("it is read");
    drop(pipe);
    until("the last result", || (fs::read_to_string(folder.path("out")).ok()? == "9\n16\n").then_some(()));
}
