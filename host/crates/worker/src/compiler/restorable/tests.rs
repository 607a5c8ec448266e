//! What is added to a task, and which tasks are left as they are.

use super::*;
use crate::added;

fn of(text: &str) -> Result<RestorableTask, NotRestorable> {
    restorable(&wat::parse_str(text).expect("a text"))
}

#[test]
fn tasks_that_keep_what_is_not_restored_are_left_as_they_are() {
    // What is lent to a function would have a place among the handles of its component.
    let lends = r#"(component
        (import "i" (instance $i (export "r" (type $r (sub resource)))))
        (alias export $i "r" (type $r))
        (component $a (import "r" (type $r (sub resource))) (core module $m (func (export "f") (param i32)))
          (core instance $m (instantiate $m)) (type $b (borrow $r))
          (func (export "f") (param "r" $b) (canon lift (core func $m "f"))))
        (instance $a (instantiate $a (with "r" (type $r))))
        (core func $f (canon lower (func $a "f"))))"#;
    let grows = "(component (core module (memory 0) (func (drop (memory.grow (i32.const 1))))))";
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
        (grows, NotRestorable::Memory(MemoryMisfit::Empty)),
        ("(component (type (resource (rep i32))))", NotRestorable::Resources),
        (lends, NotRestorable::PassesHandles),
        ("(component (import \"m\" (core module)))", NotRestorable::Modules),
    ] {
        assert_eq!(of(text).map(|task| task.memories), Err(why), "{text}");
    }
}

#[test]
fn tasks_that_would_grow_too_much_are_left_as_they_are() {
    let globals = |count: u32| "(global (mut i32) (i32.const 0))".repeat(count as usize);
    let instances = |count: u32| "(core instance (instantiate $m))".repeat(count as usize);
    // Each level has two instances of the next.
    let nested = |depth: u32| {
        let innermost = r#"(core module $m (func (export "f"))) (core instance $m (instantiate $m))
            (func (export "f") (canon lift (core func $m "f")))"#;
        (0..depth).fold(innermost.to_owned(), |inner, _| {
            format!(r#"(component $c {inner}) (instance $a (instantiate $c)) (instance (instantiate $c)) (export "f" (func $a "f"))"#)
        })
    };
    let half = globals(MOST_GLOBALS / 2);
    for (text, is_left) in [
        (format!("(module {})", globals(MOST_GLOBALS)), false),
        (format!("(module {})", globals(MOST_GLOBALS + 1)), true),
        (format!("(component (core module {half}) (core module {half}))"), false),
        (format!("(component (core module {half}) (component (core module {half} {})))", globals(1)), true),
        (format!("(component (core module $m) {})", instances(MOST_INSTANCES / 2)), false),
        (format!("(component (core module $m) {})", instances(MOST_INSTANCES)), true),
        (format!("(component {})", nested(6)), false),
        (format!("(component {})", nested(8)), true),
        (format!("(component {})", nested(16)), true),
    ] {
        let why = of(&text).err();
        assert_eq!(why, is_left.then_some(NotRestorable::TooLarge), "{}", &text[..text.len().min(200)]);
    }
}

#[test]
fn what_components_within_a_task_have_is_restored_as_well() {
    let text = r#"(component
        (import "i" (instance $i (export "r" (type $r (sub resource))) (export "f" (func (result (own $r))))))
        (component $a (import "i" (instance $i (export "r" (type $r (sub resource))) (export "f" (func (result (own $r))))))
          (core module $m (memory 2) (memory 0) (global (mut i32) (i32.const 1)) (table 3 funcref) (func (export "f") (param i32)))
          (core instance $m (instantiate $m))
          (core func $f (canon lower (func $i "f")))
          (alias export $i "r" (type $r))
          (core func $drop (canon resource.drop $r))
          (func (export "f") (param "r" u32) (canon lift (core func $m "f"))))
        (component $b (component $c (core module $m (memory 1) (func (export "f"))) (core instance $m (instantiate $m))
            (func (export "f") (canon lift (core func $m "f"))))
          (instance $c (instantiate $c)) (instance $d (instantiate $c)) (alias export $c "f" (func $f)) (export "f" (func $f)))
        (instance $a (instantiate $a (with "i" (instance $i)))) (instance $b (instantiate $b)) (instance $d (instantiate $b))
        (alias export $a "f" (func $f)) (export "f" (func $f)))"#;
    let task = of(text).expect("it can be restored");
    assert_eq!((task.memories, task.globals, task.words), (5, 1, vec![vec![4]]));
    let engine = crate::engine::compiling(Default::default()).expect("an engine");
    let component = wasmtime::component::Component::from_binary(&engine, &task.wasm).expect("it is valid");
    let instance = component.get_export_index(None, added::INSTANCE).expect("an instance");
    for name in ["save0", "restore0", "look0", "memory4", "clear-handles0", "handle-at0"] {
        assert!(component.get_export_index(Some(&instance), name).is_some(), "{name}");
    }
    assert!(component.get_export_index(Some(&instance), "clear-handles1").is_none());
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
