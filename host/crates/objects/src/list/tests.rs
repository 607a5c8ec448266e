use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const LARGE: ObjectQuota = ObjectQuota { entries: 1 << 20, bytes: 1 << 30 };

fn list_of(elements: &[&str]) -> List {
    let mut list = List::default();
    let elements = elements.iter().map(|element| element.as_bytes().to_vec()).collect();
    list.apply(Operation::ListExtend(elements), &LARGE).expect("it has room");
    list
}

fn ask(list: &mut List, operation: Operation) -> Answer {
    list.apply(operation, &LARGE)
}

fn shown(list: &List) -> Vec<String> {
    list.elements().map(|element| String::from_utf8_lossy(element).into_owned()).collect()
}

fn bytes(text: &str) -> Answer {
    Ok(Reply::Bytes(text.into()))
}

/// Row 6.3.
#[test]
fn an_element_is_found_from_either_end() {
    let mut list = list_of(&["a", "b", "c"]);
    for (index, element) in [(0, "a"), (2, "c"), (-1, "c"), (-3, "a")] {
        assert_eq!(ask(&mut list, Operation::ListGet(index)), bytes(element));
    }
    assert_eq!(ask(&mut list, Operation::ListSet(-2, b"B".into())), Ok(Reply::Done));
    assert_eq!(shown(&list), ["a", "B", "c"]);
    assert_eq!(ask(&mut list, Operation::Length), Ok(Reply::Number(3)));
}

/// Row 6.3.
#[test]
fn an_index_outside_is_refused_with_the_length() {
    let mut list = list_of(&["a", "b", "c"]);
    for index in [3, -4, i64::MAX, i64::MIN] {
        for operation in [
            Operation::ListGet(index),
            Operation::ListSet(index, Vec::new()),
            Operation::ListPop(index),
            Operation::ListCompareAndSet { index, expected: Vec::new(), value: Vec::new() },
        ] {
            let expected = ObjectError::OutOfRange(format!("index {index} of a list of length 3"));
            assert_eq!(ask(&mut list, operation), Err(expected));
        }
    }
    assert_eq!(shown(&list), ["a", "b", "c"]);
}

/// Row 6.3.
#[test]
fn pop_takes_from_any_place_and_an_empty_list_is_empty() {
    let mut list = list_of(&["a", "b", "c"]);
    assert_eq!(ask(&mut list, Operation::ListPop(1)), bytes("b"));
    assert_eq!(ask(&mut list, Operation::ListPop(-1)), bytes("c"));
    assert_eq!(ask(&mut list, Operation::ListPop(0)), bytes("a"));
    assert_eq!(ask(&mut list, Operation::ListPop(0)), Err(ObjectError::Empty));
    assert_eq!(list.usage(), Usage::default());
}

/// Row 6.3: as `list.insert` of Python does.
#[test]
fn an_insert_beyond_an_end_goes_to_that_end() {
    let mut list = list_of(&["b", "d"]);
    for (index, element) in [(1, "c"), (99, "f"), (-1, "e"), (-99, "a"), (i64::MIN, "0"), (i64::MAX, "9")] {
        assert_eq!(ask(&mut list, Operation::ListInsert(index, element.into())), Ok(Reply::Done));
    }
    assert_eq!(shown(&list), ["0", "a", "b", "c", "d", "e", "f", "9"]);
}

/// Row 6.3.
#[test]
fn a_range_has_what_is_there_of_it() {
    let mut list = list_of(&["a", "b", "c"]);
    let mut range = |start, most| match ask(&mut list, Operation::ListRange { start, most }) {
        Ok(Reply::Many(all)) => all.concat(),
        other => panic!("{other:?}"),
    };
    assert_eq!(range(0, 2), b"ab");
    assert_eq!(range(1, u32::MAX), b"bc");
    assert_eq!(range(3, 1), b"");
    assert_eq!(range(u64::MAX, u32::MAX), b"");
}

