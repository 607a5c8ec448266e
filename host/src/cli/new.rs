//! `wasmpool new`: the skeleton of a plugin, with all that it takes to build and run it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use clap::ValueEnum;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::args::{Language, NewArgs};
use super::exit::{Exit, Stop};
use super::{documents, error_saying, meant};
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

/// A language without a skeleton that has a guide: the names that somebody may give it, what it is called, and the page of the guide.
type Guide = (&'static [&'static str], &'static str, &'static str);

const GUIDES: [Guide; 3] = [
    (&["go", "golang", "tinygo"], "Go", "plugin-go.md"),
    (&["c++", "cpp", "cxx", "cc"], "C++", "plugin-c.md"),
    (&["typescript", "ts"], "TypeScript", "plugin-javascript.md"),
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

/// Returns an error that names the guide of a language which has no skeleton, in place of one that knows only skeletons.
pub fn with_guide(error: clap::Error) -> clap::Error {
    match (error.kind(), error.get(ContextKind::InvalidArg), error.get(ContextKind::InvalidValue)) {
        (ErrorKind::InvalidValue, Some(ContextValue::String(arg)), Some(ContextValue::String(given)))
            if arg == "<LANGUAGE>" =>
        {
            error_saying(ErrorKind::InvalidValue, without_skeleton(given))
        }
        _ => error,
    }
}

fn without_skeleton(given: &str) -> String {
    let values = Language::value_variants().iter().filter_map(Language::to_possible_value);
    let names: Vec<String> = values.map(|value| value.get_name().to_owned()).collect();
    let there = format!("`wasmpool new` has a skeleton for {}", names.join(", "));
    let guides = GUIDES.map(|(_, language, guide)| format!("{} for {language}", documents::page(guide))).join(", ");
    let asked = given.to_lowercase();
    match GUIDES.iter().find(|(names, ..)| names.contains(&&*asked)) {
        Some((_, language, guide)) => {
            format!(
                "there is no skeleton for {language}, but a guide: {} says how a plugin is written and built in it; {there}",
                documents::page(guide)
            )
        }
        None => {
            let similar = meant::at_few_edits(&asked, names.iter().map(String::as_str));
            let similar = similar.map_or_else(String::new, |name| format!(" (did you mean '{name}'?)"));
            format!(
                "there is no skeleton for {}{similar}; {there}. Other languages have a guide: {guides}; {} says what a plugin \
                 in any language exports",
                QuotedName::of(given),
                documents::page("plugins.md")
            )
        }
    }
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

    /// So that a new guide is not forgotten here.
    #[test]
    fn each_language_of_the_documents_has_a_skeleton_or_is_named_with_its_guide() {
        let documents = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let mut languages = 0;
        for entry in fs::read_dir(documents).expect("the documents") {
            let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
            let Some(language) = name.strip_prefix("plugin-").and_then(|name| name.strip_suffix(".md")) else {
                continue;
            };
            languages += 1;
            if Language::from_str(language, false).is_err() {
                let said = without_skeleton(language);
                assert!(said.contains(&format!("docs/{name}")), "{said}");
            }
        }
        assert!(languages >= 5, "only {languages} guides were found");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        assert!(GUIDES.iter().all(|(_, _, guide)| root.join(guide).exists()));
    }

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
