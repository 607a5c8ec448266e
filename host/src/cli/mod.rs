//! The command line, a thin layer over the rest of the crate.

mod ahead;
mod alike;
mod apart;
mod args;
mod call;
mod compiling;
mod doctor;
mod exit;
mod fan;
mod feed;
mod given;
mod hints;
#[cfg(feature = "hosts")]
mod hosts;
mod inspect;
mod manifest;
mod map;
mod meant;
mod merge;
mod misplaced;
#[cfg(feature = "hosts")]
mod permissions;
mod progress;
mod resolve;
mod run;
mod runfile;
mod several;
mod share;
#[cfg(feature = "hosts")]
mod share_serve;
mod sharing;
mod signals;
mod source;
mod spec;
mod stream;
pub(crate) mod units;
mod unreadable;
mod within;

use std::io::{self, IsTerminal, Write};
use wasmpool_run::tell;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches};

use nix::sys::signal::{SigSet, Signal};

use args::{Arguments, Command};
use exit::{Exit, Stop};
use resolve::UsageError;
use source::ArgOrigins;
use spec::RunSpec;
use wasmpool_core::setting::SettingNames;
use wasmpool_core::text::{ForeignText, MessageLines};

use wasmpool_run::error::caught;
use wasmpool_run::stdio::{Stdout, tell_text};

/// Parses the command line and runs the command.
pub fn main() -> Exit {
    wasmpool_run::allocator::keep_freed_memory();
    wasmpool_run::descriptors::raise_limit();
    block_size_signal();
    signals::hear_of_children();
    let ahead = ahead::start();
    let parsed = command().try_get_matches().map_err(unreadable::named).map_err(misplaced::named).and_then(|matches| {
        let arguments = Arguments::from_arg_matches(&matches).map_err(|e| e.format(&mut command()))?;
        Ok((matches, arguments))
    });
    let (matches, arguments) = match parsed {
        Ok(parsed) => parsed,
        Err(e) => return explain(e),
    };
    let name = if matches!(arguments.command, Command::Run(_)) { hints::key } else { hints::option };
    SettingNames::of(name).adopt();
    given::tell_what_the_environment_gives(&matches, &arguments.command);
    if matches!(arguments.command, Command::Inspect(_) | Command::Compile(_) | Command::Doctor) {
        signals::leave_at_once();
    }
    let origins = ArgOrigins::new(matches.subcommand().map_or(&matches, |(_, matches)| matches));
    let result = caught("the command", || match arguments.command {
        Command::Map(map) => print_notes(resolve::map(&map, origins)).and_then(|spec| map::map(&spec)),
        Command::Exec(exec) => print_notes(resolve::exec(&exec, origins)).and_then(|spec| map::map(&spec)),
        Command::Call(call) => print_notes(resolve::call(&call, origins)).and_then(|spec| call::call(&spec, ahead)),
        Command::Run(run) => runfile::run_file(&run, origins),
        Command::Inspect(inspect) => inspect::inspect(&inspect),
        Command::Compile(compile) => inspect::compile(&compile),
        Command::Doctor => doctor::doctor(),
        #[cfg(feature = "hosts")]
        Command::Serve(serve) => hosts::serve(&serve),
        #[cfg(feature = "hosts")]
        Command::Hosts(hosts) => hosts::hosts(&hosts),
        #[cfg(feature = "hosts")]
        Command::Share(args::ShareCommand::Serve(serve)) => share_serve::serve(&serve),
    })
    .unwrap_or_else(|e| Err(Stop::from(e)));
    match result {
        Ok(exit) => exit,
        Err(Stop { exit, message }) => {
            tell!("wasmpool: {}", MessageLines(&message));
            exit
        }
    }
}

/// Prints the notes on how a run's settings came about.
fn print_notes<I>(resolved: Result<RunSpec<I>, UsageError>) -> Result<RunSpec<I>, Stop> {
    let spec = resolved?;
    spec.notes.iter().for_each(|note| tell!("wasmpool: {}", MessageLines(note)));
    Ok(spec)
}

/// Returns the parser of the command line. Its help does not show the values of environment variables, which may be
/// secret or come from a stranger.
fn command() -> clap::Command {
    let hidden = |command: clap::Command| command.mut_args(|arg| arg.hide_env_values(true));
    Arguments::command().mut_subcommands(|command| hidden(command).mut_subcommands(hidden))
}

/// Escapes the arguments and environment values that an error repeats: scripts put file names there, which may come
/// from a stranger.
fn plainly(mut error: clap::Error) -> clap::Error {
    let escaped = |text: &String| ForeignText::of(text).to_string();
    let mut as_said = true;
    let mut shown = Vec::new();
    for (kind, value) in error.context() {
        let plain = match value {
            ContextValue::String(text) => ContextValue::String(escaped(text)),
            ContextValue::Strings(texts) => ContextValue::Strings(texts.iter().map(escaped).collect()),
            _ => continue,
        };
        as_said &= plain == *value;
        shown.push((kind, plain));
    }
    // Suggestions repeat them too, between codes for colours.
    if let (false, Some(ContextValue::StyledStrs(texts))) = (as_said, error.get(ContextKind::Suggested)) {
        let plain = texts.iter().map(|text| escaped(&text.to_string()).into());
        shown.push((ContextKind::Suggested, ContextValue::StyledStrs(plain.collect())));
    }
    for (kind, value) in shown {
        error.insert(kind, value);
    }
    error
}

/// Blocks SIGXFSZ, so that a limit on the size of files is reported by the write that meets it instead of ending the
/// process. It is blocked before there are other threads, so in all of them; children unblock it.
fn block_size_signal() {
    let mut set = SigSet::empty();
    set.add(Signal::SIGXFSZ);
    // If this fails, such a limit ends the process by the signal.
    let _ = set.thread_block();
}

/// Prints help or the version to standard output, or an error of the command line to standard error.
fn explain(e: clap::Error) -> Exit {
    let asked = matches!(e.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let e = plainly(e);
    let text = |terminal: bool| match terminal && takes_colours() {
        true => e.render().ansi().to_string(),
        false => e.render().to_string(),
    };
    if !asked {
        let text = text(io::stderr().is_terminal());
        tell_text(&text);
        return Exit::Usage;
    }
    print(&text(io::stdout().is_terminal())).unwrap_or_else(|e| {
        tell!("wasmpool: cannot write to standard output: {}", ForeignText::of(&e.to_string()));
        Exit::Usage
    })
}

/// Returns true if colours may be sent to the terminal.
fn takes_colours() -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    set("NO_COLOR").is_none() && set("TERM").is_some_and(|terminal| terminal != "dumb")
}

/// Writes the whole output of a command to standard output.
fn print(text: &str) -> io::Result<Exit> {
    match Stdout.write_all(text.as_bytes()) {
        Ok(()) => Ok(Exit::Success),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::OutputClosed),
        Err(e) => Err(e),
    }
}
