//! Which functions are found to leave all global variables as they were.

use wasmparser::{ExternalKind, Parser, Payload, TypeRef};

use super::*;

/// Returns which of the exported functions of a module are found to keep all global variables.
fn keeping(text: &str) -> Vec<String> {
    // The text may begin with imports, which come before all else.
    let wasm = wat::parse_str(format!(
        "(module {text} (global $sp (mut i32) (i32.const 4096)) (global $g (mut i32) (i32.const 0)))"
    ));
    let mut changes = GlobalChanges::default();
    for payload in Parser::new(0).parse_all(&wasm.expect("a text")) {
        match payload.expect("a part") {
            Payload::ImportSection(imports) => {
                let functions =
                    imports.into_imports().filter(|i| matches!(i.as_ref().expect("an import").ty, TypeRef::Func(_)));
                changes.imported += functions.count() as u32;
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export.expect("an export");
                    if export.kind == ExternalKind::Func {
                        changes.export(export.name, export.index);
                    }
                }
            }
            Payload::CodeSectionEntry(body) => {
                changes.begin();
                for operator in body.get_operators_reader().expect("code") {
                    changes.read(&operator.expect("an instruction"));
                }
            }
            _ => {}
        }
    }
    changes.keeping().into_iter().collect()
}

const LOWER: &str = "(global.set $sp (local.tee $x (i32.sub (global.get $sp) (i32.const 16))))";
const RAISE: &str = "(global.set $sp (i32.add (local.get $x) (i32.const 16)))";

#[track_caller]
fn keeps(body: &str, wanted: bool) {
    let body = body.replace("LOWER", LOWER).replace("RAISE", RAISE);
    let found = keeping(&format!(
        r#"(table 1 funcref) (func $changes (global.set $g (i32.const 1)))
           (func (export "f") (param $p i32) (local $x i32) (local $y i32) {body})"#
    ));
    assert_eq!(!found.is_empty(), wanted, "{body}");
}

#[test]
fn a_stack_that_is_where_it_was_on_every_way_out_is_no_change() {
    for body in [
        "",
        "LOWER RAISE",
        "LOWER (if (local.get $p) (then RAISE (return))) RAISE",
        "LOWER (block (br_if 0 (local.get $p)) (call $changes) unreachable) RAISE",
        "LOWER (block (block (br_table 0 1 (local.get $p))) RAISE (return)) RAISE",
        "LOWER (loop $l (br_if $l (local.get $p))) RAISE",
        "LOWER (if (local.get $p) (then RAISE) (else RAISE))",
        "LOWER (block $out (block $in (br_if $in (local.get $p)) RAISE (br $out)) RAISE)",
        "LOWER (call_indirect (i32.const 0)) unreachable",
    ] {
        keeps(body, true);
    }
}

#[test]
fn whatever_may_leave_a_global_variable_changed_is_found() {
    for body in [
        "(global.set $g (i32.const 0))",
        "LOWER",
        "RAISE",
        "LOWER (if (local.get $p) (then (return))) RAISE",
        "LOWER (br_if 0 (local.get $p)) RAISE",
        "LOWER (if (local.get $p) (then RAISE))",
        "LOWER (block (br_if 0 (local.get $p)) RAISE)",
        "LOWER (block (block (br_table 0 1 (local.get $p))) RAISE)",
        "LOWER (loop $l (block (br_if 0 (local.get $p)) RAISE (br $l)) RAISE)",
        "LOWER (local.set $x (i32.const 0)) RAISE",
        "LOWER (drop (local.tee $x (i32.const 0))) RAISE",
        "LOWER (global.set $sp (i32.add (local.get $x) (i32.const 32)))",
        "LOWER (global.set $sp (i32.add (local.get $y) (i32.const 16)))",
        "LOWER (global.set $g (i32.add (local.get $x) (i32.const 16))) RAISE",
        "LOWER LOWER RAISE",
        "nop LOWER RAISE",
        "LOWER (call $changes) RAISE",
        "LOWER (call_indirect (i32.const 0)) RAISE",
        "LOWER (call $changes) (if (local.get $p) (then unreachable)) RAISE",
        "LOWER (return_call $changes)",
    ] {
        keeps(body, false);
    }
}

