use super::*;
use crate::value::shape::UnsupportedType;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;
use wasmtime::{Config, Engine};

/// Returns the plan of the parameter of an imported function, whose types
/// `types` declares.
fn planned(types: &str, param: &str) -> Result<TypePlan, UnsupportedType> {
    let mut config = Config::new();
    config.wasm_component_model_map(true);
    config.wasm_component_model_fixed_length_lists(true);
    config.wasm_component_model_async(true);
    config.wasm_component_model_error_context(true);
    let engine = Engine::new(&config).unwrap();
    let wat = format!(r#"(component {types} (import "f" (func (param "x" {param}))))"#);
    let component = Component::new(&engine, wat).unwrap();
    let ty = component.component_type();
    let item = ty.get_import(&engine, "f").unwrap().ty;
    let ComponentItem::ComponentFunc(function) = item else {
        panic!("no function");
    };
    let (_, ty) = function.params().next().unwrap();
    TypePlan::of(&ty)
}

#[test]
fn a_type_is_planned_and_spelled_as_in_wit() {
    for (wat, wit) in [
        ("(list u8)", "list<u8>"),
        ("(list (tuple u8 string))", "list<tuple<u8, string>>"),
        ("(option (option f32))", "option<option<f32>>"),
        ("(result)", "result"),
        ("(result s64)", "result<s64>"),
        ("(result (error char))", "result<_, char>"),
        ("(result bool (error string))", "result<bool, string>"),
        ("(list u16 4)", "list<u16, 4>"),
        ("(map string u32)", "map<string, u32>"),
    ] {
        assert_eq!(planned("", wat).unwrap().wit(), wit);
    }
    assert_eq!(planned("", "(list u8)").unwrap(), TypePlan::Bytes);
}

#[test]
fn declared_types_are_spelled_out() {
    for (wat, wit) in [
        (r#"(record (field "a" u8) (field "b" s8))"#, "record { a: u8, b: s8 }"),
        (r#"(variant (case "a" u8) (case "b"))"#, "variant { a(u8), b }"),
        (r#"(enum "a" "b")"#, "enum { a, b }"),
        (r#"(flags "a" "b")"#, "flags { a, b }"),
    ] {
        let types = format!(r#"(type $t {wat}) (import "t" (type $u (eq $t)))"#);
        assert_eq!(planned(&types, "$u").unwrap().wit(), wit);
    }
}

#[test]
fn a_type_without_json_form_names_the_part() {
    let types = r#"
        (import "r" (type $r (sub resource)))
        (type $t (record (field "id" u8) (field "parts" (list (own $r)))))
        (import "t" (type $u (eq $t)))"#;
    assert_eq!(
        planned(types, "$u").unwrap_err().to_string(),
        "at .parts[]: a `resource` is a handle to something inside one instance and has no JSON form"
    );
    let stream = planned("", "(stream u8)").unwrap_err();
    assert!(matches!(stream, UnsupportedType::Handle { kind: "stream", .. }));
}

#[test]
fn a_small_type_that_unfolds_to_a_huge_one_is_refused() {
    let mut types = "(type $t0 (tuple u8 u8))".to_owned();
    for at in 1..18 {
        types += &format!("(type $t{at} (tuple $t{0} $t{0}))", at - 1);
    }
    assert_eq!(planned(&types, "$t17").unwrap_err(), UnsupportedType::TooLarge);
}
