//! A failure costs one item: the rest of its chunk, and of the run, has the outcomes that it would have without it.

use crate::support::guest::{built, wat};
use crate::support::run::{Output, map};
use crate::support::wat::{SQUARE, long_err};

/// Returns `go(i64) -> i64`, which runs this body if the item is negative.
fn failing(body: &str) -> String {
    format!(
        r#"
(module
  (memory 1)
  (func $recurse (param i64) (result i64)
    (i64.add (i64.const 1) (call $recurse (local.get 0))))
  (func (export "go") (param i64) (result i64)
    (if (i64.lt_s (local.get 0) (i64.const 0)) (then {body}))
    (i64.mul (local.get 0) (i64.const 2))))"#
    )
}

/// Runs items in chunks of five, of which the third and the seventh fail, with one worker and with two. Checks that the
/// others succeed.
#[track_caller]
fn costs_one(body: &str, kind: &str) -> Vec<Output> {
    let task = wat(failing(body));
    ["1", "2"]
        .map(|workers| {
            let output = map(&task)
                .args(["-j", workers, "-c", "5", "--output-format", "records"])
                .input("1\n2\n-3\n4\n5\n6\n-7\n")
                .run()
                .exits(1);
            let mut wanted = vec!["ok"; 7];
            wanted[2] = kind;
            wanted[6] = kind;
            assert_eq!(output.kinds(), wanted);
            let records = output.records();
            for index in [0, 1, 3, 4, 5] {
                assert_eq!(records[index].value().as_u64(), Some(2 * (index as u64 + 1)));
                assert_eq!(records[index].attempts(), 1);
            }
            output
        })
        .into()
}

#[test]
fn a_trap_costs_only_its_own_item() {
    costs_one("unreachable", "trap");
    costs_one("(drop (i32.load (i32.const -8)))", "trap");
    costs_one("(drop (i64.div_u (i64.const 1) (i64.const 0)))", "trap");
}

#[test]
fn an_exhausted_stack_costs_only_its_own_item() {
    for output in costs_one("(drop (call $recurse (local.get 0)))", "trap") {
        let records = output.records();
        let message = records[2].message();
        assert!(message.contains("stack"), "{message}");
    }
}

#[test]
fn exhausted_memory_costs_only_its_own_item() {
    costs_one("(loop $l (br_if $l (i32.ne (memory.grow (i32.const 64)) (i32.const -1)))) unreachable", "memory");
}

#[test]
fn an_input_that_does_not_fit_costs_only_its_own_item() {
    let output = map(&wat(SQUARE))
        .args(["-j", "1", "-c", "100", "--output-format", "records"])
        .input("1\n\"2\"\n{\n\nnull\n[1]\n1.5\n9223372036854775808\n9\n")
        .run()
        .exits(1);
    let kinds = output.kinds();
    assert_eq!(kinds.first().map(String::as_str), Some("ok"));
    assert_eq!(kinds.last().map(String::as_str), Some("ok"));
    let between = &kinds[1..kinds.len() - 1];
    assert!(between.iter().all(|kind| kind == "invalid-input"), "{between:?}");
}

#[test]
fn an_err_costs_only_its_own_item() {
    let kinds = map(&built("misbehave"))
        .args(["-j", "1", "-c", "10", "--output-format", "records"])
        .input("\"ok:1\"\n\"err:no\"\n\"ok:2\"\n\"trap\"\n\"panic\"\n\"ok:3\"\n\"recurse\"\n\"ok:4\"\n")
        .run()
        .exits(1)
        .kinds();
    let wanted = ["ok", "error", "ok", "trap", "trap", "ok", "trap", "ok"];
    assert_eq!(kinds, wanted);
}

#[test]
fn a_run_in_which_every_item_fails_still_finishes() {
    let task = wat(r#"(module (func (export "f") (param i64) (result i64) unreachable))"#);
    let input: String = (0..2000).map(|item| format!("{item}\n")).collect();
    let output = map(&task).args(["--output-format", "records"]).input(input).run().exits(1);
    assert_eq!(output.kinds(), vec!["trap"; 2000]);
}

#[test]
fn a_start_function_that_traps_fails_the_items_or_the_task_but_never_hangs() {
    let task = wat(r#"(module
             (func $start unreachable)
             (start $start)
             (func (export "f") (param i64) (result i64) (local.get 0)))"#);
    let output = map(&task).input("1\n2\n").run();
    assert!(matches!(output.code, 1 | 2), "exit code {}", output.code);
    assert_eq!(output.text(), "");
    assert!(!output.stderr.is_empty());
}

#[test]
fn a_failure_whose_record_is_long_only_because_it_is_escaped_is_bounded_like_any_output() {
    let hidden = wat(long_err().replace("(i32.const 97)", "(i32.const 127)"));
    let folder = tempfile::TempDir::new().expect("a temporary directory");
    let failed = folder.path().join("failed");
    let run = map(&hidden).args(["--max-output", "1MiB", "--output-format", "records", "--failed"]).arg(&failed);
    let output = run.input("300000\n500000\n3\n").run().exits(1);
    assert_eq!(output.kinds(), ["error", "output-too-large", "error"]);
    let lines = std::fs::read_to_string(&failed).expect("it is there");
    for text in [output.text(), &lines] {
        let sizes: Vec<usize> = text.lines().map(str::len).collect();
        assert!(sizes[0] > 3 << 20 && sizes[0] < 5 << 20 && sizes[1] < 1000, "{sizes:?}");
        assert!(text.lines().nth(2).is_some_and(|line| line.contains(r"\u007f\u007f\u007f")));
    }
    let said = output.lines()[1];
    assert!(
        said.contains("the record of its failure (error) is longer than") && said.contains("--max-output"),
        "{said}"
    );
}

#[test]
fn it_is_said_once_and_early_that_the_first_items_all_fail_alike() {
    let says = |input: String| {
        let output = map(&wat(SQUARE)).args(["-j", "1", "-c", "1"]).input(input).run().exits(1);
        output.stderr.lines().filter(|line| line.contains("all failed alike")).map(str::to_owned).collect::<Vec<_>>()
    };
    let words = |count: usize| (0..count).map(|word| format!("\"word {word}\"\n")).collect::<String>();
    let said = says(words(50));
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("the first 10 items") && said[0].contains("--halt soon,fail=10"), "{said:?}");
    assert_eq!(says(words(9)), [""; 0]);
    assert_eq!(says(format!("7\n{}", words(50))), [""; 0]);
}
