//! `wasmpool compile` and the cache it fills.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::guest::{Task, file, wat};
use crate::support::run::{Output, map, wasmpool};
use crate::support::wat::SQUARE;

/// A cache of this test's own.
struct Cache(TempDir);

impl Cache {
    fn new() -> Self {
        Self(TempDir::new().expect("a temporary directory"))
    }

    fn compile(&self, task: &Task) -> Output {
        wasmpool().env("XDG_CACHE_HOME", self.0.path()).arg("compile").task(task).run()
    }

    #[track_caller]
    fn maps(&self, task: &Task) {
        let output = map(task).env("XDG_CACHE_HOME", self.0.path()).input("3\n").run().exits(0);
        assert_eq!(output.text(), "9\n");
    }

    fn files(&self) -> Vec<PathBuf> {
        below(self.0.path())
    }
}

fn below(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .flat_map(|path| if path.is_dir() { below(&path) } else { vec![path] })
        .collect()
}

#[test]
fn compiling_fills_the_cache_and_mapping_then_adds_nothing() {
    let cache = Cache::new();
    let task = wat(SQUARE);
    cache.compile(&task).exits(0);
    let compiled = cache.files();
    assert!(!compiled.is_empty(), "nothing under XDG_CACHE_HOME");
    cache.compile(&task).exits(0);
    cache.maps(&task);
    assert_eq!(cache.files(), compiled);
}

#[test]
fn the_cache_is_its_users_alone() {
    let cache = Cache::new();
    cache.compile(&wat(SQUARE)).exits(0);
    let folders: Vec<PathBuf> =
        fs::read_dir(cache.0.path()).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    for folder in folders {
        let mode = fs::metadata(&folder).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} is {mode:o}", folder.display());
    }
}

#[test]
fn a_damaged_cache_is_compiled_anew() {
    let cache = Cache::new();
    let task = wat(SQUARE);
    for damage in [&b""[..], b"\x7fELF", &[0; 4096]] {
        cache.compile(&task).exits(0);
        for file in cache.files() {
            fs::write(&file, damage).expect("the cache is ours");
        }
        cache.maps(&task);
    }
    for file in cache.files() {
        let whole = fs::read(&file).expect("the cache is ours");
        fs::write(&file, &whole[..whole.len() / 2]).expect("the cache is ours");
    }
    cache.maps(&task);
}

/// Makes an entry one of a machine that has other settings: sound, but of no use here. It ends with the length of what is
/// known of it, a checksum of all before that length, and eight bytes that say what it is.
fn make_foreign(entry: &Path) {
    let mut bytes = fs::read(entry).expect("the cache is ours");
    let name = b"opt_level";
    let at = bytes.windows(name.len()).position(|window| window == name).expect("a setting of the compiler's");
    bytes[at] = b'x';
    let end = bytes.len() - 48;
    let checksum = *blake3::hash(&bytes[..end]).as_bytes();
    bytes[end + 8..end + 40].copy_from_slice(&checksum);
    fs::write(entry, bytes).expect("the cache is ours");
}

#[test]
fn an_entry_of_another_machine_is_compiled_anew_and_no_item_is_lost() {
    let cache = Cache::new();
    let task = wat(SQUARE);
    cache.compile(&task).exits(0);
    for workers in ["1", "8"] {
        cache.files().iter().for_each(|entry| make_foreign(entry));
        let run = map(&task).env("XDG_CACHE_HOME", cache.0.path()).args(["-v", "-j", workers]);
        let output = run.input("1\n2\n3\n").run().exits(0);
        assert_eq!(output.text(), "1\n4\n9\n");
        assert!(output.stderr.contains("compiled "), "it was not passed over: {}", output.stderr);
    }
}

#[test]
fn a_cache_that_cannot_be_written_stops_nobody() {
    let cache = Cache::new();
    let blocked = cache.0.path().join("file");
    fs::write(&blocked, "").expect("written");
    let output = map(&wat(SQUARE)).env("XDG_CACHE_HOME", blocked.join("below")).input("3\n").run().exits(0);
    assert_eq!(output.text(), "9\n");
}

#[test]
fn what_cannot_be_compiled_is_refused() {
    let cache = Cache::new();
    let output = cache.compile(&file("task.wasm", b"no wasm")).exits(2);
    assert_eq!(output.text(), "");
    assert!(!output.stderr.is_empty());
    assert_eq!(cache.files(), Vec::<PathBuf>::new());
}
