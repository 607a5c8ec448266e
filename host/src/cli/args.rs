//! Every option, defined once: its name, default, environment variable and help.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{BoolishValueParser, NonEmptyStringValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;

use super::share::SharedOption;
use super::units::{self, RepeatedOption, ReportFile};
use wasmpool_core::outcome::FailureKind;
use wasmpool_core::policy::{Failures, Isolate, SandboxMode};
#[cfg(feature = "hosts")]
use wasmpool_hosts::names::HostName;
#[cfg(feature = "hosts")]
use wasmpool_nats::url::BrokerUrl;
use wasmpool_run::grants::{DirectoryGrant, PeerGrant};
use wasmpool_run::output::NameTemplate;
use wasmpool_scheduler::ChunkSize;

/// Maximum number of workers: each is a process with some descriptors, so that no machine has room for many more.
const MOST_WORKERS: i64 = 4096;

/// The values of `--isolate`, and what each means.
const ISOLATE: units::OptionChoices<Isolate, 3> = [
    (
        "item",
        Isolate::Item,
        "A pristine instance for every item: nothing an item leaves behind is seen by another. Costs less than 1 µs an item where an \
         instance can be restored, else some 6–20 µs",
    ),
    ("chunk", Isolate::Chunk, "A fresh instance for every chunk of consecutive items"),
    ("worker", Isolate::Worker, "One instance for the life of the worker process, replaced only after a trap"),
];

/// The values of `--sandbox`, and what each means.
const SANDBOX: units::OptionChoices<SandboxMode, 3> = [
    (
        "strict",
        SandboxMode::Strict,
        "Refuse to run where a required layer is missing. Costs 1–2 ms for each worker process that starts",
    ),
    (
        "best-effort",
        SandboxMode::BestEffort,
        "Use the layers there are, and say what is missing. Wrong for code of strangers",
    ),
    ("off", SandboxMode::Off, "None but a process with nothing inherited. Only for tasks that are trusted"),
];

/// What `--share` takes, in full.
const SHARE: &str = "\
An object that the task shares with others, and opens by its NAME, such as jobs=queue:100 or total=value:s64:ro. In the \
environment, one on each line. KIND is one of

  queue[:CAPACITY]           messages, first in, first out        :put or :get
  pipe[:duplex]              two ends: the second sends to the    :first or :second
                             first; with duplex each to the other
  value:TYPE                 a number, which begins as 0          :ro
  array:TYPE:LENGTH          so many of them                      :ro
  lock, rlock
  semaphore:SLOTS[:bounded]  slots to be acquired and released
  event                      a flag that can be waited for        :ro
  condition                  with an rlock of its own
  barrier:PARTIES            a place where so many wait for all
  dict, list, namespace      values of bytes                      :ro

TYPE is s8 u8 s16 u16 s32 u32 s64 u64 f32 f64 bool or char. The right stands last; without one, all are granted. Before it, \
queue, pipe, dict, list and namespace take :entries=N (1048576, unless given) and :bytes=SIZE (64MiB), the most that is in \
them at a time.

Over many machines, NAME@SERVER[:RIGHTS] is an object of the server that `wasmpool share serve` runs under that name, such as \
jobs@backlog:put: other runs find in it what this one leaves";

/// multiprocessing.Pool for untrusted WebAssembly
#[derive(Debug, Parser)]
#[command(name = "wasmpool", version, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Apply one exported function to every item of the input
    Map(Box<MapArgs>),
    /// Run a WASI command once for every item of the input
    Exec(Box<ExecArgs>),
    /// Make one call and print its result as JSON
    Call(Box<CallArgs>),
    /// Run the named processes of a file, with shared objects and pipes between them
    Run(RunFileArgs),
    /// Show what a task exports and imports, an example item, and the grants it can use
    Inspect(InspectArgs),
    /// Compile a task ahead of time into the cache
    Compile(TaskArgs),
    /// Write the skeleton of a plugin, which builds and runs
    New(NewArgs),
    /// Show or clean the cache of compiled tasks
    Cache(CacheArgs),
    /// Show which layers of the sandbox hold on this machine
    Doctor,
    /// Run chunks of other machines' runs here, until it is ended
    #[cfg(feature = "hosts")]
    Serve(ServeArgs),
    /// Show the machines that serve
    #[cfg(feature = "hosts")]
    Hosts(HostsArgs),
    /// Keep shared objects that outlive runs
    #[cfg(feature = "hosts")]
    #[command(subcommand)]
    Share(ShareCommand),
    /// Print the completion script for a shell
    Completions(CompletionsArgs),
    /// Print the manual page, or write those of all commands
    Man(ManArgs),
}

