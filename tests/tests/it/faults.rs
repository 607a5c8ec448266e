//! Faults in a real run: processes that are killed and stopped; memory, processes, descriptors and disks that run out;
//! readers that are slow or leave; a parent that ignores how children end. Every item still has its outcome, and
//! nothing stays behind.

use std::collections::BTreeMap;
use std::io::{PipeWriter, Write};
use std::sync::mpsc::channel;
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use fastrand::Rng;
use nix::sys::signal::Signal;

use crate::support::alone::alone;
use crate::support::guest::wat;
use crate::support::host::Host;
use crate::support::pressure::{Descriptors, NoMemory, Processes, SmallDisk};
use crate::support::process::{Process, adopt_orphans, descendants, workers};
use crate::support::record::Record;
use crate::support::run::map;
use crate::support::wat::{COUNT_TO, SQUARE, component, echo_string, lift};
use crate::support::{HANG, full, until};

/// Returns the number of items, and of faults.
fn sizes() -> (u64, u64) {
    if full() { (200_000, 1_000) } else { (10_000, 50) }
}

/// Maximum number of items in the run at a time.
const LEAD: u64 = 1_000;

/// A fault in a run. Durations are those of the fault itself, not waits of the test.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// A worker is killed.
    Kill,
    /// A worker is stopped, and continued after this time.
    Stop(Duration),
    /// A worker is stopped for good.
    StopForGood,
    /// A worker can get no more memory.
    NoMemory,
    /// A worker is killed while no process can be started, for this time.
    NoProcess(Duration),
    /// A worker is killed while the host can open no descriptor, for this time.
    NoDescriptor(Duration),
    /// The host is stopped, and continued after this time.
    StopHost(Duration),
    /// Nobody reads the results for this time.
    SlowReader(Duration),
}

impl Fault {
    /// Returns the kinds of faults in turn, so that each occurs in every run; which worker and how long is random.
    fn nth(index: u64, random: &mut Rng) -> Fault {
        let length = Duration::from_millis(random.u64(1..=60));
        // Sometimes long enough for many attempts.
        let outage = if index % 100 < 20 { Duration::from_secs(1) } else { length };
        match index % 20 {
            1 => Fault::NoDescriptor(outage),
            11 => Fault::NoProcess(outage),
            3 => Fault::StopForGood,
            5 | 13 => Fault::NoMemory,
            7 | 17 => Fault::StopHost(length),
            9 | 19 => Fault::SlowReader(length),
            n if n % 2 == 0 => Fault::Kill,
            _ => Fault::Stop(length),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Fault::Kill => "worker killed",
            Fault::Stop(_) => "worker stopped and continued",
            Fault::StopForGood => "worker stopped for good",
            Fault::NoMemory => "worker without memory",
            Fault::NoProcess(_) => "no process to be had",
            Fault::NoDescriptor(_) => "no descriptor to be had",
            Fault::StopHost(_) => "host stopped and continued",
            Fault::SlowReader(_) => "reader paused",
        }
    }
}

/// The source of all faults in a run.
struct Saboteur {
    host: i32,
    random: Rng,
    no_memory: Option<NoMemory>,
    processes: Option<Processes>,
    continuing: Vec<JoinHandle<()>>,
    done: BTreeMap<&'static str, u64>,
}

impl Saboteur {
    fn new(host: &Host, seed: u64) -> Self {
        let no_memory = NoMemory::new();
        if no_memory.is_none() {
            eprintln!(
                "no control group can be made here: in place of want of memory, workers are killed as it would kill them"
            );
        }
        let processes = Processes::new();
        match &processes {
            Some(group) => group.take(host),
            None => eprintln!("no control group can be made here: processes are always to be had"),
        }
        Self {
            host: host.pid(),
            random: Rng::with_seed(seed),
            no_memory,
            processes,
            continuing: Vec::new(),
            done: BTreeMap::new(),
        }
    }

