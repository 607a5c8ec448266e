//! `wasmpool completions` and `wasmpool man`, made of what the parser of the command line knows.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use clap::builder::Resettable;
use clap::{Arg, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::args::{CompletedShell, CompletionsArgs, ManArgs};
use super::exit::{Exit, Stop};
use super::help::{self, Reader};
use super::print;
use wasmpool_core::text::ForeignText;
use wasmpool_run::error::Error;

/// Prints the completions of a shell.
pub fn completions(args: &CompletionsArgs) -> Result<Exit, Stop> {
    let shell = match args.shell {
        CompletedShell::Bash => Shell::Bash,
        CompletedShell::Zsh => Shell::Zsh,
        CompletedShell::Fish => Shell::Fish,
    };
    Ok(print(&of_shell(shell)).map_err(Error::output)?)
}

/// Bash offers what the generated function finds, and files where that is nothing. Where no option is begun, a file or a value
/// is meant, which its many options would hide.
const OF_BASH: &str = r#"
_wasmpool_words() {
    _wasmpool "$@"
    [[ $2 == -* ]] && return
    local word words=()
    for word in "${COMPREPLY[@]}"; do
        [[ $word == -* ]] || words+=("$word")
    done
    COMPREPLY=("${words[@]}")
}

"#;

/// Returns the completions of a shell.
fn of_shell(shell: Shell) -> String {
    let (mut command, mut text) = (help::command(Reader::Files), Vec::new());
    clap_complete::generate(shell, &mut command, "wasmpool", &mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    match shell {
        Shell::Bash => {
            let end = text.rfind("\nif [[ \"${BASH_VERSINFO").unwrap_or(text.len());
            let (functions, registered) = text.split_at(end);
            let registered = registered.trim_start().replace("complete -F _wasmpool ", "complete -F _wasmpool_words ");
            format!("{functions}{OF_BASH}{registered}")
        }
        Shell::Fish => text + &values_in_fish(&command),
        _ => text,
    }
}

/// Returns the lines by which fish completes the first argument of a command that has values to choose from, which the
/// generator leaves out.
fn values_in_fish(command: &Command) -> String {
    let mut lines = String::new();
    for below in command.get_subcommands() {
        let values = below.get_positionals().next().map(Arg::get_possible_values).unwrap_or_default();
        if values.is_empty() {
            continue;
        }
        let (name, values) = (below.get_name(), values.iter().map(|value| value.get_name()).collect::<Vec<_>>());
        // Writing to a string does not fail.
        let _ = writeln!(
            lines,
            "complete -c wasmpool -n \"__fish_wasmpool_using_subcommand {name}; and test (count (commandline -opc)) -eq 2\" \
             -f -a \"{}\"",
            values.join(" ")
        );
    }
    lines
}

/// Prints the manual page of `wasmpool`, or writes the pages of all commands into a directory.
pub fn man(args: &ManArgs) -> Result<Exit, Stop> {
    let mut command = help::command(Reader::Files).disable_help_subcommand(true);
    command.build();
    let Some(directory) = &args.dir else {
        let page = page(&command).map_err(|e| format!("cannot make the manual page: {e}"))?;
        return Ok(print(&page).map_err(Error::output)?);
    };
    if !directory.is_dir() {
        let name = ForeignText::of(directory);
        return Err(format!("there is no directory {name} for the manual pages: make it, or name another").into());
    }
    write_pages(&command, directory)
        .map_err(|e| format!("cannot write the manual pages to {}: {e}", ForeignText::of(directory)))?;
    Ok(Exit::Success)
}

/// Writes the page of a command, and those of the commands below it, into a directory.
fn write_pages(command: &Command, directory: &Path) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    fs::write(directory.join(format!("{name}.1")), page(command)?)?;
    command.get_subcommands().try_for_each(|below| write_pages(below, directory))
}

/// Returns the page of a command, with the program and its version in the footer. Its examples stand as they are typed.
fn page(command: &Command) -> io::Result<Vec<u8>> {
    let after = command.get_after_long_help().or_else(|| command.get_after_help()).map(ToString::to_string);
    let bare = command.clone().after_help(Resettable::Reset).after_long_help(Resettable::Reset);
    let mut page = Vec::new();
    Man::new(bare).source(format!("wasmpool {}", env!("CARGO_PKG_VERSION"))).render(&mut page)?;
    if let Some(after) = after {
        let mut end = Vec::new();
        behind(&after).to_writer(&mut end)?;
        // What defines an apostrophe stands at the beginning of the page already.
        let end = String::from_utf8_lossy(&end);
        page.extend_from_slice(end.find(".SH").map_or(&*end, |at| &end[at..]).as_bytes());
    }
    Ok(page)
}

/// Returns what follows the options of a command as a part of its page: headings, sentences, and lines that are not filled.
fn behind(text: &str) -> Roff {
    let mut roff = Roff::default();
    let (mut is_begun, mut is_verbatim) = (false, false);
    for line in text.lines() {
        // Commands are indented, and rows of a table have columns.
        let row = line.trim_start();
        let verbatim = line.starts_with("    ") || line.starts_with("  ") && row.contains("  ");
        if is_verbatim && !verbatim {
            roff.control("fi", []).control("RE", []);
        }
        if verbatim && !is_verbatim {
            roff.control("RS", ["4"]).control("nf", []);
        }
        is_verbatim = verbatim;
        match line.strip_suffix(':').filter(|heading| !heading.starts_with(' ')) {
            _ if row.is_empty() => {}
            _ if verbatim => {
                let indented = line.strip_prefix("    ").unwrap_or(row);
                roff.text([roman(indented)]);
            }
            Some(heading) => {
                roff.control("SH", [&*heading.to_uppercase()]);
                is_begun = true;
            }
            None => {
                let heading = if row.starts_with("Options can") { Some("ENVIRONMENT") } else { None };
                match heading.or((!is_begun).then_some("NOTES")) {
                    Some(heading) => roff.control("SH", [heading]),
                    None => roff.control("PP", []),
                };
                is_begun = true;
                roff.text([roman(row)]);
            }
        }
    }
    if is_verbatim {
        roff.control("fi", []).control("RE", []);
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page_of(name: &str) -> String {
        let mut command = help::command(Reader::Files).disable_help_subcommand(true);
        command.build();
        let below = command.find_subcommand(name).expect("a command");
        String::from_utf8(page(below).expect("a page")).expect("text")
    }

    #[test]
    fn examples_of_a_page_stand_under_their_heading_as_they_are_typed() {
        let page = page_of("map");
        let examples = page.split(".SH EXAMPLES").nth(1).expect("examples");
        assert!(examples.contains(".nf\nseq 1 1000 | wasmpool map square.wasm\n.fi"), "{examples}");
        assert!(examples.contains(".SH ENVIRONMENT\nOptions can be set"), "{examples}");
        assert!(!page.contains("EXTRA"), "{page}");
        assert!(page.contains(".SH \"EXIT STATUS\"\n"), "{page}");
        assert_eq!(page.matches("\n.nf").count(), page.matches("\n.fi").count());
        let title = page.lines().find(|line| line.starts_with(".TH")).expect("a title");
        assert!(title.contains("wasmpool\\-map") || title.contains("wasmpool-map"), "{title}");
        assert!(title.contains(&format!("wasmpool {}", env!("CARGO_PKG_VERSION"))), "{title}");
    }

    #[test]
    fn fish_offers_the_values_of_a_first_argument() {
        let script = of_shell(Shell::Fish);
        for (command, value) in [("new", "python"), ("completions", "zsh")] {
            let begin = format!("__fish_wasmpool_using_subcommand {command}; and test");
            let line = script.lines().find(|line| line.contains(&begin)).expect("a line of its own");
            assert!(line.contains(value), "{line}");
        }
    }

    #[test]
    fn an_option_whose_value_is_no_file_is_not_completed_to_files() {
        let script = of_shell(Shell::Fish);
        let line = |option: &str| {
            let begin = format!("__fish_wasmpool_using_subcommand map\" -l {option} ");
            script.lines().find(|line| line.contains(&begin)).unwrap_or_default().to_owned()
        };
        for option in ["halt", "retry-on", "timeout"] {
            assert!(line(option).ends_with("-r -f"), "{}", line(option));
        }
        for option in ["journal", "policy", "trace"] {
            assert!(line(option).ends_with("-r -F"), "{}", line(option));
        }
    }
}