#[test]
fn a_change_is_found_through_calls_however_they_go_in_circles() {
    let found = keeping(
        r#"(import "i" "f" (func $imported))
           (func $a (export "a") (call $b)) (func $b (export "b") (call $c)) (func $c (export "c") (call $a) (call $d))
           (func $d (export "d") (global.set $g (i32.const 2)))
           (func $e (export "e") (call $f)) (func $f (export "f") (call $e) (call $h)) (func $h)
           (func (export "imports") (call $imported)) (export "imported" (func $imported))
           (func (export "returns") (return_call $h))"#,
    );
    assert_eq!(found, ["e", "f", "returns"]);
}

/// Writes statements of a function that these bytes choose, at this depth of blocks.
fn statements(choices: &mut std::vec::IntoIter<u8>, depth: u32, out: &mut String) {
    // Each condition takes another bit of the argument.
    const BIT: &str = "(i32.and (local.tee $p (i32.rotr (local.get $p) (i32.const 1))) (i32.const 1))";
    while let Some(choice) = choices.next() {
        let target = u32::from(choices.next().unwrap_or(0)) % (depth + 1);
        match choice % 16 {
            0..=3 => *out += RAISE,
            4 => *out += "(global.set $sp (i32.add (local.get $x) (i32.const 32)))",
            5 => *out += "(local.set $x (i32.const 4000))",
            6 => *out += "(call $changes)",
            7 => *out += "(call $fine)",
            8 => *out += "(call $changes) (unreachable)",
            9 => *out += &format!("(br {target})"),
            10 => *out += &format!("(br_if {target} {BIT})"),
            11 => *out += &format!("(br_table {target} 0 {BIT})"),
            12 => *out += "(return)",
            13 if depth < 5 => {
                *out += &format!("(if {BIT} (then ");
                statements(choices, depth + 1, out);
                if target.is_multiple_of(2) {
                    *out += ") (else ";
                    statements(choices, depth + 1, out);
                }
                *out += "))";
            }
            14 if depth < 5 => {
                *out += if target.is_multiple_of(3) { "(loop " } else { "(block " };
                statements(choices, depth + 1, out);
                *out += ")";
            }
            _ if depth > 0 => return,
            _ => *out += "nop ",
        }
    }
}

proptest::proptest! {
    #[test]
    fn a_function_that_is_said_to_change_nothing_changes_nothing(
        choices in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40),
        raises: bool,
    ) {
        let mut body = String::new();
        statements(&mut choices.into_iter(), 0, &mut body);
        let end = if raises { RAISE } else { "" };
        let text = format!(
            r#"(export "sp" (global $sp)) (export "g" (global $g))
               (func $changes (global.set $g (i32.const 1)))
               (func $fine (local $x i32) {LOWER} {RAISE})
               (func (export "f") (param $p i32) (local $x i32) {LOWER} {body} {end})"#
        );
        if keeping(&text).is_empty() {
            return Ok(());
        }
        let mut config = wasmtime::Config::new();
        let engine = wasmtime::Engine::new(config.consume_fuel(true)).expect("an engine");
        let globals = "(global $sp (mut i32) (i32.const 4096)) (global $g (mut i32) (i32.const 0))";
        let module = wasmtime::Module::new(&engine, format!("(module {globals} {text})")).expect("a module");
        for argument in [0, -1, 0x5555_5555, 0x1234_5678, 0x3333_3333] {
            let mut store = wasmtime::Store::new(&engine, ());
            store.set_fuel(10_000).expect("fuel is counted");
            let instance = wasmtime::Instance::new(&mut store, &module, &[]).expect("an instance");
            let function = instance.get_typed_func::<i32, ()>(&mut store, "f").expect("it is exported");
            if function.call(&mut store, argument).is_ok() {
                let mut value = |name| instance.get_global(&mut store, name).expect("a variable").get(&mut store).i32();
                proptest::prop_assert_eq!((value("sp"), value("g")), (Some(4096), Some(0)), "{}", text);
            }
        }
    }
}
