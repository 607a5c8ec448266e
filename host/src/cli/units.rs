//! Parsers of sizes, durations and bindings as they are written on the command line.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Arg;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::parser::ValueSource;

use super::share::{self, ParseShareError, SharedObject, SharedOption};
use wasmpool_core::json;
use wasmpool_core::outcome::FailureKind;
use wasmpool_core::policy::{Failures, Halt, HaltWhen};
use wasmpool_core::text::ForeignText;
#[cfg(feature = "hosts")]
use wasmpool_hosts::names::HostName;
#[cfg(feature = "hosts")]
use wasmpool_nats::url::{BrokerUrl, UrlError};
use wasmpool_run::grants::{DirectoryGrant, PeerGrant, split_mode, unknown_mode};

/// Error: a text is not a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseSizeError {
    #[error("a size is a number with k, M, G, KiB, MiB or GiB, such as 256MiB")]
    Form,
    #[error("it is too large: sizes are less than 16 EiB, such as 256MiB")]
    TooLarge,
}

/// The reason why a text is not a value of an option, in words that say what it has to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseUnitError {
    #[error("a duration is a number with ms, s, m, h or d, such as 500ms or 2m")]
    Duration,
    #[error("a duration has to be longer than nothing")]
    NoDuration,
    #[error("names of columns stand between commas, such as id,name")]
    Column,
    #[error("it has to be NAME=JSON or NAME=TEXT, such as factor=3 or greeting=hello")]
    Binding,
    #[error("it has to be NAME=VALUE, such as LANG=C; nothing of your own environment is passed on")]
    Variable,
    #[error("it has to be HOST::GUEST, such as ./photos::/photos, with :rw behind it to allow writing")]
    Directory,
    #[error(
        "there is no mode :{}: a directory has :ro behind it, which is the default, or :rw to allow writing; a name that ends \
         so is followed by one of them",
        ForeignText::of(.0)
    )]
    Mode(String),
    #[error("it has to be the name that the task has for the directory, such as /tmp")]
    Scratch,
    #[error(
        "it is the task's name of an empty directory, such as /tmp; one of the host is granted as a directory \
         (--dir, or the key `dir` of a file), HOST::GUEST:rw"
    )]
    ScratchOfHost,
    #[error("it has to be HOST:PORT, such as example.org:443, 127.0.0.1:8080 or [::1]:8080")]
    Peer,
    #[error("it is not JSON ({why}); a string needs quotes: '\"text\"'")]
    NoJson { why: String },
    #[error("a quote, the end of a line and a NUL cannot separate columns")]
    NoDelimiter,
    #[error(r"it has to be one character of ASCII, or \t for a tab")]
    Delimiter,
    #[error("the kinds of failure that can be tried again are {}", RETRIABLE.map(FailureKind::name).join(", "))]
    Retriable,
    #[error("it is never, or now or soon, with ,fail=N or ,fail=N% behind it: soon,fail=10 or now,fail=5%")]
    Halt,
    #[error("it is N%, a share of the task's items that failed, or N, a number of them: 20%, 10")]
    SetAside,
    #[cfg(feature = "hosts")]
    #[error("it has to be a percentage from 1% to 100%")]
    Percentage,
    #[error("it has to be NAME=FILE, such as check=check.wasm; records carry the name")]
    NamedTask,
    #[error("its name has to end in .html, for a page, or in .json, for figures")]
    Report,
    #[error("a chunk size is `auto` or a number from 1")]
    ChunkSize,
    #[error(transparent)]
    Share(#[from] ParseShareError),
}

/// The values that an option may have: how each is written, what it stands for, and what it means.
pub type OptionChoices<T, const N: usize> = [(&'static str, T, &'static str); N];

