//! The report as one page: no script, nothing from elsewhere, and every text escaped in one place.

mod charts;

use std::fmt::{Display, Write};
use std::time::Duration;

use charts::{Scale, axis, histogram, of_row, rates};

use super::figures::{EventFigures, Report, TaskFigures};
use crate::cli::progress::{elapsed_said, grouped, rate_said};
use wasmpool_core::text::{bytes_said, is_visible};

const STYLE: &str = include_str!("page.css");
/// Number of the longest items, and of events, that are listed.
const LONGEST: usize = 20;
const EVENTS: usize = 60;

/// Text of the page. What comes from elsewhere goes through [`Page::text`] alone.
struct Page(String);

impl Page {
    /// Appends markup, which is our own, with numbers of ours in it.
    fn raw(&mut self, markup: impl Display) {
        // Writing to a string does not fail.
        let _ = write!(self.0, "{markup}");
    }

    /// Appends text, escaped: it is shown as it is, and what is not seen is spelled out.
    fn text(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '&' => self.0.push_str("&amp;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\n' => self.0.push('\n'),
                c if is_visible(c) => self.0.push(c),
                c => self.raw(c.escape_unicode()),
            }
        }
    }

    /// Appends an element with a text.
    fn element(&mut self, open: &str, text: &str, close: &str) {
        self.raw(open);
        self.text(text);
        self.raw(close);
    }

    fn tile(&mut self, name: &str, value: &str, class: &str) {
        self.raw(format_args!("<div class=\"tile {class}\"><b>"));
        self.text(value);
        self.element("</b><span class=\"dim\">", name, "</span></div>\n");
    }

    fn row(&mut self, name: &str, value: &str) {
        self.element("<tr><td>", name, "</td><td>");
        self.element("", value, "</td></tr>\n");
    }
}

/// Returns the page of a report. `nonce` is a random word by which the browser knows our style from any other.
pub fn page(report: &Report, nonce: &str) -> String {
    let mut page = Page(String::new());
    page.raw("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.raw(format_args!(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'nonce-{nonce}'; \
         img-src data:; base-uri 'none'; form-action 'none'\">\n"
    ));
    page.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.raw("<meta name=\"referrer\" content=\"no-referrer\">\n<link rel=\"icon\" href=\"data:,\">\n");
    page.element("<title>", &title(report), "</title>\n");
    page.raw(format_args!("<style nonce=\"{nonce}\">\n{STYLE}</style>\n</head>\n<body>\n"));
    header(&mut page, report);
    for task in &report.tasks {
        of_task(&mut page, report, task);
    }
    surroundings(&mut page, report);
    page.raw("</body>\n</html>\n");
    page.0
}

fn title(report: &Report) -> String {
    let names: Vec<&str> = report.tasks.iter().map(|task| task.name.as_str()).collect();
    format!("wasmpool: {}", names.join(", "))
}

fn header(page: &mut Page, report: &Report) {
    let (words, class) = match (report.end.how, report.items.failed) {
        ("complete", 0) => ("complete", "good"),
        ("complete", _) => ("complete, with failures", "warn"),
        ("output-closed", _) => ("ended: nobody read the results", "warn"),
        ("error", _) => ("ended by an error", "bad"),
        (how, _) => (how, "bad"),
    };
    page.element("<header>\n<h1>", &title(report), "</h1>\n");
    page.raw(format_args!("<p><span class=\"badge {class}\">{words}</span> <span class=\"dim\">exit code "));
    page.raw(format_args!("{}, began ", report.end.exit_code));
    page.element("", &report.began, "</span></p>\n");
    if let Some(message) = &report.end.message {
        page.element("<pre>", message, "</pre>\n");
    }
    page.element("<pre>", &report.command, "</pre>\n</header>\n<div class=\"tiles\">\n");
    let items = &report.items;
    let noun = if report.tasks.len() > 1 { "results" } else { "items" };
    page.tile(&format!("{noun} done"), &grouped(items.done), "");
    page.tile("failed", &failed_said(items.failed, items.done), if items.failed > 0 { "bad" } else { "" });
    if items.done_before > 0 {
        page.tile("done by an earlier run", &grouped(items.done_before), "");
    }
    let elapsed = Duration::from_micros(report.elapsed_us);
    page.tile("time", &elapsed_said(elapsed), "");
    let rate = items.done.saturating_sub(items.done_before) as f64 / elapsed.as_secs_f64().max(1e-6);
    page.tile("on average", &rate_said(rate, noun), "");
    if let [task] = report.tasks.as_slice() {
        page.tile("half of all items took at most", &micros_said(task.times.p50_us), "");
        page.tile("99% took at most", &micros_said(task.times.p99_us), "");
    }
    let sum = |of: fn(&TaskFigures) -> u64| report.tasks.iter().map(of).sum::<u64>();
    match report.sandbox {
        Some(_) => page.tile("worker processes", &grouped(sum(|task| task.workers.started)), ""),
        None => page.tile("workers on other machines", &grouped(sum(|task| task.timeline.rows.len() as u64)), ""),
    }
    let (died, late) = (sum(|task| task.workers.died), sum(|task| task.workers.late));
    if died + late > 0 {
        page.tile("workers died, ended as late", &format!("{}, {}", grouped(died), grouped(late)), "bad");
    }
    page.raw("</div>\n");
}

