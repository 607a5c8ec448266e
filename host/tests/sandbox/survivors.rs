//! State that a guest can set and read back: one item sets all of it, the next reads it, and nothing survives.

use std::process::Stdio;

use super::*;

/// `f(x)`: a negative item marks all it can with its number and returns the time; any other reads one thing.
const GUEST: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_filestat_get" (func $stat (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_filestat_set_times"
        (func $times (param i32 i32 i32 i32 i64 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $fdstat (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_fdstat_set_flags" (func $flags (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_filestat_set_times" (func $fd_times (param i32 i64 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_symlink" (func $symlink (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_link" (func $link (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_readdir" (func $readdir (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) ".\00\00\00\00\00\00\00n\00\00\00\00\00\00\00d\00\00\00\00\00\00\00l\00\00\00\00\00\00\00m")
    ;; What is written: eight bytes at 64.
    (data (i32.const 256) "\40\00\00\00\08\00\00\00")
    (func $now (result i64)
        (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 200)))
        (i64.load (i32.const 200)))
    (func $new (result i64)
        (drop (call $open (i32.const 3) (i32.const 0) (i32.const 8) (i32.const 1) (i32.const 1)
            (i64.const 0x1fffffff) (i64.const 0x1fffffff) (i32.const 1) (i32.const 240)))
        (i64.load32_u (i32.const 240)))
    (func $mark (param $x i64) (result i64) (local $until i64)
        (drop (call $new))
        (drop (call $write (i32.load (i32.const 240)) (i32.const 256) (i32.const 1) (i32.const 264)))
        (drop (call $mkdir (i32.const 3) (i32.const 16) (i32.const 1)))
        (drop (call $symlink (i32.const 8) (i32.const 1) (i32.const 3) (i32.const 24) (i32.const 1)))
        (drop (call $link (i32.const 3) (i32.const 0) (i32.const 8) (i32.const 1) (i32.const 3) (i32.const 32) (i32.const 1)))
        (drop (call $times (i32.const 3) (i32.const 0) (i32.const 8) (i32.const 1) (local.get $x) (local.get $x) (i32.const 5)))
        (drop (call $times (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (local.get $x) (local.get $x) (i32.const 5)))
        (drop (call $fd_times (i32.const 3) (local.get $x) (local.get $x) (i32.const 5)))
        (drop (call $flags (i32.const 3) (i32.const 5)))
        (drop (call $flags (i32.load (i32.const 240)) (i32.const 4)))
        (local.set $until (i64.add (call $now) (i64.const 50000000)))
        (loop $on (br_if $on (i64.lt_u (call $now) (local.get $until))))
        (call $now))
    (func $look (param $what i32) (result i64)
        (drop (call $stat (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 64)))
        (drop (call $fdstat (i32.const 3) (i32.const 160)))
        (if (i32.eq (local.get $what) (i32.const 0)) (then (return (i64.load (i32.const 104)))))
        (if (i32.eq (local.get $what) (i32.const 1)) (then (return (i64.load (i32.const 112)))))
        (if (i32.eq (local.get $what) (i32.const 2)) (then (return (i64.load (i32.const 120)))))
        (if (i32.eq (local.get $what) (i32.const 3)) (then (return (i64.load (i32.const 64)))))
        (if (i32.eq (local.get $what) (i32.const 4)) (then (return (i64.load8_u (i32.const 80)))))
        (if (i32.eq (local.get $what) (i32.const 5)) (then (return (i64.load (i32.const 88)))))
        (if (i32.eq (local.get $what) (i32.const 6)) (then (return (i64.load (i32.const 96)))))
        (if (i32.eq (local.get $what) (i32.const 7)) (then (return (i64.load16_u (i32.const 162)))))
        (if (i32.eq (local.get $what) (i32.const 8)) (then (return (i64.load (i32.const 168)))))
        (if (i32.eq (local.get $what) (i32.const 9)) (then (return (i64.load (i32.const 176)))))
        (if (i32.eq (local.get $what) (i32.const 10)) (then
            (drop (call $readdir (i32.const 3) (i32.const 1024) (i32.const 4096) (i64.const 0) (i32.const 264)))
            (return (i64.load32_u (i32.const 264)))))
        ;; The number of a new descriptor, then what a new file is.
        (if (i32.eq (local.get $what) (i32.const 11)) (then (return (call $new))))
        (drop (call $new))
        (drop (call $stat (i32.const 3) (i32.const 0) (i32.const 8) (i32.const 1) (i32.const 64)))
        (drop (call $fdstat (i32.load (i32.const 240)) (i32.const 160)))
        (if (i32.eq (local.get $what) (i32.const 12)) (then (return (i64.load (i32.const 88)))))
        (if (i32.eq (local.get $what) (i32.const 13)) (then (return (i64.load (i32.const 96)))))
        (if (i32.eq (local.get $what) (i32.const 14)) (then (return (i64.load16_u (i32.const 162)))))
        (if (i32.eq (local.get $what) (i32.const 15)) (then (return (i64.load (i32.const 112)))))
        (i64.load (i32.const 72)))
    (func (export "f") (param $x i64) (result i64)
        (if (result i64) (i64.lt_s (local.get $x) (i64.const 0))
            (then (call $mark (i64.sub (i64.const 0) (local.get $x))))
            (else (call $look (i32.wrap_i64 (local.get $x)))))))"#;

/// The values that are times: when the directory was read and written, and when a new file was.
const TIMES: [i64; 3] = [0, 1, 15];
/// The value that is the time when the directory was made, which is when the worker started.
const MADE: i64 = 2;
/// All other values.
const OTHERS: std::ops::RangeInclusive<i64> = 3..=14;
/// An item that marks all it can; as a positive number of nanoseconds, it is a time in a distant year.
const MARK: i64 = -4_611_686_018_427_387_000;
/// Nanoseconds of a tick, by which the kernel's clock for files lags behind.
const TICK: i64 = 10_000_000;

fn values(programs: &Programs, user: User, task: &str, items: &[i64]) -> Vec<i64> {
    let mut command = Command::new(&programs.wasmpool);
    if user == User::Ordinary {
        command.uid(65534).gid(65534).env("HOME", "/");
    }
    command.args(["map", "-j", "1", "-c", "100", "--scratch", "/s", task]).env("WASMPOOL_CACHE_DIR", "");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines: String = items.iter().map(|item| format!("{item}\n")).collect();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(|line| line.parse().unwrap()).collect()
}

fn guest(programs: &Programs) -> String {
    let path = programs.probes.with_file_name("survivors.wat");
    std::fs::write(&path, GUEST).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn nothing_that_a_guest_sets_is_read_by_the_next_item() {
    let programs = programs();
    let task = guest(&programs);
    for user in users() {
        let pairs = |first: i64| OTHERS.flat_map(|what| [first, what]).collect::<Vec<_>>();
        let read = |first| {
            let all = values(&programs, user, &task, &pairs(first));
            all.chunks(2).map(|pair| pair[1]).collect::<Vec<_>>()
        };
        // After an item that sets all it can, and after one that only reads.
        assert_eq!(read(MARK), read(5), "as {user:?}");
    }
}

#[test]
fn times_of_the_scratch_directory_are_those_of_the_item_that_reads_them() {
    let programs = programs();
    let task = guest(&programs);
    for user in users() {
        let [made, _, still] = values(&programs, user, &task, &[MADE, MARK, MADE])[..] else { panic!("three values") };
        assert_eq!(made, still, "as {user:?}");
        let items: Vec<i64> = TIMES.into_iter().flat_map(|what| [MARK, what]).collect();
        for (pair, what) in values(&programs, user, &task, &items).chunks(2).zip(TIMES) {
            let (ended, time) = (pair[0], pair[1]);
            // Neither what was set, nor the time at which the item before wrote, which was 50 ms before its end.
            assert!(
                time > ended - TICK && time < -MARK,
                "{what} as {user:?}: {time}, and the item before ended at {ended}"
            );
        }
    }
}
