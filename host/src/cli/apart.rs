//! What a run writes is nothing that it reads, or writes as something else: found out before anything is touched.

use std::fs;
use std::path::{Path, PathBuf};

use super::args::{Common, Items};
use crate::links::{Writable, leads_out};
use crate::output::SameFile;
use crate::place::canonical_name;
use crate::stdio::{Stderr, Stdin, Stdout};
use crate::text::Foreign;

/// Files that a run reads, each with what it is to the run.
#[derive(Debug, Default)]
pub struct ReadFiles(Vec<(SameFile, &'static str)>);

impl ReadFiles {
    /// Those of tasks, and of what says how they are run.
    pub fn of_tasks<'a>(tasks: impl IntoIterator<Item = &'a Path>, common: &Common) -> ReadFiles {
        let mut read = ReadFiles::of_plugin(common.plugin.as_deref());
        tasks.into_iter().for_each(|task| read.add(task, "the task"));
        common.policy.iter().for_each(|policy| read.add(policy, "the file of --policy"));
        read
    }

    /// That of a plugin's manifest, if there is one.
    pub fn of_plugin(manifest: Option<&Path>) -> ReadFiles {
        let mut read = ReadFiles::default();
        manifest.into_iter().for_each(|manifest| read.add(manifest, "the plugin's manifest"));
        read
    }

    /// And that of a task.
    pub fn and_task(mut self, task: &Path) -> ReadFiles {
        self.add(task, "the task");
        self
    }

    /// And these inputs.
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

    /// Refuses standard output where it is one of them, as `cat` does: what is read would never end, or is overwritten.
    pub fn check_stdout(&self) -> Result<(), String> {
        match standard_output().and_then(|file| self.what(file)) {
            Some(what) => {
                Err(format!("standard output is also {what}: input file is output file; redirect it to another file"))
            }
            None => Ok(()),
        }
    }
}

/// Refuses what would write over something of the run's own, or where a task may have led it.
pub fn check(read: &ReadFiles, items: &Items, writable: &Writable) -> Result<(), String> {
    let named = |path: &Option<PathBuf>| path.clone().filter(|path| path.as_os_str() != "-");
    let written = [
        ("--output", named(&items.output), "the output"),
        ("--failed", named(&items.failed), "the file of --failed"),
        ("--journal", items.journal.clone(), "the journal"),
    ];
    if named(&items.output).is_none() {
        read.check_stdout()?;
    }
    let mut before: Vec<(Written, &str)> = match named(&items.output) {
        None => standard_output().map(|file| (Written::There(file), "standard output")).into_iter().collect(),
        Some(_) => Vec::new(),
    };
    let errors = Stderr.duplicate().ok().and_then(|file| SameFile::of(&file));
    for (option, path, what) in written.iter().filter_map(|(option, path, what)| Some((option, path.as_ref()?, what))) {
        let Some(file) = Written::of(path) else {
            check_links(option, path, writable)?;
            continue;
        };
        let mut other = before.iter().find(|(other, _)| *other == file).map(|(_, other)| *other);
        if let Written::There(file) = file {
            let messages = (errors == Some(file)).then_some("standard error");
            other = read.what(file).or(other).or(messages);
        }
        if let Some(other) = other {
            let path = Foreign::of(path);
            return Err(format!("{option} {path} is also {other}, which would be lost; name another file"));
        }
        check_links(option, path, writable)?;
        before.push((file, what));
    }
    items.results.iter().try_for_each(|path| check_links("--results", path, writable))
}

fn check_links(option: &str, path: &Path, writable: &Writable) -> Result<(), String> {
    let (why, link) = match (writable.link_to(path), leads_out(path)) {
        (Some(link), _) => ("which a task may have made (--dir …:rw)", link),
        (None, Some(link)) => ("which leads out of its directory, as one that a task has left there may", link),
        (None, None) => return Ok(()),
    };
    let (path, link) = (Foreign::of(path), Foreign::of(&link));
    Err(format!("{option} {path} goes by the link {link}, {why}; name the file itself, or remove the link"))
}

fn standard_output() -> Option<SameFile> {
    Stdout.duplicate().ok().and_then(|file| SameFile::of(&file))
}

fn of_path(path: &Path) -> Option<SameFile> {
    fs::metadata(path).ok().as_ref().and_then(SameFile::of_metadata)
}

/// A file that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Written {
    /// It is there, on a disk.
    There(SameFile),
    /// It is to be made, in this directory.
    ToBeMade(PathBuf),
}

impl Written {
    /// None is what is no file on a disk, such as a pipe or a terminal: several may write there.
    fn of(path: &Path) -> Option<Written> {
        if let Ok(metadata) = fs::metadata(path) {
            return SameFile::of_metadata(&metadata).map(Written::There);
        }
        Some(Written::ToBeMade(canonical_name(path).unwrap_or_else(|| path.to_owned())))
    }
}
