//! Text that a stranger chose cannot imitate the program's own messages: names in tasks, manifests and files, and what
//! guests print, neither control a terminal nor look like a line of ours.

mod places;

use std::fmt::Write as _;
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use crate::support::full;
use crate::support::guest::{Task, built, file, wat};
use crate::support::run::{Output, Run, map, wasmpool};
use crate::support::wat::SQUARE;

/// A line that hostile text puts where a line of ours would begin.
const FORGED: &str = "wasmpool: 1 of 1 items succeeded";

/// Returns texts that try to be more than text.
fn hostile() -> Vec<String> {
    let mut texts: Vec<String> = [
        "a\n@",
        "a\r@",
        "\u{1b}[2J\u{1b}[H@",
        "\u{1b}]0;title\u{7}",
        "\u{9b}31m@",
        "\u{202e}@\u{202c}",
        "\u{2028}@\u{2029}@",
        "zero\u{200b}width\u{feff}\u{e0041}",
        "\n\n\n@\n",
        "\u{8}\u{8}\u{8}@",
        "\u{85}@",
        "ok: func()\nimports: none\n@",
    ]
    .map(|text| text.replace('@', FORGED))
    .into();
    texts.push(format!("{}{FORGED}", "\n".repeat(100)));
    texts.push("x".repeat(5000));
    texts
}

fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{feff}' | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Checks that standard error has only lines that begin as ours do, and none that is forged.
#[track_caller]
fn speaks_for_itself(output: &Output, of: &str) {
    for line in output.stderr.lines() {
        let ours = ["wasmpool: ", "  "].iter().any(|start| line.starts_with(start));
        assert!(ours && !line.starts_with(FORGED), "of {of:?}: {line:?} in:\n{}", output.stderr);
    }
    is_plain(&output.stderr, of);
}

#[track_caller]
fn is_plain(text: &str, of: &str) {
    let hidden = text.chars().find(|c| *c != '\n' && is_hidden(*c));
    assert_eq!(hidden, None, "of {of:?}: {text:?}");
    assert!(text.lines().all(|line| line.chars().count() < 3000), "of {of:?}: a line too long");
    assert!(text.lines().count() < 100, "of {of:?}: too many lines");
}

/// Returns the bytes as a string of the WebAssembly text format.
fn in_wat(text: &[u8]) -> String {
    text.iter().fold(String::new(), |mut spelled, byte| {
        let _ = write!(spelled, "\\{byte:02x}");
        spelled
    })
}

/// Returns the text as a string of TOML.
fn in_toml(text: &str) -> String {
    text.chars().fold(String::new(), |mut spelled, c| {
        let _ = write!(spelled, "\\U{:08x}", u32::from(c));
        spelled
    })
}

