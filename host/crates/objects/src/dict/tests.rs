use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const LARGE: ObjectQuota = ObjectQuota { entries: 1000, bytes: 1 << 20 };

fn ask(dict: &mut Dict, operation: Operation) -> Answer {
    dict.apply(operation, &LARGE)
}

fn set(dict: &mut Dict, key: &str, value: &[u8]) -> u64 {
    let Ok(Reply::Number(version)) = ask(dict, Operation::DictSet(key.into(), value.into())) else {
        panic!("it was refused");
    };
    version
}

fn get(dict: &mut Dict, key: &str) -> Option<Vec<u8>> {
    let Ok(Reply::Entry(entry)) = ask(dict, Operation::DictGet(key.into())) else { panic!("it was refused") };
    entry.map(|(value, _)| value)
}

fn compare_and_set(dict: &mut Dict, key: &str, version: Option<u64>, value: &[u8]) -> Option<u64> {
    let operation = Operation::DictCompareAndSet { key: key.into(), version, value: value.into() };
    let Ok(Reply::MaybeNumber(version)) = ask(dict, operation) else { panic!("it was refused") };
    version
}

fn page_after(dict: &mut Dict, after: Option<&str>, most: u32) -> Vec<(String, Vec<u8>)> {
    let Ok(Reply::Page(page)) = ask(dict, Operation::DictPage { after: after.map(str::to_owned), most }) else {
        panic!("it was refused");
    };
    page
}

/// Row 6.1.
#[test]
fn what_is_set_is_there_until_it_is_popped_or_cleared() {
    let mut dict = Dict::default();
    assert_eq!(get(&mut dict, "a"), None);
    set(&mut dict, "a", b"1");
    set(&mut dict, "", b"");
    assert_eq!(get(&mut dict, "a"), Some(b"1".to_vec()));
    assert_eq!(get(&mut dict, ""), Some(Vec::new()));
    assert_eq!(ask(&mut dict, Operation::DictContains("a".into())), Ok(Reply::Bool(true)));
    assert_eq!(ask(&mut dict, Operation::Length), Ok(Reply::Number(2)));
    assert_eq!(ask(&mut dict, Operation::DictPop("a".into())), Ok(Reply::MaybeBytes(Some(b"1".to_vec()))));
    assert_eq!(ask(&mut dict, Operation::DictPop("a".into())), Ok(Reply::MaybeBytes(None)));
    assert_eq!(ask(&mut dict, Operation::DictContains("a".into())), Ok(Reply::Bool(false)));
    assert_eq!(ask(&mut dict, Operation::Empty), Ok(Reply::Done));
    assert_eq!(ask(&mut dict, Operation::Length), Ok(Reply::Number(0)));
    assert_eq!(dict.usage(), Usage::default());
}

/// Row 6.2.
#[test]
fn an_entry_that_is_there_all_the_time_is_seen_once_while_others_come_and_go() {
    let mut dict = Dict::default();
    for key in ["b", "d", "f", "h"] {
        set(&mut dict, key, key.as_bytes());
    }
    let first = page_after(&mut dict, None, 2);
    assert_eq!(first.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["b", "d"]);
    // The key that the next page begins after goes, and others come before and behind it.
    ask(&mut dict, Operation::DictPop("d".into())).expect("it is there");
    set(&mut dict, "a", b"");
    set(&mut dict, "e", b"");
    let rest = page_after(&mut dict, Some("d"), 100);
    assert_eq!(rest.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["e", "f", "h"]);
    assert_eq!(page_after(&mut dict, Some("h"), 100), []);
    let keys = ask(&mut dict, Operation::DictKeys { after: Some("a".into()), most: 2 });
    assert_eq!(keys, Ok(Reply::Keys(vec!["b".into(), "e".into()])));
}

