//! A system that lacks a resource for a moment, or for part of the request: the run continues with what there is.

use std::io::Write;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::bombs::nested;
use crate::support::guest::{Task, wat};
use crate::support::host::Host;
use crate::support::pressure::{Descriptors, Memory, Processes};
use crate::support::process::Process;
use crate::support::record::Record;
use crate::support::run::{map, wasmpool};
use crate::support::wat::{COUNT_TO, SPIN_IF_NEGATIVE, SQUARE};
use crate::support::{HANG, binary, until};

/// Duration of the lack, which is what is tested; nothing waits for it.
const OUTAGE: Duration = Duration::from_secs(1);

/// Number of items of a run each of whose workers runs one.
const ITEMS: usize = 60;

/// Starts a run that starts a process for each item, and takes some of its results.
fn starting_processes() -> Host {
    let mut host = map(&wat(COUNT_TO))
        .args(["-j", "2", "-c", "1", "--max-items-per-worker", "1"])
        .input("100000\n".repeat(ITEMS))
        .start();
    (0..5).for_each(|_| assert_eq!(host.line().as_deref(), Some("100000")));
    host
}

/// Checks that all its other results come, and that it reports once what it lacked.
#[track_caller]
fn goes_on(host: &mut Host, lack: &str) {
    for nth in 5..ITEMS {
        assert_eq!(host.line().as_deref(), Some("100000"), "result {nth}; {}", host.said());
    }
    assert_eq!(host.line(), None);
    assert_eq!(host.code(), 0, "{}", host.said());
    let said = host.stderr();
    assert_eq!(said.matches("cannot start").count(), 1, "{said}");
    assert!(said.contains(lack), "{said}");
}

#[test]
fn a_second_without_room_for_a_process_ends_no_run() {
    let Some(group) = Processes::new() else {
        eprintln!("no control group can be made here: left out");
        return;
    };
    let mut host = starting_processes();
    group.take(&host);
    group.allow(Some(1));
    sleep(OUTAGE);
    group.allow(None);
    goes_on(&mut host, "a control group may have 1 processes and threads, and has ");
}

#[test]
fn a_second_without_a_descriptor_ends_no_run() {
    let mut host = starting_processes();
    let descriptors = Descriptors::of(&host.process());
    descriptors.allow(3);
    sleep(OUTAGE);
    descriptors.allow_all();
    goes_on(&mut host, "ulimit -n");
}

#[test]
fn with_room_for_few_workers_a_run_has_few_and_says_so_once() {
    let mut host = map(&wat(SQUARE)).args(["-j", "40", "-c", "1"]).descriptors(40).input("3\n".repeat(2000)).start();
    (0..2000).for_each(|_| assert_eq!(host.line().as_deref(), Some("9"), "{}", host.said()));
    assert_eq!(host.code(), 0);
    let said = host.stderr();
    assert!(said.lines().count() <= 1, "{said}");
}

#[test]
fn a_machine_that_never_has_room_is_told_of_with_its_reason() {
    let Some(group) = Processes::new() else {
        eprintln!("no control group can be made here: left out");
        return;
    };
    let mut host = map(&wat(SPIN_IF_NEGATIVE)).args(["-j", "1", "--timeout", "10m"]).start();
    let mut input = host.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut input, b"-1\n").expect("the host reads");
    let worker = host.busy_worker();
    group.take(&host);
    group.allow(Some(1));
    worker.send(Signal::SIGKILL);
    std::io::Write::write_all(&mut input, b"3\n").expect("the host reads");
    assert_eq!(host.code(), 2);
    let said = host.stderr();
    assert!(said.contains("it is tried again"), "{said}");
    assert!(said.lines().any(|line| line.starts_with("wasmpool: cannot start a worker process: Resource")), "{said}");
    let limit = format!("({})", group.file().display());
    let told = said.matches("a control group may have 1 processes and threads, and has ").count();
    assert_eq!((told, said.matches(&limit).count()), (2, 2), "{said}");
    host.leaves_nothing_behind(&[]);
}

