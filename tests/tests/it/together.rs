//! All child processes of a run share one bound of memory, by a cgroup, where this machine lets the program make one.

use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::support::bombs::nested;
use crate::support::guest::{Task, wat};
use crate::support::host::Host;
use crate::support::pressure::Memory;
use crate::support::process::Process;
use crate::support::run::{map, wasmpool};
use crate::support::until;
use crate::support::wat::{COUNT_TO, SPIN_IF_NEGATIVE, SQUARE};

/// Returns true if a run gets a cgroup on this machine; otherwise prints the reason that the program gives.
fn is_given() -> bool {
    let doctor = wasmpool().arg("doctor").run();
    let line = doctor.text().lines().find(|line| line.contains("cgroup that wasmpool makes")).map(str::to_owned);
    let line = line.unwrap_or_else(|| panic!("doctor says nothing of it: {}", doctor.stderr));
    if !line.contains(": yes") {
        eprintln!("left out: {line}");
    }
    line.contains(": yes")
}

/// Returns the path of the cgroup that a run with `-v` reports.
fn folder(host: &Host) -> PathBuf {
    let line = until("the run says it", || {
        let said = host.said();
        said.split_inclusive('\n').find(|line| line.contains(" together: ") && line.ends_with('\n')).map(str::to_owned)
    });
    PathBuf::from(line.split(" together: ").nth(1).expect("a path").trim_end())
}

fn is_in(process: &Process, folder: &Path) -> bool {
    let name = folder.file_name().and_then(|name| name.to_str()).expect("a name");
    String::from_utf8(process.read("cgroup")).expect("text").lines().any(|line| line.ends_with(name))
}

/// Returns the limit of memory in bytes of all processes in a cgroup.
fn limit(folder: &Path) -> u64 {
    let text = |file| std::fs::read_to_string(folder.join(file));
    let limit = text("memory.max").or_else(|_| text("memory.limit_in_bytes")).expect("a limit");
    limit.trim().parse().unwrap_or(u64::MAX)
}

/// Starts a run whose worker is running an item that never ends.
fn busy(workers: &str, more: &[&str]) -> (Host, Process) {
    let task = wat(SPIN_IF_NEGATIVE);
    let mut host = map(&task).args(["-v", "-j", workers, "-c", "1", "--timeout", "10m"]).args(more).start();
    std::io::Write::write_all(host.stdin.as_mut().expect("a pipe"), b"-1\n").expect("the host reads");
    let worker = host.busy_worker();
    (host, worker)
}

#[test]
fn workers_are_in_a_cgroup_of_their_own_and_their_host_is_not() {
    if !is_given() {
        return;
    }
    let (host, worker) = busy("2", &[]);
    let folder = folder(&host);
    assert!(is_in(&worker, &folder));
    assert!(!is_in(&host.process(), &folder));
    let threads = std::fs::read_dir(format!("/proc/{}/task", host.pid())).expect("it runs");
    for thread in threads.filter_map(Result::ok) {
        let text = std::fs::read_to_string(thread.path().join("cgroup")).expect("it runs");
        assert!(!text.contains("wasmpool-"), "a thread of the host stayed there: {text}");
    }
}

/// Returns a task that takes long to compile.
fn slow() -> Task {
    nested(b"\x03\x40\x20\x00\x42\x01\x7c\x21\x00\x20\x00\x50\x0d\x00", b"\x0b", 25_000)
}

#[test]
fn the_compile_process_is_in_it_too() {
    if !is_given() {
        return;
    }
    let host = map(&slow()).arg("-v").env("WASMPOOL_CACHE_DIR", "").start();
    let folder = folder(&host);
    assert!(is_in(&host.child("compile"), &folder));
}

#[test]
fn its_limit_is_what_all_may_take_and_grows_with_what_each_may() {
    if !is_given() {
        return;
    }
    let of = |workers, more: &[&str]| limit(&folder(&busy(workers, more).0));
    let (one, three) = (of("1", &[]), of("3", &[]));
    let each = (three - one) / 2;
    // Room for the instance, for the largest result while it is made, and for the engine.
    assert!(each > (256 << 20) + 64 * (16 << 20) + (1 << 30), "{each}");
    assert!(of("1", &["--memory", "1GiB"]) >= one + (768 << 20));
    assert!(of("1", &["--scratch", "/s"]) >= one + (256 << 20));
}

#[test]
fn workers_that_are_started_later_are_in_it() {
    if !is_given() {
        return;
    }
    let (host, first) = busy("1", &["--retries", "1", "--retry-on", "worker-lost"]);
    let folder = folder(&host);
    first.send(Signal::SIGKILL);
    let second = until("another worker", || host.workers().into_iter().find(|worker| worker.pid != first.pid));
    assert!(is_in(&second, &folder));
}

