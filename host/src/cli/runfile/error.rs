//! What is wrong with the file of a run.

use super::plan::MOST_PROCESSES;
use crate::cli::meant::did_you_mean;
use crate::cli::share::ParseShareError;
use crate::cli::units::ParseUnitError;
use wasmpool_core::share::MOST_OBJECTS;
use wasmpool_core::text::QuotedName;

/// A reason why a run cannot be as its file says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("there is no process: begin one with [process.NAME]")]
    NoProcess,
    #[error("every process is a daemon, and a run ends when the others have ended: leave `daemon` out of one")]
    AllDaemons,
    #[error("there are {count} processes, and a run has at most {MOST_PROCESSES}")]
    TooMany { count: u32 },
    #[error("there are {count} shared objects with the pipes between commands, and a run has at most {MOST_OBJECTS}")]
    TooManyObjects { count: usize },
    #[error(
        "{} cannot be the name of a process: it consists of letters, digits, `_`, `-` and `.`, at most 64 of them",
        QuotedName::of(.name)
    )]
    Name { name: String },
    #[error("two processes would be called {}: rename one", QuotedName::of(.label))]
    SameLabel { label: String },
    #[error("the shared object {}: {why}", QuotedName::of(.name))]
    Object { name: String, why: ParseShareError },
    #[error("process {}: `count` is a number from 1 to {MOST_PROCESSES}", QuotedName::of(.name))]
    Count { name: String },
    #[error(
        "process {}: `restarts` needs `restart = \"on-failure\"` or `\"always\"`; add it, or leave it out",
        QuotedName::of(.name)
    )]
    RestartsOfNone { name: String },
    #[error("process {}: the argument {}: {why}", QuotedName::of(.name), QuotedName::of(.text))]
    Argument { name: String, text: String, why: Box<ParseUnitError> },
    #[error("process {}: an argument of a command cannot contain a NUL", QuotedName::of(.name))]
    Nul { name: String },
    #[error(
        "process {}: `{key}` is for a function, and `command` runs a command: leave one out",
        QuotedName::of(.name)
    )]
    OfFunction { name: String, key: &'static str },
    #[error("process {}: `{key}` is for a command: add `command = [ARGUMENTS]`", QuotedName::of(.name))]
    OfCommand { name: String, key: &'static str },
    #[error(
        "process {}: there is no process {} to start after{}",
        QuotedName::of(.name), QuotedName::of(.other), or(.similar, "; it has to be NAME, NAME:started or NAME:ended")
    )]
    After { name: String, other: String, similar: Option<String> },
    #[error(
        "process {}: it can start after `{other}`, once that has started, or after `{other}:ended`, and not after {}",
        QuotedName::of(.name), QuotedName::of(&format!("{other}:{what}"))
    )]
    AfterWhat { name: String, other: String, what: String },
    #[error(
        "process {} starts after {} has ended, which is a daemon and ends last: wait for its start, or for another",
        QuotedName::of(.name), QuotedName::of(.other)
    )]
    AfterDaemon { name: String, other: String },
    #[error(
        "these processes wait for each other: {}; take one out of `after`",
        .names.iter().map(|name| QuotedName::of(name).to_string()).collect::<Vec<_>>().join(", ")
    )]
    Circle { names: Vec<String> },
    #[error(
        "process {} starts after {} has ended, which is started again without end: set its `restarts`, or wait for its start",
        QuotedName::of(.name), QuotedName::of(.other)
    )]
    AfterEndless { name: String, other: String },
    #[error(
        "these processes wait for each other: {}; one that reads what another writes, from its standard output or from a pipe, \
         ends after it, and has to run while it writes: change `after`, `stdin` or `share`",
        .names.iter().map(|name| QuotedName::of(name).to_string()).collect::<Vec<_>>().join(", ")
    )]
    NeverEnd { names: Vec<String> },
    #[error(
        "nobody is given the {end} end of the pipe {}, so whoever has the other would wait for ever: give `:{end}` to a process",
        QuotedName::of(.pipe)
    )]
    EndOfNobody { pipe: String, end: &'static str },
    #[error(
        "the barrier {} is for {parties} parties, and {count} of the processes reach it: give it to as many",
        QuotedName::of(.barrier)
    )]
    TooFewParties { barrier: String, parties: u32, count: u32 },
    #[error("{option} is about shared objects, and there are none: name them in [share]")]
    NothingShared { option: &'static str },
    #[error(
        "its {count} processes need some {needed} descriptors, and this program can have {left} more; raise the limit \
         (ulimit -Hn), or run fewer of them"
    )]
    Descriptors { count: u32, needed: u64, left: u64 },
    #[error("process {}: there is no shared object {}{}", QuotedName::of(.name), QuotedName::of(.object), defined(.object, .similar))]
    Share { name: String, object: String, similar: Option<String> },
    #[error(
        "process {}: the shared object {} stands there twice: name it once, with one right, or without any to have all",
        QuotedName::of(.name), QuotedName::of(.object)
    )]
    ShareTwice { name: String, object: String },
    #[error(
        "process {}: {} names no right of that object: {}",
        QuotedName::of(.name), QuotedName::of(.text), rights_said(*.words)
    )]
    Right { name: String, text: String, words: (&'static str, &'static str) },
    #[error(
        "process {}: {} leaves no right, since [share] grants another: give the object all rights there",
        QuotedName::of(.name), QuotedName::of(.text)
    )]
    NoRight { name: String, text: String },
    #[error(
        "the {end} end of the pipe {} belongs to one process: give `:first` to one of `count = 1` and `:second` to \
         another, or use a queue",
        QuotedName::of(.pipe)
    )]
    SharedEnd { pipe: String, end: &'static str },
    #[error(
        "process {} cannot be started again, since its end of the pipe {} is closed when it ends: use a queue",
        QuotedName::of(.name), QuotedName::of(.pipe)
    )]
    RestartedEnd { name: String, pipe: String },
    #[error(
        "process {}: there is no process {} to read from{}",
        QuotedName::of(.name), QuotedName::of(.other), did_you_mean(.similar.as_deref())
    )]
    Stdin { name: String, other: String, similar: Option<String> },
    #[error(
        "process {} cannot read from {}, which is a function: only a command has a standard output to read",
        QuotedName::of(.name), QuotedName::of(.other)
    )]
    StdinOfFunction { name: String, other: String },
    #[error("process {} cannot read from itself", QuotedName::of(.name))]
    OwnStdin { name: String },
    #[error(
        "the standard output of {} goes to one process, and {} and {} want it",
        QuotedName::of(.name), QuotedName::of(&.readers[0]), QuotedName::of(&.readers[1])
    )]
    ReadTwice { name: String, readers: [String; 2] },
    #[error(
        "process {} is at an end of a pipe, and there can be one such process only: leave `count` out",
        QuotedName::of(.name)
    )]
    SeveralAtPipe { name: String },
    #[error(
        "process {} is at an end of a pipe, which is closed when it ends, so it cannot be started again: leave \
         `restart` out",
        QuotedName::of(.name)
    )]
    RestartedAtPipe { name: String },
    #[error(
        "process {} reads from {}, so neither can wait for the end of the other: a full pipe would wait for ever",
        QuotedName::of(.name), QuotedName::of(.other)
    )]
    WaitsForPipe { name: String, other: String },
}

fn rights_said((first, second): (&str, &str)) -> String {
    match first {
        "" => "it has none, so leave it out".to_owned(),
        _ => format!("there are {first} and {second}, of which it names one, or none to have both"),
    }
}

/// Returns where an object that a process names has to be defined. It may be named as an option has it, with its kind.
fn defined(object: &str, similar: &Option<String>) -> String {
    match object.split_once('=') {
        Some((name, kind)) => format!(
            ": a process has the name alone, as in `share = [{name:?}]`, and [share] the kind, as in {}",
            QuotedName::of(&format!("{name} = {kind:?}"))
        ),
        None => or(similar, ": name it in [share]"),
    }
}

/// Returns which name was probably meant, or else what to do.
fn or(similar: &Option<String>, otherwise: &str) -> String {
    match similar {
        Some(similar) => did_you_mean(Some(similar)),
        None => otherwise.to_owned(),
    }
}
