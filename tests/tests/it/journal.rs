//! `--journal` and `--resume`: whatever ends a run, finished items are in the output once.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Deref;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::folder::Folder;
use crate::support::guest::{Task, wat};
use crate::support::host::Host;
use crate::support::run::{Output, Run, map};
use crate::support::wat::{COUNT_TO, SQUARE, initialised};
use crate::support::{full, until};

/// `go(i64) -> i64`: multiples of seven trap, negative items loop for ever, others are doubled.
const SEVENTH_TRAPS: &str = r#"
(module
  (func (export "go") (param i64) (result i64)
    (if (i64.lt_s (local.get 0) (i64.const 0)) (then (loop $l (br $l))))
    (if (i64.eqz (i64.rem_s (local.get 0) (i64.const 7))) (then unreachable))
    (i64.mul (local.get 0) (i64.const 2))))"#;

/// The directory of a run's files.
struct Place(Folder);

impl Deref for Place {
    type Target = Folder;

    fn deref(&self) -> &Folder {
        &self.0
    }
}

impl Place {
    fn new() -> Place {
        Place(Folder::new())
    }

    /// Returns a run with its journal, its results and its failed items here.
    fn run(&self, task: &Task) -> Run {
        map(task)
            .arg("-q")
            .arg("--resume")
            .arg("--journal")
            .arg(self.path("journal"))
            .arg("-o")
            .arg(self.path("out"))
            .arg("--failed")
            .arg(self.path("failed"))
    }

    /// Returns the items of the failed file, and checks that each line is whole.
    #[track_caller]
    fn failed(&self) -> Vec<i64> {
        let items = self.read("failed");
        items
            .lines()
            .map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
                line["input"].as_i64().expect("a number")
            })
            .collect()
    }

    /// Returns the items of `SEVENTH_TRAPS` that were printed, and those that failed, and checks that none appears
    /// twice. If the timeout is short and the machine busy, more may fail than those that always do.
    #[track_caller]
    fn outcomes(&self) -> (Vec<i64>, Vec<i64>) {
        let printed = self.read("out").lines().map(|line| line.parse::<i64>().expect("a number") / 2).collect();
        let failed = self.failed();
        let each: std::collections::BTreeSet<i64> = failed.iter().copied().collect();
        assert_eq!(each.len(), failed.len(), "an item stands twice: {failed:?}");
        assert!([-1, 7, 14].iter().all(|item| each.contains(item)), "{failed:?}");
        (printed, failed)
    }

    /// Returns the files that exist, with their content.
    fn all(&self) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(self.root()).expect("it is there");
        let mut files: Vec<(String, Vec<u8>)> = entries
            .map(|entry| {
                let entry = entry.expect("it is there");
                (entry.file_name().into_string().expect("text"), fs::read(entry.path()).expect("it can be read"))
            })
            .collect();
        files.sort();
        files
    }

    fn copy(&self, from: &Place) {
        for name in ["journal", "out", "failed"] {
            fs::copy(from.path(name), self.path(name)).expect("a copy");
        }
    }

    /// Starts a run, gives it the items one at a time, each once the one before is in the journal, and kills it.
    fn killed_after(&self, run: Run, items: &[i64]) {
        let mut host = run.start();
        let mut input = host.stdin.take().expect("a pipe");
        for item in items {
            let before = self.size("journal");
            writeln!(input, "{item}").expect("the host reads");
            until("the journal grows", || (self.size("journal") > before).then_some(()));
        }
        kill(&mut host);
    }
}

fn kill(host: &mut Host) {
    host.signal(Signal::SIGKILL);
    host.wait();
}

fn lines(items: impl IntoIterator<Item = i64>) -> String {
    items.into_iter().map(|item| format!("{item}\n")).collect()
}

/// Returns the output of `SEVENTH_TRAPS` for these items.
fn doubled(items: &[i64]) -> String {
    lines(items.iter().filter(|item| *item % 7 != 0).map(|item| item * 2))
}

fn but(items: &[i64], others: &[i64]) -> Vec<i64> {
    items.iter().copied().filter(|item| !others.contains(item)).collect()
}