/// Returns a parser that takes one of these values.
pub fn one_of<T: Copy + Send + Sync, const N: usize>(
    choices: &'static OptionChoices<T, N>,
) -> impl TypedValueParser<Value = T> {
    let written = choices.iter().map(|(name, _, help)| PossibleValue::new(*name).help(*help));
    PossibleValuesParser::new(written).try_map(|said| {
        let choice = choices.iter().find(|(name, ..)| *name == said);
        choice.map(|(_, value, _)| *value).ok_or("there is no such value")
    })
}

/// Parses a size: a number of bytes, with `k M G` (powers of 1000) or `KiB MiB GiB` (powers of 1024).
pub fn size(text: &str) -> Result<u64, ParseSizeError> {
    parse_size::parse_size(text).map_err(|e| match e {
        parse_size::Error::PosOverflow => ParseSizeError::TooLarge,
        _ => ParseSizeError::Form,
    })
}

/// Parses a duration: a number with `ms`, `s`, `m`, `h` or `d`.
pub fn duration(text: &str) -> Result<Duration, ParseUnitError> {
    let duration = humantime::parse_duration(text).map_err(|_| ParseUnitError::Duration)?;
    if duration.is_zero() { Err(ParseUnitError::NoDuration) } else { Ok(duration) }
}

/// The values of one use of a repeatable option: on the command line a single value, whatever is in it; in the
/// environment, where all uses share one variable, one value on each line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepeatedOption<T>(pub Vec<T>);

impl<'a, T> IntoIterator for &'a RepeatedOption<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// A parser of [`RepeatedOption`], made from a parser of one value.
pub struct EachOf<T> {
    one: fn(&str) -> Result<T, ParseUnitError>,
    /// Returns true if a text of the environment is one value although it spans lines.
    whole: fn(&str) -> bool,
}

/// Returns a parser for values of a repeatable option.
pub fn each<T>(one: fn(&str) -> Result<T, ParseUnitError>) -> EachOf<T> {
    EachOf { one, whole: |_| false }
}

/// Returns a parser for bindings: JSON that spans lines is one binding.
pub fn bindings() -> EachOf<(String, String)> {
    EachOf { one: binding, whole: |text| text.split_once('=').is_some_and(|(_, value)| json(value).is_ok()) }
}

// Not derived, since that would require `T: Clone`.
impl<T> Clone for EachOf<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for EachOf<T> {}

impl<T> EachOf<T> {
    fn read(&self, text: &str, source: ValueSource) -> Result<RepeatedOption<T>, ParseUnitError> {
        if source != ValueSource::EnvVariable || !text.contains('\n') || (self.whole)(text) {
            return (self.one)(text).map(|one| RepeatedOption(vec![one]));
        }
        text.lines().filter(|line| !line.trim().is_empty()).map(self.one).collect::<Result<_, _>>().map(RepeatedOption)
    }
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for EachOf<T> {
    type Value = RepeatedOption<T>;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&Arg>,
        text: &OsStr,
    ) -> Result<RepeatedOption<T>, clap::Error> {
        self.parse_ref_(command, arg, text, ValueSource::CommandLine)
    }

    fn parse_ref_(
        &self,
        command: &clap::Command,
        arg: Option<&Arg>,
        text: &OsStr,
        source: ValueSource,
    ) -> Result<RepeatedOption<T>, clap::Error> {
        let parser = *self;
        let read = move |text: &str| parser.read(text, source);
        TypedValueParser::parse_ref(&read, command, arg, text)
    }
}

/// A file of `--report`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportFile {
    pub path: PathBuf,
    pub form: ReportForm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportForm {
    Html,
    Json,
}

/// Parses the name of a report, whose end says its form.
pub fn report(text: &str) -> Result<ReportFile, ParseUnitError> {
    let path = PathBuf::from(text);
    let end = path.extension().and_then(OsStr::to_str).map(str::to_lowercase);
    let form = match end.as_deref() {
        Some("html" | "htm") => ReportForm::Html,
        Some("json") => ReportForm::Json,
        _ => return Err(ParseUnitError::Report),
    };
    Ok(ReportFile { path, form })
}

