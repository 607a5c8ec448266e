//! Measures a single process from start to exit: `cargo run --release -p wasmpool --example process [COUNT]`.

#![allow(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::time::{Duration, Instant};

use wasmpool::{Error, Process};

fn main() -> Result<(), Error> {
    // First thing: worker processes are this program, too.
    wasmpool::worker_entry();
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(100);
    let builder = Process::builder(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/squares.wat")).args(3);
    builder.clone().start()?.join()?;
    let mut times: Vec<(Duration, Duration)> = Vec::new();
    for _ in 0..count {
        let begin = Instant::now();
        let process = builder.clone().start()?;
        let started = begin.elapsed();
        process.join()?;
        times.push((started, begin.elapsed()));
    }
    times.sort_by_key(|(_, all)| *all);
    if let (Some(least), Some(median)) = (times.first(), times.get(times.len() / 2)) {
        println!("start {:?}, start to exit {:?} (least {:?})", median.0, median.1, least.1);
    }
    Ok(())
}
