//! Memory, fuel, size of a result: each limit applies to one item, and its failures have its name.

use crate::support::guest::{built, wat};
use crate::support::record::Record;
use crate::support::run::map;
use crate::support::wat::{COUNT_TO, component, lift, long_err, repeat};

/// A function that grows the memory by this many pages of 64 KiB, and traps if that is refused.
const GROW: &str = r#"
(module
  (memory (export "memory") 1)
  (func (export "grow") (param i32) (result i32)
    (if (i32.eq (memory.grow (local.get 0)) (i32.const -1)) (then unreachable))
    (memory.size)))"#;

/// A function that does the same, half in each of two memories.
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
    // 4 MiB are 64 pages, one of which exists from the start.
    let kinds = kinds(GROW, &["--memory", "4MiB"], "0\n63\n64\n1000\n65535\n1\n");
    assert_eq!(kinds, ["ok", "ok", "memory", "memory", "memory", "ok"]);
}

#[test]
fn memory_is_counted_over_all_memories_of_an_instance() {
    let kinds = kinds(GROW_TWO, &["--memory", "4MiB"], "0\n60\n70\n100\n2\n");
    assert_eq!(kinds, ["ok", "ok", "memory", "memory", "ok"]);
}

/// Returns a module of `n` tables of functions, each with this many elements; `f` grows the first by its item, and
/// traps if that is refused.
fn tables(n: usize, elements: usize) -> String {
    let tables: String = (0..n).map(|i| format!("(table $t{i} {elements} funcref)")).collect();
    format!(
        r#"
(module {tables}
  (func (export "f") (param i32) (result i32)
    (if (i32.eq (table.grow $t0 (ref.null func) (local.get 0)) (i32.const -1)) (then unreachable))
    (table.size $t0)))"#
    )
}

#[test]
fn tables_are_memory() {
    // An element has 8 bytes: 10,000 of them are less than 128 KiB, 20,000 are more. Growing by nothing always
    // succeeds.
    assert_eq!(kinds(&tables(1, 1), &["--memory", "128KiB"], "0\n10000\n19000\n1\n"), ["ok", "ok", "memory", "ok"]);
    // The sum of all tables counts, from the start.
    let many = kinds(&tables(60, 10_000_000), &[], "0\n1\n");
    assert_eq!(many, ["memory", "memory"]);
    assert_eq!(kinds(&tables(3, 1_000_000), &["--memory", "25MiB"], "0\n"), ["ok"]);
    assert_eq!(kinds(&tables(4, 1_000_000), &["--memory", "25MiB"], "0\n"), ["memory"]);
    // Tables count together with memory.
    let both = r#"
(module (memory 16) (table $t 1 funcref)
  (func (export "f") (param i32) (result i32)
    (if (i32.eq (table.grow $t (ref.null func) (local.get 0)) (i32.const -1)) (then unreachable))
    (table.size $t)))"#;
    assert_eq!(kinds(both, &["--memory", "1088KiB"], "1\n8000\n9000\n"), ["ok", "ok", "memory"]);
}

#[test]
fn a_table_that_can_never_fit_is_refused_with_the_option_that_allows_it() {
    let output = map(&wat(tables(1, 1_000_000))).args(["--memory", "1MiB"]).input("0\n").run().exits(2);
    assert!(output.stderr.contains("--memory") && output.stderr.contains("1000000"), "{}", output.stderr);
}

#[test]
fn a_growth_beyond_what_a_table_or_memory_declares_is_no_want_of_memory() {
    let task = r#"
(module (memory 1 5)
  (func (export "f") (param i32) (result i32)
    (if (i32.eq (memory.grow (local.get 0)) (i32.const -1)) (then unreachable))
    (memory.size)))"#;
    assert_eq!(kinds(task, &[], "4\n5\n"), ["ok", "trap"]);
    let task = r#"
(module (table $t 1 5 funcref)
  (func (export "f") (param i32) (result i32)
    (if (i32.eq (table.grow $t (ref.null func) (local.get 0)) (i32.const -1)) (then unreachable))
    (table.size $t)))"#;
    assert_eq!(kinds(task, &[], "4\n5\n"), ["ok", "trap"]);
}

