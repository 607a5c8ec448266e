//! Functions of bytes: bytes that go in come out the same, whatever their size.

use crate::support::guest::{Task, built, wat};
use crate::support::record::Record;
use crate::support::run::{Run, map};
use crate::support::wat::{echo_bytes, echo_bytes_once, echo_string};

/// Returns a run with lines as input, and results as they are.
fn raw(task: &Task) -> Run {
    map(task).args(["--input-format", "lines", "--output-format", "raw"])
}

#[test]
fn bytes_are_taken_as_base64_and_as_numbers_and_come_out_as_base64() {
    let output = map(&wat(echo_bytes())).input("\"AAEC/w==\"\n[0,1,2,255]\n\"\"\n[]\n").run().exits(0);
    assert_eq!(output.text(), "\"AAEC/w==\"\n\"AAEC/w==\"\n\"\"\n\"\"\n");
}

#[test]
fn what_is_neither_base64_nor_bytes_is_invalid_input() {
    let output = map(&wat(echo_bytes()))
        .args(["--output-format", "records"])
        .input("\"A\"\n\"!!!!\"\n[256]\n[-1]\n[1.5]\n7\nnull\n\"AAEC\"\n")
        .run()
        .exits(1);
    let mut wanted = vec!["invalid-input"; 8];
    wanted[7] = "ok";
    assert_eq!(output.kinds(), wanted);
}

#[test]
fn every_byte_passes_between_raw_lines() {
    let line: Vec<u8> = (0..=255).filter(|byte| *byte != b'\n').collect();
    let input = [line.as_slice(), b"\n"].concat().repeat(100);
    let output = raw(&wat(echo_bytes())).input(input.as_slice()).run().exits(0);
    assert!(output.bytes == input);
}

#[test]
fn items_larger_than_any_buffer_pass_whole() {
    // Below, at, and far above the sizes of rings and pipes.
    let sizes = [0, 1, 4095, 65_536, 1_048_575, 1_048_576, 12_345_678, 3];
    let input: Vec<u8> = sizes
        .iter()
        .enumerate()
        .flat_map(|(index, size)| {
            let letter = b'a' + u8::try_from(index).expect("few sizes");
            let mut line = vec![letter; *size];
            line.push(b'\n');
            line
        })
        .collect();
    for task in [echo_bytes(), echo_string()] {
        for workers in ["1", "3"] {
            let output = raw(&wat(&task)).args(["-j", workers]).input(input.as_slice()).run().exits(0);
            assert!(output.bytes == input, "with {workers} workers");
        }
    }
}

#[test]
fn a_result_is_what_it_was_before_the_guest_freed_it() {
    let large = "a".repeat(300_000);
    let output = raw(&wat(echo_bytes_once())).input(format!("one\n{large}\n\ntwo\n")).run().exits(0);
    assert!(output.text() == format!("one\n{large}\n\ntwo\n"));
}

#[test]
fn a_result_that_was_seen_is_not_told_if_the_call_fails_after_it() {
    let large = "a".repeat(300_000);
    let output = raw(&wat(echo_bytes_once())).input(format!("one\n!two\nthree\n!{large}\nfive\n")).run().exits(1);
    assert_eq!(output.text(), "one\nthree\nfive\n");
    assert_eq!(output.stderr.matches("failed: trap").count(), 2, "{}", output.stderr);
}

#[test]
fn a_result_beyond_the_memory_is_a_failure() {
    let output = raw(&wat(echo_bytes_once())).input("one\n?two\nthree\n").run().exits(1);
    assert_eq!(output.text(), "one\nthree\n");
    assert!(output.stderr.contains("out of bounds of memory"), "{}", output.stderr);
}

#[test]
fn bytes_stand_beside_what_the_guest_printed() {
    let run =
        || map(&built("identity")).args(["-f", "print-bytes", "--input-format", "lines"]).input("hello\n\nthere\n");
    let records = run().args(["--output-format", "records"]).run().exits(0).records();
    let told = |record: &Record, key| record.get(key).and_then(|text| text.as_str()).map(str::to_owned);
    assert_eq!(records.len(), 3);
    for (record, (text, base64)) in records.iter().zip([("hello", "aGVsbG8="), ("", ""), ("there", "dGhlcmU=")]) {
        assert_eq!(told(record, "stdout"), Some(format!("{text}\n")));
        assert_eq!(told(record, "value").as_deref(), Some(base64));
    }
    let output = run().args(["--output-format", "raw"]).run().exits(0);
    assert_eq!(output.text(), "hello\n\nthere\n");
}

#[test]
fn a_result_of_bytes_is_bounded_by_what_may_be() {
    let fits = "a".repeat(3000);
    let run = || {
        map(&wat(echo_bytes()))
            .args(["--input-format", "lines", "--max-output", "4KiB"])
            .input(format!("{fits}\n{}\n", "a".repeat(4097)))
    };
    let output = run().args(["--output-format", "raw"]).run().exits(1);
    assert_eq!(output.text(), format!("{fits}\n"));
    assert!(output.stderr.contains("output-too-large"), "{}", output.stderr);
    // The limit applies to the printed value: 3,000 bytes are 4,000 in base64.
    let output = run().args(["--output-format", "records"]).run().exits(1);
    assert_eq!(output.kinds(), ["ok", "output-too-large"]);
}
