//! Layers import downwards only: checked for crates by their manifests, and for the modules of a crate by their source.
//! What crosses their borders is checked too: errors have types, and only the command knows its options.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::workspace;

/// The crates that each crate may name, the lowest first.
const ARROWS: [(&str, &[&str]); 13] = [
    ("core", &[]),
    ("objects", &["core"]),
    ("scheduler", &["core"]),
    ("ipc", &["core"]),
    ("sandbox", &["core"]),
    ("hosts", &["core", "ipc"]),
    ("shared", &["core", "ipc", "objects"]),
    ("imports", &["core", "ipc", "objects", "shared"]),
    // The tests of `worker` have the machine of the objects in their own process.
    ("worker", &["core", "imports", "ipc", "objects", "sandbox", "shared"]),
    ("manager", &["core", "ipc", "objects", "sandbox"]),
    // The tests of `run` start a manager.
    ("run", &["core", "ipc", "manager", "objects", "sandbox", "scheduler"]),
    ("nats", &["core", "hosts", "ipc", "objects", "run", "scheduler"]),
    ("wasmpool", &["core", "hosts", "ipc", "manager", "nats", "objects", "run", "sandbox", "scheduler", "worker"]),
];

fn crate_folder(name: &str) -> PathBuf {
    match name {
        "wasmpool" => workspace().join("host"),
        name => workspace().join("host/crates").join(name),
    }
}

/// Returns the crates of this workspace that a manifest names.
fn dependencies(manifest: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(manifest).expect("a manifest");
    let names = text.lines().filter_map(|line| line.strip_prefix("wasmpool-")?.split(['.', ' ', '=']).next());
    names.map(str::to_owned).collect()
}

#[test]
fn a_crate_names_only_crates_below_it() {
    for (name, below) in ARROWS {
        let named = dependencies(&crate_folder(name).join("Cargo.toml"));
        assert_eq!(named, below.iter().map(|&name| name.to_owned()).collect(), "of {name}");
    }
    let crates = fs::read_dir(workspace().join("host/crates")).expect("a folder").count();
    assert_eq!(crates + 1, ARROWS.len(), "each crate has its place among the layers");
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the source") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => files(&path, found),
            false => found.push(path),
        }
    }
}

/// Returns the place of a file in its crate, as the names of the modules that lead to it.
fn module(root: &Path, file: &Path) -> Vec<String> {
    let mut names: Vec<String> = file
        .strip_prefix(root)
        .expect("a file of the crate")
        .with_extension("")
        .iter()
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    if names.last().is_some_and(|name| ["mod", "lib", "main"].contains(&name.as_str())) {
        names.pop();
    }
    names
}

/// Returns the modules that a file names by `crate::…` or `super::…`, each as far as it is written.
fn named(of: &[String], text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    for line in code {
        let groups = line.split("crate::{").nth(1).is_some_and(|rest| rest.starts_with(char::is_lowercase));
        assert!(!groups, "one module on a line, so that it is seen here: {line}");
        for (start, word) in line.match_indices("crate::").chain(line.match_indices("super::")) {
            let is_start =
                !line.get(..start).is_some_and(|before| before.ends_with("super::") || before.ends_with('_'));
            if !is_start {
                continue;
            }
            let mut base = if word == "crate::" { Vec::new() } else { of.to_vec() };
            let mut rest = line.get(start..).unwrap_or_default();
            while let Some(behind) = rest.strip_prefix("super::") {
                base.pop();
                rest = behind;
            }
            rest = rest.strip_prefix("crate::").unwrap_or(rest);
            for part in rest.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).take(1) {
                base.extend(part.split("::").filter(|name| !name.is_empty()).map(str::to_owned));
            }
            found.push(base);
        }
    }
    found
}

/// Crates whose top-level files count as one part together, beside their folders.
const ONE_PART: [&str; 5] = ["imports", "sandbox", "scheduler", "shared", "worker"];