#[cfg(feature = "hosts")]
#[derive(Debug, Subcommand)]
pub enum ShareCommand {
    /// Serve the objects of a file to the runs that name them (--share NAME@SERVER), until it is ended
    Serve(ShareServeArgs),
}

#[derive(Debug, Args)]
#[command(override_usage = "wasmpool map [OPTIONS] <TASK> [INPUT]...
       wasmpool map [OPTIONS] --task <NAME=FILE>... [INPUT]...")]
pub struct MapArgs {
    /// The task: a component or core module, or their text form (.wat); or a plugin (plugin.toml, or its directory)
    #[arg(required_unless_present = "tasks")]
    pub task: Option<PathBuf>,
    /// Files with the items; none, or `-`, is standard input
    pub input: Vec<PathBuf>,
    /// The function: `name`, or `interface/name` [default: the only one a user would call]
    #[arg(short, long, value_name = "NAME", env = "WASMPOOL_FUNCTION")]
    pub function: Option<String>,
    /// One of several tasks, each of which gets every item, in place of TASK; records carry its name. In the environment, one
    /// on each line
    #[arg(long = "task", value_name = "NAME=FILE", env = "WASMPOOL_TASK", value_parser = units::each(units::named_task))]
    pub tasks: Vec<RepeatedOption<units::NamedTask>>,
    /// Give a task of --task no more items once N% of its items (three at least), or N of them, have failed; the others go
    /// on [default: never]
    #[arg(long, value_name = "N%|N", env = "WASMPOOL_SET_ASIDE", value_parser = units::set_aside)]
    pub set_aside: Option<Failures>,
    /// FUNCTION takes a list of items and returns as many results: one call per chunk
    #[arg(long, env = "WASMPOOL_BATCH", value_parser = BoolishValueParser::new())]
    pub batch: bool,
    /// FUNCTION returns a list or an option: each element is a line of its own
    #[arg(long, env = "WASMPOOL_FLATTEN", value_parser = BoolishValueParser::new())]
    pub flatten: bool,
    #[command(flatten)]
    pub calling: FunctionArgs,
    /// How outcomes are printed [default: values; with --task records]
    #[arg(long, value_enum, value_name = "FORMAT", env = "WASMPOOL_OUTPUT_FORMAT")]
    pub output_format: Option<OutputFormat>,
    /// What follows each result of raw output
    #[arg(long, value_enum, default_value_t = Delimiter::Newline, env = "WASMPOOL_DELIMITER")]
    pub delimiter: Delimiter,
    #[command(flatten)]
    pub items: ItemArgs,
    #[command(flatten)]
    pub common: RunArgs,
}