fn failed_said(failed: u64, done: u64) -> String {
    match (failed, done) {
        (0, _) | (_, 0) => grouped(failed),
        _ => format!("{} ({:.2}%)", grouped(failed), failed as f64 / done as f64 * 100.0),
    }
}

/// Returns a time in microseconds in words.
fn micros_said(us: f64) -> String {
    match us {
        us if us < 100.0 => format!("{us:.1} µs"),
        us if us < 1000.0 => format!("{us:.0} µs"),
        us if us < 10_000.0 => format!("{:.2} ms", us / 1e3),
        us if us < 1e6 => format!("{:.0} ms", us / 1e3),
        us if us < 6e7 => format!("{:.1} s", us / 1e6),
        us => elapsed_said(Duration::from_micros(us as u64)),
    }
}

fn of_task(page: &mut Page, report: &Report, task: &TaskFigures) {
    page.raw("<section>\n");
    if report.tasks.len() > 1 {
        page.element("<h2>Task ", &task.name, "</h2>\n");
        page.raw("<div class=\"tiles\">\n");
        page.tile("items done", &grouped(task.done), "");
        page.tile("failed", &failed_said(task.failed, task.done), if task.failed > 0 { "bad" } else { "" });
        page.tile("half took at most", &micros_said(task.times.p50_us), "");
        page.tile("99% took at most", &micros_said(task.times.p99_us), "");
        page.raw("</div>\n");
    }
    timeline(page, report, task);
    times(page, task);
    failures(page, task, report.items.done_before > 0);
    longest(page, report, task);
    events(page, task);
    page.raw("</section>\n");
}

fn timeline(page: &mut Page, report: &Report, task: &TaskFigures) {
    let scale = Scale(report.elapsed_us.max(1) as f64);
    let line = &task.timeline;
    page.raw("<h3>Over time</h3>\n");
    page.raw("<div class=\"chart\">\n<span></span>");
    rates(page, task, scale);
    for (nth, row) in line.rows.iter().enumerate() {
        let workers = if row.workers == 1 { "1 process".to_owned() } else { format!("{} processes", row.workers) };
        page.element("<span title=\"", &format!("{}, one after the other: {workers}", row.name), "\">");
        page.element("", &row.name, "</span>");
        of_row(page, task, (nth, row), scale);
    }
    page.raw("<span></span>");
    axis(page, report.elapsed_us);
    page.raw("</div>\n<div class=\"legend\">");
    for (class, words) in [
        ("busy", "runs items: the taller, the more of the time"),
        ("fail", "items that failed"),
        ("start", "starts"),
        ("life", "waits"),
        ("died", "died"),
        ("late", "ended as late"),
        ("restarted", "replaced another"),
    ] {
        let shape = match class {
            "died" | "late" | "restarted" => format!("<circle cx=\"6\" cy=\"6\" r=\"4\" class=\"{class}\"/>"),
            _ => format!("<rect width=\"12\" height=\"12\" class=\"{class}\"/>"),
        };
        page.raw(format_args!("<span><svg aria-hidden=\"true\">{shape}</svg>{words}</span>"));
    }
    page.raw("<span>framed: one of the longest items</span></div>\n");
    if task.chunks.left_out > 0 {
        let (listed, left_out) = (grouped(task.chunks.listed.len() as u64), grouped(task.chunks.left_out));
        page.raw(format_args!(
            "<p class=\"dim\">The {listed} longest chunks are marked one by one; {left_out} shorter ones are not.</p>\n"
        ));
    }
}

