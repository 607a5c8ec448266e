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

#[test]
fn objects_hold_what_they_were_filled_with() {
    let filling = SharedContents::read(&specs(), contents().to_string().as_bytes()).unwrap();
    let objects = filled(&specs(), filling);
    let mut client = Client::new(&objects, "a");
    assert_eq!(client.ask(2, Operation::ListGet(1), None), Ok(Reply::Bytes(b"y".to_vec())));
    assert_eq!(objects.contents().unwrap(), contents());
}

#[test]
fn contents_of_thousands_of_entries_are_told_whole_and_in_order() {
    let many: Vec<Value> = (0..5000).map(|n| Value::String(format!("{n:05}"))).collect();
    let entries: serde_json::Map<_, _> = (0..5000).map(|n| (format!("{n:05}"), Value::String(n.to_string()))).collect();
    let wanted = json!({ "jobs": many, "log": many, "seen": entries });
    let specs: Vec<ObjectSpec> =
        specs().into_iter().filter(|spec| ["jobs", "log", "seen"].contains(&spec.name.as_str())).collect();
    let filling = SharedContents::read(&specs, wanted.to_string().as_bytes()).unwrap();
    assert_eq!(filled(&specs, filling).contents().unwrap(), wanted);
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
