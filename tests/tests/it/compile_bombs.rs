//! A task that is hard to compile runs, or ends in one clear error; the host's memory stays flat, whatever the task.
//!
//! `WASMPOOL_TEST_FULL=1` compiles for some twenty minutes: for a function of nested loops or of very many blocks the
//! compiler takes time that grows with the square of their number.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::bombs::{data, export_names, in_binary, nested, of_bodies, steps};
use crate::support::guest::{Task, file, wat};
use crate::support::host::Host;
use crate::support::process::Process;
use crate::support::run::{Run, map, wasmpool};
use crate::support::wat::{SQUARE, component, lift};
use crate::support::{HANG, full};

/// Bytes that a host may need beyond one that compiles a tiny task: buffers, a message, a list of functions.
const FLAT: u64 = 4 << 20;

/// Returns the size by default, or with `WASMPOOL_TEST_FULL` that of the promise.
fn size(short: usize, promised: usize) -> usize {
    if full() { promised } else { short }
}

/// Returns the program without a cache.
fn uncached(command: &str, task: &Task) -> Run {
    wasmpool().env("WASMPOOL_CACHE_DIR", "").arg(command).task(task).limit(if full() { HANG * 5 } else { HANG })
}

/// Runs the only function of a task once. Returns the host, and its peak of resident memory with its output, or `None`
/// if it ended without any.
///
/// The input stays open meanwhile, so that the host can be looked at when everything is done.
fn first_outcome(task: &Task) -> (Host, Option<(u64, String)>) {
    let mut host = uncached("map", task).start();
    let mut input = host.stdin.take().expect("a pipe");
    // A host that refuses the task may have ended by now.
    let _ = input.write_all(b"3\n");
    let line = host.line();
    let seen = line.map(|line| (host.process().status_bytes("VmHWM"), line));
    drop(input);
    (host, seen)
}

/// Waits until the host blocks in writing to a full pipe, and returns its peak of resident memory.
fn peak_when_it_speaks(host: &Host) -> u64 {
    let pid = host.pid();
    loop {
        // Any of its threads may be the one that writes.
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the program is our child");
        let calls = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("syscall")).ok());
        let writes = |call: String| {
            let mut words = call.split(' ');
            let call = words.next().and_then(|call| call.parse().ok());
            matches!(call, Some(libc::SYS_write | libc::SYS_writev)) && matches!(words.next(), Some("0x1" | "0x2"))
        };
        if calls.into_iter().any(writes) {
            return host.process().status_bytes("VmHWM");
        }
        assert!(Process::living(pid).is_some(), "it ended without a word");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Returns a full pipe, which blocks a program that writes to it, and its size.
fn full_pipe() -> (PipeReader, PipeWriter, usize) {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    // SAFETY: the call makes the pipe as small as possible; the descriptor is open.
    let size = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, 1) };
    let size = usize::try_from(size).expect("pipes have sizes");
    writer.write_all(&vec![b'.'; size]).expect("so much fits");
    (reader, writer, size)
}

/// Runs a task that ends in a message. Returns the host, its peak of resident memory, and the message.
fn complaint(run: Run) -> (Host, u64, String) {
    let (mut reader, writer, size) = full_pipe();
    let mut host = run.stderr_to(writer).start();
    host.end_input();
    let peak = peak_when_it_speaks(&host);
    let mut said = String::new();
    reader.read_to_string(&mut said).expect("it speaks text");
    assert_eq!(host.line(), None);
    (host, peak, said.split_off(size))
}

#[track_caller]
fn assert_flat(peak: u64) {
    let (_, tiny) = first_outcome(&wat(SQUARE));
    let (tiny, _) = tiny.expect("a tiny task runs");
    assert!(peak <= tiny + FLAT, "the host had {peak} bytes; with a tiny task, {tiny}");
}

/// Checks that the task's only function runs, and that the host's memory stays flat.
#[track_caller]
fn runs(task: &Task) {
    let (mut host, seen) = first_outcome(task);
    assert_eq!((host.code(), host.stderr().as_str()), (0, ""));
    let (peak, line) = seen.expect("an outcome");
    assert!(line.parse::<i64>().is_ok(), "{line}");
    assert_flat(peak);
}

/// Checks that the task runs in the short form. At full size a slow machine may reach the compiler's limits, which must
/// then be reported.
#[track_caller]
fn runs_or_says_the_limit(task: &Task) {
    if !full() {
        return runs(task);
    }
    let (mut host, seen) = first_outcome(task);
    let (code, errors) = (host.code(), host.stderr());
    match seen {
        Some((peak, _)) => {
            assert_eq!((code, errors.as_str()), (0, ""));
            assert_flat(peak);
        }
        None => {
            let limits =
                ["took longer than 300 s", "took more than 600 s of CPU time", "more than the 4 GiB of memory"];
            assert!(code == 2 && limits.iter().any(|limit| errors.contains(limit)), "{code}: {errors}");
        }
    }
}

/// Checks that the task ends in one message, which contains these words.
#[track_caller]
fn is_refused(task: &Task, words: &str) {
    let (mut host, peak, errors) = complaint(uncached("map", task));
    assert_eq!(host.code(), 2, "{errors}");
    assert!(errors.contains(words), "{errors}");
    assert!(errors.len() < 4096, "a message of {} bytes", errors.len());
    assert_eq!(errors.matches("wasmpool:").count(), 1, "{errors}");
    assert_flat(peak);
}

#[test]
fn blocks_in_blocks_run() {
    for open in [&b"\x02\x40"[..], b"\x41\0\x04\x40"] {
        runs(&nested(open, b"\x0b", size(50_000, 1_000_000)));
    }
}

