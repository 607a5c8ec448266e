//! Those who are let in and lie: a host to coordinators, and a coordinator to hosts.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{SEVENTH_TRAPS, done, is_complete, long_run, numbers, via};
use crate::support::broker::Broker;
use crate::support::guest::wat;
use crate::support::nats::{Heard, Speaker};
use crate::support::run::map;
use crate::support::until;
use crate::support::wat::{SPIN_IF_NEGATIVE, SQUARE};

/// Numbers of the protocol between hosts and coordinators.
const PROTOCOL: u8 = 1;
const CHUNK_HEAD: usize = 46;

/// What a host says of outcomes: which chunk they are of, and which part they are.
#[derive(Clone)]
struct Head {
    life: u64,
    copy: u64,
    first: u64,
    count: u32,
    digest: [u8; 16],
    receipt: [u64; 5],
    part: u32,
    last: u8,
}

impl Head {
    /// Reads what a host is given.
    fn of_chunk(chunk: &[u8], reply: &str) -> Head {
        let number = |at: usize| u64::from_le_bytes(chunk[at..at + 8].try_into().unwrap());
        let tokens: Vec<u64> = reply.split('.').map(|token| token.parse().unwrap_or(0)).collect();
        let at = tokens.len() - if reply.split('.').count() > 9 { 6 } else { 5 };
        Head {
            life: 1,
            copy: number(2),
            first: number(10),
            count: u32::from_le_bytes(chunk[18..22].try_into().unwrap()),
            digest: chunk[30..46].try_into().unwrap(),
            receipt: tokens[at..at + 5].try_into().unwrap(),
            part: 0,
            last: 1,
        }
    }

    fn with(&self, outcomes: &[u8]) -> Vec<u8> {
        let mut bytes = vec![PROTOCOL, self.last];
        [self.life, self.copy, self.first].iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
        bytes.extend_from_slice(&self.count.to_le_bytes());
        bytes.extend_from_slice(&self.digest);
        self.receipt.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
        bytes.extend_from_slice(&self.part.to_le_bytes());
        bytes.extend_from_slice(outcomes);
        bytes
    }
}

/// Returns an outcome that says it is so long, with these bytes of it.
fn outcome(len: u32, bytes: &[u8]) -> Vec<u8> {
    [&0_u32.to_le_bytes()[..], &len.to_le_bytes(), &0_u32.to_le_bytes(), &0_u64.to_le_bytes(), bytes].concat()
}

