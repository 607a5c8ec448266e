//! Which name somebody probably meant who wrote one that there is not.

use clap::error::{ContextKind, ContextValue};

use super::command;
pub use wasmpool_core::similar::nearest;
use wasmpool_core::text::QuotedName;

/// Returns the end of a message: `; did you mean …?`, or nothing if no name is similar.
pub fn did_you_mean(similar: Option<&str>) -> String {
    similar.map_or_else(String::new, |name| format!("; did you mean {}?", QuotedName::of(name)))
}

/// Returns the option that other programs, or other people, call so.
pub fn synonym(name: &str) -> Option<&'static str> {
    Some(match name {
        "job" | "jobs" | "parallel" | "processes" | "procs" | "max-procs" | "threads" | "concurrency" => "workers",
        "chunksize" | "batch-size" => "chunk-size",
        "joblog" => "journal",
        "mount" | "volume" | "preopen" | "mapdir" => "dir",
        "mem" | "memory-limit" | "max-memory" => "memory",
        "time-limit" => "timeout",
        "retry" | "max-retries" => "retries",
        "bar" | "eta" => "progress",
        "format" | "out-format" => "output-format",
        "limit" | "head" | "max-items" => "first",
        "url" | "nats" | "broker" | "cluster" => "via",
        "net" | "network" | "allow-network" => "allow-net",
        _ => return None,
    })
}

/// Returns what takes the place of an option of GNU parallel, xargs or find.
pub fn in_place_of(option: &str) -> Option<&'static str> {
    Some(match option {
        "-k" | "--keep-order" => "results come in the order of the input; --unordered gives them as they finish",
        "-n" | "-N" | "-L" | "--max-args" => {
            "each item is a call of its own; --chunk-size says how many of them a worker is given at a time"
        }
        "-0" | "--print0" => {
            "--input-format nul is for items that end with a NUL, and --input-format files --null for such paths"
        }
        "-P" | "-p" => "-j is the number of workers",
        "--input" | "--stdin" => "inputs stand behind the task; without one, items come from standard input",
        "--raw" => "--output-format raw prints results as they are",
        _ => return None,
    })
}

/// Adds the command that was probably meant to an error about one that there is not. The parser does so itself where two
/// names begin alike, which `mpa` and `map` do not.
pub fn command_named(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidSubcommand) else { return error };
    let all = command();
    let above = std::env::args_os().nth(1).and_then(|name| all.find_subcommand(name)).unwrap_or(&all);
    let meant = at_few_edits(given, above.get_subcommands().map(clap::Command::get_name)).map(str::to_owned);
    if let (Some(meant), None) = (meant, error.get(ContextKind::SuggestedSubcommand)) {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![meant]));
    }
    error
}

/// Returns the name that differs least, in no more than a third of its letters.
pub fn at_few_edits<'a>(given: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let edits = names.map(|name| (strsim::osa_distance(given, name), name));
    edits.filter(|(edits, name)| edits * 3 <= name.len()).min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_are_swapped_or_wrong_are_no_other_name() {
        let names = || ["map", "man", "exec", "inspect"].into_iter();
        for (given, meant) in [
            ("mpa", Some("map")),
            ("amn", Some("man")),
            ("exce", Some("exec")),
            ("inpsetc", Some("inspect")),
            ("pam", None),
            ("", None),
            ("tar", None),
        ] {
            assert_eq!(at_few_edits(given, names()), meant, "{given}");
        }
    }
}
