//! `--share` beside other options.

use super::{call, guest, in_turn, orders, share};
use crate::support::run::{map, wasmpool};

#[track_caller]
fn refused(run: crate::support::run::Run, says: &[&str]) {
    let output = run.run().exits(2);
    assert!(says.iter().all(|text| output.stderr.contains(text)), "{says:?} is not in: {}", output.stderr);
    assert_eq!(output.text(), "");
}

#[test]
fn two_objects_of_one_name_are_refused() {
    refused(in_turn(&["a=queue", "b=lock", "a=dict"], &["name"]), &["two shared objects are called a", "--share"]);
    refused(call(&["a=queue", "a=queue"], "name"), &["two shared objects are called a"]);
}

/// Row 1.19: each object costs a worker one descriptor at most, and there is a bound.
#[test]
fn sixty_four_objects_are_a_run_and_sixty_five_are_not() {
    let shares: Vec<String> = (0..65)
        .map(|nth| match nth % 4 {
            0 => format!("n{nth}=value:u64"),
            1 => format!("n{nth}=queue"),
            2 => format!("n{nth}=lock"),
            _ => format!("n{nth}=array:u8:10000"),
        })
        .collect();
    let shares: Vec<&str> = shares.iter().map(String::as_str).collect();
    let output =
        in_turn(&shares[..64], &["add n60 u64:2 ; put n61 x - ; lock n62 0 ; array-load n63 9999 ; get n61 0"])
            .run()
            .exits(0);
    assert_eq!(super::endings(&output), ["2 ok acquired 0 x"]);
    refused(in_turn(&shares, &["name"]), &["--share is given more than 64 times"]);
}

#[test]
fn what_is_no_object_is_wrong_use_that_says_what_is() {
    for (text, says) in [
        ("jobs", "NAME=KIND"),
        ("jobs=", "queue, pipe, value"),
        ("=queue", "needs a name"),
        ("jobs=stack", "`stack` is no kind"),
        ("jobs=que", "(did you mean queue?)"),
        ("jobs=JoinableQueue", "(did you mean queue?)"),
        ("jobs=queue:put:get", "one right, `:get` or `:put`, or with neither"),
        ("total=value:s64:5", "--share-in FILE with {\"total\": 5} in it"),
        ("total=value:s64=5", "--share-in FILE with {\"total\": 5} in it"),
        ("total=value", "value:TYPE"),
        ("total=value:int", "s8, u8"),
        ("meet=barrier:0", "one party"),
        ("jobs=queue:-1", "queue[:CAPACITY]"),
        ("hist=array:u8:999999999", "a whole number up to"),
        ("few=semaphore:0:bounded", "can never be acquired"),
    ] {
        refused(in_turn(&[text], &["name"]), &["--share", says]);
    }
}

#[test]
fn the_long_help_says_all_that_an_object_can_be() {
    let help = wasmpool().args(["map", "--help"]).run().exits(0);
    for said in [
        "queue[:CAPACITY]",
        ":put or :get",
        "pipe[:duplex]",
        "array:TYPE:LENGTH",
        "semaphore:SLOTS[:bounded]",
        "s8 u8 s16",
        ":entries=N",
        ":bytes=SIZE",
    ] {
        assert!(help.text().contains(said), "{said} is not in:\n{}", help.text());
    }
    let short = wasmpool().args(["map", "-h"]).run().exits(0);
    assert!(!short.text().contains(":bounded") && short.text().contains("jobs=queue:100"), "{}", short.text());
}

#[test]
fn a_run_with_a_journal_has_no_shared_objects() {
    let place = super::Place::new();
    let run = || in_turn(&["jobs=queue"], &["name"]).arg("-o").arg(place.path("out"));
    refused(run().arg("--journal").arg(place.path("journal")), &["--share", "--journal", "leave one out"]);
    assert!(!place.path("journal").exists() && !place.path("out").exists());
    run().run().exits(0);
}

#[test]
fn a_deterministic_run_has_no_shared_objects() {
    refused(in_turn(&["jobs=queue"], &["name"]).arg("--deterministic"), &["--share", "--deterministic", "timing"]);
    refused(call(&["jobs=queue"], "name").arg("--deterministic"), &["--share", "--deterministic"]);
}

