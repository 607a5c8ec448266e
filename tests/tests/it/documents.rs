//! What the documents name is there: files, targets of `make`, options; and the plugin that they show is what they say.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::guest::built;
use crate::support::run::wasmpool;
use crate::support::workspace;

/// All documents, but those of things from elsewhere.
fn documents() -> Vec<(PathBuf, String)> {
    let folders = ["", "docs", "guest", "tests", "demo"].map(|folder| workspace().join(folder));
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).expect("a folder"));
    let paths = files.map(|entry| entry.expect("an entry").path());
    let documents: Vec<(PathBuf, String)> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        // It tells of what was.
        .filter(|path| !path.ends_with("CHANGELOG.md"))
        .map(|path| (path.clone(), std::fs::read_to_string(&path).expect("a document")))
        .collect();
    assert!(documents.len() >= 9, "only {} documents were found", documents.len());
    documents
}

/// What stands between one text and the next other, wherever it does.
fn between<'a>(text: &'a str, start: &str, end: char) -> Vec<&'a str> {
    text.split(start).skip(1).filter_map(|rest| rest.split(end).next()).collect()
}

/// What a document is about may stand in its own directory, in the whole, or where it says that all paths are below.
fn is_there(document: &Path, path: &str) -> bool {
    let root = workspace();
    let below = ["host/src", "host", "tests/tests/it", "tests", "guest"].map(|folder| root.join(folder));
    let beside = document.parent().expect("a folder").to_owned();
    let crates: Vec<PathBuf> = std::fs::read_dir(root.join("host/crates"))
        .expect("the crates")
        .map(|folder| folder.expect("a crate").path().join("src"))
        .collect();
    // Of a crate with its name in front.
    let of_crate = path.split_once('/').map(|(name, rest)| root.join("host/crates").join(name).join("src").join(rest));
    let folders = [beside, root];
    folders.iter().chain(&below).chain(&crates).any(|folder| folder.join(path).exists())
        || of_crate.is_some_and(|file| file.exists())
}

#[test]
fn links_lead_to_files() {
    for (document, text) in documents() {
        for link in between(&text, "](", ')') {
            let path = link.split('#').next().unwrap_or_default();
            let elsewhere = path.is_empty() || path.contains("://");
            let there = document.parent().expect("a folder").join(path).exists();
            assert!(elsewhere || there, "{}: {link}", document.display());
        }
    }
}

#[test]
fn paths_lead_to_files() {
    // Of a package that a reader makes or gets; made by a property's first failure.
    const ELSEWHERE: [&str; 3] = ["wit/world.wit", "data/birdstrikes.csv", "host/proptest-regressions"];
    let is_path = |text: &&str| {
        let letter = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
        let mut parts = text.split('/');
        // `a/b.rs`, not `/data`, `ms/s` or `interface/name`.
        text.contains('/') && text.chars().all(letter) && parts.all(|part| !part.is_empty()) && text.contains('.')
    };
    let mut paths = 0;
    for (document, text) in documents() {
        for path in between(&text, "`", '`').into_iter().filter(is_path) {
            if ELSEWHERE.contains(&path) || path.starts_with("..") || path.starts_with("./") {
                continue;
            }
            paths += 1;
            assert!(is_there(&document, path), "{}: {path}", document.display());
        }
    }
    assert!(paths > 40, "only {paths} paths were found");
}

#[test]
fn commands_name_files_that_are_there() {
    for (document, text) in documents() {
        for command in between(&text, "\n$ ", '\n').into_iter().filter(|command| command.contains("wasmpool ")) {
            // What else stands in a pipe is no command of ours.
            let ours = command.split('|').filter_map(|part| part.split_once("wasmpool ").map(|(_, rest)| rest));
            let words = ours.flat_map(str::split_whitespace).filter(|word| word.contains('/'));
            // What is built, what a variable holds, and what the text has the reader make.
            let ours =
                words.filter(|word| !["target/", "$", "/", "'", "http", "./"].iter().any(|s| word.starts_with(s)));
            for path in ours.filter(|word| !word.contains(['=', ':', '<', '>'])) {
                assert!(is_there(&document, path), "{}: {path} of {command}", document.display());
            }
        }
    }
}

#[test]
fn targets_of_make_are_there() {
    let makefile = std::fs::read_to_string(workspace().join("Makefile")).expect("it is there");
    let is_target = |name: &str| makefile.lines().any(|line| line.starts_with(&format!("{name}:")));
    for (document, text) in documents() {
        for start in ["`make ", "\nmake ", "\n    make ", "$ make "] {
            for rest in between(&text, start, '\n') {
                let name: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
                assert!(name.len() < 2 || is_target(&name), "{}: make {name}", document.display());
            }
        }
    }
}

/// The name of an option at the beginning of a text, with its hyphens.
fn option(text: &str) -> Option<String> {
    let name: String = text.strip_prefix("--")?.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
    (!name.is_empty()).then(|| format!("--{name}"))
}

#[test]
fn options_are_there() {
    let commands = ["map", "exec", "call", "inspect", "compile", "doctor"];
    let helps = commands.map(|command| wasmpool().args([command, "--help"]).run().exits(0).text().to_owned());
    let known: BTreeSet<String> = helps.iter().flat_map(|help| help.split_whitespace()).filter_map(option).collect();
    for (document, text) in documents() {
        // What is written for users, and tells of no other tool's options.
        let of_users = ["README.md", "docs/from-python.md", "docs/long-runs.md", "docs/security.md"]
            .map(|name| workspace().join(name));
        if !of_users.contains(&document) {
            continue;
        }
        let promised = |line: &&str| !line.starts_with("Not there yet: ");
        let text = text.lines().filter(promised).collect::<Vec<_>>().join("\n");
        let said = between(&text, "`--", '`').into_iter().map(|rest| format!("--{rest}"));
        let run = between(&text, "\n$ ", '\n').into_iter().flat_map(|line| {
            let ours = line.split('|').filter_map(|part| part.split_once("wasmpool ").map(|(_, rest)| rest));
            ours.flat_map(|rest| rest.split(" -- ").next().unwrap_or_default().split_whitespace()).map(str::to_owned)
        });
        for option in said.chain(run).filter_map(|text| option(&text)) {
            assert!(known.contains(&option), "{}: {option}", document.display());
        }
    }
}

#[test]
fn the_plugin_that_is_shown_asks_for_what_is_shown() {
    let text = std::fs::read_to_string(workspace().join("README.md")).expect("it is there");
    let (_, of_plugins) = text.split_once("\n## Plugins\n").expect("the chapter");
    let block = |start: &str| {
        let (_, rest) = of_plugins.split_once(start).expect("a block");
        rest.split("\n```").next().expect("its end").to_owned()
    };
    let folder = TempDir::new().expect("a temporary directory");
    std::fs::write(folder.path().join("plugin.toml"), block("```toml\n")).expect("written");
    std::fs::copy(built("reach").path(), folder.path().join("check.wasm")).expect("a copy");
    let shown = wasmpool().arg("inspect").arg(folder.path().join("check.wasm")).run().exits(0);
    let (_, asks) = shown.text().split_once("what the plugin asks for:\n").expect("what it asks for");
    let (_, wanted) = block("$ wasmpool inspect check.wasm | ")
        .split_once("what the plugin asks for:\n")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .expect("the list");
    assert_eq!(asks.trim_end(), wanted);
}
