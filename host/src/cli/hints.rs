//! The command's additions to errors of the library, which does not know its options.

use std::io;
use std::path::Path;

use super::args::Command;
use super::source::{SettingSource, Sourced};
use super::spec::{GrantSpec, WorkSpec};
use super::stream::FilesError;
use wasmpool_core::setting::Setting;
use wasmpool_core::text::{ForeignText, QuotedName};
use wasmpool_run::error::{Error, TaskError, with_sources};
use wasmpool_run::grants::{DirectoryGrant, GrantError};
use wasmpool_run::journal::JournalError;
use wasmpool_run::output::{ResultFilesError, TargetError};

/// Says what an error comes to: it, what is behind it, and which option helps.
pub fn message(error: &Error) -> String {
    let message = with_sources(error);
    match error {
        Error::Sandbox(_) => {
            format!("{message}; `wasmpool doctor` says more, and `--sandbox best-effort` runs with what there is")
        }
        Error::SandboxOfHost { .. } => format!(
            "{message}; `wasmpool doctor` there says more, and `wasmpool serve --sandbox best-effort` serves with what there is"
        ),
        Error::BrokerLogin(_) => format!(
            "{message}; `--creds FILE` or `--nkey FILE` says who this is, and `wasmpool serve --print-permissions HOST` what the \
             server has to allow"
        ),
        Error::BrokerCertificate(_) => {
            format!(
                "{message}; `--tls-ca FILE` names the authority that signed it, if it is none that this system knows"
            )
        }
        _ => message,
    }
}

/// Returns the message for an error of a run with these grants. An error about a grant names the option that gives it.
pub fn message_of_run(error: &Error, grants: &GrantSpec) -> String {
    match error {
        Error::Grant(error) => refused(error, grants),
        error => message(error),
    }
}

/// Returns what the file of a plugin has to do with an error: it names the task, and may name the function.
pub fn of_plugin(error: &Error, plugin: &Path, work: Option<&WorkSpec>) -> Option<String> {
    let plugin = ForeignText::of(plugin);
    match (error, work) {
        (Error::Task(TaskError::Unreadable { source, .. }), _) if source.kind() == io::ErrorKind::NotFound => {
            Some(format!("{plugin} names it: build the plugin first, as the README beside it says"))
        }
        (Error::Task(TaskError::Unusable(why)), Some(WorkSpec::Function(called))) => {
            let name = called.function.as_ref()?;
            let is_named = matches!(called.function.source, SettingSource::Manifest(_));
            let is_missing = why.contains("no function") && why.contains(&QuotedName::of(name).to_string());
            (is_named && is_missing).then(|| format!("{plugin} names this function (`function`)"))
        }
        _ => None,
    }
}

/// Returns the message for a file that a run would write.
pub fn message_of_files(error: &FilesError) -> String {
    match error {
        FilesError::Journal(JournalError::Begun(path)) => format!(
            "the journal {} is of a run already: --resume goes on with it; to start anew, remove it or name another",
            ForeignText::of(path)
        ),
        FilesError::Results(ResultFilesError::NotEmpty(path)) => {
            format!("the directory {} of --results is not empty; name a new one, or empty it", ForeignText::of(path))
        }
        FilesError::Target(TargetError::Stdout { .. }) => format!("{} with -o", with_sources(error)),
        error => with_sources(error),
    }
}

/// Returns what messages of a command call settings: options, or what its file has.
pub fn names(command: &Command) -> fn(Setting) -> &'static str {
    match command {
        Command::Run(_) => key,
        #[cfg(feature = "hosts")]
        Command::Share(_) => |setting| match setting {
            Setting::Share | Setting::ShareOf => "[share]",
            setting => option(setting),
        },
        _ => option,
    }
}

/// Returns the option of a setting that a message names.
pub fn option(setting: Setting) -> &'static str {
    match setting {
        Setting::Arg => "--arg",
        Setting::Batch => "--batch",
        Setting::CsvDelimiter => "--csv-delimiter",
        Setting::Delimiter => "--delimiter",
        Setting::Deterministic => "--deterministic",
        Setting::Dir => "--dir HOST::GUEST[:ro|:rw]",
        Setting::Env => "--env NAME=VALUE",
        Setting::Flatten => "--flatten",
        Setting::Fuel => "--fuel",
        Setting::Function => "--function",
        Setting::Halt => "--halt",
        Setting::Init => "--init",
        Setting::InputOfCsv => "--input-format csv",
        Setting::InputOfFiles => "--input-format files",
        Setting::InputOfJson => "--input-format jsonl",
        Setting::InputOfLines => "--input-format lines",
        Setting::Keep => "--keep",
        Setting::MaxOutput => "--max-output",
        Setting::Memory => "--memory",
        Setting::Net => "--allow-net HOST:PORT",
        Setting::NoHeader => "--no-header",
        Setting::Null => "--null",
        Setting::OutputOfValues => "--output-format values",
        Setting::Results => "--results DIR",
        Setting::ResultsName => "--results-name",
        Setting::Scratch => "--scratch",
        Setting::Share => "--share",
        Setting::ShareOf => "--share NAME=KIND",
        Setting::Timeout => "--timeout",
    }
}

