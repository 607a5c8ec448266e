//! Many participants at once, some of which are killed: every sum is exact, and every message is accounted for.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{Place, Session, ending, orders};
use crate::support::broker::Access;
use crate::support::record::Record;
use crate::support::{HANG, full};

/// Row 4.3.
#[test]
fn additions_of_eight_workers_to_one_value_are_exact() {
    let place = Place::new();
    let items = "count total 100000\n".repeat(8);
    orders(&["total=value:s64"])
        .args(["-j", "8", "--share-out"])
        .arg(place.path("out.json"))
        .input(items)
        .run()
        .exits(0);
    assert_eq!(place.read("out.json"), json!({ "total": 800_000 }));
}

#[test]
fn additions_to_elements_of_every_width_beside_each_other_are_exact() {
    let place = Place::new();
    let shares = ["a=array:u8:4", "b=array:s16:3", "c=array:f64:2", "d=array:u64:2"];
    let once =
        "array-add a 1 u8:1 ; array-add a 2 u8:1 ; array-add b 1 s16:-1 ; array-add c 1 f64:0.5 ; array-add d 0 u64:1";
    let item = [once; 10].join(" ; ");
    let input = format!("{item}\n").repeat(200);
    orders(&shares).args(["-j", "4", "--share-out"]).arg(place.path("out.json")).input(input).run().exits(0);
    // 2,000 additions each; bytes wrap around.
    let wanted = json!({ "a": [0, 2000 % 256, 2000 % 256, 0], "b": [0, -2000, 0], "c": [0.0, 1000.0], "d": [2000, 0] });
    assert_eq!(place.read("out.json"), wanted);
}

#[test]
fn increments_of_an_entry_and_swaps_of_a_value_by_many_are_exact() {
    let place = Place::new();
    let item = ["dict-increment seen hits 1"; 20].join(" ; ");
    let input = format!("{item}\n").repeat(100);
    orders(&["seen=dict"]).args(["-j", "4", "--share-out"]).arg(place.path("out.json")).input(input).run().exits(0);
    assert_eq!(place.read("out.json"), json!({ "seen": { "hits": "2000" } }));
}

/// Row 5.1: each reads the sum, and sets it in a second step.
#[test]
fn sums_of_many_that_a_lock_guards_are_exact() {
    let place = Place::new();
    orders(&["gate=lock", "seen=dict"])
        .args(["-j", "4", "--share-out"])
        .arg(place.path("out.json"))
        .input("guarded gate seen 500\n".repeat(8))
        .run()
        .exits(0);
    assert_eq!(place.read("out.json")["seen"], json!({ "sum": "4000" }));
}

/// Row 2.2: what one producer puts comes in its order, whoever gets it.
#[test]
fn messages_of_a_producer_keep_their_order() {
    let put: Vec<String> = (0..300).map(|nth| format!("put jobs {nth} -")).collect();
    let get = ["get jobs -"; 300].join(" ; ");
    let output =
        orders(&["jobs=queue:7"]).args(["-j", "2"]).input(format!("{}\n{get}\n", put.join(" ; "))).run().exits(0);
    let wanted: Vec<String> = (0..300).map(|nth| nth.to_string()).collect();
    assert_eq!(super::endings(&output)[1], wanted.join(" "));
}

/// What came of the numbers of the guest's `known.rs`.
pub struct Known {
    place: Place,
    total: usize,
    kills: u64,
}

impl Known {
    /// Has workers put and get numbers, of which one is killed every 50 ms until all were given out.
    fn run(queue: &str, get: &'static str) -> Known {
        let total = if full() { 1_000_000 } else { 20_000 };
        Known::of(queue, get, total, None, |_| ())
    }

