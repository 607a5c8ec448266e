//! `wasmpool share serve`: objects that outlive runs, which reach them by `--share NAME@SERVER` from any host.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::shared::{endings, orders};
use crate::support::broker::{Broker, serving};
use crate::support::host::Host;
use crate::support::run::{Output, Run, wasmpool};
use crate::support::until;

/// Runs items over the hosts of a broker, with these objects, and checks that all of them succeed.
#[track_caller]
fn run(broker: &Broker, shares: &[&str], items: &str) -> Vec<String> {
    let output = over(broker, shares).input(items.to_owned()).run();
    assert_eq!(output.code, 0, "{}", output.stderr);
    endings(&output)
}

fn over(broker: &Broker, shares: &[&str]) -> Run {
    broker.via(orders(shares))
}

/// Ends a server as whoever started it does, and returns what it has said.
#[track_caller]
fn end(mut server: Host) -> String {
    server.signal(Signal::SIGTERM);
    assert_eq!(server.code(), 0, "{}", server.said());
    server.said()
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).expect("it was written")).expect("JSON")
}

#[track_caller]
fn refused(output: &Output, parts: &[&str]) {
    assert_eq!(output.code, 2, "{}", output.stderr);
    for part in parts {
        assert!(output.stderr.contains(part), "{part}: {}", output.stderr);
    }
}

