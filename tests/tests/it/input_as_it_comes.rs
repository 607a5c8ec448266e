//! Input as it comes: compressed, as JSON over many lines, in files whose names say what they are, and lists of files that
//! `find -print0` has made.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::{Value, json};

use crate::support::broker::Broker;
use crate::support::folder::Folder;
use crate::support::guest::wat;
use crate::support::run::{Output, map};
use crate::support::wat::{SQUARE, echo_bytes, echo_string, minus};

fn gzip(text: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_ref()).and_then(|()| encoder.finish()).expect("memory")
}

fn zstd(text: impl AsRef<[u8]>) -> Vec<u8> {
    compress_to_vec(text.as_ref(), CompressionLevel::Fastest)
}

fn numbers(count: u64) -> String {
    (0..count).map(|n| format!("{n}\n")).collect()
}

fn squares(count: u64) -> String {
    (0..count).map(|n| format!("{}\n", n * n)).collect()
}

#[track_caller]
fn says(output: &Output, parts: &[&str]) {
    for part in parts {
        assert!(output.stderr.contains(part), "{part:?} is not in: {}", output.stderr);
    }
}

#[test]
fn what_is_compressed_is_read_in_every_format_whatever_it_is_called() {
    let folder = Folder::new();
    let square = wat(SQUARE);
    for compress in [gzip as fn(String) -> Vec<u8>, zstd] {
        let one = folder.write("one", compress(numbers(50_000)));
        assert_eq!(map(&square).arg(&one).run().exits(0).text(), squares(50_000));
        // Several parts one after the other, as programs append them to a log; from a pipe; with a byte order mark.
        let parts = [compress("\u{feff}1\n2".to_owned()), compress("3\n".to_owned()), compress(String::new())].concat();
        assert_eq!(map(&square).input(parts.clone()).run().exits(0).text(), "1\n529\n");
        let two = folder.write("two.bin", parts);
        let plain = folder.write("three", "4\n");
        assert_eq!(map(&square).arg(&two).arg(&plain).arg(&two).run().exits(0).text(), "1\n529\n16\n1\n529\n");
        for (format, text, wanted) in [
            ("lines", "a\nb\n", "\"a\"\n\"b\"\n"),
            ("nul", "a\0b\0", "\"a\"\n\"b\"\n"),
            ("csv", "item\na\nb\n", "\"a\"\n\"b\"\n"),
            ("json", "[\"a\", \"b\"]", "\"a\"\n\"b\"\n"),
        ] {
            let run = map(&wat(echo_string())).args(["--input-format", format]).input(compress(text.to_owned()));
            assert_eq!(run.run().exits(0).text(), wanted, "{format}");
        }
        // Of a list of files, the list may be compressed; a file is the item as it is.
        let list = folder.write("list", compress(format!("{}\n", one.display())));
        let run =
            map(&wat(echo_bytes())).args(["--input-format", "files", "--output-format", "raw", "--delimiter", "none"]);
        assert_eq!(run.arg(&list).run().exits(0).bytes, fs::read(&one).expect("it is there"));
    }
}

#[test]
fn an_archive_that_breaks_off_or_is_damaged_is_an_error_that_names_it() {
    let folder = Folder::new();
    for (name, whole) in [("log.gz", gzip(numbers(200_000))), ("log.zst", zstd(numbers(200_000)))] {
        let kind = if name.ends_with("gz") { "gzip" } else { "zstd" };
        let path = folder.write(name, &whole[..whole.len() / 2]);
        let output = map(&wat(SQUARE)).arg(&path).run().exits(2);
        says(&output, &[&format!("{}: its {kind} data breaks off; is the file truncated?", path.display())]);
        // What could be read has its outcomes, and no line that was cut is one of them.
        assert!(squares(200_000).starts_with(output.text()) && output.text().ends_with('\n'), "{kind}");
        let mut damaged = whole.clone();
        let end = damaged.len() - 3;
        damaged[end] ^= 0xff;
        let path = folder.write(name, damaged);
        says(&map(&wat(SQUARE)).arg(&path).run().exits(2), &[name, &format!("its {kind} data is damaged")]);
    }
    let path = folder.write("mixed.gz", [gzip("1\n"), b"2\n".to_vec()].concat());
    says(&map(&wat(SQUARE)).arg(&path).run().exits(2), &["mixed.gz", "something else follows it"]);
}

