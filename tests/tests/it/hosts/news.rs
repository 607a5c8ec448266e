//! What the user is told of hosts while a run goes on, and at its end.

use std::io::Write;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{goes_on_and_ends, open_run};
use crate::support::broker::Broker;
use crate::support::guest::wat;
use crate::support::host::Host;
use crate::support::run::{Run, map};
use crate::support::wat::{COUNT_TO, SQUARE};
use crate::support::{HANG, until, until_within};

/// An item that takes some seconds.
const LONG: &str = "8000000000\n";

fn long(broker: &Broker) -> Run {
    broker.via(map(&wat(COUNT_TO))).args(["--timeout", "600s", "--progress", "always"]).input(LONG)
}

#[track_caller]
fn tells(run: &Host, what: &str) {
    until(what, || run.said().contains(what).then_some(()));
}

/// Has a host take the one item of a run, and kills it.
fn kill_at_work(host: &mut Host) {
    host.busy_worker();
    host.signal(Signal::SIGKILL);
    host.wait();
}

#[test]
fn a_host_that_is_killed_is_told_with_what_runs_again_and_counts_in_the_summary() {
    let Some(broker) = Broker::start() else { return };
    let mut host = broker.serve("a");
    let mut run = long(&broker).start();
    kill_at_work(&mut host);
    let lost = "wasmpool: host a is not heard any more; 1 chunk that it had runs again\n";
    tells(&run, lost);
    let _other = broker.serve("b");
    assert_eq!(run.line().as_deref(), Some(LONG.trim_end()));
    assert_eq!(run.code(), 0);
    let said = run.said();
    assert_eq!(said.matches("host a").count(), 1, "{said}");
    assert!(said.contains("; 1 host was lost, 1 chunk ran again\n"), "{said}");
    assert!(!said.contains("host b"), "{said}");
}

#[test]
fn a_host_that_is_lost_is_a_warning_with_facts_in_json() {
    let Some(broker) = Broker::start() else { return };
    let mut host = broker.serve("a");
    let mut run = long(&broker).args(["--log-format", "json"]).start();
    kill_at_work(&mut host);
    tells(&run, "not heard any more");
    let _other = broker.serve("b");
    assert_eq!(run.code(), 0);
    let said = run.said();
    let messages: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let lost = messages.iter().find(|message| message["change"] == "lost").expect("it is told");
    let facts = json!({
        "level": "warning", "message": "host a is not heard any more; 1 chunk that it had runs again",
        "hosts": ["a"], "change": "lost", "chunks": 1
    });
    assert_eq!(lost, &facts);
    let summary = messages.last().expect("a summary");
    assert_eq!((&summary["hosts_lost"], &summary["chunks_run_again"]), (&json!(1), &json!(1)), "{said}");
}

#[test]
fn a_host_that_stood_still_is_told_as_lost_and_as_heard_again() {
    let Some(broker) = Broker::start() else { return };
    let host = broker.serve("a");
    let (mut run, input) = open_run(&broker);
    host.signal(Signal::SIGSTOP);
    tells(&run, "wasmpool: host a is not heard any more; it had no chunk that has to run again\n");
    host.signal(Signal::SIGCONT);
    tells(&run, "wasmpool: host a is heard again, and serves this run\n");
    goes_on_and_ends(&mut run, input);
}

#[test]
fn a_host_that_is_killed_and_started_again_at_once_is_told() {
    let Some(broker) = Broker::start() else { return };
    let mut host = broker.serve("a");
    let mut run = long(&broker).start();
    kill_at_work(&mut host);
    let _again = broker.serve("a");
    tells(&run, "wasmpool: host a was started again; 1 chunk that it had runs again\n");
    assert_eq!(run.line().as_deref(), Some(LONG.trim_end()));
    assert_eq!(run.code(), 0, "{}", run.said());
}

#[test]
fn who_comes_and_goes_by_itself_is_told_with_v_only_and_is_no_loss() {
    let Some(broker) = Broker::start() else { return };
    for verbose in [true, false] {
        let _host = broker.serve("a");
        let run = broker.via(map(&wat(SQUARE))).args(["--progress", "always"]);
        let mut run = if verbose { run.arg("-v") } else { run }.start();
        let mut input = run.stdin.take().expect("a pipe");
        input.write_all(b"3\n").unwrap();
        assert_eq!(run.line().as_deref(), Some("9"));
        let mut late = broker.serve("b");
        until("the late one serves the run", || late.said().contains("serving a run").then_some(()));
        if verbose {
            tells(&run, "wasmpool: host a serves this run, with 1 worker\n");
            tells(&run, "wasmpool: host b serves this run, with 1 worker\n");
        }
        late.signal(Signal::SIGTERM);
        assert_eq!(late.code(), 0);
        if verbose {
            tells(&run, "wasmpool: host b leaves this run: told to end\n");
        }
        drop(input);
        assert_eq!(run.code(), 0, "{}", run.said());
        let said = run.said();
        assert!(!said.contains("lost") && !said.contains("heard"), "{said}");
        assert_eq!(said.contains("host "), verbose, "{said}");
    }
}

