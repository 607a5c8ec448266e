//! The meaning of `-` for each option, and the readers of standard input, of which there can be only one.

use std::io::{IsTerminal, stdin};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::UsageError;
use crate::cli::source::Sourced;
use crate::cli::spec::ManyItems;
use crate::cli::units::NamedTask;
use wasmpool_core::text::{ForeignText, QuotedName};
use wasmpool_run::place::FileId;
use wasmpool_run::stdio::{Stdin, Stdout};

/// The path that stands for a standard stream.
const STREAM: &str = "-";

/// The files of a command line that may be standard input.
#[derive(Debug, Default)]
pub struct Readers<'a> {
    /// The tasks, with their names in messages.
    tasks: Vec<(String, &'a Path)>,
    policy: Option<&'a Path>,
    /// `None` if no items are read.
    input: Option<Vec<&'a Path>>,
}

impl<'a> Readers<'a> {
    /// Takes one task.
    pub fn of(task: &'a Path) -> Readers<'a> {
        Readers { tasks: vec![("the task".to_owned(), task)], ..Readers::default() }
    }

    /// Takes several tasks.
    pub fn of_several(tasks: impl Iterator<Item = &'a NamedTask>) -> Readers<'a> {
        let tasks = tasks.map(|task| (format!("the task {}", QuotedName::of(&task.name)), task.file.as_path()));
        Readers { tasks: tasks.collect(), ..Readers::default() }
    }

    /// Adds the file of a policy, which is not `-`.
    pub fn and_policy(self, policy: Option<&'a Path>) -> Readers<'a> {
        Readers { policy, ..self }
    }

    /// Adds these files with items.
    pub fn and_input(self, input: impl Iterator<Item = &'a PathBuf>) -> Readers<'a> {
        Readers { input: Some(input.map(PathBuf::as_path).collect()), ..self }
    }

    /// Refuses two of them that read standard input, before any does: there would be nothing left for the second.
    pub fn check(self) -> Result<(), UsageError> {
        let policy = self.policy.map(|policy| ("the policy".to_owned(), policy));
        let files = self.tasks.into_iter().chain(policy).filter(|(_, path)| is_standard_input(path));
        let files = files.map(|(what, path)| format!("{what} ({})", ForeignText::of(path)));
        let mut readers = files.chain(self.input.and_then(|input| reads_items(&input)));
        match (readers.next(), readers.next()) {
            (Some(first), Some(second)) => Err(UsageError::StandardInputTwice { first, second }),
            _ => Ok(()),
        }
    }
}

/// Returns what messages call the input, if items are read from standard input.
fn reads_items(input: &[&Path]) -> Option<String> {
    match input.iter().find(|input| is_standard_input(input)) {
        Some(input) => Some(format!("the input ({})", ForeignText::of(input))),
        None => input.is_empty().then(|| "the input, as no INPUT is named".to_owned()),
    }
}

/// Refuses streams for what has to be a file.
pub fn of_many_items(items: &ManyItems) -> Result<(), UsageError> {
    of_file(&items.journal, "--journal", "a journal is kept in a file")?;
    of_file(&items.trace, "--trace", "a trace is written to a file")?;
    of_file(&items.results, "--results", "results are put into a directory")?;
    let Some(failed) = items.failed.as_deref() else {
        return Ok(());
    };
    let output = items.output.as_deref().unwrap_or(Path::new(STREAM));
    if is_stream(Some(failed)) && is_stream(Some(output)) || is_same_pipe(failed, output) {
        let failed = items.failed.option_name_with("--failed", &ForeignText::of(failed).to_string()).to_string();
        let to = if is_stream(Some(output)) { "standard output" } else { "the same pipe" };
        return Err(UsageError::FailedAmongResults { failed, to });
    }
    Ok(())
}

/// Refuses a stream for what has to be a file, or a directory.
pub fn of_file(path: &Sourced<Option<PathBuf>>, option: &'static str, why: &'static str) -> Result<(), UsageError> {
    match is_stream(path.as_deref()) {
        true => Err(UsageError::NoStream { said: path.option_name_with(option, STREAM).to_string(), why }),
        false => Ok(()),
    }
}

/// Returns true if two paths lead to the same pipe, under whatever names.
fn is_same_pipe(one: &Path, other: &Path) -> bool {
    let pipe = |path: &Path| {
        let found = match is_stream(Some(path)) {
            true => Stdout.duplicate().and_then(|file| file.metadata()),
            false => std::fs::metadata(path),
        };
        found.ok().filter(|found| found.file_type().is_fifo()).map(|found| FileId::of(&found))
    };
    pipe(one).is_some_and(|one| Some(one) == pipe(other))
}

fn is_stream(path: Option<&Path>) -> bool {
    path.is_some_and(|path| path.as_os_str() == STREAM)
}

/// Returns true if reading from a path takes something from standard input. A file on a disk is read anew by its path.
fn is_standard_input(path: &Path) -> bool {
    let same_as = |found: &std::fs::Metadata| {
        let own = Stdin.duplicate().and_then(|file| file.metadata());
        own.is_ok_and(|own| FileId::of(&own) == FileId::of(found))
    };
    let is_spent = |found: &std::fs::Metadata| {
        let kind = found.file_type();
        kind.is_fifo() || kind.is_char_device() && stdin().is_terminal()
    };
    is_stream(Some(path)) || std::fs::metadata(path).is_ok_and(|found| is_spent(&found) && same_as(&found))
}
