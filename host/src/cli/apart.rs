//! Checks, before anything is touched, that a run writes no file that it also reads or writes for another purpose.

use std::fs;
use std::path::{Path, PathBuf};

use super::args::InputFormat;
use super::source::Sourced;
use super::spec::ManyItems;
use super::spec::RunSpec;
use super::stream::{encoding_of, path_end};
use super::within::WritableGrants;
use wasmpool_core::text::ForeignText;
use wasmpool_run::grants::{DirectoryGrant, Grants};
use wasmpool_run::input::{InputError, InputFiles, ReadOnce, find_listed};
use wasmpool_run::journal::beside;
use wasmpool_run::links::{Writable, leads_out, target_of};
use wasmpool_run::output::unfinished_in;
use wasmpool_run::place::SameFile;
use wasmpool_run::place::canonical_name;
use wasmpool_run::stdio::{Stderr, Stdin, Stdout, spare_standard_error};

/// The reason why a run would write a file that it also reads, or writes for another purpose. Options are named in the
/// words of their sources.
#[derive(Debug, thiserror::Error)]
pub enum ApartError {
    #[error("standard output is also {0}: input file is output file; redirect it to another file")]
    StandardOutput(&'static str),
    #[error(
        "standard error is also {0}, into which messages such as this would be written; redirect it to another file"
    )]
    StandardError(&'static str),
    #[error("{said} is also {other}, which would be lost; name another file")]
    Overwrites { said: String, other: &'static str },
    #[error(
        "{journal} is written anew as {}, which is also {other} and would be lost; name another file",
        ForeignText::of(.beside)
    )]
    BesideJournal { journal: String, beside: PathBuf, other: &'static str },
    /// The lists of items cannot be read beforehand.
    #[error(
        "{said} holds something, and may itself be an item: {list}, so the paths in it are not known yet; name another \
         file, give the paths in a file, or remove this one if nobody needs it"
    )]
    UnknownItems { said: String, list: ReadOnce },
    #[error(
        "{said} is also an item ({} in the list), which would be lost; name another file",
        ForeignText::of(.listed)
    )]
    Listed { said: String, listed: PathBuf },
    #[error(
        "{said} goes by the link {}, which a task may have made (--dir …:rw); name the file itself, or remove the link",
        ForeignText::of(.link)
    )]
    LinkOfTask { said: String, link: PathBuf },
    #[error(
        "{said} goes by the link {}, which leads out of its directory, as one that a task has left there may; name the file \
         itself, or remove the link",
        ForeignText::of(.link)
    )]
    LinkOut { said: String, link: PathBuf },
    /// An incomplete result that an earlier run has left is also read by this one, and would be removed.
    #[error("{} is also {other}, and is removed as a result that an earlier run has left ({results}); name another file", ForeignText::of(.left))]
    LeftResult { left: PathBuf, other: String, results: String },
    #[error(transparent)]
    Input(#[from] InputError),
}

/// Files that a run reads, each with its role in the run.
#[derive(Debug, Default)]
pub struct ReadFiles(Vec<(SameFile, &'static str)>);

impl ReadFiles {
    /// Returns the files of the tasks, of the policy, and of the plugin's manifest.
    pub fn of<'a, I>(spec: &RunSpec<I>, tasks: impl IntoIterator<Item = &'a Path>) -> ReadFiles {
        let mut read = ReadFiles::of_plugin(spec.plugin.as_deref());
        tasks.into_iter().for_each(|task| read.add(task, "the task"));
        spec.policy.iter().for_each(|policy| read.add(policy, "the file of --policy"));
        spec.share_in.iter().for_each(|file| read.add(file, "the file of --share-in"));
        read
    }

    /// Returns the file of a plugin's manifest, if there is one.
    pub fn of_plugin(manifest: Option<&Path>) -> ReadFiles {
        let mut read = ReadFiles::default();
        manifest.into_iter().for_each(|manifest| read.add(manifest, "the plugin's manifest"));
        read
    }

    /// Adds a file that is read for this purpose.
    pub fn and_file(mut self, path: &Path, what: &'static str) -> ReadFiles {
        self.add(path, what);
        self
    }

    /// Adds the file of a task.
    pub fn and_task(mut self, task: &Path) -> ReadFiles {
        self.add(task, "the task");
        self
    }

    /// Adds the files of the input.
    pub fn and_inputs(mut self, inputs: Vec<SameFile>) -> ReadFiles {
        self.0.extend(inputs.into_iter().map(|input| (input, "an input")));
        self
    }

    fn add(&mut self, path: &Path, what: &'static str) {
        let file = match path == Path::new("-") {
            true => Stdin.duplicate().ok().and_then(|file| SameFile::of(&file)),
            false => of_path(path),
        };
        self.0.extend(file.map(|file| (file, what)));
    }

    fn what(&self, file: SameFile) -> Option<&'static str> {
        self.0.iter().find(|(other, _)| *other == file).map(|(_, what)| *what)
    }

    /// Returns an error if standard output or standard error is one of these files. `cat` checks standard output in the
    /// same way: the input would never end, or be overwritten. Messages on standard error would be mixed into what is
    /// read.
    pub fn check_streams(&self) -> Result<(), ApartError> {
        if let Some(what) = standard_output().and_then(|file| self.what(file)) {
            return Err(ApartError::StandardOutput(what));
        }
        self.check_messages()
    }

    fn check_messages(&self) -> Result<(), ApartError> {
        match standard_error().and_then(|file| self.what(file)) {
            Some(what) => {
                // This message must not be written there either.
                spare_standard_error();
                Err(ApartError::StandardError(what))
            }
            None => Ok(()),
        }
    }
}