#[test]
fn a_run_that_no_host_serves_any_more_tells_why_one_does_not() {
    let Some(broker) = Broker::start() else { return };
    let folder = TempDir::new().unwrap();
    let policy = folder.path().join("policy.toml");
    std::fs::write(&policy, "[limits]\nmemory = '8MiB'\n").unwrap();
    let (next, more) = std::sync::mpsc::channel();
    let mut host = broker.serve("a");
    let feed = move |to: &mut std::process::ChildStdin| {
        more.iter().try_for_each(|item: &str| to.write_all(item.as_bytes()).and_then(|()| to.flush()))
    };
    let mut run = broker.via(map(&wat(SQUARE))).arg("--deterministic").feed(feed).start();
    next.send("7\n").unwrap();
    assert_eq!(run.line().as_deref(), Some("49"));
    let _strict = broker.host("strict").arg("--policy").arg(&policy).start();
    host.signal(Signal::SIGTERM);
    host.wait();
    tells(&run, "no host serves this run (strict: its policy allows 8 MiB and the run wants 256 MiB");
    let _other = broker.serve("b");
    next.send("8\n").unwrap();
    assert_eq!(run.line().as_deref(), Some("64"));
    drop(next);
    assert_eq!(run.code(), 0);
}

#[test]
fn a_run_whose_items_are_larger_than_any_host_has_room_for_tells_so() {
    let Some(broker) = Broker::start() else { return };
    let small = crate::support::broker::serving(broker.host("small").args(["--buffer", "2MiB"]));
    let item = "x".repeat(3 << 20);
    let task = crate::support::guest::built("identity");
    let run = broker.via(map(&task)).args(["-f", "echo-bytes", "--input-format", "lines", "--output-format", "raw"]);
    let mut run = run.input(format!("{item}\n")).start();
    let why = "an item of it is larger than this host has room for (its buffer has 2 MiB)";
    tells(&run, &format!("no host serves this run (small: {why})"));
    tells(&small, &format!("a run is not served: {why}"));
    let _large = broker.serve("large");
    assert_eq!(run.line().map(|line| line.len()), Some(item.len()));
    assert_eq!(run.code(), 0);
}

#[test]
fn a_host_tells_that_the_message_system_is_gone_and_that_it_is_there_again() {
    let Some(mut broker) = Broker::start() else { return };
    let host = broker.serve("a");
    broker.kill();
    tells(&host, "cannot be reached; it is tried again");
    broker.start_again();
    tells(&host, "is there again");
    assert_eq!(host.said().matches("cannot be reached").count(), 1, "{}", host.said());
}

#[test]
fn a_host_whose_terminal_is_closed_finishes_what_it_holds() {
    let Some(broker) = Broker::start() else { return };
    let mut host = broker.serve("a");
    let mut run = long(&broker).start();
    host.busy_worker();
    host.signal(Signal::SIGHUP);
    assert_eq!(run.line().as_deref(), Some(LONG.trim_end()));
    assert_eq!(host.code(), 0, "{}", host.said());
    assert!(host.said().contains("finishing what it holds"), "{}", host.said());
    assert_eq!(run.code(), 0, "{}", run.said());
}

#[test]
fn a_host_that_is_told_to_end_twice_ends_at_once_and_says_once_what_it_does() {
    let Some(broker) = Broker::start() else { return };
    let mut host = broker.serve("a");
    let _run = long(&broker).start();
    host.busy_worker();
    host.signal(Signal::SIGTERM);
    tells(&host, "finishing what it holds");
    host.signal(Signal::SIGTERM);
    host.wait();
    assert_eq!(host.said().matches("finishing what it holds").count(), 1, "{}", host.said());
}

#[test]
fn a_run_whose_message_system_is_down_does_not_speak_of_its_configuration() {
    let Some(mut broker) = Broker::start() else { return };
    let _host = broker.serve("a");
    let (mut run, input) = open_run(&broker);
    // Until this is told, it is tried more often than a connection may be lost.
    broker.kill();
    tells(&run, "cannot be reached; it is tried again");
    broker.start_again();
    tells(&run, "is there again");
    goes_on_and_ends(&mut run, input);
    let said = run.said();
    assert!(!said.contains("max_pending"), "{said}");
    assert_eq!(said.matches("cannot be reached").count(), 1, "{said}");
}