#[test]
fn a_compressed_input_takes_no_more_memory_the_more_there_is_in_it() {
    let folder = Folder::new();
    let most = |name: &str, bytes: Vec<u8>| {
        let path = folder.write(name, bytes);
        let mut host = map(&wat(echo_string())).args(["--input-format", "lines", "-q", "-j", "1"]).arg(path).start();
        let mut most = 0;
        for _ in 0..2000 {
            assert!(host.line().is_some());
            most = most.max(host.process().status_bytes("VmHWM"));
        }
        most
    };
    // A gigabyte that is compressed to some hundred thousand bytes.
    let line = "x".repeat(10_000) + "\n";
    let part = zstd(line.repeat(1000));
    let (small, large) = (most("small", zstd(line.repeat(2500))), most("large", part.repeat(100)));
    assert!(large < small + (64 << 20), "{small} and {large} bytes");
}

#[test]
fn a_journal_of_a_compressed_input_is_gone_on_with() {
    let folder = Folder::new();
    let whole = gzip(numbers(100_000));
    let run = |name: &str| {
        let run = map(&wat(SQUARE)).arg("--resume").arg("--journal").arg(folder.path("journal"));
        run.arg("-o").arg(folder.path("out")).arg(folder.path(name)).run()
    };
    folder.write("log.gz", &whole[..whole.len() / 2]);
    run("log.gz").exits(2);
    let before = fs::read(folder.path("out")).expect("it is there").len();
    assert!(before > 0);
    folder.write("log.gz", &whole);
    run("log.gz").exits(0);
    assert_eq!(fs::read_to_string(folder.path("out")).expect("it is there"), squares(100_000));
    // It is what is in the file that counts: the plain text is the same input.
    folder.write("log", numbers(100_000));
    says(&run("log").exits(0), &["nothing to do"]);
}

#[test]
fn a_json_array_over_many_lines_is_its_elements() {
    let folder = Folder::new();
    let elements: Vec<Value> = (0..5000).map(|n| json!({"from": n, "take": 1})).collect();
    let wanted: String = (0..5000).map(|n| format!("{}\n", n - 1)).collect();
    let task = wat(minus());
    let printed: Vec<String> = elements.iter().map(Value::to_string).collect();
    let pretty = format!("{:#}\n", Value::from(elements.clone()));
    // Some programs write an element on each line, and some write one line.
    let (beside, line) = (format!("[{}]\n", printed.join(",\n")), format!("[{}]", printed.join(",")));
    for text in [&pretty, &beside] {
        assert_eq!(map(&task).input(text.as_str()).run().exits(0).text(), wanted);
    }
    for text in [&pretty, &beside, &line] {
        assert_eq!(map(&task).args(["--input-format", "json"]).input(text.as_str()).run().exits(0).text(), wanted);
        let path = folder.write("rows.json", text);
        assert_eq!(map(&task).arg(&path).run().exits(0).text(), wanted);
    }
    // Values one after the other, as jq prints them.
    let values: Vec<String> = elements.iter().map(|one| format!("{one:#}")).collect();
    assert_eq!(map(&task).input(values.join("\n")).run().exits(0).text(), wanted);
}

#[test]
fn lines_of_arrays_are_still_lines() {
    let task = wat(minus());
    for (text, wanted) in [("[3,1]\n[5,1]\n", "2\n4\n"), ("[3,1]\n", "2\n"), (" [ 3 , 1 ] ", "2\n")] {
        assert_eq!(map(&task).input(text).run().exits(0).text(), wanted);
    }
    let folder = Folder::new();
    let path = folder.write("pairs.json", "[3,1]\n[5,1]\n");
    assert_eq!(map(&task).arg(&path).run().exits(0).text(), "2\n4\n");
    // A format that is said counts for more than a name.
    let path = folder.write("pair.json", "[3,1]\n");
    assert_eq!(map(&task).arg(&path).args(["--input-format", "jsonl"]).run().exits(0).text(), "2\n");
    assert_eq!(map(&wat(SQUARE)).arg(&path).run().exits(0).text(), "9\n1\n");
}

