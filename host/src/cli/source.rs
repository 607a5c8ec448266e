//! Sources of options' values, and their names in messages.

use std::fmt::{self, Display, Formatter};
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use clap::ArgMatches;
use clap::parser::ValueSource;
use serde::{Serialize, Serializer};

use wasmpool_core::text::ForeignText;

/// The source of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingSource {
    /// Nobody gave the value; it is the default.
    Default,
    CommandLine,
    /// An environment variable, whose name follows from that of the option.
    Environment,
    /// The file of `--policy`.
    Policy(Arc<Path>),
    /// The file of `wasmpool run`.
    RunFile(Arc<Path>),
    /// The manifest of a plugin.
    Manifest(Arc<Path>),
}

/// A value and its source. It is read like the value itself, and serialised without the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    value: T,
    pub source: SettingSource,
}

impl<T> Sourced<T> {
    pub fn new(value: T, source: SettingSource) -> Sourced<T> {
        Sourced { value, source }
    }

    /// Returns the default value of an option.
    pub fn default_of(value: T) -> Sourced<T> {
        Sourced::new(value, SettingSource::Default)
    }

    /// Converts the value, and keeps the source.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Sourced<U> {
        Sourced { value: make(self.value), source: self.source }
    }

    /// Names the option (`--timeout`) in the words of its source.
    pub fn option_name(&self, option: &'static str) -> OptionName<'_> {
        OptionName { option, source: &self.source, value: None }
    }

    /// Names the option with its value, in the form that is given here.
    pub fn option_name_with<'a>(&'a self, option: &'static str, value: &'a str) -> OptionName<'a> {
        OptionName { option, source: &self.source, value: Some(value) }
    }
}

impl<T> Sourced<Option<T>> {
    /// Returns the value if there is one.
    pub fn given(self) -> Option<Sourced<T>> {
        let Sourced { value, source } = self;
        value.map(|value| Sourced { value, source })
    }
}

impl<T> Deref for Sourced<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Serialize> Serialize for Sourced<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(to)
    }
}

/// An option in the words of its source: `--timeout`, ``WASMPOOL_TIMEOUT of the environment``, `` `timeout` of the
/// policy FILE``.
#[derive(Clone, Copy, Debug)]
pub struct OptionName<'a> {
    option: &'static str,
    source: &'a SettingSource,
    value: Option<&'a str>,
}

impl Display for OptionName<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let OptionName { option, source, value } = self;
        let key = option.trim_start_matches('-');
        match (source, value) {
            (SettingSource::Default | SettingSource::CommandLine, None) => return f.write_str(option),
            (SettingSource::Default | SettingSource::CommandLine, Some(value)) => return write!(f, "{option} {value}"),
            (SettingSource::Environment, _) => write!(f, "{} of the environment", variable(option))?,
            (SettingSource::Policy(path), _) => write!(f, "`{key}` of the policy {}", ForeignText::of(&**path))?,
            (SettingSource::RunFile(path), _) => write!(f, "`{key}` of {}", ForeignText::of(&**path))?,
            (SettingSource::Manifest(path), _) => write!(f, "`{key}` of the manifest {}", ForeignText::of(&**path))?,
        }
        value.map_or(Ok(()), |value| write!(f, " ({value})"))
    }
}

/// Returns the environment variable of an option.
fn variable(option: &str) -> String {
    format!("WASMPOOL_{}", option.trim_start_matches('-').to_uppercase().replace('-', "_"))
}

/// The sources of one command's values, as the parser knows them.
#[derive(Clone, Copy, Debug)]
pub struct ArgOrigins<'a>(&'a ArgMatches);

impl<'a> ArgOrigins<'a> {
    /// Takes the parser's result for a subcommand.
    pub fn new(matches: &'a ArgMatches) -> ArgOrigins<'a> {
        ArgOrigins(matches)
    }

    /// Returns a value, with the source of the option that the parser knows by this name.
    pub fn of<T>(&self, id: &str, value: T) -> Sourced<T> {
        let source = match self.0.value_source(id) {
            Some(ValueSource::CommandLine) => SettingSource::CommandLine,
            Some(ValueSource::EnvVariable) => SettingSource::Environment,
            _ => SettingSource::Default,
        };
        Sourced::new(value, source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_named_in_the_words_of_who_set_it() {
        let policy = SettingSource::Policy(Path::new("dir/policy.toml").into());
        for (source, alone, with_value) in [
            (SettingSource::CommandLine, "--max-output", "--max-output 1k"),
            (
                SettingSource::Environment,
                "WASMPOOL_MAX_OUTPUT of the environment",
                "WASMPOOL_MAX_OUTPUT of the environment (1k)",
            ),
            (policy, "`max-output` of the policy dir/policy.toml", "`max-output` of the policy dir/policy.toml (1k)"),
        ] {
            let value = Sourced::new(1000, source);
            assert_eq!(value.option_name("--max-output").to_string(), alone);
            assert_eq!(value.option_name_with("--max-output", "1k").to_string(), with_value);
        }
    }
}
