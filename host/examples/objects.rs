//! Measures what the program's operations on shared objects take:
//! `cargo run --release -p wasmpool --example objects [COUNT]`.

#![allow(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::time::Instant;

use wasmpool::{Error, Manager};

fn measure(what: &str, count: u32, mut act: impl FnMut(u32) -> Result<(), Error>) -> Result<(), Error> {
    let begin = Instant::now();
    (0..count).try_for_each(&mut act)?;
    println!("{what}: {:?}", begin.elapsed() / count.max(1));
    Ok(())
}

fn main() -> Result<(), Error> {
    // First thing: worker processes are this program, too.
    wasmpool::worker_entry();
    let count: u32 = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(10_000);
    let manager = Manager::new();
    let total = manager.value("total", 0u64)?;
    let line = manager.queue::<u32>("line", 0)?;
    let seen = manager.dict::<u32>("seen")?;
    let found = manager.list::<u32>("found")?;
    let (gate, nested) = (manager.lock("gate")?, manager.rlock("nested")?);
    let begin = Instant::now();
    line.size()?;
    println!("start: {:?}", begin.elapsed());
    measure("value, add", count.saturating_mul(100), |_| total.add(1).map(drop))?;
    measure("queue, put and get", count, |n| {
        line.put(n)?;
        line.get().map(drop)
    })?;
    measure("dict, set and get", count, |n| {
        seen.set("a", n)?;
        seen.get("a").map(drop)
    })?;
    measure("list, append", count, |n| found.append(n))?;
    measure("lock, acquire and release", count, |_| gate.acquire()?.release())?;
    measure("rlock, acquire and release", count, |_| nested.acquire()?.release())
}
