//! The bytes path: what goes in as bytes comes out as bytes, whatever its size.

use crate::support::guest::wat;
use crate::support::run::map;
use crate::support::wat::{echo_bytes, echo_string};

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
    let output = map(&wat(echo_bytes()))
        .args(["--input-format", "lines", "--output-format", "raw"])
        .input(input.as_slice())
        .run()
        .exits(0);
    assert!(output.bytes == input);
}

#[test]
fn items_larger_than_any_buffer_pass_whole() {
    // Below, at, and far above the sizes that rings and pipes have.
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
            let output = map(&wat(&task))
                .args(["--input-format", "lines", "--output-format", "raw"])
                .args(["-j", workers])
                .input(input.as_slice())
                .run()
                .exits(0);
            assert!(output.bytes == input, "with {workers} workers");
        }
    }
}
