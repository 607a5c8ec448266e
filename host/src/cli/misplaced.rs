//! Options of other commands that somebody gives to `wasmpool run`: the file says what they would say.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::error_saying;

/// Returns an error that says where in the file of a run this stands, in place of one that knows only options.
pub fn named(error: clap::Error) -> clap::Error {
    let is_run = std::env::args_os().nth(1).is_some_and(|name| name == "run");
    let option = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(option)) if is_run && error.kind() == ErrorKind::UnknownArgument => option,
        _ => return error,
    };
    match in_file(option) {
        Some(key) => {
            let message =
                format!("{option} is no option of `wasmpool run`, whose file says that for each process: {key}");
            error_saying(ErrorKind::UnknownArgument, message)
        }
        None => error,
    }
}

/// Returns what in the file of a run takes the place of an option.
fn in_file(option: &str) -> Option<&'static str> {
    Some(match option {
        "--share" => "[share] defines the objects, and `share` of a process names those that it reaches",
        "--workers" | "-j" => "`count` is the number of its kind",
        "--function" | "-f" => "`function`",
        "--arg" => "`args`, or `arg` by name",
        "--init" => "`init`",
        "--ok-codes" => "`ok-codes`",
        "--retries" => "`restart`, and `restarts`",
        "--timeout" => "`timeout` of its `limits`",
        "--memory" => "`memory` of its `limits`",
        "--fuel" => "`fuel` of its `limits`",
        "--max-output" => "`max-output` of its `limits`",
        "--env" => "`env` of its `grants`",
        "--dir" => "`dir` of its `grants`",
        "--scratch" => "`scratch` of its `grants`",
        "--allow-net" => "`allow-net` of its `grants`",
        "--policy" => "its `limits` and `grants`",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::args::Arguments;

    /// So that a new limit or grant is not forgotten here.
    #[test]
    fn each_limit_and_grant_of_a_call_has_a_place_in_the_file() {
        let commands = Arguments::command();
        let options = |name: &str| {
            let command = commands.find_subcommand(name).expect("a command");
            let longs = command.get_arguments().filter_map(|arg| arg.get_long());
            longs.map(|long| format!("--{long}")).collect::<Vec<_>>()
        };
        let of_run = options("run");
        for option in options("call").iter().filter(|option| !of_run.contains(option)) {
            let elsewhere = ["--isolate", "--deterministic"].contains(&option.as_str());
            assert_eq!(in_file(option).is_some(), !elsewhere, "{option}");
        }
        assert_eq!(of_run.iter().find(|option| in_file(option).is_some()), None);
    }
}
