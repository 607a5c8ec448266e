//! A scratch directory is empty at the start of each item, is seen by no other process, and leaves nothing behind.

use std::path::Path;

use nix::sys::signal::Signal;

use crate::support::alone::alone;
use crate::support::guest::built;
use crate::support::process::adopt_orphans;
use crate::support::record::records;
use crate::support::run::{Output, Run, map, wasmpool};
use crate::support::until;

/// Returns items that are orders to the guest `reach`, one on each line.
fn orders(orders: &[&str]) -> String {
    orders.iter().map(|order| serde_json::to_string(order).expect("a string is JSON") + "\n").collect()
}

/// Has one worker run the orders in one chunk, with the scratch directory `/s`.
fn run(given: &[&str], args: &[&str]) -> Run {
    map(&built("reach")).args(["--scratch", "/s", "-j", "1", "-c", "100"]).args(args).input(orders(given))
}

/// Returns the value of each item, or the kind of its failure.
fn endings(output: &Output) -> Vec<String> {
    let ending = |record: &crate::support::record::Record| match record.kind() {
        "ok" => record.value().as_str().expect("a string").to_owned(),
        kind => kind.to_owned(),
    };
    records(&String::from_utf8_lossy(&output.bytes)).iter().map(ending).collect()
}

#[track_caller]
fn ends(given: &[&str], args: &[&str], wanted: &[&str]) {
    let output = run(given, &[&["--output-format", "records"], args].concat()).run();
    assert_eq!(endings(&output), wanted, "{args:?}: {}", output.stderr);
}

#[test]
fn every_item_finds_it_empty_however_long_an_instance_lives() {
    let given =
        ["write:/s/a=1 ; mkdir:/s/d ; write:/s/d/b=2 ; list:/s", "list:/s", "new:/s/a=3 ; read:/s/a", "list:/s"];
    for isolate in ["item", "chunk", "worker"] {
        ends(&given, &["--isolate", isolate], &["a d", "", "3", ""]);
    }
}

#[test]
fn it_is_empty_after_a_trap_a_timeout_and_a_retry_and_in_a_new_worker() {
    let given = ["write:/s/a=1 ; panic", "list:/s", "new:/s/a=1 ; spin", "list:/s", "write:/s/a=1", "list:/s"];
    let wanted = ["trap", "", "timeout", "", "done", ""];
    for args in [&["--isolate", "item"][..], &["--isolate", "worker"], &["--max-items-per-worker", "1"]] {
        ends(&given, &[args, &["--timeout", "300ms", "--retries", "1"]].concat(), &wanted);
    }
}

#[test]
fn workers_share_none() {
    let given = vec!["new:/s/mine=1 ; list:/s"; 300];
    let output =
        map(&built("reach")).args(["--scratch", "/s", "-j", "3", "-c", "1"]).input(orders(&given)).run().exits(0);
    assert_eq!(output.values(), vec![serde_json::Value::from("mine"); 300]);
}

#[test]
fn a_guest_that_fills_it_gets_no_more_than_its_memory_and_costs_nobody_else() {
    let bytes = (32u64 << 20).to_string();
    let given = ["fill:/s/a", "fill:/s/b", "write:/s/c=1 ; list:/s"];
    for isolate in ["item", "worker"] {
        let output = run(&given, &["--memory", &bytes, "--isolate", isolate]).run().exits(0);
        let values = output.values();
        for filled in &values[..2] {
            let filled: u64 = filled.as_str().and_then(|text| text.parse().ok()).expect("a number");
            assert!((16 << 20..=32 << 20).contains(&filled), "{filled} bytes");
        }
        assert_eq!(values[2], "c");
    }
    // Even empty files take memory, for their names.
    let output = run(&["many:/s=1000000", "list:/s"], &["--memory", &bytes]).run().exits(0);
    let made: u64 = output.values()[0].as_str().and_then(|text| text.parse().ok()).expect("a number");
    assert!(made < 10_000, "{made} files");
    assert_eq!(output.values()[1], "");
}

#[test]
fn a_deep_tree_and_many_files_are_gone_at_the_next_item() {
    for isolate in ["item", "worker"] {
        let given = ["deep:/s=40", "list:/s", "deep:/s=10000", "list:/s", "many:/s=5000", "list:/s"];
        ends(&given, &["--isolate", isolate], &["done", "", "done", "", "5000", ""]);
    }
}

#[test]
fn an_instance_that_lives_on_keeps_what_it_has_open() {
    let given = ["write:/s/a=text ; keep:/s/a", "list:/s", "kept", "new:/s/b=1 ; list:/s"];
    ends(&given, &["--isolate", "worker"], &["done", "", "text", "b"]);
}

#[test]
fn nothing_of_the_host_lies_above_it() {
    let given = ["list:/s/..", "read:/s/../etc/passwd", "list:/", "write:/a=1"];
    ends(&given, &[], &["error"; 4]);
    // Without the option there is no scratch directory.
    let output = map(&built("reach")).input(orders(&["write:/s/a=1"])).run().exits(1);
    assert!(output.values().is_empty());
}

#[test]
fn it_is_there_in_every_mode_of_the_sandbox_and_beside_directories_of_the_host() {
    for mode in ["strict", "best-effort", "off"] {
        ends(&["new:/s/a=1 ; list:/s", "list:/s"], &["--sandbox", mode], &["a", ""]);
    }
    let folder = tempfile::TempDir::new().expect("a temporary directory");
    let dir = format!("--dir={}::/out:rw", folder.path().display());
    let given = ["write:/s/a=1 ; write:/out/a=2 ; read:/s/a", "list:/s", "rename:/out/a=/s/a", "list:/out"];
    ends(&given, &[&dir], &["1", "", "error", "a"]);
}

#[test]
fn a_name_that_is_none_or_taken_is_wrong_use() {
    for (args, named) in [
        (&["--scratch="][..], "--scratch"),
        (&["--scratch=/tmp::/s"], "--dir"),
        (&["--scratch=/s", "--dir=/usr::/s"], "--scratch /s"),
    ] {
        let output = map(&built("reach")).args(args).input(orders(&["list:/s"])).run().exits(2);
        assert!(output.stderr.contains(named), "{}", output.stderr);
    }
    let output =
        wasmpool().arg("call").task(&built("reach")).args(["act", "\"write:/s/a=1\""]).env("WASMPOOL_SCRATCH", "/s");
    output.run().exits(0);
}

/// Returns the file systems that every process sees.
fn mounts() -> String {
    std::fs::read_to_string("/proc/self/mounts").expect("a table of mounts")
}

#[test]
fn a_host_that_is_killed_leaves_nothing_of_it() {
    alone();
    adopt_orphans();
    let before = mounts();
    let given = ["write:/s/a=1 ; spin", "write:/s/a=1 ; spin"];
    let args = ["--scratch", "/s", "-j", "2", "-c", "1", "--timeout", "10m"];
    let mut host = map(&built("reach")).args(args).input(orders(&given)).start();
    until("two workers that compute", || {
        (host.workers().iter().filter(|worker| worker.ticks() >= 2).count() == 2).then_some(())
    });
    assert_eq!(mounts(), before);
    let family = host.descendants();
    host.signal(Signal::SIGKILL);
    host.wait();
    // Neither processes, nor files in the directory for temporary ones.
    host.leaves_nothing_behind(&family);
    assert_eq!(mounts(), before);
    assert!(!Path::new("/s").exists());
}
