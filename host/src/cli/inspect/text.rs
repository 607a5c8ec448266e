//! The description of a task for people.

use std::collections::BTreeSet;

use super::{Inspected, grants};
use wasmpool_core::artifact::{ExportLine, InitOnce, Renewal, TaskFormat};
use wasmpool_core::text::{ForeignText, MessageLines, QuotedName, bytes_said, few, shown};

/// Maximum number of lines in a list, and of characters in each.
const LISTED: usize = 1000;
const LONGEST: usize = 2500;
/// Number of columns at which a line is wrapped, and where it goes on.
const WIDTH: usize = 100;
const INDENT: &str = "      ";

/// Packages of WASI that toolchains import whether or not a task uses them.
const USUAL: [&str; 6] = ["cli", "clocks", "filesystem", "io", "random", "sockets"];
/// Modules that core modules import of WASI.
const USUAL_MODULES: [&str; 2] = ["wasi_snapshot_preview1", "wasi_unstable"];

/// Describes a task; in full also what its toolchain added.
pub fn described(inspected: &Inspected<'_>, in_full: bool) -> String {
    let Inspected { wasm, meta, manifest } = inspected;
    let description = &meta.description;
    let mut out = String::new();
    out += &format!("task: {}\n", ForeignText::of(wasm));
    out += match meta.format {
        TaskFormat::Component => "kind: component\n",
        TaskFormat::Core => "kind: core module\n",
    };
    let (users, others) = inspected.functions();
    functions(&mut out, &users);
    if let Some(command) = &description.command {
        out += &format!("command: {}, which wasmpool exec runs\n", shown(command));
    }
    if in_full {
        section(&mut out, "other exports", &others.iter().map(|export| line(export)).collect::<Vec<_>>());
        section(&mut out, "imports", &description.imports);
    } else {
        section(&mut out, "imports", &summed_up(&description.imports));
    }
    if description.left_out > 0 {
        out += &format!("and {} more exports and imports\n", description.left_out);
    }
    if let Some(why) = &description.unprovided {
        out += &format!("cannot run: {}\n", MessageLines(why));
    }
    usable_grants(&mut out, &description.imports);
    match &description.init {
        Some(InitOnce::EachTime(why)) => out += &format!("init: runs in each instance ({})\n", ForeignText::of(why)),
        Some(_) => out += "init: runs once, then each instance starts from a snapshot\n",
        None => {}
    }
    match &meta.renewal {
        renewal @ Renewal::InPlace { .. } => {
            let unless = renewal.unless().map_or(", where possible".to_owned(), |unless| format!(", unless {unless}"));
            out += &format!("pristine memory: an instance is restored after an item{unless}\n");
        }
        Renewal::Anew(why) => {
            out += &format!("pristine memory: each item gets a new instance ({})\n", ForeignText::of(why))
        }
    }
    if let Some(needs) = meta.needs {
        out += &format!("memory at start: {}\n", bytes_said(needs.initial_memory));
    }
    // Printed last, so that no text of the task's author can push it off the screen.
    if let Some(manifest) = manifest {
        if let Some(function) = &manifest.function {
            let lacks = description.left_out == 0 && description.named(function).is_empty();
            let lacks = if lacks { ", which the task does not have" } else { "" };
            out += &format!("function of the plugin: {}{lacks}\n", QuotedName::of(function));
        }
        section(&mut out, "what the plugin asks for", &manifest.sentences());
    }
    out
}

/// Prints the functions that a user would call, each with an item that it would take.
fn functions(out: &mut String, users: &[&ExportLine]) {
    if users.is_empty() {
        *out += "functions: none\n";
        return;
    }
    *out += "functions:\n";
    let (shown, more) = few(users, LISTED);
    for export in shown {
        *out += &wrapped(&shown_line(&line(export)));
        if let Some(example) = &export.example {
            *out += &format!("{INDENT}item: {}\n", ForeignText::of(example));
        }
    }
    tell_more(out, more);
}

/// Prints a list whose lines contain text that the task's author chose. They are not wrapped, so that none of them can look
/// like several.
fn section(out: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        *out += &format!("{title}: none\n");
        return;
    }
    *out += &format!("{title}:\n");
    let (shown, more) = few(lines, LISTED);
    for line in shown {
        *out += &format!("  {}\n", shown_line(line));
    }
    tell_more(out, more);
}

fn tell_more(out: &mut String, more: usize) {
    if more > 0 {
        *out += &format!("  and {more} more\n");
    }
}

fn line(export: &ExportLine) -> String {
    match &export.unsupported {
        Some(why) => format!("{} (cannot be called with values: {why})", export.signature),
        None => export.signature.clone(),
    }
}

