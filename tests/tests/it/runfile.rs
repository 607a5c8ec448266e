//! `wasmpool run FILE.toml`: named processes, each with a worker of its own, that share objects and pipes.

use std::os::unix::fs::OpenOptionsExt;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::guest::built;
use crate::support::run::{Output, Run, wasmpool};
use crate::support::wat::{SPIN_IF_NEGATIVE, minus};
use crate::support::{until, workspace};

/// A folder with `run.toml` and what it names.
struct Folder(TempDir);

impl Folder {
    /// `SHARED` in the file is the guest that follows orders to shared objects.
    fn of(file: &str) -> Folder {
        let folder = TempDir::new().expect("a temporary directory");
        let file = file.replace("SHARED", built("shared").path().to_str().expect("a path that is text"));
        std::fs::write(folder.path().join("run.toml"), file).expect("written");
        Folder(folder)
    }

    fn with(self, name: &str, content: impl AsRef<[u8]>) -> Folder {
        std::fs::write(self.0.path().join(name), content).expect("written");
        self
    }

    fn run(&self, args: &[&str]) -> Run {
        wasmpool().arg("run").arg(self.0.path().join("run.toml")).args(args)
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }
}

/// Returns the record of this process.
#[track_caller]
fn record(output: &Output, name: &str, number: u64) -> Value {
    let mut found = output.values().into_iter().filter(|record| record["name"] == name && record["number"] == number);
    let record = found.next().unwrap_or_else(|| panic!("no record of {name} {number}: {}", output.text()));
    assert!(found.next().is_none(), "two records of {name} {number}: {}", output.text());
    assert!(record["elapsed_us"].is_u64() && record["attempts"].is_u64(), "{record}");
    record
}

#[track_caller]
fn refused(file: &str, named: &[&str]) {
    let output = Folder::of(file).with("a.wat", "(module)").run(&["--check"]).run().exits(2);
    assert_eq!(output.text(), "");
    assert!(named.iter().all(|name| output.stderr.contains(name)), "{named:?} are not in:\n{}", output.stderr);
}