/// Returns a module with two functions of about this name, which imports from a module of this name.
fn named(text: &str, imports: bool) -> Task {
    let name = in_wat(text.as_bytes());
    let import = if imports { format!("(import \"{name}\" \"{name}\" (func))") } else { String::new() };
    wat(format!(
        "(module {import}
           (func (export \"{name}\") (param i64) (result i64) (local.get 0))
           (func (export \"b{name}\") (param i64) (result i64) (local.get 0)))"
    ))
}

#[test]
fn names_in_a_task_are_escaped_wherever_they_are_shown() {
    for text in hostile() {
        let run = map(&named(&text, false)).input("1\n").run().exits(2);
        speaks_for_itself(&run, &text);
        let run = map(&named(&text, true)).input("1\n").run().exits(2);
        speaks_for_itself(&run, &text);
        let shown = wasmpool().arg("inspect").task(&named(&text, true)).run().exits(0);
        is_plain(shown.text(), &text);
        let titles = [
            "task: ",
            "kind: ",
            "functions:",
            "other exports: none",
            "imports:",
            "cannot run: ",
            "pristine memory: ",
            "memory at start: ",
        ];
        for line in shown.lines() {
            assert!(line.starts_with("  ") || titles.iter().any(|title| line.starts_with(title)), "{line:?}");
        }
        assert!(!shown.text().contains("imports: none\n"), "{}", shown.text());
    }
}

/// Returns a function of this name that writes this to standard error, and traps.
fn fails_after(said: &str, name: &str) -> Task {
    wat(format!(
        r#"(module
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 2)
          (data (i32.const 16) "{}")
          (func $inner (@name "{}") (param i64) (result i64)
            (i32.store (i32.const 0) (i32.const 16))
            (i32.store (i32.const 4) (i32.const {}))
            (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
            unreachable)
          (func (export "f") (param i64) (result i64) (call $inner (local.get 0))))"#,
        in_wat(said.as_bytes()),
        in_wat(name.as_bytes()),
        said.len()
    ))
}

#[test]
fn what_a_guest_says_and_the_frames_of_its_stack_are_escaped() {
    for text in hostile() {
        let task = fails_after(&text, &text);
        for verbosity in ["-v", "--progress=never"] {
            let run = map(&task).arg(verbosity).input("1\n").run().exits(1);
            speaks_for_itself(&run, &text);
        }
        let run = wasmpool().arg("call").task(&task).args(["f", "1"]).run().exits(1);
        speaks_for_itself(&run, &text);
        let panic = fails_after(&format!("thread 'main' panicked at {text}.rs:1:1:\n{text}\nnote: x\n"), "g");
        speaks_for_itself(&map(&panic).input("1\n").run().exits(1), &text);
        let order = serde_json::Value::from(format!("err:{text}")).to_string() + "\n";
        let run = map(&built("misbehave")).input(order.clone()).run().exits(1);
        speaks_for_itself(&run, &text);
        // Records contain exactly what was printed, and are safe to show on a terminal all the same.
        let run = map(&built("misbehave")).args(["-q", "--output-format", "records"]).input(order).run().exits(1);
        assert_eq!(run.records()[0].message(), text);
        let hidden = run.text().trim_end().chars().find(|c| is_hidden(*c));
        assert_eq!(hidden, None, "{:?}", run.text());
    }
}

#[test]
fn the_message_of_an_abort_is_escaped() {
    for text in hostile() {
        let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let task = wat(format!(
            r#"(module
              (import "env" "abort" (func $abort (param i32 i32 i32 i32)))
              (memory (export "memory") 1)
              (data (i32.const 16) "{}{}")
              (func (export "f") (param i64) (result i64)
                (call $abort (i32.const 20) (i32.const 20) (i32.const 3) (i32.const 7)) unreachable))"#,
            in_wat(&(units.len() as u32).to_le_bytes()),
            in_wat(&units)
        ));
        speaks_for_itself(&map(&task).input("1\n").run().exits(1), &text);
    }
}

/// Makes a plugin with this manifest.
fn plugin(manifest: &str) -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("a temporary directory");
    std::fs::copy(built("reach").path(), folder.path().join("reach.wasm")).expect("a copy");
    let path = folder.path().join("plugin.toml");
    std::fs::write(&path, manifest).expect("a file");
    (folder, path)
}

#[test]
fn a_manifest_speaks_for_itself_alone() {
    for text in hostile() {
        // The size of a manifest is limited.
        let text: String = text.chars().take(1000).collect();
        let spelled = in_toml(&text);
        let name: String = text.chars().filter(|c| !c.is_control() && *c != ':').take(60).collect();
        let name = in_toml(&name);
        let good = format!(
            "wasm = \"reach.wasm\"\nfunction = \"{spelled}\"\n[grants]\ndir = [\"{name}:rw\"]\nscratch = \"{name}\"\n"
        );
        let (_folder, path) = plugin(&good);
        let run = wasmpool().arg("map").arg(&path).args(["--env=A=1", "--dir=/tmp::/b"]).input("\"env\"\n").run();
        speaks_for_itself(&run.exits(2), &text);
        let shown = wasmpool().arg("inspect").arg(&path).run().exits(0);
        is_plain(shown.text(), &text);
        assert!(!shown.text().lines().any(|line| line.starts_with(FORGED)), "{}", shown.text());
        for bad in [
            format!("wasm = \"../{spelled}\""),
            format!("wasm = \"reach.wasm\"\n\"{spelled}\" = 1"),
            format!("wasm = \"reach.wasm\"\n[limits]\nmemory = \"{spelled}\""),
            format!("wasm = \"reach.wasm\"\n[grants]\nallow-net = [\"{spelled}\"]"),
            format!("wasm = \"reach.wasm\"\n[grants]\nallow-net = [\"{spelled}:80\"]"),
            format!("wasm = \"reach.wasm\"\n[grants]\nenv = [\"{spelled}\"]"),
            format!("wasm = {text}"),
        ] {
            let (_folder, path) = plugin(&bad);
            let run = wasmpool().arg("map").arg(&path).input("\"env\"\n").run().exits(2);
            speaks_for_itself(&run, &text);
            assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
            let run = map(&built("reach")).arg("--policy").arg(&path).input("\"env\"\n").run().exits(2);
            speaks_for_itself(&run, &text);
            assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        }
    }
}

/// Returns the words into which a shell splits a part of a command line.
fn words(shell: &str, line: &str) -> Vec<String> {
    let mut command = std::process::Command::new(shell);
    let output = command.arg("-c").arg(format!("printf '%s\\0' {line}")).output().expect("a shell");
    assert!(output.status.success(), "{line}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.split_terminator('\0').map(str::to_owned).collect()
}

#[test]
fn what_a_plugin_asks_for_is_no_sentence_of_ours_and_safe_to_paste() {
    for name in [
        "/data, and for nothing else. It asks for no files",
        "/it's `$(touch pwned)` \"$HOME\" ; touch pwned #",
        "/a`, and goes without; rm -rf ~ grants it",
        "~",
        "/日本語\u{202e}\u{200b}",
    ] {
        let (folder, path) = plugin(&format!(
            "wasm = \"reach.wasm\"\n[grants]\ndir = [\"{0}:rw\"]\nscratch = \"{0}x\"\n",
            in_toml(name)
        ));
        let shown = wasmpool().arg("inspect").arg(&path).run().exits(0);
        let asked: Vec<&str> = shown.text().lines().filter(|line| line.starts_with("  It asks")).collect();
        assert_eq!(asked.len(), 2, "{}", shown.text());
        for line in asked {
            let (_, quoted) = line.split_once(" calls `").expect("a name in quotes");
            assert_eq!((quoted.matches('`').count(), quoted.ends_with("`.")), (1, true), "{line}");
        }
        let run = wasmpool().arg("map").arg(&path).input("\"env\"\n").run().exits(0);
        speaks_for_itself(&run, name);
        let options = run.stderr.lines().map(|line| {
            let (_, option) = line.split_once("`, and goes without; ").expect("an option");
            words("bash", option.strip_suffix(" grants it").expect("an option"))
        });
        let wanted = [["--dir".to_owned(), format!("HOST::{name}:rw")], ["--scratch".to_owned(), format!("{name}x")]];
        assert_eq!(options.collect::<Vec<_>>(), wanted, "{}", run.stderr);
        let given = wasmpool().arg("map").arg(&path).args(["--scratch", &format!("{name}x")]).input("\"env\"\n").run();
        assert_eq!(given.exits(0).stderr.lines().count(), 1);
        drop(folder);
    }
}

#[test]
fn what_is_wrong_with_a_task_is_told_on_one_line_whatever_its_names_are() {
    let forged = in_wat(format!("a\n  wasmpool: {FORGED}\u{1b}[2J").as_bytes());
    let text = map(&wat(format!("(module (func (call $\"{forged}\")))"))).input("1\n").run().exits(2);
    let drawn = |line: &str| ["     --> ", "      |", "    1 | "].iter().any(|start| line.starts_with(start));
    assert!(text.stderr.lines().skip(1).all(drawn), "{}", text.stderr);
    for wrong in [
        format!("(module (func (export \"{forged}\")) (func (export \"{forged}\")))"),
        format!("(component (import \"{forged}\" (func)))"),
        format!("(module (import \"{forged}\" \"{forged}\" (func)) (func (export \"f\")))"),
    ] {
        let run = map(&wat(wrong)).input("null\n").run().exits(2);
        speaks_for_itself(&run, &forged);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    }
}

#[test]
fn a_name_that_is_empty_or_looks_like_more_is_quoted() {
    for name in ["", " ", "a: func()", "none)", "a`b", "ä", "a\u{202e}"] {
        // Another build may have cached its own description.
        let inspect = wasmpool().arg("inspect").task(&named(name, true)).env("WASMPOOL_CACHE_DIR", "");
        let shown = inspect.run().exits(0);
        let quoted = shown.lines().into_iter().filter(|line| line.starts_with("  `")).count();
        // With a letter before it, the empty name becomes an ordinary one.
        assert_eq!(quoted, if name.is_empty() { 2 } else { 3 }, "{}", shown.text());
    }
    let shown = wasmpool().arg("inspect").task(&named("plain-name_1", true)).run().exits(0);
    // In a sentence, every name is quoted.
    let mut lists = shown.lines().into_iter().filter(|line| !line.starts_with("cannot run: "));
    assert!(
        shown.text().contains("\n  plain-name_1: func") && lists.all(|line| !line.contains('`')),
        "{}",
        shown.text()
    );
}

#[test]
fn what_is_wrong_with_an_option_is_told_without_the_orders_in_it() {
    let task = built("identity");
    for text in hostile() {
        // Some options' values are paths, whose length the system limits.
        let text: String = text.replace('\0', "").chars().take(4000).collect();
        let wrong = |run: Run| {
            let run = run.input("1\n").run().exits(2);
            is_plain(&run.stderr, &text);
            assert!(!run.stderr.lines().any(|line| line.trim_start().starts_with(FORGED)), "{}", run.stderr);
            let shown: String = run.stderr.lines().next().unwrap_or_default().chars().take(6).collect();
            assert_eq!(shown, "error:", "{}", run.stderr);
        };
        for variable in
            ["TIMEOUT", "MEMORY", "ENV", "DIR", "ALLOW_NET", "ARG", "INIT", "WORKERS", "OUTPUT_FORMAT", "HALT"]
        {
            wrong(map(&task).env(&format!("WASMPOOL_{variable}"), &text));
        }
        for option in ["--timeout", "--dir", "--output-format", "--workers", "--retry-on", "--no-such"] {
            wrong(map(&task).arg(format!("{option}={text}")));
        }
        // Whether there is such a parameter, a worker finds out.
        let square = wat(SQUARE);
        for run in [
            map(&square).arg(format!("--arg={text}=x")),
            map(&square).arg(format!("--arg=p0={text}")),
            map(&square).env("WASMPOOL_ARG", format!("{}=x", text.replace('\n', "\r"))),
        ] {
            is_plain(&run.input("1\n").run().exits(2).stderr, &text);
        }
        wrong(map(&task).arg(format!("--{text}")));
        wrong(wasmpool().arg(&text));
        let help = wasmpool()
            .args(["map", "--help"])
            .env("WASMPOOL_DIR", &text)
            .env("WASMPOOL_ENV", "KEY=secret")
            .run()
            .exits(0);
        assert!(!help.text().contains(FORGED) && !help.text().contains("secret"), "{}", help.text());
    }
}

#[test]
fn a_manifest_that_asks_for_a_thousand_things_is_told_in_a_few_lines() {
    let names: Vec<String> = (0..1000).map(|n| format!("\"V{n}\"")).collect();
    let (_folder, path) =
        plugin(&format!("wasm = \"reach.wasm\"\n[grants]\nenv = [{}]\ndir = [\"/secret:rw\"]", names.join(",")));
    let run = wasmpool().arg("map").arg(&path).input("\"env\"\n").run().exits(0);
    speaks_for_itself(&run, "a thousand");
    assert!(run.stderr.contains("991 more") && run.stderr.contains("/secret:rw"), "{}", run.stderr);
    let shown = wasmpool().arg("inspect").arg(&path).run().exits(0);
    is_plain(shown.text(), "a thousand");
    // The request that permits most is shown, and no text of the task follows it.
    assert!(shown.text().contains("990 more") && shown.text().contains("calls `/secret`"), "{}", shown.text());
    let of_task = shown.text().find("\nimports:").expect("the imports");
    assert!(of_task < shown.text().find("what the plugin asks for").expect("what it asks for"), "{}", shown.text());
}

#[test]
fn a_task_with_a_thousand_functions_is_listed_in_a_few_lines() {
    let functions = (0..1000).fold(String::new(), |mut text, n| {
        let _ = write!(text, "(func (export \"f{n}\") (param i64) (result i64) (local.get 0))");
        text
    });
    let run = map(&wat(format!("(module {functions})"))).input("1\n").run().exits(2);
    speaks_for_itself(&run, "a thousand");
    assert!(run.stderr.contains("980 more"), "{}", run.stderr);
    let imports = (0..1000).fold(String::new(), |mut text, n| {
        let _ = write!(text, "(import \"env\" \"f{n}\" (func))");
        text
    });
    let run = map(&wat(format!("(module {imports} (func (export \"f\")))"))).input("null\n").run().exits(2);
    speaks_for_itself(&run, "a thousand");
    assert!(run.stderr.contains("995 more"), "{}", run.stderr);
}

/// Runs it with this as the name of a file that does not exist.
fn with_file(text: &str, run: impl Fn(PathBuf) -> Run) {
    let name: String = text.chars().filter(|c| !matches!(c, '/' | '\0')).take(60).collect();
    let output = run(PathBuf::from("/nowhere").join(name)).run();
    assert_ne!(output.code, 0, "{text:?}");
    speaks_for_itself(&output, text);
}

#[test]
fn names_of_files_are_escaped() {
    let task = built("identity");
    for text in hostile() {
        with_file(&text, |file| wasmpool().arg("map").arg(file).input("1\n"));
        with_file(&text, |file| map(&task).args(["-f", "echo-s64"]).arg(file));
        with_file(&text, |file| map(&task).args(["-f", "echo-s64", "-o"]).arg(file).input("1\n"));
        with_file(&text, |file| map(&task).args(["-f", "echo-s64", "--failed"]).arg(file).input("1\n"));
        with_file(&text, |file| map(&task).args(["-f", "echo-s64", "--journal"]).arg(file).input("1\n"));
        with_file(&text, |file| map(&task).args(["-f", "echo-s64", "--policy"]).arg(file).input("1\n"));
        with_file(&text, |file| {
            map(&task).args(["-f", "echo-s64"]).arg(format!("--dir={}::/a", file.display())).input("1\n")
        });
        with_file(&text, |file| {
            let line = file.to_string_lossy().into_owned();
            map(&task).args(["-f", "echo-bytes", "--input-format", "files"]).input(line + "\n")
        });
    }
    // A name that looks like an option is repeated by the parser of options.
    let run = wasmpool().arg(format!("--\u{1b}[2J\n{FORGED}")).run().exits(2);
    is_plain(&run.stderr, "an option");
    assert!(!run.stderr.lines().any(|line| line.starts_with(FORGED)), "{}", run.stderr);
}

#[test]
fn what_is_wrong_with_an_item_is_told_without_its_orders() {
    let task = built("identity");
    for text in hostile() {
        let key = serde_json::Value::from(&*text).to_string();
        let input = format!("{{{key}:1}}\n{key}\n");
        let run = map(&task).args(["-f", "echo-record"]).input(input).run().exits(1);
        speaks_for_itself(&run, &text);
        let run = map(&task).args(["-f", &text.replace('\0', "")]).input("1\n").run().exits(2);
        speaks_for_itself(&run, &text);
        let quoted = format!("\"{}\"", text.replace('"', "\"\""));
        let mut csv = format!("{quoted},b\n").into_bytes();
        csv.extend(b"\xff,1\nx,y\nx\n");
        let rows = |csv: Vec<u8>| map(&task).args(["-f", "echo-record", "--input-format", "csv"]).input(csv).run();
        speaks_for_itself(&rows(csv).exits(2), &text);
        let mut csv = format!("full-name,year-of-birth,is-a-member,{quoted}\n").into_bytes();
        csv.extend(b"a,1,true,\xff\nb,no,true,1\nc\n");
        speaks_for_itself(&rows(csv).exits(1), &text);
        let source = file("task.wat", format!("(module\n{text} (oops").as_bytes());
        speaks_for_itself(&map(&source).input("1\n").run().exits(2), &text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if full() { 500 } else { 8 }))]

    #[test]
    fn any_text_at_all_stays_a_stranger_s(text in prop::collection::vec(prop_oneof![
        any::<char>(),
        prop::sample::select(vec!['\n', '\r', '\u{1b}', '\u{202e}', '\u{9b}', '\t', ' ', '"', '\\', '`']),
    ], 0..60)) {
        let text: String = text.into_iter().collect();
        speaks_for_itself(&map(&named(&text, true)).input("1\n").run().exits(2), &text);
        speaks_for_itself(&map(&fails_after(&text, &text)).input("1\n").run().exits(1), &text);
        let order = serde_json::Value::from(format!("err:{text}")).to_string();
        let run = map(&built("misbehave")).args(["--output-format", "records"]).input(order).run().exits(1);
        speaks_for_itself(&run, &text);
        let record = &run.records()[0];
        prop_assert_eq!(record.get("error"), Some(&serde_json::Value::from(&*text)));
        let shown = wasmpool().arg("inspect").task(&named(&text, true)).run().exits(0);
        is_plain(shown.text(), &text);
        // Types are wrapped, and what is wrapped is indented further.
        let lines = shown.text().lines().filter(|line| !line.starts_with("      "));
        prop_assert!(lines.count() < 12, "{}", shown.text());
    }
}
