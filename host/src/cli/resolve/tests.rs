use clap::{ArgMatches, CommandFactory, FromArgMatches};

use super::*;
use crate::cli::args::{Arguments, Command};
use crate::cli::stream::option_of;
use wasmpool_run::journal::RunIdentity;

fn identity(spec: &RunSpec) -> RunIdentity {
    RunIdentity::of_options(spec, option_of)
}

/// Options that may differ between a run and its `--resume`: those for its speed, its messages and its paths. Those of
/// the second list are refused beside `--journal`, so no run that is resumed has them.
const MAY_CHANGE: [&str; 29] = [
    "check",
    "chunk-size",
    "color",
    "creds",
    "dry-run",
    "failed",
    "halt",
    "journal",
    "log-format",
    "max-items-per-worker",
    "nkey",
    "output",
    "policy",
    "progress",
    "quiet",
    "report",
    "resume",
    "results",
    "retries",
    "retry-on",
    "sandbox",
    "speculate",
    "timeout",
    "tls-ca",
    "trace",
    "verbose",
    "via",
    "via-storage",
    "workers",
];
const HAVE_NO_JOURNAL: [&str; 5] = ["set-aside", "share", "share-in", "share-out", "task"];
/// Options that no message names as the cause of an error.
const WITHOUT_SOURCE: [&str; 5] = ["color", "log-format", "policy", "quiet", "verbose"];

/// Returns a value of an option that is not its default, or `None` for a switch.
fn value(option: &str) -> Option<&'static str> {
    Some(match option {
        "allow-net" => "localhost:1",
        "arg" => "a=1",
        "chunk-size"
        | "first"
        | "fuel"
        | "max-output"
        | "max-items-per-worker"
        | "memory"
        | "ok-codes"
        | "retries"
        | "workers" => "7",
        "check" => "5%",
        "color" => "never",
        "csv-delimiter" => ";",
        "delimiter" => "nul",
        "dir" => "/host::/guest",
        "env" => "A=b",
        "creds" | "failed" | "journal" | "nkey" | "output" | "policy" | "results" | "share-in" | "share-out"
        | "tls-ca" | "trace" => "file",
        "function" => "f",
        "results-name" => "{#}.out",
        "halt" => "now",
        "init" => "1",
        "input-format" => "csv",
        "isolate" => "worker",
        "log-format" => "json",
        "keep" => "id",
        "output-format" => "records",
        "progress" => "never",
        "replace" | "replace-index" => "@",
        "report" => "run.html",
        "retry-on" => "trap",
        "sandbox" => "off",
        "scratch" => "/tmp",
        "set-aside" => "1%",
        "speculate" => "never",
        "share" => "jobs=queue",
        "task" => "a=b.wasm",
        "timeout" => "1s",
        "via" => "nats://127.0.0.1",
        "via-storage" => "file",
        "batch" | "deterministic" | "dry-run" | "flatten" | "no-header" | "null" | "quiet" | "resume" | "unordered"
        | "verbose" => {
            return None;
        }
        other => panic!("say how --{other} is set"),
    })
}

fn parsed(words: &[&str]) -> (Arguments, ArgMatches) {
    let matches = Arguments::command().try_get_matches_from(["wasmpool"].iter().chain(words)).expect("right");
    (Arguments::from_arg_matches(&matches).expect("right"), matches)
}

fn resolved(words: &[&str], files: ConfigFiles) -> Result<RunSpec, UsageError> {
    let (arguments, matches) = parsed(words);
    let from = ArgOrigins::new(matches.subcommand().expect("a command").1);
    match arguments.command {
        Command::Map(map) => resolve_map(&map, from, files),
        Command::Exec(exec) => resolve_exec(&exec, from, files),
        _ => panic!("a command without items"),
    }
}

/// Resolves a command with this option, whatever it conflicts with.
fn with(command: &str, option: &str) -> RunSpec {
    let long = format!("--{option}");
    let more: &[&str] = match option {
        "check" => &["--via=nats://127.0.0.1", "--deterministic"],
        "csv-delimiter" | "no-header" => &["--input-format=csv"],
        "keep" => &["--output-format=records"],
        "null" => &["--input-format=files"],
        "delimiter" => &["--output-format=raw"],
        "resume" => &["--journal=file"],
        "retry-on" => &["--retries=1"],
        // What stands for the item, or for its index, has to be in an argument.
        "replace" | "replace-index" => &["--", "@"],
        "creds" | "nkey" | "tls-ca" => &["--via=nats://127.0.0.1"],
        "results-name" => &["--results=file"],
        "set-aside" => &["--task=a=b.wasm"],
        "share-in" | "share-out" => &["--share=jobs=queue"],
        "speculate" | "via-storage" => &["--via=nats://127.0.0.1"],
        _ => &[],
    };
    let words = match value(option) {
        Some(value) => vec![format!("{long}={value}")],
        None => vec![long],
    };
    let words = [command, "task"].into_iter().chain(words.iter().map(String::as_str)).chain(more.iter().copied());
    resolved(&words.collect::<Vec<_>>(), ConfigFiles::default()).expect("it can be meant")
}

fn options(command: &str) -> Vec<String> {
    let all = Arguments::command();
    let command = all.find_subcommand(command).expect("a command");
    command.get_arguments().filter_map(|option| option.get_long()).map(str::to_owned).collect()
}

