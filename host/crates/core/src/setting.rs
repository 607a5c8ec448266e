//! The names by which the user of a program knows its settings, for messages.
//!
//! An error names the setting that helps. In a program that embeds the pool this is a method of the pool's builder, and in
//! the command it is an option, so the program says once what its settings are called. Its child processes are told.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// A setting that a message names. It is displayed by the name that this program has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Setting {
    Arg,
    Batch,
    CsvDelimiter,
    Delimiter,
    Deterministic,
    Dir,
    Env,
    Flatten,
    Fuel,
    Function,
    Halt,
    Init,
    /// Input of rows, of which the first names the columns.
    InputOfCsv,
    /// Input whose lines are paths of files.
    InputOfFiles,
    /// Input whose lines are JSON.
    InputOfJson,
    /// Input whose lines are taken as they are.
    InputOfLines,
    /// Columns of the input in the output.
    Keep,
    MaxOutput,
    Memory,
    Net,
    NoHeader,
    /// Paths that end with a NUL.
    Null,
    /// Output without what is known of an item beside its value.
    OutputOfValues,
    /// A file for each result.
    Results,
    /// How the files of results are named.
    ResultsName,
    Scratch,
    /// A shared object.
    Share,
    /// What grants a shared object: `NAME` and `KIND` stand for its name and for what it is.
    ShareOf,
    Timeout,
}

impl Setting {
    pub const ALL: [Setting; 29] = [
        Setting::Arg,
        Setting::Batch,
        Setting::CsvDelimiter,
        Setting::Delimiter,
        Setting::Deterministic,
        Setting::Dir,
        Setting::Env,
        Setting::Flatten,
        Setting::Fuel,
        Setting::Function,
        Setting::Halt,
        Setting::Init,
        Setting::InputOfCsv,
        Setting::InputOfFiles,
        Setting::InputOfJson,
        Setting::InputOfLines,
        Setting::Keep,
        Setting::MaxOutput,
        Setting::Memory,
        Setting::Net,
        Setting::NoHeader,
        Setting::Null,
        Setting::OutputOfValues,
        Setting::Results,
        Setting::ResultsName,
        Setting::Scratch,
        Setting::Share,
        Setting::ShareOf,
        Setting::Timeout,
    ];

    /// Returns its name for a program that has said nothing else: that of the pool's method, where there is one.
    fn usual_name(self) -> &'static str {
        match self {
            Setting::Arg => "`bind`",
            Setting::Batch => "`batch`",
            Setting::CsvDelimiter => "`csv_delimiter`",
            Setting::Delimiter => "`delimiter`",
            Setting::Deterministic => "`deterministic`",
            Setting::Dir => "`grant_dir`",
            Setting::Env => "`grant_env`",
            Setting::Flatten => "`flatten`",
            Setting::Fuel => "`fuel`",
            Setting::Function => "`function`",
            Setting::Halt => "`halt`",
            Setting::Init => "`init`",
            Setting::InputOfCsv => "an input of CSV",
            Setting::InputOfFiles => "an input of files",
            Setting::InputOfJson => "an argument that is not `Bytes`",
            Setting::InputOfLines => "an argument that is `Bytes`",
            Setting::Keep => "`keep`",
            Setting::MaxOutput => "`max_output`",
            Setting::Memory => "`memory`",
            Setting::Net => "`grant_net`",
            Setting::NoHeader => "`no_header`",
            Setting::Null => "`null`",
            Setting::OutputOfValues => "plain values",
            Setting::Results => "a directory of results",
            Setting::ResultsName => "the names of results",
            Setting::Scratch => "`grant_scratch`",
            Setting::Share => "`share`",
            Setting::ShareOf => "`share`, which takes an object that a `Manager` created as \"NAME\"",
            Setting::Timeout => "`timeout`",
        }
    }
}

impl Setting {
    /// Returns its name with its value, for a message about a limit that was met: `--timeout 300ms`.
    pub fn with(self, value: impl Display) -> String {
        let name = self.to_string();
        // Only an option is followed by its value.
        if name.starts_with("--") { format!("{name} {value}") } else { format!("{name} ({value})") }
    }
}

impl Display for Setting {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.get().and_then(|names| names.0.get(self)).map_or(self.usual_name(), String::as_str))
    }
}

/// A program's names for its settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingNames(BTreeMap<Setting, String>);

/// The names that this process uses.
static NAMES: OnceLock<SettingNames> = OnceLock::new();

impl SettingNames {
    /// Returns the names that `name` gives.
    pub fn of(name: impl Fn(Setting) -> &'static str) -> SettingNames {
        SettingNames(Setting::ALL.into_iter().map(|setting| (setting, name(setting).to_owned())).collect())
    }

    /// Returns the names that this process uses, for a child process to use.
    pub fn of_this_process() -> SettingNames {
        NAMES.get().cloned().unwrap_or_default()
    }

    /// Has this process use these names. Only the first call has an effect.
    pub fn adopt(self) {
        let _ = NAMES.set(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_called_what_the_program_calls_it() {
        assert_eq!(Setting::MaxOutput.to_string(), "`max_output`");
        assert_eq!(Setting::MaxOutput.with("16MiB"), "`max_output` (16MiB)");
        let of_the_library: Vec<String> = Setting::ALL.iter().map(Setting::to_string).collect();
        assert!(of_the_library.iter().all(|name| !name.contains("--")), "{of_the_library:?}");
        let names = SettingNames::of(|setting| if setting == Setting::Fuel { "--f" } else { "another" });
        let sent = serde_json::to_string(&names).expect("plain data");
        serde_json::from_str::<SettingNames>(&sent).expect("the same").adopt();
        assert_eq!((Setting::Fuel.to_string(), Setting::Init.to_string()), ("--f".to_owned(), "another".to_owned()));
        assert_eq!(Setting::Fuel.with(10), "--f 10");
        assert_eq!(SettingNames::of_this_process(), names);
    }
}
