//! Reads a manifest or a policy, and reports what is wrong with it on one line.

use std::fmt::{self, Display};
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::{DeserializeOwned, Error as _, Visitor};
use serde::{Deserialize, Deserializer};

use super::ManifestError;
use crate::cli::meant::{did_you_mean, nearest};
use crate::cli::share::SharedObject;
use crate::cli::units::{self, ParseUnitError};
use wasmpool_core::share::is_in_names;
use wasmpool_core::text::{ForeignText, QuotedName};
use wasmpool_run::grants::{DirectoryGrant, PeerGrant};
use wasmpool_run::tell;

/// Maximum size of a file in bytes, since the host reads it itself.
const LONGEST: u64 = 64 << 10;
/// Maximum bytes of a name in a plugin's request. The option that grants it has to fit on a screen, whatever is in the
/// name.
const LONGEST_NAME: usize = 255;
/// Maximum characters of the parser's message, which may quote a value.
const LONGEST_MESSAGE: usize = 600;

/// Reads and parses a file.
pub fn file<T: DeserializeOwned>(path: &Path) -> Result<T, ManifestError> {
    parsed(path, File::open(path))
}

/// Reads and parses the file that a command was given, which is standard input if it is called `-`.
pub fn argument<T: DeserializeOwned>(path: &Path) -> Result<T, ManifestError> {
    if path != Path::new("-") {
        return file(path);
    }
    if io::stdin().is_terminal() {
        tell!("wasmpool: reading the file from the terminal; end with Ctrl-D");
    }
    parsed(&shown(path), Ok(io::stdin().lock()))
}

/// Returns what a message calls the file that a command was given.
pub fn shown(path: &Path) -> PathBuf {
    match path == Path::new("-") {
        true => "standard input".into(),
        false => path.to_owned(),
    }
}

fn parsed<T: DeserializeOwned>(path: &Path, opened: io::Result<impl Read>) -> Result<T, ManifestError> {
    let mut content = String::new();
    let read = opened.and_then(|file| file.take(LONGEST + 1).read_to_string(&mut content));
    read.map_err(|source| ManifestError::Unreadable { path: path.to_owned(), source })?;
    if content.len() as u64 > LONGEST {
        return Err(ManifestError::TooLong { path: path.to_owned(), most: LONGEST });
    }
    text(&content).map_err(|what| ManifestError::Content { path: path.to_owned(), what })
}

/// What is wrong with the content of a file, with its place. It is one line: the parser's own message draws the text,
/// and repeats keys with their line breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    #[error("{place}unknown key {}{hint}", QuotedName::of(.key))]
    UnknownKey { place: String, key: String, hint: String },
    #[error("{place}{}", ForeignText::of(.message).at_most(LONGEST_MESSAGE))]
    Other { place: String, message: String },
}

/// Parses a text.
pub fn text<T: DeserializeOwned>(text: &str) -> Result<T, ContentError> {
    toml::from_str(text).map_err(|e: toml::de::Error| {
        let place = e.span().and_then(|span| text.get(..span.start)).map(place_behind).unwrap_or_default();
        // The unknown key comes first; only known keys follow it.
        let key = e.message().strip_prefix("unknown field `").and_then(|rest| rest.rsplit_once("`, expected "));
        match key {
            Some((key, known)) => ContentError::UnknownKey { place, key: key.to_owned(), hint: hint(key, known) },
            None => ContentError::Other { place, message: in_plain_words(e.message()) },
        }
    })
}

/// Returns what was probably meant by a key that a table does not have. `known` are those that it has, in the parser's words.
fn hint(key: &str, known: &str) -> String {
    let names = || known.split('`').skip(1).step_by(2);
    let has = |name: &str| names().any(|known| known == name);
    match key {
        "timeout" | "memory" | "fuel" | "max-output" if has("limits") => "; it belongs in `limits`".to_owned(),
        "env" | "dir" | "scratch" | "allow-net" | "share" if has("grants") => "; it belongs in `grants`".to_owned(),
        "share" if has("allow-net") => "; it belongs in the process itself, beside `grants`".to_owned(),
        _ => match nearest(key, names()) {
            Some(meant) => did_you_mean(Some(meant)),
            None => format!(", expected {known}"),
        },
    }
}

