//! The process that keeps the objects: what becomes of a run without it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use nix::sys::signal::Signal;

use super::{Place, Session};
use crate::support::alone::alone;
use crate::support::process::{Process, adopt_orphans, descendants};
use crate::support::until;

/// Returns the folders of cgroups that a run would make one in.
fn cgroups() -> BTreeSet<PathBuf> {
    let found = |root: &str| {
        let list = std::fs::read_dir(root).map(|list| list.filter_map(Result::ok).map(|entry| entry.path()));
        list.map(|list| list.filter(|path| path.to_string_lossy().contains("wasmpool")).collect()).unwrap_or_default()
    };
    let all: [BTreeSet<PathBuf>; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/memory"].map(found);
    all.into_iter().flatten().collect()
}

fn shared_memory() -> BTreeSet<OsString> {
    let list = std::fs::read_dir("/dev/shm").map(|list| list.filter_map(Result::ok).map(|entry| entry.file_name()));
    list.map(Iterator::collect).unwrap_or_default()
}

/// Kills the manager of a run whose items are these, and checks its end.
#[track_caller]
fn ends_with_its_manager(items: &[&str], is_there: impl Fn(&mut Session)) {
    alone();
    adopt_orphans();
    let place = Place::new();
    let out = place.write("out.json", "before");
    let before = (shared_memory(), cgroups());
    let args = ["--timeout", "10m", "--share-out", out.to_str().expect("a path")];
    let mut session = Session::start("3", &args, &["jobs=queue", "gate=lock", "total=value:s64"]);
    items.iter().for_each(|item| session.give(item));
    is_there(&mut session);
    let family = session.host.descendants();
    session.host.child("manager").send(Signal::SIGKILL);
    while session.host.line().is_some() {}
    assert_eq!(session.host.code(), 2, "{}", session.host.said());
    let said = session.host.stderr();
    let lost = "the process that keeps the shared objects has ended (signal: 9 (SIGKILL)), and what it kept is lost: start the run again";
    assert_eq!(said.matches("the process that keeps").count(), 1, "{said}");
    assert!(said.contains(lost), "{said}");
    session.host.leaves_nothing_behind(&family);
    let tests = i32::try_from(std::process::id()).expect("a process number");
    until("no orphan is left", || descendants(tests).is_empty().then_some(()));
    assert_eq!((shared_memory(), cgroups()), before);
    // What is lost is not told.
    assert_eq!(std::fs::read_to_string(out).expect("it is there"), "before");
    assert_eq!(std::fs::read_dir(place.path("")).expect("a directory").count(), 1);
}

/// Row 6.15.
#[test]
fn the_loss_of_the_manager_ends_a_run_whose_items_wait() {
    ends_with_its_manager(&["get jobs -", "add total 1 ; get jobs -"], |session| session.until("load total", "1"));
}

#[test]
fn the_loss_of_the_manager_ends_a_run_whose_items_compute() {
    ends_with_its_manager(&["lock gate - ; spin", "spin"], |session| {
        let _ = session.host.busy_worker();
    });
}

#[test]
fn the_loss_of_the_manager_ends_a_run_that_waits_for_items() {
    ends_with_its_manager(&[], |session| assert_eq!(session.ask("put jobs a -"), "ok"));
}

#[test]
fn the_loss_of_the_manager_ends_a_run_in_the_middle_of_many_messages() {
    ends_with_its_manager(&["produce jobs 1000000000 16", "consume jobs 1000000000"], |session| {
        let _ = session.host.busy_worker();
    });
}

/// The worker sees the end first here, and must not answer for its item before the host knows why.
#[test]
fn an_item_is_not_blamed_for_the_loss_of_the_manager() {
    let mut session = Session::start("2", &["--timeout", "10m"], &["jobs=queue", "total=value:s64"]);
    session.give("add total 1 ; get jobs -");
    session.until("load total", "1");
    let manager = session.host.child("manager");
    let workers = session.host.workers();
    // How often they have fallen asleep.
    let sleeps = || -> u64 {
        let of = |worker: &Process| {
            let status = String::from_utf8_lossy(&worker.read("status")).into_owned();
            let count =
                status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse().ok());
            count.unwrap_or(0_u64)
        };
        workers.iter().map(of).sum()
    };
    let before = sleeps();
    let host = session.host.process();
    host.send(Signal::SIGSTOP);
    until("the host stands still", || (host.state() == Some('T')).then_some(()));
    manager.send(Signal::SIGKILL);
    until("the worker has seen the end", || (sleeps() > before).then_some(()));
    host.send(Signal::SIGCONT);
    assert_eq!(session.host.line(), None);
    assert_eq!(session.host.code(), 2, "{}", session.host.said());
    assert!(session.host.stderr().contains("the process that keeps the shared objects has ended"));
}