/// Returns the pairs of modules of a crate that import each other. The content of a folder is part of it.
fn circles(name: &str) -> Vec<(String, String)> {
    let root = &crate_folder(name).join("src");
    let mut all = Vec::new();
    files(root, &mut all);
    let sources: Vec<(Vec<String>, String)> = all
        .iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
        .map(|file| (module(root, file), fs::read_to_string(file).expect("a file of the source")))
        .collect();
    let folders: BTreeSet<&str> = sources
        .iter()
        .filter(|(module, _)| module.len() > 1)
        .filter_map(|(module, _)| module.first())
        .map(String::as_str)
        .collect();
    let unit = |module: &[String]| -> String {
        let is_apart = |first: &&String| !ONE_PART.contains(&name) || folders.contains(first.as_str());
        module.first().filter(is_apart).cloned().unwrap_or_default()
    };
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, text) in &sources {
        let released = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        if module.iter().any(|name| name == "tests") {
            continue;
        }
        let from = unit(module);
        let to = named(module, released).into_iter().filter(|named| !named.is_empty()).map(|named| unit(&named));
        arrows.entry(from.clone()).or_default().extend(to.filter(|to| *to != from));
    }
    let names = |from: &str, to: &str| arrows.get(from).is_some_and(|named| named.contains(to));
    let pairs = arrows.iter().flat_map(|(from, to)| to.iter().map(move |to| (from.clone(), to.clone())));
    pairs.filter(|(from, to)| from < to && names(to, from)).collect()
}

#[test]
fn no_two_modules_of_a_crate_name_each_other() {
    for (name, _) in ARROWS {
        let found = circles(name);
        assert!(found.is_empty(), "in {name}, where the empty name is that of the files at its top: {found:?}");
    }
}

/// Returns the files below `host/src` and `host/crates`, with their source as it is released.
fn released_sources() -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    files(&workspace().join("host/src"), &mut all);
    files(&workspace().join("host/crates"), &mut all);
    let is_test = |file: &Path| file.iter().any(|part| part == "tests" || part == "tests.rs");
    all.retain(|file| file.extension().is_some_and(|extension| extension == "rs") && !is_test(file));
    let released = |file: PathBuf| {
        let text = fs::read_to_string(&file).expect("a file of the source");
        let released = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned();
        (file, released)
    };
    all.into_iter().map(released).collect()
}

/// Returns the error types of all `Result`s in a type.
fn error_types(ty: &str) -> Vec<&str> {
    let error_type = |(at, found): (usize, &str)| {
        let (inside, mut depth, mut last) = (&ty[at + found.len()..], 0, None);
        for (at, c) in inside.char_indices() {
            match c {
                '<' | '(' | '[' => depth += 1,
                '>' if depth == 0 => return last.map(|last| inside[last..at].trim()),
                '>' | ')' | ']' => depth -= 1,
                ',' if depth == 0 => last = Some(at + 1),
                _ => {}
            }
        }
        None
    };
    ty.match_indices("Result<").filter_map(error_type).collect()
}

#[test]
fn no_error_that_leaves_a_module_is_a_text() {
    assert_eq!(error_types("io::Result<Result<Vec<(u8, String)>, Error>>"), ["Error"]);
    assert_eq!(error_types("Option<Result<(String, u8), String>>"), ["String"]);
    for (file, text) in released_sources() {
        for function in
            ["pub fn ", "pub(super) fn ", "pub(crate) fn "].iter().flat_map(|start| text.split(start).skip(1))
        {
            let signature = function.split([';', '{']).next().unwrap_or_default();
            let errors = error_types(signature);
            assert!(!errors.contains(&"String"), "in {}: {signature}", file.display());
        }
    }
}

/// Files outside the command that may hold something like an option: what a lying worker says.
const LIES: &str = "hostile.rs";
/// Those that say with which options of a compiler a task is built.
const OF_COMPILERS: [&str; 3] =
    ["imports/src/toolchain.rs", "worker/src/compiler/mistaken.rs", "worker/src/compiler/proposals.rs"];

#[test]
fn only_the_command_names_its_options() {
    let is_option = |rest: &str| rest.starts_with(|c: char| c.is_ascii_lowercase());
    for (file, text) in released_sources() {
        if file.ends_with(LIES)
            || OF_COMPILERS.iter().any(|name| file.ends_with(name))
            || file.starts_with(workspace().join("host/src/cli"))
            || file.iter().any(|part| part == "bin")
        {
            continue;
        }
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            assert!(!line.split("--").skip(1).any(is_option), "in {}: {line}", file.display());
        }
    }
}