    /// Returns some worker, whatever it is doing. A child that does not run its own program yet is left out: the thread
    /// that starts it waits for that, so stopping it for good would stop the host for good.
    fn worker(&mut self) -> Process {
        let workers = until("a worker", || {
            let mut workers = workers(self.host);
            workers.retain(|worker| {
                // The process may have ended by now.
                let line = std::fs::read(format!("/proc/{}/cmdline", worker.pid)).unwrap_or_default();
                line.starts_with(b"wasmpool-child")
            });
            Some(workers).filter(|workers| !workers.is_empty())
        });
        self.random.choice(&workers).expect("a worker").clone()
    }

    fn strike(&mut self, index: u64) {
        let fault = Fault::nth(index, &mut self.random);
        *self.done.entry(fault.name()).or_default() += 1;
        match fault {
            Fault::Kill => self.worker().send(Signal::SIGKILL),
            Fault::StopForGood => self.worker().send(Signal::SIGSTOP),
            Fault::Stop(length) => {
                let worker = self.worker();
                worker.send(Signal::SIGSTOP);
                self.continuing.push(std::thread::spawn(move || {
                    sleep(length);
                    worker.send(Signal::SIGCONT);
                }));
            }
            Fault::NoMemory => {
                let worker = self.worker();
                match &self.no_memory {
                    Some(group) => group.press(&worker),
                    None => worker.send(Signal::SIGKILL),
                }
            }
            Fault::NoProcess(length) => {
                // Found before: if none happens to live, none can be started without room.
                let worker = self.worker();
                if let Some(group) = &self.processes {
                    group.allow(Some(1));
                }
                worker.send(Signal::SIGKILL);
                sleep(length);
                if let Some(group) = &self.processes {
                    group.allow(None);
                }
            }
            Fault::NoDescriptor(length) => {
                let worker = self.worker();
                let descriptors = Descriptors::of(&Process::living(self.host).expect("the host runs"));
                descriptors.allow(3);
                worker.send(Signal::SIGKILL);
                sleep(length);
                descriptors.allow_all();
            }
            Fault::StopHost(length) => {
                let host = Process::living(self.host).expect("the host runs");
                host.send(Signal::SIGSTOP);
                sleep(length);
                host.send(Signal::SIGCONT);
            }
            Fault::SlowReader(length) => sleep(length),
        }
    }

    fn count(&self, faults: &[Fault]) -> u64 {
        faults.iter().filter_map(|fault| self.done.get(fault.name())).sum()
    }
}

/// Returns a pipe whose reader is closed.
fn nobody() -> PipeWriter {
    std::io::pipe().expect("a pipe").1
}

#[test]
fn every_item_has_one_outcome_whatever_befalls_the_processes() {
    alone();
    adopt_orphans();
    // At full size, some minutes of it.
    for seed in 1..=if full() { 6 } else { 1 } {
        one_outcome_for_every_item(seed);
    }
}

fn one_outcome_for_every_item(seed: u64) {
    let (items, faults) = sizes();
    let item = |index: u64| 100_000 + index % 1_000; // a tenth of a millisecond or so
    // Input goes in as results come out, so that there is running work until the end.
    let (want, wanted) = channel();
    (0..LEAD).for_each(|_| want.send(()).expect("the feeder waits"));
    let mut host = map(&wat(COUNT_TO))
        .args(["--output-format", "records", "--timeout", "300ms", "-j", "4"])
        .feed(move |pipe| {
            for (index, ()) in (0..items).zip(wanted) {
                writeln!(pipe, "{}", item(index))?;
            }
            Ok(())
        })
        .limit(HANG * 10)
        // Nobody reads its messages, and its parent ignores how children end.
        .stderr_to(nobody())
        .ignoring(Signal::SIGCHLD)
        .start();
    let mut saboteur = Saboteur::new(&host, seed);
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    let mut struck = 0;
    let mut peak = 0;
    for index in 0..items {
        let record = Record::read(&host.line().expect("a record for every item"));
        assert_eq!(record.index(), index, "each index once, in order");
        if record.kind() == "ok" {
            assert_eq!(record.value().as_u64(), Some(item(index)));
        }
        *kinds.entry(record.kind().to_owned()).or_default() += 1;
        let _ = want.send(()); // to nobody, once all of it is there
        while struck < faults && index * faults >= struck * (items - LEAD) {
            saboteur.strike(struck);
            struck += 1;
        }
        if index % (items / 10) == 0 {
            peak = host.process().status_bytes("VmHWM");
        }
    }
    assert_eq!(host.line(), None, "a record of no item");
    let failed = items - kinds.get("ok").copied().unwrap_or(0);
    assert_eq!(host.code(), i32::from(failed > 0));
    host.leaves_nothing_behind(&[]);
    for thread in saboteur.continuing.drain(..) {
        thread.join().expect("no panic");
    }
    let tests = i32::try_from(std::process::id()).expect("a process number");
    until("no orphan is left", || descendants(tests).is_empty().then_some(()));
    eprintln!("{struck} faults: {:?}", saboteur.done);
    eprintln!("{items} items: {kinds:?}, 0 lost, 0 doubled, 0 processes left, host at most {} KiB", peak / 1024);

    // A fault costs at most the one item that was running.
    assert_eq!(struck, faults);
    let any = Duration::ZERO;
    let killed = saboteur.count(&[Fault::Kill, Fault::NoMemory, Fault::NoProcess(any), Fault::NoDescriptor(any)]);
    let stopped = saboteur.count(&[Fault::Stop(any), Fault::StopForGood]);
    for (kind, count) in kinds {
        let most = match kind.as_str() {
            "ok" => items,
            "worker-lost" => killed,
            "timeout" => stopped,
            _ => 0,
        };
        assert!(count <= most, "{count} items became {kind}, by {:?}", saboteur.done);
    }
    assert!(peak < 64 << 20, "the host grew to {peak} bytes");
}

