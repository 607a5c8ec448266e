//! Wrong use: one clear message on standard error, exit code 2, and nothing runs.

mod table;

use tempfile::TempDir;

use crate::support::guest::{built, file, wat};
use crate::support::run::{Run, map, wasmpool};
use crate::support::wat::{
    FOREIGN_COMPONENT, FOREIGN_MODULE, RESOURCE, SQUARE, SQUARE_BINARY, component, initialised, interfaces, lift, minus,
};

/// Checks that a run is refused with a message that contains each of these.
#[track_caller]
fn refused(run: Run, names: &[&str]) {
    let output = run.input("1\n2\n").run().exits(2);
    assert_eq!(output.text(), "", "nothing ran");
    let message = &output.stderr;
    assert!(!message.trim().is_empty(), "a silent refusal");
    for clutter in ["panicked", "RUST_BACKTRACE", "stack backtrace"] {
        assert!(!message.contains(clutter), "{message}");
    }
    for name in names {
        assert!(message.contains(name), "{name} is not in: {message}");
    }
    let errors = message.matches("error:").count();
    assert!(errors <= 1, "more than one message: {message}");
}

#[test]
fn a_task_that_is_missing() {
    refused(wasmpool().args(["map", "/nowhere/task.wasm"]), &["/nowhere/task.wasm"]);
}

#[test]
fn a_task_that_is_a_folder() {
    let folder = TempDir::new().expect("a temporary directory");
    refused(wasmpool().arg("map").arg(folder.path()), &[&folder.path().display().to_string()]);
}

#[test]
fn a_task_that_is_truncated() {
    for end in [0, 3, 8, 20, 42] {
        let task = file("short.wasm", &SQUARE_BINARY[..end]);
        refused(map(&task), &[]);
    }
    let whole = std::fs::read(built("square").path()).expect("the guest is built");
    let task = file("half.wasm", &whole[..whole.len() / 2]);
    refused(map(&task), &["half.wasm"]);
}

#[test]
fn a_task_that_is_not_wasm() {
    refused(map(&file("task.wasm", b"#!/bin/sh\nexit\n")), &["task.wasm"]);
    refused(map(&file("task.wat", b"(module (func $f)")), &[]);
    refused(map(&file("task.wasm", &[0xff; 4096])), &[]);
}

#[test]
fn a_task_that_is_wasm_and_invalid() {
    let text = r#"(module (func (export "f") (param i64) (result i64) (i32.const 1)))"#;
    refused(map(&wat(text)), &[]);
}

#[test]
fn a_task_that_exports_no_function() {
    refused(map(&wat("(module (memory (export \"memory\") 1))")), &[]);
    refused(map(&wat("(module)")), &[]);
}

#[test]
fn a_function_that_does_not_exist_near_one_that_does() {
    refused(map(&wat(SQUARE)).args(["-f", "squre"]), &["squre", "square"]);
    refused(map(&built("identity")).args(["-f", "echo-strng"]), &["echo-string"]);
    refused(map(&wat(interfaces())).args(["-f", "one/aply"]), &["apply"]);
}

#[test]
fn a_function_that_does_not_exist_near_none() {
    refused(map(&wat(SQUARE)).args(["-f", "completely-else"]), &["completely-else"]);
}

#[test]
fn a_function_with_a_resource_parameter() {
    refused(map(&wat(RESOURCE)), &["take", "resource"]);
    refused(map(&wat(RESOURCE)).args(["-f", "take"]), &["take", "resource"]);
}

