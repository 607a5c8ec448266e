//! `--results DIR`: files that a killed run had begun do not hinder the next run.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::guest::{Task, wat};
use crate::support::run::{Run, wasmpool};
use crate::support::until;
use crate::support::wat::{component, echo_string, lift};

/// Returns a command that writes a block to its standard output again and again, for ever if its item begins with an
/// `x`.
fn writes() -> Task {
    wat(r#"
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 1024))
    (i32.store (i32.const 4) (i32.const 64))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 4) (i32.const 65536))
    (loop $more
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
      (br_if $more (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 120))))))"#)
}

fn exec(results: &Path) -> Run {
    wasmpool()
        .arg("exec")
        .task(&writes())
        .args(["--input-format", "lines", "--max-output", "1GiB", "--results"])
        .arg(results)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a directory");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_run_that_was_killed_leaves_a_directory_that_the_next_takes() {
    let folder = TempDir::new().expect("a temporary directory");
    let results = folder.path().join("results");
    let mut host = exec(&results).start();
    let mut input = host.stdin.take().expect("a pipe");
    input.write_all(b"x\n").expect("it reads");
    until("a result that has begun", || {
        fs::read_dir(&results).ok()?.next()?.ok()?.metadata().ok().filter(|part| part.len() > 0)
    });
    host.signal(Signal::SIGKILL);
    host.wait();
    let left = names(&results);
    assert!(left.len() == 1 && left[0].starts_with(".part-"), "{left:?}");
    exec(&results).input("1\n2\n").run().exits(0);
    assert_eq!(names(&results), ["0", "1"]);
    // Results that a run has finished are kept.
    let output = exec(&results).input("1\n").run().exits(2);
    assert!(output.stderr.contains("is not empty"), "{}", output.stderr);
}

#[test]
fn two_runs_do_not_share_a_directory_of_results() {
    let folder = TempDir::new().expect("a temporary directory");
    let mut host = exec(folder.path()).start();
    let mut input = host.stdin.take().expect("a pipe");
    input.write_all(b"x\n").expect("it reads");
    let _begun = until("a result that has begun", || fs::read_dir(folder.path()).ok()?.next()?.ok());
    let output = exec(folder.path()).input("1\n").run().exits(2);
    assert!(output.stderr.contains("another run"), "{}", output.stderr);
    assert_eq!(names(folder.path()).len(), 1);
    host.signal(Signal::SIGKILL);
    host.wait();
}

#[test]
fn what_only_looks_like_a_begun_result_is_left_alone() {
    for name in [".part-mine", ".part-0123456789abcdef.txt", "part-0123456789abcdef", ".part-0123456789ABCDEF"] {
        let folder = TempDir::new().expect("a temporary directory");
        fs::write(folder.path().join(name), "precious").expect("written");
        exec(folder.path()).input("1\n").run().exits(2);
        assert_eq!(fs::read_to_string(folder.path().join(name)).expect("it is there"), "precious");
    }
    let folder = TempDir::new().expect("a temporary directory");
    symlink("/etc/passwd", folder.path().join(".part-0123456789abcdef")).expect("a link");
    exec(folder.path()).input("1\n").run().exits(2);
    assert_eq!(names(folder.path()).len(), 1);
}

#[test]
fn no_other_file_of_the_run_has_the_name_of_a_result() {
    let folder = TempDir::new().expect("a temporary directory");
    let results = folder.path().join("results");
    for option in ["--output", "--failed"] {
        let output = exec(&results).arg(option).arg(results.join("0")).input("1\n").run().exits(2);
        assert!(output.stderr.contains("name of a result"), "{}", output.stderr);
        assert!(!results.exists());
    }
    exec(&results).arg("-o").arg(results.join("list")).input("1\n").run().exits(0);
    assert_eq!(names(&results), ["0", "list"]);
}