/// Returns the parser's message in words of a file rather than of its types.
fn in_plain_words(message: &str) -> String {
    if let Some(key) = message.strip_prefix("missing field ") {
        return format!("the key {key} is missing");
    }
    let Some((found, expected)) = message.rsplit_once(", expected ") else {
        return message.to_owned();
    };
    if let Some(value) = found.strip_prefix("unknown variant ") {
        let hint = nearest(value.trim_matches('`'), expected.split('`').skip(1).step_by(2));
        return match hint {
            Some(meant) => format!("it cannot be {value}{}", did_you_mean(Some(meant))),
            None => format!("it cannot be {value}; it is {expected}"),
        };
    }
    let expected = match expected {
        "a string" => "a text, in quotes",
        "a sequence" => "a list, in brackets",
        "a map" => "a table",
        "path string" => "a path, in quotes",
        "a boolean" => "true or false",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative, and not too large",
        "i32" | "i64" => "a whole number that is not too large",
        _ if expected.starts_with("struct ") => "a table",
        other => other,
    };
    let value = found.strip_prefix("invalid type: ").or_else(|| found.strip_prefix("invalid value: "));
    let value = value.map(|value| match value.split_once(' ') {
        _ if value == "sequence" => "a list".to_owned(),
        _ if value == "map" => "a table".to_owned(),
        Some(("integer" | "boolean", value)) => value.to_owned(),
        Some(("string", value)) => format!("the text {value}"),
        Some(("floating", value)) => value.trim_start_matches("point ").to_owned(),
        _ => value.to_owned(),
    });
    match value {
        Some(value) => format!("it is {value}, and has to be {expected}"),
        None => format!("{found}, expected {expected}"),
    }
}

/// Returns the position of the text after `before`, and the key whose value stands there.
fn place_behind(before: &str) -> String {
    let line = before.matches('\n').count() + 1;
    let begun = before.rsplit('\n').next().unwrap_or_default();
    let column = begun.chars().count() + 1;
    let key = key_of(begun).map(|key| format!(", {}", QuotedName::of(&key))).unwrap_or_default();
    format!("line {line}, column {column}{key}: ")
}

/// Returns the key whose value a line has begun with: with those of the tables in braces that it is in, as far as that is
/// plain.
fn key_of(begun: &str) -> Option<String> {
    let (first, rest) = begun.split_once('=')?;
    let is_plain = |key: &&str| !key.is_empty() && key.chars().all(is_in_names);
    let inner: Option<Vec<&str>> = rest
        .split('{')
        .skip(1)
        .map(|table| {
            let (before, _) = table.rsplit_once('=')?;
            before.rsplit(',').next().map(str::trim).filter(is_plain)
        })
        .collect();
    let mut inner = inner.unwrap_or_default();
    if is_behind_value(rest) {
        inner.pop();
    }
    let keys = std::iter::once(first.trim()).chain(inner);
    Some(keys.collect::<Vec<_>>().join("."))
}

/// Returns true if the text ends behind a value of a table in braces, where the next key stands: in a list, a comma is between
/// elements.
fn is_behind_value(text: &str) -> bool {
    let value = text.rsplit_once('=').map_or("", |(_, value)| value);
    value.trim_end().ends_with(',') && value.matches('[').count() == value.matches(']').count()
}

/// The reason why a plugin cannot ask for something in these words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum RequestError {
    #[error(transparent)]
    Unit(#[from] ParseUnitError),
    #[error(
        "a plugin asks for a variable by its name, of letters, digits and _, such as LANG; the value is the user's to give"
    )]
    Variable,
    #[error(
        "a plugin asks for a directory by its own name for it, such as /data, with :rw behind it to write there; which one \
         of the host that is, is the user's to say"
    )]
    Directory,
    #[error("the host has to be a name, of letters, digits, - and _ between dots, or an address")]
    Host,
    #[error("a path has no line breaks and no other control characters in it")]
    ControlCharacter,
    #[error("it is longer than {LONGEST_NAME} bytes")]
    TooLong,
}

/// Reads a value as the command line reads it. `expected` says what is wanted where there is no text.
fn one<'de, D: Deserializer<'de>, T, E: Display>(
    from: D,
    expected: &'static str,
    read: fn(&str) -> Result<T, E>,
) -> Result<Option<T>, D::Error> {
    from.deserialize_str(OneText { expected, read }).map(Some)
}