#[test]
fn files_of_objects_need_objects() {
    for option in ["--share-in", "--share-out"] {
        refused(in_turn(&[], &["name"]).args([option, "some.json"]), &[option, "--share NAME=KIND"]);
    }
}

#[test]
fn objects_outlive_instances_workers_and_chunks() {
    for args in
        [&["--max-items-per-worker", "1"][..], &["--isolate", "worker"], &["--isolate", "chunk"], &["--retries", "2"]]
    {
        let place = super::Place::new();
        let items = ["add total 1 ; put jobs x - ; lock gate - ; unlock gate"; 30];
        let run = orders(&["total=value:s64", "jobs=queue", "gate=lock"]).args(["-j", "3"]).args(args);
        let output = run.arg("--share-out").arg(place.path("out.json")).input(super::lines(&items)).run().exits(0);
        assert!(super::endings(&output).iter().all(|ending| ending.ends_with(" ok acquired ok")), "{args:?}");
        let held = place.read("out.json");
        assert_eq!((held["total"].as_i64(), held["jobs"].as_array().map(Vec::len)), (Some(30), Some(30)), "{args:?}");
    }
}

/// An instance that lives on holds nothing of the item before.
#[test]
fn what_an_item_holds_ends_with_it_also_if_its_instance_lives_on() {
    let items = ["lock gate - ; put jobs a - ; take jobs 0", "locked gate ; take-and-finish jobs 0 ; lock gate 0"];
    let run = in_turn(&["gate=lock", "jobs=queue"], &items).args(["--isolate", "worker"]);
    assert_eq!(super::endings(&run.run().exits(0))[1], "false a abandoned:worker 1, item 0");
}

#[test]
fn retried_items_see_what_their_first_attempt_did() {
    let run = in_turn(&["total=value:s64"], &["add total 1 ; trap"]).args(["--retries", "2", "--retry-on", "trap"]);
    let place = super::Place::new();
    run.arg("--share-out").arg(place.path("out.json")).run().exits(1);
    assert_eq!(place.read("out.json"), serde_json::json!({ "total": 3 }));
}

#[test]
fn fuel_is_spent_by_operations_and_not_by_waiting() {
    let run = |item: &str| in_turn(&["total=value:s64", "go=event"], &[item]).args(["--fuel", "3000000"]);
    assert_eq!(super::endings(&run("count total 100000000").run()), ["fuel"]);
    assert_eq!(super::endings(&run("wait-event go 300").run()), ["false"]);
}

#[test]
fn objects_that_the_environment_grants_are_told() {
    let run = wasmpool()
        .args(["call"])
        .task(&guest())
        .args(["act", "\"add total 1\""])
        .env("WASMPOOL_SHARE", "total=value:s64");
    let output = run.run().exits(0);
    let told = "the environment grants the task something: WASMPOOL_SHARE=total=value:s64";
    assert!(output.stderr.contains(told), "{}", output.stderr);
}

/// The manager of a run with values alone would have nothing to keep, so there is none.
#[test]
fn values_and_arrays_need_no_process() {
    for (shares, wanted) in [(&["total=value:s64", "hist=array:u8:10"][..], 0), (&["total=value:s64", "gate=lock"], 1)]
    {
        let mut session = super::Session::start("1", &[], shares);
        assert_eq!(session.ask("add total 1"), "1");
        assert_eq!(session.host.children("manager").len(), wanted);
        assert_eq!(session.end(), 0);
    }
}

#[test]
fn a_task_that_imports_shared_objects_runs_without_any() {
    let output = map(&guest()).args(["-f", "act", "--input-format", "lines"]).input("name\n").run().exits(0);
    assert_eq!(output.text(), "\"nameless\"\n");
    let inspected = wasmpool().arg("inspect").task(&guest()).run().exits(0);
    assert!(inspected.text().contains("shared"), "{}", inspected.text());
}

#[test]
fn objects_are_there_with_every_sandbox() {
    for mode in ["strict", "best-effort", "off"] {
        let run = share(wasmpool().arg("call").task(&guest()), &["jobs=queue", "total=value:s64"]);
        let run = run.args(["--sandbox", mode, "act", "\"put jobs a - ; get jobs - ; add total 2\""]);
        assert_eq!(run.run().exits(0).text(), "\"ok a 2\"\n", "{mode}");
    }
}
