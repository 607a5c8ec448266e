//! A worker is a process of its own, which has nothing of its host.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use crate::support::guest::wat;
use crate::support::host::Host;
use crate::support::process::Process;
use crate::support::run::{Run, map};
use crate::support::until;
use crate::support::wat::{SPIN_IF_NEGATIVE, SQUARE};

/// Starts a run whose only worker is in the middle of an item.
fn busy(change: impl FnOnce(Run) -> Run) -> (Host, Process) {
    let run = map(&wat(SPIN_IF_NEGATIVE)).args(["-j", "1", "--timeout", "10m"]);
    let mut host = change(run).start();
    let input = host.stdin.as_mut().expect("a pipe");
    writeln!(input, "-1").expect("the host reads");
    let worker = host.busy_worker();
    (host, worker)
}

#[test]
fn workers_are_as_many_processes_as_asked_for() {
    let task = wat(SPIN_IF_NEGATIVE);
    for count in [1, 2, 5] {
        let mut host = map(&task).args(["-j", &count.to_string(), "-c", "1", "--timeout", "10m"]).start();
        let input = host.stdin.as_mut().expect("a pipe");
        input.write_all("-1\n".repeat(count).as_bytes()).expect("the host reads");
        until("each of the workers computes", || {
            let workers = host.workers();
            let busy = workers.iter().filter(|worker| worker.ticks() > 0).count();
            (workers.len() == count && busy == count).then_some(())
        });
    }
}

#[test]
fn a_worker_has_no_environment() {
    let (_host, worker) = busy(|run| run.env("SECRET", "hunter2"));
    assert_eq!(String::from_utf8_lossy(&worker.read("environ")), "");
}

#[test]
fn a_worker_has_no_arguments_that_tell_of_the_run() {
    let (_host, worker) = busy(|run| run);
    let line = String::from_utf8_lossy(&worker.read("cmdline")).into_owned();
    assert!(!line.contains("task.wat"), "{line:?}");
}

#[test]
fn a_worker_works_in_the_root() {
    let (_host, worker) = busy(|run| run);
    assert_eq!(worker.link("cwd"), Path::new("/"));
}

#[test]
fn a_worker_has_no_descriptor_of_its_host() {
    // A descriptor that is left open for children, as careless programs do.
    let secret = tempfile::NamedTempFile::new().expect("a temporary file");
    let leaked = File::open(secret.path()).expect("it is there");
    // SAFETY: the call changes a flag of a descriptor that is ours.
    unsafe { libc::fcntl(leaked.as_raw_fd(), libc::F_SETFD, 0) };
    let (host, worker) = busy(|run| run);

    let hosts = host.process().descriptors();
    assert!(hosts.iter().any(|(_, path)| path == secret.path()), "the host itself has inherited it");
    let own = worker.descriptors();
    assert!(!own.iter().any(|(_, path)| path == secret.path()), "{own:?}");
    let streams: BTreeSet<&PathBuf> = hosts.iter().filter(|(number, _)| *number <= 2).map(|(_, path)| path).collect();
    for (number, path) in &own {
        assert!(
            !streams.contains(path) || path == Path::new("/dev/null"),
            "{number} is a standard stream of the host: {path:?}"
        );
        let text = path.to_string_lossy();
        let anonymous = ["pipe:[", "socket:[", "anon_inode:", "/memfd:", "/dev/null"];
        // The page map of its own memory. The worker's own view of /proc, through which it was opened, is gone.
        let itself = [format!("/proc/{}/pagemap", worker.pid), format!("/{}/pagemap", worker.pid)];
        assert!(
            anonymous.iter().any(|start| text.starts_with(start)) || itself.contains(&text.clone().into_owned()),
            "{number} leads to {text}"
        );
    }
    assert!(own.len() <= 16, "more than it can need: {own:?}");
}

#[test]
fn a_worker_has_no_memory_of_another_workers() {
    // Memory that two workers share with each other would be a lane of both.
    let task = wat(SPIN_IF_NEGATIVE);
    let mut host = map(&task).args(["-j", "2", "-c", "1", "--timeout", "10m"]).start();
    let input = host.stdin.as_mut().expect("a pipe");
    input.write_all(b"-1\n-1\n").expect("the host reads");
    let workers = until("two workers that compute", || {
        let workers = host.workers();
        let busy = workers.len() == 2 && workers.iter().all(|worker| worker.ticks() > 2);
        busy.then_some(workers)
    });
    let [one, other] = [0, 1].map(|index: usize| writable_shared(&workers[index]));
    let both: Vec<_> = one.intersection(&other).collect();
    assert!(both.is_empty(), "writable by both: {both:?}");
}

/// Returns the inodes of what a process has mapped shared and writable.
fn writable_shared(process: &Process) -> BTreeSet<String> {
    String::from_utf8_lossy(&process.read("maps"))
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let shared = fields.next()?.starts_with("rw-s");
            let inode = fields.nth(2)?;
            shared.then(|| inode.to_owned())
        })
        .collect()
}

#[test]
fn a_worker_is_in_a_group_of_its_own() {
    let (host, worker) = busy(|run| run);
    let group = |pid| nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(pid)));
    assert_ne!(group(worker.pid), group(host.pid()));
}

#[test]
fn idle_workers_use_no_processor_time() {
    let task = wat(SQUARE);
    let mut host = map(&task).args(["-j", "2"]).start();
    let input = host.stdin.as_mut().expect("a pipe");
    writeln!(input, "3").expect("the host reads");
    assert_eq!(host.line().as_deref(), Some("9"));
    // All are asleep at once: if one busy-waited, this would never be seen.
    until("host and workers asleep", || {
        let mut processes = host.workers();
        processes.push(host.process());
        let asleep = processes.iter().all(|process| process.state() == Some('S'));
        asleep.then_some(())
    });
}