fn sevenths(items: &[i64]) -> Vec<i64> {
    items.iter().copied().filter(|item| item % 7 == 0).collect()
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// Calls `check` with a copy of a place for each `step` bytes of its journal, which is cut there.
fn cut_at_every(step: usize, place: &Place, check: impl Fn(&Place, usize) + Sync) {
    let journal = fs::read(place.path("journal")).expect("a journal");
    let next = AtomicUsize::new(0);
    let cut = || {
        loop {
            let cut = next.fetch_add(step, Ordering::Relaxed);
            if cut > journal.len() {
                return;
            }
            let again = Place::new();
            again.copy(place);
            fs::write(again.path("journal"), &journal[..cut]).expect("a cut journal");
            check(&again, cut);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(cut);
        scope.spawn(cut);
    });
}

#[test]
fn a_journal_cut_at_any_byte_resumes_whole_and_never_doubled() {
    let task = wat(SEVENTH_TRAPS);
    let items: Vec<i64> = (5..17).collect();
    let place = Place::new();
    place.killed_after(place.run(&task).args(["-j", "1"]), &items[..8]);
    cut_at_every(1, &place, |place, cut| {
        place.run(&task).args(["-j", "1"]).input(lines(items.iter().copied())).run().exits(1);
        assert_eq!(place.read("out"), doubled(&items), "cut at byte {cut}");
        assert_eq!(place.failed(), sevenths(&items), "cut at byte {cut}");
    });
}

#[test]
fn a_journal_of_an_unordered_run_cut_at_any_byte_resumes_whole_and_never_doubled() {
    let task = wat(SEVENTH_TRAPS);
    // The first item runs until the end: finished items begin after it.
    let items: Vec<i64> = [-1].into_iter().chain(6..17).collect();
    let args = ["-j", "2", "-c", "1", "--unordered", "--timeout"];
    let place = Place::new();
    let mut host = place.run(&task).args(args).arg("10m").start();
    let mut input = host.stdin.take().expect("a pipe");
    writeln!(input, "-1").expect("the host reads");
    host.busy_worker();
    for item in &items[1..6] {
        let before = place.size("journal");
        writeln!(input, "{item}").expect("the host reads");
        until("the journal grows", || (place.size("journal") > before).then_some(()));
    }
    kill(&mut host);
    cut_at_every(if full() { 1 } else { 7 }, &place, |place, cut| {
        place.run(&task).args(args).arg("100ms").input(lines(items.iter().copied())).run().exits(1);
        let (mut printed, mut failed) = place.outcomes();
        printed.sort_unstable();
        failed.sort_unstable();
        assert_eq!(printed, but(&items, &failed), "cut at byte {cut}");
    });
}

#[test]
fn a_journal_with_outcomes_that_wait_cut_at_any_byte_resumes_whole_and_never_doubled() {
    let task = wat(SEVENTH_TRAPS);
    let items: Vec<i64> = [5, -1].into_iter().chain(6..17).collect();
    let args = ["-j", "2", "-c", "1", "--timeout"];
    let place = Place::new();
    let mut host = place.run(&task).args(args).arg("10m").start();
    let mut input = host.stdin.take().expect("a pipe");
    for item in &items[..6] {
        let before = place.size("journal");
        writeln!(input, "{item}").expect("the host reads");
        match item {
            -1 => drop(host.busy_worker()),
            _ => until("the journal grows", || (place.size("journal") > before).then_some(())),
        }
    }
    kill(&mut host);
    assert_eq!(place.read("out"), "10\n");
    cut_at_every(if full() { 1 } else { 7 }, &place, |place, cut| {
        place.run(&task).args(args).arg("100ms").input(lines(items.iter().copied())).run().exits(1);
        let (printed, failed) = place.outcomes();
        assert!(failed.is_sorted(), "cut at byte {cut}: {failed:?}");
        assert_eq!(printed, but(&items, &failed), "cut at byte {cut}");
    });
}

/// Kills the host again and again, at random moments given by a seed.
fn killed_at_random(args: &[&str], ordered: bool, seed: u64) {
    let task = wat(COUNT_TO);
    let items: Vec<i64> = (0..1500).map(|n| if n % 97 == 13 { -1 - n } else { 1_000_000 + n }).collect();
    // COUNT_TO takes a negative item for a very large number.
    let fails = |item: &i64| *item < 0;
    let wanted = lines(items.iter().copied().filter(|item| !fails(item)));
    let place = Place::new();
    let args = [&["-j", "2", "--fuel", "100000000"], args].concat();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut kills = 0;
    for round in 0..if full() { 200 } else { 10 } {
        let mut host = place.run(&task).args(&args).input(lines(items.iter().copied())).start();
        // Any moment will do: this is the random choice of the test, not a way to synchronise.
        std::thread::sleep(Duration::from_millis(random.u64(..900)));
        host.signal(Signal::SIGKILL);
        if host.code() != 128 + Signal::SIGKILL as i32 {
            // The run had finished before.
            break;
        }
        kills += 1;
        let out = place.read("out");
        assert!(out.len() <= wanted.len(), "seed {seed}, round {round}: more than there is to print");
    }
    let output = place.run(&task).args(&args).input(lines(items.iter().copied())).run();
    assert_eq!(output.code, 1, "seed {seed}, {kills} kills: {}", output.stderr);
    let (out, mut failed) = (place.read("out"), place.failed());
    let mut lost: Vec<i64> = items.iter().copied().filter(fails).collect();
    if ordered {
        assert_eq!(out, wanted, "seed {seed}, {kills} kills");
    } else {
        assert_eq!(sorted(&out), sorted(&wanted), "seed {seed}, {kills} kills");
        failed.sort_unstable();
        lost.sort_unstable();
    }
    assert_eq!(failed, lost, "seed {seed}, {kills} kills");
}

#[test]
fn a_host_killed_at_any_moment_leaves_every_item_once_and_in_order() {
    for seed in [1, 2] {
        killed_at_random(&[], true, seed);
    }
}

#[test]
fn a_host_killed_at_any_moment_leaves_every_item_of_an_unordered_run_once() {
    killed_at_random(&["--unordered"], false, 3);
}

/// `go(i64) -> i64`: returns how many items the instance had; negative items loop for ever.
const COUNTER: &str = r#"
(module
  (global $calls (mut i64) (i64.const 0))
  (func (export "go") (param i64) (result i64)
    (if (i64.lt_s (local.get 0) (i64.const 0)) (then (loop $l (br $l))))
    (global.set $calls (i64.add (global.get $calls) (i64.const 1)))
    (global.get $calls)))"#;

#[test]
fn outcomes_that_wait_for_a_slow_item_are_not_worked_for_again() {
    let task = wat(COUNTER);
    let place = Place::new();
    let args = ["-c", "1", "--isolate", "worker", "--timeout"];
    let mut host = place.run(&task).args(args).args(["10m", "-j", "2"]).start();
    let mut input = host.stdin.take().expect("a pipe");
    writeln!(input, "-1").expect("the host reads");
    host.busy_worker();
    for item in 1..=5 {
        let before = place.size("journal");
        writeln!(input, "{item}").expect("the host reads");
        until("its outcome is in the journal, though it is not printed", || {
            (place.size("journal") > before).then_some(())
        });
    }
    assert_eq!(place.read("out"), "");
    kill(&mut host);
    place.run(&task).args(args).args(["3s", "-j", "1"]).input(lines([-1, 1, 2, 3, 4, 5, 6, 7])).run().exits(1);
    // The last two are the first of a new instance: no earlier item had to be run again.
    assert_eq!(place.read("out"), lines([1, 2, 3, 4, 5, 1, 2]));
    assert_eq!(place.failed(), [-1]);
}

#[test]
fn a_run_that_was_interrupted_goes_on_where_it_stopped() {
    let task = wat(SEVENTH_TRAPS);
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let place = Place::new();
        let mut host = place.run(&task).feed(|pipe| (1..).try_for_each(|n: i64| writeln!(pipe, "{n}"))).start();
        until("something is printed", || (place.size("out") > 1000).then_some(()));
        host.signal(signal);
        host.wait();
        let printed = place.read("out").lines().count();
        // More items than were read the first time.
        let items: Vec<i64> = (1..printed as i64 * 2 + 300_000).collect();
        place.run(&task).input(lines(items.iter().copied())).run().exits(1);
        assert!(place.read("out") == doubled(&items), "every item once and in order");
        assert_eq!(place.failed(), sevenths(&items));
    }
}

