//! `--dry-run` says what would run, runs nothing and touches no file; `--first` takes only the first items.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use tempfile::TempDir;

use crate::support::guest::{built, wat};
use crate::support::run::{Run, map, wasmpool};
use crate::support::wat::{SQUARE, minus};

/// Returns every file below a directory, with the time when it was changed last.
fn files(directory: &Path) -> BTreeMap<String, SystemTime> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        let changed = fs::symlink_metadata(&path).and_then(|about| about.modified()).expect("its time");
        found.insert(path.display().to_string(), changed);
        found.extend(files(&path));
    }
    found
}

#[test]
fn a_dry_run_says_what_would_run() {
    let folder = TempDir::new().expect("a temporary directory");
    let items = folder.path().join("items.jsonl");
    fs::write(&items, "3\n\n4\n5\n").expect("written");
    let run = map(&wat(minus())).arg(&items).args(["--arg", "take=1", "-j", "3", "--timeout", "2s", "--dry-run"]);
    let output = run.args(["--env", "TOKEN=secret", "--memory", "64MiB", "-o", "out.jsonl"]).run().exits(0);
    for line in [
        "function: minus: func(from: s64, take: s64) -> s64",
        "items: 3, read as jsonl",
        "first item: 3",
        "results: to out.jsonl, as values, in the order of the input",
        "workers: 3 at most",
        "limits of an item: 2s of time, 64 MiB of memory, a result of 16 MiB",
        "grant: env TOKEN",
        "sandbox: strict; all that it needs is here",
        "nothing was run",
    ] {
        assert!(output.text().lines().any(|shown| shown == line), "{line} is not in:\n{}", output.text());
    }
    assert!(!output.text().contains("secret"), "{}", output.text());
}

#[test]
fn a_dry_run_runs_nothing_and_touches_no_file() {
    let folder = TempDir::new().expect("a temporary directory");
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("granted")).expect("a directory");
    fs::create_dir(path("cache")).expect("a directory");
    fs::write(path("items"), "write /d/made text\n").expect("written");
    fs::write(path("out"), "before").expect("written");
    let before = files(folder.path());
    let run = map(&built("reach")).args(["-f", "act", "--input-format", "lines", "--dry-run"]).arg(path("items"));
    let run = run.arg("--dir").arg(format!("{}::/d:rw", path("granted").display()));
    let run = run.arg("-o").arg(path("out")).arg("--journal").arg(path("journal")).arg("--failed").arg(path("failed"));
    let output = run.env("WASMPOOL_CACHE_DIR", path("cache")).run().exits(0);
    assert!(output.text().contains("nothing was run"), "{}", output.text());
    assert_eq!(files(folder.path()), before);
}

#[test]
fn a_dry_run_finds_what_a_run_would_refuse() {
    let refused = |run: Run, code: i32, names: &[&str]| {
        let output = run.arg("--dry-run").input("\"x\"\n").run().exits(code);
        let said = format!("{}{}", output.text(), output.stderr);
        assert!(names.iter().all(|name| said.contains(name)), "{names:?} is not in: {said}");
    };
    refused(map(&wat(SQUARE)), 1, &["the first item does not fit", "\"x\""]);
    refused(map(&wat(SQUARE)).args(["-f", "squre"]), 2, &["squre", "square"]);
    refused(map(&wat(minus())).args(["--arg", "take=x"]), 2, &["take", "s64"]);
    refused(map(&wat(SQUARE)).arg("/nowhere/items"), 2, &["/nowhere/items"]);
    refused(map(&wat(SQUARE)).args(["--dir", "/nowhere::/d"]), 2, &["/nowhere", "--dir"]);
    refused(wasmpool().arg("map").arg("/nowhere/task.wasm"), 2, &["/nowhere/task.wasm"]);
    let share = ["--share", "q=queue:1", "--share-in", "/nowhere/file"];
    refused(map(&wat(SQUARE)).args(share), 2, &["/nowhere/file"]);
    for option in ["-o", "--failed", "--journal", "--report", "--trace"] {
        let file = if option == "--report" { "/nowhere/file.html" } else { "/nowhere/file" };
        refused(map(&wat(SQUARE)).args([option, file]), 2, &[file]);
    }
}