/// Returns the most memory that a process has had, and has it counted anew, in KiB.
fn peak(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("its memory");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

fn beat(held: &[u64]) -> Vec<u8> {
    json!({ "life": 1, "workers": 1, "held": held, "leaving": false }).to_string().into_bytes()
}

/// Waits until the server sends a message in which `is` finds something.
fn hear<T>(speaker: &mut Speaker, mut is: impl FnMut(&str, &str, &[u8]) -> Option<T>) -> T {
    loop {
        if let Heard::Message { subject, reply, payload } = speaker.next()
            && let Some(found) = is(&subject, &reply, &payload)
        {
            return found;
        }
    }
}

#[test]
fn a_host_that_lies_harms_no_run_and_is_ignored_and_named() {
    let Some(broker) = Broker::start() else { return };
    let mut liar = broker.speaker("liar");
    let _hosts = [broker.serve("a"), broker.serve("b")];
    let folder = TempDir::new().unwrap();
    let items = 12_000;
    let mut run = long_run(&broker, items, &folder, &["-c", "4"]);
    until("the run goes on", || (done(&folder) > 50).then_some(()));
    let stream = broker.streams().pop().expect("the stream of the run");
    let id = stream.trim_start_matches("WP-").to_owned();
    let before = peak(run.pid());
    liar.subscribe("_INBOX.liar.>");
    let to = |kind: &str| format!("wp.{id}.{kind}.liar");
    liar.publish(&to("b"), "", &beat(&[]));
    // It takes some chunks, of which it may say what it wants but what is true.
    liar.publish(
        &format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.wp"),
        "_INBOX.liar.p",
        br#"{"batch":3,"expires":5000000000}"#,
    );
    let given = hear(&mut liar, |_, reply, chunk| (chunk.len() > CHUNK_HEAD).then(|| Head::of_chunk(chunk, reply)));
    liar.publish(&to("b"), "", &beat(&[given.copy]));
    let one = outcome(7, b"1000000");
    let whole = one.repeat(given.count as usize);
    let mine = || "_INBOX.liar.1.2.x".to_owned();
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000)).into_bytes();
    let wide: Vec<u64> = (0..45_000).collect();
    let lies: Vec<(String, String, Vec<u8>)> = vec![
        // What is true, twice.
        (to("o"), mine(), given.with(&whole)),
        (to("o"), mine(), given.with(&whole)),
        (to("o"), mine(), Head { digest: [9; 16], ..given.clone() }.with(&whole)),
        (to("o"), mine(), Head { count: given.count + 1, ..given.clone() }.with(&whole)),
        (to("o"), mine(), Head { copy: given.copy + 1, ..given.clone() }.with(&whole)),
        (to("o"), mine(), Head { first: 0, copy: 0, ..given.clone() }.with(&whole)),
        (to("o"), mine(), Head { last: 0, ..given.clone() }.with(&one)),
        (to("o"), mine(), given.with(&outcome(1 << 30, b"x"))),
        (to("o"), mine(), Head { last: 7, ..given.clone() }.with(&whole)),
        (to("o"), mine(), b"nothing".to_vec()),
        (to("o"), format!("wp.{id}.k"), given.with(&whole)),
        (to("o"), "_INBOX.a.1.2.x".to_owned(), given.with(&whole)),
        ("wp.00000000000000000000000000000001.o.liar".to_owned(), mine(), given.with(&whole)),
        (format!("wp.{id}.o.a"), mine(), given.with(&whole)),
        (format!("wp.{id}.b.b"), String::new(), beat(&[])),
        (format!("$JS.ACK.{stream}.wp.1.1.1.1.0"), String::new(), b"+ACK".to_vec()),
        (to("b"), String::new(), deep),
        (to("b"), String::new(), beat(&wide)),
        (to("b"), String::new(), vec![b'{'; 900_000]),
        (
            to("b"),
            String::new(),
            json!({ "life": 2, "workers": u32::MAX, "held": [], "leaving": false }).to_string().into(),
        ),
        (to("i"), mine(), br#"{"chunk":{"copy":0,"offset":0}}"#.to_vec()),
        (to("i"), mine(), br#"{"task":{"offset":18446744073709551615}}"#.to_vec()),
        (to("i"), format!("$JS.API.STREAM.DELETE.{stream}"), br#"{"task":{"offset":0}}"#.to_vec()),
        (to("i"), mine(), vec![0; 1_000_000]),
        ("wp.h.liar".to_owned(), String::new(), vec![b'9'; 100_000]),
    ];
    for (subject, reply, payload) in lies.iter().cycle().take(1_000) {
        liar.publish(subject, reply, payload);
    }
    let denied = liar.settle();
    assert!(denied.len() >= 3 * 1_000 / lies.len(), "{denied:?}");
    until("the host is named", || run.said().contains("host liar breaks the protocol").then_some(()));
    let more = peak(run.pid()).saturating_sub(before);
    assert!(more <= 64 << 10, "{more} KiB more");
    let (code, said) = (run.code(), run.stderr());
    assert_eq!(code, 0, "{said}");
    is_complete(&folder, items);
    assert!(!said.contains("host a breaks") && !said.contains("host b breaks"), "{said}");
    assert!(broker.streams().is_empty(), "{:?}", broker.streams());
}

/// It takes part as any host does, and lies about the results of what it is given.
#[test]
fn a_host_that_lies_about_results_is_found_by_the_check_and_named() {
    let Some(broker) = Broker::start() else { return };
    let mut liar = broker.speaker("liar");
    liar.subscribe("_INBOX.liar.>");
    liar.subscribe("wp.*.k");
    assert_eq!(liar.settle(), Vec::<String>::new());
    let run = via(&broker, map(&wat(SQUARE))).args(["--deterministic", "--check", "100%", "-c", "1"]);
    let mut run = run.input("3\n".repeat(20)).start();
    let id = hear(&mut liar, |subject, _, _| subject.strip_prefix("wp.")?.strip_suffix(".k").map(str::to_owned));
    let _host = broker.serve("honest");
    let to = |kind: &str| format!("wp.{id}.{kind}.liar");
    let mut held: Vec<u64> = Vec::new();
    liar.publish(&to("b"), "", &beat(&[]));
    let pull = format!("$JS.API.CONSUMER.MSG.NEXT.WP-{id}.wp");
    liar.publish(&pull, "_INBOX.liar.p", br#"{"batch":1,"expires":20000000000}"#);
    while !run.has_ended() {
        match liar.next() {
            // The coordinator says every two seconds that it is there.
            Heard::Message { subject, payload, .. } if subject.ends_with(".k") => {
                if payload.ends_with(b"\"ended\":true}") {
                    break;
                }
                liar.publish(&to("b"), "", &beat(&held));
            }
            Heard::Message { reply, payload, .. } if payload.len() > CHUNK_HEAD => {
                let given = match reply.is_empty() {
                    true => Head { receipt: [0; 5], ..Head::of_chunk(&payload, "0.0.0.0.0.0") },
                    false => Head::of_chunk(&payload, &reply),
                };
                held.push(given.copy);
                liar.publish(&to("b"), "", &beat(&held));
                liar.publish(&to("o"), "_INBOX.liar.1.2.x", &given.with(&outcome(2, b"10")));
                liar.publish(&pull, "_INBOX.liar.p", br#"{"batch":1,"expires":20000000000}"#);
            }
            _ => {}
        }
    }
    let said = run.stderr();
    assert_eq!(run.code(), 2, "{said}");
    assert!(said.contains("liar") && said.contains("honest") && said.contains("different outcomes of item"), "{said}");
}

/// A host of an earlier version refuses, as one of this version does; the run waits for another, and names what it has seen.
#[test]
fn hosts_of_another_engine_are_not_used_and_a_run_that_finds_no_other_ends_and_names_them() {
    let Some(broker) = Broker::start() else { return };
    let mut speaker = broker.administrator();
    let (mut manifest, task) = of_a_real_run(&broker, &mut speaker, SEVENTH_TRAPS);
    // What a host of this version says to a run that wants another one.
    let host = broker.serve("real");
    let other = json!({ "wasmpool": "0.0.9", "wasmtime": "12.3.4", "target": "riscv64-linux" });
    manifest["engine"] = other.clone();
    manifest["call"]["deterministic"] = json!(true);
    let id = "6".repeat(32);
    speaker.subscribe(&format!("wp.{id}.*.real"));
    speaker.publish(&format!("wp.{id}.k"), "", br#"{"coordinator":1,"ended":false}"#);
    let asks = manifest.to_string().into_bytes();
    let refused = loop {
        let Heard::Message { subject, reply, payload } = speaker.next() else { continue };
        if subject.ends_with(".i.real") {
            let bytes = if payload.starts_with(b"{\"task") { &task } else { &asks };
            speaker.publish(&reply, "", &answer(bytes.len() as u64, bytes));
        } else if subject.ends_with(".b.real") {
            let beat: Value = serde_json::from_slice(&payload).expect("JSON");
            if let Some(refused) = beat.get("refused") {
                break refused.clone();
            }
        }
    };
    assert_eq!(refused["cause"], "version");
    let message = refused["message"].as_str().expect("a text").to_owned();
    assert!(message.contains("wasmpool 0.0.9 with wasmtime 12.3.4 on riscv64-linux"), "{message}");
    assert!(host.workers().is_empty(), "it has workers for a run that it refuses");
    drop(host);
    // A run whose only host says that.
    let run = via(&broker, map(&wat(SQUARE))).arg("--deterministic").input("1\n");
    let mut run = run.start();
    let mut old = broker.speaker("old");
    old.subscribe("wp.*.k");
    let refuses = json!({ "life": 1, "workers": 0, "held": [], "leaving": false, "refused": refused }).to_string();
    while !run.has_ended() {
        let Heard::Message { subject, payload, .. } = old.next() else { continue };
        if payload.ends_with(b"\"ended\":true}") {
            break;
        }
        if let Some(id) = subject.strip_prefix("wp.").and_then(|rest| rest.strip_suffix(".k")) {
            old.publish(&format!("wp.{id}.b.old"), "", refuses.as_bytes());
        }
    }
    let said = run.stderr();
    assert_eq!(run.code(), 2, "{said}");
    assert!(said.contains("no host has the version that this run wants; old: ") && said.contains(&message), "{said}");
}

/// Chunks and results of a run, however large, take no more of a host's memory than it was told to take, and a run of others goes
/// on meanwhile.
#[test]
fn a_coordinator_that_gives_ever_more_makes_no_host_grow_beyond_its_buffer() {
    let Some(broker) = Broker::start() else { return };
    let mut liar = broker.administrator();
    let (manifest, task) = of_a_real_run(&broker, &mut liar, SPIN_IF_NEGATIVE);
    let buffer = 48 << 20;
    let host = broker.host("a").args(["--buffer", "48MiB"]).start();
    until("it serves", || host.said().contains(" serves with ").then_some(()));
    let before = peak(host.pid());
    let id = "8".repeat(32);
    liar.subscribe(&format!("wp.{id}.*.a"));
    let asks = manifest.to_string().into_bytes();
    let size = 6 << 20;
    // Items with their headers: one on which the worker is busy for ever, and one that is large.
    let item = |text: &[u8]| [&(text.len() as u64).to_ne_bytes()[..], text].concat();
    let (endless, large) = (item(b"-1"), item(&vec![b'7'; size - 8]));
    let (mut ready, mut given, mut sent) = (None, 0, 0_u64);
    let mut honest = via(&broker, map(&wat(SQUARE))).input(numbers(2_000)).args(["-c", "10"]).start();
    liar.publish(&format!("wp.{id}.k"), "", br#"{"coordinator":1,"ended":false}"#);
    let until_then = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until_then && sent < 4 * buffer {
        let Heard::Message { subject, reply, payload } = liar.next() else { continue };
        if subject.ends_with(".b.a") {
            let beat: Value = serde_json::from_slice(&payload).expect("JSON");
            if beat["workers"] != 0 && given < 20 {
                ready = beat["life"].as_u64();
            }
            liar.publish(&format!("wp.{id}.k"), "", br#"{"coordinator":1,"ended":false}"#);
        } else if subject.ends_with(".i.a") {
            let wanted: Value = serde_json::from_slice(&payload).expect("JSON");
            let (kind, wanted) = wanted.as_object().and_then(|wanted| wanted.iter().next()).expect("what it wants");
            let bytes = match kind.as_str() {
                "manifest" => &asks,
                "task" => &task,
                _ => &large,
            };
            let offset = wanted["offset"].as_u64().expect("a number") as usize;
            let part = &bytes[offset..bytes.len().min(offset + 500_000)];
            sent += part.len() as u64;
            liar.publish(&reply, "", &answer(bytes.len() as u64, part));
        }
        // Chunks whose items are fetched, and then wait for a worker.
        while let Some(life) = ready.filter(|_| given < 20) {
            given += 1;
            let items = if given == 1 { &endless } else { &large };
            let mut chunk = vec![PROTOCOL, u8::from(given > 1)];
            [given, given].iter().for_each(|number: &u64| chunk.extend_from_slice(&number.to_le_bytes()));
            chunk.extend_from_slice(&1_u32.to_le_bytes());
            chunk.extend_from_slice(&(items.len() as u64).to_le_bytes());
            chunk.extend_from_slice(&blake3::hash(items).as_bytes()[..16]);
            if given == 1 {
                chunk.extend_from_slice(items);
            }
            liar.publish(&format!("_INBOX.a.{life:x}.{id}.d"), "", &chunk);
        }
    }
    assert_eq!(given, 20, "{}", host.said());
    assert!(sent > size as u64, "{sent}");
    let more = peak(host.pid()).saturating_sub(before);
    assert!(more <= (buffer >> 10) + (40 << 10), "{more} KiB more");
    assert_eq!(honest.code(), 0, "{}", honest.stderr());
}

/// What a run asks of its hosts, and its task, as its coordinator gives them.
fn of_a_real_run(broker: &Broker, administrator: &mut Speaker, task: &str) -> (Value, Vec<u8>) {
    let _run = via(broker, map(&wat(task))).args(["--timeout", "600s"]).start();
    administrator.subscribe("wp.*.k");
    let id = hear(administrator, |subject, _, _| subject.strip_prefix("wp.")?.strip_suffix(".k").map(str::to_owned));
    administrator.subscribe("_INBOX.x.>");
    let mut fetch = |what: &str| {
        administrator.publish(
            &format!("wp.{id}.i.x"),
            "_INBOX.x.1.2.3",
            format!("{{\"{what}\":{{\"offset\":0}}}}").as_bytes(),
        );
        hear(administrator, |subject, _, bytes| (subject == "_INBOX.x.1.2.3").then(|| bytes[8..].to_vec()))
    };
    let manifest = serde_json::from_slice(&fetch("manifest")).expect("JSON");
    (manifest, fetch("task"))
}

/// Returns an answer to a host: how many bytes there are in all, and the first.
fn answer(size: u64, bytes: &[u8]) -> Vec<u8> {
    [&size.to_le_bytes()[..], bytes].concat()
}

#[test]
fn a_coordinator_that_lies_takes_no_host_from_others() {
    let Some(broker) = Broker::start() else { return };
    let mut liar = broker.administrator();
    let (manifest, task) = of_a_real_run(&broker, &mut liar, SEVENTH_TRAPS);
    let mut host = broker.serve("a");
    let before = peak(host.pid());
    let whole = |manifest: &Value| manifest.to_string().into_bytes();
    let changed = |member: &str, value: Value| {
        let mut manifest = manifest.clone();
        manifest[member] = value;
        whole(&manifest)
    };
    // What each run's coordinator answers, for its manifest and for its task: how many bytes it says there are, and some.
    let large = 10 << 30;
    let (asks, wasm) = (whole(&manifest), task.clone());
    let of = |bytes: &[u8]| (bytes.len() as u64, bytes.to_vec());
    type Answer = (u64, Vec<u8>);
    let lies: Vec<(&str, Answer, Answer)> = vec![
        ("a manifest of 10 GiB", (large, asks.clone()), of(&wasm)),
        ("a manifest that is none", of(b"[[[[["), of(&wasm)),
        ("a deep manifest", of(&[b'['; 500_000]), of(&wasm)),
        ("an unknown protocol", of(&changed("protocol", json!(200))), of(&wasm)),
        ("another version", of(&changed("version", json!("99.0.0"))), of(&wasm)),
        ("a task of 10 GiB", of(&asks), (large, wasm.clone())),
        ("a wrong hash", of(&changed("task_hash", json!("00"))), of(&wasm)),
        ("a task that is none", of(&asks), of(b"\0asm nonsense")),
        ("a task that never comes", of(&asks), (1 << 20, Vec::new())),
        ("chunks that lie", of(&asks), of(&wasm)),
    ];
    let name = |at: usize| format!("{at:032x}");
    let control = br#"{"coordinator":1,"ended":false}"#;
    let chunks = lies.len();
    let stream = format!("WP-{}", name(chunks));
    let made = json!({ "name": stream, "subjects": [format!("wp.{}.c", name(chunks))], "retention": "workqueue", "storage": "memory" });
    liar.ask(&format!("$JS.API.STREAM.CREATE.{stream}"), made.to_string().as_bytes());
    let consumer =
        json!({ "stream_name": stream, "config": { "name": "wp", "durable_name": "wp", "ack_policy": "explicit" } });
    liar.ask(&format!("$JS.API.CONSUMER.CREATE.{stream}.wp"), consumer.to_string().as_bytes());
    let head = |away: u8, copy: u64, count: u32, size: u64| {
        let mut head = vec![PROTOCOL, away];
        head.extend_from_slice(&copy.to_le_bytes());
        head.extend_from_slice(&0_u64.to_le_bytes());
        head.extend_from_slice(&count.to_le_bytes());
        head.extend_from_slice(&size.to_le_bytes());
        head.extend_from_slice(&[1; 16]);
        head
    };
    let heads = [
        head(1, 1, 1, 10 << 30),
        head(1, 2, u32::MAX, u64::MAX),
        head(0, 3, u32::MAX, 4),
        [head(0, 4, 2, 8), vec![255; 8]].concat(),
        vec![PROTOCOL; 7],
        vec![250; 60],
        head(7, 5, 0, 0),
    ];
    for head in heads.iter().cycle().take(70) {
        liar.publish(&format!("wp.{}.c", name(chunks)), "", head);
    }
    liar.subscribe("wp.*.i.*");
    for at in 0..10_000 {
        liar.publish(&format!("wp.{}.k", name(at + 1)), "", control);
    }
    // It answers what it is asked for a while, and a run of others goes on.
    let mut run = via(&broker, map(&wat(SQUARE))).input(numbers(2_000)).args(["-c", "10"]).start();
    let until_then = Instant::now() + Duration::from_secs(6);
    let mut asked: BTreeMap<usize, u32> = BTreeMap::new();
    while Instant::now() < until_then {
        let Heard::Message { subject, reply, payload } = liar.next() else { continue };
        // It hears itself, too.
        if !subject.contains(".i.") {
            continue;
        }
        let at = subject.split('.').nth(1).and_then(|id| usize::from_str_radix(id, 16).ok()).unwrap_or(0);
        let Some((_, asks, wasm)) = at.checked_sub(1).and_then(|at| lies.get(at)) else { continue };
        *asked.entry(at).or_default() += 1;
        let wanted: Value = serde_json::from_slice(&payload).expect("JSON");
        let (size, bytes) = match wanted.as_object().and_then(|wanted| wanted.keys().next()).map(String::as_str) {
            Some("manifest") => asks.clone(),
            Some("task") => wasm.clone(),
            _ => (10 << 30, vec![0; 500_000]),
        };
        liar.publish(&reply, "", &answer(size, &bytes));
    }
    assert_eq!(asked.len(), lies.len(), "{asked:?}");
    assert_eq!(run.code(), 0, "{}", run.stderr());
    assert!(!host.has_ended(), "{}", host.said());
    let more = peak(host.pid()).saturating_sub(before);
    assert!(more <= 96 << 10, "{more} KiB more");
    host.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(host.code(), 0, "{}", host.stderr());
}