#[test]
fn a_run_that_was_halted_goes_on_where_it_stopped() {
    let task = wat(SEVENTH_TRAPS);
    let items: Vec<i64> = (1..100).collect();
    for halt in ["now", "soon"] {
        let place = Place::new();
        let args = ["-j", "2", "-c", "3", "--halt", halt];
        let mut times = 0;
        let code = loop {
            let code = place.run(&task).args(args).input(lines(items.iter().copied())).run().code;
            times += 1;
            if code != 3 || times > 20 {
                break code;
            }
        };
        // Each run has failures of its own.
        assert!(times > 2, "{times}");
        // Failures of earlier runs are not this run's, but they are in the journal.
        assert_eq!(code, 1, "--halt {halt}");
        assert_eq!(place.read("out"), doubled(&items), "--halt {halt}");
        assert_eq!(place.failed(), sevenths(&items), "--halt {halt}");
    }
}

/// Returns a run with its files here that prints what a person would see.
fn aloud(place: &Place, task: &Task) -> Run {
    let run = map(task).arg("--resume").arg("--journal").arg(place.path("journal"));
    run.arg("-o").arg(place.path("out")).arg("--failed").arg(place.path("failed"))
}

#[test]
fn a_finished_run_has_nothing_to_do_says_so_and_keeps_its_exit_code() {
    let task = wat(SEVENTH_TRAPS);
    for (items, code, failed) in
        [(vec![1, 2, 3], 0, ", says"), (vec![1, 7, 3], 1, ", and 1 of them failed, says"), (vec![], 0, ", says")]
    {
        let place = Place::new();
        aloud(&place, &task).input(lines(items.clone())).run().exits(code);
        let before = place.all();
        let output = aloud(&place, &task).input(lines(items.clone())).run().exits(code);
        let says = format!("finished, nothing to do: all {} items are done{failed}", items.len());
        assert!(output.stderr.contains(&says), "{}", output.stderr);
        assert_eq!(place.all(), before);
        let output = aloud(&place, &task).arg("-q").input(lines(items.clone())).run().exits(code);
        assert_eq!(output.stderr, "");
    }
}