/// Row 6.5.
#[test]
fn an_element_is_replaced_only_if_it_is_what_was_expected() {
    let mut list = list_of(&["a", "b"]);
    let mut replace = |expected: &str, value: &str| {
        let operation = Operation::ListCompareAndSet { index: -1, expected: expected.into(), value: value.into() };
        ask(&mut list, operation)
    };
    assert_eq!(replace("x", "c"), Ok(Reply::Bool(false)));
    assert_eq!(replace("b", "c"), Ok(Reply::Bool(true)));
    assert_eq!(replace("b", "d"), Ok(Reply::Bool(false)));
    assert_eq!(shown(&list), ["a", "c"]);
}

/// Row 6.19.
#[test]
fn beyond_a_quota_nothing_is_changed_and_the_quota_is_named() {
    let quota = ObjectQuota { entries: 2, bytes: 8 };
    let mut list = List::default();
    let mut ask = |operation| list.apply(operation, &quota);
    let refused = |answer: Answer, name: &str| match answer {
        Err(ObjectError::Quota(text)) => assert!(text.contains(name), "{text}"),
        other => panic!("{other:?}"),
    };
    refused(ask(Operation::ListExtend(vec![Vec::new(); 3])), ":entries=2");
    refused(ask(Operation::ListExtend(vec![vec![0; 5], vec![0; 4]])), ":bytes=8");
    assert_eq!(ask(Operation::ListExtend(vec![vec![0; 4], vec![0; 4]])), Ok(Reply::Done));
    refused(ask(Operation::ListInsert(0, Vec::new())), ":entries=2");
    refused(ask(Operation::ListSet(0, vec![0; 5])), ":bytes=8");
    refused(ask(Operation::ListCompareAndSet { index: 0, expected: vec![0; 4], value: vec![0; 5] }), ":bytes=8");
    assert_eq!(list.usage(), Usage { entries: 2, bytes: 8 });
    assert!(list.elements().all(|element| element == [0; 4]));
}

/// Row 6.3: 800,000 steps at both ends, which would take hours if each moved the list.
#[test]
fn both_ends_cost_the_same_however_long_the_list_is() {
    let mut list = List::default();
    for n in 0..200_000_u32 {
        let element = n.to_le_bytes().to_vec();
        ask(&mut list, Operation::ListInsert(0, element.clone())).expect("it has room");
        ask(&mut list, Operation::ListExtend(vec![element])).expect("it has room");
    }
    for _ in 0..200_000 {
        assert_eq!(ask(&mut list, Operation::ListPop(0)), ask(&mut list, Operation::ListPop(-1)));
    }
    assert_eq!(list.usage(), Usage::default());
    assert!(list.elements.capacity() < 1000, "{}", list.elements.capacity());
}

fn operation() -> impl Strategy<Value = Operation> {
    let value = || vec(any::<bool>().prop_map(u8::from), 0..5);
    let index = || -5..5_i64;
    prop_oneof![
        index().prop_map(Operation::ListGet),
        (index(), value()).prop_map(|(index, value)| Operation::ListSet(index, value)),
        (index(), value(), value()).prop_map(|(index, expected, value)| Operation::ListCompareAndSet {
            index,
            expected,
            value
        }),
        vec(value(), 0..3).prop_map(Operation::ListExtend),
        (index(), value()).prop_map(|(index, value)| Operation::ListInsert(index, value)),
        index().prop_map(Operation::ListPop),
        Just(Operation::Empty),
    ]
}

proptest! {
    /// Row 6.19.
    #[test]
    fn the_usage_is_that_of_the_elements_and_within_the_quota(all in vec(operation(), 0..60)) {
        let quota = ObjectQuota { entries: 4, bytes: 11 };
        let mut list = List::default();
        for operation in all {
            let before: Vec<Vec<u8>> = list.elements().map(<[u8]>::to_vec).collect();
            let answer = list.apply(operation, &quota);
            let bytes = list.elements().map(<[u8]>::len).sum::<usize>() as u64;
            prop_assert_eq!(list.usage(), Usage { entries: list.elements().count() as u64, bytes });
            prop_assert!(bytes <= quota.bytes && list.usage().entries <= quota.entries);
            if answer.is_err() {
                prop_assert_eq!(before, list.elements().map(<[u8]>::to_vec).collect::<Vec<_>>());
            }
        }
    }
}