/// Parses a binding: `NAME=JSON` or `NAME=TEXT`. Which of the two it is depends on the parameter's type, which a worker
/// knows.
fn binding(text: &str) -> Result<(String, String), ParseUnitError> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(ParseUnitError::Binding),
    }
}

/// Parses an environment variable: `NAME=VALUE`.
pub fn variable(text: &str) -> Result<(String, String), ParseUnitError> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(ParseUnitError::Variable),
    }
}

/// Parses a shared object.
pub fn shared_object(text: &str) -> Result<SharedObject, ParseUnitError> {
    Ok(share::shared_object(text)?)
}

/// Parses what `--share` takes: a shared object, or one of a server.
pub fn shared_option(text: &str) -> Result<SharedOption, ParseUnitError> {
    Ok(share::shared_option(text)?)
}

/// Parses a granted directory: `HOST::GUEST`, with `:ro` (the default) or `:rw` at its end.
pub fn directory(text: &str) -> Result<DirectoryGrant, ParseUnitError> {
    mode(text)?;
    let (text, writable) = split_mode(text);
    match text.split_once("::") {
        Some((host, guest)) if !host.is_empty() && !guest.is_empty() => {
            Ok(DirectoryGrant { host: host.into(), guest: guest.to_owned(), writable })
        }
        _ => Err(ParseUnitError::Directory),
    }
}

/// Checks that the name of a directory does not end with what was meant as a mode, and is none.
pub fn mode(text: &str) -> Result<(), ParseUnitError> {
    unknown_mode(text).map_or(Ok(()), |end| Err(ParseUnitError::Mode(end.to_owned())))
}

/// Parses the guest's name of its scratch directory.
pub fn scratch(text: &str) -> Result<String, ParseUnitError> {
    match text {
        "" => Err(ParseUnitError::Scratch),
        _ if text.contains("::") => Err(ParseUnitError::ScratchOfHost),
        _ => Ok(text.to_owned()),
    }
}

/// Parses a granted peer: `HOST:PORT`.
pub fn peer(text: &str) -> Result<PeerGrant, ParseUnitError> {
    let (host, port) = text.rsplit_once(':').ok_or(ParseUnitError::Peer)?;
    let port = port.parse().ok().filter(|&port| port != 0).ok_or(ParseUnitError::Peer)?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() || host.contains(['/', '[', ']']) || host.contains(char::is_whitespace) {
        Err(ParseUnitError::Peer)
    } else {
        Ok(PeerGrant { host: host.to_owned(), port })
    }
}

/// Checks that a text is JSON.
pub fn json(text: &str) -> Result<String, ParseUnitError> {
    serde_json::from_str::<serde::de::IgnoredAny>(text)
        .map_err(|e| ParseUnitError::NoJson { why: format!("{} at column {}", json::problem(&e), e.column()) })?;
    Ok(text.to_owned())
}

/// Parses the separator of CSV columns: one ASCII character that has no other meaning in CSV.
pub fn csv_delimiter(text: &str) -> Result<u8, ParseUnitError> {
    match text.as_bytes() {
        br"\t" => Ok(b'\t'),
        [b'"' | b'\n' | b'\r' | 0] => Err(ParseUnitError::NoDelimiter),
        [one] if one.is_ascii() => Ok(*one),
        _ => Err(ParseUnitError::Delimiter),
    }
}

/// Parses the name of a column.
pub fn column(text: &str) -> Result<String, ParseUnitError> {
    match text.trim() {
        "" => Err(ParseUnitError::Column),
        name => Ok(name.to_owned()),
    }
}

/// The kinds of failure that may not happen again on another attempt.
const RETRIABLE: [FailureKind; 8] = [
    FailureKind::WorkerLost,
    FailureKind::Timeout,
    FailureKind::Error,
    FailureKind::Trap,
    FailureKind::Exit,
    FailureKind::Memory,
    FailureKind::Fuel,
    FailureKind::OutputTooLarge,
];

