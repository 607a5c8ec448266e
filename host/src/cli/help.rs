//! How help, manual pages and completions are laid out: in which group an option stands, in which order, which options are
//! among those of `-h`, and which words differ from one command to another. What an option is, [`super::args`] says.

mod examples;
mod words;

use clap::builder::StyledStr;
use clap::{Arg, ArgAction, Command, ValueHint};

use examples::examples;
use words::words_of;

/// An option's place: its long name, behind that of its command if others have another option of that name, and its line in
/// `-h`, which is empty for an option that `-h` leaves out.
type Row = (&'static str, &'static str);

/// The groups of options, in the order of the help. An option that is in none of them stands under `Options`.
const GROUPS: &[(&str, &[Row])] = &[
    (
        "Function",
        &[
            ("function", "Its name, or interface/name [default: the only one]"),
            ("arg", "Bind a parameter by its name, to JSON or a text"),
            ("init", ""),
            ("batch", ""),
            ("flatten", ""),
            ("isolate", ""),
        ],
    ),
    (
        "Command",
        &[
            ("replace", "The text in an ARG that is the item [default: {}]"),
            ("replace-index", ""),
            ("ok-codes", "Exit codes that are success [default: 0]"),
        ],
    ),
    ("Several tasks", &[("task", ""), ("set-aside", "")]),
    (
        "Input",
        &[
            ("input-format", "jsonl, json, lines, nul, csv or files [default: by name, else jsonl]"),
            ("csv-delimiter", ""),
            ("no-header", ""),
            ("null", ""),
            ("keep", ""),
            ("first", "Take only the first N items"),
        ],
    ),
    (
        "Output",
        &[
            ("output", "Where results go [default: standard output]"),
            ("output-format", "values, records, raw or csv"),
            ("delimiter", ""),
            ("results", ""),
            ("results-name", ""),
            ("unordered", ""),
            ("json", "Print a JSON object"),
        ],
    ),
    (
        "How items run",
        &[
            ("workers", "Worker processes [default: the processors there are]"),
            ("chunk-size", ""),
            ("max-items-per-worker", ""),
            ("deterministic", ""),
        ],
    ),
    (
        "Limits",
        &[
            ("timeout", "Time of one item, such as 500ms or 2m [default: 30s]"),
            ("memory", "Memory of one instance [default: 256MiB]"),
            ("fuel", ""),
            ("max-output", ""),
        ],
    ),
    (
        "Failures and long runs",
        &[
            ("retries", "Run an item again that timed out or lost its worker"),
            ("retry-on", ""),
            ("halt", "When failures end the run: soon, now,fail=10, soon,fail=5%"),
            ("failed", "Write failed items with their input, to be run again"),
            ("journal", "Keep what is done in FILE; --resume goes on from there"),
            ("resume", ""),
        ],
    ),
    (
        "Grants",
        &[
            ("env", "A variable of the task's environment"),
            ("dir", "A directory, which the task sees as GUEST"),
            ("scratch", ""),
            ("allow-net", "A peer that the task may connect to"),
            ("policy", ""),
        ],
    ),
    (
        "Shared objects",
        &[("share", "A queue, lock, value, dict …, such as jobs=queue:100"), ("share-in", ""), ("share-out", "")],
    ),
    (
        "Many machines",
        &[
            ("via", ""),
            ("name", "Name of this host [default: the machine's, and digits]"),
            ("buffer", ""),
            ("state", "Where to keep what the objects hold, from one start to the next"),
            ("via-storage", ""),
            ("speculate", ""),
            ("check", ""),
            ("creds", ""),
            ("nkey", ""),
            ("tls-ca", ""),
            ("print-permissions", ""),
        ],
    ),
    (
        "Diagnostics",
        &[
            ("dry-run", "Say what would run, and run nothing"),
            ("run check", "Check everything, and run nothing"),
            ("older", "Only what was not used for so long, such as 30d"),
            ("report", "Write the figures of the run: a page (.html) or .json"),
            ("trace", ""),
            ("progress", ""),
            ("color", ""),
            ("log-format", ""),
            ("sandbox", ""),
            ("verbose", "Say more on standard error"),
            ("quiet", "Say less on standard error"),
            ("help", "Print this; --help says more, in groups with examples"),
            ("version", "Print the version"),
        ],
    ),
];

/// Returns what follows the options of a command that has some.
fn of_options(command: &Command) -> Option<String> {
    let options = command.get_arguments().filter(|arg| arg.get_env().is_some());
    // The longest name that leaves the sentence on one line shows best what becomes of it.
    let short = options.filter_map(Arg::get_long).filter(|long| long.len() <= 14);
    let option = short.max_by_key(|long| long.len())?;
    let variable = option.to_uppercase().replace('-', "_");
    Some(format!("Options can be set in the environment too: --{option} as WASMPOOL_{variable}, and so on."))
}

