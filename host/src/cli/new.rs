//! `wasmpool new`: the skeleton of a plugin, with all that it takes to build and run it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use super::args::{Language, NewArgs};
use super::exit::{Exit, Stop};
use wasmpool_core::text::{ForeignText, QuotedName};
use wasmpool_run::tell;

/// Stands in the files for the plugin's name.
const NAME: &str = "@NAME@";
/// Maximum length of a name.
const LONGEST: usize = 64;

/// A file of a skeleton: its path, and its text.
type SkeletonFile = (&'static str, &'static str);

const WORLD: SkeletonFile = ("wit/world.wit", include_str!("new/world.wit"));
const MANIFEST: SkeletonFile = ("plugin.toml", include_str!("new/plugin.toml"));

const RUST: [SkeletonFile; 6] = [
    ("Cargo.toml", include_str!("new/rust/Cargo.toml")),
    ("src/lib.rs", include_str!("new/rust/src/lib.rs")),
    WORLD,
    MANIFEST,
    ("README.md", include_str!("new/rust/README.md")),
    (".gitignore", include_str!("new/rust/gitignore")),
];
const PYTHON: [SkeletonFile; 5] = [
    ("app.py", include_str!("new/python/app.py")),
    WORLD,
    MANIFEST,
    ("README.md", include_str!("new/python/README.md")),
    (".gitignore", include_str!("new/python/gitignore")),
];
const JAVASCRIPT: [SkeletonFile; 6] = [
    ("plugin.js", include_str!("new/javascript/plugin.js")),
    ("package.json", include_str!("new/javascript/package.json")),
    WORLD,
    MANIFEST,
    ("README.md", include_str!("new/javascript/README.md")),
    (".gitignore", include_str!("new/javascript/gitignore")),
];
const C: [SkeletonFile; 4] = [
    ("main.c", include_str!("new/c/main.c")),
    ("plugin.toml", include_str!("new/c/plugin.toml")),
    ("README.md", include_str!("new/c/README.md")),
    (".gitignore", include_str!("new/c/gitignore")),
];

/// The reason why there is no new plugin.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    #[error(
        "{} is no name for a plugin: it has lower-case letters, digits and single hyphens, begins with a letter, and is the \
         name of a new directory here",
        QuotedName::of(.0)
    )]
    Name(String),
    #[error("{} is there already, and nothing is written over: choose another name, or move it away", ForeignText::of(.0))]
    Exists(String),
    #[error("cannot write {}", ForeignText::of(.path))]
    Write { path: String, source: io::Error },
}

/// Writes the skeleton of a plugin into a new directory.
pub fn new(args: &NewArgs) -> Result<Exit, Stop> {
    let NewArgs { language, name, verbosity } = args;
    if !is_name(name) {
        return Err(NewError::Name(name.clone()).into());
    }
    write(Path::new(name), name, files(*language))?;
    if !verbosity.quiet {
        tell!("wasmpool: {name}/ has a plugin that builds and runs; {name}/README.md says how");
    }
    Ok(Exit::Success)
}

fn files(language: Language) -> &'static [SkeletonFile] {
    match language {
        Language::Rust => &RUST,
        Language::Python => &PYTHON,
        Language::Javascript => &JAVASCRIPT,
        Language::C => &C,
    }
}

/// Returns true for a name that is one of a directory, of a crate and of a package of npm.
fn is_name(name: &str) -> bool {
    let is_word =
        |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    name.len() <= LONGEST && name.starts_with(|first: char| first.is_ascii_lowercase()) && name.split('-').all(is_word)
}

/// Writes the files into a new directory, which is removed again if one of them cannot be written.
fn write(directory: &Path, name: &str, files: &[SkeletonFile]) -> Result<(), NewError> {
    fs::create_dir(directory).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => NewError::Exists(name.to_owned()),
        _ => NewError::Write { path: name.to_owned(), source },
    })?;
    for (path, text) in files {
        if let Err(source) = write_file(&directory.join(path), &text.replace(NAME, name)) {
            // It was made just now, so nothing of anybody else's is in it.
            let _ = fs::remove_dir_all(directory);
            return Err(NewError::Write { path: format!("{name}/{path}"), source });
        }
    }
    Ok(())
}

fn write_file(path: &Path, text: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_wherever_it_is_used() {
        for name in ["check", "isbn13", "two-words", "a"] {
            assert!(is_name(name), "{name}");
        }
        let long = "a".repeat(LONGEST + 1);
        for name in ["", "Check", "1st", "-a", "a-", "a--b", "a_b", "a/b", "..", ".", "a b", "ä", "a.b", &long] {
            assert!(!is_name(name), "{name}");
        }
    }
}