#[test]
fn a_reader_that_leaves_amid_faults_ends_the_run_quietly() {
    alone();
    adopt_orphans();
    let mut host = map(&wat(SQUARE))
        .args(["-j", "3"])
        .feed(|pipe| {
            loop {
                pipe.write_all(&b"3\n".repeat(1000))?;
            }
        })
        .start();
    let mut saboteur = Saboteur::new(&host, 1);
    for _ in 0..10 {
        assert_eq!(host.line().as_deref(), Some("9"));
        saboteur.worker().send(Signal::SIGKILL);
    }
    saboteur.worker().send(Signal::SIGSTOP);
    host.stdout = None;
    assert_eq!(host.code(), 141);
    host.leaves_nothing_behind(&[]);
    let tests = i32::try_from(std::process::id()).expect("a process number");
    until("no orphan is left", || descendants(tests).is_empty().then_some(()));
}

/// Writes results without end to a place with little room, and checks the error.
#[track_caller]
fn fills(host: &mut Host, said: &str) {
    assert_eq!(host.code(), 2);
    let stderr = host.stderr();
    assert!(stderr.contains("cannot write the results") && stderr.contains(said), "{stderr}");
    host.leaves_nothing_behind(&[]);
}

fn endless(pipe: &mut std::process::ChildStdin) -> std::io::Result<()> {
    loop {
        pipe.write_all(&b"12345\n".repeat(1000))?;
    }
}

#[test]
fn a_full_disk_ends_the_run_with_a_clear_error() {
    let Some(disk) = SmallDisk::new(1 << 20) else {
        eprintln!("no disk can be made here: left out");
        return;
    };
    let file = disk.path().join("results");
    let mut host = map(&wat(SQUARE)).arg("-o").arg(&file).feed(endless).start();
    fills(&mut host, "No space left on device");
    // The results that did fit are there, complete lines except perhaps for the last.
    let bytes = std::fs::read(&file).expect("the results");
    assert!(bytes.starts_with(b"152399025\n152399025\n"));
}

#[test]
fn a_limit_on_file_sizes_ends_the_run_with_a_clear_error() {
    let folder = tempfile::TempDir::new().expect("a temporary directory");
    let file = folder.path().join("results");
    let mut host = map(&wat(SQUARE)).arg("-o").arg(&file).largest_file(1 << 20).feed(endless).start();
    fills(&mut host, "File too large");
    assert_eq!(std::fs::metadata(&file).expect("the results").len(), 1 << 20);
}

