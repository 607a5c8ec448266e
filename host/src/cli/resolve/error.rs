//! The errors of resolving options.

use std::path::PathBuf;

use crate::cli::manifest::ManifestError;
use wasmpool_core::share::MOST_OBJECTS;
use wasmpool_core::text::{ForeignText, QuotedName, ShellWord};

/// A reason why options cannot be followed, so that there is no run. Options are named in the words of their sources.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    #[error("{option} cannot be used with {deterministic}: {why}")]
    Undetermined { option: String, deterministic: String, why: &'static str },
    #[error(
        "{batch} with chunks of any size cannot be used with {deterministic}: say how many items a call gets, with -c N"
    )]
    UndeterminedBatch { batch: String, deterministic: String },
    #[error("{batch} with {by} cannot be used with {deterministic}: a chunk ends early where a worker or a run does")]
    UndeterminedChunks { batch: String, by: String, deterministic: String },
    #[error("{replace} and {replace_index} stand for different things: give them different texts")]
    SamePlaces { replace: String, replace_index: String },
    #[error("{set_aside} is for a run of several tasks: name each with --task NAME=FILE, or leave {set_aside} out")]
    SetAsideAlone { set_aside: String },
    #[error("two tasks are called {}: {task} wants a name of its own for each", ForeignText::of(.name))]
    NameTwice { name: String, task: String },
    #[error(
        "{} is a task, and with {task} all that stands without a name is input: write --task NAME={advice}",
        ForeignText::of(.file)
    )]
    NamelessTask { file: PathBuf, task: String, advice: String },
    #[error("{said} is for a run of one task: {why} (wasmpool map {option} … TASK), or leave {said} out")]
    ForOneTask { said: String, option: &'static str, why: &'static str },
    #[error(
        "task {}: {} is a plugin with a manifest of its own, and several tasks of one run have the same limits and grants; \
         run it by itself (wasmpool map {})",
        ForeignText::of(.name), ForeignText::of(.file), ShellWord::of(.file)
    )]
    PluginAmongSeveral { name: String, file: PathBuf },
    #[error("{resume} goes on with the run of a journal: name it with --journal FILE")]
    ResumeOfNothing { resume: String },
    #[error("{results} is one file for each item, and {flatten} makes several of one: leave one out")]
    FlattenedResults { results: String, flatten: String },
    #[error("{name} names the files of --results: add --results DIR")]
    NameOfNoResults { name: String },
    #[error(
        "{name} names results by a member {} of the items, which have none: it wants --input-format csv, jsonl or json; \
         {{}} is the text of an item, or the path of its file",
        QuotedName::of(.member)
    )]
    NameOfNoMember { name: String, member: String },
    #[error("two shared objects are called {}: {share} wants a name of its own for each", ForeignText::of(.name))]
    ShareTwice { name: String, share: String },
    #[error("{share} is given more than {MOST_OBJECTS} times, which is the most for one run")]
    TooManyShares { share: String },
    #[error(
        "{option} is about the objects of --share, and there is none: add --share NAME=KIND, or leave {option} out"
    )]
    NothingShared { option: String },
    #[error(
        "{share} cannot be used with {journal}: what items did to a shared object is gone once a run is killed, and a \
         resumed run would not repeat them; leave one out"
    )]
    JournalOfShares { share: String, journal: String },
    #[error(
        "{share} is an object of a server, which hosts reach: add --via URL to `wasmpool map` or `wasmpool exec`, with the \
         message system at which `wasmpool share serve` runs as {server}"
    )]
    ServedHere { share: String, server: String },
    #[error(
        "{own} is an object of the run and {served} one of a server, and a run has those of one place: name both in the file \
         that {server} serves"
    )]
    OwnAndServed { own: String, served: String, server: String },
    #[error(
        "{one} and {other} are objects of two servers, and a run has those of one: name both in the file of one server"
    )]
    TwoServers { one: String, other: String },
    #[error("the object {} of {server} is granted twice: leave one out", ForeignText::of(.name))]
    ServedTwice { name: String, server: String },
    #[error(
        "{option} is about objects of the run itself, and those of {server} outlive it: `wasmpool share serve --state FILE` \
         keeps what they hold; leave {option} out"
    )]
    ContentsOfServer { option: String, server: String },
    #[error(
        "{share} cannot be used with {journal}: items whose end was not in the journal yet when the run was killed would do \
         again what they did to the objects of the server; leave one out"
    )]
    JournalOfServed { share: String, journal: String },
    #[cfg(feature = "hosts")]
    #[error(
        "{option} is about a run over many machines: name its message system with --via URL, or leave {option} out"
    )]
    WithoutVia { option: String },
    #[cfg(feature = "hosts")]
    #[error("{option} cannot be used with {via}: {why}; leave one out")]
    NotOverHosts { option: String, via: String, why: &'static str },
    #[cfg(feature = "hosts")]
    #[error("{check} compares the bytes of two hosts, which only --deterministic makes the same: add it")]
    CheckedByChance { check: String },
    #[cfg(feature = "hosts")]
    #[error("{directory} with {via} means a directory of the hosts, which is named by its whole path: /data::/data")]
    RelativeOnHosts { directory: String, via: String },
    #[error(
        "{delimiter} is what follows each result of raw output, and has no effect with {format}: take --output-format raw, or \
         leave it out"
    )]
    OnlyOfRaw { delimiter: String, format: String },
    #[error("{retry_on} says which failures --retries is for: add --retries N, or leave it out")]
    RetryOnWithoutRetries { retry_on: String },
    #[error(
        "{said} has no effect, since {} is in none of the arguments of the command: write it where it is to be, behind --, or \
         leave {said} out",
        QuotedName::of(.text)
    )]
    NowhereInArguments { said: String, text: String },
    #[error("{option} says how CSV is cut: it wants --input-format csv")]
    OnlyOfCsv { option: String },
    #[error("{option} says how lists of files are cut: it wants --input-format files")]
    OnlyOfFiles { option: String },
    #[error(
        "{} is CSV by its name, and {} is not: say the format of both with --input-format, or run them one by one",
        ForeignText::of(.csv), ForeignText::of(.other)
    )]
    FormatsOfNames { csv: PathBuf, other: PathBuf },
    #[error("{keep} names columns of the input, which has none: it wants --input-format csv, jsonl or json")]
    KeepOfNoColumns { keep: String },
    #[error(
        "{keep} prints columns beside each result, and raw output is results alone: it wants --output-format values, records \
         or csv"
    )]
    KeepInRaw { keep: String },
    #[error("{keep} names the column {} twice: leave one out", QuotedName::of(.name))]
    KeepTwice { keep: String, name: String },
    #[error(
        "{keep} names a column {}, as the result is called: leave it out, or take --output-format records, which has the \
         columns apart",
        QuotedName::of(.name)
    )]
    KeepLikeResult { keep: String, name: String },
    #[error(
        "columns have no names with {no_header}, and {} is no number: {keep} takes the numbers of columns, from 1",
        QuotedName::of(.name)
    )]
    KeepByName { keep: String, name: String, no_header: String },
    /// `columns` lists those that are missing and those there are.
    #[error("{}: the CSV lacks columns of {said}: {columns}", ForeignText::of(.file))]
    ColumnsMissing { file: String, said: String, columns: String },
    #[error("{}: the CSV has the column {} of {keep} twice; give one of them another name", ForeignText::of(.file), QuotedName::of(.name))]
    KeptAmbiguous { file: String, keep: String, name: String },
    #[error("{said} is no file: `-` stands for a standard stream, and {why}; a file whose name is - is ./-")]
    NoStream { said: String, why: &'static str },
    #[error(
        "{failed} writes failed items to {to}, among the results: name a file for either, with --failed FILE \
         or -o FILE (a file that is called - is ./-)"
    )]
    FailedAmongResults { failed: String, to: &'static str },
    #[error("standard input is both {first} and {second}, and can be read only once: name a file for one of them")]
    StandardInputTwice { first: String, second: String },
    /// The policy or the manifest of a plugin cannot be used.
    #[error(transparent)]
    File(#[from] ManifestError),
}
