//! Reports and traces tell what a run did, whatever its end was, and are inert whatever guests say.

use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::records::prints_and;
use crate::support::browser::Browser;
use crate::support::guest::{Task, wat};
use crate::support::run::{Run, map, wasmpool};
use crate::support::wat::{COUNT_TO, SPIN_IF_NEGATIVE, SQUARE};

/// What a guest says that wants to be more than text.
const HOSTILE: &str = "</title></pre><script>document.title='owned'</script><img src=x onerror=document.title='owned'>";

/// Where a test's reports are.
struct Reports(TempDir);

impl Reports {
    fn new() -> Reports {
        Reports(TempDir::new().expect("a temporary directory"))
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// Asks a run for all of them.
    fn of(&self, run: Run) -> Run {
        let run = run.arg("--report").arg(self.path("run.json")).arg("--report").arg(self.path("run.html"));
        run.arg("--trace").arg(self.path("run.trace"))
    }

    fn figures(&self) -> Value {
        let figures = json(&self.path("run.json"));
        assert_eq!((&figures["format"], &figures["version"]), (&"wasmpool-report".into(), &1.into()));
        figures
    }

    fn page(&self) -> String {
        std::fs::read_to_string(self.path("run.html")).expect("a page")
    }

    fn trace(&self) -> Vec<Value> {
        json(&self.path("run.trace"))["traceEvents"].as_array().expect("events").clone()
    }
}

fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).expect("a report");
    serde_json::from_str(&text).expect("JSON")
}

fn sum(values: &Value) -> u64 {
    values.as_array().expect("numbers").iter().map(|value| value.as_u64().expect("a number")).sum()
}

/// Checks that what a report says of a task adds up.
#[track_caller]
fn adds_up(task: &Value, done: u64, failed: u64) {
    assert_eq!((task["done"].as_u64(), task["failed"].as_u64()), (Some(done), Some(failed)));
    let timeline = &task["timeline"];
    assert_eq!((sum(&timeline["done"]), sum(&timeline["failed"])), (done, failed));
    let rows = timeline["rows"].as_array().expect("rows");
    let of_rows = |what: &str| rows.iter().map(|row| sum(&row[what])).sum::<u64>();
    assert_eq!((of_rows("done"), of_rows("failed")), (done, failed));
    let counts = task["times"]["histogram"].as_array().expect("buckets").iter();
    assert_eq!(counts.map(|bucket| bucket["count"].as_u64().expect("a count")).sum::<u64>(), done);
    let kinds = task["failures"].as_array().expect("kinds").iter();
    assert_eq!(kinds.map(|kind| kind["count"].as_u64().expect("a count")).sum::<u64>(), failed);
}

#[test]
fn a_report_tells_of_every_item_and_costs_no_result() {
    let reports = Reports::new();
    let input = "3\n".repeat(2000) + "\"x\"\n" + &"4\n".repeat(500);
    let output = reports.of(map(&wat(SQUARE)).args(["-j", "2"])).input(input).run().exits(1);
    assert_eq!(output.text(), "9\n".repeat(2000) + &"16\n".repeat(500));
    let figures = reports.figures();
    assert_eq!(figures["items"]["done"], 2501);
    assert_eq!(figures["items"]["failed"], 1);
    assert_eq!((&figures["end"]["how"], &figures["end"]["exit_code"]), (&"complete".into(), &1.into()));
    let task = &figures["tasks"][0];
    adds_up(task, 2501, 1);
    assert_eq!(task["failures"][0]["kind"], "invalid-input");
    assert_eq!(task["failures"][0]["examples"][0]["index"], 2000);
    assert!(task["timeline"]["rows"].as_array().expect("rows").len() <= 2);
    assert!(task["instances"]["made"].as_u64() >= Some(1));
    let chunks = task["chunks"]["listed"].as_array().expect("chunks");
    let items: u64 = chunks.iter().map(|chunk| chunk["count"].as_u64().expect("a count")).sum();
    assert!(items <= 2501 && items > 0);
    let layers = figures["sandbox"]["layers"].as_array().expect("layers");
    assert!(layers.iter().all(|layer| layer["state"] == "in-force"), "{layers:?}");
    assert!(figures["command"].as_str().expect("a command").contains("--trace"));
    let page = reports.page();
    for words in ["Over time", "Times of items", "invalid-input", "seccomp", "2,501"] {
        assert!(page.contains(words), "{words}");
    }
    assert!(!page.contains("<script"), "it needs none");
    let trace = reports.trace();
    for event in &trace {
        let phase = event["ph"].as_str().expect("a phase");
        assert!(["M", "X", "C", "i"].contains(&phase) && event["pid"].is_u64());
        assert!(phase != "X" || event["ts"].is_number() && event["dur"].is_number() && event["tid"].is_u64());
    }
    let of = |kind: &str| trace.iter().filter(|event| event["cat"] == kind).count();
    assert!(of("chunk") > 0 && of("item") > 0 && of("life") > 0);
}

