//! A guest and an input in which every hundredth item fails in each of five ways, and the expected outcome of each
//! item.

use std::io::{BufWriter, Write};

use super::guest::{Task, wat};
use super::wat::{component, lift};

/// Returns `act: func(item: s64) -> result<s64, s64>`: the square, unless the item's last two digits say otherwise.
pub fn task() -> Task {
    wat(component(
        r#"
    (func (export "act") (param $x i64) (result i32)
      (local $way i64)
      (local.set $way (i64.rem_u (local.get $x) (i64.const 100)))
      (if (i64.eq (local.get $way) (i64.const 10)) (then unreachable))
      (if (i64.eq (local.get $way) (i64.const 30)) (then (loop $l (br $l))))
      (if (i64.eq (local.get $way) (i64.const 50))
        (then
          (loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
          unreachable))
      (i32.store8 (i32.const 16) (i64.eq (local.get $way) (i64.const 70)))
      (i64.store (i32.const 24) (i64.mul (local.get $x) (local.get $x)))
      (i32.const 16))"#,
        &[lift("act", r#"(param "item" s64) (result (result s64 (error s64)))"#)],
    ))
}

/// Writes the items 0 to `count`: numbers, except for every hundredth, which is not even JSON.
pub fn feed(count: u64) -> impl FnOnce(&mut std::process::ChildStdin) -> std::io::Result<()> {
    move |pipe| {
        let mut pipe = BufWriter::new(pipe);
        for item in 0..count {
            match item % 100 {
                90 => writeln!(pipe, "{{\"item\": {item}")?,
                _ => writeln!(pipe, "{item}")?,
            }
        }
        pipe.flush()
    }
}

/// Returns the kind that the item of this index must have.
pub fn kind(index: u64) -> &'static str {
    match index % 100 {
        10 => "trap",
        30 => "timeout",
        50 => "memory",
        70 => "error",
        90 => "invalid-input",
        _ => "ok",
    }
}