#[derive(Debug, Args)]
#[command(override_usage = "wasmpool exec [OPTIONS] <TASK> [INPUT]... [-- <ARG>...]")]
pub struct ExecArgs {
    /// The command: a core module with `_start` (WASI preview 1), or a component that exports `wasi:cli/run`; or a plugin
    /// (plugin.toml, or its directory)
    pub task: PathBuf,
    /// Files with the items; none, or `-`, is standard input
    pub input: Vec<PathBuf>,
    /// Arguments of the command. `{}` in them is the item and `{#}` its index, from 0; where there is no `{}`, the item is the
    /// command's standard input
    #[arg(last = true, value_name = "ARG")]
    pub arguments: Vec<String>,
    /// What stands for the item in the ARGs, in place of `{}`, which is then passed as it is
    #[arg(short = 'I', long, value_name = "TEXT", default_value = "{}", env = "WASMPOOL_REPLACE", allow_hyphen_values = true, value_parser = NonEmptyStringValueParser::new())]
    pub replace: String,
    /// What stands for its index, in place of `{#}`
    #[arg(long, value_name = "TEXT", default_value = "{#}", env = "WASMPOOL_REPLACE_INDEX", allow_hyphen_values = true, value_parser = NonEmptyStringValueParser::new())]
    pub replace_index: String,
    /// Exit codes that are success
    #[arg(
        long,
        value_name = "N,…",
        value_delimiter = ',',
        default_value = "0",
        env = "WASMPOOL_OK_CODES",
        allow_negative_numbers = true
    )]
    pub ok_codes: Vec<i32>,
    /// How outcomes are printed: raw is what a command wrote to its standard output, as it is
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = OutputFormat::Raw, env = "WASMPOOL_OUTPUT_FORMAT")]
    pub output_format: OutputFormat,
    /// What follows each result of raw output [default: none; with --results newline]
    #[arg(long, value_enum, env = "WASMPOOL_DELIMITER")]
    pub delimiter: Option<Delimiter>,
    #[command(flatten)]
    pub items: ItemArgs,
    #[command(flatten)]
    pub common: RunArgs,
}

