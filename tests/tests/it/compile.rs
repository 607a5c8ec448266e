//! `wasmpool compile` and the cache it fills.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

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

/// Changes an entry into one of a machine with other settings: intact, but of no use here. An entry ends with the
/// length of its metadata, a checksum of everything before that length, and eight bytes of magic.
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
fn files_that_are_not_the_caches_own_are_neither_removed_nor_counted_and_no_mode_is_changed() {
    let folder = TempDir::new().expect("a temporary directory");
    let old = SystemTime::now() - Duration::from_secs(86_400 * 365);
    let hash = blake3::hash(b"task").to_hex();
    // Together far more than the cache may hold. They take no room on the disk.
    let names =
        ["backup.tar", ".new-mine", &format!("{hash}-0.1.0-48.0.8-lean"), &format!("{hash}.tar")].map(String::from);
    for name in &names {
        let file = File::create(folder.path().join(name)).expect("a file");
        file.set_len(3 << 30).expect("a hole");
        file.set_modified(old).expect("its time");
    }
    for mode in [0o700, 0o755, 0o775, 0o777] {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).expect("it is ours");
        let run = map(&wat(format!("{SQUARE} ;; {mode}"))).env("WASMPOOL_CACHE_DIR", folder.path()).arg("-v");
        let output = run.input("3\n").run().exits(0);
        assert_eq!(output.text(), "9\n");
        let refused = output.stderr.contains("others may write to it");
        assert_eq!(refused, mode & 0o022 != 0, "{mode:o}: {}", output.stderr);
        let now = fs::metadata(folder.path()).expect("it is there").permissions().mode() & 0o7777;
        assert_eq!(now, mode, "{now:o} was {mode:o}");
        for name in &names {
            assert_eq!(fs::metadata(folder.path().join(name)).expect(name).len(), 3 << 30);
        }
    }
    // Files in the cache's own directory that are no entries are kept as well.
    let own = folder.path().join("wasmpool-artifacts");
    fs::rename(folder.path().join("backup.tar"), own.join("backup.tar")).expect("moved");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("it is ours");
    wasmpool()
        .env("WASMPOOL_CACHE_DIR", folder.path())
        .arg("compile")
        .task(&wat(format!("{SQUARE} ;;")))
        .run()
        .exits(0);
    assert!(own.join("backup.tar").exists());
    assert_eq!(below(&own).len(), 4, "two were compiled before, and none had to make room: {:?}", below(&own));
}

#[test]
fn entries_go_oldest_first_when_the_cache_holds_too_much() {
    let cache = Cache::new();
    cache.compile(&wat(SQUARE)).exits(0);
    let [entry] = &cache.files()[..] else { panic!("one entry: {:?}", cache.files()) };
    let name = entry.file_name().expect("a name").to_str().expect("text");
    let other = |digit: char| entry.with_file_name(digit.to_string().repeat(64) + &name[64..]);
    for (age, digit) in [(1, 'a'), (3, 'b'), (2, 'c')] {
        let file = File::create(other(digit)).expect("a file");
        file.set_len(900 << 20).expect("a hole");
        file.set_modified(SystemTime::now() - Duration::from_secs(age * 1000)).expect("its time");
    }
    let unfinished = |age: u64, number: &str| {
        let path = entry.with_file_name(format!(".new-{number}"));
        let file = File::create(&path).expect("a file");
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).expect("its time");
        path
    };
    let (abandoned, in_work) = (unfinished(7200, "0123456789abcdef"), unfinished(60, "fedcba9876543210"));
    cache.compile(&wat(format!("{SQUARE} ;;"))).exits(0);
    let left = [other('a'), other('b'), other('c'), entry.clone(), abandoned, in_work].map(|path| path.exists());
    assert_eq!(left, [true, false, true, true, false, true]);
}