#[test]
fn a_queue_that_one_run_fills_a_later_run_empties() {
    let Some(broker) = Broker::start() else { return };
    let folder = TempDir::new().unwrap();
    let server = broker.serve_objects(folder.path(), "backlog", &["jobs = \"queue:100\"", "done = \"list\""]);
    let _hosts = [broker.serve("a"), broker.serve("b")];
    let items: String = (0..20).map(|n| format!("put jobs {n} 0\n")).collect();
    assert_eq!(run(&broker, &["jobs@backlog:put"], &items), ["ok"; 20]);
    let mut got = run(&broker, &["jobs@backlog", "done@backlog"], &"get jobs 0\n".repeat(20));
    got.sort_by_key(|n| n.parse::<u32>().unwrap_or(u32::MAX));
    assert_eq!(got, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
    // The right is that of the option, whatever the task tries.
    let came = run(&broker, &["jobs@backlog:put"], "size jobs ; ?get jobs 0\n");
    assert!(came[0].starts_with("0 ") && came[0].contains("denied"), "{came:?}");
    let said = end(server);
    assert!(said.contains(&format!("backlog serves done, jobs at {}", broker.url())), "{said}");
}

#[test]
fn a_counter_is_exact_over_two_runs_at_once_and_over_a_restart_of_its_server() {
    let Some(broker) = Broker::start() else { return };
    let (folder, objects) = (TempDir::new().unwrap(), ["total = \"value:s64\"", "jobs = \"queue\"", "seen = \"dict\""]);
    let state = folder.path().join("state.json");
    let with_state = || serving(broker.objects(folder.path(), "sums", &objects).arg("--state").arg(&state));
    let server = with_state();
    let _hosts = [broker.serve_with("a", 2), broker.serve_with("b", 2)];
    let item = "add total s64:1 ; dict-increment seen hits 1\n";
    let mut runs = [(); 2].map(|()| over(&broker, &["total@sums", "seen@sums"]).input(item.repeat(40)).start());
    for run in &mut runs {
        while run.line().is_some() {}
        assert_eq!(run.code(), 0, "{}", run.said());
    }
    run(&broker, &["jobs@sums"], "put jobs kept - ; put jobs later -\n");
    let said = end(server);
    assert!(said.contains("state.json"), "{said}");
    assert_eq!(read(&state), json!({ "total": 80, "jobs": ["kept", "later"], "seen": { "hits": "80" } }));
    let server = with_state();
    let came =
        run(&broker, &["total@sums", "jobs@sums", "seen@sums"], "add total s64:1 ; get jobs 0 ; dict-get seen hits\n");
    assert!(came[0].contains("kept") && came[0].contains("80"), "{came:?}");
    end(server);
    assert_eq!(read(&state), json!({ "total": 81, "jobs": ["later"], "seen": { "hits": "80" } }));
}

#[test]
fn what_an_item_had_taken_when_its_run_ended_is_there_for_the_next_run() {
    let Some(broker) = Broker::start() else { return };
    let folder = TempDir::new().unwrap();
    let _server = broker.serve_objects(folder.path(), "s", &["jobs = \"queue\"", "gate = \"lock\""]);
    let mut host = broker.serve("a");
    run(&broker, &["jobs@s"], "put jobs x -\n");
    let mut waiting = over(&broker, &["jobs@s", "gate@s"]).input("lock gate - ; take jobs - ; get jobs -\n").start();
    let _other = broker.serve("b");
    until("it holds the lock", || {
        let came = run(&broker, &["gate@s", "jobs@s"], "locked gate ; size jobs\n");
        (came == ["true 0"]).then_some(())
    });
    // The run ends, and its host is lost with what it held.
    host.signal(Signal::SIGKILL);
    host.wait();
    waiting.signal(Signal::SIGKILL);
    waiting.wait();
    let came = run(&broker, &["gate@s", "jobs@s"], "lock gate - ; take jobs -\n");
    assert!(came[0].starts_with("abandoned:worker 1 on a") && came[0].contains('x'), "{came:?}");
}

#[test]
fn a_second_server_of_the_same_name_is_refused_and_one_of_another_is_not() {
    let Some(broker) = Broker::start() else { return };
    let folder = TempDir::new().unwrap();
    let objects = ["total = \"value:s64\""];
    let first = broker.serve_objects(folder.path(), "one", &objects);
    let second = broker.objects(folder.path(), "one", &objects).run();
    refused(&second, &["serves shared objects as one", &format!("process {}", first.pid()), "another name"]);
    let other = serving(broker.objects(folder.path(), "one", &objects).args(["--name", "two"]));
    let _host = broker.serve("a");
    run(&broker, &["total@two"], "add total s64:1\n");
    assert_eq!(run(&broker, &["total@one"], "load total\n"), ["0"]);
    end(other);
    end(first);
    // The name is free again.
    end(broker.serve_objects(folder.path(), "one", &objects));
}

#[test]
fn a_run_whose_server_is_killed_ends_with_one_error() {
    let Some(broker) = Broker::start() else { return };
    let folder = TempDir::new().unwrap();
    let mut server = broker.serve_objects(folder.path(), "s", &["jobs = \"queue\"", "go = \"event\""]);
    let _host = broker.serve("a");
    let mut waiting = over(&broker, &["jobs@s", "go@s"]).args(["--timeout", "10m"]);
    waiting = waiting.input("set-event go ; get jobs -\n");
    let mut waiting = waiting.start();
    let _other = broker.serve("b");
    until("it waits", || (run(&broker, &["go@s"], "is-set go\n") == ["true"]).then_some(()));
    server.signal(Signal::SIGKILL);
    server.wait();
    let code = waiting.code();
    let said = waiting.said();
    assert_eq!((code, said.matches("the shared objects are lost").count()), (2, 1), "{said}");
    assert!(said.contains("the server of shared objects s was not heard"), "{said}");
}

/// Each run says so once, whether its items wait, and whether it uses the objects at that moment.
#[test]
fn runs_hear_at_once_that_their_server_has_ended() {
    let Some(broker) = Broker::start() else { return };
    let folder = TempDir::new().unwrap();
    let mut server =
        broker.serve_objects(folder.path(), "s", &["jobs = \"queue\"", "go = \"event\"", "on = \"event\""]);
    let _hosts = [broker.serve_with("a", 2), broker.serve_with("b", 2)];
    let start =
        |items: &str| over(&broker, &["jobs@s", "go@s", "on@s"]).args(["--timeout", "10m"]).input(items).start();
    let mut waiting = start("set-event go ; get jobs -\n");
    let mut computing = start("set-event on ; spin\n");
    until("both run", || (run(&broker, &["go@s", "on@s"], "is-set go ; is-set on\n") == ["true true"]).then_some(()));
    server.signal(Signal::SIGTERM);
    for run in [&mut waiting, &mut computing] {
        let code = run.code();
        let said = run.stderr();
        assert_eq!((code, said.matches("the shared objects are lost").count()), (2, 1), "{said}");
        // Without its word they would hear nothing for 30 s, and say that.
        assert!(said.contains("the server of shared objects s has ended; start it, and the run, again"), "{said}");
    }
    assert_eq!(server.code(), 0, "{}", server.said());
}

/// It would change its own objects, and write over what the other has begun with.
#[test]
fn a_server_that_stood_still_while_another_took_its_name_steps_down() {
    let Some(broker) = Broker::start() else { return };
    let (folder, objects) = (TempDir::new().unwrap(), ["total = \"value:s64\"", "jobs = \"queue\""]);
    let state = folder.path().join("state.json");
    // The other is on another machine.
    let elsewhere = folder.path().join("elsewhere.json");
    let serve = |state: &Path| serving(broker.objects(folder.path(), "s", &objects).arg("--state").arg(state));
    let mut stopped = serve(&state);
    let _hosts = [broker.serve_with("a", 2), broker.serve_with("b", 2)];
    run(&broker, &["total@s"], "add total s64:5\n");
    stopped.signal(Signal::SIGSTOP);
    let other = serve(&elsewhere);
    let mut waiting = over(&broker, &["jobs@s", "total@s"]).args(["--timeout", "10m"]);
    waiting = waiting.input("add total s64:1 ; get jobs -\n");
    let mut waiting = waiting.start();
    until("it waits", || (run(&broker, &["total@s"], "load total\n") == ["1"]).then_some(()));
    stopped.signal(Signal::SIGCONT);
    assert_eq!(stopped.code(), 2, "{}", stopped.said());
    let said = stopped.stderr();
    assert!(said.contains(&format!("process {} on ", other.pid())), "{said}");
    assert!(said.contains("stood still") && said.contains("leaves the name to it"), "{said}");
    // Runs that use the other have not noticed.
    run(&broker, &["jobs@s"], "put jobs x -\n");
    assert!(waiting.line().is_some_and(|line| line.contains('x')), "{}", waiting.said());
    assert_eq!(waiting.code(), 0, "{}", waiting.said());
    assert!(!state.exists(), "the server that stepped down has written what it had");
    end(other);
    assert_eq!(read(&elsewhere)["total"], 1);
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    let Some(broker) = Broker::start() else { return };
    let folder = TempDir::new().unwrap();
    let objects = ["jobs = \"queue:5:put\"", "seen = \"dict\""];
    let _server = broker.serve_objects(folder.path(), "s", &objects);
    let over = |shares: &[&str]| over(&broker, shares).input("x\n");
    refused(&over(&["jobs@t"]).run(), &["no server of shared objects called t", "wasmpool share serve"]);
    refused(&over(&["job@s"]).run(), &["the server s has no object `job`; it has jobs, seen"]);
    refused(&over(&["jobs@s:ro"]).run(), &["`:ro` is no right", ":get and :put"]);
    refused(&over(&["jobs@s:get"]).run(), &["nothing is left", "jobs=queue:5:put"]);
    refused(&over(&["jobs@s", "seen@t"]).run(), &["jobs@s", "seen@t", "two servers"]);
    refused(&over(&["jobs@s", "own=queue"]).run(), &["own=queue", "jobs@s", "name both in the file"]);
    refused(&over(&["jobs@s", "jobs@s"]).run(), &["granted twice"]);
    let out = folder.path().join("out.json");
    refused(&over(&["jobs@s"]).arg("--share-out").arg(&out).run(), &["--share-out", "--state FILE"]);
    refused(&over(&["jobs@s"]).arg("--journal").arg(&out).run(), &["--journal", "the objects of the server"]);
    refused(&over(&["jobs@"]).run(), &["NAME@SERVER[:RIGHTS]"]);
    refused(&orders(&["jobs@s"]).input("x\n").run(), &["jobs@s", "--via URL"]);
    let call = wasmpool().args(["call", "x.wasm", "f", "--share", "jobs@s"]).run();
    refused(&call, &["jobs@s", "--via URL"]);
}

#[test]
fn a_file_that_cannot_be_served_is_refused_with_the_way_out() {
    let Some(broker) = Broker::start() else { return };
    let folder = TempDir::new().unwrap();
    let serve = |name: &str, objects: &[&str]| broker.objects(folder.path(), name, objects);
    refused(&serve("s", &[]).run(), &["s.toml", "no object to serve", "[share]"]);
    refused(&serve("s", &["jobs = \"stack\""]).run(), &["s.toml", "`jobs`", "`stack` is no kind"]);
    refused(&serve("a.b", &["jobs = \"queue\""]).run(), &["a.b", "--name NAME"]);
    refused(&serve("s", &["jobs = \"queue\""]).args(["--name", "a.b"]).run(), &["--name", "a-z, A-Z, 0-9"]);
    let state = folder.path().join("s.toml");
    refused(&serve("s", &["jobs = \"queue\""]).arg("--state").arg(&state).run(), &["would overwrite", "s.toml"]);
    let state = folder.path().join("state.json");
    fs::write(&state, "{\"jobs\": 5}").unwrap();
    refused(&serve("s", &["jobs = \"queue\""]).arg("--state").arg(&state).run(), &["state.json", "jobs"]);
    assert_eq!(fs::read_to_string(&state).unwrap(), "{\"jobs\": 5}");
    fs::write(&state, "{\"others\": []}").unwrap();
    let unknown = serve("s", &["jobs = \"queue\""]).arg("--state").arg(&state).run();
    refused(&unknown, &["no shared object `others`", "name it in [share]"]);
    let host = serve("s", &["jobs = \"queue\""]).env("WASMPOOL_NKEY", broker.nkey("a")).run();
    refused(&host, &["does not permit", "--print-permissions"]);
}

/// A host may ask for all objects of a server, but not in the name of another, nor as a program.
#[test]
fn a_host_speaks_to_a_server_under_its_own_name_only() {
    let Some(broker) = Broker::start() else { return };
    let folder = TempDir::new().unwrap();
    let _server = broker.serve_objects(folder.path(), "s", &["gate = \"lock\""]);
    let _host = broker.serve("a");
    let mut hostile = broker.speaker("hostile");
    let run_id = "0".repeat(32);
    for subject in [format!("wp.s.s.a.{run_id}"), format!("wp.s.s.hostile.{run_id}.p"), "wp.s.s.w".to_owned()] {
        hostile.publish(&subject, "", b"x");
        let errors = hostile.settle();
        assert!(errors.iter().any(|error| error.contains("Permissions Violation")), "{subject}: {errors:?}");
    }
    for subject in ["wp.s.s.*.*", "wp.s.>", "_INBOX.a.>"] {
        hostile.subscribe(subject);
        let errors = hostile.settle();
        assert!(errors.iter().any(|error| error.contains("Permissions Violation")), "{subject}: {errors:?}");
    }
    // What it says under its own name is nothing that a near end says, and harms nobody.
    for bytes in [&b""[..], b"x", &[0; 100], &[255; 4000]] {
        hostile.publish(&format!("wp.s.s.hostile.{run_id}"), "", bytes);
        hostile.publish(&format!("wp.s.s.hostile.{run_id}"), "_INBOX.a.1.2.q", bytes);
    }
    assert_eq!(hostile.settle(), Vec::<String>::new());
    assert_eq!(run(&broker, &["gate@s"], "lock gate - ; unlock gate ; locked gate\n"), ["acquired ok false"]);
}

#[test]
fn a_second_server_with_the_same_file_of_its_state_is_refused() {
    let Some(broker) = Broker::start() else { return };
    let (folder, objects) = (TempDir::new().unwrap(), ["total = \"value:s64\""]);
    let state = folder.path().join("state.json");
    let named = |name: &str| {
        let run = broker.objects(folder.path(), "s", &objects).args(["--name", name]);
        run.arg("--state").arg(&state)
    };
    let first = serving(named("one"));
    let _host = broker.serve("a");
    run(&broker, &["total@one"], "add total s64:3\n");
    let other = ["uses the file", "state.json of --state", &format!("process {}", first.pid()), "name another file"];
    refused(&named("two").run(), &other);
    // It is the same file by another path, too.
    let link = folder.path().join("link.json");
    std::os::unix::fs::symlink(&state, &link).unwrap();
    let by_link = broker.objects(folder.path(), "s", &objects).args(["--name", "two"]).arg("--state").arg(&link);
    refused(&by_link.run(), &["uses the file", &format!("process {}", first.pid())]);
    end(first);
    assert_eq!(read(&state), json!({ "total": 3 }));
    let again = serving(named("two"));
    assert_eq!(run(&broker, &["total@two"], "load total\n"), ["3"]);
    end(again);
}

/// As if the clock had been ahead when the first were given: where it is now, tokens would begin below them.
#[test]
fn tokens_never_go_back_over_a_restart_of_their_server_also_after_a_kill() {
    let Some(broker) = Broker::start() else { return };
    let folder = TempDir::new().unwrap();
    let state = folder.path().join("state.json");
    let serve = || serving(broker.objects(folder.path(), "s", &["gate = \"lock\""]).arg("--state").arg(&state));
    let _host = broker.serve("a");
    let token = || -> u64 {
        let came = run(&broker, &["gate@s"], "lock gate - ; token gate ; unlock gate\n");
        let mut words = came[0].split(' ').filter_map(|word| word.parse().ok());
        words.next_back().unwrap_or_else(|| panic!("no token: {came:?}"))
    };
    let server = serve();
    let first = token();
    end(server);
    assert_eq!(read(&state), json!({ "@token": first }));
    let ahead = first + 1_000_000_000_000;
    fs::write(&state, json!({ "@token": ahead }).to_string()).unwrap();
    let mut server = serve();
    let second = token();
    assert!(second > ahead, "{second} after {ahead}");
    // The file knows nothing of it.
    server.signal(Signal::SIGKILL);
    server.wait();
    assert_eq!(read(&state), json!({ "@token": ahead }));
    let server = serve();
    let third = token();
    assert!(third > second, "{third} after {second}");
    end(server);
    assert_eq!(read(&state), json!({ "@token": third }));
    // A run may begin with such a file.
    let filled = orders(&["gate=lock"]).arg("--share-in").arg(&state).input("lock gate - ; token gate\n").run();
    assert!(filled.exits(0).text().contains(&(third + 1).to_string()));
}

#[test]
fn a_server_whose_terminal_is_closed_ends_as_one_that_is_told_to() {
    let Some(broker) = Broker::start() else { return };
    let folder = TempDir::new().unwrap();
    let state = folder.path().join("state.json");
    let mut server = serving(broker.objects(folder.path(), "s", &["total = \"value:s64\""]).arg("--state").arg(&state));
    let _host = broker.serve("a");
    run(&broker, &["total@s"], "add total s64:7\n");
    server.signal(Signal::SIGHUP);
    assert_eq!(server.code(), 0, "{}", server.said());
    assert_eq!(read(&state), json!({ "total": 7 }));
}