/// What the commands share that run a task over many items.
#[derive(Debug, Args)]
pub struct ItemArgs {
    /// Worker processes, over all tasks, of which each has one at least [default: the CPUs this process may use]
    #[arg(short = 'j', long, value_name = "N", env = "WASMPOOL_WORKERS", value_parser = clap::value_parser!(u32).range(1..=MOST_WORKERS))]
    pub workers: Option<u32>,
    /// Run on the machines that serve at URL (tls://nats.example.com:4222), instead of in workers of this one; -j then says how many
    /// chunks they have at a time
    #[cfg(feature = "hosts")]
    #[arg(long, value_name = "URL", env = "WASMPOOL_VIA", value_parser = units::broker_url)]
    pub via: Option<BrokerUrl>,
    #[cfg(feature = "hosts")]
    #[command(flatten)]
    pub broker: BrokerArgs,
    /// With --via: whether a chunk that takes far longer than others is run by a second host, too; auto, where that has no
    /// effects which would count twice
    #[cfg(feature = "hosts")]
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Speculate::Auto, env = "WASMPOOL_SPECULATE")]
    pub speculate: Speculate,
    /// With --via and --deterministic: have N% of the chunks run by two hosts, and end the run if their outcomes differ
    #[cfg(feature = "hosts")]
    #[arg(long, value_name = "N%", env = "WASMPOOL_CHECK", value_parser = units::percentage)]
    pub check: Option<u8>,
    /// Where the message system of --via keeps the chunks that wait for a host: `file` spares those that are on their way when it
    /// is started again, and costs time for each
    #[cfg(feature = "hosts")]
    #[arg(long, value_enum, value_name = "WHERE", default_value_t = ViaStorage::Memory, env = "WASMPOOL_VIA_STORAGE")]
    pub via_storage: ViaStorage,
    /// Items per chunk; auto aims at a few milliseconds of work
    #[arg(short, long, value_name = "N", default_value = "auto", env = "WASMPOOL_CHUNK_SIZE", value_parser = units::chunk_size, allow_hyphen_values = true)]
    pub chunk_size: ChunkSize,
    /// Print outcomes as they finish, not in input order
    #[arg(long, env = "WASMPOOL_UNORDERED", value_parser = BoolishValueParser::new())]
    pub unordered: bool,
    /// Replace a worker process after N items
    #[arg(long, value_name = "N", env = "WASMPOOL_MAX_ITEMS_PER_WORKER", visible_alias = "max-tasks-per-worker", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_items_per_worker: Option<u64>,
    /// How the input is cut into items [default: csv for files that are called .csv, .tsv or .tab, else jsonl]
    #[arg(long, value_enum, value_name = "FORMAT", env = "WASMPOOL_INPUT_FORMAT")]
    pub input_format: Option<InputFormat>,
    /// What separates the columns of CSV: one character, or \t for a tab [default: what the first row shows, else a comma]
    #[arg(long, value_name = "C", env = "WASMPOOL_CSV_DELIMITER", value_parser = units::csv_delimiter)]
    pub csv_delimiter: Option<u8>,
    /// The first row of CSV is data: columns are those that the function takes, in its order
    #[arg(long, env = "WASMPOOL_NO_HEADER", value_parser = BoolishValueParser::new())]
    pub no_header: bool,
    /// With --input-format files: paths end with a NUL, as `find -print0` prints them, instead of a newline
    #[arg(long, env = "WASMPOOL_NULL", value_parser = BoolishValueParser::new())]
    pub null: bool,
    /// Columns of the input that are printed with each result: of CSV, or members of JSON objects
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', env = "WASMPOOL_KEEP", value_parser = units::column)]
    pub keep: Vec<String>,
    /// Take only the first N items of the input, and read no further
    #[arg(long, value_name = "N", env = "WASMPOOL_FIRST", value_parser = clap::value_parser!(u64).range(1..))]
    pub first: Option<u64>,
    /// Say what would run: the task and its function, the items, limits, grants and layers of the sandbox. Nothing is run,
    /// and no file is made or changed
    #[arg(long, env = "WASMPOOL_DRY_RUN", value_parser = BoolishValueParser::new())]
    pub dry_run: bool,
    /// Run an item again whose worker died or that ran out of time, up to N times
    #[arg(long, value_name = "N", default_value_t = 0, env = "WASMPOOL_RETRIES")]
    pub retries: u32,
    /// The failures that --retries is for, in place of these. No item is tried again that killed two workers
    #[arg(long, value_name = "KIND,…", value_delimiter = ',', default_value = "worker-lost,timeout", env = "WASMPOOL_RETRY_ON", value_parser = units::retriable)]
    pub retry_on: Vec<FailureKind>,
    /// When failures end the run: `soon` takes no more input and finishes what runs, `now` kills it. At the first failure,
    /// or after N, or once N% of the items done have failed (three at least)
    #[arg(long, value_name = "WHEN", default_value = "never", env = "WASMPOOL_HALT", value_parser = units::halt)]
    pub halt: units::MaybeHalt,
    /// Where results go [default: standard output]
    #[arg(short, long, value_name = "FILE", env = "WASMPOOL_OUTPUT")]
    pub output: Option<PathBuf>,
    /// Put each result into a file of DIR, named by the index of its item, and print the paths. Results are as raw output has
    /// them; what a command writes goes there as it writes it
    #[arg(long, value_name = "DIR", env = "WASMPOOL_RESULTS")]
    pub results: Option<PathBuf>,
    /// Name each file of --results by TEMPLATE: {#} is the index of the item, {} its text, or the path of its file ({.} without
    /// extension, {/} its last part, {/.} both), {NAME} a member or a column of it [default: {#}]
    #[arg(long, value_name = "TEMPLATE", env = "WASMPOOL_RESULTS_NAME")]
    pub results_name: Option<NameTemplate>,
    /// Where failed items go, with their input, as records that `map` reads again
    #[arg(long, value_name = "FILE", env = "WASMPOOL_FAILED")]
    pub failed: Option<PathBuf>,
    /// Keep what is done in FILE, so that a run that was killed can go on with --resume
    #[arg(long, value_name = "FILE", env = "WASMPOOL_JOURNAL")]
    pub journal: Option<PathBuf>,
    /// Go on where the run of --journal stopped, with the same input; start it if there was none
    #[arg(long, env = "WASMPOOL_RESUME", value_parser = BoolishValueParser::new())]
    pub resume: bool,
    /// A page (.html) or figures (.json) of the run: workers over time, rates, times of items, failures. Can be given for each
    #[arg(long, value_name = "FILE", env = "WASMPOOL_REPORT", value_parser = units::each(units::report))]
    pub report: Vec<RepeatedOption<ReportFile>>,
    /// Where each worker's chunks and long items go, as a trace that Perfetto and chrome://tracing open
    #[arg(long, value_name = "FILE", env = "WASMPOOL_TRACE")]
    pub trace: Option<PathBuf>,
    /// A bar on standard error: done, failed, rate, time left
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = ShowProgress::Auto, env = "WASMPOOL_PROGRESS")]
    pub progress: ShowProgress,
}