#[test]
fn a_result_in_a_file_of_its_own_is_no_item_of_the_same_run() {
    let folder = TempDir::new().expect("a temporary directory");
    let (results, item) = (folder.path().join("results"), folder.path().join("item"));
    fs::write(&item, "1").expect("written");
    symlink("results/0", folder.path().join("link")).expect("a link");
    let run = wasmpool().arg("exec").task(&writes()).args(["--input-format", "files", "--output-format", "records"]);
    let mut host = run.arg("--results").arg(&results).start();
    let mut input = host.stdin.take().expect("a pipe");
    writeln!(input, "{}", item.display()).expect("it reads");
    until("the first result", || results.join("0").exists().then_some(()));
    for name in ["results/0", "link", "results/../results/0"] {
        writeln!(input, "{}", folder.path().join(name).display()).expect("it reads");
    }
    drop(input);
    assert!(host.line().is_some_and(|line| line.contains("\"ok\"")));
    for _ in 0..3 {
        let line = host.line().expect("a record");
        assert!(line.contains("it is written to by this run"), "{line}");
    }
    assert_eq!(host.code(), 1);
}

#[test]
fn a_result_for_which_there_is_no_room_ends_the_run_and_is_no_failure_of_its_item() {
    let folder = TempDir::new().expect("a temporary directory");
    let lines = |items: &[usize]| items.iter().map(|len| "a".repeat(*len) + "\n").collect::<String>();
    let items = lines(&[3, 2_000_000, 3, 3]);
    let map = |name: &str| {
        let run = wasmpool().arg("map").task(&wat(echo_string())).args(["--input-format", "lines"]);
        run.arg("--results").arg(folder.path().join(name)).input(items.clone())
    };
    let runs = [
        ("map", map("map").args(["--output-format", "records"])),
        ("raw", map("raw").args(["--output-format", "raw", "--halt", "now"])),
        // The output of the second item has no end.
        ("exec", exec(&folder.path().join("exec")).args(["--output-format", "records"]).input("1\nx\n2\n")),
    ];
    for (name, run) in runs {
        let (out, failed) = (folder.path().join(format!("{name}.out")), folder.path().join(format!("{name}.failed")));
        let run = run.arg("-o").arg(&out).arg("--failed").arg(&failed).args(["-j", "1", "-c", "1"]);
        let output = run.largest_file(1 << 20).run().exits(2);
        let expected = format!("cannot write the results: {}: File too large", folder.path().join(name).display());
        assert!(output.stderr.contains(&expected), "{name}: {}", output.stderr);
        assert!(!output.stderr.contains("item"), "{name}: {}", output.stderr);
        assert!(!fs::read_to_string(&out).expect("it is there").contains("invalid-output"), "{name}");
        assert_eq!(fs::read_to_string(&failed).unwrap_or_default(), "", "{name}");
        assert_eq!(names(&folder.path().join(name)), ["0"], "{name}");
    }
}