/// Parses one of these kinds.
pub fn retriable(text: &str) -> Result<FailureKind, ParseUnitError> {
    RETRIABLE.into_iter().find(|kind| kind.name() == text.trim()).ok_or(ParseUnitError::Retriable)
}

/// The failures that end the run, if any do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaybeHalt(pub Option<Halt>);

/// Parses `never`, or `now` or `soon` with a number of failures or a percentage of them.
pub fn halt(text: &str) -> Result<MaybeHalt, ParseUnitError> {
    let (manner, after) = text.split_once(',').map_or((text, None), |(manner, after)| (manner, Some(after)));
    let manner = match manner.trim() {
        "never" if after.is_none() => return Ok(MaybeHalt(None)),
        "soon" => HaltWhen::Soon,
        "now" => HaltWhen::Now,
        _ => return Err(ParseUnitError::Halt),
    };
    let after = match after {
        None => Failures::Count(1),
        Some(after) => after.trim().strip_prefix("fail=").and_then(failures).ok_or(ParseUnitError::Halt)?,
    };
    Ok(MaybeHalt(Some(Halt { manner, after })))
}

/// Parses a number of failures, or a share of the items that are done.
fn failures(text: &str) -> Option<Failures> {
    match text.strip_suffix('%') {
        Some(share) => share.parse().ok().filter(|s| *s > 0.0 && *s <= 100.0).map(Failures::Percent),
        None => text.parse().ok().filter(|n| *n > 0).map(Failures::Count),
    }
}

/// Parses when a task is set aside: after failures of `N%` of its items, or of `N` of them.
pub fn set_aside(text: &str) -> Result<Failures, ParseUnitError> {
    failures(text.trim()).ok_or(ParseUnitError::SetAside)
}

/// Parses a percentage: `1%` to `100%`.
#[cfg(feature = "hosts")]
pub fn percentage(text: &str) -> Result<u8, ParseUnitError> {
    let percent = text.trim().strip_suffix('%').and_then(|number| number.parse().ok());
    percent.filter(|percent| (1..=100).contains(percent)).ok_or(ParseUnitError::Percentage)
}

/// One of several tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedTask {
    pub name: String,
    pub file: PathBuf,
}

/// Parses a task with a name: `NAME=FILE`.
pub fn named_task(text: &str) -> Result<NamedTask, ParseUnitError> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => {
            Ok(NamedTask { name: name.to_owned(), file: file.into() })
        }
        _ => Err(ParseUnitError::NamedTask),
    }
}

/// Parses a chunk size: `auto` or a number from 1.
pub fn chunk_size(text: &str) -> Result<wasmpool_scheduler::ChunkSize, ParseUnitError> {
    use wasmpool_scheduler::ChunkSize;
    match (text, text.parse::<u32>()) {
        ("auto", _) => Ok(ChunkSize::Auto),
        (_, Ok(n @ 1..)) => Ok(ChunkSize::Fixed(n)),
        _ => Err(ParseUnitError::ChunkSize),
    }
}

/// The reason why a text is not the address of a message system.
#[cfg(feature = "hosts")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseBrokerUrlError {
    #[error("{} (--creds FILE, --nkey FILE)", UrlError::Password)]
    Password,
    #[error("{0}")]
    Other(UrlError),
}

/// Parses the address of a message system.
#[cfg(feature = "hosts")]
pub fn broker_url(text: &str) -> Result<BrokerUrl, ParseBrokerUrlError> {
    BrokerUrl::parse(text).map_err(|e| match e {
        UrlError::Password => ParseBrokerUrlError::Password,
        e => ParseBrokerUrlError::Other(e),
    })
}

/// Parses the name of a server of shared objects.
#[cfg(feature = "hosts")]
pub fn server_name(text: &str) -> Result<HostName, ParseShareError> {
    HostName::new(text).map_err(|_| ParseShareError::Server)
}