#[test]
fn a_journal_knows_its_run_by_every_option_but_those_that_may_change() {
    for command in ["map", "exec"] {
        for option in options(command) {
            let spec = with(command, &option);
            let words = [command, "task"];
            // Options that this one requires are given in both cases.
            let without = match &*option {
                "check" => resolved(&[&words[..], &["--deterministic"]].concat(), ConfigFiles::default()),
                "csv-delimiter" | "no-header" => {
                    resolved(&[&words[..], &["--input-format=csv"]].concat(), ConfigFiles::default())
                }
                "null" => resolved(&[&words[..], &["--input-format=files"]].concat(), ConfigFiles::default()),
                "delimiter" => resolved(&[&words[..], &["--output-format=raw"]].concat(), ConfigFiles::default()),
                "replace" | "replace-index" => resolved(&[&words[..], &["--", "@"]].concat(), ConfigFiles::default()),
                // What follows each result is another by default where the results are paths.
                "results" if command == "exec" => {
                    resolved(&[&words[..], &["--delimiter=newline"]].concat(), ConfigFiles::default())
                }
                _ => resolved(&words, ConfigFiles::default()),
            };
            let (ours, theirs) = (identity(&spec), identity(&without.expect("right")));
            let differs = ours.difference(&theirs).is_some();
            let may_change = MAY_CHANGE.contains(&&*option);
            if !HAVE_NO_JOURNAL.contains(&&*option) {
                assert_eq!(differs, !may_change, "{command} --{option}");
            }
        }
    }
    let arguments = |words: &[&str]| identity(&resolved(words, ConfigFiles::default()).expect("right"));
    assert!(arguments(&["exec", "task", "--", "a"]).difference(&arguments(&["exec", "task"])).is_some());
}

#[test]
fn a_journal_and_its_messages_hold_no_value_of_the_environment() {
    let spec = with("map", "env");
    let other = resolved(&["map", "task", "--env=A=secret"], ConfigFiles::default()).expect("right");
    let (ours, theirs) = (identity(&spec), identity(&other));
    let difference = ours.difference(&theirs).expect("another value");
    assert_eq!(difference.name, "--env");
    assert!(!difference.theirs.contains("secret") && difference.theirs.starts_with("A="), "{difference:?}");
}

#[test]
fn every_option_says_where_it_comes_from() {
    for command in ["map", "exec"] {
        let said = |spec: &RunSpec| format!("{spec:?}").matches("CommandLine").count();
        for option in options(command).iter().filter(|option| !WITHOUT_SOURCE.contains(&option.as_str())) {
            assert!(said(&with(command, option)) >= 1, "{command} --{option}");
        }
        assert_eq!(said(&resolved(&[command, "task"], ConfigFiles::default()).expect("right")), 0);
    }
}

#[test]
fn what_the_command_line_says_counts_for_more_than_a_policy_and_a_plugin_gets_the_smaller() {
    let policy: Policy = toml::from_str("[limits]\nmemory = '2MiB'\nfuel = 2000\nmax-output = '1k'").expect("right");
    let manifest: Manifest =
        toml::from_str("wasm = 'x'\nfunction = 'f'\n[limits]\nfuel = 1000\nmemory = '1GiB'").expect("right");
    let plugin = PluginTask { named: "x".into(), wasm: "x".into(), manifest };
    let files = ConfigFiles { policy: Some(policy), plugin: Some(plugin) };
    let spec = resolved(&["map", "x", "--max-output=7"], files).expect("right");
    let (of_policy, of_manifest) =
        (SettingSource::Policy(Path::new("").into()), SettingSource::Manifest(Path::new("").into()));
    assert_eq!(spec.limits.memory, Sourced::new(2 << 20, of_policy));
    assert_eq!(spec.limits.fuel, Sourced::new(Some(1000), of_manifest.clone()));
    assert_eq!(spec.limits.max_output, Sourced::new(7, SettingSource::CommandLine));
    assert_eq!(spec.limits.timeout.source, SettingSource::Default);
    let WorkSpec::Function(function) = &spec.work else { panic!("a function") };
    assert_eq!(function.function, Sourced::new(Some("f".to_owned()), of_manifest));
}

#[test]
fn a_conflict_names_the_source_that_set_the_option() {
    let policy = |text| {
        let policy: Policy = toml::from_str(text).expect("right");
        ConfigFiles { policy: Some(Policy { path: "p.toml".into(), ..policy }), plugin: None }
    };
    for (text, says) in [
        ("[limits]\ntimeout = '1s'", "`timeout` of the policy p.toml cannot be used with --deterministic: "),
        ("[grants]\nallow-net = ['a:1']", "`allow-net` of the policy p.toml cannot be used with --deterministic: "),
    ] {
        let error = resolved(&["map", "task", "--deterministic"], policy(text)).expect_err("a conflict").to_string();
        assert!(error.starts_with(says), "{error}");
    }
    // A value of the command line replaces that of the policy.
    let both = ["map", "task", "--deterministic", "--timeout=2s"];
    let error = resolved(&both, policy("[limits]\ntimeout = '1s'")).expect_err("a conflict").to_string();
    assert!(error.starts_with("--timeout cannot be used with --deterministic: "), "{error}");
}
