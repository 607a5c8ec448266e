//! `wasmpool cache`: the cache of compiled tasks, shown and cleaned.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use crate::support::guest::{Task, wat};
use crate::support::run::{Run, map, wasmpool};
use crate::support::wat::SQUARE;

/// A cache of a test's own.
struct Cache(TempDir);

impl Cache {
    fn new() -> Cache {
        Cache(TempDir::new().expect("a temporary directory"))
    }

    fn run(&self, words: &[&str]) -> Run {
        wasmpool().args(words).env("WASMPOOL_CACHE_DIR", self.0.path())
    }

    /// Compiles a task that no other is like.
    fn fill(&self, number: u32) -> Task {
        let task = wat(SQUARE.replacen("(module", &format!("(module (memory {number})"), 1));
        wasmpool().arg("compile").task(&task).env("WASMPOOL_CACHE_DIR", self.0.path()).run().exits(0);
        task
    }

    fn entries(&self) -> PathBuf {
        self.0.path().join("wasmpool-artifacts")
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.entries())
            .expect("the directory")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn its_directory_is_printed_and_what_is_in_it_is_listed() {
    let cache = Cache::new();
    let directory = format!("{}\n", cache.entries().display());
    assert_eq!(cache.run(&["cache", "dir"]).run().exits(0).text(), directory);
    let empty = cache.run(&["cache", "list"]).run().exits(0);
    assert_eq!(empty.text(), format!("nothing in {directory}"));
    assert!(!cache.entries().exists(), "a look makes nothing");
    cache.fill(1);
    cache.fill(2);
    let listed = cache.run(&["cache", "list"]).run().exits(0);
    let lines: Vec<&str> = listed.text().lines().collect();
    assert_eq!(lines.len(), 4, "{}", listed.text());
    for name in cache.names() {
        assert!(lines[1..3].iter().any(|line| line.starts_with(&name[..12])), "{name} is not in {}", listed.text());
    }
    assert!(lines[1].contains("just now") && lines[3].starts_with("2 compiled tasks, "), "{}", listed.text());
}

#[test]
fn cleaning_removes_entries_and_nothing_else() {
    let cache = Cache::new();
    let task = cache.fill(1);
    let own = cache.entries().join("notes.txt");
    fs::write(&own, "mine").expect("written");
    fs::write(cache.0.path().join("beside"), "mine").expect("written");
    // An entry that another run is writing.
    let unfinished = cache.entries().join(".new-0123456789abcdef");
    fs::write(&unfinished, "half").expect("written");
    // A link with the name of an entry leads to a file that is not the cache's.
    let name = cache.names().into_iter().find(|name| name.len() > 64).expect("an entry");
    let link = cache.entries().join(name.replace(&name[..8], "00000000"));
    std::os::unix::fs::symlink(&own, &link).expect("a link");
    let cleaned = cache.run(&["cache", "clean"]).run().exits(0);
    assert!(cleaned.text().starts_with("removed 1 compiled task, "), "{}", cleaned.text());
    assert!(own.exists() && unfinished.exists() && link.is_symlink() && cache.0.path().join("beside").exists());
    assert!(!cache.entries().join(name).exists());
    assert!(cache.run(&["cache", "clean"]).run().exits(0).text().starts_with("removed nothing"));
    let run = map(&task).env("WASMPOOL_CACHE_DIR", cache.0.path()).input("3\n");
    assert_eq!(run.run().exits(0).text(), "9\n");
}

#[test]
fn only_what_was_not_used_for_so_long_is_removed() {
    let cache = Cache::new();
    cache.fill(1);
    let old = cache.names();
    let file = File::options().write(true).open(cache.entries().join(&old[0])).expect("the entry");
    file.set_modified(SystemTime::now() - Duration::from_secs(40 * 86_400)).expect("set back");
    cache.fill(2);
    assert!(cache.run(&["cache", "list"]).run().exits(0).text().contains("40 d ago"));
    let kept = cache.run(&["cache", "clean", "--older", "60d"]).run().exits(0);
    assert!(kept.text().starts_with("removed nothing"), "{}", kept.text());
    cache.run(&["cache", "clean", "--older", "30d"]).run().exits(0);
    let names = cache.names();
    assert!(names.len() == 1 && names != old, "{names:?}");
}

#[test]
fn a_cache_that_is_not_there_or_not_ours_is_refused() {
    for words in [&["cache", "dir"][..], &["cache", "list"], &["cache", "clean"]] {
        let off = wasmpool().args(words).env("WASMPOOL_CACHE_DIR", "").run().exits(2);
        assert!(off.stderr.contains("switched off"), "{}", off.stderr);
    }
    let cache = Cache::new();
    cache.fill(1);
    let mut open = fs::metadata(cache.entries()).expect("the directory").permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut open, 0o777);
    fs::set_permissions(cache.entries(), open).expect("opened to all");
    for words in [&["cache", "list"][..], &["cache", "clean"]] {
        let output = cache.run(words).run().exits(2);
        assert!(output.stderr.contains("others may write to it"), "{}", output.stderr);
    }
    assert_eq!(cache.names().len(), 1);
}

#[test]
fn what_is_no_use_of_the_cache_says_what_is() {
    for (words, says) in [
        (&["cache"][..], "clean"),
        (&["cache", "clear"], "clean"),
        (&["cache", "clean", "--older", "soon"], "a duration"),
        (&["cache", "clean", "everything"], "everything"),
        (&["cache", "list", "--older", "1d"], "--older"),
    ] {
        let output = wasmpool().args(words).run().exits(2);
        assert!(output.stderr.contains(says), "{words:?}: {}", output.stderr);
    }
}
