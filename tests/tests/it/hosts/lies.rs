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
use crate::support::wat::SQUARE;

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
    let items = 4_000;
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

/// What a run asks of its hosts, and its task, as its coordinator gives them.
fn of_a_real_run(broker: &Broker, administrator: &mut Speaker) -> (Value, Vec<u8>) {
    let _run = via(broker, map(&wat(SEVENTH_TRAPS))).start();
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
    let (manifest, task) = of_a_real_run(&broker, &mut liar);
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