/// Row 6.2: a page ends early rather than growing with the values, and only an empty page is the last.
#[test]
fn pages_are_bounded_in_bytes_and_end_with_an_empty_one() {
    let quota = ObjectQuota { entries: 10, bytes: 64 << 20 };
    let mut dict = Dict::default();
    for key in ["a", "b", "c"] {
        dict.apply(Operation::DictSet(key.into(), vec![0; (1 << 20) - 100]), &quota).expect("it has room");
    }
    dict.apply(Operation::DictSet("d".into(), vec![0; 3 << 20]), &quota).expect("it has room");
    dict.apply(Operation::DictSet("e".into(), Vec::new()), &quota).expect("it has room");
    let mut seen = Vec::new();
    loop {
        let page = page_after(&mut dict, seen.last().map(String::as_str), u32::MAX);
        if page.is_empty() {
            break;
        }
        assert!(page.len() == 1, "{} entries", page.len());
        seen.extend(page.into_iter().map(|(key, _)| key));
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    assert_eq!(page_after(&mut dict, None, 0), []);
}

/// Row 6.5.
#[test]
fn of_two_that_read_the_same_version_one_sets_it() {
    let mut dict = Dict::default();
    let first = compare_and_set(&mut dict, "k", None, b"1").expect("there was none");
    assert_eq!(compare_and_set(&mut dict, "k", None, b"2"), None);
    let second = compare_and_set(&mut dict, "k", Some(first), b"2").expect("it has this version");
    assert_ne!(first, second);
    assert_eq!(compare_and_set(&mut dict, "k", Some(first), b"3"), None);
    assert_eq!(get(&mut dict, "k"), Some(b"2".to_vec()));
}

/// Row 6.5.
#[test]
fn no_version_comes_twice_even_for_a_key_that_was_removed_and_set_again() {
    let mut dict = Dict::default();
    let first = set(&mut dict, "k", b"same");
    ask(&mut dict, Operation::DictPop("k".into())).expect("it is there");
    let second = set(&mut dict, "k", b"same");
    ask(&mut dict, Operation::Empty).expect("it can be emptied");
    let third = set(&mut dict, "k", b"same");
    assert!(first < second && second < third);
    assert_eq!(compare_and_set(&mut dict, "k", Some(first), b"new"), None);
    ask(&mut dict, Operation::DictSetMany(vec![("k".into(), b"same".to_vec())])).expect("it has room");
    assert_eq!(compare_and_set(&mut dict, "k", Some(third), b"new"), None);
}

/// Row 6.5.
#[test]
fn an_increment_counts_in_decimal_text() {
    let mut dict = Dict::default();
    let mut by = |n| ask(&mut dict, Operation::DictIncrement("n".into(), n));
    assert_eq!(by(5), Ok(Reply::Signed(5)));
    assert_eq!(by(-7), Ok(Reply::Signed(-2)));
    assert_eq!(by(0), Ok(Reply::Signed(-2)));
    assert_eq!(get(&mut dict, "n"), Some(b"-2".to_vec()));
    assert_eq!(ask(&mut dict, Operation::DictIncrement("m".into(), i64::MIN)), Ok(Reply::Signed(i64::MIN)));
}

/// Row 6.5.
#[test]
fn an_increment_of_anything_else_is_refused_and_changes_nothing() {
    let mut dict = Dict::default();
    for value in ["", "one", "1.0", " 1", "9223372036854775808"] {
        let version = set(&mut dict, "n", value.as_bytes());
        let refused = ask(&mut dict, Operation::DictIncrement("n".into(), 1));
        assert!(matches!(refused, Err(ObjectError::Invalid(_))), "{value:?}: {refused:?}");
        let entry = Reply::Entry(Some((value.as_bytes().to_vec(), version)));
        assert_eq!(ask(&mut dict, Operation::DictGet("n".into())), Ok(entry));
    }
    set(&mut dict, "n", b"9223372036854775807");
    assert!(matches!(ask(&mut dict, Operation::DictIncrement("n".into(), 1)), Err(ObjectError::Invalid(_))));
}

/// Row 6.19.
#[test]
fn beyond_a_quota_nothing_is_changed_and_the_quota_is_named() {
    let quota = ObjectQuota { entries: 2, bytes: 10 };
    let mut dict = Dict::default();
    let mut ask = |operation| dict.apply(operation, &quota);
    assert!(ask(Operation::DictSet("a".into(), b"1234".into())).is_ok());
    assert!(ask(Operation::DictSet("b".into(), b"1234".into())).is_ok());
    let refused = |answer: Answer, name: &str| match answer {
        Err(ObjectError::Quota(text)) => assert!(text.contains(name), "{text}"),
        other => panic!("{other:?}"),
    };
    refused(ask(Operation::DictSet("c".into(), Vec::new())), ":entries=2");
    refused(ask(Operation::DictSet("a".into(), b"12345".into())), ":bytes=10");
    refused(ask(Operation::DictCompareAndSet { key: "a".into(), version: Some(1), value: vec![0; 5] }), ":bytes=10");
    refused(ask(Operation::DictSetMany(vec![("a".into(), vec![]), ("c".into(), vec![])])), ":entries=2");
    refused(ask(Operation::DictIncrement("c".into(), 1)), ":entries=2");
    // A change that keeps within the quotas only with all of its parts is allowed.
    assert!(ask(Operation::DictSetMany(vec![("a".into(), vec![0; 7]), ("b".into(), vec![0; 1])])).is_ok());
    // Of a key that comes twice, only what remains counts.
    assert!(ask(Operation::DictSetMany(vec![("a".into(), vec![0; 99]), ("a".into(), vec![0; 7])])).is_ok());
    assert_eq!(dict.usage(), Usage { entries: 2, bytes: 10 });
}

/// A key of few, so that operations meet.
fn key() -> impl Strategy<Value = String> {
    proptest::sample::select(vec!["", "a", "b", "bb", "c"]).prop_map(str::to_owned)
}

fn operation() -> impl Strategy<Value = Operation> {
    let value = || prop_oneof![vec(any::<u8>(), 0..6), any::<i8>().prop_map(|n| n.to_string().into_bytes())];
    prop_oneof![
        key().prop_map(Operation::DictGet),
        (key(), value()).prop_map(|(key, value)| Operation::DictSet(key, value)),
        vec((key(), value()), 0..4).prop_map(Operation::DictSetMany),
        (key(), proptest::option::of(0..20_u64), value())
            .prop_map(|(key, version, value)| Operation::DictCompareAndSet { key, version, value }),
        key().prop_map(Operation::DictPop),
        key().prop_map(Operation::DictContains),
        (key(), any::<i64>()).prop_map(|(key, by)| Operation::DictIncrement(key, by)),
        (proptest::option::of(key()), 0..4_u32).prop_map(|(after, most)| Operation::DictPage { after, most }),
        Just(Operation::Empty),
    ]
}

proptest! {
    /// Row 6.19.
    #[test]
    fn the_usage_is_that_of_the_entries_and_within_the_quota(all in vec(operation(), 0..60)) {
        let quota = ObjectQuota { entries: 3, bytes: 14 };
        let mut dict = Dict::default();
        for operation in all {
            let before: BTreeMap<String, Vec<u8>> =
                dict.entries().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            let answer = dict.apply(operation, &quota);
            let after: BTreeMap<String, Vec<u8>> =
                dict.entries().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            let bytes = after.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() as u64;
            prop_assert_eq!(dict.usage(), Usage { entries: after.len() as u64, bytes });
            prop_assert!(bytes <= quota.bytes && after.len() as u64 <= quota.entries);
            if answer.is_err() {
                prop_assert_eq!(before, after);
            }
        }
    }
}