/// Returns a command of preview 1 with this body; `take` reads to 1024 and returns the number of bytes, and `put` writes.
fn command(body: &str) -> String {
    format!(
        r#"(module
          (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (memory (export "memory") 2)
          (data (i32.const 512) "0123456789abcdef")
          (data (i32.const 600) "line\n\1b[2J\n")
          (func $take (result i32)
            (i32.store (i32.const 0) (i32.const 1024))
            (i32.store (i32.const 4) (i32.const 65536))
            (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
            (i32.load (i32.const 8)))
          (func $put (param $fd i32) (param $at i32) (param $len i32) (result i32)
            (i32.store (i32.const 0) (local.get $at))
            (i32.store (i32.const 4) (local.get $len))
            (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
          (func (export "_start") {body}))"#
    )
}

/// A command that writes 64 KiB this many times, and exits with 7 once that fails.
fn writes(times: u32) -> String {
    command(&format!(
        "(local $n i32)
         (loop $more
           (if (call $put (i32.const 1) (i32.const 1024) (i32.const 65536)) (then (call $exit (i32.const 7))))
           (local.set $n (i32.add (local.get $n) (i32.const 1)))
           (br_if $more (i32.lt_u (local.get $n) (i32.const {times}))))"
    ))
}

/// A command that reads all of its standard input, and exits with the number of whole 64 KiB in it.
const COUNTS: &str = "(local $n i32) (local $all i32)
     (loop $more
       (local.set $n (call $take))
       (local.set $all (i32.add (local.get $all) (local.get $n)))
       (br_if $more (local.get $n)))
     (call $exit (i32.div_u (local.get $all) (i32.const 65536)))";

#[test]
fn processes_reach_what_they_share_and_each_has_one_record() {
    let folder = Folder::of(
        "[share]\njobs = 'queue:10'\ntotal = 'value:s64'\n\
         [process.maker]\ntask = 'SHARED'\nfunction = 'act'\nargs = ['\"put jobs a - ; put jobs b -\"']\nshare = ['jobs:put']\n\
         [process.worker]\ntask = 'SHARED'\nfunction = 'act'\ncount = 2\nshare = ['jobs:get', 'total']\n\
         args = ['\"get jobs - ; add total s64:1 ; name\"']\n",
    );
    let output = folder.run(&["--share-out", folder.file("out.json").to_str().unwrap()]).run().exits(0);
    assert_eq!(output.values().len(), 3);
    assert_eq!(record(&output, "maker", 0)["value"], "ok ok");
    for number in 0..2 {
        let record = record(&output, "worker", number);
        assert_eq!((&record["status"], &record["attempts"]), (&json!("ok"), &json!(1)));
        let value = record["value"].as_str().expect("a text");
        assert!(value.ends_with(&format!("worker-{number}")), "{value}");
    }
    let told: Value = serde_json::from_slice(&std::fs::read(folder.file("out.json")).unwrap()).unwrap();
    assert_eq!(told, json!({"jobs": [], "total": 2}));
}

#[test]
fn a_process_has_only_the_rights_that_it_was_given() {
    let folder = Folder::of(
        "[share]\njobs = 'queue'\nsecret = 'dict'\n\
         [process.a]\ntask = 'SHARED'\nfunction = 'act'\nshare = ['jobs:put']\n\
         args = ['\"? get jobs 0 ; ? dict-get secret key\"']\n"
            .replace("? ", "?")
            .as_str(),
    );
    let output = folder.run(&[]).run().exits(0);
    assert_eq!(record(&output, "a", 0)["value"], "denied not-granted");
}

#[test]
fn arguments_are_json_by_position_or_name_and_hold_the_number() {
    let folder = Folder::of(
        "[process.a]\ntask = 'minus.wat'\nfunction = 'minus'\nargs = [10, '3']\n\
         [process.b]\ntask = 'minus.wat'\nfunction = 'minus'\ncount = 2\nargs = ['1{#}', 0]\n",
    )
    .with("minus.wat", minus());
    let output = folder.run(&[]).run().exits(0);
    assert_eq!(record(&output, "a", 0)["value"], 7);
    assert_eq!(record(&output, "b", 0)["value"], 10);
    assert_eq!(record(&output, "b", 1)["value"], 11);
}

#[test]
fn the_output_of_a_command_is_the_input_of_another_and_ends_with_it() {
    let folder = Folder::of(
        "[process.from]\ntask = 'from.wat'\ncommand = []\n\
         [process.to]\ntask = 'to.wat'\ncommand = []\nstdin = 'from'\nok-codes = [200]\n",
    )
    .with("from.wat", writes(200))
    .with("to.wat", command(COUNTS));
    // Twelve times as much as the pipe holds.
    let output = folder.run(&[]).run().exits(0);
    for name in ["from", "to"] {
        assert_eq!(record(&output, name, 0)["status"], "ok", "{}", output.stderr);
    }
}

#[test]
fn a_writer_is_told_that_its_reader_has_ended() {
    let folder = Folder::of(
        "[process.from]\ntask = 'from.wat'\ncommand = []\nok-codes = [7]\n\
         [process.to]\ntask = 'to.wat'\ncommand = []\nstdin = 'from'\n",
    )
    .with("from.wat", writes(u32::MAX))
    .with("to.wat", command("(drop (call $take))"));
    let output = folder.run(&[]).run().exits(0);
    assert_eq!(record(&output, "from", 0)["status"], "ok", "{}", output.text());
}

#[test]
fn the_input_of_a_reader_ends_if_its_writer_never_starts() {
    let folder = Folder::of(
        "[process.first]\ntask = 'SHARED'\nfunction = 'act'\nargs = ['\"fail\"']\n\
         [process.from]\ntask = 'from.wat'\ncommand = []\nafter = ['first:ended']\n\
         [process.to]\ntask = 'to.wat'\ncommand = []\nstdin = 'from'\n",
    )
    .with("from.wat", writes(1))
    .with("to.wat", command(COUNTS));
    let output = folder.run(&[]).run().exits(1);
    assert_eq!(record(&output, "to", 0)["status"], "ok", "{}", output.text());
    let from = record(&output, "from", 0);
    assert_eq!((&from["kind"], &from["attempts"]), (&json!("cancelled"), &json!(0)));
    assert!(from["message"].as_str().expect("a text").contains("first"), "{from}");
}

#[test]
fn a_pipe_of_the_file_ends_with_the_process_at_its_other_end() {
    let folder = Folder::of(
        "[share]\nlink = 'pipe'\n\
         [process.to]\ntask = 'SHARED'\nfunction = 'act'\nshare = ['link:first']\nargs = ['\"??recv link - ; ??recv link -\"']\n\
         [process.from]\ntask = 'SHARED'\nfunction = 'act'\nshare = ['link:second']\nargs = ['\"send link word -\"']\n\
         [process.none]\ntask = 'SHARED'\nfunction = 'act'\nshare = ['lost:second']\nargs = ['\"name\"']\n\
         [process.waits]\ntask = 'SHARED'\nfunction = 'act'\nshare = ['lost:first']\nargs = ['\"??recv lost -\"']\n"
            .replace("link = 'pipe'\n", "link = 'pipe'\nlost = 'pipe'\n")
            .as_str(),
    );
    let output = folder.run(&[]).run().exits(0);
    assert_eq!(record(&output, "to", 0)["value"], "word eof=");
    // Its other end was never opened.
    assert_eq!(record(&output, "waits", 0)["value"], "eof=");
}

#[test]
fn what_a_process_prints_has_its_name_in_front_and_cannot_control_a_terminal() {
    let folder = Folder::of("[process.talks]\ntask = 'talks.wat'\ncommand = []\n")
        .with("talks.wat", command("(drop (call $put (i32.const 1) (i32.const 600) (i32.const 10)))"));
    let output = folder.run(&[]).run().exits(0);
    assert_eq!(record(&output, "talks", 0).get("value"), None);
    assert!(output.stderr.contains("talks | line\n"), "{}", output.stderr);
    assert!(output.stderr.contains("talks | \\u{1b}[2J\n"), "{}", output.stderr);
}

#[test]
fn what_a_process_prints_is_shown_while_it_runs() {
    let folder = Folder::of("[process.talks]\ntask = 'talks.wat'\ncommand = []\n").with(
        "talks.wat",
        command("(drop (call $put (i32.const 1) (i32.const 600) (i32.const 5))) (loop $ever (br $ever))"),
    );
    let mut host = folder.run(&[]).start();
    until("the line of a process that goes on", || host.said().contains("talks | line\n").then_some(()));
    host.signal(Signal::SIGTERM);
    assert_eq!(host.code(), 143);
}

#[test]
fn everything_that_a_process_prints_is_shown() {
    let much = "(local $i i32) (loop $again
        (drop (call $put (i32.const 2) (i32.const 600) (i32.const 5)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $i) (i32.const 100000))))
        (drop (call $put (i32.const 2) (i32.const 512) (i32.const 16)))";
    let folder = Folder::of("[process.talks]\ntask = 'talks.wat'\ncommand = []\n").with("talks.wat", command(much));
    let output = folder.run(&[]).run().exits(0);
    assert_eq!(output.stderr.matches("talks | line\n").count(), 100_000);
    assert!(output.stderr.ends_with("talks | 0123456789abcdef\n"), "the last line has no end");
}

#[test]
fn a_command_may_print_more_than_a_value_may_have() {
    let much = "(local $i i32) (loop $again
        (drop (call $put (i32.const 1) (i32.const 600) (i32.const 5)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $i) (i32.const 1000))))";
    let folder = Folder::of(
        "[process.talks]\ntask = 'talks.wat'\ncommand = []\nlimits = { max-output = '1KiB', memory = '1MiB' }\n",
    )
    .with("talks.wat", command(much));
    let output = folder.run(&[]).run().exits(0);
    assert_eq!(record(&output, "talks", 0)["status"], "ok");
    assert_eq!(output.stderr.matches("talks | line\n").count(), 1000);
}