/// What follows the help of `wasmpool` itself.
const OF_ALL: &str = "\
`wasmpool COMMAND -h` shows the most used options of a command on one screen, and `--help` all of them with examples.

Environment:
  WASMPOOL_CACHE_DIR      Where compiled tasks are kept; empty: nowhere [default: ~/.cache/wasmpool]
  WASMPOOL_MAX_OUTPUT, …  Any option: --max-output, and so on";

/// Who reads what is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A person at a terminal: defaults and values are part of the texts, so that `-h` has one line for each option.
    Terminal,
    /// A program that makes files of it: defaults and values stay data.
    Files,
}

/// Returns the parser of the command line with the layout of its help.
pub fn command(reader: Reader) -> Command {
    let plain = super::command();
    let subcommands: Vec<Command> = plain.get_subcommands().map(|one| laid_out(one, "", reader)).collect();
    let about = plain.get_about().cloned().unwrap_or_default();
    let long_about = plain.get_long_about().cloned().unwrap_or_else(|| about.clone());
    Command::new("wasmpool")
        .version(env!("CARGO_PKG_VERSION"))
        .max_term_width(WIDEST)
        .about(about)
        .long_about(long_about)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .after_help(OF_ALL)
        .subcommands(subcommands)
}

/// The commands that run items of a task.
const RUNS_ITEMS: [&str; 4] = ["map", "exec", "call", "run"];
/// What their exit codes say, as [`super::exit::Exit`] has them.
const EXIT_STATUS: &str = "

Exit status:
  0              Everything succeeded
  1              Something failed: an item, a call, a process
  2              Wrong usage, or the run could not be done
  3              Ended by --halt
  4              A layer of the sandbox is missing, and nothing ran
  129, 130, 143  Ended by SIGHUP, Ctrl-C or SIGTERM
  141            Nobody reads the output any more";

/// Maximum width of the help, in columns.
const WIDEST: usize = 100;

/// Returns a command whose options stand in their groups. The parser shows groups in the order of their first options, so
/// the options are put into order. `above` has the names of the commands that this one is below.
fn laid_out(command: &Command, above: &str, reader: Reader) -> Command {
    let own_name = command.get_name().to_owned();
    let name = format!("{above} {own_name}").trim_start().to_owned();
    let mut args: Vec<Arg> = command.get_arguments().map(|arg| in_group(arg.clone(), &name, reader)).collect();
    args.push(in_group(help(), &name, reader));
    args.sort_by_key(|arg| if arg.is_positional() { (0, 0) } else { place(arg, &name) });
    let ordered = args.into_iter().enumerate().map(|(at, arg)| arg.display_order(at));
    let about = command.get_about().cloned().unwrap_or_default();
    let long_about = command.get_long_about().cloned().unwrap_or_else(|| about.clone());
    // The parser keeps names for as long as the program runs, and help is made once in that time.
    let mut made = Command::new(&*own_name.leak())
        .about(about)
        .long_about(long_about)
        .disable_help_flag(true)
        .override_usage(usage(command, &name))
        .args(ordered);
    let of_options = of_options(command);
    if let Some(of_options) = &of_options {
        made = made.after_help(of_options);
    }
    let examples = examples(&name);
    if !examples.is_empty() {
        let status = if RUNS_ITEMS.contains(&&*name) { EXIT_STATUS } else { "" };
        let rest = of_options.map_or_else(String::new, |of_options| format!("\n\n{of_options}"));
        made = made.after_long_help(format!("Examples:\n{examples}{status}{rest}"));
    }
    if command.has_subcommands() {
        let below: Vec<Command> = command.get_subcommands().map(|one| laid_out(one, &name, reader)).collect();
        made = made.subcommands(below).subcommand_required(true).arg_required_else_help(true);
        made = made.disable_help_subcommand(true);
    }
    made
}

/// Returns the option that prints the help, with a text of its own for either form.
fn help() -> Arg {
    Arg::new("help")
        .short('h')
        .long("help")
        .action(ArgAction::Help)
        .help("Print help (with -h the most used options only)")
}

/// Returns the usage of a command, which was written for it or is made of its arguments.
fn usage(command: &Command, name: &str) -> String {
    let usage = command.clone().bin_name(format!("wasmpool {name}")).render_usage().to_string();
    usage.strip_prefix("Usage: ").unwrap_or(&usage).to_owned()
}