#[test]
fn links_in_a_cache_are_not_followed() {
    let folder = TempDir::new().expect("a temporary directory");
    let elsewhere = TempDir::new().expect("a temporary directory");
    let cache = |folder: &Path| wasmpool().env("WASMPOOL_CACHE_DIR", folder).arg("compile").task(&wat(SQUARE)).run();
    symlink(elsewhere.path(), folder.path().join("wasmpool-artifacts")).expect("a link");
    let output = cache(folder.path()).exits(2);
    assert!(output.stderr.contains("is not kept"), "{}", output.stderr);
    let said = format!("the cache {} is not used: it is a link", folder.path().join("wasmpool-artifacts").display());
    assert!(output.stderr.contains(&said), "{}", output.stderr);
    assert_eq!(below(elsewhere.path()), Vec::<PathBuf>::new());
    fs::remove_file(folder.path().join("wasmpool-artifacts")).expect("a link");
    cache(folder.path()).exits(0);
    let [entry] = &below(folder.path())[..] else { panic!("one entry") };
    let moved = elsewhere.path().join("moved");
    fs::rename(entry, &moved).expect("moved");
    symlink(&moved, entry).expect("a link");
    cache(folder.path()).exits(0);
    assert!(moved.is_file() && fs::symlink_metadata(entry).expect("it is there").is_file());
}

#[test]
fn compile_says_when_nothing_was_kept() {
    let folder = TempDir::new().expect("a temporary directory");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("written");
    let open = folder.path().join("open");
    fs::create_dir(&open).expect("made");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("it is ours");
    for (cache, says) in [
        ("", "WASMPOOL_CACHE_DIR is empty"),
        (&*file.join("below").to_string_lossy(), "Not a directory"),
        (&*file.to_string_lossy(), "Not a directory"),
        (&*open.to_string_lossy(), "others may write to it"),
        ("/proc/nowhere", "No such file"),
    ] {
        let run = || wasmpool().env("WASMPOOL_CACHE_DIR", cache);
        let output = run().arg("compile").task(&wat(SQUARE)).run().exits(2);
        assert!(output.stderr.contains(says), "{cache}: {}", output.stderr);
        assert!(!output.stderr.contains("compiled into"), "{cache}: {}", output.stderr);
        // A run continues without the cache, and reports that with `-v`.
        let output = run().arg("map").task(&wat(SQUARE)).arg("-v").input("3\n").run().exits(0);
        assert!(output.text() == "9\n" && output.stderr.contains(says), "{cache}: {}", output.stderr);
    }
    // There is no room for the last byte of the entry.
    let task = wat(SQUARE);
    let run = |name: &str| wasmpool().env("WASMPOOL_CACHE_DIR", folder.path().join(name)).arg("compile").task(&task);
    run("whole").run().exits(0);
    let [whole] = &below(&folder.path().join("whole"))[..] else { panic!("one entry") };
    let size = fs::metadata(whole).expect("it is there").len();
    let output = run("new").largest_file(size - 1).run().exits(2);
    assert!(output.stderr.contains("is not kept") && output.stderr.contains("File too large"), "{}", output.stderr);
    assert_eq!(below(&folder.path().join("new")), Vec::<PathBuf>::new());
}

#[test]
fn what_cannot_be_compiled_is_refused() {
    let cache = Cache::new();
    let output = cache.compile(&file("task.wasm", b"no wasm")).exits(2);
    assert_eq!(output.text(), "");
    assert!(!output.stderr.is_empty());
    assert_eq!(cache.files(), Vec::<PathBuf>::new());
}

#[test]
fn a_byte_order_mark_stands_before_text_alone() {
    let marked = |bytes: &[u8]| file("task", &[b"\xef\xbb\xbf", bytes].concat());
    let text = marked(crate::support::wat::SQUARE.as_bytes());
    assert_eq!(map(&text).input("3\n").run().exits(0).text(), "9\n");
    let binary = marked(&crate::support::wat::SQUARE_BINARY);
    map(&binary).input("3\n").run().exits(2);
}