#[test]
fn a_host_whose_parent_ignores_the_end_of_children_loses_one_item_with_each_worker() {
    for limit in ["300ms", "10m"] {
        let mut host = map(&wat(SPIN_IF_NEGATIVE))
            .args(["-j", "1", "-c", "3", "--output-format", "records", "--timeout", limit])
            .ignoring(Signal::SIGCHLD)
            .input("1\n-1\n2\n3\n")
            .start();
        if limit == "10m" {
            host.busy_worker().send(Signal::SIGKILL);
        }
        let kinds: Vec<String> =
            std::iter::from_fn(|| host.line()).map(|l| Record::read(&l).kind().to_owned()).collect();
        let lost = if limit == "10m" { "worker-lost" } else { "timeout" };
        assert_eq!(kinds, ["ok", lost, "ok", "ok"], "{}", host.said());
        assert_eq!(host.code(), 1);
        host.leaves_nothing_behind(&[]);
    }
}

/// `touch(i64) -> i64`: writes to this many pages of 64 KiB, then counts for a while.
const TOUCH: &str = r#"
(module
  (memory 1)
  (func (export "touch") (param $pages i64) (result i64)
    (local $at i64)
    (drop (memory.grow (i32.wrap_i64 (local.get $pages))))
    (memory.fill (i32.const 0) (i32.const 1) (i32.mul (i32.wrap_i64 (local.get $pages)) (i32.const 65536)))
    (loop $l
      (local.set $at (i64.add (local.get $at) (i64.const 1)))
      (br_if $l (i64.lt_u (local.get $at) (i64.const 50000000))))
    (local.get $pages)))"#;

#[test]
fn the_memory_killer_takes_workers_and_never_their_host() {
    let Some(group) = Memory::new() else {
        eprintln!("no control group can be made here: left out");
        return;
    };
    // 60 MiB in each of four workers.
    let mut host =
        map(&wat(TOUCH)).args(["-j", "4", "-c", "1", "--output-format", "records"]).input("960\n".repeat(120)).start();
    assert_eq!(Record::read(&host.line().expect("a record")).kind(), "ok");
    group.take(&host);
    group.allow(Some(100 << 20));
    until("the killer has struck", || (group.kills() >= 3).then_some(()));
    group.allow(None);
    let mut kinds: Vec<String> = Vec::new();
    for index in 1..120 {
        let record = Record::read(&host.line().unwrap_or_else(|| panic!("a record: {}", host.said())));
        assert_eq!(record.index(), index);
        kinds.push(record.kind().to_owned());
    }
    assert_eq!(host.line(), None);
    let lost = kinds.iter().filter(|kind| *kind == "worker-lost").count();
    assert!(kinds.iter().all(|kind| kind == "ok" || kind == "worker-lost"), "{kinds:?}");
    assert!(lost as u64 <= group.kills(), "{lost} items lost");
    assert_eq!(host.code(), i32::from(lost > 0));
    host.leaves_nothing_behind(&[]);
}

fn oom_score(process: &Process) -> i32 {
    let text = String::from_utf8(process.read("oom_score_adj")).expect("text");
    text.trim().parse().expect("a number")
}

#[test]
fn workers_are_the_first_that_the_memory_killer_takes() {
    let mut host = map(&wat(SPIN_IF_NEGATIVE)).args(["-j", "1", "--timeout", "10m"]).start();
    std::io::Write::write_all(host.stdin.as_mut().expect("a pipe"), b"-1\n").expect("the host reads");
    assert_eq!(oom_score(&host.busy_worker()), 1000);
    let own = Process::living(std::process::id().cast_signed()).expect("this process");
    assert_eq!(oom_score(&host.process()), oom_score(&own));
}

/// Returns a task that compiles for a while: nested loops, each of which adds one.
fn slow_to_compile() -> Task {
    nested(b"\x03\x40\x20\x00\x42\x01\x7c\x21\x00\x20\x00\x50\x0d\x00", b"\x0b", 25_000)
}

#[test]
fn a_compile_process_goes_before_its_host_too() {
    let host = map(&slow_to_compile()).env("WASMPOOL_CACHE_DIR", "").start();
    let compiler = host.child("compile");
    until("the compile process has said so", || (oom_score(&compiler) == 1000).then_some(()));
}

