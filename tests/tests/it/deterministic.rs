//! `--deterministic`: the same input gives the same bytes, at any time and with any number of workers.

use tempfile::TempDir;

use crate::support::guest::{Task, built, wat};
use crate::support::run::{Run, map};

/// Returns orders to the guest `reach` that look at everything that differs from run to run.
fn looks() -> String {
    let orders = ["clock", "random", "sleep:3600", "clock ; random", "no such verb"];
    orders.iter().cycle().take(60).map(|order| format!("\"{order}\"\n")).collect()
}

fn reach(args: &[&str]) -> Run {
    map(&built("reach")).args(["--output-format", "records"]).args(args)
}

fn bytes(run: Run) -> Vec<u8> {
    run.run().bytes
}

#[test]
fn the_same_input_gives_the_same_bytes_in_every_run_by_any_number_of_workers() {
    let once = bytes(reach(&["--deterministic", "-j", "1"]).input(looks()));
    assert_eq!(once.iter().filter(|byte| **byte == b'\n').count(), 60);
    for args in [&["-j", "1"][..], &["-j", "3"], &["-j", "3", "-c", "1", "--max-items-per-worker", "2"]] {
        let again = bytes(reach(&[&["--deterministic"], args].concat()).input(looks()));
        assert_eq!(String::from_utf8_lossy(&again), String::from_utf8_lossy(&once), "{args:?}");
    }
}

#[test]
fn without_it_runs_differ() {
    for order in ["\"clock\"", "\"random\""] {
        let run = || bytes(map(&built("reach")).input(order));
        assert_ne!(run(), run(), "{order}");
    }
}

#[test]
fn every_item_has_the_same_clocks_and_numbers_wherever_it_stands() {
    let input = "\"clock\"\n\"random\"\n".repeat(10);
    let values = map(&built("reach")).args(["--deterministic", "-j", "2"]).input(input).run().exits(0).values();
    for pair in values.chunks(2) {
        assert_eq!(pair, &values[..2]);
    }
    // It is the beginning of the year 2000; a hundred looks at the clock take a millisecond.
    assert!(values[0].as_str().is_some_and(|text| text.starts_with("946684800s ")), "{}", values[0]);
}

#[test]
fn who_sleeps_wakes_at_once_and_finds_that_time_has_passed() {
    let values = map(&built("reach")).arg("--deterministic").input("\"sleep:86400\"\n").run().exits(0).values();
    assert!(values[0].as_str().is_some_and(|text| text.starts_with("86400.")), "{}", values[0]);
}

/// Returns a command of preview 1 that sleeps for an hour, and returns how much later it is.
fn sleeper() -> Task {
    wat(r#"(module
        (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
        (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "f") (param i64) (result i64 i64 i64) (local $start i64)
            (drop (call $time (i32.const 1) (i64.const 1) (i32.const 0)))
            (local.set $start (i64.load (i32.const 0)))
            (i32.store (i32.const 116) (i32.const 1))
            (i64.store (i32.const 124) (i64.const 3600000000000))
            (drop (call $poll (i32.const 100) (i32.const 200) (i32.const 1) (i32.const 300)))
            (drop (call $time (i32.const 1) (i64.const 1) (i32.const 0)))
            (drop (call $time (i32.const 0) (i64.const 1) (i32.const 8)))
            (drop (call $random (i32.const 16) (i32.const 8)))
            (i64.sub (i64.load (i32.const 0)) (local.get $start))
            (i64.load (i32.const 8))
            (i64.load (i32.const 16))))"#)
}

#[test]
fn a_core_module_has_the_same_clocks_and_numbers() {
    let run =
        |workers| map(&sleeper()).args(["--deterministic", "-j", workers]).input("1\n2\n3\n").run().exits(0).values();
    let values = run("1");
    assert_eq!(values, run("3"));
    assert_eq!(values[0], values[2]);
    let [later, wall, _] = values[0].as_array().expect("three numbers").as_slice() else {
        panic!("three numbers");
    };
    assert!((3_600_000_000_000..3_601_000_000_000).contains(&later.as_i64().expect("a number")), "{later}");
    assert_eq!(wall.as_i64(), Some(946_684_800_000_000_000));
}

#[test]
fn a_nan_has_the_same_bits_everywhere() {
    let divide = wat(r#"(module (func (export "f") (param f64 f64) (result i64)
        (i64.reinterpret_f64 (f64.div (local.get 0) (local.get 1)))))"#);
    let bits = |args: &[&str]| map(&divide).args(args).input("[0.0,0.0]\n").run().exits(0).values();
    assert_eq!(bits(&["--deterministic"]), [serde_json::Value::from(0x7ff8_0000_0000_0000_i64)]);
    // The bits that this processor produces.
    #[cfg(target_arch = "x86_64")]
    assert_ne!(bits(&[]), [serde_json::Value::from(0x7ff8_0000_0000_0000_i64)]);
}

