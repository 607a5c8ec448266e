//! Members of records beyond the form that is checked whenever a record is read.

use serde_json::json;

use crate::support::guest::{Task, built, wat};
use crate::support::record::Record;
use crate::support::run::{Run, map};
use crate::support::wat::{SPIN_IF_NEGATIVE, SQUARE};

fn records(run: Run, input: &str) -> Vec<Record> {
    run.args(["--output-format", "records"]).input(input).run().records()
}

#[test]
fn a_success_has_exactly_the_fields_of_a_success() {
    let output = map(&wat(SQUARE)).args(["--output-format", "records"]).input("7\n").run().exits(0);
    let value = &output.values()[0];
    let mut fields: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["attempts", "elapsed_us", "index", "status", "value", "worker"]);
    assert_eq!(value["status"], "ok");
    assert_eq!(value["value"], 49);
    assert_eq!(value["attempts"], 1);
    assert!(output.text().starts_with("{\"index\":0,\"status\":\"ok\""));
}

#[test]
fn a_trap_says_what_and_where() {
    let task = wat(r#"(module
             (func $inner (param i64) (result i64) (i64.div_s (i64.const 1) (local.get 0)))
             (func $outer (export "outer") (param i64) (result i64) (call $inner (local.get 0))))"#);
    let records = records(map(&task), "0\n1\n");
    let failed = &records[0];
    assert_eq!(failed.kind(), "trap");
    assert!(failed.message().contains("zero"), "{}", failed.message());
    let trace = failed.get("trace").expect("a trap has one").to_string();
    assert!(trace.contains("inner") && trace.contains("outer"), "{trace}");
    assert_eq!(records[1].kind(), "ok");
}

#[test]
fn an_error_carries_its_payload() {
    let records = records(map(&built("misbehave")), "\"ok:fine\"\n\"err:a \\\"bad\\\" day\"\n");
    assert_eq!(records[0].value(), "fine");
    assert_eq!(records[1].kind(), "error");
    assert_eq!(records[1].get("error"), Some(&json!("a \"bad\" day")));
}

#[test]
fn what_a_guest_prints_is_kept_in_its_record_and_nowhere_else() {
    let output = map(&built("misbehave"))
        .args(["--output-format", "records"])
        .input("\"print:hello there\"\n\"ok:1\"\n")
        .run()
        .exits(0);
    let records = output.records();
    let written = records[0].get("stdout").and_then(|text| text.as_str());
    assert!(written.is_some_and(|text| text.contains("hello there")), "{:?}", records[0]);
    assert_eq!(records[1].get("stdout"), None, "of another item");
    let output = map(&built("misbehave")).input("\"print:hello there\"\n").run().exits(0);
    assert_eq!(output.values().len(), 1, "only its result is printed");
}

#[test]
fn a_panic_says_why_in_what_the_guest_wrote() {
    let records = records(map(&built("misbehave")), "\"panic\"\n");
    assert_eq!(records[0].kind(), "trap");
    let written = records[0].get("stderr").and_then(|text| text.as_str());
    assert!(written.is_some_and(|text| text.contains("panicked")), "{:?}", records[0]);
}

#[test]
fn the_message_of_a_panic_is_what_it_says_with_the_trap_behind_it() {
    let records = records(map(&built("misbehave")), "\"panic\"\n\"trap\"\n");
    let message = records[0].message();
    assert!(message.starts_with("asked to panic, at ") && message.contains("lib.rs:"), "{message}");
    assert!(message.ends_with("(wasm trap: wasm `unreachable` instruction executed)"), "{message}");
    // What one item printed is not the reason of the next.
    assert_eq!(records[1].message(), "wasm trap: wasm `unreachable` instruction executed");
}