#[derive(Debug, Args)]
pub struct CallArgs {
    /// The task: a component or core module, or their text form (.wat); or a plugin (plugin.toml, or its directory)
    pub task: PathBuf,
    /// The function: `name`, or `interface/name`
    pub function: String,
    /// Its arguments, each as JSON, or as a text where it takes a text
    #[arg(value_name = "JSON|TEXT", allow_negative_numbers = true)]
    pub arguments: Vec<String>,
    #[command(flatten)]
    pub calling: FunctionArgs,
    #[command(flatten)]
    pub common: RunArgs,
}

#[derive(Debug, Args)]
pub struct RunFileArgs {
    /// The file (TOML): its processes, the objects that they share, and who may reach what; - is standard input, and then paths are
    /// relative to the current directory
    pub file: PathBuf,
    /// Check the file, its tasks and its calls, say what would start and who may reach what, and run nothing
    #[arg(long, env = "WASMPOOL_CHECK", value_parser = BoolishValueParser::new())]
    pub check: bool,
    /// What the shared objects hold at the start: a JSON object with a member for each
    #[arg(long, value_name = "FILE", env = "WASMPOOL_SHARE_IN")]
    pub share_in: Option<PathBuf>,
    /// Where to write what they hold at the end, as JSON
    #[arg(long, value_name = "FILE", env = "WASMPOOL_SHARE_OUT")]
    pub share_out: Option<PathBuf>,
    #[command(flatten)]
    pub sandbox: SandboxArgs,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

#[cfg(feature = "hosts")]
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The message system through which runs come: a NATS server with JetStream, as tls://nats.example.com:4222
    #[arg(long, value_name = "URL", env = "WASMPOOL_VIA", value_parser = units::broker_url, required_unless_present = "print_permissions")]
    pub via: Option<BrokerUrl>,
    #[command(flatten)]
    pub broker: BrokerArgs,
    /// The name of this host, in records and in the server's permissions [default: that of the machine, and random digits]
    #[arg(long, value_name = "NAME", env = "WASMPOOL_NAME", value_parser = HostName::new)]
    pub name: Option<HostName>,
    /// Print what the server has to permit to a host of this name, or of --name, and to whoever starts runs; serve nothing
    #[arg(long, value_name = "HOST", num_args = 0..=1, env = "WASMPOOL_PRINT_PERMISSIONS", value_parser = HostName::new)]
    pub print_permissions: Option<Option<HostName>>,
    /// Worker processes, over all runs [default: the CPUs this process may use]
    #[arg(short = 'j', long, value_name = "N", env = "WASMPOOL_WORKERS", value_parser = clap::value_parser!(u32).range(1..=MOST_WORKERS))]
    pub workers: Option<u32>,
    /// The largest limits of runs, and the directories and peers that they may reach on this host, in a file in the words of
    /// the options [default: the limits that a run asks for, and neither directories nor peers]
    #[arg(long, value_name = "FILE", env = "WASMPOOL_POLICY")]
    pub policy: Option<PathBuf>,
    /// What this process keeps of all runs beside their workers: tasks, items and results; and as much again of messages of shared
    /// objects (KiB MiB GiB, k M G)
    #[arg(long, value_name = "SIZE", default_value = "1GiB", env = "WASMPOOL_BUFFER", value_parser = units::size, allow_hyphen_values = true)]
    pub buffer: u64,
    #[command(flatten)]
    pub sandbox: SandboxArgs,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

#[cfg(feature = "hosts")]
#[derive(Debug, Args)]
pub struct ShareServeArgs {
    /// The file (TOML) with the objects: a table [share], as in the file of `wasmpool run`; - is standard input, and needs --name
    pub file: PathBuf,
    /// The message system through which runs reach them: a NATS server, as tls://nats.example.com:4222
    #[arg(long, value_name = "URL", env = "WASMPOOL_VIA", value_parser = units::broker_url)]
    pub via: BrokerUrl,
    #[command(flatten)]
    pub broker: BrokerArgs,
    /// The name by which runs know the server [default: that of FILE, without its extension]
    #[arg(long, value_name = "NAME", env = "WASMPOOL_NAME", value_parser = units::server_name)]
    pub name: Option<HostName>,
    /// Where to write what the objects hold at the end, as JSON; if it is there at the start, they begin with it [default: they
    /// begin empty, and what they hold is gone at the end]
    #[arg(long, value_name = "FILE", env = "WASMPOOL_STATE")]
    pub state: Option<PathBuf>,
    #[command(flatten)]
    pub sandbox: SandboxArgs,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

#[cfg(feature = "hosts")]
#[derive(Debug, Args)]
pub struct HostsArgs {
    /// The message system through which they serve
    ///
    /// It is a NATS server with JetStream, as tls://nats.example.com:4222. Each host tells of itself once a second.
    #[arg(long, value_name = "URL", env = "WASMPOOL_VIA", value_parser = units::broker_url)]
    pub via: BrokerUrl,
    #[command(flatten)]
    pub broker: BrokerArgs,
    /// Print a JSON object for each
    #[arg(long, env = "WASMPOOL_JSON", value_parser = BoolishValueParser::new())]
    pub json: bool,
}

/// How the message system of --via is reached.
#[cfg(feature = "hosts")]
#[derive(Clone, Debug, Default, Args)]
pub struct BrokerArgs {
    /// Believe the message system if an authority in FILE (PEM) has signed its certificate [default: those that this system knows]
    #[arg(long, value_name = "FILE", env = "WASMPOOL_TLS_CA")]
    pub tls_ca: Option<PathBuf>,
    /// Log in to the message system with the credentials in FILE: a JWT and its key, as nsc writes them
    #[arg(long, value_name = "FILE", env = "WASMPOOL_CREDS", conflicts_with = "nkey")]
    pub creds: Option<PathBuf>,
    /// Log in to the message system with the key whose seed is in FILE
    #[arg(long, value_name = "FILE", env = "WASMPOOL_NKEY")]
    pub nkey: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct TaskArgs {
    /// The task: a component or core module, or their text form (.wat); or a plugin (plugin.toml, or its directory)
    pub task: PathBuf,
    #[command(flatten)]
    pub sandbox: SandboxArgs,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

#[derive(Debug, Args)]
pub struct InspectArgs {
    #[command(flatten)]
    pub task: TaskArgs,
    /// Print a JSON object, in a form that stays the same
    #[arg(long, env = "WASMPOOL_JSON", value_parser = BoolishValueParser::new())]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct NewArgs {
    /// The language of the plugin; docs/plugins.md has guides for others
    #[arg(value_enum)]
    pub language: Language,
    /// Its name, which is that of the directory as well: lower-case letters, digits and hyphens
    pub name: String,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// A language in which `wasmpool new` writes a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    #[value(alias = "rs")]
    Rust,
    #[value(alias = "py")]
    Python,
    #[value(alias = "js")]
    Javascript,
    C,
}

#[derive(Debug, Args)]
pub struct CacheArgs {
    #[command(subcommand)]
    pub command: CacheCommand,
}

#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// Print the directory of the cache
    Dir,
    /// List what is in the cache: its size, and when it was used last
    List,
    /// Remove what is in the cache
    Clean {
        /// Only what was not used for so long (s, m, h, d, w), such as 30d
        #[arg(long, value_name = "DURATION", env = "WASMPOOL_OLDER", value_parser = units::duration, allow_hyphen_values = true)]
        older: Option<Duration>,
    },
}

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: CompletedShell,
}

/// A shell that can complete the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CompletedShell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, Args)]
pub struct ManArgs {
    /// A directory for the pages of all commands; none: the page of `wasmpool` goes to standard output
    pub dir: Option<PathBuf>,
}

/// How much is said on standard error.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Verbosity {
    /// Say more on standard error
    #[arg(short, long, action = clap::ArgAction::Count, env = "WASMPOOL_VERBOSE")]
    pub verbose: u8,
    /// Say less on standard error
    #[arg(short, long, env = "WASMPOOL_QUIET", value_parser = BoolishValueParser::new())]
    pub quiet: bool,
    /// Whether messages, the bar and the help have colours: on terminals that know them, unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = UseColour::Auto, env = "WASMPOOL_COLOR")]
    pub color: UseColour,
    /// How messages are written: for a person, or as JSON, one object per line
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text, env = "WASMPOOL_LOG_FORMAT")]
    pub log_format: LogFormat,
}