/// Returns the group of a command's option, and its place there.
fn place(arg: &Arg, command: &str) -> (usize, usize) {
    let long = arg.get_long().unwrap_or_default();
    let found = |wanted: &str| {
        GROUPS.iter().enumerate().find_map(|(group, (_, rows))| {
            let at = rows.iter().position(|(name, _)| *name == wanted)?;
            Some((group + 1, at))
        })
    };
    found(&format!("{command} {long}")).or_else(|| found(long)).unwrap_or((usize::MAX, 0))
}

/// Returns the name by which [`words`] knows an argument: an option and another argument may have the same identifier.
fn key(arg: &Arg) -> String {
    arg.get_long().map_or_else(|| arg.get_id().to_string().to_uppercase(), str::to_owned)
}

/// Returns an argument in its group, with the words that it has in this command.
fn in_group(arg: Arg, command: &str, reader: Reader) -> Arg {
    let arg = arg.hide_env(true).hide_env_values(true);
    let id = key(&arg);
    let own = words_of(command, &id);
    let text = |styled: Option<&StyledStr>| styled.map(StyledStr::to_string);
    let long = own.and_then(|words| words.long).map(str::to_owned);
    let long = long.or_else(|| text(arg.get_long_help())).or_else(|| text(arg.get_help())).unwrap_or_default();
    let arg = if reader == Reader::Files { completed(arg) } else { arg };
    if arg.is_positional() {
        let short = own.and_then(|words| words.short).map_or_else(|| long.clone(), str::to_owned);
        return arg.help(short).long_help(long);
    }
    let (group, row) = place(&arg, command);
    let heading = group.checked_sub(1).and_then(|group| GROUPS.get(group));
    let short = own.and_then(|words| words.short);
    let short = short.or_else(|| heading.and_then(|(_, rows)| rows.get(row)).map(|(_, short)| *short));
    let short = short.filter(|short| !short.is_empty());
    let arg = arg.hide_short_help(short.is_none()).help_heading(heading.map_or("Options", |(heading, _)| *heading));
    let help = short.map_or_else(|| long.clone(), str::to_owned);
    match reader {
        Reader::Files => arg.help(help).long_help(long),
        Reader::Terminal => {
            let long = format!("{long}{}", values_and_default(&arg));
            arg.help(help).long_help(long).hide_possible_values(true).hide_default_value(true)
        }
    }
}

/// Returns an argument with what a shell completes it to, by what its value is called in the help.
fn completed(arg: Arg) -> Arg {
    let named: Vec<String> = arg.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect();
    let name = named.first().map_or("", |name| name);
    let hint = match name {
        "DIR" => ValueHint::DirPath,
        "FILE" | "TASK" | "INPUT" => ValueHint::FilePath,
        _ if name.contains("FILE") || name.starts_with("HOST::") => ValueHint::AnyPath,
        _ => ValueHint::Other,
    };
    if arg.get_action().takes_values() { arg.value_hint(hint) } else { arg }
}

