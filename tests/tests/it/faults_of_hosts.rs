//! Faults in runs over many hosts: hosts, the broker and the coordinator are killed, frozen and cut off; nobody reads the
//! results. Every item still has its outcome, once, and the output is that of a run on one machine.
//!
//! `make faults-hosts` runs this at full size, with the times that are promised.

use std::fs;
use std::io::{BufRead, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use fastrand::Rng;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::alone::alone;
use crate::support::broker::Broker;
use crate::support::guest::{Task, wat};
use crate::support::host::Host;
use crate::support::process::Process;
use crate::support::proxy::Proxy;
use crate::support::run::{Run, map};
use crate::support::wat::{COUNT_TO, SQUARE};
use crate::support::{HANG, full, until};

/// Time after which a host without a beat is lost, and time within which what it held then has to run elsewhere.
const SILENCE: Duration = Duration::from_secs(5);
const ELSEWHERE: Duration = Duration::from_secs(6);

/// The first item of a long run. Each item is one more than the one before, and its result is the item itself; all have as
/// many digits.
const FIRST: u64 = 1_000_000;
/// Number of items that are allowed beyond those that are waited for.
const LEAD: u64 = 1_000;
/// Bytes of an item, and of a result.
const LINE: u64 = 8;

/// A run of many items, each of a fraction of a millisecond, whose output goes to a file.
struct LongRun {
    folder: TempDir,
    task: Task,
    items: u64,
    /// Number of items that may go in, where the input is a pipe: so that there is work until the last fault.
    allowed: Arc<AtomicU64>,
    /// True once those that are allowed are all.
    ended: Arc<AtomicBool>,
}

impl LongRun {
    fn new(items: u64) -> LongRun {
        let folder = TempDir::new().expect("a temporary directory");
        LongRun { folder, task: wat(COUNT_TO), items, allowed: Arc::default(), ended: Arc::default() }
    }

    /// Writes the input to a file, and returns its path.
    fn input(&self) -> PathBuf {
        let lines: String = (FIRST..FIRST + self.items).map(|item| format!("{item}\n")).collect();
        fs::write(self.path("input"), lines).expect("written");
        self.path("input")
    }

    /// Lets so many items go in, in all.
    fn allow(&self, count: u64) {
        self.allowed.fetch_max(count.min(self.items), Ordering::SeqCst);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn via(&self, broker: &Broker) -> Run {
        let run = broker.via(map(&self.task)).args(["-c", "20"]);
        run.arg("-o").arg(self.path("out")).limit(HANG * 20)
    }

    /// Makes the items that are allowed all there are.
    fn end(&mut self) {
        self.items = self.allowed.load(Ordering::SeqCst);
        self.ended.store(true, Ordering::SeqCst);
    }

    /// Starts it with a pipe for its input, into which go the items that are allowed.
    fn start(&self, run: Run) -> Host {
        let (items, allowed, ended) = (self.items, Arc::clone(&self.allowed), Arc::clone(&self.ended));
        let feed = move |pipe: &mut std::process::ChildStdin| {
            let mut pipe = BufWriter::with_capacity(1 << 16, pipe);
            for item in 0..items {
                while item >= allowed.load(Ordering::SeqCst) {
                    if ended.load(Ordering::SeqCst) {
                        return pipe.flush();
                    }
                    pipe.flush()?;
                    sleep(Duration::from_millis(1));
                }
                writeln!(pipe, "{}", FIRST + item)?;
            }
            pipe.flush()
        };
        run.feed(feed).start()
    }

    /// Returns the number of results that were written so far.
    fn done(&self) -> u64 {
        fs::metadata(self.path("out")).map_or(0, |file| file.len() / LINE)
    }

    /// Checks that the output is that of a run on one machine.
    fn is_as_on_one_machine(&self) {
        let here = map(&self.task).arg(self.input()).arg("-o").arg(self.path("here")).limit(HANG * 20);
        assert_eq!(here.run().exits(0).stderr, "");
        let (here, there) = (fs::read(self.path("here")).expect("it"), fs::read(self.path("out")).expect("it"));
        assert_eq!(here.len() as u64, self.items * LINE);
        assert!(here == there, "the output of {} items differs: {} bytes, not {}", self.items, there.len(), here.len());
    }
}

/// Looks how long a run stands still, until it is dropped.
struct Pace {
    longest: Arc<AtomicU64>,
    _ended: Sender<()>,
}

impl Pace {
    fn of(run: &LongRun) -> Pace {
        let (longest, path) = (Arc::<AtomicU64>::default(), run.path("out"));
        let (told, (sender, receiver)) = (Arc::clone(&longest), channel());
        std::thread::spawn(move || {
            let (mut seen, mut since) = (0, Instant::now());
            while receiver.recv_timeout(Duration::from_millis(5)) == Err(RecvTimeoutError::Timeout) {
                let done = fs::metadata(&path).map_or(0, |file| file.len());
                told.fetch_max(since.elapsed().as_millis() as u64, Ordering::SeqCst);
                if done != seen {
                    (seen, since) = (done, Instant::now());
                }
            }
        });
        Pace { longest, _ended: sender }
    }

    /// Returns the longest time for which nothing was written so far.
    fn longest(&self) -> Duration {
        Duration::from_millis(self.longest.load(Ordering::SeqCst))
    }
}

/// A fault in a run over hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// A host is killed, and started again.
    Kill,
    /// A host is killed, and another one started in its place.
    KillForGood,
    /// A host is frozen for longer than a host may be silent, then continued.
    Freeze,
    /// The broker is killed, and started again.
    KillBroker,
}

/// Returns the faults of a run: so many of hosts, and so many of the broker, evenly.
fn plan(hosts: usize, brokers: usize) -> Vec<Fault> {
    let of_host = |n: usize| match n % 25 {
        11 => Fault::Freeze,
        n if n % 4 == 3 => Fault::KillForGood,
        _ => Fault::Kill,
    };
    let mut plan: Vec<Fault> = (0..hosts).map(of_host).collect();
    (0..brokers).for_each(|n| plan.insert((2 * n + 1) * plan.len() / (2 * brokers), Fault::KillBroker));
    plan
}

/// Runs over four hosts that are killed and frozen, as the broker is, which keeps chunks in this storage.
fn one_outcome_for_every_item(storage: &str, (items, kills, brokers): (u64, usize, usize)) {
    alone();
    // What is printed for an account allows next to nothing in files.
    let limits = "    jetstream { max_memory: 2G, max_file: 2G, max_streams: 32, max_consumers: 32 }";
    let Some(mut broker) = Broker::configured("", Some(limits)) else { return };
    let long = LongRun::new(items);
    let (mut random, mut names) = (Rng::with_seed(1), 0..);
    let mut name = || format!("h{}", names.next().unwrap_or(0));
    let serve = |broker: &Broker, name: &str| broker.serve_long(name, None);
    let mut hosts: Vec<(String, Host)> = Vec::new();
    for _ in 0..4 {
        let name = name();
        hosts.push((name.clone(), serve(&broker, &name)));
    }
    let mut run = long.start(long.via(&broker).args(["--via-storage", storage]));
    let (started, pace) = (Instant::now(), Pace::of(&long));
    let plan = plan(kills, brokers);
    let mut frozen: Vec<(Instant, Process)> = Vec::new();
    for (index, fault) in plan.iter().enumerate() {
        // Evenly over the run, each while there is work.
        let part = items / (plan.len() as u64 + 1);
        let at = part * index as u64;
        long.allow(at + part);
        until_done(&long, at, || {
            frozen.retain(|(until, host)| {
                *until > Instant::now() || {
                    host.send(Signal::SIGCONT);
                    false
                }
            });
        });
        assert!(!run.has_ended(), "it ended after {index} of {} faults: {}", plan.len(), run.said());
        let victim = random.usize(0..hosts.len());
        match fault {
            Fault::Kill | Fault::KillForGood => {
                // One that is frozen is killed as it is.
                let again = if *fault == Fault::Kill { hosts[victim].0.clone() } else { name() };
                hosts[victim].1.signal(Signal::SIGKILL);
                hosts[victim].1.wait();
                hosts[victim] = (again.clone(), serve(&broker, &again));
            }
            Fault::Freeze => {
                hosts[victim].1.signal(Signal::SIGSTOP);
                frozen.push((Instant::now() + SILENCE * 7 / 5, hosts[victim].1.process()));
            }
            Fault::KillBroker => {
                broker.kill();
                broker.start_again();
            }
        }
    }
    long.allow(items);
    until_done(&long, items, || {});
    let (code, said) = (run.code(), run.stderr());
    assert_eq!(code, 0, "{said}");
    eprintln!(
        "{items} items in {storage}, {kills} faults of hosts, {brokers} of the broker: {:.1} s, stood still for {:.1} s at most",
        started.elapsed().as_secs_f32(),
        pace.longest().as_secs_f32()
    );
    frozen.iter().for_each(|(_, host)| host.send(Signal::SIGCONT));
    long.is_as_on_one_machine();
}

/// Waits until so many results are written.
fn until_done(long: &LongRun, count: u64, mut meanwhile: impl FnMut()) {
    // Each part of the run has its time.
    while long.done() < count {
        let next = (long.done() + LEAD / 10).min(count);
        until("the run goes on", || {
            meanwhile();
            (long.done() >= next).then_some(())
        });
    }
}

#[test]
fn hosts_and_a_broker_that_keeps_chunks_in_memory_may_be_killed_at_any_time() {
    one_outcome_for_every_item("memory", if full() { (60_000, 100, 1) } else { (4_000, 8, 1) });
}

#[test]
fn hosts_and_a_broker_that_keeps_chunks_in_files_may_be_killed_at_any_time() {
    one_outcome_for_every_item("file", if full() { (60_000, 100, 2) } else { (4_000, 8, 2) });
}

#[test]
fn a_coordinator_may_be_killed_at_any_time_and_resumed() {
    alone();
    let Some(broker) = Broker::start() else { return };
    let _hosts = [broker.serve_long("a", None), broker.serve_long("b", None)];
    let (items, kills) = if full() { (60_000, 20) } else { (4_000, 4) };
    let (long, mut random) = (LongRun::new(items), Rng::with_seed(1));
    let journal = long.path("journal");
    let input = long.input();
    let resumed = || long.via(&broker).arg(&input).arg("--journal").arg(&journal).arg("--resume");
    for kill in 0..kills {
        // At random within its part of the run, and sometimes before it has begun.
        let (from, to) = (items * kill / kills, items * (kill + 1) / kills);
        let at = if kill % 5 == 4 { long.done() } else { random.u64(from..to) };
        let mut run = resumed().start();
        until_done(&long, at, || {});
        sleep(Duration::from_millis(random.u64(0..150))); // the random moment
        run.signal(Signal::SIGKILL);
        run.wait();
    }
    resumed().run().exits(0);
    eprintln!("{items} items, the coordinator was killed {kills} times");
    long.is_as_on_one_machine();
}

#[test]
fn a_host_may_be_cut_off_for_a_while() {
    alone();
    let Some(broker) = Broker::start() else { return };
    let cable = Proxy::to(broker.port());
    let _hosts = [broker.serve_long("a", None), broker.serve_long("b", Some(&cable.url()))];
    let cuts = if full() { 20 } else { 1 };
    // As many items as go in until the last cut.
    let mut long = LongRun::new(9_000_000);
    let mut run = long.start(long.via(&broker));
    let pace = Pace::of(&long);
    let lead = || long.allow(long.done() + LEAD * 10);
    for cut in 0..cuts {
        lead();
        until_done(&long, long.done() + LEAD, lead);
        cable.cut();
        let cut_at = Instant::now();
        until("the cut is over", || {
            lead();
            (cut_at.elapsed() > Duration::from_secs(4)).then_some(())
        });
        cable.mend();
        assert!(!run.has_ended(), "it ended after {} of {cuts} cuts: {}", cut + 1, run.said());
    }
    until_done(&long, long.done() + LEAD, lead);
    long.end();
    until_done(&long, long.items, || {});
    assert_eq!(run.code(), 0, "{}", run.stderr());
    let (items, longest) = (long.items, pace.longest());
    eprintln!("{items} items, {cuts} cuts of 4 s: it stood still for {:.1} s at most", longest.as_secs_f32());
    assert!(!full() || longest <= ELSEWHERE, "it stood still for {longest:?}");
    long.is_as_on_one_machine();
}

#[test]
fn what_a_frozen_host_held_runs_elsewhere_and_it_may_come_back() {
    alone();
    let Some(broker) = Broker::start() else { return };
    let (frozen, _other) = (broker.serve_long("frozen", None), broker.serve_long("other", None));
    let long = LongRun::new(4_000);
    let mut run = long.start(long.via(&broker));
    long.allow(1_000);
    until_done(&long, 500, || {});
    long.allow(long.items);
    frozen.signal(Signal::SIGSTOP);
    // It ends without the host. What the host knew is of a run that is over.
    until_done(&long, long.items, || {});
    assert_eq!(run.code(), 0, "{}", run.stderr());
    frozen.signal(Signal::SIGCONT);
    long.is_as_on_one_machine();
    until("it notices the end of the run", || frozen.descendants().is_empty().then_some(()));
    // It serves the next one, with its own beats.
    let mut run = broker.via(map(&wat(SQUARE))).args(["-c", "1", "--output-format", "records"]).start();
    let mut input = run.stdin.take().expect("a pipe");
    until("it has a part in the next run", || {
        writeln!(input, "3").expect("the run reads");
        run.line().is_some_and(|record| record.contains("\"host\":\"frozen\"")).then_some(())
    });
}

#[test]
fn what_a_dead_host_held_runs_elsewhere() {
    alone();
    let Some(broker) = Broker::start() else { return };
    let mut longest = Duration::ZERO;
    for _ in 0..if full() { 10 } else { 1 } {
        let mut dying = broker.serve_long("dying", None);
        // It counts for a long time.
        let run = broker.via(map(&wat(COUNT_TO))).args(["--timeout", "600s"]).input("1000000000000\n").start();
        dying.busy_worker();
        let other = broker.serve_long("other", None);
        until("both serve", || other.said().contains("serving a run of").then_some(()));
        dying.signal(Signal::SIGKILL);
        let killed = Instant::now();
        dying.wait();
        other.busy_worker();
        longest = longest.max(killed.elapsed());
        drop(run);
    }
    eprintln!("a dead host's chunk ran elsewhere within {:.1} s", longest.as_secs_f32());
    assert!(!full() || longest <= ELSEWHERE, "{longest:?}");
}

#[test]
fn a_host_that_is_told_to_end_does_so_at_once_when_its_chunks_are_short() {
    alone();
    let Some(broker) = Broker::start() else { return };
    let _stays = broker.serve_long("stays", None);
    let mut long = LongRun::new(9_000_000);
    let mut run = long.start(long.via(&broker));
    let (pace, mut longest) = (Pace::of(&long), Duration::ZERO);
    let count = if full() { 20 } else { 2 };
    let lead = || long.allow(long.done() + LEAD * 4);
    for n in 0..count {
        let mut leaving = broker.serve_long(&format!("leaving{n}"), None);
        until("it serves", || {
            lead();
            leaving.said().contains("serving a run of").then_some(())
        });
        until_done(&long, long.done() + LEAD / 2, lead);
        leaving.signal(Signal::SIGTERM);
        let told = Instant::now();
        assert_eq!(leaving.code(), 0);
        longest = longest.max(told.elapsed());
    }
    long.end();
    until_done(&long, long.items, || {});
    assert_eq!(run.code(), 0, "{}", run.stderr());
    let still = pace.longest();
    eprintln!(
        "{count} hosts ended within {:.2} s each, and the run stood still for {:.2} s at most",
        longest.as_secs_f32(),
        still.as_secs_f32()
    );
    assert!(!full() || longest <= Duration::from_millis(500), "{longest:?}");
    // What they gave back was not waited for as what the dead hold.
    assert!(!full() || still < SILENCE, "{still:?}");
    long.is_as_on_one_machine();
}

/// The memory that a run may hold back, for two hosts of a worker each.
const WINDOW: u64 = (2 << 20) + 4 * (512 << 10);

/// Checks what coordinator and broker have needed.
fn within_memory(run: &Process, broker: &Process, what: &str) {
    let [run, broker] = [run, broker].map(|process| process.status_bytes("VmHWM") >> 10);
    eprintln!("{what}: the coordinator had {run} KiB at most, the broker {broker} KiB");
    // The bar is 16 MiB; in the short form, as much more as the pages of the program differ by from build to build.
    let beside = if full() { 16 << 10 } else { 20 << 10 };
    assert!(run <= (WINDOW >> 10) + beside, "{run} KiB");
    assert!(broker <= 2 * (WINDOW >> 10) + (64 << 10), "{broker} KiB");
}

#[test]
fn memory_does_not_grow_with_the_items_of_a_run_over_hosts() {
    alone();
    let Some(broker) = Broker::start() else { return };
    let _hosts = [broker.serve_long("a", None), broker.serve_long("b", None)];
    let items: u64 = if full() { 10_000_000 } else { 300_000 };
    let mut run = broker.via(map(&wat(SQUARE))).limit(HANG * 20).start();
    let mut input = std::io::BufWriter::with_capacity(1 << 16, run.stdin.take().expect("a pipe"));
    let feeder = std::thread::spawn(move || {
        (0..items).try_for_each(|item| writeln!(input, "{item}")).expect("the run reads");
        // The rest is written, and the run not ended yet.
        input.into_inner().expect("the run reads")
    });
    let started = Instant::now();
    let mut output = run.stdout.take().expect("a pipe");
    for _ in 0..items {
        assert!(output.skip_until(b'\n').expect("a pipe can be read") > 0, "an outcome for every item");
    }
    eprintln!("{items} items: {:.0} a second", items as f64 / started.elapsed().as_secs_f64());
    within_memory(&run.process(), &broker.process(), "many items");
    drop(feeder.join().expect("no panic"));
    assert_eq!(output.skip_until(b'\n').expect("a pipe can be read"), 0);
    assert_eq!(run.code(), 0);
}

#[test]
fn nothing_grows_and_hosts_are_idle_while_nobody_reads_the_results() {
    alone();
    let Some(broker) = Broker::start() else { return };
    let hosts = [broker.serve_long("a", None), broker.serve_long("b", None)];
    let mut run = broker.via(map(&wat(SQUARE))).limit(HANG * 5).start();
    let mut input = run.stdin.take().expect("a pipe");
    let fed = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&fed);
    // Until the run ends.
    std::thread::spawn(move || {
        while input.write_all(&b"12345\n".repeat(1000)).is_ok() {
            count.fetch_add(1000, Ordering::Relaxed);
        }
    });
    let ticks = || hosts.iter().flat_map(Host::workers).map(|worker| worker.ticks()).sum::<u64>();
    let state = || (fed.load(Ordering::Relaxed), ticks());
    let stands_still = |time: Duration| {
        let (mut before, mut since) = (state(), Instant::now());
        until("the run stands still", || {
            let now = state();
            if now != before || now.0 == 0 {
                (before, since) = (now, Instant::now());
            }
            (since.elapsed() > time).then_some(())
        });
    };
    // Longer than a host may be silent, and than an answer may take.
    stands_still(if full() { SILENCE * 6 } else { SILENCE / 2 });
    within_memory(&run.process(), &broker.process(), "nobody reads");
    for host in &hosts {
        let peak = host.process().status_bytes("VmHWM") >> 10;
        eprintln!("a host had {peak} KiB at most");
        assert!(peak <= (WINDOW >> 10) + (32 << 10), "{peak} KiB");
    }
    // It goes on where it was.
    let mut output = run.stdout.take().expect("a pipe");
    let before = fed.load(Ordering::Relaxed);
    for _ in 0..before + 1000 {
        let mut line = String::new();
        output.read_line(&mut line).expect("a pipe can be read");
        assert_eq!(line, "152399025\n");
    }
}