#[test]
fn a_standard_output_that_cannot_be_written_is_found_before_anything_runs() {
    let folder = Folder::of(
        "[share]\njobs = 'queue'\n[process.maker]\ntask = 'SHARED'\nfunction = 'act'\nargs = ['\"put jobs a -\"']\n\
         share = ['jobs']\n",
    )
    .with("out.json", "before");
    let out = folder.file("out.json");
    let args = ["--share-out", out.to_str().unwrap()];
    let output = folder.run(&args).without(1).run().exits(2);
    assert!(output.stderr.contains("standard output is closed"), "{}", output.stderr);
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "before");
    // If it turns out later, what the objects hold is not told either.
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    folder.run(&args).stdout_to(full).run().exits(2);
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "before");
}

#[test]
fn an_interrupt_ends_a_run_at_once_that_waits_for_the_other_end_of_a_file() {
    let folder = Folder::of(
        "[share]\njobs = 'queue'\n[process.a]\ntask = 'SHARED'\nfunction = 'act'\nargs = ['\"name\"']\nshare = ['jobs']\n",
    );
    let pipe = folder.file("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut host = folder.run(&["--share-in", pipe.to_str().unwrap()]).start();
    // It can be opened like that once somebody reads, or waits to read.
    let writer = || std::fs::OpenOptions::new().write(true).custom_flags(nix::libc::O_NONBLOCK).open(&pipe).ok();
    let _writer = until("it waits", writer);
    host.signal(Signal::SIGINT);
    assert_eq!(host.code(), 130);
}

/// Row 1.9.
#[test]
fn the_failure_of_a_process_is_told_with_its_name_and_its_stack() {
    let folder = Folder::of("[process.falls]\ntask = 'falls.wat'\ncommand = []\n")
        .with("falls.wat", command("(drop (call $put (i32.const 2) (i32.const 600) (i32.const 5))) unreachable"));
    let output = folder.run(&[]).run().exits(1);
    let falls = record(&output, "falls", 0);
    assert_eq!((&falls["kind"], falls["trace"].as_array().map(Vec::is_empty)), (&json!("trap"), Some(false)));
    let said = output.stderr.split_once("talks | ").map_or(output.stderr.as_str(), |(_, said)| said);
    let (told, stack) = said.split_once("wasmpool: process falls failed: trap: ").expect(said);
    assert!(told.contains("falls | line\n") && stack.contains("\n    in "), "{said}");
}

#[test]
fn a_file_from_standard_input_names_tasks_of_the_current_directory() {
    let folder = Folder::of("").with("spin.wat", SPIN_IF_NEGATIVE);
    let run = |file: &str| {
        let run = wasmpool().args(["run", "-"]).directory(folder.0.path()).input(file);
        run.run()
    };
    let output = run("[process.a]\ntask = 'spin.wat'\nargs = [1]\n").exits(0);
    assert_eq!(record(&output, "a", 0)["status"], "ok");
    for (file, named) in [
        ("[process.a]\ntask = 1\n", "standard input: line 2, column 8"),
        ("[process.a]\ntask = 'spin.wat'\nshare = ['x']\n", "standard input: "),
    ] {
        let output = run(file).exits(2);
        assert!(output.stderr.contains(named), "{named} is not in:\n{}", output.stderr);
    }
}

#[test]
fn a_setting_is_named_by_its_key_in_the_file() {
    let spin = |limits: &str| {
        Folder::of(&format!("[process.a]\ntask = 'spin.wat'\nargs = [-1]\n[process.a.limits]\n{limits}\n"))
            .with("spin.wat", SPIN_IF_NEGATIVE)
    };
    for (limits, named) in [("timeout = '100ms'", "`timeout` of [limits]"), ("fuel = 1000", "`fuel` of [limits]")] {
        let output = spin(limits).run(&[]).run().exits(1);
        let message = record(&output, "a", 0)["message"].as_str().expect("a message").to_owned();
        assert!(message.contains(named) && !output.stderr.contains("--"), "{message}\n{}", output.stderr);
    }
    let plugin = "wasm = 'spin.wat'\n[limits]\nmemory = '1GiB'\n[grants]\nenv = ['LANG']\nshare = ['jobs=queue:put']\n";
    let folder = Folder::of("[process.a]\ntask = '.'\nargs = [1]\n[process.a.limits]\nmemory = '64MiB'\n")
        .with("spin.wat", SPIN_IF_NEGATIVE)
        .with("plugin.toml", plugin);
    let output = folder.run(&[]).run().exits(0);
    for named in
        ["`memory` of [limits] gives", "`env` of [grants] with `LANG=VALUE`", "`share` of the process with `jobs:put`"]
    {
        assert!(output.stderr.contains(named) && !output.stderr.contains("--"), "{named}: {}", output.stderr);
    }
}

#[test]
fn a_process_that_fails_is_started_again_until_it_succeeds() {
    let folder = Folder::of(
        "[share]\ntries = 'list'\n\
         [process.a]\ntask = 'SHARED'\nfunction = 'act'\nrestart = 'on-failure'\nshare = ['tries']\n\
         args = ['\"push tries x ; list-get tries 2\"']\n\
         [process.b]\ntask = 'SHARED'\nfunction = 'act'\nafter = ['a:ended']\nargs = ['\"name\"']\n",
    );
    let output = folder.run(&[]).run().exits(0);
    let a = record(&output, "a", 0);
    assert_eq!((&a["status"], &a["attempts"]), (&json!("ok"), &json!(3)));
    assert_eq!(record(&output, "b", 0)["value"], "b");
    // A record is written when its process ends.
    assert_eq!(output.values()[0]["name"], "a");
}

#[test]
fn a_process_that_keeps_failing_is_given_up_after_its_restarts() {
    let folder = Folder::of(
        "[process.a]\ntask = 'SHARED'\nfunction = 'act'\nargs = ['\"fail\"']\nrestart = 'on-failure'\nrestarts = 1\n",
    );
    let output = folder.run(&[]).run().exits(1);
    let a = record(&output, "a", 0);
    assert_eq!((&a["status"], &a["kind"], &a["attempts"]), (&json!("failed"), &json!("error"), &json!(2)));
    assert!(output.stderr.contains("it was told to fail"), "{}", output.stderr);
}

#[test]
fn daemons_are_ended_when_the_others_have_ended_and_have_not_failed() {
    let folder = Folder::of(
        "[process.server]\ntask = 'spin.wat'\nargs = [-1]\ndaemon = true\nrestart = 'always'\n\
         [process.work]\ntask = 'spin.wat'\nargs = [4]\nafter = ['server']\n",
    )
    .with("spin.wat", SPIN_IF_NEGATIVE);
    let output = folder.run(&[]).run().exits(0);
    assert_eq!(record(&output, "work", 0)["value"], 8);
    assert_eq!(record(&output, "server", 0)["status"], "terminated");
}

#[test]
fn a_killed_process_is_lost_and_the_others_go_on() {
    let folder = Folder::of(
        "[process.victim]\ntask = 'spin.wat'\nargs = [-1]\n\
         [process.other]\ntask = 'spin.wat'\nargs = [2]\n",
    )
    .with("spin.wat", SPIN_IF_NEGATIVE);
    let mut host = folder.run(&[]).start();
    let other = host.line().expect("the record of the other");
    assert!(other.contains("\"other\"") && other.contains("\"ok\""), "{other}");
    host.busy_worker().send(Signal::SIGKILL);
    let victim: Value = serde_json::from_str(&host.line().expect("its record")).expect("a record");
    assert_eq!((&victim["kind"], &victim["signal"]), (&json!("worker-lost"), &json!(9)));
    assert_eq!(host.code(), 1);
}

#[test]
fn a_process_has_no_limit_of_time_unless_the_file_sets_one() {
    let folder = Folder::of("[process.a]\ntask = 'spin.wat'\nargs = [-1]\n[process.a.limits]\ntimeout = '200ms'\n")
        .with("spin.wat", SPIN_IF_NEGATIVE);
    let output = folder.run(&[]).run().exits(1);
    assert_eq!(record(&output, "a", 0)["kind"], "timeout");
    let check = folder.run(&["--check"]).run().exits(0);
    assert!(check.text().contains("  has at most 200ms of time, 256 MiB of memory\n"), "{}", check.text());
}

#[test]
fn the_first_interrupt_starts_nothing_more_and_the_second_ends_all() {
    let folder = Folder::of(
        "[process.runs]\ntask = 'spin.wat'\nargs = [-1]\n\
         [process.next]\ntask = 'spin.wat'\nargs = [1]\nafter = ['runs:ended']\n",
    )
    .with("spin.wat", SPIN_IF_NEGATIVE);
    let mut host = folder.run(&[]).start();
    let family = [host.busy_worker()];
    host.signal(Signal::SIGINT);
    until("it is said", || host.said().contains("finishing what runs").then_some(()));
    let next: Value = serde_json::from_str(&host.line().expect("a record")).expect("a record");
    assert_eq!((&next["name"], &next["kind"]), (&json!("next"), &json!("cancelled")));
    assert!(!host.has_ended());
    host.signal(Signal::SIGINT);
    let runs: Value = serde_json::from_str(&host.line().expect("a record")).expect("a record");
    assert_eq!((&runs["name"], &runs["status"]), (&json!("runs"), &json!("terminated")));
    assert_eq!(host.code(), 130);
    host.leaves_nothing_behind(&family);
}

#[test]
fn a_check_says_what_would_start_and_touches_nothing() {
    let folder = Folder::of(
        "[share]\njobs = 'queue:100'\ntotal = 'value:s64'\n\
         [process.last]\ntask = 'a.wat'\nfunction = 'f'\nafter = ['maker:ended']\nargs = [1]\n\
         [process.maker]\ntask = 'a.wat'\ncommand = ['-v']\nshare = ['jobs:put', 'total:ro']\ncount = 2\n\
         [process.maker.grants]\nenv = ['KEY=secret']\n",
    )
    .with("a.wat", r#"(module (func (export "f") (param i32)) (func (export "_start")))"#);
    let out = folder.file("out.json");
    let output = folder.run(&["--check", "--share-out", out.to_str().unwrap()]).run().exits(0);
    let text = output.text();
    for said in [
        "object jobs=queue:100\n  maker may use it for put\n",
        "  maker may read\n",
        "(2 of them)",
        "maker has ended well",
    ] {
        assert!(text.contains(said), "{said} is not in:\n{text}");
    }
    assert!(text.find("process maker") < text.find("process last"), "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains("secret"), "{text}");
    assert!(!out.exists() && output.stderr.is_empty(), "{}", output.stderr);
}

/// Returns the blocks of TOML in the document about runs.
fn documented() -> Vec<String> {
    let text = std::fs::read_to_string(workspace().join("docs/run.md")).expect("a document");
    let blocks = text.split("```toml\n").skip(1);
    blocks.map(|rest| rest.split("```").next().expect("its end").to_owned()).collect()
}

#[test]
fn the_file_that_the_documents_show_runs_and_ends_by_itself() {
    let folder = Folder::of(&documented()[0]);
    std::fs::copy(built("pipeline").path(), folder.file("pipeline.wasm")).expect("copied");
    let output = folder.run(&["--check"]).run().exits(0);
    assert!(output.text().contains("process worker (4 of them)"), "{}", output.text());
    let out = folder.file("sums.json");
    let output = folder.run(&["--share-out", out.to_str().expect("a path")]).run().exits(0);
    assert_eq!(output.values().len(), 7);
    let jobs: u64 = (0..4).filter_map(|number| record(&output, "worker", number)["value"].as_u64()).sum();
    assert_eq!(jobs, 2000);
    let told: Value = serde_json::from_slice(&std::fs::read(out).expect("written")).expect("JSON");
    assert_eq!(told, json!({"jobs": [], "total": 1_001_000}));
}

#[test]
fn the_command_that_the_documents_add_can_be_added() {
    let folder = Folder::of(&documented().concat());
    std::fs::copy(built("pipeline").path(), folder.file("pipeline.wasm")).expect("copied");
    let folder = folder.with("log.wasm", r#"(module (func (export "_start")))"#);
    std::fs::create_dir(folder.file("logs")).expect("a directory");
    let output = folder.run(&["--check"]).run().exits(0);
    for said in ["is ended once all that are no daemons have ended", "::/logs:rw"] {
        assert!(output.text().contains(said), "{said}: {}", output.text());
    }
}

#[test]
fn a_wrong_file_starts_nothing_and_says_what_is_wrong() {
    let process = |rest: &str| format!("[share]\nq = 'queue'\np = 'pipe'\n[process.a]\ntask = 'a.wat'\n{rest}");
    for (rest, named) in [
        ("taks = 'x'", &["`taks`; did you mean `task`?"][..]),
        ("funtion = 'f'", &["unknown key `funtion`; did you mean `function`?"]),
        ("xyz = 'red'", &["unknown key `xyz`, expected one of `task`"]),
        ("timeout = '1s'", &["unknown key `timeout`; it belongs in `limits`"]),
        ("env = ['A=b']", &["unknown key `env`; it belongs in `grants`"]),
        ("grants = { dirs = ['x::/x'] }", &["unknown key `dirs`; did you mean `dir`?"]),
        ("grants = { files = ['x'] }", &["expected one of `env`, `dir`, `allow-net`, `scratch`\n"]),
        ("limits = { timout = '1s' }", &["did you mean `timeout`?"]),
        ("limits = { timeout = 10 }", &["`limits.timeout`: it is `10`, and has to be a text such as \"10s\""]),
        ("restart = 'on_failure'", &["`restart`: it cannot be `on_failure`; did you mean `on-failure`?"]),
        ("restart = 'maybe'", &["it cannot be `maybe`; it is one of `never`, `on-failure`, `always`"]),
        ("limits = 3", &["`limits`: it is `3`, and has to be a table"]),
        ("share = ['r']", &["`r`", "[share]"]),
        ("share = ['qq']", &["there is no shared object `qq`; did you mean `q`?"]),
        ("share = ['q:ro']", &["q:ro", "get and put"]),
        ("share = ['q:put:get']", &["q:put:get", "get and put, of which it names one, or none to have both"]),
        ("share = ['q:put', 'q:get']", &["`q`", "name it once"]),
        ("share = ['p']\ncount = 2", &["`p`", ":second"]),
        ("share = ['p']\nrestart = 'always'", &["`p`", "queue"]),
        ("after = ['b']", &["there is no process `b` to start after", "NAME, NAME:started or NAME:ended"]),
        ("share = ['q=queue:4']", &["there is no shared object `q=queue`", "`share = [\"q\"]`", "`q = \"queue\"`"]),
        ("[process.maker]\ntask = 'a.wat'\nafter = ['makr:ended']", &["no process `makr` to", "did you mean `maker`?"]),
        ("[process.b]\ntask = 'a.wat'\nafter = ['a:done']", &["after `a`, once", "`a:ended`", "not after `a:done`"]),
        (
            "[process.maker]\ntask = 'a.wat'\ncommand = []\nstdin = 'makr'",
            &["there is no process `makr` to read from; did you mean `maker`?"],
        ),
        ("after = ['a']", &["`a`", "after"]),
        ("args = ['word']", &["the argument `word`: it is not JSON"]),
        ("command = []\nargs = [1]", &["args", "command"]),
        ("stdin = 'a'", &["stdin", "command"]),
        ("command = []\nstdin = 'a'", &["itself"]),
        ("count = 0", &["count"]),
        ("count = -1", &["count", "a whole number that is not negative"]),
        ("after = 'a'", &["after", "a list, in brackets"]),
        ("daemon = true", &["daemon"]),
        ("restarts = 1", &["restarts", "on-failure"]),
        ("[process.a.grants]\nshare = ['q=queue']", &["grants", "share"]),
        ("[process.'b c']\ntask = 'a.wat'", &["`b c`", "letters"]),
        ("[process.b]\ntask = 'none.wat'", &["none.wat", "process b"]),
        ("[process.b]\ntask = 'a.wat'\ncommand = []\nstdin = 'a'", &["`a`", "function"]),
    ] {
        refused(&process(rest), named);
    }
    refused("[share]\nq = 'cue'\n[process.a]\ntask = 'a.wat'", &["`q`", "cue", "queue"]);
    refused("[share]\nq = 'queue'", &["no process", "[process.NAME]"]);
    refused("[proces.a]\ntask = 'a.wat'", &["unknown key `proces`; did you mean `process`?"]);
    refused("process = [1]", &["`process`: it is a list, and has to be a table"]);
    refused("[shared]\nq = 'queue'", &["unknown key `shared`; did you mean `share`?"]);
    refused("[share]\nq = 'que'\n[process.a]\ntask = 'a.wat'", &["(did you mean queue?)"]);
    refused("", &["no process"]);
}

#[test]
fn an_option_of_another_command_is_told_its_place_in_the_file() {
    for (args, said) in [
        (&["--share", "x=queue"][..], "[share] defines the objects"),
        (&["--share=x=queue"], "[share] defines the objects"),
        (&["--workers", "3"], "`count`"),
        (&["-j", "3"], "`count`"),
        (&["--timeout", "3s"], "`timeout` of its `limits`"),
        (&["--dir", "a::/b"], "`dir` of its `grants`"),
    ] {
        let output = Folder::of("").run(args).run().exits(2);
        assert!(output.stderr.contains(said) && !output.stderr.contains("tip:"), "{args:?}: {}", output.stderr);
    }
}

#[test]
fn a_check_says_that_a_process_has_both_ends_of_a_pipe() {
    let folder = Folder::of("[share]\np = 'pipe'\n[process.a]\ntask = 'a.wat'\nargs = [1]\nshare = ['p']\n")
        .with("a.wat", SPIN_IF_NEGATIVE);
    let text = folder.run(&["--check"]).run().exits(0).text().to_owned();
    assert!(text.contains("a may use it for first and second, so it has to say which end it opens\n"), "{text}");
}

#[test]
fn nothing_runs_if_one_of_the_calls_is_wrong() {
    let first = "[share]\ntries = 'list'\n[process.a]\ntask = 'SHARED'\nfunction = 'act'\nshare = ['tries']\n\
                 args = ['\"push tries x\"']\n[process.b]\nafter = ['a:ended']\n";
    let calls = "task = 'minus.wat'\nfunction = 'minus'\n";
    for (wrong, named) in [
        (
            "task = 'minus.wat'\nfunction = 'minis'\n".to_owned(),
            &["process b: ", "`minis`", "did you mean `minus`?"][..],
        ),
        (
            "task = 'minus.wat'\ncommand = []\n".to_owned(),
            &["process b: ", "not a WASI command", "`function = \"NAME\"` in the file of a run"],
        ),
        ("task = 'spin.wat'\nargs = [1, 2]\n".to_owned(), &["process b: ", "takes 1 argument, and 2 are given"]),
        (format!("{calls}args = []\n"), &["process b: ", "takes 2 arguments, and none is given"]),
        (format!("{calls}args = [1, 2, 3]\n"), &["takes 2 arguments, and 3 are given"]),
        (format!("{calls}args = [1, '\"x\"']\n"), &["process b: ", "its arguments do not fit: at [1]: "]),
        (format!("{calls}count = 3\nargs = [1, '9{{#}}33372036854775807']\n"), &["its arguments do not fit: at [1]: "]),
        (
            "task = 'spin.wat'\nargs = [1]\narg = { p0 = 2 }\n".to_owned(),
            &["takes no argument besides those given by name, and 1 is given"],
        ),
        ("task = 'spin.wat'\nargs = [1]\ninit = 3\n".to_owned(), &["process b: "]),
        ("task = 'spin.wat'\narg = { p1 = 2 }\n".to_owned(), &["process b: ", "p1"]),
    ] {
        let folder =
            Folder::of(&format!("{first}{wrong}")).with("minus.wat", minus()).with("spin.wat", SPIN_IF_NEGATIVE);
        let out = folder.file("out.json");
        for args in [&["--check"][..], &["--share-out", out.to_str().expect("a path")]] {
            let output = folder.run(args).run().exits(2);
            assert_eq!(output.text(), "", "{wrong}");
            assert!(named.iter().all(|name| output.stderr.contains(name)), "{named:?} are not in:\n{}", output.stderr);
            assert_eq!(output.stderr.matches("process b: ").count(), 1, "{}", output.stderr);
        }
        assert!(!out.exists(), "{wrong}");
    }
}

#[test]
fn a_wrong_binding_is_told_once() {
    let folder = Folder::of("[process.a]\ntask = 'minus.wat'\narg = { q = 1 }\n").with("minus.wat", minus());
    let output = folder.run(&[]).run().exits(2);
    assert_eq!(output.stderr.matches("no parameter `q`").count(), 1, "{}", output.stderr);
}

#[test]
fn a_writer_whose_reader_has_ended_is_not_to_blame() {
    let folder = Folder::of(
        "[process.from]\ntask = 'from.wat'\ncommand = []\n\
         [process.to]\ntask = 'to.wat'\ncommand = []\nstdin = 'from'\n\
         [process.next]\ntask = 'to.wat'\ncommand = []\nafter = ['from:ended']\n",
    )
    .with("from.wat", writes(u32::MAX))
    .with("to.wat", command("(drop (call $take))"));
    let output = folder.run(&[]).run().exits(0);
    assert_eq!(record(&output, "from", 0)["status"], "terminated", "{}", output.text());
    assert_eq!(record(&output, "next", 0)["status"], "ok", "{}", output.text());
    assert!(!output.stderr.contains("failed"), "{}", output.stderr);
}

#[test]
fn the_loss_of_the_shared_objects_is_one_error_and_no_process_is_blamed() {
    let folder = Folder::of(
        "[share]\nq = 'queue'\n[process.waits]\ntask = 'SHARED'\nfunction = 'act'\nargs = ['\"get q -\"']\nshare = ['q']\n\
         count = 2\n[process.alone]\ntask = 'spin.wat'\nargs = [-1]\n",
    )
    .with("spin.wat", SPIN_IF_NEGATIVE);
    let mut host = folder.run(&[]).start();
    host.busy_worker();
    host.child("manager").send(Signal::SIGKILL);
    let mut all = Vec::new();
    while let Some(line) = host.line() {
        all.push(serde_json::from_str::<Value>(&line).expect("a record"));
    }
    assert_eq!(host.code(), 2, "{}", host.said());
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|record| record["status"] == "terminated"), "{all:?}");
    let said = host.stderr();
    assert_eq!(said.matches("the process that keeps the shared objects").count(), 1, "{said}");
    assert!(!said.contains("process waits") && !said.contains("process alone"), "{said}");
}

#[test]
fn a_task_that_cannot_be_called_ends_the_run_with_its_process_named() {
    let folder = Folder::of("[process.a]\ntask = 'a.wat'\nfunction = 'nothing'\n").with("a.wat", SPIN_IF_NEGATIVE);
    let output = folder.run(&[]).run().exits(2);
    assert!(output.stderr.contains("process a: ") && output.stderr.contains("nothing"), "{}", output.stderr);
}

#[test]
fn files_of_objects_without_objects_are_refused() {
    for option in ["--share-in", "--share-out"] {
        for more in [&[][..], &["--check"]] {
            let folder =
                Folder::of("[process.a]\ntask = 'a.wat'\n").with("a.wat", SPIN_IF_NEGATIVE).with("in.json", "{}");
            let file = folder.file(if option == "--share-in" { "in.json" } else { "out.json" });
            let output = folder.run(&[option, file.to_str().unwrap()]).args(more).run().exits(2);
            assert!(output.stderr.contains(option) && output.stderr.contains("[share]"), "{}", output.stderr);
            assert_eq!(output.text(), "");
            assert!(!folder.file("out.json").exists());
        }
    }
}

/// The right that a plugin asks for, and the one that the file gives, are two.
#[test]
fn a_check_says_the_rights_that_a_plugin_gets() {
    let folder = Folder::of(
        "[share]\nq = 'queue'\n[process.a]\ntask = 'plugin'\nargs = ['\"??put q a 0\"']\nshare = ['q:get']\n",
    );
    std::fs::create_dir(folder.file("plugin")).expect("made");
    std::fs::copy(built("shared").path(), folder.file("plugin/task.wasm")).expect("copied");
    let manifest = "wasm = 'task.wasm'\nfunction = 'act'\n[grants]\nshare = ['q=queue:put']\n";
    let folder = folder.with("plugin/plugin.toml", manifest);
    let checked = folder.run(&["--check"]).run().exits(0);
    assert!(checked.text().contains("object q=queue\n  nobody reaches it\n"), "{}", checked.text());
    assert!(!checked.text().contains("reaches share"), "{}", checked.text());
    let value = record(&folder.run(&[]).run().exits(0), "a", 0)["value"].clone();
    assert!(value.as_str().expect("a text").starts_with("not-granted="), "{value}");
}

/// A shell's limit of descriptors is often far lower than what the system allows.
#[test]
fn as_many_processes_run_as_descriptors_allow_and_more_are_refused_before_one_starts() {
    let file = "[share]\nq = 'queue'\n[process.a]\ntask = 'SHARED'\nfunction = 'act'\nshare = ['q']\ncount = 16\nargs = ['\"name\"']\n";
    let folder = Folder::of(file);
    let output = folder.run(&[]).soft_descriptors(64).run().exits(0);
    assert_eq!(output.values().len(), 16);
    for more in [&[][..], &["--check"]] {
        let output = folder.run(more).descriptors(64).run().exits(2);
        assert_eq!(output.text(), "");
        assert!(output.stderr.contains("16 processes") && output.stderr.contains("ulimit -Hn"), "{}", output.stderr);
    }
}

#[test]
fn a_module_of_preview_1_is_told_by_number_that_its_reader_has_ended() {
    let ends = command(
        "(local $error i32)
         (loop $more
           (local.set $error (call $put (i32.const 1) (i32.const 1024) (i32.const 65536)))
           (br_if $more (i32.eqz (local.get $error))))
         (call $exit (local.get $error))",
    );
    let folder = Folder::of(
        "[process.from]\ntask = 'from.wat'\ncommand = []\nok-codes = [64] # EPIPE\n\
         [process.to]\ntask = 'to.wat'\ncommand = []\nstdin = 'from'\n",
    )
    .with("from.wat", ends)
    .with("to.wat", command("(drop (call $take))"));
    // With any other code it would be `terminated`.
    let output = folder.run(&[]).run().exits(0);
    assert_eq!(record(&output, "from", 0)["status"], "ok", "{}", output.text());
}

#[test]
fn a_process_that_is_ended_by_its_timeout_says_which_object_it_waited_for() {
    let folder = Folder::of(
        "[share]\njobs = 'queue:1'\n\
         [process.maker]\ntask = 'SHARED'\nfunction = 'act'\nargs = ['\"put jobs a - ; put jobs b - ; put jobs c -\"']\n\
         share = ['jobs:put']\nlimits = { timeout = '2s' }\n\
         [process.reader]\ntask = 'SHARED'\nfunction = 'act'\nargs = ['\"get jobs -\"']\nshare = ['jobs:get']\n",
    );
    let output = folder.run(&[]).run().exits(1);
    let maker = record(&output, "maker", 0);
    assert_eq!(maker["kind"], "timeout");
    assert!(maker["message"].as_str().unwrap().ends_with("; it waited for the shared object `jobs`"), "{maker}");
}

#[test]
fn check_finds_what_is_wrong_with_the_files_of_shared_objects_and_leaves_them_alone() {
    let file = "[share]\ntotal = 'value:f32'\n\
                [process.a]\ntask = 'SHARED'\nfunction = 'act'\nargs = ['\"name\"']\nshare = ['total']\n";
    let folder =
        Folder::of(file).with("in.json", "{\"total\": 1e39}").with("good.json", "{\"total\": 1}").with("old", "OLD");
    let path = |name: &str| folder.file(name).to_str().unwrap().to_owned();
    for (args, said) in [
        (["--share-in", &path("in.json")], "cannot be filled with 1e+39: its type is f32"),
        (["--share-in", &path("none.json")], "none.json"),
        (["--share-out", &path("no/where")], "no/where"),
        (["--share-out", &path("run.toml")], "the file of the run"),
    ] {
        let checked = folder.run(&["--check"]).args(args).run().exits(2);
        assert!(checked.stderr.contains(said), "{said}: {}", checked.stderr);
        let ran = folder.run(&[]).args(args).run().exits(2);
        assert_eq!(checked.stderr, ran.stderr);
    }
    folder.run(&["--check", "--share-in", &path("good.json"), "--share-out", &path("old")]).run().exits(0);
    assert_eq!(std::fs::read(folder.file("old")).unwrap(), b"OLD");
    // Opening a pipe would wait for whoever reads it.
    let pipe = folder.file("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR).unwrap();
    folder.run(&["--check", "--share-out", pipe.to_str().unwrap()]).run().exits(0);
}

#[test]
fn a_file_of_shared_objects_where_a_task_may_write_is_told_of() {
    let folder = Folder::of(
        "[share]\ntotal = 'value:s64'\n\
         [process.a]\ntask = 'SHARED'\nfunction = 'act'\nargs = ['\"name\"']\nshare = ['total']\n\
         grants = { dir = ['open::/open:rw'] }\n",
    );
    std::fs::create_dir(folder.file("open")).unwrap();
    let inside = folder.file("open/out.json").to_str().unwrap().to_owned();
    let output = folder.run(&["--share-out", &inside]).run().exits(0);
    assert!(output.stderr.contains("out.json lies in the directory of"), "{}", output.stderr);
    let output = folder.run(&["--share-out", folder.file("out.json").to_str().unwrap()]).run().exits(0);
    assert!(!output.stderr.contains("lies in"), "{}", output.stderr);
}

#[test]
fn a_task_in_place_of_a_run_file_is_named_as_one() {
    let folder = Folder::of("").with("task.wasm", b"\0asm\x0d\0\x01\0");
    let output = wasmpool().arg("run").arg(folder.file("task.wasm")).run().exits(2);
    assert!(output.stderr.contains("is a task") && output.stderr.contains("wasmpool map"), "{}", output.stderr);
}

#[test]
fn a_command_without_its_key_is_told_which_one() {
    let folder = Folder::of("[process.a]\ntask = 'a.wat'\n").with("a.wat", command("(drop (call $take))"));
    let output = folder.run(&[]).run().exits(2);
    assert!(output.stderr.contains("`command = []`"), "{}", output.stderr);
}

#[test]
fn what_a_plugin_lacks_of_an_object_is_told_in_the_words_of_a_run_file() {
    let folder = Folder::of(
        "[share]\nall = 'list'\njobs = 'queue'\n\
         [process.a]\ntask = 'plugin'\nfunction = 'act'\nargs = ['\"name\"']\nshare = ['all:ro']\n",
    );
    std::fs::create_dir(folder.file("plugin")).unwrap();
    let manifest = "wasm = 'p.wasm'\n[grants]\nshare = ['all=list', 'jobs=queue:put']\n";
    std::fs::write(folder.file("plugin/plugin.toml"), manifest).unwrap();
    std::fs::copy(built("shared").path(), folder.file("plugin/p.wasm")).unwrap();
    let output = folder.run(&[]).run().exits(0);
    for said in ["`share` of the process with `all` grants it", "`share` of the process with `jobs:put` grants it"] {
        assert!(output.stderr.contains(said), "{said}: {}", output.stderr);
    }
}
