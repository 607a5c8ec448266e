//! A grant opens what it names, and nothing else.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use crate::support::guest::{built, wat};
use crate::support::run::{Output, map, wasmpool};
use crate::support::tree::Tree;

/// Has the guest `reach` do one thing.
fn reach(verb: impl AsRef<str>, grants: &[String]) -> Output {
    let order = serde_json::to_string(verb.as_ref()).expect("a string is JSON");
    wasmpool().arg("call").arg(built("reach").path()).args(["act", &order]).args(grants).run()
}

#[track_caller]
fn gets(verb: impl AsRef<str>, grants: &[String], answer: &str) {
    let output = reach(verb, grants).exits(0);
    assert_eq!(output.values(), [serde_json::Value::from(answer)]);
}

/// Checks that the guest gets an error, and continues.
#[track_caller]
fn refused(verb: impl AsRef<str>, grants: &[String]) {
    let output = reach(verb, grants).exits(1);
    assert!(output.stderr.contains("failed: error: "), "{}", output.stderr);
}

/// Makes the granted directories, with a secret beside them, and links that lead to it.
fn tree() -> Tree {
    let tree = Tree::new(&["in/deep"], &[("in/a.txt", "hello"), ("in/deep/b.txt", "deep"), ("secret", "secret")]);
    tree.link("../secret", "in/up");
    tree.link(tree.path("secret"), "in/absolute");
    tree.link("a.txt", "in/inside");
    tree.link("../secret", "out/up");
    tree
}

#[test]
fn without_a_grant_there_is_no_file_no_variable_and_no_network() {
    gets("env", &[], "");
    for verb in ["read:/etc/passwd", "read:a.txt", "list:/", "list:.", "write:a.txt=x", "connect:127.0.0.1:80"] {
        refused(verb, &[]);
    }
}

#[test]
fn env_gives_the_variables_it_names() {
    gets("env", &["--env=A=1".to_owned(), "--env=B=x=y".to_owned()], "A=1\nB=x=y\n");
}

#[test]
fn dir_lets_a_task_read_what_is_below() {
    let tree = tree();
    gets("read:/in/a.txt", &tree.grants(), "hello");
    gets("read:/in/deep/b.txt", &tree.grants(), "deep");
    gets("read:/in/deep/../a.txt", &tree.grants(), "hello");
    gets("read:/in/inside", &tree.grants(), "hello");
    gets("list:/in/deep", &tree.grants(), "b.txt");
    gets("size:/in/a.txt", &tree.grants(), "5");
    gets("open-many:/in/a.txt", &tree.grants(), "200");
}

#[test]
fn dir_shows_nothing_above_or_beside() {
    let tree = tree();
    let absolute = format!("read:{}", tree.path("secret").display());
    for verb in ["read:/in/../secret", "read:/in/deep/../../secret", "read:/in/up", "read:/in/absolute", &absolute] {
        refused(verb, &tree.grants());
    }
    for verb in ["write:/out/up=x", "write:/out/../secret=x", "rename:/out/up=/out/../gone", "link:/in/up=/out/mine"] {
        refused(verb, &tree.grants());
    }
    assert_eq!(read(&tree.path("secret")), "secret");
}

#[test]
fn a_directory_is_read_only_unless_rw_is_said() {
    let tree = tree();
    for verb in [
        "write:/in/new=x",
        "append:/in/a.txt=x",
        "truncate:/in/a.txt",
        "remove:/in/a.txt",
        "mkdir:/in/new",
        "rename:/in/a.txt=/in/b.txt",
        "rename:/in/a.txt=/out/a.txt",
    ] {
        refused(verb, &tree.grants());
    }
    assert_eq!(read(&tree.path("in/a.txt")), "hello");
}

/// Returns the record of one item of the guest `reach`.
fn record(verb: &str, grants: &[String]) -> Output {
    let args = ["--output-format", "records"];
    map(&built("reach")).args(args).args(grants).input(serde_json::Value::from(verb).to_string() + "\n").run().exits(1)
}

