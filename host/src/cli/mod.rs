//! The command line: thin over the rest of the crate.

mod args;
mod call;
mod compiling;
mod doctor;
mod exit;
mod inspect;
mod map;
mod progress;
mod run;
mod units;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use args::{Arguments, Command};
use exit::{Exit, Stop};

/// Freed memory that the allocator keeps.
#[cfg(target_env = "gnu")]
const KEPT: i32 = 4 << 20;

/// Large items pass through buffers of their size. An allocator that gives each back to the kernel gets the next one a
/// page at a time, and a page costs more than what is done with it. This is for the command alone: a program that uses
/// the library decides for itself.
#[cfg(target_env = "gnu")]
fn keep_freed_memory() {
    // SAFETY: these set two numbers, and no other thread was started yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
    }
}

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    #[cfg(target_env = "gnu")]
    keep_freed_memory();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(e) => {
            // Help that was asked for goes to standard output and is no error.
            let asked = matches!(e.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            let _ = e.print();
            return if asked { ExitCode::SUCCESS } else { Exit::Usage.into() };
        }
    };
    let result = match arguments.command {
        Command::Map(map) => map::map(&map),
        Command::Call(call) => call::call(&call),
        Command::Inspect(inspect) => inspect::inspect(&inspect),
        Command::Compile(compile) => inspect::compile(&compile),
        Command::Doctor => doctor::doctor(),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(Stop { exit, message }) => {
            eprintln!("wasmpool: {}", progress::printable_lines(&message));
            exit.into()
        }
    }
}
