//! The list of what is promised of shared objects and processes: `tests/shared-promises.md`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::workspace;

/// Number of promises in each section of the list.
const PROMISES: [usize; 8] = [15, 24, 20, 19, 16, 26, 19, 7];

/// Adds the names of all tests below a folder.
fn add_tests(folder: &Path, all: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            if name != "target" && name != "node_modules" {
                add_tests(&path, all);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source");
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                is_test |= line == "#[test]";
                let Some((name, _)) = line.strip_prefix("fn ").and_then(|rest| rest.split_once('(')) else { continue };
                if std::mem::take(&mut is_test) {
                    all.insert(name.to_owned());
                }
            }
        }
    }
}

/// Prevents that a promise has no test, or that a test which holds one is renamed or removed.
#[test]
fn each_promise_of_shared_objects_is_held_by_a_test_or_means_nothing_here() {
    let mut tests = BTreeSet::new();
    for folder in ["guest/sdk", "host", "tests/tests"] {
        add_tests(&workspace().join(folder), &mut tests);
    }
    let list = fs::read_to_string(workspace().join("tests/shared-promises.md")).expect("the list");
    let mut numbers = Vec::new();
    for line in list.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [number, promise, held] = cells[..] else { panic!("not three cells: {line}") };
        if number.is_empty() {
            continue;
        }
        assert!(!promise.is_empty() && !held.is_empty(), "{line}");
        numbers.push(number.to_owned());
        let named = held.split('`').skip(1).step_by(2).filter(|name| name.contains('_'));
        let named: Vec<&str> = named.collect();
        let says_why = ["means nothing", "not given", "cannot be written"].iter().any(|why| held.contains(why));
        assert!(says_why || !named.is_empty(), "{number} has no test");
        for name in named {
            assert!(tests.contains(name), "{number}: there is no test {name}");
        }
    }
    let expected = (0..)
        .zip(PROMISES)
        .flat_map(|(section, count): (usize, usize)| (1..=count).map(move |number| format!("{section}.{number}")));
    assert_eq!(numbers, expected.collect::<Vec<_>>());
}
