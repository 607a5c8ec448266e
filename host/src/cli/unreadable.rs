//! Names the argument or the variable that is not UTF-8 where it has to be. The parser only says that there is one.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::error::ErrorKind;

use super::{command, error_saying};
use wasmpool_core::text::{ForeignText, QuotedName};

/// The advice for somebody who means a file whose name is not UTF-8.
const WAY_OUT: &str = "write it in UTF-8; a file or directory whose name is not is taken where nothing but its path is wanted, \
                       and else can be named by a link to it";

/// Returns an error that names what is not UTF-8, in place of one that does not.
pub fn named(error: clap::Error) -> clap::Error {
    if error.kind() != ErrorKind::InvalidUtf8 {
        return error;
    }
    let arguments: Vec<OsString> = env::args_os().collect();
    let found = of_arguments(&arguments).or_else(|| of_environment(&arguments));
    match found {
        Some(what) => error_saying(ErrorKind::InvalidUtf8, format!("{what} is not UTF-8: {WAY_OUT}")),
        None => error,
    }
}

/// Returns in words the first argument that cannot be read even if all others can.
fn of_arguments(arguments: &[OsString]) -> Option<String> {
    let readable: Vec<OsString> = arguments.iter().map(|one| one.to_string_lossy().into_owned().into()).collect();
    let at = (1..arguments.len()).find(|&at| {
        let mut tried = readable.clone();
        tried[at].clone_from(&arguments[at]);
        let parsed = command().try_get_matches_from(tried);
        arguments[at] != readable[at] && parsed.is_err_and(|e| e.kind() == ErrorKind::InvalidUtf8)
    })?;
    let argument = QuotedName::of(&arguments[at]);
    Some(match arguments.get(at - 1).filter(|before| takes_next(before) && at > 1) {
        Some(before) => format!("the argument {argument} behind {}", ForeignText::of(before)),
        None => format!("the argument {argument}"),
    })
}

/// Returns true if an argument may be an option whose value is the next argument.
fn takes_next(argument: &OsStr) -> bool {
    let text = argument.to_string_lossy();
    text.len() > 1 && text.starts_with('-') && text != "--" && !text.contains('=')
}

/// Returns in words the first variable of the environment whose option cannot be read from it.
fn of_environment(arguments: &[OsString]) -> Option<String> {
    let command = command();
    let subcommand = arguments.get(1).and_then(|name| command.find_subcommand(name))?;
    let path = clap::value_parser!(PathBuf).type_id();
    let mut variables = subcommand.get_arguments().filter(|arg| arg.get_value_parser().type_id() != path);
    variables.find_map(|arg| {
        // Its value may be a secret, so only its name is shown.
        let name = arg.get_env().filter(|name| env::var_os(name).is_some_and(|value| value.to_str().is_none()))?;
        Some(format!("{} of the environment", ForeignText::of(name)))
    })
}
