//! The progress bar appears on terminals only, and never on standard output.

use std::io::Write;
use std::sync::{Arc, Mutex};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::bombs::nested;
use crate::support::guest::{Task, wat};
use crate::support::host::Host;
use crate::support::run::{Run, map, wasmpool};
use crate::support::terminal::{screen, set_width, terminal, watch, without_colours};
use crate::support::until;
use crate::support::wat::{COUNT_TO, SQUARE};

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

/// Returns the environment of a person at a terminal that knows colours and can replace lines.
fn at_terminal(run: Run) -> Run {
    run.env("TERM", "xterm-256color").env("NO_COLOR", "").env("COLUMNS", "")
}

/// Starts a run of which the last item takes until it is ended, on a terminal of this width, with its results elsewhere.
fn long_run(columns: u16, change: impl FnOnce(Run) -> Run) -> (Host, std::fs::File, Arc<Mutex<String>>, TempDir) {
    let (master, slave) = terminal();
    set_width(&master, columns);
    let folder = TempDir::new().expect("a temporary directory");
    let input = folder.path().join("items.jsonl");
    std::fs::write(&input, "3\n".repeat(3000) + "9000000000000000000\n" + &"3\n".repeat(1000)).expect("written");
    let seen = watch(master.try_clone().expect("a copy"));
    let run = at_terminal(map(&wat(COUNT_TO))).args(["-j", "1", "-c", "10", "--timeout", "10m"]).arg(&input);
    let mut host = change(run).stderr_to(slave).start();
    for _ in 0..3000 {
        assert_eq!(host.line().as_deref(), Some("3"));
    }
    (host, master, seen, folder)
}

