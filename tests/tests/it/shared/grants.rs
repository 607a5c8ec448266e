//! Who grants objects: the command line and a policy. A plugin only asks, and gets no more than both say.

use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use super::{Place, guest, lines};
use crate::support::guest::built;
use crate::support::run::{Output, Run, wasmpool};

/// A plugin: the guest, and its manifest.
struct Plugin {
    folder: TempDir,
}

impl Plugin {
    fn new(manifest: &str) -> Plugin {
        let folder = TempDir::new().expect("a temporary directory");
        std::fs::copy(guest().path(), folder.path().join("shared.wasm")).expect("a copy");
        let text = format!("wasm = \"shared.wasm\"\nfunction = \"act\"\n{manifest}");
        std::fs::write(folder.path().join("plugin.toml"), text).expect("a file");
        Plugin { folder }
    }

    fn run(&self, args: &[&str], items: &[&str]) -> Output {
        of(self.folder.path(), args, items).run()
    }
}

fn of(task: &Path, args: &[&str], items: &[&str]) -> Run {
    let run = wasmpool().arg("map").arg(task).args(["--input-format", "lines", "--output-format", "records", "-j1"]);
    run.args(args).input(lines(items))
}

#[test]
fn what_a_plugin_asks_for_is_not_given_but_told_with_the_option_that_gives_it() {
    let plugin = Plugin::new("[grants]\nshare = [\"jobs=queue:put\", \"total=value:s64\"]");
    let output = plugin.run(&[], &["?put jobs a 0", "?load total"]).exits(0);
    assert_eq!(super::endings(&output), ["not-granted", "not-granted"]);
    for option in ["--share 'jobs=queue:put'", "--share 'total=value:s64'"] {
        assert_eq!(output.stderr.matches(option).count(), 1, "{option}: {}", output.stderr);
    }
    assert_eq!(plugin.run(&["-q"], &["?put jobs a 0"]).stderr, "");
    let inspected = wasmpool().arg("inspect").arg(plugin.folder.path()).run().exits(0);
    assert!(
        inspected.text().contains("It asks to share an object with others: `jobs=queue:put`."),
        "{}",
        inspected.text()
    );
}

#[test]
fn a_plugin_gets_the_rights_that_it_asks_for_and_the_user_gives() {
    let plugin = Plugin::new("[grants]\nshare = [\"jobs=queue:put\", \"total=value:s64:ro\", \"seen=dict\"]");
    // Sizes are the user's to say.
    let args = ["--share", "jobs=queue:7", "--share", "total=value:s64", "--share", "seen=dict:entries=1:ro"];
    let items = ["put jobs a 0 ; ?get jobs 0", "load total ; ?store total 1", "?dict-get seen k ; ?dict-set seen k v"];
    let output = plugin.run(&args, &items).exits(0);
    assert_eq!(super::endings(&output), ["ok denied", "0 denied", "none denied"]);
}

#[test]
fn what_a_plugin_does_not_ask_for_is_withheld_and_told() {
    let plugin = Plugin::new("[grants]\nshare = [\"jobs=queue\"]");
    let args = ["--share", "jobs=dict", "--share", "gate=lock"];
    let output = plugin.run(&args, &["?put jobs a 0", "?lock gate 0", "?dict-get jobs k"]).exits(0);
    assert_eq!(super::endings(&output), ["not-granted", "not-granted", "not-granted"]);
    for named in ["--share jobs=dict", "--share gate=lock", "--share 'jobs=queue'"] {
        assert!(output.stderr.contains(named), "{named}: {}", output.stderr);
    }
    let modest = Plugin::new("");
    let output = modest.run(&["--share", "gate=lock"], &["?lock gate 0"]).exits(0);
    assert_eq!(super::endings(&output), ["not-granted"]);
    assert!(output.stderr.contains("--share gate=lock"), "{}", output.stderr);
}

#[test]
fn a_plugin_that_gets_a_part_of_an_object_is_not_said_to_go_without() {
    let plugin = Plugin::new("[grants]\nshare = [\"seen=dict\", \"all=list:ro\"]");
    let args = ["--share", "seen=dict:ro", "--share", "all=list"];
    let output = plugin.run(&args, &["?dict-get seen k ; ?push all x"]).exits(0);
    assert_eq!(super::endings(&output), ["none denied"]);
    for said in [
        "the plugin asks to share an object with others: `seen=dict`, and gets only ro of it; --share 'seen=dict' grants it",
        "the plugin asks only for :ro of --share all=list, and gets no more of it",
    ] {
        assert_eq!(output.stderr.matches(said).count(), 1, "{said}: {}", output.stderr);
    }
    assert!(!output.stderr.contains("goes without") && !output.stderr.contains("is not given"), "{}", output.stderr);
}