#[test]
fn a_finished_run_goes_on_where_its_input_has_grown() {
    let task = wat(SEVENTH_TRAPS);
    let place = Place::new();
    let mut items = Vec::new();
    for more in [vec![], vec![1, 2], vec![7, 3], vec![4]] {
        items.extend(more);
        let code = i32::from(items.contains(&7));
        let output = aloud(&place, &task).input(lines(items.clone())).run().exits(code);
        assert!(!output.stderr.contains("nothing to do"), "{}", output.stderr);
        assert_eq!(place.read("out"), doubled(&items));
    }
    assert_eq!(place.failed(), [7]);
}

#[test]
fn a_finished_run_whose_input_has_grown_can_be_killed_and_go_on() {
    let task = wat(SEVENTH_TRAPS);
    let place = Place::new();
    place.run(&task).input(lines([1, 2])).run().exits(0);
    let mut host = place.run(&task).start();
    let mut input = host.stdin.take().expect("a pipe");
    write!(input, "1\n2\n3\n").expect("the host reads");
    until("something is printed behind what was there", || (place.read("out") == "2\n4\n6\n").then_some(()));
    // The item may be in the journal by now or not.
    kill(&mut host);
    place.run(&task).input(lines([1, 2, 3, 4])).run().exits(0);
    assert_eq!(place.read("out"), "2\n4\n6\n8\n");
}

#[test]
fn a_finished_run_is_refused_where_its_input_or_its_files_are_not_as_they_were() {
    let task = wat(SEVENTH_TRAPS);
    let place = Place::new();
    let items = [1, 7, 3];
    place.run(&task).input(lines(items)).run().exits(1);
    let whole = place.all();
    for (input, says) in [
        ("1\n7\n4\n", "has others there"),
        ("1\n7\n", "ends after 2"),
        ("", "ends after 0"),
        ("1\n7\n33\n", "has others there"),
    ] {
        let output = place.run(&task).input(input).run().exits(2);
        assert!(output.stderr.contains(says), "{}", output.stderr);
        assert_eq!(place.all(), whole);
    }
    for name in ["out", "failed"] {
        for other in [None, Some(&b"mine now"[..]), Some(b""), Some(b"2\n6\nmore\n")] {
            match other {
                None => fs::remove_file(place.path(name)).expect("it was there"),
                Some(bytes) => fs::write(place.path(name), bytes).expect("a file"),
            }
            let before = place.all();
            // Also if there is more to do.
            for input in [lines(items), lines([1, 7, 3, 4])] {
                let output = place.run(&task).input(input).run().exits(2);
                let says = format!("{name} is not what the journal says was written");
                assert!(output.stderr.contains(&says), "{}", output.stderr);
                assert_eq!(place.all(), before);
            }
            whole.iter().for_each(|(name, bytes)| fs::write(place.path(name), bytes).expect("put back"));
        }
    }
}

/// Makes the files of a run of `SEVENTH_TRAPS` that was killed after two items.
fn begun() -> Place {
    let place = Place::new();
    place.killed_after(place.run(&wat(SEVENTH_TRAPS)), &[3, 7]);
    place
}

/// Checks that a run was refused and changed nothing, not even what the earlier run wrote and its journal does not
/// promise.
#[track_caller]
fn refused(place: &Place, output: Output, says: &str) {
    let output = output.exits(2);
    assert!(output.stderr.contains(says), "{says:?} is not in: {}", output.stderr);
    // Nothing was lost.
    place.run(&wat(SEVENTH_TRAPS)).input("3\n7\n4\n").run().exits(1);
    assert_eq!(place.read("out"), "6\n8\n");
    assert_eq!(place.failed(), [7]);
}