#[test]
fn an_item_took_the_same_time_wherever_a_report_or_a_record_tells_it() {
    let reports = Reports::new();
    let input: String = (1..=60).map(|n| format!("{}\n", n * 100_000)).collect();
    let run = map(&wat(COUNT_TO)).args(["-j", "1", "--output-format", "records"]);
    let output = reports.of(run).input(input).run().exits(0);
    let records: Vec<Value> = output.lines().iter().map(|line| serde_json::from_str(line).expect("a record")).collect();
    let figures = reports.figures();
    let task = &figures["tasks"][0];
    let longest = task["longest_items"].as_array().expect("items");
    assert_eq!(longest.len(), records.len());
    for item in longest {
        let record = &records[usize::try_from(item["index"].as_u64().expect("an index")).expect("small")];
        assert_eq!(item["elapsed_us"], record["elapsed_us"], "{item} {record}");
    }
    let took = |item: &Value| item["elapsed_us"].as_u64().expect("a time");
    assert!(longest.is_sorted_by_key(|item| std::cmp::Reverse(took(item))), "{longest:?}");
    assert_eq!(task["times"]["most_us"].as_f64().map(|us| us as u64), longest.first().map(took));
    let total: u64 = records.iter().map(took).sum();
    let said = task["times"]["total_us"].as_u64().expect("a sum");
    assert!((total..=total + 60).contains(&said), "{said} is the sum of {total}, but for parts of microseconds");
    assert!(reports.page().contains("elapsed_us"), "the page says which time it means");
}

#[test]
fn a_report_tells_of_workers_that_died_or_were_late() {
    let reports = Reports::new();
    let run = map(&wat(SPIN_IF_NEGATIVE)).args(["-j", "1", "--timeout", "200ms"]);
    reports.of(run).input("1\n-1\n2\n").run().exits(1);
    let task = &reports.figures()["tasks"][0];
    adds_up(task, 3, 1);
    assert_eq!(task["workers"]["late"], 1);
    let events = task["events"]["listed"].as_array().expect("events");
    assert!(events.iter().any(|event| event["what"] == "late" && event["item"] == 1), "{events:?}");
    assert_eq!(task["longest_items"][0]["failed"], "timeout");
    assert!(task["longest_items"][0]["index"] == 1);
}

#[test]
fn a_run_that_is_cut_short_has_its_report() {
    let reports = Reports::new();
    let mut host = reports.of(map(&wat(COUNT_TO)).args(["-j", "1", "-c", "1"])).start();
    let mut input = host.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut input, b"1\n2000000000\n").expect("the host reads");
    assert!(host.line().is_some());
    host.busy_worker();
    host.signal(Signal::SIGINT);
    while host.line().is_some() {}
    assert_eq!(host.code(), 130);
    assert_eq!(reports.figures()["end"]["how"], "interrupted");

    reports.of(map(&wat(SQUARE)).args(["--halt", "now"])).input("1\n\"x\"\n2\n").run().exits(3);
    assert_eq!(reports.figures()["end"]["how"], "halted");
    // What was there is replaced, also where nothing can run.
    let failed = reports.of(map(&wat("(module)"))).input("1\n").run().exits(2);
    let figures = reports.figures();
    assert_eq!(figures["end"]["how"], "error");
    let message = figures["end"]["message"].as_str().expect("a message");
    assert!(failed.stderr.contains(message), "{message}: {}", failed.stderr);
    assert!(reports.page().contains("ended by an error"));
}

