//! A task that may write to a directory can leave links there: the host does not follow them.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::support::guest::{built, wat};
use crate::support::run::{Run, wasmpool};
use crate::support::tree::Tree;

fn call(tree: &Tree, order: &str) -> Run {
    let order = serde_json::Value::from(order).to_string();
    wasmpool().arg("call").arg(built("reach").path()).args(["act", &order]).args(tree.grants())
}

fn map(tree: &Tree) -> Run {
    wasmpool().arg("map").arg(built("reach").path()).args(tree.grants()).input("\"env\"\n")
}

/// Makes the granted directories, and something beside them that is not granted.
fn tree() -> Tree {
    let tree = Tree::new(&["beside"], &[("victim", "precious"), ("beside/0", "precious")]);
    tree.link("../victim", "out/link");
    tree.link("../new", "out/dangling");
    tree.link("../beside", "out/directory");
    tree.link("out/link", "by-user");
    tree.link("victim", "users-own");
    tree
}

#[test]
fn a_link_in_a_directory_that_is_granted_for_writing_is_not_followed_by_what_the_host_writes() {
    let tree = tree();
    for option in ["--output", "--failed", "--journal"] {
        for name in ["out/link", "out/dangling", "out/directory/new", "by-user"] {
            let output = map(&tree).arg(option).arg(tree.path(name)).run().exits(2);
            assert!(output.stderr.contains("which a task may have made"), "{option} {name}: {}", output.stderr);
        }
    }
    for name in ["out/directory", "out/directory/new"] {
        let run = map(&tree).args(["--output-format", "raw", "--results"]).arg(tree.path(name));
        let output = run.run().exits(2);
        assert!(output.stderr.contains("which a task may have made"), "{}", output.stderr);
    }
    assert_eq!(fs::read_to_string(tree.path("victim")).expect("it is there"), "precious");
    assert!(!tree.path("new").exists() && !tree.path("beside/new").exists());
}

#[test]
fn a_link_that_a_task_has_left_in_an_earlier_run_is_not_followed_either() {
    let tree = tree();
    call(&tree, "symlink:../victim=/out/results").run().exits(0);
    assert!(fs::symlink_metadata(tree.path("out/results")).expect("it is there").is_symlink());
    for option in ["--output", "--failed", "--journal"] {
        let run = wasmpool().arg("map").arg(built("reach").path()).arg(option).arg(tree.path("out/results"));
        let output = run.input("\"env\"\n").run().exits(2);
        assert!(output.stderr.contains("which leads out of its directory"), "{}", output.stderr);
    }
    assert_eq!(fs::read_to_string(tree.path("victim")).expect("it is there"), "precious");
}

#[test]
fn a_link_of_the_users_own_is_followed() {
    let tree = tree();
    map(&tree).arg("-o").arg(tree.path("users-own")).run().exits(0);
    assert_eq!(fs::read_to_string(tree.path("victim")).expect("it is there"), "\"\"\n");
    map(&tree).arg("-o").arg(tree.path("out/results")).run().exits(0);
    assert_eq!(fs::read_to_string(tree.path("out/results")).expect("it is there"), "\"\"\n");
    assert!(fs::symlink_metadata(tree.path("users-own")).expect("it is there").is_symlink());
}