/// A path that is written, with the name of its option.
type WrittenPath<'a> = (&'static str, &'a Sourced<Option<PathBuf>>);

/// Returns an error if something that is written would overwrite another file of the run, or if a task's link may have
/// led it there.
pub fn check(read: &ReadFiles, spec: &RunSpec) -> Result<(), ApartError> {
    let items = &spec.items;
    let reports = report_paths(items);
    let written = [
        ("--output", &items.output, "the output"),
        ("--failed", &items.failed, "the file of --failed"),
        ("--journal", &items.journal, "the journal"),
        ("--share-out", &spec.share_out, "the file of --share-out"),
        ("--trace", &items.trace, "the file of --trace"),
    ];
    let written = written.into_iter().chain(reports.iter().map(|report| ("--report", report, "a file of --report")));
    match named(&items.output) {
        None => read.check_streams()?,
        Some(_) => read.check_messages()?,
    }
    let writable = Writable::of(spec.grants.grants().writable());
    check_share_in(spec.share_in.as_deref(), &writable)?;
    let mut before: Vec<(WrittenFile, &'static str)> = match named(&items.output) {
        None => standard_output().map(|file| (WrittenFile::There(file), "standard output")).into_iter().collect(),
        Some(_) => Vec::new(),
    };
    let errors = standard_error();
    for (option, path, what) in written {
        let Some(named) = written_path((option, path)) else {
            continue;
        };
        let Some(file) = WrittenFile::of(named) else {
            check_links((option, path), &writable)?;
            continue;
        };
        let mut other = before.iter().find(|(other, _)| *other == file).map(|(_, other)| *other);
        if let WrittenFile::There(file) = file {
            let messages = (errors == Some(file)).then_some("standard error");
            other = read.what(file).or(other).or(messages);
        }
        if let Some(other) = other {
            return Err(ApartError::Overwrites { said: option_with_path((option, path)), other });
        }
        check_links((option, path), &writable)?;
        before.push((file, what));
    }
    check_beside(("--journal", &items.journal), read, &before)?;
    check_links(("--results", &items.results), &writable)?;
    check_left_results(read, items)?;
    if !spec.verbosity.quiet {
        tell_what_is_within(items, &spec.share_out, &spec.grants.directories);
    }
    Ok(())
}

/// Returns the paths of all reports, in the form in which other options have theirs.
pub fn report_paths(items: &ManyItems) -> Vec<Sourced<Option<PathBuf>>> {
    items.report.iter().map(|report| Sourced::new(Some(report.path.clone()), report.source.clone())).collect()
}

/// Returns an error if what the shared objects are filled with is named by a link that a task may have made: the task could
/// read what it leads to.
fn check_share_in(share_in: Option<&Path>, writable: &Writable) -> Result<(), ApartError> {
    match share_in.and_then(|path| Some((path, writable.link_to(path)?))) {
        Some((path, link)) => {
            Err(ApartError::LinkOfTask { said: format!("--share-in {}", ForeignText::of(path)), link })
        }
        None => Ok(()),
    }
}

/// Returns an error if what the shared objects hold would overwrite a file that the run reads.
pub fn check_share_out<I>(read: &ReadFiles, spec: &RunSpec<I>) -> Result<(), ApartError> {
    check_contents(read, spec.share_in.as_deref(), &spec.share_out, &spec.grants.grants())
}

