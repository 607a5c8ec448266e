//! A task that is hard to compile runs, or ends in one clear error; the host's memory stays flat, whatever the task.
//!
//! `WASMPOOL_TEST_FULL=1` compiles for some twenty minutes. Where the time goes: a function of nested loops or of very many
//! blocks takes the compiler time that grows with their square.

use std::io::Read;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::bombs::{data, export_names, in_binary, nested, of_bodies, steps};
use crate::support::guest::{Task, file, wat};
use crate::support::host::Host;
use crate::support::run::{map, wasmpool};
use crate::support::wat::{SQUARE, component, lift};
use crate::support::{HANG, full};

/// What a host may need more than one that compiles a tiny task: buffers, a message, a list of functions.
const FLAT: u64 = 4 << 20;

/// The size by default, and that of the promise.
fn size(short: usize, promised: usize) -> usize {
    if full() { promised } else { short }
}

/// A run of the program without a cache, and its peak of resident memory.
fn run(task: &Task, before: &[&str], after: &[&str]) -> (Host, u64, String, String) {
    let run = wasmpool().env("WASMPOOL_CACHE_DIR", "").args(before).task(task).args(after);
    let mut host = run.limit(if full() { HANG * 5 } else { HANG }).start();
    host.end_input();
    let mut pipe = host.stdout.take().expect("standard output is a pipe");
    let reader = std::thread::spawn(move || {
        let mut output = String::new();
        pipe.read_to_string(&mut output).map(|_| output)
    });
    let process = host.process();
    let mut peak = 0;
    // The last look is some moments before its end; what it holds by then is held for longer than that.
    while let Some(now) = process.peak() {
        peak = now;
        std::thread::sleep(Duration::from_millis(1));
    }
    let output = reader.join().expect("no panic").expect("the output is text");
    let errors = host.stderr();
    (host, peak, output, errors)
}

#[track_caller]
fn assert_flat(peak: u64) {
    let (_, tiny, _, _) = run(&wat(SQUARE), &["call"], &["square", "3"]);
    assert!(peak <= tiny + FLAT, "the host had {peak} bytes; with a tiny task, {tiny}");
}

/// Its only function runs, as on any task.
#[track_caller]
fn runs(task: &Task) {
    let (mut host, peak, output, errors) = run(task, &["call"], &["f", "3"]);
    assert_eq!((host.code(), errors.as_str()), (0, ""));
    assert!(output.trim().parse::<i64>().is_ok(), "{output}");
    assert_flat(peak);
}

/// The same in the short form. At full size a slow machine may come to the compiler's limits, and has to say so.
#[track_caller]
fn runs_or_says_the_limit(task: &Task) {
    if !full() {
        return runs(task);
    }
    let (mut host, peak, output, errors) = run(task, &["call"], &["f", "3"]);
    match host.code() {
        0 => assert!(output.trim().parse::<i64>().is_ok(), "{output}"),
        code => {
            let limits =
                ["took longer than 300 s", "took more than 600 s of CPU time", "more than the 4 GiB of memory"];
            assert!(code == 2 && limits.iter().any(|limit| errors.contains(limit)), "{code}: {errors}");
        }
    }
    eprintln!("the host's peak was {peak} bytes; {errors}");
    assert_flat(peak);
}

/// It ends in one message, which holds these words.
#[track_caller]
fn is_refused(task: &Task, words: &str) {
    let (mut host, peak, output, errors) = run(task, &["call"], &["f", "3"]);
    assert_eq!((host.code(), output.as_str()), (2, ""), "{errors}");
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
    // A function has an end in binary, too.
    if full() { is_refused(&wat(text), "limit") } else { runs(&wat(text)) }
}

#[test]
fn an_endless_line_of_text_is_refused_in_few_words() {
    is_refused(&wat("(".repeat(size(2_000_000, 100_000_000))), "text form");
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

/// A tuple of two tuples of two tuples, and so on: small to write, and large to think of.
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
        let (mut host, peak, output, errors) = run(&task, &["inspect"], &[]);
        assert_eq!((host.code(), errors.as_str()), (0, ""));
        assert!(output.contains("f0") && output.len() < 2 << 20, "{} bytes", output.len());
        assert_flat(peak);
        // And where it is listed in a message.
        let (mut host, peak, _, errors) = run(&task, &["call"], &["no-such-function"]);
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
    // All zeros, and none of them on disk.
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
    // `if` the argument is not zero, add one to it.
    let branch = b"\x20\0\xa7\x04\x40\x20\0\x42\x01\x7c\x21\0\x0b";
    let task = of_bodies(1, &[&branch.repeat(size(5_000, 300_000))[..], b"\x20\0"].concat());
    runs_or_says_the_limit(&task);
}

/// A host whose compile process works, for longer than a test may take.
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