#[test]
fn elements_that_fail_are_written_each_as_one_line_and_run_again() {
    let folder = Folder::new();
    let failed = folder.path("failed");
    let text = "[\n  2,\n  {\n    \"a\": [1, 2]\n  },\n  3\n]\n";
    let output = map(&wat(SQUARE)).arg("--failed").arg(&failed).input(text).run().exits(1);
    assert_eq!(output.text(), "4\n9\n");
    let lines = fs::read_to_string(&failed).expect("it is there");
    assert!(lines.lines().count() == 1 && lines.contains("\"input\":{\"a\":[1,2]}"), "{lines}");
    fs::write(&failed, lines.replace("{\"a\":[1,2]}", "5")).expect("mended");
    assert_eq!(map(&wat(SQUARE)).arg(&failed).run().exits(0).text(), "25\n");
}

#[test]
fn a_json_array_that_breaks_off_is_an_error_with_its_place() {
    let folder = Folder::new();
    for (text, says_so) in [
        ("[\n1,\n2,\n", ":1: the JSON array that begins in this line, with byte 1 of the text, is never closed"),
        ("[\n1\n2\n]\n", ":3: a comma or the end of the JSON array is missing in front of `2`"),
        ("[\n1,\n]\n", ":3: a JSON value is missing in front of `]`"),
        ("[\n1\n]\n2\n", ":4: something follows the JSON array"),
    ] {
        let path = folder.write("rows", text);
        let output = map(&wat(SQUARE)).arg(&path).run().exits(2);
        says(&output, &[&format!("{}{says_so}", path.display())]);
        assert!("1\n4\n".starts_with(output.text()), "{}", output.text());
    }
}

/// A file that is called `.json` is one text, also where its first line is no array yet.
#[test]
fn a_json_file_that_is_never_closed_names_where_it_begins() {
    let folder = Folder::new();
    for (text, says_so) in [
        ("[1,2", ":1: the JSON array that begins in this line, with byte 1 of the text, is never closed"),
        ("\n  [1,2\n,3\n", ":2: the JSON array that begins in this line, with byte 4 of the text, is never closed"),
        ("{\"a\": [1],\n", ":1: the JSON value that begins in this line, with byte 1 of the text, is never closed"),
    ] {
        let path = folder.write("rows.json", text);
        says(&map(&wat(SQUARE)).arg(&path).run().exits(2), &[&format!("{}{says_so}", path.display())]);
    }
    let path = folder.write("rows.json", "[1\n,2\n,3]\n");
    assert_eq!(map(&wat(SQUARE)).arg(&path).run().exits(0).text(), "1\n4\n9\n");
    // An item that breaks off is no array where a number is wanted, but no JSON.
    let output = map(&wat(SQUARE)).input("[1,2\n3\n").run().exits(1);
    says(&output, &["line 1: item 0 failed: invalid-input: not valid JSON: it breaks off within a list at column 4"]);
    assert_eq!(output.text(), "9\n");
}

#[test]
fn a_long_json_array_is_read_as_it_comes() {
    let mut host = map(&wat(SQUARE)).args(["-c", "1"]).start();
    let mut pipe = host.stdin.take().expect("a pipe");
    for n in 0..5u64 {
        write!(pipe, "{}\n{n}\n", if n == 0 { "[" } else { "," }).expect("it is read");
        // The end of a number is known by what follows it, and the comma is not waited for.
        assert_eq!(host.line(), Some((n * n).to_string()));
    }
    write!(pipe, "]").expect("it is read");
    drop(pipe);
    assert_eq!(host.code(), 0);
}

