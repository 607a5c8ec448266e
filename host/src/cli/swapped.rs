//! Files and names that somebody gave in each other's place.

use std::ffi::OsString;
use std::io;
use std::num::{IntErrorKind, ParseIntError};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::args::{CompletedShell, InputFormat};
use super::exit::Stop;
use super::spec::{RunSpec, WorkSpec};
use super::task_file::{is_named_as_task, is_task, is_task_file};
use super::{command, error_saying, meant, units};
use wasmpool_core::text::{ForeignText, ShellWord};
use wasmpool_run::error::{Error, TaskError};
use wasmpool_run::input::InputError;

/// Adds to the error of a run which of its inputs is the task, if the task is none and one of them is.
pub fn with_task_among(stop: Stop, error: &Error, command: &str, task: &Path, inputs: &[PathBuf]) -> Stop {
    let is_none = matches!(error, Error::Task(TaskError::Refused { .. } | TaskError::Unreadable { .. }));
    let Some(meant) = inputs.iter().find(|input| is_none && is_task_file(input)) else { return stop };
    let (shown, line) = (ForeignText::of(meant), [ShellWord::of(meant), ShellWord::of(task)]);
    stop.with(Some(format!(
        "{shown}, named as input, is WebAssembly; the task is named first: wasmpool {command} {} {}",
        line[0], line[1]
    )))
}

/// Returns an error if an input is another task, and is to be read as a text.
pub fn check_second_task(spec: &RunSpec, task: &Path) -> Result<(), Stop> {
    let is_text = matches!(*spec.items.input_format, InputFormat::Jsonl | InputFormat::Json | InputFormat::Csv);
    let Some(second) = spec.items.input.iter().find(|input| is_text && is_named_as_task(input)) else {
        return Ok(());
    };
    if !second.is_file() || !is_task_file(task) {
        // The error of that says more.
        return Ok(());
    }
    let (shown, words) = (ForeignText::of(second), [ShellWord::of(task), ShellWord::of(second)]);
    let several = match &spec.work {
        WorkSpec::Function(_) => {
            format!("several tasks are named by options: wasmpool map --task one={} --task two={}", words[0], words[1])
        }
        WorkSpec::Command(_) => "each command is run by itself".to_owned(),
    };
    Err(Stop::from(format!("{shown}, named as input, is a task, too; {several}")))
}

/// Adds to the error of a call that its function is a file, and so the task, if the task cannot be read.
pub fn with_task_behind(stop: Stop, error: &Error, task: &Path, function: &str) -> Stop {
    let is_none = matches!(error, Error::Task(TaskError::Refused { .. } | TaskError::Unreadable { .. }));
    if !is_none || !is_task_file(Path::new(function)) {
        return stop;
    }
    let (meant, name) = (ShellWord::of(function), ShellWord::of(task));
    stop.with(Some(format!("the task is named before its function: wasmpool call {meant} {name}")))
}

