//! Columns in the output: those of the input that are kept (`--keep`), and results as CSV (`--output-format csv`).

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::folder::Folder;
use crate::support::guest::{Task, wat};
use crate::support::run::{Output, Run, map, wasmpool};
use crate::support::wat::{SQUARE, component, echo_bytes, echo_string, lift, minus};

/// Returns `quote: func(weight: s64, label: string) -> price`, a record of the cents, the label and an option that is none. It
/// traps for a negative weight.
fn quote() -> Task {
    let body = r#"
    (func (export "quote") (param i64 i32 i32) (result i32)
      (if (i64.lt_s (local.get 0) (i64.const 0)) (then unreachable))
      (i64.store (i32.const 16) (i64.mul (local.get 0) (i64.const 100)))
      (i32.store (i32.const 24) (local.get 1))
      (i32.store (i32.const 28) (local.get 2))
      (i32.store8 (i32.const 32) (i32.const 0))
      (i32.const 16))"#;
    let record = r#"(record (field "cents" s64) (field "label" string) (field "zone" (option string)))"#;
    let types = format!(r#"(type $shape {record}) (export $price "price" (type $shape))"#);
    wat(component(body, &[types, lift("quote", r#"(param "weight" s64) (param "label" string) (result $price)"#)]))
}

/// Returns `twice: func(weight: s64) -> list<row>`, with two rows of the weight and its place.
fn twice() -> Task {
    let body = r#"
    (func (export "twice") (param i64) (result i32)
      (i32.store (i32.const 16) (i32.const 32))
      (i32.store (i32.const 20) (i32.const 2))
      (i64.store (i32.const 32) (local.get 0))
      (i64.store (i32.const 40) (i64.const 0))
      (i64.store (i32.const 48) (local.get 0))
      (i64.store (i32.const 56) (i64.const 1))
      (i32.const 16))"#;
    let record = r#"(record (field "weight" s64) (field "place" s64))"#;
    let types = format!(r#"(type $shape {record}) (export $row "row" (type $shape))"#);
    wat(component(body, &[types, lift("twice", r#"(param "weight" s64) (result (list $row))"#)]))
}

const ROWS: &str = "id,weight,label\n7,1,plain\n8,-1,fails\n\"9,5\",2,\"say \"\"hi\"\", ä\nthere\"\n";

fn csv(task: &Task, args: &[&str]) -> Output {
    map(task).args(["--input-format", "csv"]).args(args).input(ROWS).run()
}

#[track_caller]
fn refused(output: Output, parts: &[&str]) {
    let output = output.exits(2);
    assert!(output.bytes.is_empty(), "{}", output.text());
    for part in parts {
        assert!(output.stderr.contains(part), "{part:?} is not in: {}", output.stderr);
    }
}

#[test]
fn kept_columns_stand_in_every_record_also_of_what_failed() {
    let output = csv(&quote(), &["--keep", "id,weight", "--output-format", "records"]).exits(1);
    assert_eq!(output.kinds(), ["ok", "trap", "ok"]);
    let kept: Vec<Option<Value>> = output.records().iter().map(|record| record.get("kept").cloned()).collect();
    let wanted = [("7", "1"), ("8", "-1"), ("9,5", "2")].map(|(id, weight)| Some(json!({"id": id, "weight": weight})));
    assert_eq!(kept, wanted);
    assert!(output.text().starts_with(r#"{"index":0,"kept":{"id":"7","weight":"1"},"status":"ok","value":{"#));
    // Members of JSON keep their types, and those that are missing are null.
    let run = map(&wat(minus())).args(["--keep", "from,none", "--output-format", "records"]);
    let output = run.input("{\"from\":3,\"take\":1}\n4\nnonsense\n").run().exits(1);
    let kept: Vec<Option<Value>> = output.records().iter().map(|record| record.get("kept").cloned()).collect();
    let nothing = Some(json!({"from": null, "none": null}));
    assert_eq!(kept, [Some(json!({"from": 3, "none": null})), nothing.clone(), nothing]);
}

#[test]
fn values_with_kept_columns_are_objects_with_the_result_as_value() {
    let output = csv(&quote(), &["--keep", "id"]).exits(1);
    assert_eq!(output.lines()[0], r#"{"id":"7","value":{"cents":100,"label":"plain","zone":null}}"#);
    assert_eq!(output.values()[1]["id"], "9,5");
    let output = map(&wat(SQUARE)).args(["--input-format", "csv", "--keep", "id"]).input("id,p0\na,3\n").run();
    assert_eq!(output.exits(0).text(), "{\"id\":\"a\",\"value\":9}\n");
    let by_environment = map(&wat(minus())).env("WASMPOOL_KEEP", "take").input("{\"from\": 3, \"take\": 1}\n");
    assert_eq!(by_environment.run().exits(0).text(), "{\"take\":1,\"value\":2}\n");
}

#[test]
fn csv_has_the_fields_of_the_result_behind_the_kept_columns() {
    let output = csv(&quote(), &["--keep", "id", "--output-format", "csv"]).exits(1);
    let wanted = "id,cents,label,zone\n7,100,plain,\n\"9,5\",200,\"say \"\"hi\"\", ä\nthere\",\n";
    assert_eq!(output.text(), wanted);
    assert_eq!(csv(&quote(), &["--output-format", "csv"]).exits(1).lines()[..2], ["cents,label,zone", "100,plain,"]);
    // What the program prints it reads again.
    let again = map(&wat(echo_string()))
        .args(["--input-format", "csv", "--keep", "id"])
        .input(wanted.replace("id,cents", "id,item"));
    assert_eq!(again.run().exits(0).values()[1], json!({"id": "9,5", "value": "200"}));
}

#[test]
fn results_that_are_no_records_are_one_column() {
    let csv = |task: &Task, args: &[&str], input: &str| {
        map(task).args(["--output-format", "csv"]).args(args).input(input).run().exits(0).text().to_owned()
    };
    assert_eq!(csv(&wat(SQUARE), &[], "3\n4\n"), "value\n9\n16\n");
    assert_eq!(csv(&wat(echo_string()), &[], "\"a,b\"\n\"\"\n"), "value\n\"a,b\"\n\"\"\n");
    assert_eq!(csv(&wat(echo_bytes()), &["--input-format", "lines"], "abc\n"), "value\nYWJj\n");
    let keeping = ["--keep", "id", "--input-format", "csv"];
    assert_eq!(csv(&twice(), &keeping, "id,weight\n1,5\n").lines().next(), Some("id,value"));
    // The header is there even if there are no results.
    assert_eq!(csv(&quote(), &["--keep", "id"], ""), "id,cents,label,zone\n");
}

#[test]
fn flattened_records_are_rows_of_their_own_each_with_the_kept_columns() {
    let run = map(&twice()).args(["--flatten", "--output-format", "csv", "--keep", "id", "--input-format", "csv"]);
    let output = run.input("id,weight\na,5\nb,6\n").run().exits(0);
    assert_eq!(output.text(), "id,weight,place\na,5,0\na,5,1\nb,6,0\nb,6,1\n");
}

#[test]
fn columns_without_names_are_kept_by_their_numbers() {
    let run = |args: &[&str]| {
        let run = map(&quote()).args(["--input-format", "csv", "--no-header"]).args(args);
        run.input("1,a\n2,b\n").run()
    };
    assert_eq!(run(&["--keep", "2"]).exits(0).values()[1]["2"], "b");
    assert_eq!(run(&["--keep", "1", "--output-format", "csv"]).exits(0).lines()[2], "2,200,b,");
    refused(run(&["--keep", "label"]), &["columns have no names with --no-header", "`label` is no number"]);
    refused(run(&["--keep", "3"]), &["the CSV lacks columns of --keep: `3`; it has 2 in each row"]);
}

#[test]
fn columns_that_cannot_be_kept_are_refused_before_the_first_row() {
    refused(
        csv(&quote(), &["--keep", "id,Id,no"]),
        &["lacks columns of --keep: `Id`, `no`; it has `id`, `weight`, `label`"],
    );
    refused(csv(&quote(), &["--keep", "id,id"]), &["names the column `id` twice"]);
    refused(csv(&quote(), &["--keep", "label", "--output-format", "csv"]), &["two columns `label`", "--keep"]);
    refused(csv(&quote(), &["--keep", "id", "--output-format", "raw"]), &["--keep prints columns beside each result"]);
    let run = |args: &[&str], input: &str| map(&wat(SQUARE)).args(args).input(input).run();
    refused(run(&["--keep", "value"], "1\n"), &["`value`, as the result is called"]);
    refused(
        run(&["--keep", "id", "--input-format", "lines"], "1\n"),
        &["--keep names columns of the input, which has none"],
    );
    refused(run(&["--keep", "id,"], "1\n"), &["names of columns stand between commas"]);
    let twice = "id,id,weight,label\n1,2,3,x\n";
    let output = map(&quote()).args(["--input-format", "csv", "--keep", "id"]).input(twice).run();
    refused(output, &["has the column `id` of --keep twice"]);
}

#[test]
fn failed_items_are_mapped_again_with_the_columns_that_are_kept() {
    let folder = TempDir::new().expect("a temporary directory");
    let failed = folder.path().join("failed");
    let run = map(&quote()).args(["--input-format", "csv", "--keep", "id", "--failed"]).arg(&failed).input(ROWS);
    run.run().exits(1);
    let text = fs::read_to_string(&failed).expect("it is there");
    fs::write(&failed, text.replace("\"-1\"", "\"4\"")).expect("mended");
    let again = map(&quote()).args(["--keep", "id", "--output-format", "csv"]).arg(&failed).run().exits(0);
    assert_eq!(again.text(), "id,cents,label,zone\n8,400,fails,\n");
}

#[test]
fn several_tasks_share_a_table_with_a_column_for_the_task() {
    let (minus, quote, twice) = (wat(minus()), quote(), twice());
    let tasks = |tasks: &[(&str, &Task)]| -> Run {
        tasks.iter().fold(wasmpool().arg("map"), |run, (name, task)| {
            run.arg("--task").arg(format!("{name}={}", task.path().display()))
        })
    };
    let run = tasks(&[("q", &quote), ("t", &twice)]).args([
        "--output-format",
        "csv",
        "--keep",
        "id",
        "--input-format",
        "csv",
    ]);
    let output = run.input("id,weight,label\n7,1,x\n8,2,y\n").run().exits(0);
    let list = |weight: u32| {
        format!("\"[{{\"\"weight\"\":{weight},\"\"place\"\":0}},{{\"\"weight\"\":{weight},\"\"place\"\":1}}]\"")
    };
    let wanted =
        format!("task,id,cents,label,zone,value\nq,7,100,x,,\nt,7,,,,{}\nq,8,200,y,,\nt,8,,,,{}\n", list(1), list(2));
    assert_eq!(output.text(), wanted);
    let run = tasks(&[("a", &minus), ("b", &minus)]).args(["--keep", "take"]).input("{\"from\":3,\"take\":1}\n");
    let output = run.run().exits(0);
    assert!(output.lines()[1].starts_with(r#"{"index":0,"task":"b","kept":{"take":1},"status":"ok","value":2,"#));
}

/// The files of a run with a journal.
struct Place(Folder);

impl Place {
    fn new() -> Place {
        Place(Folder::new())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    fn run(&self, input: &str) -> Output {
        let run = map(&quote()).args(["--input-format", "csv", "--output-format", "csv", "--keep", "id"]);
        let run = run.args(["--resume", "--journal"]).arg(self.path("journal")).arg("-o").arg(self.path("out"));
        run.arg("--failed").arg(self.path("failed")).input(input).run()
    }

    fn out(&self) -> String {
        fs::read_to_string(self.path("out")).expect("it is there")
    }
}

#[test]
fn the_header_stands_once_in_a_file_that_is_gone_on_with() {
    let header = "id,cents,label,zone\n";
    let rows =
        |range: std::ops::Range<u32>, weight: i32| range.map(|n| format!("{n},{weight},x\n")).collect::<String>();
    let printed = |range: std::ops::Range<u32>| range.map(|n| format!("{n},100,x,\n")).collect::<String>();
    let place = Place::new();
    let input = |more: &str| format!("id,weight,label\n{more}");
    // Without an item, and without a result, there is nothing but the header.
    place.run(&input("")).exits(0);
    assert_eq!(place.out(), header);
    place.run(&input(&rows(0..3, -1))).exits(1);
    assert_eq!(place.out(), header);
    let grown = rows(0..3, -1) + &rows(3..2000, 1);
    place.run(&input(&grown)).exits(1);
    assert_eq!(place.out(), header.to_owned() + &printed(3..2000));
    place.run(&input(&(grown + &rows(2000..2010, 1)))).exits(1);
    assert_eq!(place.out(), header.to_owned() + &printed(3..2010));
    // An input that breaks off leaves what can be gone on from.
    let place = Place::new();
    place.run(&input(&(rows(0..50, 1) + "\"open"))).exits(2);
    place.run(&input(&rows(0..60, 1))).exits(0);
    assert_eq!(place.out(), header.to_owned() + &printed(0..60));
}

#[test]
fn members_that_the_function_does_not_take_are_kept_from_json() {
    let items = "{\"id\":\"a\",\"weight\":1,\"label\":\"x\"}\n{\"weight\":2,\"label\":\"y\"}\n{\"id\":3,\"weight\":3,\"label\":\"z\",\"more\":1}\n";
    let output = map(&quote()).args(["--keep", "id", "--output-format", "csv"]).input(items).run().exits(1);
    assert_eq!(output.text(), "id,cents,label,zone\na,100,x,\n,200,y,\n");
    // Only what is kept may stand beside what the function takes.
    assert!(output.stderr.contains("no parameter `more`"), "{}", output.stderr);
    map(&quote()).input(items).run().exits(1);
}

#[test]
fn several_tasks_leave_the_output_alone_whose_header_fits_none_of_them() {
    let folder = TempDir::new().expect("a temporary directory");
    let (input, output) = (folder.path().join("bad.csv"), folder.path().join("out"));
    fs::write(&input, "a,b\n1,2\n").expect("written");
    fs::write(&output, "kept").expect("written");
    for format in ["records", "csv"] {
        let task = quote();
        let run =
            wasmpool().args(["map", "--output-format", format, "--task"]).arg(format!("one={}", task.path().display()));
        run.arg(&input).arg("-o").arg(&output).run().exits(2);
        assert_eq!(fs::read_to_string(&output).expect("it is there"), "kept", "{format}");
    }
}
