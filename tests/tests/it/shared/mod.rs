//! Shared objects: what tasks have in common is granted by name, and no end of an item, a worker or a run loses, doubles or
//! blocks any of it.
//!
//! The guest is the fixture `shared`, whose items are orders (`guest/fixtures/shared/src/lib.rs`).

pub mod counting;
mod ends;
mod files;
mod grants;
mod manager;
mod options;
mod refusals;
mod standard;
mod waits;

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::guest::{Task, built};
use crate::support::host::Host;
use crate::support::record::Record;
use crate::support::run::{Output, Run, map, wasmpool};

/// Returns the guest that follows orders.
fn guest() -> Task {
    built("shared")
}

/// Returns `wasmpool map` of orders, one item a line and one item a chunk, with records and these objects.
pub fn orders(shares: &[&str]) -> Run {
    let run =
        map(&guest()).args(["-f", "act", "--input-format", "lines", "--output-format", "records", "-c", "1", "-q"]);
    share(run, shares)
}

/// Returns the same with one worker, so that the items run one after the other, and with these items.
fn in_turn(shares: &[&str], items: &[&str]) -> Run {
    orders(shares).args(["-j", "1"]).input(lines(items))
}

fn share(run: Run, shares: &[&str]) -> Run {
    shares.iter().fold(run, |run, share| run.args(["--share", share]))
}

fn lines(items: &[&str]) -> String {
    items.iter().map(|item| format!("{item}\n")).collect()
}

/// Returns what came of an item: its answers, its own error, or the kind of its failure.
pub fn ending(record: &Record) -> String {
    match record.kind() {
        "ok" => record.value().as_str().expect("answers are text").to_owned(),
        "error" => record.get("error").and_then(Value::as_str).expect("an error is text").to_owned(),
        kind => kind.to_owned(),
    }
}

/// Returns what came of each item, in the order of the items.
#[track_caller]
pub fn endings(output: &Output) -> Vec<String> {
    let mut records = output.records();
    records.sort_by_key(Record::index);
    records.iter().map(ending).collect()
}

/// Runs items one after the other, and checks what comes of each.
#[track_caller]
fn come_to(shares: &[&str], items_and_endings: &[(&str, &str)]) {
    let (items, wanted): (Vec<&str>, Vec<&str>) = items_and_endings.iter().copied().unzip();
    let output = in_turn(shares, &items).run();
    assert_eq!(endings(&output), wanted, "{}", output.stderr);
}

/// A run that is given one item after the other, and whose outcomes are read as they come.
pub struct Session {
    pub host: Host,
}

impl Session {
    /// Starts a run with so many workers.
    pub fn start(workers: &str, args: &[&str], shares: &[&str]) -> Session {
        Session::of(orders(shares).args(["-j", workers, "--unordered"]).args(args))
    }

    /// Starts a run whose items are given one after the other.
    pub fn of(run: Run) -> Session {
        Session { host: run.start() }
    }

    pub fn give(&mut self, item: &str) {
        let input = self.host.stdin.as_mut().expect("a pipe");
        writeln!(input, "{item}").expect("the run reads its items");
    }

    /// Returns the next outcome, whichever item's it is.
    pub fn next(&mut self) -> String {
        let line = self.host.line();
        ending(&Record::read(&line.unwrap_or_else(|| panic!("it has ended: {}", self.host.said()))))
    }

    /// Returns the next two outcomes, sorted, since either may come first.
    pub fn both(&mut self) -> [String; 2] {
        let mut both = [self.next(), self.next()];
        both.sort();
        both
    }

    /// Gives an item, and returns the next outcome.
    pub fn ask(&mut self, item: &str) -> String {
        self.give(item);
        self.next()
    }

    /// Gives an item again and again until it comes to this, while others wait.
    #[track_caller]
    pub fn until(&mut self, item: &str, wanted: &str) {
        crate::support::until(&format!("{item}: {wanted}"), || (self.ask(item) == wanted).then_some(()));
    }

    /// Ends the input, and waits for the end of the run.
    pub fn end(mut self) -> i32 {
        self.host.end_input();
        while self.host.line().is_some() {}
        self.host.code()
    }
}

/// A directory for the files of a test.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Place {
        Place(TempDir::new().expect("a temporary directory"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, and returns its path.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    pub fn read(&self, name: &str) -> Value {
        read(&self.path(name))
    }
}

fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).expect("the run has written it");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Runs items one after the other, and returns what the objects hold at the end.
#[track_caller]
fn held_after(shares: &[&str], items: &[&str]) -> Value {
    let place = Place::new();
    in_turn(shares, items).arg("--share-out").arg(place.path("out.json")).run().exits(0);
    place.read("out.json")
}

/// Returns `wasmpool call` of one item of orders.
fn call(shares: &[&str], order: &str) -> Run {
    share(wasmpool().arg("call").task(&guest()), shares).args(["act", &Value::from(order).to_string()])
}