/// Does the same for the files of `--share-in` and `--share-out`, where tasks have these grants.
pub fn check_contents(
    read: &ReadFiles,
    share_in: Option<&Path>,
    share_out: &Sourced<Option<PathBuf>>,
    grants: &Grants,
) -> Result<(), ApartError> {
    let written = ("--share-out", share_out);
    let writable = Writable::of(grants.writable());
    check_share_in(share_in, &writable)?;
    check_links(written, &writable)?;
    let Some(file) = share_out.as_deref().and_then(of_path) else {
        return Ok(());
    };
    let streams = [(standard_output(), "standard output"), (standard_error(), "standard error")];
    let stream = streams.into_iter().find(|(stream, _)| *stream == Some(file)).map(|(_, what)| what);
    match read.what(file).or(stream) {
        Some(other) => Err(ApartError::Overwrites { said: option_with_path(written), other }),
        None => Ok(()),
    }
}

/// Returns an error if making the directory of results would remove a file that the run reads.
fn check_left_results(read: &ReadFiles, items: &ManyItems) -> Result<(), ApartError> {
    for left in left_results(items) {
        if let Some(other) = of_path(&left).and_then(|file| read.what(file)) {
            return Err(left_result(left, other.to_owned(), items));
        }
    }
    Ok(())
}

fn left_results(items: &ManyItems) -> Vec<PathBuf> {
    items.results.as_deref().map(unfinished_in).unwrap_or_default()
}

fn left_result(left: PathBuf, other: String, items: &ManyItems) -> ApartError {
    let results = option_with_path(("--results", &items.results));
    ApartError::LeftResult { left, other, results }
}

/// Returns an error if the file that replaces the journal from time to time is another file of the run.
fn check_beside(
    journal: WrittenPath<'_>,
    read: &ReadFiles,
    written: &[(WrittenFile, &'static str)],
) -> Result<(), ApartError> {
    // The journal is rewritten where its links lead.
    let place = written_path(journal).map(|path| target_of(path).unwrap_or_else(|_| path.to_owned()));
    let Some(beside) = place.as_deref().map(beside) else {
        return Ok(());
    };
    let Some(file) = WrittenFile::of(&beside) else {
        return Ok(());
    };
    let other = written.iter().find(|(other, _)| *other == file).map(|(_, what)| *what);
    let other = other.or(match file {
        WrittenFile::There(file) => read.what(file),
        WrittenFile::ToBeMade(_) => None,
    });
    other.map_or(Ok(()), |other| Err(ApartError::BesideJournal { journal: option_with_path(journal), beside, other }))
}

/// Prints a note for each path that the run writes where the task may write too.
fn tell_what_is_within(items: &ManyItems, share_out: &Sourced<Option<PathBuf>>, granted: &[Sourced<DirectoryGrant>]) {
    let granted = WritableGrants::of(granted);
    if named(&items.output).is_none() {
        granted.tell_of_output();
    }
    let written = [
        ("--output", &items.output),
        ("--failed", &items.failed),
        ("--journal", &items.journal),
        ("--results", &items.results),
        ("--share-out", share_out),
        ("--trace", &items.trace),
    ];
    let reports = report_paths(items);
    for written in written.into_iter().chain(reports.iter().map(|report| ("--report", report))) {
        if let Some(path) = written_path(written) {
            granted.note_if_inside(&option_with_path(written), path);
        }
    }
}

/// Prints the same note for the file of `--share-out` alone.
pub fn tell_where_contents_go(share_out: &Sourced<Option<PathBuf>>, granted: &[Sourced<DirectoryGrant>]) {
    let written = ("--share-out", share_out);
    if let Some(path) = written_path(written) {
        WritableGrants::of(granted).note_if_inside(&option_with_path(written), path);
    }
}

/// Returns the path, unless it is a standard stream: `-` is one for results and failed items.
fn written_path<'a>((option, path): WrittenPath<'a>) -> Option<&'a Path> {
    match option {
        "--output" | "--failed" => named(path),
        _ => path.as_deref(),
    }
}

/// Names an option with its path, in the words of its source.
fn option_with_path((option, path): WrittenPath<'_>) -> String {
    let shown = path.as_deref().map(|path| ForeignText::of(path).to_string()).unwrap_or_default();
    path.option_name_with(option, &shown).to_string()
}

/// The lists of `--input-format files`, which are read before anything is overwritten.
#[derive(Debug)]
pub struct InputLists(Option<Result<InputFiles, ReadOnce>>);