#[test]
fn what_is_not_granted_is_denied_in_the_same_words_beside_another_grant() {
    let tree = tree();
    let of = |verb: &str, grants: &[String]| {
        let output = record(verb, grants);
        let denied = output.values()[0]["denied"].to_string();
        (denied, output.records()[0].message().to_owned())
    };
    let (denied, message) = of("read:/etc/passwd", &[]);
    assert!(denied.contains("a directory (--dir") && message.contains("--dir"), "{denied}, {message}");
    assert_eq!(of("read:/etc/passwd", &tree.grants()), (denied.clone(), message));
    // What is not in a directory that was granted is no matter of grants.
    for verb in ["read:/in/gone", "size:/in/gone"] {
        let (denied, message) = of(verb, &tree.grants());
        assert!(denied == "null" && !message.contains("--dir"), "{verb}: {denied}, {message}");
    }
    for verb in ["write:/in/new=x", "append:/in/a.txt=x", "remove:/in/a.txt", "mkdir:/in/new"] {
        let (denied, message) = of(verb, &tree.grants());
        for said in [denied, message] {
            assert!(
                said.contains("writing to a directory granted for reading only") && said.contains(":rw"),
                "{verb}: {said}"
            );
        }
    }
}

#[test]
fn rw_lets_a_task_do_all_that_files_allow() {
    let tree = tree();
    for verb in [
        "write:/out/a=one",
        "append:/out/a=two",
        "rename:/out/a=/out/b",
        "link:/out/b=/out/c",
        "mkdir:/out/d",
        "rmdir:/out/d",
        "write:/out/e=gone",
        "truncate:/out/e",
        "remove:/out/c",
    ] {
        gets(verb, &tree.grants(), "done");
    }
    assert_eq!(read(&tree.path("out/b")), "onetwo");
    assert_eq!(read(&tree.path("out/e")), "");
    assert!(!tree.path("out/c").exists());
}

#[test]
fn a_directory_serves_many_items_of_many_workers() {
    let tree = tree();
    let input: String = (0..500).map(|i| format!("\"write:/out/{i}={i}\"\n")).collect();
    wasmpool().arg("map").arg(built("reach").path()).args(tree.grants()).args(["-j", "3"]).input(input).run().exits(0);
    for i in 0..500 {
        assert_eq!(read(&tree.path(&format!("out/{i}"))), i.to_string());
    }
}

#[test]
fn a_grant_that_cannot_be_opened_is_wrong_use() {
    for (grant, named) in [
        ("--dir=/nowhere/at/all::/in", "/nowhere/at/all"),
        ("--dir=/etc/passwd::/in", "/etc/passwd"),
        ("--allow-net=no-such-host.invalid:80", "no-such-host.invalid"),
        ("--dir=/tmp", "HOST::GUEST"),
        ("--env=A", "NAME=VALUE"),
        ("--allow-net=localhost", "HOST:PORT"),
    ] {
        let output = reach("env", &[grant.to_owned()]).exits(2);
        assert!(output.stderr.contains(named), "{}", output.stderr);
    }
}

/// Starts a server that answers each line with `pong`.
fn server() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut line = String::new();
            if BufReader::new(&stream).read_line(&mut line).is_ok() {
                let _ = (&stream).write_all(b"pong");
            }
        }
    });
    address
}

#[test]
fn allow_net_lets_a_task_connect_to_that_peer_and_no_other() {
    let (granted, other) = (server(), server());
    let grants = [format!("--allow-net={granted}")];
    gets(format!("connect:{granted}"), &grants, "pong");
    refused(format!("connect:{other}"), &grants);
    refused(format!("udp:{granted}"), &grants);
    refused("listen:0.0.0.0:0", &grants);
    refused("listen:127.0.0.1:0", &grants);
}

#[test]
fn a_granted_peer_is_found_by_its_name_and_no_other_is() {
    let port = server().port();
    let grants = [format!("--allow-net=localhost:{port}")];
    gets(format!("connect:localhost:{port}"), &grants, "pong");
    refused("resolve:example.org:80", &grants);
    refused("resolve:localhost:80", &[]);
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a file of text")
}

