//! A run never writes a file that it also reads, or one file for two purposes: such a run is refused before anything is
//! touched.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::guest::wat;
use crate::support::run::{Output, Run, wasmpool};
use crate::support::until;
use crate::support::wat::SQUARE;

/// A directory with all the files of a run, and other names for each.
struct Place(TempDir);

const FILES: [(&str, &str); 4] = [
    ("task.wat", SQUARE),
    ("items", "3\n4\n"),
    ("policy.toml", "[limits]\ntimeout = '10s'\n"),
    ("plugin.toml", "wasm = 'task.wat'\n"),
];

impl Place {
    fn new() -> Place {
        let place = Place(TempDir::new().expect("a temporary directory"));
        for (name, text) in FILES {
            std::fs::write(place.path(name), text).expect("written");
            symlink(name, place.path(&format!("link-{name}"))).expect("a link");
            std::fs::hard_link(place.path(name), place.path(&format!("hard-{name}"))).expect("a link");
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn map(&self) -> Run {
        wasmpool()
            .arg("map")
            .arg(self.path("task.wat"))
            .arg(self.path("items"))
            .arg("--policy")
            .arg(self.path("policy.toml"))
    }

    /// Returns every name in it, with the content that it leads to.
    fn all(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = std::fs::read_dir(self.0.path()).expect("a directory");
        let mut all: Vec<_> = entries
            .map(|entry| entry.expect("an entry").path())
            .map(|path| (path.clone(), std::fs::read(path).expect("a file")))
            .collect();
        all.sort();
        all
    }

    /// Checks that a run is refused, and that nothing is changed or made.
    #[track_caller]
    fn refused(&self, run: Run, says: &str) -> Output {
        let before = self.all();
        let output = run.run().exits(2);
        assert!(output.stderr.contains(says), "{says} is not in: {}", output.stderr);
        assert_eq!(self.all(), before, "{}", output.stderr);
        output
    }
}

#[test]
fn a_file_that_the_run_reads_is_not_written_under_any_name() {
    let place = Place::new();
    let what = ["the task", "an input", "the file of --policy", "the plugin's manifest"];
    for option in ["--output", "--failed", "--journal"] {
        for ((name, _), what) in FILES.iter().zip(what) {
            for other in [(*name).to_owned(), format!("link-{name}"), format!("hard-{name}")] {
                place.refused(place.map().arg(option).arg(place.path(&other)), &format!("is also {what}"));
            }
        }
    }
}

#[test]
fn a_file_that_standard_input_comes_from_is_not_written() {
    let place = Place::new();
    for option in ["--output", "--failed", "--journal"] {
        for name in [place.path("items"), "/dev/stdin".into(), "/proc/self/fd/0".into()] {
            let run = wasmpool().arg("map").arg(place.path("task.wat")).arg(option).arg(name);
            place.refused(run.stdin_from(File::open(place.path("items")).expect("it is there")), "is also an input");
        }
    }
    let run = wasmpool().args(["map", "-"]).arg(place.path("items")).arg("-o").arg(place.path("task.wat"));
    place.refused(run.stdin_from(File::open(place.path("task.wat")).expect("it is there")), "is also the task");
}

#[test]
fn standard_output_that_is_read_by_the_run_is_refused_as_cat_does() {
    let place = Place::new();
    let append = |path: &Path| OpenOptions::new().append(true).open(path).expect("it is there");
    let what = ["the task", "an input", "the file of --policy", "the plugin's manifest"];
    for ((name, _), what) in FILES.iter().zip(what) {
        let output = place.refused(
            place.map().stdout_to(append(&place.path(name))),
            &format!("standard output is also {what}: input file is output file"),
        );
        assert_eq!(output.text(), "");
    }
    let run = wasmpool().arg("map").arg(place.path("task.wat"));
    let run = run.stdin_from(File::open(place.path("items")).expect("it is there"));
    place.refused(run.stdout_to(append(&place.path("items"))), "input file is output file");
    let alone = wat(SQUARE);
    let several = wasmpool().arg("map").arg("--task").arg(format!("a={}", alone.path().display()));
    place
        .refused(several.arg(place.path("items")).stdout_to(append(&place.path("items"))), "input file is output file");
    for run in [
        wasmpool().arg("inspect").arg(place.path("task.wat")),
        wasmpool().arg("call").arg(place.path("task.wat")).args(["square", "3"]),
    ] {
        place.refused(run.stdout_to(append(&place.path("task.wat"))), "input file is output file");
    }
}

#[test]
fn what_is_no_file_on_a_disk_may_be_read_and_written() {
    let place = Place::new();
    let null = || OpenOptions::new().read(true).write(true).open("/dev/null").expect("it is there");
    let run = wasmpool().arg("map").arg(place.path("task.wat"));
    run.stdin_from(null()).stdout_to(null()).run().exits(0);
    let run = place.map().args(["-o", "/dev/null", "--failed", "/dev/null"]);
    run.run().exits(0);
    let output = place.map().args(["--failed", "/dev/stderr", "-o", "/dev/stdout"]).run().exits(0);
    assert_eq!(output.text(), "9\n16\n");
}

#[test]
fn two_things_are_not_written_to_one_file() {
    let place = Place::new();
    std::fs::write(place.path("there"), "precious").expect("written");
    symlink("there", place.path("link")).expect("a link");
    let both = |one: &str, a: &str, other: &str, b: &str| {
        let run = place.map().arg(one).arg(place.path(a)).arg(other).arg(place.path(b));
        place.refused(run, "is also ");
    };
    for (one, other) in [("--output", "--failed"), ("--output", "--journal"), ("--failed", "--journal")] {
        for (a, b) in [("there", "there"), ("there", "link"), ("new", "new"), ("new", "./new")] {
            both(one, a, other, b);
            both(one, b, other, a);
        }
    }
    let there = || OpenOptions::new().append(true).open(place.path("there")).expect("it is there");
    place.refused(place.map().arg("--failed").arg(place.path("there")).stdout_to(there()), "is also standard output");
    place.map().arg("-o").arg(place.path("link")).stderr_to(there()).run().exits(2);
    let said = std::fs::read_to_string(place.path("there")).expect("it is there");
    assert!(said.starts_with("precious") && said.contains("is also standard error"), "{said}");
    std::fs::write(place.path("there"), "precious").expect("written");
    // Like `> all 2>&1`, which a shell's user may do on purpose.
    place.map().stdout_to(there()).stderr_to(there()).run().exits(0);
    assert_eq!(std::fs::read_to_string(place.path("there")).expect("it is there"), "precious9\n16\n");
}

#[test]
fn standard_error_that_is_read_by_the_run_is_refused() {
    let place = Place::new();
    let append = |path: &Path| OpenOptions::new().append(true).open(path).expect("it is there");
    let what = ["the task", "an input", "the file of --policy", "the plugin's manifest"];
    for ((name, text), what) in FILES.iter().zip(what) {
        for results in [&["-o", "/dev/null"][..], &[]] {
            place.map().args(results).stderr_to(append(&place.path(name))).run().exits(2);
            // Not even the error message is written there.
            let after = std::fs::read_to_string(place.path(name)).expect("it is there");
            assert_eq!(&after, text, "{what}");
        }
    }
}

/// Returns a run over a list of files, with records.
fn over_files(place: &Place) -> Run {
    let run = wasmpool().arg("map").arg(place.path("task.wat"));
    run.args(["--input-format", "files", "--output-format", "records"])
}

/// Makes a file of the user's, and returns all names that may lead to it.
fn precious(place: &Place) -> [String; 4] {
    std::fs::write(place.path("there"), "precious").expect("written");
    symlink("there", place.path("link")).expect("a link");
    std::fs::hard_link(place.path("there"), place.path("hard")).expect("a link");
    ["there", "./there", "link", "hard"].map(|name| place.path(name).display().to_string())
}

#[test]
fn a_file_that_a_list_names_is_not_written_over_under_any_name() {
    let place = Place::new();
    let names = precious(&place);
    // The file is the last of many, so that no block of the list holds all of them.
    let others = format!("{}\n", place.path("items").display()).repeat(20_000);
    for (option, named) in ["--output", "--failed"].into_iter().flat_map(|o| names.iter().map(move |n| (o, n))) {
        for listed in &names {
            std::fs::write(place.path("list"), format!("{others}{listed}")).expect("written");
            let run = over_files(&place).arg(place.path("list")).arg(option).arg(named);
            place.refused(run, "is also an item");
        }
    }
    let stdin = || File::open(place.path("list")).expect("it is there");
    place.refused(over_files(&place).stdin_from(stdin()).arg("-o").arg(&names[0]), "is also an item");
    // A line of `--failed` names a file, too.
    let later = place.path("later");
    let run = over_files(&place).input(later.display().to_string()).arg("--failed").arg(place.path("failed"));
    run.run().exits(1);
    std::fs::write(&later, "precious").expect("written");
    place.refused(over_files(&place).arg(place.path("failed")).arg("-o").arg(&later), "is also an item");
    std::fs::write(place.path("list"), &names[0]).expect("written");
    let alone = wat(SQUARE);
    let several = wasmpool().arg("map").arg("--task").arg(format!("a={}", alone.path().display()));
    let several = several.args(["--input-format", "files", "-o"]).arg(&names[0]);
    place.refused(several.arg(place.path("list")), "is also an item");
}

#[test]
fn a_list_that_is_looked_through_is_then_read_from_where_it_began() {
    let place = Place::new();
    precious(&place);
    let item = place.path("items").display().to_string();
    std::fs::write(place.path("list"), format!("{item}\n{item}\n{item}\n")).expect("written");
    over_files(&place).arg(place.path("list")).arg("-o").arg(place.path("there")).run().exits(1);
    let records =
        || crate::support::record::records(&std::fs::read_to_string(place.path("there")).expect("it is there"));
    assert_eq!(records().len(), 3);
    let mut list = File::open(place.path("list")).expect("it is there");
    std::io::Seek::seek(&mut list, std::io::SeekFrom::Start(item.len() as u64 + 1)).expect("a file");
    over_files(&place).stdin_from(list).arg("-o").arg(place.path("there")).run().exits(1);
    assert_eq!(records().len(), 2);
}

#[test]
fn a_file_that_holds_something_is_not_written_over_while_a_pipe_may_still_name_it() {
    let place = Place::new();
    let names = precious(&place);
    for option in ["--output", "--failed"] {
        for listed in [&names[0], &names[3], &place.path("items").display().to_string()] {
            let run = over_files(&place).arg(option).arg(&names[1]).input(listed.clone());
            place.refused(run, "standard input is no file on a disk");
        }
    }
    // A file that does not exist, or is empty, cannot be lost; and an input that names no files loses none.
    let item = place.path("items").display().to_string();
    over_files(&place).arg("-o").arg(place.path("new")).input(item).run().exits(1);
    place.map().arg("-o").arg(place.path("there")).run().exits(0);
    assert_eq!(std::fs::read_to_string(place.path("there")).expect("it is there"), "9\n16\n");
}

#[test]
fn a_run_over_files_that_was_killed_at_once_goes_on_with_a_list_from_a_pipe() {
    let place = Place::new();
    let item = format!("{}\n", place.path("items").display());
    let run = || {
        let run = over_files(&place).arg("-o").arg(place.path("out")).arg("--failed").arg(place.path("failed"));
        run.arg("--resume").arg("--journal").arg(place.path("journal"))
    };
    let mut host = run().start();
    let mut input = host.stdin.take().expect("a pipe");
    input.write_all(item.as_bytes()).expect("it reads");
    until("something is written", || std::fs::metadata(place.path("out")).ok().filter(|out| out.len() > 0));
    host.signal(Signal::SIGKILL);
    host.wait();
    run().input(item.repeat(2)).run().exits(1);
    let records = crate::support::record::records(&std::fs::read_to_string(place.path("out")).expect("it is there"));
    assert_eq!(records.len(), 2);
}

#[test]
fn a_run_that_is_interrupted_while_it_waits_for_a_header_has_made_nothing() {
    let place = Place::new();
    let before = place.all();
    let run = wasmpool().arg("map").arg(place.path("task.wat")).args(["--input-format", "csv"]);
    let run = run.arg("-o").arg(place.path("new")).arg("--failed").arg(place.path("failed"));
    let mut host = run.arg("--journal").arg(place.path("journal")).start();
    let mut input = host.stdin.take().expect("a pipe");
    // No pipe holds that much: the host is reading the first row.
    input.write_all(&[b'x'; 300_000]).expect("it reads");
    host.signal(Signal::SIGINT);
    host.wait();
    assert_eq!(place.all(), before);
}

#[test]
fn a_file_that_becomes_the_output_is_not_read_as_an_item_or_an_input() {
    let place = Place::new();
    let output = place.path("results");
    std::fs::write(&output, "").expect("written");
    let paths = format!("{}\n{}\n", place.path("items").display(), output.display());
    let run = wasmpool().arg("map").arg(place.path("task.wat")).args(["--input-format", "files", "-o"]).arg(&output);
    let ended = run.args(["--output-format", "records"]).input(paths).run().exits(1);
    let records = crate::support::record::records(&std::fs::read_to_string(&output).expect("it is there"));
    assert!(records[1].message().contains("is written to by this run"), "{}", ended.stderr);
}

#[test]
fn a_list_with_a_mark_in_front_names_its_first_file_too() {
    let place = Place::new();
    let names = precious(&place);
    std::fs::write(place.path("list"), format!("\u{feff}{}\n", names[0])).expect("written");
    for option in ["--output", "--failed"] {
        place.refused(over_files(&place).arg(place.path("list")).arg(option).arg(&names[0]), "is also an item");
    }
}

#[test]
fn a_journal_is_not_written_anew_over_something_else_of_the_run() {
    let place = Place::new();
    let beside = place.path("journal.new");
    for option in ["--output", "--failed"] {
        let run = || place.map().arg(option).arg(&beside).arg("--journal").arg(place.path("journal"));
        place.refused(run(), "is written anew as");
        std::fs::write(&beside, "precious").expect("written");
        place.refused(run(), "is written anew as");
        std::fs::remove_file(&beside).expect("it is there");
    }
    std::fs::write(&beside, "3\n").expect("written");
    let run = wasmpool().arg("map").arg(place.path("task.wat")).arg(&beside);
    place.refused(run.arg("--journal").arg(place.path("journal")), "is written anew as");
}

#[test]
fn an_input_that_cannot_be_read_from_its_beginning_leaves_the_output_as_it_was() {
    let place = Place::new();
    std::fs::write(place.path("there"), "precious").expect("written");
    std::fs::write(place.path("utf-16"), b"\xff\xfe3\0\n\0").expect("written");
    let run = wasmpool().arg("map").arg(place.path("task.wat")).arg(place.path("utf-16"));
    place.refused(run.arg("-o").arg(place.path("there")), "UTF-16");
}

#[test]
fn a_task_may_not_write_where_the_cache_keeps_machine_code() {
    let place = Place::new();
    let grant = format!("--dir={}::/d:rw", place.path("").display());
    // A task without a plugin's manifest beside it, which would ask for less.
    let task = wat(SQUARE);
    let map = || wasmpool().arg("map").arg(task.path()).arg(place.path("items"));
    let run = |cache: &Path| map().arg(&grant).env("WASMPOOL_CACHE_DIR", cache);
    for cache in ["cache", "not/yet", "."] {
        place.refused(run(&place.path(cache)), "the cache of compiled tasks");
    }
    run(Path::new("")).run().exits(0);
    let elsewhere = TempDir::new().expect("a temporary directory");
    run(elsewhere.path()).run().exits(0);
    map().arg(grant.replace(":rw", "")).env("WASMPOOL_CACHE_DIR", place.path("cache")).run().exits(0);
}
