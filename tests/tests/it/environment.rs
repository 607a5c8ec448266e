//! Every option can be set by an environment variable; the command line takes precedence.

use crate::support::guest::wat;
use crate::support::run::{map, wasmpool};
use crate::support::wat::{SQUARE, minus_twice};

/// That each option has its variable, a test of the parser sees.
#[test]
fn the_help_says_by_which_variable_an_option_is_set() {
    for command in ["map", "exec", "call", "inspect", "compile", "serve", "hosts", "new"] {
        let help = wasmpool().args([command, "--help"]).run().exits(0);
        let said =
            help.text().lines().find_map(|line| line.strip_prefix("Options can be set in the environment too: --"));
        let (option, rest) = said.and_then(|said| said.split_once(" as ")).unwrap_or_else(|| panic!("{}", help.text()));
        let variable = format!("WASMPOOL_{}", option.to_uppercase().replace('-', "_"));
        assert!(rest.starts_with(&variable), "{command}: {said:?}");
        assert!(help.text().contains(&format!(" --{option}")), "{command} has no --{option}");
    }
}

#[test]
fn a_variable_that_nothing_reads_is_named_with_the_one_that_is_meant() {
    let run = |name: &str| map(&wat(SQUARE)).env(name, "5s").input("3\n");
    for (name, meant) in [("WASMPOOL_TIMOUT", "WASMPOOL_TIMEOUT"), ("WASMPOOL_WORKER", "WASMPOOL_WORKERS")] {
        let output = run(name).run().exits(0);
        let told = format!("wasmpool: {name} is no variable of wasmpool; is {meant} meant?\n");
        assert_eq!((output.text(), &*output.stderr), ("9\n", &*told));
        assert_eq!(run(name).arg("-q").run().exits(0).stderr, "");
    }
    let output = run("WASMPOOL_COMPLETELY_ELSE").run().exits(0);
    assert_eq!(output.stderr, "wasmpool: WASMPOOL_COMPLETELY_ELSE is no variable of wasmpool\n");
    // What a cluster tells every container of a service that has this name.
    for name in ["WASMPOOL_SERVICE_HOST", "WASMPOOL_PORT", "WASMPOOL_PORT_4222_TCP_ADDR", "WASMPOOL_RESTORE"] {
        assert_eq!(run(name).run().exits(0).stderr, "", "{name}");
    }
}

#[test]
fn bindings_stand_on_lines_of_their_own() {
    let both = "from=10\nmore=[\n1][0]";
    map(&wat(minus_twice())).env("WASMPOOL_ARG", both).input("3\n").run().exits(2);
    let output = map(&wat(minus_twice())).env("WASMPOOL_ARG", "from=10\nmore=1\n").input("3\n").run().exits(0);
    assert_eq!(output.text(), "6\n");
}

#[test]
fn the_command_line_goes_before_the_environment() {
    let run = map(&wat(minus_twice())).env("WASMPOOL_ARG", "take=7");
    let output = run.args(["--arg", "from=10", "--arg", "more=1"]).input("3\n").run().exits(0);
    assert_eq!(output.text(), "6\n");
}

#[test]
fn a_switch_is_on_or_off() {
    for (value, quiet) in [("1", true), ("true", true), ("0", false), ("false", false)] {
        let output = map(&wat(SQUARE)).env("WASMPOOL_QUIET", value).input("x\n").run().exits(1);
        assert_eq!(output.stderr.is_empty(), quiet, "{value}: {}", output.stderr);
    }
    let output = map(&wat(SQUARE)).env("WASMPOOL_QUIET", "perhaps").input("3\n").run().exits(2);
    assert!(output.stderr.contains("perhaps"), "{}", output.stderr);
}

#[test]
fn more_is_said_by_the_environment_too() {
    let output = map(&wat(SQUARE)).env("WASMPOOL_VERBOSE", "1").input("3\n").run().exits(0);
    assert!(output.stderr.contains("task.wat"), "{}", output.stderr);
}