#[test]
fn what_no_option_grants_is_refused_when_it_is_called_and_not_before() {
    let task = wat(r#"(component
          (import "wasi:http/outgoing-handler@0.2.0" (instance $http (export "handle" (func (result u32)))))
          (core func $handle (canon lower (func $http "handle")))
          (core module $m
            (import "http" "handle" (func $handle (result i32)))
            (func (export "f") (param i64) (result i64)
              (if (i64.eq (local.get 0) (i64.const 1)) (then (drop (call $handle))))
              (local.get 0)))
          (core instance $i (instantiate $m (with "http" (instance (export "handle" (func $handle))))))
          (func (export "f") (param "x" s64) (result s64) (canon lift (core func $i "f"))))"#);
    let output = map(&task).args(["--output-format", "records"]).input("0\n1\n2\n").run().exits(1);
    assert_eq!(output.kinds(), ["ok", "trap", "ok"]);
    let message = output.records()[1].message().to_owned();
    assert!(message.contains("wasi:http/outgoing-handler@0.2.0#handle"), "{message}");
    assert!(message.contains("nothing grants it"), "{message}");
}

#[test]
fn one_argument_is_one_grant_whatever_is_in_it() {
    // A value may have several lines; a second line that looks like another variable is part of it.
    gets("env", &["--env=A=1\nB=2".to_owned()], "A=1\nB=2\n");
    let tree = tree();
    let inside = tree.path("in").display().to_string();
    let two = format!("--dir={inside}::/in\n{inside}::/other");
    refused("read:/other/a.txt", std::slice::from_ref(&two));
    refused("read:/in/a.txt", &[two]);
    let output = reach("env", &["--allow-net=127.0.0.1:80\n127.0.0.1:81".to_owned()]).exits(2);
    assert!(output.stderr.contains("HOST:PORT"), "{}", output.stderr);
    let square = wat(crate::support::wat::SQUARE);
    let tasks = format!("a={}\nb=/no/such", square.path().display());
    let output = wasmpool().args(["map", "--task", &tasks]).input("1\n").run().exits(2);
    assert!(output.stderr.contains("\nb=/no/such") || output.stderr.contains("\\nb=/no/such"), "{}", output.stderr);
}

#[test]
fn in_the_environment_each_line_is_a_grant() {
    let output = wasmpool()
        .env("WASMPOOL_ENV", "A=1\n\nB=2\n")
        .arg("call")
        .arg(built("reach").path())
        .args(["act", "\"env\""])
        .run()
        .exits(0);
    assert_eq!(output.values(), [serde_json::Value::from("A=1\nB=2\n")]);
}

#[test]
fn a_name_that_is_given_twice_is_wrong_use() {
    let tree = tree();
    let dir = |guest: &str| format!("--dir={}::{guest}", tree.path("in").display());
    for (args, says) in [
        (vec![dir("/d"), dir("/d")], "two directories are granted as /d"),
        (vec![dir("/d"), dir("/d/:rw")], "two directories are granted as /d/"),
        (vec![dir("/d/e"), dir("/./d//e")], "two directories are granted as"),
        (vec![dir("/d"), "--scratch=/d/".to_owned()], "is also the name of a directory that is granted"),
        (vec![dir("/d"), "--scratch=/./d".to_owned()], "is also the name of a directory that is granted"),
        (vec!["--env=A=1".to_owned(), "--env=A=2".to_owned()], "the variable A is granted twice"),
    ] {
        let output = wasmpool().arg("call").arg(built("reach").path()).args(["act", "\"env\""]).args(&args).run();
        let output = output.exits(2);
        assert!(output.stderr.contains(says), "{args:?}: {}", output.stderr);
    }
    for args in [vec![dir("/d"), dir("/d/e")], vec!["--env=A=1".to_owned(), "--env=a=2".to_owned()]] {
        wasmpool().arg("call").arg(built("reach").path()).args(["act", "\"env\""]).args(&args).run().exits(0);
    }
}
