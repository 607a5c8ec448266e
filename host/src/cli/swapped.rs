//! Files and names that somebody gave in each other's place.

use std::fs::File;
use std::io::Read;
use std::num::{IntErrorKind, ParseIntError};
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::exit::Stop;
use super::{command, error_saying};
use wasmpool_core::text::{ForeignText, ShellWord};
use wasmpool_run::error::{Error, TaskError};

/// Adds to the error of a run which of its inputs is the task, if the task is none and one of them is.
pub fn with_task_among(stop: Stop, error: &Error, command: &str, task: &Path, inputs: &[PathBuf]) -> Stop {
    let is_none = matches!(error, Error::Task(TaskError::Refused { .. } | TaskError::Unreadable { .. }));
    let Some(meant) = inputs.iter().find(|input| is_none && is_wasm(input)) else { return stop };
    let (shown, line) = (ForeignText::of(meant), [ShellWord::of(meant), ShellWord::of(task)]);
    let message = format!(
        "{}\n  {shown}, named as input, is WebAssembly; the task is named first: wasmpool {command} {} {}",
        stop.message, line[0], line[1]
    );
    Stop { message, ..stop }
}

/// Adds to the error of a call that its function is a file, and so the task, if the task cannot be read.
pub fn with_task_behind(stop: Stop, error: &Error, task: &Path, function: &str) -> Stop {
    let is_none = matches!(error, Error::Task(TaskError::Refused { .. } | TaskError::Unreadable { .. }));
    if !is_none || !is_wasm(Path::new(function)) {
        return stop;
    }
    let (meant, name) = (ShellWord::of(function), ShellWord::of(task));
    Stop {
        message: format!("{}\n  the task is named before its function: wasmpool call {meant} {name}", stop.message),
        ..stop
    }
}

/// Returns true for a file that is probably a task, by its first bytes or its name.
fn is_wasm(path: &Path) -> bool {
    let is_named = path.extension().is_some_and(|ending| ending == "wasm" || ending == "wat");
    // What is no plain file could wait for whoever writes it.
    if !path.is_file() {
        return false;
    }
    let mut start = [0; 4];
    is_named || File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == *b"\0asm"
}

/// Adds what to do to an error of the command line about a file where a command stands, and about a function that is not
/// named; and says of what is no number what is wanted.
pub fn explained(mut error: clap::Error) -> clap::Error {
    if let Some(wanted) = number(&error) {
        let said = |kind| error.get(kind).map(|value| ForeignText::of(&value.to_string()).to_string());
        let (value, option) = (said(ContextKind::InvalidValue), said(ContextKind::InvalidArg));
        let (value, option) = (value.unwrap_or_default(), option.unwrap_or_default());
        let message = format!("invalid value '{value}' for '{option}': {wanted}");
        return error_saying(ErrorKind::ValueValidation, message);
    }
    if let (ErrorKind::UnknownArgument, Some(ContextValue::String(option)), None) =
        (error.kind(), error.get(ContextKind::InvalidArg), error.get(ContextKind::SuggestedArg))
    {
        // The parser proposes `-- --option`, which makes an input of it.
        if let Some(tip) = elsewhere(option) {
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
        }
        return error;
    }
    let tip = match (error.kind(), error.get(ContextKind::InvalidSubcommand), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::InvalidSubcommand, Some(ContextValue::String(given)), _) if is_wasm(Path::new(given)) => {
            let file = ShellWord::of(given);
            format!(
                "a command stands before the task: wasmpool map {file} runs a function for each line of the input, \
                 wasmpool exec {file} a command, and wasmpool inspect {file} shows which there are"
            )
        }
        (ErrorKind::MissingRequiredArgument, _, Some(ContextValue::Strings(missing)))
            if missing.len() == 1 && missing[0] == "<FUNCTION>" =>
        {
            "`wasmpool inspect TASK` lists the functions of a task".to_owned()
        }
        _ => return error,
    };
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    error
}

/// Returns what a number has to be, if an error is about one that is none, or is out of its range.
fn number(error: &clap::Error) -> Option<String> {
    let source = std::error::Error::source(error)?;
    if let Some(why) = source.downcast_ref::<ParseIntError>() {
        return Some(match why.kind() {
            IntErrorKind::PosOverflow => "it is too large".to_owned(),
            _ => "it has to be a whole number, such as 8".to_owned(),
        });
    }
    // The parser writes a range as a program does.
    let source = source.to_string();
    let (_, range) = source.split_once(" is not in ")?;
    let (from, to) = range.split_once("..")?;
    Some(match to.strip_prefix('=') {
        Some(to) => format!("it has to be a number from {from} to {to}"),
        None => format!("it has to be a number from {from}"),
    })
}

/// Returns which commands have an option that another has not, or where those of this one are listed.
fn elsewhere(option: &str) -> Option<String> {
    let all = command();
    let name = option.split('=').next().unwrap_or(option);
    let long = name.strip_prefix("--").filter(|long| !long.is_empty())?;
    let has = |command: &&clap::Command| command.get_arguments().any(|arg| arg.get_long() == Some(long));
    let those: Vec<String> =
        all.get_subcommands().filter(has).map(|command| format!("`wasmpool {}`", command.get_name())).collect();
    if !those.is_empty() {
        return Some(format!("{name} is an option of {}", those.join(", ")));
    }
    let this = std::env::args_os().nth(1).and_then(|name| all.find_subcommand(name)).map(clap::Command::get_name);
    Some(this.map_or_else(
        || "`wasmpool --help` lists the commands, which have options of their own".to_owned(),
        |this| format!("`wasmpool {this} --help` lists the options that there are"),
    ))
}
