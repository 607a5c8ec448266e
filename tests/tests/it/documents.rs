//! Documents name only what exists: files, chapters, targets of `make`, options. What they show is what the program
//! does.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::broker;
use crate::support::guest::{built, built_in};
use crate::support::run::wasmpool;
use crate::support::{binary, workspace};

/// The commands that have a help of their own.
const COMMANDS: [&str; 15] = [
    "map",
    "exec",
    "call",
    "run",
    "serve",
    "hosts",
    "share serve",
    "inspect",
    "compile",
    "new",
    "cache",
    "cache clean",
    "doctor",
    "completions",
    "man",
];

/// Returns all documents, except those of third-party material.
fn documents() -> Vec<(PathBuf, String)> {
    let folders = ["", "docs", "guest", "tests", "demo"].map(|folder| workspace().join(folder));
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).expect("a folder"));
    let paths = files.map(|entry| entry.expect("an entry").path());
    let documents: Vec<(PathBuf, String)> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        // It describes the past.
        .filter(|path| !path.ends_with("CHANGELOG.md"))
        .map(|path| (path.clone(), std::fs::read_to_string(&path).expect("a document")))
        .collect();
    assert!(documents.len() >= 12, "only {} documents were found", documents.len());
    documents
}

/// Reads a document of the workspace, by its path there.
fn document(path: &str) -> String {
    std::fs::read_to_string(workspace().join(path)).expect("a document")
}

/// Returns every text between `start` and the next `end`.
fn between<'a>(text: &'a str, start: &str, end: char) -> Vec<&'a str> {
    text.split(start).skip(1).filter_map(|rest| rest.split(end).next()).collect()
}

/// Returns true if a path exists in the document's own directory, in the workspace, or below one of the usual folders.
fn is_there(document: &Path, path: &str) -> bool {
    let root = workspace();
    let below = ["host/src", "host", "tests/tests/it", "tests", "guest"].map(|folder| root.join(folder));
    let beside = document.parent().expect("a folder").to_owned();
    let crates: Vec<PathBuf> = std::fs::read_dir(root.join("host/crates"))
        .expect("the crates")
        .map(|folder| folder.expect("a crate").path().join("src"))
        .collect();
    // A path inside a crate, with the crate's name in front.
    let of_crate = path.split_once('/').map(|(name, rest)| root.join("host/crates").join(name).join("src").join(rest));
    let folders = [beside, root];
    folders.iter().chain(&below).chain(&crates).any(|folder| folder.join(path).exists())
        || of_crate.is_some_and(|file| file.exists())
}

