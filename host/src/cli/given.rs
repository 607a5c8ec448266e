//! Notes about grants that come from the environment, where the command line does not show them.

use clap::ArgMatches;
use clap::parser::ValueSource;
use wasmpool_run::stdio::Level;
use wasmpool_run::{tell, tell_as};

#[cfg(feature = "hosts")]
use super::args::ShareCommand;
use super::args::{Command, SandboxArgs, Verbosity};
use wasmpool_core::policy::SandboxMode;
use wasmpool_core::text::ForeignText;

/// Options that let a task reach something, by their names in the parser, with their variables.
const GRANTS: [(&str, &str); 6] = [
    ("directories", "WASMPOOL_DIR"),
    ("peers", "WASMPOOL_ALLOW_NET"),
    ("policy", "WASMPOOL_POLICY"),
    ("scratch", "WASMPOOL_SCRATCH"),
    ("shares", "WASMPOOL_SHARE"),
    ("env", "WASMPOOL_ENV"),
];

/// Returns the options of a command for the sandbox, if it starts one, and for what is said.
fn of_command(command: &Command) -> (Option<&SandboxArgs>, Verbosity) {
    match command {
        Command::Map(map) => (Some(&map.common.sandbox), map.common.verbosity),
        Command::Exec(exec) => (Some(&exec.common.sandbox), exec.common.verbosity),
        Command::Call(call) => (Some(&call.common.sandbox), call.common.verbosity),
        Command::Run(run) => (Some(&run.sandbox), run.verbosity),
        Command::Inspect(inspect) => (Some(&inspect.task.sandbox), inspect.task.verbosity),
        Command::Compile(task) => (Some(&task.sandbox), task.verbosity),
        Command::New(new) => (None, new.verbosity),
        #[cfg(feature = "hosts")]
        Command::Serve(serve) => (Some(&serve.sandbox), serve.verbosity),
        #[cfg(feature = "hosts")]
        Command::Share(ShareCommand::Serve(serve)) => (Some(&serve.sandbox), serve.verbosity),
        #[cfg(feature = "hosts")]
        Command::Hosts(_) => (None, Verbosity::default()),
        Command::Doctor | Command::Cache(_) | Command::Completions(_) | Command::Man(_) => (None, Verbosity::default()),
    }
}

/// Returns true if the command shall say less.
pub fn is_quiet(command: &Command) -> bool {
    of_command(command).1.quiet
}

/// Prints which grants come from the environment. A sandbox that the environment turns off is reported even with
/// `--quiet`.
pub fn tell_what_the_environment_gives(matches: &ArgMatches, command: &Command) {
    let Some((_, matches)) = matches.subcommand() else {
        return;
    };
    let matches = matches.subcommand().map_or(matches, |(_, matches)| matches);
    let (Some(sandbox), verbosity) = of_command(command) else {
        return;
    };
    let from_environment = |name: &str| {
        let known = matches.try_contains_id(name).is_ok();
        known && matches.value_source(name) == Some(ValueSource::EnvVariable)
    };
    if from_environment("mode") {
        tell_sandbox(sandbox);
    }
    let grants = GRANTS.iter().filter(|(name, _)| from_environment(name)).map(|(_, variable)| *variable);
    tell_grants(grants, verbosity);
}

fn tell_sandbox(sandbox: &SandboxArgs) {
    match sandbox.mode {
        SandboxMode::Strict => {}
        SandboxMode::BestEffort => {
            tell_as!(
                Level::Warning,
                &[],
                "wasmpool: WASMPOOL_SANDBOX=best-effort is set in the environment: layers of the sandbox that are missing are left out"
            );
        }
        SandboxMode::Off => {
            let off = "wasmpool: WASMPOOL_SANDBOX=off is set in the environment: tasks run without the sandbox";
            tell_as!(Level::Warning, &[], "{off}");
        }
    }
}

fn tell_grants(variables: impl Iterator<Item = &'static str>, verbosity: Verbosity) {
    if verbosity.quiet {
        return;
    }
    for variable in variables {
        let value = std::env::var_os(variable).unwrap_or_default();
        let value = value.to_string_lossy();
        let shown = match variable {
            // The values may be secret.
            "WASMPOOL_ENV" => value.lines().filter_map(|line| line.split('=').next()).collect::<Vec<_>>().join(", "),
            _ => value.lines().collect::<Vec<_>>().join(", "),
        };
        tell!("wasmpool: the environment grants the task something: {variable}={}", ForeignText::of(&shown));
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use clap::Args;

    use super::*;
    use crate::cli::args::GrantArgs;

    #[test]
    fn whatever_lets_a_task_reach_something_is_told_where_the_environment_gives_it() {
        let command = GrantArgs::augment_args(clap::Command::new("wasmpool"));
        // Files that the user's own program reads and writes.
        let of_tasks =
            command.get_arguments().filter(|arg| !["share_in", "share_out"].contains(&arg.get_id().as_str()));
        for arg in of_tasks {
            let known = GRANTS.iter().find(|(name, _)| arg.get_id() == name);
            assert_eq!(known.map(|(_, variable)| OsStr::new(variable)), arg.get_env(), "{}", arg.get_id());
        }
    }
}
