//! The file of `wasmpool run`, as it is written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use crate::cli::manifest::{FileLimits, ProcessGrants};

/// Objects and processes, by their names.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RunFile {
    /// Each as `--share` takes it, behind its name.
    #[serde(default)]
    pub share: BTreeMap<String, String>,
    /// In the order in which they stand in the file.
    #[serde(default, deserialize_with = "in_order")]
    pub process: Vec<(String, ProcessEntry)>,
}

/// One process, or several that differ by their number only.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ProcessEntry {
    pub task: PathBuf,
    /// The function that is called, and its arguments.
    pub function: Option<String>,
    pub args: Option<Vec<JsonArgument>>,
    /// Arguments by the name of their parameter.
    #[serde(default)]
    pub arg: BTreeMap<String, JsonArgument>,
    pub init: Option<JsonArgument>,
    /// The arguments of a command, which is run in place of a function.
    pub command: Option<Vec<String>>,
    pub ok_codes: Option<BTreeSet<i32>>,
    /// The process whose standard output is the standard input.
    pub stdin: Option<String>,
    pub count: Option<u32>,
    #[serde(default)]
    pub restart: Restart,
    /// How often it is started again, at most.
    pub restarts: Option<u32>,
    #[serde(default)]
    pub daemon: bool,
    /// Each `NAME`, `NAME:started` or `NAME:ended`.
    #[serde(default)]
    pub after: Vec<String>,
    /// Each `NAME`, or `NAME:RIGHT`.
    #[serde(default)]
    pub share: Vec<String>,
    #[serde(default)]
    pub limits: FileLimits,
    #[serde(default)]
    pub grants: ProcessGrants,
}

/// When a process is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    #[default]
    Never,
    OnFailure,
    Always,
}

/// An argument: a text that is JSON, as on the command line, or a number or truth value of TOML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonArgument(pub String);

impl<'de> Deserialize<'de> for JsonArgument {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<JsonArgument, D::Error> {
        from.deserialize_any(ArgumentVisitor)
    }
}

struct ArgumentVisitor;

impl Visitor<'_> for ArgumentVisitor {
    type Value = JsonArgument;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text that is JSON, such as '\"word\"' or '[1, 2]', a number, or true or false")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<JsonArgument, E> {
        Ok(JsonArgument(text.to_owned()))
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<JsonArgument, E> {
        Ok(JsonArgument(value.to_string()))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<JsonArgument, E> {
        Ok(JsonArgument(number.to_string()))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<JsonArgument, E> {
        match number.is_finite() {
            true => serde_json::to_string(&number).map(JsonArgument).map_err(E::custom),
            false => Err(E::custom("write it as JSON, such as '\"NaN\"' or '\"-Infinity\"'")),
        }
    }
}

/// Reads a table of processes in the order of the file.
fn in_order<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, ProcessEntry)>, D::Error> {
    let table = BTreeMap::<String, Spanned<ProcessEntry>>::deserialize(from)?;
    if table.is_empty() {
        return Err(D::Error::custom("there is no process: begin one with [process.NAME]"));
    }
    let mut entries: Vec<_> = table.into_iter().collect();
    entries.sort_by_key(|(_, entry)| entry.span().start);
    Ok(entries.into_iter().map(|(name, entry)| (name, entry.into_inner())).collect())
}