/// Returns the anchors of the chapters of a text, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let titles = text
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
    titles.map(|title| title.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

#[test]
fn links_lead_to_files_and_chapters() {
    let mut chapters = 0;
    for (document, text) in documents() {
        for link in between(&text, "](", ')').into_iter().filter(|link| !link.contains("://")) {
            let (path, chapter) = link.split_once('#').unwrap_or((link, ""));
            let file = document.parent().expect("a folder").join(path);
            assert!(path.is_empty() || file.exists(), "{}: {link}", document.display());
            if chapter.is_empty() {
                continue;
            }
            chapters += 1;
            let there =
                if path.is_empty() { text.clone() } else { std::fs::read_to_string(&file).expect("a document") };
            assert!(anchors(&there).contains(chapter), "{}: {link}", document.display());
        }
    }
    assert!(chapters > 20, "only {chapters} links to chapters were found");
}

#[test]
fn the_readme_leads_to_every_document() {
    let readme = document("README.md");
    let root = workspace();
    for (path, _) in documents() {
        let name = path.strip_prefix(&root).expect("a document of the workspace").to_string_lossy().into_owned();
        let is_index = name == "README.md";
        let led_to = readme.contains(&format!("]({name})")) || is_index || name.starts_with("demo/docs/");
        assert!(led_to, "no link to {name}");
    }
}

#[test]
fn the_book_has_every_document_of_its_folder() {
    let chapters = chapters();
    for (path, _) in documents() {
        let name = path.strip_prefix(workspace()).expect("a document of the workspace");
        assert!(!name.starts_with("docs") || chapters.iter().any(|chapter| chapter == name), "no chapter has {name:?}");
    }
}

/// Returns the documents that are chapters of the book, by their paths in it, which are those in the workspace.
fn chapters() -> Vec<PathBuf> {
    let summary = document("book/SUMMARY.md");
    let chapters: Vec<PathBuf> = between(&summary, "](", ')').into_iter().map(PathBuf::from).collect();
    assert!(chapters.len() > 20, "only {} chapters were found", chapters.len());
    chapters
}

/// The book is made of `book/` alone. What a chapter links to has to be there at the same path, as a chapter or as a file that
/// is copied; a folder would be no page.
#[test]
fn links_of_the_book_lead_to_what_it_has() {
    let (book, chapters) = (workspace().join("book"), chapters());
    let mut outside = 0;
    // The first chapter is also index.html, at the top of the book, and its links are as they are there.
    assert_eq!(chapters.first().and_then(|first| first.parent()), Some(Path::new("")), "{chapters:?}");
    for chapter in &chapters {
        let original = workspace().join(chapter).canonicalize().expect("a document");
        assert_eq!(book.join(chapter).canonicalize().ok(), Some(original), "{} is not in book/", chapter.display());
        let text = std::fs::read_to_string(book.join(chapter)).expect("a document");
        for link in between(&text, "](", ')').into_iter().filter(|link| !link.contains("://") && !link.starts_with('#'))
        {
            let target = chapter.parent().expect("a folder").join(link.split('#').next().unwrap_or_default());
            let target =
                plain(&target).unwrap_or_else(|| panic!("{}: {link} leads out of the book", chapter.display()));
            let is_page = target.extension().is_none_or(|extension| extension != "md") || chapters.contains(&target);
            assert!(book.join(&target).is_file() && is_page, "{}: the book has no {link}", chapter.display());
            outside += usize::from(chapter.starts_with("docs") && !target.starts_with("docs"));
        }
    }
    assert!(outside > 20, "only {outside} links lead out of docs/");
}

/// Returns a path without `..`, unless it leads out of the folder in which it is.
fn plain(path: &Path) -> Option<PathBuf> {
    path.components().try_fold(PathBuf::new(), |mut plain, part| match part {
        std::path::Component::ParentDir => plain.pop().then_some(plain),
        part => Some(plain.join(part)),
    })
}

#[test]
fn paths_lead_to_files() {
    // Paths in a package that a reader makes or gets, and a file that a property's first failure makes.
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
            // The rest of a pipe is no command of this program.
            let ours = command.split('|').filter_map(|part| part.split_once("wasmpool ").map(|(_, rest)| rest));
            let words = ours.flat_map(str::split_whitespace).filter(|word| word.contains('/'));
            // Paths of build results, of variables, and of files that the text has the reader make are left out.
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

/// Returns the full help of a command.
fn help_of(command: &str) -> String {
    wasmpool().args(command.split(' ')).arg("--help").run().exits(0).text().to_owned()
}

/// Returns the name of an option at the beginning of a text, with its hyphens.
fn option(text: &str) -> Option<String> {
    let name: String = text.strip_prefix("--")?.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
    (!name.is_empty()).then(|| format!("--{name}"))
}

#[test]
fn options_are_there() {
    let helps = COMMANDS.map(help_of);
    let known: BTreeSet<String> = helps.iter().flat_map(|help| help.split_whitespace()).filter_map(option).collect();
    // Documents for users, which describe no other tool's options.
    let of_users = ["README.md", "guest/README.md"].map(|name| workspace().join(name));
    let docs = workspace().join("docs");
    let of_users = |path: &Path| of_users.iter().any(|name| name == path) || path.starts_with(&docs);
    for (document, text) in documents() {
        // It describes the options of `make bench`.
        if !of_users(&document) || document.ends_with("performance.md") {
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

/// An option of a command: its letter, and its default value if that is one word.
#[derive(Debug, Default)]
struct Known {
    letter: Option<String>,
    default: Option<String>,
}

/// Returns the options that the help of each command lists, by command and name.
fn options_of_help() -> BTreeMap<(String, String), Known> {
    let mut options = BTreeMap::new();
    for command in COMMANDS {
        let help = help_of(command);
        let mut name = None;
        for line in help.lines() {
            // Texts are indented further, and may begin with an option too.
            let is_entry = line.len() - line.trim_start().len() <= 6;
            let line = line.trim();
            let (letter, long) = match line.split_once(", ") {
                Some((letter, rest)) if letter.len() == 2 && letter.starts_with('-') => (Some(letter.to_owned()), rest),
                _ => (None, line),
            };
            if let Some(long) = option(long).filter(|_| is_entry) {
                let key = (command.to_owned(), long);
                options.insert(key.clone(), Known { letter, ..Known::default() });
                name = Some(key);
            } else if let Some(known) = name.as_ref().and_then(|name| options.get_mut(name)) {
                let within = |start: &str| Some(line.split_once(start)?.1.split(']').next()?.to_owned());
                known.default = known.default.take().or(within("[default: ").filter(|value| !value.contains(' ')));
            }
        }
    }
    options
}

/// Returns the rows of the reference's table of options: their names with letters, their commands, and their defaults.
fn options_of_reference() -> Vec<[String; 3]> {
    let reference = document("docs/reference.md");
    let (_, options) = reference.split_once("\n## Options\n").expect("the chapter");
    let chapter = options.split("\n## ").next().expect("its text");
    let cells = |row: &str| row.split(" | ").take(3).map(str::to_owned).collect::<Vec<_>>().try_into().expect("cells");
    chapter.lines().filter_map(|line| line.strip_prefix("| `-")).map(|row| cells(&format!("`-{row}"))).collect()
}

#[test]
fn the_reference_has_the_options_of_each_command() {
    let mut left = options_of_help();
    assert!(left.len() > 100, "only {} options were found in the helps", left.len());
    for [names, commands, default] in options_of_reference() {
        let words: Vec<&str> = between(&names, "`", '`').into_iter().filter(|text| text.starts_with('-')).collect();
        let long = words.iter().find_map(|word| option(word)).expect("a long name");
        let letter = words.iter().find(|word| !word.starts_with("--")).map(|&letter| letter.to_owned());
        for command in commands.split(", ") {
            let known = left.remove(&(command.to_owned(), long.clone()));
            let known = known.unwrap_or_else(|| panic!("{command} has no {long}, or it stands there twice"));
            assert_eq!(letter, known.letter, "the letter of {long}");
            let value = known.default.unwrap_or_default();
            assert!(default.contains(&value), "{long} of {command} is {value} by default, not {default}");
        }
    }
    assert!(left.is_empty(), "not in the reference: {left:?}");
}

#[test]
fn the_plugin_that_is_shown_asks_for_what_is_shown() {
    let text = document("docs/plugins.md");
    let block = |start: &str| {
        let (_, rest) = text.split_once(start).expect("a block");
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

/// Returns the text of the first block of a document in this language.
fn block<'a>(text: &'a str, language: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!("```{language}\n")).expect("a block");
    rest.split("```").next().expect("its end")
}

/// Returns the commands that a document shows, each with what it prints.
fn shown(text: &str) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    for block in text.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        for line in block.lines() {
            match (line.strip_prefix("$ "), commands.last_mut()) {
                (Some(command), _) => commands.push((command.to_owned(), String::new())),
                (None, Some((_, printed))) => *printed += &format!("{line}\n"),
                (None, None) => panic!("no command before {line}"),
            }
        }
    }
    commands
}

/// Removes from a text what differs from run to run: the time that an item took, and its worker.
fn without_times(text: &str) -> String {
    ["\"elapsed_us\":", "\"worker\":"].iter().fold(text.to_owned(), |text, member| {
        let mut parts = text.split(member);
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |whole, part| whole + member + part.trim_start_matches(|c: char| c.is_ascii_digit()))
    })
}

/// Makes a directory with the files that the examples name, as a reader has it after `make guests`.
fn readers_directory() -> TempDir {
    let folder = TempDir::new().expect("a temporary directory");
    let readme = document("README.md");
    for name in ["guest", "demo"] {
        symlink(workspace().join(name), folder.path().join(name)).expect("a link");
    }
    std::fs::write(folder.path().join("square.wat"), block(&readme, "wat")).expect("written");
    for name in ["bin", "squares"] {
        std::fs::create_dir(folder.path().join(name)).expect("a directory");
    }
    symlink(binary(), folder.path().join("bin/wasmpool")).expect("a link");
    std::fs::write(folder.path().join("squares/plugin.toml"), block(&readme, "toml")).expect("written");
    std::fs::copy(built("square").path(), folder.path().join("squares/square.wasm")).expect("a copy");
    folder
}

/// Returns what a shell prints for a command in the directory: results, then messages.
fn printed(command: &str, folder: &Path) -> String {
    let others = std::env::var_os("PATH").unwrap_or_default();
    let programs = std::iter::once(folder.join("bin")).chain(std::env::split_paths(&others));
    let path = std::env::join_paths(programs).expect("paths");
    let guests = built("square");
    let guests = guests.path().parent().expect("a folder");
    let mut shell = Command::new("sh");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WASMPOOL_")) {
        shell.env_remove(name);
    }
    shell.args(["-c", command]).current_dir(folder).env("PATH", path).env("XDG_CACHE_HOME", folder.join("cache"));
    let output = shell.env("G", guests).output().expect("a shell");
    String::from_utf8([output.stdout, output.stderr].concat()).expect("text")
}

#[test]
fn examples_print_what_is_shown() {
    // Examples with tasks that no reader has, and one of a machine with a cgroup.
    const OTHERS: [&str; 4] = ["factor.wasm", "solver.wasm", "size.wasm", "doctor"];
    let folder = readers_directory();
    let mut run = 0;
    for name in ["README.md", "docs/quick-start.md", "docs/recipes.md", "docs/reference.md", "docs/long-runs.md"] {
        for (command, wanted) in shown(&document(name)) {
            if let Some(file) = command.strip_prefix("cat ") {
                std::fs::write(folder.path().join(file), &wanted).expect("written");
            }
            let has_guest = !command.contains("isbn-c.wasm") || built_in("c", "isbn").is_some();
            if has_guest && !OTHERS.iter().any(|other| command.contains(other)) {
                run += 1;
                let printed = printed(&command, folder.path());
                assert_eq!(without_times(&printed), without_times(&wanted), "{name}: {command}");
            }
        }
    }
    assert!(run > 12, "only {run} examples were run");
}

/// Returns a shell in a directory, with the program and the NATS server among its commands, and none of the program's options set.
fn shell_with_server(folder: &Path, server: &Path) -> Command {
    let others = std::env::var_os("PATH").unwrap_or_default();
    let programs = [folder.join("bin"), server.parent().expect("a folder").to_owned()];
    let path = std::env::join_paths(programs.into_iter().chain(std::env::split_paths(&others))).expect("paths");
    let mut shell = Command::new("bash");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WASMPOOL_")) {
        shell.env_remove(name);
    }
    shell.current_dir(folder).env("PATH", path).env("XDG_CACHE_HOME", folder.join("cache")).env("TMPDIR", folder);
    shell
}