#[test]
fn a_directory_is_read_by_name_and_its_files_have_no_times() {
    let folder = TempDir::new().expect("a temporary directory");
    let mut names: Vec<String> = (0..200).map(|n| format!("{:x}", n * 7919 % 4096)).collect();
    for name in &names {
        std::fs::write(folder.path().join(name), "").expect("a file");
    }
    names.sort();
    let dir = format!("--dir={}::/in", folder.path().display());
    let ask = |args: &[&str]| {
        map(&built("reach")).args(args).input("\"names:/in\"\n\"modified:/in/0\"\n").run().exits(0).values()
    };
    let values = ask(&[&dir, "--deterministic"]);
    assert_eq!(values, [names.join(" "), "0ns".to_owned()].map(serde_json::Value::from));
    assert_ne!(ask(&[&dir])[1], values[1]);
}

#[test]
fn fuel_takes_the_place_of_time() {
    let run = reach(&["--deterministic", "--fuel", "1000000", "-j", "2"]).input("\"spin\"\n\"env\"\n");
    let records = run.run().exits(1).values();
    assert_eq!(records[0]["kind"], "fuel");
    assert_eq!(records[1]["status"], "ok");
    for record in records {
        assert!(record.get("worker").is_none() && record["elapsed_us"] == 0, "{record}");
    }
}

#[test]
fn what_cannot_be_held_to_is_refused_with_its_reason() {
    for (args, named) in [
        (&["--timeout", "1s"][..], "--fuel"),
        (&["--isolate", "worker"], "--isolate"),
        (&["--isolate", "chunk"], "--isolate"),
        (&["--unordered"], "--unordered"),
        (&["--batch"], "-c N"),
        (&["--batch", "-c", "4", "--max-items-per-worker", "9"], "--max-items-per-worker"),
        (&["--halt", "soon"], "--halt"),
        (&["--allow-net", "127.0.0.1:9"], "--allow-net"),
    ] {
        let output = reach(&["--deterministic"]).args(args).input("\"env\"\n").run().exits(2);
        assert!(output.stderr.contains(named) && output.stderr.contains("--deterministic"), "{}", output.stderr);
    }
}

#[test]
fn a_batch_of_fixed_size_is_as_deterministic_as_its_items() {
    let run = |workers| {
        map(&built("square_batch"))
            .args(["--deterministic", "--batch", "-c", "7", "-j", workers])
            .args(["--output-format", "records"])
    };
    let input: String = (0..100).map(|n| format!("{n}\n")).collect();
    assert_eq!(bytes(run("1").input(input.as_str())), bytes(run("3").input(input)));
}

#[test]
fn a_journal_is_not_gone_on_with_by_a_run_of_the_other_kind() {
    let folder = TempDir::new().expect("a temporary directory");
    let journal = folder.path().join("journal");
    let journal = journal.to_str().expect("a path");
    let run = |args: &[&str]| reach(args).args(["--journal", journal, "--resume"]).input("\"env\"\n").run();
    run(&["--deterministic"]).exits(0);
    let output = run(&[]).exits(2);
    assert!(output.stderr.contains("--deterministic"), "{}", output.stderr);
}

#[test]
fn what_cannot_be_held_to_is_named_in_the_words_of_who_said_it() {
    let folder = TempDir::new().expect("a temporary directory");
    let policy = folder.path().join("policy.toml");
    std::fs::write(&policy, "[limits]\ntimeout = '1s'\n").expect("written");
    let policy = policy.to_str().expect("a path");
    let of_policy = format!("`timeout` of the policy {policy} cannot be used with --deterministic: ");
    let output = reach(&["--deterministic", "--policy", policy]).input("\"env\"\n").run().exits(2);
    assert!(output.stderr.contains(&of_policy) && !output.stderr.contains("--timeout"), "{}", output.stderr);
    for (variable, value, option) in [
        ("WASMPOOL_TIMEOUT", "1s", "--timeout"),
        ("WASMPOOL_UNORDERED", "1", "--unordered"),
        ("WASMPOOL_HALT", "now", "--halt"),
        ("WASMPOOL_ISOLATE", "worker", "--isolate"),
        ("WASMPOOL_ALLOW_NET", "127.0.0.1:9", "--allow-net"),
    ] {
        let output = reach(&["--deterministic"]).env(variable, value).input("\"env\"\n").run().exits(2);
        let named = output.stderr.contains(&format!("{variable} of the environment"));
        assert!(named && !output.stderr.contains(option), "{}", output.stderr);
    }
    let output = reach(&["--unordered"]).env("WASMPOOL_DETERMINISTIC", "1").input("\"env\"\n").run().exits(2);
    let says = "--unordered cannot be used with WASMPOOL_DETERMINISTIC of the environment: ";
    assert!(output.stderr.contains(says), "{}", output.stderr);
}
