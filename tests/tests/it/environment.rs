//! Every option can be set by the environment; the command line goes first.

use crate::support::guest::wat;
use crate::support::run::{map, wasmpool};
use crate::support::wat::{SQUARE, minus_twice};

#[test]
fn every_option_has_a_variable() {
    for command in ["map", "call", "inspect", "compile"] {
        let help = wasmpool().args([command, "--help"]).run().exits(0);
        let options: Vec<&str> = help
            .text()
            .split_whitespace()
            .filter_map(|word| word.strip_prefix("--"))
            .map(|word| word.trim_end_matches(|c: char| !c.is_ascii_lowercase()))
            .filter(|option| !option.is_empty() && *option != "help")
            .collect();
        assert!(options.contains(&"sandbox"), "{options:?}");
        for option in options {
            let variable = format!("[env: WASMPOOL_{}]", option.to_uppercase().replace('-', "_"));
            assert!(help.text().contains(&variable), "{command} has no {variable}");
        }
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
        // What stands on the command line is seen there.
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