fn event_said(event: &EventFigures) -> String {
    let item = event.item.map_or_else(String::new, |item| format!(" with item {item}"));
    let how = if event.how.is_empty() { String::new() } else { format!(": {}", event.how) };
    match event.what {
        "restarted" => format!("worker {} replaced another", event.worker),
        "late" => format!("worker {} was ended as late{item}", event.worker),
        _ => format!("worker {} died{item}{how}", event.worker),
    }
}

fn times(page: &mut Page, task: &TaskFigures) {
    let times = &task.times;
    if times.count == 0 {
        return;
    }
    page.raw("<h3>Times of items</h3>\n");
    page.raw(
        "<p class=\"dim\">The time of an item is what its record calls <code>elapsed_us</code>: what its worker measured, from reading \
         the item to its result, or the host where it ended the worker. The longest items have the same. Where an item stands over \
         time is told by the host&#39;s clock: it had ended when the host heard of it.</p>\n",
    );
    histogram(page, &times.histogram);
    page.raw("<div class=\"scroll\"><table><tr>");
    let columns = [
        ("least", times.least_us),
        ("50%", times.p50_us),
        ("90%", times.p90_us),
        ("99%", times.p99_us),
        ("99.9%", times.p999_us),
        ("most", times.most_us),
        ("mean", times.mean_us),
    ];
    columns.iter().for_each(|(name, _)| page.element("<th class=\"n\">", name, "</th>"));
    page.raw("</tr><tr>");
    columns.iter().for_each(|(_, us)| page.element("<td class=\"n\">", &micros_said(*us), "</td>"));
    page.raw("</tr></table></div>\n");
}

/// Adds the failures of this run, and says that they are that if there was an `earlier` one.
fn failures(page: &mut Page, task: &TaskFigures, earlier: bool) {
    if task.failures.is_empty() {
        return;
    }
    page.element("<h3>", if earlier { "Failures in this run" } else { "Failures" }, "</h3>\n");
    page.raw("<table><tr><th>kind</th><th class=\"n\">items</th><th class=\"n\">first</th><th>message</th></tr>\n");
    for kind in &task.failures {
        let told: u64 = kind.examples.iter().map(|example| example.count).sum();
        for (nth, example) in kind.examples.iter().enumerate() {
            let name = if nth == 0 { format!("{} ({})", kind.kind, grouped(kind.count)) } else { String::new() };
            page.element("<tr><td>", &name, "</td>");
            page.element("<td class=\"n\">", &grouped(example.count), "</td>");
            page.element("<td class=\"n\">", &example.index.to_string(), "</td>");
            page.element("<td class=\"message\">", &example.message, "");
            for frame in &example.trace {
                page.element("\n<code class=\"dim\">in ", frame, "</code>");
            }
            page.raw("</td></tr>\n");
        }
        if told < kind.count {
            let more = grouped(kind.count - told);
            page.raw(format_args!(
                "<tr><td></td><td class=\"n\">{more}</td><td></td><td class=\"dim\">with other messages</td></tr>\n"
            ));
        }
    }
    page.raw("</table>\n");
}

fn longest(page: &mut Page, report: &Report, task: &TaskFigures) {
    if task.longest_items.is_empty() {
        return;
    }
    page.raw("<h3>Longest items</h3>\n<div class=\"scroll\"><table><tr><th class=\"n\">item</th><th class=\"n\">took</th><th class=\"n\">began after</th><th class=\"n\">worker</th><th>outcome</th></tr>\n");
    for item in task.longest_items.iter().take(LONGEST) {
        page.element("<tr><td class=\"n\">", &item.index.to_string(), "</td>");
        page.element("<td class=\"n\">", &micros_said(item.elapsed_us as f64), "</td>");
        page.element("<td class=\"n\">", &micros_said(item.from_us as f64), "</td>");
        // A row of another machine is named after it.
        let row = task.timeline.rows.get(item.row).filter(|_| report.sandbox.is_none());
        let worker = row.map_or_else(|| item.worker.to_string(), |row| row.name.clone());
        page.element("<td class=\"n\">", &worker, "</td>");
        page.element("<td>", item.failed.unwrap_or("ok"), "</td></tr>\n");
    }
    page.raw("</table></div>\n");
}