/// Reads a text.
struct OneText<T, E> {
    expected: &'static str,
    read: fn(&str) -> Result<T, E>,
}

impl<T, E: Display> Visitor<'_> for OneText<T, E> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<F: serde::de::Error>(self, text: &str) -> Result<T, F> {
        (self.read)(text).map_err(F::custom)
    }
}

/// Reads a list of values as the command line reads each.
fn many<'de, D: Deserializer<'de>, T, E: Display>(from: D, read: fn(&str) -> Result<T, E>) -> Result<Vec<T>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    texts
        .iter()
        .map(|text| read(text).map_err(|e| D::Error::custom(format!("{}: {e}", QuotedName::of(text)))))
        .collect()
}

pub fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    one(from, "a text such as \"10s\"", units::duration)
}

pub fn size<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    one(from, "a text such as \"64MiB\"", units::size)
}

pub fn scratch<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    one(from, "a text such as \"/tmp\"", units::scratch)
}

pub fn peers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PeerGrant>, D::Error> {
    many(from, units::peer)
}

pub fn given_variables<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, String)>, D::Error> {
    many(from, units::variable)
}

pub fn given_directories<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<DirectoryGrant>, D::Error> {
    many(from, units::directory)
}

pub fn shares<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<SharedObject>, D::Error> {
    many(from, units::shared_object)
}

pub fn variables<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    many(from, |name| {
        let name = short(name)?;
        let begins_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        match begins_well && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            true => Ok(name.to_owned()),
            false => Err(RequestError::Variable),
        }
    })
}

pub fn asked_directories<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, bool)>, D::Error> {
    many(from, |text| {
        units::mode(text)?;
        let (name, writes) = wasmpool_run::grants::split_mode(text);
        match name.is_empty() || name.contains("::") {
            true => Err(RequestError::Directory),
            false => Ok((path(name)?, writes)),
        }
    })
}

pub fn asked_scratch<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    one(from, "a text such as \"/tmp\"", |name| path(&units::scratch(name)?))
}

pub fn asked_peers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PeerGrant>, D::Error> {
    many(from, |text| {
        let peer = units::peer(short(text)?)?;
        match is_host(&peer.host) {
            true => Ok(peer),
            false => Err(RequestError::Host),
        }
    })
}

/// Returns true if this can be the name or the address of a machine.
fn is_host(host: &str) -> bool {
    let is_word = |text: &str, more: &[char]| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(&c))
    };
    // A zone is the name of a network interface.
    let (address, zone) = host.split_once('%').map_or((host, None), |(address, zone)| (address, Some(zone)));
    match (address.parse::<IpAddr>(), zone) {
        (Ok(_), None) => true,
        (Ok(address), Some(zone)) => address.is_ipv6() && is_word(zone, &['-', '_', '.']),
        (Err(_), Some(_)) => false,
        (Err(_), None) => {
            let name = host.strip_suffix('.').unwrap_or(host);
            name.split('.').all(|label| label.len() <= 63 && !label.starts_with('-') && is_word(label, &['-', '_']))
        }
    }
}

/// Reads a path by which a task may ask for something.
fn path(name: &str) -> Result<String, RequestError> {
    match short(name)?.chars().any(char::is_control) {
        true => Err(RequestError::ControlCharacter),
        false => Ok(name.to_owned()),
    }
}

