//! The limit against which the benchmark measures wasmpool: the same function over the same items with the same
//! isolation and the same engine, but in a loop of one process. No other process, no JSON, no order to keep, nothing
//! written.
//!
//! Prints the figures of the loop alone, as JSON. Loading the task and reading the items are not counted.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is the purpose of this program")]

mod items;
mod task;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use nix::time::{ClockId, clock_gettime};
use wasmtime::Result;

use items::Item;
use task::{Artifact, Task};

/// Runs a function over items in this process, and says how fast that went
#[derive(Debug, Parser)]
struct Arguments {
    /// A component
    task: PathBuf,
    /// One of its functions: `s64` to `s64`, or bytes to bytes
    function: String,
    /// The items: integers on a line each, or with --bytes whatever ends with a NUL
    input: PathBuf,
    /// Items are bytes
    #[arg(long)]
    bytes: bool,
    /// How often an instance starts from pristine memory
    #[arg(long, value_enum, default_value_t = Isolate::Item)]
    isolate: Isolate,
    /// Threads that share the items; each has an engine of its own
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Where the compiled task is kept; trusted if it is there
    #[arg(long)]
    artifact: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Isolate {
    Item,
    Worker,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("wasmpool-limit: {e:?}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let artifact = Artifact::get(&arguments.task, arguments.artifact.as_deref())?;
    let items = items::read(&arguments.input, arguments.bytes)?;
    // Each thread gets consecutive items, the same number for each.
    let shares: Vec<_> = items.chunks(items.len().div_ceil(arguments.threads.max(1)).max(1)).collect();
    // All threads are ready before the clock starts.
    let ready = Barrier::new(shares.len());
    let spans = std::thread::scope(|scope| {
        let threads: Vec<_> = shares
            .iter()
            .map(|share| {
                let (artifact, ready) = (&artifact, &ready);
                scope.spawn(move || one_thread(arguments, artifact, share, ready))
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(wasmtime::Error::msg("a thread panicked"))))
            .collect::<Result<Vec<_>>>()
    })?;
    let start = spans.iter().map(|span| span.start).min();
    let end = spans.iter().map(|span| span.end).max();
    let seconds = start.zip(end).map_or(0.0, |(start, end)| (end - start).as_secs_f64());
    let cpu = spans.iter().map(|span| span.cpu).sum::<Duration>().as_secs_f64();
    println!(r#"{{"items":{},"seconds":{seconds},"cpu_seconds":{cpu}}}"#, items.len());
    Ok(())
}

/// The time in which a thread ran its items, and the processor time that took.
struct Span {
    start: Instant,
    end: Instant,
    cpu: Duration,
}

/// Runs a share of the items.
fn one_thread(arguments: &Arguments, artifact: &Artifact, items: &[Item], ready: &Barrier) -> Result<Span> {
    let loaded = Task::load(artifact, &arguments.function).and_then(|task| {
        // The first instance costs more than the others.
        let live = task.instantiate(arguments.bytes)?;
        Ok((task, live))
    });
    // A thread that fails must not keep the others waiting.
    ready.wait();
    let (task, mut live) = loaded?;
    let (start, before) = (Instant::now(), processor_time()?);
    for item in items {
        if arguments.isolate == Isolate::Item {
            drop(live);
            live = task.instantiate(arguments.bytes)?;
        }
        live.call(*item)?;
    }
    Ok(Span { start, end: Instant::now(), cpu: processor_time()?.saturating_sub(before) })
}

/// Returns the processor time of this thread.
fn processor_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}