#[test]
fn a_worker_that_is_stopped_before_it_is_ready_is_replaced() {
    // Workers are started while the task is compiled.
    let mut host =
        map(&slow_to_compile()).args(["-j", "1"]).env("WASMPOOL_CACHE_DIR", "").input("3\n3\n").limit(HANG * 2).start();
    let stopped = host.child("worker");
    stopped.send(Signal::SIGSTOP);
    for _ in 0..2 {
        assert_eq!(host.line().as_deref(), Some("25003"), "{}", host.said());
    }
    assert_eq!(host.code(), 0);
    assert!(!stopped.lives());
}

/// Starts a run of a task that compiles for a while, which has reported nothing yet.
fn compiling(input: &str) -> Host {
    map(&slow_to_compile()).args(["-j", "1"]).env("WASMPOOL_CACHE_DIR", "").input(input).limit(HANG * 2).start()
}

#[test]
fn a_compile_process_that_is_killed_once_is_started_again() {
    let mut host = compiling("3\n");
    host.child("compile").send(Signal::SIGKILL);
    assert_eq!(host.line().as_deref(), Some("25003"), "{}", host.said());
    assert_eq!(host.code(), 0);
}

#[test]
fn a_compile_process_that_is_killed_each_time_ends_the_run_with_the_reason() {
    let mut host = compiling("3\n");
    let mut killed: Vec<i32> = Vec::new();
    for _ in 0..3 {
        let next =
            until("another compile process", || Some(host.child("compile")).filter(|p| !killed.contains(&p.pid)));
        next.send(Signal::SIGKILL);
        killed.push(next.pid);
    }
    assert_eq!(host.code(), 2);
    let said = host.stderr();
    assert!(said.contains("it is tried again"), "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains("compiling it was ended by the system") && last.contains("memory"), "{said}");
    host.leaves_nothing_behind(&[]);
}

#[test]
fn a_second_without_room_for_the_threads_of_a_compile_process_ends_no_run() {
    let Some(group) = Processes::new() else {
        eprintln!("no control group can be made here: left out");
        return;
    };
    // It waits for its task, and needs no other process than one that compiles.
    let mut host = wasmpool().args(["inspect", "-"]).env("WASMPOOL_CACHE_DIR", "").limit(HANG * 2).start();
    group.take(&host);
    let threads = std::fs::read_dir(format!("/proc/{}/task", host.pid())).expect("it runs").count();
    group.allow(Some(threads as u64 + 1));
    let mut stdin = host.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut stdin, SQUARE.as_bytes()).expect("it reads its task");
    drop(stdin);
    sleep(OUTAGE);
    group.allow(None);
    let shown: Vec<String> = std::iter::from_fn(|| host.line()).collect();
    assert!(shown.iter().any(|line| line.contains("square: func")), "{}", host.said());
    assert_eq!(host.code(), 0);
}

#[test]
fn a_second_without_a_descriptor_for_what_is_granted_ends_no_run() {
    let folder = tempfile::TempDir::new().expect("a temporary directory");
    let granted = format!("--dir={}::/in", folder.path().display());
    let mut host = wasmpool().args(["call", &granted, "-", "square", "3"]).start();
    let process = host.process();
    until("it reads its task", || {
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", process.pid)).expect("it runs");
        let mut paths = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        paths.any(|path| path.to_string_lossy().contains("wasmpool-task")).then_some(())
    });
    let descriptors = Descriptors::of(&process);
    descriptors.allow(3);
    let mut stdin = host.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut stdin, SQUARE.as_bytes()).expect("it reads its task");
    drop(stdin);
    sleep(OUTAGE);
    descriptors.allow_all();
    assert_eq!(host.line().as_deref(), Some("9"), "{}", host.said());
    assert_eq!(host.code(), 0, "{}", host.said());
}

