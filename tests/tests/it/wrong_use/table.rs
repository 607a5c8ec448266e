//! A table of what people do wrong: for each, the exit code, and what the message has to say. The message names the thing
//! and the way out, in words and not in the forms of a program, and is short.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use crate::support::run::wasmpool;
use crate::support::wat::SQUARE;

/// What somebody types, with variables of the environment in front; the exit code; parts of the message.
type Row = (&'static str, i32, &'static [&'static str]);

/// Most lines of a message. The usage of a command takes some.
const MOST_LINES: usize = 12;

/// Runs the rows of a table, several at a time, in a folder with these files.
#[track_caller]
fn checked(rows: &[Row]) {
    let folder = folder();
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = faults(row, folder.path());
                    wrong.lock().expect("no thread panics").extend(found);
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("no thread panics");
    assert!(wrong.is_empty(), "{} faults:\n\n{}", wrong.len(), wrong.join("\n\n"));
}

/// Returns what is wrong with the answer to a row.
fn faults((line, code, parts): &Row, folder: &Path) -> Vec<String> {
    let (mut run, mut begun) = (wasmpool().directory(folder).input("1\n2\n"), false);
    for word in words(line) {
        match word.split_once('=').filter(|(name, _)| !begun && name.starts_with("WASMPOOL_")) {
            Some((name, value)) => run = run.env(name, value),
            None => {
                begun = true;
                run = run.arg(word);
            }
        }
    }
    let output = run.run();
    let message = &output.stderr;
    let mut faults = Vec::new();
    if output.code != *code {
        faults.push(format!("the exit code is {}, not {code}", output.code));
    }
    if *code == 2 && !output.text().is_empty() {
        faults.push(format!("something ran, and printed {}", output.text()));
    }
    for part in parts.iter().filter(|part| !message.contains(*part)) {
        faults.push(format!("`{part}` is not in the message"));
    }
    for form in FORMS.iter().filter(|form| message.contains(*form)) {
        faults.push(format!("`{form}` is no plain English"));
    }
    if message.lines().count() > MOST_LINES {
        faults.push(format!("it has more than {MOST_LINES} lines"));
    }
    if message.matches("error:").count() > 1 {
        faults.push("it has more than one error".to_owned());
    }
    if !["error: ", "wasmpool: "].iter().any(|start| message.starts_with(start)) {
        faults.push("nobody says who speaks".to_owned());
    }
    faults.into_iter().map(|fault| format!("wasmpool {line}\n  {fault}:\n{message}")).collect()
}

/// What belongs to a program, not to its users.
const FORMS: [&str; 16] = [
    "panicked",
    "RUST_BACKTRACE",
    "stack backtrace",
    "Some(",
    "None",
    "Ok(",
    "Err(",
    "Error(",
    "Error {",
    "Os {",
    "kind: ",
    "PathBuf",
    "unwrap",
    "invalid digit",
    "<anon>",
    "\\\"",
];

/// Splits a line at spaces that are not within single quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().expect("there is one").push(c),
        }
    }
    words
}

fn folder() -> TempDir {
    let folder = TempDir::new().expect("a temporary directory");
    for (name, content) in FILES {
        std::fs::write(folder.path().join(name), content).expect("written");
    }
    std::fs::write(folder.path().join("square.wat"), SQUARE).expect("written");
    for name in ["empty", "full"] {
        std::fs::create_dir(folder.path().join(name)).expect("made");
    }
    std::fs::write(folder.path().join("full/file"), "").expect("written");
    folder
}