#[test]
fn the_commands_that_lead_to_three_hosts_do() {
    let Some(server) = broker::program() else { return };
    let folder = readers_directory();
    std::fs::copy(built("square").path(), folder.path().join("square.wasm")).expect("a copy");
    std::fs::write(folder.path().join("numbers.jsonl"), "3\n4\n5\n").expect("written");
    let text = document("docs/hosts.md");
    let port = broker::free_port().to_string();
    let commands =
        block(&text, "sh").replace("4222", &port).replace("nats-server -js", &format!("nats-server -js -p {port}"));
    assert_eq!(commands.lines().count(), 5, "{commands}");
    let list = format!("wasmpool hosts --via nats://127.0.0.1:{port}");
    let script = format!("trap 'kill -9 $(jobs -p)' EXIT\n{commands}\n{list}");
    let output = shell_with_server(folder.path(), &server).args(["-c", &script]).output().expect("a shell");
    let printed = String::from_utf8_lossy(&output.stdout);
    let words: Vec<&str> = printed.lines().map(|line| line.split('\t').next().unwrap_or(line)).collect();
    assert_eq!(words, ["9", "16", "25", "host-1", "host-2", "host-3"], "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_demonstration_of_hosts_ends_with_the_bytes_of_one_machine() {
    let Some(server) = broker::program() else { return };
    let folder = readers_directory();
    let guests = built("fib");
    let guests = guests.path().parent().expect("a folder");
    let mut shell = shell_with_server(folder.path(), &server);
    let demo = shell.arg(workspace().join("demo/hosts")).arg(binary()).arg(guests).env("ITEMS", "120");
    let output = demo.output().expect("a shell");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        printed.contains("$ kill -9 ") && printed.contains("120 results, the same bytes in the same order"),
        "{printed}"
    );
}
