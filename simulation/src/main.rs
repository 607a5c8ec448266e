//! `simulate`: runs seeds, replays one, or measures how the scheduler's time grows.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is the purpose of this program")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use wasmpool_simulation::seeds::{RunFigures, SeededWorld, attempt, run};
use wasmpool_simulation::{Trace, World, growth, hosts, objects, tunnel};

const USAGE: &str = "usage: simulate [objects|hosts|tunnel] seeds COUNT [FIRST] | simulate [objects|hosts|tunnel] seed SEED | simulate growth";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["growth"] => {
            growth::print_table();
            Some(ExitCode::SUCCESS)
        }
        ["objects", rest @ ..] => simulate::<objects::World>(rest),
        ["hosts", rest @ ..] => simulate::<hosts::World>(rest),
        ["tunnel", rest @ ..] => simulate::<tunnel::World>(rest),
        all => simulate::<World>(all),
    };
    done.unwrap_or_else(|| {
        eprintln!("{USAGE}");
        ExitCode::from(2)
    })
}

/// Does what is wanted with seeds of one simulation. `None` if it is not known what that is.
fn simulate<W: SeededWorld>(args: &[&str]) -> Option<ExitCode> {
    let (what, numbers) = args.split_first()?;
    let numbers: Vec<u64> = numbers.iter().map(|number| number.parse().ok()).collect::<Option<_>>()?;
    match (*what, numbers.as_slice()) {
        ("seeds", &[count]) => Some(play_all::<W>(0, count)),
        ("seeds", &[count, first]) => Some(play_all::<W>(first, count)),
        ("seed", &[seed]) => Some(replay::<W>(seed)),
        _ => None,
    }
}

/// Runs `count` seeds on all processors, and prints the results.
fn play_all<W: SeededWorld>(first: u64, count: u64) -> ExitCode {
    // A panic is a violation like any other, and reported as one.
    std::panic::set_hook(Box::new(|_| {}));
    let start = Instant::now();
    let next = AtomicU64::new(first);
    let total = Mutex::new(W::Figures::default());
    let failed: Mutex<Option<u64>> = Mutex::new(None);
    let work = || {
        let mut own = W::Figures::default();
        while failed.lock().is_ok_and(|failed| failed.is_none()) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                break;
            }
            match run::<W>(seed) {
                Ok(figures) => own.add(&figures),
                Err(failure) => {
                    println!("{failure}");
                    if let Ok(mut failed) = failed.lock() {
                        *failed = Some(seed);
                    }
                }
            }
        }
        if let Ok(mut total) = total.lock() {
            total.add(&own);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, |n| n.get()) {
            scope.spawn(work);
        }
    });
    let total = total.into_inner().unwrap_or_default();
    println!("{total}");
    println!("hash {:016x} over all seeds, in {:.1?}", total.hash(), start.elapsed());
    match failed.into_inner() {
        Ok(None) => {
            println!("{count} schedules, 0 violations");
            ExitCode::SUCCESS
        }
        _ => ExitCode::FAILURE,
    }
}

/// Runs a seed, printing all events, and once more silently: both runs must be the same.
fn replay<W: SeededWorld>(seed: u64) -> ExitCode {
    let world = W::drawn(seed);
    println!("{world:#?}");
    let printed = world.play(Trace::printing());
    let again = attempt(&world);
    match (&printed, &again) {
        (Ok(figures), Ok(_)) => println!("{figures}\nhash {:016x}", figures.hash()),
        (Err(violation), _) | (_, Err(violation)) => println!("{violation}"),
    }
    if printed != again {
        println!("the second run was another: the seed does not replay");
    }
    if printed.is_ok() && printed == again { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