/// The files that the rows name.
const FILES: [(&str, &[u8]); 49] = [
    ("page.wasm", b"<!DOCTYPE html><html><body>404</body></html>"),
    ("task.wasm.gz", b"\x1f\x8b\x08\0aaaa"),
    ("task.zip", b"PK\x03\x04aaaa"),
    ("native", b"\x7fELF\x02\x01\x01\0"),
    ("lfs.wasm", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n"),
    ("f.rs", b"fn main() {}\n"),
    ("f.py", b"def f(x):\n    return x\n"),
    ("f.c", b"int f(int x) { return x; }\n"),
    ("f.js", b"export function f(x) { return x }\n"),
    ("f.ts", b"export function f(x: number): number { return x }\n"),
    ("f.go", b"package main\n\nfunc main() {}\n"),
    ("source.wasm", b"fn main() {}\n"),
    ("script", b"#!/bin/sh\nexit\n"),
    ("words", b"hello world\n"),
    ("bytes", b"\xff\xfe\xfd\xfc"),
    ("nothing.wasm", b""),
    ("cut.wasm", b"\0asm\x01\0\0\0\x01"),
    ("items.jsonl", b"1\n2\n"),
    ("rows.csv", b"a,b\n1,2\n"),
    ("syntax.wat", b"(module\n  (func (export \"f\")\n    (i64.mull)))\n"),
    ("invalid.wat", b"(module (func (export \"f\") (result i64) (i32.const 1)))"),
    ("shared.wat", b"(module (memory 1 1 shared) (func (export \"f\")))"),
    ("atomic.wat", b"(module (memory 1) (func (export \"f\") (drop (i32.atomic.load (i32.const 0)))))"),
    ("stacks.wat", b"(module (type $f (func)) (type $c (cont $f)) (func (export \"f\")))"),
    ("legacy.wat", b"(module (tag $e) (func (export \"f\") try nop catch $e end))"),
    ("pages.wat", b"(module (memory 1 (pagesize 1)) (func (export \"f\")))"),
    ("object.wat", b"(module (import \"env\" \"__linear_memory\" (memory 1)) (func (export \"f\")))"),
    ("side.wat", b"(module (import \"env\" \"memory\" (memory 1)) (func (export \"f\")))"),
    ("minified.wat", b"(module (import \"a\" \"b\" (func)) (func (export \"f\")))"),
    ("files.wat", b"(module (import \"env\" \"__syscall_openat\" (func)) (func (export \"f\")))"),
    ("throws.wat", b"(module (import \"env\" \"invoke_vi\" (func)) (func (export \"f\")))"),
    ("bindgen.wat", b"(module (import \"wbg\" \"__wbindgen_throw\" (func)) (func (export \"f\")))"),
    ("browser.wat", b"(module (import \"gojs\" \"runtime.wasmExit\" (func)) (func (export \"f\")))"),
    ("bare.wat", b"(module)"),
    ("large.wat", b"(module (memory 32) (func (export \"f\")))"),
    ("command.wat", b"(module (memory (export \"memory\") 1) (func (export \"_start\")))"),
    (
        "two.wat",
        b"(module (func (export \"double\") (param i64) (result i64) (local.get 0))
            (func (export \"halve\") (param i64 i64) (result i64) (local.get 0)))",
    ),
    (
        "loop.wat",
        b"(module (memory (export \"memory\") 1)
            (func (export \"endless\") (param i32) (loop (br 0)))
            (func (export \"greedy\") (param i32) (drop (memory.grow (i32.const 100))) unreachable))",
    ),
    ("plugin.toml", b"wasm = \"gone.wasm\"\n"),
    ("broken.toml", b"wasm = \n"),
    ("lots.toml", b"[limits]\nmemory = \"lots\"\n"),
    ("limitz.toml", b"[limitz]\n"),
    ("no-function.toml", b"[process.a]\ntask = \"two.wat\"\n"),
    ("count.toml", b"[process.a]\ntask = \"square.wat\"\nfunction = \"square\"\nargs = [1]\ncount = 0\n"),
    ("gone.toml", b"[process.a]\ntask = \"gone.wasm\"\n"),
    ("page.toml", b"[process.a]\ntask = \"page.wasm\"\nfunction = \"f\"\n"),
    ("prose.toml", b"prose\n"),
    ("share.toml", b"[share]\njobs = \"queu\"\n[process.a]\ntask = \"square.wat\"\n"),
    ("unknown.toml", b"[process.a]\ntask = \"square.wat\"\ntimeout = \"1s\"\n"),
];

#[test]
fn a_file_that_is_no_task_is_recognised() {
    checked(&[
        ("map page.wasm", 2, &["page.wasm", "HTML", "was a web page downloaded instead of the file?"]),
        ("exec page.wasm", 2, &["page.wasm", "HTML"]),
        ("call page.wasm f", 2, &["page.wasm", "HTML"]),
        ("inspect page.wasm", 2, &["page.wasm", "HTML"]),
        ("compile page.wasm", 2, &["page.wasm", "HTML"]),
        ("map --dry-run page.wasm", 2, &["page.wasm", "HTML"]),
        ("map --task a=page.wasm --task b=square.wat", 2, &["task a: page.wasm", "HTML"]),
        ("run page.toml", 2, &["process a", "HTML"]),
        ("map task.wasm.gz", 2, &["gzip", "gunzip"]),
        ("map task.zip", 2, &["zip archive", "unpack it"]),
        ("map native", 2, &["ELF", "wasm32-wasip2"]),
        ("map lfs.wasm", 2, &["Git LFS", "git lfs pull"]),
        ("map f.rs", 2, &["f.rs", "Rust", "cargo build --target wasm32-wasip2"]),
        ("map f.py", 2, &["f.py", "Python", "componentize-py"]),
        ("map f.c", 2, &["f.c", "C or C++", "wasi-sdk"]),
        ("map f.js", 2, &["f.js", "JavaScript", "jco componentize"]),
        ("map f.ts", 2, &["f.ts", "TypeScript", "asc"]),
        ("map f.go", 2, &["f.go", "Go source", "GOOS=wasip1"]),
        ("call f.rs f 1", 2, &["f.rs", "Rust"]),
        ("map source.wasm", 2, &["source.wasm", "Rust"]),
        ("map script", 2, &["a script"]),
        ("map words", 2, &["words", "neither WebAssembly nor its text form", "words:1:1"]),
        ("map bytes", 2, &["00 61 73 6d", "ff fe fd fc"]),
        ("map nothing.wasm", 2, &["nothing.wasm", "empty"]),
        ("map cut.wasm", 2, &["cut.wasm", "cut short", "again"]),
        ("map gone.wasm", 2, &["the task gone.wasm", "No such file"]),
        ("map full", 2, &["full/plugin.toml", "name a .wasm or .wat file"]),
        ("map plugin.toml", 2, &["gone.wasm", "plugin.toml names it", "build the plugin first"]),
        ("call plugin.toml f 1", 2, &["gone.wasm", "build the plugin first"]),
        ("inspect plugin.toml", 2, &["gone.wasm", "build the plugin first"]),
        ("compile plugin.toml", 2, &["gone.wasm", "build the plugin first"]),
        ("inspect full", 2, &["full/plugin.toml"]),
        ("compile gone.wasm", 2, &["gone.wasm"]),
    ]);
}

#[test]
fn what_stands_in_each_other_s_place_is_told_with_the_line_to_type() {
    checked(&[
        ("map items.jsonl", 2, &["items.jsonl", "JSON", "is it the input?"]),
        ("map rows.csv", 2, &["rows.csv", "is it the input?"]),
        ("map items.jsonl square.wat", 2, &["square.wat", "wasmpool map square.wat items.jsonl"]),
        ("map rows.csv square.wat", 2, &["wasmpool map square.wat rows.csv"]),
        ("map gone.jsonl square.wat", 2, &["wasmpool map square.wat gone.jsonl"]),
        ("map --dry-run items.jsonl square.wat", 2, &["wasmpool map square.wat items.jsonl"]),
        ("exec items.jsonl command.wat", 2, &["wasmpool exec command.wat items.jsonl"]),
        ("call square square.wat 3", 2, &["before its function", "wasmpool call square.wat square"]),
        ("square.wat", 2, &["square.wat", "wasmpool map square.wat", "wasmpool inspect square.wat"]),
        ("gone.wasm", 2, &["a command stands before the task", "wasmpool map gone.wasm"]),
        ("exec command.wat items.jsonl {}", 2, &["cannot read the input {}", "exec command.wat items.jsonl -- '{}'"]),
        ("exec command.wat gone.jsonl", 2, &["gone.jsonl", "stand behind --"]),
        ("mpa square.wat", 2, &["mpa", "'map'"]),
        ("exec square.wat", 2, &["not a WASI command", "wasmpool map", "square: func"]),
        ("map command.wat", 2, &["WASI command", "wasmpool exec"]),
        ("call command.wat greet x", 2, &["WASI command", "wasmpool exec"]),
        ("map command.wat -f greet", 2, &["WASI command", "wasmpool exec"]),
        ("run square.wat", 2, &["square.wat is a task", "wasmpool map"]),
    ]);
}

#[test]
fn a_task_that_cannot_be_run_is_told_with_how_to_build_it() {
    checked(&[
        ("map syntax.wat", 2, &["syntax.wat", "unknown operator", "syntax.wat:3:6", "(i64.mull)"]),
        ("map invalid.wat", 2, &["not valid WebAssembly", "expected i64, found i32"]),
        ("map shared.wat", 2, &["it uses threads", "wasmpool does not run", "-pthread"]),
        ("map atomic.wat", 2, &["it uses threads", "-pthread"]),
        ("map stacks.wat", 2, &["it uses stack switching"]),
        ("map legacy.wat", 2, &["old form of exception handling", "--translate-to-exnref"]),
        ("map pages.wat", 2, &["custom page sizes"]),
        ("inspect shared.wat", 2, &["it uses threads"]),
        ("map object.wat", 2, &["__linear_memory", "object file", "wasm-ld"]),
        ("map side.wat", 2, &["`memory` from `env`", "--import-memory"]),
        ("map minified.wat", 2, &["`b` from `a`", "-sSTANDALONE_WASM"]),
        ("map files.wat", 2, &["__syscall_openat", "-sSTANDALONE_WASM"]),
        ("map throws.wat", 2, &["invoke_vi", "-fwasm-exceptions"]),
        ("map bindgen.wat", 2, &["__wbindgen_throw", "wasm-bindgen", "wasm32-wasip2"]),
        ("map browser.wat", 2, &["runtime.wasmExit", "GOOS=wasip1"]),
        ("map bare.wat", 2, &["exports no function"]),
    ]);
}

#[test]
fn functions_and_arguments_that_do_not_fit_are_told_with_those_that_do() {
    checked(&[
        ("map two.wat", 2, &["several functions", "--function", "double: func", "halve: func"]),
        ("map two.wat -f doubl", 2, &["no function `doubl`", "did you mean `double`?"]),
        ("call two.wat triple 1", 2, &["no function `triple`", "double: func"]),
        ("call two.wat halve 1", 2, &["p0: s64, p1: s64"]),
        ("call two.wat halve 1 2 3", 2, &["halve: func(p0: i64, p1: i64)", "takes 2 arguments, and 3 are given"]),
        ("call square.wat square 1 2", 2, &["takes 1 argument, and 2 are given"]),
        ("call square.wat square", 2, &["takes 1 argument, and none is given"]),
        ("call square.wat", 2, &["<FUNCTION>", "wasmpool inspect TASK"]),
        ("call square.wat 3", 2, &["no function `3`", "square: func"]),
        ("call square.wat square x", 2, &["expected s64, got x"]),
        ("call square.wat square 1.5", 2, &["expected s64, got 1.5", "without fraction"]),
        ("call square.wat square 9223372036854775808", 2, &["out of range"]),
        ("map square.wat --init 1", 2, &["--init", "needs a component"]),
        ("map square.wat --init '{'", 2, &["--init", "not JSON"]),
        ("map square.wat --batch", 2, &["--batch", "takes one list"]),
        ("map square.wat --flatten", 2, &["--flatten", "returns a list"]),
        ("map square.wat --arg x=1", 2, &["--arg x", "there is only `p0`"]),
        ("map square.wat --arg p0", 2, &["--arg", "NAME=JSON"]),
        ("map square.wat --arg p0=x", 2, &["p0", "expected s64"]),
        ("map square.wat rows.csv", 2, &["rows.csv", "`p0: s64`", "--no-header"]),
    ]);
}

#[test]
fn limits_are_named_with_their_values() {
    checked(&[
        ("call loop.wat endless 1 --timeout 50ms", 1, &["did not end within --timeout 50ms"]),
        ("call loop.wat endless 1 --fuel 10000", 1, &["used up its --fuel 10000"]),
        ("call loop.wat greedy 1 --memory 2MiB", 1, &["memory beyond --memory 2MiB"]),
        ("call loop.wat greedy 1 --memory 100000", 1, &["memory beyond --memory 100000"]),
        ("map large.wat --memory 1MiB", 2, &["starts with 2 MiB of memory", "--memory 1MiB allows"]),
        ("map square.wat --deterministic --timeout 1s", 2, &["--timeout", "--deterministic", "--fuel"]),
    ]);
}

/// What somebody wrote, they meant something by.
#[test]
fn an_option_that_would_have_no_effect_is_refused_with_what_it_is_for() {
    checked(&[
        ("map square.wat --delimiter nul", 2, &["--delimiter nul", "--output-format raw", "--output-format values"]),
        ("map square.wat --delimiter newline --output-format csv", 2, &["--delimiter newline", "--output-format csv"]),
        (
            "map square.wat --delimiter none --output-format records",
            2,
            &["--delimiter none", "--output-format records"],
        ),
        (
            "map --task a=square.wat --task b=square.wat --delimiter nul",
            2,
            &["--delimiter nul", "--output-format records"],
        ),
        ("exec command.wat --output-format values --delimiter nul", 2, &["--delimiter nul", "--output-format raw"]),
        ("map square.wat --csv-delimiter ,", 2, &["--csv-delimiter", "--input-format csv"]),
        ("map square.wat --no-header --input-format json", 2, &["--no-header", "--input-format csv"]),
        ("map square.wat --null --input-format nul", 2, &["--null", "--input-format files"]),
        ("map square.wat --keep a --output-format raw", 2, &["--keep", "--output-format"]),
        ("map square.wat --keep a --input-format lines", 2, &["--keep", "--input-format csv"]),
        ("map square.wat --results-name {}", 2, &["--results-name", "--results DIR"]),
        ("map square.wat --results r --results-name {##}", 2, &["{##} stands for nothing", "{#}"]),
        (
            "map square.wat --results r --results-name {a} --input-format files",
            2,
            &["member `a`", "--input-format csv"],
        ),
        ("map square.wat --results r --results-name {a} --input-format lines", 2, &["member `a`", "have none"]),
        ("map square.wat --retry-on trap", 2, &["--retry-on", "--retries N"]),
        ("map square.wat --resume", 2, &["--resume", "--journal FILE"]),
        ("map square.wat --set-aside 3", 2, &["--set-aside", "--task NAME=FILE"]),
        ("map square.wat --speculate never", 2, &["--speculate", "--via URL"]),
        ("map square.wat --via-storage memory", 2, &["--via-storage", "--via URL"]),
        ("map square.wat --via-storage file", 2, &["--via-storage", "--via URL"]),
        ("map square.wat --check 3%", 2, &["--check", "--via URL"]),
        ("map square.wat --nkey square.wat", 2, &["--nkey", "--via URL"]),
        ("map square.wat --share-out held.json", 2, &["--share-out", "--share NAME=KIND"]),
        ("call square.wat square 3 --share-in held.json", 2, &["--share-in", "--share NAME=KIND"]),
        ("exec command.wat -I @", 2, &["--replace @", "none of the arguments", "behind --"]),
        ("exec command.wat --replace-index % -- a", 2, &["--replace-index %", "none of the arguments"]),
        ("map square.wat -v -q", 2, &["--verbose", "--quiet", "leave one out"]),
        ("inspect square.wat -vq", 2, &["--verbose", "--quiet", "leave one out"]),
        ("serve --print-permissions a --name b", 2, &["--print-permissions", "--name", "leave one out"]),
    ]);
}

/// The environment may have options for other runs, and some have an effect in a way that is not seen at once.
#[test]
fn an_option_that_has_an_effect_or_comes_from_the_environment_is_not_refused() {
    let folder = folder();
    for (environment, line) in [
        (
            &[("WASMPOOL_DELIMITER", "nul"), ("WASMPOOL_RETRY_ON", "trap"), ("WASMPOOL_SPECULATE", "never")][..],
            "map square.wat",
        ),
        (&[("WASMPOOL_CSV_DELIMITER", ","), ("WASMPOOL_VIA_STORAGE", "file")], "map square.wat"),
        (&[("WASMPOOL_QUIET", "1")], "map square.wat -v"),
        (&[], "map square.wat --retries 1 --retry-on trap"),
        (&[], "map square.wat --output-format raw --delimiter newline"),
        (&[], "exec command.wat -I @ -- {}"),
        (&[], "exec command.wat -I @ -- a@b"),
    ] {
        let run = wasmpool().directory(folder.path()).args(line.split(' ')).input("1\n2\n");
        environment.iter().fold(run, |run, (name, value)| run.env(name, value)).run().exits(0);
    }
}

#[test]
fn values_of_options_are_told_with_what_they_have_to_be() {
    checked(&[
        ("map square.wat -j -1", 2, &["'-1' for '-j'", "begins with `-`"]),
        ("map square.wat --retries -1", 2, &["'-1' for '--retries'"]),
        ("map square.wat --timeout -1s", 2, &["'-1s' for '--timeout", "500ms"]),
        ("exec command.wat --fuel -1", 2, &["'-1' for '--fuel'"]),
        ("map square.wat --fuel 1e6", 2, &["--fuel", "in digits: 1000000"]),
        ("map square.wat --fuel 2k", 2, &["--fuel", "in digits: 2000"]),
        ("map square.wat --memory 99E", 2, &["--memory", "too large"]),
        ("exec command.wat --ok-codes abc", 2, &["--ok-codes", "such as 0,1"]),
        ("WASMPOOL_WORKERS=99999 map square.wat", 2, &["WASMPOOL_WORKERS of the environment", "from 1 to 4096"]),
        ("WASMPOOL_WORKERS=99999 map square.wat -j 0", 2, &["'0' for '--workers"]),
        ("WASMPOOL_RESUME=2 map square.wat", 2, &["WASMPOOL_RESUME of the environment", "1 or 0"]),
        (
            "WASMPOOL_ISOLATE=x call square.wat square 3",
            2,
            &["WASMPOOL_ISOLATE of the environment", "item, chunk, worker"],
        ),
        ("WASMPOOL_OLDER=x cache clean", 2, &["WASMPOOL_OLDER of the environment", "h or d"]),
        ("WASMPOOL_J=2 map square.wat", 0, &["is WASMPOOL_WORKERS meant?"]),
        ("map square.wat --dir full::/x:rx", 2, &["--dir", "no mode :rx", ":rw"]),
        ("map square.wat --dir full::/x:WR", 2, &["no mode :WR"]),
        ("map square.wat --fuel x", 2, &["'x'", "--fuel", "a whole number"]),
        ("map square.wat --fuel 99999999999999999999", 2, &["--fuel", "too large"]),
        ("map square.wat -j many", 2, &["'many'", "--workers", "a whole number"]),
        ("map square.wat -j 0", 2, &["--workers", "a number from 1 to 4096"]),
        ("map square.wat --retries x", 2, &["--retries", "a whole number"]),
        ("map square.wat --first 0", 2, &["--first", "a number from 1"]),
        ("map square.wat --max-items-per-worker 0", 2, &["--max-items-per-worker", "from 1"]),
        ("map square.wat --timeout 1", 2, &["--timeout", "500ms"]),
        ("map square.wat --timeout 0s", 2, &["--timeout", "longer than nothing"]),
        ("map square.wat --memory lots", 2, &["--memory", "256MiB"]),
        ("map square.wat --max-output x", 2, &["--max-output", "256MiB"]),
        ("map square.wat --isolate x", 2, &["--isolate", "item, chunk, worker"]),
        ("map square.wat --halt x", 2, &["--halt", "soon"]),
        ("map square.wat --retry-on x", 2, &["--retry-on", "worker-lost"]),
        ("map square.wat --sandbox x", 2, &["--sandbox", "best-effort"]),
        ("map square.wat --chunk-size 0", 2, &["--chunk-size", "auto"]),
        ("map square.wat --set-aside 0", 2, &["--set-aside", "20%"]),
        ("map square.wat --check 200%", 2, &["--check", "1% to 100%"]),
        ("map square.wat --env A", 2, &["--env", "NAME=VALUE"]),
        ("map square.wat --dir /tmp", 2, &["--dir", "HOST::GUEST"]),
        ("map square.wat --dir /nowhere::/a", 2, &["/nowhere", "--dir"]),
        ("map square.wat --scratch a::b", 2, &["--scratch", "/tmp"]),
        ("map square.wat --allow-net example.org", 2, &["--allow-net", "HOST:PORT"]),
        ("map square.wat --share x", 2, &["--share", "jobs=queue:100"]),
        ("map square.wat --share x=queu", 2, &["`queu`", "did you mean queue?"]),
        ("map square.wat --share-in q=x", 2, &["--share-in", "--share NAME=KIND"]),
        ("map square.wat --input-format x", 2, &["--input-format", "jsonl"]),
        ("map square.wat --output-format x", 2, &["--output-format", "records"]),
        ("map square.wat --delimiter x", 2, &["--delimiter", "newline"]),
        ("map square.wat --csv-delimiter ab rows.csv", 2, &["--csv-delimiter", "one character"]),
        ("map square.wat --null --input-format csv", 2, &["--null", "--input-format files"]),
        ("map square.wat --task a", 2, &["--task", "NAME=FILE"]),
        ("map --task a=square.wat --task a=two.wat", 2, &["two tasks are called a", "--task"]),
        ("map square.wat --report x", 2, &["--report", ".html"]),
        ("map square.wat --via x", 2, &["--via", "nats://127.0.0.1:4222"]),
        ("exec command.wat --ok-codes x", 2, &["--ok-codes", "whole numbers"]),
        ("WASMPOOL_TIMEOUT=soon map square.wat", 2, &["'soon'", "500ms"]),
        ("WASMPOOL_WORKERS=no map square.wat", 2, &["'no'", "a whole number"]),
        ("WASMPOOL_TIMEOT=1s map square.wat", 0, &["WASMPOOL_TIMEOT", "WASMPOOL_TIMEOUT"]),
        ("serve --via nats://127.0.0.1:1 -j 0", 2, &["--workers", "from 1 to 4096"]),
        ("serve --via http://x", 2, &["http://x", "tls://"]),
        ("cache clean --older x", 2, &["--older", "500ms"]),
        ("completions tcsh", 2, &["tcsh", "bash, zsh, fish"]),
        ("new cobol x", 2, &["cobol", "rust, python, javascript, c"]),
        ("new rust 'a b'", 2, &["`a b`", "lower-case letters"]),
    ]);
}

#[test]
fn options_and_commands_that_are_not_there_are_told_with_those_that_are() {
    checked(&[
        ("map", 2, &["<TASK>", "Usage: wasmpool map"]),
        ("exec", 2, &["<TASK>", "Usage: wasmpool exec"]),
        ("call", 2, &["<TASK>", "<FUNCTION>"]),
        ("run", 2, &["<FILE>"]),
        ("inspect", 2, &["<TASK>"]),
        ("compile", 2, &["<TASK>"]),
        ("new", 2, &["<LANGUAGE>", "<NAME>"]),
        ("completions", 2, &["<SHELL>"]),
        ("serve", 2, &["--via <URL>"]),
        ("hosts", 2, &["--via <URL>"]),
        ("share serve", 2, &["--via <URL>", "<FILE>"]),
        ("doctor x", 2, &["'x'", "Usage: wasmpool doctor"]),
        ("cache cleen", 2, &["cleen", "'clean'"]),
        ("cache list x", 2, &["'x'"]),
        ("inspect square.wat --json x", 2, &["'x'"]),
        ("help nope", 2, &["nope", "--help"]),
        ("--nope", 2, &["--nope", "wasmpool --help"]),
        ("map square.wat --nothing", 2, &["--nothing", "wasmpool map --help"]),
        ("map square.wat --parallel", 2, &["--parallel", "'--workers'"]),
        ("map square.wat --jobs 3", 2, &["--jobs", "'--workers'"]),
        ("exec command.wat --isolate item", 2, &["--isolate is an option of `wasmpool map`"]),
        ("exec command.wat --batch", 2, &["--batch is an option of `wasmpool map`"]),
        ("map square.wat --time-out 3s", 2, &["--time-out", "'--timeout'"]),
        ("map square.wat --worker 3", 2, &["--worker", "'--workers'"]),
        ("call square.wat square 3 --retries 2", 2, &["--retries is an option of", "`wasmpool map`"]),
        ("compile square.wat --timeout 1s", 2, &["--timeout is an option of", "`wasmpool call`"]),
        ("run count.toml --timeout 3s", 2, &["--timeout", "`timeout` of its `limits`"]),
        ("run count.toml --workers 3", 2, &["--workers", "`count`"]),
        ("map square.wat --resume", 2, &["--resume", "--journal FILE"]),
    ]);
}

#[test]
fn files_that_cannot_be_read_or_written_are_named() {
    checked(&[
        ("map square.wat gone.jsonl", 2, &["the input gone.jsonl", "No such file"]),
        ("map square.wat empty", 2, &["the input empty is a directory", "name its files"]),
        ("map square.wat -o gone/o", 2, &["the output gone/o"]),
        ("map square.wat -o empty", 2, &["the output empty", "directory"]),
        ("map square.wat --failed gone/f", 2, &["the failed items", "gone/f"]),
        ("map square.wat --journal gone/j", 2, &["the journal gone/j"]),
        ("map square.wat --results full", 2, &["--results", "not empty"]),
        ("map square.wat --report gone/r.html", 2, &["the report gone/r.html"]),
        ("map square.wat --policy lots.toml", 2, &["lots.toml", "line 2", "`memory`", "256MiB"]),
        ("map square.wat --policy limitz.toml", 2, &["limitz.toml", "`limitz`", "did you mean `limits`?"]),
        ("map square.wat --policy nowhere.toml", 2, &["nowhere.toml", "No such file"]),
        ("run nowhere.toml", 2, &["nowhere.toml"]),
        ("run gone.toml", 2, &["process a", "gone.wasm"]),
        ("run no-function.toml", 2, &["process a", "several functions", "`function`"]),
        ("run count.toml", 2, &["`count`", "1 to 1000"]),
        ("run prose.toml", 2, &["prose.toml", "line 1"]),
        ("run share.toml", 2, &["`queu`", "queue"]),
        ("run unknown.toml", 2, &["`timeout`"]),
        ("share serve gone.toml --via nats://127.0.0.1:1", 2, &["gone.toml"]),
        (
            "map square.wat command.wat",
            2,
            &["command.wat, named as input, is a task, too", "--task one=square.wat --task two=command.wat"],
        ),
        ("map square.wat -k", 2, &["results come in the order of the input", "--unordered"]),
        ("map square.wat --keep-order", 2, &["results come in the order of the input", "--unordered"]),
        ("map square.wat -n 4", 2, &["--chunk-size"]),
        ("map square.wat -0", 2, &["--input-format nul", "--null"]),
        ("map square.wat --retry 2", 2, &["'--retries' is the option for that"]),
        ("-v map square.wat", 2, &["options stand behind the command: wasmpool map -v"]),
        ("map square.wat --results items.jsonl", 2, &["items.jsonl is a file: name a new directory"]),
        ("completions", 2, &["<SHELL>", "bash, zsh and fish"]),
        ("share serve square.wat --via nats://127.0.0.1:1", 2, &["square.wat is a task"]),
        ("share serve - --via nats://127.0.0.1:1", 2, &["standard input: line 1"]),
        ("hosts --via nats://127.0.0.1:1", 2, &["nats://127.0.0.1:1", "cannot be reached"]),
        ("map square.wat --via nats://127.0.0.1:1", 2, &["nats://127.0.0.1:1", "cannot be reached"]),
        ("new rust full", 2, &["full is there already", "choose another name"]),
        ("man gone/man", 2, &["gone/man", "make it"]),
    ]);
}