/// Makes the same files, with what the killed run had written and not recorded: half a line in each file, and half a
/// record.
fn begun_and_torn() -> Place {
    let place = begun();
    for name in ["out", "failed", "journal"] {
        let mut file = fs::File::options().append(true).open(place.path(name)).expect("it is there");
        file.write_all(b"torn li").expect("appended");
    }
    place
}

#[test]
fn a_run_that_is_refused_has_touched_nothing() {
    type Refuse = fn(Run) -> Run;
    let others: [(Refuse, &str); 6] = [
        (|run| run.input("3\n8\n"), "has others there"),
        (|run| run.input("3\n"), "ends after 1"),
        (|run| run.arg("--unordered").input("3\n7\n"), "a run with --unordered false"),
        (|run| run.arg("/no/such/input"), "cannot read the input"),
        (|run| run.args(["--dir", "/no/such::/x"]).input("3\n7\n"), "/no/such"),
        (|run| run.args(["-f", "none"]).input("3\n7\n"), "a run with --function none"),
    ];
    for (refuse, says) in others {
        let place = begun_and_torn();
        let before = place.all();
        let output = refuse(place.run(&wat(SEVENTH_TRAPS))).run().exits(2);
        assert!(output.stderr.contains(says), "{says:?} is not in: {}", output.stderr);
        assert_eq!(place.all(), before, "{says}");
        refused(&place, output, "");
    }
    let place = begun_and_torn();
    for name in ["out", "failed"] {
        let kept = fs::read(place.path(name)).expect("it is there");
        fs::remove_file(place.path(name)).expect("removed");
        let before = place.all();
        let output = place.run(&wat(SEVENTH_TRAPS)).input("3\n7\n").run().exits(2);
        assert!(output.stderr.contains(&format!("{name} is not what the journal says")), "{}", output.stderr);
        assert!(output.stderr.contains("it is not there"), "{}", output.stderr);
        assert_eq!(place.all(), before);
        fs::write(place.path(name), kept).expect("put back");
    }
}

#[test]
fn a_run_that_is_interrupted_before_its_input_was_looked_through_has_touched_nothing() {
    let place = begun_and_torn();
    let before = place.all();
    let mut host = place.run(&wat(SEVENTH_TRAPS)).start();
    // The host waits for the second item, which is not known yet. Blank lines are no items, and no pipe holds that
    // many.
    let mut input = host.stdin.take().expect("a pipe");
    write!(input, "3\n{}", "\n".repeat(300_000)).expect("the host reads");
    host.signal(Signal::SIGTERM);
    host.wait();
    assert_eq!(place.all(), before);
}

#[test]
fn a_run_that_never_begins_leaves_no_files_behind() {
    let place = Place::new();
    for task in [wat("(module"), wat("(module)")] {
        place.run(&task).input("1\n").run().exits(2);
        place.run(&wat(SQUARE)).arg("/no/such/input").run().exits(2);
        place.run(&wat(SQUARE)).args(["-f", "none"]).input("1\n").run().exits(2);
        place.run(&wat(SQUARE)).args(["--dir", "/no/such::/x"]).input("1\n").run().exits(2);
        assert_eq!(place.all(), []);
        map(&task).arg("--results").arg(place.path("results")).input("1\n").run().exits(2);
        assert!(!place.path("results").exists());
    }
    map(&wat(SQUARE)).arg("--results").arg(place.path("results")).input("").run().exits(0);
    assert!(place.path("results").exists());
}

#[test]
fn a_journal_that_was_damaged_is_refused_by_name_with_a_way_out_that_works() {
    let task = wat(SEVENTH_TRAPS);
    let items = [3, 7, 4, 5];
    let place = Place::new();
    place.killed_after(place.run(&task), &items);
    let journal = fs::read(place.path("journal")).expect("it is there");
    let step = if full() { 1 } else { 61 };
    // In front of the last record, wherever that begins; at least this many bytes.
    for at in (20..journal.len() * 2 / 3).step_by(step) {
        let mut damaged = journal.clone();
        damaged[at] ^= 0x10;
        fs::write(place.path("journal"), &damaged).expect("written");
        let before = place.all();
        let output = place.run(&task).input(lines(items)).run().exits(2);
        assert!(output.stderr.contains("journal is damaged at byte "), "byte {at}: {}", output.stderr);
        assert_eq!(place.all(), before, "byte {at}");
        if let Some(cut) = output.stderr.split("truncate -s ").nth(1) {
            let again = Place::new();
            again.copy(&place);
            let cut: usize = cut.split(' ').next().and_then(|cut| cut.parse().ok()).expect("a number");
            fs::write(again.path("journal"), &damaged[..cut]).expect("cut");
            again.run(&task).input(lines(items)).run().exits(1);
            assert_eq!((again.read("out"), again.failed()), (doubled(&items), vec![7]), "byte {at}");
        }
    }
}

