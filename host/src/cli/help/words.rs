//! Words that differ from one command to another. The texts of [`super::super::args`] are those of `map`, or of the only
//! command that has an argument.

/// What a command says of one of its arguments.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// The line in `-h`, where it is not that of the other commands.
    pub short: Option<&'static str>,
    pub long: Option<&'static str>,
}

/// A command, an argument of it (an option by its long name, another by its identifier in capital letters), its line in `-h`,
/// and its text in `--help`.
type Entry = (&'static str, &'static str, &'static str, &'static str);

/// Stands in place of a line or text for that of the other commands.
const SAME: &str = "";

const WORDS: &[Entry] = &[
    ("map", "TASK", TASK, SAME),
    ("exec", "TASK", "A core module with `_start`, a component with `wasi:cli/run`, or a plugin", SAME),
    ("exec", "ARGUMENTS", "Arguments: `{}` is the item; without it, the item is standard input", SAME),
    ("call", "TASK", TASK, SAME),
    ("inspect", "TASK", TASK, SAME),
    ("compile", "TASK", TASK, SAME),
    ("exec", "workers", SAME, "Worker processes [default: the CPUs this process may use]"),
    ("exec", "output-format", "raw (unless given), values, records or csv", SAME),
    ("map", "output-format", "values (JSON, unless given), records, raw or csv", SAME),
    (
        "exec",
        "results",
        SAME,
        "Put what the command writes for each item into a file of DIR, named by the index of the item, as it writes it, and print the paths",
    ),
    ("exec", "no-header", SAME, "The first row of CSV is data, so that an item has no names of columns"),
    ("exec", "failed", SAME, "Where failed items go, with their input, as records that `exec` reads again"),
    (
        "exec",
        "timeout",
        "Time of one run of the command [default: 30s]",
        "Wall time of one run of the command (ms, s, m, h), without what it waits for a processor, up to nine times as long [default: 30s]",
    ),
    (
        "exec",
        "memory",
        "Memory of the command [default: 256MiB]",
        "Linear memory of the command (KiB MiB GiB, k M G) [default: 256MiB]",
    ),
    (
        "exec",
        "fuel",
        SAME,
        "Instructions of one run of the command, deterministic; doubles the time of call-heavy code [default: off; with --deterministic 100000000000]",
    ),
    ("exec", "max-output", SAME, "What the command may write for one item, at most [default: 16MiB]"),
    (
        "exec",
        "env",
        "A variable of the command's environment",
        "A variable of the command's environment. In the environment, one on each line",
    ),
    ("call", "ARGUMENTS", "Its arguments, each as JSON or, where it takes a text, the text", CALL_ARGUMENTS),
    (
        "call",
        "arg",
        "Give a parameter by its name, as JSON or a text",
        "Give a parameter by its name, as JSON or, where it takes a text, the text; the arguments are the others. In the environment, one on each line",
    ),
    ("call", "init", SAME, "Argument of the task's `init` export, which runs before the call"),
    (
        "call",
        "isolate",
        SAME,
        "Of no effect on a single call; taken so that the options of a map can be tried with one",
    ),
    (
        "call",
        "deterministic",
        "The same arguments give the same bytes on any machine",
        "The same arguments give the same bytes on any machine: fixed clocks, random numbers and NaNs; fuel takes the place of time",
    ),
    (
        "call",
        "timeout",
        "Time of the call, such as 500ms or 2m [default: 30s]",
        "Wall time of the call (ms, s, m, h), without what it waits for a processor, up to nine times as long [default: 30s]",
    ),
    (
        "call",
        "memory",
        "Memory of the task [default: 256MiB]",
        "Linear memory of the task (KiB MiB GiB, k M G) [default: 256MiB]",
    ),
    (
        "call",
        "fuel",
        SAME,
        "Instructions of the call, deterministic; doubles the time of call-heavy code [default: off; with --deterministic 100000000000]",
    ),
    ("call", "max-output", SAME, "Result of the call, at most [default: 16MiB]"),
    (
        "call",
        "scratch",
        SAME,
        "A directory that the task sees as GUEST and may write to: empty, in memory, as large as --memory allows, gone with the call",
    ),
    ("serve", "via", "The message system through which runs come", SAME),
    ("serve", "tls-ca", TLS_CA, SAME),
    ("serve", "creds", CREDS, SAME),
    ("serve", "nkey", NKEY, SAME),
    ("serve", "print-permissions", "Print what the message system has to permit, and serve nothing", SAME),
    ("serve", "policy", "The largest limits of runs, and what they may reach here", SAME),
    ("serve", "sandbox", "strict (unless given), best-effort or off", SAME),
    ("share serve", "via", "The message system through which runs reach them", SAME),
    ("share serve", "name", "Name of this server [default: that of FILE, without its extension]", SAME),
    ("share serve", "tls-ca", TLS_CA, SAME),
    ("share serve", "creds", CREDS, SAME),
    ("share serve", "nkey", NKEY, SAME),
    ("share serve", "sandbox", "strict (unless given), best-effort or off", SAME),
    ("hosts", "tls-ca", TLS_CA, SAME),
    ("hosts", "creds", CREDS, SAME),
    ("hosts", "nkey", NKEY, SAME),
    ("hosts", "json", "Print a JSON object for each", SAME),
    ("hosts", "via", "The message system through which they serve", SAME),
];

const TASK: &str = "A component or core module (.wasm, .wat), or a plugin";
const TLS_CA: &str = "Believe certificates that an authority in FILE has signed";
const CREDS: &str = "Log in with the credentials in FILE, as nsc writes them";
const NKEY: &str = "Log in with the key whose seed is in FILE";

const CALL_ARGUMENTS: &str = "\
Its arguments. One that is JSON of its parameter's type is that; else, where the parameter is a string, a char or an enum, or an \
option of one, the text itself is meant";

/// Returns what a command says of an argument, if it has words of its own.
pub fn words_of(command: &str, argument: &str) -> Option<Words> {
    let found = WORDS.iter().find(|(of, name, ..)| *of == command && *name == argument);
    let own = |text: &'static str| (text != SAME).then_some(text);
    found.map(|(_, _, short, long)| Words { short: own(short), long: own(long) })
}

/// Returns every command and argument that has words of its own.
#[cfg(test)]
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    WORDS.iter().map(|(command, argument, ..)| (*command, *argument))
}