#[test]
fn two_functions_and_none_named() {
    let task = wat(component(
        r#"
    (func (export "double") (param i64) (result i64) (local.get 0))
    (func (export "halve") (param i64) (result i64) (local.get 0))"#,
        &[lift("double", r#"(param "x" s64) (result s64)"#), lift("halve", r#"(param "x" s64) (result s64)"#)],
    ));
    refused(map(&task), &["double", "halve"]);
    let task = wat(r#"(module
             (func (export "double") (param i64) (result i64) (local.get 0))
             (func (export "halve") (param i64) (result i64) (local.get 0)))"#);
    refused(map(&task), &["double", "halve"]);
}

#[test]
fn an_import_that_nothing_provides() {
    refused(map(&wat(FOREIGN_COMPONENT)), &["acme:store/keys"]);
    refused(map(&wat(FOREIGN_MODULE)), &["environs", "magic"]);
}

#[test]
fn an_argument_that_is_not_json() {
    refused(map(&wat(minus())).args(["--arg", "take=three"]), &["take"]);
    refused(map(&wat(minus())).args(["--arg", "take"]), &["take"]);
    refused(map(&wat(minus())).args(["--arg", "take="]), &["take"]);
}

#[test]
fn an_argument_of_another_type() {
    refused(map(&wat(minus())).args(["--arg", "take=\"3\""]), &["take", "s64"]);
}

#[test]
fn an_argument_for_a_parameter_that_is_not_there() {
    refused(map(&wat(minus())).args(["--arg", "tkae=3"]), &["tkae", "take"]);
}

#[test]
fn an_argument_given_twice() {
    let twice = ["--arg", "take=3", "--arg", "take=4"];
    refused(map(&wat(minus())).args(twice), &["take"]);
}

#[test]
fn an_init_argument_that_is_not_json() {
    refused(map(&wat(initialised())).args(["--init", "{"]), &["init"]);
}

#[test]
fn a_batch_of_a_function_that_takes_no_list() {
    refused(map(&wat(SQUARE)).arg("--batch"), &["batch"]);
}

#[test]
fn values_that_options_do_not_take() {
    for [option, value] in [
        ["--isolate", "sometimes"],
        ["--output-format", "xml"],
        ["--input-format", "xml"],
        ["--delimiter", "comma"],
        ["--timeout", "soon"],
        ["--timeout", "-1s"],
        ["--memory", "plenty"],
        ["--memory", "12XiB"],
        ["--max-output", "-1"],
        ["--fuel", "full"],
        ["--workers", "0"],
        ["--workers", "many"],
        ["--chunk-size", "0"],
        ["--chunk-size", "few"],
    ] {
        refused(map(&wat(SQUARE)).arg(format!("{option}={value}")), &[value]);
    }
}

#[test]
fn options_and_commands_that_are_not_there() {
    refused(map(&wat(SQUARE)).arg("--parallel"), &["--parallel"]);
    refused(wasmpool().arg("mapp"), &["mapp", "map"]);
    refused(wasmpool().arg("map"), &["TASK"]);
}

#[test]
fn an_input_that_cannot_be_read() {
    let task = wat(SQUARE);
    refused(map(&task).arg("/nowhere/items"), &["/nowhere/items"]);
    let folder = TempDir::new().expect("a temporary directory");
    refused(map(&task).arg(folder.path()), &[&folder.path().display().to_string()]);
    // Not even the first of the files is mapped.
    let good = folder.path().join("good");
    std::fs::write(&good, "1\n").expect("written");
    refused(map(&task).arg(&good).arg("/nowhere/items"), &["/nowhere/items"]);
}

#[test]
fn a_wrong_option_set_by_the_environment() {
    let run = map(&wat(SQUARE)).env("WASMPOOL_TIMEOUT", "soon");
    refused(run, &["soon"]);
}

#[test]
fn a_dash_for_what_can_be_no_stream() {
    let folder = TempDir::new().expect("a temporary directory");
    let left = || std::fs::read_dir(folder.path()).expect("a directory").count();
    for option in ["--journal", "--results", "--policy"] {
        let run = || map(&wat(SQUARE)).directory(folder.path());
        refused(run().args([option, "-"]), &[&format!("{option} -"), "standard stream", "./-"]);
        let variable = format!("WASMPOOL_{}", option.trim_start_matches('-').to_uppercase());
        refused(run().env(&variable, "-"), &[&format!("{variable} of the environment (-)"), "./-"]);
        assert_eq!(left(), 0, "{option}");
    }
    let call = wasmpool().arg("call").task(&wat(SQUARE)).args(["square", "3", "--policy", "-"]);
    refused(call.directory(folder.path()), &["--policy -", "./-"]);
    // A file of that name can be had.
    map(&wat(SQUARE)).directory(folder.path()).args(["--journal", "./-"]).input("3\n").run().exits(0);
    assert!(folder.path().join("-").is_file());
}

#[test]
fn failed_items_among_the_results() {
    let folder = TempDir::new().expect("a temporary directory");
    let run = || map(&wat(SQUARE)).directory(folder.path()).args(["--failed", "-"]);
    refused(run(), &["--failed -", "standard output", "-o FILE"]);
    refused(run().args(["-o", "-"]), &["--failed -"]);
    refused(map(&wat(SQUARE)).env("WASMPOOL_FAILED", "-"), &["WASMPOOL_FAILED of the environment"]);
    // A pipe is the same under every name.
    refused(map(&wat(SQUARE)).args(["--failed", "/dev/stdout"]), &["--failed /dev/stdout", "standard output"]);
    refused(map(&wat(SQUARE)).args(["--failed", "/dev/fd/1", "-o", "/dev/stdout"]), &["the same pipe"]);
    // They may have it for themselves.
    let output = run().args(["-o", "results"]).input("3\n\"x\"\n").run().exits(1);
    assert!(output.text().contains("invalid-input"), "{}", output.text());
    assert_eq!(std::fs::read_to_string(folder.path().join("results")).expect("it is there"), "9\n");
}

#[test]
fn standard_input_that_would_be_read_twice() {
    let (task, folder) = (wat(SQUARE), TempDir::new().expect("a temporary directory"));
    let policy = folder.path().join("policy");
    let one = |path: &str| format!("one={path}");
    let named = format!("two={}", task.path().display());
    let run = |args: &[&str]| wasmpool().args(args).directory(folder.path());
    for stdin in ["-", "/dev/stdin", "/proc/self/fd/0"] {
        let what = format!("the task ({stdin})");
        refused(run(&["map", stdin]), &[&what, "no INPUT is named"]);
        refused(run(&["exec", stdin]), &[&what, "no INPUT is named"]);
        refused(run(&["map", stdin, "-"]), &[&what, "the input (-)"]);
        refused(run(&["map", stdin, "items", "/dev/stdin"]), &[&what, "the input (/dev/stdin)"]);
        refused(run(&["map", "--task", &one(stdin), "--task", &named]), &["the task `one`", "no INPUT is named"]);
        refused(run(&["map", "--task", &one(stdin), "--task", "two=-", "items"]), &["the task `one`", "`two`"]);
    }
    refused(run(&["call", "-", "square", "3", "--policy", "/dev/stdin"]), &["the task (-)", "the policy (/dev/stdin)"]);
    refused(map(&task).args(["--policy", "/dev/stdin"]), &["the policy (/dev/stdin)", "no INPUT is named"]);
    // Each of them alone may read it.
    std::fs::write(folder.path().join("items"), "3\n").expect("written");
    let squared = |run: Run, input: &str| assert_eq!(run.input(input).run().exits(0).text(), "9\n");
    squared(run(&["map", "-", "items"]), SQUARE);
    squared(run(&["map", "/dev/stdin", "items"]), SQUARE);
    squared(run(&["call", "-", "square", "3"]), SQUARE);
    squared(map(&task).arg("/dev/stdin"), "3\n");
    squared(
        map(&task).directory(folder.path()).args(["--policy", "/dev/stdin", "items"]),
        "[limits]\nmemory = \"1MiB\"\n",
    );
    // What is read anew, or holds nothing, takes nothing from anybody.
    let nothing = || std::fs::File::open("/dev/null").expect("it is there");
    map(&task).args(["--policy", "/dev/null"]).stdin_from(nothing()).run().exits(0);
    std::fs::write(&policy, "").expect("written");
    map(&task).arg("--policy").arg(&policy).input("3\n").run().exits(0);
}

#[test]
fn what_is_not_utf_8_is_named_with_a_way_out() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let bad = OsStr::from_bytes(b"a\xff\x1b[2J");
    let shown = "`a\\xff\\u{1b}[2J`";
    let named = |run: Run, what: &str| refused(run, &[what, "is not UTF-8", "link"]);
    let task = || map(&wat(SQUARE));
    for option in ["-f", "--function", "--arg", "--dir", "--timeout", "--halt"] {
        named(task().arg(option).arg(bad), &format!("the argument {shown} behind {option}"));
    }
    let joined = OsStr::from_bytes(b"--dir=/a\xff::/in");
    named(task().arg(joined), "the argument `--dir=/a\\xff::/in`");
    named(wasmpool().arg("call").task(&wat(SQUARE)).arg("square").arg(bad), &format!("the argument {shown} is"));
    named(wasmpool().arg("exec").task(&wat(SQUARE)).args(["--", "x"]).arg(bad), &format!("the argument {shown} is"));
    for variable in ["WASMPOOL_FUNCTION", "WASMPOOL_ENV", "WASMPOOL_TASK", "WASMPOOL_TIMEOUT"] {
        let run = task().env(variable, bad);
        named(run, &format!("{variable} of the environment is"));
    }
    // A path may be anything, and is not blamed for others.
    let folder = TempDir::new().expect("a temporary directory");
    let out = folder.path().join(bad);
    named(task().arg("-o").arg(&out).arg("-f").arg(bad), &format!("the argument {shown} behind -f"));
    task().env("WASMPOOL_OUTPUT", &out).input("3\n").run().exits(0);
    assert_eq!(std::fs::read_to_string(&out).expect("it is there"), "9\n");
}

#[test]
fn an_empty_input_does_not_hide_it() {
    let nothing = |run: Run, says: &str| {
        let output = run.input("").run().exits(2);
        assert_eq!(output.text(), "");
        assert!(output.stderr.contains(says), "{says} is not in: {}", output.stderr);
    };
    let square = wat(SQUARE);
    nothing(map(&square).args(["-f", "squre"]), "squre");
    nothing(map(&wat(FOREIGN_MODULE)), "import");
    nothing(map(&square).args(["--arg", "nothing=3"]), "nothing");
    nothing(wasmpool().arg("exec").task(&square), "_start");
    let folder = TempDir::new().expect("a temporary directory");
    let rows = folder.path().join("rows.csv");
    std::fs::write(&rows, "from,takes\n").expect("written");
    nothing(map(&wat(minus())).args(["--input-format", "csv"]).arg(&rows), "`take: s64`");
    let tasks = |second: &str| {
        let named = |name: &str, task: &std::path::Path| format!("--task={name}={}", task.display());
        wasmpool().arg("map").arg(named("a", square.path())).arg(named("b", square.path())).args(["-f", second])
    };
    nothing(tasks("squre"), "squre");
    // What is right stays right, and nothing is printed.
    std::fs::write(&rows, "from,take\n").expect("written");
    let runs = [map(&square), map(&wat(minus())).args(["--input-format", "csv"]).arg(&rows), tasks("square")];
    for run in runs {
        assert_eq!(run.input("").run().exits(0).text(), "");
    }
}

#[test]
fn a_task_in_place_of_a_command_is_not_taken_for_a_command_that_is_similar() {
    let output = wasmpool().arg("square.wat").run().exits(2);
    assert!(!output.stderr.contains("share"), "{}", output.stderr);
    for (command, option) in [("exec", "--isolate"), ("exec", "--batch")] {
        let output = wasmpool().args([command, "task.wasm", option]).run().exits(2);
        for tip in ["--speculate", "--scratch", "-- --"] {
            assert!(!output.stderr.contains(tip), "{}", output.stderr);
        }
    }
}
