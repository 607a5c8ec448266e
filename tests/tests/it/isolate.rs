//! `--isolate`: what one item can see of another.

use serde_json::{Value, json};

use crate::support::guest::wat;
use crate::support::run::map;

/// A component that counts its calls in each kind of state an instance has, and returns the sum.
const COUNTER: &str = r#"
(module
  (memory 1 100)
  (table 1 100 funcref)
  (global $global (mut i64) (i64.const 0))
  (data (i32.const 8) "\00\00\00\00\00\00\00\00")
  (func (export "count") (param $item i64) (result i64)
    (if (i64.lt_s (local.get $item) (i64.const 0)) (then unreachable))
    (global.set $global (i64.add (global.get $global) (i64.const 1)))
    (i64.store (i32.const 8) (i64.add (i64.load (i32.const 8)) (i64.const 10)))
    (drop (memory.grow (i32.const 1)))
    (drop (table.grow (ref.null func) (i32.const 1)))
    (i64.add
      (i64.add (global.get $global) (i64.load (i32.const 8)))
      (i64.add
        (i64.mul (i64.extend_i32_u (i32.sub (memory.size) (i32.const 1))) (i64.const 100))
        (i64.mul (i64.extend_i32_u (i32.sub (table.size) (i32.const 1))) (i64.const 1000))))))"#;

fn counts(args: &[&str], input: &str) -> Vec<Value> {
    map(&wat(COUNTER)).args(["-j", "1"]).args(args).input(input).run().exits(0).values()
}

#[test]
fn by_default_no_item_sees_another() {
    let input = "0\n".repeat(500);
    assert_eq!(counts(&[], &input), vec![json!(1111); 500]);
    assert_eq!(counts(&["--isolate", "item"], &input), vec![json!(1111); 500]);
}

#[test]
fn isolated_by_chunk_an_item_sees_those_before_it_in_its_chunk() {
    assert_eq!(
        counts(&["--isolate", "chunk", "-c", "3"], &"0\n".repeat(7)),
        [1111, 2222, 3333, 1111, 2222, 3333, 1111]
    );
}

#[test]
fn isolated_by_worker_an_item_sees_all_before_it_in_its_worker() {
    let wanted: Vec<Value> = (1..=50).map(|calls| json!(calls * 1111)).collect();
    assert_eq!(counts(&["--isolate", "worker", "-c", "3"], &"0\n".repeat(50)), wanted);
}

#[test]
fn an_instance_that_trapped_is_not_used_again() {
    for isolate in ["chunk", "worker"] {
        let output = map(&wat(COUNTER))
            .args(["-j", "1", "-c", "10", "--isolate", isolate])
            .input("0\n0\n-1\n0\n0\n")
            .run()
            .exits(1);
        assert_eq!(output.values(), [1111, 2222, 1111, 2222], "by {isolate}");
    }
}