#[test]
fn a_request_that_cannot_be_is_an_error_in_the_manifest() {
    for (share, named) in [
        ("jobs", "NAME=KIND"),
        ("jobs=stack", "stack"),
        ("a b=queue", "letters"),
        ("jobs=queue:put:get", "with one right, `:get` or `:put`, or with neither"),
    ] {
        let output = Plugin::new(&format!("[grants]\nshare = [\"{share}\"]")).run(&[], &["name"]).exits(2);
        assert!(output.stderr.contains("plugin.toml") && output.stderr.contains("share"), "{}", output.stderr);
        assert!(output.stderr.contains(named), "{}", output.stderr);
    }
}

#[test]
fn a_policy_grants_in_the_same_words_and_the_command_line_counts_for_more() {
    let place = Place::new();
    let policy = place.write("policy.toml", "[grants]\nshare = [\"jobs=queue:1\", \"total=value:s64:ro\"]\n");
    let policy = policy.to_str().expect("a path");
    let task = guest();
    let items = ["?put jobs a 0 ; ?put jobs b 0", "load total ; ?store total 1"];
    let map =
        |args: &[&str]| of(task.path(), &[&["-f", "act", "--policy", policy], args].concat(), &items).run().exits(0);
    assert_eq!(super::endings(&map(&[])), ["ok full", "0 denied"]);
    assert_eq!(super::endings(&map(&["--share", "jobs=queue:2", "--share", "total=value:s64"])), ["ok ok", "0 ok"]);
    let call = wasmpool().arg("call").task(&task).args(["act", "\"load total\""]).env("WASMPOOL_POLICY", policy);
    assert_eq!(call.run().exits(0).text(), "\"0\"\n");
    let bad = place.write("bad.toml", "[grants]\nshare = [\"jobs=queue\", \"jobs=dict\"]\n");
    let output = of(task.path(), &["-f", "act", "--policy", bad.to_str().expect("a path")], &["name"]).run().exits(2);
    assert!(
        output.stderr.contains("two shared objects are called jobs") && output.stderr.contains("bad.toml"),
        "{}",
        output.stderr
    );
}

/// Row 0.7: several tasks of one run have the same objects.
#[test]
fn several_tasks_share_the_objects_of_their_run() {
    let place = Place::new();
    let task = guest();
    let named = |name: &str| format!("{name}={}", task.path().display());
    let run = wasmpool().args(["map", "--task", &named("one"), "--task", &named("two"), "-f", "act", "-j", "4"]);
    let run =
        run.args(["--input-format", "lines", "--share", "total=value:s64", "--share", "jobs=queue", "--share-out"]);
    let items = ["add total 1 ; put jobs x -"; 50];
    run.arg(place.path("out.json")).input(lines(&items)).run().exits(0);
    let held = place.read("out.json");
    assert_eq!(held["total"], json!(100));
    assert_eq!(held["jobs"].as_array().map(Vec::len), Some(100));
}

#[test]
fn tasks_of_one_run_can_wait_for_each_other() {
    let task = guest();
    let named = |name: &str| format!("{name}={}", task.path().display());
    let run =
        wasmpool().args(["map", "--task", &named("one"), "--task", &named("two"), "-f", "act", "-j", "2", "-c", "1"]);
    let run = run.args(["--input-format", "lines", "--output-format", "records", "--share", "both=barrier:2"]);
    let output = run.input("meet both -\n").run().exits(0);
    let mut met: Vec<String> = output.records().iter().map(super::ending).collect();
    met.sort();
    assert_eq!(met, ["0", "1"]);
}

#[test]
fn commands_use_shared_objects() {
    let place = Place::new();
    let exec = || {
        wasmpool().arg("exec").task(&built("shared-command")).args([
            "-j",
            "2",
            "--delimiter",
            "none",
            "--input-format",
            "lines",
        ])
    };
    let run = exec().args(["--share", "jobs=queue", "--share", "total=value:s64", "--share-out"]);
    let items: String = (0..40).map(|nth| format!("{nth}\n")).collect();
    let output = run.arg(place.path("out.json")).args(["--", "{}"]).input(items).run().exits(0);
    assert_eq!(output.lines().len(), 40);
    let held = place.read("out.json");
    assert_eq!(held["total"], json!(40));
    let mut jobs: Vec<u64> = held["jobs"]
        .as_array()
        .expect("messages")
        .iter()
        .map(|text| text.as_str().expect("text").parse().expect("a number"))
        .collect();
    jobs.sort_unstable();
    assert_eq!(jobs, (0..40).collect::<Vec<u64>>());
    // Without them, it is told the option.
    let output = exec().args(["--", "{}"]).input("x\n").run().exits(1);
    assert!(output.stderr.contains("--share jobs=queue"), "{}", output.stderr);
}
