//! The standard streams may be in any state: messages are dropped if nobody reads them, results never are, and a stream
//! through which results or input cannot pass is an error.

use std::any::Any;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write, pipe};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Stdio;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tempfile::TempDir;

use crate::support::binary;
use crate::support::guest::{Task, wat};
use crate::support::run::{Run, map, wasmpool};
use crate::support::terminal::terminal;
use crate::support::until;
use crate::support::wat::SQUARE;

/// A command of preview 1 that prints a word.
const COMMAND: &str = r#"
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\08\00\00\00\05\00\00\00word\n")
  (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"#;

/// Returns the end of a pipe that nobody reads.
fn unread() -> OwnedFd {
    pipe().expect("a pipe").1.into()
}

fn full_disk() -> OwnedFd {
    OpenOptions::new().write(true).open("/dev/full").expect("it is there").into()
}

/// Returns a terminal that was disconnected.
fn hung_up() -> OwnedFd {
    terminal().1
}

/// Returns the writing end of a full, non-blocking pipe, and its reader.
fn full_pipe() -> (OwnedFd, impl Sized) {
    let (reader, mut writer) = pipe().expect("a pipe");
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("our end of the pipe");
    while writer.write(&[b'x'; 4096]).is_ok() {}
    (writer.into(), reader)
}

/// Returns a run with a failed item, and many messages about it.
fn talkative(task: &Task, output: &std::path::Path) -> Run {
    let items: String = (0..1000).map(|n| format!("{n}\n")).collect();
    map(task).args(["-v", "--progress", "always", "-o"]).arg(output).input(format!("x\n{items}x\n"))
}

#[test]
fn no_state_of_standard_error_costs_a_result() {
    let task = wat(SQUARE);
    let folder = TempDir::new().expect("a temporary directory");
    let output = folder.path().join("results");
    let (full, _reader) = full_pipe();
    let states: [(&str, Option<OwnedFd>); 5] = [
        ("nobody reads it", Some(unread())),
        ("a full disk", Some(full_disk())),
        ("a terminal that went away", Some(hung_up())),
        ("full and non-blocking", Some(full)),
        ("closed", None),
    ];
    for (state, stream) in states {
        let run = talkative(&task, &output);
        let ended = match stream {
            Some(stream) => run.stderr_to(stream).run(),
            None => run.without(libc::STDERR_FILENO).run(),
        };
        assert_eq!(ended.code, 1, "{state}");
        let written = std::fs::read_to_string(&output).expect("it was written");
        assert_eq!(written.lines().count(), 1000, "{state}");
        std::fs::remove_file(&output).expect("it is there");
    }
}

#[test]
fn a_reader_of_standard_error_that_goes_away_in_the_middle_costs_no_result() {
    for terminal_was_there in [false, true] {
        let (gone, stream): (Box<dyn Any>, OwnedFd) = match terminal_was_there {
            true => {
                let (master, slave) = terminal();
                (Box::new(master), slave)
            }
            false => {
                let (reader, writer) = pipe().expect("a pipe");
                (Box::new(reader), writer.into())
            }
        };
        let mut host = map(&wat(SQUARE)).args(["-v", "--output-format", "records"]).stderr_to(stream).start();
        let mut input = host.stdin.take().expect("a pipe");
        input.write_all(b"x\n").expect("it reads");
        assert!(host.line().is_some_and(|line| line.contains("invalid-input")));
        drop(gone);
        input.write_all(&b"x\n3\n".repeat(500)).expect("it reads");
        drop(input);
        let mut lines = 0;
        while host.line().is_some() {
            lines += 1;
        }
        assert_eq!((lines, host.code()), (1000, 1));
    }
}

/// Returns each command that prints something, with its input.
fn printing(task: &Task, command: &Task) -> Vec<Run> {
    let path = |run: Run, name: &str| run.arg(name).task(task);
    vec![
        path(wasmpool(), "map").input("3\n"),
        path(wasmpool(), "map").args(["--output-format", "records"]).input("3\n"),
        wasmpool().arg("exec").task(command).input("3\n"),
        wasmpool().arg("map").arg("--task").arg(format!("a={}", task.path().display())).input("3\n"),
        path(wasmpool(), "call").args(["square", "3"]),
        path(wasmpool(), "inspect"),
        wasmpool().arg("doctor"),
        wasmpool().arg("--help"),
        wasmpool().arg("--version"),
        wasmpool().args(["map", "--help"]),
    ]
}

#[test]
fn results_that_cannot_be_written_are_an_error_of_every_command() {
    let (task, command) = (wat(SQUARE), wat(COMMAND));
    type State = (&'static str, fn(Run) -> Run, &'static str);
    let states: [State; 4] = [
        ("a full disk", |run| run.stdout_to(full_disk()), "No space left"),
        ("a terminal that went away", |run| run.stdout_to(hung_up()), "Input/output error"),
        ("closed", |run| run.without(libc::STDOUT_FILENO), ""),
        ("open for reading", |run| run.stdout_to(File::open("/dev/null").expect("it is there")), ""),
    ];
    for (state, with, says) in states {
        for (n, run) in printing(&task, &command).into_iter().enumerate() {
            let ended = with(run).run();
            assert_eq!(ended.code, 2, "{state}, command {n}: {}", ended.stderr);
            let said = ended.stderr.contains(says) && !ended.stderr.contains("panicked");
            assert!(said, "{state}, command {n}: {}", ended.stderr);
        }
    }
}

#[test]
fn a_closed_pipe_ends_every_command_quietly() {
    let (task, command) = (wat(SQUARE), wat(COMMAND));
    for (n, run) in printing(&task, &command).into_iter().enumerate() {
        let ended = run.stdout_to(unread()).run();
        // With several tasks, each reports how it ended.
        let quiet = ended.stderr.lines().all(|line| line.contains("task a"));
        assert_eq!((ended.code, quiet), (141, true), "command {n}: {}", ended.stderr);
    }
}

#[test]
fn a_stream_that_is_not_used_may_be_in_any_state() {
    let folder = TempDir::new().expect("a temporary directory");
    let (items, output) = (folder.path().join("items"), folder.path().join("results"));
    std::fs::write(&items, "3\n").expect("written");
    let run = || map(&wat(SQUARE)).arg(&items).arg("-o").arg(&output);
    for run in [
        run().without(0).without(1).without(2),
        run().stdin_from(File::open("/").expect("it is there")).stdout_to(full_disk()).stderr_to(full_disk()),
        run().stdin_from(full_disk()).stdout_to(unread()).stderr_to(unread()),
    ] {
        assert_eq!(run.run().code, 0);
        assert_eq!(std::fs::read_to_string(&output).expect("it is there"), "9\n");
        std::fs::remove_file(&output).expect("it is there");
    }
}

#[test]
fn input_that_cannot_be_read_from_standard_input_is_an_error_and_not_empty() {
    let task = wat(SQUARE);
    let write_only = || OpenOptions::new().write(true).open("/dev/null").expect("it is there");
    for (run, says) in [
        (map(&task).without(0), "standard input is closed"),
        (map(&task).arg("/dev/stdin").without(0), "standard input is closed"),
        (map(&task).arg("/dev/fd/0").without(0), "standard input is closed"),
        (map(&task).stdin_from(write_only()), "standard input is not open for reading"),
        (map(&task).stdin_from(File::open("/").expect("it is there")), "standard input is a directory"),
        (wasmpool().args(["map", "-", "/dev/null"]).without(0), "cannot read the task"),
        (wasmpool().args(["call", "-", "square", "3"]).stdin_from(write_only()), "cannot read the task"),
    ] {
        let ended = run.run().exits(2);
        assert_eq!(ended.text(), "");
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
    }
}

#[test]
fn a_non_blocking_output_is_waited_for() {
    let (mut reader, writer) = pipe().expect("a pipe");
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("our end of the pipe");
    let other_end = writer.try_clone().expect("another descriptor");
    let items = "3\n".repeat(100_000);
    let mut host = map(&wat(SQUARE)).stdout_to(writer).input(items).start();
    // It stays full for a while: the program has tried to write more.
    let mut looks = 0;
    until("a pipe that is full", || {
        let mut state = libc::pollfd { fd: other_end.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
        // SAFETY: the call gets one such structure, which outlives it.
        let full = unsafe { libc::poll(&raw mut state, 1, 0) } == 0;
        looks = if full { looks + 1 } else { 0 };
        (looks == 50).then_some(())
    });
    drop(other_end);
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("it is text");
    assert_eq!((text.lines().count(), host.code()), (100_000, 0), "{}", host.stderr());
}

#[test]
fn a_non_blocking_input_is_waited_for() {
    let (reader, mut writer) = pipe().expect("a pipe");
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("our end of the pipe");
    let mut host = map(&wat(SQUARE)).stdin_from(reader).start();
    for n in 0..3 {
        writeln!(writer, "{n}").expect("it reads");
        assert_eq!(host.line(), Some((n * n).to_string()));
    }
    drop(writer);
    assert_eq!(host.code(), 0);
}

#[test]
fn wrong_use_that_nobody_hears_of_is_still_wrong_use() {
    for run in [wasmpool().arg("mapp"), map(&wat("(module")).input("3\n"), wasmpool().arg("map")] {
        assert_eq!(run.stderr_to(unread()).stdout_to(Stdio::null()).run().code, 2);
    }
}

#[test]
fn standard_output_that_is_a_file_is_synced_before_the_journal_promises_what_is_in_it() {
    let folder = TempDir::new().expect("a temporary directory");
    let path = |name: &str| folder.path().canonicalize().expect("it is there").join(name);
    std::fs::write(path("items"), "3\n4\n").expect("written");
    let task = wat(SQUARE);
    let mut command = std::process::Command::new("strace");
    command.args(["-f", "-qq", "-y", "-e", "trace=fsync,fdatasync", "-o"]).arg(path("calls")).arg(binary());
    command.arg("map").arg(task.path()).arg(path("items")).arg("--journal").arg(path("journal"));
    command.stdout(File::create(path("results")).expect("a file")).stderr(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => {}
        ended => {
            println!("left out: strace cannot be used here ({ended:?})");
            return;
        }
    }
    let calls = std::fs::read_to_string(path("calls")).expect("it is there");
    let first = |name: &str| calls.lines().position(|call| call.contains(&format!("<{}>", path(name).display())));
    let (results, journal) = (first("results"), first("journal"));
    assert!(results.is_some() && journal.is_some() && results < journal, "{calls}");
}

#[test]
fn a_file_that_is_the_name_of_a_closed_stream_is_an_error() {
    let task = wat(SQUARE);
    for (option, name, stream, says) in [
        ("-o", "/dev/stdout", 1, "standard output is closed"),
        ("-o", "/proc/self/fd/1", 1, "standard output is closed"),
        ("--failed", "/dev/stderr", 2, ""),
        ("-o", "/dev/fd/2", 2, ""),
    ] {
        let ended = map(&task).args([option, name]).without(stream).input("3\n").run().exits(2);
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
        assert_eq!(ended.text(), "");
    }
}
