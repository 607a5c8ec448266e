//! `wasmpool inspect`: what a task exports and imports.

use crate::support::guest::{Task, built, file, wat};
use crate::support::run::wasmpool;
use crate::support::wat::{FOREIGN_COMPONENT, FOREIGN_MODULE, RESOURCE, SQUARE, interfaces, minus};

/// Checks that the description contains each of these names.
#[track_caller]
fn shows(task: &Task, names: &[&str]) {
    let output = wasmpool().arg("inspect").task(task).run().exits(0);
    for name in names {
        assert!(output.text().contains(name), "no {name} in:\n{}", output.text());
    }
}

#[test]
fn functions_are_shown_with_their_types() {
    shows(&wat(SQUARE), &["square", "64"]);
    shows(&wat(minus()), &["minus", "from", "take", "s64"]);
    shows(&built("identity"), &["echo-record", "echo-option-option", "first-part", "list<u8>"]);
}

#[test]
fn functions_of_interfaces_are_shown_with_their_interface() {
    shows(&wat(interfaces()), &["acme:sums/one@1.2.0", "acme:sums/two@1.2.0", "apply", "square"]);
}

#[test]
fn imports_are_shown_even_where_nothing_provides_them() {
    shows(&wat(FOREIGN_COMPONENT), &["acme:store/keys@1.0.0"]);
    shows(&wat(FOREIGN_MODULE), &["environs", "magic"]);
    shows(&built("misbehave"), &["wasi:cli/"]);
}

#[test]
fn a_task_that_cannot_be_mapped_can_be_looked_at() {
    shows(&wat(RESOURCE), &["take", "thing"]);
}

#[test]
fn what_is_no_task_is_refused() {
    for task in [file("task.wasm", b"no wasm"), file("task.wasm", b"\0asm\x01\0\0")] {
        let output = wasmpool().arg("inspect").task(&task).run().exits(2);
        assert_eq!(output.text(), "");
        assert!(!output.stderr.is_empty());
    }
    wasmpool().args(["inspect", "/nowhere/task.wasm"]).run().exits(2);
}

#[test]
fn a_function_that_cannot_be_called_is_shown_with_all_its_parameters() {
    let module = r#"
(module
  (func (export "mixed") (param i32 v128 f64 externref) (result i64 v128) unreachable)
  (func (export "only") (param funcref)))"#;
    let component = r#"
(component
  (type $hidden (resource (rep i32)))
  (export $thing "thing" (type $hidden))
  (core module $m
    (func (export "take") (param i32 i32 i32) (result i32) unreachable)
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable))
  (core instance $i (instantiate $m))
  (func (export "take") (param "by" u32) (param "them" (list (own $thing))) (result (tuple u8 (own $thing)))
    (canon lift (core func $i "take") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))"#;
    for (task, signatures) in [
        (
            module,
            &[
                "mixed: func(p0: i32, p1: v128, p2: f64, p3: (ref null extern)) -> (i64, v128)",
                "only: func(p0: (ref null func))",
            ][..],
        ),
        (component, &["take: func(by: u32, them: list<resource>) -> tuple<u8, resource>"]),
    ] {
        let output = wasmpool().arg("inspect").task(&wat(task)).run().exits(0);
        for signature in signatures {
            assert!(output.text().contains(signature), "{signature} in {}", output.text());
        }
    }
}