#[test]
fn a_journal_does_not_grow_with_the_times_its_run_was_killed() {
    let task = wat(SEVENTH_TRAPS);
    let place = Place::new();
    let mut sizes = Vec::new();
    let items: Vec<i64> = (1..40).map(|n| n * 7 + 1).collect();
    for round in 1..=12 {
        let before = fs::read(place.path("journal")).unwrap_or_default();
        let mut host = place.run(&task).start();
        let mut input = host.stdin.take().expect("a pipe");
        write!(input, "{}", lines(items[..round * 3].iter().copied())).expect("the host reads");
        until("something of it is in the journal", || {
            (fs::read(place.path("journal")).unwrap_or_default() != before).then_some(())
        });
        kill(&mut host);
        sizes.push(place.size("journal"));
    }
    assert!(sizes.iter().all(|size| *size < sizes[1] * 2), "{sizes:?}");
    place.run(&task).input(lines(items.iter().copied())).run().exits(0);
    assert_eq!(place.read("out"), doubled(&items));
}

#[test]
fn a_journal_of_another_task_is_refused() {
    let place = begun();
    let output = place.run(&wat(SQUARE)).input("3\n7\n4\n").run();
    refused(&place, output, "is of another task");
}

#[test]
fn a_journal_of_a_run_with_other_options_is_refused() {
    let others: [(&[&str], &str); 6] = [
        (&["-f", "go"], "a run with --function none, and this one has go"),
        (&["--unordered"], "a run with --unordered false, and this one has true"),
        (&["--output-format", "records"], "a run with --output-format values, and this one has records"),
        (&["--input-format", "csv"], "a run with --input-format jsonl, and this one has csv"),
        (&["--arg", "p0=3"], "a run with --arg none, and this one has p0=3"),
        (&["--memory", "1MiB"], "a run with --memory 256MiB, and this one has 1MiB"),
    ];
    for (args, says) in others {
        let place = begun();
        let output = place.run(&wat(SEVENTH_TRAPS)).args(args).input("3\n7\n4\n").run();
        refused(&place, output, says);
    }
    let place = begun();
    let output =
        map(&wat(SEVENTH_TRAPS)).arg("--resume").arg("--journal").arg(place.path("journal")).input("3\n").run();
    refused(&place, output, "a run with --output a file, and this one has a pipe or device");
}

#[test]
fn a_journal_of_another_input_is_refused() {
    for (input, says) in [
        ("3\n8\n4\n", "began with 2 items, and this one has others there"),
        ("3\n", "began with 2 items, and this one ends after 1"),
        ("", "began with 2 items, and this one ends after 0"),
        ("3 \n7\n4\n", "this one has others there"),
    ] {
        let place = begun();
        let output = place.run(&wat(SEVENTH_TRAPS)).input(input).run();
        refused(&place, output, says);
    }
}

#[test]
fn an_output_that_lost_something_is_refused() {
    for name in ["out", "failed"] {
        let place = begun();
        let whole = fs::read(place.path(name)).expect("it is there");
        fs::write(place.path(name), &whole[..whole.len() - 1]).expect("cut");
        let output = place.run(&wat(SEVENTH_TRAPS)).input("3\n7\n4\n").run().exits(2);
        assert!(output.stderr.contains(&format!("it has {} bytes, of {}", whole.len() - 1, whole.len())));
        let mut other = whole.clone();
        other[0] ^= 1;
        fs::write(place.path(name), &other).expect("changed");
        let output = place.run(&wat(SEVENTH_TRAPS)).input("3\n7\n4\n").run().exits(2);
        assert!(output.stderr.contains("its bytes up to"), "{}", output.stderr);
        assert_eq!(fs::read(place.path(name)).expect("it is there"), other);
        fs::write(place.path(name), &whole).expect("put back");
        refused(&place, output, "is not what the journal says");
    }
}

#[test]
fn an_output_that_was_changed_anywhere_is_refused() {
    let task = wat(SEVENTH_TRAPS);
    let items: Vec<i64> = (1..20_000).collect();
    let place = Place::new();
    place.run(&task).input(lines(items.iter().copied())).run().exits(1);
    for (name, more) in ["out", "failed"].into_iter().flat_map(|name| [(name, vec![]), (name, vec![3])]) {
        let whole = fs::read(place.path(name)).expect("it is there");
        assert!(whole.len() > 3 << 13, "too little to have an end that is far from its beginning");
        for at in [0, 1 << 13, whole.len() / 2, whole.len() - 1] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(place.path(name), &changed).expect("changed");
            let before = place.all();
            let output =
                place.run(&task).input(lines(items.iter().copied().chain(more.iter().copied()))).run().exits(2);
            assert!(output.stderr.contains("are others"), "{name}, byte {at}: {}", output.stderr);
            assert_eq!(place.all(), before, "{name}, byte {at}");
        }
        fs::write(place.path(name), &whole).expect("put back");
    }
    place.run(&task).input(lines(items.iter().copied().chain([3]))).run().exits(1);
    assert_eq!(place.read("out"), doubled(&items) + "6\n");
}

