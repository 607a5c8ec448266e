//! The command line, a thin layer over the rest of the crate.

mod again;
mod ahead;
mod alike;
mod apart;
mod args;
mod blamed;
mod cache;
mod call;
mod checking;
mod compiling;
mod doctor;
#[cfg(all(test, feature = "hosts"))]
mod documented;
mod documents;
mod dry;
mod early;
mod exit;
mod fan;
mod feed;
mod given;
mod granted;
mod help;
mod hints;
#[cfg(feature = "hosts")]
mod hosts;
mod inspect;
mod listed;
mod manifest;
mod manual;
mod map;
mod meant;
mod merge;
mod misplaced;
mod new;
#[cfg(feature = "hosts")]
mod permissions;
mod progress;
mod report;
mod resolve;
mod run;
mod runfile;
mod secrets;
mod several;
mod share;
#[cfg(feature = "hosts")]
mod share_serve;
mod sharing;
mod signals;
mod source;
mod spec;
#[cfg(feature = "hosts")]
mod state_guard;
mod stream;
mod swapped;
mod task_file;
mod terminal;
pub(crate) mod units;
mod unreadable;
mod variables;
mod whole;
mod within;

use std::io::{self, IsTerminal, Write};
use wasmpool_run::{tell, tell_as};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};

use nix::sys::signal::{SigSet, Signal};

use args::{Arguments, Command};
use exit::{Exit, Stop};
use resolve::UsageError;
use source::ArgOrigins;
use spec::RunSpec;
use terminal::{messages_take_colours, takes_colours};
use wasmpool_core::setting::SettingNames;
use wasmpool_core::text::{ForeignText, MessageLines};

use wasmpool_run::error::caught;
use wasmpool_run::stdio::{Level, Stdout};

/// Parses the command line and runs the command.
pub fn main() -> Exit {
    wasmpool_run::allocator::keep_freed_memory();
    wasmpool_run::descriptors::raise_limit();
    block_size_signal();
    signals::hear_of_children();
    early::show_as_asked();
    let ahead = ahead::start();
    let parsed =
        command().try_get_matches().map_err(unreadable::named).map_err(misplaced::named).map_err(new::with_guide);
    let parsed =
        parsed.map_err(blamed::named).map_err(meant::command_named).map_err(swapped::explained).and_then(|matches| {
            one_of_more_and_less(&matches)?;
            let arguments = Arguments::from_arg_matches(&matches).map_err(|e| e.format(&mut command()))?;
            Ok((matches, arguments))
        });
    let (matches, arguments) = match parsed {
        Ok(parsed) => parsed,
        Err(e) => return explain(laid_out(e)),
    };
    SettingNames::of(hints::names(&arguments.command)).adopt();
    if !given::is_quiet(&arguments.command) {
        variables::tell_of_unknown();
    }
    given::tell_what_the_environment_gives(&matches, &arguments.command);
    if matches!(arguments.command, Command::Inspect(_) | Command::Compile(_) | Command::Doctor | Command::Cache(_)) {
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
        Command::New(new) => new::new(&new),
        Command::Cache(cache) => cache::cache(&cache),
        Command::Completions(shell) => manual::completions(&shell),
        Command::Man(man) => manual::man(&man),
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
            let facts = [("exit_code", exit.code().into())];
            tell_as!(Level::Error, &facts, "wasmpool: {}", MessageLines(&message));
            exit
        }
    }
}

/// Returns an error if the command line asks to say more and to say less. Either counts for more than the environment.
fn one_of_more_and_less(matches: &ArgMatches) -> Result<(), clap::Error> {
    let (mut matches, mut said) = (matches, 0);
    while let Some((_, below)) = matches.subcommand() {
        matches = below;
        let is_said = |id: &&str| {
            matches.try_contains_id(id).is_ok() && matches.value_source(id) == Some(ValueSource::CommandLine)
        };
        said += ["verbose", "quiet"].iter().filter(|id| is_said(id)).count();
    }
    match said {
        2 => Err(error_saying(
            ErrorKind::ArgumentConflict,
            "--verbose says more and --quiet less: leave one out".to_owned(),
        )),
        _ => Ok(()),
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

/// Returns an error with this message. The usage of all commands, which would say nothing of what is wrong, is left out.
fn error_saying(kind: ErrorKind, message: String) -> clap::Error {
    clap::Error::raw(kind, message).with_cmd(&command())
}

/// Returns the help that is asked for as `help.rs` lays it out, which is done only where it is shown, or an error as it is.
fn laid_out(e: clap::Error) -> clap::Error {
    let is_help = matches!(e.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
    match is_help {
        true => help::command(help::Reader::Terminal).try_get_matches().err().unwrap_or(e),
        false => e,
    }
}

/// Escapes the arguments and environment values that an error repeats: scripts put file names there, which may come
/// from a stranger. Passwords are left out.
fn plainly(mut error: clap::Error) -> clap::Error {
    let escaped = |text: &String| ForeignText::of(&secrets::without_secret(text)).to_string();
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
    let text = |coloured: bool| match coloured {
        true => e.render().ansi().to_string(),
        false => e.render().to_string(),
    };
    if !asked {
        let text = text(messages_take_colours());
        let text = text.trim_end();
        tell_as!(Level::Error, &[("exit_code", Exit::Usage.code().into())], "{text}");
        return Exit::Usage;
    }
    print(&text(takes_colours(io::stdout().is_terminal()))).unwrap_or_else(|e| {
        tell_as!(Level::Error, &[], "wasmpool: cannot write to standard output: {}", ForeignText::of(&e.to_string()));
        Exit::Usage
    })
}

/// Writes the whole output of a command to standard output.
fn print(text: &(impl AsRef<[u8]> + ?Sized)) -> io::Result<Exit> {
    match Stdout.write_all(text.as_ref()) {
        Ok(()) => Ok(Exit::Success),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::OutputClosed),
        Err(e) => Err(e),
    }
}
