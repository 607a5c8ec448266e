//! Every place of the source where something is printed for a person: what it prints is our own text, or goes through
//! the types that show foreign text. A new place, or a new part of one, has to be added here by somebody who has
//! checked it.

use std::path::{Path, PathBuf};

use crate::support::workspace;

/// The beginnings of a place.
const PRINTS: [&str; 9] = [
    "eprintln!(",
    "eprint!(",
    "println!(",
    "print!(",
    "tell!(",
    "tell_as!(",
    "tell_text(",
    ".say(",
    "write_all(out.as_bytes(",
];

/// The types that show foreign text, as they stand in front of it.
const TYPES: [&str; 6] = [
    "ForeignText::of(",
    "ForeignText::of_failure(",
    "MessageLines(",
    "QuotedOutput(",
    "ShellWord::of(",
    "QuotedName::of(",
];

/// Our own texts: numbers, words of a fixed choice, and what was made of these and the types above.
const OURS: &[&str] = &[
    "Level::Info",
    "Level::Warning",
    "Level::Error",
    "level",
    "facts",
    "&facts",
    "off",
    "figures.sentence()",
    "said",
    "message",
    "&message",
    "time",
    "line",
    "expected",
    "more",
    "what",
    "task",
    "name",
    "path",
    "why",
    "done",
    "failed",
    "halt",
    "failures",
    "items",
    "STOPPING",
    "text",
    "&text",
    "variable",
    "out.as_bytes()",
    "counts.done",
    "counts.failures()",
    "describe(&diagnosis).as_bytes()",
    "failure.kind.name()",
    "bytes_said(bytes)",
    "kinds(counts)",
    "self.line(counts)",
    "short_of_workers(living, why)",
    "&short_of_workers(living, why)",
    "without(lacking)",
    "&without(lacking)",
    "worker + 1",
    "args",
    "args.via",
    "arguments",
    "format_args!($($text)*)",
    "format_args!($($arg)*)",
    "option",
    "directory",
    "describe(directory)",
    "count",
    "workers",
    "made",
    "restored",
];

/// Collects the files of a folder and of those below it.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the source") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => files(&path, found),
            false => found.push(path),
        }
    }
}

/// Returns the source that is released, without its tests, test-only modules, and examples.
fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    files(&workspace().join("host/src"), &mut found);
    files(&workspace().join("host/crates"), &mut found);
    let left_out = |path: &PathBuf| {
        let path = path.to_string_lossy();
        ["/tests", "/examples", "/probes", "/wasmpool-probes", "/hostile.rs", "/text.rs"]
            .iter()
            .any(|part| path.contains(part))
    };
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a file of the source");
        let code: String =
            text.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|l| [l, "\n"]).collect();
        let released = code.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned();
        (path, released)
    };
    found.into_iter().filter(|path| !left_out(path)).map(read).collect()
}