#[test]
fn a_journal_of_the_version_before_is_refused_and_left_as_it_is() {
    let place = begun();
    let mut journal = fs::read(place.path("journal")).expect("it is there");
    journal[..19].copy_from_slice(b"wasmpool journal 2\n");
    fs::write(place.path("journal"), &journal).expect("written");
    let before = place.all();
    let output = place.run(&wat(SEVENTH_TRAPS)).input("3\n7\n4\n").run().exits(2);
    assert!(output.stderr.contains("is of another version of wasmpool"), "{}", output.stderr);
    assert_eq!(place.all(), before);
}

#[test]
fn what_was_written_and_not_promised_is_cut_off() {
    let place = begun();
    for name in ["out", "failed"] {
        let mut file = fs::File::options().append(true).open(place.path(name)).expect("it is there");
        file.write_all(b"torn li").expect("appended");
    }
    place.run(&wat(SEVENTH_TRAPS)).input("3\n7\n4\n").run().exits(1);
    assert_eq!(place.read("out"), "6\n8\n");
    assert_eq!(place.failed(), [7]);
}

#[test]
fn a_journal_is_not_started_over_by_accident() {
    let place = begun();
    let output =
        map(&wat(SEVENTH_TRAPS)).arg("--journal").arg(place.path("journal")).arg("-o").arg(place.path("out")).run();
    refused(&place, output, "--resume goes on with it");
    let output = map(&wat(SEVENTH_TRAPS)).arg("--resume").input("1\n").run().exits(2);
    assert!(output.stderr.contains("--journal FILE"), "{}", output.stderr);
    fs::write(place.path("other"), "not a journal\n").expect("a file");
    let args = [Path::new("--resume"), Path::new("--journal"), &place.path("other")];
    let output = map(&wat(SEVENTH_TRAPS)).args(args).input("1\n").run().exits(2);
    assert!(output.stderr.contains("is no journal"), "{}", output.stderr);
    assert_eq!(place.read("other"), "not a journal\n");
}

#[test]
fn a_task_that_cannot_be_loaded_leaves_a_journal_that_can_be_begun() {
    let place = Place::new();
    place.run(&wat("(module")).input("1\n").run().exits(2);
    let args = [Path::new("--journal"), &place.path("journal")];
    map(&wat(SQUARE)).args(args).input("1\n").run().exits(0);
}

#[test]
fn two_runs_cannot_have_one_journal() {
    let place = Place::new();
    let mut host = place.run(&wat(SEVENTH_TRAPS)).start();
    let mut input = host.stdin.take().expect("a pipe");
    writeln!(input, "3").expect("the host reads");
    until("it has begun", || (place.size("journal") > 0).then_some(()));
    let output = place.run(&wat(SEVENTH_TRAPS)).input("3\n").run().exits(2);
    assert!(output.stderr.contains("another run uses the journal"), "{}", output.stderr);
    drop(input);
    assert_eq!(host.code(), 0);
}

#[test]
fn to_a_pipe_at_most_the_last_group_is_printed_again() {
    let place = Place::new();
    let task = wat(SEVENTH_TRAPS);
    let run = || map(&task).args(["--resume", "-q", "--journal"]).arg(place.path("journal"));
    let mut host = run().start();
    let mut input = host.stdin.take().expect("a pipe");
    for item in [1, 2, 3] {
        let before = place.size("journal");
        writeln!(input, "{item}").expect("the host reads");
        assert_eq!(host.line(), Some((item * 2).to_string()));
        until("the journal grows", || (place.size("journal") > before).then_some(()));
    }
    writeln!(input, "4").expect("the host reads");
    assert_eq!(host.line(), Some("8".to_owned()));
    kill(&mut host);
    let output = run().input("1\n2\n3\n4\n5\n").run().exits(0);
    assert!(["8\n10\n", "10\n"].contains(&output.text()), "{}", output.text());
}