/// It takes a minute, after which nobody else waits for the coordinator either.
#[test]
fn a_host_tells_that_it_drops_a_run_whose_coordinator_is_gone() {
    let Some(broker) = Broker::start() else { return };
    let host = broker.serve("a");
    let (mut run, _input) = open_run(&broker);
    run.signal(Signal::SIGKILL);
    run.wait();
    until_within(HANG, "the run is dropped", || {
        host.said().contains("is dropped here, since its coordinator is not heard any more").then_some(())
    });
    until("its workers end", || host.descendants().is_empty().then_some(()));
}

#[test]
fn a_limit_that_is_a_hosts_policys_is_told_as_such_also_in_deterministic_runs() {
    let Some(broker) = Broker::start() else { return };
    let folder = TempDir::new().unwrap();
    let policy = folder.path().join("policy.toml");
    std::fs::write(&policy, "[limits]\ntimeout = '300ms'\nmemory = '512MiB'\n[grants]\ndir = ['gone::/any']\n")
        .unwrap();
    let host = crate::support::broker::serving(broker.host("strict").arg("--policy").arg(&policy));
    assert!(host.said().contains("gone, and runs that ask for it are refused until it is there"), "{}", host.said());
    let run = |more: &[&str], item: &str| broker.via(map(&wat(COUNT_TO))).args(more).input(item.to_owned()).run();
    for more in [&["--timeout", "600s"][..], &["--deterministic", "--fuel", "100000000000000"]] {
        let said = run(more, "9000000000000\n").exits(1).stderr;
        let limit = "it did not end within --timeout 300ms; the policy of host strict allows no more";
        assert!(said.contains(limit), "{more:?}: {said}");
    }
    // What the policy does not limit is told as ever, and what is within it runs.
    let said = run(&["--timeout", "100ms"], "9000000000000\n").exits(1).stderr;
    assert!(said.contains("within --timeout 100ms") && !said.contains("policy"), "{said}");
    assert_eq!(run(&["--deterministic"], "1000\n").exits(0).text(), "1000\n");
}

/// The link is on this machine, and not on a host that may have a directory there.
#[test]
fn a_directory_of_hosts_is_not_looked_up_on_the_coordinators_disk() {
    let Some(broker) = Broker::start() else { return };
    let folder = TempDir::new().unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(folder.path(), &link).unwrap();
    let _host = broker.serve("a");
    let run = |directory: &std::path::Path| {
        let granted = format!("{}::/m", directory.display());
        broker.via(map(&wat(SQUARE))).args(["--dir", &granted]).input("3\n")
    };
    let said = run(&link).run().exits(2).stderr;
    assert!(said.contains("its policy does not give the directory") && !said.contains("by a link"), "{said}");
    run(&folder.path().join("only-on-hosts")).arg("--dry-run").run().exits(0);
}

/// A stream that takes no more messages, as where there is no room on the disk of the server.
#[test]
fn chunks_that_the_message_system_does_not_store_go_to_hosts_past_it() {
    let Some(broker) = Broker::start() else { return };
    let _host = broker.serve("a");
    let (mut run, input) = open_run(&broker);
    let stream = broker.streams().pop().expect("the run has a stream");
    let mut administrator = broker.administrator();
    let about = administrator.ask(&format!("$JS.API.STREAM.INFO.{stream}"), b"");
    let mut config = serde_json::from_slice::<Value>(&about).unwrap()["config"].clone();
    config["max_bytes"] = json!(1);
    let answer = administrator.ask(&format!("$JS.API.STREAM.UPDATE.{stream}"), config.to_string().as_bytes());
    assert!(
        serde_json::from_slice::<Value>(&answer).unwrap()["error"].is_null(),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    goes_on_and_ends(&mut run, input);
    assert!(run.said().contains("stores no chunks: maximum bytes exceeded; hosts get them past it"), "{}", run.said());
}

#[test]
fn a_run_that_loses_a_permission_says_so_and_goes_on_when_it_has_it_again() {
    let Some(broker) = Broker::start() else { return };
    let _host = broker.serve("a");
    let (mut run, mut input) = open_run(&broker);
    broker.forbid("wp.*.o.*");
    tells(&run, "the run goes on when that is permitted again");
    input.write_all(b"5\n").unwrap();
    broker.permit("wp.*.o.*");
    assert_eq!(run.line().as_deref(), Some("25"), "{}", run.said());
    goes_on_and_ends(&mut run, input);
}