#[test]
fn what_a_run_writes_where_its_task_may_write_too_is_told() {
    let tree = Tree::new(&["out/below"], &[]);
    tree.link(tree.path("out/below"), "to-directory");
    let told = "lies in the directory of --dir";
    for option in ["--output", "--failed", "--journal"] {
        for name in ["out/new", "out/below/new", "in/../out/other"] {
            let run = || map(&tree).arg(option).arg(tree.path(name));
            let output = run().run().exits(0);
            assert!(output.stderr.contains(&format!("{option} ")), "{option} {name}: {}", output.stderr);
            assert!(output.stderr.contains(told), "{option} {name}: {}", output.stderr);
            fs::remove_file(tree.path(name)).expect("it was made");
            assert!(!run().arg("-q").run().exits(0).stderr.contains(told), "{option} {name}");
            fs::remove_file(tree.path(name)).expect("it was made");
        }
        for name in ["in/new", "beside-all"] {
            let output = map(&tree).arg(option).arg(tree.path(name)).run().exits(0);
            assert!(!output.stderr.contains(told), "{option} {name}: {}", output.stderr);
            fs::remove_file(tree.path(name)).expect("it was made");
        }
    }
    let results = map(&tree).args(["--output-format", "raw", "--results"]).arg(tree.path("out/results"));
    assert!(results.run().exits(0).stderr.contains(told));
    let file = |name: &str| File::create(tree.path(name)).expect("a file");
    let output = map(&tree).stdout_to(file("out/there")).run().exits(0);
    assert!(output.stderr.contains("standard output goes to a file in the directory of --dir"), "{}", output.stderr);
    let output = map(&tree).arg("-o").arg(tree.path("beside")).stdout_to(file("out/there")).run().exits(0);
    assert!(!output.stderr.contains("standard output goes"), "{}", output.stderr);
}

#[test]
fn where_a_granted_directory_is_in_truth_is_told_if_a_link_leads_there() {
    let tree = tree();
    tree.link("beside", "link-to-directory");
    let real = tree.path("beside").canonicalize().expect("it is there").display().to_string();
    let run = |host: &Path| call(&tree, "env").arg(format!("--dir={}::/more", host.display()));
    for name in ["link-to-directory", "out/directory"] {
        let output = run(&tree.path(name)).run().exits(0);
        assert!(output.stderr.contains(&format!("the task is given {real}\n")), "{}", output.stderr);
        assert_eq!(run(&tree.path(name)).arg("-q").run().exits(0).stderr, "");
    }
    assert_eq!(run(&tree.path("beside")).run().exits(0).stderr, "");
}

#[test]
fn a_link_that_leads_out_by_another_one_is_not_followed_wherever_it_is_on_the_way() {
    let tree = Tree::new(&["beside"], &[("victim", "precious"), ("beside/new", "precious")]);
    for order in ["symlink:..=/out/up", "symlink:up/victim=/out/link", "symlink:../beside=/out/directory"] {
        call(&tree, order).run().exits(0);
    }
    let shared = ["--share", "total=value:s64", "--share-out"];
    for options in [&["--output"][..], &["--failed"], &["--journal"], &["--output-format=raw", "--results"], &shared] {
        for name in ["out/link", "out/up/victim", "out/directory/new", "out/up/new", "out/up/out/link"] {
            let run = wasmpool().arg("map").arg(built("reach").path()).args(options).arg(tree.path(name));
            let output = run.input("\"env\"\n").run().exits(2);
            assert!(
                output.stderr.contains("which leads out of its directory"),
                "{options:?} {name}: {}",
                output.stderr
            );
        }
    }
    assert_eq!(fs::read_to_string(tree.path("victim")).expect("it is there"), "precious");
    assert_eq!(fs::read_to_string(tree.path("beside/new")).expect("it is there"), "precious");
    assert!(!tree.path("new").exists());
}

#[test]
fn links_that_no_task_has_made_are_followed_wherever_they_are_on_the_way() {
    let tree = Tree::new(&["releases", "releases/5", "work"], &[]);
    tree.link("releases/5", "current");
    tree.link(tree.path("work"), "absolute");
    tree.link("../work", "releases/where-i-am");
    let run = || wasmpool().arg("map").arg(built("reach").path()).input("\"env\"\n");
    for name in ["current/a", "current/../b", "absolute/c"] {
        run().arg("-o").arg(tree.path(name)).run().exits(0);
    }
    // A shell is in a directory to which it has followed a link.
    let here = tree.path("releases/where-i-am");
    run().directory(&here).env("PWD", &here).arg("-o").arg(here.join("d")).run().exits(0);
    for name in ["releases/5/a", "releases/b", "work/c", "work/d"] {
        assert!(tree.path(name).exists(), "{name}");
    }
    let elsewhere = run().env("PWD", &here).arg("-o").arg(here.join("e")).run().exits(2);
    assert!(elsewhere.stderr.contains("which leads out of its directory"), "{}", elsewhere.stderr);
}