#[test]
fn loops_in_loops_run_or_say_the_limit() {
    runs_or_says_the_limit(&nested(b"\x03\x40", b"\x0b", size(2_000, 50_000)));
}

#[test]
fn a_nest_of_text_runs_or_is_refused() {
    let depth = size(50_000, 5_000_000);
    let text = format!(
        r#"(module (func (export "f") (param i64) (result i64) {}{} (local.get 0)))"#,
        "(block ".repeat(depth),
        ")".repeat(depth)
    );
    // The end of a function takes an instruction in the binary form, too.
    if full() { is_refused(&wat(text), "limit") } else { runs(&wat(text)) }
}

#[test]
fn an_endless_line_of_text_is_refused_in_few_words() {
    is_refused(&wat("(".repeat(size(2_000_000, 100_000_000))), "its text is not valid");
}

#[test]
fn types_in_types_are_refused() {
    let depth = size(10_000, 1_000_000);
    let lists = format!("(component (type {}u8{}))", "(list ".repeat(depth), ")".repeat(depth));
    is_refused(&wat(lists), "too deep");
    let components = "(component ".repeat(depth) + &")".repeat(depth);
    is_refused(&wat(components), "too deep");
}

#[test]
fn component_types_nested_in_binary_are_refused() {
    for kind in [0x41, 0x42] {
        let depth = size(100_000, 5_000_000);
        let types = [&[kind, 1, 1].repeat(depth)[..], &[kind, 0]].concat();
        is_refused(&in_binary(&[(7, [&[1][..], &types].concat())]), "nested too deeply");
    }
}

/// Returns a tuple of two tuples of two tuples, and so on: small to write, and large when expanded.
fn doubled(depth: usize) -> String {
    let types: Vec<String> = (1..=depth).map(|i| format!("(type $t{i} (tuple $t{} $t{}))", i - 1, i - 1)).collect();
    format!("(type $t0 (tuple u8 u8)){}", types.concat())
}

#[test]
fn a_type_that_doubles_and_doubles_is_refused() {
    is_refused(&wat(format!("(component {})", doubled(size(30, 90)))), "limit");
}

#[test]
fn what_is_known_of_a_task_is_bounded() {
    let body = r#"(func (export "f") (param i32))"#;
    let functions: Vec<String> =
        (0..10).map(|i| lift("f", r#"(param "x" $t14)"#).replacen("\"f\"", &format!("\"f{i}\""), 1)).collect();
    let text = component(body, &functions).replacen("(component", &format!("(component {}", doubled(14)), 1);
    for task in [wat(text), export_names(size(20_000, 100_000), 100)] {
        let mut host = uncached("inspect", &task).start();
        // The output does not fit into the pipe, so the host blocks with it.
        let pipe = host.stdout.as_ref().expect("standard output is a pipe").get_ref().as_raw_fd();
        // SAFETY: the call makes the pipe as small as possible; the descriptor is open.
        assert!(unsafe { libc::fcntl(pipe, libc::F_SETPIPE_SZ, 1) } > 0);
        assert_flat(peak_when_it_speaks(&host));
        let mut output = String::new();
        host.stdout.take().expect("a pipe").read_to_string(&mut output).expect("it speaks text");
        assert_eq!((host.code(), host.stderr().as_str()), (0, ""));
        assert!(output.contains("f0") && output.len() < 2 << 20, "{} bytes", output.len());
        // Also if it is listed in a message.
        let (mut host, peak, errors) = complaint(uncached("call", &task).arg("no-such-function"));
        assert_eq!(host.code(), 2);
        assert!(errors.contains("no-such-function") && errors.len() < 64 << 10, "{} bytes", errors.len());
        assert_flat(peak);
    }
}

#[test]
fn a_hundred_thousand_functions_run_or_say_the_limit() {
    runs_or_says_the_limit(&of_bodies(size(5_000, 100_000), &steps(10)));
}

#[test]
fn more_functions_than_a_module_may_have_are_refused() {
    is_refused(&of_bodies(1_000_001, &steps(0)), "limit");
}

#[test]
fn a_hundred_megabytes_of_code_run_or_say_the_limit() {
    runs_or_says_the_limit(&of_bodies(size(10, 1048), &steps(16_000)));
}

#[test]
fn a_hundred_megabytes_of_data_run() {
    runs(&data(size(20 << 20, 100 << 20)));
}

#[test]
fn a_task_larger_than_any_module_is_refused() {
    // All zeros, none of which are on disk.
    let task = file("task.wasm", b"");
    std::fs::File::options()
        .write(true)
        .open(task.path())
        .and_then(|f| f.set_len(64 << 30))
        .expect("a file with a hole");
    is_refused(&task, "larger than");
}

#[test]
fn a_function_of_a_hundred_thousand_blocks_runs_or_says_the_limit() {
    // If the argument is not zero, one is added to it.
    let branch = b"\x20\0\xa7\x04\x40\x20\0\x42\x01\x7c\x21\0\x0b";
    let task = of_bodies(1, &[&branch.repeat(size(5_000, 300_000))[..], b"\x20\0"].concat());
    runs_or_says_the_limit(&task);
}

/// Starts a host whose compile process works for longer than a test may take.
fn compiling() -> Host {
    let task = nested(b"\x03\x40", b"\x0b", 50_000);
    let host = map(&task).env("WASMPOOL_CACHE_DIR", "").start();
    host.busy_worker();
    host
}

#[test]
fn ctrl_c_ends_a_run_that_still_compiles() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let mut host = compiling();
        let family = host.descendants();
        host.signal(signal);
        assert_eq!(host.line(), None);
        assert_eq!(host.code(), code);
        assert_eq!(host.stderr(), "");
        host.leaves_nothing_behind(&family);
    }
}