/// Returns the stop for an input of a command that is not there, with the line that makes it an argument.
pub fn with_arguments_among(error: InputError, task: &Path, inputs: &[PathBuf]) -> Stop {
    let missing = match &error {
        InputError::File { path, source } if source.kind() == io::ErrorKind::NotFound => Some(path.clone()),
        _ => None,
    };
    let stop = Stop::from(error);
    let Some(at) = missing.and_then(|missing| inputs.iter().position(|input| *input == missing)) else { return stop };
    let (files, arguments) = inputs.split_at(at);
    let files: String = files.iter().map(|file| format!(" {}", ShellWord::of(file))).collect();
    let arguments: String = arguments.iter().map(|argument| format!(" {}", ShellWord::of(argument))).collect();
    stop.with(Some(format!(
        "arguments of the command stand behind --: wasmpool exec {}{files} --{arguments}",
        ShellWord::of(task)
    )))
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
    if let (ErrorKind::UnknownArgument, Some(ContextValue::String(given))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
    {
        if let Some(option) = negative(given, std::env::args_os()) {
            let message =
                format!("invalid value '{}' for '{}': no value of it begins with `-`", option.value, option.name);
            return error_saying(ErrorKind::ValueValidation, message);
        }
        // A name that another command has is that one, and not what is similar to it.
        let tip = in_place_of(given).map(str::to_owned).or_else(|| named_otherwise(given)).or_else(|| above(given));
        let tip = tip.or_else(|| match error.get(ContextKind::SuggestedArg) {
            None => elsewhere(given),
            Some(_) => None,
        });
        // The parser proposes `-- --option`, which makes an input of it.
        if let Some(tip) = tip {
            error.remove(ContextKind::SuggestedArg);
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
        }
        return error;
    }
    if error.kind() == ErrorKind::InvalidSubcommand
        && matches!(error.get(ContextKind::InvalidSubcommand), Some(ContextValue::String(given)) if is_task(Path::new(given)))
    {
        // A name of a file is similar to none of a command but by chance.
        error.remove(ContextKind::SuggestedSubcommand);
    }
    let tip = match (error.kind(), error.get(ContextKind::InvalidSubcommand), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::InvalidSubcommand, Some(ContextValue::String(given)), _) if is_task(Path::new(given)) => {
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
        (ErrorKind::MissingRequiredArgument, _, Some(ContextValue::Strings(missing)))
            if missing.len() == 1 && missing[0] == "<SHELL>" =>
        {
            let shells = CompletedShell::value_variants().iter().filter_map(ValueEnum::to_possible_value);
            let names: Vec<String> = shells.map(|shell| shell.get_name().to_owned()).collect();
            let (last, others) = names.split_last().map_or(("", &[][..]), |(last, others)| (last.as_str(), others));
            format!("there are completions for {} and {last}", others.join(", "))
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
            _ => whole_number(error),
        });
    }
    // The parser writes a range as a program does, and so what is neither true nor false.
    let source = source.to_string();
    if source.contains("not a boolean") {
        return Some("it has to be 1 or 0".to_owned());
    }
    let (_, range) = source.split_once(" is not in ")?;
    let (from, to) = range.split_once("..")?;
    Some(match to.strip_prefix('=') {
        Some(to) => format!("it has to be a number from {from} to {to}"),
        None => format!("it has to be a number from {from}"),
    })
}

/// Returns what a whole number looks like, in place of a value that is written in another way.
fn whole_number(error: &clap::Error) -> String {
    let said = |kind| error.get(kind).map(ContextValue::to_string).unwrap_or_default();
    if said(ContextKind::InvalidArg).starts_with("--ok-codes") {
        return "exit codes are whole numbers, such as 0,1".to_owned();
    }
    let value = said(ContextKind::InvalidValue);
    let meant = units::size(&value).ok().or_else(|| scientific(&value));
    match meant {
        Some(number) => format!("it has to be a whole number in digits: {number}"),
        None => "it has to be a whole number, such as 8".to_owned(),
    }
}

/// Returns a whole number that is written with an exponent, such as 1e6.
fn scientific(text: &str) -> Option<u64> {
    let (digits, exponent) = text.split_once(['e', 'E'])?;
    digits.parse::<u64>().ok()?.checked_mul(10_u64.checked_pow(exponent.parse().ok()?)?)
}

/// An option and the value behind it, as they were given.
#[derive(Debug, PartialEq, Eq)]
struct GivenOption {
    name: String,
    value: String,
}

/// Returns the option whose value is negative, if the parser takes it for an option of its own.
fn negative(given: &str, arguments: impl Iterator<Item = OsString>) -> Option<GivenOption> {
    let begins_negative =
        |text: &str| text.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    if !begins_negative(given) {
        return None;
    }
    let shown = |text: &str| ForeignText::of(text).to_string();
    let arguments: Vec<String> = arguments.map(|one| one.to_string_lossy().into_owned()).collect();
    let of_us = arguments.split(|argument| argument == "--").next()?;
    let at = of_us.iter().position(|argument| begins_negative(argument) && argument.starts_with(given))?;
    let name = of_us.get(at.checked_sub(1)?).filter(|name| name.starts_with('-') && !name.contains('='))?;
    Some(GivenOption { name: shown(name), value: shown(&of_us[at]) })
}