#[cfg(test)]
mod tests {
    use wasmpool_core::text::bytes_said;

    use super::*;

    #[test]
    fn sizes_are_read_in_both_systems() {
        assert_eq!(size("16MiB"), Ok(16 << 20));
        assert_eq!(size("16M"), Ok(16_000_000));
        assert_eq!(size("1k"), Ok(1000));
        assert_eq!(size("12"), Ok(12));
        assert_eq!(size("lots"), Err(ParseSizeError::Form));
        assert_eq!(size("99E"), Err(ParseSizeError::TooLarge));
    }

    #[test]
    fn what_looks_like_a_mode_of_a_directory_is_one_or_is_refused() {
        let of = |text: &str| directory(text).map(|one| (one.guest, one.writable));
        assert_eq!(of("a::/x"), Ok(("/x".to_owned(), false)));
        assert_eq!(of("a::/x:rw"), Ok(("/x".to_owned(), true)));
        for end in ["rx", "wr", "RW", "w", "rwx", "readonly", "write"] {
            assert_eq!(of(&format!("a::/x:{end}")), Err(ParseUnitError::Mode(end.to_owned())));
            assert_eq!(of(&format!("a::/x:{end}:ro")), Ok((format!("/x:{end}"), false)));
        }
        for name in ["/x:data", "C:/work", "a:b/rw", "/x:rwrw", "/x:"] {
            assert_eq!(of(&format!("a::{name}")), Ok((name.to_owned(), false)));
        }
        // The name of the host's directory is its own.
        assert_eq!(of("a:rx::/x"), Ok(("/x".to_owned(), false)));
    }

    #[test]
    fn a_number_of_bytes_is_written_so_that_it_can_be_read_and_is_exact() {
        for (bytes, said) in [
            (0, "0 bytes"),
            (1000, "1000 bytes"),
            (9_999, "9999 bytes"),
            (65_536, "64 KiB"),
            (65_537, "64.0 KiB (65537 bytes)"),
            (1536 << 20, "1536 MiB"),
            (10_001 << 10, "9.7 MiB (10241024 bytes)"),
            (8_589_930_496, "7.9 GiB (8589930496 bytes)"),
            (16 << 40, "16 TiB"),
            (u64::MAX, "16777215.9 TiB (18446744073709551615 bytes)"),
        ] {
            assert_eq!(bytes_said(bytes), said);
        }
        assert_eq!(size(&bytes_said(64 << 20)), Ok(64 << 20));
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("50ms"), Ok(Duration::from_millis(50)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("5").is_err());
        assert!(duration("0s").is_err());
    }