#[test]
fn a_dry_run_finds_files_that_a_run_would_not_write_into() {
    let folder = TempDir::new().expect("a temporary directory");
    let path = |name: &str| folder.path().join(name);
    let journal = path("journal");
    let begun = || map(&wat(SQUARE)).arg("-o").arg(path("out")).arg("--journal").arg(&journal).input("3\n");
    begun().run().exits(0);
    fs::create_dir(path("results")).expect("a directory");
    fs::write(path("results").join("0"), "9").expect("written");
    let before = files(folder.path());
    let again = begun().arg("--dry-run").run().exits(2);
    assert!(again.stderr.contains("--resume"), "{}", again.stderr);
    let resumed = begun().args(["--dry-run", "--resume"]).run().exits(0);
    assert!(resumed.text().contains("with 1 done before"), "{}", resumed.text());
    let full = map(&wat(SQUARE)).arg("--results").arg(path("results")).arg("--dry-run").input("3\n").run().exits(2);
    assert!(full.stderr.contains("results"), "{}", full.stderr);
    let new = map(&wat(SQUARE)).arg("--results").arg(path("new")).arg("--dry-run").input("3\n").run();
    new.exits(0);
    assert_eq!(files(folder.path()), before);
}

#[test]
fn a_dry_run_finds_columns_that_a_run_would_refuse() {
    let folder = TempDir::new().expect("a temporary directory");
    let rows = folder.path().join("rows.csv");
    fs::write(&rows, "from,value\n3,x\n").expect("written");
    let refused = |more: &[&str], name: &str| {
        let run = map(&wat(minus())).arg(&rows).args(["--input-format", "csv", "--arg", "take=1", "--dry-run"]);
        let output = run.args(more).run().exits(2);
        assert!(output.stderr.contains(name), "{}", output.stderr);
    };
    refused(&["--keep", "value", "--output-format", "csv"], "`value`");
    refused(&["--keep", "other"], "`other`");
    let results = folder.path().join("results").display().to_string();
    refused(&["--results", &results, "--results-name", "{other}"], "`other`; it has `from`, `value`");
}

#[test]
fn a_dry_run_says_where_everything_goes() {
    let folder = TempDir::new().expect("a temporary directory");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let run = map(&wat(SQUARE)).args(["--failed", &file("failed"), "--journal", &file("journal"), "-o", &file("out")]);
    let run = run.args(["--report", &file("run.html"), "--trace", &file("trace"), "--halt", "soon,fail=3"]);
    let output = run.args(["--retries", "2", "--retry-on", "timeout", "--dry-run"]).input("3\n").run().exits(0);
    let wanted = [
        format!("failed items: to {}", file("failed")),
        format!("journal: {}", file("journal")),
        format!("report: to {}", file("run.html")),
        format!("trace: to {}", file("trace")),
        "retries: 2 of an item that fails by timeout".to_owned(),
        "halt: soon,fail=3".to_owned(),
    ];
    for line in wanted {
        assert!(output.text().lines().any(|shown| shown == line), "{line} is not in:\n{}", output.text());
    }
}

