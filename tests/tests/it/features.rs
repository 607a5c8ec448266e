//! Tasks that use rare features of WebAssembly and of components run like any other.

use crate::support::guest::wat;
use crate::support::run::{map, wasmpool};

/// Returns a component whose one half calls the other by the asynchronous ABI: `$ask` does that, and gets 7. `run`
/// returns what `returns` leaves. `init` keeps the 7 and its argument in `$sum`.
fn waits_inside(returns: &str) -> String {
    format!(
        r#"
(component
  (component $Inner
    (core func $return (canon task.return (result u32)))
    (core module $m
      (import "" "return" (func $return (param i32)))
      (func (export "seven") (result i32) (call $return (i32.const 7)) (i32.const 0))
      (func (export "callback") (param i32 i32 i32) (result i32) unreachable))
    (core instance $i (instantiate $m (with "" (instance (export "return" (func $return))))))
    (func (export "seven") async (result u32)
      (canon lift (core func $i "seven") async (callback (core func $i "callback")))))
  (component $Outer
    (import "seven" (func $seven async (result u32)))
    (core module $memory (memory (export "m") 1))
    (core instance $memory (instantiate $memory))
    (core func $lowered (canon lower (func $seven) async (memory (core memory $memory "m"))))
    (core module $m
      (import "memory" "m" (memory 1))
      (import "" "seven" (func $seven (param i32) (result i32)))
      (global $sum (mut i32) (i32.const 0))
      (func $ask (result i32) (drop (call $seven (i32.const 64))) (i32.load (i32.const 64)))
      (func (export "init") (param i32)
        (global.set $sum (i32.add (local.get 0) (call $ask))))
      (func (export "run") (result i32) {returns}))
    (core instance $i (instantiate $m
      (with "memory" (instance $memory)) (with "" (instance (export "seven" (func $lowered))))))
    (func (export "init") (param "n" u32) (canon lift (core func $i "init")))
    (func (export "run") (result u32) (canon lift (core func $i "run"))))
  (instance $inner (instantiate $Inner))
  (instance $outer (instantiate $Outer (with "seven" (func $inner "seven"))))
  (export "init" (func $outer "init"))
  (export "run" (func $outer "run")))"#
    )
}

/// Returns a component that imports a function of an interface, and whose `run` returns 7. `calls` is what it does
/// before that, with the function as `$it`.
fn importing(interface: &str, name: &str, ty: &str, lower: &str, core: &str, calls: &str) -> String {
    format!(
        r#"
(component
  (import "{interface}" (instance $from (export "{name}" (func {ty}))))
  (core module $memory (memory (export "m") 1))
  (core instance $memory (instantiate $memory))
  (core func $it (canon lower (func $from "{name}") {lower}))
  (core module $m
    (import "" "it" (func $it {core}))
    (func (export "run") (result i32) {calls} i32.const 7))
  (core instance $i (instantiate $m (with "" (instance (export "it" (func $it))))))
  (func (export "run") (result u32) (canon lift (core func $i "run"))))"#
    )
}

#[track_caller]
fn gives(task: &str, value: &str) {
    for isolate in ["item", "worker"] {
        let output = map(&wat(task)).args(["-j", "1", "--isolate", isolate]).input("null\nnull\n").run().exits(0);
        assert_eq!(output.text(), format!("{value}\n{value}\n"), "--isolate {isolate}");
    }
}

#[test]
fn references_to_the_host_have_a_table_and_a_global() {
    gives(r#"(module (table $t 3 externref) (func (export "size") (result i32) (table.size $t)))"#, "3");
    let global = r#"
(module
  (global $g (mut externref) (ref.null extern))
  (func (export "is_null") (result i32) (global.set $g (ref.null extern)) (ref.is_null (global.get $g))))"#;
    gives(global, "1");
    // The same within a component, and with a table of functions.
    let inside = r#"
(component
  (core module $m
    (table $t 2 externref) (table $f 1 funcref) (elem (table $f) (i32.const 0) func $two)
    (func $two (result i32) (table.size $t))
    (func (export "size") (result i32) (call_indirect $f (result i32) (i32.const 0))))
  (core instance $i (instantiate $m))
  (func (export "size") (result u32) (canon lift (core func $i "size"))))"#;
    gives(inside, "2");
}

#[test]
fn collected_values_and_exceptions_work_in_modules_and_components() {
    let body = r#"
    (type $pair (struct (field i32) (field i32)))
    (tag $thrown (param i32))
    (func (export "sum") (result i32) (local $p (ref null $pair))
      (local.set $p (struct.new $pair (i32.const 3) (i32.const 4)))
      (block $caught (result i32)
        (try_table (catch $thrown $caught)
          (throw $thrown (i32.add
            (struct.get $pair 0 (local.get $p)) (struct.get $pair 1 (local.get $p)))))
        unreachable))"#;
    gives(&format!("(module {body})"), "7");
    let component = format!(
        r#"(component
  (core module $m {body}) (core instance $i (instantiate $m))
  (func (export "sum") (result u32) (canon lift (core func $i "sum"))))"#
    );
    gives(&component, "7");
}

#[test]
fn a_sync_function_may_wait_for_an_async_one_inside() {
    gives(&waits_inside("(call $ask)"), "7");
}

#[test]
fn so_may_init() {
    for isolate in ["item", "chunk", "worker"] {
        let output = map(&wat(waits_inside("global.get $sum")))
            .args(["-j", "1", "--init", "3", "--isolate", isolate])
            .input("null\nnull\n")
            .run()
            .exits(0);
        assert_eq!(output.text(), "10\n10\n", "--isolate {isolate}");
    }
}

