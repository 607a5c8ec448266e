//! `--batch`: one call per chunk.

use crate::support::guest::wat;
use crate::support::run::{Run, map};
use crate::support::wat::{batch, component, lift};

fn records(args: &[&str], input: &str) -> Run {
    map(&wat(batch())).args(["--batch", "--output-format", "records"]).args(args).input(input)
}

#[test]
fn a_batch_gives_each_item_its_own_result() {
    let task = wat(batch());
    let input: String = (100..5100).map(|item| format!("{item}\n")).collect();
    let wanted: String = (100..5100_i64).map(|item| format!("{}\n", item * item)).collect();
    for chunk in ["auto", "1", "64", "10000"] {
        let output = map(&task).args(["--batch", "-c", chunk]).input(input.as_str()).run().exits(0);
        assert!(output.text() == wanted, "with chunks of {chunk}");
    }
}

#[test]
fn a_batch_is_one_call_per_chunk() {
    // Answers each item with the length of the list it came in.
    let task = wat(component(
        r#"
    (func (export "lengths") (param $at i32) (param $count i32) (result i32)
      (local $i i32)
      (i32.store (i32.const 16) (local.get $at))
      (i32.store (i32.const 20) (local.get $count))
      (loop $l
        (i64.store
          (i32.add (local.get $at) (i32.mul (local.get $i) (i32.const 8)))
          (i64.extend_i32_u (local.get $count)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $i) (local.get $count))))
      (i32.const 16))"#,
        &[lift("lengths", r#"(param "items" (list s64)) (result (list s64))"#)],
    ));
    let output =
        map(&task).args(["--batch", "-c", "4", "-j", "1"]).input("1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n").run().exits(0);
    assert_eq!(output.text(), "4\n4\n4\n4\n4\n4\n4\n4\n2\n2\n");
}

#[test]
fn an_item_that_does_not_fit_leaves_the_rest_of_its_batch_alone() {
    let kinds = records(&["-c", "4", "-j", "1"], "1\n\"two\"\nthree\n4\n").run().exits(1).kinds();
    assert_eq!(kinds, ["ok", "invalid-input", "invalid-input", "ok"]);
}

#[test]
fn a_batch_that_answers_too_few_costs_only_the_item_to_blame() {
    let kinds = records(&["-c", "2", "-j", "1"], "1\n2\n13\n4\n5\n6\n").run().exits(1).kinds();
    assert_eq!(kinds, ["ok", "ok", "invalid-output", "ok", "ok", "ok"]);
}

#[test]
fn a_batch_that_traps_costs_only_the_item_to_blame() {
    let kinds = records(&["-c", "2", "-j", "1"], "1\n2\n3\n14\n5\n6\n").run().exits(1).kinds();
    assert_eq!(kinds, ["ok", "ok", "ok", "trap", "ok", "ok"]);
}