fn events(page: &mut Page, task: &TaskFigures) {
    let mut events = task.events.listed.iter().filter(|event| event.what != "restarted").peekable();
    if events.peek().is_none() {
        return;
    }
    page.raw("<h3>Workers that were lost</h3>\n<div class=\"scroll\"><table><tr><th class=\"n\">after</th><th>what happened</th></tr>\n");
    for event in events.take(EVENTS) {
        page.element("<tr><td class=\"n\">", &micros_said(event.at_us as f64), "</td>");
        page.element("<td class=\"message\">", &event_said(event), "</td></tr>\n");
    }
    page.raw("</table></div>\n");
}

fn surroundings(page: &mut Page, report: &Report) {
    let settings = &report.settings;
    page.raw("<h2>Settings</h2>\n<table class=\"narrow\">\n");
    if let Some(workers) = settings.workers {
        page.row("workers", &grouped(workers as u64));
    }
    page.row("chunk size", &settings.chunk_size.map_or_else(|| "auto".to_owned(), |size| grouped(size.into())));
    page.row("a fresh instance for each", settings.isolate);
    page.row("time of an item", &elapsed_said(Duration::from_micros(settings.timeout_us)));
    page.row("memory of an instance", &bytes_said(settings.memory));
    page.row("instructions of an item", &settings.fuel.map_or_else(|| "not counted".to_owned(), grouped));
    page.row("result of an item", &bytes_said(settings.max_output));
    page.row("retries", &grouped(settings.retries.into()));
    page.row("halt", settings.halt.as_deref().unwrap_or("never"));
    if settings.deterministic {
        page.row("deterministic", "yes");
    }
    let none = report.grants.is_empty();
    page.row("granted", &if none { "nothing".to_owned() } else { report.grants.join("\n") });
    let sum = |of: fn(&TaskFigures) -> u64| report.tasks.iter().map(of).sum::<u64>();
    let (made, restored) = (sum(|task| task.instances.made), sum(|task| task.instances.restored));
    // Other machines do not say how many they made.
    if made > 0 {
        page.row("instances", &format!("{} fresh, {} restored", grouped(made), grouped(restored)));
    }
    page.raw("</table>\n<h2>Isolation</h2>\n<table class=\"narrow\">\n");
    page.row("mode", report.sandbox.as_ref().map_or("each machine has its own", |sandbox| sandbox.mode));
    for layer in report.sandbox.iter().flat_map(|sandbox| &sandbox.layers) {
        let state = match layer.state {
            "in-force" => "in force".to_owned(),
            "off" => "OFF".to_owned(),
            _ => format!("in force but for: {}", layer.lacking.join("; ")),
        };
        page.row(layer.layer, &state);
    }
    page.raw("</table>\n<h2>Versions</h2>\n<table class=\"narrow\">\n");
    page.row("wasmpool", report.wasmpool);
    page.row("wasmtime", report.wasmtime);
    page.row("kernel", &format!("{} ({}, {} processors)", report.kernel, report.architecture, report.processors));
    page.raw("</table>\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_text_becomes_markup(text in "\\PC{0,80}|[<>&\"'/!\\-=a-z \\n\u{202e}\u{0}]{0,80}") {
            let mut page = Page(String::new());
            page.text(&text);
            prop_assert!(!page.0.contains(['<', '>', '"', '\'', '\0', '\u{202e}']), "{}", page.0);
            for entity in page.0.split('&').skip(1) {
                prop_assert!(["lt;", "gt;", "amp;", "quot;", "#39;"].iter().any(|known| entity.starts_with(known)), "{}", page.0);
            }
        }
    }

    #[test]
    fn times_are_said_in_their_units() {
        let said = [0.5, 99.9, 450.0, 1234.0, 250_000.0, 12.3e6, 200e6].map(micros_said);
        assert_eq!(said, ["0.5 µs", "99.9 µs", "450 µs", "1.23 ms", "250 ms", "12.3 s", "3 min 20 s"]);
    }
}