/// `echo: func(item: string) -> string`, which counts for a while before it returns a long item.
fn slow_where_long() -> String {
    let body = r#"
    (func (export "echo") (param i32 i32) (result i32)
      (local $left i32)
      (local.set $left (i32.mul (i32.gt_u (local.get 1) (i32.const 1000)) (i32.const 300000000)))
      (loop $more
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br_if $more (i32.gt_s (local.get $left) (i32.const 0))))
      (i32.store (i32.const 16) (local.get 0))
      (i32.store (i32.const 20) (local.get 1))
      (i32.const 16))"#;
    component(body, &[lift("echo", r#"(param "item" string) (result string)"#)])
}

#[test]
fn behind_a_result_for_which_there_is_no_room_none_is_told() {
    let folder = TempDir::new().expect("a temporary directory");
    for format in ["records", "values", "raw"] {
        let results = folder.path().join(format);
        let out = folder.path().join(format!("{format}.out"));
        // The others are done, and wait for the second, when that turns out to have no room.
        let items = format!("first\n{}\nc\nd\ne\nf\n", "a".repeat(2_000_000));
        let run = wasmpool().arg("map").task(&wat(slow_where_long())).args(["--input-format", "lines"]);
        let run = run.args(["-j", "2", "-c", "1", "--output-format", format]).arg("-o").arg(&out).arg("--results");
        let output = run.arg(&results).input(items).largest_file(1 << 20).run().exits(2);
        assert!(output.stderr.contains("cannot write the results"), "{}", output.stderr);
        let told = fs::read_to_string(&out).expect("it is there");
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(told.contains(&results.join("0").display().to_string()), "{told}");
        assert!(results.join("5").exists(), "the others were not done before it");
    }
}

#[test]
fn a_link_to_the_name_of_a_result_is_that_name() {
    let folder = TempDir::new().expect("a temporary directory");
    let results = folder.path().join("results");
    symlink("results/0", folder.path().join("link")).expect("a link");
    for option in ["--output", "--failed"] {
        let output = exec(&results).arg(option).arg(folder.path().join("link")).input("1\n").run().exits(2);
        assert!(output.stderr.contains("name of a result"), "{}", output.stderr);
        assert!(!results.exists());
    }
}

#[test]
fn a_begun_result_that_the_run_reads_is_not_removed() {
    let folder = TempDir::new().expect("a temporary directory");
    let (results, list) = (folder.path().join("results"), folder.path().join("list"));
    fs::create_dir(&results).expect("made");
    let left = results.join(".part-0123456789abcdef");
    fs::write(&left, "1\n").expect("written");
    fs::write(&list, format!("{}\n", left.display())).expect("written");
    for (run, what) in [
        (exec(&results).arg(&left), "is also an input"),
        (
            wasmpool()
                .arg("exec")
                .task(&writes())
                .arg("--results")
                .arg(&results)
                .arg("--input-format=files")
                .arg(&list),
            "is also an item",
        ),
    ] {
        let output = run.run().exits(2);
        assert!(output.stderr.contains(what) && output.stderr.contains("--results"), "{}", output.stderr);
        assert_eq!(fs::read_to_string(&left).expect("it is there"), "1\n");
    }
    exec(&results).input("1\n").run().exits(0);
    assert_eq!(names(&results), ["0"]);
}

/// Returns a run of a task that gives back what it gets, with results in files named by a template.
fn named(format: &str, results: &Path, template: &str) -> Run {
    let run =
        wasmpool().arg("map").task(&wat(echo_string())).args(["--input-format", format, "--results-name", template]);
    run.arg("--results").arg(results)
}

#[test]
fn results_are_named_by_their_items() {
    let folder = TempDir::new().expect("a temporary directory");
    let results = |name: &str| folder.path().join(name);
    let read = |dir: &str, name: &str| fs::read_to_string(results(dir).join(name)).expect("it is there");
    let files = ["photo.tar.png", "plain"].map(|name| {
        fs::write(results(name), name).expect("written");
        results(name).display().to_string()
    });
    let output = named("files", &results("files"), "{/.}-{#}.out").input(files.join("\n")).run().exits(0);
    assert_eq!(names(&results("files")), ["photo.tar-0.out", "plain-1.out"]);
    assert_eq!(read("files", "plain-1.out"), "plain");
    assert!(output.text().contains("plain-1.out"), "{}", output.text());
    named("lines", &results("lines"), "{}.txt").input("a b\nc\n").run().exits(0);
    assert_eq!(names(&results("lines")), ["a b.txt", "c.txt"]);
    named("jsonl", &results("jsonl"), "{.}.txt").input("\"a.b\"\n").run().exits(0);
    assert_eq!(names(&results("jsonl")), ["a.txt"]);
    let (csv, body) = (results("csv"), r#"(func (export "minus") (param i64 i64) (result i64) (local.get 0))"#);
    let minus = component(body, &[lift("minus", r#"(param "from" s64) (param "take" s64) (result s64)"#)]);
    let run = wasmpool().arg("map").task(&wat(minus)).args(["--input-format", "csv", "--results-name", "{id}.txt"]);
    run.arg("--results").arg(&csv).input("from,take,id\n1,2,a\n3,4,b\n").run().exits(0);
    assert_eq!((names(&csv), &*read("csv", "b.txt")), (vec!["a.txt".to_owned(), "b.txt".to_owned()], "3"));
}

#[test]
fn no_result_replaces_another_or_leaves_the_directory() {
    let folder = TempDir::new().expect("a temporary directory");
    let results = folder.path().join("results");
    let items = "a\nb\na\n../c\n\n.hidden\n";
    // One worker, since of two items that run at once either may be the first to have the name.
    let run = named("lines", &results, "{}").args(["-j", "1", "--output-format", "records"]);
    let output = run.input(items).run().exits(1);
    assert_eq!(output.kinds(), ["ok", "ok", "invalid-output", "invalid-output", "invalid-output", "invalid-output"]);
    assert_eq!(names(&results), ["a", "b"]);
    assert_eq!(names(folder.path()), ["results"]);
    let message = output.records()[2].message().to_owned();
    assert!(message.contains("`a`") && message.contains("--results-name"), "{message}");
    for (template, said) in [("x", "same for every item"), ("a/{#}", "holds a `/`"), ("{", "not closed")] {
        let output = named("lines", &folder.path().join("none"), template).input("a\n").run().exits(2);
        assert!(output.stderr.contains(said), "{}", output.stderr);
    }
    let run = wasmpool().arg("map").task(&wat(echo_string())).args(["--results-name", "{}"]).input("\"a\"\n");
    assert!(run.run().exits(2).stderr.contains("add --results DIR"));
}

#[test]
fn of_items_that_run_at_once_and_name_the_same_file_one_has_it() {
    let folder = TempDir::new().expect("a temporary directory");
    let results = folder.path().join("results");
    let run = named("lines", &results, "{.}").args(["-j", "4", "-c", "1", "--output-format", "records"]);
    let items: String = (0..100).map(|index| format!("a.{index}\n")).collect();
    let output = run.input(items).run().exits(1);
    let ok: Vec<_> = (0..100).filter(|&at| output.records()[at].kind() == "ok").collect();
    assert_eq!((ok.len(), names(&results)), (1, vec!["a".to_owned()]), "{}", output.text());
    assert_eq!(fs::read_to_string(results.join("a")).expect("it is there"), format!("a.{}", ok[0]));
}

#[test]
fn the_result_of_an_item_that_runs_again_is_named_by_its_first_index() {
    let folder = TempDir::new().expect("a temporary directory");
    let results = folder.path().join("results");
    let line = |index: u64| {
        format!(
            r#"{{"wasmpool":"failed","form":"json","input":"x{index}","index":{index},"status":"failed","message":"m"}}"#
        )
    };
    let items = [line(41), line(7), "\"own\"".to_owned(), line(41), line(2)].join("\n");
    // One worker, since of two items that run at once either may be the first to have the name.
    let run =
        wasmpool().arg("map").task(&wat(echo_string())).args(["-j", "1", "--output-format", "records", "--results"]);
    let output = run.arg(&results).input(items).run().exits(1);
    let kinds: Vec<_> = output.records().iter().map(|record| (record.index(), record.kind().to_owned())).collect();
    let wanted = [(41, "ok"), (7, "ok"), (2, "ok"), (41, "invalid-output"), (2, "invalid-output")];
    assert_eq!(kinds, wanted.map(|(index, kind)| (index, kind.to_owned())));
    assert_eq!(names(&results), ["2", "41", "7"]);
    assert_eq!(fs::read_to_string(results.join("41")).expect("it is there"), "x41");
}

#[test]
fn results_in_files_are_all_there_after_a_run_that_was_killed_and_resumed() {
    for template in ["{#}", "{}.out"] {
        let folder = TempDir::new().expect("a temporary directory");
        let results = folder.path().join("results");
        let items = "1\n2\nx\n3\n4\n";
        let run = |timeout: &str| {
            let run = exec(&results).args(["-j", "1", "-c", "1", "--timeout", timeout, "--results-name", template]);
            run.arg("--journal").arg(folder.path().join("journal")).arg("--resume")
        };
        let mut host = run("10m").start();
        let mut input = host.stdin.take().expect("a pipe");
        input.write_all(items.as_bytes()).expect("it reads");
        let second = template.replace("{#}", "1").replace("{}", "2");
        until("the second result", || results.join(&second).exists().then_some(()));
        host.signal(Signal::SIGKILL);
        host.wait();
        // An item of the earlier run has a file that nobody has promised; it is written again.
        let output = run("1s").input(items).run().exits(1);
        // A quick machine writes more than is allowed before the time is up.
        assert!(output.stderr.contains("1 of 5 items failed: 1 "), "{}", output.stderr);
        let wanted = ["0", "1", "3", "4"].iter().zip(["1", "2", "3", "4"]);
        let wanted: Vec<_> = wanted.map(|(index, item)| template.replace("{#}", index).replace("{}", item)).collect();
        assert_eq!(names(&results), wanted);
        for name in &wanted {
            assert_eq!(fs::metadata(results.join(name)).expect("it is there").len(), 65_536, "{name}");
        }
        // Nothing is left to do; and a directory that is gone is missed.
        run("1s").input(items).run().exits(1);
        fs::remove_dir_all(&results).expect("removed");
        let output = run("1s").input(items).run().exits(2);
        assert!(output.stderr.contains("is gone"), "{}", output.stderr);
    }
}