#[test]
fn a_host_that_somebody_puts_elsewhere_has_its_new_workers_there() {
    let Some(group) = Memory::new().filter(|_| is_given()) else {
        eprintln!("no control group can be made here: left out");
        return;
    };
    let (host, first) = busy("1", &["--retries", "1", "--retry-on", "worker-lost"]);
    let folder = folder(&host);
    group.take(&host);
    first.send(Signal::SIGKILL);
    let second = until("another worker", || host.workers().into_iter().find(|worker| worker.pid != first.pid));
    assert!(!is_in(&second, &folder));
}

#[test]
fn a_run_leaves_no_cgroup_however_it_ends() {
    if !is_given() {
        return;
    }
    let gone = |folder: &Path| assert!(!folder.exists(), "left behind: {}", folder.display());
    let mut host = map(&wat(COUNT_TO)).arg("-v").input("3\n4\nx\n".repeat(50)).start();
    while host.line().is_some() {}
    assert_eq!(host.code(), 1);
    gone(&folder(&host));
    let mut refused = map(&wat("(module)")).arg("-v").input("3\n").start();
    assert_eq!(refused.code(), 2);
    gone(&folder(&refused));
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (mut host, _) = busy("2", &[]);
        let process = host.process();
        // Two that are pending at once are one, so: until it has gone.
        until("an end", || {
            process.send(signal);
            (!process.lives()).then_some(())
        });
        host.wait();
        gone(&folder(&host));
    }
}

#[test]
fn a_run_that_cannot_write_its_last_words_leaves_no_cgroup_either() {
    if !is_given() {
        return;
    }
    let endless = |pipe: &mut std::process::ChildStdin| {
        loop {
            std::io::Write::write_all(pipe, &b"3\n".repeat(1000))?;
        }
    };
    let mut host = map(&wat(SQUARE)).args(["-v", "-j", "2"]).feed(endless).start();
    let folder = folder(&host);
    let pipe = host.stdout.as_ref().expect("a pipe").get_ref().as_raw_fd();
    let (mut before, mut still) = (0, 0);
    until("nothing more fits into the pipe", || {
        let mut held: libc::c_int = 0;
        // SAFETY: only writes a number, to a place that outlives the call.
        unsafe { libc::ioctl(pipe, libc::FIONREAD, &raw mut held) };
        still = if held > 0 && held == before { still + 1 } else { 0 };
        before = held;
        (still >= 50).then_some(())
    });
    host.signal(Signal::SIGTERM);
    assert_eq!(host.code(), 128 + Signal::SIGTERM as i32, "{}", host.said());
    assert!(!folder.exists(), "left behind: {}", folder.display());
}

#[test]
fn a_run_that_is_left_at_once_leaves_no_cgroup_either() {
    if !is_given() {
        return;
    }
    // Nobody ever writes the second task, and its reader is not waited for.
    let pipe = tempfile::TempDir::new().expect("a temporary directory");
    let path = pipe.path().join("task.wasm");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    let first = wat(SQUARE);
    let named = [format!("one={}", first.path().display()), format!("two={}", path.display())];
    let host = &mut wasmpool().args(["map", "-v", "--task", &named[0], "--task", &named[1]]).start();
    let folder = folder(host);
    until("a worker that waits for its task", || {
        host.workers().iter().any(|worker| is_in(worker, &folder)).then_some(())
    });
    // It says how it had the first task, and then reads the second.
    until("the first task is prepared", || (host.said().lines().count() >= 2).then_some(()));
    host.signal(Signal::SIGINT);
    assert_eq!(host.code(), 128 + Signal::SIGINT as i32, "{}", host.said());
    assert!(!folder.exists(), "left behind: {}", folder.display());
}

#[test]
fn a_command_that_compiles_and_is_interrupted_leaves_no_cgroup_either() {
    if !is_given() {
        return;
    }
    let slow = slow();
    for (command, signal) in [
        ("inspect", Signal::SIGINT),
        ("compile", Signal::SIGTERM),
        ("inspect", Signal::SIGTERM),
        ("compile", Signal::SIGINT),
    ] {
        let cache = tempfile::TempDir::new().expect("a temporary directory");
        let host = &mut wasmpool().args([command, "-v"]).task(&slow).env("WASMPOOL_CACHE_DIR", cache.path()).start();
        let folder = folder(host);
        assert!(is_in(&host.child("compile"), &folder));
        host.signal(signal);
        assert_eq!(host.code(), 128 + signal as i32, "{command}: {}", host.said());
        assert!(!folder.exists(), "{command} left behind: {}", folder.display());
    }
}

#[test]
fn what_a_killed_host_left_is_removed_by_the_next() {
    if !is_given() {
        return;
    }
    let (mut host, _) = busy("2", &[]);
    let left = folder(&host);
    let family = host.descendants();
    host.signal(Signal::SIGKILL);
    host.wait();
    host.leaves_nothing_behind(&family);
    let next = map(&wat(SQUARE)).input("3\n").run();
    assert_eq!(next.text(), "9\n");
    assert!(!left.exists(), "left behind: {}", left.display());
}
