//! The command line: thin over the rest of the crate.

mod args;
mod call;
mod compiling;
mod doctor;
mod exec;
mod exit;
mod inspect;
mod map;
mod plugin;
mod progress;
mod run;
mod several;
mod stream;
pub(crate) mod units;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::text::{Foreign, Lines};
use args::{Arguments, Command};
use exit::{Exit, Stop};

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    crate::keep_freed_memory();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(e) => {
            // Help that was asked for goes to standard output and is no error.
            let asked = matches!(e.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            let _ = plainly(e).print();
            return if asked { ExitCode::SUCCESS } else { Exit::Usage.into() };
        }
    };
    let result = match arguments.command {
        Command::Map(mut map) => plugin::settle_map(&mut map).map_err(Stop::from).and_then(|()| map::map(&map)),
        Command::Exec(mut exec) => plugin::settle_exec(&mut exec).map_err(Stop::from).and_then(|()| exec::exec(&exec)),
        Command::Call(mut call) => plugin::settle_call(&mut call).map_err(Stop::from).and_then(|()| call::call(&call)),
        Command::Inspect(inspect) => inspect::inspect(&inspect),
        Command::Compile(compile) => inspect::compile(&compile),
        Command::Doctor => doctor::doctor(),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(Stop { exit, message }) => {
            eprintln!("wasmpool: {}", Lines(&message));
            exit.into()
        }
    }
}

/// The same error, with the arguments as they can be shown: names of files may be a stranger's, and clap repeats them as
/// they are.
fn plainly(error: clap::Error) -> clap::Error {
    let shown: Vec<String> = std::env::args_os().map(|argument| Foreign::of(&argument).to_string()).collect();
    let as_said = std::env::args_os().zip(&shown).all(|(said, shown)| said == **shown);
    match Arguments::try_parse_from(shown) {
        Err(plain) if !as_said => plain,
        _ => error,
    }
}
