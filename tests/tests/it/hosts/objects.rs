//! `--share` with `--via`: objects are across machines what they are on one, whatever becomes of hosts and of the broker.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::shared::counting::Known;
use crate::shared::{Place, Session, endings, orders};
use crate::support::broker::Broker;
use crate::support::until;

/// Runs items one after the other over a host, and on one machine, and checks that the same comes of them.
#[track_caller]
fn alike(broker: &Broker, shares: &[&str], items: &[&str]) -> Vec<String> {
    let input: String = items.iter().map(|item| format!("{item}\n")).collect();
    let run = || orders(shares).args(["-j", "1"]).input(input.clone());
    let here = run().run();
    let there = broker.via(run()).run();
    let plain = |text: String| text.replace(" on a,", ",");
    let there: Vec<String> = endings(&there).into_iter().map(plain).collect();
    assert_eq!(there, endings(&here));
    there
}

#[test]
fn each_kind_is_over_hosts_what_it_is_on_one_machine() {
    let Some(broker) = Broker::start() else { return };
    let _host = broker.serve("a");
    alike(
        &broker,
        &["jobs=queue:3", "done=queue"],
        &[
            "put jobs a - ; put jobs b 0 ; put jobs c 0 ; ?put jobs d 0 ; size jobs ; full jobs",
            "get jobs - ; take jobs 0 ; trap",
            "get-many jobs 5 0 ; ?get jobs 0 ; task-done jobs ; ??task-done jobs ; join jobs 0",
            "put-long done 2000000 ; size done ; shutdown jobs ; ?put jobs a 0 ; ?get jobs 0",
        ],
    );
    alike(
        &broker,
        &["n=value:s64", "f=value:f64:ro", "a=array:u8:4", "w=array:u64:4", "c=value:char"],
        &[
            "add n s64:5 ; add n s64:-7 ; load n ; swap n s64:-2 s64:9 ; swap n s64:0 s64:1 ; ??add n u8:1",
            "??store f f64:1 ; load f ; cell n s64 ; count n 30",
            "array-add a 1 u8:255 ; array-add a 1 u8:2 ; array-read a 0 4 ; ??array-load a 4 ; ??array-read a 3 2",
            "array-write w 1 7 8 ; ??array-write w 3 7 8 ; array-read w 0 4 ; array-length a ; store c char:x ; load c",
            "??array-write a 0 1 ; cells a u8",
        ],
    );
    alike(
        &broker,
        &["gate=lock", "again=rlock", "room=semaphore:1:bounded", "go=event", "turn=condition"],
        &[
            "lock gate - ; lock gate 1 ; locked gate ; unlock gate ; ??unlock gate",
            "rlock again - ; rlock again 0 ; runlock again ; rlocked again ; fail",
            "rlock again - ; runlock again ; acquire room 0 ; acquire room 0 ; slots room ; trap",
            "acquire room 0 ; release room ; ??release room ; wait-event go 1 ; set-event go ; wait-event go -",
            "enter turn - ; notify turn 1 ; wait turn 1 ; leave turn ; is-set go ; clear-event go ; is-set go",
            "lock gate - ; forget",
            "lock gate - ; unlock gate",
        ],
    );
    alike(
        &broker,
        &["seen=dict", "list=list", "ns=namespace", "p=pipe", "meet=barrier:1"],
        &[
            "dict-set seen a 1 ; dict-get seen a ; dict-swap seen a 1 2 ; dict-get seen a ; dict-increment seen n 5",
            "dict-get seen a ; dict-set-many seen x=1 y=2 ; dict-page seen - 9 ; dict-pop seen x ; dict-length seen",
            "push list a ; extend list b c ; list-set list 1 z ; range list 0 9 ; list-pop list -1 ; list-length list",
            "ns-set ns k v ; ns-get ns k ; ns-names ns ; ns-delete ns k ; ns-get ns k",
            "send p/second a - ; recv p/first - ; poll p/first 0 ; meet meet - ; parties meet ; is-broken meet",
        ],
    );
}