#[test]
fn a_dry_run_of_commands_and_of_several_tasks_names_them() {
    let task = wat(r#"(module (memory (export "memory") 1) (func (export "_start")))"#);
    let run = wasmpool().arg("exec").task(&task).args(["--dry-run", "--", "--number", "{}"]).input("1\n");
    let output = run.run().exits(0);
    assert!(output.text().contains("command: ") && output.text().contains("--number"), "{}", output.text());
    let two = ["one", "two"].map(|name| format!("{name}={}", task_path(&wat(SQUARE))));
    let run = wasmpool().args(["map", "--task", &two[0], "--task", &two[1], "--dry-run"]).input("1\n");
    let output = run.run().exits(2);
    assert!(!output.stderr.is_empty(), "the files of the tasks are gone");
    let square = wat(SQUARE);
    let two = ["one", "two"].map(|name| format!("{name}={}", task_path(&square)));
    let run = wasmpool().args(["map", "--task", &two[0], "--task", &two[1], "--dry-run"]).input("1\n");
    let output = run.run().exits(0);
    assert!(output.text().contains("task one: ") && output.text().contains("task two: "), "{}", output.text());
}

/// The message system is not asked, so none has to be there.
#[test]
fn a_dry_run_over_hosts_does_not_say_what_this_machine_would_do() {
    let task = wat(SQUARE);
    let run =
        |more: &[&str]| map(&task).args(["--dry-run", "--via", "nats://127.0.0.1:1"]).args(more).input("1\n").run();
    for (more, chunks) in [(&["-j", "5"][..], "5 at most"), (&[], "twice as many as their workers")] {
        let output = run(more).exits(0);
        for said in ["machines: those that serve at nats://127.0.0.1:1", chunks, "sandbox: each host has its own"] {
            assert!(output.text().contains(said), "no `{said}` in: {}", output.text());
        }
        for unsaid in ["workers: ", "is here"] {
            assert!(!output.text().contains(unsaid), "`{unsaid}` in: {}", output.text());
        }
    }
}

fn task_path(task: &crate::support::guest::Task) -> String {
    task.path().display().to_string()
}

/// A pipe may never end, so a dry run does not wait for its end.
#[test]
fn a_dry_run_reads_no_further_than_the_first_item_of_a_pipe() {
    let run = map(&wat(SQUARE)).arg("--dry-run").feed(|pipe| {
        use std::io::Write;
        // The other end is closed once the run has said what it would do.
        while pipe.write_all(b"3\n").is_ok() {}
        Ok(())
    });
    let output = run.run().exits(0);
    assert!(output.text().contains("which are not counted"), "{}", output.text());
}

#[test]
fn only_the_first_items_are_taken() {
    let task = wat(SQUARE);
    for (input, format) in [("1\n2\n3\n4\n", "jsonl"), ("\n1\n\n2\n3", "jsonl")] {
        let run = map(&task).args(["--first", "2", "--input-format", format]).input(input);
        assert_eq!(run.run().exits(0).text(), "1\n4\n");
    }
    assert_eq!(map(&task).args(["--first", "9"]).input("1\n2\n").run().exits(0).text(), "1\n4\n");
    let csv = map(&wat(minus())).args(["--first", "1", "--input-format", "csv"]).input("from,take\n5,3\nx,y\n");
    assert_eq!(csv.run().exits(0).text(), "2\n");
    let failing = map(&task).args(["--first", "1"]).input("\"x\"\n2\n").run().exits(1);
    assert!(failing.stderr.contains("1 of 1"), "{}", failing.stderr);
}

#[test]
fn a_pipe_is_not_read_beyond_the_first_items() {
    let run = map(&wat(SQUARE)).args(["--first", "1000"]).feed(|pipe| {
        use std::io::Write;
        while pipe.write_all(b"3\n").is_ok() {}
        Ok(())
    });
    assert_eq!(run.run().exits(0).text(), "9\n".repeat(1000));
}

#[test]
fn a_journal_knows_its_run_by_the_number_of_items() {
    let folder = TempDir::new().expect("a temporary directory");
    let path = |name: &str| folder.path().join(name);
    fs::write(path("items"), "1\n2\n3\n").expect("written");
    let run = |first: &[&str]| {
        let run = map(&wat(SQUARE)).arg(path("items")).arg("--journal").arg(path("journal")).arg("--resume");
        run.arg("-o").arg(path("out")).args(first)
    };
    run(&["--first", "2"]).run().exits(0);
    run(&["--first", "2"]).run().exits(0);
    assert_eq!(fs::read_to_string(path("out")).expect("results"), "1\n4\n");
    for other in [&["--first", "3"][..], &[]] {
        let output = run(other).run().exits(2);
        assert!(output.stderr.contains("--first"), "{}", output.stderr);
    }
}

#[test]
fn a_number_of_items_that_is_none_is_refused() {
    for number in ["0", "-1", "few", "1.5"] {
        let output = map(&wat(SQUARE)).arg(format!("--first={number}")).input("1\n").run().exits(2);
        assert!(output.stderr.contains("--first") && output.stderr.contains(number), "{}", output.stderr);
    }
}
