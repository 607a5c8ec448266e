//! What is added to a task, and which tasks are left as they are.

use super::*;
use crate::added;

fn of(text: &str) -> Result<RestorableTask, NotRestorable> {
    restorable(&wat::parse_str(text).expect("a text"))
}

#[test]
fn tasks_that_keep_what_is_not_restored_are_left_as_they_are() {
    let nested = "(component (component (core module (func))))";
    for (text, why) in [
        (
            "(module (table 1 funcref) (func (table.set (i32.const 0) (ref.null func))))",
            NotRestorable::ChangesTable("table.set"),
        ),
        (
            "(module (table 1 funcref) (func (drop (table.grow (ref.null func) (i32.const 1)))))",
            NotRestorable::ChangesTable("table.grow"),
        ),
        ("(module (data \"x\") (func (data.drop 0)))", NotRestorable::DropsSegment("data.drop")),
        ("(module (table 1 funcref) (elem func) (func (elem.drop 0)))", NotRestorable::DropsSegment("elem.drop")),
        ("(module (memory i64 1))", NotRestorable::Memory(MemoryMisfit::Wide)),
        ("(module (memory 1 1 shared))", NotRestorable::Memory(MemoryMisfit::Shared)),
        ("(module (memory 1 (pagesize 1)))", NotRestorable::Memory(MemoryMisfit::PageSize)),
        ("(module (global (mut externref) (ref.null extern)))", NotRestorable::Reference),
        ("(module (table 1 externref))", NotRestorable::Table),
        ("(module (func (export \"wasmpool:restore#save\")))", NotRestorable::NameTaken(added::PREFIX)),
        ("(component (core module (memory 0)))", NotRestorable::Memory(MemoryMisfit::Empty)),
        ("(component (type (resource (rep i32))))", NotRestorable::Resources),
        (nested, NotRestorable::NestedCode),
        ("(component (import \"m\" (core module)))", NotRestorable::Modules),
    ] {
        assert_eq!(of(text).map(|task| task.memories), Err(why), "{text}");
    }
}

#[test]
fn what_is_added_leaves_a_task_valid_and_its_indices_as_they_were() {
    for text in [
        "(module)",
        "(module (memory 0))",
        "(module (func (export \"f\") (result i32) (i32.const 1)) (memory 1) (data (i32.const 0) \"x\"))",
        "(module (import \"a\" \"b\" (func)) (import \"a\" \"g\" (global (mut i32))) (global (mut v128) (v128.const i64x2 1 2))
           (global i32 (i32.const 1)) (table 3 funcref) (elem (i32.const 0) 0) (memory 2) (memory 1)
           (func $start (global.set 0 (i32.const 2))) (start $start))",
        "(component (core module $m (memory (export \"m\") 1) (global (mut i32) (i32.const 900)) (func (export \"f\")))
           (core instance $a (instantiate $m)) (core instance $b (instantiate $m))
           (func (export \"f\") (canon lift (core func $b \"f\"))))",
        "(component (core module $m (func (export \"f\"))) (core instance $a (instantiate $m))
           (func $f (canon lift (core func $a \"f\")))
           (component $names (import \"f\" (func $f)) (export \"g\" (func $f)))
           (instance $names (instantiate $names (with \"f\" (func $f)))) (export \"i\" (instance $names)))",
    ] {
        let task = of(text).unwrap_or_else(|why| panic!("{text}: {why}"));
        let engine = crate::engine::compiling(Default::default()).expect("an engine");
        let valid = match is_component(&task.wasm) {
            true => wasmtime::component::Component::from_binary(&engine, &task.wasm).map(|_| ()),
            false => wasmtime::Module::from_binary(&engine, &task.wasm).map(|_| ()),
        };
        assert!(valid.is_ok(), "{text}: {valid:?}");
    }
}
