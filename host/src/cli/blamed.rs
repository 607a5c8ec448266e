//! Names the variable of the environment that has a wrong value, where the parser names the option that it stands for.

use std::env;
use std::ffi::OsString;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::command;

/// Returns an error that names the variable, if the value that it is about came from the environment.
pub fn named(mut error: clap::Error) -> clap::Error {
    let arguments: Vec<OsString> = env::args_os().collect();
    if let Some(variable) = variable(&error, &arguments) {
        let said = format!("{variable} of the environment");
        error.insert(ContextKind::InvalidArg, ContextValue::String(said));
    }
    error
}

fn variable(error: &clap::Error, arguments: &[OsString]) -> Option<String> {
    if !matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation) {
        return None;
    }
    let ContextValue::String(option) = error.get(ContextKind::InvalidArg)? else { return None };
    // The names of the command, and of the one below it.
    let mut names = arguments.iter().skip(1).map(|name| name.to_string_lossy().into_owned());
    let (first, second) = (names.next()?, names.next().unwrap_or_default());
    let mut all = command();
    // What an argument is called is known once its command is built.
    all.build();
    let above = all.find_subcommand(&first)?;
    let below = above.find_subcommand(&second);
    let arg = below.unwrap_or(above).get_arguments().find(|arg| arg.to_string() == *option)?;
    let (id, name) = (arg.get_id().clone(), arg.get_env()?.to_string_lossy().into_owned());
    let without = |command: clap::Command| command.mut_arg(&id, |arg| arg.env(Resettable::Reset));
    let is_below = below.is_some();
    let parsed = command()
        .mut_subcommand(&first, |command| match is_below {
            true => command.mut_subcommand(&second, without),
            false => without(command),
        })
        .try_get_matches_from(arguments);
    // The command line counts for more than the environment: where both are wrong, it is the one to blame.
    let is_same = |other: &clap::Error| other.get(ContextKind::InvalidArg) == error.get(ContextKind::InvalidArg);
    (!parsed.err().is_some_and(|other| is_same(&other))).then_some(name)
}
