//! The pictures of the documents. `make pictures` makes them: `WASMPOOL_PICTURES` is the folder that they go to. Without it nothing
//! is done here.

use std::fmt::Write as _;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::browser::Browser;
use crate::support::run::{Run, wasmpool};
use crate::support::terminal::{set_width, terminal, watch};
use crate::support::until;

/// A task whose items take some milliseconds, of which every 97th fails.
const SOME_FAIL: &str = r#"
(module
  (func (export "score") (param $n i64) (result i64) (local $i i64)
    (if (i64.eqz (i64.rem_u (local.get $n) (i64.const 97))) (then unreachable))
    (local.set $i (i64.add (i64.const 1000000) (i64.mul (i64.rem_u (local.get $n) (i64.const 41)) (i64.const 400000))))
    (loop $more
      (br_if $more (i64.ne (local.tee $i (i64.sub (local.get $i) (i64.const 1))) (i64.const 0))))
    (if (i64.eq (local.get $n) (i64.const 1500)) (then (loop $for-ever (br $for-ever))))
    (local.get $n)))"#;

fn folder() -> Option<PathBuf> {
    std::env::var_os("WASMPOOL_PICTURES").map(PathBuf::from)
}

/// Returns a run of the task over some items, in a folder that has both, with names as a reader would have them.
fn shown(folder: &TempDir) -> Run {
    let items = (1..=3000).fold(String::new(), |text, item| format!("{text}{item}\n"));
    for (name, text) in [("score.wat", SOME_FAIL), ("items.jsonl", &items)] {
        std::fs::write(folder.path().join(name), text).expect("written");
    }
    let run = wasmpool().named("wasmpool").directory(folder.path());
    run.args(["map", "score.wat", "items.jsonl", "-j", "2", "--timeout", "500ms", "-o", "scores.jsonl"])
}

#[test]
fn a_picture_of_the_terminal() {
    let Some(pictures) = folder() else {
        return;
    };
    let folder = TempDir::new().expect("a temporary directory");
    let (master, slave) = terminal();
    set_width(&master, 88);
    let seen = watch(master);
    let mut host = shown(&folder).env("TERM", "xterm-256color").stderr_to(slave).start();
    let bar = |from: &str| from.split('\r').rfind(|part| part.contains(" left")).map(|part| part.replace("\x1b[J", ""));
    let middle =
        until("a bar in the middle", || bar(&seen.lock().expect("no panic")).filter(|bar| bar.contains("] 4")));
    host.signal(Signal::SIGINT);
    assert_eq!(host.code(), 130);
    let said = seen.lock().expect("no panic").clone();
    let said =
        said.split('\r').filter(|part| part.trim_start().starts_with("wasmpool: ") || part.contains("wasmpool: 1"));
    let said: Vec<String> = said.map(|part| part.replace("\x1b[J", "").trim().to_owned()).collect();
    let mut lines = vec!["$ wasmpool map score.wat items.jsonl -j 2 --timeout 500ms -o scores.jsonl".to_owned()];
    lines.extend(said.iter().filter(|line| line.contains(" failed: trap")).take(2).cloned());
    lines.push(middle);
    let text = svg(&lines);
    std::fs::write(pictures.join("bar.svg"), text).expect("written");
}

/// Returns lines of a terminal, with their colours, as a picture.
fn svg(lines: &[String]) -> String {
    let (width, height) = (88 * 8 + 32, lines.len() * 20 + 28);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#14171c\"/>\n\
         <g font-family=\"ui-monospace, DejaVu Sans Mono, Menlo, monospace\" font-size=\"13\" fill=\"#e4e7ec\">\n"
    );
    for (nth, line) in lines.iter().enumerate() {
        let _ = write!(svg, "<text x=\"16\" y=\"{}\" xml:space=\"preserve\">", nth * 20 + 29);
        for (at, part) in line.split("\x1b[").enumerate() {
            let (code, text) = if at == 0 { ("0", part) } else { part.split_once('m').unwrap_or(("0", part)) };
            let colour = match code {
                "32" => "#4fb57e",
                "31" => "#ee6a5f",
                _ => "#e4e7ec",
            };
            let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            let _ = write!(svg, "<tspan fill=\"{colour}\">{text}</tspan>");
        }
        svg += "</text>\n";
    }
    svg + "</g>\n</svg>\n"
}

#[test]
fn a_picture_of_a_report() {
    let Some(pictures) = folder() else {
        return;
    };
    let folder = TempDir::new().expect("a temporary directory");
    shown(&folder).args(["--report", "run.html"]).run().exits(1);
    let mut browser = Browser::start().expect("pictures need a browser");
    browser.show(&folder.path().join("run.html"), 1000, "light");
    std::fs::write(pictures.join("report.png"), browser.picture(1000, 960)).expect("written");
}