/// A command that replaces the file `z` of its first directory by a link to `../secret`, and prints its item.
const THIEF: &str = r#"
(module
  (import "wasi_snapshot_preview1" "path_symlink" (func $link (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 0) "../secret") (data (i32.const 16) "z")
  (func (export "_start")
    (drop (call $unlink (i32.const 3) (i32.const 16) (i32.const 1)))
    (drop (call $link (i32.const 0) (i32.const 9) (i32.const 3) (i32.const 16) (i32.const 1)))
    (i32.store (i32.const 32) (i32.const 1024)) (i32.store (i32.const 36) (i32.const 60))
    (drop (call $read (i32.const 0) (i32.const 32) (i32.const 1) (i32.const 48)))
    (i32.store (i32.const 36) (i32.load (i32.const 48)))
    (drop (call $write (i32.const 1) (i32.const 32) (i32.const 1) (i32.const 48)))))"#;

#[test]
fn an_input_that_a_task_replaces_by_a_link_is_not_read_through_it() {
    let tree = Tree::new(&[], &[("secret", "top secret"), ("out/a", "first"), ("out/z", "last"), ("out/b", "other")]);
    let dir = format!("--dir={}::/d:rw", tree.path("out").display());
    let exec =
        |args: &[&str]| wasmpool().arg("exec").task(&wat(THIEF)).arg(&dir).args(["-j", "1", "-c", "1"]).args(args);
    let mut host = exec(&["--input-format", "files", "--output-format", "records"]).start();
    let mut list = host.stdin.take().expect("a pipe");
    writeln!(list, "{}", tree.path("out/a").display()).expect("it reads");
    assert!(host.line().is_some_and(|line| line.contains("first")));
    assert!(tree.path("out/z").is_symlink());
    tree.link("b", "out/within");
    for name in ["out/z", "out/within"] {
        writeln!(list, "{}", tree.path(name).display()).expect("it reads");
    }
    drop(list);
    let stolen = host.line().expect("a record");
    assert!(stolen.contains("invalid-input") && stolen.contains("a link that leads out of a directory"), "{stolen}");
    assert!(host.line().is_some_and(|line| line.contains("other")));
    assert_eq!(host.code(), 1);
    // An input that is named on the command line is read as late.
    let output = exec(&["--input-format", "lines"]).arg(tree.path("out/z")).run().exits(2);
    assert!(output.stderr.contains("a link that leads out of a directory"), "{}", output.stderr);
    assert_eq!(output.text(), "");
}

#[test]
fn an_input_that_is_read_by_a_link_out_of_its_directory_is_told() {
    let tree = Tree::new(&[], &[("items", "\"env\"\n"), ("list", "")]);
    tree.link("../items", "in/link");
    fs::write(tree.path("list"), format!("{}\n", tree.path("in/link").display())).expect("written");
    for args in [&["in/link"][..], &["list", "--input-format=files"]] {
        let run = || {
            let run = wasmpool().arg("map").arg(built("reach").path()).arg(tree.path(args[0]));
            run.args(&args[1..]).args(["-f", "act"])
        };
        let output = run().run();
        assert_eq!(output.stderr.matches("which leads out of its directory").count(), 1, "{}", output.stderr);
        assert!(!run().arg("-q").run().stderr.contains("leads out"), "{args:?}");
    }
}

#[test]
fn shared_objects_are_not_filled_through_a_link_that_a_task_may_have_made() {
    let tree = tree();
    fs::write(tree.path("secret.json"), "{\"jobs\": [\"secret\"]}").expect("written");
    tree.link("../secret.json", "out/in.json");
    tree.link("secret.json", "users-own.json");
    for (command, name) in [("map", "out/in.json"), ("call", "out/in.json")] {
        let run = if command == "map" { map(&tree) } else { call(&tree, "env") };
        let output = run.args(["--share", "jobs=queue", "--share-in"]).arg(tree.path(name)).run().exits(2);
        assert!(output.stderr.contains("which a task may have made"), "{command}: {}", output.stderr);
    }
    map(&tree).args(["--share", "jobs=queue", "--share-in"]).arg(tree.path("users-own.json")).run().exits(0);
}