/// Returns what the full help says behind an option's text: its values, a line each, and its default.
fn values_and_default(arg: &Arg) -> String {
    let mut out = String::new();
    let values = if arg.get_action().takes_values() { arg.get_possible_values() } else { Vec::new() };
    let width = values.iter().map(|value| value.get_name().len()).max().unwrap_or_default();
    for value in &values {
        let help = value.get_help().map(StyledStr::to_string).unwrap_or_default();
        out += format!("\n  {:<width$}  {help}", value.get_name()).trim_end();
    }
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if !defaults.is_empty() && arg.get_action().takes_values() {
        let before = if values.is_empty() { ' ' } else { '\n' };
        out += &format!("{before}[default: {}]", defaults.join(","));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns all commands, those below others as well, with the names by which they are called.
    fn commands() -> Vec<(String, Command)> {
        let mut all = vec![("wasmpool".to_owned(), command(Reader::Terminal))];
        let mut at = 0;
        while let Some((name, one)) = all.get(at).cloned() {
            all.extend(one.get_subcommands().map(|below| (format!("{name} {}", below.get_name()), below.clone())));
            at += 1;
        }
        all.into_iter().filter(|(name, _)| !name.ends_with(" help")).collect()
    }

    /// Returns the name by which the tables know a command.
    fn in_tables(name: &str) -> &str {
        name.strip_prefix("wasmpool ").unwrap_or_default()
    }

    #[test]
    fn the_short_help_of_each_command_fits_on_one_screen() {
        for (name, command) in commands() {
            let help = command.clone().bin_name(&name).term_width(WIDEST).render_help().to_string();
            let lines = help.lines().count();
            assert!(lines <= 50, "{name} -h has {lines} lines:\n{help}");
            let widest = help.lines().max_by_key(|line| line.chars().count()).unwrap_or_default();
            assert!(widest.chars().count() <= WIDEST, "{name}: {widest}");
            // One line for each option: the line below an option is another's, a heading, or empty.
            let lines: Vec<&str> = help.lines().collect();
            let is_option = |line: &str| line.starts_with("  -") || line.starts_with("      --");
            for pair in lines.windows(2) {
                let wrapped = is_option(pair[0]) && pair[1].starts_with("          ");
                assert!(!wrapped, "{name}: {}\n{}", pair[0], pair[1]);
            }
        }
    }

    #[test]
    fn examples_fit_a_terminal_of_80_columns() {
        for (name, _) in commands() {
            for line in examples(in_tables(&name)).lines() {
                assert!(line.chars().count() <= 80, "{name}: {line}");
            }
        }
    }

    #[test]
    fn each_option_has_a_group() {
        for (name, command) in commands() {
            for option in command.get_arguments().filter_map(Arg::get_long) {
                let rows = || GROUPS.iter().flat_map(|(_, rows)| rows.iter().map(|(row, _)| *row));
                let own = format!("{} {option}", in_tables(&name));
                let named = |wanted: &str| rows().filter(|row| *row == wanted).count();
                let places = if named(&own) > 0 { named(&own) } else { named(option) };
                assert_eq!(places, 1, "{name} --{option}: it has no place in help.rs, or several");
            }
        }
    }

    #[test]
    fn each_place_is_of_an_option_that_there_is() {
        let commands = commands();
        for (row, _) in GROUPS.iter().flat_map(|(_, rows)| rows.iter()) {
            let is_row = |name: &str, arg: &Arg| {
                let long = arg.get_long().unwrap_or_default();
                *row == long || *row == format!("{} {long}", in_tables(name))
            };
            // The parser adds the option for the version when it is built.
            let found = *row == "version"
                || commands.iter().any(|(name, one)| one.get_arguments().any(|arg| is_row(name, arg)));
            assert!(found || cfg!(not(feature = "hosts")), "{row}");
        }
    }

    #[test]
    fn groups_stand_in_their_order() {
        for (name, command) in commands() {
            let help = command.term_width(WIDEST).render_long_help().to_string();
            let places = GROUPS.iter().filter_map(|(heading, _)| help.find(&format!("\n{heading}:\n")));
            assert!(places.is_sorted(), "{name}:\n{help}");
        }
    }

    #[test]
    fn every_option_has_a_variable_that_follows_from_its_name() {
        for (name, command) in commands() {
            let options =
                command.get_arguments().filter(|arg| arg.get_action().takes_values() || arg.get_env().is_some());
            for arg in options {
                let Some(long) = arg.get_long() else { continue };
                let variable = format!("WASMPOOL_{}", long.to_uppercase().replace('-', "_"));
                let named = arg.get_env().map(|name| name.to_string_lossy().into_owned());
                assert_eq!(named, Some(variable), "{name} --{long}");
            }
        }
    }

    #[test]
    fn words_of_a_command_are_about_options_that_it_has() {
        for (command, option) in words::all() {
            let found = commands().into_iter().find(|(name, _)| in_tables(name) == command);
            let known = found.is_some_and(|(_, found)| found.get_arguments().any(|arg| key(arg) == option));
            assert!(known || cfg!(not(feature = "hosts")), "{command} {option}");
        }
    }

    #[test]
    fn no_words_repeat_what_is_said_where_an_argument_is_defined() {
        let plain = super::super::command();
        for (name, option) in words::all() {
            let Some(said) = words_of(name, option).and_then(|words| words.long) else { continue };
            let command = name.split(' ').try_fold(&plain, |above, one| above.find_subcommand(one));
            let arg = command.and_then(|command| command.get_arguments().find(|arg| key(arg) == option));
            let defined = arg.and_then(|arg| arg.get_long_help().or(arg.get_help())).map(StyledStr::to_string);
            assert_ne!(defined.as_deref(), Some(said), "{name} {option}");
        }
    }

    #[test]
    fn no_command_speaks_of_options_that_only_others_have() {
        for (name, command) in commands() {
            let longs: Vec<&str> = command.get_arguments().filter_map(Arg::get_long).collect();
            for arg in command.get_arguments() {
                let help = arg.get_long_help().map(ToString::to_string).unwrap_or_default();
                for said in help.split("--").skip(1) {
                    let said: String = said.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
                    let known = said.is_empty() || longs.contains(&said.as_str());
                    assert!(known, "{name} {}: --{said}", arg.get_id());
                }
            }
        }
    }
}