#[test]
fn sync_functions_of_wasi_0_3_are_called_by_a_task_without_async() {
    let random =
        |calls| importing("wasi:random/random@0.3.0", "get-random-u64", "(result u64)", "", "(result i64)", calls);
    gives(&random(""), "7");
    gives(&random("(drop (call $it))"), "7");
}

#[test]
fn what_is_not_provided_fails_where_it_is_called_and_not_before() {
    for (interface, ty, lower, core, call) in [
        ("wasi:http/client@0.2.0", "(result u32)", "", "(result i32)", "(drop (call $it))"),
        (
            "wasi:http/client@0.3.0",
            "async (result u32)",
            r#"async (memory (core memory $memory "m"))"#,
            "(param i32) (result i32)",
            "(drop (call $it (i32.const 64)))",
        ),
        ("wasi:http/client@0.3.0", "async (result u32)", "", "(result i32)", "(drop (call $it))"),
    ] {
        let task = |calls| importing(interface, "send", ty, lower, core, calls);
        if lower.is_empty() && ty.starts_with("async") {
            // Only a function that may wait can wait for it.
            let task = task(call)
                .replace(r#"(func (export "run") (result u32)"#, r#"(func (export "run") async (result u32)"#);
            denied(&task, interface);
            continue;
        }
        gives(&task(""), "7");
        denied(&task(call), interface);
    }
}

#[track_caller]
fn denied(task: &str, interface: &str) {
    let output = map(&wat(task)).args(["--output-format", "records"]).input("null\n").run().exits(1);
    let record = &output.records()[0];
    assert_eq!(record.kind(), "trap", "{}", record.message());
    let wanted = format!("the task called `{interface}#send`, which is not provided here");
    assert!(record.message().contains(&wanted), "{}", record.message());
}

/// A command that looks up a name by WASI 0.3: 0 if there is an address, 1 if it is not found.
const LOOKS_UP: &str = r#"
(component
  (type $types (instance
    (type $four (tuple u8 u8 u8 u8)) (export "ipv4-address" (type $ipv4 (eq $four)))
    (type $eight (tuple u16 u16 u16 u16 u16 u16 u16 u16)) (export "ipv6-address" (type $ipv6 (eq $eight)))
    (type $either (variant (case "ipv4" $ipv4) (case "ipv6" $ipv6))) (export "ip-address" (type (eq $either)))))
  (import "wasi:sockets/types@0.3.0" (instance $types (type $types)))
  (alias export $types "ip-address" (type $address))
  (import "wasi:sockets/ip-name-lookup@0.3.0" (instance $names
    (alias outer 1 $address (type $outer))
    (export "ip-address" (type $address (eq $outer)))
    (type $code (variant (case "access-denied") (case "invalid-argument") (case "name-unresolvable")
      (case "temporary-resolver-failure") (case "permanent-resolver-failure") (case "other" (option string))))
    (export "error-code" (type $error-code (eq $code)))
    (export "resolve-addresses"
      (func async (param "name" string) (result (result (list $address) (error $error-code)))))))
  (core module $memory
    (memory (export "m") 1)
    (global $at (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.set $at (i32.and (i32.add (global.get $at) (i32.add (local.get 3) (i32.const 15))) (i32.const -8)))
      (i32.sub (global.get $at) (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -8)))))
  (core instance $memory (instantiate $memory))
  (core func $resolve (canon lower (func $names "resolve-addresses")
    (memory (core memory $memory "m")) (realloc (core func $memory "realloc"))))
  (core module $m
    (import "" "m" (memory 1))
    (import "" "resolve" (func $resolve (param i32 i32 i32)))
    (func (export "run") (param i32 i32) (result i32)
      (call $resolve (local.get 0) (local.get 1) (i32.const 64))
      (i32.load8_u (i32.const 64))))
  (core instance $i (instantiate $m
    (with "" (instance (export "m" (memory $memory "m")) (export "resolve" (func $resolve))))))
  (func (export "run") async (param "name" string) (result u32)
    (canon lift (core func $i "run") (memory (core memory $memory "m")) (realloc (core func $memory "realloc")))))"#;

#[test]
fn granted_names_are_found_by_wasi_0_3_and_no_others() {
    let look_up = |args: &[&str]| map(&wat(LOOKS_UP)).args(args).input("\"localhost\"\n\"127.0.0.1\"\n").run().exits(0);
    assert_eq!(look_up(&[]).text(), "1\n0\n");
    assert_eq!(look_up(&["--allow-net", "localhost:80"]).text(), "0\n0\n");
}

#[test]
fn an_invalid_task_is_told_what_is_wrong_and_not_what_one_profile_lacks() {
    for (task, wrong) in [
        (
            r#"(module (type $s (struct (field i32))) (func (result i32) (struct.get $s 0 (ref.null $s)) i64.const 1 drop drop))"#,
            "type mismatch",
        ),
        (r#"(module (func (result i32) i64.const 1))"#, "type mismatch"),
        (r#"(module (tag $t) (func (throw $t) ) (func (result i32)))"#, "type mismatch"),
    ] {
        let output = wasmpool().arg("inspect").task(&wat(task)).run().exits(2);
        assert!(output.stderr.contains(wrong), "{}", output.stderr);
        assert!(!output.stderr.contains("feature"), "{}", output.stderr);
    }
}