/// Returns the text between the parenthesis before `text` and the one that closes it, cut at its commas.
fn arguments(text: &str) -> Vec<String> {
    let mut arguments = vec![String::new()];
    let (mut depth, mut in_text, mut escaped) = (0, false, false);
    for c in text.chars() {
        match c {
            _ if in_text => {
                in_text = escaped || c != '"';
                escaped = c == '\\' && !escaped;
            }
            '"' => in_text = true,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = arguments.last_mut() {
            last.push(c);
        }
    }
    let trimmed = arguments.iter().map(|argument| argument.split_whitespace().collect::<Vec<_>>().join(" "));
    trimmed.filter(|argument| !argument.is_empty()).collect()
}

/// Returns the names that a format string fills in.
fn filled_in(format: &str) -> Vec<String> {
    let parts = format.replace("{{", "").replace("}}", "");
    let names = parts.split('{').skip(1).filter_map(|part| part.split('}').next().map(str::to_owned));
    names.map(|name| name.split(':').next().unwrap_or_default().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// Returns the parts that a place prints, except for literal texts.
fn parts(arguments: &[String]) -> Vec<String> {
    let mut parts = Vec::new();
    for argument in arguments {
        let inner = argument.strip_prefix("&format!(").or_else(|| argument.strip_prefix("format!("));
        if let Some(inner) = inner {
            parts.extend(self::parts(&self::arguments(inner)));
        } else if argument.starts_with('"') {
            parts.extend(filled_in(argument));
        } else {
            parts.push(argument.clone());
        }
    }
    parts
}

#[test]
fn whatever_is_printed_is_ours_or_goes_through_the_types_for_foreign_text() {
    let mut places = 0;
    for (path, code) in sources() {
        for start in PRINTS {
            // `eprintln!(` contains `println!(`.
            let begins = code.match_indices(start).filter(|(at, _)| {
                let before = code.get(..*at).and_then(|before| before.chars().next_back());
                start.starts_with('.') || before.is_none_or(|c| !c.is_alphanumeric() && c != '_')
            });
            for (at, _) in begins {
                let open = at + start.find('(').expect("a parenthesis") + 1;
                let arguments = arguments(code.get(open..).unwrap_or_default());
                places += 1;
                for part in parts(&arguments) {
                    let known = OURS.contains(&&*part) || TYPES.iter().any(|ty| part.starts_with(ty));
                    // Facts are written as JSON, which escapes them.
                    let known = known || path.ends_with("stdio.rs") || part.starts_with("&[");
                    assert!(known, "{}: {part:?} is printed by {start}{arguments:?}", path.display());
                }
            }
        }
    }
    assert!(places > 15, "only {places} places were found: this test looks for others than there are");
}

/// Whether standard error is a terminal may be asked elsewhere. Everything is written in one place, whose users are
/// checked above.
#[test]
fn standard_error_is_written_to_in_one_place() {
    for (path, code) in sources() {
        let written = code.replace("stderr().is_terminal()", "").replace("stderr().as_fd()", "");
        assert!(path.ends_with("stdio.rs") || !written.contains("stderr()"), "{}: use tell!", path.display());
    }
}

#[test]
fn paths_are_shown_through_the_type_for_foreign_text() {
    for (path, code) in sources() {
        assert!(!code.contains(".display()"), "{}: use ForeignText::of", path.display());
    }
}

/// A parser's error repeats keys and values unchanged, over several lines.
#[test]
fn errors_of_parsers_of_a_stranger_s_text_are_shown_in_parts() {
    let mut places = 0;
    for (path, code) in sources() {
        for parser in ["toml::from_", "wat::parse_", "::from_binary("] {
            for (at, _) in code.match_indices(parser) {
                let here = code.get(at..).unwrap_or_default();
                let rest = here.split("\n}\n").next().unwrap_or_default();
                let shown = match parser {
                    "toml::from_" => rest.contains("e.message()") && !rest.contains("e.to_string()"),
                    "wat::parse_" => rest.contains("no_wasm(text, file, &e)"),
                    // An error that is passed on unchanged is checked at the callers.
                    _ => rest.lines().next().is_some_and(|line| line.ends_with(")?;")),
                };
                assert!(shown, "{}: an error is shown as it came: {rest}", path.display());
                places += 1;
            }
        }
        assert!(!code.contains("it is not valid WebAssembly: {e"), "{}", path.display());
    }
    assert!(places >= 4, "only {places} places were found");
}

/// In these files names that a stranger chose become part of messages.
#[test]
fn names_of_a_task_and_a_manifest_are_filled_into_no_message_as_they_are() {
    for (path, code) in
        sources().iter().filter(|(path, _)| path.ends_with("exports.rs") || path.ends_with("manifest.rs"))
    {
        for name in ["name", "wanted", "function", "guest"] {
            let shown = code.replace("format!(\"::{guest}{mode}\")", "");
            assert!(!shown.contains(&format!("{{{name}}}")), "{}: {{{name}}}", path.display());
        }
    }
}
