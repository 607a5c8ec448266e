//! `--via`: a run over many hosts is what the same run on one machine is, whatever becomes of hosts and of the broker.
//!
//! Each test starts a NATS server and hosts of its own, as processes. Without a server it is left out.

mod access;
mod first_connection;
mod lies;
mod names;
mod news;
mod objects;
mod servers;

use std::fs;
use std::io::Write;
use std::process::ChildStdin;

use nix::sys::signal::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::support::broker::Broker;
use crate::support::guest::{Task, wat};
use crate::support::host::Host;
use crate::support::nats::Heard;
use crate::support::run::{Output, Run, map, wasmpool};
use crate::support::until;
use crate::support::wat::{COUNT_TO, SPIN_IF_NEGATIVE, SQUARE, echo_bytes};

/// `go(i64) -> i64`: multiples of seven trap, others are doubled.
const SEVENTH_TRAPS: &str = r#"
(module
  (func (export "go") (param i64) (result i64)
    (if (i64.eqz (i64.rem_s (local.get 0) (i64.const 7))) (then unreachable))
    (i64.mul (local.get 0) (i64.const 2))))"#;

/// A command that writes its argument.
const ARGUMENT: &str = r#"
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $sizes (i32.const 0) (i32.const 4)))
    (drop (call $args (i32.const 16) (i32.const 256)))
    ;; From the second argument to the end, without the NUL.
    (i32.store (i32.const 8) (i32.load (i32.const 20)))
    (i32.store (i32.const 12)
      (i32.sub (i32.sub (i32.add (i32.const 256) (i32.load (i32.const 4))) (i32.load (i32.const 20))) (i32.const 1)))
    (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 4)))))"#;

fn numbers(count: u32) -> String {
    (0..count).map(|n| format!("{n}\n")).collect()
}

fn via(broker: &Broker, run: Run) -> Run {
    broker.via(run)
}

/// Runs on one machine and over hosts, and checks that both print the same and end alike.
#[track_caller]
fn alike(broker: &Broker, run: impl Fn() -> Run) -> Output {
    let here = run().run();
    let there = via(broker, run()).run();
    assert_eq!(there.code, here.code, "{}", there.stderr);
    assert!(there.bytes == here.bytes, "{} and {} bytes: {}", there.bytes.len(), here.bytes.len(), there.stderr);
    there
}

#[test]
fn a_run_over_hosts_prints_what_a_run_on_one_machine_prints() {
    let Some(broker) = Broker::start() else { return };
    let _hosts = [broker.serve("a"), broker.serve("b")];
    let square = wat(SQUARE);
    alike(&broker, || map(&square).input(numbers(30_000))).exits(0);
    // Two runs at a time, one after the other, and one without items.
    alike(&broker, || map(&square).input("")).exits(0);
    let counting = wat(COUNT_TO);
    let _other = via(&broker, map(&counting)).input("1000000\n".repeat(500)).start();
    alike(&broker, || map(&square).input(numbers(3_000)).args(["-c", "7"])).exits(0);
}

#[test]
fn options_mean_over_hosts_what_they_mean_on_one_machine() {
    let Some(broker) = Broker::start() else { return };
    let _hosts = [broker.serve("a"), broker.serve("b")];
    let (traps, spins) = (wat(SEVENTH_TRAPS), wat(SPIN_IF_NEGATIVE));
    alike(&broker, || map(&traps).input(numbers(1_000))).exits(1);
    // How far a run gets until it is halted depends on timing.
    via(&broker, map(&traps)).input(numbers(1_000)).args(["--halt", "soon"]).run().exits(3);
    let late = |run: Run| {
        let run = run.args(["--timeout", "200ms", "--retries", "1", "--output-format", "records"]);
        let records = run.input("1\n-1\n2\n").run().exits(1).records();
        let attempts = |record: &crate::support::record::Record| record.get("attempts").cloned();
        records.iter().map(|record| (record.kind().to_owned(), attempts(record))).collect::<Vec<_>>()
    };
    assert_eq!(late(via(&broker, map(&spins))), late(map(&spins)));
    // The index of an item is that in the whole input, not in what a host got.
    let command = wat(ARGUMENT);
    let exec = || wasmpool().arg("exec").task(&command).input(numbers(300)).args(["-c", "9"]);
    let out = alike(&broker, || exec().args(["--delimiter", "newline", "--", "{}-{#}"])).exits(0);
    assert_eq!(out.lines().get(299), Some(&"299-299"));
    let deterministic = || map(&traps).input(numbers(500)).args(["--deterministic", "--output-format", "records"]);
    alike(&broker, deterministic).exits(1);
}

