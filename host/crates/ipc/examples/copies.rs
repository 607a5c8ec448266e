//! Measures the four copies of a large item on its way through a lane: into the input ring, out of it, into the output ring
//! and out of that, once with both sides on one processor and once with each on its own.
//!
//! ```text
//! cargo run --release -p wasmpool-ipc --example copies
//! ```
//!
//! Where the second line is far above the first, the processors share no cache: a side that writes to a ring then waits for each
//! line that the other has read. `docs/performance.md` has what follows from that.

#![allow(clippy::print_stdout, reason = "printing is the purpose of this program")]

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use wasmpool_ipc::copy;
use wasmpool_ipc::lane::frame::{OutcomeHeader, OutcomeTag};
use wasmpool_ipc::lane::host::{HostLane, Received};
use wasmpool_ipc::lane::worker::WorkerLane;
use wasmpool_ipc::wake::Bell;

/// Length of an item in bytes, and how many pass.
const LENGTH: usize = (1 << 20) - 1;
const ITEMS: usize = 400;

/// A bell that is never needed: the two sides take turns.
struct Turns;

impl Bell for Turns {
    fn wait(&self) -> io::Result<()> {
        Err(io::Error::other("everything has arrived"))
    }

    fn ring(&self) -> io::Result<()> {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("microseconds for each copy of {LENGTH} bytes, with both sides on the same processor or on two");
    println!(
        "{:>10} {:>14} {:>12} {:>15} {:>13} {:>6}",
        "", "into the input", "out of it", "into the output", "out of it", "sum"
    );
    for (name, other) in [("one", 0), ("two", 1)] {
        let times = measure(other)?.map(|time| time.as_secs_f64() * 1e6 / ITEMS as f64);
        let [a, b, c, d] = times;
        println!("{name:>10} {a:>14.1} {b:>12.1} {c:>15.1} {d:>13.1} {:>6.1}", times.iter().sum::<f64>());
    }
    Ok(())
}

/// Passes the items to a worker's side on this processor and back. Returns the time of all copies of each kind.
fn measure(processor: usize) -> Result<[Duration; 4], Box<dyn std::error::Error>> {
    stay_on(0)?;
    // More than any cache holds, as the items of a program are.
    let items = vec![7u8; ITEMS * LENGTH];
    let (mut lane, fd) = HostLane::create(u64::MAX)?;
    lane.widen();
    let (to_worker, at_worker) = channel();
    let (to_host, at_host) = channel();
    let worker = thread::spawn(move || -> io::Result<[Duration; 2]> {
        stay_on(processor)?;
        serve(WorkerLane::map(&fd)?, &at_worker, &to_host)
    });
    let [mut into, mut out] = [Duration::ZERO; 2];
    for item in items.chunks(LENGTH) {
        let start = Instant::now();
        lane.send(item)?;
        into += start.elapsed();
        to_worker.send(())?;
        at_host.recv()?;
        let start = Instant::now();
        while let Received::Outcome(..) = lane.receive()? {}
        lane.received();
        out += start.elapsed();
    }
    drop(to_worker);
    let [taken, given] = worker.join().map_err(|_| "the worker's side panicked")??;
    Ok([into, taken, given, out])
}

/// Copies each item out of the lane and back into it.
fn serve(mut lane: WorkerLane, turns: &Receiver<()>, done: &Sender<()>) -> io::Result<[Duration; 2]> {
    let mut memory = Vec::with_capacity(LENGTH);
    let [mut taken, mut given] = [Duration::ZERO; 2];
    let header = OutcomeHeader { tag: OutcomeTag::Value, len: LENGTH as u32, elapsed: Duration::ZERO }.to_bytes();
    while turns.recv().is_ok() {
        lane.stage(LENGTH, &Turns)?;
        let start = Instant::now();
        memory.clear();
        copy::append(lane.staged(), &mut memory);
        taken += start.elapsed();
        lane.unstage();
        let start = Instant::now();
        lane.write(&header, &Turns)?;
        lane.write(&memory, &Turns)?;
        given += start.elapsed();
        lane.answered();
        if done.send(()).is_err() {
            break;
        }
    }
    Ok([taken, given])
}

fn stay_on(processor: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(processor)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}