/// A manager that does not answer blocks no item past its timeout.
#[test]
fn an_item_ends_at_its_timeout_while_the_manager_stands_still() {
    let mut session = Session::start("2", &["--timeout", "500ms"], &["jobs=queue"]);
    let manager = session.host.child("manager");
    assert_eq!(session.ask("put jobs a -"), "ok");
    manager.send(Signal::SIGSTOP);
    assert_eq!(session.ask("size jobs"), "timeout");
    assert_eq!(session.ask("size jobs"), "timeout");
    manager.send(Signal::SIGCONT);
    session.until("get jobs 0", "a");
    assert_eq!(session.end(), 1);
}

/// What the objects hold cannot be told, and nobody waits for it for ever.
#[test]
fn a_manager_that_stands_still_at_the_end_of_a_run_is_given_up() {
    let place = Place::new();
    let out = place.path("out.json");
    let args = ["--share-out", out.to_str().expect("a path")];
    let mut session = Session::start("1", &args, &["jobs=queue"]);
    assert_eq!(session.ask("put jobs a -"), "ok");
    let family = session.host.descendants();
    session.host.child("manager").send(Signal::SIGSTOP);
    session.host.end_input();
    while session.host.line().is_some() {}
    assert_eq!(session.host.code(), 2, "{}", session.host.said());
    let said = session.host.stderr();
    assert!(said.contains("has ended (it has not answered for 30 s)"), "{said}");
    session.host.leaves_nothing_behind(&family);
}

/// Row 6.14.
#[test]
fn ctrl_c_lets_items_in_work_use_their_objects_to_the_end() {
    let place = Place::new();
    let out = place.path("out.json");
    let mut session = Session::start("1", &["--share-out", out.to_str().expect("a path")], &["jobs=queue", "go=event"]);
    session.give("set-event go ; put jobs a - ; ?get nothing 0 ; wait-event go - ; join jobs 1500 ; put jobs b -");
    let _ = session.host.child("manager");
    // The signal goes to every process of the group, as from a terminal.
    until("it runs", || (!session.host.workers().is_empty()).then_some(()));
    session.host.signal(Signal::SIGINT);
    let mut came = Vec::new();
    while let Some(line) = session.host.line() {
        came.push(super::ending(&crate::support::record::Record::read(&line)));
    }
    assert_eq!(session.host.code(), 130, "{}", session.host.stderr());
    // If it had begun, it ran to its end.
    if !came.is_empty() {
        assert_eq!(came, ["ok ok not-granted true false ok"]);
        assert_eq!(place.read("out.json"), serde_json::json!({ "jobs": ["a", "b"], "go": true }));
    }
}

#[test]
fn a_signal_while_the_manager_starts_ends_the_run_without_a_word() {
    let place = Place::new();
    // What the objects are filled with takes the manager some time to read.
    let many = place.write("in.json", &format!("{{\"all\": [{}\"x\"]}}", "\"xxxxxxxxxxxxxxxx\",".repeat(200_000)));
    for _ in 0..5 {
        let args = ["--share-in", many.to_str().expect("a path")];
        let mut session = Session::start("1", &args, &["all=list:entries=300000"]);
        let _ = session.host.child("manager");
        session.host.signal(Signal::SIGTERM);
        let code = session.host.code();
        assert_eq!((code, session.host.stderr().as_str()), (143, ""));
    }
}

#[test]
fn a_run_that_is_ended_at_once_says_that_it_has_not_written_what_objects_hold() {
    let place = Place::new();
    let pipe = place.path("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    // It is open, and nobody reads it: what the objects hold does not fit.
    let _reader = std::fs::File::options().read(true).write(true).open(&pipe).expect("open");
    let many = place.write("in.json", &format!("{{\"all\": [{}\"x\"]}}", "\"xxxxxxxxxxxxxxxx\",".repeat(10_000)));
    let args = ["--share-in", many.to_str().expect("a path"), "--share-out", pipe.to_str().expect("a path")];
    let mut session = Session::start("1", &args, &["all=list"]);
    session.ask("name");
    session.host.signal(Signal::SIGTERM);
    assert_eq!(session.host.code(), 143);
    let told = session.host.stderr();
    let said = format!("what the shared objects hold was not written to {}, or not all of it", pipe.display());
    assert_eq!(told.matches(&said).count(), 1, "{told}");
}
