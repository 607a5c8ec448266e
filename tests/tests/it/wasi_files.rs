//! The world that a command sees, in preview 1 and preview 2: what was granted, as it was granted, and nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::guest::{Task, built_for, wat};
use crate::support::record::Record;
use crate::support::run::{Run, wasmpool};
use crate::support::tree::Tree;

/// The targets of the same command, as a core module and as a component.
const PREVIEWS: [&str; 2] = ["wasm32-wasip1", "wasm32-wasip2"];

fn exec(preview: &str) -> Run {
    wasmpool().arg("exec").task(&built_for(preview, "reach-command"))
}

/// The granted directories, with a secret beside them, and links that lead to it.
struct Granted(Tree);

impl Granted {
    fn new() -> Granted {
        let files =
            [("in/a", "hello"), ("in/deep/b", "deep"), ("in/ü b", "ü"), ("out/mine", "mine"), ("secret", "secret")];
        let tree = Tree::new(&["in/deep", "beside"], &[&files[..], &[("beside/secret", "secret")]].concat());
        for folder in ["in", "out"] {
            for (target, name) in [
                (PathBuf::from("../secret"), "up"),
                (tree.path("secret"), "absolute"),
                (PathBuf::from("../beside"), "beside"),
                (tree.path("beside"), "beside-absolute"),
                (PathBuf::from("/"), "root"),
                (PathBuf::from("up"), "twice"),
                (PathBuf::from("self"), "self"),
                (PathBuf::from("/proc/self/root"), "proc"),
            ] {
                tree.link(target, &format!("{folder}/{name}"));
            }
        }
        tree.link("a", "in/inside");
        tree.link("../a", "in/deep/back");
        Granted(tree)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    /// Runs the command once for each of these arguments.
    fn each(&self, preview: &str, verbs: &[String]) -> Vec<Record> {
        let output = exec(preview)
            .args(self.0.grants())
            .args(["--input-format", "lines", "--output-format", "records", "--", "{}"])
            .input(verbs.join("\n"))
            .run();
        let records = output.records();
        assert_eq!(records.len(), verbs.len(), "{}", output.stderr);
        records
    }

    #[track_caller]
    fn gets(&self, wanted: &[(&str, &str)]) {
        let verbs: Vec<String> = wanted.iter().map(|(verb, _)| (*verb).to_owned()).collect();
        for preview in PREVIEWS {
            for ((verb, answer), record) in wanted.iter().zip(self.each(preview, &verbs)) {
                assert_eq!(record.kind(), "ok", "{preview}, {verb}: {record:?}");
                assert_eq!(record.value(), &format!("{answer}\n"), "{preview}, {verb}");
            }
        }
    }

    /// Checks that the command gets an error that it can handle, and that nothing that was not granted has changed.
    #[track_caller]
    fn refuses(&self, verbs: &[String]) {
        for preview in PREVIEWS {
            for (verb, record) in verbs.iter().zip(self.each(preview, verbs)) {
                assert_eq!(record.kind(), "exit", "{preview}, {verb}: {record:?}");
                assert_eq!(record.get("code"), Some(&1.into()), "{preview}, {verb}: {record:?}");
                assert!(!format!("{record:?}").contains("secret\\n"), "{preview}, {verb}: {record:?}");
            }
            for (name, text) in [("secret", "secret"), ("beside/secret", "secret"), ("in/a", "hello")] {
                assert_eq!(read(&self.path(name)), text, "{preview}: {name} has changed");
            }
            assert_eq!(names(&self.path("")), ["beside", "in", "out", "secret"], "{preview}");
            assert_eq!(names(&self.path("beside")), ["secret"], "{preview}");
        }
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a file of text")
}

fn names(folder: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name().into_string().expect("text");
    let mut names: Vec<String> = fs::read_dir(folder).expect("a directory").map(name).collect();
    names.sort();
    names
}

fn owned(verbs: &[&str]) -> Vec<String> {
    verbs.iter().map(|&verb| verb.to_owned()).collect()
}

#[test]
fn a_command_gets_its_arguments_as_they_are() {
    for preview in PREVIEWS {
        let output =
            exec(preview).args(["--", "args", "a b", "", "--timeout", "$HOME", "é*"]).input("null\n").run().exits(0);
        assert_eq!(output.text(), "[\"a b\", \"\", \"--timeout\", \"$HOME\", \"é*\"]");
    }
}

#[test]
fn a_command_gets_the_variables_that_are_granted_and_no_other() {
    for preview in PREVIEWS {
        let run = |grants: &[&str]| {
            exec(preview).env("SECRET", "s").args(grants).args(["--", "env"]).input("null\n").run().exits(0)
        };
        assert_eq!(run(&[]).text(), "\n");
        assert_eq!(run(&["--env", "A=1", "--env", "B=x=y ü", "--env", "C="]).text(), "A=1\nB=x=y ü\nC=\n\n");
    }
}

#[test]
fn a_command_reads_its_item_to_the_end_and_then_finds_the_end() {
    let large: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8 | 1).collect();
    for preview in PREVIEWS {
        for item in [&large[..], b"x", b""] {
            let input = [item, b"\0"].concat();
            let output =
                exec(preview).args(["--input-format", "nul", "--", "stdin", "stdin"]).input(input).run().exits(0);
            assert!(output.bytes == [item, b"\n\n"].concat(), "{preview}: {} bytes", output.bytes.len());
        }
    }
}

#[test]
fn a_command_ends_with_the_code_it_says() {
    let codes = [0i64, 1, 2, 3, 42, 125];
    let input: String = codes.iter().map(|code| format!("{code}\n")).collect();
    let output =
        exec("wasm32-wasip1").args(["--output-format", "records", "--", "exit:{}"]).input(input).run().exits(1);
    for (code, record) in codes.iter().zip(output.records()) {
        assert_eq!(record.kind(), if *code == 0 { "ok" } else { "exit" });
        assert_eq!(record.get("code").map_or(0, |code| code.as_i64().expect("a number")), *code);
    }
    // A component of preview 2 reports only that it failed.
    let output = exec("wasm32-wasip2").args(["--output-format", "records", "--", "exit:{}"]).input("0\n7\n").run();
    let records = output.exits(1).records();
    assert_eq!((records[0].kind(), records[1].kind()), ("ok", "exit"));
    assert_eq!(records[1].get("code"), Some(&1.into()));
    for preview in PREVIEWS {
        let output = exec(preview).args(["--output-format", "records", "--", "panic:{}"]).input("7\n").run();
        assert_eq!(output.exits(1).kinds(), ["trap"]);
    }
}

#[test]
fn without_a_grant_a_command_finds_no_file_and_no_peer() {
    for preview in PREVIEWS {
        let verbs =
            ["read:/etc/passwd", "read:a", "read:../a", "list:/", "list:.", "write:/a=x", "write:a=x", "mkdir:/tmp/x"];
        let verbs = [&verbs[..], &["symlink:/etc/passwd=a", "connect:127.0.0.1:80", "listen:127.0.0.1:0"]].concat();
        let output = exec(preview)
            .args(["--input-format", "lines", "--output-format", "records", "--", "{}"])
            .input(verbs.join("\n"))
            .run()
            .exits(1);
        assert_eq!(output.kinds(), vec!["exit"; verbs.len()]);
    }
}

#[test]
fn a_granted_directory_can_be_read() {
    Granted::new().gets(&[
        ("read:/in/a", "hello"),
        ("read:/in/deep/b", "deep"),
        ("read:/in/ü b", "ü"),
        ("read:/in/deep/../a", "hello"),
        ("read:/in/./deep/.././a", "hello"),
        ("read:/in//a", "hello"),
        ("read:/in/inside", "hello"),
        ("read:/in/deep/back", "hello"),
        ("readlink:/in/inside", "a"),
        ("list:/in/deep", "b back"),
        ("size:/in/a", "5"),
        ("open-many:/in/a", "200"),
    ]);
}

#[test]
fn nothing_outside_of_a_granted_directory_can_be_read() {
    let tree = Granted::new();
    let mut verbs = owned(&["list:/", "read:in/../secret", "read:/etc/passwd", "list:/.."]);
    verbs.push(format!("read:{}", tree.path("secret").display()));
    verbs.push(format!("list:{}", tree.path("").display()));
    for folder in ["/in", "/out"] {
        for path in ["../secret", "deep/../../secret", "up", "absolute", "twice", "self", "beside/secret"] {
            verbs.push(format!("read:{folder}/{path}"));
        }
        for path in ["beside-absolute/secret", "root/etc/passwd", "proc/etc/passwd", "../../../../../../etc/passwd"] {
            verbs.push(format!("read:{folder}/{path}"));
        }
        for path in ["..", "beside", "beside-absolute", "root", "root/..", "proc", "self"] {
            verbs.push(format!("list:{folder}/{path}"));
        }
        for path in ["../secret", "up", "beside/secret"] {
            verbs.push(format!("size:{folder}/{path}"));
        }
    }
    tree.refuses(&verbs);
}

#[test]
fn nothing_outside_of_a_granted_directory_can_be_changed() {
    let tree = Granted::new();
    let secret = tree.path("secret");
    let secret = secret.display();
    let mut verbs = owned(&[
        "write:/out/../secret=x",
        "write:/out/../new=x",
        "write:/out/up=x",
        "write:/out/absolute=x",
        "write:/out/beside/new=x",
        "append:/out/up=x",
        "truncate:/out/twice",
        "remove:/out/../secret",
        "remove:/out/beside/secret",
        "mkdir:/out/../new",
        "mkdir:/out/beside/new",
        "rmdir:/out/../beside",
        "rename:/out/mine=/out/../moved",
        "rename:/out/mine=/out/beside/moved",
        "rename:/out/../secret=/out/taken",
        "rename:/out/beside/secret=/out/taken",
        "link:/out/../secret=/out/taken",
        "link:/out/beside/secret=/out/taken",
        "link:/out/mine=/out/../linked",
        "symlink:mine=/out/../linked",
        "symlink:mine=/out/beside/linked",
    ]);
    verbs.push(format!("write:{secret}=x"));
    verbs.push(format!("remove:{secret}"));
    verbs.push(format!("link:{secret}=/out/taken"));
    verbs.push(format!("rename:/out/mine={secret}2"));
    tree.refuses(&verbs);
    assert_eq!(read(&tree.path("out/mine")), "mine");
    assert!(!tree.path("out/taken").exists());
}

#[test]
fn a_directory_that_is_only_read_cannot_be_changed_from_within_or_from_a_writable_one() {
    let tree = Granted::new();
    let verbs = owned(&[
        "write:/in/a=x",
        "write:/in/new=x",
        "append:/in/a=x",
        "truncate:/in/a",
        "remove:/in/a",
        "remove:/in/inside",
        "mkdir:/in/new",
        "rmdir:/in/deep",
        "rename:/in/a=/in/b",
        "rename:/in/a=/out/a",
        "rename:/out/mine=/in/mine",
        "link:/in/a=/in/b",
        "link:/out/mine=/in/mine",
        // Otherwise a file that may not be written to could be, by its other name.
        "link:/in/a=/out/a",
        "symlink:a=/in/link",
    ]);
    let before = names(&tree.path("in"));
    tree.refuses(&verbs);
    assert_eq!(names(&tree.path("in")), before);
    assert_eq!(names(&tree.path("in/deep")), ["b", "back"]);
    assert_eq!(read(&tree.path("out/mine")), "mine");
}

#[test]
fn a_link_that_a_command_makes_leads_nowhere_that_was_not_granted() {
    for preview in PREVIEWS {
        let tree = Granted::new();
        for target in ["../secret", "/etc/passwd", "../in/a", "beside/secret", "../beside"] {
            // Making the link may be refused or not; following it is.
            tree.each(preview, &[format!("symlink:{target}=/out/made")]);
            let verbs = owned(&["read:/out/made", "list:/out/made", "write:/out/made=x", "read:/out/made/secret"]);
            // One after the other: a file that one verb writes must not exist yet when another reads it.
            let each = verbs[..3].iter().flat_map(|verb| tree.each(preview, std::slice::from_ref(verb)));
            let kinds: Vec<_> = each.map(|record| record.kind().to_owned()).collect();
            let made = tree.path("out/made").symlink_metadata().is_ok_and(|made| made.is_symlink());
            if made {
                assert_eq!(kinds, ["exit", "exit", "exit"], "{preview}, {target}");
                fs::remove_file(tree.path("out/made")).expect("the link");
            } else {
                // Nothing existed there, so a file of its own could be made.
                assert_eq!(kinds, ["exit", "exit", "ok"], "{preview}, {target}");
                fs::remove_file(tree.path("out/made")).expect("the file");
            }
            assert_eq!(read(&tree.path("secret")), "secret");
            assert_eq!(read(&tree.path("in/a")), "hello");
        }
    }
}

#[test]
fn a_writable_directory_allows_all_that_files_do() {
    for preview in PREVIEWS {
        let tree = Granted::new();
        let steps = [
            "write:/out/a=one",
            "append:/out/a=two",
            "rename:/out/a=/out/b",
            "link:/out/b=/out/c",
            "symlink:b=/out/d",
            "append:/out/d=three",
            "mkdir:/out/e",
            "rename:/out/b=/out/e/b",
            "remove:/out/d",
            "mkdir:/out/f",
            "rmdir:/out/f",
            "write:/out/g=gone",
            "truncate:/out/g",
        ];
        let output = exec(preview)
            .arg(format!("--dir={}::/out:rw", tree.path("out").display()))
            .arg("--")
            .args(steps)
            .input("null\n")
            .run()
            .exits(0);
        assert_eq!(output.text(), "done\n".repeat(steps.len()));
        assert_eq!(read(&tree.path("out/e/b")), "onetwothree");
        assert_eq!(read(&tree.path("out/c")), "onetwothree");
        assert_eq!(read(&tree.path("out/g")), "");
        for gone in ["out/a", "out/b", "out/d", "out/f"] {
            assert!(tree.path(gone).symlink_metadata().is_err(), "{preview}: {gone} is there");
        }
    }
}

/// Returns a command that does by hand what no library would: it asks every descriptor from 3 on to open each of these
/// paths, following links and not. It exits with the number of the first descriptor that does, or else with 0.
fn opens(paths: &[&str]) -> Task {
    let at = |n: usize| 1024 + n * 64;
    let data = |(n, path): (usize, &&str)| format!("(data (i32.const {}) \"{path}\")\n", at(n));
    let one = |(n, path): (usize, &&str)| format!("(call $try (i32.const {}) (i32.const {}))\n", at(n), path.len());
    let (data, each): (String, String) =
        (paths.iter().enumerate().map(data).collect(), paths.iter().enumerate().map(one).collect());
    wat(format!(
        r#"(module
          (import "wasi_snapshot_preview1" "path_open"
            (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (memory (export "memory") 1)
          {data}
          (func $try (param $path i32) (param $len i32) (local $fd i32) (local $follow i32)
            (local.set $fd (i32.const 3))
            (loop $next
              (local.set $follow (i32.const 0))
              (loop $flags
                (if (i32.eqz (call $open (local.get $fd) (local.get $follow) (local.get $path) (local.get $len)
                    (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 0)))
                  (then (call $exit (local.get $fd))))
                (local.set $follow (i32.add (local.get $follow) (i32.const 1)))
                (br_if $flags (i32.lt_u (local.get $follow) (i32.const 2))))
              (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
              (br_if $next (i32.lt_u (local.get $fd) (i32.const 16)))))
          (func (export "_start") {each}))"#
    ))
}

#[test]
fn no_descriptor_of_preview_1_opens_what_lies_above_it() {
    let tree = Granted::new();
    let grants = ["in", "out"].map(|name| format!("--dir={}::/{name}:rw", tree.path(name).display()));
    let run = |paths: &[&str], grants: &[String]| {
        wasmpool()
            .arg("exec")
            .task(&opens(paths))
            .args(grants)
            .args(["--output-format", "records"])
            .input("null\n")
            .run()
    };
    let above = [
        "..",
        "../secret",
        "deep/../../secret",
        "/etc/passwd",
        "/",
        "up",
        "absolute",
        "beside/secret",
        "./../secret",
        "",
    ];
    for grants in [&[][..], &grants[..1], &grants[..]] {
        run(&above, grants).exits(0);
    }
    // Paths below the directory are opened, so the refusals were no accident.
    for (path, descriptor) in [("a", 3), ("deep/../a", 3), ("mine", 4)] {
        let output = run(&["..", path], &grants).exits(1);
        assert_eq!(output.records()[0].get("code"), Some(&descriptor.into()), "{path}");
    }
}

#[test]
fn files_are_told_apart_by_numbers_that_are_the_commands_own() {
    let given = Granted::new();
    let verbs = owned(&["inode:/in/a", "inode:/in/deep/../a", "inode:/in/deep/b"]);
    let numbers = |preview, args: &[&str]| -> Vec<String> {
        let output = exec(preview)
            .args(given.0.grants())
            .args(args)
            .args(["--", "inode:/in/deep/b", "{}", "inode:/in/a"])
            .input(verbs.iter().map(|verb| format!("{verb}\0")).collect::<String>())
            .run()
            .exits(0);
        output.text().lines().map(str::to_owned).collect()
    };
    for preview in PREVIEWS {
        let told = numbers(preview, &["--input-format", "nul"]);
        let [b, a, a_once_more, b_in_another, respelled, a_in_another, ..] = told.as_slice() else {
            panic!("three numbers for each item: {told:?}");
        };
        assert_eq!((a, respelled), (a_once_more, a_in_another), "{preview}");
        assert_ne!(a, b, "{preview}");
        // An item cannot recognise files by the numbers of another item.
        assert_ne!((b, a), (b_in_another, respelled), "{preview}");
        let told = numbers(preview, &["--input-format", "nul", "--deterministic"]);
        assert_eq!(told, ["1", "2", "2", "1", "2", "2", "1", "1", "2"], "{preview}");
    }
}

#[test]
fn the_number_of_a_file_does_not_tell_how_many_were_made_before() {
    for preview in PREVIEWS {
        let run = |before: &str| {
            let output = exec(preview)
                .args(["--scratch", "/s", "--deterministic", "-j", "1", "-c", "2", "--input-format", "nul"])
                .args(["--", "write:/s/a=1", "{}", "inode:/s/a"])
                .input(format!("{before}\0inode:/s\0"))
                .run()
                .exits(0);
            output.text().lines().last().map(str::to_owned)
        };
        assert_eq!(run("many:/s=900"), run("inode:/s"), "{preview}");
    }
}

#[test]
fn a_deterministic_command_reads_a_directory_by_name_and_finds_no_times() {
    let mut wanted: Vec<String> = (0..1500).map(|n| format!("a name of some length {:x}", n * 7919 % 16384)).collect();
    let files: Vec<(String, &str)> = wanted.iter().map(|name| (format!("in/{name}"), "")).collect();
    let tree = Tree::new(&[], &files.iter().map(|(name, text)| (name.as_str(), *text)).collect::<Vec<_>>());
    wanted.sort();
    for preview in PREVIEWS {
        let output = exec(preview)
            .args(tree.grants())
            .args(["--deterministic", "--", "names:/in", &format!("modified:/in/{}", wanted[0])])
            .input("null\n")
            .run()
            .exits(0);
        assert_eq!(output.text(), format!("{}\n0ns\n", wanted.join(" ")), "{preview}");
    }
}

/// A command that opens a file again and again, and ends with the error that it is told then: of preview 1, or of what was
/// there before.
fn hoards(module: &str) -> Task {
    wat(format!(
        r#"(module
          (import "{module}" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
          (import "{module}" "proc_exit" (func $exit (param i32)))
          (memory (export "memory") 1)
          (data (i32.const 64) "a")
          (func (export "_start") (local $error i32)
            (loop $next
              (local.set $error (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 1)
                (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 16)))
              (br_if $next (i32.eqz (local.get $error))))
            (call $exit (local.get $error))))"#
    ))
}

/// `hoard: func() -> s32`: the same of WASI 0.2, which returns the place of the error among its codes.
const HOARDS: &str = r#"
(component
  (import "wasi:filesystem/types@0.2.0" (instance $types
    (export "descriptor" (type $descriptor (sub resource)))
    (type $paths (flags "symlink-follow"))
    (export "path-flags" (type $path-flags (eq $paths)))
    (type $opens (flags "create" "directory" "exclusive" "truncate"))
    (export "open-flags" (type $open-flags (eq $opens)))
    (type $kinds (flags "read" "write" "file-integrity-sync" "data-integrity-sync" "requested-write-sync" "mutate-directory"))
    (export "descriptor-flags" (type $descriptor-flags (eq $kinds)))
    (type $codes (enum "access" "would-block" "already" "bad-descriptor" "busy" "deadlock" "quota" "exist" "file-too-large"
      "illegal-byte-sequence" "in-progress" "interrupted" "invalid" "io" "is-directory" "loop" "too-many-links"
      "message-size" "name-too-long" "no-device" "no-entry" "no-lock" "insufficient-memory" "insufficient-space"
      "not-directory" "not-empty" "not-recoverable" "unsupported" "no-tty" "no-such-device" "overflow" "not-permitted"
      "pipe" "read-only" "invalid-seek" "text-file-busy" "cross-device"))
    (export "error-code" (type $error-code (eq $codes)))
    (export "[method]descriptor.open-at" (func (param "self" (borrow $descriptor)) (param "path-flags" $path-flags)
      (param "path" string) (param "open-flags" $open-flags) (param "flags" $descriptor-flags)
      (result (result (own $descriptor) (error $error-code)))))))
  (alias export $types "descriptor" (type $descriptor))
  (import "wasi:filesystem/preopens@0.2.0" (instance $preopens
    (export "descriptor" (type $granted (eq $descriptor)))
    (export "get-directories" (func (result (list (tuple (own $granted) string)))))))
  (core module $memory
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.set $next (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
      (global.get $next)
      (global.set $next (i32.add (global.get $next) (local.get 3)))))
  (core instance $memory (instantiate $memory))
  (core func $open (canon lower (func $types "[method]descriptor.open-at") (memory (core memory $memory "memory"))))
  (core func $directories (canon lower (func $preopens "get-directories")
    (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core module $m
    (import "memory" "memory" (memory 1))
    (import "host" "open" (func $open (param i32 i32 i32 i32 i32 i32 i32)))
    (import "host" "directories" (func $directories (param i32)))
    (data (i32.const 64) "a")
    (func (export "hoard") (result i32) (local $directory i32)
      (call $directories (i32.const 0))
      (local.set $directory (i32.load (i32.load (i32.const 0))))
      (loop $next
        (call $open (local.get $directory) (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))
        (br_if $next (i32.eqz (i32.load8_u (i32.const 8)))))
      (i32.load8_u (i32.const 12))))
  (core instance $host (export "open" (func $open)) (export "directories" (func $directories)))
  (core instance $i (instantiate $m (with "memory" (instance $memory)) (with "host" (instance $host))))
  (func (export "hoard") (result s32) (canon lift (core func $i "hoard"))))"#;

#[test]
fn a_guest_that_has_used_up_its_descriptors_is_told_so() {
    let tree = Tree::new(&[], &[("in/a", "hello")]);
    let granted = format!("--dir={}::/in", tree.path("in").display());
    for module in ["wasi_snapshot_preview1", "wasi_unstable"] {
        let run = wasmpool().arg("exec").task(&hoards(module)).args([&granted, "--output-format", "records"]);
        // The next item has them all again.
        let output = run.args(["-j", "1"]).input("1\n2\n").run().exits(1);
        let codes: Vec<_> = output.records().iter().map(|record| record.get("code").cloned()).collect();
        assert_eq!(codes, [Some(33.into()), Some(33.into())], "{module}, where 33 is `mfile` and 29 is `io`");
    }
    let run = wasmpool().arg("map").task(&wat(HOARDS)).args([&granted, "-j", "1"]);
    let output = run.input("null\nnull\n").run().exits(0);
    assert_eq!(output.text(), "22\n22\n", "22 is `insufficient-memory`, and 13 is `io`");
}
