//! Random bytes: as many as are asked for, new for each item, whatever a task asks with.

use std::collections::BTreeSet;

use crate::support::guest::wat;
use crate::support::run::map;
use crate::support::wat::importing;

/// Returns a component that returns as many random bytes as its item says.
fn component(interface: &str, name: &str, parameter: &str) -> String {
    let ty = format!(r#"(param "{parameter}" u64) (result (list u8))"#);
    let import = importing(&format!("wasi:random/{interface}"), name, &ty);
    format!(
        r#"
(component {import}
  (core module $code
    (import "" "it" (func $it (param i64 i32)))
    (func (export "f") (param $n i64) (result i32) (call $it (local.get $n) (i32.const 16)) (i32.const 16)))
  (core instance $i (instantiate $code (with "" (instance (export "it" (func $it))))))
  (func (export "f") (param "n" u64) (result (list u8)) (canon lift (core func $i "f") (memory $m))))"#
    )
}

/// Returns a module that asks for as many random bytes as its item says, and returns the last eight of them.
fn module(interface: &str) -> String {
    format!(
        r#"
(module
  (import "{interface}" "random_get" (func $it (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "f") (param $n i32) (result i64)
    (if (call $it (i32.const 16) (local.get $n)) (then unreachable))
    (i64.load (i32.add (i32.const 8) (local.get $n)))))"#
    )
}

#[test]
fn random_bytes_are_as_many_as_are_asked_for_and_new_for_each_item() {
    for (interface, name, parameter) in [
        ("random@0.2.0", "get-random-bytes", "len"),
        ("random@0.2.3", "get-random-bytes", "len"),
        ("insecure@0.2.0", "get-insecure-random-bytes", "len"),
        ("random@0.3.0", "get-random-bytes", "max-len"),
        ("insecure@0.3.0", "get-insecure-random-bytes", "max-len"),
    ] {
        for isolate in ["item", "worker"] {
            let run = map(&wat(component(interface, name, parameter))).args(["--isolate", isolate, "-j", "2"]);
            let values = run.input("60000\n3000\n0\n".repeat(20)).run().exits(0).values();
            let texts: Vec<&str> = values.iter().map(|value| value.as_str().expect("base64")).collect();
            let lengths: Vec<usize> = texts.iter().map(|text| text.len()).collect();
            assert_eq!(lengths, [80_000, 4_000, 0].repeat(20), "{interface}");
            let different: BTreeSet<&str> =
                texts.iter().filter(|text| !text.is_empty()).map(|text| &text[..16]).collect();
            assert_eq!(different.len(), 40, "{interface}");
        }
    }
}

#[test]
fn the_same_holds_for_core_modules() {
    for interface in ["wasi_snapshot_preview1", "wasi_unstable"] {
        let values = map(&wat(module(interface))).input("60000\n8\n".repeat(20)).run().exits(0).values();
        let different: BTreeSet<i64> = values.iter().map(|value| value.as_i64().expect("a number")).collect();
        assert_eq!(different.len(), 40, "{interface}");
        // A buffer that is not in the memory.
        let run = map(&wat(module(interface))).args(["--output-format", "records"]).input("1000000\n").run().exits(1);
        assert_eq!(run.values()[0]["kind"], "trap", "{interface}");
    }
}

#[test]
fn more_random_bytes_than_any_guest_may_have_at_once_are_refused() {
    let task = wat(component("random@0.2.0", "get-random-bytes", "len"));
    let run = map(&task).args(["--output-format", "records"]).input("67108865\n").run().exits(1);
    let record = &run.values()[0];
    assert!(record["message"].as_str().expect("a message").contains("67108864"), "{record}");
}