#[test]
fn records_name_the_host() {
    let Some(broker) = Broker::start() else { return };
    let _host = broker.serve("host-1");
    let run = via(&broker, map(&wat(SEVENTH_TRAPS))).input("1\n7\n").args(["--output-format", "records"]);
    let out = run.run().exits(1);
    let records = out.records();
    assert_eq!(out.kinds(), ["ok", "trap"]);
    assert!(records.iter().all(|record| record.get("host") == Some(&json!("host-1"))), "{records:?}");
}

#[test]
fn failed_items_are_written_with_their_input_and_can_be_mapped_again() {
    let Some(broker) = Broker::start() else { return };
    let _host = broker.serve("a");
    let folder = TempDir::new().unwrap();
    let failed = folder.path().join("failed");
    let traps = wat(SEVENTH_TRAPS);
    via(&broker, map(&traps)).input(numbers(50)).arg("--failed").arg(&failed).run().exits(1);
    let lines = std::fs::read_to_string(&failed).unwrap();
    assert!(lines.lines().nth(1).is_some_and(|line| line.contains("\"source\":\"-:8\"")), "{lines}");
    let again = || via(&broker, map(&wat(SQUARE))).arg(&failed);
    let expected: Vec<String> = (0..50).step_by(7).map(|n| (n * n).to_string()).collect();
    assert_eq!(again().run().exits(0).lines(), expected);
    // They keep the index that they had first.
    let records = again().args(["--output-format", "records"]).run().exits(0).records();
    assert_eq!(records.iter().map(|record| record.index()).collect::<Vec<_>>(), (0..50).step_by(7).collect::<Vec<_>>());
}

#[test]
fn items_and_results_of_any_size_arrive_whole() {
    let Some(broker) = Broker::start() else { return };
    let _hosts = [broker.serve("a"), broker.serve("b")];
    let echo = wat(echo_bytes());
    let sizes = [0, 1, 500_000, 524_287, 524_288, 600_000, 1_048_576, 3_000_000, 7, 5_000_000];
    let line = |(at, size): (usize, &usize)| {
        let letters: String = (0..*size).map(|n| char::from(b'a' + ((n * 31 + at) % 26) as u8)).collect();
        letters + "\n"
    };
    let input: String = sizes.iter().enumerate().map(line).collect();
    for chunk in ["auto", "10"] {
        let run = || map(&echo).args(["--input-format", "lines", "--output-format", "raw", "-c", chunk]);
        let out = alike(&broker, || run().input(input.clone())).exits(0);
        assert!(out.bytes == input.as_bytes());
    }
}

/// Starts a run of so many items that it takes some seconds, whose output goes to a file.
fn long_run(broker: &Broker, items: u32, folder: &TempDir, more: &[&str]) -> Host {
    let input = folder.path().join("input");
    fs::write(&input, "1000000\n".repeat(items as usize)).unwrap();
    let run = via(broker, map(&wat(COUNT_TO))).arg(&input).arg("-o").arg(folder.path().join("out")).args(more);
    run.start()
}

/// Starts a run whose input stays open, and which has had the result of its first item.
#[track_caller]
fn open_run(broker: &Broker) -> (Host, ChildStdin) {
    let mut run = broker.via(map(&wat(SQUARE))).start();
    let mut input = run.stdin.take().expect("a pipe");
    input.write_all(b"3\n").unwrap();
    assert_eq!(run.line().as_deref(), Some("9"));
    (run, input)
}

/// Checks that such a run takes another item, and ends well.
#[track_caller]
fn goes_on_and_ends(run: &mut Host, mut input: ChildStdin) {
    input.write_all(b"4\n").unwrap();
    drop(input);
    assert_eq!(run.line().as_deref(), Some("16"));
    assert_eq!(run.code(), 0, "{}", run.said());
}

fn done(folder: &TempDir) -> usize {
    fs::read(folder.path().join("out")).map_or(0, |out| out.iter().filter(|&&byte| byte == b'\n').count())
}

#[track_caller]
fn is_complete(folder: &TempDir, items: u32) {
    let out = fs::read_to_string(folder.path().join("out")).unwrap();
    assert_eq!(out, "1000000\n".repeat(items as usize));
}

