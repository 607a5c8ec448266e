//! A task that may write to a directory can leave links there: the host does not follow them.

use std::fs::{self, File};
use std::path::Path;

use crate::support::guest::built;
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