/// Returns the lines that were drawn to be replaced, without colours.
fn drawn(seen: &Arc<Mutex<String>>) -> Vec<String> {
    let seen = without_colours(&seen.lock().expect("no panic"));
    let drawn = seen.split('\r').filter_map(|part| part.strip_suffix("\u{1b}[J"));
    drawn.filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn the_bar_fits_terminals_of_all_widths_and_says_what_its_numbers_mean() {
    for columns in [10, 40, 60, 80, 200] {
        let (mut host, _master, seen, _folder) = long_run(columns, |run| run);
        let bar = until("a bar that has counted them", || {
            drawn(&seen).into_iter().find(|line| line.contains("3,000") || line.contains("3000"))
        });
        for line in drawn(&seen) {
            assert!(line.chars().count() < columns.into(), "{line:?} at {columns} columns");
        }
        let words: &[&str] = match columns {
            0..40 => &["3"],
            40..80 => &[" items", " failed", " left"],
            80..200 => &[" items", " failed", "/s", " left", "[=", "%"],
            _ => &[" of ", " items", " failed", "/s", " left", " so far", "[=", "%"],
        };
        assert!(words.iter().all(|word| bar.contains(word)), "{bar:?} at {columns} columns");
        host.signal(Signal::SIGTERM);
        assert_eq!(host.code(), 143);
    }
}

#[test]
fn the_bar_follows_the_terminal_when_it_is_resized() {
    let (mut host, master, seen, _folder) = long_run(200, |run| run);
    for columns in [40, 120, 60] {
        set_width(&master, columns);
        let before = drawn(&seen).len();
        until("a bar of the new width", || {
            // One may have been drawn as the width was changed.
            let lines = drawn(&seen).split_off(before);
            let fit = lines.iter().skip(1).all(|line| line.chars().count() < columns.into());
            (lines.len() > 3 && fit).then_some(())
        });
    }
    host.signal(Signal::SIGTERM);
    assert_eq!(host.code(), 143);
}

#[test]
fn results_on_the_same_terminal_have_lines_of_their_own() {
    let folder = TempDir::new().expect("a temporary directory");
    let input = folder.path().join("items.jsonl");
    std::fs::write(&input, "30000000\n".repeat(40) + "\"x\"\n").expect("written");
    let (master, slave) = terminal();
    set_width(&master, 80);
    let seen = watch(master);
    let run = at_terminal(map(&wat(COUNT_TO))).args(["-j", "1", "-c", "1"]).arg(&input);
    let mut host = run.stdout_to(slave.try_clone().expect("a copy")).stderr_to(slave).start();
    assert_eq!(host.code(), 1);
    let lines = until("the summary", || {
        let lines = screen(&seen.lock().expect("no panic"));
        lines.iter().any(|line| line.starts_with("wasmpool: 1 of 41 items failed")).then_some(lines)
    });
    assert_eq!(lines.iter().filter(|line| *line == "30000000").count(), 40, "{lines:?}");
    for line in &lines {
        let whole = line.is_empty() || line == "30000000" || line.starts_with("wasmpool: ");
        assert!(whole, "a line is shared: {line:?} of {lines:?}");
    }
    assert!(!drawn(&seen).is_empty(), "there was a bar");
}

/// Returns how many items each bar says are done, with the number of results that stand above it.
fn counted(seen: &str, is_result: impl Fn(&str) -> bool) -> Vec<(u64, u64)> {
    let seen = without_colours(seen);
    let mut bars = Vec::new();
    for (end, _) in seen.match_indices("\u{1b}[J") {
        let before = &seen[..end];
        let (above, bar) = before.rsplit_once('\r').unwrap_or(("", before));
        let Some((_, rest)) = bar.split_once("%  ") else { continue };
        let done = rest.split(' ').next().unwrap_or_default().replace(',', "");
        let results = above.split(['\r', '\n']).filter(|line| is_result(line.trim_start_matches("\u{1b}[J"))).count();
        bars.push((done.parse().expect("a number"), results as u64));
    }
    bars
}

#[test]
fn the_bar_counts_the_results_above_it_whenever_it_is_drawn() {
    let folder = TempDir::new().expect("a temporary directory");
    let input = folder.path().join("items.jsonl");
    std::fs::write(&input, "20000000\n".repeat(60)).expect("written");
    let (master, slave) = terminal();
    set_width(&master, 80);
    let seen = watch(master);
    let run = at_terminal(map(&wat(COUNT_TO))).args(["-j", "1", "-c", "1"]).arg(&input);
    let mut host = run.stdout_to(slave.try_clone().expect("a copy")).stderr_to(slave).start();
    assert_eq!(host.code(), 0);
    until("the summary", || seen.lock().expect("no panic").contains("60 items, none failed").then_some(()));
    let bars = counted(&seen.lock().expect("no panic"), |line| line == "20000000");
    assert!(bars.len() > 50, "a bar behind each result: {bars:?}");
    assert!(bars.iter().all(|(done, results)| done == results), "{bars:?}");
    assert_eq!(bars.last(), Some(&(60, 60)));

    // Of several tasks, results wait for those of others, and are counted then.
    let (master, slave) = terminal();
    set_width(&master, 80);
    let seen = watch(master);
    let tasks = [wat(COUNT_TO), wat(COUNT_TO)];
    let named = ["a", "b"].iter().zip(&tasks).map(|(name, task)| format!("{name}={}", task.path().display()));
    let mut run = at_terminal(wasmpool().arg("map")).args(["-j", "2", "-c", "1"]);
    for task in named {
        run = run.args(["--task", &task]);
    }
    let mut host = run.arg(&input).stdout_to(slave.try_clone().expect("a copy")).stderr_to(slave).start();
    assert_eq!(host.code(), 0);
    until("the summary", || seen.lock().expect("no panic").contains("120 results, none failed").then_some(()));
    let bars = counted(&seen.lock().expect("no panic"), |line| line.starts_with("{\"index\""));
    assert!(bars.len() > 50 && bars.iter().all(|(done, results)| done >= results), "{bars:?}");
}

/// Runs tasks over an input at a terminal, and stops the host again and again until the workers have run all that they were
/// given, so that several results come at once. Returns how many items each bar says are done, with the number of results
/// that stand above it.
fn counted_when_several_come_at_once(
    run: Run,
    workers: usize,
    summary: &str,
    is_result: impl Fn(&str) -> bool,
) -> Vec<(u64, u64)> {
    let (master, slave) = terminal();
    set_width(&master, 80);
    let seen = watch(master);
    let mut host = at_terminal(run).stdout_to(slave.try_clone().expect("a copy")).stderr_to(slave).start();
    let program = host.process();
    let workers = until("all workers", || Some(host.children("worker")).filter(|all| all.len() == workers));
    let length = || seen.lock().expect("no panic").len();
    while !host.has_ended() {
        // Meanwhile the workers run all that they were given.
        host.signal(Signal::SIGSTOP);
        until("workers without work", || {
            let stopped = program.state() == Some('T');
            let idle = stopped && workers.iter().all(|worker| worker.state() != Some('R'));
            (!program.lives() || idle).then_some(())
        });
        let before = length();
        host.signal(Signal::SIGCONT);
        until("a result", || (length() > before || !program.lives()).then_some(()));
    }
    assert_eq!(host.code(), 0);
    until("the summary", || seen.lock().expect("no panic").contains(summary).then_some(()));
    let seen = seen.lock().expect("no panic");
    counted(&seen, is_result)
}

#[test]
fn the_bar_counts_the_results_above_it_where_several_have_come_at_once() {
    let folder = TempDir::new().expect("a temporary directory");
    let input = folder.path().join("items.jsonl");
    std::fs::write(&input, "2000000\n".repeat(300)).expect("written");
    let run = map(&wat(COUNT_TO)).args(["-j", "1", "-c", "1"]).arg(&input);
    let bars = counted_when_several_come_at_once(run, 1, "300 items, none failed", |line| line == "2000000");
    assert!(bars.len() > 10 && bars.iter().all(|(done, results)| done == results), "{bars:?}");

    let tasks = [wat(COUNT_TO), wat(COUNT_TO)];
    let mut run = wasmpool().arg("map").args(["-j", "2", "-c", "1"]).arg(&input);
    for (name, task) in ["a", "b"].iter().zip(&tasks) {
        run = run.args(["--task", &format!("{name}={}", task.path().display())]);
    }
    let is_result = |line: &str| line.starts_with("{\"index\"");
    let bars = counted_when_several_come_at_once(run, 2, "600 results, none failed", is_result);
    assert!(bars.len() > 10 && bars.iter().all(|(done, results)| done >= results), "{bars:?}");
}

#[test]
fn a_failure_above_the_bar_is_counted_in_it() {
    let (master, slave) = terminal();
    set_width(&master, 80);
    let seen = watch(master);
    let mut host = at_terminal(map(&wat(SQUARE))).args(["-j", "1", "-c", "1"]).stderr_to(slave).start();
    let mut input = host.stdin.take().expect("a pipe");
    for nth in 1..=4 {
        input.write_all(b"3\n").expect("the host reads");
        assert_eq!(host.line().as_deref(), Some("9"));
        until("a bar", || {
            drawn(&seen).iter().any(|line| line.starts_with(&format!("{} items", 2 * nth - 1))).then_some(())
        });
        input.write_all(b"x\n").expect("the host reads");
        until("the failure and the bar", || {
            let seen = without_colours(&seen.lock().expect("no panic"));
            let (_, behind) = seen.split_once(&format!("item {} failed: ", 2 * nth - 1))?;
            let bar = behind.split('\r').find(|part| part.contains(" items, "))?;
            assert!(bar.contains(&format!(" {nth} failed")), "drawn behind the failure: {bar:?}");
            Some(())
        });
    }
    drop(input);
    assert_eq!(host.line(), None);
    assert_eq!(host.code(), 1);
}

#[test]
fn a_simple_terminal_gets_no_codes_and_nobody_gets_colours_who_wants_none() {
    let (mut host, _master, seen, _folder) = long_run(80, |run| run.env("TERM", "dumb").args(["--progress", "always"]));
    until("a line", || seen.lock().expect("no panic").contains("3,000 of ").then_some(()));
    host.signal(Signal::SIGTERM);
    assert_eq!(host.code(), 143);
    assert!(!seen.lock().expect("no panic").contains('\u{1b}'));
    let never = |run: Run| run.args(["--color", "never"]);
    let no_color = |run: Run| run.env("NO_COLOR", "1");
    for (coloured, change) in [(true, (|run| run) as fn(Run) -> Run), (false, never), (false, no_color)] {
        let (mut host, _master, seen, _folder) = long_run(80, change);
        until("a bar", || drawn(&seen).iter().any(|line| line.contains("[=")).then_some(()));
        host.signal(Signal::SIGTERM);
        assert_eq!(host.code(), 143);
        assert_eq!(seen.lock().expect("no panic").contains("\u{1b}[32m"), coloured);
    }
    let help =
        |colour: &str| wasmpool().args(["map", "--help", "--color", colour]).run().exits(0).text().contains('\u{1b}');
    assert!(help("always") && !help("auto") && !help("never"));
}

#[test]
fn a_person_is_told_what_became_of_the_run() {
    let (master, slave) = terminal();
    let seen = watch(master);
    let mut host = at_terminal(map(&wat(SQUARE))).input("3\n".repeat(1500) + "x\n").stderr_to(slave).start();
    while host.line().is_some() {}
    assert_eq!(host.code(), 1);
    let summary = until("the summary", || {
        let lines = screen(&seen.lock().expect("no panic"));
        lines.into_iter().find(|line| line.contains("1 of 1501 items failed: 1 invalid-input; "))
    });
    assert!(summary.contains(" items/s; instances: ") && summary.ends_with(" restored"), "{summary}");
    // Nobody is told who wants it quiet.
    let (master, slave) = terminal();
    let seen = watch(master);
    let mut host = at_terminal(map(&wat(SQUARE))).arg("-q").input("3\nx\n").stderr_to(slave).start();
    while host.line().is_some() {}
    assert_eq!(host.code(), 1);
    assert_eq!(*seen.lock().expect("no panic"), "");
}

#[test]
fn a_person_who_is_to_type_the_items_is_told_so() {
    let (mut keyboard, slave) = terminal();
    let seen = watch(keyboard.try_clone().expect("a copy"));
    let run = at_terminal(map(&wat(SQUARE))).stdin_from(slave.try_clone().expect("a copy")).stderr_to(slave);
    let mut host = run.start();
    until("it is said", || {
        seen.lock().expect("no panic").contains("reading items from the terminal; end with Ctrl-D").then_some(())
    });
    // The last is Ctrl-D.
    keyboard.write_all(b"7\n\x04").expect("typed");
    assert_eq!(host.line().as_deref(), Some("49"));
    assert_eq!(host.line(), None);
    assert_eq!(host.code(), 0);
    assert!(drawn(&seen).iter().all(|line| !line.contains("items")), "no bar is in the way");
}

#[test]
fn an_interrupted_run_says_how_it_goes_on_and_it_does() {
    let folder = TempDir::new().expect("a temporary directory");
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("it's.jsonl"), "3\n".repeat(50) + "2000000000\n" + &"4\n".repeat(100_000)).expect("written");
    let task = wat(COUNT_TO);
    let run = map(&task).args(["-j", "1", "-c", "1"]).arg(path("it's.jsonl"));
    let mut host = run.arg("-o").arg(path("out")).arg("--journal").arg(path("a journal")).start();
    host.busy_worker();
    host.signal(Signal::SIGINT);
    assert_eq!(host.code(), 130);
    let said = host.stderr();
    let (_, command) = said.split_once("wasmpool: this command goes on: ").expect("how it goes on");
    let command = command.lines().next().expect("a line");
    let again = std::process::Command::new("sh").args(["-c", command]).output().expect("a shell");
    assert_eq!(again.status.code(), Some(0), "{command}: {}", String::from_utf8_lossy(&again.stderr));
    let results = std::fs::read_to_string(path("out")).expect("results");
    assert_eq!(results, "3\n".repeat(50) + "2000000000\n" + &"4\n".repeat(100_000));

    let run = map(&task).args(["-j", "1", "-c", "1"]).arg(path("it's.jsonl"));
    let mut host = run.arg("-o").arg(path("other")).start();
    host.busy_worker();
    host.signal(Signal::SIGINT);
    assert_eq!(host.code(), 130);
    assert!(host.stderr().contains("with --journal FILE, it could go on"), "{}", host.said());
}

#[test]
fn that_all_items_fail_alike_is_said_once_and_early() {
    let hint = "the first 10 items all failed alike (invalid-input); with --halt soon,fail=10 the run would end here";
    // With one worker, items are done in their order: which are the first does not depend on who is faster.
    let said = |items: &str, args: &[&str]| {
        map(&wat(SQUARE)).args(["-j", "1"]).args(args).input(items).run().stderr.matches(hint).count()
    };
    let wrong = "\"x\"\n";
    assert_eq!(said(&wrong.repeat(500), &[]), 1);
    assert_eq!(said(&(wrong.repeat(5) + "3\n" + &wrong.repeat(500)), &[]), 0, "they are not all alike");
    assert_eq!(said(&(wrong.repeat(5) + "[true\n" + &wrong.repeat(500)), &[]), 1, "whatever is wrong with each");
    assert_eq!(said(&wrong.repeat(9), &[]), 0, "too few to tell");
    assert_eq!(said(&wrong.repeat(500), &["--halt", "soon,fail=100"]), 0, "it was thought of");
    assert_eq!(said(&wrong.repeat(500), &["-q"]), 0);
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
    until("it is cleared away", || seen.lock().expect("no panic").ends_with("\r\u{1b}[J").then_some(()));
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
