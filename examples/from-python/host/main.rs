//! Programs that documents of `multiprocessing` show, for those in which the parent does more than start processes:
//!
//! ```sh
//! cargo run --release -p wasmpool --example from-python 4     # the number of the program
//! ```
//!
//! What the processes do is in the folder `guest`, which `make rust-guests` builds.

#![allow(clippy::print_stdout, reason = "what it prints is what it is for")]

mod consumer;
mod names;
mod processes;
mod results;
mod states;

use std::path::PathBuf;
use std::thread;

use wasmpool::{Error, Process, ProcessBuilder, Queue};

fn main() -> Result<(), Error> {
    // First thing: worker processes are this program, too.
    wasmpool::worker_entry();
    match std::env::args().nth(1).as_deref() {
        Some("4") => processes::run(),
        Some("7") => names::run(),
        Some("13") => consumer::run(),
        Some("18") => states::run(),
        Some("19") => results::run(),
        _ => {
            println!("which program? 4, 7, 13, 18 or 19");
            Ok(())
        }
    }
}

/// Returns the guest with the functions of all programs.
fn guest() -> PathBuf {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../guest/target/wasm32-wasip2/release");
    let folder = std::env::var_os("GUESTS").map_or_else(|| built.into(), PathBuf::from);
    folder.join("from_python.wasm")
}

/// Returns a process that is to call this function.
fn process(function: &str) -> ProcessBuilder {
    Process::builder(guest()).function(function)
}

/// Runs `parent`, and meanwhile prints what its processes say. They have no standard output of their own.
fn printing<R: Send>(said: &Queue<String>, parent: impl FnOnce() -> Result<R, Error> + Send) -> Result<R, Error> {
    thread::scope(|scope| {
        let parent = scope.spawn(|| {
            let result = parent();
            said.shutdown(false).and(result)
        });
        for line in said {
            println!("{}", line?);
        }
        parent.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
