//! Memory, fuel, size of a result: each limit is an item's, and what it stops has its name.

use crate::support::guest::{built, wat};
use crate::support::run::map;
use crate::support::wat::{COUNT_TO, repeat};

/// Grows by so many pages of 64 KiB, and traps where that is refused.
const GROW: &str = r#"
(module
  (memory (export "memory") 1)
  (func (export "grow") (param i32) (result i32)
    (if (i32.eq (memory.grow (local.get 0)) (i32.const -1)) (then unreachable))
    (memory.size)))"#;

/// The same, half in each of two memories.
const GROW_TWO: &str = r#"
(module
  (memory $a 1)
  (memory $b 1)
  (func (export "grow") (param i32) (result i32)
    (if (i32.eq (memory.grow $a (i32.div_u (local.get 0) (i32.const 2))) (i32.const -1)) (then unreachable))
    (if (i32.eq (memory.grow $b (i32.div_u (local.get 0) (i32.const 2))) (i32.const -1)) (then unreachable))
    (i32.add (memory.size $a) (memory.size $b))))"#;

#[track_caller]
fn kinds(task: &str, args: &[&str], input: &str) -> Vec<String> {
    map(&wat(task)).args(["--output-format", "records", "-j", "1"]).args(args).input(input).run().kinds()
}

#[test]
fn memory_up_to_the_limit_is_given_and_beyond_it_refused() {
    // 4 MiB are 64 pages, one of which is there from the start.
    let kinds = kinds(GROW, &["--memory", "4MiB"], "0\n63\n64\n1000\n65535\n1\n");
    assert_eq!(kinds, ["ok", "ok", "memory", "memory", "memory", "ok"]);
}

#[test]
fn memory_is_counted_over_all_memories_of_an_instance() {
    let kinds = kinds(GROW_TWO, &["--memory", "4MiB"], "0\n60\n70\n100\n2\n");
    assert_eq!(kinds, ["ok", "ok", "memory", "memory", "ok"]);
}

#[test]
fn the_default_limit_of_memory_is_256_mib() {
    let kinds = kinds(GROW, &[], "4000\n4200\n");
    assert_eq!(kinds, ["ok", "memory"]);
}

#[test]
fn a_guest_whose_allocator_gives_up_ran_out_of_memory() {
    let kinds = map(&built("misbehave"))
        .args(["--output-format", "records", "-j", "1", "--memory", "16MiB"])
        .input("\"ok:1\"\n\"alloc\"\n\"ok:2\"\n")
        .run()
        .exits(1)
        .kinds();
    assert_eq!(kinds, ["ok", "memory", "ok"]);
}

#[test]
fn a_trap_without_want_of_memory_is_not_blamed_on_memory() {
    let task = r#"
(module
  (memory 1)
  (func (export "f") (param i32) (result i32) (drop (memory.grow (i32.const 1))) unreachable))"#;
    assert_eq!(kinds(task, &["--memory", "4MiB"], "1\n"), ["trap"]);
}

#[test]
fn fuel_ends_an_item_at_the_same_instruction_every_time() {
    let input: String = (1..=400).map(|item| format!("{}\n", item * 10)).collect();
    let first = kinds(COUNT_TO, &["--fuel", "10000"], &input);
    let spent = first.iter().position(|kind| kind == "fuel");
    let spent = spent.expect("4000 rounds take more than 10000 instructions");
    assert!(spent > 0, "10 rounds take less");
    assert!(first[..spent].iter().all(|kind| kind == "ok"));
    assert!(first[spent..].iter().all(|kind| kind == "fuel"));
    for args in [["-c", "1"], ["-c", "100"], ["--isolate", "worker"]] {
        let args = [&["--fuel", "10000"], &args[..]].concat();
        assert!(kinds(COUNT_TO, &args, &input) == first, "with {args:?}");
    }
}

#[test]
fn fuel_ends_a_loop_that_never_ends() {
    let task = crate::support::wat::SPIN_IF_NEGATIVE;
    let args = ["--fuel", "1000000", "--timeout", "10m"];
    assert_eq!(kinds(task, &args, "1\n-1\n2\n"), ["ok", "fuel", "ok"]);
}

#[test]
fn a_result_up_to_the_limit_is_given_and_beyond_it_too_large() {
    let kinds = kinds(&repeat(), &["--max-output", "64KiB"], "10\n60000\n66000\n200000000\n20\n");
    let large = "output-too-large";
    assert_eq!(kinds, ["ok", "ok", large, large, "ok"]);
}

#[test]
fn the_default_limit_of_a_result_is_16_mib() {
    let kinds = kinds(&repeat(), &[], "16000000\n17000000\n1\n");
    assert_eq!(kinds, ["ok", "output-too-large", "ok"]);
}

#[test]
fn sizes_are_understood_in_both_manners() {
    // 65536 bytes are 64KiB and more than 64k.
    for (size, wanted) in [("1MiB", "ok"), ("1M", "ok"), ("64k", "output-too-large")] {
        let kinds = kinds(&repeat(), &["--max-output", size], "65000\n");
        assert_eq!(kinds, [wanted], "with {size}");
    }
}