#[test]
fn no_item_is_lost_or_doubled_when_hosts_are_killed() {
    let Some(broker) = Broker::start() else { return };
    let mut hosts: Vec<Host> = (0..3).map(|n| broker.serve(&format!("h{n}"))).collect();
    let folder = TempDir::new().unwrap();
    let items = 4_000;
    let mut run = long_run(&broker, items, &folder, &["-c", "20"]);
    for kill in 0..6 {
        let before = done(&folder);
        until("the run goes on", || (done(&folder) > before + 100 || run.has_ended()).then_some(()));
        let victim = kill % hosts.len();
        hosts[victim].signal(Signal::SIGKILL);
        hosts[victim].wait();
        hosts[victim] = broker.serve(&format!("h{victim}"));
    }
    let (code, said) = (run.code(), run.stderr());
    assert_eq!(code, 0, "{said}");
    is_complete(&folder, items);
}

#[test]
fn no_item_is_lost_or_doubled_when_the_broker_loses_everything() {
    let Some(mut broker) = Broker::start() else { return };
    let _hosts = [broker.serve("a"), broker.serve("b")];
    let folder = TempDir::new().unwrap();
    let items = 3_000;
    let mut run = long_run(&broker, items, &folder, &["-c", "20"]);
    for _ in 0..2 {
        let before = done(&folder);
        until("the run goes on", || (done(&folder) > before + 100 || run.has_ended()).then_some(()));
        broker.kill();
        broker.start_again();
    }
    let (code, said) = (run.code(), run.stderr());
    assert_eq!(code, 0, "{said}");
    is_complete(&folder, items);
}

#[test]
fn a_run_whose_coordinator_was_killed_is_resumed() {
    let Some(broker) = Broker::start() else { return };
    let _hosts = [broker.serve("a"), broker.serve("b")];
    let folder = TempDir::new().unwrap();
    let journal = folder.path().join("journal").display().to_string();
    let (items, more) = (3_000, ["--journal", &journal, "--resume", "-c", "10"]);
    for _ in 0..3 {
        let before = done(&folder);
        let mut run = long_run(&broker, items, &folder, &more);
        until("the run goes on", || (done(&folder) > before + 50 || run.has_ended()).then_some(()));
        run.signal(Signal::SIGKILL);
        run.wait();
    }
    let mut run = long_run(&broker, items, &folder, &more);
    assert_eq!(run.code(), 0, "{}", run.stderr());
    is_complete(&folder, items);
    // Nothing is left of the runs that were killed.
    until("the streams are deleted", || (!broker.has_streams()).then_some(()));
}

#[test]
fn a_run_is_not_resumed_while_another_process_goes_on_with_it() {
    let Some(broker) = Broker::start() else { return };
    let host = broker.serve("a");
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let mut run = long_run(&broker, 8_000, &folder, &["--journal", &path("journal"), "-c", "5"]);
    until("something is recorded", || (fs::metadata(path("journal")).is_ok_and(|it| it.len() > 0)).then_some(()));
    // However long the second takes to start, the first is not at its end by then.
    host.signal(Signal::SIGSTOP);
    // The journal's lock is of no use where another machine has a copy of it.
    fs::copy(path("journal"), path("journal-2")).unwrap();
    fs::copy(path("out"), path("out-2")).unwrap();
    let second = via(&broker, map(&wat(COUNT_TO))).arg(path("input")).args(["-o", &path("out-2"), "-c", "5"]);
    let said = second.args(["--journal", &path("journal-2"), "--resume"]).run().exits(2).stderr;
    assert!(said.contains(&format!("process {} on ", run.pid())) && said.contains("goes on with the run"), "{said}");
    host.signal(Signal::SIGCONT);
    assert_eq!(run.code(), 0, "{}", run.stderr());
    is_complete(&folder, 8_000);
}

#[test]
fn a_stream_of_a_run_that_is_over_is_deleted_by_the_next_run() {
    let Some(broker) = Broker::start() else { return };
    let _host = broker.serve("a");
    let name = format!("WP-{}", "7".repeat(32));
    let config = json!({ "name": name, "subjects": [format!("wp.{}.c", "7".repeat(32))], "storage": "memory" });
    let _ = broker.administrator().ask(&format!("$JS.API.STREAM.CREATE.{name}"), config.to_string().as_bytes());
    assert!(broker.has_streams());
    via(&broker, map(&wat(SQUARE))).input("7\n").run().exits(0);
    until("the streams are deleted", || (!broker.has_streams()).then_some(()));
}