fn short(name: &str) -> Result<&str, RequestError> {
    match name.len() > LONGEST_NAME {
        true => Err(RequestError::TooLong),
        false => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::manifest::Manifest;

    fn refusal(text: &str) -> String {
        super::text::<Manifest>(text).expect_err("it is wrong").to_string()
    }

    fn asking(grants: &str) -> String {
        format!("wasm = 'x'\n[grants]\n{grants}")
    }

    #[test]
    fn what_is_wrong_is_told_on_one_line_with_its_place() {
        let error = refusal("wasm = 'x'\n\"a\\n  wasmpool: fine `b`, expected c\" = 1");
        let wanted =
            r"line 2, column 1: unknown key `a\n  wasmpool: fine \u{60}b\u{60}, expected c`, expected one of `wasm`";
        assert!(error.starts_with(wanted), "{error}");
        for wrong in [
            "wasm = \nx",
            "wasm = 'x'\nlimits = \"a\\nb\"",
            "[a\u{1b}\n",
            "wasm = 'x'\n[limits]\nmemory = \"\"\"a\nb\"\"\"",
        ] {
            let error = refusal(wrong);
            assert!(!error.contains(char::is_control) && error.contains("line "), "{error:?}");
        }
        assert!(refusal(&format!("{} = 1", "k".repeat(5000))).len() < 1000);
    }

    #[test]
    fn what_was_probably_meant_is_told() {
        for (text, wanted) in [
            ("wasm = 'x'\nfuntion = 'f'", "line 2, column 1: unknown key `funtion`; did you mean `function`?"),
            ("wasm = 'x'\ntimeout = '1s'", "line 2, column 1: unknown key `timeout`; it belongs in `limits`"),
            ("wasm = 'x'\nenv = ['A']", "line 2, column 1: unknown key `env`; it belongs in `grants`"),
            ("wasm = 'x'\ncolour = 1", "unknown key `colour`, expected one of `wasm`, `function`, `limits`, `grants`"),
            ("wasm = 'x'\nlimits = { timout = '1s' }", "unknown key `timout`; did you mean `timeout`?"),
            (
                "wasm = 'x'\nlimits = { memory = '1MiB', timout = '1s' }",
                "line 2, column 29, `limits`: unknown key `timout`; did you mean `timeout`?",
            ),
            ("wasm = 'x'\ngrants = { env = ['A', 1] }", "line 2, column 24, `grants.env`: it is `1`"),
            (
                "wasm = 'x'\nlimits = { memory = '1MiB', timeout = 10 }",
                "line 2, column 39, `limits.timeout`: it is `10`, and has to be a text such as \"10s\"",
            ),
            (
                "wasm = 'x'\n[limits]\nmemory = 10",
                "line 3, column 10, `memory`: it is `10`, and has to be a text such as \"64MiB\"",
            ),
            ("wasm = 'x'\nlimits = 3", "line 2, column 10, `limits`: it is `3`, and has to be a table"),
            ("wasm = [1]", "line 1, column 8, `wasm`: it is a list, and has to be a path, in quotes"),
            ("wasm = 'x'\nfunction = true", "it is `true`, and has to be a text, in quotes"),
            ("wasm = 'x'\n[limits]\nfuel = 'much'", "it is the text \"much\", and has to be a whole number"),
            ("function = 'f'", "the key `wasm` is missing"),
        ] {
            let error = refusal(text);
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }

    #[test]
    fn what_nobody_can_mean_is_refused() {
        for grants in [
            "env = ['A B']",
            "env = ['LANG, and for nothing else. It']",
            "env = ['1A']",
            "env = ['']",
            "env = ['Ä']",
            r#"env = ["A\n"]"#,
            r#"dir = ["/a\nb"]"#,
            r#"dir = ["/\u001b[2J:rw"]"#,
            r#"dir = ["/a\u009b"]"#,
            r#"scratch = "/a\rb""#,
            "allow-net = ['a;b:80']",
            "allow-net = ['-a:80']",
            "allow-net = ['a..b:80']",
            "allow-net = ['$(id):80']",
            "allow-net = ['1.2.3.4%a:80']",
            "allow-net = ['[::1%a b]:80']",
        ] {
            let error = refusal(&asking(grants));
            assert!(error.starts_with("line 3, column "), "{grants}: {error}");
        }
        let long = "a".repeat(LONGEST_NAME + 1);
        for grants in [format!("env = ['{long}']"), format!("dir = ['{long}']"), format!("scratch = '{long}'")] {
            assert!(refusal(&asking(&grants)).contains("longer than 255 bytes"));
        }
    }

    #[test]
    fn what_somebody_can_mean_is_taken() {
        let grants = "env = ['LANG', '_a1']\ndir = ['/Müll und mehr', '.:rw', \"it's\"]\nscratch = '/tmp dir'\n\
                      allow-net = ['localhost:1', 'a_b-c.example.org.:443', '127.0.0.1:80', '[::1]:80', '[fe80::1%eth0]:80']";
        super::text::<Manifest>(&asking(grants)).expect("it is right");
    }
}
