//! Passes bytes through `wasmpool::Pool`, like a program that embeds it.
//!
//! Prints the figures of the call alone, as JSON: the pool is built before, as the limit's task is loaded before.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is the purpose of this program")]

use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use wasmpool::{Bytes, Isolate, Pool, Process};

/// Bytes that are shared, not copied.
type Shared = Bytes<bytes::Bytes>;
/// Size from which on the pool does not copy bytes that can be handed over.
const HANDED_OVER: usize = 64 << 10;

fn main() -> ExitCode {
    wasmpool::worker_entry();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match &arguments[..] {
        [what, task, count] if what == "process" => {
            count.parse().map_err(|e| format!("{count:?} processes: {e}")).and_then(|count| processes(task, count))
        }
        [task, function, input, workers] => workers
            .parse()
            .map_err(|e| format!("{workers:?} workers: {e}"))
            .and_then(|workers| run(task, function, input, workers)),
        _ => {
            eprintln!("usage: wasmpool-bench-pool TASK FUNCTION INPUT WORKERS, where items end with a NUL each");
            eprintln!("   or: wasmpool-bench-pool process TASK COUNT");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("wasmpool-bench-pool: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Starts processes one after the other, each for one call, and waits for the end of each.
fn processes(task: &str, count: usize) -> Result<(), String> {
    let builder = Process::builder(Path::new(task)).args(3);
    let one = || match builder.clone().start().and_then(|process| process.join()).map_err(said)?.exitcode() {
        Some(0) => Ok(()),
        code => Err(format!("a process ended with {code:?}")),
    };
    // Compiles the task.
    one()?;
    let start = Instant::now();
    (0..count).try_for_each(|_| one())?;
    println!(r#"{{"items":{count},"seconds":{}}}"#, start.elapsed().as_secs_f64());
    Ok(())
}

fn run(task: &str, function: &str, input: &str, workers: usize) -> Result<(), String> {
    let mut all = bytes::Bytes::from(std::fs::read(input).map_err(said)?);
    if all.last() != Some(&0) {
        return Err("the last item does not end with a NUL".to_owned());
    }
    all.truncate(all.len() - 1);
    let items = split(&all);
    let builder = Pool::builder(Path::new(task)).function(function).workers(workers).isolate(Isolate::Worker);
    let pool = builder.build().map_err(said)?;
    // Starts and loads the workers, and checks that what comes back is what was sent.
    let first = items.get(..items.len().min(16)).unwrap_or_default();
    let back: Vec<Shared> = pool.map(first.iter().cloned().map(Bytes)).map_err(said)?;
    if back.iter().zip(first).any(|(back, item)| **back != *item) {
        return Err("an item came back as another".to_owned());
    }
    let (start, before) = (Instant::now(), processor_time(UsageWho::RUSAGE_SELF)?);
    // Large items can be handed over; the pool copies small ones, so a slice suffices.
    let count = match items.iter().all(|item| item.len() < HANDED_OVER) {
        true => echo(&pool, &items, |item| Bytes(&item[..])),
        false => echo(&pool, &items, |item| Bytes(item.clone())),
    }?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu = processor_time(UsageWho::RUSAGE_SELF)?.saturating_sub(before).as_secs_f64();
    // The processor time of workers is known once they have ended: it includes their starts and the first items.
    drop(pool);
    let cpu = cpu + processor_time(UsageWho::RUSAGE_CHILDREN)?.as_secs_f64();
    println!(r#"{{"items":{count},"seconds":{seconds},"cpu_seconds":{cpu}}}"#);
    Ok(())
}

/// Passes all items through, and returns how many came back.
fn echo<'a, T: AsRef<[u8]>>(
    pool: &Pool,
    items: &'a [bytes::Bytes],
    argument: impl Fn(&'a bytes::Bytes) -> Bytes<T>,
) -> Result<usize, String> {
    let mut count = 0;
    for (item, result) in items.iter().zip(pool.imap::<_, Shared>(items.iter().map(argument))) {
        if result.map_err(said)?.len() != item.len() {
            return Err(format!("item {count} came back as another"));
        }
        count += 1;
    }
    Ok(count)
}

/// Returns the items, which are separated by NULs.
fn split(all: &bytes::Bytes) -> Vec<bytes::Bytes> {
    let ends = memchr::memchr_iter(0, all).chain([all.len()]);
    ends.scan(0, |start, end| Some(all.slice(std::mem::replace(start, end + 1)..end))).collect()
}

fn processor_time(whose: UsageWho) -> Result<Duration, String> {
    let used = getrusage(whose).map_err(said)?;
    let time = |t: nix::sys::time::TimeVal| Duration::new(t.tv_sec() as u64, t.tv_usec() as u32 * 1000);
    Ok(time(used.user_time()) + time(used.system_time()))
}

fn said(e: impl Display) -> String {
    e.to_string()
}