#[test]
fn a_chunk_whose_host_stands_still_runs_on_another() {
    let Some(broker) = Broker::start() else { return };
    let (slow, _fast) = (broker.serve("slow"), broker.serve("fast"));
    let run = via(&broker, map(&wat(COUNT_TO))).args(["-c", "1", "--timeout", "600s"]);
    let mut run = run.input("30000000\n".repeat(300)).start();
    // The host itself goes on to tell that it has the chunk.
    let worker = until("it has a worker", || slow.workers().into_iter().next());
    until("the run goes on", || run.line());
    worker.send(Signal::SIGSTOP);
    for _ in 1..300 {
        assert_eq!(run.line().as_deref(), Some("30000000"));
    }
    assert_eq!(run.code(), 0, "{}", run.stderr());
}

#[test]
fn what_two_hosts_have_run_is_taken_if_they_agree() {
    let Some(broker) = Broker::start() else { return };
    let square = wat(SQUARE);
    let checked = || map(&square).args(["--deterministic", "-c", "50"]);
    let expected = checked().input(numbers(5_000)).run().exits(0);
    let _first = broker.serve("a");
    let mut run = via(&broker, checked().args(["--check", "100%"]).input(numbers(5_000))).start();
    until("the run tells that it waits", || run.said().contains("wait for a second host").then_some(()));
    let _second = broker.serve("b");
    let mut lines = 0;
    while let Some(line) = run.line() {
        assert_eq!(line, expected.lines()[lines]);
        lines += 1;
    }
    assert_eq!((lines, run.code()), (5_000, 0));
    let said = map(&square).args(["--check", "5%"]).run().exits(2).stderr;
    assert!(said.contains("--via URL"), "{said}");
    let said = via(&broker, map(&square)).args(["--check", "5%"]).run().exits(2).stderr;
    assert!(said.contains("--deterministic"), "{said}");
}

#[test]
fn results_go_to_files_and_several_tasks_share_an_input_as_on_one_machine() {
    let Some(broker) = Broker::start() else { return };
    let _hosts = [broker.serve("a"), broker.serve("b")];
    let folder = TempDir::new().unwrap();
    let results = |run: Run, name: &str| {
        let directory = folder.path().join(name);
        run.input(numbers(200)).arg("--results").arg(&directory).run().exits(0);
        let read = |n: u32| fs::read_to_string(directory.join(n.to_string())).unwrap();
        (0..200).map(read).collect::<Vec<_>>()
    };
    let (square, command) = (wat(SQUARE), wat(ARGUMENT));
    assert_eq!(results(via(&broker, map(&square)), "there"), results(map(&square), "here"));
    let exec = || wasmpool().arg("exec").task(&command);
    let results_of_command = |run: Run, name: &str| {
        let directory = folder.path().join(name);
        let run = run.input(numbers(50)).arg("--results").arg(&directory).args(["--input-format", "lines"]);
        run.args(["--", "{}-{#}"]).run().exits(0);
        fs::read_to_string(directory.join("49")).unwrap()
    };
    let (there, here) = (results_of_command(via(&broker, exec()), "c"), results_of_command(exec(), "d"));
    assert_eq!(there, here);
    assert_eq!(there, "49-49");
    let traps = wat(SEVENTH_TRAPS);
    let task = |name: &str, task: &Task| format!("--task={name}={}", task.path().display());
    let several = || {
        let run = wasmpool().arg("map").arg(task("square", &square)).arg(task("traps", &traps));
        run.input(numbers(500)).args(["--deterministic"])
    };
    alike(&broker, several).exits(1);
    alike(&broker, || several().input("")).exits(0);
}

/// `read() -> string`: what is in the file `/d/file`.
const READS: &str = r#"
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 100) "file")
  (func (export "_start")
    (if (call $open (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 4) (i32.const 0)
          (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 0))
      (then (call $exit (i32.const 9))))
    (i32.store (i32.const 8) (i32.const 200))
    (i32.store (i32.const 12) (i32.const 100))
    (drop (call $read (i32.load (i32.const 0)) (i32.const 8) (i32.const 1) (i32.const 4)))
    (i32.store (i32.const 12) (i32.load (i32.const 4)))
    (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 4)))))"#;

