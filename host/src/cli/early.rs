//! Options that count before the command line is parsed: they say how its errors and its help are shown.

use std::ffi::OsString;

use clap::ValueEnum;

use super::args::{LogFormat, UseColour};
use super::terminal::choose_colours;
use wasmpool_run::stdio::write_json;

/// Shows everything from now on as the command line, or else the environment, asks for. Wrong values are for the parser to
/// refuse.
pub fn show_as_asked() {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let colours = value::<UseColour>(&arguments, "--color", "WASMPOOL_COLOR");
    colours.into_iter().for_each(choose_colours);
    let format = value::<LogFormat>(&arguments, "--log-format", "WASMPOOL_LOG_FORMAT");
    write_json(format == Some(LogFormat::Json));
}

fn value<T: ValueEnum>(arguments: &[OsString], option: &str, variable: &str) -> Option<T> {
    let said = last(arguments, option).or_else(|| std::env::var(variable).ok())?;
    T::from_str(&said, false).ok()
}

/// Returns the value that the last use of an option gives it, as `--option=value` or `--option value`.
fn last(arguments: &[OsString], option: &str) -> Option<String> {
    let ours = arguments.split(|argument| argument == "--").next()?;
    let mut uses =
        ours.iter().enumerate().filter_map(|(at, argument)| match argument.to_str()?.strip_prefix(option)? {
            "" => ours.get(at + 1).and_then(|next| next.to_str()),
            rest => rest.strip_prefix('='),
        });
    uses.next_back().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_use_before_the_arguments_of_a_command_counts() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        for (line, value) in [
            ("map t --color never", Some("never")),
            ("map --color=never t --color always", Some("always")),
            ("map --colors=never", None),
            ("exec t -- --color never", None),
            ("map --color", None),
        ] {
            assert_eq!(last(&words(line), "--color").as_deref(), value, "{line}");
        }
    }
}
