//! What objects are filled with, and what they hold at the end.

use serde_json::{Value, json};

use wasmpool_core::share::{NumberType, ObjectForm, ObjectSpec};
use wasmpool_objects::operation::{Operation, Reply};
use wasmpool_run::shared::{SharedContents, SharedObjects};
use wasmpool_run::spawn::ChildProgram;

use crate::support::*;

fn specs() -> Vec<ObjectSpec> {
    vec![
        spec("jobs", ObjectForm::Queue { capacity: None }),
        spec("seen", ObjectForm::Dict),
        spec("log", ObjectForm::List),
        spec("settings", ObjectForm::Namespace),
        spec("slots", ObjectForm::Semaphore { slots: 3, bounded: false }),
        spec("done", ObjectForm::Event),
        spec("total", ObjectForm::Value(NumberType::S64)),
        spec("hist", ObjectForm::Array(NumberType::F64, 3)),
        spec("gate", ObjectForm::Lock),
    ]
}

fn contents() -> Value {
    json!({
        "jobs": ["a", "", {"base64": "/w=="}],
        "seen": {"key": "value"},
        "log": ["x", "y"],
        "settings": {"level": "7"},
        "slots": 2,
        "done": true,
        "total": -5,
        "hist": [0.5, "NaN", "Infinity"],
    })
}

/// Returns what the objects hold.
fn told(objects: &SharedObjects) -> Value {
    let mut text = Vec::new();
    objects.write_contents(&mut text).unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[test]
fn objects_hold_what_they_were_filled_with() {
    let filling = SharedContents::read(&specs(), contents().to_string().as_bytes()).unwrap();
    let objects = filled(&specs(), filling);
    let mut client = Client::new(&objects, "a");
    assert_eq!(client.ask(2, Operation::ListGet(1), None), Ok(Reply::Bytes(b"y".to_vec())));
    assert_eq!(told(&objects), contents());
}

#[test]
fn contents_of_thousands_of_entries_are_told_whole_and_in_order() {
    let many: Vec<Value> = (0..5000).map(|n| Value::String(format!("{n:05}"))).collect();
    let entries: serde_json::Map<_, _> = (0..5000).map(|n| (format!("{n:05}"), Value::String(n.to_string()))).collect();
    let wanted = json!({ "jobs": many, "log": many, "seen": entries });
    let specs: Vec<ObjectSpec> =
        specs().into_iter().filter(|spec| ["jobs", "log", "seen"].contains(&spec.name.as_str())).collect();
    let filling = SharedContents::read(&specs, wanted.to_string().as_bytes()).unwrap();
    assert_eq!(told(&filled(&specs, filling)), wanted);
}

/// More numbers than are read or written at once, and as many.
#[test]
fn arrays_of_any_length_are_filled_and_told_whole() {
    for len in [4095, 4096, 4097, 10_000] {
        let specs = [spec("hist", ObjectForm::Array(NumberType::U16, len))];
        let wanted = json!({ "hist": (0..len).collect::<Vec<_>>() });
        let filling = SharedContents::read(&specs, wanted.to_string().as_bytes()).unwrap();
        assert_eq!(told(&filled(&specs, filling)), wanted);
        for wrong in [len - 1, len + 1] {
            let text = json!({ "hist": vec![1; wrong as usize] }).to_string();
            let refused = SharedContents::read(&specs, text.as_bytes()).unwrap_err().to_string();
            assert!(refused.contains(&format!("an array of {len} numbers")), "{refused}");
        }
    }
}

#[test]
fn what_an_object_cannot_be_filled_with_is_refused_by_name() {
    for (text, word) in [
        (r#"{"other": 1}"#, "other"),
        (r#"{"total": 0.5}"#, "s64"),
        (r#"{"hist": [1, 2]}"#, "3"),
        (r#"{"hist": [1, 2, "x"]}"#, "element 2"),
        (r#"{"gate": true}"#, "gate"),
        (r#"{"seen": []}"#, "seen"),
        (r#"{"total": 1, "total": 2}"#, "twice"),
        ("[]", "object"),
    ] {
        let refused = SharedContents::read(&specs(), text.as_bytes()).unwrap_err().to_string();
        assert!(refused.contains(word), "{text}: {refused}");
    }
}

#[test]
fn objects_that_cannot_be_are_refused_by_name() {
    let lock = || spec("gate", ObjectForm::Lock);
    let parties = 0;
    for (specs, word) in [
        (vec![lock(), lock()], "gate"),
        (vec![spec("meet", ObjectForm::Barrier { parties })], "meet"),
        ((0..65).map(|n| spec(&n.to_string(), ObjectForm::Lock)).collect(), "64"),
    ] {
        let started = SharedObjects::start(&ChildProgram::Own, specs, SharedContents::default(), settings());
        assert!(started.unwrap_err().to_string().contains(word));
    }
}

/// Rounded to 64 bits first, the number would be in the middle between two of 32 bits, and become the other one.
#[test]
fn a_float_of_32_bits_is_what_its_text_rounds_to() {
    let specs = [spec("one", ObjectForm::Value(NumberType::F32)), spec("many", ObjectForm::Array(NumberType::F32, 3))];
    let read = |text: &str| SharedContents::read(&specs, text.as_bytes());
    let above = "1.00000005960464477540";
    let contents = read(&format!(r#"{{"one": {above}, "many": [{above}, 0.1, "-Infinity"]}}"#)).unwrap();
    let objects = filled(&specs, contents);
    let next = f64::from(1.0_f32.next_up());
    assert_eq!(told(&objects), json!({"one": next, "many": [next, f64::from(0.1_f32), "-Infinity"]}));
    for text in ["1e39", "-1e39", "1e400", "\"1\"", "[1]", "true", "null"] {
        for (one, many) in [(text, "[1, 2, 3]"), ("1", &*format!("[1, {text}, 3]"))] {
            assert!(read(&format!(r#"{{"one": {one}, "many": {many}}}"#)).is_err(), "{text}");
        }
    }
}

#[test]
fn bytes_that_are_given_twice_are_refused() {
    let specs = [spec("log", ObjectForm::List)];
    let read = |text: &str| SharedContents::read(&specs, text.as_bytes());
    assert!(read(r#"{"log": [{"base64": "YQ=="}]}"#).is_ok());
    let error = read(r#"{"log": ["a", {"base64": "YQ==", "base64": "Yg=="}]}"#).unwrap_err().to_string();
    assert!(error.contains("element 1"), "{error}");
}
