//! The command that goes on with a run that was cut short.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::source::{SettingSource, Sourced};
use super::spec::ManyItems;
use wasmpool_core::text::ShellWord;

/// Says how a run that was cut short goes on, in a line without our name. Returns `None` if there is nothing to say.
pub fn says_how(items: &ManyItems, done: u64, arguments: impl Iterator<Item = OsString>) -> Option<String> {
    let Some(_) = &*items.journal else {
        // Where a journal is kept cannot be said of every run, nor what it would have had to keep.
        let could_have_one = items.results.is_none() && items.set_aside.is_none();
        return (done > 0 && could_have_one)
            .then(|| "the next run begins anew; with --journal FILE, it could go on where this one stops".to_owned());
    };
    let command = command(&items.journal, &items.resume, arguments);
    let reads_stdin = items.input.is_empty() || items.input.iter().any(|path| path.as_os_str() == "-");
    Some(match reads_stdin {
        true => format!("with the same input, this command goes on: {command}"),
        false => format!("this command goes on: {command}"),
    })
}

/// Returns the command of these arguments with `--resume`, for a shell.
fn command(
    journal: &Sourced<Option<PathBuf>>,
    resume: &Sourced<bool>,
    arguments: impl Iterator<Item = OsString>,
) -> String {
    let mut words: Vec<OsString> = arguments.collect();
    let mut added: Vec<&OsStr> = Vec::new();
    // The next shell may have another environment.
    if let (SettingSource::Environment, Some(path)) = (&journal.source, &**journal) {
        added.extend(["--journal".as_ref(), path.as_os_str()]);
    }
    if !**resume || resume.source != SettingSource::CommandLine {
        added.push("--resume".as_ref());
    }
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    words.splice(end..end, added.into_iter().map(OsStr::to_owned));
    words.iter().map(|word| ShellWord::of(word).to_string()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(words: &[&str], journal: SettingSource, resume: Sourced<bool>) -> String {
        let journal = Sourced::new(Some(PathBuf::from("a run.journal")), journal);
        command(&journal, &resume, words.iter().map(OsString::from))
    }

    #[test]
    fn the_command_is_that_of_the_run_with_resume() {
        let off = || Sourced::default_of(false);
        let line = SettingSource::CommandLine;
        let words = ["wasmpool", "map", "t.wasm", "it's.jsonl", "--journal", "a run.journal"];
        let again = "wasmpool map t.wasm 'it'\\''s.jsonl' --journal 'a run.journal' --resume";
        assert_eq!(said(&words, line.clone(), off()), again);
        let resumed = [&words[..], &["--resume"]].concat();
        assert_eq!(said(&resumed, line.clone(), Sourced::new(true, line.clone())), again);
        let exec = ["wasmpool", "exec", "t.wasm", "--", "-x", "{}"];
        let again = "wasmpool exec t.wasm --journal 'a run.journal' --resume -- -x '{}'";
        assert_eq!(said(&exec, SettingSource::Environment, off()), again);
        let of_environment = Sourced::new(true, SettingSource::Environment);
        assert_eq!(said(&exec[..3], line, of_environment), "wasmpool exec t.wasm --resume");
    }
}