impl InputLists {
    /// Returns the lists among the inputs.
    pub fn of(items: &ManyItems, inputs: &InputFiles) -> InputLists {
        // A byte-order mark in front of the first path does not belong to it.
        let again = || inputs.again().map(|lists| lists.written_in(encoding_of(items)));
        InputLists((*items.input_format == InputFormat::Files).then(again))
    }

    /// Returns true if there are lists.
    pub fn are_there(&self) -> bool {
        self.0.is_some()
    }

    /// Returns an error if a file that the lists name would be overwritten, and also if the lists cannot be read
    /// beforehand: whoever writes a list into a pipe may be about to name that file.
    pub fn check(self, items: &ManyItems, share_out: &Sourced<Option<PathBuf>>) -> Result<(), ApartError> {
        let reports = report_paths(items);
        let written: [WrittenPath<'_>; 4] = [
            ("--output", &items.output),
            ("--failed", &items.failed),
            ("--share-out", share_out),
            ("--trace", &items.trace),
        ];
        let written = written.into_iter().chain(reports.iter().map(|report| ("--report", report)));
        // Each file with its option, or `None` for a result that an earlier run has left.
        let lost = |written| Some((lost_if_cut(written_path(written)?)?, Some(option_with_path(written))));
        let mut at_stake: Vec<(SameFile, Option<String>)> = written.filter_map(lost).collect();
        let left = left_results(items).into_iter().filter_map(|left| lost_if_cut(&left));
        at_stake.extend(left.map(|left| (left, None)));
        let (Some(lists), Some((_, first))) = (self.0, at_stake.first()) else {
            return Ok(());
        };
        let lists = match (lists, first) {
            (Ok(lists), _) => lists,
            (Err(list), Some(said)) => return Err(ApartError::UnknownItems { said: said.clone(), list }),
            // Left results have names of our own, which somebody who writes paths into a pipe hardly means.
            (Err(_), None) => return Ok(()),
        };
        let files: Vec<SameFile> = at_stake.iter().map(|(file, _)| *file).collect();
        let Some((found, listed)) = find_listed(lists, path_end(items), &files).map_err(InputError::from)? else {
            return Ok(());
        };
        let said = at_stake.into_iter().find(|(file, _)| *file == found).and_then(|(_, said)| said);
        Err(match said {
            Some(said) => ApartError::Listed { said, listed },
            None => left_result(listed, "an item".to_owned(), items),
        })
    }
}

/// Returns the file that a path leads to, if it is one on disk that is not empty.
fn lost_if_cut(path: &Path) -> Option<SameFile> {
    fs::metadata(path).ok().filter(|metadata| metadata.len() > 0).as_ref().and_then(SameFile::of_metadata)
}

fn named(path: &Sourced<Option<PathBuf>>) -> Option<&Path> {
    path.as_deref().filter(|path| path.as_os_str() != "-")
}

fn check_links(written: WrittenPath<'_>, writable: &Writable) -> Result<(), ApartError> {
    let Some(path) = written_path(written) else {
        return Ok(());
    };
    match (writable.link_to(path), leads_out(path)) {
        (Some(link), _) => Err(ApartError::LinkOfTask { said: option_with_path(written), link }),
        (None, Some(link)) => Err(ApartError::LinkOut { said: option_with_path(written), link }),
        (None, None) => Ok(()),
    }
}

fn standard_output() -> Option<SameFile> {
    Stdout.duplicate().ok().and_then(|file| SameFile::of(&file))
}

fn standard_error() -> Option<SameFile> {
    Stderr.duplicate().ok().and_then(|file| SameFile::of(&file))
}

fn of_path(path: &Path) -> Option<SameFile> {
    fs::metadata(path).ok().as_ref().and_then(SameFile::of_metadata)
}

/// A file that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
enum WrittenFile {
    /// An existing file on disk.
    There(SameFile),
    /// A file that is to be made in this directory.
    ToBeMade(PathBuf),
}

impl WrittenFile {
    /// Returns `None` for what is no file on a disk, such as a pipe or a terminal: several may write there.
    fn of(path: &Path) -> Option<WrittenFile> {
        if let Ok(metadata) = fs::metadata(path) {
            return SameFile::of_metadata(&metadata).map(WrittenFile::There);
        }
        let path = target_of(path).unwrap_or_else(|_| path.to_owned());
        Some(WrittenFile::ToBeMade(canonical_name(&path).unwrap_or(path)))
    }
}
