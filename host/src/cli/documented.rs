//! The table of options in docs/reference.md, compared with what the parser knows of each: its letter and its value, the commands
//! that have it, its default, and its variable. With `WASMPOOL_BLESS=1` the test writes all of that into the table, where only
//! what an option means is written by hand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command};

use super::command;

/// What stands in the column of defaults where the parser has none: what happens without the option.
const WITHOUT: [&str; 4] = ["", "none", "never", "all"];

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    option: String,
    commands: String,
    default: String,
    meaning: String,
}

impl Row {
    fn of_line(line: &str) -> Row {
        // An empty cell is a blank between two lines.
        let line = line.replace(" | | ", " |  | ");
        let cells = line.trim_start_matches("| ").trim_end_matches(" |").split(" | ");
        let cells: Vec<String> = cells.map(|cell| cell.trim().to_owned()).collect();
        let [option, commands, default, meaning] = cells.try_into().unwrap_or_else(|_| panic!("four cells: {line}"));
        Row { option, commands, default, meaning }
    }

    fn line(&self) -> String {
        let Row { option, commands, default, meaning } = self;
        let default = if default.is_empty() { String::new() } else { format!("{default} ") };
        format!("| {option} | {commands} | {default}| {meaning} |")
    }

    /// Returns the option's long name.
    fn long(&self) -> &str {
        let long = self.option.split("--").nth(1).unwrap_or_default();
        long.split(|c: char| !c.is_ascii_lowercase() && c != '-').next().unwrap_or_default()
    }
}

/// Returns all options, by the name of the command and their own.
fn options() -> BTreeMap<(String, String), Arg> {
    fn add(name: &str, command: &Command, to: &mut BTreeMap<(String, String), Arg>) {
        for arg in command.get_arguments() {
            if let Some(long) = arg.get_long().filter(|_| !name.is_empty()) {
                to.insert((name.to_owned(), long.to_owned()), arg.clone());
            }
        }
        for below in command.get_subcommands() {
            let name = format!("{name} {}", below.get_name());
            add(name.trim_start(), below, to);
        }
    }
    let mut options = BTreeMap::new();
    add("", &command(), &mut options);
    options
}

/// Returns the option as the first column has it: with its letter and its value.
fn said(arg: &Arg) -> String {
    let letter = arg.get_short().map(|letter| format!("`-{letter}`, ")).unwrap_or_default();
    let long = arg.get_long().unwrap_or_default();
    if !arg.get_action().takes_values() {
        return format!("{letter}`--{long}`");
    }
    let values: Vec<String> = arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    let names = arg.get_value_names().unwrap_or_default();
    let value = match values.len() {
        2..=3 => values.join("|"),
        _ => names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" "),
    };
    let value = match arg.get_num_args() {
        Some(count) if count.min_values() == 0 => format!("[{value}]"),
        _ => value,
    };
    format!("{letter}`--{long} {}`", value.replace('|', "\\|"))
}

/// Returns the default of an option as the third column has it, if the parser or its help says one.
fn default_of(arg: &Arg) -> Option<String> {
    if !arg.get_action().takes_values() {
        return Some("off".to_owned());
    }
    let values: Vec<String> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    if !values.is_empty() {
        return Some(format!("`{}`", values.join(",")));
    }
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let (_, rest) = help.split_once("[default: ")?;
    Some(marked_up(rest.split(']').next().unwrap_or_default()))
}

/// Marks the values and the options among the words of a text.
fn marked_up(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let bare = word.trim_end_matches([',', ';']);
        let is_word = bare.chars().all(char::is_alphabetic);
        if is_word { word.to_owned() } else { format!("`{bare}`{}", &word[bare.len()..]) }
    });
    words.collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// Returns the row as the parser has it, for the commands that the table names.
fn as_parsed(row: &Row, options: &BTreeMap<(String, String), Arg>) -> Row {
    let args: Vec<(&str, &Arg)> = row
        .commands
        .split(", ")
        .filter_map(|command| Some((command, options.get(&(command.to_owned(), row.long().to_owned()))?)))
        .collect();
    let Some((_, first)) = args.first() else { panic!("no command of {row:?} has it") };
    let default = default_of(first);
    // What the others have instead, each with the commands that have it.
    let mut others: Vec<(String, Vec<&str>)> = Vec::new();
    for (command, arg) in &args {
        assert_eq!(said(arg), said(first), "--{} is not the same for {}", row.long(), row.commands);
        let of_this = default_of(arg);
        if of_this != default {
            let of_this = of_this.unwrap_or_else(|| "none".to_owned());
            match others.iter_mut().find(|(other, _)| *other == of_this) {
                Some((_, commands)) => commands.push(command),
                None => others.push((of_this, vec![command])),
            }
        }
    }
    let own = default.unwrap_or_else(|| match WITHOUT.contains(&row.default.as_str()) {
        true => row.default.clone(),
        false => String::new(),
    });
    let others = others.into_iter().map(|(other, commands)| format!("of `{}` {other}", commands.join("`, `")));
    let defaults: Vec<String> = std::iter::once(own).filter(|own| !own.is_empty()).chain(others).collect();
    let commands: Vec<&str> = args.iter().map(|(command, _)| *command).collect();
    Row {
        option: said(first),
        commands: commands.join(", "),
        default: defaults.join("; "),
        meaning: row.meaning.clone(),
    }
}

fn reference() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference.md")
}

#[test]
fn the_reference_has_each_option_as_the_parser_has_it() {
    let text = std::fs::read_to_string(reference()).expect("the reference");
    let (mut options, mut lines, mut wrong) = (options(), Vec::new(), Vec::new());
    options.retain(|(_, long), _| long != "help");
    let mut left: Vec<(String, String)> = options.keys().cloned().collect();
    assert!(left.len() > 100, "only {} options were found", left.len());
    for line in text.lines() {
        if !line.starts_with("| `-")
            || line.contains("`--help`")
            || !line.contains("`--")
            || !is_of_options(&text, line)
        {
            lines.push(line.to_owned());
            continue;
        }
        let row = Row::of_line(line);
        let parsed = as_parsed(&row, &options);
        for command in parsed.commands.split(", ") {
            let key = (command.to_owned(), row.long().to_owned());
            let before = left.len();
            left.retain(|one| *one != key);
            assert!(left.len() < before, "{command} --{} stands there twice", row.long());
        }
        if row != parsed {
            wrong.push(format!("{}\n{}", row.line(), parsed.line()));
        }
        lines.push(parsed.line());
    }
    if std::env::var_os("WASMPOOL_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(reference(), lines.join("\n") + "\n").expect("written");
        wrong.clear();
    }
    assert!(wrong.is_empty(), "WASMPOOL_BLESS=1 writes the second of each of these:\n\n{}", wrong.join("\n\n"));
    assert!(
        left.is_empty(),
        "options without a row, which is to be written by hand but for its first three cells: {left:?}"
    );
}

/// Returns true if a line stands in the table of options.
fn is_of_options(text: &str, line: &str) -> bool {
    let chapter = text.split("\n## Options\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    chapter.is_some_and(|chapter| chapter.lines().any(|one| one == line))
}

/// The reference says so in a sentence.
#[test]
fn each_option_has_the_variable_that_its_name_makes() {
    for ((command, long), arg) in options() {
        let is_help = matches!(arg.get_action(), ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong);
        let variable = format!("WASMPOOL_{}", long.to_uppercase().replace('-', "_"));
        let has = arg.get_env().map(|name| name.to_string_lossy().into_owned());
        assert!(is_help || has.as_ref() == Some(&variable), "{command} --{long} has {has:?}");
    }
}