#[test]
fn the_trace_of_a_panic_has_the_guest_first_and_counts_the_frames_of_the_standard_library() {
    let records = records(map(&built("misbehave")), "\"panic\"\n");
    let trace = records[0].get("trace").and_then(|trace| trace.as_array()).expect("a trap has one");
    let (last, own) = trace.split_last().expect("it has frames");
    assert!(last.to_string().contains("frames of the standard library)"), "{trace:?}");
    assert!(!own.is_empty() && own.len() < 6, "{trace:?}");
    let is_of_the_library = |frame: &&serde_json::Value| frame.as_str().is_some_and(|name| name.starts_with("std::"));
    assert!(!own.iter().any(|frame| is_of_the_library(&frame)), "{trace:?}");
}

/// Returns a function of a core module that prints this text several times to standard error, and then runs this body.
pub fn prints_and(text: &str, times: u32, body: &str) -> Task {
    let (length, bytes) = (text.len(), text.replace('\n', "\\n"));
    wat(format!(
        r#"(module
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (memory (export "memory") 1)
          (data (i32.const 16) "{bytes}")
          (func (export "f") (param i64) (result i64)
            (local $left i32)
            (i32.store (i32.const 0) (i32.const 16))
            (i32.store (i32.const 4) (i32.const {length}))
            (local.set $left (i32.const {times}))
            (loop $more
              (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
              (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
            {body}))"#
    ))
}

#[test]
fn the_reason_is_what_was_said_last_however_much_was_said_before() {
    // More than the 64 KiB that a record keeps.
    let task = prints_and("not this\nfatal: this one\n", 10_000, "unreachable");
    let records = records(map(&task), "1\n");
    assert!(records[0].message().starts_with("fatal: this one (wasm trap"), "{}", records[0].message());
}

#[test]
fn what_was_printed_is_no_reason_of_a_trap_that_nobody_asked_for() {
    let task = prints_and("careful\n", 1, "(i64.div_s (i64.const 1) (i64.const 0))");
    let failed = &records(map(&task), "1\n")[0];
    assert!(failed.message().contains("zero") && !failed.message().contains("careful"), "{}", failed.message());
    assert_eq!(failed.get("stderr"), Some(&json!("careful\n")));
}

#[test]
fn what_was_said_before_memory_ran_out_or_before_an_exit_is_its_reason() {
    let grow = "(drop (memory.grow (i32.const 65535))) unreachable";
    let task = prints_and("memory allocation of 7 bytes failed\n", 1, grow);
    let failed = &records(map(&task), "1\n")[0];
    assert_eq!(failed.kind(), "memory");
    assert!(failed.message().ends_with("memory allocation of 7 bytes failed"), "{}", failed.message());
    let task = prints_and("panic: boom\n\ngoroutine 1 [running]:\n", 1, "(call $exit (i32.const 2)) unreachable");
    let failed = &records(map(&task), "1\n")[0];
    assert_eq!((failed.kind(), failed.get("code")), ("exit", Some(&json!(2))));
    assert!(failed.message().ends_with(": panic: boom"), "{}", failed.message());
}

#[test]
fn what_a_start_function_says_is_the_reason_that_there_is_no_instance() {
    let task = wat(r#"(module
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1)
          (data (i32.const 16) "no table of contents\n")
          (func (export "_initialize")
            (i32.store (i32.const 0) (i32.const 16))
            (i32.store (i32.const 4) (i32.const 21))
            (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
            unreachable)
          (func (export "f") (param i64) (result i64) (local.get 0)))"#);
    let failed = &records(map(&task), "1\n")[0];
    assert!(failed.message().starts_with("no table of contents (wasm trap"), "{}", failed.message());
    assert_eq!(failed.get("stderr"), Some(&json!("no table of contents\n")));
}

#[test]
fn what_was_not_granted_is_listed_with_a_failure_and_advised_where_it_can_be_the_cause() {
    // A panic looks for an environment variable, which would not have helped.
    let panic = &records(map(&built("misbehave")), "\"panic\"\n")[0];
    assert_eq!(panic.get("denied"), Some(&json!(["variables of the environment (--env NAME=VALUE)"])));
    assert!(!panic.message().contains("--env"), "{}", panic.message());
    // The guest's language has looked for a directory and a variable, and the guest fails for a reason of its own.
    let advised = ["--dir", "--env"];
    for own in ["\"err:no permission to sell to minors\"", "\"err:the directory of customers has no such name\""] {
        let message = records(map(&built("misbehave")), &format!("{own}\n")).remove(0).message().to_owned();
        assert!(!advised.iter().any(|option| message.contains(option)), "{message}");
    }
    // An `err` about something else, of a guest that has looked for a directory, and one about a file.
    let reach = |order: &str| {
        let run = map(&built("reach")).args(["-j", "1", "--isolate", "worker"]);
        records(run, &format!("\"read:/etc/passwd\"\n{order}\n")).remove(1)
    };
    let unknown = reach("\"dance:now\"");
    assert!(!unknown.message().contains("--dir"), "{}", unknown.message());
    let file = reach("\"read:/etc/hosts\"");
    assert!(file.message().contains("--dir HOST::GUEST"), "{}", file.message());
    assert_eq!(file.get("denied"), Some(&json!(["a directory (--dir HOST::GUEST[:ro|:rw])"])));
    let name = &records(map(&built("reach")), "\"resolve:example.org:80\"\n")[0];
    let denied = name.get("denied").expect("a list").to_string();
    assert!(denied.contains("example.org") && denied.contains("--allow-net HOST:PORT"), "{denied}");
    // A success, and an item that does not fit, have no such list.
    let fine = records(map(&built("misbehave")).args(["--isolate", "worker"]), "\"ok:1\"\n7\n");
    assert!(fine.iter().all(|record| record.get("denied").is_none()), "{fine:?}");
}

#[test]
fn a_connection_to_another_peer_than_the_granted_one_is_listed_by_its_address() {
    let run = map(&built("reach")).args(["--allow-net", "127.0.0.1:9"]);
    let failed = &records(run, "\"connect:127.0.0.1:10\"\n")[0];
    let denied = failed.get("denied").unwrap_or_else(|| panic!("{failed:?}")).to_string();
    assert!(denied.contains("127.0.0.1:10"), "{denied}");
}

#[test]
fn the_time_of_an_item_is_its_own() {
    // An item that takes no time does not count the wait behind one that takes a tenth of a second.
    let run = map(&wat(SPIN_IF_NEGATIVE)).args(["--timeout", "100ms", "-j", "1", "-c", "2"]);
    let records = records(run, "-1\n1\n");
    let elapsed = |record: &Record| record.get("elapsed_us").and_then(|us| us.as_u64());
    assert!(elapsed(&records[0]) >= Some(50_000), "{:?}", records[0]);
    assert!(elapsed(&records[1]) < elapsed(&records[0]), "{:?}", records[1]);
}

#[test]
fn workers_are_numbered_from_one_in_the_order_of_their_starts() {
    let input: String = (0..2000).map(|item| format!("{item}\n")).collect();
    let output = map(&wat(SQUARE))
        .args(["-j", "2", "-c", "10", "-v", "--output-format", "records"])
        .input(input.as_str())
        .run()
        .exits(0);
    let workers: std::collections::BTreeSet<u64> = output.records().iter().map(Record::worker).collect();
    // On a busy machine a worker may be lost, and is replaced by one with the next number.
    let lost = output.stderr.lines().filter(|line| line.contains(" ended (")).count() as u64;
    assert!(workers.iter().all(|worker| (1..=2 + lost).contains(worker)), "{workers:?}: {}", output.stderr);
}

#[test]
fn a_worker_is_replaced_after_its_number_of_items_under_either_name_of_the_option() {
    let input: String = (0..6).map(|item| format!("{item}\n")).collect();
    for option in ["--max-items-per-worker", "--max-tasks-per-worker"] {
        let records = records(map(&wat(SQUARE)).args(["-j", "1", "-c", "1", option, "2"]), &input);
        let workers: Vec<u64> = records.iter().map(Record::worker).collect();
        assert!(workers.windows(2).all(|pair| pair[0] <= pair[1]), "{workers:?}");
        for worker in &workers {
            assert!(workers.iter().filter(|other| *other == worker).count() <= 2, "{option}: {workers:?}");
        }
    }
}