/// Returns the name of a setting in the file of `wasmpool run`, for messages about its processes. Those that a file does not
/// have, such as settings of many items, have their options.
pub fn key(setting: Setting) -> &'static str {
    match setting {
        Setting::Arg => "`arg`",
        Setting::Dir => "`dir` of [grants]",
        Setting::Env => "`env` of [grants]",
        Setting::Fuel => "`fuel` of [limits]",
        Setting::Function => "`function`",
        Setting::Init => "`init`",
        Setting::MaxOutput => "`max-output` of [limits]",
        Setting::Memory => "`memory` of [limits]",
        Setting::Net => "`allow-net` of [grants]",
        Setting::Scratch => "`scratch` of [grants]",
        Setting::Share => "[share]",
        Setting::ShareOf => {
            "`share = [\"NAME\"]` in the table of the process, and `NAME = \"KIND\"` in [share] if it is not there"
        }
        Setting::Timeout => "`timeout` of [limits]",
        Setting::Batch
        | Setting::CsvDelimiter
        | Setting::Delimiter
        | Setting::Deterministic
        | Setting::Flatten
        | Setting::Halt
        | Setting::InputOfCsv
        | Setting::InputOfFiles
        | Setting::InputOfJson
        | Setting::InputOfLines
        | Setting::Keep
        | Setting::NoHeader
        | Setting::Null
        | Setting::OutputOfValues
        | Setting::Results
        | Setting::ResultsName => option(setting),
    }
}

fn refused(error: &GrantError, grants: &GrantSpec) -> String {
    match error {
        GrantError::TooMany | GrantError::DirectoryTwice(_) => format!("{error} ({})", Setting::Dir),
        GrantError::VariableTwice(_) => format!("{error} ({})", Setting::Env),
        GrantError::SameName(name) => {
            let shown = ForeignText::of(name).to_string();
            let scratch =
                grants.scratch.as_ref().map(|scratch| scratch.option_name_with("--scratch", &shown).to_string());
            let scratch = scratch.unwrap_or(shown);
            format!("{scratch} is also the name of a directory that is granted: give it another name")
        }
        GrantError::Directory { host, guest, source } => {
            let option = directory(grants, host, guest).map(|one| one.option_name("--dir").to_string());
            let option = option.unwrap_or_else(|| Setting::Dir.to_string());
            format!("cannot open the directory {} of {option}: {}", ForeignText::of(host), with_sources(source))
        }
        GrantError::Peer { host, port, source } => {
            let (name, address) = (ForeignText::of(host), format!("{}:{port}", ForeignText::of(host)));
            let peer = grants.peers.iter().find(|peer| peer.host == *host && peer.port == *port);
            let option =
                peer.map(|peer| peer.option_name_with("--allow-net", &address).to_string()).unwrap_or(address.clone());
            format!("cannot look up {name} of {option}: {}", with_sources(source))
        }
        GrantError::Cache { place, host, guest } => {
            let bound = format!("{}::{}:rw", ForeignText::of(host), ForeignText::of(guest));
            let option = directory(grants, host, guest).map(|one| one.option_name_with("--dir", &bound).to_string());
            format!(
                "the cache of compiled tasks, {}, lies in {}, which the task may write to ({}): {}",
                ForeignText::of(place),
                ForeignText::of(host),
                option.unwrap_or(bound),
                GrantError::WAYS_OUT,
            )
        }
        error => with_sources(error),
    }
}

fn directory<'a>(grants: &'a GrantSpec, host: &Path, guest: &str) -> Option<&'a Sourced<DirectoryGrant>> {
    grants.directories.iter().find(|one| one.host == host && one.guest == guest)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::args::Arguments;

    #[test]
    fn each_setting_has_the_name_of_an_option() {
        let command = Arguments::command();
        let options: Vec<String> = command
            .get_subcommands()
            .flat_map(|command| command.get_arguments())
            .filter_map(|arg| arg.get_long().map(|long| format!("--{long}")))
            .collect();
        for setting in Setting::ALL {
            let name = option(setting).split(' ').next().unwrap_or_default();
            assert!(options.iter().any(|option| option == name), "{name}");
        }
    }
}