/// What `doctor` says when its own process gets a signal before it has answered, and that process.
fn doctor_whose_process_gets(signal: Signal) -> (String, Process) {
    loop {
        let mut host = wasmpool().arg("doctor").limit(HANG * 2).start();
        let line = b"wasmpool-child\0doctor\0";
        let cmdline = |process: &Process| std::fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
        let is_it = |process: &Process| cmdline(process).starts_with(line);
        // Without a pause between two looks: the process lives for a few milliseconds.
        let found = loop {
            match host.direct_children().into_iter().find(is_it) {
                None if host.has_ended() => break None,
                None => {}
                found => break found,
            }
        };
        let Some(process) = found else {
            continue;
        };
        process.send(signal);
        // Else it had answered before.
        if host.code() != 0 {
            assert!(!process.lives());
            return (host.stderr(), process);
        }
    }
}

#[test]
fn doctor_says_what_its_own_process_hangs_in() {
    let (said, stopped) = doctor_whose_process_gets(Signal::SIGSTOP);
    assert!(said.contains(&format!("process {}", stopped.pid)) && said.contains("stopped by a signal"), "{said}");
    assert!(!said.contains("`wasmpool doctor`"), "{said}");
}

#[test]
fn doctor_says_that_its_own_process_was_ended_by_somebody_else() {
    for (signal, name) in [(Signal::SIGKILL, "SIGKILL"), (Signal::SIGHUP, "SIGHUP"), (Signal::SIGTERM, "SIGTERM")] {
        let (said, ended) = doctor_whose_process_gets(signal);
        for part in [&format!("process {}", ended.pid), "was ended by somebody else", name] {
            assert!(said.contains(part), "{said}");
        }
        for part in ["SIGCHLD", "`wasmpool doctor`", "cannot be had here"] {
            assert!(!said.contains(part), "{said}");
        }
    }
    // What it may have done itself is not blamed on others.
    let (said, _) = doctor_whose_process_gets(Signal::SIGSYS);
    assert!(said.contains("did not live to say") && said.contains("SIGSYS"), "{said}");
}

#[test]
fn doctor_tells_of_a_control_group_with_little_room_for_processes() {
    let Some(group) = Processes::new() else {
        eprintln!("no control group can be made here: left out");
        return;
    };
    // Whoever starts it is in the group, as in a container.
    group.allow(Some(100));
    let enter = group.file().with_file_name("cgroup.procs");
    let script = format!("echo $$ > {}; exec {} doctor", enter.display(), binary().display());
    let output = std::process::Command::new("sh").arg("-c").arg(script).output().expect("there is a shell");
    let table = String::from_utf8_lossy(&output.stdout);
    let narrow = table.lines().find(|line| line.starts_with("narrow: a control group may have 100 processes"));
    assert!(narrow.is_some_and(|line| line.contains(&group.file().display().to_string())), "{table}");
}

#[test]
fn no_more_workers_are_started_than_there_is_work_for() {
    let mut host = map(&wat(SQUARE)).args(["-j", "600"]).start();
    let mut input = host.stdin.take().expect("a pipe");
    input.write_all(b"1\n2\n3\n").expect("it reads");
    for square in ["1", "4", "9"] {
        assert_eq!(host.line().as_deref(), Some(square));
    }
    let most = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).max(3);
    assert!(host.workers().len() <= most, "{} workers", host.workers().len());
    host.signal(Signal::SIGINT);
    assert_eq!(host.code(), 130);
    let output = map(&wat(SQUARE)).args(["-j", "100000"]).input("1\n").run().exits(2);
    assert!(output.stderr.contains("it has to be a number from 1 to 4096"), "{}", output.stderr);
}

#[test]
fn a_signal_is_taken_between_the_starts_of_workers() {
    let items = "-1\n".repeat(600);
    let mut host = map(&wat(SPIN_IF_NEGATIVE)).args(["-j", "600", "-c", "1", "--timeout", "10m"]).input(items).start();
    until("some workers are started", || (host.workers().len() > 4).then_some(()));
    host.signal(Signal::SIGTERM);
    let mut most = 0;
    while !host.has_ended() {
        most = most.max(host.workers().len());
    }
    assert!(most < 300, "{most} workers were started after the signal");
    assert_eq!(host.code(), 143);
}
