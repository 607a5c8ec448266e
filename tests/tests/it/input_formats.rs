//! `--input-format`: where an item ends and what it is.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;
use tempfile::TempDir;

use crate::support::guest::{Task, wat};
use crate::support::run::{Run, map};
use crate::support::wat::{SQUARE, component, echo_bytes, echo_string, lift, minus};

#[track_caller]
fn prints(task: &Task, args: &[&str], input: &str, wanted: &str) {
    let output = map(task).args(args).input(input).run().exits(0);
    assert_eq!(output.text(), wanted, "with {args:?}");
}

/// Returns `second: func(first: string, second: string) -> string`.
fn second() -> Task {
    wat(component(
        r#"
    (func (export "second") (param i32 i32 i32 i32) (result i32)
      (i32.store (i32.const 16) (local.get 2))
      (i32.store (i32.const 20) (local.get 3))
      (i32.const 16))"#,
        &[lift("second", r#"(param "first" string) (param "second" string) (result string)"#)],
    ))
}

#[test]
fn jsonl_is_a_value_per_line_whatever_space_is_around_it() {
    prints(&wat(SQUARE), &[], " 2 \n\t3\r\n4\n", "4\n9\n16\n");
    prints(&wat(minus()), &[], "[ 3 , 1 ]\n{ \"take\" : 1, \"from\" : 3 }\n", "2\n2\n");
}

#[test]
fn each_of_the_lines_is_a_string() {
    let input = "7\n\"quoted\"\n\n{\"a\":1}\n grüße \\n 😀\n";
    let wanted = "\"7\"\n\"\\\"quoted\\\"\"\n\"\"\n\"{\\\"a\\\":1}\"\n\" grüße \\\\n 😀\"\n";
    prints(&wat(echo_string()), &["--input-format", "lines"], input, wanted);
}

#[test]
fn each_of_the_lines_is_its_bytes_where_bytes_are_wanted() {
    let output =
        map(&wat(echo_bytes())).args(["--input-format", "lines"]).input(*b"abc\n\xff\x00\xfe\n\n").run().exits(0);
    assert_eq!(output.values(), [json!("YWJj"), json!("/wD+"), json!("")]);
}

#[test]
fn a_line_that_is_no_text_is_invalid_input_where_a_string_is_wanted() {
    let output = map(&wat(echo_string()))
        .args(["--input-format", "lines", "--output-format", "records"])
        .input(*b"good\n\xff\xfe\nfine\n")
        .run()
        .exits(1);
    assert_eq!(output.kinds(), ["ok", "invalid-input", "ok"]);
}

#[test]
fn nul_ends_an_item_that_may_hold_lines() {
    let args = ["--input-format", "nul"];
    prints(&wat(echo_string()), &args, "a\nb\0\0c", "\"a\\nb\"\n\"\"\n\"c\"\n");
    prints(&wat(echo_bytes()), &args, "abc\0", "\"YWJj\"\n");
}

#[test]
fn csv_is_an_object_per_row_named_by_the_header() {
    let input = "second,first\r\nb,a\r\n\"x, \"\"y\"\"\nz\",\r\n";
    let wanted = "\"b\"\n\"x, \\\"y\\\"\\nz\"\n";
    prints(&second(), &["--input-format", "csv"], input, wanted);
}

#[test]
fn a_row_of_csv_counts_as_one_item_however_many_lines_it_has() {
    let rows = 3000;
    let mut input = String::from("first,second\n");
    let mut wanted = String::new();
    for row in 0..rows {
        let lines = "\n".repeat(row % 5);
        input.push_str(&format!("{row},\"row {row}{lines}\"\n"));
        wanted.push_str(&format!("\"row {row}{}\"\n", "\\n".repeat(row % 5)));
    }
    for chunk in ["1", "7", "auto"] {
        prints(&second(), &["--input-format", "csv", "-c", chunk], &input, &wanted);
    }
}

#[test]
fn a_row_of_csv_too_short_or_too_long_fails_alone() {
    let output = map(&second())
        .args(["--input-format", "csv", "--output-format", "records"])
        .input("first,second\na,b\nonly\na,b,c\nc,d\n")
        .run()
        .exits(1);
    assert_eq!(output.kinds(), ["ok", "invalid-input", "invalid-input", "ok"]);
}

#[test]
fn files_are_read_whole_and_one_that_is_missing_fails_alone() {
    let folder = TempDir::new().expect("a temporary directory");
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("one"), "abc").expect("written");
    std::fs::write(path("empty"), "").expect("written");
    std::fs::write(path("three"), [255, 0, 254]).expect("written");
    let input = ["one", "missing", "empty", "three"].map(|name| path(name) + "\n").concat();
    let output = map(&wat(echo_bytes()))
        .args(["--input-format", "files", "--output-format", "records"])
        .input(input)
        .run()
        .exits(1);
    assert_eq!(output.kinds(), ["ok", "invalid-input", "ok", "ok"]);
    let records = output.records();
    let values: Vec<_> = [0, 2, 3].map(|index: usize| records[index].value()).into();
    assert_eq!(values, [&json!("YWJj"), &json!(""), &json!("/wD+")]);
    assert!(records[1].message().contains("missing"), "{}", records[1].message());
}

/// Returns what is said of an input that is read as another than it is.
fn said(task: &Task, args: &[&str], input: &str) -> String {
    map(task).args(args).input(input).run().exits(1).stderr
}

#[test]
fn an_input_that_is_read_as_another_format_is_told_with_the_one_that_is_meant() {
    let folder = TempDir::new().expect("a temporary directory");
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("pool.md"), "# A pool of workers\n\nIt runs.\n").expect("written");
    let bytes = wat(echo_bytes());
    // A file in place of a list of files.
    let of_files = |list: &str| said(&bytes, &["--input-format", "files", list], "");
    let told = of_files(&path("pool.md"));
    let hint = "is read as a list: with --input-format files each line is the path of a file";
    assert_eq!(told.matches(hint).count(), 1, "{told}");
    assert!(told.contains(&format!("echo {} |", path("pool.md"))), "{told}");
    // Lists that end their paths in another way.
    let listed = |end: &str| path("pool.md") + end;
    assert!(said(&bytes, &["--input-format", "files"], &listed("\0")).contains("end with NULs (--null)"));
    assert!(said(&bytes, &["--input-format", "files", "--null"], &listed("\n")).contains("leave it out"));
    // A list of files of which one is gone is a list.
    let told = said(&bytes, &["--input-format", "files"], &(listed("\n") + &path("gone") + "\n"));
    assert!(!told.contains("each line"), "{told}");
    // CSV for a function of several parameters, and lines for one of a text.
    let csv = "from,take\n3,1\n5,2\n";
    let told = said(&wat(minus()), &[], csv);
    assert!(
        told.contains("not valid JSON") && told.contains("; --input-format csv reads rows like this one"),
        "{told}"
    );
    assert_eq!(map(&wat(minus())).args(["--input-format", "csv"]).input(csv).run().exits(0).text(), "2\n3\n");
    assert!(said(&wat(minus()), &[], &csv.replace(',', "\t")).contains("--input-format csv"));
    let lines = "Ada\nGrace\n";
    let told = said(&wat(echo_string()), &[], lines);
    assert!(told.contains("; --input-format lines gives the function each item as it stands"), "{told}");
    map(&wat(echo_string())).args(["--input-format", "lines"]).input(lines).run().exits(0);
    // What is JSON, or begins as such, is only wrong.
    for (task, item) in
        [(minus(), "[1, 2"), (minus(), "{\"from\": 1, "), (minus(), "3"), (echo_string(), "[1"), (echo_string(), "7")]
    {
        let told = said(&wat(task), &[], &format!("{item}\n"));
        assert!(!told.contains("--input-format"), "{item}: {told}");
    }
}