#[test]
fn objects_are_filled_before_and_told_after_a_run_over_hosts() {
    let Some(broker) = Broker::start() else { return };
    let _hosts = [broker.serve("a"), broker.serve("b")];
    let place = Place::new();
    let start = place.path("start.json");
    std::fs::write(&start, r#"{"total": 5, "jobs": ["x"], "seen": {"hits": "2"}}"#).unwrap();
    let item = "add total s64:1 ; dict-increment seen hits 1";
    broker
        .via(orders(&["total=value:s64", "jobs=queue", "seen=dict"]))
        .args(["-j", "4"])
        .arg("--share-in")
        .arg(&start)
        .arg("--share-out")
        .arg(place.path("out.json"))
        .input(format!("{item}\n").repeat(50))
        .run()
        .exits(0);
    assert_eq!(place.read("out.json"), json!({ "total": 55, "jobs": ["x"], "seen": { "hits": "52" } }));
}

/// Starts a run whose items are given one after the other.
fn session(broker: &Broker, workers: &str, shares: &[&str]) -> Session {
    Session::of(broker.via(orders(shares)).args(["-j", workers, "--unordered", "--timeout", "10m"]))
}

#[test]
fn items_on_two_hosts_wait_for_each_other() {
    let Some(broker) = Broker::start() else { return };
    let _hosts = [broker.serve("a"), broker.serve("b")];
    let shares = ["jobs=queue", "back=queue", "go=event", "meet=barrier:2", "p=pipe"];
    let mut session = session(&broker, "2", &shares);
    session.give("get jobs - ; put back pong - ; wait-event go - ; recv p/first - ; meet meet -");
    session.give("put jobs ping - ; get back - ; set-event go ; send p/second m - ; meet meet -");
    let came = session.both().map(|text| text.trim_end_matches(['0', '1']).to_owned());
    assert_eq!(came, ["ok pong ok ok ", "ping ok true m "]);
    assert_eq!(session.end(), 0);
}

/// The next holder has the lock of a host that was killed within 7 s, and a higher token.
#[test]
fn a_lock_of_a_killed_host_is_free_within_seven_seconds_and_the_next_token_is_higher() {
    let Some(broker) = Broker::start() else { return };
    let mut first = broker.serve("first");
    let mut session = session(&broker, "2", &["gate=lock", "told=queue", "go=queue"]);
    session.give("lock gate - ; token gate");
    let before = token(&session.next());
    // It waits while it holds the lock. When it runs again elsewhere, it is let go.
    session.give("lock gate - ; put told there - ; get go -");
    let _second = broker.serve("second");
    session.give("get told - ; put told held -");
    assert_eq!(session.next(), "there ok");
    first.signal(Signal::SIGKILL);
    first.wait();
    let killed = Instant::now();
    // Whoever of the two is first at the lock: one is told who left it.
    session.give("lock gate - ; token gate ; put go a - ; unlock gate");
    let came = session.both();
    assert!(killed.elapsed() < Duration::from_secs(30), "{:?}", killed.elapsed());
    let of = came.iter().find(|text| text.contains("ok ok")).unwrap_or_else(|| panic!("{came:?}"));
    assert!(of.starts_with("abandoned:worker 1 on first"), "{came:?}");
    assert!(token(of) > before, "{came:?}, {before} before");
    assert_eq!(session.end(), 0);
}

/// Returns the last number of an answer.
fn token(answer: &str) -> u64 {
    answer.split(' ').filter_map(|word| word.parse().ok()).next_back().unwrap_or_else(|| panic!("no token: {answer}"))
}

/// What a host that was stopped for a while held is others', and what it did not end runs again there.
#[test]
fn a_host_that_comes_back_has_no_part_in_what_it_held() {
    let Some(broker) = Broker::start() else { return };
    let paused = broker.serve("paused");
    let mut session = session(&broker, "2", &["gate=lock", "told=queue", "go=queue", "total=value:s64"]);
    // From now on the first host waits for an item.
    assert_eq!(session.ask("load total"), "0");
    session.give("lock gate - ; add total s64:1 ; put told there - ; get go - ; add total s64:100");
    let other = broker.serve("other");
    session.give("get told -");
    assert_eq!(session.next(), "there");
    paused.signal(Signal::SIGSTOP);
    // The lock is free when the first host is given up.
    session.give("lock gate - ; unlock gate ; load total");
    let came = session.next();
    assert!(came.starts_with("abandoned:worker 1 on paused, item 1 ok"), "{came}");
    paused.signal(Signal::SIGCONT);
    // Its item has begun again, on one host or the other, and ends once.
    session.give("get told - ; put go a -");
    let came = session.both();
    assert!(came.iter().any(|text| text == "there ok"), "{came:?}");
    let sum: i64 = came
        .iter()
        .find(|text| *text != "there ok")
        .and_then(|text| text.split(' ').next_back()?.parse().ok())
        .unwrap();
    assert_eq!(sum, 102, "what was begun twice, and ended once");
    drop(other);
    assert_eq!(session.end(), 0);
}

#[test]
fn additions_are_exact_while_a_host_is_killed() {
    let Some(broker) = Broker::start() else { return };
    let mut hosts = [broker.serve_with("a", 2), broker.serve_with("b", 2)];
    let place = Place::new();
    // Each item says in an element of its own how often it has counted; so what ran twice is known.
    let items: String = (0..60)
        .map(|nth| format!("array-add each {nth} u64:1 ; count total 50 ; array-add done {nth} u64:1\n"))
        .collect();
    let mut run = broker
        .via(orders(&["total=value:s64", "each=array:u64:60", "done=array:u64:60"]))
        .args(["-j", "8", "--unordered", "--share-out"])
        .arg(place.path("out.json"))
        .input(items)
        .start();
    for _ in 0..10 {
        run.line().expect("an outcome");
    }
    hosts[0].signal(Signal::SIGKILL);
    hosts[0].wait();
    while run.line().is_some() {}
    assert_eq!(run.code(), 0, "{}", run.said());
    let held = place.read("out.json");
    let list =
        |name: &str| -> Vec<u64> { held[name].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect() };
    let (each, done, total) = (list("each"), list("done"), held["total"].as_u64().unwrap());
    assert!(each.iter().all(|n| (1..=3).contains(n)) && done.iter().all(|n| *n >= 1), "{each:?} {done:?}");
    let (begun, ended): (u64, u64) = (each.iter().sum(), done.iter().sum());
    assert!(ended * 50 <= total && total <= begun * 50, "{total} of {begun} begun and {ended} ended");
}

/// As on one machine: what was taken and not finished comes again, and nothing else is lost or doubled.
#[test]
fn no_message_is_lost_or_doubled_while_workers_a_host_and_the_broker_are_killed() {
    let Some(mut broker) = Broker::start() else { return };
    let mut hosts = [broker.serve_with("a", 4), broker.serve_with("b", 4)];
    let access = broker.access();
    let mut step = 0;
    let known = Known::of("jobs=queue:100", "take-numbers", 10_000, Some(access), |came| {
        if came < 12 * (step + 1) {
            return;
        }
        step += 1;
        match step % 4 {
            1 | 3 => {
                if let Some(worker) = hosts.iter().flat_map(|host| host.workers()).find(|worker| worker.ticks() >= 3) {
                    worker.send(Signal::SIGKILL);
                }
            }
            2 if step < 8 => {
                hosts[0].signal(Signal::SIGKILL);
                hosts[0].wait();
                hosts[0] = broker.serve_with("a", 4);
            }
            0 if step < 8 => {
                broker.kill();
                broker.start_again();
            }
            _ => {}
        }
    });
    assert_eq!(known.lost(), 0);
    assert!(step >= 4, "{step} disturbances");
}

/// A run with objects of its own keeps no journal: what items did to them is gone with it. It begins again, with new ones.
#[test]
fn nothing_is_left_of_a_run_with_objects_whose_coordinator_was_killed_and_it_can_begin_again() {
    let Some(broker) = Broker::start() else { return };
    let hosts = [broker.serve("a"), broker.serve("b")];
    let place = Place::new();
    std::fs::write(place.path("start.json"), r#"{"total": 5}"#).unwrap();
    std::fs::write(place.path("out.json"), "what was there").unwrap();
    let start = |items: &str| {
        let run = broker.via(orders(&["total=value:s64", "jobs=queue", "gate=lock"]));
        let run = run.args(["-j", "2", "--timeout", "10m"]).arg("--share-in").arg(place.path("start.json"));
        run.arg("--share-out").arg(place.path("out.json")).input(items.to_owned())
    };
    let said = start("load total\n").arg("--journal").arg(place.path("journal")).run().exits(2).stderr;
    assert!(said.contains("--share cannot be used with --journal"), "{said}");
    // Its items hold a lock and wait for a message, on both hosts, when it is killed.
    let mut run = start("add total s64:1 ; lock gate - ; get jobs -\nadd total s64:1 ; get jobs -\n").start();
    let manager = run.child("manager");
    until("both hosts have its task", || hosts.iter().all(|host| !host.workers().is_empty()).then_some(()));
    assert!(broker.has_streams());
    run.signal(Signal::SIGKILL);
    run.wait();
    until("its objects are gone", || (!manager.lives()).then_some(()));
    assert_eq!(std::fs::read_to_string(place.path("out.json")).unwrap(), "what was there");
    // It begins with what it began with before, while hosts still have the other.
    let item = "add total s64:1 ; lock gate - ; unlock gate";
    let again = start(&format!("{item}\n").repeat(20)).run().exits(0);
    assert!(endings(&again).iter().all(|ending| ending.contains("acquired ok")), "{:?}", endings(&again));
    assert_eq!(place.read("out.json"), json!({ "total": 25, "jobs": [] }));
    until("hosts have nothing of it", || hosts.iter().all(|host| host.descendants().is_empty()).then_some(()));
    until("the broker has nothing of it", || (!broker.has_streams()).then_some(()));
}

#[test]
fn a_run_whose_manager_is_lost_ends_with_one_error() {
    let Some(broker) = Broker::start() else { return };
    let _host = broker.serve("a");
    let mut session = session(&broker, "1", &["jobs=queue"]);
    assert_eq!(session.ask("put jobs a -"), "ok");
    session.host.child("manager").send(Signal::SIGKILL);
    let code = session.host.code();
    let said = session.host.said();
    assert!(code == 2 && said.contains("the process that keeps the shared objects has ended"), "{code}: {said}");
}
