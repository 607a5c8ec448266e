//! However a run ends, nothing of it remains: no process, no shared memory, no file.

use std::collections::BTreeSet;
use std::ffi::OsString;

use nix::sys::signal::Signal;

use crate::support::alone::alone;
use crate::support::guest::wat;
use crate::support::host::Host;
use crate::support::process::{Process, adopt_orphans, descendants};
use crate::support::run::{map, wasmpool};
use crate::support::until;
use crate::support::wat::{SPIN_IF_NEGATIVE, SQUARE};

/// Returns the names in the folder of shared memory.
fn shared_memory() -> BTreeSet<OsString> {
    std::fs::read_dir("/dev/shm")
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect())
        .unwrap_or_default()
}

/// Starts a host, runs `end` on it, and checks that everything is as it was before.
#[track_caller]
fn leaves_nothing(start: impl FnOnce() -> Host, end: impl FnOnce(&mut Host)) {
    alone();
    adopt_orphans();
    let before = shared_memory();
    let mut host = start();
    let mut family = host.descendants();
    end(&mut host);
    family.extend(host.descendants());
    host.wait();
    host.leaves_nothing_behind(&family);
    let tests = i32::try_from(std::process::id()).expect("a process number");
    until("no orphan is left", || descendants(tests).is_empty().then_some(()));
    let new: Vec<_> = shared_memory().difference(&before).cloned().collect();
    assert!(new.is_empty(), "left in /dev/shm: {new:?}");
}

/// Starts a run with three workers, each in the middle of an endless item.
fn busy() -> Host {
    let task = wat(SPIN_IF_NEGATIVE);
    let mut host = map(&task).args(["-j", "3", "-c", "1", "--timeout", "10m"]).start();
    let input = host.stdin.as_mut().expect("a pipe");
    std::io::Write::write_all(input, b"-1\n-1\n-1\n").expect("the host reads");
    until("three workers that compute", || {
        let busy = |worker: &Process| worker.ticks() >= 2;
        (host.workers().iter().filter(|worker| busy(worker)).count() == 3).then_some(())
    });
    host
}

fn finite() -> Host {
    let task = wat(SPIN_IF_NEGATIVE);
    let input = "1\n-1\nx\n".repeat(10);

    map(&task).args(["-j", "3", "-c", "2", "--timeout", "50ms"]).input(input).start()
}

#[test]
fn a_run_that_ends_leaves_nothing() {
    leaves_nothing(finite, |host| while host.line().is_some() {});
}

#[test]
fn ctrl_c_leaves_nothing() {
    let quiet = || {
        let task = wat(SQUARE);
        let mut host = map(&task).args(["-j", "3"]).start();
        let input = host.stdin.as_mut().expect("a pipe");
        std::io::Write::write_all(input, b"3\n").expect("the host reads");
        assert_eq!(host.line().as_deref(), Some("9"));
        host
    };
    leaves_nothing(quiet, |host| host.signal(Signal::SIGINT));
}

#[test]
fn ctrl_c_twice_leaves_nothing() {
    leaves_nothing(busy, |host| {
        // Two pending signals are one, so this waits until the first was taken.
        let process = host.process();
        until("an end", || {
            process.send(Signal::SIGINT);
            (!process.lives()).then_some(())
        });
    });
}

#[test]
fn a_polite_kill_leaves_nothing() {
    leaves_nothing(busy, |host| host.signal(Signal::SIGTERM));
}

#[test]
fn a_hard_kill_of_the_host_leaves_nothing() {
    leaves_nothing(busy, |host| host.signal(Signal::SIGKILL));
}

#[test]
fn a_hard_kill_leaves_nothing_even_of_a_stopped_worker() {
    leaves_nothing(busy, |host| {
        for worker in host.workers() {
            worker.send(Signal::SIGSTOP);
        }
        host.signal(Signal::SIGKILL);
    });
}

#[test]
fn a_host_killed_while_it_starts_leaves_nothing() {
    for delay in 0..30 {
        // A module that no run has seen, so that compiling is among the moments that are hit.
        let start = || {
            let task = wat(format!(
                r#"(module (func (export "f") (param i64) (result i64)
                     (i64.add (local.get 0) (i64.const {}))))"#,
                u64::from(std::process::id()) * 1000 + delay
            ));

            map(&task).args(["-j", "3"]).input("1\n").start()
        };
        leaves_nothing(start, |host| {
            // The moment is given by the number of reads of the process table; none is wrong.
            for _ in 0..delay {
                host.descendants();
            }
            if Process::living(host.pid()).is_some() {
                host.signal(Signal::SIGKILL);
            }
        });
    }
}

#[test]
fn a_closed_output_leaves_nothing() {
    let endless = || {
        let task = wat(SQUARE);

        map(&task)
            .args(["-j", "3"])
            .feed(|pipe| {
                loop {
                    std::io::Write::write_all(pipe, b"3\n")?;
                }
            })
            .start()
    };
    leaves_nothing(endless, |host| {
        assert!(host.line().is_some());
        host.stdout = None;
    });
}

/// The worker of a call is started before it is known whether there is anything to call.
#[test]
fn a_call_that_cannot_be_made_leaves_nothing() {
    let task = wat(SQUARE);
    let path = task.path().to_owned();
    let calls: [(&[&str], i32); 4] = [
        (&["nothing", "1"], 2),
        (&["square", "1", "2"], 2),
        (&["square", "1", "--no-such-option"], 2),
        (&["square"], 2),
    ];
    for (words, code) in calls {
        let wrong = || wasmpool().arg("call").arg(&path).args(words).start();
        leaves_nothing(wrong, |_| {});
        wasmpool().arg("call").arg(&path).args(words).run().exits(code);
    }
}

#[test]
fn wrong_use_leaves_nothing() {
    let wrong = || {
        let task = wat(SQUARE);

        map(&task).args(["-f", "nothing"]).start()
    };
    leaves_nothing(wrong, |_| {});
}