#[test]
fn collected_values_are_memory() {
    // A list of this many arrays of 4 KiB.
    let task = r#"
(module
  (type $bytes (array (mut i8)))
  (type $node (struct (field (ref $bytes)) (field (ref null $node))))
  (func (export "f") (param $n i32) (result i32) (local $all (ref null $node))
    (loop $l
      (local.set $all (struct.new $node (array.new $bytes (i32.const 1) (i32.const 4096)) (local.get $all)))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i32.const 1)))"#;
    assert_eq!(kinds(task, &["--memory", "4MiB"], "10\n100\n5000\n10\n"), ["ok", "ok", "memory", "ok"]);
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

/// Returns a function with a result of this type, stored at 16 as a list that begins at 1,024 and has as many elements
/// as the item says.
fn list_of(ty: &str, size: usize) -> String {
    let body = format!(
        r#"
    (func (export "list") (param $count i32) (result i32) (local $at i32)
      (local.set $at (call $realloc (i32.const 0) (i32.const 0) (i32.const 8)
        (i32.mul (local.get $count) (i32.const {size}))))
      (i32.store (i32.const 16) (local.get $at))
      (i32.store (i32.const 20) (local.get $count))
      (i32.const 16))"#
    );
    component(&body, &[lift("list", &format!(r#"(param "count" u32) (result (list {ty}))"#))])
}

#[test]
fn bytes_and_lists_are_given_up_to_the_limit_by_any_function() {
    for (ty, size, count, too_many, output) in [
        ("u8", 1, 16_000_000, 17_000_000, "raw"),
        ("u8", 1, 12_000_000, 13_000_000, "records"),
        ("u16", 2, 8_000_000, 9_000_000, "records"),
        ("bool", 1, 2_500_000, 3_000_000, "records"),
        ("(option u8)", 2, 3_000_000, 4_000_000, "records"),
        ("(tuple u8 u8)", 2, 2_500_000, 3_000_000, "records"),
    ] {
        let delimiter: &[&str] = if output == "raw" { &["--delimiter", "none"] } else { &[] };
        let run = map(&wat(list_of(ty, size))).args(["-j", "1", "--output-format", output]).args(delimiter);
        let run = run.input(format!("{count}\n{too_many}\n2\n")).run().exits(1);
        assert!(run.stderr.contains("output-too-large") && run.stderr.contains("1 of 3 items"), "{ty}: {}", run.stderr);
        if output == "raw" {
            assert_eq!(run.bytes.len(), count + 2, "{ty}");
        }
    }
    let more = ["-j", "1", "--output-format", "raw", "--delimiter", "none", "--max-output", "30M"];
    assert_eq!(map(&wat(list_of("u8", 1))).args(more).input("29000000\n").run().exits(0).bytes.len(), 29_000_000);
}

#[test]
fn sizes_are_understood_in_both_manners() {
    // 65536 bytes are 64KiB and more than 64k.
    for (size, wanted) in [("1MiB", "ok"), ("1M", "ok"), ("64k", "output-too-large")] {
        let kinds = kinds(&repeat(), &["--max-output", size], "65000\n");
        assert_eq!(kinds, [wanted], "with {size}");
    }
}

#[test]
fn an_operation_for_which_the_runtime_is_called_counts_as_many() {
    for (declared, operation, each) in [
        ("(memory 1)", "(drop (memory.grow (i32.const 0)))", 100),
        ("(memory 1 2)", "(drop (memory.grow (i32.const 60000)))", 100),
        ("(table $t 1 funcref)", "(drop (table.grow $t (ref.null func) (i32.const 0)))", 100),
        ("(tag $e)", "(block $b (try_table (catch_all $b) (throw $e)))", 150),
        ("(elem declare func $f)", "(drop (ref.func $f))", 25),
        ("(elem $e func $f)", "(elem.drop $e)", 10),
        ("(memory 1)", "(memory.fill (i32.const 0) (i32.const 0) (i32.const 0))", 40),
        ("(type $s (struct (field i32)))", "(drop (struct.new $s (i32.const 1)))", 60),
        ("(type $a (array i8))", "(drop (array.new_default $a (i32.const 1)))", 60),
    ] {
        let task = format!(
            r#"
(module {declared}
  (func $f (export "f") (param $n i32) (result i32)
    (loop $l {operation} (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i32.const 1)))"#
        );
        let fuel = (each * 1000).to_string();
        assert_eq!(kinds(&task, &["--fuel", &fuel], "100\n1000\n100\n"), ["ok", "fuel", "ok"], "{operation}");
    }
}

#[test]
fn fuel_bounds_the_values_that_the_host_takes() {
    let large = "1000000\n10\n";
    for (ty, size) in [("u8", 1), ("u64", 8), ("(tuple u8 u8)", 2), ("(option u8)", 2)] {
        let task = list_of(ty, size);
        assert_eq!(kinds(&task, &["--fuel", "10000"], large), ["fuel", "ok"], "{ty}");
        assert_eq!(kinds(&task, &["--fuel", "10000000"], large), ["ok", "ok"], "{ty}");
    }
}

#[test]
fn an_operation_of_arrays_beyond_its_bounds_traps_whatever_fuel_it_would_take() {
    let task = |operation: &str| {
        format!(
            r#"
(module
  (type $b (array (mut i8))) (type $w (array (mut i64))) (type $r (array (mut funcref)))
  (data $d "abcdefghijklmnop") (elem $e func $f $f)
  (global $b (mut (ref null $b)) (ref.null $b))
  (global $w (mut (ref null $w)) (ref.null $w))
  (global $r (mut (ref null $r)) (ref.null $r))
  (func $init
    (global.set $b (array.new_default $b (i32.const 100000)))
    (global.set $w (array.new_default $w (i32.const 100000)))
    (global.set $r (array.new_default $r (i32.const 100000))))
  (start $init)
  (func $f (export "f") (param $n i32) (result i32) {operation} (i32.const 1)))"#
        )
    };
    let n = "(local.get $n)";
    let zero = "(i32.const 0)";
    let one = "(i32.const 1)";
    for operation in [
        format!("(array.fill $b (global.get $b) {one} {one} {n})"),
        format!("(array.fill $w (global.get $w) {zero} (i64.const 1) {n})"),
        format!("(array.fill $r (global.get $r) {zero} (ref.func $f) {n})"),
        format!("(array.copy $b $b (global.get $b) {zero} (global.get $b) {one} {n})"),
        format!("(array.copy $w $w (global.get $w) {one} (global.get $w) {zero} {n})"),
        format!("(array.init_data $w $d (global.get $w) {zero} {zero} {n})"),
        format!("(array.init_elem $r $e (global.get $r) {zero} {zero} {n})"),
        format!("(drop (array.new_data $w $d {zero} {n}))"),
        format!("(drop (array.new_elem $r $e {zero} {n}))"),
    ] {
        let task = task(&operation);
        let input = "1\n2000000\n-1\n1\n";
        assert_eq!(kinds(&task, &["--fuel", "310000"], input), ["ok", "trap", "trap", "ok"], "{operation}");
        if operation.contains(".fill") || operation.contains(".copy") {
            assert_eq!(kinds(&task, &["--fuel", "310000"], "50000\n"), ["fuel"], "{operation}");
            assert_eq!(kinds(&task, &["--fuel", "900000"], "50000\n"), ["ok"], "{operation}");
        }
    }
    // An operation that is not possible is reported in the engine's own words.
    let said = |operation: &str| {
        map(&wat(task(operation)))
            .args(["--output-format", "records", "--fuel", "310000"])
            .input("2000000\n")
            .run()
            .exits(1)
    };
    let beyond = |operation: &str, words: &str| {
        let output = said(operation);
        assert!(output.text().contains(words), "{operation}: {}", output.text());
    };
    beyond(&format!("(array.fill $b (global.get $b) {zero} {one} {n})"), "out of bounds array access");
    beyond(&format!("(array.fill $b (ref.null $b) {zero} {one} {n})"), "null reference");
    beyond(&format!("(drop (array.new_data $w $d {zero} {n}))"), "out of bounds");
}

#[test]
fn a_bulk_operation_beyond_its_bounds_traps_whatever_fuel_it_would_take() {
    // Each operation gets its length from the item; one that is within bounds and needs more fuel than there is runs
    // out of it.
    let task = |operation: &str| {
        format!(
            r#"
(module
  (memory $m 16) (memory $w i64 16) (table $t 100000 funcref) (table $u 100000 externref)
  (data $d "abcdefgh") (elem $e func $f $f)
  (func $f (export "f") (param $n i64) (result i32) {operation} (i32.const 1)))"#
        )
    };
    let n = "(i32.wrap_i64 (local.get $n))";
    let zero = "(i32.const 0)";
    for operation in [
        format!("(memory.fill $m {zero} {zero} {n})"),
        format!("(memory.fill $w (i64.const 0) {zero} (local.get $n))"),
        format!("(memory.copy $m $m {zero} (i32.const 8) {n})"),
        "(memory.copy $w $w (i64.const 8) (i64.const 0) (local.get $n))".to_owned(),
        format!("(memory.copy $w $m (i64.const 8) {zero} {n})"),
        format!("(memory.init $m $d {zero} {zero} {n})"),
        format!("(table.fill $t {zero} (ref.null func) {n})"),
        format!("(table.fill $u {zero} (ref.null extern) {n})"),
        format!("(table.copy $t $t {zero} (i32.const 8) {n})"),
        format!("(table.init $t $e {zero} {zero} {n})"),
    ] {
        let task = task(&operation);
        // Some are within bounds with 50,000, and none is with 2,000,000.
        let input = "1\n2000000\n4294967295\n-1\n1\n";
        assert_eq!(kinds(&task, &["--fuel", "5000"], input), ["ok", "trap", "trap", "trap", "ok"], "{operation}");
        let output = map(&wat(&*task)).args(["--fuel", "5000", "--deterministic"]).input(input).run().exits(1);
        assert!(output.stderr.contains("3 of 5 items failed: 3 trap"), "{operation}: {}", output.stderr);
        if !operation.contains(".init") {
            assert_eq!(kinds(&task, &["--fuel", "5000"], "50000\n"), ["fuel"], "{operation}");
            assert_eq!(kinds(&task, &["--fuel", "500000"], "50000\n"), ["ok"], "{operation}");
        }
    }
}

#[test]
fn an_err_is_bounded_as_a_value_is_and_costs_no_worker() {
    for args in [&["-c", "1"][..], &["-c", "9"], &["--isolate", "worker"]] {
        let run = map(&wat(long_err())).args(["--output-format", "records", "-j", "1"]).args(args);
        let records = run.input("9000000\n8\n100000000\n8000000\n8\n").run().exits(1).records();
        let kinds: Vec<&str> = records.iter().map(Record::kind).collect();
        assert_eq!(kinds, ["output-too-large", "error", "output-too-large", "error", "error"], "{args:?}");
        assert!(records.iter().all(|record| record.get("worker") == records[0].get("worker")), "{args:?}");
        let told = |name| records[3].get(name).and_then(|text| text.as_str()).map_or(0, str::len);
        assert_eq!([told("message"), told("error")], [8_000_000; 2]);
    }
    // A short error is reported in full, however small the limit of a value is.
    let run = map(&wat(long_err())).args(["--output-format", "records", "--max-output", "10"]);
    assert_eq!(run.input("1000\n").run().exits(1).kinds(), ["error"]);
}
