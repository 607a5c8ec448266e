//! The processes of the programs in this folder. Where a program has several, each is an item: its name.

mod collections;
mod pipes;
mod python;
mod queues;

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use wasmpool_guest::shared::{Event, List, Lock, process_name};

wit_bindgen::generate!({ path: "wit" });

struct Programs;
export!(Programs);

/// Belongs to one item: each starts from pristine memory.
static ZERO: AtomicU32 = AtomicU32::new(0);

const SECOND: Duration = Duration::from_secs(1);

impl Guest for Programs {
    fn square(x: i64) -> i64 {
        x * x
    }

    fn assign() -> Result<(), String> {
        collections::assign().map_err(text)
    }

    fn assign_and_append() -> Result<(), String> {
        collections::assign_and_append().map_err(text)
    }

    fn announce(number: String) -> (String, String) {
        (process_name().unwrap_or_default(), format!("has number {number}: Running"))
    }

    fn task(number: u32) -> Result<(), String> {
        let said = List::open("said").map_err(text)?;
        said.append(format!("Task {number} begins")).map_err(text)?;
        std::thread::sleep(SECOND);
        said.append(format!("Task {number} ends")).map_err(text)
    }

    fn write_names(names: Vec<String>) -> Result<(), String> {
        queues::write(&names).map_err(text)
    }

    fn read_names() -> Result<(), String> {
        queues::read().map_err(text)
    }

    fn one_way(process: String) -> Result<String, String> {
        pipes::one_way(&process).map_err(text)
    }

    fn both_ways(process: String) -> Result<String, String> {
        pipes::both_ways(&process).map_err(text)
    }

    fn sleeper(number: u32) -> u32 {
        std::thread::sleep(SECOND);
        number
    }

    fn global(name: String) -> String {
        if name == "parent" {
            return format!("{name} {}\n", ZERO.load(Ordering::Relaxed));
        }
        (0..3).map(|_| format!("{name} {}\n", ZERO.fetch_add(1, Ordering::Relaxed) + 1)).collect()
    }

    fn put_one(process: String) -> Result<String, String> {
        queues::put_one(&process).map_err(text)
    }

    fn produce() -> Result<(), String> {
        queues::produce().map_err(text)
    }

    fn consume() -> Result<(), String> {
        queues::consume().map_err(text)
    }

    fn produce_and_consume(process: String) -> Result<String, String> {
        queues::produce_and_consume(&process).map_err(text)
    }

    fn slow_square(x: i64) -> i64 {
        std::thread::sleep(SECOND);
        x * x
    }

    fn append(item: u32) -> Result<(), String> {
        collections::append(item).map_err(text)
    }

    fn hello(process: String) -> Result<String, String> {
        queues::hello(&process).map_err(text)
    }

    fn nothing(_item: u32) {}

    fn wait_for_go() -> Result<String, String> {
        Event::open("go").and_then(|go| go.wait(None)).map_err(text)?;
        Ok("done".to_owned())
    }

    fn work(milliseconds: u64) -> u64 {
        std::thread::sleep(Duration::from_millis(milliseconds));
        milliseconds
    }

    fn full_and_empty() -> Result<String, String> {
        queues::full_and_empty().map_err(text)
    }

    fn append_lines(process: u32) -> Result<(), String> {
        let gate = Lock::open("gate").map_err(text)?;
        let mut file = OpenOptions::new().append(true).create(true).open("/out/lines").map_err(text)?;
        for line in 0..100 {
            let _guard = gate.acquire(None).map_err(text)?;
            writeln!(file, "process {process}, line {line}").map_err(text)?;
        }
        Ok(())
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