#[test]
fn what_is_no_file_on_a_disk_fails_as_an_item_and_is_not_waited_for() {
    let folder = TempDir::new().expect("a temporary directory");
    let path = |name: &str| folder.path().join(name);
    mkfifo(&path("fifo"), Mode::S_IRWXU).expect("a FIFO");
    let _socket = UnixListener::bind(path("socket")).expect("a socket");
    std::fs::create_dir(path("directory")).expect("made");
    std::fs::write(path("file"), "abc").expect("written");
    symlink("fifo", path("link")).expect("a link");
    symlink("file", path("good-link")).expect("a link");
    symlink("circle", path("circle")).expect("a link");
    let large = File::create(path("large")).expect("a file");
    large.set_len(1 << 40).expect("a hole");
    let paths: [(PathBuf, Option<&str>); 11] = [
        (path("fifo"), Some("it is a FIFO")),
        (path("link"), Some("it is a FIFO")),
        (path("socket"), Some("it is a socket")),
        (path("directory"), Some("it is a directory")),
        ("/dev/zero".into(), Some("it is a device")),
        ("/dev/stdin".into(), Some("it is a FIFO")),
        (path("circle"), Some("Too many levels of symbolic links")),
        (path("large"), Some("is larger than")),
        ("/proc/self/mem".into(), Some("cannot read the file")),
        (path("file"), None),
        (path("good-link"), None),
    ];
    let input: String = paths.iter().map(|(path, _)| format!("{}\n", path.display())).collect();
    let run = map(&wat(echo_bytes())).args(["--input-format", "files", "--output-format", "records"]);
    let output = run.input(input).run().exits(1);
    for ((path, says), record) in paths.iter().zip(output.records()) {
        match says {
            None => assert_eq!(record.value(), &json!("YWJj"), "{}", path.display()),
            Some(says) => {
                assert_eq!(record.kind(), "invalid-input");
                assert!(record.message().contains(says), "{}: {}", path.display(), record.message());
            }
        }
    }
}

