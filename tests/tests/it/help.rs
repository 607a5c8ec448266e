//! Help, completions and manual pages.

use std::process::Command;

use tempfile::TempDir;

use crate::support::binary;
use crate::support::run::wasmpool;

const COMMANDS: [&str; 14] = [
    "map",
    "exec",
    "call",
    "run",
    "inspect",
    "compile",
    "new",
    "cache",
    "doctor",
    "serve",
    "hosts",
    "share",
    "completions",
    "man",
];

#[test]
fn the_short_help_is_one_screen() {
    for command in COMMANDS.iter().map(|command| vec![*command]).chain([vec![]]) {
        let help = wasmpool().args(&command).arg("-h").run().exits(0);
        let lines: Vec<&str> = help.text().lines().collect();
        assert!(lines.len() <= 50, "{command:?} has {} lines", lines.len());
        let widest = lines.iter().map(|line| line.chars().count()).max().unwrap_or_default();
        assert!(widest <= 100, "{command:?} has {widest} columns");
    }
}

#[test]
fn the_full_help_has_groups_and_examples() {
    let help = wasmpool().args(["map", "--help"]).run().exits(0).text().to_owned();
    let groups = [
        "Function:",
        "Several tasks:",
        "Input:",
        "Output:",
        "How items run:",
        "Limits:",
        "Failures and long runs:",
        "Grants:",
        "Shared objects:",
        "Many machines:",
        "Diagnostics:",
        "Examples:",
    ];
    let places: Vec<usize> =
        groups.iter().map(|group| help.find(&format!("\n{group}\n")).unwrap_or_else(|| panic!("no {group}"))).collect();
    assert!(places.is_sorted(), "{help}");
    for command in ["exec", "call", "run", "inspect", "cache", "completions"] {
        let help = wasmpool().args([command, "--help"]).run().exits(0);
        assert!(help.text().contains("\nExamples:\n") && help.text().contains(&format!("wasmpool {command} ")));
    }
}

/// The words of `map` about several tasks, and those about items.
#[test]
fn a_command_does_not_speak_of_what_only_another_has() {
    let exec = wasmpool().args(["exec", "--help"]).run().exits(0).text().to_owned();
    for foreign in ["--task", "over all tasks", "function takes", "FUNCTION"] {
        assert!(!exec.contains(foreign), "exec: {foreign} in\n{exec}");
    }
    let call = wasmpool().args(["call", "--help"]).run().exits(0).text().to_owned();
    for foreign in ["item fills", "of one item", "each item", "records tell"] {
        assert!(!call.contains(foreign), "call: {foreign} in\n{call}");
    }
}

#[test]
fn a_misspelt_command_or_option_is_answered_with_the_nearest() {
    for (words, meant) in [
        (&["mpa"][..], "map"),
        (&["inspekt"], "inspect"),
        (&["complete"], "completions"),
        (&["cache", "clear"], "clean"),
        (&["map", "t.wasm", "--timout=1s"], "--timeout"),
        (&["new", "pyton", "x"], "python"),
    ] {
        let output = wasmpool().args(words).run().exits(2);
        assert!(output.stderr.contains(&format!("'{meant}'")), "{words:?}: {}", output.stderr);
    }
}