/// What every command shares that starts a process for a stranger's code.
#[derive(Debug, Args)]
pub struct SandboxArgs {
    /// Refuse to run where a layer of the sandbox is missing, use those there are, or none
    #[arg(long = "sandbox", value_name = "MODE", value_parser = units::one_of(&SANDBOX), default_value = "strict", env = "WASMPOOL_SANDBOX")]
    pub mode: SandboxMode,
}

/// What the task may reach outside its own memory. Nothing, unless it is given here.
#[derive(Debug, Args)]
#[command(next_help_heading = "Grants")]
pub struct GrantArgs {
    /// A variable of the task's environment. In the environment, one on each line
    #[arg(long = "env", value_name = "NAME=VALUE", env = "WASMPOOL_ENV", value_parser = units::each(units::variable), allow_hyphen_values = true)]
    pub env: Vec<RepeatedOption<(String, String)>>,
    /// A directory, which the task sees as GUEST; :ro (the default) for reading, :rw for writing too
    #[arg(long = "dir", value_name = "HOST::GUEST[:ro|:rw]", env = "WASMPOOL_DIR", value_parser = units::each(units::directory))]
    pub directories: Vec<RepeatedOption<DirectoryGrant>>,
    /// A directory that the task sees as GUEST and may write to, empty at each item: in memory, as large as --memory allows,
    /// gone with the item
    #[arg(long, value_name = "GUEST", env = "WASMPOOL_SCRATCH", value_parser = units::scratch)]
    pub scratch: Option<String>,
    /// A peer that the task may make TCP connections to
    #[arg(long = "allow-net", value_name = "HOST:PORT", env = "WASMPOOL_ALLOW_NET", value_parser = units::each(units::peer))]
    pub peers: Vec<RepeatedOption<PeerGrant>>,
    /// An object that the task shares with others: a queue, pipe, value, array, lock, rlock, semaphore, event, condition, barrier,
    /// dict, list or namespace, such as jobs=queue:100 or total=value:s64:ro. In the environment, one on each line
    #[arg(long = "share", value_name = "NAME=KIND[:…]", long_help = SHARE, env = "WASMPOOL_SHARE", value_parser = units::each(units::shared_option))]
    pub shares: Vec<RepeatedOption<SharedOption>>,
    /// What the objects of --share hold at the start: a JSON object with a member for each
    #[arg(long, value_name = "FILE", env = "WASMPOOL_SHARE_IN")]
    pub share_in: Option<PathBuf>,
    /// Where to write what they hold at the end, as JSON
    #[arg(long, value_name = "FILE", env = "WASMPOOL_SHARE_OUT")]
    pub share_out: Option<PathBuf>,
}