fn shown_line(text: &str) -> String {
    ForeignText::of(text).at_most(LONGEST).to_string()
}

/// Returns an entry of a list, wrapped at its blanks.
fn wrapped(text: &str) -> String {
    let mut out = String::from("  ");
    let mut column = out.len();
    for (nth, word) in text.split(' ').enumerate() {
        let width = word.chars().count();
        if nth > 0 && column + 1 + width > WIDTH && column > INDENT.len() {
            out += &format!("\n{INDENT}{word}");
            column = INDENT.len() + width;
        } else {
            let blank = if nth > 0 { " " } else { "" };
            out += &format!("{blank}{word}");
            column += blank.len() + width;
        }
    }
    out.push('\n');
    out
}

/// Returns imports with those on one line that toolchains import anyway.
fn summed_up(imports: &[String]) -> Vec<String> {
    let (mut packages, mut versions, mut interfaces) = (BTreeSet::new(), BTreeSet::new(), 0);
    let mut lines = Vec::new();
    for module in USUAL_MODULES {
        let of_module = |import: &&String| import.strip_prefix(module).is_some_and(|rest| rest.starts_with('/'));
        let count = imports.iter().filter(of_module).count();
        if count > 0 {
            lines.push(format!("{module}: {} (-v lists them)", counted(count, "function")));
        }
    }
    let mut others = Vec::new();
    for import in imports {
        if USUAL_MODULES.iter().any(|module| import.strip_prefix(module).is_some_and(|rest| rest.starts_with('/'))) {
            continue;
        }
        match usual(import) {
            Some((package, version)) => {
                packages.insert(package);
                versions.insert(version);
                interfaces += 1;
            }
            None => others.push(import.clone()),
        }
    }
    if interfaces > 0 {
        let versions = versions.into_iter().filter(|version| !version.is_empty()).collect::<Vec<_>>().join(" and ");
        let packages = packages.into_iter().map(|package| format!("wasi:{package}/*")).collect::<Vec<_>>().join(", ");
        let wasi = if versions.is_empty() { "WASI".to_owned() } else { format!("WASI {versions}") };
        lines.push(format!("{wasi}: {packages} ({}; -v lists them)", counted(interfaces, "interface")));
    }
    lines.extend(others);
    lines
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// Returns the package and version of an interface of WASI that toolchains import anyway.
fn usual(import: &str) -> Option<(&str, &str)> {
    let (package, interface) = import.strip_prefix("wasi:")?.split_once('/')?;
    let version = interface.split_once('@').map_or("", |(_, version)| version);
    USUAL.contains(&package).then_some((package, version))
}

fn usable_grants(out: &mut String, imports: &[String]) {
    let usable = grants::usable(imports);
    if usable.is_empty() {
        return;
    }
    *out += "grants that it can use, and has only if they are given:\n";
    let width = usable.iter().map(|grant| grant.option.len()).max().unwrap_or_default();
    for grant in usable {
        *out += &format!("  {:<width$}  {}\n", grant.option, grant.gives);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_type_is_wrapped_where_it_has_blanks() {
        assert_eq!(wrapped("short: func()"), "  short: func()\n");
        let long = format!("f: func({})", ["parameter: string"; 20].join(", "));
        let shown = wrapped(&long);
        assert!(shown.lines().all(|line| line.len() <= WIDTH) && shown.lines().count() > 3, "{shown}");
        assert!(shown.lines().skip(1).all(|line| line.starts_with(INDENT) && !line[INDENT.len()..].starts_with(' ')));
        assert_eq!(shown.split_whitespace().collect::<Vec<_>>().join(" "), long);
        let one_word = "x".repeat(300);
        assert_eq!(wrapped(&one_word), format!("  {one_word}\n"));
    }

    #[test]
    fn what_every_toolchain_imports_takes_one_line() {
        let imports = [
            "acme:store/keys@1.0.0",
            "wasi:cli/environment@0.2.6",
            "wasi:cli/exit@0.2.6",
            "wasi:io/error@0.2.6",
            "wasi:keyvalue/store@0.2.0",
            "wasi_snapshot_preview1/fd_write",
        ]
        .map(str::to_owned);
        let shown = summed_up(&imports);
        assert_eq!(
            shown,
            [
                "wasi_snapshot_preview1: 1 function (-v lists them)",
                "WASI 0.2.6: wasi:cli/*, wasi:io/* (3 interfaces; -v lists them)",
                "acme:store/keys@1.0.0",
                "wasi:keyvalue/store@0.2.0",
            ]
        );
        assert!(summed_up(&[]).is_empty());
    }
}
