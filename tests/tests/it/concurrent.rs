//! Fuel bounds calls of WASI 0.3 as it bounds those of its older versions.

use crate::support::guest::wat;
use crate::support::run::map;
use crate::support::tree::Tree;

/// The functions of WASI 0.3 that take one path, or two, and tell nothing but whether it went well: what they take besides
/// the directory, and how a call passes it on, with a path of 3,000 bytes at 65,536.
const OF_PATHS: [(&str, &str, &str, &str, u64); 9] = [
    ("create-directory-at", r#"(param "path" string)"#, "", "(i32.const 65536) (i32.const 3000)", 1),
    ("remove-directory-at", r#"(param "path" string)"#, "", "(i32.const 65536) (i32.const 3000)", 1),
    ("unlink-file-at", r#"(param "path" string)"#, "", "(i32.const 65536) (i32.const 3000)", 1),
    (
        "symlink-at",
        r#"(param "old-path" string) (param "new-path" string)"#,
        "i32 i32",
        "(i32.const 65536) (i32.const 3000) (i32.const 65536) (i32.const 3000)",
        2,
    ),
    (
        "rename-at",
        r#"(param "old-path" string) (param "new-descriptor" (borrow $d)) (param "new-path" string)"#,
        "i32 i32 i32",
        "(i32.const 65536) (i32.const 3000) (local.get $dir) (i32.const 65536) (i32.const 3000)",
        2,
    ),
    (
        "link-at",
        r#"(param "old-path-flags" $path-flags) (param "old-path" string) (param "new-descriptor" (borrow $d)) (param "new-path" string)"#,
        "i32 i32 i32 i32",
        "(i32.const 0) (i32.const 65536) (i32.const 3000) (local.get $dir) (i32.const 65536) (i32.const 3000)",
        2,
    ),
    (
        "set-times-at",
        r#"(param "path-flags" $path-flags) (param "path" string) (param "data-access-timestamp" $new-timestamp) (param "data-modification-timestamp" $new-timestamp)"#,
        "i32 i64 i32 i32 i64 i32 i32",
        "(i32.const 0) (i32.const 65536) (i32.const 3000) (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i64.const 0) (i32.const 0)",
        1,
    ),
    ("readlink-at", r#"(param "path" string)"#, "", "(i32.const 65536) (i32.const 3000)", 1),
    (
        "open-at",
        OPENS,
        "i32 i32 i32",
        "(i32.const 0) (i32.const 65536) (i32.const 3000) (i32.const 0) (i32.const 1)",
        1,
    ),
];

const OPENS: &str = r#"(param "path-flags" $path-flags) (param "path" string) (param "open-flags" $open-flags) (param "flags" $descriptor-flags)"#;

fn open_at() -> String {
    format!(r#"async (param "self" (borrow $d)) {OPENS} (result (result (own $d) (error $code)))"#)
}

/// A component that imports `function` of the files of WASI 0.3 as `$it`, and `open-at` as `$open`, and makes its calls in a
/// loop, with the first directory that was granted in `$dir`.
fn files(function: &str, ty: &str, core: &str, body: &str) -> String {
    let open = match function {
        "open-at" => String::new(),
        _ => format!(r#"(export "[method]descriptor.open-at" (func {}))"#, open_at()),
    };
    format!(
        r#"
(component
  (import "wasi:filesystem/types@0.3.0" (instance $files
    (export "descriptor" (type $d (sub resource)))
    (type $code' (variant (case "access") (case "already") (case "bad-descriptor") (case "busy") (case "deadlock") (case "quota")
      (case "exist") (case "file-too-large") (case "illegal-byte-sequence") (case "in-progress") (case "interrupted")
      (case "invalid") (case "io") (case "is-directory") (case "loop") (case "too-many-links") (case "message-size")
      (case "name-too-long") (case "no-device") (case "no-entry") (case "no-lock") (case "insufficient-memory")
      (case "insufficient-space") (case "not-directory") (case "not-empty") (case "not-recoverable") (case "unsupported")
      (case "no-tty") (case "no-such-device") (case "overflow") (case "not-permitted") (case "pipe") (case "read-only")
      (case "invalid-seek") (case "text-file-busy") (case "cross-device") (case "other" (option string))))
    (export "error-code" (type $code (eq $code')))
    (type $path-flags' (flags "symlink-follow"))
    (export "path-flags" (type $path-flags (eq $path-flags')))
    (type $open-flags' (flags "create" "directory" "exclusive" "truncate"))
    (export "open-flags" (type $open-flags (eq $open-flags')))
    (type $descriptor-flags' (flags "read" "write" "file-integrity-sync" "data-integrity-sync" "requested-write-sync"
      "mutate-directory"))
    (export "descriptor-flags" (type $descriptor-flags (eq $descriptor-flags')))
    (type $instant (record (field "seconds" s64) (field "nanoseconds" u32)))
    (export "instant" (type $instant' (eq $instant)))
    (type $new-timestamp' (variant (case "no-change") (case "now") (case "timestamp" $instant')))
    (export "new-timestamp" (type $new-timestamp (eq $new-timestamp')))
    (type $entry-type' (variant (case "block-device") (case "character-device") (case "directory") (case "fifo")
      (case "symbolic-link") (case "regular-file") (case "socket") (case "other" (option string))))
    (export "descriptor-type" (type $entry-type (eq $entry-type')))
    (type $entry' (record (field "type" $entry-type) (field "name" string)))
    (export "directory-entry" (type $entry (eq $entry')))
    {open}
    (export "[method]descriptor.{function}" (func {ty}))))
  (alias export $files "descriptor" (type $d))
  (alias export $files "directory-entry" (type $entry))
  (alias export $files "error-code" (type $code))
  (import "wasi:filesystem/preopens@0.3.0" (instance $preopens
    (alias outer 1 $d (type $d')) (export "descriptor" (type $descriptor (eq $d')))
    (export "get-directories" (func (result (list (tuple (own $descriptor) string)))))))
  (core module $libc (memory (export "m") 4)
    (global $at (mut i32) (i32.const 131072))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $at)
      (global.set $at (i32.add (global.get $at) (i32.and (i32.add (local.get 3) (i32.const 7)) (i32.const -8))))))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "m" (core memory $m))
  (alias core export $libc "realloc" (core func $realloc))
  (core func $directories (canon lower (func $preopens "get-directories") (memory $m) (realloc $realloc)))
  (core func $it (canon lower (func $files "[method]descriptor.{function}") (memory $m) (realloc $realloc)))
  (core func $open (canon lower (func $files "[method]descriptor.open-at") (memory $m) (realloc $realloc)))
  (type $entries (stream $entry))
  (core func $next (canon stream.read $entries async (memory $m) (realloc $realloc)))
  (core func $close (canon stream.drop-readable $entries))
  (type $bytes (stream u8))
  (core func $pipe (canon stream.new $bytes))
  (core func $write (canon stream.write $bytes async (memory $m)))
  (core func $end (canon stream.drop-writable $bytes))
  (type $done (future (result (error $code))))
  (core func $done (canon future.read $done async (memory $m) (realloc $realloc)))
  (core func $set (canon waitable-set.new))
  (core func $join (canon waitable.join))
  (core func $wait (canon waitable-set.wait (memory $m)))
  (core module $code
    (import "" "m" (memory 4))
    (import "" "directories" (func $directories (param i32)))
    (import "" "it" (func $it {core}))
    (import "" "next" (func $next (param i32 i32 i32) (result i32)))
    (import "" "open" (func $open (param i32 i32 i32 i32 i32 i32 i32)))
    (import "" "close" (func $close (param i32)))
    (import "" "pipe" (func $pipe (result i64)))
    (import "" "write" (func $write (param i32 i32 i32) (result i32)))
    (import "" "end" (func $end (param i32)))
    (import "" "done" (func $done (param i32 i32) (result i32)))
    (import "" "set" (func $set (result i32)))
    (import "" "join" (func $join (param i32 i32)))
    (import "" "wait" (func $wait (param i32 i32) (result i32)))
    (global $waits (mut i32) (i32.const 0))
    (func $wait-for (param $what i32) (param $code i32) (result i32)
      (if (i32.eq (local.get $code) (i32.const -1)) (then
        (if (i32.eqz (global.get $waits)) (then (global.set $waits (call $set))))
        (call $join (local.get $what) (global.get $waits))
        (drop (call $wait (global.get $waits) (i32.const 64)))
        (call $join (local.get $what) (i32.const 0))
        (local.set $code (i32.load (i32.const 68)))))
      (local.get $code))
    (func (export "f") (param $n i64) (result i32)
      (local $dir i32) (local $sum i32) (local $both i64) (local $to i32) (local $done i32)
      (memory.fill (i32.const 65536) (i32.const 97) (i32.const 3000))
      (call $directories (i32.const 16))
      (local.set $dir (i32.load (i32.load (i32.const 16))))
      (loop $l
        {body}
        (local.set $n (i64.sub (local.get $n) (i64.const 1)))
        (br_if $l (i64.gt_s (local.get $n) (i64.const 0))))
      (local.get $sum)))
  (core instance $i (instantiate $code (with "" (instance
    (export "m" (memory $m)) (export "directories" (func $directories)) (export "it" (func $it))
    (export "next" (func $next)) (export "close" (func $close)) (export "set" (func $set))
    (export "join" (func $join)) (export "wait" (func $wait)) (export "open" (func $open)) (export "pipe" (func $pipe))
    (export "write" (func $write)) (export "end" (func $end)) (export "done" (func $done))))))
  (func (export "f") async (param "n" s64) (result u32) (canon lift (core func $i "f"))))"#
    )
}

#[track_caller]
fn ends(task: &str, fuel: u64, more: &[String], input: &str) -> Vec<String> {
    let args = ["--output-format", "records", "-j", "1", "--fuel", &fuel.to_string()].map(str::to_owned);
    map(&wat(task)).args(args).args(more).input(input).run().kinds()
}

#[test]
fn a_path_counts_by_its_bytes() {
    let scratch = ["--scratch".to_owned(), "/s".to_owned()];
    for (name, params, core, arguments, paths) in OF_PATHS {
        let result = match name {
            "readlink-at" => "string",
            "open-at" => "(own $d)",
            _ => "",
        };
        let result = if result.is_empty() {
            "(result (error $code))".to_owned()
        } else {
            format!("(result {result} (error $code))")
        };
        let ty = format!(r#"async (param "self" (borrow $d)) {params} (result {result})"#);
        let task = files(
            name,
            &ty,
            &format!("(param i32 i32 i32 i32 {core})"),
            &format!("(call $it (local.get $dir) {arguments} (i32.const 128))"),
        );
        // What is 20 for each byte, and a few calls and instructions.
        let cost = paths * 3000 * 20;
        assert_eq!(ends(&task, cost, &scratch, "1\n"), ["fuel"], "{name}");
        assert_eq!(ends(&task, cost + 10_000, &scratch, "1\n100\n1\n"), ["ok", "fuel", "ok"], "{name}");
    }
}

#[test]
fn a_directory_that_is_read_counts_each_of_its_entries() {
    let files_of: Vec<String> = (0..200).map(|n| format!("in/{n:03}")).collect();
    let tree = Tree::new(&[], &files_of.iter().map(|name| (name.as_str(), "")).collect::<Vec<_>>());
    let task = files(
        "read-directory",
        r#"(param "self" (borrow $d)) (result (tuple (stream $entry) (future (result (error $code)))))"#,
        "(param i32 i32)",
        "(call $it (local.get $dir) (i32.const 32))
         (local.set $sum (i32.shr_u (call $wait-for (i32.load (i32.const 32))
           (call $next (i32.load (i32.const 32)) (i32.const 256) (i32.const 300))) (i32.const 4)))",
    );
    let run = |fuel| ends(&task, fuel, &tree.grants(), "1\n");
    assert_eq!(run(500_000), ["fuel"]);
    assert_eq!(run(1_000_000), ["ok"]);
    let output = map(&wat(&task)).args(tree.grants()).args(["--fuel", "1000000"]).input("1\n").run().exits(0);
    assert_eq!(output.text(), "200\n");
}

/// Opens a file, and writes 200,000 bytes to it: `waits` is what it does after it has begun.
fn writing(function: &str, at: &str, core: &str, argument: &str, waits: &str) -> String {
    files(
        function,
        &format!(r#"(param "self" (borrow $d)) (param "data" (stream u8)) {at} (result (future (result (error $code))))"#),
        core,
        &format!(
            "(call $open (local.get $dir) (i32.const 0) (i32.const 65536) (i32.const 3) (i32.const 1) (i32.const 2) (i32.const 128))
             (local.set $both (call $pipe))
             (local.set $to (i32.wrap_i64 (i64.shr_u (local.get $both) (i64.const 32))))
             (local.set $sum (call $write (local.get $to) (i32.const 0) (i32.const 200000)))
             (local.set $done (call $it (i32.load (i32.const 132)) (i32.wrap_i64 (local.get $both)) {argument}))
             {waits}"
        ),
    )
}

#[test]
fn what_is_written_to_a_file_counts_even_if_it_was_written_before_anybody_took_it() {
    // The first write waits; what it moved is told later, and the others take the rest.
    let all = "
        (local.set $sum (i32.shr_u (call $wait-for (local.get $to) (local.get $sum)) (i32.const 4)))
        (loop $more
          (local.set $sum (i32.add (local.get $sum) (i32.shr_u (call $wait-for (local.get $to)
            (call $write (local.get $to) (local.get $sum) (i32.sub (i32.const 200000) (local.get $sum)))) (i32.const 4))))
          (br_if $more (i32.lt_u (local.get $sum) (i32.const 200000))))
        (call $end (local.get $to))
        (drop (call $wait-for (local.get $done) (call $done (local.get $done) (i32.const 96))))";
    for (function, at, core, argument) in [
        ("write-via-stream", r#"(param "offset" u64)"#, "(param i32 i32 i64) (result i32)", "(i64.const 0)"),
        ("append-via-stream", "", "(param i32 i32) (result i32)", ""),
    ] {
        let run = |fuel: &str| {
            let tree = Tree::new(&[], &[]);
            let grant = format!("{}::/out:rw", tree.path("out").display());
            let args = ["--output-format", "records", "--fuel", fuel, "--dir", &grant];
            let kinds = map(&wat(writing(function, at, core, argument, all))).args(args).input("1\n").run().kinds();
            (kinds, std::fs::metadata(tree.path("out/aaa")).map_or(0, |file| file.len()))
        };
        assert_eq!(run("200000").0, ["fuel"], "{function}");
        assert_eq!(run("1000000"), (vec!["ok".to_owned()], 200_000), "{function}");
    }
}

#[test]
fn a_wait_counts_however_short_it_is() {
    let task = r#"
(component
  (import "wasi:clocks/monotonic-clock@0.3.0" (instance $clock (export "wait-for" (func async (param "how-long" u64)))))
  (core func $it (canon lower (func $clock "wait-for")))
  (core module $code
    (import "" "it" (func $it (param i64)))
    (func (export "f") (param $n i64)
      (loop $l
        (call $it (i64.const 0))
        (local.set $n (i64.sub (local.get $n) (i64.const 1)))
        (br_if $l (i64.gt_s (local.get $n) (i64.const 0))))))
  (core instance $i (instantiate $code (with "" (instance (export "it" (func $it))))))
  (func (export "f") async (param "n" s64) (canon lift (core func $i "f"))))"#;
    assert_eq!(ends(task, 100_000, &[], "10\n1000\n"), ["ok", "fuel"]);
}