/// How a function is called.
#[derive(Debug, Args)]
pub struct FunctionArgs {
    /// How often an instance starts from pristine memory
    #[arg(long, value_name = "UNIT", value_parser = units::one_of(&ISOLATE), default_value = "item", env = "WASMPOOL_ISOLATE")]
    pub isolate: Isolate,
    /// Argument of the task's `init` export, run before the first item of an instance
    #[arg(long, value_name = "JSON", env = "WASMPOOL_INIT", value_parser = units::json, allow_hyphen_values = true)]
    pub init: Option<String>,
    /// Bind a parameter by name; the item fills the rest. The value is JSON of the parameter's type, or else, where the
    /// parameter is a string, a char or an enum, or an option of one, a text as it is. In the environment, one on each line
    #[arg(long, value_name = "NAME=JSON|TEXT", env = "WASMPOOL_ARG", value_parser = units::bindings(), allow_hyphen_values = true)]
    pub arg: Vec<RepeatedOption<(String, String)>>,
}

/// What every command shares that runs items.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The same input gives the same bytes on any machine: fixed clocks, random numbers and NaNs; fuel takes the place of time,
    /// and records tell neither worker nor time
    #[arg(long, env = "WASMPOOL_DETERMINISTIC", value_parser = BoolishValueParser::new())]
    pub deterministic: bool,
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Limits and grants in a file, in the words of the options; what is said here counts for more
    #[arg(long, value_name = "FILE", env = "WASMPOOL_POLICY")]
    pub policy: Option<PathBuf>,
    #[command(flatten)]
    pub grants: GrantArgs,
    #[command(flatten)]
    pub sandbox: SandboxArgs,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// What one item may use.