#[test]
fn a_sandbox_that_the_environment_takes_away_is_told() {
    let task = wat(SQUARE);
    for value in ["off", "best-effort"] {
        let commands = [
            map(&task).input("3\n"),
            map(&task).arg("-q").input("3\n"),
            wasmpool().arg("call").task(&task).args(["square", "3"]),
            wasmpool().arg("inspect").task(&task),
            wasmpool().arg("compile").task(&task),
        ];
        for run in commands {
            let output = run.env("WASMPOOL_SANDBOX", value).run().exits(0);
            let told = format!("WASMPOOL_SANDBOX={value} is set in the environment");
            assert!(output.stderr.contains(&told), "{}", output.stderr);
        }
        // Options of the command line are visible there, so no note is printed.
        for run in [
            map(&task).args(["--sandbox", value]),
            map(&task).args(["--sandbox", value]).env("WASMPOOL_SANDBOX", "off"),
        ] {
            let output = run.input("3\n").run().exits(0);
            assert!(!output.stderr.contains("WASMPOOL_SANDBOX"), "{}", output.stderr);
        }
    }
    let output = map(&task).env("WASMPOOL_SANDBOX", "strict").input("3\n").run().exits(0);
    assert_eq!(output.stderr, "");
}

#[test]
fn what_the_environment_grants_is_told() {
    let folder = tempfile::TempDir::new().expect("a temporary directory");
    let policy = folder.path().join("policy.toml");
    std::fs::write(&policy, "").expect("written");
    let directory = format!("{}::/d", folder.path().display());
    for (variable, value, shown) in [
        ("WASMPOOL_DIR", &*directory, &*directory),
        ("WASMPOOL_ALLOW_NET", "127.0.0.1:1", "127.0.0.1:1"),
        ("WASMPOOL_POLICY", &*policy.to_string_lossy(), &*policy.to_string_lossy()),
        ("WASMPOOL_SCRATCH", "/tmp", "/tmp"),
        ("WASMPOOL_ENV", "KEY=secret", "KEY"),
    ] {
        let run = || map(&wat(SQUARE)).env(variable, value).input("3\n");
        let output = run().run().exits(0);
        assert!(output.stderr.contains(&format!("{variable}={shown}\n")), "{}", output.stderr);
        assert!(!output.stderr.contains("secret"), "{}", output.stderr);
        assert_eq!(run().arg("-q").run().exits(0).stderr, "");
    }
}

#[test]
fn a_conflict_names_the_variable_and_not_an_option_that_nobody_typed() {
    let folder = tempfile::TempDir::new().expect("a temporary directory");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let task = wat(SQUARE);
    let file = path("results/0");
    for (variables, option) in [
        (&[("WASMPOOL_RESUME", "1")][..], "--resume"),
        (&[("WASMPOOL_SET_ASIDE", "5")], "--set-aside"),
        (&[("WASMPOOL_CSV_DELIMITER", ";")], "--csv-delimiter"),
        (&[("WASMPOOL_NO_HEADER", "1")], "--no-header"),
        (&[("WASMPOOL_RESULTS", "results"), ("WASMPOOL_FLATTEN", "1")], "--results"),
        (&[("WASMPOOL_OUTPUT", &*task.path().to_string_lossy())], "--output"),
        (&[("WASMPOOL_FAILED", &*task.path().to_string_lossy())], "--failed"),
        (&[("WASMPOOL_RESULTS", &*path("results")), ("WASMPOOL_OUTPUT", &*file)], "--output"),
    ] {
        let run = variables.iter().fold(map(&task), |run, (variable, value)| run.env(variable, value));
        let output = run.input("3\n").run().exits(2);
        let (variable, _) = variables
            .iter()
            .find(|(name, _)| name.ends_with(&option[2..].to_uppercase().replace('-', "_")))
            .expect("one");
        assert!(output.stderr.contains(&format!("wasmpool: {variable} of the environment")), "{}", output.stderr);
    }
    let two = "a=one.wasm\na=two.wasm";
    let output = wasmpool().arg("map").env("WASMPOOL_TASK", two).input("3\n").run().exits(2);
    assert!(
        output.stderr.contains("two tasks are called a: WASMPOOL_TASK of the environment wants"),
        "{}",
        output.stderr
    );
    let one = wasmpool().arg("map").env("WASMPOOL_TASK", "a=one.wasm").env("WASMPOOL_JOURNAL", "journal");
    let output = one.input("3\n").run().exits(2);
    assert!(
        output.stderr.contains("wasmpool: WASMPOOL_JOURNAL of the environment is for a run of one task"),
        "{}",
        output.stderr
    );
    let output = map(&task).env("WASMPOOL_HALT", "now").input("x\n").run().exits(3);
    assert!(output.stderr.contains("halted by WASMPOOL_HALT of the environment (now,fail=1)"), "{}", output.stderr);
}