#[test]
fn items_larger_than_a_limit_on_file_sizes_pass_whole() {
    let items = [700_000, 3, 2_000_000, 150_000].map(|len| "x".repeat(len) + "\n").concat();
    let run = map(&wat(echo_string())).args(["--input-format", "lines", "--output-format", "raw"]);
    let output = run.largest_file(1 << 20).input(items.as_bytes()).run().exits(0);
    assert!(output.bytes == items.as_bytes());
}

#[test]
fn outcomes_of_a_worker_that_dies_are_kept_though_there_is_no_room_for_them_yet() {
    // A negative item loops for ever; any other returns that many letters.
    let task = wat(component(
        r#"
    (func (export "letters") (param $count i64) (result i32)
      (local $at i32)
      (if (i64.lt_s (local.get $count) (i64.const 0)) (then (loop $l (br $l))))
      (local.set $at (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.wrap_i64 (local.get $count))))
      (memory.fill (local.get $at) (i32.const 97) (i32.wrap_i64 (local.get $count)))
      (i32.store (i32.const 16) (local.get $at))
      (i32.store (i32.const 20) (i32.wrap_i64 (local.get $count)))
      (i32.const 16))"#,
        &[lift("letters", r#"(param "count" s64) (result string)"#)],
    ));
    let input = format!("-1\n{}", "50000\n".repeat(400));
    let mut host =
        map(&task).args(["--output-format", "records", "-j", "2", "-c", "1", "--timeout", "10m"]).input(input).start();
    // Everything waits for the first item: the other worker sleeps, with outcomes that the host does not take.
    let mut before: Vec<(Process, u64)> = Vec::new();
    let (idle, endless) = until("a worker that has slept while the other computed", || {
        let now: Vec<_> = host.workers().into_iter().map(|worker| (worker.ticks(), worker)).collect();
        let used = |at: usize| {
            let (ticks, worker) = now.get(at)?;
            before.iter().find(|(known, _)| known == worker).map(|(_, then)| ticks - then)
        };
        for (idle, busy) in [(0, 1), (1, 0)] {
            if used(idle) == Some(0) && used(busy) >= Some(20) && now[idle].1.state() == Some('S') {
                return Some((now[idle].1.clone(), now[busy].1.clone()));
            }
        }
        // A worker that started after the last look must be measured once before it can be compared.
        if used(0).is_none() || used(1).is_none() || (used(0) != Some(0) && used(1) != Some(0)) {
            before = now.into_iter().map(|(ticks, worker)| (worker, ticks)).collect();
        }
        None
    });
    idle.send(Signal::SIGKILL);
    until("the dead worker is buried", || (!host.workers().contains(&idle) && host.workers().len() == 2).then_some(()));
    endless.send(Signal::SIGKILL);
    for index in 0..=400 {
        let record = Record::read(&host.line().expect("a record"));
        assert_eq!((record.index(), record.kind()), (index, if index == 0 { "worker-lost" } else { "ok" }));
    }
    assert_eq!(host.code(), 1);
}

#[test]
fn an_item_after_a_long_pause_has_its_full_time() {
    let mut host = map(&wat(SQUARE)).args(["--timeout", "500ms", "-j", "2", "--output-format", "records"]).start();
    let mut input = host.stdin.take().expect("a pipe");
    for item in 1..=3_u64 {
        sleep(Duration::from_millis(1500)); // longer than an item may take: what is tested
        writeln!(input, "{item}").expect("the host reads");
        let record = Record::read(&host.line().expect("a record"));
        assert_eq!(record.kind(), "ok", "{record:?}");
    }
    drop(input);
    assert_eq!(host.code(), 0);
}

#[test]
fn no_item_is_late_for_a_time_in_which_the_whole_run_was_stopped() {
    let input = "300000000\n".repeat(40);
    let mut host = map(&wat(COUNT_TO)).args(["--timeout", "1s", "-j", "2", "-c", "1"]).input(input).start();
    host.busy_worker();
    let mut all = host.workers();
    all.push(host.process());
    all.iter().for_each(|process| process.send(Signal::SIGSTOP));
    sleep(Duration::from_secs(3)); // longer than an item may take: what is tested
    all.iter().rev().for_each(|process| process.send(Signal::SIGCONT));
    for _ in 0..40 {
        assert_eq!(host.line().as_deref(), Some("300000000"));
    }
    assert_eq!(host.code(), 0);
}