#[derive(Debug, Args)]
pub struct LimitArgs {
    /// Wall time of one item (ms, s, m, h), without what it waits for a processor, up to nine times as long [default: 30s]
    #[arg(long, value_name = "DURATION", env = "WASMPOOL_TIMEOUT", value_parser = units::duration, allow_hyphen_values = true)]
    pub timeout: Option<Duration>,
    /// Linear memory of one instance (KiB MiB GiB, k M G) [default: 256MiB]
    #[arg(long, value_name = "SIZE", env = "WASMPOOL_MEMORY", value_parser = units::size, allow_hyphen_values = true)]
    pub memory: Option<u64>,
    /// Instructions of one item, deterministic; doubles the time of call-heavy code [default: off; with --deterministic 100000000000]
    #[arg(long, value_name = "N", env = "WASMPOOL_FUEL")]
    pub fuel: Option<u64>,
    /// Result of one item, at most [default: 16MiB]
    #[arg(long, value_name = "SIZE", env = "WASMPOOL_MAX_OUTPUT", value_parser = units::size, allow_hyphen_values = true)]
    pub max_output: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum InputFormat {
    /// Each line is JSON; empty lines are no items
    Jsonl,
    /// The elements of one JSON array, or JSON values one after the other, over any number of lines
    Json,
    /// Each line is a string
    Lines,
    /// Strings that end with a NUL
    Nul,
    /// A header row, then one object per row
    Csv,
    /// Each line is a path; the item is the file's bytes
    Files,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputFormat {
    /// The bare result as JSON, one per line; failed items are left out
    Values,
    /// One record per item
    Records,
    /// Strings and bytes as they are, each followed by the delimiter
    Raw,
    /// One row of CSV per result, below a header row; failed items are left out
    Csv,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Delimiter {
    Newline,
    Nul,
    None,
}

#[cfg(feature = "hosts")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Speculate {
    /// Unless directories that may be written to, peers or shared objects are granted
    Auto,
    Never,
}

#[cfg(feature = "hosts")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ViaStorage {
    Memory,
    File,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ShowProgress {
    /// On a terminal only
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum UseColour {
    /// On terminals that know colours, unless NO_COLOR is set
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    /// Each message is an object with its level, its text, and what is known besides
    Json,
}
