//! `simulate`: runs seeds, replays one, or measures how the scheduler's time grows.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is the purpose of this program")]

use std::fmt::Display;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use wasmpool_simulation::{Figures, Simulation, Trace, Violation, World, growth, hosts, objects};

const USAGE: &str =
    "usage: simulate [objects|hosts] seeds COUNT [FIRST] | simulate [objects|hosts] seed SEED | simulate growth";

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let of_objects = args.first().is_some_and(|arg| arg == "objects");
    let of_hosts = args.first().is_some_and(|arg| arg == "hosts");
    if of_objects || of_hosts {
        args.remove(0);
    }
    let numbers: Option<Vec<u64>> = args.iter().skip(1).map(|arg| arg.parse().ok()).collect();
    match (args.first().map(String::as_str), numbers.as_deref()) {
        (Some("seeds"), Some(&[count, ref first @ ..])) if first.len() < 2 => {
            let first = first.first().copied().unwrap_or(0);
            match (of_objects, of_hosts) {
                (true, _) => seeds(first, count, objects::run, objects::Figures::add, |total| total.hash),
                (_, true) => seeds(first, count, hosts::run, hosts::Figures::add, |total| total.hash),
                _ => seeds(first, count, wasmpool_simulation::run, Figures::add, |total| total.hash),
            }
        }
        (Some("seed"), Some(&[seed])) if of_objects => {
            let world = objects::World::drawn(seed);
            replay_other(&world, objects::show, objects::attempt, |figures| figures.hash)
        }
        (Some("seed"), Some(&[seed])) if of_hosts => {
            let world = hosts::World::drawn(seed);
            replay_other(&world, hosts::show, hosts::attempt, |figures| figures.hash)
        }
        (Some("seed"), Some(&[seed])) => replay(seed),
        (Some("growth"), Some([])) if !of_objects && !of_hosts => {
            growth::print_table();
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Runs `count` seeds on all processors, and prints the results.
fn seeds<F: Default + Display + Send, E: Display>(
    first: u64,
    count: u64,
    run: fn(u64) -> Result<F, E>,
    add: fn(&mut F, &F),
    hash: fn(&F) -> u64,
) -> ExitCode {
    // A panic is a violation like any other, and reported as one.
    std::panic::set_hook(Box::new(|_| {}));
    let start = Instant::now();
    let next = AtomicU64::new(first);
    let total = Mutex::new(F::default());
    let failed: Mutex<Option<u64>> = Mutex::new(None);
    let work = || {
        let mut own = F::default();
        while failed.lock().is_ok_and(|failed| failed.is_none()) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                break;
            }
            match run(seed) {
                Ok(figures) => add(&mut own, &figures),
                Err(failure) => {
                    println!("{failure}");
                    if let Ok(mut failed) = failed.lock() {
                        *failed = Some(seed);
                    }
                }
            }
        }
        if let Ok(mut total) = total.lock() {
            add(&mut total, &own);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, |n| n.get()) {
            scope.spawn(work);
        }
    });
    let total = total.into_inner().unwrap_or_default();
    println!("{total}");
    println!("hash {:016x} over all seeds, in {:.1?}", hash(&total), start.elapsed());
    match failed.into_inner() {
        Ok(None) => {
            println!("{count} schedules, 0 violations");
            ExitCode::SUCCESS
        }
        _ => ExitCode::FAILURE,
    }
}

/// Runs a seed, printing all events, and once more silently: both runs must be the same.
fn replay(seed: u64) -> ExitCode {
    let world = World::drawn(seed);
    println!("{world:#?}");
    let printed = Simulation::new(world.clone(), Trace::printing()).run();
    let again = wasmpool_simulation::attempt(&world);
    match (&printed, &again) {
        (Ok(figures), Ok(_)) => println!("{figures}\nhash {:016x}", figures.hash),
        (Err(violation), _) | (_, Err(violation)) => println!("{violation}"),
    }
    if printed != again {
        println!("the second run was another: the seed does not replay");
    }
    if printed.is_ok() && printed == again { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Does what [`replay`] does, for another simulation.
fn replay_other<W: std::fmt::Debug, F: Display + PartialEq>(
    world: &W,
    show: fn(&W) -> Result<F, Violation>,
    attempt: fn(&W) -> Result<F, Violation>,
    hash: fn(&F) -> u64,
) -> ExitCode {
    println!("{world:#?}");
    let printed = show(world);
    let again = attempt(world);
    match (&printed, &again) {
        (Ok(figures), Ok(_)) => println!("{figures}\nhash {:016x}", hash(figures)),
        (Err(violation), _) | (_, Err(violation)) => println!("{violation}"),
    }
    if printed != again {
        println!("the second run was another: the seed does not replay");
    }
    if printed.is_ok() && printed == again { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