/// Returns what a shell prints, or `None` if it is not on this machine.
fn printed(shell: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(shell).args(arguments).output().ok()?;
    assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn completions_are_read_by_their_shells_and_know_commands_options_and_values() {
    let folder = TempDir::new().expect("a temporary directory");
    let file = |shell: &str| {
        let path = folder.path().join(shell);
        let completions = wasmpool().args(["completions", shell]).run().exits(0);
        assert_eq!(completions.stderr, "");
        for word in ["inspect", "input-format", "best-effort"] {
            assert!(completions.text().contains(word), "{shell}: no {word}");
        }
        std::fs::write(&path, completions.text()).expect("written");
        path.display().to_string()
    };
    let bash = format!(
        "source {}; complete() {{ COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); \
         _wasmpool wasmpool \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; echo \"${{COMPREPLY[*]}}\"; }}; \
         complete wasmpool insp; complete wasmpool map --input-f; complete wasmpool map --input-format c",
        file("bash")
    );
    let printed_by_bash = printed("bash", &["-c", &bash]).expect("bash is on every machine that runs the tests");
    assert_eq!(printed_by_bash, "inspect\n--input-format\ncsv\n");
    // Where no option is begun, bash goes on with files, and offers only values.
    let bash = bash
        .replace(" _wasmpool wasmpool", " _wasmpool_words wasmpool")
        .replace("insp;", "map ''; complete wasmpool new '';");
    let printed_by_bash = printed("bash", &["-c", &bash]).expect("bash is there");
    assert_eq!(printed_by_bash, "\nrust python javascript c\n--input-format\ncsv\n");
    // A shell that is not there reads nothing.
    let zsh = format!("autoload -U compinit; compinit -u -D; source {}; print $_comps[wasmpool]", file("zsh"));
    if let Some(said) = printed("zsh", &["-f", "-c", &zsh]) {
        assert_eq!(said, "_wasmpool\n");
    }
    let fish = format!("source {}; complete -C 'wasmpool insp'", file("fish"));
    if let Some(said) = printed("fish", &["--no-config", "-c", &fish]) {
        assert!(said.starts_with("inspect"), "{said}");
    }
    let fish = format!("source {}; complete -C 'wasmpool new py'", file("fish"));
    if let Some(said) = printed("fish", &["--no-config", "-c", &fish]) {
        assert_eq!(said.trim(), "python");
    }
}

#[test]
fn a_shell_without_completions_is_refused_with_those_that_have_some() {
    let output = wasmpool().args(["completions", "tcsh"]).run().exits(2);
    assert!(["bash", "zsh", "fish"].iter().all(|shell| output.stderr.contains(shell)), "{}", output.stderr);
}

#[test]
fn every_command_has_a_manual_page() {
    let page = wasmpool().arg("man").run().exits(0);
    assert!(page.text().contains(".TH wasmpool 1") && page.text().contains("wasmpool\\-map(1)"), "{}", page.text());
    let folder = TempDir::new().expect("a temporary directory");
    wasmpool().arg("man").arg(folder.path()).run().exits(0);
    for command in COMMANDS.map(|command| format!("wasmpool-{command}.1")).iter().chain([&"wasmpool.1".to_owned()]) {
        let text = std::fs::read_to_string(folder.path().join(command)).expect(command);
        assert!(text.contains(".SH SYNOPSIS"), "{command}");
        // Where there is a program that shows them, it has nothing to complain of.
        let shown = Command::new("groff")
            .args(["-K", "utf8", "-man", "-Tutf8", "-ww"])
            .arg(folder.path().join(command))
            .output();
        if let Ok(shown) = shown {
            assert_eq!(String::from_utf8_lossy(&shown.stderr), "", "{command}");
        }
    }
    let text = std::fs::read_to_string(folder.path().join("wasmpool-map.1")).expect("the page of map");
    assert!(text.contains("input\\-format") && text.contains(".SH EXAMPLES") && !text.contains("EXTRA"), "{text}");
}

#[test]
fn manual_pages_need_a_directory_that_is_there() {
    let output = wasmpool().args(["man", "/nowhere/man1"]).run().exits(2);
    assert!(output.stderr.contains("/nowhere/man1") && output.stderr.contains("make it"), "{}", output.stderr);
}

/// Help that nobody reads to its end is no error.
#[test]
fn help_that_is_cut_off_ends_quietly() {
    let binary = binary().display().to_string();
    let command = format!("{binary} map --help | head -n 1");
    let output = Command::new("sh").args(["-c", &command]).output().expect("a shell");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