#[test]
fn a_host_grants_what_its_policy_gives_and_nothing_else() {
    let Some(broker) = Broker::start() else { return };
    let folder = TempDir::new().unwrap();
    let (data, other) = (folder.path().join("data"), folder.path().join("other"));
    [&data, &other].iter().for_each(|directory| fs::create_dir(directory).unwrap());
    fs::write(data.join("file"), "what is in the file").unwrap();
    let policy = folder.path().join("policy.toml");
    fs::write(&policy, "[limits]\nmemory = '8MiB'\n[grants]\ndir = ['data::/any']\n").unwrap();
    let host = broker.host("a").arg("--policy").arg(&policy).start();
    until("a host serves", || host.said().contains(" serves with ").then_some(()));
    let task = wat(READS);
    let exec = |directory: String| {
        let run = via(&broker, wasmpool().arg("exec").task(&task)).args(["--dir", &directory]);
        run.args(["--env", "A=b", "--scratch", "/s"]).input("1\n")
    };
    let out = exec(format!("{}::/d", data.display())).run().exits(0);
    assert_eq!(out.text(), "what is in the file");
    for directory in [format!("{}::/d", other.display()), format!("{}::/d:rw", data.display())] {
        let said = exec(directory).run().exits(2).stderr;
        assert!(said.contains("a: its policy does not give the directory"), "{said}");
    }
    let said = exec("data::/d".to_owned()).run().exits(2).stderr;
    assert!(said.contains("whole path"), "{said}");
    let square = wat(SQUARE);
    let said = via(&broker, map(&square)).args(["--allow-net", "127.0.0.1:9"]).input("1\n").run().exits(2).stderr;
    assert!(said.contains("its policy does not give connections to `127.0.0.1`, port 9"), "{said}");
    // Of limits the smaller holds, unless results would depend on it.
    via(&broker, map(&square)).args(["--memory", "1GiB"]).input("1\n").run().exits(0);
    let said = via(&broker, map(&square)).arg("--deterministic").input("1\n").run().exits(2).stderr;
    assert!(said.contains("its policy allows 8 MiB and the run wants 256 MiB"), "{said}");
    // What a host cannot mean is refused.
    for (grants, says) in
        [("env = ['A=b']", "`env`"), ("scratch = '/s'", "`scratch`"), ("share = ['q=queue']", "`share`")]
    {
        fs::write(&policy, format!("[grants]\n{grants}\n")).unwrap();
        let said = broker.host("b").arg("--policy").arg(&policy).run().exits(2).stderr;
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn a_host_leaves_runs_of_other_protocols_and_engines_alone_and_says_so() {
    let Some(broker) = Broker::start() else { return };
    let _host = broker.serve("a");
    let run = "5".repeat(32);
    let mut coordinator = broker.administrator();
    coordinator.subscribe(&format!("wp.{run}.*.a"));
    coordinator.publish(&format!("wp.{run}.k"), "", br#"{"coordinator":1,"epoch":0,"ended":false}"#);
    let refused = loop {
        let Heard::Message { subject, reply, payload } = coordinator.next() else { continue };
        if !reply.is_empty() {
            let manifest = br#"{"protocol":200,"version":"99.1.0","of-a-later-version":[]}"#;
            let answer = [&(manifest.len() as u64).to_le_bytes()[..], manifest].concat();
            coordinator.publish(&reply, "", &answer);
        } else if subject.contains(".b.") {
            let beat: serde_json::Value = serde_json::from_slice(&payload).unwrap();
            if let Some(refused) = beat.get("refused") {
                break refused.clone();
            }
        }
    };
    assert_eq!(refused["cause"], "version");
    let listed = via(&broker, wasmpool().arg("hosts")).run().exits(0);
    for said in [refused["message"].as_str().unwrap(), listed.lines()[0]] {
        assert!(said.contains("protocol 200 of wasmpool 99.1.0"), "{said}");
    }
    // It serves all others.
    via(&broker, map(&wat(SQUARE))).input("7\n").run().exits(0);
}

#[test]
fn a_host_that_is_told_to_end_finishes_what_it_holds_and_leaves_nothing_behind() {
    let Some(broker) = Broker::start() else { return };
    let mut leaving = broker.serve("leaving");
    let folder = TempDir::new().unwrap();
    let items = 1_000;
    let mut run = long_run(&broker, items, &folder, &["-c", "5"]);
    until("the run goes on", || (done(&folder) > 50).then_some(()));
    let family = leaving.descendants();
    leaving.signal(Signal::SIGTERM);
    let _other = broker.serve("other");
    assert_eq!(leaving.code(), 0);
    leaving.leaves_nothing_behind(&family);
    assert_eq!(run.code(), 0, "{}", run.stderr());
    is_complete(&folder, items);
}

#[test]
fn a_run_that_ends_leaves_hosts_without_processes_and_the_broker_without_a_stream() {
    let Some(broker) = Broker::start() else { return };
    let host = broker.serve("a");
    via(&broker, map(&wat(SQUARE))).input(numbers(100)).run().exits(0);
    until("the workers end", || host.descendants().is_empty().then_some(()));
    assert!(host.said().contains("has ended"), "{}", host.said());
    until("the stream is deleted", || (!broker.has_streams()).then_some(()));
}

#[test]
fn a_run_waits_for_a_host_that_comes_later() {
    let Some(broker) = Broker::start() else { return };
    let mut run = via(&broker, map(&wat(SQUARE))).input("7\n").start();
    until("the run tells that it waits", || run.said().contains("no host serves this run").then_some(()));
    let _host = broker.serve("late");
    assert_eq!(run.line().as_deref(), Some("49"));
    assert_eq!(run.code(), 0);
}

#[test]
fn hosts_are_listed() {
    let Some(broker) = Broker::start() else { return };
    let list = || via(&broker, wasmpool().arg("hosts")).run().exits(0);
    assert!(list().stderr.contains("no host serves"));
    let _hosts = [broker.serve("b"), broker.serve("a")];
    let out = list();
    let names: Vec<&str> = out.lines().iter().map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(
        out.lines()[0].contains(env!("CARGO_PKG_VERSION")) && out.lines()[0].contains("workers 1"),
        "{out:?}",
        out = out.text()
    );
    let json = broker.via(wasmpool().args(["hosts", "--json"])).run().exits(0);
    let [a, b] = &json.values()[..] else { panic!("{}", json.text()) };
    assert_eq!((&a["name"], &b["name"], &a["workers"], &a["runs"]), (&json!("a"), &json!("b"), &json!(1), &json!(0)));
}

#[test]
fn a_task_that_cannot_be_run_is_refused_as_on_one_machine() {
    let Some(broker) = Broker::start() else { return };
    let _host = broker.serve("a");
    let refused = |task: &Task, more: &[&str]| {
        let said = |run: Run| run.args(more).input("1\n").run().exits(2).stderr;
        let (here, there) = (said(map(task)), said(via(&broker, map(task))));
        assert_eq!(there, here);
        assert!(!here.is_empty());
    };
    refused(&wat("(module (func (export \"f\") (param i64)"), &[]);
    refused(&wat(SQUARE), &["-f", "cube"]);
}

#[test]
fn what_is_not_supported_over_hosts_is_refused_and_named() {
    let square = wat(SQUARE);
    let said =
        map(&square).args(["--via", "nats://127.0.0.1:1", "--sandbox", "off"]).input("1\n").run().exits(2).stderr;
    assert!(said.contains("--sandbox cannot be used with --via: each host has a sandbox"), "{said}");
    // Nothing goes over the network in plain text.
    for url in ["nats://192.0.2.1:4222", "nats://me:secret@127.0.0.1", "http://127.0.0.1"] {
        let said = map(&square).args(["--via", url]).run().exits(2).stderr;
        assert!(said.contains("--via"), "{said}");
    }
}

#[test]
fn the_first_ctrl_c_finishes_what_is_out_and_the_second_ends_the_run() {
    let Some(broker) = Broker::start() else { return };
    let _host = broker.serve("a");
    let mut run = via(&broker, map(&wat(SPIN_IF_NEGATIVE))).args(["--timeout", "600s"]).start();
    let mut pipe = run.stdin.take().unwrap();
    pipe.write_all(b"5\n-1\n").unwrap();
    assert_eq!(run.line().as_deref(), Some("10"));
    run.signal(Signal::SIGINT);
    until("the run says what it does", || run.said().contains("finishing what runs").then_some(()));
    assert!(!run.has_ended());
    run.signal(Signal::SIGINT);
    assert_eq!(run.code(), 130);
}
