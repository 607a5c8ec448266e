//! What a person types, who need not quote a text.

use super::*;
use crate::value::typed;

fn typed(shape: &TypePlan, text: &str) -> Result<Val, String> {
    typed::value(shape, text).map_err(|misfit| misfit.to_string())
}

fn string(text: &str) -> Val {
    Val::String(text.to_owned())
}

#[test]
fn what_is_json_of_the_type_is_that_and_else_a_text_is_meant() {
    let of_string = |text: &str| typed(&TypePlan::String, text).unwrap();
    for (text, meant) in
        [("a", "a"), ("\"a\"", "a"), ("12", "12"), ("null", "null"), ("[1]", "[1]"), ("\"", "\""), ("", "")]
    {
        assert_eq!(of_string(text), string(meant), "{text}");
    }
    let maybe = option(TypePlan::String);
    assert_eq!(typed(&maybe, "null").unwrap(), Val::Option(None));
    assert_eq!(typed(&maybe, "\"null\"").unwrap(), some(string("null")));
    assert_eq!(typed(&maybe, "a").unwrap(), some(string("a")));
    let color = TypePlan::Enum(names(&["red", "green"]));
    assert_eq!(typed(&color, "red").unwrap(), Val::Enum("red".into()));
    assert!(typed(&color, "gren").unwrap_err().contains("green"));
    assert_eq!(typed(&TypePlan::Char, "7").unwrap(), Val::Char('7'));
    assert!(typed(&TypePlan::Char, "77").unwrap_err().contains("exactly one character"));
}

#[test]
fn other_types_take_json_alone_and_the_message_has_the_text() {
    assert_eq!(typed(&TypePlan::S64, "-7").unwrap(), Val::S64(-7));
    assert!(typed(&TypePlan::S64, "seven").unwrap_err().starts_with("expected s64, got seven (not valid JSON"));
    assert!(typed(&TypePlan::S64, "\"7\"").unwrap_err().contains("a number has no quotes"));
    assert!(typed(&TypePlan::S64, "").unwrap_err().starts_with("expected s64, got an empty text"));
    assert!(typed(&list(TypePlan::String), "a").unwrap_err().contains("got a (not valid JSON"));
    assert!(typed(&TypePlan::Bytes, "hi").unwrap_err().contains("base64"));
}

#[test]
fn arguments_are_read_in_their_order_or_all_from_one() {
    let two = || FunctionParams::new(vec![("base".to_owned(), TypePlan::U8), ("name".to_owned(), TypePlan::String)]);
    let read = |params: &FunctionParams, texts: &[&str]| {
        let (mut out, item) = (Vec::new(), serde_json::to_vec(texts).unwrap());
        let decoded = params.decode(&item, ItemEncoding::Typed, &mut out);
        decoded.map(|()| out).map_err(|misfit| misfit.to_string())
    };
    let wanted = vec![Val::U8(1), string("2")];
    assert_eq!(read(&two(), &["1", "2"]), Ok(wanted.clone()));
    assert_eq!(read(&two(), &["[1, \"2\"]"]), Ok(wanted.clone()));
    assert!(read(&two(), &["[1, 2]"]).unwrap_err().contains("expected string"), "within JSON, all is JSON");
    assert!(read(&two(), &["x", "2"]).unwrap_err().starts_with("at .base: expected u8, got x"));
    assert!(read(&two(), &["1", "2", "3"]).unwrap_err().contains("3 arguments"));
    let mut bound = two();
    bound.bind_typed("base", "1").unwrap();
    assert_eq!(read(&bound, &["2"]), Ok(wanted));
    assert_eq!(read(&FunctionParams::new(Vec::new()), &[]), Ok(Vec::new()));
}