#[test]
fn a_run_that_finds_all_done_leaves_the_report_of_the_run_that_did_it() {
    let reports = Reports::new();
    let (task, journal) = (wat(SQUARE), reports.path("journal"));
    let out = reports.path("out");
    let run =
        || reports.of(map(&task).arg("--journal").arg(&journal).arg("-o").arg(&out)).arg("--resume").input("3\n4\n");
    run().run().exits(0);
    let before = (reports.figures(), reports.page());
    assert_eq!(before.0["items"]["done"], 2);
    let again = run().run().exits(0);
    assert!(again.stderr.contains("nothing to do"), "{}", again.stderr);
    assert_eq!((reports.figures(), reports.page()), before);
    std::fs::remove_file(reports.path("run.json")).expect("a report");
    run().run().exits(0);
    assert_eq!(reports.figures()["end"]["how"], "complete");
}

#[test]
fn several_tasks_and_commands_are_reported() {
    let reports = Reports::new();
    let tasks = [wat(SQUARE), wat(COUNT_TO)];
    let run = wasmpool().arg("map").args(
        tasks
            .iter()
            .zip(["one", HOSTILE_NAME])
            .flat_map(|(task, name)| ["--task".to_owned(), format!("{name}={}", task.path().display())]),
    );
    reports.of(run).input("1\n2\n3\n").run().exits(0);
    let figures = reports.figures();
    assert_eq!(figures["tasks"].as_array().expect("tasks").len(), 2);
    figures["tasks"].as_array().expect("tasks").iter().for_each(|task| adds_up(task, 3, 0));
    assert_eq!(figures["items"]["done"], 6);
    assert!(!reports.page().contains("<img"));
    let command = wat(r#"(module (memory (export "memory") 1) (func (export "_start")))"#);
    reports.of(wasmpool().arg("exec").task(&command)).input("1\n2\n").run().exits(0);
    adds_up(&reports.figures()["tasks"][0], 2, 0);
}

/// A name of a task.
const HOSTILE_NAME: &str = "<img src>";

#[test]
fn a_report_is_written_whole_to_files_of_its_own() {
    let folder = TempDir::new().expect("a temporary directory");
    let path = |name: &str| folder.path().join(name);
    let wrong = |args: &[&str], says: &str| {
        let run = map(&wat(SQUARE)).directory(folder.path()).args(args).input("1\n").run().exits(2);
        assert!(run.stderr.contains(says), "{args:?}: {}", run.stderr);
        assert_eq!(run.text(), "", "nothing ran");
    };
    wrong(&["--report", "run.txt"], ".html");
    wrong(&["--report", "missing/run.html"], "cannot write the report missing/run.html");
    wrong(&["--trace", "."], "cannot write the trace .: it is a directory");
    wrong(&["--report", "run.json", "-o", "run.json"], "--report run.json is also the output");
    std::fs::write(path("items.json"), "1\n").expect("written");
    wrong(&["items.json", "--report", "items.json"], "--report items.json is also an input");
    let names = || std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(names(), 1, "nothing is left");
    // The values of variables may be secret.
    let reports = Reports::new();
    let run = map(&wat(SQUARE)).args(["--env", "TOKEN=secret"]);
    reports.of(run).input("1\n").run().exits(0);
    for name in ["run.json", "run.html", "run.trace"] {
        let text = std::fs::read_to_string(reports.path(name)).expect("text");
        assert!(!text.contains("secret"), "{name}");
    }
    assert!(reports.page().contains("TOKEN"));
}

#[test]
fn a_report_that_cannot_be_written_costs_no_other_and_each_is_named() {
    let folder = TempDir::new().expect("a temporary directory");
    let run = map(&wat(SQUARE)).directory(folder.path()).args(["--trace", "/dev/full", "--report", "run.html"]);
    let run = run.args(["--report", "run.json"]).input("1\n").run().exits(2);
    assert!(run.stderr.contains("cannot write the trace /dev/full: No space left on device"), "{}", run.stderr);
    for name in ["run.html", "run.json"] {
        assert!(folder.path().join(name).exists(), "{name}");
    }
    std::os::unix::fs::symlink("/dev/full", folder.path().join("full.json")).expect("a link");
    let run = map(&wat(SQUARE)).directory(folder.path()).args(["--trace", "/dev/full", "--report", "full.json"]);
    let run = run.input("1\n").run().exits(2);
    assert!(run.stderr.contains("trace /dev/full") && run.stderr.contains("report full.json"), "{}", run.stderr);
    assert_eq!(run.text(), "1\n", "the items were done");
}

/// Returns a run with failures of all sorts, of a task that says what a hostile one would.
fn hostile(reports: &Reports) -> Task {
    let task = prints_and(&HOSTILE.replace('\'', "\\'"), 1, "local.get 0 i64.eqz if unreachable end local.get 0");
    let input = (0..3000).map(|item| if item % 100 == 0 { "0\n" } else { "1\n" }).collect::<String>();
    reports.of(map(&task).args(["-j", "2"])).input(input + "\"<u>\"\n").run().exits(1);
    task
}

#[test]
fn what_guests_say_is_text_in_a_report() {
    let reports = Reports::new();
    hostile(&reports);
    let figures = reports.figures();
    let failures = figures["tasks"][0]["failures"].to_string();
    assert!(failures.contains("onerror"), "{failures}");
    let page = reports.page();
    for markup in ["<script", "<img", "<u>", "</title></pre>"] {
        assert!(!page.contains(markup), "{markup}");
    }
    assert!(page.contains("default-src &#39;none&#39;") || page.contains("default-src 'none'"));
}

/// The widths and colours in which the page is looked at. With `WASMPOOL_PICTURES`, pictures go to that folder.
#[test]
fn a_browser_shows_the_page_within_its_width_and_without_a_word_in_its_console() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let reports = Reports::new();
    let _task = hostile(&reports);
    let pictures = std::env::var_os("WASMPOOL_PICTURES").map(std::path::PathBuf::from);
    for width in [400, 1200] {
        for scheme in ["light", "dark"] {
            browser.show(&reports.path("run.html"), width, scheme);
            if let Some(folder) = &pictures {
                let height = browser.value("document.documentElement.scrollHeight").as_u64().unwrap_or(900);
                let picture = browser.picture(width, u32::try_from(height).unwrap_or(900).min(4000));
                std::fs::write(folder.join(format!("report-{width}-{scheme}.png")), picture).expect("written");
            }
            let overflow = browser.value("document.documentElement.scrollWidth - document.documentElement.clientWidth");
            assert_eq!(overflow, 0, "at {width} pixels");
            assert!(browser.value("document.title").as_str().is_some_and(|title| title.starts_with("wasmpool: ")));
            assert_eq!(browser.value("document.images.length + document.scripts.length"), 0);
            assert!(browser.value("document.querySelectorAll('svg.row').length").as_u64() >= Some(1));
            assert!(browser.value("document.body.innerText.includes('<script>')") == true, "it is shown as text");
            let back = browser.value("getComputedStyle(document.body).backgroundColor");
            assert_eq!(back == "rgb(255, 255, 255)", scheme == "light", "{back}");
        }
    }
    assert!(browser.console.is_empty(), "{:?}", browser.console);
}