    /// Does so with this many numbers. With `via`, workers are those of hosts; `disturb` is called after each outcome, with how
    /// many have come, and nobody else is killed.
    pub fn of(
        queue: &str,
        get: &'static str,
        total: usize,
        via: Option<Access>,
        mut disturb: impl FnMut(usize),
    ) -> Known {
        let place = Place::new();
        let shares = [
            queue,
            "gate=lock",
            "cursor=value:u64",
            "wrong=value:u64",
            &format!("acked=array:u8:{total}"),
            &format!("got=array:u8:{total}"),
            &format!("again=array:u8:{total}"),
        ];
        let most = if full() { 1000 } else { 100 };
        let run = match &via {
            Some(access) => access.on(orders(&shares)),
            None => orders(&shares),
        };
        let mut host = run
            .args(["-j", "8", "--unordered", "--timeout", "90s", "--share-out"])
            .arg(place.path("out.json"))
            .limit(if full() { HANG * 10 } else { HANG })
            .start();
        let mut input = host.stdin.take().expect("a pipe");
        let mut give = |orders: &str| input.write_all(orders.as_bytes()).expect("the run reads its items");
        // Some more than workers, so that none waits for the next. A turn of each outcome follows.
        let turns = [format!("put-numbers jobs {most} {total}\n"), format!("{get} jobs {most}\n")];
        let mut turns = turns.iter().cycle();
        (0..32).for_each(|_| give(turns.next().expect("it goes round")));
        let over = Arc::new(AtomicBool::new(false));
        let (kills, pid) = (Arc::new(AtomicU64::new(0)), host.pid());
        let killer = via.is_none().then(|| {
            let _ = host.child("worker");
            killer(pid, Arc::clone(&over), Arc::clone(&kills))
        });
        let mut came = 0;
        let mut failed = String::new();
        let mut left = 32;
        while left > 0 {
            let line = host.line().unwrap_or_else(|| panic!("it has ended: {}", host.said()));
            left -= 1;
            came += 1;
            disturb(came);
            let record = Record::read(&line);
            match record.kind() {
                // Only `put-numbers` comes to this number, when all are given out.
                "ok" if ending(&record) == total.to_string() => over.store(true, Ordering::Relaxed),
                "ok" | "worker-lost" => {}
                _ => writeln!(failed, "{line}").expect("text"),
            }
            if !over.load(Ordering::Relaxed) {
                give(turns.next().expect("it goes round"));
                left += 1;
            }
        }
        if let Some(killer) = killer {
            killer.join().expect("it kills");
        }
        // What is left, and what comes back from the last that were killed.
        give(&format!("{get} jobs {total}\n"));
        drop(input);
        while host.line().is_some() {}
        assert_eq!(failed, "");
        let code = host.code();
        assert!(code <= 1, "{code}: {}", host.said());
        Known { place, total, kills: kills.load(Ordering::Relaxed) }
    }

    /// Checks all numbers, and returns how many were put and never came.
    pub fn lost(&self) -> u64 {
        let held = self.place.read("out.json");
        let list = |name: &str| held[name].as_array().expect("an array").clone();
        let (acked, got, again) = (list("acked"), list("got"), list("again"));
        assert_eq!(held["wrong"], json!(0), "a message came twice, or a lock stayed held");
        assert_eq!(held["cursor"], json!(self.total));
        assert_eq!(held["jobs"], json!([]), "messages were left");
        let mut lost = 0;
        for number in 0..self.total {
            let of = |list: &[Value]| list[number].as_u64().expect("a count");
            assert!(of(&got) <= 1, "{number} came twice without being `redelivered`");
            lost += u64::from(of(&acked) == 1 && of(&got) + of(&again) == 0);
        }
        eprintln!("{} numbers, {} killed, {lost} lost", self.total, self.kills);
        lost
    }
}

/// Kills a worker every 50 ms until it is over: the oldest of those that have begun to work. A run gives up if its
/// workers end again and again before they are ready.
fn killer(host: i32, over: Arc<AtomicBool>, kills: Arc<AtomicU64>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(50));
            let workers = crate::support::host::children(host, "worker");
            if let Some(worker) = workers.iter().find(|worker| worker.ticks() >= 3) {
                worker.send(Signal::SIGKILL);
                kills.fetch_add(1, Ordering::Relaxed);
            }
        }
    })
}

/// Rows 0.8, 2.14, 2.16 and 2.19.
#[test]
fn no_message_that_was_taken_is_lost_or_doubled_while_workers_are_killed() {
    for queue in ["jobs=queue", "jobs=queue:100"] {
        let known = Known::run(queue, "take-numbers");
        assert_eq!(known.lost(), 0, "{queue}");
        assert!(known.kills > 0, "nobody was killed");
    }
}

/// A message that was got without being finished later is gone with the process that has it, and no other is.
#[test]
fn each_killed_worker_loses_at_most_the_message_that_it_had_got() {
    let known = Known::run("jobs=queue:100", "get-numbers");
    let lost = known.lost();
    assert!(known.kills > 0, "nobody was killed");
    assert!(lost <= known.kills, "{lost} lost by {} that were killed", known.kills);
}

#[test]
fn the_memory_of_the_manager_is_flat_while_messages_pass() {
    let (rounds, messages) = if full() { (20, 500_000) } else { (10, 20_000) };
    let mut session = Session::start("2", &["--timeout", "10m"], &["jobs=queue:1000", "more=queue:entries=1000"]);
    let manager = session.host.child("manager");
    let mut pass = |queue: &str| {
        session.give(&format!("produce {queue} {messages} 24"));
        session.give(&format!("consume {queue} {messages}"));
        let came = session.both();
        assert_eq!(came.map(|text| text.parse::<u64>().expect("a number")).iter().sum::<u64>(), messages * 25);
        manager.status_bytes("VmRSS")
    };
    for _ in 0..3 {
        let _ = (pass("jobs"), pass("more"));
    }
    let before = pass("jobs");
    let after = (0..rounds).map(|_| pass("jobs").max(pass("more"))).max().expect("some rounds");
    assert!(after <= before + (2 << 20), "{before} bytes before, {after} after");
    assert_eq!(session.end(), 0);
}