#[test]
fn a_growing_input_is_gone_on_with() {
    // Killed at its end, before it could record that it was finished.
    let place = begun();
    place.run(&wat(SEVENTH_TRAPS)).input(lines([3, 7, 4, 14, 5])).run().exits(1);
    assert_eq!(place.read("out"), lines([6, 8, 10]));
    assert_eq!(place.failed(), [7, 14]);
}

/// A file system of this size, if the tests may mount one.
struct Disk(Place);

impl Disk {
    fn mount(options: &str) -> Option<Disk> {
        let place = Place::new();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "wasmpool-tests"]).arg(place.root());
        mount.stderr(std::process::Stdio::null()).status().ok()?.success().then_some(Disk(place))
    }

    fn resize(&self, options: &str) {
        let options = format!("remount,{options}");
        let status = std::process::Command::new("mount").args(["-o", &options]).arg(self.0.root()).status();
        assert!(status.expect("mount is there").success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0.root()).status();
    }
}

#[test]
fn a_full_disk_ends_the_run_with_an_error_and_is_gone_on_from() {
    let Some(disk) = Disk::mount("size=64k") else {
        eprintln!("no tmpfs can be mounted here: not tested");
        return;
    };
    let place = &disk.0;
    let task = wat(SEVENTH_TRAPS);
    let items: Vec<i64> = (1..50_000).collect();
    let output = place.run(&task).input(lines(items.iter().copied())).run().exits(2);
    assert!(output.stderr.contains("No space left"), "{}", output.stderr);
    assert!(output.stderr.contains("with the same input, this command goes on: "), "{}", output.stderr);
    disk.resize("size=64m");
    place.run(&task).input(lines(items.iter().copied())).run().exits(1);
    assert_eq!(place.read("out"), doubled(&items));
    assert_eq!(place.failed(), sevenths(&items));
}

#[test]
fn a_journal_on_a_full_disk_is_an_error_that_names_it() {
    let Some(disk) = Disk::mount("size=4k") else {
        eprintln!("no tmpfs can be mounted here: not tested");
        return;
    };
    fs::write(disk.0.path("full"), [0; 4096]).expect("the disk is filled");
    let place = Place::new();
    let run = || {
        let task = wat(SEVENTH_TRAPS);
        let journal = disk.0.path("journal");
        map(&task).args(["-q", "--resume", "-o"]).arg(place.path("out")).arg("--journal").arg(journal).input("1\n2\n")
    };
    let output = run().run().exits(2);
    assert!(output.stderr.contains("cannot write the journal"), "{}", output.stderr);
    assert!(output.stderr.contains("journal: No space left"), "{}", output.stderr);
    fs::remove_file(disk.0.path("full")).expect("room is made");
    run().run().exits(0);
    assert_eq!(place.read("out"), "2\n4\n");
}

#[test]
fn an_output_with_the_name_of_the_new_journal_is_refused_also_if_a_link_leads_to_the_journal() {
    let place = Place::new();
    fs::create_dir(place.path("below")).expect("made");
    symlink("below/real", place.path("link")).expect("a link");
    let run = |journal: &str| {
        let run = map(&wat(SQUARE)).arg("--journal").arg(place.path(journal));
        run.arg("-o").arg(place.path("below/real.new")).input("3\n").run()
    };
    for journal in ["link", "below/real"] {
        let output = run(journal).exits(2);
        assert!(output.stderr.contains("is written anew as"), "{journal}: {}", output.stderr);
        assert!(!place.path("below/real.new").exists() && !place.path("below/real").exists());
    }
}

#[test]
fn an_output_that_is_an_open_file_without_a_path_of_its_own_is_kept_with_a_journal() {
    let place = Place::new();
    let run = |output: &str| map(&wat(SQUARE)).arg("--journal").arg(place.path("journal")).args(["-o", output]);
    let file = File::create(place.path("out")).expect("made");
    run("/dev/stdout").stdout_to(file).input("3\n4\n").run().exits(0);
    assert_eq!(place.read("out"), "9\n16\n");
    // One that has no directory at all.
    fs::remove_file(place.path("journal")).expect("it is there");
    let mut file = tempfile::tempfile().expect("made");
    run("/dev/stdout").stdout_to(file.try_clone().expect("a descriptor")).input("3\n4\n").run().exits(0);
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text)).expect("read");
    assert_eq!(text, "9\n16\n");
}

#[test]
fn a_journal_of_a_run_with_another_init_is_refused_by_the_name_of_the_option() {
    let place = Place::new();
    let task = wat(initialised());
    place.run(&task).args(["--init", "64"]).input("3\n").run();
    let output = place.run(&task).args(["--init", "65"]).input("3\n").run().exits(2);
    assert!(output.stderr.contains("a run with --init 64, and this one has 65"), "{}", output.stderr);
}
