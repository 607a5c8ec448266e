use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::json;
use wasmpool_core::share::{NumberType, ObjectQuota};

use super::*;

fn spec(form: ObjectForm) -> ObjectSpec {
    ObjectSpec { name: "jobs".into(), form, quota: ObjectQuota { entries: 3, bytes: 10 } }
}

const QUEUE: ObjectForm = ObjectForm::Queue { capacity: Some(2) };

/// Row 4.10 for all other objects.
#[test]
fn each_kind_is_shown_in_its_own_form() {
    let bytes = |text: &str| text.as_bytes().to_vec();
    assert_eq!(json::write(Contents::Sequence(vec![bytes("a"), vec![0xff, 0]])), json!(["a", { "base64": "/wA=" }]));
    let entries = [("k".to_owned(), bytes("v")), ("l".to_owned(), vec![0x80])];
    assert_eq!(json::write(Contents::Entries(entries.into())), json!({ "k": "v", "l": { "base64": "gA==" } }));
    assert_eq!(json::write(Contents::Slots(3)), json!(3));
    assert_eq!(json::write(Contents::Flag(true)), json!(true));
}

#[test]
fn what_an_object_is_filled_with_is_of_its_kind() {
    for (form, good) in [
        (QUEUE, json!(["a"])),
        (ObjectForm::List, json!(["a", "b", { "base64": "gA==" }])),
        (ObjectForm::Dict, json!({ "base64": "key" })),
        (ObjectForm::Namespace, json!({ "a": "b" })),
        (ObjectForm::Semaphore { slots: 2, bounded: true }, json!(1)),
        (ObjectForm::Semaphore { slots: 2, bounded: false }, json!(9)),
        (ObjectForm::Event, json!(true)),
    ] {
        let spec = spec(form);
        assert_eq!(json::read(&spec, good.clone()).map(json::write), Ok(good));
        for bad in [json!(null), json!("a"), json!(-1), json!(1.5), json!([1]), json!({ "a": 1 }), json!([["a"]])] {
            let error = json::read(&spec, bad).expect_err("it is of another kind").to_string();
            assert!(error.starts_with("the object `jobs`: "), "{error}");
        }
    }
}

#[test]
fn what_cannot_be_filled_says_so() {
    let barrier = ObjectForm::Barrier { parties: 2 };
    let pipe = ObjectForm::Pipe { duplex: false };
    let value = ObjectForm::Value(NumberType::U8);
    for form in [ObjectForm::Lock, ObjectForm::Rlock, ObjectForm::Condition, barrier, pipe, value] {
        for value in [json!(true), json!([]), json!({}), json!(1)] {
            let error = json::read(&spec(form.clone()), value).expect_err("it cannot be filled").to_string();
            assert!(error.starts_with("the object `jobs`: ") && error.contains("filled"), "{error}");
        }
    }
}

/// Row 6.19.
#[test]
fn what_is_more_than_a_quota_or_a_capacity_is_refused_with_the_option() {
    let refused = |form, value| json::read(&spec(form), value).expect_err("it is too much").to_string();
    assert_eq!(refused(QUEUE, json!(["", "", ""])), "the object `jobs`: 3 messages are more than its capacity of 2");
    assert_eq!(
        refused(ObjectForm::List, json!(["", "", "", ""])),
        "the object `jobs`: 4 entries are more than its quota of 3; raise it with `:entries=4`"
    );
    assert_eq!(
        refused(ObjectForm::Dict, json!({ "key": "12345678" })),
        "the object `jobs`: 11 bytes are more than its quota of 10; raise it with `:bytes=11`"
    );
    assert_eq!(
        refused(ObjectForm::Semaphore { slots: 2, bounded: true }, json!(3)),
        "the object `jobs`: 3 free slots are more than the 2 that it has"
    );
}

#[test]
fn an_error_names_the_place() {
    let list = spec(ObjectForm::List);
    let error = json::read(&list, json!(["a", 1])).expect_err("it is a number").to_string();
    assert!(error.contains("element 1 is neither a text"), "{error}");
    let dict = spec(ObjectForm::Dict);
    let error = json::read(&dict, json!({ "k\n": { "base64": "!" } })).expect_err("it is not base64").to_string();
    assert!(error.contains("the value of `k\\n` is not valid base64"), "{error}");
}

proptest! {
    #[test]
    fn what_is_shown_can_be_filled_in_again(all in vec(vec(any::<u8>(), 0..8), 0..8)) {
        let spec = ObjectSpec { quota: ObjectQuota::default(), ..spec(ObjectForm::List) };
        let contents = Contents::Sequence(all);
        let text = json::write(contents.clone()).to_string();
        prop_assert_eq!(json::read(&spec, serde_json::from_str(&text).expect("JSON")), Ok(contents));
    }

    #[test]
    fn a_dict_that_is_shown_can_be_filled_in_again(all in btree_map("\\PC{0,4}", vec(any::<u8>(), 0..8), 0..8)) {
        let spec = ObjectSpec { quota: ObjectQuota::default(), ..spec(ObjectForm::Dict) };
        let contents = Contents::Entries(all);
        let text = json::write(contents.clone()).to_string();
        prop_assert_eq!(json::read(&spec, serde_json::from_str(&text).expect("JSON")), Ok(contents));
    }
}