    #[test]
    fn a_directory_is_for_reading_unless_it_says_otherwise() {
        let granted = |text| directory(text).map(|d| (d.host.display().to_string(), d.guest, d.writable));
        assert_eq!(granted("a::/b"), Ok(("a".to_owned(), "/b".to_owned(), false)));
        assert_eq!(granted("a:b::/c:ro"), Ok(("a:b".to_owned(), "/c".to_owned(), false)));
        assert_eq!(granted(".::.:rw"), Ok((".".to_owned(), ".".to_owned(), true)));
        for wrong in ["a", "::/b", "a::", "a:/b", ""] {
            assert!(granted(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_peer_has_a_host_and_a_port() {
        assert_eq!(peer("[::1]:80"), Ok(PeerGrant { host: "::1".to_owned(), port: 80 }));
        assert_eq!(peer("example.org:443"), Ok(PeerGrant { host: "example.org".to_owned(), port: 443 }));
        for wrong in ["example.org", ":80", "a:0", "a:b", "http://a:80", "a:99999", "a:80\nb:80"] {
            assert!(peer(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_halt_says_how_and_after_how_many_failures() {
        let halt_of = |text| halt(text).map(|halt| halt.0.map(|halt| (halt.manner, halt.after)));
        assert_eq!(halt_of("never"), Ok(None));
        assert_eq!(halt_of("now"), Ok(Some((HaltWhen::Now, Failures::Count(1)))));
        assert_eq!(halt_of("soon,fail=10"), Ok(Some((HaltWhen::Soon, Failures::Count(10)))));
        assert_eq!(halt_of("now,fail=2.5%"), Ok(Some((HaltWhen::Now, Failures::Percent(2.5)))));
        for wrong in [
            "",
            "later",
            "soon,",
            "soon,fail=0",
            "soon,fail=0%",
            "soon,fail=101%",
            "soon,fail=NaN%",
            "never,fail=1",
            "now,3",
        ] {
            assert!(halt(wrong).is_err(), "{wrong}");
        }
        for text in ["now,fail=1", "soon,fail=2.5%"] {
            assert_eq!(halt(text).ok().and_then(|halt| halt.0).map(|halt| halt.to_string()), Some(text.to_owned()));
        }
    }

    #[test]
    fn a_named_task_has_a_name_and_a_file() {
        let named = |text| named_task(text).map(|task| (task.name, task.file.display().to_string()));
        assert_eq!(named("a=one.wasm"), Ok(("a".to_owned(), "one.wasm".to_owned())));
        assert_eq!(named("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        for wrong in ["one.wasm", "=one.wasm", "a=", ""] {
            assert!(named(wrong).unwrap_err().to_string().contains("NAME=FILE"), "{wrong}");
        }
    }

    #[test]
    fn a_task_is_set_aside_for_a_share_or_a_number_of_failures() {
        assert_eq!(set_aside("20%"), Ok(Failures::Percent(20.0)));
        assert_eq!(set_aside("5"), Ok(Failures::Count(5)));
        for wrong in ["", "0", "0%", "101%", "some", "-1%"] {
            assert!(set_aside(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_change_is_not_tried_again() {
        assert_eq!(retriable("trap"), Ok(FailureKind::Trap));
        assert!(retriable("invalid-input").unwrap_err().to_string().contains("worker-lost, timeout"));
    }

    #[test]
    fn bindings_of_the_environment_stand_on_lines_of_their_own() {
        let pair = |name: &str, json: &str| (name.to_owned(), json.to_owned());
        let read = |text| bindings().read(text, ValueSource::EnvVariable).map(|each| each.0);
        assert_eq!(read("a=1"), Ok(vec![pair("a", "1")]));
        assert_eq!(read("a=1\nb=[2]\n"), Ok(vec![pair("a", "1"), pair("b", "[2]")]));
        assert_eq!(read("a=[1,\n2]"), Ok(vec![pair("a", "[1,\n2]")]));
        assert!(read("a=1\nb").is_err());
    }

    #[test]
    fn an_argument_of_the_command_line_is_one_value() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let variables = |text, source| each(variable).read(text, source).map(|each| each.0);
        assert_eq!(variables("A=1\nB=2", ValueSource::CommandLine), Ok(vec![pair("A", "1\nB=2")]));
        assert_eq!(variables("A=1\nB=2", ValueSource::EnvVariable), Ok(vec![pair("A", "1"), pair("B", "2")]));
        let bound = bindings().read("a=1\nb=2", ValueSource::CommandLine).map(|each| each.0);
        assert_eq!(bound, Ok(vec![pair("a", "1\nb=2")]));
        let directories = each(directory).read("a::/b\nc::/d", ValueSource::CommandLine).map(|each| each.0);
        assert_eq!(directories.map(|granted| granted.len()), Ok(1));
    }

    #[test]
    fn a_binding_has_a_name_and_json_or_a_text() {
        assert_eq!(binding("name=text"), Ok(("name".to_owned(), "text".to_owned())));
        assert_eq!(binding("name="), Ok(("name".to_owned(), String::new())));
        for text in ["name", "=text", ""] {
            assert_eq!(binding(text), Err(ParseUnitError::Binding), "{text}");
        }
    }
}