#[test]
fn more_inputs_than_a_process_may_have_open_are_read_each_in_its_turn() {
    let folder = TempDir::new().expect("a temporary directory");
    let mut run = map(&wat(SQUARE)).most_descriptors(100).args(["-j", "1"]);
    let mut wanted = String::new();
    for n in 0..1000 {
        let path = folder.path().join(n.to_string());
        std::fs::write(&path, format!("{n}\n")).expect("written");
        wanted += &format!("{}\n", n * n);
        run = run.arg(path);
    }
    assert_eq!(run.run().exits(0).text(), wanted);
}

#[test]
fn an_input_may_be_a_pipe_by_a_name() {
    let folder = TempDir::new().expect("a temporary directory");
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    for path in [&first, &second] {
        mkfifo(path, Mode::S_IRWXU).expect("a FIFO");
    }
    let host = |run: Run| {
        let mut host = run.start();
        host.end_input();
        host
    };
    let mut waiting = host(map(&wat(SQUARE)).arg(&first).arg(&second));
    // Each FIFO waits for its reader, and is written once.
    std::fs::write(&first, "3\n").expect("it is read");
    assert_eq!(waiting.line().as_deref(), Some("9"));
    std::fs::write(&second, "4\n").expect("it is read");
    assert_eq!((waiting.line().as_deref(), waiting.code()), (Some("16"), 0));
    let output = map(&wat(SQUARE)).args(["/dev/stdin", "/dev/fd/0"]).input("3\n").run().exits(0);
    assert_eq!(output.text(), "9\n");
}

#[test]
fn inputs_that_cannot_be_read_are_known_before_anything_runs() {
    let folder = TempDir::new().expect("a temporary directory");
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("good"), "1\n").expect("written");
    let _socket = UnixListener::bind(path("socket")).expect("a socket");
    symlink("nowhere", path("dangling")).expect("a link");
    for (name, says) in
        [("missing", "No such file"), ("dangling", "No such file"), ("socket", "is a socket"), (".", "is a directory")]
    {
        let output = map(&wat(SQUARE)).arg(path("good")).arg(path(name)).run().exits(2);
        assert!(output.stderr.contains(says) && output.text().is_empty(), "{name}: {}", output.stderr);
    }
}

#[test]
fn inputs_are_read_one_after_the_other_and_a_dash_is_standard_input() {
    let folder = TempDir::new().expect("a temporary directory");
    let first = folder.path().join("first");
    let last = folder.path().join("last");
    std::fs::write(&first, "1\n2").expect("written");
    std::fs::write(&last, "5\n").expect("written");
    let output = map(&wat(SQUARE)).arg(&first).arg("-").arg(&last).input("3\n4\n").run().exits(0);
    assert_eq!(output.text(), "1\n4\n9\n16\n25\n");
}

#[test]
fn indices_go_on_from_one_input_to_the_next() {
    let folder = TempDir::new().expect("a temporary directory");
    let paths = ["first", "second"].map(|name| folder.path().join(name));
    std::fs::write(&paths[0], "1\n2\n").expect("written");
    std::fs::write(&paths[1], "3\n").expect("written");
    let records = map(&wat(SQUARE)).args(["--output-format", "records"]).args(&paths).run().exits(0).records();
    assert!(records.iter().map(|record| record.index()).eq(0..3));
}