#[test]
fn files_of_csv_are_known_by_their_names() {
    let folder = Folder::new();
    let task = wat(minus());
    let csv = folder.write("rows.CSV", "from,take\n3,1\n");
    let tsv = folder.write("rows.tsv.gz", gzip("from\ttake\n5\t1\n"));
    assert_eq!(map(&task).arg(&csv).arg(&tsv).run().exits(0).text(), "2\n4\n");
    // Where there is one column, the name of the file says what separates columns.
    let one = folder.write("one.tsv", "item\nx,y\n");
    assert_eq!(map(&wat(echo_string())).arg(&one).run().exits(0).text(), "\"x,y\"\n");
    let lines = map(&wat(echo_string())).args(["--input-format", "lines"]).arg(&one).run().exits(0);
    assert_eq!(lines.text(), "\"item\"\n\"x,y\"\n");
    let other = folder.write("rows.jsonl", "[3,1]\n");
    let output = map(&task).arg(&other).arg(&csv).run().exits(2);
    says(&output, &["rows.CSV is CSV by its name, and ", "rows.jsonl is not", "--input-format"]);
}

#[test]
fn other_formats_and_encodings_are_named_with_what_makes_them_readable() {
    let folder = Folder::new();
    for (bytes, parts) in [
        (&b"\xfd7zXZ\0\0\0"[..], &["rows is compressed with xz", "xz -dc"][..]),
        (b"PK\x03\x04rest", &["rows is a zip archive, as spreadsheets"]),
        (b"PAR1rest", &["rows is in the format Parquet"]),
        (b"\xff\xfe1\0\n\0", &["rows is UTF-16", "iconv -f UTF-16 -t UTF-8"]),
        (b"1\0\n\0", &["rows is UTF-16LE", "iconv -f UTF-16LE -t UTF-8"]),
    ] {
        let path = folder.write("rows", bytes);
        says(&map(&wat(SQUARE)).arg(&path).run().exits(2), parts);
        let packed = folder.write("rows.gz", gzip(bytes));
        says(&map(&wat(SQUARE)).arg(&packed).run().exits(2), &[parts[0].split_once(' ').expect("words").1]);
    }
}

#[test]
fn paths_that_end_with_a_nul_may_have_line_ends_in_them() {
    let folder = Folder::new();
    let strange = folder.write("a\nb ", "one");
    let plain = folder.write("c", "two");
    let list = |paths: &[&Path]| paths.iter().map(|path| format!("{}\0", path.display())).collect::<String>();
    let run = || map(&wat(echo_bytes())).args(["--input-format", "files", "--null", "--output-format", "raw"]);
    assert_eq!(run().input(list(&[&strange, &plain])).run().exits(0).text(), "one\ntwo\n");
    // The list is looked through before a file is overwritten.
    let paths = folder.write("list", list(&[&plain, &strange]));
    says(&run().arg(&paths).arg("-o").arg(&strange).run().exits(2), &["is also an item"]);
    assert_eq!(fs::read(&strange).expect("it is there"), b"one");
    says(&map(&wat(SQUARE)).arg("--null").input("1\n").run().exits(2), &["--null", "--input-format files"]);
    let lines = map(&wat(echo_bytes())).args(["--input-format", "files"]).input(list(&[&plain, &plain])).run().exits(1);
    says(&lines, &["there is a NUL in it", "--null"]);
    let by_environment = map(&wat(echo_bytes())).args(["--input-format", "files"]).env("WASMPOOL_NULL", "1");
    assert_eq!(by_environment.input(list(&[&plain])).run().exits(0).values(), [json!("dHdv")]);
}

#[test]
fn input_comes_over_many_machines_as_on_one() {
    let Some(broker) = Broker::start() else { return };
    let _host = broker.serve("a");
    let folder = Folder::new();
    let path = folder.write("rows.csv.gz", gzip("id;from;take\n1;3;1\n2;x;1\n3;5;1\n"));
    let array = folder.write("rows.json", "[\n  {\"from\": 3, \"take\": 1}\n]\n");
    for args in [&["--keep", "id"][..], &["--keep", "id", "--output-format", "csv"]] {
        let run = || map(&wat(minus())).args(args).arg(&path);
        assert_eq!(broker.via(run()).run().exits(1).text(), run().run().exits(1).text());
    }
    assert_eq!(broker.via(map(&wat(minus())).arg(&array)).run().exits(0).text(), "2\n");
}