/// Returns what this command has in place of an option of another program, if it runs many items.
fn in_place_of(option: &str) -> Option<&'static str> {
    let all = command();
    let this = std::env::args_os().nth(1).and_then(|name| all.find_subcommand(name))?;
    let takes_items = this.get_arguments().any(|arg| arg.get_long() == Some("input-format"));
    meant::in_place_of(option).filter(|_| takes_items)
}

/// Returns which commands have an option that this one has not, or by what name this one has it.
fn named_otherwise(option: &str) -> Option<String> {
    let all = command();
    let name = option.split('=').next().unwrap_or(option);
    let long = name.strip_prefix("--").filter(|long| !long.is_empty())?;
    let has = |command: &clap::Command, long| command.get_arguments().any(|arg| arg.get_long() == Some(long));
    let mut those = Vec::new();
    for command in all.get_subcommands() {
        let (name, below) = (command.get_name(), command.get_subcommands());
        those.extend(has(command, long).then(|| format!("`wasmpool {name}`")));
        let below = below.filter(|command| has(command, long));
        those.extend(below.map(|command| format!("`wasmpool {name} {}`", command.get_name())));
    }
    if !those.is_empty() {
        return Some(format!("{name} is an option of {}", those.join(", ")));
    }
    let this = std::env::args_os().nth(1).and_then(|name| all.find_subcommand(name))?;
    let meant = meant::synonym(long).filter(|meant| has(this, meant))?;
    Some(format!("'--{meant}' is the option for that"))
}

/// Returns where an option stands that was given in front of the command.
fn above(option: &str) -> Option<String> {
    let all = command();
    let mut behind = std::env::args_os().skip(1).skip_while(|word| word.to_string_lossy().starts_with('-'));
    let is_first = std::env::args_os().nth(1).is_some_and(|word| word.to_string_lossy().starts_with(option));
    let this = behind.find_map(|word| all.find_subcommand(word)).filter(|_| is_first)?;
    let name = this.get_name();
    let is_known = this.get_arguments().any(|arg| {
        let long = arg.get_long().is_some_and(|long| option == format!("--{long}"));
        long || arg.get_short().is_some_and(|short| option == format!("-{short}"))
    });
    is_known.then(|| format!("options stand behind the command: wasmpool {name} {option}"))
}

/// Returns where the options of this command are listed.
fn elsewhere(option: &str) -> Option<String> {
    let all = command();
    option.strip_prefix("--").filter(|long| !long.is_empty())?;
    let this = std::env::args_os().nth(1).and_then(|name| all.find_subcommand(name)).map(clap::Command::get_name);
    Some(this.map_or_else(
        || "`wasmpool --help` lists the commands, which have options of their own".to_owned(),
        |this| format!("`wasmpool {this} --help` lists the options that there are"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_value_is_told_with_its_option() {
        let of = |given: &str, line: &str| {
            let found = negative(given, line.split(' ').map(OsString::from))?;
            Some(format!("{} {}", found.name, found.value))
        };
        assert_eq!(of("-1", "wasmpool map t -j -1").as_deref(), Some("-j -1"));
        assert_eq!(of("-1", "wasmpool map t --timeout -1s").as_deref(), Some("--timeout -1s"));
        assert_eq!(of("-1", "wasmpool call t f -1"), None);
        assert_eq!(of("-1", "wasmpool exec t -- -j -1"), None);
        assert_eq!(of("-x", "wasmpool map t -j -x"), None);
    }

    #[test]
    fn a_number_with_an_exponent_is_read() {
        assert_eq!(scientific("1e6"), Some(1_000_000));
        assert_eq!(scientific("25E2"), Some(2500));
        for text in ["1e", "e6", "1e99", "1e-6", "seven"] {
            assert_eq!(scientific(text), None, "{text}");
        }
    }
}
