//! CSV variants: other delimiters, no header, a header that does not fit, unbalanced quotes.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::guest::{Task, wat};
use crate::support::run::{Output, map};
use crate::support::wat::{SQUARE, component, echo_bytes, echo_string, lift, minus};

/// Returns `weigh: func(order: order) -> f64`, whose record has a text and an option in it: it returns the weight.
fn weigh() -> Task {
    let body = r#"
    (func (export "weigh") (param i32 i32 i32 f64 i32 i32 i32) (result f64) (local.get 3))"#;
    let record = r#"(record (field "order-id" u32) (field "customer" string) (field "weight-kg" f64)
        (field "coupon" (option string)))"#;
    let types = format!(r#"(type $shape {record}) (export $order "order" (type $shape))"#);
    wat(component(body, &[types, lift("weigh", r#"(param "order" $order) (result f64)"#)]))
}

const ORDERS: &str = "order-id,customer,weight-kg,coupon\n0,\"Doe, 0\",22.5,SPRING\n1,\"Doe, 1\",4.5,\n";

fn csv(task: &Task, args: &[&str], input: &str) -> Output {
    map(task).args(["--input-format", "csv", "-j", "2"]).args(args).input(input).run()
}

/// Checks that a run was refused before any item: nothing is printed, no item is reported, and each of these words
/// appears once.
#[track_caller]
fn refused(output: Output, says: &[&str]) {
    let output = output.exits(2);
    assert!(output.bytes.is_empty() && !output.stderr.contains("item 0"), "{}", output.stderr);
    for part in says {
        assert!(output.stderr.contains(part), "{part:?} is not in: {}", output.stderr);
    }
}

#[test]
fn a_record_is_filled_by_the_names_of_the_columns() {
    assert_eq!(csv(&weigh(), &[], ORDERS).exits(0).text(), "22.5\n4.5\n");
}

#[test]
fn a_header_that_lacks_columns_is_refused_before_the_first_row_with_all_of_them() {
    let output = csv(&weigh(), &[], &ORDERS.replace("order-id", "order_id").replace("weight-kg", "Weight"));
    refused(
        output,
        &[
            "`order-id: u32` (is it `order_id`?)",
            "`weight-kg: f64` (is it `Weight`?)",
            "it has `order_id`, `customer`, `Weight`",
        ],
    );
    refused(csv(&wat(minus()), &[], "from,takes\n3,1\n"), &["`take: s64`", "it has `from`, `takes`"]);
    refused(csv(&wat(echo_bytes()), &[], "item\nx\n"), &["takes bytes", "--input-format lines"]);
}

#[test]
fn the_header_of_every_file_is_looked_at_before_the_first_row_of_any() {
    let (_folder, good) = file(ORDERS);
    let (_other, bad) = file(ORDERS.replace("weight-kg", "weight"));
    let run = |files: &[&PathBuf]| map(&weigh()).args(["--input-format", "csv"]).args(files).run();
    assert_eq!(run(&[&good, &good]).exits(0).lines().len(), 4);
    refused(run(&[&good, &good, &bad]), &[&format!("{}: the CSV lacks", bad.display()), "`weight-kg: f64`"]);
    let (_utf_16, bad) = file(b"\xff\xfea\0");
    refused(run(&[&good, &bad]), &["is UTF-16"]);
}

#[test]
fn another_delimiter_is_seen_where_it_is_sure_and_else_named() {
    for (delimiter, name) in [(";", "';'"), ("\t", "'\\t'"), ("|", "'|'")] {
        let given = ["--csv-delimiter", name.trim_matches('\'')];
        let input = ORDERS.replace(',', delimiter);
        let args = [&[][..], &given, &["--no-header"]];
        for (args, input) in args.into_iter().zip([&*input, &input, input.split_once('\n').expect("a header").1]) {
            assert_eq!(csv(&weigh(), args, input).exits(0).text(), "22.5\n4.5\n", "{args:?}");
        }
        // A comma that stands in a name may be the delimiter just as well.
        let unsure = input.replacen("customer", "customer, if any", 1).replacen("order-id", "note,order-id", 1);
        refused(csv(&weigh(), &[], &unsure), &[&format!("--csv-delimiter {name}")]);
        let unsure = input.replacen("customer", "customer,customer", 1);
        refused(csv(&weigh(), &[], &unsure), &[&format!("--csv-delimiter {name}")]);
    }
    // Each file shows its own, and a comma that was given counts for more.
    let (_comma, one) = file(ORDERS);
    let (_semicolon, two) = file(ORDERS.replace(',', ";"));
    let run = || map(&weigh()).arg(&one).arg(&two);
    assert_eq!(run().run().exits(0).text(), "22.5\n4.5\n22.5\n4.5\n");
    refused(run().args(["--csv-delimiter", ","]).run(), &["--csv-delimiter ';'"]);
}

#[test]
fn a_first_row_that_is_data_is_seen_for_that_and_taken_once_it_is_said() {
    let rows = ORDERS.split_once('\n').expect("a header").1;
    refused(csv(&weigh(), &[], rows), &["`order-id: u32`", "it has `0`, `Doe, 0`, `22.5`", "--no-header"]);
    assert_eq!(csv(&weigh(), &["--no-header"], rows).exits(0).text(), "22.5\n4.5\n");
    assert_eq!(csv(&wat(minus()), &["--no-header"], "9,2\n").exits(0).text(), "7\n");
    // The last cells may be left out if their parameters are options.
    assert_eq!(csv(&weigh(), &["--no-header"], "0,x,1.5\n").exits(0).text(), "1.5\n");
    refused(csv(&weigh(), &["--no-header"], "0,x\n"), &["have 2 cells, and the function takes 4"]);
    let output = csv(&weigh(), &["--no-header", "--output-format", "records"], "0,x,1.5\nx,y,z\n1,x\n").exits(1);
    assert_eq!(output.kinds(), ["ok", "invalid-input", "invalid-input"]);
}

#[test]
fn what_is_said_of_csv_is_refused_for_other_inputs() {
    for args in [&["--csv-delimiter", ";"][..], &["--no-header"]] {
        let output = map(&weigh()).args(args).input("1\n").run().exits(2);
        assert!(output.stderr.contains("--input-format csv"), "{}", output.stderr);
    }
    for delimiter in ["", "\"", "ab", "ä"] {
        csv(&weigh(), &["--csv-delimiter", delimiter], ORDERS).exits(2);
    }
}

/// Returns rows of `minus`; those of `strays` have an extra quote in front of their second cell.
fn rows(count: usize, strays: &[usize]) -> String {
    let row = |n: usize| format!("{n},{}{n}\n", if strays.contains(&n) { "\"" } else { "" });
    String::from("from,take\n") + &(1..=count).map(row).collect::<String>()
}

/// Makes a file of these rows, in a folder that exists until it is dropped.
fn file(input: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("a temporary directory");
    let path = folder.path().join("rows.csv");
    std::fs::write(&path, input).expect("written");
    (folder, path)
}

#[test]
fn a_quote_that_is_never_closed_is_an_error_of_the_input_with_its_place() {
    let (_folder, path) = file(rows(2000, &[9]));
    let output = map(&wat(minus())).args(["--input-format", "csv"]).arg(&path).run().exits(2);
    // The quote is in the tenth line of the file. Rows before it have their outcome.
    assert!(output.stderr.contains("rows.csv:10: a quote opens in this row"), "{}", output.stderr);
    assert_eq!(output.text(), "0\n".repeat(8));
    // If quote and row are lines apart, the message names the line of the quote.
    let (_folder, path) = file("from,take\n1,2\n\"3\n\",\"4\n");
    let output = map(&wat(minus())).args(["--input-format", "csv"]).arg(&path).run().exits(2);
    assert!(output.stderr.contains("rows.csv:4: a quote opens"), "{}", output.stderr);
    let output = csv(&wat(minus()), &[], "from,take\r\n\r\n1,2\r\n3,\"4\r\n").exits(2);
    assert!(output.stderr.contains("standard input:4: a quote opens"), "{}", output.stderr);
}

#[test]
fn a_run_over_a_file_that_was_mended_goes_on_where_the_quote_was() {
    let (folder, path) = file(rows(2000, &[1000]));
    let run = || {
        let run = map(&wat(minus())).args(["--input-format", "csv", "--resume", "--journal"]);
        run.arg(folder.path().join("journal")).arg("-o").arg(folder.path().join("out")).arg(&path).run()
    };
    run().exits(2);
    std::fs::write(&path, rows(2000, &[])).expect("written");
    run().exits(0);
    assert_eq!(std::fs::read_to_string(folder.path().join("out")).expect("it is there"), "0\n".repeat(2000));
}

#[test]
fn lines_that_a_quote_has_swallowed_are_failed_items_each_with_its_text() {
    let (folder, path) = file(rows(100, &[9, 50]));
    let failed = folder.path().join("failed");
    let run = map(&wat(minus())).args(["--input-format", "csv", "--failed"]).arg(&failed).arg(&path);
    let output = run.run().exits(1);
    assert_eq!(output.text(), "0\n".repeat(58));
    assert!(output.stderr.contains("42 of 100 items failed"), "{}", output.stderr);
    assert!(output.stderr.contains("opens in line 10 and is closed in line 51"), "{}", output.stderr);
    let text = std::fs::read_to_string(&failed).expect("it is there");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines[0]["input"], "9,\"9");
    assert_eq!(lines[1]["input"], "10,10");
    assert_eq!(lines[41]["columns"], json!(["from", "take"]));
    // Rows that were correct run as they are, and the others once they are corrected.
    let output = map(&wat(minus())).arg(&failed).run().exits(1);
    assert_eq!(output.text(), "0\n".repeat(40));
    std::fs::write(&failed, text.replace("\\\"", "")).expect("mended");
    assert_eq!(map(&wat(minus())).arg(&failed).run().exits(0).text(), "0\n".repeat(42));
}

#[test]
fn a_quote_that_swallows_more_than_a_person_can_look_through_is_an_error_of_the_input() {
    let (_folder, path) = file(rows(3000, &[9, 2500]));
    let output = map(&wat(minus())).args(["--input-format", "csv"]).arg(&path).run().exits(2);
    let says = "rows.csv:10: a quote opens in this row of the CSV and is closed in line 2501";
    assert!(output.stderr.contains(says), "{}", output.stderr);
}

#[test]
fn a_row_without_an_end_is_no_more_than_an_instance_could_hold() {
    let (_folder, path) = file(String::from("from,take\n1,2\n3,\"") + &"x".repeat(3 << 20));
    let output = map(&wat(minus())).args(["--input-format", "csv", "--memory", "2MiB"]).arg(&path).run().exits(2);
    assert!(output.stderr.contains("rows.csv:3: this row of the CSV is longer than the memory"), "{}", output.stderr);
}

#[test]
fn long_names_of_columns_do_not_fill_the_memory_however_short_the_rows_are() {
    let name = "x".repeat(100_000);
    let rows = 100_000;
    let input = format!("item,{name}\n{}", "a,b\na\n".repeat(rows / 2));
    let mut host = map(&wat(echo_string())).args(["--input-format", "csv", "-q", "-j", "1"]).start();
    let mut pipe = host.stdin.take().expect("a pipe");
    // What is not read, because nobody reads the output, need not be written.
    std::thread::spawn(move || drop(pipe.write_all(input.as_bytes())));
    let mut most = 0;
    for _ in 0..200 {
        assert_eq!(host.line().as_deref(), Some("\"a\""));
        most = most.max(host.process().status_bytes("VmHWM"));
    }
    assert!(most < 300 << 20, "{most} bytes");
}

#[test]
fn rows_that_cannot_be_read_are_kept_as_they_stood_and_run_once_they_are_mended() {
    let folder = TempDir::new().expect("a temporary directory");
    let failed = folder.path().join("failed");
    let input = b"first;second\n1;2;3\n\"a\nb\";\xff\nonly\n4;5\n";
    let task = || wat(minus_of("first", "second"));
    map(&task())
        .args(["--input-format", "csv", "--csv-delimiter", ";", "--failed"])
        .arg(&failed)
        .input(*input)
        .run()
        .exits(1);
    let text = std::fs::read_to_string(&failed).expect("it is there");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let kept: Vec<Value> = lines.iter().map(|line| json!([line["form"], line["input"]])).collect();
    assert_eq!(
        kept,
        [json!(["csv-text", "1;2;3"]), json!(["csv-base64", "ImEKYiI7/w=="]), json!(["csv-text", "only"])]
    );
    assert!(lines[1]["message"].as_str().expect("text").contains("standard input:3) is not UTF-8"), "{}", lines[1]);
    assert!(lines[2]["message"].as_str().expect("text").contains("standard input:5) has 1 cell"), "{}", lines[2]);
    // An item that fails again is written as it was.
    let again = folder.path().join("again");
    map(&task()).arg("--failed").arg(&again).arg(&failed).run().exits(1);
    let items =
        |text: &str| text.lines().map(|line| line.split(",\"index\"").next().map(str::to_owned)).collect::<Vec<_>>();
    assert_eq!(items(&std::fs::read_to_string(&again).expect("it is there")), items(&text));
    let mended = text.replace("1;2;3", "7;3").replace("ImEKYiI7/w==", "OTsx").replace("only", "1;1");
    std::fs::write(&again, mended).expect("mended");
    assert_eq!(map(&task()).arg(&again).run().exits(0).text(), "4\n8\n0\n");
}

/// Returns `minus` with other names of its parameters.
fn minus_of(one: &str, other: &str) -> String {
    minus().replace("\"from\"", &format!("{one:?}")).replace("\"take\"", &format!("{other:?}"))
}

#[test]
fn a_byte_order_mark_in_front_of_a_text_is_no_part_of_it() {
    let mark = "\u{feff}";
    let folder = TempDir::new().expect("a temporary directory");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let (one, two) = (write("one", &format!("{mark}\"a\"\n")), write("two", &format!("{mark}\"b\"")));
    // Each file may have a mark, also one that holds nothing else.
    let run = map(&wat(echo_string())).arg(&one).arg(write("empty", mark)).arg(&two);
    assert_eq!(run.run().exits(0).text(), "\"a\"\n\"b\"\n");
    let run = map(&wat(echo_string())).args(["--input-format", "lines"]).arg(&one);
    assert_eq!(run.run().exits(0).text(), "\"\\\"a\\\"\"\n");
    let paths = write("paths", &format!("{mark}{}\n", one.display()));
    let run = map(&wat(echo_bytes()))
        .args(["--input-format", "files", "--output-format", "raw", "--delimiter", "none"])
        .arg(&paths);
    // A mark inside an item that is a file belongs to the item.
    assert_eq!(run.run().exits(0).bytes, format!("{mark}\"a\"\n").as_bytes());
    assert_eq!(csv(&weigh(), &[], &format!("{mark}{ORDERS}")).exits(0).text(), "22.5\n4.5\n");
    assert_eq!(
        csv(&weigh(), &[], &format!("{mark}{}", ORDERS.replacen("order-id", "\"order-id\"", 1))).exits(0).text(),
        "22.5\n4.5\n"
    );
    let run = map(&wat(echo_string())).args(["--input-format", "nul"]).input(format!("{mark}a\0"));
    assert_eq!(run.run().exits(0).text(), "\"\u{feff}a\"\n");
}

#[test]
fn a_task_in_text_may_have_a_byte_order_mark_too() {
    assert_eq!(map(&wat(format!("\u{feff}{SQUARE}"))).input("3\n").run().exits(0).text(), "9\n");
}

#[test]
fn a_text_in_utf_16_is_said_to_be_one_with_the_way_out() {
    let utf_16: Vec<u8> = "\u{feff}\"a\"\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for format in ["jsonl", "csv", "lines", "files"] {
        let (_folder, path) = file(&utf_16);
        let output = map(&wat(echo_string())).args(["--input-format", format]).arg(&path).run().exits(2);
        let says = "rows.csv is UTF-16, and UTF-8 is wanted; iconv -f UTF-16 -t UTF-8";
        assert!(output.stderr.contains(says), "{format}: {}", output.stderr);
    }
}

#[test]
fn rows_before_one_that_ends_the_run_have_their_outcomes_however_few_there_are() {
    // All of it is read at once, including header and error.
    let rows = |from: u32, to: u32| (from..to).map(|n| format!("{n},x\n")).collect::<String>();
    let text = format!("p0,c\n{}500,\"x\n{}2901,\"y\"\n", rows(0, 500), rows(501, 2901));
    let output = csv(&wat(SQUARE), &[], &text).exits(2);
    assert_eq!(output.text().lines().count(), 500, "{}", output.stderr);
}

#[test]
fn a_header_that_is_too_long_is_an_error_of_the_input_of_which_no_more_is_read() {
    let wide = (0..100_000).map(|n| format!("c{n},")).collect::<String>() + "item\n";
    let output = map(&wat(echo_string())).args(["--input-format", "csv"]).input(wide).run().exits(2);
    let says = "standard input:1: the first row of the CSV, which names the columns, is longer than 4 MiB or has more than 65536";
    assert!(output.stderr.contains(says), "{}", output.stderr);
    // One without an end.
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let endless = map(&wat(echo_string())).args(["--input-format", "csv"]).feed(move |pipe| {
        loop {
            pipe.write_all(&[b'x'; 1 << 16])?;
            count.fetch_add(1 << 16, Ordering::Relaxed);
        }
    });
    let output = endless.run().exits(2);
    assert!(output.stderr.contains(says), "{}", output.stderr);
    assert!(written.load(Ordering::Relaxed) < 8 << 20);
}

#[test]
fn a_row_of_very_many_cells_is_an_error_of_the_input() {
    let (_folder, path) = file(String::from("item\na\n") + &",".repeat(3 << 20) + "\n");
    let output = map(&wat(echo_string())).args(["--input-format", "csv"]).arg(&path).run().exits(2);
    assert!(output.stderr.contains("rows.csv:3: this row of the CSV has more than"), "{}", output.stderr);
}

#[test]
fn a_long_row_is_in_memory_about_as_often_as_a_long_line() {
    let long = "x".repeat(100 << 20);
    let (_folder, path) = file(format!("item,rest\na,{long}\n"));
    let run = map(&wat(echo_string())).args(["--input-format", "csv", "-j", "1", "--memory", "512MiB"]);
    // Standard input, which comes after it, keeps the host alive.
    let mut host = run.arg(&path).arg("-").start();
    assert_eq!(host.line().as_deref(), Some("\"a\""));
    let most = host.process().status_bytes("VmHWM");
    assert!(most < 260 << 20, "{most} bytes");
    host.end_input();
    assert_eq!(host.code(), 0);
}
